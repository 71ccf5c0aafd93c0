//! What a node says to those it turns away: bounds that a test can reach, and the last words on a link.
//!
//! The node runs in this process, so that its bounds are small and nobody but the test is its peer. **Invariant:** each refusal is read from
//! the socket by name, and found again among the node's counters.

use std::time::{Duration, Instant};

use waterpark::config::Loaded;
use waterpark::{ConnectionBounds, DriverChoice, Ended, Node, NodeError, Options};
use waterpark_client::blocking::{Client, ClusterAddresses, ConnectOptions};
use waterpark_client::{Address, ClientError, ReadOptions};
use waterpark_control::NodePorts;
use waterpark_wire::ConnectionRefusal;
use waterpark_wire::frame::{FrameAddress, FrameKind};
use waterpark_wire::handshake::{HandshakeRefusal, Party, Purpose, Welcome};
use waterpark_wire::item::ItemKind;
use waterpark_wire::link::Heartbeat;
use waterpark_wire::{FrameError, body::StatusBody};

use crate::support::{Machine, Raw, client_frame, eventually, frame, item, noise};

const SECOND: Duration = Duration::from_secs(1);
/// How long a node may take to close what it has refused.
const CLOSE: Duration = Duration::from_secs(3);
const KEY: [u8; 32] = [0x5A; 32];
const LINK: Purpose = Purpose::Link { number: 0 };
/// The test's own name in the cluster dials, because it is the smaller one.
const DIALER: u16 = 1;
const UNDER_TEST: u16 = 2;

/// One node of a cluster of two; the test is the other.
struct World {
    node: Node,
    loaded: Loaded,
    _folder: tempfile::TempDir,
}

impl World {
    fn start(driver: DriverChoice, bounds: ConnectionBounds) -> World {
        let options = Options {
            driver,
            bounds,
            ..Options::default()
        };
        // Ports below those that the kernel gives away, and others each time: whoever holds one is passed by.
        for port in (20_000..30_000).step_by(512).map(|port| port + 97) {
            let folder = tempfile::TempDir::new().expect("a temporary folder");
            let loaded = configuration(&folder, port);
            match Node::start(&loaded, "TN-A-1", &options) {
                Ok(node) => {
                    return World {
                        node,
                        loaded,
                        _folder: folder,
                    };
                }
                Err(NodeError::PortInUse { .. }) => (),
                Err(error) => panic!("{error}"),
            }
        }
        panic!("no free ports");
    }

    fn ports(&self) -> NodePorts {
        self.loaded.config.nodes[1].ports()
    }

    fn client(&self) -> Result<Client, ClientError> {
        let address: Address = format!("127.0.0.1:{}", self.ports().native(0)).parse()?;
        let options = ConnectOptions {
            connect_timeout_ms: 500,
            ..ConnectOptions::default()
        };
        Client::connect(ClusterAddresses(vec![address]), &KEY, options)
    }

    /// A client's connection without a client.
    fn raw_client(&self) -> Raw {
        let mut raw = Raw::connect(self.ports().native(0));
        let shaken = raw.shake(Party::client(), Purpose::Client, &KEY);
        shaken.unwrap_or_else(|refusal| panic!("there is room for a client: {refusal:?}"));
        raw
    }

    /// The test as the other node.
    fn party(&self) -> Party {
        let topology = self.loaded.config.topology();
        Party {
            cluster: topology.spec().cluster.0,
            node: DIALER,
            incarnation: 77 << 16,
            shard: 0,
            shards: 1,
            out: false,
            epoch: 0,
            topology_digest: topology.digest(),
            topology: topology.canonical().into(),
        }
    }

    /// A link of the test, and what its frames have to say to be the link's.
    fn link(&self) -> (Raw, FrameAddress) {
        let mut raw = Raw::connect(self.ports().peer(0));
        let party = self.party();
        let (node, incarnation) = (party.node, party.incarnation);
        let shaken: Result<Welcome, _> = raw.shake(party, LINK, &KEY);
        let welcome = shaken.unwrap_or_else(|refusal| panic!("a peer with the key: {refusal:?}"));
        let address = FrameAddress {
            kind: FrameKind::Peer,
            sender: (node, incarnation),
            receiver: (welcome.node, welcome.incarnation),
            number: 0,
            epoch: welcome.epoch,
        };
        (raw, address)
    }

    fn status(client: &Client) -> StatusBody {
        client
            .status(UNDER_TEST, 0, &ReadOptions::default())
            .unwrap_or_else(|error| panic!("status: {error}"))
    }

    fn counter(client: &Client, name: &str) -> u64 {
        let status = World::status(client);
        let mut rows = status.counters.iter().filter(|row| row.name == name);
        rows.next().map_or(0, |row| row.value)
    }

    /// Counters are shown from the next tick on.
    fn counts(client: &Client, name: &str, at_least: u64) {
        eventually(name, CLOSE, || (World::counter(client, name) >= at_least).then_some(()));
    }

    fn stop(self) {
        self.node.stopper().stop();
        assert_ne!(self.node.wait(), Ended::Failed);
    }
}

/// Two nodes of one shard and one copy, keyed.
fn configuration(folder: &tempfile::TempDir, port: u16) -> Loaded {
    let path = folder.path().join("cluster.toml");
    let text = format!(
        "format = 1\n[cluster]\nid = \"{id}\"\ngroups = 64\nclasses = 4\nmembers = 1\nkey_file = \"cluster.key\"\n\
         [defaults]\nworkers = 1\nmemory = \"64MiB\"\n\
         [[node]]\nid = {DIALER}\nname = \"FL-A-1\"\nhost = \"127.0.0.1\"\nport = {first}\n\
         [[node]]\nid = {UNDER_TEST}\nname = \"TN-A-1\"\nhost = \"127.0.0.1\"\nport = {port}\n",
        id = "07".repeat(16),
        first = port + 256,
    );
    std::fs::write(&path, text).expect("a folder of ours");
    std::fs::write(folder.path().join("cluster.key"), format!("{}\n", "5a".repeat(32))).expect("a folder of ours");
    waterpark::config::load(&path, []).unwrap_or_else(|error| panic!("{error}"))
}

const DRIVERS: [DriverChoice; 2] = [DriverChoice::IoUring, DriverChoice::Epoll];

#[test]
fn a_peer_whose_frames_are_wrong_is_told_why_and_counted() {
    let _machine = Machine::take("a peer is told", 60 * SECOND);
    for driver in DRIVERS {
        let world = World::start(driver, ConnectionBounds::default());
        let client = world.client().expect("there is room");
        let beat = || {
            let mut items = Vec::new();
            Heartbeat::default().push(&mut items, &[]);
            items
        };
        let changed = |address: &FrameAddress| {
            let mut bytes = frame(address, &beat(), 1);
            *bytes.last_mut().expect("a frame has bytes") ^= 1;
            bytes
        };
        let longer = |address: &FrameAddress| {
            let mut bytes = frame(address, &beat(), 1);
            bytes[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
            bytes
        };
        let strange = |address: &FrameAddress| {
            let (node, incarnation) = address.sender;
            let sender = (node, incarnation + 1);
            frame(&FrameAddress { sender, ..*address }, &beat(), 1)
        };
        let framed = |items: Vec<u8>, count: u32| move |address: &FrameAddress| frame(address, &items, count);
        type Wrong<'a> = Box<dyn Fn(&FrameAddress) -> Vec<u8> + 'a>;
        let wrong: Vec<(ConnectionRefusal, Wrong<'_>)> = vec![
            (ConnectionRefusal::Frame(FrameError::Magic), Box::new(|_| noise(5, 640))),
            (ConnectionRefusal::Frame(FrameError::Checksum), Box::new(changed)),
            (ConnectionRefusal::Frame(FrameError::TooLong), Box::new(longer)),
            (ConnectionRefusal::Stranger, Box::new(strange)),
            (
                ConnectionRefusal::Frame(FrameError::ItemCount),
                Box::new(framed(beat(), 2)),
            ),
            (
                ConnectionRefusal::Frame(FrameError::ItemLength),
                Box::new(framed(vec![0xFF; 64], 1)),
            ),
            (
                ConnectionRefusal::Frame(FrameError::ItemKind),
                Box::new(framed(item(99, &noise(3, 48)), 1)),
            ),
            (
                ConnectionRefusal::Frame(FrameError::ItemKind),
                Box::new(framed(item(ItemKind::Ask as u8, &[0; 16]), 1)),
            ),
            (
                ConnectionRefusal::Frame(FrameError::Run),
                Box::new(framed(item(ItemKind::Append as u8, &[0; 48]), 1)),
            ),
            (
                ConnectionRefusal::Frame(FrameError::Acked),
                Box::new(framed(item(ItemKind::Acked as u8, &[0; 16]), 1)),
            ),
            (
                ConnectionRefusal::Frame(FrameError::Part),
                Box::new(framed(item(ItemKind::Part as u8, &[9; 64]), 1)),
            ),
            (
                ConnectionRefusal::Frame(FrameError::Body),
                Box::new(framed(item(ItemKind::Birth as u8, &noise(8, 8)), 1)),
            ),
        ];
        for (refusal, bytes) in &wrong {
            let (mut raw, address) = world.link();
            assert!(raw.send(&bytes(&address)));
            let begun = Instant::now();
            let ending = raw.ending(CLOSE);
            assert_eq!(
                ending.frame_refusal().map(ConnectionRefusal::from_number),
                Some(*refusal),
                "{driver:?}, after {:?}",
                begun.elapsed()
            );
            let counter = match refusal {
                ConnectionRefusal::Frame(error) => format!("malformed_{error:?}"),
                other => format!("cut_{other:?}"),
            };
            World::counts(&client, &counter, 1);
        }
        // Behind all that the next link is as good as the first.
        let (mut raw, address) = world.link();
        assert!(raw.send(&frame(&address, &beat(), 1)));
        eventually("the link is up", CLOSE, || {
            World::status(&client).links.iter().all(|link| link.up).then_some(())
        });
        drop(raw);
        world.stop();
    }
}

#[test]
fn a_node_that_a_peer_refuses_counts_it_and_ends_the_link() {
    let _machine = Machine::take("a peer refuses", 30 * SECOND);
    for driver in DRIVERS {
        let world = World::start(driver, ConnectionBounds::default());
        let client = world.client().expect("there is room");
        for (refusal, counter) in [
            (
                ConnectionRefusal::Frame(FrameError::Checksum),
                "refused_by_peer_Checksum",
            ),
            (ConnectionRefusal::Stranger, "refused_by_peer_Stranger"),
            (
                ConnectionRefusal::Handshake(HandshakeRefusal::TooLong),
                "refused_by_peer_TooLong",
            ),
            (
                ConnectionRefusal::Unlisted { number: 9_999 },
                "refused_by_peer_Unlisted",
            ),
        ] {
            // Whatever comes behind it is not judged any more, whether it came with it or later.
            for (nth, behind) in [(1, 0), (2, 640)] {
                let (mut raw, address) = world.link();
                assert!(raw.send(&[refusal.frame(&address), noise(6, behind)].concat()));
                let ending = raw.ending(CLOSE);
                assert_eq!(
                    ending.frame_refusal(),
                    None,
                    "{driver:?}: a refusal is not answered by another"
                );
                World::counts(&client, counter, nth);
            }
        }
        assert_eq!(World::counter(&client, "malformed_Magic"), 0, "{driver:?}");
        // A refusal that is none is malformed like any other item.
        let (mut raw, address) = world.link();
        assert!(raw.send(&frame(&address, &item(ItemKind::Refusal as u8, &[]), 1)));
        assert_eq!(raw.ending(CLOSE).frame_refusal(), Some(FrameError::ItemLength as u32));
        world.stop();
    }
}

#[test]
fn one_client_more_than_a_shard_takes_is_told_busy_and_gets_in_when_another_has_left() {
    let _machine = Machine::take("a client too many", 30 * SECOND);
    for driver in DRIVERS {
        let bounds = ConnectionBounds {
            clients_max: 3,
            ..ConnectionBounds::default()
        };
        let world = World::start(driver, bounds);
        let client = world.client().expect("there is room");
        let (first, _second) = (world.raw_client(), world.raw_client());
        assert_eq!(World::counter(&client, "handshake_refused_Busy"), 0);
        for _ in 0..5 {
            let mut raw = Raw::connect(world.ports().native(0));
            let refused = raw.shake(Party::client(), Purpose::Client, &KEY).map(drop);
            assert_eq!(refused, Err((true, HandshakeRefusal::Busy)));
            let ending = raw.ending(CLOSE);
            assert!(ending.said.is_empty(), "an orderly end");
        }
        // The client library tries for as long as it was given, and then says by name what it met.
        let refused = world.client().map(drop);
        assert_eq!(refused, Err(ClientError::Handshake(HandshakeRefusal::Busy)));
        World::counts(&client, "handshake_refused_Busy", 6);
        World::counts(&client, "clients", 3);
        // Clients keep no peer out.
        let (link, _) = world.link();
        drop(link);

        drop(first);
        eventually("the place of one that left", CLOSE, || {
            let mut raw = Raw::connect(world.ports().native(0));
            raw.shake(Party::client(), Purpose::Client, &KEY).ok()
        });
        // One that is cut for its bytes gives its place up too.
        for _ in 0..6 {
            let mut raw = eventually("a place", CLOSE, || {
                let mut raw = Raw::connect(world.ports().native(0));
                raw.shake(Party::client(), Purpose::Client, &KEY).ok().map(|_| raw)
            });
            raw.send(&client_frame(&item(99, &[]), 1));
            assert_eq!(raw.ending(CLOSE).frame_refusal(), Some(FrameError::ItemKind as u32));
        }
        world.stop();
    }
}

#[test]
fn one_handshake_more_than_a_port_takes_is_told_busy_and_the_other_port_is_free() {
    let _machine = Machine::take("a handshake too many", 40 * SECOND);
    for driver in DRIVERS {
        let bounds = ConnectionBounds {
            handshakes_max: 4,
            ..ConnectionBounds::default()
        };
        let world = World::start(driver, bounds);
        let client = world.client().expect("there is room");
        for (port, other) in [
            (world.ports().native(0), world.ports().peer(0)),
            (world.ports().peer(0), world.ports().native(0)),
        ] {
            let before = World::counter(&client, "handshake_refused_Busy");
            let silent: Vec<Raw> = (0..4).map(|_| Raw::connect(port)).collect();
            for _ in 0..3 {
                let ending = Raw::connect(port).ending(CLOSE);
                assert_eq!(ending.handshake_refusal(), Some(HandshakeRefusal::Busy), "{driver:?}");
            }
            World::counts(&client, "handshake_refused_Busy", before + 3);
            World::counts(&client, "handshakes", 4);
            // The other port's handshakes are counted by themselves.
            if other == world.ports().native(0) {
                drop(world.raw_client());
            } else {
                drop(world.link());
            }
            drop(silent);
            eventually("room again", CLOSE, || {
                (World::counter(&client, "handshakes") == 0).then_some(())
            });
        }
        drop(world.raw_client());
        drop(world.link());
        world.stop();
    }
}
