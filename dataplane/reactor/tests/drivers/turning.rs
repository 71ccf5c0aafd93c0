//! Turns: what they cost, how long they wait, what wakes them.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use waterpark_core::memory::Outgoing;
use waterpark_reactor::{Driver, DriverChoice, Event, SocketProfile, Wait, open};

use crate::{PATIENCE, World, both, config, connect, open_uring};

#[test]
fn another_thread_ends_a_sleep_and_many_wakes_are_told_as_one() {
    both(&config(), |mut world| {
        let waker = world.driver.waker();
        let sleeper = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            for _ in 0..100 {
                waker.clone().wake();
            }
        });
        let begun = Instant::now();
        while !world.events.iter().any(|event| matches!(event, Event::Woken)) {
            world.driver.turn(Wait::Forever, &mut world.events).unwrap();
        }
        assert!(begun.elapsed() >= Duration::from_millis(45));
        sleeper.join().unwrap();
        world.turn_for(Duration::from_millis(20));
        assert!(world.events.len() < 100, "{} events for 100 wakes", world.events.len());
        // A wake before the sleep is not lost either.
        world.events.clear();
        world.driver.waker().wake();
        world.driver.turn(Wait::Forever, &mut world.events).unwrap();
        assert!(matches!(world.events[..], [Event::Woken]));
    });
}

#[test]
fn a_sibling_is_woken_without_a_system_call_of_its_own() {
    const ROUNDS: usize = 200;
    for kind in [DriverChoice::IoUring, DriverChoice::Epoll] {
        if kind == DriverChoice::IoUring && open_uring(&config()).is_none() {
            continue;
        }
        let (wakers, waker) = std::sync::mpsc::channel();
        let (answers, answer) = std::sync::mpsc::channel();
        let sleeper = thread::spawn(move || {
            let (mut driver, _) = open(kind, &config()).unwrap();
            wakers.send(driver.waker()).unwrap();
            let mut events = Vec::new();
            for _ in 0..ROUNDS {
                while events.is_empty() {
                    driver.turn(Wait::Forever, &mut events).unwrap();
                }
                assert!(matches!(events.pop(), Some(Event::Woken)));
                answers.send(()).unwrap();
            }
        });
        let sleeper_waker = waker.recv().unwrap();
        let (mut driver, _) = open(kind, &config()).unwrap();
        let mut events = Vec::new();
        driver.turn(Wait::Poll, &mut events).unwrap();
        for _ in 0..ROUNDS {
            driver.wake(&sleeper_waker);
            let cost = driver.turn(Wait::Poll, &mut events).unwrap();
            let expected = if kind == DriverChoice::IoUring { 1 } else { 2 };
            assert_eq!(
                cost.system_calls, expected,
                "the message leaves with the turn's own enter"
            );
            answer.recv_timeout(PATIENCE).expect("a wake was lost");
        }
        assert!(events.is_empty(), "who wakes is not woken: {events:?}");
        sleeper.join().unwrap();
        // The sleeper's driver is gone; waking it is harmless.
        driver.wake(&sleeper_waker);
        sleeper_waker.wake();
        driver
            .turn(Wait::Until(Duration::from_millis(20)), &mut events)
            .unwrap();
        assert!(events.is_empty());
    }
}

#[test]
fn a_turn_waits_as_long_as_it_is_told() {
    both(&config(), |mut world| {
        world.turn_for(Duration::from_millis(5));
        let begun = Instant::now();
        world.driver.turn(Wait::Poll, &mut world.events).unwrap();
        assert!(begun.elapsed() < Duration::from_millis(20));
        let begun = Instant::now();
        let cost = world
            .driver
            .turn(Wait::Until(Duration::from_millis(60)), &mut world.events)
            .unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(55), "{:?}", begun.elapsed());
        assert!(cost.blocked);
    });
}

#[test]
fn an_idle_spin_over_io_uring_makes_no_system_call_and_a_loaded_turn_makes_one() {
    let Some(driver) = open_uring(&config()) else { return };
    let mut world = World::new(driver);
    let address = world.listen(SocketProfile::Client);
    let mut peer = connect(address);
    let connection = world.accepted();
    world.turn_for(Duration::from_millis(20));
    for _ in 0..100 {
        let cost = world.driver.turn(Wait::Poll, &mut world.events).unwrap();
        assert_eq!(cost.system_calls, 0);
    }
    let mut turns = 0;
    for _ in 0..100 {
        peer.write_all(b"ping").unwrap();
        let mut heard = false;
        while !heard {
            let cost = world
                .driver
                .turn(Wait::Until(Duration::from_secs(1)), &mut world.events)
                .unwrap();
            assert!(cost.system_calls <= 1, "{cost:?}");
            turns += 1;
            for event in std::mem::take(&mut world.events) {
                if let Event::Received { buffer, .. } = event {
                    world.driver.recycle(buffer);
                    heard = true;
                }
            }
        }
        let outgoing = Outgoing {
            bytes: b"pong".to_vec(),
            gathers: Vec::new(),
        };
        assert!(world.driver.send(connection, outgoing, &world.memory).is_ok());
        let mut pong = [0; 4];
        world.driver.turn(Wait::Poll, &mut world.events).unwrap();
        peer.read_exact(&mut pong).unwrap();
    }
    assert!(turns <= 300, "{turns} turns for 100 messages");
}
