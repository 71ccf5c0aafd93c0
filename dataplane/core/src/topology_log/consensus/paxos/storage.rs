//! The library's view of a journal: its storage, which never fails (rule 10).
//!
//! Files are the world's: what the library writes becomes changes of the journal, and those become records elsewhere. The library owns its
//! storage and gives no way back to it, so the journal is shared with [`Paxos`](super::Paxos), on one thread.

use std::cell::RefCell;
use std::rc::Rc;

use omnipaxos::ClusterConfig;
use omnipaxos::ballot_leader_election::Ballot as LibraryBallot;
use omnipaxos::storage::{Entry, NoSnapshot, StopSign, Storage, StorageOp, StorageResult};

use super::super::bytes::Shared;
use super::super::journal::{Ballot, Change, Journal, Stop};
use super::super::{NextVoters, VoterId};

/// An entry, as the library holds it. It copies entries for every peer, which costs a count here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opaque(pub(super) Shared);

impl Entry for Opaque {
    // Logs are synchronized by their entries: a snapshot would have to be made by whoever knows what they mean.
    type Snapshot = NoSnapshot;
}

/// The journal of one voter, shared with the library.
#[derive(Clone)]
pub(super) struct SharedJournal(pub(super) Rc<RefCell<Journal>>);

impl SharedJournal {
    fn change(&self, change: Change) -> StorageResult<()> {
        let mut journal = self.0.borrow_mut();
        let is_known = match &change {
            // The library repeats its promise at every start.
            Change::Promise(promise) => *promise == journal.promise,
            // It synchronizes a log with itself when the configuration has ended (`fits.rs`).
            Change::Replace(keep, entries) => entries.is_empty() && *keep == journal.len(),
            Change::Stop(stop) => *stop == journal.stop,
            _ => false,
        };
        if !is_known {
            journal.change(change);
        }
        Ok(())
    }

    fn configuration(&self) -> u32 {
        self.0.borrow().birth.configuration()
    }

    fn slice(&self, from: usize, to: usize) -> Vec<Opaque> {
        let journal = self.0.borrow();
        journal
            .entries
            .get(from..to)
            .unwrap_or_default()
            .iter()
            .cloned()
            .map(Opaque)
            .collect()
    }
}

/// A ballot as the library has it. Only those of one configuration ever meet, so the journal does not keep its number.
pub(super) fn to_library(ballot: Ballot, configuration: u32) -> LibraryBallot {
    match ballot.voter {
        0 => LibraryBallot::default(),
        voter => LibraryBallot::with(configuration, ballot.number, ballot.priority, u64::from(voter)),
    }
}

/// A ballot as the journal has it.
pub(super) fn of_library(ballot: LibraryBallot) -> Ballot {
    Ballot {
        number: ballot.n,
        priority: ballot.priority,
        voter: voter(ballot.pid).0,
    }
}

/// A voter by the library's number for it: all of them came from a [`VoterId`].
pub(super) fn voter(pid: u64) -> VoterId {
    VoterId(u16::try_from(pid).expect("every pid was made from a voter's id"))
}

/// A stop as the library has it.
pub(super) fn stop_sign(stop: &Stop) -> StopSign {
    let next = ClusterConfig {
        configuration_id: stop.next.configuration,
        nodes: stop.next.voters.iter().map(|voter| u64::from(voter.0)).collect(),
        flexible_quorum: None,
    };
    StopSign::with(next, Some(stop.entry.to_vec()))
}

/// A stop as the journal has it.
pub(super) fn stop_of(sign: StopSign) -> Stop {
    let next = NextVoters {
        configuration: sign.next_config.configuration_id,
        voters: sign.next_config.nodes.into_iter().map(voter).collect(),
    };
    Stop {
        next,
        entry: Shared::from(sign.metadata.unwrap_or_default()),
    }
}

fn shared(entries: Vec<Opaque>) -> Vec<Shared> {
    entries.into_iter().map(|entry| entry.0).collect()
}

fn never_asked_for() -> ! {
    unreachable!("nothing is trimmed, and no message that asks for it is let in")
}

impl Storage<Opaque> for SharedJournal {
    fn write_atomically(&mut self, ops: Vec<StorageOp<Opaque>>) -> StorageResult<()> {
        // The library names the decided index before the entries that it speaks of.
        let mut decided = None;
        for op in ops {
            let change = match op {
                StorageOp::AppendEntry(entry) => Change::Append(vec![entry.0]),
                StorageOp::AppendEntries(entries) => Change::Append(shared(entries)),
                StorageOp::AppendOnPrefix(keep, entries) => Change::Replace(keep, shared(entries)),
                StorageOp::SetPromise(ballot) => Change::Promise(of_library(ballot)),
                StorageOp::SetAcceptedRound(ballot) => Change::Accepted(of_library(ballot)),
                StorageOp::SetStopsign(sign) => Change::Stop(sign.map(stop_of)),
                StorageOp::SetDecidedIndex(index) => {
                    decided = Some(index);
                    continue;
                }
                StorageOp::SetCompactedIdx(_) | StorageOp::Trim(_) | StorageOp::SetSnapshot(_) => never_asked_for(),
            };
            self.change(change)?;
        }
        // It takes the largest one that a majority told; a peer that tells of more than there is must not end this process.
        let length = self.0.borrow().len();
        decided.map_or(Ok(()), |index| self.change(Change::Decided(index.min(length))))
    }

    fn append_entry(&mut self, entry: Opaque) -> StorageResult<()> {
        self.change(Change::Append(vec![entry.0]))
    }

    fn append_entries(&mut self, entries: Vec<Opaque>) -> StorageResult<()> {
        self.change(Change::Append(shared(entries)))
    }

    fn append_on_prefix(&mut self, keep: usize, entries: Vec<Opaque>) -> StorageResult<()> {
        self.change(Change::Replace(keep, shared(entries)))
    }

    fn set_promise(&mut self, ballot: LibraryBallot) -> StorageResult<()> {
        self.change(Change::Promise(of_library(ballot)))
    }

    fn set_decided_idx(&mut self, index: usize) -> StorageResult<()> {
        self.change(Change::Decided(index))
    }

    fn get_decided_idx(&self) -> StorageResult<usize> {
        Ok(self.0.borrow().decided)
    }

    fn set_accepted_round(&mut self, ballot: LibraryBallot) -> StorageResult<()> {
        self.change(Change::Accepted(of_library(ballot)))
    }

    fn get_accepted_round(&self) -> StorageResult<Option<LibraryBallot>> {
        let accepted = self.0.borrow().accepted;
        Ok((accepted != Ballot::default()).then(|| to_library(accepted, self.configuration())))
    }

    fn get_entries(&self, from: usize, to: usize) -> StorageResult<Vec<Opaque>> {
        Ok(self.slice(from, to))
    }

    fn get_log_len(&self) -> StorageResult<usize> {
        Ok(self.0.borrow().entries.len())
    }

    fn get_suffix(&self, from: usize) -> StorageResult<Vec<Opaque>> {
        let to = self.0.borrow().entries.len();
        Ok(self.slice(from, to))
    }

    fn get_promise(&self) -> StorageResult<Option<LibraryBallot>> {
        // A voter that never promised is new, not recovering.
        let promise = self.0.borrow().promise;
        Ok((promise != Ballot::default()).then(|| to_library(promise, self.configuration())))
    }

    fn set_stopsign(&mut self, sign: Option<StopSign>) -> StorageResult<()> {
        self.change(Change::Stop(sign.map(stop_of)))
    }

    fn get_stopsign(&self) -> StorageResult<Option<StopSign>> {
        Ok(self.0.borrow().stop.as_ref().map(stop_sign))
    }

    fn trim(&mut self, _index: usize) -> StorageResult<()> {
        never_asked_for()
    }

    fn set_compacted_idx(&mut self, _index: usize) -> StorageResult<()> {
        never_asked_for()
    }

    fn get_compacted_idx(&self) -> StorageResult<usize> {
        Ok(0)
    }

    fn set_snapshot(&mut self, _snapshot: Option<NoSnapshot>) -> StorageResult<()> {
        never_asked_for()
    }

    fn get_snapshot(&self) -> StorageResult<Option<NoSnapshot>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::journal::sample;
    use super::*;

    fn opaque(bytes: &[u8]) -> Opaque {
        Opaque(Shared::from(bytes))
    }

    #[test]
    fn a_synchronization_is_one_record_and_may_name_the_decided_index_first() {
        let mut storage = SharedJournal(Rc::new(RefCell::new(sample())));
        let ballot = LibraryBallot::with(1, 3, 0, 2);
        let ops = vec![
            StorageOp::SetAcceptedRound(ballot),
            StorageOp::SetDecidedIndex(2),
            StorageOp::AppendOnPrefix(0, vec![opaque(b"one"), opaque(b"two")]),
        ];
        storage.write_atomically(ops).unwrap();
        let write = storage.0.borrow_mut().seal().unwrap();
        assert_eq!(write.number, 1);
        assert!(storage.0.borrow_mut().seal().is_none());
        assert_eq!(storage.get_decided_idx().unwrap(), 2);
        assert_eq!(storage.get_accepted_round().unwrap(), Some(ballot));
        assert_eq!(storage.get_suffix(1).unwrap(), [opaque(b"two")]);
        assert_eq!(storage.get_suffix(9).unwrap(), []);
        assert_eq!(storage.get_entries(1, 3).unwrap(), []);
    }

    #[test]
    fn a_repeated_promise_and_an_empty_append_are_no_writes() {
        let mut storage = SharedJournal(Rc::new(RefCell::new(sample())));
        storage.set_promise(LibraryBallot::default()).unwrap();
        storage.append_entries(vec![]).unwrap();
        storage.set_decided_idx(0).unwrap();
        assert!(storage.0.borrow_mut().seal().is_none());
        assert_eq!(storage.get_promise().unwrap(), None);
    }

    #[test]
    fn a_stop_is_the_same_on_both_sides() {
        let next = NextVoters {
            configuration: 5,
            voters: vec![VoterId(8), VoterId(9)],
        };
        let stop = Stop {
            next,
            entry: Shared::from(&b"change"[..]),
        };
        assert_eq!(stop_of(stop_sign(&stop)), stop);
    }
}
