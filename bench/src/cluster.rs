//! One local cluster: a process per node, from `init` in a fresh folder to the last exit.
//!
//! It starts the same binary that it is part of, as `waterpark node`. **Invariant:** when it is dropped, none of its processes is left and
//! its folder is gone.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use waterpark_client::Address;
use waterpark_client::blocking::ClusterAddresses;
use waterpark_control::{Bytes, ClusterConfig, ENTROPY_BYTES, InitOptions, Nodes, PORTS_PER_NODE};

use crate::cuts::Cuts;

/// Ports of local clusters begin here, below the ephemeral range.
const PORT_FIRST: u16 = 10_240;
/// And end here.
const PORT_LAST: u16 = 32_000;
/// How long all nodes may take until they serve, memory that is touched first aside.
const READY_MAX: Duration = Duration::from_secs(30);
/// How long a node may take to end when asked.
const STOP_MAX: Duration = Duration::from_secs(8);
/// Round trips between the data centres of the demo, in µs.
pub const ROUND_TRIPS: [(&str, &str, u64); 6] = [
    ("FL", "TN", 18_000),
    ("FL", "TX", 25_000),
    ("FL", "UT", 45_000),
    ("TN", "TX", 20_000),
    ("TN", "UT", 38_000),
    ("TX", "UT", 30_000),
];

/// What a local cluster is to be.
#[derive(Clone, Debug)]
pub struct ClusterPlan {
    /// The binary that has `node` as a command.
    pub binary: PathBuf,
    /// Names of the nodes.
    pub nodes: Vec<String>,
    /// Shards of each.
    pub workers: u16,
    /// Placement groups; `None` for as many as `init` makes.
    pub groups: Option<u32>,
    /// Memory budget of each node.
    pub memory: u64,
    /// How much of it to touch first.
    pub prefault: u64,
    /// `auto`, `io-uring` or `epoll`.
    pub driver: String,
    /// Whether it has a topology log, so that others take over what a node that is lost wrote.
    pub voters: bool,
    /// Round trips between data centres, in µs; none for loopback's own.
    pub round_trips: Vec<(&'static str, &'static str, u64)>,
    /// Requests that may wait for their commit in a shard; `None` for as many as a node takes that is not told.
    pub waiting: Option<u32>,
    /// Whether its nodes reach each other through [`Cuts`], one shard each. A node that is gone is then known by its silence alone, and not by
    /// its port, on which somebody listens still.
    pub cuts: bool,
    /// Further tables of its configuration.
    pub tables: String,
}

impl ClusterPlan {
    /// Five nodes of one shard in four data centres.
    #[must_use]
    pub fn five(binary: PathBuf, memory: u64) -> ClusterPlan {
        let Nodes::Named(nodes) = InitOptions::default().nodes else {
            unreachable!("the default names its nodes");
        };
        ClusterPlan {
            binary,
            nodes,
            workers: 1,
            groups: None,
            memory,
            prefault: 0,
            driver: "auto".to_owned(),
            voters: false,
            round_trips: Vec::new(),
            waiting: None,
            cuts: false,
            tables: String::new(),
        }
    }

    /// Eight nodes of one shard, two in each of four data centres as far apart as the demo's, with a topology log.
    #[must_use]
    pub fn eight(binary: PathBuf, memory: u64) -> ClusterPlan {
        let zones = |dc| ["A", "B"].map(|zone| format!("{dc}-{zone}-1"));
        ClusterPlan {
            nodes: ["FL", "TN", "TX", "UT"].into_iter().flat_map(zones).collect(),
            voters: true,
            round_trips: ROUND_TRIPS.to_vec(),
            ..ClusterPlan::five(binary, memory)
        }
    }

    /// A new configuration, and what this one says beyond it.
    fn configured(&self, new: &str) -> String {
        let pair = |(one, other, us): &(&str, &str, u64)| format!("{one}-{other} = \"{us}us\"");
        let delays: Vec<String> = self.round_trips.iter().map(pair).collect();
        let links = match delays.is_empty() {
            true => String::new(),
            false => format!("\n[links]\ndelay = {{ {} }}\n", delays.join(", ")),
        };
        let waiting = self.waiting.map(|waiting| format!("[defaults]\nwaiting = {waiting}\n"));
        let new = match &waiting {
            Some(defaults) => new.replacen("[defaults]\n", defaults, 1),
            None => new.to_owned(),
        };
        new + &links + &self.tables
    }
}

/// Why there is no cluster. What had been started was ended.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No folder for its files.
    #[error("no temporary folder: {0}")]
    Folder(io::Error),
    /// The kernel gives no random bytes.
    #[error("the kernel gives no random bytes: {0}")]
    Entropy(io::Error),
    /// The plan makes no configuration.
    #[error("{0}")]
    Init(#[from] waterpark_control::InitError),
    /// The configuration that was just made cannot be read.
    #[error("{0}")]
    Config(#[from] waterpark_control::ConfigError),
    /// No run of free ports is left.
    #[error("no free ports between {PORT_FIRST} and {PORT_LAST} for {nodes} nodes")]
    Ports {
        /// Nodes that wanted ports.
        nodes: usize,
    },
    /// The ways between the nodes cannot be opened.
    #[error("no ways between the nodes can be opened: {0}")]
    Cuts(io::Error),
    /// A process could not be started.
    #[error("{binary} cannot be started: {cause}")]
    Spawn {
        /// The binary.
        binary: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// A node ended, or did not serve in time.
    #[error("node {node} does not serve{}", said.as_ref().map_or(String::new(), |said| format!("; its log ends with:\n{said}")))]
    NotReady {
        /// Its name.
        node: String,
        /// The end of its log.
        said: Option<String>,
    },
}

/// One node's process.
#[derive(Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    child: Child,
    log: PathBuf,
    ended: bool,
}

impl Member {
    /// A process that was started, and where its words go.
    #[must_use]
    pub fn new(name: String, child: Child, log: PathBuf) -> Member {
        Member {
            name,
            child,
            log,
            ended: false,
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The end of its log.
    #[must_use]
    pub fn log_end(&self) -> Option<String> {
        let text = fs::read_to_string(&self.log).ok()?;
        let lines: Vec<&str> = text.lines().collect();
        Some(lines[lines.len().saturating_sub(6)..].join("\n")).filter(|end| !end.is_empty())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        // Its id may be another process's by now.
        let pid = if self.ended { 0 } else { self.child.id() };
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::NotFound)?;
        Ok(kill_process(pid, signal)?)
    }

    /// Where its log lies.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Whether its process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.ended = self.ended || !matches!(self.child.try_wait(), Ok(None));
        self.ended
    }

    /// Waits for its end; its exit code, `None` if a signal ended it.
    ///
    /// # Errors
    /// `TimedOut` if it does not end.
    pub fn wait(&mut self, until: Instant) -> io::Result<Option<i32>> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                self.ended = true;
                return Ok(status.code());
            }
            if Instant::now() >= until {
                return Err(io::ErrorKind::TimedOut.into());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// CPU time of all its threads that are alive, user and system, in ns.
    #[must_use]
    pub fn cpu_ns(&self) -> u64 {
        cpu_ns_of(self.child.id())
    }

    /// Resident memory, in bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap_or_default();
        let pages: Option<u64> = text
            .split_ascii_whitespace()
            .nth(1)
            .and_then(|field| field.parse().ok());
        pages.unwrap_or(0) * rustix::param::page_size() as u64
    }
}

/// CPU time of all threads of a process, user and system, in ns.
#[must_use]
pub fn cpu_ns_of(pid: u32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return 0;
    };
    let one = |path: PathBuf| -> Option<u64> {
        let text = fs::read_to_string(path.join("schedstat")).ok()?;
        text.split_ascii_whitespace().next()?.parse().ok()
    };
    threads.flatten().filter_map(|thread| one(thread.path())).sum()
}

/// A cluster that runs.
#[derive(Debug)]
pub struct Cluster {
    members: Vec<Member>,
    config: ClusterConfig,
    key: [u8; 32],
    folder: TempDir,
    cuts: Option<Cuts>,
    plan: ClusterPlan,
}

impl Cluster {
    /// Starts all nodes and waits until they serve.
    ///
    /// # Errors
    /// [`ClusterError`]; what had been started was ended.
    pub fn start(plan: ClusterPlan) -> Result<Cluster, ClusterError> {
        let folder = TempDir::with_prefix("waterpark-").map_err(ClusterError::Folder)?;
        let ports = 256 * u32::try_from(plan.nodes.len()).unwrap_or(u32::MAX);
        let base_port = free_ports(plan.nodes.len(), plan.workers).ok_or(ClusterError::Ports {
            nodes: plan.nodes.len(),
        })?;
        debug_assert!(u32::from(base_port) + ports <= 65_536);
        let options = InitOptions {
            folder: folder.path().to_path_buf(),
            nodes: Nodes::Named(plan.nodes.clone()),
            base_port,
            groups: plan.groups,
            workers: plan.workers,
            memory: Bytes::new(plan.memory),
            with_voters: plan.voters,
            ..InitOptions::default()
        };
        let mut entropy = [0; ENTROPY_BYTES];
        let got = rustix::rand::getrandom(&mut entropy, rustix::rand::GetRandomFlags::empty());
        got.map_err(|error| ClusterError::Entropy(error.into()))?;
        let written = waterpark_control::init(&options, &entropy)?;
        let text = std::fs::read_to_string(&written.config_path).map_err(ClusterError::Folder)?;
        std::fs::write(&written.config_path, plan.configured(&text)).map_err(ClusterError::Folder)?;
        let loaded = waterpark_control::load(&written.config_path, [])?;
        let key = loaded.key.as_ref().map_or([0; 32], |key| *key.as_bytes());
        let cuts = plan.cuts.then(|| open_cuts(&loaded.config)).transpose();
        let mut cluster = Cluster {
            members: Vec::new(),
            config: loaded.config,
            key,
            folder,
            cuts: cuts.map_err(ClusterError::Cuts)?,
            plan,
        };
        let begun = Instant::now();
        let mut starting = Vec::new();
        for name in cluster.plan.nodes.clone() {
            let (member, ready) = cluster.spawn(&name)?;
            cluster.members.push(member);
            starting.push(ready);
        }
        // Touching memory takes a machine up to four seconds for each GiB that it had not touched before.
        let touched = cluster.plan.prefault * cluster.plan.nodes.len() as u64;
        let until = begun + READY_MAX + Duration::from_millis(touched / (250 << 10));
        for (index, ready) in starting.into_iter().enumerate() {
            cluster.wait_ready(index, &ready, until)?;
        }
        Ok(cluster)
    }

    fn spawn(&self, name: &str) -> Result<(Member, mpsc::Receiver<()>), ClusterError> {
        let log = self.folder.path().join(format!("{name}.log"));
        let stderr = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(ClusterError::Folder)?;
        let failed = |cause| ClusterError::Spawn {
            binary: self.plan.binary.clone(),
            cause,
        };
        let mut child = Command::new(&self.plan.binary)
            .args(["node", "--with-parent", "--name", name])
            .args(["--driver", &self.plan.driver])
            .args(["--prefault", &format!("{}B", self.plan.prefault)])
            .arg("--config")
            .arg(self.folder.path().join("cluster.toml"))
            .args(self.via(name))
            // Ctrl-C is for whoever started them: it ends them in order.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(failed)?;
        let out = child.stdout.take().expect("stdout is a pipe");
        let (tell, ready) = mpsc::channel();
        let wanted = format!("ready {name}");
        std::thread::spawn(move || {
            // Ends with the node. After "ready" it only keeps the pipe open.
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if line == wanted && tell.send(()).is_err() {
                    return;
                }
            }
        });
        Ok((Member::new(name.to_owned(), child, log), ready))
    }

    /// Where a node is told to dial the others.
    fn via(&self, name: &str) -> Vec<String> {
        let Some(cuts) = &self.cuts else {
            return Vec::new();
        };
        let names = || self.config.nodes.iter().map(|node| node.name.as_str());
        let from = names().position(|other| other == name);
        let from = from.expect("it is one of the nodes that the configuration was made with");
        let others = names().enumerate().filter(|(to, _)| *to != from);
        others
            .map(|(to, other)| format!("--via={other}={}", cuts.address(from, to)))
            .collect()
    }

    /// The ways between its nodes, if it was planned with such; nodes have their places there in the order of the configuration.
    #[must_use]
    pub fn cuts(&self) -> Option<&Cuts> {
        self.cuts.as_ref()
    }

    fn wait_ready(&mut self, index: usize, ready: &mpsc::Receiver<()>, until: Instant) -> Result<(), ClusterError> {
        if ready
            .recv_timeout(until.saturating_duration_since(Instant::now()))
            .is_ok()
        {
            return Ok(());
        }
        Err(ClusterError::NotReady {
            node: self.members[index].name.clone(),
            said: self.members[index].log_end(),
        })
    }

    /// Starts a node again that has ended, as a new process of its name, without waiting until it serves.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub fn restart(&mut self, index: usize) -> Result<mpsc::Receiver<()>, ClusterError> {
        let name = self.members[index].name.clone();
        let (member, ready) = self.spawn(&name)?;
        self.members[index] = member;
        Ok(ready)
    }

    /// The nodes, in the order of the configuration.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The nodes, to be waited for.
    pub fn members_mut(&mut self) -> &mut [Member] {
        &mut self.members
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &ClusterConfig {
        &self.config
    }

    /// Where its configuration lies.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("cluster.toml")
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> [u8; 32] {
        self.key
    }

    /// Where clients enter: the first shard of each node.
    #[must_use]
    pub fn addresses(&self) -> ClusterAddresses {
        ClusterAddresses(addresses(&self.config))
    }

    /// Ends all nodes, which flush what they owe; their exit codes, `None` for one that had to be killed.
    pub fn stop(mut self) -> Vec<Option<i32>> {
        self.end()
    }

    /// Ends all nodes at once, as a power cut does. A cluster with a topology log has nobody left to give its groups to.
    pub fn kill(mut self) {
        self.kill_all();
    }

    fn kill_all(&mut self) {
        for member in self.members.iter().filter(|member| !member.ended) {
            // It may have ended since.
            drop(member.signal(Signal::KILL));
        }
        for member in &mut self.members {
            drop(member.wait(Instant::now() + STOP_MAX));
        }
    }

    fn end(&mut self) -> Vec<Option<i32>> {
        for member in self.members.iter().filter(|member| !member.ended) {
            // One that was stopped has to go on to be able to end. One that is gone needs no signal.
            drop(member.signal(Signal::CONT));
            drop(member.signal(Signal::TERM));
        }
        let until = Instant::now() + STOP_MAX;
        let mut codes = Vec::new();
        for member in &mut self.members {
            codes.push(match member.wait(until) {
                Ok(code) => code,
                Err(_) => {
                    drop(member.signal(Signal::KILL));
                    drop(member.wait(until + STOP_MAX));
                    None
                }
            });
        }
        codes
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.plan.voters {
            self.kill_all();
        } else if self.members.iter().any(|member| !member.ended) {
            self.end();
        }
    }
}

fn open_cuts(config: &ClusterConfig) -> io::Result<Cuts> {
    let listens = |node: &waterpark_control::NodeConfig| SocketAddr::from((Ipv4Addr::LOCALHOST, node.ports().peer(0)));
    let targets: Vec<SocketAddr> = config.nodes.iter().map(listens).collect();
    Cuts::open(&targets)
}

/// Where clients enter a cluster: the first shard of each node.
#[must_use]
pub fn addresses(config: &ClusterConfig) -> Vec<Address> {
    let address = |node: &waterpark_control::NodeConfig| Address {
        host: node.host.clone(),
        port: node.ports().native(0),
    };
    config.nodes.iter().map(address).collect()
}

/// The first port of a run of nodes whose ports are all free on loopback.
#[must_use]
pub fn free_ports(nodes: usize, workers: u16) -> Option<u16> {
    let nodes = u16::try_from(nodes).ok()?;
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    // Runs that begin at once on one machine begin at different places.
    let places = ((PORT_LAST - PORT_FIRST) / PORTS_PER_NODE).checked_sub(nodes)? + 1;
    let first = u16::try_from(std::process::id() % u32::from(places)).ok()?;
    (0..places)
        .map(|place| PORT_FIRST + (first + place) % places * PORTS_PER_NODE)
        .find(|base| {
            (0..nodes).all(|node| {
                let port = base + PORTS_PER_NODE * node;
                (0..workers).all(|shard| free(port + shard) && free(port + 64 + shard)) && free(port + 128)
            })
        })
}
