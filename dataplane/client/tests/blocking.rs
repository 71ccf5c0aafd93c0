//! The blocking client against real shards over real sockets.

#![expect(clippy::unwrap_used, reason = "what helpers of tests find wrong fails the test")]

mod cluster;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cluster::{Cluster, KEY, NODES, SHARDS};
use waterpark_client::blocking::{Answer, Client, ClusterAddresses, ConnectOptions};
use waterpark_client::{ClientError, ClientOptions, HistoryQuery, ReadOptions, SendOptions, history_entries};
use waterpark_ring::Key;
use waterpark_wire::handshake::HandshakeRefusal;
use waterpark_wire::reply::Outcome;

fn record(id: u32) -> Key {
    Key::new("record", &[("id", format!("{id}").as_bytes())]).unwrap()
}

fn connect(cluster: &Cluster) -> Client {
    Client::connect(cluster.address(0).as_str(), &KEY, ConnectOptions::default()).unwrap()
}

fn send() -> SendOptions {
    SendOptions::default()
}

#[test]
fn a_message_is_acked_read_and_found_in_its_history() {
    let cluster = Cluster::start();
    let client = connect(&cluster);
    let key = Key::parse("register/7").unwrap();
    let first = client.send(key.as_ref(), b"put one", &send()).unwrap();
    assert_eq!((first.outcome, first.attempts), (Outcome::Done, 1));
    let refused = client.send(key.as_ref(), b"nonsense", &send()).unwrap();
    assert_eq!(refused.outcome, Outcome::Refused, "a handler's refusal is an answer");
    let second = client.send(key.as_ref(), b"get", &send()).unwrap();
    let (first, second_token) = (first.token.unwrap(), second.token.unwrap());
    assert_eq!((first.group, first.view), (second_token.group, second_token.view));
    assert_eq!(second.body, format!("{} one", first.seq).as_bytes());

    let state = client.get(key.as_ref(), &ReadOptions::default()).unwrap();
    assert!(String::from_utf8(state.body).unwrap().contains("one"));
    let history = client
        .history(key.as_ref(), HistoryQuery::default(), &ReadOptions::default())
        .unwrap();
    let messages: Vec<&[u8]> = history_entries(&history.body)
        .map(|entry| entry.unwrap().entry.message)
        .collect();
    assert_eq!(messages, [b"get".as_slice(), b"nonsense", b"put one"]);
    let place = client.where_(key.as_ref(), &ReadOptions::default()).unwrap();
    assert_eq!((place.group.group, place.group.role.as_str()), (first.group, "writer"));
    assert_eq!(place.node, place.group.members[0]);
}

#[test]
fn the_slot_table_and_each_shard_s_status_can_be_asked() {
    let cluster = Cluster::start();
    let client = connect(&cluster);
    let table = client.slot_table(&ReadOptions::default()).unwrap();
    assert_eq!((table.groups, table.nodes.len()), (64, NODES));
    for node in 1..=3 {
        for shard in 0..SHARDS {
            let status = client.status(node, shard, &ReadOptions::default()).unwrap();
            assert_eq!((status.node_id, status.shard), (node, shard));
        }
    }
    let nowhere = client.status(9, 0, &ReadOptions::default());
    assert_eq!(nowhere.unwrap_err(), ClientError::NotMember { group: 0 });
}

#[test]
fn many_messages_are_pipelined_to_their_writers_and_each_takes_effect_once() {
    let cluster = Cluster::start();
    let client = connect(&cluster);
    let keys: Vec<Key> = (0..500).map(record).collect();
    let messages: Vec<Vec<u8>> = (0..20_000u32).map(|n| n.to_le_bytes().to_vec()).collect();
    let calls = messages
        .iter()
        .enumerate()
        .map(|(n, message)| (keys[n % 500].as_ref(), message.as_slice()));
    let answers = client.send_many(calls, &send());
    assert_eq!(answers.len(), 20_000);
    assert!(
        answers
            .iter()
            .all(|answer| answer.as_ref().is_ok_and(|answer| answer.outcome == Outcome::Done))
    );
    assert_eq!(cluster.counter("appended"), 20_000);
    // The first messages are passed on while the way to their writer is being connected, the others go there.
    assert!(
        cluster.counter("forwarded") < 15_000,
        "{}",
        cluster.counter("forwarded")
    );
    assert_eq!(read_all(&client).len(), 20_000);
}

#[test]
fn any_number_of_threads_may_call_at_once() {
    let cluster = Cluster::start();
    let client = connect(&cluster);
    std::thread::scope(|scope| {
        for thread in 0..8u32 {
            let client = client.clone();
            scope.spawn(move || {
                for n in 0..50u32 {
                    let key = record(thread * 50 + n);
                    let ordered = SendOptions {
                        ordered: n % 2 == 0,
                        ..send()
                    };
                    let answer = client.send(key.as_ref(), &n.to_le_bytes(), &ordered).unwrap();
                    assert_eq!(answer.outcome, Outcome::Done);
                }
            });
        }
    });
    assert_eq!(cluster.counter("appended"), 400);
}

fn was_sent_again(answer: &Result<Answer, ClientError>) -> bool {
    answer.as_ref().is_ok_and(|answer| answer.attempts > 1)
}

#[test]
fn connections_that_are_cut_all_the_time_lose_nothing_and_double_nothing() {
    let cluster = Cluster::start();
    let client = connect(&cluster);
    let ended = AtomicBool::new(false);
    let mut answers = Vec::new();
    std::thread::scope(|scope| {
        let work = scope.spawn(|| {
            let keys: Vec<Key> = (0..100).map(record).collect();
            let mut answers = Vec::new();
            // However fast it is, the work goes on until enough connections have been cut, one of them under a request; a cut may find none under way.
            for part in 0..400 {
                if part >= 8 && cluster.cuts() >= 20 && answers.iter().any(was_sent_again) {
                    break;
                }
                let options = SendOptions {
                    ordered: part % 2 == 0,
                    timeout_ms: 60_000,
                    ..send()
                };
                let messages: Vec<[u8; 4]> = (part * 500..(part + 1) * 500u32).map(u32::to_le_bytes).collect();
                let calls = messages.iter().zip(keys.iter().cycle());
                let calls = calls.map(|(message, key)| (key.as_ref(), message.as_slice()));
                answers.extend(client.send_many(calls, &options));
            }
            ended.store(true, Ordering::Relaxed);
            answers
        });
        while !ended.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(7));
            cluster.cut_clients();
        }
        answers = work.join().unwrap();
    });
    assert!(
        answers.iter().all(Result::is_ok),
        "{:?}",
        answers.iter().find(|answer| answer.is_err())
    );
    assert!(answers.iter().any(was_sent_again), "something was sent again");
    let entries = read_all(&client);
    assert_eq!(entries.len(), answers.len(), "each message has one entry");
    assert!(entries.values().all(|count| *count == 1));
}

/// The messages of all groups and how many entries each has, from the writers.
fn read_all(client: &Client) -> BTreeMap<Vec<u8>, u32> {
    let table = client.slot_table(&ReadOptions::default()).unwrap();
    let mut messages = BTreeMap::new();
    for (group, slot) in (0..).zip(&table.slots) {
        let mut seq = 0;
        let next = client.read_back(slot[0], group, 1, |entry| {
            seq += 1;
            assert_eq!((entry.group, entry.seq), (group, seq));
            assert!(
                entry
                    .key
                    .is_some_and(|key| waterpark_ring::KeyRef::new_checked(key).is_ok())
            );
            assert!(entry.session.is_some() && entry.number > 0 && entry.chain != 0);
            *messages.entry(entry.message.to_vec()).or_default() += 1;
        });
        assert_eq!(next, Ok(seq + 1));
    }
    messages
}

#[test]
fn every_member_reads_back_alike_and_a_stranger_says_so() {
    let cluster = Cluster::start();
    let client = connect(&cluster);
    let long = vec![9; 200_000];
    let key = record(1);
    let token = client.send(key.as_ref(), &long, &send()).unwrap().token.unwrap();
    for n in 0..300u32 {
        client.send(key.as_ref(), &n.to_le_bytes(), &send()).unwrap();
    }
    let table = client.slot_table(&ReadOptions::default()).unwrap();
    let slot = &table.slots[token.group as usize];
    let read = |node: u16| {
        let mut entries = Vec::new();
        let next = client.read_back(node, token.group, 1, |entry| {
            entries.push((entry.seq, entry.view, entry.number, entry.message.to_vec(), entry.chain));
        });
        (next, entries)
    };
    let (next, writer) = read(slot[0]);
    assert_eq!((next, writer.len(), &writer[0].3), (Ok(302), 301, &long));
    for follower in &slot[1..] {
        // A follower learns of the last commit with the next sign of life.
        let until = Instant::now() + Duration::from_secs(5);
        while read(*follower).1.len() < 301 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(read(*follower), (Ok(302), writer.clone()));
    }
    let mut from_the_middle = 0;
    client
        .read_back(slot[0], token.group, 200, |entry| {
            from_the_middle = entry.seq.max(from_the_middle);
        })
        .unwrap();
    assert_eq!(from_the_middle, 301);
    let wrong = client
        .open_read_back(slot[0], token.group + 1)
        .unwrap()
        .read(token.group, 1, |_| ());
    assert_eq!(
        wrong,
        Err(ClientError::NotMember { group: token.group }),
        "another shard of the node"
    );
}

#[test]
fn a_read_at_a_named_member_comes_from_there() {
    let cluster = Cluster::start();
    let client = connect(&cluster);
    let key = record(5);
    client.send(key.as_ref(), b"m", &send()).unwrap();
    for node in 1..=3 {
        let options = ReadOptions {
            at: Some(node),
            ..ReadOptions::default()
        };
        assert_eq!(client.where_(key.as_ref(), &options).unwrap().node, node);
    }
}

#[test]
fn a_wrong_key_and_a_dead_address_have_names() {
    let cluster = Cluster::start();
    let wrong = Client::connect(cluster.address(0).as_str(), &[1; 32], ConnectOptions::default());
    assert_eq!(wrong.unwrap_err(), ClientError::Handshake(HandshakeRefusal::Key));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let short = ConnectOptions {
        connect_timeout_ms: 100,
        ..ConnectOptions::default()
    };
    let dead = Client::connect(format!("127.0.0.1:{port}").as_str(), &KEY, short);
    assert!(matches!(dead.unwrap_err(), ClientError::Unreachable { tried: 1.. }));
    let text = Client::connect("no port", &KEY, short);
    assert_eq!(text.unwrap_err(), ClientError::Io(std::io::ErrorKind::InvalidInput));
    let none = Client::connect(ClusterAddresses::default(), &KEY, short);
    assert_eq!(none.unwrap_err(), ClientError::Unreachable { tried: 0 });
}

#[test]
fn the_second_entry_serves_if_the_first_is_dead() {
    let cluster = Cluster::start();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let entries = format!("127.0.0.1:{port},{}", cluster.address(2));
    let client = Client::connect(entries.as_str(), &KEY, ConnectOptions::default()).unwrap();
    assert!(client.send(record(1).as_ref(), b"m", &send()).is_ok());
}

#[test]
fn one_entry_alone_passes_everything_on() {
    let cluster = Cluster::start();
    let options = ConnectOptions {
        client: ClientOptions {
            direct: false,
            ..ClientOptions::default()
        },
        ..ConnectOptions::default()
    };
    let client = Client::connect(cluster.address(1).as_str(), &KEY, options).unwrap();
    for n in 0..60 {
        assert!(client.send(record(n).as_ref(), b"m", &send()).is_ok());
    }
    assert!(cluster.counter("forwarded") > 20);
}

#[test]
fn after_the_cluster_s_end_calls_end_at_their_deadline() {
    let cluster = Cluster::start();
    let client = connect(&cluster);
    client.send(record(1).as_ref(), b"m", &send()).unwrap();
    drop(cluster);
    std::thread::sleep(Duration::from_millis(50));
    let short = SendOptions {
        timeout_ms: 300,
        hold_unknown: true,
        ..send()
    };
    let start = Instant::now();
    let sent = client.send_held(record(1).as_ref(), b"m", &short);
    assert!(start.elapsed() < Duration::from_secs(3));
    // Whether a copy left before the connection was seen to be gone is a matter of luck; no answer came in either case.
    assert!(
        matches!(sent.result, Err(ClientError::Unknown | ClientError::Unreachable { .. })),
        "{:?}",
        sent.result
    );
}
