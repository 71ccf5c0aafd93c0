//! What must hold of every group once a planner has nothing more to say, judged from names alone.

use std::collections::BTreeMap;

use super::world::World;
use crate::ids::{GroupId, Member, NodeId};
use crate::topology_log::GroupState;

impl World {
    /// Checks every group that is not lost, and that W + R and the rule of places hold for all.
    pub(super) fn check(&self) {
        let possible = self.members_possible();
        for (id, group) in self.state.groups() {
            let config = &group.active;
            assert!(config.is_sound(), "{config:?}");
            if !self.state.is_lost(id) && self.living(group).len() >= config.read_quorum {
                assert_eq!(group.pending, None);
                self.check_places(group);
                self.check_copies(id, group, possible);
                self.check_writer(id, group);
            }
        }
    }

    fn living(&self, group: &GroupState) -> Vec<Member> {
        let members = group.active.members.iter().copied();
        members.filter(|member| self.is_up(*member)).collect()
    }

    /// Nodes that may have members, by data centre and zone.
    fn nodes_by_place(&self) -> BTreeMap<&str, BTreeMap<&str, usize>> {
        let mut places: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
        for node in self.nodes().into_iter().filter(|node| self.may_have_members(*node)) {
            let (dc, zone) = self.place(node);
            *places.entry(dc).or_default().entry(zone).or_default() += 1;
        }
        places
    }

    /// As many members as the rule lets a group have on the nodes that are there: all nodes while fewer than four data centres are up, else
    /// two of each, in different zones where it has zones at all.
    pub(super) fn members_possible(&self) -> usize {
        let places = self.nodes_by_place();
        let zoned = |dc: &str| {
            let zones: std::collections::BTreeSet<&str> = self
                .nodes()
                .into_iter()
                .map(|node| self.place(node))
                .filter(|place| place.0 == dc)
                .map(|place| place.1)
                .collect();
            zones.len() > 1
        };
        let room = |(dc, zones): (&&str, &BTreeMap<&str, usize>)| match places.len() {
            ..4 => zones.values().sum(),
            _ if zoned(dc) => zones.len().min(2),
            _ => zones.values().sum::<usize>().min(2),
        };
        places.iter().map(room).sum::<usize>().min(self.topology.members())
    }

    /// Invariant 10, and as even a spread as three data centres allow.
    fn check_places(&self, group: &GroupState) {
        let places = self.nodes_by_place();
        let members = &group.active.members;
        let mut in_dc: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (dc, zone) in members.iter().map(|member| self.place(member.node)) {
            in_dc.entry(dc).or_default().push(zone);
        }
        let all_stay = members.iter().all(|member| self.may_have_members(member.node));
        if places.len() >= 4 {
            for (dc, zones) in &in_dc {
                let has_zones = self
                    .nodes()
                    .iter()
                    .any(|node| self.place(*node).0 == *dc && self.place(*node).1 != "A");
                assert!(zones.len() <= 2, "at most two in one data centre: {group:?}");
                assert!(
                    zones.len() < 2 || zones[0] != zones[1] || !has_zones,
                    "in one zone: {group:?}"
                );
            }
        } else if all_stay && members.len() == 5 && places.len() == 3 {
            let enough = places.values().all(|zones| zones.values().sum::<usize>() >= 2);
            assert!(
                !enough || in_dc.values().all(|zones| zones.len() <= 2),
                "not 2 + 2 + 1: {group:?}"
            );
        }
    }

    /// As many members as can be, all of them living; those that the ring wants among them.
    fn check_copies(&self, id: GroupId, group: &GroupState, possible: usize) {
        let living = self.living(group);
        let stay: Vec<NodeId> = living.iter().map(|member| member.node).collect();
        let staying = stay.iter().filter(|node| self.may_have_members(**node)).count();
        assert_eq!(staying, possible, "copies of {id}: {group:?}");
        for node in self.placement.members(id).nodes() {
            assert!(
                !self.may_have_members(*node) || stay.contains(node),
                "the ring wants {node} in {id}: {group:?}"
            );
        }
        // Whoever drains is kept only where three could not be had without it.
        assert!(living.len() == staying || possible < 3.min(self.topology.members()));
    }

    /// The ring's writer if it is there, else one of its data centre if there is one, and nobody who drains if there is anyone else.
    fn check_writer(&self, id: GroupId, group: &GroupState) {
        let writer = group.active.writer();
        assert!(self.is_up(writer), "the writer of {id} is down: {group:?}");
        let of_ring = self.placement.writer(id);
        if self.may_have_members(of_ring) {
            assert_eq!(writer.node, of_ring, "the ring's writer of {id} is there: {group:?}");
        }
        let living = self.living(group);
        let could = living.iter().filter(|member| self.may_have_members(member.node));
        let homes: Vec<bool> = could.map(|member| self.dc(member.node) == self.dc(of_ring)).collect();
        if homes.contains(&true) {
            assert_eq!(
                self.dc(writer.node),
                self.dc(of_ring),
                "{id} has a member at home: {group:?}"
            );
        }
        assert!(
            homes.is_empty() || self.may_have_members(writer.node),
            "{id} is written by who drains"
        );
    }

    /// No group opened two views within two seconds.
    pub(super) fn check_pace(&self, what: &str) {
        for (group, opened) in self.opened_ms.iter().enumerate() {
            let close = opened.windows(2).find(|pair| pair[1] < pair[0] + 2_000);
            assert_eq!(close, None, "group {group} after {what}: {opened:?}");
        }
    }
}
