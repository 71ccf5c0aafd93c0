//! `waterpark doctor`: what is wrong with a host, each with what shows it and what to do.
//!
//! It reads files, asks for one ring and closes it, and changes nothing. What it means is said in `judge.rs`. **Invariant:** an answer says
//! what was not seen and what was not looked at.

mod demand;
mod judge;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use waterpark::DriverChoice;
use waterpark::config::{self, Severity};
use waterpark_reactor::{DriverConfig, OpenError, SetupNote, UringRefusal};

use crate::failure::{Failure, code};
use crate::host::{Facts, Root};
use crate::show;

pub(crate) use demand::Demand;
pub(crate) use judge::SOCKET_BYTES_MIN;
use judge::{Defect, Ring, judge};

/// The file that is read when only a node is named.
const CONFIG_DEFAULT: &str = "cluster.toml";

/// What to look at.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) of: Of,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Which host, and for which node.
#[derive(Args)]
pub(crate) struct Of {
    /// Look at what this node needs: its ports, workers and memory
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The configuration with that node; without it, cluster.toml in the current folder
    #[arg(long, value_name = "FILE", requires = "name")]
    config: Option<PathBuf>,
    /// A folder that plays the host, with /proc and /sys of its own
    #[arg(long, value_name = "FOLDER", hide = true, default_value = "/")]
    root: PathBuf,
}

impl Of {
    pub(crate) fn root(&self) -> Root {
        Root::new(&self.root)
    }

    /// What the node that is named asks for; nothing without one.
    ///
    /// # Errors
    /// What is wrong with the configuration, or the name.
    pub(crate) fn demand(&self, facts: &Facts) -> Result<Option<Demand>, Failure> {
        let Some(name) = &self.name else { return Ok(None) };
        let file = self.config.clone().unwrap_or_else(|| CONFIG_DEFAULT.into());
        let loaded = config::load(&file, std::env::vars()).map_err(|error| Failure::Config(Box::new(error)))?;
        for warning in &loaded.warnings {
            eprintln!("{warning}\n");
        }
        let node = loaded.config.node(name).map_err(Failure::NodeName)?;
        Ok(Some(Demand::of(&loaded.config, node, facts, &self.root())))
    }
}

/// 0: nothing keeps nodes from running as they are meant to. 3: the configuration does not serve. 9: the host does not satisfy.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let root = arguments.of.root();
    let facts = Facts::read(&root);
    let demand = match arguments.of.demand(&facts) {
        Ok(demand) => demand,
        Err(failure) => return failure.end(arguments.json),
    };
    let ring = if root.is_own() { try_ring() } else { Ring::Untried };
    let defects = judge(&facts, ring, demand.as_ref());
    let text = if arguments.json {
        object(&facts, ring, demand.as_ref(), &defects).to_string()
    } else {
        page(&facts, ring, demand.as_ref(), &defects)
    };
    match show::print(&text).and_then(|()| show::flush()) {
        Ok(()) if errors(&defects) > 0 => ExitCode::from(code::HOST),
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.end(arguments.json),
    }
}

/// Asks the kernel for a ring as a shard does, and gives it back.
fn try_ring() -> Ring {
    match waterpark_reactor::open(DriverChoice::IoUring, &DriverConfig::default()) {
        Ok((_, notes)) => Ring::Opened {
            flags_refused: notes.iter().any(|note| matches!(note, SetupNote::FlagsRefused { .. })),
            halved_to: notes.iter().find_map(|note| match note {
                SetupNote::RingHalved { entries } => Some(*entries),
                _ => None,
            }),
        },
        Err(OpenError::Uring(UringRefusal::Forbidden(_))) => Ring::Forbidden,
        Err(OpenError::Uring(UringRefusal::Unsupported { feature, .. })) => Ring::Unsupported(feature),
        Err(OpenError::Uring(UringRefusal::LockedMemory(_))) => Ring::LockedMemory,
        // Buffers are of the default sizes; a socket that is refused is want of descriptors too.
        Err(_) => Ring::Resources,
    }
}

fn errors(defects: &[Defect]) -> usize {
    defects
        .iter()
        .filter(|defect| defect.severity == Severity::Error)
        .count()
}

fn severity(defect: &Defect) -> &'static str {
    match defect.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Codes that need a node, or a ring that was tried.
fn passed_over(ring: Ring, demand: Option<&Demand>) -> Vec<&'static str> {
    let mut missing = Vec::new();
    if ring == Ring::Untried {
        missing.push("a ring (this folder only plays a host)");
    }
    if demand.is_none() {
        missing.push("ports, cores and memory of a node (name one with --name, its configuration with --config)");
    }
    missing
}

fn page(facts: &Facts, ring: Ring, demand: Option<&Demand>, defects: &[Defect]) -> String {
    let mut out = String::new();
    for defect in defects {
        let entry = defect.entry();
        out += &format!("{}[{}]: {}\n", severity(defect), entry.name(), entry.title);
        out += &format!(
            "  seen    {}\n  effect  {}\n  remedy  {}\n\n",
            defect.seen, entry.effect, entry.remedy
        );
    }
    for unseen in facts.unseen() {
        out += &format!("not seen: {unseen}\n");
    }
    for missing in passed_over(ring, demand) {
        out += &format!("not looked at: {missing}\n");
    }
    let about = demand.map_or_else(
        || "this host".to_owned(),
        |demand| format!("this host for {}", demand.node),
    );
    let errors = errors(defects);
    out += &match defects.len() - errors {
        0 if errors == 0 => format!("{about}: nothing found"),
        warnings => format!(
            "{about}: {}, {}",
            counted(errors, "error"),
            counted(warnings, "warning")
        ),
    };
    out
}

fn object(facts: &Facts, ring: Ring, demand: Option<&Demand>, defects: &[Defect]) -> Value {
    let one = |defect: &Defect| {
        let entry = defect.entry();
        json!({
            "code": entry.name(), "severity": severity(defect), "title": entry.title, "seen": defect.seen,
            "cause": entry.cause, "effect": entry.effect, "remedy": entry.remedy,
        })
    };
    let rows: Vec<Value> = defects.iter().map(one).collect();
    let unseen = facts.unseen();
    json!({
        "schema": "waterpark.doctor.1", "complete": unseen.is_empty() && ring != Ring::Untried, "missing": unseen,
        "not_looked_at": passed_over(ring, demand),
        "node": demand.map(|demand| demand.node.clone()), "kernel": facts.release,
        "cores": facts.cores.as_ref().map(ToString::to_string),
        "errors": errors(defects), "defects": rows,
    })
}
