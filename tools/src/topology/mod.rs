//! `waterpark topology`: what the topology log says of nodes and groups, and its last changes: what, when, by whom, why.
//!
//! Every node is asked what it knows of the log, and the one that knows most is believed. It changes nothing. **Invariant:** what is shown
//! is one node's knowledge, whole, and never put together from several.

pub(crate) mod explain;
mod join;
pub(crate) mod order;
pub(crate) mod recover;

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use waterpark_client::{ClientError, ReadOptions};
use waterpark_wire::body::{ConfigBody, HappeningBody, MemberBody, NodeStateBody, TopologyBody};

use crate::connect::{Cluster, Reach};
use crate::failure::Failure;
use crate::show;

/// A node that does not say in so many milliseconds what it knows is not waited for.
const NODE_MS_MAX: u32 = 2_000;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Show so many of the last changes
    #[arg(long, value_name = "N", default_value_t = 20)]
    last: usize,
    /// Show the changes of one group alone
    #[arg(long, value_name = "N")]
    group: Option<u32>,
    #[command(flatten)]
    reach: Reach,
}

/// 0: shown. 1: the cluster has no topology log. 4: no node answers.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match show_topology(arguments).and_then(|()| show::flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.end(arguments.reach.json),
    }
}

/// What the node that knows most of the log knows.
///
/// # Errors
/// `NoTopologyLog` where nodes have none; the first node's word where none answers.
pub(crate) fn newest(cluster: &Cluster, timeout_ms: u32) -> Result<TopologyBody, Failure> {
    let all: Vec<u16> = cluster.nodes().iter().map(|node| node.id).collect();
    newest_of(cluster, &all, timeout_ms)
}

/// The same of some nodes: whoever knows that others do not answer need not wait for them.
pub(crate) fn newest_of(cluster: &Cluster, nodes: &[u16], timeout_ms: u32) -> Result<TopologyBody, Failure> {
    let options = ReadOptions {
        timeout_ms: timeout_ms.min(NODE_MS_MAX),
        ..ReadOptions::default()
    };
    let answers: Vec<Result<TopologyBody, ClientError>> = std::thread::scope(|scope| {
        let ask = |id: u16| scope.spawn(move || cluster.client.topology(id, &options));
        let asking: Vec<_> = nodes.iter().map(|node| ask(*node)).collect();
        let joined = asking.into_iter().map(|asking| asking.join());
        joined.map(|said| said.unwrap_or(Err(ClientError::Closed))).collect()
    });
    let mut silence = None;
    let mut best: Option<TopologyBody> = None;
    for answer in answers {
        match answer {
            Ok(body) if best.as_ref().is_none_or(|best| best.position < body.position) => best = Some(body),
            Ok(_) => {}
            Err(error) => silence = silence.or(Some(error)),
        }
    }
    match best {
        Some(body) if body.position > 0 => Ok(body),
        Some(_) => Err(Failure::NoTopologyLog),
        None => Err(Failure::Call(silence.unwrap_or(ClientError::Silent))),
    }
}

fn show_topology(arguments: &Arguments) -> Result<(), Failure> {
    let cluster = arguments.reach.connect()?;
    let body = newest(&cluster, arguments.reach.timeout_ms())?;
    let about = |row: &&HappeningBody| match arguments.group {
        None => true,
        Some(group) => is_of_group(row) && row.what != "created" && row.group == group,
    };
    let rows: Vec<&HappeningBody> = body.history.iter().filter(about).collect();
    let rows = &rows[rows.len().saturating_sub(arguments.last)..];
    if arguments.reach.json {
        return show::print(&object(&cluster, &body, rows).to_string());
    }
    show::print(&text(&cluster, &body, rows))
}

/// Whether a change is of groups, and not of nodes or voters.
fn is_of_group(row: &HappeningBody) -> bool {
    row.what != "node" && row.what != "voters"
}

/// How many groups each node writes and follows.
fn carried(body: &TopologyBody) -> BTreeMap<u16, (usize, usize)> {
    let mut carried: BTreeMap<u16, (usize, usize)> = BTreeMap::new();
    for group in &body.groups {
        for (at, member) in group.active.members.iter().enumerate() {
            let row = carried.entry(member.node).or_default();
            if at == 0 {
                row.0 += 1;
            } else {
                row.1 += 1;
            }
        }
    }
    carried
}

fn text(cluster: &Cluster, body: &TopologyBody, rows: &[&HappeningBody]) -> String {
    let count =
        |what: fn(&waterpark_wire::body::GroupStateBody) -> bool| body.groups.iter().filter(|g| what(g)).count();
    let mut lines = vec![format!(
        "position {}: {} groups, {} of them change, {} are learned, {} are lost",
        body.position,
        body.groups.len(),
        count(|group| !group.pending.is_empty()),
        count(|group| !group.learners.is_empty()),
        count(|group| group.lost),
    )];
    let carried = carried(body);
    let titles = ["node", "presence", "incarnation", "votes", "writes", "follows"];
    let mut table = vec![titles.map(str::to_owned).to_vec()];
    for node in &body.nodes {
        let (writes, follows) = carried.get(&node.id).copied().unwrap_or_default();
        table.push(vec![
            cluster.name(node.id),
            node.presence.clone(),
            node.incarnation.to_string(),
            if votes(body, node) { "yes" } else { "-" }.to_owned(),
            writes.to_string(),
            follows.to_string(),
        ]);
    }
    lines.push(show::table(&table));
    let titles = ["position", "when", "by", "what"];
    let mut table = vec![titles.map(str::to_owned).to_vec()];
    for row in rows {
        table.push(vec![
            row.position.to_string(),
            show::instant(row.wall_ms),
            cluster.name(row.by),
            words(cluster, row),
        ]);
    }
    lines.push(show::table(&table));
    lines.join("\n\n")
}

fn votes(body: &TopologyBody, node: &NodeStateBody) -> bool {
    body.voters.contains(&node.id)
}

fn names(cluster: &Cluster, nodes: &[u16]) -> String {
    let names: Vec<String> = nodes.iter().map(|node| cluster.name(*node)).collect();
    names.join(" ")
}

/// A change in words.
fn words(cluster: &Cluster, row: &HappeningBody) -> String {
    let members = names(cluster, &row.members);
    match row.what.as_str() {
        "node" => {
            let node = |node: &NodeStateBody| format!("{} {}", cluster.name(node.id), node.presence);
            row.nodes.iter().map(node).collect::<Vec<_>>().join(", ")
        }
        "created" => format!("{} groups born", row.group),
        "voters" => format!("configuration {}: {members} vote: {}", row.group, row.why),
        "learners" if members.is_empty() => format!("group {}: nobody learns", row.group),
        "learners" => format!("group {}: {members} learn", row.group),
        "proposed" => format!(
            "group {}: view {} wanted with {members}: {}",
            row.group, row.view, row.why
        ),
        "seated" => {
            let node = row.nodes.first().map_or_else(String::new, |node| cluster.name(node.id));
            let held = if row.pinned { ", held there" } else { "" };
            let why = if row.why.is_empty() {
                String::new()
            } else {
                format!(": {}", row.why)
            };
            format!("group {}: on shard {} of {node}{held}{why}", row.group, row.shard)
        }
        "activated" => format!("group {}: view {} in force with {members}", row.group, row.view),
        other => format!("group {}: {other}", row.group),
    }
}

fn member_json(cluster: &Cluster, member: &MemberBody) -> Value {
    json!({ "node": cluster.name(member.node), "incarnation": member.incarnation })
}

fn config_json(cluster: &Cluster, config: &ConfigBody) -> Value {
    let members: Vec<Value> = config
        .members
        .iter()
        .map(|member| member_json(cluster, member))
        .collect();
    json!({
        "view": config.view, "lineage": config.lineage, "members": members,
        "write_quorum": config.write_quorum, "read_quorum": config.read_quorum,
    })
}

fn object(cluster: &Cluster, body: &TopologyBody, rows: &[&HappeningBody]) -> Value {
    let carried = carried(body);
    let node = |node: &NodeStateBody| {
        let (writes, follows) = carried.get(&node.id).copied().unwrap_or_default();
        json!({
            "node": cluster.name(node.id), "id": node.id, "presence": node.presence,
            "incarnation": node.incarnation, "votes": votes(body, node), "writes": writes, "follows": follows,
        })
    };
    let groups: Vec<Value> = (body.groups.iter())
        .map(|group| {
            let learners: Vec<Value> = group
                .learners
                .iter()
                .map(|member| member_json(cluster, member))
                .collect();
            json!({
                "group": group.active.group, "active": config_json(cluster, &group.active),
                "pending": group.pending.first().map(|config| config_json(cluster, config)),
                "learners": learners, "lost": group.lost,
            })
        })
        .collect();
    let history: Vec<Value> = (rows.iter())
        .map(|row| {
            json!({
                "position": row.position, "at": show::instant(row.wall_ms), "by": cluster.name(row.by),
                "what": row.what, "configuration": (row.what == "voters").then_some(row.group), "group": is_of_group(row).then_some(row.group), "view": row.view,
                "node": row.nodes.first().map(|node| cluster.name(node.id)),
                "presence": row.nodes.first().filter(|_| row.what == "node").map(|node| node.presence.clone()),
                "shard": (row.what == "seated").then_some(row.shard), "pinned": (row.what == "seated").then_some(row.pinned),
                "members": row.members.iter().map(|node| cluster.name(*node)).collect::<Vec<_>>(),
                "why": row.why,
            })
        })
        .collect();
    json!({
        "schema": "waterpark.topology.1", "complete": true, "position": body.position,
        "configuration": body.configuration, "voters": body.voters.iter().map(|node| cluster.name(*node)).collect::<Vec<_>>(),
        "nodes": body.nodes.iter().map(node).collect::<Vec<_>>(), "groups": groups, "history": history,
    })
}
