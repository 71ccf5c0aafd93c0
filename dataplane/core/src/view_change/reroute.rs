//! Those who wait at a writer that stops: what they asked goes on to the next writer, under the same number.
//!
//! Requests of other mailrooms are kept there and sent again by them. Those of this shard's own clients are kept nowhere but in the log:
//! they are read from there before it is cut. **Invariant:** each is answered once, by a later writer or by its deadline.

use waterpark_wire::item::ItemHeader;
use waterpark_wire::padded;
use waterpark_wire::reply::{MAYBE, Outcome, ReplyHeader};
use waterpark_wire::request::{self, Operation, REQUEST_HEADER, RequestHeader, SENT_BEFORE};
use waterpark_wire::run::{DROPPED, VOID};

use crate::behaviour::Behaviour;
use crate::ids::{ClientId, GroupId, Seq};
use crate::lane::Standing;
use crate::memory::Memory;
use crate::pending::{Pending, Sent};
use crate::rules::Rules;
use crate::shard::Shard;
use crate::time::Now;
use crate::view_change::Branch;
use crate::waiting::{Held, Origin, Waiting};
use crate::writer::{BUSY_RETRY_MS, held_request};

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// Whoever waits for an entry behind `after` waits for the next writer instead; so do requests that have not run.
    pub(crate) fn reroute(&mut self, now: Now, index: usize, after: Seq) {
        let stays = self.groups[index].opener.is_some();
        let (kept, gone) = self.groups[index].waiting.split_behind(after);
        self.waiting -= gone.iter().filter(|waiting| waiting.origin != Origin::Answered).count();
        self.groups[index].waiting = kept;
        let mut late = Vec::new();
        for waiting in gone {
            if waiting.origin == Origin::Answered {
                continue;
            }
            match self.request_of(now, index, &waiting) {
                Some(bytes) => {
                    self.counters.branches.took(Branch::RequestFromLog);
                    late.push(Held {
                        origin: waiting.origin,
                        bytes,
                        until_ns: waiting.deadline_ns,
                        deadline_ns: waiting.deadline_ns,
                    });
                }
                None => self.answer_in_doubt(index, &waiting),
            }
        }
        late.append(&mut self.take_confirming(index));
        let group = &mut self.groups[index];
        if stays {
            // In the order of the log, before what came later.
            late.append(&mut group.queued);
            group.queued = late;
            return;
        }
        late.append(&mut group.held);
        late.append(&mut group.queued);
        let id = group.id;
        for held in late {
            self.keep_for_next(now, id, held);
        }
    }

    /// A request of a client of this shard is kept until the topology log says who writes; another mailroom's is kept there.
    fn keep_for_next(&mut self, now: Now, group: GroupId, held: Held) {
        self.keep_held(now, group, held, Sent::Times(1));
    }

    /// The same of one that has not run, until its group has moved to another shard of this node.
    pub(crate) fn keep_unsent(&mut self, now: Now, group: GroupId, held: Held) {
        self.keep_held(now, group, held, Sent::Never);
    }

    fn keep_held(&mut self, now: Now, group: GroupId, held: Held, sent: Sent) {
        let Origin::Client(client) = held.origin else { return };
        let Some(request) = held_request(&held.bytes) else {
            return;
        };
        if !self.pendings.has_room() {
            return self.refuse(held.origin, &request, Outcome::Busy, BUSY_RETRY_MS);
        }
        let (correlation, number) = (request.header.correlation.get(), request.header.number.get());
        self.keep(now, client, group, correlation, number, held, sent);
    }

    /// Keeps a request of a client of this shard; the name under which its answer comes.
    #[expect(clippy::too_many_arguments, reason = "the columns of one row, named")]
    pub(crate) fn keep(
        &mut self,
        now: Now,
        client: ClientId,
        group: GroupId,
        correlation: u64,
        number: u32,
        held: Held,
        sent: Sent,
    ) -> u64 {
        let to = self.writer_of(group).unwrap_or(self.settings.node);
        let pending = Pending {
            client,
            correlation,
            to,
            group,
            number,
            bytes: held.bytes,
            arrived_ns: now.monotonic_ns,
            deadline_ns: held.deadline_ns,
            again_ns: u64::MAX,
            sent,
        };
        let correlation = self.pendings.keep(pending);
        self.note_due(correlation);
        correlation
    }

    /// The request whose entry a reply waits for, as its sender sent it. `None` of a read, or where the entry does not say it all.
    pub(crate) fn request_of(&self, now: Now, index: usize, waiting: &Waiting) -> Option<Vec<u8>> {
        if waiting.number == 0 {
            return None;
        }
        let group = &self.groups[index];
        let seq = waiting
            .ready
            .as_ref()
            .map_or(waiting.upto, |ready| Seq(ready.header.seq.get()));
        let (entry, _, _) = group.log.entry(&self.memory, seq)?;
        if entry.header.flags.get() & (VOID | DROPPED) != 0 {
            return None;
        }
        let key = group.registry.key(entry.header.actor.get())?;
        let lane = group.lanes.lane(entry.header.lane.get())?;
        let number = entry.header.number.get();
        let mark = number - u32::from(entry.header.mark_distance);
        // A row whose session is over is another session's by now.
        if lane.standing(number, mark) != Standing::Known(seq) {
            return None;
        }
        let header = RequestHeader {
            item: ItemHeader {
                // This copy was logged: nothing that is said of another is definite.
                flags: SENT_BEFORE,
                group: group.id.0.into(),
                ..ItemHeader::default()
            },
            session: lane.session.0,
            correlation: waiting.correlation.into(),
            number: number.into(),
            mark: mark.into(),
            timeout_ms: u32::try_from(now.ms_until(waiting.deadline_ns))
                .unwrap_or(u32::MAX)
                .into(),
            operation: Operation::Send as u8,
            ..RequestHeader::default()
        };
        let mut bytes = Vec::new();
        request::push(&mut bytes, &header, key, entry.message);
        bytes.truncate(REQUEST_HEADER + padded(key.len()) + entry.message.len());
        Some(bytes)
    }

    /// Nobody can ask for it again: it may take effect, and a repeat tells. A read is asked again by whoever reads.
    pub(crate) fn answer_in_doubt(&mut self, index: usize, waiting: &Waiting) {
        let outcome = if waiting.number == 0 {
            Outcome::NoQuorum
        } else {
            Outcome::Unknown
        };
        self.counters.unknown += u64::from(outcome == Outcome::Unknown);
        let header = ReplyHeader {
            item: ItemHeader {
                flags: if waiting.number == 0 { 0 } else { MAYBE },
                group: self.groups[index].id.0.into(),
                ..ItemHeader::default()
            },
            correlation: waiting.correlation.into(),
            number: waiting.number.into(),
            outcome: outcome as u8,
            ..ReplyHeader::default()
        };
        self.send_reply(waiting.origin, &header, &[]);
    }
}
