//! An HL7 message as people and programs read it: its segments and fields, by number and name.
//!
//! Values are shown as they were sent, escapes and all, because a component's separator and an escaped one must stay apart. It knows neither
//! actors nor entries. **Invariant:** every field that says something is there, in its place, whether its segment has names or not.

use serde_json::{Value, json};
use waterpark_edge::hl7::{Message, Segment};

use super::fields::name_of;
use crate::show;

/// Letters of one value on a terminal; programs get all of it.
const VALUE_LETTERS: usize = 200;
/// Letters of a type or control id in a row.
const WORD_LETTERS: usize = 40;

/// A message that is HL7.
pub(super) struct View<'a> {
    message: Message<'a>,
}

impl<'a> View<'a> {
    /// Nothing, if the bytes are no HL7 v2.
    pub(super) fn of(bytes: &'a [u8]) -> Option<View<'a>> {
        let message = Message::parse(bytes).ok()?;
        Some(View { message })
    }

    /// Code and trigger of MSH-9: `ADT^A01`.
    fn kind(&self) -> Vec<u8> {
        let kind = self.message.header().message_type();
        if kind.trigger.is_empty() {
            return kind.code.to_vec();
        }
        [kind.code, kind.trigger].join(&b'^')
    }

    /// The message type in a row.
    pub(super) fn kind_text(&self) -> String {
        show::value(&self.kind(), WORD_LETTERS)
    }

    /// The control id in a row.
    pub(super) fn control_id_text(&self) -> String {
        show::value(self.message.header().control_id(), WORD_LETTERS)
    }

    /// A row for each repetition of each field: `PID-3`, what it is called, its value. The separators of the message are left out where
    /// they are the usual ones.
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        for segment in self.message.segments() {
            let name = show::value(segment.name(), WORD_LETTERS);
            let mut said_nothing = true;
            for field in self.fields(&segment) {
                if field.is_usual() {
                    continue;
                }
                said_nothing = false;
                let label = format!("{name}-{}", field.number);
                let title = name_of(segment.name(), field.number).unwrap_or("");
                for (place, value) in (1..).zip(field.repetitions()) {
                    let title = if place > 1 {
                        format!("{title} ({place})")
                    } else {
                        title.to_owned()
                    };
                    rows.push(vec![
                        label.clone(),
                        title.trim_start().to_owned(),
                        show::value(value, VALUE_LETTERS),
                    ]);
                }
            }
            if said_nothing {
                rows.push(vec![name]);
            }
        }
        rows
    }

    /// All of it, for programs.
    pub(super) fn json(&self) -> Value {
        let field = |segment: &Segment<'_>, field: &Field<'_>| {
            json!({
                "number": field.number, "name": name_of(segment.name(), field.number),
                "value": show::bytes_json(field.raw),
            })
        };
        let segment = |segment: Segment<'_>| {
            let fields: Vec<Value> = self.fields(&segment).map(|each| field(&segment, &each)).collect();
            json!({ "name": String::from_utf8_lossy(segment.name()), "fields": fields })
        };
        let header = self.message.header();
        json!({
            "type": String::from_utf8_lossy(&self.kind()),
            "control_id": show::bytes_json(header.control_id()),
            "version": String::from_utf8_lossy(header.version_id()),
            "segments": self.message.segments().map(segment).collect::<Vec<Value>>(),
        })
    }

    /// The fields of a segment that are not empty, in order. HL7's null `""` says something: that there is nothing any more.
    fn fields<'s>(&self, segment: &Segment<'s>) -> impl Iterator<Item = Field<'s>> + use<'s> {
        let delimiters = *self.message.header().delimiters();
        let is_header = matches!(segment.name(), b"MSH" | b"FHS" | b"BHS");
        let separator = is_header.then(|| segment.field(1).raw());
        let parts = segment.raw().split(move |byte| *byte == delimiters.field).skip(1);
        let first = separator.into_iter().map(|raw| (1, raw));
        let numbers = if is_header { 2.. } else { 1.. };
        let all = first.chain(numbers.zip(parts));
        all.filter(|(_, raw)| !raw.trim_ascii().is_empty())
            .map(move |(number, raw)| Field {
                number,
                raw,
                // The header's own separators stand in its first two fields.
                repetition: delimiters.repetition.filter(|_| !(is_header && number <= 2)),
                is_separator: is_header && number <= 2,
            })
    }
}

/// One field.
struct Field<'a> {
    number: usize,
    raw: &'a [u8],
    repetition: Option<u8>,
    is_separator: bool,
}

impl<'a> Field<'a> {
    /// The separators that nearly every message has say nothing to a reader.
    fn is_usual(&self) -> bool {
        self.is_separator && matches!(self.raw, b"|" | b"^~\\&")
    }

    fn repetitions(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let separator = self.repetition;
        self.raw.split(move |byte| separator == Some(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(message: &[u8]) -> Vec<String> {
        let view = View::of(message).unwrap();
        view.rows().iter().map(|row| row.join("|")).collect()
    }

    #[test]
    fn fields_have_number_name_and_value_and_the_usual_separators_are_left_out() {
        let message = b"MSH|^~\\&|ADT1|HOSPX|||2024||ADT^A01|4711|P|2.5\rPID|1||7^^^H^MR~8||\"\"\rZPD||x^y\rNTE\r";
        assert_eq!(
            rows(message),
            [
                "MSH-3|sending application|ADT1",
                "MSH-4|sending facility|HOSPX",
                "MSH-7|sent|2024",
                "MSH-9|message type|ADT^A01",
                "MSH-10|control id|4711",
                "MSH-11|processing id|P",
                "MSH-12|version|2.5",
                "PID-1|set id|1",
                "PID-3|patient id|7^^^H^MR",
                "PID-3|patient id (2)|8",
                "PID-5|name|\"\"",
                "ZPD-2||x^y",
                "NTE",
            ]
        );
    }

    #[test]
    fn separators_of_its_own_are_shown_and_obeyed() {
        let rows = rows(b"MSH#*!/%#A#H###1##ADT*A01#9\rPID###7***H!8~9\r");
        assert_eq!(
            &rows[..2],
            ["MSH-1|field separator|#", "MSH-2|encoding characters|*!/%"]
        );
        assert!(rows.contains(&"MSH-9|message type|ADT*A01".to_owned()), "{rows:?}");
        assert_eq!(
            &rows[rows.len() - 2..],
            ["PID-3|patient id|7***H", "PID-3|patient id (2)|8~9"]
        );
    }

    #[test]
    fn no_byte_of_a_message_reaches_a_terminal_as_it_is_unless_it_is_a_letter() {
        let mut message = b"MSH|^~\\&|\x1b[2J|H|||1||ADT^A01|1\x07\rPID|||".to_vec();
        message.extend(0..=255_u8);
        for row in View::of(&message).unwrap().rows() {
            for cell in row {
                assert!(cell.chars().all(|c| !c.is_control()), "{cell:?}");
            }
        }
        let view = View::of(b"MSH|^~\\&|A|H|||1||ADT^A01|1\x1b\rPID|||M\xfcller\r").unwrap();
        assert_eq!(view.control_id_text(), "1\\X1B\\");
        assert_eq!(view.rows().last().unwrap()[2], "M\\XFC\\ller");
    }

    #[test]
    fn programs_get_every_byte_of_every_field() {
        let view = View::of(b"MSH|^~\\&|A|H|||1||ORU^R01^ORU_R01|1|P|2.3\rOBX|1|TX|||M\xfcller|\rZZZ|q\r").unwrap();
        let object = view.json();
        assert_eq!(object["type"], "ORU^R01");
        assert_eq!(object["version"], "2.3");
        assert_eq!(object["segments"][0]["fields"][1]["value"]["text"], "^~\\&");
        let value = &object["segments"][1]["fields"][2];
        assert_eq!((&value["number"], &value["name"]), (&json!(5), &json!("value")));
        assert_eq!(value["value"], json!({ "base64": "TfxsbGVy" }));
        assert_eq!(object["segments"][2]["fields"][0]["name"], Value::Null);
    }

    #[test]
    fn a_long_value_is_cut_with_its_length_said() {
        let mut message = b"MSH|^~\\&|A|H|||1||ORU^R01|1\rOBX|1|ED|||".to_vec();
        message.extend([b'x'; 5_000]);
        let rows = rows(&message);
        let last = rows.last().unwrap();
        assert!(last.len() < 300 && last.ends_with("… (5,000 bytes)"), "{last}");
    }
}
