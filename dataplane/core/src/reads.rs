//! Reads: an actor's state and history, where it lives, and the bulk read-back of committed entries.
//!
//! A read at the writer waits for the commit of everything that it was computed from. How a writer knows that it is one still is
//! `confirm.rs`'s, what other members may answer `fresh.rs`'s.

use waterpark_wire::FrameError;
use waterpark_wire::body::{self, WhereBody};
use waterpark_wire::item::{Item, ItemHeader};
use waterpark_wire::link::{ReadBack, ReadBackEnd};
use waterpark_wire::reply::Outcome;
use waterpark_wire::request::{HERE, HistoryRange, Operation, ReadLevel, RequestView};

use crate::answers::reply_header;
use crate::behaviour::Behaviour;
use crate::confirm::Asker;
use crate::fresh::Stands;
use crate::group::{Group, Role};
use crate::ids::{ClientId, GroupId, Seq, View};
use crate::lane::{Lane, Session};
use crate::memory::Memory;
use crate::registry::NO_ACTOR;
use crate::rules::Rules;
use crate::shard::Shard;
use crate::time::Now;
use crate::waiting::{Arrival, Held, Ready};
use crate::writer::BUSY_RETRY_MS;

/// A portion of read-back is at most so long, in bytes.
const READ_BACK_BYTES_MAX: usize = 512 << 10;
/// The most bytes of entries in one history reply.
const HISTORY_BYTES_MAX: usize = 256 << 10;

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// A read for a group of this shard: at its writer, or at this member where its level allows.
    pub(crate) fn on_read(&mut self, now: Now, index: usize, request: &RequestView<'_>, arrival: &Arrival) {
        let level = request.level;
        // Where a group lives is for each member to say as it sees it, whatever it is.
        if request.has(HERE) && request.operation == Operation::Where {
            let ready = self.answer_read(index, request, self.groups[index].commit);
            return self.send_reply(arrival.origin, &ready.header, &ready.body);
        }
        if self.is_open(index) {
            return self.read_at_writer(now, index, request, arrival, level);
        }
        if level != ReadLevel::Linearizable {
            return self.read_at_member(now, index, request, arrival, level);
        }
        let writer = self.writer_of(self.groups[index].id).unwrap_or(self.settings.node);
        let (outcome, detail) = match self.groups[index].role {
            _ if self.out || self.is_lost_here(&self.groups[index]) => (Outcome::GroupLost, 0),
            Role::Unborn | Role::Opening => (Outcome::NoQuorum, 0),
            Role::Writer | Role::Follower | Role::Sealed | Role::Quarantined => {
                (Outcome::NotWriter, u32::from(writer.0))
            }
        };
        self.refuse(arrival.origin, request, outcome, detail);
    }

    /// A read at the open writer of its group. It is computed from all that is logged, and waits for the commit of that; and for a round of
    /// confirmations, if it has to be newer than what any other writer may have acked.
    fn read_at_writer(
        &mut self,
        now: Now,
        index: usize,
        request: &RequestView<'_>,
        arrival: &Arrival,
        level: ReadLevel,
    ) {
        let origin = arrival.origin;
        let group = &self.groups[index];
        if self.is_full(group.waiting.len() + group.reads.confirming.len()) {
            return self.refuse(origin, request, Outcome::Busy, BUSY_RETRY_MS);
        }
        let confirms = match (level, request.freshness) {
            (ReadLevel::Linearizable, _) => true,
            (ReadLevel::Bounded, Some(freshness)) => group.reads.age_ms(now) > freshness.age_ms.get(),
            _ => false,
        };
        if confirms && !self.hears_quorum(now, index) {
            return self.refuse(origin, request, Outcome::NoQuorum, 0);
        }
        if level == ReadLevel::Session {
            match self.stands_to(index, request) {
                Stands::Reached => {}
                // A writer that lacks what was acked is one no more, and does not know it yet.
                Stands::Behind => return self.hold_or_redirect(now, index, request, arrival),
                Stands::Lost => return self.refuse(origin, request, Outcome::LineageLost, 0),
            }
        }
        if let Some(expected) = self.waits_for_number(index, request) {
            return self.hold_for_number(now, index, request, arrival, expected);
        }
        let group = &self.groups[index];
        let token = (request.freshness).map_or(Seq::ZERO, |token| Seq(token.seq.get()));
        let is_reached = level != ReadLevel::Session || token <= group.commit;
        if !confirms && is_reached && self.is_settled(index, request) {
            return self.answer_settled(now, index, request, arrival);
        }
        let group = &mut self.groups[index];
        group.log.seal(&mut self.memory, group.log_view);
        let seq = group.log.last_seq();
        let mut ready = self.answer_read(index, request, seq);
        if !confirms {
            ready.header.detail = self.groups[index].reads.age_ms(now).into();
            return self.wait(index, origin, arrival.deadline_ns, ready);
        }
        let asker = Asker::Read {
            origin,
            ready,
            bytes: request.bytes.to_vec(),
            deadline_ns: arrival.deadline_ns,
        };
        self.confirm(now, index, seq, asker);
    }

    /// The answer as it is computed from everything up to a seq.
    pub(crate) fn answer_read(&self, index: usize, request: &RequestView<'_>, seq: Seq) -> Ready {
        let body = self.read(index, request);
        let view = self.view_of(index, seq);
        let group = &self.groups[index];
        let header = reply_header(group, view, seq, Outcome::Done, request);
        Ready { header, body }
    }

    /// The number that a lane has to reach before this read: it comes after what was sent before it in its ordered lane (`protocol.md` §8).
    pub(crate) fn waits_for_number(&self, index: usize, request: &RequestView<'_>) -> Option<u32> {
        let (session, last) = (Session(request.header.session), request.header.mark.get());
        if request.operation.is_numbered()
            || request.level != ReadLevel::Linearizable
            || !session.is_ordered()
            || last == 0
        {
            return None;
        }
        let lanes = &self.groups[index].lanes;
        let lane = lanes.find(session).and_then(|lane| lanes.lane(lane));
        let expected = lane.map_or(1, Lane::expected);
        (expected <= last).then_some(expected)
    }

    /// Held as a request is that came before its number's turn.
    fn hold_for_number(&mut self, now: Now, index: usize, request: &RequestView<'_>, arrival: &Arrival, expected: u32) {
        if self.groups[index].held.len() >= self.settings.limits.held_per_group_max {
            return self.refuse(arrival.origin, request, Outcome::Gap, expected);
        }
        self.groups[index].held.push(Held {
            origin: arrival.origin,
            bytes: request.bytes.to_vec(),
            until_ns: now.after_ms(self.settings.limits.gap_hold_ms),
            deadline_ns: arrival.deadline_ns,
        });
    }

    fn read(&self, index: usize, request: &RequestView<'_>) -> Vec<u8> {
        let group = &self.groups[index];
        let hash = Self::hash_of(&self.topology, &self.behaviour, request.key);
        let number = hash.and_then(|(hash, _)| group.registry.find(hash, request.key));
        let actor = number.and_then(|number| group.registry.actor(number));
        let mut out = Vec::new();
        match (request.operation, actor) {
            (Operation::Get, Some(actor)) => self.behaviour.show(actor.kind, &actor.state, &mut out),
            (Operation::History, Some(actor)) => {
                let range = HistoryRange::read_or_default(request.question());
                let from = self.history_from(group, number.unwrap_or(NO_ACTOR), actor.last_seq, &range);
                self.history(group, from, &range, &mut out);
            }
            (Operation::Where, _) => {
                let group = self.group_body(index);
                let node = self.settings.node.0;
                let here = WhereBody {
                    group,
                    node,
                    shard: self.settings.shard.0,
                };
                out.extend_from_slice(&body::encode(&here));
            }
            _ => {}
        }
        out
    }

    /// Where a history begins: at the entry right below the wanted range, if that is the actor's, as whoever reads page by page knows it;
    /// else at the actor's last.
    fn history_from(&self, group: &Group<B::State>, number: u32, last_seq: Seq, range: &HistoryRange) -> Seq {
        let wanted = Seq(range.before_seq.get().saturating_sub(1));
        if wanted >= last_seq || wanted == Seq::ZERO {
            return last_seq;
        }
        let entry = group.log.entry(&self.memory, wanted);
        let is_own = entry.is_some_and(|(entry, _, _)| entry.header.actor.get() == number);
        if is_own { wanted } else { last_seq }
    }

    /// An actor's entries, newest first: seq and group time in 8 bytes each, then the entry as it lies in the log.
    fn history(&self, group: &Group<B::State>, last_seq: Seq, range: &HistoryRange, out: &mut Vec<u8>) {
        let mut seq = last_seq;
        let mut left = range.entries_max.get();
        let bytes_max = (range.bytes_max.get() as usize).min(HISTORY_BYTES_MAX);
        while seq != Seq::ZERO && left > 0 {
            let Some((entry, bytes, time_ms)) = group.log.entry(&self.memory, seq) else {
                return;
            };
            if seq.0 < range.before_seq.get() {
                if !out.is_empty() && out.len() + 16 + bytes.len() > bytes_max {
                    return;
                }
                out.extend_from_slice(&seq.0.to_le_bytes());
                out.extend_from_slice(&time_ms.to_le_bytes());
                out.extend_from_slice(bytes);
                left -= 1;
            }
            let back = u64::from(entry.header.back.get());
            seq = if back == 0 { Seq::ZERO } else { Seq(seq.0 - back) };
        }
    }

    /// A portion of the committed entries of a group, as they lie in this member's log.
    pub(crate) fn on_read_back(&mut self, client: ClientId, item: &Item<'_>) -> Result<(), FrameError> {
        let (ask, _) = ReadBack::new_checked(item)?;
        let id = GroupId(item.header.group.get());
        let index = self.group_index(id);
        let Some(row) = self.clients.get_mut(&client) else {
            return Ok(());
        };
        let mut end = ReadBackEnd {
            item: ItemHeader {
                flags: u8::from(index.is_none()),
                group: id.0.into(),
                ..ItemHeader::default()
            },
            next_seq: ask.from_seq,
            commit: 0.into(),
        };
        if let Some(index) = index {
            let group = &self.groups[index];
            end.commit = group.commit.0.into();
            let bytes_max = (ask.bytes_max.get() as usize).min(READ_BACK_BYTES_MAX);
            let mut at = group.log.find(&self.memory, Seq(ask.from_seq.get().max(1)));
            let mut sent = 0;
            while let Some(run) = at.and_then(|at| group.log.run_at(&self.memory, at)) {
                if run.last_seq > group.commit || (sent > 0 && sent + run.length as usize > bytes_max) {
                    break;
                }
                let bytes = &self.memory.bytes(run.chunk)[run.offset as usize..(run.offset + run.length) as usize];
                // Runs leave in their order: a short one behind a long one too.
                row.outbox.after_long(bytes);
                sent += bytes.len();
                end.next_seq = run.last_seq.next().0.into();
                at = Some(run.next);
            }
        }
        // Long runs leave in parts behind what is pushed now: the end must not overtake them.
        let mut bytes = Vec::new();
        end.push(&mut bytes, &[]);
        row.outbox.after_long(&bytes);
        self.list_or_cut(client);
        Ok(())
    }

    /// The committed or uncommitted entry of a group at a seq, as it lies in this member's log; for checkers that compare members.
    #[must_use]
    pub fn entry_bytes(&self, group: GroupId, seq: Seq) -> Option<&[u8]> {
        let group = self.seen(group)?;
        group.log.entry(&self.memory, seq).map(|(_, bytes, _)| bytes)
    }

    /// The view in which the entry of a group at a seq was first logged.
    #[must_use]
    pub fn entry_view(&self, group: GroupId, seq: Seq) -> Option<View> {
        self.seen(group)?.log.view_at(&self.memory, seq)
    }

    /// The same with the entry's group time in ms.
    #[must_use]
    pub fn entry_and_time(&self, group: GroupId, seq: Seq) -> Option<(&[u8], u64)> {
        let group = self.seen(group)?;
        let entry = group.log.entry(&self.memory, seq);
        entry.map(|(_, bytes, time_ms)| (bytes, time_ms))
    }

    /// The groups of this shard as it sees them.
    pub fn group_bodies(&self) -> impl Iterator<Item = body::GroupBody> {
        self.rows_here().map(|index| self.group_body(index))
    }

    /// One group as this member sees it.
    pub(crate) fn group_body(&self, index: usize) -> body::GroupBody {
        let group = &self.groups[index];
        let role = match group.role {
            _ if self.out && group.slot.first() == Some(&self.settings.node) => "lost",
            Role::Unborn | Role::Opening => "unborn",
            Role::Writer => "writer",
            Role::Follower => "follower",
            Role::Sealed => "sealed",
            Role::Quarantined => "quarantined",
        };
        let is_writer = group.role == Role::Writer;
        let mut held: Vec<u64> = group.followers.iter().map(|progress| progress.accepted.0).collect();
        if is_writer {
            held.insert(0, group.log.sealed_seq().0);
        }
        body::GroupBody {
            group: group.id.0,
            role: role.to_owned(),
            view: group.log_view.0,
            last_seq: group.log.last_seq().0,
            commit: group.commit.0,
            actors: u64::from(group.registry.len()),
            log_bytes: group.log.bytes(),
            members: group.slot.iter().map(|node| node.0).collect(),
            held: if is_writer { held } else { Vec::new() },
        }
    }
}
