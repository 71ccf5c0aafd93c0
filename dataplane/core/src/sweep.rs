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
        let is_moved = stretch.is_hollow && self.phase == Phase::Dropping;
        !(is_moved || live.since.iter().any(concerns))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{GroupId, ShardId, View};
    use crate::memory::{ChunkId, MemoryFull, Usage};
    use waterpark_wire::run::{EntryParts, EntryView, RunView};
    use waterpark_wire::sweep::{left_length, push_sweep};

    /// Boxes, counted; `budget` may be lowered to make it full.
    #[derive(Default)]
    struct Counted {
        chunks: Vec<Option<Box<[u8]>>>,
        used: u64,
        budget: u64,
    }

    impl Memory for Counted {
        fn reserve(&mut self, bytes: usize) -> Result<ChunkId, MemoryFull> {
            if self.used + bytes as u64 > self.budget {
                return Err(MemoryFull);
            }
            self.used += bytes as u64;
            self.chunks.push(Some(vec![0xA5; bytes].into()));
            Ok(ChunkId(u32::try_from(self.chunks.len() - 1).unwrap()))
        }
        fn bytes(&self, chunk: ChunkId) -> &[u8] {
            self.chunks[chunk.0 as usize].as_ref().unwrap()
        }
        fn bytes_mut(&mut self, chunk: ChunkId) -> &mut [u8] {
            self.chunks[chunk.0 as usize].as_mut().unwrap()
        }
        fn release(&mut self, chunk: ChunkId) {
            // What was given back is not read again: the next look at it panics.
            self.used -= self.chunks[chunk.0 as usize].take().unwrap().len() as u64;
        }
        fn pin(&mut self, _: ChunkId) {}
        fn unpin(&mut self, _: ChunkId) {}
        fn usage(&self) -> Usage {
            Usage {
                used: self.used,
                budget: self.budget,
            }
        }

        type Given = core::convert::Infallible;
        fn give(&mut self, _: ChunkId) -> Self::Given {
            unreachable!("there is one shard")
        }
        fn take(&mut self, _: ShardId, _: ShardId, given: Self::Given) -> ChunkId {
            match given {}
        }
        fn next_return(&mut self) -> Option<(ShardId, ChunkId)> {
            None
        }
        fn take_back(&mut self, _: ChunkId) {}
    }

    /// Small numbers in a fixed order.
    struct Draw(u64);

    impl Draw {
        fn below(&mut self, end: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % end
        }
    }

    const KINDS: [&[u8]; 4] = [b"all", b"fresh", b"recent", b"trace"];
    const ACTORS: u32 = 12;

    fn kind_named(name: &[u8]) -> Option<KindId> {
        let at = KINDS.iter().position(|kind| *kind == name)?;
        Some(KindId(u8::try_from(at).unwrap()))
    }

    fn kind_of(actor: u32) -> Option<KindId> {
        (actor < ACTORS).then(|| KindId(u8::try_from(actor % 4).unwrap()))
    }

    fn memory() -> Counted {
        Counted {
            budget: 1 << 30,
            ..Counted::default()
        }
    }

    /// Appends `count` entries of drawn actors and lengths, in runs of drawn lengths, a few milliseconds apart.
    fn grow(log: &mut Log, memory: &mut Counted, draw: &mut Draw, count: u64, bytes_max: u64) {
        for _ in 0..count {
            let seq = log.last_seq().next().0;
            let flags = match draw.below(20) {
                0 => TICK,
                1 => VOID,
                _ => 0,
            };
            let actor = if flags == 0 {
                u32::try_from(draw.below(12)).unwrap()
            } else {
                u32::MAX
            };
            let message: Vec<u8> = (0..draw.below(bytes_max))
                .map(|at| (at ^ seq).to_le_bytes()[0])
                .collect();
            let parts = EntryParts {
                header: EntryHeader {
                    actor: actor.into(),
                    flags: flags.into(),
                    ..EntryHeader::default()
                },
                message: if flags == 0 { &message } else { &[] },
                key: (draw.below(9) == 0).then_some(b"a key"),
                session: None,
                event: (flags == 0 && draw.below(3) == 0).then_some(b"an event"),
                reply: if draw.below(5) == 0 { b"a reply" } else { b"" },
            };
            log.append(memory, View(1), &parts, 1_000 + seq * 3).unwrap();
            if draw.below(6) == 0 {
                log.seal(memory, View(1));
            }
        }
        log.seal(memory, View(1));
    }

    fn sweep(log: &Log, upto: Seq, rules: &[(&[u8], SweepRule)]) -> Sweep {
        let mut message = Vec::new();
        push_sweep(&mut message, upto.0, rules);
        let view = SweepView::new_checked(&message).unwrap();
        let seq = log.sealed_seq().next();
        Sweep::new(&view, seq, 1_000 + seq.0 * 3, kind_named)
    }

    /// Runs a sweep to its end in portions; how many messages were dropped.
    fn run(mut sweep: Sweep, log: &mut Log, memory: &mut Counted, portion: u64) -> u64 {
        let mut dropped = 0;
        for _ in 0..100_000 {
            let mut budget = portion;
            let done = sweep.step(log, memory, &mut budget, kind_of);
            dropped += done.dropped;
            if done.is_done {
                return dropped;
            }
        }
        panic!("a sweep does not end");
    }

    fn entries(log: &Log, memory: &Counted) -> Vec<Vec<u8>> {
        let read = |seq| log.entry(memory, Seq(seq)).map(|(_, bytes, _)| bytes.to_vec());
        (1..=log.sealed_seq().0).map(|seq| read(seq).unwrap()).collect()
    }

    /// Every run in order, checked as a reader checks it.
    fn runs(log: &Log, memory: &Counted) -> Vec<Vec<u8>> {
        let mut at = log.find(memory, Seq(1));
        let mut runs = Vec::new();
        while let Some(run) = at.and_then(|at| log.run_at(memory, at)) {
            let bytes = &memory.bytes(run.chunk)[run.offset as usize..(run.offset + run.length) as usize];
            RunView::new_checked(bytes).unwrap();
            runs.push(bytes.to_vec());
            at = Some(run.next);
        }
        runs
    }

    fn is_dropped(bytes: &[u8]) -> bool {
        EntryView::new_checked(bytes).unwrap().0.header.flags.get() & DROPPED != 0
    }

    /// What a sweep must leave, reckoned entry by entry from the whole log.
    fn expected(whole: &[Vec<u8>], upto: u64, time_ms: u64, rules: &[(&[u8], SweepRule)]) -> Vec<bool> {
        let actor = |bytes: &[u8]| message_of(EntryView::new_checked(bytes).unwrap().0.header);
        let drops = |at: usize| {
            let seq = at as u64 + 1;
            let of = actor(&whole[at])?;
            let kind = kind_of(of)?;
            let (_, rule) = rules.iter().find(|(name, _)| kind_named(name) == Some(kind))?;
            let newer = (at + 1..usize::try_from(upto).unwrap()).filter(|at| actor(&whole[*at]) == Some(of));
            Some(
                seq <= upto
                    && match rule {
                        SweepRule::None => true,
                        SweepRule::For(ms) => 1_000 + seq * 3 + ms < time_ms,
                        SweepRule::Last(kept) => newer.count() >= *kept as usize,
                    },
            )
        };
        (0..whole.len()).map(|at| drops(at) == Some(true)).collect()
    }

    const RULES: [(&[u8], SweepRule); 3] = [
        (b"fresh", SweepRule::For(1_500)),
        (b"recent", SweepRule::Last(7)),
        (b"trace", SweepRule::None),
    ];

    #[test]
    fn exactly_what_the_rules_say_is_dropped_and_all_else_stays_byte_for_byte() {
        for seed in 0..40 {
            let mut draw = Draw(seed);
            let (mut log, mut memory) = (Log::new(GroupId(3)), memory());
            let mut whole = Vec::new();
            let mut gone: Vec<bool> = Vec::new();
            // Sweep after sweep over a log that grows, some by fewer rules; the last seqs are never swept.
            for round in 0..6 {
                let count = 20 + draw.below(900);
                grow(&mut log, &mut memory, &mut draw, count, 200);
                whole.extend(entries(&log, &memory).split_off(whole.len()));
                // A run is swept whole or not at all: a seq in the midst of one stands for the end of the one before.
                let asked = Seq(1 + draw.below(log.sealed_seq().0));
                let ends = runs(&log, &memory);
                let ends = ends.iter().map(|run| RunView::framed(run).unwrap().last_seq());
                let end = ends.take_while(|end| *end <= asked.0).last().unwrap_or(0);
                let rules = if round % 3 == 1 { &RULES[2..] } else { &RULES[..] };
                let sweep = sweep(&log, asked, rules);
                let must = expected(&whole, end, sweep.time_ms, rules);
                gone.resize(whole.len(), false);
                let news = must.iter().zip(&gone).filter(|(must, gone)| **must && !**gone).count() as u64;
                gone.iter_mut().zip(must).for_each(|(gone, must)| *gone |= must);
                let (hash, portion) = (log.last_hash(), 1 + draw.below(20_000));
                assert_eq!(
                    run(sweep, &mut log, &mut memory, portion),
                    news,
                    "seed {seed}, round {round}"
                );
                assert_eq!(log.last_hash(), hash);
                let left = entries(&log, &memory);
                for (at, (left, whole)) in left.iter().zip(&whole).enumerate() {
                    assert_eq!(is_dropped(left), gone[at], "seed {seed}, round {round}, seq {}", at + 1);
                    let (entry, _) = EntryView::new_checked(whole).unwrap();
                    match gone[at] {
                        false => assert_eq!(left, whole),
                        true => assert_eq!(left.len(), left_length(&entry)),
                    }
                }
                let runs = runs(&log, &memory);
                assert_eq!(runs.iter().map(Vec::len).sum::<usize>() as u64, log.run_bytes());
                assert_eq!(memory.used, log.bytes());
            }
        }
    }

    #[test]
    fn members_whose_chunks_and_portions_differ_are_left_with_the_same_runs() {
        let (mut one, mut two) = (Log::new(GroupId(3)), Log::new(GroupId(3)));
        let (mut memory_one, mut memory_two) = (memory(), memory());
        let mut draw = Draw(5);
        for round in 0..5u64 {
            grow(&mut one, &mut memory_one, &mut draw, 700, 400);
            for run in runs(&one, &memory_one) {
                // A member has what it takes long before it is swept: here it takes what is new.
                if RunView::framed(&run).unwrap().last_seq() > two.sealed_seq().0 {
                    two.take_run(&mut memory_two, &run).unwrap();
                }
            }
            let upto = Seq(two.sealed_seq().0 - round * 40);
            let (first, second) = (sweep(&one, upto, &RULES), sweep(&one, upto, &RULES));
            run(first, &mut one, &mut memory_one, 1 << 20);
            if round % 2 == 0 {
                run(second, &mut two, &mut memory_two, 100 + round * 5_000);
            } else {
                let later = sweep(&one, upto, &RULES);
                assert!(later.covers(&second), "a later sweep by the same rules stands for it");
                run(later, &mut two, &mut memory_two, 333);
            }
            assert_eq!(runs(&one, &memory_one), runs(&two, &memory_two), "round {round}");
        }
    }

    #[test]
    fn memory_shrinks_to_what_is_kept() {
        let (mut log, mut memory) = (Log::new(GroupId(3)), memory());
        grow(&mut log, &mut memory, &mut Draw(1), 20_000, 2_000);
        let before = memory.used;
        assert!(before > 16 << 20);
        let rules: Vec<_> = KINDS.iter().map(|kind| (*kind, SweepRule::None)).collect();
        let sweep = sweep(&log, log.sealed_seq(), &rules);
        run(sweep, &mut log, &mut memory, 1 << 20);
        // Headers, keys and replies are left, and the last chunk, where entries are appended.
        assert!(log.run_bytes() < before / 15, "{} of {before}", log.run_bytes());
        assert!(
            memory.used < log.run_bytes() * 3 / 2 + (1 << 20),
            "{} for {}",
            memory.used,
            log.run_bytes()
        );
    }

    #[test]
    fn a_log_that_is_swept_as_it_grows_holds_little_more_than_it_keeps() {
        let (mut log, mut memory) = (Log::new(GroupId(3)), memory());
        let rules: Vec<_> = KINDS.iter().map(|kind| (*kind, SweepRule::None)).collect();
        let mut draw = Draw(7);
        for round in 0..60 {
            grow(&mut log, &mut memory, &mut draw, 400, 300);
            // The last runs are not committed yet, or not held by all.
            let upto = Seq(log.sealed_seq().0 - 50);
            let sweep = sweep(&log, upto, &rules);
            run(sweep, &mut log, &mut memory, 1 << 20);
            let most = log.run_bytes() * 3 / 2 + (96 << 10);
            assert!(
                memory.used < most,
                "round {round}: {} for {}",
                memory.used,
                log.run_bytes()
            );
        }
        assert!(log.run_bytes() < log.sealed_bytes() * 2 / 3);
    }

    #[test]
    fn a_sweep_that_finds_no_memory_goes_on_when_there_is_some() {
        let (mut log, mut memory) = (Log::new(GroupId(3)), memory());
        grow(&mut log, &mut memory, &mut Draw(3), 4_000, 500);
        let whole = entries(&log, &memory);
        let mut sweep = sweep(&log, log.sealed_seq(), &RULES);
        let must = expected(&whole, log.sealed_seq().0, sweep.time_ms, &RULES);
        let mut dropped = 0;
        for turn in 0.. {
            // A little memory now and then: none in most turns.
            memory.budget = memory.used + if turn % 3 == 0 { 8 << 10 } else { 0 };
            let mut budget = 1 << 20;
            let portion = sweep.step(&mut log, &mut memory, &mut budget, kind_of);
            dropped += portion.dropped;
            assert_eq!(
                entries(&log, &memory).len(),
                whole.len(),
                "the log is whole after each portion"
            );
            runs(&log, &memory);
            if portion.is_done {
                break;
            }
            assert!(turn < 10_000, "it never ends");
        }
        let left: Vec<bool> = entries(&log, &memory).iter().map(|bytes| is_dropped(bytes)).collect();
        assert_eq!(left, must);
        assert_eq!(dropped, must.iter().filter(|must| **must).count() as u64);
    }

    #[test]
    fn a_run_that_lost_messages_is_not_taken_from_a_peer() {
        let (mut log, mut memory) = (Log::new(GroupId(3)), memory());
        grow(&mut log, &mut memory, &mut Draw(4), 50, 100);
        let sweep = sweep(&log, log.sealed_seq(), &RULES);
        assert!(run(sweep, &mut log, &mut memory, 1 << 20) > 0);
        let mut other = Log::new(GroupId(3));
        let refused = runs(&log, &memory)
            .iter()
            .find_map(|run| other.take_run(&mut memory, run).err());
        assert_eq!(
            refused,
            Some(crate::log::NotTaken::Malformed(waterpark_wire::FrameError::Run))
        );
    }

    #[test]
    fn what_is_known_to_hold_nothing_to_drop_is_not_read_again() {
        let (mut log, mut memory) = (Log::new(GroupId(3)), memory());
        grow(&mut log, &mut memory, &mut Draw(6), 5_000, 400);
        let upto = log.sealed_seq();
        let first = sweep(&log, upto, &RULES[2..]);
        assert!(run(first, &mut log, &mut memory, 1 << 20) > 0);
        let mut again = sweep(&log, upto, &RULES[2..]);
        let mut budget = 1_000;
        let portion = again.step(&mut log, &mut memory, &mut budget, kind_of);
        assert!(portion.is_done && !portion.moved);
        assert_eq!((portion.dropped, budget), (0, 1_000));
    }
}
