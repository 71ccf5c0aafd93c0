//! `register`: one value. Messages are `put VALUE`, `get`, and `cas VERSION VALUE`, where the version is the seq of the entry that wrote
//! the value (0 for none), as every reply gives it.

use serde_json::Value;
use waterpark_core::behaviour::{Answer, Event};
use waterpark_core::state_bytes::{StateReader, StateWriter};

use crate::refuse;

/// Bytes of a value that a reply can carry.
const VALUE_BYTES_MAX: usize = 200;

/// A register's value and the seq that wrote it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Register {
    version: u64,
    value: Vec<u8>,
}

pub(crate) fn execute(register: Option<&Register>, message: &[u8], answer: &mut Answer) {
    let blank = Register::default();
    let register = register.unwrap_or(&blank);
    let (verb, rest) = split(message);
    let value = match verb {
        b"get" if rest.is_empty() => return answer.reply_with(&register.reply()),
        b"put" => rest,
        b"cas" => {
            let (version, value) = split(rest);
            let version = std::str::from_utf8(version)
                .ok()
                .and_then(|version| version.parse::<u64>().ok());
            match version {
                None => return refuse(answer, "cas needs a version: cas VERSION VALUE"),
                Some(version) if version != register.version => {
                    return refuse(answer, &format!("version is {}", register.version));
                }
                Some(_) => value,
            }
        }
        _ => return refuse(answer, "register takes: put VALUE, get, cas VERSION VALUE"),
    };
    if value.len() > VALUE_BYTES_MAX {
        return refuse(answer, "value above 200 bytes");
    }
    answer.event = Event::Bytes;
    answer.event_bytes.extend_from_slice(value);
}

/// The first word, and what follows the blank behind it.
fn split(message: &[u8]) -> (&[u8], &[u8]) {
    match message.iter().position(|byte| *byte == b' ') {
        Some(at) => (&message[..at], &message[at + 1..]),
        None => (message, &[]),
    }
}

impl Register {
    /// Bytes of the value.
    pub(crate) fn beside_bytes(&self) -> usize {
        self.value.capacity()
    }

    pub(crate) fn save(&self, to: &mut StateWriter<'_>) {
        to.number(self.version);
        to.bytes(&self.value);
    }

    pub(crate) fn load(from: &mut StateReader<'_>) -> Option<Register> {
        Some(Register {
            version: from.number()?,
            value: from.bytes()?.to_vec(),
        })
    }

    pub(crate) fn apply(&mut self, event: &[u8], seq: u64) {
        self.version = seq;
        self.value.clear();
        self.value.extend_from_slice(event);
    }

    fn reply(&self) -> Vec<u8> {
        let mut reply = format!("{} ", self.version).into_bytes();
        reply.extend_from_slice(&self.value);
        reply
    }

    /// The value as a JSON string. One that is not UTF-8 stands under a name of its own, as hexadecimal digits, so that no byte is lost
    /// and no text can be taken for it.
    pub(crate) fn show(&self) -> String {
        let version = self.version;
        match std::str::from_utf8(&self.value) {
            Ok(text) => format!("{{\"version\":{version},\"value\":{}}}", Value::from(text)),
            Err(_) => {
                let digits: String = self.value.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("{{\"version\":{version},\"value_hex\":\"{digits}\"}}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waterpark_core::behaviour::Verdict;

    fn run(register: &mut Register, seq: u64, message: &str) -> (Verdict, String) {
        let mut answer = Answer::default();
        execute(Some(register), message.as_bytes(), &mut answer);
        if answer.event == Event::Bytes {
            register.apply(&answer.event_bytes, seq);
        }
        (answer.verdict, String::from_utf8(answer.reply).unwrap())
    }

    #[test]
    fn a_register_takes_a_put_and_refuses_a_compare_and_set_on_another_version() {
        let mut register = Register::default();
        assert_eq!(run(&mut register, 7, "put red").0, Verdict::Done);
        assert_eq!(run(&mut register, 8, "get"), (Verdict::Done, "7 red".to_owned()));
        assert_eq!(
            run(&mut register, 9, "cas 6 blue"),
            (Verdict::Refused, "version is 7".to_owned())
        );
        assert_eq!(run(&mut register, 10, "cas 7 blue").0, Verdict::Done);
        assert_eq!(run(&mut register, 11, "get").1, "10 blue");
        assert_eq!(run(&mut register, 12, "add 3").0, Verdict::Refused);
    }

    #[test]
    fn every_value_is_shown_as_json_and_read_back_from_it() {
        let texts = [
            "",
            "red",
            "say \"red\"",
            r"C:\new\u0041",
            "it's",
            "line\nfeed\ttab\r\0\u{1b}\u{7f}",
            "Grüße 🦀 \u{2028}",
            "</script>",
        ];
        for text in texts {
            let mut register = Register::default();
            run(&mut register, 7, &format!("put {text}"));
            let shown: Value = serde_json::from_str(&register.show()).unwrap();
            assert_eq!(shown, serde_json::json!({ "version": 7, "value": text }), "{text:?}");
        }
    }

    #[test]
    fn a_value_that_is_not_utf8_is_shown_byte_for_byte() {
        let mut register = Register::default();
        let mut answer = Answer::default();
        execute(Some(&register), b"put \xff\x00\"\xc3", &mut answer);
        register.apply(&answer.event_bytes, 9);
        assert_eq!(register.show(), r#"{"version":9,"value_hex":"ff0022c3"}"#);
        let shown: Value = serde_json::from_str(&register.show()).unwrap();
        assert_eq!(shown["value"], Value::Null, "no text can be mistaken for it");
    }
}
