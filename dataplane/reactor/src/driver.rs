//! What a shard asks of the kernel's sockets, and what it is told: the trait that io_uring and epoll both serve.
//!
//! It does not know frames, links or clients. **Invariant:** both drivers tell the same story of the same traffic. Per connection: one of
//! `Accepted`, `Connected`; then any number of `Received`; each accepted send ends in exactly one of `Sent`, `SendFailed`; then exactly one
//! `Closed`, after which the name is stale. A connect that fails has one `ConnectFailed` and nothing else,
//! one that is closed before it succeeds has `Closed` and nothing else.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use waterpark_core::memory::Outgoing;

use crate::buffer_pool::{Buffers, ReceivedBuffer};
use crate::chunk_pool::PoolMemory;
use crate::connection::ConnectionId;
use crate::epoll::EpollDriver;
use crate::socket::{Congestion, SocketOptions};
use crate::uring::UringDriver;
use crate::waker::Waker;

/// The kernel interface that a driver uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriverKind {
    /// Submissions and completions through shared rings; one system call per turn.
    IoUring,
    /// Readiness, then a system call per operation.
    Epoll,
}

impl fmt::Display for DriverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        })
    }
}

/// Which driver is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverChoice {
    /// io_uring where the host allows it, else epoll with a note for the banner.
    #[default]
    Auto,
    /// io_uring or an error.
    IoUring,
    /// epoll.
    Epoll,
}

/// What kind of peer a connection has: decides its socket options and receive buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SocketProfile {
    /// Another node: few connections, large frames.
    Link,
    /// A client: many connections, small messages.
    Client,
    /// A sender of another protocol: as a client, and answers are still owed to it when it has ended its side.
    Edge,
}

/// Sizes and limits of one driver, fixed when it opens.
#[derive(Clone, Copy, Debug)]
pub struct DriverConfig {
    /// Submission entries of the ring, a power of two. The completion side has four times as many. Ignored by epoll.
    pub ring_entries: u32,
    /// Receive buffers for links.
    pub link_buffers: Buffers,
    /// Receive buffers for clients.
    pub client_buffers: Buffers,
    /// Socket options of links.
    pub link_socket: SocketOptions,
    /// Socket options of clients.
    pub client_socket: SocketOptions,
    /// Connections at a time; one more is closed as soon as it is accepted, and counted.
    pub connections_max: u32,
    /// How long a closed connection may take to read what it was last sent, before it is cut.
    pub linger: Duration,
}

impl Default for DriverConfig {
    fn default() -> Self {
        Self {
            ring_entries: 1024,
            link_buffers: Buffers::LINK,
            client_buffers: Buffers::CLIENT,
            link_socket: SocketOptions::LINK,
            client_socket: SocketOptions::CLIENT,
            connections_max: 20_000,
            linger: Duration::from_millis(500),
        }
    }
}

impl DriverConfig {
    /// What io_uring counts of one driver against the user's limit of locked memory, on kernels that count it: the ring, and the two rings of
    /// receive buffers. The buffers themselves are not registered, so not counted.
    #[must_use]
    pub fn locked_bytes(&self) -> u64 {
        const PAGE: u64 = 4_096;
        /// Both heads, tails and masks of a ring, rounded up by what its fields are aligned to.
        const RING_HEAD: u64 = 320;
        let entries = u64::from(self.ring_entries);
        let submissions = entries * 64;
        // Four completions of 16 bytes for each entry, and an index of 4.
        let completions = RING_HEAD + entries * (4 * 16 + 4);
        let buffers = [self.link_buffers, self.client_buffers].map(|buffers| u64::from(buffers.count) * 16);
        let parts = [submissions, completions].into_iter().chain(buffers);
        parts.map(|bytes| bytes.next_multiple_of(PAGE)).sum()
    }
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// A listener has a new connection, which receives from now on.
    Accepted {
        /// The tag given to `listen`.
        listener: u32,
        /// Its name.
        connection: ConnectionId,
        /// Where it comes from.
        peer: SocketAddr,
    },
    /// A connect has succeeded; the connection receives from now on.
    Connected {
        /// The name that `connect` gave.
        connection: ConnectionId,
    },
    /// A connect has failed; its name is stale.
    ConnectFailed {
        /// The name that `connect` gave.
        connection: ConnectionId,
        /// Why, as the kernel says it.
        error: io::Error,
    },
    /// Bytes came in, in stream order. A receive can end anywhere.
    Received {
        /// From whom.
        connection: ConnectionId,
        /// To be read with `received` and given back with `recycle`.
        buffer: ReceivedBuffer,
    },
    /// All bytes of a send were taken by the kernel. The next send may follow. The gathers are to be unpinned.
    Sent {
        /// To whom.
        connection: ConnectionId,
        /// What was given to `send`.
        outgoing: Outgoing,
    },
    /// A send ended early; how much of it the peer saw is not known. The gathers are to be unpinned. `Closed` follows.
    SendFailed {
        /// To whom.
        connection: ConnectionId,
        /// What was given to `send`.
        outgoing: Outgoing,
        /// Why, as the kernel says it.
        error: io::Error,
    },
    /// The peer has ended its side of an [`SocketProfile::Edge`] connection: nothing more is received, and what is owed can still be sent.
    /// Whoever has sent it closes the connection.
    Finished {
        /// Whose.
        connection: ConnectionId,
    },
    /// The connection is gone and its name is stale.
    Closed {
        /// The name it had.
        connection: ConnectionId,
        /// Who ended it.
        cause: CloseCause,
    },
    /// Another thread woke this driver, at least once since the last such event.
    Woken,
}

/// Who ended a connection.
#[derive(Debug)]
pub enum CloseCause {
    /// We did, with `close` or `abort`.
    Requested,
    /// The peer ended its side. What was in flight to it was sent before the close.
    PeerClosed,
    /// The kernel gave up: reset, or a half-open peer that no longer answers (`TimedOut`).
    Failed(io::Error),
}

/// How long a turn may wait when nothing has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all.
    Poll,
    /// At most this long.
    Until(Duration),
    /// Until something happens.
    Forever,
}

/// What a turn cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnCost {
    /// System calls made since the last turn ended, this turn included. For io_uring `io_uring_enter` alone: making and closing connections
    /// is not counted.
    pub system_calls: u32,
    /// Operations handed to the kernel.
    pub submitted: u32,
    /// Completions, or readiness events, that came back.
    pub completed: u32,
    /// Whether the turn was allowed to sleep.
    pub blocked: bool,
}

/// The sockets of one shard. A driver belongs to the thread that opened it.
///
/// Nothing here is an error of the peer: what peers do comes as [`Event`]s.
pub trait Driver {
    /// The kernel interface in use.
    fn kind(&self) -> DriverKind;

    /// The congestion control in force on all sockets, for the result of every measurement.
    fn congestion(&self) -> &Congestion;

    /// Accepts from `listener` from now on; its connections carry `tag`.
    ///
    /// # Errors
    /// When a socket option cannot be set, or the kernel refuses the registration. The listener is closed.
    fn listen(&mut self, listener: TcpListener, profile: SocketProfile, tag: u32) -> io::Result<()>;

    /// Begins to connect. The outcome comes as `Connected` or `ConnectFailed`, also for what fails at once.
    fn connect(&mut self, address: SocketAddr, profile: SocketProfile) -> ConnectionId;

    /// Sends `outgoing` whole, in order of its bytes and gathers; the outcome comes as `Sent` or `SendFailed`. `memory` must be the one
    /// that its gathers are pinned in, and they stay pinned until then.
    ///
    /// # Errors
    /// Hands `outgoing` back when the name is stale, the connection is not open (yet, or any more), or a send is in flight: two at a
    /// time on one stream could overtake each other. Whoever sends waits for the event that says so.
    ///
    /// # Panics
    /// If a gather lies outside its chunk, or gathers do not ascend: a bug in this process.
    fn send(&mut self, connection: ConnectionId, outgoing: Outgoing, memory: &PoolMemory) -> Result<(), Outgoing>;

    /// Stops receiving, so that TCP pushes back on the peer. What the kernel had already put into buffers may still come. While it lasts, the
    /// end of the stream is not noticed unless a send fails.
    fn pause_receive(&mut self, connection: ConnectionId);

    /// Receives again.
    fn resume_receive(&mut self, connection: ConnectionId);

    /// Ends a connection gracefully: the send in flight goes out first, then the peer has `linger` to read it and to close. What it still
    /// sends is thrown away.
    fn close(&mut self, connection: ConnectionId);

    /// Ends a connection at once; a send in flight fails.
    fn abort(&mut self, connection: ConnectionId);

    /// What wakes this driver from other threads.
    fn waker(&self) -> Waker;

    /// Wakes a sibling that is known to sleep. On io_uring the wake leaves with the next turn; it is never lost.
    fn wake(&mut self, sibling: &Waker);

    /// One turn: hands what was asked for to the kernel, waits as allowed when nothing has happened, and appends what happened to
    /// `events`. May return early, and without events.
    ///
    /// # Errors
    /// When the kernel refuses the wait itself: the driver is unusable, and the process should end.
    fn turn(&mut self, wait: Wait, events: &mut Vec<Event>) -> io::Result<TurnCost>;

    /// The bytes of a buffer that this driver filled.
    fn received(&self, buffer: &ReceivedBuffer) -> &[u8];

    /// Gives a buffer back to the driver that filled it.
    fn recycle(&mut self, buffer: ReceivedBuffer);

    /// Connections that exist in any state.
    fn connections(&self) -> usize;

    /// Connections that were accepted and closed at once because `connections_max` were open, since the driver opened.
    fn refused_accepts(&self) -> u64;

    /// A connection's socket, to look at.
    fn socket(&self, connection: ConnectionId) -> Option<BorrowedFd<'_>>;
}

/// Something that the banner says about the driver that was opened.
#[derive(Debug)]
pub enum SetupNote {
    /// io_uring was wanted if possible and is not: epoll serves instead.
    EpollInstead(UringRefusal),
    /// The kernel refused some ring flags; the ring works without them, with more CPU per message.
    FlagsRefused {
        /// The flags in force.
        kept: &'static str,
        /// What the kernel said to the better ones.
        error: io::Error,
    },
    /// The locked-memory limit left room for a smaller ring only.
    RingHalved {
        /// Submission entries in force.
        entries: u32,
    },
    /// Neither cubic nor reno may be set.
    HostCongestion(Congestion),
}

impl fmt::Display for SetupNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EpollInstead(refusal) => write!(f, "driver epoll: {refusal}"),
            Self::FlagsRefused { kept, error } => {
                write!(f, "io_uring runs with {kept}: the kernel refused more ({error})")
            }
            Self::RingHalved { entries } => {
                write!(
                    f,
                    "io_uring runs with {entries} entries: raise the locked-memory limit (ulimit -l) for more"
                )
            }
            Self::HostCongestion(congestion) => write!(f, "TCP congestion control is {congestion}"),
        }
    }
}

/// Why io_uring does not serve here. Nothing was left open.
#[derive(Debug, thiserror::Error)]
pub enum UringRefusal {
    /// `kernel.io_uring_disabled`, or a seccomp profile such as Docker's default. The operator allows it or chooses epoll.
    #[error("io_uring is forbidden here (kernel.io_uring_disabled or a seccomp profile): {0}")]
    Forbidden(io::Error),
    /// The kernel was built without it, or is too old for what we need (6.0).
    #[error("this kernel's io_uring lacks {feature}: {error}")]
    Unsupported {
        /// What is missing.
        feature: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
    /// The locked-memory limit has no room even for the smallest ring, after waiting for memory that the kernel gives back late.
    #[error("no locked memory left for a ring (raise ulimit -l): {0}")]
    LockedMemory(io::Error),
    /// Descriptors or memory have run out.
    #[error("io_uring could not be set up: {0}")]
    Resources(io::Error),
}

/// Why no driver was opened. Nothing was left open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A number of buffers is not a power of two up to 32,768, or their size is not between 512 bytes and 16 MiB. The configuration is to be
    /// corrected.
    #[error("receive buffers must be a power of two up to 32768, of 512 bytes to 16 MiB: {0:?}")]
    Buffers(Buffers),
    /// io_uring was demanded and is refused.
    #[error(transparent)]
    Uring(#[from] UringRefusal),
    /// Sockets, epoll or memory are refused.
    #[error("driver could not be set up: {0}")]
    Kernel(#[from] io::Error),
}

/// A driver whose kind is known at run time only, without a virtual call: the event loop matches once per call.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one per shard, and a box would cost an indirection per call"
)]
pub enum AnyDriver {
    /// Over io_uring.
    IoUring(UringDriver),
    /// Over epoll.
    Epoll(EpollDriver),
}

/// Opens a driver for the calling thread, with what the banner should say of it.
///
/// # Errors
/// When the configuration is invalid, or the kernel allows nothing that was asked for.
pub fn open(choice: DriverChoice, config: &DriverConfig) -> Result<(AnyDriver, Vec<SetupNote>), OpenError> {
    for buffers in [config.link_buffers, config.client_buffers] {
        if !buffers.is_valid() {
            return Err(OpenError::Buffers(buffers));
        }
    }
    let congestion = Congestion::probe()?;
    let mut notes = Vec::new();
    if matches!(congestion, Congestion::HostDefault(_)) {
        notes.push(SetupNote::HostCongestion(congestion.clone()));
    }
    if choice != DriverChoice::Epoll {
        match UringDriver::open(config, congestion.clone(), &mut notes) {
            Ok(driver) => return Ok((AnyDriver::IoUring(driver), notes)),
            Err(refusal) if choice == DriverChoice::IoUring => return Err(refusal.into()),
            Err(refusal) => notes.push(SetupNote::EpollInstead(refusal)),
        }
    }
    Ok((AnyDriver::Epoll(EpollDriver::open(config, congestion)?), notes))
}

macro_rules! either {
    ($self:ident, $driver:ident => $call:expr) => {
        match $self {
            AnyDriver::IoUring($driver) => $call,
            AnyDriver::Epoll($driver) => $call,
        }
    };
}

impl Driver for AnyDriver {
    fn kind(&self) -> DriverKind {
        either!(self, driver => driver.kind())
    }

    fn congestion(&self) -> &Congestion {
        either!(self, driver => driver.congestion())
    }

    fn listen(&mut self, listener: TcpListener, profile: SocketProfile, tag: u32) -> io::Result<()> {
        either!(self, driver => driver.listen(listener, profile, tag))
    }

    fn connect(&mut self, address: SocketAddr, profile: SocketProfile) -> ConnectionId {
        either!(self, driver => driver.connect(address, profile))
    }

    fn send(&mut self, connection: ConnectionId, outgoing: Outgoing, memory: &PoolMemory) -> Result<(), Outgoing> {
        either!(self, driver => driver.send(connection, outgoing, memory))
    }

    fn pause_receive(&mut self, connection: ConnectionId) {
        either!(self, driver => driver.pause_receive(connection));
    }

    fn resume_receive(&mut self, connection: ConnectionId) {
        either!(self, driver => driver.resume_receive(connection));
    }

    fn close(&mut self, connection: ConnectionId) {
        either!(self, driver => driver.close(connection));
    }

    fn abort(&mut self, connection: ConnectionId) {
        either!(self, driver => driver.abort(connection));
    }

    fn waker(&self) -> Waker {
        either!(self, driver => driver.waker())
    }

    fn wake(&mut self, sibling: &Waker) {
        either!(self, driver => driver.wake(sibling));
    }

    fn turn(&mut self, wait: Wait, events: &mut Vec<Event>) -> io::Result<TurnCost> {
        either!(self, driver => driver.turn(wait, events))
    }

    fn received(&self, buffer: &ReceivedBuffer) -> &[u8] {
        either!(self, driver => driver.received(buffer))
    }

    fn recycle(&mut self, buffer: ReceivedBuffer) {
        either!(self, driver => driver.recycle(buffer));
    }

    fn connections(&self) -> usize {
        either!(self, driver => driver.connections())
    }

    fn refused_accepts(&self) -> u64 {
        either!(self, driver => driver.refused_accepts())
    }

    fn socket(&self, connection: ConnectionId) -> Option<BorrowedFd<'_>> {
        either!(self, driver => driver.socket(connection))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_counts_as_many_locked_pages_as_kernels_were_seen_to_count() {
        // With the buffers of the demo, by the least limit of locked memory with which a ring of that size was opened.
        for (ring_entries, pages) in [(256, 11), (128, 7), (64, 5)] {
            let config = DriverConfig {
                ring_entries,
                link_buffers: Buffers::LINK_DEMO,
                client_buffers: Buffers::CLIENT_DEMO,
                ..DriverConfig::default()
            };
            assert_eq!(config.locked_bytes(), pages * 4_096, "{ring_entries}");
        }
    }
}
