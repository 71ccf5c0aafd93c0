//! The `waterpark` command as a library: the command line, each subcommand, and the exit code that it ends with.
//!
//! It deliberately does not choose an allocator: the binary does. So a test can own a binary that takes exactly the
//! command line that operators type.

mod actor;
mod bench;
mod config;
mod connect;
mod demo;
mod demo_screen;
mod doctor;
mod drill;
mod errors;
mod failure;
mod host;
mod init;
mod latency;
mod log;
mod node;
mod placement;
mod send;
mod show;
mod signals;
mod sim;
mod status;
mod topology;
mod tune;

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
    /// Run 32 nodes in four data centres with a hospital feed, and watch them
    Demo(demo::Arguments),
    /// Write the files of a new cluster
    Init(init::Arguments),
    /// Say what is wrong with this host, and what to do about it
    Doctor(doctor::Arguments),
    /// Run one node in the foreground, or drain a running one
    Node(node::Arguments),
    /// Send a message to an actor, or HL7 files over MLLP
    Send(send::Arguments),
    /// Look at all nodes: what is up, how many copies there are, how far followers are behind
    Status(status::Arguments),
    /// Look at the topology log: nodes, groups, and what changed last, when and why
    Topology(topology::Arguments),
    /// Say why a key is where it is, who holds copies, and what may fail next
    Explain(topology::explain::Arguments),
    /// Let nodes join and leave, and mend a cluster that has lost more than it can bear
    #[command(subcommand)]
    Cluster(topology::recover::Command),
    /// Let nodes stand still as if they were lost, and judge what it cost
    #[command(subcommand)]
    Drill(drill::Command),
    /// Look at an actor
    #[command(subcommand)]
    Actor(actor::Command),
    /// Look at a configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Measure
    #[command(subcommand)]
    Bench(bench::Command),
    /// Measure this host: gaps of a spinning core, cache lines between cores, TCP, the disk
    Latency(latency::Arguments),
    /// Change what a host does to nodes, all at once, and put it back
    #[command(subcommand)]
    Tune(tune::Command),
    /// Look at what runs on which core, and what it costs
    #[command(subcommand)]
    Placement(placement::Command),
    /// Run whole clusters in one thread on virtual time, with faults, and check what was acked
    Sim(sim::Arguments),
    /// Say what an error's code means, or list all
    Errors(errors::Arguments),
}

/// Reads the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    let command = match Waterpark::try_parse() {
        Ok(parsed) => parsed.command,
        Err(error) => return not_parsed(&error),
    };
    // These have nothing of their own to clean up; the others do, and write as long as somebody reads.
    if !matches!(command, Command::Node(_) | Command::Demo(_) | Command::Bench(_)) {
        signals::end_with_reader();
    }
    match command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Init(arguments) => init::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Node(arguments) => node::run(&arguments),
        Command::Send(arguments) => send::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Topology(arguments) => topology::run(&arguments),
        Command::Explain(arguments) => topology::explain::run(&arguments),
        Command::Cluster(command) => topology::recover::run(&command),
        Command::Drill(command) => drill::run(&command),
        Command::Actor(command) => actor::run(&command),
        Command::Config(command) => config::run(&command),
        Command::Bench(command) => bench::run(&command),
        Command::Latency(arguments) => latency::run(&arguments),
        Command::Tune(command) => tune::run(&command),
        Command::Placement(command) => placement::run(&command),
        Command::Sim(arguments) => sim::run(&arguments),
        Command::Errors(arguments) => errors::run(&arguments),
    }
}

/// Shows what the parser of the command line has to say: help and version as they are, a fault with its code.
fn not_parsed(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    match errors::said_of_usage(&text) {
        Some(said) => eprintln!("{said}"),
        // Whoever asked for help and closed the pipe has seen enough.
        None => drop(error.print()),
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(failure::code::USAGE))
}
