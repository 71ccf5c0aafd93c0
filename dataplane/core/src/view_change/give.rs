//! The giving side of a transfer: portions of logs and states, a few pieces of each with every frame that leaves.
//!
//! What is asked for waits with its link and goes out behind the runs, portion by portion in turn, so that groups which recover together
//! share the link and foreground runs find little before them. Nothing is queued: a piece is read from the log, or from the kept state, at
//! the moment at which its frame leaves. It does not know what the asker wants it for. **Invariant:** a piece is given only while the view
//! that both promised stands, from the log that the asker named.

use std::collections::VecDeque;

use waterpark_wire::FrameError;
use waterpark_wire::item::{Item, ItemHeader};
use waterpark_wire::link::{
    self, FETCH_ANEW, FETCH_DONE, FETCH_STATE, Mark, PIECE_LAST, PIECE_STATE, Piece, StatePart, join_hash,
};

use super::Branch;
use super::throttle::{Had, Window};
use crate::behaviour::Behaviour;
use crate::group::Role;
use crate::ids::{GroupId, LinkId, Member, Seq, View};
use crate::memory::Memory;
use crate::rules::Rules;
use crate::shard::Shard;
use crate::time::Now;

/// A part of a state: with its heads it fits into one item that need not travel in parts itself.
const STATE_PART_BYTES: usize = 48 << 10;

/// What one member asked for and has not been given whole.
#[derive(Debug)]
pub(crate) struct Portion {
    index: usize,
    group: GroupId,
    view: View,
    log_view: View,
    to: Member,
    /// The last seq that both logs hold.
    after: Seq,
    /// The last seq that was given.
    given: Seq,
    /// The seq up to which the asker's state was computed: what is applied on top of it must have its messages.
    base: Seq,
    wants_state: bool,
    wants_it_anew: bool,
    /// The state of which the asker has something, and how much.
    state: (u128, u64),
    /// The part of which state comes next, while one is given.
    part: Option<(u128, usize)>,
    had: Had,
    /// Bytes that it may still have; `None` before it begins.
    left: Option<usize>,
    bytes: usize,
}

/// What is given over one link.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    portions: VecDeque<Portion>,
    window: Window,
}

impl Transfers {
    /// Whether no portion is to be given.
    pub(crate) fn is_empty(&self) -> bool {
        self.portions.is_empty()
    }

    /// A group went to another shard: who asked for something of it asks again.
    pub(crate) fn forget(&mut self, group: GroupId) {
        self.portions.retain(|portion| portion.group != group);
    }

    /// The link is gone, and with it what was under way.
    pub(crate) fn reset(&mut self) {
        *self = Transfers::default();
    }

    #[cfg(test)]
    pub(crate) fn under_way(&self) -> usize {
        self.window.under_way()
    }
}

/// What a turn of a portion came to.
enum Given {
    /// It cannot begin yet.
    Nothing,
    /// So many bytes, and more is left of it.
    Some(usize),
    /// So many bytes, and that was all of it.
    All(usize),
    /// The view has changed, or the state went: the asker asks again if it still waits.
    Gone,
}

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// Another member asks for this one's log.
    pub(crate) fn on_fetch(&mut self, now: Now, from: Member, item: &Item<'_>) -> Result<(), FrameError> {
        let (fetch, marks) = link::fetch(item)?;
        let id = GroupId(item.header.group.get());
        let (Some(index), Some(link)) = (self.group_index(id), self.link_to(from, id)) else {
            return Ok(());
        };
        let flags = item.header.flags;
        let state = (join_hash(fetch.state_hash), fetch.state_bytes.get());
        let had = (Seq(marks[0].seq.get()), state.1);
        let is_done = flags & FETCH_DONE != 0;
        let view = View(fetch.view.get());
        let window_max = self.settings.limits.transfer_window_bytes_max;
        let at = (now.monotonic_ns, self.ack_ns());
        let transfers = &mut self.links[link.0 as usize].transfers;
        transfers
            .window
            .answered(id, view, (!is_done).then_some(had), at, window_max);
        if is_done {
            self.snapshots.forget_upto(id, view, from);
            return Ok(());
        }
        let group = &mut self.groups[index];
        if view < group.promised {
            let promised = group.promised;
            self.nack(from, id, view, promised);
            return Ok(());
        }
        let log_view = View(fetch.log_view.get());
        if group.promised != view || group.log_view != log_view || group.role == Role::Quarantined {
            return Ok(());
        }
        self.learn_commit(index, Seq(fetch.commit.get()), marks);
        self.tell_learner(index, from);
        let group = &self.groups[index];
        let holds = |mark: &&Mark| group.log.hash_at(&self.memory, Seq(mark.seq.get())) == Some(join_hash(mark.hash));
        let Some(after) = marks.iter().find(holds).map(|mark| Seq(mark.seq.get())) else {
            return Ok(());
        };
        let wants_state = flags & FETCH_STATE != 0;
        let applied = Seq(fetch.applied.get());
        let has_state = state.0 != 0 && !wants_state;
        let portion = Portion {
            index,
            group: id,
            view,
            log_view,
            to: from,
            after,
            given: after,
            // A state that is ahead of the point where the logs part is of another log, unless it came from here.
            base: if applied <= after || has_state {
                applied
            } else {
                Seq::ZERO
            },
            wants_state,
            wants_it_anew: flags & FETCH_ANEW != 0,
            state,
            part: None,
            had,
            left: None,
            bytes: 0,
        };
        self.ask_portion(link, portion);
        Ok(())
    }

    /// A portion waits its turn. Whoever asks again for what waits already hears that it will come.
    fn ask_portion(&mut self, link: LinkId, portion: Portion) {
        let row = &mut self.links[link.0 as usize];
        let queued = row
            .transfers
            .portions
            .iter_mut()
            .find(|queued| queued.group == portion.group);
        let Some(queued) = queued else {
            return row.transfers.portions.push_back(portion);
        };
        let last_seq = self.groups[portion.index].log.sealed_seq();
        portion.piece(0, last_seq, 0).push(row.outbox.item(), &[]);
        let is_same = queued.view == portion.view && queued.to == portion.to;
        if queued.left.is_some() && is_same {
            return;
        }
        row.transfers.window.drop_portion(portion.group);
        *queued = portion;
    }

    /// How long an ack takes here where nothing waits, about, in ns: what is written is held by two others, so it is the way to the nearest node but
    /// one. 0 before that is known.
    fn ack_ns(&self) -> u64 {
        let (mut nearest, mut next) = ((u64::MAX, None), u64::MAX);
        for link in self.links.iter().filter(|link| link.up.is_some()) {
            let Some(took_ns) = link.way.took_ns() else { continue };
            if nearest.1 == Some(link.peer) {
                nearest.0 = nearest.0.min(took_ns);
            } else if took_ns < nearest.0 {
                next = next.min(nearest.0);
                nearest = (took_ns, Some(link.peer));
            } else {
                next = next.min(took_ns);
            }
        }
        if next == u64::MAX { 0 } else { next }
    }

    /// What the asker knows to be committed is so, if it lies in this log too: a state that is given is never behind what the asker may
    /// have swept.
    fn learn_commit(&mut self, index: usize, commit: Seq, marks: &[Mark]) {
        let group = &mut self.groups[index];
        if group.role == Role::Writer {
            return group.log.seal(&mut self.memory, group.log_view);
        }
        let known = marks.iter().find(|mark| Seq(mark.seq.get()) == commit);
        let known = known.map(|mark| join_hash(mark.hash));
        if known.is_some() && group.log.hash_at(&self.memory, commit) == known {
            group.commit = group.commit.max(commit);
        }
        self.apply(index);
    }

    /// Puts pieces behind what a frame has already: a few where runs are under way on its link, else as many as a frame takes.
    pub(crate) fn add_pieces(&mut self, now: Now, link: usize, has_runs: bool) {
        let row = &self.links[link];
        if row.transfers.portions.is_empty() {
            return;
        }
        let limits = &self.settings.limits;
        let slice = limits.transfer_frame_bytes;
        let is_in_use = has_runs || row.unacked() > 0 || !row.queue.is_empty();
        let mut left = if is_in_use { slice } else { limits.link_frame_bytes };
        let mut waited = 0;
        while left > 0 && waited < self.links[link].transfers.portions.len() && !self.links[link].outbox.has_any_long()
        {
            let Some(mut portion) = self.links[link].transfers.portions.pop_front() else {
                break;
            };
            let given = self.give(now, link, &mut portion, left.min(slice));
            let transfers = &mut self.links[link].transfers;
            let bytes = match given {
                Given::Nothing => {
                    waited += 1;
                    transfers.portions.push_back(portion);
                    continue;
                }
                Given::Some(bytes) => {
                    transfers.portions.push_back(portion);
                    bytes
                }
                Given::All(bytes) => {
                    transfers.window.left(portion.group, portion.bytes, now.monotonic_ns);
                    bytes
                }
                Given::Gone => {
                    transfers.window.drop_portion(portion.group);
                    0
                }
            };
            waited = 0;
            left = left.saturating_sub(bytes);
        }
    }

    /// One turn of a portion: pieces of about so many bytes, at least one.
    fn give(&mut self, now: Now, link: usize, portion: &mut Portion, bytes_max: usize) -> Given {
        let group = &self.groups[portion.index];
        let stands = group.id == portion.group && group.promised == portion.view && group.log_view == portion.log_view;
        if !stands || group.role == Role::Quarantined {
            return Given::Gone;
        }
        if portion.left.is_none() {
            portion.left = self.begin_portion(now, link, portion);
        }
        let Some(left) = portion.left else {
            return Given::Nothing;
        };
        let before = portion.bytes;
        if !self.give_state(link, portion, bytes_max.min(left)) {
            return Given::Gone;
        }
        let given = portion.bytes - before;
        if portion.part.is_none() && portion.left > Some(0) {
            // A sweep has begun since that takes what the asker would have to apply.
            if portion.base < self.groups[portion.index].retained.upto {
                return Given::Gone;
            }
            self.give_runs(link, portion, bytes_max.saturating_sub(given));
        }
        let given = portion.bytes - before;
        if portion.left == Some(0) {
            Given::All(given)
        } else {
            Given::Some(given)
        }
    }

    /// The next parts of the state, if one is given; false if it is not kept any more.
    fn give_state(&mut self, link: usize, portion: &mut Portion, bytes_max: usize) -> bool {
        let last_seq = self.groups[portion.index].log.sealed_seq();
        let outbox = &mut self.links[link].outbox;
        let mut free = bytes_max;
        while let Some((hash, offset)) = portion.part
            && free > 0
        {
            let kept = self.snapshots.find(portion.group, portion.view, portion.to);
            let Some(kept) = kept.filter(|kept| kept.hash == hash) else {
                return false;
            };
            let rest = &kept.bytes[offset..];
            let part = &rest[..rest.len().min(free).min(STATE_PART_BYTES)];
            free -= part.len();
            portion.part = (part.len() < rest.len()).then_some((hash, offset + part.len()));
            if portion.part.is_none() {
                portion.base = kept.seq;
            }
            let is_last = portion.count(part.len());
            let mut tail = Vec::with_capacity(size_of::<StatePart>() + part.len());
            kept.head().push(&mut tail, part);
            portion
                .piece(PIECE_STATE | is_last, last_seq, offset)
                .push(outbox.item(), &tail);
        }
        true
    }

    /// The next runs, at least one; where nothing is left of the log that is said.
    fn give_runs(&mut self, link: usize, portion: &mut Portion, bytes_max: usize) {
        let log = &self.groups[portion.index].log;
        let last_seq = log.sealed_seq();
        let outbox = &mut self.links[link].outbox;
        let first = log.find(&self.memory, portion.given.next());
        let mut next = first.and_then(|at| log.run_at(&self.memory, at));
        if next.is_none() {
            portion.left = Some(0);
            portion.piece(PIECE_LAST, last_seq, 0).push(outbox.item(), &[]);
        }
        let mut given = 0;
        while let Some(run) = next
            && (given < bytes_max || given == 0)
            && portion.left > Some(0)
        {
            let bytes = &self.memory.bytes(run.chunk)[run.offset as usize..(run.offset + run.length) as usize];
            given += bytes.len();
            portion.given = run.last_seq;
            next = log.run_at(&self.memory, run.next);
            let mut is_last = portion.count(bytes.len());
            if next.is_none_or(|next| portion.left < Some(next.length as usize)) {
                portion.left = Some(0);
                is_last = PIECE_LAST;
            }
            let mut whole = Vec::with_capacity(size_of::<Piece>() + bytes.len());
            portion.piece(is_last, last_seq, 0).push(&mut whole, bytes);
            let item = &whole[..size_of::<Piece>() + bytes.len()];
            outbox.beside(item.len(), |to| to.extend_from_slice(item));
        }
    }

    /// Finds room in the window, and sees to it that the state is there if it has to go with the log. How many bytes the portion may have.
    fn begin_portion(&mut self, now: Now, link: usize, portion: &mut Portion) -> Option<usize> {
        let limits = &self.settings.limits;
        let (least, kept_max) = (limits.transfer_portion_bytes, limits.states_kept_bytes_max);
        let transfers = &mut self.links[link].transfers;
        let waiting = 1 + transfers.portions.iter().filter(|other| other.left.is_none()).count();
        let room = transfers.window.room(now.monotonic_ns, least, waiting)?;
        let upto = self.groups[portion.index].retained.upto;
        if portion.wants_state || portion.base < upto {
            let (id, view, to) = (portion.group, portion.view, portion.to);
            if std::mem::take(&mut portion.wants_it_anew) {
                self.snapshots.forget(id, to);
            }
            // One that is older than what was swept since is of no use: what follows it has lost messages.
            let is_good = self
                .snapshots
                .ask(now, id, view, to)
                .is_some_and(|kept| kept.seq >= upto);
            if !is_good {
                self.snapshots.forget(id, to);
                if !self.snapshots.has_room(kept_max) {
                    return None;
                }
                let group = &self.groups[portion.index];
                let seq = group.last_effect();
                if seq > group.commit {
                    self.counters.branches.took(Branch::StateGivenAhead);
                }
                let bytes = self.save_state(portion.index);
                self.snapshots.keep(now, id, view, to, seq, bytes);
            }
            let kept = self.snapshots.find(id, view, to).expect("found or made above");
            let has = usize::try_from(portion.state.1).unwrap_or(usize::MAX);
            let goes_on = kept.hash == portion.state.0 && has < kept.bytes.len();
            portion.part = Some((kept.hash, if goes_on { has } else { 0 }));
        }
        self.links[link]
            .transfers
            .window
            .begin(portion.group, portion.view, portion.had, room);
        Some(room)
    }
}

impl Portion {
    /// So many bytes more were given; the flag of the piece, if those were the last ones.
    fn count(&mut self, bytes: usize) -> u8 {
        self.bytes += bytes;
        self.left = self.left.map(|left| left.saturating_sub(bytes));
        if self.left == Some(0) { PIECE_LAST } else { 0 }
    }

    fn piece(&self, flags: u8, last_seq: Seq, offset: usize) -> Piece {
        Piece {
            item: ItemHeader {
                flags,
                group: self.group.0.into(),
                ..ItemHeader::default()
            },
            view: self.view.0.into(),
            after: self.after.0.into(),
            last_seq: last_seq.0.into(),
            offset: (offset as u64).into(),
        }
    }
}
