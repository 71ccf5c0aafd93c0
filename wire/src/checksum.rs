//! The two sums: a frame's checksum and a run's chain hash. Against accidents, not against attackers: who may speak at all is decided
//! by the handshake.

use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_64_with_seed, xxh3_128};

use crate::frame::{CHECKSUM_AT, FrameHeader};
use zerocopy::IntoBytes;

/// The checksum of a frame: xxh3-64 of its items as sent, seeded with xxh3-64 of the header before the checksum field.
#[must_use]
pub fn frame(header: &FrameHeader, items: &[u8]) -> u64 {
    xxh3_64_with_seed(items, xxh3_64(&header.as_bytes()[..CHECKSUM_AT]))
}

/// The same sum over items that lie in several places, in the order in which they are sent.
#[must_use]
pub fn frame_of_parts<'a>(header: &FrameHeader, parts: impl Iterator<Item = &'a [u8]>) -> u64 {
    let mut sum = Xxh3::with_seed(xxh3_64(&header.as_bytes()[..CHECKSUM_AT]));
    parts.for_each(|part| sum.update(part));
    sum.digest()
}

/// The chain hash of a run: xxh3-128 over everything behind the hash field, which begins with the view, the first seq, the time and the
/// previous run's hash (its low 64 bits), and goes on with the entries as they lie in the log.
#[must_use]
pub fn chain(run_behind_hash: &[u8]) -> u128 {
    xxh3_128(run_behind_hash)
}
