//! A node's place in the consensus: voter by its file, or learner.
//!
//! It does not know what entries mean. **Invariant:** a process without a file that can be believed is never a voter.

use crate::ids::{Incarnation, NodeId};
use crate::rules::Rules;
use crate::topology_log::consensus::{Alone, Birth, Consensus, Decided, FileError, Learner, Paxos, VoterId};

/// Bytes of decided entries that one message carries.
const LEARN_BYTES: usize = 256 << 10;

pub(super) enum Seat<R: Rules> {
    Paxos(Box<Paxos<R>>),
    Alone(Box<Alone>),
    Learner(Learner),
}

impl<R: Rules> core::fmt::Debug for Seat<R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Seat::Paxos(_) | Seat::Alone(_) => "voter",
            Seat::Learner(_) => "learner",
        })
    }
}

/// The id under which a node votes in the first configuration.
pub(super) fn voter_id(voters: &[NodeId], node: NodeId) -> Option<VoterId> {
    let at = voters.iter().position(|voter| *voter == node)?;
    Some(VoterId(u16::try_from(at + 1).expect("voters are few")))
}

impl<R: Rules> Seat<R> {
    /// Takes the seat that a file says, and how many bytes of the file are good.
    ///
    /// # Errors
    /// When the file is not of this cluster and voter, or says nothing that can be believed.
    pub(super) fn take(own: Incarnation, vote: Option<(&Birth, &[u8])>) -> Result<(Seat<R>, usize), FileError> {
        let Some((birth, file)) = vote else {
            return Ok((Seat::Learner(Learner::new(1)), 0));
        };
        if birth.voters().len() == 1 {
            let (alone, good) = Alone::open(birth, file)?;
            return Ok((Seat::Alone(Box::new(alone)), good));
        }
        let (paxos, good) = Paxos::open(birth, own, file)?;
        Ok((Seat::Paxos(Box::new(paxos)), good))
    }

    pub(super) fn voter(&mut self) -> Option<&mut dyn Consensus> {
        match self {
            Seat::Paxos(paxos) => Some(&mut **paxos),
            Seat::Alone(alone) => Some(&mut **alone),
            Seat::Learner(_) => None,
        }
    }

    pub(super) fn is_voter(&self) -> bool {
        !matches!(self, Seat::Learner(_))
    }

    pub(super) fn is_leader(&self) -> bool {
        match self {
            Seat::Paxos(paxos) => paxos.is_leader(),
            Seat::Alone(_) => true,
            Seat::Learner(_) => false,
        }
    }

    /// Who leads, as far as this voter knows.
    pub(super) fn leader(&self) -> Option<VoterId> {
        match self {
            Seat::Paxos(paxos) => paxos.leader(),
            Seat::Alone(alone) => alone.leader(),
            Seat::Learner(_) => None,
        }
    }

    /// The largest round trip to another voter, in ms.
    pub(super) fn round_trip_ms(&self) -> u64 {
        match self {
            Seat::Paxos(paxos) => paxos.round_ms() / 4,
            Seat::Alone(_) | Seat::Learner(_) => 0,
        }
    }

    /// A portion of decided entries for a learner; none where there is none, or this node is no voter.
    pub(super) fn decided_from(&self, position: u64) -> Vec<Decided> {
        let found = match self {
            Seat::Paxos(paxos) => paxos.decided_from(position, LEARN_BYTES),
            Seat::Alone(alone) => alone.decided_from(position, LEARN_BYTES),
            Seat::Learner(_) => return Vec::new(),
        };
        found.unwrap_or_default()
    }

    /// Whether there is anything to be taken: a write, a message, a decided entry.
    pub(super) fn has_news(&self) -> bool {
        match self {
            Seat::Paxos(paxos) => paxos.has_news(),
            Seat::Alone(alone) => alone.has_news(),
            Seat::Learner(learner) => learner.has_news(),
        }
    }

    /// Moves out what was newly decided, in order.
    pub(super) fn take_decided(&mut self, out: &mut Vec<Decided>) {
        match self {
            Seat::Learner(learner) => learner.take_ready(out),
            Seat::Paxos(paxos) => paxos.take_decided(out),
            Seat::Alone(alone) => alone.take_decided(out),
        }
    }
}
