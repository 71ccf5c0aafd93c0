//! What the quiet ones noticed of the noise, in words and for programs.
//!
//! No document sets a target for it: nothing here is met or missed.

use serde_json::{Value, json};

use super::NoisyPlan;
use crate::generator::Measured;
use crate::ledger::Findings;
use crate::overload::Tally;
use crate::recorder::interval_log;
use crate::report::{DURABILITY, Figure, figure, per, quantile_rows, quantiles, read_back, spectrum, with};
use crate::run::Verdict;
use crate::timeline::{Event, Timeline};

/// What was measured.
#[derive(Debug)]
pub struct NoisyReport {
    /// The plan.
    pub plan: NoisyPlan,
    /// Cores of the nodes; empty if all share all.
    pub node_cores: Vec<usize>,
    /// Cores of both generators.
    pub generator_cores: Vec<usize>,
    /// The driver that the nodes use.
    pub driver: String,
    /// Acks per second in the best stretch of the closed loops.
    pub capacity_per_s: f64,
    /// The quiet ones without noise.
    pub alone: Measured,
    /// And beside it.
    pub beside: Measured,
    /// The noise.
    pub noise: Tally,
    /// What reading the quiet ones' messages back found.
    pub findings: Findings,
    /// And those of the noise.
    pub noise_findings: Findings,
    /// Exit codes of the nodes.
    pub exits: Vec<Option<i32>>,
    /// What it is worth.
    pub verdict: Verdict,
}

impl NoisyReport {
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let (alone, beside, noise) = (&self.alone.response_us, &self.beside.response_us, &self.noise);
        let mut figures = vec![
            figure("capacity", self.capacity_per_s, "messages/s", None),
            figure("noise offered", noise.per_s(noise.offered), "messages/s", None),
            figure(
                "noise, by the capacity",
                noise.per_s(noise.offered) / self.capacity_per_s,
                "",
                None,
            ),
            figure("noise acked", noise.per_s(noise.acked_in_time), "messages/s", None),
            figure("noise refused", noise.per_s(noise.refused), "messages/s", None),
        ];
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            let [one, other] = [alone, beside].map(|us| us.value_at_quantile(quantile));
            figures.push(figure(format!("quiet {name} alone"), per(one, 1), "us", None));
            figures.push(figure(format!("quiet {name}"), per(other, 1), "us", None));
            figures.push(figure(
                format!("quiet {name}, by that alone"),
                per(other, one),
                "",
                None,
            ));
        }
        let refused = self.beside.refused + self.beside.unknown;
        let share = 100.0 * per(refused, self.beside.sent);
        figures.push(figure("quiet not acked", share, "% of sent", None));
        figures
    }

    /// What was measured, as far as figures depend on it.
    fn settings(&self) -> Value {
        let plan = &self.plan.noise;
        json!({
            "workload": "noisy-neighbour", "for_s": plan.time.as_secs_f64(), "rate_per_s": self.plan.rate, "actors": plan.actors,
            "message_bytes": plan.message_bytes, "timeout_ms": plan.timeout_ms, "sessions": plan.sessions, "in_flight": plan.in_flight,
            "waiting": plan.waiting, "round_trip_us": u64::try_from(plan.round_trip.as_micros()).unwrap_or(u64::MAX),
            "node_cores": self.node_cores, "generator_cores": self.generator_cores, "driver": plan.driver,
        })
    }

    /// The quiet ones over both stretches, the second behind the first, and the noise as an event between them.
    fn over_time(&self) -> (Timeline, Event) {
        let at = self.plan.noise.time;
        let mut over_time = Timeline::new(at);
        over_time.append(&self.alone.over_time, std::time::Duration::ZERO);
        over_time.append(&self.beside.over_time, at);
        let event = Event {
            at,
            what: "noise",
            nodes: Vec::new(),
            is_fault: true,
        };
        (over_time, event)
    }

    /// All times of the quiet ones in full, as an interval log of HdrHistogram: beside the noise, and `alone-` those without it.
    ///
    /// # Errors
    /// For want of memory.
    pub fn to_log(&self) -> std::io::Result<Vec<u8>> {
        interval_log(&[("", &self.beside.recorder), ("alone-", &self.alone.recorder)])
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let (alone, beside, noise) = (&self.alone, &self.beside, &self.noise);
        let (over_time, event) = self.over_time();
        let of_noise = json!({
            "planned": noise.planned, "offered": noise.offered, "not_reached": noise.not_reached, "not_taken": noise.not_taken,
            "acked": noise.acked, "refused": noise.refused, "unknown": noise.unknown, "reasons": noise.reasons,
            "ack_us": quantiles(&noise.response_us), "read_back": self.noise_findings.to_json(),
        });
        let object = json!({
            "schema": "waterpark.bench_noisy_neighbour.1",
            "complete": true,
            "verdict": self.verdict.name(),
            "workload": "noisy-neighbour",
            "settings": self.settings(),
            "durability": DURABILITY,
            "driver": self.driver,
            "seconds": beside.took.as_secs_f64(),
            "figures": self.figures().iter().map(Figure::to_json).collect::<Vec<Value>>(),
            "capacity_per_s": self.capacity_per_s,
            "acked_per_s": per(beside.acked, 1) / beside.took.as_secs_f64().max(1e-9),
            "sent": beside.sent,
            "acked": beside.acked,
            "refused": beside.refused,
            "unknown": beside.unknown,
            "late": beside.late,
            "reasons": beside.reasons,
            "ack_us": quantiles(&beside.response_us),
            "service_us": quantiles(&beside.service_us),
            "alone": { "sent": alone.sent, "acked": alone.acked, "refused": alone.refused, "unknown": alone.unknown, "late": alone.late },
            "alone_us": quantiles(&alone.response_us),
            "refusal_us": quantiles(&noise.refusal_us),
            "spectrum_us": json!({
                "response": spectrum(&beside.response_us), "service": spectrum(&beside.service_us), "alone": spectrum(&alone.response_us),
                "refusal": spectrum(&noise.refusal_us),
            }),
            "over_time": over_time.to_json(),
            "events": [event.to_json()],
            "noise": of_noise,
            "exit_codes": self.exits,
        });
        with(object, self.findings.to_json())
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let (plan, noise) = (&self.plan, &self.noise);
        let mut text = format!(
            "noisy neighbour on {}: {:.0} messages a second planned by quiet ones, beside {} sessions that offer more than the cluster can take\n",
            self.driver, plan.rate, plan.noise.sessions
        );
        for (name, measured) in [("alone", &self.alone), ("beside noise", &self.beside)] {
            text += &format!(
                "{name}: {:.2} s: {} sent = {} acked + {} refused + {} unknown; {} late\n",
                measured.took.as_secs_f64(),
                measured.sent,
                measured.acked,
                measured.refused,
                measured.unknown,
                measured.late
            );
            for (reason, count) in &measured.reasons {
                text += &format!("  {count} ended with: {reason}\n");
            }
        }
        text += &format!(
            "noise: {:.2} s: {} planned = {} offered + {} not reached by the generator + {} not taken by its clients\n\
             noise: {} offered = {} acked + {} refused + {} unknown\n",
            noise.sending.as_secs_f64(),
            noise.planned,
            noise.offered,
            noise.not_reached,
            noise.not_taken,
            noise.offered,
            noise.acked,
            noise.refused,
            noise.unknown
        );
        text += &quantile_rows(
            22,
            &[
                ("alone", &self.alone.response_us),
                ("alone, service", &self.alone.service_us),
                ("beside noise", &self.beside.response_us),
                ("beside noise, service", &self.beside.service_us),
                ("noise, ack", &noise.response_us),
                ("noise, refusal", &noise.refusal_us),
            ],
        );
        for figure in self.figures() {
            text += &figure.to_text();
        }
        text += &format!("read back: {}", read_back(&self.findings));
        text += &format!("read back of the noise: {}", read_back(&self.noise_findings));
        text + &format!("verdict: {}\n", self.verdict.name())
    }
}
