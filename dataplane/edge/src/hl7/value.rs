//! Fields, repetitions, components, subcomponents: one slice each, cut further when asked. Numbers count from 1, as HL7 does, and what is not
//! there is empty.

use std::borrow::Cow;

use super::{Delimiters, escape};

/// HL7's way to say that a value is to be deleted. For us there is none.
const NULL: &[u8] = b"\"\"";

/// The part with this number, counted from 1; empty if there are fewer.
pub(super) fn part(bytes: &[u8], separator: Option<u8>, number: usize) -> &[u8] {
    let mut rest = bytes;
    let mut passed = 1;
    loop {
        let end = separator.and_then(|separator| rest.iter().position(|byte| *byte == separator));
        if passed == number {
            return &rest[..end.unwrap_or(rest.len())];
        }
        let Some(end) = end else { return &[] };
        rest = &rest[end + 1..];
        passed += 1;
    }
}

/// A value without the blanks around it; empty if it is HL7's null.
fn plain(bytes: &[u8]) -> &[u8] {
    let trimmed = bytes.trim_ascii();
    if trimmed == NULL { &[] } else { trimmed }
}

/// Defines one level: its bytes, its first value, and how the level below is reached.
macro_rules! levels {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub struct $name<'a> {
                bytes: &'a [u8],
                delimiters: &'a Delimiters,
            }

            impl<'a> $name<'a> {
                pub(super) fn new(bytes: &'a [u8], delimiters: &'a Delimiters) -> Self {
                    Self { bytes, delimiters }
                }

                /// The bytes as they were sent, with all separators and escapes of lower levels.
                #[must_use]
                pub fn raw(self) -> &'a [u8] {
                    self.bytes
                }

                /// Whether it says nothing: no bytes, blanks, or HL7's null `""`.
                #[must_use]
                pub fn is_empty(self) -> bool {
                    plain(self.bytes).is_empty()
                }
            }
        )+
    };
}

levels! {
    /// A field of a segment.
    Field;
    /// One of the values of a field that may have several.
    Repetition;
    /// A part of a repetition.
    Component;
    /// A part of a component.
    Subcomponent;
}

impl<'a> Field<'a> {
    /// Its repetitions, at least one, in order.
    pub fn repetitions(self) -> impl Iterator<Item = Repetition<'a>> + use<'a> {
        let Field { bytes, delimiters } = self;
        let is_separator = |byte: &u8| delimiters.repetition == Some(*byte);
        bytes
            .split(is_separator)
            .map(|bytes| Repetition::new(bytes, delimiters))
    }

    /// Its first repetition.
    #[must_use]
    pub fn first(self) -> Repetition<'a> {
        Repetition::new(part(self.bytes, self.delimiters.repetition, 1), self.delimiters)
    }

    /// A component of its first repetition.
    #[must_use]
    pub fn component(self, number: usize) -> Component<'a> {
        self.first().component(number)
    }
}

impl<'a> Repetition<'a> {
    /// The component with this number.
    #[must_use]
    pub fn component(self, number: usize) -> Component<'a> {
        let bytes = part(self.bytes, Some(self.delimiters.component), number);
        Component::new(bytes, self.delimiters)
    }
}

impl<'a> Component<'a> {
    /// The subcomponent with this number.
    #[must_use]
    pub fn subcomponent(self, number: usize) -> Subcomponent<'a> {
        let bytes = part(self.bytes, self.delimiters.subcomponent, number);
        Subcomponent::new(bytes, self.delimiters)
    }

    /// What its first subcomponent stands for: [`Subcomponent::value`].
    #[must_use]
    pub fn value(self) -> Cow<'a, [u8]> {
        self.subcomponent(1).value()
    }
}

impl<'a> Subcomponent<'a> {
    /// What it stands for: without the blanks around it, nothing for HL7's null, escapes decoded. Borrowed if it has no escape.
    #[must_use]
    pub fn value(self) -> Cow<'a, [u8]> {
        escape::decode(plain(self.bytes), self.delimiters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_cut_by_level_and_counted_from_one() {
        let delimiters = Delimiters::default();
        let field = Field::new(b"a&b^c~~d^e&f&\\T\\", &delimiters);
        assert_eq!(field.repetitions().count(), 3);
        assert_eq!(field.first().raw(), b"a&b^c");
        assert_eq!(field.component(1).raw(), b"a&b");
        assert_eq!(field.component(1).subcomponent(2).raw(), b"b");
        assert_eq!(field.component(1).value(), &b"a"[..]);
        let last = field.repetitions().last().unwrap();
        assert_eq!(last.component(2).subcomponent(3).value(), &b"&"[..]);
        assert_eq!(last.component(2).subcomponent(3).raw(), b"\\T\\");
        assert!(field.repetitions().nth(1).unwrap().is_empty());
    }

    #[test]
    fn what_is_not_there_is_empty() {
        let delimiters = Delimiters::default();
        let field = Field::new(b"a", &delimiters);
        for number in [0, 2, 99, usize::MAX] {
            assert!(field.component(number).is_empty());
            assert!(field.component(1).subcomponent(number).is_empty());
        }
    }

    #[test]
    fn blanks_and_the_null_value_say_nothing() {
        let delimiters = Delimiters::default();
        for (bytes, value) in [
            (&b""[..], &b""[..]),
            (b"  ", b""),
            (b"\"\"", b""),
            (b" \"\" ", b""),
            (b" a b ", b"a b"),
            (b"\"", b"\""),
        ] {
            let component = Component::new(bytes, &delimiters);
            assert_eq!(component.value(), value);
            assert_eq!(component.is_empty(), value.is_empty());
        }
    }

    #[test]
    fn a_separator_that_the_message_does_not_name_separates_nothing() {
        let (delimiters, _) = Delimiters::read(b"|^|").unwrap();
        let field = Field::new(b"a~b&c\\F\\^d\x00e", &delimiters);
        assert_eq!(field.repetitions().count(), 1);
        assert_eq!(field.component(1).value(), &b"a~b&c\\F\\"[..]);
    }
}
