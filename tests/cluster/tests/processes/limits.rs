//! More than a cluster has room for: memory that is full, queues that are full. What is refused is named, what was acked stays.

use std::time::{Duration, Instant};

use waterpark_bench::overload::{self, Cores, OverloadPlan};
use waterpark_client::{ReadOptions, SendOptions};
use waterpark_ring::Key;

use crate::support::{How, Load, Machine, Nodes, binary, five};

const SECOND: Duration = Duration::from_secs(1);
/// Reports the first refusal instead of sending again.
const ONCE: How = How {
    timeout_ms: 4_000,
    attempts_max: 1,
};

fn resident(nodes: &Nodes) -> u64 {
    nodes
        .cluster
        .members()
        .iter()
        .map(|member| member.resident_bytes())
        .sum()
}

#[test]
fn a_full_memory_refuses_new_messages_and_goes_on_reading() {
    const MEMORY: u64 = 64 << 20;
    let _machine = Machine::take("memory full", 90 * SECOND);
    let mut plan = five();
    plan.memory = MEMORY;
    let mut nodes = Nodes::start(plan);
    let client = nodes.client(0);
    let key = Key::parse("record/id=before").expect("a key");
    let answer = client.send(key.as_ref(), b"before it was full", &SendOptions::default());
    answer.expect("an empty cluster takes it");

    let mut load = Load::new(&nodes, nodes.addresses(&[0, 1]), true, 8_192);
    let begun = Instant::now();
    let mut first = load.mark();
    loop {
        assert!(begun.elapsed() < 40 * SECOND, "not full: {:?}", load.tally_since(first));
        let from = load.closed(512, SECOND / 4, ONCE, |_| true, |_| ());
        let refused = load.tally_since(from).reasons;
        let acked = load.tally_since(from).acked;
        first = from;
        // Full everywhere: nothing but refusals for a while.
        if acked == 0 && refused.contains_key("Full") {
            break;
        }
    }
    load.settle(6 * SECOND);
    let tally = load.tally_since(0);
    println!(
        "{MEMORY} bytes a node: {tally:?}; the last round {:?}",
        load.tally_since(first)
    );
    assert!(tally.reasons["Full"] > 0, "{tally:?}");
    assert!(tally.acked > 1_000, "{tally:?}");
    let last = load.tally_since(first);
    assert!(last.slowest_refusal_ms < 4_000, "refused, not left waiting: {last:?}");
    println!("resident memory of all five: {} MiB", resident(&nodes) >> 20);
    for place in 0..nodes.len() {
        let status = nodes.status(place).remove(0);
        let (used, budget) = (status.memory_used, status.memory_budget);
        assert!(used <= budget && budget == MEMORY, "{used} of {budget}");
    }

    // Reads go on, and nothing that was acked is lost.
    let answer = client.get(key.as_ref(), &ReadOptions::default());
    assert!(!answer.expect("reads go on").body.is_empty());
    load.assert_clean();
    nodes.assert_all_live();
    nodes.stop();
}

#[test]
fn far_more_than_is_acked_in_a_second_is_acked_or_refused_as_busy() {
    const IN_FLIGHT: usize = 60_000;
    let _machine = Machine::take("overload", 60 * SECOND);
    // Refusals are to come from queues, not from a memory that history has filled.
    let mut plan = five();
    plan.memory = 512 << 20;
    let mut nodes = Nodes::start(plan);
    let mut load = Load::new(&nodes, nodes.addresses(&[0]), true, 128);
    let first = load.closed(1_024, SECOND, ONCE, |_| true, |_| ());
    load.settle(6 * SECOND);
    let calm = load.tally_since(first);
    let before = resident(&nodes);
    let from = Instant::now();
    let first = load.closed(IN_FLIGHT, 2 * SECOND, ONCE, |_| true, |_| ());
    load.settle(8 * SECOND);
    let took = from.elapsed();
    let tally = load.tally_since(first);
    println!("1,024 under way: {calm:?}; {IN_FLIGHT} under way: {tally:?} in {took:?}");
    println!(
        "resident memory of all five: {} MiB, then {}",
        before >> 20,
        resident(&nodes) >> 20
    );
    assert!(calm.acked > 0 && calm.acked == calm.sent, "{calm:?}");
    assert!(tally.acked > 0, "{tally:?}");
    let busy = tally.reasons.get("Busy").copied().unwrap_or(0);
    assert_eq!(tally.refused, busy, "overload has one name: {tally:?}");
    assert_eq!(tally.unknown, 0, "{tally:?}");
    nodes.assert_all_live();
    load.assert_clean();
    nodes.stop();
}

#[test]
fn more_than_a_groups_queue_holds_is_refused_as_busy_at_once_and_what_it_holds_is_acked() {
    /// Requests that may wait in a shard, half of them in one group.
    const WAITING: u64 = 64;
    /// As many as a session has of a group under way.
    const SENT: u64 = 256;
    let _machine = Machine::take("a full queue", 60 * SECOND);
    let mut plan = five();
    plan.waiting = Some(u32::try_from(WAITING).expect("few"));
    let mut nodes = Nodes::start(plan);
    let probe = Load::new(&nodes, nodes.addresses(&[0]), false, 128).with_one_actor();
    let writer = probe.next_writer();
    let place = (0..nodes.len())
        .find(|place| nodes.id(*place) == writer)
        .expect("one of the nodes");
    let mut load = Load::new(&nodes, nodes.addresses(&[place]), false, 128).with_one_actor();
    // The session opens its lane.
    load.send(ONCE, |_| true);
    load.settle(6 * SECOND);

    // Too few copies for an ack, for less time than it takes to notice that.
    let others: Vec<usize> = (0..nodes.len()).filter(|other| *other != place).take(3).collect();
    others.iter().for_each(|other| nodes.pause(*other));
    let first = load.mark();
    while (load.open() as u64) < SENT && load.send(ONCE, |_| true) {}
    while load.open() as u64 > WAITING / 2 {
        load.turn(Duration::from_millis(1));
    }
    let tally = load.tally_since(first);
    others.iter().for_each(|other| nodes.resume(*other));
    assert_eq!((tally.sent, tally.acked), (SENT, 0), "{tally:?}");
    assert_eq!(
        tally.reasons.get("Busy"),
        Some(&(SENT - WAITING / 2)),
        "overload has one name: {tally:?}"
    );
    load.settle(8 * SECOND);
    let tally = load.tally_since(first);
    assert_eq!((tally.acked, tally.unknown), (WAITING / 2, 0), "{tally:?}");
    nodes.assert_all_live();
    load.assert_clean();
    let mut load = Load::new(&nodes, nodes.addresses(&[0]), true, 128);
    let first = load.paced(500, SECOND / 2, How::default(), |_| true);
    load.settle(6 * SECOND);
    let tally = load.tally_since(first);
    assert_eq!(tally.acked, tally.sent, "it is over: {tally:?}");
    nodes.stop();
}

#[test]
fn what_a_crowd_of_sessions_offers_beyond_what_is_taken_is_counted_once_and_what_is_acked_is_held() {
    let _machine = Machine::take("overload by a crowd", 120 * SECOND);
    let plan = OverloadPlan {
        binary: binary(),
        driver: "auto".to_owned(),
        actors: 100,
        message_bytes: 128,
        time: SECOND,
        timeout_ms: 20_000,
        sessions: 2,
        in_flight: overload::in_flight(64),
        cores: Cores::Shared,
        round_trip: SECOND / 25,
        waiting: 64,
    };
    let report = overload::measure(plan, |_| (), || true).unwrap_or_else(|error| panic!("{error}"));
    println!("{}", report.to_text());
    let tally = &report.tally;
    assert!(report.findings.is_clean(), "{:#?}", report.findings);
    let acked = report.calm.acked + tally.acked;
    assert!(report.findings.looked_for >= acked && tally.acked > 0, "{acked} acked");
    let ended = tally.acked + tally.refused + tally.unknown;
    assert_eq!(tally.offered, ended, "each has one end");
    let accounted = tally.offered + tally.not_reached + tally.not_taken;
    assert!(
        tally.planned.abs_diff(accounted) <= 256,
        "{accounted} of {}",
        tally.planned
    );
    let busy = tally.reasons.get("Busy").copied().unwrap_or(0);
    assert_eq!(
        (tally.refused, tally.unknown),
        (busy, 0),
        "overload has one name: {:?}",
        tally.reasons
    );
    assert!(
        busy > tally.acked,
        "short queues refuse most of five times what they take"
    );
    assert!(report.exits.iter().all(|code| *code == Some(0)), "{:?}", report.exits);
}
