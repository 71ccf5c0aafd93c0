//! The state of a group as it travels with a log that lost messages: what they did can no longer be computed from it.
//!
//! It is a fold of the giver's log up to a seq, so it is right wherever that prefix is. It does not know the kinds' own bytes.
//! **Invariant:** loading what was saved gives equal tables, numbers of actors and lanes included.

use waterpark_wire::run::SWEEP;
use waterpark_wire::sweep::SweepView;

use crate::behaviour::Behaviour;
use crate::group::Group;
use crate::ids::Seq;
use crate::memory::Memory;
use crate::rules::{Rule, Rules};
use crate::shard::Shard;
use crate::state_bytes::{StateReader, StateWriter};
use crate::sweep::Sweep;

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// The state of a group, as of the last entry that took effect on it here.
    pub(crate) fn save_state(&self, index: usize) -> Vec<u8> {
        let group = &self.groups[index];
        let mut out = Vec::new();
        let mut to = StateWriter(&mut out);
        to.number(group.last_effect().0);
        to.number(group.time_ms);
        to.number(group.registry.len().into());
        let mut state = Vec::new();
        for number in 0..group.registry.len() {
            let (Some(actor), Some(key)) = (group.registry.actor(number), group.registry.key(number)) else {
                continue;
            };
            state.clear();
            self.behaviour.save(actor.kind, &actor.state, &mut state);
            to.bytes(key);
            to.number(actor.last_seq.0);
            to.bytes(&state);
        }
        if R::breaks(Rule::RepeatTableNotInSnapshot) {
            crate::lane::Lanes::default().save(&mut to);
        } else {
            group.lanes.save(&mut to);
        }
        group.retained.save(&mut to);
        out
    }

    /// Takes a state in the place of the group's own, whose log stays up to `after`. False if it is none, or of kinds that are not known
    /// here.
    pub(crate) fn load_state(&mut self, index: usize, after: Seq, bytes: &[u8]) -> bool {
        let mut sweeps = self.open_sweeps(index, after);
        self.groups[index].forget_state();
        let Some(given) = self.load(index, bytes) else {
            return false;
        };
        // In the order of the log, and none twice: the giver may have some of the own ones before it too.
        sweeps.extend(given);
        sweeps.sort_unstable();
        sweeps.dedup();
        sweeps.into_iter().all(|seq| self.push_sweep(index, seq))
    }

    fn load(&mut self, index: usize, bytes: &[u8]) -> Option<Vec<Seq>> {
        let mut from = StateReader(bytes);
        let group = &mut self.groups[index];
        group.applied = Seq(from.number()?);
        group.time_ms = from.number()?;
        let actors: u32 = from.small()?;
        for number in 0..actors {
            let key = from.bytes()?;
            let (hash, kind) = Self::hash_of(&self.topology, &self.behaviour, key)?;
            if group.registry.introduce(hash, key, kind) != Some(number) {
                return None;
            }
            let actor = group.registry.actor_mut(number)?;
            actor.last_seq = Seq(from.number()?);
            actor.state = self.behaviour.load(kind, from.bytes()?)?;
            group
                .retained
                .introduced(kind, self.behaviour.retention(kind), group.time_ms);
        }
        group.lanes.load(&mut from)?;
        let sweeps = group.retained.load(&mut from)?;
        from.is_empty().then_some(sweeps)
    }

    /// Sweeps that this member has not done on the part of the log that it keeps: those under way, and those that it has not applied.
    pub(super) fn open_sweeps(&self, index: usize, after: Seq) -> Vec<Seq> {
        let group = &self.groups[index];
        // One that it decided itself, in a part of its log that is gone, was never decided.
        let own = group.retained.sweeps.iter().map(|sweep| sweep.seq);
        let mut seqs: Vec<Seq> = own.filter(|seq| *seq <= after).collect();
        // What it had applied behind `after` was of a log that is gone.
        let applied = group.applied.min(after);
        let mut at = group.log.find(&self.memory, applied.next());
        while let Some(run) = at.and_then(|at| group.log.run_at(&self.memory, at)) {
            let bytes = &self.memory.bytes(run.chunk)[run.offset as usize..(run.offset + run.length) as usize];
            let view = waterpark_wire::run::RunView::framed(bytes).expect("it was checked when it came to rest");
            let swept = view
                .entries()
                .filter(|(_, entry)| entry.header.flags.get() & SWEEP != 0);
            seqs.extend(swept.map(|(seq, _)| Seq(seq)));
            at = Some(run.next);
        }
        seqs
    }

    fn push_sweep(&mut self, index: usize, seq: Seq) -> bool {
        let group = &mut self.groups[index];
        // What lies behind the state is applied entry by entry.
        if seq > group.applied {
            return true;
        }
        let Some((entry, _, time_ms)) = group.log.entry(&self.memory, seq) else {
            return false;
        };
        let Ok(view) = SweepView::new_checked(entry.message) else {
            return false;
        };
        let sweep = Sweep::new(&view, seq, time_ms, |name| self.behaviour.kind(name));
        let upto = Seq(view.upto);
        group.retained.push(sweep, upto, group.commit);
        true
    }
}

impl<S: Default + core::fmt::Debug> Group<S> {
    /// The last entry that took effect here: a writer's last one.
    pub(crate) fn last_effect(&self) -> Seq {
        if self.role == crate::group::Role::Writer {
            self.log.last_seq()
        } else {
            self.applied
        }
    }
}
