//! `waterpark demo`: 32 nodes in four data centres in this process, a hospital feed over MLLP, and what one sees of it.
//!
//! | file | part |
//! |---|---|
//! | `mod.rs` | the command, from its flags to its exit code |
//! | `nodes.rs` | the cluster |
//! | `deeds.rs` | what is done to its nodes |
//! | `feed.rs` | the thread that sends |
//! | `failures.rs` | what each failure cost patients |
//! | `watch.rs` | the thread that asks the nodes how they are |
//! | `account.rs` | what the memory is for |
//! | `samples.rs` | what the memory was over time |
//! | `stage.rs` | all of it as one picture |
//! | `acts.rs` | what keys and drills do, and what is refused |
//! | `drill.rs` | `--fault`, read |
//! | `commands.rs` | lines for another shell |
//!
//! **Invariant:** however it ends, the terminal is given back, no node runs on and the folder is gone; exit code 0 says that everything sent
//! was acked and is held by three members.

mod account;
mod acts;
mod commands;
mod deeds;
mod drill;
mod failures;
mod feed;
mod nodes;
mod samples;
mod stage;
mod watch;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use serde_json::{Value, json};
use waterpark::config::{self, Bytes, Code, CommandCode, MeasuringCode, StartCode};
use waterpark_bench::cluster::ROUND_TRIPS;
use waterpark_bench::hl7::{Feed, Shape};
use waterpark_bench::mllp::{Outcomes, Source};

use crate::demo_screen::draw::draw_into;
use crate::demo_screen::svg::svg;
use crate::demo_screen::terminal::{Surroundings, sight};
use crate::demo_screen::theme::{Depth, Theme};
use crate::demo_screen::view::{DemoView, FailureView, Phase, Weight};
use crate::demo_screen::{Key, PlainLines, Screen, Sight, Summary};
use crate::errors::{self, Coded};
use crate::node::Driver;
use crate::signals;
use feed::Sending;
use nodes::{Nodes, Plan};
use stage::Stage;

/// How long the feed runs where nobody watches and no time is given.
const UNWATCHED: Duration = Duration::from_secs(20);
/// The least memory with which 32 nodes can hold anything.
const MEMORY_MIN: u64 = 256 << 20;
/// Messages a second at most: what one thread can send beside 32 nodes.
const RATE_MAX: f64 = 20_000.0;

/// Between two looks at keys, feed and nodes.
const TURN: Duration = Duration::from_millis(20);
/// How long the last acks are waited for: longer than any message that can still be acked takes.
const LAST_ACKS_MAX: Duration = Duration::from_secs(60);
/// Columns and lines of a picture.
const PICTURE: (u16, u16) = (150, 46);

/// What to run.
#[derive(Args)]
pub(crate) struct Arguments {
    /// How long to send; without it until q or Ctrl-C, or 20s where stdout is no terminal
    #[arg(long = "for", value_name = "TIME")]
    time: Option<config::Duration>,
    /// Messages a second
    #[arg(long, value_name = "N", default_value_t = 200.0)]
    rate: f64,
    /// Send the HL7 messages of this folder's files, each once, in the place of a made feed
    #[arg(long, value_name = "FOLDER")]
    hl7: Option<PathBuf>,
    /// Begin of the made feed: the same seed gives the same messages
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Memory of all 32 nodes together
    #[arg(long, value_name = "SIZE", default_value = "1GiB")]
    memory: Bytes,
    /// Round trip between two data centres, in the place of the usual one; may be given several times
    #[arg(long = "round-trip", value_name = "DC-DC=TIME")]
    round_trips: Vec<String>,
    /// Do something to a node or a data centre at a time of the feed; KIND is stop, kill, cut, lose, drain or restore; may be given several
    /// times
    #[arg(long = "fault", value_name = "TIME:KIND:NAME")]
    faults: Vec<String>,
    /// Links between data centres take up to so much longer, at random
    #[arg(long, value_name = "TIME", default_value = "500us")]
    jitter: config::Duration,
    /// Of 100 frames between data centres, so many are lost and come a round trip later
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    loss: f64,
    /// Kernel interface for sockets
    #[arg(long, value_enum, default_value_t = Driver::Auto)]
    driver: Driver,
    /// One line per second, also on a terminal
    #[arg(long)]
    plain: bool,
    /// Write the last picture of the screen to this file, as SVG
    #[arg(long, value_name = "FILE", hide = true)]
    picture: Option<PathBuf>,
    /// End with one JSON object, and show nothing meanwhile
    #[arg(long)]
    json: bool,
}

/// 0: everything sent was acked and is held by three members, and what was to be done to nodes was done. 1: not. 2: options that mean nothing.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let plan = match plan(arguments) {
        Ok(plan) => plan,
        Err(said) => {
            errors::say(CommandCode::OptionRange.entry(), &said);
            return ExitCode::from(2);
        }
    };
    match demo(arguments, &plan) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            let code = MeasuringCode::DemoIncomplete.entry();
            errors::say(code, &code.title);
            ExitCode::FAILURE
        }
        Err(stopped) => {
            errors::say(stopped.code, &stopped.said);
            ExitCode::FAILURE
        }
    }
}

/// Why there is no summary.
struct Stopped {
    code: &'static Code,
    said: String,
}

impl Stopped {
    fn not_started(said: String) -> Stopped {
        Stopped {
            code: MeasuringCode::NotStarted.entry(),
            said,
        }
    }
}

impl From<nodes::Failed> for Stopped {
    fn from(failed: nodes::Failed) -> Stopped {
        Stopped {
            code: failed.code(),
            said: failed.to_string(),
        }
    }
}

/// What the flags say, if they mean something together.
fn plan(arguments: &Arguments) -> Result<Plan, String> {
    if arguments.rate.is_nan() || !(0.1..=RATE_MAX).contains(&arguments.rate) {
        return Err(format!(
            "--rate is from 0.1 to {RATE_MAX}; for more use `waterpark bench run`"
        ));
    }
    if !(0.0..=30.0).contains(&arguments.loss) {
        return Err("--loss is from 0 to 30 percent".to_owned());
    }
    if arguments.memory.get() < MEMORY_MIN {
        return Err(format!(
            "--memory is at least {}: 32 nodes share it",
            Bytes::new(MEMORY_MIN)
        ));
    }
    let pair = |one: &str, other: &str| {
        let (first, second) = if one < other { (one, other) } else { (other, one) };
        (first.to_owned(), second.to_owned())
    };
    let mut round_trips: BTreeMap<(String, String), u64> = ROUND_TRIPS
        .iter()
        .map(|(one, other, us)| (pair(one, other), *us))
        .collect();
    for text in &arguments.round_trips {
        let parsed = text.split_once('=').and_then(|(dcs, time)| {
            let (one, other) = dcs.split_once('-')?;
            Some((pair(one, other), time.parse::<config::Duration>().ok()?.as_us()))
        });
        match parsed.filter(|(dcs, _)| round_trips.contains_key(dcs)) {
            Some((dcs, us)) => round_trips.insert(dcs, us),
            None => {
                return Err(format!(
                    "--round-trip {text} is none: FL, TN, TX and UT are the data centres, as in FL-TX=40ms"
                ));
            }
        };
    }
    // A share of frames in a hundred becomes one in a million; it is bounded above.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to 300,000"
    )]
    let loss_per_million = (arguments.loss * 10_000.0).round() as u32;
    Ok(Plan {
        driver: arguments.driver.choice(),
        memory: arguments.memory.get(),
        round_trips,
        jitter: Duration::from_micros(arguments.jitter.as_us()),
        loss_per_million,
        drill: drill::read(
            &arguments.faults,
            &nodes::names().collect::<Vec<_>>(),
            arguments.time.map(|time| Duration::from_micros(time.as_us())),
        )?,
    })
}

fn demo(arguments: &Arguments, plan: &Plan) -> Result<bool, Stopped> {
    let interrupted = signals::catch().map_err(|error| Stopped {
        code: StartCode::Signals.entry(),
        said: format!("signals cannot be caught: {error}"),
    })?;
    let interrupted = interrupted.raise();
    let (feed, files) = match &arguments.hl7 {
        Some(folder) => {
            let files = Source::folder(folder).map_err(|error| Stopped {
                code: CommandCode::Input.entry(),
                said: error.to_string(),
            })?;
            (None, Some(files))
        }
        None => {
            let feed = Feed::new(arguments.seed, Shape::default()).expect("the usual shape is one");
            (Some(feed), None)
        }
    };
    let sight = sight(&Surroundings::look());
    let unwatched = !matches!(sight, Sight::Screen(_)) || arguments.json || arguments.plain;
    let time = arguments.time.map(|time| Duration::from_micros(time.as_us()));
    let time = time.or(unwatched.then_some(UNWATCHED));
    let mut face = Face::open(arguments, sight);

    let begun = Instant::now();
    let nodes = Nodes::start(plan, feed.as_ref())?;
    let source = files.or_else(|| feed.map(|feed| Source::Feed(Box::new(feed))));
    let source = source.expect("either files or a feed");
    let mut stage = Stage::new(nodes, plan, time);
    stage.wait_ready(|stage| face.show(stage))?;
    if arguments.json {
        // Nothing else shows what the host refused.
        stage.view().events.iter().for_each(|event| eprintln!("{}", event.text));
    }
    let took_ms = begun.elapsed().as_millis();
    stage.say(
        Weight::Good,
        format!("{} nodes serve after {took_ms} ms", stage.node_count()),
    );
    let sending = Sending::start(&stage, source, arguments.rate, time)
        .map_err(|error| Stopped::not_started(format!("the feed cannot begin: {error}")))?;
    stage.phase(Phase::Running);
    let mut picture = None;
    let mut quit = false;
    let mut ends_at = None;
    let mut drill = plan.drill.iter().peekable();
    while !sending.is_over() {
        for key in face.keys() {
            match key {
                Key::Quit => quit = true,
                other => stage.press(other, &sending),
            }
        }
        stage.look(&sending);
        while let Some(step) =
            drill.next_if(|step| stage.begun.elapsed() >= step.at && stage.view().phase == Phase::Running)
        {
            if let Err(why) = stage.act(step.deed, &step.target, &sending) {
                stage.fault(format!("--fault {}: {why}", step.text));
            }
        }
        let is_over = time.is_some_and(|time| stage.view().elapsed >= time);
        if (quit || is_over || interrupted.load(Ordering::Relaxed)) && stage.view().phase == Phase::Running {
            // What waits at a node that stands still, or for one that is cut off, would never end.
            stage.reconnect_all();
            sending.end();
            stage.phase(Phase::Draining);
            ends_at = Some(Instant::now() + LAST_ACKS_MAX);
        }
        if ends_at.is_some_and(|ends_at| Instant::now() >= ends_at) {
            sending.give_up();
        }
        if arguments.picture.is_some() && stage.view().phase == Phase::Running && stage.view().totals.in_flight > 0 {
            picture = Some(stage.view().clone());
        }
        face.show(&mut stage);
        std::thread::sleep(TURN);
    }
    stage.reconnect_all();
    stage.look(&sending);
    for step in drill {
        stage.fault(format!("--fault {}: the feed had ended by then", step.text));
    }
    stage.phase(Phase::ReadingBack);
    face.show_now(&mut stage);
    let costs = sending.failures().costs(Instant::now());
    let load = sending.finish().map_err(Stopped::not_started)?;
    let findings = stage.read_back(&load);
    let mut summary = stage.summary(&load, &findings, &costs);
    let samples = stage.samples().object();
    let mut memory = json!({});
    stage.account().put(&mut memory);
    let failed = stage.stop();
    face.close();
    let faults = failed
        .into_iter()
        .map(|name| format!("node {name} did not end in order"));
    summary.faults.extend(faults);
    let reasons = &load.outcomes().reasons;
    let faults = reasons.iter().map(|(said, times)| format!("{times} refused: {said}"));
    summary.faults.extend(faults);
    summary.faults.extend(findings.said.iter().cloned());
    if let (Some(path), Some(mut view)) = (&arguments.picture, picture) {
        view.commands = commands::of_a_page();
        write_picture(path, &view)?;
    }
    if arguments.json {
        println!("{}", object(&summary, load.outcomes(), memory, samples));
    } else {
        for line in summary.lines() {
            // Whoever read may have gone; the exit code says the same.
            drop(writeln!(std::io::stdout(), "{line}"));
        }
    }
    Ok(summary.is_success())
}

/// The screen as it was last, for a page.
fn write_picture(path: &Path, view: &DemoView) -> Result<(), Stopped> {
    let area = Rect::new(0, 0, PICTURE.0, PICTURE.1);
    let mut buffer = Buffer::empty(area);
    draw_into(&mut buffer, area, view, Theme::new(Depth::Many));
    let text = svg(&buffer, "waterpark demo: 32 nodes in four data centres");
    std::fs::write(path, text).map_err(|error| Stopped {
        code: CommandCode::Output.entry(),
        said: format!("the picture cannot be written to {}: {error}", path.display()),
    })
}

/// Where the demo is shown.
enum Face {
    /// On a live screen.
    Screen(Box<Screen>),
    /// In lines.
    Lines { lines: PlainLines, next: Instant },
    /// Nowhere.
    None,
}

impl Face {
    fn open(arguments: &Arguments, sight: Sight) -> Face {
        if arguments.json {
            return Face::None;
        }
        let lines = || Face::Lines {
            lines: PlainLines::new(),
            next: Instant::now(),
        };
        match sight {
            Sight::Screen(_) if arguments.plain => lines(),
            Sight::Screen(theme) => match Screen::enter(theme) {
                Ok(screen) => Face::Screen(Box::new(screen)),
                Err(error) => {
                    eprintln!("no live screen: {error}; one line per second instead");
                    lines()
                }
            },
            Sight::Lines(why) => {
                eprintln!("{why}");
                lines()
            }
        }
    }

    fn keys(&mut self) -> Vec<Key> {
        match self {
            // A terminal that is gone wants the demo to end.
            Face::Screen(screen) => screen.keys().unwrap_or_else(|_| vec![Key::Quit]),
            Face::Lines { .. } | Face::None => Vec::new(),
        }
    }

    /// Shows, if it is time.
    fn show(&mut self, stage: &mut Stage) {
        match self {
            Face::Screen(screen) => drop(screen.draw(stage.view())),
            Face::Lines { lines, next } if Instant::now() >= *next => {
                *next = Instant::now() + Duration::from_secs(1);
                for line in lines.next(stage.view()) {
                    drop(writeln!(std::io::stdout(), "{line}"));
                }
            }
            Face::Lines { .. } | Face::None => (),
        }
    }

    /// Shows what will stand for a while.
    fn show_now(&mut self, stage: &mut Stage) {
        if let Face::Lines { next, .. } = self {
            *next = Instant::now();
        } else {
            std::thread::sleep(Duration::from_millis(110));
        }
        self.show(stage);
    }

    /// Gives the terminal back.
    fn close(self) {}
}

/// One failure in that object.
fn failure(failure: &FailureView) -> Value {
    json!({
        "what": failure.what,
        "at_s": failure.at.as_secs_f64(),
        "groups": failure.groups,
        "groups_back": failure.groups_back,
        "patients": failure.patients,
        "unavailability_us": { "median": failure.median_us, "worst": failure.worst_us },
        "copies_back_s": failure.whole_after.map(|after| after.as_secs_f64()),
    })
}

/// The JSON object of a run. Its fields are explained in `docs/bench.md`.
fn object(summary: &Summary, outcomes: &Outcomes, memory: Value, samples: Value) -> Value {
    let pair = |((entry, writer), us): (&(String, String), &Histogram<u64>)| {
        let at = |quantile: f64| us.value_at_quantile(quantile);
        json!({ "entry": entry, "writer": writer, "count": us.len(), "p50": at(0.5), "p99": at(0.99) })
    };
    let pairs: Vec<Value> = outcomes.us_by_pair.iter().map(pair).collect();
    let quantiles = |of: &crate::demo_screen::Quantiles| json!({ "count": of.count, "p50": of.p50_us, "p99": of.p99_us, "p999": of.p999_us, "max": of.max_us });
    json!({
        "schema": "waterpark.demo.2",
        "complete": true,
        "ok": summary.is_success(),
        "nodes": summary.nodes,
        "driver": summary.driver,
        "sent": summary.sent,
        "acked": summary.acked,
        "refused": summary.refused,
        "unknown": summary.unknown,
        "resends": summary.resends,
        "read_back": summary.read_back,
        "lost": summary.lost,
        "duplicated": summary.duplicated,
        "ack_us": quantiles(&summary.all),
        "ack_us_writers_dc": quantiles(&summary.writers_dc),
        "ack_us_other_dc": quantiles(&summary.other_dc),
        "ack_us_by_pair": pairs,
        "memory_bytes": summary.memory_bytes,
        "budget_bytes": summary.budget_bytes,
        "log_bytes": summary.log_bytes,
        "memory": memory,
        "memory_samples": samples,
        "seconds": summary.elapsed.as_secs_f64(),
        "failures": summary.failures.iter().map(failure).collect::<Vec<Value>>(),
        "faults": summary.faults,
    })
}
