//! The queue's events: what is on its way in a simulated cluster, and when it arrives.
//!
//! **Invariant:** events come out by their virtual instant, and those of one instant in the order in which they were scheduled.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use waterpark_core::effects::Crossing;
use waterpark_core::ids::{ClientId, Incarnation, LinkId};
use waterpark_core::memory::Outgoing;
use waterpark_core::time::MS;
use waterpark_core::topology_log::Entry;

use super::controllers::ControlInput;
use super::links::LinkKey;

pub(super) enum Event {
    Frame {
        node: usize,
        link: LinkKey,
        bytes: Vec<u8>,
    },
    LinkSent {
        node: usize,
        incarnation: Incarnation,
        shard: usize,
        link: LinkId,
        epoch: u32,
        outgoing: Outgoing,
    },
    FromClient {
        node: usize,
        shard: usize,
        client: u32,
        bytes: Vec<u8>,
    },
    ToClient {
        client: u32,
        bytes: Vec<u8>,
    },
    ClientSent {
        node: usize,
        incarnation: Incarnation,
        shard: usize,
        client: ClientId,
        outgoing: Outgoing,
    },
    Deliver {
        node: usize,
        incarnation: Incarnation,
        shard: usize,
        crossing: Crossing,
    },
    Tick {
        node: usize,
        incarnation: Incarnation,
        shard: usize,
    },
    Down {
        node: usize,
        link: LinkKey,
        epoch: u32,
    },
    Dial {
        link: LinkKey,
    },
    Start {
        node: usize,
    },
    Join {
        node: usize,
    },
    Step {
        client: u32,
    },
    Read {
        reader: u32,
    },
    Learn {
        node: usize,
        incarnation: Incarnation,
        upto: usize,
    },
    /// One shard of a node learns what the others have learned, or will.
    LearnShard {
        node: usize,
        incarnation: Incarnation,
        shard: usize,
    },
    Proposed {
        entry: Box<Entry>,
    },
    Plan,
    Control {
        node: usize,
        incarnation: Incarnation,
        input: ControlInput,
    },
    ControlTick {
        node: usize,
        incarnation: Incarnation,
    },
    /// A node's pause may be over.
    GoOn {
        node: usize,
    },
    Fault,
}

impl Event {
    /// The node that it waits for while that is paused.
    pub(super) fn node(&self) -> Option<usize> {
        match self {
            Event::Frame { node, .. }
            | Event::LinkSent { node, .. }
            | Event::FromClient { node, .. }
            | Event::ClientSent { node, .. }
            | Event::Deliver { node, .. }
            | Event::Tick { node, .. }
            | Event::Learn { node, .. }
            | Event::LearnShard { node, .. }
            | Event::Control { node, .. }
            | Event::ControlTick { node, .. }
            | Event::Down { node, .. } => Some(*node),
            Event::ToClient { .. }
            | Event::Dial { .. }
            | Event::Start { .. }
            | Event::Join { .. }
            | Event::Step { .. }
            | Event::Read { .. }
            | Event::Proposed { .. }
            | Event::Plan
            | Event::GoOn { .. }
            | Event::Fault => None,
        }
    }
}

/// Each event is moved into the queue and out of it.
const _: () = assert!(size_of::<Event>() <= 88);

/// What takes the same time whenever it happens: what was scheduled first comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// From the beginning of a send on a link to its end.
    Sent,
    /// From a shard to the controller of its node, and back.
    Hop,
    /// Between two looks of a controller at the clock.
    ControlTick,
    /// Between two ticks of a shard.
    Tick,
}

impl Pace {
    const ALL: [Pace; 4] = [Pace::Sent, Pace::Hop, Pace::ControlTick, Pace::Tick];

    /// How long it takes.
    pub(super) const fn ns(self) -> u64 {
        match self {
            Pace::Sent => 20_000,
            Pace::Hop => 200_000,
            Pace::ControlTick => 5 * MS,
            Pace::Tick => 10 * MS,
        }
    }
}

/// What is on its way, the next first: a line for each pace, in which most of it stands; for what else comes soon a wheel of short slices of
/// time; and a heap for the rest.
pub(super) struct Queue {
    /// By pace, each ascending.
    lines: [VecDeque<(Turn, Event)>; Pace::ALL.len()],
    /// When the first of each line comes.
    firsts: [Turn; Pace::ALL.len()],
    /// When the first of wheel and heap comes, and its place on the wheel; [`SLICES`] if it is in the heap.
    soonest: (Turn, usize),
    /// The slices from `first` on, each with what comes in it, the next last. A slice of the wheel's next turn is never in it.
    wheel: Vec<Vec<Coming>>,
    /// One bit for each slice with something in it.
    filled: [u64; SLICES / 64],
    /// The slice, counted from the beginning of time, in which the next event may be.
    first: u64,
    later: BinaryHeap<Reverse<Coming>>,
    /// Events by their place: what is sorted is small.
    events: Vec<Option<Event>>,
    free: Vec<u32>,
    scheduled: u64,
}

/// Slices of a wheel.
const SLICES: usize = 256;
/// A slice has so many ns, as a power of two: the wheel goes round in 67 ms. With shorter ones it would not fit into the nearest cache.
const SLICE_BITS: u32 = 18;

/// An instant and the how-manieth event it was to be scheduled, as one number that orders them.
type Turn = u128;

/// Of an event that there is not.
const NEVER: Turn = Turn::MAX;

fn turn(at_ns: u64, number: u64) -> Turn {
    Turn::from(at_ns) << 64 | Turn::from(number)
}

fn at_ns(turn: Turn) -> u64 {
    u64::try_from(turn >> 64).expect("the upper half")
}

/// When an event comes, the how-manieth it was to be scheduled, and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Coming {
    at_ns: u64,
    number: u64,
    place: u32,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue {
            lines: Default::default(),
            firsts: [NEVER; Pace::ALL.len()],
            soonest: (NEVER, SLICES),
            wheel: vec![Vec::new(); SLICES],
            filled: [0; SLICES / 64],
            first: 0,
            later: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
            scheduled: 0,
        }
    }
}

impl Queue {
    /// An event comes at an instant, which is not before that of the last one that was taken.
    pub(super) fn push(&mut self, at_ns: u64, event: Event) {
        self.scheduled += 1;
        let place = match self.free.pop() {
            Some(place) => {
                self.events[place as usize] = Some(event);
                place
            }
            None => {
                self.events.push(Some(event));
                u32::try_from(self.events.len() - 1).expect("counted in 32 bits")
            }
        };
        let number = self.scheduled;
        let index = self.insert(Coming { at_ns, number, place });
        self.soonest = self.soonest.min((turn(at_ns, number), index));
    }

    /// An event comes after as long as it takes from now, which is not before the last one that was taken.
    pub(super) fn push_after(&mut self, now_ns: u64, pace: Pace, event: Event) {
        self.scheduled += 1;
        let turn = turn(now_ns + pace.ns(), self.scheduled);
        let line = &mut self.lines[pace as usize];
        debug_assert!(line.back().is_none_or(|(last, _)| *last < turn), "time goes on");
        if line.is_empty() {
            self.firsts[pace as usize] = turn;
        }
        line.push_back((turn, event));
    }

    /// Where on the wheel it is then.
    fn insert(&mut self, coming: Coming) -> usize {
        let slice = (coming.at_ns >> SLICE_BITS).max(self.first);
        if slice - self.first >= SLICES as u64 {
            self.later.push(Reverse(coming));
            return SLICES;
        }
        let index = index_of(slice);
        self.filled[index / 64] |= 1 << (index % 64);
        let row = &mut self.wheel[index];
        if row.last().is_none_or(|next| *next > coming) {
            row.push(coming);
            return index;
        }
        let behind = row.iter().rposition(|other| *other > coming);
        row.insert(behind.map_or(0, |at| at + 1), coming);
        index
    }

    /// The next one and its instant, if it comes by then.
    pub(super) fn pop_until(&mut self, until_ns: u64) -> Option<(u64, Event)> {
        let (mut next, mut line) = (self.soonest.0, self.lines.len());
        for (at, first) in self.firsts.iter().enumerate() {
            if *first < next {
                (next, line) = (*first, at);
            }
        }
        let at_ns = at_ns(next);
        if next == NEVER || at_ns > until_ns {
            return None;
        }
        self.first = at_ns >> SLICE_BITS;
        let Some(found) = self.lines.get_mut(line) else {
            return Some((at_ns, self.pop_soonest()));
        };
        let (_, event) = found.pop_front().expect("it has a first one");
        self.firsts[line] = found.front().map_or(NEVER, |(turn, _)| *turn);
        Some((at_ns, event))
    }

    /// The first one of wheel and heap.
    fn pop_soonest(&mut self) -> Event {
        let index = self.soonest.1;
        let coming = if let Some(row) = self.wheel.get_mut(index) {
            let coming = row.pop();
            if row.is_empty() {
                self.filled[index / 64] &= !(1 << (index % 64));
            }
            coming
        } else {
            self.later.pop().map(|Reverse(coming)| coming)
        };
        let place = coming.expect("it was found there").place;
        // What waits beyond the wheel may come before all that is in it.
        let turn_of = |coming: &Coming| turn(coming.at_ns, coming.number);
        let later = self.later.peek().map_or(NEVER, |Reverse(coming)| turn_of(coming));
        self.soonest = (later, SLICES);
        if let Some(index) = self.next_filled()
            && let Some(next) = self.wheel[index].last()
        {
            self.soonest = self.soonest.min((turn_of(next), index));
        }
        self.free.push(place);
        let event = self.events[place as usize].take();
        event.expect("each is taken once")
    }

    /// The first slice with something in it, from the present one on round the wheel.
    fn next_filled(&self) -> Option<usize> {
        let from = index_of(self.first);
        let words = self.filled.len();
        let begin = self.filled[from / 64] & (u64::MAX << (from % 64));
        if begin != 0 {
            return Some(from / 64 * 64 + begin.trailing_zeros() as usize);
        }
        // The last one is the first again: its lower slices are of the wheel's next turn.
        (1..=words).map(|ahead| (from / 64 + ahead) % words).find_map(|word| {
            let bits = self.filled[word];
            (bits != 0).then(|| word * 64 + bits.trailing_zeros() as usize)
        })
    }
}

/// Where a slice is on the wheel.
fn index_of(slice: u64) -> usize {
    usize::try_from(slice % SLICES as u64).expect("below the slices of a wheel")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn events_come_in_the_order_of_their_instants_and_of_their_scheduling() {
        for seed in 1..=40 {
            let mut rng = Rng::new(seed);
            let mut queue = Queue::default();
            // The clients stand for the events' numbers.
            let (mut now_ns, mut pushed, mut waiting) = (0, 0, Vec::new());
            for _ in 0..4_000 {
                if rng.below(2) == 0 || waiting.is_empty() {
                    let spans = [1, 20_000, 5_000_000, 60_000_000, 70_000_000, 3_000_000_000];
                    let kind = rng.index(spans.len() + Pace::ALL.len());
                    let event = Event::Step { client: pushed };
                    if let Some(pace) = kind.checked_sub(spans.len()).map(|at| Pace::ALL[at]) {
                        queue.push_after(now_ns, pace, event);
                        waiting.push((now_ns + pace.ns(), pushed));
                    } else {
                        let at_ns = now_ns + rng.below(spans[kind]);
                        queue.push(at_ns, event);
                        waiting.push((at_ns, pushed));
                    }
                    pushed += 1;
                    continue;
                }
                let next = *waiting.iter().min().expect("not empty");
                // Not before it comes.
                if next.0 > now_ns {
                    assert!(queue.pop_until(next.0 - 1).is_none(), "seed {seed}");
                }
                let popped = queue.pop_until(next.0);
                assert!(
                    matches!(popped, Some((at, Event::Step { client })) if (at, client) == next),
                    "seed {seed}"
                );
                now_ns = next.0;
                waiting.retain(|other| *other != next);
            }
        }
    }
}
