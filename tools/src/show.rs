//! How bytes, instants and outcomes look on a terminal and in JSON.
//!
//! It knows no cluster. **Invariant:** nothing that a sender put into a message, a key or a name moves a terminal's cursor, and no answer
//! takes more than one line.

use std::io::{self, Write};

use serde_json::{Value, json};
use waterpark_client::Token;
use waterpark_wire::reply::Outcome;

use crate::demo_screen::figures;
use crate::failure::Failure;

/// Letters of a text that are shown on each side of a place in it.
const AROUND: usize = 40;

/// Writes a line to stdout.
///
/// # Errors
/// `Output` if nobody takes it; `println!` would panic.
pub(crate) fn print(line: &str) -> Result<(), Failure> {
    write_all(line.as_bytes()).and_then(|()| write_all(b"\n"))
}

/// Writes bytes to stdout as they are.
///
/// # Errors
/// `Output` if nobody takes them.
pub(crate) fn write_all(bytes: &[u8]) -> Result<(), Failure> {
    io::stdout().write_all(bytes).map_err(Failure::Output)
}

/// Hands over to stdout's reader what waits.
///
/// # Errors
/// `Output` if nobody takes it.
pub(crate) fn flush() -> Result<(), Failure> {
    io::stdout().flush().map_err(Failure::Output)
}

/// Bytes on a terminal: as text if all of it can be printed, else as `0x` and hexadecimal digits.
pub(crate) fn bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(is_printable) => text.to_owned(),
        _ => format!("0x{}", hex(bytes)),
    }
}

/// Bytes in JSON: `{"text": ..}` if they are UTF-8, else `{"base64": ..}`.
pub(crate) fn bytes_json(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => json!({ "text": text }),
        Err(_) => json!({ "base64": base64(bytes) }),
    }
}

/// Base64 with its usual letters and filled up (RFC 4648 §4).
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |place: usize| u32::from(chunk.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

/// A value of HL7 on a terminal: letters as they are, and each byte that is none as HL7 would escape it, `\XFC\`. What is longer than
/// `letters_max` is cut, with its length said.
pub(crate) fn value(bytes: &[u8], letters_max: usize) -> String {
    let mut shown = String::new();
    let mut letters = 0;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if letters == letters_max {
                return cut(shown, bytes.len());
            }
            letters += 1;
            if is_printable(c) {
                shown.push(c);
            } else {
                shown += &format!(
                    "\\X{}\\",
                    hex(c.encode_utf8(&mut [0; 4]).as_bytes()).to_ascii_uppercase()
                );
            }
        }
        for byte in chunk.invalid() {
            if letters == letters_max {
                return cut(shown, bytes.len());
            }
            letters += 1;
            shown += &format!("\\X{byte:02X}\\");
        }
    }
    shown
}

fn cut(shown: String, bytes: usize) -> String {
    let bytes = figures::count(u64::try_from(bytes).unwrap_or(u64::MAX));
    format!("{shown}… ({bytes} bytes)")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a letter leaves the cursor behind itself and the order of its neighbours alone.
fn is_printable(c: char) -> bool {
    let invisible =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !c.is_control() && !invisible
}

fn escaped(c: char) -> String {
    if is_printable(c) {
        c.to_string()
    } else {
        c.escape_unicode().to_string()
    }
}

/// A text of the command line in a message: what cannot be printed is escaped, and what is long is cut.
pub(crate) fn text_or_escaped(text: &str) -> String {
    let mut shown: String = text.chars().take(2 * AROUND).map(escaped).collect();
    if text.chars().nth(2 * AROUND).is_some() {
        shown.push('…');
    }
    shown
}

/// A line that shows a text around a byte of it, and the column of that byte in the line.
pub(crate) fn pointed(text: &str, at: usize) -> (String, usize) {
    let (mut before, mut after): (Vec<char>, Vec<char>) = (Vec::new(), Vec::new());
    for (byte, c) in text.char_indices() {
        if byte < at { &mut before } else { &mut after }.push(c);
    }
    let cut = before.len().saturating_sub(AROUND);
    let mut line: String = if cut > 0 { "…" } else { "" }.to_owned();
    line.extend(before[cut..].iter().map(|c| escaped(*c)));
    let column = line.chars().count();
    line.extend(after.iter().take(AROUND).map(|c| escaped(*c)));
    if after.len() > AROUND {
        line.push('…');
    }
    (line, column)
}

/// The token of an entry, in JSON.
pub(crate) fn token_json(token: Option<Token>) -> Value {
    token.map_or(
        Value::Null,
        |token| json!({ "lineage": token.lineage, "group": token.group, "view": token.view, "seq": token.seq }),
    )
}

/// The token of an entry, on a terminal.
pub(crate) fn token(token: Option<Token>) -> String {
    token.map_or_else(String::new, |token| {
        let Token {
            lineage,
            group,
            view,
            seq,
        } = token;
        let lineage = if lineage == 0 {
            String::new()
        } else {
            format!("lineage {lineage}, ")
        };
        format!("{lineage}group {group}, view {view}, seq {seq}")
    })
}

/// An outcome's name in JSON.
pub(crate) fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Done => "done",
        Outcome::Refused => "refused",
        Outcome::Trapped => "trapped",
        Outcome::Voided => "voided",
        Outcome::Settled => "settled",
        Outcome::Busy => "busy",
        Outcome::NoQuorum => "no_quorum",
        Outcome::NotWriter => "not_writer",
        Outcome::SessionExpired => "session_expired",
        Outcome::TooLarge => "too_large",
        Outcome::Full => "full",
        Outcome::Gap => "gap",
        Outcome::Old => "old",
        Outcome::GroupLost => "group_lost",
        Outcome::Unknown => "unknown",
        Outcome::BadRequest => "bad_request",
        Outcome::Stopping => "stopping",
        Outcome::NotMember => "not_member",
        Outcome::LineageLost => "lineage_lost",
    }
}

/// An instant in RFC 3339, UTC, to the millisecond.
pub(crate) fn instant(ms: u64) -> String {
    const DAY_MS: u64 = 86_400_000;
    let (days, ms) = (ms / DAY_MS, ms % DAY_MS);
    // Years begin in March here, so that the day that some years have more is the last of its year; 400 years have 146,097 days.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        ms % 1_000
    )
}

/// Rows in columns, two blanks between, none at the end of a line. A cell that is longer than a line of a terminal pushes its neighbours
/// aside in its own row alone.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    const WIDTH_MAX: usize = 80;
    let length = |cell: &String| cell.chars().count();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(length)
            .filter(|length| *length <= WIDTH_MAX)
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line += cell;
            // The formatter's own padding has a limit of 65,535, above which it panics.
            line += &" ".repeat(2 + width.saturating_sub(length(cell)));
        }
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<String>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_text_where_they_can_be_printed_and_digits_elsewhere() {
        let rows: [(&[u8], &str); 7] = [
            (b"", ""),
            (b"ADT^A01", "ADT^A01"),
            ("Grüße".as_bytes(), "Grüße"),
            (b"two\nlines", "0x74776f0a6c696e6573"),
            (b"\x1b[2J", "0x1b5b324a"),
            ("a\u{202e}b".as_bytes(), "0x61e280ae62"),
            (b"\xff\x00", "0xff00"),
        ];
        for (given, shown) in rows {
            assert_eq!(bytes(given), shown);
        }
        assert_eq!(bytes_json(b"two\nlines"), json!({ "text": "two\nlines" }));
        assert_eq!(bytes_json(b"\xff\x00"), json!({ "base64": "/wA=" }));
    }

    #[test]
    fn base64_is_that_of_the_standard() {
        // RFC 4648 §10.
        let table = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (bytes, text) in table {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn a_value_shows_its_letters_and_every_other_byte_by_its_number() {
        let table: [(&[u8], &str); 5] = [
            ("Grüße^Ελέ".as_bytes(), "Grüße^Ελέ"),
            (b"M\xfcller", "M\\XFC\\ller"),
            (b"a\r\x1b[2Jb", "a\\X0D\\\\X1B\\[2Jb"),
            ("a\u{202e}b".as_bytes(), "a\\XE280AE\\b"),
            (b"12345678901", "1234567890… (11 bytes)"),
        ];
        for (given, shown) in table {
            assert_eq!(value(given, 10), shown);
        }
    }

    #[test]
    fn instants_are_those_of_the_calendar() {
        let rows = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_709_210_096_007, "2024-02-29T12:34:56.007Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_000, "9999-12-31T23:59:59.000Z"),
        ];
        for (ms, shown) in rows {
            assert_eq!(instant(ms), shown);
        }
        // Every number is an instant, whatever a member says.
        assert!(instant(u64::MAX).ends_with('Z'));
    }

    #[test]
    fn a_place_in_a_long_text_is_shown_with_its_neighbourhood() {
        let text = format!("{},{}", "a".repeat(1_000), "b".repeat(1_000));
        let (line, column) = pointed(&text, 1_000);
        assert_eq!(line.chars().nth(column), Some(','));
        assert!(line.starts_with("…a") && line.ends_with("b…") && line.chars().count() < 100);
        assert_eq!(pointed("ab", 2), ("ab".to_owned(), 2));
    }

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [row(["node", "role", ""]), row(["FL-A-1", "writer", "x"])];
        assert_eq!(table(&rows), "node    role\nFL-A-1  writer  x");
    }

    #[test]
    fn a_cell_of_a_megabyte_is_shown_and_widens_no_other_row() {
        let long = "x".repeat(1 << 20);
        let rows = [vec![long.clone(), "a".to_owned()], vec!["y".to_owned(), "b".to_owned()]];
        assert_eq!(table(&rows), format!("{long}  a\ny  b"));
    }
}
