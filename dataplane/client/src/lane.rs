//! A lane: the numbers that one session has used in one group, and which of them have ended.
//!
//! Knows nothing of messages and connections. **Invariant:** open numbers lie in [mark, mark + 256), the mark is at most the lowest number
//! that has not ended, and no number is given out twice in a session.

use std::collections::VecDeque;

use crate::session::Session;

/// Numbers that may be open in a lane at once.
pub(crate) const LANE_WINDOW: u32 = 256;
/// A lane that came so far gets a new session before its numbers run out.
const NUMBERS_MAX: u32 = u32::MAX - 2 * LANE_WINDOW;

/// The lane of a group.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    pub(crate) session: [u8; 16],
    /// Which session that is; 0 for none.
    pub(crate) serial: u32,
    /// Requests of this session that have not ended.
    pub(crate) live: u32,
    next: u32,
    mark: u32,
    /// From then on the lane wants a new session, monotonic ns; 0 for at once.
    renew_ns: u64,
    /// A bit per number modulo 256: it has ended, and the mark has not passed it.
    ended: [u64; 4],
    /// The group's own time in seconds, and when it told that, monotonic ns.
    pub(crate) clock: Option<(u32, u64)>,
    /// Of a further unordered lane of a group: its first one, in which requests of all of them wait; and which session of the client it has.
    pub(crate) first: Option<(u32, usize)>,
    /// The next unordered lane of the group.
    pub(crate) further: Option<u32>,
    /// Requests that wait for a number, in the order of their calls.
    pub(crate) waiting: VecDeque<u32>,
    /// Requests whose session was refused before they took effect: (old number, request).
    pub(crate) rebinds: Vec<(u32, u32)>,
}

impl Lane {
    /// A further unordered lane of the group whose first one this is, for that session of the client.
    pub(crate) fn further(first: u32, which: usize) -> Lane {
        Lane {
            first: Some((first, which)),
            ..Lane::default()
        }
    }

    /// Whether the lane's session takes new numbers at this time.
    pub(crate) fn has_session(&self, now_ns: u64) -> bool {
        now_ns < self.renew_ns
    }

    /// Begins a session in this lane. Numbers start anew.
    ///
    /// # Panics
    /// If requests of the session before are open: a bug in this process.
    pub(crate) fn adopt(&mut self, session: &Session) {
        assert_eq!(self.live, 0, "a lane runs empty before its session changes");
        self.session = session.bytes;
        self.serial = session.serial;
        self.renew_ns = session.renew_ns;
        self.next = 1;
        self.mark = 1;
        self.ended = [0; 4];
    }

    /// The cluster refused the session: no more numbers in it.
    pub(crate) fn expire(&mut self) {
        self.renew_ns = 0;
    }

    /// Whether the session has ended before its time, and waits only for its open requests.
    pub(crate) fn is_expired(&self) -> bool {
        self.renew_ns == 0
    }

    /// Whether the window has room.
    pub(crate) fn has_room(&self) -> bool {
        self.next - self.mark < LANE_WINDOW
    }

    /// The next number, if the window has room.
    pub(crate) fn take_number(&mut self) -> Option<u32> {
        if !self.has_room() {
            return None;
        }
        let number = self.next;
        self.next += 1;
        self.live += 1;
        if number >= NUMBERS_MAX {
            self.renew_ns = 0;
        }
        Some(number)
    }

    /// All numbers below are answered or given up.
    pub(crate) fn mark(&self) -> u32 {
        self.mark
    }

    /// A number is answered or given up for good.
    pub(crate) fn end(&mut self, number: u32) {
        debug_assert!((self.mark..self.next).contains(&number));
        let (word, bit) = place(number);
        self.ended[word] |= bit;
        while self.mark < self.next {
            let (word, bit) = place(self.mark);
            if self.ended[word] & bit == 0 {
                break;
            }
            self.ended[word] &= !bit;
            self.mark += 1;
        }
    }
}

fn place(number: u32) -> (usize, u64) {
    ((number / 64 % 4) as usize, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane() -> Lane {
        let mut lane = Lane::default();
        lane.adopt(&Session {
            bytes: [1; 16],
            serial: 1,
            renew_ns: 100,
        });
        lane
    }

    #[test]
    fn the_mark_is_the_lowest_number_that_has_not_ended() {
        let mut lane = lane();
        let numbers: Vec<u32> = (0..5).map(|_| lane.take_number().unwrap()).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5]);
        for (ended, mark) in [(2, 1), (4, 1), (1, 3), (3, 5), (5, 6)] {
            lane.end(ended);
            assert_eq!(lane.mark(), mark, "after the end of {ended}");
        }
    }

    #[test]
    fn no_more_than_256_numbers_are_open_and_none_comes_twice() {
        let mut lane = lane();
        let mut seen = 0;
        for round in 0..1000 {
            while let Some(number) = lane.take_number() {
                assert_eq!(number, seen + 1);
                seen = number;
                assert!(number - lane.mark() < LANE_WINDOW);
            }
            assert_eq!(seen, lane.mark() + 255, "round {round}");
            lane.end(lane.mark());
        }
    }

    #[test]
    fn one_open_number_holds_the_window_whatever_ends_above_it() {
        let mut lane = lane();
        (0..256).for_each(|_| assert!(lane.take_number().is_some()));
        (2..=256).for_each(|number| lane.end(number));
        assert_eq!((lane.mark(), lane.take_number()), (1, None));
        lane.end(1);
        assert_eq!((lane.mark(), lane.take_number()), (257, Some(257)));
    }
}
