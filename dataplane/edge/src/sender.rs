//! The sending end of an MLLP link, without its socket: which frames leave when, and what became of each message.
//!
//! Time is an argument, in milliseconds of a clock that never goes back. A message is sent again, the same bytes, until it is answered or its
//! attempts are used up; a receiver that recognises repeats stores it once. **Invariant:** nothing newer is sent while an older message waits
//! for its next attempt. **Invariant:** two messages with one control id are never unanswered at once, so an answer means one message.
//!
//! An answer that does not come in time ends the connection: on a stream in order it will not come later either, and a second copy behind the
//! first would only make a slow receiver slower. Back-off doubles from one silent connection to the next.

use std::collections::VecDeque;
use std::fmt;

use crate::ack::Code;
use crate::hl7::{Hl7Error, Message};
use crate::mllp::{self, Framer, Limits, MllpError, Received};

/// How one link sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Messages that may be unanswered at once. With 1, messages arrive in order whatever is refused; with more, one that has to be sent again
    /// arrives behind those that were in flight with it.
    pub pipeline_max: usize,
    /// Messages that may wait, those in flight included.
    pub waiting_max: usize,
    /// An answer has to come within this time.
    pub ack_timeout_ms: u64,
    /// A message is given up after so many attempts.
    pub attempts_max: u32,
    /// The first pause before a next attempt; each further one is twice as long.
    pub back_off_ms: u64,
    /// The longest pause.
    pub back_off_max_ms: u64,
    /// An answer is at most this long.
    pub ack_bytes_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            pipeline_max: 1,
            waiting_max: 1024,
            ack_timeout_ms: 30_000,
            attempts_max: 10,
            back_off_ms: 500,
            back_off_max_ms: 60_000,
            ack_bytes_max: 64 << 10,
        }
    }
}

/// Why a message is not taken for sending. The caller's to mend; the sender is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmitError {
    /// No answer could be matched to it.
    Hl7(Hl7Error),
    /// It holds bytes that end a frame or begin one, and would not arrive as it is.
    Unframeable,
    /// As many wait as may; come back when one has ended.
    Full,
}

impl fmt::Display for SubmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SubmitError::Hl7(error) => write!(f, "not sent: {error}"),
            SubmitError::Unframeable => {
                f.write_str("not sent: the message holds bytes that end or begin an MLLP frame")
            }
            SubmitError::Full => f.write_str("not sent: too many messages wait for their answers"),
        }
    }
}

impl std::error::Error for SubmitError {}

/// How a message ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// AA or CA: the receiver has it.
    Accepted(Code),
    /// AR or CR; or AE or CE at the last attempt. With the receiver's text, as bytes.
    Refused(Code, Vec<u8>),
    /// No attempt was answered in time. The receiver may have it.
    Unanswered,
}

/// The end of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The caller's name for it.
    pub tag: u64,
    /// What became of it.
    pub fate: Fate,
    /// How often it was sent.
    pub attempts: u32,
    /// Milliseconds since it was sent first.
    pub took_ms: u64,
    /// The message.
    pub message: Vec<u8>,
}

/// What a sender has seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames written, repeats included.
    pub sent: u64,
    /// Of these, repeats.
    pub repeats: u64,
    /// Answers to nothing that is in flight.
    pub strays: u64,
    /// Frames that are no answers.
    pub unreadable: u64,
    /// Connections ended because an answer was late.
    pub timeouts: u64,
}

/// A message on its way.
#[derive(Debug)]
struct Letter {
    tag: u64,
    control_id: Vec<u8>,
    message: Vec<u8>,
    attempts: u32,
    first_sent_ms: u64,
    /// When its answer is late; `None` while it waits to be sent.
    deadline_ms: Option<u64>,
}

impl Letter {
    fn end(self, fate: Fate, now_ms: u64) -> End {
        End {
            tag: self.tag,
            fate,
            attempts: self.attempts,
            took_ms: now_ms.saturating_sub(self.first_sent_ms),
            message: self.message,
        }
    }
}

/// The sending end of one link.
#[derive(Debug)]
pub struct Sender {
    options: Options,
    /// Oldest first; those in flight among them.
    letters: VecDeque<Letter>,
    in_flight: usize,
    is_connected: bool,
    /// Nothing is sent or dialled before.
    rests_until_ms: u64,
    /// Connections in a row that ended without an answer.
    failures: u32,
    framer: Framer,
    counts: Counts,
}

impl Sender {
    /// A sender without a connection.
    #[must_use]
    pub fn new(options: Options) -> Sender {
        Sender {
            options,
            letters: VecDeque::new(),
            in_flight: 0,
            is_connected: false,
            rests_until_ms: 0,
            failures: 0,
            framer: framer(&options),
            counts: Counts::default(),
        }
    }

    /// What it has seen.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Messages that have not ended, those in flight included.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.letters.len()
    }

    /// Bytes of the messages that have not ended.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.letters.iter().map(|letter| letter.message.capacity()).sum()
    }

    /// Messages that were sent and not answered.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Takes a message for sending, behind those taken before. `tag` comes back with its end.
    ///
    /// # Errors
    /// `Hl7` if it has no header, type or control id; `Unframeable`; `Full`.
    pub fn submit(&mut self, tag: u64, message: Vec<u8>) -> Result<(), SubmitError> {
        if self.letters.len() >= self.options.waiting_max {
            return Err(SubmitError::Full);
        }
        let parsed = Message::parse(&message).map_err(SubmitError::Hl7)?;
        if !mllp::fits(&message) {
            return Err(SubmitError::Unframeable);
        }
        let control_id = plain(parsed.header().control_id());
        self.letters.push_back(Letter {
            tag,
            control_id,
            message,
            attempts: 0,
            first_sent_ms: 0,
            deadline_ms: None,
        });
        Ok(())
    }

    /// Whether the caller should dial now.
    #[must_use]
    pub fn wants_connection(&self, now_ms: u64) -> bool {
        !self.is_connected && !self.letters.is_empty() && now_ms >= self.rests_until_ms
    }

    /// When to call again without any input: the end of a pause or the first answer that would be late.
    #[must_use]
    pub fn next_ms(&self, now_ms: u64) -> Option<u64> {
        let late = self.letters.iter().filter_map(|letter| letter.deadline_ms).min();
        let may_send = self.letters.len() > self.in_flight && self.in_flight < self.options.pipeline_max;
        let pause = Some(self.rests_until_ms).filter(|pause| may_send && *pause > now_ms);
        late.into_iter().chain(pause).min()
    }

    /// A connection stands.
    pub fn on_connected(&mut self) {
        self.is_connected = true;
        self.framer = framer(&self.options);
    }

    /// The connection has ended, or could not be made. What was in flight will be sent again, if attempts are left.
    pub fn on_disconnected(&mut self, now_ms: u64, mut on_end: impl FnMut(End)) {
        self.is_connected = false;
        self.rest(now_ms, self.failures);
        self.failures = self.failures.saturating_add(1);
        let mut number = 0;
        while number < self.letters.len() {
            let letter = &mut self.letters[number];
            let was_in_flight = letter.deadline_ms.take().is_some();
            if was_in_flight && letter.attempts >= self.options.attempts_max {
                self.remove(number, Fate::Unanswered, now_ms, &mut on_end);
            } else {
                number += 1;
            }
        }
        self.in_flight = 0;
    }

    /// Writes the frames that may leave now behind what stands in `out`.
    pub fn poll(&mut self, now_ms: u64, out: &mut Vec<u8>) {
        if !self.is_connected || now_ms < self.rests_until_ms {
            return;
        }
        for number in 0..self.letters.len() {
            if self.in_flight >= self.options.pipeline_max {
                return;
            }
            if self.letters[number].deadline_ms.is_some() {
                continue;
            }
            let control_id = &self.letters[number].control_id;
            let is_same = |other: &Letter| other.deadline_ms.is_some() && other.control_id == *control_id;
            // What comes behind waits too: the order is kept.
            if self.letters.iter().any(is_same) {
                return;
            }
            let letter = &mut self.letters[number];
            if letter.attempts == 0 {
                letter.first_sent_ms = now_ms;
            }
            self.counts.sent += 1;
            self.counts.repeats += u64::from(letter.attempts > 0);
            letter.attempts += 1;
            letter.deadline_ms = Some(now_ms.saturating_add(self.options.ack_timeout_ms));
            mllp::write(out, &letter.message);
            self.in_flight += 1;
        }
    }

    /// Takes what came on the connection.
    ///
    /// # Errors
    /// When the stream is no MLLP: close the connection and say so with [`on_disconnected`](Self::on_disconnected).
    pub fn on_received(&mut self, now_ms: u64, bytes: &[u8], mut on_end: impl FnMut(End)) -> Result<(), MllpError> {
        // The framer lends slices while it is fed; the sender goes on beside it.
        let mut framer = std::mem::replace(&mut self.framer, Framer::new(Limits::default()));
        let fed = framer.feed(bytes, false, |received| match received {
            Received::Message(body) => self.on_answer(now_ms, body, &mut on_end),
            Received::TooLong { .. } | Received::Cut { .. } => self.counts.unreadable += 1,
        });
        self.framer = framer;
        fed
    }

    /// Looks for answers that are late. Returns whether the connection is to be closed; its end is then noted already.
    #[must_use]
    pub fn on_tick(&mut self, now_ms: u64, on_end: impl FnMut(End)) -> bool {
        let is_late = |letter: &Letter| letter.deadline_ms.is_some_and(|deadline| deadline <= now_ms);
        if !self.letters.iter().any(is_late) {
            return false;
        }
        self.counts.timeouts += 1;
        self.on_disconnected(now_ms, on_end);
        true
    }

    fn on_answer(&mut self, now_ms: u64, body: &[u8], on_end: &mut impl FnMut(End)) {
        let Some(answer) = Answer::read(body) else {
            self.counts.unreadable += 1;
            return;
        };
        let Some(number) = self.find(&answer) else {
            self.counts.strays += 1;
            return;
        };
        // Whoever answers is alive, whatever it says.
        self.failures = 0;
        let letter = &mut self.letters[number];
        let may_repeat = matches!(answer.code, Code::AE | Code::CE) && letter.attempts < self.options.attempts_max;
        letter.deadline_ms = None;
        self.in_flight -= 1;
        if may_repeat {
            let attempts = letter.attempts;
            self.rest(now_ms, attempts - 1);
            return;
        }
        let fate = if answer.code.is_accept() {
            Fate::Accepted(answer.code)
        } else {
            Fate::Refused(answer.code, answer.text)
        };
        self.remove(number, fate, now_ms, on_end);
    }

    /// The message in flight that an answer means.
    fn find(&self, answer: &Answer) -> Option<usize> {
        let is_meant = |letter: &Letter| {
            let is_refusal_of_the_only_one =
                answer.control_id.is_empty() && !answer.code.is_accept() && self.in_flight == 1;
            letter.deadline_ms.is_some() && (letter.control_id == answer.control_id || is_refusal_of_the_only_one)
        };
        self.letters.iter().position(is_meant)
    }

    fn remove(&mut self, number: usize, fate: Fate, now_ms: u64, on_end: &mut impl FnMut(End)) {
        let letter = self.letters.remove(number).expect("the caller has found it there");
        on_end(letter.end(fate, now_ms));
    }

    fn rest(&mut self, now_ms: u64, doublings: u32) {
        let factor = 1_u64.checked_shl(doublings).unwrap_or(u64::MAX);
        let pause = self
            .options
            .back_off_ms
            .saturating_mul(factor)
            .min(self.options.back_off_max_ms);
        self.rests_until_ms = self.rests_until_ms.max(now_ms.saturating_add(pause));
    }
}

fn framer(options: &Options) -> Framer {
    Framer::new(Limits {
        message_bytes_max: options.ack_bytes_max,
        ..Limits::default()
    })
}

/// An id as an answer can repeat it: control bytes have no place in one.
fn plain(id: &[u8]) -> Vec<u8> {
    id.iter().copied().filter(|byte| *byte >= b' ').collect()
}

/// What an answer says.
struct Answer {
    code: Code,
    control_id: Vec<u8>,
    text: Vec<u8>,
}

impl Answer {
    fn read(body: &[u8]) -> Option<Answer> {
        // Some receivers answer without a type or an id of their own; what counts is MSA.
        let message = Message::of_answer(body).ok()?;
        let msa = message.segment("MSA")?;
        Some(Answer {
            code: Code::parse(msa.field(1).raw().trim_ascii())?,
            control_id: plain(msa.field(2).raw().trim_ascii()),
            text: msa.field(3).component(1).value().into_owned(),
        })
    }
}
