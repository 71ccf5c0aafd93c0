//! The bytes of answers: one or two frames to a message, one frame to a batch.
//!
//! A batch is answered as it came: one frame, in which each message has its acknowledgement, between the header and the trailer of a batch.

use std::fmt::Write as _;

use super::queue::{Frame, MessageRow, Shape};
use crate::ack::{self, Mode, Stamp, due};
use crate::hl7::{Header, HeaderKind};
use crate::mllp::{CR, END, START};

/// Control ids and times of answers.
#[derive(Debug)]
pub(super) struct Stamps {
    prefix: u32,
    serial: u32,
    text: String,
    /// The second that `text` ends with the time of.
    second: u64,
    time: String,
}

impl Stamps {
    /// `random` tells this one's control ids from those of others.
    pub(super) fn new(random: u64) -> Stamps {
        let half = random >> 32;
        Stamps {
            prefix: u32::try_from(half).expect("half of a word"),
            serial: 0,
            text: String::new(),
            second: u64::MAX,
            time: String::new(),
        }
    }

    /// The next control id, at most 20 bytes as old versions of HL7 want it, and the time to the second.
    fn next(&mut self, wall_ms: u64) -> Stamp<'_> {
        self.serial = self.serial.wrapping_add(1);
        self.text.clear();
        // Writing to a string cannot fail.
        write!(self.text, "WP{:08X}{:08X}", self.prefix, self.serial).ok();
        if self.second != wall_ms / 1_000 {
            self.second = wall_ms / 1_000;
            self.time = time_text(self.second);
        }
        Stamp {
            control_id: self.text.as_bytes(),
            time: self.time.as_bytes(),
        }
    }
}

/// HL7's form of a time: `20240131120000+0000`.
fn time_text(second: u64) -> String {
    let (days, of_day) = (second / 86_400, second % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}+0000")
}

/// Year, month and day of a day since 1970, of the calendar that begins its years in March: leap days are last in them.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// Writes what a frame is answered, behind what stands in `out`; nothing where the sender wants none.
pub(super) fn write(out: &mut Vec<u8>, frame: &Frame, mode: Mode, wall_ms: u64, stamps: &mut Stamps) {
    match frame.shape {
        Shape::Single | Shape::Refused => {
            for row in &frame.messages {
                message(out, frame, row, mode, wall_ms, stamps);
            }
        }
        Shape::Batch => batch(out, frame, mode, wall_ms, stamps),
    }
}

/// The header of the message that is answered, as far as its bytes can be read.
fn header_of<'a>(frame: &'a Frame, row: &MessageRow) -> Header<'a> {
    let bytes = &frame.bytes[row.range.clone()];
    if frame.shape == Shape::Refused {
        Header::of_head(bytes)
    } else {
        Header::of_refused(bytes)
    }
}

fn message(out: &mut Vec<u8>, frame: &Frame, row: &MessageRow, mode: Mode, wall_ms: u64, stamps: &mut Stamps) {
    let Some(answer) = row.answer() else { return };
    let header = header_of(frame, row);
    let due = due(mode, &header, answer.verdict, answer.is_held);
    for code in [due.accept, due.application].into_iter().flatten() {
        ack::write(out, &header, code, answer, &stamps.next(wall_ms));
    }
}

fn batch(out: &mut Vec<u8>, frame: &Frame, mode: Mode, wall_ms: u64, stamps: &mut Stamps) {
    let mut acks = Vec::new();
    let mut count = 0u64;
    for row in &frame.messages {
        let mut framed = Vec::new();
        message(&mut framed, frame, row, mode, wall_ms, stamps);
        // Within a batch acknowledgements have no frames of their own.
        for ack in framed.split(|byte| *byte == START).filter(|ack| !ack.is_empty()) {
            count += 1;
            acks.extend_from_slice(ack.strip_suffix(&[END, CR]).unwrap_or(ack));
        }
    }
    // Nobody wants to hear of its messages; of a batch without any the answer is the only word.
    if count == 0 && !frame.messages.is_empty() {
        return;
    }
    let whole = Header::of_refused(&frame.bytes);
    let separator = whole.delimiters().field;
    out.push(START);
    begin(out, b"BHS", &whole, &stamps.next(wall_ms));
    out.extend_from_slice(&acks);
    out.extend_from_slice(b"BTS");
    out.push(separator);
    out.extend_from_slice(count.to_string().as_bytes());
    out.extend_from_slice(&[CR, END, CR]);
}

/// A batch's header that answers another's: who received it answers whoever sent it, and names its id in field 12.
fn begin(out: &mut Vec<u8>, name: &[u8], whole: &Header<'_>, stamp: &Stamp<'_>) {
    let delimiters = whole.delimiters();
    out.extend_from_slice(name);
    out.push(delimiters.field);
    out.extend(delimiters.encoding());
    let is_batch = whole.kind() != HeaderKind::Message;
    let their_id = if is_batch { whole.control_id() } else { &[] };
    let fields: [&[u8]; 10] = [
        whole.raw(5),
        whole.raw(6),
        whole.raw(3),
        whole.raw(4),
        stamp.time,
        b"",
        b"",
        b"",
        stamp.control_id,
        their_id,
    ];
    for field in fields {
        out.push(delimiters.field);
        out.extend(field.iter().copied().filter(|byte| *byte >= b' '));
    }
    out.push(CR);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (second, text) in [
            (0, "19700101000000+0000"),
            (951_782_399, "20000228235959+0000"),
            (951_782_400, "20000229000000+0000"),
            (951_868_800, "20000301000000+0000"),
            (1_709_164_800, "20240229000000+0000"),
            (4_107_542_400, "21000301000000+0000"),
        ] {
            assert_eq!(time_text(second), text);
        }
    }

    #[test]
    fn control_ids_differ_and_are_short() {
        let mut stamps = Stamps::new(u64::MAX);
        let first = stamps.next(1_000).control_id.to_vec();
        let second = stamps.next(1_000).control_id.to_vec();
        assert_ne!(first, second);
        assert!(first.len() <= 20);
    }
}
