//! What failures cost, in words and for programs, beside what was to be reached.
//!
//! **Invariant:** a target that was not measured is neither met nor missed: it is not there.

use std::fmt::Write;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::failures::{Ends, Failures};
use super::gaps::{Gaps, Round};
use super::read_back::Findings;
use super::scenario::Scenario;
use super::{FailoverPlan, NODES};
use crate::run::Verdict;

/// One scenario.
#[derive(Debug)]
pub struct ScenarioReport {
    /// What was done.
    pub scenario: Scenario,
    /// How often it was to be done.
    pub asked: usize,
    /// How often it was, and to whom.
    pub rounds: Vec<Round>,
    /// Whether the cluster had all its copies at the end.
    pub whole: bool,
    /// What it cost.
    pub gaps: Gaps,
    /// All messages, by their ends.
    pub ends: Ends,
    /// Those that were not acked.
    pub failures: Failures,
    /// What reading back found.
    pub findings: Findings,
    /// What else went wrong.
    pub faults: Vec<String>,
}

/// All scenarios.
#[derive(Debug)]
pub struct FailoverReport {
    /// The plan.
    pub plan: FailoverPlan,
    /// Those that were measured.
    pub scenarios: Vec<ScenarioReport>,
}

/// What is to be reached.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Target {
    name: &'static str,
    value: f64,
    at_most: f64,
}

impl Target {
    fn word(&self) -> &'static str {
        if self.value <= self.at_most { "met" } else { "missed" }
    }
}

#[expect(clippy::cast_precision_loss, reason = "below 2^53 microseconds")]
pub(super) fn ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1_000.0
}

/// Quantiles in ms.
pub(super) fn quantiles(histogram: &Histogram<u64>) -> Value {
    json!({ "count": histogram.len(), "p50": ms(histogram, 0.5), "p99": ms(histogram, 0.99), "max": ms(histogram, 1.0) })
}

impl ScenarioReport {
    #[expect(clippy::cast_precision_loss, reason = "below 2^53 messages")]
    fn targets(&self) -> Vec<Target> {
        let target = |name, value, at_most| Target { name, value, at_most };
        let mut targets = vec![
            target("lost", self.findings.lost as f64, 0.0),
            target("duplicated", self.findings.duplicated as f64, 0.0),
        ];
        let touched = &self.gaps.touched;
        let mut quantile = |name, at, at_most| {
            if !touched.is_empty() {
                targets.push(target(name, ms(touched, at), at_most));
            }
        };
        match self.scenario {
            Scenario::Kill => {
                quantile("unavailability_ms.p50", 0.5, 400.0);
                quantile("unavailability_ms.p99", 0.99, 1_000.0);
            }
            Scenario::Stop
            | Scenario::Dc
            | Scenario::Cut
            | Scenario::OneWayOut
            | Scenario::OneWayIn
            | Scenario::Partial => quantile("unavailability_ms.p99", 0.99, 2_500.0),
            Scenario::Drain => {
                quantile("unavailability_ms.p50", 0.5, 100.0);
                quantile("unavailability_ms.p99", 0.99, 200.0);
            }
            Scenario::Rolling => (),
        }
        if matches!(self.scenario, Scenario::Drain | Scenario::Rolling) {
            targets.push(target("failed", (self.ends.failed + self.ends.unknown) as f64, 0.0));
            targets.push(target("session_reads_failed", self.gaps.reads_failed as f64, 0.0));
        }
        if self.scenario == Scenario::Drain && !self.gaps.reads.is_empty() {
            targets.push(target("session_reads_ms.p50", ms(&self.gaps.reads, 0.5), 0.0));
            targets.push(target("session_reads_ms.p99", ms(&self.gaps.reads, 0.99), 0.0));
        }
        targets
    }

    /// Each fault: to whom, when, and what it cost the keys that were hit.
    fn each(&self) -> Vec<Value> {
        let rounds = self.rounds.iter().zip(&self.gaps.by_round);
        let object = |(round, gaps): (&Round, &Histogram<u64>)| {
            let whole_after_ms = (round.whole_ns - round.fault_ns) / 1_000_000;
            json!({
                "victims": round.victims, "at_ms": round.wall_ms, "unavailability_ms": quantiles(gaps), "whole_after_ms": whole_after_ms,
            })
        };
        rounds.map(object).collect()
    }

    fn object(&self) -> Value {
        let targets: Vec<Value> = (self.targets().iter())
            .map(|target| json!({ "name": target.name, "value": target.value, "at_most": target.at_most, "result": target.word() }))
            .collect();
        json!({
            "scenario": self.scenario.name(),
            "times": self.rounds.len(),
            "keys": self.gaps.touched.len(),
            "unavailability_ms": quantiles(&self.gaps.touched),
            "direct_ms": quantiles(&self.gaps.direct),
            "others_ms": quantiles(&self.gaps.others),
            "back_ms": quantiles(&self.gaps.back),
            "calm_ms": quantiles(&self.gaps.calm),
            "whole_after_ms": quantiles(&self.gaps.whole),
            "session_reads_ms": quantiles(&self.gaps.reads),
            "session_reads_failed": self.gaps.reads_failed,
            "never_again": self.gaps.never,
            "whole": self.whole,
            "sent": self.ends.sent,
            "acked": self.ends.acked,
            "failed": self.ends.failed,
            "unknown": self.ends.unknown,
            "repeats": self.ends.repeats,
            "reasons": self.failures.reasons,
            "failures": self.failures.said,
            "looked_for": self.findings.looked_for,
            "lost": self.findings.lost,
            "duplicated": self.findings.duplicated,
            "disordered": self.findings.disordered,
            "refused_but_held": self.findings.refused_but_held,
            "differing": self.findings.differing,
            "unreadable": self.findings.unreadable,
            "unknown_and_held": self.findings.unknown_and_held,
            "said": self.findings.said,
            "faults": self.faults,
            "rounds": self.each(),
            "targets": targets,
        })
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let (name, times, asked) = (self.scenario.name(), self.rounds.len(), self.asked);
        writeln!(text, "{name}, {times} of {asked} times")?;
        writeln!(
            text,
            "  {:<28}{:>8}{:>10}{:>10}{:>10}",
            "ms", "count", "p50", "p99", "max"
        )?;
        let rows = [
            ("unavailability, keys hit", &self.gaps.touched),
            ("  sent to writers directly", &self.gaps.direct),
            ("the other keys", &self.gaps.others),
            ("all, while nodes come back", &self.gaps.back),
            ("all, in the calm before", &self.gaps.calm),
            ("until all copies are back", &self.gaps.whole),
            ("session reads, keys hit", &self.gaps.reads),
        ];
        for (name, of) in rows {
            let (p50, p99, max) = (ms(of, 0.5), ms(of, 0.99), ms(of, 1.0));
            writeln!(text, "  {name:<28}{:>8}{p50:>10.1}{p99:>10.1}{max:>10.1}", of.len())?;
        }
        writeln!(
            text,
            "  {} sent, {} acked, {} failed, {} unknown, {} repeats",
            self.ends.sent, self.ends.acked, self.ends.failed, self.ends.unknown, self.ends.repeats
        )?;
        let findings = &self.findings;
        writeln!(
            text,
            "  {} read back: {} lost, {} duplicated, {} out of order, {} refused but held, {} differing, {} members unreadable",
            findings.looked_for,
            findings.lost,
            findings.duplicated,
            findings.disordered,
            findings.refused_but_held,
            findings.differing,
            findings.unreadable
        )?;
        if self.gaps.never > 0 {
            writeln!(text, "  {} times a key was never acked again", self.gaps.never)?;
        }
        let p50s: Vec<String> = (self.gaps.by_round.iter().map(|gaps| format!("{:.0}", ms(gaps, 0.5)))).collect();
        writeln!(text, "  p50 of each time: {}", p50s.join(" "))?;
        for (reason, times) in &self.failures.reasons {
            writeln!(text, "  {times} ended with: {reason}")?;
        }
        for line in self.failures.said.iter().chain(&findings.said).chain(&self.faults) {
            writeln!(text, "  {line}")?;
        }
        for target in self.targets() {
            let (name, value, at_most, word) = (target.name, target.value, target.at_most, target.word());
            writeln!(text, "  {name:<28}{value:>10.1}, to reach {at_most}: {word}")?;
        }
        Ok(())
    }
}

impl FailoverReport {
    /// Whether everything acked is held as it must be.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let is_clean = self.scenarios.iter().all(|scenario| scenario.findings.is_clean());
        // A key's next message is due when the one before has ended: there is no plan to be late for.
        Verdict::of(is_clean, false)
    }

    /// Whether everything that was to be done was done.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let done = |scenario: &ScenarioReport| scenario.rounds.len() == scenario.asked;
        self.scenarios.len() == self.plan.scenarios.len() && self.scenarios.iter().all(done)
    }

    /// One object with all figures.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let scenarios: Vec<Value> = self.scenarios.iter().map(ScenarioReport::object).collect();
        json!({
            "schema": "waterpark.failover.1",
            "complete": self.is_complete(),
            "verdict": self.verdict().name(),
            "nodes": NODES,
            "groups": self.plan.groups,
            "keys": self.plan.keys,
            "every_ms": u64::try_from(self.plan.every.as_millis()).unwrap_or(u64::MAX),
            "scenarios": scenarios,
        })
    }

    /// The same for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!(
            "{NODES} nodes in four data centres, {} groups, {} keys, a message to each every {:?} at most\n",
            self.plan.groups, self.plan.keys, self.plan.every
        );
        for scenario in &self.scenarios {
            text.push('\n');
            scenario.write(&mut text).expect("a string takes any text");
        }
        writeln!(text, "\n{}", self.verdict().name()).expect("a string takes any text");
        text
    }
}
