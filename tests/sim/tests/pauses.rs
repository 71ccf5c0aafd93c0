//! A node that stands still, and goes on before its time: what waited for it comes in the order in which it came.

use waterpark_core::config::Births;
use waterpark_core::rules::Production;
use waterpark_kit::{Cluster, Faults};

/// A voter's file is written in order: the simulation ends where a disk did not keep what it was given.
#[test]
fn nothing_overtakes_what_waits_for_a_node_that_is_woken() {
    for seed in 1..=20 {
        let names = ["FL-A-1", "TN-A-1", "TX-A-1", "UT-A-1", "FL-B-1"];
        let cluster = Cluster::<Production>::new(seed, Births::TopologyLog, &names, &[1; 5], Faults::none(), 40);
        let mut cluster = cluster.with_voters(&[0, 1, 2, 3, 4]);
        cluster.go_on(1_500);
        // Entries are written while a node is away and comes back.
        assert!(cluster.end(4));
        for step in 0..30 {
            let voter = step % 4;
            cluster.pause(voter, 300);
            cluster.go_on(1 + seed * 7 % 40);
            cluster.calm();
            cluster.go_on(60);
            if cluster.can_lose(4) {
                cluster.end(4);
            }
        }
        cluster.calm();
        cluster.go_on(3_000);
        for voter in 0..4 {
            assert!(cluster.end(voter), "seed {seed}, voter {voter}");
            cluster.start(voter);
            cluster.go_on(3_000);
        }
        assert!(cluster.is_settled(), "seed {seed}");
    }
}
