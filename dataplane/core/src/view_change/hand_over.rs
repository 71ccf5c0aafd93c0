//! A writer that is asked first stops in order: what it has logged is committed and answered as ever.
//!
//! Where members are asked to seal, each promises at an instant of its own, and what the writer had under way is in doubt until the next view
//! opens: nobody reads it, and who waits for it is sent on. So the opener asks the writer first. It executes nothing more, promises, and says where its
//! log ends; a member that holds everything up to there promises too, unasked, and answers the opener as if it had been. Who is not heard in
//! time is asked to seal.
//!
//! When a promise is given is decided here, never what one means: a word that is lost, late or repeated costs time alone. **Invariant:** a member
//! that promised by such a word holds all that its writer logged.

use super::{Answer, Branch, End};
use crate::behaviour::Behaviour;
use crate::config::Config;
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

    /// The opener of a view asks the writer of the one in force, and nobody else yet. Also one that has stopped for a view that never opened says
    /// where its log ends.
    pub(super) fn asked_first(&mut self, now: Now, index: usize, view: View, opener: Member) -> bool {
        let group = &self.groups[index];
        let stops =
            self.wrote_last(index) && matches!(group.role, Role::Writer | Role::Sealed) && group.opener.is_none();
        if stops {
            self.stop_in_order(now, index, view, opener);
        }
        stops
    }

    /// Whether this writer has stopped in order: what it logged will be committed.
    pub(crate) fn commits_as_ever(&self, index: usize) -> bool {
        let group = &self.groups[index];
        self.wrote_last(index) && group.ends.is_some_and(|end| end.view == group.promised)
    }

    /// Whether the log is of a view that this process writes, or wrote before it promised another.
    fn wrote_last(&self, index: usize) -> bool {
        let group = &self.groups[index];
        let config = group.config.as_ref().filter(|config| config.view == group.log_view);
        config.is_some_and(|config| config.writer() == self.own_member())
    }

    /// Stops writing, and says where the log ends to all members and to whoever opens the next view.
    pub(super) fn stop_in_order(&mut self, now: Now, index: usize, view: View, opener: Member) {
        let group = &mut self.groups[index];
        group.log.seal(&mut self.memory, group.log_view);
        group.ends = Some(End {
            view,
            opener: opener.node,
            log_view: group.log_view,
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

    /// A member says what it holds of the log of this writer, which has stopped in order: it accepted that before it promised, and may not have had
    /// time to ack it.
    pub(super) fn count_sealed(&mut self, now: Now, index: usize, from: Member, answer: Answer) {
        let is_own = answer.log_view == self.groups[index].log_view && self.commits_as_ever(index);
        if is_own && self.count(index, from, answer.log_view, answer.last_seq).is_some() {
            self.advance(now, index);
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
        let is_newest = view > group.promised && group.ends.is_none_or(|end| end.view <= view);
        if follows && group.source == Some(from) && group.log_view == answer.log_view && is_newest {
            group.ends = Some(End {
                view,
                opener,
                log_view: answer.log_view,
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
        let has_all = group.log_view == end.log_view && group.log.sealed_seq() >= end.last_seq;
        if !follows || !knows || !has_all {
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
}
