//! What failures cost, in words and for programs, beside what was to be reached.
//!
//! **Invariant:** a target that was not measured is neither met nor missed: it is not there.

use std::fmt::Write;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::failures::{Ends, Failures};
use super::gaps::{Gaps, Round, SlowestReads};
use super::read_back::Findings;
use super::scenario::Scenario;
use super::{FailoverPlan, MESSAGE_BYTES, NODES, Took};
use crate::report::{self, DURABILITY, Figure, Target, figure, per, spectrum};
use crate::run::Verdict;
use crate::timeline::Event;

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
    /// The driver that the nodes use.
    pub driver: String,
    /// What was done, and what became of it, over time.
    pub events: Vec<Event>,
    /// What acks took meanwhile.
    pub took: Took,
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

#[expect(clippy::cast_precision_loss, reason = "below 2^53 microseconds")]
pub(super) fn ms(histogram: &Histogram<u64>, quantile: f64) -> f64 {
    histogram.value_at_quantile(quantile) as f64 / 1_000.0
}

/// How much longer the slowest reads took than in a calm of the same length, in ms: of a quantile of keys, not of each key by itself, because
/// the slowest of a few reads scatters.
fn beyond(reads: &SlowestReads, quantile: f64) -> f64 {
    (ms(&reads.fault, quantile) - ms(&reads.calm, quantile)).max(0.0)
}

/// Quantiles in ms.
pub(super) fn quantiles(histogram: &Histogram<u64>) -> Value {
    json!({ "count": histogram.len(), "p50": ms(histogram, 0.5), "p99": ms(histogram, 0.99), "max": ms(histogram, 1.0) })
}

impl ScenarioReport {
    /// By name, which is one of this scenario alone.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let none = |name, count| figure(name, per(count, 1), "", Some(Target::AtMost(0.0)));
        let mut figures = vec![
            none("lost", self.findings.lost),
            none("duplicated", self.findings.duplicated),
        ];
        if matches!(self.scenario, Scenario::Drain | Scenario::Rolling) {
            figures.push(none("failed", self.ends.failed + self.ends.unknown));
            figures.push(none("session reads failed", self.gaps.reads_failed));
        }
        let (p50, p99) = match self.scenario {
            Scenario::Kill => (Some(400.0), Some(1_000.0)),
            Scenario::Stop
            | Scenario::Dc
            | Scenario::Cut
            | Scenario::OneWayOut
            | Scenario::OneWayIn
            | Scenario::Partial => (None, Some(2_500.0)),
            Scenario::Drain => (Some(100.0), Some(200.0)),
            Scenario::Rolling => (None, None),
        };
        let reads = (self.scenario == Scenario::Drain).then_some(0.0);
        let gaps = &self.gaps;
        let rows = [
            ("unavailability", &gaps.touched, p50, p99),
            ("others", &gaps.others, None, None),
            ("while nodes come back", &gaps.back, None, None),
            ("whole after", &gaps.whole, None, None),
        ];
        // What was not measured is neither met nor missed.
        for (name, of, p50, p99) in rows.into_iter().filter(|(_, of, ..)| !of.is_empty()) {
            let mut at = |quantile, word: &str, most: Option<f64>| {
                let name = format!("{name} {word}");
                figures.push(figure(name, ms(of, quantile), "ms", most.map(Target::AtMost)));
            };
            at(0.5, "p50", p50);
            at(0.99, "p99", p99);
            at(1.0, "max", None);
        }
        if !gaps.reads.fault.is_empty() {
            for (quantile, word) in [(0.5, "p50"), (0.99, "p99")] {
                let cost = beyond(&gaps.reads, quantile);
                figures.push(figure(
                    format!("session reads {word}"),
                    cost,
                    "ms",
                    reads.map(Target::AtMost),
                ));
            }
        }
        figures
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
        let figures: Vec<Value> = self.figures().iter().map(Figure::to_json).collect();
        let events: Vec<Value> = self.events.iter().map(Event::to_json).collect();
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
            "slowest_reads_ms": quantiles(&self.gaps.reads.fault),
            "slowest_reads_calm_ms": quantiles(&self.gaps.reads.calm),
            "slowest_reads_others_ms": quantiles(&self.gaps.reads_others.fault),
            "slowest_reads_others_calm_ms": quantiles(&self.gaps.reads_others.calm),
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
            "figures": figures,
            "events": events,
            "seconds": self.took.time.as_secs_f64(),
            "over_time": self.took.over_time.to_json(),
            "ack_us": report::quantiles(&self.took.all_us),
            "spectrum_us": json!({ "unavailability": spectrum(&self.gaps.touched) }),
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
            ("slowest session read, hit", &self.gaps.reads.fault),
            ("  in a calm as long", &self.gaps.reads.calm),
            ("  of the other keys", &self.gaps.reads_others.fault),
            ("  of those, in the calm", &self.gaps.reads_others.calm),
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
        for figure in self.figures().iter().filter(|figure| figure.met().is_some()) {
            write!(text, "  {}", figure.to_text())?;
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

    /// What was measured, as far as figures depend on it.
    fn settings(&self) -> Value {
        let plan = &self.plan;
        let scenarios: Vec<&str> = plan.scenarios.iter().map(|scenario| scenario.name()).collect();
        json!({
            "workload": "failover", "scenarios": scenarios, "times": plan.times, "keys": plan.keys, "groups": plan.groups, "nodes": NODES,
            "every_ms": plan.every.as_secs_f64() * 1_000.0, "message_bytes": MESSAGE_BYTES, "driver": plan.driver,
            "far": plan.far,
        })
    }

    /// Figures of all scenarios, each under the name of its own.
    fn figures(&self) -> Vec<Value> {
        let of = |scenario: &ScenarioReport| {
            let named = |mut figure: Figure| {
                figure.name = format!("{} {}", scenario.scenario.name(), figure.name);
                figure.to_json()
            };
            scenario.figures().into_iter().map(named).collect::<Vec<Value>>()
        };
        self.scenarios.iter().flat_map(of).collect()
    }

    /// One object with all figures.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let scenarios: Vec<Value> = self.scenarios.iter().map(ScenarioReport::object).collect();
        let driver = self.scenarios.first().map_or("unknown", |scenario| &scenario.driver);
        let sum = |of: fn(&ScenarioReport) -> u64| self.scenarios.iter().map(of).sum::<u64>();
        let said = |scenario: &ScenarioReport| {
            let all = (scenario.findings.said.iter())
                .chain(&scenario.failures.said)
                .chain(&scenario.faults);
            let name = scenario.scenario.name();
            all.map(|said| format!("{name}: {said}")).collect::<Vec<String>>()
        };
        let mut all_us = Histogram::new_from(&Took::new(&[]).all_us);
        for scenario in &self.scenarios {
            all_us.add(&scenario.took.all_us).expect("histograms of one shape");
        }
        json!({
            "schema": "waterpark.bench_failover.3",
            "complete": self.is_complete(),
            "verdict": self.verdict().name(),
            "workload": "failover",
            "settings": self.settings(),
            "durability": DURABILITY,
            "driver": driver,
            "seconds": self.scenarios.iter().map(|scenario| scenario.took.time.as_secs_f64()).sum::<f64>(),
            "figures": self.figures(),
            "ack_us": report::quantiles(&all_us),
            "spectrum_us": json!({ "response": spectrum(&all_us) }),
            "sent": sum(|of| of.ends.sent),
            "acked": sum(|of| of.ends.acked),
            "refused": sum(|of| of.ends.failed),
            "unknown": sum(|of| of.ends.unknown),
            "repeats": sum(|of| of.ends.repeats),
            "looked_for": sum(|of| of.findings.looked_for),
            "lost": sum(|of| of.findings.lost),
            "duplicated": sum(|of| of.findings.duplicated),
            "disordered": sum(|of| of.findings.disordered),
            "refused_but_held": sum(|of| of.findings.refused_but_held),
            "differing": sum(|of| of.findings.differing),
            "unreadable": sum(|of| of.findings.unreadable),
            "findings": self.scenarios.iter().flat_map(said).collect::<Vec<String>>(),
            "scenarios": scenarios,
        })
    }

    /// The same for people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!(
            "{NODES} nodes in four data centres{}, {} groups, {} keys, a message to each every {:?} at most\n",
            if self.plan.far {
                ""
            } else {
                " that are as near as loopback is"
            },
            self.plan.groups,
            self.plan.keys,
            self.plan.every
        );
        for scenario in &self.scenarios {
            text.push('\n');
            scenario.write(&mut text).expect("a string takes any text");
        }
        writeln!(text, "\n{}", self.verdict().name()).expect("a string takes any text");
        text
    }
}
