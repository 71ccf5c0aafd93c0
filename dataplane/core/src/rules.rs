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
    /// Mutant `no-fence`: a member takes runs of a view older than the one it promised.
    const NO_FENCE: bool = false;
    /// Mutant `recover-from-one`: an opener takes the log of the first member that answers.
    const RECOVER_FROM_ONE: bool = false;
    /// Mutant `recover-from-two`: an opener hears one member fewer than R.
    const RECOVER_FROM_TWO: bool = false;
    /// Mutant `recover-from-new-ring`: an opener seals the members of the new Config in the place of the active one's.
    const RECOVER_FROM_NEW_RING: bool = false;
    /// Mutant `longest-log-wins`: of the answers the longest log is the best, whatever its view.
    const LONGEST_LOG_WINS: bool = false;
    /// Mutant `open-without-activate`: a view opens once W members hold it, before the topology log has activated it.
    const OPEN_WITHOUT_ACTIVATE: bool = false;
    /// Mutant `writer-exempt-from-fence`: a writer that promises a newer view goes on writing.
    const WRITER_EXEMPT_FROM_FENCE: bool = false;
    /// Mutant `truncate-to-commit-on-seal`: a member that promises drops what it does not know to be committed.
    const TRUNCATE_TO_COMMIT_ON_SEAL: bool = false;
    /// Mutant `append-to-unadopted-log`: a member takes runs of a view that it promised and has not adopted.
    const APPEND_TO_UNADOPTED_LOG: bool = false;
    /// Mutant `adopt-ignores-promise`: a member adopts a view older than the one it promised.
    const ADOPT_IGNORES_PROMISE: bool = false;
    /// Mutant `adopt-swaps-after-seal`: a log that was collected for a view is swapped in after a newer one was promised.
    const ADOPT_SWAPS_AFTER_SEAL: bool = false;
    /// Mutant `adopt-repeat-truncates`: a repeated Adopt cuts the log to what it says.
    const ADOPT_REPEAT_TRUNCATES: bool = false;
    /// Mutant `opener-discards-log`: a superseded opener forgets what it accepted for its view.
    const OPENER_DISCARDS_LOG: bool = false;
    /// Mutant `repeat-table-lost-in-view-change`: a new writer knows no numbers of its lanes.
    const REPEAT_TABLE_LOST_IN_VIEW_CHANGE: bool = false;
    /// Mutant `repeat-table-not-in-snapshot`: a state travels without the lanes.
    const REPEAT_TABLE_NOT_IN_SNAPSHOT: bool = false;
    /// Mutant `second-best-of-same-r`: when the best log cannot be fetched the next best of the same answers is taken.
    const SECOND_BEST_OF_SAME_R: bool = false;
    /// Mutant `wait-kept-by-seq`: a reply waits on by its seq although another log was taken over.
    const WAIT_KEPT_BY_SEQ: bool = false;
    /// Mutant `open-commits-whole-log`: an opener takes its log for committed before W members hold it.
    const OPEN_COMMITS_WHOLE_LOG: bool = false;
    /// Mutant `deposed-keeps-state`: a deposed writer keeps the state of entries that its new log does not have.
    const DEPOSED_KEEPS_STATE: bool = false;
    /// Mutant `acked-is-adopted`: a member counts as having adopted a view once it was told to.
    const ACKED_IS_ADOPTED: bool = false;
    /// Mutant `cursor-from-sent`: a new link goes on from what was sent, not from what was accepted.
    const CURSOR_FROM_SENT: bool = false;
    /// Mutant `records-outlive-epoch`: what a frame of an older link epoch carried counts by an ack of a newer one.
    const RECORDS_OUTLIVE_EPOCH: bool = false;
    /// Mutant `adopt-not-resent`: a member is told once what it has to hold.
    const ADOPT_NOT_RESENT: bool = false;
    /// Mutant `leaves-by-an-old-entry`: a member gives its log up for an entry older than what it promised.
    const LEAVES_BY_AN_OLD_ENTRY: bool = false;
    /// Mutant `empty-restart-keeps-identity`: a process that starts anew takes the incarnation of the one before it.
    const EMPTY_RESTART_KEEPS_IDENTITY: bool = false;
    /// Mutant `topology-leader-decides-before-fsync`: messages and decided entries of the topology log leave before the writes that preceded
    /// them are durable.
    const TOPOLOGY_LEADER_DECIDES_BEFORE_FSYNC: bool = false;
    /// Mutant `wiped-voter-votes`: a voter of the topology log that lost its file begins again with an empty one.
    const WIPED_VOTER_VOTES: bool = false;
    /// Mutant `local-read-without-confirmation`: a writer answers a read without asking whether its view stands.
    const LOCAL_READ_WITHOUT_CONFIRMATION: bool = false;
    /// Mutant `bounded-by-unconfirmed-echo`: a writer tells its followers how fresh they are without asking whether its view stands.
    const BOUNDED_BY_UNCONFIRMED_ECHO: bool = false;
}

/// The rules as they are.
#[derive(Clone, Copy, Debug)]
pub struct Production;

impl Rules for Production {}
