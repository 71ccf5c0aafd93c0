//! The separators that a message names in its first two fields.

use super::Hl7Error;

/// The separators of one message. One that the message does not name never separates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delimiters {
    /// Between fields, usually `|`.
    pub field: u8,
    /// Between components, usually `^`.
    pub component: u8,
    /// Between repetitions, usually `~`.
    pub repetition: Option<u8>,
    /// Around escapes, usually `\`.
    pub escape: Option<u8>,
    /// Between subcomponents, usually `&`.
    pub subcomponent: Option<u8>,
    /// Marks a value that was cut, from 2.7 on `#`.
    pub truncation: Option<u8>,
}

impl Default for Delimiters {
    fn default() -> Delimiters {
        Delimiters {
            field: b'|',
            component: b'^',
            repetition: Some(b'~'),
            escape: Some(b'\\'),
            subcomponent: Some(b'&'),
            truncation: None,
        }
    }
}

impl Delimiters {
    /// Reads what stands behind the name of a header segment: the separator, then the encoding characters. Returns them with the number of
    /// bytes that they take, the separator behind them left out.
    ///
    /// # Errors
    /// `Delimiters` if there is no component separator, more than five characters, one twice, or a letter, digit, blank or control byte.
    pub(super) fn read(bytes: &[u8]) -> Result<(Delimiters, usize), Hl7Error> {
        let Some((&field, rest)) = bytes.split_first() else {
            return Err(Hl7Error::Delimiters);
        };
        let length = rest.iter().position(|byte| *byte == field).unwrap_or(rest.len());
        let encoding = &rest[..length];
        let all = &bytes[..1 + length];
        let is_doubled = |(at, byte): (usize, &u8)| all[..at].contains(byte);
        if !(1..=5).contains(&length)
            || !all.iter().all(u8::is_ascii_punctuation)
            || all.iter().enumerate().any(is_doubled)
        {
            return Err(Hl7Error::Delimiters);
        }
        let delimiters = Delimiters {
            field,
            component: encoding[0],
            repetition: encoding.get(1).copied(),
            escape: encoding.get(2).copied(),
            subcomponent: encoding.get(3).copied(),
            truncation: encoding.get(4).copied(),
        };
        Ok((delimiters, 1 + length))
    }

    /// Whether a byte means something else than itself in this message.
    #[must_use]
    pub fn is_special(&self, byte: u8) -> bool {
        let some = Some(byte);
        byte == self.field
            || byte == self.component
            || [self.repetition, self.escape, self.subcomponent, self.truncation].contains(&some)
    }

    /// The encoding characters in their order, as MSH-2 has them.
    pub fn encoding(&self) -> impl Iterator<Item = u8> {
        let rest = [self.repetition, self.escape, self.subcomponent, self.truncation];
        std::iter::once(self.component).chain(rest.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_are_those_that_the_message_names() {
        let (read, length) = Delimiters::read(b"|^~\\&|rest").unwrap();
        assert_eq!((read, length), (Delimiters::default(), 5));
        let (read, length) = Delimiters::read(b"#*!/%;#").unwrap();
        assert_eq!(length, 6);
        assert_eq!((read.field, read.component, read.truncation), (b'#', b'*', Some(b';')));
        assert_eq!(read.encoding().collect::<Vec<_>>(), b"*!/%;");
        let (read, _) = Delimiters::read(b"|^|").unwrap();
        assert_eq!((read.component, read.repetition, read.escape), (b'^', None, None));
        assert_eq!(read.encoding().collect::<Vec<_>>(), b"^");
    }

    #[test]
    fn separators_that_cannot_be_told_apart_are_refused() {
        for bad in [
            &b""[..],
            b"|",
            b"||",
            b"|^^",
            b"|^~\\^|",
            b"A^~\\&A",
            b"|^~\\a|",
            b" ^~\\& ",
            b"|^~\\&#!|",
            b"|^\x00|",
            b"|^\xFF|",
        ] {
            assert_eq!(Delimiters::read(bad), Err(Hl7Error::Delimiters), "{bad:?}");
        }
    }

    #[test]
    fn only_separators_are_special() {
        let special: Vec<u8> = (0..=255)
            .filter(|byte| Delimiters::default().is_special(*byte))
            .collect();
        assert_eq!(special, b"&\\^|~");
    }
}
