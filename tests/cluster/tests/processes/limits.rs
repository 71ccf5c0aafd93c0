//! More than a cluster has room for: memory that is full, queues that are full. What is refused is named, what was acked stays.

use std::time::{Duration, Instant};

use waterpark_client::{ReadOptions, SendOptions};
use waterpark_ring::Key;

use crate::support::{How, Load, Machine, Nodes, five};

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
fn far_more_than_the_queues_hold_is_refused_by_name_and_the_rest_goes_on() {
    const IN_FLIGHT: usize = 60_000;
    const SESSIONS: usize = 8;
    let _machine = Machine::take("overload", 90 * SECOND);
    let mut nodes = Nodes::start(five());
    // One actor: all of it goes through one group, whose queue is the first to be full.
    let mut load = Load::new(&nodes, nodes.addresses(&[0]), true, 128).to_one_actor();
    let first = load.closed(1_024, SECOND, ONCE, |_| true, |_| ());
    load.settle(6 * SECOND);
    let calm = load.tally_since(first);
    let from = Instant::now();
    let first = load.closed(IN_FLIGHT, 3 * SECOND, ONCE, |_| true, |_| ());
    load.settle(8 * SECOND);
    let took = from.elapsed();
    let tally = load.tally_since(first);
    println!(
        "1,024 under way: {} acked in 1 s; {IN_FLIGHT} under way: {tally:?} in {took:?}",
        calm.acked
    );
    println!("resident memory of all five: {} MiB", resident(&nodes) >> 20);
    assert!(calm.acked > 0 && calm.acked == calm.sent, "{calm:?}");
    assert!(tally.acked > 0, "{tally:?}");
    let busy = tally.reasons.get("Busy").copied().unwrap_or(0);
    assert_eq!(tally.refused, busy, "overload has one name: {tally:?}");
    assert_eq!(tally.unknown, 0, "{tally:?}");
    nodes.assert_all_live();
    load.assert_clean();

    // Many sessions through a single entry that passes everything on: a session alone never has more than its lanes' windows under way.
    let mut crowd: Vec<Load> = (0..SESSIONS)
        .map(|_| Load::new(&nodes, nodes.addresses(&[0]), false, 128))
        .collect();
    let from = Instant::now();
    while from.elapsed() < 4 * SECOND {
        for load in &mut crowd {
            load.closed(IN_FLIGHT / 3, Duration::from_millis(5), ONCE, |_| true, |_| ());
        }
    }
    let (mut acked, mut busy) = (0, 0);
    for load in &mut crowd {
        load.settle(8 * SECOND);
        let tally = load.tally_since(0);
        assert!(tally.acked > 0, "{tally:?}");
        acked += tally.acked;
        busy += tally.reasons.get("Busy").copied().unwrap_or(0);
        assert_eq!(
            tally.acked + tally.reasons.get("Busy").copied().unwrap_or(0),
            tally.sent,
            "{tally:?}"
        );
    }
    println!(
        "{SESSIONS} sessions through one entry: {acked} acked, {busy} refused as Busy in {:?}",
        from.elapsed()
    );
    println!("resident memory of all five: {} MiB", resident(&nodes) >> 20);
    assert!(busy > 0, "more than the mailroom holds was under way");
    nodes.assert_all_live();
    for load in &crowd {
        load.assert_clean();
    }

    let mut load = Load::new(&nodes, nodes.addresses(&[0]), true, 128);
    let first = load.paced(500, SECOND / 2, How::default(), |_| true);
    load.settle(6 * SECOND);
    let tally = load.tally_since(first);
    assert_eq!(tally.acked, tally.sent, "it is over: {tally:?}");
    nodes.stop();
}
