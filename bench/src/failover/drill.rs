//! A drill on a cluster that serves: some of its nodes stand still for a while as if they were lost, and what that costs is measured on keys
//! of the drill's own.
//!
//! The nodes are told to, and go on by themselves: whoever began the drill may be gone by then. The users' messages are neither read nor
//! counted. **Invariant:** nothing that a node counts decides about unavailability, loss or order.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use waterpark_client::blocking::{Client, ClusterAddresses, ConnectOptions};
use waterpark_client::{Address, ReadOptions};
use waterpark_wire::body::{ORDER_STAND_STILL, OrderBody};

use super::failures::{Ends, Failures};
use super::gaps::{self, Gaps, Round};
use super::load::{Load, LoadPlan, is_direct};
use super::read_back::{Books, Findings, Members};
use super::report::{ms, quantiles};
use super::scenario::wall_ms;
use super::stage::wait_until;
use crate::run::{RunError, plan_seed};
use crate::sight::Sight;
use crate::workload::{Kind, Workload};

/// Bytes of a message.
const MESSAGE_BYTES: usize = 64;
/// What the ids of the drill's actors begin with. They are the same in every drill, so that many drills leave no more actors than one.
const PREFIX: &str = "drill-";
/// Clients at most; each enters through a node of its own.
const CLIENTS_MAX: usize = 8;
/// How long a node may take to say that it will stand still, in ms.
const ORDER_MS: u32 = 2_000;
/// How long nothing is done before the fault.
const CALM: Duration = Duration::from_secs(2);
/// How long all keys may take until they are acked again, after the nodes have gone on.
const AGAIN_MAX: Duration = Duration::from_secs(20);
/// How long is looked for more gaps after that.
const SETTLE: Duration = Duration::from_secs(1);
/// How long the copies may take to come back.
const WHOLE_MAX: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a node is called, and where it is.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its id.
    pub id: u16,
    /// Its name.
    pub name: String,
    /// Where it speaks to clients.
    pub address: Address,
}

/// What to do to a cluster that runs.
#[derive(Clone, Debug)]
pub struct DrillPlan {
    /// All nodes.
    pub nodes: Vec<Place>,
    /// The cluster's key.
    pub cluster_key: [u8; 32],
    /// Placement groups.
    pub groups: u32,
    /// By key, its group; as many as there are keys.
    pub groups_of_keys: Vec<u32>,
    /// Copies of a group, and how many of them an ack means.
    pub copies: (usize, u8),
    /// Ids of those that are to stand still.
    pub victims: Vec<u16>,
    /// For how long, at most [`STILL_MS_MAX`](waterpark_wire::body::STILL_MS_MAX).
    pub still: Duration,
    /// A key's messages are due no faster than this.
    pub every: Duration,
    /// Keys that were written there may go unacked for at most so long, at the 99th percentile.
    pub limit: Duration,
}

/// What it cost.
#[derive(Debug)]
pub struct DrillReport {
    plan: DrillPlan,
    round: Round,
    gaps: Gaps,
    ends: Ends,
    failures: Failures,
    findings: Findings,
    /// All copies were back in the end.
    whole: bool,
    /// Nobody ended it early.
    complete: bool,
    faults: Vec<String>,
}

/// The keys of a drill.
#[must_use]
pub fn workload(keys: u64) -> Workload {
    Workload {
        kind: Kind::ColdActors,
        actors: keys,
        message_bytes: MESSAGE_BYTES,
        seed: plan_seed(),
        warm: 0,
        prefix: PREFIX,
        skew: None,
    }
}

/// Why there was no drill.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// The cluster cannot be reached.
    #[error(transparent)]
    Run(#[from] RunError),
    /// It is not whole before anything was done to it, so what was found would say nothing.
    #[error("{short} groups have fewer than {copies} copies now: a drill begins where nothing is missing")]
    NotWhole {
        /// Groups.
        short: usize,
        /// Copies that each has when all is well.
        copies: usize,
    },
    /// No node stands still.
    #[error("{node} does not stand still: {why}")]
    NotTaken {
        /// Its name.
        node: String,
        /// What it said.
        why: String,
    },
    /// It was interrupted before anything was done.
    #[error("interrupted before anything was done")]
    Interrupted,
}

/// Holds the drill. `say` is told what goes on; once `go_on` is false no more is waited for than must be.
///
/// # Errors
/// [`DrillError`].
pub fn drill(plan: DrillPlan, mut say: impl FnMut(&str), go_on: impl Fn() -> bool) -> Result<DrillReport, DrillError> {
    let entries: Vec<Address> = plan.nodes.iter().map(|node| node.address.clone()).collect();
    let rotated = |first: usize| {
        let (front, back) = entries.split_at(first % entries.len());
        ClusterAddresses([back, front].concat())
    };
    // Through one that does not stand still, as long as there is one.
    let stays = |node: &&Place| !plan.victims.contains(&node.id);
    let control: Vec<Address> = plan
        .nodes
        .iter()
        .filter(stays)
        .map(|node| node.address.clone())
        .collect();
    let control = if control.is_empty() {
        rotated(0)
    } else {
        ClusterAddresses(control)
    };
    let control = Client::connect(control, &plan.cluster_key, ConnectOptions::default()).map_err(RunError::from)?;
    let ids: Vec<u16> = plan.nodes.iter().map(|node| node.id).collect();
    let look = |before: &Sight, ids: &[u16]| Sight::look(&control, ids, plan.groups, before);
    let before = look(&Sight::default(), &ids);
    let short = before.short_of(plan.copies.0);
    if short > 0 {
        let copies = plan.copies.0;
        return Err(DrillError::NotWhole { short, copies });
    }
    let keys = plan.groups_of_keys.len() as u64;
    let workload = workload(keys);
    let load = Load::start(&LoadPlan {
        entries: (0..entries.len().min(CLIENTS_MAX)).map(rotated).collect(),
        cluster_key: plan.cluster_key,
        workload,
        every: plan.every,
        reads: false,
    })?;
    let calm_ns = load.now_ns();
    say(&format!("{keys} keys are written; nothing is done for {CALM:?}"));
    if !wait(CALM, &go_on) {
        return Err(DrillError::Interrupted);
    }
    let seen = look(&before, &ids);
    let touched = touched(&plan, &seen);
    let (wall_ms, fault_ns) = (wall_ms(), load.now_ns());
    let names = names(&plan);
    say(&format!("{} stand still for {:?}", names.join(" "), plan.still));
    let mut faults = stand_still(&control, &plan)?;
    wait(plan.still, &go_on);
    // Who went away while they stood still is acked by others meanwhile; nobody waits for them to end it early.
    let again = wait_until(AGAIN_MAX, &go_on, || load.waiting_since(fault_ns) == 0);
    wait(SETTLE, &go_on);
    let until_ns = load.now_ns();
    if !again {
        faults.push(format!(
            "{} keys were not acked again within {AGAIN_MAX:?}",
            load.waiting_since(fault_ns)
        ));
    }
    say("waiting until all copies are back");
    let mut sight = look(&seen, &ids);
    let deadline = Instant::now() + WHOLE_MAX;
    while sight.short_of(plan.copies.0) > 0 && Instant::now() < deadline {
        std::thread::sleep(LOOK_EVERY);
        sight = look(&sight, &ids);
    }
    let short = sight.short_of(plan.copies.0);
    if short > 0 {
        faults.push(format!(
            "after {WHOLE_MAX:?} {short} groups have fewer than {} copies",
            plan.copies.0
        ));
    }
    let whole_ns = load.now_ns();
    // A key that is acked again has an ack behind the window in which it is looked at.
    wait(SETTLE, &go_on);
    say("reading back what was acked");
    let complete = go_on();
    let lanes = load.finish();
    let round = Round {
        victims: names,
        wall_ms,
        calm_ns,
        fault_ns,
        until_ns,
        whole_ns,
        touched,
    };
    let of_lane = |key: usize| is_direct(key % lanes.len());
    let rounds = [round];
    let gaps = gaps::gaps(&gaps::acks(&lanes, keys), &rounds, of_lane);
    let failures = Failures::new(&lanes, &rounds, &plan.groups_of_keys);
    let from = before.groups.iter().map(|group| group.commit + 1).collect();
    let books = Books::new(workload, plan.groups_of_keys.clone(), &lanes).beside_others(from, plan.copies.1);
    let nodes: BTreeMap<u16, (String, Address)> = (plan.nodes.iter())
        .map(|node| (node.id, (node.name.clone(), node.address.clone())))
        .collect();
    let findings = books.read(|| look(&sight, &ids), Members::new(nodes, &plan.cluster_key));
    let [round] = rounds;
    Ok(DrillReport {
        round,
        gaps,
        ends: Ends::new(&lanes),
        failures,
        findings,
        whole: short == 0,
        complete,
        faults,
        plan,
    })
}

/// By key, whether one of those that are to stand still writes its group.
fn touched(plan: &DrillPlan, seen: &Sight) -> Vec<bool> {
    let writes = |group: &u32| {
        let writer = seen.groups[*group as usize].writer;
        writer.is_some_and(|writer| plan.victims.contains(&writer))
    };
    plan.groups_of_keys.iter().map(writes).collect()
}

fn names(plan: &DrillPlan) -> Vec<String> {
    let victims = plan.nodes.iter().filter(|node| plan.victims.contains(&node.id));
    victims.map(|node| node.name.clone()).collect()
}

/// Tells all of them at once; in words, those that do not.
fn stand_still(control: &Client, plan: &DrillPlan) -> Result<Vec<String>, DrillError> {
    let ms = u32::try_from(plan.still.as_millis()).unwrap_or(u32::MAX);
    let tell = |id: u16| {
        let order = OrderBody {
            order: ORDER_STAND_STILL,
            node: id,
            for_ms: ms,
            ..OrderBody::default()
        };
        let options = ReadOptions {
            timeout_ms: ORDER_MS,
            ..ReadOptions::default()
        };
        match control.order(id, order, &options) {
            Ok(ordered) if ordered.taken => None,
            Ok(ordered) => Some(ordered.why),
            Err(error) => Some(error.to_string()),
        }
    };
    let refused: Vec<Option<String>> = std::thread::scope(|scope| {
        let tell = &tell;
        let telling: Vec<_> = (plan.victims.iter()).map(|id| scope.spawn(move || tell(*id))).collect();
        telling
            .into_iter()
            .map(|telling| telling.join().expect("an order does not panic"))
            .collect()
    });
    let name = |id: u16| {
        let node = plan.nodes.iter().find(|node| node.id == id);
        node.map_or("?", |node| node.name.as_str())
    };
    let refused = plan.victims.iter().zip(refused);
    let refused: Vec<(&str, String)> = refused.filter_map(|(id, why)| Some((name(*id), why?))).collect();
    match refused.first() {
        Some((node, why)) if refused.len() == plan.victims.len() => Err(DrillError::NotTaken {
            node: (*node).to_owned(),
            why: why.clone(),
        }),
        _ => {
            let words = refused
                .iter()
                .map(|(node, why)| format!("{node} did not stand still: {why}"));
            Ok(words.collect())
        }
    }
}

/// Lets a time pass, unless the drill is to end; whether it is not.
fn wait(time: Duration, go_on: impl Fn() -> bool) -> bool {
    wait_until(time, &go_on, || false);
    go_on()
}

impl DrillReport {
    /// What speaks against the cluster, in words; nothing if it has passed.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons = self.faults.clone();
        if !self.complete {
            reasons.push("it was interrupted: what was not waited for is not known".to_owned());
        }
        let findings = &self.findings;
        if !findings.is_clean() {
            reasons.push(format!(
                "{} acked messages are lost, {} duplicated, {} out of order, {} refused but held",
                findings.lost, findings.duplicated, findings.disordered, findings.refused_but_held
            ));
        }
        if self.gaps.never > 0 {
            reasons.push(format!("{} keys were never acked again", self.gaps.never));
        }
        let (p99, limit_ms) = (ms(&self.gaps.touched, 0.99), self.plan.limit.as_millis());
        if self.gaps.touched.value_at_quantile(0.99) > u64::try_from(self.plan.limit.as_micros()).unwrap_or(u64::MAX) {
            reasons.push(format!(
                "unavailable for {p99:.0} ms at the 99th percentile, more than {limit_ms}"
            ));
        }
        reasons
    }

    /// The verdict, for programs and for the record.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let reasons = self.reasons();
        let (findings, ends) = (&self.findings, &self.ends);
        json!({
            "schema": "waterpark.drill.1",
            "complete": self.complete,
            "verdict": if reasons.is_empty() { "passed" } else { "failed" },
            "reasons": reasons,
            "at_ms": self.round.wall_ms,
            "victims": self.round.victims,
            "still_ms": u64::try_from(self.plan.still.as_millis()).unwrap_or(u64::MAX),
            "limit_ms": u64::try_from(self.plan.limit.as_millis()).unwrap_or(u64::MAX),
            "keys": self.plan.groups_of_keys.len(),
            "keys_hit": self.gaps.touched.len(),
            "unavailability_ms": quantiles(&self.gaps.touched),
            "others_ms": quantiles(&self.gaps.others),
            "calm_ms": quantiles(&self.gaps.calm),
            "whole": self.whole,
            "whole_after_ms": (self.round.whole_ns - self.round.fault_ns) / 1_000_000,
            "sent": ends.sent, "acked": ends.acked, "failed": ends.failed, "unknown": ends.unknown,
            "failures": self.failures.said,
            "looked_for": findings.looked_for, "lost": findings.lost, "duplicated": findings.duplicated,
            "disordered": findings.disordered, "refused_but_held": findings.refused_but_held,
            "differing": findings.differing, "unreadable": findings.unreadable, "said": findings.said,
        })
    }

    /// The same for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let quantiles = |of| format!("{:>8.0}{:>8.0}{:>8.0}", ms(of, 0.5), ms(of, 0.99), ms(of, 1.0));
        let (findings, ends) = (&self.findings, &self.ends);
        let reasons = self.reasons();
        let mut lines = vec![
            format!("{} stood still for {:?}", self.round.victims.join(" "), self.plan.still),
            format!("{:<28}{:>8}{:>8}{:>8}{:>8}", "ms", "keys", "p50", "p99", "max"),
        ];
        let rows = [
            ("unavailability, keys hit", &self.gaps.touched),
            ("the other keys", &self.gaps.others),
            ("all, in the calm before", &self.gaps.calm),
        ];
        lines.extend(rows.map(|(name, of)| format!("{name:<28}{:>8}{}", of.len(), quantiles(of))));
        lines.push(format!(
            "{} sent, {} acked, {} failed, {} unknown; {} read back: {} lost, {} duplicated, {} out of order",
            ends.sent,
            ends.acked,
            ends.failed,
            ends.unknown,
            findings.looked_for,
            findings.lost,
            findings.duplicated,
            findings.disordered
        ));
        if self.whole {
            let whole_ms = (self.round.whole_ns - self.round.fault_ns) / 1_000_000;
            lines.push(format!(
                "all copies were there {whole_ms} ms after they began to stand still"
            ));
        }
        lines.extend(self.failures.said.iter().chain(&findings.said).cloned());
        lines.push(match reasons.as_slice() {
            [] => "PASSED".to_owned(),
            reasons => format!("FAILED: {}", reasons.join("; ")),
        });
        lines.join("\n")
    }
}
