//! Views that do not open, writers that do not reach, planners that do not hear.

use super::world::*;
use crate::ids::{GroupId, NodeId, View};
use crate::topology_log::{Entry, Proposal, Trouble, Why};

const GROUP: GroupId = GroupId(5);

/// What one planner proposes now for one group.
fn proposal(world: &mut World, seat: usize, group: GroupId) -> Option<Proposal> {
    let entries = world.ask(seat);
    let mut proposals = entries.into_iter().flat_map(|entry| match entry {
        Entry::Propose(proposals) => proposals,
        _ => Vec::new(),
    });
    proposals.find(|proposal| proposal.group == group)
}

fn members(world: &World) -> Vec<NodeId> {
    let active = &world.state.group(GROUP).unwrap().active;
    active.members.iter().map(|member| member.node).collect()
}

fn report(world: &mut World, trouble: Trouble) {
    let view = world.state.group(GROUP).unwrap().active.view;
    world.trouble.insert(GROUP, (view, trouble));
}

#[test]
fn a_pending_view_is_replaced_at_once_when_its_opener_dies() {
    let mut world = World::born(EIGHT, 1);
    let before = members(&world);
    world.kill(before[0]);
    world.rest(2 * STEP_MS);
    let pending = world.state.group(GROUP).unwrap().pending.clone().unwrap();
    assert_eq!(pending.writer().node, before[1], "the local follower opens");
    world.kill(before[1]);
    let proposal = proposal(&mut world, 0, GROUP).unwrap();
    assert_eq!((proposal.sees_active, proposal.sees_pending), (View(9), pending.view));
    assert_eq!(proposal.roll.members[0].node, before[2], "the next by the ring");
    world.settle();
    world.check();
}

#[test]
fn an_opener_without_progress_is_replaced_after_a_second_and_ten_round_trips_and_asked_last_from_then_on() {
    let mut world = World::born(EIGHT, 1);
    let before = members(&world);
    for node in &before[1..4] {
        let stuck = world.state.node(*node).incarnation;
        world.stuck.insert(crate::ids::Member {
            node: *node,
            incarnation: stuck,
        });
    }
    world.kill(before[0]);
    let mut openers = Vec::new();
    let mut since_ms = Vec::new();
    while world.state.group(GROUP).unwrap().active.view == View(9) {
        world.step();
        assert!(world.now_ms < 30_000, "nobody opens: {openers:?}");
        let group = world.state.group(GROUP).unwrap();
        let opener = group.pending.as_ref().unwrap_or(&group.active).writer().node;
        if openers.last() != Some(&opener) && opener != before[0] {
            openers.push(opener);
            since_ms.push(world.now_ms);
        }
    }
    assert_eq!(openers, before[1..], "each in its turn until one can");
    for pair in since_ms.windows(2) {
        // 1 s and 10 round trips of 40 ms, and the time until the copies of the newcomer have begun.
        assert!((1_400..1_600).contains(&(pair[1] - pair[0])), "{since_ms:?}");
    }
}

#[test]
fn a_stalled_writer_hands_over_to_one_that_reaches_the_others() {
    let mut world = World::born(EIGHT, 1);
    let nodes = members(&world);
    // The writer and its local follower reach only each other.
    for cut in [(0, 3), (0, 4), (1, 3), (1, 4), (0, 2), (1, 2)] {
        world.cuts.insert((nodes[cut.0], nodes[cut.1]));
    }
    assert_eq!(
        proposal(&mut world, 0, GROUP),
        None,
        "a cut alone says nothing about who works"
    );
    report(&mut world, Trouble::Stalled);
    let roll = proposal(&mut world, 0, GROUP).unwrap().roll;
    assert_eq!(roll.members[0].node, nodes[2]);
    assert_eq!(roll.members.len(), 5, "nobody is thrown out for being cut off");
    world.settle();
    world.rest(70_000);
    assert_eq!(
        world.counts.opened, 1,
        "nobody calls it home while it could not work there"
    );
    world.cuts.clear();
    world.settle();
    assert_eq!((world.counts.opened, members(&world)[0]), (2, nodes[0]));
}

#[test]
fn a_writer_that_stalled_is_not_called_home_for_a_minute_even_if_no_cut_is_known() {
    let mut world = World::born(EIGHT, 1);
    let nodes = members(&world);
    report(&mut world, Trouble::Stalled);
    world.rest(59_000);
    assert_eq!((world.counts.opened, members(&world)[0]), (1, nodes[1]));
    world.rest(3_000);
    assert_eq!((world.counts.opened, members(&world)[0]), (2, nodes[0]));
}

/// A member finds that it can no longer serve the group.
fn take_out(world: &mut World, node: NodeId) {
    let active = &world.state.group(GROUP).unwrap().active;
    let member = active.members.iter().find(|member| member.node == node);
    world.out_of_service.insert((GROUP, *member.unwrap()));
}

#[test]
fn a_member_out_of_service_is_replaced_at_once_and_comes_home_as_a_newcomer_a_minute_later() {
    for place in 0..5 {
        let mut world = World::born(EIGHT, 1);
        let before = members(&world);
        take_out(&mut world, before[place]);
        let due = proposal(&mut world, 0, GROUP).unwrap();
        assert_eq!(due.why, Why::OutOfService);
        let nodes: Vec<NodeId> = due.roll.members.iter().map(|member| member.node).collect();
        let stay: Vec<NodeId> = before.iter().copied().filter(|node| *node != before[place]).collect();
        assert_eq!(
            (nodes.len(), &nodes[..4]),
            (5, &stay[..]),
            "in the order in which they would write"
        );
        world.settle();
        assert!(world.out_of_service.is_empty(), "it dropped its copy");
        assert_eq!((world.counts.opened, world.counts.copies), (1, 1));
        assert!(!members(&world).contains(&before[place]), "not for a minute");
        world.rest(70_000);
        world.settle();
        assert_eq!(members(&world)[0], before[0]);
        assert!(members(&world).contains(&before[place]), "with a new copy");
        world.check();
    }
}

#[test]
fn where_nobody_can_take_its_place_a_member_out_of_service_leaves_and_comes_anew() {
    let mut world = World::born(FIVE, 1);
    let before = members(&world);
    take_out(&mut world, before[2]);
    let due = proposal(&mut world, 0, GROUP).unwrap();
    assert_eq!(
        (due.why, due.roll.members.len(), due.roll.write_quorum),
        (Why::OutOfService, 4, 3)
    );
    world.settle();
    assert!(world.out_of_service.is_empty(), "it dropped its copy");
    assert_eq!((world.counts.opened, world.counts.copies), (2, 1));
    let mut after = members(&world);
    after.sort_unstable();
    let mut all = before.clone();
    all.sort_unstable();
    assert_eq!((after, members(&world)[0]), (all, before[0]));
    world.check();
}

#[test]
fn of_three_nodes_none_leaves_for_being_out_of_service() {
    let mut world = World::born(THREE, 1);
    let before = members(&world);
    take_out(&mut world, before[1]);
    world.rest(5_000);
    assert_eq!((world.counts.opened, members(&world)), (0, before.clone()));
    take_out(&mut world, before[0]);
    world.rest(5_000);
    assert_eq!(
        (world.counts.opened, members(&world)),
        (0, before),
        "one alone opens nothing"
    );
}

#[test]
fn learners_that_do_not_come_on_are_let_go_and_the_group_rests() {
    let mut world = World::born(EIGHT, 1);
    let node = members(&world)[4];
    world.kill(node);
    world.settle();
    world.start(node);
    let learner = crate::ids::Member {
        node,
        incarnation: world.state.node(node).incarnation,
    };
    world.stuck.insert(learner);
    let pupils = |world: &World| {
        let groups = world.state.groups();
        let pupils =
            groups.filter(|(_, group)| group.learners.contains(&learner) && !group.active.members.contains(&learner));
        pupils.map(|(id, _)| id).collect::<Vec<GroupId>>()
    };
    world.rest(5_000);
    let first = pupils(&world);
    assert_eq!(first.len(), 4, "as many as may move at a time");
    // 10 s, ten round trips, and the time to begin: then others have their turn.
    world.rest(8_000);
    let second = pupils(&world);
    assert!(
        second.len() == 4 && first.iter().all(|group| !second.contains(group)),
        "{first:?} {second:?}"
    );
    world.stuck.clear();
    world.rest(40_000);
    let rests = |group: &GroupId| world.state.group(*group).unwrap().learners.is_empty();
    assert!(first.iter().all(rests), "they rest");
    world.rest(40_000);
    world.settle();
    world.check();
}

#[test]
fn a_member_that_was_outrun_gets_a_newer_view_of_the_same_members() {
    let mut world = World::born(EIGHT, 1);
    let before = world.state.group(GROUP).unwrap().active.clone();
    report(&mut world, Trouble::Outrun);
    world.settle();
    let after = &world.state.group(GROUP).unwrap().active;
    assert_eq!((world.counts.opened, world.counts.copies), (1, 0));
    assert_eq!((after.writer(), after.members.len()), (before.writer(), 5));
    assert!(before.members.iter().all(|member| after.members.contains(member)));
}

/// Of the 1,024 link patterns among five members the planner names a writer that reaches a write quorum wherever there is one: 998.
#[test]
fn in_every_link_pattern_the_new_writer_is_one_that_can_write() {
    let mut world = World::born(EIGHT, 1);
    let nodes = members(&world);
    let pairs: Vec<(usize, usize)> = (0..5).flat_map(|a| (a + 1..5).map(move |b| (a, b))).collect();
    let mut served = 0;
    for pattern in 0..1_024_u32 {
        let cut = |pair: usize| pattern >> pair & 1 == 1;
        let links = |member: usize| {
            let open = pairs
                .iter()
                .enumerate()
                .filter(|(pair, (a, b))| !cut(*pair) && (*a == member || *b == member));
            open.count()
        };
        let cuts = pairs.iter().enumerate().filter(|(pair, _)| cut(*pair));
        world.cuts = cuts.map(|(_, (a, b))| (nodes[*a], nodes[*b])).collect();
        world.elect(0);
        if links(0) >= 2 {
            served += 1;
            continue;
        }
        report(&mut world, Trouble::Stalled);
        let Some(proposal) = proposal(&mut world, 0, GROUP) else {
            panic!("a stalled group of five can always try another writer: {pattern:#b}");
        };
        let writer = nodes
            .iter()
            .position(|node| *node == proposal.roll.members[0].node)
            .unwrap();
        assert!(
            links(writer) >= 2 || (0..5).all(|member| links(member) < 2),
            "{pattern:#b}"
        );
        served += u32::from(links(writer) >= 2);
    }
    assert_eq!(served, 998);
}

#[test]
fn who_hears_no_read_quorum_of_a_group_proposes_nothing_for_it() {
    let mut world = World::born(EIGHT, 2);
    let nodes = members(&world);
    world.deafen(0, nodes[2..].iter().copied());
    world.deafen(1, nodes[3..].iter().copied());
    world.kill(nodes[0]);
    assert_eq!(proposal(&mut world, 0, GROUP), None, "it hears one of five");
    assert_eq!(proposal(&mut world, 1, GROUP), None, "it hears two");
    world.deafen(1, [nodes[4]]);
    assert!(proposal(&mut world, 1, GROUP).is_some(), "it hears three");
}

#[test]
fn a_newcomer_is_somebody_that_the_planner_hears() {
    let mut world = World::born(FULL, 1);
    let nodes = members(&world);
    let strangers = world
        .nodes()
        .into_iter()
        .filter(|node| !nodes.contains(node) && node.0 % 2 == 0);
    let strangers: Vec<NodeId> = strangers.collect();
    world.deafen(0, strangers.clone());
    world.kill(nodes[4]);
    let roll = proposal(&mut world, 0, GROUP).unwrap().roll;
    assert_eq!(roll.members.len(), 5);
    assert!(roll.members.iter().all(|member| !strangers.contains(&member.node)));
}

/// Two are left of three, and three empty processes are there: five members would need one of those for an ack, three do not.
#[test]
fn a_config_never_needs_a_newcomer_to_open() {
    let mut world = World::born(FIVE, 1);
    let nodes = members(&world);
    nodes[..2].iter().for_each(|node| world.kill(*node));
    world.settle();
    assert_eq!(members(&world).len(), 3);
    let writer = members(&world)[0];
    for node in [writer, nodes[0], nodes[1]] {
        world.start(node);
    }
    let roll = proposal(&mut world, 0, GROUP).unwrap().roll;
    assert_eq!((roll.members.len(), roll.write_quorum, roll.read_quorum), (3, 2, 2));
    assert!(
        roll.members[..2]
            .iter()
            .all(|member| nodes[2..].contains(&member.node) && member.node != writer)
    );
    world.settle();
    world.check();
    assert_eq!(members(&world).len(), 5, "it grows when the first have their copies");
}

#[test]
fn a_lost_group_is_left_to_the_operator() {
    let mut world = World::born(FIVE, 1);
    let nodes = members(&world);
    nodes[..3].iter().for_each(|node| world.start(*node));
    assert!(world.state.is_lost(GROUP));
    assert_eq!(world.ask(0), []);
    world.settle();
    assert_eq!(world.counts.proposed, 0);
}

#[test]
fn what_is_on_its_way_is_not_asked_again_until_it_must_be_lost() {
    let mut world = World::born(EIGHT, 1);
    let node = members(&world)[0];
    world.kill(node);
    let asked = proposal(&mut world, 0, GROUP);
    assert!(asked.is_some());
    // Twice the round trip is 80 ms, and it is given 100 ms and four.
    world.now_ms += 250;
    assert_eq!(world.ask(0), []);
    world.now_ms += 20;
    assert_eq!(proposal(&mut world, 0, GROUP), asked);
}

#[test]
fn four_copies_before_an_ack_are_kept_where_there_are_five_members() {
    use crate::topology_log::{Limits, Planner};
    let mut world = World::born(EIGHT, 1);
    let node = members(&world)[4];
    let limits = Limits {
        write_quorum_of_five: 4,
        ..Limits::default()
    };
    let mut planner = Planner::new(world.topology.clone(), world.placement.clone(), limits);
    world.kill(node);
    let seen = world.seen(0);
    let entries = planner.plan(world.now_ms, &world.state, &seen);
    let Entry::Propose(proposals) = &entries[0] else {
        panic!("{entries:?}");
    };
    let quorums = |proposal: &Proposal| {
        (
            proposal.roll.members.len(),
            proposal.roll.write_quorum,
            proposal.roll.read_quorum,
        )
    };
    assert!(proposals.iter().all(|proposal| quorums(proposal) == (5, 4, 2)));
}
