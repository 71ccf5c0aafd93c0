//! Batches of seeds over simulated clusters, under the rules as they are or under a mutant that breaks one.
//!
//! Mutants are other [`Rules`](waterpark_core::rules::Rules); nothing that runs a node can name one.

mod batch;
mod knobs;
mod mutants;
mod regressions;
mod scenario;
mod shrink;

pub use batch::{Batch, Count, SEEDS_FOR_ALL, caught, run_seeds};
pub use mutants::{MUTANTS, Mutant};
pub use regressions::{BadRow, Regression, regressions};
pub use scenario::{BadToken, Profile, Scenario};
pub use shrink::{Shrunk, shrink};
pub use waterpark_kit::Report;
pub use waterpark_kit::reach::{Expect, Reached};
