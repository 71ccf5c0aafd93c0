//! What a node of a configuration asks of the host that it is to run on.
//!
//! The plan of its cores is the one that the node itself would make. **Invariant:** nodes with the same `host` share this machine, as the
//! plan reckons too.

use std::net::IpAddr;

use waterpark::config::{ClusterConfig, NodeConfig};
use waterpark::{CorePlan, plan_cores};
use waterpark_reactor::cores::Cores;

use crate::host::{Facts, Root};

/// What a node asks for.
#[derive(Clone, Debug)]
pub(crate) struct Demand {
    pub(crate) node: String,
    pub(crate) shards: u64,
    pub(crate) shards_on_host: u64,
    pub(crate) nodes_on_host: String,
    /// Where its shards would run; or why they would not.
    pub(crate) plan: Result<CorePlan, String>,
    /// Of this node, and of all on this host.
    pub(crate) memory: u64,
    pub(crate) memory_on_host: u64,
    /// Where it listens; `None` for a name that only the name service knows.
    pub(crate) address: Option<IpAddr>,
    /// Its ports, with who dials them.
    pub(crate) ports: Vec<(u16, &'static str)>,
    /// Clients that each shard takes.
    pub(crate) clients: u64,
    /// Sockets to all other nodes.
    pub(crate) links: u64,
}

impl Demand {
    pub(crate) fn of(config: &ClusterConfig, node: &NodeConfig, facts: &Facts, root: &Root) -> Demand {
        let neighbours = || config.nodes.iter().filter(|other| other.host == node.host);
        let ports = node.ports();
        let of_shard = |shard| [(ports.peer(shard), "peers"), (ports.native(shard), "clients")];
        let mllp = config.mllp.listen.then(|| (ports.mllp(), "MLLP senders"));
        let plan = match &facts.cores {
            Some(cores) => plan_cores(config, node, cores.clone(), root.folder()).map_err(|error| one_line(&error)),
            None => Err("the allowed cores are not known".to_owned()),
        };
        let others = config.nodes.iter().filter(|other| other.id != node.id);
        Demand {
            node: node.name.to_string(),
            shards: node.shards.into(),
            shards_on_host: neighbours().map(|other| u64::from(other.shards)).sum(),
            nodes_on_host: match neighbours().count() {
                1 => "one node".to_owned(),
                nodes => format!("{nodes} nodes"),
            },
            plan,
            memory: node.memory.get(),
            memory_on_host: neighbours()
                .map(|other| other.memory.get())
                .fold(0, u64::saturating_add),
            address: node.host.parse().ok(),
            ports: (0..node.shards).flat_map(of_shard).chain(mllp).collect(),
            clients: config.defaults.clients.into(),
            links: others.map(|other| u64::from(other.shards.max(node.shards))).sum(),
        }
    }

    /// The cores on which its shards are pinned; none if the kernel chooses.
    pub(crate) fn pinned(&self) -> Cores {
        let cores = self.plan.iter().flat_map(|plan| plan.cores.iter().flatten());
        cores.copied().collect()
    }
}

/// The first line of an error: the others say what to do.
fn one_line(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}
