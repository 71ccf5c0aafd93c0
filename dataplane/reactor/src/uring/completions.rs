//! What completions mean: each one becomes a step of its connection, and mostly an event.
//!
//! It does not submit on its own account: what must be armed again goes through the driver and leaves with the next enter. **Invariant:**
//! completions are worked off in the order in which the kernel posted them, so bytes of one stream are told in order.

use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::time::Instant;

use io_uring::cqueue;

use super::buffer_ring::BufferRing;
use super::operation::Operation;
use super::{Connection, Phase, Receive, UringDriver, group};
use crate::connection::ConnectionId;
use crate::driver::{CloseCause, Event, SocketProfile};
use crate::linger::{ACCEPT_PAUSE, DISCARD_MAX};
use crate::socket::peer_of;

/// A completion's result: a count, or an errno.
fn outcome(completion: &cqueue::Entry) -> Result<u32, i32> {
    u32::try_from(completion.result()).map_err(|_negative| -completion.result())
}

impl UringDriver {
    /// Works off all completions that are visible. Returns how many.
    pub(super) fn reap(&mut self, events: &mut Vec<Event>) -> u32 {
        let mut completed = std::mem::take(&mut self.completed);
        self.ring.reap(&mut completed);
        let count = u32::try_from(completed.len()).unwrap_or(u32::MAX);
        let mut woken = false;
        for completion in completed.drain(..) {
            self.note_final(&completion);
            let Some((operation, slot)) = Operation::of(completion.user_data()) else {
                unreachable!("only this driver submits to its ring, and siblings send nothing but `Woken`");
            };
            match operation {
                Operation::Accept => self.on_accept(slot, &completion, events),
                Operation::Connect => self.on_connect(slot, &completion, events),
                Operation::Receive => self.on_receive(slot, &completion, events),
                Operation::Send => self.on_send(slot, &completion, events),
                Operation::Cancel => {}
                Operation::Eventfd => {
                    woken = true;
                    self.arm_eventfd();
                }
                Operation::Woken => woken = true,
                // The sibling's ring took no message (it is full, or shut down): its eventfd remains.
                Operation::Wake => {
                    self.extra_calls += 1;
                    self.siblings[slot as usize].wake();
                }
            }
        }
        self.completed = completed;
        self.buffers.iter_mut().for_each(BufferRing::end_turn);
        if woken {
            events.push(Event::Woken);
        }
        count
    }

    /// Counts an operation that has completed for good.
    pub(super) fn note_final(&mut self, completion: &cqueue::Entry) {
        let operation = Operation::of(completion.user_data()).map(|(operation, _)| operation);
        let counted = matches!(
            operation,
            Some(Operation::Accept | Operation::Connect | Operation::Receive | Operation::Send | Operation::Eventfd)
        );
        if counted && !cqueue::more(completion.flags()) {
            assert!(self.in_flight > 0);
            self.in_flight -= 1;
        }
    }

    fn on_accept(&mut self, index: u32, completion: &cqueue::Entry, events: &mut Vec<Event>) {
        let more = cqueue::more(completion.flags());
        if !more {
            self.listeners[index as usize].armed = false;
        }
        match outcome(completion) {
            Ok(_) => {
                #[expect(unsafe_code, reason = "the kernel hands over a descriptor as a number")]
                // SAFETY: a successful accept gives a new descriptor that nobody else owns.
                let socket = unsafe { OwnedFd::from_raw_fd(completion.result()) };
                self.accepted(index, socket, events);
                if !more {
                    self.arm_accept(index);
                }
            }
            // The peer gave up between its connect and our accept.
            Err(libc::ECONNABORTED | libc::EINTR) if !more => self.arm_accept(index),
            // Out of descriptors or memory, or a network that is just down: the backlog holds the peers until we try again.
            Err(_) if !more => {
                self.accept_again.get_or_insert_with(|| Instant::now() + ACCEPT_PAUSE);
            }
            Err(_) => {}
        }
    }

    fn accepted(&mut self, index: u32, socket: OwnedFd, events: &mut Vec<Event>) {
        let listener = &self.listeners[index as usize];
        let (profile, tag) = (listener.profile, listener.tag);
        // One that is gone again already has no name; nobody misses it.
        let Ok(peer) = peer_of(socket.as_fd()) else { return };
        match self.connections.insert(Connection::new(socket, profile, Phase::Open)) {
            Ok(connection) => {
                events.push(Event::Accepted {
                    listener: tag,
                    connection,
                    peer,
                });
                self.arm_receive(connection);
            }
            Err(_closed_by_drop) => self.refused_accepts += 1,
        }
    }

    fn on_connect(&mut self, slot: u32, completion: &cqueue::Entry, events: &mut Vec<Event>) {
        let (id, connection) = self.connections.in_slot(slot);
        connection.operations -= 1;
        connection.address = None;
        if connection.phase == Phase::Ending {
            self.advance(id, events);
            return;
        }
        match outcome(completion) {
            Ok(_) => {
                connection.phase = Phase::Open;
                events.push(Event::Connected { connection: id });
                self.arm_receive(id);
            }
            Err(errno) => {
                let error = io::Error::from_raw_os_error(errno);
                self.connections.remove(id);
                events.push(Event::ConnectFailed { connection: id, error });
            }
        }
    }

    fn on_receive(&mut self, slot: u32, completion: &cqueue::Entry, events: &mut Vec<Event>) {
        let (id, connection) = self.connections.in_slot(slot);
        let (profile, phase) = (connection.profile, connection.phase);
        let more = cqueue::more(completion.flags());
        if !more {
            connection.operations -= 1;
            connection.receive = Receive::Idle;
        }
        match outcome(completion) {
            Ok(0) => self.on_end_of_stream(id, events),
            Ok(length) => {
                let index = cqueue::buffer_select(completion.flags()).expect("bytes come in a provided buffer");
                let buffer = self.buffers[group(profile)].filled(index, length);
                if phase == Phase::Open {
                    events.push(Event::Received { connection: id, buffer });
                } else {
                    self.buffers[group(profile)].recycle(buffer);
                    self.on_discarded(id, length, events);
                }
            }
            Err(libc::ENOBUFS) => {
                self.buffers[group(profile)].lacked();
                let (_, connection) = self.connections.in_slot(slot);
                if connection.wants_receive() {
                    connection.receive = Receive::Starved;
                    self.starved[group(profile)].push_back(id);
                }
            }
            Err(libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {}
            Err(errno) => self.end(id, CloseCause::Failed(io::Error::from_raw_os_error(errno)), events),
        }
        if !more {
            // Wanted again: a pause that was taken back, or a multishot that the kernel ended for reasons of its own.
            self.arm_receive(id);
            self.advance(id, events);
        }
    }

    fn on_end_of_stream(&mut self, id: ConnectionId, events: &mut Vec<Event>) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.ended = true;
        match connection.phase {
            Phase::Open if connection.profile == SocketProfile::Edge => events.push(Event::Finished { connection: id }),
            Phase::Open => self.begin_close(id, CloseCause::PeerClosed, events),
            Phase::Lingering => self.end(id, CloseCause::Requested, events),
            Phase::Connecting | Phase::Flushing | Phase::Ending => {}
        }
    }

    fn on_discarded(&mut self, id: ConnectionId, length: u32, events: &mut Vec<Event>) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.discarded = connection.discarded.saturating_add(length);
        if connection.phase == Phase::Lingering && connection.discarded > DISCARD_MAX {
            self.cut(id, events);
        }
    }

    fn on_send(&mut self, slot: u32, completion: &cqueue::Entry, events: &mut Vec<Event>) {
        let (id, connection) = self.connections.in_slot(slot);
        connection.operations -= 1;
        let index = connection.send.expect("a send in flight is noted at its connection");
        let op = self.sends.get(index);
        let errno = match outcome(completion) {
            Ok(sent) if sent > 0 => {
                op.advance(sent as usize);
                if op.left() > 0 {
                    self.submit_send(id);
                    return;
                }
                connection.send = None;
                events.push(Event::Sent {
                    connection: id,
                    outgoing: self.sends.finish(index),
                });
                self.advance(id, events);
                return;
            }
            Err(libc::EINTR | libc::EAGAIN) => {
                self.submit_send(id);
                return;
            }
            // A stream that takes nothing will never take anything.
            Ok(_) => libc::EPIPE,
            Err(errno) => errno,
        };
        connection.send = None;
        let outgoing = self.sends.finish(index);
        let error = || io::Error::from_raw_os_error(errno);
        events.push(Event::SendFailed {
            connection: id,
            outgoing,
            error: error(),
        });
        self.end(id, CloseCause::Failed(error()), events);
        self.advance(id, events);
    }
}
