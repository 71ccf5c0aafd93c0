//! DECISIONS: mailroom, registry, writer, follower, quorum. It takes an input and fills a bounded list of effects; it has no clock,
//! thread, socket, file or randomness.
//!
//! A [`Shard`] is generic over the rules that mutants break, the memory that the world lends, and the kinds that run. The same code runs
//! under sockets and under a simulated network.

mod account;
mod admission;
mod answers;
pub mod behaviour;
pub mod config;
mod confirm;
pub mod controller;
pub mod detection;
mod documents;
pub mod effects;
mod follower;
mod fresh;
mod group;
mod hot;
pub mod ids;
pub mod lane;
mod link;
mod links;
mod local;
pub mod log;
mod mailroom;
pub mod memory;
mod nodes;
mod orders;
mod outbox;
mod pending;
mod quickest;
pub mod quorum;
mod reads;
mod registry;
mod reporting;
mod retention;
pub mod rules;
pub mod seat_plan;
mod seats;
mod shard;
mod sight;
pub mod state_bytes;
mod state_hash;
mod sweep;
mod tick;
pub mod time;
pub mod topology_log;
mod turn;
mod unapplied;
mod view_change;
mod waiting;
mod writer;

pub use account::Account;
pub use shard::{Counters, LinkInfo, PeerUp, Shard};
pub use sight::{Burden, Sight};
pub use view_change::{Branch, Branches};
