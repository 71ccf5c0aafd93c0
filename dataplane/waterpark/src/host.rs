//! What a node needs of its host before its first thread: addresses, ports, limits, an incarnation.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use waterpark_control::NodeConfig;
use waterpark_core::ids::Incarnation;
use waterpark_reactor::SocketOptions;

use crate::NodeError;

/// How long ports may stay taken by this node's former process: after its end the kernel takes its io_uring down in the background, and the
/// listeners with it.
const PORTS_TAKEN: Duration = Duration::from_secs(2);
/// How often they are tried meanwhile.
const PORTS_AGAIN: Duration = Duration::from_millis(10);

/// The ports of one shard.
pub(crate) struct Listeners {
    pub(crate) peers: TcpListener,
    pub(crate) clients: TcpListener,
    /// If the node is to have one.
    pub(crate) mllp: Option<TcpListener>,
}

/// The first address of a host.
pub(crate) fn resolve(host: &str) -> io::Result<IpAddr> {
    let mut found = (host, 0).to_socket_addrs()?;
    let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    found.next().map(|address| address.ip()).ok_or_else(none)
}

/// Listens on all ports of a node, or on none. Waits a moment for those that are in use.
pub(crate) fn listen(node: &NodeConfig, ip: IpAddr, mllp: bool) -> Result<Vec<Listeners>, NodeError> {
    let ports = node.ports();
    let until = Instant::now() + PORTS_TAKEN;
    let (link, client) = (&SocketOptions::LINK, &SocketOptions::CLIENT);
    let one = |port: u16, options: &SocketOptions, role: &'static str, shard: u16, shared: bool| {
        let address = SocketAddr::new(ip, port);
        listen_until(address, options, until, shared).map_err(|cause| match Errno::from_io_error(&cause) {
            Some(Errno::ADDRINUSE) => NodeError::PortInUse {
                node: node.name.to_string(),
                address,
                role,
                shard,
            },
            Some(errno @ (Errno::MFILE | Errno::NFILE)) => NodeError::Files {
                node: node.name.to_string(),
                address,
                limit: (errno == Errno::MFILE).then(file_limit).flatten(),
            },
            _ => NodeError::Listen {
                node: node.name.to_string(),
                address,
                cause,
            },
        })
    };
    let shard = |shard: u16| {
        Ok(Listeners {
            peers: one(ports.peer(shard), link, "peers", shard, false)?,
            clients: one(ports.native(shard), client, "clients", shard, false)?,
            mllp: mllp
                .then(|| one(ports.mllp(), client, "MLLP senders", shard, node.shards > 1))
                .transpose()?,
        })
    };
    (0..node.shards).map(shard).collect()
}

/// Tries again while the port is in use.
fn listen_until(address: SocketAddr, options: &SocketOptions, until: Instant, shared: bool) -> io::Result<TcpListener> {
    loop {
        match options.listen(address, shared) {
            Err(cause) if cause.kind() == io::ErrorKind::AddrInUse && Instant::now() < until => {
                std::thread::sleep(PORTS_AGAIN);
            }
            bound => return bound,
        }
    }
}

/// How many files this process may open; `None` for any number.
fn file_limit() -> Option<u64> {
    use rustix::process::{Resource, getrlimit};
    getrlimit(Resource::Nofile).current
}

/// Raises the limit of open files to the hard one. Returns what holds now.
pub(crate) fn raise_file_limit() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    }
}

/// Names this life of the process: its start in ms, then 16 random bits, so that a later one is larger.
pub(crate) fn incarnation() -> Result<Incarnation, NodeError> {
    let wall = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let word = |value: i64| u64::try_from(value).unwrap_or(0);
    let start_ms = word(wall.tv_sec) * 1_000 + word(wall.tv_nsec) / 1_000_000;
    let random: [u8; 2] = entropy()?;
    let start = start_ms & ((1 << 48) - 1);
    Ok(Incarnation(start << 16 | u64::from(u16::from_le_bytes(random))))
}

/// Random bytes of the kernel.
pub(crate) fn entropy<const BYTES: usize>() -> Result<[u8; BYTES], NodeError> {
    let mut random = [0u8; BYTES];
    // So few come whole.
    let got = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
    got.map_err(|cause| NodeError::Kernel {
        what: "random bytes",
        cause: cause.into(),
    })?;
    Ok(random)
}
