//! etcd: five members, and a key of its own for each message.
//!
//! Requests go to the leader as gRPC over HTTP/2, many at once on a connection, with headers that are sent once and named by one byte each later.
//! Answers' headers are not decoded: an answer that carries a message is a success, one that carries none is not. **Invariant:** no more is sent
//! than the leader has opened its window for.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use waterpark_bench::ledger::Fate;

use crate::dialect::{Acks, Dialect, Ended};
use crate::error::PeerError;
use crate::load::Setting;
use crate::peer::{Class, Peer, Spec, program};
use crate::servers::{SERVERS, Servers, Start, dial};

pub(crate) const SPEC: Spec = Spec {
    name: "etcd",
    what: "etcd, five members, a Put of a key of its own for each message, gRPC to the leader",
    needs: &["etcd"],
    install: "etcd-server",
    version: &["--version"],
    class: Class::Synced,
    durability: "log files of three of five members by consensus, synced by each for every batch that it makes",
};

/// What a client begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Kinds of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
/// Flags of frames.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
/// Bytes of a frame's head.
const HEAD: usize = 9;
/// What a side may send before it is told more.
const WINDOW: i64 = 65_535;
/// What this side opens its windows for.
const OWN_WINDOW: u32 = 0x7fff_ffff;
/// Bytes of answers after which that is renewed.
const RENEW: u32 = 16 << 20;
/// Keys that are asked for at once when they are read back.
const READ_KEYS: u64 = 5_000;
/// How long members may take to apply what the leader has.
const CATCH_UP: Duration = Duration::from_secs(20);

pub(crate) struct Etcd {
    servers: Servers,
    leader: usize,
}

impl Etcd {
    pub(crate) fn start(start: &Start<'_>) -> Result<Etcd, PeerError> {
        let etcd = program("etcd")?;
        let mut servers = Servers::new(start, Signal::KILL)?;
        let url = |servers: &Servers, server, kind| format!("http://{}", servers.address(server, kind));
        let all: Vec<String> = (0..SERVERS)
            .map(|server| format!("etcd-{server}={}", url(&servers, server, 1)))
            .collect();
        for server in 0..SERVERS {
            let name = format!("etcd-{server}");
            let (clients, peers) = (url(&servers, server, 0), url(&servers, server, 1));
            servers.spawn(&etcd, &name, |command| {
                command
                    .args([
                        "--name",
                        &name,
                        "--data-dir",
                        &name,
                        "--log-level",
                        "error",
                        "--logger",
                        "zap",
                    ])
                    .args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients])
                    .args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers])
                    .args(["--initial-cluster", &all.join(","), "--initial-cluster-state", "new"])
                    // On cores that all share, a leader that waits for its turn is not a lost one.
                    .args(["--heartbeat-interval", "200", "--election-timeout", "4000"])
                    .args(["--quota-backend-bytes", "8589934592"]);
            })?;
        }
        let leader = servers.until(0, start.go_on, |servers| {
            let told: Result<Vec<Value>, PeerError> = (0..SERVERS).map(|server| status(servers, server)).collect();
            Ok(leader_of(&told?))
        })?;
        Ok(Etcd { servers, leader })
    }
}

/// What a member tells of itself.
fn status(servers: &Servers, server: usize) -> Result<Value, PeerError> {
    let mut stream = dial(servers.address(server, 0))?;
    stream.write_all(b"POST /v3/maintenance/status HTTP/1.0\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")?;
    let mut said = Vec::new();
    stream.read_to_end(&mut said)?;
    let body = said
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .map(|at| &said[at + 4..]);
    let told = body.and_then(|body| serde_json::from_slice(body).ok());
    told.ok_or_else(|| PeerError::answer("a status", &said))
}

/// The member that all name as their leader.
fn leader_of(told: &[Value]) -> Option<usize> {
    let own = |told: &Value| told["header"]["member_id"].as_str().map(str::to_owned);
    told.iter().position(|one| {
        let own = own(one);
        own.is_some()
            && told
                .iter()
                .all(|other| other["leader"].as_str().map(str::to_owned) == own)
    })
}

fn applied(told: &Value) -> u64 {
    let index = told["raftAppliedIndex"]
        .as_str()
        .or(told["raft_applied_index"].as_str());
    index.and_then(|index| index.parse().ok()).unwrap_or(0)
}

impl Peer for Etcd {
    fn servers(&mut self) -> &mut Servers {
        &mut self.servers
    }

    fn settings(&self) -> Vec<Setting> {
        Setting::all(&[(1, 64), (1, 256), (4, 64), (4, 256), (16, 16), (16, 64), (16, 128)])
    }

    fn connect(&mut self, _setting: Setting, _at: usize) -> Result<(TcpStream, Box<dyn Dialect>), PeerError> {
        let mut stream = dial(self.servers.address(self.leader, 0))?;
        stream.write_all(&greeting())?;
        let authority = self.servers.address(self.leader, 0).to_string();
        Ok((stream, Box::new(Puts::new(&authority))))
    }

    fn read(&mut self, server: usize, take: &mut dyn FnMut(u64, &[u8])) -> Result<(), PeerError> {
        let all = applied(&status(&self.servers, self.leader)?);
        let until = Instant::now() + CATCH_UP;
        while applied(&status(&self.servers, server)?) < all && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut session = Session::open(&self.servers, server)?;
        let mut from = b"r".to_vec();
        loop {
            // A range of this member's own keys: from, up to `s`, so many, without asking the others.
            let mut wanted = Vec::new();
            bytes_field(1, &from, &mut wanted);
            bytes_field(2, b"s", &mut wanted);
            number_field(3, READ_KEYS, &mut wanted);
            number_field(7, 1, &mut wanted);
            let answer = session.call("/etcdserverpb.KV/Range", &wanted)?;
            let mut keys = 0;
            for field in Fields(&answer) {
                let (number, value) = field.ok_or_else(|| PeerError::answer("Range", &answer))?;
                if let (2, Field::Bytes(pair)) = (number, value) {
                    let (key, value) = key_value(pair).ok_or_else(|| PeerError::answer("Range", pair))?;
                    let actor = actor_of(key).ok_or_else(|| PeerError::answer("Range", key))?;
                    take(actor, value);
                    keys += 1;
                    from.clear();
                    from.extend_from_slice(key);
                }
            }
            if keys < READ_KEYS {
                return Ok(());
            }
            // The next key there can be.
            from.push(0);
        }
    }
}

/// The key of a message: its actor and its serial.
fn key(actor: u64, serial: u64) -> String {
    format!("r/{actor:07}/{serial:016x}")
}

fn actor_of(key: &[u8]) -> Option<u64> {
    std::str::from_utf8(key).ok()?.split('/').nth(1)?.parse().ok()
}

/// The key and the value of one pair.
fn key_value(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mut key, mut value) = (&[][..], &[][..]);
    for field in Fields(pair) {
        match field? {
            (1, Field::Bytes(bytes)) => key = bytes,
            (5, Field::Bytes(bytes)) => value = bytes,
            _ => (),
        }
    }
    Some((key, value))
}

/// A number in as few bytes as it needs, seven bits each.
fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).unwrap_or(0) | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or(0));
}

fn bytes_field(number: u64, bytes: &[u8], out: &mut Vec<u8>) {
    varint(number << 3 | 2, out);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn number_field(number: u64, value: u64, out: &mut Vec<u8>) {
    varint(number << 3, out);
    varint(value, out);
}

/// A field of a message.
#[derive(Debug, PartialEq, Eq)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message with their numbers; `None` where it is none.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn field(&mut self) -> Option<(u64, Field<'a>)> {
        let tag = self.varint()?;
        let field = match tag & 7 {
            0 => Field::Number(self.varint()?),
            2 => {
                let bytes = usize::try_from(self.varint()?).ok()?;
                let (field, rest) = self.0.split_at_checked(bytes)?;
                self.0 = rest;
                Field::Bytes(field)
            }
            _ => return None,
        };
        Some((tag >> 3, field))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Field<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// One frame.
fn frame(kind: u8, flags: u8, stream: u32, body: &[u8], out: &mut Vec<u8>) {
    let bytes = u32::try_from(body.len()).expect("frames are short");
    out.extend_from_slice(&bytes.to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(body);
}

/// The preface, no pushes, and windows that are open as far as they go.
fn greeting() -> Vec<u8> {
    let mut out = PREFACE.to_vec();
    let mut settings = vec![0, 2, 0, 0, 0, 0, 0, 4];
    settings.extend_from_slice(&OWN_WINDOW.to_be_bytes());
    frame(SETTINGS, 0, 0, &settings, &mut out);
    let more = OWN_WINDOW - u32::try_from(WINDOW).unwrap_or(0);
    frame(WINDOW_UPDATE, 0, 0, &more.to_be_bytes(), &mut out);
    out
}

/// A frame that came.
struct Came<'a> {
    kind: u8,
    flags: u8,
    stream: u32,
    body: &'a [u8],
}

impl Came<'_> {
    /// The first of these bytes, if it is whole.
    fn first(bytes: &[u8]) -> Option<Came<'_>> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let [b0, b1, b2, kind, flags, stream @ ..] = *head;
        let length = u32::from_be_bytes([0, b0, b1, b2]) as usize;
        Some(Came {
            kind,
            flags,
            stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
            body: rest.get(..length)?,
        })
    }

    fn bytes(&self) -> usize {
        HEAD + self.body.len()
    }

    /// By how much a window grows.
    fn opens(&self) -> i64 {
        let word = self.body.first_chunk::<4>();
        word.map_or(0, |word| i64::from(u32::from_be_bytes(*word) & 0x7fff_ffff))
    }
}

/// The headers of all requests of a connection: whole with the first, by their places in the table that this filled later.
fn headers(path: &str, authority: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    for (name, value) in [
        (&[0x44][..], path),
        (&[0x41], authority),
        (&[0x5f], "application/grpc"),
        (b"\x40\x02te", "trailers"),
    ] {
        block.extend_from_slice(name);
        block.push(u8::try_from(value.len()).expect("shorter than 127 bytes"));
        block.extend_from_slice(value.as_bytes());
    }
    block
}

/// The same headers again.
const SAME_HEADERS: [u8; 6] = [0x83, 0x86, 0xc1, 0xc0, 0xbf, 0xbe];

/// A request that is under way.
#[derive(Clone, Copy, Debug)]
struct Put {
    serial: u64,
    has_answer: bool,
}

/// Requests of one connection.
#[derive(Debug)]
struct Puts {
    /// Headers of the first request.
    headers: Vec<u8>,
    stream: u32,
    /// What may be sent still.
    window: i64,
    /// Requests that have to wait for that: frames, and the bytes that count.
    waiting: VecDeque<(Vec<u8>, i64)>,
    open: BTreeMap<u32, Put>,
    /// Bytes of answers since the window was renewed.
    taken: u32,
}

impl Puts {
    fn new(authority: &str) -> Puts {
        Puts {
            headers: headers("/etcdserverpb.KV/Put", authority),
            stream: 1,
            window: WINDOW,
            waiting: VecDeque::new(),
            open: BTreeMap::new(),
            taken: 0,
        }
    }

    /// Sends what waits, as far as the window is open.
    fn release(&mut self, out: &mut Vec<u8>) {
        while let Some((_, bytes)) = self.waiting.front() {
            if self.window < *bytes {
                return;
            }
            if let Some((frames, bytes)) = self.waiting.pop_front() {
                self.window -= bytes;
                out.extend_from_slice(&frames);
            }
        }
    }

    fn end(&mut self, stream: u32, ended: &mut Vec<Ended>) {
        if let Some(put) = self.open.remove(&stream) {
            let fate = if put.has_answer { Fate::Acked } else { Fate::Refused };
            ended.push((put.serial, fate));
        }
    }
}

/// A message behind the five bytes that gRPC puts before it.
fn grpc(message: &[u8]) -> Vec<u8> {
    let bytes = u32::try_from(message.len()).expect("messages are short");
    let mut body = vec![0];
    body.extend_from_slice(&bytes.to_be_bytes());
    body.extend_from_slice(message);
    body
}

impl Dialect for Puts {
    fn acks(&self) -> Acks {
        Acks::Each
    }

    fn append(&mut self, serial: u64, actor: u64, message: &[u8], out: &mut Vec<u8>) {
        let mut put = Vec::with_capacity(message.len() + 64);
        bytes_field(1, key(actor, serial).as_bytes(), &mut put);
        bytes_field(2, message, &mut put);
        let body = grpc(&put);
        let mut frames = Vec::with_capacity(body.len() + 64);
        let block = match self.stream {
            1 => &self.headers[..],
            _ => &SAME_HEADERS,
        };
        frame(HEADERS, END_HEADERS, self.stream, block, &mut frames);
        frame(DATA, END_STREAM, self.stream, &body, &mut frames);
        let has_answer = false;
        self.open.insert(self.stream, Put { serial, has_answer });
        self.stream += 2;
        self.waiting
            .push_back((frames, i64::try_from(body.len()).unwrap_or(i64::MAX)));
        self.release(out);
    }

    fn flush(&mut self, _out: &mut Vec<u8>) {}

    fn take(&mut self, came: &[u8], ended: &mut Vec<Ended>, out: &mut Vec<u8>) -> Result<usize, PeerError> {
        let mut taken = 0;
        while let Some(came) = Came::first(&came[taken..]) {
            taken += came.bytes();
            match came.kind {
                SETTINGS if came.flags & ACK == 0 => frame(SETTINGS, ACK, 0, &[], out),
                PING if came.flags & ACK == 0 => frame(PING, ACK, 0, came.body, out),
                WINDOW_UPDATE if came.stream == 0 => self.window += came.opens(),
                GOAWAY => return Err(PeerError::answer("Put", came.body)),
                RST_STREAM => self.end(came.stream, ended),
                DATA => {
                    self.taken += u32::try_from(came.body.len()).unwrap_or(0);
                    if let Some(put) = self.open.get_mut(&came.stream) {
                        put.has_answer |= !came.body.is_empty();
                    }
                }
                _ => (),
            }
            if matches!(came.kind, DATA | HEADERS) && came.flags & END_STREAM != 0 {
                self.end(came.stream, ended);
            }
        }
        if self.taken >= RENEW {
            frame(WINDOW_UPDATE, 0, 0, &std::mem::take(&mut self.taken).to_be_bytes(), out);
        }
        self.release(out);
        Ok(taken)
    }
}

/// A connection for questions, one at a time.
struct Session {
    stream: TcpStream,
    authority: String,
    next: u32,
}

impl Session {
    fn open(servers: &Servers, server: usize) -> Result<Session, PeerError> {
        let address = servers.address(server, 0);
        let mut stream = dial(address)?;
        stream.write_all(&greeting())?;
        Ok(Session {
            stream,
            authority: address.to_string(),
            next: 1,
        })
    }

    fn call(&mut self, path: &str, message: &[u8]) -> Result<Vec<u8>, PeerError> {
        let mut said = Vec::new();
        frame(
            HEADERS,
            END_HEADERS,
            self.next,
            &headers(path, &self.authority),
            &mut said,
        );
        frame(DATA, END_STREAM, self.next, &grpc(message), &mut said);
        self.stream.write_all(&said)?;
        let mut answer = Vec::new();
        loop {
            let mut bytes = vec![0; HEAD];
            self.stream.read_exact(&mut bytes)?;
            let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
            bytes.resize(HEAD + length, 0);
            self.stream.read_exact(&mut bytes[HEAD..])?;
            let came = Came::first(&bytes).ok_or_else(|| PeerError::answer("a question", &bytes))?;
            let mut out = Vec::new();
            match came.kind {
                SETTINGS if came.flags & ACK == 0 => frame(SETTINGS, ACK, 0, &[], &mut out),
                PING if came.flags & ACK == 0 => frame(PING, ACK, 0, came.body, &mut out),
                GOAWAY | RST_STREAM => return Err(PeerError::answer("a question", came.body)),
                DATA if !came.body.is_empty() => {
                    answer.extend_from_slice(came.body);
                    let more = u32::try_from(came.body.len()).unwrap_or(0).to_be_bytes();
                    frame(WINDOW_UPDATE, 0, 0, &more, &mut out);
                }
                _ => (),
            }
            self.stream.write_all(&out)?;
            if came.stream == self.next && came.flags & END_STREAM != 0 && matches!(came.kind, DATA | HEADERS) {
                break;
            }
        }
        self.next += 2;
        match answer.split_at_checked(5) {
            Some((_, message)) => Ok(message.to_vec()),
            None => Err(PeerError::answer("a question", &answer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(puts: &mut Puts, serial: u64, bytes: usize) -> Vec<u8> {
        let mut out = Vec::new();
        puts.append(serial, 3, &vec![7; bytes], &mut out);
        out
    }

    #[test]
    fn a_message_is_a_key_and_a_value_and_later_headers_are_named_by_their_places() {
        let mut puts = Puts::new("127.0.0.1:1");
        for stream in [1, 3] {
            let out = put(&mut puts, 255, 2);
            let headers = Came::first(&out).unwrap();
            assert_eq!(
                (headers.kind, headers.flags, headers.stream),
                (HEADERS, END_HEADERS, stream)
            );
            assert_eq!(headers.body == SAME_HEADERS, stream > 1);
            let data = Came::first(&out[headers.bytes()..]).unwrap();
            assert_eq!((data.kind, data.flags, data.stream), (DATA, END_STREAM, stream));
            let message = &data.body[5..];
            assert_eq!(data.body[..5], [0, 0, 0, 0, u8::try_from(message.len()).unwrap()]);
            let fields: Vec<_> = Fields(message).collect();
            let key = b"r/0000003/00000000000000ff";
            assert_eq!(fields, [Some((1, Field::Bytes(key))), Some((2, Field::Bytes(&[7, 7])))]);
            assert_eq!(actor_of(key), Some(3));
        }
    }

    #[test]
    fn no_more_is_sent_than_the_window_is_open_for() {
        let mut puts = Puts::new("127.0.0.1:1");
        let sent: Vec<bool> = (0..10)
            .map(|serial| !put(&mut puts, serial, 10_000).is_empty())
            .collect();
        assert_eq!(sent.iter().filter(|sent| **sent).count(), 6, "{sent:?}");
        let mut came = Vec::new();
        frame(WINDOW_UPDATE, 0, 0, &20_000_u32.to_be_bytes(), &mut came);
        frame(WINDOW_UPDATE, 0, 1, &90_000_u32.to_be_bytes(), &mut came);
        let mut out = Vec::new();
        puts.take(&came, &mut Vec::new(), &mut out).unwrap();
        let headers = Came::first(&out).unwrap();
        assert_eq!((headers.kind, headers.stream), (HEADERS, 13), "the first that waited");
        assert!((10_000..30_000).contains(&out.len()), "{}", out.len());
    }

    #[test]
    fn an_answer_with_a_message_is_an_ack_however_it_is_cut_and_one_without_is_none() {
        let mut came = Vec::new();
        frame(SETTINGS, 0, 0, &[], &mut came);
        for stream in [1, 3] {
            frame(HEADERS, END_HEADERS, stream, &[1, 2], &mut came);
        }
        frame(DATA, 0, 3, &[0, 0, 0, 0, 0], &mut came);
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &[3], &mut came);
        frame(PING, 0, 0, &[8; 8], &mut came);
        frame(HEADERS, END_HEADERS | END_STREAM, 3, &[3], &mut came);
        frame(RST_STREAM, 0, 5, &[0; 4], &mut came);
        for cut in 0..=came.len() {
            let mut puts = Puts::new("127.0.0.1:1");
            (10..13).for_each(|serial| drop(put(&mut puts, serial, 1)));
            let (mut ended, mut out) = (Vec::new(), Vec::new());
            let taken = puts.take(&came[..cut], &mut ended, &mut out).unwrap();
            let taken = taken + puts.take(&came[taken..], &mut ended, &mut out).unwrap();
            assert_eq!(taken, came.len());
            assert_eq!(ended, [(10, Fate::Refused), (11, Fate::Acked), (12, Fate::Refused)]);
            assert_eq!(out.len(), HEAD + HEAD + 8, "settings and ping were answered");
        }
        let mut bye = Vec::new();
        frame(GOAWAY, 0, 0, &[0; 8], &mut bye);
        let mut puts = Puts::new("127.0.0.1:1");
        assert!(puts.take(&bye, &mut Vec::new(), &mut Vec::new()).is_err());
    }

    #[test]
    fn fields_are_read_or_refused() {
        let mut message = Vec::new();
        number_field(3, 300, &mut message);
        bytes_field(5, b"abc", &mut message);
        let fields: Vec<_> = Fields(&message).collect();
        assert_eq!(fields, [Some((3, Field::Number(300))), Some((5, Field::Bytes(b"abc")))]);
        assert_eq!(key_value(&message), Some((&b""[..], &b"abc"[..])));
        for bad in [&message[..message.len() - 1], &[0x0b], &[0x80; 11]] {
            assert!(Fields(bad).any(|field| field.is_none()), "{bad:?}");
        }
    }
}
