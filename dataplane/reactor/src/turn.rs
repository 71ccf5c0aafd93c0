//! Turn counters, and the judgement over shards that do not turn.
//!
//! It does not know what a shard does in a turn. **Invariant:** only time in which the judge itself turned counts, and at most 100 ms per turn of
//! its own. So a process that was stopped, or whose cores were stolen, finds on waking that nobody has been silent for long.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

/// Silence after which a shard is reported.
pub const REPORT_AFTER: Duration = Duration::from_secs(1);
/// Silence after which the process ends.
pub const END_AFTER: Duration = Duration::from_secs(3);
/// What one turn of the judge counts for at most.
pub const JUDGED_PER_TURN_MAX: Duration = Duration::from_millis(100);

/// Set while the shard sleeps on purpose; the turns are counted above it.
const ASLEEP: u64 = 1;
const ONE_TURN: u64 = 2;

/// What a shard publishes: how often it has turned, and whether it sleeps in a blocking wait. On a cache line of its own, written by one
/// thread and read by judges a few times a second.
#[derive(Debug, Default)]
pub struct TurnCounter(CachePadded<AtomicU64>);

impl TurnCounter {
    /// A counter that has not turned, and is awake.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Publishes one more turn. Also ends a sleep.
    #[inline]
    pub fn turned(&self) {
        // One writer, so a load and a store do; nothing is ordered by this counter.
        let now = self.0.load(Ordering::Relaxed);
        self.0.store((now & !ASLEEP).wrapping_add(ONE_TURN), Ordering::Relaxed);
    }

    /// Says that the shard is about to block on purpose: until it turns again it is not hung.
    #[inline]
    pub fn sleeps(&self) {
        let now = self.0.load(Ordering::Relaxed);
        self.0.store(now | ASLEEP, Ordering::Relaxed);
    }

    /// Turns so far.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.0.load(Ordering::Relaxed) / ONE_TURN
    }

    fn word(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A finding about one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has not turned for [`REPORT_AFTER`]. Told once per silence.
    Silent {
        /// Which shard.
        shard: usize,
    },
    /// A shard that was reported turns again.
    Recovered {
        /// Which shard.
        shard: usize,
    },
    /// It has not turned for [`END_AFTER`]: its groups are better served by other processes than by this one. Told once per silence.
    Hung {
        /// Which shard.
        shard: usize,
    },
}

#[derive(Clone, Copy)]
struct Sibling {
    last_word: u64,
    silent: Duration,
}

/// Judges the shards of a process by their counters. A shard may keep one for its siblings and call it once a turn; the control thread
/// keeps one for all.
pub struct Judge {
    counters: Arc<[TurnCounter]>,
    siblings: Vec<Sibling>,
    /// The judge's own shard, which is not judged: it turns, or it would not ask.
    own: Option<usize>,
    last_turn: Option<Duration>,
}

impl Judge {
    /// A judge over `counters`, one per shard, who is shard `own` or none of them.
    #[must_use]
    pub fn new(counters: Arc<[TurnCounter]>, own: Option<usize>) -> Self {
        let siblings = counters.iter().map(|counter| Sibling {
            last_word: counter.word(),
            silent: Duration::ZERO,
        });
        Self {
            siblings: siblings.collect(),
            counters,
            own,
            last_turn: None,
        }
    }

    /// One turn of the judge, at `now` on any monotonic clock. Calls `tell` with each finding.
    pub fn on_turn(&mut self, now: Duration, mut tell: impl FnMut(Verdict)) {
        let since = self.last_turn.map_or(Duration::ZERO, |last| now.saturating_sub(last));
        self.last_turn = Some(now);
        let counted = since.min(JUDGED_PER_TURN_MAX);
        for (shard, (counter, sibling)) in self.counters.iter().zip(&mut self.siblings).enumerate() {
            let word = counter.word();
            let before = sibling.silent;
            if word != sibling.last_word || word & ASLEEP != 0 || self.own == Some(shard) {
                *sibling = Sibling {
                    last_word: word,
                    silent: Duration::ZERO,
                };
                if before >= REPORT_AFTER {
                    tell(Verdict::Recovered { shard });
                }
                continue;
            }
            sibling.silent += counted;
            let crossed = |limit: Duration| before < limit && sibling.silent >= limit;
            if crossed(REPORT_AFTER) {
                tell(Verdict::Silent { shard });
            }
            if crossed(END_AFTER) {
                tell(Verdict::Hung { shard });
            }
        }
    }
}

/// A thread that judges all shards of the process. Ends when dropped.
#[derive(Debug)]
pub struct Watchdog {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// How often it turns: a shard is reported at most this much late.
    const PERIOD: Duration = Duration::from_millis(50);

    /// Begins to judge. `on_verdict` is called on the watchdog's thread; on [`Verdict::Hung`] it is expected to end the process.
    ///
    /// # Errors
    /// When the thread cannot be made; nothing is judged then.
    pub fn start(
        counters: Arc<[TurnCounter]>,
        mut on_verdict: impl FnMut(Verdict) + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::Builder::new().name("watchdog".into()).spawn({
            let stop = Arc::clone(&stop);
            move || {
                let begun = Instant::now();
                let mut judge = Judge::new(counters, None);
                while !stop.load(Ordering::Relaxed) {
                    judge.on_turn(begun.elapsed(), &mut on_verdict);
                    thread::park_timeout(Self::PERIOD);
                }
            }
        })?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A callback that panicked has said so already.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(shards: usize) -> Arc<[TurnCounter]> {
        (0..shards).map(|_| TurnCounter::new()).collect()
    }

    fn judge_every(
        judge: &mut Judge,
        from_ms: u64,
        until_ms: u64,
        step_ms: usize,
        mut each: impl FnMut(),
    ) -> Vec<(u64, Verdict)> {
        let mut verdicts = Vec::new();
        for now_ms in (from_ms..=until_ms).step_by(step_ms) {
            each();
            judge.on_turn(Duration::from_millis(now_ms), |verdict| {
                verdicts.push((now_ms, verdict));
            });
        }
        verdicts
    }

    #[test]
    fn a_silent_shard_is_reported_after_one_second_and_hung_after_three() {
        let counters = counters(2);
        let mut judge = Judge::new(Arc::clone(&counters), None);
        let verdicts = judge_every(&mut judge, 0, 5000, 50, || counters[0].turned());
        assert_eq!(
            verdicts,
            [(1000, Verdict::Silent { shard: 1 }), (3000, Verdict::Hung { shard: 1 })]
        );
        counters[1].turned();
        assert_eq!(
            judge_every(&mut judge, 5050, 5050, 50, || ()),
            [(5050, Verdict::Recovered { shard: 1 })]
        );
    }

    #[test]
    fn a_shard_that_sleeps_on_purpose_is_not_hung_until_it_should_turn_again() {
        let counters = counters(1);
        let mut judge = Judge::new(Arc::clone(&counters), None);
        counters[0].turned();
        counters[0].sleeps();
        assert_eq!(judge_every(&mut judge, 0, 60_000, 50, || ()), []);
        counters[0].turned();
        let verdicts = judge_every(&mut judge, 60_050, 63_200, 50, || ());
        assert_eq!(
            verdicts,
            [
                (61_050, Verdict::Silent { shard: 0 }),
                (63_050, Verdict::Hung { shard: 0 })
            ]
        );
    }

    #[test]
    fn a_process_that_was_stopped_for_an_hour_judges_nobody() {
        let counters = counters(2);
        let mut judge = Judge::new(Arc::clone(&counters), Some(0));
        assert_eq!(judge_every(&mut judge, 0, 900, 50, || ()), []);
        // SIGSTOP: neither the judge nor the shard has turned. The judge comes back first.
        assert_eq!(
            judge_every(&mut judge, 3_600_000, 3_600_000, 50, || ()),
            [(3_600_000, Verdict::Silent { shard: 1 })]
        );
        counters[1].turned();
        assert_eq!(
            judge_every(&mut judge, 3_600_050, 3_600_900, 50, || ()),
            [(3_600_050, Verdict::Recovered { shard: 1 })]
        );
    }

    #[test]
    fn a_judge_that_hardly_runs_counts_little() {
        let counters = counters(1);
        let mut judge = Judge::new(counters, None);
        // One turn a second: each counts for a tenth of that.
        let verdicts = judge_every(&mut judge, 0, 31_000, 1000, || ());
        assert_eq!(
            verdicts,
            [
                (10_000, Verdict::Silent { shard: 0 }),
                (30_000, Verdict::Hung { shard: 0 })
            ]
        );
    }

    #[test]
    fn the_watchdog_reports_a_silent_shard_and_stops_when_dropped() {
        let counters = counters(2);
        let (tell, told) = std::sync::mpsc::channel();
        let watchdog = Watchdog::start(Arc::clone(&counters), move |verdict| tell.send(verdict).unwrap()).unwrap();
        let begun = Instant::now();
        let verdict = loop {
            counters[0].turned();
            match told.recv_timeout(Duration::from_millis(10)) {
                Ok(verdict) => break verdict,
                Err(_) => assert!(begun.elapsed() < Duration::from_secs(20)),
            }
        };
        assert_eq!(verdict, Verdict::Silent { shard: 1 });
        assert!(begun.elapsed() >= REPORT_AFTER - JUDGED_PER_TURN_MAX);
        drop(watchdog);
        assert!(told.recv().is_err(), "the thread is gone, and its channel with it");
    }
}
