//! Sends a workload to a peer over some connections and measures each message from its planned instant to its ack.
//!
//! One thread, as the generator for Waterpark. A message goes to whichever connection has room, without regard to its actor: no peer is held to
//! an order. **Invariant:** response time counts from the planned instant, and everything planned is sent. What leaves later than that is counted as
//! late only where a connection had room for it: to have none is the peer's doing, and lies in its response times.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use waterpark_bench::generator::{LATE_NS, Measured, Schedule};
use waterpark_bench::ledger::{Fate, Ledger};
use waterpark_bench::workload::Workload;

use crate::dialect::{Acks, Dialect, Ended};
use crate::error::PeerError;

/// Messages are under way, and none of them ends for so long: nothing more is waited for.
const SILENT: Duration = Duration::from_secs(10);
/// Bytes that one read takes at most.
const READ_BYTES: usize = 256 << 10;

/// How a peer is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Connections.
    pub connections: usize,
    /// Messages under way on each, at most; where a peer acks together, of one batch.
    pub window: usize,
}

impl Setting {
    /// Those of pairs of connections and messages under way.
    pub(crate) fn all(pairs: &[(usize, usize)]) -> Vec<Setting> {
        let of = |(connections, window): &(usize, usize)| Setting {
            connections: *connections,
            window: *window,
        };
        pairs.iter().map(of).collect()
    }
}

/// A connection that was made and greeted.
pub(crate) struct Connection {
    stream: TcpStream,
    dialect: Box<dyn Dialect>,
    /// What is to be written, and how much of it was.
    out: Vec<u8>,
    written: usize,
    /// What came and was not understood yet.
    came: Vec<u8>,
    under_way: usize,
}

impl Connection {
    /// Of a stream on which the dialect may begin.
    pub(crate) fn new(stream: TcpStream, dialect: Box<dyn Dialect>) -> Result<Connection, PeerError> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Connection {
            stream,
            dialect,
            out: Vec::new(),
            written: 0,
            came: Vec::new(),
            under_way: 0,
        })
    }

    /// Messages that may be sent now.
    fn room(&self, window: usize) -> usize {
        match self.dialect.acks() {
            Acks::Together if self.under_way > 0 => 0,
            Acks::Together | Acks::Each => window.saturating_sub(self.under_way),
        }
    }

    fn write(&mut self) -> Result<(), PeerError> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) => return Err(error.into()),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8], ended: &mut Vec<Ended>) -> Result<(), PeerError> {
        loop {
            let bytes = match self.stream.read(buffer) {
                Ok(0) => return Err(PeerError::Socket(ErrorKind::UnexpectedEof.into())),
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            self.came.extend_from_slice(&buffer[..bytes]);
            let before = ended.len();
            let taken = self.dialect.take(&self.came, ended, &mut self.out)?;
            self.came.drain(..taken);
            self.under_way = self.under_way.saturating_sub(ended.len() - before);
            if bytes < buffer.len() {
                return Ok(());
            }
        }
    }
}

/// What sends to one peer.
pub(crate) struct Load {
    workload: Workload,
    ledger: Ledger,
    /// The next message's serial.
    next: u64,
    /// When each message counts from, ns since the load began.
    counts_from: Vec<u64>,
    /// Something is due, and no connection has room for it.
    is_full: bool,
    /// The last instant at which that was so.
    full_ns: u64,
    begun: Instant,
    buffer: Vec<u8>,
    message: Vec<u8>,
}

impl Load {
    pub(crate) fn new(workload: Workload) -> Load {
        Load {
            workload,
            ledger: Ledger::default(),
            next: 0,
            counts_from: Vec::new(),
            is_full: false,
            full_ns: 0,
            begun: Instant::now(),
            buffer: vec![0; READ_BYTES],
            message: Vec::new(),
        }
    }

    pub(crate) fn workload(&self) -> &Workload {
        &self.workload
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Sends for a time, or until `messages_max` were sent; then waits until everything has ended.
    ///
    /// # Errors
    /// What a connection failed with; what was under way stays open in the ledger.
    pub(crate) fn run(
        &mut self,
        connections: &mut [Connection],
        window: usize,
        schedule: Schedule<'_>,
        time: Duration,
        messages_max: u64,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Measured, PeerError> {
        let mut measured = Measured::new(time);
        let first = self.next;
        let begun_ns = self.now_ns();
        let end_ns = begun_ns.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        let silent_ns = u64::try_from(SILENT.as_nanos()).unwrap_or(u64::MAX);
        let (mut last_ns, mut heard_ns) = (begun_ns, begun_ns);
        // An open loop ends with its last planned message, whenever there is room for it.
        let messages_max = match schedule {
            Schedule::Open(instants) => messages_max.min(instants.count(time)),
            Schedule::Closed { .. } => messages_max,
        };
        let is_closed = matches!(schedule, Schedule::Closed { .. });
        let mut stopped = false;
        let mut turn = 0;
        let mut ended = Vec::new();
        loop {
            let now_ns = self.now_ns();
            stopped |= (is_closed && now_ns >= end_ns) || self.next - first >= messages_max || !go_on();
            let open = self.next - first - measured.acked - measured.refused - measured.unknown;
            match stopped {
                true if open == 0 => break,
                true => (),
                false => {
                    let due = match schedule {
                        Schedule::Open(instants) => {
                            let past = Duration::from_nanos(now_ns - begun_ns);
                            instants.count(past).saturating_add(1)
                        }
                        Schedule::Closed { in_flight } => {
                            (self.next - first).saturating_add((in_flight as u64).saturating_sub(open))
                        }
                    };
                    let due = due.min(messages_max) - (self.next - first).min(due);
                    let plan = (schedule, first, begun_ns);
                    self.send(connections, window, due, &mut turn, plan, &mut measured)?;
                }
            }
            let open = self.next - first - measured.acked - measured.refused - measured.unknown;
            if open == 0 {
                heard_ns = self.now_ns();
            }
            let wait_ns = match schedule {
                Schedule::Open(instants) if !stopped => {
                    let next_ns = begun_ns.saturating_add(instants.at(self.next - first));
                    let now_ns = self.now_ns();
                    match self.is_full {
                        // What is due waits for room, which comes with an answer.
                        true => 10_000_000,
                        false => next_ns.saturating_sub(now_ns),
                    }
                }
                _ => 10_000_000,
            };
            self.turn(connections, wait_ns, &mut ended)?;
            let now_ns = self.now_ns();
            if self.is_full {
                // Until those answers were read.
                self.full_ns = now_ns;
            }
            if !ended.is_empty() {
                (last_ns, heard_ns) = (now_ns, now_ns);
            } else if now_ns - heard_ns > silent_ns {
                return Err(PeerError::Silent(SILENT));
            }
            for (serial, fate) in ended.drain(..) {
                self.note(serial, fate, now_ns, begun_ns, &mut measured);
            }
        }
        measured.took = Duration::from_nanos(last_ns - begun_ns);
        Ok(measured)
    }

    /// Sends up to so many messages, each connection in its turn as much as it has room for.
    fn send(
        &mut self,
        connections: &mut [Connection],
        window: usize,
        mut due: u64,
        turn: &mut usize,
        (schedule, first, begun_ns): (Schedule<'_>, u64, u64),
        measured: &mut Measured,
    ) -> Result<(), PeerError> {
        for _ in 0..connections.len() {
            if due == 0 {
                break;
            }
            let at = *turn % connections.len();
            *turn += 1;
            let connection = &mut connections[at];
            let count = (connection.room(window) as u64).min(due);
            if count == 0 {
                continue;
            }
            let now_ns = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            for _ in 0..count {
                let serial = self.next;
                self.workload.write(serial, &mut self.message);
                let actor = self.workload.actor(serial);
                connection
                    .dialect
                    .append(serial, actor, &self.message, &mut connection.out);
                let from_ns = match schedule {
                    Schedule::Open(instants) => begun_ns.saturating_add(instants.at(serial - first)),
                    Schedule::Closed { .. } => now_ns,
                };
                measured.late += u64::from(now_ns.saturating_sub(from_ns.max(self.full_ns)) > LATE_NS);
                self.counts_from.push(from_ns);
                self.next += 1;
            }
            connection.dialect.flush(&mut connection.out);
            connection.under_way += usize::try_from(count).expect("at most its window");
            measured.sent += count;
            due -= count;
            connection.write()?;
        }
        self.is_full = due > 0 && connections.iter().all(|connection| connection.room(window) == 0);
        Ok(())
    }

    /// Waits for sockets, and takes what came.
    fn turn(&mut self, connections: &mut [Connection], wait_ns: u64, ended: &mut Vec<Ended>) -> Result<(), PeerError> {
        let wanted = |connection: &Connection| match connection.out.is_empty() {
            true => PollFlags::IN,
            false => PollFlags::IN | PollFlags::OUT,
        };
        let ready: Vec<PollFlags> = {
            let mut polled: Vec<PollFd<'_>> = (connections.iter())
                .map(|connection| PollFd::new(&connection.stream, wanted(connection)))
                .collect();
            let wait = Timespec {
                tv_sec: i64::try_from(wait_ns / 1_000_000_000).unwrap_or(0),
                tv_nsec: i64::try_from(wait_ns % 1_000_000_000).unwrap_or(0),
            };
            match poll(&mut polled, Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => (),
                Err(error) => return Err(PeerError::Socket(error.into())),
            }
            polled.iter().map(PollFd::revents).collect()
        };
        for (connection, ready) in connections.iter_mut().zip(ready) {
            if ready.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                connection.read(&mut self.buffer, ended)?;
            }
            if !connection.out.is_empty() {
                connection.write()?;
            }
        }
        Ok(())
    }

    fn note(&mut self, serial: u64, fate: Fate, now_ns: u64, begun_ns: u64, measured: &mut Measured) {
        self.ledger.note(serial, fate);
        match fate {
            Fate::Acked => {
                measured.acked += 1;
                let at = usize::try_from(serial).expect("serials count messages in memory");
                let response_ns = now_ns.saturating_sub(self.counts_from[at]);
                measured.response_us.saturating_record(response_ns / 1_000);
                let since_ns = self.counts_from[at].saturating_sub(begun_ns);
                measured.over_time.acked(since_ns, response_ns / 1_000);
            }
            Fate::Refused => measured.refused += 1,
            Fate::Unknown | Fate::Open => measured.unknown += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use waterpark_bench::arrivals::Instants;
    use waterpark_bench::run::is_late;
    use waterpark_bench::workload::Kind;

    use super::*;

    const EVENLY: Instants = Instants::constant(1_000.0);

    /// A protocol of eight bytes: a serial, and the same back.
    struct Echo(Acks);

    impl Dialect for Echo {
        fn acks(&self) -> Acks {
            self.0
        }

        fn append(&mut self, serial: u64, _actor: u64, _message: &[u8], out: &mut Vec<u8>) {
            out.extend_from_slice(&serial.to_le_bytes());
        }

        fn flush(&mut self, _out: &mut Vec<u8>) {}

        fn take(&mut self, came: &[u8], ended: &mut Vec<Ended>, _out: &mut Vec<u8>) -> Result<usize, PeerError> {
            let (whole, _) = came.as_chunks::<8>();
            ended.extend(whole.iter().map(|bytes| (u64::from_le_bytes(*bytes), Fate::Acked)));
            Ok(whole.len() * 8)
        }
    }

    /// Connections to somebody who sends back what comes, after standing still for so long at the begin.
    fn echoing(count: usize, acks: Acks, pause: Duration) -> Vec<Connection> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connect = |_| {
            let stream = TcpStream::connect(address).unwrap();
            let (mut other, _) = listener.accept().unwrap();
            std::thread::spawn(move || {
                let mut bytes = [0; 4_096];
                std::thread::sleep(pause);
                while let Ok(count @ 1..) = other.read(&mut bytes) {
                    if other.write_all(&bytes[..count]).is_err() {
                        return;
                    }
                }
            });
            Connection::new(stream, Box::new(Echo(acks))).unwrap()
        };
        (0..count).map(connect).collect()
    }

    fn load() -> Load {
        Load::new(Workload {
            kind: Kind::W128,
            actors: 10,
            message_bytes: 24,
            seed: 1,
            warm: 0,
            prefix: "",
            skew: None,
        })
    }

    #[test]
    fn every_message_ends_once_and_no_more_are_under_way_than_allowed() {
        for acks in [Acks::Together, Acks::Each] {
            let mut connections = echoing(3, acks, Duration::ZERO);
            let mut load = load();
            let closed = Schedule::Closed { in_flight: 12 };
            let time = Duration::from_secs(60);
            let measured = load.run(&mut connections, 4, closed, time, 1_000, &|| true).unwrap();
            assert_eq!((measured.sent, measured.acked, measured.late), (1_000, 1_000, 0));
            assert_eq!(load.ledger().count(Fate::Acked), 1_000);
            assert!(connections.iter().all(|connection| connection.under_way == 0));
        }
    }

    #[test]
    fn an_open_loop_counts_from_the_planned_instant_also_what_the_peer_had_no_room_for() {
        let pause = Duration::from_millis(200);
        let mut connections = echoing(1, Acks::Together, pause);
        let open = Schedule::Open(&EVENLY);
        let time = Duration::from_millis(400);
        let measured = load().run(&mut connections, 1_000, open, time, u64::MAX, &|| true);
        let measured = measured.unwrap();
        assert_eq!(measured.acked, 400, "everything planned is sent");
        let times = &measured.response_us;
        assert!(times.max() >= 190_000, "{}", times.max());
        // What was planned while one batch was under way waited for it, and that is seen.
        assert!(
            times.value_at_quantile(0.7) >= 20_000,
            "{}",
            times.value_at_quantile(0.7)
        );
        // The generator itself may have been late on a busy machine, but not by all that waited.
        assert!(measured.late < 150, "{} of 400 left late", measured.late);
    }

    #[test]
    fn a_generator_that_stood_still_itself_is_late() {
        let mut connections = echoing(1, Acks::Each, Duration::ZERO);
        let open = Schedule::Open(&EVENLY);
        let asked = std::cell::Cell::new(0);
        let stands_still_once = || {
            asked.set(asked.get() + 1);
            if asked.get() == 50 {
                std::thread::sleep(Duration::from_millis(150));
            }
            true
        };
        let time = Duration::from_millis(400);
        let measured = load().run(&mut connections, 1_000, open, time, u64::MAX, &stands_still_once);
        let measured = measured.unwrap();
        assert!(measured.late >= 100 && is_late(&measured), "{}", measured.late);
    }

    #[test]
    fn a_connection_that_breaks_is_an_error_and_not_a_rate() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        drop(listener.accept().unwrap());
        let mut connections = vec![Connection::new(stream, Box::new(Echo(Acks::Each))).unwrap()];
        let closed = Schedule::Closed { in_flight: 1 };
        let ended = load().run(&mut connections, 1, closed, Duration::from_secs(60), 9, &|| true);
        assert!(matches!(ended, Err(PeerError::Socket(_))), "{ended:?}");
    }
}
