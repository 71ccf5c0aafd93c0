//! `waterpark node`: one node in the foreground.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use waterpark::config::{Bytes, ConfigError, StartCode};
use waterpark::{DriverChoice, Ended, Node, NodeError, Options};

use crate::errors::{self, Coded};
use crate::topology::order::{self, Order};
use crate::{log, signals};

/// A node to run, or an order about one that runs.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    order: Option<Order>,
    #[command(flatten)]
    process: Option<Process>,
}

/// Which node of which cluster.
#[derive(Args)]
struct Process {
    /// Name of the node in the configuration
    #[arg(long, value_name = "NAME")]
    name: String,
    /// The cluster's configuration
    #[arg(long, value_name = "FILE", default_value = "cluster.toml")]
    config: PathBuf,
    /// Kernel interface for sockets
    #[arg(long, value_enum, default_value_t = Driver::Auto)]
    driver: Driver,
    /// Touch this much memory before serving, so that no page fault falls into a measurement
    #[arg(long, value_name = "SIZE", default_value = "0B")]
    prefault: Bytes,
    /// End when the process that started this one ends
    #[arg(long, hide = true)]
    with_parent: bool,
    /// Dial another node's peers port here, and not where the configuration says; a measurement cuts links so
    #[arg(long, hide = true, value_name = "NAME=ADDRESS", value_parser = via)]
    via: Vec<(String, SocketAddr)>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Driver {
    /// io_uring where the host allows it, else epoll
    Auto,
    /// io_uring or an error
    IoUring,
    /// epoll
    Epoll,
}

/// Reads `FL-A-1=127.0.0.1:7000`.
fn via(text: &str) -> Result<(String, SocketAddr), String> {
    let (name, address) = text
        .split_once('=')
        .ok_or("this has no \"=\": give the name of a node, \"=\", and a number of a host with its port, as FL-A-1=127.0.0.1:7000")?;
    let address = address
        .parse()
        .map_err(|_| format!("\"{address}\" is no number of a host with its port, as 127.0.0.1:7000"))?;
    Ok((name.to_owned(), address))
}

impl Driver {
    /// As the command line names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Driver::Auto => "auto",
            Driver::IoUring => "io-uring",
            Driver::Epoll => "epoll",
        }
    }

    pub(crate) fn choice(self) -> DriverChoice {
        match self {
            Driver::Auto => DriverChoice::Auto,
            Driver::IoUring => DriverChoice::IoUring,
            Driver::Epoll => DriverChoice::Epoll,
        }
    }
}

/// As [`order::run`] for an order, else 0: stopped and flushed. 1: failed. 3: the configuration does not serve.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match (&arguments.order, &arguments.process) {
        (Some(order), _) => order::run(order),
        (None, Some(process)) => run_process(process),
        (None, None) => unreachable!("the parser of the command line wants a name or an order"),
    }
}

fn run_process(arguments: &Process) -> ExitCode {
    log::begin();
    if arguments.with_parent
        && let Err(error) = signals::end_with_parent()
    {
        errors::say(StartCode::ParentGone.entry(), &error);
        return ExitCode::FAILURE;
    }
    let loaded = match waterpark::config::load(&arguments.config, std::env::vars()) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(ConfigError::EXIT_CODE);
        }
    };
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let options = Options {
        driver: arguments.driver.choice(),
        prefault: arguments.prefault.get(),
        via: arguments.via.iter().cloned().collect(),
        ..Options::default()
    };
    let stop = match signals::catch_or_say() {
        Ok(stop) => stop,
        Err(code) => return code,
    };
    let node = match Node::start(&loaded, &arguments.name, &options) {
        Ok(node) => node,
        Err(error) => {
            match &error {
                // A problem of the configuration brings its own heading.
                NodeError::Unknown(problem) => eprintln!("{problem}"),
                other => errors::say(other.code(), other),
            }
            return ExitCode::from(error.exit_code());
        }
    };
    stop.then(node.stopper());
    if node.wait_ready() {
        let mut out = std::io::stdout();
        // Whoever started it may not listen; the log says it too.
        drop(writeln!(out, "ready {}", arguments.name).and_then(|()| out.flush()));
    }
    match node.wait() {
        Ended::Flushed => ExitCode::SUCCESS,
        Ended::Unflushed => {
            tracing::warn!("some peers or clients did not take what they were owed");
            ExitCode::SUCCESS
        }
        Ended::Failed => {
            errors::say(
                StartCode::NodeFailed.entry(),
                &format!("{} failed; its log says why", arguments.name),
            );
            // Threads that hang would keep a plain return waiting.
            std::process::exit(1)
        }
    }
}
