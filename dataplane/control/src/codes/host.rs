//! Codes of the kernel and of memory, `4xxx`: `400x` what is asked of the host as a whole, `410x` the driver of a shard.
//!
//! **Invariant:** as of the whole registry; causes that a kernel gives are told apart where the remedies differ.

/// What an error of the host does at the start.
const NOT_STARTED: &str = "The node was not started; nothing listens, no thread runs.";

codes! {
    /// The name of a code of the kernel or of memory.
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
}
