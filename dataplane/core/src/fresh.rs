//! Reads at members that do not write: from what is committed here, once it is as fresh as the read wants it (`protocol.md` §6).
//!
//! A session read wants what its token names, a bounded one everything that was acked some time ago. A follower learns how fresh it is by an
//! echo: it sends its writer a stamp of its own clock, the writer passes on that a round of confirmations is over which began after the
//! stamp came, and how far it was committed then. No two clocks are compared. A read that this member is not fresh enough for is held for
//! a while, and then goes to the writer.
//!
//! **Invariant:** nothing uncommitted is read here, and `fresh_ns` never says more than a writer whose view stood said.

use waterpark_wire::FrameError;
use waterpark_wire::item::{Item, ItemHeader};
use waterpark_wire::link::{Echo, Echoed, NO_STAMP};
use waterpark_wire::reply::Outcome;
use waterpark_wire::request::{HERE, ReadLevel, RequestView};

use crate::behaviour::Behaviour;
use crate::group::Role;
use crate::ids::{ClientId, GroupId, Lineage, Member, NodeId, Seq, View};
use crate::mailroom::is_anyones;
use crate::memory::Memory;
use crate::pending::{Pending, Sent};
use crate::rules::{Rule, Rules};
use crate::shard::Shard;
use crate::time::{MS, Now};
use crate::waiting::{Arrival, Held, Origin};
use crate::writer::{BUSY_RETRY_MS, held_request};

/// A read is held so long for this member to become fresh enough; then it is the writer's.
const HOLD_MS: u64 = 100;
/// A writer that has not answered an echo is asked again after this.
const ECHO_AGAIN_MS: u64 = 150;
/// While this member is read, its writer is asked to tell commits at once so often: twice in the time for which it does.
const COMMITS_AGAIN_MS: u64 = 1_000;

/// How a log stands to a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stands {
    /// What the token names is here.
    Reached,
    /// It is not here yet.
    Behind,
    /// It is gone: another lineage has opened before it.
    Lost,
}

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// A read that a member answers itself, or holds, or hands to the writer.
    pub(crate) fn read_at_member(
        &mut self,
        now: Now,
        index: usize,
        request: &RequestView<'_>,
        arrival: &Arrival,
        level: ReadLevel,
    ) {
        let group = &self.groups[index];
        // Who has no log of the group, gave it up, or found it contradicted, has nothing to read.
        let is_apart = matches!(group.role, Role::Unborn | Role::Opening | Role::Quarantined) || self.out;
        if is_apart || group.log_view == View::default() || !self.holds(group.id) {
            return self.redirect(now, index, request, arrival);
        }
        self.apply_committed(index);
        if level == ReadLevel::Session {
            self.ask_for_commits(now, index);
        }
        match self.serves(now, index, request, level) {
            Stands::Reached => {
                self.answer_settled(now, index, request, arrival);
            }
            Stands::Lost => self.refuse(arrival.origin, request, Outcome::LineageLost, 0),
            Stands::Behind => {
                if level == ReadLevel::Bounded {
                    self.echo(now, index);
                }
                self.read_elsewhere(now, index, request, arrival);
            }
        }
    }

    /// A read that cannot be answered here now. A writer that was stopped may learn with the next view alone what became of its last entries:
    /// another member need not wait for that. One that stopped in order commits them as ever.
    fn read_elsewhere(&mut self, now: Now, index: usize, request: &RequestView<'_>, arrival: &Arrival) {
        let group = &self.groups[index];
        let (id, own) = (group.id, self.settings.node);
        let has_stopped = self.writer_of(id) == Some(own) && group.role == Role::Sealed && !self.commits_as_ever(index);
        if !has_stopped || request.has(HERE) || self.is_settled(index, request) {
            return self.hold_or_redirect(now, index, request, arrival);
        }
        match (arrival.origin, self.other_member(now, id)) {
            (Origin::Client(client), Some(other)) if self.pendings.has_room() => {
                self.keep_and_pass_on(now, index, request, arrival, client, other);
            }
            (Origin::Peer { .. }, _) => self.refuse(arrival.origin, request, Outcome::NotWriter, u32::from(own.0)),
            _ => self.hold_or_redirect(now, index, request, arrival),
        }
    }

    /// Answers from what is committed: of what took effect beyond that, nothing is of the actor that is read.
    pub(crate) fn answer_settled(&mut self, now: Now, index: usize, request: &RequestView<'_>, arrival: &Arrival) {
        let group = &self.groups[index];
        let seq = group.commit.min(group.last_effect());
        let mut ready = self.answer_read(index, request, seq);
        ready.header.detail = self.groups[index].reads.age_ms(now).into();
        self.counters.reads += 1;
        self.send_reply(arrival.origin, &ready.header, &ready.body);
    }

    /// Whether everything that took effect on the actor that is read is committed. Who writes, has stopped writing, or took a state over,
    /// may have applied more than is.
    pub(crate) fn is_settled(&self, index: usize, request: &RequestView<'_>) -> bool {
        let group = &self.groups[index];
        if group.last_effect() <= group.commit || R::breaks(Rule::ReadOfUncommitted) {
            return true;
        }
        let hash = Self::hash_of(&self.topology, &self.behaviour, request.key);
        let number = hash.and_then(|(hash, _)| group.registry.find(hash, request.key));
        let actor = number.and_then(|number| group.registry.actor(number));
        actor.is_none_or(|actor| actor.last_seq <= group.commit)
    }

    fn apply_committed(&mut self, index: usize) {
        let group = &self.groups[index];
        if group.role != Role::Writer && group.applied < group.commit {
            self.apply(index);
        }
    }

    /// Whether what is committed here is fresh enough for a read.
    fn serves(&self, now: Now, index: usize, request: &RequestView<'_>, level: ReadLevel) -> Stands {
        if !self.is_settled(index, request) {
            return Stands::Behind;
        }
        let group = &self.groups[index];
        match (level, request.freshness) {
            (ReadLevel::Session, _) => self.stands_to(index, request),
            (ReadLevel::Bounded, Some(freshness)) if group.reads.age_ms(now) > freshness.age_ms.get() => Stands::Behind,
            _ => Stands::Reached,
        }
    }

    /// How this member's log, as far as it is read here, stands to the token of a session read.
    ///
    /// View and seq name an entry in whichever lineage: one of an older lineage is here if the entry at its seq is of its view. Another's stands
    /// there where the group was opened again, once or more often since, from a log that did not have it.
    pub(crate) fn stands_to(&self, index: usize, request: &RequestView<'_>) -> Stands {
        let Some(token) = request.freshness else {
            return Stands::Reached;
        };
        let group = &self.groups[index];
        let (lineage, view) = (Lineage(token.lineage.get()), View(token.view.get()));
        let seq = Seq(token.seq.get());
        let held = if group.role == Role::Writer {
            group.log.last_seq()
        } else {
            group.commit
        };
        let is_older = lineage < group.lineage && !R::breaks(Rule::TokenOfAnyLineage);
        if is_older && seq != Seq::ZERO && (seq > group.log.sealed_seq() || self.view_of(index, seq) != view) {
            return Stands::Lost;
        }
        if lineage <= group.lineage && seq <= held {
            Stands::Reached
        } else {
            Stands::Behind
        }
    }

    /// Keeps a read until this member is fresh enough, or for a while.
    pub(crate) fn hold_or_redirect(&mut self, now: Now, index: usize, request: &RequestView<'_>, arrival: &Arrival) {
        let group = &mut self.groups[index];
        if group.reads.held.len() >= self.settings.limits.held_per_group_max {
            return self.refuse(arrival.origin, request, Outcome::Busy, BUSY_RETRY_MS);
        }
        group.reads.held.push(Held {
            origin: arrival.origin,
            bytes: request.bytes.to_vec(),
            until_ns: now.after_ms(HOLD_MS).min(arrival.deadline_ns),
            deadline_ns: arrival.deadline_ns,
        });
        self.list_behind(index);
    }

    fn list_behind(&mut self, index: usize) {
        let local = u32::try_from(index).expect("groups are counted in 32 bits");
        if !self.behind.contains(&local) {
            self.behind.push(local);
        }
    }

    /// What is held here is looked at again at the end of each turn: what came in it may have made this member fresh enough.
    pub(crate) fn try_behind(&mut self, now: Now) {
        if self.behind.is_empty() {
            return;
        }
        for local in std::mem::take(&mut self.behind) {
            let index = local as usize;
            self.freshen(index);
            self.apply_committed(index);
            let is_member = self.holds(self.groups[index].id);
            let mut still = Vec::new();
            for held in std::mem::take(&mut self.groups[index].reads.held) {
                let Some(request) = held_request(&held.bytes) else {
                    continue;
                };
                let arrival = held.arrival();
                let is_late = held.until_ns <= now.monotonic_ns || !is_member;
                let waits = !self.is_open(index) && self.serves(now, index, &request, request.level) == Stands::Behind;
                if is_late {
                    self.redirect(now, index, &request, &arrival);
                } else if waits || self.is_open(index) && self.stands_to(index, &request) == Stands::Behind {
                    still.push(held);
                } else {
                    self.on_read(now, index, &request, &arrival);
                }
            }
            let group = &mut self.groups[index];
            still.append(&mut group.reads.held);
            group.reads.held = still;
            if !group.reads.held.is_empty() {
                self.list_behind(index);
            }
        }
    }

    /// A read that cannot be answered here goes to the writer; where its sender wants this very member, it is told who that is.
    fn redirect(&mut self, now: Now, index: usize, request: &RequestView<'_>, arrival: &Arrival) {
        let id = self.groups[index].id;
        let own = self.settings.node;
        let writer = self.writer_of(id).filter(|writer| *writer != own);
        // Of a writer that has stopped and should have committed by now.
        let writer = writer.or_else(|| self.other_member(now, id).filter(|_| is_anyones(request)));
        let Some(writer) = writer.filter(|_| arrival.deadline_ns > now.monotonic_ns) else {
            return self.refuse(arrival.origin, request, Outcome::NoQuorum, 0);
        };
        let client = match arrival.origin {
            Origin::Client(client) if !request.has(HERE) && self.pendings.has_room() => client,
            _ => return self.refuse(arrival.origin, request, Outcome::NotWriter, u32::from(writer.0)),
        };
        self.keep_and_pass_on(now, index, request, arrival, client, writer);
    }

    fn keep_and_pass_on(
        &mut self,
        now: Now,
        index: usize,
        request: &RequestView<'_>,
        arrival: &Arrival,
        client: ClientId,
        to: NodeId,
    ) {
        let correlation = self.pendings.keep(Pending {
            client,
            correlation: request.header.correlation.get(),
            to,
            group: self.groups[index].id,
            number: 0,
            bytes: request.bytes.to_vec(),
            arrived_ns: now.monotonic_ns,
            deadline_ns: arrival.deadline_ns,
            again_ns: u64::MAX,
            sent: Sent::Never,
        });
        self.note_due(correlation);
        self.counters.forwarded += 1;
        self.pass_on(now, correlation);
    }

    /// Asks the writer how fresh this member is, unless it was asked lately and has not answered.
    fn echo(&mut self, now: Now, index: usize) {
        let reads = &mut self.groups[index].reads;
        let is_asked = reads.echoed_ns != 0 && now.monotonic_ns.saturating_sub(reads.echoed_ns) < ECHO_AGAIN_MS * MS;
        if !is_asked && self.push_echo(index, now.monotonic_ns) {
            self.groups[index].reads.echoed_ns = now.monotonic_ns;
        }
    }

    /// Asks the writer to tell each commit at once for a while, unless it was asked lately: session reads come here, and wait for no tick.
    fn ask_for_commits(&mut self, now: Now, index: usize) {
        let group = &self.groups[index];
        let view = group.log_view;
        let is_asked = |(of, asked_ns): (View, u64)| {
            of == view && now.monotonic_ns.saturating_sub(asked_ns) < COMMITS_AGAIN_MS * MS
        };
        if !group.reads.asked_commits.is_some_and(is_asked) && self.push_echo(index, NO_STAMP) {
            self.groups[index].reads.asked_commits = Some((view, now.monotonic_ns));
        }
    }

    /// Whether there was a way to a writer that this member follows.
    fn push_echo(&mut self, index: usize, stamp_ns: u64) -> bool {
        let group = &self.groups[index];
        let Some(source) = group.source.filter(|_| group.role == Role::Follower) else {
            return false;
        };
        let echo = Echo {
            item: ItemHeader {
                group: group.id.0.into(),
                ..ItemHeader::default()
            },
            view: group.log_view.0.into(),
            stamp_ns: stamp_ns.into(),
        };
        let id = group.id;
        let bytes = self.item_to(source, id);
        bytes.map(|bytes| echo.push(bytes, &[])).is_some()
    }

    /// The writer says that its view stood after this member had asked.
    pub(crate) fn on_echoed(&mut self, now: Now, from: Member, item: &Item<'_>) -> Result<(), FrameError> {
        let (echoed, _) = Echoed::new_checked(item)?;
        let group = GroupId(item.header.group.get());
        let (view, commit) = (View(echoed.view.get()), Seq(echoed.commit.get()));
        let stamp_ns = echoed.stamp_ns.get();
        self.on_commit(group, from, view, commit);
        let Some(index) = self.group_index(group) else {
            return Ok(());
        };
        let group = &mut self.groups[index];
        let is_writers = group.source == Some(from) && group.role == Role::Follower && group.log_view == view;
        // A stamp of the future is none of this clock's.
        if is_writers && stamp_ns <= now.monotonic_ns {
            group.reads.echoed_ns = 0;
            group.reads.fresh_at = Some((commit, stamp_ns));
            self.freshen(index);
        }
        Ok(())
    }

    /// This member is as fresh as its writer said once it has what was committed then.
    fn freshen(&mut self, index: usize) {
        let group = &mut self.groups[index];
        let commit = group.commit;
        if let Some((_, stamp_ns)) = group.reads.fresh_at.take_if(|(upto, _)| *upto <= commit) {
            group.reads.freshen(stamp_ns);
        }
    }
}
