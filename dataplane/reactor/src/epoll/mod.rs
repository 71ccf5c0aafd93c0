//! The epoll driver: for hosts that forbid io_uring. The same events, with a system call per operation.
//!
//! It does not know what bytes mean. Edge-triggered, so that a connection costs one registration in its life; what an edge said is remembered
//! in its `readable` until the socket has been read dry. **Invariant:** whenever bytes may be waiting and are wanted, the connection is in the list of
//! the readable or of those that wait for a buffer: no edge is lost.

mod transfer;

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{Shutdown, SocketFlags, sockopt};
use waterpark_core::memory::Outgoing;

use crate::buffer_pool::{BufferPool, ReceivedBuffer};
use crate::chunk_pool::PoolMemory;
use crate::connection::{ConnectionId, Connections};
use crate::driver::{CloseCause, Driver, DriverConfig, DriverKind, Event, SocketProfile, TurnCost, Wait};
use crate::linger::{ACCEPT_PAUSE, Lingering, wait_until};
use crate::send_op::SendOps;
use crate::socket::{Congestion, Options, peer_of, reset_on_close};
use crate::waker::Waker;

/// Readiness events that one wait brings.
const EVENTS_MAX: usize = 1024;
/// Connections that one listener accepts in a turn, so that a burst of them does not hold up the others.
const ACCEPTS_PER_TURN: usize = 64;
/// The user data of the eventfd. Listeners follow; a connection's word is larger than 32 bits, because generations begin at 1.
const EVENTFD: u64 = 0;

/// Which pool a profile uses.
fn pool(profile: SocketProfile) -> usize {
    match profile {
        SocketProfile::Link => 0,
        SocketProfile::Client | SocketProfile::Edge => 1,
    }
}

/// Where a connection is in its life. It only moves down this list, and out of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Open,
    /// To be closed once the send in flight has ended.
    Flushing,
    /// Our side is shut; what the peer still sends is thrown away until it ends its own.
    Lingering,
}

struct Connection {
    socket: OwnedFd,
    profile: SocketProfile,
    phase: Phase,
    paused: bool,
    /// An edge said that there is something to read, and it has not been read dry since.
    readable: bool,
    /// The edge said that the end of the stream or an error is there too: read until it is met.
    hung_up: bool,
    /// In the list of the readable, or in the one of those that wait for a buffer.
    listed: bool,
    /// The peer has ended its side.
    ended: bool,
    send: Option<u32>,
    cause: Option<CloseCause>,
    /// Bytes thrown away since the close.
    discarded: u32,
}

impl Connection {
    fn new(socket: OwnedFd, profile: SocketProfile, phase: Phase) -> Self {
        Self {
            socket,
            profile,
            phase,
            paused: false,
            readable: false,
            hung_up: false,
            listed: false,
            ended: false,
            send: None,
            cause: None,
            discarded: 0,
        }
    }

    fn wants_receive(&self) -> bool {
        match self.phase {
            Phase::Open => !self.paused && !self.ended,
            Phase::Lingering => !self.ended,
            Phase::Connecting | Phase::Flushing => false,
        }
    }
}

struct Listener {
    listener: TcpListener,
    profile: SocketProfile,
    tag: u32,
    /// Whether epoll reports it; not while the process is out of descriptors, or each turn would spin on it.
    watched: bool,
}

/// Receive buffers that nobody holds.
struct FreeBuffers {
    pool: BufferPool,
    free: Vec<u16>,
}

/// Sockets over epoll. Opened through [`open`](crate::open); belongs to the thread that opened it.
pub struct EpollDriver {
    epoll: OwnedFd,
    /// What the last wait brought; kept for its capacity.
    ready: Vec<epoll::Event>,
    buffers: [FreeBuffers; 2],
    connections: Connections<Connection>,
    listeners: Vec<Listener>,
    sends: SendOps,
    options: Options,
    waker: Waker,
    queued: Vec<Event>,
    readable: VecDeque<ConnectionId>,
    starved: [VecDeque<ConnectionId>; 2],
    lingering: Lingering,
    /// When listeners that ran out of descriptors try again.
    accept_again: Option<Instant>,
    /// System calls and operations since the last turn ended.
    calls: u32,
    submitted: u32,
    refused_accepts: u64,
    failed_connects: u32,
    /// One thread's, as its sibling over io_uring.
    _thread: PhantomData<*const ()>,
}

impl EpollDriver {
    pub(crate) fn open(config: &DriverConfig, congestion: Congestion) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let waker = Waker::new(None, true)?;
        epoll::add(
            &epoll,
            waker.event(),
            epoll::EventData::new_u64(EVENTFD),
            epoll::EventFlags::IN,
        )?;
        let free = |shape| {
            let pool = BufferPool::new(shape)?;
            Ok::<_, io::Error>(FreeBuffers {
                free: (0..shape.count).rev().collect(),
                pool,
            })
        };
        Ok(Self {
            epoll,
            ready: Vec::with_capacity(EVENTS_MAX),
            buffers: [free(config.link_buffers)?, free(config.client_buffers)?],
            connections: Connections::new(config.connections_max),
            listeners: Vec::new(),
            sends: SendOps::new(),
            options: Options {
                link: config.link_socket,
                client: config.client_socket,
                congestion,
            },
            waker,
            queued: Vec::new(),
            readable: VecDeque::new(),
            starved: [VecDeque::new(), VecDeque::new()],
            lingering: Lingering::new(config.linger),
            accept_again: None,
            calls: 0,
            submitted: 0,
            refused_accepts: 0,
            failed_connects: 0,
            _thread: PhantomData,
        })
    }

    /// Puts a connection into the table and registers its socket, or says why not.
    fn admit(&mut self, connection: Connection) -> io::Result<ConnectionId> {
        let Ok(id) = self.connections.insert(connection) else {
            return Err(io::ErrorKind::QuotaExceeded.into());
        };
        let socket = &self.connections.in_slot(id.slot()).1.socket;
        let edges = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
        let registered = epoll::add(&self.epoll, socket, epoll::EventData::new_u64(id.to_bits()), edges);
        if let Err(error) = registered {
            self.connections.remove(id);
            return Err(error.into());
        }
        Ok(id)
    }

    /// Lists a connection for reading if it has something to read and wants it.
    fn list(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if connection.readable && !connection.listed && connection.wants_receive() {
            connection.listed = true;
            self.readable.push_back(id);
        }
    }

    /// Begins the graceful end of a connection.
    fn begin_close(&mut self, id: ConnectionId, cause: CloseCause, events: &mut Vec<Event>) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        match connection.phase {
            Phase::Connecting => self.end(id, cause, Errno::CANCELED, events),
            Phase::Open => {
                connection.cause = Some(cause);
                connection.phase = Phase::Flushing;
                self.advance(id, events);
            }
            Phase::Flushing | Phase::Lingering => {}
        }
    }

    /// Takes a closing connection as far as its send in flight allows.
    fn advance(&mut self, id: ConnectionId, events: &mut Vec<Event>) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if connection.phase != Phase::Flushing || connection.send.is_some() {
            return;
        }
        if connection.ended {
            self.end(id, CloseCause::PeerClosed, Errno::CANCELED, events);
            return;
        }
        // As in the driver over io_uring: our side ends first, so that unread bytes do not turn the close into a reset.
        rustix::net::shutdown(&connection.socket, Shutdown::Write).ok();
        connection.phase = Phase::Lingering;
        self.lingering.add(id);
        self.list(id);
    }

    /// Cuts a connection off: what the peer has not read by now is lost.
    fn cut(&mut self, id: ConnectionId, events: &mut Vec<Event>) {
        if let Some(connection) = self.connections.get(id) {
            reset_on_close(connection.socket.as_fd());
        }
        self.end(id, CloseCause::Requested, Errno::CANCELED, events);
    }

    /// Ends a connection now. A send in flight fails with `errno`.
    fn end(&mut self, id: ConnectionId, cause: CloseCause, errno: Errno, events: &mut Vec<Event>) {
        let Some(mut connection) = self.connections.remove(id) else {
            return;
        };
        if let Some(index) = connection.send.take() {
            let outgoing = self.sends.finish(index);
            events.push(Event::SendFailed {
                connection: id,
                outgoing,
                error: errno.into(),
            });
        }
        let cause = connection.cause.take().unwrap_or(cause);
        events.push(Event::Closed { connection: id, cause });
        drop(connection.socket);
        if self.accept_again.is_some() {
            // A descriptor came free.
            self.accept_again = Some(Instant::now());
        }
    }

    fn on_listener(&mut self, index: usize, events: &mut Vec<Event>) {
        for _ in 0..ACCEPTS_PER_TURN {
            let Listener {
                listener, profile, tag, ..
            } = &self.listeners[index];
            let (profile, tag) = (*profile, *tag);
            self.calls += 1;
            match rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) => {
                    let Ok(peer) = peer_of(socket.as_fd()) else { continue };
                    match self.admit(Connection::new(socket, profile, Phase::Open)) {
                        Ok(connection) => events.push(Event::Accepted {
                            listener: tag,
                            connection,
                            peer,
                        }),
                        Err(_closed_by_drop) => self.refused_accepts += 1,
                    }
                }
                Err(Errno::AGAIN) => return,
                // The peer gave up between its connect and our accept.
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                // Out of descriptors or memory: the backlog holds the peers until we try again.
                Err(_) => {
                    self.watch(index, false);
                    self.accept_again.get_or_insert_with(|| Instant::now() + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn watch(&mut self, index: usize, watched: bool) {
        let listener = &mut self.listeners[index];
        let flags = if watched {
            epoll::EventFlags::IN
        } else {
            epoll::EventFlags::empty()
        };
        let data = epoll::EventData::new_u64(index as u64 + 1);
        // Modifying a registration that exists needs no memory; if it failed all the same, the next turn meets the listener again.
        if epoll::modify(&self.epoll, &listener.listener, data, flags).is_ok() {
            listener.watched = watched;
        }
    }

    /// Does what has fallen due, and bounds the wait by what will.
    fn attend(&mut self, wait: Wait, events: &mut Vec<Event>) -> Wait {
        if self.lingering.is_empty() && self.accept_again.is_none() {
            return wait;
        }
        let now = Instant::now();
        while let Some(id) = self.lingering.pop_due(now) {
            self.cut(id, events);
        }
        if self.accept_again.is_some_and(|due| due <= now) {
            self.accept_again = None;
            (0..self.listeners.len()).for_each(|index| {
                if !self.listeners[index].watched {
                    self.watch(index, true);
                }
            });
        }
        let due = [self.lingering.first(), self.accept_again].into_iter().flatten().min();
        wait_until(wait, due, now)
    }

    /// Waits, and notes what became ready. Returns how many.
    fn wait(&mut self, wait: Wait, events: &mut Vec<Event>) -> io::Result<u32> {
        let timeout = match wait {
            Wait::Poll => Some(Timespec { tv_sec: 0, tv_nsec: 0 }),
            Wait::Until(limit) => Some(Timespec {
                tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(limit.subsec_nanos()),
            }),
            Wait::Forever => None,
        };
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        self.calls += 1;
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(&mut ready),
            timeout.as_ref(),
        ) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &ready {
            let (flags, word) = (event.flags, event.data.u64());
            if word == EVENTFD {
                self.calls += 1;
                // The counter's value does not matter, only that it is zero again.
                rustix::io::read(self.waker.event(), &mut [0u8; 8]).ok();
                events.push(Event::Woken);
            } else if let Ok(listener) = u32::try_from(word) {
                self.on_listener(listener as usize - 1, events);
            } else {
                self.on_ready(ConnectionId::from_bits(word), flags, events);
            }
        }
        let count = u32::try_from(ready.len()).unwrap_or(u32::MAX);
        self.ready = ready;
        Ok(count)
    }

    fn on_ready(&mut self, id: ConnectionId, flags: epoll::EventFlags, events: &mut Vec<Event>) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if connection.phase == Phase::Connecting {
            let over = epoll::EventFlags::OUT | epoll::EventFlags::ERR | epoll::EventFlags::HUP;
            if flags.intersects(over) {
                self.on_connect_over(id, events);
            }
            // The peer's first bytes may have come with the same edge, so it is looked at as any other.
        }
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let ends = epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
        connection.hung_up |= flags.intersects(ends);
        connection.readable |= flags.intersects(ends | epoll::EventFlags::IN);
        if connection.send.is_some() && flags.intersects(ends | epoll::EventFlags::OUT) {
            self.go_on_sending(id, events);
        }
        self.list(id);
    }

    fn on_connect_over(&mut self, id: ConnectionId, events: &mut Vec<Event>) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        self.calls += 1;
        match sockopt::socket_error(&connection.socket) {
            Ok(Ok(())) => {
                connection.phase = Phase::Open;
                events.push(Event::Connected { connection: id });
            }
            Ok(Err(error)) | Err(error) => {
                self.connections.remove(id);
                events.push(Event::ConnectFailed {
                    connection: id,
                    error: error.into(),
                });
            }
        }
    }

    fn between_turns(&mut self, step: impl FnOnce(&mut Self, &mut Vec<Event>)) {
        let mut queued = std::mem::take(&mut self.queued);
        step(self, &mut queued);
        self.queued = queued;
    }
}

impl Driver for EpollDriver {
    fn kind(&self) -> DriverKind {
        DriverKind::Epoll
    }

    fn congestion(&self) -> &Congestion {
        &self.options.congestion
    }

    fn listen(&mut self, listener: TcpListener, profile: SocketProfile, tag: u32) -> io::Result<()> {
        self.options.prepare_listener(&listener, profile, true)?;
        let data = epoll::EventData::new_u64(self.listeners.len() as u64 + 1);
        epoll::add(&self.epoll, &listener, data, epoll::EventFlags::IN)?;
        self.listeners.push(Listener {
            listener,
            profile,
            tag,
            watched: true,
        });
        Ok(())
    }

    fn connect(&mut self, address: SocketAddr, profile: SocketProfile) -> ConnectionId {
        let made = self.options.socket_to(address, profile, true).and_then(|socket| {
            match rustix::net::connect(&socket, &address) {
                Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            // Registered after the connect has begun: before it, a socket reports a hang-up that means nothing.
            self.admit(Connection::new(socket, profile, Phase::Connecting))
        });
        made.unwrap_or_else(|error| {
            self.failed_connects = self.failed_connects.wrapping_add(1);
            let connection = Connections::<Connection>::nameless(self.failed_connects);
            self.queued.push(Event::ConnectFailed { connection, error });
            connection
        })
    }

    fn send(&mut self, id: ConnectionId, outgoing: Outgoing, memory: &PoolMemory) -> Result<(), Outgoing> {
        let free = |it: &&mut Connection| it.phase == Phase::Open && it.send.is_none();
        let Some(connection) = self.connections.get_mut(id).filter(free) else {
            return Err(outgoing);
        };
        if outgoing.is_empty() {
            self.queued.push(Event::Sent {
                connection: id,
                outgoing,
            });
            return Ok(());
        }
        connection.send = Some(self.sends.begin(outgoing, memory));
        self.submitted += 1;
        // At once rather than with the next turn: most sends fit the socket's buffer, and the peer may begin.
        self.between_turns(|driver, events| driver.go_on_sending(id, events));
        Ok(())
    }

    fn pause_receive(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.paused = true;
        }
    }

    fn resume_receive(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.paused = false;
            self.list(id);
        }
    }

    fn close(&mut self, id: ConnectionId) {
        self.between_turns(|driver, events| driver.begin_close(id, CloseCause::Requested, events));
    }

    fn abort(&mut self, id: ConnectionId) {
        self.between_turns(|driver, events| driver.cut(id, events));
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn wake(&mut self, sibling: &Waker) {
        self.calls += 1;
        sibling.wake();
    }

    fn turn(&mut self, wait: Wait, events: &mut Vec<Event>) -> io::Result<TurnCost> {
        let told = events.len();
        events.append(&mut self.queued);
        let mut wait = self.attend(wait, events);
        self.list_starved();
        if events.len() > told || !self.readable.is_empty() {
            wait = Wait::Poll;
        }
        let completed = self.wait(wait, events)?;
        self.read_listed(events);
        Ok(TurnCost {
            system_calls: std::mem::take(&mut self.calls),
            submitted: std::mem::take(&mut self.submitted),
            completed,
            blocked: wait != Wait::Poll,
        })
    }

    #[inline]
    fn received(&self, buffer: &ReceivedBuffer) -> &[u8] {
        self.buffers[pool(buffer.profile)].pool.received(buffer)
    }

    #[inline]
    fn recycle(&mut self, buffer: ReceivedBuffer) {
        self.buffers[pool(buffer.profile)].free.push(buffer.index);
    }

    fn connections(&self) -> usize {
        self.connections.len()
    }

    fn refused_accepts(&self) -> u64 {
        self.refused_accepts
    }

    fn socket(&self, id: ConnectionId) -> Option<BorrowedFd<'_>> {
        self.connections.get(id).map(|connection| connection.socket.as_fd())
    }
}
