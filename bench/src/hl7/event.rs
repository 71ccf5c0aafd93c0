//! What a message is about, for whoever sends it: told beside the bytes, so that a sender need not parse what it has just been given.

use std::fmt;

use super::stamp::{NUMBER_DIGITS, number};

/// What a message tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MessageKind {
    /// `ADT^A05`: a visit is planned.
    PreAdmit,
    /// `ADT^A14`: a planned visit is near.
    Pending,
    /// `ADT^A04`: somebody came to the emergency ward.
    Register,
    /// `ADT^A01`: a visit as an inpatient begins.
    Admit,
    /// `ADT^A11`: it does not.
    CancelAdmit,
    /// `ADT^A02`: another bed.
    Transfer,
    /// `ADT^A08`: other demographics.
    Update,
    /// `ADT^A03`: the visit ends.
    Discharge,
    /// `ADT^A40`: two ids are one patient.
    Merge,
    /// `ORM^O01`: an order to a laboratory.
    Order,
    /// `ORU^R01`: its result.
    Result,
    /// `MDM^T02`: a note with its text.
    Note,
    /// `DFT^P03`: charges.
    Charge,
    /// `RDE^O11`: drugs.
    Pharmacy,
}

impl MessageKind {
    /// All, in the order of their numbers.
    pub const ALL: [MessageKind; 14] = [
        MessageKind::PreAdmit,
        MessageKind::Pending,
        MessageKind::Register,
        MessageKind::Admit,
        MessageKind::CancelAdmit,
        MessageKind::Transfer,
        MessageKind::Update,
        MessageKind::Discharge,
        MessageKind::Merge,
        MessageKind::Order,
        MessageKind::Result,
        MessageKind::Note,
        MessageKind::Charge,
        MessageKind::Pharmacy,
    ];

    /// Code, trigger and structure, the three components of MSH-9.
    #[must_use]
    pub fn parts(self) -> [&'static str; 3] {
        match self {
            MessageKind::PreAdmit => ["ADT", "A05", "ADT_A05"],
            MessageKind::Pending => ["ADT", "A14", "ADT_A05"],
            MessageKind::Register => ["ADT", "A04", "ADT_A01"],
            MessageKind::Admit => ["ADT", "A01", "ADT_A01"],
            MessageKind::CancelAdmit => ["ADT", "A11", "ADT_A09"],
            MessageKind::Transfer => ["ADT", "A02", "ADT_A02"],
            MessageKind::Update => ["ADT", "A08", "ADT_A01"],
            MessageKind::Discharge => ["ADT", "A03", "ADT_A03"],
            MessageKind::Merge => ["ADT", "A40", "ADT_A39"],
            MessageKind::Order => ["ORM", "O01", "ORM_O01"],
            MessageKind::Result => ["ORU", "R01", "ORU_R01"],
            MessageKind::Note => ["MDM", "T02", "MDM_T02"],
            MessageKind::Charge => ["DFT", "P03", "DFT_P03"],
            MessageKind::Pharmacy => ["RDE", "O11", "RDE_O11"],
        }
    }
}

impl fmt::Display for MessageKind {
    /// As in MSH-9 with the usual delimiters: `ADT^A01`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [code, trigger, _] = self.parts();
        write!(f, "{code}^{trigger}")
    }
}

/// A number that a feed gave away: of a patient, a visit, an order or a message. Its first four digits come from the feed's seed, so that
/// feeds beside each other seldom speak of the same patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Number(pub u64);

impl Number {
    /// As it stands in a message: thirteen digits.
    #[must_use]
    pub fn digits(self) -> [u8; NUMBER_DIGITS] {
        number(self.0)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:013}", self.0)
    }
}

/// What the message that was just written is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place in the feed, from 0.
    pub serial: u64,
    /// MSH-9.
    pub kind: MessageKind,
    /// Number of the facility in [`super::Feed::facilities`]; its code is MSH-4.
    pub facility: usize,
    /// PID-3, the id by which the patient is known to the facility. For a merge: the id that stays.
    pub patient: Number,
    /// MRG-1 of a merge: the id that ends.
    pub ended: Option<Number>,
    /// PV1-19.
    pub visit: Number,
    /// MSH-10, unique within the facility.
    pub control: Number,
    /// MSH-7 in Unix milliseconds of virtual time; never before that of an earlier message.
    pub time_ms: u64,
    /// Whether it carries an attachment.
    pub is_attached: bool,
}
