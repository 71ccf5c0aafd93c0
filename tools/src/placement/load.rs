//! What runs where, and what it costs: two looks at the counters of all shards, as rates.
//!
//! Pure calculation; it asks nobody. The CPU time of a shard's thread is measured; what each of its groups has of that is not, and is shared out
//! by the entries that each wrote or followed; what single actors have of a group, by samples of its messages. **Invariant:** the parts of all groups of a shard are what its thread did, where they did
//! anything.

use std::collections::BTreeMap;

use waterpark_ring::KeyRef;
use waterpark_wire::body::{ActorBody, StatusBody};

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

/// One actor that gets a part of what a shard writes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ActorLoad {
    pub(super) group: u32,
    pub(super) key: String,
    /// Of all messages that the shard wrote, 1 at most.
    pub(super) part: f64,
    pub(super) messages_per_s: f64,
    /// Bytes of messages.
    pub(super) bytes_per_s: f64,
    /// Its part of what its group has of the core, by its messages.
    pub(super) cpu: f64,
}

/// Samples of one actor between two looks, below which chance alone may have brought them.
const SAMPLES_MIN: u64 = 8;
/// The least part of a shard's messages that makes an actor worth naming.
const PART_MIN: f64 = 0.01;

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
    /// The busiest first; none that gets less than a hundredth.
    pub(super) actors: Vec<ActorLoad>,
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
pub(super) fn of_shard(all_before: &[StatusBody], after: &StatusBody, seconds: f64) -> Option<ShardLoad> {
    let before = all_before.iter().find(|shard| shard.shard == after.shard)?;
    if before.incarnation != after.incarnation || seconds <= 0.0 {
        return None;
    }
    let rate = |count: u64| per_second(count, seconds);
    let grown = |name| counter(after, name).saturating_sub(counter(before, name));
    let cpu = (rate(grown("cpu_ns")) / 1e9).min(1.0);
    let earlier: BTreeMap<u32, (u64, u64)> = all_before
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
    let actors = actors_of(all_before, after, sum(true), grown("sampled"), &groups);
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
        actors,
    })
}

/// The actors that got most of `sampled` samples of what a shard wrote between two looks.
fn actors_of(
    all_before: &[StatusBody],
    after: &StatusBody,
    written_per_s: f64,
    sampled: u64,
    groups: &[GroupLoad],
) -> Vec<ActorLoad> {
    let part_of = |count: u64, all: u64| per_second(count, per_second(all, 1.0));
    let before: BTreeMap<(u32, &[u8]), &ActorBody> = (all_before.iter())
        .filter(|before| before.shard == after.shard)
        .flat_map(|before| &before.actors)
        .map(|actor| ((actor.group, actor.key.as_slice()), actor))
        .collect();
    let load = |actor: &ActorBody| {
        let earlier = before.get(&(actor.group, actor.key.as_slice()));
        // One that was not counted meanwhile began again from others' samples, which were no fewer than its own had been.
        let known = earlier.map_or(0, |earlier| earlier.samples).max(actor.others);
        let samples = actor.samples.saturating_sub(known);
        if samples < SAMPLES_MIN {
            return None;
        }
        let same = earlier.filter(|earlier| earlier.others == actor.others);
        let bytes = actor.bytes.saturating_sub(same.map_or(0, |earlier| earlier.bytes));
        let part = part_of(samples, sampled).min(1.0);
        let messages_per_s = part * written_per_s;
        let group = groups.iter().find(|group| group.group == actor.group)?;
        let of_group = (messages_per_s / group.entries_per_s).min(1.0);
        Some(ActorLoad {
            group: actor.group,
            key: KeyRef::new_checked(&actor.key).ok()?.to_string(),
            part,
            messages_per_s,
            bytes_per_s: part_of(bytes, samples) * messages_per_s,
            cpu: group.cpu * of_group,
        })
    };
    let mut actors: Vec<ActorLoad> = after.actors.iter().filter_map(load).collect();
    actors.retain(|actor| actor.part >= PART_MIN);
    actors.sort_by(|a, b| b.part.total_cmp(&a.part).then_with(|| a.key.cmp(&b.key)));
    actors
}

#[expect(clippy::cast_precision_loss, reason = "counts of seconds are far below 2^53")]
fn per_second(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds
}

#[cfg(test)]
mod tests {
    use waterpark_ring::Key;
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
    fn an_actor_has_the_part_of_its_shard_and_of_its_group_that_samples_say() {
        let key = |name: &str| Key::parse(name).unwrap().as_ref().bytes().to_vec();
        let actor = |name: &str, samples, others, bytes| ActorBody {
            group: 1,
            key: key(name),
            samples,
            others,
            bytes,
        };
        let look = |cpu_ns, seqs: [u64; 2], sampled, actors| {
            let mut status = status(cpu_ns, 0, &[(1, "writer", seqs[0], 0), (2, "writer", seqs[1], 0)]);
            let value = sampled;
            let name = "sampled".to_owned();
            status.counters.push(CounterBody { name, value });
            StatusBody { actors, ..status }
        };
        let before = look(
            0,
            [0, 0],
            1_000,
            vec![actor("a/1", 400, 0, 4_000), actor("a/2", 50, 0, 50)],
        );
        let after = look(
            1_000_000_000,
            [8_000, 2_000],
            2_000,
            vec![
                actor("a/2", 210, 160, 500),
                actor("a/1", 800, 0, 44_000),
                // Nothing came of it, and this one's are too few to tell.
                actor("a/3", 300, 300, 9),
                actor("a/4", 107, 100, 9),
            ],
        );
        let load = of_shard(std::slice::from_ref(&before), &after, 1.0).unwrap();
        let seen: Vec<(&str, f64, f64, f64)> = (load.actors.iter())
            .map(|actor| (actor.key.as_str(), actor.part, actor.messages_per_s, actor.bytes_per_s))
            .collect();
        // a/2 lost its row and got it back from one that had 160.
        assert_eq!(seen, [("a/1", 0.4, 4_000.0, 400_000.0), ("a/2", 0.05, 500.0, 5_000.0)]);
        // Its group wrote 8,000 of 10,000, so it has 0.8 of the core, and the actor half of that.
        assert!((load.actors[0].cpu - 0.4).abs() < 1e-9);
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
            actors: Vec::new(),
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
