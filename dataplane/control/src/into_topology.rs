//! From the configuration to what placement needs: which nodes there are, and how keys fall into groups.

use waterpark_ring::{NodeSpec, Topology, TopologySpec};

use crate::config::{ClusterConfig, NodeConfig};

impl ClusterConfig {
    /// The topology at birth. Equal configurations give equal topologies, whatever the order of their nodes; memory, kinds and links
    /// have no part in it, nor have nodes that join.
    ///
    /// # Panics
    ///
    /// If the topology refuses what the checks of this crate let pass: the two have come apart.
    #[must_use]
    pub fn topology(&self) -> Topology {
        Topology::new(self.topology_spec()).expect("a checked configuration makes a topology")
    }

    /// The topology as a node has it at its start: with itself, if the cluster was not made with it.
    ///
    /// # Panics
    ///
    /// As [`topology`](Self::topology).
    #[must_use]
    pub fn topology_of(&self, node: &NodeConfig) -> Topology {
        let founding = self.topology();
        if !node.joins {
            return founding;
        }
        let grown = founding.grown(&[node.spec()], &[]);
        grown.expect("a checked configuration makes a topology with each of its nodes")
    }

    fn topology_spec(&self) -> TopologySpec {
        TopologySpec {
            groups: self.groups,
            classes: self.classes,
            members: self.members,
            facilities: self.facilities.clone(),
            homes: self.class_homes.clone(),
            voters: self.voters.clone(),
            ..TopologySpec::new(
                self.id,
                self.nodes
                    .iter()
                    .filter(|node| !node.joins)
                    .map(NodeConfig::spec)
                    .collect(),
            )
        }
    }
}

impl NodeConfig {
    fn spec(&self) -> NodeSpec {
        NodeSpec {
            id: self.id,
            name: self.name.as_str().to_owned(),
            host: self.host.clone(),
            port: self.port,
            shards: self.shards,
        }
    }
}
