//! Whole clusters of watches, matrices and judges over a network with the delays of data centres: how soon a fault becomes a verdict, and
//! that none comes without one.

use std::collections::BTreeMap;

use super::finding::findings;
use super::judge::{Judge, Verdict};
use super::lived::{Lived, LivedClock};
use super::matrix::LinkMatrix;
use super::roster::{Known, Roster};
use super::row::Row;
use super::testing::{Random, member};
use super::watch::Watch;
use crate::ids::Member;
use crate::time::MS;

const HEARTBEAT_NS: u64 = 100 * MS;
const TURN_NS: u64 = 5 * MS;

/// What is under way to a node.
#[derive(Clone, Debug)]
enum Message {
    Heartbeat(Member),
    Row(Member, Vec<u8>),
    Closed(Member),
    /// The connection that the receiver dialled then.
    Refused(Member, Lived),
}

struct Node {
    own: Member,
    clock: LivedClock,
    watch: Watch,
    matrix: LinkMatrix,
    judge: Judge,
    heartbeat_ns: Vec<u64>,
    inbox: Vec<Message>,
    killed: bool,
    stopped_until_ns: u64,
}

/// A verdict: who came to it, when, which.
type Told = (u64, u16, Verdict);

struct Cluster {
    random: Random,
    per_dc: u16,
    roster: Roster,
    nodes: Vec<Node>,
    now_ns: u64,
    way: BTreeMap<(u64, u64), (usize, Message)>,
    sent: u64,
    lost_per_hundred: u64,
    /// Whether nothing passes from the one to the other.
    cut: fn(u16, u16) -> bool,
    told: Vec<Told>,
}

impl Cluster {
    /// The nodes 1 to `nodes`, connected, heard of each other for five seconds.
    fn new(nodes: u16, per_dc: u16, seed: u64) -> Self {
        let known = |node| Known {
            member: member(node),
            dc: (node - 1) / per_dc,
            up: true,
        };
        let roster = Roster::new((1..=nodes).map(known).collect());
        let node = |known: &Known| {
            let clock = LivedClock::new(0);
            let mut watch = Watch::new(known.member, HEARTBEAT_NS, clock.now());
            for peer in roster.nodes().iter().filter(|peer| peer.member != known.member) {
                assert!(watch.met(peer.member, clock.now()));
            }
            Node {
                own: known.member,
                matrix: LinkMatrix::new(known.member, HEARTBEAT_NS),
                judge: Judge::new(),
                heartbeat_ns: vec![0; usize::from(nodes)],
                inbox: Vec::new(),
                killed: false,
                stopped_until_ns: 0,
                clock,
                watch,
            }
        };
        let nodes = roster.nodes().iter().map(node).collect();
        let mut cluster = Self {
            random: Random::new(seed),
            per_dc,
            roster: roster.clone(),
            nodes,
            now_ns: 0,
            way: BTreeMap::new(),
            sent: 0,
            lost_per_hundred: 1,
            cut: |_, _| false,
            told: Vec::new(),
        };
        cluster.runs_ms(5_000);
        assert_eq!(cluster.told, [], "seed {seed}");
        cluster
    }

    /// 0.2 ms within a data centre, 5 to 15 ms between two, a tenth more or less.
    fn delay_ns(&mut self, from: usize, to: usize) -> u64 {
        let dc = |node: usize| u64::try_from(node).unwrap() / u64::from(self.per_dc);
        let base_us = dc(from).abs_diff(dc(to)) * 5_000 + 200;
        self.random.between(base_us * 900, base_us * 1_100)
    }

    fn sends(&mut self, from: usize, to: usize, message: Message) {
        let id = |place: usize| u16::try_from(place + 1).unwrap();
        let lost = self.random.chance(self.lost_per_hundred, 100);
        if lost || (self.cut)(id(from), id(to)) {
            return;
        }
        let arrives_ns = self.now_ns + self.delay_ns(from, to);
        self.arrives(arrives_ns, to, message);
    }

    fn arrives(&mut self, at_ns: u64, to: usize, message: Message) {
        self.sent += 1;
        self.way.insert((at_ns, self.sent), (to, message));
    }

    fn runs_ms(&mut self, ms: u64) {
        let end_ns = self.now_ns + ms * MS;
        while self.now_ns < end_ns {
            self.now_ns += TURN_NS;
            while let Some(entry) = self.way.first_entry()
                && entry.key().0 <= self.now_ns
            {
                let (to, message) = entry.remove();
                self.nodes[to].inbox.push(message);
            }
            for place in 0..self.nodes.len() {
                let node = &self.nodes[place];
                if !node.killed && node.stopped_until_ns <= self.now_ns {
                    self.turns(place);
                }
            }
        }
    }

    fn turns(&mut self, place: usize) {
        let node = &mut self.nodes[place];
        let now = node.clock.turned(self.now_ns);
        let mut dialled = Vec::new();
        for message in core::mem::take(&mut node.inbox) {
            match message {
                Message::Heartbeat(from) => node.watch.heard(from, now),
                Message::Row(from, bytes) => {
                    node.watch.heard(from, now);
                    // A row may be overtaken by the next one.
                    let _late = node.matrix.take(from, Row::decode(&bytes).unwrap(), now).is_err();
                }
                Message::Closed(from) => {
                    node.watch.closed(from, now);
                    dialled.push(from);
                }
                Message::Refused(by, dialled) => node.watch.refused(by.node, dialled, now),
            }
        }
        let row = node.watch.row(now);
        if let Some(row) = &row {
            node.matrix.take(node.own, row.clone(), now).unwrap();
        }
        let verdicts = node.judge.turn(&findings(&node.matrix.counted(&self.roster, now)), now);
        let own = node.own;
        self.told
            .extend(verdicts.into_iter().map(|verdict| (self.now_ns, own.node.0, verdict)));

        for peer in dialled {
            let to = usize::from(peer.node.0) - 1;
            let refused_ns = self.now_ns + self.delay_ns(place, to) + self.delay_ns(to, place);
            self.arrives(refused_ns, place, Message::Refused(peer, now));
        }
        let bytes = row.map(|row| {
            let mut bytes = Vec::new();
            row.encode(&mut bytes);
            bytes
        });
        for to in (0..self.nodes.len()).filter(|&to| to != place) {
            if let Some(bytes) = &bytes {
                self.sends(place, to, Message::Row(own, bytes.clone()));
            }
            if self.nodes[place].heartbeat_ns[to] <= self.now_ns {
                self.nodes[place].heartbeat_ns[to] = self.now_ns + self.random.between(50 * MS, 150 * MS);
                self.sends(place, to, Message::Heartbeat(own));
            }
        }
    }

    /// Its host closes its connections and refuses new ones.
    fn kill(&mut self, id: u16) {
        let killed = usize::from(id) - 1;
        self.nodes[killed].killed = true;
        for to in (0..self.nodes.len()).filter(|&to| to != killed) {
            let closed_ns = self.now_ns + self.delay_ns(killed, to);
            self.arrives(closed_ns, to, Message::Closed(member(id)));
        }
    }

    fn stop_ms(&mut self, id: u16, ms: u64) {
        self.nodes[usize::from(id) - 1].stopped_until_ns = self.now_ns + ms * MS;
    }

    /// Milliseconds until each of the nodes had come to this verdict; empties what was told.
    fn ms_until(&mut self, since_ns: u64, judges: &[u16], verdict: Verdict) -> Vec<u64> {
        let told = core::mem::take(&mut self.told);
        let first = |judge: u16| told.iter().find(|(_, by, told)| *by == judge && *told == verdict);
        judges
            .iter()
            .filter_map(|&judge| first(judge))
            .map(|(at_ns, ..)| (at_ns - since_ns) / MS)
            .collect()
    }
}

fn p50_p99(mut all: Vec<u64>) -> (u64, u64) {
    all.sort_unstable();
    (all[all.len() / 2], all[all.len() * 99 / 100])
}

/// So long before and after a fault that every verdict has come.
const SETTLED_MS: u64 = 4_000;

/// Clusters of so many nodes, a fault to the last one, and how soon all others call it down: p50 and p99 in ms over all of them.
fn down_ms(nodes: u16, per_dc: u16, seeds: u64, fault: fn(&mut Cluster, u16)) -> (u64, u64) {
    let mut all = Vec::new();
    for seed in 0..seeds {
        let mut cluster = Cluster::new(nodes, per_dc, seed);
        let phase_ms = cluster.random.between(0, 1_000);
        cluster.runs_ms(phase_ms);
        let since_ns = cluster.now_ns;
        fault(&mut cluster, nodes);
        cluster.runs_ms(SETTLED_MS);
        let judges: Vec<u16> = (1..nodes).collect();
        let told = cluster.told.iter().filter(|(_, by, _)| *by != nodes).count();
        assert_eq!(
            told,
            judges.len(),
            "seed {seed}: one verdict of each and no other, {:?}",
            cluster.told
        );
        let reached = cluster.ms_until(since_ns, &judges, Verdict::Down(member(nodes)));
        assert_eq!(reached.len(), judges.len(), "seed {seed}");
        all.extend(reached);
    }
    p50_p99(all)
}

#[test]
fn a_fault_becomes_a_verdict_of_all_others_in_this_time() {
    let killed: fn(&mut Cluster, u16) = |cluster, node| cluster.kill(node);
    let stopped: fn(&mut Cluster, u16) = |cluster, node| cluster.stop_ms(node, 3_600_000);
    let cut_off: fn(&mut Cluster, u16) = |cluster, _| cluster.cut = |a, b| (a == 8) != (b == 8);
    let unheard: fn(&mut Cluster, u16) = |cluster, _| cluster.cut = |a, _| a == 8;
    // Nodes, in one data centre each, seeds, fault; p50 and p99 in ms, the turns of 5 ms included.
    let table = [
        ("killed", 8, 2, 50, killed, (35, 40)),
        ("stopped", 8, 2, 50, stopped, (680, 710)),
        ("cut off", 8, 2, 20, cut_off, (675, 710)),
        ("not heard", 8, 2, 20, unheard, (670, 710)),
        ("killed", 3, 1, 50, killed, (40, 50)),
        ("stopped", 3, 1, 50, stopped, (685, 835)),
        ("killed", 32, 8, 2, killed, (25, 30)),
        ("stopped", 32, 8, 2, stopped, (700, 720)),
    ];
    let measured =
        table.map(|(name, nodes, per_dc, seeds, fault, _)| (name, nodes, down_ms(nodes, per_dc, seeds, fault)));
    assert_eq!(
        measured,
        table.map(|(name, nodes, _, _, _, expected)| (name, nodes, expected))
    );
}

#[test]
fn no_verdict_comes_without_a_fault() {
    for seed in 0..4 {
        let mut cluster = Cluster::new(8, 2, seed);
        for _ in 0..300 {
            let (node, pause_ms) = (cluster.random.between(1, 8), cluster.random.between(1, 400));
            cluster.stop_ms(u16::try_from(node).unwrap(), pause_ms);
            let between_ms = cluster.random.between(200, 2_000);
            cluster.runs_ms(between_ms);
        }
        assert_eq!(cluster.told, [], "seed {seed}");
    }
}

#[test]
fn a_host_that_stops_all_its_nodes_makes_none_of_them_down() {
    let mut cluster = Cluster::new(8, 2, 1);
    for _ in 0..20 {
        (1..=8).for_each(|node| cluster.stop_ms(node, 10_000));
        cluster.runs_ms(12_000);
    }
    assert_eq!(cluster.told, []);
}

#[test]
fn a_stopped_node_that_goes_on_is_up_again_and_blames_nobody() {
    let mut back = Vec::new();
    for seed in 0..30 {
        let mut cluster = Cluster::new(8, 2, seed);
        cluster.stop_ms(8, 20_000);
        cluster.runs_ms(20_000);
        let down = Verdict::Down(member(8));
        assert_eq!(
            cluster.ms_until(0, &[1, 2, 3, 4, 5, 6, 7], down).len(),
            7,
            "seed {seed}"
        );
        let since_ns = cluster.now_ns;
        cluster.runs_ms(SETTLED_MS);
        // The others' rows tell the node that it was down itself; when they hear it again, that is over.
        let told: Vec<_> = cluster.told.iter().map(|(.., verdict)| *verdict).collect();
        assert!(
            told.iter()
                .all(|verdict| [down, Verdict::Up(member(8))].contains(verdict)),
            "seed {seed}: {told:?}"
        );
        back.extend(cluster.ms_until(since_ns, &[1, 2, 3, 4, 5, 6, 7], Verdict::Up(member(8))));
    }
    assert_eq!(back.len(), 7 * 30, "each verdict is ended once");
    let (p50, p99) = p50_p99(back);
    assert!(p50 >= 300 && p99 <= 700, "{p50} {p99}");
}

/// What one node came to say about the others, in order of time.
fn told_by(cluster: &Cluster, judge: u16) -> (Vec<u16>, Vec<u16>) {
    let (mut down, mut up) = (Vec::new(), Vec::new());
    for (_, by, verdict) in &cluster.told {
        match verdict {
            _ if *by != judge => (),
            Verdict::Down(member) => down.push(member.node.0),
            Verdict::Up(member) => up.push(member.node.0),
        }
    }
    down.sort_unstable();
    up.sort_unstable();
    (down, up)
}

#[test]
fn each_side_of_a_split_calls_the_other_down_once_and_up_once_when_it_heals() {
    for (nodes, per_dc, seeds) in [(8, 2, 20), (32, 8, 1)] {
        for seed in 0..seeds {
            let mut cluster = Cluster::new(nodes, per_dc, seed);
            cluster.cut = if nodes == 8 {
                |a, b| (a <= 4) != (b <= 4)
            } else {
                |a, b| (a <= 16) != (b <= 16)
            };
            cluster.runs_ms(10_000);
            cluster.cut = |_, _| false;
            cluster.runs_ms(SETTLED_MS);
            for judge in 1..=nodes {
                let half = nodes / 2;
                let others: Vec<u16> = if judge <= half {
                    (half + 1..=nodes).collect()
                } else {
                    (1..=half).collect()
                };
                assert_eq!(
                    told_by(&cluster, judge),
                    (others.clone(), others),
                    "seed {seed}, node {judge}"
                );
            }
        }
    }
}

#[test]
fn a_data_centre_that_is_lost_is_down_and_calls_nobody_down_while_it_is_cut_off() {
    for seed in 0..20 {
        let mut cluster = Cluster::new(8, 2, seed);
        cluster.cut = |a, b| (a <= 6) != (b <= 6);
        cluster.runs_ms(10_000);
        cluster.cut = |_, _| false;
        cluster.runs_ms(SETTLED_MS);
        for judge in 1..=6 {
            assert_eq!(
                told_by(&cluster, judge),
                (vec![7, 8], vec![7, 8]),
                "seed {seed}, node {judge}"
            );
        }
        for judge in 7..=8 {
            let (down, up) = told_by(&cluster, judge);
            let others = down.iter().filter(|&&node| node <= 6).count();
            assert_eq!((others, down), (0, up), "seed {seed}, node {judge}: {:?}", cluster.told);
        }
    }
}

#[test]
fn a_link_that_comes_and_goes_is_no_verdict() {
    for seed in 0..10 {
        let mut cluster = Cluster::new(8, 2, seed);
        for _ in 0..20 {
            cluster.cut = |a, b| (a.min(b), a.max(b)) == (1, 8);
            cluster.runs_ms(1_500);
            cluster.cut = |_, _| false;
            cluster.runs_ms(500);
        }
        assert_eq!(cluster.told, [], "seed {seed}");
    }
}

#[test]
fn a_node_that_stands_still_most_of_the_time_does_not_flap() {
    for seed in 0..5 {
        let mut cluster = Cluster::new(8, 2, seed);
        for _ in 0..60 {
            cluster.stop_ms(8, 1_300);
            cluster.runs_ms(1_500);
        }
        for judge in 1..=7 {
            let (down, up) = told_by(&cluster, judge);
            assert!(
                !down.is_empty() && down.len() + up.len() <= 3,
                "seed {seed}, node {judge}: {down:?} {up:?}"
            );
        }
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let story = |seed| {
        let mut cluster = Cluster::new(8, 2, seed);
        cluster.kill(3);
        cluster.stop_ms(5, 2_000);
        cluster.runs_ms(SETTLED_MS);
        (cluster.told, cluster.sent, cluster.random.next())
    };
    assert_eq!(story(1), story(1));
    assert_ne!(story(1), story(2));
}
