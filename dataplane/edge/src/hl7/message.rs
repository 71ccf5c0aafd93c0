//! A message: its header, and its segments as they are asked for.
//!
//! A segment ends at CR, LF or both, whichever the sender uses, but only where another segment begins or the message ends: text with line ends
//! of its own stays in its field. **Invariant:** every byte of a message belongs to one segment or is a line end.

use super::header::Header;
use super::value::{Field, part};
use super::{Delimiters, Hl7Error};
use crate::scan;

/// A checked message, borrowed from the bytes that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    original: &'a [u8],
    header: Header<'a>,
    /// Behind the header's line end.
    rest: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads the header of a message and checks that it says what it is and under which id.
    ///
    /// # Errors
    /// `Empty`, `NotHl7`, `Delimiters`, `MessageType` or `ControlId`.
    pub fn parse(bytes: &'a [u8]) -> Result<Message<'a>, Hl7Error> {
        let message = Message::of_answer(bytes)?;
        let header = &message.header;
        if header.field(9).component(1).is_empty() {
            return Err(Hl7Error::MessageType);
        }
        if header.field(10).is_empty() {
            return Err(Hl7Error::ControlId);
        }
        Ok(message)
    }

    /// As [`parse`](Self::parse), for an acknowledgement: its type and id may be missing, because what it says stands in MSA.
    ///
    /// # Errors
    /// `Empty`, `NotHl7` or `Delimiters`.
    pub fn of_answer(bytes: &'a [u8]) -> Result<Message<'a>, Hl7Error> {
        let (header, rest) = Header::read(bytes)?;
        if header.kind() != super::HeaderKind::Message {
            return Err(Hl7Error::NotHl7);
        }
        Ok(Message {
            original: bytes,
            header,
            rest,
        })
    }

    /// The bytes as they came, with byte order mark and line ends: what is stored.
    #[must_use]
    pub fn original(&self) -> &'a [u8] {
        self.original
    }

    /// MSH.
    #[must_use]
    pub fn header(&self) -> &Header<'a> {
        &self.header
    }

    /// All segments in order, MSH first.
    #[must_use]
    pub fn segments(&self) -> Segments<'_> {
        Segments {
            header: Some(self.header.segment()),
            rest: self.rest,
            delimiters: self.header.delimiters(),
        }
    }

    /// The first segment with this name.
    #[must_use]
    pub fn segment(&self, name: &str) -> Option<Segment<'_>> {
        self.segments().find(|segment| segment.name() == name.as_bytes())
    }
}

/// The segments of a message.
#[derive(Clone, Debug)]
pub struct Segments<'a> {
    header: Option<&'a [u8]>,
    rest: &'a [u8],
    delimiters: &'a Delimiters,
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    #[inline]
    fn next(&mut self) -> Option<Segment<'a>> {
        let delimiters = self.delimiters;
        if let Some(bytes) = self.header.take() {
            return Some(Segment { bytes, delimiters });
        }
        while let [first, rest @ ..] = self.rest
            && scan::is_line_end(*first)
        {
            self.rest = rest;
        }
        if self.rest.is_empty() {
            return None;
        }
        let (bytes, rest) = split_segment(self.rest, delimiters.field);
        self.rest = rest;
        Some(Segment { bytes, delimiters })
    }
}

/// Splits off the segment with which `bytes` begin. What follows begins with the next segment.
#[inline]
fn split_segment(bytes: &[u8], separator: u8) -> (&[u8], &[u8]) {
    let mut from = 0;
    while let Some(at) = scan::line_end(&bytes[from..]) {
        let end = from + at;
        let line_ends = bytes[end..].iter().take_while(|byte| scan::is_line_end(**byte)).count();
        let next = &bytes[end + line_ends..];
        if next.is_empty() || begins_segment(next, separator) {
            return (&bytes[..end], next);
        }
        from = end + line_ends;
    }
    (bytes, &[])
}

/// Whether a line begins a segment: a name of a letter and two letters or digits, then a separator or nothing.
#[inline]
pub(super) fn begins_segment(line: &[u8], separator: u8) -> bool {
    let Some((name, rest)) = line.split_first_chunk::<3>() else {
        return false;
    };
    let is_name =
        name[0].is_ascii_uppercase() && name[1..].iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    is_name
        && rest
            .first()
            .is_none_or(|byte| *byte == separator || scan::is_line_end(*byte))
}

/// One segment, without its line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    bytes: &'a [u8],
    delimiters: &'a Delimiters,
}

impl<'a> Segment<'a> {
    /// The bytes as they were sent.
    #[must_use]
    pub fn raw(&self) -> &'a [u8] {
        self.bytes
    }

    /// Its name: three bytes, or fewer if it has no more.
    #[must_use]
    #[inline]
    pub fn name(&self) -> &'a [u8] {
        &self.bytes[..self.bytes.len().min(3)]
    }

    /// A field by its number, counted from 1 as HL7 does, 0 being the name; in MSH, BHS and FHS the first is the separator itself.
    #[must_use]
    pub fn field(&self, number: usize) -> Field<'a> {
        let is_header = matches!(self.name(), b"MSH" | b"BHS" | b"FHS");
        let bytes = match number {
            1 if is_header => self.bytes.get(3..4).unwrap_or_default(),
            _ if is_header => part(self.bytes, Some(self.delimiters.field), number),
            _ => part(self.bytes, Some(self.delimiters.field), number.saturating_add(1)),
        };
        Field::new(bytes, self.delimiters)
    }
}
