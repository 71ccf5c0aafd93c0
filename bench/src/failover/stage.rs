//! The processes of a measurement: what is done to them, and waiting until they are whole again.
//!
//! It chooses nothing about when; scenarios do. What goes wrong beyond a fault that was made is noted, and the measurement goes on as far as
//! it can. **Invariant:** every wait ends, at its limit or when the measurement is to end.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use waterpark_client::blocking::{Client, ConnectOptions};

use super::read_back::{Books, Findings, Members};
use super::scenario::Scenario;
use crate::cluster::{Cluster, addresses};
use crate::run::{self, RunError};
use crate::sight::{GroupSight, Sight};

/// Copies of every group of a whole cluster.
const COPIES: usize = 5;
/// With fewer copies of a group than this the next fault could be one too many.
const COPIES_MIN: usize = 4;
/// How long the copies may take to come back.
const WHOLE_MAX: Duration = Duration::from_secs(60);
/// How long a node that was started may take until it serves.
const READY_MAX: Duration = Duration::from_secs(30);
/// How long a killed process may take to be gone.
const GONE_MAX: Duration = Duration::from_secs(5);
/// Members that have stayed the same for so long are where they belong.
const SETTLED: Duration = Duration::from_secs(2);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What goes wrong is described so often; after that nobody reads it.
const FAULTS_MAX: usize = 40;

/// Of what passes between some nodes and others, what is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// What those send.
    Out,
    /// What is sent to those.
    In,
    /// All.
    Both,
}

/// A cluster under measurement.
pub(super) struct Stage<'g> {
    cluster: Cluster,
    control: Client,
    ids: Vec<u16>,
    /// By node: its process runs and is not stopped.
    alive: Vec<bool>,
    groups: u32,
    /// By key.
    groups_of_keys: Vec<u32>,
    sight: Sight,
    faults: Vec<String>,
    go_on: &'g dyn Fn() -> bool,
}

impl<'g> Stage<'g> {
    /// A cluster that has just been started.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub(super) fn open(
        cluster: Cluster,
        groups_of_keys: Vec<u32>,
        go_on: &'g dyn Fn() -> bool,
    ) -> Result<Stage<'g>, RunError> {
        let control = Client::connect(cluster.addresses(), &cluster.key(), ConnectOptions::default())?;
        let ids: Vec<u16> = cluster.config().nodes.iter().map(|node| node.id.0).collect();
        Ok(Stage {
            alive: vec![true; ids.len()],
            groups: cluster.config().groups,
            cluster,
            control,
            ids,
            groups_of_keys,
            sight: Sight::default(),
            faults: Vec::new(),
            go_on,
        })
    }

    /// What serves the nodes' sockets.
    pub(super) fn driver(&self) -> String {
        run::driver_of(&self.control, &self.cluster.config().topology())
    }

    pub(super) fn nodes(&self) -> usize {
        self.ids.len()
    }

    /// All nodes.
    pub(super) fn all(&self) -> Vec<usize> {
        (0..self.nodes()).collect()
    }

    /// The group of each key.
    pub(super) fn groups_of_keys(&self) -> &[u32] {
        &self.groups_of_keys
    }

    pub(super) fn names(&self, nodes: &[usize]) -> Vec<String> {
        nodes
            .iter()
            .map(|node| self.cluster.members()[*node].name.clone())
            .collect()
    }

    /// How they are numbered.
    pub(super) fn ids_of(&self, nodes: &[usize]) -> impl Iterator<Item = u16> {
        nodes.iter().map(|node| self.ids[*node])
    }

    /// Members of all groups, once they have stayed the same for a while: a group may still be on its way back to where it belongs.
    pub(super) fn settled_members(&mut self) -> BTreeMap<u32, Vec<u16>> {
        let until = Instant::now() + WHOLE_MAX;
        let mut since = Instant::now();
        let mut members = self.sight.members();
        while since.elapsed() < SETTLED && Instant::now() < until && self.goes_on() {
            std::thread::sleep(LOOK_EVERY);
            self.look();
            let now = self.sight.members();
            if now != members {
                (members, since) = (now, Instant::now());
            }
        }
        members
    }

    /// Whether the measurement is to go on.
    pub(super) fn goes_on(&self) -> bool {
        (self.go_on)()
    }

    /// Notes what went wrong.
    pub(super) fn note(&mut self, fault: String) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        }
    }

    /// Lets a time pass. `false` if the measurement is to end.
    pub(super) fn wait(&self, time: Duration) -> bool {
        self.wait_until(time, || false);
        self.goes_on()
    }

    /// Waits until something is so; whether it is.
    pub(super) fn wait_until(&self, limit: Duration, is_so: impl Fn() -> bool) -> bool {
        wait_until(limit, self.go_on, is_so)
    }

    fn look(&mut self) {
        let there: Vec<u16> = (self.ids.iter().zip(&self.alive))
            .filter_map(|(id, alive)| alive.then_some(*id))
            .collect();
        self.sight = Sight::look(&self.control, &there, self.groups, &self.sight);
    }

    /// Waits until every group has all its copies; whether the next fault may be made.
    pub(super) fn wait_whole(&mut self) -> bool {
        self.watch_whole(|_| ())
    }

    /// The same; it is told of each look.
    pub(super) fn watch_whole(&mut self, mut saw: impl FnMut(&Sight)) -> bool {
        let until = Instant::now() + WHOLE_MAX;
        loop {
            self.look();
            saw(&self.sight);
            if self.sight.short_of(COPIES) == 0 {
                return true;
            }
            if !self.goes_on() {
                return false;
            }
            if Instant::now() >= until {
                break;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let sight = &self.sight;
        let without = sight.groups.iter().filter(|group| group.writer.is_none()).count();
        let fault = format!(
            "after {WHOLE_MAX:?} {} of {} groups have fewer than {COPIES} copies, {} fewer than {COPIES_MIN}, and {without} no writer",
            sight.short_of(COPIES),
            self.groups,
            sight.short_of(COPIES_MIN),
        );
        let may_go_on = sight.short_of(COPIES_MIN) == 0;
        self.note(fault);
        may_go_on
    }

    /// Whom a scenario hits: who writes most.
    pub(super) fn choose(&mut self, scenario: Scenario) -> Vec<usize> {
        self.look();
        let written = |node: usize| self.sight.written_by(self.ids[node]);
        if scenario != Scenario::Dc {
            // Of equals the first.
            let most = (0..self.nodes()).rev().max_by_key(|node| written(*node));
            return most.into_iter().collect();
        }
        self.centre_of_most(|_| true, written)
    }

    /// The nodes of the data centre that holds most copies of what these nodes write, beside their own, as of the last look.
    pub(super) fn centre_of_copies(&self, nodes: &[usize]) -> Vec<usize> {
        let written_by = |group: &&GroupSight| nodes.iter().any(|node| group.writer == Some(self.ids[*node]));
        let written: Vec<&GroupSight> = self.sight.groups.iter().filter(written_by).collect();
        let held = |node: usize| {
            let of = |group: &&&GroupSight| group.members.contains(&self.ids[node]);
            written.iter().filter(of).count()
        };
        let own: Vec<&str> = nodes.iter().map(|node| self.centre(*node)).collect();
        self.centre_of_most(|centre| !own.contains(&centre), held)
    }

    /// The nodes of the data centre, of those that may be taken, of which the sum over its nodes is largest; of equals the first.
    fn centre_of_most(&self, is_one: impl Fn(&str) -> bool, of_node: impl Fn(usize) -> usize) -> Vec<usize> {
        let mut centres: BTreeMap<&str, (usize, Vec<usize>)> = BTreeMap::new();
        for node in self.all().into_iter().filter(|node| is_one(self.centre(*node))) {
            let (sum, nodes) = centres.entry(self.centre(node)).or_default();
            *sum += of_node(node);
            nodes.push(node);
        }
        let most = centres.into_values().rev().max_by_key(|(sum, _)| *sum);
        most.map(|(_, nodes)| nodes).unwrap_or_default()
    }

    /// The data centre of a node: the first part of its name.
    fn centre(&self, node: usize) -> &str {
        let name = &self.cluster.members()[node].name;
        name.split('-').next().unwrap_or_default()
    }

    /// By key, whether one of these nodes writes its group, as of the last look.
    pub(super) fn touched(&self, nodes: &[usize]) -> Vec<bool> {
        let writes = |group: u32| {
            let writer = self.sight.groups[group as usize].writer;
            nodes.iter().any(|node| writer == Some(self.ids[*node]))
        };
        self.groups_of_keys.iter().map(|group| writes(*group)).collect()
    }

    /// Sends a signal to all of them.
    pub(super) fn signal(&mut self, nodes: &[usize], signal: Signal) {
        for node in nodes {
            self.alive[*node] = signal == Signal::CONT;
            if let Err(error) = self.cluster.members()[*node].signal(signal) {
                let name = &self.cluster.members()[*node].name;
                self.note(format!("{name} was gone before {signal:?}: {error}"));
            }
        }
    }

    /// Cuts the ways between some nodes and others, whose own among each other stay.
    ///
    /// # Panics
    /// If the cluster was not planned with ways that can be cut.
    pub(super) fn cut(&self, nodes: &[usize], others: &[usize], direction: Direction) {
        let cuts = self.cluster.cuts().expect("the scenario wants ways that can be cut");
        for other in others.iter().filter(|other| !nodes.contains(other)) {
            for node in nodes {
                if direction != Direction::In {
                    cuts.cut(*node, *other);
                }
                if direction != Direction::Out {
                    cuts.cut(*other, *node);
                }
            }
        }
    }

    /// Opens all ways again.
    pub(super) fn heal(&self) {
        if let Some(cuts) = self.cluster.cuts() {
            cuts.heal();
        }
    }

    /// Waits until they have ended in order; ends those that do not.
    pub(super) fn wait_ended(&mut self, nodes: &[usize], limit: Duration) {
        let until = Instant::now() + limit;
        for node in nodes {
            let member = &mut self.cluster.members_mut()[*node];
            let name = member.name.clone();
            match member.wait(until) {
                Ok(Some(0)) => (),
                Ok(code) => self.note(format!(
                    "{name} was to end in order and ended with {code:?}{}",
                    self.log_end(*node)
                )),
                Err(_) => {
                    self.note(format!(
                        "{name} was to end in order and runs after {limit:?}{}",
                        self.log_end(*node)
                    ));
                    self.signal(&[*node], Signal::KILL);
                }
            }
        }
    }

    /// Starts new processes in the place of those that were ended, and waits until they serve; those that do.
    pub(super) fn start_again(&mut self, nodes: &[usize]) -> Vec<usize> {
        let (mut starting, mut back) = (Vec::new(), Vec::new());
        for node in nodes {
            let member = &mut self.cluster.members_mut()[*node];
            let name = member.name.clone();
            if member.wait(Instant::now() + GONE_MAX).is_err() {
                self.note(format!("{name} was killed and is not gone after {GONE_MAX:?}"));
                continue;
            }
            match self.cluster.restart(*node) {
                Ok(ready) => starting.push((*node, name, ready)),
                Err(error) => self.note(format!("{name} cannot be started again: {error}")),
            }
        }
        let until = Instant::now() + READY_MAX;
        for (node, name, ready) in starting {
            let is_ready = || ready.try_recv().is_ok();
            let served = self.wait_until(until.saturating_duration_since(Instant::now()), is_ready);
            self.alive[node] = true;
            if served {
                back.push(node);
            } else if self.goes_on() {
                self.note(format!(
                    "{name} was started again and does not serve after {READY_MAX:?}{}",
                    self.log_end(node)
                ));
            }
        }
        back
    }

    /// Notes and starts again what has ended by itself.
    pub(super) fn look_after(&mut self) {
        for node in 0..self.nodes() {
            let member = &mut self.cluster.members_mut()[node];
            if self.alive[node] && member.has_ended() {
                let name = member.name.clone();
                self.note(format!(
                    "{name} has ended, and nobody had told it to{}",
                    self.log_end(node)
                ));
                self.start_again(&[node]);
            }
        }
    }

    fn log_end(&self, node: usize) -> String {
        let said = self.cluster.members()[node].log_end();
        said.map_or_else(String::new, |said| format!("; its log ends with:\n{said}"))
    }

    /// Looks for everything in the members of all groups.
    pub(super) fn read_back(&mut self, books: Books) -> Findings {
        let entries = addresses(self.cluster.config());
        let names = self.cluster.members().iter().map(|member| member.name.clone());
        let nodes = self.ids.iter().copied().zip(names.zip(entries)).collect();
        let key = self.cluster.key();
        let look = || {
            self.look();
            self.sight.clone()
        };
        books.read(look, Members::new(nodes, &key))
    }

    /// Copies the nodes' logs to a folder, under the name of what was done.
    pub(super) fn keep_logs(&mut self, folder: &Path, prefix: &str) {
        let mut failed = std::fs::create_dir_all(folder).err();
        for member in self.cluster.members() {
            let kept = folder.join(format!("{prefix}-{}.log", member.name));
            failed = failed.or(std::fs::copy(member.log_path(), kept).err());
        }
        if let Some(error) = failed {
            self.note(format!("not all logs were kept in {}: {error}", folder.display()));
        }
    }

    /// Ends all processes; what went wrong.
    pub(super) fn end(self) -> Vec<String> {
        self.cluster.kill();
        self.faults
    }
}

/// Waits until something is so, as long as the measurement is to go on; whether it is so.
pub(super) fn wait_until(limit: Duration, go_on: impl Fn() -> bool, is_so: impl Fn() -> bool) -> bool {
    let until = Instant::now() + limit;
    loop {
        if is_so() {
            return true;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || !go_on() {
            return false;
        }
        std::thread::sleep(left.min(Duration::from_millis(10)));
    }
}
