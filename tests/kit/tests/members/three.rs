//! Three members of real shards, one each, and a wire between them that a test can hold up, read and change.
//!
//! No fault is drawn here. **Invariant:** a frame is handed on in the order in which it was sent.

use std::collections::VecDeque;

use waterpark_core::config::{Births, Limits, Settings};
use waterpark_core::effects::{Effect, Happened};
use waterpark_core::ids::{ClientId, GroupId, Incarnation, LinkId, NodeId, ShardId};
use waterpark_core::memory::{Memory, Outgoing};
use waterpark_core::rules::Production;
use waterpark_core::time::{MS, Now};
use waterpark_core::{PeerUp, Shard};
use waterpark_handlers::Kinds;
use waterpark_kit::client::{RequestId, SimClient};
use waterpark_kit::memory::HeapMemory;
use waterpark_kit::rng::Rng;
use waterpark_ring::{ClusterId, Key, NodeSpec, Topology, TopologySpec};
use waterpark_wire::frame::{FRAME_BYTES_MAX, FrameAddress, FrameBuilder};
use waterpark_wire::reply::{Outcome, ReplyView};
use waterpark_wire::request::{self, Freshness, Operation, RequestHeader};
use waterpark_wire::{FrameView, ItemKind};

const NAMES: [&str; 3] = ["FL-A-1", "FL-B-1", "TN-A-1"];
const WALL_MS: u64 = 1_700_000_000_000;

/// Every read asks under it.
const READ: u64 = u64::MAX;

/// Items of one frame on its way, as bytes with their padding; a test may change or drop them.
pub(crate) type OnTheWay = Vec<Vec<u8>>;

/// What came back to the client: the outcome, and the flags of the reply.
pub(crate) type Reply = (Outcome, u8);

pub(crate) struct Three {
    shards: Vec<Shard<Production, HeapMemory, Kinds>>,
    topology: Topology,
    now_ns: u64,
    client: SimClient,
    frames: VecDeque<(usize, usize, Vec<u8>)>,
    /// Replies to the client, in their order.
    pub(crate) replies: Vec<Reply>,
    /// Replies to reads, in their order: outcome, seq and detail.
    pub(crate) answers: Vec<(Outcome, u64, u32)>,
    /// Events of all members, in their order.
    pub(crate) happened: Vec<(usize, Happened)>,
}

fn incarnation(node: usize) -> Incarnation {
    Incarnation((1 << 16) + node as u64)
}

impl Three {
    /// Three members that have met nobody.
    pub(crate) fn new() -> Three {
        Three::born([Births::Writer; 3])
    }

    /// The same, each with its own way for groups to come into being.
    pub(crate) fn born(births: [Births; 3]) -> Three {
        let spec = |index: usize| NodeSpec {
            id: NodeId(u16::try_from(index + 1).unwrap()),
            name: NAMES[index].to_owned(),
            host: "127.0.0.1".to_owned(),
            port: 7000 + 256 * u16::try_from(index).unwrap(),
            shards: 1,
        };
        let mut spec = TopologySpec::new(ClusterId([9; 16]), (0..NAMES.len()).map(spec).collect());
        spec.groups = 64;
        let topology = Topology::new(spec).unwrap();
        let shard = |node: usize| {
            let settings = Settings {
                births: births[node],
                node: NodeId(u16::try_from(node + 1).unwrap()),
                incarnation: incarnation(node),
                shard: ShardId(0),
                shards: vec![0, 1, 1, 1],
                names: std::iter::once("").chain(NAMES).map(str::to_owned).collect(),
                driver: "test".to_owned(),
                limits: Limits::default(),
            };
            let (placement, memory) = (topology.birth().clone(), HeapMemory::new(64 << 20));
            Shard::new(settings, topology.clone(), placement, memory, Kinds::built_in())
        };
        Three {
            shards: (0..NAMES.len()).map(shard).collect(),
            topology,
            now_ns: MS,
            client: SimClient::new(1, WALL_MS / 1_000, false, &mut Rng::new(1)),
            frames: VecDeque::new(),
            replies: Vec::new(),
            answers: Vec::new(),
            happened: Vec::new(),
        }
    }

    /// Three members that have met, and whose groups are open.
    pub(crate) fn open() -> Three {
        let mut three = Three::new();
        for (node, peer) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
            three.meet(node, peer);
        }
        three.pass(|_, _, _| ());
        let opened = |(_, happened): &&(usize, Happened)| matches!(happened, Happened::GroupOpened { .. });
        assert_eq!(three.happened.iter().filter(opened).count(), 64, "every group opens");
        three
    }

    /// One side's half of a handshake.
    pub(crate) fn meet(&mut self, node: usize, peer: usize) {
        let link = self.link(node, peer);
        let up = PeerUp {
            incarnation: incarnation(peer),
            epoch: 1,
            out: false,
            lz4: false,
        };
        self.turn(node, |shard, now| shard.on_link_up(now, link, up));
    }

    fn link(&self, node: usize, peer: usize) -> LinkId {
        let mut infos = self.shards[node].links().iter();
        let info = infos.find(|info| usize::from(info.peer.0) == peer + 1);
        info.expect("every member has a link to every other").link
    }

    /// Group of a key, and the indices of its members, the writer first.
    pub(crate) fn place(&self, key: &Key) -> (GroupId, Vec<usize>) {
        let group = self.topology.locate(key.as_ref()).group;
        let nodes = self.topology.birth().members(group);
        (
            group,
            nodes.nodes().iter().map(|node| usize::from(node.0) - 1).collect(),
        )
    }

    /// Milliseconds pass, and each member hears of them.
    pub(crate) fn wait(&mut self, ms: u64) {
        self.now_ns += ms * MS;
        for node in 0..self.shards.len() {
            self.turn(node, Shard::on_tick);
        }
    }

    /// The client asks for something new; the number tells it again.
    pub(crate) fn ask(&mut self, key: &Key, message: &[u8]) -> RequestId {
        let (group, _) = self.place(key);
        self.client.open(group, key.clone(), message.to_vec())
    }

    /// One copy of a request goes to a member.
    pub(crate) fn send(&mut self, node: usize, id: RequestId) {
        let mut bytes = Vec::new();
        let mut frame = FrameBuilder::begin(&mut bytes);
        assert!(self.client.item(id, false, &mut bytes));
        frame.pushed();
        frame.finish(&mut bytes, &FrameAddress::of_client((0, 0)));
        self.hear(node, &bytes);
    }

    /// A frame of the client comes to a member.
    fn hear(&mut self, node: usize, bytes: &[u8]) {
        let frame = FrameView::new_checked(bytes, FRAME_BYTES_MAX).unwrap();
        self.turn(node, |shard, now| {
            shard.ensure_client(ClientId(1));
            shard.on_client_frame(now, ClientId(1), &frame);
        });
    }

    /// The client's session, in which its requests are numbered.
    pub(crate) fn session(&self) -> [u8; 16] {
        self.client.session().0
    }

    /// Takes a client whose requests take effect in order.
    pub(crate) fn order(&mut self) {
        self.client = SimClient::new(1, WALL_MS / 1_000, true, &mut Rng::new(1));
    }

    /// Reads go to a member, all in one frame.
    pub(crate) fn read(&mut self, node: usize, reads: &[(&Key, RequestHeader, Option<Freshness>)]) {
        let mut bytes = Vec::new();
        let mut frame = FrameBuilder::begin(&mut bytes);
        for (key, header, freshness) in reads {
            let header = RequestHeader {
                correlation: READ.into(),
                timeout_ms: 1_000.into(),
                operation: Operation::Get as u8,
                ..*header
            };
            let message = freshness.as_ref().map_or(&[][..], Freshness::bytes);
            request::push(&mut bytes, &header, key.bytes(), message);
            frame.pushed();
        }
        frame.finish(&mut bytes, &FrameAddress::of_client((0, 0)));
        self.hear(node, &bytes);
    }

    fn turn(&mut self, node: usize, input: impl FnOnce(&mut Shard<Production, HeapMemory, Kinds>, Now)) {
        let now = Now {
            monotonic_ns: self.now_ns,
            wall_ms: WALL_MS + self.now_ns / MS,
        };
        let mut effects = Vec::new();
        input(&mut self.shards[node], now);
        loop {
            self.shards[node].on_turn_end(now);
            self.shards[node].take_effects(&mut effects);
            if effects.is_empty() {
                return;
            }
            for effect in effects.drain(..) {
                self.on_effect(node, effect);
            }
        }
    }

    fn on_effect(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::SendLink { link, outgoing } => {
                let peer = usize::from(self.shards[node].links()[link.0 as usize].peer.0) - 1;
                let bytes = self.bytes_of(node, &outgoing);
                self.frames.push_back((node, peer, bytes));
                self.shards[node].on_link_sent(link, outgoing);
            }
            Effect::SendClient { client, outgoing } => {
                let bytes = self.bytes_of(node, &outgoing);
                let frame = FrameView::new_checked(&bytes, FRAME_BYTES_MAX).unwrap();
                for item in frame.items() {
                    let reply = ReplyView::new_checked(&item).unwrap();
                    if reply.header.correlation.get() == READ {
                        let (seq, detail) = (reply.header.seq.get(), reply.header.detail.get());
                        self.answers.push((reply.outcome, seq, detail));
                        continue;
                    }
                    self.replies.push((reply.outcome, reply.header.item.flags));
                }
                self.shards[node].on_client_sent(client, outgoing);
            }
            Effect::Event(happened) => self.happened.push((node, happened)),
            Effect::Propose(_) => unreachable!("groups are born by their writers here"),
            other => panic!("nothing here is to bring about {other:?}"),
        }
    }

    fn bytes_of(&self, node: usize, outgoing: &Outgoing) -> Vec<u8> {
        let memory = self.shards[node].memory();
        let mut bytes = Vec::new();
        let mut from = 0;
        for gather in &outgoing.gathers {
            bytes.extend_from_slice(&outgoing.bytes[from..gather.at as usize]);
            let (start, length) = (gather.offset as usize, gather.length as usize);
            bytes.extend_from_slice(&memory.bytes(gather.chunk)[start..start + length]);
            from = gather.at as usize;
        }
        bytes.extend_from_slice(&outgoing.bytes[from..]);
        bytes
    }

    /// Hands everything on until nothing is under way. `change` sees the items of each frame, with who sent it to whom.
    pub(crate) fn pass(&mut self, mut change: impl FnMut(usize, usize, &mut OnTheWay)) {
        let mut passed = 0;
        while let Some((from, to, bytes)) = self.frames.pop_front() {
            passed += 1;
            assert!(passed < 10_000, "members never stop answering each other");
            let frame = FrameView::new_checked(&bytes, FRAME_BYTES_MAX).unwrap();
            let padded = |bytes: &[u8]| {
                let mut bytes = bytes.to_vec();
                bytes.resize(bytes.len().next_multiple_of(16), 0);
                bytes
            };
            let mut items: OnTheWay = frame.items().map(|item| padded(item.bytes)).collect();
            change(from, to, &mut items);
            let mut bytes = Vec::new();
            let mut builder = FrameBuilder::begin(&mut bytes);
            for item in &items {
                builder.push(&mut bytes, item, &[]);
            }
            let address = FrameAddress {
                kind: frame.kind,
                sender: (frame.header.sender_node.get(), frame.header.sender_incarnation.get()),
                receiver: (
                    frame.header.receiver_node.get(),
                    frame.header.receiver_incarnation.get(),
                ),
                number: frame.header.number.get(),
                epoch: frame.header.epoch.get(),
            };
            builder.finish(&mut bytes, &address);
            let frame = FrameView::new_checked(&bytes, FRAME_BYTES_MAX).unwrap();
            let link = self.link(to, from);
            self.turn(to, |shard, now| shard.on_link_frame(now, link, &frame));
        }
    }
}

/// Whether an item on its way is of a kind.
pub(crate) fn is(item: &[u8], kind: ItemKind) -> bool {
    item[0] == kind as u8
}
