//! The cluster: nodes of real shards, their links and clients, on virtual time from one seed.
//!
//! A turn of a shard is one input; its effects become events of the queue. Frames travel as bytes. A link is one epoch after another; what
//! an old epoch had under way may arrive during the next.

use std::collections::{BTreeMap, BinaryHeap};

use waterpark_core::config::{Limits, Settings};
use waterpark_core::effects::{Crossing, Effect, Happened};
use waterpark_core::ids::{ClientId, GroupId, Incarnation, LinkId, NodeId, Seq, ShardId};
use waterpark_core::memory::{Memory, Outgoing};
use waterpark_core::rules::Rules;
use waterpark_core::time::{MS, Now};
use waterpark_core::{Counters, PeerUp, Shard};
use waterpark_handlers::Kinds;
use waterpark_ring::{ClusterId, Key, NodeSpec, Topology, TopologySpec};
use waterpark_wire::frame::{FLAG_COMPRESSED, FRAME_BYTES_MAX, FrameAddress, FrameBuilder};
use waterpark_wire::framer::Framer;
use waterpark_wire::reply::{Outcome, ReplyView};
use waterpark_wire::run::{DROPPED, EntryView};
use waterpark_wire::{FrameKind, FrameView, ItemKind};

use crate::client::{ATTEMPTS_MAX, RequestId, SimClient, TIMEOUT_MS};
use crate::faults::Faults;
use crate::ledger::{Ledger, Token, Violation};
use crate::memory::HeapMemory;
use crate::retention::{self, RULED, Wrong};
use crate::rng::Rng;

/// Virtual time begins at this wall clock, ms since the epoch.
const WALL_MS: u64 = 1_700_000_000_000;
/// How long one attempt is waited for before the next, in ms.
const AGAIN_MS: u64 = 300;
/// How long a cut link stays down before it is dialled again, in ms.
const REDIAL_MS: u64 = 30;

type SimShard<R> = Shard<R, HeapMemory, Kinds>;

struct Node<R: Rules> {
    shards: Vec<SimShard<R>>,
    incarnation: Incarnation,
    restarts: u32,
    paused_until_ns: u64,
    clock_ms: u64,
    down: bool,
}

/// One epoch of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Epoch {
    number: u32,
    incarnations: [Incarnation; 2],
}

/// A link between two nodes, the smaller index first, and its number.
type LinkKey = (usize, usize, u16);

enum Event {
    Frame {
        node: usize,
        link: LinkKey,
        bytes: Vec<u8>,
    },
    LinkSent {
        node: usize,
        incarnation: Incarnation,
        shard: usize,
        link: LinkId,
        epoch: u32,
        outgoing: Outgoing,
    },
    FromClient {
        node: usize,
        shard: usize,
        client: u32,
        bytes: Vec<u8>,
    },
    ToClient {
        client: u32,
        bytes: Vec<u8>,
    },
    ClientSent {
        node: usize,
        incarnation: Incarnation,
        shard: usize,
        client: ClientId,
        outgoing: Outgoing,
    },
    Deliver {
        node: usize,
        incarnation: Incarnation,
        shard: usize,
        crossing: Crossing,
    },
    Tick {
        node: usize,
        incarnation: Incarnation,
        shard: usize,
    },
    Down {
        node: usize,
        link: LinkKey,
        epoch: u32,
    },
    Dial {
        link: LinkKey,
    },
    Start {
        node: usize,
    },
    Step {
        client: u32,
    },
    Fault,
}

struct Scheduled(u64, u64, Event);

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.0, other.1).cmp(&(self.0, self.1))
    }
}

/// What one run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What was broken.
    pub violations: Vec<Violation>,
    /// Requests acked.
    pub acked: u64,
    /// Requests that clients opened.
    pub opened: u64,
    /// Replies by outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Faults by name, and rare things that happened.
    pub sometimes: BTreeMap<&'static str, u64>,
    /// The trace: one word over every input and effect, in order.
    pub trace: u64,
    /// Virtual milliseconds.
    pub virtual_ms: u64,
}

/// A simulated cluster under rules `R`.
pub struct Cluster<R: Rules> {
    topology: Topology,
    nodes: Vec<Node<R>>,
    links: BTreeMap<LinkKey, Option<Epoch>>,
    epochs: u32,
    queue: BinaryHeap<Scheduled>,
    scheduled: u64,
    now_ns: u64,
    rng: Rng,
    faults: Faults,
    faulty: bool,
    clients: Vec<SimClient>,
    keys: Vec<Key>,
    /// Requests that clients may still open.
    left: u64,
    limits: Limits,
    ledger: Ledger,
    /// The message and session of each request, for comparing entries.
    sent: BTreeMap<RequestId, Vec<u8>>,
    report: Report,
    effects: Vec<Effect>,
}

impl<R: Rules> Cluster<R> {
    /// A cluster of these nodes (`DC-AZ-N`), each with the shards given, its clients and actors; nothing has happened yet.
    ///
    /// # Panics
    /// If the names make no topology.
    #[must_use]
    pub fn new(seed: u64, names: &[&str], shards: &[u16], faults: Faults, requests: u64) -> Cluster<R> {
        let mut rng = Rng::new(seed);
        let specs = (1u16..).zip(names).zip(shards).map(|((id, name), shards)| NodeSpec {
            id: NodeId(id),
            name: (*name).to_owned(),
            host: "127.0.0.1".to_owned(),
            port: 7000 + 256 * (id - 1),
            shards: *shards,
        });
        let mut spec = TopologySpec::new(ClusterId([3; 16]), specs.collect());
        spec.groups = 64;
        let topology = Topology::new(spec).expect("the names make a topology");
        let mut links = BTreeMap::new();
        for a in 0..names.len() {
            for b in a + 1..names.len() {
                for number in 0..shards[a].max(shards[b]) {
                    links.insert((a, b, number), None);
                }
            }
        }
        let clients = 3 + rng.below(4);
        let birth_s = WALL_MS / 1000;
        let clients = (0..clients).map(|number| {
            let ordered = rng.below(3) == 0;
            SimClient::new(u32::try_from(number).expect("few"), birth_s, ordered, &mut rng)
        });
        let clients: Vec<SimClient> = clients.collect();
        let kinds = ["record", "register", "pool"];
        let keys = (0..12 + RULED.len()).map(|id| {
            // One of each kind that keeps less than everything.
            let ruled = RULED.get(id).map(|(kind, _)| *kind);
            let kind = ruled.unwrap_or_else(|| kinds[rng.index(kinds.len())]);
            Key::new(kind, &[("id", format!("{id}").as_bytes())]).expect("a valid key")
        });
        let keys: Vec<Key> = keys.collect();
        // Logs are short here: sweeps come after little, and a portion is shorter than some of them.
        let limits = Limits {
            sweep_bytes_min: 256 + rng.below(4_096),
            sweep_ms: 100 + rng.below(400),
            sweep_portion_bytes: 512 + rng.below(8_192),
            ..Limits::default()
        };
        let mut cluster = Cluster {
            topology,
            nodes: Vec::new(),
            links,
            epochs: 0,
            queue: BinaryHeap::new(),
            scheduled: 0,
            now_ns: 0,
            faulty: true,
            clients,
            keys,
            left: requests,
            limits,
            ledger: Ledger::default(),
            sent: BTreeMap::new(),
            report: Report::default(),
            effects: Vec::new(),
            faults,
            rng,
        };
        for node in 0..names.len() {
            let clock_ms = cluster.rng.below(cluster.faults.clock_ms + 1);
            let incarnation = Incarnation(1 << 16);
            cluster.nodes.push(Node {
                shards: Vec::new(),
                incarnation,
                restarts: 0,
                paused_until_ns: 0,
                clock_ms,
                down: true,
            });
            let at = cluster.rng.below(200) * MS;
            cluster.schedule(at, Event::Start { node });
        }
        for client in 0..cluster.clients.len() {
            let client = u32::try_from(client).expect("few");
            cluster.schedule(300 * MS, Event::Step { client });
        }
        cluster.schedule(10 * MS, Event::Fault);
        if cluster.faults.restart_at_birth && cluster.faults.restarts > 0 {
            cluster.faults.restarts -= 1;
            let node = cluster.rng.index(names.len());
            let at = cluster.rng.below(260) * MS;
            cluster.schedule(at, Event::Start { node });
        }
        cluster
    }

    fn schedule(&mut self, at_ns: u64, event: Event) {
        self.scheduled += 1;
        self.queue
            .push(Scheduled(at_ns.max(self.now_ns), self.scheduled, event));
    }

    fn happened(&mut self, what: &'static str) {
        *self.report.sometimes.entry(what).or_default() += 1;
    }

    fn trace(&mut self, words: &[u64]) {
        for word in words {
            self.report.trace = (self.report.trace ^ word)
                .wrapping_mul(0x0100_0000_01B3)
                .rotate_left(17);
        }
    }

    fn now(&self, node: usize) -> Now {
        Now {
            monotonic_ns: self.now_ns + 1,
            wall_ms: WALL_MS + self.nodes[node].clock_ms + self.now_ns / MS,
        }
    }

    /// Runs with faults for `faulty_ms`, then without until all clients are done and all is quiet, and checks what must hold.
    #[must_use]
    pub fn run(mut self, faulty_ms: u64) -> Report {
        self.run_until(faulty_ms * MS);
        self.faulty = false;
        self.left = 0;
        for node in &mut self.nodes {
            node.paused_until_ns = 0;
        }
        let heal_ms = u64::from(ATTEMPTS_MAX) * AGAIN_MS + 5_000;
        self.run_until((faulty_ms + heal_ms) * MS);
        self.check_liveness();
        self.run_until((faulty_ms + heal_ms + 6_000) * MS);
        self.check();
        self.report.acked = self.ledger.len() as u64;
        self.report.virtual_ms = self.now_ns / MS;
        self.report.violations.append(&mut self.ledger.violations);
        let counters = self.counters();
        for (name, value) in counters.named() {
            if [
                "repeats",
                "runs_refused",
                "frames_repeated",
                "crossed",
                "resent",
                "links_cut",
                "forwarded",
                "sweeps",
                "swept",
            ]
            .contains(&name)
            {
                *self.report.sometimes.entry(name).or_default() += value;
            }
        }
        self.report
    }

    fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for counters in self.nodes.iter().flat_map(|node| &node.shards).map(Shard::counters) {
            sum.repeats += counters.repeats;
            sum.runs_refused += counters.runs_refused;
            sum.frames_repeated += counters.frames_repeated;
            sum.crossed += counters.crossed;
            sum.resent += counters.resent;
            sum.links_cut += counters.links_cut;
            sum.forwarded += counters.forwarded;
            sum.sweeps += counters.sweeps;
            sum.swept += counters.swept;
        }
        sum
    }

    fn run_until(&mut self, until_ns: u64) {
        while self.queue.peek().is_some_and(|next| next.0 <= until_ns) {
            let Some(Scheduled(at_ns, _, event)) = self.queue.pop() else {
                return;
            };
            self.now_ns = at_ns;
            self.on_event(event);
        }
        self.now_ns = until_ns;
    }

    /// A paused node's events wait until it goes on.
    fn is_paused(&mut self, node: usize, event: Event) -> Option<Event> {
        let until_ns = self.nodes[node].paused_until_ns;
        if until_ns > self.now_ns {
            self.schedule(until_ns, event);
            return None;
        }
        Some(event)
    }

    fn on_event(&mut self, event: Event) {
        let at = match &event {
            Event::Frame { node, .. }
            | Event::LinkSent { node, .. }
            | Event::FromClient { node, .. }
            | Event::ClientSent { node, .. }
            | Event::Deliver { node, .. }
            | Event::Tick { node, .. }
            | Event::Down { node, .. } => Some(*node),
            _ => None,
        };
        let event = match at {
            Some(node) => match self.is_paused(node, event) {
                Some(event) => event,
                None => return,
            },
            None => event,
        };
        match event {
            Event::Frame { node, link, bytes } => self.on_frame(node, link, &bytes),
            Event::LinkSent {
                node,
                incarnation,
                shard,
                link,
                epoch,
                outgoing,
            } => {
                let current = self.epoch_of(node, shard, link);
                if self.nodes[node].incarnation == incarnation && current == Some(epoch) {
                    self.turn(node, shard, |shard, _| shard.on_link_sent(link, outgoing));
                }
            }
            Event::FromClient {
                node,
                shard,
                client,
                bytes,
            } => self.on_from_client(node, shard, client, &bytes),
            Event::ToClient { client, bytes } => self.on_to_client(client, &bytes),
            Event::ClientSent {
                node,
                incarnation,
                shard,
                client,
                outgoing,
            } => {
                if self.nodes[node].incarnation == incarnation {
                    self.turn(node, shard, |shard, _| shard.on_client_sent(client, outgoing));
                }
            }
            Event::Deliver {
                node,
                incarnation,
                shard,
                crossing,
            } => {
                if self.nodes[node].incarnation == incarnation {
                    self.turn(node, shard, |shard, now| shard.on_deliver(now, crossing));
                }
            }
            Event::Tick {
                node,
                incarnation,
                shard,
            } => {
                if self.nodes[node].incarnation == incarnation && !self.nodes[node].down {
                    self.turn(node, shard, Shard::on_tick);
                    self.schedule(
                        self.now_ns + 10 * MS,
                        Event::Tick {
                            node,
                            incarnation,
                            shard,
                        },
                    );
                }
            }
            Event::Down { node, link, epoch } => self.on_down(node, link, epoch),
            Event::Dial { link } => self.on_dial(link),
            Event::Start { node } => self.on_start(node),
            Event::Step { client } => self.on_step(client),
            Event::Fault => self.on_fault(),
        }
    }

    /// One turn of one shard: an input, the end of the turn, and its effects.
    fn turn(&mut self, node: usize, shard: usize, input: impl FnOnce(&mut SimShard<R>, Now)) {
        let now = self.now(node);
        let Some(row) = self.nodes[node].shards.get_mut(shard) else {
            return;
        };
        input(row, now);
        row.on_turn_end(now);
        let mut effects = std::mem::take(&mut self.effects);
        row.take_effects(&mut effects);
        for effect in effects.drain(..) {
            self.on_effect(node, shard, effect);
        }
        self.effects = effects;
    }

    fn on_effect(&mut self, node: usize, shard: usize, effect: Effect) {
        let incarnation = self.nodes[node].incarnation;
        match effect {
            Effect::SendLink { link, outgoing } => {
                let info = self.nodes[node].shards[shard].links()[link.0 as usize];
                let peer = usize::from(info.peer.0) - 1;
                let key = (node.min(peer), node.max(peer), info.number);
                let bytes = self.bytes_of(node, shard, &outgoing);
                self.trace(&[1, node as u64, peer as u64, bytes.len() as u64, checksum(&bytes)]);
                self.send(
                    |bytes| Event::Frame {
                        node: peer,
                        link: key,
                        bytes,
                    },
                    bytes,
                );
                if let Some(epoch) = self.links[&key] {
                    let epoch = epoch.number;
                    let sent = Event::LinkSent {
                        node,
                        incarnation,
                        shard,
                        link,
                        epoch,
                        outgoing,
                    };
                    self.schedule(self.now_ns + 20_000, sent);
                }
            }
            Effect::SendClient { client, outgoing } => {
                let bytes = self.bytes_of(node, shard, &outgoing);
                let number = u32::try_from(client.0).expect("few");
                self.trace(&[2, node as u64, client.0, checksum(&bytes)]);
                self.send(|bytes| Event::ToClient { client: number, bytes }, bytes);
                self.schedule(
                    self.now_ns + 20_000,
                    Event::ClientSent {
                        node,
                        incarnation,
                        shard,
                        client,
                        outgoing,
                    },
                );
            }
            Effect::CutLink { link, .. } => {
                let info = self.nodes[node].shards[shard].links()[link.0 as usize];
                let peer = usize::from(info.peer.0) - 1;
                self.cut((node.min(peer), node.max(peer), info.number));
            }
            Effect::CutClient { .. } => self.happened("client cut"),
            Effect::Deliver { shard, crossing } => {
                let event = Event::Deliver {
                    node,
                    incarnation,
                    shard: usize::from(shard.0),
                    crossing,
                };
                self.schedule(self.now_ns + 1_000, event);
            }
            Effect::Event(happened) => self.on_happened(happened),
        }
    }

    fn on_happened(&mut self, happened: Happened) {
        match happened {
            Happened::GroupOpened { .. } => self.happened("group opened"),
            Happened::Out { .. } => self.happened("process out"),
            Happened::PeerOut { .. } => self.happened("peer out"),
            Happened::BirthRefused { .. } => self.happened("birth refused"),
            Happened::Quarantined { group } => self.report.violations.push(Violation::Quarantined(group)),
        }
    }

    fn bytes_of(&self, node: usize, shard: usize, outgoing: &Outgoing) -> Vec<u8> {
        let memory = self.nodes[node].shards[shard].memory();
        let mut bytes = Vec::with_capacity(outgoing.len());
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

    /// Bytes on their way, with what the network does to them.
    fn send(&mut self, event: impl Fn(Vec<u8>) -> Event, bytes: Vec<u8>) {
        let delay_ns = self.faults.delay_us * 1_000;
        let copies = if !self.faulty {
            1
        } else if self.rng.ppm(self.faults.loss_ppm) {
            self.happened("frame lost");
            0
        } else if self.rng.ppm(self.faults.repeat_ppm) {
            self.happened("frame repeated");
            2
        } else {
            1
        };
        for _ in 0..copies {
            let mut at = self.now_ns + delay_ns + self.rng.below(20_000);
            if self.faulty && self.rng.ppm(self.faults.spike_ppm) {
                self.happened("frame delayed");
                at += self.rng.below(self.faults.spike_ms * MS);
            }
            self.schedule(at, event(bytes.clone()));
        }
    }

    fn link_id(&self, node: usize, link: LinkKey) -> Option<(usize, LinkId)> {
        let peer = if link.0 == node { link.1 } else { link.0 };
        let shards = self.nodes[node].shards.len();
        let shard = usize::from(link.2).checked_rem(shards)?;
        let infos = self.nodes[node].shards[shard].links();
        let info = infos
            .iter()
            .find(|info| usize::from(info.peer.0) == peer + 1 && info.number == link.2)?;
        Some((shard, info.link))
    }

    fn epoch_of(&self, node: usize, shard: usize, link: LinkId) -> Option<u32> {
        let info = self.nodes[node].shards.get(shard)?.links().get(link.0 as usize)?;
        let peer = usize::from(info.peer.0) - 1;
        self.links[&(node.min(peer), node.max(peer), info.number)].map(|epoch| epoch.number)
    }

    fn on_frame(&mut self, node: usize, link: LinkKey, bytes: &[u8]) {
        let mut framer = Framer::new(FRAME_BYTES_MAX);
        let whole = framer.feed(bytes, false, |frame| {
            self.on_whole_frame(node, link, &frame);
            Ok(())
        });
        whole.expect("shards send whole frames");
    }

    fn on_whole_frame(&mut self, node: usize, link: LinkKey, frame: &FrameView<'_>) {
        let Some((shard, id)) = self.link_id(node, link) else {
            return;
        };
        // A connection carries one process to one process: what was sent to another ended with it.
        let header = frame.header;
        if header.receiver_incarnation.get() != self.nodes[node].incarnation.0 {
            return;
        }
        let peer = if link.0 == node { link.1 } else { link.0 };
        if header.sender_incarnation.get() != self.nodes[peer].incarnation.0 {
            self.happened("frame of a dead process");
            return;
        }
        if header.flags.get() & FLAG_COMPRESSED != 0 {
            self.happened("frame folded");
        }
        self.turn(node, shard, |shard, now| shard.on_link_frame(now, id, frame));
    }

    fn cut(&mut self, link: LinkKey) {
        let Some(epoch) = self.links.get_mut(&link).and_then(Option::take) else {
            return;
        };
        self.happened("link cut");
        let delay_ns = self.faults.delay_us * 1_000;
        for node in [link.0, link.1] {
            self.schedule(
                self.now_ns + delay_ns,
                Event::Down {
                    node,
                    link,
                    epoch: epoch.number,
                },
            );
        }
        self.schedule(self.now_ns + delay_ns + REDIAL_MS * MS, Event::Dial { link });
    }

    fn on_down(&mut self, node: usize, link: LinkKey, epoch: u32) {
        let newer = self.links[&link].is_some_and(|current| current.number > epoch);
        if let (Some((shard, id)), false) = (self.link_id(node, link), newer) {
            self.turn(node, shard, |shard, _| shard.on_link_down(id));
        }
    }

    fn on_dial(&mut self, link: LinkKey) {
        let (a, b) = (link.0, link.1);
        let now_ns = self.now_ns;
        let can = |node: &Node<R>| !node.down && node.paused_until_ns <= now_ns;
        if self.links[&link].is_some() {
            return;
        }
        if !can(&self.nodes[a]) || !can(&self.nodes[b]) {
            self.schedule(now_ns + REDIAL_MS * MS, Event::Dial { link });
            return;
        }
        self.epochs += 1;
        let incarnations = [self.nodes[a].incarnation, self.nodes[b].incarnation];
        self.links.insert(
            link,
            Some(Epoch {
                number: self.epochs,
                incarnations,
            }),
        );
        let epoch = self.epochs;
        self.trace(&[3, a as u64, b as u64, u64::from(epoch)]);
        for (node, peer) in [(a, 1), (b, 0)] {
            let out = self.nodes[if node == a { b } else { a }]
                .shards
                .iter()
                .any(Shard::is_out);
            if let Some((shard, id)) = self.link_id(node, link) {
                let up = PeerUp {
                    incarnation: incarnations[peer],
                    epoch,
                    out,
                    // Half of the links, so that each seed has both.
                    lz4: (a + b) % 2 == 1,
                };
                self.turn(node, shard, |shard, now| shard.on_link_up(now, id, up));
            }
        }
    }

    /// A node starts, or starts anew with nothing.
    fn on_start(&mut self, node: usize) {
        if !self.nodes[node].down {
            self.nodes[node].restarts += 1;
            self.happened("node restarted");
        }
        let restarts = u64::from(self.nodes[node].restarts);
        let incarnation = Incarnation((1 + restarts) << 16 | self.rng.below(1 << 16));
        self.nodes[node].incarnation = incarnation;
        self.nodes[node].down = false;
        self.nodes[node].paused_until_ns = 0;
        self.trace(&[4, node as u64, incarnation.0]);
        let names: Vec<String> = {
            let mut names = vec![String::new(); self.nodes.len() + 1];
            for spec in self.topology.nodes() {
                names[usize::from(spec.id.0)].clone_from(&spec.name);
            }
            names
        };
        let mut shards = vec![0; self.nodes.len() + 1];
        for spec in self.topology.nodes() {
            shards[usize::from(spec.id.0)] = spec.shards;
        }
        let id = NodeId(u16::try_from(node + 1).expect("few"));
        let own = shards[node + 1];
        let make = |shard: u16| {
            let settings = Settings {
                node: id,
                incarnation,
                shard: ShardId(shard),
                shards: shards.clone(),
                names: names.clone(),
                driver: "simulated".to_owned(),
                limits: self.limits.clone(),
            };
            let placement = self.topology.birth().clone();
            Shard::new(
                settings,
                self.topology.clone(),
                placement,
                HeapMemory::new(64 << 20),
                retention::kinds(),
            )
        };
        self.nodes[node].shards = (0..own).map(make).collect();
        for shard in 0..usize::from(own) {
            self.schedule(
                self.now_ns + 1 + self.now_ns % 7,
                Event::Tick {
                    node,
                    incarnation,
                    shard,
                },
            );
        }
        let keys: Vec<LinkKey> = self
            .links
            .keys()
            .filter(|key| key.0 == node || key.1 == node)
            .copied()
            .collect();
        for link in keys {
            // Its sockets closed with the process: the other side hears it, and dials again.
            if let Some(epoch) = self.links.get_mut(&link).and_then(Option::take) {
                let peer = if link.0 == node { link.1 } else { link.0 };
                self.schedule(
                    self.now_ns + 1_000,
                    Event::Down {
                        node: peer,
                        link,
                        epoch: epoch.number,
                    },
                );
            }
            let at = self.now_ns + self.rng.below(40) * MS + 2_000;
            self.schedule(at, Event::Dial { link });
        }
    }

    fn on_fault(&mut self) {
        if !self.faulty {
            return;
        }
        self.schedule(self.now_ns + 50 * MS, Event::Fault);
        // Per virtual second there are twenty of these.
        if self.rng.below(20) < self.faults.cuts {
            let keys: Vec<LinkKey> = self.links.keys().copied().collect();
            let link = keys[self.rng.index(keys.len())];
            self.cut(link);
        }
        if self.rng.below(20) < self.faults.pauses {
            let node = self.rng.index(self.nodes.len());
            self.nodes[node].paused_until_ns = self.now_ns + self.rng.below(self.faults.pause_ms) * MS;
            self.happened("node paused");
        }
        if self.faults.restarts > 0 && self.rng.below(40) == 0 {
            self.faults.restarts -= 1;
            let node = self.rng.index(self.nodes.len());
            self.on_start(node);
        }
    }

    /// A client sends again what is due, and opens something new.
    fn on_step(&mut self, client: u32) {
        let pause_ms = 1 + self.rng.below(20);
        self.schedule(self.now_ns + pause_ms * MS, Event::Step { client });
        let index = client as usize;
        if self.left > 0 && self.clients[index].open.len() < 24 {
            self.left -= 1;
            let key = self.keys[self.rng.index(self.keys.len())].clone();
            let message = self.message(&key);
            let group = self.topology.locate(key.as_ref()).group;
            let id = self.clients[index].open(group, key, message.clone());
            self.report.opened += 1;
            self.sent.insert(id, message);
        }
        let now_ns = self.now_ns;
        let due: Vec<_> = self.clients[index]
            .open
            .iter()
            .filter(|(_, open)| open.again_ns <= now_ns)
            .map(|(at, _)| *at)
            .collect();
        for (group, number) in due {
            self.attempt(RequestId { client, group, number });
        }
    }

    fn message(&mut self, key: &Key) -> Vec<u8> {
        let number = self.rng.below(40);
        let text = match (key.as_ref().kind(), self.rng.below(3)) {
            (b"register", 0) => "get".to_owned(),
            (b"register", 1) => format!("cas {number} v{number}"),
            (b"register", _) => format!("put v{number}"),
            (b"pool", 0) => format!("give {number}"),
            (b"pool", _) => "take".to_owned(),
            (b"record", _) => "x".repeat(self.rng.index(300) + 1),
            _ => "y".repeat(self.rng.index(2_000) + 1),
        };
        text.into_bytes()
    }

    fn attempt(&mut self, id: RequestId) {
        let index = id.client as usize;
        let Some(open) = self.clients[index].open.get_mut(&(id.group, id.number)) else {
            return;
        };
        if open.attempts >= ATTEMPTS_MAX {
            // Given up for good: the mark passes it, and what became of it stays unknown.
            self.clients[index].open.remove(&(id.group, id.number));
            self.happened("given up");
            return;
        }
        open.again_ns = self.now_ns + AGAIN_MS * MS;
        let mut bytes = Vec::new();
        let mut frame = FrameBuilder::begin(&mut bytes);
        if !self.clients[index].item(id, &mut bytes) {
            return;
        }
        frame.pushed();
        let address = FrameAddress {
            kind: FrameKind::Client,
            sender: (0, 0),
            receiver: (0, 0),
            number: 0,
            epoch: 0,
        };
        frame.finish(&mut bytes, &address);
        let node = self.rng.index(self.nodes.len());
        let shards = self.nodes[node].shards.len().max(1);
        let shard = self.rng.index(shards);
        self.trace(&[5, u64::from(id.client), node as u64, checksum(&bytes)]);
        self.send(
            |bytes| Event::FromClient {
                node,
                shard,
                client: id.client,
                bytes,
            },
            bytes.clone(),
        );
        if self.faulty && self.rng.ppm(20_000) {
            // A copy that comes very late.
            self.happened("late request");
            let at = self.now_ns + self.rng.below(3_000) * MS;
            self.schedule(
                at,
                Event::FromClient {
                    node,
                    shard,
                    client: id.client,
                    bytes,
                },
            );
        }
    }

    fn on_from_client(&mut self, node: usize, shard: usize, client: u32, bytes: &[u8]) {
        let frame = FrameView::new_checked(bytes, FRAME_BYTES_MAX).expect("clients send whole frames");
        let id = ClientId(u64::from(client));
        self.turn(node, shard, |shard, now| {
            shard.ensure_client(id);
            shard.on_client_frame(now, id, &frame);
        });
    }

    fn on_to_client(&mut self, client: u32, bytes: &[u8]) {
        let frame = FrameView::new_checked(bytes, FRAME_BYTES_MAX).expect("shards send whole frames");
        for item in frame.items().filter(|item| item.kind() == ItemKind::Reply) {
            let reply = ReplyView::new_checked(&item).expect("shards send whole replies");
            let correlation = reply.header.correlation.get();
            let group = GroupId(u32::try_from(correlation >> 32).expect("32 bits"));
            let number = u32::try_from(correlation & u64::from(u32::MAX)).expect("32 bits");
            let id = RequestId { client, group, number };
            *self.report.outcomes.entry(reply.outcome).or_default() += 1;
            if reply.outcome.is_logged() {
                let token = Token {
                    group,
                    view: reply.header.view.get(),
                    seq: reply.header.seq.get(),
                };
                self.check_ack(token);
                self.ledger.on_ack(id, token, reply.outcome, reply.body);
                self.clients[client as usize].open.remove(&(group, number));
            } else if reply.outcome == Outcome::SessionExpired {
                self.clients[client as usize].open.remove(&(group, number));
            }
        }
    }

    /// The entry of a token on a node, as bytes.
    fn entry(&self, node: usize, token: Token) -> Option<&[u8]> {
        let shards = self.nodes[node].shards.len();
        let shard = self.nodes[node]
            .shards
            .get((token.group.0 as usize).checked_rem(shards)?)?;
        shard.entry_bytes(token.group, Seq(token.seq))
    }

    /// The members of a group, as node indices.
    fn members(&self, group: GroupId) -> Vec<usize> {
        self.topology
            .birth()
            .members(group)
            .nodes()
            .iter()
            .map(|node| usize::from(node.0) - 1)
            .collect()
    }

    /// When an ack arrives, a quorum holds its entry in two data centres; what restarted since may have held it.
    fn check_ack(&mut self, token: Token) {
        let members = self.members(token.group);
        let quorum = members.len() / 2 + 1;
        let may_hold = |node: &usize| self.entry(*node, token).is_some() || self.nodes[*node].restarts > 0;
        let holders: Vec<usize> = members.iter().copied().filter(may_hold).collect();
        if holders.len() < quorum {
            self.ledger
                .violations
                .push(Violation::AckedTooEarly(token, holders.len()));
        }
        // Where a quorum fits into one data centre, as in a cluster of three, it may lie there.
        let fellows = |node: &usize| {
            members
                .iter()
                .filter(|other| self.dc(**other) == self.dc(*node))
                .count()
        };
        let spread = members.iter().map(fellows).max().is_some_and(|most| most < quorum);
        if spread && holders.len() >= quorum && holders.iter().all(|node| self.dc(*node) == self.dc(holders[0])) {
            self.ledger.violations.push(Violation::OneDataCentre(token));
        }
    }

    fn name(&self, node: usize) -> &str {
        let spec = self
            .topology
            .nodes()
            .iter()
            .find(|spec| usize::from(spec.id.0) == node + 1);
        &spec.expect("every node has its specification").name
    }

    fn dc(&self, node: usize) -> &str {
        self.name(node).split('-').next().unwrap_or_default()
    }

    /// Every group whose Config can still commit serves a new request.
    fn check_liveness(&mut self) {
        let mut probes = Vec::new();
        for key in self.keys.clone() {
            let group = self.topology.locate(key.as_ref()).group;
            let members = self.members(group);
            let whole = members.iter().filter(|node| self.nodes[**node].restarts == 0).count();
            if self.nodes[members[0]].restarts > 0 || whole < members.len() / 2 + 1 {
                continue;
            }
            // Birth needs all members as they were met: a restart may have come first, and then the group is never born.
            if whole < members.len() && !self.is_open(members[0], group) {
                continue;
            }
            let message = self.message(&key);
            let id = self.clients[0].open(group, key, message.clone());
            self.sent.insert(id, message);
            probes.push(id);
        }
        let until_ns = self.now_ns + 5_000 * MS;
        self.run_until(until_ns);
        for id in probes {
            if self.clients[0].open.contains_key(&(id.group, id.number)) {
                self.report.violations.push(Violation::Stuck(id.group));
            }
        }
    }

    fn is_open(&self, node: usize, group: GroupId) -> bool {
        let bodies = self.nodes[node].shards.iter().flat_map(Shard::group_bodies);
        bodies
            .filter(|body| body.group == group.0)
            .any(|body| body.role == "writer")
    }

    /// What must hold when all is quiet: every acked entry on every member that lived, the same bytes everywhere, each request once.
    fn check(&mut self) {
        let mut violations = Vec::new();
        for (token, id) in self.ledger.acked() {
            let message = &self.sent[&id];
            for node in self.members(token.group) {
                if self.nodes[node].restarts > 0 {
                    continue;
                }
                match self.entry(node, token) {
                    None if self.nodes[self.members(token.group)[0]].restarts > 0 => {}
                    None => violations.push(Violation::Lost(token, self.name(node).to_owned())),
                    Some(bytes) => {
                        // Whether it may have lost its message is judged with its group.
                        let same = EntryView::new_checked(bytes).is_ok_and(|(entry, _)| {
                            let is_dropped = entry.header.flags.get() & DROPPED != 0;
                            let length = entry.header.message_length.get() as usize;
                            entry.message == message.as_slice() || is_dropped && length == message.len()
                        });
                        if !same {
                            violations.push(Violation::Changed(token, id));
                        }
                    }
                }
            }
        }
        for group in (0..self.topology.keyspace().groups()).map(GroupId) {
            self.check_group(group, &mut violations);
            self.check_retention(group, &mut violations);
        }
        self.ledger.violations.append(&mut violations);
    }

    /// Each member that lived lost what its log says, and nothing else; those that know of the same commit hold the same bytes.
    fn check_retention(&self, group: GroupId, violations: &mut Vec<Violation>) {
        let mut by_commit: BTreeMap<u64, usize> = BTreeMap::new();
        for node in self.members(group) {
            if self.nodes[node].restarts > 0 {
                continue;
            }
            let rows: Vec<_> = (1..).map_while(|seq| self.row(node, group, seq)).collect();
            let commit = self.commit(node, group);
            for wrong in retention::check(&rows, commit) {
                violations.push(match wrong {
                    Wrong::Kept(seq) => Violation::NotSwept(group, seq),
                    Wrong::Dropped(seq) => Violation::SweptTooMuch(group, seq),
                });
            }
            let other = *by_commit.entry(commit).or_insert(node);
            for seq in 1..=commit {
                let token = Token { group, view: 1, seq };
                if self.entry(node, token) != self.entry(other, token) {
                    violations.push(Violation::Diverged(group, seq));
                }
            }
        }
    }

    fn row(&self, node: usize, group: GroupId, seq: u64) -> Option<retention::Row<'_>> {
        let shards = self.nodes[node].shards.len();
        let shard = self.nodes[node].shards.get((group.0 as usize).checked_rem(shards)?)?;
        let (bytes, time_ms) = shard.entry_and_time(group, Seq(seq))?;
        let (entry, _) = EntryView::new_checked(bytes).ok()?;
        Some((seq, time_ms, entry))
    }

    fn commit(&self, node: usize, group: GroupId) -> u64 {
        let mut bodies = self.nodes[node].shards.iter().flat_map(Shard::group_bodies);
        bodies.find(|body| body.group == group.0).map_or(0, |body| body.commit)
    }

    fn check_group(&self, group: GroupId, violations: &mut Vec<Violation>) {
        let members = self.members(group);
        let mut sessions: BTreeMap<u32, u32> = BTreeMap::new();
        let mut effects: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        for seq in 1.. {
            let token = Token { group, view: 1, seq };
            let lived = members.iter().filter(|node| self.nodes[**node].restarts == 0);
            let mut entries = lived.filter_map(|node| self.entry(*node, token));
            let Some(first) = entries.next() else { return };
            if entries.any(|other| !retention::same_entry(first, other)) {
                violations.push(Violation::Diverged(group, seq));
            }
            let Ok((entry, _)) = EntryView::new_checked(first) else {
                violations.push(Violation::Diverged(group, seq));
                return;
            };
            let lane = entry.header.lane.get();
            if let Some(session) = entry.session {
                let client = self.clients.iter().position(|client| client.session().0 == *session);
                sessions.insert(lane, u32::try_from(client.unwrap_or(usize::MAX)).unwrap_or(u32::MAX));
            }
            let Some(client) = sessions.get(&lane) else { continue };
            let number = entry.header.number.get();
            if let Some(earlier) = effects.insert((*client, number), seq) {
                let id = RequestId {
                    client: *client,
                    group,
                    number,
                };
                violations.push(Violation::TookEffectTwice(id, earlier, seq));
            }
        }
    }
}

/// Attempts outlive the time that a writer is given for one.
const _: () = assert!(ATTEMPTS_MAX as u64 * AGAIN_MS > TIMEOUT_MS as u64);

fn checksum(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(bytes.len() as u64, |sum, chunk| {
        let word = chunk.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        (sum ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23)
    })
}
