//! The nodes as the topology log has them: which process, in which data centre, up or down. A value, replaced whole.
//!
//! It does not know how the log came to say so. **Invariant:** nodes ascend, and none stands twice.

use crate::ids::{Member, NodeId};

/// One node as the topology log has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The node, in its newest incarnation.
    pub member: Member,
    /// Its data centre, as a number that is the same for all nodes of one.
    pub dc: u16,
    /// Whether the log has it as up: no `NodeDown` of this incarnation stands.
    pub up: bool,
}

/// All nodes that have reported an incarnation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    nodes: Vec<Known>,
}

impl Roster {
    /// A roster of these nodes, in any order.
    ///
    /// # Panics
    /// If a node stands twice: the topology has each once.
    #[must_use]
    pub fn new(mut nodes: Vec<Known>) -> Self {
        nodes.sort_unstable_by_key(|known| known.member.node);
        assert!(
            nodes.is_sorted_by(|a, b| a.member.node < b.member.node),
            "a node stands twice"
        );
        Self { nodes }
    }

    /// The nodes, ascending.
    #[must_use]
    pub fn nodes(&self) -> &[Known] {
        &self.nodes
    }

    /// Where a node stands among them.
    #[must_use]
    pub fn place(&self, node: NodeId) -> Option<usize> {
        self.nodes.binary_search_by_key(&node, |known| known.member.node).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::member;
    use super::*;

    fn known(node: u16) -> Known {
        Known {
            member: member(node),
            dc: 0,
            up: true,
        }
    }

    #[test]
    fn nodes_are_found_in_whatever_order_they_came() {
        let roster = Roster::new([7, 2, 5].map(known).to_vec());
        assert_eq!(roster.nodes(), [2, 5, 7].map(known));
        assert_eq!(
            [2, 5, 7, 6].map(|node| roster.place(NodeId(node))),
            [Some(0), Some(1), Some(2), None]
        );
    }

    #[test]
    #[should_panic(expected = "stands twice")]
    fn a_node_that_stands_twice_is_a_bug_of_the_topology() {
        drop(Roster::new([2, 5, 2].map(known).to_vec()));
    }
}
