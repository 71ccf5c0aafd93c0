//! Echo over loopback, through both drivers, one message at a time and sixteen at a time: what a message costs before any of our own work.
//!
//! Client and server are two threads with a driver each. Rounds of both drivers take turns, so that a noisy neighbour meets both; the median
//! of the rounds is printed with its range. `cargo bench -p waterpark-reactor --bench echo [rounds]`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use waterpark_core::memory::Outgoing;
use waterpark_reactor::{
    AnyDriver, ConnectionId, Driver, DriverChoice, DriverConfig, DriverKind, Event, PoolConfig, PoolMemory,
    SocketProfile, Wait, open,
};

const MESSAGE: usize = 128;
const ROUND: Duration = Duration::from_millis(400);

/// What a round is made of.
#[derive(Clone, Copy)]
struct Work {
    name: &'static str,
    connections: usize,
    /// Messages that leave together and are answered together.
    batch: usize,
}

const WORKS: [Work; 4] = [
    Work {
        name: "1 connection, unbatched",
        connections: 1,
        batch: 1,
    },
    Work {
        name: "64 connections, unbatched",
        connections: 64,
        batch: 1,
    },
    Work {
        name: "64 connections, 16 a send",
        connections: 64,
        batch: 16,
    },
    Work {
        name: "4 links, 512 a send (64 KiB)",
        connections: 4,
        batch: 512,
    },
];

/// The figures of one round, server side except for the round trip.
#[derive(Clone, Copy, Default)]
struct Figures {
    messages_per_s: f64,
    server_cpu_ns: f64,
    calls_per_message: f64,
}

fn main() {
    // cargo passes `--bench`; the first plain argument is the number of rounds.
    let rounds = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(5_usize);
    println!(
        "{:<30} {:<9} {:>24} {:>22} {:>12}",
        "work", "driver", "messages/s (range)", "server CPU ns/msg", "calls/msg"
    );
    for work in WORKS {
        let kinds = [DriverChoice::IoUring, DriverChoice::Epoll];
        let mut figures = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (kind, figures) in kinds.into_iter().zip(&mut figures) {
                match run(kind, work) {
                    Some(figure) => figures.push(figure),
                    None => println!("{kind:?} is not allowed here"),
                }
            }
        }
        for (kind, figures) in [DriverKind::IoUring, DriverKind::Epoll].into_iter().zip(figures) {
            if figures.is_empty() {
                continue;
            }
            let (rate, low, high) = median(figures.iter().map(|figure| figure.messages_per_s));
            let (cpu, cpu_low, cpu_high) = median(figures.iter().map(|figure| figure.server_cpu_ns));
            let (calls, ..) = median(figures.iter().map(|figure| figure.calls_per_message));
            let rate = format!("{rate:.0} ({low:.0}..{high:.0})");
            let cpu = format!("{cpu:.0} ({cpu_low:.0}..{cpu_high:.0})");
            println!(
                "{:<30} {:<9} {rate:>24} {cpu:>22} {calls:>12.4}",
                work.name,
                kind.to_string()
            );
        }
    }
}

fn median(figures: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    (figures[figures.len() / 2], figures[0], figures[figures.len() - 1])
}

fn memory() -> PoolMemory {
    PoolMemory::new(PoolConfig {
        budget: 1 << 20,
        huge_pages: false,
        keep_free: 0,
    })
    .expect("1 MiB can be reserved")
}

/// One round with fresh drivers. `None` where the driver is refused.
fn run(choice: DriverChoice, work: Work) -> Option<Figures> {
    let (mut client, _) = open(choice, &DriverConfig::default()).ok()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    let stop = Arc::new(AtomicBool::new(false));
    let server = thread::spawn({
        let stop = Arc::clone(&stop);
        move || serve(choice, listener, &stop)
    });
    let (messages, elapsed) = drive(&mut client, address, work);
    stop.store(true, Ordering::Relaxed);
    drop(client);
    let (cpu, calls) = server.join().expect("the server does not panic");
    #[expect(clippy::cast_precision_loss, reason = "figures are printed with a few digits")]
    let per_message = |total: u64| total as f64 / messages as f64;
    #[expect(clippy::cast_precision_loss, reason = "figures are printed with a few digits")]
    let messages_per_s = messages as f64 / elapsed.as_secs_f64();
    let cpu_ns = u64::try_from(cpu.as_nanos()).expect("a round lasts less than centuries");
    Some(Figures {
        messages_per_s,
        server_cpu_ns: per_message(cpu_ns),
        calls_per_message: per_message(calls),
    })
}

/// CPU time of the calling thread.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).expect("CPU time is positive");
    let nanoseconds = u32::try_from(time.tv_nsec).expect("below a second");
    Duration::new(seconds, nanoseconds)
}

/// A connection's side of an echo: what waits to go out while a send is in flight.
#[derive(Default)]
struct Line {
    waiting: Vec<u8>,
    spare: Vec<u8>,
    sending: bool,
}

impl Line {
    fn flush(&mut self, driver: &mut AnyDriver, id: ConnectionId, memory: &PoolMemory) {
        if self.sending || self.waiting.is_empty() {
            return;
        }
        let bytes = std::mem::replace(&mut self.waiting, std::mem::take(&mut self.spare));
        self.sending = driver
            .send(
                id,
                Outgoing {
                    bytes,
                    gathers: Vec::new(),
                },
                memory,
            )
            .is_ok();
    }

    fn sent(&mut self, mut outgoing: Outgoing) {
        outgoing.clear();
        self.spare = outgoing.bytes;
        self.sending = false;
    }
}

/// The line of a connection, by its slot.
fn line(lines: &mut Vec<Line>, id: ConnectionId) -> &mut Line {
    let slot = id.slot() as usize;
    if lines.len() <= slot {
        lines.resize_with(slot + 1, Line::default);
    }
    &mut lines[slot]
}

/// Echoes until told to stop. Returns the CPU time and the system calls after the first 100 turns.
fn serve(choice: DriverChoice, listener: TcpListener, stop: &AtomicBool) -> (Duration, u64) {
    let (mut driver, _) = open(choice, &DriverConfig::default()).expect("the client's driver opened too");
    driver
        .listen(listener, SocketProfile::Link, 0)
        .expect("the listener is fresh");
    let memory = memory();
    let (mut lines, mut events, mut touched) = (Vec::new(), Vec::new(), Vec::new());
    let (mut calls, begun) = (0, cpu_time());
    while !stop.load(Ordering::Relaxed) {
        let cost = driver
            .turn(Wait::Until(Duration::from_millis(20)), &mut events)
            .expect("the driver turns");
        calls += u64::from(cost.system_calls);
        for event in events.drain(..) {
            match event {
                Event::Received { connection, buffer } => {
                    line(&mut lines, connection)
                        .waiting
                        .extend_from_slice(driver.received(&buffer));
                    driver.recycle(buffer);
                    touched.push(connection);
                }
                Event::Sent { connection, outgoing } => {
                    line(&mut lines, connection).sent(outgoing);
                    touched.push(connection);
                }
                _ => {}
            }
        }
        for connection in touched.drain(..) {
            line(&mut lines, connection).flush(&mut driver, connection, &memory);
        }
    }
    (cpu_time() - begun, calls)
}

/// Sends batches and waits for their echoes. Returns the messages echoed and the time it took.
fn drive(driver: &mut AnyDriver, address: SocketAddr, work: Work) -> (u64, Duration) {
    let memory = memory();
    let batch_bytes = MESSAGE * work.batch;
    let (mut lines, mut events) = (Vec::new(), Vec::new());
    let mut left = vec![0; work.connections];
    for _ in 0..work.connections {
        driver.connect(address, SocketProfile::Link);
    }
    let begun = Instant::now();
    let mut messages = 0;
    while begun.elapsed() < ROUND {
        driver
            .turn(Wait::Until(Duration::from_millis(20)), &mut events)
            .expect("the driver turns");
        for event in events.drain(..) {
            let connection = match event {
                Event::Connected { connection } => connection,
                Event::Received { connection, buffer } => {
                    let left: &mut usize = &mut left[connection.slot() as usize];
                    *left -= buffer.len();
                    driver.recycle(buffer);
                    if *left > 0 {
                        continue;
                    }
                    messages += work.batch as u64;
                    connection
                }
                Event::Sent { connection, outgoing } => {
                    line(&mut lines, connection).sent(outgoing);
                    line(&mut lines, connection).flush(driver, connection, &memory);
                    continue;
                }
                other => panic!("{other:?}"),
            };
            left[connection.slot() as usize] = batch_bytes;
            let line = line(&mut lines, connection);
            line.waiting.resize(batch_bytes, 7);
            line.flush(driver, connection, &memory);
        }
    }
    (messages, begun.elapsed())
}
