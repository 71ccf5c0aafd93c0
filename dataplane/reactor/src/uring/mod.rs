//! The io_uring driver: one ring, two groups of provided buffers, and at most one system call per turn.
//!
//! It does not know what bytes mean. Making, shutting and closing sockets are plain system calls, because they are rare and the ring would
//! hand some of them to worker threads; whatever happens per message goes through the ring. **Invariant:** a connection counts its operations in
//! flight, and its slot, socket and memory live until that count is zero.
#![expect(
    unsafe_code,
    reason = "operations point to memory that the kernel reads and writes later"
)]

mod buffer_ring;
mod completions;
mod concessions;
mod ends;
mod operation;
mod ring;

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use io_uring::{cqueue, opcode, squeue, types};
use rustix::net::Shutdown;
use waterpark_core::memory::Outgoing;

use self::buffer_ring::BufferRing;
use self::concessions::{Concessions, Refused};
use self::operation::Operation;
use self::ring::Ring;
use crate::buffer_pool::ReceivedBuffer;
use crate::chunk_pool::PoolMemory;
use crate::connection::{ConnectionId, Connections};
use crate::driver::{
    CloseCause, Driver, DriverConfig, DriverKind, Event, SetupNote, SocketProfile, TurnCost, UringRefusal, Wait,
};
use crate::linger::{Lingering, wait_until};
use crate::send_op::{self, SendOps};
use crate::socket::{Congestion, Options, RawAddress, reset_on_close};
use crate::waker::Waker;

/// Buffer groups, and the lists of connections that wait for one: links first, clients second.
const GROUPS: usize = 2;

/// Which group a profile uses.
fn group(profile: SocketProfile) -> usize {
    match profile {
        SocketProfile::Link => 0,
        SocketProfile::Client | SocketProfile::Edge => 1,
    }
}

/// Where a connection is in its life. It only moves down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    Open,
    /// To be closed once the send in flight has ended.
    Flushing,
    /// Our side is shut; what the peer still sends is thrown away until it ends its own.
    Lingering,
    /// Shut on both sides; closes with the last completion.
    Ending,
}

/// The state of a connection's multishot receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receive {
    Idle,
    Armed,
    /// Armed, with a cancel on its way.
    Cancelling,
    /// Ended for want of a buffer; in the list of those that wait for one.
    Starved,
}

struct Connection {
    socket: OwnedFd,
    profile: SocketProfile,
    phase: Phase,
    receive: Receive,
    paused: bool,
    /// The peer has ended its side.
    ended: bool,
    send: Option<u32>,
    /// The address that the kernel reads while `Connecting`.
    address: Option<Box<RawAddress>>,
    /// Operations whose last completion has not been reaped.
    operations: u32,
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
            receive: Receive::Idle,
            paused: false,
            ended: false,
            send: None,
            address: None,
            operations: 0,
            cause: None,
            discarded: 0,
        }
    }

    fn wants_receive(&self) -> bool {
        match self.phase {
            Phase::Open => !self.paused && !self.ended,
            Phase::Lingering => !self.ended,
            Phase::Connecting | Phase::Flushing | Phase::Ending => false,
        }
    }
}

struct Listener {
    listener: TcpListener,
    profile: SocketProfile,
    tag: u32,
    armed: bool,
}

/// Sockets over io_uring. Opened through [`open`](crate::open); belongs to the thread that opened it.
pub struct UringDriver {
    ring: Ring,
    buffers: [BufferRing; GROUPS],
    connections: Connections<Connection>,
    listeners: Vec<Listener>,
    sends: SendOps,
    options: Options,
    waker: Waker,
    /// Where the kernel puts the eventfd's counter.
    eventfd_word: Box<u64>,
    /// Every driver that this one has woken by a ring message, so that one that could not be delivered can be repeated.
    siblings: Vec<Waker>,
    /// Reaped, not yet worked off; kept for its capacity.
    completed: Vec<cqueue::Entry>,
    /// Events that arose between turns.
    queued: Vec<Event>,
    starved: [VecDeque<ConnectionId>; GROUPS],
    lingering: Lingering,
    /// When listeners that ran out of descriptors try again.
    accept_again: Option<Instant>,
    /// Operations on the ring whose last completion has not been reaped, wakes and cancels aside.
    in_flight: u64,
    /// System calls made outside `io_uring_enter` that a message's path may need: wakes by eventfd.
    extra_calls: u32,
    refused_accepts: u64,
    failed_connects: u32,
    /// The ring takes submissions from one thread only.
    _thread: PhantomData<*const ()>,
}

/// A ring with its buffers, proven to receive. They are tried together, because their memory counts against one limit: a ring that leaves
/// none for its buffers is too large.
fn set_up(config: &DriverConfig, asked: &Concessions) -> Result<(Ring, [BufferRing; GROUPS]), Refused> {
    let mut ring = Ring::open(asked.flags(), asked.entries())?;
    let register = |group, profile, shape| {
        BufferRing::register(&ring.submitter(), group, profile, shape).map_err(Refused::Buffers)
    };
    let links = register(0, SocketProfile::Link, config.link_buffers)?;
    let mut clients = register(1, SocketProfile::Client, config.client_buffers)?;
    ends::prove_multishot_receive(&mut ring, &mut clients).map_err(|error| {
        Refused::Final(UringRefusal::Unsupported {
            feature: "multishot receive",
            error,
        })
    })?;
    // Not before: a ring that is refused has to give its memory back at once.
    ring.keep();
    Ok((ring, [links, clients]))
}

impl UringDriver {
    pub(crate) fn open(
        config: &DriverConfig,
        congestion: Congestion,
        notes: &mut Vec<SetupNote>,
    ) -> Result<Self, UringRefusal> {
        let (ring, buffers) = concessions::conceding(config.ring_entries, notes, |asked| set_up(config, asked))?;
        let waker = Waker::new(Some(ring.descriptor()), false).map_err(UringRefusal::Resources)?;
        let mut driver = Self {
            ring,
            buffers,
            connections: Connections::new(config.connections_max),
            listeners: Vec::new(),
            sends: SendOps::new(),
            options: Options {
                link: config.link_socket,
                client: config.client_socket,
                congestion,
            },
            waker,
            eventfd_word: Box::new(0),
            siblings: Vec::new(),
            completed: Vec::with_capacity(config.ring_entries as usize),
            queued: Vec::new(),
            starved: [VecDeque::new(), VecDeque::new()],
            lingering: Lingering::new(config.linger),
            accept_again: None,
            in_flight: 0,
            extra_calls: 0,
            refused_accepts: 0,
            failed_connects: 0,
            _thread: PhantomData,
        };
        driver.arm_eventfd();
        Ok(driver)
    }

    /// Queues an operation.
    ///
    /// # Safety
    /// As [`Ring::push`].
    unsafe fn submit(&mut self, entry: squeue::Entry, operation: Operation, slot: u32) {
        self.in_flight += 1;
        // SAFETY: passed on to the caller.
        unsafe { self.ring.push(entry.user_data(operation.on(slot))) };
    }

    fn arm_eventfd(&mut self) {
        let word: *mut u64 = &raw mut *self.eventfd_word;
        let read = opcode::Read::new(types::Fd(self.waker.event().as_raw_fd()), word.cast(), 8).build();
        // SAFETY: the word is boxed, read by nobody else, and lives until the driver has seen its last completion.
        unsafe { self.submit(read, Operation::Eventfd, 0) };
    }

    fn arm_accept(&mut self, index: u32) {
        let listener = &mut self.listeners[index as usize];
        assert!(!listener.armed);
        listener.armed = true;
        let socket = types::Fd(listener.listener.as_raw_fd());
        let accept = opcode::AcceptMulti::new(socket).flags(libc::SOCK_CLOEXEC).build();
        // SAFETY: a multishot accept points to no memory, and the listener stays open as long as the driver.
        unsafe { self.submit(accept, Operation::Accept, index) };
    }

    /// Arms a connection's receive if it is idle and wanted.
    fn arm_receive(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        if connection.receive != Receive::Idle || !connection.wants_receive() {
            return;
        }
        connection.receive = Receive::Armed;
        connection.operations += 1;
        let buffers = self.buffers[group(connection.profile)].group();
        let receive = opcode::RecvMulti::new(types::Fd(connection.socket.as_raw_fd()), buffers).build();
        // SAFETY: the bytes go to the registered buffers; the socket stays open until the operation has completed.
        unsafe { self.submit(receive, Operation::Receive, id.slot()) };
    }

    /// Submits what is left of a connection's send.
    fn submit_send(&mut self, id: ConnectionId) {
        let connection = self
            .connections
            .get_mut(id)
            .expect("only a connection that exists sends");
        let socket = types::Fd(connection.socket.as_raw_fd());
        connection.operations += 1;
        let op = self.sends.get(connection.send.expect("the send was begun"));
        let entry = match op.plain() {
            Some((bytes, length)) => {
                // A send of 4 GiB or more goes in several.
                let length = u32::try_from(length).unwrap_or(u32::MAX);
                opcode::Send::new(socket, bytes, length).flags(send_op::FLAGS).build()
            }
            None => opcode::SendMsg::new(socket, op.message())
                .flags(send_op::FLAGS as u32)
                .build(),
        };
        // SAFETY: the send owns or pins all that it points to, at stable addresses, until `finish`, which follows the last completion.
        unsafe { self.submit(entry, Operation::Send, id.slot()) };
    }

    /// Cancels an operation; its own completion then says so.
    fn cancel(&mut self, operation: Operation, slot: u32) {
        let cancel = opcode::AsyncCancel::new(operation.on(slot))
            .build()
            .user_data(Operation::Cancel.on(slot));
        // SAFETY: a cancel points to no memory.
        unsafe { self.ring.push(cancel) };
    }

    /// Begins the graceful end of an open connection.
    fn begin_close(&mut self, id: ConnectionId, cause: CloseCause, events: &mut Vec<Event>) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        match connection.phase {
            Phase::Connecting => {
                connection.cause = Some(cause);
                connection.phase = Phase::Ending;
                self.cancel(Operation::Connect, id.slot());
            }
            Phase::Open => {
                connection.cause = Some(cause);
                connection.phase = Phase::Flushing;
                self.advance(id, events);
            }
            Phase::Flushing | Phase::Lingering | Phase::Ending => {}
        }
    }

    /// Cuts a connection off: what the peer has not read by now is lost.
    fn cut(&mut self, id: ConnectionId, events: &mut Vec<Event>) {
        if let Some(connection) = self.connections.get(id) {
            reset_on_close(connection.socket.as_fd());
        }
        self.end(id, CloseCause::Requested, events);
    }

    /// Ends a connection now. What is still in flight is cut short by the shutdown.
    fn end(&mut self, id: ConnectionId, cause: CloseCause, events: &mut Vec<Event>) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.cause.get_or_insert(cause);
        match connection.phase {
            Phase::Ending => return,
            Phase::Connecting => self.cancel(Operation::Connect, id.slot()),
            Phase::Open | Phase::Flushing | Phase::Lingering => shut(&connection.socket, Shutdown::Both),
        }
        self.connections.get_mut(id).expect("it was there above").phase = Phase::Ending;
        self.advance(id, events);
    }

    /// Takes a closing connection as far as its operations in flight allow.
    fn advance(&mut self, id: ConnectionId, events: &mut Vec<Event>) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        match connection.phase {
            Phase::Connecting | Phase::Open | Phase::Lingering => {}
            Phase::Flushing if connection.send.is_some() => {}
            Phase::Flushing if connection.ended => self.end(id, CloseCause::PeerClosed, events),
            Phase::Flushing => {
                // Closing a socket with unread bytes would reset it, and the peer could lose what it was last told. So our side ends
                // first, and the peer has a moment to read and to end its own.
                shut(&connection.socket, Shutdown::Write);
                connection.phase = Phase::Lingering;
                self.lingering.add(id);
                self.arm_receive(id);
            }
            Phase::Ending if connection.operations > 0 => {}
            Phase::Ending => {
                let connection = self.connections.remove(id).expect("it was there above");
                assert!(connection.send.is_none());
                let cause = connection.cause.expect("whoever ends a connection says why");
                events.push(Event::Closed { connection: id, cause });
                drop(connection.socket);
                if self.accept_again.is_some() {
                    // A descriptor came free.
                    self.accept_again = Some(Instant::now());
                }
            }
        }
    }

    /// Re-arms connections that ran out of buffers, as many as there are buffers. Returns whether more wait than could be served, so that
    /// the turn must not sleep.
    fn serve_starved(&mut self) -> bool {
        let mut unserved = false;
        for group in 0..GROUPS {
            let mut available = self.buffers[group].available();
            while available > 0 {
                let Some(id) = self.starved[group].pop_front() else {
                    break;
                };
                if let Some(connection) = self.connections.get_mut(id).filter(|it| it.receive == Receive::Starved) {
                    connection.receive = Receive::Idle;
                    self.arm_receive(id);
                    available -= 1;
                }
            }
            unserved |= !self.starved[group].is_empty() && self.buffers[group].available() > 0;
        }
        unserved
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
            for index in 0..u32::try_from(self.listeners.len()).unwrap_or(u32::MAX) {
                if !self.listeners[index as usize].armed {
                    self.arm_accept(index);
                }
            }
        }
        let due = [self.lingering.first(), self.accept_again].into_iter().flatten().min();
        wait_until(wait, due, now)
    }

    /// Runs a part of the state machine outside a turn; what it has to tell waits for the next one.
    fn between_turns(&mut self, step: impl FnOnce(&mut Self, &mut Vec<Event>)) {
        let mut queued = std::mem::take(&mut self.queued);
        step(self, &mut queued);
        self.queued = queued;
    }
}

/// Shuts a socket down. One that is not connected any more refuses, and is as shut as it can be.
fn shut(socket: &OwnedFd, how: Shutdown) {
    rustix::net::shutdown(socket, how).ok();
}

impl Driver for UringDriver {
    fn kind(&self) -> DriverKind {
        DriverKind::IoUring
    }

    fn congestion(&self) -> &Congestion {
        &self.options.congestion
    }

    fn listen(&mut self, listener: TcpListener, profile: SocketProfile, tag: u32) -> io::Result<()> {
        self.options.prepare_listener(&listener, profile, false)?;
        let index = u32::try_from(self.listeners.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.listeners.push(Listener {
            listener,
            profile,
            tag,
            armed: false,
        });
        self.arm_accept(index);
        Ok(())
    }

    fn connect(&mut self, address: SocketAddr, profile: SocketProfile) -> ConnectionId {
        let raw = RawAddress::new(address);
        let (pointer, length) = raw.pointer();
        let made = self.options.socket_to(address, profile, false).and_then(|socket| {
            let mut connection = Connection::new(socket, profile, Phase::Connecting);
            connection.address = Some(raw);
            connection.operations = 1;
            self.connections
                .insert(connection)
                .map_err(|_full| io::ErrorKind::QuotaExceeded.into())
        });
        let id = match made {
            Ok(id) => id,
            Err(error) => {
                self.failed_connects = self.failed_connects.wrapping_add(1);
                let connection = Connections::<Connection>::nameless(self.failed_connects);
                self.queued.push(Event::ConnectFailed { connection, error });
                return connection;
            }
        };
        let (_, connection) = self.connections.in_slot(id.slot());
        let socket = types::Fd(connection.socket.as_raw_fd());
        let connect = opcode::Connect::new(socket, pointer, length).build();
        // SAFETY: the address is boxed, and its connection keeps it until the operation has completed.
        unsafe { self.submit(connect, Operation::Connect, id.slot()) };
        id
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
        self.submit_send(id);
        Ok(())
    }

    fn pause_receive(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.paused = true;
        if connection.receive == Receive::Armed && connection.phase == Phase::Open {
            connection.receive = Receive::Cancelling;
            self.cancel(Operation::Receive, id.slot());
        }
    }

    fn resume_receive(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.paused = false;
            // A receive that is being cancelled is armed again when the cancel has come through.
            self.arm_receive(id);
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
        let Some(ring) = sibling.ring() else {
            self.extra_calls += 1;
            sibling.wake();
            return;
        };
        let known = self.siblings.iter().position(|known| known.is(sibling));
        let index = known.unwrap_or_else(|| {
            self.siblings.push(sibling.clone());
            self.siblings.len() - 1
        });
        let index = u32::try_from(index).expect("there are fewer siblings than cores");
        let message = opcode::MsgRingData::new(types::Fd(ring), 0, Operation::Woken.on(0), None).build();
        let message = message
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(Operation::Wake.on(index));
        // SAFETY: a ring message points to no memory, and `siblings` keeps the other ring's descriptor open.
        unsafe { self.ring.push(message) };
    }

    fn turn(&mut self, wait: Wait, events: &mut Vec<Event>) -> io::Result<TurnCost> {
        let told = events.len();
        events.append(&mut self.queued);
        let mut wait = self.attend(wait, events);
        if self.serve_starved() {
            wait = Wait::Poll;
        }
        // What already lies in the completion queue is there for the taking: a spinner makes no system call.
        let mut completed = self.reap(events);
        if events.len() > told {
            wait = Wait::Poll;
        }
        let mut cost = TurnCost {
            system_calls: std::mem::take(&mut self.extra_calls),
            ..TurnCost::default()
        };
        let found = completed > 0;
        let must_enter =
            wait != Wait::Poll || self.ring.has_submissions() || (!found && self.ring.has_hidden_completions());
        if must_enter {
            let (calls, submitted) = self.ring.enter(wait)?;
            cost.system_calls += calls;
            cost.submitted = submitted;
            cost.blocked = wait != Wait::Poll;
            completed += self.reap(events);
        }
        cost.completed = completed;
        Ok(cost)
    }

    #[inline]
    fn received(&self, buffer: &ReceivedBuffer) -> &[u8] {
        self.buffers[group(buffer.profile)].received(buffer)
    }

    #[inline]
    fn recycle(&mut self, buffer: ReceivedBuffer) {
        self.buffers[group(buffer.profile)].recycle(buffer);
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
