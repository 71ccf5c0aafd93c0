//! What the tests of detection, and some others, share: a seeded random source and instants by the millisecond.

use super::lived::{LIVED_PER_TURN_NS_MAX, Lived, LivedClock};
use crate::ids::{Incarnation, Member, NodeId};
use crate::time::MS;

/// SplitMix64 (Steele, Lea and Flood, 2014): equal seeds, equal numbers, on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xd1b5_4a32_d192_ed03)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// An index into something that long.
    pub(crate) fn below(&mut self, length: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(length).unwrap()).unwrap()
    }

    /// True in `parts` of `whole` cases.
    pub(super) fn chance(&mut self, parts: u64, whole: u64) -> bool {
        self.next() % whole < parts
    }
}

/// A clock that lived without a pause up to `ns`.
pub(super) fn clock_at(ns: u64) -> LivedClock {
    let mut clock = LivedClock::new(0);
    let mut now_ns = 0;
    while now_ns < ns {
        now_ns = (now_ns + LIVED_PER_TURN_NS_MAX).min(ns);
        clock.turned(now_ns);
    }
    clock
}

/// The instant `ms` milliseconds after the beginning, of a process that lived all the while.
pub(super) fn at_ms(ms: u64) -> Lived {
    clock_at(ms * MS).now()
}

/// The only incarnation of a node that most tests need.
pub(super) fn member(node: u16) -> Member {
    Member {
        node: NodeId(node),
        incarnation: Incarnation(1_000 + u64::from(node)),
    }
}
