//! The `waterpark` command.

mod sim;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A geo-replicated, RAM-resident, event-sourced actor database and data plane.
#[derive(Parser)]
#[command(name = "waterpark", version, arg_required_else_help = true)]
struct Waterpark {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run whole clusters in one thread on virtual time, with faults, and check what was acked
    Sim(sim::Arguments),
}

fn main() -> ExitCode {
    match Waterpark::parse().command {
        Command::Sim(arguments) => sim::run(&arguments),
    }
}
