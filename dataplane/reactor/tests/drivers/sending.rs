//! Bytes that go out: one send at a time, gathered, cut off by a drop.

use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use waterpark_core::memory::{Gather, Memory, Outgoing};
use waterpark_reactor::{Driver, SocketProfile};

use crate::{World, both, config, connect, pattern};

#[test]
fn a_second_send_is_handed_back_until_the_first_has_ended() {
    both(&config(), |mut world| {
        let address = world.listen(SocketProfile::Link);
        let mut peer = connect(address);
        let connection = world.accepted();
        // More than both sockets' buffers hold: it cannot end before the peer reads.
        let bytes = pattern(12 << 20, 5);
        world.send(connection, &bytes);
        world.turn_for(Duration::from_millis(30));
        let second = Outgoing {
            bytes: b"second".to_vec(),
            gathers: Vec::new(),
        };
        let refused = world.driver.send(connection, second, &world.memory).unwrap_err();
        assert_eq!(refused.bytes, b"second");
        let reader = thread::spawn(move || {
            let mut got = vec![0; 12 << 20];
            peer.read_exact(&mut got).unwrap();
            (peer, got)
        });
        assert_eq!(world.sent(connection).bytes.len(), 12 << 20);
        world.driver.send(connection, refused, &world.memory).unwrap();
        assert_eq!(world.sent(connection).bytes, b"second");
        let (mut peer, got) = reader.join().unwrap();
        assert!(got == bytes);
        let mut second = [0; 6];
        peer.read_exact(&mut second).unwrap();
        assert_eq!(&second, b"second");
    });
}

#[test]
fn gathers_interleave_with_copied_bytes_through_a_tiny_send_buffer() {
    let mut config = config();
    config.link_socket.send_buffer = Some(4096);
    both(&config, |mut world| {
        let address = world.listen(SocketProfile::Link);
        let mut peer = connect(address);
        let connection = world.accepted();
        let chunk = world.memory.reserve(1 << 20).unwrap();
        let content = pattern(1 << 20, 9);
        world.memory.bytes_mut(chunk).copy_from_slice(&content);
        let copied = pattern(60_000, 11);
        let mut outgoing = Outgoing {
            bytes: copied.clone(),
            gathers: Vec::new(),
        };
        let mut expected = Vec::new();
        let mut copied_until = 0;
        // 1,500 gathers are more pieces than one message takes; some are empty, some share their position.
        for index in 0..1500_usize {
            let at = (index / 2) * 2 * 37;
            let (offset, length) = (index * 600, index % 700);
            expected.extend_from_slice(&copied[copied_until..at]);
            expected.extend_from_slice(&content[offset..][..length]);
            copied_until = at;
            world.memory.pin(chunk);
            let [at, offset, length] = [at, offset, length].map(|number| u32::try_from(number).unwrap());
            outgoing.gathers.push(Gather {
                at,
                chunk,
                offset,
                length,
            });
        }
        expected.extend_from_slice(&copied[copied_until..]);
        // Released at once: the pins alone keep the bytes.
        world.memory.release(chunk);
        let length = expected.len();
        assert_eq!(outgoing.len(), length);
        world.driver.send(connection, outgoing, &world.memory).unwrap();
        let reader = thread::spawn(move || {
            let mut got = vec![0; length];
            for piece in got.chunks_mut(10_000) {
                peer.read_exact(piece).unwrap();
            }
            got
        });
        assert_eq!(world.sent(connection).gathers.len(), 1500);
        assert!(reader.join().unwrap() == expected);
        assert_eq!(world.memory.usage().used, 0, "the last unpin frees the chunk");
    });
}

#[test]
fn a_driver_can_be_dropped_with_everything_in_flight() {
    both(&config(), |mut world| {
        let address = world.listen(SocketProfile::Link);
        let peers: Vec<_> = (0..5).map(|_| connect(address)).collect();
        let chunk = world.memory.reserve(1 << 20).unwrap();
        for _ in &peers {
            let connection = world.accepted();
            let mut outgoing = Outgoing {
                bytes: vec![1; 8 << 20],
                gathers: Vec::new(),
            };
            world.memory.pin(chunk);
            outgoing.gathers.push(Gather {
                at: 0,
                chunk,
                offset: 0,
                length: 1 << 20,
            });
            world.driver.send(connection, outgoing, &world.memory).unwrap();
        }
        world
            .driver
            .connect("192.0.2.1:9".parse().unwrap(), SocketProfile::Link);
        let waker = world.driver.waker();
        world.turn_for(Duration::from_millis(10));
        let World { driver, memory, .. } = world;
        let begun = Instant::now();
        drop(driver);
        assert!(
            begun.elapsed() < Duration::from_millis(900),
            "everything could be cancelled"
        );
        drop(memory);
        waker.wake();
        for mut peer in peers {
            // Whatever came before the end, the end comes.
            let mut sink = Vec::new();
            peer.read_to_end(&mut sink).ok();
        }
    });
}
