//! Reads the keys of one table: types, bounds, overrides; remembers which keys were asked for, and so which are unknown.
//!
//! Knows no key by name. Nothing ends early: a value that cannot be read is a problem, and reading goes on, so that an operator sees
//! every problem at once.
//!
//! **Invariant:** a read that returns `None` for a key that is there has pushed an error.

use std::fmt;
use std::ops::{Deref, Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::explain::Origin;
use crate::nearest::nearest;
use crate::overrides::Overrides;
use crate::problem::{Expected, Problem, What};
use crate::source::{Place, Source, quoted};

/// A value with its place and origin.
#[derive(Clone, Debug)]
pub(crate) struct Got<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
    pub(crate) origin: Origin,
}

impl<T> Got<T> {
    pub(crate) fn map<U>(self, f: impl FnOnce(T) -> U) -> Got<U> {
        Got {
            value: f(self.value),
            place: self.place,
            origin: self.origin,
        }
    }

    /// The value that a key has when nobody says anything.
    pub(crate) fn default(value: T, file: Place) -> Got<T> {
        Got {
            value,
            place: file,
            origin: Origin::Default,
        }
    }
}

impl<T> Deref for Got<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// What all tables of one file are read with.
pub(crate) struct Reader<'a> {
    pub(crate) source: &'a Source<'a>,
    pub(crate) overrides: &'a Overrides,
    pub(crate) problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(crate) fn push(&mut self, what: What, place: Place) {
        self.problems.push(Problem::new(what, place));
    }

    /// The table that `value` is; an error if it is something else.
    pub(crate) fn table(&mut self, key: &str, value: &'a Spanned<DeValue<'a>>) -> Option<&'a DeTable<'a>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong_type(key, Expected::Table, value);
        }
        table
    }

    pub(crate) fn wrong_type(&mut self, key: &str, expected: Expected, value: &Spanned<DeValue<'a>>) {
        let what = What::WrongType {
            key: quoted(key),
            expected,
            found: type_of(value.get_ref()),
        };
        let place = self.source.place(value.span());
        self.push(what, place);
    }

    /// A string value; an error if it is something else.
    pub(crate) fn text_of(&mut self, key: &str, value: &'a Spanned<DeValue<'a>>) -> Option<Got<&'a str>> {
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_type(key, Expected::Text, value);
            return None;
        };
        Some(self.got(text, value.span()))
    }

    /// A whole number within bounds; an error if it is something else.
    pub(crate) fn number_of(
        &mut self,
        key: &str,
        value: &'a Spanned<DeValue<'a>>,
        bounds: RangeInclusive<u64>,
    ) -> Option<Got<u64>> {
        let Some(integer) = value.get_ref().as_integer() else {
            self.wrong_type(key, Expected::Number, value);
            return None;
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let place = self.source.place(value.span());
        let number = self.bounded(key, number, &integer.to_string(), bounds, place)?;
        Some(self.got(number, value.span()))
    }

    fn bounded(
        &mut self,
        key: &str,
        number: Option<u64>,
        found: &str,
        bounds: RangeInclusive<u64>,
        place: Place,
    ) -> Option<u64> {
        let within = number.filter(|number| bounds.contains(number));
        if within.is_none() {
            let (min, max) = (bounds.start().to_string().into(), bounds.end().to_string().into());
            self.push(
                What::OutOfRange {
                    key: quoted(key),
                    found: quoted(found),
                    min,
                    max,
                },
                place,
            );
        }
        within
    }

    pub(crate) fn got<T>(&self, value: T, span: Range<usize>) -> Got<T> {
        let origin = Origin::File {
            line: self.source.line_number(span.start),
        };
        Got {
            value,
            place: self.source.place(span),
            origin,
        }
    }
}

/// The keys of one table, or of one that the file does not have: defaults and overrides are then all there is.
pub(crate) struct Fields<'a, 'r> {
    pub(crate) reader: &'r mut Reader<'a>,
    table: Option<&'a DeTable<'a>>,
    /// `defaults`, `node.FL-A-1`: by which overrides know it.
    path: String,
    /// `[defaults]`, `[[node]]`: by which people know it.
    title: &'static str,
    /// Where a key that is missing should have been.
    header: Place,
    asked: Vec<&'static str>,
}

/// Who gave a single value.
enum Given<'a> {
    File(&'a Spanned<DeValue<'a>>),
    Variable(Got<Box<str>>),
}

impl<'a, 'r> Fields<'a, 'r> {
    pub(crate) fn new(
        reader: &'r mut Reader<'a>,
        table: Option<&'a DeTable<'a>>,
        path: impl Into<String>,
        title: &'static str,
        header: Place,
    ) -> Fields<'a, 'r> {
        Fields {
            reader,
            table,
            path: path.into(),
            title,
            header,
            asked: Vec::new(),
        }
    }

    /// The value of the file, whatever it is.
    pub(crate) fn value(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.push(key);
        self.table.and_then(|table| table.get(key))
    }

    /// Whether nobody gives the key a value.
    pub(crate) fn is_unset(&self, key: &'static str) -> bool {
        let in_file = self.table.is_some_and(|table| table.contains_key(key));
        !in_file && self.reader.overrides.of(&self.path, key).is_none()
    }

    /// An error if nobody gives the key a value.
    pub(crate) fn require(&mut self, key: &'static str, example: &'static str) {
        if self.is_unset(key) {
            let place = self.header.clone();
            self.reader.push(
                What::MissingKey {
                    key,
                    table: self.title.into(),
                    example,
                },
                place,
            );
        }
    }

    /// A whole number within bounds.
    pub(crate) fn number(&mut self, key: &'static str, bounds: RangeInclusive<u64>) -> Option<Got<u64>> {
        match self.given(key)? {
            Given::File(value) => self.reader.number_of(key, value, bounds),
            Given::Variable(got) => {
                let digits = got.bytes().all(|b| b.is_ascii_digit());
                let number = digits.then(|| got.parse().ok()).flatten();
                let number = self
                    .reader
                    .bounded(key, number, &got.value, bounds, got.place.clone())?;
                Some(got.map(|_| number))
            }
        }
    }

    /// True or false.
    pub(crate) fn flag(&mut self, key: &'static str) -> Option<Got<bool>> {
        match self.given(key)? {
            Given::File(value) => {
                let Some(flag) = value.get_ref().as_bool() else {
                    self.reader.wrong_type(key, Expected::Flag, value);
                    return None;
                };
                Some(self.reader.got(flag, value.span()))
            }
            Given::Variable(got) => self.parse_got(got, |text| {
                crate::read::one_of(key, text, &["true", "false"], |text| text.parse().ok())
            }),
        }
    }

    /// A string that `parse` turns into a value, or says what is wrong with it.
    pub(crate) fn parsed<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, What>,
    ) -> Option<Got<T>> {
        let got = match self.given(key)? {
            Given::File(value) => self.reader.text_of(key, value)?.map(Box::from),
            Given::Variable(got) => got,
        };
        self.parse_got(got, parse)
    }

    /// The same where the file may also say a whole number, which is then read as if it were a string.
    pub(crate) fn parsed_or_number<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, What>,
    ) -> Option<Got<T>> {
        let got = match self.given(key)? {
            Given::Variable(got) => got,
            Given::File(value) => match value.get_ref() {
                DeValue::String(text) => self.reader.got(Box::from(&**text), value.span()),
                DeValue::Integer(number) => self.reader.got(number.to_string().into(), value.span()),
                _ => {
                    self.reader.wrong_type(key, Expected::NumberOrText, value);
                    return None;
                }
            },
        };
        self.parse_got(got, parse)
    }

    fn parse_got<T>(&mut self, got: Got<Box<str>>, parse: impl FnOnce(&str) -> Result<T, What>) -> Option<Got<T>> {
        match parse(&got.value) {
            Ok(value) => Some(got.map(|_| value)),
            Err(what) => {
                self.reader.push(what, got.place);
                None
            }
        }
    }

    /// A list of strings, each with its place. No variable says a list.
    pub(crate) fn texts(&mut self, key: &'static str) -> Option<Got<Vec<Got<Box<str>>>>> {
        let value = self.value(key)?;
        let Some(list) = value.get_ref().as_array() else {
            self.reader.wrong_type(key, Expected::Texts, value);
            return None;
        };
        let mut texts = Vec::new();
        for one in list {
            let Some(text) = one.get_ref().as_str() else {
                self.reader.wrong_type(key, Expected::Texts, one);
                return None;
            };
            texts.push(self.reader.got(Box::from(text), one.span()));
        }
        Some(self.reader.got(texts, value.span()))
    }

    /// The table under a key, with the place of its header.
    pub(crate) fn table(&mut self, key: &'static str) -> Option<(&'a DeTable<'a>, Place)> {
        let value = self.value(key)?;
        let table = self.reader.table(key, value)?;
        Some((table, self.reader.source.place(value.span())))
    }

    fn given(&mut self, key: &'static str) -> Option<Given<'a>> {
        let in_file = self.value(key);
        let Some(over) = self.reader.overrides.of(&self.path, key) else {
            return in_file.map(Given::File);
        };
        let instead_of = in_file.map(|value| self.reader.source.line_number(value.span().start));
        let origin = Origin::Variable {
            name: over.name.clone(),
            instead_of,
        };
        Some(Given::Variable(Got {
            value: over.value.clone(),
            place: over.place(),
            origin,
        }))
    }

    /// Every key that was not asked for is unknown.
    pub(crate) fn finish(self) {
        for (name, _) in self.table.into_iter().flatten() {
            if !self.asked.contains(&&**name.get_ref()) {
                let what = What::UnknownKey {
                    key: quoted(name.get_ref()),
                    table: self.title.into(),
                    meant: nearest(name.get_ref(), self.asked.iter().copied()),
                    allowed: self.asked.clone().into(),
                };
                let place = self.reader.source.place(name.span());
                self.reader.push(what, place);
            }
        }
    }
}

impl fmt::Debug for Fields<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fields")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// In the words of `Expected`.
fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
