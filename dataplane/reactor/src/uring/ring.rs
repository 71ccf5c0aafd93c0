//! The ring itself: set-up, entering, and the queue before the queue.
//!
//! It does not know what operations mean, nor what to do where the kernel refuses it. **Invariant:** whatever an entry points to stays valid until its last completion: the caller's
//! promise at [`Ring::push`]. Entries leave in the order in which they were pushed.
#![expect(unsafe_code, reason = "entering and submitting hand addresses to the kernel")]

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

use io_uring::{EnterFlags, IoUring, cqueue, squeue, types};

use super::concessions::{Flags, Refused};
use crate::driver::{UringRefusal, Wait};

/// Completions per submission entry: multishot operations answer many times.
const COMPLETIONS_PER_ENTRY: u32 = 4;
/// Registers a ring's own descriptor (`IORING_REGISTER_RING_FDS`), so that entering needs no descriptor look-up.
const REGISTER_RING_FDS: libc::c_uint = 20;

/// A ring of the calling thread.
pub(crate) struct Ring {
    ring: IoUring,
    /// What `enter` names the ring by: its registered index, or its descriptor where that was refused.
    enter_as: libc::c_int,
    enter_flags: EnterFlags,
    /// Entries that found the submission queue full.
    backlog: VecDeque<squeue::Entry>,
}

impl Ring {
    /// Sets a ring up with exactly these flags and entries.
    pub(super) fn open(flags: Flags, entries: u32) -> Result<Self, Refused> {
        let ring = build(flags, entries).map_err(Refused::Ring)?;
        if !ring.params().is_feature_ext_arg() || !ring.params().is_feature_nodrop() {
            let error = io::ErrorKind::Unsupported.into();
            return Err(Refused::Final(UringRefusal::Unsupported {
                feature: "waiting with a timeout",
                error,
            }));
        }
        let mut enter_flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        if ring.params().is_feature_no_iowait() {
            // A shard that waits for messages is idle, not stalled on a disk; without this, tools show it as 100 % iowait.
            enter_flags |= EnterFlags::NO_IOWAIT;
        }
        Ok(Self {
            enter_as: ring.as_raw_fd(),
            ring,
            enter_flags,
            backlog: VecDeque::new(),
        })
    }

    /// Lets entering go without a look-up, where the kernel takes part. For a ring that is kept: the thread holds it from now on, and its
    /// memory is not given back before the thread ends.
    pub(super) fn keep(&mut self) {
        if let Ok(index) = register_own_descriptor(self.ring.as_raw_fd()) {
            self.enter_flags |= EnterFlags::REGISTERED_RING;
            self.enter_as = index;
        }
    }

    pub(crate) fn descriptor(&self) -> RawFd {
        self.ring.as_raw_fd()
    }

    pub(crate) fn submitter(&self) -> io_uring::Submitter<'_> {
        self.ring.submitter()
    }

    /// Queues an entry for the next [`enter`](Self::enter).
    ///
    /// # Safety
    /// Everything that the entry points to stays valid, and is not written, until its last completion was reaped.
    pub(crate) unsafe fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: the caller's promise is the one that `try_push` asks for.
        if !self.backlog.is_empty() || !unsafe { self.try_push(&entry) } {
            self.backlog.push_back(entry);
        }
    }

    /// # Safety
    /// As [`push`](Self::push).
    unsafe fn try_push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: validity of what the entry points to is the caller's promise.
        unsafe { self.ring.submission().push(entry) }.is_ok()
    }

    /// Moves what waited into the submission queue. Returns the entries that now wait for the kernel.
    fn refill(&mut self) -> u32 {
        while let Some(entry) = self.backlog.pop_front() {
            // SAFETY: the entry came through `push`, whose caller made the promise.
            if !unsafe { self.try_push(&entry) } {
                self.backlog.push_front(entry);
                break;
            }
        }
        u32::try_from(self.ring.submission().len()).expect("the queue has at most 32,768 entries")
    }

    /// Whether the kernel holds completions that only an enter can bring: deferred work, or an overflowed queue.
    pub(crate) fn has_hidden_completions(&mut self) -> bool {
        let queue = self.ring.submission();
        queue.taskrun() || queue.cq_overflow()
    }

    /// Whether anything waits to be handed to the kernel.
    pub(crate) fn has_submissions(&mut self) -> bool {
        !self.backlog.is_empty() || !self.ring.submission().is_empty()
    }

    /// Submits everything and waits as allowed, in one system call; in more only when more was queued than the ring holds. Returns the
    /// system calls made and the entries submitted.
    pub(crate) fn enter(&mut self, wait: Wait) -> io::Result<(u32, u32)> {
        let (mut calls, mut submitted) = (0, 0);
        loop {
            let waiting = self.refill();
            let last = self.backlog.is_empty();
            let wait = if last { wait } else { Wait::Poll };
            calls += 1;
            match self.enter_once(waiting, wait) {
                Ok(taken) => submitted += taken,
                // The wait was over, or a signal ended it.
                Err(libc::ETIME | libc::EINTR) => {}
                // The completion queue is full, or the kernel is short of memory: what was not taken stays queued for the next turn,
                // after the caller has reaped.
                Err(libc::EBUSY | libc::EAGAIN) => return Ok((calls, submitted)),
                Err(error) => return Err(io::Error::from_raw_os_error(error)),
            }
            if last {
                return Ok((calls, submitted));
            }
        }
    }

    fn enter_once(&mut self, to_submit: u32, wait: Wait) -> Result<u32, libc::c_int> {
        let timeout;
        let mut args = types::SubmitArgs::new();
        let min_complete: libc::c_uint = match wait {
            Wait::Poll => 0,
            Wait::Until(limit) => {
                timeout = types::Timespec::from(limit);
                args = args.timespec(&timeout);
                1
            }
            Wait::Forever => 1,
        };
        // Not through the crate's `Submitter`: it would forget the registered index, which it keeps in a temporary.
        // SAFETY: the descriptor is this ring; `args` and the timeout it points to live beyond the call; entries were promised valid.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.enter_as,
                to_submit,
                min_complete,
                self.enter_flags.bits(),
                &raw const args,
                size_of_val(&args),
            )
        };
        u32::try_from(result).map_err(|_negative| io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
    }

    /// Moves all completions that are visible to `completed`.
    pub(crate) fn reap(&mut self, completed: &mut Vec<cqueue::Entry>) {
        completed.extend(self.ring.completion());
    }
}

fn build(flags: Flags, entries: u32) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_cqsize(entries * COMPLETIONS_PER_ENTRY).setup_clamp();
    match flags {
        Flags::Deferred => {
            builder
                .setup_single_issuer()
                .setup_defer_taskrun()
                .setup_taskrun_flag()
                .setup_submit_all();
        }
        Flags::Cooperative => {
            builder.setup_coop_taskrun().setup_taskrun_flag().setup_submit_all();
        }
        Flags::Plain => {}
    }
    builder.build(entries)
}

fn register_own_descriptor(ring: RawFd) -> io::Result<libc::c_int> {
    /// `struct io_uring_rsrc_update`; an offset of all ones asks for any free index.
    #[repr(C)]
    struct Update {
        offset: u32,
        reserved: u32,
        descriptor: u64,
    }
    let descriptor = u64::try_from(ring).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut update = Update {
        offset: u32::MAX,
        reserved: 0,
        descriptor,
    };
    // SAFETY: the kernel reads and writes one `Update`, which lives beyond the call.
    let registered = unsafe {
        libc::syscall(
            libc::SYS_io_uring_register,
            ring,
            REGISTER_RING_FDS,
            &raw mut update,
            1_u32,
        )
    };
    if registered != 1 {
        return Err(io::Error::last_os_error());
    }
    libc::c_int::try_from(update.offset).map_err(|_| io::ErrorKind::InvalidData.into())
}
