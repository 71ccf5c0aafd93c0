//! How copies came back, in words and for programs, each figure with what was to be reached.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::refill::RefillPlan;
use crate::generator::Measured;
use crate::ledger::Findings;
use crate::recorder::interval_log;
use crate::report::{DURABILITY, Figure, Target, figure, per, quantile_rows, quantiles, read_back, spectrum, with};
use crate::run::Verdict;
use crate::timeline::{Event, Timeline};

/// Seconds for each GiB that was lost.
const SECONDS_PER_GIB: f64 = 10.0;
/// Megabytes a second that copies come with, once they do.
const MB_PER_S: f64 = 500.0;
/// What messages may take meanwhile, by what they take else.
const TIMES: f64 = 2.0;

/// Response times of one stretch, in µs.
#[derive(Debug)]
pub struct Stretch(pub(super) Histogram<u64>);

impl Stretch {
    pub(super) fn of(over: &Timeline, from: Duration, until: Duration) -> Stretch {
        Stretch(over.between(from, until))
    }

    fn at(&self, quantile: f64) -> f64 {
        per(self.0.value_at_quantile(quantile), 1)
    }
}

/// What was measured.
#[derive(Debug)]
pub struct RefillReport {
    /// The plan.
    pub plan: RefillPlan,
    /// Bytes of logs that the lost node held.
    pub held: u64,
    /// From the loss until all copies were there.
    pub took: Duration,
    /// The bytes that came back from the last look on that saw none come, and how long they took; `None` where looks did not see them come.
    pub flow: Option<(u64, Duration)>,
    /// Whether they all were.
    pub whole: bool,
    /// Before the loss.
    pub calm: Stretch,
    /// Just after it, while other members begin to write.
    pub change: Stretch,
    /// From then until all copies were there.
    pub refill: Stretch,
    /// The driver that the nodes use.
    pub driver: String,
    /// What was done, and what became of it, over time.
    pub events: Vec<Event>,
    /// All that was sent at planned instants.
    pub measured: Measured,
    /// What reading back found.
    pub findings: Findings,
    /// What else went wrong.
    pub faults: Vec<String>,
    /// What it is worth.
    pub verdict: Verdict,
}

impl RefillReport {
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let gib = per(self.held, 1 << 30);
        let seconds = self.took.as_secs_f64();
        let mut figures = vec![
            figure("lost with the node", gib * 1_024.0, "MiB", None),
            figure("copies back after", seconds, "s", None),
        ];
        if !self.whole {
            return figures;
        }
        figures.extend([
            figure(
                "seconds per GiB",
                seconds / gib.max(1e-9),
                "s",
                Some(Target::AtMost(SECONDS_PER_GIB)),
            ),
            figure("given per second", gib * 1_024.0 / seconds.max(1e-9), "MiB", None),
        ]);
        if let Some((bytes, took)) = self.flow {
            let rate = per(bytes, 1_000_000) / took.as_secs_f64().max(1e-9);
            let least = Some(Target::AtLeast(MB_PER_S));
            figures.push(figure("given per second, once it flows", rate, "MB", least));
        }
        // What is over within the first second shows in nothing else.
        if !self.refill.0.is_empty() && !self.calm.0.is_empty() {
            let times = |quantile| self.refill.at(quantile) / self.calm.at(quantile).max(1.0);
            let most = Some(Target::AtMost(TIMES));
            figures.push(figure("p99, by the calm", times(0.99), "", most));
            figures.push(figure("p99.9, by the calm", times(0.999), "", most));
        }
        figures
    }

    /// All times in full, as an interval log of HdrHistogram.
    ///
    /// # Errors
    /// For want of memory.
    pub fn to_log(&self) -> std::io::Result<Vec<u8>> {
        interval_log(&[("", &self.measured.recorder)])
    }

    /// What was measured, as far as figures depend on it.
    fn settings(&self) -> Value {
        let plan = &self.plan;
        json!({
            "workload": "refill", "fill_bytes": plan.fill, "rate_per_s": plan.rate, "message_bytes": plan.message_bytes,
            "calm_s": plan.calm.as_secs_f64(), "again": plan.again, "driver": plan.driver,
        })
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let object = json!({
            "schema": "waterpark.bench_refill.2",
            "complete": self.whole,
            "verdict": self.verdict.name(),
            "workload": "refill",
            "settings": self.settings(),
            "durability": DURABILITY,
            "driver": self.driver,
            "seconds": self.measured.took.as_secs_f64(),
            "figures": self.figures().iter().map(Figure::to_json).collect::<Vec<Value>>(),
            "calm_us": quantiles(&self.calm.0),
            "change_us": quantiles(&self.change.0),
            "refill_us": quantiles(&self.refill.0),
            "ack_us": quantiles(&self.measured.response_us),
            "service_us": quantiles(&self.measured.service_us),
            "spectrum_us": json!({ "response": spectrum(&self.measured.response_us), "service": spectrum(&self.measured.service_us) }),
            "over_time": self.measured.over_time.to_json(),
            "events": self.events.iter().map(Event::to_json).collect::<Vec<Value>>(),
            "sent": self.measured.sent,
            "acked": self.measured.acked,
            "refused": self.measured.refused,
            "unknown": self.measured.unknown,
            "repeats": self.measured.repeats,
            "late": self.measured.late,
            "faults": self.faults,
        });
        with(object, self.findings.to_json())
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let how = if self.plan.again {
            ", started again with nothing"
        } else {
            ""
        };
        let mut text = format!(
            "one of eight nodes lost{how}; {:.0} messages of {} bytes a second\n",
            self.plan.rate, self.plan.message_bytes
        );
        text += &quantile_rows(
            30,
            &[
                ("response, before the loss", &self.calm.0),
                ("in the second after it", &self.change.0),
                ("while copies come back", &self.refill.0),
            ],
        );
        self.figures().iter().for_each(|figure| text += &figure.to_text());
        text += &read_back(&self.findings);
        for fault in &self.faults {
            text += &format!("{fault}\n");
        }
        text += &format!("verdict: {}\n", self.verdict.name());
        text
    }
}
