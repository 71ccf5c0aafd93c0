//! What members of a group may show from outside, from one look to the next and side by side: promises and commits that never go back,
//! states that are equal where logs are, and queues within their bounds.
//!
//! It knows no cluster. **Invariant:** each judge is given all that it needs as plain values, so that bad ones can be forged.

use std::collections::BTreeMap;

use waterpark_core::config::Limits;
use waterpark_core::ids::{GroupId, Seq, View};
use waterpark_core::memory::Usage;
use waterpark_core::{Burden, Sight};
use waterpark_wire::frame::FRAME_BYTES_MAX;

use crate::ledger::Violation;

/// Whether a member went back on what an earlier look at the same process saw.
#[must_use]
pub fn judge_step(group: GroupId, before: Option<&Sight>, now: &Sight) -> Option<Violation> {
    let beyond = now.log_view > now.promised;
    let back = before.is_some_and(|before| {
        let takes_back = now.promised < before.promised;
        // Within one view a log is not given up. One of no view is a learner's, who may be told to stop.
        let keeps = now.log_view == before.log_view && now.log_view > View::default();
        takes_back || keeps && now.commit < before.commit
    });
    (beyond || back).then_some(Violation::WentBack(group))
}

/// Members at which the same entries took effect, with other states.
#[must_use]
pub fn judge_states(group: GroupId, states: &[(Seq, Vec<u8>)]) -> Option<Violation> {
    let mut by_seq: BTreeMap<Seq, &[u8]> = BTreeMap::new();
    let mut differ = states
        .iter()
        .filter(|(seq, state)| *by_seq.entry(*seq).or_insert(state) != state);
    differ.next().map(|(seq, _)| Violation::StatesDiffer(group, seq.0))
}

/// Runs on their way to a link, beside what its bound counts.
const UNDER_WAY_BYTES: usize = FRAME_BYTES_MAX;

/// What is over its bound in a shard.
#[must_use]
pub fn judge_burden(burden: &Burden, usage: Usage, limits: &Limits) -> Option<Violation> {
    let rows = [
        ("requests passed on", burden.pending, limits.pending_max),
        ("requests held", burden.held, limits.held_per_group_max),
        // At a writer that opens the next view there come on top the answers that waited for a commit, those to repeats among them, and the
        // reads that waited for a confirmation.
        (
            "requests queued",
            burden.queued,
            limits.held_per_group_max + 2 * limits.waiting_per_group_max,
        ),
        ("answers that wait", burden.waiting, limits.waiting_per_group_max),
        (
            "reads that wait for a confirmation",
            burden.confirming,
            limits.waiting_per_group_max,
        ),
        ("lanes", burden.lanes, limits.lanes_per_group_max),
        (
            "bytes for a client",
            burden.client_bytes,
            limits.client_backlog_bytes_max,
        ),
        (
            "bytes for a link",
            burden.link_bytes,
            limits.link_backlog_bytes_max + UNDER_WAY_BYTES,
        ),
        ("un-acked frames", burden.link_frames, limits.link_frames_max),
    ];
    let over = rows.into_iter().find(|(_, has, most)| has > most);
    let memory = (usage.used > usage.budget).then_some(Violation::OverBound("memory", usage.used));
    over.map(|(what, has, _)| Violation::OverBound(what, has as u64))
        .or(memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId(3);

    fn sight(promised: u64, log_view: u64, commit: u64) -> Sight {
        Sight {
            is_writer: false,
            promised: View(promised),
            log_view: View(log_view),
            commit: Seq(commit),
            last_seq: Seq(9),
        }
    }

    #[test]
    fn a_forged_promise_or_commit_that_goes_back_is_found() {
        let went_back = Some(Violation::WentBack(GROUP));
        let table = [
            (None, sight(1, 1, 4), None),
            (None, sight(1, 2, 4), went_back.clone()),
            (Some(sight(4, 1, 4)), sight(4, 1, 4), None),
            (Some(sight(4, 1, 4)), sight(3, 1, 4), went_back.clone()),
            (Some(sight(4, 1, 4)), sight(4, 1, 3), went_back),
            (Some(sight(4, 1, 4)), sight(4, 4, 3), None),
            (Some(sight(4, 0, 4)), sight(4, 0, 3), None),
        ];
        for (before, now, expected) in table {
            assert_eq!(judge_step(GROUP, before.as_ref(), &now), expected, "{before:?} {now:?}");
        }
    }

    #[test]
    fn forged_states_that_differ_at_one_seq_are_found_and_at_two_they_may() {
        let state = |seq, bytes: &[u8]| (Seq(seq), bytes.to_vec());
        assert_eq!(
            judge_states(GROUP, &[state(4, b"a"), state(5, b"b"), state(4, b"a")]),
            None
        );
        let differ = judge_states(GROUP, &[state(4, b"a"), state(5, b"b"), state(4, b"b")]);
        assert_eq!(differ, Some(Violation::StatesDiffer(GROUP, 4)));
    }

    #[test]
    fn each_forged_queue_over_its_bound_is_named() {
        let limits = Limits {
            link_frames_max: 4,
            ..Limits::default()
        };
        let usage = Usage { used: 1, budget: 2 };
        let full = Burden {
            lanes: limits.lanes_per_group_max,
            link_frames: 4,
            ..Burden::default()
        };
        assert_eq!(judge_burden(&full, usage, &limits), None);
        let over = Burden { link_frames: 5, ..full };
        let named = judge_burden(&over, usage, &limits);
        assert_eq!(named, Some(Violation::OverBound("un-acked frames", 5)));
        let most = limits.waiting_per_group_max;
        let over = Burden {
            waiting: most + 1,
            confirming: most,
            ..full
        };
        let named = judge_burden(&over, usage, &limits);
        assert_eq!(named, Some(Violation::OverBound("answers that wait", most as u64 + 1)));
        let usage = Usage { used: 3, budget: 2 };
        assert_eq!(
            judge_burden(&full, usage, &limits),
            Some(Violation::OverBound("memory", 3))
        );
    }
}
