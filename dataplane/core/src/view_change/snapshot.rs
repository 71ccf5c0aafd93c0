//! The state of a group on its way in parts: kept whole by its giver for as long as it is asked for, put together by its asker.
//!
//! A state is named by its hash, so whoever goes on asking for one gets parts of that one and of no other, and what was put together is
//! used only if it has that hash. It does not know what a state says. **Invariant:** one is kept for each group and asker at the most.

use waterpark_wire::checksum;
use waterpark_wire::link::{StatePart, join_hash, split_hash};

use crate::ids::{GroupId, Member, Seq, View};
use crate::time::{MS, Now};

/// A state that nobody asked for any more since then is dropped.
const KEPT_MS: u64 = 1_000;

/// A state as it is given.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) group: GroupId,
    pub(crate) view: View,
    pub(crate) to: Member,
    /// The seq up to which it was computed.
    pub(crate) seq: Seq,
    pub(crate) hash: u128,
    pub(crate) bytes: Vec<u8>,
    /// When it was asked for last, monotonic ns.
    asked_ns: u64,
}

impl Snapshot {
    /// What goes with each part of it.
    pub(crate) fn head(&self) -> StatePart {
        StatePart {
            length: (self.bytes.len() as u64).into(),
            seq: self.seq.0.into(),
            hash: split_hash(self.hash),
        }
    }
}

/// Those that a shard keeps.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    kept: Vec<Snapshot>,
}

impl Snapshots {
    /// The one that is kept of a group in a view for a member.
    pub(crate) fn find(&self, group: GroupId, view: View, to: Member) -> Option<&Snapshot> {
        let is_it = |kept: &&Snapshot| kept.group == group && kept.view == view && kept.to == to;
        self.kept.iter().find(is_it)
    }

    /// The same, because it is asked for.
    pub(crate) fn ask(&mut self, now: Now, group: GroupId, view: View, to: Member) -> Option<&Snapshot> {
        let is_it = |kept: &&mut Snapshot| kept.group == group && kept.view == view && kept.to == to;
        let kept = self.kept.iter_mut().find(is_it)?;
        kept.asked_ns = now.monotonic_ns;
        Some(kept)
    }

    /// Whether another one may be made: by one they may be more than `bytes_max`.
    pub(crate) fn has_room(&self, bytes_max: usize) -> bool {
        self.kept.iter().map(|kept| kept.bytes.len()).sum::<usize>() < bytes_max
    }

    /// Keeps a state; one of the same group for the same member goes.
    pub(crate) fn keep(&mut self, now: Now, group: GroupId, view: View, to: Member, seq: Seq, bytes: Vec<u8>) {
        self.forget(group, to);
        self.kept.push(Snapshot {
            group,
            view,
            to,
            seq,
            hash: checksum::state(&bytes),
            bytes,
            asked_ns: now.monotonic_ns,
        });
    }

    /// A member wants another one.
    pub(crate) fn forget(&mut self, group: GroupId, to: Member) {
        self.kept.retain(|kept| kept.group != group || kept.to != to);
    }

    /// A member wants no more of a view, or of an older one.
    pub(crate) fn forget_upto(&mut self, group: GroupId, view: View, to: Member) {
        self.kept
            .retain(|kept| kept.group != group || kept.to != to || kept.view > view);
    }

    /// A group has left its view: nothing of it is given any more.
    pub(crate) fn forget_group(&mut self, group: GroupId) {
        self.kept.retain(|kept| kept.group != group);
    }

    /// Drops what nobody asks for any more.
    pub(crate) fn expire(&mut self, now: Now) {
        let is_wanted = |kept: &Snapshot| now.monotonic_ns.saturating_sub(kept.asked_ns) < KEPT_MS * MS;
        self.kept.retain(is_wanted);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    #[cfg(test)]
    pub(crate) fn spoil(&mut self) {
        for kept in &mut self.kept {
            let middle = kept.bytes.len() / 2;
            kept.bytes[middle] ^= 1;
        }
    }
}

/// What became of a part of a state that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PartTaken {
    /// It is held, or was not wanted.
    Held,
    /// It was the last one, and the whole is not what its hash says: it is forgotten.
    Refused,
}

/// A state that is put together.
#[derive(Debug)]
pub(crate) struct StateIntake {
    pub(crate) hash: u128,
    length: u64,
    /// The seq up to which it was computed.
    pub(crate) seq: Seq,
    pub(crate) bytes: Vec<u8>,
}

impl StateIntake {
    /// All of it came, and it is what its hash says.
    pub(crate) fn is_whole(&self) -> bool {
        self.bytes.len() as u64 == self.length
    }

    /// Takes a part that begins at `offset`. One that came before, or out of its turn, changes nothing; the first part of another state
    /// begins that one, because its giver gives this one no more.
    pub(crate) fn take(state: &mut Option<StateIntake>, head: &StatePart, offset: u64, part: &[u8]) -> PartTaken {
        let hash = join_hash(head.hash);
        let is_other = state.as_ref().is_none_or(|state| state.hash != hash);
        if offset == 0 && is_other && head.length.get() > 0 {
            *state = Some(StateIntake {
                hash,
                length: head.length.get(),
                seq: Seq(head.seq.get()),
                bytes: Vec::new(),
            });
        }
        let Some(begun) = state
            .as_mut()
            .filter(|state| state.hash == hash && state.length == head.length.get())
        else {
            return PartTaken::Held;
        };
        if begun.is_whole() || offset != begun.bytes.len() as u64 {
            return PartTaken::Held;
        }
        begun.bytes.extend_from_slice(part);
        if begun.is_whole() && checksum::state(&begun.bytes) != hash {
            *state = None;
            return PartTaken::Refused;
        }
        PartTaken::Held
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Incarnation, NodeId};

    const GROUP: GroupId = GroupId(5);

    fn member(node: u16) -> Member {
        Member {
            node: NodeId(node),
            incarnation: Incarnation(1 << 16),
        }
    }

    fn at(ms: u64) -> Now {
        Now {
            monotonic_ns: ms * MS,
            wall_ms: 0,
        }
    }

    fn snapshot(bytes: &[u8]) -> Snapshots {
        let mut snapshots = Snapshots::default();
        snapshots.keep(at(0), GROUP, View(3), member(1), Seq(9), bytes.to_vec());
        snapshots
    }

    fn head(bytes: &[u8]) -> StatePart {
        snapshot(bytes).kept[0].head()
    }

    #[test]
    fn a_state_is_put_together_whatever_its_parts_do_on_the_way() {
        let bytes: Vec<u8> = (0..100).collect();
        let head = head(&bytes);
        let mut state = None;
        // The second comes before the first and is lost so; the first comes twice; the second comes twice.
        for from in [40, 0, 0, 40, 40, 80, 80, 0] {
            let part = &bytes[from..(from + 40).min(100)];
            assert_eq!(StateIntake::take(&mut state, &head, from as u64, part), PartTaken::Held);
        }
        let state = state.unwrap();
        assert!(state.is_whole());
        assert_eq!((state.bytes, state.seq), (bytes, Seq(9)));
    }

    #[test]
    fn a_state_that_is_not_what_its_hash_says_is_refused_and_forgotten() {
        let head = head(&[7; 10]);
        let mut state = None;
        assert_eq!(StateIntake::take(&mut state, &head, 0, &[7; 6]), PartTaken::Held);
        assert_eq!(
            StateIntake::take(&mut state, &head, 6, &[7, 7, 7, 8]),
            PartTaken::Refused
        );
        assert!(state.is_none());
    }

    #[test]
    fn the_first_part_of_another_state_begins_that_one_and_no_later_part_does() {
        let (old, new) = ([1; 10], [2; 12]);
        let mut state = None;
        StateIntake::take(&mut state, &head(&old), 0, &old[..5]);
        StateIntake::take(&mut state, &head(&new), 5, &new[5..]);
        assert_eq!(state.as_ref().unwrap().bytes, old[..5]);
        StateIntake::take(&mut state, &head(&new), 0, &new[..5]);
        StateIntake::take(&mut state, &head(&old), 5, &old[5..]);
        assert_eq!(state.as_ref().unwrap().bytes, new[..5]);
    }

    #[test]
    fn a_state_is_kept_while_it_is_asked_for_and_not_longer() {
        let mut snapshots = snapshot(&[1; 10]);
        assert!(snapshots.ask(at(900), GROUP, View(3), member(1)).is_some());
        snapshots.expire(at(900 + KEPT_MS - 1));
        assert_eq!(snapshots.len(), 1);
        snapshots.expire(at(900 + KEPT_MS));
        assert_eq!(snapshots.len(), 0);
    }

    #[test]
    fn one_state_is_kept_for_each_member_and_none_once_its_group_has_left_the_view() {
        let mut snapshots = snapshot(&[1; 10]);
        snapshots.keep(at(0), GROUP, View(3), member(1), Seq(10), vec![2; 10]);
        snapshots.keep(at(0), GROUP, View(3), member(2), Seq(10), vec![2; 10]);
        assert_eq!(snapshots.len(), 2);
        assert!(snapshots.has_room(21) && !snapshots.has_room(20));
        assert!(snapshots.find(GROUP, View(4), member(1)).is_none());
        snapshots.forget(GROUP, member(1));
        assert!(snapshots.find(GROUP, View(3), member(1)).is_none());
        snapshots.forget_group(GROUP);
        assert_eq!(snapshots.len(), 0);
    }
}
