//! Rounds of read confirmations: how a writer knows that nobody had taken its groups over when a read came (`protocol.md` §6).
//!
//! A round is one question per link and turn, for all groups of the shard that a read waits for, never one per read. A follower answers
//! for the views that are what it has promised. With n − R such answers and the writer's own promise fewer than R members can have promised
//! anything newer when the round began, so no newer view was open then, and nothing was acked that this writer does not hold.
//!
//! It does not know what is read. **Invariant:** an answer counts for what came before its round began, under exactly the view and
//! incarnation that it was given for.

use std::collections::VecDeque;

use waterpark_wire::FrameError;
use waterpark_wire::item::{Item, ItemHeader};
use waterpark_wire::link::{self, Echo, Echoed, GroupView, NO_STAMP};
use waterpark_wire::reply::{Outcome, ReplyHeader};

use crate::behaviour::Behaviour;
use crate::config::MEMBERS_MAX;
use crate::group::Role;
use crate::ids::{GroupId, Member, Seq, View};
use crate::memory::Memory;
use crate::quorum;
use crate::rules::{Rule, Rules};
use crate::shard::Shard;
use crate::time::{MS, Now};
use crate::waiting::{Held, Origin, Ready};

/// A round that was not answered is asked for again after this: frames with questions are not acked.
const ROUND_AGAIN_MS: u64 = 150;
/// A writer that was asked to tells each commit at once for so long.
const TELLS_MS: u64 = 2_000;

/// What waits for a round.
#[derive(Debug)]
pub(crate) enum Asker {
    /// A read, with its answer.
    Read {
        origin: Origin,
        ready: Ready,
        /// The whole request: if this member stops writing, it is asked of the next one.
        bytes: Vec<u8>,
        /// Monotonic ns.
        deadline_ns: u64,
    },
    /// A follower that wants to know how fresh it is.
    Follower {
        member: Member,
        /// By its own clock.
        stamp_ns: u64,
    },
}

/// Something that waits for a round, and for a commit.
#[derive(Debug)]
pub(crate) struct Confirming {
    /// What it was computed from.
    pub(crate) upto: Seq,
    /// The first round that began after it came.
    pub(crate) round: u64,
    /// When it came, monotonic ns.
    pub(crate) since_ns: u64,
    pub(crate) asker: Asker,
}

/// What waits for rounds at the writer of one group, and how fresh its member is.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// In the order in which it came.
    pub(crate) confirming: VecDeque<Confirming>,
    /// It takes part in the round that begins with the end of this turn.
    pub(crate) is_asking: bool,
    /// When it last took part in one, monotonic ns.
    asked_ns: u64,
    /// Reads that wait until this member is fresh enough.
    pub(crate) held: Vec<Held>,
    /// What is committed here holds everything that was acked before this, by the own clock; 0 where nothing is known.
    pub(crate) fresh_ns: u64,
    /// The same, once so much is committed.
    pub(crate) fresh_at: Option<(Seq, u64)>,
    /// When the writer was last asked for a round, monotonic ns; 0 if nothing was since it answered.
    pub(crate) echoed_ns: u64,
    /// The view whose writer was last asked to tell commits at once, and when, monotonic ns.
    pub(crate) asked_commits: Option<(View, u64)>,
    /// Until when a writer tells its followers each commit at once, monotonic ns.
    tells_until_ns: u64,
}

impl Reads {
    /// Milliseconds since when everything that was acked before is held here.
    pub(crate) fn age_ms(&self, now: Now) -> u32 {
        match self.fresh_ns {
            0 => u32::MAX,
            fresh_ns => u32::try_from(now.monotonic_ns.saturating_sub(fresh_ns).div_ceil(MS)).unwrap_or(u32::MAX),
        }
    }

    /// Reads among what waits for rounds.
    pub(crate) fn waiting(&self) -> usize {
        let is_read = |confirming: &&Confirming| matches!(confirming.asker, Asker::Read { .. });
        self.confirming.iter().filter(is_read).count()
    }

    /// Whether a commit leaves for the followers although nothing else does: they are read.
    pub(crate) fn tells_at_once(&self, now: Now) -> bool {
        now.monotonic_ns < self.tells_until_ns
    }

    /// Nothing is known of how fresh this member is.
    pub(crate) fn forget_freshness(&mut self) {
        self.fresh_ns = 0;
        self.fresh_at = None;
    }

    /// Everything acked before an instant is held here.
    pub(crate) fn freshen(&mut self, since_ns: u64) {
        self.fresh_ns = self.fresh_ns.max(since_ns);
    }
}

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// Something waits for the first round that begins from now on; the round before is not new enough.
    pub(crate) fn confirm(&mut self, now: Now, index: usize, upto: Seq, asker: Asker) {
        self.waiting += usize::from(matches!(asker, Asker::Read { .. }));
        let confirming = Confirming {
            upto,
            round: self.round + 1,
            since_ns: now.monotonic_ns,
            asker,
        };
        self.groups[index].reads.confirming.push_back(confirming);
        self.ask(index);
        self.release_confirmed(index);
    }

    /// The group takes part in the next round, if anything of it waits still.
    fn ask(&mut self, index: usize) {
        if !std::mem::replace(&mut self.groups[index].reads.is_asking, true) {
            self.asking
                .push(u32::try_from(index).expect("groups are counted in 32 bits"));
        }
    }

    /// All groups that something waits for ask together: one round for what came in this turn.
    pub(crate) fn begin_round(&mut self, now: Now) {
        if self.asking.is_empty() {
            return;
        }
        self.round += 1;
        let mut asking = std::mem::take(&mut self.asking);
        for local in asking.drain(..) {
            let group = &mut self.groups[local as usize];
            group.reads.is_asking = false;
            if group.reads.confirming.is_empty() {
                continue;
            }
            group.reads.asked_ns = now.monotonic_ns;
            for progress in &mut group.followers {
                if !std::mem::replace(&mut progress.asks, true) {
                    self.links[progress.link.0 as usize].asks.push(local);
                }
            }
        }
        self.asking = asking;
    }

    /// What is asked over a link leaves with its next frame: one item for each shard of the peer that has one of the groups.
    pub(crate) fn push_asks(&mut self, link: usize) {
        let Some(up) = self.links[link].up.filter(|_| !self.links[link].asks.is_empty()) else {
            return;
        };
        let mut asks = std::mem::take(&mut self.links[link].asks);
        let peer = Member {
            node: self.links[link].peer,
            incarnation: up.incarnation,
        };
        let mut views: Vec<GroupView> = Vec::with_capacity(asks.len());
        for local in asks.drain(..) {
            let group = &mut self.groups[local as usize];
            // Who was a follower when the round began need not be one still.
            if let Some(progress) = group.followers.iter_mut().find(|p| p.link.0 as usize == link) {
                progress.asks = false;
            }
            let is_asked = group
                .config
                .as_ref()
                .is_some_and(|config| config.members.contains(&peer));
            if is_asked && group.role == Role::Writer && !group.reads.confirming.is_empty() {
                views.push(GroupView {
                    group: group.id.0.into(),
                    reserved: 0.into(),
                    view: group.log_view.0.into(),
                });
            }
        }
        self.links[link].asks = asks;
        let shard = |view: &GroupView| self.shard_of(peer.node, GroupId(view.group.get()));
        views.sort_by_key(shard);
        let by_shard: Vec<&[GroupView]> = views.chunk_by(|a, b| shard(a) == shard(b)).collect();
        for views in by_shard {
            self.counters.confirms += 1;
            link::push_confirm(self.links[link].outbox.item(), self.round, views);
        }
    }

    /// A writer asks whether its views stand here.
    pub(crate) fn on_confirm(&mut self, from: Member, item: &Item<'_>) -> Result<(), FrameError> {
        let (round, views) = link::confirm(item)?;
        let stands = |view: &&GroupView| {
            let group = self.group_index(GroupId(view.group.get()));
            group.is_some_and(|index| {
                let group = &self.groups[index];
                let is_member = !matches!(group.role, Role::Unborn | Role::Quarantined);
                is_member && group.promised == View(view.view.get())
            })
        };
        let standing: Vec<GroupView> = views.iter().filter(stands).copied().collect();
        // All are of one shard of the writer's, which is reached by any of them.
        if !self.out
            && let Some(first) = standing.first()
            && let Some(bytes) = self.item_to(from, GroupId(first.group.get()))
        {
            link::push_confirmed(bytes, round, &standing);
        }
        Ok(())
    }

    /// A member says which views stood there after a round had begun.
    pub(crate) fn on_confirmed(&mut self, from: Member, item: &Item<'_>) -> Result<(), FrameError> {
        let (round, views) = link::confirm(item)?;
        // No round that did not begin yet can be over.
        let round = round.min(self.round);
        for view in views {
            let Some(index) = self.group_index(GroupId(view.group.get())) else {
                continue;
            };
            let group = &mut self.groups[index];
            let Some(config) = &group.config else { continue };
            let position = config.members.iter().skip(1).position(|member| *member == from);
            if let Some(position) = position
                && group.role == Role::Writer
                && group.log_view == View(view.view.get())
            {
                let progress = &mut group.followers[position];
                progress.confirmed = progress.confirmed.max(round);
                self.release_confirmed(index);
            }
        }
        Ok(())
    }

    /// The newest round that enough followers of a group have confirmed.
    fn confirmed(&self, index: usize) -> u64 {
        let group = &self.groups[index];
        let Some(config) = &group.config else { return 0 };
        let mut rounds = [0; MEMBERS_MAX];
        for (round, progress) in rounds.iter_mut().zip(&group.followers) {
            *round = progress.confirmed;
        }
        quorum::confirmed(&rounds[..group.followers.len()], config)
    }

    /// What has its round and its commit is let go, in the order in which it came.
    pub(crate) fn release_confirmed(&mut self, index: usize) {
        if self.groups[index].role != Role::Writer {
            return;
        }
        let confirmed = self.confirmed(index);
        loop {
            let group = &mut self.groups[index];
            let commit = group.commit;
            let can_go = |first: &mut Confirming| {
                let needs_none = match first.asker {
                    Asker::Read { .. } => R::breaks(Rule::LocalReadWithoutConfirmation),
                    Asker::Follower { .. } => R::breaks(Rule::BoundedByUnconfirmedEcho),
                };
                first.upto <= commit && (first.round <= confirmed || needs_none)
            };
            let Some(first) = group.reads.confirming.pop_front_if(can_go) else {
                return;
            };
            assert!(
                group.promised == group.log_view || R::breaks(Rule::WriterExemptFromFence) || R::breaks(Rule::NoFence),
                "the writer's own promise is one of those that a read needs"
            );
            group.reads.freshen(first.since_ns);
            match first.asker {
                Asker::Read { origin, ready, .. } => {
                    self.waiting -= 1;
                    self.counters.reads += 1;
                    self.send_reply(origin, &ready.header, &ready.body);
                }
                Asker::Follower { member, stamp_ns } => self.say_echoed(index, member, stamp_ns, first.upto),
            }
        }
    }

    fn say_echoed(&mut self, index: usize, to: Member, stamp_ns: u64, commit: Seq) {
        let group = &self.groups[index];
        let echoed = Echoed {
            item: ItemHeader {
                group: group.id.0.into(),
                ..ItemHeader::default()
            },
            view: group.log_view.0.into(),
            stamp_ns: stamp_ns.into(),
            commit: commit.0.into(),
            reserved: 0.into(),
        };
        let id = group.id;
        if let Some(bytes) = self.item_to(to, id) {
            echoed.push(bytes, &[]);
        }
    }

    /// A follower asks for a round. Its writer's commit is all that was acked so far, if the round then says that it is the writer still.
    pub(crate) fn on_echo(&mut self, now: Now, from: Member, item: &Item<'_>) -> Result<(), FrameError> {
        let (echo, _) = Echo::new_checked(item)?;
        let Some(index) = self.group_index(GroupId(item.header.group.get())) else {
            return Ok(());
        };
        let group = &self.groups[index];
        let is_member = (group.config.as_ref()).is_some_and(|config| config.members.contains(&from));
        if !self.is_open(index) || group.log_view != View(echo.view.get()) || !is_member {
            return Ok(());
        }
        let stamp_ns = echo.stamp_ns.get();
        if stamp_ns == NO_STAMP {
            self.groups[index].reads.tells_until_ns = now.after_ms(TELLS_MS);
            return Ok(());
        }
        // One that asks again has given up what it asked before.
        let commit = group.commit;
        let is_same =
            |confirming: &Confirming| matches!(confirming.asker, Asker::Follower { member, .. } if member == from);
        self.groups[index]
            .reads
            .confirming
            .retain(|confirming| !is_same(confirming));
        self.confirm(now, index, commit, Asker::Follower { member: from, stamp_ns });
        Ok(())
    }

    /// Reads whose time is over, and rounds that are asked for again.
    pub(crate) fn tick_confirming(&mut self, now: Now, index: usize) {
        let group = &mut self.groups[index];
        if group.reads.confirming.is_empty() {
            return;
        }
        let late = |confirming: &mut Confirming| match confirming.asker {
            Asker::Read { deadline_ns, .. } => deadline_ns <= now.monotonic_ns,
            Asker::Follower { .. } => false,
        };
        let mut waits = std::mem::take(&mut group.reads.confirming);
        let mut rest = VecDeque::with_capacity(waits.len());
        let mut ended = Vec::new();
        for mut confirming in waits.drain(..) {
            if late(&mut confirming) {
                ended.push(confirming);
            } else {
                rest.push_back(confirming);
            }
        }
        group.reads.confirming = rest;
        let asks_again = now.monotonic_ns.saturating_sub(group.reads.asked_ns) >= ROUND_AGAIN_MS * MS;
        let id = group.id;
        for confirming in ended {
            let Asker::Read { origin, ready, .. } = confirming.asker else {
                continue;
            };
            self.waiting -= 1;
            // Nothing was changed by it, so nothing is in doubt.
            let header = ReplyHeader {
                item: ItemHeader {
                    group: id.0.into(),
                    ..ItemHeader::default()
                },
                correlation: ready.header.correlation,
                outcome: Outcome::NoQuorum as u8,
                ..ReplyHeader::default()
            };
            self.counters.refused += 1;
            self.send_reply(origin, &header, &[]);
        }
        if asks_again && !self.groups[index].reads.confirming.is_empty() {
            self.ask(index);
        }
    }

    /// A writer stops: what waits here for a round of its view is asked of the next writer. Followers ask again by themselves.
    pub(crate) fn take_confirming(&mut self, index: usize) -> Vec<Held> {
        let confirming = std::mem::take(&mut self.groups[index].reads.confirming);
        let mut reads = Vec::new();
        for confirming in confirming {
            if let Asker::Read {
                origin,
                bytes,
                deadline_ns,
                ..
            } = confirming.asker
            {
                self.waiting -= 1;
                reads.push(Held {
                    origin,
                    bytes,
                    until_ns: deadline_ns,
                    deadline_ns,
                });
            }
        }
        reads
    }
}
