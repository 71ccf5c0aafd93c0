//! From a work's report to the figures that it is for.

use std::time::Duration;

use super::part::{Part, Work};
use super::{FiguresPlan, Taken, followers, placement};
use crate::arrivals::Arrivals;
use crate::failover::{self, FailoverPlan, RefillPlan, Scenario};
use crate::overload::{self, Confined, Cores, OverloadPlan};
use crate::reads::Level;
use crate::report::{Figure, Report, per};
use crate::run::{self, IN_FLIGHT, Pace, Plan, RunError, Target, Verdict};
use crate::skew::Skew;
use crate::workload::Kind;

/// Actors of all works but those that have a reason for another number.
const ACTORS: u64 = 1_000_000;
/// Bytes of a message.
pub(super) const MESSAGE_BYTES: usize = 128;
/// The whole call of one message, in ms.
pub(super) const TIMEOUT_MS: u32 = 10_000;
/// Nodes that are killed one after another by one work, each back before the next.
const KILLS: u32 = 3;
/// Keys that are written all the time meanwhile.
const KEYS: u64 = 240;
/// A key's messages are due no faster than this.
const EVERY: Duration = Duration::from_millis(20);
/// Groups of the cluster whose nodes are killed.
const GROUPS: u32 = 64;
/// What each node holds when one begins again with nothing, and the messages a second meanwhile.
const FILL: u64 = 512 << 20;
const REFILL_RATE: f64 = 5_000.0;

pub(super) fn carry_out(
    work: Work,
    plan: &FiguresPlan,
    say: &mut impl FnMut(&str),
    go_on: &impl Fn() -> bool,
) -> Result<Taken, RunError> {
    let mut run = |kind, pace| run::measure(run_plan(plan, kind, pace), &mut *say, go_on);
    let closed = Pace::Closed(IN_FLIGHT);
    Ok(match work {
        Work::Saturated => of_run(&run(Kind::W128, closed)?, |report| {
            let links = named(&report.figures(), "bytes on links");
            vec![
                (Part::Rate, Some(report.acked_per_s())),
                (Part::CpuSaturated, report.cpu_ns_per_message()),
                (Part::LinkBytes, links),
            ]
        }),
        Work::Planned => of_run(&run(Kind::W128, Pace::Open(100_000.0))?, |report| {
            let figures = report.figures();
            vec![
                (Part::P50, named(&figures, "response p50")),
                (Part::P99, named(&figures, "response p99")),
                (Part::P999, named(&figures, "response p99.9")),
            ]
        }),
        Work::Quiet => of_run(&run(Kind::W128, Pace::Open(1_000.0))?, |report| {
            vec![(Part::CpuQuiet, report.cpu_ns_per_message())]
        }),
        Work::Cold => {
            let report = run(Kind::ColdActors, closed)?;
            let mut taken = of_run(&report, |report| {
                vec![(Part::IdleActor, named(&report.figures(), "idle actor beside its data"))]
            });
            if report.measured.acked < ACTORS {
                let few = format!("only {} of {ACTORS} actors got their message", report.measured.acked);
                taken.flaw.get_or_insert(few);
            }
            taken
        }
        Work::Hot => of_run(&run(Kind::HotActor, closed)?, |report| {
            vec![
                (Part::HotRate, Some(report.acked_per_s())),
                (Part::FollowerCpu, named(&report.figures(), "follower's cpu")),
            ]
        }),
        Work::KilledFar => killed(plan, true, say, go_on)?,
        Work::KilledNear => killed(plan, false, say, go_on)?,
        Work::Cores => cores(plan, say, go_on)?,
        Work::Refill => refill(plan, say, go_on)?,
        Work::Overload => overloaded(plan, say, go_on)?,
        Work::Stopped => followers::measure(plan, say, go_on)?,
        Work::Placement => placement::measure(),
    })
}

fn run_plan(plan: &FiguresPlan, kind: Kind, pace: Pace) -> Plan {
    Plan {
        target: Target::Own {
            binary: plan.binary.clone(),
            driver: plan.driver.clone(),
        },
        kind,
        actors: ACTORS,
        pace,
        arrivals: Arrivals::Constant,
        time: plan.time,
        message_bytes: MESSAGE_BYTES,
        timeout_ms: TIMEOUT_MS,
        warm: kind == Kind::W128,
        level: Level::Session,
        skew: Skew::Even,
        generators: None,
    }
}

fn of_run(report: &Report, values: impl FnOnce(&Report) -> Vec<(Part, Option<f64>)>) -> Taken {
    Taken::of(report.verdict, there(values(report)))
}

/// Those that have a value.
fn there(values: Vec<(Part, Option<f64>)>) -> Vec<(Part, f64)> {
    let there = values.into_iter().filter_map(|(part, value)| Some((part, value?)));
    there.collect()
}

fn named(figures: &[Figure], name: &str) -> Option<f64> {
    figures
        .iter()
        .find(|figure| figure.name == name)
        .map(|figure| figure.value)
}

/// Queues are what is overloaded, as where `bench run --workload overload` is told nothing else.
fn overloaded(plan: &FiguresPlan, say: &mut impl FnMut(&str), go_on: &impl Fn() -> bool) -> Result<Taken, RunError> {
    let plan = OverloadPlan {
        binary: plan.binary.clone(),
        driver: plan.driver.clone(),
        actors: overload::ACTORS,
        message_bytes: MESSAGE_BYTES,
        time: plan.time,
        timeout_ms: TIMEOUT_MS,
        sessions: overload::SESSIONS,
        in_flight: overload::in_flight(overload::WAITING),
        cores: Cores::Split,
        round_trip: Duration::from_micros(overload::ROUND_TRIP_US),
        waiting: overload::WAITING,
    };
    let report = overload::measure(plan, say, go_on)?;
    let figures = report.figures();
    let goodput = named(&figures, "goodput, by the capacity");
    let refusal = (report.tally.refused > 0)
        .then(|| named(&figures, "refusal p99"))
        .flatten();
    let mut taken = Taken::of(
        report.verdict,
        there(vec![
            (Part::Goodput, goodput),
            (Part::Memory, Some(report.growth_percent())),
            (Part::Refusal, refusal),
        ]),
    );
    if !report.is_overload() {
        taken
            .flaw
            .get_or_insert("less was offered than five times the capacity".to_owned());
    }
    Ok(taken)
}

fn killed(
    plan: &FiguresPlan,
    far: bool,
    say: &mut impl FnMut(&str),
    go_on: &impl Fn() -> bool,
) -> Result<Taken, RunError> {
    let plan = FailoverPlan {
        binary: plan.binary.clone(),
        driver: plan.driver.clone(),
        scenarios: vec![Scenario::Kill],
        times: KILLS,
        keys: KEYS,
        every: EVERY,
        groups: GROUPS,
        far,
        logs: None,
    };
    let report = failover::measure(plan, say, go_on)?;
    let (p99, lost) = match far {
        true => (Part::KilledFarP99, Part::KilledFarLost),
        false => (Part::KilledNearP99, Part::KilledNearLost),
    };
    let figures = report.scenarios.first().map(failover::ScenarioReport::figures);
    let figures = figures.unwrap_or_default();
    let values = vec![
        (p99, named(&figures, "unavailability p99")),
        (lost, named(&figures, "lost")),
    ];
    let mut taken = Taken::of(report.verdict(), there(values));
    if !report.is_complete() {
        let said = "not every node that was to be killed was: the cluster was not whole in time";
        taken.flaw.get_or_insert(said.to_owned());
    }
    Ok(taken)
}

/// Five nodes and the generator share one core, then two: nothing of the machine is left out of either.
fn cores(plan: &FiguresPlan, say: &mut impl FnMut(&str), go_on: &impl Fn() -> bool) -> Result<Taken, RunError> {
    let cores = overload::own_cores()?;
    let (Some(one), Some(two)) = (cores.get(..1), cores.get(..2)) else {
        return Ok(Taken {
            flaw: Some("no measurement: this process may use one core alone".to_owned()),
            ..Taken::default()
        });
    };
    let closed = Pace::Closed(IN_FLIGHT);
    let mut on = |cores: &[usize]| -> Result<(f64, Verdict), RunError> {
        say(&format!("cores {cores:?}"));
        let _confined = Confined::to(cores)?;
        let report = run::measure(run_plan(plan, Kind::W128, closed), &mut *say, go_on)?;
        Ok((report.acked_per_s(), report.verdict))
    };
    let (on_one, verdict_of_one) = on(one)?;
    let (on_two, verdict_of_two) = on(two)?;
    let verdict = match verdict_of_one {
        Verdict::Ok => verdict_of_two,
        other => other,
    };
    let ratio = on_two / (2.0 * on_one).max(1e-9);
    Ok(Taken::of(verdict, vec![(Part::TwoCores, ratio)]))
}

fn refill(plan: &FiguresPlan, say: &mut impl FnMut(&str), go_on: &impl Fn() -> bool) -> Result<Taken, RunError> {
    let plan = RefillPlan {
        binary: plan.binary.clone(),
        driver: plan.driver.clone(),
        fill: FILL,
        rate: REFILL_RATE,
        message_bytes: MESSAGE_BYTES,
        calm: plan.time,
        again: true,
    };
    let report = failover::refill(plan, say, go_on)?;
    let given = per(report.held, 1_000_000_000) / report.took.as_secs_f64().max(1e-9);
    let values = vec![
        (Part::Given, report.whole.then_some(given)),
        (Part::GivenTail, named(&report.figures(), "p99.9, by the calm")),
        (Part::GivenLost, Some(per(report.findings.lost, 1))),
    ];
    let mut taken = Taken::of(report.verdict, there(values));
    if !report.whole {
        taken.flaw.get_or_insert("not all copies came back in time".to_owned());
    }
    Ok(taken)
}
