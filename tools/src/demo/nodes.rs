//! The cluster of the demo: 32 nodes in this process, each with a shard thread of its own and real sockets, in a folder that is gone
//! afterwards.
//!
//! Links between data centres take time. **Invariant:** when it is dropped, no thread of a node is left and the folder is removed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use tempfile::TempDir;
use waterpark::config::{self, Bytes, ClusterConfig, Code, ENTROPY_BYTES, HostCode, InitOptions};
use waterpark::{DriverChoice, Ended, Node, NodeError, Options, Trouble, Way};
use waterpark_bench::cluster::{ClusterError, addresses, free_ports};
use waterpark_bench::hl7::{Facility, Feed};
use waterpark_client::blocking::ClusterAddresses;
use waterpark_core::ids::NodeId;
use waterpark_reactor::{Buffers, DriverConfig};

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
    pub(super) paused: bool,
    node: Option<Node>,
    trouble: Trouble,
}

/// The cluster.
pub(super) struct Nodes {
    pub(super) running: Vec<Running>,
    pub(super) config: ClusterConfig,
    pub(super) key: [u8; 32],
    way: Way,
    begun: Instant,
    folder: TempDir,
}

impl Nodes {
    /// Starts all nodes; they serve later ([`Nodes::wait_ready`]).
    pub(super) fn start(plan: &Plan, feed: Option<&Feed>) -> Result<Nodes, Failed> {
        look_at_host(plan)?;
        let folder = TempDir::with_prefix("waterpark-demo-").map_err(ClusterError::Folder)?;
        let names: Vec<String> = names().collect();
        let count = names.len() as u64;
        let options = InitOptions {
            folder: folder.path().to_path_buf(),
            base_port: free_ports(names.len(), 1).ok_or(ClusterError::Ports { nodes: names.len() })?,
            nodes: config::Nodes::Named(names.clone()),
            memory: Bytes::new(plan.memory / count),
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
            one_way_ns: 0,
            jitter_ns: u64::try_from(plan.jitter.as_nanos()).unwrap_or(u64::MAX),
            loss_per_million: plan.loss_per_million,
        };
        let mut nodes = Nodes {
            running: Vec::new(),
            key: loaded.key.as_ref().map_or([0; 32], |key| *key.as_bytes()),
            config: loaded.config.clone(),
            way,
            begun: Instant::now(),
            folder,
        };
        let options = Options {
            driver: plan.driver,
            driver_config: driver_config(),
            way,
            ..Options::default()
        };
        for name in &names {
            let node = Node::start(&loaded, name, &options).map_err(|error| Failed::Node(Box::new(error)))?;
            let own = loaded.config.node(name).expect("it was made with this name");
            nodes.running.push(Running {
                name: name.clone(),
                id: own.id,
                mllp: SocketAddr::from((Ipv4Addr::LOCALHOST, own.ports().mllp())),
                paused: false,
                trouble: node.trouble(),
                node: Some(node),
            });
        }
        Ok(nodes)
    }

    /// Waits a moment for a node to serve; whether it does.
    pub(super) fn is_ready(&self, index: usize) -> Result<bool, Failed> {
        let running = &self.running[index];
        let ready = running
            .node
            .as_ref()
            .and_then(|node| node.is_ready(Duration::from_millis(50)));
        match ready {
            Some(false) if self.begun.elapsed() < READY_MAX => Ok(false),
            Some(true) => Ok(true),
            _ => Err(ClusterError::NotReady {
                node: running.name.clone(),
                said: None,
            }
            .into()),
        }
    }

    /// What the nodes' banners say of their drivers, with the number of nodes that say it.
    pub(super) fn notes(&self) -> BTreeMap<String, usize> {
        let mut notes = BTreeMap::new();
        for note in self
            .running
            .iter()
            .filter_map(|running| running.node.as_ref())
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

    /// Pauses a node, or lets it go on; whether it is paused now.
    pub(super) fn pause_or_resume(&mut self, index: usize) -> bool {
        let running = &mut self.running[index];
        running.paused = !running.paused;
        if running.paused {
            running.trouble.pause();
        } else {
            running.trouble.resume();
        }
        running.paused
    }

    /// Lets the links between two data centres take this round trip from now on.
    pub(super) fn set_round_trip(&self, one: &str, other: &str, round_trip_us: u64) {
        let way = Way {
            one_way_ns: round_trip_us.saturating_mul(500),
            ..self.way
        };
        let of = |dc: &str| {
            let dc = format!("{dc}-");
            self.running.iter().filter(move |running| running.name.starts_with(&dc))
        };
        for (here, there) in [(one, other), (other, one)] {
            for running in of(here) {
                of(there).for_each(|peer| running.trouble.set_way(peer.id, way));
            }
        }
    }

    /// Ends all nodes; the names of those that did not end in order.
    pub(super) fn stop(mut self) -> Vec<String> {
        self.end()
    }

    fn end(&mut self) -> Vec<String> {
        for running in &self.running {
            if let Some(node) = &running.node {
                node.stopper().stop();
            }
        }
        let ended = |running: &mut Running| running.node.take().map(Node::wait);
        let mut failed = Vec::new();
        for running in &mut self.running {
            if ended(running) == Some(Ended::Failed) {
                failed.push(running.name.clone());
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

/// Memory of this machine; `None` where the kernel does not say.
fn machine_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kib: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1_024)
}

/// `FL-A-1` to `UT-B-4`.
fn names() -> impl Iterator<Item = String> {
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
