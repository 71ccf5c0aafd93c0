//! The memory that the world lends: chunks named by handle, reached through a trait.
//!
//! core stores offsets into chunks, never pointers, so a group's log can be freed, truncated or handed on in O(chunks). It does not
//! know where chunks come from (huge pages on a node, plain boxes in a simulation).
//!
//! **Invariant:** a chunk that is pinned keeps its bytes until the last pin is gone, also after `release`.

use crate::ids::ShardId;

/// A chunk's name within one shard's memory. Dense and small; used again after the chunk was released and unpinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId(pub u32);

/// The pool is used up: nothing was reserved. Whoever asked refuses its client with `Full`, or reports the pressure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryFull;

/// How much of a shard's budget is in use, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all chunks that are reserved or still pinned.
    pub used: u64,
    /// Bytes that this shard may reserve in all.
    pub budget: u64,
}

/// Chunks of bytes, lent by the world to one shard.
///
/// A chunk that goes from one shard to another of the same process stays where it lies: it goes on counting against the budget of the shard that
/// reserved it, which gets it back once nobody has it any more.
pub trait Memory {
    /// A chunk on its way to another shard.
    type Given: Send + 'static;
    /// Reserves a chunk of at least `bytes` bytes (its real length is `self.bytes(chunk).len()`), aligned to 64 bytes. Its content is
    /// unspecified.
    ///
    /// # Errors
    /// [`MemoryFull`] when the budget does not allow it.
    fn reserve(&mut self, bytes: usize) -> Result<ChunkId, MemoryFull>;

    /// The bytes of a reserved chunk.
    ///
    /// # Panics
    /// If the chunk is not reserved: a bug in this process.
    fn bytes(&self, chunk: ChunkId) -> &[u8];

    /// The bytes of a reserved chunk, for writing. Bytes that a send in flight gathers from must not be written; the log only appends.
    ///
    /// # Panics
    /// If the chunk is not reserved: a bug in this process.
    fn bytes_mut(&mut self, chunk: ChunkId) -> &mut [u8];

    /// Gives a chunk back. If it is pinned its bytes stay until the last `unpin`.
    fn release(&mut self, chunk: ChunkId);

    /// Keeps a chunk's bytes for a send that gathers from it.
    fn pin(&mut self, chunk: ChunkId);

    /// Ends one `pin`.
    fn unpin(&mut self, chunk: ChunkId);

    /// What is in use.
    fn usage(&self) -> Usage;

    /// Gives a chunk away to another shard, which may write it from now on. Its bytes stay for pins that it has, and its name is of no more use.
    ///
    /// # Panics
    /// If the chunk is not reserved: a bug in this process.
    fn give(&mut self, chunk: ChunkId) -> Self::Given;

    /// Takes a chunk that the shard `from` gave to this one, `own`.
    fn take(&mut self, own: ShardId, from: ShardId, given: Self::Given) -> ChunkId;

    /// The next chunk of another shard that this one has released and unpinned, by the name that it has there.
    fn next_return(&mut self) -> Option<(ShardId, ChunkId)>;

    /// A chunk that was given away has come back, by the name that it had here.
    ///
    /// # Panics
    /// If it was not given away: a bug in this process.
    fn take_back(&mut self, chunk: ChunkId);

    /// A hint that a value is about to be read or written: its cache lines are asked for, and nobody waits for them. Changes nothing.
    #[inline]
    fn ask_ahead<T: ?Sized>(value: &T) {
        let _ = value;
    }
}

/// Bytes on their way out: `bytes`, with ranges of chunks spliced in. Each gather holds one pin on its chunk; whoever finishes the
/// send (or drops it) unpins each.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// The bytes that were copied: headers and small items.
    pub bytes: Vec<u8>,
    /// What is gathered from the log, ascending by `at`.
    pub gathers: Vec<Gather>,
}

/// One range of a chunk, sent between `bytes[..at]` and `bytes[at..]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gather {
    /// Position in [`Outgoing::bytes`] before which the range goes.
    pub at: u32,
    /// The chunk, pinned once for this gather.
    pub chunk: ChunkId,
    /// Where the range begins in the chunk, in bytes.
    pub offset: u32,
    /// Its length in bytes.
    pub length: u32,
}

impl Outgoing {
    /// Bytes that go out in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() + self.gathers.iter().map(|gather| gather.length as usize).sum::<usize>()
    }

    /// Whether nothing would go out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.gathers.is_empty()
    }

    /// Empties it for re-use; its capacity stays. The gathers must have been unpinned.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.gathers.clear();
    }
}
