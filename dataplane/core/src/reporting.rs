//! What a shard tells the controller of its node, and what it carries for it: who was heard, which groups are under way or in trouble, and
//! messages between controllers.
//!
//! It knows neither detection nor planning. **Invariant:** a group in which all is well is not reported.

use waterpark_wire::link;

use crate::behaviour::Behaviour;
use crate::config::Births;
use crate::controller::{GroupReport, Word};
use crate::effects::Effect;
use crate::group::{Group, Role};
use crate::ids::{GroupId, Member, NodeId, View};
use crate::memory::Memory;
use crate::rules::Rules;
use crate::shard::Shard;
use crate::time::Now;
use crate::topology_log::Trouble;
use crate::view_change::Phase;

/// Bytes of a message between controllers at most: one entry of the topology log, or a portion of shorter ones.
pub(crate) const CONTROL_BYTES_MAX: usize = (1 << 20) + (256 << 10);

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// Sends to the controller of a node, if a link to it is up. It leaves with the end of the turn, or gets lost with its link.
    pub fn send_control(&mut self, to: NodeId, message: &[u8]) {
        // The controller may know of a node that has joined before this shard does.
        let links = self.links_to.get(usize::from(to.0)).into_iter().flatten();
        let Some(link) = links.copied().find(|link| self.links[link.0 as usize].up.is_some()) else {
            return;
        };
        let outbox = &mut self.links[link.0 as usize].outbox;
        // A peer that does not read is not written to: what is wanted is said again.
        if outbox.backlog() > self.settings.limits.link_backlog_bytes_max + CONTROL_BYTES_MAX {
            return;
        }
        // Runs overtake it: no group waits for what controllers say.
        let bytes = message.len() + size_of::<waterpark_wire::item::ItemHeader>();
        outbox.beside(bytes, |item| link::push_control(item, message));
    }

    /// Tells the controller what happened since the last tick.
    pub(crate) fn report(&mut self, now: Now, since_ns: u64) {
        if self.settings.births == Births::Writer {
            return;
        }
        let mut heard = Vec::new();
        for link in self.links.iter() {
            if link.heard_ns > since_ns
                && let Some(up) = link.up
            {
                if heard.is_empty() {
                    heard = Vec::with_capacity(self.links.len());
                }
                heard.push(Member {
                    node: link.peer,
                    incarnation: up.incarnation,
                });
            }
        }
        let mut groups = Vec::new();
        for index in 0..self.groups.len() {
            if let Some(report) = self.group_report(now, index) {
                groups.push(report);
            }
        }
        let has_reported = std::mem::replace(&mut self.has_reported, !groups.is_empty());
        if !heard.is_empty() || !groups.is_empty() || has_reported {
            self.effects.push(Effect::Report { heard, groups });
        }
    }

    pub(crate) fn group_report(&self, now: Now, index: usize) -> Option<GroupReport> {
        let group = &self.groups[index];
        if let Some(opener) = &group.opener {
            return Some(GroupReport {
                group: group.id,
                view: opener.view(),
                progress: opening_progress(group),
                word: Word::Opening,
            });
        }
        if let Some(report) = self.learner_report(index).or_else(|| collecting_report(group)) {
            return Some(report);
        }
        if group.role == Role::Quarantined {
            return self.out_of_service_report(group.id);
        }
        let config = group.config.as_ref().filter(|_| group.role == Role::Writer)?;
        let trouble = if !self.hears_quorum(now, index) {
            Trouble::Stalled
        } else if group.outrun == config.view {
            Trouble::Outrun
        } else {
            return None;
        };
        Some(GroupReport {
            group: group.id,
            view: config.view,
            progress: 0,
            word: Word::Trouble(trouble),
        })
    }

    /// This process is a member, or shall be one, and can no longer serve: another one has to take its place.
    fn out_of_service_report(&self, id: GroupId) -> Option<GroupReport> {
        let group = self.decided.group(id)?;
        let own = self.own_member();
        let mut configs = [Some(&group.active), group.pending.as_ref()].into_iter().flatten();
        configs
            .any(|config| config.members.contains(&own))
            .then_some(GroupReport {
                group: id,
                view: group.active.view,
                progress: 0,
                word: Word::OutOfService,
            })
    }

    /// A member does not follow a view of this process: it has promised a newer one.
    pub(crate) fn on_nack(&mut self, id: GroupId, view: View, promised: View) {
        let Some(index) = self.group_index(id) else { return };
        let group = &mut self.groups[index];
        if group.log_view == view && promised > view {
            group.outrun = view;
        }
    }
}

/// Another number whenever the opener has come further.
fn opening_progress<S>(group: &Group<S>) -> u64 {
    let Some(opener) = &group.opener else { return 0 };
    let phase = match opener.phase {
        Phase::Sealing => 1,
        Phase::Fetching => 2,
        Phase::Adopting => 3,
        Phase::Activating => 4,
    };
    let answered = opener.answers.iter().flatten().count() as u64;
    let adopted = group.followers.iter().filter(|progress| progress.adopted).count() as u64;
    let fetched = group.intake.as_ref().map_or(0, |intake| intake.came());
    (phase << 56 | answered << 52 | adopted << 48) + fetched
}

/// How far a member of a pending view has come with its log: its opener, who waits for it, hears nothing until it has all.
fn collecting_report<S>(group: &Group<S>) -> Option<GroupReport> {
    let intake = group.intake.as_ref()?;
    Some(GroupReport {
        group: group.id,
        view: intake.view,
        progress: intake.came(),
        word: Word::Learning,
    })
}
