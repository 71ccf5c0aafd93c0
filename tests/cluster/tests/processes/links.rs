//! Links between nodes: a peer that falls silent, frames that are compressed, messages that travel in parts.

use std::time::{Duration, Instant};

use waterpark_client::{ClientError, HistoryQuery, ReadOptions, SendOptions, history_entries};
use waterpark_ring::Key;
use waterpark_wire::reply::Outcome;

use crate::support::{How, Load, Machine, Nodes, eventually, five};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_peer_that_falls_silent_is_cut_and_its_link_comes_back_when_it_goes_on() {
    let _machine = Machine::take("a silent peer", 60 * SECOND);
    let nodes = Nodes::start(five());
    let mut load = Load::new(&nodes, nodes.addresses(&[0, 1]), true, 128);
    let gone = nodes.id(4);
    let link = |place: usize| {
        let links = nodes.status(place).remove(0).links;
        links
            .into_iter()
            .find(|link| link.peer == gone.0)
            .expect("every node has a link to it")
    };
    assert!((0..4).all(|place| link(place).up));
    let resident = nodes.cluster.members()[0].resident_bytes();
    nodes.pause(4);
    let begun = Instant::now();
    let first = load.paced(1_000, 4 * SECOND, How::default(), |writer| writer != gone);
    for place in 0..4 {
        eventually("the silent peer is cut", 4 * SECOND, || (!link(place).up).then_some(()));
        assert!(
            nodes.counter(place, "cut_Silent") >= 1,
            "{:?}",
            nodes.counters(place, "cut")
        );
    }
    println!("cut within {:?}", begun.elapsed());
    nodes.resume(4);
    for place in 0..4 {
        eventually("the link is back", 6 * SECOND, || link(place).up.then_some(()));
    }
    load.settle(6 * SECOND);
    let tally = load.tally_since(first);
    assert_eq!(tally.acked, tally.sent, "four of five went on: {tally:?}");
    let grown = nodes.cluster.members()[0].resident_bytes().saturating_sub(resident);
    println!(
        "a node's memory grew by {} KiB meanwhile, over {} messages",
        grown >> 10,
        tally.sent
    );
    // What it missed is sent to it now.
    let all = [0, 1, 2, 3, 4].map(|place| nodes.id(place));
    load.assert_held_by(&all, |_| true);
    nodes.stop();
}

/// Bytes that the links of all nodes carried, heartbeats included.
fn link_bytes(nodes: &Nodes) -> u64 {
    (0..nodes.len())
        .map(|place| nodes.counter(place, "links_sent_bytes"))
        .sum()
}

#[test]
fn compressed_links_carry_fewer_bytes_and_the_same_messages() {
    const MESSAGES: usize = 500;
    let _machine = Machine::take("compressed links", 60 * SECOND);
    let message = b"vital signs of TEST^PATIENT, as every minute; ".repeat(40);
    let mut carried = Vec::new();
    for lz4 in [false, true] {
        let nodes = if lz4 {
            Nodes::start_edited(five(), |text| format!("{text}\n[links]\ncompression = \"lz4\"\n"))
        } else {
            Nodes::start(five())
        };
        let client = nodes.client(0);
        let keys: Vec<Key> = (0..MESSAGES)
            .map(|at| Key::parse(&format!("record/id={at}")).expect("a key"))
            .collect();
        let before = link_bytes(&nodes);
        let messages = keys.iter().map(|key| (key.as_ref(), message.as_slice()));
        let answers = client.send_many(messages, &SendOptions::default());
        assert!(
            answers.iter().all(Result::is_ok),
            "{:?}",
            answers.iter().find(|answer| answer.is_err())
        );
        std::thread::sleep(SECOND / 2);
        carried.push(link_bytes(&nodes) - before);
        for key in keys.iter().step_by(50) {
            let answer = client.history(key.as_ref(), HistoryQuery::default(), &ReadOptions::default());
            let answer = answer.expect("a healthy cluster answers");
            assert_eq!(history_entries(&answer.body).count(), 1);
            let mut windows = answer.body.windows(message.len());
            assert!(windows.any(|window| window == message), "byte by byte");
        }
        nodes.stop();
    }
    println!(
        "{MESSAGES} messages of {} bytes: {carried:?} bytes on the links, plain and compressed",
        message.len()
    );
    let least = MESSAGES as u64 * message.len() as u64 * 4;
    assert!(carried[0] > least, "four copies of each travel");
    assert!(carried[1] < least / 2, "compressed");
}

#[test]
fn the_longest_message_travels_in_parts_and_a_longer_one_is_refused_by_name() {
    const LONGEST: usize = 1 << 20;
    let _machine = Machine::take("parts", 60 * SECOND);
    let nodes = Nodes::start(five());
    for place in 0..nodes.len() {
        let client = nodes.client(place);
        let key = Key::parse(&format!("record/id=long{place}")).expect("a key");
        let message: Vec<u8> = crate::support::noise(place as u64 + 1, LONGEST);
        let answer = client.send(key.as_ref(), &message, &SendOptions::default());
        assert_eq!(
            answer.map(|answer| answer.outcome),
            Ok(Outcome::Done),
            "through {}",
            nodes.name(place)
        );
        let refused = client.send(
            key.as_ref(),
            &[message.as_slice(), &[0]].concat(),
            &SendOptions::default(),
        );
        let refused = refused.map(|answer| answer.outcome);
        let limit = u32::try_from(LONGEST).expect("fits");
        let outcome = Outcome::TooLarge;
        assert_eq!(refused, Err(ClientError::Refused { outcome, detail: limit }));

        // Byte by byte in every member, in a read-back of its own.
        let group = nodes.topology.locate(key.as_ref()).group;
        for node in nodes.topology.birth().members(group).nodes() {
            eventually("a member holds it", 5 * SECOND, || {
                let mut held = false;
                let read = client.read_back(node.0, group.0, 1, |entry| {
                    held |= entry.key == Some(key.bytes()) && entry.message == message;
                });
                read.unwrap_or_else(|error| panic!("{node:?}: {error}"));
                held.then_some(())
            });
        }
    }
    nodes.stop();
}
