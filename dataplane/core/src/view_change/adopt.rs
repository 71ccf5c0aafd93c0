//! A member takes over the log of a view: it collects what it lacks beside its own, and swaps in one step.
//!
//! **Invariant:** until the swap a Seal is answered with the old log and the old view; within a lineage nothing committed is replaced.

use waterpark_wire::item::ItemHeader;
use waterpark_wire::link::Adopted;

use super::snapshot::StateIntake;
use super::{Answer, Branch, Intake};
use crate::behaviour::Behaviour;
use crate::group::Role;
use crate::ids::{GroupId, Lineage, Member, Seq, View};
use crate::log::Log;
use crate::memory::Memory;
use crate::rules::{Rule, Rules};
use crate::shard::Shard;
use crate::time::Now;

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// The opener or writer of a view says what a member has to hold, and may give it the last run of that.
    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of the item, named; a struct would only rename them"
    )]
    pub(crate) fn on_adopt(
        &mut self,
        now: Now,
        from: Member,
        group: GroupId,
        view: View,
        lineage: Lineage,
        last: (Seq, u128),
        run: &[u8],
    ) {
        let Some(index) = self.row_of(group) else { return };
        let row = &self.groups[index];
        if view < row.promised && !R::breaks(Rule::AdoptIgnoresPromise) {
            return self.nack(from, group, view, row.promised);
        }
        if row.role == Role::Quarantined {
            return;
        }
        // A repeat never touches the log.
        if row.log_view == view {
            self.counters.branches.took(Branch::AdoptRepeated);
            let row = &self.groups[index];
            if R::breaks(Rule::AdoptRepeatTruncates)
                && row.role == Role::Follower
                && row.applied <= last.0
                && last.0 < row.log.sealed_seq()
            {
                self.groups[index].log.cut(&mut self.memory, last.0);
                self.groups[index].list_unapplied();
            }
            return self.say_adopted(index, from);
        }
        self.promise(now, index, view);
        let answer = Answer {
            log_view: view,
            last_seq: last.0,
            last_hash: last.1,
        };
        let row = &self.groups[index];
        let is_under_way = row
            .intake
            .as_ref()
            .is_some_and(|intake| intake.view == view && intake.from == from);
        if !is_under_way {
            self.begin_intake(now, index, (view, lineage), from, answer, run);
        }
    }

    pub(crate) fn say_adopted(&mut self, index: usize, to: Member) {
        let group = &self.groups[index];
        let adopted = Adopted {
            item: ItemHeader {
                group: group.id.0.into(),
                ..ItemHeader::default()
            },
            view: group.log_view.0.into(),
            last_seq: group.log.sealed_seq().0.into(),
        };
        let id = group.id;
        if let Some(bytes) = self.item_to(to, id) {
            adopted.push(bytes, &[]);
        }
    }

    /// Begins to collect a log. Where the own one holds it already, or all but the last run that came along, that is all there is to do.
    pub(crate) fn begin_intake(
        &mut self,
        now: Now,
        index: usize,
        (view, lineage): (View, Lineage),
        from: Member,
        best: Answer,
        run: &[u8],
    ) {
        self.settle_learning(index);
        self.drop_intake(index);
        self.unbind(index, lineage);
        let group = &mut self.groups[index];
        let mut intake = Intake::new(now, (view, lineage), from, best);
        let holds = group.log.hash_at(&self.memory, best.last_seq) == Some(best.last_hash);
        let can_stay = group.applied <= best.last_seq;
        intake.beside = if holds && can_stay {
            Some((best.last_seq, Log::behind(group.id, best.last_seq, best.last_hash)))
        } else {
            self.with_last_run(index, best, run)
        };
        let is_whole = intake.beside.is_some();
        self.groups[index].intake = Some(Box::new(intake));
        if is_whole {
            self.finish_intake(now, index);
        } else {
            self.fetch(now, index);
        }
    }

    /// The last run of a log, behind the end of the own one, if that makes it whole: most members hold all but the entry that opens the view,
    /// and need not ask for it.
    fn with_last_run(&mut self, index: usize, best: Answer, run: &[u8]) -> Option<(Seq, Log)> {
        let group = &self.groups[index];
        let after = group.log.sealed_seq();
        if run.is_empty() || group.applied > after {
            return None;
        }
        let mut beside = Log::behind(group.id, after, group.log.last_hash());
        let is_taken = beside.take_run(&mut self.memory, run).is_ok();
        if is_taken && (beside.sealed_seq(), beside.last_hash()) == (best.last_seq, best.last_hash) {
            return Some((after, beside));
        }
        beside.release(&mut self.memory);
        None
    }

    /// All of it came: the swap, in one step, if nothing newer was promised since.
    pub(crate) fn finish_intake(&mut self, now: Now, index: usize) {
        if self.learnt_of_commit(index) {
            self.restart_intake(index);
            return self.fetch(now, index);
        }
        let group = &mut self.groups[index];
        let Some(intake) = group.intake.take() else { return };
        let Intake {
            view,
            lineage,
            from,
            log_view,
            beside,
            state,
            ..
        } = *intake;
        let Some((after, mut beside)) = beside else { return };
        let fetches = group.opener.as_ref().is_some_and(|opener| opener.view() == view);
        // Who opens a view and is no member of the active Config has promised nothing until it installs.
        let stands = group.promised == view || fetches && group.promised < view || R::breaks(Rule::AdoptSwapsAfterSeal);
        if !stands || group.log_view >= view {
            self.counters.branches.took(Branch::IntakeOvertaken);
            return beside.release(&mut self.memory);
        }
        if R::breaks(Rule::AdoptSwapsAfterSeal) {
            self.groups[index].promised = view;
        } else {
            self.promise(now, index, view);
        }
        let group = &mut self.groups[index];
        if after < group.commit {
            // What was committed is in every later log: this member or the giver is wrong.
            beside.release(&mut self.memory);
            return self.quarantine(index);
        }
        if after < group.log.sealed_seq() && !R::breaks(Rule::WaitKeptBySeq) {
            self.reroute(now, index, after);
        }
        if !self.swap(index, after, beside, state) {
            return;
        }
        let group = &mut self.groups[index];
        assert!(log_view <= group.promised, "a log is of no view beyond the promise");
        group.log_view = log_view;
        // It does not know where the view begins in its log: it looks.
        group.view_from = Seq(u64::MAX);
        if fetches {
            return self.install(now, index);
        }
        group.enter_lineage(lineage);
        group.source = Some(from);
        group.role = Role::Follower;
        self.apply_in_turns(index);
        if self.groups[index].role == Role::Follower {
            self.say_adopted(index, from);
        }
    }

    /// What was collected takes the place of what the own log has behind `after`, with the state that goes with it. False if that is none:
    /// then this member takes nothing more.
    pub(super) fn swap(&mut self, index: usize, after: Seq, beside: Log, state: Option<StateIntake>) -> bool {
        let group = &mut self.groups[index];
        // Who wrote before may have runs queued: where they lay something else lies now, or nothing.
        group.followers.iter_mut().for_each(|progress| progress.queued = false);
        let keeps_state = (group.applied <= after || R::breaks(Rule::DeposedKeepsState)) && state.is_none();
        group.applied = group.applied.min(if keeps_state { after } else { group.applied });
        if after < group.log.sealed_seq() {
            self.counters.branches.took(Branch::TailDropped);
            group.log.cut(&mut self.memory, after);
        }
        group.log.join(&mut self.memory, beside);
        match state {
            Some(state) => {
                self.counters.branches.took(Branch::StateTaken);
                if !self.load_state(index, after, &state.bytes) {
                    self.quarantine(index);
                    return false;
                }
            }
            None if keeps_state => {}
            None => {
                self.counters.branches.took(Branch::StateRebuilt);
                group.forget_state();
            }
        }
        self.groups[index].list_unapplied();
        true
    }

    /// Whether more is committed here than when it was asked where the logs part, and what came has that too. Then it is asked for again,
    /// from there: a member that opens a view may follow an older one until it installs its log.
    fn learnt_of_commit(&self, index: usize) -> bool {
        let group = &self.groups[index];
        let Some((after, beside)) = group.intake.as_ref().and_then(|intake| intake.beside.as_ref()) else {
            return false;
        };
        let hash = group.log.hash_at(&self.memory, group.commit);
        *after < group.commit && hash.is_some() && beside.hash_at(&self.memory, group.commit) == hash
    }

    /// What was collected is given back.
    pub(crate) fn drop_intake(&mut self, index: usize) {
        let intake = self.groups[index].intake.take();
        self.release_intake(intake);
    }

    /// The same for one that was taken out.
    pub(crate) fn release_intake(&mut self, intake: Option<Box<Intake>>) {
        if let Some((_, mut beside)) = intake.and_then(|intake| intake.beside) {
            beside.release(&mut self.memory);
        }
    }
}
