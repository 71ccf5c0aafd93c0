//! `waterpark cluster join`: a node that the cluster was not made with belongs to it from now on.
//!
//! The node runs already, with a configuration that is the cluster's and has it as one that `joins`. The order goes to any node of the cluster,
//! which says what is wrong; it is given again until the topology log shows it, so giving it twice does no harm. **Invariant:** what is said to
//! be done was seen in the topology log.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde_json::json;
use waterpark::config::{Duration, Loaded, NodeConfig};
use waterpark_client::blocking::{Client, ClusterAddresses, ConnectOptions};
use waterpark_client::{ClientError, ReadOptions};
use waterpark_wire::body::{ORDER_JOIN, OrderBody};

use super::order::{LOOK_EVERY, give, left_ms};
use super::{carried, newest};
use crate::connect::{self, Cluster};
use crate::failure::Failure;
use crate::show;

/// The node that shall join has so many milliseconds to answer.
const ANSWER_MS: u32 = 5_000;

#[derive(Args)]
pub(crate) struct Join {
    /// Its configuration: the cluster's, with a [[node]] of this name and `joins = true`
    #[arg(long, value_name = "FILE", default_value = "cluster.toml")]
    config: PathBuf,
    /// The node that shall join
    #[arg(long, value_name = "NAME")]
    name: String,
    /// How long the whole call may take
    #[arg(long, value_name = "TIME", default_value = "10s")]
    timeout: Duration,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) fn run(join: &Join) -> Result<(), Failure> {
    let timeout_ms = u32::try_from(join.timeout.as_us() / 1_000).unwrap_or(u32::MAX).max(1);
    let until = Instant::now() + std::time::Duration::from_millis(timeout_ms.into());
    let loaded = connect::load(&join.config)?;
    let node = loaded.config.node(&join.name).map_err(Failure::NodeName)?;
    if !node.joins {
        return Err(Failure::NotJoining {
            node: join.name.clone(),
        });
    }
    let others = |other: &NodeConfig| other.id != node.id;
    let cluster = connect::through(&loaded, others, left_ms(until).max(1))?;
    // Whoever waits for one that does not run would get groups that nobody holds.
    meet(&loaded, node, left_ms(until).max(1))?;
    let order = OrderBody {
        order: ORDER_JOIN,
        node: node.id.0,
        topology: loaded.config.topology_of(node).canonical().to_vec(),
        ..OrderBody::default()
    };
    loop {
        let timeout_ms = left_ms(until);
        if timeout_ms == 0 {
            return Err(Failure::OrderOpen {
                node: join.name.clone(),
                left: None,
            });
        }
        give(&cluster, &order, timeout_ms)?;
        let topology = newest(&cluster, timeout_ms)?;
        let is_up = |presence: &str| matches!(presence, "up" | "draining");
        if topology
            .nodes
            .iter()
            .any(|row| row.id == node.id.0 && is_up(&row.presence))
        {
            let (writes, follows) = carried(&topology).get(&node.id.0).copied().unwrap_or_default();
            return say(join, &cluster, writes + follows);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Asks the node itself who it is.
fn meet(loaded: &Loaded, node: &NodeConfig, timeout_ms: u32) -> Result<(), Failure> {
    let address = connect::address(node);
    let failed = |why: String| Failure::Joiner {
        node: node.name.to_string(),
        address: address.to_string(),
        why,
    };
    let options = ConnectOptions {
        connect_timeout_ms: timeout_ms.min(ANSWER_MS),
        ..ConnectOptions::default()
    };
    let asked = |error: ClientError| failed(error.to_string());
    let client =
        Client::connect(ClusterAddresses(vec![address.clone()]), &connect::key(loaded), options).map_err(asked)?;
    let read = ReadOptions {
        timeout_ms: timeout_ms.min(ANSWER_MS),
        ..ReadOptions::default()
    };
    let table = client.slot_table(&read).map_err(asked)?;
    if table.cluster != loaded.config.id.0 {
        return Err(failed("who answers there belongs to another cluster".to_owned()));
    }
    let status = client.status(node.id.0, 0, &read).map_err(asked)?;
    if status.node != node.name.as_str() {
        return Err(failed(format!("who answers there is {}", status.node)));
    }
    Ok(())
}

fn say(join: &Join, cluster: &Cluster, memberships: usize) -> Result<(), Failure> {
    if join.json {
        let object = json!({
            "schema": "waterpark.join.1", "complete": true, "node": join.name, "presence": "up", "memberships": memberships,
            "groups": cluster.groups(),
        });
        return show::print(&object.to_string());
    }
    show::print(&format!(
        "{} belongs to the cluster, and gets its share of the {} groups a few at a time; `waterpark topology` shows how many it has",
        join.name,
        cluster.groups()
    ))
}
