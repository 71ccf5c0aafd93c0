//! The topology as placement reads it: nodes as dense numbers with their data centre and zone, and rings to walk.
//!
//! Knows nothing of groups' members. Every index here is into lists sorted by name, so nothing depends on how a
//! topology was written down.

use crate::hash_ring::HashRing;
use crate::topology::{self, Topology};

/// A node by its rank among the names.
pub(super) type Node = u16;

pub(super) struct Site<'a> {
    pub(super) dcs: Vec<Dc<'a>>,
    /// Data centre of each node.
    pub(super) dc_of: Vec<usize>,
    /// Zone of each node, counted over the whole cluster.
    pub(super) zone_of: Vec<usize>,
    /// Zones in the whole cluster.
    pub(super) zones: usize,
    /// Whether a group's writer must stand in its home; else the home is a preference and balance goes first.
    pub(super) homes_bind: bool,
}

pub(super) struct Dc<'a> {
    pub(super) zones: Vec<Zone<'a>>,
    pub(super) nodes: usize,
}

pub(super) struct Zone<'a> {
    /// Its number over the whole cluster.
    pub(super) index: usize,
    pub(super) nodes: Vec<Node>,
    ring: &'a HashRing,
}

impl<'a> Site<'a> {
    pub(super) fn new(topology: &'a Topology) -> Self {
        let count = topology.nodes().len();
        let (mut dc_of, mut zone_of) = (vec![0; count], vec![0; count]);
        let mut zones = 0;
        let mut dcs = Vec::new();
        for (dc, data_centre) in topology.data_centres().iter().enumerate() {
            let mut place_zone = |zone: &'a topology::Zone| {
                for &node in &zone.nodes {
                    dc_of[node] = dc;
                    zone_of[node] = zones;
                }
                zones += 1;
                Zone {
                    index: zones - 1,
                    nodes: zone.nodes.iter().map(|&node| rank(node)).collect(),
                    ring: &zone.ring,
                }
            };
            let zones = data_centre.zones.iter().map(&mut place_zone).collect();
            dcs.push(Dc {
                zones,
                nodes: data_centre.ring.len(),
            });
        }
        let homes_bind = topology.homes().len().is_multiple_of(dcs.len()) && dcs.iter().all(|dc| dc.zones.len() > 1);
        Self {
            dcs,
            dc_of,
            zone_of,
            zones,
            homes_bind,
        }
    }

    pub(super) fn nodes(&self) -> usize {
        self.dc_of.len()
    }

    pub(super) fn dc(&self, node: Node) -> usize {
        self.dc_of[usize::from(node)]
    }

    pub(super) fn zone(&self, node: Node) -> usize {
        self.zone_of[usize::from(node)]
    }

    /// Nodes of a data centre.
    pub(super) fn nodes_of(&self, dc: usize) -> impl Iterator<Item = Node> {
        self.dcs[dc].zones.iter().flat_map(|zone| zone.nodes.iter().copied())
    }
}

impl Zone<'_> {
    /// The zone's nodes in the order in which its ring meets them from a place onward.
    pub(super) fn walk(&self, position: u64) -> impl Iterator<Item = Node> {
        // Both lists ascend by name, so a node's rank on the ring is its rank in the zone.
        self.ring.ranks_from(position).map(|rank| self.nodes[rank])
    }
}

pub(super) fn rank(node: usize) -> Node {
    Node::try_from(node).expect("a topology has at most NODES_MAX nodes")
}
