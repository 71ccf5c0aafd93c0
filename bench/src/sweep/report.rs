//! What a sweep found, in words and for programs.
//!
//! **Invariant:** a rate is called the knee only if the next one was too much for the cluster; what the generator or the range bounded is called
//! what it is, so that the two are never compared.

use serde_json::{Value, json};

use super::{Short, Step, SweepPlan};
use crate::recorder::{Recorder, interval_log};
use crate::report::{DURABILITY, Figure, figure, per, quantiles, with};
use crate::run::Verdict;
use crate::workload::Kind;

/// Counts of the steps that are summed up.
const COUNTS: [&str; 13] = [
    "sent",
    "acked",
    "refused",
    "unknown",
    "late",
    "repeats",
    "looked_for",
    "lost",
    "duplicated",
    "refused_but_held",
    "differing",
    "foreign",
    "unreadable",
];

/// What was measured.
#[derive(Debug)]
pub struct SweepReport {
    /// The plan.
    pub plan: SweepPlan,
    /// By their rates.
    pub steps: Vec<Step>,
    /// Whether nobody ended it early.
    pub complete: bool,
}

/// What keeps the fastest rate that was carried from being faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    /// The cluster: it is the knee.
    Cluster(Short),
    /// The generator: the knee lies there or beyond.
    Generator,
    /// No faster rate was tried.
    Range,
}

impl Bound {
    fn name(self) -> &'static str {
        match self {
            Bound::Cluster(short) => short.name(),
            Bound::Generator => Short::Late.name(),
            Bound::Range => "no faster rate was tried",
        }
    }
}

impl SweepReport {
    /// The fastest rate that was carried before one that the cluster did not carry, and what bounds it.
    fn knee(&self) -> Option<(&Step, Bound)> {
        let may_be = |step: &&Step| matches!(step.short, None | Some(Short::Late));
        let before = self.steps.iter().take_while(may_be).count();
        let place = self.steps[..before].iter().rposition(|step| step.short.is_none())?;
        let knee = &self.steps[place];
        let bound = match self.steps.get(place + 1).and_then(|next| next.short) {
            None => Bound::Range,
            Some(Short::Late) => Bound::Generator,
            Some(short) => Bound::Cluster(short),
        };
        Some((knee, bound))
    }

    /// FAIL if something acked is not held in any step. INVALID if the generator was late in all of them, so that nothing is known.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let is_clean = self.steps.iter().all(|step| step.short != Some(Short::Lost));
        let is_late = self.steps.iter().all(|step| step.short == Some(Short::Late));
        Verdict::of(is_clean, is_late)
    }

    fn figures(&self) -> Vec<Figure> {
        let mut figures = Vec::new();
        if let Some((knee, bound)) = self.knee() {
            let name = match bound {
                Bound::Cluster(_) => "knee",
                Bound::Generator | Bound::Range => "carried at least",
            };
            figures.push(figure(name, knee.rate, "messages/s", None));
            if let Some(cpu) = knee.report.cpu_ns_per_message() {
                figures.push(figure("cpu of all replicas", cpu, "ns/message", None));
            }
            let generator = per(knee.report.generator_cpu_ns, knee.report.measured.acked);
            figures.push(figure("cpu of the generator", generator, "ns/message", None));
        }
        let most = self.steps.iter().map(|step| step.report.acked_per_s()).reduce(f64::max);
        figures.extend(most.map(|most| figure("acked at most", most, "messages/s", None)));
        figures
    }

    /// What was measured, as far as figures depend on it: that of a step, and which steps there were to be.
    fn settings(&self) -> Value {
        let plan = &self.plan;
        let mut settings = plan.step.settings();
        let pace = settings.as_object_mut().expect("settings are an object");
        pace.retain(|name, _| !["workload", "rate_per_s", "closed_in_flight"].contains(&name.as_str()));
        let own = json!({
            "workload": self.workload(), "from_per_s": plan.from, "to_per_s": plan.to, "steps": plan.steps, "refine": plan.refine,
            "p99_max_us": plan.p99_max.map(|limit| limit.as_secs_f64() * 1e6),
        });
        with(own, settings)
    }

    fn workload(&self) -> String {
        format!("sweep-{}", self.plan.step.kind.name())
    }

    /// All times in full, as an interval log of HdrHistogram: tags begin with the rate.
    ///
    /// # Errors
    /// For want of memory.
    pub fn to_log(&self) -> std::io::Result<Vec<u8>> {
        let mut named = Vec::new();
        for step in &self.steps {
            let measured = &step.report.measured;
            named.push((format!("{:.0}-", step.rate), &measured.recorder));
            if let Kind::Kv { .. } = self.plan.step.kind {
                named.push((format!("{:.0}-read-", step.rate), &measured.reads.recorder));
            }
        }
        let named: Vec<(&str, &Recorder)> = named
            .iter()
            .map(|(name, recorder)| (name.as_str(), *recorder))
            .collect();
        interval_log(&named)
    }

    /// For programs. Times are those of the fastest rate that was carried.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let steps: Vec<Value> = (self.steps.iter())
            .map(|step| {
                let p99_max_us = step.p99_max_us.is_finite().then_some(step.p99_max_us);
                let own = json!({
                    "rate_per_s": step.rate, "carried": step.short.is_none(), "why": step.short.map(Short::name), "p99_max_us": p99_max_us,
                    "attempts": step.attempts,
                });
                with(own, step.report.to_json())
            })
            .collect();
        let sums: serde_json::Map<String, Value> = (COUNTS.into_iter())
            .map(|name| {
                let sum: u64 = steps.iter().filter_map(|step| step[name].as_u64()).sum();
                (name.to_owned(), sum.into())
            })
            .collect();
        let said = |step: &Step| {
            let said = step.report.findings.said.iter();
            let named = said.map(|said| format!("{:.0} messages a second: {said}", step.rate));
            named.collect::<Vec<String>>()
        };
        let knee = self.knee();
        let measured = knee.map(|(step, _)| &step.report.measured);
        let seconds: f64 = self
            .steps
            .iter()
            .map(|step| step.report.measured.took.as_secs_f64())
            .sum();
        let spectra = knee.map(|(step, _)| step.report.spectra());
        let object = json!({
            "schema": "waterpark.bench_sweep.1",
            "complete": self.complete,
            "verdict": self.verdict().name(),
            "workload": self.workload(),
            "settings": self.settings(),
            "durability": DURABILITY,
            "driver": self.steps.first().map_or("unknown", |step| &step.report.driver),
            "seconds": seconds,
            "figures": self.figures().iter().map(Figure::to_json).collect::<Vec<Value>>(),
            "carried_per_s": knee.map(|(step, _)| step.rate),
            "is_knee": knee.is_some_and(|(_, bound)| matches!(bound, Bound::Cluster(_))),
            "bounded_by": knee.map(|(_, bound)| bound.name()),
            "acked_per_s": knee.map(|(step, _)| step.report.acked_per_s()),
            "cpu_ns_per_msg": knee.and_then(|(step, _)| step.report.cpu_ns_per_message()),
            "ack_us": measured.map(|of| quantiles(&of.response_us)),
            "service_us": measured.map(|of| quantiles(&of.service_us)),
            "spectrum_us": spectra,
            "findings": self.steps.iter().flat_map(said).collect::<Vec<String>>(),
            "steps": steps,
        });
        with(object, Value::Object(sums))
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let driver = self.steps.first().map_or("unknown", |step| &step.report.driver);
        let time = self.plan.step.time;
        let mut text = format!(
            "{} on {driver}: open loop, {time:?} at each rate, and each rate once: repeat the sweep to know how far it scatters\n",
            self.workload()
        );
        text += &format!(
            "{:>12}{:>12}{:>10}{:>10}{:>10}{:>10}  {:<8}\n",
            "planned/s", "acked/s", "p50 us", "p99 us", "p99.9 us", "late", "verdict"
        );
        for step in &self.steps {
            let measured = &step.report.measured;
            let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|quantile| measured.response_us.value_at_quantile(quantile));
            let (rate, acked, late) = (step.rate, step.report.acked_per_s(), measured.late);
            let why = step.short.map_or("carried", Short::name);
            let again = if step.attempts > 1 {
                ", at the second attempt"
            } else {
                ""
            };
            let verdict = step.report.verdict.name();
            text +=
                &format!("{rate:>12.0}{acked:>12.0}{p50:>10}{p99:>10}{p999:>10}{late:>10}  {verdict:<8}{why}{again}\n");
            if let Kind::Kv { .. } = self.plan.step.kind {
                let reads = &measured.reads;
                let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|quantile| reads.response_us.value_at_quantile(quantile));
                let rate = per(reads.right, 1) / measured.took.as_secs_f64().max(1e-9);
                text += &format!("{:>12}{rate:>12.0}{p50:>10}{p99:>10}{p999:>10}\n", "reads");
            }
            for said in &step.report.findings.said {
                text += &format!("  {said}\n");
            }
        }
        for figure in self.figures() {
            text += &figure.to_text();
        }
        text += &match self.knee() {
            None => "no rate was carried: sweep from a slower one\n".to_owned(),
            Some((step, bound @ Bound::Cluster(_))) => {
                format!(
                    "the knee: {:.0} messages a second are carried, and at the next rate {}\n",
                    step.rate,
                    bound.name()
                )
            }
            Some((step, bound @ (Bound::Generator | Bound::Range))) => format!(
                "no knee was found: {:.0} messages a second are carried, and at the next rate {}\n",
                step.rate,
                bound.name()
            ),
        };
        if !self.complete {
            text += "it was ended early: not all rates were tried\n";
        }
        text + &format!("verdict: {}\n", self.verdict().name())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{plan, report};
    use super::*;

    /// A sweep over rates of 1,000 and so on, with why each was not carried.
    fn sweep(shorts: &[Option<Short>]) -> SweepReport {
        let step = |(rate, short): (u32, &Option<Short>)| {
            let rate = f64::from(rate) * 1_000.0;
            let mut report = report(rate, 500, Duration::from_secs(1));
            report.verdict = match short {
                Some(Short::Lost) => Verdict::Fail,
                Some(Short::Late) => Verdict::Invalid,
                _ => Verdict::Ok,
            };
            Step {
                rate,
                p99_max_us: f64::INFINITY,
                attempts: 1,
                short: *short,
                report,
            }
        };
        SweepReport {
            plan: plan(1_000.0, 8_000.0, 4, 0),
            steps: (1..).zip(shorts).map(step).collect(),
            complete: true,
        }
    }

    #[test]
    fn only_what_the_cluster_bounds_is_called_the_knee() {
        // Why rates were not carried, the fastest that was, what it is called, whether it is the knee.
        type Row = (&'static [Option<Short>], Option<f64>, &'static str, bool, Verdict);
        let table: [Row; 9] = [
            (
                &[Some(Short::Late), None, Some(Short::Slow)],
                Some(2_000.0),
                "knee",
                true,
                Verdict::Ok,
            ),
            (&[Some(Short::Slow), None], None, "acked at most", false, Verdict::Ok),
            (
                &[None, None, Some(Short::Slow)],
                Some(2_000.0),
                "knee",
                true,
                Verdict::Ok,
            ),
            (
                &[None, Some(Short::Behind), None],
                Some(1_000.0),
                "knee",
                true,
                Verdict::Ok,
            ),
            (
                &[None, Some(Short::Late)],
                Some(1_000.0),
                "carried at least",
                false,
                Verdict::Ok,
            ),
            (&[None, None], Some(2_000.0), "carried at least", false, Verdict::Ok),
            (&[Some(Short::Unacked)], None, "acked at most", false, Verdict::Ok),
            (&[Some(Short::Late)], None, "acked at most", false, Verdict::Invalid),
            (&[None, Some(Short::Lost)], Some(1_000.0), "knee", true, Verdict::Fail),
        ];
        for (shorts, carried, figure, is_knee, verdict) in table {
            let report = sweep(shorts);
            let object = report.to_json();
            assert_eq!(object["carried_per_s"].as_f64(), carried, "{shorts:?}");
            assert_eq!(
                (&object["is_knee"], report.verdict()),
                (&is_knee.into(), verdict),
                "{shorts:?}"
            );
            assert_eq!(object["figures"][0]["figure"], figure, "{shorts:?}");
            assert_eq!(report.to_text().contains("the knee: "), is_knee, "{shorts:?}");
        }
        assert_eq!(sweep(&[]).verdict(), Verdict::Invalid, "nothing is known");
    }

    #[test]
    fn each_step_has_its_own_verdict_and_counts_are_sums() {
        let object = sweep(&[None, Some(Short::Late)]).to_json();
        assert_eq!((&object["sent"], &object["lost"]), (&2_000.into(), &0.into()));
        assert_eq!(
            (&object["steps"][1]["verdict"], &object["steps"][1]["carried"]),
            (&"INVALID".into(), &false.into())
        );
        assert_eq!(object["steps"][1]["why"], "the generator was late");
        assert_eq!(object["ack_us"]["p99"], 500, "of the fastest that was carried");
        let settings = &object["settings"];
        assert_eq!(
            (&settings["workload"], &settings["rate_per_s"]),
            (&"sweep-w128".into(), &Value::Null)
        );
        assert_eq!(settings["to_per_s"], 8_000.0);
    }
}
