//! Latency over time: what one histogram of a whole run hides, because a second of waiting lies in it beside minutes of calm. And what was done
//! meanwhile, on the same axis.
//!
//! It knows nothing of what it times. **Invariant:** an ack counts where its message was planned, not where it came back, so a stall shows
//! where it began.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// The shortest interval.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// So many intervals at most: a longer run has longer ones, because each takes some 20 KiB.
const INTERVALS_MAX: u32 = 600;
/// Longest time that an interval tells, in µs.
const LONGEST_US: u64 = 60_000_000;

/// Response times by the interval in which their messages were planned.
#[derive(Debug)]
pub struct Timeline {
    interval_ns: u64,
    intervals: Vec<Histogram<u64>>,
}

impl Timeline {
    /// For a run of so long.
    #[must_use]
    pub fn new(time: Duration) -> Timeline {
        let least = u64::try_from(INTERVAL_MIN.as_nanos()).expect("a tenth of a second");
        let interval = u64::try_from((time / INTERVALS_MAX).as_nanos()).unwrap_or(u64::MAX);
        Timeline {
            interval_ns: interval.max(least).div_ceil(least).saturating_mul(least),
            intervals: Vec::new(),
        }
    }

    /// An ack of a message that was planned so long after the beginning, and how long it took.
    pub fn acked(&mut self, planned_ns: u64, response_us: u64) {
        let place = usize::try_from(planned_ns / self.interval_ns).expect("intervals are few");
        if self.intervals.len() <= place {
            self.intervals.resize_with(place + 1, empty);
        }
        self.intervals[place].saturating_record(response_us);
    }

    /// Its histograms, one for each interval.
    pub(crate) fn histograms(&self) -> Vec<&Histogram<u64>> {
        self.intervals.iter().collect()
    }

    /// One for a run of so long whose histograms are these.
    pub(crate) fn of(time: Duration, intervals: Vec<Histogram<u64>>) -> Timeline {
        Timeline {
            intervals,
            ..Timeline::new(time)
        }
    }

    /// What another one holds, whose beginning lies so long after the beginning of this one.
    ///
    /// # Panics
    /// If their intervals are not equally long.
    pub fn append(&mut self, other: &Timeline, at: Duration) {
        assert_eq!(self.interval_ns, other.interval_ns, "intervals of one length");
        let shift = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX) / self.interval_ns;
        let shift = usize::try_from(shift).expect("intervals are few");
        for (place, interval) in (shift..).zip(&other.intervals) {
            if self.intervals.len() <= place {
                self.intervals.resize_with(place + 1, empty);
            }
            self.intervals[place].add(interval).expect("histograms of one shape");
        }
    }

    /// Response times of all messages that were planned in a stretch, to the next interval: one histogram.
    #[must_use]
    pub fn between(&self, from: Duration, until: Duration) -> Histogram<u64> {
        let place = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX) / self.interval_ns;
        let within = place(from)..place(until);
        let mut all = empty();
        for (_, interval) in (0..).zip(&self.intervals).filter(|(place, _)| within.contains(place)) {
            all.add(interval).expect("histograms of one shape");
        }
        all
    }

    /// For programs: a row for each interval, in ms from the beginning, with acks and µs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let rows = (0..).zip(&self.intervals).map(|(place, interval): (u64, _)| {
            json!({
                "at_ms": place * (self.interval_ns / 1_000_000), "acked": interval.len(),
                "p50": interval.value_at_quantile(0.5), "p99": interval.value_at_quantile(0.99), "max": interval.max(),
            })
        });
        rows.collect()
    }
}

/// Something that was done to a cluster, or that became so: what bends the lines of latency over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, from the beginning of the load.
    pub at: Duration,
    /// In a word: `kill`, `back`.
    pub what: &'static str,
    /// To whom it was done, or who it was; nobody where it is the whole cluster.
    pub nodes: Vec<String>,
    /// Whether it takes something away, rather than giving it back.
    pub is_fault: bool,
}

impl Event {
    /// For programs: in ms from the beginning, as the rows of a timeline are.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let at_ms = u64::try_from(self.at.as_millis()).unwrap_or(u64::MAX);
        json!({ "at_ms": at_ms, "event": self.what, "nodes": self.nodes, "fault": self.is_fault })
    }
}

fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, 2).expect("bounds that the library allows")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_counts_where_its_message_was_planned() {
        let mut timeline = Timeline::new(Duration::from_secs(10));
        for (planned_ms, response_us) in [(0, 100), (99, 300), (100, 200), (350, 5_000_000)] {
            timeline.acked(planned_ms * 1_000_000, response_us);
        }
        let rows = timeline.to_json();
        let of = |name: &str| -> Vec<u64> {
            let rows = rows.as_array().unwrap().iter();
            rows.map(|row| row[name].as_u64().unwrap()).collect()
        };
        assert_eq!(of("at_ms"), [0, 100, 200, 300]);
        assert_eq!(of("acked"), [2, 1, 0, 1]);
        let between = |from: u64, until: u64| {
            let histogram = timeline.between(Duration::from_millis(from), Duration::from_millis(until));
            (histogram.len(), histogram.max() / 10)
        };
        assert_eq!(between(0, 300), (3, 30));
        assert_eq!(between(100, 300), (1, 20));
        assert_eq!(between(400, 500).0, 0);
        // Two digits hold.
        assert!(of("max")[3].abs_diff(5_000_000) < 50_000, "{rows}");
    }

    #[test]
    fn one_stretch_stands_behind_another() {
        let mut first = Timeline::new(Duration::from_secs(1));
        let mut second = Timeline::new(Duration::from_secs(1));
        first.acked(50_000_000, 10);
        first.acked(1_050_000_000, 20);
        second.acked(0, 30);
        second.acked(100_000_000, 40);
        first.append(&second, Duration::from_secs(1));
        let rows = first.to_json();
        let acked: Vec<u64> = rows
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["acked"].as_u64().unwrap())
            .collect();
        assert_eq!(acked, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1]);
    }

    #[test]
    fn a_long_run_has_longer_intervals_and_no_more_of_them() {
        for (seconds, interval_ms) in [(1, 100), (60, 100), (61, 200), (3_600, 6_000)] {
            let timeline = Timeline::new(Duration::from_secs(seconds));
            assert_eq!(timeline.interval_ns, interval_ms * 1_000_000, "{seconds}");
        }
    }
}
