//! `waterpark placement undo`: groups go back to the shards from which the last plan moved them.
//!
//! What a plan did is read from the topology log's history; nothing is kept beside it. **Invariant:** a plan is undone once, and the one before
//! it is the next.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use waterpark_wire::body::{HappeningBody, SeatBody};

use super::seat;
use crate::connect::Reach;
use crate::failure::Failure;
use crate::show;
use crate::topology::newest;

/// What the reason of every move by a plan begins with.
pub(super) const PLANNED: &str = "planned: ";
/// And that of one that is taken back, before the position of the plan's entry.
const UNDONE: &str = "undone: the plan of position ";

#[derive(Args)]
pub(crate) struct Undo {
    /// The node; without this each node on which a plan was carried out
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    #[command(flatten)]
    pub(super) reach: Reach,
}

/// A plan that was carried out on a node and not undone since.
#[derive(Debug, PartialEq, Eq)]
struct Done {
    position: u64,
    /// Groups, each with the shard where the history says that it was before; `None` where nothing had moved it.
    groups: Vec<(u32, Option<u16>)>,
}

pub(super) fn undo(arguments: &Undo) -> Result<u8, Failure> {
    let reach = &arguments.reach;
    let until = Instant::now() + Duration::from_millis(reach.timeout_ms().into());
    let cluster = reach.connect()?;
    let topology = newest(&cluster, reach.timeout_ms())?;
    let nodes: Vec<u16> = match &arguments.node {
        Some(name) => vec![cluster.node_named(name)?],
        None => cluster.nodes().iter().map(|node| node.id).collect(),
    };
    let mut undone = Vec::new();
    for node in nodes {
        let Some(done) = last_plan(&topology.history, node) else {
            continue;
        };
        let back = |(group, before): &(u32, Option<u16>)| {
            let stands = seat::seat_of(&cluster, &topology, node, *group);
            // What an operator holds somewhere since stays there.
            let shard = before.unwrap_or_else(|| seat::by_number(&cluster, node, *group));
            (!stands.pinned).then_some(SeatBody { shard, ..stands })
        };
        let seats: Vec<SeatBody> = done.groups.iter().filter_map(back).collect();
        if !seats.is_empty() {
            seat::order(&cluster, node, &seats, &format!("{UNDONE}{}", done.position), until)?;
        }
        undone.push((cluster.name(node), done.position, seats));
    }
    if undone.is_empty() {
        let why = "the topology log remembers no plan that was carried out and not undone".to_owned();
        return Err(Failure::Order { why });
    }
    if reach.json {
        let seat = |seat: &SeatBody| json!({ "group": seat.group, "shard": seat.shard });
        let node = |(node, position, seats): &(String, u64, Vec<SeatBody>)| json!({ "node": node, "position": position, "moves": seats.iter().map(seat).collect::<Vec<_>>() });
        let object = json!({
            "schema": "waterpark.placement.undo.1", "complete": true,
            "nodes": undone.iter().map(node).collect::<Vec<_>>(),
        });
        show::print(&object.to_string())?;
        return Ok(0);
    }
    for (node, position, seats) in undone {
        show::print(&format!(
            "{node}: the plan of position {position} is undone, {} groups are where they were",
            seats.len()
        ))?;
    }
    Ok(0)
}

/// The last plan that was carried out on a node and is not undone.
fn last_plan(history: &[HappeningBody], node: u16) -> Option<Done> {
    let of_node = |row: &&HappeningBody| row.what == "seated" && row.nodes.first().is_some_and(|row| row.id == node);
    let rows: Vec<&HappeningBody> = history.iter().filter(of_node).collect();
    let is_undone = |position: u64| rows.iter().any(|row| row.why == format!("{UNDONE}{position}"));
    let position = rows
        .iter()
        .rev()
        .find(|row| row.why.starts_with(PLANNED) && !is_undone(row.position))?
        .position;
    let before = |group: u32| {
        let earlier = rows.iter().rev().filter(|row| row.position < position);
        earlier.filter(|row| row.group == group).map(|row| row.shard).next()
    };
    let moved = rows.iter().filter(|row| row.position == position);
    Some(Done {
        position,
        groups: moved.map(|row| (row.group, before(row.group))).collect(),
    })
}

#[cfg(test)]
mod tests {
    use waterpark_wire::body::NodeStateBody;

    use super::*;

    fn row(position: u64, node: u16, group: u32, shard: u16, why: &str) -> HappeningBody {
        HappeningBody {
            position,
            what: "seated".to_owned(),
            nodes: vec![NodeStateBody {
                id: node,
                ..NodeStateBody::default()
            }],
            group,
            shard,
            why: why.to_owned(),
            ..HappeningBody::default()
        }
    }

    #[test]
    fn plans_are_undone_one_after_the_other_the_last_first_and_on_each_node_by_itself() {
        let planned = "planned: busiest shard 1.6 of the mean, 1.1 then";
        let mut history = vec![
            row(5, 1, 7, 1, "an operator holds it there"),
            row(8, 1, 7, 2, planned),
            row(8, 1, 9, 3, planned),
            row(9, 2, 7, 3, planned),
            row(12, 1, 7, 0, planned),
        ];
        let done = |position, groups: &[(u32, Option<u16>)]| {
            let groups = groups.to_vec();
            Some(Done { position, groups })
        };
        assert_eq!(last_plan(&history, 1), done(12, &[(7, Some(2))]));
        history.push(row(13, 1, 7, 2, "undone: the plan of position 12"));
        assert_eq!(last_plan(&history, 1), done(8, &[(7, Some(1)), (9, None)]));
        history.push(row(14, 1, 7, 1, "undone: the plan of position 8"));
        assert_eq!(last_plan(&history, 1), None);
        assert_eq!(last_plan(&history, 2), done(9, &[(7, None)]));
        assert_eq!(last_plan(&history, 3), None);
    }
}
