//! The command that measures other systems beside Waterpark: that it measures what the host has, names what it has not, and leaves nothing behind,
//! however it ends.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Machine, binary, children, eventually, type_in};

/// Each ends well before.
const LIMIT: Duration = Duration::from_secs(240);
/// The peer that is quick to start.
const PROGRAM: &str = "redis-server";

/// Whether the peer is installed; if it is not, says that the test is skipped.
fn is_installed() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(PROGRAM).is_file());
    if !found {
        eprintln!("skipped: no {PROGRAM}");
    }
    found
}

#[test]
fn a_peer_is_measured_on_the_same_work_and_all_that_it_acked_is_read_back() {
    if !is_installed() {
        return;
    }
    let _machine = Machine::take("a peer beside waterpark", LIMIT);
    let load = ["--for", "500ms", "--repeats", "1", "--actors", "1000", "--json"];
    let said = type_in(&[&["bench", "peers", "--only", "redis"][..], &load[..]].concat());
    let object = said.json();
    assert_eq!(object["schema"], "waterpark.bench_peers.1");
    let figures = object["figures"].as_array().expect("a list");
    assert_eq!(figures.len(), 4, "{figures:?}");
    for figure in figures {
        let (target, result) = (figure["target"].as_f64(), figure["result"].as_f64());
        let reaches = match figure["bound"].as_str() {
            Some("at_least") => result >= target,
            Some("at_most") => result.is_some() && result <= target,
            _ => panic!("{figure}"),
        };
        let counts = figure["why"] == Value::Array(Vec::new());
        assert_eq!(figure["verdict"] == "met", reaches && counts, "{figure}");
    }
    let all_met = figures.iter().all(|figure| figure["verdict"] == "met");
    assert_eq!(said.code, if all_met { 0 } else { 10 }, "{}", said.all());
    assert_eq!(said.stderr.contains("WP-8016"), !all_met, "{}", said.all());

    let peer = &object["peers"][0];
    assert_eq!((&peer["name"], &peer["class"]), (&"redis".into(), &"ram".into()));
    let round = &peer["rounds"][0];
    let (peak, half) = (&round["peak"], &round["half"]);
    for stretch in [peak, half, &round["waterpark_peak"], &round["waterpark_beside_half"]] {
        let number = |name: &str| stretch[name].as_f64().expect("a number");
        assert!(
            number("acked_per_s") > 100.0 && number("cpu_ns_per_msg") > 100.0,
            "{stretch}"
        );
        assert!(
            stretch["ack_us"]["p50"].as_u64() <= stretch["ack_us"]["p999"].as_u64(),
            "{stretch}"
        );
    }
    let rate = half["rate_per_s"].as_f64().expect("an open loop has a rate");
    assert!(
        (rate * 2.0 - peak["acked_per_s"].as_f64().expect("a number")).abs() < 1.0,
        "{half}"
    );
    assert_eq!(round["waterpark_beside_half"]["rate_per_s"].as_f64(), Some(rate));
    let read_back = &round["read_back"];
    assert!(read_back["looked_for"].as_u64() > Some(1_000), "{read_back}");
    for none in ["lost", "duplicated", "foreign", "unreadable"] {
        assert_eq!(read_back[none], 0, "{read_back}");
    }
    let copies = read_back["entries_read"].as_u64().expect("a number");
    assert!(
        copies >= 3 * read_back["looked_for"].as_u64().expect("a number"),
        "{read_back}"
    );
}

#[test]
fn what_is_not_installed_is_named_and_skipped() {
    let folder = tempfile::TempDir::with_prefix("waterpark-test-").expect("a folder");
    for further in ["/usr/local/bin", "/usr/local/sbin", "/usr/sbin"] {
        if Path::new(further).join(PROGRAM).is_file() {
            eprintln!("skipped: {PROGRAM} is where it is found without PATH");
            return;
        }
    }
    let output = Command::new(binary())
        .args(["bench", "peers", "--only", "redis", "--json"])
        .env("PATH", folder.path())
        .output()
        .expect("the command can be started");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("redis: skipped: there is no redis-server; install redis-server"),
        "{stderr}"
    );
    assert!(stderr.contains("WP-8017"), "{stderr}");
    let object: Value = serde_json::from_slice(&output.stdout).expect("an object");
    assert_eq!(object["absent"][0]["lacks"][0], PROGRAM);
    assert_eq!(object["peers"], Value::Array(Vec::new()));
    for none in ["", "oracle", "redis,,nats"] {
        type_in(&["bench", "peers", "--only", none]).ends(2);
    }
    type_in(&["bench", "peers", "--for", "1ms"]).ends(2);
}

/// A command that measures, and the servers of the peer that it has started, once they are there.
fn measuring(folder: &Path) -> (Child, BTreeSet<u32>) {
    let mut child = Command::new(binary())
        .args([
            "bench", "peers", "--only", "redis", "--for", "500ms", "--actors", "100", "--json",
        ])
        .env("TMPDIR", folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command can be started");
    let mut lines = BufReader::new(child.stderr.take().expect("it was asked for")).lines();
    // Waterpark's own settings come first: the peer is there after them.
    let starts = lines
        .by_ref()
        .map_while(Result::ok)
        .any(|line| line == "redis: starting");
    assert!(starts, "it comes to the peer");
    // Whoever writes to a pipe that nobody reads would end by that.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    let id = Pid::from_child(&child);
    let servers = eventually("five servers", Duration::from_secs(60), || {
        let found: BTreeSet<u32> = children(id).into_iter().filter(|id| is_server(*id)).collect();
        (found.len() == 5).then_some(found)
    });
    (child, servers)
}

fn is_server(id: u32) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
    name.trim_end() == PROGRAM
}

#[test]
fn an_interrupted_comparison_leaves_no_server_and_no_folder() {
    if !is_installed() {
        return;
    }
    let _machine = Machine::take("a peer, interrupted", LIMIT);
    let folder = tempfile::TempDir::with_prefix("waterpark-test-").expect("a folder");
    let (child, servers) = measuring(folder.path());
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(10));
    assert!(!servers.into_iter().any(is_server), "a server is left");
    let left: Vec<_> = std::fs::read_dir(folder.path()).expect("it is there").collect();
    assert!(left.is_empty(), "{left:?}");
    let object: Value = serde_json::from_slice(&output.stdout).expect("an object");
    assert!(
        object["peers"][0]["why"]
            .to_string()
            .contains("ended before it was measured"),
        "{object}"
    );
}

#[test]
fn servers_end_with_a_command_that_is_killed() {
    if !is_installed() {
        return;
    }
    let _machine = Machine::take("a peer, killed", LIMIT);
    let folder = tempfile::TempDir::with_prefix("waterpark-test-").expect("a folder");
    let (mut child, servers) = measuring(folder.path());
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    eventually("no server", Duration::from_secs(10), || {
        (!servers.iter().any(|id| is_server(*id))).then_some(())
    });
}
