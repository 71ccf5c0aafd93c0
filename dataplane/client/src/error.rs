//! How a call can end without an answer of the actor. Each variant says what became of the message, and who should act.

use waterpark_wire::handshake::HandshakeRefusal;
use waterpark_wire::reply::Outcome;
use waterpark_wire::{ConnectionRefusal, FrameError};

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The cluster refused the request before execution, and no copy of it is left anywhere: it did not and will not take effect. The
    /// caller may send the message anew.
    #[error("refused: {outcome:?} ({detail})")]
    Refused {
        /// The last refusal.
        outcome: Outcome,
        /// What goes with it: milliseconds, a node, a limit.
        detail: u32,
    },
    /// The deadline passed and a copy of the request may have taken effect, or may yet. [`crate::ClientCore::void`] tells, if the request
    /// was sent with `hold_unknown`.
    #[error("nothing is known of the message's effect")]
    Unknown,
    /// The deadline passed. Of a message: it was never sent. Of a read: no answer came.
    #[error("the deadline passed before the request left or was answered")]
    Deadline,
    /// No node could be connected before the deadline; the message was never sent. The operator should look at nodes and addresses.
    #[error("no node could be reached ({tried} attempts)")]
    Unreachable {
        /// Attempts to connect so far.
        tried: u32,
    },
    /// A node or this client refused the handshake; nothing was sent. The operator should look at key and versions.
    #[error("handshake refused: {0}")]
    Handshake(HandshakeRefusal),
    /// A node sent malformed bytes; the connection was closed. Requests on it are sent again elsewhere. The operator should look at that
    /// node and at what stands between.
    #[error("malformed bytes: {0}")]
    Frame(FrameError),
    /// A node refused what this client sent, and closed the connection. Requests on it are sent again elsewhere. This client has to be
    /// mended, or what stands between.
    #[error("the node ended the connection: {0}")]
    Cut(ConnectionRefusal),
    /// A node of another cluster answered at this address; the connection was closed.
    #[error("a node of another cluster")]
    OtherCluster,
    /// Another node or shard than the slot table says answered at this address; the connection was closed. The operator should look at
    /// what stands between.
    #[error("another node or shard than the slot table says")]
    WrongNode,
    /// A connection failed, or an address was not found; requests on it are sent again elsewhere.
    #[error("connection: {0}")]
    Io(std::io::ErrorKind),
    /// A node left requests unanswered for too long; its connection was closed and they are sent again elsewhere.
    #[error("the node was silent")]
    Silent,
    /// As many requests or bytes as allowed are open; nothing was sent. The caller should come back after some have ended.
    #[error("as many requests are open as allowed")]
    Full,
    /// No slot table was learnt yet, so no message can be routed; nothing was sent.
    #[error("not connected yet")]
    NotReady,
    /// The ticket names no request whose fate is still held: it ended, and nothing can be asked about it any more.
    #[error("the ticket is not held any more")]
    Gone,
    /// The member holds no copy of the group. Read it back from one that does.
    #[error("the node holds no copy of group {group}")]
    NotMember {
        /// The group.
        group: u32,
    },
    /// Runs that were read back do not follow each other. The operator should look at the member.
    #[error("group {group}: the run at {seq} does not follow the one before it")]
    Chain {
        /// The group.
        group: u32,
        /// First seq of the run.
        seq: u64,
    },
    /// The client was closed; the message was never sent.
    #[error("the client is closed")]
    Closed,
}

impl From<std::convert::Infallible> for ClientError {
    fn from(never: std::convert::Infallible) -> ClientError {
        match never {}
    }
}
