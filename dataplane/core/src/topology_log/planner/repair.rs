//! Repairs: groups with a member that is dead or out of service, a pending view that does not open, or a writer that cannot write.
//!
//! The present writer goes on if it is up; else a member takes over that has the data, the local follower first. Newcomers fill the places
//! of the dead in the same proposal, but a Config never needs one of them for its write quorum: it opens with the members that there are.

use crate::config::Config;
use crate::ids::{GroupId, Member};
use crate::topology_log::entry::{Proposal, Roll, Why};
use crate::topology_log::planner::roster;
use crate::topology_log::planner::rule::{Draft, Vacancy};
use crate::topology_log::planner::seen::Trouble;
use crate::topology_log::planner::site::Place;
use crate::topology_log::planner::{Pass, newcomers, proposal, same_members};
use crate::topology_log::state::GroupState;

/// The order of repairs: groups with the fewest members left first, and of those the ones that cannot be written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Urgency {
    /// It has all that it needs and only grows.
    grows: bool,
    living: usize,
    /// Whether the writer is up with a write quorum; those without come first.
    serves: bool,
}

/// What there is to be repaired.
pub(super) enum Repairs {
    /// Nothing that could be.
    None,
    /// What was asked for before, and may still come.
    Asked,
    /// These, the most urgent first.
    Due(Vec<Proposal>),
}

impl Pass<'_> {
    /// What has to be proposed now for groups that are not whole.
    pub(super) fn repairs(&mut self) -> Repairs {
        let groups = self.groups().map(|(id, group)| (self.urgency(id, group), id));
        let broken: Vec<(Urgency, GroupId)> = groups.filter_map(|(urgency, id)| Some((urgency?, id))).collect();
        let (mut due, asked): (Vec<_>, Vec<_>) = broken.into_iter().partition(|(_, id)| self.asked(*id).is_none());
        // Urgency first, because whoever comes first has the choice of newcomers.
        due.sort_unstable();
        let most = self.aim.limits.repairs_per_plan_max;
        let repair = |(urgency, id): (Urgency, GroupId)| self.repair(id, urgency.grows);
        let proposals: Vec<Proposal> = due.into_iter().filter_map(repair).take(most).collect();
        match (proposals.is_empty(), asked.is_empty()) {
            (false, _) => Repairs::Due(proposals),
            (true, false) => Repairs::Asked,
            (true, true) => Repairs::None,
        }
    }

    /// Whether a group may need a repair, and how much. The cheap half of the question: it passes over groups that are whole.
    fn urgency(&self, id: GroupId, group: &GroupState) -> Option<Urgency> {
        let (roster, active) = (&self.roster, &group.active);
        let can = |member: &&Member| roster.serves(id, **member);
        let living = active.members.iter().filter(can).count();
        let serves = can(&&active.writer()) && living >= active.write_quorum;
        let (needed, grows) = match &group.pending {
            Some(pending) => (self.replaces(id, pending), false),
            None if roster.seen.trouble(id, active.view).is_some() => (true, false),
            // Who can write waits out the view that it has just changed to: one change in two seconds is enough for anybody.
            None if living < active.members.len() => (!(serves && self.has_just_changed(id)), false),
            None => (living < self.aim.members_wanted() && self.is_grown(id), true),
        };
        let may = needed && !roster.state.is_lost(id) && roster.hears_read_quorum(active);
        may.then_some(Urgency { grows, living, serves })
    }

    /// Whether a pending view has to make room for a newer one: its opener is gone, too few can adopt it, or it stands still.
    fn replaces(&self, id: GroupId, pending: &Config) -> bool {
        let living = self.roster.living(pending);
        let can_open = living.contains(&pending.writer()) && living.len() >= pending.write_quorum;
        !can_open || self.stands_still(id, self.aim.limits.stuck_ms)
    }

    /// The proposal that repairs a group; `None` if nothing would be gained.
    fn repair(&mut self, id: GroupId, grows: bool) -> Option<Proposal> {
        let state = self.roster.state;
        let group = state.group(id).expect("only groups of the state are due");
        let active = &group.active;
        let trouble = self.roster.seen.trouble(id, active.view);
        let out_of_service = |member: &Member| self.roster.seen.is_out_of_service(id, *member);
        let is_out_of_service = active.members.iter().any(out_of_service);
        let rest_until_ms = self.now_ms + self.aim.limits.rest_ms;
        // Whoever has just failed to open or to write is the last to be asked again.
        match &group.pending {
            Some(pending) if self.stands_still(id, self.aim.limits.stuck_ms) => {
                self.ages_mut(id).try_last(pending.writer());
            }
            None if trouble == Some(Trouble::Stalled) => {
                let ages = self.ages_mut(id);
                ages.try_last(active.writer());
                // Or the ring would call it back at once, to stall again.
                ages.rest_until_ms = rest_until_ms;
            }
            None if is_out_of_service => self.ages_mut(id).rest_until_ms = rest_until_ms,
            _ => {}
        }
        let roll = self.drafted(id, group)?;
        let gains = group.pending.is_some() || self.gains(active, &roll, grows, trouble);
        if !gains {
            return None;
        }
        newcomers(&roll.members, active).for_each(|member| self.roster.carry(member));
        let now_ms = self.now_ms;
        self.ages_mut(id).ask(now_ms, Vec::new());
        let why = match (&group.pending, trouble) {
            (Some(_), _) => Why::Stuck,
            (None, Some(Trouble::Stalled)) => Why::Stalled,
            (None, Some(Trouble::Outrun)) => Why::Outrun,
            (None, None) if grows => Why::Short,
            (None, None) if is_out_of_service => Why::OutOfService,
            (None, None) => Why::Lost,
        };
        Some(proposal(id, group, roll, why))
    }

    /// Whether a group is better off with other members. A smaller Config of a group that serves gains nothing; a newcomer does, and to be rid
    /// of a process that is out of service: once it is no member it can be a newcomer.
    fn gains(&self, active: &Config, roll: &Roll, grows: bool, trouble: Option<Trouble>) -> bool {
        if grows {
            return roll.members.len() > active.members.len();
        }
        let other_writer = roll.members[0] != active.writer();
        let brings = newcomers(&roll.members, active).next().is_some();
        let sheds = |member: &Member| {
            self.roster.seen.is_out_of_service(active.group, *member) && !roll.members.contains(member)
        };
        let better = brings || active.members.iter().any(sheds);
        let living = self.roster.living(active);
        let serves = living.contains(&active.writer()) && living.len() >= active.write_quorum;
        let changes = other_writer || !same_members(&roll.members, &active.members);
        match trouble {
            Some(Trouble::Outrun) => true,
            Some(Trouble::Stalled) => other_writer || better || !serves && changes,
            None => better || !serves && changes,
        }
    }

    /// The living members in the order in which they would write, and newcomers in the places of the others.
    fn drafted(&self, id: GroupId, group: &GroupState) -> Option<Roll> {
        let (aim, roster, active) = (self.aim, &self.roster, &group.active);
        let mut living = roster.living(active);
        let needed = living.len().min(active.write_quorum).max(active.read_quorum);
        let fellows = living.clone();
        living.sort_by_cached_key(|member| self.succession(*member, id, (active, &fellows), needed));
        let mut draft = Draft::new(roster);
        draft.take(living, aim.members_wanted());
        let kept = draft.members.len();
        if kept == 0 {
            return None;
        }
        let vacancy = Vacancy {
            group: id,
            slot: aim.placement.members(id),
            learners: roster::learners(group).collect(),
            lost: active
                .members
                .iter()
                .copied()
                .filter(|member| !roster.serves(id, *member))
                .collect(),
        };
        draft.fill(&vacancy, aim.members_wanted());

        let mut members = draft.members;
        let min = aim.members_min();
        let opens = |n: &usize| aim.limits.write_quorum(*n) <= kept;
        let size = (min..=members.len()).rev().find(opens).unwrap_or(min);
        members.truncate(size.max(kept));
        // Short of servers, the places that keep quorums above one copy are held for those that may come back.
        roster.hold_places(&mut members, &vacancy.lost, min);
        let roll = aim.limits.roll(members);
        let up = roll.members.iter().filter(|member| roster.serves(id, **member)).count();
        // One that cannot open would only stand in the way of one that can.
        (up >= usize::from(roll.write_quorum)).then_some(roll)
    }

    /// The order in which living members come to write: those that have not just failed, the present writer, those in reach of the others
    /// and of us, its local follower, then by the ring.
    fn succession(
        &self,
        member: Member,
        id: GroupId,
        (active, living): (&Config, &[Member]),
        needed: usize,
    ) -> impl Ord + use<> {
        let roster = &self.roster;
        let tried = self.ages(id).tried.iter().position(|tried| *tried == member);
        let reaches = roster.reached_by(member, living) >= needed;
        let places = roster
            .site
            .place(member.node)
            .zip(roster.site.place(active.writer().node));
        let is_local = places.is_some_and(|(its, writers)| its.dc == writers.dc && its.zone != writers.zone);
        (
            tried.map_or(0, |at| at + 1),
            member != active.writer(),
            (!reaches, !roster.hears(member), roster.is_leaving(member)),
            !is_local,
            self.ring_order(member, id),
        )
    }

    /// Where a process stands in the order in which the ring lets members of a group take over.
    pub(super) fn ring_order(&self, member: Member, id: GroupId) -> impl Ord + Copy + use<> {
        let (site, slot) = (&self.roster.site, self.aim.placement.members(id));
        let in_slot = slot.nodes().iter().position(|node| *node == member.node);
        let home = site
            .place(slot.writer())
            .expect("a placement names nodes of its topology");
        // Whoever left the topology comes last.
        let of = |place: Place| (site.distance(home.dc, place.dc), place.zone == home.zone, place.rank);
        let (distance, same_zone, rank) = site.place(member.node).map_or((usize::MAX, true, usize::MAX), of);
        (distance, in_slot.unwrap_or(slot.nodes().len()), same_zone, rank)
    }
}
