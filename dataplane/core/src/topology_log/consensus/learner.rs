//! A learner's side of the log: takes decided entries in any order and with repeats, gives them out in order, and says what it misses.
//!
//! It trusts that what it is given is decided, and does not know who sent it.
//!
//! **Invariant:** each position is given out once, right behind the one before it.

use core::fmt;
use std::collections::BTreeMap;

use super::Decided;

/// Entries that a learner keeps beyond a gap at most.
pub const LEARNER_AHEAD_MAX: usize = 1_024;

/// An entry that a learner did not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LearnError {
    /// Too far ahead of the entry that is missing: it will be sent again when that has come.
    TooFar,
    /// Another entry was given for the same position: one of the two voters is wrong. Nothing was taken.
    Differs {
        /// The position.
        position: u64,
    },
}

impl fmt::Display for LearnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LearnError::TooFar => f.write_str("too far ahead of what is missing"),
            LearnError::Differs { position } => write!(f, "two entries were told to be decided at position {position}"),
        }
    }
}

impl core::error::Error for LearnError {}

/// What a node that does not vote has learnt, and what is still missing.
#[derive(Clone, Debug)]
pub struct Learner {
    next: u64,
    ahead: BTreeMap<u64, Vec<u8>>,
}

impl Learner {
    /// A learner that knows all entries before a position, 1 at first.
    #[must_use]
    pub fn new(next: u64) -> Learner {
        Learner {
            next,
            ahead: BTreeMap::new(),
        }
    }

    /// The position that it asks for next: the first one that it does not have.
    #[must_use]
    pub fn next(&self) -> u64 {
        let contiguous = self
            .ahead
            .keys()
            .zip(self.next..)
            .take_while(|(found, wanted)| **found == *wanted);
        self.next + contiguous.map(|_| 1).sum::<u64>()
    }

    /// Takes an entry. What it has already is left as it is.
    ///
    /// # Errors
    /// [`LearnError`] when it was not taken.
    pub fn take(&mut self, decided: Decided) -> Result<(), LearnError> {
        let Decided { position, entry } = decided;
        if position < self.next {
            return Ok(());
        }
        if let Some(known) = self.ahead.get(&position) {
            return if *known == entry {
                Ok(())
            } else {
                Err(LearnError::Differs { position })
            };
        }
        let is_too_far = position != self.next && self.ahead.len() >= LEARNER_AHEAD_MAX;
        if is_too_far {
            return Err(LearnError::TooFar);
        }
        self.ahead.insert(position, entry);
        Ok(())
    }

    /// Whether an entry is to be taken.
    #[must_use]
    pub fn has_news(&self) -> bool {
        self.ahead
            .first_key_value()
            .is_some_and(|(first, _)| *first == self.next)
    }

    /// All entries before a position are known by other means. What it has of them is dropped.
    pub fn skip_to(&mut self, next: u64) {
        if next > self.next {
            self.next = next;
            self.ahead = self.ahead.split_off(&next);
        }
    }

    /// Moves out what is complete, in order.
    pub fn take_ready(&mut self, out: &mut Vec<Decided>) {
        while let Some(entry) = self.ahead.remove(&self.next) {
            out.push(Decided {
                position: self.next,
                entry,
            });
            self.next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(position: u64) -> Decided {
        Decided {
            position,
            entry: position.to_le_bytes().to_vec(),
        }
    }

    fn ready(learner: &mut Learner) -> Vec<u64> {
        let mut out = Vec::new();
        learner.take_ready(&mut out);
        out.iter().map(|found| found.position).collect()
    }

    #[test]
    fn entries_come_out_once_and_in_order() {
        let mut learner = Learner::new(1);
        for position in [3, 1, 1, 3] {
            learner.take(decided(position)).unwrap();
        }
        assert_eq!(learner.next(), 2);
        assert_eq!(ready(&mut learner), [1]);
        learner.take(decided(2)).unwrap();
        assert_eq!(learner.next(), 4);
        assert_eq!(ready(&mut learner), [2, 3]);
        learner.take(decided(1)).unwrap();
        assert!(ready(&mut learner).is_empty());
    }

    #[test]
    fn what_is_known_by_other_means_is_not_given_out() {
        let mut learner = Learner::new(1);
        for position in [2, 5, 6] {
            learner.take(decided(position)).unwrap();
        }
        learner.skip_to(6);
        learner.skip_to(4);
        assert_eq!(learner.next(), 7);
        assert_eq!(ready(&mut learner), [6]);
    }

    #[test]
    fn two_entries_for_one_position_are_told() {
        let mut learner = Learner::new(5);
        learner.take(decided(7)).unwrap();
        let other = Decided {
            position: 7,
            entry: vec![],
        };
        assert_eq!(learner.take(other), Err(LearnError::Differs { position: 7 }));
    }

    #[test]
    fn what_is_kept_beyond_a_gap_is_bounded_and_the_gap_can_always_be_closed() {
        let mut learner = Learner::new(1);
        let taken = (2..5_000)
            .filter(|position| learner.take(decided(*position)).is_ok())
            .count();
        assert_eq!(taken, LEARNER_AHEAD_MAX);
        assert_eq!(learner.take(decided(9_999)), Err(LearnError::TooFar));
        learner.take(decided(1)).unwrap();
        assert_eq!(ready(&mut learner).len(), LEARNER_AHEAD_MAX + 1);
    }
}
