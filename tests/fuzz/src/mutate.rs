//! Small damage to valid bytes, and the repair of lengths and sums that lets a damaged inside get past the outer
//! checks.

use waterpark_wire::checksum;
use waterpark_wire::frame::{FLAG_COMPRESSED, FRAME_HEADER, FrameHeader};
use waterpark_wire::run::{HASHED_FROM, RUN_HEADER};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, IntoBytes};

use crate::rng::Rng;

/// Numbers at which comparisons and additions turn over.
const EDGES: [u64; 14] = [
    0,
    1,
    2,
    15,
    16,
    17,
    63,
    64,
    0x7F,
    0xFF,
    0xFFFF,
    0x7FFF_FFFF,
    0xFFFF_FFFF,
    u64::MAX,
];

/// Damages `bytes` in one to four places; `other` lends pieces.
pub fn damage(rng: &mut Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..=rng.below(4) {
        damage_once(rng, bytes, other);
    }
}

fn damage_once(rng: &mut Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    if bytes.is_empty() {
        *bytes = rng.bytes(64);
        return;
    }
    let at = place(rng, bytes.len());
    match rng.below(8) {
        0 => bytes[at] ^= 1 << rng.below(8),
        1 => bytes[at] = rng.byte(),
        2 => bytes.truncate(at),
        3 => {
            let tail = rng.bytes(40);
            bytes.extend_from_slice(&tail);
        }
        4 => splice(rng, bytes, other, at),
        // Lengths, counts and numbers stand at multiples of their size.
        _ => number(rng, bytes, at),
    }
}

/// Half of all damage hits the first 128 bytes, where headers are.
fn place(rng: &mut Rng, length: usize) -> usize {
    let reach = if rng.once_in(2) { length.min(128) } else { length };
    rng.below(reach)
}

fn splice(rng: &mut Rng, bytes: &mut Vec<u8>, other: &[u8], at: usize) {
    if other.is_empty() {
        return;
    }
    let from = rng.below(other.len());
    let piece = &other[from..(from + 1 + rng.below(64)).min(other.len())];
    if rng.once_in(2) {
        let end = (at + piece.len()).min(bytes.len());
        bytes.splice(at..end, piece.iter().copied());
    } else {
        bytes.splice(at..at, piece.iter().copied());
    }
}

fn number(rng: &mut Rng, bytes: &mut [u8], at: usize) {
    let size = *rng.one_of(&[1, 2, 4, 8]);
    let at = at / size * size;
    let Some(field) = bytes.get_mut(at..at + size) else {
        return;
    };
    let mut word = [0; 8];
    word[..size].copy_from_slice(field);
    let old = u64::from_le_bytes(word);
    let new = match rng.below(4) {
        0 => old.wrapping_add(1),
        1 => old.wrapping_sub(1),
        2 => old.wrapping_add(16),
        _ => *rng.one_of(&EDGES),
    };
    field.copy_from_slice(&new.to_le_bytes()[..size]);
}

/// Sets a frame's lengths to what is there, mostly, and its checksum right, nearly always.
///
/// # Panics
/// Never on frames below 4 GiB.
pub fn mend_frame(rng: &mut Rng, bytes: &mut [u8]) {
    let Ok(mut header) = FrameHeader::read_from_bytes(bytes.get(..FRAME_HEADER).unwrap_or_default()) else {
        return;
    };
    if !rng.once_in(3) {
        header.length = U32::new(u32::try_from(bytes.len() - FRAME_HEADER).expect("samples are small"));
        if header.flags.get() & FLAG_COMPRESSED == 0 {
            header.raw_length = header.length;
        }
    }
    if !rng.once_in(16) {
        // What stands behind the stated length is the next frame's.
        let end = header.frame_bytes().min(bytes.len());
        header.checksum = U64::new(checksum::frame(&header, &bytes[FRAME_HEADER..end]));
    }
    bytes[..FRAME_HEADER].copy_from_slice(header.as_bytes());
}

/// Sets a run's length to what is there, mostly, and its hash right, nearly always.
///
/// # Panics
/// Never on runs below 4 GiB.
pub fn mend_run(rng: &mut Rng, bytes: &mut [u8]) {
    if bytes.len() < RUN_HEADER {
        return;
    }
    if !rng.once_in(3) {
        mend_item(bytes);
    }
    if !rng.once_in(16) {
        let hash = checksum::chain(&bytes[HASHED_FROM..]);
        bytes[16..HASHED_FROM].copy_from_slice(&hash.to_le_bytes());
    }
}

/// Sets the length of the item that `bytes` are.
///
/// # Panics
/// Never on items below 4 GiB.
pub fn mend_item(bytes: &mut [u8]) {
    let length = u32::try_from(bytes.len()).expect("samples are small");
    if let Some(field) = bytes.get_mut(4..8) {
        field.copy_from_slice(&length.to_le_bytes());
    }
}
