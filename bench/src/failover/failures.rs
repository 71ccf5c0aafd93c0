//! Messages that were not acked: how many, and when each was sent, how long it was tried, and what it ended with.
//!
//! **Invariant:** each message is counted once, by its end.

use std::collections::BTreeMap;

use super::gaps::Round;
use super::load::{End, Failure, Lane};

/// Messages that are described; the rest is counted.
const DESCRIBED_MAX: usize = 12;

/// All messages by their ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    /// Messages that were sent.
    pub sent: u64,
    /// Acked.
    pub acked: u64,
    /// Refused for certain, after all repeats.
    pub failed: u64,
    /// Ended without anything known.
    pub unknown: u64,
    /// Copies that were sent beyond the first.
    pub repeats: u64,
}

impl Ends {
    pub(super) fn new(lanes: &[Lane]) -> Ends {
        let mut ends = Ends::default();
        for lane in lanes {
            ends.repeats += lane.repeats;
            for row in &lane.rows {
                ends.sent += 1;
                match row.end {
                    End::Acked => ends.acked += 1,
                    End::Failed => ends.failed += 1,
                    End::Unknown | End::Open => ends.unknown += 1,
                }
            }
        }
        ends
    }
}

/// Those that were not acked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// By what they ended with.
    pub reasons: BTreeMap<String, u64>,
    /// The first of them in words.
    pub said: Vec<String>,
}

impl Failures {
    pub(super) fn new(lanes: &[Lane], rounds: &[Round], groups: &[u32]) -> Failures {
        let mut all: Vec<(usize, &Failure)> = (lanes.iter().enumerate())
            .flat_map(|(client, lane)| lane.failures.iter().map(move |failure| (client, failure)))
            .collect();
        all.sort_by_key(|(_, failure)| failure.row.sent_ns);
        let mut failures = Failures::default();
        for (client, failure) in all {
            *failures.reasons.entry(failure.reason.clone()).or_default() += 1;
            if failures.said.len() < DESCRIBED_MAX {
                failures.said.push(describe(client, failure, rounds, groups));
            }
        }
        failures
    }
}

fn describe(client: usize, failure: &Failure, rounds: &[Round], groups: &[u32]) -> String {
    let Failure { row, attempts, reason } = failure;
    let key = usize::try_from(row.serial).unwrap_or(usize::MAX) % groups.len();
    let ms = |ns: u64| ns / 1_000_000;
    let begun = rounds.partition_point(|round| round.calm_ns <= row.sent_ns);
    let when = match begun.checked_sub(1).map(|at| (begun, rounds[at].fault_ns)) {
        None => "before the first fault".to_owned(),
        Some((number, fault_ns)) if row.sent_ns < fault_ns => {
            format!("{} ms before fault {number}", ms(fault_ns - row.sent_ns))
        }
        Some((number, fault_ns)) => format!("{} ms after fault {number}", ms(row.sent_ns - fault_ns)),
    };
    format!(
        "message {} of client {client} to key {key} of group {}, sent {when}, ended after {} ms and {attempts} copies: {reason}",
        row.serial,
        groups[key],
        ms(row.ended_ns.saturating_sub(row.sent_ns)),
    )
}

#[cfg(test)]
mod tests {
    use super::super::load::Row;
    use super::*;

    #[test]
    fn a_failure_says_when_it_was_sent_and_how_long_it_was_tried() {
        let row = Row {
            serial: 7,
            sent_ns: 130_000_000,
            ended_ns: 190_000_000,
            end: End::Unknown,
        };
        let lane = Lane {
            rows: vec![row],
            failures: vec![Failure {
                row,
                attempts: 2,
                reason: "nothing is known".to_owned(),
            }],
            repeats: 1,
            reads: Vec::new(),
        };
        let round = Round {
            victims: vec!["FL-A-1".to_owned()],
            wall_ms: 0,
            calm_ns: 0,
            fault_ns: 100_000_000,
            until_ns: 300_000_000,
            whole_ns: 400_000_000,
            touched: vec![true; 4],
        };
        let failures = Failures::new(std::slice::from_ref(&lane), &[round], &[0, 1, 2, 9]);
        assert_eq!(
            failures.said,
            [
                "message 7 of client 0 to key 3 of group 9, sent 30 ms after fault 1, ended after 60 ms and 2 copies: nothing is known"
            ]
        );
        let ends = Ends::new(&[lane]);
        assert_eq!((ends.sent, ends.unknown, ends.repeats), (1, 1, 1));
    }
}
