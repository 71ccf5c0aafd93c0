//! The cluster of the demo: 32 nodes in this process, each with a shard thread of its own and real sockets, in a folder that is gone
//! afterwards.
//!
//! Seven of them keep a topology log, as in any cluster with voters. Links between data centres take time. What may be done to nodes is in
//! `deeds.rs`. **Invariant:** when it is dropped, no thread of a node is left and the folder is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use tempfile::TempDir;
use waterpark::config::{self, Bytes, ClusterConfig, Code, ENTROPY_BYTES, HostCode, InitOptions, Loaded};
use waterpark::{DriverChoice, Ended, Ending, Node, NodeError, Options, Presence, Way};
use waterpark_bench::cluster::{ClusterError, addresses, free_ports};
use waterpark_bench::hl7::{Facility, Feed};
use waterpark_client::blocking::ClusterAddresses;
use waterpark_core::ids::NodeId;
use waterpark_reactor::{Buffers, DriverConfig};

use super::drill::Step;
use crate::errors::Coded;

/// The data centres.
pub(super) const DATA_CENTRES: [&str; 4] = ["FL", "TN", "TX", "UT"];
/// Zones of each.
const ZONES: [&str; 2] = ["A", "B"];
/// Nodes of each zone.
const NODES_PER_ZONE: usize = 4;
/// Files that the demo must be able to open: each node's listeners, ring and wake, both ends of all links between nodes, and those who send,
/// watch and read back.
const FILES_MIN: u64 = 2_048;
/// What the name of its folder begins with.
const FOLDER: &str = "waterpark-demo-";
/// Where Linux has files in memory.
const MEMORY_FOLDER: &str = "/dev/shm";
/// How long the nodes may take until they serve.
const READY_MAX: Duration = Duration::from_secs(60);

/// What the cluster is to be.
pub(super) struct Plan {
    /// Kernel interface.
    pub(super) driver: DriverChoice,
    /// Memory of all nodes together.
    pub(super) memory: u64,
    /// Round trips between data centres, in microseconds, the bytewise smaller name first.
    pub(super) round_trips: BTreeMap<(String, String), u64>,
    /// Beside them.
    pub(super) jitter: Duration,
    /// Frames of a million that take a round trip more.
    pub(super) loss_per_million: u32,
    /// What is to be done to nodes, and when.
    pub(super) drill: Vec<Step>,
}

/// Why there is no cluster. What had been started was ended.
#[derive(Debug)]
pub(super) enum Failed {
    /// The process may open only so many files, fewer than there will be sockets.
    Files { limit: u64 },
    /// The nodes are to share more memory than the machine has.
    Memory { wanted: u64, has: u64 },
    /// As for a cluster of processes.
    Cluster(ClusterError),
    /// A node did not start.
    Node(Box<NodeError>),
}

impl From<ClusterError> for Failed {
    fn from(error: ClusterError) -> Failed {
        Failed::Cluster(error)
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failed::Files { limit } => write!(
                f,
                "this process may open {limit} files, and {FILES_MIN} are needed: each link of 32 nodes is a socket at both of its ends\n  \
                 raise the hard limit to {FILES_MIN} or more (ulimit -Hn as root, LimitNOFILE=, limits.conf)"
            ),
            Failed::Memory { wanted, has } => write!(
                f,
                "the nodes are to share {wanted} bytes of memory, and this machine has {has}\n  \
                 lower --memory; {} is the least",
                Bytes::new(super::MEMORY_MIN)
            ),
            Failed::Cluster(error) => write!(f, "{error}"),
            Failed::Node(error) => write!(f, "{error}"),
        }
    }
}

impl Coded for Failed {
    fn code(&self) -> &'static Code {
        match self {
            Failed::Files { .. } => HostCode::Descriptors.entry(),
            Failed::Memory { .. } => HostCode::MemoryFree.entry(),
            Failed::Cluster(error) => error.code(),
            Failed::Node(error) => error.code(),
        }
    }
}

/// One node.
pub(super) struct Running {
    pub(super) name: String,
    pub(super) id: NodeId,
    pub(super) mllp: SocketAddr,
    pub(super) life: Life,
    /// Since when it serves, if it was started again.
    pub(super) serves_again: Option<Instant>,
    /// It was started again at least once.
    pub(super) is_newer: bool,
    /// Its threads stand still.
    pub(super) paused: bool,
    /// It sees no other node.
    pub(super) cut: bool,
    /// It was asked to hold nothing.
    pub(super) drains: bool,
    /// The way to each node, by place, as it was told last.
    pub(super) ways: Vec<Way>,
}

impl Running {
    /// The first part of its name.
    pub(super) fn data_centre(&self) -> &str {
        self.name.split('-').next().unwrap_or_default()
    }

    /// Whether it would answer whoever asks.
    pub(super) fn answers(&self) -> bool {
        matches!(self.life, Life::Serves(_)) && !self.paused
    }
}

/// What of a node there is.
pub(super) enum Life {
    /// It serves.
    Serves(Node),
    /// Its threads run; it does not serve yet.
    Begins(Node),
    /// It is being started: its ports may still be taken by its former process's sockets.
    Starts(JoinHandle<Result<Node, NodeError>>),
    /// Nothing.
    Dead,
}

impl Life {
    pub(super) fn node(&self) -> Option<&Node> {
        match self {
            Life::Serves(node) | Life::Begins(node) => Some(node),
            Life::Starts(_) | Life::Dead => None,
        }
    }
}

/// What became of a node while nobody looked.
pub(super) enum Came {
    /// Its threads run, after it was started again.
    Begins(usize),
    /// It serves now.
    Serves(usize),
    /// It was to be started and was not.
    NotStarted(usize, Box<NodeError>),
    /// It ended, and nobody had told it to; why, if it said so.
    Ended(usize, Option<String>),
}

/// The cluster.
pub(super) struct Nodes {
    pub(super) running: Vec<Running>,
    pub(super) config: ClusterConfig,
    pub(super) key: [u8; 32],
    pub(super) loaded: Arc<Loaded>,
    pub(super) options: Options,
    /// Round trips between data centres as they are now, the bytewise smaller name first.
    pub(super) round_trips: BTreeMap<(String, String), u64>,
    /// Data centres whose links to the others carry nothing.
    pub(super) cut: BTreeSet<String>,
    begun: Instant,
    folder: TempDir,
}

impl Nodes {
    /// Starts all nodes; they serve later ([`Nodes::wait_ready`]).
    pub(super) fn start(plan: &Plan, feed: Option<&Feed>) -> Result<Nodes, Failed> {
        look_at_host(plan)?;
        let folder = folder().map_err(ClusterError::Folder)?;
        let names: Vec<String> = names().collect();
        let count = names.len() as u64;
        let options = InitOptions {
            folder: folder.path().to_path_buf(),
            base_port: free_ports(names.len(), 1).ok_or(ClusterError::Ports { nodes: names.len() })?,
            nodes: config::Nodes::Named(names.clone()),
            memory: Bytes::new(plan.memory / count),
            with_voters: true,
            ..InitOptions::default()
        };
        let mut entropy = [0; ENTROPY_BYTES];
        let got = rustix::rand::getrandom(&mut entropy, rustix::rand::GetRandomFlags::empty());
        got.map_err(|error| ClusterError::Entropy(error.into()))?;
        let written = config::init(&options, &entropy).map_err(ClusterError::Init)?;
        let mut text = fs::read_to_string(&written.config_path).map_err(ClusterError::Folder)?;
        text.push_str(&more(plan, feed.map(Feed::facilities).unwrap_or_default()));
        fs::write(&written.config_path, text).map_err(ClusterError::Folder)?;
        let loaded = config::load(&written.config_path, []).map_err(ClusterError::Config)?;

        let way = Way {
            jitter_ns: u64::try_from(plan.jitter.as_nanos()).unwrap_or(u64::MAX),
            loss_per_million: plan.loss_per_million,
            ..Way::default()
        };
        let mut nodes = Nodes {
            running: Vec::new(),
            key: loaded.key.as_ref().map_or([0; 32], |key| *key.as_bytes()),
            config: loaded.config.clone(),
            loaded: Arc::new(loaded),
            options: Options {
                driver: plan.driver,
                driver_config: driver_config(),
                way,
                ..Options::default()
            },
            round_trips: plan.round_trips.clone(),
            cut: BTreeSet::new(),
            begun: Instant::now(),
            folder,
        };
        for name in names {
            let node = Node::start(&nodes.loaded, &name, &nodes.options);
            let node = node.map_err(|error| Failed::Node(Box::new(error)))?;
            let own = nodes.config.node(&name).expect("it was made with this name");
            nodes.running.push(Running {
                id: own.id,
                mllp: SocketAddr::from((Ipv4Addr::LOCALHOST, own.ports().mllp())),
                name,
                life: Life::Begins(node),
                serves_again: None,
                is_newer: false,
                paused: false,
                cut: false,
                drains: false,
                ways: Vec::new(),
            });
        }
        // So the configuration has told each of them.
        for index in 0..nodes.running.len() {
            nodes.running[index].ways = nodes.configured_ways(index);
        }
        Ok(nodes)
    }

    /// Takes in what became of nodes since the last look.
    pub(super) fn look_after(&mut self) -> Vec<Came> {
        let mut came = Vec::new();
        for (index, running) in self.running.iter_mut().enumerate() {
            let is_over = match &running.life {
                Life::Starts(starts) => starts.is_finished(),
                Life::Begins(node) | Life::Serves(node) => node.has_ended(),
                Life::Dead => false,
            };
            running.life = match std::mem::replace(&mut running.life, Life::Dead) {
                Life::Starts(starts) if is_over => match starts.join() {
                    Ok(Ok(node)) => {
                        came.push(Came::Begins(index));
                        Life::Begins(node)
                    }
                    Ok(Err(error)) => {
                        came.push(Came::NotStarted(index, Box::new(error)));
                        Life::Dead
                    }
                    Err(_) => {
                        came.push(Came::Ended(index, None));
                        Life::Dead
                    }
                },
                Life::Begins(node) | Life::Serves(node) if is_over => {
                    let why = node.last_words();
                    let _ended: Ended = node.wait();
                    came.push(Came::Ended(index, why));
                    Life::Dead
                }
                Life::Begins(node) if node.is_ready(Duration::ZERO) == Some(true) => {
                    running.serves_again = running.is_newer.then(Instant::now);
                    came.push(Came::Serves(index));
                    Life::Serves(node)
                }
                life => life,
            };
        }
        came
    }

    /// Whether all nodes serve.
    pub(super) fn all_serve(&self) -> bool {
        self.running
            .iter()
            .all(|running| matches!(running.life, Life::Serves(_)))
    }

    /// Why a node that does not serve at the start will not: it has ended, or takes too long.
    pub(super) fn not_ready(&self) -> Option<Failed> {
        let waits = |running: &&Running| matches!(running.life, Life::Begins(_));
        let is_late = self.begun.elapsed() >= READY_MAX;
        let ended = self.running.iter().find(|running| matches!(running.life, Life::Dead));
        let running = ended.or_else(|| self.running.iter().find(waits).filter(|_| is_late))?;
        let failed = ClusterError::NotReady {
            node: running.name.clone(),
            said: None,
        };
        Some(failed.into())
    }

    /// What the topology log says of each node, by place, as the node has it that knows most of it.
    pub(super) fn presences(&self) -> Vec<Presence> {
        let serving = self.running.iter().filter_map(|running| running.life.node());
        let said = serving.map(Node::presences).max_by_key(|said| said.position);
        let said = said.unwrap_or_default().nodes;
        let of = |running: &Running| said.get(&running.id).copied().unwrap_or_default();
        self.running.iter().map(of).collect()
    }

    /// What the nodes' banners say of their drivers, with the number of nodes that say it.
    pub(super) fn notes(&self) -> BTreeMap<String, usize> {
        let mut notes = BTreeMap::new();
        for note in self
            .running
            .iter()
            .filter_map(|running| running.life.node())
            .flat_map(Node::notes)
        {
            *notes.entry(note).or_default() += 1;
        }
        notes
    }

    /// Where the native protocol is spoken.
    pub(super) fn addresses(&self) -> ClusterAddresses {
        ClusterAddresses(addresses(&self.config))
    }

    /// The configuration's file, for commands from another shell.
    pub(super) fn config_path(&self) -> PathBuf {
        self.folder.path().join("cluster.toml")
    }

    /// Ends all nodes; the names of those that did not end in order.
    pub(super) fn stop(mut self) -> Vec<String> {
        self.end()
    }

    /// All end at once, without draining: there is nobody to drain to.
    fn end(&mut self) -> Vec<String> {
        for node in self.running.iter().filter_map(|running| running.life.node()) {
            node.stopper().end(Ending::Flush);
        }
        let mut failed = Vec::new();
        for running in &mut self.running {
            let node = match std::mem::replace(&mut running.life, Life::Dead) {
                Life::Serves(node) | Life::Begins(node) => Some(node),
                // One that never began has nothing to end.
                Life::Starts(starts) => starts.join().ok().and_then(Result::ok),
                Life::Dead => None,
            };
            if let Some(node) = node {
                node.stopper().end(Ending::Flush);
                if node.wait() == Ended::Failed {
                    failed.push(running.name.clone());
                }
            }
        }
        failed
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.end();
    }
}

/// Refuses a host on which the nodes would start and never serve, or begin and be killed.
fn look_at_host(plan: &Plan) -> Result<(), Failed> {
    // Every process that runs a node raises its limit to the hard one.
    let limit = getrlimit(Resource::Nofile).maximum;
    if let Some(limit) = limit.filter(|limit| *limit < FILES_MIN) {
        return Err(Failed::Files { limit });
    }
    let wanted = plan.memory;
    match machine_bytes() {
        Some(has) if has < wanted => Err(Failed::Memory { wanted, has }),
        _ => Ok(()),
    }
}

/// A folder in memory, unless somebody says where it is to be. Voters wait for their files to be durable: 32 nodes would wait for one disk,
/// which is one too few for as many machines, and what they write is gone with the demo anyway.
fn folder() -> std::io::Result<TempDir> {
    let in_memory = || TempDir::with_prefix_in(FOLDER, MEMORY_FOLDER);
    match std::env::var_os("TMPDIR") {
        None => in_memory().or_else(|_| TempDir::with_prefix(FOLDER)),
        Some(_) => TempDir::with_prefix(FOLDER),
    }
}

/// Memory of this machine; `None` where the kernel does not say.
fn machine_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1_024)
}

/// `FL-A-1` to `UT-B-4`.
pub(super) fn names() -> impl Iterator<Item = String> {
    DATA_CENTRES.into_iter().flat_map(|dc| {
        ZONES
            .into_iter()
            .flat_map(move |zone| (1..=NODES_PER_ZONE).map(move |number| format!("{dc}-{zone}-{number}")))
    })
}

/// What the configuration says beyond a new one: how far the data centres are, and where facilities are at home.
fn more(plan: &Plan, facilities: &[Facility]) -> String {
    let mut text = String::from("\n[links]\ndelay = {");
    for (index, ((one, other), us)) in plan.round_trips.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(text, "{comma} {one}-{other} = \"{us}us\"").expect("a string takes any text");
    }
    text.push_str(" }\n\n[facilities]\n");
    for facility in facilities {
        writeln!(text, "{} = {}", facility.name(), facility.data_centre).expect("a string takes any text");
    }
    text
}

/// Sizes with which 32 nodes share a small machine.
fn driver_config() -> DriverConfig {
    DriverConfig {
        ring_entries: 256,
        link_buffers: Buffers::LINK_DEMO,
        client_buffers: Buffers::CLIENT_DEMO,
        ..DriverConfig::default()
    }
}
