//! Randomness from a seed alone (xorshift64*): equal seeds, equal bytes, on every machine.

/// The generator.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The generator of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Rng {
        // Zero is the one state that a xorshift never leaves.
        Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next number.
    pub fn word(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`.
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from((self.word() >> 11) % bound as u64).expect("below a usize")
    }

    /// True once in `n`.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of several.
    ///
    /// # Panics
    /// If there is none.
    pub fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// One of several samples.
    ///
    /// # Panics
    /// If there is none.
    pub fn sample<'a>(&mut self, samples: &'a [Vec<u8>]) -> &'a [u8] {
        self.one_of::<Vec<u8>>(samples)
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        self.word().to_le_bytes()[7]
    }

    /// Up to `bytes_max` random bytes.
    pub fn bytes(&mut self, bytes_max: usize) -> Vec<u8> {
        let length = self.below(bytes_max + 1);
        (0..length).map(|_| self.byte()).collect()
    }
}
