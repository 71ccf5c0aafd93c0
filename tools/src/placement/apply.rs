//! `waterpark placement plan|apply`: what should move, what that is expected to bring, and what it brought.
//!
//! What is expected is written into the topology log with the moves themselves, before the first group has moved. **Invariant:** nothing moves that was
//! not shown.

use std::thread;
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};
use waterpark::config::Duration;
use waterpark_wire::body::{SeatBody, TopologyBody};

use super::plan::{Aim, Plan, cost_of_entries, plan_of};
use super::undo::PLANNED;
use super::{Seen, look, percent, seat};
use crate::connect::{Cluster, Reach};
use crate::failure::{Failure, code};
use crate::topology::newest;
use crate::{latency, show};

#[derive(Args)]
pub(crate) struct Wish {
    #[command(flatten)]
    pub(super) reach: Reach,
    /// This node alone
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// How long is looked
    #[arg(long = "for", value_name = "TIME", default_value = "5s", value_parser = latency::time)]
    time: Duration,
    /// Nothing moves on a node whose busiest shard has less than so many times the mean
    #[arg(long, value_name = "TIMES", default_value = "1.1", value_parser = goal)]
    goal: f64,
    /// Groups that move at most, on each node
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=4096))]
    moves: u16,
}

#[derive(Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    pub(super) wish: Wish,
    /// What came of it is looked at after so long
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = latency::time)]
    watch: Duration,
    /// It is not looked at
    #[arg(long, conflicts_with = "watch")]
    no_watch: bool,
    /// Do so again and again, as long later, until Ctrl-C: what has become uneven is made even
    #[arg(long, value_name = "TIME", value_parser = latency::time)]
    every: Option<Duration>,
}

fn goal(text: &str) -> Result<f64, String> {
    let goal: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    let fits = (1.01..=100.0).contains(&goal);
    fits.then_some(goal)
        .ok_or_else(|| "from 1.01 to 100: 1.1 is a tenth above the mean".to_owned())
}

/// A cluster that was looked at, and what should be done in it.
struct Looked {
    cluster: Cluster,
    topology: TopologyBody,
    seen: Seen,
    plans: Vec<Plan>,
}

fn looked(wish: &Wish) -> Result<Looked, Failure> {
    let cluster = wish.reach.connect()?;
    if let Some(name) = &wish.node {
        cluster.node_named(name)?;
    }
    let seen = look(&wish.reach, &cluster, wish.time);
    let topology = newest(&cluster, wish.reach.timeout_ms())?;
    let cost = cost_of_entries(&seen.nodes);
    let aim = Aim {
        goal: wish.goal,
        moves_max: wish.moves.into(),
    };
    let mut plans = Vec::new();
    let named = |name: &str| wish.node.as_ref().is_none_or(|wanted| wanted == name);
    for node in seen.nodes.iter().filter(|node| named(&node.name)) {
        let id = cluster.node_named(&node.name)?;
        let is_held = |group: u32| seat::seat_of(&cluster, &topology, id, group).pinned;
        plans.push(plan_of(node, cost, is_held, aim));
    }
    Ok(Looked {
        cluster,
        topology,
        seen,
        plans,
    })
}

/// 0: shown. 5: some nodes do not answer.
pub(super) fn plan(wish: &Wish) -> Result<u8, Failure> {
    let looked = looked(wish)?;
    if wish.reach.json {
        let object = json!({
            "schema": "waterpark.placement.plan.1", "complete": looked.seen.silent.is_empty(),
            "for_s": seconds(wish.time), "goal": wish.goal,
            "nodes": looked.plans.iter().map(|plan| object(plan, None)).collect::<Vec<_>>(),
            "silent": silent(&looked.seen),
        });
        show::print(&object.to_string())?;
    } else {
        show::print(&text(&looked))?;
        if looked.plans.iter().any(|plan| !plan.moves.is_empty()) {
            show::print("nothing was moved; `waterpark placement apply` looks again and does what it finds then")?;
        }
    }
    Ok(code_of(&looked.seen))
}

/// 0: done, or nothing to do. 5: some nodes do not answer.
pub(super) fn apply(arguments: &Apply) -> Result<u8, Failure> {
    loop {
        let code = apply_once(arguments)?;
        let Some(every) = arguments.every else {
            return Ok(code);
        };
        show::flush()?;
        thread::sleep(std::time::Duration::from_micros(every.as_us()));
    }
}

fn apply_once(arguments: &Apply) -> Result<u8, Failure> {
    let wish = &arguments.wish;
    let looked = looked(wish)?;
    let until = |reach: &Reach| Instant::now() + std::time::Duration::from_millis(reach.timeout_ms().into());
    if !wish.reach.json {
        show::print(&text(&looked))?;
        show::flush()?;
    }
    for plan in looked.plans.iter().filter(|plan| !plan.moves.is_empty()) {
        let node = looked.cluster.node_named(&plan.node)?;
        let wanted = |group: u32, to: u16| SeatBody {
            shard: to,
            ..seat::seat_of(&looked.cluster, &looked.topology, node, group)
        };
        let seats: Vec<SeatBody> = plan.moves.iter().map(|one| wanted(one.group, one.to)).collect();
        let (before, after) = plan.imbalance();
        let reason = format!("{PLANNED}busiest shard {before:.2} times the mean, {after:.2} then");
        seat::order(&looked.cluster, node, &seats, &reason, until(&wish.reach))?;
    }
    let moved = looked.plans.iter().map(|plan| plan.moves.len()).sum::<usize>();
    let measured = (moved > 0 && !arguments.no_watch).then(|| {
        thread::sleep(std::time::Duration::from_micros(arguments.watch.as_us()));
        look(&wish.reach, &looked.cluster, wish.time)
    });
    let of = |plan: &Plan| {
        let nodes = &measured.as_ref()?.nodes;
        nodes.iter().find(|node| node.name == plan.node)?.imbalance()
    };
    if wish.reach.json {
        let object = json!({
            "schema": "waterpark.placement.apply.1", "complete": looked.seen.silent.is_empty(),
            "for_s": seconds(wish.time), "goal": wish.goal, "moved": moved,
            "nodes": looked.plans.iter().map(|plan| object(plan, of(plan))).collect::<Vec<_>>(),
            "silent": silent(&looked.seen),
        });
        show::print(&object.to_string())?;
    } else if moved > 0 {
        let mut lines = vec![format!("{moved} groups were moved")];
        for plan in looked.plans.iter().filter(|plan| !plan.moves.is_empty()) {
            let (before, after) = plan.imbalance();
            if let Some(measured) = of(plan) {
                lines.push(format!(
                    "{}: busiest shard {before:.2} times the mean before, {after:.2} predicted, {measured:.2} measured",
                    plan.node
                ));
            }
        }
        lines.push("`waterpark placement undo` moves them back".to_owned());
        show::print(&lines.join("\n"))?;
    }
    Ok(code_of(&looked.seen))
}

fn code_of(seen: &Seen) -> u8 {
    match (seen.silent.is_empty(), seen.nodes.is_empty()) {
        (true, _) => 0,
        (false, true) => code::CANNOT_REACH,
        (false, false) => code::UNHEALTHY,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a look takes seconds")]
fn seconds(time: Duration) -> f64 {
    time.as_us() as f64 / 1e6
}

fn silent(seen: &Seen) -> Vec<Value> {
    let node = |(node, why): &(String, String)| json!({ "node": node, "why": why });
    seen.silent.iter().map(node).collect()
}

fn object(plan: &Plan, measured: Option<f64>) -> Value {
    let (before, after) = plan.imbalance();
    let moves = plan.moves.iter();
    let moves = moves.map(|one| json!({ "group": one.group, "from": one.from, "to": one.to, "cpu": one.cpu }));
    json!({
        "node": plan.node, "busiest_by_mean": before, "predicted": after, "measured": measured,
        "shards": plan.before.iter().zip(&plan.after).map(|(before, after)| json!({ "cpu": before, "predicted": after })).collect::<Vec<_>>(),
        "moves": moves.collect::<Vec<_>>(),
    })
}

fn text(looked: &Looked) -> String {
    let mut parts = Vec::new();
    for (name, why) in &looked.seen.silent {
        parts.push(format!("{name} does not answer: {why}"));
    }
    let mut rows = vec![["node", "shard", "CPU", "predicted"].map(str::to_owned).to_vec()];
    for plan in &looked.plans {
        for (shard, (before, after)) in plan.before.iter().zip(&plan.after).enumerate() {
            let after = if plan.moves.is_empty() {
                "-".to_owned()
            } else {
                percent(*after)
            };
            rows.push(vec![plan.node.clone(), shard.to_string(), percent(*before), after]);
        }
    }
    parts.push(show::table(&rows));
    for plan in &looked.plans {
        let (before, after) = plan.imbalance();
        let node = &plan.node;
        if plan.moves.is_empty() {
            parts.push(format!(
                "{node}: busiest shard {before:.2} times the mean, nothing to move"
            ));
            continue;
        }
        let moves = plan
            .moves
            .iter()
            .map(|one| format!("{} from {} to {}", one.group, one.from, one.to));
        let moves: Vec<String> = moves.collect();
        parts.push(format!(
            "{node}: busiest shard {before:.2} times the mean, {after:.2} predicted with {} moves: group {}",
            moves.len(),
            moves.join(", ")
        ));
    }
    parts.join("\n\n")
}
