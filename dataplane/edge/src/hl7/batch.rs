//! Batches and files: several messages in one frame, with headers that say so and trailers that count them.
//!
//! `[FHS] { [BHS] { MSH … } [BTS] } [FTS]`: every header and trailer may be missing, but one that is opened must be closed, because the
//! counts are there to notice a lost end. **Invariant:** the counts are checked before the first message is handed on, so a batch is taken
//! whole or refused whole.

use super::header::{Header, skip_blank};
use super::message::Message;
use super::value::{Field, part};
use super::{Delimiters, Hl7Error};
use crate::scan;

/// What one frame holds.
#[derive(Clone, Copy, Debug)]
pub enum Contents<'a> {
    /// One message.
    Message(Message<'a>),
    /// Several, or one with a batch's header or trailer.
    Batch(Batch<'a>),
}

/// A batch or file whose counts are right.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    header: Header<'a>,
    bytes: &'a [u8],
    messages: u64,
    batches: u64,
}

/// Reads what a frame holds.
///
/// # Errors
/// Those of [`Message::parse`] for a single message; `BatchOpen`, `FileOpen`, `BatchOrder`, `BatchNumber`, `FileNumber`, `BatchCount` or
/// `FileCount` for a batch. The messages of a batch are each checked when they are parsed.
pub fn contents(bytes: &[u8]) -> Result<Contents<'_>, Hl7Error> {
    let (header, _) = Header::read(bytes)?;
    let mut walk = Walk::default();
    let mut marks = Marks::new(bytes);
    let mut count = 0;
    for mark in &mut marks {
        walk.step(&mark)?;
        count += 1;
    }
    if count == 1 && walk.messages_in_all == 1 {
        return Message::parse(bytes).map(Contents::Message);
    }
    walk.finish()?;
    Ok(Contents::Batch(Batch {
        header,
        bytes,
        messages: walk.messages_in_all,
        batches: walk.batches,
    }))
}

impl<'a> Batch<'a> {
    /// The header of the whole: FHS, BHS, or the first MSH if there is neither. An answer to the whole goes to whoever it names.
    #[must_use]
    pub fn header(&self) -> &Header<'a> {
        &self.header
    }

    /// The bytes as they came.
    #[must_use]
    pub fn original(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many messages there are.
    #[must_use]
    pub fn message_count(&self) -> u64 {
        self.messages
    }

    /// How many batches they come in.
    #[must_use]
    pub fn batch_count(&self) -> u64 {
        self.batches
    }

    /// The bytes of each message in order, from its MSH to the next header or trailer, line ends included.
    #[must_use]
    pub fn messages(&self) -> Messages<'a> {
        Messages(Marks::new(self.bytes))
    }
}

/// The bytes of a batch's messages.
#[derive(Clone, Debug)]
pub struct Messages<'a>(Marks<'a>);

impl<'a> Iterator for Messages<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.0.find(|mark| mark.name == Name::Msh).map(|mark| mark.bytes)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Msh,
    Bhs,
    Fhs,
    Bts,
    Fts,
}

/// The beginning of a message, batch or file, or the end of the latter two.
#[derive(Clone, Copy, Debug)]
struct Mark<'a> {
    name: Name,
    /// From here to the next mark.
    bytes: &'a [u8],
}

/// All marks of a frame.
#[derive(Clone, Debug)]
struct Marks<'a> {
    rest: &'a [u8],
}

impl<'a> Marks<'a> {
    fn new(bytes: &'a [u8]) -> Marks<'a> {
        Marks {
            rest: skip_blank(bytes),
        }
    }
}

/// Whether a line is a mark. Each message may have separators of its own, so the one behind the name is only known not to be a letter.
fn name(line: &[u8]) -> Option<Name> {
    let name = match line.get(..3)? {
        b"MSH" => Name::Msh,
        b"BHS" => Name::Bhs,
        b"FHS" => Name::Fhs,
        b"BTS" => Name::Bts,
        b"FTS" => Name::Fts,
        _ => return None,
    };
    let is_end = |byte: &u8| byte.is_ascii_punctuation() || scan::is_line_end(*byte);
    line.get(3).is_none_or(is_end).then_some(name)
}

impl<'a> Iterator for Marks<'a> {
    type Item = Mark<'a>;

    fn next(&mut self) -> Option<Mark<'a>> {
        let bytes = self.rest;
        // The first line was found to be a mark when this was cut, or is the frame's first.
        let found = name(bytes)?;
        let mut from = 0;
        while let Some(at) = scan::line_end(&bytes[from..]) {
            from += at + 1;
            if name(&bytes[from..]).is_some() {
                let (bytes, rest) = bytes.split_at(from);
                self.rest = rest;
                return Some(Mark { name: found, bytes });
            }
        }
        self.rest = &[];
        Some(Mark { name: found, bytes })
    }
}

/// What has been opened and counted so far.
#[derive(Debug, Default)]
struct Walk {
    is_file_open: bool,
    is_batch_open: bool,
    is_closed: bool,
    is_begun: bool,
    /// Messages since the last batch ended.
    messages: u64,
    messages_in_all: u64,
    batches: u64,
}

impl Walk {
    fn step(&mut self, mark: &Mark<'_>) -> Result<(), Hl7Error> {
        if self.is_closed {
            return Err(Hl7Error::BatchOrder);
        }
        match mark.name {
            Name::Msh => {
                self.messages += 1;
                self.messages_in_all += 1;
            }
            Name::Fhs if self.is_begun => return Err(Hl7Error::BatchOrder),
            Name::Fhs => self.is_file_open = true,
            Name::Bhs if self.is_batch_open => return Err(Hl7Error::BatchOpen),
            // Messages before it are a batch without header or trailer.
            Name::Bhs => {
                self.end_batch();
                self.is_batch_open = true;
            }
            Name::Bts => {
                let said = count(mark, Hl7Error::BatchNumber)?;
                if said.is_some_and(|said| said != self.messages) {
                    return Err(Hl7Error::BatchCount);
                }
                self.is_batch_open |= self.messages > 0;
                if !self.is_batch_open {
                    return Err(Hl7Error::BatchOrder);
                }
                self.end_batch();
            }
            Name::Fts => {
                self.close()?;
                let said = count(mark, Hl7Error::FileNumber)?;
                if said.is_some_and(|said| said != self.batches) {
                    return Err(Hl7Error::FileCount);
                }
                self.is_file_open = false;
                self.is_closed = true;
            }
        }
        self.is_begun = true;
        Ok(())
    }

    fn end_batch(&mut self) {
        self.batches += u64::from(self.is_batch_open || self.messages > 0);
        self.is_batch_open = false;
        self.messages = 0;
    }

    fn close(&mut self) -> Result<(), Hl7Error> {
        if self.is_batch_open {
            return Err(Hl7Error::BatchOpen);
        }
        self.end_batch();
        Ok(())
    }

    fn finish(&mut self) -> Result<(), Hl7Error> {
        self.close()?;
        if self.is_file_open {
            Err(Hl7Error::FileOpen)
        } else {
            Ok(())
        }
    }
}

/// The count that a trailer states in its first field; `None` if it states none.
fn count(mark: &Mark<'_>, wrong: Hl7Error) -> Result<Option<u64>, Hl7Error> {
    let line = &mark.bytes[..scan::line_end(mark.bytes).unwrap_or(mark.bytes.len())];
    // Headers and messages before it may each have had a separator of their own; a trailer shows its own behind its name.
    let delimiters = Delimiters {
        field: line.get(3).copied().unwrap_or(b'|'),
        ..Delimiters::default()
    };
    let field = Field::new(part(line, Some(delimiters.field), 2), &delimiters);
    if field.is_empty() {
        return Ok(None);
    }
    let text = std::str::from_utf8(field.raw()).map_err(|_| wrong)?;
    text.trim().parse().map(Some).map_err(|_| wrong)
}
