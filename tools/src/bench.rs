//! `waterpark bench`: measurements, on five processes of its own or on a cluster that runs.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use clap::{Args, Subcommand, ValueEnum};
use waterpark::config::{self, ConfigError, Duration};
use waterpark_bench::workload::{Kind, MESSAGE_BYTES_MIN};
use waterpark_bench::{Pace, Plan, Target, Verdict, measure, run};

use crate::node::Driver;
use crate::signals;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Send one workload, measure it, and read everything acked back
    Run(Run),
}

#[derive(Args)]
pub(crate) struct Run {
    /// How long to send
    #[arg(long = "for", value_name = "TIME", default_value = "10s")]
    time: Duration,
    /// Open loop: so many messages a second, each at its planned instant
    #[arg(long, value_name = "N", default_value_t = 100_000.0, conflicts_with = "closed")]
    rate: f64,
    /// Closed loop: so many messages under way
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "8192")]
    closed: Option<usize>,
    /// Which messages
    #[arg(long, value_enum, default_value_t = Work::W128)]
    workload: Work,
    /// Actors
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    actors: u64,
    /// Bytes of a message
    #[arg(long, value_name = "N", default_value_t = 128)]
    message_bytes: usize,
    /// A message that is not acked for so long ends
    #[arg(long, value_name = "TIME", default_value = "10s")]
    timeout: Duration,
    /// Measure from the first message on, without sending each actor one before
    #[arg(long)]
    cold: bool,
    /// Kernel interface for the sockets of its own nodes
    #[arg(long, value_enum, default_value_t = Driver::Auto)]
    driver: Driver,
    /// Measure a cluster that runs, described by this configuration
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Work {
    /// 128 bytes to one of a million actors, uniformly
    W128,
    /// One actor gets everything
    HotActor,
    /// One message to each actor
    ColdActors,
}

/// 0: everything acked is held and the generator kept to its plan. 1: FAIL, or no measurement. 2: options that mean nothing. 3: the
/// configuration does not serve. 5: INVALID.
pub(crate) fn run(command: &Command) -> ExitCode {
    let Command::Run(arguments) = command;
    let plan = match plan(arguments) {
        Ok(plan) => plan,
        Err(code) => return code,
    };
    let interrupted = match signals::catch() {
        Ok(caught) => caught.raise(),
        Err(error) => {
            eprintln!("error: signals cannot be caught: {error}");
            return ExitCode::FAILURE;
        }
    };
    // Whoever read may have gone; the cluster is stopped in order all the same.
    let say = |what: &str| drop(writeln!(std::io::stderr(), "{what}"));
    let measured = measure(plan, say, || !interrupted.load(Ordering::Relaxed));
    if let Err(error) = signals::end_with_reader() {
        tracing::debug!(%error, "a closed pipe will not end this command");
    }
    match measured {
        Ok(report) => {
            if arguments.json {
                println!("{}", report.to_json());
            } else {
                print!("{}", report.to_text());
            }
            match report.verdict {
                Verdict::Ok => ExitCode::SUCCESS,
                Verdict::Fail => ExitCode::FAILURE,
                Verdict::Invalid => ExitCode::from(5),
            }
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if matches!(error, run::RunError::Client(_)) {
                4
            } else {
                1
            })
        }
    }
}

fn plan(arguments: &Run) -> Result<Plan, ExitCode> {
    let usage = |text: &str| {
        eprintln!("error: {text}");
        Err(ExitCode::from(2))
    };
    if arguments.message_bytes < MESSAGE_BYTES_MIN {
        return usage(&format!(
            "--message-bytes is at least {MESSAGE_BYTES_MIN}: a message carries its number and a check"
        ));
    }
    if arguments.actors == 0 || arguments.rate.is_nan() || arguments.rate < 1.0 || arguments.closed == Some(0) {
        return usage("--actors, --rate and --closed are at least 1");
    }
    let target = match &arguments.config {
        None => {
            let binary = match std::env::current_exe() {
                Ok(binary) => binary,
                Err(error) => return usage(&format!("the path of this program cannot be found: {error}")),
            };
            Target::Own {
                binary,
                driver: arguments.driver.name().to_owned(),
            }
        }
        Some(path) => match config::load(path, std::env::vars()) {
            Ok(loaded) => Target::Running {
                key: loaded.key.as_ref().map_or([0; 32], |key| *key.as_bytes()),
                config: Box::new(loaded.config),
            },
            Err(error) => {
                eprintln!("{error}");
                return Err(ExitCode::from(ConfigError::EXIT_CODE));
            }
        },
    };
    let kind = match arguments.workload {
        Work::W128 => Kind::W128,
        Work::HotActor => Kind::HotActor,
        Work::ColdActors => Kind::ColdActors,
    };
    Ok(Plan {
        target,
        kind,
        actors: arguments.actors,
        pace: arguments.closed.map_or(Pace::Open(arguments.rate), Pace::Closed),
        time: std::time::Duration::from_micros(arguments.time.as_us()),
        message_bytes: arguments.message_bytes,
        timeout_ms: u32::try_from(arguments.timeout.as_us() / 1_000)
            .unwrap_or(u32::MAX)
            .max(1),
        warm: kind == Kind::W128 && !arguments.cold,
    })
}
