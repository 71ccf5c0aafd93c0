//! The marks of a chunk: where every so many bytes a run begins, so that one is found without walking all of them.
//!
//! They lie in the chunk itself, behind its runs: what belongs to a chunk comes and goes with it, and filling one asks the allocator for
//! nothing. Nothing here knows what a run is. **Invariant:** marks ascend, by seq and by offset.

use crate::ids::Seq;

/// One mark of the index per so many bytes of a chunk.
const MARK_BYTES: u32 = 16 << 10;
/// A seq and an offset.
const ONE: usize = 12;

/// Where the first run of a chunk begins, and the first at or behind each multiple of [`MARK_BYTES`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    /// Where they begin: the room for runs ends here.
    at: u32,
    count: u32,
    /// The last one's offset.
    last: u32,
}

/// Bytes that marks take of a chunk.
fn marks_bytes(chunk_bytes: usize) -> usize {
    // One for each multiple, one for a part, one for where the first run begins after others have moved away.
    (chunk_bytes / MARK_BYTES as usize + 3) * ONE
}

/// Bytes of a chunk that has room for so many bytes of runs. A larger one has it too.
pub(super) fn chunk_bytes(room: usize) -> usize {
    // What marks take may itself reach over a multiple, and a larger chunk over one more.
    room + marks_bytes(room + marks_bytes(room)) + ONE
}

impl Marks {
    /// No marks, in a chunk of so many bytes.
    pub(super) fn new(chunk_bytes: u32) -> Marks {
        let bytes = u32::try_from(marks_bytes(chunk_bytes as usize)).expect("less than the chunk");
        Marks {
            at: chunk_bytes
                .checked_sub(bytes)
                .expect("chunks are reserved with room for their marks"),
            count: 0,
            last: 0,
        }
    }

    /// Where the room for runs ends.
    pub(super) fn at(&self) -> u32 {
        self.at
    }

    /// Whether a run that begins at `offset`, behind all others, is to be marked.
    #[inline]
    pub(super) fn is_due(&self, offset: u32) -> bool {
        self.count == 0 || offset / MARK_BYTES > self.last / MARK_BYTES
    }

    /// Marks a run behind all that are marked.
    pub(super) fn add(&mut self, chunk: &mut [u8], first_seq: Seq, offset: u32) {
        self.put(chunk, self.count, first_seq, offset);
        self.count += 1;
        self.last = offset;
    }

    /// The runs before `start` have moved elsewhere; if others are left, the first of them has this seq.
    pub(super) fn forget_before(&mut self, chunk: &mut [u8], start: u32, first: Option<Seq>) {
        let kept = (0..self.count).find(|index| self.mark(chunk, *index).1 >= start);
        let kept = kept.unwrap_or(self.count);
        let begins = kept < self.count && self.mark(chunk, kept).1 == start;
        let first = first.filter(|_| !begins);
        let to = u32::from(first.is_some());
        chunk.copy_within(self.place(kept)..self.place(self.count), self.place(to));
        self.count = self.count - kept + to;
        if let Some(first) = first {
            self.put(chunk, 0, first, start);
        }
        self.last = self.count.checked_sub(1).map_or(0, |last| self.mark(chunk, last).1);
    }

    /// The runs from `end` on are gone.
    pub(super) fn forget_from(&mut self, chunk: &[u8], end: u32) {
        while self.count > 0 && self.mark(chunk, self.count - 1).1 >= end {
            self.count -= 1;
        }
        self.last = self.count.checked_sub(1).map_or(0, |last| self.mark(chunk, last).1);
    }

    /// Where the last mark stands whose run begins at or before `seq`.
    ///
    /// # Panics
    /// If there is no mark: it is asked only for a chunk that holds `seq`.
    pub(super) fn before(&self, chunk: &[u8], seq: Seq) -> u32 {
        let (mut low, mut high) = (0, self.count);
        while high - low > 1 {
            let middle = low.midpoint(high);
            if self.mark(chunk, middle).0 <= seq {
                low = middle;
            } else {
                high = middle;
            }
        }
        assert!(low < self.count, "a chunk with runs has a mark");
        self.mark(chunk, low).1
    }

    fn place(&self, index: u32) -> usize {
        self.at as usize + index as usize * ONE
    }

    fn mark(&self, chunk: &[u8], index: u32) -> (Seq, u32) {
        let bytes = &chunk[self.place(index)..][..ONE];
        let (seq, offset) = bytes.split_first_chunk().expect("a seq is 8 bytes");
        let offset = offset.first_chunk().expect("an offset is 4 bytes");
        (Seq(u64::from_le_bytes(*seq)), u32::from_le_bytes(*offset))
    }

    fn put(&self, chunk: &mut [u8], index: u32, seq: Seq, offset: u32) {
        let bytes = &mut chunk[self.place(index)..][..ONE];
        bytes[..8].copy_from_slice(&seq.0.to_le_bytes());
        bytes[8..].copy_from_slice(&offset.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of each length in turn, until a chunk of so many bytes is full: seq and offset of each.
    fn filled(chunk: &mut [u8], lengths: &[u32]) -> (Marks, Vec<(Seq, u32)>) {
        let mut marks = Marks::new(u32::try_from(chunk.len()).unwrap());
        let mut runs = Vec::new();
        let mut offset = 0;
        for (seq, length) in (1..).step_by(3).zip(lengths.iter().cycle()) {
            if offset + length > marks.at() {
                break;
            }
            if marks.is_due(offset) {
                marks.add(chunk, Seq(seq), offset);
            }
            runs.push((Seq(seq), offset));
            offset += length;
        }
        (marks, runs)
    }

    fn begins(runs: &[(Seq, u32)], offset: u32) -> bool {
        runs.binary_search_by_key(&offset, |(_, at)| *at).is_ok()
    }

    fn check(marks: &Marks, chunk: &[u8], runs: &[(Seq, u32)]) {
        for (seq, offset) in runs {
            for seq in seq.0..seq.0 + 3 {
                let found = marks.before(chunk, Seq(seq));
                assert!(
                    found <= *offset && offset - found < 2 * MARK_BYTES,
                    "{seq}: {found} for {offset}"
                );
                assert!(begins(runs, found), "a run begins there");
            }
        }
    }

    #[test]
    fn a_mark_leads_near_every_run_whatever_their_lengths() {
        for lengths in [&[96][..], &[224, 4_096, 160], &[16_384], &[16_368, 16], &[300_000]] {
            for bytes in [4 << 10, 32 << 10, 1 << 20] {
                let mut chunk = vec![0xA5; bytes];
                let (marks, runs) = filled(&mut chunk, lengths);
                assert!(runs.iter().all(|(seq, _)| begins(&runs, marks.before(&chunk, *seq))));
                if lengths[0] < MARK_BYTES {
                    check(&marks, &chunk, &runs);
                }
            }
        }
    }

    #[test]
    fn a_chunk_has_the_room_that_it_was_asked_for_however_much_larger_it_is() {
        for room in (1..400_000).step_by(97).chain([16 << 20, (16 << 20) + 1]) {
            let bytes = chunk_bytes(room);
            for larger in (0..40).chain([MARK_BYTES as usize - 1, MARK_BYTES as usize, 1 << 20]) {
                let marks = Marks::new(u32::try_from(bytes + larger).unwrap());
                assert!(marks.at() as usize >= room, "{room} in {bytes} + {larger}");
            }
        }
    }

    #[test]
    fn marks_stay_true_while_runs_move_away_from_the_front() {
        let mut chunk = vec![0xA5; 1 << 20];
        let (mut marks, mut runs) = filled(&mut chunk, &[160, 2_000, 9_000]);
        while runs.len() > 1 {
            runs.drain(..runs.len().min(7) - 1);
            let (seq, start) = runs[0];
            marks.forget_before(&mut chunk, start, Some(seq));
            check(&marks, &chunk, &runs);
            assert!(marks.place(marks.count) <= chunk.len());
        }
        marks.forget_before(&mut chunk, u32::MAX, None);
        assert_eq!(marks.count, 0);
        assert!(marks.is_due(4_000));
        marks.add(&mut chunk, Seq(9), 4_000);
        assert_eq!(marks.before(&chunk, Seq(9)), 4_000);
    }
}
