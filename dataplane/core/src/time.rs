//! Time as an argument: one value per turn.

/// The instant at which a turn runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// For timers and deadlines: nanoseconds since some instant before the start, never backwards.
    pub monotonic_ns: u64,
    /// For group time and the age of sessions: milliseconds since the epoch, may jump.
    pub wall_ms: u64,
}

/// Nanoseconds in a millisecond.
pub const MS: u64 = 1_000_000;

impl Now {
    /// The monotonic instant `ms` milliseconds from now, in nanoseconds.
    #[must_use]
    pub fn after_ms(&self, ms: u64) -> u64 {
        self.monotonic_ns.saturating_add(ms.saturating_mul(MS))
    }

    /// Milliseconds from now to a monotonic instant, 0 if it has passed.
    #[must_use]
    pub fn ms_until(&self, instant_ns: u64) -> u64 {
        instant_ns.saturating_sub(self.monotonic_ns).div_ceil(MS)
    }
}
