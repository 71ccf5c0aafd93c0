//! Placement: which nodes are the members of each group, and which of them writes.
//!
//! A pure function of the placement before and the topology: the same on every node, whatever the order in which nodes
//! were listed. What it deliberately does not know: which nodes are up, and how groups get from one placement to the
//! next; results are logged, this recipe is not. **Invariant:** members always satisfy the failure-domain rule; loads
//! are as even as that allows; no more data moves than the change demands. `docs/placement.md` states rule and balance
//! in words.

mod draft;
mod level;
#[cfg(test)]
mod reference;
mod rule;
mod seat;
mod site;
mod slot_table;
#[cfg(test)]
pub(crate) mod testing;

use std::collections::BTreeSet;
use std::fmt;

pub use slot_table::{Slot, SlotError, SlotTable};

use crate::keyspace::{ClusterId, GroupId, NodeId};
use crate::topology::{Topology, index};
use draft::{Draft, Load};
use rule::Members;
use site::{Node, Site, rank};

/// Why a placement cannot follow another one. A mistake of the caller, who mixed two clusters; nothing was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PlacementError {
    /// The placement before is another cluster's.
    OtherCluster {
        /// The cluster of the placement before.
        before: ClusterId,
        /// The cluster of the topology.
        now: ClusterId,
    },
    /// The placement before has another number of groups, which is fixed when a cluster is made.
    OtherGroups {
        /// Groups before.
        before: u32,
        /// Groups of the topology.
        now: u32,
    },
}

impl fmt::Display for PlacementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherCluster { before, now } => {
                write!(f, "the placement before is of cluster {before}, not of {now}")
            }
            Self::OtherGroups { before, now } => write!(f, "the placement before has {before} groups, not {now}"),
        }
    }
}

impl std::error::Error for PlacementError {}

/// What changes from one placement to another, counted over all groups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Movement {
    /// Members that a group has now and had not: each is a copy of the group's data.
    pub members: u64,
    /// Groups with another writer.
    pub writers: u64,
}

/// The members of every group of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    cluster: ClusterId,
    table: SlotTable,
}

impl Placement {
    /// Places the groups of a topology, moving as little as its differences from the one before demand; without one, by
    /// the rings alone.
    ///
    /// # Errors
    ///
    /// If the placement before is of another cluster or has another number of groups.
    pub fn place(previous: Option<&Self>, topology: &Topology) -> Result<Self, PlacementError> {
        let Some(previous) = previous else {
            return Ok(Self::born(topology));
        };
        let (before, now) = (previous.cluster, topology.spec().cluster);
        if before != now {
            return Err(PlacementError::OtherCluster { before, now });
        }
        let (before, now) = (previous.table.groups(), topology.keyspace().groups());
        if before != now {
            return Err(PlacementError::OtherGroups { before, now });
        }
        Ok(Self::follow(Some(&previous.table), topology))
    }

    /// The placement that somebody recorded, slot by slot, the first one being group 0's. What is recorded stands, whatever a rule would say.
    ///
    /// # Errors
    ///
    /// If their number is not one that groups can have.
    pub fn recorded(cluster: ClusterId, slots: Vec<Slot>) -> Result<Self, SlotError> {
        Ok(Self {
            cluster,
            table: SlotTable::new(slots)?,
        })
    }

    /// The placement that the groups of a topology are born with.
    pub(crate) fn born(topology: &Topology) -> Self {
        Self::follow(None, topology)
    }

    fn follow(previous: Option<&SlotTable>, topology: &Topology) -> Self {
        let slots = slots(previous, topology);
        let mut draft = Draft::new(Site::new(topology), topology.members(), slots);
        if !draft.site.homes_bind {
            // Any member may write, so members are chosen first: a writer chosen before them would only narrow the
            // choice.
            seat::fill_up(&mut draft);
            level::level(&mut draft, Load::Members);
        }
        // Where homes bind, only two members can write, so writers are chosen first and the other one follows from
        // them.
        seat::seat_writers(&mut draft);
        level::level(&mut draft, Load::Writers);
        seat::fill_up(&mut draft);
        level::level(&mut draft, Load::Members);
        if previous.is_some() {
            level::save_copies(&mut draft);
        }
        Self {
            cluster: topology.spec().cluster,
            table: compile(&draft, topology),
        }
    }

    /// The members of a group: one load.
    ///
    /// # Panics
    ///
    /// If there is no such group.
    #[inline]
    #[must_use]
    pub fn members(&self, group: GroupId) -> &Slot {
        self.table.members(group)
    }

    /// The writer of a group.
    ///
    /// # Panics
    ///
    /// If there is no such group.
    #[inline]
    #[must_use]
    pub fn writer(&self, group: GroupId) -> NodeId {
        self.table.members(group).writer()
    }

    /// The compiled table, as nodes and clients hold it.
    #[must_use]
    pub fn table(&self) -> &SlotTable {
        &self.table
    }

    /// The cluster whose groups these are.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The distinct sets of members, each ascending by node id.
    #[must_use]
    pub fn member_sets(&self) -> BTreeSet<Vec<NodeId>> {
        let sorted = |slot: &Slot| {
            let mut nodes = slot.nodes().to_vec();
            nodes.sort_unstable();
            nodes
        };
        self.table.slots().iter().map(sorted).collect()
    }

    /// What changed since a placement of the same groups.
    ///
    /// # Panics
    ///
    /// If the two have different numbers of groups.
    #[must_use]
    pub fn movement_since(&self, before: &Self) -> Movement {
        assert_eq!(self.table.groups(), before.table.groups());
        let mut movement = Movement::default();
        for (now, before) in self.table.slots().iter().zip(before.table.slots()) {
            movement.members += now
                .nodes()
                .iter()
                .map(|node| u64::from(!before.nodes().contains(node)))
                .sum::<u64>();
            movement.writers += u64::from(now.writer() != before.writer());
        }
        movement
    }
}

/// The slots to be placed, each with what it was before: one for each group, or for each copyset.
fn slots(previous: Option<&SlotTable>, topology: &Topology) -> Vec<draft::Slot> {
    let keyspace = topology.keyspace();
    let rank_of = |id: &NodeId| topology.nodes().iter().position(|node| node.id == *id).map(rank);
    let slot = |number: u32| {
        // Groups that share a slot are equal in their low bits, among them those that name the class.
        let group = GroupId(number);
        let before = previous.map_or(&[][..], |table| table.members(group).nodes());
        let mut members = Members::default();
        before.iter().filter_map(rank_of).for_each(|node| members.push(node));
        draft::Slot {
            position: keyspace.hash(&number.to_le_bytes()),
            home: topology.homes()[index(keyspace.class_of_group(group))],
            turn: index(number / keyspace.classes()),
            before: members,
            writer_before: before.first().and_then(rank_of),
            members: Members::default(),
            seated: false,
        }
    };
    (0..topology.spec().copysets.unwrap_or(keyspace.groups()))
        .map(slot)
        .collect()
}

/// Writes a finished draft as the table of all groups.
fn compile(draft: &Draft<'_>, topology: &Topology) -> SlotTable {
    let compiled = |slot: &draft::Slot| {
        assert!(draft.rules[slot.home].admits(&draft.site, &slot.members));
        assert!(slot.seated);
        let id = |&node: &Node| topology.nodes()[usize::from(node)].id;
        let members: Vec<NodeId> = in_order_of_succession(draft, &slot.members).iter().map(id).collect();
        Slot::new(&members).expect("members are distinct and few")
    };
    let slots: Vec<Slot> = draft.slots.iter().map(compiled).collect();
    let table = slots
        .iter()
        .copied()
        .cycle()
        .take(index(topology.keyspace().groups()))
        .collect();
    SlotTable::new(table).expect("groups are a power of two")
}

/// The writer; then who takes over from it, nearest first: the other zones of its data centre, its own zone, and the
/// other data centres in the order of their names from its own onward.
fn in_order_of_succession(draft: &Draft<'_>, members: &Members) -> Vec<Node> {
    let (site, writer) = (&draft.site, members.writer());
    let mut nodes = members.as_slice().to_vec();
    nodes[1..].sort_by_key(|&node| {
        let distance = (site.dc(node) + site.dcs.len() - site.dc(writer)) % site.dcs.len();
        (distance, site.zone(node) == site.zone(writer), node)
    });
    nodes
}

#[cfg(test)]
mod tests;
