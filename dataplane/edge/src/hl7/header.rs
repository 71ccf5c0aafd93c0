//! A header segment: MSH of a message, BHS of a batch, FHS of a file. Cut once, because every message is asked for the same few fields.

use super::value::{Component, Field};
use super::{Delimiters, Hl7Error};
use crate::scan;

/// Fields that are kept, by their number; 0 is not used.
const FIELDS: usize = 19;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Which header it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderKind {
    /// MSH.
    Message,
    /// BHS.
    Batch,
    /// FHS.
    File,
}

impl HeaderKind {
    /// The header that begins with these bytes, by its name.
    fn of(bytes: &[u8]) -> Option<HeaderKind> {
        match bytes.get(..3)? {
            b"MSH" => Some(HeaderKind::Message),
            b"BHS" => Some(HeaderKind::Batch),
            b"FHS" => Some(HeaderKind::File),
            _ => None,
        }
    }
}

/// MSH-9: what a message is. Parts that are not there are empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageType<'a> {
    /// `ADT`
    pub code: &'a [u8],
    /// `A01`
    pub trigger: &'a [u8],
    /// `ADT_A01`
    pub structure: &'a [u8],
}

/// MSH-12 as numbers: `2.5.1` is 2, 5. Unreadable ones are 0, older than all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Before the first dot.
    pub major: u8,
    /// Behind it.
    pub minor: u8,
}

impl Version {
    /// A version.
    #[must_use]
    pub const fn new(major: u8, minor: u8) -> Version {
        Version { major, minor }
    }

    fn read(bytes: &[u8]) -> Version {
        let mut parts = bytes.split(|byte| *byte == b'.');
        let mut number = || std::str::from_utf8(parts.next()?).ok()?.parse().ok();
        let major = number().unwrap_or(0);
        Version::new(major, number().unwrap_or(0))
    }
}

/// A header segment with its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    kind: HeaderKind,
    delimiters: Delimiters,
    /// The whole segment, without its line end.
    segment: &'a [u8],
    fields: [&'a [u8]; FIELDS],
}

impl<'a> Header<'a> {
    /// Reads the header with which `bytes` begin, and returns it with what stands behind its line end. A byte order mark, blanks and line
    /// ends before it are skipped.
    ///
    /// # Errors
    /// `Empty`, `NotHl7` or `Delimiters`.
    pub(super) fn read(bytes: &'a [u8]) -> Result<(Header<'a>, &'a [u8]), Hl7Error> {
        let bytes = skip_blank(bytes);
        if bytes.is_empty() {
            return Err(Hl7Error::Empty);
        }
        let kind = HeaderKind::of(bytes).ok_or(Hl7Error::NotHl7)?;
        // A header never goes on behind a line end: what is copied from it into answers is one line.
        let end = scan::line_end(bytes).unwrap_or(bytes.len());
        let (segment, rest) = bytes.split_at(end);
        let (delimiters, length) = Delimiters::read(&segment[3..])?;
        let mut fields = [&[][..]; FIELDS];
        fields[1] = &segment[3..4];
        let values = segment[4..].split(|byte| *byte == delimiters.field);
        for (field, value) in fields[2..].iter_mut().zip(values) {
            *field = value;
        }
        debug_assert_eq!(fields[2].len(), length - 1);
        let header = Header {
            kind,
            delimiters,
            segment,
            fields,
        };
        Ok((header, rest))
    }

    /// The header of bytes that were refused, so that the refusal can name what it refuses: whatever can be read of it, else one with usual
    /// separators and nothing in it.
    #[must_use]
    pub fn of_refused(bytes: &'a [u8]) -> Header<'a> {
        Header::read(bytes).map_or_else(|_| Header::blank(), |(header, _)| header)
    }

    /// As [`of_refused`](Self::of_refused), for the first bytes of a message that did not come whole: a field that may go on behind them is
    /// left out.
    #[must_use]
    pub fn of_head(head: &'a [u8]) -> Header<'a> {
        let header = Header::of_refused(head);
        let is_cut = header.segment.as_ptr_range().end == head.as_ptr_range().end;
        let Some(last) = header.segment.iter().rposition(|byte| *byte == header.delimiters.field) else {
            return Header::blank();
        };
        if is_cut {
            Header::of_refused(&header.segment[..last])
        } else {
            header
        }
    }

    /// A header with usual separators and nothing in it.
    #[must_use]
    pub fn blank() -> Header<'static> {
        Header {
            kind: HeaderKind::Message,
            delimiters: Delimiters::default(),
            segment: &[],
            fields: [&[]; FIELDS],
        }
    }

    /// Which header it is.
    #[must_use]
    pub fn kind(&self) -> HeaderKind {
        self.kind
    }

    /// The separators that it names.
    #[must_use]
    pub fn delimiters(&self) -> &Delimiters {
        &self.delimiters
    }

    /// The whole segment, without its line end.
    #[must_use]
    pub fn segment(&self) -> &'a [u8] {
        self.segment
    }

    /// A field by its number, up to 18; MSH-1 is the separator itself.
    #[must_use]
    pub fn field(&self, number: usize) -> Field<'_> {
        Field::new(self.raw(number), &self.delimiters)
    }

    /// The bytes of a field as they were sent, up to field 18.
    #[must_use]
    pub fn raw(&self, number: usize) -> &'a [u8] {
        self.fields.get(number).copied().unwrap_or_default()
    }

    /// MSH-4, whole: who sent it.
    #[must_use]
    pub fn sending_facility(&self) -> &'a [u8] {
        self.raw(4)
    }

    /// The first component of MSH-4 that says something: its name, else its universal id. Empty if neither does.
    #[must_use]
    pub fn facility(&self) -> Component<'_> {
        let field = self.field(4);
        let name = field.component(1);
        if name.is_empty() { field.component(2) } else { name }
    }

    /// MSH-9.
    #[must_use]
    pub fn message_type(&self) -> MessageType<'a> {
        if self.kind != HeaderKind::Message {
            return MessageType {
                code: &[],
                trigger: &[],
                structure: &[],
            };
        }
        let component = |number| super::value::part(self.raw(9), Some(self.delimiters.component), number).trim_ascii();
        MessageType {
            code: component(1),
            trigger: component(2),
            structure: component(3),
        }
    }

    /// MSH-10, or field 11 of a batch's or file's header: what an answer repeats.
    #[must_use]
    pub fn control_id(&self) -> &'a [u8] {
        self.raw(if self.kind == HeaderKind::Message { 10 } else { 11 })
            .trim_ascii()
    }

    /// A field that only MSH has: empty in the header of a batch or file.
    fn message_field(&self, number: usize) -> &'a [u8] {
        if self.kind == HeaderKind::Message {
            self.raw(number).trim_ascii()
        } else {
            &[]
        }
    }

    /// MSH-11: production, training or debugging.
    #[must_use]
    pub fn processing_id(&self) -> &'a [u8] {
        self.message_field(11)
    }

    /// MSH-12 as it was sent.
    #[must_use]
    pub fn version_id(&self) -> &'a [u8] {
        self.message_field(12)
    }

    /// MSH-12 as numbers.
    #[must_use]
    pub fn version(&self) -> Version {
        let id = super::value::part(self.version_id(), Some(self.delimiters.component), 1);
        Version::read(id.trim_ascii())
    }

    /// MSH-15: when the sender wants to hear that it was taken.
    #[must_use]
    pub fn accept_condition(&self) -> &'a [u8] {
        self.message_field(15)
    }

    /// MSH-16: when the sender wants to hear what became of it.
    #[must_use]
    pub fn application_condition(&self) -> &'a [u8] {
        self.message_field(16)
    }

    /// MSH-18: the character sets.
    #[must_use]
    pub fn character_set(&self) -> &'a [u8] {
        self.message_field(18)
    }
}

/// Without a byte order mark, blanks and line ends at the front.
pub(super) fn skip_blank(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.trim_ascii_start();
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes).trim_ascii_start()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (text, version) in [
            (&b"2.3"[..], (2, 3)),
            (b"2.5.1", (2, 5)),
            (b"2.10", (2, 10)),
            (b"2", (2, 0)),
            (b"", (0, 0)),
            (b"x.y", (0, 0)),
            (b"999.1", (0, 1)),
        ] {
            assert_eq!(Version::read(text), Version::new(version.0, version.1), "{text:?}");
        }
        assert!(Version::new(2, 10) > Version::new(2, 5));
    }

    #[test]
    fn a_head_gives_only_fields_that_are_known_to_be_whole() {
        let head = b"MSH|^~\\&|A|F|B|G|1||ADT^A01|4711";
        assert_eq!(Header::of_refused(head).control_id(), b"4711");
        assert_eq!(Header::of_head(head).control_id(), b"", "the id may go on");
        assert_eq!(Header::of_head(head).message_type().trigger, b"A01");
        assert_eq!(
            Header::of_head(b"MSH|^~\\&|A|F|B|G|1||ADT^A01|4711|").control_id(),
            b"4711"
        );
        assert_eq!(
            Header::of_head(b"MSH|^~\\&|A|F|B|G|1||ADT^A01|4711\rP").control_id(),
            b"4711"
        );
        for head in [&b""[..], b"M", b"MSH", b"MSH|", b"MSH|^", b"MSH|^~\\&", b"hello"] {
            assert_eq!(Header::of_head(head).control_id(), b"");
        }
    }

    #[test]
    fn a_batch_header_has_its_id_in_another_field_and_no_type() {
        let (header, _) = Header::read(b"BHS|^~\\&|A|F|B|G|1||name|comment|77\rMSH").unwrap();
        assert_eq!((header.kind(), header.control_id()), (HeaderKind::Batch, &b"77"[..]));
        assert_eq!(header.message_type().code, b"");
        assert_eq!(header.processing_id(), b"");
    }
}
