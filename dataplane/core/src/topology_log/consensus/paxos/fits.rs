//! Refuses messages that contradict the log: the library asserts, cuts off or miscounts where they would be let in.
//!
//! Such a message is a late one, or its sender is wrong. In neither case is it an answer to what this voter said last, so dropping it loses
//! nothing: the library sends again what matters.
//!
//! * A synchronization that starts below the decided index, or behind the log, would cut off what is decided, or leave a hole.
//! * An acceptance of entries that the leader does not have would decide them.
//! * Entries behind the end of a configuration have no place.
//! * The library counts the end of a configuration as an entry. A voter that has accepted it already is sent a synchronization from
//!   behind it, and would count it twice: it is made to start before it, unless that is decided.

use omnipaxos::messages::Message;
use omnipaxos::messages::sequence_paxos::{PaxosMsg, Promise};
use omnipaxos::util::LogSync;

use super::super::MessageError;
use super::super::journal::Journal;
use super::storage::{Opaque, of_library};

/// Looks at a message before the library does. `leads` says whether this voter leads and has its majority.
pub(super) fn check(message: &mut Message<Opaque>, journal: &Journal, leads: bool) -> Result<(), MessageError> {
    let Message::SequencePaxos(message) = message else {
        return Ok(());
    };
    let fits = match &mut message.msg {
        PaxosMsg::Prepare(prepare) => prepare.decided_idx <= prepare.accepted_idx,
        PaxosMsg::Promise(promise) => promise_fits(promise, journal, leads),
        PaxosMsg::AcceptSync(accept) if of_library(accept.n) == journal.promise => {
            let end = sync_end(&mut accept.log_sync, journal);
            end.is_some_and(|end| end >= accept.decided_idx.max(journal.decided))
        }
        PaxosMsg::AcceptDecide(accept) if of_library(accept.n) == journal.promise => {
            journal.stop.is_none() || accept.entries.is_empty()
        }
        PaxosMsg::Accepted(accepted) if of_library(accepted.n) == journal.promise => {
            accepted.accepted_idx <= journal.len()
        }
        PaxosMsg::Compaction(_) => false,
        // What is said under another ballot than the promised one changes nothing but who leads.
        _ => true,
    };
    if fits { Ok(()) } else { Err(MessageError::Unfit) }
}

fn promise_fits(promise: &mut Promise<Opaque>, journal: &Journal, leads: bool) -> bool {
    if of_library(promise.n) != journal.promise {
        return true;
    }
    if promise.decided_idx > promise.accepted_idx {
        return false;
    }
    if leads {
        // It gets what it misses from here: it cannot have decided more, nor accepted more under this very ballot.
        let is_of_this_ballot = promise.n_accepted == promise.n;
        return promise.decided_idx <= journal.len() && !(is_of_this_ballot && promise.accepted_idx > journal.len());
    }
    match &mut promise.log_sync {
        Some(sync) => sync_end(sync, journal).is_some_and(|end| end >= promise.accepted_idx.max(journal.decided)),
        None => promise.decided_idx <= journal.len(),
    }
}

/// The length of the log after a synchronization that fits it.
fn sync_end(sync: &mut LogSync<Opaque>, journal: &Journal) -> Option<usize> {
    let is_behind_stop = journal.stop.is_some() && sync.sync_idx == journal.len();
    if is_behind_stop && sync.stopsign.is_some() && sync.suffix.is_empty() {
        if journal.decided == journal.len() {
            // There is nothing left to synchronize, and the library asserts that it starts behind what is decided. What it miscounts
            // then is put right in what it says (`Paxos::send`).
            return Some(journal.len());
        }
        sync.sync_idx -= 1;
    }
    let fits = (journal.decided..=journal.entries.len()).contains(&sync.sync_idx);
    fits.then(|| sync.sync_idx + sync.suffix.len() + usize::from(sync.stopsign.is_some()))
}
