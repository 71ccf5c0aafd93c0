//! Configuration of a cluster: `cluster.toml` read, checked and made; errors with place and remedy.
//!
//! ```text
//! bytes ─ load.rs ─► text ─ read.rs, fields.rs ─► draft.rs ─ check.rs ─► ClusterConfig + what was said where
//!                              ▲ overrides.rs          │
//!                       environment (an argument)      └──► every problem, each with its place: problem.rs, render.rs
//! ```
//!
//! Nothing here opens a socket, starts a thread, reads a clock, a random source or the environment: what the process knows of
//! those is an argument. The file system is touched by [`load()`], [`ClusterKey::read`] and [`init()`] alone.
//!
//! ```
//! use waterpark_control::{InitOptions, parse, plan};
//!
//! let text = plan(&InitOptions::default(), &[7; 48])?.config_text().replace("memory", "memroy");
//! let error = parse("cluster.toml", &text, []).unwrap_err();
//! assert!(error.to_string().starts_with("error[WP-1207]: unknown key `memroy` in [defaults]\n  --> cluster.toml:19:1\n"));
//! # Ok::<(), waterpark_control::InitError>(())
//! ```
//!
//! **Invariant:** a [`ClusterConfig`] exists only if no check found an error. Whoever holds one need not check again.

mod check;
mod codes;
mod config;
mod draft;
mod error;
mod explain;
mod fields;
mod init;
mod into_topology;
mod key;
mod load;
mod mllp;
mod names;
mod nearest;
mod overrides;
mod problem;
mod quantities;
mod read;
mod render;
mod source;
mod template;
mod voters;

pub use codes::{
    Code, CodeId, CommandCode, DefectCode, EdgeCode, HostCode, LatencyCode, MeasuringCode, Part, REGISTRY, RefusalCode,
    StartCode, TuneCode, WireCode,
};
pub use config::{
    CLIENTS_MAX, ClusterConfig, Compression, Defaults, History, Links, NodeConfig, NodePorts, PORTS_PER_NODE, Votes,
    WAITING_MAX, Workers,
};
pub use error::ConfigError;
pub use explain::{Explained, Origin};
pub use init::{ENTROPY_BYTES, InitError, InitOptions, Nodes, Plan, Written, init, plan};
pub use key::{ClusterKey, KeyFile};
pub use load::{FILE_BYTES_MAX, Loaded, load, parse, parse_bytes};
pub use mllp::{MESSAGE_MAX, Mllp, MllpFrom, MllpMode};
pub use names::{NodeName, NodeNameError};
pub use problem::{Expected, KeyFault, Problem, Severity, What};
pub use quantities::{Bytes, Duration, QuantityError};
pub use source::Place;
pub use voters::{first_voters, voter_file_name};
