//! What `[mllp]` of `cluster.toml` says, on a node that serves senders as it says.
//!
//! The node runs in this process and is a cluster by itself, so a message is held when it is written. **Invariant:** each key is seen from
//! outside, by a sender or a reader, and against a node that has its default.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpStream, UdpSocket};
use std::time::Duration;

use waterpark::config::Loaded;
use waterpark::{Ended, Node, NodeError, Options};
use waterpark_client::blocking::{Client, ClusterAddresses, ConnectOptions};
use waterpark_client::{Address, HistoryQuery, ReadOptions};
use waterpark_ring::Key;

use crate::support::{Machine, eventually};

const SECOND: Duration = Duration::from_secs(1);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const KEY: [u8; 32] = [0x5A; 32];
const NAME: &str = "FL-A-1";
/// Two ids of one patient, of two authorities, and the answers that an enhanced sender asks for: an accept, no application.
const ADMIT: &[u8] =
    b"\x0BMSH|^~\\&|A|H|B|G|2024||ADT^A01|M1|P|2.5|||AL|NE\rPID|1||7^^^H^MR~8^^^EPI^PI\rPV1|1|I|W^1\r\x1C\r";

/// One node at this address, which is configured so.
struct World {
    node: Node,
    loaded: Loaded,
    host: IpAddr,
    _folder: tempfile::TempDir,
}

impl World {
    fn start(host: IpAddr, mllp: &str) -> World {
        // Ports below those that the kernel gives away; whoever holds one is passed by.
        for port in (20_000..30_000).step_by(256) {
            let folder = tempfile::TempDir::new().expect("a temporary folder");
            let loaded = configuration(&folder, host, port, mllp);
            match Node::start(&loaded, NAME, &Options::default()) {
                Ok(node) => {
                    assert!(node.wait_ready(), "the node serves");
                    return World {
                        node,
                        loaded,
                        host,
                        _folder: folder,
                    };
                }
                Err(NodeError::PortInUse { .. }) => (),
                Err(error) => panic!("{error}"),
            }
        }
        panic!("no free ports");
    }

    fn connect(&self) -> std::io::Result<TcpStream> {
        let port = self.loaded.config.nodes[0].ports().mllp();
        let stream = TcpStream::connect((self.host, port))?;
        stream.set_read_timeout(Some(10 * SECOND))?;
        Ok(stream)
    }

    /// What the node answers to a message; `None` if it ends the connection.
    fn answer(&self, message: &[u8]) -> Option<String> {
        let mut stream = self.connect().expect("the port is open");
        stream.write_all(message).ok()?;
        stream.shutdown(Shutdown::Write).ok()?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).ok()?;
        let text = String::from_utf8(bytes).expect("answers are text");
        (!text.is_empty()).then_some(text)
    }

    fn client(&self) -> Client {
        let address = (self.host, self.loaded.config.nodes[0].ports().native(0));
        let address: Address = std::net::SocketAddr::from(address)
            .to_string()
            .parse()
            .expect("an address");
        Client::connect(ClusterAddresses(vec![address]), &KEY, ConnectOptions::default()).expect("the node serves")
    }

    /// Whether a patient has the message.
    fn has(&self, id: &str) -> bool {
        let key = Key::new("patient", &[("id", id.as_bytes()), ("facility", b"H")]).expect("a valid key");
        let answer = self
            .client()
            .history(key.as_ref(), HistoryQuery::default(), &ReadOptions::default());
        let body = answer.expect("histories can be read").body;
        body.windows(8).any(|bytes| bytes == b"ADT^A01|")
    }

    fn counter(&self, name: &str) -> u64 {
        let status = self
            .client()
            .status(1, 0, &ReadOptions::default())
            .expect("the node answers");
        let found = status.counters.iter().find(|counter| counter.name == name);
        found.unwrap_or_else(|| panic!("there is a counter {name}")).value
    }

    fn stop(self) {
        self.node.stopper().stop();
        assert_eq!(self.node.wait(), Ended::Flushed);
    }
}

fn configuration(folder: &tempfile::TempDir, host: IpAddr, port: u16, mllp: &str) -> Loaded {
    let path = folder.path().join("cluster.toml");
    let text = format!(
        "format = 1\n[cluster]\nid = \"{id}\"\ngroups = 64\nclasses = 4\nmembers = 1\nkey_file = \"cluster.key\"\n[mllp]\n{mllp}\n\
         [defaults]\nworkers = 1\nmemory = \"64MiB\"\n[[node]]\nid = 1\nname = \"{NAME}\"\nhost = \"{host}\"\nport = {port}\n",
        id = "07".repeat(16),
    );
    std::fs::write(&path, text).expect("a folder of ours");
    std::fs::write(folder.path().join("cluster.key"), format!("{}\n", "5a".repeat(32))).expect("a folder of ours");
    waterpark::config::load(&path, []).unwrap_or_else(|error| panic!("{error}"))
}

/// An address of this machine from which connections to itself are not loopback's; none, said aloud, where there is no network.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a UDP socket");
    // Nothing is sent: the kernel only chooses the address that it would send from.
    let chosen = socket.connect(("192.0.2.1", 9)).and_then(|()| socket.local_addr());
    let chosen = chosen.ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback());
    if chosen.is_none() {
        eprintln!("skipped: this machine has no address but loopback");
    }
    chosen
}

#[test]
fn a_node_that_is_not_to_listen_has_no_port_for_senders() {
    let _machine = Machine::take("no MLLP port", 30 * SECOND);
    let world = World::start(LOOPBACK, "listen = false");
    let refused = world.connect().expect_err("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    world.stop();
    let world = World::start(LOOPBACK, "");
    assert!(world.connect().is_ok());
    world.stop();
}

#[test]
fn authorities_of_the_file_choose_the_patient() {
    let _machine = Machine::take("MLLP authorities", 30 * SECOND);
    for (said, of_first, of_second) in [
        ("", true, false),
        ("authorities = [\"EPI\"]", false, true),
        ("authorities = [\"NONE\", \"H\", \"EPI\"]", true, false),
    ] {
        let world = World::start(LOOPBACK, said);
        let answer = world.answer(ADMIT).expect("a message is answered");
        assert!(answer.contains("MSA|AA|M1"), "{said}: {answer:?}");
        assert_eq!((world.has("7"), world.has("8")), (of_first, of_second), "{said}");
        world.stop();
    }
}

#[test]
fn the_mode_of_the_file_says_whether_senders_choose_their_answers() {
    let _machine = Machine::take("MLLP mode", 30 * SECOND);
    for (said, code) in [("mode = \"original\"", "AA"), ("mode = \"enhanced\"", "CA")] {
        let world = World::start(LOOPBACK, said);
        let answer = world.answer(ADMIT).expect("a message is answered");
        assert!(answer.contains(&format!("MSA|{code}|M1")), "{said}: {answer:?}");
        world.stop();
    }
}

#[test]
fn a_message_beyond_the_files_length_is_refused_and_one_below_it_held() {
    let _machine = Machine::take("MLLP length", 30 * SECOND);
    let long = |bytes: usize| {
        let (head, tail) = ADMIT.split_at(ADMIT.len() - 3);
        [head, b"\rNTE|1||", "x".repeat(bytes).as_bytes(), tail].concat()
    };
    let world = World::start(LOOPBACK, "message_max = \"2KiB\"");
    let answer = world.answer(&long(1_000)).expect("a message is answered");
    assert!(answer.contains("MSA|AA|M1"), "{answer:?}");
    let answer = world.answer(&long(3_000)).expect("a message is answered");
    assert!(answer.contains("MSA|AR|M1"), "{answer:?}");
    eventually("one is counted as held and one as refused", 5 * SECOND, || {
        ((world.counter("mllp_accepted"), world.counter("mllp_rejected")) == (1, 1)).then_some(())
    });
    world.stop();
}

#[test]
fn senders_from_elsewhere_are_served_only_where_the_file_says_so() {
    let Some(own) = own_address() else { return };
    let _machine = Machine::take("MLLP strangers", 30 * SECOND);
    let world = World::start(own, "");
    assert_eq!(world.answer(ADMIT), None, "its connection is ended");
    eventually("the stranger is counted", 5 * SECOND, || {
        (world.counter("edge_strangers") == 1).then_some(())
    });
    world.stop();
    let world = World::start(own, "from = \"any\"");
    let answer = world.answer(ADMIT).expect("a message is answered");
    assert!(answer.contains("MSA|AA|M1"), "{answer:?}");
    assert_eq!(world.counter("edge_strangers"), 0);
    world.stop();
}
