//! Which groups should move between the shards of a node, so that none has much more to do than the others.
//!
//! Pure calculation on what was measured. What an entry costs is fitted over all shards: a shard that does nothing costs something too, and that
//! does not move. **Invariant:** a plan names each group once, none that is held where it is, and leaves no shard busier than the busiest was.

use super::load::{FOLLOWED_BY_WRITTEN, GroupLoad, NodeLoad, ShardLoad};

/// A move, or two groups that change places, has to take so much of the mean off the busiest shard.
const GAIN_MIN: f64 = 0.005;

/// What a plan may do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aim {
    /// Nothing is moved where the busiest shard has less than this of the mean, and no more than it takes to come below it.
    pub(super) goal: f64,
    /// Groups that are moved at most, on one node.
    pub(super) moves_max: usize,
}

/// One group that should move.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Moving {
    pub(super) group: u32,
    pub(super) from: u16,
    pub(super) to: u16,
    /// What it costs, of a core.
    pub(super) cpu: f64,
}

/// What should be done on one node, and what comes of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) node: String,
    pub(super) moves: Vec<Moving>,
    /// What each shard does, of a core.
    pub(super) before: Vec<f64>,
    /// And would do.
    pub(super) after: Vec<f64>,
}

impl Plan {
    /// The busiest shard by the mean, before and after.
    pub(super) fn imbalance(&self) -> (f64, f64) {
        (imbalance(&self.before), imbalance(&self.after))
    }
}

fn imbalance(loads: &[f64]) -> f64 {
    let sum: f64 = loads.iter().sum();
    let most = loads.iter().copied().fold(0.0, f64::max);
    if sum > 0.0 { most * count_of(loads) / sum } else { 1.0 }
}

#[expect(clippy::cast_precision_loss, reason = "shards are counted in 16 bits")]
fn count_of<T>(list: &[T]) -> f64 {
    list.len() as f64
}

fn work_of(group: &GroupLoad) -> f64 {
    group.entries_per_s * if group.writes { 1.0 } else { FOLLOWED_BY_WRITTEN }
}

fn work(shard: &ShardLoad) -> f64 {
    shard.groups.iter().map(work_of).sum()
}

/// What one written entry a second costs of a core: the slope of a line through all shards, by least squares. What shards cost without any is
/// never less than nothing. 0 where nothing is done.
pub(super) fn cost_of_entry<'a>(shards: impl Iterator<Item = &'a ShardLoad>) -> f64 {
    let points: Vec<(f64, f64)> = shards.map(|shard| (work(shard), shard.cpu)).collect();
    let count = count_of(&points).max(1.0);
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let across: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let along: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    let through_nothing = if x > 0.0 { y / x } else { 0.0 };
    let slope = if along > 0.0 { across / along } else { through_nothing };
    slope.clamp(0.0, through_nothing)
}

/// What should be done on a node.
pub(super) fn plan_of(node: &NodeLoad, cost: f64, is_held: impl Fn(u32) -> bool, aim: Aim) -> Plan {
    let before: Vec<f64> = node.shards.iter().map(|shard| shard.cpu).collect();
    let mut plan = Plan {
        node: node.name.clone(),
        moves: Vec::new(),
        after: before.clone(),
        before,
    };
    let movable = |shard: &ShardLoad| -> Vec<(u32, f64)> {
        let free = shard.groups.iter().filter(|group| !is_held(group.group));
        let costs = free.map(|group| (group.group, work_of(group) * cost));
        costs.filter(|(_, cpu)| *cpu > 0.0).collect()
    };
    let mut groups: Vec<Vec<(u32, f64)>> = node.shards.iter().map(movable).collect();
    while imbalance(&plan.after) >= aim.goal && plan.moves.len() < aim.moves_max {
        let Some(step) = best_step(&plan.after, &groups, aim.moves_max - plan.moves.len()) else {
            break;
        };
        for (from, to, at) in step {
            // Who has moved stays, so a plan ends.
            let (group, cpu) = groups[from].remove(at);
            plan.after[from] -= cpu;
            plan.after[to] += cpu;
            plan.moves.push(Moving {
                group,
                from: node.shards[from].shard,
                to: node.shards[to].shard,
                cpu,
            });
        }
    }
    plan
}

/// One group from the busiest shard to the idlest, or two that change places, whatever leaves the busier of both with least: the moves, each from
/// where, to where, and its place in the list there.
fn best_step(loads: &[f64], groups: &[Vec<(u32, f64)>], left: usize) -> Option<Vec<(usize, usize, usize)>> {
    let by_load = |a: &usize, b: &usize| loads[*a].total_cmp(&loads[*b]);
    let from = (0..loads.len()).max_by(by_load)?;
    let to = (0..loads.len()).min_by(by_load)?;
    let gap = loads[from] - loads[to];
    let mean = loads.iter().sum::<f64>() / count_of(loads);
    let gain = |moved: f64| moved.min(gap - moved);
    let mut best = (mean * GAIN_MIN, None);
    for (at, (_, cpu)) in groups[from].iter().enumerate() {
        if gain(*cpu) > best.0 {
            best = (gain(*cpu), Some(vec![(from, to, at)]));
        }
        for (back, (_, other)) in groups[to].iter().enumerate().filter(|_| left >= 2) {
            // Two moves have to be worth more than one.
            if gain(cpu - other) > best.0 * 1.2 {
                best = (gain(cpu - other), Some(vec![(from, to, at), (to, from, back)]));
            }
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: f64 = 2e-5;
    const AIM: Aim = Aim {
        goal: 1.1,
        moves_max: 1_000,
    };

    /// Shards that write these entries a second, group by group, and cost a twentieth of a core besides.
    fn node(shards: &[&[f64]]) -> NodeLoad {
        let mut next = 0..;
        let mut group = |entries: &f64| GroupLoad {
            group: next.next().expect("without end"),
            writes: true,
            entries_per_s: *entries,
            bytes_per_s: 0.0,
            cpu: 0.0,
        };
        let mut shard = |(number, entries): (u16, &&[f64])| ShardLoad {
            shard: number,
            core: None,
            cpu: 0.05 + entries.iter().sum::<f64>() * COST,
            written_per_s: 0.0,
            followed_per_s: 0.0,
            bytes_per_s: 0.0,
            crossed_per_s: 0.0,
            groups: entries.iter().map(&mut group).collect(),
        };
        NodeLoad {
            name: "FL-A-1".to_owned(),
            host: "127.0.0.1".to_owned(),
            shards: (0..).zip(shards).map(&mut shard).collect(),
        }
    }

    fn carried_out(node: &NodeLoad, plan: &Plan) -> NodeLoad {
        let mut node = node.clone();
        for one in &plan.moves {
            let from = &mut node.shards[usize::from(one.from)];
            let at = from.groups.iter().position(|group| group.group == one.group).unwrap();
            let group = from.groups.remove(at);
            from.cpu -= one.cpu;
            let to = &mut node.shards[usize::from(one.to)];
            to.cpu += one.cpu;
            to.groups.push(group);
        }
        node
    }

    #[test]
    fn what_an_entry_costs_is_told_from_what_a_shard_costs_anyway() {
        let node = node(&[&[10_000.0, 4_000.0], &[1_000.0], &[]]);
        assert!((cost_of_entry(node.shards.iter()) - COST).abs() < 1e-9);
        // Shards that all do as much say nothing of it: then all of it is the entries'.
        let even = super::tests::node(&[&[10_000.0], &[10_000.0]]);
        assert!((cost_of_entry(even.shards.iter()) - 0.25 / 10_000.0).abs() < 1e-9);
        assert_eq!(cost_of_entry(super::tests::node(&[&[], &[]]).shards.iter()), 0.0);
    }

    #[test]
    fn one_move_does_where_one_is_enough_and_two_groups_change_places_where_none_fits() {
        let plan = plan_of(&node(&[&[9_000.0, 5_000.0], &[4_000.0]]), COST, |_| false, AIM);
        let moves: Vec<(u32, u16, u16)> = plan.moves.iter().map(|one| (one.group, one.from, one.to)).collect();
        assert_eq!(moves, [(1, 0, 1)]);
        let plan = plan_of(&node(&[&[9_000.0, 9_000.0], &[6_000.0, 6_000.0]]), COST, |_| false, AIM);
        assert_eq!(plan.moves.len(), 2, "{plan:?}");
        assert!(plan.imbalance().1 < 1.01);
    }

    #[test]
    fn who_is_held_stays_and_a_node_that_is_even_or_has_one_shard_is_left_alone() {
        let skewed = node(&[&[9_000.0, 5_000.0], &[4_000.0]]);
        assert!(plan_of(&skewed, COST, |group| group < 2, AIM).moves.is_empty());
        for even in [&[&[9_000.0][..], &[8_900.0]][..], &[&[9_000.0]], &[]] {
            assert!(plan_of(&node(even), COST, |_| false, AIM).moves.is_empty());
        }
    }

    #[test]
    fn plans_of_all_kinds_keep_the_sum_never_make_the_busiest_busier_and_are_done_when_they_are_carried_out() {
        let mut word = 7_u64;
        let mut draw = |below: u64| {
            word = word
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (word >> 33) % below
        };
        let mut even = 0;
        for _ in 0..500 {
            let shards: Vec<Vec<f64>> = (0..2 + draw(7))
                .map(|_| {
                    let count = draw(40);
                    // A few groups have most of the load.
                    (0..count)
                        .map(|_| 20_000.0 / f64::from(u32::try_from(1 + draw(60)).unwrap()))
                        .collect()
                })
                .collect();
            let all: Vec<&[f64]> = shards.iter().map(Vec::as_slice).collect();
            let node = node(&all);
            let held = draw(5);
            let is_held = |group: u32| u64::from(group) % 5 == held;
            let plan = plan_of(&node, COST, is_held, AIM);
            let sum = |loads: &[f64]| loads.iter().sum::<f64>();
            assert!((sum(&plan.before) - sum(&plan.after)).abs() < 1e-9);
            let (before, after) = plan.imbalance();
            assert!(after <= before + 1e-9, "{before} to {after}");
            let mut moved: Vec<u32> = plan.moves.iter().map(|one| one.group).collect();
            moved.sort_unstable();
            moved.dedup();
            assert_eq!(moved.len(), plan.moves.len(), "each once");
            assert!(!moved.into_iter().any(is_held));
            if after < AIM.goal {
                even += 1;
                let again = plan_of(&carried_out(&node, &plan), COST, is_held, AIM);
                assert!(again.moves.is_empty(), "{again:?}");
            }
        }
        assert!(even > 300, "{even} of 500 became even");
    }

    #[test]
    fn a_plan_moves_no_more_than_it_may() {
        let many = vec![500.0; 40];
        let node = node(&[&many, &[], &[]]);
        let aim = Aim { moves_max: 5, ..AIM };
        assert_eq!(plan_of(&node, COST, |_| false, aim).moves.len(), 5);
    }
}
