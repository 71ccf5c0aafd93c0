//! How much of what one link carries may be logs and states on their way to members that lack them.
//!
//! Two bounds, because bytes wait in two places. In this process a frame takes so many bytes of pieces and no more, and fewer while runs
//! are under way. On the way a link has a window: bytes of portions that were begun and whose askers have not answered. It grows while
//! portions come through about as fast as the quickest of them did lately, and is halved when they wait behind each other (Vegas, Brakmo and
//! Peterson 1995, counted in portions). So an idle link is filled, whatever its length, and no queue is built that a run would wait in for longer
//! than acks take anyway.
//!
//! A member that is given logs by many at once, or has no core of its own, is late even with one portion from each. Then a link rests
//! between portions, for ever more times what one takes, which is what a window of less than one portion would come to.
//!
//! It knows no log and sends nothing. **Invariant:** a portion begins only if it fits the window, or if nothing is under way.

use crate::ids::{GroupId, Seq, View};
use crate::quickest::Quickest;
use crate::time::MS;

/// Portions may come through this much later than the quickest one, or by this part of what that took, or of what an ack takes: every run that
/// goes the same way waits as long, twice before it is acked.
const LATE_NS: u64 = MS / 4;
const LATE_PART: u64 = 4;
/// A window that was too wide grows by one portion each time it comes through, or in this time where that is shorter: a long way is filled
/// about as soon as a short one.
const GROWS_NS: u64 = 4 * MS;
/// A link rests for so many times what a portion takes, at the most,
const REST_TIMES_MAX: u64 = 8;
/// and never so long that less than this would pass: copies have to come back however busy everybody is. From seven nodes that is a GiB in ten
/// seconds.
const BYTES_PER_S_MIN: u64 = 16 << 20;
/// A portion whose asker does not answer for so long is lost, or not wanted any more.
const LOST_NS: u64 = 500 * MS;

/// How much an asker has: the seq of its last run, and bytes of a state.
pub(crate) type Had = (Seq, u64);

/// A portion that was begun.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    group: GroupId,
    view: View,
    /// What its asker had.
    had: Had,
    bytes: usize,
    /// When its last piece left, monotonic ns; `None` before.
    left_ns: Option<u64>,
}

/// What may be under way on one link.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// How much may be; 0 before the first portion.
    bytes: usize,
    /// The least portion, by which it grows once it was too wide.
    least: usize,
    under_way: Vec<UnderWay>,
    quickest: Quickest,
    /// When it was halved last, monotonic ns: portions that left before that were late for the same reason. 0 before.
    halved_ns: u64,
    /// For how many times what a portion takes there is none behind it.
    rest_times: u64,
    /// No portion begins before, monotonic ns.
    rests_until_ns: u64,
}

impl Window {
    /// How long a portion may be that begins now, of so many that wait; `None` if none may.
    pub(crate) fn room(&mut self, now_ns: u64, least: usize, waiting: usize) -> Option<usize> {
        self.least = least;
        self.bytes = self.bytes.max(self.floor());
        self.under_way.retain(|portion| {
            portion
                .left_ns
                .is_none_or(|left_ns| now_ns.saturating_sub(left_ns) < LOST_NS)
        });
        let free = self.bytes.saturating_sub(self.under_way());
        let may = now_ns >= self.rests_until_ns && (free >= least || self.under_way.is_empty());
        may.then(|| (free / waiting.max(1)).max(least))
    }

    /// Bytes of portions that were begun and not answered.
    pub(crate) fn under_way(&self) -> usize {
        self.under_way.iter().map(|portion| portion.bytes).sum()
    }

    /// A portion of a group begins.
    pub(crate) fn begin(&mut self, group: GroupId, view: View, had: Had, bytes: usize) {
        self.end(group);
        self.under_way.push(UnderWay {
            group,
            view,
            had,
            bytes,
            left_ns: None,
        });
    }

    /// Its last piece is in the frame that leaves now; it had so many bytes in the end.
    pub(crate) fn left(&mut self, group: GroupId, bytes: usize, now_ns: u64) {
        if let Some(portion) = self.under_way.iter_mut().find(|portion| portion.group == group) {
            portion.bytes = bytes;
            portion.left_ns = Some(now_ns);
        }
    }

    /// The asker of a portion that has left asks again, or says that it wants no more. Who asks for the same again has not got it; what is
    /// said of an older view says nothing of this one. Acks take `ack_ns` here where nothing waits.
    pub(crate) fn answered(
        &mut self,
        group: GroupId,
        view: View,
        has: Option<Had>,
        (now_ns, ack_ns): (u64, u64),
        bytes_max: usize,
    ) {
        let is_meant = |portion: &&UnderWay| portion.group == group && portion.view <= view;
        let Some(portion) = self.under_way.iter().find(is_meant).copied() else {
            return;
        };
        let Some(left_ns) = portion.left_ns else { return };
        self.end(group);
        if has == Some(portion.had) {
            return;
        }
        let took_ns = now_ns.saturating_sub(left_ns).max(1);
        let least_ns = self.quickest.heard(took_ns, now_ns);
        if took_ns <= least_ns + LATE_NS.max(least_ns.max(ack_ns) / LATE_PART) {
            self.widen(portion.bytes, took_ns, bytes_max);
        } else if left_ns >= self.halved_ns {
            self.halve(now_ns);
        }
        let rest_max_ns = portion.bytes as u64 * (1_000 * MS) / BYTES_PER_S_MIN;
        self.rests_until_ns = now_ns + took_ns.saturating_mul(self.rest_times).min(rest_max_ns);
    }

    /// The narrowest window: one portion, or what has to be under way on a long way for the least that is to pass.
    fn floor(&self) -> usize {
        let way_ns = self.quickest.took_ns().unwrap_or(0);
        let passes = way_ns.saturating_mul(BYTES_PER_S_MIN) / (1_000 * MS);
        self.least.max(usize::try_from(passes).unwrap_or(usize::MAX))
    }

    /// A portion of so many bytes came through quickly, in so much time. Before it was ever too wide a window doubles each time it comes through
    /// whole, then it grows by portions.
    fn widen(&mut self, bytes: usize, took_ns: u64, bytes_max: usize) {
        if self.rest_times > 0 {
            self.rest_times /= 2;
            return;
        }
        let more = match self.halved_ns {
            0 => bytes,
            _ => {
                let portions = usize::try_from(took_ns / GROWS_NS).unwrap_or(usize::MAX).max(1);
                bytes.saturating_mul(self.least).saturating_mul(portions) / self.bytes.max(1)
            }
        };
        self.bytes = (self.bytes + more).min(bytes_max);
    }

    fn halve(&mut self, now_ns: u64) {
        let floor = self.floor();
        if self.bytes <= floor {
            self.rest_times = (self.rest_times * 2).clamp(1, REST_TIMES_MAX);
        }
        self.bytes = (self.bytes / 2).max(floor);
        self.halved_ns = now_ns;
    }

    /// It is not given any more, or nobody waits for it.
    pub(crate) fn drop_portion(&mut self, group: GroupId) {
        self.end(group);
    }

    fn end(&mut self, group: GroupId) -> Option<UnderWay> {
        let at = self.under_way.iter().position(|portion| portion.group == group)?;
        Some(self.under_way.swap_remove(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: usize = 128 << 10;
    const MOST: usize = 8 << 20;
    const HAD: Had = (Seq(7), 0);

    /// Portions one after the other, each answered after `took_ms`; the window at the end.
    fn after(window: &mut Window, portions: u64, took_ms: u64) -> usize {
        for _ in 0..portions {
            let now_ns = window.rests_until_ns.max(window.halved_ns + MS);
            let bytes = window.room(now_ns, LEAST, 1).expect("nothing is under way");
            window.begin(GroupId(1), View(4), HAD, bytes);
            window.left(GroupId(1), bytes, now_ns);
            window.answered(GroupId(1), View(4), None, (now_ns + took_ms * MS, 0), MOST);
        }
        window.bytes
    }

    #[test]
    fn a_link_begins_with_one_portion_and_no_second_one_beside_it() {
        let mut window = Window::default();
        assert_eq!(window.room(0, LEAST, 7), Some(LEAST));
        window.begin(GroupId(1), View(4), HAD, LEAST);
        assert_eq!(window.room(0, LEAST, 6), None);
        assert_eq!(window.under_way(), LEAST);
    }

    #[test]
    fn the_window_doubles_while_portions_come_through_quickly_and_never_passes_its_bound() {
        let mut window = Window::default();
        assert_eq!(after(&mut window, 1, 6), 2 * LEAST);
        assert_eq!(after(&mut window, 1, 7), 4 * LEAST);
        assert_eq!(after(&mut window, 20, 6), MOST);
    }

    #[test]
    fn the_window_is_halved_when_portions_wait_behind_each_other_down_to_one_portion_or_what_a_long_way_needs() {
        for (way_ms, floor) in [(2, LEAST), (60, 60 * (16 << 20) / 1_000)] {
            let mut window = Window::default();
            after(&mut window, 20, way_ms);
            assert_eq!(after(&mut window, 1, 200), MOST / 2);
            assert_eq!(after(&mut window, 20, 300), floor, "{way_ms} ms");
        }
    }

    #[test]
    fn a_window_that_was_too_wide_grows_by_one_portion_each_time_it_comes_through_or_in_four_milliseconds() {
        for (way_ms, portions) in [(3, 1), (60, 15)] {
            let mut window = Window::default();
            after(&mut window, 20, way_ms);
            assert_eq!(after(&mut window, 1, 200), MOST / 2);
            assert_eq!(after(&mut window, 1, way_ms), MOST / 2 + portions * LEAST);
            // By its part of the window, where it is one of many.
            let bytes = window.bytes;
            window.widen(bytes / 2, way_ms * MS, MOST);
            assert_eq!(window.bytes, bytes + portions * LEAST / 2);
        }
    }

    #[test]
    fn a_short_way_may_be_late_by_a_quarter_of_what_an_ack_takes() {
        for (ack_ms, grows) in [(0, false), (8, true), (3, false)] {
            let mut window = Window::default();
            let now_ns = after(&mut window, 3, 1) as u64 + MS;
            let before = window.bytes;
            window.begin(GroupId(1), View(4), HAD, LEAST);
            window.left(GroupId(1), LEAST, now_ns);
            window.answered(GroupId(1), View(4), None, (now_ns + 2 * MS, ack_ms * MS), MOST);
            assert_eq!(window.bytes > before, grows, "{ack_ms} ms");
        }
    }

    #[test]
    fn a_link_rests_ever_longer_while_one_portion_at_a_time_is_late_and_less_and_less_after_that() {
        let mut window = Window::default();
        after(&mut window, 1, 1);
        let mut rests = |took_us: u64| {
            let now_ns = window.rests_until_ns + MS;
            window.bytes = LEAST;
            assert_eq!(window.room(now_ns, LEAST, 1), Some(LEAST));
            window.begin(GroupId(1), View(4), HAD, LEAST);
            window.left(GroupId(1), LEAST / 4, now_ns);
            let came_ns = now_ns + took_us * 1_000;
            window.answered(GroupId(1), View(4), None, (came_ns, 0), MOST);
            let rest_ns = window.rests_until_ns - came_ns;
            assert!(rest_ns == 0 || window.room(came_ns, LEAST, 1).is_none());
            rest_ns / 1_000
        };
        let late = [1_300, 1_300, 1_300, 1_300, 1_300, 900_000].map(&mut rests);
        // 32 KiB at 16 MiB a second.
        assert_eq!(late, [1_300, 1_953, 1_953, 1_953, 1_953, 1_953]);
        let quick = [1_000; 5].map(&mut rests);
        assert_eq!(quick, [1_953, 1_953, 1_000, 0, 0]);
    }

    #[test]
    fn portions_that_were_late_together_halve_the_window_once() {
        let mut window = Window::default();
        after(&mut window, 20, 1);
        for group in 1..=4 {
            window.begin(GroupId(group), View(4), HAD, LEAST);
            window.left(GroupId(group), LEAST, MS);
        }
        (1..=4).for_each(|group| window.answered(GroupId(group), View(4), None, (400 * MS, 0), MOST));
        assert_eq!(window.bytes, MOST / 2);
    }

    #[test]
    fn what_waits_shares_the_window_in_equal_parts() {
        let mut window = Window::default();
        after(&mut window, 20, 1);
        let now_ns = window.rests_until_ns;
        assert_eq!(window.room(now_ns, LEAST, 4), Some(MOST / 4));
        assert_eq!(window.room(now_ns, LEAST, 10_000), Some(LEAST));
    }

    #[test]
    fn who_asks_for_the_same_again_says_nothing_of_the_way() {
        let mut window = Window::default();
        window.begin(GroupId(1), View(4), HAD, LEAST);
        window.answered(GroupId(1), View(4), Some(HAD), (3 * MS, 0), MOST);
        assert_eq!(window.under_way(), LEAST, "it has not left yet");
        window.left(GroupId(1), LEAST, 2 * MS);
        window.answered(GroupId(1), View(4), Some(HAD), (3 * MS, 0), MOST);
        assert_eq!((window.under_way(), window.bytes), (0, 0));
        assert_eq!(window.room(4 * MS, LEAST, 1), Some(LEAST));
    }

    #[test]
    fn a_portion_that_nobody_answers_frees_its_place_after_a_while() {
        let mut window = Window::default();
        window.begin(GroupId(1), View(4), HAD, LEAST);
        assert_eq!(window.room(LOST_NS * 2, LEAST, 1), None, "it has not left yet");
        window.left(GroupId(1), 100, MS);
        assert_eq!(window.room(LOST_NS, LEAST, 1), None);
        assert_eq!(window.room(LOST_NS + MS, LEAST, 1), Some(LEAST));
    }
}
