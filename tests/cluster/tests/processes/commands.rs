//! What people type: messages into a cluster over MLLP by the command, and out again by key, by seq, by member and as figures of the whole.
//!
//! Only stdout, stderr and exit codes are looked at. **Invariant:** what a command says about a cluster is compared with what the test did to
//! it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Machine, Nodes, Said, eventually, five, type_in, type_with};

const SECOND: Duration = Duration::from_secs(1);
const KEY: &str = "patient/1001,facility=HOSPX";

/// A cluster, and a folder with files to send.
struct World {
    nodes: Nodes,
    config: String,
    folder: tempfile::TempDir,
}

impl World {
    fn start() -> World {
        let nodes = Nodes::start(five());
        World {
            config: nodes.config_path().display().to_string(),
            nodes,
            folder: tempfile::TempDir::new().expect("a temporary folder"),
        }
    }

    fn mllp(&self, place: usize) -> String {
        format!("127.0.0.1:{}", self.nodes.config.nodes[place].ports().mllp())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path: PathBuf = self.folder.path().join(name);
        std::fs::write(&path, bytes).expect("the folder is ours");
        path.display().to_string()
    }

    /// A command on data of this cluster.
    fn ask(&self, arguments: &[&str]) -> Said {
        let mut all = arguments.to_vec();
        all.extend(["--config", &self.config]);
        type_in(&all)
    }
}

/// An admission with a byte that is no UTF-8 in its name, and a segment that no standard knows.
fn admit() -> Vec<u8> {
    b"MSH|^~\\&|ADT1|HOSPX|WP|DC|20240101120000||ADT^A01^ADT_A01|M-1|P|2.5.1\rPID|1||1001^^^HOSPX^MR~77||TEST^M\xFCller\r\
      PV1|1|I|W1^101^A\rZPD|x||y\r"
        .to_vec()
}

/// A result with control bytes in its text, over two lines.
fn result() -> Vec<u8> {
    b"MSH|^~\\&|LAB|HOSPX|WP|DC|20240101130000||ORU^R01|M-2|P|2.5.1\rPID|1||1001\rOBX|1|TX|N||two\nlines \x1b[31mred||||||F\r"
        .to_vec()
}

#[track_caller]
fn assert_no_control_bytes(said: &Said) {
    let stray = said
        .stdout
        .iter()
        .chain(said.stderr.as_bytes())
        .find(|byte| **byte < b' ' && **byte != b'\n');
    assert_eq!(stray, None, "{}", said.all());
}

/// The seqs of a history as rows.
fn seqs(history: &Value) -> Vec<u64> {
    let entries = history["entries"].as_array().expect("a list");
    entries
        .iter()
        .map(|entry| entry["seq"].as_u64().expect("a number"))
        .collect()
}

#[test]
fn what_is_sent_over_mllp_is_read_back_by_name_by_seq_and_byte_for_byte() {
    let _machine = Machine::take("send over MLLP and read", 90 * SECOND);
    let world = World::start();
    let (a, b) = (world.file("a.hl7", &admit()), world.file("b.hl7", &result()));

    let said = type_in(&["send", "--mllp", &world.mllp(1), &a, &b]).ends(0);
    let lines: Vec<&str> = said.text().lines().collect();
    assert!(
        lines[0].contains("a.hl7: AA M-1 (") && lines[1].contains("b.hl7: AA M-2 ("),
        "{}",
        said.all()
    );
    // Through another node, from stdin: recognised, and not stored again.
    type_with(&["send", "--mllp", &world.mllp(4)], &admit()).ends(0);

    let said = world.ask(&["actor", "history", KEY]).ends(0);
    let lines: Vec<&str> = said.text().lines().collect();
    assert_eq!(lines.len(), 3, "{}", said.all());
    assert!(
        lines[1].contains("ADT^A01  M-1") && lines[2].contains("ORU^R01  M-2"),
        "{}",
        said.all()
    );
    assert!(lines[2].ends_with(&result().len().to_string()), "{}", said.all());

    let said = world.ask(&["actor", "history", KEY, "--segments"]).ends(0);
    assert_no_control_bytes(&said);
    for row in [
        "PID-5   name                   TEST^M\\XFC\\ller",
        "  ZPD-3                          y",
        "two\\X0A\\lines \\X1B\\[31mred",
    ] {
        assert!(said.text().contains(row), "{row}: {}", said.all());
    }
    // Every value begins in one column, whatever bytes stand in it.
    let column = |value: &str| {
        let line = said
            .text()
            .lines()
            .find(|line| line.ends_with(value))
            .expect("it is shown");
        line.len() - value.len()
    };
    for value in ["TEST^M\\XFC\\ller", "W1^101^A", "77"] {
        assert_eq!(column(value), column("1001^^^HOSPX^MR"), "{}", said.all());
    }

    let history = world.ask(&["actor", "history", KEY, "--json"]).ends(0).json();
    assert_eq!(history["schema"], "waterpark.actor_history.1");
    assert_eq!((&history["complete"], &history["older"]), (&true.into(), &false.into()));
    let [first, second] = seqs(&history)[..] else {
        panic!("{history}")
    };
    assert!(history["entries"][0]["message"]["base64"].is_string(), "{history}");
    let message = String::from_utf8(result()).expect("it is ASCII");
    assert_eq!(history["entries"][1]["message"]["text"], message);
    assert_eq!(history["entries"][1]["hl7"]["type"], "ORU^R01");
    let fields = &history["entries"][1]["hl7"]["segments"][2]["fields"];
    assert_eq!((&fields[3]["number"], &fields[3]["name"]), (&5.into(), &"value".into()));

    // One entry: its fields, and its bytes.
    let said = world
        .ask(&["actor", "history", KEY, "--seq", &second.to_string()])
        .ends(0);
    assert!(
        said.text().contains("OBX-5") && !said.text().contains("PV1-3"),
        "{}",
        said.all()
    );
    for (seq, bytes) in [(first, admit()), (second, result())] {
        let said = world
            .ask(&["actor", "history", KEY, "--raw", "--seq", &seq.to_string()])
            .ends(0);
        assert_eq!(said.stdout, bytes);
    }
    let said = world.ask(&["actor", "history", KEY, "--seq", "4000000"]).ends(1);
    assert!(
        said.stderr.contains("WP-1716") && said.stdout.is_empty(),
        "{}",
        said.all()
    );

    // Several are framed, so that the same command takes them again.
    let framed = world.ask(&["actor", "history", KEY, "--raw"]).ends(0).stdout;
    assert_eq!(framed.len(), admit().len() + result().len() + 6);
    let said = type_with(&["send", "--mllp", &world.mllp(0), "--json", "-"], &framed)
        .ends(0)
        .json();
    assert_eq!(
        (&said["accepted"], &said["complete"]),
        (&2.into(), &true.into()),
        "{said}"
    );
    assert_eq!(said["messages"][1]["control_id"]["text"], "M-2");
    assert_eq!(
        seqs(&world.ask(&["actor", "history", KEY, "--json"]).ends(0).json()),
        [first, second]
    );
    world.nodes.stop();
}

#[test]
fn a_history_longer_than_one_answer_is_whole_and_in_order() {
    let _machine = Machine::take("a long history", 90 * SECOND);
    let world = World::start();
    // 300 messages of 4 KB are five answers of a node.
    let mut batch = Vec::new();
    for number in 0..300 {
        let text = "x".repeat(4_000);
        batch.extend_from_slice(
            format!("MSH|^~\\&|LAB|HOSPX|||1||ORU^R01|N-{number}|P|2.5\rPID|1||1001\rOBX|1|TX|N||{text}\r").as_bytes(),
        );
    }
    let said = type_with(&["send", "--mllp", &world.mllp(2), "--json"], &batch)
        .ends(0)
        .json();
    assert_eq!(said["accepted"], 300);
    let history = world
        .ask(&["actor", "history", KEY, "--json", "--last", "1000"])
        .ends(0)
        .json();
    let ids = history["entries"].as_array().expect("a list").iter();
    let ids: Vec<&str> = ids
        .map(|entry| entry["hl7"]["control_id"]["text"].as_str().expect("text"))
        .collect();
    let sent: Vec<String> = (0..300).map(|number| format!("N-{number}")).collect();
    assert_eq!(ids, sent);
    assert_eq!(history["older"], false);
    let said = world.ask(&["actor", "history", KEY, "--last", "299"]).ends(0);
    assert!(said.stderr.contains("older entries exist"), "{}", said.stderr);
    assert_eq!(said.text().lines().count(), 300, "a line of titles, and 299 entries");
    world.nodes.stop();
}

#[test]
fn where_and_status_say_what_runs_and_what_is_gone() {
    let _machine = Machine::take("where and status", 90 * SECOND);
    let mut world = World::start();
    let files = [world.file("a.hl7", &admit()), world.file("b.hl7", &result())];
    type_in(&["send", "--mllp", &world.mllp(0), &files[0], &files[1]]).ends(0);

    let held = eventually("all members hold the last entry", 10 * SECOND, || {
        let told = world.ask(&["actor", "where", KEY, "--json"]).ends(0).json();
        let members = told["members"].as_array().expect("a list").clone();
        let all = members
            .iter()
            .all(|member| member["last_seq"] == members[0]["last_seq"]);
        all.then_some(told)
    });
    let members = held["members"].as_array().expect("a list");
    assert_eq!(members.len(), 5);
    let roles: Vec<&Value> = members.iter().map(|member| &member["role"]).collect();
    assert_eq!(roles, ["writer", "follower", "follower", "follower", "follower"]);
    let mut places: Vec<String> = members
        .iter()
        .map(|member| format!("{}-{}", member["dc"], member["zone"]))
        .collect();
    places.sort();
    assert_eq!(
        places,
        [
            r#""FL"-"A""#,
            r#""FL"-"B""#,
            r#""TN"-"A""#,
            r#""TX"-"A""#,
            r#""UT"-"A""#
        ]
    );
    assert_eq!(held["writer"], members[0]["node"]);

    // Counters are published with the next tick.
    let told = eventually("status counts what came over MLLP", 10 * SECOND, || {
        let told = world.ask(&["status", "--json"]).ends(0).json();
        (told["totals"]["mllp_accepted"] != 0).then_some(told)
    });
    assert_eq!(told["schema"], "waterpark.status.1");
    assert_eq!(
        (&told["healthy"], &told["complete"], &told["faults"]),
        (&true.into(), &true.into(), &Value::Array(vec![]))
    );
    assert_eq!(
        (&told["groups"]["total"], &told["groups"]["five"]),
        (&64.into(), &64.into())
    );
    assert_eq!(
        (&told["totals"]["actors"], &told["totals"]["mllp_accepted"]),
        (&1.into(), &2.into())
    );
    assert_eq!(told["nodes"].as_array().map(Vec::len), Some(5));
    let written: u64 = told["nodes"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|node| node["groups_written"].as_u64())
        .sum();
    assert_eq!(written, 64);
    let said = world.ask(&["status"]).ends(0);
    assert!(
        said.text().contains("64 of 64 with 5 copies") && said.text().ends_with("healthy\n"),
        "{}",
        said.all()
    );

    // A node that is stopped: the others are shown, and it is named.
    let gone = world.nodes.name(4).to_owned();
    world.nodes.pause(4);
    let said = world.ask(&["status"]).ends(5);
    let line = said
        .text()
        .lines()
        .find(|line| line.starts_with(&gone))
        .expect("it has its line");
    assert!(line.contains("does not answer"), "{}", said.all());
    assert!(
        said.stderr.contains("WP-1736") && said.stderr.contains(&gone),
        "{}",
        said.all()
    );
    assert!(
        said.text().contains("0 of 64 with 5 copies"),
        "a copy that nobody can ask for is none: {}",
        said.all()
    );
    assert!(said.took < 9 * SECOND, "{:?}", said.took);
    let told = world.ask(&["actor", "where", KEY, "--json"]).ends(5).json();
    assert_eq!(
        (&told["complete"], &told["missing"][0]),
        (&false.into(), &gone.as_str().into())
    );
    world.nodes.resume(4);
    eventually("the cluster is well again", 10 * SECOND, || {
        (world.ask(&["status"]).code == 0).then_some(())
    });

    // A node that was killed and started anew: it answers, and holds nothing.
    world.nodes.restart(1);
    let anew = world.nodes.name(1).to_owned();
    let told = world.ask(&["status", "--json"]).ends(5).json();
    assert_eq!(told["healthy"], false);
    let faults = told["faults"].to_string();
    assert!(
        faults.contains(&format!("{anew} was started anew")) && faults.contains("lost"),
        "{faults}"
    );
    assert_eq!(told["groups"]["five"], 0, "{told}");

    for place in 0..world.nodes.len() {
        world.nodes.signal(place, rustix::process::Signal::KILL);
        world.nodes.wait(place, 5 * SECOND);
    }
    let said = world.ask(&["status", "--timeout", "2s"]).ends(4);
    assert!(
        said.stderr.contains("WP-2201") && said.stdout.is_empty(),
        "{}",
        said.all()
    );
}

/// A receiver that takes connections and does this with each, until the test's process ends.
fn receiver(serve: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    thread::spawn(move || listener.incoming().flatten().for_each(serve));
    address
}

fn read_some(stream: &mut TcpStream) {
    drop(stream.read(&mut [0; 1 << 16]));
}

#[test]
fn receivers_that_are_none_are_told_apart_and_nothing_is_sent_behind_them() {
    let _machine = Machine::take("bad MLLP receivers", 90 * SECOND);
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("the folder is ours");
        path.display().to_string()
    };
    let (a, b) = (write("a.hl7", &admit()), write("b.hl7", &result()));
    let send = |to: &str, more: &[&str]| type_in(&[&["send", "--mllp", to], more].concat());

    let nobody = {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        listener.local_addr().expect("it is bound").to_string()
    };
    let said = send(&nobody, &[&a, &b]).ends(4);
    assert!(
        said.stderr.contains("WP-5033") && said.stderr.contains("1 more files not read"),
        "{}",
        said.all()
    );
    assert!(said.took < 5 * SECOND, "{:?}", said.took);

    let said = send("no-such-host.invalid:7128", &[&a]).ends(4);
    assert!(said.stderr.contains("WP-5033"), "{}", said.all());
    let said = send("127.0.0.1", &[&a]).ends(2);
    assert!(said.stderr.contains("WP-1712"), "{}", said.all());

    let web = receiver(|mut stream| {
        read_some(&mut stream);
        drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"));
    });
    let said = send(&web, &[&a, &b]).ends(4);
    assert!(said.stderr.contains("WP-5034"), "{}", said.all());
    assert_eq!(
        said.text().lines().count(),
        1,
        "nothing behind it was sent: {}",
        said.all()
    );

    // One that greets and then listens for ever.
    let greeter = receiver(|mut stream| {
        drop(stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n"));
        thread::sleep(60 * SECOND);
    });
    send(&greeter, &[&a, "--timeout", "1s"]).ends(4);

    let silent = receiver(|stream| {
        thread::sleep(60 * SECOND);
        drop(stream);
    });
    let said = send(&silent, &[&a, &b, "--timeout", "1s"]).ends(6);
    assert!(said.stderr.contains("WP-5035"), "{}", said.all());
    assert!((SECOND..5 * SECOND).contains(&said.took), "{:?}", said.took);

    let hanging_up = receiver(|mut stream| read_some(&mut stream));
    let told = send(&hanging_up, &[&a, &b, "--json", "--attempts", "2"]).ends(6).json();
    assert_eq!(
        (&told["complete"], &told["files_behind"]),
        (&false.into(), &1.into()),
        "{told}"
    );
    assert_eq!(told["messages"][0]["attempts"], 2);

    // Refused for good, and refused for now: the first is said once, the second after it was tried again.
    let answer = |code: &'static str| {
        receiver(move |mut stream| {
            loop {
                let mut bytes = [0; 1 << 16];
                let Ok(length @ 1..) = stream.read(&mut bytes) else {
                    return;
                };
                let id = if String::from_utf8_lossy(&bytes[..length]).contains("|M-1|") {
                    "M-1"
                } else {
                    "M-2"
                };
                let answer =
                    format!("\x0bMSH|^~\\&|B|G|A|H|1||ACK|9|P|2.5\rMSA|{code}|{id}|not\x1b[2J this one\r\x1c\r");
                drop(stream.write_all(answer.as_bytes()));
            }
        })
    };
    let said = send(&answer("AR"), &[&a, &b]).ends(1);
    let lines: Vec<&str> = said.text().lines().collect();
    assert!(
        lines[0].contains("a.hl7: AR M-1: not\\X1B\\[2J this one ("),
        "{}",
        said.all()
    );
    assert!(lines[1].contains("b.hl7: AR M-2"), "{}", said.all());
    assert_no_control_bytes(&said);
    let told = send(&answer("AE"), &[&a, "--json"]).ends(1).json();
    assert_eq!(
        (&told["messages"][0]["code"], &told["messages"][0]["attempts"]),
        (&"AE".into(), &3.into()),
        "{told}"
    );
}

#[test]
fn files_that_are_no_hl7_and_ports_that_are_no_mllp_port_are_said() {
    let _machine = Machine::take("bad files for MLLP", 60 * SECOND);
    let world = World::start();
    let good = world.file("good.hl7", &admit());
    let bad = world.file("bad.txt", b"hello");
    let empty = world.file("empty.hl7", b"");
    let nobody = world.file("nobody.hl7", b"MSH|^~\\&|A|H|||1||ADT^A01|X|P|2.5\rPID|1\r");
    let said = type_in(&["send", "--mllp", &world.mllp(0), &bad, &empty, &nobody, &good]).ends(1);
    let lines: Vec<&str> = said.text().lines().collect();
    assert!(
        lines[0].contains("bad.txt: WP-5012: not sent") && lines[1].contains("WP-5011"),
        "{}",
        said.all()
    );
    assert!(
        lines[2].contains("nobody.hl7: AR X: ") && lines[3].contains("good.hl7: AA M-1"),
        "{}",
        said.all()
    );
    assert!(
        said.stderr
            .contains("1 accepted, 1 refused, 0 not answered, 2 not sent"),
        "{}",
        said.all()
    );

    let missing = Path::new(&good).with_file_name("missing.hl7").display().to_string();
    let said = type_in(&["send", "--mllp", &world.mllp(0), &missing, &good]).ends(1);
    assert!(said.stderr.contains("WP-1721"), "{}", said.all());

    // The ports of the same node for clients and for peers.
    let ports = world.nodes.config.nodes[0].ports();
    for port in [ports.native(0), ports.peer(0)] {
        let said = type_in(&["send", "--mllp", &format!("127.0.0.1:{port}"), &good]).ends(4);
        assert!(said.stderr.contains("WP-5034"), "{port}: {}", said.all());
        assert!(said.took < 9 * SECOND, "{:?}", said.took);
    }
    let said = type_in(&["send", "--mllp", &world.mllp(0), "--config", &world.config, &good]).ends(2);
    assert!(said.stderr.contains("WP-1701"), "{}", said.all());
    world.nodes.stop();
}
