//! The receiving side of MLLP: bytes of many connections become requests, and what became of them becomes acknowledgements.
//!
//! Calculation alone: no socket, no clock. The world hands in bytes, replies and the time, and takes requests, bytes to send and connections
//! to close out of an [`Output`]. It keeps a message until its end is known and says `AA` only for one that three members hold.
//!
//! Answers leave on a connection in the order of its messages. Of messages of one connection with one key, the next is asked for when the
//! one before it has ended, so a patient's order is the sender's; messages with different keys are under way together.
//!
//! **Invariant:** every message that came whole is answered once on its connection, unless that is gone first.
//!
//! | file | part |
//! |---|---|
//! | `mod.rs` | connections, from bytes to answers |
//! | `queue.rs` | the messages of one connection |
//! | `lanes.rs` | numbers of requests |
//! | `answers.rs` | bytes of answers, those to batches included |

mod answers;
mod lanes;
mod queue;

use std::collections::{BTreeMap, HashMap};

use waterpark_ring::{KeyRef, Topology};
use waterpark_wire::item::Items;
use waterpark_wire::reply::{Outcome, ReplyView};
use waterpark_wire::request::{self, Operation, RequestHeader};
use waterpark_wire::{ItemKind, item::ItemHeader};

use crate::ack::{Answer, Mode};
use crate::hl7::{Contents, Message, contents};
use crate::key::{KeyRules, write_key};
use crate::mllp::{Framer, HEAD_BYTES, Limits, MllpError, Received};
use crate::resend::{KNOWN, REUSED_ID};
use answers::Stamps;
use lanes::{Lanes, Ticket};
use queue::{Frame, MessageRow, Queue, State};

/// What an operator can choose, and the bounds of a connection.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which of a patient's ids is the key.
    pub keys: KeyRules,
    /// Whether MSH-15 and MSH-16 are listened to.
    pub mode: Mode,
    /// Bounds of frames.
    pub limits: Limits,
    /// A message whose end is not known after so many milliseconds is answered with an error.
    pub timeout_ms: u32,
    /// Messages of one connection that may be under way at once.
    pub window: usize,
    /// Messages of one connection that may wait for their answer; from half of them on it is not read from, and what comes beyond them all
    /// the same is answered `AE` at once.
    pub frames_max: usize,
    /// Bytes of them, the last one not counted.
    pub bytes_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            keys: KeyRules::default(),
            mode: Mode::Original,
            limits: Limits::default(),
            timeout_ms: 10_000,
            window: 32,
            frames_max: 1_024,
            bytes_max: 4 << 20,
        }
    }
}

/// The time, as the world read it.
#[derive(Clone, Copy, Debug)]
pub struct Instant {
    /// Of a clock that never goes back.
    pub monotonic_ms: u64,
    /// Since 1970.
    pub wall_ms: u64,
}

/// What is to be done, in order. The caller empties it.
#[derive(Debug, Default)]
pub struct Output {
    /// Request items, one behind the other, for the mailroom of this shard. Their correlations are this module's.
    pub requests: Vec<u8>,
    /// Bytes for connections, in order.
    pub sends: Vec<(u64, Vec<u8>)>,
    /// Connections to stop reading from (`true`), because too much of them waits, or to read from again.
    pub pauses: Vec<(u64, bool)>,
    /// Connections to be closed once what they were sent has left, with the reason.
    pub closes: Vec<(u64, MllpError)>,
}

macro_rules! counts {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {
        /// What came and what became of it, since the start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Counts {
            /// Each with its name.
            pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((concat!("mllp_", stringify!($name)), self.$name)),+].into_iter()
            }
        }
    };
}

counts! {
    /// Connections that were opened.
    connections;
    /// Messages that came whole, those of batches included.
    messages;
    /// Batches whose counts were right.
    batches;
    /// Messages that three members hold.
    accepted;
    /// Of these, those that had come before and were not stored again.
    known;
    /// Of these, those whose control id had come before with other bytes.
    reused_ids;
    /// Messages that may be sent again.
    errors;
    /// Messages and batches that will never be taken.
    rejected;
    /// Frames that were refused because too much of their connection waited.
    crowded;
    /// Requests that were asked again: a queue was full, or their session had ended.
    asked_again;
    /// Bytes outside of frames, line ends left out.
    junk_bytes;
    /// Connections that were closed because what came on them was not MLLP.
    not_mllp;
}

/// The receiving side of one shard.
#[derive(Debug)]
pub struct Inbound {
    options: Options,
    topology: Topology,
    connections: HashMap<u64, Queue>,
    lanes: Lanes,
    /// What was asked for and is not answered, by correlation.
    asked: HashMap<u64, Asked>,
    correlation: u64,
    /// Messages that are asked for again later, by when; monotonic ms, then a number that keeps rows apart.
    later: BTreeMap<(u64, u64), u64>,
    stamps: Stamps,
    counts: Counts,
    key: Vec<u8>,
}

/// Which message a request is for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    connection: u64,
    /// Number of its frame on the connection.
    frame: u64,
    /// Its place in the frame.
    message: usize,
    ticket: Ticket,
}

/// A request that found its queue full is asked again after this, if the reply does not say more.
const AGAIN_MS: u64 = 10;

impl Inbound {
    /// Before the first connection. `entropy` are random bytes: they tell this one's requests and answers from all others'.
    #[must_use]
    pub fn new(options: Options, topology: Topology, entropy: [u8; 16]) -> Inbound {
        let (session, stamp) = entropy.split_at(8);
        let words = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("half of sixteen bytes"));
        Inbound {
            options,
            topology,
            connections: HashMap::new(),
            lanes: Lanes::new(words(session)),
            asked: HashMap::new(),
            correlation: 0,
            later: BTreeMap::new(),
            stamps: Stamps::new(words(stamp)),
            counts: Counts::default(),
            key: Vec::new(),
        }
    }

    /// What came and what became of it.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// How many messages are asked for or wait to be.
    #[must_use]
    pub fn open(&self) -> usize {
        self.asked.len() + self.later.len()
    }

    /// A connection is there. The caller chooses its name and uses none twice.
    pub fn opened(&mut self, connection: u64) {
        self.counts.connections += 1;
        self.connections
            .insert(connection, Queue::new(Framer::new(self.options.limits)));
    }

    /// A connection is gone. What was asked for may still be stored; a sender that comes back sends it again, and it is known then.
    pub fn closed(&mut self, connection: u64) {
        if let Some(queue) = self.connections.remove(&connection) {
            self.counts.junk_bytes += queue.framer.counts().junk_bytes;
        }
    }

    /// Bytes came.
    pub fn received(&mut self, now: Instant, connection: u64, bytes: &[u8], out: &mut Output) {
        let Some(mut queue) = self.connections.remove(&connection) else {
            return;
        };
        if queue.given_up {
            self.connections.insert(connection, queue);
            return;
        }
        let mut framer = std::mem::replace(&mut queue.framer, Framer::new(self.options.limits));
        let fed = framer.feed(bytes, true, |received| self.take(now, &mut queue, received));
        queue.framer = framer;
        queue.given_up = fed.is_err();
        self.go_on(now, connection, queue, out);
        if let Err(error) = fed {
            self.counts.not_mllp += 1;
            out.closes.push((connection, error));
        }
    }

    /// The sender has ended its side of the stream: what is under way is still answered.
    pub fn finished(&mut self, now: Instant, connection: u64, out: &mut Output) {
        let Some(mut queue) = self.connections.remove(&connection) else {
            return;
        };
        let mut framer = std::mem::replace(&mut queue.framer, Framer::new(self.options.limits));
        // A limit that is passed by the very end leaves nothing to be said.
        framer.finish(|received| self.take(now, &mut queue, received)).ok();
        queue.framer = framer;
        self.go_on(now, connection, queue, out);
    }

    /// Whether nothing of a connection waits for an answer.
    #[must_use]
    pub fn is_answered(&self, connection: u64) -> bool {
        self.connections.get(&connection).is_none_or(Queue::is_empty)
    }

    /// Idle buffers of connections are given back. For callers that call it now and then.
    pub fn rest(&mut self) {
        self.connections.values_mut().for_each(|queue| queue.framer.rest());
    }

    /// Replies came from the mailroom, as items.
    pub fn replies(&mut self, now: Instant, items: &[u8], out: &mut Output) {
        let mut walk = Items::new(items);
        while let Ok(Some(item)) = walk.step() {
            if item.kind() == ItemKind::Reply
                && let Ok(reply) = ReplyView::new_checked(&item)
            {
                self.reply(now, &reply, out);
            }
        }
    }

    /// When it wants to be ticked, in monotonic ms.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        self.later.keys().next().map(|(due_ms, _)| *due_ms)
    }

    /// Time passed: what waited to be asked again is.
    pub fn tick(&mut self, now: Instant, out: &mut Output) {
        while let Some(entry) = self
            .later
            .first_entry()
            .filter(|entry| entry.key().0 <= now.monotonic_ms)
        {
            let connection = entry.remove();
            if let Some(queue) = self.connections.remove(&connection) {
                self.go_on(now, connection, queue, out);
            }
        }
    }

    /// One frame: checked, and laid into its connection's queue.
    fn take(&mut self, now: Instant, queue: &mut Queue, received: Received<'_>) {
        let limit = self.options.limits.message_bytes_max;
        let frame = match received {
            Received::TooLong { head, .. } | Received::Cut { head, .. } => {
                let answer =
                    Answer::of_received(&received, limit).expect("such a frame did not bring its message whole");
                self.refused(head, answer)
            }
            Received::Message(body)
                if queue.len() >= self.options.frames_max || queue.bytes() > self.options.bytes_max =>
            {
                self.counts.crowded += 1;
                let retry_ms = u32::try_from(AGAIN_MS).unwrap_or(u32::MAX);
                self.refused(body, Answer::of_outcome(Outcome::Busy, retry_ms))
            }
            Received::Message(body) => match contents(body) {
                Err(error) => self.refused(body, Answer::of_error(error)),
                Ok(Contents::Message(message)) => {
                    let row = self.row(now, &message, body);
                    Frame::single(body, row)
                }
                Ok(Contents::Batch(batch)) => {
                    self.counts.batches += 1;
                    let rows = batch.messages().map(|bytes| match Message::parse(bytes) {
                        Ok(message) => self.row(now, &message, body),
                        Err(error) => MessageRow::answered(bytes, body, Answer::of_error(error)),
                    });
                    Frame::batch(body, rows.collect())
                }
            },
        };
        queue.push(frame);
    }

    fn refused(&mut self, bytes: &[u8], answer: Answer) -> Frame {
        Frame::refused(&bytes[..bytes.len().min(HEAD_BYTES)], answer)
    }

    /// One message: its key, or why it has none.
    fn row(&mut self, now: Instant, message: &Message<'_>, frame: &[u8]) -> MessageRow {
        self.counts.messages += 1;
        let original = message.original();
        match write_key(message, &self.options.keys, &mut self.key) {
            Ok(key) => MessageRow::waiting(
                original,
                frame,
                key.bytes(),
                now.monotonic_ms.saturating_add(u64::from(self.options.timeout_ms)),
            ),
            Err(error) => MessageRow::answered(original, frame, Answer::of_error(error)),
        }
    }

    /// Asks for what can be asked for, writes the answers that are due, and keeps the connection.
    fn go_on(&mut self, now: Instant, connection: u64, mut queue: Queue, out: &mut Output) {
        self.ask(now, connection, &mut queue, out);
        let mut bytes = Vec::new();
        while let Some(frame) = queue.pop_answered() {
            for answer in frame.answers() {
                let count = match answer.verdict {
                    crate::ack::Verdict::Accept => &mut self.counts.accepted,
                    crate::ack::Verdict::Error => &mut self.counts.errors,
                    crate::ack::Verdict::Reject => &mut self.counts.rejected,
                };
                *count += 1;
            }
            answers::write(&mut bytes, &frame, self.options.mode, now.wall_ms, &mut self.stamps);
        }
        if !bytes.is_empty() {
            out.sends.push((connection, bytes));
        }
        let is_crowded = queue.len() >= self.options.frames_max / 2 || queue.bytes() >= self.options.bytes_max / 2;
        if is_crowded != std::mem::replace(&mut queue.paused, is_crowded) {
            out.pauses.push((connection, is_crowded));
        }
        self.connections.insert(connection, queue);
    }

    /// Makes requests of the messages at the front of a queue, but of those with one key only of the first.
    fn ask(&mut self, now: Instant, connection: u64, queue: &mut Queue, out: &mut Output) {
        let mut wait_until = None;
        queue.each_askable(self.options.window, now.monotonic_ms, |place, frame, row| {
            let (State::Waiting { .. }, deadline_ms) = (&row.state, row.deadline_ms) else {
                return;
            };
            let Some(left_ms) = deadline_ms.checked_sub(now.monotonic_ms).filter(|left| *left > 0) else {
                row.state = State::Answered(Answer::of_outcome(Outcome::NoQuorum, 0));
                return;
            };
            let Ok(key) = KeyRef::new_checked(&row.key) else {
                row.state = State::Answered(Answer::of_outcome(Outcome::BadRequest, 0));
                return;
            };
            let group = self.topology.locate(key).group.0;
            let Some(ticket) = self.lanes.take(group, now.wall_ms / 1_000) else {
                // As many of this group as a lane has numbers are under way.
                let until = now.monotonic_ms + AGAIN_MS;
                row.state = State::Waiting { not_before_ms: until };
                wait_until = Some(until);
                return;
            };
            self.correlation += 1;
            let header = RequestHeader {
                item: ItemHeader {
                    group: group.into(),
                    ..ItemHeader::default()
                },
                session: ticket.session,
                correlation: self.correlation.into(),
                number: ticket.number.into(),
                mark: ticket.mark.into(),
                timeout_ms: u32::try_from(left_ms).unwrap_or(u32::MAX).into(),
                operation: Operation::Send as u8,
                ..RequestHeader::default()
            };
            request::push(&mut out.requests, &header, &row.key, &frame[row.range.clone()]);
            let asked = Asked {
                connection,
                frame: place.0,
                message: place.1,
                ticket,
            };
            self.asked.insert(self.correlation, asked);
            row.state = State::Asked;
        });
        if let Some(until) = wait_until {
            self.call_later(until, connection);
        }
    }

    fn call_later(&mut self, until_ms: u64, connection: u64) {
        self.correlation += 1;
        self.later.insert((until_ms, self.correlation), connection);
    }

    fn reply(&mut self, now: Instant, reply: &ReplyView<'_>, out: &mut Output) {
        let Some(asked) = self.asked.remove(&reply.header.correlation.get()) else {
            return;
        };
        self.lanes.give_back(&asked.ticket);
        let detail = reply.header.detail.get();
        let again_ms = match reply.outcome {
            Outcome::Busy => Some(u64::from(detail).max(AGAIN_MS)),
            Outcome::SessionExpired => {
                self.lanes.end_session();
                Some(0)
            }
            _ => None,
        };
        if reply.outcome.is_logged() {
            self.counts.known += u64::from(reply.body == KNOWN);
            self.counts.reused_ids += u64::from(reply.body == REUSED_ID);
        }
        let Some(mut queue) = self.connections.remove(&asked.connection) else {
            return;
        };
        if let Some(row) = queue.row(asked.frame, asked.message) {
            let until_ms = again_ms.map(|again_ms| now.monotonic_ms + again_ms);
            row.state = match until_ms.filter(|until_ms| *until_ms < row.deadline_ms) {
                Some(not_before_ms) => {
                    self.counts.asked_again += 1;
                    if not_before_ms > now.monotonic_ms {
                        self.call_later(not_before_ms, asked.connection);
                    }
                    State::Waiting { not_before_ms }
                }
                None => State::Answered(Answer::of_outcome(reply.outcome, detail)),
            };
        }
        self.go_on(now, asked.connection, queue, out);
    }
}
