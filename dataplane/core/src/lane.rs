//! Lanes: the numbered requests of one session to one group, and which of them took effect (`protocol.md` §8).
//!
//! One row per lane, never per actor. A row changes by entries alone, so it is the same on every member. A number that took effect keeps
//! its seq for as long as it is not below the client's mark.
//!
//! **Invariant:** the numbers kept lie in [mark, mark + 256).

use hashbrown::HashTable;

use crate::account::bytes_of;
use crate::ids::Seq;
use crate::state_bytes::{StateReader, StateWriter};

/// Numbers that a lane keeps from its mark on.
pub const LANE_WINDOW: u32 = 256;
/// No lane: the writer's own entry.
pub const NO_LANE: u32 = u32::MAX;
/// A session ends this long after its birth, in group time.
pub const SESSION_MS: u64 = 3_600_000;
/// A session may be born this far ahead of group time.
pub const SESSION_AHEAD_MS: u64 = 600_000;

/// A session: birth second and order bit, then random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Session(pub [u8; 16]);

impl Session {
    /// A session born in this second.
    #[must_use]
    pub fn new(birth_s: u64, ordered: bool, random: [u8; 8]) -> Session {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&(birth_s << 1 | u64::from(ordered)).to_le_bytes());
        bytes[8..].copy_from_slice(&random);
        Session(bytes)
    }

    fn word(self) -> u64 {
        u64::from_le_bytes(*self.0.first_chunk().expect("sixteen bytes"))
    }

    /// The cluster's second in which it was born.
    #[must_use]
    pub fn birth_s(self) -> u64 {
        self.word() >> 1
    }

    /// Whether its requests take effect in the order of their numbers.
    #[must_use]
    pub fn is_ordered(self) -> bool {
        self.word() & 1 == 1
    }

    /// Whether its time is over, or has not come, at a group time.
    #[must_use]
    pub fn is_expired(self, group_time_ms: u64) -> bool {
        let birth_ms = self.birth_s().saturating_mul(1000);
        group_time_ms.saturating_sub(birth_ms) > SESSION_MS || birth_ms.saturating_sub(group_time_ms) > SESSION_AHEAD_MS
    }

    /// The random half spreads well enough for a table of its own.
    fn hash(self) -> u64 {
        let random = u64::from_le_bytes(*self.0.last_chunk().expect("sixteen bytes"));
        (random ^ self.word()).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// What a lane knows of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may run now.
    New,
    /// It took effect in this entry.
    Known(Seq),
    /// It is below the mark: nothing is known of its effect.
    Old,
    /// It waits for an earlier number.
    Gap {
        /// The number expected next.
        expected: u32,
    },
}

/// One lane.
#[derive(Debug)]
pub struct Lane {
    /// Its session.
    pub session: Session,
    /// All below are answered or given up.
    mark: u32,
    /// An ordered lane's next number.
    next: u32,
    /// The seq of each number from the mark on, in a ring of a power of two; 0 where none took effect.
    kept: Vec<u64>,
}

impl Lane {
    pub(crate) fn new(session: Session) -> Lane {
        Lane {
            session,
            mark: 1,
            next: 1,
            kept: Vec::new(),
        }
    }

    /// Writes it down.
    pub(crate) fn save(&self, to: &mut StateWriter<'_>) {
        to.number(1);
        to.bytes(&self.session.0);
        to.number(self.mark.into());
        to.number(self.next.into());
        to.number(self.kept.len() as u64);
        self.kept.iter().for_each(|seq| to.number(*seq));
    }

    fn kept(&self, number: u32) -> Option<Seq> {
        if number < self.mark || (number - self.mark) as usize >= self.kept.len() {
            return None;
        }
        let seq = self.kept[number as usize & (self.kept.len() - 1)];
        (seq != 0).then_some(Seq(seq))
    }

    /// What is known of `number`, sent with `mark`.
    ///
    /// # Panics
    /// If the number lies [`LANE_WINDOW`] or more above its mark: such a request is malformed, and its connection was cut.
    #[must_use]
    pub fn standing(&self, number: u32, mark: u32) -> Standing {
        assert!(number.saturating_sub(mark) < LANE_WINDOW, "checked with the request");
        if let Some(seq) = self.kept(number) {
            return Standing::Known(seq);
        }
        let mark = mark.max(self.mark);
        if number < mark {
            return Standing::Old;
        }
        if !self.session.is_ordered() {
            return Standing::New;
        }
        let expected = self.next.max(mark);
        match number.cmp(&expected) {
            std::cmp::Ordering::Less => Standing::Old,
            std::cmp::Ordering::Equal => Standing::New,
            std::cmp::Ordering::Greater => Standing::Gap { expected },
        }
    }

    /// An ordered lane's next number.
    #[must_use]
    pub fn expected(&self) -> u32 {
        self.next.max(self.mark)
    }

    /// A request took effect in the entry `seq`. Numbers below `mark` are forgotten.
    pub fn take(&mut self, number: u32, mark: u32, seq: Seq) {
        self.raise(mark);
        self.next = self.next.max(number.saturating_add(1));
        if number < self.mark {
            return;
        }
        let wanted = (number - self.mark) as usize + 1;
        if wanted > self.kept.len() {
            self.grow(wanted.next_power_of_two().max(8));
        }
        let slot = number as usize & (self.kept.len() - 1);
        self.kept[slot] = seq.0;
    }

    fn raise(&mut self, mark: u32) {
        if mark <= self.mark {
            return;
        }
        if !self.kept.is_empty() {
            let gone = ((mark - self.mark) as usize).min(self.kept.len());
            for number in (self.mark as usize..).take(gone) {
                let slot = number & (self.kept.len() - 1);
                self.kept[slot] = 0;
            }
        }
        self.mark = mark;
    }

    fn grow(&mut self, length: usize) {
        let mut kept = vec![0; length];
        for number in (self.mark..).take(self.kept.len()) {
            kept[number as usize & (length - 1)] = self.kept[number as usize & (self.kept.len() - 1)];
        }
        self.kept = kept;
    }
}

/// The lanes of one group.
#[derive(Debug, Default)]
pub struct Lanes {
    index: HashTable<u32>,
    rows: Vec<Option<Lane>>,
    free: Vec<u32>,
}

impl Lanes {
    /// How many rows are in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Bytes set aside for rows, free numbers and the index.
    pub(crate) fn table_bytes(&self) -> u64 {
        bytes_of(&self.rows) + bytes_of(&self.free) + self.index.allocation_size() as u64
    }

    /// Bytes that the rows have set aside for the seqs of numbers. Walks all of them.
    pub(crate) fn beside_bytes(&self) -> u64 {
        self.rows.iter().flatten().map(|lane| bytes_of(&lane.kept)).sum()
    }

    /// The number of a session's lane.
    #[must_use]
    pub fn find(&self, session: Session) -> Option<u32> {
        let same = |number: &u32| {
            self.rows[*number as usize]
                .as_ref()
                .is_some_and(|lane| lane.session == session)
        };
        self.index.find(session.hash(), same).copied()
    }

    /// A lane by number.
    #[must_use]
    pub fn lane(&self, number: u32) -> Option<&Lane> {
        self.rows.get(number as usize)?.as_ref()
    }

    /// A lane by number, for changing it.
    pub fn lane_mut(&mut self, number: u32) -> Option<&mut Lane> {
        self.rows.get_mut(number as usize)?.as_mut()
    }

    /// The number that the next lane gets.
    ///
    /// # Panics
    /// Never: rows are capped far below 2^32.
    #[must_use]
    pub fn next_number(&self) -> u32 {
        self.free
            .last()
            .copied()
            .unwrap_or_else(|| u32::try_from(self.rows.len()).expect("rows are capped"))
    }

    /// Adds the lane of a session under [`Lanes::next_number`]; false if `number` is another one: members disagree.
    pub fn introduce(&mut self, number: u32, session: Session) -> bool {
        if number != self.next_number() {
            return false;
        }
        if self.free.pop().is_none() {
            self.rows.push(None);
        }
        self.rows[number as usize] = Some(Lane::new(session));
        let rows = &self.rows;
        let hash = |other: &u32| rows[*other as usize].as_ref().map_or(0, |lane| lane.session.hash());
        self.index.insert_unique(session.hash(), number, hash);
        true
    }

    /// Writes all rows, free ones included: the number of the next lane depends on them.
    pub(crate) fn save(&self, to: &mut StateWriter<'_>) {
        to.number(self.rows.len() as u64);
        for row in &self.rows {
            match row {
                None => to.number(0),
                Some(lane) => lane.save(to),
            }
        }
        to.number(self.free.len() as u64);
        self.free.iter().for_each(|number| to.number((*number).into()));
    }

    /// Reads them into empty tables.
    pub(crate) fn load(&mut self, from: &mut StateReader<'_>) -> Option<()> {
        let rows: u32 = from.small()?;
        for number in 0..rows {
            if from.number()? == 0 {
                self.rows.push(None);
                continue;
            }
            let session = Session(from.bytes()?.try_into().ok()?);
            let (mark, next) = (from.small()?, from.small()?);
            let length: u32 = from.small()?;
            if length > LANE_WINDOW || length != 0 && !length.is_power_of_two() {
                return None;
            }
            let kept = (0..length).map(|_| from.number()).collect::<Option<Vec<u64>>>()?;
            self.rows.push(Some(Lane {
                session,
                mark,
                next,
                kept,
            }));
            let rows = &self.rows;
            let hash = |other: &u32| rows[*other as usize].as_ref().map_or(0, |lane| lane.session.hash());
            self.index.insert_unique(session.hash(), number, hash);
        }
        let free: u32 = from.small()?;
        for _ in 0..free {
            let number: u32 = from.small()?;
            self.rows
                .get(number as usize)?
                .is_none()
                .then(|| self.free.push(number))?;
        }
        Some(())
    }

    /// Whether a row's time is over.
    #[must_use]
    pub fn has_expired(&self, group_time_ms: u64) -> bool {
        self.rows
            .iter()
            .flatten()
            .any(|lane| lane.session.is_expired(group_time_ms))
    }

    /// Drops the rows whose time is over at the time of an entry, in order of number.
    pub fn expire(&mut self, entry_time_ms: u64) {
        for number in (0..).take(self.rows.len()) {
            let row = &mut self.rows[number as usize];
            let Some(lane) = row.take_if(|lane| lane.session.is_expired(entry_time_ms)) else {
                continue;
            };
            if let Ok(found) = self.index.find_entry(lane.session.hash(), |other| *other == number) {
                found.remove();
            }
            self.free.push(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waterpark_wire::Item;
    use waterpark_wire::request::{self, RequestHeader, RequestView};

    fn lane(ordered: bool) -> Lane {
        Lane::new(Session::new(1_000, ordered, [7; 8]))
    }

    #[test]
    fn an_unordered_lane_takes_numbers_in_any_order_and_knows_each() {
        let mut lane = lane(false);
        for (seq, number) in [(1, 5), (2, 1), (3, 200), (4, 3)] {
            assert_eq!(lane.standing(number, 1), Standing::New);
            lane.take(number, 1, Seq(seq));
            assert_eq!(lane.standing(number, 1), Standing::Known(Seq(seq)));
        }
        assert_eq!(lane.standing(2, 1), Standing::New);
        assert_eq!(lane.standing(256, 1), Standing::New);
    }

    #[test]
    fn a_number_beyond_the_window_is_no_request_and_comes_to_no_lane() {
        let is_request = |number: u32| {
            let header = RequestHeader {
                number: number.into(),
                mark: 7.into(),
                ..RequestHeader::default()
            };
            let mut bytes = Vec::new();
            request::push(&mut bytes, &header, b"key", b"message");
            Item::new_checked(&bytes).is_ok_and(|item| RequestView::new_checked(&item).is_ok())
        };
        assert!(is_request(7) && is_request(6 + LANE_WINDOW));
        assert!(!is_request(7 + LANE_WINDOW) && !is_request(6));
    }

    #[test]
    fn a_mark_abandons_what_is_below_and_makes_room_above() {
        let mut lane = lane(false);
        lane.take(1, 1, Seq(1));
        lane.take(4, 1, Seq(2));
        lane.take(260, 4, Seq(3));
        assert_eq!(lane.standing(4, 4), Standing::Known(Seq(2)));
        assert_eq!(lane.standing(1, 4), Standing::Old);
        assert_eq!(lane.standing(3, 1), Standing::Old);
        lane.take(1000, 1000, Seq(4));
        assert_eq!(lane.standing(260, 1000), Standing::Old);
        assert_eq!(lane.standing(1001, 1000), Standing::New);
    }

    #[test]
    fn an_ordered_lane_waits_for_its_next_number() {
        let mut lane = lane(true);
        assert_eq!(lane.standing(2, 1), Standing::Gap { expected: 1 });
        lane.take(1, 1, Seq(1));
        assert_eq!(lane.standing(2, 1), Standing::New);
        assert_eq!(lane.standing(4, 1), Standing::Gap { expected: 2 });
        assert_eq!(lane.standing(4, 4), Standing::New, "the mark abandons the gap");
        lane.take(4, 4, Seq(2));
        assert_eq!(lane.standing(5, 4), Standing::New);
        assert_eq!(lane.standing(3, 1), Standing::Old);
    }

    #[test]
    fn a_session_is_refused_before_its_time_and_after_its_hour() {
        let session = Session::new(10_000, false, [1; 8]);
        assert!(!session.is_expired(10_000_000));
        assert!(!session.is_expired(10_000_000 + SESSION_MS));
        assert!(session.is_expired(10_000_000 + SESSION_MS + 1));
        assert!(!session.is_expired(10_000_000 - SESSION_AHEAD_MS));
        assert!(session.is_expired(10_000_000 - SESSION_AHEAD_MS - 1));
    }

    #[test]
    fn expired_rows_free_their_numbers_in_the_same_order_everywhere() {
        let mut lanes = Lanes::default();
        for number in 0..3u8 {
            assert!(lanes.introduce(number.into(), Session::new(u64::from(number) * 100, false, [number; 8])));
        }
        lanes.expire(SESSION_MS + 150_000);
        assert_eq!(lanes.len(), 1);
        assert_eq!(lanes.next_number(), 1);
        assert!(lanes.find(Session::new(200, false, [2; 8])).is_some());
        assert!(lanes.find(Session::new(0, false, [0; 8])).is_none());
    }
}
