//! How a group gets another writer or other members, and loses nothing of what was acked (`protocol.md` §3, §4).
//!
//! The opener of a pending Config seals the members of the active one, takes the best log of R answers, gives it to the new members, and
//! opens once the topology log has activated the view. Each step of a member is one function: `promise`, `on_seal`, `on_adopt`, the swap.
//! Nothing here knows why the topology log wants another Config. **Invariant:** a member that promised a view answers for no older one.

mod adopt;
mod decided;
mod open;
mod reroute;
mod seal;
mod state;
mod transfer;

use crate::config::Config;
use crate::ids::{Member, Seq, View};
use crate::log::Log;

/// What is not answered is asked again after this.
pub(crate) const ASK_AGAIN_MS: u64 = 150;
/// Who was chosen to give its log, and gives nothing of it for so long, is not waited for.
pub(crate) const BEST_SILENT_MS: u64 = 500;

/// What a member of the active Config answered to the Seal of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) log_view: View,
    pub(crate) last_seq: Seq,
    pub(crate) last_hash: u128,
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
    /// The view that the giver's log is of.
    pub(crate) log_view: View,
    /// The seq that it has to reach, and the chain hash there.
    pub(crate) last_seq: Seq,
    pub(crate) last_hash: u128,
    /// The seq up to which the own log stays, and what came behind it.
    pub(crate) beside: Option<(Seq, Log)>,
    /// The state that goes with it, as far as it came.
    pub(crate) state: Option<Vec<u8>>,
    /// All of the state came.
    pub(crate) has_state: bool,
    /// How far it had come when it was asked for last: a portion without progress is not asked for again at once.
    pub(crate) asked_at: Seq,
    /// When something of it came or was asked for, monotonic ns.
    pub(crate) heard_ns: u64,
    pub(crate) asked_ns: u64,
}
