//! Echo over loopback: what a message costs before any work of a server's own, on the reactor's two drivers and on other event loops.
//!
//! A server has a thread; one client, on the reactor in a thread of its own, drives them all. Rounds of all servers take turns, so that a noisy
//! neighbour meets each; the median of the rounds is printed with its range.

mod client;
mod ours;
mod peers;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use clap::Parser;

/// Echo over loopback, on the reactor and on other event loops
#[derive(Parser)]
struct Arguments {
    /// Rounds: in each, every server has its turn at every work
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// How long messages are echoed in one turn, in milliseconds
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(1..))]
    for_ms: u64,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

/// Bytes of a message.
const MESSAGE: usize = 128;

/// What a turn is made of.
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

/// What a server's thread took.
struct Took {
    /// User and system.
    cpu: Duration,
    /// System calls, where the event loop counts them.
    calls: Option<u32>,
}

/// One server. It listens on a port of loopback, tells it, and echoes until `stop` is set and one more connection comes. An error is why it cannot
/// run here.
struct Server {
    name: &'static str,
    serve: fn(&Sender<SocketAddr>, &AtomicBool) -> std::io::Result<Took>,
}

/// The figures of one turn; the last two are the server's, for a message.
#[derive(Clone, Copy)]
struct Figures {
    messages_per_s: f64,
    cpu_ns: f64,
    calls: Option<f64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let servers: Vec<Server> = ours::servers().into_iter().chain(peers::servers()).collect();
    for absent in peers::absent() {
        println!("{absent}: not built in; add --features {absent}, or --features peers for all");
    }
    println!(
        "{:<30} {:<18} {:>32} {:>26} {:>10}",
        "work", "server", "messages/s (range)", "server CPU ns/msg (range)", "calls/msg"
    );
    let mut refused = false;
    for work in WORKS {
        let mut figures: Vec<Result<Vec<Figures>, std::io::Error>> = servers.iter().map(|_| Ok(Vec::new())).collect();
        for _ in 0..arguments.rounds {
            for (server, figures) in servers.iter().zip(&mut figures) {
                let Ok(known) = figures else { continue };
                match turn(server, work, Duration::from_millis(arguments.for_ms)) {
                    Ok(figure) => known.push(figure),
                    Err(error) => *figures = Err(error),
                }
            }
        }
        for (server, figures) in servers.iter().zip(figures) {
            match figures {
                Ok(figures) => row(work, server, &figures),
                Err(error) => {
                    refused = true;
                    println!("{:<30} {:<18} does not run here: {error}", work.name, server.name);
                }
            }
        }
    }
    if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn row(work: Work, server: &Server, figures: &[Figures]) {
    let (rate, low, high) = median(figures.iter().map(|figure| figure.messages_per_s));
    let (cpu, cpu_low, cpu_high) = median(figures.iter().map(|figure| figure.cpu_ns));
    let rate = format!("{rate:.0} ({low:.0}..{high:.0})");
    let cpu = format!("{cpu:.0} ({cpu_low:.0}..{cpu_high:.0})");
    let calls: Option<Vec<f64>> = figures.iter().map(|figure| figure.calls).collect();
    let calls = calls.map_or_else(|| "-".to_owned(), |calls| format!("{:.4}", median(calls.into_iter()).0));
    println!("{:<30} {:<18} {rate:>32} {cpu:>26} {calls:>10}", work.name, server.name);
}

fn median(figures: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    (figures[figures.len() / 2], figures[0], figures[figures.len() - 1])
}

/// One server's turn at one work, with a fresh server and a fresh client.
fn turn(server: &Server, work: Work, time: Duration) -> std::io::Result<Figures> {
    let stop = AtomicBool::new(false);
    let (tell, told) = mpsc::channel();
    thread::scope(|scope| {
        let serve = server.serve;
        let stop = &stop;
        // The channel's only sender goes with the thread: where the server fails, nobody waits for its port.
        let thread = scope.spawn(move || serve(&tell, stop));
        let driven = told.recv().ok().map(|address| {
            let driven = client::drive(address, work, time);
            stop.store(true, Ordering::Relaxed);
            // Whoever waits for a connection sees by it that this is the end.
            let last = TcpStream::connect((Ipv4Addr::LOCALHOST, address.port()));
            (driven, last)
        });
        let took = thread.join().expect("a server does not panic")?;
        let ((messages, elapsed), last) = driven.expect("a server that did not fail told its port");
        drop(last);
        #[expect(clippy::cast_precision_loss, reason = "figures are printed with a few digits")]
        let messages = messages as f64;
        Ok(Figures {
            messages_per_s: messages / elapsed.as_secs_f64(),
            cpu_ns: took.cpu.as_secs_f64() * 1e9 / messages,
            calls: took.calls.map(|calls| f64::from(calls) / messages),
        })
    })
}

/// CPU time of the calling thread.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).expect("CPU time is positive");
    let nanoseconds = u32::try_from(time.tv_nsec).expect("below a second");
    Duration::new(seconds, nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Servers that need nothing that a host may forbid.
    const ANYWHERE: [&str; 2] = ["reactor, epoll", "tokio"];

    #[test]
    fn every_server_that_is_built_in_echoes_every_work() {
        for server in ours::servers().into_iter().chain(peers::servers()) {
            for work in WORKS {
                match turn(&server, work, Duration::from_millis(30)) {
                    Ok(figures) => {
                        assert!(figures.messages_per_s > 0.0, "{}, {}", server.name, work.name);
                        assert!(figures.cpu_ns > 0.0, "{}, {}", server.name, work.name);
                    }
                    // A host may forbid io_uring.
                    Err(error) => assert!(!ANYWHERE.contains(&server.name), "{}: {error}", server.name),
                }
            }
        }
    }
}
