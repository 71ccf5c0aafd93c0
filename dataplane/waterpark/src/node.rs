//! A running node: its threads, from start to end.
//!
//! **Invariant:** either all of it runs or none: whatever fails during the start ends the threads that had begun.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use waterpark_control::{ClusterConfig, Compression, Loaded, MllpFrom, NodeConfig, Place};
use waterpark_core::Shard;
use waterpark_core::config::{Births, Limits, Settings};
use waterpark_core::controller::{Setup, VoteLimits};
use waterpark_core::ids::{Incarnation, Member, NodeId, ShardId};
use waterpark_handlers::Kinds;
use waterpark_reactor::event_loop::{Command, ConnectionBounds, Edge, EventLoop, LoopConfig, StartError, Way};
use waterpark_reactor::turn::TurnCounter;
use waterpark_reactor::{DriverChoice, DriverConfig, PoolConfig, PoolMemory, Waker, cores, inbox};
use waterpark_ring::Topology;
use waterpark_wire::handshake::Party;

use crate::control::{self, Control};
use crate::governance::{self, Presences};
use crate::mllp::{self, Mllp};
use crate::stopper::{Stopper, Wishes};
use crate::{NodeError, host, kinds, placement};

/// Crossings that a ring between two shards holds.
const RING: usize = 4_096;
/// Reports that may wait for the control thread.
const REPORTS: usize = 4_096;
/// Free but touched memory that a shard keeps.
const KEEP_FREE: u64 = 64 << 20;

/// How a node is to be started, beside its configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which driver.
    pub driver: DriverChoice,
    /// Sizes of the driver.
    pub driver_config: DriverConfig,
    /// How many connections each shard takes; the configuration may ask for fewer clients.
    pub bounds: ConnectionBounds,
    /// Limits and periods of the shards.
    pub limits: Limits,
    /// Bytes of each shard's memory to touch before it serves, so that no page fault falls into a measurement.
    pub prefault: u64,
    /// Jitter and loss on links between data centres, where the configuration says that these links take time.
    pub way: Way,
    /// By name, nodes whose first port for peers is reached elsewhere from here than the configuration says; a shard's is that far above. What
    /// nodes and clients are told of each other stays what the configuration says.
    pub via: BTreeMap<String, SocketAddr>,
    /// How MLLP senders are served, where `[mllp]` of the configuration has no key for it.
    pub mllp: waterpark_edge::inbound::Options,
    /// The kinds that run. What they keep is said by the configuration, where it names them.
    pub kinds: fn() -> Kinds,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            driver: DriverChoice::Auto,
            driver_config: DriverConfig::default(),
            bounds: ConnectionBounds::default(),
            limits: Limits::default(),
            prefault: 0,
            way: Way::default(),
            via: BTreeMap::new(),
            mllp: waterpark_edge::inbound::Options::default(),
            kinds: Kinds::built_in,
        }
    }
}

/// How a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told to stop: it refused new work, and everything that it owed has left.
    Flushed,
    /// It was told to stop, and gave up on peers or clients that did not take what it owed them; or it was told to die.
    Unflushed,
    /// A shard failed or hung; what was acked is on its group's other members.
    Failed,
}

/// A node that runs.
#[derive(Debug)]
pub struct Node {
    stopper: Stopper,
    trouble: Trouble,
    ready: Receiver<()>,
    control: JoinHandle<Ended>,
    shards: Vec<JoinHandle<()>>,
    incarnation: Incarnation,
    notes: Arc<Mutex<Vec<String>>>,
    presences: Arc<Mutex<Presences>>,
    last_words: Arc<Mutex<Option<String>>>,
}

/// Makes trouble for a node that runs, to see what its cluster does about it.
#[derive(Clone, Debug)]
pub struct Trouble {
    shards: Vec<Sender<Command>>,
    wakers: Arc<[OnceLock<Waker>]>,
}

impl Trouble {
    /// All its shards stand still, as in a process that was stopped. What is sent to them waits.
    pub fn pause(&self) {
        self.each(|| Command::Pause);
    }

    /// They go on.
    pub fn resume(&self) {
        self.each(|| Command::Resume);
    }

    /// What this node sends to another takes this way from now on.
    pub fn set_way(&self, peer: NodeId, way: Way) {
        self.each(|| Command::Way { peer, way });
    }

    fn each(&self, command: impl Fn() -> Command) {
        for (shard, waker) in self.shards.iter().zip(self.wakers.iter()) {
            tell(shard, waker.get(), command());
        }
    }
}

/// What a shard's thread needs, made on the starting thread.
struct ShardPlan {
    loop_config: LoopConfig,
    settings: Settings,
    memory: PoolMemory,
    kinds: Kinds,
    core: Option<u32>,
    allowed: cores::Cores,
    started: Sender<Result<(), StartError>>,
}

impl Node {
    /// Starts the node of that name.
    ///
    /// Returns when all its ports are listened on and all its shards run; it serves later, when its groups are open
    /// ([`Node::wait_ready`]).
    ///
    /// # Errors
    /// [`NodeError`]; nothing was left running.
    pub fn start(loaded: &Loaded, name: &str, options: &Options) -> Result<Node, NodeError> {
        let config = &loaded.config;
        let node = config.node(name).map_err(NodeError::Unknown)?;
        let via = via(config, &options.via)?;
        let plan = placement::plan(config, node)?;
        let kinds = kinds::configured(config, (options.kinds)())?;
        let topology = config.topology_of(node);
        let own_ip = host::resolve(&node.host).map_err(|cause| NodeError::Host {
            node: node.name.to_string(),
            host: node.host.clone(),
            cause,
        })?;
        // Before anything is opened: ports are files too.
        host::raise_file_limit();
        let listeners = host::listen(node, own_ip, config.mllp.listen)?;
        let served = mllp::configured(&config.mllp, options.mllp.clone());
        let incarnation = host::incarnation()?;
        let governing = (!config.voters.is_empty()).then(|| governance::Plan {
            setup: Setup {
                own: Member {
                    node: node.id,
                    incarnation,
                },
                placement: topology.founding().birth().clone(),
                topology: topology.clone(),
                voters: config.voters.clone(),
                heartbeat_ms: options.limits.heartbeat_ms,
                limits: waterpark_core::topology_log::Limits::default(),
                votes: VoteLimits {
                    replace_ms: config.votes.replace_after.as_ms(),
                    trim_bytes: usize::try_from(config.votes.trim.get()).unwrap_or(usize::MAX),
                },
            },
            path: loaded.voter_path(&node.name),
            first: config.first_birth(node.id),
        });
        let births = if governing.is_some() {
            Births::TopologyLog
        } else {
            Births::Writer
        };

        let shards = usize::from(node.shards);
        let turns: Arc<[TurnCounter]> = (0..shards).map(|_| TurnCounter::new()).collect();
        let wakers: Arc<[OnceLock<Waker>]> = (0..shards).map(|_| OnceLock::new()).collect();
        let (report, reports) = mpsc::sync_channel(REPORTS);
        let wishes = Arc::new(Wishes::default());
        let mut ends = Vec::new();
        let mut plans = Vec::new();
        let mesh = inbox::mesh(shards, RING);
        for ((index, listener), port) in (0..node.shards).zip(listeners).zip(mesh) {
            let shard = ShardId(index);
            let settings = Settings {
                births,
                ..settings(&topology, config, node, shard, incarnation, options)
            };
            let bytes = node.memory.get() / u64::from(node.shards);
            let memory = memory(node, bytes, options.prefault)?;
            let (command, commands) = mpsc::channel();
            let (started, start) = mpsc::channel();
            let edge: Option<(TcpListener, Box<dyn Edge + Send>)> = match listener.mllp {
                Some(listener) => {
                    let mllp = Mllp::new(served.clone(), topology.clone(), host::entropy()?);
                    Some((listener, Box::new(mllp)))
                }
                None => None,
            };
            let loop_config = LoopConfig {
                driver: options.driver,
                driver_config: options.driver_config,
                peers: listener.peers,
                clients: listener.clients,
                edge,
                edge_open: config.mllp.from == MllpFrom::Any,
                identity: identity(&topology, node, shard, incarnation),
                key: loaded.key.as_ref().map_or([0; 32], |key| *key.as_bytes()),
                keyed: loaded.key.is_some(),
                lz4: config.links.compression == Compression::Lz4,
                bounds: ConnectionBounds {
                    clients_max: options.bounds.clients_max.min(config.defaults.clients),
                    ..options.bounds
                },
                ports: by_node(&topology, |spec| spec.port),
                hosts: hosts(&topology),
                via: via.clone(),
                ways: ways(config, node, &options.way),
                spin_budget_ns: plan.spin_budget_ns,
                port,
                wakers: Arc::clone(&wakers),
                turns: Arc::clone(&turns),
                reports: report.clone(),
                commands,
            };
            ends.push((command, start, plan.cores[usize::from(index)]));
            plans.push(ShardPlan {
                loop_config,
                settings,
                memory,
                kinds: kinds.clone(),
                core: plan.cores[usize::from(index)],
                allowed: plan.allowed.clone(),
                started,
            });
        }
        drop(report);

        tracing::info!(
            node = node.name.as_str(),
            incarnation = incarnation.0,
            release = env!("CARGO_PKG_VERSION"),
            shards,
            groups = config.groups,
            topology = hex(&topology.founding().digest()),
            key = loaded.key.is_some(),
            "starting"
        );
        let mut threads = Vec::new();
        let mut failure = spawn(&topology, node, plans, &mut threads).err();
        let (ready_sender, ready) = mpsc::channel();
        let mut commands = Vec::new();
        for (index, (command, started, core)) in ends.into_iter().enumerate() {
            let shard = u16::try_from(index).unwrap_or(u16::MAX);
            if failure.is_none() {
                match started.recv() {
                    Ok(Ok(())) => tracing::info!(shard, core, spin_budget_ns = plan.spin_budget_ns, "shard runs"),
                    Ok(Err(cause)) => failure = Some(shard_error(node, shard, cause)),
                    Err(_) => failure = Some(thread_error(std::io::ErrorKind::Other.into())),
                }
            }
            commands.push(command);
        }
        let (opened_sender, opened) = mpsc::channel();
        let notes = Arc::default();
        let presences = Arc::default();
        let last_words = Arc::default();
        let control = Control {
            node: node.name.to_string(),
            ways: ways_by_dc(config, node, &options.way),
            topology,
            shards: commands.clone(),
            wakers: Arc::clone(&wakers),
            turns,
            reports,
            wishes: Arc::clone(&wishes),
            notes: Arc::clone(&notes),
            presences: Arc::clone(&presences),
            last_words: Arc::clone(&last_words),
            ready: ready_sender,
            plan: governing,
            opened: opened_sender,
        };
        let control = match failure {
            Some(error) => Err(error),
            None => thread::Builder::new()
                .name("control".to_owned())
                .spawn(|| control::run(control))
                .map_err(thread_error),
        };
        let control = control.and_then(|control| match opened.recv() {
            Ok(Ok(())) => Ok(control),
            Ok(Err(cause)) => Err(NodeError::Voter {
                node: node.name.to_string(),
                cause,
            }),
            Err(_) => Err(thread_error(std::io::ErrorKind::Other.into())),
        });
        let control = match control {
            Ok(control) => control,
            Err(error) => {
                // Their ways to control end here, which is what tells the shards that did begin to stop; their wakers make them look.
                drop(commands);
                wakers.iter().filter_map(OnceLock::get).for_each(Waker::wake);
                for thread in threads {
                    drop(thread.join());
                }
                return Err(error);
            }
        };
        let trouble = Trouble {
            shards: commands,
            wakers,
        };
        Ok(Node {
            stopper: Stopper::new(wishes),
            trouble,
            ready,
            control,
            shards: threads,
            incarnation,
            notes,
            presences,
            last_words,
        })
    }

    /// This life of the process.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.incarnation.0
    }

    /// What the banner says of the drivers of its shards, which is little: where the host refuses something, and what serves instead. Complete
    /// once the node serves.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        // Whoever panicked beside it has only ever added whole lines.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the topology log says of the nodes, as far as this one knows it; nothing of those that never were, and nothing at all in a
    /// cluster without such a log.
    #[must_use]
    pub fn presences(&self) -> Presences {
        // Whoever panicked beside it has only ever set whole rows.
        self.presences.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What stops it, for another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// What makes trouble for it, for a demonstration or a test.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        self.trouble.clone()
    }

    /// Waits until the node serves: all groups that it writes are open, or it has learnt that its process is out. `false` if it ended before.
    #[must_use]
    pub fn wait_ready(&self) -> bool {
        self.ready.recv().is_ok()
    }

    /// As [`Node::wait_ready`], for a moment: whether it serves by then. `None` if it has ended, or has said so before.
    #[must_use]
    pub fn is_ready(&self, within: Duration) -> Option<bool> {
        match self.ready.recv_timeout(within) {
            Ok(()) => Some(true),
            Err(RecvTimeoutError::Timeout) => Some(false),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Whether it has ended, by itself or as it was told; how, [`Node::wait`] says.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.control.is_finished()
    }

    /// Why it failed, if it has: the line that its process would end with.
    #[must_use]
    pub fn last_words(&self) -> Option<String> {
        self.last_words.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the node has ended.
    #[must_use]
    pub fn wait(self) -> Ended {
        let ended = self.control.join().unwrap_or(Ended::Failed);
        if ended == Ended::Failed {
            // A hung shard's thread never ends; the caller ends the process.
            return ended;
        }
        for shard in self.shards {
            if shard.join().is_err() {
                return Ended::Failed;
            }
        }
        ended
    }
}

/// Starts a thread per shard. Those that had begun are in `threads` when one cannot.
fn spawn(
    topology: &Topology,
    node: &NodeConfig,
    plans: Vec<ShardPlan>,
    threads: &mut Vec<JoinHandle<()>>,
) -> Result<(), NodeError> {
    for plan in plans {
        let topology = topology.clone();
        let name = format!("shard-{}", plan.settings.shard.0);
        if let Some(core) = plan.core.filter(|core| !plan.allowed.contains(*core)) {
            let cause = cores::PinError::NotAllowed {
                core,
                allowed: plan.allowed.clone(),
            };
            let node = node.name.to_string();
            return Err(NodeError::Cores { node, cause });
        }
        let thread = thread::Builder::new()
            .name(name)
            .spawn(move || run_shard(topology, plan));
        threads.push(thread.map_err(thread_error)?);
    }
    Ok(())
}

/// A shard's thread, from pinning to the last turn.
fn run_shard(topology: Topology, plan: ShardPlan) {
    let ShardPlan {
        loop_config,
        settings,
        memory,
        kinds,
        core,
        allowed,
        started,
    } = plan;
    if let Some(Err(error)) = core.map(|core| cores::pin(core, &allowed)) {
        tracing::warn!(%error, "a shard is not pinned");
    }
    let make = |driver: &str| {
        let mut settings = settings;
        driver.clone_into(&mut settings.driver);
        let placement = topology.founding().birth().clone();
        Shard::new(settings, topology, placement, memory, kinds)
    };
    let (event_loop, outcome) = match EventLoop::open(loop_config, make) {
        Ok(event_loop) => (Some(event_loop), Ok(())),
        Err(error) => (None, Err(error)),
    };
    // Nobody waits for the answer once another shard has failed; then the commands' end is gone as well, and the loop ends by itself.
    started.send(outcome).ok();
    drop(started);
    if let Some(event_loop) = event_loop {
        event_loop.run();
    }
}

fn settings(
    topology: &Topology,
    config: &ClusterConfig,
    node: &NodeConfig,
    shard: ShardId,
    incarnation: Incarnation,
    options: &Options,
) -> Settings {
    let waiting = usize::try_from(config.defaults.waiting).unwrap_or(usize::MAX);
    let limits = Limits {
        waiting_per_shard_max: options.limits.waiting_per_shard_max.min(waiting),
        // One group alone leaves room for the others.
        waiting_per_group_max: options.limits.waiting_per_group_max.min(waiting / 2),
        ..options.limits.clone()
    };
    Settings {
        births: Births::Writer,
        node: node.id,
        incarnation,
        shard,
        shards: by_node(topology, |spec| spec.shards),
        names: by_node(topology, |spec| spec.name.clone()),
        driver: String::new(),
        limits,
    }
}

fn identity(topology: &Topology, node: &NodeConfig, shard: ShardId, incarnation: Incarnation) -> Party {
    Party {
        cluster: topology.spec().cluster.0,
        node: node.id.0,
        incarnation: incarnation.0,
        shard: shard.0,
        shards: node.shards,
        out: false,
        epoch: 0,
        topology_digest: topology.founding().digest(),
        topology: topology.founding().canonical().into(),
    }
}

/// A value per node, by node id; the default where there is no such node.
fn by_node<T: Default + Clone>(topology: &Topology, value: impl Fn(&waterpark_ring::NodeSpec) -> T) -> Vec<T> {
    let length = topology.nodes().iter().map(|node| usize::from(node.id.0) + 1).max();
    let mut values = vec![T::default(); length.unwrap_or(1)];
    for node in topology.nodes() {
        values[usize::from(node.id.0)] = value(node);
    }
    values
}

/// Addresses that need no name service; the control thread looks for the others, which may take long.
fn hosts(topology: &Topology) -> Vec<Option<IpAddr>> {
    by_node(topology, |spec| spec.host.parse().ok())
}

/// Where nodes are reached from here, by id.
fn via(
    config: &ClusterConfig,
    by_name: &BTreeMap<String, SocketAddr>,
) -> Result<BTreeMap<NodeId, SocketAddr>, NodeError> {
    let by_id = |(name, address): (&String, &SocketAddr)| {
        let node = config.node(name).map_err(|mut problem| {
            let shown = format!("--via {name}={address}").into();
            problem.place = Place::Argument { shown };
            NodeError::Unknown(problem)
        })?;
        Ok((node.id, *address))
    };
    by_name.iter().map(by_id).collect()
}

/// The way to each node, by node id.
fn ways(config: &ClusterConfig, own: &NodeConfig, beside: &Way) -> Vec<Way> {
    let length = config.nodes.iter().map(|node| usize::from(node.id.0) + 1).max();
    let mut ways = vec![Way::default(); length.unwrap_or(1)];
    let by_dc = ways_by_dc(config, own, beside);
    for node in &config.nodes {
        if let Some(way) = by_dc.get(node.name.dc()) {
            ways[usize::from(node.id.0)] = *way;
        }
    }
    ways
}

/// The way to each data centre: half a round trip between the two, with the jitter and loss of `beside`. Links within a data centre, and those
/// that the configuration does not name, are direct.
fn ways_by_dc(config: &ClusterConfig, own: &NodeConfig, beside: &Way) -> BTreeMap<String, Way> {
    let own = own.name.dc();
    let other = |(a, b): &(String, String)| match (a == own, b == own) {
        (true, false) => Some(b.clone()),
        (false, true) => Some(a.clone()),
        _ => None,
    };
    let delays = config.links.delay.iter();
    let way = |(pair, delay): (&(String, String), &waterpark_control::Duration)| {
        let way = Way {
            one_way_ns: delay.as_us().saturating_mul(500),
            ..*beside
        };
        Some((other(pair)?, way))
    };
    delays.filter_map(way).collect()
}

fn memory(node: &NodeConfig, bytes: u64, prefault: u64) -> Result<PoolMemory, NodeError> {
    let refused = |cause| NodeError::Memory {
        node: node.name.to_string(),
        bytes,
        cause,
    };
    let config = PoolConfig {
        budget: bytes,
        huge_pages: true,
        keep_free: KEEP_FREE.max(prefault),
    };
    let mut memory = PoolMemory::new(config).map_err(refused)?;
    memory.prefault(prefault.min(bytes)).map_err(refused)?;
    Ok(memory)
}

fn shard_error(node: &NodeConfig, shard: u16, cause: StartError) -> NodeError {
    NodeError::Shard {
        node: node.name.to_string(),
        shard,
        cause,
    }
}

fn thread_error(cause: std::io::Error) -> NodeError {
    NodeError::Kernel {
        what: "a thread",
        cause,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sends a command and makes the shard look at it.
pub(crate) fn tell(shard: &Sender<Command>, waker: Option<&Waker>, command: Command) {
    // A shard that has ended wants no more commands.
    if shard.send(command).is_ok()
        && let Some(waker) = waker
    {
        waker.wake();
    }
}
