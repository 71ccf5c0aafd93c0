//! `waterpark placement pin|unpin`: a group is held on a shard of a node, or is any planner's to move again. And the order behind every move.
//!
//! A node proposes what it is told and forgets it; so the order is given again until the log shows it. **Invariant:** what is said to be done was
//! seen in the log.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use waterpark_ring::{GroupId, shard_of};
use waterpark_wire::body::{ORDER_SEAT, OrderBody, SeatBody, TopologyBody};

use crate::connect::{Cluster, Reach, parse_key};
use crate::failure::Failure;
use crate::show;
use crate::topology::newest;
use crate::topology::order::{LOOK_EVERY, give, left_ms};

/// A group on a node.
#[derive(Args)]
#[group(skip)]
pub(crate) struct About {
    /// An actor of the group: KIND/ID[,NAME=VALUE], for example patient/1001,facility=HOSPX
    #[arg(value_name = "KEY", required_unless_present = "group", conflicts_with = "group")]
    key: Option<String>,
    /// The group itself
    #[arg(long, value_name = "N")]
    group: Option<u32>,
    /// The node; without this the one that writes the group
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
}

#[derive(Args)]
pub(crate) struct Pin {
    #[command(flatten)]
    about: About,
    /// The shard; without this the one where the group is
    #[arg(long, value_name = "N")]
    shard: Option<u16>,
    /// Words for the topology log's history
    #[arg(long, value_name = "TEXT", default_value = "an operator holds it there")]
    reason: String,
    #[command(flatten)]
    pub(super) reach: Reach,
}

#[derive(Args)]
pub(crate) struct Unpin {
    #[command(flatten)]
    about: About,
    #[command(flatten)]
    pub(super) reach: Reach,
}

/// Holds a group where it is, or somewhere else.
pub(super) fn pin(arguments: &Pin) -> Result<u8, Failure> {
    let wanted = |stands: SeatBody| SeatBody {
        shard: arguments.shard.unwrap_or(stands.shard),
        pinned: true,
        ..stands
    };
    change(&arguments.about, &arguments.reach, &arguments.reason, wanted)
}

/// Leaves a group where it is, and lets it go.
pub(super) fn unpin(arguments: &Unpin) -> Result<u8, Failure> {
    let wanted = |stands: SeatBody| SeatBody {
        pinned: false,
        ..stands
    };
    change(&arguments.about, &arguments.reach, "an operator lets it go", wanted)
}

fn change(about: &About, reach: &Reach, reason: &str, wanted: impl Fn(SeatBody) -> SeatBody) -> Result<u8, Failure> {
    let until = Instant::now() + Duration::from_millis(reach.timeout_ms().into());
    let cluster = reach.connect()?;
    let topology = newest(&cluster, reach.timeout_ms())?;
    let group = match (&about.key, about.group) {
        (Some(key), _) => cluster.group(parse_key(key)?.as_ref())?.0,
        (None, group) => group.unwrap_or_default(),
    };
    let Some(members) = topology.groups.get(group as usize).map(|row| &row.active.members) else {
        let why = format!(
            "there is no group {group}: they are numbered from 0 to {}",
            cluster.groups() - 1
        );
        return Err(Failure::Order { why });
    };
    let node = match &about.node {
        Some(name) => cluster.node_named(name)?,
        None => members[0].node,
    };
    let stands = seat_of(&cluster, &topology, node, group);
    let wanted = wanted(stands);
    order(&cluster, node, &[wanted], reason, until)?;
    let name = cluster.name(node);
    let (shard, pinned) = (wanted.shard, wanted.pinned);
    if reach.json {
        let object = json!({
            "schema": "waterpark.placement.seat.1", "complete": true, "group": group, "node": name, "shard": shard,
            "before": stands.shard, "pinned": pinned,
        });
        show::print(&object.to_string())?;
        return Ok(0);
    }
    let held = if pinned { "is held" } else { "is, and may be moved" };
    let from = match stands.shard {
        before if before == shard => String::new(),
        before => format!("; it was on shard {before}"),
    };
    show::print(&format!("group {group} {held} on shard {shard} of {name}{from}"))?;
    Ok(0)
}

/// Where a group lives on a node now.
pub(super) fn seat_of(cluster: &Cluster, topology: &TopologyBody, node: u16, group: u32) -> SeatBody {
    let shards = cluster.node(node).map_or(1, |node| node.shards);
    let given = topology
        .seats
        .iter()
        .find(|seat| seat.node == node && seat.group == group);
    given
        .copied()
        .filter(|seat| seat.shard < shards)
        .unwrap_or_else(|| SeatBody {
            node,
            group,
            shard: by_number(cluster, node, group),
            ..SeatBody::default()
        })
}

/// Where a group lives on a node if nothing else was said.
pub(super) fn by_number(cluster: &Cluster, node: u16, group: u32) -> u16 {
    shard_of(GroupId(group), cluster.node(node).map_or(1, |node| node.shards))
}

/// Gives groups of a node their shards, and waits until the log shows it. Returns what it shows.
pub(super) fn order(
    cluster: &Cluster,
    node: u16,
    seats: &[SeatBody],
    reason: &str,
    until: Instant,
) -> Result<TopologyBody, Failure> {
    let order = OrderBody {
        order: ORDER_SEAT,
        node,
        seats: seats.to_vec(),
        reason: reason.to_owned(),
        ..OrderBody::default()
    };
    loop {
        let timeout_ms = left_ms(until);
        if timeout_ms == 0 {
            let about = format!("the shards of {}", cluster.name(node));
            return Err(Failure::OrderOpen {
                node: about,
                left: None,
            });
        }
        let topology = newest(cluster, timeout_ms)?;
        let stands = |wanted: &SeatBody| {
            let seat = seat_of(cluster, &topology, node, wanted.group);
            (seat.shard, seat.pinned) == (wanted.shard, wanted.pinned)
        };
        if seats.iter().all(stands) {
            return Ok(topology);
        }
        give(cluster, &order, timeout_ms)?;
        std::thread::sleep(LOOK_EVERY / 4);
    }
}
