//! Receive buffers of one size, in one mapping, named by index.
//!
//! It does not know who fills them: the kernel through a buffer ring, or the epoll driver through `recv`. **Invariant:** a
//! [`ReceivedBuffer`] is the only name of its bytes from the completion that filled it until it is recycled; it cannot be copied.
#![expect(
    unsafe_code,
    reason = "buffers are disjoint slices of one mapping, which only ownership of their names can show"
)]

use std::io;

use crate::driver::SocketProfile;
use crate::mapping::Mapping;

/// How many receive buffers of which size a driver keeps for one kind of connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffers {
    /// Number of buffers: a power of two, at most 32,768 (what a provided buffer ring can hold).
    pub count: u16,
    /// Bytes of each, at least 512.
    pub bytes: u32,
}

impl Buffers {
    /// For links between nodes: 32 × 64 KiB, large because a frame under load is 32 KiB and more.
    pub const LINK: Self = Self {
        count: 32,
        bytes: 64 << 10,
    };
    /// For clients: 8,192 × 2 KiB, many because thousands of connections may each send a little at once.
    pub const CLIENT: Self = Self {
        count: 8192,
        bytes: 2 << 10,
    };
    /// For links where dozens of nodes share a small machine.
    pub const LINK_DEMO: Self = Self {
        count: 16,
        bytes: 32 << 10,
    };
    /// For clients where dozens of nodes share a small machine.
    pub const CLIENT_DEMO: Self = Self {
        count: 64,
        bytes: 2 << 10,
    };

    /// Bytes of all of them.
    pub(crate) fn all_bytes(self) -> u64 {
        u64::from(self.count) * u64::from(self.bytes)
    }

    pub(crate) fn is_valid(self) -> bool {
        self.count.is_power_of_two() && self.count <= 32_768 && self.bytes >= 512 && self.bytes <= 16 << 20
    }
}

/// A filled receive buffer. Whoever got it reads it through `Driver::received` and gives it back through `Driver::recycle`; one that is
/// dropped instead is lost to its driver's pool for good.
#[derive(Debug)]
#[must_use = "a buffer that is not recycled is lost to the pool"]
pub struct ReceivedBuffer {
    pub(crate) profile: SocketProfile,
    pub(crate) index: u16,
    pub(crate) length: u32,
}

impl ReceivedBuffer {
    /// Bytes received, at least 1.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length as usize
    }

    /// Always false: an empty receive is the end of the stream, which is an event of its own.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

/// The bytes behind the names.
#[derive(Debug)]
pub(crate) struct BufferPool {
    memory: Mapping,
    shape: Buffers,
}

impl BufferPool {
    pub(crate) fn new(shape: Buffers) -> io::Result<Self> {
        assert!(shape.is_valid());
        let memory = Mapping::reserve(usize::from(shape.count) * shape.bytes as usize, 4096)?;
        Ok(Self { memory, shape })
    }

    pub(crate) fn shape(&self) -> Buffers {
        self.shape
    }

    /// Where buffer `index` begins, for the kernel.
    pub(crate) fn address(&self, index: u16) -> u64 {
        self.memory.address(self.offset(index)).as_ptr().expose_provenance() as u64
    }

    /// What was received into a buffer.
    #[inline]
    pub(crate) fn received(&self, buffer: &ReceivedBuffer) -> &[u8] {
        assert!(buffer.length <= self.shape.bytes);
        // SAFETY: the buffer's name is alive, so it was filled and not given back: neither the kernel nor `free_bytes` writes it.
        unsafe { self.memory.slice(self.offset(buffer.index), buffer.length as usize) }
    }

    /// The whole of a buffer that nobody holds, to receive into.
    pub(crate) fn free_bytes(&mut self, index: u16) -> &mut [u8] {
        let offset = self.offset(index);
        // SAFETY: `&mut self` keeps `received` away, and the caller (the epoll driver) has the index from its own free list.
        unsafe { self.memory.slice_mut(offset, self.shape.bytes as usize) }
    }

    /// Never unmaps the buffers; see [`Mapping::keep_forever`].
    pub(crate) fn keep_forever(&self) {
        self.memory.keep_forever();
    }

    #[inline]
    fn offset(&self, index: u16) -> usize {
        assert!(index < self.shape.count);
        usize::from(index) * self.shape.bytes as usize
    }
}
