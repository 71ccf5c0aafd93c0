//! The read-back: every message that was acked is looked for in all members of its group, and has to stand in three of them, once in each.
//!
//! Who the members are is asked of somebody else, and again while one of them cannot be read: a group may have moved meanwhile. **Invariant:**
//! copies are counted from one look at a group, never from two: members that came and went would be counted beside those that stayed.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use waterpark_client::ClientError;
use waterpark_ring::{GroupId, Topology};
use waterpark_wire::checksum;

use super::outcome::Ledger;
use crate::ledger::members::{Logs, Members};

/// Members that have to hold what was acked.
const COPIES_MIN: u8 = 3;
/// How long a member may take to learn of the last commits.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long groups that still move may take to come to rest, all together.
const REST_MAX: Duration = Duration::from_secs(60);
/// A group of which a member could not be read, or only in part, is looked up again after this.
const AGAIN: Duration = Duration::from_millis(200);
/// Findings that are told one by one.
const SAID_MAX: usize = 8;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// Acks, each of which was looked for.
    pub looked_for: u64,
    /// Of these, those that fewer than three members hold.
    pub lost: u64,
    /// Messages that a member holds more than once.
    pub duplicated: u64,
    /// Members that could not be read.
    pub unreadable: u64,
    /// The first findings, in words.
    pub said: Vec<String>,
}

impl Findings {
    /// Whether all is as it was promised.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicated == 0
    }

    fn say(&mut self, text: String) {
        if self.said.len() < SAID_MAX {
            self.said.push(text);
        }
    }
}

/// The members of all groups, by group. It is called again while members that it named cannot be read.
pub type Seats<'a> = &'a mut dyn FnMut() -> Vec<Vec<u16>>;

/// As [`check_where`], in a cluster whose groups stay where they were born.
#[must_use]
pub fn check(topology: &Topology, key: [u8; 32], ledger: &Ledger) -> Findings {
    let born = |group| {
        topology
            .birth()
            .members(GroupId(group))
            .nodes()
            .iter()
            .map(|node| node.0)
            .collect()
    };
    let mut seats = || (0..topology.keyspace().groups()).map(born).collect();
    let rests_until = Instant::now();
    check_until(topology, key, ledger, &mut seats, rests_until)
}

/// Reads all members of all groups and compares. A member that cannot be read holds nothing, as far as is known.
#[must_use]
pub fn check_where(topology: &Topology, key: [u8; 32], ledger: &Ledger, seats: Seats<'_>) -> Findings {
    check_until(topology, key, ledger, seats, Instant::now() + REST_MAX)
}

fn check_until(
    topology: &Topology,
    key: [u8; 32],
    ledger: &Ledger,
    seats: Seats<'_>,
    rests_until: Instant,
) -> Findings {
    let mut findings = Findings::default();
    let mut held: HashMap<u64, u8> = ledger.acked.keys().map(|digest| (*digest, 0)).collect();
    let mut reading = Reading {
        members: Members::new(topology, key),
        silent: HashSet::new(),
        patient_until: Instant::now() + PATIENCE,
    };
    let mut seated = seats();
    for group in 0..topology.keyspace().groups() {
        let read = loop {
            let nodes = seated.get(group as usize).map_or(&[][..], Vec::as_slice);
            let may_move = Instant::now() < rests_until;
            let read = reading.group(GroupId(group), nodes, &held, may_move);
            let is_whole = read.failures.is_empty() && !read.is_behind && read.logs.len() >= usize::from(COPIES_MIN);
            if is_whole || !may_move {
                break read;
            }
            std::thread::sleep(AGAIN);
            seated = seats();
        };
        for (node, error) in read.failures {
            if reading.silent.insert(node) {
                findings.unreadable += 1;
                findings.say(format!("node {node} cannot be read: {error}"));
            }
        }
        for log in read.logs {
            for digest in log.seen {
                let copies = held.get_mut(&digest).expect("only what is looked for was kept");
                *copies = copies.saturating_add(1);
            }
            for digest in log.again {
                findings.duplicated += 1;
                let node = log.node;
                findings.say(format!(
                    "node {node} holds the message with hash {digest:016x} more than once"
                ));
            }
        }
    }
    for (digest, acks) in &ledger.acked {
        if *acks > 0 {
            findings.looked_for += acks;
            let copies = held.get(digest).copied().unwrap_or(0);
            if copies < COPIES_MIN {
                findings.lost += 1;
                findings.say(format!(
                    "the message with hash {digest:016x} is held by {copies} members"
                ));
            }
        }
    }
    findings
}

/// What one member of one group holds of what is looked for.
struct Log {
    node: u16,
    seen: HashSet<u64>,
    /// What it holds once more.
    again: Vec<u64>,
    /// The first seq that was not read.
    next: u64,
    commit: u64,
}

/// What the members of one group gave.
#[derive(Default)]
struct Read {
    logs: Vec<Log>,
    failures: Vec<(u16, ClientError)>,
    /// One has not committed what another has: it is slow, or no member any more and holds nothing.
    is_behind: bool,
}

struct Reading<'a> {
    members: Members<'a>,
    /// Nodes that were given up.
    silent: HashSet<u16>,
    patient_until: Instant,
}

impl Reading<'_> {
    /// Reads a group from all its members, to what the furthest of them has committed. Where the group may move nobody who is behind is waited
    /// for: it may be no member any more.
    fn group(&mut self, group: GroupId, nodes: &[u16], wanted: &HashMap<u64, u8>, may_move: bool) -> Read {
        let mut read = Read::default();
        for node in nodes {
            if self.silent.contains(node) {
                continue;
            }
            let mut log = Log {
                node: *node,
                seen: HashSet::new(),
                again: Vec::new(),
                next: 1,
                commit: 0,
            };
            match self.member(group, &mut log, wanted) {
                Ok(()) => read.logs.push(log),
                Err(error) => {
                    self.members.forget(*node);
                    read.failures.push((*node, error));
                }
            }
        }
        // A follower learns of a commit with the next word of its writer: whoever is behind is read again.
        let committed = read.logs.iter().map(|log| log.commit).max().unwrap_or(0);
        let until = if may_move {
            self.patient_until.min(Instant::now() + AGAIN)
        } else {
            self.patient_until
        };
        for log in &mut read.logs {
            while log.commit < committed && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
                if self.member(group, log, wanted).is_err() {
                    break;
                }
            }
            read.is_behind |= log.commit < committed;
        }
        read
    }

    /// Reads one member of one group on from where it was read to.
    fn member(&mut self, group: GroupId, log: &mut Log, wanted: &HashMap<u64, u8>) -> Result<(), ClientError> {
        let Log {
            node,
            seen,
            again,
            next,
            commit,
        } = log;
        let from = *next;
        let read = self.members.read(*node, group, from, &mut |entry| {
            // A run that began before what is asked for shows its first entries again.
            let Some(message) = entry.message.filter(|_| entry.seq >= from) else {
                return;
            };
            let digest = checksum::bytes(message);
            // What others sent meanwhile is none of ours.
            if wanted.contains_key(&digest) && !seen.insert(digest) {
                again.push(digest);
            }
        });
        (*next, *commit) = read?;
        Ok(())
    }
}
