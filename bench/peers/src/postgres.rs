//! PostgreSQL: a primary that waits for any two of four standbys.
//!
//! A batch is one `INSERT` of two arrays, which commits by itself: rows that are sent together share a commit. Files are written and never
//! synced. **Invariant:** a batch is acked when its transaction is, which is after two standbys have written it.

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use waterpark_bench::ledger::Fate;

use crate::dialect::{Acks, Dialect, Ended};
use crate::error::PeerError;
use crate::load::Setting;
use crate::peer::{Class, Peer, Spec, program};
use crate::servers::{SERVERS, Servers, Start, dial, user};

pub(crate) const SPEC: Spec = Spec {
    name: "postgres",
    what: "PostgreSQL, a primary and four standbys, ANY 2, one INSERT of arrays for each batch",
    needs: &["postgres", "initdb"],
    install: "postgresql",
    version: &["--version"],
    class: Class::Files,
    durability: "files of the primary and two of four standbys, written and not synced (fsync off, remote_write)",
};

/// Who it runs as and who its clients are; it does not run as root.
const USER: &str = "postgres";
/// What a connection prepares, under the name `w`.
const INSERT: &str = "INSERT INTO log SELECT * FROM unnest($1::int4[], $2::bytea[])";
/// Types of the arrays' elements.
const INT4: u32 = 23;
const BYTEA: u32 = 17;

pub(crate) struct Postgres {
    servers: Servers,
}

impl Postgres {
    pub(crate) fn start(start: &Start<'_>) -> Result<Postgres, PeerError> {
        let (postgres, initdb) = (program("postgres")?, program("initdb")?);
        let mut servers = Servers::new(start, Signal::QUIT)?;
        if rustix::process::getuid().is_root() {
            servers.run_as(user(USER).ok_or(PeerError::User { user: USER })?)?;
        }
        let init = |command: &mut Command| {
            command.args([
                "-D",
                "postgres-0",
                "-U",
                USER,
                "-A",
                "trust",
                "-N",
                "--no-locale",
                "-E",
                "UTF8",
            ]);
        };
        servers.carry_out(&initdb, "initdb", init, start.go_on)?;
        for server in 1..SERVERS {
            // What was just made and never ran is the same for all of them.
            let copy = program("cp")?;
            let to = format!("postgres-{server}");
            servers.carry_out(
                &copy,
                "cp",
                |command| {
                    command.args(["-a", "postgres-0", &to]);
                },
                start.go_on,
            )?;
            let touch = program("touch")?;
            let signal = format!("{to}/standby.signal");
            servers.carry_out(
                &touch,
                "touch",
                |command| {
                    command.arg(signal);
                },
                start.go_on,
            )?;
        }
        for server in 0..SERVERS {
            Postgres::spawn(&mut servers, &postgres, server)?;
        }
        servers.until(0, start.go_on, |servers| {
            let mut session = Session::open(servers, 0)?;
            let streaming = session.first("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")?;
            Ok((streaming == (SERVERS - 1).to_string()).then_some(()))
        })?;
        let mut session = Session::open(&servers, 0)?;
        session.first("CREATE TABLE log (actor int4 NOT NULL, body bytea NOT NULL)")?;
        Ok(Postgres { servers })
    }

    fn spawn(servers: &mut Servers, postgres: &Path, server: usize) -> Result<(), PeerError> {
        let name = format!("postgres-{server}");
        let port = servers.port(server, 0).to_string();
        let primary = format!(
            "primary_conninfo=host=127.0.0.1 port={} user={USER} application_name=s{server}",
            servers.port(0, 0)
        );
        servers.spawn(postgres, &name, |command| {
            command.args(["-D", &name, "-p", &port]);
            for option in [
                "listen_addresses=127.0.0.1",
                "unix_socket_directories=",
                "fsync=off",
                "full_page_writes=off",
                "synchronous_commit=remote_write",
                "autovacuum=off",
                "wal_keep_size=8GB",
                "max_wal_size=32GB",
                "min_wal_size=1GB",
                "checkpoint_timeout=1h",
                "shared_buffers=512MB",
                "wal_buffers=16MB",
                "hot_standby=on",
                "jit=off",
            ] {
                command.args(["-c", option]);
            }
            match server {
                0 => command.args(["-c", "synchronous_standby_names=ANY 2 (s1, s2, s3, s4)"]),
                _ => command.args(["-c", &primary]),
            };
        })
    }
}

impl Peer for Postgres {
    fn servers(&mut self) -> &mut Servers {
        &mut self.servers
    }

    fn settings(&self) -> Vec<Setting> {
        Setting::all(&[(1, 256), (1, 1_024), (4, 64), (4, 256), (4, 1_024), (16, 64), (16, 256)])
    }

    fn connect(&mut self, _setting: Setting, _at: usize) -> Result<(TcpStream, Box<dyn Dialect>), PeerError> {
        let mut session = Session::open(&self.servers, 0)?;
        let mut said = Vec::new();
        message(b'P', &mut said, |body| {
            body.extend_from_slice(b"w\0");
            body.extend_from_slice(INSERT.as_bytes());
            body.extend_from_slice(b"\0\0\0");
        });
        message(b'S', &mut said, |_| ());
        session.stream.get_mut().write_all(&said)?;
        session.until_ready("PREPARE", |_, _| ())?;
        Ok((session.stream.into_inner(), Box::new(Batch::default())))
    }

    fn read(&mut self, server: usize, take: &mut dyn FnMut(u64, &[u8])) -> Result<(), PeerError> {
        let end = Session::open(&self.servers, 0)?.first("SELECT pg_current_wal_lsn()")?;
        let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{end}'::pg_lsn");
        self.servers.until(server, &|| true, |servers| match server {
            0 => Ok(Some(())),
            _ => Ok((Session::open(servers, server)?.first(&replayed)? == "t").then_some(())),
        })?;
        let mut session = Session::open(&self.servers, server)?;
        session.ask("COPY log TO STDOUT (FORMAT binary)")?;
        let mut whole = true;
        session.until_ready("COPY", |kind, data| {
            if kind == b'd' {
                match row(data) {
                    Row::Of(actor, body) => take(actor, body),
                    Row::End => (),
                    Row::Broken => whole = false,
                }
            }
        })?;
        match whole {
            true => Ok(()),
            false => Err(PeerError::answer("COPY", b"a row that is none")),
        }
    }
}

/// A row of a binary copy.
enum Row<'a> {
    Of(u64, &'a [u8]),
    /// What stands behind the last.
    End,
    Broken,
}

/// What one message of a copy holds; the first has a head before its row.
fn row(data: &[u8]) -> Row<'_> {
    const HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0";
    let data = match data.strip_prefix(HEAD) {
        Some(rest) => rest.get(8..).unwrap_or_default(),
        None => data,
    };
    if data.is_empty() || data == [0xff, 0xff] {
        return Row::End;
    }
    let parts = || {
        let rest = data.strip_prefix(&[0, 2, 0, 0, 0, 4])?;
        let (actor, rest) = rest.split_first_chunk::<4>()?;
        let (length, body) = rest.split_first_chunk::<4>()?;
        let is_whole = body.len() == u32::from_be_bytes(*length) as usize;
        is_whole.then_some((u64::from(u32::from_be_bytes(*actor)), body))
    };
    parts().map_or(Row::Broken, |(actor, body)| Row::Of(actor, body))
}

/// A message of the protocol: its kind, its length, its body.
fn message(kind: u8, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    with_length(out, true, body);
}

/// Bytes behind their length, which counts itself or not.
fn with_length(out: &mut Vec<u8>, counts_itself: bool, body: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let bytes = out.len() - at - if counts_itself { 0 } else { 4 };
    let bytes = u32::try_from(bytes).expect("a batch is far below 4 GiB");
    out[at..at + 4].copy_from_slice(&bytes.to_be_bytes());
}

/// A connection for questions.
struct Session {
    stream: BufReader<TcpStream>,
}

impl Session {
    fn open(servers: &Servers, server: usize) -> Result<Session, PeerError> {
        let stream = BufReader::with_capacity(1 << 20, dial(servers.address(server, 0))?);
        let mut session = Session { stream };
        let mut said = Vec::new();
        with_length(&mut said, true, |body| {
            body.extend_from_slice(&196_608_u32.to_be_bytes());
            body.extend_from_slice(format!("user\0{USER}\0database\0{USER}\0\0").as_bytes());
        });
        session.stream.get_mut().write_all(&said)?;
        session.until_ready("a connection", |_, _| ())?;
        Ok(session)
    }

    fn ask(&mut self, query: &str) -> Result<(), PeerError> {
        let mut said = Vec::new();
        message(b'Q', &mut said, |body| {
            body.extend_from_slice(query.as_bytes());
            body.push(0);
        });
        Ok(self.stream.get_mut().write_all(&said)?)
    }

    /// Takes messages until the server is ready for the next question.
    fn until_ready(&mut self, asked: &'static str, mut take: impl FnMut(u8, &[u8])) -> Result<(), PeerError> {
        let mut body = Vec::new();
        let mut refusal = None;
        loop {
            let mut head = [0; 5];
            self.stream.read_exact(&mut head)?;
            let [kind, length @ ..] = head;
            let bytes = (u32::from_be_bytes(length) as usize).checked_sub(4);
            let bytes = bytes.ok_or_else(|| PeerError::answer(asked, &head))?;
            body.resize(bytes, 0);
            self.stream.read_exact(&mut body)?;
            match kind {
                b'E' => {
                    let error = PeerError::answer(asked, &body);
                    // A server that refuses the connection is never ready.
                    if asked == "a connection" {
                        return Err(error);
                    }
                    refusal = Some(error);
                }
                b'Z' => return refusal.map_or(Ok(()), Err),
                kind => take(kind, &body),
            }
        }
    }

    /// The first column of the last row, as text.
    fn first(&mut self, query: &str) -> Result<String, PeerError> {
        self.ask(query)?;
        let mut first = String::new();
        self.until_ready("a query", |kind, body| {
            if let (b'D', Some(text)) = (kind, body.get(6..)) {
                first = String::from_utf8_lossy(text).into_owned();
            }
        })?;
        Ok(first)
    }
}

/// The batch of one connection.
#[derive(Debug, Default)]
struct Batch {
    serials: Vec<u64>,
    /// Elements of the two arrays.
    actors: Vec<u8>,
    bodies: Vec<u8>,
    is_inserted: bool,
}

impl Batch {
    /// One array, in binary.
    fn array(&self, of: u32, elements: &[u8], out: &mut Vec<u8>) {
        let count = u32::try_from(self.serials.len()).expect("a window is small");
        with_length(out, false, |out| {
            for word in [1, 0, of, count, 1] {
                out.extend_from_slice(&word.to_be_bytes());
            }
            out.extend_from_slice(elements);
        });
    }
}

impl Dialect for Batch {
    fn acks(&self) -> Acks {
        Acks::Together
    }

    fn append(&mut self, serial: u64, actor: u64, message: &[u8], _out: &mut Vec<u8>) {
        let actor = u32::try_from(actor).expect("actors of peers are few");
        let bytes = u32::try_from(message.len()).expect("messages are short");
        self.serials.push(serial);
        self.actors.extend_from_slice(&4_u32.to_be_bytes());
        self.actors.extend_from_slice(&actor.to_be_bytes());
        self.bodies.extend_from_slice(&bytes.to_be_bytes());
        self.bodies.extend_from_slice(message);
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        message(b'B', out, |out| {
            // The unnamed portal of the statement `w`; all parameters are binary, and there are two.
            out.extend_from_slice(b"\0w\0\0\x01\0\x01\0\x02");
            self.array(INT4, &self.actors, out);
            self.array(BYTEA, &self.bodies, out);
            out.extend_from_slice(b"\0\0");
        });
        message(b'E', out, |out| out.extend_from_slice(b"\0\0\0\0\0"));
        message(b'S', out, |_| ());
        self.actors.clear();
        self.bodies.clear();
    }

    fn take(&mut self, came: &[u8], ended: &mut Vec<Ended>, _out: &mut Vec<u8>) -> Result<usize, PeerError> {
        let mut taken = 0;
        while let Some(([kind, length @ ..], _)) = came[taken..].split_first_chunk::<5>() {
            let bytes = u32::from_be_bytes(*length) as usize;
            if came.len() - taken < bytes + 1 {
                break;
            }
            match kind {
                b'C' => self.is_inserted = true,
                b'Z' => {
                    let fate = match std::mem::take(&mut self.is_inserted) {
                        true => Fate::Acked,
                        false => Fate::Refused,
                    };
                    ended.extend(self.serials.drain(..).map(|serial| (serial, fate)));
                }
                // What is bound, told aside, or refused: then there is nothing inserted.
                b'2' | b'N' | b'S' | b'E' => (),
                _ => return Err(PeerError::answer("INSERT", &came[taken..])),
            }
            taken += bytes + 1;
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_two_arrays_and_one_commit() {
        let mut batch = Batch::default();
        let mut out = Vec::new();
        batch.append(9, 258, b"abc", &mut out);
        batch.append(10, 3, b"d", &mut out);
        assert!(out.is_empty(), "nothing leaves before the batch is whole");
        batch.flush(&mut out);
        let array = |of: u8, elements: &[u8]| {
            let mut array = vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, of, 0, 0, 0, 2, 0, 0, 0, 1];
            array.extend_from_slice(elements);
            let mut with_length = u32::try_from(array.len()).unwrap().to_be_bytes().to_vec();
            with_length.extend(array);
            with_length
        };
        let actors = array(23, &[0, 0, 0, 4, 0, 0, 1, 2, 0, 0, 0, 4, 0, 0, 0, 3]);
        let bodies = array(17, b"\0\0\0\x03abc\0\0\0\x01d");
        let body = [b"\0w\0\0\x01\0\x01\0\x02", &actors[..], &bodies, b"\0\0"].concat();
        let mut wanted = vec![b'B'];
        wanted.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        wanted.extend(body);
        wanted.extend(b"E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04");
        assert_eq!(out, wanted);
    }

    #[test]
    fn a_batch_ends_when_the_server_is_ready_however_answers_are_cut() {
        let good = b"2\0\0\0\x04C\0\0\0\x0fINSERT 0 2\0Z\0\0\0\x05I";
        let bad = b"E\0\0\0\x08no!\0Z\0\0\0\x05I";
        for (answer, fate) in [(&good[..], Fate::Acked), (bad, Fate::Refused)] {
            for cut in 0..=answer.len() {
                let mut batch = Batch::default();
                let (mut ended, mut out) = (Vec::new(), Vec::new());
                batch.append(9, 1, b"abc", &mut out);
                batch.flush(&mut out);
                let taken = batch.take(&answer[..cut], &mut ended, &mut out).unwrap();
                let taken = taken + batch.take(&answer[taken..], &mut ended, &mut out).unwrap();
                assert_eq!((taken, &ended[..]), (answer.len(), &[(9, fate)][..]), "cut at {cut}");
            }
        }
        let strange = Batch::default().take(b"X\0\0\0\x04", &mut Vec::new(), &mut Vec::new());
        assert!(strange.is_err());
    }

    #[test]
    fn rows_of_a_copy_are_read_behind_its_head_and_up_to_its_end() {
        let first = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\x04\0\0\x01\x02\0\0\0\x03abc";
        assert!(matches!(row(first), Row::Of(258, b"abc")));
        assert!(matches!(row(&first[19..]), Row::Of(258, b"abc")));
        assert!(matches!(row(&first[..19]), Row::End));
        assert!(matches!(row(&[0xff, 0xff]), Row::End));
        assert!(matches!(row(&first[20..]), Row::Broken));
        assert!(matches!(row(&first[..first.len() - 1]), Row::Broken));
    }
}
