//! Keys as people write and read them: `patient/1001,facility=HOSPX`.
//!
//! The kind stands before the first `/`; then fields, parted by commas. The first may be a bare value and is `id`; the
//! others are `name=value`. `%hh` stands for any byte. What is written here is read back as the same key; what people
//! write may be looser (any byte but `%` and `,` stands for itself in a value). Rules of the canonical form are
//! `key.rs`'s.

use std::fmt::{self, Write};

use crate::key::{Key, KeyBuilder, KeyError, KeyRef};

/// The field that a bare first value stands for.
const BARE_FIELD: &str = "id";

pub(crate) fn parse(text: &str) -> Result<Key, KeyError> {
    let Some((kind, fields)) = text.split_once('/') else {
        return KeyBuilder::new(text).build();
    };
    let mut builder = KeyBuilder::new(kind);
    let mut at = kind.len() + 1;
    for (index, field) in fields.split(',').enumerate() {
        builder = match field.split_once('=') {
            Some((name, value)) => builder.field(name, unescape(value, at + name.len() + 1)?),
            None if field.is_empty() => return Err(KeyError::EmptyField { at }),
            None if index > 0 => return Err(KeyError::UnnamedValue { at }),
            None => builder.field(BARE_FIELD, unescape(field, at)?),
        };
        at += field.len() + 1;
    }
    builder.build()
}

pub(crate) fn write(key: KeyRef<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(key.kind_str())?;
    let mut separator = '/';
    let bare = key.field(BARE_FIELD).filter(|value| !value.is_empty());
    if let Some(value) = bare {
        f.write_char(separator)?;
        escape(value, f)?;
        separator = ',';
    }
    for (name, value) in key.fields() {
        if bare.is_some() && name == BARE_FIELD.as_bytes() {
            continue;
        }
        f.write_char(separator)?;
        escape(name, f)?;
        f.write_char('=')?;
        escape(value, f)?;
        separator = ',';
    }
    Ok(())
}

/// Writes bytes so that `unescape` returns them. Beside the separators everything is escaped that a terminal, a shell's
/// word splitting or a log line could change.
fn escape(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for &byte in bytes {
        match byte {
            b'%' | b',' | b'=' => write!(f, "%{byte:02x}")?,
            b'!'..=b'~' => f.write_char(char::from(byte))?,
            _ => write!(f, "%{byte:02x}")?,
        }
    }
    Ok(())
}

fn unescape(text: &str, at: usize) -> Result<Vec<u8>, KeyError> {
    let text = text.as_bytes();
    let mut bytes = Vec::with_capacity(text.len());
    let mut next = 0;
    while let Some(&byte) = text.get(next) {
        if byte != b'%' {
            bytes.push(byte);
            next += 1;
            continue;
        }
        let digit = |offset: usize| text.get(next + offset).and_then(|&digit| hex_digit(digit));
        let (Some(high), Some(low)) = (digit(1), digit(2)) else {
            return Err(KeyError::BadEscape { at: at + next });
        };
        bytes.push(high << 4 | low);
        next += 3;
    }
    Ok(bytes)
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn the_first_bare_value_is_the_id() {
        let key = Key::parse("patient/1001,facility=HOSPX").unwrap();
        assert_eq!(
            key,
            Key::new("patient", &[("facility", b"HOSPX"), ("id", b"1001")]).unwrap()
        );
        assert_eq!(Key::parse("patient/facility=HOSPX,id=1001").unwrap(), key);
    }

    #[test]
    fn a_kind_alone_is_a_key_without_fields() {
        assert_eq!(Key::parse("clock").unwrap(), Key::new("clock", &[]).unwrap());
        assert_eq!(Key::parse("clock").unwrap().to_string(), "clock");
    }

    #[test]
    fn values_may_hold_slashes_equal_signs_and_any_escaped_byte() {
        let value = |text: &str| Key::parse(text).unwrap().as_ref().field("id").unwrap().to_vec();
        assert_eq!(value("a/HOSPX/1001"), b"HOSPX/1001");
        assert_eq!(value("a/id=b=c"), b"b=c");
        assert_eq!(value("a/%2c%3D%25%00"), b",=%\x00");
        assert_eq!(value("a/id="), b"");
    }

    #[test]
    fn broken_text_is_refused_with_its_place() {
        let refused = |text: &str| Key::parse(text).unwrap_err();
        assert_eq!(refused("a/1,2"), KeyError::UnnamedValue { at: 4 });
        assert_eq!(refused("a/"), KeyError::EmptyField { at: 2 });
        assert_eq!(refused("a/1,,b=2"), KeyError::EmptyField { at: 4 });
        assert_eq!(refused("a/1%2"), KeyError::BadEscape { at: 3 });
        assert_eq!(refused("a/b=%zz"), KeyError::BadEscape { at: 4 });
        assert_eq!(refused("/1"), KeyError::BadKind);
        assert_eq!(refused("a/=1"), KeyError::BadName { field: 0 });
        assert_eq!(refused("a/1,id=2"), KeyError::RepeatedName { field: 1 });
    }

    #[test]
    fn every_key_is_read_back_from_its_text() {
        let mut random = Random::new(1);
        for _ in 0..20_000 {
            let names = ["a", "facility", "id", "visit_2", "z9"];
            let mut builder = KeyBuilder::new(names[random.below(5)]);
            for name in names {
                if random.below(2) == 0 {
                    let value: Vec<u8> = (0..random.below(6)).map(|_| random.byte()).collect();
                    builder = builder.field(name, value);
                }
            }
            let key = builder.build().unwrap();
            assert_eq!(Key::parse(&key.to_string()).unwrap(), key, "{key}");
        }
    }
}
