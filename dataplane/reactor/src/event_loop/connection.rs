//! The loop's side of each connection: what it is for, and what waits to be sent on it outside the shard's own frames.
//!
//! **Invariant:** one send is in flight per connection at most; the shard's frames begin only after the handshake's last byte has left.

use std::collections::VecDeque;
use std::net::SocketAddr;

use waterpark_core::ids::{ClientId, LinkId};
use waterpark_core::{PeerUp, memory::Outgoing};
use waterpark_wire::frame::FRAME_BYTES_MAX;
use waterpark_wire::framer::Framer;
use waterpark_wire::handshake::{Acceptor, Dialer};

use crate::ConnectionId;

/// What a connection becomes when its handshake is done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Established {
    Link(LinkId, PeerUp),
    Client(ClientId),
}

/// What a connection is for.
pub(super) enum Role {
    /// This side speaks first, once it is connected.
    Dialing { link: LinkId, dialer: Box<Dialer> },
    /// The other side speaks first.
    Accepting { listener: u32, acceptor: Box<Acceptor> },
    /// The handshake is done, its last bytes have not left; frames that came behind it wait.
    Welcoming { established: Established, early: Vec<u8> },
    /// A link in use.
    Link(LinkId),
    /// A client in use.
    Client(ClientId),
    /// Nothing more is heard; it ends when what waits has left.
    Closing,
}

/// One connection.
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) peer: SocketAddr,
    pub(super) role: Role,
    pub(super) framer: Framer,
    /// Sends of the handshake and refusals, in order.
    pub(super) waiting: VecDeque<Vec<u8>>,
    /// A send is in flight.
    pub(super) sending: bool,
}

impl Connection {
    pub(super) fn new(id: ConnectionId, peer: SocketAddr, role: Role) -> Connection {
        Connection {
            id,
            peer,
            role,
            framer: Framer::new(FRAME_BYTES_MAX),
            waiting: VecDeque::new(),
            sending: false,
        }
    }
}

/// Connections by the slot of their name.
#[derive(Default)]
pub(super) struct Table {
    rows: Vec<Option<Connection>>,
    /// Where the next look at idle connections begins.
    rest_at: usize,
}

/// Connections that are looked at in one go.
const REST_PORTION: usize = 128;

impl Table {
    pub(super) fn insert(&mut self, connection: Connection) {
        let slot = connection.id.slot() as usize;
        if self.rows.len() <= slot {
            self.rows.resize_with(slot + 1, || None);
        }
        self.rows[slot] = Some(connection);
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let row = self.rows.get_mut(id.slot() as usize)?.as_mut();
        row.filter(|connection| connection.id == id)
    }

    /// Idle connections give their scratch buffers back, a portion of them per call.
    pub(super) fn rest_some(&mut self) {
        let from = self.rest_at.min(self.rows.len());
        let until = (from + REST_PORTION).min(self.rows.len());
        for connection in self.rows[from..until].iter_mut().flatten() {
            connection.framer.rest();
        }
        self.rest_at = if until == self.rows.len() { 0 } else { until };
    }

    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        let row = self.rows.get_mut(id.slot() as usize)?;
        if row.as_ref().is_some_and(|connection| connection.id == id) {
            row.take()
        } else {
            None
        }
    }
}

/// A send of plain bytes.
pub(super) fn plain(bytes: Vec<u8>) -> Outgoing {
    Outgoing {
        bytes,
        gathers: Vec::new(),
    }
}
