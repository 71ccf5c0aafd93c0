//! A shard's chunks: one reserve of address space for the whole budget, handed out in sizes from 4 KiB doubling to 1 MiB, larger ones in
//! whole MiB.
//!
//! It does not know groups or logs, only handles, pins and bytes. **Invariant:** the bytes of a chunk are lent to nobody else from
//! `reserve` until it is both released and unpinned, and its address never changes: a send in flight may point into it.
#![expect(
    unsafe_code,
    reason = "chunks are disjoint slices of one mapping, which only the pool's books can show"
)]

use std::io;
use std::sync::Arc;

use waterpark_core::ids::ShardId;
use waterpark_core::memory::{ChunkId, Memory, MemoryFull, Usage};

use crate::buddy::{BLOCK, Buddy, Extent, PAGE};
use crate::mapping::Mapping;
use crate::prefetch;

/// Huge pages are 2 MiB on the machines that have them; a base aligned to it lets the first one be used.
const HUGE: usize = 2 << 20;
/// What one `madvise` populates, so that a long one can be interrupted between two.
const POPULATE_BYTES: usize = 32 << 20;

/// What a shard's memory may be.
#[derive(Clone, Copy, Debug)]
pub struct PoolConfig {
    /// Bytes that may be reserved in all; rounded down to whole MiB, at least one.
    pub budget: u64,
    /// Whether to ask the host for huge pages.
    pub huge_pages: bool,
    /// Bytes of free but touched memory that [`PoolMemory::trim`] leaves in place, so that a shard that breathes does not fault its
    /// pages in again with each breath.
    pub keep_free: u64,
}

/// Where a chunk is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The handle is free.
    Vacant,
    /// Reserved, not released.
    Held,
    /// Released, but a send still gathers from it.
    Released,
    /// Another shard has it. Its memory is lent until that gives it back.
    Given,
}

struct Chunk {
    /// Where its bytes begin, from the base of its region.
    offset: usize,
    length: usize,
    pins: u32,
    state: State,
    /// Of another shard's memory: whose, under which name there, and where its region stands among the foreign ones.
    foreign: Option<Foreign>,
}

#[derive(Clone, Copy)]
struct Foreign {
    shard: ShardId,
    name: ChunkId,
    region: usize,
}

/// A chunk on its way to another shard of this process. Whoever has it alone may write its bytes.
pub struct GivenChunk {
    region: Arc<Mapping>,
    offset: usize,
    length: usize,
    /// The shard whose memory it is, if that is not the giver.
    shard: Option<ShardId>,
    /// Its name there.
    name: ChunkId,
}

/// The memory of one shard. `Send`, so that it can be made (and touched) before the shard's thread begins.
pub struct PoolMemory {
    region: Arc<Mapping>,
    buddy: Buddy,
    chunks: Vec<Chunk>,
    vacant: Vec<u32>,
    /// The regions of other shards that chunks here came from. They stay: as many as there are shards.
    foreign: Vec<Arc<Mapping>>,
    /// Chunks of other shards that nobody here needs any more.
    returns: Vec<(ShardId, ChunkId)>,
    used: u64,
    budget: u64,
    keep_free: u64,
}

impl PoolMemory {
    /// Reserves address space for the whole budget; no page of it exists yet.
    ///
    /// # Errors
    /// When the kernel refuses the reserve: the budget is larger than the process's address space limit. Nothing was taken.
    pub fn new(config: PoolConfig) -> io::Result<Self> {
        let too_large = |_| io::Error::new(io::ErrorKind::OutOfMemory, "memory budget exceeds the address space");
        let budget = usize::try_from(config.budget).map_err(too_large)?;
        let blocks = (budget / BLOCK).max(1);
        u32::try_from(blocks * (BLOCK / PAGE)).map_err(too_large)?;
        let region = Mapping::reserve(blocks * BLOCK, HUGE)?;
        if config.huge_pages {
            // Asked for, not demanded: without them the pool is the same, only with more page table entries.
            region.advise_huge();
        }
        Ok(Self {
            region: Arc::new(region),
            buddy: Buddy::new(blocks),
            // Most chunks are whole blocks: the books of a full pool have room, so filling it asks the allocator for nothing.
            chunks: Vec::with_capacity(2 * blocks),
            vacant: Vec::new(),
            foreign: Vec::new(),
            returns: Vec::new(),
            used: 0,
            budget: (blocks * BLOCK) as u64,
            keep_free: config.keep_free,
        })
    }

    /// Touches the first `bytes` bytes of the region, so that no page fault falls into a measurement. Chunks keep their content. Returns
    /// the bytes touched, at most the budget.
    ///
    /// # Errors
    /// When the kernel cannot give the memory, or is older than Linux 5.14. What was touched until then stays.
    pub fn prefault(&mut self, bytes: u64) -> io::Result<u64> {
        let wanted = usize::try_from(bytes.min(self.budget))
            .expect("the budget is mapped, so it fits")
            .next_multiple_of(PAGE);
        let mut done = 0;
        while done < wanted {
            let portion = POPULATE_BYTES.min(wanted - done);
            self.region.populate(done, portion)?;
            (done / BLOCK..(done + portion).div_ceil(BLOCK)).for_each(|block| self.buddy.touch(block));
            done += portion;
        }
        Ok(done as u64)
    }

    /// Gives free memory beyond `keep_free` back to the kernel, at most about `bytes_max` bytes of it, from the upper end, in whole MiB.
    /// Returns the bytes given back; 0 means that nothing is left to give.
    ///
    /// # Errors
    /// When the kernel refuses the advice: the blocks tried are not tried again until they were used.
    pub fn trim(&mut self, bytes_max: u64) -> io::Result<u64> {
        let spare = ((self.buddy.touched_free() * BLOCK) as u64).saturating_sub(self.keep_free);
        let goal = spare.min(bytes_max);
        let (mut given, mut below) = (0, self.region.len() / BLOCK);
        while given + BLOCK as u64 <= goal {
            let Some(block) = self.buddy.untouch_next(below) else {
                break;
            };
            // SAFETY: the block is free as a whole, so no chunk lies in it and nobody holds a slice of it.
            unsafe { self.region.discard(block * BLOCK, BLOCK) }?;
            given += BLOCK as u64;
            below = block;
        }
        Ok(given)
    }

    /// Bytes that may be resident: whole MiB of which something was lent and that were not given back since, in use or free.
    #[must_use]
    pub fn touched_bytes(&self) -> u64 {
        (self.buddy.touched() * BLOCK) as u64
    }

    /// The regions that chunks lie in, for a driver that must keep them alive while the kernel reads from them.
    pub(crate) fn regions(&self) -> impl Iterator<Item = &Arc<Mapping>> {
        std::iter::once(&self.region).chain(&self.foreign)
    }

    fn region_of(&self, chunk: &Chunk) -> &Mapping {
        chunk
            .foreign
            .map_or(&self.region, |foreign| &self.foreign[foreign.region])
    }

    #[inline]
    fn chunk(&self, chunk: ChunkId) -> &Chunk {
        let chunk = &self.chunks[chunk.0 as usize];
        let is_here = matches!(chunk.state, State::Held | State::Released);
        assert!(is_here, "a chunk is used after its release");
        chunk
    }

    fn held(&mut self, chunk: ChunkId) -> &mut Chunk {
        let chunk = &mut self.chunks[chunk.0 as usize];
        assert!(chunk.state == State::Held, "a chunk is changed after its release");
        chunk
    }

    fn vacate(&mut self, id: ChunkId) {
        let chunk = &mut self.chunks[id.0 as usize];
        assert!(chunk.pins == 0 && chunk.state == State::Released);
        chunk.state = State::Vacant;
        self.vacant.push(id.0);
        if let Some(foreign) = chunk.foreign.take() {
            return self.returns.push((foreign.shard, foreign.name));
        }
        let pages = |bytes: usize| u32::try_from(bytes / PAGE).expect("`new` bounds the pages");
        let extent = Extent {
            first: pages(chunk.offset),
            pages: pages(chunk.length),
        };
        self.used -= chunk.length as u64;
        self.buddy.free(extent);
    }

    /// Writes down a chunk that this shard has from now on.
    fn enter(&mut self, chunk: Chunk) -> ChunkId {
        let id = match self.vacant.pop() {
            Some(id) => {
                self.chunks[id as usize] = chunk;
                id
            }
            None => {
                self.chunks.push(chunk);
                u32::try_from(self.chunks.len() - 1).expect("there are fewer chunks than pages")
            }
        };
        ChunkId(id)
    }
}

impl Memory for PoolMemory {
    type Given = GivenChunk;

    fn reserve(&mut self, bytes: usize) -> Result<ChunkId, MemoryFull> {
        let extent = self.buddy.reserve(bytes).ok_or(MemoryFull)?;
        let length = extent.pages as usize * PAGE;
        let chunk = Chunk {
            offset: extent.first as usize * PAGE,
            length,
            pins: 0,
            state: State::Held,
            foreign: None,
        };
        self.used += length as u64;
        Ok(self.enter(chunk))
    }

    #[inline]
    fn bytes(&self, chunk: ChunkId) -> &[u8] {
        let chunk = self.chunk(chunk);
        // SAFETY: the extent belongs to this chunk alone, whose bytes are this pool's to write until it gives it away, and writing needs `&mut self`.
        unsafe { self.region_of(chunk).slice(chunk.offset, chunk.length) }
    }

    #[inline]
    fn bytes_mut(&mut self, chunk: ChunkId) -> &mut [u8] {
        let &mut Chunk { offset, length, .. } = self.held(chunk);
        let region = self.region_of(&self.chunks[chunk.0 as usize]);
        // SAFETY: the extent belongs to this chunk alone, no other pool touches it before this one gives it away, and `&mut self` is held as
        // long as the slice lives.
        unsafe { region.slice_mut(offset, length) }
    }

    fn release(&mut self, chunk: ChunkId) {
        let held = self.held(chunk);
        held.state = State::Released;
        if held.pins == 0 {
            self.vacate(chunk);
        }
    }

    fn pin(&mut self, chunk: ChunkId) {
        self.held(chunk).pins += 1;
    }

    fn unpin(&mut self, chunk: ChunkId) {
        let pinned = &mut self.chunks[chunk.0 as usize];
        assert!(
            pinned.state != State::Vacant && pinned.pins > 0,
            "each unpin ends one pin"
        );
        pinned.pins -= 1;
        if pinned.pins == 0 && pinned.state == State::Released {
            self.vacate(chunk);
        }
    }

    fn usage(&self) -> Usage {
        Usage {
            used: self.used,
            budget: self.budget,
        }
    }

    fn give(&mut self, chunk: ChunkId) -> GivenChunk {
        let held = self.held(chunk);
        held.state = State::Given;
        let (offset, length, pins, foreign) = (held.offset, held.length, held.pins, held.foreign);
        let region = foreign.map_or(&self.region, |foreign| &self.foreign[foreign.region]);
        let mut given = GivenChunk {
            region: Arc::clone(region),
            offset,
            length,
            shard: None,
            name: chunk,
        };
        // A send of this shard may still gather from it: then it comes back by way of this one, which waits for that.
        if let (Some(foreign), 0) = (foreign, pins) {
            (given.shard, given.name) = (Some(foreign.shard), foreign.name);
            let row = &mut self.chunks[chunk.0 as usize];
            (row.state, row.foreign) = (State::Vacant, None);
            self.vacant.push(chunk.0);
        }
        given
    }

    fn take(&mut self, own: ShardId, from: ShardId, given: GivenChunk) -> ChunkId {
        let shard = given.shard.unwrap_or(from);
        if shard == own {
            let row = &mut self.chunks[given.name.0 as usize];
            assert!(row.state == State::Given, "what comes home was given away");
            row.state = State::Held;
            return given.name;
        }
        let known = self
            .foreign
            .iter()
            .position(|region| Arc::ptr_eq(region, &given.region));
        let region = known.unwrap_or_else(|| {
            self.foreign.push(given.region);
            self.foreign.len() - 1
        });
        self.enter(Chunk {
            offset: given.offset,
            length: given.length,
            pins: 0,
            state: State::Held,
            foreign: Some(Foreign {
                shard,
                name: given.name,
                region,
            }),
        })
    }

    fn next_return(&mut self) -> Option<(ShardId, ChunkId)> {
        self.returns.pop()
    }

    fn take_back(&mut self, chunk: ChunkId) {
        let row = &mut self.chunks[chunk.0 as usize];
        assert!(row.state == State::Given, "what comes back was given away");
        row.state = State::Released;
        if row.pins == 0 {
            self.vacate(chunk);
        }
    }

    #[inline]
    fn ask_ahead<T: ?Sized>(value: &T) {
        prefetch::lines_of(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(mib: u64) -> PoolMemory {
        PoolMemory::new(PoolConfig {
            budget: mib << 20,
            huge_pages: false,
            keep_free: 0,
        })
        .unwrap()
    }

    /// Memory of this process that is resident within the pool's region, in pages, as the kernel sees it.
    fn resident_pages(pool: &PoolMemory) -> usize {
        let mut pages = vec![0u8; pool.region.len() / PAGE];
        let base = pool.region.address(0).as_ptr();
        // SAFETY: mincore writes one byte per page of the range, and `pages` has as many.
        let result = unsafe { libc::mincore(base.cast(), pool.region.len(), pages.as_mut_ptr()) };
        assert_eq!(result, 0);
        pages.iter().filter(|page| **page & 1 == 1).count()
    }

    #[test]
    fn chunks_are_aligned_sized_and_keep_their_bytes() {
        let mut pool = pool(4);
        let sizes = [1, 4096, 5000, 65_536, 900_000, BLOCK + 1];
        let chunks = sizes.map(|size| pool.reserve(size).unwrap());
        for (value, chunk) in (1u8..).zip(chunks) {
            pool.bytes_mut(chunk).fill(value);
        }
        for ((value, chunk), size) in (1u8..).zip(chunks).zip(sizes) {
            let bytes = pool.bytes(chunk);
            assert_eq!(bytes.len(), Buddy::rounded(size).unwrap());
            assert_eq!(bytes.as_ptr().align_offset(64), 0);
            assert!(bytes.iter().all(|byte| *byte == value));
        }
        assert_eq!(
            pool.usage().used,
            chunks.map(|chunk| pool.bytes(chunk).len() as u64).iter().sum::<u64>()
        );
        chunks.iter().for_each(|chunk| pool.release(*chunk));
        assert_eq!(
            pool.usage(),
            Usage {
                used: 0,
                budget: 4 << 20
            }
        );
    }

    #[test]
    fn a_used_up_pool_refuses_and_serves_again_after_a_release() {
        let mut pool = pool(2);
        let first = pool.reserve(BLOCK).unwrap();
        let _second = pool.reserve(BLOCK).unwrap();
        assert_eq!(pool.reserve(1), Err(MemoryFull));
        pool.release(first);
        assert_eq!(pool.reserve(2 * BLOCK), Err(MemoryFull), "only one block is free");
        assert_eq!(pool.reserve(BLOCK), Ok(first), "names are dense");
    }

    #[test]
    fn a_pinned_chunk_keeps_its_bytes_after_its_release() {
        let mut pool = pool(1);
        let chunk = pool.reserve(BLOCK).unwrap();
        pool.bytes_mut(chunk).fill(9);
        pool.pin(chunk);
        pool.pin(chunk);
        pool.release(chunk);
        pool.unpin(chunk);
        assert_eq!(pool.reserve(1), Err(MemoryFull), "still pinned once");
        assert!(pool.bytes(chunk).iter().all(|byte| *byte == 9));
        pool.unpin(chunk);
        assert_eq!(pool.usage().used, 0);
        assert!(pool.reserve(1).is_ok());
    }

    #[test]
    #[should_panic(expected = "after its release")]
    fn bytes_of_a_released_chunk_are_not_given() {
        let mut pool = pool(1);
        let chunk = pool.reserve(1).unwrap();
        pool.release(chunk);
        pool.bytes(chunk);
    }

    const OWN: [ShardId; 3] = [ShardId(0), ShardId(1), ShardId(2)];

    #[test]
    fn a_chunk_that_is_given_stays_where_it_lies_and_goes_home_when_nobody_needs_it() {
        let (mut first, mut second, mut third) = (pool(2), pool(2), pool(2));
        let chunk = first.reserve(BLOCK).unwrap();
        first.bytes_mut(chunk).fill(7);
        let address = first.bytes(chunk).as_ptr();
        let taken = second.take(OWN[1], OWN[0], first.give(chunk));
        second.bytes_mut(taken)[0] = 8;
        assert_eq!(second.bytes(taken).as_ptr(), address);
        assert_eq!(
            (first.usage().used, second.usage().used),
            (BLOCK as u64, 0),
            "its memory is lent by the first"
        );
        let last = third.take(OWN[2], OWN[1], second.give(taken));
        assert_eq!((third.bytes(last)[0], third.bytes(last)[1]), (8, 7));
        third.release(last);
        assert_eq!(second.next_return(), None);
        let (home, name) = third.next_return().unwrap();
        assert_eq!((home, name, third.next_return()), (OWN[0], chunk, None));
        first.take_back(name);
        assert_eq!(first.usage().used, 0);
    }

    #[test]
    fn a_chunk_that_comes_home_has_its_name_again() {
        let (mut first, mut second) = (pool(2), pool(2));
        let chunk = first.reserve(1).unwrap();
        first.bytes_mut(chunk).fill(7);
        let taken = second.take(OWN[1], OWN[0], first.give(chunk));
        assert_eq!(first.take(OWN[0], OWN[1], second.give(taken)), chunk);
        assert_eq!(first.bytes(chunk)[9], 7);
        first.release(chunk);
        assert_eq!((first.usage().used, second.next_return()), (0, None));
    }

    #[test]
    fn a_chunk_that_a_send_gathers_from_comes_back_by_way_of_the_sender() {
        let (mut first, mut second, mut third) = (pool(2), pool(2), pool(2));
        let chunk = first.reserve(1).unwrap();
        first.pin(chunk);
        let taken = second.take(OWN[1], OWN[0], first.give(chunk));
        second.pin(taken);
        let last = third.take(OWN[2], OWN[1], second.give(taken));
        third.release(last);
        assert_eq!(third.next_return(), Some((OWN[1], taken)));
        second.take_back(taken);
        assert_eq!(second.next_return(), None, "its send is not complete");
        second.unpin(taken);
        assert_eq!(second.next_return(), Some((OWN[0], chunk)));
        first.take_back(chunk);
        assert_ne!(first.usage().used, 0);
        first.unpin(chunk);
        assert_eq!(first.usage().used, 0);
    }

    #[test]
    #[should_panic(expected = "after its release")]
    fn bytes_of_a_chunk_that_was_given_away_are_not_given() {
        let mut pool = pool(1);
        let chunk = pool.reserve(1).unwrap();
        let _given = pool.give(chunk);
        pool.bytes(chunk);
    }

    #[test]
    fn prefault_touches_pages_and_keeps_content_and_trim_gives_back_in_portions() {
        let mut pool = pool(8);
        let chunk = pool.reserve(PAGE).unwrap();
        pool.bytes_mut(chunk).fill(5);
        assert_eq!(resident_pages(&pool), 1);
        assert_eq!(pool.prefault(4 << 20).unwrap(), 4 << 20);
        assert_eq!(resident_pages(&pool), 1024);
        assert!(pool.bytes(chunk).iter().all(|byte| *byte == 5));

        // The first block holds the chunk, so three of the four touched ones can go.
        assert_eq!(pool.trim(2 << 20).unwrap(), 2 << 20);
        assert_eq!(resident_pages(&pool), 512);
        assert_eq!(pool.touched_bytes(), 2 << 20);
        assert_eq!(pool.trim(u64::MAX).unwrap(), 1 << 20);
        assert_eq!(pool.trim(u64::MAX).unwrap(), 0);
        assert_eq!(pool.touched_bytes(), 1 << 20, "the block with the chunk");
        assert!(pool.bytes(chunk).iter().all(|byte| *byte == 5));
        pool.release(chunk);
        assert_eq!(pool.trim(u64::MAX).unwrap(), 1 << 20);
        assert_eq!(resident_pages(&pool), 0);
    }

    #[test]
    fn trim_leaves_what_the_configuration_keeps() {
        let config = PoolConfig {
            budget: 8 << 20,
            huge_pages: false,
            keep_free: 3 << 20,
        };
        let mut pool = PoolMemory::new(config).unwrap();
        pool.prefault(8 << 20).unwrap();
        assert_eq!(pool.trim(u64::MAX).unwrap(), 5 << 20);
        assert_eq!(resident_pages(&pool), 3 * 256);
    }
}
