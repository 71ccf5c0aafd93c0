//! `waterpark demo`: five processes on this machine, messages, and where their copies lie.

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};
use waterpark::config;
use waterpark_bench::cluster::{Cluster, ClusterPlan};
use waterpark_bench::generator::{Generator, Measured, Schedule};
use waterpark_bench::ledger::{Checker, Findings};
use waterpark_bench::workload::{Kind, Workload};
use waterpark_client::ReadOptions;
use waterpark_client::blocking::{Client, ConnectOptions};
use waterpark_client::polled::Polled;
use waterpark_ring::{Key, Topology};

use crate::node::Driver;
use crate::signals;

/// Memory of each node: enough for a minute at the demo's pace.
const NODE_MEMORY: u64 = 256 << 20;
/// How much of it is touched before the first message.
const NODE_PREFAULT: u64 = 48 << 20;
/// Actors of the demo.
const ACTORS: u64 = 10_000;
/// Bytes of a message.
const MESSAGE_BYTES: usize = 128;
/// How long one message may take.
const TIMEOUT_MS: u32 = 5_000;
/// Messages a second at most: what a minute's memory has room for.
const RATE_MAX: f64 = 20_000.0;

/// How much to show.
#[derive(Args)]
pub(crate) struct Arguments {
    /// How long to send
    #[arg(long = "for", value_name = "TIME", default_value = "3s")]
    time: config::Duration,
    /// Messages a second
    #[arg(long, value_name = "N", default_value_t = 5_000.0)]
    rate: f64,
    /// Kernel interface for sockets
    #[arg(long, value_enum, default_value_t = Driver::Auto)]
    driver: Driver,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// 0: everything sent was acked and is held by three members. 1: not. 2: options that mean nothing.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    if arguments.rate.is_nan() || !(1.0..=RATE_MAX).contains(&arguments.rate) {
        eprintln!("error: --rate is from 1 to {RATE_MAX}; for more use `waterpark bench run`");
        return ExitCode::from(2);
    }
    if arguments.time.as_us() > 60_000_000 {
        eprintln!("error: --for is at most 60s; for more use `waterpark bench run`");
        return ExitCode::from(2);
    }
    match demo(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn demo(arguments: &Arguments) -> Result<bool, Box<dyn std::error::Error>> {
    let say = |text: String| {
        if !arguments.json {
            // Whoever read may have gone; the cluster is stopped in order all the same.
            drop(writeln!(std::io::stdout(), "{text}"));
        }
    };
    let interrupted = signals::catch()?.raise();
    let begun = Instant::now();
    let mut plan = ClusterPlan::five(std::env::current_exe()?, NODE_MEMORY);
    plan.driver = arguments.driver.name().to_owned();
    // A first touch of memory in the midst of a message is what a short run would mostly show.
    plan.prefault = NODE_PREFAULT;
    let cluster = Cluster::start(plan)?;
    let config = cluster.config().clone();
    let topology = config.topology();
    let key = cluster.key();
    let client = Client::connect(cluster.addresses(), &key, ConnectOptions::default())?;
    let driver = client.status(config.nodes[0].id.0, 0, &ReadOptions::default())?.driver;
    say(format!(
        "five nodes serve after {} ms, on {driver}",
        begun.elapsed().as_millis()
    ));
    for (node, member) in config.nodes.iter().zip(cluster.members()) {
        say(format!(
            "  {:<8} process {:<8} clients at {}:{}",
            node.name.as_str(),
            member.pid(),
            node.host,
            node.ports().native(0)
        ));
    }

    let workload = Workload {
        kind: Kind::W128,
        actors: ACTORS,
        message_bytes: MESSAGE_BYTES,
        seed: u64::from(std::process::id()) << 32 | u64::from(config.nodes[0].port),
        warm: 0,
    };
    let polled = Polled::new(cluster.addresses(), key, &ConnectOptions::default())?;
    let mut generator = Generator::new(polled, workload, TIMEOUT_MS);
    generator.connect(Duration::from_secs(5))?;
    let time = Duration::from_micros(arguments.time.as_us());
    say(format!(
        "sending {:.0} messages a second to {ACTORS} actors for {time:?}",
        arguments.rate
    ));
    let mut next = Instant::now() + Duration::from_secs(1);
    let schedule = Schedule::Open { rate: arguments.rate };
    let measured = generator.run(schedule, time, u64::MAX, |measured| {
        if Instant::now() >= next {
            next += Duration::from_secs(1);
            say(line(measured));
        }
        !interrupted.load(Ordering::Relaxed)
    });
    say(line(&measured));
    show_one(&client, &topology, &workload, &say)?;

    let checker = Checker {
        topology: &topology,
        key,
        workload,
        ledger: generator.ledger(),
        keeps_all: true,
    };
    let findings = checker.check();
    drop((client, generator));
    let exits = cluster.stop();
    signals::end_with_reader()?;
    let clean = findings.is_clean() && measured.acked == measured.sent && measured.sent > 0;
    let ended = exits.iter().all(|code| *code == Some(0));
    if arguments.json {
        println!(
            "{}",
            object(&measured, &findings, &driver, config.nodes.len(), clean && ended)
        );
    } else {
        println!(
            "read back: {} acked messages looked for in three members each, {} lost, {} duplicated",
            findings.looked_for, findings.lost, findings.duplicated
        );
        findings.said.iter().for_each(|said| println!("  {said}"));
        println!(
            "{}",
            if clean && ended {
                "everything acked is held"
            } else {
                "FAILED"
            }
        );
    }
    Ok(clean && ended)
}

fn line(measured: &Measured) -> String {
    let at = |quantile: f64| measured.response_us.value_at_quantile(quantile);
    format!(
        "  sent {:>8}  acked {:>8}  refused {:>4}  unknown {:>4}  ack p50 {:>6} us  p99 {:>6} us",
        measured.sent,
        measured.acked,
        measured.refused,
        measured.unknown,
        at(0.5),
        at(0.99)
    )
}

/// Where one actor lives, and what each of its members holds.
fn show_one(
    client: &Client,
    topology: &Topology,
    workload: &Workload,
    say: &impl Fn(String),
) -> Result<(), Box<dyn std::error::Error>> {
    let text = format!("record/{:07}", workload.actor(0));
    let key = Key::parse(&text)?;
    let group = topology.locate(key.as_ref()).group;
    say(format!("actor {text} lives in group {}, on", group.0));
    for (place, node) in topology.birth().members(group).nodes().iter().enumerate() {
        let options = ReadOptions {
            at: Some(node.0),
            level: waterpark_wire::request::ReadLevel::Any,
            ..ReadOptions::default()
        };
        let there = client.where_(key.as_ref(), &options)?;
        let state = client.get(key.as_ref(), &options)?;
        let name = topology.node(*node).map_or("?", |node| node.name.as_str());
        let role = if place == 0 { "writer" } else { "follower" };
        let state = String::from_utf8_lossy(&state.body).into_owned();
        say(format!(
            "  {name:<8} {role:<9} holds the group up to {:<6} {state}",
            there.group.last_seq
        ));
    }
    Ok(())
}

fn object(measured: &Measured, findings: &Findings, driver: &str, nodes: usize, ok: bool) -> Value {
    let at = |quantile: f64| measured.response_us.value_at_quantile(quantile);
    json!({
        "schema": "waterpark.demo.1",
        "complete": true,
        "ok": ok,
        "nodes": nodes,
        "driver": driver,
        "sent": measured.sent,
        "acked": measured.acked,
        "refused": measured.refused,
        "unknown": measured.unknown,
        "lost": findings.lost,
        "duplicated": findings.duplicated,
        "ack_us": { "p50": at(0.5), "p99": at(0.99), "p999": at(0.999) },
    })
}
