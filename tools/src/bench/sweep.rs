//! `waterpark bench sweep`: which rate the cluster carries.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use waterpark::config::Duration;
use waterpark_bench::skew::Skew;
use waterpark_bench::sweep::{SweepPlan, TIMES, sweep};
use waterpark_bench::workload::Kind;
use waterpark_bench::{Pace, Plan};

use super::carry_out::{Measured, carry_out};
use super::options::{self, How, Load, Output, Reading};
use super::{ACTORS, KV_ACTORS, usage};

/// A shorter step than this says nothing.
const STEP_MIN: Duration = Duration::from_us(100_000);

/// Which rates, and what is sent at each.
#[derive(Args)]
pub(crate) struct Sweep {
    /// The slowest rate, in messages a second
    #[arg(long, value_name = "N", default_value_t = 10_000.0, value_parser = options::rate)]
    from: f64,
    /// The fastest rate
    #[arg(long, value_name = "N", default_value_t = 1_000_000.0, value_parser = options::rate)]
    to: f64,
    /// Rates from the slowest to the fastest, each by the same factor faster than the one before; two that are too fast end the way up
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(2..=100))]
    steps: u32,
    /// Further rates, each in the middle between the fastest that was carried and the slowest that was not
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=20))]
    refine: u32,
    /// What p99 of the response may be; five times the least of the slower rates where nothing is said
    #[arg(long, value_name = "TIME")]
    p99: Option<Duration>,
    /// How long to send at each rate
    #[arg(long = "for", value_name = "TIME", default_value = "5s")]
    time: Duration,
    /// When messages arrive at each rate: constant, poisson, bursts or bursts=N
    #[arg(long, value_name = "HOW", default_value = "constant", value_parser = options::arrivals)]
    arrivals: How,
    /// Which messages
    #[arg(long, value_enum, default_value_t = Work::W128)]
    workload: Work,
    #[command(flatten)]
    reading: Reading,
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    output: Output,
}

const _: () = assert!(TIMES == 5.0, "the help says five");

#[derive(Clone, Copy, ValueEnum)]
enum Work {
    /// 128 bytes to one of a million actors, uniformly
    W128,
    /// One actor gets everything
    HotActor,
    /// One message to each actor
    ColdActors,
    /// Values put under keys, and got: a `register` for each key
    Kv,
}

/// Exit codes are those of [`carry_out`], 2 for options that mean nothing, 3 for a configuration that does not serve.
pub(super) fn run(arguments: &Sweep) -> ExitCode {
    let plan = match plan(arguments) {
        Ok(plan) => plan,
        Err(code) => return code,
    };
    carry_out(&arguments.output, |say, go_on| {
        sweep(plan, say, go_on).map(|report| {
            let measured = Measured::from((report.to_json(), report.to_text(), report.verdict()));
            measured.with_log(&arguments.output, || report.to_log())
        })
    })
}

fn plan(arguments: &Sweep) -> Result<SweepPlan, ExitCode> {
    if arguments.to <= arguments.from {
        return usage(&format!(
            "--to {} is not more than --from {}: a sweep goes up",
            arguments.to, arguments.from
        ));
    }
    if arguments.time.as_us() < STEP_MIN.as_us() {
        return usage(&format!("--for is at least {STEP_MIN}: a shorter step says nothing"));
    }
    if arguments.p99.is_some_and(|limit| limit.as_us() == 0) {
        return usage("--p99 is more than nothing");
    }
    if matches!(arguments.arrivals, How::Trace(_)) {
        return usage("a trace has one rate, its own: a sweep has arrivals that are constant, poisson or bursts");
    }
    let time = std::time::Duration::from_micros(arguments.time.as_us());
    let kind = match arguments.workload {
        Work::W128 => Kind::W128,
        Work::HotActor => Kind::HotActor,
        Work::ColdActors => Kind::ColdActors,
        Work::Kv => arguments.reading.kind(&arguments.load)?,
    };
    let is_kv = matches!(kind, Kind::Kv { .. });
    Ok(SweepPlan {
        step: Plan {
            target: arguments.load.target()?,
            kind,
            actors: arguments.load.actors.unwrap_or(if is_kv { KV_ACTORS } else { ACTORS }),
            // Each step has its own.
            pace: Pace::Open(arguments.from),
            arrivals: arguments.arrivals.arrivals((arguments.to, time))?,
            time,
            message_bytes: arguments.load.message_bytes,
            timeout_ms: arguments.load.timeout_ms(),
            warm: (is_kv || kind == Kind::W128) && !arguments.load.cold,
            level: arguments.reading.level(),
            skew: Skew::Even,
            generators: arguments.load.generators(None)?,
        },
        from: arguments.from,
        to: arguments.to,
        steps: arguments.steps,
        refine: arguments.refine,
        p99_max: arguments
            .p99
            .map(|limit| std::time::Duration::from_micros(limit.as_us())),
    })
}
