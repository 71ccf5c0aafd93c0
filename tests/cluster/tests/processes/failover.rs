//! The command that measures what failures cost: here only that it kills or cuts off, reads back and says what it found.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Machine, binary};

/// Everything has an end well before: the start, one fault, the copies, and reading back.
const LIMIT: Duration = Duration::from_secs(240);
/// A killed writer may cost this on a machine that does other things besides; what it should cost, the bench says.
const UNAVAILABLE_MAX_MS: f64 = 15_000.0;

/// Runs one scenario once, with few keys; its figures, in which everything acked is held once and every key was acked again.
fn once(scenario: &str) -> Value {
    let output = Command::new(binary())
        .args(["bench", "failover", "--scenario", scenario, "--times", "1"])
        .args(["--keys", "64", "--every", "50ms", "--json"])
        .stdin(Stdio::null())
        .output()
        .expect("the command can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(output.status.code(), Some(0), "{report:#}\n{said}");
    assert_eq!(report["schema"], "waterpark.failover.1");
    let figures = report["scenarios"][0].clone();
    assert_eq!(
        (&figures["scenario"], &figures["times"]),
        (&scenario.into(), &1.into()),
        "{figures:#}"
    );
    for none in [
        "lost",
        "duplicated",
        "disordered",
        "refused_but_held",
        "differing",
        "failed",
        "never_again",
    ] {
        assert_eq!(figures[none], 0, "{none}: {figures:#}");
    }
    assert_eq!(figures["looked_for"], figures["acked"], "{figures:#}");
    let hit = &figures["unavailability_ms"];
    assert!(
        hit["count"].as_u64() > Some(0),
        "the victim wrote some of the keys: {figures:#}"
    );
    assert!(hit["max"].as_f64() < Some(UNAVAILABLE_MAX_MS), "{figures:#}");
    figures
}

#[test]
fn after_a_writer_was_killed_everything_acked_is_held_once_and_every_key_is_acked_again() {
    let _machine = Machine::take("bench failover", LIMIT);
    once("kill");
}

#[test]
fn a_writer_that_is_cut_off_is_left_by_its_clients_and_every_key_is_acked_again_before_it_heals() {
    let _machine = Machine::take("bench failover, cut", LIMIT);
    let figures = once("cut");
    // The cut is healed when every key was acked again, or after 20 s with a fault that says so. Nothing has ended and nothing was started, so
    // who was cut off is back in its old life.
    assert_eq!(figures["faults"], Value::Array(Vec::new()), "{figures:#}");
    assert_eq!(figures["unknown"], 0, "{figures:#}");
    assert!(
        figures["unavailability_ms"]["p50"].as_f64() > Some(0.0),
        "nothing was cut, or nobody noticed: {figures:#}"
    );
}

#[test]
fn the_copies_of_a_lost_node_come_back_beside_messages_and_everything_acked_is_held() {
    let _machine = Machine::take("bench refill", LIMIT);
    let output = Command::new(binary())
        .args([
            "bench", "refill", "--fill", "4MiB", "--rate", "500", "--calm", "1s", "--json",
        ])
        .stdin(Stdio::null())
        .output()
        .expect("the command can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    // A machine that does other things besides may be late with planned messages.
    assert!([Some(0), Some(5)].contains(&output.status.code()), "{report:#}\n{said}");
    assert_eq!(
        (&report["schema"], &report["complete"]),
        (&"waterpark.bench_refill.1".into(), &true.into())
    );
    for none in [
        "lost",
        "duplicated",
        "refused_but_held",
        "differing",
        "foreign",
        "unreadable",
        "unknown",
    ] {
        assert_eq!(report[none], 0, "{none}: {report:#}");
    }
    let figure = |name: &str| {
        let mut figures = report["figures"].as_array().expect("a list").iter();
        let found = figures
            .find(|figure| figure["figure"] == name)
            .unwrap_or_else(|| panic!("{name}: {report:#}"));
        found["result"].as_f64().expect("a number")
    };
    assert!(
        figure("lost with the node") >= 1.0 && figure("copies back after") > 0.1,
        "{report:#}"
    );
    assert!(
        figure("given per second") > 0.0 && report["looked_for"].as_u64() > Some(4_000),
        "{report:#}"
    );
}
