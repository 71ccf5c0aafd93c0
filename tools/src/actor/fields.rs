//! What HL7 v2 calls the fields of common segments, in a few words each.
//!
//! A name that the standard changed between versions is the later one. It knows no message. **Invariant:** a segment or field without a name
//! here is shown by its number: nothing is left out for want of a name.

/// Each segment with its fields, the first being field 1.
const SEGMENTS: &[(&[u8], &str)] = &[
    (
        b"MSH",
        "field separator|encoding characters|sending application|sending facility|receiving application|receiving facility|sent|security|\
         message type|control id|processing id|version|sequence|continuation|accept ack|application ack|country|character set|language|\
         character set scheme|profile",
    ),
    (b"EVN", "event|recorded|planned|reason|operator|occurred|facility"),
    (
        b"PID",
        "set id|external id|patient id|alternate id|name|mother's maiden name|birth|sex|alias|race|address|county|home phone|work phone|\
         language|marital status|religion|account|SSN|driver's licence|mother's id|ethnic group|birth place|multiple birth|birth order|\
         citizenship|veteran|nationality|death|dead|identity unknown|identity reliability|last update|last update facility|species|breed",
    ),
    (
        b"PD1",
        "living dependency|living arrangement|primary facility|primary doctor|student|handicap|living will|organ donor|separate bill|\
         duplicate patient|publicity|protection",
    ),
    (
        b"NK1",
        "set id|name|relationship|address|phone|work phone|contact role|from|until|job title|job code|employee number|organization|\
         marital status|sex|birth",
    ),
    (
        b"PV1",
        "set id|class|location|admission type|preadmit number|prior location|attending|referring|consulting|service|temporary location|\
         preadmit test|readmission|admit source|ambulatory status|VIP|admitting|patient type|visit number|financial class|charge price|\
         courtesy|credit rating|contract code|contract date|contract amount|contract period|interest|bad debt transfer|transfer date|\
         bad debt agency|bad debt amount|bad debt recovery|delete account|delete date|disposition|discharged to|diet|servicing facility|\
         bed status|account status|pending location|prior temporary location|admitted|discharged|balance|charges|adjustments|payments|\
         alternate visit id|visit indicator|other provider",
    ),
    (
        b"PV2",
        "prior pending location|accommodation|admit reason|transfer reason|valuables|valuables location|user code|expected admit|\
         expected discharge|expected days|actual days|visit description|referral source|previous service|illness related|purge status|\
         purge date|special program|retention|insurance plans|publicity|protection|clinic organization|status|priority",
    ),
    (
        b"MRG",
        "prior patient id|prior alternate id|prior account|prior external id|prior visit number|prior alternate visit id|prior name",
    ),
    (b"AL1", "set id|type|allergen|severity|reaction|identified"),
    (
        b"IAM",
        "set id|type|allergen|severity|reaction|action|unique id|action reason|sensitivity|group|onset|onset text|reported|reported by",
    ),
    (
        b"DG1",
        "set id|coding method|code|description|diagnosed|type|major category|related group|approved|group review|outlier type|outlier days|\
         outlier cost|grouper version|priority|clinician|classification|confidential|attested|id|action",
    ),
    (
        b"PR1",
        "set id|coding method|code|description|performed|type|minutes|anesthesiologist|anesthesia|anesthesia minutes|surgeon",
    ),
    (
        b"GT1",
        "set id|number|name|spouse|address|home phone|work phone|birth|sex|type|relationship|SSN",
    ),
    (
        b"IN1",
        "set id|plan|company id|company name|company address|contact|phone|group number|group name|employer id|employer|effective|expires|\
         authorization|plan type|insured|relationship|insured birth|insured address|assignment|coordination|priority|admission notice|\
         admission notice date|eligibility report|eligibility date|release code|pre-admit certificate|verified|verified by|agreement|\
         billing status|reserve days|delay|company plan|policy number",
    ),
    (
        b"ORC",
        "control|placer order|filler order|placer group|status|response flag|timing|parent|transaction|entered by|verified by|provider|\
         entered at|callback phone|effective|control reason|entering organization|entering device|action by",
    ),
    (
        b"OBR",
        "set id|placer order|filler order|service|priority|requested|observed|observed until|volume|collector|specimen action|danger|\
         clinical info|specimen received|specimen source|provider|callback phone|placer field 1|placer field 2|filler field 1|\
         filler field 2|reported|charge|section|result status|parent result|timing|copies to|parent|transport|reason|interpreter|\
         assistant|technician|transcriptionist|scheduled",
    ),
    (
        b"OBX",
        "set id|value type|observation|sub-id|value|units|reference range|abnormal flags|probability|abnormal test|result status|\
         range effective|access checks|observed|producer|observer|method|equipment|analyzed",
    ),
    (b"NTE", "set id|source|comment|type"),
    (
        b"SPM",
        "set id|id|parent id|type|type modifier|additives|collection method|source site|site modifier|collection site|role|amount",
    ),
    (
        b"TQ1",
        "set id|quantity|repeat|explicit time|relative time|duration|start|end|priority|condition|text",
    ),
    (
        b"RXE",
        "timing|give code|minimum|maximum|units|dosage form|instructions|deliver to|substitution|dispense amount|dispense units|refills|\
         ordering provider|verifier|prescription",
    ),
    (
        b"RXO",
        "requested code|minimum|maximum|units|dosage form|pharmacy note|administration note|deliver to|substitution",
    ),
    (b"RXR", "route|site|device|method"),
    (
        b"RXA",
        "sub-id|administration|start|end|code|amount|units|dosage form|notes|provider|location|per|strength|strength units|lot|expires|\
         manufacturer|refusal reason|indication|status|action",
    ),
    (
        b"RXD",
        "sub-id|code|dispensed at|amount|units|dosage form|prescription|refills left|notes|provider|substitution|total dose|deliver to",
    ),
    (
        b"SCH",
        "placer appointment|filler appointment|occurrence|placer group|schedule|event reason|reason|type|duration|duration units|timing|\
         placer contact|placer phone|placer address|placer location|filler contact",
    ),
    (
        b"TXA",
        "set id|document type|content form|activity time|activity provider|originated|transcribed|edited|originator|authenticator|\
         transcriptionist|document|parent document|placer order|filler order|file name|completion|confidentiality|availability",
    ),
    (
        b"FT1",
        "set id|transaction id|batch|date|posted|type|code|description|alternate description|quantity|amount|unit amount|department",
    ),
    (b"MSA", "code|control id|text|expected sequence|delayed ack|error"),
    (
        b"ERR",
        "code and location|location|code|severity|application code|application parameter|diagnostics|user message",
    ),
    (
        b"FHS",
        "field separator|encoding characters|sending application|sending facility|receiving application|receiving facility|created|\
         security|name|comment|control id|reference id",
    ),
    (
        b"BHS",
        "field separator|encoding characters|sending application|sending facility|receiving application|receiving facility|created|\
         security|name|comment|control id|reference id",
    ),
    (b"BTS", "messages|comment|totals"),
    (b"FTS", "batches|comment"),
];

/// What a field is called; nothing, where this page does not know it.
pub(super) fn name_of(segment: &[u8], field: usize) -> Option<&'static str> {
    let (_, names) = SEGMENTS.iter().find(|(name, _)| *name == segment)?;
    names.split('|').nth(field.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_the_numbers_of_the_standard() {
        let table: &[(&[u8], usize, &str)] = &[
            (b"MSH", 1, "field separator"),
            (b"MSH", 4, "sending facility"),
            (b"MSH", 9, "message type"),
            (b"MSH", 10, "control id"),
            (b"MSH", 18, "character set"),
            (b"EVN", 2, "recorded"),
            (b"PID", 3, "patient id"),
            (b"PID", 5, "name"),
            (b"PID", 8, "sex"),
            (b"PID", 18, "account"),
            (b"PID", 30, "dead"),
            (b"PV1", 3, "location"),
            (b"PV1", 19, "visit number"),
            (b"PV1", 36, "disposition"),
            (b"PV1", 44, "admitted"),
            (b"PV1", 45, "discharged"),
            (b"MRG", 1, "prior patient id"),
            (b"OBR", 4, "service"),
            (b"OBR", 25, "result status"),
            (b"OBX", 3, "observation"),
            (b"OBX", 5, "value"),
            (b"OBX", 11, "result status"),
            (b"OBX", 14, "observed"),
            (b"ORC", 5, "status"),
            (b"ORC", 12, "provider"),
            (b"AL1", 3, "allergen"),
            (b"DG1", 3, "code"),
            (b"NK1", 3, "relationship"),
            (b"IN1", 36, "policy number"),
            (b"RXA", 5, "code"),
            (b"TXA", 12, "document"),
        ];
        for (segment, field, name) in table {
            assert_eq!(
                name_of(segment, *field),
                Some(*name),
                "{} {field}",
                segment.escape_ascii()
            );
        }
    }

    #[test]
    fn what_has_no_name_is_no_fault() {
        for (segment, field) in [
            (&b"ZPD"[..], 1),
            (b"", 1),
            (b"EVN", 8),
            (b"PID", 0),
            (b"PID", usize::MAX),
        ] {
            assert_eq!(name_of(segment, field), None);
        }
    }

    #[test]
    fn each_segment_stands_once_and_each_name_is_short() {
        for (at, (segment, names)) in SEGMENTS.iter().enumerate() {
            assert_eq!(SEGMENTS.iter().position(|(other, _)| other == segment), Some(at));
            for name in names.split('|') {
                assert!(
                    !name.is_empty() && name.len() <= 24,
                    "{}: `{name}`",
                    segment.escape_ascii()
                );
            }
        }
    }
}
