//! Topologies for this crate's tests, drawn as data centres with the numbers of nodes in their zones.

use crate::keyspace::{ClusterId, NodeId};
use crate::topology::{NodeSpec, Topology, TopologySpec};

/// Data centres, each with the number of nodes in its zones A, B, C, …
pub(crate) type Shape<'a> = &'a [(&'a str, &'a [u16])];

pub(crate) const FULL: Shape<'static> = &[("FL", &[4, 4]), ("TN", &[4, 4]), ("TX", &[4, 4]), ("UT", &[4, 4])];
pub(crate) const FIVE: Shape<'static> = &[("FL", &[1, 1]), ("TN", &[1]), ("TX", &[1]), ("UT", &[1])];

pub(crate) fn names(shape: Shape<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for (dc, zones) in shape {
        for (zone, &nodes) in ('A'..='Z').zip(*zones) {
            names.extend((1..=nodes).map(|number| format!("{dc}-{zone}-{number}")));
        }
    }
    names
}

/// Specs of nodes with ids in the order of the names.
pub(crate) fn nodes<'a>(names: impl IntoIterator<Item = &'a String>) -> Vec<NodeSpec> {
    let node = |(id, name): (u16, &String)| NodeSpec {
        id: NodeId(id),
        name: name.clone(),
        host: "127.0.0.1".to_owned(),
        port: 7000 + 256 * (id % 200),
        shards: 1,
    };
    (0..).zip(names).map(node).collect()
}

pub(crate) fn spec(shape: Shape<'_>) -> TopologySpec {
    TopologySpec {
        groups: 128,
        ..TopologySpec::new(ClusterId([7; 16]), nodes(&names(shape)))
    }
}

pub(crate) fn topology(shape: Shape<'_>) -> Topology {
    Topology::new(spec(shape)).unwrap()
}
