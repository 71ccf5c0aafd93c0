//! PLACE: hash ring, topology, placement of groups. Pure values and functions.
//!
//! From a key to its group to the nodes that hold it, the same on every node, client and command line. Deliberately
//! without knowledge of time, sockets or which nodes are up, and without a dependency on any other crate of the
//! workspace.
//!
//! ```
//! use waterpark_ring::{ClusterId, Key, NodeId, NodeSpec, Topology, TopologySpec};
//!
//! let names = ["FL-A-1", "FL-B-1", "TN-A-1", "TX-A-1", "UT-A-1"];
//! let node = |(id, name): (u16, &str)| NodeSpec {
//!     id: NodeId(id),
//!     name: name.to_owned(),
//!     host: "127.0.0.1".to_owned(),
//!     port: 7000 + 256 * id,
//!     shards: 1,
//! };
//! let topology = Topology::new(TopologySpec::new(ClusterId([7; 16]), (1..).zip(names).map(node).collect()))?;
//!
//! let key = Key::parse("patient/1001,facility=HOSPX")?;
//! let group = topology.locate(key.as_ref()).group;
//! assert_eq!(topology.birth().members(group).nodes().len(), 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chance;
mod facilities;
mod hash_ring;
mod key;
mod key_text;
mod keyspace;
mod node_name;
pub mod phash2;
mod placement;
mod shard;
#[cfg(test)]
mod testing;
mod topology;
mod topology_bytes;
mod topology_error;

pub use chance::{Chance, chance_of_stop, chance_of_stop_across};
pub use hash_ring::{HashMode, HashRing, POINTS_PER_WEIGHT, RingError, WEIGHT_MAX};
pub use key::{
    Fields, KEY_BYTES_MAX, KEY_BYTES_MIN, KEY_FIELDS_MAX, KEY_NAME_BYTES_MAX, Key, KeyBuilder, KeyError, KeyRef,
};
pub use keyspace::{
    CLASSES_DEFAULT, ClusterId, GROUPS_MAX, GROUPS_MIN, GROUPS_PER_SHARD, GroupId, Keyspace, KeyspaceError, NodeId,
};
pub use node_name::{DC_BYTES_MAX, NODE_NUMBER_MAX, NodeName, ZONE_BYTES_MAX, suggest};
pub use placement::{Movement, Placement, PlacementError, Slot, SlotError, SlotTable};
pub use shard::{end_of_link, shard_of};
pub use topology::{
    FACILITIES_MAX, FACILITY_FIELD, HOST_BYTES_MAX, Located, MEMBERS_MAX, NODES_MAX, NodeSpec, PORT_MAX, SHARDS_MAX,
    Topology, TopologySpec,
};
pub use topology_error::{TopologyBytesError, TopologyError};
