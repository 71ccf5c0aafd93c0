//! The `waterpark` command.

mod bench;
mod config;
mod init;
mod log;
mod node;
mod signals;
mod sim;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use waterpark_reactor::allocations::CountingAllocator;

/// A geo-replicated, RAM-resident, event-sourced actor database and data plane.
#[derive(Parser)]
#[command(name = "waterpark", version, arg_required_else_help = true)]
struct Waterpark {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write the files of a new cluster
    Init(init::Arguments),
    /// Run one node in the foreground
    Node(node::Arguments),
    /// Look at a configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Measure
    #[command(subcommand)]
    Bench(bench::Command),
    /// Run whole clusters in one thread on virtual time, with faults, and check what was acked
    Sim(sim::Arguments),
}

// Group logs and buffers have arenas of their own; this serves everything else.
#[global_allocator]
static ALLOCATOR: CountingAllocator<mimalloc::MiMalloc> = CountingAllocator(mimalloc::MiMalloc);

fn main() -> ExitCode {
    match Waterpark::parse().command {
        Command::Init(arguments) => init::run(&arguments),
        Command::Node(arguments) => node::run(&arguments),
        Command::Config(command) => config::run(&command),
        Command::Bench(command) => bench::run(&command),
        Command::Sim(arguments) => sim::run(&arguments),
    }
}
