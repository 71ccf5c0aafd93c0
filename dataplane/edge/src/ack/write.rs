//! The bytes of an acknowledgement, with the frame around it.
//!
//! It is written with the separators of the message that it answers, because some senders read no others.

use super::outcome::Answer;
use super::{Code, Verdict};
use crate::hl7::{Delimiters, Header, Version, encode};
use crate::mllp;

/// What the caller knows and a calculation cannot: a new control id, and the time.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// MSH-10 of the answer.
    pub control_id: &'a [u8],
    /// MSH-7 of the answer, in HL7's form: `20240131120000+0000`.
    pub time: &'a [u8],
}

/// From this version on ERR has fields of its own for code, severity and text.
const LONG_ERR: Version = Version::new(2, 5);
/// From this version on MSH-9 names the structure too.
const STRUCTURE: Version = Version::new(2, 4);

/// Writes `code` as an answer to the message with this header, framed, behind what stands in `out`. For bytes that could not be read, the
/// header is [`Header::of_refused`].
///
/// MSA-3 carries the text of `answer`; ERR does too, with code and place, unless `code` is an accept.
pub fn write(out: &mut Vec<u8>, header: &Header<'_>, code: Code, answer: &Answer, stamp: &Stamp<'_>) {
    out.push(mllp::START);
    let mut line = Line {
        out,
        delimiters: *header.delimiters(),
    };
    line.msh(header, stamp);
    line.msa(header, code, answer);
    if !code.is_accept() && answer.verdict != Verdict::Accept {
        line.err(header, answer);
    }
    out.extend_from_slice(&[mllp::END, mllp::CR]);
}

/// Writes segments.
struct Line<'o> {
    out: &'o mut Vec<u8>,
    delimiters: Delimiters,
}

impl Line<'_> {
    /// A separator, then a value that is already in the form of this message. Control bytes are left out: none of them has a place in a
    /// header, and some would end the answer.
    fn copied(&mut self, value: &[u8]) -> &mut Self {
        self.out.push(self.delimiters.field);
        self.out.extend(value.iter().copied().filter(|byte| *byte >= b' '));
        self
    }

    /// A separator, then a value whose separators are escaped.
    fn meant(&mut self, value: &[u8]) -> &mut Self {
        self.out.push(self.delimiters.field);
        encode(self.out, value, &self.delimiters);
        self
    }

    fn components(&mut self, separator: u8, values: &[&[u8]]) {
        for (number, value) in values.iter().enumerate() {
            if number > 0 {
                self.out.push(separator);
            }
            encode(self.out, value, &self.delimiters);
        }
    }

    fn empty(&mut self, fields: usize) -> &mut Self {
        self.out.extend(std::iter::repeat_n(self.delimiters.field, fields));
        self
    }

    fn msh(&mut self, header: &Header<'_>, stamp: &Stamp<'_>) {
        let delimiters = self.delimiters;
        self.out.extend_from_slice(b"MSH");
        self.out.push(delimiters.field);
        self.out.extend(delimiters.encoding());
        // Who received it answers whoever sent it.
        self.copied(header.raw(5)).copied(header.raw(6));
        self.copied(header.raw(3)).copied(header.raw(4));
        self.meant(stamp.time).empty(2);
        let trigger = header.message_type().trigger;
        self.out.extend_from_slice(b"ACK");
        if !trigger.is_empty() {
            self.out.push(delimiters.component);
            self.out.extend(trigger.iter().copied().filter(|byte| *byte >= b' '));
            if header.version() >= STRUCTURE {
                self.out.push(delimiters.component);
                self.out.extend_from_slice(b"ACK");
            }
        }
        self.meant(stamp.control_id);
        self.copied(header.processing_id()).copied(header.version_id());
        if !header.character_set().is_empty() {
            self.empty(5).copied(header.character_set());
        }
        self.out.push(mllp::CR);
    }

    fn msa(&mut self, header: &Header<'_>, code: Code, answer: &Answer) {
        self.out.extend_from_slice(b"MSA");
        self.copied(code.text().as_bytes()).copied(header.control_id());
        if !code.is_accept() && !answer.text.is_empty() {
            self.meant(answer.text.as_bytes());
        }
        self.out.push(mllp::CR);
    }

    fn err(&mut self, header: &Header<'_>, answer: &Answer) {
        let component = self.delimiters.component;
        let text = answer.text.as_bytes();
        let number = answer.code.to_string();
        let (segment, field) = answer.place.unwrap_or(("", 0));
        let field = if field == 0 { String::new() } else { field.to_string() };
        let sequence: &[u8] = if segment.is_empty() { b"" } else { b"1" };
        let place = [segment.as_bytes(), sequence, field.as_bytes()];
        let place = &place[..if segment.is_empty() {
            0
        } else if field.is_empty() {
            2
        } else {
            3
        }];
        let coded = [number.as_bytes(), text, b"HL70357"];
        self.out.extend_from_slice(b"ERR");
        if header.version() >= LONG_ERR {
            // ERR-2 where, ERR-3 what, ERR-4 how bad, ERR-8 for a person to read.
            self.empty(2).components(component, place);
            self.empty(1).components(component, &coded);
            self.copied(b"E").empty(4).components(component, &[text]);
        } else {
            // ERR-1 has all: segment, sequence, field, and the code as subcomponents.
            self.empty(1).components(component, place);
            self.out
                .extend(std::iter::repeat_n(component, 3 - place.len().saturating_sub(1)));
            let subcomponent = self.delimiters.subcomponent;
            self.components(subcomponent.unwrap_or(b' '), &coded);
        }
        self.out.push(mllp::CR);
    }
}
