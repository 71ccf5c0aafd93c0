//! Acknowledgements: which codes are due, why, and their bytes.
//!
//! It does not know when a message is stored: a caller says what became of it, and this says it in HL7. **Invariant:** no value of a message
//! that is answered can end a field, a segment or a frame of the answer.

mod outcome;
mod write;

pub use outcome::{Answer, TEXT_MAX};
pub use write::{Stamp, write};

use crate::hl7::Header;

/// Table 0008: what an acknowledgement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// Application accept.
    AA,
    /// Application error: may be sent again.
    AE,
    /// Application reject: will be refused again.
    AR,
    /// Commit accept: it is held, whatever becomes of it.
    CA,
    /// Commit error: may be sent again.
    CE,
    /// Commit reject: will be refused again.
    CR,
}

impl Code {
    /// Every code there is.
    pub const ALL: &'static [Code] = &[Code::AA, Code::AE, Code::AR, Code::CA, Code::CE, Code::CR];

    /// Its two letters.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Code::AA => "AA",
            Code::AE => "AE",
            Code::AR => "AR",
            Code::CA => "CA",
            Code::CE => "CE",
            Code::CR => "CR",
        }
    }

    /// The code with these letters.
    #[must_use]
    pub fn parse(letters: &[u8]) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.text().as_bytes() == letters)
    }

    /// Whether the message was taken.
    #[must_use]
    pub fn is_accept(self) -> bool {
        matches!(self, Code::AA | Code::CA)
    }
}

/// How far a message came, in HL7's three words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Taken.
    Accept,
    /// Not taken now, or failed: the same bytes may be sent again.
    Error,
    /// Never to be taken: the sender has to change something.
    Reject,
}

/// Whether a link listens to MSH-15 and MSH-16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// One AA, AE or AR for every message, whatever MSH-15 and MSH-16 say. What most senders expect, those included that fill in the two
    /// fields and wait all the same.
    #[default]
    Original,
    /// By MSH-15 and MSH-16 where a message has one of them: none, one or two answers. A message with neither is answered as in original mode.
    Enhanced,
}

/// The answers that are due, in the order in which they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// CA, CE or CR.
    pub accept: Option<Code>,
    /// AA, AE or AR.
    pub application: Option<Code>,
}

/// Which answers a message is due, once it is known what became of it. `is_held` says that it is stored, whatever the verdict.
#[must_use]
pub fn due(mode: Mode, header: &Header<'_>, verdict: Verdict, is_held: bool) -> Due {
    let application = match verdict {
        Verdict::Accept => Code::AA,
        Verdict::Error => Code::AE,
        Verdict::Reject => Code::AR,
    };
    let (accept_wish, application_wish) = (header.accept_condition(), header.application_condition());
    if mode == Mode::Original || (accept_wish.is_empty() && application_wish.is_empty()) {
        return Due {
            accept: None,
            application: Some(application),
        };
    }
    let accept = match verdict {
        _ if is_held => Code::CA,
        Verdict::Accept => Code::CA,
        Verdict::Error => Code::CE,
        Verdict::Reject => Code::CR,
    };
    let accept = Some(accept).filter(|code| is_wanted(accept_wish, code.is_accept()));
    // Who has heard that it was not even taken is not told again.
    let is_told = accept.is_some_and(|code| !code.is_accept());
    Due {
        accept,
        application: Some(application).filter(|code| !is_told && is_wanted(application_wish, code.is_accept())),
    }
}

/// Table 0155. A field that is empty while the other is not asks for nothing; an unknown word asks for everything, because an answer too many
/// is ignored and one too few is waited for.
fn is_wanted(condition: &[u8], is_accept: bool) -> bool {
    match condition {
        b"" | b"NE" => false,
        b"ER" => !is_accept,
        b"SU" => is_accept,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hl7::Message;

    /// What is due, as text: `CA AA`, or `-`.
    fn due_of(mode: Mode, wishes: &str, verdict: Verdict, is_held: bool) -> String {
        let text = format!("MSH|^~\\&|A|F|B|G|1||ADT^A01|1|P|2.5|||{wishes}\r");
        let message = Message::parse(text.as_bytes()).unwrap();
        let due = due(mode, message.header(), verdict, is_held);
        let codes: Vec<_> = [due.accept, due.application]
            .into_iter()
            .flatten()
            .map(Code::text)
            .collect();
        if codes.is_empty() { "-".into() } else { codes.join(" ") }
    }

    #[test]
    fn original_mode_sends_one_answer_whatever_is_wished() {
        for wishes in ["|", "NE|NE", "AL|NE", "ER|AL", "SU|ER"] {
            for (verdict, code) in [(Verdict::Accept, "AA"), (Verdict::Error, "AE"), (Verdict::Reject, "AR")] {
                assert_eq!(due_of(Mode::Original, wishes, verdict, false), code);
            }
        }
    }

    #[test]
    fn enhanced_mode_follows_msh_15_and_msh_16() {
        // Columns: taken; held but failed; not taken now; never taken.
        for (wishes, columns) in [
            ("|", ["AA", "AE", "AE", "AR"]),
            ("AL|AL", ["CA AA", "CA AE", "CE", "CR"]),
            ("AL|NE", ["CA", "CA", "CE", "CR"]),
            ("AL|", ["CA", "CA", "CE", "CR"]),
            ("|AL", ["AA", "AE", "AE", "AR"]),
            ("NE|AL", ["AA", "AE", "AE", "AR"]),
            ("NE|NE", ["-", "-", "-", "-"]),
            ("AL|ER", ["CA", "CA AE", "CE", "CR"]),
            ("AL|SU", ["CA AA", "CA", "CE", "CR"]),
            ("ER|AL", ["AA", "AE", "CE", "CR"]),
            ("ER|ER", ["-", "AE", "CE", "CR"]),
            ("SU|AL", ["CA AA", "CA AE", "AE", "AR"]),
            ("SU|SU", ["CA AA", "CA", "-", "-"]),
            ("XX|XX", ["CA AA", "CA AE", "CE", "CR"]),
        ] {
            let cases = [
                (Verdict::Accept, true),
                (Verdict::Error, true),
                (Verdict::Error, false),
                (Verdict::Reject, false),
            ];
            for ((verdict, is_held), expected) in cases.into_iter().zip(columns) {
                assert_eq!(
                    due_of(Mode::Enhanced, wishes, verdict, is_held),
                    expected,
                    "{wishes} {verdict:?}"
                );
            }
        }
    }

    #[test]
    fn codes_are_read_as_they_are_written() {
        for code in Code::ALL {
            assert_eq!(Code::parse(code.text().as_bytes()), Some(*code));
        }
        assert_eq!(Code::parse(b"aa"), None);
        assert_eq!(Code::parse(b""), None);
    }
}
