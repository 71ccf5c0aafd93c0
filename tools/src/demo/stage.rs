//! The cluster, its feed and its watch as one picture.
//!
//! What keys do to the cluster is in `acts.rs`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use waterpark::Presence;
use waterpark_bench::mllp::{Findings, Load, check_where};
use waterpark_client::blocking::{Client, ConnectOptions};
use waterpark_ring::Topology;

use super::account::Account;
use super::commands;
use super::failures::Cost;
use super::feed::{RECENT_S, Sending, Told};
use super::nodes::{DATA_CENTRES, Failed, Life, Nodes, Plan};
use super::samples::{Sample, Samples};
use super::watch::{Sight, Watch, seats};
use crate::demo_screen::latency::Sides;
use crate::demo_screen::view::{
    Copies, Cursor, DataCentreView, EventLine, FailureView, LinkView, LogState, Memory, NodeState, NodeView, Phase,
    Totals, Weight, ZoneView,
};
use crate::demo_screen::{AckLatency, DemoView, Latencies, MemoryParts, Summary};

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
    pub(super) nodes: Nodes,
    pub(super) watch: Option<Watch>,
    pub(super) sight: Sight,
    topology: Topology,
    pub(super) view: DemoView,
    samples: Samples,
    pub(super) begun: Instant,
    /// What went wrong, and nobody had asked for.
    faults: Vec<String>,
    /// The failure of which it was said last that all copies are back.
    told_whole: Option<Duration>,
    /// What the memory was for at the last look.
    account: Account,
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
            commands: commands::of(&nodes),
            failure: None,
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
            account: Account::default(),
            begun: Instant::now(),
            budget: plan.memory,
            faults: Vec::new(),
            told_whole: None,
            holding: false,
            looked: None,
        }
    }

    /// Waits until all nodes serve, and begins to watch them.
    pub(super) fn wait_ready(&mut self, mut show: impl FnMut(&mut Stage)) -> Result<(), Failed> {
        while !self.nodes.all_serve() {
            self.look_after(None);
            if let Some(failed) = self.nodes.not_ready() {
                return Err(failed);
            }
            self.show_nodes();
            show(self);
            std::thread::sleep(Duration::from_millis(5));
        }
        self.show_nodes();
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

    /// Looks for everything that was acked in the members that each group has by now.
    pub(super) fn read_back(&self, load: &Load) -> Findings {
        let groups = self.topology.keyspace().groups();
        let answer = self.nodes.running.iter().filter(|running| running.answers());
        let nodes: Vec<u16> = answer.map(|running| running.id.0).collect();
        let mut client = None;
        let mut ask = || {
            if client.is_none() {
                client = Client::connect(self.nodes.addresses(), &self.nodes.key, ConnectOptions::default()).ok();
            }
            let seats = client.as_ref().map(|client| seats(client, &nodes, groups));
            seats.unwrap_or_else(|| self.sight.seats.clone())
        };
        check_where(&self.topology, self.nodes.key, load.ledger(), &mut ask)
    }

    pub(super) fn node_count(&self) -> usize {
        self.nodes.running.len()
    }

    /// Each node's MLLP port, with its data centre.
    pub(super) fn mllp_ports(&self) -> Vec<(SocketAddr, String)> {
        let port = |running: &super::nodes::Running| (running.mllp, running.data_centre().to_owned());
        self.nodes.running.iter().map(port).collect()
    }

    pub(super) fn view(&self) -> &DemoView {
        &self.view
    }

    /// What the memory was, from the begin of the feed.
    pub(super) fn samples(&self) -> &Samples {
        &self.samples
    }

    /// What the memory was for, when the feed was looked at last.
    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    pub(super) fn phase(&mut self, phase: Phase) {
        if phase == Phase::Running {
            self.begun = Instant::now();
        }
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

    /// Something went wrong that nobody asked for: the demo will not end well.
    pub(super) fn fault(&mut self, text: String) {
        self.faults.push(text.clone());
        self.say(Weight::Warning, text);
    }

    /// Shows what was done to each node, and what the topology log says of it.
    fn show_nodes(&mut self) {
        let presences = self.nodes.presences();
        let mut changed: BTreeMap<LogState, Vec<String>> = BTreeMap::new();
        let views = self.view.data_centres.iter_mut().flat_map(|dc| &mut dc.zones);
        for view in views.flat_map(|zone| &mut zone.nodes) {
            let place = self.nodes.running.iter().position(|running| running.name == view.name);
            let place = place.expect("the picture was made of these nodes");
            let running = &self.nodes.running[place];
            view.state = match &running.life {
                Life::Dead => NodeState::Killed,
                Life::Starts(_) | Life::Begins(_) => NodeState::Starting,
                Life::Serves(_) if running.paused => NodeState::Paused,
                Life::Serves(_) if running.cut || self.nodes.cut.contains(running.data_centre()) => NodeState::Cut,
                Life::Serves(_) if running.drains => NodeState::Draining,
                Life::Serves(_) => NodeState::Up,
            };
            let log = match presences[place] {
                Presence::Unknown | Presence::Joined => LogState::Unknown,
                Presence::Up => LogState::Up,
                Presence::Draining => LogState::Draining,
                Presence::Down | Presence::Gone | Presence::Left => LogState::Down,
            };
            let before = std::mem::replace(&mut view.log, log);
            if before != log && before != LogState::Unknown {
                changed.entry(log).or_default().push(view.name.clone());
            }
        }
        for (log, names) in changed {
            let names = match names.as_slice() {
                [first, _, .., last] => format!("{} nodes from {first} to {last}", names.len()),
                few => few.join(" and "),
            };
            self.say(Weight::Note, format!("topology log: {names} {}", log.word()));
        }
    }

    pub(super) fn slow_or_restore(&mut self) {
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
        self.look_after(Some(sending));
        self.show_nodes();
        self.take_in(&told);
        self.reckon(sending);
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

    /// What failures cost so far.
    fn reckon(&mut self, sending: &Sending) {
        let writer_of = |group: u32| self.sight.seats.get(group as usize)?.first().copied();
        let now = Instant::now();
        let mut failures = sending.failures();
        if let Some(looked) = self.sight.looked {
            failures.on_writers(looked, writer_of);
            if self.sight.copies.five == self.sight.copies.groups {
                failures.on_whole(looked);
            }
        }
        let last = failures.last(now);
        drop(failures);
        let is_whole = last.as_ref().is_some_and(|cost| cost.whole_after.is_some());
        if let Some(cost) = last
            .as_ref()
            .filter(|cost| is_whole && self.told_whole != Some(cost.since_begin))
        {
            self.told_whole = Some(cost.since_begin);
            let text = failure_view(cost).sentence();
            self.say(Weight::Good, text);
        }
        self.view.failure = last.as_ref().map(failure_view);
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
        let account = Account {
            resident: resident_bytes(),
            nodes: self.sight.nodes.values().map(|seen| seen.kept).sum(),
            feed: told.book_bytes,
        };
        view.memory = Memory {
            resident_bytes: account.resident,
            budget_bytes: self.budget,
            log_bytes: account.nodes.logs,
        };
        self.samples.take_in(Sample {
            at: view.elapsed,
            account,
            acked: outcomes.acked,
        });
        self.account = account;
        for running in &self.nodes.running {
            let zones = view.data_centres.iter_mut().flat_map(|dc| &mut dc.zones);
            let node = zones
                .flat_map(|zone| &mut zone.nodes)
                .find(|node| node.name == running.name);
            if let (Some(node), Some(seen)) = (node, self.sight.nodes.get(&running.id.0)) {
                node.messages_per_s = seen.messages_per_s;
                node.acks_per_s = seen.acks_per_s;
                node.entries = seen.entries;
                node.log_bytes = seen.kept.logs;
                node.actors = seen.actors;
            }
        }
    }

    /// What it came to, before the nodes end.
    pub(super) fn summary(&self, load: &Load, findings: &Findings, costs: &[Cost]) -> Summary {
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
            parts: MemoryParts {
                resident: self.account.resident,
                logs: self.account.nodes.logs,
                nodes: self.account.nodes_beside_logs(),
                feed: self.account.feed,
                rest: self.account.rest(),
            },
            failures: costs.iter().map(failure_view).collect(),
            faults: self.faults.clone(),
        }
    }

    /// Ends the watch and all nodes; the names of those that did not end in order.
    pub(super) fn stop(self) -> Vec<String> {
        drop(self.watch);
        self.nodes.stop()
    }
}

fn failure_view(cost: &Cost) -> FailureView {
    FailureView {
        what: cost.what.clone(),
        at: cost.since_begin,
        ago: cost.ago,
        groups: cost.groups,
        groups_back: cost.groups_back,
        patients: cost.patients,
        median_us: cost.median_us,
        worst_us: cost.worst_us,
        whole_after: cost.whole_after,
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
            log: LogState::Unknown,
            messages_per_s: 0,
            acks_per_s: 0,
            entries: 0,
            log_bytes: 0,
            actors: 0,
        });
    }
    data_centres
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
