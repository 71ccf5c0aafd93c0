//! What was measured as the figures from which moves between shards are planned, and the plan in the words of the command.
//!
//! Pure calculation; the plan itself is [`seat_plan`]'s. What an entry costs is fitted over all shards: a shard that does nothing costs something
//! too, and that does not move. **Invariant:** the groups of a shard never cost more than it does.

use waterpark_core::ids::GroupId;
use waterpark_core::seat_plan::{self, GroupWork, Rule, SeatMove, ShardWork};

use super::load::{FOLLOWED_BY_WRITTEN, GroupLoad, NodeLoad, ShardLoad};

/// What a plan may do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aim {
    /// Nothing is moved where the busiest shard has this of the mean at most. Where it has more, moves go half as far above the mean.
    pub(super) goal: f64,
    /// Groups that are moved at most, on one node.
    pub(super) moves_max: usize,
}

impl Aim {
    fn rule(self) -> Rule {
        Rule {
            moves_max: self.moves_max,
            bound: self.goal,
            goal: f64::midpoint(1.0, self.goal),
            ..Rule::default()
        }
    }
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
    imbalance: (f64, f64),
}

impl Plan {
    /// The busiest shard by the mean, before and after.
    pub(super) fn imbalance(&self) -> (f64, f64) {
        self.imbalance
    }
}

#[expect(clippy::cast_precision_loss, reason = "shards are counted in 16 bits")]
fn count_of<T>(list: &[T]) -> f64 {
    list.len() as f64
}

/// What an entry a second costs of a core.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cost {
    /// One that is written.
    pub(super) written: f64,
    /// One that is followed.
    pub(super) followed: f64,
}

impl Cost {
    fn of_group(self, group: &GroupLoad) -> f64 {
        group.entries_per_s * if group.writes { self.written } else { self.followed }
    }

    fn of_shard(self, shard: &ShardLoad) -> f64 {
        shard.groups.iter().map(|group| self.of_group(group)).sum()
    }
}

/// What entries cost, by least squares over the differences between shards of one node: what a shard or its node costs besides falls out of them.
/// Where shards differ in too few ways to tell, one that is followed costs the usual part of one that is written, and the cost is the slope of
/// a line through all shards; 0 where nothing is done.
pub(super) fn cost_of_entries(nodes: &[NodeLoad]) -> Cost {
    let (mut ww, mut wf, mut ff, mut wc, mut fc) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for node in nodes {
        let count = count_of(&node.shards).max(1.0);
        let mean = |of: fn(&ShardLoad) -> f64| node.shards.iter().map(of).sum::<f64>() / count;
        let (written, followed, cpu) = (mean(written), mean(followed), mean(|shard| shard.cpu));
        for shard in &node.shards {
            let (w, f, c) = (
                self::written(shard) - written,
                self::followed(shard) - followed,
                shard.cpu - cpu,
            );
            ww += w * w;
            wf += w * f;
            ff += f * f;
            wc += w * c;
            fc += f * c;
        }
    }
    let determinant = ww * ff - wf * wf;
    if determinant > ww * ff * TELLING {
        let fitted = Cost {
            written: (wc * ff - fc * wf) / determinant,
            followed: (fc * ww - wc * wf) / determinant,
        };
        if fitted.written > 0.0 && (0.0..=fitted.written).contains(&fitted.followed) {
            return fitted;
        }
    }
    let written = slope(nodes.iter().flat_map(|node| &node.shards));
    Cost {
        written,
        followed: written * FOLLOWED_BY_WRITTEN,
    }
}

/// Written and followed entries tell apart what each costs where their differences are this far from going together.
const TELLING: f64 = 0.1;

fn written(shard: &ShardLoad) -> f64 {
    let groups = shard.groups.iter().filter(|group| group.writes);
    groups.map(|group| group.entries_per_s).sum()
}

fn followed(shard: &ShardLoad) -> f64 {
    let groups = shard.groups.iter().filter(|group| !group.writes);
    groups.map(|group| group.entries_per_s).sum()
}

/// What shards cost without any entry is never less than nothing.
fn slope<'a>(shards: impl Iterator<Item = &'a ShardLoad>) -> f64 {
    let work = |shard: &ShardLoad| written(shard) + followed(shard) * FOLLOWED_BY_WRITTEN;
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
pub(super) fn plan_of(node: &NodeLoad, cost: Cost, is_held: impl Fn(u32) -> bool, aim: Aim) -> Plan {
    let group = |group: &GroupLoad, scale: f64| GroupWork {
        group: GroupId(group.group),
        ns: in_ns(cost.of_group(group) * scale),
        pinned: is_held(group.group),
    };
    let shard = |shard: &ShardLoad| {
        let of_groups = cost.of_shard(shard);
        // What was fitted over all shards may be more than this one did.
        let scale = if of_groups > shard.cpu {
            shard.cpu / of_groups
        } else {
            1.0
        };
        let groups: Vec<GroupWork> = shard.groups.iter().map(|one| group(one, scale)).collect();
        ShardWork {
            ns: in_ns(shard.cpu).max(groups.iter().map(|group| group.ns).sum()),
            groups,
        }
    };
    let shards: Vec<ShardWork> = node.shards.iter().map(shard).collect();
    let found = seat_plan::plan(&shards, &aim.rule());
    let cpu_of = |one: &SeatMove| {
        let groups = &shards[usize::from(one.from)].groups;
        let moved = groups.iter().find(|group| group.group == one.group);
        of_core(moved.expect("a plan moves what is there").ns)
    };
    let moving = |one: &SeatMove| Moving {
        group: one.group.0,
        from: node.shards[usize::from(one.from)].shard,
        to: node.shards[usize::from(one.to)].shard,
        cpu: cpu_of(one),
    };
    Plan {
        node: node.name.clone(),
        moves: found.moves.iter().map(moving).collect(),
        before: found.before.iter().copied().map(of_core).collect(),
        after: found.after.iter().copied().map(of_core).collect(),
        imbalance: (seat_plan::imbalance(&found.before), seat_plan::imbalance(&found.after)),
    }
}

/// A part of a core in ns a second.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of a core is positive and 1 at most"
)]
fn in_ns(cpu: f64) -> u64 {
    (cpu * 1e9) as u64
}

#[expect(clippy::cast_precision_loss, reason = "a core has 10^9 ns a second")]
fn of_core(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: f64 = 2e-5;
    const COST: Cost = Cost {
        written: WRITTEN,
        followed: WRITTEN / 2.0,
    };
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
            cpu: 0.05 + entries.iter().sum::<f64>() * WRITTEN,
            written_per_s: 0.0,
            followed_per_s: 0.0,
            bytes_per_s: 0.0,
            crossed_per_s: 0.0,
            groups: entries.iter().map(&mut group).collect(),
            actors: Vec::new(),
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

    fn is_about(cost: Cost, written: f64, followed: f64) -> bool {
        (cost.written - written).abs() < 1e-9 && (cost.followed - followed).abs() < 1e-9
    }

    #[test]
    fn what_an_entry_costs_is_told_from_what_a_shard_costs_anyway() {
        let skewed = node(&[&[10_000.0, 4_000.0], &[1_000.0], &[]]);
        assert!(is_about(
            cost_of_entries(&[skewed]),
            WRITTEN,
            WRITTEN * FOLLOWED_BY_WRITTEN
        ));
        // Shards that all do as much say nothing of it: then all of it is the entries'.
        let even = 0.25 / 10_000.0;
        let same = node(&[&[10_000.0], &[10_000.0]]);
        assert!(is_about(cost_of_entries(&[same]), even, even * FOLLOWED_BY_WRITTEN));
        assert!(is_about(cost_of_entries(&[node(&[&[], &[]])]), 0.0, 0.0));
    }

    #[test]
    fn nodes_that_cost_more_and_entries_that_are_followed_are_told_apart_where_shards_differ() {
        let mut nodes = vec![
            node(&[&[9_000.0, 3_000.0], &[1_000.0]]),
            node(&[&[2_000.0, 8_000.0], &[500.0, 100.0]]),
        ];
        nodes.push(node(&[&[4_000.0, 6_000.0], &[2_000.0, 1_000.0], &[]]));
        for (besides, node) in [0.1, 0.3, 0.02].into_iter().zip(&mut nodes) {
            for shard in &mut node.shards {
                if let Some(group) = shard.groups.last_mut().filter(|group| group.group % 2 == 1) {
                    group.writes = false;
                }
                shard.cpu = besides + COST.of_shard(shard);
            }
        }
        assert!(
            is_about(cost_of_entries(&nodes), COST.written, COST.followed),
            "{:?}",
            cost_of_entries(&nodes)
        );
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
    fn what_was_fitted_over_all_shards_never_makes_groups_cost_more_than_their_shard_did() {
        let mut node = node(&[&[9_000.0, 5_000.0], &[1_000.0, 500.0]]);
        node.shards[0].cpu = 0.2;
        let plan = plan_of(&node, COST, |_| false, AIM);
        let moved: f64 = plan.moves.iter().map(|one| one.cpu).sum();
        let (before, after) = (plan.before[0], plan.after[0]);
        assert!(!plan.moves.is_empty() && moved <= 0.2, "{plan:?}");
        assert!((before - 0.2).abs() < 1e-8 && after < before, "{plan:?}");
    }

    #[test]
    fn a_plan_moves_no_more_than_it_may() {
        let many = vec![500.0; 40];
        let node = node(&[&many, &[], &[]]);
        let aim = Aim { moves_max: 5, ..AIM };
        assert_eq!(plan_of(&node, COST, |_| false, aim).moves.len(), 5);
    }
}
