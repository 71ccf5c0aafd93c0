//! Memory of a simulated shard: boxes, counted against a budget.

use waterpark_core::memory::{ChunkId, Memory, MemoryFull, Usage};

/// A chunk, its pins, and whether it was released.
type Slot = (Box<[u8]>, u32, bool);

/// Chunks on the heap.
#[derive(Debug)]
pub struct HeapMemory {
    chunks: Vec<Option<Slot>>,
    free: Vec<u32>,
    usage: Usage,
}

impl HeapMemory {
    /// A memory of so many bytes.
    #[must_use]
    pub fn new(budget: u64) -> HeapMemory {
        HeapMemory {
            chunks: Vec::new(),
            free: Vec::new(),
            usage: Usage { used: 0, budget },
        }
    }

    fn slot(&mut self, chunk: ChunkId) -> &mut Slot {
        self.chunks[chunk.0 as usize].as_mut().expect("a reserved chunk")
    }

    fn free_if_done(&mut self, chunk: ChunkId) {
        let (bytes, pins, released) = self.slot(chunk);
        if *pins == 0 && *released {
            let length = bytes.len() as u64;
            self.usage.used -= length;
            self.chunks[chunk.0 as usize] = None;
            self.free.push(chunk.0);
        }
    }
}

impl Memory for HeapMemory {
    fn reserve(&mut self, bytes: usize) -> Result<ChunkId, MemoryFull> {
        if self.usage.used + bytes as u64 > self.usage.budget {
            return Err(MemoryFull);
        }
        self.usage.used += bytes as u64;
        // Not zeroes: what was not written must not be believed.
        let chunk = Some((vec![0xA5; bytes].into_boxed_slice(), 0, false));
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
        Ok(ChunkId(index))
    }

    fn bytes(&self, chunk: ChunkId) -> &[u8] {
        &self.chunks[chunk.0 as usize].as_ref().expect("a reserved chunk").0
    }

    fn bytes_mut(&mut self, chunk: ChunkId) -> &mut [u8] {
        &mut self.slot(chunk).0
    }

    fn release(&mut self, chunk: ChunkId) {
        self.slot(chunk).2 = true;
        self.free_if_done(chunk);
    }

    fn pin(&mut self, chunk: ChunkId) {
        self.slot(chunk).1 += 1;
    }

    fn unpin(&mut self, chunk: ChunkId) {
        self.slot(chunk).1 -= 1;
        self.free_if_done(chunk);
    }

    fn usage(&self) -> Usage {
        self.usage
    }
}
