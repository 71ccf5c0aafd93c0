//! Round trips of 128 bytes over TCP: to a thread of this process, or to another `waterpark latency`.
//!
//! **Invariant:** what is counted came back to the byte; a server sends nothing back that is not in the form of this command.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use waterpark_reactor::cores::{Cores, pin};

use super::LatencyError;
use super::figure::{Bound, Figure};

/// Bytes of a message, both ways.
pub(crate) const MESSAGE: usize = 128;
/// How each begins; a number follows.
const MAGIC: [u8; 8] = *b"WPLTNCY1";
/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections that a server takes at a time.
const PEERS_MAX: usize = 16;

/// Round trips to a thread of this process, pinned to another core where there is one.
///
/// # Errors
/// The host refuses sockets on loopback.
pub(crate) fn loopback(allowed: &Cores, bound: Bound) -> Result<Figure, LatencyError> {
    let refused = |cause| LatencyError::Listen {
        address: "127.0.0.1".to_owned(),
        cause,
    };
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let cores = allowed.as_slice();
    // Where there is one core alone, or the kernel refuses, it chooses: the round trip is then what it makes of it.
    let place = |core: Option<&u32>| {
        if let (Some(core), true) = (core, cores.len() > 1) {
            drop(pin(*core, allowed));
        }
    };
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            place(cores.first());
            listener.accept().and_then(|(stream, _)| send_back(stream))
        });
        let client = scope.spawn(|| {
            place(cores.last());
            round_trips(address, bound)
        });
        let figure = client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // It ends with its connection; without one, a word of ours lets it go.
        if figure.is_err() {
            drop(TcpStream::connect(address));
        }
        drop(server.join());
        figure
    })
}

/// Round trips to a peer.
///
/// # Errors
/// It is not there, or is something else.
pub(crate) fn round_trips(address: SocketAddr, bound: Bound) -> Result<Figure, LatencyError> {
    let unreachable = |cause| LatencyError::Peer {
        address: address.to_string(),
        cause,
    };
    let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(unreachable)?;
    prepare(&stream).map_err(unreachable)?;
    exchange(stream, bound).map_err(|cause| LatencyError::NotPeer {
        address: address.to_string(),
        cause,
    })
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))
}

fn exchange(mut stream: TcpStream, bound: Bound) -> io::Result<Figure> {
    let mut figure = Figure::new();
    let mut sent = [0; MESSAGE];
    sent[..8].copy_from_slice(&MAGIC);
    for number in 0u64.. {
        let begun = Instant::now();
        if bound.is_reached(begun, &figure) {
            break;
        }
        sent[8..16].copy_from_slice(&number.to_le_bytes());
        stream.write_all(&sent)?;
        let mut received = [0; MESSAGE];
        stream.read_exact(&mut received)?;
        if received != sent {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "other bytes came back"));
        }
        // The first one waited for the other side to take the connection.
        if number > 0 {
            figure.record(begun.elapsed());
        }
    }
    Ok(figure)
}

/// Sends every message of this command back, until the peer ends or sends something else.
fn send_back(mut stream: TcpStream) -> io::Result<()> {
    prepare(&stream)?;
    let mut message = [0; MESSAGE];
    loop {
        match stream.read_exact(&mut message) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        if message[..8] != MAGIC {
            return Ok(());
        }
        stream.write_all(&message)?;
    }
}

/// Serves peers for ever; a connection more than it takes is closed.
pub(crate) fn serve(listener: &TcpListener) -> io::Error {
    let peers = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                // A peer that has gone before it was taken is no fault of ours.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return error,
            };
            if peers.fetch_add(1, Ordering::Relaxed) >= PEERS_MAX {
                peers.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let peers = &peers;
            scope.spawn(move || {
                // What a peer breaks is its own measurement.
                drop(send_back(stream));
                peers.fetch_sub(1, Ordering::Relaxed);
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn few() -> Bound {
        Bound {
            samples_max: 100,
            ..Bound::by_time(Duration::from_secs(60))
        }
    }

    /// A server for as long as the test's process lives.
    fn server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || serve(&listener));
        address
    }

    #[test]
    fn round_trips_are_counted_on_loopback_and_to_a_peer() {
        let allowed = waterpark_reactor::cores::allowed().unwrap();
        assert_eq!(loopback(&allowed, few()).unwrap().count(), 100);
        let address = server();
        for _ in 0..PEERS_MAX + 4 {
            assert_eq!(round_trips(address, few()).unwrap().count(), 100);
        }
    }

    #[test]
    fn a_server_sends_nothing_of_a_stranger_back() {
        let mut stream = TcpStream::connect(server()).unwrap();
        stream.write_all(&[b'x'; MESSAGE]).unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        assert!(received.is_empty());
    }

    #[test]
    fn a_port_of_nobody_is_unreachable_and_a_stranger_no_peer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stranger = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(&[b'x'; MESSAGE]).unwrap();
            // Ends with the client.
            drop(io::copy(&mut stream, &mut io::sink()));
        });
        let refused = round_trips(address, few());
        assert!(matches!(refused, Err(LatencyError::NotPeer { .. })), "{refused:?}");
        stranger.join().unwrap();
        let refused = round_trips(address, few());
        assert!(matches!(refused, Err(LatencyError::Peer { .. })), "{refused:?}");
    }
}
