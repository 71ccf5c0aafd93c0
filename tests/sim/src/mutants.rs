//! Every rule has a mutant that breaks it. A mutant that no seed catches means that the simulator is blind there.

use waterpark_core::rules::{Production, Rules};
use waterpark_kit::Report;

use crate::scenario::{Profile, Scenario};

/// A broken rule.
#[derive(Clone, Copy)]
pub struct Mutant {
    /// Its name.
    pub name: &'static str,
    /// What it breaks, in a line.
    pub breaks: &'static str,
    /// The seeds that catch it.
    pub profile: Profile,
    /// Runs a scenario under it.
    pub run: fn(&Scenario) -> Report,
}

/// Runs a scenario under the rules as they are. A static, as [`MUTANTS`] is, and for its reason.
pub static PRODUCTION: fn(&Scenario) -> Report = Scenario::run::<Production>;

macro_rules! mutants {
    ($([$profile:ident] $($type:ident, $constant:ident, $name:literal, $breaks:literal;)+)+) => {
        $($(
            struct $type;
            impl Rules for $type {
                const $constant: bool = true;
            }
        )+)+

        /// All of them. A static, so that their code is made once, here, and not in every crate that lists them.
        pub static MUTANTS: &[Mutant] = &[
            $($(Mutant { name: $name, breaks: $breaks, profile: Profile::$profile, run: Scenario::run::<$type> },)+)+
        ];
    };
}

mutants! {
    [Fixed]
    AckAfterTwo, ACK_AFTER_TWO, "ack-after-two", "a commit needs one copy fewer than W";
    ReplyBeforeCommit, REPLY_BEFORE_COMMIT, "reply-before-commit", "a reply leaves when its entry is logged";
    RefusalFromSpeculativeState, REFUSAL_FROM_SPECULATIVE_STATE, "refusal-from-speculative-state",
        "a handler's refusal leaves before the commit of what it was computed from";
    NoRepeatTable, NO_REPEAT_TABLE, "no-repeat-table", "a request runs whether or not its number took effect before";
    SweepPastFollowers, SWEEP_PAST_FOLLOWERS, "sweep-past-followers",
        "messages are dropped that a member may still have to be sent";
    BirthByFirstMet, BIRTH_BY_FIRST_MET, "birth-by-first-met", "a group opens once W members accepted its Config";
    [Small]
    NoFence, NO_FENCE, "no-fence", "a member takes runs of a view older than the one it promised";
    RecoverFromOne, RECOVER_FROM_ONE, "recover-from-one", "an opener takes the log of the first member that answers";
    RecoverFromTwo, RECOVER_FROM_TWO, "recover-from-two", "an opener hears one member fewer than R";
    RecoverFromNewRing, RECOVER_FROM_NEW_RING, "recover-from-new-ring", "an opener seals the members of the new Config in the place of the active one's";
    LongestLogWins, LONGEST_LOG_WINS, "longest-log-wins", "of the answers the longest log is the best, whatever its view";
    OpenWithoutActivate, OPEN_WITHOUT_ACTIVATE, "open-without-activate", "a view opens once W members hold it, before the topology log has activated it";
    WriterExemptFromFence, WRITER_EXEMPT_FROM_FENCE, "writer-exempt-from-fence", "a writer that promises a newer view goes on writing";
    TruncateToCommitOnSeal, TRUNCATE_TO_COMMIT_ON_SEAL, "truncate-to-commit-on-seal", "a member that promises drops what it does not know to be committed";
    AppendToUnadoptedLog, APPEND_TO_UNADOPTED_LOG, "append-to-unadopted-log", "a member takes runs of a view that it promised and has not adopted";
    AdoptIgnoresPromise, ADOPT_IGNORES_PROMISE, "adopt-ignores-promise", "a member adopts a view older than the one it promised";
    AdoptSwapsAfterSeal, ADOPT_SWAPS_AFTER_SEAL, "adopt-swaps-after-seal", "a log that was collected for a view is swapped in after a newer one was promised";
    AdoptRepeatTruncates, ADOPT_REPEAT_TRUNCATES, "adopt-repeat-truncates", "a repeated Adopt cuts the log to what it says";
    OpenerDiscardsLog, OPENER_DISCARDS_LOG, "opener-discards-log", "a superseded opener forgets what it accepted for its view";
    RepeatTableLostInViewChange, REPEAT_TABLE_LOST_IN_VIEW_CHANGE, "repeat-table-lost-in-view-change", "a new writer knows no numbers of its lanes";
    RepeatTableNotInSnapshot, REPEAT_TABLE_NOT_IN_SNAPSHOT, "repeat-table-not-in-snapshot", "a state travels without the lanes";
    SecondBestOfSameR, SECOND_BEST_OF_SAME_R, "second-best-of-same-r", "when the best log cannot be fetched the next best of the same answers is taken";
    WaitKeptBySeq, WAIT_KEPT_BY_SEQ, "wait-kept-by-seq", "a reply waits on by its seq although another log was taken over";
    OpenCommitsWholeLog, OPEN_COMMITS_WHOLE_LOG, "open-commits-whole-log", "an opener takes its log for committed before W members hold it";
    DeposedKeepsState, DEPOSED_KEEPS_STATE, "deposed-keeps-state", "a deposed writer keeps the state of entries that its new log does not have";
    AckedIsAdopted, ACKED_IS_ADOPTED, "acked-is-adopted", "a member counts as having adopted a view once it was told to";
    CursorFromSent, CURSOR_FROM_SENT, "cursor-from-sent", "a new link goes on from what was sent, not from what was accepted";
    RecordsOutliveEpoch, RECORDS_OUTLIVE_EPOCH, "records-outlive-epoch", "what a frame of an older link epoch carried counts by an ack of a newer one";
    AdoptNotResent, ADOPT_NOT_RESENT, "adopt-not-resent", "a member is told once what it has to hold";
    LeavesByAnOldEntry, LEAVES_BY_AN_OLD_ENTRY, "leaves-by-an-old-entry", "a member gives its log up for an entry older than what it promised";
    LocalReadWithoutConfirmation, LOCAL_READ_WITHOUT_CONFIRMATION, "local-read-without-confirmation", "a writer answers a read without asking whether its view stands";
    BoundedByUnconfirmedEcho, BOUNDED_BY_UNCONFIRMED_ECHO, "bounded-by-unconfirmed-echo", "a writer tells its followers how fresh they are without asking whether its view stands";
    EmptyRestartKeepsIdentity, EMPTY_RESTART_KEEPS_IDENTITY, "empty-restart-keeps-identity", "a process that starts anew takes the incarnation of the one before it";
}
