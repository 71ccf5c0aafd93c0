//! Codes of commands: `170x` the command line, `171x` what it names, `172x` input and output, `173x` answers.
//!
//! Which failure has which code is not said here. **Invariant:** as of the whole registry.

/// What an error of the command line does to state.
const NOT_SENT: &str = "Nothing was sent, nothing changed.";

codes! {
    /// The name of a code of the command line, or of what a command reads and writes.
    CommandCode;
    Usage = 1701, "the command line is not understood",
        cause: "An option or command is unknown, incomplete, or contradicts another one.",
        effect: NOT_SENT,
        remedy: "Caller: correct what the line names; `waterpark help` lists the commands, `--help` behind one its options.";
    OptionRange = 1702, "an option is out of range",
        cause: "The option takes numbers between bounds, and this is another; or it means nothing beside what else was asked for.",
        effect: NOT_SENT,
        remedy: "Caller: choose a number between the bounds that are shown, or leave the option out that is named.";
    LinesAndMessage = 1703, "--lines beside a message",
        cause: "With --lines the messages come from stdin or a file; which of both is meant cannot be known.",
        effect: NOT_SENT,
        remedy: "Caller: leave out MESSAGE, or --lines.";
    UnknownCode = 1704, "no such error code",
        cause: "The code was mistyped, or belongs to another release.",
        effect: "None.",
        remedy: "Caller: look it up with `waterpark errors`, which lists all of this release.";
    RawToTerminal = 1705, "raw bytes for a terminal",
        cause: "With --raw messages are written byte for byte, and a terminal takes some bytes for orders.",
        effect: "Nothing was asked.",
        remedy: "Caller: send the bytes to a file or a pipe, or leave out --raw.";

    Key = 1711, "the text is no key",
        cause: "A key is KIND/ID, with NAME=VALUE pairs behind commas; the text breaks one of its rules.",
        effect: NOT_SENT,
        remedy: "Caller: correct the key at the place that is shown.";
    Address = 1712, "the text is no address",
        cause: "An address is HOST:PORT; the port is missing or no number.",
        effect: NOT_SENT,
        remedy: "Caller: write host and port of a node's clients: its first port + 64.";
    NoConfig = 1713, "no configuration is named",
        cause: "The command line names neither a configuration nor a node, and this folder has no cluster.toml.",
        effect: NOT_SENT,
        remedy: "Caller: name one with --config FILE, or a node with --at HOST:PORT --key-file FILE.";
    UnknownNode = 1714, "no node of that name in the cluster",
        cause: "The name was mistyped, or belongs to another cluster.",
        effect: "Nothing was asked.",
        remedy: "Caller: choose one of the names that are shown.";
    NotMemberNode = 1715, "the node that is asked holds no copy",
        cause: "Each group is held by some of the nodes, and the one that was named is none of this group's.",
        effect: "Nothing was asked.",
        remedy: "Caller: choose one of the members that are shown.";
    NoEntry = 1716, "the actor has no such entry",
        cause: "The seq is another actor's, was never given, or its entry is dropped.",
        effect: "Nothing is shown.",
        remedy: "Caller: choose a seq that `waterpark actor history KEY` shows.";
    NotJoining = 1717, "the node is one that the cluster was made with",
        cause: "`waterpark cluster join` lets in what a configuration marks with `joins = true`, and this node has no such mark.",
        effect: NOT_SENT,
        remedy: "Operator: write a [[node]] with an id, name and port of its own, and `joins = true`.";

    Input = 1721, "input cannot be read",
        cause: "The file or folder does not exist, is the one where the other is wanted, or this user may not read it; or stdin broke off.",
        effect: "What was read before was sent, if anything was; nothing else.",
        remedy: "Caller: name what is there and this user may read; if some of it was sent, send what is left.";
    InputTooLong = 1722, "a message of the input is too long",
        cause: "It has more bytes than any cluster takes; often a line feed is missing, or it is another file.",
        effect: "The message was not sent; those before it were.",
        remedy: "Caller: divide the message, or name the right file.";
    Output = 1723, "the answer cannot be written",
        cause: "Whoever reads stdout has gone, its disk is full, or a file that was named for a part of it cannot be written.",
        effect: "What had been sent stays sent.",
        remedy: "Caller: give stdout a reader or room, or name another file, and ask again; a read changes nothing.";

    Answer = 1731, "the node's answer is malformed",
        cause: "What a node sent is no answer to what was asked.",
        effect: "Nothing of it is shown. A message that was sent may have taken effect.",
        remedy: "Operator: compare the releases of this command and of the node, and look at the node's log.";
    Table = 1732, "the slot table contradicts itself",
        cause: "A node gave a table of groups and members that cannot be.",
        effect: NOT_SENT,
        remedy: "Operator: compare the releases of this command and of the node, and look at the node's log.";
    MembersSilent = 1733, "members do not answer",
        cause: "Some of the nodes that hold the key's group were asked and said nothing in time.",
        effect: "None: it was a question. What the others said is shown.",
        remedy: "Operator: look at the nodes that are named, and at the links to them.";
    LinesStopped = 1734, "a run of messages was stopped",
        cause: "A message did not become an entry; what follows must not overtake it.",
        effect: "The messages before it took effect, those behind it were not sent.",
        remedy: "Caller: look at why it was refused, and send on from there.";
    OutcomesOpen = 1735, "outcomes of some messages are not known",
        cause: "Their time was over before an answer came.",
        effect: "They may have taken effect, or may yet.",
        remedy: "Caller: look at the actor's history before sending them again.";
    Unhealthy = 1736, "the cluster is not healthy",
        cause: "Nodes or links are down, or groups have no writer or too few copies; each is named.",
        effect: "None: it was a question. What acked messages are held by is shown.",
        remedy: "Operator: look at the nodes that are named first, then at the links between them.";
    NoTopologyLog = 1737, "a cluster without a topology log",
        cause: "The cluster's configuration names no voters, so nothing keeps a log of nodes and members.",
        effect: "Nothing was changed.",
        remedy: "Operator: make a cluster with `waterpark init`, which names voters.";
    Order = 1738, "an order that was refused",
        cause: "The node that was asked knows that it cannot be carried out.",
        effect: "Nothing was changed.",
        remedy: "Operator: look at `waterpark topology`, and do what the text says.";
    OrderOpen = 1739, "an order that is not carried out yet",
        cause: "The voters have no leader at the moment, or groups take longer to move than the command waits.",
        effect: "The order may stand, and is carried out as soon as it can be.",
        remedy: "Operator: look at `waterpark topology`; give the order again if it does not show it.";
    JoinerAway = 1740, "the node that shall join does not answer",
        cause: "At the address that its configuration says nobody answers, or another node or cluster does.",
        effect: "Nothing was changed: a node that is let in and does not run would be waited for.",
        remedy: "Operator: start the node with the configuration that is named, then give the order again.";
}
