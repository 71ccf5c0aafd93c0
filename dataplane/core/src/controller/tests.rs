//! Controllers of a small cluster, wired to each other without delay: what is sent arrives, what is written is durable.

mod votes;

use std::collections::{BTreeMap, VecDeque};

use waterpark_ring::{ClusterId, NodeSpec, Topology, TopologySpec};

use super::*;
use crate::config::Config;
use crate::ids::{GroupId, View};
use crate::rules::Production;
use crate::topology_log::consensus::{Birth, VoterId};
use crate::topology_log::{Stamp, Trouble};

const NAMES: [&str; 5] = ["FL-A-1", "FL-B-1", "TN-A-1", "TX-A-1", "UT-A-1"];
const VOTERS: u16 = 3;

struct Seat {
    controller: Controller<Production>,
    decided: Vec<(u64, Entry)>,
    ends: Vec<End>,
    states: usize,
}

struct World {
    topology: Topology,
    seats: BTreeMap<NodeId, (Member, Seat)>,
    now_ms: u64,
    votes: VoteLimits,
}

fn topology(groups: u32) -> Topology {
    let node = |(id, name): (u16, &&str)| NodeSpec {
        id: NodeId(id),
        name: (**name).to_owned(),
        host: "127.0.0.1".to_owned(),
        port: 7000 + 256 * id,
        shards: 1,
    };
    let mut spec = TopologySpec::new(ClusterId([5; 16]), (1..).zip(&NAMES).map(node).collect());
    spec.groups = groups;
    spec.voters = (1..=VOTERS).map(NodeId).collect();
    Topology::new(spec).unwrap()
}

impl World {
    fn new() -> World {
        World::with(64, VoteLimits::default())
    }

    fn with(groups: u32, votes: VoteLimits) -> World {
        let mut world = World {
            topology: topology(groups),
            seats: BTreeMap::new(),
            now_ms: 1_000,
            votes,
        };
        (1..=5).for_each(|node| world.start(node, 1));
        world
    }

    fn now(&self) -> Now {
        Now {
            monotonic_ns: self.now_ms * MS,
            wall_ms: self.now_ms,
        }
    }

    /// A process of a node starts, with the first bytes of its voter file: nothing else of it is needed here.
    fn start(&mut self, node: u16, incarnation: u64) {
        self.start_with(node, incarnation, self.topology.clone());
    }

    /// The same, with a configuration of its own.
    fn start_with(&mut self, node: u16, incarnation: u64, topology: Topology) {
        let own = Member {
            node: NodeId(node),
            incarnation: Incarnation(incarnation),
        };
        let setup = Setup {
            own,
            topology,
            placement: self.topology.birth().clone(),
            voters: (1..=VOTERS).map(NodeId).collect(),
            heartbeat_ms: 100,
            limits: Limits::default(),
            votes: self.votes,
        };
        let ids: Vec<VoterId> = (1..=VOTERS).map(VoterId).collect();
        let birth = Birth::first(self.topology.spec().cluster, VoterId(node), &ids).ok();
        let file = birth.as_ref().map(Birth::file);
        // A second process has no file: the first one has it.
        let vote = birth.as_ref().zip(file.as_deref()).filter(|_| incarnation == 1);
        let (controller, _) = Controller::new(setup, self.now(), vote).unwrap();
        let seat = Seat {
            controller,
            decided: Vec::new(),
            ends: Vec::new(),
            states: 0,
        };
        let now = self.now();
        for (peer, other) in self.seats.values_mut().filter(|(peer, _)| peer.node != own.node) {
            other.controller.on_met(now, own);
            let _ = peer;
        }
        self.seats.insert(own.node, (own, seat));
        let peers: Vec<Member> = self.seats.values().map(|(member, _)| *member).collect();
        for peer in peers.into_iter().filter(|peer| peer.node != own.node) {
            self.seats.get_mut(&own.node).unwrap().1.controller.on_met(now, peer);
        }
    }

    /// A process ends: its sockets close, and nobody listens any more.
    fn kill(&mut self, node: u16) -> Member {
        let (gone, _) = self.seats.remove(&NodeId(node)).unwrap();
        let now = self.now();
        for (_, seat) in self.seats.values_mut() {
            seat.controller.on_closed(now, gone);
            seat.controller.on_refused(now, gone.node);
        }
        gone
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms / 5 {
            self.now_ms += 5;
            let now = self.now();
            let members: Vec<Member> = self.seats.values().map(|(member, _)| *member).collect();
            for (own, seat) in self.seats.values_mut() {
                let others: Vec<Member> = members.iter().copied().filter(|other| other != own).collect();
                seat.controller.on_heard(now, &others);
                seat.controller.on_tick(now);
            }
            self.deliver();
        }
    }

    fn deliver(&mut self) {
        let mut sent = VecDeque::new();
        let nodes: Vec<NodeId> = self.seats.keys().copied().collect();
        nodes.iter().for_each(|node| self.act(*node, &mut sent));
        let now = self.now();
        while let Some((from, to, bytes)) = sent.pop_front() {
            if let Some((_, seat)) = self.seats.get_mut(&to) {
                seat.controller.on_message(now, from, &bytes);
                self.act(to, &mut sent);
            }
        }
    }

    fn act(&mut self, node: NodeId, sent: &mut VecDeque<(Member, NodeId, Vec<u8>)>) {
        let now = self.now();
        let (own, seat) = self.seats.get_mut(&node).unwrap();
        loop {
            let mut doing = Vec::new();
            seat.controller.take_doing(&mut doing);
            if doing.is_empty() {
                return;
            }
            for doing in doing {
                match doing {
                    Doing::Send { to, bytes } => sent.push_back((*own, to, bytes)),
                    Doing::Write(write) => seat.controller.on_durable(write.number),
                    Doing::Birth(_) => seat.controller.on_born(now, true),
                    Doing::State(_) => seat.states += 1,
                    Doing::Decided { position, entry, .. } => seat.decided.push((position, *entry)),
                    Doing::Note(_) => {}
                    Doing::End(end) => seat.ends.push(end),
                }
            }
        }
    }

    /// The same, and every pending view is put in force at once: there are no shards that would.
    fn run_with_openers(&mut self, ms: u64) {
        for _ in 0..ms / 50 {
            self.run(50);
            let node = *self.seats.keys().next().unwrap();
            let groups = self.state(node.0).groups();
            let pending = groups.filter_map(|(id, group)| Some((id, group.pending.as_ref()?.view)));
            let pending: Vec<_> = pending.collect();
            if !pending.is_empty() {
                self.seat(node.0).controller.propose(&Entry::Activate(pending));
                self.deliver();
            }
        }
    }

    fn seat(&mut self, node: u16) -> &mut Seat {
        &mut self.seats.get_mut(&NodeId(node)).unwrap().1
    }

    fn state(&self, node: u16) -> &TopologyState {
        self.seats[&NodeId(node)].1.controller.state()
    }
}

fn born() -> World {
    let mut world = World::new();
    world.run(1_000);
    world
}

#[test]
fn all_nodes_learn_the_same_entries_and_the_groups_are_born() {
    let mut world = born();
    let first = world.seat(1).decided.clone();
    assert!(first.iter().map(|(position, _)| *position).eq(1..=first.len() as u64));
    for node in 2..=5 {
        assert_eq!(world.seat(node).decided, first, "node {node}");
    }
    assert_eq!(world.state(5).groups().count(), 64);
    let leaders: Vec<u16> = (1..=5)
        .filter(|node| world.seat(*node).controller.is_leader())
        .collect();
    assert_eq!(leaders.len(), 1);
    assert!(!world.seat(4).controller.is_voter());
}

#[test]
fn a_killed_process_is_down_at_once_and_every_group_gets_an_opener_that_lives() {
    let mut world = born();
    let gone = world.kill(5);
    world.run(20);
    assert_eq!(world.state(1).node(gone.node).presence, Presence::Down);
    world.run(30);
    let state = world.state(4);
    let holds = |members: &[Member]| members.contains(&gone);
    let (mut held, mut repaired) = (0, 0);
    for (id, group) in state.groups() {
        held += u32::from(holds(&group.active.members));
        if group.active.writer() == gone {
            let pending = group.pending.as_ref().unwrap_or_else(|| panic!("{id:?} waits"));
            assert!(!holds(&pending.members));
            repaired += 1;
        }
    }
    assert!(held > 0 && repaired > 0);
}

#[test]
fn an_activation_is_taken_from_any_node() {
    let mut world = born();
    world.kill(5);
    world.run(100);
    let pending = world.state(4).groups().find_map(|(id, group)| {
        let pending = group.pending.as_ref()?;
        Some((id, pending.view))
    });
    let (group, view) = pending.unwrap();
    world.seat(4).controller.propose(&Entry::Activate(vec![(group, view)]));
    world.deliver();
    world.run(10);
    assert_eq!(world.state(1).group(group).unwrap().active.view, view);
    assert_eq!(world.state(4).group(group).unwrap().active.view, view);
}

#[test]
fn a_process_whose_name_has_a_newer_one_is_told_to_end() {
    let mut world = born();
    let (older, mut seat) = world.seats.remove(&NodeId(4)).unwrap();
    world.start(4, 2);
    world.run(300);
    let newer = world.state(1).node(NodeId(4)).incarnation;
    assert_eq!(newer, Incarnation(2));
    // The older one was only cut off, and hears of it.
    let entries = world.seat(1).controller.tail.from(1, usize::MAX).unwrap();
    seat.controller
        .on_message(world.now(), older, &Message::Learn(entries).encode());
    let mut doing = Vec::new();
    seat.controller.take_doing(&mut doing);
    assert!(doing.contains(&Doing::End(End::Replaced { by: newer })));
}

#[test]
fn an_entry_that_cannot_be_read_ends_the_process_and_nothing_behind_it_is_handed_out() {
    let mut world = born();
    let next = world.state(5).position() + 1;
    let decided = |position, entry: &[u8]| Decided {
        position,
        entry: entry.to_vec(),
    };
    let down = codec::encode(Stamp::NONE, &Entry::NodeDraining(NodeId(1)));
    let entries = vec![decided(next, b"\xFF\xFF new"), decided(next + 1, &down)];
    let from = world.seats[&NodeId(1)].0;
    let now = world.now();
    world
        .seat(5)
        .controller
        .on_message(now, from, &Message::Learn(entries).encode());
    let mut doing = Vec::new();
    world.seat(5).controller.take_doing(&mut doing);
    let error = EntryError::Schema { schema: 0xFFFF };
    assert_eq!(doing, [Doing::End(End::Unreadable { position: next, error })]);
}

#[test]
fn a_node_that_drains_says_so_and_one_that_is_told_otherwise_stays() {
    let mut world = born();
    world.seat(5).controller.drain(true);
    world.run(50);
    assert_eq!(world.state(1).node(NodeId(5)).presence, Presence::Draining);
    assert!(!world.seat(5).controller.is_drained());
    world.seat(5).controller.drain(false);
    world.run(50);
    assert_eq!(world.state(1).node(NodeId(5)).presence, Presence::Up);
}

#[test]
fn a_node_that_was_to_drain_no_more_drains_when_another_says_so_later() {
    let mut world = born();
    world.seat(5).controller.drain(true);
    world.run(50);
    world.seat(5).controller.drain(false);
    world.run(50);
    let entry = Entry::NodeDraining(NodeId(5));
    world.seat(1).controller.propose(&entry);
    world.run(300);
    assert_eq!(world.state(1).node(NodeId(5)).presence, Presence::Draining);
}

#[test]
fn where_all_nodes_drain_none_waits_for_another() {
    let mut world = born();
    let nodes: Vec<u16> = world.seats.keys().map(|node| node.0).collect();
    for node in &nodes {
        world.seat(*node).controller.drain(true);
    }
    world.run(300);
    for node in nodes {
        assert!(world.seat(node).controller.is_drained(), "node {node}");
    }
}

#[test]
fn what_shards_report_reaches_the_one_who_plans() {
    let mut world = born();
    let group = GroupId(3);
    let (view, writer) = {
        let active = &world.state(1).group(group).unwrap().active;
        (active.view, active.writer())
    };
    let report = GroupReport {
        group,
        view,
        progress: 0,
        word: Word::Trouble(Trouble::Stalled),
    };
    world.seat(writer.node.0).controller.on_reports(0, vec![report]);
    world.run(100);
    let leader = (1..=VOTERS)
        .find(|node| world.seat(*node).controller.is_leader())
        .unwrap();
    let now = world.seat(leader).controller.eyes.now();
    let controller = &world.seat(leader).controller;
    let seen = controller.reports.seen(&controller.state, now);
    assert_eq!(seen[&group].trouble, Some((view, Trouble::Stalled)));
    assert_ne!(view, View(0));
}

/// The sixth node, of the zone of the second.
fn sixth() -> NodeSpec {
    NodeSpec {
        id: NodeId(6),
        name: "FL-B-2".to_owned(),
        host: "127.0.0.1".to_owned(),
        port: 7000 + 256 * 6,
        shards: 1,
    }
}

fn joined(node: NodeSpec) -> Entry {
    let placing = crate::topology_log::Placing::default();
    Entry::NodeJoined { node, placing }
}

fn left(node: u16) -> Entry {
    let placing = crate::topology_log::Placing::default();
    Entry::NodeLeft {
        node: NodeId(node),
        placing,
    }
}

fn placement(world: &World, seen_by: u16) -> Placement {
    let controller = &world.seats[&NodeId(seen_by)].1.controller;
    controller.state().placement(controller.topology()).unwrap()
}

#[test]
fn a_node_joins_whoever_is_asked_and_gets_its_share_for_at_most_a_twentieth_more_than_must_move() {
    let mut world = born();
    let before = placement(&world, 4);
    // Nobody has met it yet, and who is asked is no voter; a second order changes nothing.
    for asked in [4, 5] {
        world.seat(asked).controller.propose(&joined(sixth()));
        world.run(20);
    }
    for node in 1..=5 {
        assert_eq!(
            world.state(node).node(NodeId(6)).presence,
            Presence::Joined,
            "node {node}"
        );
        assert_eq!(world.state(node).joined(), [sixth()]);
    }
    let own = world.topology.grown(&[sixth()], &[]).unwrap();
    world.start_with(6, 1, own);
    world.run(500);
    assert_eq!(world.state(1).node(NodeId(6)).presence, Presence::Up);
    assert_eq!(world.seat(6).controller.topology().nodes().len(), 6);
    assert!(!world.seat(6).controller.is_voter() && world.seat(6).ends.is_empty());

    let after = placement(&world, 1);
    assert_eq!(placement(&world, 6), after, "all know where groups should be");
    // One member of each group stands in FL-B, which it shares with one other: it gets as many as that keeps.
    let least = 64 / 2;
    let moved = after.movement_since(&before).members;
    assert!(
        moved >= least && moved * 20 <= least * 21,
        "{moved} memberships move, {least} must"
    );
    let holds = |placement: &Placement, node| {
        (0..64)
            .filter(|group| placement.members(GroupId(*group)).nodes().contains(&NodeId(node)))
            .count() as u64
    };
    assert_eq!(holds(&after, 6), moved, "it alone gets any");
    // The planner begins with it as soon as views have grown old enough.
    world.run(3_000);
    let learns = |state: &TopologyState| {
        let mut learners = state.groups().flat_map(|(_, group)| &group.learners);
        learners.any(|member| member.node == NodeId(6))
    };
    assert!(learns(world.state(1)), "it learns groups");
}

#[test]
fn a_node_whose_configuration_differs_from_what_joined_is_told_to_end() {
    let mut world = born();
    world.seat(1).controller.propose(&joined(sixth()));
    world.run(20);
    let moved = NodeSpec { port: 9_000, ..sixth() };
    let own = world.topology.grown(&[moved], &[]).unwrap();
    world.start_with(6, 1, own);
    world.run(500);
    let logged = Box::new(sixth());
    assert_eq!(world.seat(6).ends, [End::Differs { logged }]);
}

#[test]
fn a_node_leaves_once_it_is_down_and_nothing_should_be_on_it_any_more() {
    let mut world = born();
    let before = placement(&world, 1);
    world.seat(1).controller.propose(&joined(sixth()));
    world.run(20);
    let own = world.topology.grown(&[sixth()], &[]).unwrap();
    world.start_with(6, 1, own);
    world.run(500);
    world.seat(2).controller.propose(&left(6));
    world.run(20);
    assert_eq!(world.state(1).node(NodeId(6)).presence, Presence::Up, "it is there");
    world.kill(6);
    world.run(20);
    let free = |state: &TopologyState| {
        let names = |config: &Config| config.position(NodeId(6)).is_some();
        state.groups().all(|(_, group)| !names(&group.active))
    };
    assert!(free(world.state(1)), "nothing was copied to it yet");
    world.seat(2).controller.propose(&left(6));
    world.run(20);
    for node in 1..=5 {
        assert_eq!(
            world.state(node).node(NodeId(6)).presence,
            Presence::Left,
            "node {node}"
        );
        assert_eq!(world.seat(node).controller.topology().nodes().len(), 5);
    }
    let after = placement(&world, 1);
    let wants = |placement: &Placement, group: GroupId| {
        let mut nodes = placement.members(group).nodes().to_vec();
        nodes.sort_unstable();
        nodes
    };
    let groups = (0..64).map(GroupId);
    assert!(
        groups
            .into_iter()
            .all(|group| wants(&after, group) == wants(&before, group))
    );
    // Another process of it is not let in, and one that hears of that ends.
    let own = world.topology.grown(&[sixth()], &[]).unwrap();
    world.start_with(6, 2, own);
    world.run(500);
    assert_eq!(world.state(1).node(NodeId(6)).presence, Presence::Left);
    assert_eq!(world.seat(6).ends.first(), Some(&End::Left));
}
