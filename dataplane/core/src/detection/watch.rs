//! A node's own eyes: one detector and the connections of each peer, and the row that says what they see.
//!
//! It is fed from the links that there are anyway, and asked each turn whether there is a row to send: at once when something changed, and
//! again and again, so that the receivers can tell a node that sees no change from one that is silent. It does not know other nodes'
//! rows, nor what follows from its own.
//!
//! **Invariant:** whatever is said of a peer is said of one incarnation, the newest that was met or expected; frames and connections of an
//! older one change nothing. Before `still_until` every peer is seen as it was told.

use std::collections::BTreeMap;

use super::detector::{Detector, SILENCE_MAX};
use super::lived::Lived;
use super::row::{Row, Seen, Sighting};
use super::sockets::Sockets;
use crate::ids::{Incarnation, Member, NodeId};

/// Heartbeats after which a row is sent again though nothing changed.
pub const ROW_EVERY: u64 = 2;
/// Heartbeats for which a process that is gone is called so; after that it is suspected like any other that is silent, as it is by then.
///
/// The word is for haste alone. A row that keeps it would speak of a cut long after it has healed.
pub const GONE_FOR: u64 = SILENCE_MAX;

/// One peer, in one incarnation.
#[derive(Clone, Debug)]
struct Peer {
    incarnation: Incarnation,
    detector: Detector,
    sockets: Sockets,
}

impl Peer {
    fn seen(&self, heartbeat_ns: u64, now: Lived) -> Seen {
        match self.sockets.gone_since() {
            Some(since) if now.ns_since(since) < heartbeat_ns * GONE_FOR => Seen::Gone,
            Some(_) => Seen::Suspected,
            None if self.detector.is_suspected(now) => Seen::Suspected,
            None => Seen::Up,
        }
    }

    /// Until when it is seen as it is now, unless something happens.
    fn still_until(&self, heartbeat_ns: u64, now: Lived) -> Lived {
        let next = match self.sockets.gone_since() {
            Some(since) => since.after_ns(heartbeat_ns * GONE_FOR),
            None => self.detector.suspected_at(),
        };
        if next > now { next } else { Lived::MAX }
    }
}

/// What one node sees of its peers.
#[derive(Clone, Debug)]
pub struct Watch {
    own: Member,
    heartbeat_ns: u64,
    peers: BTreeMap<NodeId, Peer>,
    version: u64,
    told: Vec<Sighting>,
    told_at: Lived,
    /// No peer is seen otherwise before this, unless something happens.
    still_until: Lived,
}

impl Watch {
    /// The eyes of `own`, in a cluster whose links carry something at least each `heartbeat_ns`.
    #[must_use]
    pub fn new(own: Member, heartbeat_ns: u64, now: Lived) -> Self {
        Self {
            own,
            heartbeat_ns,
            peers: BTreeMap::new(),
            version: 0,
            told: Vec::new(),
            told_at: now,
            still_until: Lived::default(),
        }
    }

    /// The topology says that this process is up: from now on it has [`SILENCE_MAX`] heartbeats to be met, unless it was.
    pub fn expect(&mut self, peer: Member, now: Lived) {
        self.still_until = now;
        self.newest(peer, now);
    }

    /// A handshake with this process was completed. False if a newer one of its node is known: then nothing changed.
    pub fn met(&mut self, peer: Member, now: Lived) -> bool {
        self.still_until = now;
        let Some(known) = self.newest(peer, now) else {
            return false;
        };
        known.sockets.opened();
        known.detector.heard(now);
        true
    }

    /// A frame of this process came, of whatever kind.
    pub fn heard(&mut self, peer: Member, now: Lived) {
        if let Some(known) = self.known(peer) {
            let was_suspected = known.detector.is_suspected(now);
            known.detector.heard(now);
            // The end of a suspicion is seen at once. A frame puts off the next one, unless it taught that gaps are shorter.
            let still_until = if was_suspected {
                now
            } else {
                known.detector.suspected_at()
            };
            self.still_until = self.still_until.min(still_until);
        }
    }

    /// A connection with this process closed, of those that [`Self::met`] told of.
    pub fn closed(&mut self, peer: Member, now: Lived) {
        self.still_until = now;
        if let Some(known) = self.known(peer) {
            known.sockets.closed(now);
        }
    }

    /// The node's host refused a connection that was dialled at `dialled`.
    pub fn refused(&mut self, node: NodeId, dialled: Lived, now: Lived) {
        self.still_until = now;
        if let Some(known) = self.peers.get_mut(&node) {
            known.sockets.refused(dialled, now);
        }
    }

    /// The topology no longer has this node.
    pub fn forget(&mut self, node: NodeId) {
        self.still_until = Lived::default();
        self.peers.remove(&node);
    }

    /// What is seen of a node, if it was met or expected.
    #[must_use]
    pub fn sees(&self, node: NodeId, now: Lived) -> Option<Sighting> {
        self.peers.get(&node).map(|peer| self.sighting(node, peer, now))
    }

    /// Phi of a node's silence, for those who look.
    #[must_use]
    pub fn suspicion(&self, node: NodeId, now: Lived) -> Option<f64> {
        self.peers.get(&node).map(|peer| peer.detector.suspicion(now))
    }

    fn is_due(&self, now: Lived) -> bool {
        self.version == 0 || now.ns_since(self.told_at) >= self.heartbeat_ns * ROW_EVERY
    }

    /// Whether there may be a row to send now. Asked every turn and answered every twentieth: nobody is looked at before there is a reason.
    #[must_use]
    pub fn may_have_row(&self, now: Lived) -> bool {
        now >= self.still_until || self.is_due(now)
    }

    /// The row to send now, if what it says changed or the last one is [`ROW_EVERY`] heartbeats old.
    pub fn row(&mut self, now: Lived) -> Option<Row> {
        if !self.may_have_row(now) {
            return None;
        }
        let due = self.is_due(now);
        self.still_until = self
            .peers
            .values()
            .map(|peer| peer.still_until(self.heartbeat_ns, now))
            .min()
            .unwrap_or(Lived::MAX);
        if !due && self.sightings(now).eq(self.told.iter().copied()) {
            return None;
        }
        let seen: Vec<_> = self.sightings(now).collect();
        self.version += 1;
        self.told_at = now;
        self.told.clone_from(&seen);
        Some(Row::new(self.own, self.version, seen))
    }

    fn sightings(&self, now: Lived) -> impl Iterator<Item = Sighting> {
        self.peers
            .iter()
            .map(move |(&node, peer)| self.sighting(node, peer, now))
    }

    fn sighting(&self, node: NodeId, peer: &Peer, now: Lived) -> Sighting {
        let incarnation = peer.incarnation;
        Sighting {
            peer: Member { node, incarnation },
            seen: peer.seen(self.heartbeat_ns, now),
        }
    }

    fn known(&mut self, peer: Member) -> Option<&mut Peer> {
        let known = self.peers.get_mut(&peer.node);
        known.filter(|known| known.incarnation == peer.incarnation)
    }

    /// The peer's state, begun anew if this is the newest incarnation met so far; `None` if a newer one is known.
    fn newest(&mut self, peer: Member, now: Lived) -> Option<&mut Peer> {
        assert_ne!(peer.node, self.own.node, "a node has no link to itself");
        let heartbeat_ns = self.heartbeat_ns;
        let anew = || Peer {
            incarnation: peer.incarnation,
            detector: Detector::new(heartbeat_ns, now),
            sockets: Sockets::default(),
        };
        let known = self.peers.entry(peer.node).or_insert_with(anew);
        if known.incarnation < peer.incarnation {
            *known = anew();
        }
        (known.incarnation == peer.incarnation).then_some(known)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{at_ms, member};
    use super::*;
    use crate::time::MS;

    const HEARTBEAT_NS: u64 = 100 * MS;

    /// A start of node 2.
    fn start(incarnation: u64) -> Member {
        Member {
            node: NodeId(2),
            incarnation: Incarnation(incarnation),
        }
    }

    fn watch() -> Watch {
        Watch::new(member(1), HEARTBEAT_NS, at_ms(0))
    }

    /// Node 2 in this start, heard for two seconds.
    fn watch_of(peer: Member) -> Watch {
        let mut watch = watch();
        assert!(watch.met(peer, at_ms(0)));
        (1..=20).for_each(|beat| watch.heard(peer, at_ms(beat * 100)));
        watch
    }

    fn seen(watch: &Watch, ms: u64) -> Option<(u64, Seen)> {
        let sighting = watch.sees(NodeId(2), at_ms(ms));
        sighting.map(|sighting| (sighting.peer.incarnation.0, sighting.seen))
    }

    #[test]
    fn nothing_is_said_of_a_node_that_was_neither_met_nor_expected() {
        let mut watch = watch();
        watch.heard(start(7), at_ms(10));
        watch.closed(start(7), at_ms(10));
        watch.refused(NodeId(2), at_ms(10), at_ms(10));
        assert_eq!(seen(&watch, 10), None);
        assert_eq!(watch.suspicion(NodeId(2), at_ms(10)), None);
        assert_eq!(watch.row(at_ms(10)).unwrap().sightings(), []);
    }

    #[test]
    fn a_process_that_was_expected_and_never_came_is_suspected() {
        let mut watch = watch();
        watch.expect(start(7), at_ms(0));
        assert_eq!(seen(&watch, 1_199), Some((7, Seen::Up)));
        assert_eq!(seen(&watch, 1_200), Some((7, Seen::Suspected)));
        watch.expect(start(7), at_ms(1_300));
        assert_eq!(seen(&watch, 1_300), Some((7, Seen::Suspected)), "expected already");
    }

    #[test]
    fn a_killed_process_is_gone_at_once_and_suspected_when_haste_is_over() {
        let mut watch = watch_of(start(7));
        watch.closed(start(7), at_ms(2_010));
        assert_eq!(seen(&watch, 2_010), Some((7, Seen::Up)));
        watch.refused(NodeId(2), at_ms(2_010), at_ms(2_011));
        assert_eq!(seen(&watch, 2_011), Some((7, Seen::Gone)));
        assert_eq!(seen(&watch, 2_011 + 1_199), Some((7, Seen::Gone)));
        assert_eq!(seen(&watch, 2_011 + 1_200), Some((7, Seen::Suspected)));
        // A later refusal does not renew the word.
        watch.refused(NodeId(2), at_ms(5_000), at_ms(5_001));
        assert_eq!(seen(&watch, 5_001), Some((7, Seen::Suspected)));
    }

    #[test]
    fn a_process_that_is_met_again_is_up_again() {
        let mut watch = watch_of(start(7));
        watch.closed(start(7), at_ms(2_010));
        watch.refused(NodeId(2), at_ms(2_010), at_ms(2_011));
        assert!(watch.met(start(7), at_ms(2_050)));
        assert_eq!(seen(&watch, 2_050), Some((7, Seen::Up)));
    }

    #[test]
    fn an_older_incarnation_changes_nothing_and_a_newer_one_begins_anew() {
        let mut watch = watch_of(start(7));
        assert_eq!(seen(&watch, 9_000), Some((7, Seen::Suspected)));
        assert!(watch.met(start(8), at_ms(9_000)));
        assert_eq!(seen(&watch, 9_000), Some((8, Seen::Up)));
        assert!(!watch.met(start(7), at_ms(9_010)));
        watch.expect(start(7), at_ms(9_010));
        watch.closed(start(7), at_ms(9_010));
        watch.refused(NodeId(2), at_ms(9_010), at_ms(9_011));
        assert_eq!(seen(&watch, 9_020), Some((8, Seen::Up)));
        // Frames of the older one do not prolong the newer one's life.
        (91..120).for_each(|beat| watch.heard(start(7), at_ms(beat * 100)));
        assert_eq!(seen(&watch, 12_000), Some((8, Seen::Suspected)));
        watch.forget(NodeId(2));
        assert_eq!(seen(&watch, 12_000), None);
    }

    #[test]
    fn a_row_goes_out_at_once_when_something_changed_and_each_two_heartbeats_otherwise() {
        let mut watch = watch();
        assert!(watch.met(start(7), at_ms(0)));
        let mut sent = Vec::new();
        for ms in (0..2_000).step_by(10) {
            if ms % 100 == 0 && ms <= 500 {
                watch.heard(start(7), at_ms(ms));
            }
            if let Some(row) = watch.row(at_ms(ms)) {
                assert_eq!(row.reporter(), member(1));
                sent.push((ms, row.version(), row.sees(start(7)).unwrap()));
            }
        }
        let (up, suspected) = (Seen::Up, Seen::Suspected);
        let expected = [
            (0, up),
            (200, up),
            (400, up),
            (600, up),
            (800, up),
            (1_000, up),
            (1_190, suspected),
        ];
        let later = [1_390, 1_590, 1_790, 1_990].map(|ms| (ms, suspected));
        let expected = expected
            .into_iter()
            .chain(later)
            .zip(1..)
            .map(|((ms, seen), version)| (ms, version, seen));
        assert_eq!(sent, expected.collect::<Vec<_>>());
    }
}
