//! Reads fixed layouts from bytes that anybody may have written: never past their end, never more than they can hold.
//!
//! It knows no message and no record.

use std::rc::Rc;

use super::ENTRY_BYTES_MAX;

/// The largest index that is believed: no log of ours comes near it, and sums of two cannot overflow.
const INDEX_MAX: u64 = 1 << 48;

/// Bytes of an entry that the log, the library and its messages share.
pub(super) type Shared = Rc<[u8]>;

/// What is left to read.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// An index of the log, or a number that counts messages.
    pub(super) fn index(&mut self) -> Option<u64> {
        self.u64().filter(|index| *index <= INDEX_MAX)
    }

    /// One entry: its length, then its bytes.
    pub(super) fn entry(&mut self) -> Option<Shared> {
        let length = usize::try_from(self.u32()?).ok()?;
        if length > ENTRY_BYTES_MAX {
            return None;
        }
        self.take(length).map(Rc::from)
    }

    /// Entries: their count, then each. The count is believed only as far as there are bytes.
    pub(super) fn entries(&mut self) -> Option<Vec<Shared>> {
        let count = self.u32()?;
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push(self.entry()?);
        }
        Some(entries)
    }
}

/// Appends what [`Reader::index`] reads.
pub(super) fn put_index(out: &mut Vec<u8>, index: usize) {
    // A log in memory is never longer than 2^48 entries, nor is an address wider than 64 bits.
    out.extend_from_slice(&u64::try_from(index).unwrap_or(u64::MAX).to_le_bytes());
}

/// Appends what [`Reader::entry`] reads.
pub(super) fn put_entry(out: &mut Vec<u8>, entry: &[u8]) {
    assert!(entry.len() <= ENTRY_BYTES_MAX);
    let length = u32::try_from(entry.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(entry);
}

/// Appends what [`Reader::entries`] reads.
pub(super) fn put_entries(out: &mut Vec<u8>, entries: &[Shared]) {
    let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&count.to_le_bytes());
    entries.iter().for_each(|entry| put_entry(out, entry));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_they_were_put() {
        let entries: Vec<Shared> = vec![Rc::from(&b""[..]), Rc::from(&b"one"[..]), Rc::from(&[7u8; 300][..])];
        let mut out = Vec::new();
        put_entries(&mut out, &entries);
        let mut reader = Reader::new(&out);
        assert_eq!(reader.entries(), Some(entries));
        assert!(reader.is_empty());
    }

    #[test]
    fn a_count_without_entries_ends_at_the_last_byte() {
        assert_eq!(Reader::new(&[0xFF; 4]).entries(), None);
        assert_eq!(Reader::new(&[1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]).entries(), None);
    }
}
