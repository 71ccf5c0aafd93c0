//! The median of repeats and an interval that holds the true one, without an assumption of how they are distributed.
//!
//! Between the k-th smallest and the k-th largest of n runs lies the median of all possible ones, unless fewer than k of the n fell on one
//! side of it; each falls on either side as a coin does. The narrowest such interval that holds it in 95 of 100 cases is taken; fewer than
//! six runs have none, so theirs is from the smallest to the largest, and how often that holds it is said.

/// How often the interval shall hold the median.
const COVERS: f64 = 0.95;

/// Repeats of one figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::bench) struct Spread {
    pub(super) runs: usize,
    pub(in crate::bench) median: f64,
    /// The interval's ends; of a single run, its value.
    pub(super) low: f64,
    pub(super) high: f64,
    /// How often the interval holds the median: 0 for a single run.
    pub(super) covers: f64,
}

impl Spread {
    /// Of at least one value.
    ///
    /// # Panics
    /// If there is none.
    pub(in crate::bench) fn of(values: &[f64]) -> Spread {
        assert!(!values.is_empty(), "a figure has a value in each result");
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let runs = sorted.len();
        let median = f64::midpoint(sorted[(runs - 1) / 2], sorted[runs / 2]);
        let (place, covers) = place(runs);
        Spread {
            runs,
            median,
            low: sorted[place],
            high: sorted[runs - 1 - place],
            covers,
        }
    }

    pub(super) fn is_single(&self) -> bool {
        self.runs == 1
    }
}

/// How many runs lie outside of the interval on each side, and how often it holds the median.
#[expect(clippy::cast_precision_loss, reason = "runs are few")]
fn place(runs: usize) -> (usize, f64) {
    // Logarithms, because half to the power of many runs is no number any more.
    let mut ln_chance = runs as f64 * 0.5_f64.ln();
    let mut outside = ln_chance.exp();
    let mut found = (0, (1.0 - 2.0 * outside).max(0.0));
    for place in 1..=(runs - 1) / 2 {
        ln_chance += ((runs - place + 1) as f64 / place as f64).ln();
        outside += ln_chance.exp();
        let covers = 1.0 - 2.0 * outside;
        if covers < COVERS {
            break;
        }
        found = (place, covers);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_the_narrowest_that_holds_the_median_in_95_of_100_cases() {
        // Runs, the interval's ends by rank, how often it holds: the tables of the sign test.
        let table = [
            (1, (1, 1), 0.0),
            (2, (1, 2), 0.5),
            (3, (1, 3), 0.75),
            (5, (1, 5), 0.9375),
            (6, (1, 6), 0.968_75),
            (8, (1, 8), 0.992_19),
            (9, (2, 8), 0.960_94),
            (12, (3, 10), 0.961_43),
            (20, (6, 15), 0.958_61),
            (100, (40, 61), 0.964_8),
        ];
        for (runs, (low, high), covers) in table {
            // The order of the runs does not matter.
            let values: Vec<f64> = (1..=runs).rev().map(f64::from).collect();
            let spread = Spread::of(&values);
            assert_eq!((spread.low, spread.high), (f64::from(low), f64::from(high)), "{runs}");
            assert!((spread.covers - covers).abs() < 1e-4, "{runs}: {}", spread.covers);
        }
    }

    #[test]
    fn of_many_runs_the_interval_stays_around_the_median() {
        let values: Vec<f64> = (0..5_000).map(f64::from).collect();
        let spread = Spread::of(&values);
        assert_eq!(spread.median, 2_499.5);
        assert!(spread.low > 2_400.0 && spread.low < spread.median, "{spread:?}");
        assert!((0.95..0.96).contains(&spread.covers), "{spread:?}");
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(Spread::of(&[4.0, 1.0, 2.0, 100.0]).median, 3.0);
        assert!(Spread::of(&[4.0]).is_single());
    }
}
