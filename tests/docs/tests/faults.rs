//! `docs/faults.md` against the code: every outcome, refusal, error, counter and cause has its line, and no line has one that is not there.

use std::collections::{BTreeMap, BTreeSet};

use waterpark_docs_tests::{files, page, read, source};
use waterpark_ring::{ClusterId, NodeId, NodeSpec, Topology, TopologySpec, chance_of_stop};
use waterpark_wire::handshake::HandshakeRefusal;
use waterpark_wire::reply::Outcome;

/// The first cells of the table under a heading, with the rest of each row.
fn table(heading: &str) -> BTreeMap<String, Vec<String>> {
    let faults = read("docs/faults.md");
    let part = page::section(&faults, heading);
    // A sub-heading has a table of its own.
    let part = part.split("\n### ").next().unwrap_or_default();
    let rows = page::rows(part).into_iter().map(|mut cells| {
        let first = cells.remove(0);
        (first.trim_matches('`').to_owned(), cells)
    });
    rows.collect()
}

/// Demands that the table under a heading has exactly these names, each with something to say.
fn has_exactly(heading: &str, names: impl Iterator<Item = String>) {
    let table = table(heading);
    let names: BTreeSet<String> = names.collect();
    let listed: BTreeSet<String> = table.keys().cloned().collect();
    assert_eq!(listed, names, "{heading}");
    for (name, cells) in table {
        assert!(
            cells.iter().all(|cell| cell.len() >= 3),
            "{heading}: {name} has an empty cell"
        );
    }
}

/// The name of a value's variant.
fn name(value: impl std::fmt::Debug) -> String {
    let debug = format!("{value:?}");
    debug.split([' ', '{', '(']).next().unwrap_or_default().to_owned()
}

/// Counters that a source names: `("name", self.name)`.
fn counters(path: &str) -> Vec<String> {
    let text = read(path);
    let lines = text
        .lines()
        .filter(|line| line.contains(", self.") && line.trim_start().starts_with("(\""));
    lines
        .filter_map(|line| line.split('"').nth(1))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_outcome_has_its_line_in_the_order_of_its_number() {
    has_exactly("## What the sender sees", Outcome::ALL.into_iter().map(name));
    let faults = read("docs/faults.md");
    let places: Vec<usize> = Outcome::ALL
        .into_iter()
        .map(|outcome| faults.find(&format!("\n| `{}` |", name(outcome))).expect("found above"))
        .collect();
    assert!(places.is_sorted(), "outcomes are listed in the order of their numbers");
}

#[test]
fn every_end_of_a_call_has_its_line() {
    let variants = source::variants(&read("dataplane/client/src/error.rs"), "ClientError");
    assert!(variants.len() >= 10);
    has_exactly("### How a call ends", variants.into_iter());
}

#[test]
fn every_refusal_of_a_handshake_has_its_line() {
    has_exactly(
        "## Connections that are refused",
        HandshakeRefusal::ALL.iter().map(name),
    );
}

#[test]
fn every_counter_has_its_line() {
    let mut core = counters("dataplane/core/src/shard.rs");
    core.extend(counters("dataplane/core/src/account.rs"));
    let world = counters("dataplane/reactor/src/event_loop/counters.rs");
    assert!(
        core.len() >= 10 && world.len() >= 15,
        "{} and {} counters were seen",
        core.len(),
        world.len()
    );
    has_exactly("## Counters", core.into_iter().chain(world));
}

#[test]
fn every_cause_of_a_cut_and_every_happening_is_told() {
    let faults = page::in_one_line(&read("docs/faults.md"));
    let effects = read("dataplane/core/src/effects.rs");
    for cause in source::variants(&effects, "Cut") {
        let told = [format!("`{cause}`"), format!("cut_{cause}")]
            .iter()
            .any(|form| faults.contains(form));
        assert!(told, "the cause {cause} is not told");
    }
    // Each happening is a line of the log, but for one that is for those who look for it; the page quotes the others.
    let control = read("dataplane/waterpark/src/control.rs");
    let happenings = source::variants(&effects, "Happened");
    assert!(happenings.len() >= 5);
    for happened in happenings.iter().filter(|happened| *happened != "GroupOpened") {
        let arm = control.split(&format!("Happened::{happened} {{")).nth(1);
        let arm = arm.unwrap_or_else(|| panic!("{happened} is not written to the log"));
        let line = arm.split('"').nth(1).unwrap_or_default();
        assert!(
            faults.contains(&format!("`\"{line}\"`")),
            "{happened} is written as {line:?}, which the page does not tell"
        );
    }
}

#[test]
fn every_quoted_line_is_written_by_a_node() {
    let sources = files("rs")
        .into_iter()
        .filter(|path| path.starts_with("dataplane/waterpark/src/"));
    let sources: String = sources.map(|path| read(&path)).collect();
    let mut quoted = 0;
    for code in page::code(&read("docs/faults.md")) {
        if code.starts_with('"') {
            assert!(sources.contains(&code), "no node writes {code}");
            quoted += 1;
        }
    }
    assert!(quoted >= 15, "only {quoted} lines are quoted");
}

#[test]
fn the_limits_that_the_page_tells_are_those_of_the_code() {
    let page = page::in_one_line(&read("docs/faults.md"));
    for (said, path, stands) in [
        (
            "as it gives in about 20 ms",
            "dataplane/core/src/admission.rs",
            "QUEUE_NS: u64 = 20 * MS",
        ),
        ("65,536 requests", "dataplane/core/src/config.rs", "pending_max: 65_536"),
        (
            "followers for 500 ms",
            "dataplane/core/src/config.rs",
            "silence_ms: 500",
        ),
        (
            "after 3 s of silence",
            "dataplane/core/src/config.rs",
            "link_dead_ms: 3_000",
        ),
        ("for 200 ms", "dataplane/core/src/config.rs", "gap_hold_ms: 200"),
        ("95 % of its budget", "dataplane/core/src/config.rs", "full_percent: 95"),
        (
            "4,096 lanes",
            "dataplane/core/src/config.rs",
            "lanes_per_group_max: 4_096",
        ),
        (
            "at 4 MiB of them",
            "dataplane/core/src/config.rs",
            "client_backlog_bytes_max: 4 << 20",
        ),
        ("1 MiB", "dataplane/core/src/config.rs", "message_bytes_max: 1 << 20"),
        (
            "256 above the mark",
            "dataplane/core/src/lane.rs",
            "LANE_WINDOW: u32 = 256",
        ),
        (
            "older than an hour",
            "dataplane/core/src/lane.rs",
            "SESSION_MS: u64 = 3_600_000",
        ),
        (
            "ten minutes ahead",
            "dataplane/core/src/lane.rs",
            "SESSION_AHEAD_MS: u64 = 600_000",
        ),
        (
            "after 20 ms, doubling to 1 s",
            "dataplane/reactor/src/event_loop/links.rs",
            "REDIAL_MAX_MS: u64 = 1_000",
        ),
        (
            "longer than 5 s",
            "dataplane/reactor/src/event_loop/mod.rs",
            "HANDSHAKE_MS: u64 = 5_000",
        ),
        (
            "limit of 20,000",
            "dataplane/reactor/src/driver.rs",
            "connections_max: 20_000",
        ),
        (
            "at most 20 lines per second",
            "dataplane/waterpark/src/control.rs",
            "REFUSALS_PER_SECOND: u32 = 20",
        ),
        (
            "5 ms, doubling to 200 ms",
            "dataplane/client/src/replies.rs",
            "PAUSE_MAX_MS: u64 = 200",
        ),
        (
            "unanswered for ten seconds",
            "dataplane/client/src/options.rs",
            "silence_ms: 10_000",
        ),
    ] {
        assert!(page.contains(said), "the page does not say {said:?}");
        assert!(
            read(path).contains(stands),
            "{path} does not say {stands:?}, which the page tells as {said:?}"
        );
    }
}

/// A cluster with so many nodes in each zone of each data centre, one shard each.
fn topology(names: &[String]) -> Topology {
    let node = |(id, name): (u16, &String)| NodeSpec {
        id: NodeId(id),
        name: name.clone(),
        host: "127.0.0.1".to_owned(),
        port: 7000 + 256 * (id - 1),
        shards: 1,
    };
    let nodes = (1..).zip(names).map(node).collect();
    Topology::new(TopologySpec::new(ClusterId([7; 16]), nodes)).expect("these names make a topology")
}

#[test]
fn the_chances_of_three_losses_are_those_of_the_placement() {
    let five = ["FL-A-1", "FL-B-1", "TN-A-1", "TX-A-1", "UT-A-1"]
        .map(str::to_owned)
        .to_vec();
    let full = |per_zone: u16| -> Vec<String> {
        let zones = ["FL", "TN", "TX", "UT"]
            .into_iter()
            .flat_map(|dc| ["A", "B"].map(|zone| (dc, zone)));
        zones
            .flat_map(|(dc, zone)| (1..=per_zone).map(move |n| format!("{dc}-{zone}-{n}")))
            .collect()
    };
    let mut expected = String::new();
    for (names, shape) in [
        (five, "the five of `init`"),
        (full(1), "4 × 2"),
        (full(2), "4 × 2"),
        (full(4), "4 × 2"),
    ] {
        let topology = topology(&names);
        let sets: Vec<Vec<NodeId>> = topology.birth().member_sets().into_iter().collect();
        let ids: Vec<NodeId> = topology.nodes().iter().map(|node| node.id).collect();
        let share = 100.0 * chance_of_stop(&sets, &ids, 3).share();
        let (nodes, groups) = (names.len(), thousands(topology.spec().groups as usize));
        let sets = thousands(sets.len());
        expected += &format!("| {nodes} | {shape} | {groups} | {sets} | {share:.1} % |\n");
    }
    assert!(
        read("docs/faults.md").contains(&expected),
        "docs/faults.md should say\n{expected}"
    );
}

fn thousands(number: usize) -> String {
    if number < 1000 {
        return number.to_string();
    }
    format!("{},{:03}", number / 1000, number % 1000)
}
