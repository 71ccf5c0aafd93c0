//! A sweep that was decided: which messages go, found out from the log alone, and done a portion at a time.
//!
//! It follows what its entry says, never a member's own configuration, so that equal logs lose equal messages. It does not know who
//! decided it or why. **Invariant:** it looks at nothing behind the seq that it is up to; and of each actor it drops the oldest messages
//! that are left, so what is left of them is always the newest.

use waterpark_wire::run::{DROPPED, EntryHeader, RUN_HEADER, TICK, VOID};
use waterpark_wire::sweep::{SweepRule, SweepView};

use crate::behaviour::KindId;
use crate::ids::Seq;
use crate::log::{Live, Log, Stretch};
use crate::memory::Memory;

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Messages of each actor that is kept by number are counted.
    Counting,
    /// Messages are dropped.
    Dropping,
}

/// What was decided of the stretch under way.
#[derive(Debug, Default)]
struct Decided {
    first: Seq,
    /// Whether each entry's message is dropped now.
    drops: Vec<bool>,
    /// The most bytes that will be left.
    bytes_left: usize,
    live: Live,
}

impl Decided {
    fn covers(&self, seq: Seq) -> bool {
        seq >= self.first && seq.0 - self.first.0 < self.drops.len() as u64
    }

    fn drops(&self, seq: Seq) -> bool {
        let at = usize::try_from(seq.0 - self.first.0).expect("within a chunk");
        self.drops[at]
    }
}

/// What one portion did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Portion {
    /// Nothing is left to do.
    pub(crate) is_done: bool,
    /// Runs have moved: positions in the log are of no more use.
    pub(crate) moved: bool,
    /// Messages that are dropped in it.
    pub(crate) dropped: u64,
}

/// One sweep on one member.
#[derive(Debug)]
pub(crate) struct Sweep {
    /// Seq of its entry: it begins once that is committed.
    pub(crate) seq: Seq,
    upto: Seq,
    /// Group time of its entry.
    time_ms: u64,
    rules: Vec<(KindId, SweepRule)>,
    phase: Phase,
    /// The next entry to look at.
    next: Seq,
    /// By actor number: how many messages are left of it, of a kind that is kept by number.
    left: Vec<u32>,
    decided: Decided,
}

impl Sweep {
    /// What the entry `seq` decided at its group time. `kind_of` knows kinds by name; one that it does not know has no actor here.
    pub(crate) fn new(
        view: &SweepView<'_>,
        seq: Seq,
        time_ms: u64,
        kind_of: impl Fn(&[u8]) -> Option<KindId>,
    ) -> Sweep {
        let rules: Vec<_> = view
            .rules()
            .filter_map(|(name, rule)| Some((kind_of(name)?, rule)))
            .collect();
        let counts = rules.iter().any(|(_, rule)| matches!(rule, SweepRule::Last(_)));
        Sweep {
            seq,
            upto: Seq(view.upto),
            time_ms,
            rules,
            phase: if counts { Phase::Counting } else { Phase::Dropping },
            next: Seq(1),
            left: Vec::new(),
            decided: Decided::default(),
        }
    }

    /// Whether everything that `earlier` would drop is dropped by this one too, so that an earlier one that has not begun need not run.
    pub(crate) fn covers(&self, earlier: &Sweep) -> bool {
        let is_later = self.upto >= earlier.upto && self.time_ms >= earlier.time_ms;
        is_later && earlier.next == Seq(1) && earlier.rules.iter().all(|rule| self.rules.contains(rule))
    }

    /// Goes on for about `budget` bytes of log, and takes what it read off it. `kind_of` knows the kind of each actor by number. Where
    /// memory is full it stops; the next portion tries again.
    pub(crate) fn step<M: Memory>(
        &mut self,
        log: &mut Log,
        memory: &mut M,
        budget: &mut u64,
        kind_of: impl Fn(u32) -> Option<KindId>,
    ) -> Portion {
        let mut portion = Portion::default();
        while *budget > 0 {
            let Some(stretch) = log.stretch(memory, self.next, self.upto) else {
                if self.phase == Phase::Counting {
                    self.phase = Phase::Dropping;
                    self.next = Seq(1);
                    continue;
                }
                portion.is_done = true;
                break;
            };
            if !self.decided.covers(self.next) {
                if self.passes_by(log, &stretch) {
                    self.next = stretch.last.next();
                    continue;
                }
                *budget = budget.saturating_sub(u64::from(stretch.bytes));
                if self.phase == Phase::Counting {
                    self.count(log, memory, &stretch, &kind_of);
                    self.next = stretch.last.next();
                    continue;
                }
                let dropped = self.decide(log, memory, &stretch, &kind_of);
                portion.dropped += dropped;
                if dropped == 0 && !stretch.is_hollow {
                    log.learn(&stretch, &self.decided.live);
                    self.next = stretch.last.next();
                    continue;
                }
            }
            portion.moved = true;
            let decided = &self.decided;
            let drops = |seq| decided.drops(seq);
            match log.rewrite(memory, &stretch, decided.bytes_left, &decided.live, drops) {
                Ok(()) => self.next = stretch.last.next(),
                Err((next, _)) => {
                    self.next = next;
                    break;
                }
            }
        }
        portion
    }

    fn rule(&self, kind: KindId) -> Option<SweepRule> {
        let rule = self.rules.iter().find(|(other, _)| *other == kind);
        rule.map(|(_, rule)| *rule)
    }

    /// Whether it is known that nothing of a stretch would be counted or dropped.
    fn passes_by(&self, log: &Log, stretch: &Stretch) -> bool {
        let Some(live) = log.live(stretch) else { return false };
        let concerns = |(kind, since): &(KindId, u64)| match self.rule(*kind) {
            None => false,
            Some(SweepRule::Last(_)) => true,
            Some(_) if self.phase == Phase::Counting => false,
            Some(SweepRule::For(ms)) => self.is_older(*since, ms),
            Some(SweepRule::None) => true,
        };
        !live.since.iter().any(concerns) && !(stretch.is_hollow && self.phase == Phase::Dropping)
    }

    fn is_older(&self, time_ms: u64, ms: u64) -> bool {
        time_ms.saturating_add(ms) < self.time_ms
    }

    fn count<M: Memory>(&mut self, log: &Log, memory: &M, stretch: &Stretch, kind_of: &impl Fn(u32) -> Option<KindId>) {
        let mut left = std::mem::take(&mut self.left);
        log.headers(memory, stretch, |_, _, header| {
            let kind = message_of(header).and_then(kind_of);
            if let Some(SweepRule::Last(_)) = kind.and_then(|kind| self.rule(kind)) {
                let actor = header.actor.get() as usize;
                if left.len() <= actor {
                    left.resize(actor + 1, 0);
                }
                left[actor] += 1;
            }
        });
        self.left = left;
    }

    /// Decides on each entry of a stretch, and says how many messages go.
    fn decide<M: Memory>(
        &mut self,
        log: &Log,
        memory: &M,
        stretch: &Stretch,
        kind_of: &impl Fn(u32) -> Option<KindId>,
    ) -> u64 {
        let mut decided = std::mem::take(&mut self.decided);
        decided.first = stretch.first;
        decided.drops.clear();
        decided.live.upto = stretch.last;
        decided.live.since.clear();
        let mut gone = 0;
        let mut dropped = 0;
        log.headers(memory, stretch, |_, time_ms, header| {
            let kind = message_of(header).and_then(kind_of);
            let drops = kind.is_some_and(|kind| self.drops(kind, header.actor.get(), time_ms));
            decided.drops.push(drops);
            if drops {
                gone += waterpark_wire::padded(header.message_length.get() as usize);
                dropped += 1;
            } else if let Some(kind) = kind {
                decided.live.note(kind, time_ms);
            }
        });
        decided.bytes_left = (stretch.bytes as usize).saturating_sub(gone).max(RUN_HEADER);
        self.decided = decided;
        dropped
    }

    fn drops(&mut self, kind: KindId, actor: u32, time_ms: u64) -> bool {
        match self.rule(kind) {
            None => false,
            Some(SweepRule::None) => true,
            Some(SweepRule::For(ms)) => self.is_older(time_ms, ms),
            Some(SweepRule::Last(kept)) => {
                let left = &mut self.left[actor as usize];
                let drops = *left > kept;
                *left -= u32::from(drops);
                drops
            }
        }
    }
}

/// The actor of an entry that still has a message of a sender.
fn message_of(header: &EntryHeader) -> Option<u32> {
    let has_message = header.flags.get() & (DROPPED | TICK | VOID) == 0;
    has_message.then_some(header.actor.get())
}
