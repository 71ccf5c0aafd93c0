//! Bytes in and out of sockets that are ready.
//!
//! It does not know why a connection is ready. **Invariant:** a socket is left off the lists only after it was read dry, so that the next edge is
//! certain to come.
#![expect(unsafe_code, reason = "sending from raw pieces has no safe form")]

use std::os::fd::AsRawFd;

use rustix::io::Errno;
use rustix::net::RecvFlags;

use super::{Connection, EpollDriver, Phase, pool};
use crate::buffer_pool::ReceivedBuffer;
use crate::connection::ConnectionId;
use crate::driver::{CloseCause, Event, SocketProfile};
use crate::linger::DISCARD_MAX;
use crate::send_op::{FLAGS, SendOp};

/// Buffers that one connection may fill in a turn, so that one loud peer does not hold up the others.
const RECEIVES_PER_TURN: usize = 8;

/// What a connection's reading came to.
enum Reading {
    /// It was read dry: the next edge lists it.
    Dry,
    /// There may be more: it goes to the end of the list.
    More,
    /// Every buffer is out.
    NoBuffer,
    /// It has been ended, or is not wanted any more.
    Over,
}

impl EpollDriver {
    /// Sends what the socket takes. The rest goes when an edge says that there is room.
    pub(super) fn go_on_sending(&mut self, id: ConnectionId, events: &mut Vec<Event>) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let Some(index) = connection.send else { return };
        let op = self.sends.get(index);
        loop {
            self.calls += 1;
            match send_some(connection, op) {
                Ok(sent) => op.advance(sent),
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => {}
                Err(errno) => {
                    self.end(id, CloseCause::Failed(errno.into()), errno, events);
                    return;
                }
            }
            if op.left() == 0 {
                break;
            }
        }
        connection.send = None;
        events.push(Event::Sent {
            connection: id,
            outgoing: self.sends.finish(index),
        });
        self.advance(id, events);
    }

    /// Lists those that waited for a buffer, as many as there are buffers.
    pub(super) fn list_starved(&mut self) {
        for (waiting, buffers) in self.starved.iter_mut().zip(&self.buffers) {
            let count = waiting.len().min(buffers.free.len());
            self.readable.extend(waiting.drain(..count));
        }
    }

    /// Reads each listed connection once.
    pub(super) fn read_listed(&mut self, events: &mut Vec<Event>) {
        for _ in 0..self.readable.len() {
            let Some(id) = self.readable.pop_front() else { break };
            let reading = self.read(id, events);
            let Some(connection) = self.connections.get_mut(id) else {
                continue;
            };
            match reading {
                Reading::Dry => {
                    connection.readable = false;
                    connection.listed = false;
                }
                Reading::More => self.readable.push_back(id),
                Reading::NoBuffer => self.starved[pool(connection.profile)].push_back(id),
                Reading::Over => connection.listed = false,
            }
        }
    }

    fn read(&mut self, id: ConnectionId, events: &mut Vec<Event>) -> Reading {
        for _ in 0..RECEIVES_PER_TURN {
            let Some(connection) = self.connections.get_mut(id).filter(|it| it.wants_receive()) else {
                return Reading::Over;
            };
            let profile = connection.profile;
            let buffers = &mut self.buffers[pool(profile)];
            let Some(&index) = buffers.free.last() else {
                return Reading::NoBuffer;
            };
            let room = buffers.pool.free_bytes(index);
            let room_len = room.len();
            self.calls += 1;
            let length = match rustix::net::recv(&connection.socket, room, RecvFlags::empty()) {
                Ok((0, _)) => {
                    connection.ended = true;
                    match connection.phase {
                        Phase::Lingering => self.end(id, CloseCause::Requested, Errno::CANCELED, events),
                        Phase::Open if profile == SocketProfile::Edge => {
                            events.push(Event::Finished { connection: id });
                        }
                        _ => self.begin_close(id, CloseCause::PeerClosed, events),
                    }
                    return Reading::Over;
                }
                Ok((length, _)) => length,
                Err(Errno::AGAIN) => return Reading::Dry,
                Err(Errno::INTR) => continue,
                Err(errno) => {
                    self.end(id, CloseCause::Failed(errno.into()), errno, events);
                    return Reading::Over;
                }
            };
            // A receive that did not fill its buffer has emptied the socket, unless its end is there as well.
            let dry = length < room_len && !connection.hung_up;
            let length = u32::try_from(length).expect("a buffer is at most 16 MiB");
            if connection.phase == Phase::Open {
                buffers.free.pop();
                events.push(Event::Received {
                    connection: id,
                    buffer: ReceivedBuffer { profile, index, length },
                });
            } else {
                connection.discarded = connection.discarded.saturating_add(length);
                if connection.discarded > DISCARD_MAX {
                    self.cut(id, events);
                    return Reading::Over;
                }
            }
            if dry {
                return Reading::Dry;
            }
        }
        Reading::More
    }
}

fn send_some(connection: &Connection, op: &mut SendOp) -> Result<usize, Errno> {
    let socket = connection.socket.as_raw_fd();
    let sent = match op.plain() {
        // SAFETY: the send owns or pins these bytes until it has ended.
        Some((bytes, length)) => unsafe { libc::send(socket, bytes.cast(), length, FLAGS) },
        // SAFETY: the message and the pieces it points to are the send's own, and owned or pinned until it has ended.
        None => unsafe { libc::sendmsg(socket, op.message(), FLAGS) },
    };
    match usize::try_from(sent) {
        Ok(0) => Err(Errno::PIPE),
        Ok(sent) => Ok(sent),
        Err(_negative) => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}
