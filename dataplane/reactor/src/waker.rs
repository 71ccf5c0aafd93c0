//! Ends another shard's sleep.
//!
//! A waker does not know whether its shard sleeps: the inbox's flags say so (`inbox.rs`), and only then a wake costs a system call.
//! **Invariant:** a wake that returned is seen by the next blocking turn of its driver, or by the one that blocks now.
#![expect(
    unsafe_code,
    reason = "the ring's descriptor is borrowed from the io-uring crate as a plain number"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};

struct Target {
    event: OwnedFd,
    /// The sleeper's ring, where it has one: a sibling's ring can post a completion into it without a system call of its own.
    ring: Option<OwnedFd>,
}

/// Wakes one driver from any thread. Clones are cheap and wake the same driver; one that outlives its driver wakes nobody.
#[derive(Clone)]
pub struct Waker(Arc<Target>);

impl Waker {
    /// A waker over a new eventfd.
    ///
    /// `ring` must be an open descriptor; it is duplicated.
    pub(crate) fn new(ring: Option<RawFd>, nonblocking: bool) -> io::Result<Self> {
        let mut flags = EventfdFlags::CLOEXEC;
        flags.set(EventfdFlags::NONBLOCK, nonblocking);
        let event = eventfd(0, flags)?;
        let ring = match ring {
            Some(ring) => {
                // SAFETY: the caller's ring is open for the length of this call.
                let ring = unsafe { BorrowedFd::borrow_raw(ring) };
                Some(ring.try_clone_to_owned()?)
            }
            None => None,
        };
        Ok(Self(Arc::new(Target { event, ring })))
    }

    /// Wakes the driver with one write to its eventfd.
    ///
    /// From a sibling shard prefer `Driver::wake`, which needs no system call of its own on io_uring.
    pub fn wake(&self) {
        // A full counter (2^64 wakes that nobody read) would refuse the write; the driver is awake then.
        rustix::io::write(&self.0.event, &1u64.to_ne_bytes()).ok();
    }

    pub(crate) fn event(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }

    pub(crate) fn ring(&self) -> Option<RawFd> {
        self.0.ring.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Whether both wake the same driver.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waker")
            .field("by_ring", &self.0.ring.is_some())
            .finish()
    }
}
