//! Puts a message together from blocks: which segments a kind has, and how many of those that repeat.
//!
//! Sizes follow from those counts; a segment that may be left out is, where the message would become too long. **Invariant:** without its
//! attachment a message has at most [`MESSAGE_BYTES_MAX`] bytes, label included.

use super::block::{Block, Fill};
use super::event::MessageKind;
use super::label::LABEL_BYTES;
use super::rng::Rng;
use super::stamp::number;
use super::texts::Texts;
use super::visit::{Order, Step};

/// No message without an attachment is longer: 11 KB.
pub const MESSAGE_BYTES_MAX: usize = 11 * 1024;
/// What that leaves for all before the label.
const BODY_BYTES_MAX: usize = MESSAGE_BYTES_MAX - LABEL_BYTES;

/// Characters of Base64 that begin a PDF.
const PDF: &[u8] = b"JVBERi0xLjQK";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Pairs of characters of Base64, one for each value of twelve bits.
#[derive(Clone, Debug)]
pub(super) struct Base64(Vec<[u8; 2]>);

impl Base64 {
    pub(super) fn new() -> Base64 {
        let pairs = BASE64
            .iter()
            .flat_map(|first| BASE64.iter().map(|second| [*first, *second]));
        Base64(pairs.collect())
    }

    /// Appends so many characters, rounded up to whole groups of four, which no compression makes shorter than Base64 is.
    fn write(&self, characters: usize, rng: &mut Rng, out: &mut Vec<u8>) {
        let end = out.len() + characters.next_multiple_of(4).max(PDF.len());
        out.reserve(end - out.len() + 10);
        out.extend_from_slice(PDF);
        while out.len() < end {
            let mut word = rng.word();
            let mut ten = [0; 10];
            for pair in ten.chunks_exact_mut(2) {
                pair.copy_from_slice(&self.0[usize::try_from(word & 0xFFF).expect("twelve bits")]);
                word >>= 12;
            }
            out.extend_from_slice(&ten);
        }
        out.truncate(end);
    }
}

/// What a message is made from.
pub(super) struct Composer<'a> {
    pub(super) texts: &'a Texts,
    pub(super) fill: Fill,
    /// For what differs in each message.
    pub(super) rng: &'a mut Rng,
    /// Seed of what stays the same over a visit: whoever wrote the name of a relative writes it again.
    pub(super) person: u64,
    /// PID of the visit.
    pub(super) pid: &'a [u8],
    /// PV1 of the visit.
    pub(super) pv1: &'a [u8],
    pub(super) version: usize,
    pub(super) is_terse: bool,
}

impl Composer<'_> {
    /// Appends the message of a step, and an attachment of so many characters.
    pub(super) fn write(
        mut self,
        step: Step,
        kind: MessageKind,
        attachment: Option<(usize, &Base64)>,
        out: &mut Vec<u8>,
    ) {
        let texts = self.texts;
        texts.head(self.version, kind).write(&self.fill, self.rng, out);
        match (step, kind) {
            (Step::Ordered(order), _) => self.order(order, out),
            (Step::Resulted { orders, count }, _) => self.results(&orders[..count], out),
            (_, MessageKind::Merge) => {
                out.extend_from_slice(self.pid);
                self.one(&texts.merged, out);
            }
            (_, MessageKind::CancelAdmit | MessageKind::Discharge | MessageKind::Transfer) if self.is_terse => {
                self.one(&texts.person_short, out);
                self.one(&texts.visit_short, out);
            }
            (_, MessageKind::CancelAdmit) => self.patient(out),
            (_, MessageKind::Transfer) => {
                self.patient(out);
                self.one(&texts.visit_extra, out);
                let count = self.rng.count(0, 3);
                self.repeat(&texts.moved, count, out);
            }
            (_, MessageKind::Discharge) => {
                self.patient(out);
                self.one(&texts.visit_extra, out);
                let count = self.rng.count(2, 6);
                self.repeat(&texts.diagnosis, count, out);
                let count = self.rng.count(0, 4);
                self.repeat(&texts.discharged, count, out);
            }
            (_, MessageKind::Note) => self.note(out),
            (_, MessageKind::Charge) => {
                self.patient(out);
                let count = self.rng.count(1, 9);
                self.repeat(&texts.charge, count, out);
                self.insured(out);
            }
            (_, MessageKind::Pharmacy) => self.pharmacy(out),
            _ => self.demographics(out),
        }
        assert!(out.len() <= BODY_BYTES_MAX, "{kind} of {} bytes", out.len());
        if let Some((characters, base64)) = attachment {
            self.one(&texts.attachment_begin, out);
            base64.write(characters, self.rng, out);
            self.one(&texts.attachment_end, out);
        }
    }

    fn one(&mut self, block: &Block, out: &mut Vec<u8>) {
        block.write(&self.fill, self.rng, out);
    }

    /// So many of a segment that repeats, nine at most, numbered from 1; fewer where there is no room for all.
    fn repeat(&mut self, block: &Block, count: usize, out: &mut Vec<u8>) {
        for set in (b'1'..=b'9').take(count) {
            if out.len() + block.bytes() > BODY_BYTES_MAX {
                break;
            }
            self.fill.set = [set];
            block.write(&self.fill, self.rng, out);
        }
        self.fill.set = *b"1";
    }

    fn patient(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.pid);
        out.extend_from_slice(self.pv1);
    }

    /// Who pays: the same over a visit.
    fn insured(&mut self, out: &mut Vec<u8>) {
        let mut person = Rng::new(self.person ^ 2);
        self.texts.guarantor.write(&self.fill, &mut person, out);
        for set in (b'1'..=b'2').take(person.count(1, 2)) {
            self.fill.set = [set];
            self.texts.insurance.write(&self.fill, &mut person, out);
        }
        self.fill.set = *b"1";
    }

    /// Everything that is known of somebody: PID, PD1, NK1, PV1, PV2, AL1, DG1, GT1, IN1, IN2.
    fn demographics(&mut self, out: &mut Vec<u8>) {
        let texts = self.texts;
        let mut person = Rng::new(self.person ^ 1);
        out.extend_from_slice(self.pid);
        texts.extra.write(&self.fill, &mut person, out);
        for set in (b'1'..=b'3').take(person.count(1, 3)) {
            self.fill.set = [set];
            texts.relative.write(&self.fill, &mut person, out);
        }
        out.extend_from_slice(self.pv1);
        self.fill.set = *b"1";
        texts.visit_extra.write(&self.fill, &mut person, out);
        for set in (b'1'..=b'4').take(person.count(0, 4)) {
            self.fill.set = [set];
            texts.allergy.write(&self.fill, &mut person, out);
        }
        let count = self.rng.count(1, 5);
        self.repeat(&texts.diagnosis, count, out);
        self.insured(out);
    }

    fn remarks(&mut self, count: usize, out: &mut Vec<u8>) {
        for set in (b'1'..=b'9').take(count) {
            let block = &self.texts.remarks[self.rng.index(self.texts.remarks.len())];
            if out.len() + block.bytes() > BODY_BYTES_MAX {
                break;
            }
            self.fill.set = [set];
            block.write(&self.fill, self.rng, out);
        }
        self.fill.set = *b"1";
    }

    fn order(&mut self, order: Order, out: &mut Vec<u8>) {
        let texts = self.texts;
        self.fill.order = number(order.number);
        self.patient(out);
        self.insured(out);
        self.one(&texts.common_order, out);
        self.one(&texts.panels[order.panel].request, out);
        let count = self.rng.count(0, 4);
        self.remarks(count, out);
        let count = self.rng.count(1, 4);
        self.repeat(&texts.diagnosis, count, out);
    }

    /// Results of several orders, under one ORC: three of the longest panels have room.
    fn results(&mut self, orders: &[Order], out: &mut Vec<u8>) {
        let texts = self.texts;
        self.patient(out);
        for (order, set) in orders.iter().zip(b'1'..=b'9') {
            self.fill.order = number(order.number);
            self.fill.set = [set];
            if set == b'1' {
                self.one(&texts.common_order, out);
            }
            self.one(&texts.panels[order.panel].result, out);
        }
        let count = self.rng.count(0, 4);
        self.remarks(count, out);
    }

    /// A note of some paragraphs, in one OBX with line breaks, as dictation systems send it.
    fn note(&mut self, out: &mut Vec<u8>) {
        let texts = self.texts;
        self.patient(out);
        self.one(&texts.document, out);
        self.one(&texts.note_begin, out);
        let end = out.len() + 1_000 + self.rng.index(6_000);
        while out.len() < end {
            let at = self.rng.index(texts.paragraphs.len());
            self.one(&texts.paragraphs[at], out);
        }
        self.one(&texts.note_end, out);
    }

    fn pharmacy(&mut self, out: &mut Vec<u8>) {
        let texts = self.texts;
        self.patient(out);
        let mut person = Rng::new(self.person ^ 3);
        for set in (b'1'..=b'3').take(person.count(0, 3)) {
            self.fill.set = [set];
            texts.allergy.write(&self.fill, &mut person, out);
        }
        self.fill.set = *b"1";
        for set in (b'1'..=b'3').take(self.rng.count(1, 3)) {
            self.fill.set = [set];
            self.one(&texts.drug, out);
            self.one(&texts.drug_remark, out);
        }
    }
}
