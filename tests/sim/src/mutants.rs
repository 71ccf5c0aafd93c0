//! Every rule has a mutant that breaks it. A mutant that no seed catches means that the simulator is blind there.

use waterpark_core::rules::Rules;
use waterpark_kit::Report;

/// A broken rule.
#[derive(Clone, Copy)]
pub struct Mutant {
    /// Its name.
    pub name: &'static str,
    /// What it breaks, in a line.
    pub breaks: &'static str,
    /// Runs one seed under it.
    pub run: fn(u64) -> Report,
}

macro_rules! mutants {
    ($($type:ident, $constant:ident, $name:literal, $breaks:literal;)+) => {
        $(
            struct $type;
            impl Rules for $type {
                const $constant: bool = true;
            }
        )+

        /// All of them.
        pub const MUTANTS: &[Mutant] = &[
            $(Mutant { name: $name, breaks: $breaks, run: crate::run_seed::<$type> },)+
        ];
    };
}

mutants! {
    AckAfterTwo, ACK_AFTER_TWO, "ack-after-two", "a commit needs one copy fewer than W";
    ReplyBeforeCommit, REPLY_BEFORE_COMMIT, "reply-before-commit", "a reply leaves when its entry is logged";
    RefusalFromSpeculativeState, REFUSAL_FROM_SPECULATIVE_STATE, "refusal-from-speculative-state",
        "a handler's refusal leaves before the commit of what it was computed from";
    NoRepeatTable, NO_REPEAT_TABLE, "no-repeat-table", "a request runs whether or not its number took effect before";
    SweepPastFollowers, SWEEP_PAST_FOLLOWERS, "sweep-past-followers",
        "messages are dropped that a member may still have to be sent";
    BirthByFirstMet, BIRTH_BY_FIRST_MET, "birth-by-first-met", "a group opens once W members accepted its Config";
}
