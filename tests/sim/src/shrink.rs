//! A failing scenario becomes a smaller one that fails in the same way.
//!
//! It takes away one thing after the other, as much as it can of each, and keeps what still fails: first what goes in the same run, so that
//! runs are soon short; then, where the failure depends on luck, what goes in one of a few other runs of the same draw, and nothing twice.
//! It knows no clock: who calls it says how long it may go on. **Invariant:** what it gives back has failed, in a run that its token names.

use std::collections::HashSet;

use waterpark_kit::Report;
use waterpark_kit::ledger::Violation;

use crate::batch::caught;
use crate::knobs::{KNOBS, Knob};
use crate::scenario::Scenario;

/// Other runs of one draw that are tried before it counts as clean.
const RUNS: u64 = 4;

/// What is left of a failing scenario.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest that was found.
    pub scenario: Scenario,
    /// What it did.
    pub report: Report,
    /// Runs that were made to find it.
    pub runs: u64,
}

/// Shrinks a scenario that failed with `report`, for as long as `go_on` says so.
///
/// # Panics
/// If the report has no violation: there is nothing to look for.
pub fn shrink(
    scenario: &Scenario,
    report: &Report,
    run: impl Fn(&Scenario) -> Report,
    mut go_on: impl FnMut() -> bool,
) -> Shrunk {
    let wanted = report.violations.first().expect("what is shrunk has failed").clone();
    let mut best = Shrunk {
        scenario: scenario.clone(),
        report: report.clone(),
        runs: 0,
    };
    let mut tried = HashSet::new();
    for others in [0, 1, RUNS] {
        loop {
            let before = best.scenario.token();
            for knob in KNOBS {
                turn(knob, others, &mut tried, &mut best, &wanted, &run, &mut go_on);
            }
            if !go_on() || best.scenario.token() == before {
                break;
            }
        }
    }
    best
}

/// As little of one thing as still fails, in this run or one of so many others that have not been tried.
fn turn(
    knob: &Knob,
    others: u64,
    tried: &mut HashSet<String>,
    best: &mut Shrunk,
    wanted: &Violation,
    run: &impl Fn(&Scenario) -> Report,
    go_on: &mut impl FnMut() -> bool,
) {
    loop {
        let steps = knob.steps(&best.scenario.draw);
        let found = steps.into_iter().find_map(|value| {
            let mut smaller = best.scenario.clone();
            (knob.set)(&mut smaller.draw, value);
            let first = smaller.draw.run;
            (first..=first + others).find_map(|number| {
                smaller.draw.run = number;
                if !tried.insert(smaller.token()) || !go_on() {
                    return None;
                }
                best.runs += 1;
                let report = caught(|| run(&smaller));
                let same = |other: &Violation| std::mem::discriminant(other) == std::mem::discriminant(wanted);
                report.violations.iter().any(same).then(|| (smaller.clone(), report))
            })
        });
        let Some((scenario, report)) = found else { return };
        (best.scenario, best.report) = (scenario, report);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Profile;

    /// Fails where there are this many requests and any cut.
    fn run(scenario: &Scenario) -> Report {
        let fails = scenario.has("requests") >= Some(17) && scenario.has("cuts") > Some(0);
        Report {
            violations: fails
                .then(|| Violation::Asserted(scenario.token()))
                .into_iter()
                .collect(),
            ..Report::default()
        }
    }

    fn failing() -> Scenario {
        let seeds = (1..).map(|seed| Scenario::of(Profile::Small, seed));
        let mut failing = seeds.filter(|scenario| !run(scenario).violations.is_empty());
        failing.next().expect("there are cuts in half of the seeds")
    }

    #[test]
    fn what_a_failure_does_not_need_is_taken_away_and_what_it_needs_stays() {
        let scenario = failing();
        let shrunk = shrink(&scenario, &run(&scenario), run, || true);
        let requests = shrunk.scenario.has("requests").expect("a knob");
        assert!((17..26).contains(&requests), "{requests} requests");
        assert_eq!(shrunk.scenario.has("cuts"), Some(1));
        for gone in ["loss", "silences", "moves", "restarts", "memory"] {
            assert_eq!(shrunk.scenario.has(gone), Some(0), "{gone}");
        }
        assert_eq!(shrunk.scenario.has("nodes"), Some(3));
        // The token is the whole of it.
        let again = Scenario::parse(&shrunk.scenario.token()).expect("its own token");
        assert_eq!(run(&again).violations, shrunk.report.violations);
    }

    #[test]
    fn it_ends_when_it_is_told_to() {
        let scenario = failing();
        let mut left = 5;
        let shrunk = shrink(&scenario, &run(&scenario), run, || {
            left -= 1;
            left > 0
        });
        assert!(shrunk.runs <= 5, "{} runs", shrunk.runs);
        assert!(!shrunk.report.violations.is_empty());
    }
}
