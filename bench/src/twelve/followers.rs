//! The eleventh figure: what keys notice whose writer runs while one or two of their four followers stand still.
//!
//! Five processes, of which the last ones get SIGSTOP; messages go to actors alone whose group one of the others writes. Nothing takes over what
//! a stopped node writes, because the cluster has no topology log: so the same keys have the same writers all the while.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use waterpark_client::blocking::{Client, ConnectOptions};
use waterpark_client::polled::Polled;
use waterpark_control::History;
use waterpark_ring::{GroupId, Topology};

use super::part::Part;
use super::works::{MESSAGE_BYTES, TIMEOUT_MS};
use super::{FiguresPlan, Taken};
use crate::cluster::{Cluster, ClusterPlan};
use crate::generator::{Generator, Measured, Schedule};
use crate::ledger::Checker;
use crate::report::per;
use crate::run::{self, RunError, Verdict};
use crate::sight::Sight;
use crate::workload::{Chosen, KeyText, Kind, Workload};

/// Messages under way: enough that a node has always something to do, and few enough that an ack's time is not their queue's alone.
const IN_FLIGHT: usize = 1_024;
/// So many nodes are stopped, one after the other: the last ones, so that those that run are in two data centres still.
const STOPPED: usize = 2;
/// Copies of every group.
const COPIES: usize = 5;
/// How long stopped nodes may take to hold again what was written meanwhile.
const WHOLE_MAX: Duration = Duration::from_secs(60);
/// What was sent just when a node stopped is no part of either stretch.
const CHANGE: Duration = Duration::from_millis(500);

/// One stretch of sending.
struct Stretch {
    per_s: f64,
    p99_us: f64,
}

impl Stretch {
    fn of(measured: &Measured) -> Stretch {
        Stretch {
            per_s: per(measured.acked, 1) / measured.took.as_secs_f64().max(1e-9),
            p99_us: per(measured.response_us.value_at_quantile(0.99), 1),
        }
    }
}

/// Measures: all followers run, one is stopped, two are.
pub(super) fn measure(
    plan: &FiguresPlan,
    say: &mut impl FnMut(&str),
    go_on: &impl Fn() -> bool,
) -> Result<Taken, RunError> {
    let per_message = run::log_bytes_per_message(MESSAGE_BYTES);
    let stretch = plan.time / 4;
    let seconds = (stretch + CHANGE) * 3 + CHANGE;
    let (budget, messages_max) = run::budget(seconds.as_secs_f64(), 0, run::CLOSED_RATE, per_message)?;
    let mut own = ClusterPlan::five(plan.binary.clone(), budget);
    own.driver.clone_from(&plan.driver);
    own.prefault = messages_max.saturating_mul(per_message).min(budget / 10 * 9);
    say(&format!("five nodes, {} MiB each touched first", own.prefault >> 20));
    let cluster = Cluster::start(own)?;
    let config = cluster.config().clone();
    let topology = config.topology();
    let nodes: Vec<u16> = topology.nodes().iter().map(|node| node.id.0).collect();
    let (running, stopped) = nodes.split_at(nodes.len() - STOPPED);
    let control = Client::connect(cluster.addresses(), &cluster.key(), ConnectOptions::default())?;
    let workload = Workload {
        kind: Kind::Chosen(written_by(running, &topology)),
        actors: Chosen::ACTORS,
        message_bytes: MESSAGE_BYTES,
        seed: run::plan_seed(),
        warm: 0,
        prefix: "",
        skew: None,
    };
    let options = run::generators_options();
    let client = Polled::new(cluster.addresses(), cluster.key(), &options)?;
    let mut generator = Generator::new(client, workload, TIMEOUT_MS);
    generator.connect(run::CONNECT)?;

    let schedule = Schedule::Closed { in_flight: IN_FLIGHT };
    let mut send = |time: Duration| generator.run(schedule, time, messages_max / 4, |_| go_on());
    let mut not_acked = 0;
    let mut stretches = Vec::new();
    for count in 0..=STOPPED {
        say(&format!("{count} of four followers stopped"));
        if let Some(member) = count
            .checked_sub(1)
            .map(|place| &cluster.members()[running.len() + place])
        {
            // One that is gone shows in the read-back.
            drop(member.signal(Signal::STOP));
        }
        let change = send(CHANGE);
        let measured = send(stretch);
        not_acked += change.sent - change.acked + measured.sent - measured.acked;
        stretches.push(Stretch::of(&measured));
    }
    for member in &cluster.members()[running.len()..] {
        drop(member.signal(Signal::CONT));
    }
    say("reading everything back from three members");
    let sight = whole(&control, &nodes, config.groups, go_on);
    let is_whole = sight.short_of(COPIES) == 0;
    let checker = Checker {
        topology: &topology,
        members: sight.members(),
        key: cluster.key(),
        workload,
        ledger: generator.ledger(),
        keeps_all: config.history(workload.kind_name()) == History::All,
    };
    let findings = checker.check();
    drop(control);
    cluster.stop();

    let [calm, one, two] = &stretches[..] else {
        unreachable!("one stretch before the first is stopped and one after each");
    };
    debug_assert_eq!(stopped.len(), STOPPED);
    let mut taken = Taken::of(
        Verdict::of(findings.is_clean(), false),
        vec![
            (Part::OneStoppedP99, one.p99_us / calm.p99_us.max(1.0)),
            (Part::OneStoppedRate, one.per_s / calm.per_s.max(1e-9)),
            (Part::TwoStoppedP99, two.p99_us / calm.p99_us.max(1.0)),
            (Part::TwoStoppedRate, two.per_s / calm.per_s.max(1e-9)),
        ],
    );
    if not_acked > 0 {
        let said = format!("{not_acked} messages to keys whose writer ran were not acked");
        taken.flaw.get_or_insert(said);
    }
    if !is_whole {
        let said = "stopped followers did not come to hold again what was written meanwhile";
        taken.flaw.get_or_insert(said.to_owned());
    }
    Ok(taken)
}

/// The actors whose group one of these nodes writes.
fn written_by(nodes: &[u16], topology: &Topology) -> Chosen {
    let work = Workload {
        kind: Kind::ColdActors,
        actors: Chosen::ACTORS,
        message_bytes: MESSAGE_BYTES,
        seed: 0,
        warm: 0,
        prefix: "",
        skew: None,
    };
    let mut text = KeyText::default();
    let writer = |group: GroupId| topology.birth().writer(group).0;
    Chosen::of(|actor| {
        let key = work.key(actor, &mut text).expect("the workload's keys are well formed");
        nodes.contains(&writer(topology.locate(key).group))
    })
}

/// Looks until every group has all its copies, as long as that may take.
fn whole(control: &Client, nodes: &[u16], groups: u32, go_on: &impl Fn() -> bool) -> Sight {
    let until = Instant::now() + WHOLE_MAX;
    let mut sight = Sight::look(control, nodes, groups, &Sight::default());
    while sight.short_of(COPIES) > 0 && Instant::now() < until && go_on() {
        std::thread::sleep(Duration::from_millis(50));
        sight = Sight::look(control, nodes, groups, &sight);
    }
    sight
}

#[cfg(test)]
mod tests {
    use waterpark_control::Nodes;

    use super::*;

    #[test]
    fn messages_go_to_actors_alone_whose_writer_runs() {
        let Nodes::Named(names) = waterpark_control::InitOptions::default().nodes else {
            unreachable!("the default names its nodes");
        };
        let node = |(id, name)| waterpark_ring::NodeSpec {
            id: waterpark_ring::NodeId(id),
            name,
            host: "127.0.0.1".to_owned(),
            port: 7_000 + 256 * id,
            shards: 1,
        };
        let nodes = (1..).zip(names).map(node).collect();
        let spec = waterpark_ring::TopologySpec::new(waterpark_ring::ClusterId([3; 16]), nodes);
        let topology = Topology::new(spec).unwrap();
        let work = Workload {
            kind: Kind::Chosen(written_by(&[1, 2, 3], &topology)),
            actors: Chosen::ACTORS,
            message_bytes: MESSAGE_BYTES,
            seed: 9,
            warm: 0,
            prefix: "",
            skew: None,
        };
        let mut text = KeyText::default();
        let mut writers = std::collections::BTreeSet::new();
        for serial in 0..10_000 {
            let key = work.key(work.actor(serial), &mut text).unwrap();
            writers.insert(topology.birth().writer(topology.locate(key).group).0);
        }
        assert_eq!(writers.into_iter().collect::<Vec<_>>(), [1, 2, 3]);
    }
}
