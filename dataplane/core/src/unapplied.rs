//! What a follower has taken and not applied: where each entry lies and whose it is, noted while its bytes were near.
//!
//! By the time of the commit the log has left the caches. An entry's place depends on the length of the one before it, so walking the log
//! would wait for one far line after the other; from this list all of them, and the rows of their actors, are asked for at once.
//!
//! Of a log that came whole, as a new member's does, only the beginning is listed: what lies behind it is walked a stretch at a time, shortly
//! before it takes effect.
//!
//! **Invariant:** runs and entries stand in the order of their seqs, without a hole, beginning behind the last applied one, and up to the end of
//! the log unless the list is partial.

use std::collections::VecDeque;

use waterpark_wire::run::RunView;

use crate::ids::Seq;
use crate::memory::{ChunkId, Memory};

/// One run that was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) chunk: ChunkId,
    pub(crate) first_seq: u64,
    pub(crate) count: u16,
    pub(crate) base_time_ms: u64,
}

impl Run {
    pub(crate) fn last_seq(&self) -> Seq {
        Seq(self.first_seq + u64::from(self.count) - 1)
    }
}

/// Whose an entry is, and where it begins in its run's chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) actor: u32,
    pub(crate) offset: u32,
}

/// Runs that a follower's list has room for from the beginning.
const RUNS: usize = 64;
/// And entries: what a group has under way at full load, so that a list need not grow in the midst of it.
const ENTRIES: usize = 512;

/// Runs and entries that wait for their commit.
#[derive(Debug, Default)]
pub(crate) struct Unapplied {
    runs: VecDeque<Run>,
    entries: VecDeque<Entry>,
    /// The log has more behind what is listed.
    is_partial: bool,
}

impl Unapplied {
    /// Nothing waits yet, and there is room for what usually will.
    pub(crate) fn with_room() -> Unapplied {
        Unapplied {
            runs: VecDeque::with_capacity(RUNS),
            entries: VecDeque::with_capacity(ENTRIES),
            is_partial: false,
        }
    }

    /// Nothing is listed of a log that has something.
    pub(crate) fn of_log() -> Unapplied {
        Unapplied {
            is_partial: true,
            ..Unapplied::with_room()
        }
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty() && !self.is_partial
    }

    /// Whether the next stretch of the log is to be listed now.
    pub(crate) fn wants_more(&self) -> bool {
        self.is_partial && self.runs.is_empty()
    }

    /// The log was walked on: up to its end, or not.
    pub(crate) fn listed(&mut self, is_partial: bool) {
        self.is_partial = is_partial;
    }

    /// Whether so many entries are listed as are at once.
    pub(crate) fn is_stretch(&self) -> bool {
        self.entries.len() >= ENTRIES
    }

    /// Bytes set aside for the lists.
    pub(crate) fn kept_bytes(&self) -> u64 {
        (self.runs.capacity() * size_of::<Run>() + self.entries.capacity() * size_of::<Entry>()) as u64
    }

    /// A run was taken; it lies in this chunk, its entries from `offset` on. Where the list is partial it is found in the log later.
    #[inline]
    pub(crate) fn took(&mut self, chunk: ChunkId, offset: u32, run: &RunView<'_>) {
        if !self.is_partial {
            self.list(chunk, offset, run);
        }
    }

    /// The next run of the log.
    pub(crate) fn list(&mut self, chunk: ChunkId, offset: u32, run: &RunView<'_>) {
        self.runs.push_back(Run {
            chunk,
            first_seq: run.header.first_seq.get(),
            count: run.header.item.count.get(),
            base_time_ms: run.header.base_time_ms.get(),
        });
        let mut offset = offset;
        for header in run.headers() {
            let actor = header.actor.get();
            self.entries.push_back(Entry { actor, offset });
            offset += header.length.get();
        }
    }

    /// How many entries of whole runs are committed and listed: no more runs than are needed for so many.
    pub(crate) fn committed(&self, commit: Seq, most: usize) -> usize {
        let mut count = 0;
        for run in self.runs.iter().take_while(|run| run.last_seq() <= commit) {
            if count >= most {
                break;
            }
            count += usize::from(run.count);
        }
        count
    }

    /// Asks for the beginnings of so many entries, and tells `row` the actor of each.
    pub(crate) fn ask<M: Memory>(&self, memory: &M, count: usize, row: impl Fn(u32)) {
        let mut entries = self.entries.iter().take(count);
        for run in &self.runs {
            let Some(bytes) = (entries.len() > 0).then(|| memory.bytes(run.chunk)) else {
                break;
            };
            for entry in entries.by_ref().take(usize::from(run.count)) {
                row(entry.actor);
                M::ask_ahead(&bytes[entry.offset as usize]);
            }
        }
    }

    /// Takes the first run out, with the offsets of its entries, in the order of their seqs.
    pub(crate) fn next(&mut self) -> Option<(Run, impl Iterator<Item = Entry> + '_)> {
        let run = self.runs.pop_front()?;
        Some((run, self.entries.drain(..usize::from(run.count))))
    }

    /// Begins anew at the front of its memory once nothing waits.
    pub(crate) fn rest(&mut self) {
        if self.runs.is_empty() {
            self.runs.clear();
            self.entries.clear();
        }
    }
}
