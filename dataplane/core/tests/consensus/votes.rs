//! Whole controllers in a small network, in one thread with virtual time and one seed, whose voters are lost for good, wiped, cut off and replaced,
//! and whose files are begun anew all the while.
//!
//! No groups are ever born: one node of the topology never starts. It knows the outside of the controllers alone. What it checks, it checks on what
//! is handed out and on what becomes durable.

use std::collections::{BTreeMap, BTreeSet};

use waterpark_core::controller::{Controller, Doing, Setup, VoteLimits};
use waterpark_core::ids::{Incarnation, Member, NodeId};
use waterpark_core::rules::Rules;
use waterpark_core::time::Now;
use waterpark_core::topology_log::consensus::{Birth, VoterId};
use waterpark_core::topology_log::{Entry, Limits, TopologyState, Voter, WhyVoters};
use waterpark_ring::{ClusterId, NodeSpec, Topology, TopologySpec};

use super::net::Rng;

const NAMES: [&str; 8] = [
    "FL-A-1", "TN-A-1", "TX-A-1", "UT-A-1", "FL-B-1", "TN-B-1", "TX-B-1", "UT-B-1",
];
/// A voter that is silent for so long is replaced.
const REPLACE_MS: u64 = 400;
/// A file that says more is begun anew: with a dozen entries or two.
const TRIM_BYTES: usize = 1_500;
/// No file may ever grow longer: what is to be trimmed, a state, and what comes while nothing can be trimmed.
const FILE_BYTES_MAX: usize = 40_000;
const TICK_MS: u64 = 5;
const FAULTS_MS: u64 = 5_000;
const HEALING_MS: u64 = 12_000;

/// What must never be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// Two entries were handed out for one position.
    Agreement { position: u64 },
    /// A node handed out a position that does not follow what it knew.
    Order { node: u16, position: u64 },
    /// A node was given a state that is not what the entries up to its position add up to.
    State { node: u16, position: u64 },
    /// Two files were begun for one voter.
    BornTwice { voter: VoterId },
    /// A file grew beyond all bounds.
    Long { node: u16, bytes: usize },
    /// Faults were over, and not all that are left voted, or knew a new entry, in time.
    Stuck { after_ms: u64, why: &'static str },
}

/// What a run saw.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Saw {
    pub(crate) decided: u64,
    pub(crate) lost: u64,
    pub(crate) wiped: u64,
    pub(crate) replaced: u64,
    pub(crate) spread: u64,
    pub(crate) trimmed: u64,
    pub(crate) born: u64,
    /// Births that a crash cut short: with nothing to show, and with a file that nobody had heard of yet.
    pub(crate) unborn: u64,
    pub(crate) states: u64,
    /// Runs that ended because more voters had failed than may: one was lost for good just when another was given its vote and crashed.
    pub(crate) beyond: u64,
    pub(crate) healed_ms: u64,
}

#[derive(Clone, Debug)]
enum Writing {
    Record(Vec<u8>, u64),
    Birth(Vec<u8>),
}

struct Node<R: Rules> {
    own: Member,
    controller: Option<Controller<R>>,
    file: Option<Vec<u8>>,
    writing: Vec<(u64, Writing)>,
    /// The last position that this life knows.
    known: u64,
    up_at_ms: u64,
    is_lost: bool,
}

pub(crate) struct Votes<R: Rules> {
    topology: Topology,
    voters: Vec<NodeId>,
    nodes: Vec<Node<R>>,
    now_ms: u64,
    rng: Rng,
    delay_ms: u64,
    loss: u64,
    disk_ms: u64,
    crash: u64,
    wipe: u64,
    cuts: u64,
    cut: BTreeSet<(usize, usize)>,
    flying: BTreeMap<(u64, u64), (usize, usize, Vec<u8>)>,
    flights: u64,
    /// What was handed out by position from 1, and the state behind each, from 0.
    log: Vec<Entry>,
    states: Vec<TopologyState>,
    born: BTreeMap<VoterId, usize>,
    saw: Saw,
}

fn topology(nodes: usize) -> Topology {
    let node = |(id, name): (u16, &&str)| NodeSpec {
        id: NodeId(id),
        name: (**name).to_owned(),
        host: "127.0.0.1".to_owned(),
        port: 7000 + 256 * id,
        shards: 1,
    };
    // The last one never starts.
    let specs = (1..).zip(&NAMES[..=nodes]).map(node).collect();
    Topology::new(TopologySpec::new(ClusterId([0xC2; 16]), specs)).unwrap()
}

impl<R: Rules> Votes<R> {
    pub(crate) fn new(seed: u64, nodes: usize, voters: u16) -> Votes<R> {
        let mut rng = Rng::new(seed);
        let ids: Vec<VoterId> = (1..=voters).map(VoterId).collect();
        let topology = topology(nodes);
        let node = |id: u16| {
            let birth = Birth::first(topology.spec().cluster, VoterId(id), &ids).ok();
            Node {
                own: Member {
                    node: NodeId(id),
                    incarnation: Incarnation(0),
                },
                controller: None,
                file: birth.map(|birth| birth.file()),
                writing: Vec::new(),
                known: 0,
                up_at_ms: 0,
                is_lost: false,
            }
        };
        let mut pick = |most: u64| if rng.chance(70) { rng.below(most + 1) } else { 0 };
        let (loss, disk_ms, crash, wipe, cuts) = (pick(15), pick(30), pick(12), pick(60), pick(8));
        let delay_ms = 1 + rng.below(15);
        Votes {
            voters: (1..=voters).map(NodeId).collect(),
            nodes: (1..=u16::try_from(nodes).unwrap()).map(node).collect(),
            topology,
            now_ms: 1_000,
            rng,
            delay_ms,
            loss,
            disk_ms,
            crash,
            wipe,
            cuts,
            cut: BTreeSet::new(),
            flying: BTreeMap::new(),
            flights: 0,
            log: Vec::new(),
            states: vec![TopologyState::default()],
            born: ids.into_iter().map(|id| (id, usize::from(id.0) - 1)).collect(),
            saw: Saw::default(),
        }
    }

    /// Faults with voters lost for good, then healing; then another voter is lost, and all goes on.
    pub(crate) fn run(mut self) -> Result<Saw, Wrong> {
        self.heal()?;
        let whole = self.run_on();
        match whole {
            Err(Wrong::Stuck { .. }) if !self.has_majority(|_| true) => self.saw.beyond += 1,
            _ => whole?,
        }
        self.saw.decided = self.log.len() as u64;
        Ok(self.saw)
    }

    fn run_on(&mut self) -> Result<(), Wrong> {
        let until_ms = self.now_ms + FAULTS_MS;
        while self.now_ms < until_ms {
            self.inject();
            self.turn()?;
        }
        self.heal()?;
        let voting: Vec<usize> = self.voting().into_iter().map(|voter| at(voter.node)).collect();
        let victim = voting[usize::try_from(self.rng.below(voting.len() as u64)).unwrap()];
        if self.may_lose(victim) {
            self.crash(victim);
            self.lose(victim);
        }
        self.heal()
    }

    fn now(&self) -> Now {
        Now {
            monotonic_ns: self.now_ms * 1_000_000,
            wall_ms: self.now_ms,
        }
    }

    /// The newest voters that anything was handed out about.
    fn voting(&self) -> Vec<Voter> {
        let electorate = self.states.last().unwrap().electorate();
        if electorate.configuration > 1 {
            return electorate.voters.clone();
        }
        let first = |node: &NodeId| Voter {
            id: VoterId(node.0),
            node: *node,
            since: 1,
            incarnation: Incarnation(0),
        };
        self.voters.iter().map(first).collect()
    }

    /// Whether a majority is there and has its files without a node, and there are others to stand in.
    fn may_lose(&self, lost: usize) -> bool {
        let left = self.nodes.iter().filter(|node| !node.is_lost).count();
        let is_there = |node: &Node<R>| node.controller.is_some() || node.up_at_ms < self.now_ms + REPLACE_MS / 2;
        self.has_majority(|node| at(node.own.node) != lost && is_there(node)) && left > self.voters.len()
    }

    /// Whether a majority of the newest voters has a file by which it votes, or may begin the one by which it will.
    fn has_majority(&self, counts: impl Fn(&Node<R>) -> bool) -> bool {
        let configuration = self.states.last().unwrap().electorate().configuration;
        let voting = self.voting();
        let can = |voter: &&Voter| {
            let node = &self.nodes[at(voter.node)];
            let file = node.file.as_ref().filter(|_| !node.is_lost && counts(node));
            let of = file.and_then(|file| Birth::of_file(file).ok());
            of.is_some_and(|birth| (voter.since..=configuration).contains(&birth.configuration()))
        };
        voting.iter().filter(can).count() > voting.len() / 2
    }

    fn inject(&mut self) {
        if self.rng.below(1_000) < self.crash {
            let victim = self.any();
            let all = self.rng.chance(10);
            for node in 0..self.nodes.len() {
                if node == victim || all {
                    self.crash(node);
                }
            }
            if self.rng.chance(self.wipe) && self.may_lose(victim) {
                if self.rng.chance(40) {
                    self.lose(victim);
                } else if self.nodes[victim].file.take().is_some() {
                    self.saw.wiped += 1;
                }
            }
        }
        if self.rng.below(1_000) < self.cuts {
            self.cut.clear();
            for a in 0..self.nodes.len() {
                for b in 0..self.nodes.len() {
                    if a != b && self.rng.chance(20) {
                        self.cut.insert((a, b));
                    }
                }
            }
        }
        if self.rng.chance(4) {
            self.propose();
        }
    }

    fn propose(&mut self) {
        let by = self.any();
        let about = NodeId(u16::try_from(self.any() + 1).unwrap());
        let entry = match self.rng.below(2) {
            0 => Entry::NodeDraining(about),
            _ => Entry::NodeUndraining(about),
        };
        if let Some(controller) = &mut self.nodes[by].controller {
            controller.propose(&entry);
        }
    }

    fn any(&mut self) -> usize {
        usize::try_from(self.rng.below(self.nodes.len() as u64)).unwrap()
    }

    fn lose(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if !node.is_lost {
            node.is_lost = true;
            node.file = None;
            self.saw.lost += 1;
        }
    }

    /// The process dies, and with it what is not durable but for a part of the first write.
    fn crash(&mut self, at: usize) {
        let up_at_ms = self.now_ms + self.rng.below(800);
        let kept = self.rng.below(1_000);
        let node = &mut self.nodes[at];
        if node.controller.take().is_none() {
            return;
        }
        node.up_at_ms = up_at_ms;
        match std::mem::take(&mut node.writing).into_iter().next() {
            Some((_, Writing::Record(bytes, _))) => {
                let kept = usize::try_from(kept).unwrap() % bytes.len();
                node.file.get_or_insert_default().extend_from_slice(&bytes[..kept]);
            }
            // A new file has its name or not.
            Some((_, Writing::Birth(bytes))) => {
                self.saw.unborn += 1;
                if kept.is_multiple_of(2) {
                    self.on_file(at, bytes).ok();
                }
            }
            None => {}
        }
        let gone = self.nodes[at].own;
        for other in 0..self.nodes.len() {
            let now = self.now();
            if other != at
                && self.rng.chance(80)
                && let Some(controller) = &mut self.nodes[other].controller
            {
                controller.on_closed(now, gone);
                controller.on_refused(now, gone.node);
            }
        }
    }

    fn start(&mut self, at: usize) {
        let now = self.now();
        let node = &mut self.nodes[at];
        node.own.incarnation = Incarnation(self.now_ms + 1);
        node.known = 0;
        let own = node.own;
        let setup = Setup {
            own,
            topology: self.topology.clone(),
            placement: self.topology.birth().clone(),
            voters: self.voters.clone(),
            heartbeat_ms: 50,
            limits: Limits::default(),
            votes: VoteLimits {
                replace_ms: REPLACE_MS,
                trim_bytes: TRIM_BYTES,
            },
        };
        let birth = node
            .file
            .as_ref()
            .map(|file| Birth::of_file(file).expect("births are whole"));
        let vote = birth.as_ref().zip(node.file.as_deref());
        let (controller, good) = Controller::new(setup, now, vote).expect("a disk keeps what it was given");
        if let Some(file) = &mut node.file {
            file.truncate(good);
        }
        node.controller = Some(controller);
        for other in (0..self.nodes.len()).filter(|other| *other != at) {
            let peer = self.nodes[other].own;
            if let Some(controller) = &mut self.nodes[other].controller {
                controller.on_met(now, own);
                self.nodes[at].controller.as_mut().unwrap().on_met(now, peer);
            }
        }
    }

    fn turn(&mut self) -> Result<(), Wrong> {
        self.now_ms += 1;
        for at in 0..self.nodes.len() {
            let node = &self.nodes[at];
            if node.controller.is_none() && !node.is_lost && node.up_at_ms <= self.now_ms {
                self.start(at);
            }
            self.disk(at)?;
            if (self.now_ms + at as u64).is_multiple_of(TICK_MS) {
                self.tick(at);
            }
            self.act(at)?;
        }
        while let Some(((due, _), _)) = self.flying.first_key_value()
            && *due <= self.now_ms
        {
            let (_, (from, to, bytes)) = self.flying.pop_first().unwrap();
            let (now, from) = (self.now(), self.nodes[from].own);
            if let Some(controller) = &mut self.nodes[to].controller {
                controller.on_message(now, from, &bytes);
            }
            self.act(to)?;
        }
        Ok(())
    }

    fn tick(&mut self, at: usize) {
        let now = self.now();
        let is_heard = |other: &usize| *other != at && !self.cut.contains(&(*other, at));
        let others = (0..self.nodes.len()).filter(is_heard);
        let others = others.filter(|other| self.nodes[*other].controller.is_some());
        let heard: Vec<Member> = others.map(|other| self.nodes[other].own).collect();
        if let Some(controller) = &mut self.nodes[at].controller {
            controller.on_heard(now, &heard);
            controller.on_tick(now);
        }
    }

    fn disk(&mut self, at: usize) -> Result<(), Wrong> {
        while let Some((due, _)) = self.nodes[at].writing.first()
            && *due <= self.now_ms
        {
            let (_, writing) = self.nodes[at].writing.remove(0);
            let now = self.now();
            match writing {
                Writing::Record(bytes, number) => {
                    let node = &mut self.nodes[at];
                    let file = node.file.get_or_insert_default();
                    file.extend_from_slice(&bytes);
                    if file.len() > FILE_BYTES_MAX {
                        let bytes = file.len();
                        return Err(Wrong::Long {
                            node: node.own.node.0,
                            bytes,
                        });
                    }
                    node.controller
                        .iter_mut()
                        .for_each(|controller| controller.on_durable(number));
                }
                Writing::Birth(bytes) => {
                    self.on_file(at, bytes)?;
                    let controller = &mut self.nodes[at].controller;
                    controller
                        .iter_mut()
                        .for_each(|controller| controller.on_born(now, true));
                }
            }
            self.act(at)?;
        }
        Ok(())
    }

    /// A new file has taken the place of the one before.
    fn on_file(&mut self, at: usize, bytes: Vec<u8>) -> Result<(), Wrong> {
        let birth = Birth::of_file(&bytes).expect("births are whole");
        let voter = birth.own();
        self.saw.born += 1;
        self.nodes[at].file = Some(bytes);
        match self.born.insert(voter, at) {
            Some(_) => Err(Wrong::BornTwice { voter }),
            None => Ok(()),
        }
    }

    fn act(&mut self, at: usize) -> Result<(), Wrong> {
        let mut doing = Vec::new();
        match &mut self.nodes[at].controller {
            Some(controller) => controller.take_doing(&mut doing),
            None => return Ok(()),
        }
        for doing in doing {
            match doing {
                Doing::Send { to, bytes } => self.send(at, to, bytes),
                Doing::Write(write) => self.write(at, Writing::Record(write.bytes, write.number)),
                Doing::Birth(file) => {
                    // What was to be written to the file before matters no more.
                    self.nodes[at].writing.clear();
                    self.write(at, Writing::Birth(file));
                }
                Doing::State(state) => self.on_state(at, &state)?,
                Doing::Decided { position, entry, .. } => self.on_decided(at, position, *entry)?,
                Doing::Note(_) => {}
                Doing::End(end) => panic!("node {} ends: {end:?}", at + 1),
            }
        }
        Ok(())
    }

    fn write(&mut self, at: usize, writing: Writing) {
        let last = self.nodes[at].writing.last().map_or(0, |(due, _)| *due);
        // A file that is begun takes its name as well.
        let most = match writing {
            Writing::Record(..) => self.disk_ms,
            Writing::Birth(_) => 5 * self.disk_ms,
        };
        let due = last.max(self.now_ms + self.rng.below(most + 1));
        self.nodes[at].writing.push((due, writing));
    }

    fn on_state(&mut self, at: usize, state: &TopologyState) -> Result<(), Wrong> {
        let position = state.position();
        let node = &mut self.nodes[at];
        self.saw.states += 1;
        let known = usize::try_from(position)
            .ok()
            .and_then(|position| self.states.get(position));
        if known != Some(state) || position <= node.known {
            let node = node.own.node.0;
            return Err(Wrong::State { node, position });
        }
        node.known = position;
        Ok(())
    }

    fn on_decided(&mut self, at: usize, position: u64, entry: Entry) -> Result<(), Wrong> {
        let node = &mut self.nodes[at];
        if position != node.known + 1 {
            let node = node.own.node.0;
            return Err(Wrong::Order { node, position });
        }
        node.known = position;
        let index = usize::try_from(position).unwrap() - 1;
        if let Some(known) = self.log.get(index) {
            return if *known == entry {
                Ok(())
            } else {
                Err(Wrong::Agreement { position })
            };
        }
        if let Entry::VotersChanged { why, .. } = &entry {
            match why {
                WhyVoters::Lost | WhyVoters::Leaves => self.saw.replaced += 1,
                WhyVoters::Spread => self.saw.spread += 1,
                WhyVoters::Trim => self.saw.trimmed += 1,
            }
        }
        let mut state = self.states.last().unwrap().clone();
        state.apply(position, &entry);
        self.states.push(state);
        self.log.push(entry);
        Ok(())
    }

    fn send(&mut self, from: usize, to: NodeId, bytes: Vec<u8>) {
        let to = at(to);
        if to >= self.nodes.len() || self.cut.contains(&(from, to)) || self.rng.chance(self.loss) {
            return;
        }
        // At times a copy comes late.
        let copies = if self.rng.chance(3) { 2 } else { 1 };
        for copy in 0..copies {
            self.flights += 1;
            let due = self.now_ms + self.delay_ms + self.rng.below(1 + self.delay_ms) + copy * 200;
            self.flying.insert((due, self.flights), (from, to, bytes.clone()));
        }
    }

    /// No faults from here on: all that are left know a new entry, and those vote who can.
    fn heal(&mut self) -> Result<(), Wrong> {
        let loss = std::mem::take(&mut self.loss);
        self.cut.clear();
        for node in &mut self.nodes {
            node.up_at_ms = 0;
        }
        let (begun_ms, first) = (self.now_ms, self.log.len() as u64);
        loop {
            if self.now_ms.is_multiple_of(50) {
                self.propose();
            }
            self.turn()?;
            let left = || self.nodes.iter().filter(|node| !node.is_lost);
            let all_know = left().all(|node| node.known > first + 20);
            let newest = self.states.last().unwrap().electorate().configuration;
            let votes = |voter: &Voter| {
                let node = &self.nodes[at(voter.node)];
                let file = node.file.as_ref().and_then(|file| Birth::of_file(file).ok());
                let is_seated = node.controller.as_ref().is_some_and(Controller::is_voter);
                is_seated && file.is_some_and(|birth| birth.configuration() == newest)
            };
            let voting = self.voting();
            let all_vote = voting.iter().all(votes) && voting.len() == self.voters.len();
            let after_ms = self.now_ms - begun_ms;
            if all_know && all_vote {
                self.saw.healed_ms = self.saw.healed_ms.max(after_ms);
                self.loss = loss;
                return Ok(());
            }
            if after_ms > HEALING_MS {
                let why = if all_know {
                    "not all voters vote"
                } else {
                    "not all know what is decided"
                };
                return Err(Wrong::Stuck { after_ms, why });
            }
        }
    }
}

fn at(node: NodeId) -> usize {
    usize::from(node.0) - 1
}
