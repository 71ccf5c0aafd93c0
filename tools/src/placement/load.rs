//! What runs where, and what it costs: two looks at the counters of all shards, as rates.
//!
//! Pure calculation; it asks nobody. The CPU time of a shard's thread is measured; what each of its groups has of that is not, and is shared out
//! by the entries that each wrote or followed. **Invariant:** the parts of all groups of a shard are what its thread did, where they did
//! anything.

use std::collections::BTreeMap;

use waterpark_wire::body::StatusBody;

use crate::status::counter;

/// An entry that is followed by one that is written: what figure 9 of docs/figures.md measured.
pub(super) const FOLLOWED_BY_WRITTEN: f64 = 0.23;

/// One group on one shard.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GroupLoad {
    pub(super) group: u32,
    pub(super) writes: bool,
    pub(super) entries_per_s: f64,
    pub(super) bytes_per_s: f64,
    /// Its part of the core, by its entries.
    pub(super) cpu: f64,
}

/// One shard.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ShardLoad {
    pub(super) shard: u16,
    /// Where its thread was last.
    pub(super) core: Option<u64>,
    /// Of one core, 1 at most.
    pub(super) cpu: f64,
    pub(super) written_per_s: f64,
    pub(super) followed_per_s: f64,
    pub(super) bytes_per_s: f64,
    /// Items that came to it and were for another shard of its node.
    pub(super) crossed_per_s: f64,
    /// The busiest first.
    pub(super) groups: Vec<GroupLoad>,
}

/// One node.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NodeLoad {
    pub(super) name: String,
    pub(super) host: String,
    pub(super) shards: Vec<ShardLoad>,
}

impl NodeLoad {
    /// The busiest shard by the mean of all; `None` where nothing was done, or one shard does all.
    pub(super) fn imbalance(&self) -> Option<f64> {
        let sum: f64 = self.shards.iter().map(|shard| shard.cpu).sum();
        let most = self.shards.iter().map(|shard| shard.cpu).fold(0.0, f64::max);
        let count = f64::from(u16::try_from(self.shards.len()).unwrap_or(u16::MAX));
        (self.shards.len() > 1 && sum > 0.0).then(|| most * count / sum)
    }
}

/// A shard between two looks at all shards of its node that are so many seconds apart: a group may have come from another one meanwhile. A shard of
/// a process that was started in between says nothing of the first look.
pub(super) fn of_shard(all: &[StatusBody], after: &StatusBody, seconds: f64) -> Option<ShardLoad> {
    let before = all.iter().find(|shard| shard.shard == after.shard)?;
    if before.incarnation != after.incarnation || seconds <= 0.0 {
        return None;
    }
    let rate = |count: u64| per_second(count, seconds);
    let grown = |name| counter(after, name).saturating_sub(counter(before, name));
    let cpu = (rate(grown("cpu_ns")) / 1e9).min(1.0);
    let earlier: BTreeMap<u32, (u64, u64)> = all
        .iter()
        .flat_map(|shard| &shard.groups)
        .map(|group| (group.group, (group.last_seq, group.log_bytes)))
        .collect();
    let load = |group: &waterpark_wire::body::GroupBody| {
        let (seq, bytes) = earlier.get(&group.group).copied().unwrap_or_default();
        GroupLoad {
            group: group.group,
            writes: group.role == "writer",
            entries_per_s: rate(group.last_seq.saturating_sub(seq)),
            // Less, where history was dropped meanwhile.
            bytes_per_s: rate(group.log_bytes.saturating_sub(bytes)),
            cpu: 0.0,
        }
    };
    let mut groups: Vec<GroupLoad> = after.groups.iter().map(load).collect();
    let work = |group: &GroupLoad| group.entries_per_s * if group.writes { 1.0 } else { FOLLOWED_BY_WRITTEN };
    let all: f64 = groups.iter().map(work).sum();
    if all > 0.0 {
        groups.iter_mut().for_each(|group| group.cpu = cpu * work(group) / all);
    }
    groups.sort_by(|a, b| b.cpu.total_cmp(&a.cpu).then(a.group.cmp(&b.group)));
    let sum = |writes: bool| -> f64 {
        let some = groups.iter().filter(|group| group.writes == writes);
        some.map(|group| group.entries_per_s).sum()
    };
    Some(ShardLoad {
        shard: after.shard,
        core: after
            .counters
            .iter()
            .find(|counter| counter.name == "core")
            .map(|counter| counter.value),
        cpu,
        written_per_s: sum(true),
        followed_per_s: sum(false),
        bytes_per_s: groups.iter().map(|group| group.bytes_per_s).sum(),
        crossed_per_s: rate(grown("crossed")),
        groups,
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts of seconds are far below 2^53")]
fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds
}

#[cfg(test)]
mod tests {
    use waterpark_wire::body::{CounterBody, GroupBody};

    use super::*;

    fn status(cpu_ns: u64, crossed: u64, groups: &[(u32, &str, u64, u64)]) -> StatusBody {
        let counter = |name: &str, value| CounterBody {
            name: name.to_owned(),
            value,
        };
        let group = |&(group, role, last_seq, log_bytes): &(u32, &str, u64, u64)| GroupBody {
            group,
            role: role.to_owned(),
            last_seq,
            log_bytes,
            ..GroupBody::default()
        };
        StatusBody {
            incarnation: 7,
            shard: 1,
            groups: groups.iter().map(group).collect(),
            counters: vec![
                counter("cpu_ns", cpu_ns),
                counter("crossed", crossed),
                counter("core", 3),
            ],
            ..StatusBody::default()
        }
    }

    #[test]
    fn a_shards_core_is_shared_out_among_its_groups_by_what_they_did() {
        let before = status(
            1_000,
            10,
            &[(1, "writer", 100, 0), (2, "follower", 100, 0), (3, "writer", 5, 9)],
        );
        let after = status(
            1_000 + 800_000_000,
            30,
            &[
                (1, "writer", 1_100, 4_000),
                (2, "follower", 3_100, 8_000),
                (3, "writer", 5, 4),
            ],
        );
        let load = of_shard(std::slice::from_ref(&before), &after, 2.0).unwrap();
        assert_eq!((load.shard, load.core, load.crossed_per_s), (1, Some(3), 10.0));
        assert!((load.cpu - 0.4).abs() < 1e-9);
        assert_eq!(
            (load.written_per_s, load.followed_per_s, load.bytes_per_s),
            (500.0, 1_500.0, 6_000.0)
        );
        let order: Vec<u32> = load.groups.iter().map(|group| group.group).collect();
        assert_eq!(order, [1, 2, 3], "the busiest first");
        let parts: f64 = load.groups.iter().map(|group| group.cpu).sum();
        assert!((parts - 0.4).abs() < 1e-9, "the parts are the whole");
        let wanted = FOLLOWED_BY_WRITTEN * 3.0;
        assert!((load.groups[1].cpu / load.groups[0].cpu - wanted).abs() < 1e-9);
    }

    #[test]
    fn a_group_that_came_from_another_shard_meanwhile_did_not_begin_there() {
        let before = [
            StatusBody {
                shard: 0,
                ..status(0, 0, &[(1, "writer", 9_000, 0)])
            },
            status(0, 0, &[]),
        ];
        let load = of_shard(&before, &status(1_000, 0, &[(1, "writer", 9_100, 0)]), 1.0).unwrap();
        assert_eq!(load.written_per_s, 100.0);
    }

    #[test]
    fn a_process_that_was_started_between_two_looks_has_no_rates() {
        let before = status(1, 0, &[]);
        let after = StatusBody {
            incarnation: 8,
            ..status(2, 0, &[])
        };
        assert_eq!(of_shard(std::slice::from_ref(&before), &after, 1.0), None);
        assert_eq!(of_shard(std::slice::from_ref(&before), &before, 0.0), None);
    }

    #[test]
    fn the_busiest_shard_is_told_by_the_mean() {
        let shard = |cpu| ShardLoad {
            shard: 0,
            core: None,
            cpu,
            written_per_s: 0.0,
            followed_per_s: 0.0,
            bytes_per_s: 0.0,
            crossed_per_s: 0.0,
            groups: Vec::new(),
        };
        let node = |all: &[f64]| NodeLoad {
            name: String::new(),
            host: String::new(),
            shards: all.iter().copied().map(shard).collect(),
        };
        assert_eq!(node(&[0.75, 0.25]).imbalance(), Some(1.5));
        assert_eq!(node(&[0.3]).imbalance(), None, "one alone is no imbalance");
        assert_eq!(node(&[0.0, 0.0]).imbalance(), None);
    }
}
