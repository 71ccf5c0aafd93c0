//! What the demo's memory was, from its start to its end.
//!
//! It does not know what is measured, nor how. **Invariant:** however long the demo runs, the samples are few and lie evenly: where there
//! would be more, every second one goes, and from then on they are taken half as often.

use std::time::Duration;

use serde_json::{Value, json};

use super::account::Account;

/// Samples that are kept at most.
const SAMPLES_MAX: usize = 128;

/// One look at the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    /// Since the feed began.
    pub(super) at: Duration,
    /// What it was for.
    pub(super) account: Account,
    /// Messages that were acked.
    pub(super) acked: u64,
}

/// The samples, the oldest first.
#[derive(Debug)]
pub(super) struct Samples {
    rows: Vec<Sample>,
    every: Duration,
}

impl Samples {
    /// None yet; one a second at first.
    pub(super) fn new() -> Samples {
        Samples {
            rows: Vec::new(),
            every: Duration::from_secs(1),
        }
    }

    /// Keeps a sample, if it is time for one.
    pub(super) fn take_in(&mut self, sample: Sample) {
        if self.rows.last().is_some_and(|last| sample.at < last.at + self.every) {
            return;
        }
        if self.rows.len() == SAMPLES_MAX {
            let mut nth = 0;
            self.rows.retain(|_| {
                nth += 1;
                nth % 2 == 1
            });
            self.every *= 2;
        }
        self.rows.push(sample);
    }

    /// As the demo's object has them.
    pub(super) fn object(&self) -> Value {
        let row = |sample: &Sample| {
            let mut object = json!({ "at_s": sample.at.as_secs_f64(), "acked": sample.acked });
            sample.account.put(&mut object);
            object
        };
        self.rows.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_ms: u64) -> Sample {
        Sample {
            at: Duration::from_millis(at_ms),
            account: Account::default(),
            acked: at_ms,
        }
    }

    #[test]
    fn a_sample_a_second_is_kept_of_those_that_come_oftener() {
        let mut samples = Samples::new();
        (0..61_000)
            .step_by(100)
            .for_each(|at_ms| samples.take_in(sample(at_ms)));
        let at: Vec<u64> = samples.rows.iter().map(|row| row.acked).collect();
        assert_eq!(at, (0..61).map(|second| second * 1_000).collect::<Vec<_>>());
    }

    #[test]
    fn of_a_day_a_few_samples_are_kept_from_its_begin_to_its_end_at_equal_distances() {
        const DAY_S: u64 = 86_400;
        let mut samples = Samples::new();
        (0..DAY_S).for_each(|second| samples.take_in(sample(second * 1_000)));
        let rows = &samples.rows;
        assert!((SAMPLES_MAX / 2..=SAMPLES_MAX).contains(&rows.len()), "{}", rows.len());
        assert_eq!(rows[0], sample(0));
        for pair in rows.windows(2) {
            assert_eq!(pair[1].at, pair[0].at + samples.every);
        }
        let last = rows[rows.len() - 1].at;
        assert!(last + samples.every >= Duration::from_secs(DAY_S), "{last:?}");
        assert_eq!(samples.object().as_array().map(Vec::len), Some(rows.len()));
    }
}
