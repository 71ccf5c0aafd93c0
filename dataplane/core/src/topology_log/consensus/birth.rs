//! What a voter is from its first record on: of which cluster and configuration, under which id, beside whom, from which position.
//!
//! It does not know where a file lies, nor who writes the first ones: `init` does, or whoever carries out a change of voters. A process
//! without such a file is never a voter.

use core::fmt;

use waterpark_ring::ClusterId;

use super::bytes::Reader;
use super::file::{self, Kind};
use super::{Ended, NextVoters};

/// Voters of one configuration at most.
pub const VOTERS_MAX: usize = 7;

/// One voter file. Small and dense, from 1, given by the log: never used for a second file, not even of the same node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VoterId(pub u16);

impl fmt::Display for VoterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "voter {}", self.0)
    }
}

/// The first record of a voter's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Birth {
    cluster: ClusterId,
    configuration: u32,
    base: u64,
    own: VoterId,
    voters: Vec<VoterId>,
}

/// What cannot be a voter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BirthError {
    /// There are no voters, or more than [`VOTERS_MAX`].
    Count,
    /// The voters do not ascend from 1 on.
    Order,
    /// It is no voter itself.
    NotOne,
    /// The configuration is 0, which stands for none.
    NoConfiguration,
}

impl fmt::Display for BirthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BirthError::Count => write!(f, "a configuration has 1 to {VOTERS_MAX} voters"),
            BirthError::Order => f.write_str("the ids of voters ascend from 1 on"),
            BirthError::NotOne => f.write_str("the owner of the file is no voter"),
            BirthError::NoConfiguration => f.write_str("configuration 0 stands for none"),
        }
    }
}

impl core::error::Error for BirthError {}

impl Birth {
    /// A voter of a cluster that begins.
    ///
    /// # Errors
    /// [`BirthError`] when these cannot be the voters.
    pub fn first(cluster: ClusterId, own: VoterId, voters: &[VoterId]) -> Result<Birth, BirthError> {
        Birth::checked(Birth {
            cluster,
            configuration: 1,
            base: 0,
            own,
            voters: voters.to_vec(),
        })
    }

    /// A voter of the configuration that follows one. It needs every decided entry up to the base: as a voter before, or as a learner.
    ///
    /// # Errors
    /// [`BirthError`] when `own` is none of the next voters.
    pub fn after(cluster: ClusterId, own: VoterId, ended: &Ended) -> Result<Birth, BirthError> {
        Birth::checked(Birth {
            cluster,
            configuration: ended.next.configuration,
            base: ended.base,
            own,
            voters: ended.next.voters.clone(),
        })
    }

    /// Reads what the file says of itself.
    ///
    /// # Errors
    /// [`file::FileError`] when it says nothing that can be believed.
    pub fn of_file(file: &[u8]) -> Result<Birth, file::FileError> {
        file::read(file).map(|contents| contents.birth)
    }

    /// The file of a voter that begins behind others, with the state that the entries up to a position add up to, the base or a later one. It must be
    /// durable before the voter is opened.
    ///
    /// # Panics
    /// If the position is before the base: a bug in this process.
    #[must_use]
    pub fn file_from(&self, position: u64, state: &[u8]) -> Vec<u8> {
        assert!(position >= self.base);
        let mut file = self.file();
        let payload = [&position.to_le_bytes(), state].concat();
        file.extend(file::record(1, Kind::State, &payload));
        file
    }

    /// The state that a file holds for the entries before it, with the position of the last of them; `None` if it holds none.
    ///
    /// # Errors
    /// [`file::FileError`] when the file says nothing that can be believed.
    pub fn state_of(file: &[u8]) -> Result<Option<(u64, &[u8])>, file::FileError> {
        let contents = file::read(file)?;
        let Some(state) = contents.state else { return Ok(None) };
        let (position, state) = state
            .split_first_chunk()
            .ok_or(file::FileError::Unreadable { number: 1 })?;
        let position = u64::from_le_bytes(*position);
        if position < contents.birth.base {
            return Err(file::FileError::Unreadable { number: 1 });
        }
        Ok(Some((position, state)))
    }

    /// A first voter's file: it must be durable before the voter is opened.
    #[must_use]
    pub fn file(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        payload.extend_from_slice(&self.cluster.0);
        payload.extend_from_slice(&self.configuration.to_le_bytes());
        payload.extend_from_slice(&self.base.to_le_bytes());
        payload.extend_from_slice(&self.own.0.to_le_bytes());
        put_voters(&mut payload, &self.voters);
        file::record(0, Kind::Birth, &payload)
    }

    /// Reads the payload of [`Birth::file`].
    pub(super) fn read(payload: &[u8]) -> Option<Birth> {
        let mut reader = Reader::new(payload);
        let birth = Birth {
            cluster: ClusterId(reader.array()?),
            configuration: reader.u32()?,
            base: reader.index()?,
            own: VoterId(reader.u16()?),
            voters: read_voters(&mut reader)?,
        };
        reader.is_empty().then_some(birth)?.checked().ok()
    }

    fn checked(self) -> Result<Birth, BirthError> {
        check_voters(&self.voters)?;
        if !self.voters.contains(&self.own) {
            return Err(BirthError::NotOne);
        }
        if self.configuration == 0 {
            return Err(BirthError::NoConfiguration);
        }
        Ok(self)
    }

    /// Its cluster.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// Its configuration.
    #[must_use]
    pub fn configuration(&self) -> u32 {
        self.configuration
    }

    /// The position before the first entry of its configuration.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Its own id.
    #[must_use]
    pub fn own(&self) -> VoterId {
        self.own
    }

    /// All voters, itself among them, ascending.
    #[must_use]
    pub fn voters(&self) -> &[VoterId] {
        &self.voters
    }

    /// All voters but itself.
    pub(super) fn peers(&self) -> impl Iterator<Item = VoterId> {
        self.voters.iter().copied().filter(|voter| *voter != self.own)
    }

    /// Voters without which nothing is decided.
    pub(super) fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    /// Whether these voters may follow.
    pub(super) fn may_be_followed_by(&self, next: &NextVoters) -> bool {
        next.configuration > self.configuration && check_voters(&next.voters).is_ok()
    }
}

fn check_voters(voters: &[VoterId]) -> Result<(), BirthError> {
    if voters.is_empty() || voters.len() > VOTERS_MAX {
        return Err(BirthError::Count);
    }
    if voters[0].0 == 0 || !voters.is_sorted_by(|before, after| before < after) {
        return Err(BirthError::Order);
    }
    Ok(())
}

/// Appends what [`read_voters`] reads.
pub(super) fn put_voters(out: &mut Vec<u8>, voters: &[VoterId]) {
    assert!(voters.len() <= VOTERS_MAX);
    out.push(u8::try_from(voters.len()).unwrap_or(u8::MAX));
    voters
        .iter()
        .for_each(|voter| out.extend_from_slice(&voter.0.to_le_bytes()));
}

/// Reads voters, which may still be such as cannot be.
pub(super) fn read_voters(reader: &mut Reader<'_>) -> Option<Vec<VoterId>> {
    let count = usize::from(reader.u8()?);
    (0..count).map(|_| reader.u16().map(VoterId)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId([7; 16]);

    fn voters(ids: &[u16]) -> Vec<VoterId> {
        ids.iter().copied().map(VoterId).collect()
    }

    #[test]
    fn a_birth_is_read_as_it_was_written() {
        let birth = Birth::first(CLUSTER, VoterId(3), &voters(&[1, 3, 9])).unwrap();
        assert_eq!(Birth::of_file(&birth.file()).unwrap(), birth);
        assert_eq!(birth.majority(), 2);
        assert_eq!(birth.peers().collect::<Vec<_>>(), voters(&[1, 9]));
    }

    #[test]
    fn what_cannot_be_a_voter_is_refused_by_its_cause() {
        let first = |own, ids: &[u16]| Birth::first(CLUSTER, VoterId(own), &voters(ids)).unwrap_err();
        assert_eq!(first(1, &[]), BirthError::Count);
        assert_eq!(first(1, &[1, 2, 3, 4, 5, 6, 7, 8]), BirthError::Count);
        assert_eq!(first(1, &[0, 1]), BirthError::Order);
        assert_eq!(first(1, &[2, 1]), BirthError::Order);
        assert_eq!(first(1, &[1, 1]), BirthError::Order);
        assert_eq!(first(4, &[1, 2, 3]), BirthError::NotOne);
    }

    #[test]
    fn the_next_configuration_begins_where_the_last_ended() {
        let next = NextVoters {
            configuration: 2,
            voters: voters(&[2, 4]),
        };
        let ended = Ended { next, base: 17 };
        let birth = Birth::after(CLUSTER, VoterId(4), &ended).unwrap();
        assert_eq!((birth.configuration(), birth.base()), (2, 17));
        assert_eq!(Birth::state_of(&birth.file()), Ok(None));
        let file = birth.file_from(19, b"state");
        assert_eq!(Birth::of_file(&file).unwrap(), birth);
        assert_eq!(Birth::state_of(&file), Ok(Some((19, &b"state"[..]))));
        let mut early = birth.file();
        early.extend(file::record(1, Kind::State, &16u64.to_le_bytes()));
        assert_eq!(Birth::state_of(&early), Err(file::FileError::Unreadable { number: 1 }));
        assert_eq!(Birth::after(CLUSTER, VoterId(1), &ended), Err(BirthError::NotOne));
    }
}
