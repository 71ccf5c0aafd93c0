//! `waterpark drill node|zone|dc`: nodes of a cluster that serves stand still for a while as if they were lost, and a verdict says what it cost.
//!
//! What would stop groups is refused unless it is asked for. **Invariant:** nothing is killed and nothing is forgotten: whoever stood still
//! goes on with all that it held, also when this command was ended.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use clap::{Args, Subcommand};
use waterpark::config::{Duration, MeasuringCode};
use waterpark_bench::failover::{DrillError, DrillPlan, DrillReport, Place, drill, drill_workload};
use waterpark_bench::run::RunError;
use waterpark_bench::workload::KeyText;
use waterpark_client::Address;
use waterpark_wire::body::{ConfigBody, STILL_MS_MAX, TopologyBody};

use crate::bench::usage;
use crate::connect::{Cluster, Reach, place};
use crate::failure::{Failure, code};
use crate::topology::newest;
use crate::{errors, show, signals};

/// What stands still.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// One node
    Node(Arguments),
    /// All nodes of a zone, named DC-ZONE like FL-A
    Zone(Arguments),
    /// All nodes of a data centre
    Dc(Arguments),
}

#[derive(Args)]
pub(crate) struct Arguments {
    /// Its name
    name: String,
    /// How long it stands still, at most a minute
    #[arg(long = "for", value_name = "TIME", default_value = "10s")]
    still: Duration,
    /// Keys of the drill's own, record/drill-0000000 and so on, that are written all the time
    #[arg(long, value_name = "N", default_value_t = 240, value_parser = clap::value_parser!(u64).range(8..=10_000))]
    keys: u64,
    /// A key gets its next message when the one before has ended, and not earlier than this after it
    #[arg(long, value_name = "TIME", default_value = "20ms")]
    every: Duration,
    /// Passed if keys that were written there went unacked for at most so long, at the 99th percentile
    #[arg(long, value_name = "TIME", default_value = "2500ms")]
    limit: Duration,
    /// Do it also if groups stop meanwhile
    #[arg(long)]
    anyway: bool,
    /// Write the verdict to this file too, as JSON
    #[arg(long, value_name = "FILE")]
    verdict: Option<PathBuf>,
    #[command(flatten)]
    reach: Reach,
}

/// 0: passed. 1: failed, or refused. 2: options that mean nothing, no such node. 4: no node answers.
pub(crate) fn run(command: &Command) -> ExitCode {
    let (Command::Node(arguments) | Command::Zone(arguments) | Command::Dc(arguments)) = command;
    let still_ms = arguments.still.as_us() / 1_000;
    if !(1..=u64::from(STILL_MS_MAX)).contains(&still_ms) || arguments.every.as_us() == 0 {
        let text = format!("--for takes from 1 ms to {STILL_MS_MAX} ms, --every more than nothing");
        return usage::<()>(&text).err().unwrap_or(ExitCode::FAILURE);
    }
    match hold(command, arguments) {
        Ok(code) => code,
        Err(failure) => failure.end(arguments.reach.json),
    }
}

fn hold(command: &Command, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let cluster = arguments.reach.connect()?;
    let victims = victims(command, &cluster, &arguments.name)?;
    let topology = newest(&cluster, arguments.reach.timeout_ms())?;
    look_before(&cluster, &topology, &victims, arguments.anyway)?;
    // Whoever wants a record wants no drill without one.
    let mut record = None;
    if let Some(path) = &arguments.verdict {
        match File::create(path) {
            Ok(file) => record = Some((path, file)),
            Err(cause) => {
                let text = format!("{} cannot be written: {cause}", path.display());
                errors::say(MeasuringCode::NotStarted.entry(), &text);
                return Ok(ExitCode::from(code::FAILED));
            }
        }
    }
    let interrupted = match signals::catch_or_say() {
        Ok(caught) => caught.raise(),
        Err(code) => return Ok(code),
    };
    let plan = plan(&cluster, &topology, victims, arguments)?;
    let say = |what: &str| drop(writeln!(io::stderr(), "{what}"));
    let report = drill(plan, say, || !interrupted.load(Ordering::Relaxed)).map_err(|error| match error {
        DrillError::Run(RunError::Client(error)) => Failure::Call(error),
        error => refused(error.to_string()),
    })?;
    if let Some((path, file)) = &mut record {
        let written = writeln!(file, "{:#}", report.to_json());
        let named = |cause: io::Error| io::Error::new(cause.kind(), format!("{}: {cause}", path.display()));
        written.map_err(|cause| Failure::Output(named(cause)))?;
    }
    tell(arguments, &report)
}

/// The nodes that are to stand still.
fn victims(command: &Command, cluster: &Cluster, name: &str) -> Result<Vec<u16>, Failure> {
    let zone_of = |node: &str| {
        let (dc, zone) = place(node);
        format!("{dc}-{zone}")
    };
    match command {
        Command::Node(_) => Ok(vec![cluster.node_named(name)?]),
        Command::Zone(_) => cluster.nodes_named("zone", name, zone_of),
        Command::Dc(_) => cluster.nodes_named("data centre", name, |node| place(node).0.to_owned()),
    }
}

fn tell(arguments: &Arguments, report: &DrillReport) -> Result<ExitCode, Failure> {
    if arguments.reach.json {
        show::print(&report.to_json().to_string())?;
    } else {
        show::print(&report.to_text())?;
    }
    show::flush()?;
    if report.reasons().is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    errors::say(MeasuringCode::DrillFailed.entry(), &report.reasons().join("; "));
    Ok(ExitCode::from(code::FAILED))
}

fn refused(why: String) -> Failure {
    Failure::Order { why }
}

/// Refuses a drill on a cluster that is not well, and one that would stop groups, unless that is asked for.
fn look_before(cluster: &Cluster, topology: &TopologyBody, victims: &[u16], anyway: bool) -> Result<(), Failure> {
    let is_away = |presence: &str| !matches!(presence, "up" | "gone" | "left");
    let away = topology.nodes.iter().filter(|node| is_away(&node.presence));
    let away: Vec<String> = away
        .map(|node| format!("{} is {}", cluster.name(node.id), node.presence))
        .collect();
    if !away.is_empty() {
        return Err(refused(format!(
            "a drill begins where all nodes are up: {}",
            away.join(", ")
        )));
    }
    if anyway {
        return Ok(());
    }
    let stays = |node: u16| !victims.contains(&node);
    let stops = |config: &ConfigBody| {
        let left = config.members.iter().filter(|member| stays(member.node)).count();
        left < usize::from(config.write_quorum.max(config.read_quorum))
    };
    let stopped = topology.groups.iter().filter(|group| stops(&group.active)).count();
    if stopped > 0 {
        return Err(refused(format!(
            "{stopped} groups would have too few members left, and stop for as long as it lasts: say --anyway to see that"
        )));
    }
    let voters = &topology.voters;
    let left = voters.iter().filter(|voter| stays(**voter)).count();
    if !voters.is_empty() && left <= voters.len() / 2 {
        return Err(refused(format!(
            "{left} of {} voters would be left, too few to let others write what is written there: say --anyway to see that",
            voters.len()
        )));
    }
    Ok(())
}

fn plan(
    cluster: &Cluster,
    topology: &TopologyBody,
    victims: Vec<u16>,
    arguments: &Arguments,
) -> Result<DrillPlan, Failure> {
    let up = topology.nodes.iter().filter(|node| node.presence == "up");
    let up: BTreeSet<u16> = up.map(|node| node.id).collect();
    let nodes = cluster.nodes().iter().filter(|node| up.contains(&node.id));
    let nodes = nodes.map(|node| Place {
        id: node.id,
        name: node.name.clone(),
        address: Address {
            host: node.host.clone(),
            port: node.native_port,
        },
    });
    let workload = drill_workload(arguments.keys);
    let group = |key: u64| {
        let mut text = KeyText::default();
        let key = workload.key(key, &mut text).expect("the drill's keys are well formed");
        cluster.group(key).map(|(group, _)| group)
    };
    let groups_of_keys: Result<Vec<u32>, Failure> = (0..arguments.keys).map(group).collect();
    let configs = || topology.groups.iter().map(|group| &group.active);
    let copies = configs().map(|config| config.members.len()).max();
    let acks = configs().map(|config| config.write_quorum).min();
    let time = |time: &Duration| std::time::Duration::from_micros(time.as_us());
    Ok(DrillPlan {
        nodes: nodes.collect(),
        cluster_key: cluster.key,
        groups: cluster.groups(),
        groups_of_keys: groups_of_keys?,
        copies: copies.zip(acks).ok_or(Failure::Table)?,
        victims,
        still: time(&arguments.still),
        every: time(&arguments.every),
        limit: time(&arguments.limit),
    })
}
