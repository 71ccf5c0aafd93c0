//! A fixed set of seeds, and the mutants that they must catch.

use waterpark_core::rules::Production;
use waterpark_sim::{MUTANTS, SOMETIMES, run_seed, run_seeds};

const SEEDS: u64 = 300;

#[test]
fn every_ledger_is_clean() {
    let batch = run_seeds(run_seed::<Production>, 1, SEEDS, |_, _| true);
    let first = batch.failures.first().map(|(seed, report)| (seed, &report.violations));
    assert_eq!(first, None);
    assert!(batch.acked > SEEDS * 10, "{} acks", batch.acked);
    let missing: Vec<_> = SOMETIMES
        .iter()
        .filter(|name| batch.sometimes.get(*name).is_none_or(|count| *count == 0))
        .collect();
    assert!(missing.is_empty(), "never happened: {missing:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [3, 17] {
        let (first, second) = (run_seed::<Production>(seed), run_seed::<Production>(seed));
        assert_ne!(first.trace, 0);
        assert_eq!(first, second);
    }
}

#[test]
fn every_mutant_is_caught() {
    for mutant in MUTANTS {
        let batch = run_seeds(mutant.run, 1, 2_000, |_, report| report.violations.is_empty());
        assert!(!batch.failures.is_empty(), "{} lives: {}", mutant.name, mutant.breaks);
    }
}
