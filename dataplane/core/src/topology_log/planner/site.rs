//! Where nodes stand: data centres and zones as dense numbers, by node id. Read from the topology once.

use waterpark_ring::{NodeName, Topology};

use crate::ids::NodeId;

/// Where one node stands. Ranks ascend by name, as the ring counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) dc: usize,
    /// Counted over the whole cluster.
    pub(crate) zone: usize,
    pub(super) rank: usize,
}

#[derive(Debug)]
pub(crate) struct Site {
    /// By node id; none where the topology has no such node.
    places: Vec<Option<Place>>,
    /// Zones of each data centre.
    zones: Vec<usize>,
    /// All nodes, ascending by name.
    pub(super) nodes: Vec<NodeId>,
}

impl Site {
    pub(crate) fn new(topology: &Topology) -> Site {
        let ids = topology.nodes().iter().map(|node| node.id);
        let mut places = vec![None; ids.map(|id| usize::from(id.0) + 1).max().unwrap_or(0)];
        let mut zones: Vec<usize> = Vec::new();
        let mut before: Option<(&str, &str)> = None;
        // Names ascend by data centre and zone, so each begins where the one before it differs.
        for (rank, node) in topology.nodes().iter().enumerate() {
            let name = NodeName::parse(&node.name).expect("a topology has checked its names");
            if before.is_none_or(|(dc, _)| dc != name.dc) {
                zones.push(0);
            }
            let dc = zones.len() - 1;
            if before != Some((name.dc, name.zone)) {
                zones[dc] += 1;
            }
            before = Some((name.dc, name.zone));
            let zone = zones.iter().sum::<usize>() - 1;
            places[usize::from(node.id.0)] = Some(Place { dc, zone, rank });
        }
        let nodes = topology.nodes().iter().map(|node| node.id).collect();
        Site { places, zones, nodes }
    }

    /// Where a node stands; `None` if it left the topology.
    pub(crate) fn place(&self, node: NodeId) -> Option<Place> {
        self.places.get(usize::from(node.0)).copied().flatten()
    }

    pub(super) fn dcs(&self) -> usize {
        self.zones.len()
    }

    pub(super) fn zones_of(&self, dc: usize) -> usize {
        self.zones[dc]
    }

    /// How far a data centre is from another one, in the order in which the ring lets them take over.
    pub(super) fn distance(&self, from: usize, to: usize) -> usize {
        (to + self.dcs() - from) % self.dcs()
    }
}
