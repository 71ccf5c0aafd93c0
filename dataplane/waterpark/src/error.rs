//! Why a node did not start.

use std::io;
use std::net::SocketAddr;

use crate::VoterFileError;

/// Why a node did not start. Nothing listens and no thread runs; the configuration is as it was.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The configuration has no node of that name.
    #[error("{0}")]
    Unknown(Box<waterpark_control::Problem>),
    /// A port of the node is in use.
    #[error(
        "port {} on {} is in use: it is where {role} dial shard {shard} of {node}\n  \
         look for the process that has it (`ss -ltnp 'sport = :{}'`), or give {node} another `port` in cluster.toml",
        address.port(), address.ip(), address.port()
    )]
    PortInUse {
        /// The node.
        node: String,
        /// The address.
        address: SocketAddr,
        /// Who dials it.
        role: &'static str,
        /// The shard that it leads to.
        shard: u16,
    },
    /// A port cannot be listened on for another reason.
    #[error(
        "{node} cannot listen on {address}: {cause}\n  its `host` in cluster.toml must name an address of this machine"
    )]
    Listen {
        /// The node.
        node: String,
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        cause: io::Error,
    },
    /// The process may open no more files, and a port is one.
    #[error(
        "{node} cannot listen on {address}: this process may open {} files and has so many open\n  \
         raise the hard limit (ulimit -Hn as root, LimitNOFILE=, limits.conf): each link and each client takes one",
        limit.map_or("no more".to_owned(), |limit| limit.to_string())
    )]
    Files {
        /// The node.
        node: String,
        /// The port that was one too many.
        address: SocketAddr,
        /// The limit of this process; none where the whole machine's is reached.
        limit: Option<u64>,
    },
    /// The node's own host name does not resolve.
    #[error(
        "the host `{host}` of {node} does not resolve: {cause}\n  correct `host` in cluster.toml, or the name service"
    )]
    Host {
        /// The node.
        node: String,
        /// Its host.
        host: String,
        /// What the resolver said.
        cause: io::Error,
    },
    /// A core that is named is not allowed, or none can be found.
    #[error(
        "workers of {node}: {cause}\n  \
         name cores that are allowed in `workers` in cluster.toml, or start {node} where its cores are allowed (taskset, cpuset)"
    )]
    Cores {
        /// The node.
        node: String,
        /// Why.
        cause: waterpark_reactor::cores::PinError,
    },
    /// The number of cores that this host gives differs from the shards that every node of the cluster reckons with.
    #[error(
        "{node} has {shards} shards in cluster.toml, but its `workers` give {cores} cores on this host\n  \
         write the number of shards that the cluster is to reckon with, or run it where it has that many cores"
    )]
    Shards {
        /// The node.
        node: String,
        /// Shards by the configuration.
        shards: u16,
        /// Cores on this host.
        cores: usize,
    },
    /// The configuration says what a kind keeps that no handler serves.
    #[error(
        "[kinds.{kind}] in cluster.toml: no handler of this node serves `{kind}`\n  \
         correct the name, or take the section out; what is served: {served}"
    )]
    Kind {
        /// The kind.
        kind: String,
        /// The kinds that are served, in order.
        served: String,
    },
    /// Memory for the shards was refused.
    #[error(
        "memory of {bytes} bytes for a shard of {node} was refused: {cause}\n  \
         lower `memory` in cluster.toml (--memory of the demo), or raise the limit (ulimit -v, memory.max)"
    )]
    Memory {
        /// The node.
        node: String,
        /// Bytes of one shard.
        bytes: u64,
        /// What the kernel said.
        cause: io::Error,
    },
    /// A shard's driver did not open.
    #[error("shard {shard} of {node} cannot start: {cause}")]
    Shard {
        /// The node.
        node: String,
        /// The shard.
        shard: u16,
        /// Why.
        cause: waterpark_reactor::event_loop::StartError,
    },
    /// The node has a voter file that it cannot vote with.
    #[error("{node}: {cause}")]
    Voter {
        /// The node.
        node: String,
        /// Why.
        cause: VoterFileError,
    },
    /// The kernel refused a thread, random bytes or the affinity mask.
    #[error("the host refuses {what}: {cause}")]
    Kernel {
        /// What was asked for.
        what: &'static str,
        /// What the kernel said.
        cause: io::Error,
    },
}

impl NodeError {
    /// Exit code of a command that ends with this: configuration, or failed.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            NodeError::Unknown(_) | NodeError::Shards { .. } | NodeError::Host { .. } => 3,
            NodeError::Cores { .. } | NodeError::Kind { .. } => 3,
            NodeError::Voter { cause, .. } => cause.exit_code(),
            _ => 1,
        }
    }
}
