//! What one node says of all others: its row of the link matrix, and the bytes in which it travels.
//!
//! ```text
//! offset  bytes
//!      0      1  format = 1
//!      1      1  zero
//!      2      2  reporter, a node id
//!      4      2  sightings
//!      6      2  zero
//!      8      8  the reporter's incarnation
//!     16      8  version, from 1
//!     24   12 ×  ( u16 peer | u8 seen: 1 up, 2 suspected, 3 gone | u8 zero | u64 its incarnation )     ascending by peer
//! ```
//!
//! All numbers little-endian; 396 bytes in a cluster of 32. Read by hand, since any node can send it: what does not fit is refused with a
//! [`RowError`], nothing of it is kept. One meaning has one form, so what was read writes the same bytes again. This file does not know
//! who sent a row, nor whether it counts.
//!
//! **Invariant:** sightings ascend by peer, none is of the reporter, and no incarnation is 0.

use waterpark_ring::NODES_MAX;

use crate::ids::{Incarnation, Member, NodeId};

const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 24;
const SIGHTING_BYTES: usize = 12;
/// Bytes that a row has at most.
pub const ROW_BYTES_MAX: usize = HEADER_BYTES + (NODES_MAX - 1) * SIGHTING_BYTES;

// The rows of 32 nodes fit a packet each.
const _: () = assert!(HEADER_BYTES + 31 * SIGHTING_BYTES == 396);

/// What one node sees of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Seen {
    /// Heard in time.
    Up = 1,
    /// Not heard in time.
    Suspected = 2,
    /// Its connections closed just now, and a new one was refused.
    Gone = 3,
}

/// What one node sees of one incarnation of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The other.
    pub peer: Member,
    /// What is seen of it.
    pub seen: Seen,
}

impl Sighting {
    /// What this says of that incarnation: nothing if it speaks of an older one, and that it is gone if it speaks of a newer one, since a
    /// node is one process at a time.
    #[must_use]
    pub fn of(&self, incarnation: Incarnation) -> Option<Seen> {
        match self.peer.incarnation.cmp(&incarnation) {
            core::cmp::Ordering::Less => None,
            core::cmp::Ordering::Equal => Some(self.seen),
            core::cmp::Ordering::Greater => Some(Seen::Gone),
        }
    }
}

/// What one node sees of all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    reporter: Member,
    version: u64,
    sightings: Vec<Sighting>,
}

impl Row {
    /// A row of this process.
    ///
    /// # Panics
    /// If the parts break the invariant of this file: they are this process's own.
    #[must_use]
    pub fn new(reporter: Member, version: u64, sightings: Vec<Sighting>) -> Self {
        let row = Self {
            reporter,
            version,
            sightings,
        };
        let checked = row.check();
        assert!(checked.is_ok(), "a row of our own: {checked:?}");
        row
    }

    /// Who says it.
    #[must_use]
    pub fn reporter(&self) -> Member {
        self.reporter
    }

    /// Counts the rows of this reporter; the larger one is newer.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What it says, ascending by peer.
    #[must_use]
    pub fn sightings(&self) -> &[Sighting] {
        &self.sightings
    }

    /// What it says of one process, if anything.
    #[must_use]
    pub fn sees(&self, peer: Member) -> Option<Seen> {
        let found = self
            .sightings
            .binary_search_by_key(&peer.node, |sighting| sighting.peer.node);
        found.ok().and_then(|index| self.sightings[index].of(peer.incarnation))
    }

    /// Writes the row behind what is in `bytes`.
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        let count = u16::try_from(self.sightings.len()).expect("a checked row has fewer sightings than nodes");
        bytes.extend_from_slice(&[FORMAT, 0]);
        bytes.extend_from_slice(&self.reporter.node.0.to_le_bytes());
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&self.reporter.incarnation.0.to_le_bytes());
        bytes.extend_from_slice(&self.version.to_le_bytes());
        for Sighting { peer, seen } in &self.sightings {
            bytes.extend_from_slice(&peer.node.0.to_le_bytes());
            bytes.extend_from_slice(&[*seen as u8, 0]);
            bytes.extend_from_slice(&peer.incarnation.0.to_le_bytes());
        }
    }

    /// Reads a row that a peer sent.
    ///
    /// # Errors
    /// The first thing that is wrong with the bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, RowError> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(RowError::Length)?;
        let [format, zero, n0, n1, c0, c1, zero1, zero2, ids @ ..] = *header;
        if format != FORMAT {
            return Err(RowError::Format { format });
        }
        if [zero, zero1, zero2] != [0; 3] {
            return Err(RowError::Reserved);
        }
        let count = usize::from(u16::from_le_bytes([c0, c1]));
        let (sightings, odd) = rest.as_chunks::<SIGHTING_BYTES>();
        if sightings.len() != count || !odd.is_empty() {
            return Err(RowError::Length);
        }
        let (incarnation, version) = ids.split_at(8);
        let row = Self {
            reporter: Member {
                node: NodeId(u16::from_le_bytes([n0, n1])),
                incarnation: Incarnation(number(incarnation)),
            },
            version: number(version),
            sightings: sightings.iter().map(sighting).collect::<Result<_, _>>()?,
        };
        row.check()?;
        Ok(row)
    }

    fn check(&self) -> Result<(), RowError> {
        if self.sightings.len() >= NODES_MAX {
            return Err(RowError::TooMany);
        }
        if self.version == 0 {
            return Err(RowError::Version);
        }
        let nobody = |member: &Member| member.incarnation == Incarnation(0);
        if nobody(&self.reporter) || self.sightings.iter().any(|sighting| nobody(&sighting.peer)) {
            return Err(RowError::Incarnation);
        }
        if self
            .sightings
            .iter()
            .any(|sighting| sighting.peer.node == self.reporter.node)
        {
            return Err(RowError::OfItself);
        }
        if !self.sightings.is_sorted_by(|a, b| a.peer.node < b.peer.node) {
            return Err(RowError::Order);
        }
        Ok(())
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn sighting(bytes: &[u8; SIGHTING_BYTES]) -> Result<Sighting, RowError> {
    let [n0, n1, seen, zero, incarnation @ ..] = bytes;
    if *zero != 0 {
        return Err(RowError::Reserved);
    }
    let seen = match seen {
        1 => Seen::Up,
        2 => Seen::Suspected,
        3 => Seen::Gone,
        &seen => return Err(RowError::Seen { seen }),
    };
    let peer = Member {
        node: NodeId(u16::from_le_bytes([*n0, *n1])),
        incarnation: Incarnation(number(incarnation)),
    };
    Ok(Sighting { peer, seen })
}

/// What is wrong with the bytes of a row. The sender's fault; nothing of it was kept, the rows that are held stay as they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowError {
    /// A format that this release does not read.
    Format {
        /// The one it has.
        format: u8,
    },
    /// Shorter than a header, or not as long as its count of sightings says.
    Length,
    /// A byte that has to be 0 is not.
    Reserved,
    /// A sighting says something that this release does not know.
    Seen {
        /// The number it has.
        seen: u8,
    },
    /// As many sightings as a cluster can have nodes, or more.
    TooMany,
    /// Version 0, which is before the first row.
    Version,
    /// Incarnation 0, which no process has.
    Incarnation,
    /// The reporter speaks of itself.
    OfItself,
    /// Sightings that do not ascend by peer, or two of one.
    Order,
}

impl core::fmt::Display for RowError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Format { format } => write!(f, "row of the link matrix in unknown format {format}"),
            Self::Length => f.write_str("row of the link matrix does not fit its length"),
            Self::Reserved => f.write_str("row of the link matrix uses a reserved byte"),
            Self::Seen { seen } => write!(f, "row of the link matrix holds unknown sighting {seen}"),
            Self::TooMany => f.write_str("row of the link matrix has more sightings than a cluster has nodes"),
            Self::Version => f.write_str("row of the link matrix has version 0"),
            Self::Incarnation => f.write_str("row of the link matrix names incarnation 0"),
            Self::OfItself => f.write_str("row of the link matrix speaks of its own reporter"),
            Self::Order => f.write_str("row of the link matrix is out of order"),
        }
    }
}

impl core::error::Error for RowError {}

#[cfg(test)]
mod tests {
    use super::super::testing::{Random, member};
    use super::*;

    fn row_of(random: &mut Random, peers: u64) -> Row {
        let reporter = member(u16::try_from(random.between(0, peers)).unwrap());
        let mut sightings = Vec::new();
        for node in (0..=u16::try_from(peers).unwrap()).filter(|&node| node != reporter.node.0) {
            let peer = Member {
                node: NodeId(node),
                incarnation: Incarnation(random.next() | 1),
            };
            let seen = [Seen::Up, Seen::Suspected, Seen::Gone][random.below(3)];
            if random.chance(9, 10) {
                sightings.push(Sighting { peer, seen });
            }
        }
        Row::new(reporter, random.next() | 1, sightings)
    }

    fn bytes_of(row: &Row) -> Vec<u8> {
        let mut bytes = Vec::new();
        row.encode(&mut bytes);
        bytes
    }

    #[test]
    fn a_row_is_these_bytes() {
        let peer = Member {
            node: NodeId(0x0102),
            incarnation: Incarnation(0x1112_1314_1516_1718),
        };
        let reporter = Member {
            node: NodeId(3),
            incarnation: Incarnation(9),
        };
        let seen = Seen::Suspected;
        let row = Row::new(reporter, 7, vec![Sighting { peer, seen }]);
        let expected = [
            &[1, 0, 3, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0][..],
            &[0x02, 0x01, 2, 0, 0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11],
        ];
        assert_eq!(bytes_of(&row), expected.concat());
    }

    #[test]
    fn a_row_reads_back_as_it_was_written_and_every_shorter_one_is_refused() {
        for seed in 0..300 {
            let mut random = Random::new(seed);
            let peers = random.between(0, 40);
            let row = row_of(&mut random, peers);
            let bytes = bytes_of(&row);
            assert_eq!(Row::decode(&bytes).as_ref(), Ok(&row), "seed {seed}");
            for length in 0..bytes.len() {
                assert_eq!(Row::decode(&bytes[..length]), Err(RowError::Length), "seed {seed}");
            }
        }
    }

    #[test]
    fn the_largest_cluster_has_the_longest_row() {
        let peers = u64::try_from(NODES_MAX).unwrap() - 1;
        let sightings = (1..NODES_MAX).map(|node| Sighting {
            peer: member(u16::try_from(node).unwrap()),
            seen: Seen::Up,
        });
        let row = Row::new(member(0), 1, sightings.collect());
        assert_eq!(row.sightings().len() as u64, peers);
        let bytes = bytes_of(&row);
        assert_eq!(bytes.len(), ROW_BYTES_MAX);
        assert_eq!(Row::decode(&bytes), Ok(row));
    }

    #[test]
    fn bytes_with_errors_are_refused_or_mean_what_they_would_be_written_as() {
        let mut refused = std::collections::BTreeSet::new();
        for seed in 0..40_000 {
            let mut random = Random::new(seed);
            let peers = random.between(0, 6);
            let mut bytes = bytes_of(&row_of(&mut random, peers));
            for _ in 0..random.between(1, 3) {
                let at = random.below(bytes.len());
                bytes[at] = if random.chance(1, 2) {
                    random.next().to_le_bytes()[0]
                } else {
                    0
                };
            }
            match Row::decode(&bytes) {
                Ok(row) => assert_eq!(bytes_of(&row), bytes, "seed {seed}"),
                Err(error) => {
                    refused.insert(error.to_string().split(char::is_numeric).next().unwrap().to_owned());
                }
            }
        }
        let seen: Vec<_> = refused.into_iter().collect();
        assert!(seen.len() >= 6, "{seen:?}");
    }

    #[test]
    fn each_error_has_its_name() {
        let row = Row::new(
            member(5),
            1,
            [1, 9]
                .map(|node| Sighting {
                    peer: member(node),
                    seen: Seen::Up,
                })
                .to_vec(),
        );
        let good = bytes_of(&row);
        let table: &[(usize, u8, RowError)] = &[
            (0, 2, RowError::Format { format: 2 }),
            (1, 1, RowError::Reserved),
            (7, 1, RowError::Reserved),
            (4, 1, RowError::Length),
            (5, 1, RowError::Length),
            (16, 0, RowError::Version),
            (24 + 2, 0, RowError::Seen { seen: 0 }),
            (24 + 2, 4, RowError::Seen { seen: 4 }),
            (24 + 3, 1, RowError::Reserved),
            (24, 5, RowError::OfItself),
            (24, 9, RowError::Order),
            (24, 10, RowError::Order),
        ];
        for &(at, byte, error) in table {
            let mut bytes = good.clone();
            bytes[at] = byte;
            assert_eq!(Row::decode(&bytes), Err(error), "byte {at} = {byte}");
        }
        for incarnation in [8..16, 28..36] {
            let mut bytes = good.clone();
            bytes[incarnation].fill(0);
            assert_eq!(Row::decode(&bytes), Err(RowError::Incarnation));
        }
        let mut bytes = good;
        bytes[4..6].copy_from_slice(&u16::try_from(NODES_MAX).unwrap().to_le_bytes());
        bytes.resize(HEADER_BYTES, 0);
        for node in 6..6 + u16::try_from(NODES_MAX).unwrap() {
            bytes.extend_from_slice(&node.to_le_bytes());
            bytes.extend_from_slice(&[1, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        }
        assert_eq!(Row::decode(&bytes), Err(RowError::TooMany));
    }

    #[test]
    fn a_sighting_of_a_newer_incarnation_says_that_the_older_is_gone() {
        let sighting = Sighting {
            peer: Member {
                node: NodeId(1),
                incarnation: Incarnation(50),
            },
            seen: Seen::Up,
        };
        let of = |incarnation| sighting.of(Incarnation(incarnation));
        assert_eq!([of(49), of(50), of(51)], [Some(Seen::Gone), Some(Seen::Up), None]);
    }
}
