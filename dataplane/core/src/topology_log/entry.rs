//! The entries of the topology log. Each is a compare-and-set: one that is lost is proposed again, one that comes twice changes nothing.

use crate::ids::{GroupId, Incarnation, Member, NodeId, View};

/// Members of a group as a Propose or Create names them, the writer first, with their quorums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roll {
    /// The members; the first writes.
    pub members: Vec<Member>,
    /// W: members that hold an entry before it is acked.
    pub write_quorum: u8,
    /// R: members that the opener of a newer view must hear.
    pub read_quorum: u8,
}

/// New members for one group, if it still stands as its proposer saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The group.
    pub group: GroupId,
    /// The active view that the proposer saw.
    pub sees_active: View,
    /// The pending view that it saw; 0 if there was none.
    pub sees_pending: View,
    /// Who shall be members.
    pub roll: Roll,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A process of a node is there. Taken if `replaces` is the incarnation that the log has of the node, 0 for none.
    NodeUp {
        /// The process.
        member: Member,
        /// The incarnation before it.
        replaces: Incarnation,
    },
    /// A process is not heard. It is a report about now: the process is up again with the next `NodeUp`, the same or another.
    NodeDown(Member),
    /// A node shall lose all its memberships.
    NodeDraining(NodeId),
    /// A node keeps its memberships after all, and gets back those that the ring gives it.
    NodeUndraining(NodeId),
    /// All groups are born: active at once, with empty logs. Taken once; one roll for each group.
    Create(Vec<Roll>),
    /// Members that receive the stream of a group and never count.
    SetLearners {
        /// The group.
        group: GroupId,
        /// They.
        members: Vec<Member>,
    },
    /// New pending Configs, each by itself. The position of this entry is their view.
    Propose(Vec<Proposal>),
    /// Pending views that W of their members have adopted, each by itself.
    Activate(Vec<(GroupId, View)>),
    /// A lost group is opened again from what is left, in a new lineage.
    Reopen {
        /// As in a Propose.
        proposal: Proposal,
        /// Who decided it, and why.
        reason: String,
    },
}
