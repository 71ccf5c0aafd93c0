//! What the tests of view changes share: shards of three nodes, one each, wired by hand, and a topology log that says what a test says.
//!
//! No fault is drawn here and nothing is late. **Invariant:** a frame is handed on in the order in which it was sent.

use std::collections::VecDeque;

use waterpark_ring::{ClusterId, Key, NodeSpec, Topology, TopologySpec};
use waterpark_wire::frame::FRAME_BYTES_MAX;
use waterpark_wire::item::{ItemHeader, Items};
use waterpark_wire::reply::{MAYBE, Outcome, ReplyView};
use waterpark_wire::request::{self, Freshness, Operation, ReadLevel, RequestHeader};
use waterpark_wire::{FrameView, ItemKind};

use crate::behaviour::{Answer, Behaviour, Event, KindId, Retention};
use crate::config::{Births, Limits, Settings};
use crate::effects::{Effect, Happened};
use crate::group::Group;
use crate::ids::{GroupId, Incarnation, Lineage, LinkId, Member, NodeId, Seq, ShardId, View};
use crate::lane::Session;
use crate::memory::{ChunkId, Memory, MemoryFull, Outgoing, Usage};
use crate::rules::Production;
use crate::shard::{PeerUp, Shard};
use crate::state_bytes::StateWriter;
use crate::time::{MS, Now};
use crate::topology_log::{Entry, Proposal, Roll, Stamp, Why};

const NAMES: [&str; 3] = ["FL-A-1", "FL-B-1", "TN-A-1"];
/// The second in which everything begins.
pub(super) const WALL_S: u64 = 1_700_000_000;
const WALL_MS: u64 = WALL_S * 1_000;
/// Passes after which members are said never to stop answering each other.
const FRAMES_MAX: usize = 100_000;

pub(super) type TestShard = Shard<Production, Heap, Notes>;

/// Chunks on the heap, counted against a budget.
#[derive(Debug)]
pub(super) struct Heap {
    chunks: Vec<Option<Box<[u8]>>>,
    usage: Usage,
}

impl Heap {
    /// From now on there is no room for one more chunk.
    pub(super) fn fill(&mut self) {
        self.usage.budget = self.usage.used;
    }

    pub(super) fn used(&self) -> u64 {
        self.usage.used
    }
}

impl Memory for Heap {
    fn reserve(&mut self, bytes: usize) -> Result<ChunkId, MemoryFull> {
        if self.usage.used + bytes as u64 > self.usage.budget {
            return Err(MemoryFull);
        }
        self.usage.used += bytes as u64;
        self.chunks.push(Some(vec![0xA5; bytes].into_boxed_slice()));
        Ok(ChunkId(u32::try_from(self.chunks.len() - 1).unwrap()))
    }

    fn bytes(&self, chunk: ChunkId) -> &[u8] {
        self.chunks[chunk.0 as usize].as_ref().unwrap()
    }

    fn bytes_mut(&mut self, chunk: ChunkId) -> &mut [u8] {
        self.chunks[chunk.0 as usize].as_mut().unwrap()
    }

    fn release(&mut self, chunk: ChunkId) {
        let bytes = self.chunks[chunk.0 as usize].take().unwrap();
        self.usage.used -= bytes.len() as u64;
    }

    fn pin(&mut self, _chunk: ChunkId) {}

    fn unpin(&mut self, _chunk: ChunkId) {}

    fn usage(&self) -> Usage {
        self.usage
    }

    type Given = (ChunkId, Box<[u8]>);

    fn give(&mut self, chunk: ChunkId) -> Self::Given {
        (chunk, self.chunks[chunk.0 as usize].take().unwrap())
    }

    fn take(&mut self, _own: ShardId, _from: ShardId, (_, bytes): Self::Given) -> ChunkId {
        self.usage.used += bytes.len() as u64;
        self.chunks.push(Some(bytes));
        ChunkId(u32::try_from(self.chunks.len() - 1).unwrap())
    }

    fn next_return(&mut self) -> Option<(ShardId, ChunkId)> {
        None
    }

    fn take_back(&mut self, _chunk: ChunkId) {}
}

/// Two kinds whose state is a sum over their messages: `note` keeps them all, `gauge` none.
#[derive(Debug)]
pub(super) struct Notes;

impl Behaviour for Notes {
    type State = u64;

    fn kind(&self, name: &[u8]) -> Option<KindId> {
        let at = [&b"note"[..], b"gauge"].iter().position(|kind| *kind == name)?;
        Some(KindId(u8::try_from(at).unwrap()))
    }

    fn name(&self, kind: KindId) -> &[u8] {
        [&b"note"[..], b"gauge"][usize::from(kind.0)]
    }

    fn retention(&self, kind: KindId) -> Retention {
        [Retention::All, Retention::None][usize::from(kind.0)]
    }

    fn execute(&self, _kind: KindId, _state: &u64, _message: &[u8], answer: &mut Answer) {
        answer.event = Event::Message;
    }

    fn apply(&self, _kind: KindId, state: &mut u64, event: &[u8], seq: u64, _time_ms: u64) {
        let sum = event
            .iter()
            .fold(seq, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        *state = state.wrapping_mul(1_000_003).wrapping_add(sum);
    }

    fn show(&self, _kind: KindId, state: &u64, out: &mut Vec<u8>) {
        out.extend_from_slice(state.to_string().as_bytes());
    }

    fn save(&self, _kind: KindId, state: &u64, out: &mut Vec<u8>) {
        out.extend_from_slice(&state.to_le_bytes());
    }

    fn load(&self, _kind: KindId, bytes: &[u8]) -> Option<u64> {
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }
}

/// A frame on its way.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) bytes: Vec<u8>,
    /// The link that is busy until it arrives or is lost.
    link: Option<LinkId>,
}

impl Sent {
    /// Its items, with the kind of each.
    pub(super) fn items(&self) -> Vec<(ItemKind, Vec<u8>)> {
        let frame = FrameView::new_checked(&self.bytes, FRAME_BYTES_MAX).unwrap();
        frame.items().map(|item| (item.kind(), item.bytes.to_vec())).collect()
    }

    pub(super) fn has(&self, kind: ItemKind) -> bool {
        self.items().iter().any(|(found, _)| *found == kind)
    }

    /// Bytes of its items of a kind.
    pub(super) fn bytes_of(&self, kind: ItemKind) -> usize {
        let items = self.items();
        items
            .iter()
            .filter(|(found, _)| *found == kind)
            .map(|(_, bytes)| bytes.len())
            .sum()
    }
}

/// Three nodes.
pub(super) struct Three {
    pub(super) shards: Vec<TestShard>,
    pub(super) sent: VecDeque<Sent>,
    pub(super) happened: Vec<(usize, Happened)>,
    /// What shards proposed and nobody has decided.
    pub(super) proposed: Vec<Entry>,
    topology: Topology,
    position: u64,
    now_ns: u64,
    number: u32,
}

pub(super) fn member(node: usize) -> Member {
    Member {
        node: NodeId(u16::try_from(node + 1).unwrap()),
        incarnation: Incarnation((1 << 16) + node as u64),
    }
}

pub(super) fn roll(nodes: &[usize]) -> Roll {
    let write = nodes.len() / 2 + 1;
    Roll {
        members: nodes.iter().map(|node| member(*node)).collect(),
        write_quorum: u8::try_from(write).unwrap(),
        read_quorum: u8::try_from(nodes.len() + 1 - write).unwrap(),
    }
}

impl Three {
    /// Three nodes that have met; all groups are born with these members, the first of which writes.
    pub(super) fn new(nodes: &[usize], limits: &Limits) -> Three {
        let spec = |index: usize| NodeSpec {
            id: member(index).node,
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
                births: Births::TopologyLog,
                node: member(node).node,
                incarnation: member(node).incarnation,
                shard: ShardId(0),
                shards: vec![0, 1, 1, 1],
                names: core::iter::once("").chain(NAMES).map(str::to_owned).collect(),
                driver: "test".to_owned(),
                limits: limits.clone(),
            };
            let memory = Heap {
                chunks: Vec::new(),
                usage: Usage {
                    used: 0,
                    budget: 1 << 30,
                },
            };
            Shard::new(settings, topology.clone(), topology.birth().clone(), memory, Notes)
        };
        let mut three = Three {
            shards: (0..NAMES.len()).map(shard).collect(),
            sent: VecDeque::new(),
            happened: Vec::new(),
            proposed: Vec::new(),
            topology,
            position: 0,
            now_ns: MS,
            number: 0,
        };
        for (node, peer) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
            let link = three.link(node, peer);
            let up = PeerUp {
                incarnation: member(peer).incarnation,
                epoch: 1,
                out: false,
                lz4: false,
            };
            three.turn(node, |shard, now| shard.on_link_up(now, link, up));
        }
        for node in 0..NAMES.len() {
            let replaces = Incarnation(0);
            three.decide(&Entry::NodeUp {
                member: member(node),
                replaces,
            });
        }
        three.decide(&Entry::Create(vec![roll(nodes); 64]));
        three.pass();
        three
    }

    pub(super) fn link(&self, node: usize, peer: usize) -> LinkId {
        let mut infos = self.shards[node].links().iter();
        infos.find(|info| info.peer == member(peer).node).unwrap().link
    }

    /// The next entry of the topology log; every shard learns it. The position is its view.
    pub(super) fn decide(&mut self, entry: &Entry) -> View {
        self.position += 1;
        let position = self.position;
        for node in 0..self.shards.len() {
            self.turn(node, |shard, now| shard.on_decided(now, position, Stamp::NONE, entry));
        }
        View(position)
    }

    /// The topology log wants these members for some groups, the first to write.
    pub(super) fn propose(&mut self, groups: &[GroupId], nodes: &[usize]) -> View {
        let proposals = groups.iter().map(|group| {
            let state = self.shards[0].decided().group(*group).unwrap();
            Proposal {
                group: *group,
                sees_active: state.active.view,
                sees_pending: state.pending.as_ref().map_or(View(0), |pending| pending.view),
                roll: roll(nodes),
                why: Why::default(),
            }
        });
        let entry = Entry::Propose(proposals.collect());
        self.decide(&entry)
    }

    /// What shards proposed is decided, and what comes of it is handed on, until nothing comes any more.
    pub(super) fn settle(&mut self) {
        self.pass();
        while !self.proposed.is_empty() {
            for entry in std::mem::take(&mut self.proposed) {
                self.decide(&entry);
            }
            self.pass();
        }
    }

    /// Milliseconds pass, and each shard hears of them.
    pub(super) fn wait(&mut self, ms: u64) {
        self.now_ns += ms * MS;
        for node in 0..self.shards.len() {
            self.turn(node, Shard::on_tick);
        }
    }

    /// Some time passes in steps that are short enough for whoever asks again.
    pub(super) fn wait_and_settle(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(50) {
            self.wait(50);
            self.settle();
        }
    }

    pub(super) fn now(&self) -> Now {
        Now {
            monotonic_ns: self.now_ns,
            wall_ms: WALL_MS + self.now_ns / MS,
        }
    }

    /// The group of an actor.
    pub(super) fn group_of(&self, kind: &str, id: u32) -> GroupId {
        let key = Key::new(kind, &[("id", id.to_string().as_bytes())]).unwrap();
        self.topology.locate(key.as_ref()).group
    }

    /// An actor that belongs to a group.
    pub(super) fn actors_of(&self, kind: &str, group: GroupId, count: usize) -> Vec<u32> {
        let ids = (0..).filter(|id| self.group_of(kind, *id) == group);
        ids.take(count).collect()
    }

    /// This node's own client sends a message to an actor.
    pub(super) fn send(&mut self, node: usize, kind: &str, id: u32, message: &[u8]) {
        let number = self.number + 1;
        // A session each for a few requests: no lane outgrows its window.
        let session = Session::new(WALL_S, false, u64::from(number / 100).to_le_bytes());
        self.send_as(session, number % 100 + 1, node, kind, id, message);
    }

    /// The same in a session, under a number.
    pub(super) fn send_as(&mut self, session: Session, number: u32, node: usize, kind: &str, id: u32, message: &[u8]) {
        self.number += 1;
        let key = Key::new(kind, &[("id", id.to_string().as_bytes())]).unwrap();
        let header = RequestHeader {
            item: ItemHeader {
                group: self.group_of(kind, id).0.into(),
                ..ItemHeader::default()
            },
            session: session.0,
            correlation: u64::from(self.number).into(),
            number: number.into(),
            mark: 1.into(),
            timeout_ms: 60_000.into(),
            operation: Operation::Send as u8,
            ..RequestHeader::default()
        };
        let mut bytes = Vec::new();
        request::push(&mut bytes, &header, key.as_ref().bytes(), message);
        self.turn(node, |shard, now| shard.on_local_items(now, &bytes));
    }

    /// This node's own client reads an actor, of which any member may answer.
    pub(super) fn read_any(&mut self, node: usize, kind: &str, id: u32) {
        self.read(node, kind, id, ReadLevel::Any, &[]);
    }

    /// The same from a token on.
    pub(super) fn read_from(&mut self, node: usize, kind: &str, id: u32, (lineage, view, seq): (Lineage, View, Seq)) {
        let freshness = Freshness {
            lineage: lineage.0.into(),
            view: view.0.into(),
            seq: seq.0.into(),
            ..Freshness::default()
        };
        self.read(node, kind, id, ReadLevel::Session, freshness.bytes());
    }

    /// The same, and it has to be newer than what any other writer may have acked.
    pub(super) fn read_now(&mut self, node: usize, kind: &str, id: u32) {
        self.read(node, kind, id, ReadLevel::Linearizable, &[]);
    }

    fn read(&mut self, node: usize, kind: &str, id: u32, level: ReadLevel, freshness: &[u8]) {
        let key = Key::new(kind, &[("id", id.to_string().as_bytes())]).unwrap();
        let header = RequestHeader {
            item: ItemHeader {
                group: self.group_of(kind, id).0.into(),
                ..ItemHeader::default()
            },
            timeout_ms: 60_000.into(),
            operation: Operation::Get as u8,
            level: level as u8,
            ..RequestHeader::default()
        };
        let mut bytes = Vec::new();
        request::push(&mut bytes, &header, key.as_ref().bytes(), freshness);
        self.turn(node, |shard, now| shard.on_local_items(now, &bytes));
    }

    /// The outcomes of what this node's own client asked, since the last call.
    pub(super) fn outcomes(&mut self, node: usize) -> Vec<Outcome> {
        let replies = self.replies(node);
        replies.into_iter().map(|(outcome, _)| outcome).collect()
    }

    /// The same with the bodies.
    pub(super) fn replies(&mut self, node: usize) -> Vec<(Outcome, Vec<u8>)> {
        self.replies_as(node, |reply| (reply.outcome, reply.body.to_vec()))
    }

    /// The same, each with whether another copy of its request may have taken effect.
    pub(super) fn doubts(&mut self, node: usize) -> Vec<(Outcome, bool)> {
        self.replies_as(node, |reply| (reply.outcome, reply.header.item.flags & MAYBE != 0))
    }

    fn replies_as<T>(&mut self, node: usize, seen: impl Fn(&ReplyView<'_>) -> T) -> Vec<T> {
        let mut bytes = Vec::new();
        self.shards[node].take_local_replies(&mut bytes);
        let mut walk = Items::new(&bytes);
        let mut replies = Vec::new();
        while let Some(item) = walk.step().unwrap() {
            replies.push(seen(&ReplyView::new_checked(&item).unwrap()));
        }
        replies
    }

    /// One input to a shard, and what comes of it.
    pub(super) fn turn(&mut self, node: usize, input: impl FnOnce(&mut TestShard, Now)) {
        let now = self.now();
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
                assert!(outgoing.gathers.is_empty(), "nothing gathers here");
                self.sent.push_back(Sent {
                    from: node,
                    to: peer,
                    bytes: outgoing.bytes,
                    link: Some(link),
                });
            }
            Effect::Event(happened) => self.happened.push((node, happened)),
            Effect::Propose(entry) => self.proposed.push(*entry),
            // There is no controller to tell.
            Effect::Report { .. } => {}
            other => panic!("nothing here is to bring about {other:?}"),
        }
    }

    /// Hands everything on until nothing is under way.
    pub(super) fn pass(&mut self) {
        self.pass_if(|_| true);
    }

    /// The same, but for frames that are lost.
    pub(super) fn pass_if(&mut self, mut arrives: impl FnMut(&Sent) -> bool) {
        let mut passed = 0;
        while let Some(sent) = self.next() {
            passed += 1;
            assert!(passed < FRAMES_MAX, "members never stop answering each other");
            if arrives(&sent) {
                self.arrive(&sent);
            }
        }
    }

    /// Takes the next frame off the way; its link is free again.
    pub(super) fn next(&mut self) -> Option<Sent> {
        let mut sent = self.sent.pop_front()?;
        if let Some(link) = sent.link.take() {
            self.turn(sent.from, |shard, _| shard.on_link_sent(link, Outgoing::default()));
        }
        Some(sent)
    }

    /// A frame comes to its receiver.
    pub(super) fn arrive(&mut self, sent: &Sent) {
        let frame = FrameView::new_checked(&sent.bytes, FRAME_BYTES_MAX).unwrap();
        let link = self.link(sent.to, sent.from);
        self.turn(sent.to, |shard, now| shard.on_link_frame(now, link, &frame));
    }

    pub(super) fn group(&self, node: usize, group: GroupId) -> &Group<u64> {
        let index = self.shards[node].group_index(group).unwrap();
        &self.shards[node].groups[index]
    }

    /// What a node holds of a group: its view, its last seq and the hash there.
    pub(super) fn holds(&self, node: usize, group: GroupId) -> (View, Seq, u128) {
        let row = self.group(node, group);
        (row.log_view, row.log.sealed_seq(), row.log.last_hash())
    }

    /// Actors and lanes of a group, as they would travel. What a member knows of its own sweeps is not in it: only a writer asks that.
    pub(super) fn tables(&mut self, node: usize, group: GroupId) -> Vec<u8> {
        let index = self.shards[node].group_index(group).unwrap();
        self.shards[node].apply(index);
        let mut state = self.shards[node].save_state(index);
        let mut retained = Vec::new();
        self.shards[node].groups[index]
            .retained
            .save(&mut StateWriter(&mut retained));
        state.truncate(state.len() - retained.len());
        state
    }
}
