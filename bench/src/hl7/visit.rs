//! One patient's visit: which message comes next.
//!
//! Decides on kinds, orders and places; knows no bytes and no other patient. All that it draws comes from a generator of its own, so what
//! happens to a patient does not depend on who else is in the feed.
//!
//! ```text
//! planned    A05, A14? ──┐
//! emergency  A04, A08*  ──┼─► A01 ─► A11
//! direct     ─────────────┤     └──► stay: A02 A08 ORM ORU MDM DFT RDE ─► ORU* ─► A03 ─► DFT?
//! unknown    A04, A08*  ──┴─► A01 as another id, A40 ─► stay
//! ```
//!
//! **Invariant:** a result names an order of the same visit that was made before and has no result yet; none is left at the discharge.

use super::block::Place;
use super::event::MessageKind;
use super::rng::Rng;

/// Orders without a result that a visit has at most.
pub(super) const OPEN_MAX: usize = 6;
/// Results that one message carries at most.
pub(super) const RESULTS_MAX: usize = 3;
/// Panels there are.
pub(super) const PANELS: usize = 8;

const WARDS: [&[u8; 3]; 12] = [
    b"MED", b"SUR", b"ICU", b"CCU", b"NEU", b"ORT", b"PED", b"OBS", b"ONC", b"REH", b"PSY", b"GER",
];
const EMERGENCY: &[u8; 3] = b"EMR";

/// An order to a laboratory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) number: u64,
    pub(super) panel: usize,
}

/// One step of a visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A message that needs no more than its kind.
    Plain(MessageKind),
    /// An order is made.
    Ordered(Order),
    /// Results come in, for the first `count` of the orders.
    Resulted { orders: [Order; RESULTS_MAX], count: usize },
}

/// Where a visit stands: what was sent last decides what may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Planned,
    Expected,
    Arriving,
    /// So many updates before the admission.
    Emergency(u16),
    Admission,
    Doubled,
    Cancelled,
    /// So many steps before the end.
    Stay(u16),
    Leaving,
    Left,
    Over,
}

/// A visit.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    phase: Phase,
    is_unknown: bool,
    open: [Order; OPEN_MAX],
    open_count: usize,
    /// Where the patient lies.
    pub(super) place: Place,
}

impl Visit {
    /// A visit that is about to begin.
    pub(super) fn new(rng: &mut Rng) -> Visit {
        let (phase, is_unknown) = match rng.below(100) {
            0..30 => (Phase::Planned, false),
            30..75 => (Phase::Arriving, false),
            75..80 => (Phase::Arriving, true),
            _ => (Phase::Admission, false),
        };
        let ward = if phase == Phase::Arriving {
            EMERGENCY
        } else {
            WARDS[rng.index(WARDS.len())]
        };
        Visit {
            phase,
            is_unknown,
            open: [Order { number: 0, panel: 0 }; OPEN_MAX],
            open_count: 0,
            place: place(ward, rng),
        }
    }

    /// Whether the patient comes under an id that will end.
    pub(super) fn is_unknown(&self) -> bool {
        self.is_unknown
    }

    /// Whether nothing more comes.
    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether the patient has a bed as an inpatient.
    pub(super) fn is_inpatient(&self) -> bool {
        matches!(
            self.phase,
            Phase::Doubled | Phase::Cancelled | Phase::Stay(_) | Phase::Leaving | Phase::Left | Phase::Over
        )
    }

    /// The next message. `orders` counts the orders of the feed.
    ///
    /// # Panics
    /// If the visit is over.
    pub(super) fn step(&mut self, rng: &mut Rng, orders: &mut u64) -> Step {
        assert!(!self.is_over(), "a visit that is over has no next message");
        let kind = match self.phase {
            Phase::Planned => {
                self.phase = if rng.ppm(500_000) {
                    Phase::Expected
                } else {
                    Phase::Admission
                };
                MessageKind::PreAdmit
            }
            Phase::Expected => {
                self.phase = Phase::Admission;
                MessageKind::Pending
            }
            Phase::Arriving => {
                self.phase = Phase::Emergency(u16::try_from(rng.below(3)).expect("below three"));
                MessageKind::Register
            }
            Phase::Emergency(updates @ 1..) => {
                self.phase = Phase::Emergency(updates - 1);
                MessageKind::Update
            }
            Phase::Emergency(0) | Phase::Admission => self.admit(rng),
            Phase::Doubled => {
                self.phase = stay(rng);
                MessageKind::Merge
            }
            Phase::Cancelled => {
                self.phase = Phase::Over;
                MessageKind::CancelAdmit
            }
            Phase::Stay(0) => {
                self.phase = Phase::Leaving;
                return self.step(rng, orders);
            }
            Phase::Stay(left) => {
                self.phase = Phase::Stay(left - 1);
                return self.stay(rng, orders);
            }
            Phase::Leaving if self.open_count > 0 => return self.result(rng),
            Phase::Leaving => {
                self.phase = if rng.ppm(500_000) { Phase::Left } else { Phase::Over };
                MessageKind::Discharge
            }
            Phase::Left => {
                self.phase = Phase::Over;
                MessageKind::Charge
            }
            Phase::Over => unreachable!("asserted above"),
        };
        Step::Plain(kind)
    }

    fn admit(&mut self, rng: &mut Rng) -> MessageKind {
        if self.place.ward == *EMERGENCY {
            self.place = place(WARDS[rng.index(WARDS.len())], rng);
        }
        self.phase = if self.is_unknown {
            Phase::Doubled
        } else if rng.ppm(30_000) {
            Phase::Cancelled
        } else {
            stay(rng)
        };
        MessageKind::Admit
    }

    /// A step of a stay. Results are likelier than orders, so most come soon.
    fn stay(&mut self, rng: &mut Rng, orders: &mut u64) -> Step {
        let kind = match rng.below(100) {
            0..22 if self.open_count < OPEN_MAX => return self.order(rng, orders),
            0..48 if self.open_count > 0 => return self.result(rng),
            0..48 => return self.order(rng, orders),
            48..56 => {
                self.place = place(WARDS[rng.index(WARDS.len())], rng);
                MessageKind::Transfer
            }
            56..67 => MessageKind::Update,
            67..80 => MessageKind::Note,
            80..90 => MessageKind::Charge,
            _ => MessageKind::Pharmacy,
        };
        Step::Plain(kind)
    }

    fn order(&mut self, rng: &mut Rng, orders: &mut u64) -> Step {
        let order = Order {
            number: *orders,
            panel: rng.index(PANELS),
        };
        *orders += 1;
        self.open[self.open_count] = order;
        self.open_count += 1;
        Step::Ordered(order)
    }

    /// One result or several, of the oldest orders.
    fn result(&mut self, rng: &mut Rng) -> Step {
        let count = rng.count(1, RESULTS_MAX.min(self.open_count));
        let orders = *self.open.first_chunk().expect("more orders than results at once");
        self.open.copy_within(count.., 0);
        self.open_count -= count;
        Step::Resulted { orders, count }
    }
}

/// A stay of eight to seventy steps, half of them below forty.
fn stay(rng: &mut Rng) -> Phase {
    Phase::Stay(u16::try_from(rng.count(8, 70)).expect("at most seventy"))
}

/// A free bed of a ward; who else lies in it is not looked at.
fn place(ward: &[u8; 3], rng: &mut Rng) -> Place {
    let mut digit = |low: u8, span| low + u8::try_from(rng.below(span)).expect("below ten");
    Place {
        ward: *ward,
        room: [digit(b'1', 9), digit(b'0', 10), digit(b'0', 10)],
        bed: digit(b'A', 4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visit_ends_and_leaves_no_order_without_a_result() {
        for seed in 0..2_000 {
            let mut rng = Rng::new(seed);
            let mut visit = Visit::new(&mut rng);
            let (mut orders, mut made, mut resulted, mut steps) = (0, 0, 0, 0);
            while !visit.is_over() {
                match visit.step(&mut rng, &mut orders) {
                    Step::Ordered(order) => {
                        assert_eq!(order.number, made);
                        made += 1;
                    }
                    Step::Resulted { orders, count } => {
                        for order in &orders[..count] {
                            assert_eq!(order.number, resulted, "the oldest first, each once");
                            resulted += 1;
                        }
                    }
                    Step::Plain(_) => {}
                }
                steps += 1;
                assert!(steps < 100, "seed {seed}");
            }
            assert_eq!(made, resulted, "seed {seed}");
        }
    }
}
