//! One measurement as a command: its words while it runs, its end by Ctrl-C, its report, its exit code.

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use serde_json::Value;
use waterpark_bench::Verdict;
use waterpark_bench::run::RunError;

use super::kept::Place;
use super::options::Output;
use crate::errors::{self, Coded};
use crate::failure::{Failure, code};
use crate::signals;

/// What was measured: for programs, for people, and what it is worth.
pub(super) type Measured = (Value, String, Verdict);

/// Measures, and ends with what was measured. `measure` is given whom to tell what goes on, and what to ask whether it goes on.
///
/// As [`by_verdict`]; 1: no measurement, or the result cannot be kept, 4: the cluster is not reached.
pub(super) fn carry_out(
    output: &Output,
    measure: impl FnOnce(&mut dyn FnMut(&str), &dyn Fn() -> bool) -> Result<Measured, RunError>,
) -> ExitCode {
    let place = match output.save.as_deref().map(Place::prepare).transpose() {
        Ok(place) => place,
        Err(error) => return Failure::Results(error).end(output.json),
    };
    let interrupted = match signals::catch_or_say() {
        Ok(caught) => caught.raise(),
        Err(code) => return code,
    };
    // Whoever read may have gone; the cluster is ended in order all the same.
    let mut say = |what: &str| drop(writeln!(std::io::stderr(), "{what}"));
    let measured = measure(&mut say, &|| !interrupted.load(Ordering::Relaxed));
    if let Err(error) = signals::end_with_reader() {
        tracing::debug!(%error, "a closed pipe will not end this command");
    }
    match measured {
        Ok((result, text, verdict)) => end(place, output.json, &result, &text, verdict),
        Err(error) => {
            errors::say(error.code(), &error);
            ExitCode::from(if matches!(error, RunError::Client(_)) { 4 } else { 1 })
        }
    }
}

/// Keeps a result, if it shall be kept, and says it.
fn end(place: Option<Place>, as_json: bool, result: &Value, text: &str, verdict: Verdict) -> ExitCode {
    // First, so that it is kept although nobody reads what is said.
    let kept = place.map(|place| place.keep(result)).transpose();
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
