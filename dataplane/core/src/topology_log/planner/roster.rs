//! Who is there: the state's word on each process, the planner's own hearing, and what each node carries.
//!
//! The word of the log decides who is a living member, so that two planners agree on it, less those that say of themselves that they are out
//! of service. Their own hearing decides only whether they may speak about a group at all, and whom they bring in.

use crate::config::Config;
use crate::ids::{GroupId, Member, NodeId};
use crate::topology_log::planner::newcomers;
use crate::topology_log::planner::seen::Seen;
use crate::topology_log::planner::site::Site;
use crate::topology_log::state::{GroupState, Presence, TopologyState};

pub(super) struct Roster<'a> {
    pub(super) site: &'a Site,
    pub(super) state: &'a TopologyState,
    pub(super) seen: &'a Seen,
    /// Processes that may become members: up, in the topology, not to lose their memberships, and heard. Ascending by name.
    pub(super) candidates: Vec<Member>,
    /// Data centres with a node that is up and may have members.
    pub(super) dcs_up: usize,
    /// Memberships by node id, those to come included.
    loads: Vec<u32>,
}

impl<'a> Roster<'a> {
    pub(super) fn new(site: &'a Site, state: &'a TopologyState, seen: &'a Seen) -> Roster<'a> {
        let mut roster = Roster {
            site,
            state,
            seen,
            candidates: Vec::new(),
            dcs_up: 0,
            loads: Vec::new(),
        };
        let mut dc_up = vec![false; site.dcs()];
        for node in &site.nodes {
            let member = roster.process(*node);
            if let Some(place) = site.place(*node)
                && roster.is_up(member)
                && !roster.is_leaving(member)
            {
                dc_up[place.dc] = true;
                if roster.hears(member) {
                    roster.candidates.push(member);
                }
            }
        }
        roster.dcs_up = dc_up.iter().filter(|up| **up).count();
        for (_, group) in state.groups() {
            let coming = group.pending.as_ref().unwrap_or(&group.active);
            coming.members.iter().for_each(|member| roster.carry(*member));
            learners(group).for_each(|member| roster.carry(member));
        }
        roster
    }

    /// The newest process of a node.
    pub(super) fn process(&self, node: NodeId) -> Member {
        Member {
            node,
            incarnation: self.state.node(node).incarnation,
        }
    }

    /// Whether the log has this very process up.
    pub(super) fn is_up(&self, member: Member) -> bool {
        let node = self.state.node(member.node);
        node.incarnation == member.incarnation && matches!(node.presence, Presence::Up | Presence::Draining)
    }

    /// Whether a process is up and can serve a group.
    pub(super) fn serves(&self, group: GroupId, member: Member) -> bool {
        self.is_up(member) && !self.seen.is_out_of_service(group, member)
    }

    /// Whether a process shall lose its memberships: its node drains, or left the topology.
    pub(super) fn is_leaving(&self, member: Member) -> bool {
        self.state.node(member.node).presence == Presence::Draining || self.site.place(member.node).is_none()
    }

    pub(super) fn hears(&self, member: Member) -> bool {
        self.seen.heard.contains(&member)
    }

    /// Whether a read quorum of a Config is heard: without one no opener could have its answers, or the other side of a cut may be serving.
    pub(super) fn hears_read_quorum(&self, config: &Config) -> bool {
        let answers = |member: &&Member| self.hears(**member) && !self.seen.is_out_of_service(config.group, **member);
        config.members.iter().filter(answers).count() >= config.read_quorum
    }

    /// The members of a Config that are up and can serve, in its order.
    pub(super) fn living(&self, config: &Config) -> Vec<Member> {
        let members = config.members.iter().copied();
        members.filter(|member| self.serves(config.group, *member)).collect()
    }

    /// How many of these, itself among them, are up and linked with a process both ways.
    pub(super) fn reached_by(&self, member: Member, others: &[Member]) -> usize {
        let linked = |other: &&Member| **other == member || self.seen.linked(member.node, other.node);
        others.iter().filter(|other| self.is_up(**other)).filter(linked).count()
    }

    /// Adds those that have to go, or are gone, until there are `least` members: the newest process of each, in order.
    pub(super) fn hold_places(&self, members: &mut Vec<Member>, lost: &[Member], least: usize) {
        for lost in lost {
            if members.len() < least && members.iter().all(|member| member.node != lost.node) {
                members.push(self.process(lost.node));
            }
        }
    }

    /// Members that a node has or will have.
    pub(super) fn load(&self, node: NodeId) -> u32 {
        self.loads.get(usize::from(node.0)).copied().unwrap_or(0)
    }

    /// Counts one more membership to come.
    pub(super) fn carry(&mut self, member: Member) {
        let index = usize::from(member.node.0);
        if self.loads.len() <= index {
            self.loads.resize(index + 1, 0);
        }
        self.loads[index] += 1;
    }
}

/// Learners that are no members yet. Those that have become members stay on the list until it is set again, and mean nothing.
pub(super) fn learners(group: &GroupState) -> impl Iterator<Item = Member> + '_ {
    newcomers(&group.learners, &group.active)
}
