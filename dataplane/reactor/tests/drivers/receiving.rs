//! Bytes that come in: torn, from many, without buffers, paused.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use waterpark_core::memory::Outgoing;
use waterpark_reactor::{CloseCause, ConnectionId, Driver, Event, SocketProfile, Wait};

use crate::{PATIENCE, both, collect, config, connect, pattern};

#[test]
fn torn_writes_arrive_whole_and_in_order() {
    both(&config(), |mut world| {
        for profile in [SocketProfile::Link, SocketProfile::Client] {
            let address = world.listen(profile);
            let bytes = pattern(1_000_000, 3);
            let expected = bytes.clone();
            let writer = thread::spawn(move || {
                let mut stream = connect(address);
                let mut rest = &bytes[..];
                for size in [1, 63, 1, 4096, 7, 20_000, 2048, 2049].into_iter().cycle() {
                    let (now, later) = rest.split_at(size.min(rest.len()));
                    stream.write_all(now).unwrap();
                    rest = later;
                    if rest.is_empty() {
                        return stream;
                    }
                }
                unreachable!()
            });
            let connection = world.accepted();
            assert!(world.received(connection, expected.len()) == expected);
            drop(writer.join().unwrap());
            assert!(matches!(world.closed(connection), CloseCause::PeerClosed));
        }
        world.quiet();
        assert_eq!(world.driver.connections(), 0);
    });
}

#[test]
fn a_driver_talks_to_itself_over_many_connections() {
    const CONNECTIONS: usize = 300;
    both(&config(), |mut world| {
        let address = world.listen(SocketProfile::Client);
        let dialled: Vec<_> = (0..CONNECTIONS)
            .map(|_| world.driver.connect(address, SocketProfile::Client))
            .collect();
        let mut counts = (0, 0);
        // More connections than ring entries, and five times as many as buffers: every queue is overrun once.
        let accepted: Vec<ConnectionId> = world.until("all connections", {
            let mut accepted = Vec::new();
            move |_, events| {
                for event in events.drain(..) {
                    match event {
                        Event::Accepted { connection, .. } => accepted.push(connection),
                        Event::Connected { .. } => counts.1 += 1,
                        other => panic!("{other:?}"),
                    }
                }
                (accepted.len() == CONNECTIONS && counts.1 == CONNECTIONS).then(|| accepted.clone())
            }
        });
        for (number, connection) in dialled.iter().enumerate() {
            world.send(*connection, &u32::try_from(number).unwrap().to_le_bytes());
        }
        // Each accepted end echoes what it hears; each dialled end must hear its own number.
        let memory = &world.memory;
        let (mut echoed, mut heard, mut sent) = (0, vec![None; CONNECTIONS], 0);
        let begun = Instant::now();
        let mut events = Vec::new();
        while heard.iter().any(Option::is_none) || sent < 2 * CONNECTIONS {
            assert!(begun.elapsed() < PATIENCE, "echoed {echoed}, sent {sent}");
            world
                .driver
                .turn(Wait::Until(Duration::from_millis(50)), &mut events)
                .unwrap();
            for event in events.drain(..) {
                match event {
                    Event::Received { connection, buffer } => {
                        let bytes = world.driver.received(&buffer).to_vec();
                        world.driver.recycle(buffer);
                        if accepted.contains(&connection) {
                            echoed += 1;
                            let outgoing = Outgoing {
                                bytes,
                                gathers: Vec::new(),
                            };
                            world.driver.send(connection, outgoing, memory).unwrap();
                        } else {
                            let number = u32::from_le_bytes(bytes.try_into().unwrap()) as usize;
                            assert_eq!(dialled[number], connection);
                            heard[number] = Some(());
                        }
                    }
                    Event::Sent { .. } => sent += 1,
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(world.driver.connections(), 2 * CONNECTIONS);
        dialled.iter().for_each(|connection| world.driver.close(*connection));
        world.until("all closed", |driver, _| (driver.connections() == 0).then_some(()));
        let closed = world
            .events
            .iter()
            .filter(|event| matches!(event, Event::Closed { .. }))
            .count();
        assert_eq!(
            (closed, world.events.len()),
            (2 * CONNECTIONS, 2 * CONNECTIONS),
            "each closes exactly once"
        );
    });
}

#[test]
fn receiving_goes_on_when_buffers_come_back() {
    both(&config(), |mut world| {
        let address = world.listen(SocketProfile::Link);
        let mut peers: Vec<_> = (0..3).map(|_| connect(address)).collect();
        let connections: Vec<_> = peers.iter().map(|_| world.accepted()).collect();
        // The link group has 4 buffers of 8 KiB; each peer sends 64 KiB.
        let contents: Vec<_> = (0..3).map(|seed| pattern(65_536, seed)).collect();
        for (peer, bytes) in peers.iter_mut().zip(&contents) {
            peer.write_all(bytes).unwrap();
        }
        // Buffers are held until nothing comes any more: all four are out, and every connection has run dry.
        world.turn_for(Duration::from_millis(100));
        let held = world
            .events
            .iter()
            .filter(|event| matches!(event, Event::Received { .. }))
            .count();
        assert_eq!((held, world.events.len()), (4, 4), "{:?}", world.events);
        let mut got = vec![Vec::new(); 3];
        world.until("all bytes", |driver, events| {
            for (connection, got) in connections.iter().zip(&mut got) {
                collect(driver, events, *connection, got);
            }
            got.iter().all(|got| got.len() == 65_536).then_some(())
        });
        assert!(got == contents);
    });
}

#[test]
fn connections_that_starved_are_armed_again_though_those_before_them_stay_silent() {
    let mut config = config();
    config.link_buffers.count = 1;
    both(&config, |mut world| {
        let address = world.listen(SocketProfile::Link);
        let mut peers: Vec<_> = (0..6).map(|_| connect(address)).collect();
        let connections: Vec<_> = peers.iter().map(|_| world.accepted()).collect();
        for round in 0..3_u8 {
            peers.iter_mut().for_each(|peer| peer.write_all(&[round]).unwrap());
            world.turn_for(Duration::from_millis(40));
            assert_eq!(world.events.len(), 1, "one was served, five starve");
            // Each peer says one byte and then stays silent: whoever is armed with the buffer that came back may never use it, and the
            // others must be served all the same.
            let mut got = vec![Vec::new(); 6];
            world.until("a byte of each", |driver, events| {
                for (connection, got) in connections.iter().zip(&mut got) {
                    collect(driver, events, *connection, got);
                }
                got.iter().all(|got| got.len() == 1).then_some(())
            });
            assert!(got.iter().all(|got| *got == [round]));
        }
    });
}

#[test]
fn pausing_pushes_back_on_the_peer_and_resuming_loses_nothing() {
    both(&config(), |mut world| {
        let address = world.listen(SocketProfile::Client);
        let mut peer = connect(address);
        let connection = world.accepted();
        world.driver.pause_receive(connection);
        world.turn_for(Duration::from_millis(10));
        let bytes = pattern(40 << 20, 8);
        let expected = bytes.clone();
        let (progress, told) = std::sync::mpsc::channel();
        let writer = thread::spawn(move || {
            for piece in bytes.chunks(1 << 20) {
                peer.write_all(piece).unwrap();
                progress.send(()).unwrap();
            }
            peer
        });
        world.turn_for(Duration::from_millis(200));
        assert!(world.events.is_empty(), "paused before the first byte");
        let written = told.try_iter().count();
        assert!(written < 40, "the peer was pushed back, yet wrote {written} MiB");
        // Resumed, paused and resumed within one turn, then again over several: cancels and arms cross each other.
        let mut got = Vec::new();
        for _ in 0..5 {
            world.driver.resume_receive(connection);
            world.driver.pause_receive(connection);
            world.driver.resume_receive(connection);
            world.driver.turn(Wait::Poll, &mut world.events).unwrap();
            world.driver.pause_receive(connection);
            world.driver.turn(Wait::Poll, &mut world.events).unwrap();
            collect(&mut world.driver, &mut world.events, connection, &mut got);
        }
        world.driver.resume_receive(connection);
        let rest = world.received(connection, expected.len() - got.len());
        got.extend(rest);
        assert!(got == expected);
        drop(writer.join().unwrap());
        assert!(matches!(world.closed(connection), CloseCause::PeerClosed));
    });
}
