//! A provided buffer ring: buffers that the kernel picks from when bytes come in, and that go back by moving one tail.
//!
//! It does not know connections. **Invariant:** a buffer is in the ring or named by one `ReceivedBuffer`, never both; so the ring, which
//! has one entry per buffer, cannot overflow.
#![expect(
    unsafe_code,
    reason = "the ring is memory shared with the kernel, registered by address"
)]

use std::io;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

use io_uring::Submitter;

use crate::buffer_pool::{BufferPool, Buffers, ReceivedBuffer};
use crate::driver::SocketProfile;
use crate::mapping::Mapping;

/// `struct io_uring_buf`. The last field of the first entry is the ring's tail; in all others it is unused. The kernel reads while we
/// write, hence atomics: relaxed for an entry, release for the tail that publishes it.
#[repr(C)]
struct RingEntry {
    address: AtomicU64,
    length: AtomicU32,
    buffer: AtomicU16,
    tail: AtomicU16,
}

const _: () = assert!(size_of::<RingEntry>() == 16 && std::mem::offset_of!(RingEntry, tail) == 14);

pub(crate) struct BufferRing {
    entries: Mapping,
    pool: BufferPool,
    profile: SocketProfile,
    group: u16,
    tail: u16,
    /// Buffers that are named by a `ReceivedBuffer`.
    lent: u16,
}

impl BufferRing {
    /// Makes the buffers, registers the ring as group `group`, and puts all buffers in.
    pub(crate) fn register(
        submitter: &Submitter<'_>,
        group: u16,
        profile: SocketProfile,
        shape: Buffers,
    ) -> io::Result<Self> {
        let pool = BufferPool::new(shape)?;
        let entries = Mapping::reserve(usize::from(shape.count) * size_of::<RingEntry>(), 4096)?;
        let address = entries.address(0).as_ptr().expose_provenance() as u64;
        // SAFETY: the mapping holds `count` entries, is page aligned, and outlives the registration (`unregister`, or the ring's end).
        unsafe { submitter.register_buf_ring_with_flags(address, shape.count, group, 0) }?;
        let mut ring = Self {
            entries,
            pool,
            profile,
            group,
            tail: 0,
            lent: 0,
        };
        (0..shape.count).for_each(|index| ring.put(index));
        Ok(ring)
    }

    pub(crate) fn unregister(&self, submitter: &Submitter<'_>) -> io::Result<()> {
        submitter.unregister_buf_ring(self.group)
    }

    pub(crate) fn group(&self) -> u16 {
        self.group
    }

    /// Names the buffer that a completion says was filled.
    pub(crate) fn filled(&mut self, index: u16, length: u32) -> ReceivedBuffer {
        assert!(index < self.pool.shape().count && length <= self.pool.shape().bytes);
        self.lent += 1;
        ReceivedBuffer {
            profile: self.profile,
            index,
            length,
        }
    }

    #[inline]
    pub(crate) fn received(&self, buffer: &ReceivedBuffer) -> &[u8] {
        self.pool.received(buffer)
    }

    /// Gives a buffer back to the kernel.
    #[expect(clippy::needless_pass_by_value, reason = "the name ends here")]
    pub(crate) fn recycle(&mut self, buffer: ReceivedBuffer) {
        self.lent -= 1;
        self.put(buffer.index);
    }

    /// Buffers that the kernel may fill, or has filled without our having reaped it.
    pub(crate) fn available(&self) -> u16 {
        self.pool.shape().count - self.lent
    }

    /// Never unmaps anything; see [`Mapping::keep_forever`].
    pub(crate) fn keep_forever(&self) {
        self.entries.keep_forever();
        self.pool.keep_forever();
    }

    fn put(&mut self, index: u16) {
        let count = self.pool.shape().count;
        let entries = self.entries();
        let entry = &entries[usize::from(self.tail & (count - 1))];
        entry.address.store(self.pool.address(index), Ordering::Relaxed);
        entry.length.store(self.pool.shape().bytes, Ordering::Relaxed);
        entry.buffer.store(index, Ordering::Relaxed);
        let tail = self.tail.wrapping_add(1);
        entries[0].tail.store(tail, Ordering::Release);
        self.tail = tail;
    }

    fn entries(&self) -> &[RingEntry] {
        let count = usize::from(self.pool.shape().count);
        // SAFETY: the mapping has room for `count` entries, is aligned to a page and zeroed, and is only ever seen as these atomics.
        unsafe { std::slice::from_raw_parts(self.entries.address(0).as_ptr().cast::<RingEntry>(), count) }
    }
}
