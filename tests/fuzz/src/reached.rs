//! Which refusals a test has reached, and how often bytes were found good.

use std::collections::BTreeSet;
use std::fmt::Debug;

/// What a test has seen so far.
#[derive(Debug)]
pub struct Reached<E> {
    refusals: BTreeSet<E>,
    good: u64,
}

impl<E: Ord + Debug + Copy> Default for Reached<E> {
    fn default() -> Self {
        Reached {
            refusals: BTreeSet::new(),
            good: 0,
        }
    }
}

impl<E: Ord + Debug + Copy> Reached<E> {
    /// Notes how a reader ended and hands on what it read.
    pub fn note<T>(&mut self, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => {
                self.good += 1;
                Some(value)
            }
            Err(refusal) => {
                self.refusals.insert(refusal);
                None
            }
        }
    }

    /// The refusals seen so far.
    #[must_use]
    pub fn refusals(&self) -> &BTreeSet<E> {
        &self.refusals
    }

    /// How often bytes were found good.
    #[must_use]
    pub fn good(&self) -> u64 {
        self.good
    }

    /// Asserts that exactly these refusals were reached, and that some bytes were found good: else the mutations were
    /// too coarse to get past the first check.
    ///
    /// # Panics
    /// If one is missing or one came that the format does not know. The latter is asserted for any number of cases.
    pub fn assert_exactly(&self, expected: &[E], cases: u64) {
        let expected: BTreeSet<E> = expected.iter().copied().collect();
        let unknown: Vec<&E> = self.refusals.difference(&expected).collect();
        assert!(
            unknown.is_empty(),
            "refusals that the format does not know: {unknown:?}"
        );
        if cases >= crate::CASES_FOR_COVERAGE {
            let missing: Vec<&E> = expected.difference(&self.refusals).collect();
            assert!(missing.is_empty(), "never reached in {cases} cases: {missing:?}");
            assert!(self.good > 0, "no bytes were ever found good in {cases} cases");
        }
    }
}
