use super::*;
use crate::detection::testing::Random;

const ALL: Rule = Rule {
    moves_max: usize::MAX,
    bound: 1.10,
    goal: 1.05,
    gain_min: 0.01,
    gain_ns_min: 0,
};

/// A shard whose groups are numbered on from a first one, with what no group causes.
fn shard(first: u32, fixed: u64, groups: &[u64]) -> ShardWork {
    let group = |(group, ns): (u32, &u64)| GroupWork {
        group: GroupId(group),
        ns: *ns,
        pinned: false,
    };
    ShardWork {
        ns: fixed + groups.iter().sum::<u64>(),
        groups: (first..).zip(groups).map(group).collect(),
    }
}

fn fixed(shard: &ShardWork) -> u64 {
    shard.ns - shard.groups.iter().map(|group| group.ns).sum::<u64>()
}

fn busy(shards: &[ShardWork]) -> Vec<u64> {
    shards.iter().map(|shard| shard.ns).collect()
}

/// Shards of any kind: few or many, with groups alike or not, some held, and with much or little that no group causes.
fn any(random: &mut Random) -> Vec<ShardWork> {
    let count = 1 + random.below(8);
    let (groups_max, likeness, held) = (1 + random.below(40), random.below(4), random.below(3) == 0);
    let fixed_max = [1, 1_000, 300_000][random.below(3)];
    let mut all = Vec::new();
    for place in 0..count {
        let first = u32::try_from(place * 100).unwrap();
        let mut groups = Vec::new();
        for rank in 1..=random.below(groups_max + 1) {
            let most = match likeness {
                0 => 1_000,
                1 => 400_000 / rank,
                2 => [0, 10, 100_000][random.below(3)],
                _ => 1 << random.below(19),
            };
            groups.push(random.below(most + 1) as u64);
        }
        let mut own = shard(first, random.below(fixed_max) as u64, &groups);
        for group in &mut own.groups {
            group.pinned = held && random.below(2) == 0;
        }
        all.push(own);
    }
    all
}

/// What holds for every plan.
fn check(shards: &[ShardWork], rule: &Rule) -> SeatPlan {
    let plan = plan(shards, rule);
    let applied = plan.applied(shards);
    assert_eq!((&plan.before, &plan.after), (&busy(shards), &busy(&applied)));
    assert_eq!(plan.before.iter().sum::<u64>(), plan.after.iter().sum::<u64>());
    assert!(
        shards.iter().map(fixed).eq(applied.iter().map(fixed)),
        "it stays where it is"
    );
    let (was, is) = (plan.before.iter().max(), plan.after.iter().max());
    assert!(is <= was && plan.moves.len() <= rule.moves_max, "{plan:?}");
    for wanted in &plan.moves {
        let of = |shards: &[ShardWork], shard: u16| {
            let groups = shards[usize::from(shard)].groups.iter();
            groups.copied().find(|group| group.group == wanted.group)
        };
        assert!(of(shards, wanted.from).is_some_and(|group| !group.pinned), "{wanted:?}");
        assert!(of(&applied, wanted.to).is_some(), "each is moved once: {plan:?}");
    }
    if !plan.moves.is_empty() {
        assert!(imbalance(&plan.before) > rule.bound, "{plan:?}");
        let mean = plan.before.iter().sum::<u64>() / plan.before.len() as u64;
        let gained = was.unwrap() - is.unwrap();
        assert!(
            gained as f64 + 2.0 >= mean as f64 * rule.gain_min && gained > 0,
            "{plan:?}"
        );
        let last = plan.moves.last().unwrap();
        assert_eq!(plan.after[usize::from(last.from)], last.from_ns);
        assert_eq!(plan.after[usize::from(last.to)], last.to_ns);
    }
    plan
}

#[test]
fn whatever_is_planned_gains_something_keeps_all_that_is_done_and_needs_no_second_plan() {
    let mut random = Random::new(5);
    let (mut moving, mut reached) = (0, 0);
    for _ in 0..20_000 {
        let shards = any(&mut random);
        let plan = check(&shards, &ALL);
        let again = check(&plan.applied(&shards), &ALL);
        assert_eq!(again.moves, [], "{shards:?}");
        moving += u32::from(!plan.moves.is_empty());
        reached += u32::from(!plan.moves.is_empty() && imbalance(&plan.after) <= ALL.goal);
        let few = Rule {
            moves_max: random.below(4),
            ..ALL
        };
        check(&shards, &few);
    }
    assert!(moving > 5_000 && reached > 2_000, "{moving} {reached}");
}

#[test]
fn what_no_group_causes_moves_nothing_back_and_forth() {
    // One shard has links and clients that the other has not, and its groups are few.
    let shards = [shard(0, 800_000, &[50_000, 50_000]), shard(10, 100_000, &[200_000; 4])];
    assert_eq!(check(&shards, &ALL).moves, [], "as even as can be: 900 and 900");
    let shards = [shard(0, 800_000, &[50_000, 50_000]), shard(10, 100_000, &[100_000; 4])];
    let plan = check(&shards, &ALL);
    let moved: Vec<u32> = plan.moves.iter().map(|wanted| wanted.group.0).collect();
    assert_eq!((moved, plan.after), (vec![0, 1], vec![800_000, 600_000]));
    // Nothing is left that could go.
    let shards = [shard(0, 800_000, &[]), shard(10, 100_000, &[100_000; 4])];
    assert_eq!(check(&shards, &ALL).moves, []);
}

/// Shards, how many groups may be moved, and which move: each from where, to where.
type Case<'a> = (&'a [ShardWork], usize, &'a [(u32, u16, u16)]);

#[test]
fn few_moves_are_enough_and_more_are_not_made() {
    let table: [Case<'_>; 7] = [
        // Even enough.
        (&[shard(0, 0, &[540, 0]), shard(10, 0, &[460])], 32, &[]),
        // One that is as large as half of what one has more.
        (&[shard(0, 0, &[100, 200, 600]), shard(10, 0, &[500])], 32, &[(1, 0, 1)]),
        // One that is too large alone changes places with a smaller one.
        (
            &[shard(0, 0, &[500, 500]), shard(10, 0, &[300, 300])],
            32,
            &[(0, 0, 1), (10, 1, 0)],
        ),
        // But not where one move is all there may be.
        (&[shard(0, 0, &[500, 500]), shard(10, 0, &[300, 300])], 1, &[]),
        // One group alone makes the shard busy: it stays.
        (&[shard(0, 0, &[900]), shard(10, 0, &[100])], 32, &[]),
        // The others leave it.
        (
            &[shard(0, 0, &[800, 100, 50]), shard(10, 0, &[50])],
            32,
            &[(1, 0, 1), (2, 0, 1)],
        ),
        (&[shard(0, 0, &[]), shard(10, 0, &[])], 32, &[]),
    ];
    for (shards, moves_max, wanted) in table {
        let plan = check(shards, &Rule { moves_max, ..ALL });
        let moves: Vec<(u32, u16, u16)> = plan.moves.iter().map(|one| (one.group.0, one.from, one.to)).collect();
        assert_eq!(moves, wanted, "{shards:?}");
    }
}

#[test]
fn what_is_held_stays() {
    let mut shards = [shard(0, 0, &[100, 200, 600]), shard(10, 0, &[500])];
    shards[0].groups[1].pinned = true;
    let moves = check(&shards, &ALL).moves;
    assert_eq!(moves.iter().map(|one| one.group.0).collect::<Vec<_>>(), [2, 10, 0]);
    for group in &mut shards[0].groups {
        group.pinned = true;
    }
    assert_eq!(check(&shards, &ALL).moves, []);
}

/// Groups by Zipf's law, strewn over shards.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive, and less than 2^53"
)]
fn zipf(random: &mut Random, groups: u32, shards: usize) -> Vec<ShardWork> {
    let mut of_shard = vec![Vec::new(); shards];
    for rank in 1..=groups {
        let ns = (300_000_000.0 / f64::from(rank).powf(1.2)) as u64;
        of_shard[random.below(shards)].push((rank, ns));
    }
    let work = |groups: &Vec<(u32, u64)>| {
        let group = |(rank, ns): &(u32, u64)| GroupWork {
            group: GroupId(*rank),
            ns: *ns,
            pinned: false,
        };
        ShardWork {
            ns: 20_000_000 + groups.iter().map(|(_, ns)| ns).sum::<u64>(),
            groups: groups.iter().map(group).collect(),
        }
    };
    of_shard.iter().map(work).collect()
}

#[test]
fn a_skewed_load_is_spread_as_evenly_as_its_largest_group_allows() {
    let mut random = Random::new(11);
    for (groups, shards) in [(64, 2), (64, 3), (512, 2), (512, 4), (512, 8), (2_048, 16)] {
        for _ in 0..50 {
            let work = zipf(&mut random, groups, shards);
            let plan = check(&work, &Rule::default());
            let mean = plan.before.iter().sum::<u64>() / shards as u64;
            // No shard can do less than the largest group and what it does anyway.
            let least = (320_000_000.0 / mean as f64).max(1.0);
            let found = imbalance(&plan.after);
            assert!(
                found <= (least * 1.05).max(1.10),
                "{groups} on {shards}: {found:.3}, at least {least:.3}, by {} moves",
                plan.moves.len()
            );
        }
    }
}

#[test]
fn two_shards_are_even_by_hardly_more_moves_than_the_fewest() {
    let mut random = Random::new(3);
    let (mut more, mut cases) = (0, 0);
    for _ in 0..3_000 {
        let groups = |random: &mut Random, count: usize| -> Vec<u64> {
            (0..count).map(|_| 1 + random.below(1_000) as u64).collect()
        };
        let shards = [
            shard(0, 0, &groups(&mut random, 6)),
            shard(10, 0, &groups(&mut random, 4)),
        ];
        let all: Vec<(usize, u64)> = shards
            .iter()
            .enumerate()
            .flat_map(|(place, shard)| shard.groups.iter().map(move |group| (place, group.ns)))
            .collect();
        let after = |set: u32| {
            let mut ns = busy(&shards);
            for (_, (place, group)) in all.iter().enumerate().filter(|(bit, _)| set >> bit & 1 == 1) {
                ns[*place] -= group;
                ns[1 - *place] += group;
            }
            imbalance(&ns)
        };
        let plan = check(&shards, &ALL);
        let fewest = (0..1_u32 << all.len())
            .filter(|set| after(*set) <= ALL.goal)
            .map(u32::count_ones)
            .min();
        if plan.moves.is_empty() || imbalance(&plan.after) > ALL.goal {
            continue;
        }
        let over = plan.moves.len() - fewest.unwrap() as usize;
        assert!(over <= 2, "{shards:?} {plan:?}");
        cases += 1;
        more += u32::from(over > 0);
    }
    assert!(cases > 1_000 && more * 10 < cases, "{more} of {cases}");
}
