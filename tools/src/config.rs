//! `waterpark config`: what a configuration says, and what is wrong with it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;
use waterpark::config::{self, ConfigError};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Read a configuration and everything it names, and say what is wrong with it
    Check(Check),
}

#[derive(Args)]
pub(crate) struct Check {
    /// The cluster's configuration
    #[arg(value_name = "FILE", default_value = "cluster.toml")]
    file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// 0: it serves, perhaps with warnings. 3: it does not.
pub(crate) fn run(command: &Command) -> ExitCode {
    let Command::Check(check) = command;
    match config::load(&check.file, std::env::vars()) {
        Ok(loaded) => {
            if check.json {
                let warnings: Vec<_> = loaded.warnings.iter().map(config::Problem::to_json).collect();
                let object = json!({
                    "schema": "waterpark.config_check.1", "complete": true, "problems": warnings,
                    "nodes": loaded.config.nodes.len(), "groups": loaded.config.groups,
                });
                println!("{object}");
            } else {
                for warning in &loaded.warnings {
                    eprintln!("{warning}\n");
                }
                let (nodes, groups) = (loaded.config.nodes.len(), loaded.config.groups);
                println!("{}: {nodes} nodes, {groups} groups; it serves", check.file.display());
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            if check.json {
                println!("{}", error.to_json());
            } else {
                eprintln!("{error}");
            }
            ExitCode::from(ConfigError::EXIT_CODE)
        }
    }
}
