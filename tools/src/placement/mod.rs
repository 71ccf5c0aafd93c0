//! `waterpark placement`: which shard runs on which core, what it does there, and which groups cost how much; and groups that move from one shard
//! of a node to another.
//!
//! Two looks at all shards, a while apart, make rates. **Invariant:** a node that does not answer is named, and no sum hides that it lacks it.

mod apply;
mod load;
mod plan;
mod seat;
mod svg;
mod undo;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use waterpark::config::Duration;

use self::load::{NodeLoad, ShardLoad, of_shard};
use crate::actor::words_of_silence;
use crate::connect::{Cluster, Reach};
use crate::demo_screen::figures;
use crate::failure::{Failure, code};
use crate::host::Root;
use crate::host::cores::{self, Core};
use crate::{latency, show, status};

/// Groups that are told by themselves, of all nodes.
const BUSIEST: usize = 10;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Show the cores of this host, what every shard does, and the groups and actors that cost most
    Show(Show),
    /// Say which groups should move between the shards of their nodes, and what that would bring; nothing moves
    Plan(apply::Wish),
    /// Look, move what should move, look again, and say what was predicted and what came
    Apply(apply::Apply),
    /// Hold a group on a shard of a node, where it is or where you say; it moves there while it lives
    Pin(seat::Pin),
    /// Let a group be moved again that is held on a shard
    Unpin(seat::Unpin),
    /// Move groups back to the shards from which the last plan moved them
    Undo(undo::Undo),
}

#[derive(Args)]
pub(crate) struct Show {
    #[command(flatten)]
    reach: Reach,
    /// How long is looked
    #[arg(long = "for", value_name = "TIME", default_value = "2s", value_parser = latency::time)]
    time: Duration,
    /// Write a picture of it into this file, too
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// What was seen.
struct Seen {
    nodes: Vec<NodeLoad>,
    /// Nodes of which nothing is known, each with why.
    silent: Vec<(String, String)>,
    cores: Vec<Core>,
}

/// 0: shown, or done. 1: refused, the cluster has no topology log, or the picture cannot be written. 2: no such node or key. 4: no node answers.
/// 5: some do not. 6: out of time; the order stands.
pub(crate) fn run(command: &Command) -> ExitCode {
    let (as_json, ended) = match command {
        Command::Show(arguments) => (arguments.reach.json, shown(arguments)),
        Command::Plan(arguments) => (arguments.reach.json, apply::plan(arguments)),
        Command::Apply(arguments) => (arguments.wish.reach.json, apply::apply(arguments)),
        Command::Pin(arguments) => (arguments.reach.json, seat::pin(arguments)),
        Command::Unpin(arguments) => (arguments.reach.json, seat::unpin(arguments)),
        Command::Undo(arguments) => (arguments.reach.json, undo::undo(arguments)),
    };
    match ended.and_then(|code| show::flush().map(|()| code)) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.end(as_json),
    }
}

fn shown(arguments: &Show) -> Result<u8, Failure> {
    let cluster = arguments.reach.connect()?;
    let seen = look(&arguments.reach, &cluster, arguments.time);
    if let Some(path) = &arguments.svg {
        let written = std::fs::write(path, svg::picture(&seen.nodes));
        let named = |cause: io::Error| io::Error::new(cause.kind(), format!("{}: {cause}", path.display()));
        written.map_err(named).map_err(Failure::Output)?;
    }
    show::print(&if arguments.reach.json {
        object(&seen, arguments).to_string()
    } else {
        text(&seen)
    })?;
    Ok(match (seen.silent.is_empty(), seen.nodes.is_empty()) {
        (true, _) => 0,
        (false, true) => code::CANNOT_REACH,
        (false, false) => code::UNHEALTHY,
    })
}

fn look(reach: &Reach, cluster: &Cluster, time: Duration) -> Seen {
    let begun = Instant::now();
    let before = status::ask_all(cluster, reach.timeout_ms());
    std::thread::sleep(std::time::Duration::from_micros(time.as_us()));
    let seconds = begun.elapsed();
    let after = status::ask_all(cluster, reach.timeout_ms());
    let mut seen = Seen {
        nodes: Vec::new(),
        silent: Vec::new(),
        cores: cores::read(&Root::new("/".as_ref())),
    };
    for ((node, before), after) in cluster.nodes().iter().zip(&before).zip(&after) {
        let why = match (before, after) {
            (Ok(before), Ok(after)) => {
                let shards = after.iter();
                let shards = shards.map(|after| of_shard(before, after, seconds.as_secs_f64()));
                if let Some(shards) = shards.collect::<Option<Vec<ShardLoad>>>() {
                    seen.nodes.push(NodeLoad {
                        name: node.name.clone(),
                        host: node.host.clone(),
                        shards,
                    });
                    continue;
                }
                "was started while it was looked at".to_owned()
            }
            (Err(error), _) | (_, Err(error)) => words_of_silence(error),
        };
        seen.silent.push((node.name.clone(), why));
    }
    seen
}

/// A part of a core in percent.
fn percent(part: f64) -> String {
    format!("{:.1} %", part * 100.0)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates are positive and far below 2^53"
)]
fn whole(rate: f64) -> u64 {
    rate.round() as u64
}

fn text(seen: &Seen) -> String {
    let mut out = String::new();
    if !seen.cores.is_empty() {
        let mut rows = vec![
            [
                "core of this host",
                "socket",
                "NUMA node",
                "shares its last cache with",
                "threads",
            ]
            .map(str::to_owned)
            .to_vec(),
        ];
        let or_dash = |found: Option<String>| found.unwrap_or_else(|| "-".to_owned());
        rows.extend(seen.cores.iter().map(|core| {
            vec![
                core.number.to_string(),
                or_dash(core.socket.map(|socket| socket.to_string())),
                or_dash(core.numa.map(|numa| numa.to_string())),
                or_dash(core.shares_cache.as_ref().map(ToString::to_string)),
                or_dash(core.threads.as_ref().map(ToString::to_string)),
            ]
        }));
        out += &format!("{}\n\n", show::table(&rows));
    }
    let titles = [
        "node",
        "host",
        "shard",
        "core",
        "busy",
        "written/s",
        "followed/s",
        "log/s",
        "handed on/s",
        "groups",
    ];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    for node in &seen.nodes {
        for shard in &node.shards {
            rows.push(vec![
                node.name.clone(),
                node.host.clone(),
                shard.shard.to_string(),
                shard.core.map_or_else(|| "-".to_owned(), |core| core.to_string()),
                percent(shard.cpu),
                figures::count(whole(shard.written_per_s)),
                figures::count(whole(shard.followed_per_s)),
                figures::bytes(whole(shard.bytes_per_s)),
                figures::count(whole(shard.crossed_per_s)),
                shard.groups.len().to_string(),
            ]);
        }
    }
    out += &show::table(&rows);
    let busiest = busiest(&seen.nodes);
    if !busiest.is_empty() {
        let titles = [
            "group",
            "node",
            "shard",
            "",
            "entries/s",
            "log/s",
            "of a core, by its entries",
        ];
        let mut rows = vec![titles.map(str::to_owned).to_vec()];
        rows.extend(busiest.iter().map(|(node, shard, group)| {
            vec![
                group.group.to_string(),
                node.name.clone(),
                shard.shard.to_string(),
                if group.writes { "writes" } else { "follows" }.to_owned(),
                figures::count(whole(group.entries_per_s)),
                figures::bytes(whole(group.bytes_per_s)),
                percent(group.cpu),
            ]
        }));
        out += &format!("\n\n{}", show::table(&rows));
    }
    let hottest = hottest(&seen.nodes);
    if !hottest.is_empty() {
        let titles = [
            "actor",
            "group",
            "node",
            "shard",
            "messages/s",
            "of its shard's",
            "bytes/s",
            "of a core, by its messages",
        ];
        let mut rows = vec![titles.map(str::to_owned).to_vec()];
        rows.extend(hottest.iter().map(|(node, shard, actor)| {
            vec![
                actor.key.clone(),
                actor.group.to_string(),
                node.name.clone(),
                shard.shard.to_string(),
                figures::count(whole(actor.messages_per_s)),
                percent(actor.part),
                figures::bytes(whole(actor.bytes_per_s)),
                percent(actor.cpu),
            ]
        }));
        out += &format!("\n\n{}", show::table(&rows));
    }
    out.push('\n');
    for node in &seen.nodes {
        if let Some(imbalance) = node.imbalance() {
            out += &format!(
                "\n{}: its busiest shard does {imbalance:.2} times the mean of its shards",
                node.name
            );
        }
    }
    for (name, why) in &seen.silent {
        out += &format!("\n{name} {why}");
    }
    out.trim_end().to_owned()
}

fn shards_of(nodes: &[NodeLoad]) -> impl Iterator<Item = (&NodeLoad, &ShardLoad)> {
    nodes
        .iter()
        .flat_map(|node| node.shards.iter().map(move |shard| (node, shard)))
}

/// The actors that get most, with where.
fn hottest(nodes: &[NodeLoad]) -> Vec<(&NodeLoad, &ShardLoad, &load::ActorLoad)> {
    let mut actors: Vec<_> = shards_of(nodes)
        .flat_map(|(node, shard)| shard.actors.iter().map(move |actor| (node, shard, actor)))
        .collect();
    actors.sort_by(|a, b| b.2.messages_per_s.total_cmp(&a.2.messages_per_s));
    actors.truncate(BUSIEST);
    actors
}

/// The groups that cost most, with where.
fn busiest(nodes: &[NodeLoad]) -> Vec<(&NodeLoad, &ShardLoad, &load::GroupLoad)> {
    let groups = shards_of(nodes).flat_map(|(node, shard)| shard.groups.iter().map(move |group| (node, shard, group)));
    let mut groups: Vec<_> = groups.filter(|(_, _, group)| group.cpu > 0.0).collect();
    groups.sort_by(|a, b| b.2.cpu.total_cmp(&a.2.cpu));
    groups.truncate(BUSIEST);
    groups
}

fn object(seen: &Seen, arguments: &Show) -> Value {
    let core = |core: &Core| {
        json!({
            "core": core.number, "socket": core.socket, "numa": core.numa,
            "shares_cache": core.shares_cache.as_ref().map(ToString::to_string),
            "threads": core.threads.as_ref().map(ToString::to_string),
        })
    };
    let group = |group: &load::GroupLoad| {
        json!({
            "group": group.group, "writes": group.writes, "entries_per_s": group.entries_per_s,
            "bytes_per_s": group.bytes_per_s, "cpu": group.cpu,
        })
    };
    let actor = |actor: &load::ActorLoad| {
        json!({
            "key": actor.key, "group": actor.group, "messages_per_s": actor.messages_per_s, "part_of_shard": actor.part,
            "bytes_per_s": actor.bytes_per_s, "cpu": actor.cpu,
        })
    };
    let shard = |shard: &ShardLoad| {
        json!({
            "shard": shard.shard, "core": shard.core, "cpu": shard.cpu, "written_per_s": shard.written_per_s,
            "followed_per_s": shard.followed_per_s, "bytes_per_s": shard.bytes_per_s,
            "crossed_per_s": shard.crossed_per_s, "groups": shard.groups.iter().map(group).collect::<Vec<_>>(),
            "actors": shard.actors.iter().map(actor).collect::<Vec<_>>(),
        })
    };
    let node = |node: &NodeLoad| {
        json!({
            "node": node.name, "host": node.host, "imbalance": node.imbalance(),
            "shards": node.shards.iter().map(shard).collect::<Vec<_>>(),
        })
    };
    let missing: Vec<String> = seen.silent.iter().map(|(name, why)| format!("{name} {why}")).collect();
    json!({
        "schema": "waterpark.placement_show.1", "complete": missing.is_empty(), "missing": missing,
        "for_ms": arguments.time.as_us() / 1_000, "cores": seen.cores.iter().map(core).collect::<Vec<_>>(),
        "nodes": seen.nodes.iter().map(node).collect::<Vec<_>>(),
    })
}
