//! Keys of actors in their canonical form: a kind and up to eight named fields, one sequence of bytes per key.
//!
//! ```text
//! u8 kind_len | kind | u8 count | count × ( u8 name_len | name | u16le value_len | value )
//! ```
//!
//! Kind and names match `[a-z][a-z0-9_]{0,31}`, names ascend strictly, values are any bytes, the whole is at most
//! [`KEY_BYTES_MAX`] long. Two keys are equal exactly when their bytes are, so the order in which a caller names the
//! fields can never change where an actor lives. Nothing here knows of hashes, groups or nodes.

use std::fmt;

use crate::key_text;

/// Bytes that a canonical key has at most.
pub const KEY_BYTES_MAX: usize = 512;
/// Fields that a key has at most.
pub const KEY_FIELDS_MAX: usize = 8;
/// Bytes that a kind or the name of a field has at most.
pub const KEY_NAME_BYTES_MAX: usize = 32;
/// Bytes that a canonical key has at least: a kind of one letter and no field.
pub const KEY_BYTES_MIN: usize = 3;

/// Why bytes, fields or text are not a key. The sender's mistake; nothing was kept of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyError {
    /// The bytes end before the key does: the sender cut it off, or counts wrongly.
    Truncated {
        /// Bytes that there are.
        len: usize,
    },
    /// Bytes follow after the last field: the sender's length and its key disagree.
    TrailingBytes {
        /// Where the key ended.
        end: usize,
        /// Bytes that there are.
        len: usize,
    },
    /// Longer than [`KEY_BYTES_MAX`]: what is large belongs in the message, not in the key.
    TooLong {
        /// Canonical bytes that it has or would have.
        len: usize,
    },
    /// More than [`KEY_FIELDS_MAX`] fields.
    TooManyFields {
        /// Fields that it names.
        count: usize,
    },
    /// The kind does not match `[a-z][a-z0-9_]{0,31}`.
    BadKind,
    /// The name of a field does not match `[a-z][a-z0-9_]{0,31}`.
    BadName {
        /// Which field, counted from 0 in the order given.
        field: usize,
    },
    /// The names in canonical bytes do not ascend: the sender did not sort its fields.
    Unsorted {
        /// The field that should have come earlier, counted from 0.
        field: usize,
    },
    /// Two fields have one name.
    RepeatedName {
        /// The second of the two, counted from 0 in ascending order.
        field: usize,
    },
    /// In text, `%` is not followed by two hexadecimal digits.
    BadEscape {
        /// Byte of the text at which the `%` stands.
        at: usize,
    },
    /// In text, a value without a name stands elsewhere than first; only the first one is `id`.
    UnnamedValue {
        /// Byte of the text at which it starts.
        at: usize,
    },
    /// In text, nothing stands between two separators; an empty `id` is written `id=`.
    EmptyField {
        /// Byte of the text at which a field was expected.
        at: usize,
    },
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Truncated { len } => write!(f, "the key ends after {len} bytes, before its last field does"),
            Self::TrailingBytes { end, len } => write!(f, "the key ends at byte {end}, but {len} bytes were sent"),
            Self::TooLong { len } => write!(f, "the key takes {len} bytes, more than {KEY_BYTES_MAX}"),
            Self::TooManyFields { count } => write!(f, "the key has {count} fields, more than {KEY_FIELDS_MAX}"),
            Self::BadKind => write!(f, "the kind must match [a-z][a-z0-9_]{{0,31}}"),
            Self::BadName { field } => write!(f, "the name of field {field} must match [a-z][a-z0-9_]{{0,31}}"),
            Self::Unsorted { field } => write!(f, "field {field} is out of order: names must ascend"),
            Self::RepeatedName { field } => write!(f, "field {field} repeats the name before it"),
            Self::BadEscape { at } => write!(f, "at byte {at}: % must be followed by two hexadecimal digits"),
            Self::UnnamedValue { at } => write!(f, "at byte {at}: only the first value may go without a name"),
            Self::EmptyField { at } => write!(f, "at byte {at}: a field was expected, there is none"),
        }
    }
}

impl std::error::Error for KeyError {}

/// Canonical bytes of a key that somebody else owns, checked once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyRef<'a>(&'a [u8]);

impl<'a> KeyRef<'a> {
    /// Checks every rule of the form and borrows the bytes. One pass, no allocation: it stands on the path of every
    /// message.
    ///
    /// # Errors
    ///
    /// The first rule that the bytes break, in the order in which they stand.
    #[inline]
    pub fn new_checked(bytes: &'a [u8]) -> Result<Self, KeyError> {
        let len = bytes.len();
        if len > KEY_BYTES_MAX {
            return Err(KeyError::TooLong { len });
        }
        let truncated = KeyError::Truncated { len };
        let (kind, rest) = split_name(bytes).ok_or(truncated)?;
        if !is_name(kind) {
            return Err(KeyError::BadKind);
        }
        let (&count, mut rest) = rest.split_first().ok_or(truncated)?;
        let count = usize::from(count);
        if count > KEY_FIELDS_MAX {
            return Err(KeyError::TooManyFields { count });
        }
        let mut before: &[u8] = &[];
        for field in 0..count {
            let (name, after) = split_name(rest).ok_or(truncated)?;
            if !is_name(name) {
                return Err(KeyError::BadName { field });
            }
            // First letters decide most often; only a tie is worth a call into the C library.
            if field > 0 && name[0] <= before[0] && name <= before {
                return Err(if name == before {
                    KeyError::RepeatedName { field }
                } else {
                    KeyError::Unsorted { field }
                });
            }
            before = name;
            (_, rest) = split_value(after).ok_or(truncated)?;
        }
        if !rest.is_empty() {
            return Err(KeyError::TrailingBytes {
                end: len - rest.len(),
                len,
            });
        }
        Ok(Self(bytes))
    }

    /// What sort of thing the actor stands for, for example `patient`. Lower-case ASCII.
    #[must_use]
    pub fn kind(self) -> &'a [u8] {
        split_name(self.0).expect("a checked key has a kind").0
    }

    /// [`kind`](Self::kind) as text.
    #[must_use]
    pub fn kind_str(self) -> &'a str {
        std::str::from_utf8(self.kind()).expect("a checked kind is ASCII")
    }

    /// The fields, ascending by name.
    #[must_use]
    pub fn fields(self) -> Fields<'a> {
        let (_, rest) = split_name(self.0).expect("a checked key has a kind");
        // The byte after the kind counts the fields; what follows is nothing but fields.
        Fields(&rest[1..])
    }

    /// The value of the field with this name.
    #[must_use]
    pub fn field(self, name: &str) -> Option<&'a [u8]> {
        let name = name.as_bytes();
        let mut fields = self.fields();
        fields
            .find(|&(candidate, _)| candidate.len() == name.len() && candidate == name)
            .map(|(_, value)| value)
    }

    /// The canonical bytes: what is hashed, sent and compared.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// A copy that owns its bytes.
    #[must_use]
    pub fn to_key(self) -> Key {
        Key { bytes: self.0.into() }
    }
}

impl fmt::Display for KeyRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        key_text::write(*self, f)
    }
}

impl fmt::Debug for KeyRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRef({self})")
    }
}

/// The fields of a key as `(name, value)`, ascending by name.
#[derive(Debug, Clone)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = split_name(self.0)?;
        let (value, rest) = split_value(rest).expect("a checked field has a value");
        self.0 = rest;
        Some((name, value))
    }
}

/// A key that owns its canonical bytes.
///
/// ```
/// use waterpark_ring::Key;
///
/// let key = Key::parse("patient/1001,facility=HOSPX")?;
/// assert_eq!(key, Key::new("patient", &[("id", b"1001"), ("facility", b"HOSPX")])?);
/// assert_eq!(key.to_string(), "patient/1001,facility=HOSPX");
/// # Ok::<(), waterpark_ring::KeyError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    bytes: Box<[u8]>,
}

impl Key {
    /// Makes the canonical form of a kind and fields given in any order.
    ///
    /// # Errors
    ///
    /// Any rule of the form that they break.
    pub fn new(kind: &str, fields: &[(&str, &[u8])]) -> Result<Self, KeyError> {
        fields
            .iter()
            .fold(KeyBuilder::new(kind), |builder, &(name, value)| {
                builder.field(name, value)
            })
            .build()
    }

    /// Reads a key as people write it: `kind/id,name=value,…`, where `%hh` stands for any byte.
    ///
    /// # Errors
    ///
    /// Where the text does not follow that form, or what it spells breaks a rule of the canonical one.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        key_text::parse(text)
    }

    /// Takes over bytes that came from elsewhere, after checking them.
    ///
    /// # Errors
    ///
    /// As [`KeyRef::new_checked`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        KeyRef::new_checked(bytes).map(KeyRef::to_key)
    }

    /// The key, borrowed.
    #[must_use]
    pub fn as_ref(&self) -> KeyRef<'_> {
        KeyRef(&self.bytes)
    }

    /// The canonical bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        key_text::write(self.as_ref(), f)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

impl std::str::FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::parse(text)
    }
}

/// Collects the fields of a key in any order.
#[derive(Debug, Clone)]
pub struct KeyBuilder {
    kind: Vec<u8>,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl KeyBuilder {
    /// A key of this kind without fields; the rules are checked by [`build`](Self::build).
    #[must_use]
    pub fn new(kind: impl AsRef<[u8]>) -> Self {
        Self {
            kind: kind.as_ref().to_vec(),
            fields: Vec::new(),
        }
    }

    /// Adds a field.
    #[must_use]
    pub fn field(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// Sorts the fields and writes the canonical form.
    ///
    /// # Errors
    ///
    /// Any rule of the form that the kind or the fields break.
    pub fn build(mut self) -> Result<Key, KeyError> {
        if !is_name(&self.kind) {
            return Err(KeyError::BadKind);
        }
        let count = self.fields.len();
        if count > KEY_FIELDS_MAX {
            return Err(KeyError::TooManyFields { count });
        }
        if let Some(field) = self.fields.iter().position(|(name, _)| !is_name(name)) {
            return Err(KeyError::BadName { field });
        }
        let len = self.fields.iter().fold(2 + self.kind.len(), |len, (name, value)| {
            len + 3 + name.len() + value.len()
        });
        if len > KEY_BYTES_MAX {
            return Err(KeyError::TooLong { len });
        }
        self.fields.sort();
        if let Some(before) = self.fields.windows(2).position(|pair| pair[0].0 == pair[1].0) {
            return Err(KeyError::RepeatedName { field: before + 1 });
        }

        let mut bytes = Vec::with_capacity(len);
        push_name(&mut bytes, &self.kind);
        bytes.push(u8::try_from(count).expect("at most eight fields"));
        for (name, value) in &self.fields {
            push_name(&mut bytes, name);
            bytes.extend_from_slice(&u16::try_from(value.len()).expect("at most 512 bytes").to_le_bytes());
            bytes.extend_from_slice(value);
        }
        assert!(KeyRef::new_checked(&bytes).is_ok(), "what we write is what we accept");
        Ok(Key { bytes: bytes.into() })
    }
}

fn push_name(bytes: &mut Vec<u8>, name: &[u8]) {
    bytes.push(u8::try_from(name.len()).expect("at most 32 bytes"));
    bytes.extend_from_slice(name);
}

#[inline]
fn split_name(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(len))
}

#[inline]
fn split_value(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))
}

/// Bytes that may stand in a name: bit 0 anywhere, bit 1 at its start. One load per byte instead of five comparisons.
const NAME_BYTES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 128_u8 {
        table[byte as usize] = match byte {
            b'a'..=b'z' => 0b11,
            b'0'..=b'9' | b'_' => 0b01,
            _ => 0,
        };
        byte += 1;
    }
    table
};

#[inline]
fn is_name(name: &[u8]) -> bool {
    let Some((&first, rest)) = name.split_first() else {
        return false;
    };
    if name.len() > KEY_NAME_BYTES_MAX || NAME_BYTES[usize::from(first)] & 0b10 == 0 {
        return false;
    }
    for &byte in rest {
        if NAME_BYTES[usize::from(byte)] == 0 {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patient() -> Key {
        Key::new("patient", &[("id", b"1001"), ("facility", b"HOSPX")]).unwrap()
    }

    #[test]
    fn the_canonical_form_is_written_byte_by_byte() {
        assert_eq!(
            patient().bytes(),
            b"\x07patient\x02\x08facility\x05\x00HOSPX\x02id\x04\x001001"
        );
        assert_eq!(Key::new("a", &[]).unwrap().bytes(), b"\x01a\x00");
        assert_eq!(Key::new("a", &[]).unwrap().bytes().len(), KEY_BYTES_MIN);
    }

    #[test]
    fn the_order_of_fields_does_not_matter() {
        assert_eq!(
            patient(),
            Key::new("patient", &[("facility", b"HOSPX"), ("id", b"1001")]).unwrap()
        );
    }

    #[test]
    fn fields_are_read_back_in_ascending_order() {
        let key = patient();
        let fields: Vec<_> = key.as_ref().fields().collect();
        assert_eq!(fields, [(&b"facility"[..], &b"HOSPX"[..]), (b"id", b"1001")]);
        assert_eq!(key.as_ref().field("id"), Some(&b"1001"[..]));
        assert_eq!(key.as_ref().field("visit"), None);
        assert_eq!(key.as_ref().kind_str(), "patient");
    }

    #[test]
    fn a_key_cut_off_anywhere_is_refused() {
        let key = patient();
        for len in 0..key.bytes().len() {
            let cut = &key.bytes()[..len];
            assert_eq!(KeyRef::new_checked(cut), Err(KeyError::Truncated { len }), "at {len}");
        }
    }

    #[test]
    fn every_broken_rule_has_its_name() {
        let check = |bytes: &[u8]| KeyRef::new_checked(bytes).unwrap_err();
        assert_eq!(check(b"\x01a\x00x"), KeyError::TrailingBytes { end: 3, len: 4 });
        assert_eq!(check(&[b'a'; 513]), KeyError::TooLong { len: 513 });
        assert_eq!(check(b"\x01a\x09"), KeyError::TooManyFields { count: 9 });
        assert_eq!(check(b"\x00\x00"), KeyError::BadKind);
        assert_eq!(check(b"\x01A\x00"), KeyError::BadKind);
        assert_eq!(check(b"\x02_a\x00"), KeyError::BadKind);
        assert_eq!(check(b"\x02a\xff\x00"), KeyError::BadKind);
        assert_eq!(check(&[&[33][..], &[b'a'; 33], &[0]].concat()), KeyError::BadKind);
        assert_eq!(check(b"\x01a\x01\x011\x00\x00"), KeyError::BadName { field: 0 });
        assert_eq!(check(b"\x01a\x01\x00\x00\x00"), KeyError::BadName { field: 0 });
        assert_eq!(
            check(b"\x01a\x02\x01y\x00\x00\x01x\x00\x00"),
            KeyError::Unsorted { field: 1 }
        );
        assert_eq!(
            check(b"\x01a\x02\x01x\x00\x00\x01x\x00\x00"),
            KeyError::RepeatedName { field: 1 }
        );
    }

    #[test]
    fn a_builder_refuses_what_a_reader_would() {
        assert_eq!(Key::new("Patient", &[]), Err(KeyError::BadKind));
        assert_eq!(
            Key::new("a", &[("b", b""), ("Id", b"")]),
            Err(KeyError::BadName { field: 1 })
        );
        assert_eq!(
            Key::new("a", &[("b", b"1"), ("b", b"2")]),
            Err(KeyError::RepeatedName { field: 1 })
        );
    }

    #[test]
    fn the_longest_key_is_accepted_and_one_byte_more_is_not() {
        let room = KEY_BYTES_MAX - KEY_BYTES_MIN - 4;
        assert_eq!(
            Key::new("a", &[("b", &vec![7; room])]).unwrap().bytes().len(),
            KEY_BYTES_MAX
        );
        assert_eq!(
            Key::new("a", &[("b", &vec![7; room + 1])]),
            Err(KeyError::TooLong { len: KEY_BYTES_MAX + 1 })
        );
    }
}
