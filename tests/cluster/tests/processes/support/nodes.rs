//! One cluster of the command under test, and what its nodes say of themselves.
//!
//! Starting, stopping and ports are `waterpark_bench::cluster`'s; here are faults and questions.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use waterpark_bench::cluster::{Cluster, ClusterPlan, addresses};
use waterpark_client::blocking::{Client, ClusterAddresses, ConnectOptions};
use waterpark_client::{Address, ClientError, ReadOptions};
use waterpark_control::ClusterConfig;
use waterpark_ring::{NodeId, Topology};
use waterpark_wire::body::StatusBody;

use super::Place;
use super::machine::paused;
use super::typed::{Said, type_in};

/// Groups of the clusters: enough that every node writes several, few enough that reading all back is short.
const GROUPS: u32 = 64;
/// How long a started process may take until it serves.
const READY: Duration = Duration::from_secs(20);

/// A cluster that runs.
pub(crate) struct Nodes {
    pub(crate) cluster: Cluster,
    /// As its nodes read it.
    pub(crate) config: ClusterConfig,
    pub(crate) topology: Topology,
}

/// The command.
pub(crate) fn binary() -> PathBuf {
    env!("CARGO_BIN_EXE_waterpark-under-test").into()
}

/// Five nodes of one shard in four data centres.
pub(crate) fn five() -> ClusterPlan {
    let mut plan = ClusterPlan::five(binary(), 256 << 20);
    plan.groups = Some(GROUPS);
    plan
}

impl Nodes {
    pub(crate) fn start(plan: ClusterPlan) -> Nodes {
        let cluster = Cluster::start(plan).unwrap_or_else(|error| panic!("no cluster: {error}"));
        Nodes {
            config: cluster.config().clone(),
            topology: cluster.config().topology(),
            cluster,
        }
    }

    /// Types a command about this cluster.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Said {
        let config = self.config_path().display().to_string();
        type_in(&[arguments, &["--config", &config, "--timeout", "60s"]].concat())
    }

    /// What `waterpark topology` says, with the whole history.
    pub(crate) fn topology_said(&self) -> Value {
        self.ask(&["topology", "--json", "--last", "100000"]).ends(0).json()
    }

    /// Starts a cluster and gives its configuration other words before anything is sent: all processes begin anew with it.
    pub(crate) fn start_edited(plan: ClusterPlan, edit: impl FnOnce(&str) -> String) -> Nodes {
        let mut nodes = Nodes::start(plan);
        for place in 0..nodes.len() {
            nodes.signal(place, Signal::TERM);
        }
        for place in 0..nodes.len() {
            assert_eq!(nodes.wait(place, Duration::from_secs(5)), Some(0), "an idle node stops");
        }
        let path = nodes.config_path();
        let text = std::fs::read_to_string(&path).expect("the configuration lies where it was written");
        std::fs::write(&path, edit(&text)).expect("its folder is ours");
        let loaded = waterpark_control::load(&path, []).unwrap_or_else(|error| panic!("{error}"));
        nodes.topology = loaded.config.topology();
        nodes.config = loaded.config;
        let starting: Vec<_> = (0..nodes.len())
            .map(|place| nodes.cluster.restart(place).unwrap_or_else(|error| panic!("{error}")))
            .collect();
        for (place, ready) in starting.into_iter().enumerate() {
            let told = ready.recv_timeout(READY);
            assert!(
                told.is_ok(),
                "{} does not serve:\n{}",
                nodes.name(place),
                nodes.log(place)
            );
        }
        nodes
    }

    pub(crate) fn len(&self) -> usize {
        self.cluster.members().len()
    }

    pub(crate) fn name(&self, place: Place) -> &str {
        &self.cluster.members()[place].name
    }

    pub(crate) fn id(&self, place: Place) -> NodeId {
        self.config.nodes[place].id
    }

    pub(crate) fn pid(&self, place: Place) -> u32 {
        self.cluster.members()[place].pid()
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        self.cluster.config_path()
    }

    /// Where clients enter a node.
    pub(crate) fn address(&self, place: Place) -> Address {
        addresses(&self.config)[place].clone()
    }

    pub(crate) fn addresses(&self, places: &[Place]) -> ClusterAddresses {
        ClusterAddresses(places.iter().map(|place| self.address(*place)).collect())
    }

    pub(crate) fn signal(&self, place: Place, signal: Signal) {
        let sent = self.cluster.members()[place].signal(signal);
        sent.unwrap_or_else(|error| panic!("{}: {error}", self.name(place)));
    }

    /// Stops a process without its doing: it keeps its connections and answers nothing.
    pub(crate) fn pause(&self, place: Place) {
        paused().insert(i32::try_from(self.pid(place)).expect("process ids are small"));
        self.signal(place, Signal::STOP);
    }

    pub(crate) fn resume(&self, place: Place) {
        self.signal(place, Signal::CONT);
        paused().remove(&i32::try_from(self.pid(place)).expect("process ids are small"));
    }

    /// Its exit code, `None` if a signal ended it.
    pub(crate) fn wait(&mut self, place: Place, limit: Duration) -> Option<i32> {
        let name = self.name(place).to_owned();
        let ended = self.cluster.members_mut()[place].wait(Instant::now() + limit);
        ended.unwrap_or_else(|error| panic!("{name} did not end within {limit:?}: {error}\n{}", self.log(place)))
    }

    /// Ends a process as a power cut does, and starts another one of its name, which may take its time.
    pub(crate) fn restart(&mut self, place: Place) {
        self.signal(place, Signal::KILL);
        let code = self.wait(place, Duration::from_secs(5));
        assert_eq!(code, None, "a killed process has no exit code");
        self.start_again(place);
    }

    /// Starts another process in the place of one that has ended.
    pub(crate) fn start_again(&mut self, place: Place) {
        let ready = self.cluster.restart(place).unwrap_or_else(|error| panic!("{error}"));
        let told = ready.recv_timeout(READY);
        assert!(
            told.is_ok(),
            "{} does not serve:\n{}",
            self.name(place),
            self.log(place)
        );
    }

    /// Everything that a node wrote on stderr.
    pub(crate) fn log(&self, place: Place) -> String {
        let path = self.cluster.folder().join(format!("{}.log", self.name(place)));
        std::fs::read_to_string(path).unwrap_or_default()
    }

    /// A client for questions, which enters at one node.
    pub(crate) fn client(&self, place: Place) -> Client {
        self.client_with_key(place, &self.cluster.key())
            .unwrap_or_else(|error| panic!("{}: {error}\n{}", self.name(place), self.log(place)))
    }

    pub(crate) fn client_with_key(&self, place: Place, key: &[u8; 32]) -> Result<Client, ClientError> {
        Client::connect(self.addresses(&[place]), key, ConnectOptions::default())
    }

    /// The status of each shard of a node.
    pub(crate) fn status(&self, place: Place) -> Vec<StatusBody> {
        let client = self.client(place);
        let node = &self.config.nodes[place];
        let one = |shard| {
            client
                .status(node.id.0, shard, &ReadOptions::default())
                .unwrap_or_else(|error| panic!("status of {} shard {shard}: {error}", node.name))
        };
        (0..node.shards).map(one).collect()
    }

    /// A counter, summed over the shards of a node. What no shard names is 0.
    pub(crate) fn counter(&self, place: Place, name: &str) -> u64 {
        let statuses = self.status(place);
        let rows = statuses.iter().flat_map(|status| &status.counters);
        rows.filter(|row| row.name == name).map(|row| row.value).sum()
    }

    /// Counters whose names begin so, summed over the shards of a node.
    pub(crate) fn counters(&self, place: Place, prefix: &str) -> Vec<(String, u64)> {
        let mut found = std::collections::BTreeMap::<String, u64>::new();
        for status in self.status(place) {
            for row in status.counters.iter().filter(|row| row.name.starts_with(prefix)) {
                *found.entry(row.name.clone()).or_default() += row.value;
            }
        }
        found.into_iter().filter(|(_, value)| *value > 0).collect()
    }

    /// Whether all processes live.
    pub(crate) fn assert_all_live(&mut self) {
        for place in 0..self.len() {
            let ended = self.cluster.members_mut()[place].wait(Instant::now());
            assert!(
                ended.is_err(),
                "{} ended with {ended:?}:\n{}",
                self.name(place),
                self.log(place)
            );
        }
    }

    /// Ends all nodes, each of which must end in order.
    pub(crate) fn stop(self) {
        let codes = self.cluster.stop();
        assert!(codes.iter().all(|code| *code == Some(0)), "exit codes {codes:?}");
    }
}
