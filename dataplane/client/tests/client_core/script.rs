//! A scripted cluster around one core: the test plays every node, sees what the core sends, and says what comes back.

use std::collections::BTreeSet;

use waterpark_client::{
    Address, ClientCore, ClientError, ClientOptions, Effect, PeerId, ReadOptions, SendOptions, Ticket, Token,
};
use waterpark_ring::{GroupId, Key, shard_of};
use waterpark_wire::body::{self, NodeBody, SlotTableBody};
use waterpark_wire::frame::{FRAME_BYTES_MAX, FrameAddress, FrameBuilder};
use waterpark_wire::framer::Framer;
use waterpark_wire::handshake::{Release, Welcome};
use waterpark_wire::item::{Item, ItemHeader, ItemKind};
use waterpark_wire::link::{Ask, Assembly, Document};
use waterpark_wire::reply::{self, HAS_TOKEN, Outcome, ReplyHeader};
use waterpark_wire::request::{HERE, Operation, RequestView, SENT_BEFORE};
use waterpark_wire::{FrameKind, FrameView};

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const NODES: u16 = 5;
pub(crate) const SHARDS: u16 = 2;
pub(crate) const GROUPS: u32 = 64;
pub(crate) const CLUSTER: [u8; 16] = [7; 16];
/// The cluster's clock when the script begins.
pub(crate) const WALL_MS: u64 = 1_700_000_000_000;
pub(crate) const MESSAGE_BYTES_MAX: u32 = 1 << 20;

/// A request as a node sees it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) peer: PeerId,
    pub(crate) operation: Operation,
    pub(crate) group: u32,
    pub(crate) session: [u8; 16],
    pub(crate) number: u32,
    pub(crate) mark: u32,
    pub(crate) sent_before: bool,
    pub(crate) here: bool,
    pub(crate) level: u8,
    pub(crate) timeout_ms: u32,
    pub(crate) correlation: u64,
    pub(crate) key: Vec<u8>,
    pub(crate) message: Vec<u8>,
    /// The document asked for, instead of all of the above.
    pub(crate) document: Option<u32>,
}

/// The end of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) ticket: Ticket,
    pub(crate) tag: u64,
    pub(crate) result: Result<Outcome, ClientError>,
    pub(crate) token: Option<Token>,
    pub(crate) body: Vec<u8>,
    pub(crate) attempts: u32,
}

pub(crate) struct Script {
    pub(crate) core: ClientCore,
    pub(crate) now_ns: u64,
    /// Connections that the core has asked for and the script has not answered.
    pub(crate) asked: Vec<(PeerId, Address)>,
    pub(crate) closed: Vec<(PeerId, ClientError)>,
    pub(crate) up: BTreeSet<PeerId>,
    pub(crate) frames: usize,
    framers: Vec<(Framer, Assembly)>,
}

pub(crate) fn table() -> SlotTableBody {
    let node = |id: u16| NodeBody {
        id,
        name: format!("node-{id}"),
        host: format!("host-{id}"),
        native_port: 7064 + 256 * id,
        shards: SHARDS,
    };
    let slot = |group: u32| -> Vec<u16> {
        let first = u16::try_from(group % u32::from(NODES)).unwrap();
        (0..NODES).map(|step| 1 + (first + step) % NODES).collect()
    };
    SlotTableBody {
        cluster: CLUSTER,
        groups: GROUPS,
        classes: 4,
        facilities: Vec::new(),
        nodes: (1..=NODES).map(node).collect(),
        slots: (0..GROUPS).map(slot).collect(),
        message_bytes_max: MESSAGE_BYTES_MAX,
        seats: Vec::new(),
    }
}

pub(crate) fn welcome(node: u16, shard: u16, wall_ms: u64) -> Welcome {
    Welcome {
        node,
        incarnation: 1000 + u64::from(node),
        cluster: CLUSTER,
        shard,
        shards: SHARDS,
        out: false,
        epoch: 0,
        wall_ms,
        message_bytes_max: MESSAGE_BYTES_MAX,
        lz4: false,
        release: Release::CURRENT,
    }
}

/// The node and shard that write a group.
pub(crate) fn writer(group: u32) -> (u16, u16) {
    let node = 1 + u16::try_from(group % u32::from(NODES)).unwrap();
    (node, shard_of(GroupId(group), SHARDS))
}

impl Script {
    /// A core that has connected to node 1 and learnt the slot table.
    pub(crate) fn ready(options: ClientOptions) -> Script {
        let mut script = Script::new(options);
        script.turn();
        let (peer, address) = script.asked.pop().unwrap();
        assert_eq!(address.to_string(), "entry:7000");
        script.connect(peer, 1, 0);
        let seen = script.turn();
        assert_eq!(
            (seen.len(), seen[0].document),
            (1, Some(1)),
            "the core asks for the slot table"
        );
        script.document(&seen[0], &body::encode(&table()));
        assert!(script.core.is_ready());
        assert_eq!(script.ends(), [], "its own question is nobody's completion");
        script
    }

    pub(crate) fn new(options: ClientOptions) -> Script {
        let entry: Address = "entry:7000".parse().unwrap();
        Script {
            core: ClientCore::new(options, vec![entry], [5; 16]),
            now_ns: 1_000 * MS,
            asked: Vec::new(),
            closed: Vec::new(),
            up: BTreeSet::new(),
            frames: 0,
            framers: Vec::new(),
        }
    }

    pub(crate) fn connect(&mut self, peer: PeerId, node: u16, shard: u16) {
        let wall_ms = WALL_MS + self.now_ns / MS;
        self.core
            .on_connected(self.now_ns, peer, &welcome(node, shard, wall_ms));
        let index = peer.0 as usize;
        while self.framers.len() <= index {
            self.framers.push((Framer::new(FRAME_BYTES_MAX), Assembly::default()));
        }
        self.framers[index] = (Framer::new(FRAME_BYTES_MAX), Assembly::default());
        self.up.insert(peer);
    }

    /// Lets every connection that the core asks for succeed.
    pub(crate) fn connect_all(&mut self) {
        for (peer, address) in std::mem::take(&mut self.asked) {
            let (node, shard) = place_of(&address);
            self.connect(peer, node, shard);
        }
    }

    pub(crate) fn disconnect(&mut self, peer: PeerId) {
        self.up.remove(&peer);
        let cause = ClientError::Io(std::io::ErrorKind::ConnectionReset);
        self.core.on_disconnected(self.now_ns, peer, cause);
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.now_ns += ms * MS;
        self.core.on_tick(self.now_ns);
    }

    /// Ends the core's turn and returns what it has sent.
    pub(crate) fn turn(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        loop {
            let mut effects = Vec::new();
            self.core.take_effects(self.now_ns, &mut effects);
            if effects.is_empty() {
                return seen;
            }
            for effect in effects {
                match effect {
                    Effect::Connect { peer, address } => self.asked.push((peer, address)),
                    Effect::Close { peer, cause } => {
                        self.up.remove(&peer);
                        self.closed.push((peer, cause));
                    }
                    Effect::Write { peer } => {
                        let bytes = self.core.outgoing(peer).to_vec();
                        self.core.on_written(peer, bytes.len());
                        self.read(peer, &bytes, &mut seen);
                    }
                }
            }
        }
    }

    fn read(&mut self, peer: PeerId, bytes: &[u8], seen: &mut Vec<Seen>) {
        let (framer, assembly) = &mut self.framers[peer.0 as usize];
        let frames = &mut self.frames;
        let on_frame = |frame: FrameView<'_>| {
            assert_eq!(frame.kind, FrameKind::Client);
            *frames += 1;
            for item in frame.items() {
                if item.kind() == ItemKind::Part {
                    if let Some(whole) = assembly.take(&item, 2 << 20)? {
                        seen.push(seen_of(peer, &Item::new_checked_unpadded(&whole)?));
                    }
                } else {
                    seen.push(seen_of(peer, &item));
                }
            }
            Ok(())
        };
        framer.feed(bytes, true, on_frame).unwrap();
    }

    pub(crate) fn say(&mut self, peer: PeerId, item: &[u8]) {
        let frame = frame_of(item);
        self.core.on_bytes(self.now_ns, peer, &frame);
    }

    pub(crate) fn document(&mut self, seen: &Seen, archive: &[u8]) {
        let document = Document {
            item: ItemHeader {
                aux: seen.document.unwrap().into(),
                ..ItemHeader::default()
            },
            correlation: seen.correlation.into(),
            reserved: 0.into(),
        };
        let mut item = Vec::new();
        document.push(&mut item, archive);
        self.say(seen.peer, &item);
    }

    /// An answer with a token at this seq.
    pub(crate) fn answer(&mut self, seen: &Seen, outcome: Outcome, seq: u64, body: &[u8]) {
        let item = reply_item(seen, outcome, 0, HAS_TOKEN, seq, body);
        self.say(seen.peer, &item);
    }

    pub(crate) fn refuse(&mut self, seen: &Seen, outcome: Outcome, detail: u32) {
        let flags = if seen.sent_before { reply::MAYBE } else { 0 };
        self.refuse_with(seen, outcome, detail, flags);
    }

    pub(crate) fn refuse_with(&mut self, seen: &Seen, outcome: Outcome, detail: u32, flags: u8) {
        let item = reply_item(seen, outcome, detail, flags, 0, &[]);
        self.say(seen.peer, &item);
    }

    pub(crate) fn ends(&mut self) -> Vec<End> {
        let mut ends = Vec::new();
        self.core.take_completions(|completion| {
            ends.push(End {
                ticket: completion.ticket,
                tag: completion.tag,
                result: completion.result,
                token: completion.token,
                body: completion.body.to_vec(),
                attempts: completion.attempts,
            });
        });
        ends
    }

    /// The one request that ended.
    pub(crate) fn end(&mut self) -> End {
        let mut ends = self.ends();
        assert_eq!(ends.len(), 1, "{ends:?}");
        ends.remove(0)
    }

    /// A key of this group.
    pub(crate) fn key(&self, group: u32) -> Key {
        (0..)
            .map(|id| Key::new("patient", &[("id", format!("{id}").as_bytes())]).unwrap())
            .find(|key| self.core.prepare(key.as_ref()).unwrap().group.0 == group)
            .unwrap()
    }

    pub(crate) fn send(&mut self, group: u32, message: &[u8], options: &SendOptions) -> Result<Ticket, ClientError> {
        let key = self.key(group);
        let key = self.core.prepare(key.as_ref()).unwrap();
        self.core.send(self.now_ns, key, message, options)
    }

    pub(crate) fn get(&mut self, group: u32, options: &ReadOptions) -> Result<Ticket, ClientError> {
        let key = self.key(group);
        let key = self.core.prepare(key.as_ref()).unwrap();
        self.core.get(self.now_ns, key, options)
    }

    /// Sends one message and returns it as it left.
    pub(crate) fn sent(&mut self, group: u32, options: &SendOptions) -> (Ticket, Seen) {
        let ticket = self.send(group, b"message", options).unwrap();
        let mut seen = self.turn();
        assert_eq!(seen.len(), 1);
        (ticket, seen.remove(0))
    }

    /// The one request that left since.
    pub(crate) fn again(&mut self) -> Seen {
        let mut seen = self.turn();
        seen.retain(|seen| seen.document.is_none());
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }
}

fn place_of(address: &Address) -> (u16, u16) {
    let node: u16 = address.host.strip_prefix("host-").map_or(1, |id| id.parse().unwrap());
    let base = 7064 + 256 * node;
    (node, address.port.saturating_sub(base))
}

pub(crate) fn frame_of(item: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut frame = FrameBuilder::begin(&mut bytes);
    bytes.extend_from_slice(item);
    bytes.resize(waterpark_wire::padded(bytes.len()), 0);
    frame.pushed();
    let address = FrameAddress {
        kind: FrameKind::Node,
        sender: (1, 1001),
        receiver: (0, 0),
        number: 0,
        epoch: 0,
    };
    frame.finish(&mut bytes, &address);
    bytes
}

pub(crate) fn reply_item(seen: &Seen, outcome: Outcome, detail: u32, flags: u8, seq: u64, body: &[u8]) -> Vec<u8> {
    let header = ReplyHeader {
        item: ItemHeader {
            flags,
            group: seen.group.into(),
            ..ItemHeader::default()
        },
        correlation: seen.correlation.into(),
        view: 1.into(),
        seq: seq.into(),
        detail: detail.into(),
        number: seen.number.into(),
        outcome: outcome as u8,
        ..ReplyHeader::default()
    };
    let mut item = Vec::new();
    reply::push(&mut item, &header, body);
    item
}

fn seen_of(peer: PeerId, item: &Item<'_>) -> Seen {
    if item.kind() == ItemKind::Ask {
        let (ask, _) = Ask::new_checked(item).unwrap();
        return Seen {
            peer,
            operation: Operation::Get,
            group: 0,
            session: [0; 16],
            number: 0,
            mark: 0,
            sent_before: false,
            here: false,
            level: 0,
            timeout_ms: 0,
            correlation: ask.correlation.get(),
            key: Vec::new(),
            message: Vec::new(),
            document: Some(item.header.aux.get()),
        };
    }
    // The check of a node: lengths, flags, number and mark.
    let request = RequestView::new_checked(item).unwrap();
    Seen {
        peer,
        operation: request.operation,
        group: item.header.group.get(),
        session: request.header.session,
        number: request.header.number.get(),
        mark: request.header.mark.get(),
        sent_before: request.has(SENT_BEFORE),
        here: request.has(HERE),
        level: request.header.level,
        timeout_ms: request.header.timeout_ms.get(),
        correlation: request.header.correlation.get(),
        key: request.key.to_vec(),
        message: request.message.to_vec(),
        document: None,
    }
}
