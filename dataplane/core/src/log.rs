//! A group's log: a chain of chunks, each filled with runs that lie in one piece.
//!
//! The writer appends entries to an open run and seals it at the end of the turn; a follower takes sealed runs whole, so the bytes of a
//! run are the same on every member. Positions are a chunk's number and an offset, never pointers. Nothing here knows of members,
//! commits or actors, and nothing of why messages are dropped (`rewrite.rs` moves what is left).
//!
//! **Invariant:** what was sealed is never written again where it lies; `last_hash` covers every sealed run.

mod join;
mod marks;
mod rewrite;

use waterpark_wire::FrameError;
use waterpark_wire::checksum;
use waterpark_wire::item::{ItemHeader, ItemKind};
use waterpark_wire::run::{EntryParts, EntryView, HASHED_FROM, RUN_BYTES_MAX, RUN_HEADER, RunHeader, RunView};

use crate::account::bytes_of;
use crate::ids::{GroupId, Seq, View};
use crate::memory::{ChunkId, Memory, MemoryFull};
use marks::{Marks, chunk_bytes};
pub(crate) use rewrite::{Live, Stretch};

/// The first chunk of a log.
const CHUNK_BYTES_MIN: usize = 4 << 10;
/// What chunks double up to.
const CHUNK_BYTES_MAX: usize = 1 << 20;
/// The smallest chunk that is appended to a log which loses messages.
const SWEPT_CHUNK_BYTES_MIN: usize = 32 << 10;
/// Such a log gets chunks of one part in so many of what it keeps.
const SWEPT_PART: usize = 4;
/// Books that are set aside for one log at the most, in chunks: a shard of that much memory can afford to ask for more.
const BOOKS_MAX: usize = 4_096;
/// Of a run that comes so much of its place is asked for while it is checked: the rest comes as a stream.
const AHEAD_BYTES: usize = 8 << 10;

/// Where a run begins. Good until messages are dropped from the log: chunks then change their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Number of the chunk, counted from the log's beginning.
    chunk: u32,
    /// Offset in it.
    offset: u32,
}

/// A sealed run where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunAt {
    /// The chunk.
    pub chunk: ChunkId,
    /// Where it begins.
    pub offset: u32,
    /// Its length in bytes.
    pub length: u32,
    /// Its last seq.
    pub last_seq: Seq,
    /// Where the next run begins, or will.
    pub next: Position,
}

/// A run that the log holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The log's last sealed seq.
    pub last_seq: Seq,
    /// Where the run lies; `None` if it was held already.
    pub at: Option<(ChunkId, u32)>,
}

/// Why a run was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// It does not follow the last seq.
    Gap,
    /// Its previous hash is not the log's: impossible among members of one view.
    Contradicts,
    /// It is malformed, or it has lost messages that this member never had.
    Malformed(FrameError),
    /// No memory.
    Full,
}

#[derive(Debug)]
struct Chunk {
    id: ChunkId,
    /// Seq of its first run, or of the next one if there is none.
    first_seq: Seq,
    /// Where its first run begins: what lay before has moved to another chunk.
    start: u32,
    /// Where its last sealed run ends.
    used: u32,
    length: u32,
    marks: Marks,
    /// What the last sweep found out about it.
    live: Option<Live>,
}

impl Chunk {
    fn new(id: ChunkId, length: u32, first_seq: Seq) -> Chunk {
        Chunk {
            id,
            first_seq,
            start: 0,
            used: 0,
            length,
            marks: Marks::new(length),
            live: None,
        }
    }

    /// Whether it has room for so many more bytes.
    fn has_room(&self, bytes: usize) -> bool {
        self.used as usize + bytes <= self.marks.at() as usize
    }

    /// A run was sealed behind the last one.
    fn took<M: Memory>(&mut self, memory: &mut M, first_seq: Seq, bytes: u32) {
        if self.marks.is_due(self.used) {
            self.marks.add(memory.bytes_mut(self.id), first_seq, self.used);
        }
        self.used += bytes;
    }
}

#[derive(Debug)]
struct OpenRun {
    first_seq: Seq,
    base_time_ms: u64,
    count: u16,
    /// Bytes with the header.
    bytes: u32,
}

/// The log of one group on one member.
#[derive(Debug)]
pub struct Log {
    group: GroupId,
    chunks: Vec<Chunk>,
    sealed_seq: Seq,
    last_hash: u128,
    open: Option<OpenRun>,
    bytes: u64,
    /// Bytes of its sealed runs as they lie now.
    run_bytes: u64,
    /// Bytes of all runs that were ever sealed here.
    sealed_bytes: u64,
    /// How far the memory of the last chunk was asked for.
    warmed: u32,
    /// One run, being rewritten; kept for its memory.
    scratch: Vec<u8>,
}

impl Log {
    /// An empty log.
    #[must_use]
    pub fn new(group: GroupId) -> Log {
        Log {
            group,
            chunks: Vec::new(),
            sealed_seq: Seq::ZERO,
            last_hash: 0,
            open: None,
            bytes: 0,
            run_bytes: 0,
            sealed_bytes: 0,
            warmed: 0,
            scratch: Vec::new(),
        }
    }

    /// Sets room aside for the books of so many bytes of chunks: until it has more, the log grows without asking the allocator.
    pub fn expect_bytes(&mut self, bytes: u64) {
        let doubling = (CHUNK_BYTES_MAX / CHUNK_BYTES_MIN).ilog2();
        let full = bytes.div_ceil(CHUNK_BYTES_MAX as u64);
        let full = usize::try_from(full).unwrap_or(usize::MAX).min(BOOKS_MAX);
        self.chunks.reserve(full + doubling as usize);
    }

    /// Seq of the last entry, sealed or not.
    #[must_use]
    pub fn last_seq(&self) -> Seq {
        self.open.as_ref().map_or(
            self.sealed_seq,
            |open| Seq(open.first_seq.0 + u64::from(open.count) - 1),
        )
    }

    /// Seq of the last entry that can be sent.
    #[must_use]
    pub fn sealed_seq(&self) -> Seq {
        self.sealed_seq
    }

    /// The chain hash up to `sealed_seq`.
    #[must_use]
    pub fn last_hash(&self) -> u128 {
        self.last_hash
    }

    /// Bytes of its chunks.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes set aside for its books: which chunks there are, and the run that is being rewritten.
    #[must_use]
    pub fn book_bytes(&self) -> u64 {
        bytes_of(&self.chunks) + bytes_of(&self.scratch)
    }

    /// Bytes of its sealed runs as they lie now: what is kept.
    #[must_use]
    pub fn run_bytes(&self) -> u64 {
        self.run_bytes
    }

    /// Bytes of all runs that were ever sealed here, whether or not they lost messages since.
    #[must_use]
    pub fn sealed_bytes(&self) -> u64 {
        self.sealed_bytes
    }

    /// Appends one entry at `time_ms`, which must not be before the last entry's.
    ///
    /// # Errors
    /// [`MemoryFull`]: nothing was appended.
    pub fn append<M: Memory>(
        &mut self,
        memory: &mut M,
        view: View,
        parts: &EntryParts<'_>,
        time_ms: u64,
    ) -> Result<Seq, MemoryFull> {
        let length = parts.length();
        if !self.fits_open_run(length, time_ms) {
            self.seal(memory, view);
            self.open_run(memory, length, time_ms)?;
        }
        let chunk = self.chunks.last().expect("an open run has its chunk");
        let open = self.open.as_mut().expect("opened above");
        let delta = u16::try_from(time_ms.saturating_sub(open.base_time_ms)).expect("checked with the open run");
        let at = (chunk.used + open.bytes) as usize;
        let mut parts = *parts;
        parts.header.time_delta_ms = delta.into();
        let written = parts.write(&mut memory.bytes_mut(chunk.id)[at..at + length]);
        open.bytes += u32::try_from(written).expect("an entry fits its chunk");
        open.count += 1;
        Ok(self.last_seq())
    }

    /// Asks for the memory that the next `bytes` bytes of entries will be written to. Far lines come together when they are asked for
    /// together; one store after the other in the midst of other work waits for each.
    #[inline]
    pub fn warm<M: Memory>(&mut self, memory: &M, bytes: u32) {
        let Some(chunk) = self.chunks.last() else { return };
        let end = chunk.used + self.open.as_ref().map_or(0, |open| open.bytes);
        let from = self.warmed.max(end);
        let until = (from + bytes).min(chunk.marks.at());
        if from < until {
            self.warmed = until;
            M::ask_ahead(&memory.bytes(chunk.id)[from as usize..until as usize]);
        }
    }

    fn fits_open_run(&self, length: usize, time_ms: u64) -> bool {
        let (Some(open), Some(chunk)) = (&self.open, self.chunks.last()) else {
            return false;
        };
        let bytes = open.bytes as usize + length;
        bytes <= RUN_BYTES_MAX
            && chunk.has_room(bytes)
            && open.count < u16::MAX
            && time_ms.saturating_sub(open.base_time_ms) <= u64::from(u16::MAX)
    }

    fn open_run<M: Memory>(&mut self, memory: &mut M, length: usize, time_ms: u64) -> Result<(), MemoryFull> {
        self.make_room(memory, RUN_HEADER + length)?;
        let bytes = u32::try_from(RUN_HEADER).expect("64");
        self.open = Some(OpenRun {
            first_seq: self.sealed_seq.next(),
            base_time_ms: time_ms,
            count: 0,
            bytes,
        });
        Ok(())
    }

    /// Sees to it that the last chunk has room for `bytes`.
    fn make_room<M: Memory>(&mut self, memory: &mut M, bytes: usize) -> Result<(), MemoryFull> {
        if self.chunks.last().is_some_and(|chunk| chunk.has_room(bytes)) {
            return Ok(());
        }
        let chunk = self.reserve(memory, self.next_chunk_bytes(), bytes, self.sealed_seq.next())?;
        self.warmed = 0;
        self.chunks.push(chunk);
        Ok(())
    }

    /// As large as what is there already, so that chunks double as a log grows. One that loses messages is swept when it has grown by a part,
    /// and what has moved out of its last chunk is memory that nobody uses: there it is no more than that part.
    fn next_chunk_bytes(&self) -> usize {
        let kept = usize::try_from(self.run_bytes).unwrap_or(CHUNK_BYTES_MAX);
        let wanted = if self.run_bytes < self.sealed_bytes {
            let part = (kept / SWEPT_PART).max(SWEPT_CHUNK_BYTES_MIN);
            // Rounded down: a power of two, as memory is lent.
            part.next_power_of_two() >> u32::from(!part.is_power_of_two())
        } else {
            (kept + CHUNK_BYTES_MIN).next_power_of_two()
        };
        wanted.min(CHUNK_BYTES_MAX)
    }

    /// A chunk of about `wanted` bytes, at least of as many as room for `room` bytes of runs takes.
    fn reserve<M: Memory>(
        &mut self,
        memory: &mut M,
        wanted: usize,
        room: usize,
        first_seq: Seq,
    ) -> Result<Chunk, MemoryFull> {
        let id = memory.reserve(wanted.max(chunk_bytes(room)))?;
        let length = u32::try_from(memory.bytes(id).len()).unwrap_or(u32::MAX);
        self.bytes += u64::from(length);
        Ok(Chunk::new(id, length, first_seq))
    }

    /// Ends the open run, if there is one with entries: its header and hash are written, and it can be sent.
    pub fn seal<M: Memory>(&mut self, memory: &mut M, view: View) {
        let Some(open) = self.open.take() else { return };
        if open.count == 0 {
            return;
        }
        let chunk = self.chunks.last_mut().expect("an open run has its chunk");
        let run = &mut memory.bytes_mut(chunk.id)[chunk.used as usize..(chunk.used + open.bytes) as usize];
        let header = RunHeader {
            item: ItemHeader {
                kind: ItemKind::Append as u8,
                flags: 0,
                count: open.count.into(),
                length: open.bytes.into(),
                group: self.group.0.into(),
                aux: 0.into(),
            },
            chain_hash: 0.into(),
            view: view.0.into(),
            first_seq: open.first_seq.0.into(),
            base_time_ms: open.base_time_ms.into(),
            prev_hash: low(self.last_hash).into(),
        };
        header.put(run);
        let hash = checksum::chain(&run[HASHED_FROM..]);
        RunHeader {
            chain_hash: hash.into(),
            ..header
        }
        .put(run);
        let last_seq = Seq(open.first_seq.0 + u64::from(open.count) - 1);
        chunk.took(memory, open.first_seq, open.bytes);
        self.count(open.bytes);
        self.sealed_seq = last_seq;
        self.last_hash = hash;
    }

    /// Takes a sealed run of the writer. It is checked where it came, in a frame that is near, then copied to where it comes to rest: reading
    /// there at once would wait for every store of the copy.
    ///
    /// # Errors
    /// [`NotTaken`]; the log is as before. A run that the log holds already is taken as it is.
    pub fn take_run<M: Memory>(&mut self, memory: &mut M, bytes: &[u8]) -> Result<Taken, NotTaken> {
        let run = RunView::framed(bytes).map_err(NotTaken::Malformed)?;
        // Its hash proves nothing of what is left. A writer sweeps only what each member that may still ask for it has.
        if run.is_swept() && run.last_seq() > self.sealed_seq.0 {
            return Err(NotTaken::Malformed(FrameError::Run));
        }
        self.take_any_run(memory, bytes)
    }

    /// The same for a run that may have lost messages, where the state comes beside the log and need not be computed from it.
    ///
    /// # Errors
    /// As [`Log::take_run`].
    pub(crate) fn take_any_run<M: Memory>(&mut self, memory: &mut M, bytes: &[u8]) -> Result<Taken, NotTaken> {
        let run = RunView::framed(bytes).map_err(NotTaken::Malformed)?;
        let (first, last) = (run.header.first_seq.get(), run.last_seq());
        if last <= self.sealed_seq.0 {
            return Ok(Taken {
                last_seq: self.sealed_seq,
                at: None,
            });
        }
        if first > self.sealed_seq.0 + 1 {
            return Err(NotTaken::Gap);
        }
        // Runs are cut once, by the writer: one that begins inside what is held is not of this log.
        if first <= self.sealed_seq.0 || run.header.prev_hash.get() != low(self.last_hash) {
            return Err(NotTaken::Contradicts);
        }
        if let Some(chunk) = self.chunks.last().filter(|chunk| chunk.has_room(bytes.len())) {
            let at = chunk.used as usize;
            M::ask_ahead(&memory.bytes(chunk.id)[at..at + bytes.len().min(AHEAD_BYTES)]);
        }
        let run = RunView::new_checked(bytes).map_err(NotTaken::Malformed)?;
        let hash = run.header.chain_hash.get();
        self.make_room(memory, bytes.len())
            .map_err(|MemoryFull| NotTaken::Full)?;
        let chunk = self.chunks.last_mut().expect("room was made");
        let at = chunk.used as usize;
        memory.bytes_mut(chunk.id)[at..at + bytes.len()].copy_from_slice(bytes);
        let place = (chunk.id, chunk.used);
        let length = u32::try_from(bytes.len()).expect("a run fits its chunk");
        chunk.took(memory, Seq(first), length);
        self.count(length);
        self.sealed_seq = Seq(last);
        self.last_hash = hash;
        Ok(Taken {
            last_seq: self.sealed_seq,
            at: Some(place),
        })
    }

    fn count(&mut self, bytes: u32) {
        self.run_bytes += u64::from(bytes);
        self.sealed_bytes += u64::from(bytes);
    }

    /// The sealed run at a position; `None` at the end of the log.
    #[must_use]
    pub fn run_at<M: Memory>(&self, memory: &M, at: Position) -> Option<RunAt> {
        let mut at = at;
        let mut chunk = self.chunks.get(at.chunk as usize)?;
        // A chunk may be empty: the first run of a new one is not sealed, or all of an old one has moved.
        while at.offset >= chunk.used {
            chunk = self.chunks.get(at.chunk as usize + 1)?;
            at = Position {
                chunk: at.chunk + 1,
                offset: chunk.start,
            };
        }
        let header = RunHeader::read(&memory.bytes(chunk.id)[at.offset as usize..]);
        let length = header.item.length.get();
        let last_seq = Seq(header.first_seq.get() + u64::from(header.item.count.get()) - 1);
        let next = Position {
            chunk: at.chunk,
            offset: at.offset + length,
        };
        Some(RunAt {
            chunk: chunk.id,
            offset: at.offset,
            length,
            last_seq,
            next,
        })
    }

    /// Where the run that holds `seq` begins; the end of the log for the seq after the last. `None` if it never was.
    #[must_use]
    pub fn find<M: Memory>(&self, memory: &M, seq: Seq) -> Option<Position> {
        if seq > self.sealed_seq.next() || seq == Seq::ZERO {
            return None;
        }
        let index = match self.chunks.partition_point(|chunk| chunk.first_seq <= seq) {
            // Nothing was ever appended.
            0 => return self.chunks.is_empty().then(Position::default),
            after => after - 1,
        };
        let chunk = &self.chunks[index];
        let number = u32::try_from(index).expect("chunks are counted in 32 bits");
        if seq > self.sealed_seq {
            return Some(Position {
                chunk: number,
                offset: chunk.used,
            });
        }
        let mut at = Position {
            chunk: number,
            offset: chunk.marks.before(memory.bytes(chunk.id), seq),
        };
        loop {
            let run = self.run_at(memory, at)?;
            if run.last_seq >= seq {
                return Some(at);
            }
            at = run.next;
        }
    }

    /// Reads one sealed entry with its group time in ms. `None` if it never was.
    #[must_use]
    pub fn entry<'m, M: Memory>(&self, memory: &'m M, seq: Seq) -> Option<(EntryView<'m>, &'m [u8], u64)> {
        let run = self.run_at(memory, self.find(memory, seq)?)?;
        let bytes = &memory.bytes(run.chunk)[run.offset as usize..(run.offset + run.length) as usize];
        let base_time_ms = RunHeader::read(bytes).base_time_ms.get();
        let mut rest = &bytes[RUN_HEADER..];
        let mut at = RunHeader::read(bytes).first_seq.get();
        loop {
            let (entry, tail) = EntryView::new_checked(rest).ok()?;
            if at == seq.0 {
                let own = &rest[..entry.header.length.get() as usize];
                return Some((entry, own, base_time_ms + u64::from(entry.header.time_delta_ms.get())));
            }
            rest = tail;
            at += 1;
        }
    }

    /// The names of its chunks, in their order: they change when it goes to another shard.
    pub(crate) fn chunk_names(&mut self) -> impl Iterator<Item = &mut ChunkId> {
        self.chunks.iter_mut().map(|chunk| &mut chunk.id)
    }

    /// Gives all chunks back.
    pub fn release<M: Memory>(&mut self, memory: &mut M) {
        for chunk in self.chunks.drain(..) {
            memory.release(chunk.id);
        }
        *self = Log::new(self.group);
    }
}

/// What stands in a run's header of the hash before it.
fn low(hash: u128) -> u64 {
    u64::try_from(hash & u128::from(u64::MAX)).expect("masked")
}
