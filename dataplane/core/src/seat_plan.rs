//! Which groups of a node should live on another of its shards, judged by the CPU time that each takes there.
//!
//! A plan from nothing but figures: where they come from, and how a group moves, is unknown here. What a shard does beside its groups stays with it.
//! **Invariant:** a plan never makes the busiest shard busier, moves no group that is held, and moves nothing where it gains nothing; planned
//! anew on what it predicts, it moves nothing more, unless its moves were used up.

use std::collections::BTreeMap;

use crate::ids::GroupId;

/// A group on a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupWork {
    /// The group.
    pub group: GroupId,
    /// CPU time that goes where it goes, in ns a second.
    pub ns: u64,
    /// No plan moves it.
    pub pinned: bool,
}

/// A shard of a node; its number is its place among those of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardWork {
    /// CPU time of its thread, in ns a second: of its groups, and of what no group causes.
    pub ns: u64,
    /// Its groups.
    pub groups: Vec<GroupWork>,
}

/// When there is something to plan, and how far it goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Groups that are moved at most.
    pub moves_max: usize,
    /// Where the busiest shard does at most so many times the mean, nothing is moved.
    pub bound: f64,
    /// Where it does more, no more is moved than brings it to so many times the mean. Less than the bound, or what is planned today would be
    /// planned again tomorrow.
    pub goal: f64,
    /// What a plan gains at least: so much less of the busiest shard, by the mean.
    pub gain_min: f64,
    /// And in ns a second: shards that hardly do anything differ by much of next to nothing.
    pub gain_ns_min: u64,
}

impl Default for Rule {
    fn default() -> Rule {
        Rule {
            moves_max: 32,
            bound: 1.10,
            goal: 1.05,
            gain_min: 0.01,
            // A hundredth of a core.
            gain_ns_min: 10_000_000,
        }
    }
}

/// A group that goes from one shard of its node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatMove {
    /// The group.
    pub group: GroupId,
    /// The shard that it leaves.
    pub from: u16,
    /// The shard that it goes to.
    pub to: u16,
    /// What the first does then, all moves before this one done too, in ns a second.
    pub from_ns: u64,
    /// And the second.
    pub to_ns: u64,
}

/// Moves, and what they should lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeatPlan {
    /// The moves, the group that takes most first.
    pub moves: Vec<SeatMove>,
    /// What each shard does now, in ns a second.
    pub before: Vec<u64>,
    /// What each should do after all moves.
    pub after: Vec<u64>,
}

impl SeatPlan {
    /// The shards as they should be after all moves.
    #[must_use]
    pub fn applied(&self, shards: &[ShardWork]) -> Vec<ShardWork> {
        let mut shards = shards.to_vec();
        for wanted in &self.moves {
            let (from, to) = (usize::from(wanted.from), usize::from(wanted.to));
            let place = shards[from].groups.iter().position(|group| group.group == wanted.group);
            let group = shards[from]
                .groups
                .swap_remove(place.expect("a plan moves what is there"));
            shards[from].ns -= group.ns;
            shards[to].ns += group.ns;
            shards[to].groups.push(group);
        }
        shards
    }
}

/// The busiest of these shards by the mean of all; 1 where nothing is done.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
pub fn imbalance(ns: &[u64]) -> f64 {
    let sum: u64 = ns.iter().sum();
    let most = ns.iter().copied().max().unwrap_or(0);
    if sum == 0 {
        1.0
    } else {
        most as f64 * ns.len() as f64 / sum as f64
    }
}

/// The moves that bring the busiest shard of a node to the rule's goal, or as far as whole groups allow.
///
/// Each step takes from the busiest shard what lowers it most: a group that goes to the least busy one, or one that changes places with a smaller
/// one of any shard, where that gains more by moves. A group is moved once, from where it is to where the steps led it.
///
/// # Panics
/// If the groups of a shard take more than it does.
#[must_use]
pub fn plan(shards: &[ShardWork], rule: &Rule) -> SeatPlan {
    let before: Vec<u64> = shards.iter().map(|shard| shard.ns).collect();
    let stays = SeatPlan {
        moves: Vec::new(),
        after: before.clone(),
        before: before.clone(),
    };
    if imbalance(&before) <= rule.bound {
        return stays;
    }
    let mut desk = Desk::new(shards);
    // Where the busiest shard was lowest for the first time: what came after it gained nothing.
    let mut best = (desk.most(), desk.seats());
    let step_min = part(&before, rule.gain_min / STEPS);
    while imbalance(&desk.ns) > rule.goal
        && let Some(step) = desk.step(step_min, rule.moves_max)
    {
        desk.take(&step);
        if desk.most() < best.0 {
            best = (desk.most(), desk.seats());
        }
    }
    let gained = before.iter().copied().max().unwrap_or(0) - best.0;
    if gained < part(&before, rule.gain_min).max(rule.gain_ns_min).max(1) {
        return stays;
    }
    let mut moved = desk.moved(&best.1);
    let reached = imbalance(&loads(&before, &moved));
    // Else whoever plans anew might begin from other groups, and find more.
    if reached <= rule.bound {
        spare(&before, &mut moved, reached.max(rule.goal));
    }
    moved.sort_by(|a, b| b.ns.cmp(&a.ns).then(a.group.cmp(&b.group)));
    let mut after = before;
    let moves = moved.iter().map(|one| {
        after[one.from] -= one.ns;
        after[one.to] += one.ns;
        SeatMove {
            group: one.group,
            from: number(one.from),
            to: number(one.to),
            from_ns: after[one.from],
            to_ns: after[one.to],
        }
    });
    SeatPlan {
        moves: moves.collect(),
        after,
        ..stays
    }
}

/// A step gains at least this part of what a plan gains: many small groups together are worth it.
const STEPS: f64 = 10.0;

/// A part of the mean.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "positive, and far below 2^53"
)]
fn part(ns: &[u64], part: f64) -> u64 {
    let sum: u64 = ns.iter().sum();
    (sum as f64 / ns.len().max(1) as f64 * part) as u64
}

fn number(shard: usize) -> u16 {
    u16::try_from(shard).expect("a node has no more shards")
}

/// A group that does not stay.
#[derive(Clone, Copy)]
struct Moved {
    group: GroupId,
    ns: u64,
    from: usize,
    to: usize,
}

/// What shards do after moves.
fn loads(before: &[u64], moved: &[Moved]) -> Vec<u64> {
    let mut ns = before.to_vec();
    for one in moved {
        ns[one.from] -= one.ns;
        ns[one.to] += one.ns;
    }
    ns
}

/// Leaves out moves without which the busiest shard does at most so many times the mean all the same, the smallest first.
fn spare(before: &[u64], moved: &mut Vec<Moved>, most: f64) {
    moved.sort_by_key(|one| (one.ns, one.group));
    let mut place = 0;
    while place < moved.len() {
        let one = moved.remove(place);
        if imbalance(&loads(before, moved)) > most {
            moved.insert(place, one);
            place += 1;
        }
    }
}

/// Shards while moves are tried.
struct Desk {
    ns: Vec<u64>,
    /// By shard: groups that may go, those that take least first.
    groups: Vec<Vec<(u64, GroupId)>>,
    /// Where each of them was at first.
    home: BTreeMap<GroupId, usize>,
    /// How many are not there.
    away: usize,
}

/// What one step does.
struct Step {
    from: usize,
    to: usize,
    goes: (u64, GroupId),
    comes: Option<(u64, GroupId)>,
    gain: u64,
}

impl Step {
    /// Gain by moves, as a number to compare.
    fn worth(&self) -> u64 {
        if self.comes.is_some() { self.gain / 2 } else { self.gain }
    }
}

impl Desk {
    fn new(shards: &[ShardWork]) -> Desk {
        let mut home = BTreeMap::new();
        let mut groups = Vec::with_capacity(shards.len());
        for (place, shard) in shards.iter().enumerate() {
            let of_groups: u64 = shard.groups.iter().map(|group| group.ns).sum();
            assert!(of_groups <= shard.ns, "groups are a part of what their shard does");
            // What takes nothing gains nothing elsewhere.
            let free = shard.groups.iter().filter(|group| !group.pinned && group.ns > 0);
            let mut free: Vec<(u64, GroupId)> = free.map(|group| (group.ns, group.group)).collect();
            free.sort_unstable();
            home.extend(free.iter().map(|(_, group)| (*group, place)));
            groups.push(free);
        }
        Desk {
            ns: shards.iter().map(|shard| shard.ns).collect(),
            groups,
            home,
            away: 0,
        }
    }

    fn most(&self) -> u64 {
        self.ns.iter().copied().max().unwrap_or(0)
    }

    /// Where each group is.
    fn seats(&self) -> BTreeMap<GroupId, usize> {
        let all = self.groups.iter().enumerate();
        all.flat_map(|(place, groups)| groups.iter().map(move |(_, group)| (*group, place)))
            .collect()
    }

    /// Groups that are elsewhere than at first.
    fn moved(&self, seats: &BTreeMap<GroupId, usize>) -> Vec<Moved> {
        let all = self.groups.iter().flatten();
        let moved = all.map(|(ns, group)| Moved {
            group: *group,
            ns: *ns,
            from: self.home[group],
            to: seats[group],
        });
        moved.filter(|one| one.from != one.to).collect()
    }

    /// What lowers the busiest shard most, by moves: by so much at least, and with so many groups away from home at most.
    fn step(&self, gain_min: u64, moves_max: usize) -> Option<Step> {
        let places = || 0..self.ns.len();
        // Of equals the first, so that equal figures give equal plans.
        let from = places().max_by_key(|place| (self.ns[*place], usize::MAX - *place))?;
        let least = places().min_by_key(|place| (self.ns[*place], *place))?;
        let mut best: Option<Step> = None;
        let mut offer = |step: Step| {
            let is_better = best.as_ref().is_none_or(|best| step.worth() > best.worth());
            if step.gain >= gain_min.max(1) && is_better && self.away_after(&step) <= moves_max {
                best = Some(step);
            }
        };
        for goes in &self.groups[from] {
            if let Some(gain) = self.gain(from, least, goes.0) {
                offer(Step {
                    from,
                    to: least,
                    goes: *goes,
                    comes: None,
                    gain,
                });
            }
            for to in places().filter(|to| *to != from) {
                // What comes back for it is best where both shards then do the same.
                let ideal = goes.0.saturating_sub((self.ns[from] - self.ns[to]) / 2);
                let others = &self.groups[to];
                let above = others.partition_point(|(ns, _)| *ns < ideal);
                for comes in others[..above].last().into_iter().chain(others.get(above)) {
                    let gain = goes.0.checked_sub(comes.0).and_then(|ns| self.gain(from, to, ns));
                    if let Some(gain) = gain {
                        offer(Step {
                            from,
                            to,
                            goes: *goes,
                            comes: Some(*comes),
                            gain,
                        });
                    }
                }
            }
        }
        best
    }

    /// How much less the busier of two shards does if so much goes from one to the other; `None` if it is no less.
    fn gain(&self, from: usize, to: usize, ns: u64) -> Option<u64> {
        let then = (self.ns[from] - ns).max(self.ns[to] + ns);
        self.ns[from].checked_sub(then).filter(|gain| *gain > 0)
    }

    fn away_after(&self, step: &Step) -> usize {
        let goes = (step.goes.1, step.from, step.to);
        let comes = step.comes.map(|(_, group)| (group, step.to, step.from));
        let change = |away: usize, (group, from, to): (GroupId, usize, usize)| {
            let home = self.home[&group];
            away + usize::from(to != home) - usize::from(from != home)
        };
        [Some(goes), comes].into_iter().flatten().fold(self.away, change)
    }

    fn take(&mut self, step: &Step) {
        self.away = self.away_after(step);
        self.carry(step.goes, step.from, step.to);
        if let Some(comes) = step.comes {
            self.carry(comes, step.to, step.from);
        }
    }

    fn carry(&mut self, group: (u64, GroupId), from: usize, to: usize) {
        let place = self.groups[from].binary_search(&group).expect("it is there");
        self.groups[from].remove(place);
        let place = self.groups[to].partition_point(|other| *other < group);
        self.groups[to].insert(place, group);
        self.ns[from] -= group.0;
        self.ns[to] += group.0;
    }
}

#[cfg(test)]
mod tests;
