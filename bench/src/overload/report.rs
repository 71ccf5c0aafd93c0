//! What overload did to a cluster, in words and for programs, each figure with what was to be reached.

use std::time::Duration;

use serde_json::{Value, json};

use super::{OverloadPlan, Sample, TIMES, Tally};
use crate::ledger::Findings;
use crate::recorder::interval_log;
use crate::report::{DURABILITY, Figure, Target, figure, per, quantile_rows, quantiles, read_back, spectrum, with};
use crate::run::Verdict;

/// Of [`TIMES`], the share that has to come true: below it a target of overload would be met by work that was none.
const TIMES_SHARE_MIN: f64 = 0.95;
/// Goodput under overload, by the peak.
const GOODPUT_MIN: f64 = 0.8;
/// Refusals come within this, in µs, at p99.
const REFUSAL_P99_US: f64 = 1_000.0;
/// Memory beyond the bytes of acked history may grow by this while more is offered than can be taken, in MiB over all nodes. Chosen, not
/// derived: no bound of the nodes adds up all that their queues may hold.
const GROWTH_MAX_MIB: f64 = 320.0;
/// And by this in the second half of the overload, when queues should be full.
const GROWTH_LATE_MAX_MIB: f64 = 16.0;

/// What was measured.
#[derive(Debug)]
pub struct OverloadReport {
    /// The plan.
    pub plan: OverloadPlan,
    /// Cores of the nodes; empty if all share all.
    pub node_cores: Vec<usize>,
    /// Cores of the generator.
    pub generator_cores: Vec<usize>,
    /// The driver that the nodes use.
    pub driver: String,
    /// Acks per second in the best second of the closed loop.
    pub capacity_per_s: f64,
    /// The closed loop.
    pub calm: Tally,
    /// The overload.
    pub tally: Tally,
    /// CPU time of all nodes during the overload, in ns.
    pub cpu_ns: u64,
    /// The same of the generator.
    pub generator_cpu_ns: u64,
    /// Resident memory of all nodes before the overload.
    pub resident_before: u64,
    /// And during it.
    pub samples: Vec<Sample>,
    /// And after all had ended.
    pub resident_after: u64,
    /// Bytes in the chunks of all logs before the overload.
    pub kept_before: u64,
    /// And after it.
    pub kept_after: u64,
    /// Bytes of log memory, of all nodes, that were touched before.
    pub touched: u64,
    /// What reading back found.
    pub findings: Findings,
    /// Exit codes of the nodes.
    pub exits: Vec<Option<i32>>,
    /// What it is worth.
    pub verdict: Verdict,
}

impl OverloadReport {
    /// Acks per second while more was offered than could be taken.
    #[must_use]
    pub fn goodput_per_s(&self) -> f64 {
        self.tally.per_s(self.tally.acked_in_time)
    }

    /// Whether as much was offered as the name says.
    pub(crate) fn is_overload(&self) -> bool {
        self.arrived() >= TIMES * TIMES_SHARE_MIN
    }

    /// What resident memory grew by at most beyond the bytes of acked history, in percent of those.
    pub(crate) fn growth_percent(&self) -> f64 {
        let history_mib = per(self.kept_after, 1 << 20);
        100.0 * self.growth_mib(self.resident_before, self.most(Duration::ZERO)) / history_mib.max(1e-9)
    }

    /// Log bytes that came to lie in memory that was not touched before, at the end.
    fn untouched(&self) -> u64 {
        self.kept_after.saturating_sub(self.touched.max(self.kept_before))
    }

    /// What the generator came to, by the capacity.
    fn arrived(&self) -> f64 {
        self.tally.per_s(self.tally.offered + self.tally.not_taken) / self.capacity_per_s
    }

    /// What of the plan came true, in words, if it was less than wanted.
    fn shortfall(&self) -> Option<String> {
        let (tally, arrived) = (&self.tally, self.arrived());
        (!self.is_overload()).then(|| {
            format!(
                "the generator came to {arrived:.2} times the capacity, not {TIMES}: what stands above is of that. It needs {:.0} ns a message, so that \
                 one core of it sends {:.2} M a second at most\n",
                per(self.generator_cpu_ns, tally.offered),
                1_000.0 / per(self.generator_cpu_ns, tally.offered).max(1.0)
            )
        })
    }

    /// Growth of resident memory beyond the bytes of acked history until a sample, in MiB. Log memory was touched before, so that what
    /// grows is not history.
    fn growth_mib(&self, from: u64, resident: u64) -> f64 {
        per(resident.saturating_sub(from).saturating_sub(self.untouched()), 1 << 20)
    }

    fn most(&self, from: Duration) -> u64 {
        let late = self.samples.iter().filter(|sample| sample.at >= from);
        late.map(|sample| sample.resident).max().unwrap_or(self.resident_before)
    }

    pub(crate) fn figures(&self) -> Vec<Figure> {
        let tally = &self.tally;
        // Targets are those of overload: where there was none, or no refusal, nothing is met.
        let overloaded = self.is_overload();
        let if_overloaded = |target: Target| overloaded.then_some(target);
        let if_refused = |target: Target| (overloaded && tally.refused > 0).then_some(target);
        let refusal = |quantile: f64| per(tally.refusal_us.value_at_quantile(quantile), 1);
        let half = tally.sending / 2;
        let at_half = self
            .samples
            .iter()
            .find(|sample| sample.at >= half)
            .map_or(self.resident_before, |sample| sample.resident);
        vec![
            figure("capacity", self.capacity_per_s, "messages/s", None),
            figure("planned", tally.per_s(tally.planned), "messages/s", None),
            figure("offered", tally.per_s(tally.offered), "messages/s", None),
            figure(
                "offered, by the capacity",
                tally.per_s(tally.offered) / self.capacity_per_s,
                "",
                Some(Target::AtLeast(TIMES * TIMES_SHARE_MIN)),
            ),
            figure("goodput", self.goodput_per_s(), "messages/s", None),
            figure(
                "goodput, by the capacity",
                self.goodput_per_s() / self.capacity_per_s,
                "",
                if_overloaded(Target::AtLeast(GOODPUT_MIN)),
            ),
            figure("refused", tally.per_s(tally.refused), "messages/s", None),
            figure("refusal p50", refusal(0.5), "us", None),
            figure(
                "refusal p99",
                refusal(0.99),
                "us",
                if_refused(Target::AtMost(REFUSAL_P99_US)),
            ),
            figure("refusal p99.9", refusal(0.999), "us", None),
            figure(
                "memory beyond history",
                self.growth_mib(self.resident_before, self.most(Duration::ZERO)),
                "MiB",
                if_overloaded(Target::AtMost(GROWTH_MAX_MIB)),
            ),
            figure(
                "same, second half",
                self.growth_mib(at_half, self.most(half)),
                "MiB",
                if_overloaded(Target::AtMost(GROWTH_LATE_MAX_MIB)),
            ),
            figure("cpu of all replicas", per(self.cpu_ns, tally.acked), "ns/ack", None),
            figure(
                "cpu of the generator",
                per(self.generator_cpu_ns, tally.offered),
                "ns/offer",
                None,
            ),
        ]
    }

    /// What was measured, as far as figures depend on it.
    fn settings(&self) -> Value {
        let plan = &self.plan;
        json!({
            "workload": "overload", "for_s": plan.time.as_secs_f64(), "actors": plan.actors, "message_bytes": plan.message_bytes,
            "timeout_ms": plan.timeout_ms, "sessions": plan.sessions, "in_flight": plan.in_flight, "waiting": plan.waiting,
            "round_trip_us": u64::try_from(plan.round_trip.as_micros()).unwrap_or(u64::MAX),
            "node_cores": self.node_cores, "generator_cores": self.generator_cores, "driver": plan.driver,
        })
    }

    /// All times of acks under overload in full, as an interval log of HdrHistogram.
    ///
    /// # Errors
    /// For want of memory.
    pub fn to_log(&self) -> std::io::Result<Vec<u8>> {
        interval_log(&[("", &self.tally.recorder)])
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let tally = &self.tally;
        let memory = json!({
            "resident_before": self.resident_before,
            "resident_most": self.most(Duration::ZERO),
            "resident_after": self.resident_after,
            "resident_samples": self.samples.iter()
                .map(|sample| json!([sample.at.as_secs_f64(), sample.resident])).collect::<Vec<Value>>(),
            "kept_before": self.kept_before,
            "kept_bytes": self.kept_after,
            "touched_bytes": self.touched,
        });
        let object = json!({
            "schema": "waterpark.bench_overload.2",
            "complete": true,
            "verdict": self.verdict.name(),
            "workload": "overload",
            "settings": self.settings(),
            "durability": DURABILITY,
            "driver": self.driver,
            "sessions": self.plan.sessions,
            "message_bytes": self.plan.message_bytes,
            "node_cores": self.node_cores,
            "generator_cores": self.generator_cores,
            "seconds": tally.sending.as_secs_f64(),
            "figures": self.figures().iter().map(Figure::to_json).collect::<Vec<Value>>(),
            "capacity_per_s": self.capacity_per_s,
            "planned": tally.planned,
            "offered": tally.offered,
            "not_reached": tally.not_reached,
            "not_taken": tally.not_taken,
            "late": tally.late,
            "goodput_per_s": self.goodput_per_s(),
            "sent": tally.offered,
            "acked": tally.acked,
            "refused": tally.refused,
            "unknown": tally.unknown,
            "reasons": tally.reasons,
            "refusal_us": quantiles(&tally.refusal_us),
            "ack_us": quantiles(&tally.response_us),
            "service_us": quantiles(&tally.service_us),
            "calm_ack_us": quantiles(&self.calm.response_us),
            "spectrum_us": json!({
                "response": spectrum(&tally.response_us), "service": spectrum(&tally.service_us), "refusal": spectrum(&tally.refusal_us),
            }),
            "over_time": tally.over_time.to_json(),
            "acked_per_tenth": tally.tenths,
            "memory": memory,
            "exit_codes": self.exits,
        });
        with(object, self.findings.to_json())
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let tally = &self.tally;
        let cores = if self.generator_cores.is_empty() {
            "nodes and generator share all cores".to_owned()
        } else {
            format!(
                "nodes on cores {:?}, generator on {:?}",
                self.node_cores, self.generator_cores
            )
        };
        let mut text = format!(
            "overload on {}: {} sessions, messages of {} bytes; at most {} wait in a shard, {:?} there and back; {cores}\n",
            self.driver, self.plan.sessions, self.plan.message_bytes, self.plan.waiting, self.plan.round_trip
        );
        text += &format!(
            "{:.2} s: {} planned = {} offered + {} not reached by the generator + {} not taken by its clients; {} left more than 1 ms late\n",
            tally.sending.as_secs_f64(),
            tally.planned,
            tally.offered,
            tally.not_reached,
            tally.not_taken,
            tally.late
        );
        text += &format!(
            "{} offered = {} acked + {} refused + {} unknown\n",
            tally.offered, tally.acked, tally.refused, tally.unknown
        );
        for (reason, count) in &tally.reasons {
            text += &format!("  {count} ended with: {reason}\n");
        }
        text += &quantile_rows(
            18,
            &[
                ("refusal", &tally.refusal_us),
                ("ack, from plan", &tally.response_us),
                ("ack, from send", &tally.service_us),
                ("ack, closed loop", &self.calm.response_us),
            ],
        );
        for figure in self.figures() {
            text += &figure.to_text();
        }
        text += &format!(
            "resident memory of all nodes: {} MiB before, {} at most, {} after; logs kept {} MiB, then {}, of {} touched before\n",
            self.resident_before >> 20,
            self.most(Duration::ZERO) >> 20,
            self.resident_after >> 20,
            self.kept_before >> 20,
            self.kept_after >> 20,
            self.touched >> 20
        );
        text += &format!("read back: {}", read_back(&self.findings));
        text += self.shortfall().as_deref().unwrap_or_default();
        text + &format!("verdict: {}\n", self.verdict.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overload::Cores;

    /// A second in which so many of 5,000 planned messages were offered to a cluster that takes 1,000, acks 900 and refuses the others.
    fn report(offered: u64) -> OverloadReport {
        let mut tally = Tally::new(Duration::from_secs(1));
        (tally.planned, tally.offered, tally.not_reached) = (5_000, offered, 5_000 - offered);
        (tally.acked, tally.acked_in_time, tally.refused) = (900, 900, offered - 900);
        tally.refusal_us.saturating_record(500);
        tally.sending = Duration::from_secs(1);
        OverloadReport {
            plan: OverloadPlan {
                binary: "waterpark".into(),
                driver: "auto".to_owned(),
                actors: 1,
                message_bytes: 128,
                time: Duration::from_secs(1),
                timeout_ms: 1,
                sessions: 1,
                in_flight: vec![1],
                round_trip: Duration::ZERO,
                waiting: 16,
                cores: Cores::Shared,
            },
            node_cores: Vec::new(),
            generator_cores: Vec::new(),
            driver: "io_uring".to_owned(),
            capacity_per_s: 1_000.0,
            calm: Tally::new(Duration::from_secs(1)),
            tally,
            cpu_ns: 0,
            generator_cpu_ns: 0,
            resident_before: 0,
            samples: Vec::new(),
            resident_after: 0,
            kept_before: 0,
            kept_after: 0,
            touched: 0,
            findings: Findings::default(),
            exits: Vec::new(),
            verdict: Verdict::Ok,
        }
    }

    fn met(report: &OverloadReport, name: &str) -> Option<bool> {
        let figures = report.figures();
        figures.iter().find(|figure| figure.name == name).and_then(Figure::met)
    }

    #[test]
    fn targets_of_overload_are_met_by_overload_alone() {
        let (over, under) = (report(5_000), report(1_200));
        for name in ["goodput, by the capacity", "refusal p99", "memory beyond history"] {
            assert_eq!((met(&over, name), met(&under, name)), (Some(true), None), "{name}");
        }
        assert_eq!(met(&under, "offered, by the capacity"), Some(false));
        assert!(over.shortfall().is_none() && under.shortfall().is_some());
    }

    #[test]
    fn no_refusal_is_no_quick_refusal() {
        let mut report = report(5_000);
        report.tally.refused = 0;
        assert_eq!(met(&report, "refusal p99"), None);
    }
}
