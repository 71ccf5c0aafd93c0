//! Codes of refusals and of ends without an answer: `300x` and `301x` what the cluster says, `31xx` what the client itself says.
//!
//! **Invariant:** as of the whole registry; and the effect of each says what became of the message, since that is what its sender asks first.

/// What became of a message that was refused before execution.
const NO_EFFECT: &str = "The message did not and will not take effect.";

codes! {
    /// The name of a code of a refusal, or of a message's end.
    RefusalCode;
    HandlerRefused = 3001, "the handler refused the message",
        cause: "The actor's handler took the message and said no: an empty pool, a compare-and-set that does not match.",
        effect: "The refusal is an entry of the actor's history; its state is as before.",
        remedy: "Caller: look at the actor's state, and send what it can take.";
    HandlerTrapped = 3002, "the handler failed on the message",
        cause: "The handler broke its own rules on this message.",
        effect: "The message is an entry without an event; the actor's state is as before.",
        remedy: "Operator: mend the handler.";
    Voided = 3003, "the message was withdrawn",
        cause: "Its sender gave its number up before it arrived.",
        effect: "Its number is taken; the message did not and will not take effect.",
        remedy: "Caller: send it again, as a new message, if it is still wanted.";
    Busy = 3004, "a queue is full",
        cause: "More is under way than the group, the link or the client may have.",
        effect: NO_EFFECT,
        remedy: "Caller: come back after the time that is shown, and send less at once.";
    NoQuorum = 3005, "too few members were heard",
        cause: "Fewer members of the group than an ack takes were heard lately: nodes are down, or links are cut.",
        effect: NO_EFFECT,
        remedy: "Operator: look at the nodes and the links between them. Caller: send it again when they are back.";
    NotWriter = 3006, "another node writes the group",
        cause: "The request came to a node that does not write the group, and the writer could not be asked in time.",
        effect: NO_EFFECT,
        remedy: "Operator: look at the node that is named. Caller: send it again.";
    SessionExpired = 3007, "the session is too old",
        cause: "Sessions last an hour; or the clocks of sender and cluster are far apart.",
        effect: NO_EFFECT,
        remedy: "Caller: send it again in a new session; compare the clocks if that is refused too.";
    TooLarge = 3008, "the message is too long",
        cause: "It has more bytes than the cluster takes.",
        effect: NO_EFFECT,
        remedy: "Caller: send less, or in several messages.";
    Full = 3009, "memory or tables are full",
        cause: "The memory of a member of the group has reached its budget, or a table has no row left.",
        effect: NO_EFFECT,
        remedy: "Operator: raise `memory`, keep less history ([kinds.K] history), or add nodes.";
    Gap = 3010, "an earlier message is missing",
        cause: "The group waits for an earlier number of the same session, which did not come in time.",
        effect: NO_EFFECT,
        remedy: "Caller: send the missing one, and this one again.";
    Old = 3011, "the message's number was given up",
        cause: "It came after its session had gone on.",
        effect: "Nothing is known of it from this answer; an earlier copy may have taken effect.",
        remedy: "Caller: look at the actor's history before sending it again.";
    GroupLost = 3012, "what the group held is lost",
        cause: "The process that wrote the group is gone, and a new one of its name holds nothing.",
        effect: NO_EFFECT,
        remedy: "Operator: recover the group from a member that holds it.";
    Unknown = 3013, "nothing is known of the message's effect",
        cause: "The time was over after the message had been logged or sent on.",
        effect: "It may have taken effect, or may yet.",
        remedy: "Caller: look at the actor's history; a repeat in the same session does no harm.";
    BadRequest = 3014, "the key or kind is not known",
        cause: "The key is malformed, or no node has a handler for its kind.",
        effect: NO_EFFECT,
        remedy: "Caller: correct the kind; a new release may serve more kinds.";
    Stopping = 3015, "the node is stopping",
        cause: "The node was told to end.",
        effect: NO_EFFECT,
        remedy: "Caller: send it again in a moment; another node takes it.";
    NotMember = 3016, "the node holds no copy",
        cause: "The node that was asked is no member of the group.",
        effect: NO_EFFECT,
        remedy: "Caller: ask a member: `waterpark actor where KEY` names them.";
    Logged = 3017, "an answer that refuses nothing",
        cause: "A node called an outcome a refusal that is none.",
        effect: "The message took effect.",
        remedy: "Operator: compare the releases of this command and of the node.";
    LineageLost = 3018, "what the token names is lost",
        cause: "The group was lost and opened again behind an earlier entry than the token's.",
        effect: "Nothing was read.",
        remedy: "Caller: what was seen under that token is gone; read without it.";

    Deadline = 3101, "out of time",
        cause: "The time of the call was over before the request left or was answered.",
        effect: "A message was never sent. A question changes nothing.",
        remedy: "Caller: ask again, with more time. Operator: look at the nodes if that ends so too.";
    ClientFull = 3102, "the client has as many requests open as it may",
        cause: "Requests or bytes that were sent and not answered have reached the client's own bound.",
        effect: "The message was not sent.",
        remedy: "Caller: come back when some have ended.";
    NotReady = 3103, "the client is not connected yet",
        cause: "No slot table was learnt, so no message can be routed.",
        effect: "The message was not sent.",
        remedy: "Caller: wait until the client is connected.";
    Gone = 3104, "the request is not held any more",
        cause: "Its fate was asked for after it had been given back.",
        effect: "None: it was a question.",
        remedy: "Caller: look at the actor's history.";
    Chain = 3105, "runs that were read back do not follow each other",
        cause: "A member gave runs whose chain hashes do not fit.",
        effect: "Reading ended there; nothing was changed.",
        remedy: "Operator: read the group back from another member, and look at this one.";
    Closed = 3106, "the client is closed",
        cause: "The client was closed before the call.",
        effect: "The message was never sent.",
        remedy: "Caller: make a new client.";
}
