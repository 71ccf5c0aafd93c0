//! What several measurements ask of their command lines.
//!
//! A value that means nothing is refused by the parser, with the option's name and what it may be. **Invariant:** what passes here can be
//! measured: no rate without instants, no message that no node takes.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use waterpark::config::{self, ConfigError, Duration};
use waterpark_bench::Target;
use waterpark_bench::arrivals::{Arrivals, BURST, LISTED_MAX, Trace};
use waterpark_bench::generators::{GeneratorProcesses, PROCESSES_MAX};
use waterpark_bench::reads::Level;
use waterpark_bench::skew::{EXPONENT_MAX, Skew};
use waterpark_bench::workload::{KV_BYTES, Kind, MESSAGE_BYTES_MIN};
use waterpark_core::config::Limits;

use super::{own_binary, usage};
use crate::errors::{self, Coded};
use crate::failure::code;
use crate::node::Driver;

/// More messages a second have no instants of their own: times are kept in nanoseconds.
const RATE_MAX: f64 = 1e9;
/// More messages at once are a closed loop of their own.
const BURST_MAX: u64 = 1_000_000;

/// What becomes of a result.
#[derive(Args)]
pub(super) struct Output {
    /// Keep the result in this folder, in a file of its own with what it ran on
    #[arg(long, value_name = "FOLDER")]
    pub(super) save: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// What is sent, how, and to whom.
#[derive(Args)]
pub(super) struct Load {
    /// Actors; a million, or with `overload` a thousand where nothing else is said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) actors: Option<u64>,
    /// Bytes of a message
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = message_bytes)]
    pub(super) message_bytes: usize,
    /// A message that is not acked for so long ends
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub(super) timeout: Duration,
    /// Measure from the first message on, without sending each actor one before
    #[arg(long)]
    pub(super) cold: bool,
    /// Kernel interface for the sockets of its own nodes
    #[arg(long, value_enum, default_value_t = Driver::Auto)]
    pub(super) driver: Driver,
    /// With `w128`, `hot-actor`, `cold-actors` and `kv`: processes that send, all from one instant on
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=PROCESSES_MAX))]
    pub(super) generators: u64,
    /// Measure a cluster that runs, described by this configuration
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

impl Load {
    /// Processes of its own, or the cluster that is named.
    pub(super) fn target(&self) -> Result<Target, ExitCode> {
        Ok(match &self.config {
            None => Target::Own {
                binary: own_binary()?,
                driver: self.driver.name().to_owned(),
            },
            Some(path) => match config::load(path, std::env::vars()) {
                Ok(loaded) => Target::Running {
                    key: loaded.key.as_ref().map_or([0; 32], |key| *key.as_bytes()),
                    config: Box::new(loaded.config),
                    path: path.clone(),
                },
                Err(error) => {
                    eprintln!("{error}");
                    return Err(ExitCode::from(ConfigError::EXIT_CODE));
                }
            },
        })
    }

    /// Processes that send, each with one message under way at least; none where this process does it alone.
    pub(super) fn generators(&self, closed: Option<usize>) -> Result<Option<GeneratorProcesses>, ExitCode> {
        let count = self.generators;
        if closed.is_some_and(|in_flight| (in_flight as u64) < count) {
            return usage(&format!(
                "each of {count} generator processes has a message under way at least: choose a larger --closed, or fewer --generators"
            ));
        }
        Ok(match count {
            1 => None,
            _ => Some(GeneratorProcesses {
                binary: own_binary()?,
                count,
            }),
        })
    }

    /// Workloads that have their own senders.
    pub(super) fn has_one_generator(&self, workload: &str) -> Result<(), ExitCode> {
        match self.generators {
            1 => Ok(()),
            _ => usage(&format!("{workload} has its own senders: leave out --generators")),
        }
    }

    /// The whole call of one message.
    pub(super) fn timeout_ms(&self) -> u32 {
        u32::try_from(self.timeout.as_us() / 1_000).unwrap_or(u32::MAX).max(1)
    }
}

/// Reads of keys beside what is put there.
#[derive(Args)]
pub(super) struct Reading {
    /// With `kv`: how many of a hundred are reads
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(super) reads: u8,
    /// With `kv`: what a read has to see
    #[arg(long, value_enum, default_value_t = Fresh::Session)]
    pub(super) read_level: Fresh,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Fresh {
    /// At any member, each in turn: what this client was acked before
    Session,
    /// At the writer: what anybody was acked before
    Linearizable,
}

impl Reading {
    /// The kind of messages of `kv`, if what it puts has a length that a register takes.
    pub(super) fn kind(&self, load: &Load) -> Result<Kind, ExitCode> {
        if !KV_BYTES.contains(&load.message_bytes) {
            return usage(&format!(
                "a message of kv has {} to {} bytes: it puts a value that a register takes, and that carries its number",
                KV_BYTES.start(),
                KV_BYTES.end()
            ));
        }
        Ok(Kind::Kv { reads: self.reads })
    }

    pub(super) fn level(&self) -> Level {
        match self.read_level {
            Fresh::Session => Level::Session,
            Fresh::Linearizable => Level::Linearizable,
        }
    }
}

/// Messages a second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (1.0..=RATE_MAX).contains(rate));
    rate.ok_or_else(|| format!("a rate is a number of messages a second from 1 to {RATE_MAX}"))
}

/// Bytes of a message.
pub(super) fn message_bytes(text: &str) -> Result<usize, String> {
    let most = Limits::default().message_bytes_max;
    let bytes = text
        .parse()
        .ok()
        .filter(|bytes| (MESSAGE_BYTES_MIN..=most).contains(bytes));
    bytes.ok_or_else(|| {
        format!("a message has {MESSAGE_BYTES_MIN} to {most} bytes: it carries its number and a check, and nodes take no longer one")
    })
}

/// When messages of an open loop arrive, as the command line says it: a trace is read later.
#[derive(Clone, Debug)]
pub(super) enum How {
    Constant,
    Poisson,
    Bursts(u64),
    Trace(PathBuf),
}

/// When messages of an open loop arrive.
pub(super) fn arrivals(text: &str) -> Result<How, String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    match (name, value) {
        ("constant", None) => Ok(How::Constant),
        ("poisson", None) => Ok(How::Poisson),
        ("bursts", None) => Ok(How::Bursts(BURST)),
        ("bursts", Some(count)) => {
            let count = count.parse().ok().filter(|count| (1..=BURST_MAX).contains(count));
            let count = count.ok_or_else(|| format!("a burst has 1 to {BURST_MAX} messages"))?;
            Ok(How::Bursts(count))
        }
        ("trace", Some(path)) if !path.is_empty() => Ok(How::Trace(path.into())),
        _ => Err("arrivals are constant, poisson, bursts, bursts=N or trace=FILE".to_owned()),
    }
}

impl How {
    /// The arrivals, with the trace if there is one. `most` is the rate and the time of the longest plan.
    pub(super) fn arrivals(&self, most: (f64, std::time::Duration)) -> Result<Arrivals, ExitCode> {
        let arrivals = match self {
            How::Constant => Arrivals::Constant,
            How::Poisson => Arrivals::Poisson,
            How::Bursts(count) => Arrivals::Bursts(*count),
            How::Trace(path) => match Trace::read(path) {
                Ok(trace) => Arrivals::Trace(trace),
                Err(error) => {
                    errors::say(error.code(), &error);
                    return Err(ExitCode::from(code::USAGE));
                }
            },
        };
        let (rate, time) = most;
        let planned = rate * time.as_secs_f64();
        if arrivals == Arrivals::Poisson && planned > LISTED {
            return usage(&format!(
                "{planned:.0} messages would be planned, and Poisson arrivals can be {LISTED_MAX}: choose a slower rate or a shorter time"
            ));
        }
        Ok(arrivals)
    }
}

#[expect(clippy::cast_precision_loss, reason = "below 2^53")]
const LISTED: f64 = LISTED_MAX as f64;

/// How messages are spread over groups.
pub(super) fn skew(text: &str) -> Result<Skew, String> {
    Skew::parse(text)
        .ok_or_else(|| format!("a skew is even, or zipf:S with a number S above 0, at most {EXPONENT_MAX}: zipf:1.2"))
}

/// How many there are of something: at least one.
pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| "it is a whole number, at least 1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_those_that_are_named() {
        let table = [
            ("constant", Some("constant")),
            ("poisson", Some("poisson")),
            ("bursts", Some("bursts=100")),
            ("bursts=7", Some("bursts=7")),
            ("bursts=0", None),
            ("bursts=", None),
            ("bursts=2000000", None),
            ("poisson=3", None),
            ("trace", None),
            ("trace=", None),
            ("random", None),
        ];
        let most = (1_000.0, std::time::Duration::from_secs(1));
        for (text, name) in table {
            let found = arrivals(text).ok().map(|how| how.arrivals(most).unwrap().name());
            assert_eq!(found.as_deref(), name, "{text}");
        }
        // Even ones need no memory, whatever their number.
        let many = (1e9, std::time::Duration::from_secs(3_600));
        for (text, fits) in [("constant", true), ("bursts", true), ("poisson", false)] {
            assert_eq!(arrivals(text).unwrap().arrivals(many).is_ok(), fits, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        for text in ["1", "0.5e3", "1000000000", "250.5"] {
            assert!(rate(text).is_ok(), "{text}");
        }
        for text in ["0", "0.9", "-5", "inf", "NaN", "1e300", "fast", ""] {
            assert!(rate(text).is_err(), "{text}");
        }
        for (text, bytes) in [
            ("24", Some(24)),
            ("1048576", Some(1 << 20)),
            ("23", None),
            ("1048577", None),
            ("x", None),
        ] {
            assert_eq!(message_bytes(text).ok(), bytes, "{text}");
        }
        for (text, fits) in [("even", true), ("zipf:1.2", true), ("zipf:0", false), ("zipf", false)] {
            assert_eq!(skew(text).is_ok(), fits, "{text}");
        }
        for (text, count) in [("1", Some(1)), ("0", None), ("-1", None), ("1.5", None)] {
            assert_eq!(at_least_one(text).ok(), count, "{text}");
        }
    }
}
