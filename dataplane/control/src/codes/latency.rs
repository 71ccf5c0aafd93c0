//! Codes of `waterpark latency`, `92xx`.
//!
//! **Invariant:** as of the whole registry.

/// What became of a measurement that could not be made.
const NOT_MEASURED: &str = "Nothing was measured; nothing is left behind.";

codes! {
    /// The name of a code of a measurement of the host.
    LatencyCode;
    Listen = 9201, "the address cannot be listened on",
        cause: "It is no address of this machine, another process has the port, or the port needs rights that this user does not have.",
        effect: NOT_MEASURED,
        remedy: "Operator: name an address of this machine and a free port above 1024.";
    Peer = 9202, "the peer cannot be reached",
        cause: "Nobody listens at the address, or the way there is closed.",
        effect: NOT_MEASURED,
        remedy: "Operator: start `waterpark latency --listen ADDRESS` there, and look at firewalls in between.";
    NotPeer = 9203, "the peer does not send back what it is sent",
        cause: "Something else than `waterpark latency --listen` answers at the address, or the connection broke.",
        effect: NOT_MEASURED,
        remedy: "Operator: look at the address, and at the other side.";
    Folder = 9204, "the folder cannot be written to",
        cause: "It does not exist, this user may not write there, or the disk is full or fails.",
        effect: NOT_MEASURED,
        remedy: "Operator: name with --folder a folder that this user may write to, on the disk that is meant.";
    Core = 9205, "the core cannot be measured",
        cause: "The core does not exist, or the affinity mask or the cpuset of this process leaves it out.",
        effect: NOT_MEASURED,
        remedy: "Caller: name one of the cores that are allowed, as shown.";
}
