//! A small network of voters in one thread, with virtual time and one seed: loss, delay, repeats, reordering, cuts in one or both directions,
//! crashes that lose what is not durable, restarts from the file, voters that lose their file.
//!
//! It knows the outside of the consensus alone. What it checks, it checks on what is handed out.

mod run;

use std::collections::{BTreeMap, BTreeSet};

use waterpark_core::ids::Incarnation;
use waterpark_core::rules::Rules;
use waterpark_core::topology_log::consensus::{
    Birth, Consensus, Decided, FileError, Learner, Paxos, TAIL_BYTES_MAX, Tail, VoterId, Write,
};
use waterpark_ring::ClusterId;

const CLUSTER: ClusterId = ClusterId([0xC1; 16]);

/// What must never be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// Two entries were handed out for one position.
    Agreement { position: u64 },
    /// A voter or learner handed out a position that does not follow the one before.
    Order { position: u64, expected: u64 },
    /// An entry was decided that nobody proposed.
    Invented { position: u64 },
    /// What one voter handed out, a healthy voter does not have.
    Lost { voter: u16, has: usize, decided: usize },
    /// An entry that a leader took, and went on leading, was never decided.
    Forgotten,
    /// No entry was decided by all in time though a majority was healthy.
    Stuck { after_ms: u64 },
}

/// What a run saw.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) decided: u64,
    pub(crate) crashes: u64,
    pub(crate) lost_writes: u64,
    pub(crate) wiped: u64,
    pub(crate) leaders: u64,
    pub(crate) lost: u64,
    pub(crate) repeated: u64,
    pub(crate) gaps: u64,
    pub(crate) torn: u64,
    pub(crate) healed_ms: u64,
    pub(crate) trace: u64,
}

pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5DEE_CE66)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Faults of one run, drawn from its seed.
#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    loss: u64,
    repeat: u64,
    jitter_ms: u64,
    /// Per mille and ms.
    crash: u64,
    cut: u64,
    /// Per cent of messages of which a copy comes with wrong bytes.
    lies: u64,
    disk_ms: u64,
    wipe_percent: u64,
}

enum Place<R: Rules> {
    Up(Box<Paxos<R>>),
    Down { until_ms: u64 },
    Gone,
}

struct Node<R: Rules> {
    birth: Birth,
    life: u64,
    /// What survives a crash.
    file: Vec<u8>,
    /// Writes on their way to the disk, each with the time at which it is there.
    writing: Vec<(u64, Write)>,
    place: Place<R>,
    /// The next position that this life hands out.
    next: u64,
    /// What it handed out.
    tail: Tail,
    led: bool,
}

pub(crate) struct Net<R: Rules> {
    nodes: Vec<Node<R>>,
    learner: Learner,
    learnt: u64,
    now_ms: u64,
    rng: Rng,
    faults: Faults,
    /// Base delay of each direction in ms.
    delays: Vec<Vec<u64>>,
    cut: BTreeSet<(usize, usize)>,
    flying: BTreeMap<(u64, u64), Flying>,
    flights: u64,
    proposed: u64,
    /// What was handed out, by position from 1.
    log: Vec<Vec<u8>>,
    seen: Seen,
}

enum Flying {
    Message { from: usize, to: usize, bytes: Vec<u8> },
    Closed { from: usize, to: usize },
}

impl<R: Rules> Node<R> {
    fn new(birth: Birth) -> Node<R> {
        Node {
            file: birth.file(),
            next: birth.base() + 1,
            tail: Tail::new(birth.base() + 1, TAIL_BYTES_MAX),
            birth,
            life: 0,
            writing: vec![],
            place: Place::Down { until_ms: 0 },
            led: false,
        }
    }
}

/// A delay in ms for each direction: within a data centre, a country, a continent.
fn delays(rng: &mut Rng, voters: usize) -> Vec<Vec<u64>> {
    let spread = [1, 5, 40][usize::try_from(rng.below(3)).unwrap()];
    (0..voters)
        .map(|_| (0..voters).map(|_| 1 + rng.below(spread)).collect())
        .collect()
}

impl<R: Rules> Net<R> {
    pub(crate) fn new(seed: u64, voters: usize) -> Net<R> {
        let mut rng = Rng::new(seed);
        let ids: Vec<VoterId> = (1..=voters).map(|id| VoterId(u16::try_from(id).unwrap())).collect();
        let nodes = ids
            .iter()
            .map(|own| Node::new(Birth::first(CLUSTER, *own, &ids).unwrap()))
            .collect();
        let mut pick = |most: u64| if rng.chance(60) { rng.below(most + 1) } else { 0 };
        let faults = Faults {
            loss: pick(30),
            repeat: pick(20),
            jitter_ms: pick(30),
            crash: pick(12),
            cut: pick(12),
            lies: 0,
            disk_ms: pick(40),
            wipe_percent: pick(30),
        };
        let delays = delays(&mut rng, voters);
        Net {
            nodes,
            learner: Learner::new(1),
            learnt: 0,
            now_ms: 0,
            rng,
            faults,
            delays,
            cut: BTreeSet::new(),
            flying: BTreeMap::new(),
            flights: 0,
            proposed: 0,
            log: Vec::new(),
            seen: Seen::default(),
        }
    }

    fn any(&mut self) -> usize {
        usize::try_from(self.rng.below(self.nodes.len() as u64)).unwrap()
    }

    fn inject(&mut self) {
        if self.rng.below(1_000) < self.faults.crash {
            let victim = self.any();
            self.crash(victim);
            // At times the power goes for several at once, and at times for all.
            let further = if self.rng.chance(20) { self.rng.below(101) } else { 0 };
            for other in 0..self.nodes.len() {
                if self.rng.chance(further) {
                    self.crash(other);
                }
            }
        }
        if self.rng.below(1_000) < self.faults.cut {
            self.redraw_cuts();
        }
    }

    fn redraw_cuts(&mut self) {
        self.cut.clear();
        let count = self.nodes.len();
        match self.rng.below(4) {
            0 => {}
            1 => {
                let sides: Vec<bool> = (0..count).map(|_| self.rng.chance(50)).collect();
                let pairs = (0..count).flat_map(|a| (0..count).map(move |b| (a, b)));
                self.cut = pairs.filter(|(a, b)| sides[*a] != sides[*b]).collect();
            }
            _ => {
                for a in 0..count {
                    for b in 0..count {
                        if a != b && self.rng.chance(30) {
                            self.cut.insert((a, b));
                            if self.rng.chance(60) {
                                self.cut.insert((b, a));
                            }
                        }
                    }
                }
            }
        }
    }

    /// The process dies: what is not durable is lost, but for a part of the first write.
    fn crash(&mut self, at: usize) {
        if !matches!(self.nodes[at].place, Place::Up(_)) {
            return;
        }
        self.seen.crashes += 1;
        let wiped = self
            .nodes
            .iter()
            .filter(|node| matches!(node.place, Place::Gone) || node.file.is_empty())
            .count();
        let is_wiped = self.rng.chance(self.faults.wipe_percent) && (wiped + 1) * 2 < self.nodes.len();
        let until_ms = self.now_ms + self.rng.below(400);
        let node = &mut self.nodes[at];
        if let Place::Up(paxos) = &node.place {
            self.seen.gaps += paxos.counters().gaps;
        }
        node.place = Place::Down { until_ms };
        let writing = std::mem::take(&mut node.writing);
        self.seen.lost_writes += writing.len() as u64;
        if let Some((_, write)) = writing.first()
            && self.rng.chance(50)
        {
            let kept = usize::try_from(self.rng.below(write.bytes.len() as u64)).unwrap();
            node.file.extend(&write.bytes[..kept]);
            self.seen.torn += 1;
        }
        if is_wiped {
            self.seen.wiped += 1;
            node.file.clear();
        }
        // Most peers see the sockets close.
        for to in 0..self.nodes.len() {
            if to != at && self.rng.chance(70) {
                let after = self.delays[at][to];
                self.fly(after, Flying::Closed { from: at, to });
            }
        }
    }

    fn start(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.life += 1 + self.now_ms;
        node.next = node.birth.base() + 1;
        node.tail = Tail::new(node.next, TAIL_BYTES_MAX);
        node.led = false;
        match Paxos::open(&node.birth, Incarnation(node.life), &node.file) {
            Ok((paxos, good)) => {
                node.file.truncate(good);
                if good == 0 {
                    // The mutant's voter begins again.
                    node.file = node.birth.file();
                }
                node.place = Place::Up(Box::new(paxos));
            }
            Err(error) => {
                assert_eq!(error, FileError::Absent, "only a wiped voter cannot start");
                node.place = Place::Gone;
            }
        }
    }

    /// One millisecond.
    fn turn(&mut self) -> Result<(), Violation> {
        self.now_ms += 1;
        for at in 0..self.nodes.len() {
            if matches!(self.nodes[at].place, Place::Down { until_ms } if until_ms <= self.now_ms) {
                self.start(at);
            }
            self.disk(at);
            if (self.now_ms + at as u64).is_multiple_of(3) {
                let now_ms = self.now_ms;
                self.with(at, |paxos| paxos.tick(now_ms));
            }
            self.collect(at)?;
        }
        while let Some(((due, _), _)) = self.flying.first_key_value()
            && *due <= self.now_ms
        {
            let (_, flying) = self.flying.pop_first().unwrap();
            let now_ms = self.now_ms;
            let to = match flying {
                Flying::Message { from, to, bytes } => {
                    let from = self.nodes[from].birth.own();
                    // What is dropped is counted by the voter, and told in the counters.
                    self.with(to, |paxos| paxos.step(now_ms, from, &bytes).is_ok());
                    to
                }
                Flying::Closed { from, to } => {
                    let from = self.nodes[from].birth.own();
                    self.with(to, |paxos| paxos.peer_closed(from));
                    to
                }
            };
            self.collect(to)?;
        }
        if self.now_ms.is_multiple_of(40) {
            self.learn()?;
        }
        Ok(())
    }

    fn with<T>(&mut self, at: usize, act: impl FnOnce(&mut Paxos<R>) -> T) -> Option<T> {
        match &mut self.nodes[at].place {
            Place::Up(paxos) => Some(act(paxos)),
            _ => None,
        }
    }

    fn disk(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let Place::Up(paxos) = &mut node.place else {
            return;
        };
        while node.writing.first().is_some_and(|(due, _)| *due <= self.now_ms) {
            let (_, write) = node.writing.remove(0);
            node.file.extend(&write.bytes);
            paxos.on_durable(write.number);
        }
    }

    /// Takes what one voter hands out.
    fn collect(&mut self, at: usize) -> Result<(), Violation> {
        let (mut writes, mut outgoing, mut decided) = (vec![], vec![], vec![]);
        let leads = self.with(at, |paxos| {
            paxos.take_writes(&mut writes);
            paxos.take_outgoing(&mut outgoing);
            paxos.take_decided(&mut decided);
            paxos.is_leader()
        });
        let leads = leads.unwrap_or_default();
        self.seen.leaders += u64::from(leads && !self.nodes[at].led);
        self.nodes[at].led = leads;
        for write in writes {
            self.note(&write.bytes);
            let node_due = self.nodes[at].writing.last().map_or(0, |(due, _)| *due);
            let due = node_due.max(self.now_ms + self.rng.below(self.faults.disk_ms + 1));
            self.nodes[at].writing.push((due, write));
        }
        for (to, bytes) in outgoing {
            self.note(&bytes);
            self.send(at, usize::from(to.0 - self.nodes[0].birth.own().0), bytes);
        }
        for found in decided {
            let next = self.nodes[at].next;
            self.check(&found, next)?;
            let node = &mut self.nodes[at];
            node.next += 1;
            if self.faults.lies == 0 {
                node.tail.push(&found);
            }
        }
        Ok(())
    }

    fn check(&mut self, found: &Decided, expected: u64) -> Result<(), Violation> {
        let position = found.position;
        if self.faults.lies > 0 {
            return Ok(());
        }
        if position != expected {
            return Err(Violation::Order { position, expected });
        }
        self.note(&found.entry);
        let is_proposed =
            found.entry.len() >= 8 && u64::from_le_bytes(found.entry[..8].try_into().unwrap()) < self.proposed;
        if !is_proposed {
            return Err(Violation::Invented { position });
        }
        let index = usize::try_from(position).unwrap() - 1;
        match self.log.get(index) {
            Some(known) if *known != found.entry => Err(Violation::Agreement { position }),
            Some(_) => Ok(()),
            None => {
                assert_eq!(index, self.log.len());
                self.log.push(found.entry.clone());
                Ok(())
            }
        }
    }

    /// The learner asks any voter for what it misses.
    fn learn(&mut self) -> Result<(), Violation> {
        let from = self.any();
        let next = self.learner.next();
        let node = &self.nodes[from];
        let is_up = matches!(node.place, Place::Up(_));
        let mut found = node.tail.from(next, 1_000).filter(|_| is_up).unwrap_or_default();
        found.reverse();
        for entry in found {
            self.learner.take(entry).unwrap();
        }
        let mut ready = Vec::new();
        self.learner.take_ready(&mut ready);
        for entry in ready {
            self.check(&entry, self.learnt + 1)?;
            self.learnt += 1;
        }
        Ok(())
    }

    /// An entry that was never proposed before.
    fn entry(&mut self) -> Vec<u8> {
        let mut entry = self.proposed.to_le_bytes().to_vec();
        entry.resize(8 + usize::try_from(self.rng.below(40)).unwrap(), 0xEE);
        self.proposed += 1;
        entry
    }

    fn propose(&mut self) {
        let at = self.any();
        let entry = self.entry();
        // Proposals may be refused, get lost and be doubled.
        let times = if self.rng.chance(5) { 2 } else { 1 };
        for _ in 0..times {
            self.with(at, |paxos| paxos.propose(&entry).is_ok());
        }
    }

    fn send(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        if self.cut.contains(&(from, to)) || self.rng.chance(self.faults.loss) {
            self.seen.lost += 1;
            return;
        }
        let delay = self.delays[from][to] + self.rng.below(self.faults.jitter_ms + 1);
        if self.rng.chance(self.faults.repeat) {
            self.seen.repeated += 1;
            let late = delay + self.rng.below(300);
            self.fly(
                late,
                Flying::Message {
                    from,
                    to,
                    bytes: bytes.clone(),
                },
            );
        }
        if self.rng.chance(self.faults.lies) {
            let bytes = self.lie(bytes.clone());
            self.fly(delay, Flying::Message { from, to, bytes });
        }
        self.fly(delay, Flying::Message { from, to, bytes });
    }

    /// A message whose end is not what it was; now and then its number in the stream neither.
    fn lie(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        let mut pick = |bound: usize| usize::try_from(self.rng.below(bound as u64)).unwrap();
        // Behind cluster, configuration, voters and incarnations: a link that lies in these is dropped at once.
        let fixed = 40;
        for _ in 0..1 + pick(3) {
            let at = fixed + pick(bytes.len() - fixed);
            match pick(4) {
                0 => bytes[at] ^= 1 << pick(8),
                1 => bytes[at] = [0, 1, 2, 3, 5, 10, 127, 255][pick(8)],
                2 => bytes[at] = bytes[at].wrapping_add(1),
                _ => bytes.truncate(at.max(fixed + 1)),
            }
        }
        bytes
    }

    fn fly(&mut self, after_ms: u64, flying: Flying) {
        self.flights += 1;
        self.flying.insert((self.now_ms + after_ms, self.flights), flying);
    }

    /// Everything that leaves a voter goes into the trace.
    fn note(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.seen.trace = (self.seen.trace ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }
}
