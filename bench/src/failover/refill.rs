//! How copies come back: eight processes that hold something, one of which is lost beside an open loop.
//!
//! Copies come back on the nodes that are left, or, where the lost node is started again at once, mostly on that one, which has nothing then.
//! Messages are sent all the while at their planned instants, so that what the way of the copies costs shows in their latency. It
//! deliberately does not look into the nodes' own counters of what they gave: what counts is when all copies are there.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use waterpark_client::ReadOptions;
use waterpark_client::blocking::{Client, ClusterAddresses, ConnectOptions};
use waterpark_client::polled::Polled;
use waterpark_control::History;

use super::NODES;
use super::refill_report::{RefillReport, Stretch};
use super::scenario::Scenario;
use super::stage::Stage;
use crate::arrivals::Arrivals;
use crate::cluster::{Cluster, ClusterPlan, addresses};
use crate::generator::{Generator, Schedule};
use crate::ledger::Checker;
use crate::run::{self, RunError, Verdict};
use crate::sight::Sight;
use crate::timeline::Event;
use crate::workload::{Kind, Workload};

/// Actors.
const ACTORS: u64 = 100_000;
/// Placement groups.
const GROUPS: u32 = 64;
/// Copies of a message.
const COPIES: u64 = 5;
/// Messages under way while nodes are filled.
const FILLING: usize = 8_192;
/// How long is measured on after the last copy.
const SETTLE: Duration = Duration::from_secs(2);
/// What becomes of messages to groups that lose their writer is another measurement's figure: so long after the loss it is not counted here.
pub(super) const CHANGE: Duration = Duration::from_secs(1);
/// After the calm the open loop ends at last: later than whatever is waited for.
const LONGEST: Duration = Duration::from_secs(100);
/// Memory of a node beside what it is filled with.
const BESIDE: u64 = 256 << 20;

/// What to measure.
#[derive(Clone, Debug)]
pub struct RefillPlan {
    /// The binary that has `node` as a command.
    pub binary: PathBuf,
    /// `auto`, `io-uring` or `epoll`.
    pub driver: String,
    /// Bytes of logs that each node holds when one is lost.
    pub fill: u64,
    /// Messages a second meanwhile.
    pub rate: f64,
    /// Bytes of a message.
    pub message_bytes: usize,
    /// How long nothing is lost: what messages take without it.
    pub calm: Duration,
    /// Whether the lost node is started again at once, with nothing.
    pub again: bool,
}

/// Measures.
///
/// `say` is told what goes on, in a few words. Once `go_on` is false it ends early; what was sent is still read back.
///
/// # Errors
/// [`RunError`]; nothing was measured, and what was started was ended.
pub fn refill(plan: RefillPlan, mut say: impl FnMut(&str), go_on: impl Fn() -> bool) -> Result<RefillReport, RunError> {
    run::memory_for(NODES, plan.fill.saturating_add(plan.fill / 4).saturating_add(BESIDE))?;
    // One node less holds as much, and a log takes whole chunks.
    let memory = plan.fill + plan.fill / 2 + BESIDE;
    let mut own = ClusterPlan::eight(plan.binary.clone(), memory);
    own.driver.clone_from(&plan.driver);
    own.groups = Some(GROUPS);
    say(&format!("{NODES} nodes in four data centres"));
    let cluster = Cluster::start(own)?;
    let (config, key) = (cluster.config().clone(), cluster.key());
    let topology = config.topology();
    let control = Client::connect(cluster.addresses(), &key, ConnectOptions::default())?;
    let workload = Workload {
        kind: Kind::W128,
        actors: ACTORS,
        message_bytes: plan.message_bytes,
        seed: run::plan_seed(),
        warm: 0,
        prefix: "",
        skew: None,
    };
    let mut options = run::generators_options();
    // Nobody waits for the default of ten seconds who wants to know what a lost node costs.
    options.client.silence_ms = super::SILENCE_MS;
    let entries = ClusterAddresses(addresses(&config));
    let mut generator = Generator::new(Polled::new(entries, key, &options)?, workload, super::TIMEOUT_MS);
    generator.connect(run::CONNECT)?;
    say(&format!("filling them with {} MiB each", plan.fill >> 20));
    let mut stage = Stage::open(cluster, Vec::new(), &go_on)?;
    let driver = stage.driver();
    // What a message takes is known when some are there.
    let sample = NODES * plan.fill / COPIES / run::log_bytes_per_message(plan.message_bytes) / 4 + 1;
    let filling = Schedule::Closed { in_flight: FILLING };
    generator.run(filling, Duration::from_secs(600), sample, |_| go_on());
    let all = stage.all();
    let bytes: u64 = stage.ids_of(&all).map(|node| held_by(&control, node)).sum();
    let more = (NODES * plan.fill).saturating_sub(bytes) / (bytes / sample).max(1);
    generator.run(filling, Duration::from_secs(600), more, |_| go_on());
    stage.wait_whole();
    say(&format!("{:.0} messages a second", plan.rate));
    let ends = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ends);
    let longest = plan.calm.saturating_add(LONGEST);
    let instants = Arrivals::Constant.plan(plan.rate, longest, workload.seed);
    let begun = Instant::now();
    let sender = std::thread::spawn(move || {
        let goes_on = |_: &_| !told.load(Ordering::Relaxed);
        let measured = generator.run(Schedule::Open(&instants), longest, u64::MAX, goes_on);
        (generator, measured)
    });
    stage.wait(plan.calm);
    let victims = stage.choose(Scenario::Kill);
    let held: u64 = stage.ids_of(&victims).map(|node| held_by(&control, node)).sum();
    let lost_at = begun.elapsed();
    stage.signal(&victims, Signal::KILL);
    let mut events = Vec::new();
    let mut note = |what, nodes, is_fault| {
        events.push(Event {
            at: begun.elapsed(),
            what,
            nodes,
            is_fault,
        });
    };
    note("kill", stage.names(&victims), true);
    say(&format!(
        "{} is lost with {} MiB",
        stage.names(&victims).join(" "),
        held >> 20
    ));
    if plan.again {
        note("start", stage.names(&victims), false);
        let back = stage.start_again(&victims);
        if !back.is_empty() {
            note("back", stage.names(&back), false);
        }
    }
    let mut looks = Vec::new();
    let left = stage.nodes() - victims.len();
    let saw = |sight: &Sight| {
        // The least that answers is all but the lost one: who is silent for once has lost nothing.
        if sight.answered >= left {
            looks.push((begun.elapsed(), sight.memory_used));
        }
    };
    let whole = stage.watch_whole(saw) && stage.goes_on();
    let whole_at = begun.elapsed();
    if whole {
        note("whole", Vec::new(), false);
    }
    say(&format!("whole after {} ms", (whole_at - lost_at).as_millis()));
    stage.wait(SETTLE);
    ends.store(true, Ordering::Relaxed);
    let (generator, measured) = sender.join().expect("the generator does not panic");

    say("reading everything back from three members");
    let checker = Checker {
        topology: &topology,
        members: stage.settled_members(),
        key,
        workload,
        ledger: generator.ledger(),
        keeps_all: config.history(workload.kind_name()) == History::All,
    };
    let findings = checker.check();
    drop(control);
    let faults = stage.end();
    let verdict = Verdict::of(findings.is_clean(), run::is_late(&measured));
    let over = &measured.over_time;
    let change = (lost_at + CHANGE).min(whole_at);
    Ok(RefillReport {
        calm: Stretch::of(over, Duration::ZERO, lost_at),
        change: Stretch::of(over, lost_at, change),
        refill: Stretch::of(over, change, whole_at),
        plan,
        held,
        took: whole_at - lost_at,
        flow: flow(&looks, held),
        whole,
        driver,
        events,
        measured,
        findings,
        faults,
        verdict,
    })
}

/// How long a lost node's bytes took from the last look before more than a fiftieth of them was back, and how many came since; looks are of
/// the pools of all nodes that are left. Before that another view had to open, and to be old enough for the next one.
fn flow(looks: &[(Duration, u64)], held: u64) -> Option<(u64, Duration)> {
    let least = looks.iter().map(|(_, used)| *used).min()?;
    let (from_at, from) = looks.iter().rfind(|(_, used)| *used <= least + held / 50)?;
    let (last_at, last) = looks.last()?;
    Some((last - from, *last_at - *from_at)).filter(|(bytes, _)| *bytes >= held / 2)
}

/// Bytes of the logs of a node, as it says itself; none if it does not answer.
fn held_by(control: &Client, node: u16) -> u64 {
    let status = control.status(node, 0, &ReadOptions::default());
    status.map_or(0, |status| status.groups.iter().map(|group| group.log_bytes).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_flow_from_the_last_look_that_saw_none_to_the_end() {
        let at = |looks: &[(u64, u64)]| {
            let looks = looks.iter().map(|(ms, used)| (Duration::from_millis(*ms), *used));
            flow(&looks.collect::<Vec<_>>(), 1_000)
        };
        let waits = [(0, 7_000), (50, 7_002), (1_700, 7_020)];
        let flows = [(1_800, 7_300), (1_900, 7_700), (2_000, 8_020)];
        assert_eq!(
            at(&[&waits[..], &flows].concat()),
            Some((1_000, Duration::from_millis(300)))
        );
        assert_eq!(at(&waits), None, "none came back");
        assert_eq!(at(&[(0, 7_900), (50, 8_000)]), None, "most of it before the first look");
        assert_eq!(at(&[]), None);
    }

    #[test]
    fn more_than_any_memory_is_refused_before_anything_is_started() {
        let plan = RefillPlan {
            binary: "there is none".into(),
            driver: "auto".to_owned(),
            fill: u64::MAX,
            rate: 1.0,
            message_bytes: 128,
            calm: Duration::ZERO,
            again: false,
        };
        let said = |_: &str| panic!("nothing is started");
        let refused = refill(plan, said, || true).unwrap_err();
        assert!(matches!(refused, RunError::Memory { .. }), "{refused}");
    }
}
