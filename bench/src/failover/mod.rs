//! What failures cost: eight processes in four data centres, keys that are written all the time, and faults made from outside.
//!
//! | file | part |
//! |---|---|
//! | `mod.rs` | one scenario from its cluster to its findings |
//! | `scenario.rs` | the faults, and how often they are made |
//! | `stage.rs` | the processes: ending, stopping, cutting off, starting them anew, waiting until all copies are back |
//! | `drill.rs` | the same on a cluster that serves, of which nodes are told to stand still |
//! | `load.rs` | the clients |
//! | `refill.rs`, `refill_report.rs` | how copies come back, beside an open loop |
//! | `gaps.rs` | from acks to unavailability |
//! | `took.rs` | what acks took, all of them and over time |
//! | `failures.rs` | messages that were not acked |
//! | `read_back.rs` | every acked message, looked for in the members |
//! | `report.rs` | figures and what was to be reached |
//!
//! Nodes know nothing of the measurement: their faults are signals of the kernel, and what is lost between them is lost by [`crate::cuts`], where
//! they are told to dial each other. Their links take time because their configuration says so. **Invariant:** nothing that a node counts decides about unavailability, loss or order. **Invariant:** every wait has an end, and no
//! process outlives the measurement.

mod drill;
mod failures;
mod gaps;
mod load;
mod read_back;
mod refill;
mod refill_report;
mod report;
mod scenario;
mod stage;
mod took;

use std::path::PathBuf;
use std::time::Duration;

use waterpark_client::blocking::ClusterAddresses;

pub use self::drill::{DrillError, DrillPlan, DrillReport, Place, drill, workload as drill_workload};
pub use self::failures::{Ends, Failures};
pub use self::gaps::{Gaps, Round};
pub use self::load::{End, Failure, Lane, Row, SILENCE_MS, TIMEOUT_MS};
use self::load::{Load, LoadPlan};
use self::read_back::Books;
pub use self::read_back::Findings;
pub use self::refill::{RefillPlan, refill};
pub use self::refill_report::{RefillReport, Stretch};
pub use self::report::{FailoverReport, ScenarioReport};
pub use self::scenario::Scenario;
use self::scenario::{Done, Times};
use self::stage::Stage;
pub use self::took::Took;
use crate::cluster::{Cluster, ClusterPlan, addresses};
use crate::run::{self, RunError};
use crate::workload::{Kind, Workload};

/// Nodes of the cluster.
const NODES: u64 = 8;
/// Bytes of a message.
const MESSAGE_BYTES: usize = 64;
/// Memory of one node, at least and at most.
const NODE_MEMORY: (u64, u64) = (256 << 20, 1 << 30);

/// What to measure.
#[derive(Clone, Debug)]
pub struct FailoverPlan {
    /// The binary that has `node` as a command.
    pub binary: PathBuf,
    /// `auto`, `io-uring` or `epoll`.
    pub driver: String,
    /// What is done, in this order, each to a cluster of its own.
    pub scenarios: Vec<Scenario>,
    /// How often.
    pub times: u32,
    /// Keys that are written all the time.
    pub keys: u64,
    /// A key's messages are due no faster than this.
    pub every: Duration,
    /// Placement groups.
    pub groups: u32,
    /// Whether data centres are as far apart as the demo's; else as near as loopback is.
    pub far: bool,
    /// Where the nodes' logs go in the end; `None` to keep none.
    pub logs: Option<PathBuf>,
}

/// Measures.
///
/// `say` is told what goes on, in a few words. Faults end early once `go_on` is false; what was sent is still read back.
///
/// # Errors
/// [`RunError`]; nothing was measured, and what was started was ended.
pub fn measure(
    plan: FailoverPlan,
    mut say: impl FnMut(&str),
    go_on: impl Fn() -> bool,
) -> Result<FailoverReport, RunError> {
    let mut scenarios = Vec::new();
    for scenario in &plan.scenarios {
        if go_on() {
            scenarios.push(one(&plan, *scenario, &mut say, &go_on)?);
        }
    }
    Ok(FailoverReport { plan, scenarios })
}

/// One scenario, on a cluster of its own.
fn one(
    plan: &FailoverPlan,
    scenario: Scenario,
    say: &mut impl FnMut(&str),
    go_on: &impl Fn() -> bool,
) -> Result<ScenarioReport, RunError> {
    let memory = run::memory_of_each(NODES, NODE_MEMORY)?;
    let mut own = ClusterPlan::eight(plan.binary.clone(), memory);
    own.driver.clone_from(&plan.driver);
    own.groups = Some(plan.groups);
    if !plan.far {
        own.round_trips.clear();
    }
    own.cuts = scenario.cuts();
    say(&format!("{}: {NODES} nodes in four data centres", scenario.name()));
    let cluster = Cluster::start(own)?;
    let topology = cluster.config().topology();
    let workload = Workload {
        // Serials go to the keys in turn, so that a key's next serial is known without a table.
        kind: Kind::ColdActors,
        actors: plan.keys,
        message_bytes: MESSAGE_BYTES,
        seed: run::plan_seed(),
        warm: 0,
        prefix: "",
        skew: None,
    };
    let groups: Vec<u32> = (0..plan.keys)
        .map(|key| {
            let mut text = crate::workload::KeyText::default();
            let key = workload
                .key(key, &mut text)
                .expect("the workload's keys are well formed");
            topology.locate(key).group.0
        })
        .collect();
    let entries = addresses(cluster.config());
    let rotated = |first: usize| {
        let (front, back) = entries.split_at(first);
        ClusterAddresses([back, front].concat())
    };
    let load_plan = LoadPlan {
        entries: (0..entries.len()).map(rotated).collect(),
        cluster_key: cluster.key(),
        workload,
        every: plan.every,
        reads: true,
    };
    let mut stage = Stage::open(cluster, groups, go_on)?;
    let load = Load::start(&load_plan)?;
    let times = Times {
        scenario,
        times: plan.times,
    };
    let driver = stage.driver();
    let done = times.run(&mut stage, &load, say);
    say("waiting for the last ends, and reading everything back");
    let lanes = load.finish();
    let took = Took::new(&lanes);
    let Done { rounds, events, whole } = done;
    let is_direct = |key: usize| load::is_direct(key % lanes.len());
    let mut gaps = gaps::gaps(&gaps::acks(&lanes, plan.keys), &rounds, is_direct);
    gaps.add_reads(&lanes, plan.keys, &rounds);
    let findings = stage.read_back(Books::new(workload, stage.groups_of_keys().to_vec(), &lanes));
    if let Some(folder) = &plan.logs {
        stage.keep_logs(folder, scenario.name());
    }
    let failures = Failures::new(&lanes, &rounds, stage.groups_of_keys());
    let faults = stage.end();
    Ok(ScenarioReport {
        scenario,
        asked: scenario.rounds(plan.times, entries.len()),
        rounds,
        whole,
        driver,
        events,
        took,
        gaps,
        ends: Ends::new(&lanes),
        failures,
        findings,
        faults,
    })
}
