//! What became of a message, in the words of an acknowledgement: a verdict, a text, and where the fault lies.

use std::borrow::Cow;

use waterpark_wire::reply::Outcome;

use super::Verdict;
use crate::hl7::Hl7Error;
use crate::mllp::Received;

/// Characters that a text has at most: MSA-3 of old versions holds no more.
pub const TEXT_MAX: usize = 80;

/// HL7's table 0357: the application has failed, not the message.
const INTERNAL: u16 = 207;
/// A key that names nothing here.
const UNKNOWN_KEY: u16 = 204;
/// A value that is not of the right form.
const DATA_TYPE: u16 = 102;
/// Segments are missing or out of order.
const SEQUENCE: u16 = 100;

/// What an acknowledgement says of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Taken, not now, or never.
    pub verdict: Verdict,
    /// Whether the message is stored: three members of five hold it.
    pub is_held: bool,
    /// Why, in ASCII and at most [`TEXT_MAX`] characters. Empty for an accept.
    pub text: Cow<'static, str>,
    /// The number of HL7's table 0357; 0 for an accept.
    pub code: u16,
    /// Segment and field at fault, where one is; field 0 for the whole segment.
    pub place: Option<(&'static str, u8)>,
}

impl Answer {
    /// The message is stored.
    #[must_use]
    pub fn accept() -> Answer {
        Answer {
            verdict: Verdict::Accept,
            is_held: true,
            text: Cow::Borrowed(""),
            code: 0,
            place: None,
        }
    }

    fn failed(verdict: Verdict, is_held: bool, code: u16, text: impl Into<Cow<'static, str>>) -> Answer {
        Answer {
            verdict,
            is_held,
            text: text.into(),
            code,
            place: None,
        }
    }

    /// What the outcome of a request says to the sender of the message. `detail` is the reply's.
    ///
    /// Only what is stored is accepted. Whatever may go well another time is an error, because a repeat of what was stored after all is
    /// recognised; a rejection is for what will never go well.
    #[must_use]
    pub fn of_outcome(outcome: Outcome, detail: u32) -> Answer {
        let error = |text: &'static str| Answer::failed(Verdict::Error, false, INTERNAL, text);
        let held = |text: &'static str| Answer::failed(Verdict::Error, true, INTERNAL, text);
        match outcome {
            Outcome::Done | Outcome::Settled => Answer::accept(),
            Outcome::Refused => held("stored, but the handler refused it"),
            Outcome::Trapped => held("stored, but the handler failed on it"),
            Outcome::Voided => error("not stored: it was withdrawn before it arrived; send it again"),
            Outcome::Busy => {
                let text = format!("not stored: busy; send it again in {detail} ms");
                Answer::failed(Verdict::Error, false, INTERNAL, text)
            }
            Outcome::NoQuorum => error("not stored: too few copies can be reached; send it again"),
            Outcome::NotWriter => error("not stored: the patient is moving between servers; send it again"),
            Outcome::SessionExpired => error("not stored: the session of this link ended; send it again"),
            Outcome::TooLarge => {
                let text = format!("message too long: the limit is {detail} bytes");
                Answer::failed(Verdict::Reject, false, DATA_TYPE, text)
            }
            Outcome::Full => error("not stored: no memory left; send it again"),
            Outcome::Gap => error("not stored: an earlier message is missing; send it again"),
            Outcome::Old => error("unknown whether stored: it came too late; send it again"),
            Outcome::GroupLost => error("not stored: the patient's data is not available; send it again"),
            Outcome::Unknown => error("unknown whether stored: no answer in time; send it again"),
            Outcome::BadRequest => Answer::failed(
                Verdict::Reject,
                false,
                UNKNOWN_KEY,
                "the key of the patient was refused",
            ),
            Outcome::Stopping => error("not stored: this server is stopping; send it again"),
            Outcome::NotMember => error("not stored: this server has no copy; send it again"),
            Outcome::LineageLost => error("not stored: what it goes on from is gone; send it again"),
        }
    }

    /// A message that is not stored because of what it is.
    #[must_use]
    pub fn of_error(error: Hl7Error) -> Answer {
        Answer {
            place: Some((error.segment(), error.field())),
            ..Answer::failed(Verdict::Reject, false, error.code(), error.text())
        }
    }

    /// A frame that did not bring its message whole; `None` for one that did. A cut one may be sent again, one that is too long may not.
    #[must_use]
    pub fn of_received(received: &Received<'_>, message_bytes_max: usize) -> Option<Answer> {
        match received {
            Received::Message(_) => None,
            Received::TooLong { .. } => {
                let limit = u32::try_from(message_bytes_max).unwrap_or(u32::MAX);
                Some(Answer::of_outcome(Outcome::TooLarge, limit))
            }
            Received::Cut { .. } => {
                let text = "not stored: the end of the message is missing; send it again";
                Some(Answer::failed(Verdict::Error, false, SEQUENCE, text))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_answer() {
        use Verdict::{Accept, Error, Reject};
        let table = [
            (Outcome::Done, Accept, true),
            (Outcome::Refused, Error, true),
            (Outcome::Trapped, Error, true),
            (Outcome::Voided, Error, false),
            (Outcome::Settled, Accept, true),
            (Outcome::Busy, Error, false),
            (Outcome::NoQuorum, Error, false),
            (Outcome::NotWriter, Error, false),
            (Outcome::SessionExpired, Error, false),
            (Outcome::TooLarge, Reject, false),
            (Outcome::Full, Error, false),
            (Outcome::Gap, Error, false),
            (Outcome::Old, Error, false),
            (Outcome::GroupLost, Error, false),
            (Outcome::Unknown, Error, false),
            (Outcome::BadRequest, Reject, false),
            (Outcome::Stopping, Error, false),
            (Outcome::NotMember, Error, false),
            (Outcome::LineageLost, Error, false),
        ];
        assert_eq!(table.map(|row| row.0), Outcome::ALL);
        for (outcome, verdict, is_held) in table {
            let answer = Answer::of_outcome(outcome, u32::MAX);
            assert_eq!((answer.verdict, answer.is_held), (verdict, is_held), "{outcome:?}");
            assert_eq!(
                answer.is_held,
                outcome.is_logged() && outcome != Outcome::Voided,
                "{outcome:?}"
            );
            assert_eq!(answer.text.is_empty(), verdict == Accept, "{outcome:?}");
            assert_eq!(answer.code == 0, verdict == Accept, "{outcome:?}");
            assert_good_text(&answer);
        }
    }

    fn assert_good_text(answer: &Answer) {
        assert!(answer.text.len() <= TEXT_MAX, "{}: {}", answer.text, answer.text.len());
        assert!(
            answer.text.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "{}",
            answer.text
        );
        assert!(
            !answer.text.bytes().any(|byte| b"|^~\\&".contains(&byte)),
            "{}",
            answer.text
        );
    }

    #[test]
    fn every_error_rejects_and_names_its_place() {
        for error in Hl7Error::ALL {
            let answer = Answer::of_error(*error);
            assert_eq!((answer.verdict, answer.is_held), (Verdict::Reject, false));
            assert_eq!(answer.place, Some((error.segment(), error.field())));
            assert!((100..=207).contains(&answer.code));
            assert_good_text(&answer);
        }
    }

    #[test]
    fn a_cut_message_may_be_sent_again_and_one_too_long_may_not() {
        let (head, bytes) = (&b"MSH"[..], 3);
        assert_eq!(Answer::of_received(&Received::Message(head), 10), None);
        let cut = Answer::of_received(&Received::Cut { head, bytes }, 10).unwrap();
        assert_eq!((cut.verdict, cut.is_held), (Verdict::Error, false));
        let long = Answer::of_received(&Received::TooLong { head, bytes }, 10).unwrap();
        assert_eq!(
            (long.verdict, &*long.text),
            (Verdict::Reject, "message too long: the limit is 10 bytes")
        );
        assert_good_text(&cut);
    }
}
