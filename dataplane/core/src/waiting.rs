//! Requests that wait: for the commit of what their answer was computed from, or for an earlier number of their lane.

use waterpark_wire::reply::ReplyHeader;

use crate::ids::{ClientId, Member, Seq, ShardId};

/// Whom an answer goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client of this shard.
    Client(ClientId),
    /// The mailroom of another process: its next life must not take the answer for one of its own.
    Peer(Member),
    /// The mailroom of another shard of this node.
    Shard(ShardId),
    /// It was answered already: its deadline passed.
    Answered,
}

/// An answer that waits for a commit.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// The commit that it waits for.
    pub(crate) upto: Seq,
    pub(crate) origin: Origin,
    pub(crate) correlation: u64,
    /// Monotonic ns.
    pub(crate) deadline_ns: u64,
    pub(crate) number: u32,
    /// An [`waterpark_wire::reply::Outcome`] of an entry at `upto`, when `ready` is absent.
    pub(crate) outcome: u8,
    /// The answer, where it is more than an outcome and a token.
    pub(crate) ready: Option<Box<Ready>>,
}

/// An answer with a body, or about another entry than the last.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) header: ReplyHeader,
    pub(crate) body: Vec<u8>,
}

/// A request that came before its number's turn.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) origin: Origin,
    /// The whole item.
    pub(crate) bytes: Vec<u8>,
    /// When it gets `Gap`, monotonic ns.
    pub(crate) until_ns: u64,
    /// Its own deadline, monotonic ns.
    pub(crate) deadline_ns: u64,
}
