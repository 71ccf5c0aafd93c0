//! A member to be: it collects a group's log in the background, so that a planned move has little left to hand over.
//!
//! It asks the writer as any member asks that lacks a log, again and again, and never counts: it answers no Seal and acks no run. What it
//! holds is a prefix of the writer's log, good for the next view as far as that view's log agrees. **Invariant:** a process that has promised
//! a newer view, or holds a log of one, learns nothing of an older.

use super::transfer::is_bound;
use super::{Answer, Intake};
use crate::behaviour::Behaviour;
use crate::controller::{GroupReport, Word};
use crate::group::Role;
use crate::ids::{GroupId, Lineage, Member, Seq, View};
use crate::log::Log;
use crate::memory::Memory;
use crate::rules::Rules;
use crate::shard::Shard;
use crate::time::Now;

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// The topology log says who learns a group, or whom from.
    pub(crate) fn on_learners(&mut self, now: Now, id: GroupId) {
        if !self.lives_here(id) {
            return;
        }
        let own = self.own_member();
        let Some(decided) = self.decided.group(id) else { return };
        let (view, writer) = (decided.active.view, decided.active.writer());
        let lineage = decided.active.lineage;
        let is_pending = decided
            .pending
            .as_ref()
            .is_some_and(|config| config.members.contains(&own));
        let is_member = decided.active.members.contains(&own) || is_pending;
        if is_member {
            return;
        }
        if !decided.learners.contains(&own) {
            if let Some(index) = self.group_index(id) {
                self.leave(now, index);
            }
            return;
        }
        let Some(index) = self.row_of(id) else { return };
        let group = &self.groups[index];
        let is_newer = group.promised > view || group.log_view > view;
        let is_under_way = group
            .learns()
            .is_some_and(|intake| intake.view == view && intake.from == writer);
        if group.role == Role::Quarantined || is_newer || is_under_way {
            return;
        }
        self.settle_learning(index);
        self.drop_intake(index);
        self.stand_aside(now, index, view);
        self.unbind(index, lineage);
        let answer = Answer {
            log_view: view,
            last_seq: Seq(u64::MAX),
            last_hash: 0,
        };
        let intake = Intake {
            learns: true,
            ..Intake::new(now, (view, lineage), writer, answer)
        };
        self.groups[index].intake = Some(Box::new(intake));
        self.fetch(now, index);
    }

    /// A process that the view in force does not name neither writes nor follows; what it holds is kept, to learn on from.
    fn stand_aside(&mut self, now: Now, index: usize, view: View) {
        self.promise(now, index, view);
        self.reroute(now, index, Seq::ZERO);
        let group = &mut self.groups[index];
        group.config = None;
        group.source = None;
        group.followers.clear();
        group.log_view = View::default();
        group.view_from = Seq(u64::MAX);
        group.role = Role::Sealed;
    }

    /// What was committed of a log that is of no view says nothing of a later lineage: that may have begun with less, because who only learned was not
    /// heard.
    pub(super) fn unbind(&mut self, index: usize, lineage: Lineage) {
        let group = &mut self.groups[index];
        if group.log_view == View::default() && lineage > group.lineage {
            group.commit = Seq::ZERO;
        }
    }

    /// What was learned so far becomes this process's own log, and what is known to be committed takes effect.
    pub(crate) fn settle_learning(&mut self, index: usize) {
        let group = &mut self.groups[index];
        let Some(intake) = group.intake.as_mut().filter(|intake| intake.learns) else {
            return;
        };
        let reached = intake.reached();
        let parts = intake.beside.as_ref().map(|(after, _)| *after);
        // What takes the place of what this member computed comes with a state, where messages were lost that it would compute anew.
        if intake.state.is_none() && parts.is_some_and(|after| is_bound(group.applied, after, group.retained.upto)) {
            return;
        }
        let lacks_state = (intake.state.as_ref()).is_some_and(|state| !state.is_whole() || reached < state.seq);
        if lacks_state || intake.refused_state || group.promised > intake.view {
            return;
        }
        let Some((after, beside)) = intake.beside.take() else {
            return;
        };
        let (state, hash) = (intake.state.take(), beside.last_hash());
        // What comes next goes behind it.
        intake.beside = Some((reached, Log::behind(group.id, reached, hash)));
        if !self.swap(index, after, beside, state) {
            return;
        }
        let group = &mut self.groups[index];
        // It was told before the run came.
        group.commit = group.commit.max(group.learned_commit().min(reached));
        self.apply_in_turns(index);
    }

    /// The writer says how far the log that is learned is committed.
    pub(crate) fn learn_commit_of(&mut self, index: usize, from: Member, view: View, commit: Seq) {
        let group = &mut self.groups[index];
        let Some(intake) = group.intake.as_mut().filter(|intake| intake.learns) else {
            return;
        };
        if intake.from == from && intake.view == view {
            intake.commit = intake.commit.max(commit);
            self.settle_learning(index);
        }
    }

    /// Who asks for the log of a group that it is no member of hears how far it is committed, which members hear with runs.
    pub(crate) fn tell_learner(&mut self, index: usize, to: Member) {
        let group = &self.groups[index];
        let is_member = (group.config.as_ref()).is_some_and(|config| config.members.contains(&to));
        if is_member || group.role != Role::Writer {
            return;
        }
        let (id, commit) = (group.id, group.commit_item());
        if let Some(bytes) = self.item_to(to, id) {
            commit.push(bytes, &[]);
        }
    }

    /// How far a learner has come, for whoever waits for it.
    pub(crate) fn learner_report(&self, index: usize) -> Option<GroupReport> {
        let group = &self.groups[index];
        let intake = group.learns()?;
        let reached = group.log.sealed_seq();
        let has_all = intake.giver_seq.is_some_and(|last| reached >= last);
        Some(GroupReport {
            group: group.id,
            view: intake.view,
            progress: intake.came(),
            word: if has_all { Word::CaughtUp } else { Word::Learning },
        })
    }
}
