//! Redis: appends to lists on one primary, and `WAIT 2` behind each batch of them.
//!
//! A connection sends a batch of `RPUSH` and one `WAIT`, and the next batch when that was answered: `WAIT` holds back whatever follows it, so more
//! of them under way are more connections. Neither snapshots nor the append-only file are on. **Invariant:** a message is acked once `WAIT`
//! counted two replicas behind its own answer.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use rustix::process::Signal;
use waterpark_bench::ledger::Fate;

use crate::dialect::{Acks, Dialect, Ended};
use crate::error::PeerError;
use crate::load::Setting;
use crate::peer::{Class, Peer, Spec, program};
use crate::servers::{SERVERS, Servers, Start, dial};

pub(crate) const SPEC: Spec = Spec {
    name: "redis",
    what: "Redis, a primary and four replicas, RPUSH in batches and WAIT 2",
    needs: &["redis-server"],
    install: "redis-server",
    version: &["--version"],
    class: Class::Ram,
    durability: "ram, the primary and two of four replicas; no snapshots, no append-only file",
};

/// Replicas that `WAIT` waits for.
const REPLICAS: i64 = 2;
/// Milliseconds after which it no longer does: no message is acked by that.
const WAIT_MS: &str = "5000";
/// Lists that are asked for at once when they are read back.
const READ_LISTS: u64 = 64;

pub(crate) struct Redis {
    servers: Servers,
    actors: u64,
}

impl Redis {
    pub(crate) fn start(start: &Start<'_>) -> Result<Redis, PeerError> {
        let redis = program("redis-server")?;
        let mut servers = Servers::new(start, Signal::KILL)?;
        for server in 0..SERVERS {
            let name = format!("redis-{server}");
            let folder = servers.folder().join(&name);
            std::fs::create_dir(&folder).map_err(PeerError::Folder)?;
            let (port, primary) = (servers.port(server, 0).to_string(), servers.port(0, 0).to_string());
            servers.spawn(&redis, &name, |command| {
                command
                    .args(["--port", &port, "--bind", "127.0.0.1", "--dir"])
                    .arg(folder)
                    .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
                    .args(["--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"])
                    .args(["--client-output-buffer-limit", "replica 0 0 0"])
                    .args(["--repl-backlog-size", "64mb"]);
                if server > 0 {
                    command.args(["--replicaof", &format!("127.0.0.1 {primary}")]);
                }
            })?;
        }
        servers.until(0, start.go_on, |servers| {
            let mut stream = BufReader::new(dial(servers.address(0, 0))?);
            let mut asked = Vec::new();
            command(&[b"INFO", b"replication"], &mut asked);
            stream.get_mut().write_all(&asked)?;
            let said = bulk(&mut stream)?.unwrap_or_default();
            let online = String::from_utf8_lossy(&said).matches("state=online").count();
            Ok((online == SERVERS - 1).then_some(()))
        })?;
        Ok(Redis { servers, actors: 0 })
    }
}

impl Peer for Redis {
    fn servers(&mut self) -> &mut Servers {
        &mut self.servers
    }

    fn settings(&self) -> Vec<Setting> {
        Setting::all(&[
            (1, 256),
            (1, 1_024),
            (4, 64),
            (4, 256),
            (4, 1_024),
            (16, 64),
            (16, 256),
            (64, 64),
        ])
    }

    fn connect(&mut self, _setting: Setting, _at: usize) -> Result<(TcpStream, Box<dyn Dialect>), PeerError> {
        Ok((dial(self.servers.address(0, 0))?, Box::new(Lists::default())))
    }

    fn read(&mut self, server: usize, take: &mut dyn FnMut(u64, &[u8])) -> Result<(), PeerError> {
        let mut stream = BufReader::new(dial(self.servers.address(server, 0))?);
        let mut asked = Vec::new();
        command(&[b"DBSIZE"], &mut asked);
        stream.get_mut().write_all(&asked)?;
        let lists = number(&line(&mut stream)?).and_then(|lists| u64::try_from(lists).ok());
        let lists = lists.ok_or_else(|| PeerError::answer("DBSIZE", b""))?;
        // Actors have the numbers from 0 on, and each has got its first message.
        self.actors = self.actors.max(lists);
        for first in (0..self.actors).step_by(usize::try_from(READ_LISTS).unwrap_or(1)) {
            let these = first..self.actors.min(first + READ_LISTS);
            asked.clear();
            for actor in these.clone() {
                command(&[b"LRANGE", key(actor).as_bytes(), b"0", b"-1"], &mut asked);
            }
            stream.get_mut().write_all(&asked)?;
            for actor in these {
                let head = line(&mut stream)?;
                let count = head.strip_prefix(b"*").and_then(number_of);
                let count = count.ok_or_else(|| PeerError::answer("LRANGE", &head))?;
                for _ in 0..count {
                    take(actor, &bulk(&mut stream)?.unwrap_or_default());
                }
            }
        }
        Ok(())
    }
}

fn key(actor: u64) -> String {
    format!("record:{actor:07}")
}

/// One command, as an array of its words.
fn command(words: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// The number that stands in text.
fn number_of(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// An integer's answer.
fn number(line: &[u8]) -> Option<i64> {
    number_of(line.strip_prefix(b":")?)
}

/// A line, without its end.
fn line(stream: &mut impl BufRead) -> Result<Vec<u8>, PeerError> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line)?;
    match line.strip_suffix(b"\r\n") {
        Some(text) => Ok(text.to_vec()),
        None => Err(PeerError::Socket(std::io::ErrorKind::UnexpectedEof.into())),
    }
}

/// A string's answer; `None` for the one that is no string.
fn bulk(stream: &mut impl BufRead) -> Result<Option<Vec<u8>>, PeerError> {
    let head = line(stream)?;
    let bytes = head.strip_prefix(b"$").and_then(number_of);
    match bytes.ok_or_else(|| PeerError::answer("a string", &head))? {
        -1 => Ok(None),
        bytes => {
            let bytes = usize::try_from(bytes).map_err(|_| PeerError::answer("a string", &head))?;
            let mut text = vec![0; bytes + 2];
            stream.read_exact(&mut text)?;
            text.truncate(bytes);
            Ok(Some(text))
        }
    }
}

/// The batch of one connection.
#[derive(Debug, Default)]
struct Lists {
    /// Serials that were appended, in their order; false for one that was refused.
    batch: Vec<(u64, bool)>,
    answered: usize,
    head: Vec<u8>,
}

impl Dialect for Lists {
    fn acks(&self) -> Acks {
        Acks::Together
    }

    fn append(&mut self, serial: u64, actor: u64, message: &[u8], out: &mut Vec<u8>) {
        self.batch.push((serial, true));
        // What no message changes is written without a format's detour.
        if self.head.is_empty() {
            self.head = format!("\r\n${}\r\n", message.len()).into_bytes();
        }
        out.extend_from_slice(b"*3\r\n$5\r\nRPUSH\r\n$14\r\nrecord:");
        let mut digits = [b'0'; 7];
        let mut left = actor;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + u8::try_from(left % 10).unwrap_or(0);
            left /= 10;
        }
        out.extend_from_slice(&digits);
        out.extend_from_slice(&self.head);
        out.extend_from_slice(message);
        out.extend_from_slice(b"\r\n");
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        command(&[b"WAIT", REPLICAS.to_string().as_bytes(), WAIT_MS.as_bytes()], out);
    }

    fn take(&mut self, came: &[u8], ended: &mut Vec<Ended>, _out: &mut Vec<u8>) -> Result<usize, PeerError> {
        let mut taken = 0;
        while let Some(end) = came[taken..].windows(2).position(|pair| pair == b"\r\n") {
            let line = &came[taken..taken + end];
            taken += end + 2;
            if self.batch.is_empty() {
                return Err(PeerError::answer("nothing", line));
            }
            if let Some((_, is_held)) = self.batch.get_mut(self.answered) {
                *is_held = number(line).is_some();
                self.answered += 1;
                continue;
            }
            let replicas = number(line).ok_or_else(|| PeerError::answer("WAIT", line))?;
            let fate = |is_held| match (is_held, replicas >= REPLICAS) {
                (false, _) => Fate::Refused,
                (true, true) => Fate::Acked,
                (true, false) => Fate::Unknown,
            };
            ended.extend(self.batch.drain(..).map(|(serial, is_held)| (serial, fate(is_held))));
            self.answered = 0;
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_appends_to_its_actors_lists_and_one_wait() {
        let mut lists = Lists::default();
        let mut out = Vec::new();
        lists.append(9, 1_234_567, b"abc", &mut out);
        lists.flush(&mut out);
        let mut said = Vec::new();
        command(&[b"RPUSH", key(1_234_567).as_bytes(), b"abc"], &mut said);
        command(&[b"WAIT", b"2", b"5000"], &mut said);
        assert_eq!(out, said);
        assert!(said.starts_with(b"*3\r\n$5\r\nRPUSH\r\n$14\r\nrecord:1234567\r\n$3\r\nabc\r\n"));
    }

    #[test]
    fn a_batch_ends_with_its_wait_however_its_answers_are_cut() {
        let answers = b":1\r\n-OOM no memory\r\n:2\r\n:2\r\n";
        for cut in 0..answers.len() {
            let mut lists = Lists::default();
            for serial in 5..8 {
                lists.append(serial, 0, b"x", &mut Vec::new());
            }
            let (mut ended, mut out) = (Vec::new(), Vec::new());
            let taken = lists.take(&answers[..cut], &mut ended, &mut out).unwrap();
            assert!(ended.is_empty(), "the wait was not answered");
            lists.take(&answers[taken..], &mut ended, &mut out).unwrap();
            assert_eq!(ended, [(5, Fate::Acked), (6, Fate::Refused), (7, Fate::Acked)]);
        }
    }

    #[test]
    fn too_few_replicas_are_no_ack_and_words_that_fit_nothing_are_an_error() {
        let mut lists = Lists::default();
        lists.append(5, 0, b"x", &mut Vec::new());
        let (mut ended, mut out) = (Vec::new(), Vec::new());
        lists.take(b":1\r\n:1\r\n", &mut ended, &mut out).unwrap();
        assert_eq!(ended, [(5, Fate::Unknown)]);
        assert!(lists.take(b":1\r\n", &mut ended, &mut out).is_err(), "nobody asked");
        lists.append(6, 0, b"x", &mut Vec::new());
        assert!(lists.take(b":1\r\n+OK\r\n", &mut ended, &mut out).is_err());
    }

    #[test]
    fn strings_are_read_whole_or_not_at_all() {
        let read = |bytes: &[u8]| bulk(&mut BufReader::new(bytes));
        assert_eq!(read(b"$3\r\na\r\n\r\n").unwrap(), Some(b"a\r\n".to_vec()));
        assert_eq!(read(b"$-1\r\n").unwrap(), None);
        for bad in [&b"$3\r\nab"[..], b"$3", b":3\r\n", b"$x\r\n", b"$-2\r\n", b""] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
