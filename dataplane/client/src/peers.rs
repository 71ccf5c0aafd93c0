//! Connections: rising and falling, the slot table that names them, and which of them a request takes.
//!
//! The world does the connecting. **Invariant:** a connection is `Up` from its Welcome to its end, and what was under way on it is sent
//! again, same number, or ends.

use std::collections::BTreeMap;

use waterpark_wire::body::SlotTableBody;
use waterpark_wire::handshake::Welcome;

use crate::client_core::{ClientCore, Effect, MS};
use crate::error::ClientError;
use crate::lane::Lane;
use crate::peer::{Peer, PeerId, Standing};
use crate::requests::{Asks, Request, Stage, Target};
use crate::routing::Routing;

/// After a failed connection, the next attempt waits so long, doubled with each failure.
const RECONNECT_MS: u64 = 20;
/// The longest such wait.
const RECONNECT_MAX_MS: u64 = 1_000;
/// Whoever refuses for want of a quorum is asked last for so long, doubled with each time that no ack came in between.
const DOUBT_MS: u64 = 1_000;
/// The longest such time.
const DOUBT_MAX_MS: u64 = 16_000;
/// Only who has spoken within this is asked in its place: one that stands still takes everything and answers nothing.
const TRUST_MS: u64 = 1_000;
/// Connections that owe answers are looked at so often.
const WATCH_MS: u64 = 100;

impl ClientCore {
    /// A connection has shaken hands.
    pub fn on_connected(&mut self, now_ns: u64, peer: PeerId, welcome: &Welcome) {
        let Some(row) = self.peers.get(peer.0 as usize) else {
            return;
        };
        if row.standing != Standing::Connecting {
            return;
        }
        if self.cluster.is_some_and(|cluster| cluster != welcome.cluster) {
            return self.fail(now_ns, peer, ClientError::OtherCluster);
        }
        let met = (welcome.node, welcome.shard);
        if peer.0 as usize >= self.entries && row.place.is_some_and(|place| place != met) {
            return self.fail(now_ns, peer, ClientError::WrongNode);
        }
        self.cluster = Some(welcome.cluster);
        self.births.set_clock(now_ns, welcome.wall_ms);
        self.message_bytes_max = welcome.message_bytes_max as usize;
        self.last_failure = None;
        let row = &mut self.peers[peer.0 as usize];
        row.rise(now_ns, welcome.node, welcome.incarnation, welcome.shard);
        row.wanted = false;
        self.up.push(peer.0);
        match self.routing {
            Some(_) => self.map_shards(),
            None => self.learn(now_ns),
        }
        let parked = self.requests.select(|row| row.stage == Stage::Parked);
        self.dispatch_all(now_ns, parked);
    }

    /// A connection failed or ended, or could not be made.
    pub fn on_disconnected(&mut self, now_ns: u64, peer: PeerId, cause: ClientError) {
        let Some(row) = self.peers.get_mut(peer.0 as usize) else {
            return;
        };
        if matches!(row.standing, Standing::Down { .. }) {
            return;
        }
        self.tried = self.tried.saturating_add(1);
        self.last_failure = Some(cause);
        let wait_ms = (RECONNECT_MS << row.failures.min(10)).min(RECONNECT_MAX_MS);
        row.fall(now_ns + wait_ms * MS);
        row.flying = 0;
        self.up.retain(|other| *other != peer.0);
        self.peers_due_ns = 0;
        let flying = self
            .requests
            .select(|row| row.stage == Stage::Flying && row.peer == peer.0);
        for index in &flying {
            let row = self.requests.row_mut(*index);
            row.stage = Stage::Pausing;
            // Nobody can say whether the copy arrived.
            row.dirty |= row.asks == Asks::Effect;
        }
        let (over, again) = flying.into_iter().partition(|index| {
            let row = self.requests.row(*index);
            row.attempts >= row.attempts_max
        });
        let over: Vec<u32> = over;
        over.into_iter().for_each(|index| self.give_up(now_ns, index));
        self.dispatch_all(now_ns, again);
    }

    /// Closes a connection for a reason of ours.
    pub(crate) fn fail(&mut self, now_ns: u64, peer: PeerId, cause: ClientError) {
        self.effects.push(Effect::Close { peer, cause });
        self.on_disconnected(now_ns, peer, cause);
    }

    /// Sends requests again, those of a lane in order of number.
    pub(crate) fn dispatch_all(&mut self, now_ns: u64, mut indexes: Vec<u32>) {
        indexes.sort_by_key(|index| {
            let row = self.requests.row(*index);
            (row.lane, row.number)
        });
        for index in indexes {
            self.dispatch(now_ns, index);
        }
    }

    /// Learns where the groups' writers are, from a table that came by another way than a connection.
    ///
    /// # Errors
    /// `Frame(Body)` if the table contradicts itself, `OtherCluster` if it is of another cluster; nothing was changed.
    pub fn set_slot_table(&mut self, table: &SlotTableBody) -> Result<(), ClientError> {
        let routing = Routing::new(table)?;
        let same = self.cluster.is_none_or(|cluster| cluster == table.cluster);
        if !same || self.routing.as_ref().is_some_and(|old| !old.agrees(&routing)) {
            return Err(ClientError::OtherCluster);
        }
        self.cluster = Some(table.cluster);
        self.message_bytes_max = routing.message_bytes_max;
        if self.lanes.is_empty() {
            self.lanes.resize_with(2 * routing.groups() as usize, Lane::default);
        }
        self.routing = Some(routing);
        self.map_shards();
        Ok(())
    }

    /// Finds or makes the connection of each shard.
    fn map_shards(&mut self) {
        let Some(routing) = &self.routing else { return };
        let mut known: BTreeMap<(u16, u16), u32> = BTreeMap::new();
        for (index, peer) in (0u32..).zip(&self.peers) {
            let Some(place) = peer.place else { continue };
            // An entry that is up serves its place as well as a connection of the table's would.
            if peer.is_up() || !known.contains_key(&place) {
                known.insert(place, index);
            }
        }
        self.node_base.clear();
        self.shard_peers.clear();
        for node in &routing.nodes {
            self.node_base.push(small(self.shard_peers.len()));
            for shard in 0..node.shards {
                let place = (node.id, shard);
                let index = known.get(&place).copied().unwrap_or_else(|| {
                    self.peers.push(Peer::new(node.address(shard), Some(place)));
                    small(self.peers.len() - 1)
                });
                self.shard_peers.push(index);
            }
        }
        self.direct.clear();
        if self.options.direct {
            let groups = (0u32..).zip(&routing.writers);
            let direct = groups.map(|(group, node)| {
                let shard = u32::from(routing.shard(*node as usize, group));
                self.shard_peers[(self.node_base[*node as usize] + shard) as usize]
            });
            self.direct.extend(direct);
        }
    }

    /// A refusal named another writer.
    pub(crate) fn on_not_writer(&mut self, now_ns: u64, group: u32, node: u32) {
        if let Some(routing) = &mut self.routing {
            let place = u16::try_from(node).ok().and_then(|node| routing.node(node));
            if let (Some(place), Some(writer)) = (place, routing.writers.get_mut(group as usize)) {
                *writer = small(place);
                let shard = u32::from(routing.shard(place, group));
                if let Some(direct) = self.direct.get_mut(group as usize) {
                    *direct = self.shard_peers[(self.node_base[place] + shard) as usize];
                }
            }
        }
        self.learn(now_ns);
    }

    /// A node has no quorum. It may be the one that is cut off, and the others may have another writer for its groups by now, which it cannot
    /// learn: so others are asked for a while, as long as there are any, and what it was given and has not answered goes to them too.
    pub(crate) fn on_no_quorum(&mut self, now_ns: u64, peer: u32) {
        if self.doubt(now_ns, peer) && self.trusts_another(now_ns) {
            self.leave_doubted(now_ns);
        }
    }

    /// A node spoke that had been silent for so long. Where others are doubted it is the first that may be asked in their place.
    pub(crate) fn on_spoken(&mut self, now_ns: u64, peer: u32, was_silent_ns: u64) {
        if now_ns < self.doubts_until_ns && was_silent_ns >= TRUST_MS * MS && self.is_trusted(now_ns, peer) {
            self.leave_doubted(now_ns);
        }
    }

    /// What doubted nodes were given and have not answered goes to others.
    fn leave_doubted(&mut self, now_ns: u64) {
        let flying = (self.requests).select(|row| may_move(row) && self.is_doubted(now_ns, row.peer));
        self.move_all(now_ns, flying);
    }

    /// A node has not answered a request for as long as a connection may be silent, whatever else it answers. It may have logged it or passed it
    /// on, and be cut off from those who would have to hold it.
    pub(crate) fn on_unanswered(&mut self, now_ns: u64, index: u32) {
        let row = self.requests.row(index);
        let (peer, deadline_ns) = (row.peer, row.deadline_ns);
        if !may_move(row) {
            return self.requests.set_due(index, deadline_ns);
        }
        self.doubt(now_ns, peer);
        if self.trusts_another(now_ns) {
            return self.move_all(now_ns, vec![index]);
        }
        // Another is being connected, if there is one.
        self.requests.set_due(index, deadline_ns.min(now_ns + WATCH_MS * MS));
    }

    /// Begins to doubt a node, unless it is doubted already; whether it began.
    fn doubt(&mut self, now_ns: u64, peer: u32) -> bool {
        let row = &mut self.peers[peer as usize];
        if now_ns < row.doubted_until_ns {
            return false;
        }
        row.doubted_until_ns = now_ns + (DOUBT_MS << row.doubts.min(10)).min(DOUBT_MAX_MS) * MS;
        row.doubts = row.doubts.saturating_add(1);
        self.doubts_until_ns = self.doubts_until_ns.max(row.doubted_until_ns);
        if !self.trusts_another(now_ns) {
            self.want_another(now_ns);
        }
        // Another's table says who writes; whoever has not spoken lately is heard by it.
        if self.up.iter().any(|peer| !self.is_doubted(now_ns, *peer)) {
            self.learn(now_ns);
        }
        true
    }

    /// Sends what is under way another way.
    fn move_all(&mut self, now_ns: u64, flying: Vec<u32>) {
        for index in &flying {
            self.land(*index);
            let row = self.requests.row_mut(*index);
            row.stage = Stage::Pausing;
            // Whoever has the copy may have logged it, and may yet commit it.
            row.dirty |= row.asks == Asks::Effect;
        }
        self.dispatch_all(now_ns, flying);
    }

    fn is_doubted(&self, now_ns: u64, peer: u32) -> bool {
        now_ns < self.doubts_until_ns && now_ns < self.peers[peer as usize].doubted_until_ns
    }

    /// Whether a node may be asked in the place of one that is doubted: it is not, and has spoken lately.
    fn is_trusted(&self, now_ns: u64, peer: u32) -> bool {
        let silent_ns = now_ns.saturating_sub(self.peers[peer as usize].spoke_ns);
        !self.is_doubted(now_ns, peer) && silent_ns < TRUST_MS * MS
    }

    /// Whether a connection is up to one.
    fn trusts_another(&self, now_ns: u64) -> bool {
        self.up.iter().any(|peer| self.is_trusted(now_ns, *peer))
    }

    /// All that are up are doubted: one more is asked for, unless that is under way.
    fn want_another(&mut self, now_ns: u64) {
        if self
            .peers
            .iter()
            .any(|peer| peer.wanted || peer.standing == Standing::Connecting)
        {
            return;
        }
        let count = self.peers.len();
        let is_other = |index: &usize| {
            let peer = &self.peers[*index];
            matches!(peer.standing, Standing::Down { .. }) && now_ns >= peer.doubted_until_ns
        };
        if let Some(index) = (0..count).map(|step| (self.rotor + step) % count).find(is_other) {
            self.rotor = index + 1;
            self.want(small(index));
        }
    }

    /// The connection that a request takes now, if there is one.
    #[inline]
    pub(crate) fn route(&mut self, now_ns: u64, target: Target, group: u32) -> Option<u32> {
        match target {
            Target::Writer => {
                if let Some(direct) = self.direct.get(group as usize).copied() {
                    let doubted = self.is_doubted(now_ns, direct) && self.trusts_another(now_ns);
                    if self.peers[direct as usize].is_up() && !doubted {
                        return Some(direct);
                    }
                    self.want(direct);
                }
                // Any node passes it on. All of a group take the same way, which keeps a lane's order.
                self.any_up(now_ns, group)
            }
            Target::Shard(node, shard) => {
                let place = self.routing.as_ref()?.node(node)?;
                let peer = self.shard_peers[self.node_base[place] as usize + usize::from(shard)];
                if self.peers[peer as usize].is_up() {
                    return Some(peer);
                }
                self.want(peer);
                None
            }
            Target::Anyone => self.anyone(now_ns, group),
        }
    }

    fn any_up(&self, now_ns: u64, group: u32) -> Option<u32> {
        let trusted = |peer: &&u32| self.is_trusted(now_ns, **peer);
        if now_ns < self.doubts_until_ns
            && let Some(peer) = pick(self.up.iter().filter(trusted), group)
        {
            return Some(peer);
        }
        pick(self.up.iter(), group)
    }

    /// Whom to ask what anybody knows: one that has not spoken lately may well answer.
    fn anyone(&self, now_ns: u64, group: u32) -> Option<u32> {
        let fits = |peer: &&u32| !self.is_doubted(now_ns, **peer);
        let any = || self.any_up(now_ns, group);
        match self.trusts_another(now_ns) {
            true => any(),
            false => pick(self.up.iter().filter(fits), group).or_else(any),
        }
    }

    fn want(&mut self, peer: u32) {
        let row = &mut self.peers[peer as usize];
        if !row.wanted && matches!(row.standing, Standing::Down { .. }) {
            row.wanted = true;
            self.peers_due_ns = 0;
        }
    }

    /// Closes connections that leave requests unanswered for too long.
    fn close_silent(&mut self, now_ns: u64) {
        self.watch_ns = now_ns + WATCH_MS * MS;
        let silence_ns = u64::from(self.options.silence_ms) * MS;
        let silent = |index: &u32| {
            let peer = &self.peers[*index as usize];
            peer.flying > 0 && now_ns.saturating_sub(peer.heard_ns) > silence_ns
        };
        let silent: Vec<u32> = self.up.iter().copied().filter(silent).collect();
        for index in silent {
            self.fail(now_ns, PeerId(index), ClientError::Silent);
        }
    }

    /// Looks after connections: asks for those that are wanted, keeps one at least, and closes the silent.
    pub(crate) fn tend_peers(&mut self, now_ns: u64) {
        if now_ns >= self.watch_ns {
            self.close_silent(now_ns);
        }
        if now_ns < self.peers_due_ns || self.is_closed {
            return;
        }
        let mut due_ns = u64::MAX;
        let mut alone = self.up.is_empty();
        for index in 0..self.peers.len() {
            let peer = &self.peers[index];
            alone &= peer.standing != Standing::Connecting;
            match peer.standing {
                Standing::Down { not_before_ns } if peer.wanted && not_before_ns <= now_ns => self.connect(index),
                Standing::Down { not_before_ns } if peer.wanted => due_ns = due_ns.min(not_before_ns),
                _ => {}
            }
        }
        // Without any connection nothing can be learnt: one after the other is tried.
        if alone && !self.peers.is_empty() {
            let count = self.peers.len();
            let ready = |index: &usize| match self.peers[*index].standing {
                Standing::Down { not_before_ns } => not_before_ns <= now_ns,
                _ => false,
            };
            match (0..count).map(|step| (self.rotor + step) % count).find(ready) {
                Some(index) => {
                    self.rotor = index + 1;
                    self.connect(index);
                }
                None => {
                    let earliest = self.peers.iter().filter_map(|peer| match peer.standing {
                        Standing::Down { not_before_ns } => Some(not_before_ns),
                        _ => None,
                    });
                    due_ns = due_ns.min(earliest.min().unwrap_or(u64::MAX));
                }
            }
        }
        self.peers_due_ns = due_ns;
    }

    fn connect(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        peer.standing = Standing::Connecting;
        peer.wanted = false;
        self.effects.push(Effect::Connect {
            peer: PeerId(small(index)),
            address: peer.address.clone(),
        });
    }

    /// Ends the turn: what the world shall do now is added to `effects`.
    pub fn take_effects(&mut self, now_ns: u64, effects: &mut Vec<Effect>) {
        self.tend_peers(now_ns);
        effects.append(&mut self.effects);
        while let Some(index) = self.listed.pop() {
            let peer = &mut self.peers[index as usize];
            peer.listed = false;
            if peer.is_up() && peer.turn_ends() {
                effects.push(Effect::Write { peer: PeerId(index) });
            }
        }
    }

    /// Whole frames that wait to be written on a connection, empty if there are none.
    #[must_use]
    pub fn outgoing(&self, peer: PeerId) -> &[u8] {
        self.peers.get(peer.0 as usize).map_or(&[], Peer::outgoing)
    }

    /// So many bytes of [`ClientCore::outgoing`] were written.
    ///
    /// # Panics
    /// If more was written than waited: a bug of the caller.
    pub fn on_written(&mut self, peer: PeerId, count: usize) {
        let Some(row) = self.peers.get_mut(peer.0 as usize) else {
            return;
        };
        if row.is_up() && row.wrote(count) && !std::mem::replace(&mut row.listed, true) {
            self.listed.push(peer.0);
        }
    }
}

/// The same one of several for all of a group.
fn pick<'a>(peers: impl Iterator<Item = &'a u32> + Clone, group: u32) -> Option<u32> {
    let count = peers.clone().count();
    let at = (group as usize).checked_rem(count)?;
    peers.clone().nth(at).copied()
}

/// Whether another copy may take another way to the writer.
fn may_move(row: &Request) -> bool {
    row.stage == Stage::Flying && row.target == Target::Writer && row.attempts < row.attempts_max
}

fn small(count: usize) -> u32 {
    u32::try_from(count).expect("nodes and shards are counted in 16 bits")
}
