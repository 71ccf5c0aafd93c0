//! `waterpark latency`: what this host costs before anything runs on it.
//!
//! Four parts, each on its share of the time: a core that spins, cache lines between cores, bytes over TCP, appends that wait for the disk.
//! **Invariant:** an answer says what was not measured and why; a part never runs longer than its share and one sample.

mod cores;
mod disk;
mod error;
mod figure;
mod network;

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration as StdDuration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use waterpark::config::{CommandCode, Duration};
use waterpark_reactor::cores::Cores;

use crate::errors;
use crate::failure::{Failure, code};
use crate::host::steal_ms;
use crate::show;
use disk::Synced;
use figure::{Bound, Figure, shown};

pub(crate) use error::LatencyError;

/// Bounds of --for, in µs.
const TIME_US: std::ops::RangeInclusive<u64> = 100_000..=3_600_000_000;
/// A pair of cores is measured for at least so long; where there is no time for all of them, the others are left out.
const PAIR_MIN: StdDuration = StdDuration::from_millis(5);
/// From here on a gap is a hiccup.
const HICCUP: StdDuration = StdDuration::from_micros(10);

/// What to measure.
#[derive(Args)]
pub(crate) struct Arguments {
    /// How long all of it may take
    #[arg(long = "for", value_name = "TIME", default_value = "8s")]
    time: Duration,
    /// Measure this part alone; may be given again
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Part>,
    /// The core that spins; without it the last one that is allowed
    #[arg(long, value_name = "N")]
    core: Option<u32>,
    /// Go to another `waterpark latency --listen` instead of loopback
    #[arg(long, value_name = "HOST:PORT")]
    peer: Option<String>,
    /// Where appends go; the file has no name and is gone at the end
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,
    /// Measure nothing, and send back what peers send, until it is stopped
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["time", "only", "core", "peer", "folder", "json"])]
    listen: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Gaps of a spinning core
    Hiccups,
    /// Cache lines between each two cores
    Cores,
    /// 128 bytes over TCP and back
    Network,
    /// Appends of 128 bytes that wait for the disk
    Disk,
}

const PARTS: [Part; 4] = [Part::Hiccups, Part::Cores, Part::Network, Part::Disk];

/// What was measured, and what was not.
#[derive(Default)]
struct Measured {
    hiccups: Option<(u32, Figure)>,
    pairs: Vec<((u32, u32), Figure)>,
    network: Option<(Option<String>, Figure)>,
    disk: Option<Synced>,
    missing: Vec<String>,
}

impl Measured {
    /// On a busy machine a thread may not run at all in its time.
    fn say_what_has_no_sample(&mut self) {
        let hiccups = self
            .hiccups
            .iter()
            .map(|(core, figure)| (format!("hiccups of core {core}"), figure));
        let pairs = self
            .pairs
            .iter()
            .map(|((a, b), figure)| (format!("core {a} to {b}"), figure));
        let network = self.network.iter().map(|(_, figure)| ("network".to_owned(), figure));
        let disk = self.disk.iter().map(|synced| ("disk".to_owned(), &synced.figure));
        let all = hiccups.chain(pairs).chain(network).chain(disk);
        let empty = all.filter(|(_, figure)| figure.count() == 0);
        let missing: Vec<String> = empty
            .map(|(name, _)| format!("{name}: no sample in its time; the machine is busy, or --for too short"))
            .collect();
        self.missing.extend(missing);
    }
}

/// 0: measured. 1: the host refused. 2: a core or an option that cannot be. 4: the peer cannot be reached.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    if let Some(address) = &arguments.listen {
        return listen(address);
    }
    if !TIME_US.contains(&arguments.time.as_us()) {
        let words = "--for is at least 100ms and at most 1h";
        errors::say(CommandCode::OptionRange.entry(), &words);
        return ExitCode::from(code::USAGE);
    }
    match measure(arguments).and_then(|(allowed, steal, measured)| {
        let text = if arguments.json {
            object(arguments, &allowed, steal, &measured).to_string()
        } else {
            page(arguments, steal, &measured)
        };
        show::print(&text).and_then(|()| show::flush())
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.end(arguments.json),
    }
}

/// How long a measurement of a host may take, as an option says it.
///
/// # Errors
/// In words, what it may be.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let time: Duration = text.parse().map_err(|error| format!("{error}"))?;
    let fits = TIME_US.contains(&time.as_us());
    fits.then_some(time)
        .ok_or_else(|| "at least 100ms and at most 1h".to_owned())
}

/// All parts on this host, within so much time: as `--json` prints them, and as a page.
///
/// # Errors
/// What the host refused.
pub(crate) fn of_this_host(time: Duration) -> Result<(Value, String), Failure> {
    let arguments = Arguments {
        time,
        only: Vec::new(),
        core: None,
        peer: None,
        folder: ".".into(),
        listen: None,
        json: false,
    };
    let (allowed, steal, measured) = measure(&arguments)?;
    Ok((
        object(&arguments, &allowed, steal, &measured),
        page(&arguments, steal, &measured),
    ))
}

/// Serves peers until the process is ended.
fn listen(text: &str) -> ExitCode {
    let served = address(text).and_then(|address| {
        let failed = |cause| {
            let address = text.to_owned();
            Failure::Latency(LatencyError::Listen { address, cause })
        };
        let listener = TcpListener::bind(address).map_err(failed)?;
        let own = listener.local_addr().map_err(failed)?;
        show::print(&format!("listening on {own}")).and_then(|()| show::flush())?;
        Err(failed(network::serve(&listener)))
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.end(false),
    }
}

fn address(text: &str) -> Result<SocketAddr, Failure> {
    let no_address = || Failure::PeerAddress { found: text.to_owned() };
    let mut found = text.to_socket_addrs().map_err(|_| no_address())?;
    found.next().ok_or_else(no_address)
}

/// All parts that were asked for, one after the other; and the time that a hypervisor gave to others meanwhile, in ms.
fn measure(arguments: &Arguments) -> Result<(Cores, Option<u64>, Measured), Failure> {
    let failed = Failure::Latency;
    let allowed = waterpark_reactor::cores::allowed()
        .map_err(LatencyError::CoresUnknown)
        .map_err(failed)?;
    let peer = arguments.peer.as_deref().map(address).transpose()?;
    let parts: Vec<Part> = PARTS
        .into_iter()
        .filter(|part| arguments.only.is_empty() || arguments.only.contains(part))
        .collect();
    let shares = u32::try_from(parts.len()).unwrap_or(1).max(1);
    let share = StdDuration::from_micros(arguments.time.as_us()) / shares;
    let core = arguments.core.or(allowed.as_slice().last().copied()).unwrap_or(0);
    let steal_before = steal_ms();
    let mut measured = Measured::default();
    for part in parts {
        match part {
            Part::Hiccups => {
                let figure = cores::hiccups(core, &allowed, Bound::by_time(share));
                measured.hiccups = Some((core, figure.map_err(LatencyError::Core).map_err(failed)?));
            }
            Part::Cores => pairs(&allowed, share, &mut measured).map_err(failed)?,
            Part::Network => {
                let bound = Bound::by_time(share);
                let figure = match peer {
                    Some(address) => network::round_trips(address, bound),
                    None => network::loopback(&allowed, bound),
                };
                measured.network = Some((arguments.peer.clone(), figure.map_err(failed)?));
            }
            Part::Disk => {
                let synced = disk::syncs(&arguments.folder, Bound::by_time(share));
                measured.disk = Some(synced.map_err(failed)?);
            }
        }
    }
    measured.say_what_has_no_sample();
    let steal = steal_ms()
        .zip(steal_before)
        .map(|(after, before)| after.saturating_sub(before));
    Ok((allowed, steal, measured))
}

/// Each two cores, as many as there is time for.
fn pairs(allowed: &Cores, share: StdDuration, measured: &mut Measured) -> Result<(), LatencyError> {
    let all = allowed.as_slice();
    let pairs: Vec<(u32, u32)> = (1..all.len())
        .flat_map(|b| (0..b).map(move |a| (all[a], all[b])))
        .collect();
    if pairs.is_empty() {
        measured
            .missing
            .push("core to core: one core alone is allowed".to_owned());
        return Ok(());
    }
    let each = (share / u32::try_from(pairs.len()).unwrap_or(u32::MAX)).max(PAIR_MIN);
    let begun = std::time::Instant::now();
    for (done, pair) in pairs.iter().enumerate() {
        if done > 0 && begun.elapsed() >= share {
            let left = pairs.len() - done;
            measured
                .missing
                .push(format!("core to core: no time for {left} of {} pairs", pairs.len()));
            break;
        }
        let figure = cores::round_trips(*pair, allowed, Bound::by_time(each)).map_err(LatencyError::Core)?;
        measured.pairs.push((*pair, figure));
    }
    Ok(())
}

fn page(arguments: &Arguments, steal: Option<u64>, measured: &Measured) -> String {
    let mut rows = vec![
        ["", "samples", "p50", "p99", "p99.9", "max"]
            .map(str::to_owned)
            .to_vec(),
    ];
    let mut row = |name: String, figure: &Figure| {
        let count = crate::demo_screen::figures::count(figure.count());
        rows.push([name, count].into_iter().chain(figure.cells()).collect());
    };
    let mut notes = Vec::new();
    if let Some((core, figure)) = &measured.hiccups {
        row(format!("gaps of core {core} while it spins"), figure);
        let hiccups = figure.at_least(HICCUP);
        notes.push(format!(
            "hiccups ({} or longer) of core {core}: {hiccups}",
            shown(10_000)
        ));
    }
    for ((a, b), figure) in &measured.pairs {
        row(format!("cache line, core {a} to {b} and back"), figure);
    }
    if let Some((peer, figure)) = &measured.network {
        let to = peer.as_deref().unwrap_or("loopback");
        row(format!("{} bytes over TCP, {to} and back", network::MESSAGE), figure);
    }
    if let Some(synced) = &measured.disk {
        let folder = arguments.folder.display();
        row(
            format!("append of {} bytes and fdatasync in {folder}", disk::APPEND),
            &synced.figure,
        );
        if synced.is_in_memory {
            notes.push(format!(
                "{folder} is in memory: no disk was waited for; --folder names another"
            ));
        }
    }
    let mut out = show::table(&rows);
    if measured.pairs.len() > 1 {
        out += &format!("\n\n{}", matrix(&measured.pairs));
    }
    if let Some((core, figure)) = &measured.hiccups {
        let rows: Vec<Vec<String>> = figure
            .histogram()
            .into_iter()
            .map(|(to, count)| {
                vec![
                    format!("up to {}", shown(to)),
                    crate::demo_screen::figures::count(count),
                ]
            })
            .collect();
        out += &format!("\n\ngaps of core {core}\n{}", show::table(&rows));
    }
    out.push('\n');
    if let Some(steal @ 1..) = steal {
        notes.push(format!(
            "a hypervisor gave {steal} ms of the cores' time to others meanwhile"
        ));
    }
    for note in notes {
        out += &format!("\n{note}");
    }
    for missing in &measured.missing {
        out += &format!("\nnot measured: {missing}");
    }
    out.trim_end().to_owned()
}

/// Median round trips between cores as a table.
fn matrix(pairs: &[((u32, u32), Figure)]) -> String {
    let cores: Cores = pairs.iter().flat_map(|((a, b), _)| [*a, *b]).collect();
    let head = std::iter::once("p50".to_owned()).chain(cores.as_slice().iter().map(|core| format!("core {core}")));
    let mut rows: Vec<Vec<String>> = vec![head.collect()];
    for one in cores.as_slice() {
        let cell = |other: &u32| {
            let pair = (*one.min(other), *one.max(other));
            let found = pairs.iter().find(|(cores, _)| *cores == pair);
            found.map_or_else(|| "-".to_owned(), |(_, figure)| figure.median_shown())
        };
        rows.push(
            std::iter::once(format!("core {one}"))
                .chain(cores.as_slice().iter().map(cell))
                .collect(),
        );
    }
    show::table(&rows)
}

fn object(arguments: &Arguments, allowed: &Cores, steal: Option<u64>, measured: &Measured) -> Value {
    let hiccups = measured.hiccups.as_ref().map(|(core, figure)| {
        let histogram = figure.histogram().into_iter();
        let rows: Vec<Value> = histogram
            .map(|(to, count)| json!({ "to_ns": to, "count": count }))
            .collect();
        json!({ "core": core, "gap_ns": figure.to_json(), "from_10us": figure.at_least(HICCUP), "histogram": rows })
    });
    let pairs = measured.pairs.iter();
    let pairs: Vec<Value> = pairs
        .map(|((a, b), figure)| json!({ "cores": [a, b], "round_trip_ns": figure.to_json() }))
        .collect();
    let network = measured
        .network
        .as_ref()
        .map(|(peer, figure)| json!({ "peer": peer, "bytes": network::MESSAGE, "round_trip_ns": figure.to_json() }));
    let disk = measured.disk.as_ref().map(|synced| {
        json!({
            "folder": arguments.folder.display().to_string(), "bytes": disk::APPEND,
            "in_memory": synced.is_in_memory, "sync_ns": synced.figure.to_json(),
        })
    });
    json!({
        "schema": "waterpark.latency.1", "complete": measured.missing.is_empty(), "missing": measured.missing,
        "for_ms": arguments.time.as_us() / 1_000, "cores": allowed.to_string(), "steal_ms": steal,
        "hiccups": hiccups, "core_to_core": pairs, "network": network, "disk": disk,
    })
}

#[cfg(test)]
mod tests;
