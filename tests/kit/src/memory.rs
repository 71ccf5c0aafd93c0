//! Memory of a simulated shard: boxes, counted against a budget.

use waterpark_core::ids::ShardId;
use waterpark_core::memory::{ChunkId, Memory, MemoryFull, Usage};

/// What a chunk is to the shard that has its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It is the shard's own.
    Held,
    /// It was released, and is still pinned.
    Released,
    /// It was given to another shard, and counts here until it comes back.
    Given,
}

/// A chunk.
#[derive(Debug)]
struct Slot {
    bytes: Box<[u8]>,
    pins: u32,
    standing: Standing,
    /// The shard that it is from, and its name there, if that is not this one.
    home: Option<(ShardId, ChunkId)>,
    length: u64,
}

/// A chunk on its way to another shard.
#[derive(Debug)]
pub struct Given {
    bytes: Box<[u8]>,
    home: Option<(ShardId, ChunkId)>,
    name: ChunkId,
}

/// Chunks on the heap.
#[derive(Debug)]
pub struct HeapMemory {
    chunks: Vec<Option<Slot>>,
    free: Vec<u32>,
    /// Chunks of other shards that nobody here needs any more, by their names there.
    returns: Vec<(ShardId, ChunkId)>,
    usage: Usage,
}

impl HeapMemory {
    /// A memory of so many bytes.
    #[must_use]
    pub fn new(budget: u64) -> HeapMemory {
        HeapMemory {
            chunks: Vec::new(),
            free: Vec::new(),
            returns: Vec::new(),
            usage: Usage { used: 0, budget },
        }
    }

    fn slot(&mut self, chunk: ChunkId) -> &mut Slot {
        self.chunks[chunk.0 as usize].as_mut().expect("a reserved chunk")
    }

    fn free_if_done(&mut self, chunk: ChunkId) {
        let slot = self.slot(chunk);
        if slot.pins == 0 && slot.standing == Standing::Released {
            let (home, length) = (slot.home, slot.length);
            match home {
                Some(home) => self.returns.push(home),
                None => self.usage.used -= length,
            }
            self.vacate(chunk);
        }
    }

    fn vacate(&mut self, chunk: ChunkId) {
        self.chunks[chunk.0 as usize] = None;
        self.free.push(chunk.0);
    }

    fn insert(&mut self, bytes: Box<[u8]>, home: Option<(ShardId, ChunkId)>) -> ChunkId {
        let chunk = Some(Slot {
            length: bytes.len() as u64,
            bytes,
            pins: 0,
            standing: Standing::Held,
            home,
        });
        let index = match self.free.pop() {
            Some(index) => {
                self.chunks[index as usize] = chunk;
                index
            }
            None => {
                self.chunks.push(chunk);
                u32::try_from(self.chunks.len() - 1).expect("few chunks")
            }
        };
        ChunkId(index)
    }
}

impl Memory for HeapMemory {
    type Given = Given;

    fn reserve(&mut self, bytes: usize) -> Result<ChunkId, MemoryFull> {
        if self.usage.used + bytes as u64 > self.usage.budget {
            return Err(MemoryFull);
        }
        self.usage.used += bytes as u64;
        // Not zeroes: what was not written must not be believed.
        Ok(self.insert(vec![0xA5; bytes].into_boxed_slice(), None))
    }

    fn bytes(&self, chunk: ChunkId) -> &[u8] {
        let slot = self.chunks[chunk.0 as usize].as_ref().expect("a reserved chunk");
        assert!(
            slot.standing != Standing::Given,
            "a chunk is read after it was given away"
        );
        &slot.bytes
    }

    fn bytes_mut(&mut self, chunk: ChunkId) -> &mut [u8] {
        &mut self.slot(chunk).bytes
    }

    fn release(&mut self, chunk: ChunkId) {
        let slot = self.slot(chunk);
        assert_eq!(
            slot.standing,
            Standing::Held,
            "a chunk is released once, by whoever has it"
        );
        slot.standing = Standing::Released;
        self.free_if_done(chunk);
    }

    fn pin(&mut self, chunk: ChunkId) {
        self.slot(chunk).pins += 1;
    }

    fn unpin(&mut self, chunk: ChunkId) {
        self.slot(chunk).pins -= 1;
        self.free_if_done(chunk);
    }

    fn usage(&self) -> Usage {
        self.usage
    }

    fn give(&mut self, chunk: ChunkId) -> Given {
        let slot = self.slot(chunk);
        assert_eq!(slot.standing, Standing::Held, "a chunk is given by whoever has it");
        assert_eq!(slot.pins, 0, "nothing gathers from chunks here");
        let (bytes, home) = (std::mem::take(&mut slot.bytes), slot.home);
        slot.standing = Standing::Given;
        if home.is_some() {
            self.vacate(chunk);
        }
        Given {
            bytes,
            home,
            name: chunk,
        }
    }

    fn take(&mut self, own: ShardId, from: ShardId, given: Given) -> ChunkId {
        let (shard, name) = given.home.unwrap_or((from, given.name));
        if shard != own {
            return self.insert(given.bytes, Some((shard, name)));
        }
        let slot = self.slot(name);
        assert_eq!(slot.standing, Standing::Given, "what comes home was given away");
        slot.bytes = given.bytes;
        slot.standing = Standing::Held;
        name
    }

    fn next_return(&mut self) -> Option<(ShardId, ChunkId)> {
        self.returns.pop()
    }

    fn take_back(&mut self, chunk: ChunkId) {
        let slot = self.slot(chunk);
        assert_eq!(slot.standing, Standing::Given, "what comes back was given away");
        slot.standing = Standing::Released;
        self.free_if_done(chunk);
    }
}
