//! Two logs made one: where they part, what lies behind is given back, and what was collected beside takes its place.
//!
//! It does not know why a log is replaced, nor what was computed from what goes. **Invariant:** cuts are made where a run ends, so the
//! chain of hashes goes on unbroken.

use super::{Chunk, Log, Position};
use crate::ids::{GroupId, Seq, View};
use crate::memory::Memory;
use waterpark_wire::run::RunHeader;

impl Log {
    /// An empty log that goes on behind a run of another one that ends at `seq` with this chain hash.
    #[must_use]
    pub(crate) fn behind(group: GroupId, seq: Seq, hash: u128) -> Log {
        Log {
            sealed_seq: seq,
            last_hash: hash,
            ..Log::new(group)
        }
    }

    /// The chain hash at a seq, if a run ends there; 0 before the first.
    #[must_use]
    pub(crate) fn hash_at<M: Memory>(&self, memory: &M, seq: Seq) -> Option<u128> {
        if seq == Seq::ZERO {
            return Some(0);
        }
        if seq == self.sealed_seq {
            return Some(self.last_hash);
        }
        let at = self.find(memory, seq).filter(|_| seq < self.sealed_seq)?;
        let run = self.run_at(memory, at)?;
        let header = RunHeader::read(&memory.bytes(run.chunk)[run.offset as usize..]);
        (run.last_seq == seq).then(|| header.chain_hash.get())
    }

    /// The view in which the entry at a seq was logged.
    #[must_use]
    pub(crate) fn view_at<M: Memory>(&self, memory: &M, seq: Seq) -> Option<View> {
        let run = self.run_at(memory, self.find(memory, seq)?)?;
        let header = RunHeader::read(&memory.bytes(run.chunk)[run.offset as usize..]);
        Some(View(header.view.get()))
    }

    /// The seq at which the run that holds `seq` ends.
    #[must_use]
    pub(crate) fn run_end<M: Memory>(&self, memory: &M, seq: Seq) -> Option<Seq> {
        let run = self.run_at(memory, self.find(memory, seq)?)?;
        Some(run.last_seq)
    }

    /// Gives back what lies behind the run that ends at `seq`.
    ///
    /// # Panics
    /// If no run ends there, or a run is open: whoever cuts a log has looked.
    pub(crate) fn cut<M: Memory>(&mut self, memory: &mut M, seq: Seq) {
        assert!(self.open.is_none(), "an open run is sealed before its log is cut");
        let hash = self.hash_at(memory, seq).expect("a run ends where a log is cut");
        let kept = self.chunks.partition_point(|chunk| chunk.first_seq <= seq);
        for chunk in self.chunks.drain(kept..) {
            self.bytes -= u64::from(chunk.length);
            let runs = u64::from(chunk.used - chunk.start);
            self.run_bytes -= runs;
            self.sealed_bytes -= runs.min(self.sealed_bytes);
            memory.release(chunk.id);
        }
        if seq < self.sealed_seq
            && let Some(end) = self.end_of(memory, seq)
        {
            let chunk = self.chunks.last_mut().expect("it holds the run that ends there");
            let gone = u64::from(chunk.used - end);
            chunk.cut(memory, end);
            self.run_bytes -= gone;
            self.sealed_bytes -= gone.min(self.sealed_bytes);
        }
        self.warmed = 0;
        self.sealed_seq = seq;
        self.last_hash = hash;
    }

    /// Where in the last chunk the run ends that ends at `seq`.
    fn end_of<M: Memory>(&self, memory: &M, seq: Seq) -> Option<u32> {
        self.chunks.last()?;
        if seq == Seq::ZERO {
            return None;
        }
        let run = self.run_at(memory, self.find(memory, seq)?)?;
        Some(run.offset + run.length)
    }

    /// Takes over what was collected behind this one's end: its runs where the last chunk has room for all of them, else its chunks. A view adds
    /// one entry to a log that has all else, and with a chunk for that the room behind it would be lost in every view.
    ///
    /// # Panics
    /// If it does not go on from here.
    pub(crate) fn join<M: Memory>(&mut self, memory: &mut M, mut beside: Log) {
        assert!(beside.open.is_none() && self.open.is_none());
        let length = usize::try_from(beside.run_bytes).unwrap_or(usize::MAX);
        if self.chunks.last().is_some_and(|chunk| chunk.has_room(length)) {
            self.move_in(memory, &beside);
            return beside.release(memory);
        }
        self.chunks.append(&mut beside.chunks);
        self.bytes += beside.bytes;
        self.run_bytes += beside.run_bytes;
        self.sealed_bytes += beside.sealed_bytes;
        self.warmed = 0;
        self.sealed_seq = beside.sealed_seq;
        self.last_hash = beside.last_hash;
    }

    /// The same runs, for which the last chunk has room.
    fn move_in<M: Memory>(&mut self, memory: &mut M, beside: &Log) {
        let mut next = beside.run_at(memory, Position::default());
        while let Some(run) = next {
            let bytes = &memory.bytes(run.chunk)[run.offset as usize..(run.offset + run.length) as usize];
            let bytes = bytes.to_vec();
            let taken = self.take_any_run(memory, &bytes);
            assert!(taken.is_ok(), "it goes on from here, and there is room: {taken:?}");
            next = beside.run_at(memory, run.next);
        }
        assert_eq!((self.sealed_seq, self.last_hash), (beside.sealed_seq, beside.last_hash));
    }
}

impl Chunk {
    fn cut<M: Memory>(&mut self, memory: &M, end: u32) {
        self.used = end;
        self.marks.forget_from(memory.bytes(self.id), end);
        self.live = None;
    }
}
