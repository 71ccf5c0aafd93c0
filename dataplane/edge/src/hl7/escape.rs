//! Escapes: how a value names the bytes that separate. Both ways; text without an escape is borrowed as it is.
//!
//! Only escapes that stand for bytes are decoded. Those that speak of layout (`\.br\`, `\H\`) or of character sets (`\C..\`) stay as they are,
//! and so does whatever looks like an escape and is none: a value is shown as it came rather than lost.

use std::borrow::Cow;

use super::Delimiters;

/// The bytes that a value stands for.
pub(super) fn decode<'a>(value: &'a [u8], delimiters: &Delimiters) -> Cow<'a, [u8]> {
    let Some(escape) = delimiters.escape else {
        return Cow::Borrowed(value);
    };
    let Some(first) = value.iter().position(|byte| *byte == escape) else {
        return Cow::Borrowed(value);
    };
    let mut out = value[..first].to_vec();
    let mut rest = &value[first..];
    // `rest` begins with an escape character in every round.
    while let Some(length) = rest.iter().skip(1).position(|byte| *byte == escape) {
        let inside = &rest[1..=length];
        if push_meant(&mut out, inside, delimiters) {
            rest = &rest[length + 2..];
        } else {
            // The closing character may open the next escape.
            out.extend_from_slice(&rest[..=length]);
            rest = &rest[length + 1..];
        }
        let plain = rest.iter().position(|byte| *byte == escape).unwrap_or(rest.len());
        out.extend_from_slice(&rest[..plain]);
        rest = &rest[plain..];
    }
    out.extend_from_slice(rest);
    Cow::Owned(out)
}

/// Pushes the bytes that the text between two escape characters stands for, if it stands for any.
fn push_meant(out: &mut Vec<u8>, inside: &[u8], delimiters: &Delimiters) -> bool {
    let byte = match inside {
        b"F" => Some(delimiters.field),
        b"S" => Some(delimiters.component),
        b"T" => delimiters.subcomponent,
        b"R" => delimiters.repetition,
        b"E" => delimiters.escape,
        b"P" => delimiters.truncation,
        [b'X', hex @ ..] => return push_hex(out, hex),
        _ => None,
    };
    out.extend(byte);
    byte.is_some()
}

fn push_hex(out: &mut Vec<u8>, hex: &[u8]) -> bool {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let is_hex = !hex.is_empty() && hex.len().is_multiple_of(2) && hex.iter().all(u8::is_ascii_hexdigit);
    if is_hex {
        let (pairs, _) = hex.as_chunks::<2>();
        out.extend(
            pairs
                .iter()
                .filter_map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)),
        );
    }
    is_hex
}

/// Writes a value so that it means these bytes. Separators are escaped; where the message names no escape character, and for control bytes,
/// a blank stands in: a value that is written here can neither end its field nor its segment nor its frame.
pub(crate) fn encode(out: &mut Vec<u8>, value: &[u8], delimiters: &Delimiters) {
    for &byte in value {
        if byte < b' ' || byte == 0x7F {
            out.push(b' ');
        } else if !delimiters.is_special(byte) {
            out.push(byte);
        } else if let Some(escape) = delimiters.escape {
            let some = Some(byte);
            let letter = match byte {
                _ if byte == delimiters.field => b'F',
                _ if byte == delimiters.component => b'S',
                _ if some == delimiters.repetition => b'R',
                _ if some == delimiters.subcomponent => b'T',
                _ if some == delimiters.truncation => b'P',
                _ => b'E',
            };
            out.extend_from_slice(&[escape, letter, escape]);
        } else {
            out.push(b' ');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(value: &[u8]) -> Vec<u8> {
        decode(value, &Delimiters::default()).into_owned()
    }

    #[test]
    fn each_escape_stands_for_its_bytes() {
        for (value, meant) in [
            (&b"plain"[..], &b"plain"[..]),
            (b"\\F\\", b"|"),
            (b"\\S\\", b"^"),
            (b"\\T\\", b"&"),
            (b"\\R\\", b"~"),
            (b"\\E\\", b"\\"),
            (b"a\\F\\b\\S\\c", b"a|b^c"),
            (b"\\E\\F\\E\\", b"\\F\\"),
            (b"\\X0D\\", b"\r"),
            (b"\\X0d0A\\", b"\r\n"),
            (b"\\XfF\\\\X00\\", b"\xFF\x00"),
            (b"\xFF\xFE\\F\\", b"\xFF\xFE|"),
        ] {
            assert_eq!(decoded(value), meant, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_escape_stays_as_it_is() {
        for value in [
            &b"\\"[..],
            b"\\\\",
            b"\\F",
            b"a\\b",
            b"\\.br\\",
            b"\\H\\bold\\N\\",
            b"\\X\\",
            b"\\X0\\",
            b"\\XG0\\",
            b"\\P\\",
            b"\\C2842\\",
            b"C:\\dir\\file",
        ] {
            assert_eq!(decoded(value), value, "{}", value.escape_ascii());
        }
        assert_eq!(
            decoded(b"C:\\dir\\F\\"),
            b"C:\\dir|",
            "a closing character may open the next"
        );
    }

    #[test]
    fn text_without_an_escape_is_not_copied() {
        assert!(matches!(decode(b"x^y", &Delimiters::default()), Cow::Borrowed(_)));
    }

    #[test]
    fn the_letters_follow_the_messages_own_separators() {
        let (own, _) = Delimiters::read(b"#*!/%;#").unwrap();
        assert_eq!(&*decode(b"/F//S//R//T//E//P/", &own), b"#*!%/;");
        let (none, _) = Delimiters::read(b"|^|").unwrap();
        assert_eq!(&*decode(b"\\F\\", &none), b"\\F\\");
        let mut out = Vec::new();
        encode(&mut out, b"a|b^c~", &none);
        assert_eq!(out, b"a b c~");
    }

    proptest! {
        #[test]
        fn what_is_encoded_means_what_it_was(value in proptest::collection::vec(b' '..=0x7E, 0..60)) {
            for delimiters in [Delimiters::default(), Delimiters::read(b"#*!/%;#").unwrap().0] {
                let mut out = Vec::new();
                encode(&mut out, &value, &delimiters);
                prop_assert_eq!(&*decode(&out, &delimiters), &value[..]);
            }
        }

        #[test]
        fn any_bytes_are_decoded_to_no_more_than_they_were(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            prop_assert!(decode(&value, &Delimiters::default()).len() <= value.len());
        }

        #[test]
        fn what_is_encoded_can_end_nothing(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut out = Vec::new();
            encode(&mut out, &value, &Delimiters::default());
            prop_assert!(out.iter().all(|byte| *byte >= b' ' && !b"|^~&".contains(byte)));
        }
    }
}
