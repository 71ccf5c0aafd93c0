//! A small world for planners: processes that start and stop, views that open when their members can, copies that take time.
//!
//! It follows the protocol's steps only as far as a planner can tell: an opener needs R members of the active Config and W of its own that
//! hold the group's data. Entries are decided one step after they were proposed, in the order of the planners.

use std::collections::{BTreeMap, BTreeSet};

use waterpark_ring::{ClusterId, NodeSpec, Placement, Topology, TopologySpec};

use crate::config::Config;
use crate::ids::{GroupId, Incarnation, Member, NodeId, View};
use crate::topology_log::codec::{decode, encode};
use crate::topology_log::planner::{GroupSeen, Limits, Planner, Seen};
use crate::topology_log::{Entry, Presence, Stamp, TopologyState};

/// Data centres with the nodes in their zones A, B, …
pub(super) type Shape = &'static [(&'static str, &'static [u16])];

pub(super) const THREE: Shape = &[("FL", &[1]), ("TN", &[1]), ("TX", &[1])];
pub(super) const FIVE: Shape = &[("FL", &[1, 1]), ("TN", &[1]), ("TX", &[1]), ("UT", &[1])];
pub(super) const SIX: Shape = &[("FL", &[1, 1]), ("TN", &[1, 1]), ("TX", &[1]), ("UT", &[1])];
pub(super) const EIGHT: Shape = &[("FL", &[1, 1]), ("TN", &[1, 1]), ("TX", &[1, 1]), ("UT", &[1, 1])];
pub(super) const FULL: Shape = &[("FL", &[4, 4]), ("TN", &[4, 4]), ("TX", &[4, 4]), ("UT", &[4, 4])];
pub(super) const SHAPES: [Shape; 5] = [THREE, FIVE, SIX, EIGHT, FULL];

pub(super) const STEP_MS: u64 = 50;
const ROUND_TRIP_MS: u64 = 40;
const COPY_MS: u64 = 400;

pub(super) fn spec(shape: Shape) -> TopologySpec {
    let mut names = Vec::new();
    for (dc, zones) in shape {
        for (zone, nodes) in ('A'..='Z').zip(*zones) {
            names.extend((1..=*nodes).map(|number| format!("{dc}-{zone}-{number}")));
        }
    }
    let node = |(id, name): (u16, String)| node_spec(id, &name);
    TopologySpec {
        groups: 128,
        ..TopologySpec::new(ClusterId([7; 16]), (1..).zip(names).map(node).collect())
    }
}

pub(super) fn node_spec(id: u16, name: &str) -> NodeSpec {
    NodeSpec {
        id: NodeId(id),
        name: name.to_owned(),
        host: "127.0.0.1".to_owned(),
        port: 7000 + 256 * id,
        shards: 1,
    }
}

/// What a planner does not hear, and the planner.
struct Seat {
    planner: Planner,
    deaf_to: BTreeSet<NodeId>,
}

#[derive(Clone, Default)]
struct Copy {
    /// When each process will hold the group's data.
    holds_ms: BTreeMap<Member, u64>,
    opening_ms: u64,
    opening: View,
    progress: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) entries: u64,
    /// Proposals that were taken.
    pub(super) proposed: u64,
    pub(super) opened: u64,
    /// Copies of a group that began.
    pub(super) copies: u64,
}

pub(super) struct World {
    pub(super) topology: Topology,
    pub(super) placement: Placement,
    pub(super) state: TopologyState,
    pub(super) now_ms: u64,
    pub(super) counts: Counts,
    /// When each group opened its views.
    pub(super) opened_ms: Vec<Vec<u64>>,
    /// Proposals taken for each group.
    pub(super) proposed: Vec<u64>,
    /// Processes that are heard and do nothing: they open no view and begin no copy.
    pub(super) stuck: BTreeSet<Member>,
    pub(super) trouble: BTreeMap<GroupId, (View, crate::topology_log::Trouble)>,
    /// Members that say that they can no longer serve a group, until they are none.
    pub(super) out_of_service: BTreeSet<(GroupId, Member)>,
    pub(super) cuts: BTreeSet<(NodeId, NodeId)>,
    copies: Vec<Copy>,
    running: BTreeMap<NodeId, Member>,
    seats: Vec<Seat>,
    flying: Vec<Entry>,
    incarnations: u64,
    /// The position at which it was last looked for copies to begin.
    copied: u64,
}

impl World {
    /// A cluster after birth, at rest, with so many planners.
    pub(super) fn born(shape: Shape, planners: usize) -> World {
        World::of(Topology::new(spec(shape)).unwrap(), planners)
    }

    pub(super) fn of(topology: Topology, planners: usize) -> World {
        let placement = topology.birth().clone();
        let mut world = World {
            state: TopologyState::default(),
            now_ms: 1_000,
            counts: Counts::default(),
            opened_ms: vec![Vec::new(); 128],
            proposed: vec![0; 128],
            stuck: BTreeSet::new(),
            trouble: BTreeMap::new(),
            out_of_service: BTreeSet::new(),
            cuts: BTreeSet::new(),
            copies: vec![Copy::default(); 128],
            running: BTreeMap::new(),
            seats: Vec::new(),
            flying: Vec::new(),
            incarnations: 0,
            copied: 0,
            topology,
            placement,
        };
        (0..planners).for_each(|_| world.join());
        for node in world.nodes() {
            world.start(node);
        }
        world.rest(3_000);
        world.forget_counts();
        world
    }

    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.topology.nodes().iter().map(|node| node.id).collect()
    }

    /// Nodes whose names begin so.
    pub(super) fn nodes_of(&self, place: &str) -> Vec<NodeId> {
        let nodes = self.topology.nodes().iter();
        nodes
            .filter(|node| node.name.starts_with(place))
            .map(|node| node.id)
            .collect()
    }

    pub(super) fn dc(&self, node: NodeId) -> &str {
        self.place(node).0
    }

    pub(super) fn place(&self, node: NodeId) -> (&str, &str) {
        let name = waterpark_ring::NodeName::parse(&self.topology.node(node).unwrap().name).unwrap();
        (name.dc, name.zone)
    }

    pub(super) fn forget_counts(&mut self) {
        self.counts = Counts::default();
        self.opened_ms.iter_mut().for_each(Vec::clear);
        self.proposed.fill(0);
    }

    /// One planner more, with no memory.
    pub(super) fn join(&mut self) {
        let planner = Planner::new(self.topology.clone(), self.placement.clone(), Limits::default());
        self.seats.push(Seat {
            planner,
            deaf_to: BTreeSet::new(),
        });
    }

    /// Another planner takes the place of one, with no memory.
    pub(super) fn elect(&mut self, seat: usize) {
        self.seats[seat].planner = Planner::new(self.topology.clone(), self.placement.clone(), Limits::default());
    }

    pub(super) fn deafen(&mut self, seat: usize, nodes: impl IntoIterator<Item = NodeId>) {
        self.seats[seat].deaf_to = nodes.into_iter().collect();
    }

    /// A node's process starts, a new one.
    pub(super) fn start(&mut self, node: NodeId) {
        self.incarnations += 1;
        let member = Member {
            node,
            incarnation: Incarnation(self.incarnations),
        };
        let replaces = self.state.node(node).incarnation;
        self.running.insert(node, member);
        self.decide(&Entry::NodeUp { member, replaces });
    }

    /// A process dies, and everybody sees it.
    pub(super) fn kill(&mut self, node: NodeId) {
        if let Some(member) = self.running.remove(&node) {
            self.decide(&Entry::NodeDown(member));
        }
    }

    /// A process that was only paused is heard again.
    pub(super) fn resume(&mut self, node: NodeId) {
        let member = Member {
            node,
            incarnation: self.state.node(node).incarnation,
        };
        self.running.insert(node, member);
        let replaces = member.incarnation;
        self.decide(&Entry::NodeUp { member, replaces });
    }

    pub(super) fn drain(&mut self, node: NodeId) {
        self.decide(&Entry::NodeDraining(node));
    }

    /// It is wanted again, however it went.
    pub(super) fn come_back(&mut self, node: NodeId) {
        self.resume(node);
        self.undrain(node);
    }

    pub(super) fn undrain(&mut self, node: NodeId) {
        self.decide(&Entry::NodeUndraining(node));
    }

    /// Another topology, placed after the one before.
    pub(super) fn change(&mut self, topology: Topology) {
        self.placement = Placement::place(Some(&self.placement), &topology).unwrap();
        self.topology = topology;
        for seat in &mut self.seats {
            seat.planner.on_topology(self.topology.clone(), self.placement.clone());
        }
    }

    pub(super) fn is_up(&self, member: Member) -> bool {
        self.running.get(&member.node) == Some(&member)
    }

    pub(super) fn may_have_members(&self, node: NodeId) -> bool {
        self.state.node(node).presence == Presence::Up && self.topology.node(node).is_some()
    }

    /// Time passes with nobody to change anything from outside.
    pub(super) fn rest(&mut self, ms: u64) {
        for _ in 0..ms / STEP_MS {
            self.step();
        }
    }

    /// Runs until nothing was proposed and nothing opened for 4 s; how long it took.
    pub(super) fn settle(&mut self) -> u64 {
        let began_ms = self.now_ms;
        let mut quiet_ms = 0;
        while quiet_ms < 4_000 {
            let before = self.counts;
            self.step();
            quiet_ms = if before == self.counts { quiet_ms + STEP_MS } else { 0 };
            assert!(
                self.now_ms < began_ms + 240_000,
                "planning goes on for ever: {:?}",
                self.counts
            );
        }
        self.now_ms - began_ms - quiet_ms
    }

    pub(super) fn seen(&self, seat: usize) -> Seen {
        let deaf_to = &self.seats[seat].deaf_to;
        let heard = self
            .running
            .values()
            .copied()
            .filter(|member| !deaf_to.contains(&member.node));
        let mut groups = BTreeMap::new();
        for (id, group) in self.state.groups() {
            let copy = &self.copies[id.0 as usize];
            let is_said = self.trouble.contains_key(&id) || self.out_of_service_of(id).next().is_some();
            if group.pending.is_none() && group.learners.is_empty() && !is_said {
                continue;
            }
            let caught_up = group
                .learners
                .iter()
                .copied()
                .filter(|learner| self.holds(copy, *learner));
            groups.insert(
                id,
                GroupSeen {
                    progress: copy.progress,
                    caught_up: caught_up.collect(),
                    trouble: self.trouble.get(&id).copied(),
                    out_of_service: self.out_of_service_of(id).collect(),
                },
            );
        }
        Seen {
            heard: heard.collect(),
            cuts: self.cuts.clone(),
            round_trip_ms: ROUND_TRIP_MS,
            groups,
        }
    }

    /// Copies that the ring's placement still lacks, in groups that are not lost.
    pub(super) fn copies_lacking(&self) -> u64 {
        let groups = self.state.groups().filter(|(id, _)| !self.state.is_lost(*id));
        let lacking = groups.map(|(id, _)| {
            let nodes = self.placement.members(id).nodes().iter();
            let processes = nodes.filter_map(|node| self.running.get(node));
            processes
                .filter(|process| !self.copies[id.0 as usize].holds_ms.contains_key(process))
                .count()
        });
        lacking.map(|count| u64::try_from(count).unwrap()).sum()
    }

    /// What one planner would propose now.
    pub(super) fn ask(&mut self, seat: usize) -> Vec<Entry> {
        let seen = self.seen(seat);
        self.seats[seat].planner.plan(self.now_ms, &self.state, &seen)
    }

    pub(super) fn step(&mut self) {
        self.now_ms += STEP_MS;
        // All planners look at one state, then what they proposed before is decided.
        let mut proposed = Vec::new();
        for seat in 0..self.seats.len() {
            proposed.append(&mut self.ask(seat));
        }
        for entry in core::mem::replace(&mut self.flying, proposed) {
            self.counts.entries += 1;
            self.decide(&decode(&encode(Stamp::NONE, &entry)).unwrap().1);
        }
        self.copy();
        self.open();
    }

    fn decide(&mut self, entry: &Entry) {
        let changed = self.state.apply(self.state.position() + 1, entry);
        for group in &changed.pending {
            let index = group.0 as usize;
            let pending = self.state.group(*group).unwrap().pending.clone().unwrap();
            self.copies[index].opening_ms = self.now_ms;
            self.copies[index].opening = pending.view;
            self.counts.proposed += 1;
            self.proposed[index] += 1;
        }
        for group in &changed.active {
            self.opened_ms[group.0 as usize].push(self.now_ms);
            self.counts.opened += 1;
            if let Entry::Create(_) = entry {
                let members = self.state.group(*group).unwrap().active.members.clone();
                let now_ms = self.now_ms;
                self.copies[group.0 as usize].holds_ms = members.into_iter().map(|member| (member, now_ms)).collect();
            }
        }
    }

    fn out_of_service_of(&self, id: GroupId) -> impl Iterator<Item = Member> + '_ {
        let of_group = self.out_of_service.iter().filter(move |(group, _)| *group == id);
        of_group.map(|(_, member)| *member)
    }

    /// Who is no member any more drops what it held, and with it what was wrong.
    fn drop_copies(&mut self) {
        let (state, copies) = (&self.state, &mut self.copies);
        self.out_of_service.retain(|(id, member)| {
            let group = state.group(*id).unwrap();
            let coming = group.pending.iter().flat_map(|pending| &pending.members);
            let stays = group.active.members.iter().chain(coming).any(|other| other == member);
            if !stays {
                copies[id.0 as usize].holds_ms.remove(member);
            }
            stays
        });
    }

    fn holds(&self, copy: &Copy, member: Member) -> bool {
        copy.holds_ms.get(&member).is_some_and(|at| *at <= self.now_ms)
    }

    /// Members, learners and members to be that are up and hold nothing begin to copy.
    fn copy(&mut self) {
        if core::mem::replace(&mut self.copied, self.state.position()) == self.state.position() {
            return;
        }
        for (id, group) in self.state.groups() {
            let copy = &mut self.copies[id.0 as usize];
            let coming = group.pending.iter().flat_map(|pending| &pending.members);
            let all = group.active.members.iter().chain(&group.learners).chain(coming);
            for member in all {
                let can = self.running.get(&member.node) == Some(member) && !self.stuck.contains(member);
                if can && !copy.holds_ms.contains_key(member) {
                    copy.holds_ms.insert(*member, self.now_ms + COPY_MS);
                    self.counts.copies += 1;
                    copy.progress += 1;
                }
            }
        }
    }

    fn open(&mut self) {
        let mut opened = Vec::new();
        for (id, group) in self.state.groups() {
            let Some(pending) = &group.pending else {
                continue;
            };
            let copy = &self.copies[id.0 as usize];
            let serves = |member: &Member| self.is_up(*member) && !self.out_of_service.contains(&(id, *member));
            let up = |config: &Config| config.members.iter().copied().filter(serves).collect();
            let (sealed, adopting): (Vec<Member>, Vec<Member>) = (up(&group.active), up(pending));
            let adopted = adopting.iter().filter(|member| self.holds(copy, **member)).count();
            let can = serves(&pending.writer()) && !self.stuck.contains(&pending.writer());
            let ripe = self.now_ms >= copy.opening_ms + 3 * ROUND_TRIP_MS;
            if can && ripe && sealed.len() >= group.active.read_quorum && adopted >= pending.write_quorum {
                opened.push((id, pending.view));
            }
        }
        if !opened.is_empty() {
            self.decide(&Entry::Activate(opened));
            self.drop_copies();
        }
    }
}
