//! A fixed set of seeds, and the mutants that they must catch.

use waterpark_core::rules::Production;
use waterpark_kit::reach::Fault;
use waterpark_sim::{Expect, MUTANTS, Reached, SEEDS_FOR_ALL, run_changing_seed, run_seed, run_seeds};

const SEEDS: u64 = 300;

#[test]
fn every_ledger_is_clean() {
    let batch = run_seeds(run_seed::<Production>, 1, SEEDS, |_, _| true);
    let first = batch.failures.first().map(|(seed, report)| (seed, &report.violations));
    assert_eq!(first, None);
    assert!(batch.acked > SEEDS * 10, "{} acks", batch.acked);
    assert_eq!(batch.wrongly_reached(), [], "these cannot occur, it is said");
}

#[test]
fn every_ledger_is_clean_where_groups_change_their_members() {
    let batch = run_seeds(run_changing_seed::<Production>, 1, SEEDS, |_, _| true);
    let first = batch.failures.first().map(|(seed, report)| (seed, &report.violations));
    assert_eq!(first, None);
    assert!(batch.acked > SEEDS * 50, "{} acks", batch.acked);
    for fault in [Fault::NodeCrashed, Fault::MembersChanged, Fault::LearnersChanged] {
        let count = batch.reached.get(&Reached::Fault(fault)).copied().unwrap_or_default();
        assert!(count.seeds > SEEDS / 4, "{fault:?} in {} seeds", count.seeds);
    }
}

#[test]
fn every_fault_and_every_refusal_is_reached() {
    let batch = run_seeds(run_seed::<Production>, 1, SEEDS_FOR_ALL, |_, _| true);
    assert_eq!(batch.never_reached(), []);
    // Beyond that a batch of this length is not lucky: what is rarest happens in several of its seeds.
    let demanded = batch
        .reached
        .iter()
        .filter(|(reached, _)| reached.expect() == Expect::Reached);
    let (reached, count) = demanded
        .min_by_key(|(_, count)| count.seeds)
        .expect("something was reached");
    assert!(count.seeds >= 4, "{reached:?} in {} seeds", count.seeds);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for run in [run_seed::<Production>, run_changing_seed::<Production>] {
        for seed in [3, 17] {
            let (first, second) = (run(seed), run(seed));
            assert_ne!(first.trace, 0);
            assert_eq!(first, second);
        }
    }
}

#[test]
fn every_mutant_is_caught() {
    for mutant in MUTANTS {
        let batch = run_seeds(mutant.run, 1, 2_000, |_, report| report.violations.is_empty());
        assert!(!batch.failures.is_empty(), "{} lives: {}", mutant.name, mutant.breaks);
    }
}
