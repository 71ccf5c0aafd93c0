//! MLLP on real processes: real messages from a sender that shares no code with us, read back byte for byte; and how connections end.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use waterpark_ring::GroupId;

use crate::support::{Machine, Nodes, eventually, five};

const SECOND: Duration = Duration::from_secs(1);

/// A sender as somebody else would write it: each file in one form of line ends, over one connection to each port in turn, one message at a
/// time. Prints each code with how often it came.
const SENDER: &str = r#"
import collections, glob, socket, sys
folder, end, ports = sys.argv[1], {"lf": b"\n", "crlf": b"\r\n", "cr": b"\r"}[sys.argv[2]], sys.argv[3:]
links = [socket.create_connection(("127.0.0.1", int(port))) for port in ports]
codes = collections.Counter()
for number, path in enumerate(sorted(glob.glob(folder + "/*.hl7"))):
    text = open(path, "rb").read().replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    link = links[number % len(links)]
    link.sendall(b"\x0b" + text.replace(b"\n", end) + b"\x1c\r")
    answer = b""
    while not answer.endswith(b"\x1c\r"):
        answer += link.recv(65536)
    msa = [line for line in answer.split(b"\r") if line.startswith(b"MSA")][0]
    codes[msa.split(msa[3:4])[1].decode()] += 1
print(" ".join("%s=%d" % row for row in sorted(codes.items())))
"#;

/// The folder of real messages; `None`, said aloud, where there is none.
fn folder() -> Option<PathBuf> {
    let data = std::env::var_os("WATERPARK_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let folder = data.join("hl7v2");
    let there = folder.is_dir();
    if !there {
        eprintln!("skipped: no folder of real messages (WATERPARK_DATA)");
    }
    there.then_some(folder)
}

fn has_python() -> bool {
    let found = Command::new("python3").arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: no python3, in which the independent sender is written");
    }
    found
}

fn mllp_port(nodes: &Nodes, place: usize) -> u16 {
    nodes.config.nodes[place].ports().mllp()
}

/// Every committed message of a node's groups, with how often it lies there.
fn held(nodes: &Nodes, place: usize) -> BTreeMap<Vec<u8>, usize> {
    let client = nodes.client(place);
    let mut held = BTreeMap::new();
    for group in 0..nodes.topology.keyspace().groups() {
        let members = nodes.topology.birth().members(GroupId(group));
        if !members.nodes().contains(&nodes.id(place)) {
            continue;
        }
        let mut reader = client
            .open_read_back(nodes.id(place).0, group)
            .expect("a member answers");
        let read = reader.read(group, 1, |entry| {
            if !entry.is_tick() && !entry.is_void() {
                *held.entry(entry.message.to_vec()).or_default() += 1;
            }
        });
        read.expect("a healthy member can be read");
    }
    held
}

#[test]
fn real_files_from_a_sender_of_another_make_are_held_byte_for_byte_and_once() {
    let Some(folder) = folder().filter(|_| has_python()) else {
        return;
    };
    let _machine = Machine::take("real HL7 files", 120 * SECOND);
    let nodes = Nodes::start(five());
    let ports: Vec<String> = (0..nodes.len())
        .map(|place| mllp_port(&nodes, place).to_string())
        .collect();
    let files = std::fs::read_dir(&folder).expect("it is a folder");
    let files: Vec<Vec<u8>> = files
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "hl7"))
        .map(|path| std::fs::read(path).expect("a file"))
        .collect();
    assert_eq!(files.len(), 139);
    let mut wanted: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for round in 1..=2 {
        for (form, end) in [("lf", "\n"), ("crlf", "\r\n"), ("cr", "\r")] {
            let output = Command::new("python3")
                .args(["-c", SENDER])
                .arg(&folder)
                .arg(form)
                .args(&ports)
                .output()
                .expect("python3 runs");
            let said = String::from_utf8_lossy(&output.stdout);
            assert_eq!(
                said.trim(),
                "AA=139",
                "round {round}, {form}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            for file in &files {
                let plain = String::from_utf8(file.clone()).unwrap_or_else(|bytes| {
                    // Latin 1, byte for byte.
                    bytes.into_bytes().iter().map(|byte| char::from(*byte)).collect()
                });
                let is_utf8 = std::str::from_utf8(file).is_ok();
                let text = plain.replace("\r\n", "\n").replace('\r', "\n").replace('\n', end);
                let bytes = if is_utf8 {
                    text.into_bytes()
                } else {
                    text.chars()
                        .map(|c| u8::try_from(u32::from(c)).expect("Latin 1"))
                        .collect()
                };
                wanted.insert(bytes, 0);
            }
        }
    }
    assert_eq!(wanted.len(), 417, "distinct entries");
    // The last commit reaches followers with the next word of their writer.
    eventually("three members hold every message", 10 * SECOND, || {
        wanted.values_mut().for_each(|copies| *copies = 0);
        for place in 0..nodes.len() {
            for (message, times) in held(&nodes, place) {
                assert_eq!(times, 1, "{} holds a message twice", nodes.name(place));
                *wanted.get_mut(&message).expect("nothing else was sent") += 1;
            }
        }
        wanted.values().all(|copies| *copies >= 3).then_some(())
    });
    let known: u64 = (0..nodes.len()).map(|place| nodes.counter(place, "mllp_known")).sum();
    assert_eq!(known, 417, "the second round was recognised");
    nodes.stop();
}

fn admit(id: &str) -> Vec<u8> {
    format!("\x0BMSH|^~\\&|A|H|B|G|2024||ADT^A01|{id}|P|2.5\rPID|1||7^^^H^MR\rPV1|1|I|W^1\r\x1C\r").into_bytes()
}

fn connect(nodes: &Nodes, place: usize) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", mllp_port(nodes, place))).expect("the port is open");
    stream.set_read_timeout(Some(10 * SECOND)).expect("not zero");
    stream
}

/// Everything that comes until the other side ends the stream.
fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    stream
        .read_to_end(&mut bytes)
        .expect("the node ends the stream in order");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn senders_that_end_their_side_or_speak_no_mllp_get_what_they_are_owed() {
    let _machine = Machine::take("ends of MLLP connections", 60 * SECOND);
    for driver in ["io-uring", "epoll"] {
        let mut plan = five();
        driver.clone_into(&mut plan.driver);
        let nodes = match std::panic::catch_unwind(|| Nodes::start(plan)) {
            Ok(nodes) => nodes,
            // Where the host allows no io_uring there is one driver to look at.
            Err(_) if driver == "io-uring" => continue,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        for place in 0..nodes.len() {
            // As netcat does with a file: all at once, then the end of its side; byte by byte in the second round.
            let mut stream = connect(&nodes, place);
            for id in ["1", "2"] {
                stream
                    .write_all(&admit(&format!("{id}-{place}")))
                    .expect("the node reads");
            }
            stream.shutdown(Shutdown::Write).expect("it is open");
            let said = rest(&mut stream);
            assert!(said.contains(&format!("MSA|AA|1-{place}\r")), "{said:?}");
            assert!(said.contains(&format!("MSA|AA|2-{place}\r")), "{said:?}");

            let mut stream = connect(&nodes, place);
            stream.set_nodelay(true).expect("a TCP socket");
            let message = admit(&format!("3-{place}"));
            // The last byte never comes: the end of the stream stands for it.
            for byte in &message[..message.len() - 1] {
                stream.write_all(&[*byte]).expect("the node reads");
            }
            stream.shutdown(Shutdown::Write).expect("it is open");
            let said = rest(&mut stream);
            assert!(said.contains(&format!("MSA|AA|3-{place}\r")), "{said:?}");
        }

        let mut stream = connect(&nodes, 0);
        stream
            .write_all(b"\x0BMSH|^~\\&|A|H|B|G|2024||ADT^A01|4|P|2.5\rPID|1\r\x1C\r")
            .expect("the node reads");
        stream.shutdown(Shutdown::Write).expect("it is open");
        let said = rest(&mut stream);
        assert!(said.contains("MSA|AR|4|"), "no key: {said:?}");

        let mut stream = connect(&nodes, 0);
        // The node may close before all of it is written.
        drop(stream.write_all(&vec![b'G'; 100_000]));
        drop(stream.read_to_end(&mut Vec::new()));
        // Counters are told with the next tick.
        eventually("all of it is counted", 5 * SECOND, || {
            let counted = ["mllp_not_mllp", "mllp_rejected", "mllp_accepted"].map(|name| nodes.counter(0, name));
            (counted == [1, 1, 3]).then_some(())
        });
        nodes.stop();
    }
}
