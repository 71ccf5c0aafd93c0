//! Overload: five times what a cluster can take, offered to it at planned instants by many sessions.
//!
//! Closed loops find out what the cluster can take; then an open loop of the same sessions offers a multiple of that, and each refusal is
//! its message's end. Everything acked is read back as in any other run. It deliberately does not know how the parts of the cluster refuse:
//! it sees ends, memory and time. **Invariant:** what the generator did not come to, and what its own clients had no room for, is never
//! counted as refused.

mod crowd;
mod report;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use waterpark_client::blocking::{Client, ClusterAddresses, ConnectOptions};
use waterpark_control::History;
use waterpark_ring::Topology;

pub use self::crowd::{Crowd, Load, Tally};
pub use self::report::OverloadReport;
use crate::cluster::{Cluster, ClusterPlan, Member, addresses};
use crate::ledger::{Checker, Findings, Ledger};
use crate::run::{self, RunError, Verdict};
use crate::workload::{Kind, Workload};

/// How many times the capacity is offered.
pub const TIMES: f64 = 5.0;
/// Where nothing else is said, what is overloaded is queues, and not the core that five nodes share with each other: a generator that has one
/// core as well is not five times as fast as they are. So few actors,
pub const ACTORS: u64 = 1_000;
/// one session,
pub const SESSIONS: usize = 1;
/// so many requests that may wait for their commit in a shard,
pub const WAITING: u32 = 256;
/// each for so long, in µs.
pub const ROUND_TRIP_US: u64 = 40_000;
/// Groups of the cluster, as few as a cluster can have: the fewer queues there are, the sooner all of them are full.
const GROUPS: u32 = 64;
/// How long each closed loop looks for the capacity.
const CALIBRATION: Duration = Duration::from_secs(4);
/// The capacity is that of the best so many tenths of a second: where data centres are far apart acks come in bursts.
const BEST_TENTHS: usize = 30;
/// Messages a second that memory is planned for.
const PLANNED_RATE: f64 = 700_000.0;
/// Resident memory is looked at so often.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// More of the planned messages that the generator did not come to than this, in percent, and the measurement is invalid.
const NOT_REACHED_PERCENT: u64 = 5;

/// Nodes of one shard each, and their data centres.
const NODES: u32 = 5;
const DCS: [&str; 4] = ["FL", "TN", "TX", "UT"];

/// Which cores nodes and generator run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cores {
    /// All share all cores.
    Shared,
    /// The generator has the last of the cores that this process may use, and the nodes all others: what the generator spends takes
    /// nothing from what the cluster can do.
    Split,
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct OverloadPlan {
    /// The binary that has `node` as a command.
    pub binary: PathBuf,
    /// `auto`, `io-uring` or `epoll`.
    pub driver: String,
    /// Actors; each gets a message before the measurement.
    pub actors: u64,
    /// Bytes of a message.
    pub message_bytes: usize,
    /// How long more than the capacity is offered.
    pub time: Duration,
    /// The whole call of one message, in ms.
    pub timeout_ms: u32,
    /// Sessions, with a connection to each node's each shard.
    pub sessions: usize,
    /// Messages that each closed loop keeps under way, over all sessions.
    pub in_flight: Vec<usize>,
    /// Which cores.
    pub cores: Cores,
    /// The round trip between any two data centres; zero for loopback's own.
    pub round_trip: Duration,
    /// Requests that may wait for their commit in each of the five shards, at most.
    pub waiting: u32,
}

/// Resident memory of all nodes, in bytes, and when, from the beginning of the overload.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When.
    pub at: Duration,
    /// How much.
    pub resident: u64,
}

/// The calling thread's cores while it lives; threads and processes that it starts meanwhile inherit them.
pub(crate) struct Confined(Option<CpuSet>);

impl Confined {
    pub(crate) fn to(cores: &[usize]) -> Result<Confined, RunError> {
        if cores.is_empty() {
            return Ok(Confined(None));
        }
        let before = sched_getaffinity(None).map_err(|error| RunError::Cores(error.into()))?;
        let mut mask = CpuSet::new();
        cores.iter().for_each(|core| mask.set(*core));
        sched_setaffinity(None, &mask).map_err(|error| RunError::Cores(error.into()))?;
        Ok(Confined(Some(before)))
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        if let Some(before) = &self.0
            && sched_setaffinity(None, before).is_err()
        {
            // A thread that stays on fewer cores is slower, and nothing worse.
        }
    }
}

/// The cores that this process may use.
pub(crate) fn own_cores() -> Result<Vec<usize>, RunError> {
    let mask = sched_getaffinity(None).map_err(|error| RunError::Cores(error.into()))?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| mask.is_set(*core)).collect())
}

/// The cores of the nodes and of the generator; both empty where they share all.
fn split(cores: Cores) -> Result<(Vec<usize>, Vec<usize>), RunError> {
    let mut ours = own_cores()?;
    match (cores, ours.len()) {
        (Cores::Shared, _) | (Cores::Split, ..2) => Ok((Vec::new(), Vec::new())),
        (Cores::Split, _) => {
            let generator = ours.split_off(ours.len() - 1);
            Ok((ours, generator))
        }
    }
}

/// A cluster whose capacity is known, and the crowd that has found it.
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) topology: Topology,
    pub(crate) control: Client,
    pub(crate) crowd: Crowd,
    pub(crate) workload: Workload,
    pub(crate) node_cores: Vec<usize>,
    pub(crate) generator_cores: Vec<usize>,
    /// The best of the closed loops.
    pub(crate) calm: Tally,
    pub(crate) capacity_per_s: f64,
    /// Messages that memory has room for.
    pub(crate) messages_max: u64,
    /// Bytes of log memory that were touched first, of each node.
    pub(crate) touched: u64,
    keeps_all: bool,
    _confined: Confined,
}

impl Stage {
    /// Starts the cluster, gives each actor its first message, and finds out what the cluster can take. `time` is how long all that follows
    /// takes, `prefix` what the actors' ids begin with.
    pub(crate) fn begin(
        plan: &OverloadPlan,
        time: Duration,
        prefix: &'static str,
        say: &mut impl FnMut(&str),
        go_on: &impl Fn() -> bool,
    ) -> Result<Stage, RunError> {
        let per_message = run::log_bytes_per_message(plan.message_bytes);
        let calibration = CALIBRATION.min(plan.time);
        let loops = u32::try_from(plan.in_flight.len()).unwrap_or(u32::MAX);
        let seconds = (time + calibration * loops).as_secs_f64();
        let (budget, messages_max) = run::budget(seconds, plan.actors, PLANNED_RATE, per_message)?;
        let mut own = ClusterPlan::five(plan.binary.clone(), budget);
        own.prefault = (plan.actors.saturating_add(messages_max))
            .saturating_mul(per_message)
            .min(budget / 10 * 9);
        own.driver.clone_from(&plan.driver);
        own.groups = Some(GROUPS);
        own.round_trips = apart(plan.round_trip);
        own.waiting = Some(plan.waiting);
        let touched = own.prefault;
        let (node_cores, generator_cores) = split(plan.cores)?;
        say(&format!(
            "five nodes of one shard, {} MiB each touched first",
            touched >> 20
        ));
        let cluster = {
            let _confined = Confined::to(&node_cores)?;
            Cluster::start(own)?
        };
        let confined = Confined::to(&generator_cores)?;
        let config = cluster.config().clone();
        let topology = config.topology();
        let entries = || ClusterAddresses(addresses(&config));
        let control = Client::connect(entries(), &cluster.key(), ConnectOptions::default())?;

        let workload = Workload {
            kind: Kind::W128,
            actors: plan.actors,
            message_bytes: plan.message_bytes,
            seed: run::plan_seed(),
            warm: plan.actors,
            prefix,
            skew: None,
        };
        let mut crowd = Crowd::connect(plan.sessions, entries, cluster.key(), workload, plan.timeout_ms)?;
        say(&format!("{} actors get their first message", plan.actors));
        let first = Load::Closed {
            in_flight: run::IN_FLIGHT,
        };
        crowd.run(first, Duration::from_secs(600), plan.actors, go_on);
        say("closed loops find the capacity");
        let mut calm = Tally::new(calibration);
        for in_flight in plan.in_flight.iter().copied() {
            crowd.expect(messages_max);
            let tally = crowd.run(Load::Closed { in_flight }, calibration, messages_max, go_on);
            if capacity(&tally) > capacity(&calm) {
                calm = tally;
            }
        }
        let capacity_per_s = capacity(&calm);
        let keeps_all = config.history(workload.kind_name()) == History::All;
        Ok(Stage {
            cluster,
            topology,
            control,
            crowd,
            workload,
            node_cores,
            generator_cores,
            calm,
            capacity_per_s,
            messages_max,
            touched,
            keeps_all,
            _confined: confined,
        })
    }

    /// Reads everything of a work back.
    pub(crate) fn check(&self, workload: Workload, ledger: &Ledger) -> Findings {
        let checker = Checker {
            topology: &self.topology,
            members: std::collections::BTreeMap::new(),
            key: self.cluster.key(),
            workload,
            ledger,
            keeps_all: self.keeps_all,
        };
        checker.check()
    }

    /// Whether the crowd did not come to enough of what it had planned.
    pub(crate) fn is_late(tally: &Tally) -> bool {
        tally.not_reached * 100 > tally.planned * NOT_REACHED_PERCENT
    }
}

/// Measures.
///
/// `say` is told what goes on, in a few words. Sending ends early once `go_on` is false; what was sent is still read back.
///
/// # Errors
/// [`RunError`]; nothing was measured, and what was started was ended.
pub fn measure(
    plan: OverloadPlan,
    mut say: impl FnMut(&str),
    go_on: impl Fn() -> bool,
) -> Result<OverloadReport, RunError> {
    let mut stage = Stage::begin(&plan, plan.time, "", &mut say, &go_on)?;
    let (cluster, crowd, messages_max) = (&stage.cluster, &mut stage.crowd, stage.messages_max);

    let resident = || cluster.members().iter().map(Member::resident_bytes).sum::<u64>();
    let cpu = || cluster.members().iter().map(Member::cpu_ns).sum::<u64>();
    let own_cpu = || crate::cluster::cpu_ns_of(std::process::id());
    let before = run::totals(&stage.control, &stage.topology);
    let resident_before = resident();
    let (cpu_before, own_before) = (cpu(), own_cpu());
    let rate = stage.capacity_per_s * TIMES;
    say(&format!("{rate:.0} messages a second are offered"));
    crowd.expect(messages_max);
    let begun = Instant::now();
    let mut samples = Vec::new();
    let mut next = Duration::ZERO;
    let tally = crowd.run(Load::Open { rate }, plan.time, messages_max.saturating_mul(100), || {
        let at = begun.elapsed();
        if at >= next {
            next = at + SAMPLE_EVERY;
            samples.push(Sample {
                at,
                resident: resident(),
            });
        }
        go_on()
    });
    let (cpu_ns, own_cpu_ns) = (cpu().saturating_sub(cpu_before), own_cpu().saturating_sub(own_before));
    // Counters are published with the next tick.
    std::thread::sleep(Duration::from_millis(150));
    let after = run::totals(&stage.control, &stage.topology);
    let resident_after = resident();

    say("reading everything back from three members");
    let findings = stage.check(stage.workload, stage.crowd.ledger());
    let driver = run::driver_of(&stage.control, &stage.topology);
    let Stage {
        cluster,
        control,
        crowd,
        node_cores,
        generator_cores,
        calm,
        capacity_per_s,
        touched,
        ..
    } = stage;
    drop(control);
    drop(crowd);
    let exits = cluster.stop();
    let is_late = Stage::is_late(&tally);
    let verdict = Verdict::of(findings.is_clean(), is_late);
    Ok(OverloadReport {
        node_cores,
        generator_cores,
        driver,
        capacity_per_s,
        calm,
        tally,
        cpu_ns,
        generator_cpu_ns: own_cpu_ns,
        resident_before,
        samples,
        resident_after,
        kept_before: before.kept_bytes,
        kept_after: after.kept_bytes,
        touched: touched * exits.len() as u64,
        findings,
        exits,
        verdict,
        plan,
    })
}

/// What closed loops keep under way that find out what five nodes can take: what fills their queues, and twice that. With more, refusals and
/// pauses take the place of acks; where queues are long, with fewer as well.
#[must_use]
pub fn in_flight(waiting: u32) -> Vec<usize> {
    let filled = usize::try_from(NODES * waiting).expect("queues in memory");
    let filled = filled.min(run::IN_FLIGHT);
    vec![filled, 2 * filled]
}

/// All data centres of the five nodes equally far apart.
fn apart(round_trip: Duration) -> Vec<(&'static str, &'static str, u64)> {
    if round_trip.is_zero() {
        return Vec::new();
    }
    let us = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX);
    let pairs = (0..DCS.len()).flat_map(|one| DCS[one + 1..].iter().map(move |other| (DCS[one], *other, us)));
    pairs.collect()
}

/// Acks per second in the best three seconds of a closed loop, or over all of it where it was shorter.
#[expect(clippy::cast_precision_loss, reason = "below 2^53 acks")]
fn capacity(calm: &Tally) -> f64 {
    let windows = calm.tenths.windows(BEST_TENTHS);
    let best = windows.map(|window| window.iter().sum::<u64>()).max();
    let per_s = |acked: u64| acked as f64 * 10.0 / BEST_TENTHS as f64;
    best.map_or_else(|| calm.per_s(calm.acked_in_time), per_s).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_capacity_is_that_of_the_best_three_seconds() {
        let mut calm = Tally::new(Duration::from_secs(1));
        calm.tenths = [vec![10; 10], vec![50; 20], vec![20; 20]].concat();
        assert!((capacity(&calm) - 400.0).abs() < 1e-9);
    }

    #[test]
    fn the_capacity_of_a_shorter_closed_loop_is_its_mean() {
        let mut calm = Tally::new(Duration::from_secs(1));
        calm.tenths = vec![10; 5];
        (calm.acked_in_time, calm.sending) = (50, Duration::from_millis(500));
        assert!((capacity(&calm) - 100.0).abs() < 1e-9);
    }
}
