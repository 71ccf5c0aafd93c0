//! A whole cluster in one thread: real shards, a simulated network, virtual time, clients that retry, and a ledger that knows what was
//! acked.
//!
//! One seed gives one run, bit for bit. Nothing here reads a clock or draws from outside its seed.

pub mod behaviour;
pub mod client;
pub mod cluster;
pub mod faults;
pub mod garbage;
pub mod history;
pub mod ledger;
pub mod lineages;
pub mod members;
pub mod memory;
pub mod reach;
pub mod reads;
pub mod retention;
pub mod rng;
pub mod views;

pub use cluster::{Answered, Cluster, Manner, Probe, Report, Size, Told};
pub use faults::Faults;
