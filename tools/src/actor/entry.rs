//! One entry of a history, as a row and as an object.
//!
//! **Invariant:** an entry is one line whatever was sent, and one whose message is gone says so.

use serde_json::{Value, json};
use waterpark_client::HistoryEntry;
use waterpark_wire::reply::Outcome;
use waterpark_wire::run::{DROPPED, VOID};

use super::view::View;
use crate::show;

/// Titles over the rows of [`hl7_row`].
pub(super) const HL7_TITLES: [&str; 5] = ["seq", "time", "type", "control id", "bytes"];
/// Letters of a message that is no HL7, where it stands among some that are.
const MESSAGE_LETTERS: usize = 60;

/// What became of an entry's message; a number that no release wrote is none.
fn outcome(entry: &HistoryEntry<'_>) -> Option<Outcome> {
    Outcome::parse(entry.entry.header.outcome)
}

/// Why there is no message to show, if there is none.
pub(super) fn gone(entry: &HistoryEntry<'_>) -> Option<&'static str> {
    let flags = entry.entry.header.flags.get();
    match () {
        () if flags & VOID != 0 => Some("(number taken, no message)"),
        () if flags & DROPPED != 0 => Some("(dropped)"),
        () => None,
    }
}

/// `→ refused: the pool is empty`; nothing, where all went well without a word.
fn reply(entry: &HistoryEntry<'_>) -> Option<String> {
    let word = match outcome(entry) {
        Some(Outcome::Done) => "",
        Some(Outcome::Refused) => "refused",
        Some(Outcome::Trapped) => "handler failed",
        Some(other) => show::outcome_name(other),
        None => "?",
    };
    let reply = show::bytes(entry.entry.reply);
    let parted = if word.is_empty() || reply.is_empty() { "" } else { ": " };
    let said = format!("{word}{parted}{reply}");
    (!said.is_empty()).then(|| format!("→ {said}"))
}

/// Seq, time, length, message, reply.
pub(super) fn row(entry: &HistoryEntry<'_>) -> Vec<String> {
    let message = gone(entry).map_or_else(|| show::bytes(entry.entry.message), str::to_owned);
    let mut row = vec![
        entry.seq.to_string(),
        show::instant(entry.time_ms),
        format!("{} B", entry.entry.header.message_length.get()),
        message,
    ];
    row.extend(reply(entry));
    row
}

/// Seq, time, message type, control id, length, and the reply if there is one; of a message that is no HL7 its beginning in the place of a
/// reply.
pub(super) fn hl7_row(entry: &HistoryEntry<'_>) -> Vec<String> {
    let view = View::of(entry.entry.message);
    let (kind, id) = match &view {
        Some(view) => (view.kind_text(), view.control_id_text()),
        None => ("-".to_owned(), "-".to_owned()),
    };
    let mut row = vec![
        entry.seq.to_string(),
        show::instant(entry.time_ms),
        kind,
        id,
        entry.entry.header.message_length.get().to_string(),
    ];
    let said = match gone(entry) {
        Some(gone) => Some(gone.to_owned()),
        None if view.is_none() => Some(show::value(entry.entry.message, MESSAGE_LETTERS)),
        None => None,
    };
    let said: Vec<String> = said.into_iter().chain(reply(entry)).collect();
    if !said.is_empty() {
        row.push(said.join("  "));
    }
    row
}

/// All of it.
pub(super) fn json(entry: &HistoryEntry<'_>) -> Value {
    let header = entry.entry.header;
    let flags = header.flags.get();
    json!({
        "seq": entry.seq, "time": show::instant(entry.time_ms), "bytes": header.message_length.get(),
        "message": show::bytes_json(entry.entry.message), "hl7": View::of(entry.entry.message).map(|view| view.json()),
        "dropped": flags & DROPPED != 0, "void": flags & VOID != 0,
        "outcome": outcome(entry).map(show::outcome_name), "reply": show::bytes_json(entry.entry.reply),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use waterpark_wire::run::{EntryHeader, EntryParts, EntryView};

    fn all_forms(message: &[u8], reply: &[u8], outcome: Outcome, flags: u16) -> (String, Value, String) {
        let header = EntryHeader {
            number: 1.into(),
            outcome: outcome as u8,
            flags: flags.into(),
            ..EntryHeader::default()
        };
        let parts = EntryParts {
            header,
            message,
            reply,
            ..EntryParts::default()
        };
        let mut bytes = vec![0; parts.length()];
        parts.write(&mut bytes);
        let (entry, _) = EntryView::new_checked(&bytes).unwrap();
        let entry = HistoryEntry {
            seq: 42,
            time_ms: 1_709_210_096_007,
            entry,
        };
        (
            show::table(&[super::row(&entry)]),
            super::json(&entry),
            show::table(&[hl7_row(&entry)]),
        )
    }

    #[test]
    fn an_entry_is_one_line_whatever_was_sent() {
        let rows: [(&[u8], &[u8], Outcome, &str); 5] = [
            (b"ADT^A01", b"", Outcome::Done, "7 B  ADT^A01"),
            (b"get", b"7 red", Outcome::Done, "3 B  get  → 7 red"),
            (
                b"take",
                b"the pool is empty",
                Outcome::Refused,
                "4 B  take  → refused: the pool is empty",
            ),
            (b"a\r\nb", b"", Outcome::Trapped, "4 B  0x610d0a62  → handler failed"),
            (b"", b"", Outcome::Done, "0 B"),
        ];
        for (message, reply, outcome, shown) in rows {
            let (text, object, _) = all_forms(message, reply, outcome, 0);
            assert_eq!(text, format!("42  2024-02-29T12:34:56.007Z  {shown}"));
            assert_eq!(object["outcome"], show::outcome_name(outcome));
            assert_eq!(object["message"], show::bytes_json(message));
        }
    }

    #[test]
    fn an_entry_whose_message_is_gone_says_so() {
        let (text, object, _) = all_forms(b"", b"", Outcome::Voided, VOID);
        assert!(text.contains("(number taken, no message)"), "{text}");
        assert_eq!(object["void"], true);
        let (text, object, _) = all_forms(b"", b"", Outcome::Done, DROPPED);
        assert!(text.contains("(dropped)"), "{text}");
        assert_eq!(object["dropped"], true);
    }

    #[test]
    fn a_message_that_is_hl7_is_shown_by_its_type_and_id_and_another_among_them_by_its_beginning() {
        let message = b"MSH|^~\\&|A|H|||1||ADT^A01^ADT_A01|4711|P|2.5\rPID|||7\r";
        let (_, object, text) = all_forms(message, b"reused id", Outcome::Done, 0);
        assert_eq!(
            text,
            format!(
                "42  2024-02-29T12:34:56.007Z  ADT^A01  4711  {}  → reused id",
                message.len()
            )
        );
        assert_eq!(object["hl7"]["control_id"]["text"], "4711");
        let (_, object, text) = all_forms(b"a\rb", b"", Outcome::Done, 0);
        assert_eq!(text, "42  2024-02-29T12:34:56.007Z  -  -  3  a\\X0D\\b");
        assert_eq!(object["hl7"], Value::Null);
    }
}
