//! The sums: a frame's checksum, a run's chain hash, and that of a tool's own bytes. Against accidents, not against attackers: who may speak at all is decided
//! by the handshake.

use std::hash::Hasher;

use twox_hash::{XxHash3_64, XxHash3_128};

use crate::frame::{CHECKSUM_AT, FrameHeader};
use zerocopy::IntoBytes;

/// The checksum of a frame: xxh3-64 of its items as sent, seeded with xxh3-64 of the header before the checksum field.
#[must_use]
pub fn frame(header: &FrameHeader, items: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(seed(header), items)
}

/// The same sum over items that lie in several places, in the order in which they are sent.
#[must_use]
pub fn frame_of_parts<'a>(header: &FrameHeader, parts: impl Iterator<Item = &'a [u8]>) -> u64 {
    let mut sum = XxHash3_64::with_seed(seed(header));
    parts.for_each(|part| sum.write(part));
    sum.finish()
}

fn seed(header: &FrameHeader) -> u64 {
    XxHash3_64::oneshot(&header.as_bytes()[..CHECKSUM_AT])
}

/// xxh3-64 of bytes that are no part of a frame: what tools mark their own messages with.
#[must_use]
pub fn bytes(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}

/// xxh3-128 of the state of a group, as it travels from one member to another.
#[must_use]
pub fn state(bytes: &[u8]) -> u128 {
    XxHash3_128::oneshot(bytes)
}

/// The chain hash of a run: xxh3-128 over everything behind the hash field, which begins with the view, the first seq, the time and the
/// previous run's hash (its low 64 bits), and goes on with the entries as they lie in the log.
#[must_use]
pub fn chain(run_behind_hash: &[u8]) -> u128 {
    XxHash3_128::oneshot(run_behind_hash)
}
