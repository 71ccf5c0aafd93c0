//! What a measurement gave, in words and for programs, each figure with what was to be reached.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::arrivals::Arrivals;
use crate::generator::Measured;
use crate::ledger::Findings;
use crate::recorder::interval_log;
use crate::run::{Pace, Plan, Verdict};
use crate::skew::Skew;
use crate::workload::Kind;

/// Bytes of an actor's key as the workloads write it, and of the projection that a `record` keeps of it: an idle actor's own data.
const KEY_AND_PROJECTION_BYTES: u64 = 19 + 24;

/// What an ack promises in every run.
pub const DURABILITY: &str = "ram, three of five members in two data centres at least";

/// What was measured.
#[derive(Debug)]
pub struct Report {
    /// The plan.
    pub plan: Plan,
    /// What the generator saw.
    pub measured: Measured,
    /// What reading back found.
    pub findings: Findings,
    /// CPU time of each node during the measurement, in ns; `None` for a cluster that runs elsewhere.
    pub cpu_ns_by_node: Option<Vec<u64>>,
    /// Generators that sent.
    pub generators: u64,
    /// How long after the common start the last of them began.
    pub began_late: Duration,
    /// CPU time of all of them.
    pub generator_cpu_ns: u64,
    /// The driver that the nodes use.
    pub driver: String,
    /// What tells the run's messages from those of others; Poisson arrivals follow from it.
    pub seed: u64,
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
    /// Resident memory of all nodes before the measurement; log memory was touched by then.
    pub resident_before: Option<u64>,
    /// And after it.
    pub resident_after: Option<u64>,
    /// The run was shorter than asked for because memory was planned to be full.
    pub shortened: bool,
    /// How long reading back took.
    pub check_took: Duration,
    /// Exit codes of the nodes that were started.
    pub exits: Vec<Option<i32>>,
    /// What it is worth.
    pub verdict: Verdict,
}

/// One figure, with what was to be reached where the work has a target.
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) target: Option<Target>,
}

/// What is to be reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// So much or more.
    AtLeast(f64),
    /// So much or less.
    AtMost(f64),
}

impl Target {
    /// The bound.
    #[must_use]
    pub fn value(self) -> f64 {
        match self {
            Target::AtLeast(target) | Target::AtMost(target) => target,
        }
    }

    /// Which side of it is good, for programs.
    #[must_use]
    pub fn bound(self) -> &'static str {
        match self {
            Target::AtLeast(_) => "at_least",
            Target::AtMost(_) => "at_most",
        }
    }

    /// Whether a value reaches it.
    #[must_use]
    pub fn is_met_by(self, value: f64) -> bool {
        match self {
            Target::AtLeast(target) => value >= target,
            Target::AtMost(target) => value <= target,
        }
    }
}

/// A figure, with its target if it has one.
pub(crate) fn figure(name: impl Into<String>, value: f64, unit: &'static str, target: Option<Target>) -> Figure {
    Figure {
        name: name.into(),
        value,
        unit,
        target,
    }
}

impl Figure {
    pub(crate) fn met(&self) -> Option<bool> {
        self.target.map(|target| target.is_met_by(self.value))
    }

    pub(crate) fn to_json(&self) -> Value {
        let target = self.target.map(Target::value);
        let bound = self.target.map(Target::bound);
        let verdict = self.met().map(|met| if met { "met" } else { "missed" });
        json!({
            "figure": self.name, "result": self.value, "unit": self.unit, "target": target, "bound": bound, "verdict": verdict,
        })
    }

    pub(crate) fn to_text(&self) -> String {
        let value = if self.value >= 100.0 || self.value == 0.0 {
            format!("{:.0}", self.value)
        } else {
            format!("{:.4}", self.value)
        };
        let target = match self.target {
            None => String::new(),
            Some(Target::AtLeast(target)) => format!("  (at least {target})"),
            Some(Target::AtMost(target)) => format!("  (at most {target})"),
        };
        let missed = if self.met() == Some(false) { "  missed" } else { "" };
        format!("{:<28}{value:>12} {}{target}{missed}\n", self.name, self.unit)
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn per(sum: u64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { sum as f64 / count as f64 }
}

/// Quantiles of times in microseconds: a row for the heads, then one for each histogram, its name in so many columns.
pub(crate) fn quantile_rows(name_width: usize, rows: &[(&str, &Histogram<u64>)]) -> String {
    let cells = |cells: [String; 5]| cells.map(|cell| format!("{cell:>10}")).concat();
    let heads = cells(["p50", "p90", "p99", "p99.9", "max"].map(str::to_owned));
    let mut text = format!("{:<name_width$}{heads}\n", "us");
    for (name, histogram) in rows {
        let [p50, p90, p99, p999] = [0.5, 0.9, 0.99, 0.999].map(|quantile| histogram.value_at_quantile(quantile));
        let values = cells([p50, p90, p99, p999, histogram.max()].map(|us| us.to_string()));
        text += &format!("{name:<name_width$}{values}\n");
    }
    text
}

/// Rows of a spectrum for each halving of what lies beyond.
const SPECTRUM_ROWS: u32 = 5;

/// Every part of a histogram that a plot can show: pairs of a quantile and of the time that so many did not exceed, in µs, up to the
/// longest. Empty if nothing was counted.
pub(crate) fn spectrum(histogram: &Histogram<u64>) -> Value {
    let rows = histogram.iter_quantiles(SPECTRUM_ROWS);
    rows.map(|row| json!([row.quantile_iterated_to(), row.value_iterated_to()]))
        .collect()
}

/// Quantiles of times in microseconds, for programs.
pub(crate) fn quantiles(us: &Histogram<u64>) -> Value {
    let at = |quantile| us.value_at_quantile(quantile);
    json!({ "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "p999": at(0.999), "max": us.max() })
}

/// An object with the fields of another one as well.
///
/// # Panics
/// If one of them is no object, or both have a field of one name.
pub(crate) fn with(mut object: Value, more: Value) -> Value {
    let (Value::Object(fields), Value::Object(more)) = (&mut object, more) else {
        panic!("two objects");
    };
    for (name, value) in more {
        let twice = fields.insert(name, value);
        assert!(twice.is_none(), "a field stands once");
    }
    object
}

/// What reading back found, then each finding in a line.
pub(crate) fn read_back(findings: &Findings) -> String {
    let mut text = format!(
        "{} looked for in three members each, {} lost, {} duplicated, {} refused but held, {} differing, {} foreign\n",
        findings.looked_for,
        findings.lost,
        findings.duplicated,
        findings.refused_but_held,
        findings.differing,
        findings.foreign
    );
    for said in &findings.said {
        text += &format!("  {said}\n");
    }
    text
}

impl Report {
    /// Messages acked per second.
    #[must_use]
    pub fn acked_per_s(&self) -> f64 {
        per(self.measured.acked, 1) / self.measured.took.as_secs_f64().max(1e-9)
    }

    /// CPU time of all nodes per acked message, in ns.
    #[must_use]
    pub fn cpu_ns_per_message(&self) -> Option<f64> {
        let nodes = self.cpu_ns_by_node.as_ref()?;
        Some(per(nodes.iter().sum(), self.measured.acked))
    }

    pub(crate) fn figures(&self) -> Vec<Figure> {
        let measured = &self.measured;
        let acked = measured.acked;
        let kind = self.plan.kind;
        let closed = matches!(self.plan.pace, Pace::Closed(_));
        let w128 = kind == Kind::W128 && self.plan.message_bytes == 128 && self.plan.skew == Skew::Even;
        let rate = match kind {
            Kind::W128 if closed && w128 => Some(Target::AtLeast(600_000.0)),
            Kind::HotActor if closed => Some(Target::AtLeast(1_000_000.0)),
            _ => None,
        };
        let mut figures = vec![figure("acked", self.acked_per_s(), "messages/s", rate)];
        if let Some(cpu) = self.cpu_ns_per_message() {
            let target = (closed && w128).then_some(Target::AtMost(2_000.0));
            figures.push(figure("cpu of all replicas", cpu, "ns/message", target));
        }
        let generator = per(self.generator_cpu_ns, acked);
        figures.push(figure("cpu of the generator", generator, "ns/message", None));
        let even = self.plan.arrivals == Arrivals::Constant;
        if let Kind::Kv { .. } = kind {
            let reads = &measured.reads;
            let right = per(reads.right, 1) / measured.took.as_secs_f64().max(1e-9);
            let at = |quantile: f64| per(reads.response_us.value_at_quantile(quantile), 1);
            figures.push(figure("reads", right, "reads/s", None));
            figures.push(figure("read p50", at(0.5), "us", None));
            figures.push(figure("read p99", at(0.99), "us", None));
            figures.push(figure("read p99.9", at(0.999), "us", None));
        }
        if w128 && even && self.plan.pace == Pace::Open(100_000.0) {
            let at = |quantile: f64| per(measured.response_us.value_at_quantile(quantile), 1);
            figures.push(figure("response p50", at(0.5), "us", Some(Target::AtMost(300.0))));
            figures.push(figure("response p99", at(0.99), "us", Some(Target::AtMost(1_200.0))));
            figures.push(figure("response p99.9", at(0.999), "us", Some(Target::AtMost(4_000.0))));
        }
        figures.push(figure(
            "system calls",
            per(self.system_calls, acked),
            "per message",
            None,
        ));
        let allocations = per(self.allocations, acked);
        figures.push(figure("allocations", allocations, "per message", None));
        let links = per(self.link_bytes, acked * self.plan.message_bytes as u64);
        let target = (closed && w128).then_some(Target::AtMost(5.5));
        figures.push(figure("bytes on links", links, "per payload byte", target));
        if let (Kind::HotActor, Some(nodes)) = (kind, &self.cpu_ns_by_node) {
            // The actor's writer is the node that works most; the others only follow.
            let most = nodes.iter().copied().max().unwrap_or(0);
            let others = nodes.iter().sum::<u64>() - most;
            let followers = nodes.len().saturating_sub(1) as u64;
            let share = per(others, most.saturating_mul(followers));
            figures.push(figure(
                "follower's cpu",
                share,
                "of the writer's",
                Some(Target::AtMost(0.30)),
            ));
        }
        if let (Kind::ColdActors, Some(before), Some(after)) = (kind, self.resident_before, self.resident_after) {
            // Log memory was touched before, so what grew is tables.
            let copies = self.plan.actors.min(acked) * self.exits.len().max(1) as u64;
            let bytes = per(after.saturating_sub(before), copies) - per(KEY_AND_PROJECTION_BYTES, 1);
            figures.push(figure(
                "idle actor beside its data",
                bytes,
                "bytes a copy",
                Some(Target::AtMost(64.0)),
            ));
        }
        figures
    }

    /// All times in full, as an interval log of HdrHistogram.
    ///
    /// # Errors
    /// For want of memory.
    pub fn to_log(&self) -> std::io::Result<Vec<u8>> {
        let measured = &self.measured;
        let writes = ("", &measured.recorder);
        match self.plan.kind {
            Kind::Kv { .. } => interval_log(&[writes, ("read-", &measured.reads.recorder)]),
            _ => interval_log(&[writes]),
        }
    }

    /// Messages and reads that were sent, and those that were acked or answered.
    #[must_use]
    pub fn sent_and_done(&self) -> (u64, u64) {
        let (measured, reads) = (&self.measured, &self.measured.reads);
        (measured.sent + reads.sent, measured.acked + reads.right)
    }

    /// The 99th percentile of the response in µs: of reads beside writes, that of the slower ones.
    #[must_use]
    pub fn p99_us(&self) -> f64 {
        let measured = &self.measured;
        let all = [&measured.response_us, &measured.reads.response_us];
        let p99 = all.map(|histogram| histogram.value_at_quantile(0.99));
        per(p99.into_iter().max().unwrap_or(0), 1)
    }

    pub(crate) fn spectra(&self) -> Value {
        let measured = &self.measured;
        let (response, service) = (spectrum(&measured.response_us), spectrum(&measured.service_us));
        let writes = json!({ "response": response, "service": service });
        match self.plan.kind {
            Kind::Kv { .. } => with(writes, json!({ "read": spectrum(&measured.reads.response_us) })),
            _ => writes,
        }
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let measured = &self.measured;
        let acked = measured.acked;
        let pace = match self.plan.pace {
            Pace::Open(rate) => json!({ "open_per_s": rate }),
            Pace::Closed(in_flight) => json!({ "closed_in_flight": in_flight }),
        };
        let object = json!({
            "schema": "waterpark.bench_run.2",
            "complete": true,
            "verdict": self.verdict.name(),
            "workload": self.plan.kind.name(),
            "settings": self.plan.settings(),
            "pace": pace,
            "seed": self.seed,
            "seconds": measured.took.as_secs_f64(),
            "figures": self.figures().iter().map(Figure::to_json).collect::<Vec<Value>>(),
            "acked_per_s": self.acked_per_s(),
            "cpu_ns_per_msg": self.cpu_ns_per_message(),
            "cpu_ns_by_node": self.cpu_ns_by_node,
            "generators": self.generators,
            "generators_began_late_us": u64::try_from(self.began_late.as_micros()).unwrap_or(u64::MAX),
            "generator_cpu_ns_per_msg": per(self.generator_cpu_ns, acked),
            "ack_us": quantiles(&measured.response_us),
            "service_us": quantiles(&measured.service_us),
            "spectrum_us": self.spectra(),
            "over_time": measured.over_time.to_json(),
            "sent": measured.sent,
            "acked": acked,
            "refused": measured.refused,
            "unknown": measured.unknown,
            "reasons": measured.reasons,
            "repeats": measured.repeats,
            "late": measured.late,
            "durability": DURABILITY,
            "driver": self.driver,
            "kept_bytes": self.kept_bytes,
            "resident_bytes": self.resident_after,
            "allocs_per_msg": per(self.allocations, acked),
            "syscalls_per_msg": per(self.system_calls, acked),
            "turns": self.turns,
            "link_bytes_per_payload_byte": per(self.link_bytes, acked * self.plan.message_bytes as u64),
            "crossed": self.crossed,
            "shortened": self.shortened,
            "exit_codes": self.exits,
        });
        let object = with(object, self.findings.to_json());
        match self.plan.kind {
            Kind::Kv { .. } => with(object, measured.reads.to_json()),
            _ => object,
        }
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let measured = &self.measured;
        let pace = match self.plan.pace {
            Pace::Open(rate) => format!(
                "open loop, {rate:.0} messages a second planned, arrivals: {}",
                self.plan.arrivals.name()
            ),
            Pace::Closed(in_flight) => format!(
                "closed loop, {in_flight} messages under way: no arrival is planned, so no delay of one is seen"
            ),
        };
        let mut text = format!("{} on {}: {pace}\n", self.plan.kind.name(), self.driver);
        if let Some(skew) = self.plan.skew.name() {
            text += &format!("groups are asked for unevenly: {skew}\n");
        }
        if self.generators > 1 {
            text += &format!(
                "{} generator processes, the last begun {} us after their common start\n",
                self.generators,
                self.began_late.as_micros()
            );
        }
        text += &format!(
            "{:.2} s: {} sent = {} acked + {} refused + {} unknown\n",
            measured.took.as_secs_f64(),
            measured.sent,
            measured.acked,
            measured.refused,
            measured.unknown
        );
        for (reason, count) in &measured.reasons {
            text += &format!("  {count} ended with: {reason}\n");
        }
        let mut rows = vec![("response", &measured.response_us), ("service", &measured.service_us)];
        if let Kind::Kv { reads } = self.plan.kind {
            let tally = &measured.reads;
            text += &format!(
                "{} reads ({reads} % {}) = {} right + {} without an answer + {} stale + {} wrong\n",
                tally.sent,
                self.plan.level.name(),
                tally.right,
                tally.failed,
                tally.stale,
                tally.wrong
            );
            for said in &tally.said {
                text += &format!("  {said}\n");
            }
            rows.extend([("read", &tally.response_us), ("read service", &tally.service_us)]);
        }
        text += &quantile_rows(14, &rows);
        for figure in self.figures() {
            text += &figure.to_text();
        }
        text += &format!("{:<28}{:>12} bytes in all logs\n", "kept", self.kept_bytes);
        text += &format!(
            "read back in {:.1} s: {}",
            self.check_took.as_secs_f64(),
            read_back(&self.findings)
        );
        if self.shortened {
            text += "the run was shortened: half of the free memory was planned to be full\n";
        }
        if measured.late > 0 {
            text += &format!("{} arrivals were sent more than 1 ms late\n", measured.late);
        }
        text + &format!("verdict: {}\n", self.verdict.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spectrum_begins_at_the_shortest_and_ends_at_the_longest() {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).unwrap();
        (1..=100_000).for_each(|us| histogram.record(us).unwrap());
        let rows: Vec<(f64, u64)> = serde_json::from_value(spectrum(&histogram)).unwrap();
        assert_eq!(rows.first().map(|row| row.1), Some(1));
        assert_eq!(rows.last(), Some(&(1.0, histogram.max())));
        assert!(rows.is_sorted(), "{rows:?}");
        assert!((50..200).contains(&rows.len()), "{}", rows.len());
        let at = rows.iter().find(|(quantile, _)| *quantile >= 0.99).unwrap();
        assert!(at.1.abs_diff(99_000) < 1_000, "{at:?}");

        histogram.reset();
        assert_eq!(spectrum(&histogram), json!([]), "nothing has no spectrum");
    }
}
