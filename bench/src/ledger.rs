//! What is known of each message, and how that compares with what the members hold.
//!
//! **Invariant:** an acked message must be found once in each of three members; one that was refused must be found in none.

use waterpark_client::blocking::BulkReader;
use waterpark_client::{Address, ClientError};
use waterpark_ring::{GroupId, Topology};

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::workload::{Changed, KeyText, Workload};

/// Members that must hold an acked message.
pub const COPIES: usize = 3;
/// How long a member may take to learn what is committed.
const CATCH_UP: Duration = Duration::from_secs(10);
/// How long one read from a member may take.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Findings of one kind that are described; the rest is counted.
const DESCRIBED_MAX: usize = 8;

/// What the sender knows of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fate {
    /// Not sent, or not ended.
    Open,
    /// Acked.
    Acked,
    /// Refused for good.
    Refused,
    /// Nothing is known.
    Unknown,
}

/// The fates of all messages, by serial.
#[derive(Debug, Default)]
pub struct Ledger(Vec<Fate>);

impl Ledger {
    /// Notes the end of a message.
    pub fn note(&mut self, serial: u64, fate: Fate) {
        let at = usize::try_from(serial).expect("serials count messages in memory");
        if self.0.len() <= at {
            self.0.resize((at + 1).next_multiple_of(1 << 16), Fate::Open);
        }
        self.0[at] = fate;
    }

    /// How many have a fate.
    #[must_use]
    pub fn count(&self, fate: Fate) -> u64 {
        self.0.iter().filter(|other| **other == fate).count() as u64
    }

    fn fate(&self, serial: u64) -> Option<Fate> {
        let at = usize::try_from(serial).ok()?;
        self.0.get(at).copied()
    }
}

/// What reading back found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Acked messages that fewer than three members hold.
    pub lost: u64,
    /// Messages that a member holds more than once.
    pub duplicated: u64,
    /// Refused messages that a member holds all the same.
    pub refused_but_held: u64,
    /// Entries whose bytes were never sent, or that belong to another actor or group.
    pub foreign: u64,
    /// Members that could not be read, or whose log is not a chain.
    pub unreadable: u64,
    /// Acked messages that were looked for.
    pub looked_for: u64,
    /// Entries that were read, over all members.
    pub entries: u64,
    /// Bytes of their messages.
    pub bytes: u64,
    /// Some of it in words.
    pub said: Vec<String>,
}

impl Findings {
    /// Whether nothing was found that must not be.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost == 0
            && self.duplicated == 0
            && self.refused_but_held == 0
            && self.foreign == 0
            && self.unreadable == 0
    }

    fn say(&mut self, text: impl FnOnce() -> String) {
        if self.said.len() < DESCRIBED_MAX {
            self.said.push(text());
        }
    }
}

/// Reads every group back from three of its members, and from the others where those do not hold all of it.
pub struct Checker<'a> {
    /// The cluster's placement.
    pub topology: &'a Topology,
    /// Its key.
    pub key: [u8; 32],
    /// The work that was sent.
    pub workload: Workload,
    /// What is known of it.
    pub ledger: &'a Ledger,
}

impl Checker<'_> {
    /// Looks for everything. One group is in memory at a time.
    #[must_use]
    pub fn check(&self) -> Findings {
        let mut findings = Findings::default();
        let mut readers: BTreeMap<(u16, u16), BulkReader> = BTreeMap::new();
        let mut seen = vec![0u8; self.ledger.0.len()];
        for group in (0..self.topology.spec().groups).map(GroupId) {
            let members = self.topology.birth().members(group).nodes().to_vec();
            // Beginning with another member for each group, so that all of them are read.
            let first = group.0 as usize % members.len();
            let order: Vec<u16> = (0..members.len())
                .map(|at| members[(first + at) % members.len()].0)
                .collect();
            let commit = self.commit_of(group, members[0].0, &mut readers, &mut findings);
            let wanted = COPIES.min(order.len());
            let mut held: Vec<u64> = Vec::new();
            for (at, member) in order.iter().enumerate() {
                if at >= wanted && !self.lacks(&held, &seen, wanted) {
                    break;
                }
                self.read(
                    group,
                    *member,
                    commit,
                    &mut readers,
                    &mut seen,
                    &mut held,
                    &mut findings,
                );
            }
            if self.lacks(&held, &seen, wanted) {
                for serial in &held {
                    let copies = seen[usize::try_from(*serial).expect("indexed before")];
                    if usize::from(copies) < wanted && self.ledger.fate(*serial) == Some(Fate::Acked) {
                        findings.lost += 1;
                        findings.say(|| format!("message {serial} of {group:?} is acked and held by {copies} members"));
                    }
                }
            }
        }
        // What no member of any group holds was not met above.
        for (serial, fate) in (0u64..).zip(&self.ledger.0) {
            if *fate == Fate::Acked {
                findings.looked_for += 1;
                if seen[usize::try_from(serial).expect("indexed before")] == 0 {
                    findings.lost += 1;
                    findings.say(|| format!("message {serial} is acked and held by no member that was read"));
                }
            }
        }
        findings
    }

    /// Whether some acked message of a group was met by fewer members than it must be.
    fn lacks(&self, held: &[u64], seen: &[u8], wanted: usize) -> bool {
        held.iter().any(|serial| {
            let copies = usize::try_from(*serial).map_or(0, |at| seen[at]);
            usize::from(copies) < wanted && self.ledger.fate(*serial) == Some(Fate::Acked)
        })
    }

    fn reader<'r>(
        &self,
        group: GroupId,
        member: u16,
        readers: &'r mut BTreeMap<(u16, u16), BulkReader>,
    ) -> Result<&'r mut BulkReader, ClientError> {
        let node = self.topology.nodes().iter().find(|node| node.id.0 == member);
        let node = node.ok_or(ClientError::NotMember { group: group.0 })?;
        let shard = u16::try_from(group.0 % u32::from(node.shards)).expect("below the shards");
        if !readers.contains_key(&(member, shard)) {
            let address = Address {
                host: node.host.clone(),
                port: node.port + 64 + shard,
            };
            let reader = BulkReader::connect(&address, &self.key, READ_TIMEOUT)?;
            readers.insert((member, shard), reader);
        }
        Ok(readers.get_mut(&(member, shard)).expect("inserted above"))
    }

    /// How far the writer has committed; `None` if it cannot be read.
    fn commit_of(
        &self,
        group: GroupId,
        writer: u16,
        readers: &mut BTreeMap<(u16, u16), BulkReader>,
        findings: &mut Findings,
    ) -> Option<u64> {
        let asked = self
            .reader(group, writer, readers)
            .and_then(|reader| reader.read(group.0, u64::MAX, |_| ()));
        match asked {
            Ok((_, commit)) => Some(commit),
            Err(error) => {
                findings.say(|| format!("{group:?}: its writer, node {writer}, cannot be read: {error}"));
                None
            }
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the books of one check, each with its own borrow"
    )]
    fn read(
        &self,
        group: GroupId,
        member: u16,
        commit: Option<u64>,
        readers: &mut BTreeMap<(u16, u16), BulkReader>,
        seen: &mut [u8],
        held: &mut Vec<u64>,
        findings: &mut Findings,
    ) {
        let until = Instant::now() + CATCH_UP;
        let mut scratch = Vec::new();
        let mut text = KeyText::default();
        let mut from = 1;
        // Serials of this member alone: met twice here is twice in one log.
        let mut own: Vec<u64> = Vec::new();
        loop {
            let read = self.reader(group, member, readers).and_then(|reader| {
                reader.read(group.0, from, |entry| {
                    findings.entries += 1;
                    findings.bytes += entry.message.len() as u64;
                    if entry.is_tick() || entry.is_void() {
                        return;
                    }
                    match self.workload.serial(entry.message, &mut scratch) {
                        Ok(Some(serial)) => {
                            // Where reading goes on behind the first entries the key of an older actor was not met again.
                            let key = self.workload.key(self.workload.actor(serial), &mut text);
                            let right = key.is_ok_and(|key| {
                                entry.key.is_none_or(|held| held == key.bytes())
                                    && self.topology.locate(key).group == group
                            });
                            if right {
                                own.push(serial);
                            } else {
                                findings.foreign += 1;
                                findings.say(|| {
                                    format!("node {member} holds message {serial} under a wrong actor of {group:?}")
                                });
                            }
                        }
                        Ok(None) => (),
                        Err(Changed(serial)) => {
                            findings.foreign += 1;
                            findings.say(|| {
                                format!("node {member} holds message {serial} with other bytes than were sent")
                            });
                        }
                    }
                })
            });
            match read {
                Ok((next_seq, told)) => {
                    from = next_seq;
                    let behind = commit.is_some_and(|commit| told < commit);
                    if !behind || Instant::now() >= until {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(error) => {
                    findings.unreadable += 1;
                    findings.say(|| format!("node {member} cannot be read for {group:?}: {error}"));
                    // The connection is of no more use; the next group of the member gets a new one.
                    readers.retain(|(node, _), _| *node != member);
                    break;
                }
            }
        }
        own.sort_unstable();
        for pair in own.windows(2).filter(|pair| pair[0] == pair[1]) {
            findings.duplicated += 1;
            findings.say(|| format!("node {member} holds message {} of {group:?} twice", pair[0]));
        }
        own.dedup();
        for serial in &own {
            let Some(copies) = usize::try_from(*serial).ok().and_then(|at| seen.get_mut(at)) else {
                findings.foreign += 1;
                findings.say(|| format!("node {member} holds message {serial}, which was never sent"));
                continue;
            };
            *copies = copies.saturating_add(1);
            if *copies == 1 {
                held.push(*serial);
                if self.ledger.fate(*serial) == Some(Fate::Refused) {
                    findings.refused_but_held += 1;
                    findings.say(|| format!("message {serial} was refused, and node {member} holds it"));
                }
            }
        }
    }
}
