//! The slot table: members of every group, compiled so that looking them up is one load.
//!
//! Nodes and clients hold it; the topology log changes it slot by slot. It knows nothing of rules: whatever the log
//! recorded is what stands here.

use std::fmt;

use crate::keyspace::{GROUPS_MAX, GroupId, NodeId};
use crate::topology::{MEMBERS_MAX, index};

/// Why members do not make a slot, or slots no table. The mistake of whoever sent them; nothing was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SlotError {
    /// A slot has from 1 to [`MEMBERS_MAX`] members.
    Members {
        /// The number given.
        members: usize,
    },
    /// A node is named twice in one slot.
    Repeated {
        /// The node.
        node: NodeId,
    },
    /// A table has a power of two of slots, at most [`GROUPS_MAX`].
    Slots {
        /// The number given.
        slots: usize,
    },
}

impl fmt::Display for SlotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Members { members } => write!(f, "{members} members: a slot has from 1 to {MEMBERS_MAX}"),
            Self::Repeated { node } => write!(f, "node {node} is named twice in one slot"),
            Self::Slots { slots } => write!(f, "{slots} slots: must be a power of two of at most {GROUPS_MAX}"),
        }
    }
}

impl std::error::Error for SlotError {}

/// The members of one group, the writer first, then in the order in which they would take over.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    nodes: [NodeId; MEMBERS_MAX],
    len: u16,
}

// A million groups are 12 MiB on every node; five slots share a cache line.
const _: () = assert!(size_of::<Slot>() == 12);

impl Slot {
    /// A slot with these members, the writer first.
    ///
    /// # Errors
    ///
    /// If there are none, too many, or one twice.
    pub fn new(members: &[NodeId]) -> Result<Self, SlotError> {
        if !(1..=MEMBERS_MAX).contains(&members.len()) {
            return Err(SlotError::Members { members: members.len() });
        }
        if let Some(at) = (1..members.len()).find(|&at| members[..at].contains(&members[at])) {
            return Err(SlotError::Repeated { node: members[at] });
        }
        // Unused places repeat the writer, so that equal members are equal bytes.
        let mut nodes = [members[0]; MEMBERS_MAX];
        nodes[..members.len()].copy_from_slice(members);
        Ok(Self {
            nodes,
            len: u16::try_from(members.len()).expect("at most five"),
        })
    }

    /// All members, the writer first.
    #[inline]
    #[must_use]
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes[..usize::from(self.len)]
    }

    /// The member that writes.
    #[inline]
    #[must_use]
    pub fn writer(&self) -> NodeId {
        self.nodes[0]
    }

    /// The members that follow, in the order in which they would take over.
    #[inline]
    #[must_use]
    pub fn followers(&self) -> &[NodeId] {
        &self.nodes[1..usize::from(self.len)]
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.nodes()).finish()
    }
}

/// Slots by group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotTable {
    slots: Box<[Slot]>,
}

impl SlotTable {
    /// A table of these slots, the first one being group 0's.
    ///
    /// # Errors
    ///
    /// If their number is not one that groups can have.
    pub fn new(slots: Vec<Slot>) -> Result<Self, SlotError> {
        if !slots.len().is_power_of_two() || slots.len() > index(GROUPS_MAX) {
            return Err(SlotError::Slots { slots: slots.len() });
        }
        Ok(Self { slots: slots.into() })
    }

    /// The members of a group.
    ///
    /// # Panics
    ///
    /// If there is no such group: groups come from the keyspace, which has as many.
    #[inline]
    #[must_use]
    pub fn members(&self, group: GroupId) -> &Slot {
        &self.slots[index(group.0)]
    }

    /// Puts other members in the place of a group's.
    ///
    /// # Panics
    ///
    /// If there is no such group.
    pub fn replace(&mut self, group: GroupId, slot: Slot) {
        self.slots[index(group.0)] = slot;
    }

    /// Groups in the table.
    #[must_use]
    pub fn groups(&self) -> u32 {
        u32::try_from(self.slots.len()).expect("a table has at most GROUPS_MAX slots")
    }

    /// All slots, that of group 0 first.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_keeps_its_members_in_order() {
        let slot = Slot::new(&[NodeId(3), NodeId(1), NodeId(2)]).unwrap();
        assert_eq!(slot.nodes(), [NodeId(3), NodeId(1), NodeId(2)]);
        assert_eq!(
            (slot.writer(), slot.followers()),
            (NodeId(3), &[NodeId(1), NodeId(2)][..])
        );
    }

    #[test]
    fn members_that_are_none_too_many_or_twice_are_refused() {
        let ids = [0, 1, 2, 3, 4, 5].map(NodeId);
        assert_eq!(Slot::new(&[]), Err(SlotError::Members { members: 0 }));
        assert_eq!(Slot::new(&ids), Err(SlotError::Members { members: 6 }));
        assert_eq!(
            Slot::new(&[ids[1], ids[2], ids[1]]),
            Err(SlotError::Repeated { node: ids[1] })
        );
    }

    #[test]
    fn a_table_has_a_power_of_two_of_slots() {
        let slot = Slot::new(&[NodeId(0)]).unwrap();
        assert_eq!(SlotTable::new(vec![slot; 3]), Err(SlotError::Slots { slots: 3 }));
        assert_eq!(SlotTable::new(vec![]), Err(SlotError::Slots { slots: 0 }));
        let mut table = SlotTable::new(vec![slot; 4]).unwrap();
        let other = Slot::new(&[NodeId(9)]).unwrap();
        table.replace(GroupId(2), other);
        assert_eq!(
            (table.groups(), table.members(GroupId(2)), table.members(GroupId(1))),
            (4, &other, &slot)
        );
    }
}
