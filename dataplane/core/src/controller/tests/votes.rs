//! Votes that are handed on, files that are begun anew, and nodes that learn by a state.

use super::*;
use crate::topology_log::WhyVoters;

const REPLACE_MS: u64 = 2_000;

fn votes() -> VoteLimits {
    VoteLimits {
        replace_ms: REPLACE_MS,
        ..VoteLimits::default()
    }
}

fn born_with(votes: VoteLimits) -> World {
    let mut world = World::with(64, votes);
    world.run(1_000);
    world
}

/// Only those that vote are left.
fn voters_alone() -> World {
    let mut world = born_with(votes());
    world.kill(4);
    world.kill(5);
    world
}

/// The nodes that vote, as every node has it.
fn voting(world: &World) -> Vec<u16> {
    let mut said: Vec<Vec<NodeId>> = Vec::new();
    for (_, seat) in world.seats.values() {
        said.push(seat.controller.voters().to_vec());
    }
    said.dedup();
    assert_eq!(said.len(), 1, "all nodes know the same: {said:?}");
    let voters = said.remove(0);
    for (member, seat) in world.seats.values() {
        let votes = voters.contains(&member.node);
        assert!(votes || !seat.controller.is_voter(), "{member:?} votes no more");
    }
    voters.into_iter().map(|node| node.0).collect()
}

fn changes(world: &mut World, node: u16) -> Vec<WhyVoters> {
    let why = |(_, entry): &(u64, Entry)| match entry {
        Entry::VotersChanged { why, .. } => Some(*why),
        _ => None,
    };
    world.seat(node).decided.iter().filter_map(why).collect()
}

/// Something new is decided, and all know it.
fn goes_on(world: &mut World, asked: u16) {
    let about = *world.seats.keys().next_back().unwrap();
    let nodes: Vec<u16> = world.seats.keys().map(|node| node.0).collect();
    let steps = [
        (Entry::NodeDraining(about), Presence::Draining),
        (Entry::NodeUndraining(about), Presence::Up),
    ];
    for (entry, presence) in steps {
        // The voters may have just begun anew, and have no leader yet.
        for _ in 0..20 {
            world.seat(asked).controller.propose(&entry);
            world.run(20);
        }
        for node in &nodes {
            assert_eq!(world.state(*node).node(about).presence, presence, "node {node}");
        }
    }
}

#[test]
fn a_voter_that_is_not_heard_is_replaced_in_time_and_never_while_a_view_is_pending() {
    let mut world = born_with(votes());
    world.kill(3);
    world.run(REPLACE_MS + 1_000);
    let has_pending = |world: &World| world.state(1).groups().any(|(_, group)| group.pending.is_some());
    assert!(has_pending(&world));
    assert_eq!(voting(&world), [1, 2, 3], "views are pending");

    world.run_with_openers(1_000);
    // Of the two that do not vote it is the one with a data centre of its own: all others stand in three.
    assert_eq!(voting(&world), [1, 2, 4]);
    assert_eq!(changes(&mut world, 5), [WhyVoters::Lost]);
    assert!(world.seat(4).controller.is_voter());

    // One of three may fail again, and with it the last but one of the first voters.
    world.kill(2);
    goes_on(&mut world, 5);
    world.run_with_openers(REPLACE_MS + 1_000);
    assert_eq!(voting(&world), [1, 4, 5]);
    goes_on(&mut world, 4);

    // Whoever was replaced and lost its file learns, and its vote is another's.
    world.start(3, 2);
    world.run(500);
    assert!(!world.seat(3).controller.is_voter() && world.seat(3).ends.is_empty());
    assert_eq!(voting(&world), [1, 4, 5]);
}

#[test]
fn a_voter_that_nobody_can_stand_in_for_keeps_its_vote() {
    let mut world = voters_alone();
    world.kill(3);
    world.run_with_openers(REPLACE_MS + 1_000);
    assert_eq!(voting(&world), [1, 2, 3]);
    // The first that is there again has it.
    world.start(4, 2);
    world.run_with_openers(1_000);
    assert_eq!(voting(&world), [1, 2, 4]);
}

#[test]
fn a_voter_that_lost_its_file_is_given_a_vote_anew_where_nobody_else_is() {
    let mut world = voters_alone();
    world.run_with_openers(1_000);
    world.kill(3);
    world.start(3, 2);
    world.run_with_openers(REPLACE_MS + 1_000);
    assert_eq!(voting(&world), [1, 2, 3], "by another id");
    assert_eq!(changes(&mut world, 1), [WhyVoters::Lost]);
    assert!(world.seat(3).controller.is_voter());
}

#[test]
fn a_voter_that_lost_its_file_is_told_at_once_what_is_decided() {
    let mut world = born_with(VoteLimits::default());
    let leader = (1..=3).find(|node| world.seat(*node).controller.is_leader()).unwrap();
    let voter = leader % 3 + 1;
    world.kill(voter);
    world.start(voter, 2);
    world.run(1_000);
    let before = world.state(leader).position();
    world.kill(5);
    for _ in 0..10 {
        world.run(5);
        assert_eq!(world.state(voter).position(), world.state(leader).position());
    }
    assert!(world.state(leader).position() > before);
    assert!(!world.seat(voter).controller.is_voter());
}

#[test]
fn a_voter_leaves_at_once_when_another_has_its_vote() {
    let mut world = born_with(VoteLimits::default());
    world.seat(1).controller.propose(&joined(sixth()));
    world.run(20);
    let own = world.topology.grown(&[sixth()], &[]).unwrap();
    world.start_with(6, 1, own);
    world.run(500);
    world.kill(3);
    world.run_with_openers(3_000);
    assert_eq!(voting(&world), [1, 2, 3], "a minute is not over");
    for _ in 0..10 {
        world.seat(5).controller.propose(&left(3));
        world.run_with_openers(300);
    }
    assert_eq!(voting(&world), [1, 2, 4]);
    assert_eq!(changes(&mut world, 1), [WhyVoters::Leaves]);
    for node in [1, 2, 4, 5, 6] {
        assert_eq!(
            world.state(node).node(NodeId(3)).presence,
            Presence::Left,
            "node {node}"
        );
    }
    goes_on(&mut world, 5);
}

#[test]
fn who_votes_is_proposed_by_nobody_but_the_leader() {
    let mut world = born();
    let entry = Entry::VotersChanged {
        configuration: 2,
        voters: vec![crate::topology_log::Voter {
            id: VoterId(9),
            node: NodeId(5),
            since: 2,
            incarnation: Incarnation(1),
        }],
        why: WhyVoters::Lost,
    };
    for node in 1..=5 {
        world.seat(node).controller.propose(&entry);
        world.run(200);
    }
    assert_eq!(voting(&world), [1, 2, 3]);
    assert_eq!(changes(&mut world, 1), []);
}

#[test]
fn a_file_that_is_long_is_begun_anew_by_the_same_voters() {
    let trim_bytes = 1_000;
    let mut world = born_with(VoteLimits {
        trim_bytes,
        ..VoteLimits::default()
    });
    for _ in 0..40 {
        goes_on(&mut world, 5);
    }
    assert_eq!(voting(&world), [1, 2, 3]);
    let changes = changes(&mut world, 1);
    assert!(
        changes.len() > 3 && changes.iter().all(|why| *why == WhyVoters::Trim),
        "{changes:?}"
    );
    for node in 1..=3 {
        let bytes = world.seat(node).controller.seat.as_ref().unwrap().record_bytes();
        assert!(bytes < 2 * trim_bytes, "node {node}: {bytes} bytes");
    }
}

#[test]
fn who_is_behind_all_that_is_kept_learns_by_a_state_in_parts_and_goes_on_with_entries() {
    let mut world = World::with(16_384, VoteLimits::default());
    world.run(2_000);
    world.kill(5);
    world.run(100);
    let next = world.state(1).position() + 1;
    for (_, seat) in world.seats.values_mut() {
        seat.controller.tail = Tail::new(next, TAIL_BYTES_MAX);
    }
    assert!(world.state(1).encode().len() > 1 << 20, "it takes several messages");
    world.start(5, 2);
    world.run(1_000);
    assert_eq!(world.seat(5).states, 1);
    assert_eq!(world.state(5), world.state(1));
    assert!(world.seat(5).decided.iter().all(|(position, _)| *position >= next));
    assert_eq!(world.state(1).node(NodeId(5)).incarnation, Incarnation(2), "it is up");
}
