//! The twelfth figure: what finding the members of a group costs, how evenly groups lie on nodes, and how many copies a change moves.
//!
//! It needs no cluster: placements are values.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use waterpark_ring::{ClusterId, GroupId, NodeId, NodeSpec, Placement, Topology, TopologySpec};

use super::Taken;
use super::part::Part;
use crate::report::per;
use crate::run::Verdict;

/// Nodes of each zone; there are two zones in each of four data centres.
const NODES_OF_A_ZONE: u16 = 4;
/// Shards of each node.
const SHARDS: u16 = 16;
/// Look-ups that are timed together.
const LOOKUPS: u32 = 2_000_000;
/// How often they are.
const LOOPS: usize = 21;
/// From one group to the next that is looked up. It is odd, so that all groups are visited, and far enough that none is in the cache line of the
/// one before.
const STEP: u32 = 7_919;

/// Computes and times placements.
pub(super) fn measure() -> Taken {
    let whole = topology(NODES_OF_A_ZONE);
    let birth = whole.birth();
    let mut less = whole.spec().clone();
    less.nodes.remove(0);
    let less = Topology::new(less).expect("a node less is well-formed");
    let after_leave = Placement::place(Some(birth), &less).expect("the same cluster and groups");
    let after_join = Placement::place(Some(&after_leave), &whole).expect("the same cluster and groups");

    // While a data centre is a node short, each of its nodes has to hold more than one elsewhere: that says nothing of how even a placement is.
    let gone = whole.nodes()[0].id;
    let must_leave = held(birth).get(&gone).map_or(0, |held| held.copies);
    let left = moved(&after_leave, birth, must_leave);
    // Whoever joins takes over as many copies as it holds then.
    let must_join = held(&after_join).get(&gone).map_or(0, |held| held.copies);
    let joined = moved(&after_join, &after_leave, must_join);

    let values = vec![
        (Part::Lookup, lookup_ns(birth)),
        (Part::Balance, unevenness(birth).max(unevenness(&after_join))),
        (Part::Movement, left.max(joined)),
    ];
    Taken::of(Verdict::Ok, values)
}

/// Nodes in two zones of four data centres: with four in each zone 32, with 16,384 groups.
fn topology(of_a_zone: u16) -> Topology {
    let names = ["FL", "TN", "TX", "UT"].into_iter().flat_map(|dc| {
        let zones = ["A", "B"].into_iter();
        zones.flat_map(move |zone| (1..=of_a_zone).map(move |number| format!("{dc}-{zone}-{number}")))
    });
    let node = |(id, name): (u16, String)| NodeSpec {
        id: NodeId(id),
        name,
        host: "127.0.0.1".to_owned(),
        port: 7_000 + 256 * id,
        shards: SHARDS,
    };
    let spec = TopologySpec::new(ClusterId([7; 16]), (1..).zip(names).map(node).collect());
    Topology::new(spec).expect("names and ports are well-formed")
}

/// What a node holds of a placement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Held {
    copies: u64,
    written: u64,
}

fn held(placement: &Placement) -> BTreeMap<NodeId, Held> {
    let mut held: BTreeMap<NodeId, Held> = BTreeMap::new();
    for slot in placement.table().slots() {
        for node in slot.nodes() {
            held.entry(*node).or_default().copies += 1;
        }
        held.entry(slot.writer()).or_default().written += 1;
    }
    held
}

/// The most that a node holds by what nodes hold on average, of copies or of groups that it writes, whichever is more. Where the mean is no
/// whole number, a node cannot hold less than the next one: what is beyond that counts.
fn unevenness(placement: &Placement) -> f64 {
    let held = held(placement);
    let nodes = held.len() as u64;
    let of = |count: fn(&Held) -> u64| {
        let sum: u64 = held.values().map(count).sum();
        let most = held.values().map(count).max().unwrap_or(0);
        if most <= sum.div_ceil(nodes.max(1)) {
            return 1.0;
        }
        per(most * nodes, sum)
    };
    of(|held| held.copies).max(of(|held| held.written))
}

/// Copies that came to other nodes, by the fewest that had to.
fn moved(now: &Placement, before: &Placement, fewest: u64) -> f64 {
    per(now.movement_since(before).members, fewest)
}

/// One look-up of all members of a group, in ns, its loop and the reading of all ids included: the median of many loops.
fn lookup_ns(placement: &Placement) -> f64 {
    let groups = placement.table().groups();
    let mut group = 0;
    let mut one_loop = || {
        let begun = Instant::now();
        let mut sum = 0_u64;
        for _ in 0..LOOKUPS {
            group = (group + STEP) % groups;
            for node in placement.members(black_box(GroupId(group))).nodes() {
                sum += u64::from(node.0);
            }
        }
        black_box(sum);
        begun.elapsed().as_secs_f64() * 1e9 / f64::from(LOOKUPS)
    };
    let mut loops: Vec<f64> = (0..LOOPS).map(|_| one_loop()).collect();
    loops.sort_by(f64::total_cmp);
    loops[LOOPS / 2]
}

#[cfg(test)]
mod tests {
    use waterpark_ring::Slot;

    use super::*;

    fn recorded(whole: &Topology, slots: Vec<Slot>) -> Placement {
        Placement::recorded(whole.spec().cluster, slots).unwrap()
    }

    #[test]
    fn a_placement_that_puts_all_on_few_nodes_is_uneven_and_one_that_moves_all_moves_too_much() {
        let whole = topology(1);
        let birth = whole.birth();
        assert!(unevenness(birth) < 1.5, "{}", unevenness(birth));
        let (groups, copies) = (birth.table().groups(), birth.members(GroupId(0)).nodes().len());
        assert_eq!(
            held(birth).values().map(|held| held.written).sum::<u64>(),
            u64::from(groups)
        );

        // Every group is written where group 0 is: so one node of eight writes all.
        let one = *birth.members(GroupId(0));
        let lopsided = recorded(&whole, vec![one; groups as usize]);
        assert!(unevenness(&lopsided) >= copies as f64, "{}", unevenness(&lopsided));
        let must = held(birth)[&whole.nodes()[0].id].copies;
        assert!(moved(&lopsided, birth, must) > 1.05);
        assert_eq!(moved(birth, birth, must), 0.0);
    }

    #[test]
    fn a_loop_takes_time() {
        assert!(lookup_ns(topology(1).birth()) > 0.01);
    }
}
