//! The command that measures what failures cost: here only that it kills or cuts off, reads back and says what it found.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Machine, Said, type_in};

/// Everything has an end well before: the start, one fault, the copies, and reading back.
const LIMIT: Duration = Duration::from_secs(240);
/// A killed writer may cost this on a machine that does other things besides; what it should cost, the bench says.
const UNAVAILABLE_MAX_MS: f64 = 15_000.0;

/// Runs one scenario once, with few keys, and keeps it; its figures, in which everything acked is held once and every key was acked again.
fn once(scenario: &str, folder: &Path) -> Value {
    let folder = folder.display().to_string();
    let fault = ["bench", "failover", "--scenario", scenario, "--times", "1"];
    let load = ["--keys", "64", "--every", "50ms", "--save", &folder, "--json"];
    let report = type_in(&[&fault[..], &load[..]].concat()).ends(0).json();
    assert_eq!(report["schema"], "waterpark.bench_failover.3");
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

/// What happened, in order.
fn events(part: &Value) -> Vec<&str> {
    let events = part["events"].as_array().expect("a list").iter();
    events.map(|event| event["event"].as_str().expect("a word")).collect()
}

/// The only result in a folder: listed, compared with itself, and drawn with so many events on two axes of time.
fn is_listed_compared_and_drawn(folder: &Path, workload: &str, gate: &str, marks: usize) {
    let name = |path: &Path| path.display().to_string();
    let listed = type_in(&["bench", "ls", &name(folder), "--json"]).ends(0).json();
    assert_eq!(listed["complete"], true, "{listed}");
    assert_eq!(listed["results"][0]["workload"], workload, "{listed}");
    assert!(listed["results"][0]["p99_us"].as_u64() > Some(0), "{listed}");
    let compare = |gate: &str| -> Said {
        type_in(&[
            "bench",
            "compare",
            &name(folder),
            &name(folder),
            "--anyway",
            "--fail-on",
            gate,
        ])
    };
    let said = compare(gate).ends(0);
    assert!(said.text().contains("\npassed: "), "{}", said.all());
    let page = folder.join("page.html");
    type_in(&["bench", "report", &name(folder), "-o", &name(&page)]).ends(0);
    let page = fs::read_to_string(page).expect("it was written");
    assert_eq!(
        page.matches("class=\"mark").count(),
        2 * marks,
        "on both plots over time"
    );
    assert!(page.contains("<figcaption>Response over time"), "{page}");
}

#[test]
fn after_a_writer_was_killed_everything_acked_is_held_once_and_every_key_is_acked_again() {
    let _machine = Machine::take("bench failover", LIMIT);
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let figures = once("kill", folder.path());
    assert_eq!(events(&figures), ["kill", "start", "back", "whole"], "{figures:#}");
    is_listed_compared_and_drawn(folder.path(), "failover", "kill-unavailability-p99:+5%", 4);
}

#[test]
fn a_writer_that_is_cut_off_is_left_by_its_clients_and_every_key_is_acked_again_before_it_heals() {
    let _machine = Machine::take("bench failover, cut", LIMIT);
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let figures = once("cut", folder.path());
    assert_eq!(events(&figures), ["cut", "heal", "whole"], "{figures:#}");
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
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let save = folder.path().display().to_string();
    let fill = ["bench", "refill", "--fill", "4MiB", "--rate", "500", "--calm", "1s"];
    let said = type_in(&[&fill[..], &["--save", &save, "--json"]].concat());
    // A machine that does other things besides may be late with planned messages.
    assert!([0, 11].contains(&said.code), "{}", said.all());
    let report = said.json();
    assert_eq!(
        (&report["schema"], &report["complete"]),
        (&"waterpark.bench_refill.2".into(), &true.into())
    );
    assert_eq!(events(&report), ["kill", "whole"], "{report:#}");
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
    is_listed_compared_and_drawn(folder.path(), "refill", "copies-back-after:+5%", 2);
}
