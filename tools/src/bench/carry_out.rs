//! One measurement as a command: its words while it runs, its end by Ctrl-C, its report, its exit code.

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use serde_json::Value;
use waterpark_bench::Verdict;
use waterpark_bench::run::RunError;

use crate::errors::{self, Coded};
use crate::signals;

/// Measures, and ends with what was measured. `measure` is given whom to tell what goes on, and what to ask whether it goes on.
///
/// As [`by_verdict`], or as `end` says; 1: no measurement, 4: the cluster is not reached.
pub(super) fn carry_out<R>(
    measure: impl FnOnce(&mut dyn FnMut(&str), &dyn Fn() -> bool) -> Result<R, RunError>,
    end: impl FnOnce(R) -> ExitCode,
) -> ExitCode {
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
        Ok(measured) => end(measured),
        Err(error) => {
            errors::say(error.code(), &error);
            ExitCode::from(if matches!(error, RunError::Client(_)) { 4 } else { 1 })
        }
    }
}

/// Says what a verdict means. 0: everything acked is held. 1: it is not. 5: INVALID.
pub(super) fn by_verdict(verdict: Verdict) -> ExitCode {
    if let Some(code) = errors::of_verdict(verdict) {
        errors::say(code, &code.title);
    }
    match verdict {
        Verdict::Ok => ExitCode::SUCCESS,
        Verdict::Fail => ExitCode::FAILURE,
        Verdict::Invalid => ExitCode::from(5),
    }
}

/// Prints a report, as one object or in words.
pub(super) fn print(as_json: bool, object: &Value, text: &str) {
    if as_json {
        println!("{object}");
    } else {
        print!("{text}");
    }
}
