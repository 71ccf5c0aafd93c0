//! A request: one message for one actor, or a question about it. Passed on between mailrooms unopened: a hop rewrites a few words of the
//! fixed part and touches neither key nor message.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::FrameError;
use crate::item::{Item, ItemHeader, ItemKind};
use crate::padded;

/// Bytes of a request before its key.
pub const REQUEST_HEADER: usize = 64;

/// The request was passed on by a mailroom: `correlation` names that mailroom's row, `key_hash` is filled in.
pub const FORWARDED: u8 = 1;
/// Another copy of this request may have been sent: a refusal is not definite.
pub const SENT_BEFORE: u8 = 2;
/// A lost writer held this request.
pub const SUSPECT: u8 = 4;
/// A read that this very member answers, whoever the writer is.
pub const HERE: u8 = 8;
const FLAGS: u8 = FORWARDED | SENT_BEFORE | SUSPECT | HERE;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Operation {
    /// Runs the actor's handler on the message and logs it.
    Send = 0,
    /// Takes the number if no copy of it took effect; answers with its reply if one did.
    Void = 1,
    /// The actor's state as its kind shows it.
    Get = 2,
    /// The actor's entries; the message is a [`HistoryRange`].
    History = 3,
    /// Where the actor's group lives and how far each member holds it.
    Where = 4,
}

impl Operation {
    /// Every operation there is.
    pub const ALL: [Operation; 5] = [
        Operation::Send,
        Operation::Void,
        Operation::Get,
        Operation::History,
        Operation::Where,
    ];

    /// Whether it takes a number in a lane.
    #[must_use]
    pub fn is_numbered(self) -> bool {
        matches!(self, Operation::Send | Operation::Void)
    }
}

/// The fixed part of a request.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RequestHeader {
    /// Kind `Request`; flags of this module; `count` bytes of key; the group as the sender computed it; `aux` bytes of message.
    pub item: ItemHeader,
    /// The session: birth second, order bit, random.
    pub session: [u8; 16],
    /// Given back in the reply, unchanged.
    pub correlation: U64,
    /// The hash of the key; filled in by the first mailroom, which never believes a client's.
    pub key_hash: U64,
    /// The request's number in its lane (session and group), from 1; 0 for a read.
    pub number: U32,
    /// All numbers below are answered or given up. For a linearizable read in an ordered session: the last number that was sent in its
    /// lane, after which it is computed; 0 if it waits for none.
    pub mark: U32,
    /// Milliseconds that are left, from when the sender wrote this.
    pub timeout_ms: U32,
    /// Hops between nodes so far.
    pub hops: u8,
    /// An [`Operation`].
    pub operation: u8,
    /// For a read: how fresh (see [`ReadLevel`]).
    pub level: u8,
    /// Zero.
    pub reserved: u8,
}

const _: () = assert!(size_of::<RequestHeader>() == REQUEST_HEADER);

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ReadLevel {
    /// At the writer: after the commit of everything that it was computed from, and once enough followers have confirmed its view.
    Linearizable = 0,
    /// At any member, from its committed prefix.
    Any = 1,
    /// At any member that has committed what a token names. The message begins with a [`Freshness`].
    Session = 2,
    /// At any member that holds everything that was acked so many milliseconds ago. The message begins with a [`Freshness`].
    Bounded = 3,
}

impl ReadLevel {
    /// Every level there is.
    pub const ALL: [ReadLevel; 4] = [
        ReadLevel::Linearizable,
        ReadLevel::Any,
        ReadLevel::Session,
        ReadLevel::Bounded,
    ];

    /// Whether the message begins with a [`Freshness`].
    #[must_use]
    pub fn has_freshness(self) -> bool {
        matches!(self, ReadLevel::Session | ReadLevel::Bounded)
    }
}

/// What a read at level session or bounded has to be computed from, at least: the first bytes of its message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Freshness {
    /// Session: the token's lineage,
    pub lineage: U64,
    /// its view,
    pub view: U64,
    /// and its seq; the group is the request's.
    pub seq: U64,
    /// Bounded: milliseconds.
    pub age_ms: U32,
    /// Zero.
    pub reserved: U32,
}

impl Freshness {
    /// As it begins a message.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// Which entries of an actor are asked for: newest first, those with a seq below `before_seq`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct HistoryRange {
    /// Only entries below this seq; `u64::MAX` for the newest.
    pub before_seq: U64,
    /// At most so many entries.
    pub entries_max: U32,
    /// At most so many bytes of entries, at least one entry.
    pub bytes_max: U32,
}

impl HistoryRange {
    /// The range in a request's message; the newest entries, as many as fit, where there is none.
    #[must_use]
    pub fn read_or_default(message: &[u8]) -> HistoryRange {
        let newest = HistoryRange {
            before_seq: U64::MAX_VALUE,
            entries_max: U32::MAX_VALUE,
            bytes_max: U32::MAX_VALUE,
        };
        HistoryRange::read_from_bytes(message).unwrap_or(newest)
    }
}

/// A checked request.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    /// Its fixed part.
    pub header: &'a RequestHeader,
    /// What is asked.
    pub operation: Operation,
    /// How fresh.
    pub level: ReadLevel,
    /// The canonical key; its inner form is for the mailroom to check.
    pub key: &'a [u8],
    /// The message.
    pub message: &'a [u8],
    /// How the message of a read at level session or bounded begins.
    pub freshness: Option<&'a Freshness>,
    /// All bytes of the item, for passing it on.
    pub bytes: &'a [u8],
}

impl<'a> RequestView<'a> {
    /// Checks lengths, flags, operation, level and numbers.
    ///
    /// # Errors
    /// `ItemLength`, `Request` or `Operation`.
    // Not called but inlined: taken apart from a result in memory, a view waits for every store before it, also for those to far logs.
    #[inline]
    pub fn new_checked(item: &Item<'a>) -> Result<RequestView<'a>, FrameError> {
        let (header, rest) = item.fixed::<RequestHeader>()?;
        let operation = *Operation::ALL
            .get(usize::from(header.operation))
            .ok_or(FrameError::Operation)?;
        let level = *ReadLevel::ALL
            .get(usize::from(header.level))
            .ok_or(FrameError::Operation)?;
        let key_length = usize::from(header.item.count.get());
        let message_length = header.item.aux.get() as usize;
        if item.header.flags & !FLAGS != 0
            || header.reserved != 0
            || key_length == 0
            || rest.len()
                != padded(key_length)
                    .checked_add(message_length)
                    .ok_or(FrameError::Request)?
        {
            return Err(FrameError::Request);
        }
        let number = header.number.get();
        let mark = header.mark.get();
        let numbered = operation.is_numbered();
        if numbered != (number != 0) || (numbered && (mark > number || number - mark >= 256 || mark == 0)) {
            return Err(FrameError::Request);
        }
        let message = &rest[padded(key_length)..];
        let freshness = if level.has_freshness() {
            let (freshness, _) = Freshness::ref_from_prefix(message).map_err(|_| FrameError::Request)?;
            if numbered || freshness.reserved.get() != 0 {
                return Err(FrameError::Request);
            }
            Some(freshness)
        } else {
            None
        };
        Ok(RequestView {
            header,
            operation,
            level,
            key: &rest[..key_length],
            message,
            freshness,
            bytes: item.bytes,
        })
    }

    /// What a read asks: its message without the [`Freshness`] before it.
    #[must_use]
    pub fn question(&self) -> &'a [u8] {
        let skipped = self.freshness.map_or(0, size_of_val);
        &self.message[skipped..]
    }

    /// Whether this flag is set.
    #[must_use]
    pub fn has(&self, flag: u8) -> bool {
        self.header.item.flags & flag != 0
    }
}

/// Writes a request behind the items in `bytes`, padded. Kind, lengths and reserved bytes of `header` are filled in.
///
/// # Panics
/// If key or message is longer than its length field: callers bound both first.
pub fn push(bytes: &mut Vec<u8>, header: &RequestHeader, key: &[u8], message: &[u8]) {
    let length = REQUEST_HEADER + padded(key.len()) + message.len();
    let item = ItemHeader {
        kind: ItemKind::Request as u8,
        count: U16::new(u16::try_from(key.len()).expect("keys are at most 512 bytes")),
        length: U32::new(u32::try_from(length).expect("messages are bounded far below 4 GiB")),
        aux: U32::new(u32::try_from(message.len()).expect("messages are bounded far below 4 GiB")),
        ..header.item
    };
    bytes.reserve(padded(length));
    bytes.extend_from_slice(RequestHeader { item, ..*header }.as_bytes());
    bytes.extend_from_slice(key);
    bytes.resize(padded(bytes.len()), 0);
    bytes.extend_from_slice(message);
    bytes.resize(padded(bytes.len()), 0);
}
