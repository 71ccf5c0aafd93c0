//! An operator at a cluster with a topology log: what it says, why a key is where it is, a node drained and taken back.
//!
//! Only stdout, stderr and exit codes are looked at. **Invariant:** what a command says was done is looked for with another command.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use waterpark_bench::cluster::ClusterPlan;

use crate::support::{Machine, Nodes, binary, eventually, five};

const LIMIT: Duration = Duration::from_secs(180);
const KEY: &str = "patient/1001,facility=HOSPX";
const VICTIM: &str = "TN-A-1";

/// What the log says of a node.
fn row_of(nodes: &Nodes, name: &str) -> Value {
    let topology = nodes.topology_said();
    let mut rows = topology["nodes"].as_array().expect("a list").iter();
    rows.find(|row| row["node"] == name).expect("it has joined").clone()
}

/// Eight nodes without delays between them.
fn eight() -> ClusterPlan {
    ClusterPlan {
        groups: Some(64),
        round_trips: Vec::new(),
        ..ClusterPlan::eight(binary(), 128 << 20)
    }
}

#[test]
fn a_node_is_drained_and_taken_back_and_the_log_says_when_by_whom_and_why() {
    let _machine = Machine::take("topology", LIMIT);
    let nodes = Nodes::start(eight());
    nodes.ask(&["send", KEY, "before"]).ends(0);
    let written = row_of(&nodes, VICTIM)["writes"].as_u64().expect("a number");
    assert!(written > 0, "the ring gives every node groups to write");

    let drained = nodes.ask(&["node", "drain", VICTIM]).ends(0);
    assert!(drained.text().contains("TN-A-1 is drained"), "{}", drained.all());
    let node = row_of(&nodes, VICTIM);
    assert_eq!(
        (&node["presence"], &node["writes"], &node["follows"]),
        (&"draining".into(), &0.into(), &0.into())
    );
    let topology = nodes.topology_said();
    let history = topology["history"].as_array().expect("a list");
    let drains = history.iter().filter(|row| row["why"] == "a node drains").count() as u64;
    assert!(drains >= written, "{drains} of at least {written}");
    let word = history
        .iter()
        .find(|row| row["what"] == "node" && row["presence"] == "draining");
    assert_eq!(word.expect("it stands in the log")["node"], VICTIM);
    assert!(
        history
            .iter()
            .all(|row| row["at"].as_str().is_some_and(|at| at > "2026")),
        "each has its time"
    );
    nodes.ask(&["node", "drain", VICTIM]).ends(0);
    nodes.ask(&["send", KEY, "meanwhile"]).ends(0);

    nodes.ask(&["node", "undrain", VICTIM]).ends(0);
    eventually("the node writes as many groups as before", LIMIT, || {
        (row_of(&nodes, VICTIM)["writes"].as_u64() == Some(written)).then_some(())
    });
    let held = nodes.ask(&["actor", "history", KEY, "--json"]).ends(0).json();
    assert_eq!(held["entries"].as_array().map(Vec::len), Some(2), "{held:#}");

    let explained = nodes.ask(&["explain", KEY, "--json"]).ends(0).json();
    assert_eq!(
        (&explained["up"], &explained["may_fail"]),
        (&5.into(), &2.into()),
        "{explained:#}"
    );
    assert_eq!(explained["members"].as_array().map(Vec::len), Some(5), "{explained:#}");
    assert_eq!(explained["members"][0]["role"], "writer", "{explained:#}");
    let text = nodes.ask(&["explain", KEY]).ends(0);
    assert!(text.text().contains("any 2 more may fail"), "{}", text.all());

    let wrong = nodes.ask(&["node", "drain", "TN-A-2"]).ends(2);
    assert!(wrong.stderr.contains("did you mean `TN-A-1`?"), "{}", wrong.all());
}

#[test]
fn a_group_that_lost_three_of_five_refuses_until_it_is_recovered_and_then_has_what_the_others_held() {
    let _machine = Machine::take("recover", LIMIT);
    let mut nodes = Nodes::start(eight());
    nodes.ask(&["send", KEY, "before"]).ends(0);
    let held = nodes.ask(&["actor", "where", KEY, "--json"]).ends(0).json();
    let members: Vec<String> = (held["members"].as_array().expect("a list").iter())
        .map(|member| member["node"].as_str().expect("a name").to_owned())
        .collect();
    // The writer and two followers, at once, and at once again: each comes back with nothing.
    let victims: Vec<usize> = (0..nodes.len())
        .filter(|place| members[..3].iter().any(|name| name == nodes.name(*place)))
        .collect();
    for victim in &victims {
        nodes.signal(*victim, Signal::KILL);
    }
    for victim in &victims {
        assert_eq!(nodes.wait(*victim, LIMIT), None, "a signal ended it");
        nodes.start_again(*victim);
    }
    eventually("the group is known to be lost", LIMIT, || {
        let said = nodes.ask(&["send", KEY, "meanwhile"]);
        (said.code == 1 && said.stderr.contains("WP-3012")).then_some(())
    });
    let explained = nodes.ask(&["explain", KEY, "--json"]).json();
    assert_eq!(explained["lost"], true, "{explained:#}");

    let asked = nodes.ask(&["cluster", "recover"]).ends(1);
    assert!(asked.stderr.contains("--accept-loss"), "{}", asked.all());
    for name in &members[3..] {
        assert!(asked.text().contains(name), "{name} holds it still: {}", asked.all());
    }
    let reason = "three servers were struck at once";
    let recovered = nodes
        .ask(&["cluster", "recover", "--accept-loss", "--reason", reason])
        .ends(0);
    assert!(recovered.text().contains("open again"), "{}", recovered.all());
    nodes.ask(&["send", KEY, "after"]).ends(0);
    let history = nodes.ask(&["actor", "history", KEY, "--json"]).ends(0).json();
    assert_eq!(history["entries"].as_array().map(Vec::len), Some(2), "{history:#}");
    let topology = nodes.topology_said();
    let rows = topology["history"].as_array().expect("a list");
    assert!(
        rows.iter()
            .any(|row| row["why"].as_str().is_some_and(|why| why.contains(reason))),
        "{topology:#}"
    );
    let none = nodes.ask(&["cluster", "recover", "--accept-loss"]).ends(0);
    assert!(none.text().contains("no group is lost"), "{}", none.all());
}

#[test]
fn a_node_is_forgotten_only_where_it_is_down() {
    let _machine = Machine::take("forget", LIMIT);
    let mut nodes = Nodes::start(eight());
    let up = nodes.ask(&["cluster", "forget", VICTIM, "--accept-loss"]).ends(1);
    assert!(up.stderr.contains("is heard"), "{}", up.all());
    let place = (0..nodes.len())
        .find(|place| nodes.name(*place) == VICTIM)
        .expect("it is one of them");
    nodes.signal(place, Signal::KILL);
    assert_eq!(nodes.wait(place, LIMIT), None, "a signal ended it");
    eventually("the log says that it is down", LIMIT, || {
        (row_of(&nodes, VICTIM)["presence"] == "down").then_some(())
    });
    nodes.ask(&["cluster", "forget", VICTIM, "--accept-loss"]).ends(0);
    assert_eq!(row_of(&nodes, VICTIM)["presence"], "gone");
    nodes.start_again(place);
    eventually("another process of its name is up", LIMIT, || {
        (row_of(&nodes, VICTIM)["presence"] == "up").then_some(())
    });
}

#[test]
fn a_data_centre_stands_still_for_a_drill_and_goes_on_with_all_that_it_held() {
    let _machine = Machine::take("drill", LIMIT);
    let nodes = Nodes::start(eight());
    nodes.ask(&["send", KEY, "before"]).ends(0);
    let incarnations = || {
        let topology = nodes.topology_said();
        let nodes = topology["nodes"].as_array().expect("a list").iter();
        nodes.map(|node| node["incarnation"].clone()).collect::<Vec<Value>>()
    };
    let before = incarnations();
    let folder = tempfile::tempdir().expect("a folder");
    let record = folder.path().join("verdict.json");
    let record = record.to_str().expect("a path in letters");
    // How fast others take over is measured elsewhere.
    let options = [
        "--for",
        "4s",
        "--keys",
        "96",
        "--limit",
        "60s",
        "--json",
        "--verdict",
        record,
    ];
    let verdict = nodes
        .ask(&[&["drill", "dc", "TX"][..], &options].concat())
        .ends(0)
        .json();
    let written = std::fs::read_to_string(record).expect("it was written");
    assert_eq!(serde_json::from_str::<Value>(&written).expect("an object"), verdict);
    assert_eq!(verdict["verdict"], "passed", "{verdict:#}");
    assert_eq!(
        verdict["victims"],
        serde_json::json!(["TX-A-1", "TX-B-1"]),
        "{verdict:#}"
    );
    let number = |name: &str| verdict[name].as_u64().expect("a number");
    assert!(number("keys_hit") > 0 && number("acked") > 96, "{verdict:#}");
    assert_eq!(
        (number("looked_for"), number("lost")),
        (number("acked"), 0),
        "{verdict:#}"
    );
    assert_eq!(incarnations(), before, "no process was lost");
    let topology = nodes.topology_said();
    let history = topology["history"].as_array().expect("a list");
    let down = history
        .iter()
        .any(|row| row["what"] == "node" && row["presence"] == "down");
    assert!(down, "they were missed: {topology:#}");

    let wrong = nodes.ask(&["drill", "dc", "TY"]).ends(2);
    assert!(wrong.stderr.contains("no data centre `TY`"), "{}", wrong.all());
    nodes.ask(&["drill", "node", VICTIM, "--for", "2h"]).ends(2);
    nodes.ask(&["node", "drain", VICTIM]).ends(0);
    let away = nodes.ask(&["drill", "node", "FL-A-1"]).ends(1);
    assert!(away.stderr.contains("TN-A-1 is draining"), "{}", away.all());
}

#[test]
fn a_cluster_without_a_topology_log_says_so() {
    let _machine = Machine::take("no topology log", LIMIT);
    let nodes = Nodes::start(five());
    for command in [
        &["topology"][..],
        &["explain", KEY],
        &["node", "drain", "FL-A-1"],
        &["drill", "node", "FL-A-1"],
    ] {
        let said = nodes.ask(command).ends(1);
        assert!(said.stderr.contains("WP-1737"), "{}", said.all());
    }
}
