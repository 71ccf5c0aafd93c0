//! Connections that take their time, or take nothing at all, beside a load that must not notice.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use waterpark_client::SendOptions;
use waterpark_ring::Key;
use waterpark_wire::handshake::{Party, Purpose};
use waterpark_wire::item::{ItemHeader, ItemKind};
use waterpark_wire::link::{Ask, DOCUMENT_SLOT_TABLE, DOCUMENT_STATUS, ReadBack};
use waterpark_wire::request::{self, Operation, RequestHeader};

use crate::support::{How, Load, Machine, Nodes, Raw, client_frame, eventually, five};

const SECOND: Duration = Duration::from_secs(1);

/// Connections that send a byte a second each, beside a load of 2,000 messages a second.
fn beside_slow_connections(count: usize) {
    let nodes = Nodes::start(five());
    let mut load = Load::new(&nodes, nodes.addresses(&[0, 1]), true, 128);
    load.paced(2_000, SECOND, How::default(), |_| true);
    load.settle(6 * SECOND);
    let alone = load.paced(2_000, 3 * SECOND, How::default(), |_| true);
    load.settle(6 * SECOND);
    let p99_alone = load.ack_us(alone).value_at_quantile(0.99);

    let port = nodes.config.nodes[0].ports().native(0);
    let key = nodes.cluster.key();
    let resident = nodes.cluster.members()[0].resident_bytes();
    let begun = Instant::now();
    let mut slow: Vec<Raw> = (0..count)
        .map(|_| {
            let mut raw = Raw::connect(port);
            raw.shake(Party::client(), Purpose::Client, &key)
                .expect("a client with the key");
            raw
        })
        .collect();
    println!("{count} connections took {:?}", begun.elapsed());

    // A question that takes more seconds than the load: nobody gets to the end of it.
    let question = client_frame(&document(DOCUMENT_SLOT_TABLE, 1), 1);
    let time = 6 * SECOND;
    let first = load.mark();
    let begun = Instant::now();
    let (mut sent, mut bytes) = (0_u64, 0_usize);
    while begun.elapsed() < time {
        let now_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        while sent < now_us * 2_000 / 1_000_000 && load.send(How::default(), |_| true) {
            sent += 1;
        }
        // Evenly: each connection has its own moment in every second.
        let due = usize::try_from(now_us).unwrap_or(usize::MAX) / 100 * count / 10_000;
        while bytes < due {
            let byte = question[bytes / count];
            slow[bytes % count]
                .stream
                .write_all(&[byte])
                .expect("a slow client is served as well");
            bytes += 1;
        }
        load.turn(Duration::from_millis(1));
    }
    load.settle(6 * SECOND);
    let tally = load.tally_since(first);
    let p99 = load.ack_us(first).value_at_quantile(0.99);
    let grown = nodes.cluster.members()[0].resident_bytes().saturating_sub(resident);
    println!(
        "p99 alone {p99_alone} µs, beside {count} slow connections {p99} µs; {bytes} slow bytes; {} bytes of memory each",
        grown / count as u64
    );
    assert_eq!(tally.acked, tally.sent, "{tally:?}");
    assert!(tally.sent > 8_000, "{tally:?}");
    assert!(bytes >= 4 * count, "{bytes} slow bytes");
    assert!(nodes.counter(0, "connections") >= count as u64, "all are still there");
    // Generous: several processes share two cores. What is looked for is a node that stands still.
    assert!(p99 < 250_000, "p99 {p99} µs");
    load.assert_clean();
    drop(slow);
    eventually("the node forgets connections that are gone", 5 * SECOND, || {
        (nodes.counter(0, "connections") < 100).then_some(())
    });
    nodes.stop();
}

#[test]
fn two_thousand_connections_that_send_a_byte_a_second_do_not_stop_a_load() {
    let _machine = Machine::take("slow connections", 60 * SECOND);
    beside_slow_connections(2_000);
}

#[test]
#[ignore = "10,000 sockets on each side: run it where the limit of open files allows that"]
fn ten_thousand_connections_that_send_a_byte_a_second_do_not_stop_a_load() {
    let _machine = Machine::take("many slow connections", 120 * SECOND);
    beside_slow_connections(10_000);
}

/// Connections that a thread of their own feeds, a byte a second each or nothing at all, until they are dropped.
struct Crowd {
    stop: Arc<AtomicBool>,
    feeder: Option<JoinHandle<()>>,
}

impl Crowd {
    /// Connects so many clients, all of them before it returns.
    fn connect(nodes: &Nodes, count: usize, feed: bool) -> Crowd {
        let port = nodes.config.nodes[0].ports().native(0);
        let key = nodes.cluster.key();
        let mut slow: Vec<Raw> = (0..count)
            .map(|_| {
                let mut raw = Raw::connect(port);
                raw.shake(Party::client(), Purpose::Client, &key)
                    .expect("a client with the key");
                raw
            })
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let feeder = std::thread::spawn(move || {
            // Longer than any measurement has seconds: nobody gets to the end of it.
            let question = client_frame(&document(DOCUMENT_SLOT_TABLE, 1), 1);
            let (begun, mut bytes) = (Instant::now(), 0_usize);
            while !told.load(Ordering::Relaxed) {
                // Evenly: each connection has its own moment in every second.
                let now_us = usize::try_from(begun.elapsed().as_micros()).unwrap_or(usize::MAX);
                let due = if feed { now_us / 100 * count / 10_000 } else { 0 };
                while bytes < due {
                    let byte = question[bytes / count];
                    let sent = slow[bytes % count].stream.write_all(&[byte]);
                    sent.expect("a slow client is served as well");
                    bytes += 1;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Crowd {
            stop,
            feeder: Some(feeder),
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(feeder) = self.feeder.take()
            && feeder.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the crowd lost a connection");
        }
    }
}

/// A measurement, not a test of time: what a load's p99 is without, beside silent and beside slow connections, in turns. What it asserts is
/// the memory of each connection.
#[test]
#[ignore = "10,000 sockets on each side, and two minutes of a quiet machine: docs/bench.md says how it is run"]
fn a_load_of_ten_thousand_a_second_beside_ten_thousand_slow_connections_in_turns() {
    const COUNT: usize = 10_000;
    const RATE: u64 = 10_000;
    const PAIRS: usize = 5;
    const TIME: Duration = Duration::from_secs(4);
    /// Bytes of a node's memory that a connection may take.
    const BYTES_MAX: u64 = 4 << 10;
    let _machine = Machine::take("slow connections in turns", 300 * SECOND);
    let nodes = Nodes::start(five());
    let mut load = Load::new(&nodes, nodes.addresses(&[0, 1]), true, 128);
    load.response_us(RATE, 2 * SECOND);
    let resident = || nodes.cluster.members()[0].resident_bytes();
    let cpu = || nodes.cluster.members()[0].cpu_ns();
    let gone = || (nodes.counter(0, "connections") < 100).then_some(());
    let mut p99s = [Vec::new(), Vec::new(), Vec::new()];
    for pair in 0..PAIRS {
        for (kind, name) in ["without", "beside silent", "beside slow"].into_iter().enumerate() {
            let before = resident();
            let crowd = (kind > 0).then(|| Crowd::connect(&nodes, COUNT, kind == 2));
            let each = resident().saturating_sub(before) / COUNT as u64;
            let cpu_before = cpu();
            let response_us = load.response_us(RATE, TIME);
            let cpu_ms = (cpu() - cpu_before) / 1_000_000;
            let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|quantile| response_us.value_at_quantile(quantile));
            p99s[kind].push(p99);
            println!(
                "{pair}: {name:<13} p50 {p50} µs, p99 {p99}, p99.9 {p999}; the node's cpu {cpu_ms} ms; {each} bytes a connection"
            );
            assert!(each <= BYTES_MAX, "{each} bytes of memory for a connection");
            if let Some(crowd) = crowd {
                let connections = nodes.counter(0, "connections");
                assert!(connections >= COUNT as u64, "all are still there: {connections}");
                drop(crowd);
                eventually("the node forgets connections that are gone", 5 * SECOND, gone);
            }
        }
    }
    let [without, silent, slow] = p99s.map(|mut all| {
        all.sort_unstable();
        all[all.len() / 2]
    });
    let ratio = |p99: u64| Duration::from_micros(p99).div_duration_f64(Duration::from_micros(without));
    println!(
        "median p99: {without} µs without, {silent} beside {COUNT} silent connections ({:.2} x), {slow} beside slow ones ({:.2} x; at most 1.2 wanted)",
        ratio(silent),
        ratio(slow)
    );
    load.assert_clean();
    nodes.stop();
}

/// A question for an actor's history.
fn history(key: &Key, correlation: u64) -> Vec<u8> {
    let header = RequestHeader {
        correlation: correlation.into(),
        operation: Operation::History as u8,
        timeout_ms: 5_000.into(),
        ..RequestHeader::default()
    };
    let mut item = Vec::new();
    request::push(&mut item, &header, key.bytes(), &[]);
    item
}

/// A question for a document.
fn document(document: u32, correlation: u64) -> Vec<u8> {
    let item = ItemHeader {
        aux: document.into(),
        ..ItemHeader::default()
    };
    let ask = Ask {
        item,
        correlation: correlation.into(),
        ..Ask::default()
    };
    let mut bytes = Vec::new();
    ask.push(&mut bytes, &[]);
    bytes
}

/// A question for the committed entries of a group.
fn read_back(group: u32) -> Vec<u8> {
    let item = ItemHeader {
        kind: ItemKind::ReadBack as u8,
        group: group.into(),
        ..ItemHeader::default()
    };
    let question = ReadBack {
        item,
        from_seq: 1.into(),
        bytes_max: u32::MAX.into(),
        reserved: 0.into(),
    };
    let mut bytes = Vec::new();
    question.push(&mut bytes, &[]);
    bytes
}

/// A client that asks for much more than it takes, and reads nothing.
fn asks_and_does_not_read(what: &str, question: impl Fn(&Key, u32, u64) -> Vec<u8>) {
    /// Questions in all; each answer has about 256 KiB.
    const QUESTIONS: u64 = 4_000;
    let mut nodes = Nodes::start(five());
    let client = nodes.client(0);
    let key = Key::parse("record/id=long").expect("a key");
    let located = nodes.topology.locate(key.as_ref());
    let writer = nodes.topology.birth().writer(located.group);
    let place = (0..nodes.len())
        .find(|place| nodes.id(*place) == writer)
        .expect("one of the nodes");
    for _ in 0..10 {
        let answer = client.send(key.as_ref(), &[7; 60 << 10], &SendOptions::default());
        answer.expect("a healthy cluster takes it");
    }
    let mut load = Load::new(&nodes, nodes.addresses(&[0, 1]), true, 128);
    let resident = nodes.cluster.members()[place].resident_bytes();

    let mut raw = Raw::connect(nodes.config.nodes[place].ports().native(0));
    raw.shake(Party::client(), Purpose::Client, &nodes.cluster.key())
        .expect("a client with the key");
    let mut asked = 0;
    let mut peak = resident;
    while asked < QUESTIONS {
        let mut items = Vec::new();
        for correlation in asked..asked + 100 {
            items.extend_from_slice(&question(&key, located.group.0, correlation));
        }
        if !raw.send(&client_frame(&items, 100)) {
            break;
        }
        asked += 100;
        std::thread::sleep(Duration::from_millis(20));
        peak = peak.max(nodes.cluster.members()[place].resident_bytes());
    }
    let cut = eventually("the client that does not read is cut", 3 * SECOND, || {
        Some(nodes.counter(place, "cut_Backlog")).filter(|cut| *cut > 0)
    });
    assert_eq!(cut, 1);
    let first = load.paced(1_000, SECOND, How::default(), |_| true);
    load.settle(6 * SECOND);
    let tally = load.tally_since(first);
    assert_eq!(tally.acked, tally.sent, "others are served: {tally:?}");
    let after = nodes.cluster.members()[place].resident_bytes();
    println!(
        "{what}: cut after {asked} questions; resident memory {} MiB before, {} at most, {} after",
        resident >> 20,
        peak >> 20,
        after >> 20
    );
    assert!(peak < resident + (64 << 20), "a client's backlog is bounded");
    assert!(after < resident + (32 << 20), "its memory is given back");
    // Its socket is closed as well, though it never read a byte.
    raw.ending(8 * SECOND);
    load.assert_clean();
    nodes.assert_all_live();
    nodes.stop();
}

#[test]
fn a_client_that_asks_for_histories_and_does_not_read_is_cut_and_its_memory_given_back() {
    let _machine = Machine::take("a client that does not read", 60 * SECOND);
    asks_and_does_not_read("histories", |key, _, correlation| history(key, correlation));
}

#[test]
fn a_client_that_reads_a_group_back_and_does_not_read_is_cut_and_its_memory_given_back() {
    let _machine = Machine::take("a reader that does not read", 60 * SECOND);
    asks_and_does_not_read("read-back", |_, group, _| read_back(group));
}

#[test]
fn a_client_that_asks_for_documents_and_does_not_read_is_cut_and_its_memory_given_back() {
    let _machine = Machine::take("a client that does not read documents", 60 * SECOND);
    asks_and_does_not_read("documents", |_, _, correlation| document(DOCUMENT_STATUS, correlation));
}
