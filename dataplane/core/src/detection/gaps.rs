//! What a detector remembers of the gaps between the frames of one peer.
//!
//! Two memories: the last [`SAMPLES`] samples, with their sum and the sum of their squares kept as they come and go; and the longest gap
//! of each of the last [`SLOTS`] stretches of time, because a pause that comes once in ten seconds leaves hardly a trace in a variance
//! and is met again all the same. Whole microseconds and whole numbers: the sums never drift, and are equal on all machines.
//!
//! It does not know what a gap of which length means.
//!
//! **Invariant:** the sums are those of the samples that are held.

use super::lived::Lived;

/// Samples held: some 13 s of heartbeats at 100 ms.
pub(super) const SAMPLES: usize = 128;
/// Stretches of time whose longest gap is remembered.
const SLOTS: usize = 8;
/// How many heartbeats one of them lasts: a pause is remembered for 105 to 120 s at 100 ms.
const HEARTBEATS_PER_SLOT: u64 = 150;
/// The longest gap that is learned as it is. Longer ones are clamped by the detector.
pub(super) const GAP_US_MAX: u32 = 30_000_000;

// Neither sum can overflow, nor can the product in the variance.
const _: () = assert!((SAMPLES as u128 * GAP_US_MAX as u128).pow(2) <= u64::MAX as u128);

/// Gaps of one peer.
#[derive(Clone, Debug)]
pub(super) struct Gaps {
    ring: [u32; SAMPLES],
    next: usize,
    held: u64,
    sum_us: u64,
    squares: u64,
    longest_us: [u32; SLOTS],
    slot: usize,
    slot_since: Lived,
    slot_ns: u64,
}

impl Gaps {
    pub(super) fn new(heartbeat_ns: u64, now: Lived) -> Self {
        Self {
            ring: [0; SAMPLES],
            next: 0,
            held: 0,
            sum_us: 0,
            squares: 0,
            longest_us: [0; SLOTS],
            slot: 0,
            slot_since: now,
            slot_ns: heartbeat_ns * HEARTBEATS_PER_SLOT,
        }
    }

    /// Takes a sample; the oldest one leaves.
    ///
    /// # Panics
    /// If it is longer than [`GAP_US_MAX`]: the detector clamps first.
    pub(super) fn learn(&mut self, gap_us: u32, now: Lived) {
        assert!(gap_us <= GAP_US_MAX);
        let leaves = u64::from(core::mem::replace(&mut self.ring[self.next], gap_us));
        let comes = u64::from(gap_us);
        // A place that was never filled holds 0 and takes nothing away.
        self.sum_us = self.sum_us + comes - leaves;
        self.squares = self.squares + comes * comes - leaves * leaves;
        self.next = (self.next + 1) % SAMPLES;
        self.held = (self.held + 1).min(SAMPLES as u64);
        self.remember(gap_us, now);
    }

    fn remember(&mut self, gap_us: u32, now: Lived) {
        let passed = now.ns_since(self.slot_since) / self.slot_ns;
        for _ in 0..passed.min(SLOTS as u64) {
            self.slot = (self.slot + 1) % SLOTS;
            self.longest_us[self.slot] = 0;
        }
        if passed > 0 {
            self.slot_since = now;
        }
        let longest_us = &mut self.longest_us[self.slot];
        *longest_us = gap_us.max(*longest_us);
    }

    /// Mean of the samples, 0 without any.
    pub(super) fn mean_us(&self) -> u64 {
        self.sum_us / self.held.max(1)
    }

    /// Standard deviation of the samples, rounded down, 0 without any.
    pub(super) fn deviation_us(&self) -> u64 {
        let held = self.held.max(1);
        // By Cauchy and Schwarz the difference is never negative.
        let variance = (held * self.squares - self.sum_us * self.sum_us) / (held * held);
        variance.isqrt()
    }

    /// The longest gap that is remembered.
    pub(super) fn longest_us(&self) -> u64 {
        self.longest_us.iter().copied().max().map_or(0, u64::from)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Random, clock_at};
    use super::*;
    use crate::time::MS;

    #[test]
    fn kept_sums_equal_those_counted_anew() {
        for seed in 0..50 {
            let mut random = Random::new(seed);
            let mut gaps = Gaps::new(100 * MS, Lived::default());
            let mut all = Vec::new();
            for _ in 0..random.between(1, 400) {
                let gap_us = u32::try_from(random.between(0, u64::from(GAP_US_MAX))).unwrap();
                all.push(u64::from(gap_us));
                gaps.learn(gap_us, Lived::default());
                let held = &all[all.len().saturating_sub(SAMPLES)..];
                let count = u64::try_from(held.len()).unwrap();
                let sum: u64 = held.iter().sum();
                let squares: u64 = held.iter().map(|gap| gap * gap).sum();
                assert_eq!(gaps.mean_us(), sum / count, "seed {seed}");
                let variance = (count * squares - sum * sum) / (count * count);
                assert_eq!(gaps.deviation_us(), variance.isqrt(), "seed {seed}");
                assert_eq!(gaps.longest_us(), all.iter().copied().max().unwrap());
            }
        }
    }

    #[test]
    fn a_pause_is_remembered_for_seven_stretches_and_forgotten_after_eight() {
        let mut clock = clock_at(0);
        let mut gaps = Gaps::new(100 * MS, clock.now());
        gaps.learn(400_000, clock.now());
        let mut forgotten_ms = 0;
        for ms in (100..=200_000).step_by(100) {
            gaps.learn(100_000, clock.turned(ms * MS));
            if gaps.longest_us() < 400_000 {
                forgotten_ms = ms;
                break;
            }
        }
        assert_eq!(forgotten_ms, 120_000);
        assert_eq!(gaps.longest_us(), 100_000);
    }

    #[test]
    fn no_sample_is_no_mean_and_no_deviation() {
        let gaps = Gaps::new(100 * MS, Lived::default());
        assert_eq!((gaps.mean_us(), gaps.deviation_us(), gaps.longest_us()), (0, 0, 0));
    }
}
