//! Members that lie, one at a time: the check must end in FAIL whatever the lie, and must be clean while nobody lies.
//!
//! The members live in memory and write their entries as they are read, so that more than a million messages in five copies take
//! seconds. What a real member sends over a socket is `served_logs.rs`'s.

#![expect(clippy::unwrap_used, reason = "what helpers of tests find wrong fails the test")]

use std::io::ErrorKind;
use std::time::Duration;

use waterpark_bench::ledger::{COPIES, Checker, Fate, Findings, Held, Ledger, Logs};
use waterpark_bench::workload::{KeyText, Kind, MESSAGE_BYTES_MIN, Workload};
use waterpark_client::ClientError;
use waterpark_ring::{ClusterId, GroupId, NodeId, NodeSpec, Topology, TopologySpec};

const ACTORS: u64 = 2_000;
/// Messages of a cluster in which rare lies are told.
const MANY: u64 = 1_100_000;
/// Messages of all others.
const FEW: u64 = 4_000;

/// What one member does to what it shows of one group.
#[derive(Clone, Copy, Debug)]
enum Lie {
    /// It shows nothing at the seq of this message, and goes on behind it.
    Hole(u64),
    /// It lacks the message and has moved up what follows; it claims the commit of the others, or one less.
    MovedUp { serial: u64, claims_all: bool },
    /// It shows the log to the message before this one, and claims the commit of the others.
    Short(u64),
    /// It has learnt of the group up to the message before this one, and says so.
    Behind(u64),
    /// One bit of one byte of the message is another.
    Byte { serial: u64, at: usize },
    /// The message stands under the key of another actor.
    Key(u64),
    /// It shows the log of another group.
    OtherGroup(GroupId),
    /// Another node answers in its place.
    OtherMember(u16),
    /// It holds the message a second time, at the end of its log.
    Twice(u64),
    /// It shows the message a second time at the same seq.
    Again(u64),
    /// The message and the one behind it have changed places.
    Swapped(u64),
    /// It holds the message although nobody else does.
    Invented(u64),
    /// It breaks off in the middle.
    Torn,
    /// Nobody answers.
    Dead,
}

/// Five members in memory. Each holds the same, but for the lies.
struct Cluster {
    topology: Topology,
    workload: Workload,
    /// Serials by group, in the order of the log.
    groups: Vec<Vec<u64>>,
    lies: Vec<(u16, GroupId, Lie)>,
    keeps_all: bool,
    /// Members that have dropped the messages below a serial.
    swept: Vec<(u16, u64)>,
}

impl Cluster {
    fn new(messages: u64) -> Cluster {
        let names = ["FL-A-1", "FL-B-1", "TN-A-1", "TX-A-1", "UT-A-1"];
        let node = |(id, name): (u16, &str)| NodeSpec {
            id: NodeId(id),
            name: name.to_owned(),
            host: "127.0.0.1".to_owned(),
            port: 7_000 + 256 * id,
            shards: 1,
        };
        let spec = TopologySpec::new(ClusterId([3; 16]), (1..).zip(names).map(node).collect());
        let topology = Topology::new(spec).unwrap();
        let workload = Workload {
            kind: Kind::W128,
            actors: ACTORS,
            message_bytes: MESSAGE_BYTES_MIN + 8,
            seed: 11,
            warm: 0,
            prefix: "",
            skew: None,
        };
        let mut text = KeyText::default();
        let group = |actor| topology.locate(workload.key(actor, &mut text).unwrap()).group;
        let group_of: Vec<GroupId> = (0..ACTORS).map(group).collect();
        let mut groups = vec![Vec::new(); topology.spec().groups as usize];
        for serial in 0..messages {
            let actor = usize::try_from(workload.actor(serial)).unwrap();
            groups[group_of[actor].0 as usize].push(serial);
        }
        Cluster {
            topology,
            workload,
            groups,
            lies: Vec::new(),
            keeps_all: true,
            swept: Vec::new(),
        }
    }

    fn group_of(&self, serial: u64) -> GroupId {
        let mut text = KeyText::default();
        let key = self.workload.key(self.workload.actor(serial), &mut text).unwrap();
        self.topology.locate(key).group
    }

    /// The members of a group in the order in which they are read: three of them, unless something is missing.
    fn order(&self, group: GroupId) -> Vec<u16> {
        let mut nodes: Vec<u16> = self
            .topology
            .birth()
            .members(group)
            .nodes()
            .iter()
            .map(|n| n.0)
            .collect();
        let first = group.0 as usize % nodes.len();
        nodes.rotate_left(first);
        nodes
    }

    /// Lets a member of the message's group lie, by its place in the order of reading.
    fn lie(&mut self, place: usize, serial: u64, lie: Lie) {
        let group = self.group_of(serial);
        self.lies.push((self.order(group)[place], group, lie));
    }

    fn check(&mut self, ledger: &Ledger) -> Findings {
        let (topology, workload) = (self.topology.clone(), self.workload);
        let checker = Checker {
            topology: &topology,
            members: std::collections::BTreeMap::new(),
            key: [0; 32],
            workload,
            ledger,
            keeps_all: self.keeps_all,
        };
        checker.check_in(self, Duration::ZERO)
    }

    /// The lie of a member about a group.
    fn lie_of(&self, member: u16, group: GroupId) -> Option<Lie> {
        let mut lies = self.lies.iter();
        let found = lies.find(|(node, about, _)| (*node, *about) == (member, group));
        found.map(|(_, _, lie)| *lie)
    }
}

impl Logs for Cluster {
    fn who(&mut self, member: u16, group: GroupId) -> Result<u16, ClientError> {
        match self.lie_of(member, group) {
            Some(Lie::Dead) => Err(ClientError::Io(ErrorKind::ConnectionRefused)),
            Some(Lie::OtherMember(other)) => Ok(other),
            _ => Ok(member),
        }
    }

    fn read(
        &mut self,
        member: u16,
        group: GroupId,
        from_seq: u64,
        on_entry: &mut dyn FnMut(&Held<'_>),
    ) -> Result<(u64, u64), ClientError> {
        let lie = self.lie_of(member, group);
        let shown = match lie {
            Some(Lie::OtherGroup(other)) => other,
            _ => group,
        };
        let honest = &self.groups[shown.0 as usize];
        let mut log: Vec<(u64, u64)> = (1..).zip(honest.iter().copied()).collect();
        let mut commit = log.len() as u64;
        let place = |serial: u64| honest.iter().position(|other| *other == serial).unwrap();
        match lie {
            Some(Lie::Hole(serial)) => drop(log.remove(place(serial))),
            Some(Lie::MovedUp { serial, claims_all }) => {
                log.remove(place(serial));
                log.iter_mut().zip(1..).for_each(|(entry, seq)| entry.0 = seq);
                commit -= u64::from(!claims_all);
            }
            Some(Lie::Short(serial)) => log.truncate(place(serial)),
            Some(Lie::Behind(serial)) => {
                log.truncate(place(serial));
                commit = log.len() as u64;
            }
            Some(Lie::Twice(serial) | Lie::Invented(serial)) => {
                commit += 1;
                log.push((commit, serial));
            }
            Some(Lie::Again(serial)) => log.insert(place(serial) + 1, (place(serial) as u64 + 1, serial)),
            Some(Lie::Swapped(serial)) => {
                let at = place(serial);
                (log[at].1, log[at + 1].1) = (log[at + 1].1, log[at].1);
            }
            _ => (),
        }
        let (mut message, mut text) = (Vec::new(), KeyText::default());
        for (seq, serial) in &log {
            if *seq < from_seq {
                continue;
            }
            self.workload.write(*serial, &mut message);
            let mut actor = self.workload.actor(*serial);
            match lie {
                Some(Lie::Byte { serial: changed, at }) if changed == *serial => message[at] ^= 1,
                Some(Lie::Key(changed)) if changed == *serial => actor += 1,
                Some(Lie::Torn) if *seq == commit / 2 => {
                    return Err(ClientError::Chain {
                        group: group.0,
                        seq: *seq,
                    });
                }
                _ => (),
            }
            let key = self.workload.key(actor, &mut text).unwrap();
            let is_dropped = self.swept.iter().any(|(node, below)| *node == member && serial < below);
            on_entry(&Held {
                seq: *seq,
                key: Some(key.bytes()),
                message: Some(if is_dropped { &[] } else { &message }),
                is_dropped,
            });
        }
        Ok((log.last().map_or(1, |(seq, _)| seq + 1).max(from_seq), commit))
    }

    fn forget(&mut self, _: u16) {}
}

fn all(messages: u64, fate: Fate) -> Ledger {
    let mut ledger = Ledger::default();
    (0..messages).for_each(|serial| ledger.note(serial, fate));
    ledger
}

/// A few messages, all acked; one member, the first that is read, tells one lie about the group of message 1,000.
fn told(lie: Lie) -> Findings {
    let mut cluster = Cluster::new(FEW);
    cluster.lie(0, 1_000, lie);
    let findings = cluster.check(&all(FEW, Fate::Acked));
    assert!(!findings.is_clean(), "{lie:?}: {findings:#?}");
    assert!(!findings.said.is_empty(), "{lie:?} is described");
    findings
}

#[test]
fn one_entry_dropped_in_more_than_a_million_is_found() {
    let mut cluster = Cluster::new(MANY);
    let ledger = all(MANY, Fate::Acked);
    let clean = cluster.check(&ledger);
    assert!(clean.is_clean(), "{clean:#?}");
    assert_eq!((clean.looked_for, clean.entries), (MANY, MANY * COPIES as u64));

    cluster.lie(1, 777_777, Lie::Hole(777_777));
    let findings = cluster.check(&ledger);
    // The other two members are asked too, and hold it; the member lacks it all the same.
    assert_eq!((findings.lost, findings.differing), (1, 1), "{findings:#?}");
    assert!(
        !findings.is_clean() && findings.said.iter().any(|said| said.contains("777777")),
        "{findings:#?}"
    );
}

#[test]
fn a_dropped_entry_is_found_in_each_of_the_three_members_that_are_read() {
    for place in 0..COPIES {
        let lies = [
            Lie::Hole(1_000),
            Lie::MovedUp {
                serial: 1_000,
                claims_all: true,
            },
            Lie::MovedUp {
                serial: 1_000,
                claims_all: false,
            },
            Lie::Short(1_000),
        ];
        for lie in lies {
            let mut cluster = Cluster::new(FEW);
            cluster.lie(place, 1_000, lie);
            let findings = cluster.check(&all(FEW, Fate::Acked));
            assert!(findings.differing > 0, "{place} {lie:?}: {findings:#?}");
            let exact = matches!(lie, Lie::Hole(_));
            assert!(!exact || findings.lost == 1, "{place} {lie:?}: {findings:#?}");
        }
    }
}

#[test]
fn messages_that_the_rule_of_their_kind_dropped_are_held_where_their_entries_are() {
    let mut cluster = Cluster::new(FEW);
    cluster.keeps_all = false;
    // Not all members have swept as far.
    cluster.swept = vec![(1, 3_000), (2, 2_000), (3, 1_000), (4, 1_000), (5, 1_500)];
    let findings = cluster.check(&all(FEW, Fate::Acked));
    assert!(findings.is_clean(), "{findings:#?}");
    assert!((1_000..2_000).contains(&findings.dropped), "{findings:#?}");
    assert_eq!(findings.looked_for, FEW);
    cluster.keeps_all = true;
    assert!(
        cluster.check(&all(FEW, Fate::Acked)).foreign > 0,
        "a kind that keeps everything drops nothing"
    );
}

#[test]
fn a_lost_message_is_found_among_those_that_were_dropped() {
    let mut cluster = Cluster::new(FEW);
    cluster.keeps_all = false;
    cluster.swept = (1..=5).map(|node| (node, 2_000)).collect();
    let group = cluster.group_of(1_000);
    // All members lack it alike.
    cluster.groups[group.0 as usize].retain(|serial| *serial != 1_000);
    let findings = cluster.check(&all(FEW, Fate::Acked));
    assert_eq!((findings.lost, findings.dropped), (1, 1_999), "{findings:#?}");
    cluster.lie(0, 1_001, Lie::Hole(1_001));
    assert!(cluster.check(&all(FEW, Fate::Acked)).differing > 0);
}

#[test]
fn a_changed_byte_is_found_wherever_it_stands() {
    for at in 0..MESSAGE_BYTES_MIN + 8 {
        let findings = told(Lie::Byte { serial: 1_000, at });
        // A change in the first eight makes it a message of another run: that it is none of ours is seen beside the other members.
        let counted = if at < 8 { findings.differing } else { findings.foreign };
        assert_eq!(counted, 1, "byte {at}: {findings:#?}");
    }
}

#[test]
fn a_message_under_another_actor_is_found() {
    assert_eq!(told(Lie::Key(1_000)).foreign, 1);
}

#[test]
fn the_log_of_another_group_is_found() {
    let cluster = Cluster::new(FEW);
    let group = cluster.group_of(1_000);
    let other = GroupId((group.0 + 1) % cluster.topology.spec().groups);
    let entries = cluster.groups[other.0 as usize].len() as u64;
    let findings = told(Lie::OtherGroup(other));
    assert_eq!(findings.foreign, entries, "{findings:#?}");
}

#[test]
fn the_log_of_another_member_does_not_count_as_a_copy() {
    let cluster = Cluster::new(FEW);
    let group = cluster.group_of(1_000);
    let order = cluster.order(group);
    assert_eq!(told(Lie::OtherMember(order[1])).foreign, 1);
    // One member that answers for three others too leaves two copies: too few.
    let mut cluster = Cluster::new(FEW);
    for place in 2..5 {
        cluster.lie(place, 1_000, Lie::OtherMember(order[0]));
    }
    let findings = cluster.check(&all(FEW, Fate::Acked));
    assert_eq!(
        findings.lost,
        cluster.groups[group.0 as usize].len() as u64,
        "{findings:#?}"
    );
}

#[test]
fn an_entry_that_is_held_twice_is_found() {
    assert_eq!(told(Lie::Twice(1_000)).duplicated, 1);
    let findings = told(Lie::Again(1_000));
    assert_eq!((findings.duplicated, findings.differing), (1, 1), "{findings:#?}");
}

#[test]
fn two_entries_that_have_changed_places_are_found() {
    assert_eq!(told(Lie::Swapped(1_000)).differing, 2);
}

#[test]
fn a_message_that_is_acked_and_held_by_two_is_lost() {
    let mut cluster = Cluster::new(FEW);
    let last = *cluster.groups[cluster.group_of(1_000).0 as usize].last().unwrap();
    for place in 0..COPIES {
        cluster.lie(place, last, Lie::Behind(last));
    }
    let findings = cluster.check(&all(FEW, Fate::Acked));
    assert_eq!((findings.lost, findings.differing), (1, 0), "{findings:#?}");
    assert!(!findings.is_clean());
}

#[test]
fn a_member_that_is_behind_is_no_fault_while_three_hold_everything() {
    let mut cluster = Cluster::new(FEW);
    for place in 0..2 {
        cluster.lie(place, 1_000, Lie::Behind(1_000));
    }
    let findings = cluster.check(&all(FEW, Fate::Acked));
    assert!(findings.is_clean(), "{findings:#?}");
}

#[test]
fn a_message_that_is_acked_and_held_by_nobody_is_lost() {
    let mut ledger = all(FEW, Fate::Acked);
    ledger.note(FEW, Fate::Acked);
    let findings = Cluster::new(FEW).check(&ledger);
    assert_eq!((findings.lost, findings.looked_for), (1, FEW + 1), "{findings:#?}");
}

#[test]
fn a_message_that_was_refused_and_is_held_is_found() {
    let mut ledger = all(FEW, Fate::Acked);
    ledger.note(1_000, Fate::Refused);
    let findings = Cluster::new(FEW).check(&ledger);
    assert_eq!((findings.refused_but_held, findings.lost), (1, 0), "{findings:#?}");
    assert!(!findings.is_clean());
    // One of which nothing is known may be held, or not.
    ledger.note(1_000, Fate::Unknown);
    assert!(Cluster::new(FEW).check(&ledger).is_clean());
}

#[test]
fn a_message_that_was_never_sent_is_found() {
    // Its bytes are right, and its actor's group too, but its number lies beyond all that were given.
    let cluster = Cluster::new(FEW);
    let group = cluster.group_of(1_000);
    let never = (1 << 20..).find(|serial| cluster.group_of(*serial) == group).unwrap();
    assert_eq!(told(Lie::Invented(never)).foreign, 1);
}

#[test]
fn a_member_that_cannot_be_read_is_found() {
    assert_eq!(told(Lie::Dead).unreadable, 1);
    assert_eq!(told(Lie::Torn).unreadable, 1);
}
