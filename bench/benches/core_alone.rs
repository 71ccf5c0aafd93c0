//! Core alone: five copies in one thread, no socket. What a message of 128 bytes costs from a client's frame to its reply, over all five
//! replicas, at several batch sizes. Target: 450 ns. The requests are built before the clock starts.

use std::time::Instant;

use waterpark_core::PeerUp;
use waterpark_core::Shard;
use waterpark_core::config::{Limits, Settings};
use waterpark_core::effects::Effect;
use waterpark_core::ids::{ClientId, Incarnation, NodeId, ShardId};
use waterpark_core::lane::Session;
use waterpark_core::rules::Production;
use waterpark_core::time::Now;
use waterpark_handlers::Kinds;
use waterpark_kit::rng::Rng;
use waterpark_reactor::{PoolConfig, PoolMemory};
use waterpark_ring::{ClusterId, Key, NodeSpec, Topology, TopologySpec};
use waterpark_wire::FrameView;
use waterpark_wire::frame::{FRAME_BYTES_MAX, FrameAddress, FrameBuilder};
use waterpark_wire::request::{self, RequestHeader};

type Node = Shard<Production, PoolMemory, Kinds>;

const NODES: u16 = 5;
const GROUPS: u32 = 128;
/// How many actors there are unless `WATERPARK_ACTORS` says otherwise: with few of them all tables lie in the caches.
const ACTORS: u64 = 1_000_000;
const POOL: u64 = 1 << 30;
/// Messages between two ticks.
const TICK_MESSAGES: u64 = 5_000;
const MESSAGE: [u8; 128] = [7; 128];
const NOW: Now = Now {
    monotonic_ns: 1_000_000_000,
    wall_ms: 1_700_000_000_000,
};

struct Bench {
    nodes: Vec<Node>,
    topology: Topology,
    session: Session,
    next: Vec<u32>,
    rng: Rng,
    actors: u64,
    /// While warming: the next actor in turn.
    everyone: Option<u64>,
    effects: Vec<Effect>,
    /// Buffers that go round instead of being copied: the copy belongs to the kernel's sockets.
    spare: Vec<Vec<u8>>,
    acked: u64,
    /// Acks at the last tick.
    ticked: u64,
    link_bytes: u64,
}

impl Bench {
    fn new(actors: u64) -> Bench {
        let names = ["", "FL-A-1", "FL-B-1", "TN-A-1", "TX-A-1", "UT-A-1"];
        let specs = (1..=NODES).map(|id| NodeSpec {
            id: NodeId(id),
            name: names[usize::from(id)].to_owned(),
            host: "127.0.0.1".to_owned(),
            port: 7000 + 256 * (id - 1),
            shards: 1,
        });
        let mut spec = TopologySpec::new(ClusterId([3; 16]), specs.collect());
        spec.groups = GROUPS;
        let topology = Topology::new(spec).expect("five nodes make a topology");
        let make = |id: u16| {
            let settings = Settings {
                births: waterpark_core::config::Births::Writer,
                node: NodeId(id),
                incarnation: Incarnation(u64::from(id)),
                shard: ShardId(0),
                shards: vec![0, 1, 1, 1, 1, 1],
                names: names.iter().map(|name| (*name).to_owned()).collect(),
                driver: "none".to_owned(),
                limits: Limits::default(),
            };
            // Memory is touched before the clock starts: page faults belong to the kernel, not to core.
            let config = PoolConfig {
                budget: POOL,
                huge_pages: true,
                keep_free: POOL,
            };
            let mut memory = PoolMemory::new(config).expect("address space");
            memory.prefault(POOL).expect("memory for five pools");
            let mut node = Node::new(
                settings,
                topology.clone(),
                topology.birth().clone(),
                memory,
                Kinds::built_in(),
            );
            node.on_client_up(ClientId(1));
            node
        };
        let nodes: Vec<Node> = (1..=NODES).map(make).collect();
        let session = Session::new(NOW.wall_ms / 1000, false, [9; 8]);
        let next = vec![1; GROUPS as usize];
        let rng = Rng::new(1);
        let mut bench = Bench {
            nodes,
            topology,
            session,
            next,
            rng,
            actors,
            everyone: None,
            effects: Vec::new(),
            spare: Vec::new(),
            acked: 0,
            ticked: 0,
            link_bytes: 0,
        };
        for node in 0..usize::from(NODES) {
            for info in bench.nodes[node].links().to_vec() {
                let up = PeerUp {
                    incarnation: Incarnation(u64::from(info.peer.0)),
                    epoch: 1,
                    out: false,
                    lz4: false,
                };
                bench.nodes[node].on_link_up(NOW, info.link, up);
            }
        }
        bench.settle();
        bench
    }

    /// One frame per node, together `batch` requests, each to the writer of its group.
    fn frames(&mut self, batch: u64) -> Vec<Vec<u8>> {
        let mut frames: Vec<(Vec<u8>, FrameBuilder)> = (0..NODES)
            .map(|_| {
                let mut bytes = Vec::new();
                let frame = FrameBuilder::begin(&mut bytes);
                (bytes, frame)
            })
            .collect();
        for _ in 0..batch {
            let actor = match &mut self.everyone {
                Some(next) => {
                    *next += 1;
                    (*next - 1) % self.actors
                }
                None => self.rng.below(self.actors),
            };
            let key = Key::new("record", &[("id", format!("{actor:07}").as_bytes())]).expect("a valid key");
            let group = self.topology.locate(key.as_ref()).group;
            let writer = usize::from(self.topology.birth().writer(group).0) - 1;
            let number = self.next[group.0 as usize];
            self.next[group.0 as usize] += 1;
            let mut header = RequestHeader {
                session: self.session.0,
                correlation: u64::from(number).into(),
                number: number.into(),
                mark: number.saturating_sub(200).max(1).into(),
                timeout_ms: 10_000.into(),
                ..RequestHeader::default()
            };
            header.item.group = group.0.into();
            let (bytes, frame) = &mut frames[writer];
            request::push(bytes, &header, key.bytes(), &MESSAGE);
            frame.pushed();
        }
        let address = FrameAddress::of_client((0, 0));
        let finish = |(mut bytes, frame): (Vec<u8>, FrameBuilder)| {
            frame.finish(&mut bytes, &address);
            bytes
        };
        frames.into_iter().map(finish).collect()
    }

    fn request(&mut self, frames: &[Vec<u8>]) {
        for (node, bytes) in self.nodes.iter_mut().zip(frames) {
            let frame = FrameView::new_checked(bytes, 64 << 20).expect("a whole frame");
            node.on_client_frame(NOW, ClientId(1), &frame);
        }
        self.settle();
        // As often as under load: every 10 ms at 500,000 messages a second.
        if self.acked - self.ticked >= TICK_MESSAGES {
            self.ticked = self.acked;
            self.nodes.iter_mut().for_each(|node| node.on_tick(NOW));
        }
    }

    /// Turns of all nodes, one after the other, until nothing leaves any more.
    fn settle(&mut self) {
        let mut mail: Vec<(usize, Vec<u8>)> = Vec::new();
        loop {
            for index in 0..self.nodes.len() {
                let node = &mut self.nodes[index];
                node.on_turn_end(NOW);
                let mut effects = std::mem::take(&mut self.effects);
                node.take_effects(&mut effects);
                for effect in effects.drain(..) {
                    match effect {
                        Effect::SendLink { link, mut outgoing } => {
                            let peer = node.links()[link.0 as usize].peer;
                            self.link_bytes += outgoing.bytes.len() as u64;
                            let spare = self.spare.pop().unwrap_or_default();
                            let bytes = std::mem::replace(&mut outgoing.bytes, spare);
                            mail.push((usize::from(peer.0) - 1, bytes));
                            node.on_link_sent(link, outgoing);
                        }
                        Effect::SendClient { client, outgoing } => {
                            let frame =
                                FrameView::new_checked(&outgoing.bytes, FRAME_BYTES_MAX).expect("a whole frame");
                            self.acked += u64::from(frame.header.items.get());
                            node.on_client_sent(client, outgoing);
                        }
                        other => drop(other),
                    }
                }
                self.effects = effects;
            }
            if mail.is_empty() {
                break;
            }
            for (to, mut bytes) in mail.drain(..) {
                let frame = FrameView::new_checked(&bytes, FRAME_BYTES_MAX).expect("a whole frame");
                let sender = frame.header.sender_node.get();
                let node = &mut self.nodes[to];
                let back = node
                    .links()
                    .iter()
                    .find(|info| info.peer.0 == sender)
                    .map(|info| info.link);
                node.on_link_frame(NOW, back.expect("a link each way"), &frame);
                bytes.clear();
                self.spare.push(bytes);
            }
        }
    }
}

/// CPU time of this thread: what other processes do on the machine is not core's cost.
fn cpu_time() -> std::time::Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let part = |value: i64| u64::try_from(value).expect("CPU time is not negative");
    std::time::Duration::from_secs(part(time.tv_sec)) + std::time::Duration::from_nanos(part(time.tv_nsec))
}

/// A number from the environment, if it stands there.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// All batch sizes, or the one that `WATERPARK_BATCH` names, to be profiled alone.
fn batches() -> Vec<u64> {
    match number("WATERPARK_BATCH") {
        Some(batch) => vec![batch],
        None => vec![64, 512, 2_048, 8_192, 16_384],
    }
}

fn main() {
    let actors = number("WATERPARK_ACTORS").unwrap_or(ACTORS).max(1);
    println!("core alone, 128-byte messages, {actors} actors, {GROUPS} groups, five copies in one thread");
    println!(
        "{:>8} {:>10} {:>12} {:>14}",
        "batch", "messages", "ns/message", "link B/message"
    );
    for batch in batches() {
        let begun = Instant::now();
        let mut bench = Bench::new(actors);
        // Warm: every actor exists, buffers have grown.
        bench.everyone = Some(0);
        while bench.everyone.is_some_and(|next| next < actors) {
            let frames = bench.frames(16_384);
            bench.request(&frames);
        }
        bench.everyone = None;
        let messages = if batches().len() == 1 { 3_000_000 } else { 750_000 };
        let rounds = (messages / batch).min(3_000);
        eprintln!("warm after {:?}", begun.elapsed());
        let (acked, link_bytes) = (bench.acked, bench.link_bytes);
        let mut spent = std::time::Duration::ZERO;
        for _ in 0..rounds {
            let frames = bench.frames(batch);
            let begin = cpu_time();
            bench.request(&frames);
            spent += cpu_time() - begin;
        }
        let messages = bench.acked - acked;
        assert_eq!(messages, rounds * batch, "every message is acked");
        let per = |sum: u128| sum / u128::from(messages);
        let bytes = u128::from(bench.link_bytes - link_bytes);
        println!(
            "{batch:>8} {messages:>10} {:>12} {:>14}",
            per(spent.as_nanos()),
            per(bytes)
        );
    }
}
