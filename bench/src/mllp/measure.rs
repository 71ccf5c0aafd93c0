//! The workload `hl7`: a hospital feed over MLLP into five processes, as many messages as so many connections with one in flight each take,
//! or at a rate.

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use waterpark_client::blocking::{Client, ConnectOptions};

use super::{Findings, Flow, Load, Outcomes, Pace, Plan, Source, check};
use crate::cluster::{Cluster, ClusterPlan, Member};
use crate::hl7::{Feed, Shape};
use crate::report::{DURABILITY, Figure, Target, figure, per, quantiles, spectrum};
use crate::run::{self, RunError, Verdict};
use crate::timeline::Timeline;

/// Bytes that a message of real size takes in a log, its event and the unused ends of chunks included.
const LOG_BYTES: u64 = 5_200;
/// Messages a second that memory is planned for in a closed loop.
const PLANNED_RATE: f64 = 40_000.0;
/// To be reached with a thousand connections.
const ACKED_MIN: f64 = 20_000.0;
/// Connections with which that is to be reached.
const CONNECTIONS: usize = 1_000;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Hl7Plan {
    /// The binary that has `node` as a command.
    pub binary: PathBuf,
    /// `auto`, `io-uring` or `epoll`.
    pub driver: String,
    /// How long to send.
    pub time: Duration,
    /// Connections over all five nodes.
    pub connections: usize,
    /// How fast.
    pub pace: Pace,
    /// Of the feed.
    pub seed: u64,
}

/// What was measured.
#[derive(Debug)]
pub struct Hl7Report {
    plan: Hl7Plan,
    driver: String,
    outcomes: Outcomes,
    over_time: Timeline,
    seconds: f64,
    cpu_ns: u64,
    generator_cpu_ns: u64,
    kept_bytes: u64,
    findings: Findings,
    exits: Vec<Option<i32>>,
    /// What it is worth.
    pub verdict: Verdict,
}

/// Measures.
///
/// # Errors
/// [`RunError`]; nothing was measured, and what was started was ended.
pub fn measure(plan: Hl7Plan, mut say: impl FnMut(&str), go_on: impl Fn() -> bool) -> Result<Hl7Report, RunError> {
    let rate = match plan.pace {
        Pace::Open { rate } => rate,
        Pace::Closed => PLANNED_RATE,
    };
    let (budget, messages_max) = run::budget(plan.time.as_secs_f64(), 0, rate, LOG_BYTES)?;
    let mut own = ClusterPlan::five(plan.binary.clone(), budget);
    own.prefault = messages_max.saturating_mul(LOG_BYTES).min(budget * 9 / 10);
    own.driver.clone_from(&plan.driver);
    say(&format!(
        "five nodes of one shard, {} MiB each touched first",
        own.prefault >> 20
    ));
    let cluster = Cluster::start(own)?;
    let config = cluster.config().clone();
    let topology = config.topology();
    let control = Client::connect(cluster.addresses(), &cluster.key(), ConnectOptions::default())?;
    let nodes = config.nodes.iter().map(|node| {
        let port = node.ports().mllp();
        (
            SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, port)),
            node.name.dc().to_owned(),
        )
    });
    let count = config.nodes.len();
    let load_plan = Plan {
        nodes: nodes.collect(),
        lines_per_node: plan.connections.div_ceil(count),
        pace: plan.pace,
        ack_timeout: Duration::from_secs(10),
        attempts_max: 3,
        goes_on: false,
    };
    // As many patients as keep all connections busy: a patient's messages go one after the other.
    let patients = u32::try_from(plan.connections.saturating_mul(20))
        .unwrap_or(u32::MAX)
        .max(1_000);
    let shape = Shape {
        patients,
        facilities: 40,
        ..Shape::default()
    };
    let feed = Feed::new(plan.seed, shape).expect("the shape is within its bounds");
    let mut load = Load::new(load_plan, topology.clone(), Source::Feed(Box::new(feed))).map_err(RunError::Cores)?;

    let cpu = || cluster.members().iter().map(Member::cpu_ns).sum::<u64>();
    let own_cpu = || crate::cluster::cpu_ns_of(std::process::id());
    let (cpu_before, own_before) = (cpu(), own_cpu());
    let begun = Instant::now();
    say(&format!("{} connections send", plan.connections));
    let acked_in_time = Cell::new(0);
    let mut over_time = Timeline::new(plan.time);
    let sent = load.run(
        plan.time,
        |load| {
            let outcomes = load.outcomes();
            if begun.elapsed() < plan.time {
                acked_in_time.set(outcomes.acked);
            }
            if go_on() && outcomes.sent < messages_max {
                Flow::Send
            } else {
                Flow::End
            }
        },
        |acked| {
            let planned = begun.elapsed().saturating_sub(acked.response);
            let [since_ns, response_us] = [planned.as_nanos(), acked.response.as_micros()];
            let number = |number: u128| u64::try_from(number).unwrap_or(u64::MAX);
            over_time.acked(number(since_ns), number(response_us));
        },
    );
    sent.map_err(RunError::Cores)?;
    let seconds = begun.elapsed().as_secs_f64();
    let (cpu_ns, generator_cpu_ns) = (cpu().saturating_sub(cpu_before), own_cpu().saturating_sub(own_before));
    std::thread::sleep(Duration::from_millis(150));
    let kept_bytes = run::totals(&control, &topology).kept_bytes;
    let driver = run::driver_of(&control, &topology);
    drop(control);
    say("reading everything back from three members");
    let findings = check(&topology, cluster.key(), load.ledger());
    let outcomes = load.outcomes().clone();
    drop(load);
    let exits = cluster.stop();
    let verdict = Verdict::of(findings.is_clean(), run::are_late(outcomes.late, outcomes.sent));
    Ok(Hl7Report {
        driver,
        outcomes,
        over_time,
        seconds,
        cpu_ns,
        generator_cpu_ns,
        kept_bytes,
        findings,
        exits,
        verdict,
        plan,
    })
}

impl Hl7Report {
    #[expect(clippy::cast_precision_loss, reason = "below 2^53 acks")]
    fn acked_per_s(&self) -> f64 {
        self.outcomes.acked as f64 / self.seconds
    }

    fn figures(&self) -> Vec<Figure> {
        let is_full = self.plan.pace == Pace::Closed && self.plan.connections == CONNECTIONS;
        let us = |quantile: f64| per(self.outcomes.all_us().value_at_quantile(quantile), 1);
        vec![
            figure(
                "acked",
                self.acked_per_s(),
                "messages/s",
                is_full.then_some(Target::AtLeast(ACKED_MIN)),
            ),
            figure(
                "cpu of all replicas",
                per(self.cpu_ns, self.outcomes.acked),
                "ns/message",
                None,
            ),
            figure(
                "cpu of the generator",
                per(self.generator_cpu_ns, self.outcomes.acked),
                "ns/message",
                None,
            ),
            figure("ack p50", us(0.5), "us", None),
            figure("ack p99", us(0.99), "us", None),
            figure("ack p99.9", us(0.999), "us", None),
        ]
    }

    /// What was measured, as far as figures depend on it.
    fn settings(&self) -> Value {
        let plan = &self.plan;
        let rate = match plan.pace {
            Pace::Open { rate } => Some(rate),
            Pace::Closed => None,
        };
        json!({
            "workload": "hl7", "for_s": plan.time.as_secs_f64(), "connections": plan.connections, "rate_per_s": rate,
            "seed": plan.seed, "driver": plan.driver,
        })
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let outcomes = &self.outcomes;
        json!({
            "schema": "waterpark.bench_hl7.2",
            "complete": true,
            "verdict": self.verdict.name(),
            "workload": "hl7",
            "settings": self.settings(),
            "durability": DURABILITY,
            "driver": self.driver,
            "connections": self.plan.connections,
            "seed": self.plan.seed,
            "seconds": self.seconds,
            "figures": self.figures().iter().map(Figure::to_json).collect::<Vec<Value>>(),
            "acked_per_s": self.acked_per_s(),
            "cpu_ns_per_msg": per(self.cpu_ns, outcomes.acked),
            "generator_cpu_ns_per_msg": per(self.generator_cpu_ns, outcomes.acked),
            "ack_us": quantiles(&outcomes.all_us()),
            "over_time": self.over_time.to_json(),
            "late": outcomes.late,
            "spectrum_us": json!({ "response": spectrum(&outcomes.all_us()) }),
            "sent": outcomes.sent,
            "acked": outcomes.acked,
            "refused": outcomes.refused,
            "unknown": outcomes.unknown,
            "resends": outcomes.resends,
            "reasons": outcomes.reasons,
            "lost": self.findings.lost,
            "duplicated": self.findings.duplicated,
            "looked_for": self.findings.looked_for,
            "unreadable": self.findings.unreadable,
            "findings": self.findings.said,
            "kept_bytes": self.kept_bytes,
            "exit_codes": self.exits,
        })
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let outcomes = &self.outcomes;
        let mut text = format!(
            "hl7 over MLLP on {}: {} connections, {:.2} s\n{} sent = {} acked + {} refused + {} unknown; {} sent again\n",
            self.driver,
            self.plan.connections,
            self.seconds,
            outcomes.sent,
            outcomes.acked,
            outcomes.refused,
            outcomes.unknown,
            outcomes.resends
        );
        for (reason, count) in &outcomes.reasons {
            text += &format!("  {count} refused with: {reason}\n");
        }
        for figure in self.figures() {
            text += &figure.to_text();
        }
        if outcomes.late > 0 {
            text += &format!(
                "{} arrivals were handed to their connections more than 1 ms late\n",
                outcomes.late
            );
        }
        text += &format!(
            "logs kept {} MiB\nread back: {} looked for in three members each, {} lost, {} duplicated\n",
            self.kept_bytes >> 20,
            self.findings.looked_for,
            self.findings.lost,
            self.findings.duplicated
        );
        for said in &self.findings.said {
            text += &format!("  {said}\n");
        }
        text + &format!("verdict: {}\n", self.verdict.name())
    }
}
