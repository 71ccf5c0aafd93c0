//! Links as the world makes them: dialled with back-off by the side whose name is smaller, accepted by the other, one connection each.
//!
//! **Invariant:** a link has one connection at most. A newer one that has proven itself replaces the older, which may be half open.

use std::net::{IpAddr, SocketAddr};

use waterpark_core::LinkInfo;
use waterpark_core::behaviour::Behaviour;
use waterpark_core::ids::{Incarnation, LinkId, Member, NodeId};
use waterpark_core::time::Now;
use waterpark_wire::FrameError;
use waterpark_wire::frame::{FrameAddress, FrameKind, FrameView};
use waterpark_wire::framer::Framer;
use waterpark_wire::handshake::{Dialer, Purpose};
use waterpark_wire::refusal::ConnectionRefusal;

use super::connection::{Connection, Role};
use super::report::{LinkEnd, Report};
use super::way::{Line, Way};
use super::{EventLoop, PEERS, unpin};
use crate::driver::{Driver, SocketProfile};
use crate::{CloseCause, ConnectionId};

/// The first wait before a link is dialled again.
const REDIAL_FIRST_MS: u64 = 20;
/// The longest.
const REDIAL_MAX_MS: u64 = 1_000;

/// One link.
pub(super) struct LinkRow {
    pub(super) info: LinkInfo,
    /// The peer's first port; a shard's is that far above.
    port: u16,
    /// `None` until the peer's host name resolves.
    host: Option<IpAddr>,
    /// Where the peer's first port is reached from here, if not where its topology says.
    via: Option<SocketAddr>,
    /// The connection that carries it.
    pub(super) connection: Option<ConnectionId>,
    /// A connection that is being made.
    pub(super) dialing: Option<(ConnectionId, Box<Dialer>)>,
    /// The process at the other end of the last connection.
    incarnation: Incarnation,
    /// The newest process of the peer that the topology log named.
    named: Incarnation,
    /// The last epoch, 0 before the first.
    pub(super) epoch: u32,
    /// When to dial; monotonic ns.
    pub(super) dial_at_ns: u64,
    wait_ms: u64,
    /// A connection that only asks whether anybody listens there still.
    probe: Option<ConnectionId>,
    /// What is under way, where the link is made to take time.
    pub(super) line: Line,
    /// The last failure was told.
    told: Option<std::io::ErrorKind>,
}

impl LinkRow {
    pub(super) fn new(info: LinkInfo, port: u16, host: Option<IpAddr>, via: Option<SocketAddr>, way: Way) -> LinkRow {
        LinkRow {
            line: Line::new(way),
            info,
            port,
            host,
            via,
            connection: None,
            dialing: None,
            probe: None,
            incarnation: Incarnation(0),
            named: Incarnation(0),
            epoch: 0,
            dial_at_ns: 0,
            wait_ms: REDIAL_FIRST_MS,
            told: None,
        }
    }

    fn address(&self) -> Option<SocketAddr> {
        let first = match self.via {
            Some(via) => via,
            None => SocketAddr::new(self.host?, self.port),
        };
        Some(SocketAddr::new(first.ip(), first.port() + self.info.peer_shard))
    }

    /// The peer moved to another address; a link that is up stays.
    pub(super) fn move_to(&mut self, host: IpAddr, now: Now) {
        if self.host.replace(host) != Some(host) {
            self.dial_at_ns = now.monotonic_ns;
            self.told = None;
        }
    }

    /// The topology log names a process of the peer: one that was not met yet has just begun, and waits for its links. Whether it is dialled
    /// at once.
    fn was_named(&mut self, incarnation: Incarnation, now: Now) -> bool {
        let is_new = incarnation > self.named && incarnation > self.incarnation;
        self.named = self.named.max(incarnation);
        if is_new {
            (self.dial_at_ns, self.wait_ms) = (now.monotonic_ns, REDIAL_FIRST_MS);
        }
        is_new
    }

    /// Somebody at this address asked whether this process listens, and proved nothing: if it is the peer, it waits to be dialled. Whether it is
    /// dialled at once; whoever asks without end has that no more often than a first dial is repeated.
    fn was_asked_by(&mut self, ip: IpAddr, now: Now) -> bool {
        let waits = self.due_ns() > Some(now.after_ms(REDIAL_FIRST_MS));
        let is_it = waits && self.address().is_some_and(|address| address.ip() == ip);
        if is_it {
            (self.dial_at_ns, self.wait_ms) = (now.monotonic_ns, REDIAL_FIRST_MS);
        }
        is_it
    }

    /// The process at the other end of the last connection.
    fn member(&self) -> Member {
        Member {
            node: self.info.peer,
            incarnation: self.incarnation,
        }
    }

    /// A connection is wanted and none is under way: when it is to be dialled.
    fn due_ns(&self) -> Option<u64> {
        let idle = self.connection.is_none() && self.dialing.is_none() && !self.line.way.is_cut;
        (self.info.dials && !self.info.left && idle && self.address().is_some()).then_some(self.dial_at_ns)
    }
}

/// Hands on the frames that came over a link, up to the one with which the other side refuses. What lies behind that is not judged, so that
/// a link's end does not depend on how its bytes were torn: they are never answered, whether they came in the same receive or in the next.
///
/// # Errors
/// The first malformed frame's, unless the other side refused before it.
#[inline]
pub(super) fn feed_link(
    framer: &mut Framer,
    bytes: &[u8],
    mut on_frame: impl FnMut(&FrameView<'_>),
) -> Result<Option<ConnectionRefusal>, FrameError> {
    let mut refusal = None;
    let fed = framer.feed(bytes, true, |frame| {
        if refusal.is_none() {
            refusal = ConnectionRefusal::from_frame(&frame)?;
        }
        if refusal.is_none() {
            on_frame(&frame);
        }
        Ok(())
    });
    match refusal {
        Some(refusal) => Ok(Some(refusal)),
        None => fed.map(|()| None),
    }
}

impl<B: Behaviour> EventLoop<B> {
    /// The shard may have other links than before: those to nodes that joined are made, and those to nodes that left end.
    pub(super) fn on_nodes(&mut self, now: Now) {
        let placing = self.shard.decided().placing();
        if std::mem::replace(&mut self.placing, placing) == placing {
            return;
        }
        for at in self.links.len()..self.shard.links().len() {
            let info = self.shard.links()[at];
            let node = self.shard.topology().node(info.peer);
            let node = node.expect("a shard makes links to nodes of its topology");
            // A name is looked up by the control thread, which says what it found.
            let host = node.host.parse().ok();
            let via = self.via.get(&info.peer).copied();
            self.links
                .push(LinkRow::new(info, node.port, host, via, Way::default()));
        }
        for at in 0..self.links.len() {
            let info = self.shard.links()[at];
            let row = &mut self.links[at];
            if info.left && !std::mem::replace(&mut row.info.left, true) {
                row.dialing = None;
                self.cut_link(now, info.link, LinkEnd::Left);
            }
        }
        self.timers_at_ns = 0;
    }

    /// Another node may have been met by a process that this one waits to dial again.
    pub(super) fn dial_the_named(&mut self, now: Now) {
        let decided = self.shard.decided();
        for row in &mut self.links {
            if row.was_named(decided.node(row.info.peer).incarnation, now) {
                self.timers_at_ns = 0;
            }
        }
    }

    /// A connection at the port for peers ended before its first word, as probes do.
    fn was_probed(&mut self, now: Now, ip: IpAddr) {
        for row in &mut self.links {
            if row.was_asked_by(ip, now) {
                self.timers_at_ns = 0;
            }
        }
    }

    /// Asks all who dial this node whether they listen: whoever waits to dial again learns that it is there.
    pub(super) fn probe_dialers(&mut self) {
        (0..self.links.len()).for_each(|index| self.probe(index));
    }

    /// Dials what is due; the next instant at which something is, monotonic ns.
    pub(super) fn dial(&mut self, now: Now) -> u64 {
        let mut next_ns = u64::MAX;
        for index in 0..self.links.len() {
            let Some(due_ns) = self.links[index].due_ns() else {
                continue;
            };
            if due_ns > now.monotonic_ns {
                next_ns = next_ns.min(due_ns);
                continue;
            }
            let Some(address) = self.links[index].address() else {
                continue;
            };
            let info = self.links[index].info;
            let mut party = self.party(self.links[index].epoch);
            party.shard = self.shard.settings().shard.0;
            let purpose = Purpose::Link { number: info.number };
            let dialer = Dialer::new(party, purpose, &self.key, self.entropy.nonce(), self.lz4);
            let id = self.driver.connect(address, SocketProfile::Link);
            self.links[index].dialing = Some((id, Box::new(dialer)));
        }
        next_ns
    }

    pub(super) fn on_connected(&mut self, now: Now, id: ConnectionId) {
        let dialled = |row: &LinkRow| row.dialing.as_ref().is_some_and(|(dialing, _)| *dialing == id);
        let Some(index) = self.links.iter().position(dialled) else {
            // Somebody listens, which is all that a probe asks.
            self.probed(id);
            return self.driver.abort(id);
        };
        let row = &mut self.links[index];
        let Some((_, dialer)) = row.dialing.take() else { return };
        let peer = row.address().expect("it was dialled at an address");
        let hello = dialer.hello().to_vec();
        let link = row.info.link;
        // The row keeps the name, so that no second connection is dialled while this one shakes hands.
        row.connection = Some(id);
        let mut connection = Connection::new(id, peer, Role::Dialing { link, dialer });
        connection.waiting.push_back(hello);
        self.table.insert(connection);
        self.young.push_back((now.after_ms(super::HANDSHAKE_MS), id));
        self.pump(id);
    }

    pub(super) fn on_connect_failed(&mut self, now: Now, id: ConnectionId, error: &std::io::Error) {
        let dialled = |row: &LinkRow| row.dialing.as_ref().is_some_and(|(dialing, _)| *dialing == id);
        let is_refused = error.kind() == std::io::ErrorKind::ConnectionRefused;
        let Some(index) = self.links.iter().position(dialled) else {
            if let Some(peer) = self.probed(id).filter(|_| is_refused) {
                self.reports.tell(Report::Refused { peer });
            }
            return;
        };
        let row = &mut self.links[index];
        row.dialing = None;
        if is_refused {
            let peer = row.info.peer;
            self.reports.tell(Report::Refused { peer });
        }
        let row = &mut self.links[index];
        if row.told.replace(error.kind()) != Some(error.kind())
            && let Some(address) = row.address()
        {
            let (peer, error) = (row.info.peer, error.kind());
            self.reports.tell(Report::DialFailed { peer, address, error });
        }
        self.dial_later(now, index);
    }

    /// A probe is over: the node that it asked.
    fn probed(&mut self, id: ConnectionId) -> Option<NodeId> {
        let row = self.links.iter_mut().find(|row| row.probe == Some(id))?;
        row.probe = None;
        Some(row.info.peer)
    }

    /// The side that is dialled asks once whether anybody listens there still: a process that was killed is known by that.
    fn probe(&mut self, index: usize) {
        let row = &self.links[index];
        if row.info.dials || row.info.left || row.info.number != 0 || row.probe.is_some() || row.line.way.is_cut {
            return;
        }
        if let Some(address) = row.address() {
            self.links[index].probe = Some(self.driver.connect(address, SocketProfile::Link));
        }
    }

    /// The next dial waits, longer each time, by a random part so that peers that fell together do not return together.
    pub(super) fn dial_later(&mut self, now: Now, index: usize) {
        let jitter = u64::from(self.entropy.byte());
        let row = &mut self.links[index];
        let wait_ms = row.wait_ms / 2 + row.wait_ms * jitter / 512;
        row.dial_at_ns = now.after_ms(wait_ms.max(1));
        row.wait_ms = (row.wait_ms * 2).min(REDIAL_MAX_MS);
        self.timers_at_ns = self.timers_at_ns.min(row.dial_at_ns);
    }

    /// A link has its connection: frames flow from now on.
    pub(super) fn link_is_up(&mut self, now: Now, link: LinkId, id: ConnectionId, up: waterpark_core::PeerUp) {
        let row = &mut self.links[link.0 as usize];
        let before = row.member();
        (row.incarnation, row.epoch) = (up.incarnation, up.epoch);
        row.wait_ms = REDIAL_FIRST_MS;
        row.told = None;
        // One that still waits for an answer would keep the next one from being made when this link falls.
        row.probe = None;
        row.line.clear();
        let older = row.connection.replace(id);
        let (peer, number, epoch) = (row.member(), row.info.number, up.epoch);
        if let Some(older) = older.filter(|older| *older != id) {
            self.table.give_role(older, Role::Closing);
            self.driver.abort(older);
            let cause = LinkEnd::Replaced;
            let peer = before;
            self.reports.tell(Report::LinkDown { peer, number, cause });
        }
        self.shard.on_link_up(now, link, up);
        self.reports.tell(Report::LinkUp { peer, number, epoch });
    }

    /// The connection of a link, or of one that was shaking hands, is of no more use.
    pub(super) fn link_lost(&mut self, now: Now, link: LinkId, id: ConnectionId, end: Option<LinkEnd>) {
        let row = &mut self.links[link.0 as usize];
        if row.connection != Some(id) {
            return;
        }
        row.connection = None;
        row.line.clear();
        let (peer, number) = (row.member(), row.info.number);
        self.shard.on_link_down(link);
        if let Some(cause) = end {
            self.reports.tell(Report::LinkDown { peer, number, cause });
            self.probe(link.0 as usize);
        }
        self.dial_later(now, link.0 as usize);
    }

    /// This side ends a link's connection at once: what was under way on it is worth nothing any more.
    pub(super) fn cut_link(&mut self, now: Now, link: LinkId, end: LinkEnd) {
        let Some(id) = self.links[link.0 as usize].connection else {
            return;
        };
        self.link_lost(now, link, id, Some(end));
        self.table.give_role(id, Role::Closing);
        self.driver.abort(id);
    }

    /// What a frame of this side says on a link whose other end is that process.
    pub(super) fn address_on(&self, link: LinkId, incarnation: Incarnation, epoch: u32) -> FrameAddress {
        FrameAddress {
            kind: FrameKind::Peer,
            sender: (self.identity.node, self.identity.incarnation),
            receiver: (self.links[link.0 as usize].info.peer.0, incarnation.0),
            number: 0,
            epoch,
        }
    }

    /// This side ends a link's connection for what came over it, and says why behind what is being sent.
    pub(super) fn refuse_link(&mut self, now: Now, link: LinkId, end: LinkEnd, refusal: ConnectionRefusal) {
        let row = &self.links[link.0 as usize];
        let Some(id) = row.connection else { return };
        let address = self.address_on(link, row.incarnation, row.epoch);
        self.link_lost(now, link, id, Some(end));
        self.last_words(now, id, Some(refusal.frame(&address)));
    }

    /// The other side has refused what this side sent over a link, and ends its connection.
    pub(super) fn on_link_refused(&mut self, now: Now, id: ConnectionId, refusal: ConnectionRefusal) {
        let Some(&Role::Link(link)) = self.table.get_mut(id).map(|connection| &connection.role) else {
            return;
        };
        self.reasons.refused_by_peer(refusal);
        self.link_lost(now, link, id, Some(LinkEnd::RefusedByPeer(refusal)));
        self.last_words(now, id, None);
    }

    /// The driver says that a connection is gone.
    pub(super) fn on_closed(&mut self, now: Now, id: ConnectionId, cause: CloseCause) {
        let Some(connection) = self.table.remove(id) else {
            // Closed before it connected.
            let dialled = |row: &LinkRow| row.dialing.as_ref().is_some_and(|(dialing, _)| *dialing == id);
            if let Some(index) = self.links.iter().position(dialled) {
                self.links[index].dialing = None;
                self.dial_later(now, index);
            }
            self.probed(id);
            return;
        };
        self.counters.frames_straddled += connection.framer.straddled();
        let end = match cause {
            CloseCause::Failed(error) => LinkEnd::Failed(error.kind()),
            CloseCause::PeerClosed | CloseCause::Requested => LinkEnd::PeerClosed,
        };
        match &connection.role {
            Role::Link(link) => self.link_lost(now, *link, id, Some(end)),
            Role::Dialing { link, .. } => self.link_lost(now, *link, id, None),
            Role::Client(client) => self.shard.on_client_down(*client),
            Role::Welcoming { established, .. } => {
                if let super::connection::Established::Link(link, _) = established {
                    self.link_lost(now, *link, id, None);
                }
            }
            Role::Accepting { listener, .. } => {
                self.counters.handshakes_left += 1;
                if *listener == PEERS {
                    self.was_probed(now, connection.peer.ip());
                }
            }
            Role::Edge { .. } => self.edge_closed(id),
            Role::Closing => (),
        }
    }

    /// A send is over. A link's or client's own goes back to its outbox, unless that was emptied meanwhile.
    pub(super) fn on_sent(
        &mut self,
        now: Now,
        id: ConnectionId,
        outgoing: waterpark_core::memory::Outgoing,
        whole: bool,
    ) {
        unpin(self.shard.memory_mut(), &outgoing);
        let Some(connection) = self.table.get_mut(id) else {
            return;
        };
        connection.sending = false;
        if !whole {
            // `Closed` follows and ends what it was for.
            return;
        }
        match connection.role {
            Role::Link(link) if connection.waiting.is_empty() => {
                self.counters.links_sent_bytes += outgoing.len() as u64;
                if self.links[link.0 as usize].line.has_sent() {
                    self.line_sent(now, link);
                } else {
                    self.shard.on_link_sent(link, outgoing);
                }
            }
            Role::Client(client) if connection.waiting.is_empty() => {
                self.counters.clients_sent_bytes += outgoing.len() as u64;
                self.shard.on_client_sent(client, outgoing);
            }
            Role::Edge { .. } => {
                self.counters.edges_sent_bytes += outgoing.len() as u64;
                self.pump(id);
                self.close_if_answered(id);
            }
            _ => {
                self.pump(id);
                self.welcome(now, id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use waterpark_wire::frame::{FRAME_BYTES_MAX, FrameBuilder};
    use waterpark_wire::link::Heartbeat;

    use super::*;

    const ADDRESS: FrameAddress = FrameAddress {
        kind: FrameKind::Peer,
        sender: (4, 400),
        receiver: (9, 900),
        number: 0,
        epoch: 5,
    };

    fn at(ms: u64) -> Now {
        Now {
            monotonic_ns: ms * 1_000_000,
            wall_ms: ms,
        }
    }

    /// A link whose peer is away for long: it is dialled again after 900 ms.
    fn waiting_row() -> LinkRow {
        let info = LinkInfo {
            link: LinkId(0),
            peer: NodeId(2),
            peer_shard: 0,
            number: 0,
            dials: true,
            left: false,
        };
        let host = Some(IpAddr::from([127, 0, 0, 1]));
        let mut row = LinkRow::new(info, 9_000, host, None, Way::default());
        (row.dial_at_ns, row.wait_ms) = (at(900).monotonic_ns, REDIAL_MAX_MS);
        row
    }

    #[test]
    fn a_peer_that_asks_is_dialled_at_once_and_nobody_else() {
        let mut row = waiting_row();
        assert!(
            !row.was_asked_by(IpAddr::from([127, 0, 0, 2]), at(100)),
            "that is another host"
        );
        let ip = IpAddr::from([127, 0, 0, 1]);
        assert!(row.was_asked_by(ip, at(100)));
        assert_eq!(
            (row.due_ns(), row.wait_ms),
            (Some(at(100).monotonic_ns), REDIAL_FIRST_MS)
        );
        row.dial_at_ns = at(120).monotonic_ns;
        assert!(!row.was_asked_by(ip, at(101)), "it was dialled just now");
        (row.dial_at_ns, row.info.dials) = (at(900).monotonic_ns, false);
        assert!(!row.was_asked_by(ip, at(200)), "this side does not dial");
    }

    #[test]
    fn a_process_that_the_topology_log_names_is_dialled_at_once_and_once() {
        let mut row = waiting_row();
        row.incarnation = Incarnation(5);
        assert!(!row.was_named(Incarnation(5), at(100)), "that one was met");
        assert!(!row.was_named(Incarnation(4), at(100)), "that one is gone");
        assert_eq!(row.due_ns(), Some(at(900).monotonic_ns));
        assert!(row.was_named(Incarnation(6), at(100)));
        assert_eq!(
            (row.due_ns(), row.wait_ms),
            (Some(at(100).monotonic_ns), REDIAL_FIRST_MS)
        );
        row.dial_at_ns = at(120).monotonic_ns;
        assert!(
            !row.was_named(Incarnation(6), at(110)),
            "whoever does not listen is not dialled with each entry"
        );
        assert_eq!(row.due_ns(), Some(at(120).monotonic_ns));
    }

    fn beat() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut frame = FrameBuilder::begin(&mut bytes);
        Heartbeat::default().push(&mut bytes, &[]);
        frame.pushed();
        frame.finish(&mut bytes, &ADDRESS);
        bytes
    }

    #[test]
    fn a_refusal_ends_a_link_however_it_was_torn_and_nothing_behind_it_is_judged() {
        let refusal = ConnectionRefusal::Stranger;
        let stream = [beat(), refusal.frame(&ADDRESS), beat(), vec![0xA5; 200]].concat();
        for cut in 0..stream.len() {
            let mut framer = Framer::new(FRAME_BYTES_MAX);
            let (mut frames, mut ended) = (0, None);
            for part in [&stream[..cut], &stream[cut..]] {
                // As the event loop does: an ended link is not fed.
                if ended.is_none() {
                    ended =
                        feed_link(&mut framer, part, |_| frames += 1).expect("nothing is malformed before the refusal");
                }
            }
            assert_eq!((ended, frames), (Some(refusal), 1), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_malformed_before_a_refusal_is_named() {
        let mut framer = Framer::new(FRAME_BYTES_MAX);
        let stream = [beat(), vec![0xA5; 64], ConnectionRefusal::Stranger.frame(&ADDRESS)].concat();
        assert_eq!(feed_link(&mut framer, &stream, |_| ()), Err(FrameError::Magic));
    }
}
