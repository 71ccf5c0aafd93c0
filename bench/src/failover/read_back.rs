//! Every acked message, looked for in the logs of its group's members: in three of them at least, once in each, in the order in which its
//! client sent.
//!
//! It reads over the native protocol as anybody could, and shares no code with the simulator's checkers. It believes a node that it is a
//! member, and nothing about what it holds. **Invariant:** a message that no member shows is lost, whatever was acked or counted elsewhere.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, Instant};

use waterpark_client::blocking::BulkReader;
use waterpark_client::{Address, ClientError};

use super::load::{End, Lane};
use crate::sight::{GroupSight, Sight};
use crate::workload::{KeyText, Workload};

/// Members that must hold an acked message.
const COPIES: u8 = 3;
/// How long a member may take to learn what its writer has committed.
const CATCH_UP: Duration = Duration::from_secs(5);
/// How long one read from a member may take.
const READ: Duration = Duration::from_secs(5);
/// How long groups may take to come to rest, all together.
const SETTLE_MAX: Duration = Duration::from_secs(60);
/// A group that moved is read again after this.
const AGAIN: Duration = Duration::from_millis(100);
/// Findings that are described; the rest is counted.
const DESCRIBED_MAX: usize = 12;

/// What reading back found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Acked messages that fewer than three members hold.
    pub lost: u64,
    /// Messages that stand twice in one member's log.
    pub duplicated: u64,
    /// Messages that stand before one that their client had sent earlier to the same group.
    pub disordered: u64,
    /// Messages that were refused for certain, and are held.
    pub refused_but_held: u64,
    /// Entries with bytes that were never sent; seqs at which two members hold different messages.
    pub differing: u64,
    /// Members that could not be read to their writer's commit.
    pub unreadable: u64,
    /// Acked messages that were looked for.
    pub looked_for: u64,
    /// Messages whose end is unknown and that are held.
    pub unknown_and_held: u64,
    /// Some of it in words.
    pub said: Vec<String>,
}

impl Findings {
    /// Whether nothing was found that must not be. A member that cannot be read is bad, and what it alone held counts as lost already.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost + self.duplicated + self.disordered + self.refused_but_held + self.differing == 0
    }

    fn say(&mut self, text: impl FnOnce() -> String) {
        if self.said.len() < DESCRIBED_MAX {
            self.said.push(text());
        }
    }
}

/// What is known of a message.
#[derive(Clone, Copy, Debug)]
struct Known {
    end: End,
    /// Its place among all that its client sent.
    place: u32,
    client: u16,
    /// Members in which it was met.
    copies: u8,
}

/// Everything that was sent, and where it was met.
pub(super) struct Books {
    workload: Workload,
    /// By key.
    groups: Vec<u32>,
    known: BTreeMap<u64, Known>,
    /// By group, where the logs were when sending began, if the cluster has other messages than these.
    others_below: Option<Vec<u64>>,
    /// Members that must hold an acked message.
    copies: u8,
    findings: Findings,
}

/// One entry with a message, as a member shows it.
#[derive(Clone, Debug)]
struct Shown {
    seq: u64,
    /// `None` where reading began behind the entry that introduces its actor.
    key: Option<Vec<u8>>,
    message: Vec<u8>,
}

impl Books {
    /// All that was sent, and the group of each key.
    pub(super) fn new(workload: Workload, groups: Vec<u32>, lanes: &[Lane]) -> Books {
        let mut known = BTreeMap::new();
        for (client, lane) in (0..).zip(lanes) {
            for (place, row) in (0..).zip(&lane.rows) {
                let of_row = Known {
                    end: row.end,
                    place,
                    client,
                    copies: 0,
                };
                let before = known.insert(row.serial, of_row);
                assert!(before.is_none(), "a serial is sent once");
            }
        }
        Books {
            workload,
            groups,
            known,
            others_below: None,
            copies: COPIES,
            findings: Findings::default(),
        }
    }

    /// The cluster holds other messages too: it is read from these seqs on, by group, and what is not ours is passed by. An ack of it means so
    /// many members.
    pub(super) fn beside_others(self, from: Vec<u64>, copies: u8) -> Books {
        Books {
            others_below: Some(from),
            copies,
            ..self
        }
    }

    /// The groups that are read, each from a seq on.
    fn read_from(&self, groups: usize) -> Vec<(u32, u64)> {
        let all = 0..u32::try_from(groups).expect("groups are counted in 32 bits");
        match &self.others_below {
            None => all.map(|group| (group, 1)).collect(),
            Some(from) => all
                .filter(|group| self.groups.contains(group))
                .map(|group| (group, from[group as usize]))
                .collect(),
        }
    }

    /// Reads all members of all groups. `look` says who they are: groups may still move, so a group of which a member is not there any more is
    /// looked up and read again, for a while.
    pub(super) fn read(mut self, mut look: impl FnMut() -> Sight, mut members: Members<'_>) -> Findings {
        let until = Instant::now() + SETTLE_MAX;
        let mut sight = look();
        for (group, from) in self.read_from(sight.groups.len()) {
            let logs = loop {
                let read = members.read(group, from, &sight.groups[group as usize]);
                if read.failures.is_empty() {
                    break read.logs;
                }
                if Instant::now() >= until {
                    self.findings.unreadable += read.failures.len() as u64;
                    read.failures
                        .into_iter()
                        .for_each(|failure| self.findings.say(|| failure));
                    members.is_patient = false;
                    break read.logs;
                }
                std::thread::sleep(AGAIN);
                sight = look();
            };
            let mut shown: BTreeMap<u64, u64> = BTreeMap::new();
            for (member, log) in logs {
                let own = self.recognise(group, &member, &log);
                self.member(group, &member, &own, &mut shown);
            }
        }
        self.finish()
    }

    /// The messages of a member's log, by seq and serial.
    fn recognise(&mut self, group: u32, member: &str, log: &[Shown]) -> Vec<(u64, u64)> {
        let (mut scratch, mut text) = (Vec::new(), KeyText::default());
        let mut own = Vec::new();
        for shown in log {
            let serial = match self.workload.serial(&shown.message, &mut scratch) {
                Ok(None) if self.others_below.is_some() => continue,
                Ok(serial) => serial.filter(|serial| self.known.contains_key(serial)),
                Err(_) => None,
            };
            let right = serial.filter(|serial| {
                let actor = self.workload.actor(*serial);
                let key = self.workload.key(actor, &mut text);
                let at = usize::try_from(actor).expect("keys are few");
                let is_key = |held: &Vec<u8>| key.is_ok_and(|key| key.bytes() == held.as_slice());
                self.groups[at] == group && shown.key.as_ref().is_none_or(is_key)
            });
            match right {
                Some(serial) => own.push((shown.seq, serial)),
                None => {
                    let seq = shown.seq;
                    self.findings.differing += 1;
                    self.findings
                        .say(|| format!("{member} holds at seq {seq} of group {group} what was never sent to it"));
                }
            }
        }
        own
    }

    /// What one member of one group holds, in the order of its log.
    fn member(&mut self, group: u32, member: &str, own: &[(u64, u64)], shown: &mut BTreeMap<u64, u64>) {
        let mut newest: BTreeMap<u16, u32> = BTreeMap::new();
        let mut met: BTreeMap<u64, u64> = BTreeMap::new();
        for (seq, serial) in own {
            let findings = &mut self.findings;
            if *shown.entry(*seq).or_insert(*serial) != *serial {
                findings.differing += 1;
                findings.say(|| format!("{member} holds another message at seq {seq} of group {group} than others"));
            }
            if let Some(first) = met.insert(*serial, *seq) {
                findings.duplicated += 1;
                findings.say(|| format!("{member} holds message {serial} at seqs {first} and {seq} of group {group}"));
                continue;
            }
            let known = self.known.get_mut(serial).expect("it was recognised");
            known.copies = known.copies.saturating_add(1);
            let last = newest.entry(known.client).or_insert(known.place);
            if *last > known.place {
                let client = known.client;
                findings.disordered += 1;
                findings.say(|| {
                    format!("{member} holds message {serial} of client {client} at seq {seq} of group {group} behind a later one")
                });
            }
            *last = known.place.max(*last);
        }
    }

    fn finish(mut self) -> Findings {
        for (serial, known) in &self.known {
            let (findings, copies) = (&mut self.findings, known.copies);
            match known.end {
                End::Acked => {
                    findings.looked_for += 1;
                    if copies < self.copies {
                        findings.lost += 1;
                        findings.say(|| format!("message {serial} is acked and held by {copies} members"));
                    }
                }
                End::Failed if copies > 0 => {
                    findings.refused_but_held += 1;
                    findings.say(|| format!("message {serial} was refused, and {copies} members hold it"));
                }
                End::Unknown | End::Open => findings.unknown_and_held += u64::from(copies > 0),
                End::Failed => (),
            }
        }
        self.findings
    }
}

/// The members, to be read.
pub(super) struct Members<'a> {
    /// Name and address by node.
    nodes: BTreeMap<u16, (String, Address)>,
    key: &'a [u8; 32],
    readers: BTreeMap<u16, BulkReader>,
    /// Whether a member that is behind is waited for.
    is_patient: bool,
}

/// What the members of a group gave.
struct Read {
    /// By member's name.
    logs: Vec<(String, Vec<Shown>)>,
    /// Why it is not all that is wanted.
    failures: Vec<String>,
}

impl<'a> Members<'a> {
    /// Nothing is connected before it is asked for.
    pub(super) fn new(nodes: BTreeMap<u16, (String, Address)>, key: &'a [u8; 32]) -> Members<'a> {
        Members {
            nodes,
            key,
            readers: BTreeMap::new(),
            is_patient: true,
        }
    }

    fn read(&mut self, group: u32, from: u64, seen: &GroupSight) -> Read {
        let mut read = Read {
            logs: Vec::new(),
            failures: Vec::new(),
        };
        if seen.writer.is_none() {
            read.failures.push(format!("nobody who answers writes group {group}"));
        }
        for member in &seen.members {
            let mut log = Vec::new();
            let result = self.read_member(*member, (group, from), seen.commit, &mut log);
            let name = self
                .nodes
                .get(member)
                .map_or_else(|| member.to_string(), |(name, _)| name.clone());
            if let Err(error) = result {
                self.readers.remove(member);
                read.failures
                    .push(format!("group {group} cannot be read from {name}: {error}"));
            }
            read.logs.push((name, log));
        }
        read
    }

    /// Reads one member from a seq up to what its writer has committed. What was read stands also where reading failed.
    fn read_member(
        &mut self,
        member: u16,
        (group, from): (u32, u64),
        commit: u64,
        log: &mut Vec<Shown>,
    ) -> Result<(), ClientError> {
        let reader = match self.readers.entry(member) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(place) => {
                let (_, address) = self.nodes.get(&member).ok_or(ClientError::NotMember { group })?;
                let reader = BulkReader::connect(address, self.key, READ)?;
                if reader.welcome().node != member {
                    return Err(ClientError::WrongNode);
                }
                place.insert(reader)
            }
        };
        let until = Instant::now() + if self.is_patient { CATCH_UP } else { Duration::ZERO };
        let mut from = from;
        loop {
            let (next_seq, told) = reader.read(group, from, |entry| {
                // A run that began before what is asked for shows its first entries again.
                if entry.seq >= from && !entry.is_tick() && !entry.is_void() {
                    log.push(Shown {
                        seq: entry.seq,
                        key: entry.key.map(<[u8]>::to_vec),
                        message: entry.message.to_vec(),
                    });
                }
            })?;
            from = next_seq.max(from);
            if (told >= commit && from > told) || Instant::now() >= until {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        if from > commit {
            Ok(())
        } else {
            Err(ClientError::Deadline)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::Row;
    use super::*;
    use crate::workload::Kind;

    /// Two keys, both of group 0; client 0 sends to key 0 and client 1 to key 1.
    fn books(ends: [&[End]; 2]) -> Books {
        let workload = Workload {
            kind: Kind::ColdActors,
            actors: 2,
            message_bytes: 32,
            seed: 5,
            warm: 0,
            prefix: "",
            skew: None,
        };
        let lane = |(key, ends): (u64, &[End])| Lane {
            rows: (0..)
                .zip(ends)
                .map(|(nth, end)| Row {
                    serial: 2 * nth + key,
                    sent_ns: nth,
                    ended_ns: nth,
                    end: *end,
                })
                .collect(),
            ..Lane::default()
        };
        let lanes: Vec<Lane> = (0..).zip(ends).map(lane).collect();
        Books::new(workload, vec![0, 0], &lanes)
    }

    fn log(books: &Books, serials: &[u64]) -> Vec<Shown> {
        let shown = |(seq, serial): (u64, &u64)| {
            let (mut message, mut text) = (Vec::new(), KeyText::default());
            books.workload.write(*serial, &mut message);
            let key = books.workload.key(serial % 2, &mut text).unwrap().bytes().to_vec();
            Shown {
                seq,
                key: Some(key),
                message,
            }
        };
        (1..).zip(serials).map(shown).collect()
    }

    /// What is found where members hold these messages.
    fn found(mut books: Books, members: &[&[u64]]) -> Findings {
        let mut shown = BTreeMap::new();
        for serials in members {
            let own = log(&books, serials);
            let own = books.recognise(0, "FL-A-1", &own);
            books.member(0, "FL-A-1", &own, &mut shown);
        }
        books.finish()
    }

    const ACKED: [&[End]; 2] = [&[End::Acked, End::Acked], &[End::Acked]];

    #[test]
    fn what_three_members_hold_once_and_in_order_is_clean() {
        let findings = found(books(ACKED), &[&[0, 1, 2][..]; 3]);
        assert!(findings.is_clean(), "{findings:?}");
        assert_eq!(findings.looked_for, 3);
    }

    #[test]
    fn an_acked_message_in_two_members_is_lost() {
        let findings = found(books(ACKED), &[&[0, 1, 2], &[0, 1, 2], &[0, 1]]);
        assert_eq!((findings.lost, findings.is_clean()), (1, false), "{findings:?}");
    }

    #[test]
    fn a_message_twice_in_one_member_is_duplicated() {
        let findings = found(books(ACKED), &[&[0, 1, 2, 0], &[0, 1, 2], &[0, 1, 2]]);
        assert_eq!((findings.duplicated, findings.lost), (1, 0), "{findings:?}");
    }

    #[test]
    fn a_message_behind_a_later_one_of_its_client_is_disordered() {
        let findings = found(books(ACKED), &[&[2, 1, 0][..]; 3]);
        assert_eq!((findings.disordered, findings.lost), (3, 0), "{findings:?}");
    }

    #[test]
    fn members_that_hold_different_messages_at_a_seq_differ() {
        let findings = found(books(ACKED), &[&[0, 1, 2], &[1, 0, 2], &[0, 1, 2]]);
        assert_eq!(findings.differing, 2, "{findings:?}");
    }

    #[test]
    fn a_refused_message_that_is_held_is_found_and_an_unknown_one_is_allowed() {
        let findings = found(books([&[End::Failed, End::Unknown], &[]]), &[&[0, 2]]);
        assert_eq!(
            (findings.refused_but_held, findings.unknown_and_held),
            (1, 1),
            "{findings:?}"
        );
    }

    #[test]
    fn a_changed_byte_and_a_wrong_key_are_no_message() {
        let mut books = books(ACKED);
        let mut log = log(&books, &[0, 1, 2]);
        log[0].message[20] ^= 1;
        log[1].key = log[2].key.clone();
        assert_eq!(books.recognise(0, "FL-A-1", &log), [(3, 2)]);
        assert_eq!(books.findings.differing, 2);
    }
}
