//! On which shard of a node a group lives, where that was said.
//!
//! It does not know how many shards a node has, nor what a move is good for. **Invariant:** of two entries about one seat that saw the same, the
//! first wins.

use super::{Changed, TopologyState, has_left};
use crate::ids::{GroupId, NodeId, ShardId};
use crate::topology_log::entry::Move;

/// Where a group lives on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The shard.
    pub shard: ShardId,
    /// No planner moves it.
    pub pinned: bool,
    /// The position of the entry that said so.
    pub position: u64,
}

impl TopologyState {
    /// The seat that an entry gave a group on a node.
    #[must_use]
    pub fn seat(&self, node: NodeId, group: GroupId) -> Option<Seat> {
        self.seats.get(&(node, group)).copied()
    }

    /// The groups that were given a seat on a node, in order of id.
    pub fn seats(&self, node: NodeId) -> impl Iterator<Item = (GroupId, Seat)> + '_ {
        let all = (node, GroupId(0))..=(node, GroupId(u32::MAX));
        self.seats.range(all).map(|((_, group), seat)| (*group, *seat))
    }

    pub(super) fn seat_group(&mut self, node: NodeId, wanted: &Move, changed: &mut Changed) {
        let sees = self.seat(node, wanted.group).map_or(0, |seat| seat.position);
        let is_known = self.groups.len() > wanted.group.0 as usize && !has_left(&self.nodes, node);
        if sees != wanted.sees || !is_known {
            return;
        }
        let seat = Seat {
            shard: wanted.shard,
            pinned: wanted.pinned,
            position: self.position,
        };
        self.seats.insert((node, wanted.group), seat);
        changed.seats.push((node, wanted.group));
    }

    /// Nobody lives on a node that has left.
    pub(super) fn forget_seats(&mut self, node: NodeId) {
        self.seats.retain(|(other, _), _| *other != node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Incarnation, Member};
    use crate::topology_log::entry::{Entry, Roll};

    fn born() -> TopologyState {
        let member = Member {
            node: NodeId(1),
            incarnation: Incarnation(1),
        };
        let roll = Roll {
            members: vec![member],
            write_quorum: 1,
            read_quorum: 1,
        };
        let mut state = TopologyState::default();
        state.apply(1, &Entry::Create(vec![roll.clone(), roll]));
        state
    }

    fn moved(group: u32, sees: u64, shard: u16) -> Entry {
        Entry::Seats {
            node: NodeId(1),
            moves: vec![Move {
                group: GroupId(group),
                sees,
                shard: ShardId(shard),
                pinned: false,
            }],
            reason: String::new(),
        }
    }

    #[test]
    fn of_two_moves_of_one_group_that_saw_the_same_the_first_wins() {
        let mut state = born();
        assert_eq!(state.apply(2, &moved(1, 0, 3)).seats, [(NodeId(1), GroupId(1))]);
        assert_eq!(state.apply(3, &moved(1, 0, 4)), Changed::default());
        assert_eq!(
            state.seat(NodeId(1), GroupId(1)).map(|seat| seat.shard),
            Some(ShardId(3))
        );
        assert_eq!(state.apply(4, &moved(1, 2, 4)).seats.len(), 1);
        assert_eq!(state.seats(NodeId(1)).count(), 1);
        assert_eq!(
            state.seat(NodeId(2), GroupId(1)),
            None,
            "on another node it lives where it did"
        );
    }

    #[test]
    fn a_group_that_there_is_not_has_no_seat() {
        let mut state = born();
        assert_eq!(state.apply(2, &moved(2, 0, 1)), Changed::default());
        assert_eq!(TopologyState::default().apply(1, &moved(0, 0, 1)), Changed::default());
    }
}
