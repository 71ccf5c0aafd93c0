//! Time: deadlines, requests whose pause is over, and those that are left unanswered.

use crate::client_core::{ClientCore, MS};
use crate::requests::Stage;

/// What is due is looked for at most so often.
const SCAN_NS: u64 = MS / 2;

impl ClientCore {
    /// Time has passed. Cheap while nothing is due: call it in every turn, and at the latest at [`ClientCore::next_due_ns`].
    pub fn on_tick(&mut self, now_ns: u64) {
        self.tend_peers(now_ns);
        if self.routing.is_none() && !self.up.is_empty() {
            self.learn(now_ns);
        }
        if now_ns < self.requests.first_due_ns {
            return;
        }
        let mut due = std::mem::take(&mut self.due);
        self.requests.due(now_ns, &mut due);
        // Rows that fall due one after the other are taken together, or each would cost a walk over all.
        self.requests.first_due_ns = self.requests.first_due_ns.max(now_ns + SCAN_NS);
        due.sort_by_key(|index| {
            let row = self.requests.row(*index);
            (row.lane, row.number)
        });
        for index in &due {
            let row = self.requests.row(*index);
            if row.deadline_ns <= now_ns {
                self.give_up(now_ns, *index);
            } else if row.stage == Stage::Pausing {
                self.dispatch(now_ns, *index);
            } else if row.stage == Stage::Flying {
                self.on_unanswered(now_ns, *index);
            }
        }
        due.clear();
        self.due = due;
    }

    /// When [`ClientCore::on_tick`] has something to do at the latest, monotonic ns.
    #[must_use]
    pub fn next_due_ns(&self) -> u64 {
        let peers_ns = if self.is_closed { u64::MAX } else { self.peers_due_ns };
        let owes = self.up.iter().any(|peer| self.peers[*peer as usize].flying > 0);
        let watch_ns = if owes { self.watch_ns } else { u64::MAX };
        self.requests.first_due_ns.min(peers_ns).min(watch_ns)
    }
}
