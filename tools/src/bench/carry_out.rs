//! One measurement as a command: its words while it runs, its end by Ctrl-C, its report, its exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::Value;
use waterpark_bench::Verdict;
use waterpark_bench::run::RunError;

use super::kept::Place;
use super::options::Output;
use crate::errors::{self, Coded};
use crate::failure::{Failure, code};
use crate::signals;

/// What was measured.
pub(super) struct Measured {
    /// For programs.
    result: Value,
    /// For people.
    text: String,
    /// What it is worth.
    verdict: Verdict,
    /// All times in full, where the measurement keeps them.
    log: Option<io::Result<Vec<u8>>>,
}

impl From<(Value, String, Verdict)> for Measured {
    fn from((result, text, verdict): (Value, String, Verdict)) -> Measured {
        Measured {
            result,
            text,
            verdict,
            log: None,
        }
    }
}

impl Measured {
    /// With an interval log, if the result will be kept.
    pub(super) fn with_log(mut self, output: &Output, log: impl FnOnce() -> io::Result<Vec<u8>>) -> Measured {
        self.log = output.save.as_ref().map(|_| log());
        self
    }
}

/// Measures, and ends with what was measured. `measure` is given whom to tell what goes on, and what to ask whether it goes on.
///
/// As [`by_verdict`]; 1: no measurement, or the result cannot be kept, 4: the cluster is not reached.
pub(super) fn carry_out<M: Into<Measured>>(
    output: &Output,
    measure: impl FnOnce(&mut dyn FnMut(&str), &dyn Fn() -> bool) -> Result<M, RunError>,
) -> ExitCode {
    let place = match output.save.as_deref().map(Place::prepare).transpose() {
        Ok(place) => place,
        Err(error) => return Failure::Results(error).end(output.json),
    };
    match signals::attended(measure) {
        Err(code) => code,
        Ok(Ok(measured)) => end(place, output.json, measured.into()),
        Ok(Err(error)) => {
            errors::say(error.code(), &error);
            ExitCode::from(if matches!(error, RunError::Client(_)) { 4 } else { 1 })
        }
    }
}

/// Keeps a result, if it shall be kept, and says it.
fn end(place: Option<Place>, as_json: bool, measured: Measured) -> ExitCode {
    let Measured {
        result,
        text,
        verdict,
        log,
    } = measured;
    // First, so that it is kept although nobody reads what is said.
    let kept = place.map(|place| place.keep(&result, log)).transpose();
    if as_json {
        println!("{result}");
    } else {
        print!("{text}");
    }
    let by_verdict = by_verdict(verdict);
    match kept {
        Ok(None) => by_verdict,
        Ok(Some(path)) => {
            // Whoever reads stdout alone finds it by `bench ls`.
            drop(writeln!(std::io::stderr(), "kept in {}", path.display()));
            by_verdict
        }
        Err(error) => {
            // The object of the run stands on stdout already.
            errors::say(error.code(), &error);
            ExitCode::FAILURE
        }
    }
}

/// Says what a verdict means. 0: everything acked is held. 1: it is not. 11: INVALID.
fn by_verdict(verdict: Verdict) -> ExitCode {
    if let Some(code) = errors::of_verdict(verdict) {
        errors::say(code, &code.title);
    }
    match verdict {
        Verdict::Ok => ExitCode::SUCCESS,
        Verdict::Fail => ExitCode::FAILURE,
        Verdict::Invalid => ExitCode::from(code::INVALID),
    }
}
