//! What a test runs on: how many nodes, which faults, which seeds.

use waterpark_core::behaviour::Behaviour;
use waterpark_kit::rng::Rng;
use waterpark_kit::{Faults, Told};

use crate::cluster::Cluster;

pub use waterpark_kit::Manner;

/// The environment variable that names the one seed to run.
pub const SEED: &str = "WATERPARK_SEED";

/// Data centres that nodes are spread over, in turn.
const DATA_CENTRES: [&str; 4] = ["FL", "TN", "TX", "UT"];
/// Nodes of a cluster at least: with fewer no group survives anything.
const NODES_MIN: usize = 3;
/// Nodes of a cluster at most.
const NODES_MAX: usize = 32;

/// A cluster to be made.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    nodes: usize,
    shards: u16,
    has_faults: bool,
}

impl Setup {
    /// So many nodes with one shard each, spread over up to four data centres. Nothing happens to them but what the test does.
    ///
    /// # Panics
    /// If they are fewer than 3 or more than 32.
    #[must_use]
    pub fn nodes(nodes: usize) -> Setup {
        assert!(
            (NODES_MIN..=NODES_MAX).contains(&nodes),
            "a cluster in a test has {NODES_MIN} to {NODES_MAX} nodes, not {nodes}"
        );
        Setup {
            nodes,
            shards: 1,
            has_faults: false,
        }
    }

    /// The same with so many shards on each node.
    ///
    /// # Panics
    /// If there are none, or more than 4.
    #[must_use]
    pub fn shards(self, shards: u16) -> Setup {
        assert!(
            (1..=4).contains(&shards),
            "a node in a test has 1 to 4 shards, not {shards}"
        );
        Setup { shards, ..self }
    }

    /// The same with faults drawn from each seed, until [`Cluster::calm`]: frames lost, late, repeated or spoiled, links cut, nodes silent,
    /// paused and crashed, clocks apart. Never more than a cluster bears without losing what it acked.
    #[must_use]
    pub fn faults(self) -> Setup {
        Setup {
            has_faults: true,
            ..self
        }
    }

    fn told(self, seed: u64) -> Told {
        let name = |node: usize| {
            let dc = DATA_CENTRES[node % DATA_CENTRES.len()];
            let round = node / DATA_CENTRES.len();
            let zone = if round.is_multiple_of(2) { "A" } else { "B" };
            format!("{dc}-{zone}-{}", round / 2 + 1)
        };
        Told {
            seed,
            names: (0..self.nodes).map(name).collect(),
            shards: self.shards,
            faults: if self.has_faults { drawn(seed) } else { Faults::none() },
        }
    }
}

/// What a seed draws. What no cluster of a test should have is left out: too little of everything, and clients that ask for nonsense.
fn drawn(seed: u64) -> Faults {
    let none = Faults::none();
    Faults {
        odd_ppm: 0,
        session_ppm: 0,
        slow_ms: 0,
        memory_bytes: none.memory_bytes,
        lanes: None,
        queue: None,
        moves_ppm: 0,
        ..Faults::draw_changing(&mut Rng::new(seed ^ 0x7E57))
    }
}

/// Runs a test on a cluster for each seed, and judges each cluster when its test is over. Where [`SEED`] is set, that seed runs alone.
///
/// `behaviour` makes the kinds of one cluster. All members run the same value.
///
/// # Panics
/// If the test does, or a cluster broke what must hold; before that the seed is printed.
pub fn check<B: Behaviour + 'static>(
    seeds: impl IntoIterator<Item = u64>,
    setup: Setup,
    behaviour: impl Fn() -> B,
    test: impl Fn(&mut Cluster),
) where
    B::State: 'static,
{
    let run = |seed: u64| {
        let _named = Named(seed);
        let mut cluster = Cluster::new(&setup.told(seed), behaviour());
        test(&mut cluster);
        cluster.finish();
    };
    match std::env::var(SEED) {
        Ok(text) => match text.parse() {
            Ok(seed) => run(seed),
            Err(_) => panic!(
                "{SEED} is `{text}`, which is no number: set it to the seed that a failure printed, or to nothing"
            ),
        },
        Err(_) => seeds.into_iter().for_each(run),
    }
}

/// Says which seed it was, if it is dropped by a panic.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!("the test failed under seed {seed}; to run that seed alone, set {SEED}={seed}");
        }
    }
}
