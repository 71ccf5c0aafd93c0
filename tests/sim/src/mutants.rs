//! Every rule has a mutant that breaks it. A mutant that no seed catches means that the simulator is blind there.

use std::cell::Cell;

use waterpark_core::rules::{Rule, Rules};
use waterpark_kit::Report;

use crate::scenario::{Profile, Scenario};

/// A broken rule.
#[derive(Clone, Copy, Debug)]
pub struct Mutant {
    /// The rule.
    pub rule: Rule,
    /// The seeds that catch it.
    pub profile: Profile,
}

impl Mutant {
    const fn of(rule: Rule, profile: Profile) -> Mutant {
        Mutant { rule, profile }
    }

    /// Runs a scenario under it.
    #[must_use]
    pub fn run(&self, scenario: &Scenario) -> Report {
        // An assertion that fails unwinds, and the next scenario may be under no mutant.
        struct Whole(Option<Rule>);
        impl Drop for Whole {
            fn drop(&mut self) {
                BROKEN.set(self.0);
            }
        }
        let _whole = Whole(BROKEN.replace(Some(self.rule)));
        scenario.run_under::<Broken>()
    }
}

thread_local! {
    /// The rule that is broken in what this thread runs.
    static BROKEN: Cell<Option<Rule>> = const { Cell::new(None) };
}

/// One broken rule, chosen while it runs: so a cluster is compiled once for all mutants, where a type for each costs minutes.
struct Broken;

impl Rules for Broken {
    #[inline]
    fn breaks(rule: Rule) -> bool {
        BROKEN.get() == Some(rule)
    }
}

/// All of them.
pub static MUTANTS: &[Mutant] = &[
    Mutant::of(Rule::AckAfterTwo, Profile::Fixed),
    Mutant::of(Rule::ReplyBeforeCommit, Profile::Fixed),
    Mutant::of(Rule::RefusalFromSpeculativeState, Profile::Fixed),
    Mutant::of(Rule::NoRepeatTable, Profile::Fixed),
    Mutant::of(Rule::SweepPastFollowers, Profile::Fixed),
    Mutant::of(Rule::BirthByFirstMet, Profile::Fixed),
    Mutant::of(Rule::NoFence, Profile::Small),
    Mutant::of(Rule::RecoverFromOne, Profile::Small),
    Mutant::of(Rule::RecoverFromTwo, Profile::Small),
    Mutant::of(Rule::RecoverFromNewRing, Profile::Small),
    Mutant::of(Rule::LongestLogWins, Profile::Small),
    Mutant::of(Rule::OpenWithoutActivate, Profile::Small),
    Mutant::of(Rule::WriterExemptFromFence, Profile::Small),
    Mutant::of(Rule::TruncateToCommitOnSeal, Profile::Small),
    Mutant::of(Rule::AppendToUnadoptedLog, Profile::Small),
    Mutant::of(Rule::AdoptIgnoresPromise, Profile::Small),
    Mutant::of(Rule::AdoptSwapsAfterSeal, Profile::Small),
    Mutant::of(Rule::AdoptRepeatTruncates, Profile::Small),
    Mutant::of(Rule::OpenerDiscardsLog, Profile::Small),
    Mutant::of(Rule::RepeatTableLostInViewChange, Profile::Small),
    Mutant::of(Rule::RepeatTableNotInSnapshot, Profile::Small),
    Mutant::of(Rule::SecondBestOfSameR, Profile::Small),
    Mutant::of(Rule::WaitKeptBySeq, Profile::Small),
    Mutant::of(Rule::OpenCommitsWholeLog, Profile::Small),
    Mutant::of(Rule::CommitsUnopenedView, Profile::Small),
    Mutant::of(Rule::DeposedKeepsState, Profile::Small),
    Mutant::of(Rule::AckedIsAdopted, Profile::Small),
    Mutant::of(Rule::MoveLosesLanes, Profile::Small),
    Mutant::of(Rule::MoveForgetsPromise, Profile::Small),
    Mutant::of(Rule::CursorFromSent, Profile::Small),
    Mutant::of(Rule::RecordsOutliveEpoch, Profile::Small),
    Mutant::of(Rule::AdoptNotResent, Profile::Small),
    Mutant::of(Rule::LeavesByAnOldEntry, Profile::Small),
    Mutant::of(Rule::LocalReadWithoutConfirmation, Profile::Small),
    Mutant::of(Rule::BoundedByUnconfirmedEcho, Profile::Small),
    Mutant::of(Rule::FailedHandlerLeavesEvent, Profile::Small),
    Mutant::of(Rule::ReadOfUncommitted, Profile::Small),
    Mutant::of(Rule::ReopenAsksOne, Profile::Losing),
    Mutant::of(Rule::ReopenIgnoresPendings, Profile::Losing),
    Mutant::of(Rule::TokenOfAnyLineage, Profile::Losing),
    Mutant::of(Rule::EmptyRestartKeepsIdentity, Profile::Small),
];
