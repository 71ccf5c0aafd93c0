//! A fixed set of seeds, the mutants that they must catch, and what is left of a failure when it is shrunk.

use waterpark_kit::reach::{Fault, Rare};
use waterpark_sim::{
    Batch, Expect, MUTANTS, Profile, Reached, SEEDS_FOR_ALL, Scenario, caught, regressions, run_seeds, shrink,
};
use waterpark_wire::reply::Outcome;

const SEEDS: u64 = 300;

/// Runs seeds from 1 on, under the rules as they are.
fn batch(profile: Profile, seeds: u64) -> Batch {
    run_seeds(|seed| Scenario::of(profile, seed).run(), 1, seeds, |_, _| true)
}

#[test]
fn every_ledger_is_clean() {
    let batch = batch(Profile::Fixed, SEEDS);
    let first = batch.failures.first().map(|(seed, report)| (seed, &report.violations));
    assert_eq!(first, None);
    assert!(batch.acked() > SEEDS * 10, "{} acks", batch.acked());
    assert_eq!(
        batch.wrongly_reached(Profile::Fixed),
        [],
        "these cannot occur, it is said"
    );
}

#[test]
fn every_ledger_is_clean_where_groups_change_their_members() {
    let batch = batch(Profile::Small, SEEDS);
    let first = batch.failures.first().map(|(seed, report)| (seed, &report.violations));
    assert_eq!(first, None);
    assert!(batch.acked() > SEEDS * 50, "{} acks", batch.acked());
    assert_eq!(batch.never_reached(Profile::Small), []);
    assert_eq!(
        batch.wrongly_reached(Profile::Small),
        [],
        "these cannot occur, it is said"
    );
    for fault in [Fault::NodeCrashed, Fault::MembersChanged, Fault::LearnersChanged] {
        let count = batch.reached.get(&Reached::Fault(fault)).copied().unwrap_or_default();
        assert!(count.seeds > SEEDS / 4, "{fault:?} in {} seeds", count.seeds);
    }
}

#[test]
fn every_ledger_is_clean_where_groups_are_lost_and_opened_again() {
    let batch = batch(Profile::Losing, SEEDS);
    let first = batch.failures.first().map(|(seed, report)| (seed, &report.violations));
    assert_eq!(first, None);
    assert!(batch.acked() > SEEDS * 50, "{} acks", batch.acked());
    assert_eq!(batch.never_reached(Profile::Losing), []);
    assert_eq!(
        batch.wrongly_reached(Profile::Losing),
        [],
        "these cannot occur, it is said"
    );
    for (reached, often) in [
        (Reached::Fault(Fault::GroupLost), 2),
        (Reached::Rare(Rare::Reopened), 2),
        (Reached::Rare(Rare::AckedLost), 4),
        (Reached::Reply(Outcome::GroupLost), 2),
        (Reached::Reply(Outcome::LineageLost), 5),
    ] {
        let count = batch.reached.get(&reached).copied().unwrap_or_default();
        assert!(count.seeds > SEEDS / often, "{reached:?} in {} seeds", count.seeds);
    }
}

#[test]
fn every_ledger_is_clean_where_nodes_join_in_the_midst_of_faults() {
    let seeds = 120;
    let batch = batch(Profile::Whole, seeds);
    let first = batch.failures.first().map(|(seed, report)| (seed, &report.violations));
    assert_eq!(first, None);
    assert!(batch.acked() > seeds * 50, "{} acks", batch.acked());
    assert_eq!(
        batch.wrongly_reached(Profile::Whole),
        [],
        "these cannot occur, it is said"
    );
    let joined = batch
        .reached
        .get(&Reached::Fault(Fault::NodeJoined))
        .copied()
        .unwrap_or_default();
    assert!(joined.seeds > seeds / 3, "nodes joined in {} seeds", joined.seeds);
    // And where voters lose their files, others are given their votes, and files are begun anew.
    let votes = [
        Reached::Fault(Fault::VoterWiped),
        Reached::Rare(Rare::VoteGiven),
        Reached::Rare(Rare::FilesBegun),
        Reached::Rare(Rare::StateLearned),
    ];
    for reached in votes {
        let count = batch.reached.get(&reached).copied().unwrap_or_default();
        assert!(count.seeds > seeds / 6, "{reached:?} in {} seeds", count.seeds);
    }
}

#[test]
fn every_ledger_is_clean_in_clusters_of_32_nodes() {
    let batch = batch(Profile::Large, 4);
    let first = batch.failures.first().map(|(seed, report)| (seed, &report.violations));
    assert_eq!(first, None);
    assert!(batch.median_acked() >= 1_000, "{} acks", batch.median_acked());
}

#[test]
fn every_fault_and_every_refusal_is_reached() {
    let batch = batch(Profile::Fixed, SEEDS_FOR_ALL);
    assert_eq!(batch.never_reached(Profile::Fixed), []);
    // Beyond that a batch of this length is not lucky: what is rarest happens in several of its seeds.
    let births = Profile::Fixed.births();
    let demanded = batch
        .reached
        .iter()
        .filter(|(reached, _)| reached.expect(births) == Expect::Reached);
    let (reached, count) = demanded
        .min_by_key(|(_, count)| count.seeds)
        .expect("something was reached");
    assert!(count.seeds >= 4, "{reached:?} in {} seeds", count.seeds);
}

#[test]
fn the_same_scenario_gives_the_same_trace() {
    for token in [
        "fixed/3",
        "fixed/17",
        "small/3",
        "small/17/cuts=0/run=2",
        "losing/5",
        "whole/4",
        "large/1/requests=200/ms=500",
    ] {
        let scenario = Scenario::parse(token).expect("a token");
        let (first, second) = (scenario.run(), scenario.run());
        assert_ne!(first.trace, 0);
        assert_eq!(first, second, "{token}");
    }
}

#[test]
fn what_once_showed_a_fault_shows_none() {
    let rows = regressions().expect("the rows are readable");
    assert!(!rows.is_empty());
    for row in rows {
        let report = caught(|| row.scenario.run());
        assert_eq!(report.violations, [], "{}: {}", row.scenario.token(), row.showed);
    }
}

#[test]
fn every_mutant_is_caught() {
    for mutant in MUTANTS {
        let run = |seed| mutant.run(&Scenario::of(mutant.profile, seed));
        let batch = run_seeds(run, 1, 2_000, |_, report| report.violations.is_empty());
        assert!(
            !batch.failures.is_empty(),
            "{} lives: {}",
            mutant.rule.name(),
            mutant.rule.broken()
        );
    }
}

#[test]
fn a_mutants_failing_seed_shrinks_to_a_much_smaller_one_that_still_fails() {
    let mutant = MUTANTS.iter().find(|mutant| mutant.rule.name() == "recover-from-one");
    let mutant = mutant.expect("it is in the list");
    let mut scenarios = (1..).map(|seed| Scenario::of(mutant.profile, seed));
    let scenario = scenarios.find(|scenario| !caught(|| mutant.run(scenario)).violations.is_empty());
    let scenario = scenario.expect("a seed catches it");
    let report = caught(|| mutant.run(&scenario));
    let mut left = 400;
    let shrunk = shrink(
        &scenario,
        &report,
        |scenario| mutant.run(scenario),
        || {
            left -= 1;
            left > 0
        },
    );
    // As it would be replayed.
    let again = Scenario::parse(&shrunk.scenario.token()).expect("its own token");
    let replayed = caught(|| mutant.run(&again));
    assert_eq!(replayed, shrunk.report);
    assert!(!replayed.violations.is_empty());
    assert_eq!(again.run().violations, [], "it is the mutant that fails");
    // What a person has to follow: whose requests, to how many nodes, for how long.
    let cost = |scenario: &Scenario| {
        let knobs = ["requests", "clients", "nodes", "ms"].iter();
        knobs
            .map(|knob| scenario.has(knob).expect("every scenario has it"))
            .product::<u64>()
    };
    assert!(cost(&again) * 4 < cost(&scenario), "{}", shrunk.scenario.token());
}
