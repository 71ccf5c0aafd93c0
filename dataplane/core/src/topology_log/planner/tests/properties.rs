//! Properties over random histories: from whatever faults left behind, planning comes to rest, and where it rests is right.

use super::world::*;
use crate::ids::NodeId;

/// Knuth's MMIX generator; its high bits are good enough to draw faults.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

/// A random history of faults, some of them before the ones before are repaired.
fn harm(world: &mut World, random: &mut Lcg, faults: usize) {
    for _ in 0..faults {
        let nodes = world.nodes();
        let node = nodes[random.below(nodes.len())];
        match random.below(10) {
            0..3 => world.kill(node),
            3..5 => world.start(node),
            5 => world.come_back(node),
            6 => world.drain(node),
            7 => world.elect(0),
            8 => {
                let place = world.place(node);
                let zone = format!("{}-{}-", place.0, place.1);
                world.nodes_of(&zone).into_iter().for_each(|node| world.kill(node));
            }
            _ => {
                let dead: Vec<NodeId> = nodes
                    .into_iter()
                    .filter(|node| !world.may_have_members(*node))
                    .collect();
                dead.into_iter().for_each(|node| world.come_back(node));
            }
        }
        let pause = [0, 50, 100, 200, 500, 1_000, 3_000, 8_000][random.below(8)];
        world.rest(pause);
    }
}

fn all_return(world: &mut World) {
    for node in world.nodes() {
        if !world.may_have_members(node) {
            world.come_back(node);
        }
    }
}

#[test]
fn from_any_history_planning_comes_to_rest_and_rests_where_it_should() {
    let (mut most_entries, mut most_changes, mut longest_ms) = (0, 0, 0);
    for seed in 0..60 {
        let mut random = Lcg(seed);
        let shape = SHAPES[random.below(SHAPES.len())];
        let mut world = World::born(shape, 1);
        let faults = 1 + random.below(12);
        harm(&mut world, &mut random, faults);
        // From here on nothing changes from outside.
        world.forget_counts();
        let took_ms = world.settle();
        world.check();
        world.check_pace(&format!("seed {seed}"));
        most_entries = most_entries.max(world.counts.entries);
        most_changes = most_changes.max(*world.proposed.iter().max().unwrap());
        longest_ms = longest_ms.max(took_ms);

        all_return(&mut world);
        world.forget_counts();
        let lacking = world.copies_lacking();
        world.settle();
        world.check();
        let copies = world.counts.copies;
        assert!(
            copies * 100 <= lacking * 105,
            "seed {seed}: {copies} copies for {lacking}"
        );
        for (id, group) in world.state.groups().filter(|(id, _)| !world.state.is_lost(*id)) {
            let mut members: Vec<NodeId> = group.active.members.iter().map(|member| member.node).collect();
            let mut of_ring = world.placement.members(id).nodes().to_vec();
            assert_eq!(members[0], of_ring[0], "seed {seed}: {id}");
            members.sort_unstable();
            of_ring.sort_unstable();
            assert_eq!(members, of_ring, "seed {seed}: {id}");
        }
    }
    // What was pending, its repair, its growth, its move home.
    assert!(most_changes <= 4, "{most_changes} proposals for one group");
    assert!(most_entries <= 4 * 128, "{most_entries} entries");
    assert!(longest_ms <= 60_000, "{longest_ms} ms");
}

/// A second planner comes when the harm is done. It sees the same, or there is a node that one of the two does not hear. The log takes what it
/// takes from one, and at most one proposal more for a group.
#[test]
fn two_planners_do_not_take_turns() {
    for seed in 0..40 {
        let run = |second: bool, deaf: Option<usize>| {
            let mut random = Lcg(seed);
            let mut world = World::born(SHAPES[random.below(SHAPES.len())], 1);
            let faults = 1 + random.below(8);
            harm(&mut world, &mut random, faults);
            if second {
                world.join();
            }
            if let Some(seat) = deaf {
                let nodes = world.nodes();
                world.deafen(seat, [nodes[random.below(nodes.len())]]);
            }
            let mut proposed = Vec::new();
            for round in 0..2 {
                world.forget_counts();
                world.settle();
                world.check();
                world.check_pace(&format!(
                    "seed {seed}, second planner {second}, deaf {deaf:?}, round {round}"
                ));
                proposed.push(world.proposed.clone());
                all_return(&mut world);
            }
            proposed
        };
        let one = run(false, None);
        for deaf in [None, Some(0), Some(1)] {
            let two = run(true, deaf);
            for (round, (one, two)) in one.iter().zip(&two).enumerate() {
                for (group, (one, two)) in one.iter().zip(two).enumerate() {
                    assert!(
                        *two <= *one + 1,
                        "seed {seed}, deaf {deaf:?}, round {round}: {two} proposals for group {group}, not {one}"
                    );
                }
            }
        }
    }
}

/// Equal states, sights and ages give equal entries.
#[test]
fn a_history_gives_the_same_log_each_time() {
    let run = || {
        let mut random = Lcg(11);
        let mut world = World::born(EIGHT, 2);
        harm(&mut world, &mut random, 12);
        world.settle();
        (world.counts, world.now_ms, world.state)
    };
    assert_eq!(run(), run());
}
