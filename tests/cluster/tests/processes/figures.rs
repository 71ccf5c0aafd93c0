//! The command that measures the twelve figures: here that it measures, judges and leaves nothing behind; what the figures should be, it says
//! itself.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Machine, Running, Said, children, type_in};

/// Each ends well before.
const LIMIT: Duration = Duration::from_secs(240);

/// The list that a command printed, each object with what every object has, and a verdict that follows from it.
fn list(said: &Said) -> Vec<Value> {
    let list = said.json().as_array().expect("a list").clone();
    for object in &list {
        assert_eq!(object["schema"], "waterpark.bench_figures.1", "{object}");
        assert!(object["unit"].is_string() && object["figure"].is_u64(), "{object}");
        let target = object["target"].as_f64().expect("a target");
        let reaches = object["result"]
            .as_f64()
            .is_some_and(|result| match object["bound"].as_str() {
                Some("at_least") => result >= target,
                Some("at_most") => result <= target,
                _ => panic!("{object}"),
            });
        let counts = object["why"].as_array().expect("a list").is_empty();
        let verdict = if reaches && counts { "met" } else { "missed" };
        assert_eq!(object["verdict"], verdict, "{object}");
    }
    let all_met = list.iter().all(|object| object["verdict"] == "met");
    assert_eq!(said.code, if all_met { 0 } else { 10 }, "{}", said.all());
    assert_eq!(said.stderr.contains("WP-8015"), !all_met, "{}", said.all());
    list
}

#[test]
fn placement_is_computed_as_often_as_asked_and_is_even() {
    let said = type_in(&["bench", "figures", "--only", "12", "--times", "2", "--json"]);
    let list = list(&said);
    assert_eq!(list.len(), 3, "{list:?}");
    for object in &list {
        assert_eq!(object["figure"], 12);
        assert_eq!(object["runs"].as_array().map(Vec::len), Some(2), "{object}");
    }
    // How long a look-up takes is the machine's; how groups lie is not.
    for object in &list[1..] {
        assert_eq!(object["verdict"], "met", "{object}");
    }
    let page = type_in(&["bench", "figures", "--only", "12", "--times", "1"]);
    assert_eq!(page.text().lines().count(), 4, "{}", page.all());
    for none in ["0", "13", "x", "1,,2"] {
        type_in(&["bench", "figures", "--only", none]).ends(2);
    }
    type_in(&["bench", "figures", "--for", "1ms"]).ends(2);
}

#[test]
fn a_hot_actor_is_measured_on_processes_and_only_what_was_asked_for_is_told() {
    let _machine = Machine::take("figures of a hot actor", LIMIT);
    let load = ["--only", "6", "--for", "500ms", "--times", "1"];
    let said = type_in(&[&["bench", "figures", "--json"][..], &load[..]].concat());
    let list = list(&said);
    assert_eq!(list.len(), 1, "{list:?}");
    assert_eq!(list[0]["why"], Value::Array(Vec::new()), "{}", said.all());
    assert!(list[0]["result"].as_f64() > Some(100.0), "{}", list[0]);
}

#[test]
fn an_interrupted_run_ends_soon_says_what_was_not_measured_and_leaves_no_process() {
    let _machine = Machine::take("figures, interrupted", LIMIT);
    let arguments = [
        "bench", "figures", "--only", "6", "--json", "--for", "6s", "--times", "9",
    ];
    let mut running = Running::start(&arguments);
    running.says("measuring");
    let nodes = children(running.id());
    assert_eq!(nodes.len(), 5, "it has five nodes: {nodes:?}");
    let begun = Instant::now();
    running.signal(Signal::INT);
    let said = running.end().ends(10);
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    let list = said.json();
    assert_eq!(
        (&list[0]["verdict"], &list[0]["result"]),
        (&"missed".into(), &Value::Null)
    );
    assert_eq!(list[0]["why"][0], "ended before it was measured");
    for node in nodes {
        let stat = std::fs::read_to_string(format!("/proc/{node}/cmdline")).unwrap_or_default();
        assert!(!stat.contains("--with-parent"), "{node} is left: {stat}");
    }
}
