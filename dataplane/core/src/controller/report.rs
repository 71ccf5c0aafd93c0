//! What a shard says of its groups where something is under way or wrong, for whoever plans.
//!
//! Whatever needs no word gets none: a quiet cluster reports nothing.

use std::collections::BTreeMap;

use crate::detection::Lived;
use crate::ids::{GroupId, Member, NodeId, View};
use crate::time::MS;
use crate::topology_log::{GroupSeen, TopologyState, Trouble};

/// Reports of a node that are older say nothing about now.
const REPORT_LIFE_NS: u64 = 1_000 * MS;

/// Why a group is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// This node opens the view.
    Opening,
    /// This node learns the group.
    Learning,
    /// It learns it, and holds all but what is in flight.
    CaughtUp,
    /// It writes the view, and the group needs another.
    Trouble(Trouble),
    /// It is a member and can no longer serve: its state, or its log, is not what the others have.
    OutOfService,
}

/// One group that there is something to say about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupReport {
    /// The group.
    pub group: GroupId,
    /// The view that is opened, learned under or written, or the one in force.
    pub view: View,
    /// Any number that is another one whenever it has come further.
    pub progress: u64,
    /// Why it is reported.
    pub word: Word,
}

/// The newest reports of every node.
#[derive(Clone, Debug, Default)]
pub(super) struct Reports {
    nodes: BTreeMap<NodeId, (Member, Lived, Vec<GroupReport>)>,
}

impl Reports {
    /// A node said all that it has to say now.
    pub(super) fn take(&mut self, from: Member, reports: Vec<GroupReport>, now: Lived) {
        self.nodes.insert(from.node, (from, now, reports));
    }

    /// Nodes left that nobody asks about any more.
    pub(super) fn forget(&mut self, has_left: impl Fn(&NodeId) -> bool) {
        self.nodes.retain(|node, _| !has_left(node));
    }

    /// What a planner is told of the groups.
    pub(super) fn seen(&self, state: &TopologyState, now: Lived) -> BTreeMap<GroupId, GroupSeen> {
        let mut seen: BTreeMap<GroupId, GroupSeen> = BTreeMap::new();
        for (from, came, reports) in self.nodes.values() {
            let is_old = now.ns_since(*came) >= REPORT_LIFE_NS;
            if is_old || state.node(from.node).incarnation != from.incarnation {
                continue;
            }
            for report in reports {
                let Some(group) = state.group(report.group) else {
                    continue;
                };
                let row = seen.entry(report.group).or_default();
                match report.word {
                    Word::Opening | Word::Learning => {}
                    Word::CaughtUp => row.caught_up.push(*from),
                    // Of a view whose writer is another nobody else may complain.
                    Word::Trouble(trouble) if group.active.writer() == *from => {
                        row.trouble = Some((report.view, trouble));
                    }
                    Word::Trouble(_) => continue,
                    Word::OutOfService => {
                        row.out_of_service.push(*from);
                        continue;
                    }
                }
                row.progress = (row.progress.rotate_left(7) ^ report.view.0).wrapping_add(report.progress);
            }
        }
        seen
    }
}
