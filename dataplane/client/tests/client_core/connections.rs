//! Connecting, falling and routing.

use std::io::ErrorKind;

use waterpark_client::{ClientError, ClientOptions, PeerId, SendOptions};
use waterpark_wire::handshake::HandshakeRefusal;
use waterpark_wire::item::ItemHeader;
use waterpark_wire::link::Refusal;
use waterpark_wire::reply::Outcome;
use waterpark_wire::{ConnectionRefusal, FrameError};

use crate::script::{MS, Script, WALL_MS, frame_of, table, welcome, writer};

fn script() -> Script {
    Script::ready(ClientOptions::default())
}

#[test]
fn a_message_goes_to_any_node_first_and_to_its_writer_s_shard_once_that_is_connected() {
    let mut script = script();
    for group in [3, 13, 14] {
        let (_, seen) = script.sent(group, &SendOptions::default());
        assert_eq!(seen.peer, PeerId(0), "passed on by the entry node");
    }
    let wanted: Vec<String> = script.asked.iter().map(|(_, address)| address.to_string()).collect();
    let address = |group| {
        let (node, shard) = writer(group);
        format!("host-{node}:{}", 7064 + 256 * node + shard)
    };
    assert_eq!(wanted, [address(3), address(13), address(14)]);
    let peers: Vec<PeerId> = script.asked.iter().map(|(peer, _)| *peer).collect();
    script.connect_all();
    for (group, peer) in [3, 13, 14].into_iter().zip(peers) {
        assert_eq!(script.sent(group, &SendOptions::default()).1.peer, peer);
    }
}

#[test]
fn an_entry_that_is_a_writer_s_shard_is_not_connected_twice() {
    let mut script = script();
    // The entry is node 1, shard 0.
    assert_eq!(writer(10), (1, 0));
    assert_eq!(script.sent(10, &SendOptions::default()).1.peer, PeerId(0));
    assert_eq!(script.asked, []);
}

#[test]
fn a_client_that_is_not_direct_stays_with_its_entry() {
    let options = ClientOptions {
        direct: false,
        ..ClientOptions::default()
    };
    let mut script = Script::ready(options);
    for group in 0..64 {
        assert_eq!(script.sent(group, &SendOptions::default()).1.peer, PeerId(0));
    }
    assert_eq!(script.asked, []);
}

#[test]
fn what_was_under_way_on_a_lost_connection_is_sent_again_with_its_number() {
    let mut script = script();
    script.sent(3, &SendOptions::default());
    script.connect_all();
    let (ticket, first) = script.sent(3, &SendOptions::default());
    assert_ne!(first.peer, PeerId(0));
    script.disconnect(first.peer);
    let second = script.again();
    assert_eq!(second.peer, PeerId(0), "any node that is up passes it on");
    assert_eq!(
        (second.session, second.number, second.sent_before),
        (first.session, first.number, true)
    );
    script.answer(&second, Outcome::Done, 1, b"");
    assert_eq!(script.end().ticket, ticket);
}

#[test]
fn without_any_connection_requests_wait_for_one_until_their_deadline() {
    let mut script = script();
    script.disconnect(PeerId(0));
    let options = SendOptions {
        timeout_ms: 500,
        ..SendOptions::default()
    };
    script.send(3, b"first", &options).unwrap();
    assert!(script.turn().is_empty());
    script.pass(100);
    script.turn();
    assert!(!script.asked.is_empty(), "one after the other is tried");
    for (peer, _) in std::mem::take(&mut script.asked) {
        script.disconnect(peer);
    }
    script.pass(400);
    assert!(matches!(
        script.end().result,
        Err(ClientError::Unreachable { tried: 2.. })
    ));
    script.send(3, b"second", &options).unwrap();
    // The first one had number 1 but never left: its successor's mark gives it up.
    script.pass(1_000 - 900);
    for _ in 0..20 {
        script.pass(10);
        script.turn();
    }
    script.connect_all();
    let seen = script.again();
    assert_eq!(
        (seen.message.as_slice(), seen.number, seen.mark),
        (b"second".as_slice(), 2, 2)
    );
    assert!(!seen.sent_before);
}

#[test]
fn attempts_to_connect_wait_longer_each_time() {
    let mut script = Script::new(ClientOptions::default());
    let mut at_ms = Vec::new();
    for _ in 0..4_000 {
        script.turn();
        for (peer, _) in std::mem::take(&mut script.asked) {
            at_ms.push(script.now_ns / MS);
            script
                .core
                .on_disconnected(script.now_ns, peer, ClientError::Io(ErrorKind::ConnectionRefused));
        }
        script.pass(1);
    }
    let waits: Vec<u64> = at_ms.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(waits, [20, 40, 80, 160, 320, 640, 1_000, 1_000]);
    assert_eq!(
        script.core.last_failure(),
        Some(ClientError::Io(ErrorKind::ConnectionRefused))
    );
}

#[test]
fn a_refused_handshake_is_what_a_waiting_request_is_told() {
    let mut script = script();
    script.disconnect(PeerId(0));
    let options = SendOptions {
        timeout_ms: 200,
        ..SendOptions::default()
    };
    script.send(3, b"m", &options).unwrap();
    for _ in 0..30 {
        script.pass(10);
        script.turn();
        for (peer, _) in std::mem::take(&mut script.asked) {
            let cause = ClientError::Handshake(HandshakeRefusal::Key);
            script.core.on_disconnected(script.now_ns, peer, cause);
        }
    }
    assert_eq!(script.end().result, Err(ClientError::Handshake(HandshakeRefusal::Key)));
}

#[test]
fn a_node_that_owes_answers_and_is_silent_is_left() {
    let options = ClientOptions {
        silence_ms: 1_000,
        ..ClientOptions::default()
    };
    let mut script = Script::ready(options);
    // Idle for long: silence begins with the first request.
    script.now_ns += 60_000 * MS;
    let (_, first) = script.sent(10, &SendOptions::default());
    let due_ns = script.core.next_due_ns();
    assert!(
        due_ns <= script.now_ns + 1_000 * MS,
        "the core says when it wants to look"
    );
    for _ in 0..100 {
        script.pass(10);
    }
    assert_eq!(script.turn().len(), 0);
    assert_eq!(script.closed, []);
    for _ in 0..20 {
        script.pass(10);
        script.turn();
    }
    assert_eq!(script.closed, [(PeerId(0), ClientError::Silent)]);
    script.pass(20);
    script.turn();
    script.connect_all();
    let again = script.again();
    assert_eq!((again.number, again.sent_before), (first.number, true));
}

#[test]
fn a_writer_without_a_quorum_is_asked_last_and_what_it_was_given_goes_to_another_node() {
    let mut script = script();
    script.sent(3, &SendOptions::default());
    script.connect_all();
    script.turn();
    let (_, swallowed) = script.sent(3, &SendOptions::default());
    let (_, refused) = script.sent(3, &SendOptions::default());
    assert!(swallowed.peer == refused.peer && swallowed.peer != PeerId(0));
    let writer = refused.peer;
    // The table is asked for once in two seconds.
    script.pass(2_000);
    script.refuse(&refused, Outcome::NoQuorum, 0);
    let seen = script.turn();
    let table = seen.iter().find(|seen| seen.document.is_some());
    assert_eq!(
        table.map(|seen| seen.peer),
        Some(PeerId(0)),
        "whoever is cut off has an old one"
    );
    assert_eq!(seen.len(), 1, "one that stands still would take it and answer nothing");
    script.document(
        table.expect("seen above"),
        &waterpark_wire::body::encode(&super::script::table()),
    );
    let seen = script.turn();
    let moved = seen.iter().find(|seen| seen.document.is_none()).unwrap();
    assert_eq!((moved.peer, moved.number), (PeerId(0), swallowed.number));
    assert!(moved.sent_before, "it may have been logged");
    script.pass(10);
    let again = script.again();
    assert_eq!(
        (again.peer, again.number, again.sent_before),
        (PeerId(0), refused.number, false)
    );
    assert_eq!(script.sent(3, &SendOptions::default()).1.peer, PeerId(0));

    script.pass(1_000);
    script.turn();
    let (_, tried) = script.sent(3, &SendOptions::default());
    assert_eq!(tried.peer, writer, "a second later it is tried again");
    script.refuse(&tried, Outcome::NoQuorum, 0);
    script.pass(1_500);
    script.turn();
    script.answer(&again, Outcome::Done, 8, b"");
    script.turn();
    assert_eq!(
        script.sent(3, &SendOptions::default()).1.peer,
        PeerId(0),
        "for longer each time"
    );
    script.pass(500);
    script.turn();
    let (_, tried) = script.sent(3, &SendOptions::default());
    assert_eq!(tried.peer, writer);
    script.answer(&tried, Outcome::Done, 9, b"");
    let (_, tried) = script.sent(3, &SendOptions::default());
    script.refuse(&tried, Outcome::NoQuorum, 0);
    script.pass(1_000);
    script.turn();
    assert_eq!(
        script.sent(3, &SendOptions::default()).1.peer,
        writer,
        "an ack speaks for it"
    );
}

#[test]
fn what_a_node_leaves_unanswered_goes_to_another_though_it_answers_others() {
    let options = ClientOptions {
        silence_ms: 500,
        ..ClientOptions::default()
    };
    let mut script = Script::ready(options);
    let (_, first) = script.sent(3, &SendOptions::default());
    script.answer(&first, Outcome::Done, 1, b"");
    script.connect_all();
    script.turn();
    let (_, swallowed) = script.sent(3, &SendOptions::default());
    script.pass(300);
    let (_, answered) = script.sent(3, &SendOptions::default());
    assert_eq!(answered.peer, swallowed.peer);
    script.answer(&answered, Outcome::Done, 1, b"");
    script.pass(199);
    assert!(script.turn().iter().all(|seen| seen.number != swallowed.number));
    script.pass(2);
    let again = script.again();
    assert_eq!((again.peer, again.number), (PeerId(0), swallowed.number));
    assert!(again.sent_before, "it may have been logged");
    assert_eq!(script.ends().len(), 2);
    script.answer(&swallowed, Outcome::Done, 2, b"");
    assert_eq!(
        script.end().result,
        Ok(Outcome::Done),
        "whichever copy is answered first"
    );
}

#[test]
fn what_an_entry_leaves_unanswered_goes_to_another_that_is_connected_for_it() {
    let options = ClientOptions {
        direct: false,
        silence_ms: 500,
        ..ClientOptions::default()
    };
    let mut script = Script::ready(options);
    let (_, swallowed) = script.sent(3, &SendOptions::default());
    script.pass(300);
    let (_, answered) = script.sent(3, &SendOptions::default());
    script.answer(&answered, Outcome::Done, 1, b"");
    script.pass(200);
    assert_eq!((script.turn().len(), script.asked.len()), (0, 1));
    script.connect_all();
    script.pass(100);
    let again = script.again();
    assert_ne!(again.peer, PeerId(0));
    assert_eq!((again.number, again.sent_before), (swallowed.number, true));
    assert_eq!(script.closed, [], "it was heard");
}

#[test]
fn an_entry_without_a_quorum_is_left_for_another_and_asked_as_long_as_there_is_none() {
    let options = ClientOptions {
        direct: false,
        ..ClientOptions::default()
    };
    let mut script = Script::ready(options);
    let (_, first) = script.sent(3, &SendOptions::default());
    script.refuse(&first, Outcome::NoQuorum, 0);
    script.pass(10);
    assert_eq!(script.again().peer, PeerId(0), "there is no other yet");
    assert_eq!(script.asked.len(), 1);
    script.connect_all();
    let (_, second) = script.sent(3, &SendOptions::default());
    assert_ne!(second.peer, PeerId(0));
    script.refuse(&second, Outcome::NoQuorum, 0);
    script.pass(10);
    script.again();
    assert_eq!(script.asked.len(), 1, "and one more when both have none");
}

#[test]
fn malformed_bytes_close_the_connection_and_lose_no_request() {
    let mut script = script();
    let (_, first) = script.sent(10, &SendOptions::default());
    script.core.on_bytes(script.now_ns, PeerId(0), &[0xEE; 64]);
    script.turn();
    assert_eq!(script.closed, [(PeerId(0), ClientError::Frame(FrameError::Magic))]);
    // Bytes that were already on their way do no harm.
    script.core.on_bytes(script.now_ns, PeerId(0), &[0xEE; 64]);
    script.pass(20);
    script.turn();
    script.connect_all();
    assert_eq!(script.again().number, first.number);
}

#[test]
fn an_item_that_has_no_place_here_closes_the_connection() {
    let mut script = script();
    let mut item = Vec::new();
    waterpark_wire::link::Heartbeat::default().push(&mut item, &[]);
    script.say(PeerId(0), &item);
    script.turn();
    assert_eq!(script.closed, [(PeerId(0), ClientError::Frame(FrameError::ItemKind))]);
}

#[test]
fn what_a_node_says_before_it_closes_is_kept() {
    let reasons = [
        (
            u32::from(FrameError::Checksum as u8),
            ConnectionRefusal::Frame(FrameError::Checksum),
        ),
        (
            u32::from(HandshakeRefusal::Stopping.number()),
            ConnectionRefusal::Handshake(HandshakeRefusal::Stopping),
        ),
        (512, ConnectionRefusal::Stranger),
        (60_000, ConnectionRefusal::Unlisted { number: 60_000 }),
    ];
    for (number, wanted) in reasons {
        let mut script = script();
        let refusal = Refusal {
            item: ItemHeader {
                aux: number.into(),
                ..ItemHeader::default()
            },
            ..Refusal::default()
        };
        let mut item = Vec::new();
        refusal.push(&mut item, b"");
        script.say(PeerId(0), &item);
        assert_eq!(script.core.last_failure(), Some(ClientError::Cut(wanted)));
    }
}

#[test]
fn a_node_of_another_cluster_is_left() {
    let mut script = script();
    script.sent(3, &SendOptions::default());
    let (peer, _) = script.asked[0];
    let mut other = welcome(4, 1, WALL_MS);
    other.cluster = [9; 16];
    script.core.on_connected(script.now_ns, peer, &other);
    script.turn();
    assert_eq!(script.closed, [(peer, ClientError::OtherCluster)]);
}

#[test]
fn a_node_that_is_not_the_one_of_the_table_is_left() {
    let mut script = script();
    script.sent(3, &SendOptions::default());
    let (peer, _) = script.asked[0];
    script.core.on_connected(script.now_ns, peer, &welcome(2, 1, WALL_MS));
    script.turn();
    assert_eq!(script.closed, [(peer, ClientError::WrongNode)]);
}

#[test]
fn a_table_that_contradicts_itself_or_the_cluster_changes_nothing() {
    let mut script = script();
    let mut broken = Vec::new();
    for change in 0..5 {
        let mut body = table();
        match change {
            0 => body.groups = 63,
            1 => drop(body.slots.pop()),
            2 => body.slots[5] = vec![77],
            3 => body.nodes[1].id = 1,
            _ => body.nodes[2].shards = 0,
        }
        broken.push(body);
    }
    for body in broken {
        let result = script.core.set_slot_table(&body);
        assert_eq!(result, Err(ClientError::Frame(FrameError::Body)));
    }
    let mut other = table();
    other.cluster = [8; 16];
    assert_eq!(script.core.set_slot_table(&other), Err(ClientError::OtherCluster));
    let mut grown = table();
    grown.groups *= 2;
    grown.slots.extend(table().slots);
    assert_eq!(script.core.set_slot_table(&grown), Err(ClientError::OtherCluster));
    assert_eq!(script.core.groups(), 64);
}

#[test]
fn frames_may_come_torn_at_any_byte() {
    let mut script = script();
    let (_, first) = script.sent(10, &SendOptions::default());
    let (_, second) = script.sent(10, &SendOptions::default());
    let mut bytes = Vec::new();
    for (seq, seen) in [(1, &first), (2, &second)] {
        let flags = waterpark_wire::reply::HAS_TOKEN;
        let item = crate::script::reply_item(seen, Outcome::Done, 0, flags, seq, b"torn");
        bytes.extend_from_slice(&frame_of(&item));
    }
    for byte in bytes {
        script.core.on_bytes(script.now_ns, PeerId(0), &[byte]);
    }
    let ends = script.ends();
    let seqs: Vec<u64> = ends.iter().map(|end| end.token.unwrap().seq).collect();
    assert_eq!(seqs, [1, 2]);
    assert!(ends.iter().all(|end| end.body == b"torn"));
}
