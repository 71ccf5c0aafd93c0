//! A voter's place in the consensus: its vote by its file, and which node is which of the voters beside it.
//!
//! It does not know what entries mean. **Invariant:** a process without a file that can be believed is never a voter.

use crate::detection::Lived;
use crate::ids::{Incarnation, NodeId};
use crate::rules::Rules;
use crate::topology_log::consensus::{
    Alone, Birth, Consensus, FileError, MessageError, NextVoters, NotTaken, Paxos, VoterId,
};

enum Vote<R: Rules> {
    Paxos(Box<Paxos<R>>),
    Alone(Box<Alone>),
}

/// One voter of one configuration.
pub(super) struct Seat<R: Rules> {
    vote: Vote<R>,
    birth: Birth,
    /// Its voters, each with its node and when something of it was last let in.
    peers: Vec<(VoterId, NodeId, Lived)>,
    since: Lived,
}

impl<R: Rules> core::fmt::Debug for Seat<R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "{} of configuration {}",
            self.birth.own(),
            self.birth.configuration()
        )
    }
}

impl<R: Rules> Seat<R> {
    /// Takes the seat that a file says, and how many bytes of the file are good. `voters` are those of its configuration by their ids.
    ///
    /// # Errors
    /// When the file is not of this cluster and voter, says nothing that can be believed, or is another node's.
    pub(super) fn take(
        own: (NodeId, Incarnation),
        birth: &Birth,
        file: &[u8],
        voters: &[(VoterId, NodeId)],
        now: Lived,
    ) -> Result<(Seat<R>, usize), FileError> {
        let is_own = voters.contains(&(birth.own(), own.0));
        if !is_own || !voters.iter().map(|(id, _)| id).eq(birth.voters()) {
            return Err(FileError::OtherVoter);
        }
        let (vote, good) = if birth.voters().len() == 1 {
            let (alone, good) = Alone::open(birth, file)?;
            (Vote::Alone(Box::new(alone)), good)
        } else {
            let (paxos, good) = Paxos::open(birth, own.1, file)?;
            (Vote::Paxos(Box::new(paxos)), good)
        };
        let seat = Seat {
            vote,
            birth: birth.clone(),
            peers: voters.iter().map(|(id, node)| (*id, *node, now)).collect(),
            since: now,
        };
        Ok((seat, good))
    }

    pub(super) fn voter(&mut self) -> &mut dyn Consensus {
        match &mut self.vote {
            Vote::Paxos(paxos) => &mut **paxos,
            Vote::Alone(alone) => &mut **alone,
        }
    }

    fn seen(&self) -> &dyn Consensus {
        match &self.vote {
            Vote::Paxos(paxos) => &**paxos,
            Vote::Alone(alone) => &**alone,
        }
    }

    pub(super) fn configuration(&self) -> u32 {
        self.birth.configuration()
    }

    pub(super) fn is_leader(&self) -> bool {
        self.seen().is_leader()
    }

    /// Who leads, as far as this voter knows.
    pub(super) fn leader(&self) -> Option<NodeId> {
        self.seen().leader().and_then(|id| self.node(id))
    }

    /// Whether this configuration is known here to be over.
    pub(super) fn has_ended(&self) -> bool {
        self.seen().ended().is_some()
    }

    /// How much the file says behind its beginning.
    pub(super) fn record_bytes(&self) -> usize {
        self.seen().record_bytes()
    }

    /// The largest round trip to another voter, in ms.
    pub(super) fn round_trip_ms(&self) -> u64 {
        match &self.vote {
            Vote::Paxos(paxos) => paxos.round_ms() / 4,
            Vote::Alone(_) => 0,
        }
    }

    /// The node of a voter of this configuration.
    pub(super) fn node(&self, id: VoterId) -> Option<NodeId> {
        let found = self.peers.iter().find(|(voter, ..)| *voter == id);
        found.map(|(_, node, _)| *node)
    }

    /// Whether there is anything to be taken of its voter.
    pub(super) fn has_news(&self) -> bool {
        match &self.vote {
            Vote::Paxos(paxos) => paxos.has_news(),
            Vote::Alone(alone) => alone.has_news(),
        }
    }

    /// A message of another node's voter.
    pub(super) fn step(&mut self, now_ms: u64, lived: Lived, from: NodeId, bytes: &[u8]) -> Result<(), MessageError> {
        let at = self.peers.iter().position(|(_, node, _)| *node == from);
        let at = at.ok_or(MessageError::Stranger)?;
        let id = self.peers[at].0;
        self.voter().step(now_ms, id, bytes)?;
        self.peers[at].2 = lived;
        Ok(())
    }

    /// The sockets of a node closed.
    pub(super) fn closed(&mut self, node: NodeId) {
        let found = self.peers.iter().find(|(_, other, _)| *other == node);
        if let Some((id, ..)) = found.copied() {
            self.voter().peer_closed(id);
        }
    }

    /// For how long nothing of a node's voter was let in; 0 for this one.
    pub(super) fn silent_ns(&self, node: NodeId, now: Lived) -> u64 {
        let is_own = self.node(self.birth.own()) == Some(node);
        let found = self.peers.iter().find(|(_, other, _)| *other == node);
        found.filter(|_| !is_own).map_or(0, |(.., heard)| now.ns_since(*heard))
    }

    /// For how long it votes in this life.
    pub(super) fn age_ns(&self, now: Lived) -> u64 {
        now.ns_since(self.since)
    }

    pub(super) fn propose_voters(&mut self, next: &NextVoters, entry: &[u8]) -> Result<(), NotTaken> {
        self.voter().propose_voters(next, entry)
    }
}
