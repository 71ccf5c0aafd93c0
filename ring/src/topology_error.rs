//! What can be wrong with a topology: the operator's file, or a peer's bytes.
//!
//! Each variant names the setting at fault, so that a message can point at it. Nothing is made or changed when one of
//! these is returned.

use std::fmt;

use crate::keyspace::{KeyspaceError, NodeId};
use crate::topology::{FACILITIES_MAX, HOST_BYTES_MAX, MEMBERS_MAX, NODES_MAX, PORT_MAX, SHARDS_MAX};

/// Why a specification is not a topology. The operator's mistake in the cluster's file, or a peer's bytes; nothing was
/// made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopologyError {
    /// Groups or classes are not what a keyspace can have.
    Keyspace(KeyspaceError),
    /// Members must be from 1 to [`MEMBERS_MAX`].
    Members {
        /// The number given.
        members: u8,
    },
    /// Copysets must be a power of two from the number of classes to that of groups.
    Copysets {
        /// The number given.
        copysets: u32,
        /// The least allowed.
        classes: u32,
        /// The most allowed.
        groups: u32,
    },
    /// There is no node.
    NoNodes,
    /// More than [`NODES_MAX`] nodes.
    TooManyNodes {
        /// The number given.
        nodes: usize,
    },
    /// A name is not of the form `DC-AZ-N`.
    NodeName {
        /// The name given.
        name: String,
        /// The name that was probably meant.
        suggestion: String,
    },
    /// Two nodes have one name.
    RepeatedName {
        /// The name.
        name: String,
    },
    /// Two nodes have one id; ids are never used again.
    RepeatedId {
        /// The id.
        id: NodeId,
        /// One of the two nodes.
        name: String,
        /// The other one.
        other: String,
    },
    /// A voter is no node of the cluster, or stands twice.
    Voter {
        /// Its id.
        id: NodeId,
    },
    /// A host is empty, longer than [`HOST_BYTES_MAX`] or holds blanks.
    Host {
        /// The node's name.
        name: String,
    },
    /// The first port is above [`PORT_MAX`].
    Port {
        /// The node's name.
        name: String,
        /// The port given.
        port: u16,
    },
    /// Shards must be from 1 to [`SHARDS_MAX`].
    Shards {
        /// The node's name.
        name: String,
        /// The number given.
        shards: u16,
    },
    /// More than [`FACILITIES_MAX`] facilities are bound.
    TooManyFacilities {
        /// The number given.
        facilities: usize,
    },
    /// A facility is empty or longer than 255 bytes.
    Facility {
        /// The facility.
        facility: String,
    },
    /// A facility is bound to a class that does not exist.
    FacilityClass {
        /// The facility.
        facility: String,
        /// The class given.
        class: u32,
        /// Classes that there are, counted from 0.
        classes: u32,
    },
    /// A home is given for a class that does not exist.
    HomeClass {
        /// The class given.
        class: u32,
        /// Classes that there are, counted from 0.
        classes: u32,
    },
    /// A class's home is a data centre without nodes.
    HomeDc {
        /// The class.
        class: u32,
        /// The data centre given.
        dc: String,
        /// Data centres that there are.
        dcs: Vec<String>,
    },
}

impl fmt::Display for TopologyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keyspace(error) => error.fmt(f),
            Self::Members { members } => write!(f, "{members} members: must be from 1 to {MEMBERS_MAX}"),
            Self::Copysets {
                copysets,
                classes,
                groups,
            } => {
                write!(
                    f,
                    "{copysets} copysets: must be a power of two from {classes} (classes) to {groups} (groups)"
                )
            }
            Self::NoNodes => f.write_str("a cluster needs at least one node"),
            Self::TooManyNodes { nodes } => write!(f, "{nodes} nodes, more than {NODES_MAX}"),
            Self::NodeName { name, suggestion } => {
                write!(f, "node name \"{name}\" is not DC-AZ-N; did you mean \"{suggestion}\"?")
            }
            Self::RepeatedName { name } => write!(f, "two nodes are called {name}"),
            Self::RepeatedId { id, name, other } => write!(f, "nodes {name} and {other} both have the id {id}"),
            Self::Voter { id } => write!(f, "the voter with id {id} is no node of the cluster, or is named twice"),
            Self::Host { name } => write!(
                f,
                "the host of {name} must be a name or address of at most {HOST_BYTES_MAX} bytes"
            ),
            Self::Port { name, port } => write!(
                f,
                "the port of {name} is {port}, above {PORT_MAX}: it needs 256 in a row"
            ),
            Self::Shards { name, shards } => write!(f, "{name} has {shards} shards: must be from 1 to {SHARDS_MAX}"),
            Self::TooManyFacilities { facilities } => {
                write!(f, "{facilities} facilities are bound, more than {FACILITIES_MAX}")
            }
            Self::Facility { facility } => write!(f, "facility \"{facility}\" must have from 1 to 255 bytes"),
            Self::FacilityClass {
                facility,
                class,
                classes,
            } => {
                write!(
                    f,
                    "facility {facility} is bound to class {class}; there are {classes}, counted from 0"
                )
            }
            Self::HomeClass { class, classes } => {
                write!(
                    f,
                    "a home is given for class {class}; there are {classes}, counted from 0"
                )
            }
            Self::HomeDc { class, dc, dcs } => {
                write!(
                    f,
                    "the home of class {class} is {dc}, which has no node; there are {}",
                    dcs.join(", ")
                )
            }
        }
    }
}

impl std::error::Error for TopologyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Keyspace(error) => Some(error),
            _ => None,
        }
    }
}

impl From<KeyspaceError> for TopologyError {
    fn from(error: KeyspaceError) -> Self {
        Self::Keyspace(error)
    }
}

/// Why bytes are not a topology. The peer's fault; nothing was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopologyBytesError {
    /// They are of a format that this release does not read.
    Format {
        /// The format's number.
        format: u8,
    },
    /// They end before the topology does.
    Truncated,
    /// Bytes follow after its end.
    TrailingBytes {
        /// How many.
        bytes: usize,
    },
    /// A text in them is not UTF-8.
    Text,
    /// They say a topology, but not in its one form: unsorted, or with a default spelt out.
    NotCanonical,
    /// What they say is not a topology.
    Topology(TopologyError),
}

impl fmt::Display for TopologyBytesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format { format } => write!(f, "topology format {format} is not one that this release reads"),
            Self::Truncated => f.write_str("the topology's bytes end early"),
            Self::TrailingBytes { bytes } => write!(f, "{bytes} bytes follow after the topology"),
            Self::Text => f.write_str("a name in the topology is not UTF-8"),
            Self::NotCanonical => f.write_str("the topology is not in its canonical form"),
            Self::Topology(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TopologyBytesError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Topology(error) => Some(error),
            _ => None,
        }
    }
}
