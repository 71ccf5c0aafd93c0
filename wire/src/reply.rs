//! A reply: what became of a request, with the token of its entry.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::FrameError;
use crate::item::{Item, ItemHeader, ItemKind};

/// Bytes of a reply before its body.
pub const REPLY_HEADER: usize = 64;

/// The refusal is not definite: another copy of the request may have been sent and may yet take effect.
pub const MAYBE: u8 = 1;
/// The token is an entry's: lineage, group, view and seq are set.
pub const HAS_TOKEN: u8 = 2;
/// The group lives on another shard of its node than the one that was asked: the slot table says which.
pub const ELSEWHERE: u8 = 4;
const FLAGS: u8 = MAYBE | HAS_TOKEN | ELSEWHERE;

/// What became of a request. Below 16: it is logged and committed. From 16 on: refused before execution, or its end is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// The handler took it, or a read was answered.
    Done = 0,
    /// The handler refused it; the refusal is an entry.
    Refused = 1,
    /// The handler trapped; the trap is an entry without events.
    Trapped = 2,
    /// The number was taken by a `Void`.
    Voided = 3,
    /// The state that the reply was computed from is gone; it took effect.
    Settled = 4,
    /// A queue is full; `detail` is the number of milliseconds after which to come back.
    Busy = 16,
    /// Too few members were heard lately.
    NoQuorum = 17,
    /// Another node writes the group; `detail` is its node id.
    NotWriter = 18,
    /// The session is older than an hour or not born yet; `detail` is the group's time in seconds.
    SessionExpired = 19,
    /// The message is above the limit; `detail` is the limit in bytes.
    TooLarge = 20,
    /// No memory, or no row for one more lane or number.
    Full = 21,
    /// The lane waits for an earlier number; `detail` is the number expected next.
    Gap = 22,
    /// The number is below the lane's mark; says nothing about its effect.
    Old = 23,
    /// The group's writer started anew: what it held cannot be served.
    GroupLost = 24,
    /// The deadline passed after the request was logged or sent on: it may take effect.
    Unknown = 25,
    /// The key is malformed or its kind is not known here.
    BadRequest = 26,
    /// This node is stopping.
    Stopping = 27,
    /// This node holds no copy of the group.
    NotMember = 28,
    /// The token is of an older lineage, behind the position where the next one opened: what it names is gone.
    LineageLost = 29,
}

impl Outcome {
    /// Every outcome there is.
    pub const ALL: [Outcome; 19] = [
        Outcome::Done,
        Outcome::Refused,
        Outcome::Trapped,
        Outcome::Voided,
        Outcome::Settled,
        Outcome::Busy,
        Outcome::NoQuorum,
        Outcome::NotWriter,
        Outcome::SessionExpired,
        Outcome::TooLarge,
        Outcome::Full,
        Outcome::Gap,
        Outcome::Old,
        Outcome::GroupLost,
        Outcome::Unknown,
        Outcome::BadRequest,
        Outcome::Stopping,
        Outcome::NotMember,
        Outcome::LineageLost,
    ];

    /// The outcome with this number.
    #[must_use]
    pub fn parse(outcome: u8) -> Option<Outcome> {
        match outcome {
            0..=4 => Some(Self::ALL[usize::from(outcome)]),
            16..=29 => Some(Self::ALL[usize::from(outcome) - 11]),
            _ => None,
        }
    }

    /// Whether the request has its entry, committed.
    #[must_use]
    pub fn is_logged(self) -> bool {
        (self as u8) < 16
    }
}

/// The fixed part of a reply.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ReplyHeader {
    /// Kind `Reply`; flags of this module; `count` is 0; the group; `aux` bytes of body.
    pub item: ItemHeader,
    /// The request's correlation.
    pub correlation: U64,
    /// The group's lineage.
    pub lineage: U64,
    /// View and
    pub view: U64,
    /// seq of the entry, or of the last entry that a read was computed from.
    pub seq: U64,
    /// By outcome. Of a read that was answered at another level than linearizable: the milliseconds since when it holds everything that was
    /// acked before; all ones if that is not known.
    pub detail: U32,
    /// The request's number.
    pub number: U32,
    /// An [`Outcome`].
    pub outcome: u8,
    /// Zero.
    pub reserved: [u8; 7],
}

const _: () = assert!(size_of::<ReplyHeader>() == REPLY_HEADER);

/// A checked reply.
#[derive(Clone, Copy, Debug)]
pub struct ReplyView<'a> {
    /// Its fixed part.
    pub header: &'a ReplyHeader,
    /// What became of the request.
    pub outcome: Outcome,
    /// The bytes that the handler or the read returned.
    pub body: &'a [u8],
}

impl<'a> ReplyView<'a> {
    /// Checks lengths, flags and outcome.
    ///
    /// # Errors
    /// `ItemLength` or `Reply`.
    pub fn new_checked(item: &Item<'a>) -> Result<ReplyView<'a>, FrameError> {
        let (header, body) = item.fixed::<ReplyHeader>()?;
        let outcome = Outcome::parse(header.outcome).ok_or(FrameError::Reply)?;
        if item.header.flags & !FLAGS != 0 || header.reserved != [0; 7] || body.len() != header.item.aux.get() as usize
        {
            return Err(FrameError::Reply);
        }
        Ok(ReplyView { header, outcome, body })
    }
}

/// Writes a reply behind the items in `bytes`, padded. Kind and lengths of `header` are filled in.
///
/// # Panics
/// If the body is longer than 4 GiB: callers bound it first.
pub fn push(bytes: &mut Vec<u8>, header: &ReplyHeader, body: &[u8]) {
    let length = REPLY_HEADER + body.len();
    let item = ItemHeader {
        kind: ItemKind::Reply as u8,
        count: U16::new(0),
        length: U32::new(u32::try_from(length).expect("bodies are bounded far below 4 GiB")),
        aux: U32::new(u32::try_from(body.len()).expect("bodies are bounded far below 4 GiB")),
        ..header.item
    };
    bytes.extend_from_slice(ReplyHeader { item, ..*header }.as_bytes());
    bytes.extend_from_slice(body);
    bytes.resize(crate::padded(bytes.len()), 0);
}
