//! What is left of runs that lost messages, moved together: chunk after chunk is written anew and given back.
//!
//! Runs keep their bounds, seqs, times and hashes, and their order; so every seq is found as before, and a reader sees no difference but
//! that messages are gone. Which ones go is decided elsewhere. **Invariant:** after each run that was moved the log is whole, so moving
//! may stop at any run for want of memory and go on later; bytes that a send may gather from are never written.

use waterpark_wire::run::{EntryHeader, EntryView, RUN_HEADER, RunHeader, RunView, SWEPT};
use waterpark_wire::sweep::{left_length, write_left};

use super::{CHUNK_BYTES_MIN, Chunk, Log};
use crate::behaviour::KindId;
use crate::ids::Seq;
use crate::memory::{Memory, MemoryFull};

/// Which kinds have messages left in a chunk. A sweep that would touch none of them passes the chunk by, without reading it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Live {
    /// Entries of the chunk up to this seq are spoken of.
    pub(crate) upto: Seq,
    /// Each kind, with a group time in ms before which none of its messages was logged. It may name a kind too many, never one too few.
    pub(crate) since: Vec<(KindId, u64)>,
}

impl Live {
    /// A message of a kind is left.
    pub(crate) fn note(&mut self, kind: KindId, time_ms: u64) {
        match self.since.iter_mut().find(|(other, _)| *other == kind) {
            Some((_, since)) => *since = time_ms.min(*since),
            None => self.since.push((kind, time_ms)),
        }
    }

    fn join(&mut self, other: &Live, upto: Seq) {
        self.upto = upto;
        other.since.iter().for_each(|(kind, since)| self.note(*kind, *since));
    }
}

/// Runs of one chunk, from its first on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    index: usize,
    end: u32,
    /// Seq of its first entry.
    pub(crate) first: Seq,
    /// Seq of its last entry.
    pub(crate) last: Seq,
    /// Its length in bytes.
    pub(crate) bytes: u32,
    /// Nothing but these runs keeps the chunk, and much of it is empty.
    pub(crate) is_hollow: bool,
}

impl Log {
    /// The runs from `from` on, which begins a chunk, as far as they lie in one chunk and none goes beyond `upto`.
    pub(crate) fn stretch<M: Memory>(&self, memory: &M, from: Seq, upto: Seq) -> Option<Stretch> {
        let before = self.chunks.partition_point(|chunk| chunk.first_seq < from);
        let ahead = self.chunks[before..]
            .iter()
            .position(|chunk| chunk.start < chunk.used)?;
        let index = before + ahead;
        let chunk = &self.chunks[index];
        let next = self.chunks[index + 1..].first();
        let chunk_last = next.map_or(self.sealed_seq, |next| Seq(next.first_seq.0 - 1));
        let (mut end, mut last) = (chunk.used, chunk_last);
        if chunk_last > upto {
            (end, last) = (chunk.start, Seq(chunk.first_seq.0 - 1));
            while end < chunk.used {
                let header = RunHeader::read(&memory.bytes(chunk.id)[end as usize..]);
                let run_last = header.first_seq.get() + u64::from(header.item.count.get()) - 1;
                if run_last > upto.0 {
                    break;
                }
                end += header.item.length.get();
                last = Seq(run_last);
            }
        }
        let is_whole = next.is_some() && end == chunk.used;
        (end > chunk.start).then_some(Stretch {
            index,
            end,
            first: chunk.first_seq,
            last,
            bytes: end - chunk.start,
            is_hollow: is_whole && chunk.start >= chunk.length / 4,
        })
    }

    /// Hands on each entry's header with its seq and its group time in ms, in order of seq.
    pub(crate) fn headers<M: Memory>(
        &self,
        memory: &M,
        stretch: &Stretch,
        mut each: impl FnMut(Seq, u64, &EntryHeader),
    ) {
        let chunk = &self.chunks[stretch.index];
        let mut rest = &memory.bytes(chunk.id)[chunk.start as usize..stretch.end as usize];
        while !rest.is_empty() {
            let length = RunHeader::read(rest).item.length.get() as usize;
            let run = RunView::framed(&rest[..length]).expect("it was checked when it came to rest");
            let base_time_ms = run.header.base_time_ms.get();
            for (seq, header) in (run.header.first_seq.get()..).zip(run.headers()) {
                each(Seq(seq), base_time_ms + u64::from(header.time_delta_ms.get()), header);
            }
            rest = &rest[length..];
        }
    }

    /// What is known of the messages in a stretch, if it is known of all of them.
    pub(crate) fn live(&self, stretch: &Stretch) -> Option<&Live> {
        let live = self.chunks[stretch.index].live.as_ref();
        live.filter(|live| live.upto >= stretch.last)
    }

    /// What was found out about the messages of a stretch that stays where it is.
    pub(crate) fn learn(&mut self, stretch: &Stretch, live: &Live) {
        self.chunks[stretch.index].live = Some(live.clone());
    }

    /// A time before which no message was logged of those of a kind that are known to be left.
    pub(crate) fn since(&self, kind: KindId) -> Option<u64> {
        let known = self.chunks.iter().filter_map(|chunk| chunk.live.as_ref());
        let of_kind = known.flat_map(|live| &live.since).filter(|(other, _)| *other == kind);
        of_kind.map(|(_, since)| *since).min()
    }

    /// Moves the runs of a stretch behind those before them, the entries that `drops` names without message and event. About
    /// `bytes_left` will be left of it, and `live` says of what. Positions are of no more use.
    ///
    /// # Errors
    /// [`MemoryFull`], with the first seq that was not moved.
    pub(crate) fn rewrite<M: Memory>(
        &mut self,
        memory: &mut M,
        stretch: &Stretch,
        bytes_left: usize,
        live: &Live,
        drops: impl Fn(Seq) -> bool,
    ) -> Result<(), (Seq, MemoryFull)> {
        let mut index = stretch.index;
        let mut bytes_left = bytes_left;
        while self.chunks[index].start < stretch.end {
            let source = &self.chunks[index];
            let first = source.first_seq;
            let run = &memory.bytes(source.id)[source.start as usize..stretch.end as usize];
            let (length, last) = lay_out(run, &drops, &mut self.scratch);
            let bytes = self.scratch.len();
            if !self.has_room_before(index, bytes) {
                let wanted = bytes_left.next_power_of_two();
                let wanted = wanted.clamp(CHUNK_BYTES_MIN, self.next_chunk_bytes());
                match self.reserve(memory, wanted, bytes, first) {
                    Ok(chunk) => self.chunks.insert(index, chunk),
                    Err(full) => {
                        self.chunks[index].forget_moved(memory);
                        return Err((first, full));
                    }
                }
                let made = Live {
                    upto: last,
                    since: live.since.clone(),
                };
                self.chunks[index].live = Some(made);
                index += 1;
            }
            let target = &mut self.chunks[index - 1];
            let at = target.used as usize;
            memory.bytes_mut(target.id)[at..at + bytes].copy_from_slice(&self.scratch);
            target.took(memory, first, u32::try_from(bytes).expect("a run only becomes shorter"));
            if let Some(known) = &mut target.live {
                known.join(live, last);
            }
            let source = &mut self.chunks[index];
            source.start += length;
            source.first_seq = last.next();
            bytes_left = bytes_left.saturating_sub(bytes);
            self.run_bytes -= u64::from(length) - bytes as u64;
        }
        self.chunks[index].forget_moved(memory);
        self.release_empty(memory);
        Ok(())
    }

    fn has_room_before(&self, index: usize, bytes: usize) -> bool {
        let before = index.checked_sub(1).map(|before| &self.chunks[before]);
        before.is_some_and(|chunk| chunk.has_room(bytes))
    }

    /// Gives back chunks from which everything has moved, but the last one: entries are appended there.
    fn release_empty<M: Memory>(&mut self, memory: &mut M) {
        let Some(last) = self.chunks.len().checked_sub(1) else {
            return;
        };
        let mut index = 0;
        let bytes = &mut self.bytes;
        self.chunks.retain(|chunk| {
            let is_kept = chunk.start < chunk.used || index == last;
            index += 1;
            if !is_kept {
                *bytes -= u64::from(chunk.length);
                memory.release(chunk.id);
            }
            is_kept
        });
    }
}

impl Chunk {
    /// Runs before its new start are found elsewhere, and what was known of them stands there.
    fn forget_moved<M: Memory>(&mut self, memory: &mut M) {
        let first = (self.start < self.used).then_some(self.first_seq);
        self.marks.forget_before(memory.bytes_mut(self.id), self.start, first);
        self.live = None;
    }
}

/// Writes the first run of `runs` to `out` as it will be. Returns how long it was, and its last seq.
fn lay_out(runs: &[u8], drops: &impl Fn(Seq) -> bool, out: &mut Vec<u8>) -> (u32, Seq) {
    let header = RunHeader::read(runs);
    let length = header.item.length.get();
    let run = RunView::framed(&runs[..length as usize]).expect("it was checked when it came to rest");
    out.clear();
    out.extend_from_slice(&runs[..RUN_HEADER]);
    let mut rest = &runs[RUN_HEADER..length as usize];
    let mut flags = header.item.flags;
    for seq in header.first_seq.get()..=run.last_seq() {
        let (entry, tail) = EntryView::new_checked(rest).expect("it was checked when it came to rest");
        let own = &rest[..rest.len() - tail.len()];
        if drops(Seq(seq)) {
            let at = out.len();
            out.resize(at + left_length(&entry), 0);
            write_left(&entry, &mut out[at..]);
            flags |= SWEPT;
        } else {
            out.extend_from_slice(own);
        }
        rest = tail;
    }
    let mut header = header;
    header.item.flags = flags;
    header.item.length = u32::try_from(out.len()).expect("a run only becomes shorter").into();
    header.put(out);
    (length, Seq(run.last_seq()))
}
