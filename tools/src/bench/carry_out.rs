//! One measurement as a command: its words while it runs, its end by Ctrl-C, its report, its exit code.

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use waterpark_bench::Verdict;
use waterpark_bench::run::RunError;

use crate::errors::{self, Coded};
use crate::signals;

/// Measures, and prints what `measure` makes of it. It is given whom to tell what goes on, and what to ask whether it goes on.
///
/// 0: everything acked is held. 1: FAIL, or no measurement. 4: the cluster is not reached. 5: INVALID.
pub(super) fn carry_out(
    measure: impl FnOnce(&mut dyn FnMut(&str), &dyn Fn() -> bool) -> Result<(String, Verdict), RunError>,
) -> ExitCode {
    let interrupted = match signals::catch_or_say() {
        Ok(caught) => caught.raise(),
        Err(code) => return code,
    };
    // Whoever read may have gone; the cluster is ended all the same.
    let mut say = |what: &str| drop(writeln!(std::io::stderr(), "{what}"));
    let measured = measure(&mut say, &|| !interrupted.load(Ordering::Relaxed));
    if let Err(error) = signals::end_with_reader() {
        tracing::debug!(%error, "a closed pipe will not end this command");
    }
    match measured {
        Ok((text, verdict)) => {
            print!("{text}");
            if let Some(code) = errors::of_verdict(verdict) {
                errors::say(code, &code.title);
            }
            match verdict {
                Verdict::Ok => ExitCode::SUCCESS,
                Verdict::Fail => ExitCode::FAILURE,
                Verdict::Invalid => ExitCode::from(5),
            }
        }
        Err(error) => {
            errors::say(error.code(), &error);
            ExitCode::from(if matches!(error, RunError::Client(_)) { 4 } else { 1 })
        }
    }
}
