//! `waterpark node drain|undrain`: an operator's orders, given until the topology log shows them.
//!
//! A node proposes what it is told and forgets it; so the order is given again until the log shows it. **Invariant:** what is said to be done
//! was seen in the log.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde_json::json;
use waterpark_client::{ClientError, ReadOptions};
use waterpark_wire::body::{ORDER_DRAIN, ORDER_UNDRAIN, OrderBody, TopologyBody};

use super::{carried, newest};
use crate::connect::{Cluster, Reach};
use crate::failure::Failure;
use crate::show;

/// Between two looks at the log.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Orders about a node.
#[derive(Subcommand)]
pub(crate) enum Order {
    /// Let a node lose all its memberships, without an interruption; it goes on running
    Drain(Named),
    /// Let a node that drains keep its memberships, and get back those that the ring gives it
    Undrain(Named),
}

#[derive(Args)]
pub(crate) struct Named {
    /// The node
    #[arg(value_name = "NODE")]
    node: String,
    #[command(flatten)]
    reach: Reach,
}

/// 0: done. 1: refused. 2: no such node. 4: no node answers. 6: out of time; the order stands.
pub(crate) fn run(order: &Order) -> ExitCode {
    let (named, number) = match order {
        Order::Drain(named) => (named, ORDER_DRAIN),
        Order::Undrain(named) => (named, ORDER_UNDRAIN),
    };
    match carry_out(named, number).and_then(|()| show::flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.end(named.reach.json),
    }
}

fn carry_out(named: &Named, number: u8) -> Result<(), Failure> {
    let until = Instant::now() + Duration::from_millis(named.reach.timeout_ms().into());
    let cluster = named.reach.connect()?;
    let node = cluster.node_named(&named.node)?;
    let order = OrderBody {
        order: number,
        node,
        ..OrderBody::default()
    };
    let wanted = if number == ORDER_DRAIN { "draining" } else { "up" };
    let mut left = None;
    loop {
        let timeout_ms = left_ms(until);
        if timeout_ms == 0 {
            return Err(Failure::OrderOpen {
                node: named.node.clone(),
                left,
            });
        }
        let topology = newest(&cluster, timeout_ms)?;
        let presence = topology.nodes.iter().find(|row| row.id == node);
        if presence.is_some_and(|row| row.presence == wanted) {
            let (writes, follows) = carried(&topology).get(&node).copied().unwrap_or_default();
            let keeps = follows_for_good(&topology, node);
            if number == ORDER_UNDRAIN || writes == 0 && (follows == 0 || keeps) {
                return say(named, wanted, writes, follows);
            }
            left = Some(writes + follows);
        } else {
            give(&cluster, &order, timeout_ms)?;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The time until an instant, in ms.
pub(crate) fn left_ms(until: Instant) -> u32 {
    let left = until.saturating_duration_since(Instant::now());
    u32::try_from(left.as_millis()).unwrap_or(u32::MAX)
}

/// Whether too few other nodes are up to take its copies over.
fn follows_for_good(topology: &TopologyBody, node: u16) -> bool {
    let others = topology
        .nodes
        .iter()
        .filter(|row| row.id != node && row.presence == "up");
    let members = topology.groups.iter().map(|group| group.active.members.len());
    others.count() < members.max().unwrap_or(0)
}

/// Gives the order to one node after the other until one answers.
pub(crate) fn give(cluster: &Cluster, order: &OrderBody, timeout_ms: u32) -> Result<(), Failure> {
    let options = ReadOptions {
        timeout_ms: timeout_ms.min(super::NODE_MS_MAX),
        ..ReadOptions::default()
    };
    let mut silence = ClientError::Silent;
    for node in cluster.nodes() {
        match cluster.client.order(node.id, order.clone(), &options) {
            Ok(ordered) if ordered.taken => return Ok(()),
            Ok(ordered) => return Err(Failure::Order { why: ordered.why }),
            Err(error) => silence = error,
        }
    }
    Err(Failure::Call(silence))
}

fn say(named: &Named, presence: &str, writes: usize, follows: usize) -> Result<(), Failure> {
    if named.reach.json {
        let object = json!({
            "schema": "waterpark.node_order.1", "complete": true, "node": named.node, "presence": presence,
            "writes": writes, "follows": follows,
        });
        return show::print(&object.to_string());
    }
    let node = &named.node;
    show::print(&match (presence, follows) {
        ("draining", 0) => format!("{node} is drained: it holds no group"),
        ("draining", _) => {
            format!("{node} writes nothing; it follows {follows} groups, whose copies no other node can take")
        }
        _ => format!("{node} is up, and gets its groups back"),
    })
}
