//! What a voter has promised and accepted: in memory, and as the changes that its file is made of.
//!
//! All changes of one input become one record, so the file never holds half of what belongs together. The index up to which entries are
//! decided is no change of its own: it rides on the next record, because a voter that restarts learns it again from the leader, and no
//! fsync stands between a decision and whoever waits for it.
//!
//! It knows neither the library nor messages. Entries are kept whole for as long as their configuration lasts: what bounds them is that the same
//! voters begin a new one, each with a new file, and a state in the place of all entries before it.
//!
//! **Invariant:** reading the file back gives what was in memory when the last record was sealed.

use super::birth::{Birth, put_voters, read_voters};
use super::bytes::{Reader, Shared, put_entries, put_entry, put_index};
use super::file::{self, FileError, Kind};
use super::{Decided, Ended, NextVoters, Write};

/// A number under which a voter leads. The default stands for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ballot {
    pub(super) number: u32,
    pub(super) priority: u32,
    /// Who leads under it: 0 for none.
    pub(super) voter: u16,
}

/// The end of a configuration: who votes next, and the entry that tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) next: NextVoters,
    pub(super) entry: Shared,
}

/// One step from a journal to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Promise(Ballot),
    Accepted(Ballot),
    Decided(usize),
    Append(Vec<Shared>),
    /// Keeps so many entries, drops what is behind, then appends.
    Replace(usize, Vec<Shared>),
    Stop(Option<Stop>),
}

/// The state of one voter file.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) birth: Birth,
    pub(super) promise: Ballot,
    pub(super) accepted: Ballot,
    pub(super) decided: usize,
    pub(super) entries: Vec<Shared>,
    pub(super) stop: Option<Stop>,
    /// Changes since the last record.
    unsealed: Vec<u8>,
    /// What the last record says of `decided`.
    decided_sealed: usize,
    records: u64,
    /// Bytes of the records of changes.
    record_bytes: usize,
}

impl Journal {
    /// As it is after [`Birth::file`] alone.
    pub(super) fn new(birth: Birth) -> Journal {
        Journal {
            birth,
            promise: Ballot::default(),
            accepted: Ballot::default(),
            decided: 0,
            entries: Vec::new(),
            stop: None,
            unsealed: Vec::new(),
            decided_sealed: 0,
            records: 1,
            record_bytes: 0,
        }
    }

    /// Reads a voter's file: the journal, and how many bytes of the file are good.
    pub(super) fn open(expected: &Birth, file: &[u8]) -> Result<(Journal, usize), FileError> {
        let contents = file::read(file)?;
        if contents.birth.cluster() != expected.cluster() {
            let found = contents.birth.cluster();
            return Err(FileError::OtherCluster { found });
        }
        if contents.birth != *expected {
            return Err(FileError::OtherVoter);
        }
        let mut journal = Journal::new(contents.birth);
        journal.records += u64::from(contents.state.is_some());
        for payload in contents.changes {
            let unreadable = FileError::Unreadable {
                number: journal.records,
            };
            let mut reader = Reader::new(payload);
            while !reader.is_empty() {
                let change = read_change(&mut reader).ok_or(unreadable)?;
                if !journal.may(&change) {
                    return Err(unreadable);
                }
                journal.apply(change);
            }
            journal.records += 1;
            journal.record_bytes += payload.len();
        }
        journal.decided_sealed = journal.decided;
        Ok((journal, contents.good))
    }

    /// Changes the journal, in memory and for the next record.
    ///
    /// # Panics
    /// If the change contradicts the journal: whoever makes it has looked before.
    pub(super) fn change(&mut self, change: Change) {
        assert!(self.may(&change), "{change:?} of {} entries", self.entries.len());
        match &change {
            // Nothing, or what rides on the next record.
            Change::Decided(_) => {}
            Change::Append(entries) if entries.is_empty() => {}
            _ => put_change(&mut self.unsealed, &change),
        }
        self.apply(change);
    }

    /// The changes since the last record, as the next one.
    pub(super) fn seal(&mut self) -> Option<Write> {
        if self.unsealed.is_empty() {
            return None;
        }
        if self.decided != self.decided_sealed {
            put_change(&mut self.unsealed, &Change::Decided(self.decided));
            self.decided_sealed = self.decided;
        }
        let number = self.records;
        let bytes = file::record(number, Kind::Changes, &self.unsealed);
        self.record_bytes += self.unsealed.len();
        self.unsealed.clear();
        self.records += 1;
        Some(Write { number, bytes })
    }

    /// The number of the last record.
    pub(super) fn last_record(&self) -> u64 {
        self.records - 1
    }

    /// Bytes of what the records of changes say, since the birth.
    pub(super) fn record_bytes(&self) -> usize {
        self.record_bytes
    }

    /// Entries, and the stop behind them.
    pub(super) fn len(&self) -> usize {
        self.entries.len() + usize::from(self.stop.is_some())
    }

    /// The entry at an index from 0.
    fn entry(&self, index: usize) -> Option<&Shared> {
        let stop = || self.stop.as_ref().filter(|_| index == self.entries.len());
        self.entries.get(index).or_else(|| stop().map(|stop| &stop.entry))
    }

    /// The entries of `from..upto`, each at its position.
    pub(super) fn decided(&self, from: usize, upto: usize) -> impl Iterator<Item = Decided> {
        (from..upto).map_while(|index| {
            let entry = self.entry(index)?.to_vec();
            Some(Decided {
                position: self.position(index),
                entry,
            })
        })
    }

    /// How the configuration ended, if that is among the first `upto`.
    pub(super) fn ended(&self, upto: usize) -> Option<Ended> {
        let stop = self.stop.as_ref().filter(|_| upto == self.len())?;
        let base = self.position(self.entries.len());
        Some(Ended {
            next: stop.next.clone(),
            base,
        })
    }

    /// The position of an index: the base of the configuration, and from 1 on.
    fn position(&self, index: usize) -> u64 {
        // usize is no wider than u64 on any host this runs on.
        self.birth.base() + 1 + u64::try_from(index).unwrap_or(u64::MAX)
    }

    /// Whether a change fits what is there.
    fn may(&self, change: &Change) -> bool {
        match change {
            Change::Promise(_) | Change::Accepted(_) => true,
            Change::Decided(index) => *index <= self.len(),
            Change::Append(entries) => self.stop.is_none() || entries.is_empty(),
            Change::Replace(keep, _) => *keep <= self.entries.len(),
            Change::Stop(stop) => stop
                .as_ref()
                .is_none_or(|stop| self.birth.may_be_followed_by(&stop.next)),
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Promise(ballot) => self.promise = ballot,
            Change::Accepted(ballot) => self.accepted = ballot,
            Change::Decided(index) => self.decided = index,
            Change::Append(entries) => self.entries.extend(entries),
            Change::Replace(keep, entries) => {
                self.entries.truncate(keep);
                self.entries.extend(entries);
            }
            Change::Stop(stop) => self.stop = stop,
        }
    }
}

pub(super) fn put_ballot(out: &mut Vec<u8>, ballot: Ballot) {
    out.extend_from_slice(&ballot.number.to_le_bytes());
    out.extend_from_slice(&ballot.priority.to_le_bytes());
    out.extend_from_slice(&ballot.voter.to_le_bytes());
}

/// A ballot. None is all zeros.
pub(super) fn read_ballot(reader: &mut Reader<'_>) -> Option<Ballot> {
    let (number, priority, voter) = (reader.u32()?, reader.u32()?, reader.u16()?);
    let is_one = voter != 0 || (number == 0 && priority == 0);
    is_one.then_some(Ballot {
        number,
        priority,
        voter,
    })
}

/// A stop, or none.
pub(super) fn put_stop(out: &mut Vec<u8>, stop: Option<&Stop>) {
    out.push(u8::from(stop.is_some()));
    if let Some(Stop { next, entry }) = stop {
        out.extend_from_slice(&next.configuration.to_le_bytes());
        put_voters(out, &next.voters);
        put_entry(out, entry);
    }
}

/// What [`put_stop`] put.
#[expect(
    clippy::option_option,
    reason = "the outer one is bytes that are no stop, the inner one says that there is none"
)]
pub(super) fn read_stop(reader: &mut Reader<'_>) -> Option<Option<Stop>> {
    match reader.u8()? {
        0 => Some(None),
        1 => {
            let next = NextVoters {
                configuration: reader.u32()?,
                voters: read_voters(reader)?,
            };
            let entry = reader.entry()?;
            Some(Some(Stop { next, entry }))
        }
        _ => None,
    }
}

fn put_change(out: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Promise(ballot) => {
            out.push(1);
            put_ballot(out, *ballot);
        }
        Change::Accepted(ballot) => {
            out.push(2);
            put_ballot(out, *ballot);
        }
        Change::Decided(index) => {
            out.push(3);
            put_index(out, *index);
        }
        Change::Append(entries) => {
            out.push(4);
            put_entries(out, entries);
        }
        Change::Replace(keep, entries) => {
            out.push(5);
            put_index(out, *keep);
            put_entries(out, entries);
        }
        Change::Stop(stop) => {
            out.push(6);
            put_stop(out, stop.as_ref());
        }
    }
}

fn read_change(reader: &mut Reader<'_>) -> Option<Change> {
    let index = |reader: &mut Reader<'_>| reader.index().and_then(|index| usize::try_from(index).ok());
    Some(match reader.u8()? {
        1 => Change::Promise(read_ballot(reader)?),
        2 => Change::Accepted(read_ballot(reader)?),
        3 => Change::Decided(index(reader)?),
        4 => Change::Append(reader.entries()?),
        5 => Change::Replace(index(reader)?, reader.entries()?),
        6 => Change::Stop(read_stop(reader)?),
        _ => return None,
    })
}

/// The journal of a voter in tests.
#[cfg(test)]
pub(super) fn sample() -> Journal {
    use super::VoterId;

    let voters = [VoterId(1), VoterId(2), VoterId(3)];
    Journal::new(Birth::first(waterpark_ring::ClusterId([9; 16]), VoterId(1), &voters).unwrap())
}

#[cfg(test)]
mod tests {
    use super::super::VoterId;
    use super::*;

    fn shared(bytes: &[u8]) -> Shared {
        Shared::from(bytes)
    }

    fn changes() -> Vec<Change> {
        let ballot = Ballot {
            number: 7,
            priority: 1,
            voter: 3,
        };
        let next = NextVoters {
            configuration: 2,
            voters: vec![VoterId(4), VoterId(5)],
        };
        vec![
            Change::Promise(ballot),
            Change::Append(vec![shared(b"one"), shared(b"")]),
            Change::Decided(1),
            Change::Accepted(ballot),
            Change::Replace(1, vec![shared(b"two"), shared(b"three")]),
            Change::Stop(Some(Stop {
                next,
                entry: shared(b"last"),
            })),
            Change::Decided(4),
            Change::Promise(Ballot { number: 8, ..ballot }),
        ]
    }

    #[test]
    fn the_file_gives_back_what_was_in_memory() {
        for per_record in 1..=4 {
            let mut journal = sample();
            let mut file = journal.birth.file();
            for some in changes().chunks(per_record) {
                some.iter().for_each(|change| journal.change(change.clone()));
                if let Some(write) = journal.seal() {
                    file.extend(write.bytes);
                }
                let (read, good) = Journal::open(&journal.birth, &file).unwrap();
                assert_eq!(good, file.len());
                assert_eq!((read.promise, read.accepted), (journal.promise, journal.accepted));
                assert_eq!((&read.entries, &read.stop), (&journal.entries, &journal.stop));
                assert!(read.decided <= journal.decided);
                assert_eq!(read.last_record(), journal.last_record());
            }
            assert_eq!(journal.decided, 4);
        }
    }

    #[test]
    fn positions_go_on_from_the_base_and_the_last_entry_is_the_change_of_voters() {
        let mut journal = sample();
        changes().into_iter().for_each(|change| journal.change(change));
        let found: Vec<Decided> = journal.decided(1, journal.decided).collect();
        let entries: Vec<(u64, &[u8])> = found.iter().map(|found| (found.position, &found.entry[..])).collect();
        assert_eq!(entries, [(2, &b"two"[..]), (3, b"three"), (4, b"last")]);
        assert_eq!(journal.ended(3), None);
        assert_eq!(journal.ended(4).unwrap().base, 4);
    }

    #[test]
    fn a_file_that_begins_with_a_state_is_read_like_any_other() {
        let mut journal = sample();
        let mut file = journal.birth.file_from(9, b"state");
        journal.records += 1;
        changes().into_iter().for_each(|change| journal.change(change));
        file.extend(journal.seal().unwrap().bytes);
        let (read, good) = Journal::open(&journal.birth, &file).unwrap();
        assert_eq!(good, file.len());
        assert_eq!((&read.entries, read.last_record()), (&journal.entries, 2));
        assert_eq!(read.record_bytes(), journal.record_bytes());
    }

    #[test]
    fn records_that_say_what_cannot_be_refuse_the_file() {
        let journal = sample();
        for wrong in [Change::Decided(1), Change::Replace(1, vec![])] {
            let mut payload = Vec::new();
            put_change(&mut payload, &wrong);
            let mut file = journal.birth.file();
            file.extend(file::record(1, Kind::Changes, &payload));
            let error = Journal::open(&journal.birth, &file).err();
            assert_eq!(error, Some(FileError::Unreadable { number: 1 }), "{wrong:?}");
        }
    }

    #[test]
    fn a_file_of_another_cluster_or_voter_is_refused_by_name() {
        let journal = sample();
        let voters = journal.birth.voters();
        let other_cluster = Birth::first(waterpark_ring::ClusterId([8; 16]), VoterId(1), voters).unwrap();
        let found = journal.birth.cluster();
        let opened = Journal::open(&other_cluster, &journal.birth.file()).err();
        assert_eq!(opened, Some(FileError::OtherCluster { found }));
        let other_voter = Birth::first(found, VoterId(2), voters).unwrap();
        assert_eq!(
            Journal::open(&other_voter, &journal.birth.file()).err(),
            Some(FileError::OtherVoter)
        );
        assert_eq!(Journal::open(&journal.birth, b"").err(), Some(FileError::Absent));
    }
}
