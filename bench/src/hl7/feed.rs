//! The feed: many visits at once, one message after the other in virtual time.
//!
//! Knows no clock and no randomness but its seed. Memory is that of the open visits, allocated when the feed is made; after the first visits
//! [`Feed::next`] allocates nothing but what the caller's buffer needs to grow. **Invariant:** equal seeds and shapes give equal bytes; times
//! never go back, and those of one patient are at least a second apart.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::block::Fill;
use super::compose::{Base64, Composer};
use super::event::{Event, MessageKind, Number};
use super::facility::{DATA_CENTRES, Dialect, Facility};
use super::label::Label;
use super::rng::{Rng, mix};
use super::shape::{Shape, ShapeError};
use super::stamp::{Calendar, Stamp, number};
use super::texts::Texts;
use super::visit::{Step, Visit};

/// Numbers of one feed that share its four digits.
const NUMBERS: u64 = 1_000_000_000;
/// Messages of a usual visit, over which the first visits of a feed are spread.
const VISIT_MESSAGES: u64 = 45;
/// Of a million patients who leave, how many come again.
const RETURN_PPM: u32 = 150_000;

/// A patient and the open visit.
#[derive(Clone, Debug)]
struct Patient {
    rng: Rng,
    visit: Visit,
    facility: usize,
    /// Seed of name, address, relatives, payer: the same whenever the patient comes.
    person: u64,
    id: Number,
    /// The id that a merge will end.
    unknown: Option<Number>,
    /// Whether that id is the one in use.
    is_unknown_now: bool,
    number: Number,
    since: Stamp,
    pid: Vec<u8>,
    pv1: Vec<u8>,
}

/// A time in ms, and in the lower half the number of a patient: one comparison orders by both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due(u128);

impl Due {
    fn new(time_ms: u64, patient: u32) -> Due {
        Due(u128::from(time_ms) << 64 | u128::from(patient))
    }

    /// The same patient, so many ms later.
    fn after(self, ms: u64) -> Due {
        Due(self.0 + (u128::from(ms) << 64))
    }

    fn time_ms(self) -> u64 {
        u64::try_from(self.0 >> 64).expect("the upper half")
    }

    fn patient(self) -> usize {
        usize::try_from(self.0 & u128::from(u32::MAX)).expect("32 bits")
    }
}

/// A source of HL7 messages.
#[derive(Clone, Debug)]
pub struct Feed {
    seed: u64,
    shape: Shape,
    serial: u64,
    facilities: Vec<Facility>,
    /// The next control id of each facility.
    controls: Vec<u64>,
    texts: Vec<Texts>,
    base64: Base64,
    calendar: Calendar,
    /// For attachments and beginnings; what happens in visits is drawn there.
    rng: Rng,
    patients: Vec<Patient>,
    /// When each patient's next message is due, and whose it is.
    due: BinaryHeap<Reverse<Due>>,
    persons: u64,
    visits: u64,
    orders: u64,
    /// Attachments that were drawn and wait for a message that can carry one.
    attachments: u64,
}

impl Feed {
    /// A feed from its first message on.
    ///
    /// # Errors
    /// [`ShapeError`] if no feed can be of this shape.
    pub fn new(seed: u64, shape: Shape) -> Result<Feed, ShapeError> {
        shape.check()?;
        let count = usize::from(shape.facilities);
        let base = (1_000 + mix(seed ^ 0x5EED) % 9_000) * NUMBERS + 1;
        let mut feed = Feed {
            seed,
            serial: 0,
            facilities: (0..count).map(|number| Facility::new(number, count)).collect(),
            controls: vec![base; count],
            texts: Dialect::ALL.into_iter().map(Texts::new).collect(),
            base64: Base64::new(),
            calendar: Calendar::new(),
            rng: Rng::new(seed),
            patients: Vec::with_capacity(shape.patients as usize),
            due: BinaryHeap::with_capacity(shape.patients as usize),
            persons: base,
            visits: base,
            orders: base,
            attachments: 0,
            shape,
        };
        for at in 0..feed.shape.patients {
            let patient = feed.patient();
            feed.patients.push(patient);
            let spread = feed.shape.gap_ms.saturating_mul(VISIT_MESSAGES);
            let time_ms = feed.shape.start_ms + feed.rng.below(spread);
            feed.due.push(Reverse(Due::new(time_ms, at)));
        }
        Ok(feed)
    }

    /// Its facilities, in the order in which events count them.
    #[must_use]
    pub fn facilities(&self) -> &[Facility] {
        &self.facilities
    }

    /// The serial of the next message: so many were generated.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Writes the next message, without MLLP's frame, in the place of what `out` held.
    ///
    /// # Panics
    /// Never: a feed has at least one patient, and none is ever at an end.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Event {
        let Reverse(due) = *self.due.peek().expect("a feed has patients");
        let (time_ms, at) = (due.time_ms(), due.patient());
        let stamp = self.calendar.stamp(time_ms);
        let patient = &mut self.patients[at];
        let facility = &self.facilities[patient.facility];
        let texts = &self.texts[facility.dialect as usize];
        let is_first = patient.pid.is_empty();
        let is_inpatient = patient.visit.is_inpatient();
        let step = patient.visit.step(&mut patient.rng, &mut self.orders);
        let kind = kind(step);

        let mut ended = None;
        if kind == MessageKind::Merge {
            ended = patient.unknown;
        }
        // The true id is known from the admission on; the merge that follows says that both are one.
        let is_renamed = kind == MessageKind::Admit && patient.is_unknown_now;
        patient.is_unknown_now &= !is_renamed;
        if is_first {
            patient.since = stamp;
        }
        let id = match patient.unknown {
            Some(unknown) if patient.is_unknown_now => unknown,
            _ => patient.id,
        };
        let control = Number(self.controls[patient.facility]);
        self.controls[patient.facility] += 1;
        let mut fill = Fill {
            class: if patient.visit.is_inpatient() { *b"I" } else { *b"E" },
            control: control.digits(),
            data_centre: *DATA_CENTRES[facility.data_centre]
                .as_bytes()
                .first_chunk()
                .expect("two letters"),
            ended: ended.map_or([b'0'; 13], Number::digits),
            facility: facility.code,
            order: number(0),
            patient: id.digits(),
            since: patient.since,
            stamp,
            visit: patient.number.digits(),
            ..Fill::blank()
        };
        fill.at(patient.visit.place);
        // PID and PV1 stand in nearly every message and change seldom: they are written when they do, and copied from then on.
        if is_first || is_renamed {
            patient.pid.clear();
            // Room for the longest at once, so that nothing grows when an unknown patient gets a name.
            patient.pid.reserve(texts.person.bytes());
            let block = if patient.is_unknown_now {
                &texts.person_unknown
            } else {
                &texts.person
            };
            block.write(&fill, &mut Rng::new(patient.person), &mut patient.pid);
        }
        if is_first || kind == MessageKind::Transfer || is_inpatient != patient.visit.is_inpatient() {
            patient.pv1.clear();
            texts.visit.write(
                &fill,
                &mut Rng::new(patient.person ^ patient.number.0),
                &mut patient.pv1,
            );
        }

        let attachment = attachment(&self.shape, &mut self.attachments, &mut self.rng, kind);
        out.clear();
        let composer = Composer {
            texts,
            fill,
            rng: &mut patient.rng,
            person: patient.person,
            pid: &patient.pid,
            pv1: &patient.pv1,
            version: facility.version,
            is_terse: facility.is_terse,
        };
        composer.write(step, kind, attachment.map(|characters| (characters, &self.base64)), out);
        let label = Label {
            seed: self.seed,
            serial: self.serial,
        };
        label.write(facility.dialect.delimiters()[0], out);

        let event = Event {
            serial: self.serial,
            kind,
            facility: patient.facility,
            patient: id,
            ended,
            visit: patient.number,
            control,
            time_ms,
            is_attached: attachment.is_some(),
        };
        self.serial += 1;
        self.plan(due);
        event
    }

    /// Says when the patient's next message is due, and who the patient is from then on.
    fn plan(&mut self, due: Due) {
        let at = due.patient();
        let gap_ms = self.shape.gap_ms;
        let mut rest = self.patients[at].rng.gap(gap_ms);
        if self.patients[at].visit.is_over() {
            if self.patients[at].rng.ppm(RETURN_PPM) {
                rest = rest.saturating_mul(12);
                self.patients[at].come_again(&mut self.visits);
            } else {
                let mut next = self.patient();
                // The buffers go on to whoever comes next.
                std::mem::swap(&mut next.pid, &mut self.patients[at].pid);
                std::mem::swap(&mut next.pv1, &mut self.patients[at].pv1);
                next.pid.clear();
                next.pv1.clear();
                self.patients[at] = next;
            }
        }
        // HL7's times are to the second here: two messages of one patient differ in theirs. Changed in place: one walk through the heap.
        let mut top = self.due.peek_mut().expect("a feed has patients");
        *top = Reverse(due.after(rest.max(1_000)));
    }

    /// Somebody new.
    fn patient(&mut self) -> Patient {
        let id = Number(self.persons);
        let person = mix(self.seed ^ mix(id.0));
        let mut rng = Rng::new(person ^ 4);
        let visit = Visit::new(&mut rng);
        let unknown = visit.is_unknown().then_some(Number(self.persons + 1));
        self.persons += 1 + u64::from(unknown.is_some());
        let number = Number(self.visits);
        self.visits += 1;
        Patient {
            facility: rng.index(self.facilities.len()),
            rng,
            visit,
            person,
            id,
            unknown,
            is_unknown_now: unknown.is_some(),
            number,
            since: [b'0'; 14],
            pid: Vec::new(),
            pv1: Vec::new(),
        }
    }
}

impl Patient {
    /// The same person, known by now, with another visit.
    fn come_again(&mut self, visits: &mut u64) {
        // Who comes again is known, so a visit that begins under another id is not for them.
        self.visit = loop {
            let visit = Visit::new(&mut self.rng);
            if !visit.is_unknown() {
                break visit;
            }
        };
        self.unknown = None;
        self.is_unknown_now = false;
        self.number = Number(*visits);
        *visits += 1;
        self.pid.clear();
        self.pv1.clear();
    }
}

fn kind(step: Step) -> MessageKind {
    match step {
        Step::Plain(kind) => kind,
        Step::Ordered(_) => MessageKind::Order,
        Step::Resulted { .. } => MessageKind::Result,
    }
}

/// How many characters of attachment this message carries. Drawn per message, so that the rate is that of the shape, and carried by the
/// next result or note.
fn attachment(shape: &Shape, waiting: &mut u64, rng: &mut Rng, kind: MessageKind) -> Option<usize> {
    if rng.ppm(shape.attachments_ppm) {
        *waiting += 1;
    }
    if *waiting == 0 || !matches!(kind, MessageKind::Result | MessageKind::Note) {
        return None;
    }
    *waiting -= 1;
    let span = u64::from(shape.attachment_bytes_max - shape.attachment_bytes_min) + 1;
    let characters = u64::from(shape.attachment_bytes_min) + rng.below(span);
    Some(usize::try_from(characters).expect("bounded by the shape"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that a feed has allocated for what changes.
    fn allocated(feed: &Feed) -> usize {
        let buffers = feed
            .patients
            .iter()
            .map(|patient| patient.pid.capacity() + patient.pv1.capacity());
        buffers.sum::<usize>()
            + feed.patients.capacity() * size_of::<Patient>()
            + feed.due.capacity() * size_of::<Reverse<Due>>()
            + feed.controls.capacity() * size_of::<u64>()
    }

    #[test]
    fn memory_is_that_of_the_open_visits_and_does_not_grow() {
        let shape = Shape {
            patients: 100,
            attachments_ppm: 0,
            ..Shape::default()
        };
        let mut feed = Feed::new(1, shape).expect("a shape");
        let mut message = Vec::with_capacity(super::super::MESSAGE_BYTES_MAX);
        let room = message.capacity();
        for _ in 0..20_000 {
            feed.next(&mut message);
        }
        let warm = allocated(&feed);
        for _ in 0..200_000 {
            feed.next(&mut message);
        }
        assert!(
            feed.visits - feed.visits / NUMBERS * NUMBERS > 1_000,
            "visits came and went"
        );
        assert_eq!(allocated(&feed), warm);
        assert_eq!(message.capacity(), room, "a message has room where the longest has");
        assert!(warm / 100 < 3_000, "{} bytes for each patient", warm / 100);
    }

    #[test]
    fn due_orders_by_time_and_then_by_patient() {
        let due = Due::new(7, 3);
        assert_eq!((due.time_ms(), due.patient()), (7, 3));
        assert_eq!(due.after(5), Due::new(12, 3));
        assert!(Due::new(7, 4) > due && Due::new(8, 0) > Due::new(7, u32::MAX));
    }

    #[test]
    fn feeds_go_on_where_years_have_five_digits() {
        let shape = Shape {
            patients: 1,
            gap_ms: super::super::GAP_MS_MAX,
            start_ms: super::super::START_MS_MAX,
            ..Shape::default()
        };
        let mut feed = Feed::new(1, shape).expect("the last shape");
        let mut message = Vec::new();
        let last = (0..50_000).map(|_| feed.next(&mut message).time_ms).last();
        assert!(last > Some(253_402_300_800_000), "behind the year 9999");
    }
}
