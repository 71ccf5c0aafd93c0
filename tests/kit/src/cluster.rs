//! The cluster: nodes of real shards, their links and clients, on virtual time from one seed.
//!
//! A turn of a shard is one input; its effects become events of the queue. Frames travel as bytes. A link is one epoch after another; what
//! an old epoch had under way may arrive during the next.

mod checks;
mod clients;
mod contradicted;
mod controllers;
mod event;
mod joins;
mod links;
mod losses;
mod network;
mod nodes;
mod probes;
mod readers;
mod seats;
mod splits;
mod steward;
mod told;
mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use waterpark_core::Shard;
use waterpark_core::config::{Births, Limits};
use waterpark_core::controller::Doing;
use waterpark_core::effects::Effect;
use waterpark_core::ids::{Incarnation, NodeId};
use waterpark_core::lane::{SESSION_AHEAD_MS, SESSION_MS};
use waterpark_core::rules::Rules;
use waterpark_core::time::{MS, Now};
use waterpark_core::topology_log::consensus::VoterId;
use waterpark_ring::{ClusterId, Key, NodeSpec, Topology, TopologySpec};
use waterpark_wire::request::ReadLevel;

use crate::behaviour::{FRAGILE, SimKinds};
use crate::client::{ATTEMPTS_MAX, SimClient, TIMEOUT_MS};
use crate::faults::Faults;
use crate::history::History;
use crate::ledger::{Ledger, Violation};
use crate::memory::HeapMemory;
use crate::reach::{Fault, Reached};
use crate::retention::{self, RULED};
use crate::rng::Rng;
use contradicted::Contradicted;
use controllers::Desk;
use event::{Event, Pace, Queue};
use links::Links;
use losses::Losses;
use probes::Probes;
use readers::Readers;
use splits::Cuts;
use steward::Steward;
use watch::Watch;

pub use probes::Probe;
pub use splits::Manner;
pub use told::{Answered, Told};

/// Virtual time begins at this wall clock, ms since the epoch.
const WALL_MS: u64 = 1_700_000_000_000;
/// How long one attempt is waited for before the next, in ms.
const AGAIN_MS: u64 = 300;
/// Every request ends within this once faults have stopped, in ms.
const ENDS_MS: u64 = 8_000;
/// How long a cut link stays down before it is dialled again, in ms.
const REDIAL_MS: u64 = 30;
/// A sweep that was decided at the very end is done within so many ms.
const SWEEP_MS: u64 = 2_000;
/// The longest message that nodes take, in bytes.
const MESSAGE_BYTES_MAX: usize = 2_048;
/// Bytes that may wait for a client where some are slow: a few replies.
const BACKLOG_BYTES_SLOW: usize = 400;

type SimShard<R> = Shard<R, HeapMemory, SimKinds>;

struct Node<R: Rules> {
    shards: Vec<SimShard<R>>,
    incarnation: Incarnation,
    restarts: u32,
    paused_until_ns: u64,
    /// What came while it stood still, in order.
    held: Vec<Event>,
    clock_ms: u64,
    down: bool,
    /// Entries of the topology log that it has learned.
    learned: usize,
    /// What each of its shards has not learned of them yet, in order.
    unlearned: Vec<VecDeque<seats::Lesson>>,
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
    /// Reads answered, by level.
    pub reads: [u64; ReadLevel::ALL.len()],
    /// What it reached, how often; what it did not is not in it.
    pub reached: BTreeMap<Reached, u64>,
    /// The trace: one word over every input and effect, in order.
    pub trace: u64,
    /// Virtual milliseconds.
    pub virtual_ms: u64,
}

/// How large a cluster is beside its nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Groups.
    pub groups: u32,
    /// Actors.
    pub actors: usize,
    /// Clients; `None` for three to six, as the seed has it.
    pub clients: Option<u64>,
}

impl Size {
    /// A few actors in a few groups.
    pub const SMALL: Size = Size {
        groups: 64,
        actors: 13 + RULED.len(),
        clients: None,
    };
}

/// A simulated cluster under rules `R`.
pub struct Cluster<R: Rules> {
    births: Births,
    kinds: SimKinds,
    /// Nodes that a test ended: they come back when it says so.
    away: BTreeSet<usize>,
    steward: Steward,
    losses: Losses,
    contradicted: Contradicted,
    /// Controllers by node, where they keep the topology log; none where the steward does, or nobody.
    desks: Vec<Desk<R>>,
    /// Who votes, where controllers keep the topology log.
    voters: Vec<NodeId>,
    /// The voters whose files were begun, each with its node.
    born: BTreeMap<VoterId, usize>,
    /// Voters that lost theirs.
    wiped: u64,
    topology: Topology,
    /// What controllers know of nodes: the topology, and voters apart if there are any.
    governed: Topology,
    /// The nodes that join, by their place among the nodes.
    joining: BTreeMap<usize, NodeSpec>,
    nodes: Vec<Node<R>>,
    links: Links,
    epochs: u32,
    queue: Queue,
    now_ns: u64,
    rng: Rng,
    /// What is drawn about seats, apart: a run in which none changes is as it was before there were any.
    seat_rng: Rng,
    faults: Faults,
    faulty: bool,
    /// Until when a node does not hear another: by who speaks, then by who would hear.
    silent_until_ns: Vec<Vec<u64>>,
    cuts: Cuts,
    /// Nobody is paused from then on, unless somebody is told to pause again.
    pauses_until_ns: u64,
    probes: Probes,
    clients: Vec<SimClient>,
    /// How many connections of a client to a shard have ended before the present one.
    connections: BTreeMap<(u32, usize, usize), u32>,
    keys: Vec<Key>,
    /// Requests that clients may still open.
    left: u64,
    limits: Limits,
    ledger: Ledger,
    readers: Readers,
    /// What each request asked, and when it was answered.
    history: History,
    watch: Watch<R>,
    report: Report,
    effects: Vec<Effect>,
    doing: Vec<Doing>,
}

impl<R: Rules> Cluster<R> {
    /// A cluster of these nodes (`DC-AZ-N`), each with the shards given, its clients and actors; nothing has happened yet.
    ///
    /// # Panics
    /// If the names make no topology.
    #[must_use]
    pub fn new(seed: u64, births: Births, names: &[&str], shards: &[u16], faults: Faults, requests: u64) -> Cluster<R> {
        Cluster::sized(seed, births, Size::SMALL, names, shards, faults, requests)
    }

    /// The same with other numbers of groups, actors and clients.
    ///
    /// # Panics
    /// If the names make no topology of so many groups.
    #[must_use]
    pub fn sized(
        seed: u64,
        births: Births,
        size: Size,
        names: &[&str],
        shards: &[u16],
        faults: Faults,
        requests: u64,
    ) -> Cluster<R> {
        let mut rng = Rng::new(seed);
        let specs = (1u16..).zip(names).zip(shards);
        let specs = specs.map(|((id, name), shards)| node_spec(id, name, *shards)).collect();
        let topology = topology_of(specs, size.groups);
        let mut links = Links::default();
        let numbers = |a: usize, b: usize| (0..shards[a].max(shards[b])).map(move |number| (a, b, number));
        links.add((0..names.len()).flat_map(|a| (a + 1..names.len()).flat_map(move |b| numbers(a, b))));
        let drawn = 3 + rng.below(4);
        let clients = size.clients.unwrap_or(drawn);
        let mut reached = Vec::new();
        let clients = (0..clients).map(|number| {
            let ordered = rng.below(3) == 0;
            let (birth_s, fault) = birth_s(&faults, &mut rng);
            reached.extend(fault);
            SimClient::new(u32::try_from(number).expect("few"), birth_s, ordered, &mut rng)
        });
        let clients: Vec<SimClient> = clients.collect();
        let kinds = ["record", "register", "pool"];
        let keys = (0..size.actors).map(|id| {
            // One of each kind that keeps less than everything, and one whose handler can fail.
            let special = RULED.iter().map(|(kind, _)| *kind).chain([FRAGILE]);
            let ruled = special.clone().nth(id);
            let kind = ruled.unwrap_or_else(|| kinds[rng.index(kinds.len())]);
            Key::new(kind, &[("id", format!("{id}").as_bytes())]).expect("a valid key")
        });
        let keys: Vec<Key> = keys.collect();
        // Logs are short here: sweeps come after little, and a portion is shorter than some of them.
        let defaults = Limits::default();
        // Portions are short too, in some seeds shorter than a run: a stream of its own draws them, so that nothing else is drawn anew.
        let mut drawn = Rng::new(seed ^ 0x9_0471_0475);
        let mut short = |most: u64| 64 + usize::try_from(drawn.below(most)).expect("small");
        let queue = |most: usize| faults.queue.map_or(most, |queue| queue.min(most));
        let limits = Limits {
            message_bytes_max: MESSAGE_BYTES_MAX,
            pending_max: queue(defaults.pending_max),
            waiting_per_group_max: queue(defaults.waiting_per_group_max),
            waiting_per_shard_max: queue(defaults.waiting_per_shard_max).saturating_mul(2),
            held_per_group_max: queue(defaults.held_per_group_max),
            lanes_per_group_max: faults.lanes.unwrap_or(defaults.lanes_per_group_max),
            client_backlog_bytes_max: if faults.slow_ms > 0 {
                BACKLOG_BYTES_SLOW
            } else {
                defaults.client_backlog_bytes_max
            },
            sweep_bytes_min: 256 + rng.below(4_096),
            sweep_ms: 100 + rng.below(400),
            sweep_portion_bytes: 512 + rng.below(8_192),
            transfer_frame_bytes: short(1_024),
            transfer_portion_bytes: short(1_024),
            transfer_window_bytes_max: short(4_096),
            states_kept_bytes_max: short(16_384),
            state_hash_entries: 1 << (seed % 4),
            apply_entries: 16 << (seed % 4),
            ..defaults
        };
        let conditions = [
            (Fault::MemoryTight, faults.has_little_memory()),
            (Fault::LanesTight, faults.lanes.is_some()),
            (Fault::QueuesTight, faults.queue.is_some()),
            (Fault::ClocksApart, faults.clock_ms > 0),
        ];
        reached.extend(
            conditions
                .into_iter()
                .filter(|(_, is_so)| *is_so)
                .map(|(fault, _)| fault),
        );
        let mut cluster = Cluster {
            births,
            kinds: retention::kinds(),
            away: BTreeSet::new(),
            steward: Steward::default(),
            losses: Losses::default(),
            contradicted: Contradicted::new(seed),
            desks: Vec::new(),
            voters: Vec::new(),
            born: BTreeMap::new(),
            wiped: 0,
            governed: topology.clone(),
            joining: BTreeMap::new(),
            topology,
            nodes: Vec::new(),
            links,
            epochs: 0,
            queue: Queue::default(),
            now_ns: 0,
            faulty: true,
            silent_until_ns: vec![vec![0; names.len()]; names.len()],
            cuts: Cuts::default(),
            pauses_until_ns: 0,
            probes: Probes::default(),
            clients,
            connections: BTreeMap::new(),
            keys,
            left: requests,
            limits,
            ledger: Ledger::default(),
            readers: Readers::new(seed),
            history: History::default(),
            watch: Watch::default(),
            report: Report::default(),
            effects: Vec::new(),
            doing: Vec::new(),
            faults,
            rng,
            seat_rng: Rng::new(seed ^ 0x0005_EA70),
        };
        for fault in reached {
            cluster.did(fault);
        }
        for node in 0..names.len() {
            cluster.add_node(node);
        }
        for client in 0..cluster.clients.len() {
            let client = u32::try_from(client).expect("few");
            cluster.schedule(300 * MS, Event::Step { client });
        }
        cluster.schedule(10 * MS, Event::Fault);
        if births == Births::TopologyLog {
            cluster.schedule(5 * MS, Event::Plan);
            cluster.begin_reading();
        }
        if cluster.faults.restart_at_birth && cluster.faults.restarts > 0 {
            cluster.faults.restarts -= 1;
            let node = cluster.rng.index(names.len());
            let at = cluster.rng.below(260) * MS;
            cluster.schedule(at, Event::Start { node });
        }
        cluster
    }

    /// A node of which nothing has started.
    fn push_node(&mut self) {
        let clock_ms = self.rng.below(self.faults.clock_ms + 1);
        self.nodes.push(Node {
            shards: Vec::new(),
            incarnation: Incarnation(1 << 16),
            restarts: 0,
            paused_until_ns: 0,
            held: Vec::new(),
            clock_ms,
            down: true,
            learned: 0,
            unlearned: Vec::new(),
        });
    }

    /// A node that starts soon.
    fn add_node(&mut self, node: usize) {
        self.push_node();
        let at = self.rng.below(200) * MS;
        self.schedule(at, Event::Start { node });
    }

    fn schedule(&mut self, at_ns: u64, event: Event) {
        self.queue.push(at_ns.max(self.now_ns), event);
    }

    fn schedule_after(&mut self, pace: Pace, event: Event) {
        self.queue.push_after(self.now_ns, pace, event);
    }

    fn reach(&mut self, what: Reached) {
        *self.report.reached.entry(what).or_default() += 1;
    }

    fn did(&mut self, fault: Fault) {
        self.reach(Reached::Fault(fault));
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
        self.go_on(faulty_ms);
        self.finish()
    }

    /// Runs for so long, as it is.
    pub fn go_on(&mut self, ms: u64) {
        self.run_until(self.now_ns + ms * MS);
    }

    /// Runs without faults until all clients are done and all is quiet, and checks what must hold.
    #[must_use]
    pub fn finish(mut self) -> Report {
        self.faulty = false;
        self.left = 0;
        if self.watch.stopped_ns > self.now_ns {
            self.note_stop();
        }
        for node in 0..self.nodes.len() {
            self.wake(node);
        }
        let heal_ms = u64::from(ATTEMPTS_MAX) * AGAIN_MS + 5_000;
        let stopped_ns = self.now_ns;
        self.run_until(stopped_ns + heal_ms * MS);
        self.check_liveness();
        self.check_reads_end();
        self.run_until((stopped_ns + (heal_ms + 6_000) * MS).max(self.now_ns));
        // A late message is swept late: what has just been decided gets the time that it takes, and no more.
        let until_ns = self.now_ns + SWEEP_MS * MS;
        let is_sweeping = |node: &Node<R>| node.shards.iter().any(Shard::is_sweeping);
        while self.now_ns < until_ns && self.nodes.iter().any(is_sweeping) {
            self.go_on(10);
        }
        self.judge()
    }

    /// Checks what must hold when all is quiet, as it is now.
    #[must_use]
    pub fn judge(mut self) -> Report {
        self.check();
        self.check_reads();
        self.report.acked = self.ledger.len() as u64;
        self.report.virtual_ms = self.now_ns / MS;
        self.report.violations.append(&mut self.ledger.violations);
        self.count_shards();
        self.report
    }

    fn run_until(&mut self, until_ns: u64) {
        while let Some((at_ns, event)) = self.queue.pop_until(until_ns) {
            self.now_ns = at_ns;
            self.on_event(event);
            self.look();
        }
        self.now_ns = until_ns;
    }

    fn on_event(&mut self, event: Event) {
        // A paused node's events wait until it goes on, and nothing overtakes them.
        if self.pauses_until_ns >= self.now_ns
            && let Some(node) = event.node().map(|node| &mut self.nodes[node])
            && (node.paused_until_ns > self.now_ns || !node.held.is_empty())
        {
            return node.held.push(event);
        }
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
                let present = self.connection(clients::client_of(client), node, shard);
                if self.nodes[node].incarnation == incarnation && client == present {
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
                    self.schedule_after(
                        Pace::Tick,
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
            Event::Start { node } => self.on_start_event(node),
            Event::Join { node } => self.on_join(node),
            Event::Step { client } => self.on_step(client),
            Event::Read { reader } => self.on_read_step(reader),
            Event::GoOn { node } => self.on_go_on(node),
            Event::Fault => self.on_fault(),
            Event::Learn {
                node,
                incarnation,
                upto,
            } => self.on_learn(node, incarnation, upto),
            Event::LearnShard {
                node,
                incarnation,
                shard,
            } => self.on_learn_shard(node, incarnation, shard),
            Event::Proposed { entry } => self.on_proposed(*entry),
            Event::Plan => self.on_plan(),
            Event::Control {
                node,
                incarnation,
                input,
            } => self.on_control(node, incarnation, input),
            Event::ControlTick { node, incarnation } => self.on_control_tick(node, incarnation),
        }
    }
}

fn node_spec(id: u16, name: &str, shards: u16) -> NodeSpec {
    NodeSpec {
        id: NodeId(id),
        name: name.to_owned(),
        host: "127.0.0.1".to_owned(),
        port: 7000 + 256 * (id - 1),
        shards,
    }
}

fn topology_of(nodes: Vec<NodeSpec>, groups: u32) -> Topology {
    let mut spec = TopologySpec::new(ClusterId([3; 16]), nodes);
    spec.groups = groups;
    spec.classes = spec.classes.min(groups);
    Topology::new(spec).expect("the names make a topology")
}

/// When a client's session is born, in seconds since the epoch, and what is wrong with that.
fn birth_s(faults: &Faults, rng: &mut Rng) -> (u64, Option<Fault>) {
    let now_s = WALL_MS / 1_000;
    if !rng.ppm(faults.session_ppm) {
        return (now_s, None);
    }
    if rng.below(2) == 0 {
        // Its hour is over within seconds.
        return (now_s - SESSION_MS / 1_000 + rng.below(6), Some(Fault::SessionOld));
    }
    (
        now_s + SESSION_AHEAD_MS / 1_000 + 1 + rng.below(40),
        Some(Fault::SessionAhead),
    )
}

/// Attempts outlive the time that a writer is given for one.
const _: () = assert!(ATTEMPTS_MAX as u64 * AGAIN_MS > TIMEOUT_MS as u64);

fn checksum(bytes: &[u8]) -> u64 {
    let add = |sum: u64, word: u64| (sum ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23);
    let (words, rest) = bytes.as_chunks::<8>();
    let sum = words
        .iter()
        .fold(bytes.len() as u64, |sum, word| add(sum, u64::from_be_bytes(*word)));
    if rest.is_empty() {
        return sum;
    }
    add(sum, rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)))
}
