//! Accepting when the process has run out of descriptors. In a process of its own, because the limit is the process's.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use waterpark_reactor::{Buffers, Driver, DriverChoice, DriverConfig, Event, OpenError, SocketProfile, Wait, open};

#[test]
fn peers_wait_in_the_backlog_while_descriptors_are_out_and_are_accepted_afterwards() {
    let config = DriverConfig {
        link_buffers: Buffers::LINK_DEMO,
        client_buffers: Buffers::CLIENT_DEMO,
        ..DriverConfig::default()
    };
    for choice in [DriverChoice::IoUring, DriverChoice::Epoll] {
        let mut driver = match open(choice, &config) {
            Ok((driver, _)) => driver,
            Err(OpenError::Uring(refusal)) => {
                eprintln!("skipped: {refusal}");
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        driver.listen(listener, SocketProfile::Client, 0).unwrap();
        let peers: Vec<_> = (0..10).map(|_| TcpStream::connect(address).unwrap()).collect();

        // The limit is one more than the highest number, so numbers that are free below it are filled first: room for exactly three.
        let before = getrlimit(Resource::Nofile);
        let names = std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        let highest: i32 = names
            .map(|name| name.into_string().unwrap().parse().unwrap())
            .max()
            .unwrap();
        let mut fillers = Vec::new();
        while fillers.last().is_none_or(|filler: &File| filler.as_raw_fd() < highest) {
            fillers.push(File::open("/dev/null").unwrap());
        }
        let limit = u64::try_from(fillers.last().unwrap().as_raw_fd()).unwrap() + 1 + 3;
        let tight = Rlimit {
            current: Some(limit),
            maximum: before.maximum,
        };
        setrlimit(Resource::Nofile, tight).unwrap();
        let mut events = Vec::new();
        let begun = Instant::now();
        let mut turns = 0;
        while begun.elapsed() < Duration::from_millis(300) {
            driver
                .turn(Wait::Until(Duration::from_millis(50)), &mut events)
                .unwrap();
            turns += 1;
        }
        let accepted = |events: &[Event]| {
            let each = events.iter().filter_map(|event| match event {
                Event::Accepted { connection, .. } => Some(*connection),
                _ => None,
            });
            each.collect::<Vec<_>>()
        };
        let first = accepted(&events);
        assert_eq!(first.len(), 3, "{choice:?}: {events:?}");
        assert!(turns < 40, "{choice:?}: {turns} turns in 300 ms is a spin");

        // One of ours comes free: one more is accepted, without waiting for the pause.
        driver.abort(first[0]);
        let begun = Instant::now();
        while accepted(&events).len() < 4 {
            assert!(begun.elapsed() < Duration::from_secs(5));
            driver
                .turn(Wait::Until(Duration::from_millis(10)), &mut events)
                .unwrap();
        }

        setrlimit(Resource::Nofile, before).unwrap();
        let begun = Instant::now();
        while accepted(&events).len() < 10 {
            assert!(begun.elapsed() < Duration::from_secs(5));
            driver
                .turn(Wait::Until(Duration::from_millis(50)), &mut events)
                .unwrap();
        }
        drop(peers);
    }
}
