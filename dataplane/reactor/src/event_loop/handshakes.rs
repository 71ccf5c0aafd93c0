//! From a connection to a link or client: bytes into the handshake's machines, and the judgement over what a dialler claims.
//!
//! The machines prove keys and compare topologies (`waterpark_wire::handshake`); here is what only this shard knows: which links it has,
//! which incarnations it has met, whether it stops.

use std::net::SocketAddr;

use waterpark_core::PeerUp;
use waterpark_core::behaviour::Behaviour;
use waterpark_core::effects::Cut;
use waterpark_core::ids::{ClientId, Incarnation, LinkId, NodeId};
use waterpark_core::time::Now;
use waterpark_wire::FrameError;
use waterpark_wire::frame::{FrameAddress, FrameKind};
use waterpark_wire::handshake::{
    Acceptor, Claim, HandshakeRefusal, Offer, Party, Purpose, Step, Welcome, refuse_stranger,
};
use waterpark_wire::refusal::ConnectionRefusal;

use super::connection::{Connection, Established, Role, plain};
use super::links::LinkRow;
use super::report::{LinkEnd, Report};
use super::{CLIENTS, EDGES, EventLoop, HANDSHAKE_MS, PEERS};
use crate::ConnectionId;
use crate::driver::Driver;

/// Bytes that may come behind a handshake before its answer has left: more is not sent by anyone who waits for the answer.
const EARLY_BYTES_MAX: usize = 256 << 10;

/// What a machine said, its peer's type aside.
enum Turned {
    More,
    Done {
        send: Vec<u8>,
        established: Established,
    },
    Refused {
        send: Vec<u8>,
        refusal: HandshakeRefusal,
        by_peer: bool,
    },
}

impl<B: Behaviour> EventLoop<B> {
    /// This side, as it says of itself.
    pub(super) fn party(&self, epoch: u32) -> Party {
        let mut party = self.identity.clone();
        party.out = self.shard.is_out();
        party.epoch = epoch;
        party
    }

    pub(super) fn on_accepted(&mut self, now: Now, listener: u32, id: ConnectionId, peer: SocketAddr) {
        self.counters.accepted += 1;
        if listener == EDGES {
            return self.on_edge_accepted(id, peer);
        }
        let acceptor = Acceptor::new(self.party(0), &self.key, self.entropy.nonce());
        let acceptor = Box::new(acceptor);
        let mut connection = Connection::new(id, peer, Role::Accepting { listener, acceptor });
        // Without a key anybody could prove it.
        let stranger = (!self.keyed && !peer.ip().is_loopback()).then_some(HandshakeRefusal::NotLoopback);
        let full = self.table.handshakes(listener) >= self.bounds.handshakes_max;
        let refusal = stranger.or(full.then_some(HandshakeRefusal::Busy));
        connection.waiting.extend(refusal.map(refuse_stranger));
        self.table.insert(connection);
        self.give_time(now, id);
        if let Some(refusal) = refusal {
            self.refused(now, id, refusal, false, None);
        }
    }

    /// Whatever is begun with a connection is done within the time of a handshake, or it is cut.
    pub(super) fn give_time(&mut self, now: Now, id: ConnectionId) {
        self.young.push_back((now.after_ms(HANDSHAKE_MS), id));
        self.timers_at_ns = self.timers_at_ns.min(now.after_ms(HANDSHAKE_MS));
    }

    /// Bytes of a connection whose handshake is not done.
    pub(super) fn on_handshake_bytes(&mut self, now: Now, id: ConnectionId, mut input: &[u8]) {
        loop {
            let Some(mut connection) = self.table.remove(id) else {
                return;
            };
            let (used, turned) = match &mut connection.role {
                Role::Welcoming { established, early } => {
                    early.extend_from_slice(input);
                    let flood = early.len() > EARLY_BYTES_MAX;
                    if flood {
                        // Behind the Welcome, so in the language of frames.
                        let address = match established {
                            Established::Client(_) => TO_A_CLIENT,
                            Established::Link(link, up) => self.address_on(*link, up.incarnation, up.epoch),
                        };
                        let words = ConnectionRefusal::Handshake(HandshakeRefusal::TooLong);
                        connection.waiting.push_back(words.frame(&address));
                    }
                    self.table.insert(connection);
                    if flood {
                        self.refused(now, id, HandshakeRefusal::TooLong, false, None);
                    }
                    return;
                }
                Role::Accepting { listener, acceptor } => {
                    let judge = Judge {
                        purpose_is_link: *listener == PEERS,
                        links: &self.links,
                        shards: &self.shard.settings().shards,
                        me: self.shard.settings().node,
                        met: &|node| self.shard.met(node),
                        stopping: self.stop_at_ns.is_some(),
                        full: self.table.clients() >= self.bounds.clients_max,
                        offer: Offer {
                            wall_ms: now.wall_ms,
                            message_bytes_max: self.message_bytes_max(),
                            lz4: self.lz4,
                            epoch: 0,
                        },
                    };
                    let (used, step) = acceptor.on_bytes(input, |claim| judge.judge(claim));
                    let turned = match step {
                        Step::More => Turned::More,
                        Step::Send(send) => {
                            connection.waiting.push_back(send);
                            Turned::More
                        }
                        Step::Done { send, peer: accepted } => {
                            let claim = accepted.claim;
                            let established = match claim.purpose {
                                Purpose::Client => Established::Client(ClientId(id.to_bits())),
                                Purpose::Link { number } => {
                                    let wanted =
                                        |row: &&LinkRow| row.info.peer.0 == claim.node && row.info.number == number;
                                    let row = self.links.iter().find(wanted).expect("the judge found it");
                                    let up = PeerUp {
                                        incarnation: Incarnation(claim.incarnation),
                                        epoch: accepted.epoch,
                                        out: claim.out,
                                        lz4: accepted.lz4,
                                    };
                                    Established::Link(row.info.link, up)
                                }
                            };
                            Turned::Done { send, established }
                        }
                        Step::Refused { send, refusal, by_peer } => Turned::Refused { send, refusal, by_peer },
                    };
                    (used, turned)
                }
                Role::Dialing { link, dialer } => {
                    let link = *link;
                    let (used, step) = dialer.on_bytes(input);
                    let turned = match step {
                        Step::More => Turned::More,
                        Step::Send(send) => {
                            connection.waiting.push_back(send);
                            Turned::More
                        }
                        Step::Done { send, peer: welcome } => match self.judge_welcome(link.0 as usize, &welcome) {
                            Ok(up) => {
                                let established = Established::Link(link, up);
                                Turned::Done { send, established }
                            }
                            Err(refusal) => Turned::Refused {
                                send: Vec::new(),
                                refusal,
                                by_peer: false,
                            },
                        },
                        Step::Refused { send, refusal, by_peer } => Turned::Refused { send, refusal, by_peer },
                    };
                    (used, turned)
                }
                Role::Link(_) | Role::Client(_) | Role::Edge { .. } | Role::Closing => {
                    self.table.insert(connection);
                    return;
                }
            };
            input = &input[used..];
            match turned {
                Turned::More => {
                    self.table.insert(connection);
                    self.pump(id);
                    if input.is_empty() || used == 0 {
                        return;
                    }
                }
                Turned::Done { send, established } => {
                    if !send.is_empty() {
                        connection.waiting.push_back(send);
                    }
                    let early = input.to_vec();
                    connection.role = Role::Welcoming { established, early };
                    self.table.insert(connection);
                    self.pump(id);
                    return self.welcome(now, id);
                }
                Turned::Refused { send, refusal, by_peer } => {
                    let theirs = match &connection.role {
                        Role::Accepting { acceptor, .. } => acceptor.peer_topology(),
                        Role::Dialing { dialer, .. } => dialer.peer_topology(),
                        _ => None,
                    };
                    let topology = theirs.map(Box::from);
                    if !send.is_empty() {
                        connection.waiting.push_back(send);
                    }
                    self.table.insert(connection);
                    return self.refused(now, id, refusal, by_peer, topology);
                }
            }
        }
    }

    fn message_bytes_max(&self) -> u32 {
        u32::try_from(self.shard.settings().limits.message_bytes_max).unwrap_or(u32::MAX)
    }

    /// What the acceptor of a link that this side dialled says of itself.
    fn judge_welcome(&self, index: usize, welcome: &Welcome) -> Result<PeerUp, HandshakeRefusal> {
        let info = self.links[index].info;
        if welcome.node != info.peer.0 || welcome.shard != info.peer_shard {
            return Err(HandshakeRefusal::WrongLink);
        }
        if welcome.shards != self.shard.settings().shards_of(info.peer) {
            return Err(HandshakeRefusal::WrongLink);
        }
        if Incarnation(welcome.incarnation) < self.shard.met(info.peer) {
            return Err(HandshakeRefusal::StaleIncarnation);
        }
        Ok(PeerUp {
            incarnation: Incarnation(welcome.incarnation),
            epoch: welcome.epoch,
            out: welcome.out,
            lz4: welcome.lz4,
        })
    }

    /// The handshake failed: what it still says goes out, then the connection ends.
    fn refused(
        &mut self,
        now: Now,
        id: ConnectionId,
        refusal: HandshakeRefusal,
        by_peer: bool,
        topology: Option<Box<[u8]>>,
    ) {
        self.reasons.handshake(refusal, by_peer);
        let Some(peer) = self.table.get_mut(id).map(|connection| connection.peer) else {
            return;
        };
        let role = self.table.give_role(id, Role::Closing);
        self.reports.tell(Report::HandshakeRefused {
            peer,
            refusal,
            by_peer,
            topology,
        });
        if let Some(
            Role::Dialing { link, .. }
            | Role::Welcoming {
                established: Established::Link(link, _),
                ..
            },
        ) = role
        {
            self.link_lost(now, link, id, None);
        }
        self.pump(id);
    }

    /// Nothing more is heard of a connection in use: it ends behind what is being sent and these words, or is cut when that takes too long,
    /// as with one that does not read.
    pub(super) fn last_words(&mut self, now: Now, id: ConnectionId, words: Option<Vec<u8>>) {
        if self.table.give_role(id, Role::Closing).is_none() {
            return;
        }
        if let Some(connection) = self.table.get_mut(id) {
            connection.waiting.extend(words);
        }
        self.give_time(now, id);
        self.pump(id);
    }

    /// Sends what waits outside the shard's frames; a connection that is to end does so behind it.
    pub(super) fn pump(&mut self, id: ConnectionId) {
        let Some(connection) = self.table.get_mut(id) else {
            return;
        };
        if connection.sending {
            return;
        }
        if let Some(bytes) = connection.waiting.pop_front() {
            connection.sending = true;
            if self.driver.send(id, plain(bytes), self.shard.memory()).is_err() {
                // It is closing already; `Closed` will say so.
                connection.sending = false;
            }
        } else if matches!(connection.role, Role::Closing) {
            self.driver.close(id);
        }
    }

    /// The last bytes of a handshake have left: the shard hears of its link or client, then what came early.
    pub(super) fn welcome(&mut self, now: Now, id: ConnectionId) {
        let Some(connection) = self.table.get_mut(id) else {
            return;
        };
        if connection.sending || !connection.waiting.is_empty() {
            return;
        }
        let Role::Welcoming { established, early } = &mut connection.role else {
            return;
        };
        let (established, early) = (*established, std::mem::take(early));
        match established {
            Established::Client(client) => {
                self.table.give_role(id, Role::Client(client));
                self.shard.on_client_up(client);
            }
            Established::Link(link, up) => {
                self.table.give_role(id, Role::Link(link));
                self.link_is_up(now, link, id, up);
            }
        }
        if !early.is_empty() {
            self.on_bytes(now, id, &early);
        }
    }

    /// Handshakes that took too long end; the next deadline, monotonic ns.
    pub(super) fn expire_young(&mut self, now: Now) -> u64 {
        while let Some((deadline_ns, id)) = self.young.front().copied() {
            if deadline_ns > now.monotonic_ns {
                return deadline_ns;
            }
            self.young.pop_front();
            let Some(connection) = self.table.get_mut(id) else {
                continue;
            };
            if matches!(connection.role, Role::Link(_) | Role::Client(_) | Role::Edge { .. }) {
                continue;
            }
            self.counters.handshakes_late += u64::from(!matches!(connection.role, Role::Closing));
            if matches!(connection.role, Role::Accepting { .. }) {
                connection.waiting.push_back(refuse_stranger(HandshakeRefusal::Late));
                self.refused(now, id, HandshakeRefusal::Late, false, None);
                // One that does not read is cut the next time.
                self.give_time(now, id);
                continue;
            }
            let role = self.table.give_role(id, Role::Closing);
            if let Some(
                Role::Dialing { link, .. }
                | Role::Welcoming {
                    established: Established::Link(link, _),
                    ..
                },
            ) = role
            {
                self.link_lost(now, link, id, None);
            }
            self.driver.abort(id);
        }
        u64::MAX
    }

    /// A connection in use sent what is no frame, or has no place.
    pub(super) fn malformed(&mut self, now: Now, id: ConnectionId, error: FrameError) {
        let Some(connection) = self.table.get_mut(id) else {
            return;
        };
        match connection.role {
            Role::Link(link) => {
                self.reasons.malformed(error);
                self.refuse_link(now, link, LinkEnd::Malformed(error), ConnectionRefusal::Frame(error));
            }
            Role::Client(client) => {
                self.shard.on_client_down(client);
                self.cut_client(now, id, Cut::Malformed(error));
            }
            _ => (),
        }
    }

    /// Tells a client why, and ends its connection. The shard has forgotten it already.
    pub(super) fn cut_client(&mut self, now: Now, id: ConnectionId, cause: Cut) {
        self.counters.clients_cut += 1;
        self.reasons.cut(cause);
        let Some(connection) = self.table.get_mut(id) else {
            return;
        };
        let peer = connection.peer;
        self.reports.tell(Report::ClientCut { peer, cause });
        let words = refusal_of(cause).map(|refusal| refusal.frame(&TO_A_CLIENT));
        self.last_words(now, id, words);
    }

    /// The shard has no more use for a link: one that sent what has no place is told so, one that is silent would not hear it.
    pub(super) fn end_link(&mut self, now: Now, link: LinkId, cause: Cut) {
        self.reasons.cut(cause);
        match refusal_of(cause) {
            Some(refusal) => self.refuse_link(now, link, LinkEnd::Cut(cause), refusal),
            None => self.cut_link(now, link, LinkEnd::Cut(cause)),
        }
    }
}

/// What the other side of a connection is told when it is cut; `None` where it did nothing wrong, or reads nothing.
fn refusal_of(cause: Cut) -> Option<ConnectionRefusal> {
    match cause {
        Cut::Malformed(error) => Some(ConnectionRefusal::Frame(error)),
        Cut::Stranger => Some(ConnectionRefusal::Stranger),
        Cut::Silent | Cut::Backlog => None,
    }
}

/// Frames to clients name neither side.
const TO_A_CLIENT: FrameAddress = FrameAddress {
    kind: FrameKind::Node,
    sender: (0, 0),
    receiver: (0, 0),
    number: 0,
    epoch: 0,
};

/// What a claim is held against.
struct Judge<'a> {
    purpose_is_link: bool,
    links: &'a [LinkRow],
    shards: &'a [u16],
    me: NodeId,
    met: &'a dyn Fn(NodeId) -> Incarnation,
    stopping: bool,
    /// The shard has as many clients as it takes.
    full: bool,
    offer: Offer,
}

impl Judge<'_> {
    fn judge(&self, claim: &Claim) -> Result<Offer, HandshakeRefusal> {
        let number = match (claim.purpose, self.purpose_is_link) {
            (Purpose::Client, false) if self.stopping => return Err(HandshakeRefusal::Stopping),
            (Purpose::Client, false) if self.full => return Err(HandshakeRefusal::Busy),
            (Purpose::Client, false) => return Ok(self.offer),
            (Purpose::Link { number }, true) => number,
            _ => return Err(HandshakeRefusal::Purpose),
        };
        if claim.node == self.me.0 {
            return Err(HandshakeRefusal::Oneself);
        }
        let theirs = self.shards.get(usize::from(claim.node)).copied().unwrap_or(0);
        if theirs == 0 || claim.node == 0 {
            return Err(HandshakeRefusal::UnknownNode);
        }
        let of_link = |row: &&LinkRow| row.info.peer.0 == claim.node && row.info.number == number;
        let row = self.links.iter().find(of_link).ok_or(HandshakeRefusal::WrongLink)?;
        if row.info.left {
            return Err(HandshakeRefusal::UnknownNode);
        }
        if row.info.dials {
            return Err(HandshakeRefusal::WrongDialer);
        }
        if claim.shards != theirs || claim.shard != row.info.peer_shard {
            return Err(HandshakeRefusal::WrongLink);
        }
        if Incarnation(claim.incarnation) < (self.met)(row.info.peer) {
            return Err(HandshakeRefusal::StaleIncarnation);
        }
        let mut offer = self.offer;
        offer.epoch = row.epoch;
        Ok(offer)
    }
}

// The listeners' tags are what the judge reads; the compiler keeps them apart.
const _: () = assert!(PEERS != CLIENTS && CLIENTS != EDGES && EDGES != PEERS);
