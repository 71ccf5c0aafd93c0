//! Batches of seeds over simulated clusters, under the rules as they are or under a mutant that breaks one.
//!
//! Mutants are other values of [`Rules`]; nothing that runs a node can name one.

mod batch;
mod mutants;

pub use batch::{Batch, Count, SEEDS_FOR_ALL, run_seeds};
pub use mutants::{MUTANTS, Mutant};
pub use waterpark_kit::reach::{Expect, Reached};

use waterpark_core::config::Births;
use waterpark_core::rules::Rules;
pub use waterpark_kit::Report;
use waterpark_kit::rng::Rng;
use waterpark_kit::{Cluster, Faults};

/// The clusters that seeds draw from, as `DC-AZ-N`.
const CLUSTERS: [&[&str]; 4] = [
    &["FL-A-1", "FL-B-1", "TN-A-1", "TX-A-1", "UT-A-1"],
    &["FL-A-1", "FL-B-1", "TN-A-1", "TX-A-1", "UT-A-1"],
    &["FL-A-1", "FL-B-1", "TN-A-1"],
    &["FL-A-1", "FL-B-1", "TN-A-1", "TN-B-1", "TX-A-1", "UT-A-1"],
];

/// Runs one seed: its cluster, shards, faults and clients are all drawn from it.
#[must_use]
pub fn run_seed<R: Rules>(seed: u64) -> Report {
    let mut rng = Rng::new(seed ^ 0x5EED);
    let names = CLUSTERS[rng.index(CLUSTERS.len())];
    let shards: Vec<u16> = names
        .iter()
        .map(|_| 1 + u16::try_from(rng.below(3)).expect("below 3"))
        .collect();
    let faults = Faults::draw(&mut rng);
    let requests = 40 + rng.below(160);
    let faulty_ms = 2_000 + rng.below(3_000);
    Cluster::<R>::new(seed, Births::Writer, names, &shards, faults, requests).run(faulty_ms)
}

/// The same with a topology log: groups get other members, because nodes end or for no reason.
#[must_use]
pub fn run_changing_seed<R: Rules>(seed: u64) -> Report {
    let mut rng = Rng::new(seed ^ 0x000C_4A46);
    let names = CHANGING[rng.index(CHANGING.len())];
    let shards: Vec<u16> = names
        .iter()
        .map(|_| 1 + u16::try_from(rng.below(2)).expect("below 2"))
        .collect();
    let faults = Faults::draw_changing(&mut rng);
    let requests = 40 + rng.below(260);
    let faulty_ms = 3_000 + rng.below(6_000);
    Cluster::<R>::new(seed, Births::TopologyLog, names, &shards, faults, requests).run(faulty_ms)
}

/// The same with whole nodes: the topology log is kept by their consensus, who is down is found by their detection, and their planner
/// repairs.
#[must_use]
pub fn run_whole_seed<R: Rules>(seed: u64) -> Report {
    let mut rng = Rng::new(seed ^ 0x0077_401E);
    let names = CHANGING[rng.index(CHANGING.len())];
    let shards: Vec<u16> = names
        .iter()
        .map(|_| 1 + u16::try_from(rng.below(2)).expect("below 2"))
        .collect();
    let faults = Faults {
        moves_ppm: 0,
        ..Faults::draw_changing(&mut rng)
    };
    let requests = 40 + rng.below(260);
    let faulty_ms = 4_000 + rng.below(10_000);
    Cluster::<R>::new(seed, Births::TopologyLog, names, &shards, faults, requests)
        .with_controllers()
        .run(faulty_ms)
}

/// The clusters that such seeds draw from.
const CHANGING: [&[&str]; 4] = [
    &["FL-A-1", "FL-B-1", "TN-A-1", "TX-A-1", "UT-A-1"],
    &["FL-A-1", "FL-B-1", "TN-A-1", "TN-B-1", "TX-A-1", "TX-B-1", "UT-A-1"],
    &["FL-A-1", "FL-B-1", "TN-A-1"],
    &[
        "FL-A-1", "FL-B-1", "TN-A-1", "TN-B-1", "TX-A-1", "TX-B-1", "UT-A-1", "UT-B-1",
    ],
];
