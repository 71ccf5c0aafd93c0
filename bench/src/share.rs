//! Which of a run's messages are whose, where several generators send them.
//!
//! Messages are dealt out in turn, so each generator has its part of every instant and of every actor, and all together send what one alone
//! would. **Invariant:** each message is one generator's.

use serde::{Deserialize, Serialize};

/// Of all messages each `of`-th, from the one with the number `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    first: u64,
    of: u64,
}

impl Share {
    /// All messages.
    pub const WHOLE: Share = Share { first: 0, of: 1 };

    /// That of one of so many generators, counted from 0.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn new(which: u64, of: u64) -> Share {
        assert!(which < of, "one of them");
        Share { first: which, of }
    }

    /// The number that one of its own messages has among all.
    #[must_use]
    #[inline]
    pub fn number(self, own: u64) -> u64 {
        own * self.of + self.first
    }

    /// How many of the messages with numbers below `end` are its.
    #[must_use]
    pub fn below(self, end: u64) -> u64 {
        end.saturating_sub(self.first).div_ceil(self.of)
    }

    /// Messages of its own that lie within whole rounds, so many that no message below `end` lies behind them. It is the same number for all
    /// generators.
    #[must_use]
    pub fn rounds(self, end: u64) -> u64 {
        end.div_ceil(self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_one_generators() {
        for of in 1..6 {
            let shares: Vec<Share> = (0..of).map(|which| Share::new(which, of)).collect();
            for end in 0..30 {
                let mut numbers: Vec<u64> = Vec::new();
                for share in &shares {
                    let own = (0..share.below(end)).map(|own| share.number(own));
                    numbers.extend(own);
                    assert!(share.number(share.rounds(end)) >= end && share.rounds(end) >= share.below(end));
                }
                numbers.sort_unstable();
                assert_eq!(numbers, (0..end).collect::<Vec<_>>(), "{of} {end}");
            }
        }
    }
}
