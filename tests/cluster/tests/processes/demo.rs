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

/// One row of the demo's `memory_samples`.
#[derive(Clone, Copy, Debug)]
struct Memory {
    at_s: f64,
    resident: u64,
    logs: u64,
    acked: u64,
}

fn memory(object: &Value) -> Vec<Memory> {
    let rows = object["memory_samples"].as_array().expect("samples");
    let row = |row: &Value| Memory {
        at_s: row["at_s"].as_f64().expect("a time"),
        resident: number(row, "resident_bytes"),
        logs: number(row, "log_bytes"),
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
    println!("{acked} acked: logs grew by {logs} bytes, the process by {resident}");
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
