//! Nodes that join and leave, as the controller has them: where groups should be then, and everything here that is sized by the nodes there are.

use super::{Controller, Doing, End, Note};
use crate::ids::{GroupId, NodeId};
use crate::rules::Rules;
use crate::topology_log::{Entry, Placing};
use waterpark_ring::{Placement, Topology};

impl<R: Rules> Controller<R> {
    /// The nodes that belong to the cluster, as far as the log is known here.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// An entry as it is proposed: whoever lets a node join or leave says nothing of groups, and here is where they should be then. `None`
    /// where that cannot be said, as before the groups are born.
    pub(super) fn placed(&self, entry: &Entry) -> Option<Entry> {
        match entry {
            Entry::NodeJoined { node, .. } => {
                let placing = self.placing(core::slice::from_ref(node), &[])?;
                let node = node.clone();
                Some(Entry::NodeJoined { node, placing })
            }
            Entry::NodeLeft { node, .. } => {
                let placing = self.placing(&[], core::slice::from_ref(node))?;
                Some(Entry::NodeLeft { node: *node, placing })
            }
            other => Some(other.clone()),
        }
    }

    fn placing(&self, joined: &[waterpark_ring::NodeSpec], left: &[NodeId]) -> Option<Placing> {
        // This node stands in its own topology before it has joined.
        let mut strangers = left.to_vec();
        let is_stranger = |node: &NodeId| !self.state.belongs(*node) && joined.iter().all(|new| new.id != *node);
        strangers.extend(self.topology.nodes().iter().map(|node| node.id).filter(is_stranger));
        let topology = self.topology.grown(joined, &strangers).ok()?;
        let before = self.state.placement(&topology)?;
        let after = Placement::place(Some(&before), &topology).ok()?;
        let slots = (0..).map(GroupId).zip(after.table().slots().iter().copied());
        Some(Placing {
            sees: self.state.placing(),
            slots: slots.filter(|(group, slot)| before.members(*group) != slot).collect(),
        })
    }

    /// Other nodes belong to the cluster.
    pub(super) fn on_nodes(&mut self) {
        let own = self.topology.node(self.own.node).cloned();
        let logged = self.state.joined().iter().find(|node| node.id == self.own.node);
        if let (Some(own), Some(logged)) = (own, logged)
            && own != *logged
        {
            let logged = Box::new(logged.clone());
            return self.doing.push(Doing::End(End::Differs { logged }));
        }
        // They were checked before they were proposed; what does not go together all the same changes nothing here.
        let Ok(topology) = self.state.topology(&self.topology) else {
            return;
        };
        self.members = topology.members();
        self.eyes.on_topology(&topology);
        let left = |node: &NodeId| topology.node(*node).is_none();
        self.told.retain(|node, _| !left(node));
        self.reports.forget(left);
        if let Some(placement) = self.state.placement(&topology) {
            self.planner.on_topology(topology.clone(), placement);
        }
        self.doing.push(Doing::Note(Note::Topology(Box::new(topology.clone()))));
        self.topology = topology;
    }
}
