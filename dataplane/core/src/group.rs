//! A group on one member: its Config, its log, its actors and lanes, and how an entry takes effect on them.
//!
//! The writer applies an entry when it logs it, ahead of the commit; a follower applies what is committed. Both go through
//! [`Group::take_effect`], so equal logs make equal states.

use waterpark_wire::item::ItemHeader;
use waterpark_wire::link::Commit;
use waterpark_wire::run::{EntryHeader, EntryView, RUN_HEADER, RunView, SWEEP, TICK, VOID};
use waterpark_wire::sweep::SweepView;

use crate::account::bytes_of;
use crate::behaviour::{Behaviour, KindId};
use crate::config::Config;
use crate::confirm::Reads;
use crate::ids::{GroupId, Lineage, LinkId, Member, NodeId, Seq, View};
use crate::lane::{Lanes, NO_LANE, Session};
use crate::log::{Log, Position};
use crate::memory::{ChunkId, Memory};
use crate::registry::{NO_ACTOR, Registry};
use crate::retention::Retained;
use crate::state_hash::{Scratch, StateHashes, Touched};
use crate::sweep::Sweep;
use crate::time::Now;
use crate::unapplied::Unapplied;
use crate::view_change::{End, Intake, Opener};
use crate::waiting::{Held, WaitingQueue};

/// What this member is in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// No Config yet.
    Unborn,
    /// Its writer has offered a Config and waits for its members.
    Opening,
    /// It writes.
    Writer,
    /// It follows.
    Follower,
    /// It promised a view that it has not adopted: it takes no run, and answers for what it holds.
    Sealed,
    /// Its log contradicts the writer's, or its state those of the others: it takes nothing more.
    Quarantined,
}

/// How far the writer knows one follower to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// The link that its Appends go on.
    pub(crate) link: LinkId,
    /// It holds the Config.
    pub(crate) adopted: bool,
    /// It is queued on its link.
    pub(crate) queued: bool,
    /// The next run to send.
    pub(crate) cursor: Position,
    /// The last seq that was sent.
    pub(crate) sent: Seq,
    /// The last seq that it accepted under this view and incarnation.
    pub(crate) accepted: Seq,
    /// The last commit that it was told.
    pub(crate) told: Seq,
    /// The newest round of read confirmations that it confirmed under this view and incarnation.
    pub(crate) confirmed: u64,
    /// It is among those that are asked with the next frame on its link.
    pub(crate) asks: bool,
}

impl Progress {
    /// Nothing was sent yet.
    pub(crate) fn new(link: LinkId, adopted: bool) -> Progress {
        Progress {
            link,
            adopted,
            queued: false,
            cursor: Position::default(),
            sent: Seq::ZERO,
            accepted: Seq::ZERO,
            told: Seq::ZERO,
            confirmed: 0,
            asks: false,
        }
    }
}

/// One group on one member.
#[derive(Debug)]
pub(crate) struct Group<S> {
    pub(crate) id: GroupId,
    /// The members by the topology, the writer first.
    pub(crate) slot: Vec<NodeId>,
    pub(crate) role: Role,
    pub(crate) config: Option<Config>,
    pub(crate) promised: View,
    pub(crate) log_view: View,
    /// The lineage that its log is of.
    pub(crate) lineage: Lineage,
    /// The first entry of that view, at its writer.
    pub(crate) view_from: Seq,
    pub(crate) log: Log,
    /// Whose runs it takes: the opener of the view that its log is of.
    pub(crate) source: Option<Member>,
    /// That its writer stopped in order, and where its log ends: at that writer, and at those whom it told.
    pub(crate) ends: Option<End>,
    /// It is to write a view that is not open yet.
    pub(crate) opener: Option<Box<Opener>>,
    /// A log that is collected beside its own.
    pub(crate) intake: Option<Box<Intake>>,
    /// Requests that came while it was to write and could not yet, in their order.
    pub(crate) queued: Vec<Held>,
    pub(crate) commit: Seq,
    /// The last entry that took effect, and what is held behind it. A writer's are ahead of it: it notes how far when it stops.
    pub(crate) applied: Seq,
    pub(crate) unapplied: Unapplied,
    pub(crate) time_ms: u64,
    pub(crate) registry: Registry<S>,
    pub(crate) lanes: Lanes,
    pub(crate) retained: Retained,
    pub(crate) state_hashes: StateHashes,
    /// The view, if it is this one, in which a member was found that can be helped only by a newer one.
    pub(crate) outrun: View,
    /// One per follower, as in `slot[1..]`.
    pub(crate) followers: Vec<Progress>,
    pub(crate) waiting: WaitingQueue,
    /// No waiting request has an earlier deadline.
    pub(crate) first_deadline_ns: u64,
    pub(crate) held: Vec<Held>,
    /// What waits for a round of confirmations, or until this member is fresh enough.
    pub(crate) reads: Reads,
    /// When the Config was last offered, monotonic ns.
    pub(crate) offered_ns: u64,
    /// The turn in which it was found that a quorum is heard and memory is left.
    pub(crate) admits_at: Option<Now>,
    /// Entries were appended in this turn.
    pub(crate) touched: bool,
    /// A follower's committed entries wait to take effect.
    pub(crate) lags: bool,
    /// It is listed among those whose followers may have a commit to be told.
    pub(crate) is_untold: bool,
}

/// Why an entry could not take effect: the log is not of this group, or members disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contradiction;

impl<S: Default + core::fmt::Debug> Group<S> {
    pub(crate) fn new(id: GroupId, slot: Vec<NodeId>, followers: Vec<Progress>, hash_every: u64) -> Group<S> {
        // Answers wait at its writer, entries at the others.
        let (unapplied, waiting) = if followers.is_empty() {
            (Unapplied::with_room(), WaitingQueue::default())
        } else {
            (Unapplied::default(), WaitingQueue::with_room())
        };
        Group {
            id,
            slot,
            role: Role::Unborn,
            config: None,
            promised: View::default(),
            log_view: View::default(),
            lineage: Lineage::default(),
            view_from: Seq::ZERO,
            outrun: View::default(),
            log: Log::new(id),
            source: None,
            ends: None,
            opener: None,
            intake: None,
            queued: Vec::new(),
            commit: Seq::ZERO,
            applied: Seq::ZERO,
            unapplied,
            time_ms: 0,
            registry: Registry::default(),
            lanes: Lanes::default(),
            retained: Retained::default(),
            state_hashes: StateHashes::new(hash_every),
            followers,
            waiting,
            first_deadline_ns: u64::MAX,
            held: Vec::new(),
            reads: Reads::default(),
            offered_ns: 0,
            admits_at: None,
            touched: false,
            lags: false,
            is_untold: false,
        }
    }

    /// Group time: never backwards.
    pub(crate) fn time_at(&self, wall_ms: u64) -> u64 {
        self.time_ms.max(wall_ms)
    }

    /// Bytes set aside for it outside of its row, but for its actors, its lanes and its log's chunks.
    pub(crate) fn kept_bytes(&self) -> u64 {
        let queues = [&self.queued, &self.held, &self.reads.held];
        let items =
            |queue: &Vec<Held>| queue.iter().map(|held| held.bytes.capacity() as u64).sum::<u64>() + bytes_of(queue);
        queues.into_iter().map(items).sum::<u64>()
            + bytes_of(&self.slot)
            + bytes_of(&self.followers)
            + self.log.book_bytes()
            + self.unapplied.kept_bytes()
            + self.waiting.kept_bytes()
            + self.state_hashes.kept_bytes()
    }

    /// The names of the chunks of its log, then of the one that is collected beside it.
    pub(crate) fn chunk_names(&mut self) -> impl Iterator<Item = &mut ChunkId> {
        let beside = self.intake.as_mut().and_then(|intake| intake.beside.as_mut());
        self.log
            .chunk_names()
            .chain(beside.into_iter().flat_map(|(_, log)| log.chunk_names()))
    }

    /// What it learns as no member, if it does.
    pub(crate) fn learns(&self) -> Option<&Intake> {
        self.intake.as_deref().filter(|intake| intake.learns)
    }

    /// How far the log that it learns is committed.
    pub(crate) fn learned_commit(&self) -> Seq {
        self.learns().map_or(Seq::ZERO, |intake| intake.commit)
    }

    /// How far it is committed here, as others are told.
    pub(crate) fn commit_item(&self) -> Commit {
        Commit {
            item: ItemHeader {
                group: self.id.0.into(),
                ..ItemHeader::default()
            },
            view: self.log_view.0.into(),
            commit: self.commit.0.into(),
        }
    }

    /// Whether a view change is under way here.
    pub(crate) fn changes(&self) -> bool {
        self.opener.is_some() || self.intake.is_some()
    }

    /// The log is one of a lineage. What was known of the one before it says nothing of this one.
    pub(crate) fn enter_lineage(&mut self, lineage: Lineage) {
        if lineage != self.lineage {
            self.lineage = lineage;
            self.reads.forget_freshness();
            self.state_hashes.forget();
        }
    }

    /// An entry takes effect on actors and lanes. What it touched is said where the state is to be hashed after it.
    ///
    /// `hash` is the hash of the key that the entry introduces, if it does.
    #[expect(
        clippy::too_many_arguments,
        reason = "the sections of one entry, named; a struct would only rename them"
    )]
    pub(crate) fn take_effect<B: Behaviour<State = S>>(
        &mut self,
        behaviour: &B,
        seq: Seq,
        time_ms: u64,
        header: &EntryHeader,
        introduces: Option<(&[u8], u64, KindId)>,
        session: Option<&[u8; 16]>,
        event: Option<&[u8]>,
    ) -> Result<Option<Touched>, Contradiction> {
        let before_ms = self.time_ms;
        self.time_ms = self.time_ms.max(time_ms);
        let flags = header.flags.get();
        if flags & TICK != 0 {
            // It names no actor and no lane.
            self.lanes.expire(time_ms);
        }
        let number = header.actor.get();
        if let Some((key, hash, kind)) = introduces {
            if self.registry.introduce(hash, key, kind) != Some(number) {
                return Err(Contradiction);
            }
            self.retained.introduced(kind, behaviour.retention(kind), time_ms);
        }
        let lane = header.lane.get();
        if let Some(session) = session
            && !self.lanes.introduce(lane, Session(*session))
        {
            return Err(Contradiction);
        }
        if lane != NO_LANE {
            let lane = self.lanes.lane_mut(lane).ok_or(Contradiction)?;
            let request = header.number.get();
            lane.take(request, request - u32::from(header.mark_distance), seq);
        }
        if number != NO_ACTOR && flags & VOID == 0 {
            let actor = self.registry.actor_mut(number).ok_or(Contradiction)?;
            actor.last_seq = seq;
            self.retained.logged(actor.kind, seq);
            if let Some(event) = event {
                behaviour.apply(actor.kind, &mut actor.state, event, seq.0, time_ms);
            }
        }
        let is_due = self.state_hashes.is_due(seq, before_ms, self.time_ms);
        Ok(is_due.then_some(Touched {
            seq,
            actor: number,
            lane,
        }))
    }

    /// Forgets what was computed from the log: it is computed anew, from its beginning.
    pub(crate) fn forget_state(&mut self) {
        self.registry = Registry::default();
        self.lanes = Lanes::default();
        self.retained = Retained::default();
        self.state_hashes.forget();
        self.time_ms = 0;
        self.applied = Seq::ZERO;
    }

    /// What waits to take effect is what the log holds behind the last entry that did.
    pub(crate) fn list_unapplied(&mut self) {
        self.unapplied = Unapplied::of_log();
    }

    /// Lists the next stretch of the log.
    fn list_stretch<M: Memory>(&mut self, memory: &M) {
        let mut at = self.log.find(memory, self.applied.next());
        while !self.unapplied.is_stretch()
            && let Some(run) = at.and_then(|at| self.log.run_at(memory, at))
        {
            let bytes = &memory.bytes(run.chunk)[run.offset as usize..(run.offset + run.length) as usize];
            let view = RunView::framed(bytes).expect("it was checked when it came to rest");
            let entries_at = run.offset + u32::try_from(RUN_HEADER).expect("64");
            self.unapplied.list(run.chunk, entries_at, &view);
            at = Some(run.next);
        }
        let has_more = at.is_some_and(|at| self.log.run_at(memory, at).is_some());
        self.unapplied.listed(has_more);
    }

    /// What the log holds up to a seq takes effect, on a follower what is committed, on one that will write everything: whole runs, and no
    /// more of them than are needed for `most` entries. Returns how many entries that were.
    pub(crate) fn apply_upto<B: Behaviour<State = S>, M: Memory>(
        &mut self,
        behaviour: &B,
        memory: &M,
        (upto, most): (Seq, usize),
        hash_of: impl Fn(&[u8]) -> Option<(u64, KindId)>,
        scratch: &mut Scratch,
    ) -> Result<usize, Contradiction> {
        let mut applied = 0;
        while applied < most {
            if self.unapplied.wants_more() {
                self.list_stretch(memory);
            }
            let count = self.unapplied.committed(upto, most - applied);
            if count == 0 {
                break;
            }
            self.apply_listed(behaviour, memory, count, &hash_of, scratch)?;
            applied += count;
        }
        Ok(applied)
    }

    /// So many listed entries take effect.
    fn apply_listed<B: Behaviour<State = S>, M: Memory>(
        &mut self,
        behaviour: &B,
        memory: &M,
        count: usize,
        hash_of: &impl Fn(&[u8]) -> Option<(u64, KindId)>,
        scratch: &mut Scratch,
    ) -> Result<(), Contradiction> {
        // Rows of a million actors are far away: asked for together they come together.
        let row = |actor| self.registry.ask_row::<M>(actor);
        self.unapplied.ask(memory, count, row);
        let mut unapplied = std::mem::take(&mut self.unapplied);
        let mut left = count;
        let mut result = Ok(());
        while left > 0
            && result.is_ok()
            && let Some((run, entries)) = unapplied.next()
        {
            let bytes = memory.bytes(run.chunk);
            for (seq, entry) in (run.first_seq..).zip(entries) {
                let entry = bytes
                    .get(entry.offset as usize..)
                    .and_then(|bytes| EntryView::new_checked(bytes).ok());
                result = result.and_then(|()| {
                    let (entry, _) = entry.ok_or(Contradiction)?;
                    let touched = self.apply_entry(behaviour, Seq(seq), run.base_time_ms, &entry, hash_of)?;
                    self.hash_state(behaviour, touched, scratch);
                    Ok(())
                });
            }
            left -= usize::from(run.count);
            self.applied = run.last_seq();
        }
        unapplied.rest();
        self.unapplied = unapplied;
        result
    }

    fn apply_entry<B: Behaviour<State = S>>(
        &mut self,
        behaviour: &B,
        seq: Seq,
        base_time_ms: u64,
        entry: &EntryView<'_>,
        hash_of: &impl Fn(&[u8]) -> Option<(u64, KindId)>,
    ) -> Result<Option<Touched>, Contradiction> {
        let introduces = match entry.key {
            None => None,
            Some(key) => {
                let (hash, kind) = hash_of(key).ok_or(Contradiction)?;
                Some((key, hash, kind))
            }
        };
        let time_ms = base_time_ms + u64::from(entry.header.time_delta_ms.get());
        if entry.header.flags.get() & SWEEP != 0 {
            let view = SweepView::new_checked(entry.message).map_err(|_| Contradiction)?;
            if view.upto >= seq.0 {
                return Err(Contradiction);
            }
            let sweep = Sweep::new(&view, seq, time_ms, |name| behaviour.kind(name));
            self.retained.push(sweep, Seq(view.upto), self.commit);
        }
        self.take_effect(
            behaviour,
            seq,
            time_ms,
            entry.header,
            introduces,
            entry.session,
            entry.event,
        )
    }
}
