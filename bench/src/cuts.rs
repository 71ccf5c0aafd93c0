//! The ways between the nodes of a local cluster, through this process, which can lose what one node sends another.
//!
//! Each node dials each other one at a port of its own here (`waterpark node --via`), and what comes there is carried on to where that node
//! listens. What the bytes mean is not known here. A way that is cut is silent: nothing is carried on, and the sockets at both ends stay open,
//! so nobody is told. A connection that is made while one of its ways is cut is accepted and leads nowhere, as connections need both.
//!
//! Once a way is open again, what was sent meanwhile goes on, as TCP would send it again, and so do the ends of connections; only at once, and
//! not after the seconds that a sender's TCP may wait. And what is cut in one way alone carries the other way as before, where a real network
//! loses the acks of TCP with it, and would soon be still in both: here each way is a fault of its own.
//!
//! **Invariant:** the bytes of a way go on in their order, and none is left out. **Invariant:** when this is dropped, none of its sockets and
//! threads is left.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Bytes that are carried at once.
const CARRY_BYTES: usize = 64 << 10;
/// The stack of a thread that carries; what it carries lies elsewhere.
const STACK_BYTES: usize = 128 << 10;
/// When the kernel takes no connection for want of something, it is asked again after this.
const ACCEPT_AGAIN: Duration = Duration::from_millis(10);
/// Threads whose sockets were shut end well before.
const END_MAX: Duration = Duration::from_secs(2);

/// The ways between all nodes. Nodes are named by their place among those that it was opened for.
#[derive(Debug)]
pub struct Cuts {
    shared: Arc<Shared>,
    /// Where each node dials each other: by the one that dials, then by the one that it dials.
    addresses: Vec<Vec<SocketAddr>>,
    waker: UnixStream,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    nodes: usize,
    /// By sender and receiver: nothing that is sent so goes on.
    cut: Vec<AtomicBool>,
    ended: AtomicBool,
    open: Mutex<Open>,
    /// A way was opened, a thread has ended, or all is to end.
    changed: Condvar,
}

/// What runs.
#[derive(Debug, Default)]
struct Open {
    streams: Vec<Weak<TcpStream>>,
    threads: usize,
}

/// A listener, and whom it connects.
struct Door {
    listener: TcpListener,
    from: usize,
    to: usize,
    target: SocketAddr,
}

impl Cuts {
    /// Opens a port for each pair of nodes, of which these are the addresses where they listen.
    ///
    /// # Errors
    /// When the kernel gives no port, socket or thread; nothing was left open.
    pub fn open(targets: &[SocketAddr]) -> io::Result<Cuts> {
        let nodes = targets.len();
        let mut doors = Vec::new();
        let mut addresses = Vec::new();
        for from in 0..nodes {
            let mut of_node = Vec::new();
            for (to, target) in targets.iter().enumerate() {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
                // One that has gone away again before it is accepted keeps nobody waiting.
                listener.set_nonblocking(true)?;
                of_node.push(listener.local_addr()?);
                let target = *target;
                doors.push(Door {
                    listener,
                    from,
                    to,
                    target,
                });
            }
            addresses.push(of_node);
        }
        let shared = Arc::new(Shared {
            nodes,
            cut: (0..nodes * nodes).map(|_| AtomicBool::new(false)).collect(),
            ended: AtomicBool::new(false),
            open: Mutex::default(),
            changed: Condvar::new(),
        });
        let (waker, woken) = UnixStream::pair()?;
        let accepting = Arc::clone(&shared);
        let acceptor = std::thread::Builder::new().spawn(move || accepting.accept(&doors, &woken))?;
        Ok(Cuts {
            shared,
            addresses,
            waker,
            acceptor: Some(acceptor),
        })
    }

    /// Where a node is to dial another one.
    ///
    /// # Panics
    /// If there are not so many nodes.
    #[must_use]
    pub fn address(&self, from: usize, to: usize) -> SocketAddr {
        self.addresses[from][to]
    }

    /// What one node sends another does not arrive any more; what that one sends to it does.
    ///
    /// # Panics
    /// If there are not so many nodes.
    pub fn cut(&self, from: usize, to: usize) {
        self.shared.way(from, to).store(true, Ordering::SeqCst);
    }

    /// Opens all ways again.
    pub fn heal(&self) {
        for way in &self.shared.cut {
            way.store(false, Ordering::SeqCst);
        }
        // Whoever looked before waits by now, or looks again.
        drop(self.shared.open());
        self.shared.changed.notify_all();
    }
}

impl Drop for Cuts {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // The acceptor has the other end until it ends.
        drop(self.waker.write_all(&[0]));
        if let Some(acceptor) = self.acceptor.take() {
            drop(acceptor.join());
        }
        let mut open = self.shared.open();
        for stream in open.streams.iter().filter_map(Weak::upgrade) {
            // One that its peer has ended is not connected any more.
            drop(stream.shutdown(Shutdown::Both));
        }
        self.shared.changed.notify_all();
        let until = Instant::now() + END_MAX;
        while open.threads > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.shared.changed.wait_timeout(open, left);
            (open, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, Open> {
        // Whoever panicked beside it has only ever counted whole threads.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn way(&self, from: usize, to: usize) -> &AtomicBool {
        &self.cut[from * self.nodes + to]
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Waits until all of these ways are open; `None` if all has ended, else whether it had to wait.
    fn wait_open(&self, ways: &[(usize, usize)]) -> Option<bool> {
        let is_cut = || {
            ways.iter()
                .any(|(from, to)| self.way(*from, *to).load(Ordering::SeqCst))
        };
        let mut waited = false;
        if is_cut() {
            let mut open = self.open();
            while is_cut() && !self.has_ended() {
                waited = true;
                open = self.changed.wait(open).unwrap_or_else(PoisonError::into_inner);
            }
        }
        (!self.has_ended()).then_some(waited)
    }

    /// Takes connections until it is woken.
    fn accept(self: &Arc<Self>, doors: &[Door], woken: &UnixStream) {
        let mut fds = vec![PollFd::new(woken, PollFlags::IN)];
        fds.extend(doors.iter().map(|door| PollFd::new(&door.listener, PollFlags::IN)));
        while !self.has_ended() {
            if poll(&mut fds, None).is_err() {
                // A signal came in between.
                continue;
            }
            for (door, fd) in doors.iter().zip(&fds[1..]) {
                if fd.revents().is_empty() {
                    continue;
                }
                match door.listener.accept() {
                    Ok((dialer, _)) => {
                        let (shared, from, to, target) = (Arc::clone(self), door.from, door.to, door.target);
                        self.begin(move || shared.connect(dialer, from, to, target));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
                    Err(_) => std::thread::sleep(ACCEPT_AGAIN),
                }
            }
        }
    }

    /// Does something on a thread that is waited for in the end. Without a thread what it was to do is dropped, and its sockets with it.
    fn begin(self: &Arc<Self>, work: impl FnOnce() + Send + 'static) {
        self.open().threads += 1;
        let shared = Arc::clone(self);
        let begun = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
            work();
            shared.has_left();
        });
        if begun.is_err() {
            self.has_left();
        }
    }

    fn has_left(&self) {
        self.open().threads -= 1;
        self.changed.notify_all();
    }

    /// Leads a connection on to where it was to go, once both of its ways are open.
    fn connect(self: &Arc<Self>, dialer: TcpStream, from: usize, to: usize, target: SocketAddr) {
        let dialer = Arc::new(dialer);
        if !self.keep(&dialer) {
            return;
        }
        match self.wait_open(&[(from, to), (to, from)]) {
            None => return,
            // Whoever has given up by now was never there for the other side.
            Some(true) if is_gone(&dialer) => return,
            Some(_) => (),
        }
        // A node that does not listen ends the connection, as it would have refused it.
        let Ok(target) = TcpStream::connect(target) else { return };
        let target = Arc::new(target);
        if !self.keep(&target) {
            return;
        }
        // Without it bytes are late, and nothing else.
        drop(dialer.set_nodelay(true));
        drop(target.set_nodelay(true));
        let (shared, back) = (Arc::clone(self), (Arc::clone(&target), Arc::clone(&dialer)));
        self.begin(move || shared.carry((to, from), &back.0, &back.1));
        self.carry((from, to), &dialer, &target);
    }

    /// Remembers a connection that is to be shut in the end; `false` if the end has come.
    fn keep(&self, stream: &Arc<TcpStream>) -> bool {
        let mut open = self.open();
        open.streams.retain(|stream| stream.strong_count() > 0);
        open.streams.push(Arc::downgrade(stream));
        !self.has_ended()
    }

    /// Carries all that comes from one side to the other, and its end.
    fn carry(&self, way: (usize, usize), source: &TcpStream, sink: &TcpStream) {
        let mut buffer = vec![0; CARRY_BYTES];
        let (mut source, mut sink) = (source, sink);
        loop {
            let read = source.read(&mut buffer);
            // What was read is held here, what was not in the kernel: an end passes no sooner than bytes.
            if self.wait_open(&[way]).is_none() {
                return;
            }
            match read {
                // They may be shut already.
                Ok(0) => return drop(sink.shutdown(Shutdown::Write)),
                Ok(bytes) => {
                    if sink.write_all(&buffer[..bytes]).is_err() {
                        // Whoever carries the other way reads the same end there.
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(_) => return drop(sink.shutdown(Shutdown::Both)),
            }
        }
    }
}

/// Whether the other side of a connection has ended it.
fn is_gone(stream: &TcpStream) -> bool {
    let mut fds = [PollFd::new(stream, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let ready = poll(&mut fds, Some(&now)).unwrap_or(0);
    ready > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long enough that what is to come has come.
    const SOON: Duration = Duration::from_millis(150);
    const SECOND: Duration = Duration::from_secs(1);

    /// Two nodes, of which the second listens.
    struct Pair {
        cuts: Cuts,
        listener: TcpListener,
    }

    impl Pair {
        fn new() -> Pair {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
            let cuts = Cuts::open(&[nobody, listener.local_addr().unwrap()]).unwrap();
            listener.set_nonblocking(true).unwrap();
            Pair { cuts, listener }
        }

        fn dial(&self) -> TcpStream {
            let stream = TcpStream::connect(self.cuts.address(0, 1)).unwrap();
            stream.set_read_timeout(Some(5 * SECOND)).unwrap();
            stream
        }

        /// The next connection that reaches the listener within a time.
        fn accept(&self, within: Duration) -> Option<TcpStream> {
            let until = Instant::now() + within;
            while Instant::now() < until {
                if let Ok((stream, _)) = self.listener.accept() {
                    stream.set_nonblocking(false).unwrap();
                    stream.set_read_timeout(Some(5 * SECOND)).unwrap();
                    return Some(stream);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            None
        }

        fn connected(&self) -> (TcpStream, TcpStream) {
            let dialer = self.dial();
            (dialer, self.accept(5 * SECOND).expect("it is led on"))
        }
    }

    fn assert_comes(stream: &mut TcpStream, wanted: &[u8]) {
        let mut read = vec![0; wanted.len()];
        stream.read_exact(&mut read).unwrap();
        assert_eq!(read, wanted);
    }

    /// Nothing comes for a while, no bytes and no end.
    fn assert_silent(stream: &mut TcpStream) {
        stream.set_read_timeout(Some(SOON)).unwrap();
        let kind = stream.read(&mut [0; 16]).map_err(|error| error.kind());
        assert_eq!(kind, Err(io::ErrorKind::WouldBlock));
        stream.set_read_timeout(Some(5 * SECOND)).unwrap();
    }

    #[test]
    fn bytes_go_through_in_both_directions_and_ends_too() {
        let pair = Pair::new();
        let (mut dialer, mut listener) = pair.connected();
        dialer.write_all(b"there").unwrap();
        assert_comes(&mut listener, b"there");
        listener.write_all(b"and back").unwrap();
        assert_comes(&mut dialer, b"and back");
        dialer.write_all(b"last").unwrap();
        drop(dialer);
        assert_comes(&mut listener, b"last");
        assert_eq!(listener.read(&mut [0; 16]).unwrap(), 0);
    }

    #[test]
    fn a_cut_holds_one_direction_alone_and_heals_without_a_byte_less() {
        let pair = Pair::new();
        let (mut dialer, mut listener) = pair.connected();
        let long: Vec<u8> = (0..1_000_000_u32).map(|at| at.to_le_bytes()[0]).collect();
        pair.cuts.cut(0, 1);
        let writer = std::thread::spawn({
            let (mut dialer, long) = (dialer.try_clone().unwrap(), long.clone());
            move || dialer.write_all(&long).unwrap()
        });
        assert_silent(&mut listener);
        listener.write_all(b"heard").unwrap();
        assert_comes(&mut dialer, b"heard");
        pair.cuts.heal();
        assert_comes(&mut listener, &long);
        writer.join().unwrap();

        pair.cuts.cut(1, 0);
        listener.write_all(b"later").unwrap();
        assert_silent(&mut dialer);
        dialer.write_all(b"at once").unwrap();
        assert_comes(&mut listener, b"at once");
        pair.cuts.heal();
        assert_comes(&mut dialer, b"later");
    }

    #[test]
    fn the_end_of_a_connection_is_held_too() {
        let pair = Pair::new();
        let (mut dialer, mut listener) = pair.connected();
        pair.cuts.cut(0, 1);
        dialer.write_all(b"last").unwrap();
        drop(dialer);
        assert_silent(&mut listener);
        pair.cuts.heal();
        assert_comes(&mut listener, b"last");
        assert_eq!(listener.read(&mut [0; 16]).unwrap(), 0);
    }

    #[test]
    fn a_connection_made_while_one_way_is_cut_gets_nothing_and_is_led_on_afterwards() {
        for (from, to) in [(0, 1), (1, 0)] {
            let pair = Pair::new();
            pair.cuts.cut(from, to);
            let given_up = pair.dial();
            let mut dialer = pair.dial();
            dialer.write_all(b"anybody?").unwrap();
            assert_silent(&mut dialer);
            assert!(pair.accept(SOON).is_none());
            drop(given_up);
            pair.cuts.heal();
            let mut listener = pair.accept(5 * SECOND).expect("the way is open");
            assert_comes(&mut listener, b"anybody?");
            assert!(pair.accept(SOON).is_none(), "nobody comes who has given up");
        }
    }

    #[test]
    fn nobody_behind_it_ends_a_connection_and_so_does_its_own_end() {
        let pair = Pair::new();
        let mut nobody = TcpStream::connect(pair.cuts.address(1, 0)).unwrap();
        assert_eq!(nobody.read(&mut [0; 16]).unwrap(), 0);

        let (mut dialer, mut listener) = pair.connected();
        pair.cuts.cut(0, 1);
        dialer.write_all(b"never").unwrap();
        let address = pair.cuts.address(0, 1);
        let weak = Arc::downgrade(&pair.cuts.shared);
        drop(pair.cuts);
        // What a thread had in hand goes just after it has said that it ends.
        let until = Instant::now() + SECOND;
        while weak.upgrade().is_some() {
            assert!(Instant::now() < until, "a thread is left");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(listener.read(&mut [0; 16]).unwrap(), 0);
        assert!(!matches!(dialer.read(&mut [0; 16]), Ok(1..)));
        let kind = TcpStream::connect(address).map_err(|error| error.kind());
        assert_eq!(kind.err(), Some(io::ErrorKind::ConnectionRefused));
    }
}
