//! What laboratories measure: panels of tests, as an order names them and as their results come back.
//!
//! Codes, units and ranges look like those of a laboratory; values are digits in holes and mean nothing. **Invariant:** a panel's number is
//! its place in [`PANELS`], so an order can remember which one its result is to be.

use super::block::Block;
use super::facility::Dialect;

/// One value: code, name, the template of its value, unit, range.
type Test = (&'static str, &'static str, &'static str, &'static str, &'static str);

/// A panel's code, name and tests.
type Tests = (&'static str, &'static str, &'static [Test]);

/// A panel in a dialect.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    /// OBR of the order.
    pub(super) request: Block,
    /// OBR of the result, and its OBX.
    pub(super) result: Block,
}

/// All panels, small ones and large ones.
const PANELS: [Tests; 8] = [
    (
        "58410-2",
        "Blood count with differential",
        &[
            ("6690-2", "White cells", "{4-9}.#", "K/uL", "4.0-11.0"),
            ("789-8", "Red cells", "{3-5}.##", "M/uL", "4.20-5.80"),
            ("718-7", "Haemoglobin", "1{0-7}.#", "g/dL", "12.0-17.5"),
            ("4544-3", "Haematocrit", "{3-4}#.#", "percent", "36.0-50.0"),
            ("787-2", "Mean cell volume", "{8-9}#.#", "fL", "80.0-98.0"),
            ("785-6", "Mean cell haemoglobin", "{2-3}#.#", "pg", "27.0-34.0"),
            (
                "786-4",
                "Mean cell haemoglobin concentration",
                "3{1-6}.#",
                "g/dL",
                "32.0-36.0",
            ),
            ("788-0", "Distribution width", "1{1-6}.#", "percent", "11.0-15.0"),
            ("777-3", "Platelets", "{1-4}##", "K/uL", "150-450"),
            ("32623-1", "Mean platelet volume", "{7-9}.#", "fL", "7.0-11.5"),
            ("770-8", "Neutrophils", "{4-7}#.#", "percent", "40.0-75.0"),
            ("736-9", "Lymphocytes", "{1-4}#.#", "percent", "20.0-45.0"),
            ("5905-5", "Monocytes", "0{2-9}.#", "percent", "2.0-10.0"),
            ("713-8", "Eosinophils", "0{0-6}.#", "percent", "0.0-6.0"),
            ("706-2", "Basophils", "0{0-1}.#", "percent", "0.0-2.0"),
            ("751-8", "Neutrophils, absolute", "{2-7}.##", "K/uL", "1.80-7.70"),
            ("731-0", "Lymphocytes, absolute", "{1-3}.##", "K/uL", "1.00-4.00"),
            ("742-7", "Monocytes, absolute", "0.##", "K/uL", "0.20-0.95"),
            ("711-2", "Eosinophils, absolute", "0.##", "K/uL", "0.00-0.50"),
            ("704-7", "Basophils, absolute", "0.0#", "K/uL", "0.00-0.20"),
        ],
    ),
    (
        "24323-8",
        "Metabolic panel",
        &[
            ("2345-7", "Glucose", "{0-1}{7-9}#", "mg/dL", "70-110"),
            ("3094-0", "Urea nitrogen", "{1-3}#", "mg/dL", "7-25"),
            ("2160-0", "Creatinine", "{0-1}.##", "mg/dL", "0.60-1.30"),
            ("33914-3", "Filtration rate, estimated", "{3-9}#", "mL/min", "60-120"),
            ("2951-2", "Sodium", "1{3-4}#", "mmol/L", "135-146"),
            ("2823-3", "Potassium", "{3-5}.#", "mmol/L", "3.5-5.1"),
            ("2075-0", "Chloride", "{0-1}{9-9}#", "mmol/L", "98-110"),
            ("2028-9", "Carbon dioxide", "2#", "mmol/L", "20-32"),
            ("17861-6", "Calcium", "{8-9}.#", "mg/dL", "8.6-10.3"),
            ("2885-2", "Protein", "{6-8}.#", "g/dL", "6.1-8.1"),
            ("1751-7", "Albumin", "{3-4}.#", "g/dL", "3.6-5.1"),
            ("1975-2", "Bilirubin", "{0-1}.#", "mg/dL", "0.2-1.2"),
            ("6768-6", "Alkaline phosphatase", "0{3-9}#", "U/L", "33-115"),
            ("1920-8", "Aspartate transferase", "0{1-6}#", "U/L", "10-40"),
            ("1742-6", "Alanine transferase", "0{1-6}#", "U/L", "9-46"),
        ],
    ),
    (
        "24331-1",
        "Lipids",
        &[
            ("2093-3", "Cholesterol", "{1-2}##", "mg/dL", "125-200"),
            ("2571-8", "Triglycerides", "{0-2}##", "mg/dL", "30-150"),
            ("2085-9", "Cholesterol of high density", "{3-7}#", "mg/dL", "40-90"),
            (
                "13457-7",
                "Cholesterol of low density, calculated",
                "{0-1}##",
                "mg/dL",
                "50-130",
            ),
            ("9830-1", "Ratio", "{2-5}.#", "", "0.0-5.0"),
        ],
    ),
    (
        "24336-0",
        "Gases of arterial blood",
        &[
            ("2744-1", "pH", "7.{3-4}#", "", "7.35-7.45"),
            ("2019-8", "Carbon dioxide, pressure", "{3-5}#.#", "mm Hg", "35.0-45.0"),
            ("2703-7", "Oxygen, pressure", "{7-9}#.#", "mm Hg", "80.0-100.0"),
            ("1959-6", "Bicarbonate", "2#.#", "mmol/L", "22.0-26.0"),
            ("2708-6", "Oxygen saturation", "9#.#", "percent", "94.0-99.0"),
            ("1925-7", "Base excess", "0{0-3}.#", "mmol/L", "0.0-3.0"),
            ("2518-9", "Lactate", "{0-3}.##", "mmol/L", "0.50-2.00"),
        ],
    ),
    (
        "24356-8",
        "Urine",
        &[
            ("5778-6", "Colour", "{1-4}", "", "1-3"),
            ("5767-9", "Clearness", "{1-3}", "", "1-1"),
            ("5811-5", "Gravity", "1.0{0-3}#", "", "1.005-1.030"),
            ("5803-2", "pH", "{5-8}.#", "", "5.0-8.0"),
            ("5804-0", "Protein", "0#", "mg/dL", "0-15"),
            ("5792-7", "Glucose", "00{0-9}", "mg/dL", "0-15"),
            ("5797-6", "Ketones", "0{0-2}#", "mg/dL", "0-5"),
            ("5821-4", "White cells", "0{0-9}", "/field", "0-5"),
            ("13945-1", "Red cells", "0{0-9}", "/field", "0-3"),
            ("5769-5", "Bacteria", "{0-4}", "", "0-1"),
        ],
    ),
    (
        "6598-7",
        "Markers of the heart",
        &[
            ("6598-7", "Troponin T", "0.0##", "µg/L", "0.000-0.014"),
            ("13969-1", "Creatine kinase MB", "{0-9}.#", "µg/L", "0.0-5.0"),
            ("33762-6", "Natriuretic propeptide", "0{0-9}##", "ng/L", "0-450"),
        ],
    ),
    (
        "29576-6",
        "Susceptibility",
        &[
            ("18864-9", "Ampicillin", "{0-3}#", "µg/mL", "0-8"),
            ("18862-3", "Amoxicillin with clavulanate", "{0-3}#", "µg/mL", "0-8"),
            ("18878-9", "Cefazolin", "{0-3}#", "µg/mL", "0-4"),
            ("18895-3", "Ceftriaxone", "{0-6}#", "µg/mL", "0-1"),
            ("18886-2", "Cefepime", "{0-6}#", "µg/mL", "0-2"),
            ("18906-8", "Ciprofloxacin", "{0-4}.#", "µg/mL", "0.0-1.0"),
            ("18928-2", "Gentamicin", "{0-1}#", "µg/mL", "0-4"),
            ("18996-9", "Tobramycin", "{0-1}#", "µg/mL", "0-4"),
            ("18932-4", "Imipenem", "{0-8}.#", "µg/mL", "0.0-1.0"),
            ("18943-1", "Meropenem", "{0-8}.#", "µg/mL", "0.0-1.0"),
            ("18970-4", "Piperacillin with tazobactam", "0{0-9}#", "µg/mL", "0-16"),
            (
                "18998-5",
                "Trimethoprim with sulfamethoxazole",
                "0{0-9}#",
                "µg/mL",
                "0-40",
            ),
            ("18955-5", "Nitrofurantoin", "{0-1}{0-2}#", "µg/mL", "0-32"),
        ],
    ),
    ("34566-0", "Vital signs of a shift", VITALS),
];

/// Four measurements of six signs: what a monitor sends at the end of a shift.
const VITALS: &[Test] = &[
    ("8867-4", "Heart rate, first", "0{5-9}#", "/min", "50-100"),
    ("9279-1", "Breathing rate, first", "{1-2}#", "/min", "12-20"),
    ("8480-6", "Systolic pressure, first", "1{0-6}#", "mm Hg", "90-140"),
    ("8462-4", "Diastolic pressure, first", "{5-9}#", "mm Hg", "60-90"),
    ("59408-5", "Saturation, first", "9#", "percent", "94-100"),
    ("8310-5", "Temperature, first", "3{6-9}.#", "°C", "36.0-37.8"),
    ("8867-4", "Heart rate, second", "0{5-9}#", "/min", "50-100"),
    ("9279-1", "Breathing rate, second", "{1-2}#", "/min", "12-20"),
    ("8480-6", "Systolic pressure, second", "1{0-6}#", "mm Hg", "90-140"),
    ("8462-4", "Diastolic pressure, second", "{5-9}#", "mm Hg", "60-90"),
    ("59408-5", "Saturation, second", "9#", "percent", "94-100"),
    ("8310-5", "Temperature, second", "3{6-9}.#", "°C", "36.0-37.8"),
    ("8867-4", "Heart rate, third", "0{5-9}#", "/min", "50-100"),
    ("9279-1", "Breathing rate, third", "{1-2}#", "/min", "12-20"),
    ("8480-6", "Systolic pressure, third", "1{0-6}#", "mm Hg", "90-140"),
    ("8462-4", "Diastolic pressure, third", "{5-9}#", "mm Hg", "60-90"),
    ("59408-5", "Saturation, third", "9#", "percent", "94-100"),
    ("8310-5", "Temperature, third", "3{6-9}.#", "°C", "36.0-37.8"),
    ("8867-4", "Heart rate, last", "0{5-9}#", "/min", "50-100"),
    ("9279-1", "Breathing rate, last", "{1-2}#", "/min", "12-20"),
    ("8480-6", "Systolic pressure, last", "1{0-6}#", "mm Hg", "90-140"),
    ("8462-4", "Diastolic pressure, last", "{5-9}#", "mm Hg", "60-90"),
    ("59408-5", "Saturation, last", "9#", "percent", "94-100"),
    ("8310-5", "Temperature, last", "3{6-9}.#", "°C", "36.0-37.8"),
];

/// All panels in a dialect.
pub(super) fn compile(dialect: Dialect) -> Vec<Panel> {
    let panel = |(code, name, tests): &Tests| Panel {
        request: Block::new(&request(code, name), dialect),
        result: Block::new(&result(code, name, tests), dialect),
    };
    PANELS.iter().map(panel).collect()
}

fn request(code: &str, name: &str) -> String {
    format!(
        "OBR|{{set}}|{{order}}^{{facility}}|F########^{{facility}}LAB|{code}^{name}^LN|{{=RSAT}}|{{stamp}}|||||{{=ALOC}}||\
         Test reason, see diagnosis {{set}}|{{stamp}}|BLD^Test sample^HL70070^LEFT ARM|9####^TEST^ORDERING^{{=ABCD}}^^DR^MD^^{{facility}}^L^^^DN|\
         ^WPN^PH^^1^###^55501##|||||||{{=CM}}H|||^^^{{stamp}}^^{{=RSAT}}|9####^TEST^CONSULTING^{{=ABCD}}||WHLC|\
         R{{1-9}}#.#^Test reason of the order^I10\r"
    )
}

fn result(code: &str, name: &str, tests: &[Test]) -> String {
    let mut text = format!(
        "OBR|{{set}}|{{order}}^{{facility}}|F########^{{facility}}LAB|{code}^{name}^LN|||{{since}}|||9####^TEST^COLLECTING|||Test reason|\
         {{stamp}}|BLD^Test sample^HL70070|9####^TEST^ORDERING^{{=ABCD}}^^DR^MD^^{{facility}}^L^^^DN|^WPN^PH^^1^###^55501##|||||{{stamp}}||\
         LAB|F||^^^{{since}}^^R|9####^TEST^CONSULTING^{{=ABCD}}|||||9####&TEST&RESULT^^^^^^{{facility}}\r"
    );
    for (at, (code, name, value, unit, range)) in tests.iter().enumerate() {
        text.push_str(&format!(
            "OBX|{}|NM|{code}^{name}^LN||{value}|{unit}|{range}|?|||F|||{{stamp}}|{{facility}}LAB|9####^TEST^TECHNICIAN\r",
            at + 1
        ));
    }
    text
}
