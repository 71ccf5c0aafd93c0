//! What the segments of messages look like: templates, and the blocks that they become in a dialect.
//!
//! Synthetic throughout: every person is a `TEST`, every telephone number a 555. Templates use the usual delimiters; the table of
//! [`super::block`] says what their holes are. **Invariant:** each template ends with the CR of its last segment.

use super::block::Block;
use super::event::MessageKind;
use super::facility::{Dialect, VERSIONS};
use super::panels::{self, Panel};

/// Applications that send, by the first component of MSH-9 in the order ADT, ORM, ORU, MDM, DFT, RDE.
const APPLICATIONS: [(&str, &str); 6] = [
    ("ADT", "REGISTRY"),
    ("ORM", "ORDERS"),
    ("ORU", "LABORATORY"),
    ("MDM", "RECORDS"),
    ("DFT", "LEDGER"),
    ("RDE", "PHARMACY"),
];

const PERSON: &str = "PID|1|{visit}|{patient}^^^{facility}^MR~000-##-####^^^TESTGOV^SS~X#########^^^{dc}EXCHANGE^PI|\
    A########^^^{facility}^PT|TEST^PATIENT^{=ABCDEFGH}^^^^L|TEST^MAIDEN^{=KLMN}^^^^M|19{3-9}#0{1-9}{0-2}{1-8}|{=FM}||\
    {=1234}###-#^Test category^CDCREC|{1-9}### TEST STREET^APARTMENT {1-9}#^TESTVILLE^{dc}^0000#^USA^H^^0##~\
    POST BOX {1-9}##^^TESTVILLE^{dc}^0000#^USA^M|0##|^PRN^PH^^1^###^55501##~^PRN^CP^^1^###^55501##~\
    ^NET^Internet^test.patient##@example.org|^WPN^PH^^1^###^55501##|EN^English^ISO639|{=MSDW}^Test status^HL70002|\
    NON^Test value^HL70006|{visit}^^^{facility}^AN|000-##-####|T#######^{dc}^20300101|||N^Test value^HL70189|\
    TESTVILLE|N|1||||N\r";
const PERSON_SHORT: &str = "PID|1||{patient}^^^{facility}^MR||TEST^PATIENT\r";
const PERSON_UNKNOWN: &str =
    "PID|1||{patient}^^^{facility}^MR||TEST^UNKNOWN^{=ABCDEFGH}^^^^U||||||||||||{visit}^^^{facility}^AN\r";

const VISIT: &str = "PV1|1|{class}|{place}^{bed}^{facility}^{dc}|{=EURL}|||9####^TEST^ATTENDING^{=ABCD}^^DR^MD^^{facility}^L^^^DN|\
    9####^TEST^REFERRING^{=ABCD}^^DR^MD^^{facility}^L^^^DN|9####^TEST^CONSULTING^{=ABCD}^^DR^MD^^{facility}^L^^^DN~\
    9####^TEST^CONSULTING^{=EFGH}^^DR^MD^^{facility}^L^^^DN|{=MSPC}ED||||{1-7}|{=AB}#||9####^TEST^ADMITTING^{=ABCD}^^DR^MD^^\
    {facility}^L^^^DN|IP|{visit}|TEST^{since}||||||||||||||||||{1-9}#|||{facility}|||||{since}\r";
const VISIT_SHORT: &str = "PV1|1|{class}|{place}^{bed}||||||||||||||||{visit}\r";

const EXTRA: &str = "PD1|{=ABCD}^^HL70223|F^^HL70220|TEST CLINIC {1-9}^L^{facility}^^^^^^^^90###|9####^TEST^PRIMARY^{=ABCD}^^DR^MD^^\
    {facility}^L^^^DN||||N|||02^Reminder by post^HL70215|N|{since}|||A|{since}\r";
const VISIT_EXTRA: &str = "PV2||{=PS}RV^Test room kind^HL70145|R{1-9}#.#^Test reason of the visit^I10|||TEST VALUABLES NONE||{since}|{since}|\
    {1-9}|{1-9}|Observed over night, further steps as the results say|9####^TEST^REFERRING^{=ABCD}^^DR^MD|||||||N||N|N||||||||{=ABCD}|||||N\r";
const RELATIVE: &str = "NK1|{set}|TEST^RELATIVE^{=ABCDEFGH}^^^^L|{=SPMF}PO^Test relation^HL70063|{1-9}### TEST STREET^^TESTVILLE^{dc}^0000#^\
    USA^H|^PRN^PH^^1^###^55501##~^PRN^CP^^1^###^55501##|^WPN^PH^^1^###^55501##|{=CNEO}^Emergency contact^HL70131|{since}||||\
    R#######^^^{facility}^PN|TEST EMPLOYER {1-9}#^L|||{=FM}|19{3-9}#0{1-9}{0-2}{1-8}\r";
const ALLERGY: &str = "AL1|{set}|{=DFME}A^Test kind^HL70127|7####^Test substance {=ABCDEFGH}^{facility}|{=SM}{=VOIU}^Test severity^HL70128|\
    Rash and itching after {1-9} hours~Swelling|20{0-1}#0{1-9}{0-2}{1-8}\r";
const DIAGNOSIS: &str = "DG1|{set}|I10|{=IJKR}{1-9}#.#^Test finding number ### of the {=LR} side, not otherwise specified^I10|\
    Test finding, {=ABCD}|{stamp}|{=AW}||||||||{1-4}|9####^TEST^ATTENDING^{=ABCD}^^DR^MD^^{facility}^L^^^DN|D||{stamp}\r";
const GUARANTOR: &str = "GT1|1|G########^^^{facility}^GN|TEST^GUARANTOR^{=ABCDEFGH}^^^^L||{1-9}### TEST STREET^^TESTVILLE^{dc}^0000#^USA^H|\
    ^PRN^PH^^1^###^55501##~^PRN^CP^^1^###^55501##|^WPN^PH^^1^###^55501##|19{3-9}#0{1-9}{0-2}{1-8}|{=FM}|P^Test kind^HL70068|\
    SEL^Self^HL70063|000-##-####|{since}||1|TEST EMPLOYER {1-9}#|{1-9}### TEST AVENUE^^TESTVILLE^{dc}^0000#^USA^B|\
    ^WPN^PH^^1^###^55501##|E########|{=1234}\r";
const INSURANCE: &str = "IN1|{set}|P{1-9}##^TEST PLAN {=ABCD}^{facility}|C{1-9}###^^^{facility}^NIIP|TEST INSURER NUMBER {1-9}|POST BOX {1-9}###^^\
    TESTVILLE^{dc}^0000#^USA^B|TEST^CONTACT^{=ABCD}|^WPN^PH^^1^800^55501##|GR######|TEST GROUP {1-9}#|||20250101|20291231||{=CHMP}^Test plan kind|\
    TEST^PATIENT^{=ABCDEFGH}^^^^L|SEL^Self^HL70063|19{3-9}#0{1-9}{0-2}{1-8}|{1-9}### TEST STREET^^TESTVILLE^{dc}^0000#^USA^H|Y|CO|{1-2}||||\
    Y|||||9####|{since}|9####^TEST^CLERK|||||P#########|||||||1|{=FM}|{1-9}### TEST AVENUE^^TESTVILLE^{dc}^0000#^USA^B|Y||B\r\
    IN2|E########^^^{facility}|000-##-####|||{=CI}^Test payer|||||||||||||||||||||EN^English^ISO639||||||||||||||||||^WPN^PH^^1^###^55501##\r";
const MOVED: &str = "ROL|{set}|UP|AT^Attending^HL70443|9####^TEST^ATTENDING^{=ABCD}^^DR^MD^^{facility}^L^^^DN|{stamp}||||PHY^Physician^HL70346|1^Hospital^\
    HL70406|{1-9}### TEST AVENUE^^TESTVILLE^{dc}^0000#^USA^O|^WPN^PH^^1^###^55501##\r";
const DISCHARGED: &str = "PR1|{set}||{1-9}{0-9}###^Test procedure number ## in two steps^C4|Test procedure|{since}|{=ADPI}|{1-9}#|9####^TEST^ANAESTHETIST^\
    {=ABCD}|G|{1-9}#|9####^TEST^SURGEON^{=ABCD}^^DR^MD^^{facility}^L^^^DN||||R{1-9}#.#^Test finding^I10\r";
const MERGED: &str =
    "MRG|{ended}^^^{facility}^MR||{visit}^^^{facility}^AN|||{visit}^^^{facility}^VN|TEST^UNKNOWN^^^^^U\r";

const COMMON_ORDER: &str = "ORC|{=NRSC}W|{order}^{facility}|F########^{facility}LAB|G{order}^{facility}|IP||^^^{stamp}^^{=RSAT}||{stamp}|\
    9####^TEST^CLERK^{=ABCD}|9####^TEST^NURSE^{=ABCD}|9####^TEST^ORDERING^{=ABCD}^^DR^MD^^{facility}^L^^^DN|{place}^{bed}|\
    ^WPN^PH^^1^###^55501##|{stamp}||{facility}^TEST HOSPITAL|W#^TERMINAL ##|||TEST HOSPITAL^L^{facility}|\
    {1-9}### TEST AVENUE^^TESTVILLE^{dc}^0000#^USA^B|^WPN^PH^^1^###^55501##|{1-9}### TEST AVENUE^^TESTVILLE^{dc}^0000#^USA^B\r";
const REMARKS: [&str; 8] = [
    "NTE|{set}|P|Take the sample before the next dose; the last one was given {1-9} hours ago. Handle as urgent if it is not at the \
    laboratory by {1-2}{0-3}:{0-5}#, and call extension {1-9}### with the result.|RE^Remark^HL70364\r",
    "NTE|{set}|P|The patient could not lie still and was examined sitting. Compare with the earlier examination of {since}; side and \
    site were marked and confirmed by two persons.|RE^Remark^HL70364\r",
    "NTE|{set}|L|Sample slightly haemolysed\\.br\\Potassium may read up to 0.{1-5} too high\\.br\\A second sample is advised \\T\\ \
    was asked for by telephone.|RE^Remark^HL70364\r",
    "NTE|{set}|L|Reference ranges are those of this laboratory for adults and do not apply below the age of {1-2}#. Values that are \
    flagged were measured twice.|RE^Remark^HL70364\r",
    "NTE|{set}|P|Known intolerance of contrast medium: see allergies. Renal function is to be checked first, the limit is a clearance of \
    {3-6}# mL per minute. If it is below, ask the department.|RE^Remark^HL70364\r",
    "NTE|{set}|P|Isolation in force since {since}. Whoever transports the patient must be told, and the room is to be prepared with \
    {2-4} air changes before the next examination.|RE^Remark^HL70364\r",
    "NTE|{set}|L|Measured with method {=ABCD}, lot {1-9}#####, calibrated at {since}. The uncertainty is {1-9}.# in a hundred at the upper \
    limit of the range.|RE^Remark^HL70364\r",
    "NTE|{set}|P|Result also to the family physician, by letter and not by telephone, as the patient has asked for in writing. A copy \
    stays in the record.|RE^Remark^HL70364\r",
];

const DOCUMENT: &str = "TXA|1|{=DHOP}{=SPPN}^Test document kind^HL70270|FT|{stamp}|9####^TEST^AUTHOR^{=ABCD}^^DR^MD^^{facility}^L^^^DN|{stamp}|{stamp}||\
    9####^TEST^AUTHOR^{=ABCD}^^DR^MD|9####^TEST^SIGNING^{=ABCD}^^DR^MD|9####^TEST^TYPIST|D{control}^{facility}|||||\
    TEST-##########.TXT|{=LA}U|R|AV|AC|||9####^TEST^SIGNING^{=ABCD}^^DR^MD^^^^^^^^^^{stamp}\r";
const NOTE_BEGIN: &str = "OBX|1|FT|1148{1-9}-#^Test note^LN||";
const NOTE_END: &str = "||||||F|||{stamp}||9####^TEST^AUTHOR^{=ABCD}\r";
const ATTACHMENT_BEGIN: &str = "OBX|99|ED|PDF^Test document^{facility}||^APPLICATION^PDF^Base64^";
const ATTACHMENT_END: &str = "||||||F|||{stamp}||9####^TEST^TYPIST\r";
const PARAGRAPHS: [&str; 12] = [
    "HISTORY: Admitted through the emergency ward after {1-9} days of growing shortness of breath, worst at night, with a dry cough and \
    without fever. No chest pain at rest; one episode of pressure on the stairs that went away within {2-9} minutes. Appetite poor, weight \
    down by {1-6} kg in {2-9} weeks by own account. No travel, no contact with the ill.\\.br\\",
    "EXAMINATION: Awake, oriented, in moderate distress. Temperature 3{6-9}.# °C, pulse {6-9}#, breathing rate {1-2}#, pressure 1{1-7}#/{6-9}#, \
    saturation 9# on room air. Neck veins flat. Heart regular, soft systolic murmur over the apex. Lungs with fine crackles at both bases, \
    more to the {=LR}. Abdomen soft, liver {1-3} cm below the margin, no tenderness. Ankles with slight oedema.\\.br\\",
    "MEDICATION ON ADMISSION: {=ABCDEFGH}-blocker {1-9}#.5 mg once daily; diuretic {2-8}0 mg in the morning; inhibitor {5-9} mg at night; insulin \
    by scale, {1-3}# units on average; analgesic as needed, no more than {2-4} doses a day. Two preparations had been stopped by the patient \
    because of dizziness and were not taken up again.\\.br\\",
    "ASSESSMENT: Decompensation most likely after an infection of the airways, with kidneys that keep pace for now (creatinine {0-1}.##). An \
    ischaemic cause is less likely with two normal markers {3-6} hours apart but has not been ruled out. Risk of clots is moderate, that of \
    bleeding low; prophylaxis was begun at {stamp}.\\.br\\",
    "PLAN: Fluid balance with a daily weight, target minus {5-9}00 mL a day. Echo within {1-3} days. Repeat of potassium and creatinine every \
    {1-2} days while the dose is changed. Physiotherapy from tomorrow. Talk with the relatives about help at home, which the patient wants. \
    Limit of therapy was discussed: none at present.\\.br\\",
    "COURSE: Quiet night, {4-8} hours of sleep. Less short of breath, walks to the window and back. Output {1-3}.# L, balance minus {3-9}00 mL. \
    Pulse between {5-7}# and {8-9}#, two runs of extra beats without complaint on the monitor. Wound dry, dressing changed at {stamp}. No fall, \
    no pressure mark, score {1-2}#.\\.br\\",
    "IMAGING: Two views. Heart enlarged by about {1-4} cm against the study of {since}. Vessels of the upper lobes widened, small effusion to \
    the {=LR}, no dense area. No free air. Lines as described: tip of the catheter {2-6} cm above the entry, tube in place. Degenerative changes \
    of the spine, unchanged.\\.br\\",
    "CONSULTATION: Asked about the rise of markers to {1-9}#.#. Seen at the bedside at {stamp}, record and films at hand. No sign of a local \
    source; catheter site clean on day {1-9}. Suggest cultures from two sites, removal of the catheter if positive, and no change of the drugs \
    before results are in. Will see the patient again in {1-3} days \\T\\ on call.\\.br\\",
    "PROCEDURE: Consent in writing, time-out done with all present. Under local anaesthesia ({5-9} mL) the {=LR} side was entered at the first \
    attempt, wire and sheath without resistance. {2-9}00 mL of clear fluid, samples to three laboratories. No complication, bleeding below \
    {1-9} mL. Film afterwards without air.\\.br\\",
    "NURSING: Needs help with washing and dressing, eats alone, drinks {8-9}00 mL when reminded. Skin intact, heels relieved. Pain {0-4} of 10 at \
    rest, {2-6} of 10 in motion, better within {2-5}0 minutes of the dose. Sleeps with the light on, asks for the relative, who comes at \
    {1-2}{0-3}:{0-5}#. Bell within reach, rails as agreed.\\.br\\",
    "LABORATORY, SUMMARY: Haemoglobin {8-9}.#, white cells {4-9}.#, platelets {1-3}##; sodium 1{3-4}#, potassium {3-5}.#, creatinine {0-1}.##; marker of \
    inflammation {1-9}#.# after {1-9}#.#; clotting in range. Iron {2-9}# µg/dL, ferritin {1-3}##. Urine without finding. Cultures of {since} still \
    negative after {1-5} days.\\.br\\",
    "FOLLOW-UP: Family physician within {1-7} days with weight curve and list of drugs. Ambulatory check in {2-8} weeks, appointment by \
    telephone (555-01##). Return at once with breath shorter than today, weight up by {1-3} kg in {2-4} days, fever or pain in the chest. \
    Papers were given and explained, patient and relative repeated them correctly.\\.br\\",
];

const CHARGE: &str = "FT1|{set}|T#########|B####|{stamp}|{stamp}|C{=GD}|{1-9}{0-9}###^Test service number ## as billed by the department^C4|\
    Test service|TEST DEPARTMENT {1-9}|{1-4}|{1-9}##.##^USD|{1-9}#.##^USD|{place}^TEST DEPARTMENT|P{1-9}##^TEST PLAN|{1-9}#.##^USD|{place}^{bed}^{facility}|\
    IP|{1-9}|{=IJKR}{1-9}#.#^Test finding^I10~{=IJKR}{1-9}#.#^Test finding^I10|9####^TEST^PERFORMING^{=ABCD}^^DR^MD^^{facility}^L^^^DN|\
    9####^TEST^ORDERING^{=ABCD}^^DR^MD^^{facility}^L^^^DN||F########^{facility}|9####^TEST^CLERK|{1-9}{0-9}###^Test service^C4|{=TLRA}{1-9}\r";

const DRUG: &str = "ORC|NW|P{control}{set}^{facility}|F########^{facility}PHARMACY||IP|E|{1-3}^Q{4-8}H^D{1-9}^{stamp}^^R||{stamp}|9####^TEST^CLERK|9####^TEST^PHARMACIST^{=ABCD}|\
    9####^TEST^ORDERING^{=ABCD}^^DR^MD^^{facility}^L^^^DN|{place}^{bed}|^WPN^PH^^1^###^55501##\r\
    RXE|{1-3}^Q{4-8}H^D{1-9}^{stamp}^^R|0####-####-##^Test drug {=ABCDEFGH} {1-9}00 mg tablet^NDC|{1-9}00||MG^Milligram^ISO+|TAB^Tablet^HL70292|\
    ^Swallow whole with water, {1-2} hours before a meal; not with milk. Hold if the pulse is below {4-5}#.||G||{1-9}#|TAB^Tablet|{0-5}|||\
    RX########|{0-5}|{1-9}|{stamp}|||^With the round at {0-1}{6-9}:00|{1-9}^Hour|{1-9}0|MG|{1-9}00|MG^Milligram||{0-1}|Y\r\
    RXR|{=POIV}{=OVMN}^Test route^HL70162|{=LR}A^Test site^HL70163||{=ABCD}#^Test method^HL70165\r\
    RXC|{=BA}|0####-####-##^Test component {=ABCDEFGH}^NDC|{1-9}00|ML^Millilitre^ISO+|{1-9}0|MG^Milligram^ISO+\r";
const DRUG_REMARK: &str = "NTE|{set}|P|Dose adapted to a clearance of {3-9}# mL per minute and a weight of {4-9}# kg. Interaction with the drug of \
    {since} was checked by the pharmacist and accepted for {1-9} days; level on day {2-5}, target {1-2}# to {2-3}# µg/mL.|RE^Remark^HL70364\r\
    OBX|1|NM|29463-7^Body weight^LN||{4-9}#.#|kg|||||F|||{stamp}\rOBX|2|NM|8302-2^Body height^LN||1{5-9}#|cm|||||F|||{stamp}\r";

/// All blocks of one dialect.
#[derive(Clone, Debug)]
pub(super) struct Texts {
    /// MSH, and EVN for ADT and MDM, by version and kind.
    heads: Vec<Block>,
    pub(super) person: Block,
    pub(super) person_short: Block,
    pub(super) person_unknown: Block,
    pub(super) visit: Block,
    pub(super) visit_short: Block,
    pub(super) extra: Block,
    pub(super) visit_extra: Block,
    pub(super) relative: Block,
    pub(super) allergy: Block,
    pub(super) diagnosis: Block,
    pub(super) guarantor: Block,
    pub(super) insurance: Block,
    pub(super) moved: Block,
    pub(super) discharged: Block,
    pub(super) merged: Block,
    pub(super) common_order: Block,
    pub(super) remarks: Vec<Block>,
    pub(super) document: Block,
    pub(super) note_begin: Block,
    pub(super) note_end: Block,
    pub(super) attachment_begin: Block,
    pub(super) attachment_end: Block,
    pub(super) paragraphs: Vec<Block>,
    pub(super) charge: Block,
    pub(super) drug: Block,
    pub(super) drug_remark: Block,
    pub(super) panels: Vec<Panel>,
}

impl Texts {
    /// Compiles all templates for a dialect.
    pub(super) fn new(dialect: Dialect) -> Texts {
        let one = |template: &str| Block::new(template, dialect);
        let all = |templates: &[&str]| templates.iter().map(|template| one(template)).collect();
        let heads = (0..VERSIONS.len()).flat_map(|version| {
            MessageKind::ALL
                .iter()
                .map(move |kind| Block::new(&head(dialect, version, *kind), dialect))
        });
        Texts {
            heads: heads.collect(),
            person: one(PERSON),
            person_short: one(PERSON_SHORT),
            person_unknown: one(PERSON_UNKNOWN),
            visit: one(VISIT),
            visit_short: one(VISIT_SHORT),
            extra: one(EXTRA),
            visit_extra: one(VISIT_EXTRA),
            relative: one(RELATIVE),
            allergy: one(ALLERGY),
            diagnosis: one(DIAGNOSIS),
            guarantor: one(GUARANTOR),
            insurance: one(INSURANCE),
            moved: one(MOVED),
            discharged: one(DISCHARGED),
            merged: one(MERGED),
            common_order: one(COMMON_ORDER),
            remarks: all(&REMARKS),
            document: one(DOCUMENT),
            note_begin: one(NOTE_BEGIN),
            note_end: one(NOTE_END),
            attachment_begin: one(ATTACHMENT_BEGIN),
            attachment_end: one(ATTACHMENT_END),
            paragraphs: all(&PARAGRAPHS),
            charge: one(CHARGE),
            drug: one(DRUG),
            drug_remark: one(DRUG_REMARK),
            panels: panels::compile(dialect),
        }
    }

    /// What a message begins with.
    pub(super) fn head(&self, version: usize, kind: MessageKind) -> &Block {
        &self.heads[version * MessageKind::ALL.len() + kind as usize]
    }
}

/// The template of MSH, and of EVN where there is one. The structure of a message, the third component of MSH-9, came with version 2.3.1.
fn head(dialect: Dialect, version: usize, kind: MessageKind) -> String {
    let [code, trigger, structure] = kind.parts();
    let (_, application) = APPLICATIONS
        .into_iter()
        .find(|(of, _)| *of == code)
        .expect("every code has its application");
    let structure = if version == 0 {
        String::new()
    } else {
        format!("^{structure}")
    };
    let event = match code {
        "ADT" | "MDM" => format!("EVN|{trigger}|{{stamp}}\r"),
        _ => String::new(),
    };
    format!(
        "MSH|^~\\&|{application}|{{facility}}|WATERPARK|{{dc}}|{{stamp}}||{code}^{trigger}{structure}|{{control}}|P|{}||||||{}\r{event}",
        VERSIONS[version],
        dialect.characters()
    )
}

#[cfg(test)]
mod tests {
    use super::super::block::Fill;
    use super::super::rng::Rng;
    use super::*;

    fn every_block(texts: &Texts) -> Vec<&Block> {
        let Texts {
            person,
            person_short,
            person_unknown,
            visit,
            visit_short,
            extra,
            ..
        } = texts;
        let Texts {
            visit_extra,
            relative,
            allergy,
            diagnosis,
            guarantor,
            insurance,
            ..
        } = texts;
        let Texts {
            moved,
            discharged,
            merged,
            common_order,
            document,
            charge,
            drug,
            drug_remark,
            ..
        } = texts;
        let mut all = vec![person, person_short, person_unknown, visit, visit_short, extra];
        all.extend([visit_extra, relative, allergy, diagnosis, guarantor, insurance]);
        all.extend([
            moved,
            discharged,
            merged,
            common_order,
            document,
            charge,
            drug,
            drug_remark,
        ]);
        all.extend(&texts.heads);
        all.extend(&texts.remarks);
        all.extend(texts.panels.iter().flat_map(|panel| [&panel.request, &panel.result]));
        all
    }

    #[test]
    fn every_template_is_whole_segments_and_no_text_holds_a_delimiter_of_another_dialect() {
        for dialect in Dialect::ALL {
            let texts = Texts::new(dialect);
            for block in every_block(&texts) {
                let mut out = Vec::new();
                block.write(&Fill::blank(), &mut Rng::new(1), &mut out);
                assert_eq!(out.last(), Some(&b'\r'));
                let separator = dialect.delimiters()[0];
                for segment in out[..out.len() - 1].split(|byte| *byte == b'\r') {
                    assert!(
                        segment[..3].iter().all(u8::is_ascii_alphanumeric),
                        "{}",
                        String::from_utf8_lossy(segment)
                    );
                    assert_eq!(segment[3], separator);
                }
                let other = if dialect == Dialect::Odd {
                    Dialect::Usual
                } else {
                    Dialect::Odd
                };
                let foreign = out.iter().find(|byte| other.delimiters().contains(byte));
                assert_eq!(foreign, None, "{}", String::from_utf8_lossy(&out));
            }
        }
    }
}
