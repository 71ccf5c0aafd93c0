//! One suite for both drivers: the same traffic must give the same events, whichever interface of the kernel carries it.
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of a test fail it by panicking, as the test does"
)]

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use waterpark_core::memory::{Memory, Outgoing};
use waterpark_reactor::{
    AnyDriver, Buffers, CloseCause, ConnectionId, Driver, DriverChoice, DriverConfig, DriverKind, Event, OpenError,
    PoolConfig, PoolMemory, SocketProfile, UringRefusal, Wait, open,
};

mod ending;
mod receiving;
mod sending;
mod turning;

const PATIENCE: Duration = Duration::from_secs(10);

/// Small, so that every limit is met.
fn config() -> DriverConfig {
    DriverConfig {
        ring_entries: 64,
        link_buffers: Buffers { count: 4, bytes: 8192 },
        client_buffers: Buffers { count: 64, bytes: 2048 },
        ..DriverConfig::default()
    }
}

/// Runs a test over each driver that the host allows; epoll it always does.
fn both(config: &DriverConfig, test: impl Fn(World)) {
    if let Some(driver) = open_uring(config) {
        test(World::new(driver));
    }
    let (driver, _) = open(DriverChoice::Epoll, config).unwrap();
    assert_eq!(driver.kind(), DriverKind::Epoll);
    test(World::new(driver));
}

fn open_uring(config: &DriverConfig) -> Option<AnyDriver> {
    match open(DriverChoice::IoUring, config) {
        Ok((driver, _)) => {
            assert_eq!(driver.kind(), DriverKind::IoUring);
            Some(driver)
        }
        Err(OpenError::Uring(refusal @ (UringRefusal::Forbidden(_) | UringRefusal::Unsupported { .. }))) => {
            eprintln!("skipped over io_uring: {refusal}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A driver, memory to gather from, and everything that was told so far.
struct World {
    driver: AnyDriver,
    memory: PoolMemory,
    events: Vec<Event>,
}

impl World {
    fn new(driver: AnyDriver) -> Self {
        let memory = PoolMemory::new(PoolConfig {
            budget: 16 << 20,
            huge_pages: false,
            keep_free: 0,
        })
        .unwrap();
        Self {
            driver,
            memory,
            events: Vec::new(),
        }
    }

    fn listen(&mut self, profile: SocketProfile) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        self.driver.listen(listener, profile, 7).unwrap();
        address
    }

    /// Turns until `found` picks something out of the events; others stay.
    fn until<T>(&mut self, what: &str, mut found: impl FnMut(&mut AnyDriver, &mut Vec<Event>) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = found(&mut self.driver, &mut self.events) {
                return found;
            }
            let kind = self.driver.kind();
            assert!(
                begun.elapsed() < PATIENCE,
                "{kind}: waited in vain for {what}; have {:?}",
                self.events
            );
            self.driver
                .turn(Wait::Until(Duration::from_millis(50)), &mut self.events)
                .unwrap();
        }
    }

    /// Turns for a while.
    fn turn_for(&mut self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.driver
                .turn(Wait::Until(Duration::from_millis(10)), &mut self.events)
                .unwrap();
        }
    }

    fn take<T>(&mut self, what: &str, pick: impl Fn(&Event) -> Option<T>) -> (Event, T) {
        self.until(what, |_, events| {
            let (at, picked) = events
                .iter()
                .enumerate()
                .find_map(|(at, event)| Some((at, pick(event)?)))?;
            Some((events.remove(at), picked))
        })
    }

    fn accepted(&mut self) -> ConnectionId {
        let pick = |event: &Event| match event {
            Event::Accepted {
                connection, listener, ..
            } => {
                assert_eq!(*listener, 7);
                Some(*connection)
            }
            _ => None,
        };
        self.take("an accept", pick).1
    }

    fn sent(&mut self, expected: ConnectionId) -> Outgoing {
        let event = self.take("a send", |event| match event {
            Event::Sent { connection, .. } if *connection == expected => Some(()),
            _ => None,
        });
        let (Event::Sent { outgoing, .. }, ()) = event else {
            unreachable!()
        };
        for gather in &outgoing.gathers {
            self.memory.unpin(gather.chunk);
        }
        outgoing
    }

    fn closed(&mut self, expected: ConnectionId) -> CloseCause {
        let event = self.take("a close", |event| match event {
            Event::Closed { connection, .. } if *connection == expected => Some(()),
            _ => None,
        });
        let (Event::Closed { cause, .. }, ()) = event else {
            unreachable!()
        };
        cause
    }

    /// Takes received bytes out of the events and gives their buffers back, until there are `length` of them.
    fn received(&mut self, from: ConnectionId, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.until("bytes", |driver, events| {
            collect(driver, events, from, &mut bytes);
            (bytes.len() >= length).then_some(())
        });
        assert_eq!(bytes.len(), length);
        bytes
    }

    fn send(&mut self, to: ConnectionId, bytes: &[u8]) {
        let outgoing = Outgoing {
            bytes: bytes.to_vec(),
            gathers: Vec::new(),
        };
        self.driver
            .send(to, outgoing, &self.memory)
            .expect("the connection is free to send");
    }

    /// Asserts that nothing at all is told any more.
    fn quiet(&mut self) {
        self.turn_for(Duration::from_millis(60));
        assert!(self.events.is_empty(), "{}: {:?}", self.driver.kind(), self.events);
    }
}

fn collect(driver: &mut AnyDriver, events: &mut Vec<Event>, from: ConnectionId, bytes: &mut Vec<u8>) {
    let mut at = 0;
    while at < events.len() {
        if !matches!(&events[at], Event::Received { connection, .. } if *connection == from) {
            at += 1;
            continue;
        }
        let Event::Received { buffer, .. } = events.remove(at) else {
            unreachable!()
        };
        assert_eq!(driver.received(&buffer).len(), buffer.len());
        bytes.extend_from_slice(driver.received(&buffer));
        driver.recycle(buffer);
    }
}

/// Bytes that differ from place to place, so that a swap or a gap shows.
fn pattern(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}
