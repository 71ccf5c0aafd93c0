//! Looks at the nodes once a second, over the native protocol as anybody would, and keeps what it saw.
//!
//! **Invariant:** a node that does not answer costs the others' figures a moment, never the demo: this is a thread of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use waterpark_client::ReadOptions;
use waterpark_client::blocking::{Client, ClusterAddresses, ConnectOptions};
use waterpark_wire::body::StatusBody;

use super::account::Kept;
use crate::demo_screen::view::Copies;
use crate::status::{Groups, counter};

/// Between two looks.
const PERIOD: Duration = Duration::from_secs(1);
/// How long one node may take to answer.
const ANSWER_MS: u32 = 500;

/// What one node said.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) messages_per_s: u64,
    pub(super) acks_per_s: u64,
    pub(super) entries: u64,
    pub(super) kept: Kept,
    pub(super) actors: u64,
    pub(super) memory_used: u64,
    pub(super) memory_budget: u64,
    messages: u64,
    acks: u64,
    at: Option<Instant>,
}

/// What all said.
#[derive(Clone, Debug, Default)]
pub(super) struct Sight {
    pub(super) nodes: BTreeMap<u16, Seen>,
    pub(super) copies: Copies,
    pub(super) driver: String,
    /// The members of each group, the writer first, as the newest writer that answered last has them; of one without such a writer as they
    /// were before.
    pub(super) seats: Vec<Vec<u16>>,
    /// When the look began.
    pub(super) looked: Option<Instant>,
}

/// The thread that looks.
pub(super) struct Watch {
    sight: Arc<Mutex<Sight>>,
    paused: Arc<Mutex<Vec<u16>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins to look at these nodes.
    pub(super) fn start(addresses: ClusterAddresses, key: [u8; 32], nodes: Vec<u16>, groups: u32) -> Watch {
        let sight: Arc<Mutex<Sight>> = Arc::default();
        let paused: Arc<Mutex<Vec<u16>>> = Arc::default();
        let ended = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (sight, paused, ended) = (Arc::clone(&sight), Arc::clone(&paused), Arc::clone(&ended));
            move || {
                let mut client = None;
                let mut commits = BTreeMap::new();
                while !ended.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    if client.is_none() {
                        client = Client::connect(addresses.clone(), &key, ConnectOptions::default()).ok();
                    }
                    if let Some(client) = &client {
                        let skipped = lock(&paused).clone();
                        let mut next = lock(&sight).clone();
                        if let Some(said) = look(client, &nodes, &skipped, &mut next, &ended) {
                            next.looked = Some(begun);
                            next.seats.resize(groups as usize, Vec::new());
                            seat(&said, &mut next.seats);
                            // By what was committed a look ago: under load a copy is always a little behind.
                            let said: Vec<&StatusBody> = said.iter().collect();
                            let counted = Groups::since(&said, groups, &commits);
                            next.copies = copies(&counted);
                            commits = counted.commits();
                        }
                        *lock(&sight) = next;
                    }
                    while begun.elapsed() < PERIOD && !ended.load(Ordering::Relaxed) {
                        thread::sleep(Duration::from_millis(20));
                    }
                }
            }
        });
        Watch {
            sight,
            paused,
            ended,
            thread: Some(thread),
        }
    }

    /// What was seen last.
    pub(super) fn sight(&self) -> Sight {
        lock(&self.sight).clone()
    }

    /// Whether all nodes were looked at once.
    pub(super) fn has_looked(&self) -> bool {
        lock(&self.sight).copies.groups > 0
    }

    /// These nodes are not asked: they would not answer.
    pub(super) fn skip(&self, nodes: Vec<u16>) {
        *lock(&self.paused) = nodes;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so.
            drop(thread.join());
        }
    }
}

/// What another thread left in its midst is still the newest that there is.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts down who the members of each group are: of several that say they write it, the one with the newest view knows.
fn seat(said: &[StatusBody], seats: &mut [Vec<u16>]) {
    let mut newest: BTreeMap<u32, u64> = BTreeMap::new();
    for group in said.iter().flat_map(|status| &status.groups) {
        let Some(seat) = seats.get_mut(group.group as usize).filter(|_| group.role == "writer") else {
            continue;
        };
        let view = newest.entry(group.group).or_default();
        if *view <= group.view {
            *view = group.view;
            seat.clone_from(&group.members);
        }
    }
}

/// Asks all these nodes who the members of each group are, for whoever reads them then.
pub(super) fn seats(client: &Client, nodes: &[u16], groups: u32) -> Vec<Vec<u16>> {
    let options = ReadOptions {
        timeout_ms: ANSWER_MS,
        ..ReadOptions::default()
    };
    let said = nodes.iter().filter_map(|node| client.status(*node, 0, &options).ok());
    let said: Vec<StatusBody> = said.collect();
    let mut seats = vec![Vec::new(); groups as usize];
    // Of a group that nobody writes just now whoever holds some of it is asked.
    for status in &said {
        for group in status.groups.iter().filter(|group| group.role != "unborn") {
            if let Some(seat) = seats.get_mut(group.group as usize) {
                seat.push(status.node_id);
            }
        }
    }
    seat(&said, &mut seats);
    seats
}

/// Asks all nodes that are not skipped, and takes in what each says of itself. All that they said, or nothing if it was ended meanwhile.
fn look(
    client: &Client,
    nodes: &[u16],
    skipped: &[u16],
    sight: &mut Sight,
    ended: &AtomicBool,
) -> Option<Vec<StatusBody>> {
    let options = ReadOptions {
        timeout_ms: ANSWER_MS,
        ..ReadOptions::default()
    };
    let mut said = Vec::with_capacity(nodes.len());
    for node in nodes {
        if ended.load(Ordering::Relaxed) {
            return None;
        }
        let status = if skipped.contains(node) {
            None
        } else {
            client.status(*node, 0, &options).ok()
        };
        let seen = sight.nodes.entry(*node).or_default();
        match status {
            Some(status) => {
                note_driver(&status.driver, &mut sight.driver);
                see(&status, seen);
                said.push(status);
            }
            None => (seen.messages_per_s, seen.acks_per_s) = (0, 0),
        }
    }
    Some(said)
}

/// Groups as the screen has them. One whose writer does not answer commits nothing now.
fn copies(groups: &Groups) -> Copies {
    Copies {
        groups: groups.total,
        five: groups.five,
        four: groups.four,
        three: groups.three,
        fewer: groups.total - groups.five - groups.four - groups.three,
    }
}

/// Adds a driver to those that were seen. A node keeps its driver for life, and nodes of one host may have different ones.
fn note_driver(driver: &str, seen: &mut String) {
    const AND: &str = " and ";
    if seen.split(AND).any(|known| known == driver) {
        return;
    }
    if !seen.is_empty() {
        seen.push_str(AND);
    }
    seen.push_str(driver);
}

fn see(status: &StatusBody, seen: &mut Seen) {
    let (messages, acks) = (counter(status, "mllp_messages"), counter(status, "mllp_accepted"));
    let now = Instant::now();
    if let Some(before) = seen.at.replace(now) {
        let ms = u64::try_from(now.duration_since(before).as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        seen.messages_per_s = messages.saturating_sub(seen.messages) * 1_000 / ms;
        seen.acks_per_s = acks.saturating_sub(seen.acks) * 1_000 / ms;
    }
    (seen.messages, seen.acks) = (messages, acks);
    seen.entries = status.groups.iter().map(|group| group.last_seq).sum();
    seen.kept = Kept::of(status);
    let written = status.groups.iter().filter(|group| group.role == "writer");
    seen.actors = written.map(|group| group.actors).sum();
    (seen.memory_used, seen.memory_budget) = (status.memory_used, status.memory_budget);
}

#[cfg(test)]
mod tests {
    use waterpark_wire::body::GroupBody;

    use super::*;

    #[test]
    fn of_two_that_say_they_write_a_group_the_newer_view_names_its_members() {
        let status = |role: &str, view: u64, members: &[u16]| StatusBody {
            groups: vec![GroupBody {
                group: 1,
                role: role.to_owned(),
                view,
                members: members.to_vec(),
                ..GroupBody::default()
            }],
            ..StatusBody::default()
        };
        let said = [
            status("writer", 9, &[4, 5, 6]),
            status("writer", 3, &[1, 2, 3]),
            status("follower", 11, &[7]),
        ];
        let mut seats = vec![vec![8], vec![9]];
        seat(&said, &mut seats);
        assert_eq!(seats, [vec![8], vec![4, 5, 6]]);
    }
}
