//! How a group gets another writer or other members, and loses nothing of what was acked (`protocol.md` §3, §4).
//!
//! The opener of a pending Config seals the members of the active one, takes the best log of R answers, gives it to the new members, and
//! opens once the topology log has activated the view. Each step of a member is one function: `promise`, `on_seal`, `on_adopt`, the swap.
//! Nothing here knows why the topology log wants another Config. **Invariant:** a member that promised a view answers for no older one.

mod adopt;
mod branch;
mod decided;
mod give;
mod hand_over;
#[cfg(test)]
mod hand_over_tests;
mod learn;
mod open;
#[cfg(test)]
mod reopen_tests;
mod reroute;
mod seal;
mod snapshot;
mod state;
#[cfg(test)]
mod state_hash_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod throttle;
mod transfer;

pub use branch::{Branch, Branches};
pub(crate) use give::Transfers;
pub(crate) use snapshot::Snapshots;

use snapshot::StateIntake;

use crate::config::Config;
use crate::ids::{Lineage, Member, NodeId, Seq, View};
use crate::log::Log;
use crate::time::Now;

/// What is not answered is asked again after this.
pub(crate) const ASK_AGAIN_MS: u64 = 150;
/// Who was chosen to give its log, and gives nothing of it for so long, is not waited for.
pub(crate) const BEST_SILENT_MS: u64 = 500;
/// Who had no memory for what came asks again after this.
pub(crate) const FULL_AGAIN_MS: u64 = 1_000;

/// What a member of the active Config answered to the Seal of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) log_view: View,
    pub(crate) last_seq: Seq,
    pub(crate) last_hash: u128,
}

/// A writer stopped in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// For this view,
    pub(crate) view: View,
    /// which this node opens;
    pub(crate) opener: NodeId,
    /// its log, of this view,
    pub(crate) log_view: View,
    /// ends here.
    pub(crate) last_seq: Seq,
}

/// How far an opener has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It waits for R answers.
    Sealing,
    /// It fetches what it lacks of the best log.
    Fetching,
    /// Its log is the new view's: it waits for W members that hold it.
    Adopting,
    /// W hold it: it waits for the topology log.
    Activating,
}

/// One view change at its opener.
#[derive(Debug)]
pub(crate) struct Opener {
    /// Whose members are sealed.
    pub(crate) active: Config,
    /// What is to be opened.
    pub(crate) pending: Config,
    pub(crate) phase: Phase,
    /// As in `active.members`.
    pub(crate) answers: Vec<Option<Answer>>,
    /// The writer of the active view alone was asked: it stops in order, and nobody else is asked to seal before that is late.
    pub(crate) in_order: bool,
    /// When it asked last, monotonic ns.
    pub(crate) asked_ns: u64,
}

impl Opener {
    pub(crate) fn view(&self) -> View {
        self.pending.view
    }
}

/// A log that is collected beside the member's own until it is complete.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) view: View,
    /// Who gives it.
    pub(crate) from: Member,
    /// The lineage of the view.
    pub(crate) lineage: Lineage,
    /// The view that the giver's log is of.
    pub(crate) log_view: View,
    /// The seq that it has to reach, and the chain hash there.
    pub(crate) last_seq: Seq,
    pub(crate) last_hash: u128,
    /// Where the two logs may part, as it was asked for: what comes from elsewhere answers a question of an earlier log.
    pub(crate) parts_at: Vec<Seq>,
    /// The seq up to which the own log stays, and what came behind it.
    pub(crate) beside: Option<(Seq, Log)>,
    /// The state that goes with it, as far as it came.
    pub(crate) state: Option<StateIntake>,
    /// A state came that was not what its hash says, or only runs that cannot be taken without one.
    pub(crate) refused_state: bool,
    /// It is learned in the background, without end: this process is no member.
    pub(crate) learns: bool,
    /// The last seq of the giver's log, as it said with the last piece.
    pub(crate) giver_seq: Option<Seq>,
    /// How far the giver says that it is committed, to one who learns.
    pub(crate) commit: Seq,
    /// There was no memory for the last run that came.
    pub(crate) is_full: bool,
    /// How far it had come when it was asked for last: a portion without progress is not asked for again at once.
    pub(crate) asked_at: (u64, Seq),
    /// When something of it came or was asked for, monotonic ns.
    pub(crate) heard_ns: u64,
    pub(crate) asked_ns: u64,
}

impl Intake {
    /// Nothing has come yet.
    pub(crate) fn new(now: Now, (view, lineage): (View, Lineage), from: Member, best: Answer) -> Intake {
        Intake {
            view,
            lineage,
            from,
            log_view: best.log_view,
            last_seq: best.last_seq,
            last_hash: best.last_hash,
            parts_at: Vec::new(),
            beside: None,
            state: None,
            refused_state: false,
            learns: false,
            giver_seq: None,
            commit: Seq::ZERO,
            is_full: false,
            asked_at: (0, Seq::ZERO),
            heard_ns: now.monotonic_ns,
            asked_ns: now.monotonic_ns,
        }
    }
}
