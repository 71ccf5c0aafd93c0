//! The rules that a mutant breaks. Production breaks none; the simulator's crate can break each, and nothing that runs a node can.

macro_rules! rules {
    ($($rule:ident = $name:literal, $broken:literal;)+) => {
        /// A rule, by what happens where it is broken. The simulator has to catch each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Rule {
            $(#[doc = concat!("Mutant `", $name, "`: ", $broken, ".")] $rule,)+
        }

        impl Rule {
            /// The mutant's name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Rule::$rule => $name,)+
                }
            }

            /// What happens where it is broken, in a line.
            #[must_use]
            pub const fn broken(self) -> &'static str {
                match self {
                    $(Rule::$rule => $broken,)+
                }
            }
        }
    };
}

rules! {
    AckAfterTwo = "ack-after-two", "a commit needs one copy fewer than W";
    ReplyBeforeCommit = "reply-before-commit", "a reply leaves when its entry is logged";
    RefusalFromSpeculativeState = "refusal-from-speculative-state",
        "a handler's refusal leaves before the commit of what it was computed from";
    NoRepeatTable = "no-repeat-table", "a request runs whether or not its number took effect before";
    BirthByFirstMet = "birth-by-first-met", "a group opens once W members accepted its Config";
    SweepPastFollowers = "sweep-past-followers", "messages are dropped that a member may still have to be sent";
    NoFence = "no-fence", "a member takes runs of a view older than the one it promised";
    RecoverFromOne = "recover-from-one", "an opener takes the log of the first member that answers";
    RecoverFromTwo = "recover-from-two", "an opener hears one member fewer than R";
    RecoverFromNewRing = "recover-from-new-ring", "an opener seals the members of the new Config in the place of the active one's";
    LongestLogWins = "longest-log-wins", "of the answers the longest log is the best, whatever its view";
    OpenWithoutActivate = "open-without-activate", "a view opens once W members hold it, before the topology log has activated it";
    WriterExemptFromFence = "writer-exempt-from-fence", "a writer that promises a newer view goes on writing";
    TruncateToCommitOnSeal = "truncate-to-commit-on-seal", "a member that promises drops what it does not know to be committed";
    AppendToUnadoptedLog = "append-to-unadopted-log", "a member takes runs of a view that it promised and has not adopted";
    AdoptIgnoresPromise = "adopt-ignores-promise", "a member adopts a view older than the one it promised";
    AdoptSwapsAfterSeal = "adopt-swaps-after-seal", "a log that was collected for a view is swapped in after a newer one was promised";
    AdoptRepeatTruncates = "adopt-repeat-truncates", "a repeated Adopt cuts the log to what it says";
    OpenerDiscardsLog = "opener-discards-log", "a superseded opener forgets what it accepted for its view";
    RepeatTableLostInViewChange = "repeat-table-lost-in-view-change", "a new writer knows no numbers of its lanes";
    RepeatTableNotInSnapshot = "repeat-table-not-in-snapshot", "a state travels without the lanes";
    SecondBestOfSameR = "second-best-of-same-r", "when the best log cannot be fetched the next best of the same answers is taken";
    WaitKeptBySeq = "wait-kept-by-seq", "a reply waits on by its seq although another log was taken over";
    OpenCommitsWholeLog = "open-commits-whole-log", "an opener takes its log for committed before W members hold it";
    CommitsUnopenedView = "commits-unopened-view", "who promises a newer view counts what was adopted of one that never opened as committed";
    DeposedKeepsState = "deposed-keeps-state", "a deposed writer keeps the state of entries that its new log does not have";
    AckedIsAdopted = "acked-is-adopted", "a member counts as having adopted a view once it was told to";
    MoveLosesLanes = "move-loses-lanes", "a group that moves to another shard of its node forgets the numbers of its lanes";
    MoveForgetsPromise = "move-forgets-promise", "a group that moves to another shard of its node forgets which view it promised";
    CursorFromSent = "cursor-from-sent", "a new link goes on from what was sent, not from what was accepted";
    RecordsOutliveEpoch = "records-outlive-epoch", "what a frame of an older link epoch carried counts by an ack of a newer one";
    AdoptNotResent = "adopt-not-resent", "a member is told once what it has to hold";
    LeavesByAnOldEntry = "leaves-by-an-old-entry", "a member gives its log up for an entry older than what it promised";
    EmptyRestartKeepsIdentity = "empty-restart-keeps-identity", "a process that starts anew takes the incarnation of the one before it";
    TopologyLeaderDecidesBeforeFsync = "topology-leader-decides-before-fsync",
        "messages and decided entries of the topology log leave before the writes that preceded them are durable";
    WipedVoterVotes = "wiped-voter-votes", "a voter of the topology log that lost its file begins again with an empty one";
    WipedVoterIsBornAgain = "wiped-voter-is-born-again",
        "a process begins the file of its node's vote in the newest configuration though an earlier one may have begun it";
    LocalReadWithoutConfirmation = "local-read-without-confirmation", "a writer answers a read without asking whether its view stands";
    BoundedByUnconfirmedEcho = "bounded-by-unconfirmed-echo",
        "a writer tells its followers how fresh they are without asking whether its view stands";
    FailedHandlerLeavesEvent = "failed-handler-leaves-event", "what a handler had written when it failed takes effect";
    ReopenAsksOne = "reopen-asks-one", "who opens a lost group again takes the log of the first that answers";
    ReopenIgnoresPendings = "reopen-ignores-pendings",
        "who opens a lost group again hears its active members alone, and none that was proposed since";
    TokenOfAnyLineage = "token-of-any-lineage", "the token of a session read is compared by its seq, whatever became of its lineage";
    ReadOfUncommitted = "read-of-uncommitted", "a member answers a read from what took effect on it, committed or not";
}

/// Which rule is broken: a type, so that where none is nothing of it is left in the code.
pub trait Rules: 'static {
    /// Whether a rule is broken: it holds.
    #[inline(always)]
    #[must_use]
    fn breaks(_rule: Rule) -> bool {
        false
    }
}

/// The rules as they are.
#[derive(Clone, Copy, Debug)]
pub struct Production;

impl Rules for Production {}
