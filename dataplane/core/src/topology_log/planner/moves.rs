//! Planned moves: members and writers go where the ring wants them, once nothing is broken.
//!
//! Newcomers learn first and become members when they have caught up, so a move costs one view change with empty deltas. A node takes part
//! in few moves at a time, and a view lives a while before it is moved. **Invariant:** each member that a group gains is one that the ring
//! wants there or that takes the place of one that has to leave, so nothing is copied twice.

use crate::config::Config;
use crate::ids::{GroupId, Member, NodeId};
use crate::topology_log::entry::{Entry, Why};
use crate::topology_log::planner::roster;
use crate::topology_log::planner::rule::{Draft, Vacancy};
use crate::topology_log::planner::{Pass, batch, newcomers, proposal, same_members};
use crate::topology_log::state::GroupState;

/// Moves that each node takes part in, by node id.
struct InFlight {
    counts: Vec<u16>,
    most: u16,
}

impl InFlight {
    fn admits(&self, nodes: &[NodeId]) -> bool {
        let count = |node: &NodeId| self.counts.get(usize::from(node.0)).copied().unwrap_or(0);
        nodes.iter().all(|node| count(node) < self.most)
    }

    fn add(&mut self, nodes: &[NodeId]) {
        for node in nodes {
            let index = usize::from(node.0);
            if self.counts.len() <= index {
                self.counts.resize(index + 1, 0);
            }
            self.counts[index] += 1;
        }
    }
}

/// The nodes that learners keep busy: they and the writer, which sends.
fn teaching(learners: &[Member], group: &GroupState) -> Vec<NodeId> {
    let writer = group.active.writer();
    learners.iter().chain([&writer]).map(|member| member.node).collect()
}

/// The nodes that a change of members keeps busy: newcomers, the writer, and who takes over from it.
fn parties(target: &[Member], group: &GroupState) -> Vec<NodeId> {
    let mut learners: Vec<Member> = newcomers(target, &group.active).collect();
    let heir = target[0];
    if !learners.contains(&heir) && heir != group.active.writer() {
        learners.push(heir);
    }
    teaching(&learners, group)
}

/// The next step of a move.
enum Step {
    /// These shall learn.
    Learn(Vec<Member>),
    /// Nobody shall, and if they did not come on, the group rests.
    LetGo {
        /// They did not.
        rest: bool,
    },
    /// These shall be the members.
    Change(Vec<Member>),
}

impl Pass<'_> {
    /// The steps of planned moves that can be taken now.
    pub(super) fn moves(&mut self) -> Vec<Entry> {
        let mut flight = self.in_flight();
        let (mut proposals, mut lessons) = (Vec::new(), Vec::new());
        let state = self.roster.state;
        for (id, group) in state.groups().take(self.ages.len()) {
            if !self.may_move(id, group) {
                continue;
            }
            let Some(step) = self.step(id, group, &flight) else {
                continue;
            };
            let now_ms = self.now_ms;
            let busy = match &step {
                Step::Learn(learners) => teaching(learners, group),
                Step::Change(members) => parties(members, group),
                Step::LetGo { .. } => Vec::new(),
            };
            flight.add(&busy);
            self.ages_mut(id).ask(now_ms, busy);
            let members = match step {
                Step::Change(members) => {
                    let leaves = |member: &Member| self.roster.is_leaving(*member);
                    let drains = group.active.members.iter().any(leaves);
                    let why = if drains { Why::Drain } else { Why::Ring };
                    proposals.push(proposal(id, group, self.aim.limits.roll(members), why));
                    continue;
                }
                Step::Learn(learners) => {
                    learners.iter().for_each(|member| self.roster.carry(*member));
                    learners
                }
                Step::LetGo { rest } => {
                    if rest {
                        self.ages_mut(id).rest_until_ms = now_ms + self.aim.limits.rest_ms;
                    }
                    Vec::new()
                }
            };
            lessons.push(Entry::SetLearners { group: id, members });
        }
        let mut entries = batch::pack(proposals, self.aim.limits.entry_bytes_max);
        entries.append(&mut lessons);
        entries
    }

    /// The moves under way, those included that were asked for and do not show yet.
    fn in_flight(&self) -> InFlight {
        let mut flight = InFlight {
            counts: Vec::new(),
            most: self.aim.limits.moves_per_node_max,
        };
        for (id, group) in self.groups() {
            let learners = roster::learners(group).filter(|member| self.roster.is_up(*member));
            let learners: Vec<Member> = learners.collect();
            if self.roster.living(&group.active).len() < group.active.read_quorum {
                // It stands, and who knows for how long: others need not wait for it.
            } else if let Some(pending) = &group.pending {
                flight.add(&parties(&pending.members, group));
            } else if !learners.is_empty() {
                flight.add(&teaching(&learners, group));
            } else if let Some(asked) = self.asked(id) {
                flight.add(&asked.busy);
            }
        }
        flight
    }

    /// Whether a group stands still, its view is old enough, and something of it out of place. The cheap half of the question.
    fn may_move(&self, id: GroupId, group: &GroupState) -> bool {
        group.pending.is_none()
            && self.is_grown(id)
            && self.now_ms >= self.ages(id).rest_until_ms
            && !self.is_in_place(id, group)
            && self.asked(id).is_none()
            && self.roster.hears_read_quorum(&group.active)
    }

    /// Whether members and writer are the ring's, none has to leave and nobody learns.
    fn is_in_place(&self, id: GroupId, group: &GroupState) -> bool {
        let slot = self.aim.placement.members(id).nodes();
        let members = &group.active.members;
        slot.len() == members.len()
            && slot[0] == members[0].node
            && members
                .iter()
                .all(|member| slot.contains(&member.node) && !self.roster.is_leaving(*member))
            && roster::learners(group).next().is_none()
    }

    fn step(&self, id: GroupId, group: &GroupState, flight: &InFlight) -> Option<Step> {
        let active = &group.active;
        let target = self.target(id, group);
        let wanted: Vec<Member> = newcomers(&target, active).collect();
        let learning: Vec<Member> = roster::learners(group).collect();
        let mut living = target.clone();
        living.retain(|member| self.roster.serves(id, *member));
        if living.len() < self.aim.limits.write_quorum(target.len()) {
            return None;
        }
        // Dead members whom nobody can replace are no reason for a change: a smaller Config gains nothing.
        let changes = target[0] != active.writer() || !same_members(&living, &self.roster.living(active));
        if !wanted.iter().all(|member| learning.contains(member)) {
            let may = match learning[..] {
                [] => flight.admits(&teaching(&wanted, group)),
                _ => self.may_reset(id, &learning),
            };
            may.then_some(Step::Learn(wanted))
        } else if !wanted.iter().all(|member| self.roster.seen.has_caught_up(id, *member)) {
            let stopped = self.stands_still(id, self.aim.limits.learners_stuck_ms);
            stopped.then_some(Step::LetGo { rest: true })
        } else if changes {
            // A group with learners has its place in the count already.
            let may = !learning.is_empty() || flight.admits(&parties(&target, group));
            may.then_some(Step::Change(target))
        } else {
            let useless = !learning.is_empty() && self.may_reset(id, &learning);
            useless.then_some(Step::LetGo { rest: false })
        }
    }

    /// Whether learners that are not wanted here may be replaced: at once when one is gone, else only when they have stood a while, so that
    /// two planners that hear different nodes do not take turns.
    fn may_reset(&self, id: GroupId, learning: &[Member]) -> bool {
        let gone = |member: &Member| !self.roster.is_up(*member) || self.roster.is_leaving(*member);
        learning.iter().any(gone) || self.stands_still(id, self.aim.limits.view_age_min_ms)
    }

    /// Who should be the members, the writer first: those whom the ring wants and that are there, then those that are members, then newcomers.
    fn target(&self, id: GroupId, group: &GroupState) -> Vec<Member> {
        let (aim, roster, active) = (self.aim, &self.roster, &group.active);
        let slot = aim.placement.members(id);
        let stays = |member: &Member| roster.serves(id, *member) && !roster.is_leaving(*member);
        // A member need not be heard by us to stay one; a newcomer must.
        let known = |member: &Member| active.members.contains(member) || roster.hears(*member);
        let of_ring = slot.nodes().iter().map(|node| roster.process(*node));
        let mut present: Vec<Member> = active.members.clone();
        present.sort_by_key(|member| self.ring_order(*member, id));
        let (staying, mut leaving): (Vec<Member>, Vec<Member>) = present.into_iter().partition(stays);
        leaving.sort_by_key(|member| !roster.is_up(*member));

        let mut draft = Draft::new(roster);
        draft.take(
            of_ring.filter(|member| stays(member) && known(member)),
            aim.members_wanted(),
        );
        draft.take(staying, aim.members_wanted());
        let vacancy = Vacancy {
            group: id,
            slot,
            learners: roster::learners(group).collect(),
            lost: leaving,
        };
        draft.fill(&vacancy, aim.members_wanted());
        let mut members = draft.members;
        // Who drains stays, and then who is dead, as long as nobody can take its place and quorums would fall to one copy.
        roster.hold_places(&mut members, &vacancy.lost, aim.members_min());
        let reaching: Vec<Member> = {
            let needed = aim.limits.write_quorum(members.len());
            let reaches = |member: &Member| roster.reached_by(*member, &members) >= needed;
            members.iter().copied().filter(reaches).collect()
        };
        members.sort_by_cached_key(|member| self.writing_order(*member, id, active, reaching.contains(member)));
        members
    }

    /// The order in which members of a target should write: the ring's writer, else one of its data centre, else whoever writes now. Nothing
    /// is gained by moving it from one foreign data centre to another.
    fn writing_order(&self, member: Member, id: GroupId, active: &Config, reaches: bool) -> impl Ord + use<> {
        let (site, roster) = (self.roster.site, &self.roster);
        let writes = member == active.writer();
        let has_data = active.members.contains(&member) || roster.seen.has_caught_up(id, member);
        let writer = self.aim.placement.writer(id);
        let dc = |node: NodeId| site.place(node).map(|place| place.dc);
        (
            !roster.is_up(member),
            roster.is_leaving(member),
            !(writes || reaches && roster.hears(member)),
            member.node != writer,
            dc(member.node) != dc(writer),
            (!has_data, !writes),
            self.ring_order(member, id),
        )
    }
}
