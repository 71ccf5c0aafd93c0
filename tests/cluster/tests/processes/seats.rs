//! Groups that move between the shards of their nodes while messages come.

use std::time::Duration;

use waterpark_client::ReadOptions;
use waterpark_wire::body::{ORDER_SEAT, OrderBody, OrderedBody, SeatBody, StatusBody};

use crate::support::{How, Load, Machine, Nodes, eventually, five};

const SECOND: Duration = Duration::from_secs(1);
const SHARDS: u16 = 2;
const KEY: &str = "patient/1001,facility=HOSPX";

/// Tells a node that groups shall live on a shard of one of the nodes.
fn seat(nodes: &Nodes, place: usize, groups: &[u32], shard: u16, pinned: bool) -> OrderedBody {
    let seat = |group: &u32| SeatBody {
        group: *group,
        shard,
        pinned,
        ..SeatBody::default()
    };
    let order = OrderBody {
        order: ORDER_SEAT,
        node: nodes.id(place).0,
        seats: groups.iter().map(seat).collect(),
        reason: "a test".to_owned(),
        ..OrderBody::default()
    };
    let options = ReadOptions {
        timeout_ms: 5_000,
        ..ReadOptions::default()
    };
    let at = nodes.id(0).0;
    nodes.client(0).order(at, order, &options).expect("node 0 answers")
}

/// The groups that each shard of a node is a member of.
fn groups_of(nodes: &Nodes, place: usize) -> Vec<Vec<u32>> {
    let held = |shard: StatusBody| {
        let groups = shard.groups.into_iter();
        let members = groups.filter(|group| ["writer", "follower"].contains(&group.role.as_str()));
        members.map(|group| group.group).collect()
    };
    nodes.status(place).into_iter().map(held).collect()
}

/// How many groups came to shards of a node, and how long they were on their way, in ns.
fn pauses(nodes: &Nodes, place: usize) -> (u64, u64) {
    (
        nodes.counter(place, "seats_taken"),
        nodes.counter(place, "seat_pause_ns"),
    )
}

fn tell_pauses(nodes: &Nodes, when: &str, before: &[(u64, u64)]) {
    for (place, before) in before.iter().enumerate() {
        let (taken, ns) = pauses(nodes, place);
        let (taken, ns) = (taken - before.0, ns - before.1);
        println!(
            "{} {when}: {taken} moves of {} us each",
            nodes.name(place),
            ns / taken.max(1) / 1_000
        );
    }
}

#[test]
fn groups_move_between_shards_under_load_and_nothing_is_lost_doubled_refused_or_out_of_order() {
    let _machine = Machine::take("seats", 120 * SECOND);
    let mut plan = five();
    plan.workers = SHARDS;
    plan.voters = true;
    let mut nodes = Nodes::start(plan);
    let all: Vec<u32> = (0..nodes.topology.keyspace().groups()).collect();
    // One that knows every shard, and one whose node passes everything on.
    for direct in [true, false] {
        let mut load = Load::new(&nodes, nodes.addresses(&[1]), direct, 128);
        let first = load.mark();
        for round in 0..8 {
            for place in 0..nodes.len() {
                // Some groups go to one shard and some to the other, and the next round they change places.
                for shard in 0..SHARDS {
                    let part = (shard + round) % SHARDS;
                    let some: Vec<u32> = all
                        .iter()
                        .copied()
                        .filter(|group| group % 3 == u32::from(part))
                        .collect();
                    let ordered = seat(&nodes, place, &some, shard, false);
                    assert!(ordered.taken, "{}", ordered.why);
                }
                load.closed(400, SECOND / 20, How::default(), |_| true, |_| ());
            }
        }
        load.settle(10 * SECOND);
        let tally = load.tally_since(first);
        assert!(tally.sent > 1_000 && tally.acked == tally.sent, "{tally:?}");
        load.assert_clean();
        println!(
            "direct {direct}: {} acked, slowest after {} ms",
            tally.acked, tally.slowest_ack_ms
        );
    }
    tell_pauses(&nodes, "beside a full load", &vec![(0, 0); nodes.len()]);
    // One group after the other, where shards have time.
    let before: Vec<(u64, u64)> = (0..nodes.len()).map(|place| pauses(&nodes, place)).collect();
    let mut load = Load::new(&nodes, nodes.addresses(&[1]), true, 128);
    for group in &all[..20] {
        for place in 0..nodes.len() {
            assert!(seat(&nodes, place, &[*group], u16::from(group % 2 == 0), false).taken);
        }
        load.paced(1_000, SECOND / 20, How::default(), |_| true);
    }
    load.settle(10 * SECOND);
    load.assert_clean();
    tell_pauses(&nodes, "beside 1,000 messages a second", &before);
    for place in 0..nodes.len() {
        let (left, taken) = (nodes.counter(place, "seats_left"), nodes.counter(place, "seats_taken"));
        assert!(left == taken && taken > 100, "{left} left, {taken} came");
    }
    nodes.assert_all_live();
}

#[test]
fn a_group_that_is_held_on_a_shard_is_there_again_after_its_node_started_anew() {
    let _machine = Machine::take("seats-again", 60 * SECOND);
    let mut plan = five();
    plan.workers = SHARDS;
    plan.voters = true;
    let mut nodes = Nodes::start(plan);
    let group = groups_of(&nodes, 2)[0][0];
    assert!(seat(&nodes, 2, &[group], 1, true).taken);
    let has = |nodes: &Nodes| groups_of(nodes, 2)[1].contains(&group) && !groups_of(nodes, 2)[0].contains(&group);
    eventually("the group lives on shard 1", 5 * SECOND, || has(&nodes).then_some(()));
    nodes.restart(2);
    eventually("the group lives on shard 1 again", 30 * SECOND, || {
        has(&nodes).then_some(())
    });
    for (groups, shard, why) in [
        (&[group][..], 2, "has shards 0 to 1, not 2"),
        (&[1 << 20], 0, "there is no group 1048576"),
        (&[], 0, "from 1 to"),
    ] {
        let refused = seat(&nodes, 2, groups, shard, false);
        assert!(!refused.taken && refused.why.contains(why), "{refused:?}");
    }
}

#[test]
fn an_operator_holds_a_group_on_a_shard_and_lets_it_go_and_the_log_says_so() {
    let _machine = Machine::take("pins", 60 * SECOND);
    let mut plan = five();
    plan.workers = SHARDS;
    plan.voters = true;
    let nodes = Nodes::start(plan);
    let before = groups_of(&nodes, 2);
    let group = before[0][0];
    let has = |shard: usize| groups_of(&nodes, 2)[shard].contains(&group).then_some(());
    let named = group.to_string();
    let about = ["--group", &named, "--node", "TN-A-1"];
    let said = nodes
        .ask(
            &[
                &["placement", "pin", "--shard", "1", "--reason", "it is hot"][..],
                &about,
            ]
            .concat(),
        )
        .ends(0);
    let text = format!("group {group} is held on shard 1 of TN-A-1; it was on shard 0");
    assert!(said.text().contains(&text), "{}", said.all());
    eventually("the group is on shard 1", 5 * SECOND, || has(1));
    // It is so already, and stays where it is.
    nodes.ask(&[&["placement", "pin"][..], &about].concat()).ends(0);
    let said = nodes
        .ask(&[&["placement", "unpin", "--json"][..], &about].concat())
        .ends(0);
    let told: serde_json::Value = serde_json::from_str(said.text()).expect("an object");
    assert_eq!(
        (&told["shard"], &told["pinned"], &told["before"]),
        (&1.into(), &false.into(), &1.into())
    );
    let log = nodes.ask(&["topology"]).ends(0);
    for line in [
        "on shard 1 of TN-A-1, held there: it is hot",
        "on shard 1 of TN-A-1: an operator lets it go",
    ] {
        assert!(log.text().contains(&format!("group {group}: {line}")), "{}", log.all());
    }
    // The same of a key, at the node that writes its group.
    let pinned = nodes
        .ask(&["placement", "pin", KEY, "--shard", "1", "--reason", "near its card"])
        .ends(0);
    assert!(pinned.text().contains("is held on shard 1 of "), "{}", pinned.all());
    let explained = nodes.ask(&["explain", KEY]).ends(0);
    let is_seat = |line: &&str| line.starts_with("on shard 1 of ") && line.contains("held there");
    let lines: Vec<&str> = explained.text().lines().filter(is_seat).collect();
    assert!(
        lines.len() == 1 && lines[0].ends_with("near its card"),
        "{}",
        explained.all()
    );
    for (arguments, why) in [
        (
            &["pin", "--group", "70000"][..],
            "there is no group 70000: they are numbered from 0 to",
        ),
        (
            &["pin", "--group", "1", "--node", "TN-A-1", "--shard", "2"],
            "node TN-A-1 has shards 0 to 1, not 2",
        ),
        (&["undo"], "remembers no plan"),
    ] {
        let said = nodes.ask(&[&["placement"], arguments].concat()).ends(1);
        assert!(said.all().contains(why), "{}", said.all());
    }
    nodes
        .ask(&["placement", "unpin", "--group", "1", "--node", "TN-A-9"])
        .ends(2);
}

#[test]
fn a_skewed_load_is_spread_by_a_plan_that_says_what_it_expects_and_is_undone() {
    let _machine = Machine::take("plans", 90 * SECOND);
    let mut plan = five();
    plan.workers = SHARDS;
    plan.voters = true;
    let nodes = Nodes::start(plan);
    let all = |nodes: &Nodes| {
        (0..nodes.len())
            .map(|place| sorted(groups_of(nodes, place)))
            .collect::<Vec<_>>()
    };
    let before = all(&nodes);
    let bench = [
        "bench", "run", "--rate", "4000", "--skew", "zipf:1.2", "--actors", "10000", "--for", "14s", "--json",
    ];
    let (applied, measured) = std::thread::scope(|scope| {
        let measuring = scope.spawn(|| nodes.ask(&bench));
        std::thread::sleep(3 * SECOND);
        let planned = nodes
            .ask(&["placement", "plan", "--for", "2s", "--goal", "1.01"])
            .ends(0);
        assert!(planned.text().contains("predicted with"), "{}", planned.all());
        assert_eq!(all(&nodes), before, "a plan moves nothing");
        let applied = nodes.ask(&[
            "placement",
            "apply",
            "--for",
            "2s",
            "--watch",
            "1s",
            "--goal",
            "1.01",
            "--json",
        ]);
        (applied.ends(0), measuring.join().expect("it ends"))
    });
    let told: serde_json::Value = serde_json::from_str(applied.text()).expect("an object");
    let moved = told["moved"].as_u64().expect("a count");
    let taken: u64 = (0..nodes.len()).map(|place| nodes.counter(place, "seats_taken")).sum();
    assert!(moved > 0 && taken == moved, "{moved} moved, {taken} came: {told:#}");
    for node in told["nodes"].as_array().expect("a list") {
        let number = |name: &str| node[name].as_f64().expect("a number");
        let moves = node["moves"].as_array().map_or(0, Vec::len);
        assert!(number("predicted") <= number("busiest_by_mean"), "{node:#}");
        assert!(moves == 0 || number("measured") >= 1.0, "{node:#}");
    }
    let log = nodes.ask(&["topology", "--last", "4000"]).ends(0);
    let lines = log
        .text()
        .lines()
        .filter(|line| line.contains("planned: busiest shard"));
    assert_eq!(lines.count() as u64, moved, "what was expected stands with each move");
    // Beside other tests the generator may be late; what it sent is there all the same.
    let result: serde_json::Value = serde_json::from_str(measured.text()).expect("an object");
    assert_ne!(result["verdict"], "FAIL", "{result:#}");
    let undone = nodes.ask(&["placement", "undo"]).ends(0);
    assert!(undone.text().contains("is undone"), "{}", undone.all());
    eventually("all groups are where they were", 5 * SECOND, || {
        (all(&nodes) == before).then_some(())
    });
    let said = nodes.ask(&["placement", "undo"]).ends(1);
    assert!(said.all().contains("remembers no plan"), "{}", said.all());
}

fn sorted(mut shards: Vec<Vec<u32>>) -> Vec<Vec<u32>> {
    shards.iter_mut().for_each(|groups| groups.sort_unstable());
    shards
}
