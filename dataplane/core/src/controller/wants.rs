//! What a controller wants of the log and of the others, asked for again until the log shows it: its own presence, the verdicts and the plan of
//! a leader, and the rows and reports that both stand on.

use super::report::GroupReport;
use super::seat::Seat;
use super::{Controller, Message};
use crate::detection::Verdict;
use crate::rules::Rules;
use crate::topology_log::{Entry, Presence, Seen};

/// What is wanted of the log is proposed again after this and four round trips, in ms.
const PROPOSE_AGAIN_MS: u64 = 100;
/// How often the leader plans where nothing has changed, in ms.
const PLAN_MS: u64 = 50;
/// How often a node says what its shards report, in ms.
const REPORT_MS: u64 = 50;

impl<R: Rules> Controller<R> {
    /// The log has to say that this process is there, or that it drains.
    pub(super) fn want_to_be_up(&mut self) {
        let row = self.state.node(self.own.node);
        if self.drains == Some(false) && row.presence == Presence::Up {
            // Whoever lets it drain later is not contradicted.
            self.drains = None;
        }
        // Whether a process that was down is up again the others say, who hear it.
        let entry = if row.incarnation != self.own.incarnation {
            Entry::NodeUp {
                member: self.own,
                replaces: row.incarnation,
            }
        } else if self.drains == Some(true) && row.presence == Presence::Up {
            Entry::NodeDraining(self.own.node)
        } else if self.drains == Some(false) && row.presence == Presence::Draining {
            Entry::NodeUndraining(self.own.node)
        } else {
            return;
        };
        // A newer process of this name ends this one; `settle` says so.
        if row.incarnation > self.own.incarnation || self.now_ms < self.up_at_ms {
            return;
        }
        self.up_at_ms = self.now_ms + self.again_ms();
        self.propose_entry(&entry);
    }

    pub(super) fn again_ms(&self) -> u64 {
        PROPOSE_AGAIN_MS + 4 * self.round_trip_ms()
    }

    fn round_trip_ms(&self) -> u64 {
        self.seat.as_ref().map_or(0, Seat::round_trip_ms)
    }

    pub(super) fn send_row(&mut self) {
        if !self.eyes.may_have_row() {
            return;
        }
        if let Some(row) = self.eyes.row() {
            let mut bytes = Vec::new();
            row.encode(&mut bytes);
            self.send_voters(&Message::Row(&bytes));
        }
    }

    pub(super) fn send_report(&mut self) {
        if self.now_ms < self.report_at_ms {
            return;
        }
        let reports: Vec<GroupReport> = self.shards.values().flatten().copied().collect();
        let is_quiet = reports.is_empty() && !self.has_reported;
        self.report_at_ms = self.now_ms + REPORT_MS;
        if is_quiet {
            return;
        }
        self.has_reported = !reports.is_empty();
        let own = (self.own, self.eyes.now());
        self.send_voters(&Message::Report(reports.clone()));
        self.reports.take(own.0, reports, own.1);
    }

    pub(super) fn propose_verdicts(&mut self, verdicts: Vec<Verdict>) {
        for verdict in verdicts {
            let (member, entry) = match verdict {
                Verdict::Down(member) => (member, Entry::NodeDown(member)),
                Verdict::Up(member) => {
                    let replaces = member.incarnation;
                    (member, Entry::NodeUp { member, replaces })
                }
            };
            let at_ms = self.verdict_at_ms.get(&member.node).copied().unwrap_or(0);
            if self.now_ms >= at_ms {
                self.verdict_at_ms.insert(member.node, self.now_ms + self.again_ms());
                self.propose_entry(&entry);
            }
        }
    }

    pub(super) fn plan(&mut self) {
        if self.now_ms < self.plan_at_ms {
            return;
        }
        self.plan_at_ms = self.now_ms + PLAN_MS;
        let lived = self.eyes.now();
        let seen = Seen {
            heard: self.eyes.heard(),
            cuts: self.eyes.cuts(),
            round_trip_ms: self.round_trip_ms(),
            groups: self.reports.seen(&self.state, lived),
        };
        for entry in self.planner.plan(self.now_ms, &self.state, &seen) {
            self.propose_entry(&entry);
        }
    }
}
