//! A file's text and places in it. Knows lines, not TOML.
//!
//! Lines and columns count from 1, columns in characters, as editors do.

use std::ops::Range;

/// Where a value or problem stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the file as a whole.
    File {
        /// The file, as it was named.
        file: Box<str>,
    },
    /// At a line of the file.
    Text {
        /// The file, as it was named.
        file: Box<str>,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// Characters to mark, at least one; never beyond the line.
        width: usize,
        /// The line itself, without its end; a very long one shortened around the column.
        shown: Box<str>,
        /// Characters cut off at the left of `shown`.
        cut: usize,
    },
    /// In a variable of the environment.
    Variable {
        /// Its name.
        name: Box<str>,
        /// Its value; a very long one shortened.
        value: Box<str>,
    },
    /// In an option of the command line.
    Argument {
        /// The option as it was written, `--name FL-A-9`.
        shown: Box<str>,
    },
}

impl Place {
    /// `cluster.toml:12:3`, or the variable's name.
    #[must_use]
    pub fn short(&self) -> String {
        match self {
            Place::File { file } => file.to_string(),
            Place::Text { file, line, column, .. } => format!("{file}:{line}:{column}"),
            Place::Variable { name, .. } => format!("environment: {name}"),
            Place::Argument { .. } => "command line".to_owned(),
        }
    }

    /// Orders problems as a reader meets them: the file from its top, then the environment, then the command line.
    pub(crate) fn rank(&self) -> (u8, usize, usize) {
        match self {
            Place::File { .. } => (0, 0, 0),
            Place::Text { line, column, .. } => (1, *line, *column),
            Place::Variable { .. } => (2, 0, 0),
            Place::Argument { .. } => (3, 0, 0),
        }
    }
}

/// A named text with the starts of its lines.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) name: &'a str,
    text: &'a str,
    line_starts: Vec<usize>,
}

/// A line is shown up to this many characters; more would push the marked place off the screen.
const SHOWN_CHARS_MAX: usize = 120;
/// Characters left of the marked place that remain when a line is shortened.
const SHOWN_BEFORE: usize = 40;

impl<'a> Source<'a> {
    pub(crate) fn new(name: &'a str, text: &'a str) -> Source<'a> {
        let after_newlines = text
            .bytes()
            .enumerate()
            .filter(|(_, b)| *b == b'\n')
            .map(|(at, _)| at + 1);
        Source {
            name,
            text,
            line_starts: std::iter::once(0).chain(after_newlines).collect(),
        }
    }

    /// The whole file.
    pub(crate) fn file(&self) -> Place {
        Place::File { file: self.name.into() }
    }

    /// The line number, from 1, of a byte offset.
    pub(crate) fn line_number(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// The place of a range of bytes. A range beyond the end, or inside a character, is moved to where it makes sense: ranges come
    /// from the parser of a text that may be anything.
    pub(crate) fn place(&self, span: Range<usize>) -> Place {
        let start = self.text.floor_char_boundary(span.start.min(self.text.len()));
        let line = self.line_number(start);
        let line_start = self.line_starts[line - 1];
        let line_end = self.line_starts.get(line).map_or(self.text.len(), |next| next - 1);
        let text = self.text[line_start..line_end].trim_end_matches('\r');
        // A range may begin on the line break, and it may go on over many lines.
        let text_end = line_start + text.len();
        let start = start.min(text_end);
        let end = self.text.floor_char_boundary(span.end.clamp(start, text_end));
        let before = self.text[line_start..start].chars().count();
        let width = self.text[start..end].chars().count().max(1);

        let (shown, cut) = shorten(text, before);
        let width = width.min(shown.chars().count().saturating_sub(before - cut).max(1));
        Place::Text {
            file: self.name.into(),
            line,
            column: before + 1,
            width,
            shown: shown.into(),
            cut,
        }
    }
}

/// At most `SHOWN_CHARS_MAX` characters of a line, among them the one after `before`, and how many were cut off at the left.
fn shorten(line: &str, before: usize) -> (String, usize) {
    if line.chars().count() <= SHOWN_CHARS_MAX {
        return (line.chars().map(printable).collect(), 0);
    }
    let cut = before.saturating_sub(SHOWN_BEFORE);
    (
        line.chars().skip(cut).take(SHOWN_CHARS_MAX).map(printable).collect(),
        cut,
    )
}

/// A file may be anything, and a terminal acts on control characters.
pub(crate) fn printable(c: char) -> char {
    if c == '\t' {
        ' '
    } else if c.is_control() {
        '\u{fffd}'
    } else {
        c
    }
}

/// A stranger's text within a message: control characters made harmless, a long one shortened.
pub(crate) fn quoted(text: &str) -> Box<str> {
    const CHARS_MAX: usize = 80;
    let mut shown: String = text.chars().take(CHARS_MAX).map(printable).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place(text: &str, span: Range<usize>) -> (usize, usize, usize, String) {
        match Source::new("f", text).place(span) {
            Place::Text {
                line,
                column,
                width,
                shown,
                ..
            } => (line, column, width, shown.into()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        let text = "äb = 1\r\nü = x\n";
        assert_eq!(place(text, 0..3), (1, 1, 2, "äb = 1".into()));
        assert_eq!(place(text, 6..7), (1, 6, 1, "äb = 1".into()));
        assert_eq!(place(text, 14..15), (2, 5, 1, "ü = x".into()));
    }

    #[test]
    fn a_range_over_lines_marks_the_first() {
        assert_eq!(place("ab\ncd", 1..5), (1, 2, 1, "ab".into()));
    }

    #[test]
    fn a_range_at_or_beyond_the_end_marks_the_end() {
        assert_eq!(place("ab", 2..2), (1, 3, 1, "ab".into()));
        assert_eq!(place("ab\n", 3..3), (2, 1, 1, String::new()));
        assert_eq!(place("ab", 70..90), (1, 3, 1, "ab".into()));
        assert_eq!(place("", 0..0), (1, 1, 1, String::new()));
        assert_eq!(place("\r", 1..1), (1, 1, 1, String::new()));
    }

    #[test]
    fn a_long_line_is_shortened_around_its_place() {
        let text = format!("{}X{}", "a".repeat(1_000), "b".repeat(1_000));
        let Place::Text { column, shown, cut, .. } = Source::new("f", &text).place(1_000..1_001) else {
            panic!()
        };
        assert_eq!((column, cut, shown.len()), (1_001, 960, 120));
        assert_eq!(shown.chars().nth(40), Some('X'));
    }

    #[test]
    fn control_characters_are_not_shown() {
        assert_eq!(place("a\t\x1b[31m", 0..1).3, "a \u{fffd}[31m");
        assert_eq!(&*quoted("a\x07b"), "a\u{fffd}b");
        assert_eq!(quoted(&"x".repeat(1_000)).chars().count(), 81);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_range_panics_and_the_mark_stays_in_its_line(text in "(?s).{0,40}", start in 0_usize..200, len in 0_usize..200) {
            let (_, column, width, shown) = place(&text, start..start + len);
            prop_assert!(column + width <= shown.chars().count() + 2);
        }
    }
}
