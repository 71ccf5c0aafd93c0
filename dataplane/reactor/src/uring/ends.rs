//! The two ends of a driver's life: the proof that the kernel can do what we need, and letting go of it.
//!
//! It does not know what happens in between. **Invariant:** memory that an operation may still touch is never given back.
#![expect(
    unsafe_code,
    reason = "operations point to memory that the kernel reads and writes later"
)]

use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use io_uring::{cqueue, opcode, types};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::UringDriver;
use super::buffer_ring::BufferRing;
use super::operation::Operation;
use super::ring::Ring;
use crate::connection::Connections;
use crate::driver::Wait;
use crate::send_op::SendOps;

/// Receives one byte over a local pair: kernels before 6.0 take the operation and fail it later, and connections are no place to find out.
pub(super) fn prove_multishot_receive(ring: &mut Ring, buffers: &mut BufferRing) -> io::Result<()> {
    let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::io::write(&theirs, b"?")?;
    let receive = opcode::RecvMulti::new(types::Fd(ours.as_raw_fd()), buffers.group()).build();
    // SAFETY: the bytes go to the registered buffers, and `ours` is open until the last completion or the end of the ring.
    unsafe { ring.push(receive.user_data(Operation::Receive.on(u32::MAX))) };
    drop(theirs);
    let mut completed = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        ring.enter(Wait::Until(Duration::from_millis(100)))?;
        ring.reap(&mut completed);
        let mut proven = false;
        for completion in completed.drain(..) {
            match u32::try_from(completion.result()) {
                Ok(0) => return Ok(()),
                Ok(length) => {
                    let index = cqueue::buffer_select(completion.flags()).ok_or(io::ErrorKind::Unsupported)?;
                    let buffer = buffers.filled(index, length);
                    proven = buffers.received(&buffer) == b"?";
                    buffers.recycle(buffer);
                }
                Err(_negative) => return Err(io::Error::from_raw_os_error(-completion.result())),
            }
        }
        if !proven && begun.elapsed() > Duration::from_millis(900) {
            break;
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

impl Drop for UringDriver {
    /// Cancels everything and waits for it: wakers keep the ring itself alive, and an operation in flight owns memory of ours.
    fn drop(&mut self) {
        let everything = opcode::AsyncCancel2::new(types::CancelBuilder::any()).build();
        // SAFETY: a cancel points to no memory.
        unsafe { self.ring.push(everything.user_data(Operation::Cancel.on(u32::MAX))) };
        let begun = Instant::now();
        let mut completed = std::mem::take(&mut self.completed);
        while self.in_flight > 0 && begun.elapsed() < Duration::from_secs(1) {
            if self.ring.enter(Wait::Until(Duration::from_millis(20))).is_err() {
                break;
            }
            self.ring.reap(&mut completed);
            for completion in completed.drain(..) {
                self.note_final(&completion);
            }
        }
        if self.in_flight == 0 {
            for buffers in &self.buffers {
                // The ring ends with its last descriptor, and the registration with it; this frees the memory earlier.
                drop(buffers.unregister(&self.ring.submitter()));
            }
            return;
        }
        // The kernel would not let go in time. Its operations may still read and write, so their memory is never given back.
        self.buffers.iter().for_each(BufferRing::keep_forever);
        std::mem::forget(std::mem::replace(&mut self.sends, SendOps::new()));
        std::mem::forget(std::mem::replace(&mut self.connections, Connections::new(0)));
        std::mem::forget(std::mem::take(&mut self.eventfd_word));
    }
}
