//! Codes of the kernel, of memory and of the disk, `4xxx`: `400x` what is asked of the host as a whole, `410x` the driver of a shard, `420x` the
//! file of a node's vote.
//!
//! **Invariant:** as of the whole registry; causes that a kernel gives are told apart where the remedies differ.

/// What an error of the host does at the start.
const NOT_STARTED: &str = "The node was not started; nothing listens, no thread runs.";

codes! {
    /// The name of a code of the kernel, of memory or of the disk.
    HostCode;
    Memory = 4001, "the memory of a shard was refused",
        cause: "The kernel gives no more address space or memory: `memory` is above what the machine or its limits allow.",
        effect: NOT_STARTED,
        remedy: "Operator: lower `memory` in cluster.toml, or raise the limit (ulimit -v, the cgroup's memory.max).";
    Kernel = 4002, "the host refuses what every process needs",
        cause: "Threads, random bytes or the affinity mask were refused: a limit is reached, or a seccomp profile forbids them.",
        effect: "Nothing was started.",
        remedy: "Operator: raise the limit of tasks (ulimit -u, pids.max), or allow the call that is named.";
    MemoryFree = 4003, "too little memory is free",
        cause: "The nodes of a measurement would need more memory than is free, or those of a demonstration more than the machine has.",
        effect: "Nothing was started.",
        remedy: "Operator: end what else uses memory, lower --memory, or measure fewer actors, shorter, or a cluster on other machines.";
    Descriptors = 4004, "too few file descriptors",
        cause: "The hard limit of open files is below what the sockets of all nodes in one process need.",
        effect: "Nothing was started.",
        remedy: "Operator: raise the hard limit (ulimit -Hn, LimitNOFILE=, limits.conf) to the number that is named.";

    UringForbidden = 4101, "io_uring is forbidden",
        cause: "kernel.io_uring_disabled is set, or a seccomp profile, such as that of many containers, forbids the calls.",
        effect: NOT_STARTED,
        remedy: "Operator: allow io_uring (sysctl kernel.io_uring_disabled=0, a profile with io_uring_setup), or choose --driver epoll.";
    UringUnsupported = 4102, "the kernel's io_uring is too old",
        cause: "The kernel was built without io_uring, or lacks a part of it; 6.0 has all that is needed.",
        effect: NOT_STARTED,
        remedy: "Operator: run a newer kernel, or choose --driver epoll.";
    UringLockedMemory = 4103, "no locked memory is left for a ring",
        cause: "The limit of locked memory has no room for even the smallest ring of every shard.",
        effect: NOT_STARTED,
        remedy: "Operator: raise the limit (ulimit -l, LimitMEMLOCK=), or choose --driver epoll.";
    UringResources = 4104, "io_uring could not be set up",
        cause: "Descriptors or memory have run out.",
        effect: NOT_STARTED,
        remedy: "Operator: raise the limit of open files (ulimit -n) or free memory, or choose --driver epoll.";
    Buffers = 4105, "sizes of receive buffers are out of range",
        cause: "An embedder asked for a number of buffers that is no power of two up to 32768, or of a size outside of 512 bytes to 16 MiB.",
        effect: NOT_STARTED,
        remedy: "Caller: correct the driver's configuration.";
    Driver = 4106, "sockets or epoll are refused",
        cause: "Descriptors or memory have run out, or a policy of the host forbids sockets.",
        effect: NOT_STARTED,
        remedy: "Operator: raise the limit of open files (ulimit -n), or allow sockets.";
    Listener = 4107, "the driver does not take a listener",
        cause: "The kernel refuses an option of the socket, or to watch it.",
        effect: NOT_STARTED,
        remedy: "Operator: look at the cause that the kernel names; another driver (--driver) may do.";

    VoterFileRead = 4201, "a voter file cannot be read",
        cause: "This user may not read and write it, it is no ordinary file, or the disk fails.",
        effect: NOT_STARTED,
        remedy: "Operator: give this user the right to it; if the disk has lost it, move it away: the node then learns and does not vote.";
    VoterFileInUse = 4202, "a voter file is in use",
        cause: "Another process holds the lock of the file: the same node was started twice, or its former process still ends.",
        effect: NOT_STARTED,
        remedy: "Operator: look for the process that has it (fuser -v FILE); one process alone votes for a node.";
    VoterFileOtherCluster = 4203, "a voter file of another cluster",
        cause: "The file was made by `waterpark init` for another cluster id: it was copied, or is left over.",
        effect: NOT_STARTED,
        remedy: "Operator: move the file away, or start the node with the cluster.toml of the file's cluster.";
    VoterFileOtherVoter = 4204, "a voter file of another voter",
        cause: "The file belongs to another node, or `voters` in cluster.toml is not what it was when the cluster was made.",
        effect: NOT_STARTED,
        remedy: "Operator: restore `voters` in its order, and leave each file with the node that it is named for.";
    VoterFileDamaged = 4205, "a voter file is damaged",
        cause: "A record in the midst of the file does not add up. What it said may have been promised to other voters.",
        effect: NOT_STARTED,
        remedy: "Operator: look at the disk; move the file away and the node learns and does not vote. Never put a copy in its place.";
    VoterFileUnreadable = 4206, "a voter file of another release",
        cause: "A record adds up and says what this release does not know.",
        effect: NOT_STARTED,
        remedy: "Operator: run the release that wrote it, or a newer one.";
    VoterFileWrite = 4207, "a voter file cannot be written",
        cause: "The disk is full or fails, so a promise could not be made durable.",
        effect: "The process ended at once: nothing that rests on the promise has left it.",
        remedy: "Operator: make room or mend the disk, and start the node again.";
}
