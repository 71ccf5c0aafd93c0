//! The facts of a host as values.

use std::net::{IpAddr, SocketAddr};

use waterpark_reactor::cores::Cores;

/// A limit of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Limit {
    /// At most so much.
    AtMost(u64),
    /// As much as there is.
    None,
}

impl Limit {
    /// Whether so much is allowed.
    pub(crate) fn allows(self, wanted: u64) -> bool {
        self >= Limit::AtMost(wanted)
    }
}

/// How a core's frequency is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Governor {
    pub(crate) core: u32,
    pub(crate) name: String,
}

/// Where the kernel reads the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    pub(crate) current: String,
    pub(crate) available: Vec<String>,
}

/// An interrupt of a network device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interrupt {
    pub(crate) number: u32,
    pub(crate) device: String,
    /// Where it lands now.
    pub(crate) lands_on: Cores,
}

/// When the kernel makes huge pages by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HugePages {
    Always,
    Advised,
    Never,
}

/// Congestion controls of TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Congestion {
    /// What a socket has that says nothing.
    pub(crate) default: String,
    /// What is loaded.
    pub(crate) available: Vec<String>,
    /// What a process without rights may choose.
    pub(crate) allowed: Vec<String>,
}

/// A socket that somebody listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listening(pub(crate) SocketAddr);

impl Listening {
    /// Whether nobody else can listen at this address. An address that is not known is compared by its port alone.
    pub(crate) fn takes(self, address: Option<IpAddr>, port: u16) -> bool {
        let same_address = address.is_none_or(|address| self.0.ip().is_unspecified() || self.0.ip() == address);
        self.0.port() == port && same_address
    }
}

/// What was read of a host. What is absent could not be read, or does not exist there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// As the kernel writes it.
    pub(crate) release: Option<String>,
    /// The model of the first core, in the words of its maker.
    pub(crate) cpu: Option<String>,
    /// `kernel.io_uring_disabled`; kernels before 6.6 have none.
    pub(crate) uring_disabled: Option<u64>,
    /// Whether this process runs under a seccomp filter.
    pub(crate) seccomp_filter: Option<bool>,
    /// The capabilities in effect, a bit each.
    pub(crate) capabilities: Option<u64>,
    /// The soft limit of locked memory, in bytes.
    pub(crate) locked: Option<Limit>,
    /// The hard limit of open files: nodes raise theirs to it.
    pub(crate) files: Option<Limit>,
    /// By affinity mask and cpuset.
    pub(crate) cores: Option<Cores>,
    /// What the cgroup may use, in thousandths of a core.
    pub(crate) quota_millicores: Option<u64>,
    pub(crate) governors: Vec<Governor>,
    pub(crate) clock: Option<Clock>,
    pub(crate) interrupts: Vec<Interrupt>,
    pub(crate) huge_pages: Option<HugePages>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) memory_free_bytes: Option<u64>,
    /// What the cgroup may hold.
    pub(crate) memory_max_bytes: Option<u64>,
    /// Of all swap devices.
    pub(crate) swap_bytes: Option<u64>,
    pub(crate) swappiness: Option<u64>,
    pub(crate) overcommit: Option<u64>,
    pub(crate) congestion: Option<Congestion>,
    pub(crate) somaxconn: Option<u64>,
    /// The last numbers of `tcp_rmem` and `tcp_wmem`.
    pub(crate) receive_bytes_max: Option<u64>,
    pub(crate) send_bytes_max: Option<u64>,
    /// First and last port for outgoing connections.
    pub(crate) outgoing_ports: Option<(u16, u16)>,
    /// Ranges among them that are left out.
    pub(crate) reserved_ports: Vec<(u16, u16)>,
    /// `None` if the kernel does not tell.
    pub(crate) listening: Option<Vec<Listening>>,
}

impl Facts {
    /// Major and minor number of the kernel.
    pub(crate) fn version(&self) -> Option<(u32, u32)> {
        let mut numbers = self.release.as_deref()?.split(['.', '-', '+']);
        let mut next = || numbers.next()?.parse().ok();
        Some((next()?, next()?))
    }

    /// Whether a capability is in effect, by its bit.
    pub(crate) fn is_capable(&self, bit: u32) -> bool {
        self.capabilities.is_some_and(|bits| bits >> bit & 1 == 1)
    }

    /// What every host that can be judged says, and this one did not.
    pub(crate) fn unseen(&self) -> Vec<&'static str> {
        let rows = [
            (
                self.version().is_none(),
                "the kernel's release (/proc/sys/kernel/osrelease)",
            ),
            (
                self.seccomp_filter.is_none(),
                "seccomp and capabilities (/proc/self/status)",
            ),
            (self.cores.is_none(), "allowed cores (/proc/self/status)"),
            (
                self.locked.is_none() || self.files.is_none(),
                "limits (/proc/self/limits)",
            ),
            (
                self.huge_pages.is_none(),
                "huge pages (/sys/kernel/mm/transparent_hugepage/enabled)",
            ),
            (self.memory_bytes.is_none(), "memory (/proc/meminfo)"),
            (self.swap_bytes.is_none(), "swap (/proc/swaps)"),
            (
                self.swappiness.is_none() || self.overcommit.is_none(),
                "swappiness and overcommit (/proc/sys/vm)",
            ),
            (
                self.clock.is_none(),
                "the clock source (/sys/devices/system/clocksource/clocksource0)",
            ),
            (
                self.congestion.is_none() || self.receive_bytes_max.is_none() || self.send_bytes_max.is_none(),
                "TCP (/proc/sys/net/ipv4)",
            ),
            (self.somaxconn.is_none(), "somaxconn (/proc/sys/net/core)"),
            (
                self.outgoing_ports.is_none(),
                "ports for outgoing connections (/proc/sys/net/ipv4)",
            ),
            (self.listening.is_none(), "ports in use (/proc/net/tcp)"),
        ];
        rows.into_iter().filter(|row| row.0).map(|row| row.1).collect()
    }
}
