//! The asking side of a transfer: a log is collected portion by portion, from the last point that both members hold, with the state that
//! goes with it part by part.
//!
//! Whoever lacks it asks, so nothing is sent that nobody waits for, and a lost part is asked for again. It does not know what the log is
//! for. **Invariant:** what comes is checked by the chain of hashes from a point that the asker holds itself, and a state by its own hash.

use waterpark_wire::FrameError;
use waterpark_wire::item::{Item, ItemHeader};
use waterpark_wire::link::{
    self, FETCH_ANEW, FETCH_DONE, FETCH_STATE, Fetch, MARKS_MAX, Mark, PIECE_LAST, PIECE_STATE, Piece, StatePart,
    split_hash,
};

use waterpark_wire::run::{DROPPED, EntryHeader, RunView};

use super::snapshot::{PartTaken, StateIntake};
use super::{ASK_AGAIN_MS, FULL_AGAIN_MS, Intake};
use crate::behaviour::Behaviour;
use crate::ids::{GroupId, Member, Seq, View};
use crate::log::{Log, NotTaken};
use crate::memory::Memory;
use crate::rules::Rules;
use crate::shard::Shard;
use crate::time::{MS, Now};

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// Asks for what is missing, from the last run that came, or from where the two logs part.
    pub(crate) fn fetch(&mut self, now: Now, index: usize) {
        let group = &mut self.groups[index];
        let Some(intake) = &mut group.intake else { return };
        intake.asked_ns = now.monotonic_ns;
        intake.asked_at = intake.progress();
        let mut marks = Vec::new();
        let is_ahead = intake.state.is_none() && is_bound(group.applied, group.commit, group.retained.upto);
        let lacks = intake.state.as_ref().is_some_and(|state| !state.is_whole());
        let refused = std::mem::take(&mut intake.refused_state);
        let mut applied = group.applied;
        match &intake.beside {
            Some((_, beside)) => {
                marks.push(mark(beside.sealed_seq(), beside.last_hash()));
                // With the state that came, or with what came before it, the rest can be computed.
                applied = intake.state.as_ref().map_or(beside.sealed_seq(), |state| state.seq);
            }
            None => {
                own_marks(&group.log, &self.memory, group.commit, &mut marks);
                intake.parts_at = marks.iter().map(|mark| Seq(mark.seq.get())).collect();
            }
        }
        let wants = if is_ahead || lacks || refused { FETCH_STATE } else { 0 };
        let flags = wants | if refused { FETCH_ANEW } else { 0 };
        let state = intake.state.as_ref();
        let fetch = Fetch {
            item: ItemHeader {
                flags,
                count: u16::try_from(marks.len()).expect("few").into(),
                group: group.id.0.into(),
                ..ItemHeader::default()
            },
            view: intake.view.0.into(),
            log_view: intake.log_view.0.into(),
            applied: applied.0.into(),
            commit: group.commit.0.into(),
            state_hash: split_hash(state.map_or(0, |state| state.hash)),
            state_bytes: state.map_or(0, |state| state.bytes.len() as u64).into(),
            reserved: 0.into(),
        };
        let (to, id) = (intake.from, group.id);
        if let Some(bytes) = self.item_to(to, id) {
            fetch.push(bytes, link::mark_bytes(&marks));
        }
    }

    /// Everything came, or there is no room for it: its giver need not keep anything for it, and has room for others.
    fn say_done(&mut self, index: usize) {
        let group = &self.groups[index];
        let Some(intake) = &group.intake else { return };
        let Some((_, beside)) = &intake.beside else { return };
        let end = mark(beside.sealed_seq(), beside.last_hash());
        let (to, id, view) = (intake.from, group.id, intake.view);
        self.let_go(to, id, view, end);
    }

    /// Nothing more of a view is asked for: else a portion that nobody answers keeps its giver's window from other groups.
    fn let_go(&mut self, to: Member, group: GroupId, view: View, end: Mark) {
        let fetch = Fetch {
            item: ItemHeader {
                flags: FETCH_DONE,
                count: 1.into(),
                group: group.0.into(),
                ..ItemHeader::default()
            },
            view: view.0.into(),
            ..Fetch::default()
        };
        if let Some(bytes) = self.item_to(to, group) {
            fetch.push(bytes, link::mark_bytes(&[end]));
        }
    }

    /// An intake that hears nothing asks again.
    pub(crate) fn tick_intake(&mut self, now: Now, index: usize) {
        let Some(intake) = &self.groups[index].intake else {
            return;
        };
        let again_ms = if intake.is_full { FULL_AGAIN_MS } else { ASK_AGAIN_MS };
        let quiet_ns = now.monotonic_ns.saturating_sub(intake.asked_ns.max(intake.heard_ns));
        if quiet_ns >= again_ms * MS {
            self.fetch(now, index);
        }
    }

    /// A part of the log that is collected here.
    pub(crate) fn on_piece(&mut self, now: Now, from: Member, item: &Item<'_>) -> Result<(), FrameError> {
        let (piece, bytes) = Piece::new_checked(item)?;
        let Some(index) = self.group_index(GroupId(item.header.group.get())) else {
            return Ok(());
        };
        let group = &mut self.groups[index];
        let id = group.id;
        let view = View(piece.view.get());
        let flags = item.header.flags;
        let is_asked = |intake: &&mut Box<Intake>| intake.view == view && intake.from == from;
        let Some(intake) = group.intake.as_mut().filter(is_asked) else {
            if flags & PIECE_LAST != 0 {
                self.let_go(from, id, view, mark(Seq::ZERO, 0));
            }
            return Ok(());
        };
        intake.heard_ns = now.monotonic_ns;
        intake.giver_seq = Some(Seq(piece.last_seq.get()));
        let after = Seq(piece.after.get());
        if intake.beside.is_none() {
            // The giver chose one of the marks that were sent: a point of this very log, with everything committed before it.
            let hash = group.log.hash_at(&self.memory, after);
            let Some(hash) = hash.filter(|_| intake.parts_at.contains(&after)) else {
                return Ok(());
            };
            intake.beside = Some((after, Log::behind(id, after, hash)));
        }
        if flags & PIECE_STATE != 0 {
            let offset = piece.offset.get();
            let (head, part) = StatePart::new_checked(bytes, offset)?;
            if StateIntake::take(&mut intake.state, head, offset, part) == PartTaken::Refused {
                // Asked for anew, but not at once: whoever gave it may give the like again.
                intake.refused_state = true;
                self.counters.states_refused += 1;
                return Ok(());
            }
        } else if !bytes.is_empty() {
            let (_, beside) = intake.beside.as_mut().expect("made above");
            let computed = intake.state.as_ref().filter(|state| state.is_whole());
            if last_dropped(bytes)? > computed.map(|state| state.seq) {
                // A frame with a part of the state was lost: without it nobody can tell any more what this run did.
                intake.refused_state |= intake.state.is_none();
            } else {
                match beside.take_any_run(&mut self.memory, bytes) {
                    Ok(_) => intake.is_full = false,
                    Err(NotTaken::Gap) => {}
                    Err(NotTaken::Full) => {
                        self.say_done(index);
                        self.lacks_room(now, index);
                        return Ok(());
                    }
                    Err(NotTaken::Malformed(error)) => return Err(error),
                    Err(NotTaken::Contradicts) => {
                        // A late part of an older answer: begun again from the marks.
                        self.restart_intake(index);
                        return Ok(());
                    }
                }
            }
        }
        if flags & PIECE_LAST != 0 {
            self.on_portion_end(now, index);
        }
        Ok(())
    }

    fn on_portion_end(&mut self, now: Now, index: usize) {
        let group = &mut self.groups[index];
        let Some(intake) = &mut group.intake else { return };
        let Some((after, beside)) = &intake.beside else { return };
        // The state was asked for, and came in a frame that was lost.
        intake.refused_state |= intake.state.is_none() && is_bound(group.applied, *after, group.retained.upto);
        let reached = beside.sealed_seq();
        // A state may be of an entry behind those that are needed.
        let lacks = |state: &StateIntake| !state.is_whole() || reached < state.seq;
        if reached < intake.last_seq || intake.refused_state || intake.state.as_ref().is_some_and(lacks) {
            // From a giver that has no more yet nothing new comes by asking at once.
            let comes = intake.progress() != intake.asked_at && !intake.refused_state;
            self.settle_learning(index);
            if comes {
                self.fetch(now, index);
            }
            return;
        }
        let (after, _) = intake.beside.as_ref().expect("seen above");
        let is_other = beside.hash_at(&self.memory, intake.last_seq) != Some(intake.last_hash);
        if is_other && intake.last_seq > *after {
            return self.restart_intake(index);
        }
        self.say_done(index);
        self.finish_intake(now, index);
    }

    /// Forgets what was collected; the next look at it asks from the marks again.
    pub(super) fn restart_intake(&mut self, index: usize) {
        let Some(intake) = &mut self.groups[index].intake else {
            return;
        };
        if let Some((_, mut beside)) = intake.beside.take() {
            beside.release(&mut self.memory);
        }
        intake.state = None;
    }
}

impl Intake {
    /// The last seq that came, or that the own log holds of it.
    pub(crate) fn reached(&self) -> Seq {
        (self.beside.as_ref()).map_or(Seq::ZERO, |(_, beside)| beside.sealed_seq())
    }

    /// How far it has come: bytes of the state, and the last seq that it reached.
    fn progress(&self) -> (u64, Seq) {
        let state = self.state.as_ref().map_or(0, |state| state.bytes.len() as u64);
        (state, self.reached())
    }

    /// The same as a number that is another one whenever it has come further.
    pub(crate) fn came(&self) -> u64 {
        let (state, Seq(reached)) = self.progress();
        state + reached
    }
}

/// Whether a member that computed up to `applied` cannot go back to `seq` by itself: it would compute anew what lost its messages.
pub(super) fn is_bound(applied: Seq, seq: Seq, swept_upto: Seq) -> bool {
    applied > seq && swept_upto > Seq::ZERO
}

/// The last entry of a run that lost its message.
fn last_dropped(run: &[u8]) -> Result<Option<Seq>, FrameError> {
    if !RunView::framed(run)?.is_swept() {
        return Ok(None);
    }
    let run = RunView::new_checked(run)?;
    let entries = (run.header.first_seq.get()..).zip(run.headers());
    let dropped = |(_, header): &(u64, &EntryHeader)| header.flags.get() & DROPPED != 0;
    Ok(entries.filter(dropped).map(|(seq, _)| Seq(seq)).last())
}

fn mark(seq: Seq, hash: u128) -> Mark {
    Mark {
        seq: seq.0.into(),
        hash: split_hash(hash),
    }
}

/// Points of a log from its end down to its commit, ever farther apart, the commit among them: what is committed is in both.
fn own_marks<M: Memory>(log: &Log, memory: &M, commit: Seq, marks: &mut Vec<Mark>) {
    let mut back = 1;
    let mut seq = log.sealed_seq();
    while seq > commit && marks.len() + 1 < MARKS_MAX {
        if let Some(hash) = log.hash_at(memory, seq) {
            marks.push(mark(seq, hash));
        }
        let lower = Seq(seq.0.saturating_sub(back).max(commit.0));
        // Down to where a run ends.
        seq = match lower > commit {
            true => log.run_end(memory, lower).filter(|end| *end < seq).unwrap_or(commit),
            false => commit,
        };
        back *= 2;
    }
    // A commit that a peer put inside a run is no mark; then the logs part at their beginning.
    let commit = log.hash_at(memory, commit).map(|hash| mark(commit, hash));
    marks.push(commit.unwrap_or_else(|| mark(Seq::ZERO, 0)));
}
