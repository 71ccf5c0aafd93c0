//! The promise of a member: what is older than a view is not answered any more.

use waterpark_wire::item::ItemHeader;
use waterpark_wire::link::{self, Nack, Sealed};

use super::{Answer, Branch, Intake};
use crate::behaviour::Behaviour;
use crate::group::Role;
use crate::ids::{GroupId, Member, NodeId, Seq, View};
use crate::memory::Memory;
use crate::rules::{Rule, Rules};
use crate::shard::Shard;
use crate::time::Now;

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// The opener of a view asks for the promise; `first` if it has asked nobody else.
    pub(crate) fn on_seal(&mut self, now: Now, from: Member, group: GroupId, view: View, first: bool) {
        let Some(index) = self.row_of(group) else { return };
        if view < self.groups[index].promised {
            return self.nack(from, group, view, self.groups[index].promised);
        }
        if first && self.asked_first(now, index, view, from) {
            return;
        }
        if let Some(answer) = self.seal(now, index, view) {
            self.say_sealed(index, from, view, answer, from.node);
        }
    }

    /// Says what this member holds under its promise, and who opens the view.
    pub(super) fn say_sealed(&mut self, index: usize, to: Member, view: View, answer: Answer, opener: NodeId) {
        let (group, commit) = (self.groups[index].id, self.groups[index].commit);
        let sealed = Sealed {
            item: ItemHeader {
                group: group.0.into(),
                aux: u32::from(opener.0).into(),
                ..ItemHeader::default()
            },
            view: view.0.into(),
            log_view: answer.log_view.0.into(),
            last_seq: answer.last_seq.0.into(),
            commit: commit.0.into(),
            last_hash: link::split_hash(answer.last_hash),
        };
        if let Some(bytes) = self.item_to(to, group) {
            sealed.push(bytes, &[]);
        }
    }

    /// Promises a view, and answers for what is held: one step. `None` of a member whose log was contradicted, or that is in the view
    /// already.
    pub(crate) fn seal(&mut self, now: Now, index: usize, view: View) -> Option<Answer> {
        if self.groups[index].role == Role::Quarantined {
            return None;
        }
        self.promise(now, index, view);
        let group = &mut self.groups[index];
        if R::breaks(Rule::TruncateToCommitOnSeal) && group.log_view < view && group.applied <= group.commit {
            group.log.cut(&mut self.memory, group.commit);
            group.list_unapplied();
        }
        let group = &self.groups[index];
        (group.log_view < view).then(|| Answer {
            log_view: group.log_view,
            last_seq: group.log.sealed_seq(),
            last_hash: group.log.last_hash(),
        })
    }

    /// Whoever writes or opens an older view stops, and what is collected for one is dropped.
    pub(crate) fn promise(&mut self, now: Now, index: usize, view: View) {
        let group = &mut self.groups[index];
        assert!(
            view >= group.promised || R::breaks(Rule::AdoptIgnoresPromise),
            "a promise is never taken back"
        );
        if view == group.promised {
            return;
        }
        self.settle_learning(index);
        let group = &mut self.groups[index];
        group.promised = view;
        let drops = |intake: &mut Box<Intake>| intake.view < view && !R::breaks(Rule::AdoptSwapsAfterSeal);
        let (id, dropped) = (group.id, group.intake.take_if(drops));
        if dropped.is_some() {
            self.counters.branches.took(Branch::IntakeOvertaken);
        }
        self.release_intake(dropped);
        self.snapshots.forget_group(id);
        if self.groups[index]
            .opener
            .as_ref()
            .is_some_and(|opener| opener.view() < view)
        {
            self.end_opener(now, index);
        }
        if R::breaks(Rule::WriterExemptFromFence) && self.groups[index].role == Role::Writer {
            return;
        }
        self.step_down(now, index, view);
        if self.groups[index].role != Role::Quarantined {
            self.groups[index].role = Role::Sealed;
        }
    }

    /// A writer stops. Where it stops in order or opens the newer view itself, those who wait for its answers wait on; else they are sent elsewhere.
    pub(crate) fn step_down(&mut self, now: Now, index: usize, view: View) {
        let group = &mut self.groups[index];
        if group.role != Role::Writer {
            return;
        }
        self.counters.branches.took(Branch::WriterDeposed);
        group.log.seal(&mut self.memory, group.log_view);
        group.applied = group.log.last_seq();
        group.role = Role::Sealed;
        group.list_unapplied();
        let opens = group.opener.as_ref().is_some_and(|opener| opener.view() == view);
        let in_order = group.ends.is_some_and(|end| end.view == view);
        if in_order {
            // Its followers take all of it before they promise, so it will be committed, and is told as ever.
            (0..self.groups[index].followers.len()).for_each(|position| self.queue_follower(index, position));
        } else {
            group.followers.iter_mut().for_each(|progress| progress.queued = false);
        }
        self.tell_last_commit(index);
        if opens {
            // What was confirmed of the old view says nothing of the next one.
            let mut reads = self.take_confirming(index);
            self.groups[index].queued.append(&mut reads);
        } else {
            let kept = if in_order {
                self.groups[index].log.last_seq()
            } else {
                Seq::ZERO
            };
            self.reroute(now, index, kept);
        }
    }

    /// What was acked can be read at every follower that holds it, also while nobody writes: none of them learns of it by a run any more.
    fn tell_last_commit(&mut self, index: usize) {
        let group = &mut self.groups[index];
        let commit = group.commit_item();
        for progress in &mut group.followers {
            let link = &mut self.links[progress.link.0 as usize];
            if progress.adopted && progress.told < group.commit && link.up.is_some() {
                progress.told = group.commit;
                commit.push(link.outbox.item(), &[]);
            }
        }
    }

    pub(crate) fn nack(&mut self, to: Member, group: GroupId, view: View, promised: View) {
        self.counters.branches.took(Branch::OlderViewRefused);
        let nack = Nack {
            item: ItemHeader {
                group: group.0.into(),
                ..ItemHeader::default()
            },
            view: view.0.into(),
            promised: promised.0.into(),
        };
        if let Some(bytes) = self.item_to(to, group) {
            nack.push(bytes, &[]);
        }
    }
}
