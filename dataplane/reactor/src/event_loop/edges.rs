//! Where other protocols join a shard: their connections' bytes go to an [`Edge`], what it asks goes to the shard's mailroom, and what it
//! answers goes back.
//!
//! Knows no protocol. **Invariant:** bytes leave on a connection in the order in which its edge gave them, one send at a time.

use std::net::SocketAddr;

use waterpark_core::behaviour::Behaviour;
use waterpark_core::time::Now;

use super::connection::{Connection, Role};
use super::{EventLoop, Report};
use crate::ConnectionId;
use crate::driver::Driver;

/// What a sender may leave unread of its answers before its connection is cut.
const UNREAD_BYTES_MAX: usize = 4 << 20;
/// Answers that wait for the same send are joined up to this size.
const JOINED_BYTES_MAX: usize = 64 << 10;
/// Room for requests that an edge keeps when nothing waits in it.
const REQUESTS_KEPT: usize = 64 << 10;

/// One protocol's receiving side on one shard. Calculation alone: the event loop is its world. Connections are named by numbers that are
/// used once.
pub trait Edge {
    /// A connection is there.
    fn opened(&mut self, connection: u64);

    /// Bytes came on it.
    fn received(&mut self, now: Now, connection: u64, bytes: &[u8], out: &mut EdgeOutput);

    /// The peer has ended its side; what it is owed still reaches it.
    fn finished(&mut self, now: Now, connection: u64, out: &mut EdgeOutput);

    /// The connection is gone.
    fn closed(&mut self, connection: u64);

    /// Replies to what it asked, as items.
    fn replies(&mut self, now: Now, items: &[u8], out: &mut EdgeOutput);

    /// Time passed.
    fn tick(&mut self, now: Now, out: &mut EdgeOutput);

    /// When it wants to be ticked, monotonic ns; `u64::MAX` for never.
    fn due_ns(&self) -> u64;

    /// Whether nothing on a connection waits for an answer.
    fn is_answered(&self, connection: u64) -> bool;

    /// Whether nothing on any connection does.
    fn is_idle(&self) -> bool;

    /// Buffers of idle connections may be given back.
    fn rest(&mut self);

    /// What it counts, by name.
    fn count(&self, counter: &mut dyn FnMut(&'static str, u64));
}

/// What an edge wants done, in order.
#[derive(Debug, Default)]
pub struct EdgeOutput {
    /// Request items for this shard's mailroom.
    pub requests: Vec<u8>,
    /// Bytes for connections.
    pub sends: Vec<(u64, Vec<u8>)>,
    /// Connections to stop reading from, or to read from again.
    pub pauses: Vec<(u64, bool)>,
    /// Connections to close once what they are owed has left.
    pub closes: Vec<u64>,
}

/// An edge with its output and the replies that it is about to read.
pub(super) struct EdgeRow {
    pub(super) edge: Box<dyn Edge>,
    out: EdgeOutput,
    replies: Vec<u8>,
    /// Connections whose peers ended their side in this turn: they may close once what the edge gave in it is on its way.
    finished: Vec<ConnectionId>,
}

impl EdgeRow {
    pub(super) fn new(edge: Box<dyn Edge>) -> EdgeRow {
        EdgeRow {
            edge,
            out: EdgeOutput::default(),
            replies: Vec::new(),
            finished: Vec::new(),
        }
    }

    pub(super) fn received(&mut self, now: Now, id: ConnectionId, bytes: &[u8]) {
        self.edge.received(now, id.to_bits(), bytes, &mut self.out);
    }

    /// Idle buffers are given back. Requests of one turn may be long once, and short ever after.
    pub(super) fn rest(&mut self) {
        self.edge.rest();
        if self.out.requests.is_empty() {
            self.out.requests.shrink_to(REQUESTS_KEPT);
        }
    }

    /// Whether it has asked for something that the shard has not seen.
    pub(super) fn has_requests(&self) -> bool {
        !self.out.requests.is_empty()
    }
}

impl<B: Behaviour> EventLoop<B> {
    pub(super) fn on_edge_accepted(&mut self, id: ConnectionId, peer: SocketAddr) {
        let Some(row) = &mut self.edge else {
            return self.driver.abort(id);
        };
        if !peer.ip().is_loopback() && !self.edge_open {
            self.counters.edge_strangers += 1;
            self.reports.tell(Report::EdgeStranger { peer });
            return self.driver.abort(id);
        }
        row.edge.opened(id.to_bits());
        self.table
            .insert(Connection::new(id, peer, Role::Edge { finished: false }));
    }

    pub(super) fn on_finished(&mut self, now: Now, id: ConnectionId) {
        let (Some(connection), Some(row)) = (self.table.get_mut(id), &mut self.edge) else {
            return self.driver.close(id);
        };
        connection.role = Role::Edge { finished: true };
        row.edge.finished(now, id.to_bits(), &mut row.out);
        row.finished.push(id);
    }

    pub(super) fn edge_closed(&mut self, id: ConnectionId) {
        if let Some(row) = &mut self.edge {
            row.edge.closed(id.to_bits());
        }
    }

    /// Hands what edges asked for to the mailroom.
    pub(super) fn ask_for_edges(&mut self, now: Now) {
        let Some(row) = &mut self.edge else { return };
        if now.monotonic_ns >= row.edge.due_ns() {
            row.edge.tick(now, &mut row.out);
        }
        if !row.out.requests.is_empty() {
            self.shard.on_local_items(now, &row.out.requests);
            row.out.requests.clear();
        }
    }

    /// Hands replies to edges, and does what they want.
    pub(super) fn answer_for_edges(&mut self, now: Now) {
        let Some(row) = &mut self.edge else { return };
        self.shard.take_local_replies(&mut row.replies);
        if !row.replies.is_empty() {
            row.edge.replies(now, &row.replies, &mut row.out);
            row.replies.clear();
        }
        let mut sends = std::mem::take(&mut row.out.sends);
        let pauses = std::mem::take(&mut row.out.pauses);
        let closes = std::mem::take(&mut row.out.closes);
        let mut finished = std::mem::take(&mut row.finished);
        for (connection, paused) in pauses {
            let id = ConnectionId::from_bits(connection);
            if paused {
                self.driver.pause_receive(id);
            } else {
                self.driver.resume_receive(id);
            }
        }
        for (connection, bytes) in sends.drain(..) {
            self.send_for_edge(ConnectionId::from_bits(connection), bytes);
        }
        for id in finished.drain(..) {
            self.close_if_answered(id);
        }
        if let Some(row) = &mut self.edge {
            (row.out.sends, row.finished) = (sends, finished);
        }
        for connection in closes {
            let id = ConnectionId::from_bits(connection);
            if let Some(row) = self.table.get_mut(id) {
                row.role = Role::Closing;
                self.edge_closed(id);
                // One that does not read never lets its last answer leave.
                self.young.push_back((now.after_ms(super::HANDSHAKE_MS), id));
                self.timers_at_ns = self.timers_at_ns.min(now.after_ms(super::HANDSHAKE_MS));
                self.pump(id);
            }
        }
    }

    fn send_for_edge(&mut self, id: ConnectionId, bytes: Vec<u8>) {
        let Some(connection) = self.table.get_mut(id) else {
            return;
        };
        match connection.waiting.back_mut() {
            Some(last) if last.len() + bytes.len() <= JOINED_BYTES_MAX => last.extend_from_slice(&bytes),
            _ => connection.waiting.push_back(bytes),
        }
        let unread: usize = connection.waiting.iter().map(Vec::len).sum();
        if unread > UNREAD_BYTES_MAX {
            self.counters.edges_cut += 1;
            return self.driver.abort(id);
        }
        self.pump(id);
        self.close_if_answered(id);
    }

    /// Closes a connection whose peer has ended its side, once all that it is owed has left.
    pub(super) fn close_if_answered(&mut self, id: ConnectionId) {
        let Some(connection) = self.table.get_mut(id) else {
            return;
        };
        let left = !connection.sending && connection.waiting.is_empty();
        let finished = matches!(connection.role, Role::Edge { finished: true });
        let answered = |row: &super::EdgeRow| row.edge.is_answered(id.to_bits());
        if finished && left && self.edge.as_ref().is_none_or(answered) {
            self.driver.close(id);
        }
    }

    /// Whether edges owe nothing to anybody any more, as far as they read.
    pub(super) fn edges_are_flushed(&self) -> bool {
        self.edge.as_ref().is_none_or(|row| row.edge.is_idle()) && self.table.edges_have_sent()
    }
}
