//! Randomness from a seed alone, cheap enough to be drawn many times per message.
//!
//! SplitMix64, as in the tests' kit, which cannot be used here: the kit stands on core and the handlers, and a generator of bytes must not.
//! **Invariant:** integers only. No float and no library of the host decides, so equal seeds give equal numbers on every machine.

/// A small generator of numbers.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    /// The generator of a seed.
    pub(super) fn new(seed: u64) -> Rng {
        Rng(mix(seed ^ 0xD1B5_4A32_D192_ED03))
    }

    /// The next number.
    #[inline]
    pub(super) fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `bound`, 0 if that is 0. By multiplication: a division would cost more than the number.
    #[inline]
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.word()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("below a 64-bit bound")
    }

    /// An index into something that long.
    #[inline]
    pub(super) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("below a usize")
    }

    /// A count from `least` to `most`, both included.
    #[inline]
    pub(super) fn count(&mut self, least: usize, most: usize) -> usize {
        least + self.index(most.saturating_sub(least) + 1)
    }

    /// True in so many of a million cases.
    #[inline]
    pub(super) fn ppm(&mut self, parts: u32) -> bool {
        self.below(1_000_000) < u64::from(parts)
    }

    /// A time with this mean: short in seven of ten cases and long in three, as work on a ward comes in bursts.
    #[inline]
    pub(super) fn gap(&mut self, mean: u64) -> u64 {
        // The means of the two are 0.3 and 2.633: 0.7 × 0.3 + 0.3 × 2.633 = 1.
        let (least, most) = if self.ppm(700_000) { (20, 580) } else { (1_000, 4_267) };
        let permille = least + self.below(most - least + 1);
        let wide = u128::from(mean) * u128::from(permille) / 1_000;
        u64::try_from(wide).unwrap_or(u64::MAX)
    }
}

/// Spreads a number over all 64 bits.
#[inline]
pub(super) fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_numbers_and_others_do_not() {
        let draw = |seed| {
            let mut rng = Rng::new(seed);
            (0..100).map(|_| rng.word()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn numbers_stay_below_their_bound_and_reach_every_value() {
        let mut rng = Rng::new(3);
        let mut seen = [0; 10];
        for _ in 0..10_000 {
            seen[rng.index(10)] += 1;
        }
        assert!(seen.iter().all(|count| (800..1_200).contains(count)), "{seen:?}");
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.count(4, 4), 4);
    }

    #[test]
    fn gaps_have_their_mean() {
        let mut rng = Rng::new(9);
        let sum: u64 = (0..200_000).map(|_| rng.gap(10_000)).sum();
        assert!((9_900..10_100).contains(&(sum / 200_000)), "{}", sum / 200_000);
        assert!(rng.gap(u64::MAX) > 0, "no overflow");
    }
}
