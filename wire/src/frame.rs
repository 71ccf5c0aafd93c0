//! The frame: a fixed header of 64 bytes, then items, each at a multiple of 16. One frame is what one link or connection sends at once.
//!
//! A [`FrameView`] is checked once and borrowed after: header, length, checksum and the chain of item headers hold for as long as it
//! lives. Unaligned bytes are fine, so a frame is read where it was received. Drawn byte by byte in `docs/frame_format.md`.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::FrameError;
use crate::item::{ITEM_HEADER, Item, Items};
use crate::{checksum, padded};

/// Bytes of a frame header.
pub const FRAME_HEADER: usize = 64;
/// Where the checksum stands in the header, the last field of all.
pub const CHECKSUM_AT: usize = 56;
/// `WPK1`, little-endian.
pub const MAGIC: u32 = u32::from_le_bytes(*b"WPK1");
/// The format that this release writes.
pub const FORMAT: u8 = 1;
/// The schema number of the bodies that this release writes.
pub const SCHEMA: u16 = 1;
/// The longest frame on an established connection, header included.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

/// The items are one LZ4 block; `raw_length` says what it unfolds to.
pub const FLAG_COMPRESSED: u32 = 1;
/// The frame carries Appends: it is numbered and will be acked.
pub const FLAG_NUMBERED: u32 = 2;
const FLAGS: u32 = FLAG_COMPRESSED | FLAG_NUMBERED;

/// Who talks to whom in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// Between the mailrooms of two nodes.
    Peer = 2,
    /// From a native client.
    Client = 3,
    /// To a native client.
    Node = 4,
}

impl FrameKind {
    fn parse(kind: u8) -> Option<FrameKind> {
        [FrameKind::Peer, FrameKind::Client, FrameKind::Node]
            .into_iter()
            .find(|k| *k as u8 == kind)
    }
}

/// The header as it is sent, little-endian.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FrameHeader {
    /// [`MAGIC`].
    pub magic: U32,
    /// [`FORMAT`].
    pub format: u8,
    /// A [`FrameKind`].
    pub kind: u8,
    /// Schema number of the bodies.
    pub schema: U16,
    /// `FLAG_*`.
    pub flags: U32,
    /// Bytes behind the header, as sent; a multiple of 16.
    pub length: U32,
    /// How many items they are.
    pub items: U32,
    /// Node id of the sender, 0 for a client.
    pub sender_node: U16,
    /// Node id of the receiver, 0 for a client.
    pub receiver_node: U16,
    /// Incarnation of the sender.
    pub sender_incarnation: U64,
    /// Incarnation of the receiver.
    pub receiver_incarnation: U64,
    /// Number of the frame within its link epoch, from 1; 0 if it is not numbered.
    pub number: U64,
    /// The link's epoch, as the handshake set it; 0 on connections of clients.
    pub epoch: U32,
    /// Bytes behind the header once unfolded; equal to `length` unless compressed.
    pub raw_length: U32,
    /// See [`checksum::frame`].
    pub checksum: U64,
}

const _: () = assert!(size_of::<FrameHeader>() == FRAME_HEADER);

impl FrameHeader {
    /// Bytes of the whole frame.
    #[must_use]
    pub fn frame_bytes(&self) -> usize {
        FRAME_HEADER + self.length.get() as usize
    }

    /// Checks what can be checked before the rest has come, so that nothing is reserved for a length that is not allowed.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, frame_bytes_max: usize) -> Result<FrameKind, FrameError> {
        if self.magic.get() != MAGIC {
            return Err(FrameError::Magic);
        }
        if self.format != FORMAT {
            return Err(FrameError::Version);
        }
        let kind = FrameKind::parse(self.kind).ok_or(FrameError::Kind)?;
        if self.schema.get() != SCHEMA {
            return Err(FrameError::Schema);
        }
        let flags = self.flags.get();
        if flags & !FLAGS != 0 || (flags & FLAG_NUMBERED != 0) != (self.number.get() != 0) {
            return Err(FrameError::Flags);
        }
        if self.frame_bytes() > frame_bytes_max || FRAME_HEADER + self.raw_length.get() as usize > frame_bytes_max {
            return Err(FrameError::TooLong);
        }
        let length = self.length.get();
        if !length.is_multiple_of(16) || (flags & FLAG_COMPRESSED == 0 && self.raw_length.get() != length) {
            return Err(FrameError::Length);
        }
        Ok(kind)
    }
}

/// A frame whose bytes were found good.
#[derive(Clone, Copy, Debug)]
pub struct FrameView<'a> {
    /// Its header.
    pub header: &'a FrameHeader,
    /// Whose frame it is.
    pub kind: FrameKind,
    items: &'a [u8],
}

impl<'a> FrameView<'a> {
    /// Checks a whole, uncompressed frame: header, length, checksum, and that its items fill it exactly.
    ///
    /// # Errors
    /// The first thing that is wrong; nothing was acted on. `Compressed` if the frame has to be unfolded first
    /// ([`crate::framer::Framer`] does).
    pub fn new_checked(bytes: &'a [u8], frame_bytes_max: usize) -> Result<FrameView<'a>, FrameError> {
        let (header, items) = FrameHeader::ref_from_prefix(bytes).map_err(|_| FrameError::Length)?;
        let kind = header.check(frame_bytes_max)?;
        if items.len() != header.length.get() as usize {
            return Err(FrameError::Length);
        }
        if header.flags.get() & FLAG_COMPRESSED != 0 {
            return Err(FrameError::Compressed);
        }
        if checksum::frame(header, items) != header.checksum.get() {
            return Err(FrameError::Checksum);
        }
        Self::over(header, kind, items)
    }

    /// A view over items that were unfolded from a frame whose checksum was found good.
    ///
    /// # Errors
    /// `ItemLength`, `ItemKind` or `ItemCount` if the items do not fill the bytes.
    pub fn over(header: &'a FrameHeader, kind: FrameKind, items: &'a [u8]) -> Result<FrameView<'a>, FrameError> {
        let mut walk = Items { rest: items };
        let mut count = 0;
        while let Some(item) = walk.step()? {
            item.kind_checked()?;
            count += 1;
        }
        if count != header.items.get() {
            return Err(FrameError::ItemCount);
        }
        Ok(FrameView { header, kind, items })
    }

    /// The items in the order in which they were sent.
    pub fn items(&self) -> impl Iterator<Item = Item<'a>> + Clone + use<'a> {
        let mut walk = Items { rest: self.items };
        // Checked when the view was made: a step cannot fail any more.
        std::iter::from_fn(move || walk.step().ok().flatten())
    }
}

/// Where a frame stands in a buffer while items are pushed behind its header.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameBuilder {
    items: u32,
}

impl FrameBuilder {
    /// Begins a frame at the start of `bytes`, which must be empty.
    ///
    /// # Panics
    /// If `bytes` is not empty: a bug in this process.
    pub fn begin(bytes: &mut Vec<u8>) -> FrameBuilder {
        assert!(bytes.is_empty(), "a frame begins in an empty buffer");
        bytes.resize(FRAME_HEADER, 0);
        FrameBuilder { items: 0 }
    }

    /// How many items were pushed.
    #[must_use]
    pub fn items(&self) -> u32 {
        self.items
    }

    /// Counts an item that the caller has written and padded to 16.
    pub fn pushed(&mut self) {
        self.items += 1;
    }

    /// Pushes an item: its fixed part and one variable part. Padding is added.
    pub fn push(&mut self, bytes: &mut Vec<u8>, fixed: &[u8], variable: &[u8]) {
        debug_assert!(fixed.len() >= ITEM_HEADER && bytes.len().is_multiple_of(16));
        bytes.extend_from_slice(fixed);
        bytes.extend_from_slice(variable);
        bytes.resize(padded(bytes.len()), 0);
        self.items += 1;
    }

    /// Fills in the header of a frame that lies in `bytes` whole.
    ///
    /// # Panics
    /// If the frame is longer than 4 GiB: a bug in this process.
    pub fn finish(self, bytes: &mut [u8], address: &FrameAddress) {
        let header = self.header(address, bytes.len() - FRAME_HEADER);
        let sum = checksum::frame(&header, &bytes[FRAME_HEADER..]);
        bytes[..FRAME_HEADER].copy_from_slice(
            FrameHeader {
                checksum: U64::new(sum),
                ..header
            }
            .as_bytes(),
        );
    }

    /// The header for items of `length` bytes, its checksum still zero.
    ///
    /// # Panics
    /// If `length` does not fit 32 bits: a bug in this process.
    #[must_use]
    pub fn header(self, address: &FrameAddress, length: usize) -> FrameHeader {
        let length = u32::try_from(length).expect("frames are bounded far below 4 GiB");
        FrameHeader {
            magic: U32::new(MAGIC),
            format: FORMAT,
            kind: address.kind as u8,
            schema: U16::new(SCHEMA),
            flags: U32::new(if address.number == 0 { 0 } else { FLAG_NUMBERED }),
            length: U32::new(length),
            items: U32::new(self.items),
            sender_node: U16::new(address.sender.0),
            receiver_node: U16::new(address.receiver.0),
            sender_incarnation: U64::new(address.sender.1),
            receiver_incarnation: U64::new(address.receiver.1),
            number: U64::new(address.number),
            epoch: U32::new(address.epoch),
            raw_length: U32::new(length),
            checksum: U64::new(0),
        }
    }
}

/// What a frame's header says of its way.
#[derive(Clone, Copy, Debug)]
pub struct FrameAddress {
    /// Whose frame it is.
    pub kind: FrameKind,
    /// Node id and incarnation of the sender; zeros for a client.
    pub sender: (u16, u64),
    /// Node id and incarnation of the receiver; zeros for a client.
    pub receiver: (u16, u64),
    /// Number within the link epoch, 0 for none.
    pub number: u64,
    /// The link's epoch.
    pub epoch: u32,
}

impl FrameAddress {
    /// What a client says of its frames; zeros for the receiver where it does not know the process that it speaks to.
    #[must_use]
    pub const fn of_client(receiver: (u16, u64)) -> FrameAddress {
        FrameAddress {
            kind: FrameKind::Client,
            sender: (0, 0),
            receiver,
            number: 0,
            epoch: 0,
        }
    }
}
