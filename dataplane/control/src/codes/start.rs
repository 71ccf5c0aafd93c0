//! Codes of a node's start, `18xx`: its place in the cluster, its ports, its cores.
//!
//! What the kernel refuses for reasons of its own is in `host.rs`. **Invariant:** as of the whole registry.

/// What an error at the start does to state.
const NOT_STARTED: &str = "The node was not started; nothing listens, no thread runs.";

codes! {
    /// The name of a code of a node's start.
    StartCode;
    PortInUse = 1801, "a port of the node is in use",
        cause: "Another process listens on the address; often the same node was started twice, or its former process still ends.",
        effect: NOT_STARTED,
        remedy: "Operator: look for the process that has it (ss -ltnp), or give the node another `port` in cluster.toml on all nodes.";
    CannotListen = 1802, "a port of the node cannot be listened on",
        cause: "The host of the node is no address of this machine, or the port needs rights that this user does not have.",
        effect: NOT_STARTED,
        remedy: "Operator: write an address of this machine as the node's `host`, and ports above 1024.";
    HostUnresolved = 1803, "the node's host does not resolve",
        cause: "The name service gives no address for the `host` of this node.",
        effect: NOT_STARTED,
        remedy: "Operator: correct `host` in cluster.toml, or the name service.";
    CoreNotAllowed = 1804, "a core is not allowed here",
        cause: "`workers` names a core that does not exist, or that the affinity mask or the cpuset of this process leaves out.",
        effect: NOT_STARTED,
        remedy: "Operator: name cores that are allowed, or start the node where its cores are allowed (taskset, cpuset).";
    CorePinning = 1805, "the kernel refuses to pin a thread",
        cause: "The core is allowed, and the kernel refuses all the same: a policy of the host, such as a seccomp profile.",
        effect: NOT_STARTED,
        remedy: "Operator: allow sched_setaffinity, or choose other cores.";
    ShardsDiffer = 1806, "cores and shards differ in number",
        cause: "`workers` gives another number of cores on this host than the shards with which every node of the cluster reckons.",
        effect: NOT_STARTED,
        remedy: "Operator: write the number of shards that the cluster is to reckon with, or run the node where it has that many cores.";
    KindUnserved = 1807, "no handler serves a kind of the configuration",
        cause: "A [kinds.K] section names a kind that this release has no handler for; often mistyped.",
        effect: NOT_STARTED,
        remedy: "Operator: correct the name, or take the section out.";
    ParentGone = 1808, "the process that started this one is gone",
        cause: "The node was to end with the process that started it, and that has ended already.",
        effect: NOT_STARTED,
        remedy: "Nobody: it is over; start anew what had started the node.";
    Signals = 1809, "signals cannot be caught",
        cause: "The kernel refuses a handler for SIGTERM or SIGINT; without one nothing could be ended in order.",
        effect: "Nothing was started.",
        remedy: "Operator: look at the policy of the host, such as a seccomp profile.";
    NodeFailed = 1810, "the node failed while it ran",
        cause: "A shard ended: its driver was refused by the kernel, or it met an impossibility; the log before this line says which.",
        effect: "The process ended at once. What other members hold is held.",
        remedy: "Operator: start the node again; if it fails again, look at the log and at the host.";
}
