//! A Waterpark node, to run or to embed.
//!
//! [`Node::start`] takes a cluster's configuration and the name of one of its nodes, binds its ports, starts a thread per shard and one for
//! control, and returns. What happens is told as [`tracing`] events, a few words per change and nothing per message. [`Node::wait`] returns
//! when the node has ended.
//!
//! It does not know command lines, nor what handlers do.

mod control;
mod error;
mod governance;
mod host;
mod kinds;
mod mllp;
mod node;
mod placement;
mod stopper;
mod voter_file;

pub use error::NodeError;
pub use governance::Presences;
pub use node::{Ended, Node, Options, Trouble};
pub use placement::{CorePlan, plan_cores};
pub use stopper::{Ending, Stopper};
pub use voter_file::{VoterFile, VoterFileError};
pub use waterpark_control as config;
pub use waterpark_core::topology_log::Presence;
pub use waterpark_handlers::Kinds;
pub use waterpark_reactor::event_loop::ConnectionBounds;
pub use waterpark_reactor::event_loop::Way;
pub use waterpark_reactor::{BACKLOG, DriverChoice};
