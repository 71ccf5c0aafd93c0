//! The demo as people run it: 32 nodes, a feed over MLLP, its figures, its ends.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Machine, binary};

const SECOND: Duration = Duration::from_secs(1);

/// What a demo says at its end, and its exit code.
fn demo(arguments: &[&str]) -> (Value, Option<i32>, String) {
    let output = Command::new(binary())
        .arg("demo")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let object = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (object, output.status.code(), stderr)
}

fn number(object: &Value, name: &str) -> u64 {
    object[name]
        .as_u64()
        .unwrap_or_else(|| panic!("no number {name} in {object}"))
}

#[test]
fn thirty_two_nodes_ack_a_feed_and_hold_all_of_it_on_both_drivers() {
    let _machine = Machine::take("the demo", 120 * SECOND);
    for driver in ["auto", "epoll"] {
        let (object, code, stderr) = demo(&["--for", "4s", "--rate", "100", "--driver", driver, "--json"]);
        assert_eq!(code, Some(0), "{object} {stderr}");
        assert_eq!(number(&object, "nodes"), 32);
        assert!(number(&object, "sent") >= 300, "{object}");
        assert_eq!(number(&object, "acked"), number(&object, "sent"));
        for none in ["refused", "unknown", "lost", "duplicated"] {
            assert_eq!(number(&object, none), 0, "{none}");
        }
        if driver == "epoll" {
            assert_eq!(object["driver"], "epoll");
        }
        assert!(number(&object, "memory_bytes") > 0);
        let quantile = |of: &str, which: &str| object[of][which].as_u64().unwrap_or(0);
        assert!(quantile("ack_us", "p50") <= quantile("ack_us", "p99"));
        // Data centres lie apart: no ack can come faster than the nearest other one answers.
        assert!(quantile("ack_us_writers_dc", "p50") >= 18_000, "{object}");
        assert!(
            quantile("ack_us_other_dc", "p50") > quantile("ack_us_writers_dc", "p50"),
            "{object}"
        );
    }
}

#[test]
fn a_node_that_is_killed_and_comes_back_costs_patients_a_moment_and_nothing_else() {
    let _machine = Machine::take("a killed node of the demo", 120 * SECOND);
    let (object, code, stderr) = demo(&[
        "--for",
        "16s",
        // So many that some patient of the groups of the node has something to say in any tenth of a second.
        "--rate",
        "1500",
        "--json",
        "--fault",
        "4s:kill:FL-A-1",
        "--fault",
        "11s:restore:FL-A-1",
    ]);
    assert_eq!(code, Some(0), "{object} {stderr}");
    assert_eq!(number(&object, "acked"), number(&object, "sent"), "{object}");
    for none in ["refused", "unknown", "lost", "duplicated"] {
        assert_eq!(number(&object, none), 0, "{none} in {object}");
    }
    let failures = object["failures"].as_array().expect("failures");
    let [failure] = failures.as_slice() else {
        panic!("one was made: {object}");
    };
    assert_eq!(failure["what"], "kill FL-A-1");
    // Each of the 32 nodes writes about as many of the groups, a few more or less while they move.
    let groups = number(failure, "groups");
    assert!((16..=64).contains(&groups), "{failure}");
    assert!(
        number(failure, "groups_back") == groups,
        "all are written elsewhere: {failure}"
    );
    assert!(number(failure, "patients") > 0, "{failure}");
    let unavailable = |which: &str| failure["unavailability_us"][which].as_u64().expect("a time");
    let (median, worst) = (unavailable("median"), unavailable("worst"));
    // A killed node is seen by its closed sockets; nobody waits for a restart, which came seven seconds later.
    assert!(50_000 <= median && median <= worst && worst < 7_000_000, "{failure}");
    assert!(
        failure["copies_back_s"].as_f64().is_some_and(|after| after < 7.0),
        "{failure}"
    );
}

#[test]
fn a_lost_data_centre_a_cut_node_and_a_drained_one_lose_nothing_and_double_nothing() {
    let _machine = Machine::take("a lost data centre of the demo", 120 * SECOND);
    let (object, code, stderr) = demo(&[
        "--for",
        "20s",
        "--json",
        "--fault",
        "3s:lose:UT",
        "--fault",
        "10s:drain:TN-A-2",
        "--fault",
        "12s:cut:TX-B-3",
        "--fault",
        "14s:restore:UT",
        "--fault",
        "16s:restore:TX-B-3",
    ]);
    assert_eq!(code, Some(0), "{object} {stderr}");
    assert_eq!(number(&object, "acked"), number(&object, "sent"), "{object}");
    for none in ["lost", "duplicated"] {
        assert_eq!(number(&object, none), 0, "{none} in {object}");
    }
    let what: Vec<&str> = (object["failures"].as_array().expect("failures").iter())
        .filter_map(|failure| failure["what"].as_str())
        .collect();
    assert_eq!(what, ["lose UT", "drain TN-A-2", "cut TX-B-3"]);
}

#[test]
fn what_would_cost_acked_messages_is_not_done_and_fails_the_drill() {
    let _machine = Machine::take("the demo's limits", 60 * SECOND);
    let (object, code, _) = demo(&[
        "--for",
        "5s",
        "--json",
        "--fault",
        "2s:lose:UT",
        "--fault",
        "2s:lose:TX",
    ]);
    assert_eq!(code, Some(1), "{object}");
    let faults = object["faults"].as_array().expect("faults");
    let said = faults.iter().filter_map(serde_json::Value::as_str).collect::<String>();
    assert!(said.contains("--fault 2s:lose:TX: lose TX is not done"), "{object}");
    assert_eq!(
        (number(&object, "lost"), number(&object, "duplicated")),
        (0, 0),
        "{object}"
    );
}

/// One row of the demo's `memory_samples`.
#[derive(Clone, Copy, Debug)]
struct Memory {
    at_s: f64,
    resident: u64,
    logs: u64,
    /// Beside logs: what nodes and the feed say that they keep, but for free parts of pools and receive buffers.
    kept: u64,
    /// What nobody tells.
    rest: u64,
    acked: u64,
}

fn memory(object: &Value) -> Vec<Memory> {
    let rows = object["memory_samples"].as_array().expect("samples");
    let row = |row: &Value| Memory {
        at_s: row["at_s"].as_f64().expect("a time"),
        resident: number(row, "resident_bytes"),
        logs: number(row, "log_bytes"),
        kept: ["actors", "states", "lanes", "groups", "links", "clients"]
            .iter()
            .map(|part| number(&row["nodes_bytes"], part))
            .sum::<u64>()
            + number(row, "feed_bytes"),
        rest: number(row, "rest_bytes"),
        acked: number(row, "acked"),
    };
    rows.iter().map(row).collect()
}

/// The same for an hour is run by hand.
#[test]
fn a_minute_of_it_loses_nothing_and_its_memory_grows_with_what_was_acked_and_little_else() {
    /// Connections are up then, and buffers have met their first long messages.
    const WARM_S: f64 = 20.0;
    /// Five copies of 4 KB, in chunks that are half empty at worst.
    const LOG_BYTES_PER_ACK: u64 = 42 << 10;
    /// Everything else: tables of groups that get their first actor, patients, buffers that met a longer message, the feed's own books.
    const SLACK: u64 = 80 << 20;
    /// What nodes and the feed say that they keep for a message: fingerprints in five copies, rows of patients and lanes, a place in the
    /// feed's ledger.
    const KEPT_PER_ACK: u64 = 1 << 10;
    /// Long messages that are just under way: the room that they take is given back.
    const UNDER_WAY: u64 = 12 << 20;
    let _machine = Machine::take("a minute of the demo", 120 * SECOND);
    let (object, code, stderr) = demo(&["--for", "60s", "--json"]);
    assert_eq!(code, Some(0), "{object} {stderr}");
    assert_eq!(number(&object, "nodes"), 32);
    assert_eq!(number(&object, "acked"), number(&object, "sent"));
    for none in ["refused", "unknown", "lost", "duplicated"] {
        assert_eq!(number(&object, none), 0, "{none}");
    }

    let samples = memory(&object);
    let warm = *samples.iter().find(|row| row.at_s >= WARM_S).expect("it ran longer");
    let last = *samples.last().expect("at least that one");
    assert!(
        last.at_s >= 55.0 && samples.len() >= 40,
        "{last:?} of {}",
        samples.len()
    );
    // About 7,800 are planned in that time. A feed that hardly ran would say nothing of memory.
    let acked = last.acked - warm.acked;
    assert!(acked >= 6_000, "{warm:?} {last:?}");
    let (logs, resident) = (last.logs - warm.logs, last.resident.saturating_sub(warm.resident));
    let (kept, rest) = (last.kept.saturating_sub(warm.kept), last.rest.saturating_sub(warm.rest));
    println!("{acked} acked: logs grew by {logs} bytes, the process by {resident}; kept {kept}, rest {rest}");
    assert!(warm.kept > 0 && warm.rest > 0, "parts are told: {warm:?}");
    assert!(
        kept <= acked * KEPT_PER_ACK + UNDER_WAY,
        "{kept} beside logs for {acked} acked: {warm:?} {last:?}"
    );
    assert!(logs <= acked * LOG_BYTES_PER_ACK, "{logs} of logs for {acked} acked");
    assert!(
        resident <= logs + SLACK,
        "{resident} for {logs} of logs: {warm:?} {last:?}"
    );
}

#[test]
fn links_take_the_time_that_they_are_told_to() {
    let _machine = Machine::take("the demo's links", 60 * SECOND);
    let trips: Vec<String> = ["FL-TN", "FL-TX", "FL-UT", "TN-TX", "TN-UT", "TX-UT"]
        .iter()
        .map(|pair| format!("--round-trip={pair}=80ms"))
        .collect();
    let mut arguments = vec!["--for", "3s", "--rate", "50", "--jitter", "0ms", "--json"];
    arguments.extend(trips.iter().map(String::as_str));
    let (object, code, stderr) = demo(&arguments);
    assert_eq!(code, Some(0), "{object} {stderr}");
    let p50 = object["ack_us_writers_dc"]["p50"].as_u64().unwrap_or(0);
    assert!(p50 >= 80_000, "a quorum is a round trip away: {object}");
}

#[test]
fn an_interrupt_ends_it_in_order_with_a_summary_and_leaves_no_folder() {
    let _machine = Machine::take("the demo's end", 60 * SECOND);
    let folder = tempfile::tempdir().expect("a folder for its folder");
    let child = Command::new(binary())
        .args(["demo", "--for", "60s"])
        .env("TMPDIR", folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    std::thread::sleep(6 * SECOND);
    let inside = std::fs::read_dir(folder.path()).expect("it is there").count();
    assert_eq!(inside, 1, "its folder");
    let begun = Instant::now();
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process id");
    kill_process(pid, Signal::INT).expect("it runs");
    let output = child.wait_with_output().expect("it ends");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    assert!(begun.elapsed() < 20 * SECOND);
    assert!(stdout.contains("read back"), "{stdout}");
    assert!(stdout.contains("everything acked is held"), "{stdout}");
    let inside = std::fs::read_dir(folder.path()).expect("it is there").count();
    assert_eq!(inside, 0, "nothing is left");
}

#[test]
fn what_cannot_be_run_is_refused_with_what_to_do() {
    let _machine = Machine::take("the demo's refusals", 30 * SECOND);
    for (arguments, said) in [
        (&["--rate", "0"][..], "--rate is from 0.1"),
        (&["--loss", "99"], "--loss is from 0 to 30"),
        (&["--memory", "1MiB"], "--memory is at least"),
        (&["--round-trip", "FL-NY=3ms"], "--round-trip FL-NY=3ms is none"),
        (&["--hl7", "/nowhere/at/all"], "/nowhere/at/all"),
        (&["--fault", "8s:explode:FL-A-1"], "`explode` is none"),
        (&["--fault", "8s:kill:FL-Z-9"], "neither a node nor a data centre"),
        (
            &["--for", "5s", "--fault", "8s:kill:FL-A-1"],
            "after the end of the feed",
        ),
    ] {
        let (_, code, stderr) = demo(arguments);
        assert!(matches!(code, Some(1 | 2)), "{arguments:?}: {code:?}");
        assert!(
            stderr.starts_with("error[WP-") && stderr.contains(said),
            "{arguments:?}: {stderr}"
        );
        assert!(stderr.contains("help"), "{stderr}");
    }
}
