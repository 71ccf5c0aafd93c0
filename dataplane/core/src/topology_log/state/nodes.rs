//! Nodes that join a cluster and leave it for good, and where groups should be then.
//!
//! The nodes that a cluster is made with stand in every configuration; the log names those that joined since, and those that left. Where
//! groups should be is what the Create says, and what each such entry changes of it. **Invariant:** groups should be on nodes that belong to
//! the cluster, and no id or name is given twice.

use std::collections::BTreeMap;

use waterpark_ring::{NodeSpec, Placement, Slot, Topology, TopologyError};

use super::{Changed, NodeState, Presence, TopologyState};
use crate::config::Config;
use crate::ids::{GroupId, NodeId};
use crate::topology_log::entry::Placing;

impl TopologyState {
    /// The position of the entry that last said where groups should be; 0 where only the Create did.
    #[must_use]
    pub fn placing(&self) -> u64 {
        self.placing
    }

    /// The nodes that joined since the cluster was made, as others reach them, those among them that left too.
    #[must_use]
    pub fn joined(&self) -> &[NodeSpec] {
        &self.joined
    }

    /// The topology of a configuration with the nodes that joined and without those that left.
    ///
    /// # Errors
    /// Where the nodes of the log and those of the configuration do not go together.
    pub fn topology(&self, configured: &Topology) -> Result<Topology, TopologyError> {
        let left = self.nodes().filter(|(_, row)| row.presence == Presence::Left);
        let left: Vec<NodeId> = left.map(|(id, _)| id).collect();
        configured.grown(&self.joined, &left)
    }

    /// Where groups should be, as the log says; `None` before they are born.
    #[must_use]
    pub fn placement(&self, topology: &Topology) -> Option<Placement> {
        let is_whole = self.slots.len() == topology.keyspace().groups() as usize;
        let placement = is_whole.then(|| Placement::recorded(topology.spec().cluster, self.slots.clone()));
        placement?.ok()
    }

    /// Whether no group names a node, as a member, as one to be or as a learner.
    #[must_use]
    pub fn is_free(&self, node: NodeId) -> bool {
        let names = |config: &Config| config.position(node).is_some();
        self.groups.iter().all(|group| {
            let learns = group.learners.iter().any(|member| member.node == node);
            !names(&group.active) && !group.pending.as_ref().is_some_and(names) && !learns
        })
    }

    /// Whether a node belongs to the cluster, its process there or not.
    #[must_use]
    pub fn belongs(&self, node: NodeId) -> bool {
        !matches!(self.node(node).presence, Presence::Unknown | Presence::Left)
    }

    pub(super) fn join(&mut self, node: &NodeSpec, placing: &Placing, changed: &mut Changed) {
        let is_new = self.node(node.id) == NodeState::default();
        let is_named = self.joined.iter().any(|joined| joined.name == node.name);
        let may = |id: NodeId| id == node.id || self.belongs(id);
        if is_new
            && !is_named
            && let Some(slots) = self.placed(placing, may)
        {
            self.joined.push(node.clone());
            self.place(node.id, Presence::Joined, slots, changed);
        }
    }

    pub(super) fn leave(&mut self, id: NodeId, placing: &Placing, changed: &mut Changed) {
        let presence = self.node(id).presence;
        let is_away = matches!(presence, Presence::Down | Presence::Gone | Presence::Joined);
        let may = |other: NodeId| other != id && self.belongs(other);
        // Whom a group still names might have to answer for what it held, and without a voter fewer may fail.
        if is_away
            && self.is_free(id)
            && !self.electorate.has(id)
            && let Some(slots) = self.placed(placing, may)
        {
            self.place(id, Presence::Left, slots, changed);
            self.forget_seats(id);
        }
    }

    /// Where groups should be then; `None` if it is not as whoever proposes it saw it, or on a node that may not have any.
    fn placed(&self, placing: &Placing, may: impl Fn(NodeId) -> bool) -> Option<Vec<Slot>> {
        let changed: BTreeMap<GroupId, Slot> = placing.slots.iter().copied().collect();
        let is_known = changed.keys().all(|group| (group.0 as usize) < self.slots.len());
        let slots = (0..).map(GroupId).zip(&self.slots);
        let slots: Vec<Slot> = slots
            .map(|(group, slot)| *changed.get(&group).unwrap_or(slot))
            .collect();
        let is_sound = slots.iter().flat_map(Slot::nodes).all(|node| may(*node));
        (is_known && is_sound && !slots.is_empty() && placing.sees == self.placing).then_some(slots)
    }

    fn place(&mut self, node: NodeId, presence: Presence, slots: Vec<Slot>, changed: &mut Changed) {
        self.node_mut(node).presence = presence;
        self.slots = slots;
        self.placing = self.position;
        changed.node = Some(node);
        changed.placing = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Incarnation, Member};
    use crate::topology_log::entry::{Entry, Roll};

    fn member(node: u16) -> Member {
        Member {
            node: NodeId(node),
            incarnation: Incarnation(1),
        }
    }

    fn spec(id: u16, name: &str) -> NodeSpec {
        NodeSpec {
            id: NodeId(id),
            name: name.to_owned(),
            host: "10.0.0.6".to_owned(),
            port: 7000,
            shards: 1,
        }
    }

    fn slot(nodes: &[u16]) -> Slot {
        let nodes: Vec<NodeId> = nodes.iter().copied().map(NodeId).collect();
        Slot::new(&nodes).unwrap()
    }

    fn placing(sees: u64, nodes: &[u16]) -> Placing {
        Placing {
            sees,
            slots: vec![(GroupId(0), slot(nodes))],
        }
    }

    fn joined(sees: u64, id: u16, name: &str, nodes: &[u16]) -> Entry {
        Entry::NodeJoined {
            node: spec(id, name),
            placing: placing(sees, nodes),
        }
    }

    fn left(sees: u64, id: u16, nodes: &[u16]) -> Entry {
        Entry::NodeLeft {
            node: NodeId(id),
            placing: placing(sees, nodes),
        }
    }

    /// The entries follow each other; what each changed.
    struct Log(TopologyState);

    impl Log {
        /// Three nodes and two groups.
        fn born() -> Log {
            let mut log = Log(TopologyState::default());
            for node in 1..=3 {
                log.up(node, 0);
            }
            let roll = Roll {
                members: [1, 2, 3].map(member).to_vec(),
                write_quorum: 2,
                read_quorum: 2,
            };
            log.then(&Entry::Create(vec![roll.clone(), roll]));
            log
        }

        fn then(&mut self, entry: &Entry) -> Changed {
            self.0.apply(self.0.position() + 1, entry)
        }

        fn up(&mut self, node: u16, replaces: u64) -> bool {
            let entry = Entry::NodeUp {
                member: member(node),
                replaces: Incarnation(replaces),
            };
            self.then(&entry).node.is_some()
        }

        fn presence(&self, node: u16) -> Presence {
            self.0.node(NodeId(node)).presence
        }
    }

    #[test]
    fn a_node_joins_once_then_comes_up_and_may_be_a_member() {
        let mut log = Log::born();
        let changed = log.then(&joined(0, 6, "FL-B-2", &[6, 2, 3]));
        assert_eq!((changed.node, changed.placing), (Some(NodeId(6)), true));
        assert_eq!((log.presence(6), log.0.placing()), (Presence::Joined, 5));
        assert_eq!(log.0.slots, [slot(&[6, 2, 3]), slot(&[1, 2, 3])]);
        // A second copy, and one that saw the groups where they should have been before.
        for late in [joined(0, 6, "FL-B-2", &[6, 2, 3]), joined(0, 7, "FL-B-3", &[7, 2, 3])] {
            assert_eq!(log.then(&late), Changed::default(), "{late:?}");
        }
        assert!(log.up(6, 0));
        assert_eq!(log.presence(6), Presence::Up);
        assert_eq!(
            log.then(&joined(5, 6, "FL-B-4", &[6, 2, 3])),
            Changed::default(),
            "its id"
        );
        assert_eq!(
            log.then(&joined(5, 7, "FL-B-2", &[7, 2, 3])),
            Changed::default(),
            "its name"
        );
    }

    #[test]
    fn nobody_joins_before_the_groups_are_born_or_into_places_that_there_are_not() {
        let mut unborn = Log(TopologyState::default());
        assert_eq!(unborn.then(&joined(0, 6, "FL-B-2", &[6])), Changed::default());
        let mut log = Log::born();
        assert_eq!(
            log.then(&joined(0, 6, "FL-B-2", &[6, 2, 9])),
            Changed::default(),
            "nobody has node 9"
        );
        let nowhere = Entry::NodeJoined {
            node: spec(6, "FL-B-2"),
            placing: Placing {
                sees: 0,
                slots: vec![(GroupId(2), slot(&[1, 2, 3]))],
            },
        };
        assert_eq!(log.then(&nowhere), Changed::default());
        assert_eq!((log.presence(6), log.0.placing()), (Presence::Unknown, 0));
    }

    #[test]
    fn a_node_leaves_when_it_is_away_and_named_by_nobody_and_never_comes_back() {
        let mut log = Log::born();
        log.then(&joined(0, 6, "FL-B-2", &[6, 2, 3]));
        log.up(6, 0);
        assert_eq!(log.then(&left(5, 6, &[1, 2, 3])), Changed::default(), "it is there");
        log.then(&Entry::NodeDown(member(6)));
        assert_eq!(
            log.then(&left(5, 6, &[6, 2, 3])),
            Changed::default(),
            "a group should be there"
        );
        log.then(&Entry::NodeDown(member(1)));
        assert_eq!(log.then(&left(5, 1, &[6, 2, 3])), Changed::default(), "groups name it");
        let changed = log.then(&left(5, 6, &[1, 2, 3]));
        assert_eq!((changed.node, changed.placing), (Some(NodeId(6)), true));
        assert!(!log.0.may_answer(member(6)) && !log.0.belongs(NodeId(6)));
        assert!(!log.up(6, 1), "it has left for good");
        let position = log.0.placing();
        for again in [
            joined(position, 6, "FL-B-3", &[6, 2, 3]),
            joined(position, 7, "FL-B-2", &[7, 2, 3]),
        ] {
            assert_eq!(log.then(&again), Changed::default(), "{again:?}");
        }
        assert_eq!(log.presence(6), Presence::Left);
    }
}
