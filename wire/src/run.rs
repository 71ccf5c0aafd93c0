//! Runs and entries: a group's log, byte for byte the same in a chunk and on a link.
//!
//! A run is what one turn of the writer appended to one group: a 64-byte header, then entries. Everything behind the header's hash field
//! is fixed when the run is sealed and lies alike on every member, until retention drops messages from it; what stands before it (the
//! item header with the distance to the commit) may be written anew for each sending. **Invariant:** a run lies in one piece, never over the edge of a chunk.

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::error::FrameError;
use crate::item::{Item, ItemHeader, ItemKind};
use crate::sweep::SweepView;
use crate::{checksum, padded};

/// Bytes of a run header.
pub const RUN_HEADER: usize = 64;
/// Bytes of an entry header.
pub const ENTRY_HEADER: usize = 32;
/// Where the part that the chain hash covers begins.
pub const HASHED_FROM: usize = 32;
/// A run is sealed before it grows beyond this, unless one entry alone is longer.
pub const RUN_BYTES_MAX: usize = 32 << 10;
/// The longest reply that an entry carries, in bytes.
pub const REPLY_BYTES_MAX: usize = 256;

/// The entry introduces its actor: the key stands in full.
pub const INTRODUCES_ACTOR: u16 = 1;
/// The entry introduces its lane: the session stands in full.
pub const INTRODUCES_LANE: u16 = 2;
/// The event is the message.
pub const EVENT_IS_MESSAGE: u16 = 4;
/// The event is a section of its own. Without this and [`EVENT_IS_MESSAGE`] there is no event.
pub const HAS_EVENT: u16 = 8;
/// The reply has bytes beyond its outcome and token.
pub const HAS_REPLY: u16 = 16;
/// No actor and no lane: the writer's own entry (a tick that drops what has expired).
pub const TICK: u16 = 32;
/// The request was a `Void`: its number is taken, nothing happened.
pub const VOID: u16 = 64;
/// Retention dropped the message and the event: the message's length and the other flags stand, the bytes are gone.
pub const DROPPED: u16 = 128;
/// The entry is a tick that also decides what retention drops: its message says what ([`crate::sweep`]).
pub const SWEEP: u16 = 256;
/// The first entry of a view: no actor's, no lane's, without any section.
pub const VIEW_OPEN: u16 = 512;
const ENTRY_FLAGS: u16 = INTRODUCES_ACTOR
    | INTRODUCES_LANE
    | EVENT_IS_MESSAGE
    | HAS_EVENT
    | HAS_REPLY
    | TICK
    | VOID
    | DROPPED
    | SWEEP
    | VIEW_OPEN;

/// Flag of a run's item header: entries of the run lost their messages, so the hash covers more than is left. Its fields stand, and
/// the chain can still be followed.
pub const SWEPT: u8 = 1;

/// The header of a run.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RunHeader {
    /// Kind `Append`; `count` entries; `length` a multiple of 16; the group; `aux` is last seq − commit.
    pub item: ItemHeader,
    /// [`checksum::chain`] of everything behind this field.
    pub chain_hash: U128,
    /// The view in which the entries were first logged.
    pub view: U64,
    /// Seq of the first entry.
    pub first_seq: U64,
    /// Group time of the run, ms since the epoch; entries add their delta.
    pub base_time_ms: U64,
    /// The low 64 bits of the previous run's chain hash, 0 at the beginning of the log.
    pub prev_hash: U64,
}

const _: () = assert!(size_of::<RunHeader>() == RUN_HEADER);

impl RunHeader {
    /// The header at the start of a run that was checked when it came to rest.
    ///
    /// # Panics
    /// If there are fewer than [`RUN_HEADER`] bytes: a bug in this process.
    #[must_use]
    pub fn read(run: &[u8]) -> RunHeader {
        RunHeader::read_from_prefix(run).expect("a run has its header").0
    }

    /// Writes the header to the start of a run.
    ///
    /// # Panics
    /// If there are fewer than [`RUN_HEADER`] bytes: a bug in this process.
    pub fn put(&self, run: &mut [u8]) {
        run[..RUN_HEADER].copy_from_slice(self.as_bytes());
    }
}

/// The header of an entry.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct EntryHeader {
    /// Bytes of the entry with this header and all padding; a multiple of 16.
    pub length: U32,
    /// The actor's dense number within the group.
    pub actor: U32,
    /// The lane's dense number within the group.
    pub lane: U32,
    /// How many seqs back the actor's previous entry is; 0 if this is its first.
    pub back: U32,
    /// The request's number in its lane.
    pub number: U32,
    /// Exact bytes of the message section.
    pub message_length: U32,
    /// Milliseconds after the run's base time.
    pub time_delta_ms: U16,
    /// Version of the handler that ran.
    pub handler: U16,
    /// The constants of this module.
    pub flags: U16,
    /// The client's mark, as its distance below `number`.
    pub mark_distance: u8,
    /// The outcome, as in [`crate::reply`].
    pub outcome: u8,
}

const _: () = assert!(size_of::<EntryHeader>() == ENTRY_HEADER);

/// A checked run.
#[derive(Clone, Copy, Debug)]
pub struct RunView<'a> {
    /// Its header.
    pub header: &'a RunHeader,
    entries: &'a [u8],
}

impl<'a> RunView<'a> {
    /// Checks a run whole: lengths, the hash, and each entry with its sections. The hash of a run that was swept covers bytes that are
    /// gone, so it is not compared; that [`SWEPT`] is set exactly where an entry is [`DROPPED`] is.
    ///
    /// # Errors
    /// `ItemLength`, `Run`, `Checksum`, `Entry` or `EntryFlags`; nothing was acted on.
    pub fn new_checked(bytes: &'a [u8]) -> Result<RunView<'a>, FrameError> {
        let run = RunView::framed(bytes)?;
        if !run.is_swept() && checksum::chain(&bytes[HASHED_FROM..]) != run.header.chain_hash.get() {
            return Err(FrameError::Checksum);
        }
        let mut rest = run.entries;
        let mut count = 0u32;
        let mut flags = 0;
        while !rest.is_empty() {
            let (entry, tail) = EntryView::new_checked(rest)?;
            debug_assert!(entry.header.length.get() as usize + tail.len() == rest.len());
            rest = tail;
            count += 1;
            flags |= entry.header.flags.get();
        }
        if count != u32::from(run.header.item.count.get()) || (flags & DROPPED != 0) != run.is_swept() {
            return Err(FrameError::Run);
        }
        Ok(run)
    }

    /// Checks a run's header and length alone. For bytes that were checked whole when they came to rest.
    ///
    /// # Errors
    /// `ItemLength` or `Run`.
    pub fn framed(bytes: &'a [u8]) -> Result<RunView<'a>, FrameError> {
        let (header, entries) = RunHeader::ref_from_prefix(bytes).map_err(|_| FrameError::ItemLength)?;
        let count = u64::from(header.item.count.get());
        if header.item.kind != ItemKind::Append as u8
            || header.item.length.get() as usize != bytes.len()
            || !bytes.len().is_multiple_of(16)
            || count == 0
            || header.first_seq.get() == 0
            || header.first_seq.get().checked_add(count).is_none()
            || u64::from(header.item.aux.get()) > header.first_seq.get() + count - 1
        {
            return Err(FrameError::Run);
        }
        Ok(RunView { header, entries })
    }

    /// From an item of a frame.
    ///
    /// # Errors
    /// As [`RunView::new_checked`].
    pub fn from_item(item: &Item<'a>) -> Result<RunView<'a>, FrameError> {
        RunView::new_checked(item.bytes)
    }

    /// Seq of the last entry.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.header.first_seq.get() + u64::from(self.header.item.count.get()) - 1
    }

    /// How far the writer had committed when it sent the run.
    #[must_use]
    pub fn commit(&self) -> u64 {
        self.last_seq() - u64::from(self.header.item.aux.get())
    }

    /// Whether entries of it lost their messages, so that its hash covers more than is left.
    #[must_use]
    pub fn is_swept(&self) -> bool {
        self.header.item.flags & SWEPT != 0
    }

    /// The entries' headers, in order of seq.
    pub fn headers(&self) -> EntryHeaders<'a> {
        EntryHeaders(self.entries)
    }

    /// The entries, in order of seq.
    pub fn entries(&self) -> Entries<'a> {
        Entries {
            rest: self.entries,
            seq: self.header.first_seq.get(),
        }
    }
}

/// The headers of a checked run's entries, nothing else of them read.
#[derive(Clone, Copy, Debug)]
pub struct EntryHeaders<'a>(&'a [u8]);

impl<'a> Iterator for EntryHeaders<'a> {
    type Item = &'a EntryHeader;

    #[inline]
    fn next(&mut self) -> Option<&'a EntryHeader> {
        let (header, _) = EntryHeader::ref_from_prefix(self.0).ok()?;
        self.0 = self.0.get(header.length.get() as usize..)?;
        Some(header)
    }
}

/// The entries of a checked run, each with its seq.
#[derive(Clone, Copy, Debug)]
pub struct Entries<'a> {
    rest: &'a [u8],
    seq: u64,
}

impl<'a> Iterator for Entries<'a> {
    type Item = (u64, EntryView<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let (entry, rest) = EntryView::new_checked(self.rest).ok()?;
        self.rest = rest;
        let seq = self.seq;
        self.seq += 1;
        Some((seq, entry))
    }
}

/// One checked entry, its sections borrowed.
#[derive(Clone, Copy, Debug)]
pub struct EntryView<'a> {
    /// Its header.
    pub header: &'a EntryHeader,
    /// The message as it came; empty if it was dropped.
    pub message: &'a [u8],
    /// The actor's canonical key, where the entry introduces it.
    pub key: Option<&'a [u8]>,
    /// The session, where the entry introduces its lane.
    pub session: Option<&'a [u8; 16]>,
    /// The event that changes the actor's state, if there is one and it was not dropped.
    pub event: Option<&'a [u8]>,
    /// The bytes of the reply, empty for most.
    pub reply: &'a [u8],
}

impl<'a> EntryView<'a> {
    /// Checks the entry at the start of `bytes`; what follows it is returned too.
    ///
    /// # Errors
    /// `Entry` or `EntryFlags`.
    #[inline]
    pub fn new_checked(bytes: &'a [u8]) -> Result<(EntryView<'a>, &'a [u8]), FrameError> {
        let (header, _) = EntryHeader::ref_from_prefix(bytes).map_err(|_| FrameError::Entry)?;
        let length = header.length.get() as usize;
        if length < ENTRY_HEADER || !length.is_multiple_of(16) || length > bytes.len() {
            return Err(FrameError::Entry);
        }
        let (entry, tail) = bytes.split_at(length);
        let flags = header.flags.get();
        let dropped = flags & DROPPED != 0;
        let message_bytes = if dropped {
            0
        } else {
            header.message_length.get() as usize
        };
        let message_end = ENTRY_HEADER.checked_add(message_bytes).ok_or(FrameError::Entry)?;
        if message_end > length {
            return Err(FrameError::Entry);
        }
        let message = &entry[ENTRY_HEADER..message_end];
        let mut sections = entry.get(padded(message_end)..).ok_or(FrameError::Entry)?;
        let mut view = EntryView {
            header,
            message,
            key: None,
            session: None,
            event: None,
            reply: &[],
        };
        if flags & (INTRODUCES_ACTOR | INTRODUCES_LANE | HAS_EVENT | HAS_REPLY) != 0 {
            view.sections(flags, &mut sections)?;
        }
        if flags & (SWEEP | DROPPED) != 0 {
            own_kind(flags, message)?;
        }
        if !sections.is_empty() {
            return Err(FrameError::Entry);
        }
        if flags & !ENTRY_FLAGS != 0 || flags & (EVENT_IS_MESSAGE | HAS_EVENT) == EVENT_IS_MESSAGE | HAS_EVENT {
            return Err(FrameError::EntryFlags);
        }
        if flags & VIEW_OPEN != 0 && (flags != VIEW_OPEN || !message.is_empty()) {
            return Err(FrameError::EntryFlags);
        }
        if flags & (EVENT_IS_MESSAGE | DROPPED) == EVENT_IS_MESSAGE {
            view.event = Some(message);
        }
        if u32::from(header.mark_distance) > header.number.get() {
            return Err(FrameError::Entry);
        }
        Ok((view, tail))
    }

    fn sections(&mut self, flags: u16, rest: &mut &'a [u8]) -> Result<(), FrameError> {
        if flags & INTRODUCES_ACTOR != 0 {
            self.key = Some(counted(rest)?);
        }
        if flags & INTRODUCES_LANE != 0 {
            let (session, tail) = rest.split_first_chunk::<16>().ok_or(FrameError::Entry)?;
            self.session = Some(session);
            *rest = tail;
        }
        if flags & (HAS_EVENT | DROPPED) == HAS_EVENT {
            self.event = Some(counted(rest)?);
        }
        if flags & HAS_REPLY != 0 {
            self.reply = counted(rest)?;
            if self.reply.len() > REPLY_BYTES_MAX {
                return Err(FrameError::Entry);
            }
        }
        Ok(())
    }

    /// The client's mark.
    #[must_use]
    pub fn mark(&self) -> u32 {
        self.header.number.get() - u32::from(self.header.mark_distance)
    }
}

/// A sweep is a tick whose message can be read; what has no message of a sender has none that could be dropped.
fn own_kind(flags: u16, message: &[u8]) -> Result<(), FrameError> {
    if flags & SWEEP != 0 && flags & TICK == 0 || flags & DROPPED != 0 && flags & (TICK | VOID) != 0 {
        return Err(FrameError::EntryFlags);
    }
    if flags & SWEEP != 0 {
        SweepView::new_checked(message)?;
    }
    Ok(())
}

/// A section that begins with its exact length in four bytes and is padded to 16 in all.
fn counted<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], FrameError> {
    let (length, _) = rest.split_first_chunk::<4>().ok_or(FrameError::Entry)?;
    let end = (u32::from_le_bytes(*length) as usize)
        .checked_add(4)
        .ok_or(FrameError::Entry)?;
    if padded(end) > rest.len() {
        return Err(FrameError::Entry);
    }
    let section = &rest[4..end];
    *rest = &rest[padded(end)..];
    Ok(section)
}

/// An entry about to be written. Lengths and section flags are derived; `flags` carries the others.
#[derive(Clone, Copy, Debug, Default)]
pub struct EntryParts<'a> {
    /// Everything but `length`, `message_length` and the flags of sections.
    pub header: EntryHeader,
    /// The message as it came.
    pub message: &'a [u8],
    /// The key, if the entry introduces its actor.
    pub key: Option<&'a [u8]>,
    /// The session, if the entry introduces its lane.
    pub session: Option<&'a [u8; 16]>,
    /// The event, if it is neither absent nor the message.
    pub event: Option<&'a [u8]>,
    /// The bytes of the reply.
    pub reply: &'a [u8],
}

impl EntryParts<'_> {
    /// Bytes of the entry.
    #[must_use]
    #[inline]
    pub fn length(&self) -> usize {
        let counted = |section: Option<&[u8]>| section.map_or(0, |bytes| padded(4 + bytes.len()));
        ENTRY_HEADER
            + padded(self.message.len())
            + counted(self.key)
            + self.session.map_or(0, |_| 16)
            + counted(self.event)
            + if self.reply.is_empty() {
                0
            } else {
                padded(4 + self.reply.len())
            }
    }

    /// Writes the entry to the start of `out`, padding zeroed, and returns its length.
    ///
    /// # Panics
    /// If `out` is shorter than [`EntryParts::length`], or a section is longer than 4 GiB: a bug in this process.
    #[inline]
    pub fn write(&self, out: &mut [u8]) -> usize {
        let length = self.length();
        let mut flags = self.header.flags.get();
        flags |= if self.key.is_some() { INTRODUCES_ACTOR } else { 0 };
        flags |= if self.session.is_some() { INTRODUCES_LANE } else { 0 };
        flags |= if self.event.is_some() { HAS_EVENT } else { 0 };
        flags |= if self.reply.is_empty() { 0 } else { HAS_REPLY };
        let header = EntryHeader {
            length: length_u32(length),
            message_length: length_u32(self.message.len()),
            flags: U16::new(flags),
            ..self.header
        };
        let (head, mut rest) = out[..length].split_at_mut(ENTRY_HEADER);
        head.copy_from_slice(header.as_bytes());
        put(&mut rest, &[], self.message);
        if let Some(key) = self.key {
            put(&mut rest, length_u32(key.len()).as_bytes(), key);
        }
        if let Some(session) = self.session {
            put(&mut rest, &[], session);
        }
        if let Some(event) = self.event {
            put(&mut rest, length_u32(event.len()).as_bytes(), event);
        }
        if !self.reply.is_empty() {
            put(&mut rest, length_u32(self.reply.len()).as_bytes(), self.reply);
        }
        debug_assert!(rest.is_empty());
        length
    }
}

fn length_u32(length: usize) -> U32 {
    U32::new(u32::try_from(length).expect("messages are bounded far below 4 GiB"))
}

/// Writes `prefix` and `bytes`, zeroes up to the next multiple of 16, and steps behind.
#[inline]
fn put(rest: &mut &mut [u8], prefix: &[u8], bytes: &[u8]) {
    let end = prefix.len() + bytes.len();
    let (section, tail) = std::mem::take(rest).split_at_mut(padded(end));
    section[..prefix.len()].copy_from_slice(prefix);
    section[prefix.len()..end].copy_from_slice(bytes);
    section[end..].fill(0);
    *rest = tail;
}
