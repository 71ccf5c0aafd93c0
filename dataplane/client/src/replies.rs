//! Replies: what each of them means for its request (`protocol.md` §8).
//!
//! A logged outcome is final. A refusal is definite only if it answers the one copy that was ever under way and carries no `MAYBE`; any
//! other one says nothing about the effect, so the request goes on with the same number or ends as `Unknown`. **Invariant:** a request
//! gets a new number, in a new session, only after a definite refusal.

use waterpark_wire::body::{self, SlotTableBody};
use waterpark_wire::item::{Item, ItemKind};
use waterpark_wire::link::{DOCUMENT_SLOT_TABLE, Document};
use waterpark_wire::reply::{ELSEWHERE, MAYBE, Outcome, ReplyView};
use waterpark_wire::{ConnectionRefusal, FrameError, FrameKind};

use crate::client_core::{ClientCore, MS};
use crate::completion::{Completion, Token};
use crate::error::ClientError;
use crate::peer::PeerId;
use crate::requests::{Asks, Stage};

/// The first pause after a refusal that names no time.
const PAUSE_MS: u64 = 5;
/// The longest.
const PAUSE_MAX_MS: u64 = 200;
/// Items of a frame whose requests are asked for together.
const AHEAD: usize = 32;
/// A node's own wish is followed up to here.
const BUSY_MAX_MS: u32 = 1_000;

/// What follows a refusal.
enum Next {
    /// Another copy after so many milliseconds.
    Again(u64),
    /// A number in a new session.
    Rebind,
    /// The end: refused if that is definite.
    Over,
    /// The end: whatever the refusal says, it tells nothing about the effect.
    Unknown,
}

impl ClientCore {
    /// Bytes came on a connection.
    pub fn on_bytes(&mut self, now_ns: u64, peer: PeerId, bytes: &[u8]) {
        let Some(row) = self.peers.get_mut(peer.0 as usize) else {
            return;
        };
        let Some(mut framer) = row.framer.take() else { return };
        row.heard_ns = now_ns;
        let was_silent_ns = now_ns.saturating_sub(std::mem::replace(&mut row.spoke_ns, now_ns));
        let mut cause = None;
        let result = framer.feed(bytes, true, |frame| {
            if frame.kind != FrameKind::Node {
                return Err(FrameError::Kind);
            }
            let mut ahead = frame.items();
            for (place, item) in frame.items().enumerate() {
                if place % AHEAD == 0 {
                    self.glance(ahead.by_ref().take(AHEAD));
                }
                if let Err(error) = self.on_item(now_ns, peer, &item) {
                    cause = Some(error);
                    // The stream ends here, whatever the reason is called.
                    return Err(FrameError::ItemKind);
                }
            }
            Ok(())
        });
        match result {
            Ok(()) => {
                let row = &mut self.peers[peer.0 as usize];
                if row.is_up() {
                    row.framer = Some(framer);
                }
            }
            Err(error) => self.fail(now_ns, peer, cause.unwrap_or(ClientError::Frame(error))),
        }
        self.on_spoken(now_ns, peer.0, was_silent_ns);
    }

    /// Asks for the rows of the requests that items are answers to. With thousands under way each has left the caches, and one after the other
    /// they would be waited for.
    fn glance<'a>(&self, items: impl Iterator<Item = Item<'a>>) {
        let replies = items.filter_map(|item| ReplyView::new_checked(&item).ok());
        let seen = replies.fold(0, |seen, reply| {
            seen ^ self.requests.glance(reply.header.correlation.get())
        });
        std::hint::black_box(seen);
    }

    fn on_item(&mut self, now_ns: u64, peer: PeerId, item: &Item<'_>) -> Result<(), ClientError> {
        match item.kind() {
            ItemKind::Reply => {
                let reply = ReplyView::new_checked(item).map_err(ClientError::Frame)?;
                self.on_reply(now_ns, &reply);
                Ok(())
            }
            ItemKind::Document => self.on_document(now_ns, item),
            ItemKind::Part => {
                let limit = self.options.reply_bytes_max;
                let row = &mut self.peers[peer.0 as usize];
                let Some(whole) = row.assembly.take(item, limit).map_err(ClientError::Frame)? else {
                    return Ok(());
                };
                match Item::new_checked_unpadded(&whole) {
                    Ok(inner) if inner.kind() != ItemKind::Part => self.on_item(now_ns, peer, &inner),
                    Ok(_) => Err(ClientError::Frame(FrameError::Part)),
                    Err(error) => Err(ClientError::Frame(error)),
                }
            }
            ItemKind::Refusal => Err(refusal_of(item)),
            _ => Err(ClientError::Frame(FrameError::ItemKind)),
        }
    }

    fn on_document(&mut self, now_ns: u64, item: &Item<'_>) -> Result<(), ClientError> {
        let (document, archive) = Document::new_checked(item).map_err(ClientError::Frame)?;
        if item.header.aux.get() == DOCUMENT_SLOT_TABLE {
            let table: SlotTableBody = body::decode(archive).map_err(ClientError::Frame)?;
            self.set_slot_table(&table)?;
        }
        if let Some((index, _)) = self.requests.by_correlation(document.correlation.get()) {
            if self.requests.row(index).asks != Asks::Document {
                return Err(ClientError::Frame(FrameError::Reply));
            }
            self.finish(now_ns, index, Ok(Outcome::Done), None, archive);
        }
        Ok(())
    }

    #[inline]
    fn on_reply(&mut self, now_ns: u64, reply: &ReplyView<'_>) {
        if reply.header.item.flags & ELSEWHERE != 0 && self.options.direct {
            self.learn(now_ns);
        }
        // A reply to what has ended is late, not wrong.
        let Some((index, newest)) = self.requests.by_correlation(reply.header.correlation.get()) else {
            return;
        };
        let row = self.requests.row(index);
        if row.asks == Asks::Document {
            return;
        }
        if reply.outcome.is_logged() {
            let token = Token::of(reply.header);
            if row.stage == Stage::Held {
                return;
            }
            if row.asks == Asks::Effect && row.stage == Stage::Flying {
                self.peers[row.peer as usize].doubts = 0;
            }
            return self.finish(now_ns, index, Ok(reply.outcome), token, reply.body);
        }
        // A refusal of an earlier copy tells nothing about the one that is under way.
        if newest && row.stage == Stage::Flying {
            self.on_refusal(now_ns, index, reply);
        }
    }

    fn on_refusal(&mut self, now_ns: u64, index: u32, reply: &ReplyView<'_>) {
        let (outcome, detail) = (reply.outcome, reply.header.detail.get());
        let maybe = reply.header.item.flags & MAYBE != 0 || outcome == Outcome::Unknown;
        self.land(index);
        let row = self.requests.row_mut(index);
        row.stage = Stage::Pausing;
        row.refusal = Some((outcome, detail));
        row.dirty |= maybe && row.asks == Asks::Effect;
        let (attempts, deadline_ns, group, peer) = (row.attempts, row.deadline_ns, row.group, row.peer);
        let over = attempts >= row.attempts_max;
        if outcome == Outcome::NotWriter {
            self.on_not_writer(now_ns, group, detail);
        }
        if outcome == Outcome::NoQuorum {
            self.on_no_quorum(now_ns, peer);
        }
        match self.next(index, outcome, detail) {
            Next::Rebind if !over => {
                let group_time_s = (outcome == Outcome::SessionExpired).then_some(detail);
                self.leave_session(now_ns, index, group_time_s);
            }
            Next::Again(0) if !over => self.dispatch(now_ns, index),
            Next::Again(pause_ms) if !over => {
                let again_ns = now_ns + pause_ms * MS;
                self.requests.set_due(index, again_ns.min(deadline_ns));
            }
            Next::Unknown => self.finish(now_ns, index, Err(ClientError::Unknown), None, &[]),
            _ => self.give_up(now_ns, index),
        }
    }

    fn next(&self, index: u32, outcome: Outcome, detail: u32) -> Next {
        let row = self.requests.row(index);
        let numbered = row.asks == Asks::Effect;
        let pause_ms = (PAUSE_MS << row.attempts.saturating_sub(1).min(10)).min(PAUSE_MAX_MS);
        let may_leave = numbered && !row.dirty && row.counted;
        let leaves = may_leave && self.lanes[row.lane as usize].is_expired();
        match outcome {
            // Whatever passes by itself need not be waited for in a session that has ended.
            Outcome::Busy | Outcome::NoQuorum | Outcome::NotWriter | Outcome::Stopping | Outcome::Gap if leaves => {
                Next::Rebind
            }
            Outcome::Busy => Next::Again(u64::from(detail.clamp(1, BUSY_MAX_MS))),
            Outcome::NotWriter if row.attempts < 3 => Next::Again(0),
            Outcome::NotWriter | Outcome::NoQuorum | Outcome::Stopping | Outcome::Unknown => Next::Again(pause_ms),
            // The number that is waited for is abandoned by now: the newer mark says so.
            Outcome::Gap if numbered && detail < self.lanes[row.lane as usize].mark() && row.attempts < 3 => {
                Next::Again(0)
            }
            Outcome::Gap => Next::Again(pause_ms),
            Outcome::SessionExpired if may_leave => Next::Rebind,
            Outcome::SessionExpired if numbered => Next::Unknown,
            Outcome::Old if numbered => Next::Unknown,
            // An earlier copy may be on its way to the entry that the same number will find.
            Outcome::Full if row.dirty => Next::Again(pause_ms),
            _ => Next::Over,
        }
    }

    /// The session has ended before the request took effect: it waits for a number in the lane's next session. The mark stays below the
    /// old number until then, or a later request of an ordered lane could still take effect in the old session, before this one.
    fn leave_session(&mut self, now_ns: u64, index: u32, group_time_s: Option<u32>) {
        let row = self.requests.row_mut(index);
        let (lane_index, number) = (row.lane, row.number);
        row.stage = Stage::Rebinding;
        row.counted = false;
        row.number = 0;
        let deadline_ns = row.deadline_ns;
        self.requests.set_due(index, deadline_ns);
        let lane = &mut self.lanes[lane_index as usize];
        lane.expire();
        if let Some(group_time_s) = group_time_s {
            lane.clock = Some((group_time_s, now_ns));
        }
        lane.live -= 1;
        lane.rebinds.push((number, index));
        self.feed_lane(now_ns, lane_index);
    }

    /// Ends a request without an answer, as what is known of its copies allows.
    pub(crate) fn give_up(&mut self, now_ns: u64, index: u32) {
        let row = self.requests.row(index);
        let numbered = row.asks == Asks::Effect;
        let flying = row.stage == Stage::Flying;
        let error = match row.refusal {
            _ if numbered && (flying || row.dirty) => ClientError::Unknown,
            Some((outcome, detail)) => ClientError::Refused { outcome, detail },
            None if row.attempts == 0 && self.up.is_empty() => match self.last_failure {
                Some(refusal @ ClientError::Handshake(_)) => refusal,
                _ => ClientError::Unreachable { tried: self.tried },
            },
            None => ClientError::Deadline,
        };
        self.finish(now_ns, index, Err(error), None, &[]);
    }

    /// Hands over the requests that have ended since the last call.
    pub fn take_completions(&mut self, on: impl FnMut(Completion<'_>)) {
        self.completions.take(on);
    }

    /// Whether there are any.
    #[must_use]
    pub fn has_completions(&self) -> bool {
        !self.completions.is_empty()
    }
}

/// What a node said before it closed the connection.
pub(crate) fn refusal_of(item: &Item<'_>) -> ClientError {
    match ConnectionRefusal::from_item(item) {
        Ok(refusal) => ClientError::Cut(refusal),
        Err(error) => ClientError::Frame(error),
    }
}
