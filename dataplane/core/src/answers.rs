//! What a writer answers: replies that wait for a commit, repeats, and refusals.
//!
//! It runs nothing and changes no lane. **Invariant:** an answer that was computed from what is logged waits for the commit of all that is
//! logged then; that of a number which is committed was computed before, and waits for nothing.

use waterpark_wire::item::ItemHeader;
use waterpark_wire::reply::{HAS_TOKEN, MAYBE, Outcome, ReplyHeader};
use waterpark_wire::request::{RequestView, SENT_BEFORE};

use crate::behaviour::Behaviour;
use crate::group::{Group, Role};
use crate::ids::{Seq, View};
use crate::memory::Memory;
use crate::rules::Rules;
use crate::shard::Shard;
use crate::waiting::{Origin, Ready, Waiting};
use crate::writer::BUSY_RETRY_MS;

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// A number that took effect gets its reply: at once if it is committed, else after the commit of everything up to now.
    pub(crate) fn repeat(
        &mut self,
        index: usize,
        request: &RequestView<'_>,
        origin: Origin,
        deadline_ns: u64,
        seq: Seq,
    ) {
        let group = &self.groups[index];
        let writes = group.role == Role::Writer;
        let is_committed = seq <= group.commit;
        if !writes && !is_committed {
            // It may be rolled back, or commit under another writer, who knows then.
            return self.refuse_in_doubt(origin, request, Outcome::NotWriter, 0);
        }
        if !is_committed && self.is_full(group.waiting.len()) {
            // Copies come as often as somebody sends them: each that waits is a row like any other.
            return self.refuse_in_doubt(origin, request, Outcome::Busy, BUSY_RETRY_MS);
        }
        self.counters.repeats += 1;
        let group = &mut self.groups[index];
        // An entry of the open run is not readable yet; its turn's seal makes it so, and the commit waits for that anyway.
        group.log.seal(&mut self.memory, group.log_view);
        let entry = group.log.entry(&self.memory, seq);
        let (outcome, body) = match entry {
            Some((entry, _, _)) => (
                Outcome::parse(entry.header.outcome).unwrap_or(Outcome::Settled),
                entry.reply.to_vec(),
            ),
            None => (Outcome::Settled, Vec::new()),
        };
        let view = self.view_of(index, seq);
        let header = reply_header(&self.groups[index], view, seq, outcome, request);
        if is_committed {
            self.counters.acked += u64::from(writes);
            return self.send_reply(origin, &header, &body);
        }
        self.wait(index, origin, deadline_ns, Ready { header, body });
    }

    /// An answer waits for the commit of all that is logged now.
    pub(crate) fn wait(&mut self, index: usize, origin: Origin, deadline_ns: u64, ready: Ready) {
        let group = &mut self.groups[index];
        let upto = group.log.last_seq();
        let correlation = ready.header.correlation.get();
        let number = ready.header.number.get();
        let outcome = ready.header.outcome;
        let waiting = Waiting {
            upto,
            origin,
            correlation,
            deadline_ns,
            number,
            outcome,
            ready: Some(Box::new(ready)),
        };
        if upto <= group.commit {
            return self.release(index, waiting);
        }
        group.first_deadline_ns = group.first_deadline_ns.min(deadline_ns);
        self.waiting += 1;
        group.waiting.push(waiting);
    }

    /// The view in which the entry at a seq was first logged: with the seq it names the entry for ever.
    pub(crate) fn view_of(&self, index: usize, seq: Seq) -> View {
        let group = &self.groups[index];
        if seq >= group.view_from {
            return group.log_view;
        }
        group.log.view_at(&self.memory, seq).unwrap_or(group.log_view)
    }

    pub(crate) fn release(&mut self, index: usize, waiting: Waiting) {
        if waiting.origin == Origin::Answered {
            return;
        }
        self.counters.acked += 1;
        let view = self.view_of(index, waiting.upto);
        let group = &self.groups[index];
        match waiting.ready {
            Some(ready) => self.send_reply(waiting.origin, &ready.header, &ready.body),
            None => {
                let header = ReplyHeader {
                    item: ItemHeader {
                        flags: HAS_TOKEN,
                        group: group.id.0.into(),
                        ..ItemHeader::default()
                    },
                    correlation: waiting.correlation.into(),
                    lineage: group.lineage.0.into(),
                    view: view.0.into(),
                    seq: waiting.upto.0.into(),
                    number: waiting.number.into(),
                    outcome: waiting.outcome,
                    ..ReplyHeader::default()
                };
                self.send_reply(waiting.origin, &header, &[]);
            }
        }
    }

    /// Refuses a request: nothing was logged for this copy of it.
    pub(crate) fn refuse(&mut self, origin: Origin, request: &RequestView<'_>, outcome: Outcome, detail: u32) {
        self.send_refusal(origin, request, outcome, detail, request.has(SENT_BEFORE));
    }

    /// The same where another copy may have been logged.
    fn refuse_in_doubt(&mut self, origin: Origin, request: &RequestView<'_>, outcome: Outcome, detail: u32) {
        self.send_refusal(origin, request, outcome, detail, true);
    }

    fn send_refusal(&mut self, origin: Origin, request: &RequestView<'_>, outcome: Outcome, detail: u32, maybe: bool) {
        self.counters.refused += 1;
        let flags = if maybe { MAYBE } else { 0 };
        let header = ReplyHeader {
            item: ItemHeader {
                flags,
                group: request.header.item.group,
                ..ItemHeader::default()
            },
            correlation: request.header.correlation,
            detail: detail.into(),
            number: request.header.number,
            outcome: outcome as u8,
            ..ReplyHeader::default()
        };
        self.send_reply(origin, &header, &[]);
    }
}

/// The reply of an entry, with its token.
pub(crate) fn reply_header<S>(
    group: &Group<S>,
    view: View,
    seq: Seq,
    outcome: Outcome,
    request: &RequestView<'_>,
) -> ReplyHeader {
    ReplyHeader {
        item: ItemHeader {
            flags: HAS_TOKEN,
            group: group.id.0.into(),
            ..ItemHeader::default()
        },
        correlation: request.header.correlation,
        lineage: group.lineage.0.into(),
        view: view.0.into(),
        seq: seq.0.into(),
        number: request.header.number,
        outcome: outcome as u8,
        ..ReplyHeader::default()
    }
}
