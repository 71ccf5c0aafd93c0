//! A voter's file: records, one behind the other, only ever appended to.
//!
//! ```text
//! 0        4        8                16               24               32
//! +--------+--------+----------------+----------------+----------------+---------------- - -
//! | kind   | length | number         | sum of payload | sum of bytes   | payload, zeros,
//! |        |        |                | (xxh3-64)      | 0..24          | END; to 32 bytes
//! +--------+--------+----------------+----------------+----------------+---------------- - -
//! ```
//!
//! Records begin at multiples of 32 bytes, so a header never lies in two sectors: it is on disk whole or not at all. `number` counts from 0,
//! the birth. The last byte is END, so a record whose end was written is told from one whose end was not.
//!
//! **Invariant:** a bad sum means *maybe*, never *absent*. Only what can be the end of a write that a crash cut short is cut off: a
//! record past whose written bytes there is nothing but zeros or the end of the file. No message followed from such a write, because none
//! leaves before its writes are durable. Anything else that does not add up refuses the whole file, and its voter stays away: it may have
//! promised what cannot be read any more.

use core::fmt;

use waterpark_ring::ClusterId;
use waterpark_wire::checksum;

use super::birth::Birth;
use super::bytes::Reader;

const HEADER_BYTES: usize = 32;
const ALIGNMENT: usize = 32;
const END: u8 = 0xE5;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Birth = 1,
    Changes = 2,
    /// What the entries up to a position add up to. Of a file that begins behind others, right behind the birth.
    State = 3,
}

/// A voter's file, read.
pub(super) struct Contents<'a> {
    pub(super) birth: Birth,
    /// The payload of the state that stands for the entries before the file.
    pub(super) state: Option<&'a [u8]>,
    /// Payloads of the records behind the birth, in order.
    pub(super) changes: Vec<&'a [u8]>,
    /// Bytes that are good: the file is cut to them before anything is appended.
    pub(super) good: usize,
}

/// A voter's file that cannot be opened. The process is no voter; it may learn. An operator has to act on all but the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileError {
    /// There is nothing in it, or no whole first record: this process is no voter, and may learn.
    Absent,
    /// A record does not add up and is not the end of a write that was cut short: what it said may have been promised.
    Maybe {
        /// Where in the file it begins.
        offset: usize,
    },
    /// A record adds up and says what cannot be: written by a newer release, or by a fault of ours.
    Unreadable {
        /// How many records come before it.
        number: u64,
    },
    /// The file is of another cluster.
    OtherCluster {
        /// Which one.
        found: ClusterId,
    },
    /// The file is of this cluster, but of another voter or configuration than was asked for.
    OtherVoter,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::Absent => f.write_str("no voter file: this process learns and does not vote"),
            FileError::Maybe { offset } => {
                write!(
                    f,
                    "the voter file is damaged at byte {offset}: what stood there may count, so it does not vote"
                )
            }
            FileError::Unreadable { number } => write!(f, "record {number} of the voter file says what cannot be"),
            FileError::OtherCluster { found } => write!(f, "the voter file belongs to cluster {found}"),
            FileError::OtherVoter => f.write_str("the voter file belongs to another voter or configuration"),
        }
    }
}

impl core::error::Error for FileError {}

/// One record as it lies in the file.
pub(super) fn record(number: u64, kind: Kind, payload: &[u8]) -> Vec<u8> {
    // Payloads are a few entries of at most 1 MiB, a log of a few thousand small ones, or a state: far from 4 GiB.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    assert_eq!(usize::try_from(length), Ok(payload.len()));
    let mut bytes = Vec::with_capacity(padded(payload.len()));
    bytes.extend_from_slice(&(kind as u32).to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&checksum::bytes(payload).to_le_bytes());
    bytes.extend_from_slice(&checksum::bytes(&bytes).to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes.resize(padded(payload.len()) - 1, 0);
    bytes.push(END);
    bytes
}

/// Bytes of a record with a payload of this length: header, payload, at least the byte that ends it.
fn padded(payload: usize) -> usize {
    (HEADER_BYTES + payload + 1).next_multiple_of(ALIGNMENT)
}

/// Reads all records.
pub(super) fn read(file: &[u8]) -> Result<Contents<'_>, FileError> {
    let mut changes = Vec::new();
    let mut birth = None;
    let mut state = None;
    let mut offset = 0;
    for number in 0.. {
        match next(&file[offset..], number) {
            Next::Record { kind, payload, bytes } => {
                let unreadable = FileError::Unreadable { number };
                match (number, kind) {
                    (0, 1) => birth = Some(Birth::read(payload).ok_or(unreadable)?),
                    (1.., 2) => changes.push(payload),
                    (1, 3) => state = Some(payload),
                    _ => return Err(unreadable),
                }
                offset += bytes;
            }
            Next::End => break,
            Next::Damaged => return Err(FileError::Maybe { offset }),
        }
    }
    let birth = birth.ok_or(FileError::Absent)?;
    Ok(Contents {
        birth,
        state,
        changes,
        good: offset,
    })
}

enum Next<'a> {
    Record { kind: u32, payload: &'a [u8], bytes: usize },
    End,
    Damaged,
}

/// The record at the beginning of these bytes.
fn next(rest: &[u8], number: u64) -> Next<'_> {
    let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    let Some((header, behind)) = rest.split_at_checked(HEADER_BYTES) else {
        // Less than a header: a write that was cut short, or nothing at all.
        return Next::End;
    };
    let Some((kind, length, found, sum)) = checked_header(header) else {
        return if is_zero(rest) { Next::End } else { Next::Damaged };
    };
    if found != number {
        return Next::Damaged;
    }
    let bytes = padded(length);
    let Some(body) = behind.get(..bytes - HEADER_BYTES) else {
        return Next::End;
    };
    let payload = &body[..length];
    let ended = body.last() == Some(&END);
    if ended && checksum::bytes(payload) == sum && is_zero(&body[length..body.len() - 1]) {
        return Next::Record { kind, payload, bytes };
    }
    // Its end was not written, and nothing behind it was: a write that was cut short.
    if body.last() == Some(&0) && is_zero(&behind[body.len()..]) {
        return Next::End;
    }
    Next::Damaged
}

/// Kind, length of the payload, number and sum of the payload, if the header adds up.
fn checked_header(header: &[u8]) -> Option<(u32, usize, u64, u64)> {
    let mut reader = Reader::new(header);
    let fields = (
        reader.u32()?,
        usize::try_from(reader.u32()?).ok()?,
        reader.u64()?,
        reader.u64()?,
    );
    (reader.u64()? == checksum::bytes(&header[..HEADER_BYTES - 8])).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::super::VoterId;
    use super::*;

    fn sample() -> (Vec<u8>, Vec<usize>) {
        let birth = Birth::first(ClusterId([1; 16]), VoterId(1), &[VoterId(1), VoterId(2), VoterId(3)]).unwrap();
        let mut file = birth.file();
        let mut starts = vec![file.len()];
        for (number, length) in [(1u8, 0), (2, 31), (3, 700), (4, 5)] {
            file.extend(record(u64::from(number), Kind::Changes, &vec![number; length]));
            starts.push(file.len());
        }
        (file, starts)
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let (file, _) = sample();
        let contents = read(&file).unwrap();
        assert_eq!(contents.good, file.len());
        let lengths: Vec<usize> = contents.changes.iter().map(|payload| payload.len()).collect();
        assert_eq!(lengths, [0, 31, 700, 5]);
    }

    #[test]
    fn a_file_cut_anywhere_keeps_its_whole_records() {
        let (file, starts) = sample();
        for length in 0..file.len() {
            let whole = starts.iter().rev().find(|start| **start <= length);
            match (read(&file[..length]), whole) {
                (Ok(contents), Some(whole)) => assert_eq!(contents.good, *whole, "cut at {length}"),
                (Err(error), None) => assert_eq!(error, FileError::Absent, "cut at {length}"),
                (found, whole) => panic!("cut at {length}: {:?}, whole {whole:?}", found.map(|read| read.good)),
            }
        }
    }

    #[test]
    fn a_last_write_whose_end_is_zeros_is_cut_off() {
        let (mut file, starts) = sample();
        let last = starts[2];
        for keep in [0, 32, 64, 512] {
            let mut torn = file[..starts[3]].to_vec();
            torn[last + keep..].fill(0);
            torn.extend([0; 4096]);
            assert_eq!(read(&torn).unwrap().good, last, "{keep} bytes were written");
        }
        // The same in the middle is no end.
        file[last..last + 64].fill(0);
        assert_eq!(read(&file).err(), Some(FileError::Maybe { offset: last }));
    }

    #[test]
    fn any_flipped_bit_of_a_whole_record_is_maybe_and_never_absent() {
        let (file, starts) = sample();
        for bit in 0..file.len() * 8 {
            let mut damaged = file.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let start = starts
                .iter()
                .rev()
                .find(|start| **start <= bit / 8)
                .copied()
                .unwrap_or(0);
            assert_eq!(
                read(&damaged).err(),
                Some(FileError::Maybe { offset: start }),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn records_out_of_their_order_are_refused() {
        let (file, starts) = sample();
        let mut missing = file[..starts[1]].to_vec();
        missing.extend(&file[starts[2]..]);
        assert_eq!(read(&missing).err(), Some(FileError::Maybe { offset: starts[1] }));
    }

    #[test]
    fn an_unknown_record_is_named() {
        let (mut file, starts) = sample();
        file.truncate(starts[0]);
        file.extend(record(1, Kind::Birth, b""));
        assert_eq!(read(&file).err(), Some(FileError::Unreadable { number: 1 }));
    }
}
