//! Items: what a frame is made of. Each begins with the same 16 bytes, so that a reader can step over one without knowing its kind.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::FrameError;
use crate::padded;

/// Bytes of an item header.
pub const ITEM_HEADER: usize = 16;

/// The first 16 bytes of every item.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ItemHeader {
    /// An [`ItemKind`].
    pub kind: u8,
    /// By kind.
    pub flags: u8,
    /// By kind: entries of a run, bytes of a key, exceptions of an ack.
    pub count: U16,
    /// Bytes of the item with this header, before padding.
    pub length: U32,
    /// The group that it is about, or 0.
    pub group: U32,
    /// By kind.
    pub aux: U32,
}

const _: () = assert!(size_of::<ItemHeader>() == ITEM_HEADER);

impl ItemHeader {
    /// Writes the header alone behind the items in `bytes`; its body and padding follow by the caller.
    pub fn push(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self.as_bytes());
    }
}

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ItemKind {
    /// A run of entries of one group ([`crate::run`]).
    Append = 1,
    /// All frames up to a number are answered ([`crate::link`]).
    Acked = 2,
    /// A request for an actor ([`crate::request`]).
    Request = 3,
    /// Its reply ([`crate::reply`]).
    Reply = 4,
    /// A Config offered to a member at the birth of its group ([`crate::body::ConfigBody`]).
    Birth = 5,
    /// A member holds exactly this Config ([`crate::link::Adopted`]).
    Adopted = 6,
    /// A member refuses a Config, with the incarnation that stands against it ([`crate::link::BirthRefused`]).
    BirthRefused = 7,
    /// How far a group is committed, sent where no run carries it ([`crate::link::Commit`]).
    Commit = 8,
    /// A sign of life ([`crate::link::Heartbeat`]).
    Heartbeat = 9,
    /// A piece of an item that is longer than 64 KiB ([`crate::link::PartHeader`]).
    Part = 10,
    /// The receiver's process is out: a Config names an older incarnation of its name ([`crate::link::Out`]).
    Out = 11,
    /// Asks for the committed entries of a group ([`crate::link::ReadBack`]).
    ReadBack = 12,
    /// The end of a read-back portion ([`crate::link::ReadBackEnd`]).
    ReadBackEnd = 13,
    /// Asks for a document of the node, or gives it an order ([`crate::link::Ask`]).
    Ask = 14,
    /// The document ([`crate::body`]).
    Document = 15,
    /// Why this connection is about to be closed ([`crate::link::Refusal`]).
    Refusal = 16,
    /// The opener of a view asks a member for its promise ([`crate::link::Seal`]).
    Seal = 17,
    /// The promise, with what the member holds ([`crate::link::Sealed`]).
    Sealed = 18,
    /// What a member of a view has to hold ([`crate::link::Adopt`]).
    Adopt = 19,
    /// Asks for a part of a log ([`crate::link::Fetch`]).
    Fetch = 20,
    /// A part of a log ([`crate::link::Piece`]).
    Piece = 21,
    /// A member has promised a newer view ([`crate::link::Nack`]).
    Nack = 22,
    /// A writer asks a member whether views stand there ([`crate::link::Confirm`]).
    Confirm = 23,
    /// They stand ([`crate::link::Confirmed`]).
    Confirmed = 24,
    /// A follower asks its writer for a round of confirmations ([`crate::link::Echo`]).
    Echo = 25,
    /// That round is over ([`crate::link::Echoed`]).
    Echoed = 26,
    /// What one node's controller says to another's: opaque to shards ([`crate::link::push_control`]).
    Control = 27,
    /// What a member's state was after an entry ([`crate::link::StateHash`]).
    StateHash = 28,
}

impl ItemKind {
    /// Every kind there is.
    pub const ALL: [ItemKind; 28] = [
        ItemKind::Append,
        ItemKind::Acked,
        ItemKind::Request,
        ItemKind::Reply,
        ItemKind::Birth,
        ItemKind::Adopted,
        ItemKind::BirthRefused,
        ItemKind::Commit,
        ItemKind::Heartbeat,
        ItemKind::Part,
        ItemKind::Out,
        ItemKind::ReadBack,
        ItemKind::ReadBackEnd,
        ItemKind::Ask,
        ItemKind::Document,
        ItemKind::Refusal,
        ItemKind::Seal,
        ItemKind::Sealed,
        ItemKind::Adopt,
        ItemKind::Fetch,
        ItemKind::Piece,
        ItemKind::Nack,
        ItemKind::Confirm,
        ItemKind::Confirmed,
        ItemKind::Echo,
        ItemKind::Echoed,
        ItemKind::Control,
        ItemKind::StateHash,
    ];

    /// The kind with this number.
    #[must_use]
    pub fn parse(kind: u8) -> Option<ItemKind> {
        let index = usize::from(kind).checked_sub(1)?;
        Self::ALL.get(index).copied()
    }
}

/// One item of a checked frame.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// Its header.
    pub header: &'a ItemHeader,
    /// All its bytes, header first, without padding.
    pub bytes: &'a [u8],
}

impl<'a> Item<'a> {
    /// A single item that came by another way than a frame (a ring between shards, parts put together).
    ///
    /// # Errors
    /// `ItemLength` or `ItemKind`.
    pub fn new_checked(bytes: &'a [u8]) -> Result<Item<'a>, FrameError> {
        let item = Items { rest: bytes }.step()?.ok_or(FrameError::ItemLength)?;
        item.kind_checked()?;
        Ok(item)
    }

    /// A single item without the padding behind it, as parts put together make it.
    ///
    /// # Errors
    /// `ItemLength` or `ItemKind`.
    pub fn new_checked_unpadded(bytes: &'a [u8]) -> Result<Item<'a>, FrameError> {
        let (header, _) = ItemHeader::ref_from_prefix(bytes).map_err(|_| FrameError::ItemLength)?;
        if header.length.get() as usize != bytes.len() {
            return Err(FrameError::ItemLength);
        }
        let item = Item { header, bytes };
        item.kind_checked()?;
        Ok(item)
    }

    /// Its kind.
    ///
    /// # Panics
    /// Never on an item of a checked frame.
    #[must_use]
    pub fn kind(&self) -> ItemKind {
        ItemKind::parse(self.header.kind).expect("checked with the frame")
    }

    pub(crate) fn kind_checked(&self) -> Result<ItemKind, FrameError> {
        ItemKind::parse(self.header.kind).ok_or(FrameError::ItemKind)
    }

    /// The item's fixed part.
    ///
    /// # Errors
    /// `ItemLength` if the item is shorter.
    pub fn fixed<T: FromBytes + KnownLayout + Immutable + Unaligned>(&self) -> Result<(&'a T, &'a [u8]), FrameError> {
        T::ref_from_prefix(self.bytes).map_err(|_| FrameError::ItemLength)
    }

    /// What follows the item header.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        &self.bytes[ITEM_HEADER..]
    }
}

/// A walk over the items of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Items<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Items<'a> {
    /// A walk over bytes that hold items one behind the other.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Items<'a> {
        Items { rest: bytes }
    }

    /// The next item, `None` at the end.
    ///
    /// # Errors
    /// `ItemLength` if an item reaches beyond the bytes.
    pub fn step(&mut self) -> Result<Option<Item<'a>>, FrameError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (header, _) = ItemHeader::ref_from_prefix(self.rest).map_err(|_| FrameError::ItemLength)?;
        let length = header.length.get() as usize;
        let stride = padded(length);
        if length < ITEM_HEADER || stride > self.rest.len() {
            return Err(FrameError::ItemLength);
        }
        let item = Item {
            header,
            bytes: &self.rest[..length],
        };
        self.rest = &self.rest[stride..];
        Ok(Some(item))
    }
}
