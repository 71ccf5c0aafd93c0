//! Cuts a stream into MLLP frames, and puts frames around bodies.
//!
//! A frame is `0B`, a body, `1C 0D`. This does not know what a body means, with one exception: it knows how HL7 begins, because a frame that
//! begins inside another can be told from a stray `0B` by nothing else.
//!
//! **Invariant:** what is handed on depends on the bytes of the stream alone, never on where reads ended. **Invariant:** no more than one body
//! within the limit is kept, and of a longer one [`HEAD_BYTES`].

use std::fmt;

use crate::scan;

/// Begins a frame.
pub const START: u8 = 0x0B;
/// Ends a body when [`CR`] or [`START`] follows.
pub const END: u8 = 0x1C;
/// The second byte of a frame's end.
pub const CR: u8 = 0x0D;

/// What is kept of a body that cannot be handed on whole: enough to name its control id in an answer.
pub const HEAD_BYTES: usize = 1024;
/// A scratch buffer above this is given back once its body was handed on, so that idle connections stay small.
const SCRATCH_KEPT: usize = 4 << 10;
/// How HL7 begins, behind a byte order mark or without one.
const HEADS: [&[u8]; 3] = [b"MSH", b"FHS", b"BHS"];
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
/// `0B`, a byte order mark, two letters: the longest beginning that does not decide yet.
const TAIL_BYTES: usize = 6;

/// What one connection may make us keep or look through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A body with more bytes than this is skipped to its end and reported without its bytes.
    pub message_bytes_max: usize,
    /// A body that is being skipped ends the connection when it is longer than this.
    pub skipped_bytes_max: u64,
    /// More bytes than this between two frames end the connection; line ends do not count.
    pub junk_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message_bytes_max: 1 << 20,
            skipped_bytes_max: 64 << 20,
            junk_bytes_max: 64 << 10,
        }
    }
}

/// Why a stream is given up. The sender has to be mended; what was handed on before stands, nothing behind it will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MllpError {
    /// Too many bytes outside of frames: whoever sends this does not speak MLLP.
    Junk,
    /// A body that has gone far beyond the limit and does not end.
    Endless,
}

impl MllpError {
    /// Every error there is.
    pub const ALL: &'static [MllpError] = &[MllpError::Junk, MllpError::Endless];
}

impl fmt::Display for MllpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MllpError::Junk => "too many bytes outside of MLLP frames",
            MllpError::Endless => "an MLLP frame that does not end",
        })
    }
}

impl std::error::Error for MllpError {}

/// What came in one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// A whole body, as it was sent.
    Message(&'a [u8]),
    /// A body above the limit, skipped to its end.
    TooLong {
        /// Its first bytes, at most [`HEAD_BYTES`].
        head: &'a [u8],
        /// Bytes that it had.
        bytes: u64,
    },
    /// A body whose end never came: another frame began inside it, or the stream ended.
    Cut {
        /// Its first bytes, at most [`HEAD_BYTES`].
        head: &'a [u8],
        /// Bytes that came of it.
        bytes: u64,
    },
}

/// What a framer has seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Whole bodies handed on.
    pub messages: u64,
    /// Bodies above the limit.
    pub too_long: u64,
    /// Bodies without an end.
    pub cut: u64,
    /// Bodies that ended with `1C` and no `0D`.
    pub half_ends: u64,
    /// Bytes outside of frames, line ends left out.
    pub junk_bytes: u64,
}

/// What stands at a byte that may end a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// `1C 0D`.
    End,
    /// `1C` before the `0B` of the next frame.
    HalfEnd,
    /// `0B` and a beginning of HL7.
    Start,
    /// Neither: the byte belongs to the body.
    Body,
    /// The bytes that decide have not come.
    More,
}

fn mark(bytes: &[u8]) -> Mark {
    match bytes {
        [END, CR, ..] => Mark::End,
        [END, START, ..] => Mark::HalfEnd,
        [END] => Mark::More,
        [START, rest @ ..] => begins_hl7(rest),
        _ => Mark::Body,
    }
}

fn begins_hl7(bytes: &[u8]) -> Mark {
    let head = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    if HEADS.iter().any(|wanted| head.starts_with(wanted)) {
        return Mark::Start;
    }
    let may_become = HEADS.iter().any(|wanted| wanted.starts_with(head)) || BYTE_ORDER_MARK.starts_with(bytes);
    if may_become { Mark::More } else { Mark::Body }
}

/// A body that straddles reads.
#[derive(Debug, Default)]
struct Body {
    /// The bytes so far, or the first of them once they are too many.
    kept: Vec<u8>,
    bytes: u64,
}

impl Body {
    // Grows with what comes; what is above the limit is let go at once.
    fn push(&mut self, bytes: &[u8], limits: &Limits) -> Result<(), MllpError> {
        self.bytes += bytes.len() as u64;
        if self.bytes <= limits.message_bytes_max as u64 {
            self.kept.extend_from_slice(bytes);
            return Ok(());
        }
        let room = HEAD_BYTES.saturating_sub(self.kept.len()).min(bytes.len());
        self.kept.extend_from_slice(&bytes[..room]);
        self.kept.truncate(HEAD_BYTES);
        self.kept.shrink_to(SCRATCH_KEPT);
        limits.check(self.bytes)
    }

    fn clear(&mut self, keep_scratch: bool) {
        self.bytes = 0;
        self.kept.clear();
        if !keep_scratch && self.kept.capacity() > SCRATCH_KEPT {
            self.kept = Vec::new();
        }
    }
}

impl Limits {
    fn check(&self, bytes: u64) -> Result<(), MllpError> {
        let is_skipped = bytes > self.message_bytes_max as u64;
        if is_skipped && bytes > self.skipped_bytes_max {
            Err(MllpError::Endless)
        } else {
            Ok(())
        }
    }
}

/// The reading end of one connection.
#[derive(Debug)]
pub struct Framer {
    limits: Limits,
    counts: Counts,
    /// Junk since the last frame.
    junk: u64,
    is_inside: bool,
    body: Body,
    /// Bytes at the end of a read that may be a mark; they follow the body.
    tail: Vec<u8>,
    straddled: u64,
    /// `straddled` when it was last asked to rest.
    rested: u64,
}

impl Framer {
    /// A framer before the first byte of a connection.
    #[must_use]
    pub fn new(limits: Limits) -> Framer {
        Framer {
            limits,
            counts: Counts::default(),
            junk: 0,
            is_inside: false,
            body: Body::default(),
            tail: Vec::with_capacity(TAIL_BYTES + 1),
            straddled: 0,
            rested: 0,
        }
    }

    /// What came so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How many bodies straddled reads and were copied for that.
    #[must_use]
    pub fn straddled(&self) -> u64 {
        self.straddled
    }

    /// Bytes that wait for the end of their body.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.body.kept.len() + self.tail.len()
    }

    /// Gives the scratch buffer back if no body straddled since this was last called and none waits. For callers that keep it while a
    /// connection is busy.
    pub fn rest(&mut self) {
        if self.straddled == self.rested && !self.is_inside {
            self.body = Body::default();
        }
        self.rested = self.straddled;
    }

    /// Takes what came and hands on each body, in order. A body that lies whole in `input` is handed on where it lies. `keep_scratch` says
    /// that the connection is busy and its buffer worth keeping.
    ///
    /// # Errors
    /// When a limit is passed that leaves no way on. What was handed on stands; answer it and close the connection.
    pub fn feed(
        &mut self,
        mut input: &[u8],
        keep_scratch: bool,
        mut on: impl FnMut(Received<'_>),
    ) -> Result<(), MllpError> {
        loop {
            while !self.tail.is_empty() {
                let Some((&byte, rest)) = input.split_first() else {
                    return Ok(());
                };
                input = rest;
                self.tail.push(byte);
                self.settle_tail(keep_scratch, &mut on)?;
            }
            if input.is_empty() {
                return Ok(());
            }
            input = if !self.is_inside {
                self.outside(input)?
            } else if self.body.bytes == 0 {
                self.inside_whole(input, &mut on)?
            } else {
                self.inside(input, keep_scratch, &mut on)?
            };
        }
    }

    /// Says that the stream has ended: a body that waits for its `0D` alone is whole, any other is cut.
    ///
    /// # Errors
    /// As [`feed`](Self::feed).
    pub fn finish(&mut self, mut on: impl FnMut(Received<'_>)) -> Result<(), MllpError> {
        if !self.is_inside {
            return Ok(());
        }
        let is_half_end = self.tail == [END];
        if !is_half_end {
            self.body.push(&std::mem::take(&mut self.tail), &self.limits)?;
        }
        self.tail.clear();
        self.counts.half_ends += u64::from(is_half_end);
        self.end_kept(is_half_end, false, &mut on);
        self.is_inside = false;
        Ok(())
    }

    fn outside<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], MllpError> {
        let at = scan::either(input, START, START);
        let junk = &input[..at.unwrap_or(input.len())];
        let bytes = junk.iter().filter(|byte| !scan::is_line_end(**byte)).count() as u64;
        self.junk += bytes;
        self.counts.junk_bytes += bytes;
        if self.junk > self.limits.junk_bytes_max {
            return Err(MllpError::Junk);
        }
        let Some(at) = at else { return Ok(&[]) };
        self.begin();
        Ok(&input[at + 1..])
    }

    fn begin(&mut self) {
        self.is_inside = true;
        self.junk = 0;
    }

    /// A body that begins with `input`: handed on where it lies if its end is there too.
    fn inside_whole<'a>(&mut self, input: &'a [u8], on: &mut impl FnMut(Received<'_>)) -> Result<&'a [u8], MllpError> {
        let (at, mark) = first_mark(input);
        let body = &input[..at];
        let rest = &input[at..];
        if mark == Mark::More {
            self.body.push(body, &self.limits)?;
            self.tail.extend_from_slice(rest);
            return Ok(&[]);
        }
        self.limits.check(body.len() as u64)?;
        let head = &body[..body.len().min(HEAD_BYTES)];
        self.end(body, head, body.len() as u64, mark != Mark::Start, on);
        Ok(self.step_over(mark, rest))
    }

    /// The rest of a body that began in an earlier read.
    fn inside<'a>(
        &mut self,
        input: &'a [u8],
        keep_scratch: bool,
        on: &mut impl FnMut(Received<'_>),
    ) -> Result<&'a [u8], MllpError> {
        let (at, mark) = first_mark(input);
        self.body.push(&input[..at], &self.limits)?;
        let rest = &input[at..];
        if mark == Mark::More {
            self.tail.extend_from_slice(rest);
            return Ok(&[]);
        }
        self.end_kept(mark != Mark::Start, keep_scratch, on);
        Ok(self.step_over(mark, rest))
    }

    /// Decides on the bytes at the end of earlier reads, as far as one more byte allows it.
    fn settle_tail(&mut self, keep_scratch: bool, on: &mut impl FnMut(Received<'_>)) -> Result<(), MllpError> {
        loop {
            match mark(&self.tail) {
                Mark::More => return Ok(()),
                Mark::Body => {
                    // What looked like a mark is body, and so is what follows up to the next that may be one.
                    let plain = 1 + scan::either(&self.tail[1..], END, START).unwrap_or(self.tail.len() - 1);
                    self.body.push(&self.tail[..plain], &self.limits)?;
                    self.tail.drain(..plain);
                    if self.tail.is_empty() {
                        return Ok(());
                    }
                }
                found => {
                    self.end_kept(found != Mark::Start, keep_scratch, on);
                    let begun = self.tail.split_off(1);
                    self.tail.clear();
                    self.step_over(found, &[END, CR]);
                    if found == Mark::Start {
                        self.body.push(&begun, &self.limits)?;
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Leaves the body at a mark and returns what stands behind it. `bytes` begins with the mark.
    fn step_over<'a>(&mut self, mark: Mark, bytes: &'a [u8]) -> &'a [u8] {
        match mark {
            Mark::End => {
                self.is_inside = false;
                &bytes[2..]
            }
            Mark::HalfEnd => {
                self.counts.half_ends += 1;
                self.begin();
                &bytes[2..]
            }
            _ => {
                self.begin();
                &bytes[1..]
            }
        }
    }

    fn end_kept(&mut self, is_whole: bool, keep_scratch: bool, on: &mut impl FnMut(Received<'_>)) {
        let mut body = std::mem::take(&mut self.body);
        let head = &body.kept[..body.kept.len().min(HEAD_BYTES)];
        self.straddled += 1;
        self.end(&body.kept, head, body.bytes, is_whole, on);
        body.clear(keep_scratch);
        self.body = body;
    }

    fn end(&mut self, body: &[u8], head: &[u8], bytes: u64, is_whole: bool, on: &mut impl FnMut(Received<'_>)) {
        if !is_whole {
            self.counts.cut += 1;
            on(Received::Cut { head, bytes });
        } else if bytes > self.limits.message_bytes_max as u64 {
            self.counts.too_long += 1;
            on(Received::TooLong { head, bytes });
        } else {
            self.counts.messages += 1;
            on(Received::Message(body));
        }
    }
}

/// Where the first mark of a body stands, and which; `More` at the end of the bytes if there is none.
fn first_mark(bytes: &[u8]) -> (usize, Mark) {
    let mut from = 0;
    while let Some(at) = scan::either(&bytes[from..], END, START) {
        let at = from + at;
        match mark(&bytes[at..]) {
            Mark::Body => from = at + 1,
            found => return (at, found),
        }
    }
    (bytes.len(), Mark::More)
}

/// Writes a body with its frame. The body is written as it is: one that holds `1C 0D` would end early, so callers refuse it first
/// ([`fits`]).
pub fn write(out: &mut Vec<u8>, body: &[u8]) {
    out.reserve(body.len() + 3);
    out.push(START);
    out.extend_from_slice(body);
    out.extend_from_slice(&[END, CR]);
}

/// Whether a body can travel in a frame and come out the same: it holds nothing that a reader takes for its end or another's beginning.
#[must_use]
pub fn fits(body: &[u8]) -> bool {
    // What is undecided at the end of the body is decided by the frame's own `1C` as part of the body.
    first_mark(body).1 == Mark::More
}
