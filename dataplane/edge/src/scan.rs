//! Finds bytes in long texts. It knows nothing of what they mean.
//!
//! A message of 4 KiB is looked through twice, for its frame's end and for its line ends, so a byte at a time would cost more than all the
//! rest. Whole pieces are compared without branches, which the compiler turns into vector instructions, and only a piece with a hit is
//! looked at again.

/// Bytes that are compared before a branch.
const PIECE: usize = 64;
/// Bytes of a word, in which the first hit is found by arithmetic.
const WORD: usize = 8;

/// Where the first byte stands that is `one` or `other`.
#[inline]
pub(crate) fn either(bytes: &[u8], one: u8, other: u8) -> Option<usize> {
    let (pieces, rest) = bytes.as_chunks::<PIECE>();
    for (number, piece) in pieces.iter().enumerate() {
        if is_in(piece, one, other) {
            return in_words(piece, one, other).map(|at| number * PIECE + at);
        }
    }
    in_words(rest, one, other).map(|at| pieces.len() * PIECE + at)
}

/// Whether a piece holds one of two bytes. Every byte is compared, because a loop that may end early is not turned into vectors.
#[inline]
fn is_in(piece: &[u8; PIECE], one: u8, other: u8) -> bool {
    let mut found = 0;
    for byte in piece {
        found |= u8::from(*byte == one) | u8::from(*byte == other);
    }
    found != 0
}

#[inline]
fn in_words(bytes: &[u8], one: u8, other: u8) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<WORD>();
    for (number, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let hits = zeros(word ^ spread(one)) | zeros(word ^ spread(other));
        if hits != 0 {
            return Some(number * WORD + hits.trailing_zeros() as usize / 8);
        }
    }
    let is_it = |byte: &u8| *byte == one || *byte == other;
    rest.iter().position(is_it).map(|at| words.len() * WORD + at)
}

/// A byte in all eight places of a word.
const fn spread(byte: u8) -> u64 {
    byte as u64 * 0x0101_0101_0101_0101
}

/// The high bit of the lowest byte of a word that is zero. Higher bits may be wrong: a borrow runs upwards only.
#[inline]
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(spread(1)) & !word & spread(0x80)
}

/// Whether a byte ends a line.
#[inline]
pub(crate) fn is_line_end(byte: u8) -> bool {
    byte == b'\r' || byte == b'\n'
}

/// Where the first line end stands.
#[inline]
pub(crate) fn line_end(bytes: &[u8]) -> Option<usize> {
    either(bytes, b'\r', b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_two_bytes_is_found_at_every_place_and_length() {
        for length in 0..200 {
            assert_eq!(either(&vec![b'x'; length], b'a', b'b'), None);
            for at in 0..length {
                let mut bytes = vec![b'x'; length];
                bytes[at] = b'b';
                assert_eq!(either(&bytes, b'a', b'b'), Some(at));
                bytes[at / 2] = b'a';
                assert_eq!(either(&bytes, b'a', b'b'), Some(at / 2));
            }
        }
    }

    #[test]
    fn every_byte_is_told_from_every_other() {
        for wanted in 0..=255_u8 {
            for other in 0..=255_u8 {
                let bytes = [other, wanted.wrapping_add(1), wanted, other, 0, 1, 0x7F, 0x80, 0xFF];
                let expected = bytes.iter().position(|byte| *byte == wanted);
                assert_eq!(either(&bytes, wanted, wanted), expected);
            }
        }
    }
}
