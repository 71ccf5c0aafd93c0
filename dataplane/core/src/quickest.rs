//! The quickest of the last seconds: how long a way is when nothing waits on it.
//!
//! It knows not what was timed. **Invariant:** what is older than two epochs counts no more: a way may become longer for good.

use crate::time::MS;

/// The quickest one is forgotten after one such epoch at least and two at most.
const EPOCH_NS: u64 = 5_000 * MS;

/// The quickest of this epoch and of the one before.
#[derive(Debug)]
pub(crate) struct Quickest {
    now_ns: u64,
    before_ns: u64,
    /// When this epoch is over, monotonic ns.
    until_ns: u64,
}

impl Default for Quickest {
    fn default() -> Quickest {
        Quickest {
            now_ns: u64::MAX,
            before_ns: u64::MAX,
            until_ns: 0,
        }
    }
}

impl Quickest {
    /// Something took so long; what the quickest took.
    pub(crate) fn heard(&mut self, took_ns: u64, now_ns: u64) -> u64 {
        if now_ns >= self.until_ns {
            self.before_ns = std::mem::replace(&mut self.now_ns, u64::MAX);
            self.until_ns = now_ns + EPOCH_NS;
        }
        self.now_ns = self.now_ns.min(took_ns);
        self.now_ns.min(self.before_ns)
    }

    /// What the quickest took, if there was one.
    pub(crate) fn took_ns(&self) -> Option<u64> {
        Some(self.now_ns.min(self.before_ns)).filter(|took_ns| *took_ns < u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_that_has_become_longer_is_learnt_after_two_epochs() {
        let mut quickest = Quickest::default();
        assert_eq!(quickest.took_ns(), None);
        for (seconds, took_ms, least_ms) in [(0, 1, 1), (1, 2, 1), (6, 2, 1), (9, 1, 1), (11, 2, 1), (17, 2, 2)] {
            let least_ns = quickest.heard(took_ms * MS, seconds * 1_000 * MS);
            assert_eq!(least_ns, least_ms * MS, "after {seconds} s");
            assert_eq!(quickest.took_ns(), Some(least_ns));
        }
    }
}
