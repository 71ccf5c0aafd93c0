//! LZ4 for links over a distance: a frame's items become one block. Whether it pays is the link's policy, not this file's.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, IntoBytes};

use crate::checksum;
use crate::error::FrameError;
use crate::frame::{FLAG_COMPRESSED, FRAME_HEADER, FrameHeader};
use crate::padded;

/// Folds a finished frame in place when that makes it shorter; returns whether it did. `scratch` is for re-use.
///
/// # Panics
/// If `frame` is not a finished frame: a bug in this process.
pub fn fold(frame: &mut Vec<u8>, scratch: &mut Vec<u8>) -> bool {
    let items = frame.len() - FRAME_HEADER;
    scratch.resize(4 + lz4_flex::block::get_maximum_output_size(items), 0);
    let Ok(folded) = lz4_flex::block::compress_into(&frame[FRAME_HEADER..], &mut scratch[4..]) else {
        return false;
    };
    let length = padded(4 + folded);
    if length >= items {
        return false;
    }
    // The block's exact length stands before it: the frame's own length is rounded up to 16.
    let exact = u32::try_from(folded).expect("shorter than a frame");
    scratch[..4].copy_from_slice(&exact.to_le_bytes());
    scratch[4 + folded..length.max(4 + folded)].fill(0);
    scratch.resize(length, 0);
    let mut header = FrameHeader::read_from_bytes(&frame[..FRAME_HEADER]).expect("a finished frame");
    header.flags = U32::new(header.flags.get() | FLAG_COMPRESSED);
    header.length = U32::new(u32::try_from(length).expect("shorter than a frame"));
    header.checksum = U64::new(0);
    header.checksum = U64::new(checksum::frame(&header, scratch));
    frame.clear();
    frame.extend_from_slice(header.as_bytes());
    frame.extend_from_slice(scratch);
    true
}

/// Unfolds the items of a compressed frame whose checksum was found good. `raw_length` was checked against the connection's limit.
///
/// # Errors
/// `Compressed` if they do not unfold to exactly the length that the header states.
pub fn unfold(header: &FrameHeader, folded: &[u8], items: &mut Vec<u8>) -> Result<(), FrameError> {
    let (exact, block) = folded.split_first_chunk::<4>().ok_or(FrameError::Compressed)?;
    let exact = u32::from_le_bytes(*exact) as usize;
    let block = block.get(..exact).ok_or(FrameError::Compressed)?;
    items.resize(header.raw_length.get() as usize, 0);
    let unfolded = lz4_flex::block::decompress_into(block, items).map_err(|_| FrameError::Compressed)?;
    if unfolded != items.len() || !unfolded.is_multiple_of(16) {
        return Err(FrameError::Compressed);
    }
    Ok(())
}
