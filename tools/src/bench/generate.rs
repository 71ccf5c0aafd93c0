//! `waterpark bench generate`: one of several generator processes of a run, which whoever measures starts and tells what to send.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use waterpark::config::{self, ConfigError};
use waterpark_bench::generators::{ServeError, serve};

use crate::errors::{self, Coded};
use crate::failure::code;

/// The cluster.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Its configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// 0: whoever started it needs it no more. 1: it was told what it does not understand. 3: the configuration does not serve. 4: the cluster is not
/// reached.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let loaded = match config::load(&arguments.config, std::env::vars()) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(ConfigError::EXIT_CODE);
        }
    };
    let key = loaded.key.as_ref().map_or([0; 32], |key| *key.as_bytes());
    match serve(&loaded.config, key, io::stdin(), &mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever started it is gone, and needs to hear nothing.
        Err(ServeError::Told(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            errors::say(error.code(), &error);
            ExitCode::from(match error {
                ServeError::Client(_) => code::CANNOT_REACH,
                ServeError::Told(_) => code::FAILED,
            })
        }
    }
}
