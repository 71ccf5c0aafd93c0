//! What a planner is told of the world: who is heard, who hears whom, and how far views and learners have come.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{GroupId, Member, NodeId, View};

/// What the planner's node sees at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The processes that it hears, its own among them.
    pub heard: BTreeSet<Member>,
    /// Pairs of nodes of which the first does not hear the second, as all of them report; the link matrix less what is well.
    pub cuts: BTreeSet<(NodeId, NodeId)>,
    /// The largest round trip between two nodes, in ms.
    pub round_trip_ms: u64,
    /// The groups that there is something to say about.
    pub groups: BTreeMap<GroupId, GroupSeen>,
}

/// What is seen of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSeen {
    /// Any number that is another one whenever the opener of the pending view, or the learners, have come further.
    pub progress: u64,
    /// Learners that hold all but what is in flight.
    pub caught_up: Vec<Member>,
    /// Members that say that they can no longer serve it.
    pub out_of_service: Vec<Member>,
    /// A report that the group needs another view, with the active view that it is about.
    pub trouble: Option<(View, Trouble)>,
}

/// Why a group whose members are all up needs another view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A member has promised a newer view, or lags behind the writer's log base: it can be helped only by a view with the same members.
    Outrun,
    /// The writer does not reach a write quorum and has work queued: another member shall write.
    Stalled,
}

impl Seen {
    pub(super) fn progress(&self, group: GroupId) -> u64 {
        self.groups.get(&group).map_or(0, |seen| seen.progress)
    }

    pub(super) fn trouble(&self, group: GroupId, active: View) -> Option<Trouble> {
        let (view, trouble) = self.groups.get(&group)?.trouble?;
        (view == active).then_some(trouble)
    }

    pub(super) fn is_out_of_service(&self, group: GroupId, member: Member) -> bool {
        let seen = self.groups.get(&group);
        seen.is_some_and(|seen| seen.out_of_service.contains(&member))
    }

    pub(super) fn has_caught_up(&self, group: GroupId, learner: Member) -> bool {
        self.groups
            .get(&group)
            .is_some_and(|seen| seen.caught_up.contains(&learner))
    }

    /// Whether two nodes hear each other.
    pub(super) fn linked(&self, a: NodeId, b: NodeId) -> bool {
        !self.cuts.contains(&(a, b)) && !self.cuts.contains(&(b, a))
    }
}
