//! What can be wrong with a message. The sender's mistake in every case: nothing was stored, and the same bytes will be refused again.

/// Defines the error with the list of all its kinds, so that a test can demand that each was reached.
macro_rules! hl7_errors {
    ($($(#[doc = $doc:literal])+ $name:ident = $segment:literal, $field:literal, $code:literal, $text:literal;)+) => {
        /// Why a message or batch is refused: what is wrong, and in which field.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Hl7Error {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Hl7Error {
            /// Every kind there is.
            pub const ALL: &'static [Hl7Error] = &[$(Hl7Error::$name),+];

            /// The segment in which it stands.
            #[must_use]
            pub fn segment(self) -> &'static str {
                match self { $(Hl7Error::$name => $segment,)+ }
            }

            /// The field in which it stands, 0 for the whole segment.
            #[must_use]
            pub fn field(self) -> u8 {
                match self { $(Hl7Error::$name => $field,)+ }
            }

            /// The number of HL7's table 0357 that comes nearest.
            #[must_use]
            pub fn code(self) -> u16 {
                match self { $(Hl7Error::$name => $code,)+ }
            }

            /// What is wrong, in ASCII and at most 80 characters: old senders show no more.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Hl7Error::$name => $text,)+ }
            }
        }

        impl core::fmt::Display for Hl7Error {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.text())
            }
        }

        impl core::error::Error for Hl7Error {}
    };
}

hl7_errors! {
    /// Nothing but line ends and blanks.
    Empty = "MSH", 0, 100, "the message is empty";
    /// It does not begin with MSH, FHS or BHS.
    NotHl7 = "MSH", 0, 100, "not HL7 v2: it does not begin with MSH";
    /// The separators are missing, doubled, or letters.
    Delimiters = "MSH", 2, 102, "MSH-1 and MSH-2 do not name separators";
    /// Nobody can say what the message is.
    MessageType = "MSH", 9, 101, "MSH-9 is empty: no message type";
    /// Nobody could say which message an answer belongs to.
    ControlId = "MSH", 10, 101, "MSH-10 is empty: no control id";
    /// Neither a patient's nor a visit's number.
    NoPatient = "PID", 3, 101, "no key: neither PID-3 nor PV1-19 has an id";
    /// The id and the facility are longer than a key may be.
    KeyTooLong = "PID", 3, 102, "PID-3 and MSH-4 are too long for a key";
    /// A merge that does not say who ends.
    MergedId = "MRG", 1, 101, "MRG names neither patient, account nor visit";
    /// A batch that is opened and not closed: its end may be lost.
    BatchOpen = "BTS", 0, 100, "BHS without BTS: the batch may be cut off";
    /// A file that is opened and not closed: its end may be lost.
    FileOpen = "FTS", 0, 100, "FHS without FTS: the file may be cut off";
    /// A header or trailer where none can be.
    BatchOrder = "BHS", 0, 100, "FHS, BHS, BTS and FTS are out of order";
    /// BTS-1 is no number.
    BatchNumber = "BTS", 1, 102, "BTS-1 is not a number";
    /// FTS-1 is no number.
    FileNumber = "FTS", 1, 102, "FTS-1 is not a number";
    /// BTS-1 and the messages disagree.
    BatchCount = "BTS", 1, 102, "BTS-1 is not the number of messages in the batch";
    /// FTS-1 and the batches disagree.
    FileCount = "FTS", 1, 102, "FTS-1 is not the number of batches in the file";
}
