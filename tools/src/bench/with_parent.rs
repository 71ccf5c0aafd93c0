//! `waterpark bench with-parent`: a program in this process's place, which the kernel ends when the parent is gone. Peers are started so: they know
//! nothing of whoever measures them.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use clap::Args;
use waterpark::config::MeasuringCode;

use crate::{errors, signals};

/// What to run.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The program, and what it is told
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    program: Vec<OsString>,
}

/// Does not come back if the program can be started.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let Some((program, told)) = arguments.program.split_first() else {
        return ExitCode::from(2);
    };
    let cause = match signals::end_with_parent() {
        Ok(()) => Command::new(program).args(told).exec(),
        Err(error) => error,
    };
    let text = format!("{} cannot be started: {cause}", program.display());
    errors::say(MeasuringCode::Spawn.entry(), &text);
    ExitCode::FAILURE
}
