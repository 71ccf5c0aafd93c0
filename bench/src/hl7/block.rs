//! A piece of message text with holes: copied whole, then filled at known places.
//!
//! One copy and a few bytes patched cost a fraction of what formatting field by field does; at some thirty segments per message nothing
//! else reaches a microsecond. Templates are written with the usual delimiters and translated for a dialect once, when a feed is made.
//! **Invariant:** every hole has a fixed width, so a block's length depends on its template and dialect alone.
//!
//! | in a template | becomes |
//! |---|---|
//! | `#` | a digit |
//! | `?` | an abnormal flag, mostly `N` |
//! | `{2-7}` | a digit from 2 to 7 |
//! | `{=ABCD}` | one of 1, 2, 4, 8 or 16 characters |
//! | `{patient}` and the other names of [`Field`] | that field |

use super::facility::Dialect;
use super::rng::Rng;
use super::stamp::{NUMBER_DIGITS, Stamp};

/// What a named hole holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Bed,
    Class,
    Control,
    DataCentre,
    Ended,
    Facility,
    Order,
    Patient,
    Place,
    Set,
    Since,
    Stamp,
    Visit,
}

impl Field {
    fn parse(name: &str) -> Option<Field> {
        Some(match name {
            "bed" => Field::Bed,
            "class" => Field::Class,
            "control" => Field::Control,
            "dc" => Field::DataCentre,
            "ended" => Field::Ended,
            "facility" => Field::Facility,
            "order" => Field::Order,
            "patient" => Field::Patient,
            "place" => Field::Place,
            "set" => Field::Set,
            "since" => Field::Since,
            "stamp" => Field::Stamp,
            "visit" => Field::Visit,
            _ => return None,
        })
    }
}

/// Where somebody lies: ward and room, `ICU` and `204`, and a bed in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) ward: [u8; 3],
    pub(super) room: [u8; 3],
    pub(super) bed: u8,
}

/// What the named holes of a message are filled with.
#[derive(Clone, Debug)]
pub(super) struct Fill {
    pub(super) class: [u8; 1],
    pub(super) control: [u8; NUMBER_DIGITS],
    pub(super) data_centre: [u8; 2],
    pub(super) ended: [u8; NUMBER_DIGITS],
    pub(super) facility: [u8; 5],
    pub(super) order: [u8; NUMBER_DIGITS],
    pub(super) patient: [u8; NUMBER_DIGITS],
    pub(super) place: [u8; 3],
    pub(super) room: [u8; 4],
    pub(super) set: [u8; 1],
    pub(super) since: Stamp,
    pub(super) stamp: Stamp,
    pub(super) visit: [u8; NUMBER_DIGITS],
}

impl Fill {
    /// Everything blank.
    pub(super) fn blank() -> Fill {
        Fill {
            class: *b"I",
            control: [b'0'; NUMBER_DIGITS],
            data_centre: *b"XX",
            ended: [b'0'; NUMBER_DIGITS],
            facility: *b"XX000",
            order: [b'0'; NUMBER_DIGITS],
            patient: [b'0'; NUMBER_DIGITS],
            place: *b"MED",
            room: *b"100A",
            set: *b"1",
            since: [b'0'; 14],
            stamp: [b'0'; 14],
            visit: [b'0'; NUMBER_DIGITS],
        }
    }

    /// The place that `{place}` and `{bed}` name from now on.
    pub(super) fn at(&mut self, place: Place) {
        self.place = place.ward;
        self.room[..3].copy_from_slice(&place.room);
        self.room[3] = place.bed;
    }

    /// Bytes that a field has, whatever it holds.
    fn width(field: Field) -> usize {
        match field {
            Field::Class | Field::Set => 1,
            Field::DataCentre => 2,
            Field::Place => 3,
            Field::Bed => 4,
            Field::Facility => 5,
            Field::Control | Field::Ended | Field::Order | Field::Patient | Field::Visit => NUMBER_DIGITS,
            Field::Since | Field::Stamp => 14,
        }
    }

    /// Puts a field in its place. One arm each, so that every copy is of a length known when this is compiled: a move or two, no call.
    #[inline]
    fn put(&self, field: Field, text: &mut [u8], at: usize) {
        match field {
            Field::Bed => put(text, at, &self.room),
            Field::Class => put(text, at, &self.class),
            Field::Control => put(text, at, &self.control),
            Field::DataCentre => put(text, at, &self.data_centre),
            Field::Ended => put(text, at, &self.ended),
            Field::Facility => put(text, at, &self.facility),
            Field::Order => put(text, at, &self.order),
            Field::Patient => put(text, at, &self.patient),
            Field::Place => put(text, at, &self.place),
            Field::Set => put(text, at, &self.set),
            Field::Since => put(text, at, &self.since),
            Field::Stamp => put(text, at, &self.stamp),
            Field::Visit => put(text, at, &self.visit),
        }
    }
}

#[inline]
fn put<const N: usize>(text: &mut [u8], at: usize, value: &[u8; N]) {
    text[at..at + N].copy_from_slice(value);
}

/// Eight random digits from eight random bytes, each byte times ten over 256: in two times four lanes of sixteen bits, which hold 255 × 10.
#[inline]
fn eight_digits(random: u64) -> u64 {
    const LANES: u64 = 0x00FF_00FF_00FF_00FF;
    let even = (((random & LANES) * 10) >> 8) & LANES;
    let odd = (((random >> 8 & LANES) * 10) >> 8) & LANES;
    (even | odd << 8) + u64::from_le_bytes(*b"00000000")
}

/// One digit to eight side by side.
#[derive(Clone, Copy, Debug)]
struct Run {
    at: u16,
    length: u8,
}

/// A digit of a range at `at`, `low` plus a number below `span`.
#[derive(Clone, Copy, Debug)]
struct Digit {
    at: u16,
    low: u8,
    span: u8,
}

/// One of sixteen characters, some of them equal, at `at`.
#[derive(Clone, Copy, Debug)]
struct Choice {
    at: u16,
    from: [u8; 16],
}

/// A piece of message text with holes.
#[derive(Clone, Debug)]
pub(super) struct Block {
    text: Vec<u8>,
    runs: Vec<Run>,
    digits: Vec<Digit>,
    choices: Vec<Choice>,
    fields: Vec<(u16, Field)>,
}

/// `?`: three of four results are normal.
const FLAGS: &[u8] = b"NNNNNNNNNNNNHHLA";

impl Block {
    /// A template as a dialect writes it.
    ///
    /// # Panics
    /// If the template is none: templates are part of this crate, and a test compiles each of them.
    pub(super) fn new(template: &str, dialect: Dialect) -> Block {
        let mut block = Block {
            text: Vec::with_capacity(template.len() + 64),
            runs: Vec::new(),
            digits: Vec::new(),
            choices: Vec::new(),
            fields: Vec::new(),
        };
        let mut rest = template;
        while let Some(character) = rest.chars().next() {
            rest = &rest[character.len_utf8()..];
            match character {
                '#' => block.run(),
                '?' => block.choice(FLAGS),
                '{' => {
                    let (hole, behind) = rest.split_once('}').expect("a hole of a template is closed");
                    block.hole(hole);
                    rest = behind;
                }
                other => block.literal(other, dialect),
            }
        }
        block
    }

    fn here(&self) -> u16 {
        u16::try_from(self.text.len()).expect("a template is shorter than 64 KiB")
    }

    fn hole(&mut self, hole: &str) {
        if let Some(from) = hole.strip_prefix('=') {
            return self.choice(from.as_bytes());
        }
        if let [low @ b'0'..=b'9', b'-', high @ b'0'..=b'9'] = hole.as_bytes() {
            assert!(low <= high, "a range of digits ascends");
            return self.digit(*low, high - low + 1);
        }
        let field = Field::parse(hole).expect("a hole of a template names a field");
        self.fields.push((self.here(), field));
        let width = Fill::width(field);
        self.text.resize(self.text.len() + width, b'0');
    }

    fn run(&mut self) {
        let here = self.here();
        match self.runs.last_mut() {
            Some(run) if run.length < 8 && run.at + u16::from(run.length) == here => run.length += 1,
            _ => self.runs.push(Run { at: here, length: 1 }),
        }
        self.text.push(b'0');
    }

    fn digit(&mut self, low: u8, span: u8) {
        self.digits.push(Digit {
            at: self.here(),
            low,
            span,
        });
        self.text.push(low);
    }

    fn choice(&mut self, from: &[u8]) {
        assert!(!from.is_empty() && 16 % from.len() == 0, "as likely as each other");
        let mut all = [0; 16];
        for (at, one) in all.iter_mut().enumerate() {
            *one = from[at % from.len()];
        }
        self.choices.push(Choice {
            at: self.here(),
            from: all,
        });
        self.text.push(all[0]);
    }

    fn literal(&mut self, character: char, dialect: Dialect) {
        let delimiters = Dialect::Usual.delimiters();
        if let Some(at) = delimiters.iter().position(|one| char::from(*one) == character) {
            self.text.push(dialect.delimiters()[at]);
            return;
        }
        match u8::try_from(u32::from(character)) {
            Ok(byte) if dialect == Dialect::Latin1 => self.text.push(byte),
            _ => self
                .text
                .extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }

    /// Bytes that it has once filled.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Appends it, filled.
    pub(super) fn write(&self, fill: &Fill, rng: &mut Rng, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&self.text);
        let text = &mut out[begin..];
        let (mut digits, mut left) = (0, 0);
        for run in &self.runs {
            if left < run.length {
                (digits, left) = (eight_digits(rng.word()), 8);
            }
            let at = usize::from(run.at);
            let bytes = digits.to_le_bytes();
            match run.length {
                1 => text[at] = bytes[0],
                2 => put(text, at, &[bytes[0], bytes[1]]),
                3 => put(text, at, bytes.first_chunk::<3>().expect("eight digits")),
                4 => put(text, at, bytes.first_chunk::<4>().expect("eight digits")),
                5 => put(text, at, bytes.first_chunk::<5>().expect("eight digits")),
                6 => put(text, at, bytes.first_chunk::<6>().expect("eight digits")),
                7 => put(text, at, bytes.first_chunk::<7>().expect("eight digits")),
                _ => put(text, at, &bytes),
            }
            left -= run.length;
            digits = if left == 0 { 0 } else { digits >> (8 * run.length) };
        }
        // A random word serves eight holes: its bytes are as random as it is, and the bias of 256 over ten is of no account here.
        for eight in self.digits.chunks(8) {
            for (digit, random) in eight.iter().zip(rng.word().to_le_bytes()) {
                let [high, _] = (u16::from(random) * u16::from(digit.span)).to_be_bytes();
                text[usize::from(digit.at)] = digit.low + high;
            }
        }
        for eight in self.choices.chunks(8) {
            for (choice, random) in eight.iter().zip(rng.word().to_le_bytes()) {
                text[usize::from(choice.at)] = choice.from[usize::from(random & 15)];
            }
        }
        for (at, field) in &self.fields {
            fill.put(*field, text, usize::from(*at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(template: &str, dialect: Dialect) -> Vec<u8> {
        let mut out = Vec::new();
        let block = Block::new(template, dialect);
        block.write(&Fill::blank(), &mut Rng::new(1), &mut out);
        assert_eq!(out.len(), block.bytes());
        out
    }

    #[test]
    fn delimiters_and_characters_are_those_of_the_dialect() {
        let template = "A|B^C~D\\T\\E&F µ";
        assert_eq!(written(template, Dialect::Usual), template.as_bytes());
        assert_eq!(written(template, Dialect::Odd), "A!B*C%D$T$E#F µ".as_bytes());
        assert_eq!(written(template, Dialect::Latin1), b"A|B^C~D\\T\\E&F \xB5");
    }

    #[test]
    fn holes_are_filled_within_their_ranges() {
        for seed in 0..200 {
            let mut out = Vec::new();
            let block = Block::new("#{3-5}{=AB}?{facility}#########", Dialect::Usual);
            block.write(&Fill::blank(), &mut Rng::new(seed), &mut out);
            assert!(out[0].is_ascii_digit());
            assert!((b'3'..=b'5').contains(&out[1]));
            assert!(matches!(out[2], b'A' | b'B'));
            assert!(matches!(out[3], b'N' | b'H' | b'L' | b'A'));
            assert_eq!(&out[4..9], b"XX000");
            assert!(out[9..].iter().all(u8::is_ascii_digit));
        }
    }

    #[test]
    fn digits_are_equally_likely_in_every_place() {
        let mut seen = [[0u32; 10]; 8];
        let mut rng = Rng::new(1);
        for _ in 0..100_000 {
            for (place, digit) in eight_digits(rng.word()).to_le_bytes().into_iter().enumerate() {
                seen[place][usize::from(digit - b'0')] += 1;
            }
        }
        // 25 or 26 of 256 bytes give each digit: 9,766 to 10,156 of 100,000, give or take three standard deviations.
        assert!(
            seen.as_flattened().iter().all(|count| (9_450..10_450).contains(count)),
            "{seen:?}"
        );
    }

    #[test]
    fn runs_of_all_lengths_are_digits_and_nothing_beside_them_changes() {
        for length in 1..=30 {
            let template = format!("<{}>", "#".repeat(length));
            for seed in 0..50 {
                let mut out = Vec::new();
                Block::new(&template, Dialect::Usual).write(&Fill::blank(), &mut Rng::new(seed), &mut out);
                assert_eq!((out[0], out[length + 1], out.len()), (b'<', b'>', length + 2));
                assert!(out[1..=length].iter().all(u8::is_ascii_digit), "{out:?}");
            }
        }
    }

    #[test]
    fn a_block_goes_behind_what_is_there() {
        let mut out = b"before ".to_vec();
        Block::new("{set}{dc}", Dialect::Usual).write(&Fill::blank(), &mut Rng::new(1), &mut out);
        assert_eq!(out, b"before 1XX");
    }
}
