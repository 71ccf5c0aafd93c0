//! What reads came back with, and whether they may have: a history of what was known to be committed when.
//!
//! A group's operations have one order, that of their lineages and seqs, and a read stands behind the last entry that it was computed from. So a history
//! is linearizable if no operation that began after another had ended stands before it, and each read shows what its entries make. It
//! believes tokens and bytes, and knows no member. **Invariant:** an operation is judged by what had ended before it began, never by what
//! ended later.

use std::collections::BTreeMap;

use waterpark_core::behaviour::Behaviour;
use waterpark_core::time::MS;
use waterpark_ring::GroupId;
use waterpark_wire::request::ReadLevel;
use waterpark_wire::run::{DROPPED, EntryView, VOID};

use crate::client::RequestId;
use crate::ledger::{Token, Violation};
use crate::lineages::Point;

/// The actor of an entry that is no actor's.
const NO_ACTOR: u32 = u32::MAX;

/// What a read promises beside its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Everything that had ended.
    Linearizable,
    /// At least what its token names.
    Session(Point),
    /// Everything that had ended so many milliseconds ago.
    Bounded(u32),
    /// What its own reply says.
    Any,
}

impl Promise {
    /// Its level.
    #[must_use]
    pub fn level(self) -> ReadLevel {
        match self {
            Promise::Linearizable => ReadLevel::Linearizable,
            Promise::Session(_) => ReadLevel::Session,
            Promise::Bounded(_) => ReadLevel::Bounded,
            Promise::Any => ReadLevel::Any,
        }
    }
}

/// A read that ended.
#[derive(Clone, Debug)]
pub struct Read {
    /// What it was computed up to.
    pub token: Token,
    /// Where that stands.
    pub point: Point,
    /// The actor's canonical key.
    pub key: Vec<u8>,
    /// What it showed.
    pub body: Vec<u8>,
}

/// What was known when.
#[derive(Debug, Default)]
pub struct History {
    /// By group: from when on, in virtual ns, what stands there was known to be committed. Both ascend.
    known: BTreeMap<GroupId, Vec<(u64, Point)>>,
    /// What was known when a request was opened.
    opened: BTreeMap<RequestId, Point>,
    /// Session reads that ended: what their token names, and the lineage that answered, or none for which that is lost.
    pub sessions: Vec<(Token, Option<u64>)>,
    /// Reads whose bodies are to be judged once the log is known.
    pub ended: Vec<Read>,
    /// What was broken so far.
    pub violations: Vec<Violation>,
}

impl History {
    /// The furthest that was known of a group at an instant.
    #[must_use]
    pub fn known_at(&self, group: GroupId, at_ns: u64) -> Point {
        let known = self.known.get(&group).map_or(&[][..], Vec::as_slice);
        let until = known.partition_point(|(since_ns, _)| *since_ns <= at_ns);
        until.checked_sub(1).map_or_else(Point::default, |last| known[last].1)
    }

    fn learn(&mut self, group: GroupId, now_ns: u64, point: Point) {
        if point > self.known_at(group, now_ns) {
            self.known.entry(group).or_default().push((now_ns, point));
        }
    }

    /// A request is opened.
    pub fn on_open(&mut self, id: RequestId, now_ns: u64) {
        self.opened.insert(id, self.known_at(id.group, now_ns));
    }

    /// A request was acked. What was known before it was opened stands before it.
    pub fn on_ack(&mut self, id: RequestId, token: Token, point: Point, now_ns: u64) {
        if let Some(before) = self.opened.get(&id).filter(|before| point <= **before) {
            self.violations.push(Violation::WriteBehindRead(id, token, before.seq));
        }
        self.learn(token.group, now_ns, point);
    }

    /// A read that began at an instant came back; `age_ms` is what its reply says of its age, if it says anything.
    pub fn on_read(&mut self, promise: Promise, began_ns: u64, now_ns: u64, age_ms: Option<u32>, read: Read) {
        let ago = |ms: u32| began_ns.checked_sub(u64::from(ms) * MS);
        let known_ago = |ms: u32| ago(ms).map_or_else(Point::default, |at_ns| self.known_at(read.token.group, at_ns));
        let promised = match promise {
            Promise::Linearizable => known_ago(0),
            Promise::Session(point) => point,
            Promise::Bounded(ms) => known_ago(ms),
            Promise::Any => Point::default(),
        };
        let least = promised.max(age_ms.map_or_else(Point::default, known_ago));
        if read.point < least {
            self.violations
                .push(Violation::StaleRead(promise.level(), read.token, least.seq));
        }
        self.learn(read.token.group, now_ns, read.point);
        self.ended.push(read);
    }
}

/// The states of one group's actors, made again from its log entry by entry.
#[derive(Debug)]
pub struct Replay<B: Behaviour> {
    behaviour: B,
    actors: BTreeMap<u32, Option<B::State>>,
    numbers: BTreeMap<Vec<u8>, u32>,
}

impl<B: Behaviour> Replay<B> {
    /// Before the first entry.
    #[must_use]
    pub fn new(behaviour: B) -> Replay<B> {
        Replay {
            behaviour,
            actors: BTreeMap::new(),
            numbers: BTreeMap::new(),
        }
    }

    /// The next entry takes effect.
    pub fn take(&mut self, seq: u64, time_ms: u64, entry: &EntryView<'_>) {
        let number = entry.header.actor.get();
        let flags = entry.header.flags.get();
        if number == NO_ACTOR || flags & VOID != 0 {
            return;
        }
        if let Some(key) = entry.key {
            self.numbers.insert(key.to_vec(), number);
            self.actors.insert(number, Some(B::State::default()));
        }
        // Whose message was dropped cannot be made again.
        if flags & DROPPED != 0 {
            self.actors.insert(number, None);
        }
        let key = self.numbers.iter().find(|(_, other)| **other == number);
        let kind = key.and_then(|(key, _)| kind_of(&self.behaviour, key));
        if let (Some(kind), Some(Some(state)), Some(event)) = (kind, self.actors.get_mut(&number), entry.event) {
            self.behaviour.apply(kind, state, event, seq, time_ms);
        }
    }

    /// What a read of an actor shows now; `None` if that cannot be said.
    #[must_use]
    pub fn show(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        let Some(number) = self.numbers.get(key) else {
            return Some(body);
        };
        let state = self.actors.get(number)?.as_ref()?;
        self.behaviour.show(kind_of(&self.behaviour, key)?, state, &mut body);
        Some(body)
    }
}

fn kind_of<B: Behaviour>(behaviour: &B, key: &[u8]) -> Option<waterpark_core::behaviour::KindId> {
    behaviour.kind(waterpark_ring::KeyRef::new_checked(key).ok()?.kind())
}

#[cfg(test)]
mod tests {
    use super::*;
    use waterpark_ring::Key;
    use waterpark_wire::run::{EVENT_IS_MESSAGE, EntryHeader, EntryParts};

    const GROUP: GroupId = GroupId(3);

    const fn id(number: u32) -> RequestId {
        RequestId {
            client: 1,
            group: GROUP,
            number,
        }
    }

    const fn token(seq: u64) -> Token {
        Token {
            group: GROUP,
            view: 1,
            seq,
        }
    }

    const fn point(seq: u64) -> Point {
        Point { lineage: 0, seq }
    }

    fn read(seq: u64) -> Read {
        Read {
            token: token(seq),
            point: point(seq),
            key: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Seq 4 is acked at 100 ms, and seq 9 at 200 ms.
    fn acked() -> History {
        let mut history = History::default();
        history.on_ack(id(1), token(4), point(4), 100 * MS);
        history.on_ack(id(2), token(9), point(9), 200 * MS);
        history
    }

    #[test]
    fn a_forged_linearizable_read_that_misses_what_was_acked_before_it_is_found() {
        let mut history = acked();
        history.on_read(Promise::Linearizable, 150 * MS, 300 * MS, None, read(4));
        assert_eq!(history.violations, [], "it began before the second ack");
        history.on_read(Promise::Linearizable, 201 * MS, 300 * MS, None, read(8));
        let stale = Violation::StaleRead(ReadLevel::Linearizable, token(8), 9);
        assert_eq!(history.violations, [stale]);
    }

    #[test]
    fn a_forged_read_that_goes_back_behind_another_is_found() {
        let mut history = acked();
        history.on_read(Promise::Linearizable, 210 * MS, 220 * MS, None, read(12));
        history.on_read(Promise::Linearizable, 221 * MS, 230 * MS, None, read(11));
        let stale = Violation::StaleRead(ReadLevel::Linearizable, token(11), 12);
        assert_eq!(history.violations, [stale]);
    }

    #[test]
    fn a_forged_write_that_stands_before_what_was_read_before_it_is_found() {
        let mut history = acked();
        history.on_open(id(3), 205 * MS);
        history.on_read(Promise::Any, 210 * MS, 220 * MS, None, read(12));
        history.on_open(id(4), 221 * MS);
        history.on_ack(id(3), token(11), point(11), 230 * MS);
        assert_eq!(history.violations, [], "it was open when that was read");
        history.on_ack(id(4), token(12), point(12), 230 * MS);
        assert_eq!(history.violations, [Violation::WriteBehindRead(id(4), token(12), 12)]);
    }

    #[test]
    fn a_forged_read_of_an_older_lineage_than_what_was_known_is_found_and_a_shorter_log_of_a_newer_is_none() {
        let of = |lineage, seq| Read {
            point: Point { lineage, seq },
            ..read(seq)
        };
        let mut history = acked();
        history.on_read(Promise::Linearizable, 300 * MS, 310 * MS, None, of(20, 5));
        assert_eq!(history.violations, [], "seqs 5 to 9 went with the group");
        history.on_read(Promise::Any, 320 * MS, 330 * MS, None, of(0, 9));
        assert_eq!(history.violations, [], "it promises nothing");
        history.on_read(Promise::Linearizable, 320 * MS, 330 * MS, None, of(0, 9));
        let stale = Violation::StaleRead(ReadLevel::Linearizable, token(9), 5);
        assert_eq!(history.violations, [stale]);
    }

    #[test]
    fn a_forged_session_read_behind_its_token_is_found() {
        let mut history = acked();
        history.on_read(Promise::Session(point(4)), 300 * MS, 310 * MS, None, read(4));
        assert_eq!(history.violations, [], "others' writes it may miss");
        history.on_read(Promise::Session(point(5)), 300 * MS, 310 * MS, None, read(4));
        let stale = Violation::StaleRead(ReadLevel::Session, token(4), 5);
        assert_eq!(history.violations, [stale]);
    }

    #[test]
    fn a_forged_bounded_read_that_is_older_than_its_bound_is_found() {
        let mut history = acked();
        history.on_read(Promise::Bounded(50), 240 * MS, 250 * MS, None, read(4));
        assert_eq!(history.violations, [], "what it lacks is 40 ms old");
        history.on_read(Promise::Bounded(50), 251 * MS, 260 * MS, None, read(4));
        let stale = Violation::StaleRead(ReadLevel::Bounded, token(4), 9);
        assert_eq!(history.violations, [stale]);
    }

    #[test]
    fn a_forged_age_is_found_at_every_level() {
        let mut history = acked();
        history.on_read(Promise::Any, 250 * MS, 260 * MS, Some(60), read(4));
        history.on_read(Promise::Any, 250 * MS, 260 * MS, None, read(0));
        assert_eq!(history.violations, [], "an age of nobody's knowledge promises nothing");
        history.on_read(Promise::Any, 250 * MS, 260 * MS, Some(40), read(4));
        let stale = Violation::StaleRead(ReadLevel::Any, token(4), 9);
        assert_eq!(history.violations, [stale]);
    }

    #[test]
    fn a_forged_body_differs_from_what_the_log_makes_again() {
        let key = Key::new("register", &[("id", b"1")]).unwrap();
        let parts = |message, flags: u16| {
            let header = EntryHeader {
                actor: 0.into(),
                flags: flags.into(),
                ..EntryHeader::default()
            };
            let parts = EntryParts {
                header,
                message,
                key: (flags & DROPPED == 0).then_some(key.bytes()),
                ..EntryParts::default()
            };
            let mut bytes = vec![0; parts.length()];
            parts.write(&mut bytes);
            bytes
        };
        let mut replay = Replay::new(crate::retention::kinds());
        let nothing = replay.show(key.bytes());
        assert_eq!(nothing, Some(Vec::new()));
        let bytes = parts(b"put one", EVENT_IS_MESSAGE);
        replay.take(1, 7, &EntryView::new_checked(&bytes).unwrap().0);
        let one = replay.show(key.bytes()).unwrap();
        assert!(!one.is_empty() && Some(&one) != nothing.as_ref());
        let bytes = parts(b"put two", EVENT_IS_MESSAGE);
        let mut other = Replay::new(crate::retention::kinds());
        other.take(1, 7, &EntryView::new_checked(&bytes).unwrap().0);
        assert_ne!(other.show(key.bytes()), Some(one));
    }
}
