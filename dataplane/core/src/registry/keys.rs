//! The keys of one group's actors, one behind the other in blocks.
//!
//! It knows neither actors nor hashes. The first block begins small and doubles until it is a whole one. **Invariant:** a key lies in one
//! block, with its length in two bytes before it, and stays where it was put in it; a block holds no more than was set aside for it.

use crate::memory::Memory;

/// Bytes of a block. Longer than any key, and short enough that the one that is being filled costs little.
const BLOCK_BYTES: usize = 1 << BLOCK_BITS;
const BLOCK_BITS: u32 = 15;
/// Bytes that a group's first block has room for from the beginning.
const FIRST_BYTES: usize = 256;

const _: () = assert!(
    (BLOCK_BYTES / FIRST_BYTES).is_power_of_two(),
    "it doubles to a whole block"
);

/// All keys of a group.
#[derive(Debug, Default)]
pub(super) struct Keys {
    blocks: Vec<Vec<u8>>,
}

impl Keys {
    /// Puts a key behind the others; where it lies. `None` if it is longer than a block, or all that 32 bits name is full.
    pub(super) fn put(&mut self, key: &[u8]) -> Option<u32> {
        let length = u16::try_from(key.len()).ok()?;
        let bytes = key.len() + size_of_val(&length);
        if bytes > BLOCK_BYTES {
            return None;
        }
        let fits = self
            .blocks
            .last()
            .is_some_and(|block| block.len() + bytes <= BLOCK_BYTES);
        if !fits {
            if self.blocks.len() >= 1 << (u32::BITS - BLOCK_BITS) {
                return None;
            }
            let bytes = if self.blocks.is_empty() {
                FIRST_BYTES
            } else {
                BLOCK_BYTES
            };
            self.blocks.push(Vec::with_capacity(bytes));
        }
        let block = self.blocks.last_mut().expect("pushed above");
        let offset = block.len();
        if offset + bytes > block.capacity() {
            // Doubled as often as it takes: powers of two up to the whole block that was made sure of above.
            block.reserve_exact((offset + bytes).next_power_of_two() - offset);
        }
        block.extend_from_slice(&length.to_le_bytes());
        block.extend_from_slice(key);
        let at = (self.blocks.len() - 1) << BLOCK_BITS | offset;
        Some(u32::try_from(at).expect("as many blocks as 32 bits name"))
    }

    /// Bytes set aside for all blocks.
    pub(super) fn table_bytes(&self) -> usize {
        self.blocks.iter().map(Vec::capacity).sum()
    }

    /// The bytes from a key's length on, to the end of its block.
    #[inline]
    fn from(&self, at: u32) -> &[u8] {
        let block = &self.blocks[(at >> BLOCK_BITS) as usize];
        &block[at as usize % BLOCK_BYTES..]
    }

    /// The key that was put there.
    ///
    /// # Panics
    /// If no key was: a bug in this process.
    #[inline]
    pub(super) fn key(&self, at: u32) -> &[u8] {
        let (length, rest) = self.from(at).split_first_chunk::<2>().expect("written with its length");
        &rest[..usize::from(u16::from_le_bytes(*length))]
    }

    /// Asks for a key of which nothing is known: most are shorter than half a line.
    #[inline]
    pub(super) fn ask<M: Memory>(&self, at: u32) {
        let bytes = self.from(at);
        M::ask_ahead(&bytes[..bytes.len().min(32)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_where_they_were_put_and_none_lies_across_two_blocks() {
        let mut keys = Keys::default();
        let key = |number: usize| vec![u8::try_from(number % 251).unwrap(); number % 513];
        let at: Vec<u32> = (0..3_000).map(|number| keys.put(&key(number)).unwrap()).collect();
        for (number, at) in at.iter().enumerate() {
            assert_eq!(keys.key(*at), key(number));
        }
        assert!(keys.blocks.len() > 20);
        assert!(keys.blocks.iter().all(|block| block.capacity() == BLOCK_BYTES));
    }

    #[test]
    fn the_first_block_doubles_as_it_fills() {
        let mut keys = Keys::default();
        assert_eq!(keys.table_bytes(), 0);
        let mut seen = Vec::new();
        while keys.blocks.len() < 2 {
            keys.put(&[7; 29]).unwrap();
            let bytes = keys.blocks[0].capacity();
            assert!(bytes == FIRST_BYTES || bytes < 2 * keys.blocks[0].len());
            if seen.last() != Some(&bytes) {
                seen.push(bytes);
            }
        }
        assert_eq!(seen, [256, 512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768]);
        let mut keys = Keys::default();
        keys.put(&[1; 5_000]).unwrap();
        assert_eq!(keys.table_bytes(), 8_192, "a long key takes several steps at once");
    }

    #[test]
    fn what_is_longer_than_a_block_is_refused_and_changes_nothing() {
        let mut keys = Keys::default();
        keys.put(b"first").unwrap();
        assert_eq!(keys.put(&[1; BLOCK_BYTES - 1]), None);
        assert_eq!(keys.put(&vec![1; 70_000]), None);
        let at = keys.put(&[2; BLOCK_BYTES - 2]).unwrap();
        assert_eq!(keys.key(at), [2; BLOCK_BYTES - 2]);
        let at = keys.put(b"last").unwrap();
        assert_eq!(keys.key(at), b"last");
    }
}
