//! The small fixed items that links and connections live on: acks, births, commits, signs of life, parts, read-back, questions.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::FrameError;
use crate::item::{ITEM_HEADER, Item, ItemHeader, ItemKind};
use crate::padded;

/// An item longer than this travels in parts, between which other items go.
pub const PART_BYTES: usize = 64 << 10;

macro_rules! fixed_items {
    ($($(#[doc = $doc:literal])+ $name:ident($kind:ident) { $($(#[doc = $field_doc:literal])+ $field:ident: $type:ty,)+ })+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
        #[repr(C)]
        pub struct $name {
            /// Kind, length and group are filled in by [`Self::push`]; flags and aux by kind.
            pub item: ItemHeader,
            $($(#[doc = $field_doc])+ pub $field: $type,)+
        }

        impl $name {
            /// Reads the item's fixed part; what follows it is returned too.
            ///
            /// # Errors
            /// `ItemLength` if the item is shorter.
            pub fn new_checked<'a>(item: &Item<'a>) -> Result<(&'a Self, &'a [u8]), FrameError> {
                item.fixed::<Self>()
            }

            /// Writes the item behind those in `bytes`, followed by `tail`, padded.
            ///
            /// # Panics
            /// If `tail` is longer than 4 GiB: callers bound it first.
            pub fn push(&self, bytes: &mut Vec<u8>, tail: &[u8]) {
                let length = u32::try_from(size_of::<Self>() + tail.len()).expect("items are bounded far below 4 GiB");
                let item = ItemHeader { kind: ItemKind::$kind as u8, length: U32::new(length), ..self.item };
                bytes.extend_from_slice(Self { item, ..*self }.as_bytes());
                bytes.extend_from_slice(tail);
                bytes.resize(padded(bytes.len()), 0);
            }
        }

        const _: () = assert!(size_of::<$name>().is_multiple_of(16) && size_of::<$name>() > ITEM_HEADER);
    )+};
}

fixed_items! {
    /// The numbered frames above `since`, up to `number`, are answered by every shard. `item.count` exceptions follow.
    Acked(Acked) {
        /// The last frame's number in the epoch of the frame that carries this.
        number: U64,
        /// The number that the ack before this one ended at: exceptions are listed once, so no ack may be passed over.
        since: U64,
    }
    /// A member holds exactly this Config and this much of its log.
    Adopted(Adopted) {
        /// The view.
        view: U64,
        /// Its last seq.
        last_seq: U64,
    }
    /// A member refuses a Config at birth. `item.aux` is the node whose incarnation stands against it.
    BirthRefused(BirthRefused) {
        /// The Config's view.
        view: U64,
        /// The incarnation that the member has met of that node, or holds in another Config.
        incarnation: U64,
    }
    /// How far the group is committed.
    Commit(Commit) {
        /// The view.
        view: U64,
        /// The commit.
        commit: U64,
    }
    /// A sign of life. `item.flags` are `HEARTBEAT_*`.
    Heartbeat(Heartbeat) {
        /// The sender's wall clock, ms since the epoch.
        wall_ms: U64,
        /// The highest number of a numbered frame that the sender has put on this link in this epoch.
        sent: U64,
    }
    /// A piece of an item: `item.flags` says whether it is the first or last.
    PartHeader(Part) {
        /// Bytes of the whole item with its header.
        total: U32,
        /// Where this piece begins in it.
        offset: U32,
        /// Names the item among those of the connection.
        stream: U64,
    }
    /// The receiver is out: the Config of `item.group` names another incarnation of its name.
    Out(Out) {
        /// The Config's view.
        view: U64,
        /// The incarnation that it names.
        incarnation: U64,
    }
    /// Asks for a portion of the committed entries of `item.group`.
    ReadBack(ReadBack) {
        /// First seq wanted.
        from_seq: U64,
        /// At most so many bytes of runs, at least one run.
        bytes_max: U32,
        /// Zero.
        reserved: U32,
    }
    /// The end of a portion. `item.flags` 1: this node holds no copy of the group.
    ReadBackEnd(ReadBackEnd) {
        /// The seq to ask for next.
        next_seq: U64,
        /// The member's commit.
        commit: U64,
    }
    /// Asks for a document: `item.aux` is one of `DOCUMENT_*`. An order follows its question.
    Ask(Ask) {
        /// Given back in the document.
        correlation: U64,
        /// Zero.
        reserved: U64,
    }
    /// A document: an archive follows ([`crate::body`]). `item.aux` is one of `DOCUMENT_*`.
    Document(Document) {
        /// The question's correlation.
        correlation: U64,
        /// Zero.
        reserved: U64,
    }
    /// Why the connection is about to be closed, alone in its frame. `item.aux` is the number of a [`crate::ConnectionRefusal`]; text follows.
    Refusal(Refusal) {
        /// A number that goes with the reason.
        detail: U64,
        /// Another.
        detail2: U64,
    }
    /// The opener of a view asks a member of the active Config to promise it: what is older is not answered any more. `item.flags` are
    /// `SEAL_*`.
    Seal(Seal) {
        /// The view.
        view: U64,
        /// Zero.
        reserved: U64,
    }
    /// A member's promise, and what it holds. `item.aux` is the node that opens the view.
    Sealed(Sealed) {
        /// The view that it promised.
        view: U64,
        /// The view that its log is of.
        log_view: U64,
        /// Its last seq.
        last_seq: U64,
        /// Its commit.
        commit: U64,
        /// The chain hash at its last seq, low half first.
        last_hash: [U64; 2],
    }
    /// A member of a view has to hold the opener's log up to a seq.
    Adopt(Adopt) {
        /// The view.
        view: U64,
        /// The lineage of its Config.
        lineage: U64,
        /// The last seq to hold.
        last_seq: U64,
        /// Zero.
        reserved: U64,
        /// The chain hash there, low half first.
        last_hash: [U64; 2],
    }
    /// Asks a member for its log behind a point that both hold. `item.count` [`Mark`]s follow, from the last one that the asker holds down.
    Fetch(Fetch) {
        /// The view that both have promised.
        view: U64,
        /// The view that the log is of: a member whose log is of another view by now does not answer.
        log_view: U64,
        /// The seq up to which the asker's state was computed: its own, or the one that came.
        applied: U64,
        /// The asker's commit.
        commit: U64,
        /// The hash of the state that came, or of which something came; 0 if there is none.
        state_hash: [U64; 2],
        /// How much of it came, in bytes.
        state_bytes: U64,
        /// Zero.
        reserved: U64,
    }
    /// A part of a log: a run as it lies there follows, or a part of the state behind its [`StatePart`], or nothing. `item.flags` are
    /// `PIECE_*`.
    Piece(Piece) {
        /// The view.
        view: U64,
        /// The seq of the mark that the portion goes on from.
        after: U64,
        /// The last seq of the whole log.
        last_seq: U64,
        /// Where a part of the state begins in it.
        offset: U64,
    }
    /// A member does not answer a Seal, an Adopt or a Fetch: it has promised a newer view.
    Nack(Nack) {
        /// The view that it was asked about.
        view: U64,
        /// The view that it has promised.
        promised: U64,
    }
    /// A writer asks a member whether views stand there: whether they are what it has promised. `item.count` [`GroupView`]s follow, all
    /// of groups that lie on one shard of the member.
    Confirm(Confirm) {
        /// The round, given back in the answer. Rounds ascend in the life of the asking shard.
        round: U64,
        /// Zero.
        reserved: U64,
    }
    /// These views are what the member had promised when it was asked. `item.count` [`GroupView`]s follow; one that does not stand is left
    /// out.
    Confirmed(Confirmed) {
        /// The round.
        round: U64,
        /// Zero.
        reserved: U64,
    }
    /// A follower asks the writer of a view for a round of confirmations that begins from now on; without a stamp, to tell it each commit at
    /// once for a while.
    Echo(Echo) {
        /// The view.
        view: U64,
        /// The follower's own clock, monotonic ns: given back, and read by nobody else. Or [`NO_STAMP`].
        stamp_ns: U64,
    }
    /// A round that began after an Echo came is over: the writer's view stood.
    Echoed(Echoed) {
        /// The view.
        view: U64,
        /// The stamp of the Echo.
        stamp_ns: U64,
        /// The writer's commit when the Echo came: what was acked before is below it.
        commit: U64,
        /// Zero.
        reserved: U64,
    }
    /// What a member's state was after an entry that is committed. `item.aux` is the form in which it was hashed: hashes of different forms say nothing
    /// of each other.
    StateHash(StateHash) {
        /// The lineage of the log.
        lineage: U64,
        /// The entry.
        seq: U64,
        /// A hash of some actors and lanes as they were then.
        hash: U64,
        /// Zero.
        reserved: U64,
    }
}

/// A group and a view of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct GroupView {
    /// The group.
    pub group: U32,
    /// Zero.
    pub reserved: U32,
    /// The view.
    pub view: U64,
}

/// Pushes a question for a round, about these views.
///
/// # Panics
/// If there are none, or more than 65,535: a shard has fewer groups.
pub fn push_confirm(bytes: &mut Vec<u8>, round: u64, views: &[GroupView]) {
    let (item, round) = (views_item(views), U64::new(round));
    let reserved = U64::ZERO;
    Confirm { item, round, reserved }.push(bytes, views.as_bytes());
}

/// Pushes the answer to a question for a round: the views that stand.
///
/// # Panics
/// As [`push_confirm`].
pub fn push_confirmed(bytes: &mut Vec<u8>, round: u64, views: &[GroupView]) {
    let (item, round) = (views_item(views), U64::new(round));
    let reserved = U64::ZERO;
    Confirmed { item, round, reserved }.push(bytes, views.as_bytes());
}

/// The first of the groups says which shard the item is for.
fn views_item(views: &[GroupView]) -> ItemHeader {
    ItemHeader {
        count: u16::try_from(views.len()).expect("fewer views than groups").into(),
        group: views.first().expect("nobody asks about nothing").group,
        ..ItemHeader::default()
    }
}

/// Reads a `Confirm` or a `Confirmed`, which are alike: the round, and the views.
///
/// # Errors
/// `ItemLength`, also if there are no views, or not as many as it says.
pub fn confirm<'a>(item: &Item<'a>) -> Result<(u64, &'a [GroupView]), FrameError> {
    let (confirm, rest) = Confirm::new_checked(item)?;
    let views = <[GroupView]>::ref_from_bytes(rest).map_err(|_| FrameError::ItemLength)?;
    if views.is_empty() || views.len() != usize::from(item.header.count.get()) {
        return Err(FrameError::ItemLength);
    }
    Ok((confirm.round.get(), views))
}

/// The asker needs the state, or the rest of it, whatever its log.
pub const FETCH_STATE: u8 = 1;
/// The state that came was not what its hash says: it is to be made anew.
pub const FETCH_ANEW: u8 = 2;
/// Nothing more of the view is asked for: everything came, or there is no room for it, or it is not wanted any more.
pub const FETCH_DONE: u8 = 4;
/// The last piece of a portion.
pub const PIECE_LAST: u8 = 1;
/// A part of the state that goes with the log, in the place of a run.
pub const PIECE_STATE: u8 = 2;

/// Which state a part is of. It stands between the Piece and the part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct StatePart {
    /// Bytes of the whole state.
    pub length: U64,
    /// The seq up to which it was computed.
    pub seq: U64,
    /// The hash of the whole state, low half first.
    pub hash: [U64; 2],
}

impl StatePart {
    /// Reads what stands behind a Piece with [`PIECE_STATE`]: which state, and the part of it that begins at `offset`.
    ///
    /// # Errors
    /// `ItemLength`, also if the part reaches beyond the state.
    pub fn new_checked(bytes: &[u8], offset: u64) -> Result<(&StatePart, &[u8]), FrameError> {
        let (head, part) = StatePart::ref_from_prefix(bytes).map_err(|_| FrameError::ItemLength)?;
        let end = offset.checked_add(part.len() as u64).ok_or(FrameError::ItemLength)?;
        if end > head.length.get() {
            return Err(FrameError::ItemLength);
        }
        Ok((head, part))
    }

    /// Writes it with a part behind it, as it follows a Piece.
    pub fn push(&self, bytes: &mut Vec<u8>, part: &[u8]) {
        bytes.extend_from_slice(self.as_bytes());
        bytes.extend_from_slice(part);
    }
}

/// A seq at which a run of a log ends, with the chain hash there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Mark {
    /// The seq.
    pub seq: U64,
    /// The chain hash, low half first.
    pub hash: [U64; 2],
}

/// Marks as they follow a Fetch.
#[must_use]
pub fn mark_bytes(marks: &[Mark]) -> &[u8] {
    marks.as_bytes()
}

/// The most marks that a Fetch may carry.
pub const MARKS_MAX: usize = 128;

/// Reads a Fetch and its marks.
///
/// # Errors
/// `ItemLength`, also if there are no marks, too many, or not as many as it says.
pub fn fetch<'a>(item: &Item<'a>) -> Result<(&'a Fetch, &'a [Mark]), FrameError> {
    let (fetch, rest) = Fetch::new_checked(item)?;
    let marks = <[Mark]>::ref_from_bytes(rest).map_err(|_| FrameError::ItemLength)?;
    if marks.len() != usize::from(item.header.count.get()) || marks.is_empty() || marks.len() > MARKS_MAX {
        return Err(FrameError::ItemLength);
    }
    Ok((fetch, marks))
}

/// Writes what one controller says to another as an item, unpadded: long ones leave in parts.
///
/// # Panics
/// If it is longer than 4 GiB: controllers bound it far below.
pub fn push_control(bytes: &mut Vec<u8>, message: &[u8]) {
    let length = u32::try_from(size_of::<ItemHeader>() + message.len()).expect("messages are bounded far below 4 GiB");
    let item = ItemHeader {
        kind: ItemKind::Control as u8,
        length: U32::new(length),
        ..ItemHeader::default()
    };
    bytes.extend_from_slice(item.as_bytes());
    bytes.extend_from_slice(message);
}

/// A chain hash as it travels.
#[must_use]
pub fn split_hash(hash: u128) -> [U64; 2] {
    let half = |shift: u32| {
        u64::try_from(hash >> shift & u128::from(u64::MAX))
            .expect("masked")
            .into()
    };
    [half(0), half(64)]
}

/// A chain hash that travelled.
#[must_use]
pub fn join_hash(halves: [U64; 2]) -> u128 {
    u128::from(halves[0].get()) | u128::from(halves[1].get()) << 64
}

/// The sender's memory is so full that it takes no new data.
pub const HEARTBEAT_PRESSURE: u8 = 1;
/// The sender's process is out: it serves as mailroom only.
pub const HEARTBEAT_OUT: u8 = 2;
/// An Echo without a stamp: no round is wanted, and there is no answer.
pub const NO_STAMP: u64 = 0;
/// The sender has asked nobody else: a writer stops in order.
pub const SEAL_FIRST: u8 = 1;
/// The first part of an item.
pub const PART_FIRST: u8 = 1;
/// The last part of an item.
pub const PART_LAST: u8 = 2;
/// The slot table with the nodes' names and ports.
pub const DOCUMENT_SLOT_TABLE: u32 = 1;
/// The status of the shard that is asked.
pub const DOCUMENT_STATUS: u32 = 2;
/// What the topology log says, as far as the node knows it.
pub const DOCUMENT_TOPOLOGY: u32 = 3;
/// What became of an operator's order, which follows the question as an archive of [`crate::body::OrderBody`].
pub const DOCUMENT_ORDER: u32 = 4;

/// One refused (group, view) in an ack, with the newest answer.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Exception {
    /// The group.
    pub group: U32,
    /// An [`Answer`].
    pub answer: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// The view that the runs carried.
    pub view: U64,
    /// The last seq that the member holds (`Gap`), the seq to adopt from (`NeedAdopt`), the view promised (`Nack`).
    pub value: U64,
}

/// Why a member did not take a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Answer {
    /// The run does not follow what it holds.
    Gap = 1,
    /// It has not adopted this view.
    NeedAdopt = 2,
    /// It has promised a newer view.
    Nack = 3,
}

/// Pushes the ack of the frames above `since`, up to `number`, with its exceptions.
///
/// # Panics
/// If there are more than 65,535 exceptions: a shard has fewer groups.
pub fn push_acked(bytes: &mut Vec<u8>, since: u64, number: u64, exceptions: &[Exception]) {
    let count = u16::try_from(exceptions.len()).expect("fewer exceptions than groups");
    let item = ItemHeader {
        count: count.into(),
        ..ItemHeader::default()
    };
    Acked {
        item,
        number: U64::new(number),
        since: U64::new(since),
    }
    .push(bytes, exceptions.as_bytes());
}

/// Reads an ack: since, number and exceptions.
///
/// # Errors
/// `ItemLength` or `Acked`.
pub fn acked<'a>(item: &Item<'a>) -> Result<(u64, u64, &'a [Exception]), FrameError> {
    let (ack, rest) = Acked::new_checked(item)?;
    let exceptions = <[Exception]>::ref_from_bytes(rest).map_err(|_| FrameError::Acked)?;
    let known = |exception: &Exception| (1..=3).contains(&exception.answer) && exception.reserved == [0; 3];
    if exceptions.len() != usize::from(item.header.count.get()) || !exceptions.iter().all(known) {
        return Err(FrameError::Acked);
    }
    if ack.since.get() >= ack.number.get() {
        return Err(FrameError::Acked);
    }
    Ok((ack.since.get(), ack.number.get(), exceptions))
}

impl Exception {
    /// The answer of a checked exception.
    ///
    /// # Panics
    /// Never on one that [`acked`] returned.
    #[must_use]
    pub fn answer(&self) -> Answer {
        match self.answer {
            1 => Answer::Gap,
            2 => Answer::NeedAdopt,
            3 => Answer::Nack,
            _ => unreachable!("checked with the ack"),
        }
    }
}

/// Puts items together that came in parts, one at a time per connection.
///
/// Between two items it keeps no memory: long ones are rare, and each of many connections would keep room for the longest that ever came on it.
#[derive(Debug, Default)]
pub struct Assembly {
    bytes: Vec<u8>,
    stream: u64,
    total: usize,
}

impl Assembly {
    /// Takes the next part. Returns the whole item's bytes when it was the last one.
    ///
    /// # Errors
    /// `Part` if it does not follow the part before it; `TooLong` if the whole would be longer than `item_bytes_max`, before memory is
    /// reserved for it.
    pub fn take(&mut self, item: &Item<'_>, item_bytes_max: usize) -> Result<Option<Vec<u8>>, FrameError> {
        let (part, piece) = PartHeader::new_checked(item)?;
        let total = part.total.get() as usize;
        let offset = part.offset.get() as usize;
        let first = part.item.flags & PART_FIRST != 0;
        let last = part.item.flags & PART_LAST != 0;
        if first {
            if total > item_bytes_max {
                return Err(FrameError::TooLong);
            }
            self.bytes.clear();
            self.stream = part.stream.get();
            self.total = total;
        }
        let expected = first || (self.total != 0 && self.stream == part.stream.get());
        let end = self.bytes.len() + piece.len();
        if !expected
            || total != self.total
            || offset != self.bytes.len()
            || end > total
            || (end == total) != last
            || piece.is_empty()
        {
            self.total = 0;
            return Err(FrameError::Part);
        }
        self.bytes.extend_from_slice(piece);
        if !last {
            return Ok(None);
        }
        self.total = 0;
        Ok(Some(std::mem::take(&mut self.bytes)))
    }

    /// Bytes set aside for the item that is being put together.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Forgets a half assembled item: its link is gone.
    pub fn reset(&mut self) {
        *self = Assembly::default();
    }
}
