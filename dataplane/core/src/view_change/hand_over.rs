//! A writer that learns of the next view stops by itself, in order: what it has logged is committed and answered as ever.
//!
//! Where members are asked to seal, each promises at an instant of its own, and what the writer had under way is in doubt until the next view
//! opens: nobody reads it, and who waits for it is sent on. So the writer goes first. It executes nothing more, promises, and says where its
//! log ends; a member that holds everything up to there promises too, unasked, and answers the opener as if it had been. Who is not heard in
//! time is asked to seal.
//!
//! When a promise is given is decided here, never what one means: a word that is lost, late or repeated costs time alone. **Invariant:** a member
//! that promised by such a word holds all that its writer logged.

use super::{Answer, Branch, End};
use crate::behaviour::Behaviour;
use crate::config::{Config, MEMBERS_MAX};
use crate::group::Role;
use crate::ids::{GroupId, Member, NodeId, View};
use crate::memory::Memory;
use crate::rules::Rules;
use crate::shard::Shard;
use crate::time::{MS, Now};

/// Who has said nothing for so long is not counted on: signs of life come more often, over any distance.
const HEARD_MS: u64 = 250;

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// Whether this process writes a group under its active Config.
    pub(super) fn writes(&self, index: usize, active: &Config) -> bool {
        let group = &self.groups[index];
        group.role == Role::Writer && group.log_view == active.view && active.writer() == self.own_member()
    }

    /// Whether an opener may expect that the writer of the active view stops in order: it is another process, and heard.
    pub(super) fn stops_in_order(&self, now: Now, active: &Config, pending: &Config) -> bool {
        let writer = active.writer();
        active.lineage == pending.lineage && writer != self.own_member() && self.hears(now, writer, active.group)
    }

    /// Whether a process said anything lately.
    pub(crate) fn hears(&self, now: Now, member: Member, group: GroupId) -> bool {
        let link = self.link_to(member, group);
        link.is_some_and(|link| self.links[link.0 as usize].is_heard(now.monotonic_ns, HEARD_MS * MS))
    }

    /// Another process is to open the next view of a group that this one writes: it stops, if it can say so there. Else it goes on until it is
    /// asked to seal, in case nobody opens anything.
    pub(super) fn stop_for_another(&mut self, now: Now, index: usize) {
        let Some(decided) = self.decided.group(self.groups[index].id) else {
            return;
        };
        let Some(pending) = &decided.pending else { return };
        let (view, opener) = (pending.view, pending.writer());
        let group = &self.groups[index];
        let goes_on = pending.lineage == decided.active.lineage && view > group.promised;
        // Its log ends where it did, for whoever is to open the next view now.
        let has_stopped =
            group.role == Role::Sealed && group.log_view == decided.active.view && self.commits_as_ever(index);
        let writes = self.writes(index, &decided.active) || has_stopped && decided.active.writer() == self.own_member();
        if goes_on && writes && self.hears(now, opener, pending.group) {
            self.stop_in_order(now, index, view, opener);
        }
    }

    /// Whether this writer has stopped in order: what it logged will be committed.
    pub(crate) fn commits_as_ever(&self, index: usize) -> bool {
        let group = &self.groups[index];
        group.ends.is_some_and(|end| end.view == group.promised)
    }

    /// Stops writing, and says where the log ends to all members and to whoever opens the next view.
    pub(super) fn stop_in_order(&mut self, now: Now, index: usize, view: View, opener: Member) {
        let group = &mut self.groups[index];
        group.log.seal(&mut self.memory, group.log_view);
        group.ends = Some(End {
            view,
            opener: opener.node,
            last_seq: group.log.sealed_seq(),
        });
        let Some(answer) = self.seal(now, index, view) else {
            return;
        };
        self.counters.branches.took(Branch::StoppedInOrder);
        let own = self.own_member();
        let mut told = self.groups[index]
            .config
            .as_ref()
            .map_or_else(Vec::new, |config| config.members.clone());
        if !told.contains(&opener) {
            told.push(opener);
        }
        for member in told.into_iter().filter(|member| *member != own) {
            self.say_sealed(index, member, view, answer, opener.node);
        }
    }

    /// A process says what it holds under its promise: if it was this member's writer, that is where the log ends.
    pub(super) fn hear_end(
        &mut self,
        now: Now,
        index: usize,
        from: Member,
        opener: NodeId,
        view: View,
        answer: Answer,
    ) {
        let group = &mut self.groups[index];
        let follows = matches!(group.role, Role::Follower | Role::Sealed);
        if follows && group.source == Some(from) && group.log_view == answer.log_view && view > group.promised {
            group.ends = Some(End {
                view,
                opener,
                last_seq: answer.last_seq,
            });
            self.follow_to_end(now, index);
        }
    }

    /// A follower that holds all that its writer logged promises the view for which that stopped.
    pub(crate) fn follow_to_end(&mut self, now: Now, index: usize) {
        let group = &self.groups[index];
        let Some(end) = group.ends.filter(|end| end.view > group.promised) else {
            return;
        };
        let follows = matches!(group.role, Role::Follower | Role::Sealed);
        // A node that joins may open a view before this process has learned of it.
        let knows = self.topology.node(end.opener).is_some();
        if !follows || !knows || group.log.sealed_seq() < end.last_seq {
            return;
        }
        if end.opener != self.settings.node {
            self.counters.branches.took(Branch::FollowedToEnd);
            let opener = self.decided.node(end.opener).incarnation;
            let opener = Member {
                node: end.opener,
                incarnation: opener,
            };
            self.on_seal(now, opener, self.groups[index].id, end.view, false);
        } else if group.opener.as_ref().is_some_and(|opener| opener.view() == end.view) {
            self.counters.branches.took(Branch::FollowedToEnd);
            self.seal_own(now, index);
            self.choose(now, index);
        }
    }

    /// A member has promised a view, and this process does not know yet that it opens it.
    pub(super) fn keep_early(&mut self, index: usize, from: Member, view: View, answer: Answer) {
        let group = &mut self.groups[index];
        if view <= group.promised {
            return;
        }
        group.early.retain(|(kept, member, _)| *kept >= view && *member != from);
        if group.early.len() < MEMBERS_MAX {
            group.early.push((view, from, answer));
        }
    }

    /// What was answered before this process learned that it opens a view.
    pub(super) fn take_early(&mut self, index: usize) {
        let group = &mut self.groups[index];
        let early = std::mem::take(&mut group.early);
        let Some(opener) = &mut group.opener else { return };
        let view = opener.view();
        for (_, member, answer) in early.into_iter().filter(|(kept, _, _)| *kept == view) {
            if let Some(at) = opener.active.members.iter().position(|named| *named == member) {
                opener.answers[at] = Some(answer);
            }
        }
    }
}
