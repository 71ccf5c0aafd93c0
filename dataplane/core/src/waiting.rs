//! Requests that wait: for the commit of what their answer was computed from, or for an earlier number of their lane.

use waterpark_wire::reply::ReplyHeader;

use crate::account::bytes_of;
use crate::behaviour::KindId;
use crate::ids::{ClientId, Incarnation, NodeId, Seq, ShardId};

/// Whom an answer goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client of this shard.
    Client(ClientId),
    /// The mailroom of another process: its next life must not take the answer for one of its own.
    Peer {
        /// Its node.
        node: NodeId,
        /// Its process.
        incarnation: Incarnation,
    },
    /// The mailroom of another shard of this node.
    Shard(ShardId),
    /// It was answered already: its deadline passed.
    Answered,
}

/// What is known of a request beside its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) origin: Origin,
    /// Monotonic ns.
    pub(crate) deadline_ns: u64,
    /// The hash of its key and its kind, where they were found out already; no kind if none of that name is known here.
    pub(crate) about: Option<(u64, Option<KindId>)>,
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

impl Waiting {
    /// What is left in a place that was taken.
    const GONE: Waiting = Waiting {
        upto: Seq::ZERO,
        origin: Origin::Answered,
        correlation: 0,
        deadline_ns: 0,
        number: 0,
        outcome: 0,
        ready: None,
    };
}

/// Answers that wait, in the order of the commits that they wait for.
///
/// A plain vector with a front: it begins anew at its start whenever it runs empty, so that a short queue stays in the lines that it last
/// used; and a row is built where it comes to rest, because one that is built elsewhere and copied waits for all stores before it.
#[derive(Debug, Default)]
pub(crate) struct WaitingQueue {
    rows: Vec<Waiting>,
    front: usize,
}

impl WaitingQueue {
    /// Nothing waits yet, and there is room for what does at full load: a queue need not grow in the midst of it.
    pub(crate) fn with_room() -> WaitingQueue {
        WaitingQueue {
            rows: Vec::with_capacity(ROWS),
            front: 0,
        }
    }

    #[inline(always)]
    pub(crate) fn push(&mut self, waiting: Waiting) {
        self.rows.push(waiting);
    }

    /// Takes the first one out if it waits for no more than `commit`.
    #[inline]
    pub(crate) fn pop(&mut self, commit: Seq) -> Option<Waiting> {
        let first = self.rows.get_mut(self.front).filter(|first| first.upto <= commit)?;
        let taken = std::mem::replace(first, Waiting::GONE);
        self.front += 1;
        if self.front == self.rows.len() {
            self.rows.clear();
            self.front = 0;
        } else if self.front >= FRONT && self.front >= self.len() {
            self.rows.drain(..self.front);
            self.front = 0;
        }
        Some(taken)
    }

    /// Those that wait for no more than `seq`, and the others in their order.
    pub(crate) fn split_behind(&mut self, seq: Seq) -> (WaitingQueue, Vec<Waiting>) {
        let taken = std::mem::take(self);
        let rows = taken.rows.into_iter().skip(taken.front);
        let (kept, gone) = rows.partition(|waiting| waiting.upto <= seq);
        (WaitingQueue { rows: kept, front: 0 }, gone)
    }

    /// Bytes set aside for rows and for answers with a body.
    pub(crate) fn kept_bytes(&self) -> u64 {
        let ready = self.rows.iter().filter_map(|waiting| waiting.ready.as_ref());
        let bodies: usize = ready.map(|ready| size_of::<Ready>() + ready.body.capacity()).sum();
        bodies as u64 + bytes_of(&self.rows)
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len() - self.front
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Waiting> {
        self.rows[self.front..].iter_mut()
    }
}

/// Answers that a queue has room for from the beginning.
const ROWS: usize = 256;
/// Taken places at the front of a queue that never runs empty are used again when they are so many, and no fewer than those that wait: then
/// each row moves once at the most, and the queue stays in few lines.
const FRONT: usize = 32;

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

impl Held {
    /// As it arrived, once its turn has come.
    pub(crate) fn arrival(&self) -> Arrival {
        Arrival {
            origin: self.origin,
            deadline_ns: self.deadline_ns,
            about: None,
        }
    }
}
