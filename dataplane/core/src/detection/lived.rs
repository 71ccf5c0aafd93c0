//! The time that this process lived: its own pauses are nobody else's silence.
//!
//! A process that was stopped, or whose cores were stolen, finds on waking that a minute has passed and that it heard nobody in it. It
//! could not have. So detection counts in time of its own, to which each turn adds at most [`LIVED_PER_TURN_NS_MAX`], and no function of
//! this module takes a plain clock. It does not know what a turn does.
//!
//! **Invariant:** between two turns lived time grows by no more than the clock did, and by no more than 100 ms.
//!
//! What the world owes: turns no further apart than 100 ms, or its time runs slow and so does its detection; and in each turn the frames
//! that came before the questions, or a frame that waited out the pause in a socket counts too late.

use crate::time::MS;

/// What one turn counts for at most: as much as a judge of hung shards grants itself.
pub const LIVED_PER_TURN_NS_MAX: u64 = 100 * MS;

/// An instant in the time that this process lived. Means nothing in another process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lived(u64);

impl Lived {
    /// Later than all that will be lived.
    pub const MAX: Lived = Lived(u64::MAX);

    /// Nanoseconds lived since `earlier`, 0 if that is later.
    #[must_use]
    pub fn ns_since(self, earlier: Lived) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// So many nanoseconds later.
    #[must_use]
    pub fn after_ns(self, ns: u64) -> Lived {
        Lived(self.0.saturating_add(ns))
    }
}

/// The clock of lived time: one for each owner of detectors, advanced once per turn.
#[derive(Clone, Debug)]
pub struct LivedClock {
    turned_ns: u64,
    lived: Lived,
}

impl LivedClock {
    /// A clock that begins now.
    #[must_use]
    pub fn new(now_ns: u64) -> Self {
        Self {
            turned_ns: now_ns,
            lived: Lived::default(),
        }
    }

    /// A turn begins at `now_ns`, the monotonic clock of [`crate::time::Now`].
    ///
    /// # Panics
    /// If the clock went backwards: it is monotonic by its contract.
    pub fn turned(&mut self, now_ns: u64) -> Lived {
        assert!(now_ns >= self.turned_ns, "the monotonic clock never goes backwards");
        let passed = now_ns - self.turned_ns;
        self.turned_ns = now_ns;
        self.lived = Lived(self.lived.0 + passed.min(LIVED_PER_TURN_NS_MAX));
        self.lived
    }

    /// The instant of the last turn.
    #[must_use]
    pub fn now(&self) -> Lived {
        self.lived
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Random;
    use super::*;

    #[test]
    fn a_pause_of_an_hour_counts_as_one_turn() {
        let mut clock = LivedClock::new(5);
        let before = clock.turned(5 + 7 * MS);
        let after = clock.turned(5 + 3_600_000 * MS);
        assert_eq!(before.ns_since(Lived::default()), 7 * MS);
        assert_eq!(after.ns_since(before), LIVED_PER_TURN_NS_MAX);
        assert_eq!(before.ns_since(after), 0);
        assert_eq!(clock.now(), after);
    }

    #[test]
    fn lived_time_grows_by_no_more_than_the_clock_or_a_turn() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let mut now_ns = random.next() >> 1;
            let mut clock = LivedClock::new(now_ns);
            let mut before = clock.now();
            for _ in 0..500 {
                let longest = if random.chance(9, 10) { 50 * MS } else { 10_000 * MS };
                let passed = random.between(0, longest);
                now_ns += passed;
                let after = clock.turned(now_ns);
                assert_eq!(after.ns_since(before), passed.min(LIVED_PER_TURN_NS_MAX), "seed {seed}");
                before = after;
            }
        }
    }

    #[test]
    #[should_panic(expected = "never goes backwards")]
    fn a_clock_that_goes_backwards_is_a_bug_of_the_world() {
        LivedClock::new(10).turned(9);
    }
}
