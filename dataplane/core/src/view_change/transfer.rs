//! A log on its way from one member to another: asked for portion by portion, from the last point that both hold.
//!
//! Whoever lacks it asks, so nothing is sent that nobody waits for, and a lost part is asked for again. It does not know what the log is
//! for. **Invariant:** what comes is checked by the chain of hashes from a point that the asker holds itself.

use waterpark_wire::FrameError;
use waterpark_wire::item::{Item, ItemHeader};
use waterpark_wire::link::{
    self, FETCH_STATE, Fetch, MARKS_MAX, Mark, PIECE_LAST, PIECE_STATE, PIECE_STATE_LAST, Piece, join_hash, split_hash,
};

use super::{ASK_AGAIN_MS, Intake};
use crate::behaviour::Behaviour;
use crate::group::Role;
use crate::ids::{GroupId, Member, Seq, View};
use crate::log::{Log, NotTaken};
use crate::memory::Memory;
use crate::rules::Rules;
use crate::shard::Shard;
use crate::state_bytes::StateReader;
use crate::time::{MS, Now};

/// Bytes of one portion, at least one run.
const PORTION_BYTES: usize = 128 << 10;
/// A part of a state.
const STATE_PART_BYTES: usize = 48 << 10;
/// A link with more to send than this gives no portion: the asker asks again.
const BUSY_BYTES: usize = 256 << 10;

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// Asks for what is missing, from the last run that came, or from where the two logs part.
    pub(crate) fn fetch(&mut self, now: Now, index: usize) {
        let group = &mut self.groups[index];
        let Some(intake) = &mut group.intake else { return };
        intake.asked_ns = now.monotonic_ns;
        intake.asked_at = intake
            .beside
            .as_ref()
            .map_or(Seq::ZERO, |(_, beside)| beside.sealed_seq());
        let mut marks = Vec::new();
        // What was computed ahead of the commit may have to be computed anew, and cannot be where messages are gone.
        let is_ahead = group.applied > group.commit && group.retained.upto > Seq::ZERO && intake.state.is_none();
        // One whose parts did not all come is asked for anew.
        let wants = is_ahead || intake.state.is_some() && !intake.has_state;
        let mut applied = group.applied;
        match &intake.beside {
            Some((_, beside)) => {
                marks.push(mark(beside.sealed_seq(), beside.last_hash()));
                let has_state = intake.has_state;
                // With the state that came, or with what came before it, the rest can be computed.
                applied = if has_state { Seq(u64::MAX) } else { beside.sealed_seq() };
            }
            None => own_marks(&group.log, &self.memory, group.commit, &mut marks),
        }
        let fetch = Fetch {
            item: ItemHeader {
                flags: if wants { FETCH_STATE } else { 0 },
                count: u16::try_from(marks.len()).expect("few").into(),
                group: group.id.0.into(),
                ..ItemHeader::default()
            },
            view: intake.view.0.into(),
            log_view: intake.log_view.0.into(),
            applied: applied.0.into(),
            commit: group.commit.0.into(),
        };
        let to = intake.from;
        if let Some(bytes) = self.item_to(to) {
            fetch.push(bytes, link::mark_bytes(&marks));
        }
    }

    /// An intake that hears nothing asks again.
    pub(crate) fn tick_intake(&mut self, now: Now, index: usize) {
        let asked_ns = self.groups[index]
            .intake
            .as_ref()
            .map(|intake| intake.asked_ns.max(intake.heard_ns));
        if asked_ns.is_some_and(|asked_ns| now.monotonic_ns.saturating_sub(asked_ns) >= ASK_AGAIN_MS * MS) {
            self.fetch(now, index);
        }
    }

    /// Another member asks for this one's log.
    pub(crate) fn on_fetch(&mut self, from: Member, item: &Item<'_>) -> Result<(), FrameError> {
        let (fetch, marks) = link::fetch(item)?;
        let id = GroupId(item.header.group.get());
        let Some(index) = self.group_index(id) else {
            return Ok(());
        };
        let group = &mut self.groups[index];
        let view = View(fetch.view.get());
        if view < group.promised {
            let promised = group.promised;
            self.nack(from, id, view, promised);
            return Ok(());
        }
        if group.promised != view || group.log_view != View(fetch.log_view.get()) || group.role == Role::Quarantined {
            return Ok(());
        }
        // What the asker knows to be committed is so, if it lies in this log too.
        let commit = Seq(fetch.commit.get());
        let knows = |mark: &Mark| Seq(mark.seq.get()) == commit;
        let known = marks.iter().find(|mark| knows(mark)).map(|mark| join_hash(mark.hash));
        if group.role == Role::Writer {
            group.log.seal(&mut self.memory, group.log_view);
        } else {
            if known.is_some() && group.log.hash_at(&self.memory, commit) == known {
                group.commit = group.commit.max(commit);
            }
            self.apply(index);
        }
        let group = &self.groups[index];
        let holds = |mark: &&Mark| group.log.hash_at(&self.memory, Seq(mark.seq.get())) == Some(join_hash(mark.hash));
        let Some(after) = marks.iter().find(holds).map(|mark| Seq(mark.seq.get())) else {
            return Ok(());
        };
        let applied = Seq(fetch.applied.get());
        let has_state = applied == Seq(u64::MAX);
        let base = if applied <= after || has_state {
            applied
        } else {
            Seq::ZERO
        };
        let Some(link) = self.link_to(from) else { return Ok(()) };
        if self.links[link.0 as usize].outbox.backlog() >= BUSY_BYTES {
            return Ok(());
        }
        let wants = item.header.flags & FETCH_STATE != 0;
        let state = (wants || base < group.retained.upto).then(|| self.save_state(index));
        let outbox = &mut self.links[link.0 as usize].outbox;
        let group = &self.groups[index];
        let piece = |flags: u8, offset: usize| Piece {
            item: ItemHeader {
                flags,
                group: id.0.into(),
                ..ItemHeader::default()
            },
            view: view.0.into(),
            after: after.0.into(),
            last_seq: group.log.sealed_seq().0.into(),
            offset: (offset as u64).into(),
        };
        let mut parts = Vec::new();
        for (number, part) in state
            .iter()
            .flat_map(|state| state.chunks(STATE_PART_BYTES))
            .enumerate()
        {
            parts.push((PIECE_STATE, number * STATE_PART_BYTES, part));
        }
        if let Some((flags, _, _)) = parts.last_mut() {
            *flags |= PIECE_STATE_LAST;
        }
        let mut sent = 0;
        let mut at = group.log.find(&self.memory, after.next());
        while let Some(run) = at.and_then(|at| group.log.run_at(&self.memory, at)) {
            if sent > 0 && sent + run.length as usize > PORTION_BYTES {
                break;
            }
            let bytes = &self.memory.bytes(run.chunk)[run.offset as usize..(run.offset + run.length) as usize];
            sent += bytes.len();
            parts.push((0, 0, bytes));
            at = Some(run.next);
        }
        match parts.last_mut() {
            Some((flags, _, _)) => *flags |= PIECE_LAST,
            None => parts.push((PIECE_LAST, 0, &[])),
        }
        let mut whole = Vec::new();
        for (flags, offset, bytes) in parts {
            whole.clear();
            piece(flags, offset).push(&mut whole, bytes);
            outbox.after_long(&whole[..size_of::<Piece>() + bytes.len()]);
        }
        Ok(())
    }

    /// A part of the log that is collected here.
    pub(crate) fn on_piece(&mut self, now: Now, from: Member, item: &Item<'_>) -> Result<(), FrameError> {
        let (piece, bytes) = Piece::new_checked(item)?;
        let Some(index) = self.group_index(GroupId(item.header.group.get())) else {
            return Ok(());
        };
        let group = &mut self.groups[index];
        let id = group.id;
        let Some(intake) = &mut group.intake else { return Ok(()) };
        if intake.view != View(piece.view.get()) || intake.from != from {
            return Ok(());
        }
        intake.heard_ns = now.monotonic_ns;
        let flags = item.header.flags;
        let after = Seq(piece.after.get());
        if intake.beside.is_none() {
            // The giver chose one of the marks that were sent: a point of this very log.
            let Some(hash) = group.log.hash_at(&self.memory, after) else {
                return Ok(());
            };
            intake.beside = Some((after, Log::behind(id, after, hash)));
        }
        if flags & PIECE_STATE != 0 {
            take_state(intake, flags, piece.offset.get(), bytes);
        } else if !bytes.is_empty() {
            let (_, beside) = intake.beside.as_mut().expect("made above");
            match beside.take_any_run(&mut self.memory, bytes) {
                Ok(_) | Err(NotTaken::Gap | NotTaken::Full) => {}
                Err(NotTaken::Malformed(error)) => return Err(error),
                Err(NotTaken::Contradicts) => {
                    // A late part of an older answer: begun again from the marks.
                    self.restart_intake(index);
                    return Ok(());
                }
            }
        }
        if flags & PIECE_LAST != 0 {
            self.on_portion_end(now, index);
        }
        Ok(())
    }

    fn on_portion_end(&mut self, now: Now, index: usize) {
        let group = &self.groups[index];
        let Some(intake) = &group.intake else { return };
        let Some((_, beside)) = &intake.beside else { return };
        let reached = beside.sealed_seq();
        // A state may be of an entry behind those that are needed.
        let state_seq = intake.state.as_ref().and_then(|state| StateReader(state).number());
        let is_short = reached < intake.last_seq || state_seq.is_some_and(|seq| reached.0 < seq);
        if is_short || intake.state.is_some() && !intake.has_state {
            // Without memory, or from a giver that has no more yet, nothing new comes by asking at once.
            if reached > intake.asked_at {
                self.fetch(now, index);
            }
            return;
        }
        let (after, _) = intake.beside.as_ref().expect("seen above");
        let is_other = beside.hash_at(&self.memory, intake.last_seq) != Some(intake.last_hash);
        if is_other && intake.last_seq > *after {
            return self.restart_intake(index);
        }
        self.finish_intake(now, index);
    }

    /// Forgets what was collected; the next look at it asks from the marks again.
    fn restart_intake(&mut self, index: usize) {
        let Some(intake) = &mut self.groups[index].intake else {
            return;
        };
        if let Some((_, mut beside)) = intake.beside.take() {
            beside.release(&mut self.memory);
        }
        intake.state = None;
        intake.has_state = false;
    }
}

/// Parts come in order. Where it was asked for twice, the second answer begins the state anew, or comes too late.
fn take_state(intake: &mut Intake, flags: u8, offset: u64, bytes: &[u8]) {
    if intake.has_state {
        return;
    }
    let state = intake.state.get_or_insert_default();
    if offset == 0 {
        state.clear();
    }
    if offset == state.len() as u64 {
        state.extend_from_slice(bytes);
        intake.has_state = flags & PIECE_STATE_LAST != 0;
    }
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
