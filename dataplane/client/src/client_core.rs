//! The client without I/O: what it is told, what it wants done, and the way of a request from its call to its connection.
//!
//! It knows no clock, thread, socket or randomness: instants are arguments, in nanoseconds of any monotonic clock. Bytes leave when the
//! caller ends a turn with [`ClientCore::take_effects`]: all requests of a turn to one connection share frames.
//!
//! **Invariant:** every ticket that was handed out ends in exactly one [`Completion`], and once more if it is held and voided.

use waterpark_ring::KeyRef;
use waterpark_wire::body::{self, OrderBody};
use waterpark_wire::item::{ItemHeader, ItemKind};
use waterpark_wire::link::{Ask, DOCUMENT_ORDER, DOCUMENT_SLOT_TABLE, DOCUMENT_STATUS, DOCUMENT_TOPOLOGY};
use waterpark_wire::padded;
use waterpark_wire::reply::Outcome;
use waterpark_wire::request::{Freshness, Operation, REQUEST_HEADER, ReadLevel};
use zerocopy::IntoBytes;
use zerocopy::little_endian::U32;

use crate::completion::{Completions, Ticket};
use crate::error::ClientError;
use crate::lane::Lane;
use crate::options::{ClientOptions, HistoryQuery, ReadOptions, SendOptions};
use crate::peer::{Peer, PeerId};
use crate::requests::{Asks, Requests, Stage, Target};
use crate::routing::{Address, Prepared, Routing};
use crate::session::Births;

pub(crate) const MS: u64 = 1_000_000;
/// How long the core waits for a slot table that it asked for itself.
const TABLE_TIMEOUT_MS: u32 = 2_000;
/// What the world shall do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Connect there, shake hands, and report with [`ClientCore::on_connected`] or [`ClientCore::on_disconnected`].
    Connect {
        /// The connection.
        peer: PeerId,
        /// Where to.
        address: Address,
    },
    /// [`ClientCore::outgoing`] has bytes for this connection; report with [`ClientCore::on_written`] what of them was taken.
    Write {
        /// The connection.
        peer: PeerId,
    },
    /// Close the connection; it counts as disconnected already.
    Close {
        /// The connection.
        peer: PeerId,
        /// Why.
        cause: ClientError,
    },
}

/// The client without I/O.
#[derive(Debug)]
pub struct ClientCore {
    pub(crate) options: ClientOptions,
    pub(crate) peers: Vec<Peer>,
    /// How many of them are entries, the first ones.
    pub(crate) entries: usize,
    /// The connection of each node's each shard: `shard_peers[node_base[n] + shard]`, by place in the routing.
    pub(crate) node_base: Vec<u32>,
    pub(crate) shard_peers: Vec<u32>,
    /// Of each group, the connection to its writer's shard.
    pub(crate) direct: Vec<u32>,
    pub(crate) routing: Option<Routing>,
    pub(crate) cluster: Option<[u8; 16]>,
    pub(crate) births: Births,
    /// Unordered and ordered lane of each group.
    pub(crate) lanes: Vec<Lane>,
    pub(crate) requests: Requests,
    pub(crate) completions: Completions,
    pub(crate) effects: Vec<Effect>,
    /// Connections that may have something to write.
    pub(crate) listed: Vec<u32>,
    /// Connections that are up.
    pub(crate) up: Vec<u32>,
    pub(crate) rotor: usize,
    pub(crate) message_bytes_max: usize,
    pub(crate) tried: u32,
    pub(crate) last_failure: Option<ClientError>,
    /// When a connection has to be asked for, monotonic ns.
    pub(crate) peers_due_ns: u64,
    /// When silent connections are looked for next, monotonic ns.
    pub(crate) watch_ns: u64,
    /// After this no connection is doubted, monotonic ns.
    pub(crate) doubts_until_ns: u64,
    /// When the core last asked for the slot table, monotonic ns.
    pub(crate) table_asked_ns: Option<u64>,
    pub(crate) is_closed: bool,
    pub(crate) due: Vec<u32>,
}

impl ClientCore {
    /// A client that learns the cluster from these entry nodes. `entropy` must be random: the random halves of its sessions come from it.
    #[must_use]
    pub fn new(options: ClientOptions, entries: Vec<Address>, entropy: [u8; 16]) -> ClientCore {
        let peers: Vec<Peer> = entries.into_iter().map(|address| Peer::new(address, None)).collect();
        ClientCore {
            requests: Requests::new(options.in_flight_max, options.open_bytes_max),
            options,
            entries: peers.len(),
            peers,
            node_base: Vec::new(),
            shard_peers: Vec::new(),
            direct: Vec::new(),
            routing: None,
            cluster: None,
            births: Births::new(entropy),
            lanes: Vec::new(),
            completions: Completions::default(),
            effects: Vec::new(),
            listed: Vec::new(),
            up: Vec::new(),
            rotor: 0,
            message_bytes_max: usize::MAX,
            tried: 0,
            last_failure: None,
            peers_due_ns: 0,
            watch_ns: 0,
            doubts_until_ns: 0,
            table_asked_ns: None,
            is_closed: false,
            due: Vec::new(),
        }
    }

    /// Whether messages can be routed: a node was met and the slot table learnt.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.routing.is_some() && self.births.has_clock()
    }

    /// Requests that have not ended, held ones included.
    #[must_use]
    pub fn open_requests(&self) -> usize {
        self.requests.open()
    }

    /// Why the last connection failed, if one did and none was up since.
    #[must_use]
    pub fn last_failure(&self) -> Option<ClientError> {
        self.last_failure
    }

    /// Groups of the cluster, 0 until the slot table is learnt.
    #[must_use]
    pub fn groups(&self) -> u32 {
        self.routing.as_ref().map_or(0, Routing::groups)
    }

    /// Where a node's shard listens, as far as the slot table is known.
    #[must_use]
    pub fn address_of(&self, node: u16, shard: u16) -> Option<Address> {
        let routing = self.routing.as_ref()?;
        let place = &routing.nodes[routing.node(node)?];
        (shard < place.shards).then(|| place.address(shard))
    }

    /// The shard of a group on a node, as far as the slot table is known.
    #[must_use]
    pub fn shard_of(&self, node: u16, group: u32) -> Option<u16> {
        let routing = self.routing.as_ref()?;
        Some(routing.shard(routing.node(node)?, group))
    }

    /// Computes the group of a key, once for all messages to it.
    ///
    /// # Errors
    /// `NotReady` until the slot table is learnt.
    #[inline]
    pub fn prepare<'a>(&self, key: KeyRef<'a>) -> Result<Prepared<'a>, ClientError> {
        let routing = self.routing.as_ref().ok_or(ClientError::NotReady)?;
        Ok(routing.prepare(key))
    }

    /// Sends a message to an actor. Nothing leaves before [`ClientCore::take_effects`].
    ///
    /// # Errors
    /// Those of the first moment, with no ticket and no effect: `NotReady`, `Full`, `Closed`, or `Refused` for what is too large.
    pub fn send(
        &mut self,
        now_ns: u64,
        key: Prepared<'_>,
        message: &[u8],
        options: &SendOptions,
    ) -> Result<Ticket, ClientError> {
        if message.len() > self.message_bytes_max {
            return Err(ClientError::Refused {
                outcome: Outcome::TooLarge,
                detail: u32::try_from(self.message_bytes_max).unwrap_or(u32::MAX),
            });
        }
        let group = key.group.0;
        let index = self.open(now_ns, key, message, options.timeout_ms, Target::Writer)?;
        let row = self.requests.row_mut(index);
        row.asks = Asks::Effect;
        row.lane = 2 * group + u32::from(options.ordered);
        row.tag = options.tag;
        row.attempts_max = options.attempts_max.max(1);
        row.hold_unknown = options.hold_unknown;
        row.operation = Operation::Send;
        row.level = ReadLevel::Linearizable;
        row.here = false;
        let first = row.lane;
        let lane_index = if options.ordered {
            first
        } else {
            self.unordered_lane(now_ns, first)
        };
        let lane = &mut self.lanes[lane_index as usize];
        // Most often nothing waits in the lane, and its window is open.
        if lane.waiting.is_empty()
            && lane.has_session(now_ns)
            && let Some(number) = lane.take_number()
        {
            self.number(index, lane_index, number);
            self.dispatch_first(now_ns, index, key.key.bytes(), message);
        } else {
            self.requests.row_mut(index).stage = Stage::Waiting;
            self.lanes[first as usize].waiting.push_back(index);
            self.feed_lane(now_ns, first);
        }
        Ok(self.requests.ticket(index))
    }

    /// Asks for an actor's state, as its kind shows it.
    ///
    /// # Errors
    /// `NotReady`, `Full` or `Closed`.
    pub fn get(&mut self, now_ns: u64, key: Prepared<'_>, options: &ReadOptions) -> Result<Ticket, ClientError> {
        self.read(now_ns, key, Operation::Get, &[], options)
    }

    /// Asks for an actor's entries, newest first: seq and group time in 8 bytes each, then the entry as it lies in the log.
    ///
    /// # Errors
    /// `NotReady`, `Full` or `Closed`.
    pub fn history(
        &mut self,
        now_ns: u64,
        key: Prepared<'_>,
        query: HistoryQuery,
        options: &ReadOptions,
    ) -> Result<Ticket, ClientError> {
        self.read(now_ns, key, Operation::History, query.range().as_bytes(), options)
    }

    /// Asks where an actor's group lives; the body is an archive of [`waterpark_wire::body::WhereBody`].
    ///
    /// # Errors
    /// `NotReady`, `Full` or `Closed`.
    pub fn where_(&mut self, now_ns: u64, key: Prepared<'_>, options: &ReadOptions) -> Result<Ticket, ClientError> {
        self.read(now_ns, key, Operation::Where, &[], options)
    }

    fn read(
        &mut self,
        now_ns: u64,
        key: Prepared<'_>,
        operation: Operation,
        message: &[u8],
        options: &ReadOptions,
    ) -> Result<Ticket, ClientError> {
        if !self.is_ready() {
            return Err(ClientError::NotReady);
        }
        let target = match options.at {
            None => Target::Writer,
            Some(node) => {
                let shard = self
                    .shard_of(node, key.group.0)
                    .ok_or(ClientError::NotMember { group: key.group.0 })?;
                Target::Shard(node, shard)
            }
        };
        let freshness = options.freshness(key.group.0);
        let freshness = freshness.as_ref().map_or(&[][..], Freshness::bytes);
        let index = self.open(now_ns, key, &[freshness, message].concat(), options.timeout_ms, target)?;
        let row = self.requests.row_mut(index);
        row.asks = Asks::Read;
        row.tag = options.tag;
        row.attempts_max = u32::MAX;
        row.operation = operation;
        row.level = options.level;
        row.here = options.at.is_some();
        self.dispatch(now_ns, index);
        Ok(self.requests.ticket(index))
    }

    /// Asks a node's shard for its status; the body is an archive of [`waterpark_wire::body::StatusBody`].
    ///
    /// # Errors
    /// `NotReady`, `Full` or `Closed`; `NotMember` if there is no such shard.
    pub fn status(&mut self, now_ns: u64, node: u16, shard: u16, options: &ReadOptions) -> Result<Ticket, ClientError> {
        if self.routing.is_none() {
            return Err(ClientError::NotReady);
        }
        if self.address_of(node, shard).is_none() {
            return Err(ClientError::NotMember { group: 0 });
        }
        self.ask(now_ns, DOCUMENT_STATUS, &[], Target::Shard(node, shard), options)
    }

    /// Asks a node what it knows of the topology log; the body is an archive of [`waterpark_wire::body::TopologyBody`].
    ///
    /// # Errors
    /// As [`ClientCore::status`].
    pub fn topology(&mut self, now_ns: u64, node: u16, options: &ReadOptions) -> Result<Ticket, ClientError> {
        self.ask_node(now_ns, DOCUMENT_TOPOLOGY, &[], node, options)
    }

    /// Gives a node an operator's order; the body is an archive of [`waterpark_wire::body::OrderedBody`]. It may be given again.
    ///
    /// # Errors
    /// As [`ClientCore::status`].
    pub fn order(
        &mut self,
        now_ns: u64,
        node: u16,
        order: &OrderBody,
        options: &ReadOptions,
    ) -> Result<Ticket, ClientError> {
        self.ask_node(now_ns, DOCUMENT_ORDER, &body::encode(order), node, options)
    }

    /// Asks the shard of a node that knows of the topology log.
    fn ask_node(
        &mut self,
        now_ns: u64,
        document: u32,
        order: &[u8],
        node: u16,
        options: &ReadOptions,
    ) -> Result<Ticket, ClientError> {
        if self.routing.is_none() {
            return Err(ClientError::NotReady);
        }
        if self.address_of(node, 0).is_none() {
            return Err(ClientError::NotMember { group: 0 });
        }
        self.ask(now_ns, document, order, Target::Shard(node, 0), options)
    }

    /// Asks any node for the slot table; the body is an archive of [`waterpark_wire::body::SlotTableBody`]. The core learns from it too.
    ///
    /// # Errors
    /// `Full` or `Closed`.
    pub fn slot_table(&mut self, now_ns: u64, options: &ReadOptions) -> Result<Ticket, ClientError> {
        self.ask(now_ns, DOCUMENT_SLOT_TABLE, &[], Target::Anyone, options)
    }

    /// Asks for the slot table for the core's own sake, not too often.
    pub(crate) fn learn(&mut self, now_ns: u64) {
        let again_ns = self.table_asked_ns.map(|asked_ns| after_ms(asked_ns, TABLE_TIMEOUT_MS));
        if again_ns.is_some_and(|again_ns| now_ns < again_ns) {
            return;
        }
        self.table_asked_ns = Some(now_ns);
        let options = ReadOptions {
            timeout_ms: TABLE_TIMEOUT_MS,
            ..ReadOptions::default()
        };
        // Where there is no room, a tick asks again.
        if let Ok(ticket) = self.ask(now_ns, DOCUMENT_SLOT_TABLE, &[], Target::Anyone, &options) {
            let index = self.requests.find(ticket).expect("asked just now");
            self.requests.row_mut(index).internal = true;
        }
    }

    fn ask(
        &mut self,
        now_ns: u64,
        document: u32,
        order: &[u8],
        target: Target,
        options: &ReadOptions,
    ) -> Result<Ticket, ClientError> {
        let length = size_of::<Ask>() + order.len();
        self.admit(length)?;
        let index = self.requests.insert(after_ms(now_ns, options.timeout_ms));
        let row = self.requests.row_mut(index);
        row.asks = Asks::Document;
        row.target = target;
        row.tag = options.tag;
        row.attempts_max = u32::MAX;
        let item = ItemHeader {
            kind: ItemKind::Ask as u8,
            length: U32::new(u32::try_from(length).expect("an order is short")),
            aux: document.into(),
            ..ItemHeader::default()
        };
        let ask = Ask { item, ..Ask::default() };
        row.bytes.extend_from_slice(ask.as_bytes());
        row.bytes.extend_from_slice(order);
        self.requests.count(index);
        self.dispatch(now_ns, index);
        Ok(self.requests.ticket(index))
    }

    fn admit(&self, bytes: usize) -> Result<(), ClientError> {
        if self.is_closed {
            return Err(ClientError::Closed);
        }
        if !self.requests.has_room(bytes) {
            return Err(ClientError::Full);
        }
        Ok(())
    }

    /// Opens a request: key and message lie in its row as they lie in its item, behind a header that each copy gets anew.
    #[inline]
    fn open(
        &mut self,
        now_ns: u64,
        key: Prepared<'_>,
        message: &[u8],
        timeout_ms: u32,
        target: Target,
    ) -> Result<u32, ClientError> {
        if !self.is_ready() {
            return Err(ClientError::NotReady);
        }
        let group = key.group.0;
        if group >= self.groups() {
            return Err(ClientError::NotMember { group });
        }
        let key_bytes = key.key.bytes();
        let length = REQUEST_HEADER + padded(key_bytes.len()) + message.len();
        self.admit(length)?;
        if let Some(direct) = self.direct.get(key.group.0 as usize) {
            let peer = &self.peers[*direct as usize];
            if peer.is_up() && peer.backlog() + length > self.options.connection_bytes_max {
                return Err(ClientError::Full);
            }
        }
        let index = self.requests.insert(after_ms(now_ns, timeout_ms));
        let row = self.requests.row_mut(index);
        row.group = key.group.0;
        row.target = target;
        row.key_length = u16::try_from(key_bytes.len()).expect("keys are at most 512 bytes");
        row.bytes.reserve(length);
        row.bytes.extend_from_slice(key_bytes);
        row.bytes
            .extend_from_slice(&[0; 16][..padded(key_bytes.len()) - key_bytes.len()]);
        row.bytes.extend_from_slice(message);
        self.requests.count(index);
        Ok(index)
    }
}

pub(crate) fn after_ms(now_ns: u64, ms: u32) -> u64 {
    now_ns.saturating_add(u64::from(ms) * MS)
}
