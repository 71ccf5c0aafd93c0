//! In its steady state a driver allocates nothing: neither per turn, nor per message received or sent, copied or gathered.
#![expect(
    clippy::unwrap_used,
    reason = "the helper of a test fails it by panicking, as the test does"
)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use waterpark_core::memory::{Gather, Memory, Outgoing};
use waterpark_reactor::{
    AnyDriver, Driver, DriverChoice, DriverConfig, Event, OpenError, PoolConfig, PoolMemory, SocketProfile, Wait, open,
};

#[test]
fn a_thousand_echoes_allocate_nothing() {
    for choice in [DriverChoice::IoUring, DriverChoice::Epoll] {
        let mut driver = match open(choice, &DriverConfig::default()) {
            Ok((driver, _)) => driver,
            Err(OpenError::Uring(refusal)) => {
                eprintln!("skipped: {refusal}");
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        let mut memory = PoolMemory::new(PoolConfig {
            budget: 1 << 20,
            huge_pages: false,
            keep_free: 0,
        })
        .unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        driver.listen(listener, SocketProfile::Client, 0).unwrap();
        let mut events = Vec::new();
        let mut outgoing = Some(Outgoing::default());
        echo(&mut driver, &mut memory, &mut peer, &mut events, &mut outgoing, 50);
        let counted = allocation_counter::measure(|| {
            echo(&mut driver, &mut memory, &mut peer, &mut events, &mut outgoing, 1000);
        });
        assert_eq!(counted.count_total, 0, "{choice:?}: {counted:?}");
    }
}

/// Sends `times` pings and answers each with a copied byte and three gathered ones, until the peer has them.
fn echo(
    driver: &mut AnyDriver,
    memory: &mut PoolMemory,
    peer: &mut TcpStream,
    events: &mut Vec<Event>,
    outgoing: &mut Option<Outgoing>,
    times: usize,
) {
    for _ in 0..times {
        peer.write_all(b"ping").unwrap();
        let mut answered = false;
        while !answered || outgoing.is_none() {
            driver.turn(Wait::Until(Duration::from_secs(5)), events).unwrap();
            for event in events.drain(..) {
                match event {
                    Event::Received { connection, buffer } => {
                        let chunk = memory.reserve(4096).unwrap();
                        memory.bytes_mut(chunk)[..4].copy_from_slice(driver.received(&buffer));
                        driver.recycle(buffer);
                        memory.pin(chunk);
                        memory.release(chunk);
                        let mut answer = outgoing.take().unwrap();
                        answer.bytes.push(b'!');
                        answer.gathers.push(Gather {
                            at: 0,
                            chunk,
                            offset: 1,
                            length: 3,
                        });
                        assert!(driver.send(connection, answer, memory).is_ok());
                        answered = true;
                    }
                    Event::Sent { outgoing: mut done, .. } => {
                        done.gathers.iter().for_each(|gather| memory.unpin(gather.chunk));
                        done.clear();
                        *outgoing = Some(done);
                    }
                    Event::Accepted { .. } => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        let mut pong = [0; 4];
        peer.read_exact(&mut pong).unwrap();
        assert_eq!(&pong, b"ing!");
    }
}
