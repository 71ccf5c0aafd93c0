//! `waterpark send`: one message, or each line of the input as one, to one actor; with `--mllp` HL7 files to any receiver (`send/mllp.rs`).
//!
//! Lines go out in batches: what has been read when the batch before has ended, so a pipe is sent as it comes and a file in few round
//! trips. **Invariant:** every message that was read has its end shown, and once one of them did not become an entry no more are sent.

mod mllp;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

use clap::Args;
use serde_json::{Value, json};
use waterpark::config::CommandCode;
use waterpark_client::blocking::Answer;
use waterpark_client::{ClientError, SendOptions};
use waterpark_ring::Key;
use waterpark_wire::reply::Outcome;

use crate::connect::{Cluster, Reach, parse_key};
use crate::errors::{self, Coded};
use crate::failure::{Failure, code, exit_code_of, words_of};
use crate::show;

/// The longest message that a cluster can be configured to take, in bytes.
const MESSAGE_BYTES_MAX: u64 = 16 << 20;
/// Lines of one batch.
const BATCH_LINES: usize = 4_096;
/// A batch takes no more lines once it has so many bytes.
const BATCH_BYTES: usize = 8 << 20;

/// What to send, and where to.
#[derive(Args)]
#[command(
    override_usage = "waterpark send [OPTIONS] KEY MESSAGE\n       waterpark send [OPTIONS] KEY --file FILE\n       \
    waterpark send [OPTIONS] KEY --lines\n       waterpark send --mllp HOST:PORT [OPTIONS] [FILE]..."
)]
pub(crate) struct Arguments {
    /// The actor: KIND/ID[,NAME=VALUE], for example patient/1001,facility=HOSPX. With --mllp the first file
    #[arg(required_unless_present = "mllp")]
    key: Option<OsString>,
    /// The message; `-` reads it from stdin, to the last byte. With --mllp the next file
    #[arg(required_unless_present_any = ["file", "lines", "mllp"])]
    message: Option<OsString>,
    /// With --mllp more files; `-` is stdin, which is also read where there is none
    #[arg(value_name = "FILE", requires = "mllp")]
    more: Vec<OsString>,
    /// Send HL7 over MLLP to this address, in order: a node takes it at its first port + 128. Each file is a message, a batch, or MLLP frames
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["file", "lines", "ordered", "config", "at", "key_file"])]
    mllp: Option<String>,
    /// With --mllp: so many attempts to connect, and for each message that is not answered or answered with AE or CE
    #[arg(long, value_name = "N", default_value_t = 3, requires = "mllp", value_parser = clap::value_parser!(u32).range(1..=100))]
    attempts: u32,
    /// Read the message from a file
    #[arg(long, value_name = "FILE", conflicts_with = "message")]
    file: Option<PathBuf>,
    /// Send each line of stdin, or of --file, as a message of its own
    #[arg(long)]
    lines: bool,
    /// Let the messages take effect in the order in which they stand
    #[arg(long)]
    ordered: bool,
    #[command(flatten)]
    reach: Reach,
}

/// 0: every message is acked. 1: one was refused, by its handler or by the cluster. 4: the cluster cannot be reached. 6: of one nothing is
/// known, or its time is over. Of several, the one that leaves most open is told: 6 before 4 before 1.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let ended = if let Some(address) = &arguments.mllp {
        mllp::send(arguments, address)
    } else if arguments.lines {
        send_lines(arguments)
    } else {
        send_one(arguments)
    };
    match ended.and_then(|code| show::flush().map(|()| code)) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.end(arguments.reach.json),
    }
}

/// The key that was named. Keys are bytes: one that is no UTF-8 is taken as if its bytes stood there as escapes.
fn named_key(arguments: &Arguments) -> Result<Key, Failure> {
    let bytes = arguments.key.as_ref().map_or(&[][..], |key| key.as_encoded_bytes());
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text += chunk.valid();
        text.extend(chunk.invalid().iter().map(|byte| format!("%{byte:02x}")));
    }
    parse_key(&text)
}

fn options(arguments: &Arguments) -> SendOptions {
    SendOptions {
        timeout_ms: arguments.reach.timeout_ms(),
        ordered: arguments.ordered,
        ..SendOptions::default()
    }
}

fn send_one(arguments: &Arguments) -> Result<u8, Failure> {
    let key = named_key(arguments)?;
    let message = match (&arguments.file, &arguments.message) {
        (Some(path), _) => whole(&mut open(path)?, &path.to_string_lossy())?,
        (None, Some(text)) if text != "-" => text.clone().into_vec(),
        (None, _) => whole(&mut io::stdin().lock(), "stdin")?,
    };
    let cluster = arguments.reach.connect()?;
    let end = cluster.client.send(key.as_ref(), &message, &options(arguments));
    if arguments.reach.json {
        let mut object = json!({ "schema": "waterpark.send.1", "key": key.to_string() });
        for (name, value) in end_json(&end) {
            object[name] = value;
        }
        show::print(&object.to_string())?;
    } else if end.is_ok() {
        show::print(&end_text(&end))?;
    }
    if let Err(error) = &end {
        errors::say(error.code(), &words_of(error));
    }
    Ok(exit_code(&end))
}

fn send_lines(arguments: &Arguments) -> Result<u8, Failure> {
    if arguments.message.as_ref().is_some_and(|message| message != "-") {
        return Err(Failure::LinesAndMessage);
    }
    let key = named_key(arguments)?;
    let (name, input): (String, Box<dyn BufRead + Send>) = match &arguments.file {
        Some(path) => (path.display().to_string(), Box::new(BufReader::new(open(path)?))),
        None => ("stdin".to_owned(), Box::new(BufReader::new(io::stdin()))),
    };
    let cluster = arguments.reach.connect()?;
    let (sender, lines) = sync_channel(BATCH_LINES);
    // It ends with the input, with this command, or with the process.
    std::thread::spawn(move || {
        let mut input = input;
        while let Some(line) = next_line(&mut input, &name).transpose() {
            let ended = line.is_err();
            if sender.send(line).is_err() || ended {
                return;
            }
        }
    });
    Lines::new(arguments).send(&cluster, &key, &lines)
}

/// A run of messages.
struct Lines {
    options: SendOptions,
    as_json: bool,
    /// Messages whose end was shown, of these those that are acked, and those whose time is over.
    ended: u64,
    acked: u64,
    open: u64,
    code: u8,
}

impl Lines {
    fn new(arguments: &Arguments) -> Lines {
        Lines {
            options: options(arguments),
            as_json: arguments.reach.json,
            ended: 0,
            acked: 0,
            open: 0,
            code: 0,
        }
    }

    /// One object is written piece by piece: the messages may be more than memory holds, and an object that was cut short is no JSON.
    fn send(mut self, cluster: &Cluster, key: &Key, lines: &Receiver<Result<Vec<u8>, Failure>>) -> Result<u8, Failure> {
        if self.as_json {
            let key = Value::from(key.to_string());
            show::write_all(
                format!("{{\"schema\":\"waterpark.send_lines.1\",\"key\":{key},\"messages\":[").as_bytes(),
            )?;
        }
        let mut failure = None;
        let mut stopped = false;
        while !stopped && failure.is_none() {
            let (batch, end) = batch(lines);
            let more = end.is_none();
            failure = end.and_then(Result::err);
            let messages = batch.iter().map(|line| (key.as_ref(), line.as_slice()));
            for end in cluster.client.send_many(messages, &self.options) {
                stopped |= end.is_err();
                self.show(&end)?;
            }
            show::flush()?;
            if !more {
                // Nothing follows that could have been left out.
                stopped = false;
                break;
            }
        }
        // Nor if the input has ended since.
        stopped = stopped && lines.try_recv().err() != Some(TryRecvError::Disconnected);
        self.finish(stopped, failure)
    }

    fn show(&mut self, end: &Result<Answer, ClientError>) -> Result<(), Failure> {
        self.ended += 1;
        self.acked += u64::from(exit_code(end) == 0);
        self.open += u64::from(exit_code(end) == code::TIMED_OUT);
        self.code = graver(self.code, exit_code(end));
        if self.as_json {
            let comma = if self.ended > 1 { "," } else { "" };
            let object: Value = end_json(end)
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
            return show::write_all(format!("{comma}{object}").as_bytes());
        }
        match end {
            Ok(_) => show::print(&format!("{}: {}", self.ended, end_text(end))),
            Err(error) => show::print(&format!("{}: {}: {}", self.ended, error.code().name(), words_of(error))),
        }
    }

    fn finish(mut self, stopped: bool, failure: Option<Failure>) -> Result<u8, Failure> {
        let (sent, acked) = (self.ended, self.acked);
        let mut missing = Vec::new();
        if self.open > 0 {
            let text = format!("the outcome of {} messages is not known", self.open);
            missing.push((CommandCode::OutcomesOpen.entry(), text));
        }
        if stopped {
            let text =
                format!("stopped after message {sent}, since one did not become an entry; what follows was not sent");
            missing.push((CommandCode::LinesStopped.entry(), text));
        }
        if let Some(failure) = failure {
            missing.push((failure.code(), format!("{failure}; message {sent} was the last one")));
            self.code = graver(self.code, failure.exit_code());
        }
        for (code, text) in &missing {
            errors::say(code, text);
        }
        if self.as_json {
            let complete = missing.is_empty();
            let missing: Value = missing.into_iter().map(|(_, text)| text).collect();
            let end = format!("],\"sent\":{sent},\"acked\":{acked},\"complete\":{complete},\"missing\":{missing}}}");
            show::print(&end)?;
        } else {
            eprintln!("{sent} sent, {acked} acked");
        }
        Ok(self.code)
    }
}

/// The next lines, at least one unless the input is at its end: then how it ended, with the lines before.
fn batch(lines: &Receiver<Result<Vec<u8>, Failure>>) -> (Vec<Vec<u8>>, Option<Result<(), Failure>>) {
    let mut batch = Vec::new();
    let mut bytes = 0;
    while batch.len() < BATCH_LINES && bytes < BATCH_BYTES {
        let line = if batch.is_empty() {
            lines.recv().map_err(|_| TryRecvError::Disconnected)
        } else {
            lines.try_recv()
        };
        match line {
            Ok(Ok(line)) => {
                bytes += line.len();
                batch.push(line);
            }
            Ok(Err(failure)) => return (batch, Some(Err(failure))),
            Err(TryRecvError::Disconnected) => return (batch, Some(Ok(()))),
            Err(TryRecvError::Empty) => break,
        }
    }
    (batch, None)
}

/// The next line without its line feed; the last one may have none.
fn next_line(input: &mut impl BufRead, name: &str) -> Result<Option<Vec<u8>>, Failure> {
    let mut line = Vec::new();
    let read = input.take(MESSAGE_BYTES_MAX + 1).read_until(b'\n', &mut line);
    let count = read.map_err(|cause| unreadable(name, cause))?;
    if count == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() as u64 > MESSAGE_BYTES_MAX {
        return Err(too_long(name));
    }
    Ok(Some(line))
}

fn open(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|cause| unreadable(&path.to_string_lossy(), cause))
}

fn whole(input: &mut impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut message = Vec::new();
    let read = input.take(MESSAGE_BYTES_MAX + 1).read_to_end(&mut message);
    read.map_err(|cause| unreadable(name, cause))?;
    if message.len() as u64 > MESSAGE_BYTES_MAX {
        return Err(too_long(name));
    }
    Ok(message)
}

fn unreadable(name: &str, cause: io::Error) -> Failure {
    Failure::Input {
        name: show::text_or_escaped(name),
        cause,
    }
}

fn too_long(name: &str) -> Failure {
    Failure::InputTooLong {
        name: show::text_or_escaped(name),
        bytes_max: MESSAGE_BYTES_MAX,
    }
}

fn exit_code(end: &Result<Answer, ClientError>) -> u8 {
    match end {
        Ok(answer) if matches!(answer.outcome, Outcome::Done | Outcome::Settled) => 0,
        Ok(_) => code::FAILED,
        Err(error) => exit_code_of(error),
    }
}

/// Which of two ends is told: the one that leaves more open.
fn graver(a: u8, b: u8) -> u8 {
    let rank = |end: u8| match end {
        0 => 0,
        code::TIMED_OUT => 3,
        code::CANNOT_REACH => 2,
        _ => 1,
    };
    if rank(b) > rank(a) { b } else { a }
}

/// `acked (group 4, view 1, seq 9): the handler's reply`.
fn end_text(end: &Result<Answer, ClientError>) -> String {
    let answer = match end {
        Ok(answer) => answer,
        Err(error) => return words_of(error),
    };
    let word = match answer.outcome {
        Outcome::Done => "acked",
        Outcome::Settled => "acked before; the reply is gone",
        Outcome::Trapped => "the handler failed",
        _ => "refused by the handler",
    };
    let token = show::token(answer.token);
    let reply = show::bytes(&answer.body);
    let colon = if reply.is_empty() { "" } else { ": " };
    format!("{word} ({token}){colon}{reply}")
}

fn end_json(end: &Result<Answer, ClientError>) -> Vec<(&'static str, Value)> {
    match end {
        Ok(answer) => vec![
            ("complete", Value::from(true)),
            ("outcome", show::outcome_name(answer.outcome).into()),
            ("token", show::token_json(answer.token)),
            ("reply", show::bytes_json(&answer.body)),
            ("attempts", answer.attempts.into()),
        ],
        Err(error) => {
            let outcome = match error {
                ClientError::Refused { outcome, .. } => show::outcome_name(*outcome),
                ClientError::Unknown => "unknown",
                ClientError::Deadline => "deadline",
                _ => "not_sent",
            };
            // A refusal says all there is; of a message whose time is over the end itself is missing.
            let open = exit_code_of(error) == code::TIMED_OUT;
            let missing: &[&str] = if open { &["outcome"] } else { &[] };
            vec![
                ("complete", Value::from(!open)),
                ("missing", json!(missing)),
                ("outcome", outcome.into()),
                ("token", Value::Null),
                ("code", error.code().name().into()),
                ("error", words_of(error).into()),
                ("exit_code", exit_code_of(error).into()),
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waterpark_client::Token;

    fn answer(outcome: Outcome, reply: &[u8]) -> Result<Answer, ClientError> {
        let token = Token {
            lineage: 0,
            group: 4,
            view: 1,
            seq: 9,
        };
        Ok(Answer {
            outcome,
            token: Some(token),
            body: reply.to_vec(),
            attempts: 1,
        })
    }

    #[test]
    fn an_end_is_one_line_with_its_token_and_the_handlers_reply() {
        let rows = [
            (answer(Outcome::Done, b""), "acked (group 4, view 1, seq 9)", 0),
            (
                answer(Outcome::Done, b"7 red"),
                "acked (group 4, view 1, seq 9): 7 red",
                0,
            ),
            (
                answer(Outcome::Refused, b"the pool is empty"),
                "refused by the handler (group 4, view 1, seq 9): the pool is empty",
                1,
            ),
            (
                answer(Outcome::Done, b"\x1b[31m"),
                "acked (group 4, view 1, seq 9): 0x1b5b33316d",
                0,
            ),
        ];
        for (end, text, code) in rows {
            assert_eq!((end_text(&end).as_str(), exit_code(&end)), (text, code));
        }
    }

    #[test]
    fn json_says_whether_the_end_is_known() {
        let complete = |end: &Result<Answer, ClientError>| {
            let fields = end_json(end);
            fields
                .into_iter()
                .find(|(name, _)| *name == "complete")
                .map(|(_, value)| value)
        };
        assert_eq!(complete(&answer(Outcome::Refused, b"")), Some(json!(true)));
        let full = ClientError::Refused {
            outcome: Outcome::Full,
            detail: 0,
        };
        assert_eq!(complete(&Err(full)), Some(json!(true)));
        assert_eq!(complete(&Err(ClientError::Unknown)), Some(json!(false)));
    }

    #[test]
    fn of_several_ends_the_most_open_one_is_told() {
        let table = [
            (0, 1, 1),
            (1, 0, 1),
            (1, 4, 4),
            (4, 1, 4),
            (6, 4, 6),
            (4, 6, 6),
            (0, 0, 0),
            (6, 0, 6),
        ];
        for (a, b, told) in table {
            assert_eq!(graver(a, b), told, "{a} {b}");
        }
    }

    #[test]
    fn lines_are_messages_without_their_line_feeds() {
        let mut input = BufReader::new(&b"one\n\ntwo\r\nlast \xff"[..]);
        let mut read = Vec::new();
        while let Some(line) = next_line(&mut input, "stdin").unwrap() {
            read.push(line);
        }
        assert_eq!(read, [b"one".as_slice(), b"", b"two\r", b"last \xff"]);
    }

    #[test]
    fn a_line_that_no_cluster_takes_is_refused_before_memory_is_full_of_it() {
        let mut input = BufReader::new(io::repeat(b'x'));
        let refused = next_line(&mut input, "stdin").unwrap_err();
        assert!(matches!(refused, Failure::InputTooLong { bytes_max, .. } if bytes_max == 16 << 20));
        let longest = vec![b'x'; 16 << 20];
        assert_eq!(
            next_line(&mut &longest[..], "stdin").unwrap().map(|line| line.len()),
            Some(16 << 20)
        );
        let refused = whole(&mut io::repeat(b'x'), "stdin").unwrap_err();
        assert!(matches!(refused, Failure::InputTooLong { .. }));
    }

    #[test]
    fn a_batch_takes_what_is_there_and_tells_how_the_input_ended() {
        let (sender, lines) = sync_channel(8);
        for line in [b"a", b"b"] {
            sender.send(Ok(line.to_vec())).unwrap();
        }
        let (taken, end) = batch(&lines);
        assert_eq!((taken.len(), end.is_none()), (2, true), "without waiting for more");
        sender.send(Ok(b"c".to_vec())).unwrap();
        sender.send(Err(too_long("stdin"))).unwrap();
        let (taken, end) = batch(&lines);
        assert_eq!(taken, [b"c"]);
        assert!(matches!(end, Some(Err(Failure::InputTooLong { .. }))));
        drop(sender);
        let (taken, end) = batch(&lines);
        assert!(taken.is_empty() && matches!(end, Some(Ok(()))));
    }
}
