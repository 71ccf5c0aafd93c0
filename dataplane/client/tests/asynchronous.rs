//! The asynchronous client against real shards over real sockets.

#![cfg(feature = "tokio")]
#![expect(clippy::unwrap_used, reason = "what helpers of tests find wrong fails the test")]

mod cluster;

use std::collections::BTreeMap;
use std::time::Duration;

use cluster::{Cluster, KEY};
use waterpark_client::asynchronous::{Client, ConnectOptions};
use waterpark_client::{ClientError, HistoryQuery, ReadOptions, SendOptions, history_entries};
use waterpark_ring::Key;
use waterpark_wire::handshake::HandshakeRefusal;
use waterpark_wire::reply::Outcome;

fn record(id: u32) -> Key {
    Key::new("record", &[("id", format!("{id}").as_bytes())]).unwrap()
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(work)
}

async fn connect(cluster: &Cluster) -> Client {
    let options = ConnectOptions::default();
    Client::connect(cluster.address(0).as_str(), &KEY, options)
        .await
        .unwrap()
}

#[test]
fn a_message_is_acked_read_and_found_in_its_history() {
    let cluster = Cluster::start();
    run(async {
        let client = connect(&cluster).await;
        let key = Key::parse("register/7").unwrap();
        let sent = client.send(key.as_ref(), b"put one", &SendOptions::default()).await;
        assert_eq!(sent.unwrap().outcome, Outcome::Done);
        let read = ReadOptions::default();
        let state = client.get(key.as_ref(), &read).await.unwrap();
        assert!(String::from_utf8(state.body).unwrap().contains("one"));
        let history = client.history(key.as_ref(), HistoryQuery::default(), &read).await;
        let history = history.unwrap().body;
        let messages: Vec<&[u8]> = history_entries(&history)
            .map(|entry| entry.unwrap().entry.message)
            .collect();
        assert_eq!(messages, [b"put one"]);
        assert_eq!(client.where_(key.as_ref(), &read).await.unwrap().group.role, "writer");
        assert_eq!(client.status(2, 1, &read).await.unwrap().node_id, 2);
    });
}

#[test]
fn connections_that_are_cut_all_the_time_lose_nothing_and_double_nothing() {
    let cluster = Cluster::start();
    let (entries, sent) = run(async {
        let client = connect(&cluster).await;
        let keys: Vec<Key> = (0..100).map(record).collect();
        let options = SendOptions {
            timeout_ms: 60_000,
            ..SendOptions::default()
        };
        let work = async {
            let mut sent = 0;
            // However fast it is, the work goes on until enough connections have been cut under it.
            while sent < 4_000 || cluster.cuts() < 20 {
                let messages: Vec<[u8; 4]> = (sent..sent + 500u32).map(u32::to_le_bytes).collect();
                let calls = messages.iter().zip(keys.iter().cycle());
                let calls = calls.map(|(message, key)| (key.as_ref(), message.as_slice()));
                let answers = client.send_many(calls, &options).await;
                assert!(answers.iter().all(Result::is_ok));
                sent += 500;
            }
            sent
        };
        let mut work = std::pin::pin!(work);
        let sent = loop {
            tokio::select! {
                sent = &mut work => break sent,
                () = tokio::time::sleep(Duration::from_millis(7)) => cluster.cut_clients(),
            }
        };
        let table = client.slot_table(&ReadOptions::default()).await.unwrap();
        let mut entries: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
        for (group, slot) in (0..).zip(&table.slots) {
            let on_entry = |entry: &waterpark_client::ReadEntry<'_>| {
                *entries.entry(entry.message.to_vec()).or_default() += 1;
            };
            client.read_back(slot[0], group, 1, on_entry).await.unwrap();
        }
        (entries, sent)
    });
    assert_eq!(entries.len(), sent as usize, "each message has one entry");
    assert_eq!(cluster.counter("appended"), u64::from(sent));
    assert!(entries.values().all(|count| *count == 1));
}

#[test]
fn a_wrong_key_has_a_name_and_the_last_client_ends_its_task() {
    let cluster = Cluster::start();
    run(async {
        let wrong = Client::connect(cluster.address(0).as_str(), &[1; 32], ConnectOptions::default()).await;
        assert_eq!(wrong.unwrap_err(), ClientError::Handshake(HandshakeRefusal::Key));
        let client = connect(&cluster).await;
        let other = client.clone();
        drop(client);
        let key = record(1);
        assert!(other.send(key.as_ref(), b"m", &SendOptions::default()).await.is_ok());
        drop(other);
        let metrics = tokio::runtime::Handle::current().metrics();
        for _ in 0..100 {
            if metrics.num_alive_tasks() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} tasks are left", metrics.num_alive_tasks());
    });
}
