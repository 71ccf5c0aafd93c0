//! How connections end, and connects that never become one.
#![expect(unsafe_code, reason = "a packet filter that silences a peer has no safe form")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use waterpark_core::memory::Outgoing;
use waterpark_reactor::{CloseCause, ConnectionId, Driver, DriverConfig, Event, SocketProfile};

use crate::{both, config, connect, pattern};

#[test]
fn a_close_lets_the_send_in_flight_out_and_is_told_once() {
    both(&config(), |mut world| {
        let address = world.listen(SocketProfile::Client);
        let mut peer = connect(address);
        let connection = world.accepted();
        // The peer's bytes lie unread when we close: a plain close would reset the stream under our last words.
        peer.write_all(&pattern(30_000, 1)).unwrap();
        let bytes = pattern(6 << 20, 2);
        world.send(connection, &bytes);
        world.driver.close(connection);
        world.driver.close(connection);
        let refused = world.driver.send(connection, Outgoing::default(), &world.memory);
        assert!(refused.is_err(), "nothing is sent after a close");
        let reader = thread::spawn(move || {
            let mut got = Vec::new();
            peer.read_to_end(&mut got).unwrap();
            got
        });
        assert_eq!(world.sent(connection).bytes.len(), bytes.len());
        assert!(matches!(world.closed(connection), CloseCause::Requested));
        assert!(reader.join().unwrap() == bytes);
        world.events.retain(|event| !matches!(event, Event::Received { .. }));
        world.quiet();
    });
}

#[test]
fn a_closed_peer_that_neither_reads_nor_closes_is_cut_after_the_linger() {
    let config = DriverConfig {
        linger: Duration::from_millis(80),
        ..config()
    };
    both(&config, |mut world| {
        let address = world.listen(SocketProfile::Client);
        let _silent = connect(address);
        let mut loud = connect(address);
        let (first, second) = (world.accepted(), world.accepted());
        world.driver.close(first);
        world.driver.close(second);
        let writer = thread::spawn(move || while loud.write_all(&[0; 4096]).is_ok() {});
        let begun = Instant::now();
        assert!(matches!(world.closed(first), CloseCause::Requested));
        assert!(matches!(world.closed(second), CloseCause::Requested));
        assert!(begun.elapsed() < Duration::from_secs(3));
        writer.join().unwrap();
    });
}

#[test]
fn an_abort_fails_the_send_in_flight_and_closes_at_once() {
    both(&config(), |mut world| {
        let address = world.listen(SocketProfile::Link);
        let _peer = connect(address);
        let connection = world.accepted();
        world.send(connection, &pattern(12 << 20, 5));
        world.turn_for(Duration::from_millis(20));
        world.driver.abort(connection);
        let begun = Instant::now();
        let (failed, ()) = world.take("a failed send", |event| match event {
            Event::SendFailed { .. } => Some(()),
            _ => None,
        });
        let Event::SendFailed { outgoing, .. } = failed else {
            unreachable!()
        };
        assert_eq!(outgoing.bytes.len(), 12 << 20);
        assert!(matches!(world.closed(connection), CloseCause::Requested));
        assert!(begun.elapsed() < Duration::from_secs(1));
        world.quiet();
    });
}

#[test]
fn a_refused_connect_fails_once_and_its_name_is_stale() {
    both(&config(), |mut world| {
        let unused = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap();
        let connection = world.driver.connect(unused, SocketProfile::Link);
        let (failed, kind) = world.take("a refusal", |event| match event {
            Event::ConnectFailed { error, .. } => Some(error.kind()),
            _ => None,
        });
        assert_eq!(kind, ErrorKind::ConnectionRefused);
        assert!(matches!(failed, Event::ConnectFailed { connection: failed, .. } if failed == connection));
        assert!(
            world
                .driver
                .send(connection, Outgoing::default(), &world.memory)
                .is_err()
        );
        world.quiet();
        assert_eq!(world.driver.connections(), 0);
    });
}

#[test]
fn a_connect_that_is_closed_before_it_succeeds_is_closed_and_nothing_else() {
    both(&config(), |mut world| {
        // A documentation address: nobody answers, nobody refuses.
        let connection = world
            .driver
            .connect("192.0.2.1:9".parse().unwrap(), SocketProfile::Link);
        if let Some(Event::ConnectFailed { error, .. }) = {
            world.turn_for(Duration::from_millis(20));
            world.events.pop()
        } {
            eprintln!("skipped: this host has no route to nowhere ({error})");
            return;
        }
        world.driver.close(connection);
        assert!(matches!(world.closed(connection), CloseCause::Requested));
        world.quiet();
    });
}

#[test]
fn stale_names_are_ignored() {
    both(&config(), |mut world| {
        let address = world.listen(SocketProfile::Client);
        let peer = connect(address);
        let stale = world.accepted();
        drop(peer);
        world.closed(stale);
        let _peer = connect(address);
        let fresh = world.accepted();
        assert_eq!(stale.slot(), fresh.slot(), "the slot is used again");
        for name in [stale, ConnectionId::from_bits(0), ConnectionId::from_bits(u64::MAX)] {
            world.driver.close(name);
            world.driver.abort(name);
            world.driver.pause_receive(name);
            world.driver.resume_receive(name);
            assert!(world.driver.socket(name).is_none());
            let outgoing = Outgoing {
                bytes: vec![1],
                gathers: Vec::new(),
            };
            assert!(world.driver.send(name, outgoing, &world.memory).is_err());
        }
        world.quiet();
        assert_eq!(world.driver.connections(), 1);
    });
}

#[test]
fn a_reset_by_the_peer_is_a_failure_by_name() {
    both(&config(), |mut world| {
        let address = world.listen(SocketProfile::Client);
        let peer = connect(address);
        let connection = world.accepted();
        rustix::net::sockopt::set_socket_linger(&peer, Some(Duration::ZERO)).unwrap();
        drop(peer);
        let CloseCause::Failed(error) = world.closed(connection) else {
            panic!("a reset is no graceful end")
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        world.quiet();
    });
}

/// Attaches a filter that drops every segment: the peer's host seems to have lost its power.
fn silence(peer: &TcpStream) {
    // `BPF_RET | BPF_K` with 0: keep no byte of any packet.
    let mut filter = [libc::sock_filter {
        code: 0x06,
        jt: 0,
        jf: 0,
        k: 0,
    }];
    let program = libc::sock_fprog {
        len: 1,
        filter: filter.as_mut_ptr(),
    };
    let length = libc::socklen_t::try_from(size_of_val(&program)).unwrap();
    let (level, option) = (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER);
    // SAFETY: the kernel copies the program and its one instruction, which live beyond the call.
    let result = unsafe { libc::setsockopt(peer.as_raw_fd(), level, option, (&raw const program).cast(), length) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn a_half_open_peer_is_noticed_idle_and_with_bytes_in_flight() {
    let mut config = config();
    config.client_socket.keepalive_idle = Duration::from_secs(1);
    config.client_socket.keepalive_interval = Duration::from_secs(1);
    config.client_socket.keepalive_probes = 1;
    config.client_socket.user_timeout = Duration::from_millis(1500);
    both(&config, |mut world| {
        let address = world.listen(SocketProfile::Client);
        let (idle, busy) = (connect(address), connect(address));
        let (first, second) = (world.accepted(), world.accepted());
        silence(&idle);
        silence(&busy);
        world.send(second, b"into the void");
        world.sent(second);
        let begun = Instant::now();
        for connection in [first, second] {
            let CloseCause::Failed(error) = world.closed(connection) else {
                panic!("a half-open peer is a failure")
            };
            assert_eq!(error.kind(), ErrorKind::TimedOut);
        }
        assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    });
}

#[test]
fn one_connection_more_than_allowed_is_closed_and_counted() {
    let config = DriverConfig {
        connections_max: 2,
        ..config()
    };
    both(&config, |mut world| {
        let address = world.listen(SocketProfile::Client);
        let _peers = [connect(address), connect(address)];
        let connection = world.accepted();
        world.accepted();
        let mut third = connect(address);
        world.until("a refusal", |driver, _| (driver.refused_accepts() == 1).then_some(()));
        assert_eq!(third.read(&mut [0; 1]).unwrap(), 0);
        let refused = world.driver.connect(address, SocketProfile::Link);
        let pick = |event: &Event| match event {
            Event::ConnectFailed { connection, error } => Some((*connection, error.kind())),
            _ => None,
        };
        assert_eq!(
            world.take("a refused connect", pick).1,
            (refused, ErrorKind::QuotaExceeded)
        );
        world.driver.close(connection);
        world.closed(connection);
        let _fourth = connect(address);
        world.accepted();
    });
}
