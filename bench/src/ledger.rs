//! What is known of each message, and how that compares with what the members hold.
//!
//! Members are read, never believed: what one says that it has committed must be in its log, and at the same seq as in the others'.
//! Nothing here knows of sockets; `members.rs` does. **Invariant:** an acked message must be found once in each of three members, in the
//! same order; one that was refused must be found in none. Where a kind does not keep everything, an entry that lost its message stands
//! for one of its actor's messages: which one it was, its bytes alone could have said.

pub(crate) mod members;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use waterpark_ring::{GroupId, KeyRef, Topology};

pub use self::members::{Held, Logs, Members};
use crate::workload::{Changed, KeyText, Workload};

/// Members that must hold an acked message.
pub const COPIES: usize = 3;
/// How long a member may take to learn what is committed.
const CATCH_UP: Duration = Duration::from_secs(10);
/// Findings of one kind that are described; the rest is counted.
const DESCRIBED_MAX: usize = 8;
/// A hole in a log that is longer than this is noted as one, without a place for each entry that it lacks.
const HOLE_MAX: u64 = 1 << 24;

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

    /// Bytes of the fates, for another process.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.iter().map(|fate| *fate as u8).collect()
    }

    /// Of the ledgers of several generators, by their own numbers and in the order of their shares, the one of all. `None` if a byte is no fate.
    pub(crate) fn of_shares(shares: &[Vec<u8>]) -> Option<Ledger> {
        let longest = shares.iter().map(Vec::len).max().unwrap_or(0);
        let mut all = vec![Fate::Open; longest * shares.len()];
        for (which, share) in shares.iter().enumerate() {
            for (own, byte) in share.iter().enumerate() {
                let fates = [Fate::Open, Fate::Acked, Fate::Refused, Fate::Unknown];
                all[own * shares.len() + which] = fates.into_iter().find(|fate| *fate as u8 == *byte)?;
            }
        }
        Some(Ledger(all))
    }

    fn fate(&self, serial: u64) -> Option<Fate> {
        let at = usize::try_from(serial).ok()?;
        self.0.get(at).copied()
    }

    /// The fates, by serial; of those that were never sent too.
    #[must_use]
    pub fn fates(&self) -> &[Fate] {
        &self.0
    }
}

/// What reading back found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Acked messages that fewer than three members hold, or that a member lacks although its own commit covers them.
    pub lost: u64,
    /// Messages that a member holds more than once.
    pub duplicated: u64,
    /// Refused messages that a member holds all the same.
    pub refused_but_held: u64,
    /// Entries whose bytes were never sent, or that belong to another actor or group; logs that another member gave in a member's place.
    pub foreign: u64,
    /// Places of a group's log at which members hold different entries, or one member holds two; and holes in a member's log below its own
    /// commit.
    pub differing: u64,
    /// Members that could not be read, or whose log is not a chain.
    pub unreadable: u64,
    /// Acked messages whose bytes the rule of their kind has dropped: as many members as must hold them hold their entries.
    pub dropped: u64,
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
            && self.differing == 0
            && self.unreadable == 0
    }

    /// The fields that every report with such findings has.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "lost": self.lost, "duplicated": self.duplicated, "refused_but_held": self.refused_but_held, "differing": self.differing,
            "foreign": self.foreign, "unreadable": self.unreadable, "dropped": self.dropped, "looked_for": self.looked_for,
            "entries_read": self.entries, "findings": self.said,
        })
    }

    /// Describes one of them; after some, the counts alone tell.
    pub fn say(&mut self, text: impl FnOnce() -> String) {
        if self.said.len() < DESCRIBED_MAX {
            self.said.push(text());
        }
    }
}

/// Reads every group back from three of its members, and from the others where those do not hold all of it.
///
/// A fault of a member that is not among the three of a group is not seen in that group: three copies are what an ack promises. Each
/// group begins with another member, so that all of them are read.
pub struct Checker<'a> {
    /// The cluster's placement at its birth.
    pub topology: &'a Topology,
    /// Members of groups, the writer first, where they may be others since.
    pub members: BTreeMap<u32, Vec<u16>>,
    /// Its key.
    pub key: [u8; 32],
    /// The work that was sent.
    pub workload: Workload,
    /// What is known of it.
    pub ledger: &'a Ledger,
    /// Whether the kind of its actors keeps its whole history, so that a message without its bytes is a fault.
    pub keeps_all: bool,
}

impl Checker<'_> {
    /// Looks for everything in the members of the cluster that runs. One group is in memory at a time.
    #[must_use]
    pub fn check(&self) -> Findings {
        self.check_in(&mut Members::new(self.topology, self.key), CATCH_UP)
    }

    /// Looks for everything in logs, wherever they come from. A member that has not learnt of the writer's commit gets `catch_up` for it.
    #[must_use]
    pub fn check_in(&self, logs: &mut impl Logs, catch_up: Duration) -> Findings {
        let mut check = Check {
            checker: self,
            logs,
            catch_up,
            seen: vec![0; self.ledger.0.len()],
            gone: BTreeMap::new(),
            findings: Findings::default(),
        };
        for group in (0..self.topology.spec().groups).map(GroupId) {
            check.group(group);
        }
        check.finish()
    }
}

/// A check under way.
struct Check<'c, L> {
    checker: &'c Checker<'c>,
    logs: &'c mut L,
    catch_up: Duration,
    /// In how many members each message was met, by serial.
    seen: Vec<u8>,
    /// By key, how many messages enough members have dropped, so that nobody can tell any more which they were.
    gone: BTreeMap<Vec<u8>, u64>,
    findings: Findings,
}

/// What stands at a seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// No member that was read has shown it.
    Unseen,
    /// An entry that is none of this run's messages.
    Other,
    /// The message with this serial.
    Message(u64),
    /// One of this run's kind that lost its message.
    Dropped,
    /// Two members have shown different entries, and that was counted.
    Disputed,
}

/// One group, as the members that were read hold it.
#[derive(Default)]
struct GroupBook {
    /// What stands at each seq, from 1 on, by the first member that showed it.
    places: Vec<Place>,
    /// Seqs that a member does not show although its commit covers them.
    holes: Vec<(u16, Range<u64>)>,
    /// Messages that at least one member holds.
    held: Vec<u64>,
    /// Seqs at which members hold an entry without its message: how many of them, and the actor's key.
    dropped: BTreeMap<u64, (u8, Vec<u8>)>,
}

impl GroupBook {
    /// Notes what a member holds at a seq. False if another member holds something else there and that is news.
    fn agrees(&mut self, seq: u64, place: Place) -> bool {
        let Some(at) = seq
            .checked_sub(1)
            .filter(|at| *at <= self.places.len() as u64 + HOLE_MAX)
        else {
            return false;
        };
        let at = usize::try_from(at).expect("near the entries in memory");
        if self.places.len() <= at {
            self.places.resize(at + 1, Place::Unseen);
        }
        match self.places[at] {
            Place::Unseen => self.places[at] = place,
            Place::Disputed => (),
            before if before == place => (),
            // One member has dropped what another still has.
            Place::Dropped if matches!(place, Place::Message(_)) => self.places[at] = place,
            Place::Message(_) if place == Place::Dropped => (),
            Place::Dropped | Place::Other | Place::Message(_) => {
                self.places[at] = Place::Disputed;
                return false;
            }
        }
        true
    }

    /// The messages that some member lacks although its commit covers them, as far as other members showed what stands there.
    fn lacking(&self) -> BTreeSet<u64> {
        let mut lacking = BTreeSet::new();
        for (_, hole) in &self.holes {
            let index = |seq: u64| usize::try_from(seq - 1).unwrap_or(usize::MAX).min(self.places.len());
            let places = self.places.get(index(hole.start)..index(hole.end)).unwrap_or_default();
            lacking.extend(places.iter().filter_map(|place| match place {
                Place::Message(serial) => Some(*serial),
                Place::Unseen | Place::Other | Place::Dropped | Place::Disputed => None,
            }));
        }
        lacking
    }
}

impl<L: Logs> Check<'_, L> {
    fn group(&mut self, group: GroupId) {
        let born = || self.checker.topology.birth().members(group).nodes().to_vec();
        let now = self.checker.members.get(&group.0).cloned();
        let members = now.unwrap_or_else(|| born().iter().map(|node| node.0).collect());
        // Beginning with another member for each group, so that all of them are read.
        let first = group.0 as usize % members.len();
        let order = (0..members.len()).map(|at| members[(first + at) % members.len()]);
        let commit = self.commit_of(group, members[0]);
        let wanted = COPIES.min(members.len());
        let mut book = GroupBook::default();
        for (at, member) in order.enumerate() {
            if at >= wanted && !book.held.iter().any(|serial| self.lacks_copies(*serial, wanted)) {
                break;
            }
            self.member(group, member, commit, &mut book);
            self.recognise(group, &mut book);
        }
        for (members, key) in std::mem::take(&mut book.dropped).into_values() {
            if usize::from(members) >= wanted {
                *self.gone.entry(key).or_default() += 1;
            }
        }
        let lacking = book.lacking();
        for serial in book.held {
            let lacks = self.lacks_copies(serial, wanted);
            if lacks || (lacking.contains(&serial) && self.is_acked(serial)) {
                let copies = self.copies(serial);
                self.findings.lost += 1;
                self.findings.say(|| {
                    let but = if lacks {
                        ""
                    } else {
                        ", and a member lacks it below its commit"
                    };
                    format!("message {serial} of {group:?} is acked and held by {copies} members{but}")
                });
            }
        }
    }

    /// What no member of any group holds was not met before.
    fn finish(mut self) -> Findings {
        for (serial, fate) in (0u64..).zip(&self.checker.ledger.0) {
            if *fate != Fate::Acked {
                continue;
            }
            self.findings.looked_for += 1;
            if self.copies(serial) == 0 && self.takes_gone(serial) {
                self.findings.dropped += 1;
            } else if self.copies(serial) == 0 {
                self.findings.lost += 1;
                let say = || format!("message {serial} is acked and held by no member that was read");
                self.findings.say(say);
            }
        }
        self.findings
    }

    /// A member that has dropped a message which another one shows holds that message: it is a copy.
    fn recognise(&mut self, group: GroupId, book: &mut GroupBook) {
        let (seen, findings, workload) = (&mut self.seen, &mut self.findings, &self.checker.workload);
        let places = &book.places;
        let mut text = KeyText::default();
        book.dropped.retain(|seq, (members, key)| {
            let place = usize::try_from(seq - 1).ok().and_then(|at| places.get(at));
            let Some(Place::Message(serial)) = place else {
                return true;
            };
            let own = workload.key(workload.actor(*serial), &mut text);
            if own.is_ok_and(|own| own.bytes() == key) {
                let copies = usize::try_from(*serial).ok().and_then(|at| seen.get_mut(at));
                copies
                    .into_iter()
                    .for_each(|copies| *copies = copies.saturating_add(*members));
            } else {
                findings.differing += 1;
                findings.say(|| format!("a member has dropped another actor's message at seq {seq} of {group:?}"));
            }
            false
        });
    }

    /// Whether its actor has lost messages that are not accounted for yet; this is then one of them.
    fn takes_gone(&mut self, serial: u64) -> bool {
        let workload = &self.checker.workload;
        let mut text = KeyText::default();
        let Ok(key) = workload.key(workload.actor(serial), &mut text) else {
            return false;
        };
        match self.gone.get_mut(key.bytes()) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    fn copies(&self, serial: u64) -> u8 {
        let at = usize::try_from(serial).ok();
        at.and_then(|at| self.seen.get(at)).copied().unwrap_or(0)
    }

    fn is_acked(&self, serial: u64) -> bool {
        self.checker.ledger.fate(serial) == Some(Fate::Acked)
    }

    /// Whether an acked message was met in fewer members than it must be.
    fn lacks_copies(&self, serial: u64, wanted: usize) -> bool {
        usize::from(self.copies(serial)) < wanted && self.is_acked(serial)
    }

    /// How far the writer has committed; `None` if it cannot be read.
    fn commit_of(&mut self, group: GroupId, writer: u16) -> Option<u64> {
        match self.logs.read(writer, group, u64::MAX, &mut |_| ()) {
            Ok((_, commit)) => Some(commit),
            Err(error) => {
                self.logs.forget(writer);
                self.findings
                    .say(|| format!("{group:?}: its writer, node {writer}, cannot be read: {error}"));
                None
            }
        }
    }

    /// Reads one member of one group to its end, or to the end of our patience.
    fn member(&mut self, group: GroupId, member: u16, commit: Option<u64>, book: &mut GroupBook) {
        match self.logs.who(member, group) {
            Ok(node) if node != member => {
                // A copy that another member gives is that member's copy, and counts there.
                self.findings.foreign += 1;
                self.findings
                    .say(|| format!("node {node} answers in the place of node {member} for {group:?}"));
                return;
            }
            Ok(_) => (),
            Err(error) => return self.unreadable(group, member, &error),
        }
        let until = Instant::now() + self.catch_up;
        let mut reading = Reading {
            checker: self.checker,
            findings: &mut self.findings,
            book,
            group,
            member,
            next_seq: 1,
            own: Vec::new(),
            scratch: Vec::new(),
            text: KeyText::default(),
        };
        let ended = loop {
            let from = reading.next_seq;
            let read = self
                .logs
                .read(member, group, from, &mut |entry| reading.on_entry(from, entry));
            match read {
                Ok((next_seq, told)) => {
                    // Up to there the member says that it showed everything.
                    reading.expect_seq(next_seq);
                    let behind = commit.is_some_and(|commit| told < commit) || reading.next_seq <= told;
                    if !behind || Instant::now() >= until {
                        // What it has not shown by now it does not hold, whatever it says.
                        reading.expect_seq(told.saturating_add(1));
                        break Ok(());
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(error) => break Err(error),
            }
        };
        let own = reading.own;
        if let Err(error) = ended {
            self.unreadable(group, member, &error);
        }
        self.count(group, member, own, book);
    }

    fn unreadable(&mut self, group: GroupId, member: u16, error: &waterpark_client::ClientError) {
        self.findings.unreadable += 1;
        self.findings
            .say(|| format!("node {member} cannot be read for {group:?}: {error}"));
        // The connection is of no more use; the next group of the member gets a new one.
        self.logs.forget(member);
    }

    /// Counts what one member holds. `own` are the serials of this member alone: one that stands there twice is twice in its log.
    fn count(&mut self, group: GroupId, member: u16, mut own: Vec<u64>, book: &mut GroupBook) {
        let findings = &mut self.findings;
        own.sort_unstable();
        for pair in own.windows(2).filter(|pair| pair[0] == pair[1]) {
            findings.duplicated += 1;
            findings.say(|| format!("node {member} holds message {} of {group:?} twice", pair[0]));
        }
        own.dedup();
        for serial in own {
            let Some(copies) = usize::try_from(serial).ok().and_then(|at| self.seen.get_mut(at)) else {
                findings.foreign += 1;
                findings.say(|| format!("node {member} holds message {serial}, which was never sent"));
                continue;
            };
            *copies = copies.saturating_add(1);
            if *copies == 1 {
                book.held.push(serial);
                if self.checker.ledger.fate(serial) == Some(Fate::Refused) {
                    findings.refused_but_held += 1;
                    findings.say(|| format!("message {serial} was refused, and node {member} holds it"));
                }
            }
        }
    }
}

/// One member of one group, being read.
struct Reading<'r> {
    checker: &'r Checker<'r>,
    findings: &'r mut Findings,
    book: &'r mut GroupBook,
    group: GroupId,
    member: u16,
    /// The seq that the next entry must have.
    next_seq: u64,
    own: Vec<u64>,
    scratch: Vec<u8>,
    text: KeyText,
}

impl Reading<'_> {
    fn on_entry(&mut self, from: u64, entry: &Held<'_>) {
        let (member, group) = (self.member, self.group);
        if entry.seq < from {
            // A run that began below what was asked for: its first entries were read before.
            return;
        }
        self.findings.entries += 1;
        self.findings.bytes += entry.message.map_or(0, |message| message.len() as u64);
        if entry.seq < self.next_seq {
            self.findings.differing += 1;
            self.findings
                .say(|| format!("node {member} holds two entries of {group:?} at seq {}", entry.seq));
        }
        self.expect_seq(entry.seq);
        self.next_seq = self.next_seq.max(entry.seq.saturating_add(1));
        let place = match entry.message {
            None => Place::Other,
            Some(_) if entry.is_dropped => match self.dropped(entry) {
                Some(place) => place,
                None => return,
            },
            Some(message) => match self.place(entry, message) {
                Some(place) => place,
                // It was counted already: what stands there is known from other members or not at all.
                None => return,
            },
        };
        if let Place::Message(serial) = place {
            self.own.push(serial);
        }
        if !self.book.agrees(entry.seq, place) {
            self.findings.differing += 1;
            self.findings.say(|| {
                format!(
                    "node {member} holds another entry of {group:?} at seq {} than others",
                    entry.seq
                )
            });
        }
    }

    /// What an entry is that lost its message; `None` if it may not have.
    fn dropped(&mut self, entry: &Held<'_>) -> Option<Place> {
        let Some(key) = entry.key else {
            // Reading went on behind the entry that introduces its actor: other members say whose it is.
            return Some(if self.checker.keeps_all {
                Place::Other
            } else {
                Place::Dropped
            });
        };
        let kind = self.checker.workload.kind_name().as_bytes();
        if !KeyRef::new_checked(key).is_ok_and(|key| key.kind() == kind) {
            return Some(Place::Other);
        }
        if self.checker.keeps_all {
            let (member, group) = (self.member, self.group);
            self.findings.foreign += 1;
            self.findings.say(|| {
                format!(
                    "node {member} has dropped the message at seq {} of {group:?}, and its kind keeps everything",
                    entry.seq
                )
            });
            return None;
        }
        let (members, _) = self.book.dropped.entry(entry.seq).or_insert_with(|| (0, key.to_vec()));
        *members = members.saturating_add(1);
        Some(Place::Dropped)
    }

    /// What an entry with a message is; `None` if it is one that was never sent like this.
    fn place(&mut self, entry: &Held<'_>, message: &[u8]) -> Option<Place> {
        let (member, group) = (self.member, self.group);
        let workload = &self.checker.workload;
        match workload.serial(message, &mut self.scratch) {
            Ok(None) => Some(Place::Other),
            Ok(Some(serial)) => {
                // Where reading goes on behind the first entries the key of an older actor was not met again.
                let key = workload.key(workload.actor(serial), &mut self.text);
                let right = key.is_ok_and(|key| {
                    entry.key.is_none_or(|held| held == key.bytes()) && self.checker.topology.locate(key).group == group
                });
                if right {
                    return Some(Place::Message(serial));
                }
                self.findings.foreign += 1;
                self.findings
                    .say(|| format!("node {member} holds message {serial} under a wrong actor of {group:?}"));
                None
            }
            Err(Changed(serial)) => {
                self.findings.foreign += 1;
                self.findings
                    .say(|| format!("node {member} holds message {serial} with other bytes than were sent"));
                None
            }
        }
    }

    /// Everything below this seq must have been shown: what was not is a hole.
    fn expect_seq(&mut self, seq: u64) {
        if seq <= self.next_seq {
            return;
        }
        let (member, group, hole) = (self.member, self.group, self.next_seq..seq);
        self.next_seq = seq;
        self.findings.differing += 1;
        self.findings.say(|| {
            format!(
                "node {member} says that it holds {group:?} to {}, and lacks {hole:?}",
                seq - 1
            )
        });
        self.book.holes.push((member, hole));
    }
}
