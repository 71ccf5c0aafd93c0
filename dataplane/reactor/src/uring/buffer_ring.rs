//! A provided buffer ring: buffers that the kernel picks from when bytes come in, and that go back by moving one tail.
//!
//! The kernel takes buffers in the order in which they were put in, so that it always fills the one that was used longest ago. So no more are in
//! the ring than the last turns had a use for; the others lie on a stack, and what is filled next was read a moment ago and is still in the caches.
//!
//! It does not know connections. **Invariant:** a buffer is in the ring, on the stack, or named by one `ReceivedBuffer`, never two of these; so the
//! ring, which has one entry per buffer, cannot overflow.
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
    /// Buffers that the kernel may fill, or has filled without our having reaped it.
    in_ring: u16,
    /// How many that should be.
    goal: Goal,
    /// Buffers that were filled since the last turn.
    filled: u16,
    /// Those that are at rest, the one that was used last on top.
    spare: Vec<u16>,
}

/// How many buffers are in a ring of so many: twice what the last turns had a use for.
#[derive(Clone, Copy, Debug)]
struct Goal {
    least: u16,
    most: u16,
    now: u16,
}

impl Goal {
    fn new(bytes: u32, most: u16) -> Goal {
        let least = u16::try_from(LEAST_BYTES / bytes)
            .unwrap_or(u16::MAX)
            .max(LEAST)
            .min(most);
        let now = least;
        Goal { least, most, now }
    }

    /// A turn had a use for so many: more are allowed at once, fewer come a part at a time.
    fn learn(&mut self, filled: u16) {
        let wanted = filled.saturating_mul(2).clamp(self.least, self.most);
        let beyond = self.now.saturating_sub(wanted);
        self.now = wanted.max(self.now - beyond.div_ceil(GOAL_PART));
    }

    /// The kernel found none.
    fn lacked(&mut self) {
        self.now = self.now.saturating_mul(4).min(self.most);
    }
}

/// So many buffers are in a ring at the least,
const LEAST: u16 = 4;
/// and as many as so many bytes are: what fits the second cache beside everything else.
const LEAST_BYTES: u32 = 128 << 10;
/// Of the buffers that were of no use, one in so many leaves with each turn.
const GOAL_PART: u16 = 64;

impl BufferRing {
    /// Makes the buffers, registers the ring as group `group`, and puts the first buffers in.
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
            in_ring: 0,
            goal: Goal::new(shape.bytes, shape.count),
            filled: 0,
            spare: (0..shape.count).rev().collect(),
        };
        ring.fill();
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
        self.in_ring -= 1;
        self.filled += 1;
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

    /// Takes a buffer back, for the kernel or for later.
    #[expect(clippy::needless_pass_by_value, reason = "the name ends here")]
    pub(crate) fn recycle(&mut self, buffer: ReceivedBuffer) {
        match self.in_ring < self.goal.now {
            true => self.put(buffer.index),
            false => self.spare.push(buffer.index),
        }
    }

    /// All completions of a turn were reaped: the ring gets as many buffers as the next one may have a use for.
    #[inline]
    pub(crate) fn end_turn(&mut self) {
        self.goal.learn(std::mem::take(&mut self.filled));
        self.fill();
    }

    /// The kernel found no buffer: it gets more, if there are any at rest.
    pub(crate) fn lacked(&mut self) {
        self.goal.lacked();
        self.fill();
    }

    /// Buffers that the kernel may fill, or has filled without our having reaped it.
    pub(crate) fn available(&self) -> u16 {
        self.in_ring
    }

    fn fill(&mut self) {
        while self.in_ring < self.goal.now
            && let Some(index) = self.spare.pop()
        {
            self.put(index);
        }
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
        self.in_ring += 1;
    }

    fn entries(&self) -> &[RingEntry] {
        let count = usize::from(self.pool.shape().count);
        // SAFETY: the mapping has room for `count` entries, is aligned to a page and zeroed, and is only ever seen as these atomics.
        unsafe { std::slice::from_raw_parts(self.entries.address(0).as_ptr().cast::<RingEntry>(), count) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_buffers_are_in_the_ring_as_there_was_a_use_for_and_more_at_once_where_none_was_left() {
        let mut goal = Goal::new(2 << 10, 8_192);
        assert_eq!(goal.now, 64);
        goal.learn(20);
        assert_eq!(goal.now, 64, "as many are there anyway");
        goal.learn(3_000);
        assert_eq!(goal.now, 6_000);
        goal.lacked();
        assert_eq!(goal.now, 8_192, "all that there are");
        goal.learn(0);
        assert_eq!(goal.now, 8_192 - 127, "fewer come a part at a time");
        let turns = (0..).take_while(|_| {
            goal.learn(30);
            goal.now > 64
        });
        assert!(turns.count() < 1_000);
        for (bytes, most, least) in [(64 << 10, 32, 4), (2 << 10, 16, 16), (1 << 20, 2, 2)] {
            assert_eq!(Goal::new(bytes, most).now, least);
        }
    }
}
