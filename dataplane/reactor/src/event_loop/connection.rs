//! The loop's side of each connection: what it is for, what waits to be sent on it outside the shard's own frames, and how many there may be.
//!
//! It does not decide who is refused. **Invariant:** one send is in flight per connection at most; the shard's frames begin only after the
//! handshake's last byte has left. The table's counts are those of its rows, because one that is counted is given and taken through the table alone.

use std::collections::VecDeque;
use std::net::SocketAddr;

use waterpark_core::ids::{ClientId, LinkId};
use waterpark_core::{PeerUp, memory::Outgoing};
use waterpark_wire::frame::FRAME_BYTES_MAX;
use waterpark_wire::framer::Framer;
use waterpark_wire::handshake::{Acceptor, Dialer};

use crate::ConnectionId;

/// How many connections of a kind a shard has at most. One more is told `Busy` and closed; its other side comes back later or elsewhere.
///
/// Both together lie below [`crate::DriverConfig::connections_max`], where connections end without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionBounds {
    /// Clients whose handshake is done.
    pub clients_max: u32,
    /// Handshakes under way on each of the shard's two ports, so that a crowd of clients keeps no peer out.
    pub handshakes_max: u32,
}

impl Default for ConnectionBounds {
    fn default() -> ConnectionBounds {
        ConnectionBounds {
            clients_max: 16_384,
            handshakes_max: 1_024,
        }
    }
}

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
    /// A sender of another protocol.
    Edge {
        /// It has ended its side.
        finished: bool,
    },
    /// Nothing more is heard; it ends when what waits has left.
    Closing,
}

/// One connection.
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) peer: SocketAddr,
    /// One that is counted is given and taken by [`Table::give_role`] alone.
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

/// Connections that are bounded, by what they are.
#[derive(Default)]
struct Counts {
    clients: u32,
    /// By the listener's tag.
    handshakes: [u32; 2],
}

impl Counts {
    /// The count that a connection of this role is part of.
    fn of(&mut self, role: &Role) -> Option<&mut u32> {
        match role {
            Role::Client(_)
            | Role::Welcoming {
                established: Established::Client(_),
                ..
            } => Some(&mut self.clients),
            Role::Accepting { listener, .. } => self.handshakes.get_mut(*listener as usize),
            Role::Dialing { .. } | Role::Welcoming { .. } | Role::Link(_) | Role::Edge { .. } | Role::Closing => None,
        }
    }

    fn comes(&mut self, role: &Role) {
        if let Some(count) = self.of(role) {
            *count += 1;
        }
    }

    fn goes(&mut self, role: &Role) {
        if let Some(count) = self.of(role) {
            *count = count.checked_sub(1).expect("it was counted when it came");
        }
    }
}

/// Connections by the slot of their name.
#[derive(Default)]
pub(super) struct Table {
    rows: Vec<Option<Connection>>,
    counts: Counts,
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
        self.counts.comes(&connection.role);
        if let Some(older) = self.rows[slot].replace(connection) {
            self.counts.goes(&older.role);
        }
    }

    /// Gives a connection another role, and the old one to the caller; `None` if there is no such connection.
    pub(super) fn give_role(&mut self, id: ConnectionId, role: Role) -> Option<Role> {
        let row = self.rows.get_mut(id.slot() as usize)?.as_mut();
        let connection = row.filter(|connection| connection.id == id)?;
        self.counts.comes(&role);
        let older = std::mem::replace(&mut connection.role, role);
        self.counts.goes(&older);
        Some(older)
    }

    /// Clients whose handshake is done.
    pub(super) fn clients(&self) -> u32 {
        self.counts.clients
    }

    /// Handshakes under way that the listener of this tag has accepted.
    pub(super) fn handshakes(&self, listener: u32) -> u32 {
        self.counts.handshakes.get(listener as usize).copied().unwrap_or(0)
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

    /// Whether all that senders of other protocols were answered has left.
    pub(super) fn edges_have_sent(&self) -> bool {
        let owes = |connection: &Connection| {
            matches!(connection.role, Role::Edge { .. }) && (connection.sending || !connection.waiting.is_empty())
        };
        !self.rows.iter().flatten().any(owes)
    }

    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        let row = self.rows.get_mut(id.slot() as usize)?;
        let connection = row.take_if(|connection| connection.id == id)?;
        self.counts.goes(&connection.role);
        Some(connection)
    }
}

/// A send of plain bytes.
pub(super) fn plain(bytes: Vec<u8>) -> Outgoing {
    Outgoing {
        bytes,
        gathers: Vec::new(),
    }
}
