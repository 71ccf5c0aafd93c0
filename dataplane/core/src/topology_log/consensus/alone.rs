//! One voter alone: what is durable is decided.
//!
//! The same file, positions and gate as with many, without the library, which wants two voters at least. Its configuration ends like any
//! other when more voters are to follow.

use super::bytes::Shared;
use super::gate::Gate;
use super::journal::{Change, Journal, Stop};
use super::{
    Birth, Consensus, Counters, Decided, ENTRY_BYTES_MAX, Ended, FileError, MessageError, NextVoters, NotTaken,
    UNDECIDED_MAX, VoterId, Write,
};

/// The only voter of a configuration.
#[derive(Debug)]
pub struct Alone {
    journal: Journal,
    gate: Gate,
    given: usize,
    counters: Counters,
}

impl Alone {
    /// Opens a voter by its file. The number tells how many bytes of the file are good: it is cut to them first.
    ///
    /// # Errors
    /// [`FileError`] when the file cannot be believed, or belongs to another.
    ///
    /// # Panics
    /// If the birth has more than one voter: a bug in this process.
    pub fn open(birth: &Birth, file: &[u8]) -> Result<(Alone, usize), FileError> {
        assert_eq!(birth.voters().len(), 1);
        let (journal, good) = Journal::open(birth, file)?;
        let mut alone = Alone {
            gate: Gate::new(journal.last_record(), true),
            journal,
            given: 0,
            counters: Counters::default(),
        };
        // What is in the file is durable, so all of it is decided.
        alone.settle();
        Ok((alone, good))
    }

    fn may_take(&self, entry: &[u8]) -> Result<(), NotTaken> {
        if entry.len() > ENTRY_BYTES_MAX {
            return Err(NotTaken::TooLarge);
        }
        if self.journal.stop.is_some() {
            return Err(NotTaken::VotersChange);
        }
        if self.journal.len() - self.gate.released() >= UNDECIDED_MAX {
            return Err(NotTaken::Busy);
        }
        Ok(())
    }

    fn settle(&mut self) {
        self.journal.change(Change::Decided(self.journal.len()));
        if let Some(write) = self.journal.seal() {
            self.gate.write(write);
        }
        self.gate.decide(self.journal.len());
    }
}

impl Consensus for Alone {
    fn tick(&mut self, _now_ms: u64) {}

    fn step(&mut self, _now_ms: u64, _from: VoterId, _message: &[u8]) -> Result<(), MessageError> {
        self.counters.count(MessageError::Stranger);
        Err(MessageError::Stranger)
    }

    fn propose(&mut self, entry: &[u8]) -> Result<(), NotTaken> {
        self.may_take(entry)?;
        self.journal.change(Change::Append(vec![Shared::from(entry)]));
        self.settle();
        Ok(())
    }

    fn propose_voters(&mut self, next: &NextVoters, entry: &[u8]) -> Result<(), NotTaken> {
        self.may_take(entry)?;
        if !self.journal.birth.may_be_followed_by(next) {
            return Err(NotTaken::BadVoters);
        }
        let stop = Stop {
            next: next.clone(),
            entry: Shared::from(entry),
        };
        self.journal.change(Change::Stop(Some(stop)));
        self.settle();
        Ok(())
    }

    fn peer_closed(&mut self, _voter: VoterId) {}

    fn has_news(&self) -> bool {
        self.gate.has_news(self.given)
    }

    fn take_writes(&mut self, out: &mut Vec<Write>) {
        self.gate.take_writes(out);
    }

    fn on_durable(&mut self, upto: u64) {
        self.gate.on_durable(upto);
    }

    fn take_outgoing(&mut self, _out: &mut Vec<(VoterId, Vec<u8>)>) {}

    fn take_decided(&mut self, out: &mut Vec<Decided>) {
        let upto = self.gate.released();
        out.extend(self.journal.decided(self.given, upto));
        self.given = upto;
    }

    fn leader(&self) -> Option<VoterId> {
        Some(self.journal.birth.own())
    }

    fn is_leader(&self) -> bool {
        true
    }

    fn ended(&self) -> Option<Ended> {
        self.journal.ended(self.gate.released())
    }

    fn record_bytes(&self) -> usize {
        self.journal.record_bytes()
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

#[cfg(test)]
mod tests {
    use waterpark_ring::ClusterId;

    use super::*;

    fn birth() -> Birth {
        Birth::first(ClusterId([4; 16]), VoterId(1), &[VoterId(1)]).unwrap()
    }

    fn decided(alone: &mut Alone) -> Vec<(u64, Vec<u8>)> {
        let mut out = Vec::new();
        alone.take_decided(&mut out);
        out.into_iter().map(|found| (found.position, found.entry)).collect()
    }

    #[test]
    fn an_entry_is_decided_when_it_is_durable_and_comes_again_after_a_restart() {
        let mut file = birth().file();
        let (mut alone, _) = Alone::open(&birth(), &file).unwrap();
        alone.propose(b"one").unwrap();
        alone.propose(b"two").unwrap();
        assert_eq!(decided(&mut alone), []);
        let mut writes = Vec::new();
        alone.take_writes(&mut writes);
        alone.on_durable(1);
        assert_eq!(decided(&mut alone), [(1, b"one".to_vec())]);
        alone.on_durable(2);
        assert_eq!(decided(&mut alone), [(2, b"two".to_vec())]);
        assert_eq!(decided(&mut alone), []);
        // The second write is lost.
        file.extend(&writes[0].bytes);
        let (mut alone, good) = Alone::open(&birth(), &file).unwrap();
        assert_eq!(good, file.len());
        assert_eq!(decided(&mut alone), [(1, b"one".to_vec())]);
    }

    #[test]
    fn one_voter_hands_over_to_three() {
        let (mut alone, _) = Alone::open(&birth(), &birth().file()).unwrap();
        alone.propose(b"one").unwrap();
        let next = NextVoters {
            configuration: 2,
            voters: vec![VoterId(2), VoterId(3), VoterId(4)],
        };
        alone.propose_voters(&next, b"grow").unwrap();
        assert_eq!(alone.propose(b"late"), Err(NotTaken::VotersChange));
        assert_eq!(alone.ended(), None);
        alone.take_writes(&mut Vec::new());
        alone.on_durable(2);
        let ended = alone.ended().unwrap();
        assert_eq!((&ended.next, ended.base), (&next, 2));
        assert_eq!(decided(&mut alone).last(), Some(&(2, b"grow".to_vec())));
        let bad = NextVoters {
            configuration: 1,
            voters: vec![VoterId(2)],
        };
        let (mut alone, _) = Alone::open(&birth(), &birth().file()).unwrap();
        assert_eq!(alone.propose_voters(&bad, b""), Err(NotTaken::BadVoters));
    }

    #[test]
    fn proposals_wait_for_the_disk_up_to_a_bound() {
        let (mut alone, _) = Alone::open(&birth(), &birth().file()).unwrap();
        let taken = (0..UNDECIDED_MAX + 9).filter(|_| alone.propose(b"x").is_ok()).count();
        assert_eq!(taken, UNDECIDED_MAX);
        assert_eq!(alone.propose(b"x"), Err(NotTaken::Busy));
        assert_eq!(alone.propose(&vec![0; ENTRY_BYTES_MAX + 1]), Err(NotTaken::TooLarge));
        assert_eq!(alone.step(0, VoterId(2), b""), Err(MessageError::Stranger));
        assert_eq!(alone.counters().strange, 1);
    }
}
