//! A sweep: the same work at one planned rate after the other, until the cluster does not carry one, and then between the last that it carried and
//! the first that it did not.
//!
//! Each step is a whole measurement with its own verdict, on processes of its own unless a cluster is named. A rate is carried if everything that
//! was planned was sent in time and acked, acks did not fall behind, and p99 of the response stayed within a limit: the knee is the fastest rate
//! that is. It deliberately fits no curve: a knee that no step has stood on is a guess. **Invariant:** a step that was late or did not hold what
//! was acked is never carried, and what bounded the sweep is said.

mod report;

use std::time::Duration;

pub use self::report::SweepReport;
use crate::report::{Report, per};
use crate::run::{self, Pace, Plan, RunError, Target, Verdict};

/// The last ack may come so many times the step's length after its beginning: where a queue grows all the while, it comes later.
const LAST_ACK_MAX: f64 = 1.2;
/// Where no limit is given: so many times the least p99 of the steps before.
pub const TIMES: f64 = 5.0;
/// So many rates that are not carried end the way up: the second one shows what lies behind the knee.
const BEYOND: usize = 2;

/// A rate at which the generator was late is tried so often in all: what kept it once may be over.
const ATTEMPTS: u32 = 2;

/// What to measure.
#[derive(Clone, Debug)]
pub struct SweepPlan {
    /// Each step, whatever its pace.
    pub step: Plan,
    /// The slowest rate, in messages a second.
    pub from: f64,
    /// The fastest.
    pub to: f64,
    /// Rates from the slowest to the fastest, each by the same factor faster than the one before; at least two.
    pub steps: u32,
    /// Further rates between the last that was carried and the first that was not, each in their middle.
    pub refine: u32,
    /// What p99 of the response may be; [`TIMES`] the least of the steps so far where nothing is said.
    pub p99_max: Option<Duration>,
}

/// Why a rate is not carried. The first that is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Short {
    /// What was acked is not held.
    Lost,
    /// The generator itself was late.
    Late,
    /// Messages were refused, or nothing is known of them, or reads have no answer.
    Unacked,
    /// Acks fell behind: the last one came long after the last message was planned.
    Behind,
    /// p99 is beyond its limit.
    Slow,
}

impl Short {
    /// As reports say it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Short::Lost => "something acked is not held",
            Short::Late => "the generator was late",
            Short::Unacked => "not everything was acked",
            Short::Behind => "acks fell behind",
            Short::Slow => "p99 is beyond its limit",
        }
    }
}

/// One rate.
#[derive(Debug)]
pub struct Step {
    /// Messages a second that were planned.
    pub rate: f64,
    /// What p99 was allowed to be, in µs.
    pub p99_max_us: f64,
    /// Measurements of it; all but the last were INVALID.
    pub attempts: u32,
    /// Why it was not carried; `None` if it was.
    pub short: Option<Short>,
    /// The measurement.
    pub report: Report,
}

/// Which rate is next, from what became of those before.
#[derive(Clone, Debug)]
struct Search {
    /// The rates of the way up that are left, the next one last.
    up: Vec<f64>,
    refine: u32,
    carried: Option<f64>,
    /// The slowest that was not, and why.
    not_carried: Option<(f64, Short)>,
    beyond: usize,
}

impl Search {
    fn new(plan: &SweepPlan) -> Search {
        let last = f64::from(plan.steps.max(2) - 1);
        let factor = plan.to / plan.from;
        let rates = (0..plan.steps.max(2)).map(|place| match f64::from(place) {
            // Exactly as it was asked for.
            place if place == last => plan.to,
            place => (plan.from * factor.powf(place / last)).round(),
        });
        let mut up: Vec<f64> = rates.collect();
        up.dedup();
        up.reverse();
        Search {
            up,
            refine: plan.refine,
            carried: None,
            not_carried: None,
            beyond: 0,
        }
    }

    fn next(&mut self) -> Option<f64> {
        if self.beyond < BEYOND
            && let Some(rate) = self.up.pop()
        {
            return Some(rate);
        }
        // Nothing is to be found between where nothing, or everything, was carried.
        let (carried, (not_carried, _)) = self.carried.zip(self.not_carried)?;
        let middle = (carried * not_carried).sqrt().round();
        if self.refine == 0 || middle <= carried || middle >= not_carried {
            return None;
        }
        self.refine -= 1;
        Some(middle)
    }

    /// What became of a rate. A late generator says nothing of the cluster: a faster rate that is carried takes that back.
    fn note(&mut self, rate: f64, short: Option<Short>) {
        let Some(short) = short else {
            if self
                .not_carried
                .is_none_or(|(other, short)| rate < other || short == Short::Late)
            {
                self.carried = Some(rate);
                self.not_carried = self.not_carried.filter(|(other, _)| rate < *other);
                self.beyond = 0;
            }
            return;
        };
        self.beyond += 1;
        if self.not_carried.is_none_or(|(other, _)| rate < other) {
            self.not_carried = Some((rate, short));
        }
    }
}

/// Why a rate was not carried.
fn short_of(report: &Report, rate: f64, p99_max_us: f64) -> Option<Short> {
    let (sent, done) = report.sent_and_done();
    // Where memory was full before the time was over, the plan ended with it.
    let planned_s = (per(sent, 1) / rate).min(report.plan.time.as_secs_f64());
    let table = [
        (report.verdict == Verdict::Fail, Short::Lost),
        (report.verdict == Verdict::Invalid, Short::Late),
        (done < sent, Short::Unacked),
        (
            report.measured.took.as_secs_f64() > planned_s * LAST_ACK_MAX,
            Short::Behind,
        ),
        (report.p99_us() > p99_max_us, Short::Slow),
    ];
    table.into_iter().find_map(|(is_so, short)| is_so.then_some(short))
}

/// Measures.
///
/// `say` is told what goes on, in a few words. Once `go_on` is false the step that runs ends early, and is read back; it is the last and counts for
/// nothing.
///
/// # Errors
/// [`RunError`]; nothing was measured, and what was started was ended.
pub fn sweep(plan: SweepPlan, mut say: impl FnMut(&str), go_on: impl Fn() -> bool) -> Result<SweepReport, RunError> {
    let mut search = Search::new(&plan);
    let mut steps: Vec<Step> = Vec::new();
    while let Some(rate) = search.next() {
        say(&format!("step {}: {rate:.0} messages a second", steps.len() + 1));
        let mut step = plan.step.clone();
        step.pace = Pace::Open(rate);
        // Actors of a cluster that runs have had their first message by then.
        let is_own = matches!(step.target, Target::Own { .. });
        step.warm &= steps.is_empty() || is_own;
        let mut attempts = 1;
        let mut report = run::measure(step.clone(), &mut say, &go_on)?;
        while report.verdict == Verdict::Invalid && attempts < ATTEMPTS && go_on() {
            say("the generator was late: once more");
            attempts += 1;
            step.warm &= is_own;
            report = run::measure(step.clone(), &mut say, &go_on)?;
        }
        if !go_on() {
            break;
        }
        let least_us = steps
            .iter()
            .filter(|step| step.short.is_none())
            .map(|step| step.report.p99_us())
            .reduce(f64::min);
        let p99_max_us = match (plan.p99_max, least_us) {
            (Some(limit), _) => limit.as_secs_f64() * 1e6,
            (None, Some(least_us)) => least_us * TIMES,
            // The first step is the measure of the others.
            (None, None) => f64::INFINITY,
        };
        let short = short_of(&report, rate, p99_max_us);
        say(&format!(
            "{rate:.0} messages a second: {}",
            short.map_or("carried", Short::name)
        ));
        search.note(rate, short);
        let is_lost = short == Some(Short::Lost);
        steps.push(Step {
            rate,
            p99_max_us,
            attempts,
            short,
            report,
        });
        if is_lost {
            // Nothing faster could make that good.
            break;
        }
    }
    let complete = go_on();
    steps.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    Ok(SweepReport { plan, steps, complete })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::generator::Measured;
    use crate::ledger::Findings;

    pub(super) fn plan(from: f64, to: f64, steps: u32, refine: u32) -> SweepPlan {
        SweepPlan {
            step: Plan {
                target: Target::Own {
                    binary: "waterpark".into(),
                    driver: "auto".to_owned(),
                },
                kind: crate::workload::Kind::W128,
                actors: 1,
                pace: Pace::Closed(1),
                arrivals: crate::arrivals::Arrivals::Constant,
                time: Duration::from_secs(1),
                message_bytes: 128,
                timeout_ms: 1,
                warm: false,
                level: crate::reads::Level::Session,
                skew: crate::skew::Skew::Even,
                generators: None,
            },
            from,
            to,
            steps,
            refine,
            p99_max: None,
        }
    }

    /// A second at a rate: all was sent and acked, p99 took so long, and the last ack came so long after the beginning.
    pub(super) fn report(rate: f64, p99_us: u64, took: Duration) -> Report {
        let mut measured = Measured::new(Duration::from_secs(1));
        (measured.sent, measured.acked, measured.took) = (1_000, 1_000, took);
        measured.response_us.record_n(p99_us, 1_000).unwrap();
        let mut plan = plan(1_000.0, 8_000.0, 4, 0).step;
        plan.pace = Pace::Open(rate);
        Report {
            plan,
            measured,
            findings: Findings::default(),
            cpu_ns_by_node: None,
            generators: 1,
            began_late: Duration::ZERO,
            generator_cpu_ns: 0,
            driver: "epoll".to_owned(),
            seed: 1,
            kept_bytes: 0,
            allocations: 0,
            system_calls: 0,
            turns: 0,
            link_bytes: 0,
            crossed: 0,
            resident_before: None,
            resident_after: None,
            shortened: false,
            check_took: Duration::ZERO,
            exits: Vec::new(),
            verdict: Verdict::Ok,
        }
    }

    #[test]
    fn a_rate_is_carried_if_all_was_sent_in_time_and_acked_in_time_and_p99_is_within_its_limit() {
        let second = Duration::from_secs(1);
        let good = || report(1_000.0, 500, second);
        assert_eq!(short_of(&good(), 1_000.0, 600.0), None);
        assert_eq!(short_of(&good(), 1_000.0, 400.0), Some(Short::Slow));
        let behind = report(1_000.0, 500, second * 2);
        assert_eq!(short_of(&behind, 1_000.0, 600.0), Some(Short::Behind));
        // Memory was full after half of the time, and what came after that was behind.
        let mut short = report(2_000.0, 500, second / 2);
        assert_eq!(short_of(&short, 2_000.0, 600.0), None);
        short.measured.took = second;
        assert_eq!(short_of(&short, 2_000.0, 600.0), Some(Short::Behind));
        let mut refused = good();
        refused.measured.acked -= 1;
        assert_eq!(short_of(&refused, 1_000.0, 600.0), Some(Short::Unacked));
        for (verdict, short) in [(Verdict::Invalid, Short::Late), (Verdict::Fail, Short::Lost)] {
            refused.verdict = verdict;
            assert_eq!(short_of(&refused, 1_000.0, 600.0), Some(short));
        }
    }

    /// The rates of a sweep over a cluster that carries so much.
    fn rates(plan: &SweepPlan, carries: f64) -> (Vec<f64>, Option<f64>) {
        let mut search = Search::new(plan);
        let mut rates = Vec::new();
        while let Some(rate) = search.next() {
            assert!(rates.len() < 100, "{rates:?}");
            rates.push(rate);
            search.note(rate, (rate > carries).then_some(Short::Slow));
        }
        (rates, search.carried)
    }

    #[test]
    fn a_sweep_goes_up_by_one_factor_to_the_second_rate_too_fast_and_then_between() {
        let (found, knee) = rates(&plan(1_000.0, 16_000.0, 5, 3), 4_500.0);
        // Twice as fast each, two that are too fast, then the middles of 4,000 and 8,000, of 4,000 and 5,657, of 4,000 and 4,757.
        assert_eq!(
            found,
            [1_000.0, 2_000.0, 4_000.0, 8_000.0, 16_000.0, 5_657.0, 4_757.0, 4_362.0]
        );
        assert_eq!(knee, Some(4_362.0));
    }

    #[test]
    fn where_all_or_nothing_is_carried_there_is_nothing_between() {
        let plan = plan(1_000.0, 8_000.0, 4, 5);
        assert_eq!(
            rates(&plan, 1e9),
            (vec![1_000.0, 2_000.0, 4_000.0, 8_000.0], Some(8_000.0))
        );
        assert_eq!(rates(&plan, 1.0), (vec![1_000.0, 2_000.0], None));
    }

    #[test]
    fn rates_that_lie_beside_each_other_have_no_middle() {
        assert_eq!(rates(&plan(10.0, 11.0, 2, 9), 10.0), (vec![10.0, 11.0], Some(10.0)));
        assert_eq!(rates(&plan(10.0, 11.0, 9, 0), 100.0).0, [10.0, 11.0]);
    }

    #[test]
    fn a_rate_that_is_carried_behind_one_that_was_not_is_chance() {
        let mut search = Search::new(&plan(1_000.0, 8_000.0, 4, 1));
        for short in [None, Some(Short::Slow), None, None] {
            let rate = search.next().unwrap();
            search.note(rate, short);
        }
        assert_eq!(search.next(), Some(1_414.0), "between 1,000 and 2,000");
    }

    #[test]
    fn a_late_generator_says_nothing_against_a_faster_rate_that_is_carried() {
        let mut search = Search::new(&plan(1_000.0, 8_000.0, 4, 1));
        for short in [Some(Short::Late), None, Some(Short::Late), Some(Short::Slow)] {
            let rate = search.next().unwrap();
            search.note(rate, short);
        }
        assert_eq!(search.next(), Some(2_828.0), "between 2,000 and 4,000");
        // As long as none was carried two of them end the sweep.
        let mut search = Search::new(&plan(1_000.0, 8_000.0, 4, 1));
        for _ in 0..2 {
            let rate = search.next().unwrap();
            search.note(rate, Some(Short::Late));
        }
        assert_eq!(search.next(), None);
    }
}
