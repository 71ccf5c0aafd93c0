//! NATS JetStream: five servers, and one stream in memory with five replicas.
//!
//! Messages are published with a reply address in which their serial stands; JetStream answers there once a majority holds one. They are read back
//! from the stream's leader by a consumer, and each server is asked up to which of them it holds. **Invariant:** an answer without a place in
//! the stream is no ack.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use waterpark_bench::ledger::Fate;

use crate::dialect::{Acks, Dialect, Ended};
use crate::error::PeerError;
use crate::load::Setting;
use crate::peer::{Class, Peer, Spec, program};
use crate::servers::{SERVERS, Servers, Start, dial};

pub(crate) const SPEC: Spec = Spec {
    name: "nats",
    what: "NATS JetStream, five servers, one stream in memory with five replicas",
    needs: &["nats-server"],
    install: "nats-server",
    version: &["--version"],
    class: Class::Ram,
    durability: "ram, three of five replicas by consensus",
};

/// The stream. Its subjects are `w.ACTOR`.
const STREAM: &str = "w";
/// Messages that are asked for at once when they are read back.
const READ_BATCH: u64 = 2_000;
/// How long servers may take to hold what the leader holds.
const CATCH_UP: Duration = Duration::from_secs(20);
/// What a client says of itself.
const GREETING: &[u8] = b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":false,\"lang\":\"rust\",\"version\":\"1\",\"protocol\":1}\r\n";

pub(crate) struct Nats {
    servers: Servers,
    leader: usize,
    /// What the leader holds, once it was read.
    read: Option<Vec<Entry>>,
}

/// A message of the stream.
struct Entry {
    seq: u64,
    actor: u64,
    message: Vec<u8>,
}

impl Nats {
    pub(crate) fn start(start: &Start<'_>) -> Result<Nats, PeerError> {
        let nats = program("nats-server")?;
        let mut servers = Servers::new(start, Signal::KILL)?;
        let routes: Vec<String> = (0..SERVERS)
            .map(|server| format!("nats://{}", servers.address(server, 2)))
            .collect();
        for server in 0..SERVERS {
            let name = format!("nats-{server}");
            let config = format!(
                "server_name: {name}\nlisten: \"{}\"\nhttp: \"{}\"\n\
                 jetstream {{ store_dir: \"{name}\", max_mem: 16GB, max_file: 16MB }}\n\
                 cluster {{ name: peers, listen: \"{}\", routes: [{}] }}\n",
                servers.address(server, 0),
                servers.address(server, 1),
                servers.address(server, 2),
                routes.join(", "),
            );
            let file = servers.folder().join(format!("{name}.conf"));
            std::fs::write(&file, config).map_err(PeerError::Folder)?;
            servers.spawn(&nats, &name, |command| {
                command.arg("-c").arg(file);
            })?;
        }
        let create = json!({
            "name": STREAM, "subjects": [format!("{STREAM}.*")], "storage": "memory", "num_replicas": SERVERS,
            "retention": "limits", "discard": "new", "max_msgs": -1, "max_bytes": -1, "max_age": 0, "max_consumers": -1,
        });
        let leader = servers.until(0, start.go_on, |servers| {
            let mut asker = Asker::dial(servers, 0)?;
            // Once it is there, it is there again.
            asker.ask(&format!("$JS.API.STREAM.CREATE.{STREAM}"), &create)?;
            let told = asker.ask(&format!("$JS.API.STREAM.INFO.{STREAM}"), &json!({}))?;
            let cluster = &told["cluster"];
            let current = cluster["replicas"].as_array().map_or(0, |replicas| {
                replicas.iter().filter(|replica| replica["current"] == true).count()
            });
            let leader = cluster["leader"]
                .as_str()
                .and_then(|name| name.strip_prefix("nats-")?.parse().ok());
            Ok(leader.filter(|_| current == SERVERS - 1))
        })?;
        Ok(Nats {
            servers,
            leader,
            read: None,
        })
    }

    /// All that the leader holds.
    fn read_leader(&self) -> Result<Vec<Entry>, PeerError> {
        let mut asker = Asker::dial(&self.servers, self.leader)?;
        let told = asker.ask(&format!("$JS.API.STREAM.INFO.{STREAM}"), &json!({}))?;
        let mut left = told["state"]["messages"].as_u64().unwrap_or(0);
        let wanted = json!({
            "stream_name": STREAM,
            "config": { "ack_policy": "none", "deliver_policy": "all", "replay_policy": "instant", "num_replicas": 1, "mem_storage": true },
        });
        let told = asker.ask(&format!("$JS.API.CONSUMER.CREATE.{STREAM}"), &wanted)?;
        let consumer = told["name"].as_str().unwrap_or_default().to_owned();
        let mut entries = Vec::new();
        while left > 0 {
            let batch = left.min(READ_BATCH);
            let next = json!({ "batch": batch, "expires": 10_000_000_000_u64 });
            asker.publish(&format!("$JS.API.CONSUMER.MSG.NEXT.{STREAM}.{consumer}"), &next)?;
            for _ in 0..batch {
                let message = asker.next()?;
                // $JS.ACK.STREAM.CONSUMER.DELIVERED.SEQ.…
                let seq = message.reply.split('.').nth(5).and_then(|seq| seq.parse().ok());
                let actor = message.subject.strip_prefix("w.").and_then(|actor| actor.parse().ok());
                let (Some(seq), Some(actor)) = (seq, actor) else {
                    return Err(PeerError::answer("the next messages", message.subject.as_bytes()));
                };
                entries.push(Entry {
                    seq,
                    actor,
                    message: message.payload,
                });
            }
            left -= batch;
        }
        Ok(entries)
    }

    /// The last message that a server holds, as itself says.
    fn last_seq(&self, server: usize) -> Result<u64, PeerError> {
        let mut stream = dial(self.servers.address(server, 1))?;
        stream.write_all(b"GET /jsz?streams=true HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut said = Vec::new();
        stream.read_to_end(&mut said)?;
        let body = said
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .map(|at| &said[at + 4..]);
        let told: Option<Value> = body.and_then(|body| serde_json::from_slice(body).ok());
        let told = told.ok_or_else(|| PeerError::answer("/jsz", &said))?;
        last_seq_of(&told).ok_or_else(|| PeerError::answer("/jsz", &said))
    }
}

/// The last place of the stream in what a server tells of all of its streams.
fn last_seq_of(told: &Value) -> Option<u64> {
    let accounts = told["account_details"].as_array()?;
    let mut streams = accounts
        .iter()
        .filter_map(|account| account["stream_detail"].as_array())
        .flatten();
    let stream = streams.find(|stream| stream["name"] == STREAM)?;
    stream["state"]["last_seq"].as_u64()
}

impl Peer for Nats {
    fn servers(&mut self) -> &mut Servers {
        &mut self.servers
    }

    fn settings(&self) -> Vec<Setting> {
        Setting::all(&[(1, 64), (1, 256), (1, 1_024), (1, 4_096), (4, 64), (4, 256), (4, 1_024)])
    }

    fn connect(&mut self, _setting: Setting, at: usize) -> Result<(TcpStream, Box<dyn Dialect>), PeerError> {
        let asker = Asker::dial(&self.servers, self.leader)?;
        let mut stream = asker.stream.into_inner();
        stream.write_all(format!("SUB _P.{at}.* 2\r\n").as_bytes())?;
        Ok((stream, Box::new(Published { at })))
    }

    fn read(&mut self, server: usize, take: &mut dyn FnMut(u64, &[u8])) -> Result<(), PeerError> {
        if self.read.is_none() {
            self.read = Some(self.read_leader()?);
        }
        let entries = self.read.as_deref().unwrap_or_default();
        let all = entries.last().map_or(0, |entry| entry.seq);
        let until = Instant::now() + CATCH_UP;
        let mut last = self.last_seq(server)?;
        while last < all && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
            last = self.last_seq(server)?;
        }
        for entry in entries.iter().take_while(|entry| entry.seq <= last) {
            take(entry.actor, &entry.message);
        }
        Ok(())
    }
}

/// A message as it came.
struct Message {
    subject: String,
    reply: String,
    payload: Vec<u8>,
}

/// A connection for questions, one at a time.
struct Asker {
    stream: BufReader<TcpStream>,
}

impl Asker {
    fn dial(servers: &Servers, server: usize) -> Result<Asker, PeerError> {
        let mut stream = BufReader::new(dial(servers.address(server, 0))?);
        let mut info = String::new();
        stream.read_line(&mut info)?;
        if !info.starts_with("INFO ") {
            return Err(PeerError::answer("a connection", info.as_bytes()));
        }
        stream.get_mut().write_all(GREETING)?;
        stream.get_mut().write_all(b"SUB _R 1\r\n")?;
        Ok(Asker { stream })
    }

    fn publish(&mut self, subject: &str, body: &Value) -> Result<(), PeerError> {
        let body = body.to_string();
        let said = format!("PUB {subject} _R {}\r\n{body}\r\n", body.len());
        Ok(self.stream.get_mut().write_all(said.as_bytes())?)
    }

    fn ask(&mut self, subject: &str, body: &Value) -> Result<Value, PeerError> {
        self.stream.get_mut().set_read_timeout(Some(Duration::from_secs(4)))?;
        self.publish(subject, body)?;
        let answer = self.next()?.payload;
        self.stream.get_mut().set_read_timeout(Some(Duration::from_secs(30)))?;
        let told: Option<Value> = serde_json::from_slice(&answer).ok();
        told.filter(|told| told["error"].is_null())
            .ok_or_else(|| PeerError::answer("JetStream's API", &answer))
    }

    fn next(&mut self) -> Result<Message, PeerError> {
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(PeerError::Socket(std::io::ErrorKind::UnexpectedEof.into()));
            }
            match Line::of(line.trim_end().as_bytes())? {
                Line::Ping => self.stream.get_mut().write_all(b"PONG\r\n")?,
                Line::Aside => (),
                Line::Message {
                    subject,
                    reply,
                    head,
                    bytes,
                } => {
                    let message = (subject.to_owned(), reply.to_owned());
                    let mut payload = vec![0; bytes + 2];
                    self.stream.read_exact(&mut payload)?;
                    payload.truncate(bytes);
                    payload.drain(..head);
                    let (subject, reply) = message;
                    return Ok(Message {
                        subject,
                        reply,
                        payload,
                    });
                }
            }
        }
    }
}

/// What a line of a server means.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    /// It wants to hear that the client is there.
    Ping,
    /// Nothing that matters here.
    Aside,
    /// A message begins: so many bytes follow, and an end of line; the first of them are headers.
    Message {
        subject: &'a str,
        reply: &'a str,
        head: usize,
        bytes: usize,
    },
}

impl Line<'_> {
    fn of(line: &[u8]) -> Result<Line<'_>, PeerError> {
        let wrong = || PeerError::answer("a connection", line);
        let text = std::str::from_utf8(line).map_err(|_| wrong())?;
        let words: Vec<&str> = text.split(' ').collect();
        let number = |word: &str| word.parse::<usize>().map_err(|_| wrong());
        Ok(match words[..] {
            ["PING"] => Line::Ping,
            ["PONG" | "+OK"] | ["INFO", ..] => Line::Aside,
            ["MSG", subject, _, bytes] => Line::message(subject, "", 0, number(bytes)?),
            ["MSG", subject, _, reply, bytes] => Line::message(subject, reply, 0, number(bytes)?),
            ["HMSG", subject, _, head, bytes] => Line::message(subject, "", number(head)?, number(bytes)?),
            ["HMSG", subject, _, reply, head, bytes] => Line::message(subject, reply, number(head)?, number(bytes)?),
            _ => return Err(wrong()),
        })
    }

    fn message<'a>(subject: &'a str, reply: &'a str, head: usize, bytes: usize) -> Line<'a> {
        Line::Message {
            subject,
            reply,
            head: head.min(bytes),
            bytes,
        }
    }
}

/// Messages of one connection, which each have an address for their answer.
#[derive(Debug)]
struct Published {
    at: usize,
}

impl Dialect for Published {
    fn acks(&self) -> Acks {
        Acks::Each
    }

    fn append(&mut self, serial: u64, actor: u64, message: &[u8], out: &mut Vec<u8>) {
        // A vector takes everything.
        drop(write!(
            out,
            "PUB {STREAM}.{actor} _P.{}.{serial} {}\r\n",
            self.at,
            message.len()
        ));
        out.extend_from_slice(message);
        out.extend_from_slice(b"\r\n");
    }

    fn flush(&mut self, _out: &mut Vec<u8>) {}

    fn take(&mut self, came: &[u8], ended: &mut Vec<Ended>, out: &mut Vec<u8>) -> Result<usize, PeerError> {
        let mut taken = 0;
        while let Some(end) = came[taken..].windows(2).position(|pair| pair == b"\r\n") {
            let line = &came[taken..taken + end];
            let rest = &came[taken + end + 2..];
            match Line::of(line)? {
                Line::Ping => out.extend_from_slice(b"PONG\r\n"),
                Line::Aside => (),
                Line::Message {
                    subject, head, bytes, ..
                } => {
                    let Some(payload) = rest.get(..bytes + 2) else {
                        break;
                    };
                    // Questions of the greeting's time are answered elsewhere.
                    if let Some(serial) = subject.strip_prefix("_P.").and_then(|rest| rest.split_once('.')) {
                        let serial = serial.1.parse().map_err(|_| PeerError::answer("a message", line))?;
                        ended.push((serial, fate_of(&payload[head..bytes])));
                    }
                    taken += bytes + 2;
                }
            }
            taken += end + 2;
        }
        Ok(taken)
    }
}

/// `{"stream":"w","seq":17}` says that it is held; an error says that it is not.
fn fate_of(answer: &[u8]) -> Fate {
    let has = |text: &[u8]| answer.windows(text.len()).any(|window| window == text);
    match has(b"\"seq\":") && !has(b"\"error\":") {
        true => Fate::Acked,
        false => Fate::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_actor_in_its_subject_and_its_serial_in_its_reply() {
        let mut out = Vec::new();
        Published { at: 3 }.append(77, 5, b"abc", &mut out);
        assert_eq!(out, b"PUB w.5 _P.3.77 3\r\nabc\r\n");
    }

    #[test]
    fn answers_are_taken_whole_however_they_are_cut() {
        let came = b"PING\r\n+OK\r\nMSG _P.3.77 2 22\r\n{\"stream\":\"w\",\"seq\":1}\r\nMSG _P.3.78 2 26\r\n{\"error\":{\"code\":503},\"x\"}\r\n\
            HMSG _P.3.79 2 12 12\r\nNATS/1.0\r\n\r\n\r\n";
        for cut in 0..=came.len() {
            let (mut ended, mut out) = (Vec::new(), Vec::new());
            let mut published = Published { at: 3 };
            let taken = published.take(&came[..cut], &mut ended, &mut out).unwrap();
            let taken = taken + published.take(&came[taken..], &mut ended, &mut out).unwrap();
            assert_eq!(taken, came.len(), "cut at {cut}");
            assert_eq!(ended, [(77, Fate::Acked), (78, Fate::Refused), (79, Fate::Refused)]);
            assert_eq!(out, b"PONG\r\n");
        }
    }

    #[test]
    fn words_of_another_protocol_are_an_error() {
        for bad in [
            &b"-ERR 'Authorization Violation'"[..],
            b"MSG a 1 x",
            b"MSG a",
            b"",
            b"\xff",
        ] {
            assert!(Line::of(bad).is_err(), "{bad:?}");
        }
        let headed = Line::of(b"HMSG a 1 b 90 12").unwrap();
        assert_eq!(
            headed,
            Line::message("a", "b", 12, 12),
            "headers are no longer than all of it"
        );
    }

    #[test]
    fn a_server_tells_how_far_it_holds_the_stream() {
        let streams = json!([{ "name": "x", "state": { "last_seq": 1 } }, { "name": "w", "state": { "last_seq": 9 } }]);
        let told = json!({ "account_details": [{ "name": "$G", "stream_detail": streams }] });
        assert_eq!(last_seq_of(&told), Some(9));
        assert_eq!(last_seq_of(&json!({})), None);
    }
}
