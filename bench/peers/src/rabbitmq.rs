//! RabbitMQ: five nodes, and one quorum queue with five replicas.
//!
//! AMQP 0.9.1 with publisher confirms, which come for many messages at once or for one. Each message has its actor as its correlation id. They are
//! read back by taking all of them from the queue; how far each replica's log goes, the nodes say. **Invariant:** a message is acked by a
//! confirm alone.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use waterpark_bench::ledger::Fate;

use crate::dialect::{Acks, Dialect, Ended};
use crate::error::PeerError;
use crate::load::Setting;
use crate::peer::{Class, Peer, Spec, program};
use crate::servers::{SERVERS, Servers, Start, dial};

pub(crate) const SPEC: Spec = Spec {
    name: "rabbitmq",
    what: "RabbitMQ, five nodes, one quorum queue with five replicas, publisher confirms",
    needs: &["rabbitmq-server", "epmd"],
    install: "rabbitmq-server",
    version: &[],
    class: Class::Synced,
    durability: "log files of three of five replicas by consensus, synced by each for every batch that it makes",
};

/// The queue.
const QUEUE: &str = "w";
/// Where distributions put the scripts themselves; the command in `PATH` changes the user first.
const SCRIPTS: &str = "/usr/lib/rabbitmq/bin";
/// What a side sends first.
const GREETING: &[u8] = b"AMQP\0\0\x09\x01";
/// Kinds of frames, and what stands behind each.
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_END: u8 = 0xce;
/// Bytes of a frame's head.
const HEAD: usize = 7;
/// Bytes of a frame's body at most, as every server takes them.
const BODY_MAX: usize = 100_000;
/// Methods, by class and number.
const START: (u16, u16) = (10, 10);
const TUNE: (u16, u16) = (10, 30);
const OPEN_OK: (u16, u16) = (10, 41);
const CHANNEL_OPEN_OK: (u16, u16) = (20, 11);
const DECLARE_OK: (u16, u16) = (50, 11);
const CONSUME_OK: (u16, u16) = (60, 21);
const DELIVER: (u16, u16) = (60, 60);
const CONFIRM: (u16, u16) = (60, 80);
const REFUSE: (u16, u16) = (60, 120);
const SELECT_OK: (u16, u16) = (85, 11);

/// A message with its actor.
type Held = (u64, Vec<u8>);

pub(crate) struct Rabbit {
    servers: Servers,
    scripts: PathBuf,
    /// What the queue held, once it was read, and whether each replica's log went as far.
    read: Option<(Vec<Held>, Vec<bool>)>,
}

impl Rabbit {
    pub(crate) fn start(start: &Start<'_>) -> Result<Rabbit, PeerError> {
        let found = program("rabbitmq-server")?;
        let scripts = match Path::new(SCRIPTS).join("rabbitmq-server").is_file() {
            true => PathBuf::from(SCRIPTS),
            false => found.parent().unwrap_or(Path::new("/")).to_owned(),
        };
        let mut servers = Servers::new(start, Signal::KILL)?;
        let folder = servers.folder().to_owned();
        let mut config =
            "cluster_formation.peer_discovery_backend = classic_config\nvm_memory_high_watermark.absolute = 8GB\n\
            disk_free_limit.absolute = 50MB\n"
                .to_owned();
        for server in 0..SERVERS {
            config += &format!(
                "cluster_formation.classic_config.nodes.{} = {}\n",
                server + 1,
                node(server)
            );
        }
        for (name, text) in [
            ("rabbit.conf", config.as_str()),
            ("plugins", "[].\n"),
            (".erlang.cookie", "peers"),
        ] {
            std::fs::write(folder.join(name), text).map_err(PeerError::Folder)?;
        }
        let secret = std::os::unix::fs::PermissionsExt::from_mode(0o400);
        std::fs::set_permissions(folder.join(".erlang.cookie"), secret).map_err(PeerError::Folder)?;
        // Nodes would start one that stays behind.
        let names = servers.port(0, 2).to_string();
        servers.spawn(&program("epmd")?, "epmd", |command| {
            command.args(["-address", "127.0.0.1", "-port", &names]);
        })?;
        servers.until(0, start.go_on, |servers| dial(servers.address(0, 2)).map(|_| Some(())))?;
        for server in 0..SERVERS {
            let ports = [servers.port(server, 0), servers.port(server, 1)].map(|port| port.to_string());
            servers.spawn(
                &scripts.join("rabbitmq-server"),
                &format!("rabbitmq-{server}"),
                |command| {
                    environment(command, &folder, &names);
                    command
                        .env("RABBITMQ_NODENAME", node(server))
                        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
                        .env("RABBITMQ_NODE_PORT", &ports[0])
                        .env("RABBITMQ_DIST_PORT", &ports[1])
                        .env("RABBITMQ_MNESIA_BASE", &folder)
                        .env("RABBITMQ_LOG_BASE", &folder)
                        .env("RABBITMQ_PID_FILE", folder.join(format!("{server}.pid")))
                        .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("plugins"))
                        .env("RABBITMQ_CONFIG_FILE", folder.join("rabbit.conf"))
                        .env(
                            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                            "+sbwt none +sbwtdcpu none +sbwtdio none",
                        )
                        // So the script becomes the node, and no other process stands between.
                        .env("RUNNING_UNDER_SYSTEMD", "true");
                },
            )?;
        }
        for server in 0..SERVERS {
            servers.until(server + 1, start.go_on, |servers| {
                Session::open(servers, server).map(|_| Some(()))
            })?;
        }
        let mut session = Session::open(&servers, 0)?;
        let declare = method((50, 10), |body| {
            body.extend_from_slice(&[0, 0]);
            short(QUEUE, body);
            body.push(2);
            let mut table = Vec::new();
            short("x-queue-type", &mut table);
            table.extend_from_slice(b"S\0\0\0\x06quorum");
            short("x-quorum-initial-group-size", &mut table);
            table.extend_from_slice(b"I\0\0\0\x05");
            long(&table, body);
        });
        session.ask("a queue", 1, &declare, DECLARE_OK)?;
        Ok(Rabbit {
            servers,
            scripts,
            read: None,
        })
    }

    /// Everything in the queue, which is empty afterwards.
    fn read_queue(&mut self, replicas: &[bool]) -> Result<Vec<Held>, PeerError> {
        let leads = replicas.iter().position(|there| *there).unwrap_or(0);
        let mut session = Session::open(&self.servers, leads)?;
        let passive = method((50, 10), |body| {
            body.extend_from_slice(&[0, 0]);
            short(QUEUE, body);
            body.push(1);
            long(&[], body);
        });
        let told = session.ask("the queue", 1, &passive, DECLARE_OK)?;
        let count = told.get(QUEUE.len() + 1..).and_then(<[u8]>::first_chunk).copied();
        let count = u32::from_be_bytes(count.ok_or_else(|| PeerError::answer("the queue", &told))?);
        let consume = method((60, 20), |body| {
            body.extend_from_slice(&[0, 0]);
            short(QUEUE, body);
            short("all", body);
            // Nothing is acked, and the answer is waited for.
            body.push(2);
            long(&[], body);
        });
        session.ask("all messages", 1, &consume, CONSUME_OK)?;
        let mut messages = Vec::new();
        while messages.len() < count as usize {
            messages.push(session.delivery()?);
        }
        Ok(messages)
    }

    /// Whether each node's replica has as much in its log as the leader has committed.
    fn replicas(&mut self) -> Result<Vec<bool>, PeerError> {
        let (folder, names) = (self.servers.folder().to_owned(), self.servers.port(0, 2).to_string());
        let tool = self.scripts.join("rabbitmq-queues");
        let ask = |command: &mut Command| {
            environment(command, &folder, &names);
            command.args(["-n", &node(0), "quorum_status", QUEUE, "--formatter", "json"]);
        };
        self.servers.carry_out(&tool, "status", ask, &|| true)?;
        let said = std::fs::read_to_string(folder.join("status.log")).map_err(PeerError::Folder)?;
        let told = list_in(&said);
        told.and_then(|told| replicas_of(&told))
            .ok_or_else(|| PeerError::answer("quorum_status", said.as_bytes()))
    }
}

/// The list in what a tool printed; other words may stand around it.
fn list_in(said: &str) -> Option<Value> {
    let list = said.get(said.find('[')?..=said.rfind(']')?)?;
    serde_json::from_str(list).ok()
}

/// For each node, whether its log goes as far as the furthest commit.
fn replicas_of(told: &Value) -> Option<Vec<bool>> {
    let rows = told.as_array()?;
    let committed = rows.iter().filter_map(|row| row["Commit Index"].as_u64()).max()?;
    let of = |server| {
        let row = rows.iter().find(|row| row["Node Name"] == node(server).as_str());
        let written = row.and_then(|row| row["Log Index"].as_u64());
        written.is_some_and(|written| written >= committed)
    };
    Some((0..SERVERS).map(of).collect())
}

fn node(server: usize) -> String {
    format!("rabbit{server}@localhost")
}

/// What nodes and their tools have in common.
fn environment(command: &mut Command, folder: &Path, names: &str) {
    command.env("HOME", folder).env("ERL_EPMD_PORT", names);
}

impl Peer for Rabbit {
    fn servers(&mut self) -> &mut Servers {
        &mut self.servers
    }

    fn settings(&self) -> Vec<Setting> {
        Setting::all(&[(1, 64), (1, 256), (1, 1_024), (4, 64), (4, 256), (4, 1_024)])
    }

    fn connect(&mut self, _setting: Setting, _at: usize) -> Result<(TcpStream, Box<dyn Dialect>), PeerError> {
        let mut session = Session::open(&self.servers, 0)?;
        session.ask("confirms", 1, &method((85, 10), |body| body.push(0)), SELECT_OK)?;
        Ok((session.stream.into_inner(), Box::new(Confirmed::default())))
    }

    fn read(&mut self, server: usize, take: &mut dyn FnMut(u64, &[u8])) -> Result<(), PeerError> {
        if self.read.is_none() {
            let replicas = self.replicas()?;
            let messages = self.read_queue(&replicas)?;
            self.read = Some((messages, replicas));
        }
        let Some((messages, replicas)) = &self.read else {
            return Ok(());
        };
        if replicas[server] {
            messages.iter().for_each(|(actor, message)| take(*actor, message));
        }
        Ok(())
    }
}

/// A string of at most 255 bytes.
fn short(text: &str, out: &mut Vec<u8>) {
    out.push(u8::try_from(text.len()).expect("names are short"));
    out.extend_from_slice(text.as_bytes());
}

/// Bytes behind their length.
fn long(bytes: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(bytes.len()).expect("far below 4 GiB");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// A method's body.
fn method((class, number): (u16, u16), arguments: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut body = [class.to_be_bytes(), number.to_be_bytes()].concat();
    arguments(&mut body);
    body
}

fn frame(kind: u8, channel: u16, body: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&channel.to_be_bytes());
    long(body, out);
    out.push(FRAME_END);
}

/// A frame that came.
struct Came<'a> {
    kind: u8,
    body: &'a [u8],
}

impl<'a> Came<'a> {
    /// The first of these bytes, if it is whole.
    fn first(bytes: &'a [u8]) -> Option<Came<'a>> {
        let ([kind, _, _, length @ ..], rest) = bytes.split_first_chunk::<HEAD>()?;
        let length = u32::from_be_bytes(*length) as usize;
        let body = rest.get(..length)?;
        // The end of a frame belongs to it.
        rest.get(length).map(|_| Came { kind: *kind, body })
    }

    fn bytes(&self) -> usize {
        HEAD + self.body.len() + 1
    }

    /// Its class and number if it is a method, and its arguments.
    fn method(&self) -> Option<((u16, u16), &'a [u8])> {
        let ([c0, c1, n0, n1], arguments) = self.body.split_first_chunk::<4>()?;
        let which = (u16::from_be_bytes([*c0, *c1]), u16::from_be_bytes([*n0, *n1]));
        (self.kind == METHOD).then_some((which, arguments))
    }
}

/// Messages of one connection, until their confirms.
#[derive(Debug, Default)]
struct Confirmed {
    /// Messages that were published.
    tags: u64,
    open: BTreeMap<u64, u64>,
}

impl Dialect for Confirmed {
    fn acks(&self) -> Acks {
        Acks::Each
    }

    fn append(&mut self, serial: u64, actor: u64, message: &[u8], out: &mut Vec<u8>) {
        let publish = method((60, 40), |body| {
            body.extend_from_slice(&[0, 0, 0]);
            short(QUEUE, body);
            body.push(0);
        });
        frame(METHOD, 1, &publish, out);
        let mut header = vec![0, 60, 0, 0];
        header.extend_from_slice(&(message.len() as u64).to_be_bytes());
        // To be kept, and of this actor.
        header.extend_from_slice(&[0x14, 0, 2]);
        short(&actor.to_string(), &mut header);
        frame(HEADER, 1, &header, out);
        message.chunks(BODY_MAX).for_each(|part| frame(BODY, 1, part, out));
        self.tags += 1;
        self.open.insert(self.tags, serial);
    }

    fn flush(&mut self, _out: &mut Vec<u8>) {}

    fn take(&mut self, came: &[u8], ended: &mut Vec<Ended>, _out: &mut Vec<u8>) -> Result<usize, PeerError> {
        let mut taken = 0;
        while let Some(came) = Came::first(&came[taken..]) {
            taken += came.bytes();
            let fate = match came.method() {
                Some((CONFIRM, _)) => Fate::Acked,
                Some((REFUSE, _)) => Fate::Refused,
                Some(_) => return Err(PeerError::answer("a message", came.body)),
                // A sign of life.
                None => continue,
            };
            let arguments = came
                .method()
                .and_then(|(_, arguments)| arguments.split_first_chunk::<8>());
            let Some((tag, [flags, ..])) = arguments else {
                return Err(PeerError::answer("a message", came.body));
            };
            let tag = u64::from_be_bytes(*tag);
            if flags & 1 == 0 {
                ended.extend(self.open.remove(&tag).map(|serial| (serial, fate)));
            } else {
                let later = self.open.split_off(&(tag + 1));
                let these = std::mem::replace(&mut self.open, later);
                ended.extend(these.into_values().map(|serial| (serial, fate)));
            }
        }
        Ok(taken)
    }
}

/// A connection with its channel 1, for questions.
struct Session {
    stream: BufReader<TcpStream>,
}

impl Session {
    fn open(servers: &Servers, server: usize) -> Result<Session, PeerError> {
        let mut session = Session {
            stream: BufReader::with_capacity(1 << 20, dial(servers.address(server, 0))?),
        };
        session.stream.get_mut().write_all(GREETING)?;
        session.until("a connection", START)?;
        let start = method((10, 11), |body| {
            long(&[], body);
            short("PLAIN", body);
            long(b"\0guest\0guest", body);
            short("en_US", body);
        });
        let mut limits = session.ask("a name", 0, &start, TUNE)?;
        // Channels and bytes of frames as the server says, and no signs of life.
        limits.truncate(6);
        limits.extend_from_slice(&[0, 0]);
        let tune = method((10, 31), |body| body.extend_from_slice(&limits));
        let mut said = Vec::new();
        frame(METHOD, 0, &tune, &mut said);
        session.stream.get_mut().write_all(&said)?;
        let open = method((10, 40), |body| {
            short("/", body);
            body.extend_from_slice(&[0, 0]);
        });
        session.ask("its host", 0, &open, OPEN_OK)?;
        session.ask("a channel", 1, &method((20, 10), |body| body.push(0)), CHANNEL_OPEN_OK)?;
        Ok(session)
    }

    fn ask(
        &mut self,
        asked: &'static str,
        channel: u16,
        body: &[u8],
        wanted: (u16, u16),
    ) -> Result<Vec<u8>, PeerError> {
        let mut said = Vec::new();
        frame(METHOD, channel, body, &mut said);
        self.stream.get_mut().write_all(&said)?;
        self.until(asked, wanted)
    }

    /// The arguments of the next method, which has to be this one.
    fn until(&mut self, asked: &'static str, wanted: (u16, u16)) -> Result<Vec<u8>, PeerError> {
        loop {
            let bytes = self.next()?;
            let came = Came::first(&bytes).ok_or_else(|| PeerError::answer(asked, &bytes))?;
            match came.method() {
                Some((which, arguments)) if which == wanted => return Ok(arguments.to_vec()),
                Some(_) => return Err(PeerError::answer(asked, came.body)),
                None => (),
            }
        }
    }

    /// The next frame, whole.
    fn next(&mut self) -> Result<Vec<u8>, PeerError> {
        let mut bytes = vec![0; HEAD];
        self.stream.read_exact(&mut bytes)?;
        let length = u32::from_be_bytes([bytes[3], bytes[4], bytes[5], bytes[6]]) as usize;
        bytes.resize(HEAD + length + 1, 0);
        self.stream.read_exact(&mut bytes[HEAD..])?;
        Ok(bytes)
    }

    /// The next message of a consumer, with its actor.
    fn delivery(&mut self) -> Result<Held, PeerError> {
        self.until("the next message", DELIVER)?;
        let head = self.next()?;
        let wrong = || PeerError::answer("the next message", &head);
        let header = Came::first(&head)
            .filter(|came| came.kind == HEADER)
            .ok_or_else(wrong)?;
        let (length, actor) = header_of(header.body).ok_or_else(wrong)?;
        let mut message = Vec::new();
        while message.len() < length {
            let bytes = self.next()?;
            message.extend_from_slice(Came::first(&bytes).map_or(&[][..], |came| came.body));
        }
        Ok((actor, message))
    }
}

/// The length of a message and its actor, in the header that was written with it; servers may have added to it.
fn header_of(body: &[u8]) -> Option<(usize, u64)> {
    let (length, rest) = body.get(4..)?.split_first_chunk::<8>()?;
    let (flags, mut rest) = rest.split_first_chunk::<2>()?;
    let flags = u16::from_be_bytes(*flags);
    // Before the correlation id stand content type and encoding, a table, delivery mode and priority.
    if flags & 0xc000 != 0 {
        return None;
    }
    if flags & 0x2000 != 0 {
        let (bytes, after) = rest.split_first_chunk::<4>()?;
        rest = after.get(u32::from_be_bytes(*bytes) as usize..)?;
    }
    let modes = usize::from(flags & 0x1000 != 0) + usize::from(flags & 0x0800 != 0);
    let (count, rest) = rest.get(modes..)?.split_first()?;
    let actor = std::str::from_utf8(rest.get(..usize::from(*count))?).ok()?;
    let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
    (flags & 0x0400 != 0).then_some((length, actor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_is_a_method_a_header_and_a_body() {
        let mut confirmed = Confirmed::default();
        let mut out = Vec::new();
        confirmed.append(9, 77, b"abc", &mut out);
        let method = Came::first(&out).unwrap();
        assert_eq!(method.method(), Some(((60, 40), &b"\0\0\0\x01w\0"[..])));
        let rest = &out[method.bytes()..];
        let header = Came::first(rest).unwrap();
        assert_eq!((header.kind, header_of(header.body)), (HEADER, Some((3, 77))));
        let body = Came::first(&rest[header.bytes()..]).unwrap();
        assert_eq!((body.kind, body.body), (BODY, &b"abc"[..]));
        assert_eq!(rest.len(), header.bytes() + body.bytes());
        assert_eq!(rest.last(), Some(&FRAME_END));
    }

    #[test]
    fn a_header_to_which_a_table_was_added_still_names_the_actor() {
        let mut header = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0x34, 0, 0, 0, 0, 2, 9, 9, 2];
        short("77", &mut header);
        assert_eq!(header_of(&header), Some((3, 77)));
        assert_eq!(header_of(&header[..header.len() - 1]), None);
        assert_eq!(header_of(&[0; 14]), None, "no correlation id");
    }

    #[test]
    fn confirms_end_one_or_all_up_to_one_however_they_are_cut() {
        let told = |which, tag: u64, flags| {
            let body = method(which, |body| {
                body.extend_from_slice(&tag.to_be_bytes());
                body.push(flags);
            });
            let mut out = Vec::new();
            frame(METHOD, 1, &body, &mut out);
            out
        };
        let mut came = told(CONFIRM, 3, 0);
        frame(8, 0, &[], &mut came);
        came.extend(told(CONFIRM, 2, 1));
        came.extend(told(REFUSE, 4, 0));
        for cut in 0..=came.len() {
            let mut confirmed = Confirmed::default();
            (10..15).for_each(|serial| confirmed.append(serial, 1, b"x", &mut Vec::new()));
            let (mut ended, mut out) = (Vec::new(), Vec::new());
            let taken = confirmed.take(&came[..cut], &mut ended, &mut out).unwrap();
            let taken = taken + confirmed.take(&came[taken..], &mut ended, &mut out).unwrap();
            assert_eq!(taken, came.len());
            let acked = [12, 10, 11].map(|serial| (serial, Fate::Acked));
            assert_eq!(ended, [&acked[..], &[(13, Fate::Refused)]].concat());
            assert_eq!(confirmed.open.len(), 1);
        }
        let mut closed = Vec::new();
        frame(METHOD, 1, &method((20, 40), |_| ()), &mut closed);
        assert!(
            Confirmed::default()
                .take(&closed, &mut Vec::new(), &mut Vec::new())
                .is_err()
        );
    }

    #[test]
    fn a_replica_holds_what_is_committed_if_its_log_goes_so_far() {
        let row = |server, log, commit| json!({ "Node Name": node(server), "Log Index": log, "Commit Index": commit });
        let told = json!([row(1, 9, 7), row(0, 8, 8), row(2, 7, 7), { "Node Name": node(3) }]);
        assert_eq!(replicas_of(&told), Some(vec![true, true, false, false, false]));
        assert_eq!(replicas_of(&json!([])), None);
        assert_eq!(
            list_in("a warning\n[\n{\"a\":1}\n,{\"a\":2}\n]\n"),
            Some(json!([{ "a": 1 }, { "a": 2 }]))
        );
        assert_eq!(list_in("] no ["), None);
    }
}
