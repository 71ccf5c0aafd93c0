//! The topology log: the one thing that nodes agree on. Who is up, who the members of each group are, and which view is open.
//!
//! Entries carry results, never recipes, so two releases cannot derive two placements. It has no part in the path of a message: without
//! it every group goes on in its present view. **Invariant:** equal prefixes make equal states on every node.

pub mod codec;
pub mod consensus;
pub mod entry;
pub mod history;
pub mod planner;
pub mod state;

pub use codec::EntryError;
pub use entry::{Entry, Move, Placing, Proposal, Roll, Stamp, Voter, Why, WhyVoters};
pub use history::{Happening, History, What};
pub use planner::{GroupSeen, Limits, Planner, Seen, Trouble};
pub use state::{Changed, Electorate, GroupState, NodeState, Presence, Seat, TopologyState};
