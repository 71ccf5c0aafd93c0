//! Codes of bytes and links: `200x` malformed bytes, `210x` and `211x` handshakes, `22xx` connections.
//!
//! Frame errors that ask the same of the same person share a code. **Invariant:** as of the whole registry.

/// What malformed bytes do to state.
const CLOSED: &str = "Nothing of the frame was acted on; the connection was closed.";
/// What a refused handshake does to state.
const NOT_JOINED: &str = "The connection was closed; nothing was sent over it, nothing else changed.";

codes! {
    /// The name of a code of the wire, a handshake or a link.
    WireCode;
    NotOurs = 2001, "bytes of another protocol",
        cause: "The first bytes are not a frame's: the port belongs to something else, or something else dialled it.",
        effect: CLOSED,
        remedy: "Operator: correct the address; clients dial a node's first port + 64.";
    OtherRelease = 2002, "bytes of another release",
        cause: "A version, schema, kind, flag or operation that this release does not know.",
        effect: CLOSED,
        remedy: "Operator: upgrade the older side; neighbouring releases read each other.";
    FrameTooLong = 2003, "a frame is too long",
        cause: "The length is above what the connection allows; no memory was reserved for it.",
        effect: CLOSED,
        remedy: "Operator: mend or upgrade the sender.";
    Checksum = 2004, "a checksum is wrong",
        cause: "The bytes changed on their way, or their sender writes wrong sums.",
        effect: CLOSED,
        remedy: "Operator: look at the network between the two, and at the sender's memory.";
    FrameMalformed = 2005, "a frame is malformed",
        cause: "Lengths, counts or contents of a frame do not fit each other; its checksum does, so its sender wrote it so.",
        effect: CLOSED,
        remedy: "Operator: mend or upgrade the sender.";

    HandshakeMalformed = 2101, "not a handshake",
        cause: "The bytes are no message of the handshake, or one that has no place there: the other side speaks another protocol.",
        effect: NOT_JOINED,
        remedy: "Operator: correct the address; a client dials a node's first port + 64, a node another one's first port.";
    HandshakeTooLong = 2102, "a handshake message is too long",
        cause: "Its length is above what is allowed; no memory was reserved for it.",
        effect: NOT_JOINED,
        remedy: "Operator: correct the address, or mend the other side.";
    HandshakeFormat = 2103, "another format of the handshake",
        cause: "The other side speaks a format that this release does not read.",
        effect: NOT_JOINED,
        remedy: "Operator: upgrade the older side.";
    HandshakeCluster = 2104, "another cluster",
        cause: "The other side belongs to a cluster of another id.",
        effect: NOT_JOINED,
        remedy: "Operator: correct the address, or use this cluster's configuration.";
    HandshakeKey = 2105, "the cluster key does not match",
        cause: "The two sides have different keys, or one has none.",
        effect: NOT_JOINED,
        remedy: "Operator: give both sides the same key file.";
    HandshakeTopology = 2106, "the topologies differ",
        cause: "The two nodes read different configurations.",
        effect: NOT_JOINED,
        remedy: "Operator: give both nodes the same cluster.toml and start the one that had the wrong one again.";
    HandshakeUnknownNode = 2107, "no node of that id",
        cause: "The dialer claims the id of a node that does not belong to the cluster: it has not joined, or has left.",
        effect: NOT_JOINED,
        remedy: "Operator: let it join with `waterpark cluster join`, or correct its configuration; one that left takes another name and id.";
    HandshakeOneself = 2108, "a process dialled itself",
        cause: "Two nodes have the same address in the configuration.",
        effect: NOT_JOINED,
        remedy: "Operator: correct the address of one of them.";
    HandshakeWrongDialer = 2109, "the other side dials this link",
        cause: "Of two nodes the one with the smaller name dials, and it was the other.",
        effect: NOT_JOINED,
        remedy: "Operator: compare the names of both nodes with the configuration, or upgrade the dialer.";
    HandshakeWrongLink = 2110, "no such link",
        cause: "No link of that number ends at this shard; the two reckon with different numbers of shards.",
        effect: NOT_JOINED,
        remedy: "Operator: give both nodes the same configuration, or upgrade the dialer.";
    HandshakeStale = 2111, "an older process of a node",
        cause: "A newer process of that node's name was met; two run at once, or the older one was long cut off.",
        effect: NOT_JOINED,
        remedy: "Operator: end the older process.";
    HandshakeBusy = 2112, "too many handshakes at once",
        cause: "More connections are being made than are allowed at a time.",
        effect: NOT_JOINED,
        remedy: "Caller: come back in a moment; connections are for keeping, not for one message each.";
    HandshakeStopping = 2113, "the process is stopping",
        cause: "The node was told to end.",
        effect: NOT_JOINED,
        remedy: "Caller: go to another node, or come back when this one runs again.";
    HandshakeNotLoopback = 2114, "without a key only loopback is accepted",
        cause: "The cluster has no key, and the connection came from another machine.",
        effect: NOT_JOINED,
        remedy: "Operator: make a key, name it as `key_file` in cluster.toml on all nodes, and start them again.";
    HandshakePurpose = 2115, "the port is for another purpose",
        cause: "A client dialled a port of nodes, or a node one of clients.",
        effect: NOT_JOINED,
        remedy: "Operator: correct the port; clients dial a node's first port + 64.";
    HandshakeLate = 2116, "a handshake took too long",
        cause: "The other side did not say what comes next within 5 s; it hangs, speaks another protocol, or the network is slow.",
        effect: NOT_JOINED,
        remedy: "Operator: look at the other side and at the network between.";

    Unreachable = 2201, "no node can be reached",
        cause: "Every address was tried and none took the connection in time.",
        effect: "The message was never sent.",
        remedy: "Operator: look whether the nodes run, and whether these are their ports for clients (first port + 64).";
    Connection = 2202, "a connection failed",
        cause: "The kernel refused or ended it, or the host's name was not found.",
        effect: "What was under way on it is sent again through another node, as long as its time lasts.",
        remedy: "Operator: look whether the node runs, and at the network between.";
    Silent = 2203, "a node is silent",
        cause: "It has left requests unanswered for too long; it hangs, is stopped, or the network drops what it says.",
        effect: "The connection was closed; what was under way is sent again through another node, as long as its time lasts.",
        remedy: "Operator: look at the node and at the network between.";
    OtherCluster = 2204, "a node of another cluster answered",
        cause: "The address leads to a node of another cluster.",
        effect: "The connection was closed; nothing was sent over it.",
        remedy: "Operator: correct the address.";
    WrongNode = 2205, "another node answered than the slot table says",
        cause: "What stands between, a proxy or a translation of addresses, leads to another node or shard.",
        effect: "The connection was closed; nothing was sent over it.",
        remedy: "Operator: give every shard of every node an address of its own, or connect without `direct`.";
    Stranger = 2206, "a frame of another process",
        cause: "On a link came a frame that another process made, or that was meant for another one.",
        effect: CLOSED,
        remedy: "Operator: look for what repeats or mixes connections between the nodes.";
    Unlisted = 2207, "a refusal of another release",
        cause: "The other side refused for a reason that this release does not know.",
        effect: "The connection was closed; what was acked on it stands.",
        remedy: "Operator: look its number up in the pages of that release.";
}
