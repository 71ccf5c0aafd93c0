//! One MLLP connection: a socket that never blocks, and the sender behind it.
//!
//! It may know further places to go to when its own does not answer, one after the other, as the address list of an interface engine does.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};
use waterpark_edge::sender::{End, Options, Sender};

/// Bytes read in one go.
const READ_BYTES: usize = 16 << 10;

/// Room for what leaves that is kept when nothing does.
const OUT_KEPT: usize = 32 << 10;

/// One connection.
#[derive(Debug)]
pub(super) struct Line {
    /// Indices of the nodes that it may lead to, each with its address, its own one first.
    places: Vec<(usize, SocketAddr)>,
    /// The one that it leads to, or dials next.
    at: usize,
    /// It goes back to its own as soon as nothing is in flight.
    goes_home: bool,
    pub(super) sender: Sender,
    stream: Option<TcpStream>,
    /// The connect has not succeeded yet.
    connecting: bool,
    out: Vec<u8>,
    /// Bytes of `out` that have left.
    left: usize,
}

impl Line {
    /// A connection to the first of these places.
    ///
    /// # Panics
    /// Without a place.
    pub(super) fn new(places: Vec<(usize, SocketAddr)>, options: Options) -> Line {
        assert!(!places.is_empty(), "a line leads somewhere");
        Line {
            places,
            at: 0,
            goes_home: false,
            sender: Sender::new(options),
            stream: None,
            connecting: false,
            out: Vec::new(),
            left: 0,
        }
    }

    /// Index of the node that it leads to.
    pub(super) fn node(&self) -> usize {
        self.places[self.at].0
    }

    /// It may be that its own node serves again.
    pub(super) fn go_home(&mut self) {
        self.goes_home = self.at != 0;
    }

    /// Dials if it should, writes what may leave, gives up what is late.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub(super) fn drive(
        &mut self,
        now: Duration,
        epoll: &OwnedFd,
        index: u64,
        on_end: &mut impl FnMut(End),
    ) -> io::Result<()> {
        let now_ms = ms(now);
        if self.sender.on_tick(now_ms, &mut *on_end) {
            self.drop_stream();
            self.go_on();
        }
        if self.goes_home && self.sender.in_flight() == 0 {
            self.goes_home = false;
            if self.stream.is_some() {
                self.disconnected(now_ms, on_end);
            }
            self.at = 0;
        }
        if self.stream.is_none() && self.sender.wants_connection(now_ms) {
            self.dial(now_ms, epoll, index, on_end)?;
        }
        if self.stream.is_some() && !self.connecting {
            self.sender.poll(now_ms, &mut self.out);
            if self.write().is_err() {
                self.disconnected(now_ms, on_end);
            }
        }
        Ok(())
    }

    /// The socket has something to say.
    pub(super) fn hear(&mut self, now: Duration, on_end: &mut impl FnMut(End)) {
        let now_ms = ms(now);
        let Some(stream) = &mut self.stream else { return };
        if self.connecting {
            match stream.take_error() {
                Ok(None) if stream.peer_addr().is_ok() => {
                    self.connecting = false;
                    self.sender.on_connected();
                }
                // Neither connected nor refused yet.
                Ok(None) => return,
                _ => return self.disconnected(now_ms, on_end),
            }
        }
        let mut buffer = [0; READ_BYTES];
        loop {
            let Some(stream) = &mut self.stream else { return };
            match stream.read(&mut buffer) {
                Ok(0) => return self.disconnected(now_ms, on_end),
                Ok(length) => {
                    if self
                        .sender
                        .on_received(now_ms, &buffer[..length], &mut *on_end)
                        .is_err()
                    {
                        return self.disconnected(now_ms, on_end);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(_) => return self.disconnected(now_ms, on_end),
            }
        }
    }

    fn dial(&mut self, now_ms: u64, epoll: &OwnedFd, index: u64, on_end: &mut impl FnMut(End)) -> io::Result<()> {
        let (_, address) = self.places[self.at];
        let family = if address.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&socket, true)?;
        match connect(&socket, &address) {
            // What comes of it is told by the socket's readiness.
            Ok(()) | Err(Errno::INPROGRESS) => (),
            Err(_) => {
                self.disconnected(now_ms, on_end);
                return Ok(());
            }
        }
        let interest = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(epoll, &socket, epoll::EventData::new_u64(index), interest)?;
        self.stream = Some(TcpStream::from(socket));
        self.connecting = true;
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        while self.left < self.out.len() {
            match stream.write(&self.out[self.left..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => self.left += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        // Room for a long message is given back: each connection would keep it.
        self.out.shrink_to(OUT_KEPT);
        self.left = 0;
        Ok(())
    }

    fn disconnected(&mut self, now_ms: u64, on_end: &mut impl FnMut(End)) {
        self.drop_stream();
        self.go_on();
        self.sender.on_disconnected(now_ms, on_end);
    }

    /// The next connection goes to the next place.
    fn go_on(&mut self) {
        self.at = (self.at + 1) % self.places.len();
    }

    fn drop_stream(&mut self) {
        self.stream = None;
        self.connecting = false;
        self.out.clear();
        self.left = 0;
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
