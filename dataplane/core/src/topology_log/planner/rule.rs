//! The rule of places: whom a group may have as members, and whom it takes to be complete.
//!
//! While four data centres are up, a data centre has at most two members of a group, and those in different zones wherever it has zones.
//! With fewer, members are spread as evenly as nodes allow: 2 + 2 + 1 over three. It knows nothing of logs, views or quorums.

use waterpark_ring::Slot;

use crate::ids::{GroupId, Member, NodeId};
use crate::topology_log::planner::roster::Roster;
use crate::topology_log::planner::site::Place;

/// Data centres that must be up for a data centre to be held to two members.
const DCS_FOR_PAIRS: usize = 4;
/// Members in one data centre while so many are up.
const MEMBERS_PER_DC_MAX: usize = 2;

/// Places of a group to be filled.
pub(super) struct Vacancy<'a> {
    pub(super) group: GroupId,
    pub(super) slot: &'a Slot,
    /// They have begun to copy.
    pub(super) learners: Vec<Member>,
    /// Members that are gone, or have to go.
    pub(super) lost: Vec<Member>,
}

/// A set of members in the making.
pub(super) struct Draft<'a> {
    roster: &'a Roster<'a>,
    pub(super) members: Vec<Member>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(roster: &'a Roster<'a>) -> Draft<'a> {
        Draft {
            roster,
            members: Vec::new(),
        }
    }

    /// Takes those that the rule admits, in order, up to `most` members in all.
    pub(super) fn take(&mut self, members: impl IntoIterator<Item = Member>, most: usize) {
        for member in members {
            if self.members.len() < most && self.admits(member.node) {
                self.members.push(member);
            }
        }
    }

    /// Brings in newcomers until there are `most` members or nobody fits.
    pub(super) fn fill(&mut self, vacancy: &Vacancy<'_>, most: usize) {
        while self.members.len() < most {
            let candidates = self.roster.candidates.iter().copied();
            let can = |member: &Member| self.admits(member.node) && self.roster.serves(vacancy.group, *member);
            let fits = candidates.filter(can);
            let Some(best) = fits.min_by_key(|member| self.rank(*member, vacancy)) else {
                return;
            };
            self.members.push(best);
        }
    }

    /// Whether a node may join those that are there.
    fn admits(&self, node: NodeId) -> bool {
        if self.members.iter().any(|member| member.node == node) {
            return false;
        }
        let site = self.roster.site;
        let Some(place) = site.place(node) else {
            return true;
        };
        let zoned = site.zones_of(place.dc) > 1;
        self.roster.dcs_up < DCS_FOR_PAIRS
            || self.in_dc(place) < MEMBERS_PER_DC_MAX && !(zoned && self.in_zone(place) > 0)
    }

    /// The order of newcomers: who learns already, whom the ring wants, a new process in a lost one's stead; then where members are fewest,
    /// where one was lost, and who carries least.
    fn rank(&self, member: Member, vacancy: &Vacancy<'_>) -> impl Ord + use<> {
        let Vacancy {
            group,
            slot,
            learners,
            lost,
        } = vacancy;
        let site = self.roster.site;
        let place = site.place(member.node).expect("candidates are of the topology");
        let lost_places = || lost.iter().filter_map(|lost| site.place(lost.node));
        // Ties go round by group, or the first node would be everybody's choice.
        let turn = (place.rank + site.nodes.len() - group.0 as usize % site.nodes.len()) % site.nodes.len();
        (
            !learners.contains(&member),
            !slot.nodes().contains(&member.node),
            !lost.iter().any(|lost| lost.node == member.node),
            (self.in_dc(place), self.in_zone(place)),
            !lost_places().any(|lost| lost.zone == place.zone),
            !lost_places().any(|lost| lost.dc == place.dc),
            (self.roster.load(member.node), turn),
        )
    }

    fn in_dc(&self, place: Place) -> usize {
        self.count(|other| other.dc == place.dc)
    }

    fn in_zone(&self, place: Place) -> usize {
        self.count(|other| other.zone == place.zone)
    }

    fn count(&self, what: impl Fn(Place) -> bool) -> usize {
        let places = self
            .members
            .iter()
            .filter_map(|member| self.roster.site.place(member.node));
        places.filter(|place| what(*place)).count()
    }
}
