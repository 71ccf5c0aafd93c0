//! The frames of one connection that are not answered yet, in order, each with its messages.
//!
//! Knows neither keys' groups nor the form of answers. **Invariant:** frames leave in the order in which they came, each when all of its
//! messages have their answer.

use std::collections::{HashSet, VecDeque};
use std::ops::Range;

use crate::ack::Answer;
use crate::mllp::Framer;

/// What a frame was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One message.
    Single,
    /// A batch or file: its messages are answered in one frame.
    Batch,
    /// Nothing that can be stored; only its beginning is kept, to name it in the answer.
    Refused,
}

/// How far a message is.
#[derive(Debug)]
pub(super) enum State {
    /// Not asked for, or to be asked for again.
    Waiting {
        /// Monotonic ms.
        not_before_ms: u64,
    },
    /// A request of it is under way.
    Asked,
    /// Its end is known.
    Answered(Answer),
}

/// One message of a frame.
#[derive(Debug)]
pub(super) struct MessageRow {
    /// Where it lies in its frame.
    pub(super) range: Range<usize>,
    /// Canonical bytes; empty where it has none.
    pub(super) key: Box<[u8]>,
    /// Monotonic ms.
    pub(super) deadline_ms: u64,
    pub(super) state: State,
}

/// One frame.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) bytes: Box<[u8]>,
    pub(super) shape: Shape,
    pub(super) messages: Vec<MessageRow>,
}

/// A connection's frames.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) framer: Framer,
    frames: VecDeque<Frame>,
    /// Number of the first frame.
    first: u64,
    bytes: usize,
    /// It is not read from, because too much waits.
    pub(super) paused: bool,
    /// What came on it was no MLLP; what comes behind is not looked at.
    pub(super) given_up: bool,
}

/// Where a part lies in the whole that it was cut from.
fn range_in(part: &[u8], whole: &[u8]) -> Range<usize> {
    let from = part.as_ptr().addr() - whole.as_ptr().addr();
    from..from + part.len()
}

impl MessageRow {
    /// A message that is to be stored. `part` is a piece of `whole`.
    pub(super) fn waiting(part: &[u8], whole: &[u8], key: &[u8], deadline_ms: u64) -> MessageRow {
        MessageRow {
            range: range_in(part, whole),
            key: key.into(),
            deadline_ms,
            state: State::Waiting { not_before_ms: 0 },
        }
    }

    /// A message whose end is known already.
    pub(super) fn answered(part: &[u8], whole: &[u8], answer: Answer) -> MessageRow {
        MessageRow {
            range: range_in(part, whole),
            key: Box::default(),
            deadline_ms: 0,
            state: State::Answered(answer),
        }
    }

    pub(super) fn answer(&self) -> Option<&Answer> {
        match &self.state {
            State::Answered(answer) => Some(answer),
            State::Waiting { .. } | State::Asked => None,
        }
    }
}

impl Frame {
    pub(super) fn single(bytes: &[u8], row: MessageRow) -> Frame {
        Frame {
            bytes: bytes.into(),
            shape: Shape::Single,
            messages: vec![row],
        }
    }

    pub(super) fn batch(bytes: &[u8], messages: Vec<MessageRow>) -> Frame {
        Frame {
            bytes: bytes.into(),
            shape: Shape::Batch,
            messages,
        }
    }

    pub(super) fn refused(head: &[u8], answer: Answer) -> Frame {
        Frame {
            bytes: head.into(),
            shape: Shape::Refused,
            messages: vec![MessageRow::answered(head, head, answer)],
        }
    }

    /// The answers to its messages, in order, once all have theirs.
    pub(super) fn answers(&self) -> impl Iterator<Item = &Answer> {
        self.messages.iter().filter_map(MessageRow::answer)
    }

    fn is_answered(&self) -> bool {
        self.messages.iter().all(|row| row.answer().is_some())
    }
}

impl Queue {
    pub(super) fn new(framer: Framer) -> Queue {
        Queue {
            framer,
            frames: VecDeque::new(),
            first: 0,
            bytes: 0,
            paused: false,
            given_up: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Bytes of the frames that are kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, frame: Frame) {
        self.bytes += frame.bytes.len();
        self.frames.push_back(frame);
    }

    /// The first frame, if its messages all have their answers.
    pub(super) fn pop_answered(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front_if(|frame| frame.is_answered())?;
        self.first += 1;
        self.bytes -= frame.bytes.len();
        Some(frame)
    }

    /// A message by the number of its frame and its place in it.
    pub(super) fn row(&mut self, frame: u64, message: usize) -> Option<&mut MessageRow> {
        let place = usize::try_from(frame.checked_sub(self.first)?).ok()?;
        self.frames.get_mut(place)?.messages.get_mut(message)
    }

    /// Calls `ask` with each message among the first `window` unanswered ones that waits, may be asked for by now, and has no earlier one of
    /// its key before it: with its frame's number and its place, the frame's bytes, and itself.
    pub(super) fn each_askable(
        &mut self,
        window: usize,
        now_ms: u64,
        mut ask: impl FnMut((u64, usize), &[u8], &mut MessageRow),
    ) {
        let mut before: HashSet<&[u8]> = HashSet::new();
        let mut seen = 0;
        for (number, frame) in (self.first..).zip(&mut self.frames) {
            let Frame { bytes, messages, .. } = frame;
            for (place, row) in messages.iter_mut().enumerate() {
                if row.answer().is_some() {
                    continue;
                }
                if seen == window {
                    return;
                }
                seen += 1;
                let is_due = matches!(row.state, State::Waiting { not_before_ms } if not_before_ms <= now_ms);
                if is_due && !before.contains(&*row.key) {
                    ask((number, place), bytes, row);
                }
                // One that was answered at once, because of what it is, stands in nobody's way.
                if row.answer().is_none() {
                    before.insert(&row.key);
                }
            }
        }
    }
}
