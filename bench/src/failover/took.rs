//! What acks took, all of them and over time, whatever was done meanwhile.
//!
//! **Invariant:** a message counts where it was sent, so that what waited through a fault shows at the fault.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::load::{End, Lane};
use crate::timeline::Timeline;

/// Longest time that is told, in µs: a message is tried for less.
const LONGEST_US: u64 = 60_000_000;

/// From the sending of messages to their acks.
#[derive(Debug)]
pub struct Took {
    /// Of all, in µs.
    pub all_us: Histogram<u64>,
    /// By when they were sent.
    pub over_time: Timeline,
    /// From the beginning to the last ack.
    pub time: Duration,
}

impl Took {
    pub(super) fn new(lanes: &[Lane]) -> Took {
        let acked = || (lanes.iter().flat_map(|lane| &lane.rows)).filter(|row| row.end == End::Acked);
        let time = Duration::from_nanos(acked().map(|row| row.ended_ns).max().unwrap_or(0));
        let mut took = Took {
            all_us: Histogram::new_with_bounds(1, LONGEST_US, 3).expect("bounds that the library allows"),
            over_time: Timeline::new(time),
            time,
        };
        for row in acked() {
            let us = (row.ended_ns - row.sent_ns) / 1_000;
            took.all_us.saturating_record(us);
            took.over_time.acked(row.sent_ns, us);
        }
        took
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::Row;
    use super::*;

    #[test]
    fn a_message_that_waits_through_a_fault_shows_at_the_fault() {
        let row = |sent_ms: u64, ended_ms: u64, end| Row {
            serial: 0,
            sent_ns: sent_ms * 1_000_000,
            ended_ns: ended_ms * 1_000_000,
            end,
        };
        let lanes = [
            Lane {
                rows: vec![row(10, 30, End::Acked), row(110, 810, End::Acked)],
                ..Lane::default()
            },
            Lane {
                rows: vec![row(20, 40, End::Acked), row(120, 9_000, End::Failed)],
                ..Lane::default()
            },
        ];
        let took = Took::new(&lanes);
        assert_eq!((took.all_us.len(), took.time), (3, Duration::from_millis(810)));
        let rows = took.over_time.to_json();
        let of = |name: &str| -> Vec<u64> {
            let rows = rows.as_array().unwrap().iter();
            rows.map(|row| row[name].as_u64().unwrap()).collect()
        };
        assert_eq!(of("acked"), [2, 1]);
        assert!(of("max")[1].abs_diff(700_000) < 7_000, "{rows}");
    }
}
