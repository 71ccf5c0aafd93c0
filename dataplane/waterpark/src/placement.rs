//! Which core each shard runs on, and how long an idle one may spin.
//!
//! A count of workers says how many, not where. So that several nodes on one machine (a test, a demo) do not all sit on core 0, the shards of
//! a cluster's nodes with the same host take the allowed cores in turn, in the order of the file; if there are more shards than cores none is
//! pinned, and none spins.

use std::path::Path;

use waterpark_control::{ClusterConfig, NodeConfig, Workers};
use waterpark_reactor::cores::{self, Cores, PinError, runnable_shards_exceed_cores};
use waterpark_reactor::spin::SPIN_BUDGET_NS;

use crate::NodeError;

/// Where the shards of one node run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorePlan {
    /// The core of each shard; `None` where the kernel chooses.
    pub cores: Vec<Option<u32>>,
    /// What the process may use.
    pub allowed: Cores,
    /// How long an idle shard polls before it sleeps.
    pub spin_budget_ns: u64,
}

/// Plans the cores of one node in this process.
///
/// # Errors
/// As [`plan_cores`]; or the kernel does not tell the affinity mask.
pub(crate) fn plan(config: &ClusterConfig, node: &NodeConfig) -> Result<CorePlan, NodeError> {
    let allowed = cores::allowed().map_err(|cause| NodeError::Kernel {
        what: "the affinity mask",
        cause,
    })?;
    plan_cores(config, node, allowed, Path::new("/"))
}

/// Plans the cores of one node in a process that may use `allowed`, on the host whose files are below `root`.
///
/// # Errors
/// When a core that is named is not allowed here, or the host has another number of cores than the configuration has shards.
pub fn plan_cores(
    config: &ClusterConfig,
    node: &NodeConfig,
    allowed: Cores,
    root: &Path,
) -> Result<CorePlan, NodeError> {
    let neighbours = config.nodes.iter().filter(|other| other.host == node.host);
    let shards_on_host: usize = neighbours.clone().map(|other| usize::from(other.shards)).sum();
    let exceed = runnable_shards_exceed_cores(shards_on_host, &allowed);
    let listed = |wanted: Cores| -> Result<Vec<Option<u32>>, NodeError> {
        let refused = wanted.as_slice().iter().find(|core| !allowed.contains(**core));
        if let Some(&core) = refused {
            let cause = PinError::NotAllowed {
                core,
                allowed: allowed.clone(),
            };
            let node = node.name.to_string();
            return Err(NodeError::Cores { node, cause });
        }
        if wanted.len() != usize::from(node.shards) {
            return Err(NodeError::Shards {
                node: node.name.to_string(),
                shards: node.shards,
                cores: wanted.len(),
            });
        }
        Ok(wanted.as_slice().iter().copied().map(Some).collect())
    };
    let cores = match &node.workers {
        Workers::Cores(cores) => listed(cores.iter().map(|core| u32::from(*core)).collect())?,
        Workers::Auto => listed(allowed.clone())?,
        Workers::Numa(numa) => listed(cores_of_numa_node(*numa, &allowed, root)?)?,
        Workers::Count(count) if exceed => vec![None; usize::from(*count)],
        Workers::Count(count) => {
            let before = neighbours.take_while(|other| other.id != node.id);
            let first: usize = before.map(|other| usize::from(other.shards)).sum();
            let own = first..first + usize::from(*count);
            own.map(|index| allowed.as_slice().get(index).copied()).collect()
        }
    };
    Ok(CorePlan {
        cores,
        spin_budget_ns: if exceed { 0 } else { SPIN_BUDGET_NS },
        allowed,
    })
}

fn cores_of_numa_node(numa: u16, allowed: &Cores, root: &Path) -> Result<Cores, NodeError> {
    let path = root.join(format!("sys/devices/system/node/node{numa}/cpulist"));
    let text = std::fs::read_to_string(path).map_err(|cause| NodeError::Kernel {
        what: "the cores of the NUMA node",
        cause,
    })?;
    let cores: Cores = text.trim().parse().map_err(|_| NodeError::Kernel {
        what: "the cores of the NUMA node",
        cause: std::io::ErrorKind::InvalidData.into(),
    })?;
    Ok(cores.and(allowed))
}
