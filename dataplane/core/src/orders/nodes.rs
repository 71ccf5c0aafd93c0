//! Orders that a node joins the cluster, or leaves it for good.
//!
//! Whatever can be said against one is said here, with the setting that is wrong; the fold only takes what still fits when it is decided.

use core::ops::Range;

use waterpark_ring::{NodeSpec, Topology};
use waterpark_wire::body::OrderBody;

use crate::behaviour::Behaviour;
use crate::ids::NodeId;
use crate::memory::Memory;
use crate::rules::Rules;
use crate::shard::Shard;
use crate::topology_log::{Entry, NodeState, Placing, Presence};

/// Ports of a node, from its first.
const PORTS: u32 = 256;
/// A voter among so few does not leave before another has its vote.
const VOTERS_MIN: usize = 3;

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// The entry by which a node joins; none if it has.
    pub(super) fn joining(&self, order: &OrderBody) -> Result<Option<Entry>, String> {
        let id = NodeId(order.node);
        let theirs = Topology::from_canonical(&order.topology)
            .map_err(|error| format!("the configuration of the node that shall join makes no topology: {error}"))?;
        let Some(node) = theirs.node(id).cloned() else {
            return Err("the configuration has no node of the id that shall join".to_owned());
        };
        let state = &self.decided;
        if state.group(crate::ids::GroupId(0)).is_none() {
            return Err("the groups of this cluster are not born yet: its first nodes have to be up first".to_owned());
        }
        let founding = self.topology.founding();
        if founding.node(id).is_some_and(|first| *first == node) {
            return Err(format!(
                "{} is one of the nodes that the cluster was made with",
                node.name
            ));
        }
        // Refused by name before all that may differ with it.
        self.free_to_join(&node)?;
        let ours = founding.grown(core::slice::from_ref(&node), &[]);
        let ours = ours.map_err(|error| format!("the node does not fit this cluster: {error}"))?;
        if let Some(setting) = ours.first_difference(&theirs) {
            return Err(format!(
                "the configuration of the node that shall join differs from this cluster's in `{setting}`"
            ));
        }
        if state.belongs(id) {
            return Ok(None);
        }
        Ok(Some(Entry::NodeJoined {
            node,
            // The controller says where groups should be then.
            placing: Placing::default(),
        }))
    }

    /// Whether nobody has, or had, the id, the name and the address of a node; a node that has joined has its own.
    fn free_to_join(&self, node: &NodeSpec) -> Result<(), String> {
        let state = &self.decided;
        let joined = state.joined().iter();
        let all = self.topology.founding().nodes().iter().chain(joined);
        for other in all.filter(|other| *other != node) {
            let has_left = state.node(other.id).presence == Presence::Left;
            let by = if has_left { "of one that left" } else { "taken" };
            if other.name == node.name {
                return Err(format!(
                    "the name {} is {by}, as node {} at {}:{}",
                    node.name, other.id, other.host, other.port
                ));
            }
            if other.id == node.id {
                return Err(format!("the id {} is {by}, by {}", node.id, other.name));
            }
            if !has_left && other.host == node.host && overlap(&ports(other), &ports(node)) {
                return Err(format!(
                    "the address {}:{} is taken: the ports of {} begin at {}, and each node has {PORTS}",
                    node.host, node.port, other.name, other.port
                ));
            }
        }
        if state.node(node.id).presence == Presence::Left {
            return Err(format!(
                "{} has left the cluster for good: take another name and id",
                node.name
            ));
        }
        Ok(())
    }

    /// The entry by which a node leaves for good; none if it has.
    pub(super) fn leaving(&self, node: NodeId) -> Result<Option<Entry>, String> {
        let state = &self.decided;
        let voters = self.voters();
        let stands_in = |(id, row): &(NodeId, NodeState)| row.presence == Presence::Up && !voters.contains(id);
        let votes_alone =
            voters.contains(&node) && voters.len() <= VOTERS_MIN && !state.nodes().any(|row| stands_in(&row));
        match state.node(node).presence {
            Presence::Unknown => Err("the cluster has no such node".to_owned()),
            Presence::Left => Ok(None),
            _ if votes_alone => Err(
                "it is one of the last voters of the topology log, and no other node is up that could vote in its place: let a node join first"
                    .to_owned(),
            ),
            Presence::Up | Presence::Draining => {
                Err("its process is heard: drain it (`waterpark node drain`), end it, then forget it".to_owned())
            }
            Presence::Down | Presence::Gone | Presence::Joined if !state.is_free(node) => Err(
                "groups still name it: wait until others hold what it held, or say --accept-loss if its process will never answer again"
                    .to_owned(),
            ),
            Presence::Down | Presence::Gone | Presence::Joined => Ok(Some(Entry::NodeLeft {
                node,
                placing: Placing::default(),
            })),
        }
    }

    /// The nodes that vote on the topology log, as far as it is known here.
    pub(super) fn voters(&self) -> Vec<NodeId> {
        let electorate = self.decided.electorate();
        if electorate.configuration > 1 {
            return electorate.voters.iter().map(|voter| voter.node).collect();
        }
        self.topology.founding().spec().voters.clone()
    }
}

fn ports(node: &NodeSpec) -> Range<u32> {
    let first = u32::from(node.port);
    first..first + PORTS
}

fn overlap(a: &Range<u32>, b: &Range<u32>) -> bool {
    a.start < b.end && b.start < a.end
}
