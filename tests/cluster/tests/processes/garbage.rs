//! Bytes that nobody should send, on every port of a node: the connection ends, the node goes on, and a counter says why.

use std::process::{Command, Stdio};
use std::time::Duration;

use waterpark_client::{ClientError, ReadOptions};
use waterpark_wire::FrameError;
use waterpark_wire::frame::{FrameAddress, FrameKind};
use waterpark_wire::handshake::messages::{Challenge, Hello, Proof};
use waterpark_wire::handshake::{HandshakeRefusal, Party, Purpose};
use waterpark_wire::item::ItemKind;
use zerocopy::IntoBytes;

use crate::support::{How, Load, Machine, Nodes, Raw, binary, client_frame, eventually, five, frame, item, noise};

const SECOND: Duration = Duration::from_secs(1);
/// How long a node may take to close what it has refused; a busy machine included.
const CLOSE: Duration = Duration::from_secs(3);

/// The port where peers dial the first shard of a node, and the one for clients.
fn ports(nodes: &Nodes, place: usize) -> [(u16, Purpose); 2] {
    let ports = nodes.config.nodes[place].ports();
    [
        (ports.peer(0), Purpose::Link { number: 0 }),
        (ports.native(0), Purpose::Client),
    ]
}

fn assert_acks(nodes: &Nodes, load: &mut Load) {
    let first = load.paced(1_000, SECOND / 4, How::default(), |_| true);
    load.settle(6 * SECOND);
    let tally = load.tally_since(first);
    assert!(
        tally.sent > 0 && tally.acked == tally.sent,
        "{tally:?}\n{}",
        nodes.log(0)
    );
}

#[test]
fn garbage_on_any_port_is_refused_and_counted_and_the_node_goes_on() {
    let _machine = Machine::take("garbage", 90 * SECOND);
    for driver in ["io-uring", "epoll"] {
        let mut plan = five();
        plan.driver = driver.to_owned();
        let mut nodes = Nodes::start(plan);
        let mut load = Load::new(&nodes, nodes.addresses(&[0, 1]), true, 128);
        assert_acks(&nodes, &mut load);
        let key = nodes.cluster.key();

        // Half a Hello, and silence: these run out while the rest goes on.
        let hello = Hello::new(&Party::client(), Purpose::Client, [7; 16], false);
        let halves: Vec<Raw> = ports(&nodes, 0)
            .iter()
            .map(|(port, _)| {
                let mut raw = Raw::connect(*port);
                assert!(raw.send(&hello.as_bytes()[..50]));
                raw
            })
            .collect();

        // Bytes without sense, of many lengths.
        let mut named = 0;
        for (port, _) in ports(&nodes, 0) {
            for (seed, length) in [1, 4, 11, 12, 87, 88, 89, 4_096, 1 << 20].into_iter().enumerate() {
                let mut raw = Raw::connect(port);
                raw.send(&noise(seed as u64 + 1, length));
                let ending = raw.ending(CLOSE);
                named += u32::from(ending.handshake_refusal() == Some(HandshakeRefusal::Malformed));
            }
        }
        // The words of a side that closes on unread bytes may be lost on the way; those of the short ones are not.
        assert!(named >= 14, "{named} of 18 were told why");

        // A Hello that is right, and a proof made without the key.
        for (port, purpose) in ports(&nodes, 0) {
            let mut raw = Raw::connect(port);
            let mut party = as_peer(&nodes, 4);
            if purpose == Purpose::Client {
                party = Party::client();
            }
            assert!(raw.send(Hello::new(&party, purpose, [9; 16], false).as_bytes()));
            raw.take(size_of::<Challenge>());
            assert!(raw.send(Proof::new(&[]).as_bytes()));
            let ending = raw.ending(CLOSE);
            assert_eq!(ending.handshake_refusal(), Some(HandshakeRefusal::Key), "{purpose:?}");
        }

        // A client with the key whose frames are wrong.
        let (native, _) = ports(&nodes, 0)[1];
        let good = client_frame(&item(ItemKind::Ask as u8, &[0; 16]), 1);
        let mut changed = good.clone();
        *changed.last_mut().expect("a frame has bytes") ^= 1;
        let mut longer = good.clone();
        longer[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
        let wrong: Vec<(FrameError, Vec<u8>)> = vec![
            (FrameError::Magic, noise(77, 640)),
            (FrameError::Checksum, changed),
            (FrameError::TooLong, longer),
            (FrameError::ItemKind, client_frame(&item(99, &noise(3, 48)), 1)),
            (
                FrameError::ItemKind,
                client_frame(&item(ItemKind::Append as u8, &noise(4, 240)), 1),
            ),
            (
                FrameError::ItemCount,
                client_frame(&item(ItemKind::Ask as u8, &[0; 16]), 2),
            ),
            (FrameError::ItemLength, client_frame(&[0xFF; 64], 1)),
            (
                FrameError::Operation,
                client_frame(&item(ItemKind::Ask as u8, &[0; 16]), 1),
            ),
        ];
        for (error, bytes) in &wrong {
            let mut raw = Raw::connect(native);
            raw.shake(Party::client(), Purpose::Client, &key)
                .expect("a client with the key");
            raw.send(bytes);
            let ending = raw.ending(CLOSE);
            assert_eq!(ending.frame_refusal(), Some(*error as u32), "{error:?}");
        }
        // Items of every kind with bodies of noise: whatever they are called, the connection ends or goes on, and the node lives.
        for kind in ItemKind::ALL {
            let mut raw = Raw::connect(native);
            raw.shake(Party::client(), Purpose::Client, &key)
                .expect("a client with the key");
            for seed in 1..40 {
                raw.send(&client_frame(
                    &item(kind as u8, &noise(seed, 16 * usize::try_from(seed).expect("small"))),
                    1,
                ));
            }
        }
        assert_acks(&nodes, &mut load);

        // A peer with the key whose frames are wrong: its link falls, and the real one comes back.
        let (peers, _) = ports(&nodes, 4)[0];
        // A well-formed `Out` is believed, whatever numbers it has: who has the key is a node.
        let kinds = ItemKind::ALL.into_iter().filter(|kind| *kind != ItemKind::Out);
        let mut again = 0;
        for kind in kinds.clone() {
            // The real peer dials meanwhile, and the newer connection takes the link without a word to the older.
            while !is_heard(&nodes, peers, kind) {
                again += 1;
                assert!(again < 100, "{driver}: a false peer is not heard: {kind:?}");
            }
        }
        println!("{driver}: the real peer came first {again} times");
        eventually("the link that was taken is back", 10 * SECOND, || {
            let links = nodes.status(4).remove(0).links;
            links.iter().all(|link| link.up).then_some(())
        });
        println!("{driver}: on the port for peers: {:?}", nodes.counters(4, "malformed"));
        let rows = nodes.counters(4, "malformed");
        let named: u64 = rows.iter().map(|(_, value)| value).sum();
        // One that sends several wrong frames at once is counted for each that was read.
        let malformed = kinds.filter(|kind| *kind != ItemKind::Refusal).count();
        assert!(named >= malformed as u64, "each of them is counted: {rows:?}");
        assert_acks(&nodes, &mut load);

        for raw in halves {
            let ending = raw.ending(8 * SECOND);
            println!("{driver}: half a Hello was cut {:?} after the rest", ending.after);
            assert_eq!(ending.handshake_refusal(), Some(HandshakeRefusal::Late), "{driver}");
        }
        // Counters are shown from the next tick on.
        std::thread::sleep(SECOND / 2);
        let reasons: Vec<_> = [
            "handshake_refused",
            "malformed",
            "handshakes_late",
            "cut_",
            "clients_cut",
        ]
        .iter()
        .flat_map(|prefix| nodes.counters(0, prefix))
        .collect();
        println!("{driver}: {reasons:?}");
        let count = |name: &str| {
            reasons
                .iter()
                .find(|(row, _)| row == name)
                .map_or(0, |(_, value)| *value)
        };
        assert!(count("handshake_refused_Malformed") >= 18, "{reasons:?}");
        assert!(count("handshake_refused_Key") >= 2, "{reasons:?}");
        assert_eq!(count("handshakes_late"), 2, "{reasons:?}");
        for (error, _) in &wrong {
            assert!(count(&format!("malformed_{error:?}")) > 0, "{error:?}: {reasons:?}");
        }
        nodes.assert_all_live();
        load.assert_clean();
        nodes.stop();
    }
}

#[test]
fn more_clients_and_more_handshakes_than_a_node_takes_are_told_busy_and_those_inside_notice_nothing() {
    const CLIENTS: usize = 40;
    /// Handshakes under way that a port takes by default.
    const HANDSHAKES: usize = 1_024;
    let _machine = Machine::take("a crowd", 90 * SECOND);
    for driver in ["io-uring", "epoll"] {
        let mut plan = five();
        plan.driver = driver.to_owned();
        let fewer = |text: &str| text.replace("[defaults]\n", &format!("[defaults]\nclients = {CLIENTS}\n"));
        let mut nodes = Nodes::start_edited(plan, fewer);
        let mut load = Load::new(&nodes, nodes.addresses(&[0, 1]), true, 128);
        assert_acks(&nodes, &mut load);
        let key = nodes.cluster.key();
        // Taken before there is no room for those who ask.
        let watch = nodes.client(0);
        let counter = |name: &str| {
            let status = watch.status(nodes.id(0).0, 0, &ReadOptions::default());
            let status = status.unwrap_or_else(|error| panic!("{error}"));
            let mut rows = status.counters.into_iter().filter(|row| row.name == name);
            rows.next().map_or(0, |row| row.value)
        };
        let (native, _) = ports(&nodes, 0)[1];

        // Clients, one after the other, until the node has enough of them.
        let mut inside = Vec::new();
        let refused = loop {
            let mut raw = Raw::connect(native);
            match raw.shake(Party::client(), Purpose::Client, &key) {
                Ok(_) => inside.push(raw),
                Err(refused) => break refused,
            }
            assert!(inside.len() <= CLIENTS, "{} clients are inside", inside.len());
        };
        assert_eq!(refused, (true, HandshakeRefusal::Busy), "{driver}");
        eventually("the node counts its clients", CLOSE, || {
            (counter("clients") == CLIENTS as u64 && counter("handshake_refused_Busy") >= 1).then_some(())
        });
        let told = nodes.client_with_key(0, &key).map(drop);
        assert_eq!(
            told,
            Err(ClientError::Handshake(HandshakeRefusal::Busy)),
            "by name, in the library"
        );
        assert_acks(&nodes, &mut load);
        drop(inside);
        eventually("room for one more", CLOSE, || nodes.client_with_key(0, &key).ok());

        // Connections that say nothing, on each port, and then one more.
        for (port, _) in ports(&nodes, 0) {
            let before = counter("handshake_refused_Busy");
            let silent: Vec<Raw> = (0..HANDSHAKES).map(|_| Raw::connect(port)).collect();
            let ending = Raw::connect(port).ending(CLOSE);
            assert_eq!(
                ending.handshake_refusal(),
                Some(HandshakeRefusal::Busy),
                "{driver}, port {port}"
            );
            assert_acks(&nodes, &mut load);
            eventually("the node counts it", CLOSE, || {
                (counter("handshake_refused_Busy") > before).then_some(())
            });
            drop(silent);
        }
        println!("{driver}: {:?}", nodes.counters(0, "handshake"));
        eventually("all links are up", 10 * SECOND, || {
            let links = nodes.status(0).remove(0).links;
            links.iter().all(|link| link.up).then_some(())
        });
        nodes.assert_all_live();
        load.assert_clean();
        nodes.stop();
    }
}

/// Whether a false peer that sends items of this kind got to the last node, which then does what the kind asks for: it names what is wrong,
/// but a refusal, which noise is as well, it counts and does not answer, nor what comes behind it.
fn is_heard(nodes: &Nodes, port: u16, kind: ItemKind) -> bool {
    if kind != ItemKind::Refusal {
        return false_peer(nodes, port, kind).is_some();
    }
    let refused = || nodes.counter(4, "refused_by_peer_Unlisted");
    let before = refused();
    assert_eq!(
        false_peer(nodes, port, kind),
        None,
        "a refusal is not answered by another"
    );
    // Counters are shown from the next tick on.
    let mut looks = (0..50).map(|_| {
        std::thread::sleep(SECOND / 50);
        refused()
    });
    looks.any(|refused| refused > before)
}

/// Takes the link of the first node to the last and sends items of this kind with bodies of noise, then noise alone. The number of what the
/// last says of it, `None` if it says nothing.
fn false_peer(nodes: &Nodes, port: u16, kind: ItemKind) -> Option<u32> {
    let mut raw = Raw::connect(port);
    let party = as_peer(nodes, 0);
    let (node, incarnation) = (party.node, party.incarnation);
    let welcome = raw.shake(party, Purpose::Link { number: 0 }, &nodes.cluster.key());
    let welcome = welcome.unwrap_or_else(|refusal| panic!("a peer with the key: {refusal:?}"));
    let address = FrameAddress {
        kind: FrameKind::Peer,
        sender: (node, incarnation),
        receiver: (welcome.node, welcome.incarnation),
        number: 0,
        epoch: welcome.epoch,
    };
    for seed in 1..40 {
        let body = noise(seed, 16 * usize::try_from(seed).expect("small"));
        raw.send(&frame(&address, &item(kind as u8, &body), 1));
    }
    raw.send(&noise(5, 4_096));
    raw.ending(CLOSE).frame_refusal()
}

/// The first shard of a node of the cluster, as it would say of itself.
fn as_peer(nodes: &Nodes, place: usize) -> Party {
    let status = nodes.status(place).remove(0);
    Party {
        cluster: nodes.topology.spec().cluster.0,
        node: status.node_id,
        incarnation: status.incarnation,
        shard: 0,
        shards: status.shards,
        out: false,
        epoch: 1_000_000,
        topology_digest: nodes.topology.digest(),
        topology: nodes.topology.canonical().into(),
    }
}

#[test]
fn without_the_clusters_key_neither_a_client_nor_a_node_gets_in_and_both_sides_say_why() {
    let _machine = Machine::take("a wrong key", 60 * SECOND);
    let mut nodes = Nodes::start(five());
    let mut load = Load::new(&nodes, nodes.addresses(&[0, 1]), true, 128);
    assert_acks(&nodes, &mut load);
    let refused = nodes.client_with_key(0, &[3; 32]).map(drop);
    assert_eq!(refused, Err(ClientError::Handshake(HandshakeRefusal::Key)));
    let (native, _) = ports(&nodes, 0)[1];
    let refused = Raw::connect(native)
        .shake(Party::client(), Purpose::Client, &[3; 32])
        .map(drop);
    assert_eq!(
        refused,
        Err((false, HandshakeRefusal::Key)),
        "the node's own proof is wrong for it"
    );
    eventually(
        "the node counts a client that says why, and one that does not",
        3 * SECOND,
        || {
            let refused = nodes.counter(0, "handshake_refused_by_peer_Key");
            (refused + nodes.counter(0, "handshakes_left") >= 2 && refused > 0).then_some(())
        },
    );

    // A node of the right name with another key takes the place of a real one.
    nodes.signal(4, rustix::process::Signal::TERM);
    assert_eq!(nodes.wait(4, 5 * SECOND), Some(0));
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let text = std::fs::read_to_string(nodes.config_path()).expect("it was written");
    std::fs::write(folder.path().join("cluster.toml"), text).expect("a folder of ours");
    std::fs::write(folder.path().join("cluster.key"), format!("{}\n", "5a".repeat(32))).expect("a folder of ours");
    let log = folder.path().join("log");
    let mut stranger = Command::new(binary())
        .args(["node", "--with-parent", "--name", nodes.name(4), "--config"])
        .arg(folder.path().join("cluster.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).expect("a folder of ours"))
        .spawn()
        .expect("the binary under test is there");
    let said = |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default();
    eventually("the stranger says why", 5 * SECOND, || {
        said(&log)
            .contains("the proof of the cluster key does not match")
            .then_some(())
    });
    eventually("the nodes say why", 5 * SECOND, || {
        let others = (0..4).map(|place| nodes.log(place));
        let mut saying = others.filter(|log| log.contains("the proof of the cluster key does not match"));
        saying.next().map(|_| ())
    });
    std::thread::sleep(SECOND);
    assert!(stranger.try_wait().is_ok_and(|ended| ended.is_none()), "{}", said(&log));
    assert!(!said(&log).contains("\"link up\""), "{}", said(&log));
    assert!(!said(&log).contains("\"ready\""), "{}", said(&log));
    stranger.kill().expect("it runs");
    stranger.wait().expect("a child of this process");

    let first = load.paced(1_000, SECOND / 2, How::default(), |writer| writer != nodes.id(4));
    load.settle(6 * SECOND);
    let tally = load.tally_since(first);
    assert_eq!(tally.acked, tally.sent, "four of five go on: {tally:?}");
    nodes.start_again(4);
    nodes.stop();
}
