//! `waterpark send --mllp`: HL7 files over MLLP, one message at a time, in order.
//!
//! Which frame leaves when is `waterpark_edge::sender`'s; here are files and a socket that blocks. The receiver may be anybody's.
//! **Invariant:** every message that was read has one line, and behind one of which nothing is known no more are sent.

mod line;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use waterpark::config::EdgeCode;
use waterpark_client::Address;
use waterpark_edge::ack::Code;
use waterpark_edge::hl7::{Contents, Header, contents};
use waterpark_edge::mllp::{self, Framer, Limits, Received};
use waterpark_edge::sender::{Fate, SubmitError};

use self::line::{Line, Outcome};
use super::{Arguments, MESSAGE_BYTES_MAX, graver, open, whole};
use crate::errors::{self, Coded};
use crate::failure::{Failure, code};
use crate::show;

/// Letters of a control id or a receiver's text in a line.
const WORD_LETTERS: usize = 120;

/// 0: all are accepted. 1: some were refused, or are no HL7. 4: the receiver cannot be reached, or speaks no MLLP. 6: one was not answered.
pub(super) fn send(arguments: &Arguments, address: &str) -> Result<u8, Failure> {
    let address: Address = address.parse().map_err(|_| Failure::Address {
        found: address.to_owned(),
    })?;
    let timeout = Duration::from_millis(arguments.reach.timeout_ms().into());
    let files = files(arguments);
    let mut run = Run {
        line: Line::new(address, timeout, arguments.attempts),
        as_json: arguments.reach.json,
        messages: Vec::new(),
        accepted: 0,
        refused: 0,
        unsent: 0,
        unanswered: 0,
        behind: 0,
        code: 0,
    };
    let mut failure = None;
    let mut left = files.iter();
    for file in left.by_ref() {
        match run.send_file(file) {
            Ok(true) => (),
            Ok(false) => break,
            Err(ended) => {
                failure = Some(ended);
                break;
            }
        }
        show::flush()?;
    }
    run.finish(left.len(), failure)
}

fn files(arguments: &Arguments) -> Vec<OsString> {
    let named = [&arguments.key, &arguments.message].into_iter().flatten();
    let files: Vec<OsString> = named.chain(&arguments.more).cloned().collect();
    if files.is_empty() { vec!["-".into()] } else { files }
}

/// All messages of one call.
struct Run {
    line: Line,
    as_json: bool,
    messages: Vec<Value>,
    accepted: u64,
    /// By the receiver.
    refused: u64,
    /// Never sent, for what they are.
    unsent: u64,
    unanswered: u64,
    /// Messages behind the last one in its file, which were not sent.
    behind: usize,
    code: u8,
}

/// What is said of one message.
struct Said<'a> {
    name: &'a str,
    control_id: &'a [u8],
    /// `accepted`, `refused`, `not_sent` or `unanswered`.
    outcome: &'static str,
    code: Option<Code>,
    /// The receiver's, or ours where nothing was sent.
    text: Vec<u8>,
    error: Option<String>,
    attempts: u32,
    took_ms: u64,
}

impl Run {
    /// Sends what a file holds. Returns whether to go on.
    fn send_file(&mut self, file: &OsStr) -> Result<bool, Failure> {
        let is_stdin = file == "-";
        let name = if is_stdin {
            "stdin".to_owned()
        } else {
            file.to_string_lossy().into_owned()
        };
        let bytes = if is_stdin {
            whole(&mut std::io::stdin().lock(), &name)?
        } else {
            whole(&mut open(Path::new(file))?, &name)?
        };
        let name = show::text_or_escaped(&name);
        let bodies = bodies(&bytes);
        let several = bodies.len() > 1;
        let mut left = (1..).zip(bodies);
        for (number, body) in left.by_ref() {
            let name = if several {
                format!("{name}#{number}")
            } else {
                name.clone()
            };
            let goes_on = self.send_body(&name, body);
            if !matches!(goes_on, Ok(true)) {
                self.behind = left.count();
                return goes_on;
            }
        }
        Ok(true)
    }

    fn send_body(&mut self, name: &str, body: Result<Vec<u8>, SubmitError>) -> Result<bool, Failure> {
        let submitted = body.and_then(|body| {
            let id = Header::of_refused(&body).control_id().to_vec();
            self.line.submit(body).map(|()| id)
        });
        let control_id = match submitted {
            Ok(control_id) => control_id,
            Err(error) => {
                self.unsent += 1;
                self.code = graver(self.code, code::FAILED);
                let text = error.to_string();
                let said = Said {
                    name,
                    control_id: b"",
                    outcome: "not_sent",
                    code: None,
                    text: text.into_bytes(),
                    error: Some(error.code().name()),
                    attempts: 0,
                    took_ms: 0,
                };
                self.say(&said)?;
                return Ok(true);
            }
        };
        let mut said = Said {
            name,
            control_id: &control_id,
            outcome: "unanswered",
            code: None,
            text: b"no answer in time; the receiver may have it".to_vec(),
            error: None,
            attempts: 0,
            took_ms: 0,
        };
        let address = self.line.address().to_string();
        let mut failure = None;
        match self.line.run() {
            Outcome::Ended(end) => {
                (said.attempts, said.took_ms) = (end.attempts, end.took_ms);
                match end.fate {
                    Fate::Accepted(answer) => {
                        self.accepted += 1;
                        (said.outcome, said.code, said.text) = ("accepted", Some(answer), Vec::new());
                    }
                    Fate::Refused(answer, text) => {
                        self.refused += 1;
                        self.code = graver(self.code, code::FAILED);
                        (said.outcome, said.code, said.text) = ("refused", Some(answer), text);
                    }
                    Fate::Unanswered => self.unanswered += 1,
                }
            }
            Outcome::Late => self.unanswered += 1,
            Outcome::Unreachable(cause) => {
                self.unsent += 1;
                (said.outcome, said.text) = ("not_sent", b"not sent".to_vec());
                failure = Some(Failure::MllpUnreachable { address, cause });
            }
            Outcome::NotMllp => {
                self.unanswered += 1;
                said.text = b"what came back is no MLLP".to_vec();
                failure = Some(Failure::NotMllp { address });
            }
        }
        let goes_on = matches!(said.outcome, "accepted" | "refused");
        said.error = match &failure {
            Some(failure) => Some(failure.code().name()),
            None if goes_on => None,
            None => Some(EdgeCode::MllpUnanswered.entry().name()),
        };
        self.say(&said)?;
        failure.map_or(Ok(goes_on), Err)
    }

    fn say(&mut self, said: &Said<'_>) -> Result<(), Failure> {
        if self.as_json {
            self.messages.push(said.json());
            return Ok(());
        }
        show::print(&said.line())
    }

    fn finish(self, files_left: usize, failure: Option<Failure>) -> Result<u8, Failure> {
        let Run {
            accepted,
            refused,
            unsent,
            unanswered,
            behind,
            mut code,
            ..
        } = self;
        let mut missing = Vec::new();
        if let Some(failure) = failure {
            code = graver(code, failure.exit_code());
            missing.push((failure.code(), failure.to_string()));
        } else if unanswered > 0 {
            code = graver(code, code::TIMED_OUT);
            let text = "a message was not answered in time; nothing behind it was sent".to_owned();
            missing.push((EdgeCode::MllpUnanswered.entry(), text));
        } else if refused + unsent > 0 {
            let text = match (refused, unsent) {
                (0, unsent) => format!("{unsent} not sent for what they are"),
                (refused, 0) => format!("{refused} refused by the receiver"),
                _ => format!("{refused} refused by the receiver, {unsent} not sent for what they are"),
            };
            errors::say(EdgeCode::MllpRefused.entry(), &text);
        }
        for (code, text) in &missing {
            errors::say(code, text);
        }
        if self.as_json {
            let missing: Vec<String> = missing.into_iter().map(|(_, text)| text).collect();
            let object = json!({
                "schema": "waterpark.send_mllp.1", "complete": missing.is_empty(), "missing": missing,
                "to": self.line.address().to_string(), "messages": self.messages, "accepted": accepted,
                "refused": refused, "not_sent": unsent, "unanswered": unanswered, "messages_behind": behind,
                "files_behind": files_left, "exit_code": code,
            });
            show::print(&object.to_string())?;
        } else {
            let mut summary =
                format!("{accepted} accepted, {refused} refused, {unanswered} not answered, {unsent} not sent");
            if behind > 0 {
                summary += &format!("; {behind} more in the same file");
            }
            if files_left > 0 {
                summary += &format!("; {files_left} more files not read");
            }
            eprintln!("{summary}");
        }
        Ok(code)
    }
}

impl Said<'_> {
    /// `a01.hl7: AA 4711 (3 ms)`, `a02.hl7: AR 4712: no patient and no visit (2 ms)`, `x.txt: WP-5012: not sent: ...`.
    fn line(&self) -> String {
        let mut line = format!("{}: ", self.name);
        line += match (self.code, &self.error) {
            (Some(code), _) => code.text(),
            (None, Some(error)) => error,
            (None, None) => "--",
        };
        if !self.control_id.is_empty() {
            line.push(' ');
            line += &show::value(self.control_id, WORD_LETTERS);
        }
        if !self.text.is_empty() {
            line += ": ";
            line += &show::value(&self.text, WORD_LETTERS);
        }
        match self.attempts {
            0 => (),
            1 => line += &format!(" ({} ms)", self.took_ms),
            attempts => line += &format!(" ({attempts} attempts, {} ms)", self.took_ms),
        }
        line
    }

    fn json(&self) -> Value {
        json!({
            "file": self.name, "control_id": show::bytes_json(self.control_id), "outcome": self.outcome,
            "code": self.code.map(Code::text), "text": show::bytes_json(&self.text), "error": self.error,
            "attempts": self.attempts, "took_ms": self.took_ms,
        })
    }
}

/// The messages that a file holds: the bodies of its frames if it begins with one, those of a batch each, else all of it.
fn bodies(bytes: &[u8]) -> Vec<Result<Vec<u8>, SubmitError>> {
    if bytes.trim_ascii_start().first() == Some(&mllp::START) {
        return framed(bytes);
    }
    messages(bytes)
}

fn messages(bytes: &[u8]) -> Vec<Result<Vec<u8>, SubmitError>> {
    match contents(bytes) {
        Ok(Contents::Message(_)) => vec![Ok(bytes.to_vec())],
        Ok(Contents::Batch(batch)) => batch.messages().map(|message| Ok(message.to_vec())).collect(),
        Err(error) => vec![Err(SubmitError::Hl7(error))],
    }
}

fn framed(bytes: &[u8]) -> Vec<Result<Vec<u8>, SubmitError>> {
    let mut bodies = Vec::new();
    let mut framer = Framer::new(Limits {
        message_bytes_max: usize::try_from(MESSAGE_BYTES_MAX).unwrap_or(usize::MAX),
        ..Limits::default()
    });
    let mut take = |received: Received<'_>| match received {
        Received::Message(body) => bodies.extend(messages(body)),
        // Nobody can say what was cut off.
        Received::TooLong { .. } | Received::Cut { .. } => bodies.push(Err(SubmitError::Unframeable)),
    };
    let fed = framer
        .feed(bytes, false, &mut take)
        .and_then(|()| framer.finish(&mut take));
    if fed.is_err() {
        bodies.push(Err(SubmitError::Unframeable));
    }
    bodies
}

#[cfg(test)]
mod tests {
    use super::*;
    use waterpark_edge::hl7::Hl7Error;

    const A: &[u8] = b"MSH|^~\\&|A|H|||1||ADT^A01|1|P|2.5\rPID|1||7\r";
    const B: &[u8] = b"MSH|^~\\&|A|H|||1||ADT^A02|2|P|2.5\rPID|1||7\r";

    fn frames(bodies: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        bodies.iter().for_each(|body| mllp::write(&mut out, body));
        out
    }

    #[test]
    fn a_file_is_a_message_or_several_or_frames() {
        let batch = [b"BHS|^~\\&|A|H\r", A, B, b"BTS|2\r"].concat();
        let table: [(&[u8], &[&[u8]]); 6] = [
            (A, &[A]),
            (&[A, B].concat(), &[A, B]),
            (&batch, &[A, B]),
            (&frames(&[A]), &[A]),
            (&[b"\n", &frames(&[A, B])[..]].concat(), &[A, B]),
            (&frames(&[&batch, A]), &[A, B, A]),
        ];
        for (file, expected) in table {
            let bodies: Vec<Vec<u8>> = bodies(file).into_iter().map(Result::unwrap).collect();
            assert_eq!(bodies, expected, "{}", file.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_message_is_an_error_in_its_place() {
        assert_eq!(bodies(b"hello"), [Err(SubmitError::Hl7(Hl7Error::NotHl7))]);
        assert_eq!(bodies(b""), [Err(SubmitError::Hl7(Hl7Error::Empty))]);
        let wrong = [b"BHS|^~\\&|A|H\r", A, b"BTS|2\r"].concat();
        assert_eq!(bodies(&wrong), [Err(SubmitError::Hl7(Hl7Error::BatchCount))]);
        let mut cut = frames(&[A, B]);
        cut.truncate(cut.len() - 9);
        let read = bodies(&cut);
        assert_eq!(read[0], Ok(A.to_vec()));
        assert_eq!(read[1..], [Err(SubmitError::Unframeable)]);
    }

    #[test]
    fn a_line_has_the_code_first_and_no_control_byte() {
        let said = |code, error: Option<&str>, text: &[u8], attempts| {
            let said = Said {
                name: "a.hl7",
                control_id: b"4711",
                outcome: "refused",
                code,
                text: text.to_vec(),
                error: error.map(str::to_owned),
                attempts,
                took_ms: 3,
            };
            said.line()
        };
        assert_eq!(said(Some(Code::AA), None, b"", 1), "a.hl7: AA 4711 (3 ms)");
        assert_eq!(
            said(Some(Code::AE), None, b"no\x1bquorum", 3),
            "a.hl7: AE 4711: no\\X1B\\quorum (3 attempts, 3 ms)"
        );
        assert_eq!(
            said(None, Some("WP-5033"), b"not sent", 0),
            "a.hl7: WP-5033 4711: not sent"
        );
    }
}
