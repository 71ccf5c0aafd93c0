//! Processes that stop without a word: what is acked, what is refused, and what is found when they come back.

use std::time::Duration;

use waterpark_ring::NodeId;

use crate::support::{How, Load, Machine, Nodes, eventually, five};

const SECOND: Duration = Duration::from_secs(1);

/// Places of a five-node cluster.
const ALL: [usize; 5] = [0, 1, 2, 3, 4];

/// A cluster under a load that acks everything.
fn loaded(entries: &[usize], direct: bool) -> (Nodes, Load) {
    let nodes = Nodes::start(five());
    let mut load = Load::new(&nodes, nodes.addresses(entries), direct, 128);
    let first = load.paced(1_000, SECOND / 2, How::default(), |_| true);
    load.settle(5 * SECOND);
    let tally = load.tally_since(first);
    assert_eq!(tally.acked, tally.sent, "before the fault: {tally:?}");
    (nodes, load)
}

fn ids(nodes: &Nodes, places: &[usize]) -> Vec<NodeId> {
    places.iter().map(|place| nodes.id(*place)).collect()
}

fn pause(nodes: &Nodes, places: &[usize]) -> Vec<NodeId> {
    places.iter().for_each(|place| nodes.pause(*place));
    ids(nodes, places)
}

fn resume(nodes: &Nodes, places: &[usize]) {
    places.iter().for_each(|place| nodes.resume(*place));
}

/// A cluster that was whole for a while acks every message again.
fn assert_acks_again(load: &mut Load, limit: Duration) {
    let first = load.paced(
        500,
        SECOND / 2,
        How {
            timeout_ms: 10_000,
            ..How::default()
        },
        |_| true,
    );
    load.settle(limit);
    let tally = load.tally_since(first);
    assert_eq!(tally.acked, tally.sent, "after the fault: {tally:?}");
}

#[test]
fn with_two_nodes_stopped_acks_go_on_for_the_keys_whose_writer_runs() {
    let _machine = Machine::take("two nodes stopped", 60 * SECOND);
    let (nodes, mut load) = loaded(&[0, 1, 2], true);
    let stopped = pause(&nodes, &[3, 4]);
    let first = load.paced(1_000, 2 * SECOND, How::default(), |writer| !stopped.contains(&writer));
    load.settle(6 * SECOND);
    let tally = load.tally_since(first);
    println!("two of five stopped: {tally:?}");
    assert!(tally.sent > 1_000, "{tally:?}");
    assert_eq!(tally.acked, tally.sent, "three of five go on: {tally:?}");
    resume(&nodes, &[3, 4]);
    assert_acks_again(&mut load, 12 * SECOND);
    load.assert_clean();
    nodes.stop();
}

#[test]
fn a_stopped_writer_leaves_unknown_what_was_sent_to_it_and_its_mailrooms_refuse_the_rest_within_a_second() {
    let _machine = Machine::take("a stopped writer", 60 * SECOND);
    let (nodes, mut load) = loaded(&[0, 1, 2], false);
    let stopped = pause(&nodes, &[3]);
    let how = How {
        timeout_ms: 3_000,
        attempts_max: 1,
    };
    let first = load.paced(1_000, SECOND / 4, how, |writer| stopped.contains(&writer));
    load.settle(5 * SECOND);
    let sent = load.tally_since(first);
    println!("sent to a writer that had stopped: {sent:?}");
    assert_eq!(sent.acked, 0, "{sent:?}");
    assert!(sent.unknown > 0, "what left for the writer is open: {sent:?}");
    assert!(
        sent.slowest_refusal_ms < 3_500,
        "nothing outlives its deadline: {sent:?}"
    );

    let later = load.paced(500, SECOND, how, |writer| stopped.contains(&writer));
    load.settle(5 * SECOND);
    let tally = load.tally_since(later);
    println!("for a writer that has been silent: {tally:?}");
    assert_eq!((tally.acked, tally.unknown), (0, 0), "{tally:?}");
    assert_eq!(tally.reasons.get("NoQuorum"), Some(&tally.sent), "{tally:?}");
    assert!(tally.slowest_refusal_ms <= 1_000, "within a second: {tally:?}");
    resume(&nodes, &[3]);
    assert_acks_again(&mut load, 12 * SECOND);
    load.assert_clean();
    nodes.stop();
}

#[test]
fn with_three_nodes_stopped_no_ack_leaves_and_nothing_is_lost_when_they_go_on() {
    let _machine = Machine::take("three nodes stopped", 60 * SECOND);
    let (nodes, mut load) = loaded(&[0, 1], true);
    let stopped = pause(&nodes, &[2, 3, 4]);
    let runs = |writer: NodeId| !stopped.contains(&writer);
    let how = How {
        timeout_ms: 2_500,
        attempts_max: 1,
    };

    let logged = load.paced(1_000, SECOND / 4, how, runs);
    std::thread::sleep(SECOND);
    let later = load.paced(500, SECOND, how, runs);
    load.settle(5 * SECOND);
    let first = load.tally(logged, later);
    println!("logged before the silence was noticed: {first:?}");
    assert_eq!(first.acked, 0, "{first:?}");
    assert_eq!(first.reasons.get("Unknown"), Some(&first.sent), "{first:?}");
    assert!(
        (2_400..3_500).contains(&first.slowest_refusal_ms),
        "at its deadline: {first:?}"
    );
    let then = load.tally_since(later);
    println!("sent later: {then:?}");
    assert_eq!(then.reasons.get("NoQuorum"), Some(&then.sent), "{then:?}");
    assert!(then.slowest_refusal_ms <= 1_000, "within a second: {then:?}");

    resume(&nodes, &[2, 3, 4]);
    assert_acks_again(&mut load, 12 * SECOND);
    load.assert_clean();
    nodes.stop();
}

#[test]
fn a_follower_that_restarts_is_out_says_so_and_is_never_counted() {
    let _machine = Machine::take("a follower restarts", 90 * SECOND);
    let (mut nodes, mut load) = loaded(&[0, 1], true);
    let old = nodes.status(4)[0].incarnation;
    let gone = nodes.id(4);
    nodes.restart(4);
    let first = load.paced(1_000, SECOND, How::default(), |writer| writer != gone);
    load.settle(6 * SECOND);
    let tally = load.tally_since(first);
    assert_eq!(tally.acked, tally.sent, "four of five go on: {tally:?}");

    let status = eventually("the restarted process knows that it is out", 5 * SECOND, || {
        nodes.status(4).pop().filter(|status| status.out)
    });
    assert!(status.incarnation > old, "a new life has a larger number");
    assert!(nodes.log(4).contains("this process is out"), "{}", nodes.log(4));
    for place in 0..4 {
        let links = nodes.status(place).remove(0).links;
        let link = links
            .iter()
            .find(|link| link.peer == gone.0)
            .expect("every node has a link to it");
        assert!(link.out && link.up, "{} knows: {link:?}", nodes.name(place));
        for group in nodes.status(place)[0]
            .groups
            .iter()
            .filter(|group| group.role == "writer")
        {
            let at = group
                .members
                .iter()
                .position(|member| *member == gone.0)
                .expect("all five are members");
            assert!(
                group.held[at] < group.last_seq,
                "{} counts it: {group:?}",
                nodes.name(place)
            );
        }
    }

    // With it and two others gone, two of five are left: if it were counted, acks would go on.
    let stopped = pause(&nodes, &[2, 3]);
    let how = How {
        timeout_ms: 2_000,
        attempts_max: 1,
    };
    let alone = load.paced(500, SECOND, how, |writer| writer != gone && !stopped.contains(&writer));
    load.settle(5 * SECOND);
    let tally = load.tally_since(alone);
    println!("two members and one that is out: {tally:?}");
    assert_eq!(tally.acked, 0, "{tally:?}");
    resume(&nodes, &[2, 3]);

    let again = load.paced(
        500,
        SECOND / 2,
        How {
            timeout_ms: 10_000,
            ..How::default()
        },
        |writer| writer != gone,
    );
    load.settle(12 * SECOND);
    let tally = load.tally_since(again);
    assert_eq!(tally.acked, tally.sent, "{tally:?}");
    load.assert_held_by(&[0, 1, 2, 3].map(|place| nodes.id(place)), |writer| writer != gone);
    nodes.stop();
}

#[test]
fn a_writer_that_restarts_has_lost_its_groups_and_every_mailroom_says_so() {
    let _machine = Machine::take("a writer restarts", 60 * SECOND);
    let (mut nodes, mut load) = loaded(&ALL, true);
    let gone = nodes.id(2);
    nodes.restart(2);
    // A mailroom says so from the moment at which it has met the newer process; all of them have once their links are up.
    for place in [0, 1, 3, 4] {
        eventually("the newer process was met", 10 * SECOND, || {
            let links = nodes.status(place).remove(0).links;
            links
                .iter()
                .find(|link| link.peer == gone.0 && link.up && link.out)
                .map(|_| ())
        });
    }
    for place in ALL {
        let mut entry = Load::new(&nodes, nodes.addresses(&[place]), false, 128);
        let how = How {
            timeout_ms: 3_000,
            ..How::default()
        };
        let lost = entry.paced(200, SECOND / 4, how, |writer| writer == gone);
        entry.settle(5 * SECOND);
        let tally = entry.tally_since(lost);
        assert!(tally.sent > 0);
        assert_eq!(
            tally.reasons.get("GroupLost"),
            Some(&tally.sent),
            "through {}: {tally:?}",
            nodes.name(place)
        );
        let others = entry.paced(200, SECOND / 4, how, |writer| writer != gone);
        entry.settle(5 * SECOND);
        let tally = entry.tally_since(others);
        assert_eq!(tally.acked, tally.sent, "through {}: {tally:?}", nodes.name(place));
    }
    let others = load.paced(500, SECOND / 2, How::default(), |writer| writer != gone);
    load.settle(6 * SECOND);
    let tally = load.tally_since(others);
    assert_eq!(tally.acked, tally.sent, "four of five writers go on: {tally:?}");
    load.assert_held_by(&[0, 1, 3, 4].map(|place| nodes.id(place)), |writer| writer != gone);
    nodes.stop();
}
