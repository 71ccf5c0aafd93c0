//! The read-back: every message that was acked is looked for in all members of its group, and has to stand in three of them, once in each.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use waterpark_ring::{GroupId, Topology};
use waterpark_wire::checksum;

use super::outcome::Ledger;
use crate::ledger::members::{Logs, Members};

/// Members that have to hold what was acked.
const COPIES_MIN: u8 = 3;
/// How long a member may take to learn of the last commits.
const PATIENCE: Duration = Duration::from_secs(10);
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

/// Reads all members of all groups and compares. A member that cannot be read holds nothing, as far as is known.
#[must_use]
pub fn check(topology: &Topology, key: [u8; 32], ledger: &Ledger) -> Findings {
    let mut findings = Findings::default();
    let mut held: HashMap<u64, u8> = ledger.acked.keys().map(|digest| (*digest, 0)).collect();
    let mut members = Members::new(topology, key);
    let mut silent: HashSet<u16> = HashSet::new();
    let until = Instant::now() + PATIENCE;
    for group in 0..topology.keyspace().groups() {
        let group = GroupId(group);
        let mut commits: Vec<(u16, u64, u64, HashSet<u64>)> = Vec::new();
        for node in topology.birth().members(group).nodes() {
            if silent.contains(&node.0) {
                continue;
            }
            let mut seen: HashSet<u64> = HashSet::new();
            match read(&mut members, node.0, group, 1, &mut held, &mut seen, &mut findings) {
                Ok((next, commit)) => commits.push((node.0, next, commit, seen)),
                Err(error) => {
                    members.forget(node.0);
                    silent.insert(node.0);
                    findings.unreadable += 1;
                    findings.say(format!("node {} cannot be read: {error}", node.0));
                }
            }
        }
        // A follower learns of a commit with the next word of its writer: whoever is behind is read again.
        let committed = commits.iter().map(|(_, _, commit, _)| *commit).max().unwrap_or(0);
        for (node, mut next, mut commit, mut seen) in commits {
            while commit < committed && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
                match read(&mut members, node, group, next, &mut held, &mut seen, &mut findings) {
                    Ok(read) => (next, commit) = read,
                    Err(_) => break,
                }
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

/// Reads one member of one group from a seq on; the first seq that was not read, and its commit.
fn read(
    members: &mut Members<'_>,
    node: u16,
    group: GroupId,
    from: u64,
    held: &mut HashMap<u64, u8>,
    seen: &mut HashSet<u64>,
    findings: &mut Findings,
) -> Result<(u64, u64), waterpark_client::ClientError> {
    members.read(node, group, from, &mut |entry| {
        let Some(message) = entry.message else { return };
        let digest = checksum::bytes(message);
        // What others sent meanwhile is none of ours.
        let Some(copies) = held.get_mut(&digest) else { return };
        if seen.insert(digest) {
            *copies = copies.saturating_add(1);
        } else {
            findings.duplicated += 1;
            findings.say(format!(
                "node {node} holds the message with hash {digest:016x} more than once"
            ));
        }
    })
}
