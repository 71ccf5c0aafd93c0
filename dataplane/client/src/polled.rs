//! Sockets for a core, driven by whoever owns them: one `poll` per turn on the caller's thread, one batch of frames per connection.
//!
//! It decides nothing. [`blocking::Client`](crate::blocking::Client) has a thread that turns it; a load generator turns it between its own
//! instants. **Invariant:** what the core wants is done before a turn waits.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::client_core::{ClientCore, Effect};
use crate::desk::{ClusterAddresses, ConnectOptions, Shake, Shaken, random};
use crate::error::ClientError;
use crate::peer::PeerId;
use crate::routing::Address;

/// Connecting and shaking hands with one address may take so long.
const CONNECT_NS: u64 = 3_000_000_000;
/// Bytes that one read takes at most.
const READ_BYTES: usize = 256 << 10;
/// Reads of one connection in one turn.
const READS_MAX: usize = 8;

/// One socket.
struct Wire {
    stream: TcpStream,
    stage: Stage,
    /// Addresses to try if this one fails to connect.
    others: Vec<SocketAddr>,
    until_ns: u64,
    /// The socket was full: wait until it can be written.
    blocked: bool,
}

enum Stage {
    Connecting,
    Shaking { shake: Box<Shake>, out: Vec<u8> },
    Open,
}

/// A core with its sockets.
pub struct Polled {
    core: ClientCore,
    start: Instant,
    key: [u8; 32],
    lz4: bool,
    wires: BTreeMap<PeerId, Wire>,
    effects: Vec<Effect>,
    ready: Vec<(PeerId, PollFlags)>,
    buffer: Vec<u8>,
}

impl Polled {
    /// A client that learns the cluster from these entry nodes. Nothing is connected before the first turn.
    ///
    /// # Errors
    /// `Unreachable` without an address, `Io` if the kernel gives no random bytes.
    pub fn new(addresses: ClusterAddresses, key: [u8; 32], options: &ConnectOptions) -> Result<Polled, ClientError> {
        if addresses.0.is_empty() {
            return Err(ClientError::Unreachable { tried: 0 });
        }
        Ok(Polled {
            core: ClientCore::new(options.client, addresses.0, random()?),
            start: Instant::now(),
            key,
            lz4: options.lz4,
            wires: BTreeMap::new(),
            effects: Vec::new(),
            ready: Vec::new(),
            buffer: vec![0; READ_BYTES],
        })
    }

    /// Nanoseconds since it was made: the clock of its core.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The instant that its clock counts from.
    #[must_use]
    pub fn start(&self) -> Instant {
        self.start
    }

    /// The core, to be asked.
    #[must_use]
    pub fn core(&self) -> &ClientCore {
        &self.core
    }

    /// The core, to be told: sends leave with the next turn.
    pub fn core_mut(&mut self) -> &mut ClientCore {
        &mut self.core
    }

    /// One turn: what the core wants is done; then it waits for sockets, for `waker` to become readable, or for at most `wait`; then what
    /// came is read. Completions wait in the core.
    pub fn turn(&mut self, wait: Duration, waker: Option<BorrowedFd<'_>>) {
        let now_ns = self.now_ns();
        self.core.on_tick(now_ns);
        self.expire_connects(now_ns);
        self.carry_out(now_ns);
        if !self.core.has_completions() {
            self.wait(wait, waker);
        }
    }

    /// Does what the core wants.
    pub fn carry_out(&mut self, now_ns: u64) {
        let mut effects = std::mem::take(&mut self.effects);
        loop {
            self.core.take_effects(now_ns, &mut effects);
            if effects.is_empty() {
                break;
            }
            for effect in effects.drain(..) {
                match effect {
                    Effect::Connect { peer, address } => self.connect(now_ns, peer, &address),
                    Effect::Write { peer } => self.write(now_ns, peer),
                    Effect::Close { peer, .. } => drop(self.wires.remove(&peer)),
                }
            }
        }
        self.effects = effects;
    }

    fn wait(&mut self, wait: Duration, waker: Option<BorrowedFd<'_>>) {
        let now_ns = self.now_ns();
        let connects = self.wires.values().filter(|wire| !matches!(wire.stage, Stage::Open));
        let connects_ns = connects.map(|wire| wire.until_ns).min().unwrap_or(u64::MAX);
        let due_ns = self.core.next_due_ns().min(connects_ns).saturating_sub(now_ns);
        let wait_ns = due_ns.min(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX));
        let timeout = Timespec {
            tv_sec: i64::try_from(wait_ns / 1_000_000_000).unwrap_or(i64::MAX).min(3_600),
            tv_nsec: i64::try_from(wait_ns % 1_000_000_000).expect("below a thousand million"),
        };
        let mut ready = std::mem::take(&mut self.ready);
        {
            let mut fds = Vec::with_capacity(1 + self.wires.len());
            for wire in self.wires.values() {
                let wants = match &wire.stage {
                    Stage::Connecting => PollFlags::OUT,
                    Stage::Shaking { out, .. } if out.is_empty() => PollFlags::IN,
                    Stage::Open if !wire.blocked => PollFlags::IN,
                    _ => PollFlags::IN | PollFlags::OUT,
                };
                fds.push(PollFd::new(&wire.stream, wants));
            }
            if let Some(waker) = &waker {
                fds.push(PollFd::new(waker, PollFlags::IN));
            }
            // An interrupted wait ends early, which is always allowed.
            if poll(&mut fds, Some(&timeout)).is_ok() {
                let found = self.wires.keys().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
                ready.extend(found.map(|(peer, fd)| (*peer, fd.revents())));
            }
        }
        let now_ns = self.now_ns();
        for (peer, events) in ready.drain(..) {
            self.on_ready(now_ns, peer, events);
        }
        self.ready = ready;
    }

    fn on_ready(&mut self, now_ns: u64, peer: PeerId, events: PollFlags) {
        let Some(wire) = self.wires.get_mut(&peer) else { return };
        if let Stage::Connecting = wire.stage {
            return match wire.stream.take_error() {
                Ok(None) => self.begin_shake(now_ns, peer),
                Ok(Some(error)) | Err(error) => self.connect_next(now_ns, peer, error.kind()),
            };
        }
        if events.contains(PollFlags::OUT) {
            wire.blocked = false;
            self.write(now_ns, peer);
        }
        if events.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
            self.read(now_ns, peer);
        }
    }

    fn expire_connects(&mut self, now_ns: u64) {
        let late = |wire: &&Wire| !matches!(wire.stage, Stage::Open) && wire.until_ns <= now_ns;
        let wires = self.wires.iter().filter(|(_, wire)| late(wire));
        let peers: Vec<PeerId> = wires.map(|(peer, _)| *peer).collect();
        for peer in peers {
            self.connect_next(now_ns, peer, ErrorKind::TimedOut);
        }
    }

    fn connect(&mut self, now_ns: u64, peer: PeerId, address: &Address) {
        match (address.host.as_str(), address.port).to_socket_addrs() {
            Ok(addresses) => {
                let mut addresses: Vec<SocketAddr> = addresses.collect();
                addresses.reverse();
                self.connect_one(now_ns, peer, addresses, ErrorKind::AddrNotAvailable);
            }
            Err(error) => self.fail(now_ns, peer, ClientError::Io(error.kind())),
        }
    }

    /// Goes on with the next address of the same shard.
    fn connect_next(&mut self, now_ns: u64, peer: PeerId, kind: ErrorKind) {
        let Some(wire) = self.wires.remove(&peer) else { return };
        self.connect_one(now_ns, peer, wire.others, kind);
    }

    fn connect_one(&mut self, now_ns: u64, peer: PeerId, mut addresses: Vec<SocketAddr>, mut kind: ErrorKind) {
        while let Some(address) = addresses.pop() {
            match begin_connect(address) {
                Ok(stream) => {
                    let wire = Wire {
                        stream,
                        stage: Stage::Connecting,
                        others: addresses,
                        until_ns: now_ns + CONNECT_NS,
                        blocked: false,
                    };
                    self.wires.insert(peer, wire);
                    return;
                }
                Err(error) => kind = error,
            }
        }
        self.fail(now_ns, peer, ClientError::Io(kind));
    }

    fn begin_shake(&mut self, now_ns: u64, peer: PeerId) {
        let Some(wire) = self.wires.get_mut(&peer) else { return };
        match Shake::new(&self.key, self.lz4) {
            Ok((shake, out)) => {
                let shake = Box::new(shake);
                wire.stage = Stage::Shaking { shake, out };
                self.write(now_ns, peer);
            }
            Err(error) => self.fail(now_ns, peer, error),
        }
    }

    fn write(&mut self, now_ns: u64, peer: PeerId) {
        let Some(wire) = self.wires.get_mut(&peer) else { return };
        while !wire.blocked {
            let bytes = match &wire.stage {
                Stage::Connecting => return,
                Stage::Shaking { out, .. } => out.as_slice(),
                Stage::Open => self.core.outgoing(peer),
            };
            if bytes.is_empty() {
                return;
            }
            match wire.stream.write(bytes) {
                Ok(count) => match &mut wire.stage {
                    Stage::Shaking { out, .. } => drop(out.drain(..count)),
                    _ => self.core.on_written(peer, count),
                },
                Err(error) if error.kind() == ErrorKind::WouldBlock => wire.blocked = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return self.fail(now_ns, peer, ClientError::Io(error.kind())),
            }
        }
    }

    fn read(&mut self, now_ns: u64, peer: PeerId) {
        for _ in 0..READS_MAX {
            let Some(wire) = self.wires.get_mut(&peer) else { return };
            let count = match wire.stream.read(&mut self.buffer) {
                Ok(0) => return self.fail(now_ns, peer, ClientError::Io(ErrorKind::UnexpectedEof)),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return self.fail(now_ns, peer, ClientError::Io(error.kind())),
            };
            let bytes = &self.buffer[..count];
            match &mut wire.stage {
                Stage::Connecting => return,
                Stage::Open => self.core.on_bytes(now_ns, peer, bytes),
                Stage::Shaking { shake, out } => {
                    match shake.on_bytes(bytes) {
                        Shaken::Going(more) => out.extend_from_slice(&more),
                        Shaken::Done(welcome, rest) => {
                            wire.stage = Stage::Open;
                            wire.others.clear();
                            self.core.on_connected(now_ns, peer, &welcome);
                            self.core.on_bytes(now_ns, peer, &rest);
                        }
                        Shaken::Failed(error, last) => {
                            // A few bytes on a fresh connection: they fit its buffer, or nobody reads them.
                            drop(wire.stream.write(&last));
                            return self.fail(now_ns, peer, error);
                        }
                    }
                    self.write(now_ns, peer);
                }
            }
            // Less than there was room for: the socket is empty.
            if count < READ_BYTES {
                return;
            }
        }
    }

    fn fail(&mut self, now_ns: u64, peer: PeerId, cause: ClientError) {
        self.wires.remove(&peer);
        self.core.on_disconnected(now_ns, peer, cause);
    }
}

fn begin_connect(address: SocketAddr) -> Result<TcpStream, ErrorKind> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let kind = |error: rustix::io::Errno| std::io::Error::from(error).kind();
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None).map_err(kind)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
        Err(error) => return Err(kind(error)),
    }
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true).map_err(|error| error.kind())?;
    Ok(stream)
}
