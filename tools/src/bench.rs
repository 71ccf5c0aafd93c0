//! `waterpark bench`: measurements, on five processes of its own or on a cluster that runs.

mod carry_out;
mod compare;
mod environment;
mod error;
mod failover;
mod figures;
mod generate;
mod kept;
mod ls;
mod options;
mod page;
mod peers;
mod refill;
mod sweep;
mod twelve;
mod with_parent;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use waterpark::config::{CommandCode, Duration};
use waterpark_bench::arrivals::Arrivals;
use waterpark_bench::mllp::{self, Hl7Plan};
use waterpark_bench::noisy::{self, NoisyPlan};
use waterpark_bench::overload::{self, Cores, OverloadPlan};
use waterpark_bench::skew::{self, Skew};
use waterpark_bench::workload::Kind;
use waterpark_bench::{Pace, Plan, measure};

use crate::errors;
use carry_out::{Measured, carry_out};
use options::{How, Load, Output, Reading};

#[cfg(test)]
pub(crate) use error::Flaw;
pub(crate) use error::ResultsError;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Send one workload, measure it, and read everything acked back
    Run(Run),
    /// Send one workload at one rate after the other, and find the fastest that the cluster carries
    Sweep(sweep::Sweep),
    /// Kill, stop and drain nodes of a cluster of eight, measure what it costs each key, and read everything acked back
    Failover(failover::Arguments),
    /// Lose one of eight nodes that hold something, beside messages at planned instants, and measure how its copies come back
    Refill(refill::Arguments),
    /// Measure the twelve figures, each with its target, the range of its runs and whether it is met
    Figures(twelve::Arguments),
    /// Measure Redis, NATS, PostgreSQL, etcd, RabbitMQ and process pairs on Erlang beside Waterpark, as far as the host has them
    Peers(peers::Arguments),
    /// Say what changed between kept results, and fail if a figure became worse
    Compare(compare::Arguments),
    /// Show kept results as one page that needs nothing beside itself
    Report(page::Arguments),
    /// List the results that were kept in a folder
    Ls(ls::Arguments),
    /// Send a part of a run's messages, as whoever started this tells
    #[command(hide = true)]
    Generate(generate::Arguments),
    /// Run a program that ends when whoever started this does
    #[command(hide = true)]
    WithParent(with_parent::Arguments),
}

#[derive(Args)]
pub(crate) struct Run {
    /// How long to send; 10s where nothing else is said, or as long as a trace is
    #[arg(long = "for", value_name = "TIME")]
    time: Option<Duration>,
    /// Open loop: so many messages a second, each at its planned instant; 100,000 where nothing else is said
    #[arg(long, value_name = "N", conflicts_with = "closed", value_parser = options::rate)]
    rate: Option<f64>,
    /// Closed loop: so many messages under way
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "8192", value_parser = options::at_least_one)]
    closed: Option<usize>,
    /// Open loop: when messages arrive: constant, poisson, bursts, bursts=N or trace=FILE
    #[arg(long, value_name = "HOW", default_value = "constant", conflicts_with = "closed", value_parser = options::arrivals)]
    arrivals: How,
    /// Which messages
    #[arg(long, value_enum, default_value_t = Work::W128)]
    workload: Work,
    /// With `w128` and `kv`: how messages are spread over groups: even, or zipf:S for a chance of 1 / r to the power of S for the group of rank r
    #[arg(long, value_name = "HOW", default_value = "even", value_parser = options::skew)]
    skew: Skew,
    #[command(flatten)]
    load: Load,
    #[command(flatten)]
    reading: Reading,
    /// With `overload` and `noisy-neighbour`: who runs on which cores
    #[arg(long, value_enum, default_value_t = CoresOf::Split)]
    cores: CoresOf,
    /// With `overload` and `noisy-neighbour`: sessions that offer, each with its own connections
    #[arg(long, value_name = "N", default_value_t = overload::SESSIONS, value_parser = options::at_least_one)]
    sessions: usize,
    /// With `overload` and `noisy-neighbour`: how far apart data centres are, there and back
    #[arg(long, value_name = "TIME", default_value_t = Duration::from_us(overload::ROUND_TRIP_US))]
    round_trip: Duration,
    /// With `overload` and `noisy-neighbour`: how many requests may wait for their commit in a shard, at most
    #[arg(long, value_name = "N", default_value_t = overload::WAITING, value_parser = waiting())]
    waiting: u32,
    #[command(flatten)]
    output: Output,
}

/// How long messages are sent, where nothing else is said.
const TIME: std::time::Duration = std::time::Duration::from_secs(10);
/// Messages a second of an open loop, where nothing else is said.
const RATE: f64 = 100_000.0;
/// Connections of the workload `hl7`.
const HL7_CONNECTIONS: usize = 1_000;

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
    /// A hospital's messages over MLLP, on 1,000 connections with one in flight each, or at `--rate`
    Hl7,
    /// Five times what a closed loop finds that the cluster can take
    Overload,
    /// The same beside others who send `--rate`, a thousand a second where nothing is said: what those notice
    NoisyNeighbour,
}

#[derive(Clone, Copy, ValueEnum)]
enum CoresOf {
    /// The generator has one, the nodes have the others
    Split,
    /// All share all
    Shared,
}

/// 0: everything acked is held and the generator kept to its plan. 1: FAIL, or no measurement. 2: options that mean nothing. 3: the
/// configuration does not serve. 11: INVALID.
pub(crate) fn run(command: &Command) -> ExitCode {
    let arguments = match command {
        Command::Run(arguments) => arguments,
        Command::Sweep(arguments) => return sweep::run(arguments),
        Command::Failover(arguments) => return failover::run(arguments),
        Command::Refill(arguments) => return refill::run(arguments),
        Command::Figures(arguments) => return twelve::run(arguments),
        Command::Compare(arguments) => return compare::run(arguments),
        Command::Report(arguments) => return page::run(arguments),
        Command::Ls(arguments) => return ls::run(arguments),
        Command::Peers(arguments) => return peers::run(arguments),
        Command::Generate(arguments) => return generate::run(arguments),
        Command::WithParent(arguments) => return with_parent::run(arguments),
    };
    let wanted = match arguments.workload {
        Work::Overload => overload_plan(arguments, "overload").map(Wanted::Overload),
        Work::NoisyNeighbour => noisy_plan(arguments).map(Wanted::Noisy),
        Work::Hl7 => hl7_plan(arguments).map(Wanted::Hl7),
        _ => plan(arguments).map(Wanted::Run),
    };
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(code) => return code,
    };
    let output = &arguments.output;
    carry_out(output, |say, go_on| match wanted {
        Wanted::Run(plan) => measure(plan, say, go_on).map(|report| {
            let measured = Measured::from((report.to_json(), report.to_text(), report.verdict));
            measured.with_log(output, || report.to_log())
        }),
        Wanted::Hl7(plan) => mllp::measure(plan, say, go_on)
            .map(|report| Measured::from((report.to_json(), report.to_text(), report.verdict))),
        Wanted::Noisy(plan) => noisy::measure(plan, say, go_on).map(|report| {
            let measured = Measured::from((report.to_json(), report.to_text(), report.verdict));
            measured.with_log(output, || report.to_log())
        }),
        Wanted::Overload(plan) => overload::measure(plan, say, go_on).map(|report| {
            let measured = Measured::from((report.to_json(), report.to_text(), report.verdict));
            measured.with_log(output, || report.to_log())
        }),
    })
}

/// What is measured.
enum Wanted {
    Run(Plan),
    Hl7(Hl7Plan),
    Overload(OverloadPlan),
    Noisy(NoisyPlan),
}

pub(crate) fn usage<T>(text: &str) -> Result<T, ExitCode> {
    errors::say(CommandCode::OptionRange.entry(), &text);
    Err(ExitCode::from(2))
}

fn waiting() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(16..=i64::from(waterpark::config::WAITING_MAX))
}

impl Run {
    fn time(&self) -> std::time::Duration {
        self.time
            .map_or(TIME, |time| std::time::Duration::from_micros(time.as_us()))
    }

    /// Workloads whose instants are planned by themselves.
    fn are_constant(&self, workload: &str) -> Result<(), ExitCode> {
        match self.arrivals {
            How::Constant => Ok(()),
            _ => usage(&format!("{workload} has constant arrivals: leave out --arrivals")),
        }
    }

    /// Workloads that choose their actors by themselves.
    fn is_even(&self, workload: &str) -> Result<(), ExitCode> {
        match self.skew {
            Skew::Even => Ok(()),
            Skew::Zipf(_) => usage(&format!("{workload} has its own order of actors: leave out --skew")),
        }
    }
}

/// How many actors there are where nothing is said.
const ACTORS: u64 = 1_000_000;
/// And with `kv`: each has a state of its own beside its log.
const KV_ACTORS: u64 = 100_000;

fn noisy_plan(arguments: &Run) -> Result<NoisyPlan, ExitCode> {
    Ok(NoisyPlan {
        noise: overload_plan(arguments, "noisy-neighbour")?,
        rate: arguments.rate.unwrap_or(noisy::RATE),
    })
}

fn overload_plan(arguments: &Run, workload: &str) -> Result<OverloadPlan, ExitCode> {
    if arguments.load.config.is_some() {
        return usage(&format!(
            "{workload} is measured on nodes of its own: others would be overloaded"
        ));
    }
    arguments.are_constant(workload)?;
    arguments.is_even(workload)?;
    arguments.load.has_one_generator(workload)?;
    Ok(OverloadPlan {
        binary: own_binary()?,
        driver: arguments.load.driver.name().to_owned(),
        actors: arguments.load.actors.unwrap_or(overload::ACTORS),
        message_bytes: arguments.load.message_bytes,
        time: arguments.time(),
        timeout_ms: arguments.load.timeout_ms(),
        sessions: arguments.sessions,
        round_trip: std::time::Duration::from_micros(arguments.round_trip.as_us()),
        waiting: arguments.waiting,
        in_flight: arguments
            .closed
            .map_or_else(|| overload::in_flight(arguments.waiting), |wanted| vec![wanted]),
        cores: match arguments.cores {
            CoresOf::Split => Cores::Split,
            CoresOf::Shared => Cores::Shared,
        },
    })
}

/// Without `--rate` as fast as acks come back; `--closed` says on how many connections.
fn hl7_plan(arguments: &Run) -> Result<Hl7Plan, ExitCode> {
    if arguments.load.config.is_some() {
        return usage("hl7 is measured on nodes of its own");
    }
    arguments.are_constant("hl7")?;
    arguments.is_even("hl7")?;
    arguments.load.has_one_generator("hl7")?;
    let pace = match arguments.rate {
        Some(rate) => mllp::Pace::Open { rate },
        None => mllp::Pace::Closed,
    };
    Ok(Hl7Plan {
        binary: own_binary()?,
        driver: arguments.load.driver.name().to_owned(),
        time: arguments.time(),
        connections: arguments.closed.unwrap_or(HL7_CONNECTIONS),
        pace,
        seed: 1,
    })
}

fn own_binary() -> Result<PathBuf, ExitCode> {
    match std::env::current_exe() {
        Ok(binary) => Ok(binary),
        Err(error) => usage(&format!("the path of this program cannot be found: {error}")),
    }
}

fn plan(arguments: &Run) -> Result<Plan, ExitCode> {
    let kind = match arguments.workload {
        Work::W128 | Work::Hl7 | Work::Overload | Work::NoisyNeighbour => Kind::W128,
        Work::HotActor => Kind::HotActor,
        Work::ColdActors => Kind::ColdActors,
        Work::Kv => arguments.reading.kind(&arguments.load)?,
    };
    let is_kv = matches!(kind, Kind::Kv { .. });
    let actors = arguments.load.actors.unwrap_or(if is_kv { KV_ACTORS } else { ACTORS });
    if !is_kv && kind != Kind::W128 {
        arguments.is_even(kind.name())?;
    }
    if arguments.skew != Skew::Even && actors > skew::ACTORS_MAX {
        return usage(&format!(
            "with --skew there are at most {} actors, since each has its place in a table: --actors is {actors}",
            skew::ACTORS_MAX
        ));
    }
    let rate = arguments.rate.unwrap_or(RATE);
    let arrivals = arguments.arrivals.arrivals((rate, arguments.time()))?;
    let (rate, time) = match (&arrivals, arguments.rate) {
        (Arrivals::Trace(_), Some(_)) => return usage("a trace has its own rate: leave out --rate"),
        (Arrivals::Trace(trace), None) if arguments.time.is_some() => (trace.rate(), arguments.time()),
        (Arrivals::Trace(trace), None) => (trace.rate(), trace.length()),
        (_, _) => (rate, arguments.time()),
    };
    Ok(Plan {
        target: arguments.load.target()?,
        kind,
        actors,
        pace: arguments.closed.map_or(Pace::Open(rate), Pace::Closed),
        arrivals,
        time,
        message_bytes: arguments.load.message_bytes,
        timeout_ms: arguments.load.timeout_ms(),
        warm: (is_kv || kind == Kind::W128) && !arguments.load.cold,
        level: arguments.reading.level(),
        skew: arguments.skew,
        generators: arguments.load.generators(arguments.closed)?,
    })
}
