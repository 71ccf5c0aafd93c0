//! `waterpark cluster recover|forget`: lost groups are opened again from what is left of them, servers that are gone are said to be, and nodes
//! that hold nothing leave.
//!
//! What may cost acked messages is not done unasked: what would be lost is shown first. **Invariant:** what is said to be done was
//! seen in the topology log.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use waterpark_wire::body::{GroupStateBody, ORDER_FORGET, ORDER_LEAVE, ORDER_RECOVER, OrderBody, TopologyBody};

use super::join::{self, Join};
use super::newest;
use super::order::{LOOK_EVERY, give, left_ms};
use crate::connect::{Cluster, Reach};
use crate::failure::Failure;
use crate::show;

/// What is done to a cluster as a whole.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Let a node that runs join the cluster: it gets its share of the groups, and nobody is restarted
    Join(Join),
    /// Open lost groups again from what is left of them; acked messages that nobody left holds are lost
    Recover(Recover),
    /// Let a node that is down, and that no group names any more, leave the cluster for good; or, with --accept-loss, say that its process
    /// will never answer again, so that groups need not wait for what it holds
    Forget(Forget),
}

#[derive(Args)]
pub(crate) struct Recover {
    /// What nobody left holds may be lost; without this it is only shown which groups are lost, and what is left of each
    #[arg(long)]
    accept_loss: bool,
    /// This group alone; may be given several times
    #[arg(long, value_name = "N")]
    group: Vec<u32>,
    /// Words for the topology log's history
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Args)]
pub(crate) struct Forget {
    /// The node
    #[arg(value_name = "NODE")]
    node: String,
    /// The process alone is forgotten, and what only it holds is lost, also if it comes back; another one of its name may
    #[arg(long)]
    accept_loss: bool,
    #[command(flatten)]
    reach: Reach,
}

/// 0: done, or nothing is lost. 1: refused, or a loss was not accepted. 2: no such node. 4: no node answers. 6: out of time; the order stands.
pub(crate) fn run(command: &Command) -> ExitCode {
    let (as_json, ended) = match command {
        Command::Join(arguments) => (arguments.json, join::run(arguments)),
        Command::Recover(recover) => (recover.reach.json, run_recover(recover)),
        Command::Forget(forget) => (forget.reach.json, run_forget(forget)),
    };
    match ended.and_then(|()| show::flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.end(as_json),
    }
}

/// A lost group as it was found.
struct Found {
    group: u32,
    left: Vec<u16>,
}

fn run_recover(recover: &Recover) -> Result<(), Failure> {
    let until = Instant::now() + Duration::from_millis(recover.reach.timeout_ms().into());
    let cluster = recover.reach.connect()?;
    let topology = newest(&cluster, recover.reach.timeout_ms())?;
    let wanted: BTreeSet<u32> = recover.group.iter().copied().collect();
    if let Some(group) = wanted.iter().find(|group| lost(&topology, **group).is_none()) {
        let why = format!("group {group} is not lost; `waterpark topology` says which are");
        return Err(Failure::Order { why });
    }
    let is_wanted = |group: &&GroupStateBody| group.lost && (wanted.is_empty() || wanted.contains(&group.active.group));
    let found: Vec<Found> = (topology.groups.iter().filter(is_wanted))
        .map(|group| Found {
            group: group.active.group,
            left: group.survivors.iter().map(|member| member.node).collect(),
        })
        .collect();
    if !recover.accept_loss && !found.is_empty() {
        if !recover.reach.json {
            show::print(&text(&cluster, &found))?;
        }
        let why = format!(
            "{} groups are lost, and what nobody left holds of them is lost with them: say --accept-loss to open them again",
            found.len()
        );
        return Err(Failure::Order { why });
    }
    let mut open: BTreeSet<u32> = found.iter().map(|found| found.group).collect();
    while !open.is_empty() {
        let timeout_ms = left_ms(until);
        if timeout_ms == 0 {
            let about = format!("{} of {} groups", open.len(), found.len());
            return Err(Failure::OrderOpen {
                node: about,
                left: None,
            });
        }
        for group in &open {
            let order = OrderBody {
                order: ORDER_RECOVER,
                groups: vec![*group],
                reason: recover.reason.clone(),
                ..OrderBody::default()
            };
            match give(&cluster, &order, timeout_ms) {
                // It was opened since we looked.
                Ok(()) | Err(Failure::Order { .. }) => {}
                Err(failure) => return Err(failure),
            }
        }
        std::thread::sleep(LOOK_EVERY);
        let topology = newest(&cluster, left_ms(until).max(1))?;
        open.retain(|group| lost(&topology, *group).is_some());
    }
    if recover.reach.json {
        let group = |found: &Found| -> Value {
            json!({ "group": found.group, "left": found.left.iter().map(|node| cluster.name(*node)).collect::<Vec<_>>() })
        };
        let object = json!({
            "schema": "waterpark.recover.1", "complete": true, "groups": found.iter().map(group).collect::<Vec<_>>(),
        });
        return show::print(&object.to_string());
    }
    match found.len() {
        0 => show::print("no group is lost"),
        count => show::print(&format!("{}\n{count} groups are open again", text(&cluster, &found))),
    }
}

fn lost(topology: &TopologyBody, group: u32) -> Option<&GroupStateBody> {
    topology.groups.get(group as usize).filter(|group| group.lost)
}

fn text(cluster: &Cluster, found: &[Found]) -> String {
    let titles = ["group", "processes left that may hold something of it"];
    let mut rows = vec![titles.map(str::to_owned).to_vec()];
    rows.extend(found.iter().map(|found| {
        let names: Vec<String> = found.left.iter().map(|node| cluster.name(*node)).collect();
        let names = if names.is_empty() {
            "none: it begins anew, empty".to_owned()
        } else {
            names.join(" ")
        };
        vec![found.group.to_string(), names]
    }));
    show::table(&rows)
}

fn run_forget(forget: &Forget) -> Result<(), Failure> {
    let until = Instant::now() + Duration::from_millis(forget.reach.timeout_ms().into());
    let cluster = forget.reach.connect()?;
    let node = cluster.node_named(&forget.node)?;
    let (number, wanted) = if forget.accept_loss {
        (ORDER_FORGET, "gone")
    } else {
        (ORDER_LEAVE, "left")
    };
    let order = OrderBody {
        order: number,
        node,
        ..OrderBody::default()
    };
    loop {
        let timeout_ms = left_ms(until);
        if timeout_ms == 0 {
            return Err(Failure::OrderOpen {
                node: forget.node.clone(),
                left: None,
            });
        }
        give(&cluster, &order, timeout_ms)?;
        let topology = newest(&cluster, timeout_ms)?;
        if topology
            .nodes
            .iter()
            .any(|row| row.id == node && row.presence == wanted)
        {
            break;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    if forget.reach.json {
        let object =
            json!({ "schema": "waterpark.forget.1", "complete": true, "node": forget.node, "presence": wanted });
        return show::print(&object.to_string());
    }
    if !forget.accept_loss {
        return show::print(&format!(
            "{} has left the cluster for good; its name and id are given to nobody again",
            forget.node
        ));
    }
    show::print(&format!(
        "{} is gone for good; a process of that name that starts from now on is another one, and empty",
        forget.node
    ))
}
