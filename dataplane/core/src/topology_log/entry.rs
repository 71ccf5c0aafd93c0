//! The entries of the topology log. Each is a compare-and-set: one that is lost is proposed again, one that comes twice changes nothing.

use waterpark_ring::{NodeSpec, Slot};

use crate::ids::{GroupId, Incarnation, Member, NodeId, ShardId, View};
use crate::topology_log::consensus::VoterId;

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

/// Who proposed an entry, and when by its clock. It decides nothing; whoever reads the log's history wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The node.
    pub by: NodeId,
    /// Milliseconds since the epoch.
    pub wall_ms: u64,
}

impl Stamp {
    /// Of an entry that nobody proposed.
    pub const NONE: Stamp = Stamp {
        by: NodeId(0),
        wall_ms: 0,
    };
}

/// Why a group shall have other members. It decides nothing either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Why {
    /// Nobody said.
    #[default]
    Unsaid,
    /// A member is not heard any more.
    Lost,
    /// There are more nodes again than it has members.
    Short,
    /// The view before did not open.
    Stuck,
    /// Its writer hears too few members.
    Stalled,
    /// A member has fallen behind what the others still keep.
    Outrun,
    /// A member's node drains.
    Drain,
    /// The ring wants it so.
    Ring,
    /// An operator opens a lost group again.
    Operator,
    /// A member has taken itself out of service, for its state or its log.
    OutOfService,
}

impl Why {
    /// All of them, each at the place of its number.
    pub const ALL: [Why; 10] = [
        Why::Unsaid,
        Why::Lost,
        Why::Short,
        Why::Stuck,
        Why::Stalled,
        Why::Outrun,
        Why::Drain,
        Why::Ring,
        Why::Operator,
        Why::OutOfService,
    ];

    /// In a few words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Why::Unsaid => "no reason was given",
            Why::Lost => "a member is not heard",
            Why::Short => "a node is there for a missing copy",
            Why::Stuck => "the view before did not open",
            Why::Stalled => "its writer hears too few members",
            Why::Outrun => "a member fell too far behind",
            Why::Drain => "a node drains",
            Why::Ring => "the ring wants it there",
            Why::Operator => "an operator opens the lost group again",
            Why::OutOfService => "a member took itself out of service",
        }
    }
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
    /// Why.
    pub why: Why,
}

/// Where groups should be once there are other nodes: a result, so that no two releases can come to two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placing {
    /// The position of the entry that last said where groups should be; 0 where only the Create did.
    pub sees: u64,
    /// The groups that should have other members, each with all of them.
    pub slots: Vec<(GroupId, Slot)>,
}

/// One voter of a configuration. It decides who may write the first record of its file, and under which id: each id stands for one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voter {
    /// Its id, new in each configuration.
    pub id: VoterId,
    /// Its node.
    pub node: NodeId,
    /// The configuration in which the node was given a vote anew. A file of that one or a later one may be followed by the next.
    pub since: u32,
    /// The process that was given it. In that configuration no other one may begin a file.
    pub incarnation: Incarnation,
}

/// A group that shall live on another shard of a node, or be held on the one where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The group.
    pub group: GroupId,
    /// The position of the entry that last seated it on that node; 0 where none did.
    pub sees: u64,
    /// The shard.
    pub shard: ShardId,
    /// It stays there until an operator wants something else: no planner moves it.
    pub pinned: bool,
}

/// Why others vote. It decides nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyVoters {
    /// One was not heard for too long, or will never be.
    Lost,
    /// One leaves the cluster.
    Leaves,
    /// Voters are fewer than the cluster was made with, or less spread.
    Spread,
    /// The same nodes begin new files, because the old ones are long.
    Trim,
}

impl WhyVoters {
    /// All of them, each at the place of its number.
    pub const ALL: [WhyVoters; 4] = [WhyVoters::Lost, WhyVoters::Leaves, WhyVoters::Spread, WhyVoters::Trim];

    /// In a few words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            WhyVoters::Lost => "a voter is not heard",
            WhyVoters::Leaves => "a voter leaves",
            WhyVoters::Spread => "votes are to be spread again",
            WhyVoters::Trim => "the voters' files are begun anew",
        }
    }
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
    /// A process will never answer again: an operator knows that its server is gone. If it does after all, it ends itself.
    NodeGone(Member),
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
    /// A node that the cluster was not made with belongs to it from now on. Taken if nothing was said of its id or name, and where groups
    /// should be still stands as its proposer saw it.
    NodeJoined {
        /// As the others reach it.
        node: NodeSpec,
        /// With it.
        placing: Placing,
    },
    /// A node belongs to the cluster no more, for good. Taken if its process is not there and no group names it.
    NodeLeft {
        /// Whose id and name nobody gets again.
        node: NodeId,
        /// Without it.
        placing: Placing,
    },
    /// Others vote from the next position on: the last entry of its configuration. Taken if the configuration is the next one.
    VotersChanged {
        /// Its number, from 2.
        configuration: u32,
        /// They, ascending by id, each on a node of its own.
        voters: Vec<Voter>,
        /// Why.
        why: WhyVoters,
    },
    /// Groups live on other shards of a node from this position on, each by itself. It changes who does the work there, and neither members nor views.
    Seats {
        /// The node.
        node: NodeId,
        /// The groups.
        moves: Vec<Move>,
        /// What whoever wanted it expects of it, in words.
        reason: String,
    },
}
