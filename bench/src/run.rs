//! One measurement from start to verdict: a cluster, a warm-up, a stretch of sending, and the reading back of everything.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use waterpark_client::blocking::{Client, ClusterAddresses, ConnectOptions};
use waterpark_client::polled::Polled;
use waterpark_client::{ClientError, ClientOptions, ReadOptions};
use waterpark_control::{ClusterConfig, History};
use waterpark_ring::Topology;

use crate::cluster::{Cluster, ClusterError, ClusterPlan, addresses, cpu_ns_of};
use crate::generator::{Generator, Measured, Schedule};
use crate::ledger::{Checker, Findings};
use crate::workload::{Kind, Workload};

/// Bytes that one message of W128 takes in a member's log, with its share of run headers: for planning memory.
const LOG_BYTES_PER_MESSAGE: u64 = 260;
/// Messages a second that a closed loop is reckoned with when memory is planned.
const CLOSED_RATE: f64 = 900_000.0;
/// What a closed loop keeps under way unless it is told.
pub const IN_FLIGHT: usize = 8_192;
/// Memory of one node at least.
const NODE_MEMORY_MIN: u64 = 256 << 20;
/// More of the open-loop arrivals late than this, in percent, and the measurement is invalid.
const LATE_PERCENT: u64 = 1;
/// How long the first connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// When messages are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// At planned instants, so many a second.
    Open(f64),
    /// So many under way.
    Closed(usize),
}

/// Against what.
#[derive(Clone, Debug)]
pub enum Target {
    /// Five processes of its own.
    Own {
        /// The binary that has `node` as a command.
        binary: PathBuf,
        /// `auto`, `io-uring` or `epoll`.
        driver: String,
    },
    /// A cluster that runs, described by its configuration.
    Running {
        /// The configuration.
        config: Box<ClusterConfig>,
        /// Its key.
        key: [u8; 32],
    },
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Against what.
    pub target: Target,
    /// Which messages.
    pub kind: Kind,
    /// Actors.
    pub actors: u64,
    /// When.
    pub pace: Pace,
    /// How long.
    pub time: Duration,
    /// Bytes of a message.
    pub message_bytes: usize,
    /// The whole call of one message, in ms.
    pub timeout_ms: u32,
    /// Whether every actor gets a message before the measurement.
    pub warm: bool,
}

/// What a measurement is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything acked is held, and the generator kept to its plan.
    Ok,
    /// The generator itself was late or ran out of room: the figures say nothing of the cluster.
    Invalid,
    /// Something acked is lost, duplicated or changed, whatever the speed.
    Fail,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "OK",
            Verdict::Invalid => "INVALID",
            Verdict::Fail => "FAIL",
        }
    }
}

/// Why there is no measurement.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The cluster cannot be reached.
    #[error("the cluster cannot be reached: {0}")]
    Client(#[from] ClientError),
    /// Too little memory is free for even a short run.
    #[error("{free} bytes of memory are free; five nodes need {wanted}")]
    Memory {
        /// Bytes that are free.
        free: u64,
        /// Bytes that would be used.
        wanted: u64,
    },
}

/// Sums over all shards of a cluster, from their status documents.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    system_calls: u64,
    allocations: u64,
    turns: u64,
    link_bytes: u64,
    kept_bytes: u64,
    crossed: u64,
}

/// What was measured.
#[derive(Debug)]
pub struct Report {
    /// The plan.
    pub plan: Plan,
    /// What the generator saw.
    pub measured: Measured,
    /// What reading back found.
    pub findings: Findings,
    /// CPU time of all nodes during the measurement, in ns; `None` for a cluster that runs elsewhere.
    pub cpu_ns: Option<u64>,
    /// CPU time of the generator.
    pub generator_cpu_ns: u64,
    /// The driver that the nodes use.
    pub driver: String,
    /// Bytes that all members keep in their logs.
    pub kept_bytes: u64,
    /// Allocations of all nodes during the measurement.
    pub allocations: u64,
    /// System calls of all shards' loops during the measurement.
    pub system_calls: u64,
    /// Turns of all shards' loops.
    pub turns: u64,
    /// Bytes on the links between nodes during the measurement.
    pub link_bytes: u64,
    /// Items that crossed between shards.
    pub crossed: u64,
    /// Resident memory of all nodes at the end.
    pub resident_bytes: Option<u64>,
    /// The run was shorter than asked for because memory was planned to be full.
    pub shortened: bool,
    /// How long reading back took.
    pub check_took: Duration,
    /// Exit codes of the nodes that were started.
    pub exits: Vec<Option<i32>>,
    /// What it is worth.
    pub verdict: Verdict,
}

/// Measures.
///
/// `say` is told what goes on, in a few words.
///
/// # Errors
/// [`RunError`]; nothing was measured, and what was started was ended.
pub fn measure(plan: Plan, mut say: impl FnMut(&str)) -> Result<Report, RunError> {
    let warm = if plan.warm { plan.actors } else { 0 };
    let rate = match plan.pace {
        Pace::Open(rate) => rate,
        Pace::Closed(_) => CLOSED_RATE,
    };
    let per_message = LOG_BYTES_PER_MESSAGE + plan.message_bytes.saturating_sub(128) as u64;
    let (cluster, messages_max) = match &plan.target {
        Target::Own { binary, driver } => {
            let (budget, messages) = budget(&plan, warm, rate, per_message)?;
            let mut own = ClusterPlan::five(binary.clone(), budget);
            own.prefault = (warm + messages).saturating_mul(per_message).min(budget * 9 / 10);
            own.driver.clone_from(driver);
            say(&format!(
                "five nodes of one shard, {} MiB each touched first",
                own.prefault >> 20
            ));
            (Some(Cluster::start(own)?), messages)
        }
        Target::Running { .. } => (None, u64::MAX),
    };
    let (config, key) = match (&cluster, &plan.target) {
        (Some(cluster), _) => (cluster.config().clone(), cluster.key()),
        (None, Target::Running { config, key }) => ((**config).clone(), *key),
        (None, Target::Own { .. }) => unreachable!("its cluster was started above"),
    };
    let topology = config.topology();
    let entries = || ClusterAddresses(addresses(&config));
    let control = Client::connect(entries(), &key, ConnectOptions::default())?;

    let seed = plan_seed();
    let workload = Workload {
        kind: plan.kind,
        actors: plan.actors,
        message_bytes: plan.message_bytes,
        seed,
        warm,
    };
    let options = ConnectOptions {
        client: ClientOptions {
            in_flight_max: 1 << 17,
            open_bytes_max: 1 << 30,
            ..ClientOptions::default()
        },
        ..ConnectOptions::default()
    };
    let mut generator = Generator::new(Polled::new(entries(), key, &options)?, workload, plan.timeout_ms);
    generator.connect(CONNECT)?;
    if warm > 0 {
        say(&format!("{warm} actors get their first message"));
        let closed = Schedule::Closed { in_flight: IN_FLIGHT };
        generator.run(closed, Duration::from_secs(600), warm, |_| true);
    }
    say("measuring");
    let schedule = match plan.pace {
        Pace::Open(rate) => Schedule::Open { rate },
        Pace::Closed(in_flight) => Schedule::Closed { in_flight },
    };
    let cpu = || {
        cluster
            .as_ref()
            .map(|cluster| cluster.members().iter().map(|member| member.cpu_ns()).sum::<u64>())
    };
    let own = || cpu_ns_of(std::process::id());
    let before = totals(&control, &topology);
    let (cpu_before, own_before) = (cpu(), own());
    let measured = generator.run(schedule, plan.time, messages_max, |_| true);
    let (cpu_after, own_after) = (cpu(), own());
    // Counters are published with the next tick.
    std::thread::sleep(Duration::from_millis(150));
    let after = totals(&control, &topology);
    let shortened = measured.sent >= messages_max;

    say("reading everything back from three members");
    let begun = Instant::now();
    let checker = Checker {
        topology: &topology,
        key,
        workload,
        ledger: generator.ledger(),
        keeps_all: config.history(workload.kind_name()) == History::All,
    };
    let findings = checker.check();
    let check_took = begun.elapsed();
    let resident_bytes = cluster
        .as_ref()
        .map(|cluster| cluster.members().iter().map(|member| member.resident_bytes()).sum());
    let driver = driver_of(&control, &topology);
    drop(control);
    let exits = cluster.map(Cluster::stop).unwrap_or_default();

    let open_loop = matches!(plan.pace, Pace::Open(_));
    let invalid = open_loop && measured.late * 100 > (measured.sent + measured.late) * LATE_PERCENT;
    let verdict = if !findings.is_clean() {
        Verdict::Fail
    } else if invalid {
        Verdict::Invalid
    } else {
        Verdict::Ok
    };
    Ok(Report {
        cpu_ns: cpu_after
            .zip(cpu_before)
            .map(|(after, before)| after.saturating_sub(before)),
        generator_cpu_ns: own_after.saturating_sub(own_before),
        driver,
        kept_bytes: after.kept_bytes,
        allocations: after.allocations.saturating_sub(before.allocations),
        system_calls: after.system_calls.saturating_sub(before.system_calls),
        turns: after.turns.saturating_sub(before.turns),
        link_bytes: after.link_bytes.saturating_sub(before.link_bytes),
        crossed: after.crossed.saturating_sub(before.crossed),
        plan,
        measured,
        findings,
        resident_bytes,
        shortened,
        check_took,
        exits,
        verdict,
    })
}

/// Tells this run's messages from those of any other.
fn plan_seed() -> u64 {
    let wall = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let word = |value: i64| u64::try_from(value).unwrap_or(0);
    word(wall.tv_sec) << 32 ^ word(wall.tv_nsec) ^ u64::from(std::process::id()) << 20
}

/// Memory of each node, at most half of what is free for all, and the messages that it has room for.
fn budget(plan: &Plan, warm: u64, rate: f64, per_message: u64) -> Result<(u64, u64), RunError> {
    let nodes = 5;
    let free = free_memory().unwrap_or(4 << 30);
    let most = free / 2 / nodes;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "below 2^53 messages"
    )]
    let planned = (rate * plan.time.as_secs_f64()) as u64;
    let wanted = NODE_MEMORY_MIN + (warm + planned).saturating_mul(per_message) * 10 / 8;
    if most < NODE_MEMORY_MIN {
        return Err(RunError::Memory {
            free,
            wanted: NODE_MEMORY_MIN * nodes * 2,
        });
    }
    let budget = wanted.min(most);
    let room = ((budget - NODE_MEMORY_MIN / 2) * 8 / 10 / per_message).saturating_sub(warm);
    // A closed loop may turn out faster than reckoned with; it ends where memory does.
    Ok((budget, room))
}

/// Memory that this host has free, in bytes; `None` where it does not say.
fn free_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let kib: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1_024)
}

fn totals(control: &Client, topology: &Topology) -> Totals {
    let mut totals = Totals::default();
    for node in topology.nodes() {
        for shard in 0..node.shards {
            // A node that does not answer adds nothing; the read-back says what that means.
            let Ok(status) = control.status(node.id.0, shard, &ReadOptions::default()) else {
                continue;
            };
            for counter in &status.counters {
                match counter.name.as_str() {
                    "system_calls" => totals.system_calls += counter.value,
                    "allocations" if shard == 0 => totals.allocations += counter.value,
                    "turns" => totals.turns += counter.value,
                    "links_sent_bytes" => totals.link_bytes += counter.value,
                    "crossed" => totals.crossed += counter.value,
                    _ => (),
                }
            }
            totals.kept_bytes += status.groups.iter().map(|group| group.log_bytes).sum::<u64>();
        }
    }
    totals
}

fn driver_of(control: &Client, topology: &Topology) -> String {
    let first = topology.nodes().first().map_or(0, |node| node.id.0);
    control
        .status(first, 0, &ReadOptions::default())
        .map_or_else(|_| "unknown".to_owned(), |status| status.driver)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn per(sum: u64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { sum as f64 / count as f64 }
}

impl Report {
    /// Messages acked per second.
    #[must_use]
    pub fn acked_per_s(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let acked = self.measured.acked as f64;
        acked / self.measured.took.as_secs_f64().max(1e-9)
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let measured = &self.measured;
        let quantiles = |histogram: &hdrhistogram::Histogram<u64>| {
            json!({
                "p50": histogram.value_at_quantile(0.5), "p90": histogram.value_at_quantile(0.9),
                "p99": histogram.value_at_quantile(0.99), "p999": histogram.value_at_quantile(0.999),
                "max": histogram.max(),
            })
        };
        let acked = measured.acked;
        let pace = match self.plan.pace {
            Pace::Open(rate) => json!({ "open_per_s": rate }),
            Pace::Closed(in_flight) => json!({ "closed_in_flight": in_flight }),
        };
        json!({
            "schema": "waterpark.bench_run.1",
            "complete": true,
            "verdict": self.verdict.name(),
            "workload": self.plan.kind.name(),
            "pace": pace,
            "seconds": measured.took.as_secs_f64(),
            "acked_per_s": self.acked_per_s(),
            "cpu_ns_per_msg": self.cpu_ns.map(|cpu| per(cpu, acked)),
            "generator_cpu_ns_per_msg": per(self.generator_cpu_ns, acked),
            "ack_us": quantiles(&measured.response_us),
            "service_us": quantiles(&measured.service_us),
            "sent": measured.sent,
            "acked": acked,
            "refused": measured.refused,
            "unknown": measured.unknown,
            "reasons": measured.reasons,
            "repeats": measured.repeats,
            "late": measured.late,
            "lost": self.findings.lost,
            "duplicated": self.findings.duplicated,
            "refused_but_held": self.findings.refused_but_held,
            "foreign": self.findings.foreign,
            "unreadable": self.findings.unreadable,
            "dropped": self.findings.dropped,
            "looked_for": self.findings.looked_for,
            "entries_read": self.findings.entries,
            "findings": self.findings.said,
            "durability": "ram, three of five members in two data centres at least",
            "driver": self.driver,
            "kept_bytes": self.kept_bytes,
            "resident_bytes": self.resident_bytes,
            "allocs_per_msg": per(self.allocations, acked),
            "syscalls_per_msg": per(self.system_calls, acked),
            "turns": self.turns,
            "link_bytes_per_payload_byte": per(self.link_bytes, acked * self.plan.message_bytes as u64),
            "crossed": self.crossed,
            "shortened": self.shortened,
            "exit_codes": self.exits,
        })
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let measured = &self.measured;
        let pace = match self.plan.pace {
            Pace::Open(rate) => format!("open loop, {rate:.0} messages a second planned"),
            Pace::Closed(in_flight) => format!(
                "closed loop, {in_flight} messages under way: no arrival is planned, so no delay of one is seen"
            ),
        };
        let row = |name: &str, histogram: &hdrhistogram::Histogram<u64>| {
            let at = |quantile: f64| histogram.value_at_quantile(quantile);
            format!(
                "{name:<14}{:>10}{:>10}{:>10}{:>10}{:>10}\n",
                at(0.5),
                at(0.9),
                at(0.99),
                at(0.999),
                histogram.max()
            )
        };
        let mut text = format!("{} on {}: {pace}\n", self.plan.kind.name(), self.driver);
        text += &format!(
            "{:.0} acked a second over {:.2} s: {} sent = {} acked + {} refused + {} unknown\n",
            self.acked_per_s(),
            measured.took.as_secs_f64(),
            measured.sent,
            measured.acked,
            measured.refused,
            measured.unknown
        );
        for (reason, count) in &measured.reasons {
            text += &format!("  {count} ended with: {reason}\n");
        }
        text += &format!(
            "{:<14}{:>10}{:>10}{:>10}{:>10}{:>10}\n",
            "us", "p50", "p90", "p99", "p99.9", "max"
        );
        text += &row("response", &measured.response_us);
        text += &row("service", &measured.service_us);
        let acked = measured.acked;
        if let Some(cpu_ns) = self.cpu_ns {
            text += &format!(
                "cpu            {:>10.0} ns a message, all replicas, user and system\n",
                per(cpu_ns, acked)
            );
        }
        text += &format!(
            "generator      {:>10.0} ns a message\n",
            per(self.generator_cpu_ns, acked)
        );
        text += &format!(
            "system calls   {:>10.4} a message, {} turns\n",
            per(self.system_calls, acked),
            self.turns
        );
        text += &format!("allocations    {:>10.5} a message\n", per(self.allocations, acked));
        text += &format!(
            "links          {:>10.2} bytes a payload byte\n",
            per(self.link_bytes, acked * self.plan.message_bytes as u64)
        );
        text += &format!("kept           {:>10} bytes in all logs\n", self.kept_bytes);
        text += &format!(
            "read back in {:.1} s: {} looked for in three members each, {} lost, {} duplicated, {} refused but held, {} foreign\n",
            self.check_took.as_secs_f64(),
            self.findings.looked_for,
            self.findings.lost,
            self.findings.duplicated,
            self.findings.refused_but_held,
            self.findings.foreign
        );
        for said in &self.findings.said {
            text += &format!("  {said}\n");
        }
        if self.shortened {
            text += "the run was shortened: half of the free memory was planned to be full\n";
        }
        if measured.late > 0 {
            text += &format!("{} arrivals were sent more than 1 ms late\n", measured.late);
        }
        text + &format!("verdict: {}\n", self.verdict.name())
    }

    /// Messages of a fate over warm-up and measurement.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.verdict == Verdict::Ok
    }
}
