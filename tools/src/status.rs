//! `waterpark status`: all nodes at a glance, and whether the cluster is as it should be.
//!
//! Every shard of every node is asked itself, all nodes at once. **Invariant:** a node that does not answer has its line, with why; figures
//! that lack its part say so. **Invariant:** a follower that is only busy is no fault: what was committed at the first look is what it must
//! hold at a later one.

mod sight;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use waterpark::config::CommandCode;
use waterpark_client::{ClientError, ReadOptions};
use waterpark_wire::body::{NodeBody, StatusBody};

use self::sight::Node;
use crate::actor::words_of_silence;
use crate::connect::{Cluster, Reach, place};
use crate::demo_screen::figures;
use crate::errors;
use crate::failure::{Failure, code};
use crate::show;
use crate::topology::newest_of;

pub(crate) use sight::{Groups, counter};

/// A node that does not say in so many milliseconds how it is counts as silent.
const NODE_MS_MAX: u32 = 3_000;
/// Nodes that are asked at once.
const AT_ONCE: usize = 64;
/// Between two looks at a group whose members catch up or whose birth is near.
const BETWEEN_LOOKS: Duration = Duration::from_millis(300);
/// How often it is looked again, at most.
const LOOKS_MORE: u32 = 6;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    reach: Reach,
}

/// 0: all is well. 4: no node answers. 5: some node, link, group or copy is missing. The rest as of every command on data.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match show_status(&arguments.reach).and_then(|code| show::flush().map(|()| code)) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.end(arguments.reach.json),
    }
}

fn show_status(reach: &Reach) -> Result<u8, Failure> {
    let cluster = reach.connect()?;
    let mut said = ask_all(&cluster, reach.timeout_ms());
    let mut groups = Groups::of(&answers(&said), cluster.groups());
    // Under load a copy is always a little behind: only one that stays so is missing.
    let first = groups.commits();
    for _ in 0..LOOKS_MORE {
        if !groups.may_catch_up() {
            break;
        }
        std::thread::sleep(BETWEEN_LOOKS);
        said = ask_all(&cluster, reach.timeout_ms());
        groups = Groups::since(&answers(&said), cluster.groups(), &first);
    }
    let nodes: Vec<Node> = cluster
        .nodes()
        .iter()
        .zip(&said)
        .map(|(node, said)| Node::of(node, said))
        .collect();
    let nobody = nodes.iter().all(|node| node.silence.is_some());
    let faults = faults(&nodes, &groups);
    // A cluster without a topology log has no voters.
    let asked = cluster.nodes().iter().zip(&nodes);
    let answering: Vec<u16> = asked
        .filter(|(_, node)| node.silence.is_none())
        .map(|(asked, _)| asked.id)
        .collect();
    let log = newest_of(&cluster, &answering, reach.timeout_ms());
    let voters = log.ok().map(|log| log.voters);
    let voters = voters.map(|voters| voters.iter().map(|node| cluster.name(*node)).collect::<Vec<_>>());
    if reach.json {
        show::print(&object(&nodes, &groups, &faults, voters).to_string())?;
    } else {
        show::print(&text(&nodes, &groups, voters.as_deref()))?;
        if faults.is_empty() {
            show::print("healthy")?;
        }
    }
    if !faults.is_empty() {
        let advice = "look at the nodes that are named first, then at the links between them";
        let text = format!("the cluster is not healthy\n  {}\n  {advice}", faults.join("\n  "));
        errors::say(CommandCode::Unhealthy.entry(), &text);
    }
    Ok(match faults.len() {
        0 => 0,
        _ if nobody => code::CANNOT_REACH,
        _ => code::UNHEALTHY,
    })
}

/// What each node says, shard by shard, in the order of the slot table; or why it says nothing.
pub(crate) fn ask_all(cluster: &Cluster, timeout_ms: u32) -> Vec<Result<Vec<StatusBody>, ClientError>> {
    let options = ReadOptions {
        timeout_ms: timeout_ms.min(NODE_MS_MAX),
        ..ReadOptions::default()
    };
    let ask = |node: &NodeBody| {
        let shards = 0..node.shards.max(1);
        shards
            .map(|shard| cluster.client.status(node.id, shard, &options))
            .collect()
    };
    let mut said = Vec::new();
    for nodes in cluster.nodes().chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            let asking: Vec<_> = nodes.iter().map(|node| scope.spawn(move || ask(node))).collect();
            let answers = asking
                .into_iter()
                .map(|asking| asking.join().unwrap_or(Err(ClientError::Closed)));
            said.extend(answers);
        });
    }
    said
}

fn answers(said: &[Result<Vec<StatusBody>, ClientError>]) -> Vec<&StatusBody> {
    said.iter().flatten().flatten().collect()
}

/// What is not as it should be, the nodes first: the rest mostly follows from them.
fn faults(nodes: &[Node], groups: &Groups) -> Vec<String> {
    let mut faults = Vec::new();
    for node in nodes {
        match &node.silence {
            Some(error) => faults.push(format!("{} {}", node.name, words_of_silence(error))),
            None => {
                if node.out {
                    faults.push(format!(
                        "{} was started anew and holds nothing: it passes messages on",
                        node.name
                    ));
                }
                if node.links_up < node.links {
                    faults.push(format!("{} has {} of {} links", node.name, node.links_up, node.links));
                }
            }
        }
    }
    let kinds = [
        (groups.lost, "lost"),
        (groups.unborn, "unborn"),
        (groups.without_writer, "without a writer that answers"),
        (groups.fewer, "with fewer than three copies"),
        (groups.three, "with three copies"),
        (groups.four, "with four copies"),
    ];
    for (count, what) in kinds.into_iter().filter(|(count, _)| *count > 0) {
        faults.push(format!("{} {what}", counted(count, "group", "groups")));
    }
    faults
}

fn text(nodes: &[Node], groups: &Groups, voters: Option<&[String]>) -> String {
    let titles = [
        "node", "driver", "since", "memory", "writes", "follows", "actors", "entries", "log", "mllp", "links", "behind",
    ];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    rows.extend(nodes.iter().map(|node| row(node, groups)));
    let mut text = show::table(&rows);
    let sum = |of: fn(&Node) -> u64| nodes.iter().map(of).sum::<u64>();
    text += &format!(
        "\n\ngroups   {} of {} with 5 copies, {} with 4, {} with 3, {} with fewer; {} unborn, {} lost, {} without a writer that answers\n",
        groups.five,
        groups.total,
        groups.four,
        groups.three,
        groups.fewer,
        groups.unborn,
        groups.lost,
        groups.without_writer,
    );
    text += &format!(
        "lag      at most {} from a writer to a follower\n",
        counted(groups.lag, "entry", "entries")
    );
    text += &format!(
        "holds    {}, {}; with all copies {} of logs, {} of {} memory\n",
        counted(groups.actors, "actor", "actors"),
        counted(groups.entries, "entry", "entries"),
        figures::bytes(sum(|node| node.log_bytes)),
        figures::bytes(sum(|node| node.memory_used)),
        figures::bytes(sum(|node| node.memory_budget)),
    );
    text += &format!(
        "mllp     {}, {} accepted, of these {}; {} to be sent again, {} rejected; since each node's start\n",
        counted(sum(|node| node.mllp.messages), "message", "messages"),
        figures::count(sum(|node| node.mllp.accepted)),
        counted(sum(|node| node.mllp.known), "repeat", "repeats"),
        figures::count(sum(|node| node.mllp.errors)),
        figures::count(sum(|node| node.mllp.rejected)),
    );
    if let Some(voters) = voters {
        text += &format!("voters   {}\n", voters.join(" "));
    }
    let up = nodes.iter().filter(|node| node.silence.is_none()).count();
    text + &format!("nodes    {up} of {} up", nodes.len())
}

fn counted(count: u64, one: &str, more: &str) -> String {
    format!("{} {}", figures::count(count), if count == 1 { one } else { more })
}

fn row(node: &Node, groups: &Groups) -> Vec<String> {
    if let Some(error) = &node.silence {
        return vec![node.name.clone(), "-".to_owned(), words_of_silence(error)];
    }
    vec![
        node.name.clone(),
        if node.out {
            format!("{}, out", node.driver)
        } else {
            node.driver.clone()
        },
        show::instant(node.since_ms),
        format!(
            "{}/{}",
            figures::short_bytes(node.memory_used),
            figures::short_bytes(node.memory_budget)
        ),
        node.written.to_string(),
        node.followed.to_string(),
        figures::count(node.actors),
        figures::count(node.entries),
        figures::short_bytes(node.log_bytes),
        format!(
            "{}/{}",
            figures::count(node.mllp.accepted),
            figures::count(node.mllp.messages)
        ),
        format!("{}/{}", node.links_up, node.links),
        groups.behind(node.id).map_or_else(|| "-".to_owned(), figures::count),
    ]
}

fn object(nodes: &[Node], groups: &Groups, faults: &[String], voters: Option<Vec<String>>) -> Value {
    let silent: Vec<&str> = nodes
        .iter()
        .filter(|node| node.silence.is_some())
        .map(|node| node.name.as_str())
        .collect();
    let sum = |of: fn(&Node) -> u64| nodes.iter().map(of).sum::<u64>();
    json!({
        "schema": "waterpark.status.1", "complete": silent.is_empty(), "missing": silent, "healthy": faults.is_empty(),
        "faults": faults, "voters": voters,
        "nodes": nodes.iter().map(|node| node_json(node, groups)).collect::<Vec<Value>>(),
        "groups": {
            "total": groups.total, "five": groups.five, "four": groups.four, "three": groups.three, "fewer": groups.fewer,
            "unborn": groups.unborn, "lost": groups.lost, "without_writer": groups.without_writer,
        },
        "lag_entries_max": groups.lag,
        "totals": {
            "up": nodes.len() - silent.len(), "nodes": nodes.len(), "actors": groups.actors, "entries": groups.entries,
            "log_bytes": sum(|node| node.log_bytes), "memory_used": sum(|node| node.memory_used),
            "memory_budget": sum(|node| node.memory_budget), "mllp_messages": sum(|node| node.mllp.messages),
            "mllp_accepted": sum(|node| node.mllp.accepted), "mllp_known": sum(|node| node.mllp.known),
            "mllp_errors": sum(|node| node.mllp.errors), "mllp_rejected": sum(|node| node.mllp.rejected),
        },
    })
}

fn node_json(node: &Node, groups: &Groups) -> Value {
    let (dc, zone) = place(&node.name);
    let up = node.silence.is_none();
    let mut object = json!({ "node": node.name, "id": node.id, "dc": dc, "zone": zone, "up": up });
    if let Some(error) = &node.silence {
        object["error"] = words_of_silence(error).into();
        return object;
    }
    let figures = json!({
        "driver": node.driver, "since": show::instant(node.since_ms), "shards": node.shards, "out": node.out,
        "memory_used": node.memory_used, "memory_budget": node.memory_budget, "groups_written": node.written,
        "groups_followed": node.followed, "actors_written": node.actors, "entries": node.entries,
        "log_bytes": node.log_bytes, "links_up": node.links_up, "links": node.links,
        "behind_entries": groups.behind(node.id),
        "mllp": {
            "connections": node.mllp.connections, "messages": node.mllp.messages, "accepted": node.mllp.accepted,
            "known": node.mllp.known, "errors": node.mllp.errors, "rejected": node.mllp.rejected,
        },
    });
    if let (Value::Object(object), Value::Object(figures)) = (&mut object, figures) {
        object.extend(figures);
    }
    object
}
