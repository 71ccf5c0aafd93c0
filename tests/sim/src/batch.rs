//! Many seeds, one sum.

use std::collections::BTreeMap;

use waterpark_kit::Report;
use waterpark_kit::ledger::Violation;
use waterpark_kit::reach::{Expect, Reached};

use crate::scenario::Profile;

/// A batch of so many seeds reaches everything that it must, or something is wrong with it.
pub const SEEDS_FOR_ALL: u64 = 200;

/// How often a batch reached something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Times in all.
    pub times: u64,
    /// Seeds in which it was reached.
    pub seeds: u64,
}

/// The sum of a batch.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Seeds that ran.
    pub seeds: u64,
    /// Seeds in which something was broken, with what.
    pub failures: Vec<(u64, Report)>,
    /// Requests acked, by seed.
    pub acks: Vec<u64>,
    /// What was reached; what was not is not in it.
    pub reached: BTreeMap<Reached, Count>,
    /// Virtual milliseconds.
    pub virtual_ms: u64,
    /// The traces of all seeds, in order.
    pub trace: u64,
}

impl Batch {
    /// What it had to reach and did not: nothing is demanded of fewer than [`SEEDS_FOR_ALL`] seeds, and what is rare only of as many as it
    /// takes.
    #[must_use]
    pub fn never_reached(&self, profile: Profile) -> Vec<Reached> {
        let is_due = |reached: &Reached| match profile.expect(*reached) {
            Expect::Reached => self.seeds >= SEEDS_FOR_ALL,
            Expect::Within(seeds) => self.seeds >= seeds,
            Expect::Seldom(_) | Expect::Never(_) => false,
        };
        let mut all = Reached::all();
        all.retain(|reached| is_due(reached) && !self.reached.contains_key(reached));
        all
    }

    /// Requests acked in all seeds.
    #[must_use]
    pub fn acked(&self) -> u64 {
        self.acks.iter().sum()
    }

    /// Requests acked in the middle one of all seeds.
    #[must_use]
    pub fn median_acked(&self) -> u64 {
        let mut acks = self.acks.clone();
        acks.sort_unstable();
        acks.get(acks.len() / 2).copied().unwrap_or_default()
    }

    /// Seeds in which something was lost, changed or doubled, and those in which it was only not done in time.
    #[must_use]
    pub fn failures_by_kind(&self) -> (u64, u64) {
        let is_safety = |(_, report): &&(u64, Report)| !report.violations.iter().all(Violation::is_of_liveness);
        let safety = self.failures.iter().filter(is_safety).count() as u64;
        (safety, self.failures.len() as u64 - safety)
    }

    /// What it reached although that cannot occur: the reason that is given for it is wrong, or a rule is broken.
    #[must_use]
    pub fn wrongly_reached(&self, profile: Profile) -> Vec<Reached> {
        let never = |reached: &&Reached| matches!(profile.expect(**reached), Expect::Never(_));
        self.reached.keys().filter(never).copied().collect()
    }
}

/// Runs seeds one after the other. `on_seed` hears of each and says whether to go on.
pub fn run_seeds(
    run: impl Fn(u64) -> Report,
    first: u64,
    seeds: u64,
    mut on_seed: impl FnMut(u64, &Report) -> bool,
) -> Batch {
    let mut batch = Batch::default();
    for seed in first..first.saturating_add(seeds) {
        let report = caught(|| run(seed));
        batch.seeds += 1;
        batch.acks.push(report.acked);
        batch.virtual_ms += report.virtual_ms;
        batch.trace = batch.trace.rotate_left(9) ^ report.trace;
        for (reached, times) in &report.reached {
            let count = batch.reached.entry(*reached).or_default();
            count.times += times;
            count.seeds += 1;
        }
        let go_on = on_seed(seed, &report);
        if !report.violations.is_empty() {
            batch.failures.push((seed, report));
        }
        if !go_on {
            break;
        }
    }
    batch
}

/// An assertion that fails ends its seed, and is what the seed broke.
pub fn caught(run: impl FnOnce() -> Report) -> Report {
    // What was half done is thrown away with its cluster.
    let run = std::panic::AssertUnwindSafe(run);
    std::panic::catch_unwind(run).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Report {
            violations: vec![Violation::Asserted(text.unwrap_or_default())],
            ..Report::default()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use waterpark_core::config::Births;
    use waterpark_core::ids::GroupId;
    use waterpark_kit::reach::{EventKind, Fault};

    const fn report() -> Report {
        Report {
            violations: Vec::new(),
            acked: 1,
            opened: 1,
            reads: [0; 4],
            reached: BTreeMap::new(),
            trace: 1,
            virtual_ms: 1,
        }
    }

    fn everything(but: Reached) -> Report {
        let mut all = Reached::all();
        all.retain(|reached| reached.expect(Births::Writer) == Expect::Reached && *reached != but);
        Report {
            reached: all.into_iter().map(|reached| (reached, 2)).collect(),
            ..report()
        }
    }

    #[test]
    fn a_long_batch_that_never_met_a_fault_says_which_and_a_short_one_says_nothing() {
        let missing = Reached::Fault(Fault::LinkCut);
        let run = |_| everything(Reached::Fault(Fault::LinkCut));
        assert_eq!(
            run_seeds(run, 1, SEEDS_FOR_ALL, |_, _| true).never_reached(Profile::Fixed),
            [missing]
        );
        assert_eq!(
            run_seeds(run, 1, SEEDS_FOR_ALL - 1, |_, _| true).never_reached(Profile::Fixed),
            []
        );
    }

    #[test]
    fn an_assertion_that_fails_is_what_its_seed_broke() {
        let run = |seed| if seed == 2 { panic!("never {seed}") } else { report() };
        let batch = run_seeds(run, 1, 3, |_, _| true);
        assert_eq!(batch.seeds, 3);
        assert_eq!(
            batch.failures[0].1.violations,
            [Violation::Asserted("never 2".to_owned())]
        );
    }

    #[test]
    fn a_batch_knows_its_median_and_which_of_its_failures_are_of_liveness() {
        let run = |seed| Report {
            acked: [9, 1, 5, 7][usize::try_from(seed).unwrap()],
            violations: match seed {
                1 => vec![Violation::Stuck(GroupId(1))],
                2 => vec![Violation::Stuck(GroupId(1)), Violation::Quarantined(GroupId(1))],
                _ => Vec::new(),
            },
            ..report()
        };
        let batch = run_seeds(run, 0, 4, |_, _| true);
        assert_eq!((batch.acked(), batch.median_acked()), (22, 7));
        assert_eq!(batch.failures_by_kind(), (1, 1));
    }

    #[test]
    fn what_cannot_occur_is_named_when_it_does() {
        let impossible = Reached::Event(EventKind::Quarantined);
        let run = |seed| Report {
            reached: (seed == 2)
                .then_some((Reached::Event(EventKind::Quarantined), 3))
                .into_iter()
                .collect(),
            ..report()
        };
        let batch = run_seeds(run, 1, 3, |_, _| true);
        assert_eq!(batch.wrongly_reached(Profile::Fixed), [impossible]);
        assert_eq!(batch.reached[&impossible], Count { times: 3, seeds: 1 });
    }
}
