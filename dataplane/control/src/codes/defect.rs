//! Codes of defects of a host, as `waterpark doctor` finds them, `90xx`: `900x` the kernel and io_uring, `901x` limits, `902x` memory, `903x` cores, `904x`
//! the network.
//!
//! **Invariant:** as of the whole registry; the effect is that on a node that runs here, since looking changes nothing.

/// What a host without io_uring does to a node.
const ON_EPOLL: &str = "Nodes run on epoll and say so when they start; with --driver io-uring they do not start.";
/// What keeps a node from serving.
const WOULD_NOT_START: &str = "The node would not start.";

codes! {
    /// The name of a code of a defect.
    DefectCode;
    KernelOld = 9001, "the kernel is too old",
        cause: "Linux before 6.0 lacks parts of io_uring that nodes use.",
        effect: ON_EPOLL,
        remedy: "Operator: run Linux 6.1 or later.";
    UringDisabled = 9002, "io_uring is switched off",
        cause: "kernel.io_uring_disabled is 2, or is 1 and this user is not in kernel.io_uring_group.",
        effect: ON_EPOLL,
        remedy: "Operator: sysctl -w kernel.io_uring_disabled=0, or put the user into the group that kernel.io_uring_group names.";
    UringSeccomp = 9003, "a seccomp profile refuses io_uring",
        cause: "This process runs under a seccomp filter, as the default profiles of containers have one, which forbids io_uring_setup.",
        effect: ON_EPOLL,
        remedy: "Operator: run it under a profile that allows io_uring_setup, io_uring_enter and io_uring_register.";
    UringMissing = 9004, "the kernel has no io_uring",
        cause: "The kernel was built without io_uring, or without a part of it.",
        effect: ON_EPOLL,
        remedy: "Operator: run a kernel with CONFIG_IO_URING, 6.1 or later.";
    UringPolicy = 9005, "io_uring is refused, by neither sysctl nor seccomp",
        cause: "The kernel refuses a ring, io_uring is not switched off, and no seccomp filter is on: most likely a security module.",
        effect: ON_EPOLL,
        remedy: "Operator: look for the denial in the kernel's log (dmesg, ausearch), and allow io_uring in the module's policy.";
    UringResources = 9006, "a ring cannot be set up for want of descriptors or memory",
        cause: "The process may open no more files, or the kernel has no memory for a ring.",
        effect: ON_EPOLL,
        remedy: "Operator: raise the limit of open files (ulimit -n), or free memory.";
    UringFlags = 9007, "the kernel refuses flags of a ring",
        cause: "SINGLE_ISSUER and DEFER_TASKRUN came with Linux 6.1.",
        effect: "Nodes run on io_uring, with more CPU per message.",
        remedy: "Operator: run Linux 6.1 or later.";

    LockedMemory = 9011, "the limit of locked memory is too small for the rings",
        cause: "Rings of all shards count against the user's limit of locked memory, which has no room for them.",
        effect: "Rings are halved, then shards run on epoll; each says so when it starts.",
        remedy: "Operator: raise the limit (ulimit -l, LimitMEMLOCK=, limits.conf) to what is named, for each node that the user runs.";
    Files = 9012, "the hard limit of open files is too small",
        cause: "Each client and each link takes a file, and the limit is below what the shards would accept.",
        effect: "Clients beyond the limit are not accepted; a node whose links do not fit does not start.",
        remedy: "Operator: raise the hard limit (ulimit -Hn, LimitNOFILE=, limits.conf) to what is named.";

    HugePagesAlways = 9021, "transparent huge pages are made for everything",
        cause: "transparent_hugepage/enabled is `always`, so the kernel makes huge pages of memory that did not ask for them.",
        effect: "More memory is resident than is used, and the kernel may hold a core while it makes room for a huge page.",
        remedy: "Operator: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled, or `waterpark tune apply`.";
    HugePagesNever = 9022, "transparent huge pages are off",
        cause: "transparent_hugepage/enabled is `never`: logs ask for huge pages and get none.",
        effect: "Logs lie in pages of 4 KiB, and reading them misses the TLB more often.",
        remedy: "Operator: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled, or `waterpark tune apply`.";
    Swap = 9023, "memory may be swapped out",
        cause: "A swap device is in use and vm.swappiness is above 1.",
        effect: "A message for an actor whose memory was swapped out waits for a disk, and with it all else on its shard.",
        remedy: "Operator: swapoff -a, or sysctl -w vm.swappiness=1, or `waterpark tune apply`.";
    Overcommit = 9024, "memory has to be backed before it is used",
        cause: "vm.overcommit_memory is 2: a node's whole budget is counted as used when it starts.",
        effect: "A node may be refused memory that is free.",
        remedy: "Operator: sysctl -w vm.overcommit_memory=0, if nothing else on the host needs 2.";
    MemoryBudget = 9025, "memory of the nodes is above what there is",
        cause: "`memory` of the nodes on this host adds up to more than the machine, or the cgroup's memory.max, has.",
        effect: "The kernel ends a node before it reaches its budget and refuses data by itself.",
        remedy: "Operator: lower `memory` in cluster.toml, or raise memory.max; leave room for what is beside logs.";
    MemoryFree = 9026, "memory of the node is above what is free",
        cause: "Other processes use memory that `memory` of the node reckons with.",
        effect: "The kernel ends a process when both want their memory.",
        remedy: "Operator: end what else uses memory, or lower `memory` in cluster.toml.";

    CoresDenied = 9031, "the workers of the node have no cores here",
        cause: "`workers` names cores that are not allowed here, or gives another number of cores than the node has shards.",
        effect: WOULD_NOT_START,
        remedy: "Operator: name cores that are allowed, or start the node where they are (taskset, cpuset of the cgroup).";
    CoresShort = 9032, "more shards than cores",
        cause: "The shards of the nodes on this host are more than the cores that the affinity mask and the cgroup's cpuset allow.",
        effect: "No shard is pinned and none spins: they take turns, and latency is that of the scheduler.",
        remedy: "Operator: lower `workers`, or allow more cores (taskset, cpuset of the cgroup).";
    CpuQuota = 9033, "the cgroup may use less time than its shards have cores",
        cause: "cpu.max gives less than a core for each shard.",
        effect: "When the quota of a period is used up, all shards stand still until the next one, for up to 100 ms.",
        remedy: "Operator: raise the quota (cpu.max, CPUQuota=, the container's limit of cores), or lower `workers`.";
    Governor = 9034, "cores change their clock rate",
        cause: "A core's frequency governor is not `performance`.",
        effect: "A core that was idle is slow when the next message comes.",
        remedy: "Operator: cpupower frequency-set -g performance, or `waterpark tune apply`.";
    ClockSource = 9035, "reading the clock is slow",
        cause: "The kernel's clock source needs a system call, or tsc is there and another was chosen.",
        effect: "Every turn of a shard reads the clock, and pays up to a microsecond for it.",
        remedy: "Operator: choose tsc in /sys/devices/system/clocksource; if the kernel found it unstable, look in its log for why.";
    Interrupts = 9036, "network interrupts land on cores of shards",
        cause: "A network device sends interrupts to cores on which shards are pinned.",
        effect: "Shards are interrupted in the midst of a turn; latency at p99.9 shows it.",
        remedy: "Operator: leave cores to interrupts (`workers = \"2-31\"`) and move them there: `waterpark tune apply`; stop irqbalance.";

    PortTaken = 9041, "a port of the node is in use",
        cause: "A process listens on it: another program, or the node itself, if it runs.",
        effect: WOULD_NOT_START,
        remedy: "Operator: look for the process that has it (ss -ltnp); none is wrong if it is this node.";
    PortsEphemeral = 9042, "this host gives the node's ports to outgoing connections",
        cause: "net.ipv4.ip_local_port_range has ports of the node, and net.ipv4.ip_local_reserved_ports leaves them out.",
        effect: "A port that happens to be given keeps the node from starting.",
        remedy: "Operator: reserve them with net.ipv4.ip_local_reserved_ports, or choose ports outside of the range.";
    Congestion = 9043, "links cannot choose cubic",
        cause: "cubic is not loaded, or this user may not choose it: net.ipv4.tcp_allowed_congestion_control leaves it out.",
        effect: "Links use reno, or the host's default where that is refused too; bbr among them makes throughput fluctuate.",
        remedy: "Operator: modprobe tcp_cubic and add cubic to net.ipv4.tcp_allowed_congestion_control, or `waterpark tune apply`.";
    Backlog = 9044, "few connections may wait to be accepted",
        cause: "net.core.somaxconn is below the 4,096 that nodes ask for.",
        effect: "When thousands of clients connect at once, some try for seconds.",
        remedy: "Operator: sysctl -w net.core.somaxconn=4096, or `waterpark tune apply`.";
    SocketMemory = 9045, "sockets may hold too few bytes for far links",
        cause: "The last number of net.ipv4.tcp_rmem or net.ipv4.tcp_wmem is below 4 MiB, up to which the kernel tunes a socket.",
        effect: "A link of 1 Gbit/s between data centres 30 ms apart is not filled.",
        remedy: "Operator: raise the last number to 4194304 or more, or `waterpark tune apply`.";
}
