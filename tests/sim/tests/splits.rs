//! Splits: which groups go on where links are cut, which move, which refuse, and what is left of it when all has healed (`protocol.md` §7).
//!
//! What is expected of a group is worked out from its Config and the cut alone. **Invariant:** no fault but the cut happens, so whatever
//! changes, the cut changed it.
//!
//! A cut closes links or makes them silent. Each case has one of the two, and both where `WATERPARK_SPLITS` is set: that takes twice as long.

use std::collections::BTreeMap;

use waterpark_core::config::{Births, Config};
use waterpark_core::ids::{GroupId, Member};
use waterpark_core::rules::Production;
use waterpark_kit::{Cluster, Faults, Manner, Probe, Size};
use waterpark_wire::reply::Outcome;

/// A cluster is settled, and healed, within this.
const SETTLED_MS: u64 = 10_000;
/// Whoever can serve a group after a cut does so within this.
const SERVES_MS: u64 = 3_000;
/// A link that lost frames in silence is cut and made anew within this.
const QUIET_MS: u64 = 4_000;
/// How often it is looked whether all is done.
const LOOK_MS: u64 = 100;

type Sim = Cluster<Production>;

/// This manner of cut, or both.
fn manners(one: Manner) -> impl Iterator<Item = Manner> {
    let both = std::env::var_os("WATERPARK_SPLITS").is_some();
    Manner::ALL.into_iter().filter(move |manner| both || *manner == one)
}

/// Goes on until those probes of a client are acked that should be, or the time is over.
fn wait_for(cluster: &mut Sim, client: u32, ms: u64, is_awaited: impl Fn(&Probe) -> bool) {
    for _ in 0..ms / LOOK_MS {
        let waits = |probe: &Probe| is_awaited(probe) && probe.acked.is_none();
        if !cluster.probes(client).any(waits) {
            return;
        }
        cluster.go_on(LOOK_MS);
    }
}

/// The first probe of a client that was not acked.
fn unacked(cluster: &Sim, client: u32) -> Option<&Probe> {
    cluster.probes(client).find(|probe| probe.acked.is_none())
}

/// Goes on until every actor is served and nothing is under way; the processes that are up then.
fn settle(cluster: &mut Sim) -> Vec<Member> {
    let client = cluster.probe();
    wait_for(cluster, client, SETTLED_MS, |_| true);
    assert_eq!(unacked(cluster, client), None, "every group is born and serves");
    cluster.go_on(3 * LOOK_MS);
    assert!(cluster.is_settled());
    cluster.processes_up()
}

/// The cut is over: what these clients asked is acked, so is what is asked now, and the processes that were up are.
fn heal(cluster: &mut Sim, clients: &[u32], processes: &[Member], label: &str) {
    cluster.heal();
    let last = cluster.probe();
    for client in clients.iter().copied().chain([last]) {
        wait_for(cluster, client, SETTLED_MS, |_| true);
        assert_eq!(unacked(cluster, client), None, "{label}: healed, and does not serve");
    }
    for _ in 0..SETTLED_MS / LOOK_MS {
        if cluster.processes_up() == processes {
            return;
        }
        cluster.go_on(LOOK_MS);
    }
    assert_eq!(cluster.processes_up(), processes, "{label}: healed, and others are up");
}

fn configs(cluster: &Sim, groups: u32) -> BTreeMap<GroupId, Config> {
    let config = |group| cluster.active(group).expect("it is born").clone();
    (0..groups)
        .map(|group| (GroupId(group), config(GroupId(group))))
        .collect()
}

/// Five nodes: all of them are members of all groups, so that their links are all that a group has.
const FIVE: [&str; 5] = ["FL-A-1", "FL-B-1", "TN-A-1", "TX-A-1", "UT-A-1"];
/// As few groups as there may be: some for each writer.
const GROUPS_OF_FIVE: u32 = 64;

/// The ten links among five nodes.
fn links() -> impl Iterator<Item = (usize, usize)> {
    (0..FIVE.len()).flat_map(|a| (a + 1..FIVE.len()).map(move |b| (a, b)))
}

/// The links that a pattern cuts.
fn cut(pattern: u32) -> Vec<(usize, usize)> {
    let cut = links().enumerate().filter(|(bit, _)| pattern >> bit & 1 == 1);
    cut.map(|(_, link)| link).collect()
}

/// Whether some member can write: it has links to two others.
fn can_serve(pattern: u32) -> bool {
    let cut = cut(pattern);
    let has_two = |node: usize| {
        let own = links().filter(|link| link.0 == node || link.1 == node);
        own.filter(|link| !cut.contains(link)).count() >= 2
    };
    (0..FIVE.len()).any(has_two)
}

/// Runs one pattern. After how long the slowest group acked; `None` if they refused.
fn run_pattern(pattern: u32, manner: Manner) -> Option<u64> {
    let label = format!("pattern {pattern:010b} {manner:?}");
    let size = Size {
        groups: GROUPS_OF_FIVE,
        actors: 24,
        clients: Some(0),
    };
    let seed = u64::from(pattern);
    let cluster = Sim::sized(seed, Births::TopologyLog, size, &FIVE, &[1; 5], Faults::none(), 0);
    // The topology log is within reach of all, whatever is cut.
    let mut cluster = cluster.with_voters_apart();
    let processes = settle(&mut cluster);

    for (a, b) in cut(pattern) {
        cluster.cut_between(a, b, manner);
    }
    let client = cluster.probe();
    let serves = can_serve(pattern);
    if serves {
        wait_for(&mut cluster, client, SERVES_MS, |_| true);
        assert_eq!(unacked(&cluster, client), None, "{label}: can serve, and does not");
    } else {
        cluster.go_on(SERVES_MS);
        for probe in cluster.probes(client) {
            assert_eq!(probe.acked, None, "{label}: cannot serve, and acks");
            assert!(probe.refused.contains(&Outcome::NoQuorum), "{label}: {probe:?}");
            let is_honest = |outcome: &Outcome| matches!(outcome, Outcome::NoQuorum | Outcome::Unknown);
            assert!(probe.refused.iter().all(is_honest), "{label}: {probe:?}");
        }
    }
    let slowest_ms = cluster.probes(client).filter_map(Probe::took_ms).max();
    // Nobody is down, however few links it has left, because the voters hear it. So nobody is replaced.
    assert_eq!(cluster.processes_up(), processes, "{label}");
    for config in configs(&cluster, GROUPS_OF_FIVE).values() {
        let mut members: Vec<Member> = config.members.clone();
        members.sort_unstable();
        assert_eq!(members, processes[..FIVE.len()], "{label}");
    }
    heal(&mut cluster, &[client], &processes, &label);
    cluster.go_on(QUIET_MS);
    assert_eq!(cluster.judge().violations, [], "{label}");
    slowest_ms.filter(|_| serves)
}

#[test]
fn of_the_1024_patterns_of_cut_links_among_five_members_998_serve_and_26_refuse() {
    let (mut served, mut refused) = (0, 0);
    let mut slowest = (0, 0);
    for pattern in 0..1 << links().count() {
        let one = Manner::ALL[u32::count_ones(pattern) as usize % 2];
        for took_ms in manners(one).map(|manner| run_pattern(pattern, manner)) {
            slowest = slowest.max((took_ms.unwrap_or(0), pattern));
        }
        if can_serve(pattern) {
            served += 1;
        } else {
            refused += 1;
        }
    }
    assert_eq!((served, refused), (998, 26));
    println!(
        "the slowest acked after {} ms, of pattern {:010b}",
        slowest.0, slowest.1
    );
}

const NODES: usize = 32;
const GROUPS: u32 = 256;

/// A split of 32 nodes: FL, TN, TX and UT, eight nodes each, half of them in zone A and half in B.
struct Split {
    label: &'static str,
    /// In which part a node is.
    part_of: fn(usize) -> usize,
    voters: [usize; 5],
}

/// What becomes of a group in a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// Its writer has W members with it, itself among them: it needs no help from the topology log.
    GoesOn,
    /// It has not, and R members are with the majority of the voters.
    Moves,
    /// Neither.
    Refuses,
}

impl Split {
    fn part(&self, member: Member) -> usize {
        (self.part_of)(usize::from(member.node.0) - 1)
    }

    /// The part that has the majority of the voters, if one has.
    fn governing(&self) -> Option<usize> {
        let votes = |part: &usize| {
            let there = self.voters.iter().filter(|voter| (self.part_of)(**voter) == *part);
            there.count()
        };
        (0..NODES).find(|part| votes(part) > self.voters.len() / 2)
    }

    /// Whether what the voters decide reaches a group's writer.
    fn is_governed(&self, config: &Config) -> bool {
        self.governing() == Some(self.part(config.writer()))
    }

    fn fate(&self, config: &Config) -> Fate {
        let together = |part| {
            let there = config.members.iter().filter(|member| self.part(**member) == part);
            there.count()
        };
        if together(self.part(config.writer())) >= config.write_quorum {
            Fate::GoesOn
        } else if self
            .governing()
            .is_some_and(|part| together(part) >= config.read_quorum)
        {
            Fate::Moves
        } else {
            Fate::Refuses
        }
    }

    /// Runs it with links cut in this manner, or in both. How many groups have each fate.
    fn run(&self, manner: Manner) -> BTreeMap<Fate, usize> {
        let fates = manners(manner).map(|manner| self.run_in(manner));
        fates.last().expect("there is one manner at least")
    }

    fn run_in(&self, manner: Manner) -> BTreeMap<Fate, usize> {
        let label = format!("{} {manner:?}", self.label);
        let mut cluster = self.cluster();
        let processes = settle(&mut cluster);
        assert_eq!(processes.len(), NODES, "{label}");
        let before = configs(&cluster, GROUPS);
        let fate_of = |probe: &Probe| self.fate(&before[&probe.group]);

        cluster.split(self.part_of, manner);
        let first = cluster.probe();
        wait_for(&mut cluster, first, SERVES_MS, |probe| fate_of(probe) != Fate::Refuses);
        // Once more when all that moves has moved.
        let second = cluster.probe();
        cluster.go_on(SERVES_MS);
        let mut slowest_ms: BTreeMap<Fate, u64> = BTreeMap::new();
        for probe in cluster.probes(first).chain(cluster.probes(second)) {
            let (fate, old) = (fate_of(probe), &before[&probe.group]);
            assert_eq!(
                probe.acked.is_some(),
                fate != Fate::Refuses,
                "{label}: {fate:?} {probe:?}"
            );
            let view = probe.acked.map(|(_, token)| token.view);
            let fits = match fate {
                // Who is governed gets other members in the places of those that are down.
                Fate::GoesOn => self.is_governed(old) || view == Some(old.view.0),
                Fate::Moves => view > Some(old.view.0),
                Fate::Refuses => probe.refused.contains(&Outcome::NoQuorum),
            };
            assert!(fits, "{label}: {fate:?} {probe:?}");
            let slowest = slowest_ms.entry(fate).or_default();
            *slowest = (*slowest).max(probe.took_ms().unwrap_or(0));
        }
        let mut fates: BTreeMap<Fate, usize> = BTreeMap::new();
        for (group, old) in &before {
            let fate = self.fate(old);
            *fates.entry(fate).or_default() += 1;
            if fate == Fate::Refuses || fate == Fate::GoesOn && !self.is_governed(old) {
                assert_eq!(cluster.active(*group), Some(old), "{label}: changed by who may not");
            }
        }
        if self.governing().is_none() {
            assert!(cluster.is_settled(), "{label}: nobody decides");
            assert_eq!(cluster.processes_up(), processes, "{label}: nobody decides");
        }
        println!("{label}: {fates:?}, slowest acks in ms {slowest_ms:?}");
        heal(&mut cluster, &[first, second], &processes, &label);
        assert_eq!(cluster.finish().violations, [], "{label}");
        fates
    }

    fn cluster(&self) -> Sim {
        let zones = ["FL-A", "FL-B", "TN-A", "TN-B", "TX-A", "TX-B", "UT-A", "UT-B"];
        let nodes = zones
            .iter()
            .flat_map(|zone| (1..=4).map(move |node| format!("{zone}-{node}")));
        let nodes: Vec<String> = nodes.collect();
        let names: Vec<&str> = nodes.iter().map(String::as_str).collect();
        let size = Size {
            groups: GROUPS,
            actors: 200,
            clients: Some(4),
        };
        let births = Births::TopologyLog;
        let cluster = Sim::sized(7, births, size, &names, &[1; NODES], Faults::none(), 2_000);
        cluster.with_voters(&self.voters)
    }
}

/// FL, TN and a node of TX are 17, the others 15.
fn along_data_centres(node: usize) -> usize {
    usize::from(node > 16)
}

/// As many against as many, along no data centre and no zone.
fn across_data_centres(node: usize) -> usize {
    usize::from(node * 7 % NODES > 16)
}

#[test]
fn of_two_data_centres_against_two_every_group_goes_on_at_its_home_side() {
    let split = Split {
        label: "FL TN, voting | TX UT",
        part_of: |node| node / 16,
        voters: [0, 4, 8, 16, 24],
    };
    assert_eq!(split.run(Manner::Silent), BTreeMap::from([(Fate::GoesOn, 256)]));
}

#[test]
fn of_17_voting_nodes_against_15_groups_move_to_the_17_that_cannot_go_on() {
    let split = Split {
        label: "17, voting | 15",
        part_of: along_data_centres,
        voters: [0, 8, 12, 20, 28],
    };
    let fates = [(Fate::GoesOn, 238), (Fate::Moves, 18)];
    assert_eq!(split.run(Manner::Silent), BTreeMap::from(fates));
    let split = Split {
        label: "17, voting | 15, across data centres",
        part_of: across_data_centres,
        voters: [0, 5, 10, 7, 4],
    };
    let fates = [(Fate::GoesOn, 183), (Fate::Moves, 40), (Fate::Refuses, 33)];
    assert_eq!(split.run(Manner::Closed), BTreeMap::from(fates));
}

#[test]
fn of_17_nodes_against_15_voting_ones_no_group_moves_that_has_its_quorum_at_the_17() {
    let split = Split {
        label: "17 | 15, voting",
        part_of: along_data_centres,
        voters: [0, 8, 20, 24, 28],
    };
    let fates = [(Fate::GoesOn, 238), (Fate::Refuses, 18)];
    assert_eq!(split.run(Manner::Silent), BTreeMap::from(fates));
    let split = Split {
        label: "17 | 15, voting, across data centres",
        part_of: across_data_centres,
        voters: [0, 5, 7, 4, 3],
    };
    let fates = [(Fate::GoesOn, 183), (Fate::Moves, 33), (Fate::Refuses, 40)];
    assert_eq!(split.run(Manner::Closed), BTreeMap::from(fates));
}

#[test]
fn of_a_data_centre_that_is_cut_off_all_groups_move_out_and_the_others_go_on() {
    let split = Split {
        label: "FL | TN TX UT, voting",
        part_of: |node| usize::from(node > 7),
        voters: [0, 4, 8, 16, 24],
    };
    let fates = [(Fate::GoesOn, 192), (Fate::Moves, 64)];
    assert_eq!(split.run(Manner::Closed), BTreeMap::from(fates));
}

#[test]
fn a_split_that_leaves_no_part_a_majority_of_the_voters_changes_nothing() {
    let split = Split {
        label: "FL | TN | TX UT",
        part_of: |node| (node / 8).min(2),
        voters: [0, 4, 8, 12, 16],
    };
    let fates = [(Fate::GoesOn, 128), (Fate::Refuses, 128)];
    assert_eq!(split.run(Manner::Silent), BTreeMap::from(fates));
}
