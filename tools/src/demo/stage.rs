//! The cluster, its feed and its watch as one picture; and what the keys do to the cluster.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use waterpark_bench::mllp::{Findings, Load};
use waterpark_ring::Topology;

use super::feed::{RECENT_S, Sending, Told};
use super::nodes::{DATA_CENTRES, Failed, Nodes, Plan};
use super::samples::{Sample, Samples};
use super::watch::{Sight, Watch};
use crate::demo_screen::latency::Sides;
use crate::demo_screen::view::{
    CommandLine, Copies, Cursor, DataCentreView, EventLine, LinkView, Memory, NodeState, NodeView, Phase, Totals,
    Weight, ZoneView,
};
use crate::demo_screen::{AckLatency, DemoView, Key, Latencies, Summary};

/// How long the watch's first look at all nodes is waited for.
const FIRST_LOOK_MAX: Duration = Duration::from_secs(3);
/// A slowed link takes so many times its round trip.
const SLOWED: u64 = 5;
/// Events that are kept for the picture.
const EVENTS: usize = 200;
/// Seconds of acks that the picture goes back.
const HISTORY: usize = 600;
/// The feed holds while a node's memory is fuller than this, in percent: what a node refuses as full is worth showing, but not for ever.
const HOLD_PERCENT: u64 = 80;

/// The demo as it stands.
pub(super) struct Stage {
    nodes: Nodes,
    watch: Option<Watch>,
    sight: Sight,
    topology: Topology,
    view: DemoView,
    samples: Samples,
    begun: Instant,
    budget: u64,
    holding: bool,
    /// When the picture's slow parts were made last.
    looked: Option<Instant>,
}

impl Stage {
    pub(super) fn new(nodes: Nodes, plan: &Plan, target: Option<Duration>) -> Stage {
        let topology = nodes.config.topology();
        let index = |name: &str| DATA_CENTRES.iter().position(|dc| *dc == name).unwrap_or(0);
        let link = |((one, other), us): (&(String, String), &u64)| LinkView {
            from: index(one),
            to: index(other),
            configured_us: *us,
            now_us: *us,
        };
        let view = DemoView {
            phase: Phase::Starting,
            elapsed: Duration::ZERO,
            target,
            driver: String::new(),
            data_centres: data_centres(&nodes),
            totals: Totals::default(),
            acks_history: Vec::new(),
            latency: AckLatency::default(),
            copies: Copies::default(),
            memory: Memory::default(),
            links: plan.round_trips.iter().map(link).collect(),
            events: Vec::new(),
            commands: commands(&nodes),
            cursor: Cursor::default(),
            help: false,
        };
        Stage {
            nodes,
            watch: None,
            sight: Sight::default(),
            topology,
            view,
            samples: Samples::new(),
            begun: Instant::now(),
            budget: plan.memory,
            holding: false,
            looked: None,
        }
    }

    /// Waits until all nodes serve, and begins to watch them.
    pub(super) fn wait_ready(&mut self, mut show: impl FnMut(&mut Stage)) -> Result<(), Failed> {
        for index in 0..self.nodes.running.len() {
            loop {
                match self.nodes.is_ready(index) {
                    Ok(true) => break,
                    Ok(false) => show(self),
                    Err(failed) => return Err(failed),
                }
            }
            self.state(index, NodeState::Up);
        }
        for (note, nodes) in self.nodes.notes() {
            let nodes = if nodes == 1 {
                "1 node".to_owned()
            } else {
                format!("{nodes} nodes")
            };
            self.say(Weight::Warning, format!("{nodes}: {note}"));
        }
        let ids = self.nodes.running.iter().map(|running| running.id.0).collect();
        let groups = self.topology.keyspace().groups();
        let watch = Watch::start(self.nodes.addresses(), self.nodes.key, ids, groups);
        // The first look dials all nodes: it is over before the first message, whose time is measured.
        let until = Instant::now() + FIRST_LOOK_MAX;
        while !watch.has_looked() && Instant::now() < until {
            show(self);
            std::thread::sleep(Duration::from_millis(20));
        }
        self.watch = Some(watch);
        self.begun = Instant::now();
        Ok(())
    }

    pub(super) fn topology(&self) -> &Topology {
        &self.topology
    }

    pub(super) fn key(&self) -> [u8; 32] {
        self.nodes.key
    }

    pub(super) fn node_count(&self) -> usize {
        self.nodes.running.len()
    }

    /// Each node's MLLP port, with its data centre.
    pub(super) fn mllp_ports(&self) -> Vec<(SocketAddr, String)> {
        let port = |running: &super::nodes::Running| {
            let dc = running.name.split('-').next().unwrap_or_default();
            (running.mllp, dc.to_owned())
        };
        self.nodes.running.iter().map(port).collect()
    }

    pub(super) fn view(&self) -> &DemoView {
        &self.view
    }

    /// What the memory was, from the begin of the feed.
    pub(super) fn samples(&self) -> &Samples {
        &self.samples
    }

    pub(super) fn phase(&mut self, phase: Phase) {
        self.view.phase = phase;
    }

    /// Something happened.
    pub(super) fn say(&mut self, weight: Weight, text: String) {
        let number = self.view.events.last().map_or(1, |event| event.number + 1);
        let at = self.begun.elapsed();
        self.view.events.push(EventLine {
            number,
            at,
            weight,
            text,
        });
        if self.view.events.len() > EVENTS {
            self.view.events.remove(0);
        }
    }

    fn state(&mut self, index: usize, state: NodeState) {
        let name = &self.nodes.running[index].name;
        let zones = self.view.data_centres.iter_mut().flat_map(|dc| &mut dc.zones);
        if let Some(node) = zones.flat_map(|zone| &mut zone.nodes).find(|node| node.name == *name) {
            node.state = state;
        }
    }

    /// Does what a key says.
    pub(super) fn press(&mut self, key: Key) {
        match key {
            Key::PauseOrResume => {
                let Some(name) = self.view.selected().map(|node| node.name.clone()) else {
                    return;
                };
                if let Some(index) = self.nodes.running.iter().position(|running| running.name == name) {
                    self.pause_or_resume(index);
                }
            }
            Key::SlowLink => self.slow_or_restore(),
            Key::Help => self.view.help = !self.view.help,
            Key::Quit | Key::Redraw => (),
            _ => self.view.cursor = self.view.moved(key),
        }
    }

    fn pause_or_resume(&mut self, index: usize) {
        let paused = self.nodes.pause_or_resume(index);
        let name = self.nodes.running[index].name.clone();
        if paused {
            self.state(index, NodeState::Paused);
            self.say(
                Weight::Warning,
                format!("{name} paused: its groups are not written, all others go on"),
            );
        } else {
            self.state(index, NodeState::Up);
            self.say(Weight::Good, format!("{name} goes on"));
        }
        let paused = self.nodes.running.iter().filter(|running| running.paused);
        let ids = paused.map(|running| running.id.0).collect();
        if let Some(watch) = &self.watch {
            watch.skip(ids);
        }
    }

    /// Lets all go on that were paused.
    pub(super) fn resume_all(&mut self) {
        for index in 0..self.nodes.running.len() {
            if self.nodes.running[index].paused {
                self.pause_or_resume(index);
            }
        }
    }

    fn slow_or_restore(&mut self) {
        let Some(link) = self.view.links.get_mut(self.view.cursor.link) else {
            return;
        };
        let slowed = !link.is_slowed();
        link.now_us = if slowed {
            link.configured_us * SLOWED
        } else {
            link.configured_us
        };
        let (one, other, us) = (DATA_CENTRES[link.from], DATA_CENTRES[link.to], link.now_us);
        self.nodes.set_round_trip(one, other, us);
        let weight = if slowed { Weight::Warning } else { Weight::Good };
        self.say(weight, format!("round trip {one}-{other} now {} ms", us / 1_000));
    }

    /// Takes in what feed and watch say, ten times a second.
    pub(super) fn look(&mut self, sending: &Sending) {
        if self
            .looked
            .is_some_and(|looked| looked.elapsed() < Duration::from_millis(90))
            && !sending.is_over()
        {
            return;
        }
        self.looked = Some(Instant::now());
        let told = sending.told();
        if let Some(watch) = &self.watch {
            self.sight = watch.sight();
        }
        self.take_in(&told);
        let fullest = self
            .sight
            .nodes
            .values()
            .map(|seen| seen.memory_used * 100 / seen.memory_budget.max(1))
            .max();
        let full = fullest.unwrap_or(0) >= HOLD_PERCENT;
        if full != self.holding {
            self.holding = full;
            sending.hold(full);
            if full {
                self.say(
                    Weight::Warning,
                    format!(
                        "a node's memory is {HOLD_PERCENT} % full of acked history: the feed rests (more with --memory)"
                    ),
                );
            }
        }
    }

    fn take_in(&mut self, told: &Told) {
        let view = &mut self.view;
        let outcomes = &told.outcomes;
        view.elapsed = told.elapsed;
        view.driver.clone_from(&self.sight.driver);
        // The second that runs is not a whole one.
        let whole = told.acks_by_second.len().saturating_sub(1);
        view.acks_history = told.acks_by_second[whole.saturating_sub(HISTORY)..whole].to_vec();
        view.totals = Totals {
            sent: outcomes.sent,
            acked: outcomes.acked,
            refused: outcomes.refused,
            unknown: outcomes.unknown,
            in_flight: outcomes.in_flight(),
            resends: outcomes.resends,
            acks_per_s: view.acks_history.last().copied().unwrap_or(0),
        };
        view.latency = latency(told);
        view.copies = self.sight.copies;
        view.memory = Memory {
            resident_bytes: resident_bytes(),
            budget_bytes: self.budget,
            log_bytes: self.sight.nodes.values().map(|seen| seen.log_bytes).sum(),
        };
        self.samples.take_in(Sample {
            at: view.elapsed,
            resident_bytes: view.memory.resident_bytes,
            log_bytes: view.memory.log_bytes,
            acked: outcomes.acked,
        });
        for running in &self.nodes.running {
            let zones = view.data_centres.iter_mut().flat_map(|dc| &mut dc.zones);
            let node = zones
                .flat_map(|zone| &mut zone.nodes)
                .find(|node| node.name == running.name);
            if let (Some(node), Some(seen)) = (node, self.sight.nodes.get(&running.id.0)) {
                node.messages_per_s = seen.messages_per_s;
                node.acks_per_s = seen.acks_per_s;
                node.entries = seen.entries;
                node.log_bytes = seen.log_bytes;
                node.actors = seen.actors;
            }
        }
    }

    /// What it came to, before the nodes end.
    pub(super) fn summary(&self, load: &Load, findings: &Findings) -> Summary {
        let outcomes = load.outcomes();
        let quantiles = |histogram: &Histogram<u64>| latencies(histogram).quantiles();
        Summary {
            nodes: self.nodes.running.len() as u64,
            driver: self.sight.driver.clone(),
            elapsed: self.view.elapsed,
            sent: outcomes.sent,
            acked: outcomes.acked,
            refused: outcomes.refused,
            unknown: outcomes.unknown,
            resends: outcomes.resends,
            read_back: findings.looked_for,
            lost: findings.lost,
            duplicated: findings.duplicated,
            writers_dc: quantiles(&outcomes.home_us),
            other_dc: quantiles(&outcomes.away_us),
            all: quantiles(&outcomes.all_us()),
            memory_bytes: resident_bytes(),
            budget_bytes: self.budget,
            log_bytes: self.view.memory.log_bytes,
            faults: Vec::new(),
        }
    }

    /// Ends the watch and all nodes; the names of those that did not end in order.
    pub(super) fn stop(self) -> Vec<String> {
        drop(self.watch);
        self.nodes.stop()
    }
}

fn data_centres(nodes: &Nodes) -> Vec<DataCentreView> {
    let mut data_centres: Vec<DataCentreView> = Vec::new();
    for running in &nodes.running {
        let mut parts = running.name.split('-');
        let (dc, zone) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        if data_centres.last().is_none_or(|last| last.name != dc) {
            data_centres.push(DataCentreView {
                name: dc.to_owned(),
                zones: Vec::new(),
            });
        }
        let zones = &mut data_centres.last_mut().expect("one was just pushed").zones;
        if zones.last().is_none_or(|last| last.name != zone) {
            zones.push(ZoneView {
                name: zone.to_owned(),
                nodes: Vec::new(),
            });
        }
        zones.last_mut().expect("one was just pushed").nodes.push(NodeView {
            name: running.name.clone(),
            state: NodeState::Starting,
            messages_per_s: 0,
            acks_per_s: 0,
            entries: 0,
            log_bytes: 0,
            actors: 0,
        });
    }
    data_centres
}

/// Lines for another shell, with this command under the name by which it was called.
fn commands(nodes: &Nodes) -> Vec<CommandLine> {
    let binary = std::env::args().next().unwrap_or_else(|| "waterpark".to_owned());
    let config = nodes.config_path().display().to_string();
    let port = nodes.running.first().map_or(0, |running| running.mllp.port());
    command_lines(&binary, &config, port)
}

/// As [`commands`], with names that a page can show.
pub(super) fn commands_of_a_page() -> Vec<CommandLine> {
    command_lines("waterpark", "cluster.toml", 7_128)
}

fn command_lines(binary: &str, config: &str, port: u16) -> Vec<CommandLine> {
    let line = |purpose: &str, command: String| CommandLine {
        purpose: purpose.to_owned(),
        command,
    };
    let of_patient = |verb: &str| format!("{binary} actor {verb} patient/4711,facility=FL001 --config {config}");
    let admit = "MSH|^~\\\\&|A|FL001|||||ADT^A01|1|P|2.5\\rPID|||4711\\rPV1||I|WARD^1\\r";
    vec![
        line(
            "admit a patient",
            format!("printf '{admit}' | {binary} send --mllp 127.0.0.1:{port} -"),
        ),
        line("read it back", of_patient("history")),
        line("see where the patient is", of_patient("get")),
        line("see which members hold it", of_patient("where")),
    ]
}

fn latency(told: &Told) -> AckLatency {
    let outcomes = &told.outcomes;
    let [home, away] = &told.recent;
    let mut both = home.clone();
    both.add(away).expect("both have the same bounds");
    let sides = |recent: &Histogram<u64>, whole: &Histogram<u64>| Sides {
        recent: latencies(recent),
        whole: latencies(whole),
    };
    AckLatency {
        recent_s: RECENT_S as u64,
        writers_dc: sides(home, &outcomes.home_us),
        other_dc: sides(away, &outcomes.away_us),
        all: sides(&both, &outcomes.all_us()),
    }
}

fn latencies(histogram: &Histogram<u64>) -> Latencies {
    let recorded = histogram.iter_recorded();
    let rows: Vec<(u64, u64)> = recorded
        .map(|step| (step.value_iterated_to(), step.count_at_value()))
        .collect();
    Latencies::of(rows.into_iter())
}

/// Memory of this process that is resident.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: Option<u64> = text
        .split_ascii_whitespace()
        .nth(1)
        .and_then(|field| field.parse().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}
