//! One measurement from start to verdict: a cluster, a warm-up, a stretch of sending, and the reading back of everything.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use waterpark_client::blocking::{Client, ClusterAddresses, ConnectOptions};
use waterpark_client::{ClientError, ClientOptions, ReadOptions};
use waterpark_control::{ClusterConfig, History};
use waterpark_ring::Topology;

use crate::arrivals::Arrivals;
use crate::cluster::{Cluster, ClusterError, ClusterPlan, Member, addresses};
use crate::generator::{Measured, Schedule};
use crate::generators::{GeneratorLost, GeneratorProcesses, Processes, Senders, Task};
use crate::ledger::Checker;
use crate::reads::Level;
use crate::report::Report;
use crate::sight::Sight;
use crate::skew::Skew;
use crate::workload::Kind;

/// Bytes that one message of W128 takes in a member's log, with its share of run headers: for planning memory.
const LOG_BYTES_PER_MESSAGE: u64 = 260;
/// Messages a second that a closed loop is reckoned with when memory is planned.
pub(crate) const CLOSED_RATE: f64 = 900_000.0;
/// What a closed loop keeps under way unless it is told.
pub const IN_FLIGHT: usize = 8_192;
/// Memory of one node at least.
const NODE_MEMORY_MIN: u64 = 256 << 20;
/// More of the open-loop arrivals late than this, in percent, and the measurement is invalid.
const LATE_PERCENT: u64 = 1;
/// How long the first connection may take.
pub(crate) const CONNECT: Duration = Duration::from_secs(10);

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
        /// Its file.
        path: PathBuf,
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
    /// How the instants of an open loop lie in time.
    pub arrivals: Arrivals,
    /// How long.
    pub time: Duration,
    /// Bytes of a message.
    pub message_bytes: usize,
    /// The whole call of one message, in ms.
    pub timeout_ms: u32,
    /// Whether every actor gets a message before the measurement.
    pub warm: bool,
    /// How the reads of a workload that has some are asked.
    pub level: Level,
    /// How messages of W128 and kv are spread over groups.
    pub skew: Skew,
    /// Processes that send; `None` where this one does.
    pub generators: Option<GeneratorProcesses>,
}

impl Plan {
    /// What was measured, as far as figures depend on it: two runs whose settings differ cannot be compared.
    pub(crate) fn settings(&self) -> Value {
        let (rate, in_flight) = match self.pace {
            Pace::Open(rate) => (Some(rate), None),
            Pace::Closed(in_flight) => (None, Some(in_flight)),
        };
        let reads = match self.kind {
            Kind::Kv { reads } => Some(reads),
            _ => None,
        };
        let (driver, nodes, groups) = match &self.target {
            Target::Own { driver, .. } => (Some(driver), None, None),
            Target::Running { config, .. } => (None, Some(config.nodes.len()), Some(config.groups)),
        };
        json!({
            "workload": self.kind.name(), "for_s": self.time.as_secs_f64(), "rate_per_s": rate, "closed_in_flight": in_flight,
            "arrivals": rate.map(|_| self.arrivals.name()), "actors": self.actors, "message_bytes": self.message_bytes, "timeout_ms": self.timeout_ms, "warm": self.warm, "skew": self.skew.name(),
            "generators": self.generators.as_ref().map(|generators| generators.count), "reads_percent": reads, "read_level": reads.map(|_| self.level.name()), "driver": driver, "running_nodes": nodes, "running_groups": groups,
        })
    }
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
    /// Of a run whose findings are clean or not, and whose generator was too late or not.
    #[must_use]
    pub fn of(is_clean: bool, is_late: bool) -> Verdict {
        match (is_clean, is_late) {
            (false, _) => Verdict::Fail,
            (true, true) => Verdict::Invalid,
            (true, false) => Verdict::Ok,
        }
    }

    /// As reports say it.
    #[must_use]
    pub fn name(self) -> &'static str {
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
    #[error("{free} bytes of memory are free; {nodes} nodes need {wanted}")]
    Memory {
        /// Bytes that are free.
        free: u64,
        /// Nodes that would use it.
        nodes: u64,
        /// Bytes that would be used.
        wanted: u64,
    },
    /// A generator process did not do its part.
    #[error(transparent)]
    Generator(#[from] GeneratorLost),
    /// The host does not let this process choose among its own cores.
    #[error("the cores of this process cannot be chosen: {0}")]
    Cores(std::io::Error),
}

/// Sums over all shards of a cluster, from their status documents.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    system_calls: u64,
    allocations: u64,
    turns: u64,
    link_bytes: u64,
    pub(crate) kept_bytes: u64,
    crossed: u64,
}

/// Measures.
///
/// `say` is told what goes on, in a few words. Sending ends early once `go_on` is false; what was sent is still read back.
///
/// # Errors
/// [`RunError`]; nothing was measured, and what was started was ended.
pub fn measure(plan: Plan, mut say: impl FnMut(&str), go_on: impl Fn() -> bool) -> Result<Report, RunError> {
    let warm = if plan.warm { plan.actors } else { 0 };
    let rate = match plan.pace {
        Pace::Open(rate) => rate,
        Pace::Closed(_) => CLOSED_RATE,
    };
    let mut per_message = log_bytes_per_message(plan.message_bytes);
    if let Kind::Kv { .. } = plan.kind {
        // The value stands in its entry a second time, as the event, and in the state.
        per_message += 2 * plan.message_bytes as u64;
    }
    let (cluster, messages_max) = match &plan.target {
        Target::Own { binary, driver } => {
            let (budget, messages) = budget(plan.time.as_secs_f64(), warm, rate, per_message)?;
            let mut own = ClusterPlan::five(binary.clone(), budget);
            own.prefault = (warm.saturating_add(messages).saturating_mul(per_message)).min(budget / 10 * 9);
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
        (None, Target::Running { config, key, .. }) => ((**config).clone(), *key),
        (None, Target::Own { .. }) => unreachable!("its cluster was started above"),
    };
    let topology = config.topology();
    let entries = || ClusterAddresses(addresses(&config));
    let control = Client::connect(entries(), &key, ConnectOptions::default())?;

    let seed = plan_seed();
    if plan.skew != Skew::Even {
        say(&format!("{} actors are told apart by their groups", plan.actors));
    }
    let task = Task::of(&plan, seed, warm);
    let workload = task.workload(&config);
    let mut senders = match &plan.generators {
        None => Senders::Here(Box::new(task.generator(workload, &control, (&config, key))?)),
        Some(processes) => {
            say(&format!("{} generator processes", processes.count));
            let path = match (&cluster, &plan.target) {
                (Some(cluster), _) => cluster.config_path(),
                (None, Target::Running { path, .. }) => path.clone(),
                (None, Target::Own { .. }) => unreachable!("its cluster was started above"),
            };
            Senders::Processes(Processes::start(processes, &path, &task, &go_on)?)
        }
    };
    if warm > 0 {
        say(&format!("{warm} actors get their first message"));
        senders.warm(warm, &go_on)?;
    }
    let instants = plan.arrivals.plan(rate, plan.time, seed);
    say("measuring");
    let schedule = match plan.pace {
        Pace::Open(_) => Schedule::Open(&instants),
        Pace::Closed(in_flight) => Schedule::Closed { in_flight },
    };
    let each = |figure: fn(&Member) -> u64| -> Option<Vec<u64>> {
        let members = cluster.as_ref()?.members();
        Some(members.iter().map(figure).collect())
    };
    let cpu = || each(Member::cpu_ns);
    let resident = || each(Member::resident_bytes).map(|bytes| bytes.iter().sum::<u64>());
    let before = totals(&control, &topology);
    let (cpu_before, own_before, resident_before) = (cpu(), senders.cpu_ns(), resident());
    let (measured, shortened) = senders.run(schedule, plan.time, messages_max, &go_on)?;
    let (cpu_after, own_after) = (cpu(), senders.cpu_ns());
    let (generators, began_late) = senders.started();
    // Counters are published with the next tick.
    std::thread::sleep(Duration::from_millis(150));
    let after = totals(&control, &topology);
    let resident_after = resident();

    say("reading everything back from three members");
    let begun = Instant::now();
    let ledger = senders.into_ledger()?;
    let nodes: Vec<u16> = topology.nodes().iter().map(|node| node.id.0).collect();
    let sight = Sight::look(&control, &nodes, config.groups, &Sight::default());
    let checker = Checker {
        topology: &topology,
        members: sight.members(),
        key,
        workload,
        ledger: &ledger,
        keeps_all: config.history(workload.kind_name()) == History::All,
    };
    let findings = checker.check();
    let check_took = begun.elapsed();
    let driver = driver_of(&control, &topology);
    drop(control);
    let exits = cluster.map(Cluster::stop).unwrap_or_default();

    let is_clean = findings.is_clean() && measured.reads.is_clean();
    let verdict = Verdict::of(is_clean, is_late(&measured));
    Ok(Report {
        cpu_ns_by_node: cpu_after.zip(cpu_before).map(|(after, before)| {
            let spent = after
                .iter()
                .zip(&before)
                .map(|(after, before)| after.saturating_sub(*before));
            spent.collect()
        }),
        resident_before,
        resident_after,
        generators,
        began_late,
        generator_cpu_ns: own_after.saturating_sub(own_before),
        driver,
        seed,
        kept_bytes: after.kept_bytes,
        allocations: after.allocations.saturating_sub(before.allocations),
        system_calls: after.system_calls.saturating_sub(before.system_calls),
        turns: after.turns.saturating_sub(before.turns),
        link_bytes: after.link_bytes.saturating_sub(before.link_bytes),
        crossed: after.crossed.saturating_sub(before.crossed),
        plan,
        measured,
        findings,
        shortened,
        check_took,
        exits,
        verdict,
    })
}

/// Whether an open loop did not keep to its plan. A closed one has none, and is never late.
#[must_use]
pub fn is_late(measured: &Measured) -> bool {
    are_late(measured.late, measured.sent + measured.reads.sent)
}

/// Whether so many late arrivals beside so many that were sent are too many.
pub(crate) fn are_late(late: u64, sent: u64) -> bool {
    late * 100 > (sent + late) * LATE_PERCENT
}

/// A generator's client has room for whatever a schedule has under way, also where all of it goes to one group: it stands for many clients.
pub(crate) fn generators_options() -> ConnectOptions {
    ConnectOptions {
        client: ClientOptions {
            in_flight_max: 1 << 17,
            open_bytes_max: 1 << 30,
            unordered_sessions_max: 1 << 9,
            ..ClientOptions::default()
        },
        ..ConnectOptions::default()
    }
}

/// Tells this run's messages from those of any other.
#[must_use]
pub fn plan_seed() -> u64 {
    let wall = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let word = |value: i64| u64::try_from(value).unwrap_or(0);
    word(wall.tv_sec) << 32 ^ word(wall.tv_nsec) ^ u64::from(std::process::id()) << 20
}

/// Bytes that a message of so many takes in a member's log.
pub(crate) fn log_bytes_per_message(message_bytes: usize) -> u64 {
    LOG_BYTES_PER_MESSAGE + message_bytes.saturating_sub(128) as u64
}

/// Memory of each node, at most half of what is free for all, and the messages that it has room for.
pub(crate) fn budget(seconds: f64, warm: u64, rate: f64, per_message: u64) -> Result<(u64, u64), RunError> {
    let nodes = 5;
    let free = free_memory().unwrap_or(4 << 30);
    let most = free / 2 / nodes;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "below 2^53 messages"
    )]
    let planned = (rate * seconds) as u64;
    // A quarter more than the messages take, in parts that cannot overflow.
    let logs_of = |messages: u64| {
        let bytes = messages.saturating_mul(per_message);
        NODE_MEMORY_MIN.saturating_add(bytes).saturating_add(bytes / 4)
    };
    let wanted = logs_of(warm.saturating_add(planned));
    if most < NODE_MEMORY_MIN {
        return Err(RunError::Memory {
            free,
            nodes,
            wanted: NODE_MEMORY_MIN * nodes * 2,
        });
    }
    if most < logs_of(warm) {
        // The first message to each actor alone would fill it, and nothing would be measured.
        return Err(RunError::Memory {
            free,
            nodes,
            wanted: logs_of(warm).saturating_mul(nodes * 2),
        });
    }
    let budget = wanted.min(most);
    let room = ((budget - NODE_MEMORY_MIN / 2) * 8 / 10 / per_message).saturating_sub(warm);
    // A closed loop may turn out faster than reckoned with; it ends where memory does.
    Ok((budget, room))
}

/// Memory of each of so many nodes: at most half of what is free for all, between these bounds.
pub(crate) fn memory_of_each(nodes: u64, (least, most): (u64, u64)) -> Result<u64, RunError> {
    let free = free_memory().unwrap_or(4 << 30);
    let each = free / 2 / nodes;
    if each < least {
        return Err(RunError::Memory {
            free,
            nodes,
            wanted: least * nodes * 2,
        });
    }
    Ok(each.min(most))
}

/// Whether each of so many nodes may have a budget of which so much is used: three quarters of what is free, for all of them.
pub(crate) fn memory_for(nodes: u64, used: u64) -> Result<(), RunError> {
    let free = free_memory().unwrap_or(4 << 30);
    let wanted = nodes.saturating_mul(used);
    match wanted <= free / 4 * 3 {
        true => Ok(()),
        false => Err(RunError::Memory { free, nodes, wanted }),
    }
}

/// Memory that this host has free, in bytes; `None` where it does not say.
fn free_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let kib: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1_024)
}

pub(crate) fn totals(control: &Client, topology: &Topology) -> Totals {
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

pub(crate) fn driver_of(control: &Client, topology: &Topology) -> String {
    let first = topology.nodes().first().map_or(0, |node| node.id.0);
    control
        .status(first, 0, &ReadOptions::default())
        .map_or_else(|_| "unknown".to_owned(), |status| status.driver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_asked_for_a_budget_is_at_most_a_tenth_of_what_is_free_or_none() {
        let free = free_memory().unwrap();
        for (seconds, warm, rate) in [(1e12, 0, 1e9), (10.0, 0, 1e9), (1.0, 1_000, 1.0)] {
            let (budget, room) = budget(seconds, warm, rate, 260).unwrap();
            // What is free changes while other tests run.
            assert!(
                budget <= free / 8 && room > 0,
                "{seconds} {warm} {rate}: {budget} {room}"
            );
        }
        for warm in [u64::MAX, 1 << 40] {
            let none = budget(1.0, warm, 1.0, 260);
            assert!(
                matches!(none, Err(RunError::Memory { wanted, .. }) if wanted > free),
                "{none:?}"
            );
        }
    }

    #[test]
    fn what_is_not_held_is_worse_than_a_late_generator() {
        let table = [
            (true, false, Verdict::Ok),
            (true, true, Verdict::Invalid),
            (false, true, Verdict::Fail),
            (false, false, Verdict::Fail),
        ];
        for (is_clean, is_late, verdict) in table {
            assert_eq!(Verdict::of(is_clean, is_late), verdict);
        }
    }
}
