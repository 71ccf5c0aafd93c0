//! What the tests share: the machine for one test alone, a cluster, a load whose every message has an end on record, and raw sockets.

mod ended;
mod forgetful;
mod load;
mod machine;
mod nodes;
mod raw;
mod running;
mod typed;

pub(crate) use ended::{Ended, children, run};
pub(crate) use forgetful::Forgetful;
pub(crate) use load::{How, Load};
pub(crate) use machine::{Machine, eventually};
pub(crate) use nodes::{Nodes, binary, five};
pub(crate) use raw::{Raw, client_frame, frame, item, noise};
pub(crate) use running::Running;
pub(crate) use typed::{Said, type_in, type_with};

/// Names the test's node of a five-node cluster by its place in the configuration.
pub(crate) type Place = usize;
