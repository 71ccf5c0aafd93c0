//! How long a shard without work polls before it sleeps.
//!
//! It does not read the clock: each turn says what time it is. **Invariant:** a shard never polls longer than its budget without work, and one
//! whose polling has mostly found nothing does not poll.
//!
//! Waking a sleeping core costs its sender 6 to 9 µs and lands after 17 to 27 µs; a spinning one sees a message after 0.7 µs. So spinning pays
//! where work comes within about that time, and is a waste where it does not.

/// A spinning shard's usual budget in nanoseconds: about what a sleep and a wake would cost.
pub const SPIN_BUDGET_NS: u64 = 50_000;
/// Confidence at most, and where a policy begins.
const CONFIDENCE_MAX: u8 = 8;
/// Confidence from which on it is worth spinning.
const CONFIDENCE_TO_SPIN: u8 = 4;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Turn again without waiting.
    Poll,
    /// Mark the shard asleep, and let the next turn block.
    Block,
}

/// The policy of one shard: spin for the whole budget while that mostly finds work, not at all while it mostly does not.
///
/// What counts is how long each idle spell lasted, slept through or not. So a policy that has stopped spinning still sees when it would
/// pay again.
#[derive(Clone, Debug)]
pub struct Spinner {
    budget_ns: u64,
    /// Goes up with each idle spell that ended within the budget, down with each that did not.
    confidence: u8,
    /// Since when there has been nothing to do; `None` while there is work.
    idle_since_ns: Option<u64>,
}

impl Spinner {
    /// A policy that spins at most `budget_ns`; 0 never spins, which is right where more shards want to run than there are cores.
    #[must_use]
    pub fn new(budget_ns: u64) -> Self {
        Self {
            budget_ns,
            confidence: CONFIDENCE_MAX,
            idle_since_ns: None,
        }
    }

    /// Says what to do after a turn that ended at `now_ns` and either had work or not.
    pub fn on_turn(&mut self, worked: bool, now_ns: u64) -> Next {
        if worked {
            if let Some(since) = self.idle_since_ns.take() {
                let within_budget = now_ns.saturating_sub(since) <= self.budget_ns;
                self.confidence = if within_budget {
                    CONFIDENCE_MAX.min(self.confidence + 1)
                } else {
                    self.confidence.saturating_sub(1)
                };
            }
            return Next::Poll;
        }
        let since = *self.idle_since_ns.get_or_insert(now_ns);
        if now_ns.saturating_sub(since) < self.allowance_ns() {
            Next::Poll
        } else {
            Next::Block
        }
    }

    /// What the shard may spin at present, in nanoseconds: its budget or nothing.
    #[must_use]
    pub fn allowance_ns(&self) -> u64 {
        if self.confidence >= CONFIDENCE_TO_SPIN {
            self.budget_ns
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_of_zero_blocks_after_the_first_idle_turn() {
        let mut spinner = Spinner::new(0);
        assert_eq!(spinner.on_turn(true, 10), Next::Poll);
        assert_eq!(spinner.on_turn(false, 11), Next::Block);
        assert_eq!(spinner.on_turn(true, 12), Next::Poll);
        assert_eq!((spinner.on_turn(false, 13), spinner.allowance_ns()), (Next::Block, 0));
    }

    #[test]
    fn an_idle_shard_polls_for_its_allowance_and_then_blocks() {
        let mut spinner = Spinner::new(40_000);
        assert_eq!(spinner.on_turn(false, 0), Next::Poll);
        assert_eq!(spinner.on_turn(false, 39_999), Next::Poll);
        assert_eq!(spinner.on_turn(false, 40_000), Next::Block);
        assert_eq!(
            spinner.on_turn(false, 900_000),
            Next::Block,
            "a wake-up without work does not begin to spin anew"
        );
    }

    /// `times` idle spells of `gap_ns`, each ended by work.
    fn idle_spells(spinner: &mut Spinner, now: &mut u64, times: usize, gap_ns: u64) {
        for _ in 0..times {
            spinner.on_turn(true, *now);
            spinner.on_turn(false, *now);
            *now += gap_ns;
            spinner.on_turn(true, *now);
        }
    }

    #[test]
    fn long_spells_end_the_spinning_and_short_ones_bring_it_back_though_it_sleeps() {
        let mut spinner = Spinner::new(40_000);
        let mut now = 0;
        idle_spells(&mut spinner, &mut now, 4, 1_000_000);
        assert_eq!(spinner.allowance_ns(), 40_000, "a few long spells prove nothing");
        idle_spells(&mut spinner, &mut now, 10, 1_000_000);
        assert_eq!(spinner.on_turn(false, now), Next::Block);
        idle_spells(&mut spinner, &mut now, 4, 5_000);
        assert_eq!(spinner.on_turn(false, now), Next::Poll);
    }
}
