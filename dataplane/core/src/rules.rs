//! The rules that a mutant breaks. Production has one value for each; the simulator's crate has the others, and nothing that runs a node
//! can choose one.

/// Each constant is `false` in production: the rule holds. A mutant sets one, and the simulator must catch it.
pub trait Rules: 'static {
    /// Mutant `ack-after-two`: a commit needs one copy fewer than W.
    const ACK_AFTER_TWO: bool = false;
    /// Mutant `reply-before-commit`: a reply leaves when the entry is logged.
    const REPLY_BEFORE_COMMIT: bool = false;
    /// Mutant `refusal-from-speculative-state`: a handler's refusal leaves before the commit of what it was computed from.
    const REFUSAL_FROM_SPECULATIVE_STATE: bool = false;
    /// Mutant `no-repeat-table`: a request is run whether or not its number took effect before.
    const NO_REPEAT_TABLE: bool = false;
    /// Mutant `birth-by-first-met`: a group opens once W members accepted the Config, as its members were first met.
    const BIRTH_BY_FIRST_MET: bool = false;
    /// Mutant `sweep-past-followers`: messages are dropped that a member may still have to be sent.
    const SWEEP_PAST_FOLLOWERS: bool = false;
}

/// The rules as they are.
#[derive(Clone, Copy, Debug)]
pub struct Production;

impl Rules for Production {}
