//! What a planner remembers of one group: since when it stands as it does, and what was asked for.
//!
//! Memory only ever delays: a planner without it proposes the same, later.

use crate::ids::{Member, NodeId, View};
use crate::topology_log::state::GroupState;

/// What was asked for a group as it stands, and may still be on its way.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) at_ms: u64,
    /// The nodes that it keeps busy, if it is a planned move.
    pub(super) busy: Vec<NodeId>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Ages {
    active: View,
    pending: View,
    learners: Vec<Member>,
    progress: u64,
    /// Since when the active view is in force, or first seen.
    pub(super) active_ms: u64,
    /// When the group last changed its view before our eyes.
    pub(super) changed_ms: Option<u64>,
    /// Since when neither the pending view nor the learners are others, nor have come further.
    pub(super) still_ms: u64,
    /// Openers that have failed or writers that have stalled since the group last had an open view.
    pub(super) tried: Vec<Member>,
    /// The last thing asked.
    pub(super) asked: Option<Asked>,
    /// Until when planned moves leave it alone.
    pub(super) rest_until_ms: u64,
}

impl Ages {
    pub(super) fn watch(&mut self, now_ms: u64, group: &GroupState, progress: u64) {
        let pending = group.pending.as_ref().map_or(View::default(), |pending| pending.view);
        if self.active != group.active.view {
            let is_first = self.active == View::default();
            self.changed_ms = (!is_first).then_some(now_ms);
            self.active = group.active.view;
            self.active_ms = now_ms;
            self.still_ms = now_ms;
            self.tried.clear();
            self.asked = None;
        }
        if self.pending != pending || self.learners != group.learners {
            self.pending = pending;
            self.learners.clone_from(&group.learners);
            self.still_ms = now_ms;
            self.asked = None;
        }
        if self.progress != progress {
            self.progress = progress;
            self.still_ms = now_ms;
        }
    }

    pub(super) fn ask(&mut self, at_ms: u64, busy: Vec<NodeId>) {
        self.asked = Some(Asked { at_ms, busy });
    }

    /// Puts a process last among those that might write.
    pub(super) fn try_last(&mut self, member: Member) {
        self.tried.retain(|tried| *tried != member);
        self.tried.push(member);
    }
}
