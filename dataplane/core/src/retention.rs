//! When history is dropped: the writer decides and logs it, every member does it once the decision took effect for good.
//!
//! Dropping destroys bytes, so nothing of it is done ahead of the commit, and never below what a member may still be sent: one that is
//! cut off comes back for what it has not accepted. **Invariant:** at most one sweep of a group is decided and not finished at its
//! writer; a member finishes them in the order of the log.

use std::collections::VecDeque;

use waterpark_wire::run::{EntryHeader, EntryParts, SWEEP, TICK};
use waterpark_wire::sweep::{SweepRule, SweepView, push_sweep};

use crate::behaviour::{Behaviour, KindId, Retention};
use crate::group::{Group, Role};
use crate::ids::{Member, Seq};
use crate::lane::NO_LANE;
use crate::memory::Memory;
use crate::registry::NO_ACTOR;
use crate::rules::{Rule, Rules};
use crate::shard::Shard;
use crate::state_bytes::{StateReader, StateWriter};
use crate::sweep::Sweep;
use crate::time::Now;

/// A shard sweeps so many groups' portions with one tick.
const PORTIONS_PER_TICK: u64 = 4;
/// A sweep is due when a log has grown by one part in so many.
const GROWN_PART: u64 = 4;

/// What a group knows of its own retention.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    /// Sweeps that are not finished, in the order of the log.
    pub(crate) sweeps: VecDeque<Sweep>,
    /// Everything up to here is or will be swept: what lost its messages is not sent any more.
    pub(crate) upto: Seq,
    /// Kinds that have an actor here and do not keep everything, as this member is configured. Only a writer asks.
    ruled: Vec<KindId>,
    /// The last entry of such a kind.
    last_ruled: Seq,
    /// A group time before which no entry behind `upto` was logged.
    upto_ms: u64,
    /// Group time of the last decision.
    decided_ms: u64,
    /// What had been sealed by then, in bytes.
    sealed_bytes: u64,
}

impl Retained {
    /// Whether all its actors keep everything, as far as is known.
    pub(crate) fn is_everything(&self) -> bool {
        self.ruled.is_empty()
    }

    /// An actor of a kind was introduced.
    pub(crate) fn introduced(&mut self, kind: KindId, retention: Retention, time_ms: u64) {
        if retention == Retention::All || self.ruled.contains(&kind) {
            return;
        }
        if self.ruled.is_empty() {
            self.upto_ms = time_ms;
        }
        self.ruled.push(kind);
    }

    /// An actor of a kind got an entry.
    #[inline]
    pub(crate) fn logged(&mut self, kind: KindId, seq: Seq) {
        if !self.ruled.is_empty() && self.ruled.contains(&kind) {
            self.last_ruled = seq;
        }
    }

    /// Writes it, with the seqs of the sweeps that are not finished.
    pub(crate) fn save(&self, to: &mut StateWriter<'_>) {
        to.number(self.upto.0);
        to.number(self.last_ruled.0);
        to.number(self.upto_ms);
        to.number(self.decided_ms);
        to.number(self.sweeps.len() as u64);
        self.sweeps.iter().for_each(|sweep| to.number(sweep.seq.0));
    }

    /// Reads it, but for the rules, which each member has of its own. Gives back the seqs of the sweeps.
    pub(crate) fn load(&mut self, from: &mut StateReader<'_>) -> Option<Vec<Seq>> {
        self.upto = Seq(from.number()?);
        self.last_ruled = Seq(from.number()?);
        self.upto_ms = from.number()?;
        self.decided_ms = from.number()?;
        let sweeps: u32 = from.small()?;
        (0..sweeps).map(|_| from.number().map(Seq)).collect()
    }

    /// A sweep waits for its commit, or begins. Those that it covers need not run, if it is committed: else it may be cut off, and they stay.
    pub(crate) fn push(&mut self, sweep: Sweep, upto: Seq, commit: Seq) {
        let stays = sweep.seq <= commit;
        while stays && self.sweeps.back().is_some_and(|earlier| sweep.covers(earlier)) {
            self.sweeps.pop_back();
        }
        self.upto = self.upto.max(upto);
        self.sweeps.push_back(sweep);
    }
}

impl<S: Default + core::fmt::Debug> Group<S> {
    /// Whether a sweep can go on: its entry is committed, and has been applied.
    pub(crate) fn can_sweep(&self) -> bool {
        let first = self.retained.sweeps.front();
        matches!(self.role, Role::Writer | Role::Follower) && first.is_some_and(|sweep| sweep.seq <= self.commit)
    }
}

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// Whether a sweep that is committed here is not done yet, or may be among what has not taken effect yet.
    #[must_use]
    pub fn is_sweeping(&self) -> bool {
        self.groups.iter().any(|group| group.can_sweep() || group.lags)
    }

    /// The writer of a group logs a sweep where enough has come since the last one, or messages have become too old.
    pub(crate) fn decide_sweep(&mut self, now: Now, index: usize) {
        let retained = &self.groups[index].retained;
        if retained.ruled.is_empty() || !retained.sweeps.is_empty() || !self.is_open(index) {
            return;
        }
        let upto = self.not_needed(index);
        let time_ms = self.groups[index].time_at(now.wall_ms);
        let rules = self.rules_due(index, upto, time_ms);
        if rules.is_empty() || upto == Seq::ZERO || !self.hears_quorum(now, index) {
            return;
        }
        let named: Vec<_> = rules
            .iter()
            .map(|(kind, rule)| (self.behaviour.name(*kind), *rule))
            .collect();
        let mut message = Vec::new();
        push_sweep(&mut message, upto.0, &named);
        let header = EntryHeader {
            actor: NO_ACTOR.into(),
            lane: NO_LANE.into(),
            flags: (TICK | SWEEP).into(),
            ..EntryHeader::default()
        };
        let parts = EntryParts {
            header,
            message: &message,
            ..EntryParts::default()
        };
        let group = &mut self.groups[index];
        let Ok(seq) = group.log.append(&mut self.memory, group.log_view, &parts, time_ms) else {
            return;
        };
        let effect = group.take_effect(&self.behaviour, seq, time_ms, &header, None, None, None);
        let touched = effect.expect("a tick touches no table by number");
        group.hash_state(&self.behaviour, touched, &mut self.scratch);
        let last = group.log.entry(&self.memory, upto);
        group.retained.upto_ms = last.map_or(group.retained.upto_ms, |(_, _, time_ms)| time_ms);
        group.retained.decided_ms = time_ms;
        group.retained.sealed_bytes = group.log.sealed_bytes();
        let view = SweepView::new_checked(&message).expect("it was written above");
        let sweep = Sweep::new(&view, seq, time_ms, |name| self.behaviour.kind(name));
        group.retained.push(sweep, upto, group.commit);
        self.counters.sweeps += 1;
        if !std::mem::replace(&mut group.touched, true) {
            self.touched
                .push(u32::try_from(index).expect("groups are counted in 32 bits"));
        }
    }

    /// The rules that have something to drop now, in the order of their kinds' names. By growth all of them, so that what is kept beyond
    /// them is bounded by what they keep; by time those that keep nothing or nothing old.
    fn rules_due(&self, index: usize, upto: Seq, time_ms: u64) -> Vec<(KindId, SweepRule)> {
        let group = &self.groups[index];
        let (log, retained) = (&group.log, &group.retained);
        let limits = &self.settings.limits;
        let is_new = upto.min(retained.last_ruled) > retained.upto;
        // A log that was cut has less than it had.
        let grown = log.sealed_bytes().saturating_sub(retained.sealed_bytes);
        let kept = log.run_bytes().saturating_sub(grown);
        let part = if self.has_pressure() { 0 } else { kept / GROWN_PART };
        let by_growth = is_new && grown >= part.max(limits.sweep_bytes_min);
        let by_time = time_ms.saturating_sub(retained.decided_ms) >= limits.sweep_ms;
        if !by_growth && !by_time {
            return Vec::new();
        }
        let is_due = |kind: KindId, rule: SweepRule| match rule {
            _ if by_growth => true,
            SweepRule::Last(_) => false,
            SweepRule::None => is_new,
            SweepRule::For(ms) => {
                let is_older = |since: u64| since.saturating_add(ms) < time_ms;
                is_new && is_older(retained.upto_ms) || log.since(kind).is_some_and(is_older)
            }
        };
        let ruled = retained.ruled.iter();
        let rules = ruled.filter_map(|kind| Some((*kind, rule_of(self.behaviour.retention(*kind))?)));
        let mut rules: Vec<_> = rules.filter(|(kind, rule)| is_due(*kind, *rule)).collect();
        rules.sort_unstable_by_key(|(kind, _)| self.behaviour.name(*kind));
        rules
    }

    /// The last seq that is committed and that no member will ask for again: each has accepted it, or is gone for good. One that is cut
    /// off for now is waited for.
    fn not_needed(&self, index: usize) -> Seq {
        let group = &self.groups[index];
        let Some(config) = &group.config else { return Seq::ZERO };
        if R::breaks(Rule::SweepPastFollowers) {
            return group.commit;
        }
        let followers = group.followers.iter().zip(&config.members[1..]);
        let needing = followers.filter(|(_, member)| !self.is_gone(**member));
        let accepted = needing.map(|(progress, _)| progress.accepted);
        accepted.fold(group.commit, Seq::min)
    }

    /// Whether a process will never again be a member: a newer one of its name was met, or it says itself that it is out.
    fn is_gone(&self, member: Member) -> bool {
        let node = usize::from(member.node.0);
        let says_so =
            |link: &crate::link::Link| link.peer_out && link.up.is_some_and(|up| up.incarnation == member.incarnation);
        self.met[node] > member.incarnation
            || self.links_to[node]
                .iter()
                .any(|link| says_so(&self.links[link.0 as usize]))
    }

    /// Sweeps go on a portion each, as many as one tick has time for; the next tick begins with the others.
    pub(crate) fn sweep_groups(&mut self) {
        let portion_bytes = self.settings.limits.sweep_portion_bytes;
        let mut left = portion_bytes * PORTIONS_PER_TICK;
        let groups = self.groups.len();
        let first = self.sweeps_from;
        for step in 0..groups {
            let index = (first + step) % groups;
            if !self.groups[index].can_sweep() {
                continue;
            }
            if left == 0 {
                self.sweeps_from = index;
                return;
            }
            let budget = portion_bytes.min(left);
            left -= budget;
            left += self.sweep(index, budget);
        }
    }

    /// One portion of one group; returns what it did not need of its budget.
    fn sweep(&mut self, index: usize, budget: u64) -> u64 {
        let group = &mut self.groups[index];
        let Some(sweep) = group.retained.sweeps.front_mut() else {
            return budget;
        };
        let mut budget = budget;
        let registry = &group.registry;
        let kind_of = |number| registry.actor(number).map(|actor| actor.kind);
        let portion = sweep.step(&mut group.log, &mut self.memory, &mut budget, kind_of);
        self.counters.swept += portion.dropped;
        if portion.is_done {
            group.retained.sweeps.pop_front();
        }
        if portion.moved {
            for progress in &mut group.followers {
                let next = group.log.find(&self.memory, progress.sent.next());
                progress.cursor = next.unwrap_or_default();
            }
        }
        budget
    }
}

fn rule_of(retention: Retention) -> Option<SweepRule> {
    match retention {
        Retention::All => None,
        Retention::Last(count) => Some(SweepRule::Last(count)),
        Retention::For(ms) => Some(SweepRule::For(ms)),
        Retention::None => Some(SweepRule::None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_stands_for_an_earlier_one_only_once_it_is_committed() {
        let sweep = |seq: u64, upto: u64| {
            let mut message = Vec::new();
            push_sweep(&mut message, upto, &[(b"trace", SweepRule::None)]);
            let view = SweepView::new_checked(&message).unwrap();
            Sweep::new(&view, Seq(seq), seq, |_| Some(KindId(1)))
        };
        for (commit, left) in [(13, vec![Seq(13), Seq(14)]), (14, vec![Seq(14)])] {
            let mut retained = Retained::default();
            for (seq, upto) in [(13, 10), (14, 12)] {
                retained.push(sweep(seq, upto), Seq(upto), Seq(commit));
            }
            let seqs: Vec<Seq> = retained.sweeps.iter().map(|sweep| sweep.seq).collect();
            assert_eq!(seqs, left, "up to {commit}");
        }
    }
}
