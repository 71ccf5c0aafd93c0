//! A node that is told to end while it works: it refuses, flushes and ends in order, and what it acked is held by the others.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use waterpark_wire::body::GroupBody;

use crate::support::{How, Load, Machine, Nodes, five};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_node_that_is_told_to_end_under_load_ends_in_order_and_what_it_acked_is_held_by_the_others() {
    let _machine = Machine::take("SIGTERM under load", 60 * SECOND);
    for driver in ["io-uring", "epoll"] {
        let mut plan = five();
        plan.driver = driver.to_owned();
        let mut nodes = Nodes::start(plan);
        let mut load = Load::new(&nodes, nodes.addresses(&[0, 1, 2]), true, 128);
        let how = How {
            timeout_ms: 2_000,
            attempts_max: 1,
        };
        let mut told = None;
        let mut begun = Instant::now();
        let first = load.closed(
            2_000,
            2 * SECOND,
            how,
            |_| true,
            |sent| {
                if told.is_none() && sent > 10_000 {
                    nodes.signal(4, Signal::TERM);
                    begun = Instant::now();
                    told = Some(sent);
                }
            },
        );
        assert!(told.is_some(), "the load was long enough");
        let code = nodes.wait(4, 3 * SECOND);
        let log = nodes.log(4);
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("stopping") && log.contains("shard stopped"), "{log}");
        assert!(!log.contains("panicked"), "{log}");
        load.settle(8 * SECOND);
        let tally = load.tally_since(first);
        println!("{driver}: told after {told:?} messages: {tally:?}");
        assert!(tally.acked > 10_000, "{tally:?}");

        // Its own groups have no writer now; every other one goes on.
        let gone = nodes.id(4);
        let later = load.paced(1_000, SECOND / 2, How::default(), |writer| writer != gone);
        load.settle(8 * SECOND);
        let tally = load.tally_since(later);
        assert_eq!(tally.acked, tally.sent, "{tally:?}");
        let others = [0, 1, 2, 3];
        load.assert_held_by(&others.map(|place| nodes.id(place)), |writer| writer != gone);
        // Of its own groups nobody may say what is committed any more; what they hold is what counts: an ack meant two beside the writer.
        let held: Vec<_> = others
            .iter()
            .map(|place| nodes.status(*place).remove(0).groups)
            .collect();
        let last = load.last_acked(|writer| writer == gone);
        assert!(!last.is_empty());
        for (group, seq) in last {
            let holds = |groups: &&Vec<GroupBody>| groups.iter().any(|row| row.group == group && row.last_seq >= seq);
            let members = held.iter().filter(holds).count();
            assert!(
                members >= 2,
                "entry {seq} of group {group} is acked and held by {members} others"
            );
        }
        nodes.stop();
    }
}

#[test]
fn a_client_whose_entry_ends_or_is_killed_goes_on_through_another_and_nothing_takes_effect_twice() {
    let _machine = Machine::take("an entry that ends", 60 * SECOND);
    for signal in [Signal::TERM, Signal::KILL] {
        let mut nodes = Nodes::start(five());
        let gone = nodes.id(4);
        // Everything goes through the entries; the first of them is the one that ends.
        let mut load = Load::new(&nodes, nodes.addresses(&[4, 0]), false, 128);
        let mut told = false;
        let first = load.closed(
            500,
            2 * SECOND,
            How::default(),
            |writer| writer != gone,
            |sent| {
                if !told && sent > 5_000 {
                    nodes.signal(4, signal);
                    told = true;
                }
            },
        );
        assert!(told, "the load was long enough");
        load.settle(8 * SECOND);
        let tally = load.tally_since(first);
        println!("{signal:?}: {tally:?}");
        assert_eq!(tally.acked, tally.sent, "{tally:?}");
        let code = nodes.wait(4, 3 * SECOND);
        assert_eq!(code, (signal == Signal::TERM).then_some(0));
        load.assert_held_by(&[0, 1, 2, 3].map(|place| nodes.id(place)), |writer| writer != gone);
        nodes.start_again(4);
        nodes.stop();
    }
}
