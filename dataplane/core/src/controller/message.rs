//! What controllers say to each other, as bytes: one message, over whatever link there is, lost or doubled without harm.
//!
//! It does not know what a message is good for. **Invariant:** no bytes make it panic, and none make it reserve more than they hold.
//!
//! ```text
//! message    u8 kind · body to the end
//! 1 Vote     a message of the consensus library, with its own header
//! 2 Row      a row of the link matrix
//! 3 Propose  an entry of the topology log
//! 4 Ask      u64 position
//! 5 Learn    u64 position · (u64 length · entry)*
//! 6 Report   group report*, each: u64 group · u64 view · u64 progress · u64 word
//! 7 State    u64 position · u64 length of the whole · u64 offset · u64 length · bytes
//! 8 AskState u64 position · u64 offset
//! ```

use core::fmt;

use super::report::{GroupReport, Word};
use crate::ids::{GroupId, View};
use crate::state_bytes::{StateReader, StateWriter};
use crate::topology_log::Trouble;
use crate::topology_log::consensus::Decided;

const VOTE: u8 = 1;
const ROW: u8 = 2;
const PROPOSE: u8 = 3;
const ASK: u8 = 4;
const LEARN: u8 = 5;
const REPORT: u8 = 6;
const STATE: u8 = 7;
const ASK_STATE: u8 = 8;

/// Group reports in one message at most; what is beyond comes with the next one.
pub const REPORTS_MAX: usize = 4_096;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Between voters.
    Vote(&'a [u8]),
    /// What a node sees of the others.
    Row(&'a [u8]),
    /// An entry to be decided, for whoever leads.
    Propose(&'a [u8]),
    /// Decided entries are wanted from this position on.
    Ask(u64),
    /// Decided entries, ascending without a hole.
    Learn(Vec<Decided>),
    /// What a node's shards say of their groups: all that there is to say now.
    Report(Vec<GroupReport>),
    /// A part of the state that all entries up to a position add up to: for a node that asked for entries which nobody keeps any more.
    State(StatePart<'a>),
    /// The next part of it is wanted.
    AskState {
        /// Of the state at this position.
        position: u64,
        /// From this byte on.
        offset: u64,
    },
}

/// A part of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatePart<'a> {
    /// The position of the last entry in it.
    pub position: u64,
    /// Bytes of the whole.
    pub length: u64,
    /// Where this part begins.
    pub offset: u64,
    /// The part.
    pub bytes: &'a [u8],
}

/// Why bytes are no message. The fault of whoever sent them; nothing was taken from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// No message has this kind.
    Kind {
        /// The number found; 0 also if there are no bytes at all.
        kind: u8,
    },
    /// The body is not one of its kind.
    Body,
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MessageError::Kind { kind } => write!(f, "kind {kind} of a controller's message is unknown"),
            MessageError::Body => f.write_str("the body of a controller's message does not fit its kind"),
        }
    }
}

impl core::error::Error for MessageError {}

impl<'a> Message<'a> {
    /// The bytes of a message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let body = match self {
            Message::Vote(bytes) | Message::Row(bytes) | Message::Propose(bytes) => bytes.len(),
            Message::Ask(_) => size_of::<u64>(),
            Message::Learn(_) | Message::Report(_) => 0,
            Message::State(part) => 32 + part.bytes.len(),
            Message::AskState { .. } => 16,
        };
        let mut out = Vec::with_capacity(1 + body);
        match self {
            Message::Vote(bytes) => put(&mut out, VOTE, bytes),
            Message::Row(bytes) => put(&mut out, ROW, bytes),
            Message::Propose(bytes) => put(&mut out, PROPOSE, bytes),
            Message::Ask(position) => {
                out.push(ASK);
                StateWriter(&mut out).number(*position);
            }
            Message::Learn(entries) => {
                out.push(LEARN);
                let mut to = StateWriter(&mut out);
                to.number(entries.first().map_or(0, |first| first.position));
                entries.iter().for_each(|decided| to.bytes(&decided.entry));
            }
            Message::Report(reports) => {
                out.push(REPORT);
                let mut to = StateWriter(&mut out);
                for report in reports.iter().take(REPORTS_MAX) {
                    to.number(report.group.0.into());
                    to.number(report.view.0);
                    to.number(report.progress);
                    to.number(number_of(report.word));
                }
            }
            Message::State(part) => {
                out.push(STATE);
                let mut to = StateWriter(&mut out);
                to.number(part.position);
                to.number(part.length);
                to.number(part.offset);
                to.bytes(part.bytes);
            }
            Message::AskState { position, offset } => {
                out.push(ASK_STATE);
                let mut to = StateWriter(&mut out);
                to.number(*position);
                to.number(*offset);
            }
        }
        out
    }

    /// The message that these bytes are.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn decode(bytes: &'a [u8]) -> Result<Message<'a>, MessageError> {
        let (kind, body) = bytes.split_first().ok_or(MessageError::Kind { kind: 0 })?;
        let mut from = StateReader(body);
        let message = match *kind {
            VOTE => return Ok(Message::Vote(body)),
            ROW => return Ok(Message::Row(body)),
            PROPOSE => return Ok(Message::Propose(body)),
            ASK => Message::Ask(from.number().ok_or(MessageError::Body)?),
            LEARN => Message::Learn(learn(&mut from).ok_or(MessageError::Body)?),
            REPORT => Message::Report(reports(&mut from).ok_or(MessageError::Body)?),
            STATE => Message::State(state_part(&mut from).ok_or(MessageError::Body)?),
            ASK_STATE => Message::AskState {
                position: from.number().ok_or(MessageError::Body)?,
                offset: from.number().ok_or(MessageError::Body)?,
            },
            kind => return Err(MessageError::Kind { kind }),
        };
        if from.is_empty() {
            Ok(message)
        } else {
            Err(MessageError::Body)
        }
    }
}

fn put(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    out.push(kind);
    out.extend_from_slice(body);
}

fn learn(from: &mut StateReader<'_>) -> Option<Vec<Decided>> {
    let first = from.number()?;
    let mut entries = Vec::new();
    while !from.is_empty() {
        let position = first.checked_add(entries.len() as u64)?;
        entries.push(Decided {
            position,
            entry: from.bytes()?.to_vec(),
        });
    }
    Some(entries)
}

fn reports(from: &mut StateReader<'_>) -> Option<Vec<GroupReport>> {
    let mut reports = Vec::new();
    while !from.is_empty() && reports.len() < REPORTS_MAX {
        reports.push(GroupReport {
            group: GroupId(from.small()?),
            view: View(from.number()?),
            progress: from.number()?,
            word: word_of(from.number()?)?,
        });
    }
    Some(reports)
}

fn state_part<'a>(from: &mut StateReader<'a>) -> Option<StatePart<'a>> {
    let part = StatePart {
        position: from.number()?,
        length: from.number()?,
        offset: from.number()?,
        bytes: from.bytes()?,
    };
    let end = part.offset.checked_add(part.bytes.len() as u64)?;
    (end <= part.length).then_some(part)
}

fn number_of(word: Word) -> u64 {
    match word {
        Word::Opening => 0,
        Word::Learning => 1,
        Word::CaughtUp => 2,
        Word::Trouble(Trouble::Outrun) => 3,
        Word::Trouble(Trouble::Stalled) => 4,
        Word::OutOfService => 5,
    }
}

fn word_of(number: u64) -> Option<Word> {
    Some(match number {
        0 => Word::Opening,
        1 => Word::Learning,
        2 => Word::CaughtUp,
        3 => Word::Trouble(Trouble::Outrun),
        4 => Word::Trouble(Trouble::Stalled),
        5 => Word::OutOfService,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(word: Word) -> GroupReport {
        GroupReport {
            group: GroupId(7),
            view: View(41),
            progress: 12,
            word,
        }
    }

    fn messages() -> Vec<Message<'static>> {
        let decided = |position, entry: &[u8]| Decided {
            position,
            entry: entry.to_vec(),
        };
        let words = [
            Word::Opening,
            Word::Learning,
            Word::CaughtUp,
            Word::Trouble(Trouble::Outrun),
            Word::Trouble(Trouble::Stalled),
            Word::OutOfService,
        ];
        vec![
            Message::Vote(b"vote"),
            Message::Row(b""),
            Message::Propose(b"entry"),
            Message::Ask(9),
            Message::Learn(vec![]),
            Message::Learn(vec![decided(5, b"five"), decided(6, b"")]),
            Message::Report(words.map(report).to_vec()),
            Message::State(StatePart {
                position: 9,
                length: 7,
                offset: 3,
                bytes: b"part",
            }),
            Message::AskState { position: 9, offset: 7 },
        ]
    }

    #[test]
    fn what_is_written_is_read_back() {
        for message in messages() {
            assert_eq!(Message::decode(&message.encode()), Ok(message));
        }
    }

    #[test]
    fn cut_and_spoiled_bytes_are_refused_by_name_or_are_another_message() {
        assert_eq!(Message::decode(b""), Err(MessageError::Kind { kind: 0 }));
        assert_eq!(Message::decode(b"\xFFrest"), Err(MessageError::Kind { kind: 0xFF }));
        for message in messages() {
            let bytes = message.encode();
            for length in 0..bytes.len() {
                // A prefix may be a shorter message; that it is not this one is what can be said.
                assert_ne!(Message::decode(&bytes[..length]), Ok(message.clone()));
            }
        }
        let mut asks_too_much = Message::Ask(1).encode();
        asks_too_much.push(0);
        assert_eq!(Message::decode(&asks_too_much), Err(MessageError::Body));
        let mut strange = Message::Report(vec![report(Word::Opening)]).encode();
        *strange.last_mut().unwrap() = 0xFF;
        assert_eq!(Message::decode(&strange), Err(MessageError::Body));
        let beyond = StatePart {
            position: 9,
            length: 6,
            offset: 3,
            bytes: b"part",
        };
        assert_eq!(
            Message::decode(&Message::State(beyond).encode()),
            Err(MessageError::Body)
        );
        let mut endless = vec![LEARN];
        StateWriter(&mut endless).number(u64::MAX);
        StateWriter(&mut endless).bytes(b"last");
        StateWriter(&mut endless).bytes(b"beyond");
        assert_eq!(Message::decode(&endless), Err(MessageError::Body));
    }
}
