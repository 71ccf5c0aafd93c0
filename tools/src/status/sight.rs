//! What the documents of all shards say, counted by node and by group.
//!
//! Pure calculation; it asks nobody. **Invariant:** each group is counted once, whoever speaks of it. **Invariant:** a copy counts only where its
//! member answers and says that it has one: a writer remembers what members held that are gone since.

use std::collections::BTreeMap;

use waterpark_client::ClientError;
use waterpark_wire::body::{GroupBody, NodeBody, StatusBody};

/// Bits of an incarnation below its start time in ms.
const INCARNATION_RANDOM_BITS: u32 = 16;

/// A counter of a shard by its name; 0, if the shard does not name it.
pub(crate) fn counter(status: &StatusBody, name: &str) -> u64 {
    let found = status.counters.iter().find(|counter| counter.name == name);
    found.map_or(0, |counter| counter.value)
}

/// What came over MLLP since a node's start.
#[derive(Default)]
pub(super) struct Mllp {
    pub(super) connections: u64,
    pub(super) messages: u64,
    pub(super) accepted: u64,
    pub(super) known: u64,
    pub(super) errors: u64,
    pub(super) rejected: u64,
}

/// One node, its shards together.
#[derive(Default)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) id: u16,
    /// Why nothing else is known.
    pub(super) silence: Option<ClientError>,
    pub(super) driver: String,
    /// Start of its process, ms since the epoch.
    pub(super) since_ms: u64,
    pub(super) shards: u16,
    pub(super) out: bool,
    pub(super) memory_used: u64,
    pub(super) memory_budget: u64,
    pub(super) written: u64,
    pub(super) followed: u64,
    /// Of the groups that it writes.
    pub(super) actors: u64,
    /// Of all groups that it holds.
    pub(super) entries: u64,
    pub(super) log_bytes: u64,
    pub(super) links: u64,
    pub(super) links_up: u64,
    pub(super) mllp: Mllp,
}

impl Node {
    pub(super) fn of(node: &NodeBody, said: &Result<Vec<StatusBody>, ClientError>) -> Node {
        let mut seen = Node {
            name: node.name.clone(),
            id: node.id,
            ..Node::default()
        };
        match said {
            Ok(shards) => shards.iter().for_each(|shard| seen.add(shard)),
            Err(error) => seen.silence = Some(*error),
        }
        seen
    }

    fn add(&mut self, shard: &StatusBody) {
        let count = |role: &str| shard.groups.iter().filter(|group| group.role == role).count() as u64;
        self.driver.clone_from(&shard.driver);
        self.since_ms = shard.incarnation >> INCARNATION_RANDOM_BITS;
        self.shards = shard.shards;
        self.out |= shard.out;
        self.memory_used += shard.memory_used;
        self.memory_budget += shard.memory_budget;
        self.written += count("writer");
        self.followed += count("follower");
        self.actors += shard
            .groups
            .iter()
            .filter(|group| group.role == "writer")
            .map(|group| group.actors)
            .sum::<u64>();
        self.entries += shard.groups.iter().map(|group| group.last_seq).sum::<u64>();
        self.log_bytes += shard.groups.iter().map(|group| group.log_bytes).sum::<u64>();
        self.links += shard.links.len() as u64;
        self.links_up += shard.links.iter().filter(|link| link.up).count() as u64;
        self.mllp.connections += counter(shard, "mllp_connections");
        self.mllp.messages += counter(shard, "mllp_messages");
        self.mllp.accepted += counter(shard, "mllp_accepted");
        self.mllp.known += counter(shard, "mllp_known");
        self.mllp.errors += counter(shard, "mllp_errors");
        self.mllp.rejected += counter(shard, "mllp_rejected");
    }
}

/// All groups.
#[derive(Default)]
pub(crate) struct Groups {
    pub(crate) total: u64,
    /// By how many members hold what is committed.
    pub(crate) five: u64,
    pub(crate) four: u64,
    pub(crate) three: u64,
    pub(super) fewer: u64,
    pub(super) unborn: u64,
    pub(super) lost: u64,
    /// Nobody who answers writes them.
    pub(super) without_writer: u64,
    pub(super) actors: u64,
    /// Each counted once.
    pub(super) entries: u64,
    /// The most that a follower is behind its writer, in entries.
    pub(super) lag: u64,
    /// Groups with a member that follows and lacks something that is committed.
    catching_up: u64,
    behind: BTreeMap<u16, u64>,
    commits: BTreeMap<u32, u64>,
}

impl Groups {
    /// By what is committed now.
    pub(super) fn of(statuses: &[&StatusBody], total: u32) -> Groups {
        Groups::since(statuses, total, &BTreeMap::new())
    }

    /// By what was committed at an earlier look, where there was one.
    pub(crate) fn since(statuses: &[&StatusBody], total: u32, commits: &BTreeMap<u32, u64>) -> Groups {
        let mut groups = Groups {
            total: total.into(),
            ..Groups::default()
        };
        let mut told: BTreeMap<u32, Vec<(u16, &GroupBody)>> = BTreeMap::new();
        for status in statuses {
            for group in &status.groups {
                told.entry(group.group).or_default().push((status.node_id, group));
            }
        }
        for id in 0..total {
            let members = told.get(&id).map_or(&[][..], Vec::as_slice);
            let has = |role: &str| members.iter().any(|(_, member)| member.role == role);
            // One that was replaced may not have heard of it: the newest view counts.
            let writers = members.iter().filter(|(_, member)| member.role == "writer");
            match writers.max_by_key(|(_, member)| member.view) {
                Some((_, writer)) => groups.add(writer, members, commits.get(&id).copied()),
                None if has("lost") || has("quarantined") => groups.lost += 1,
                // Whoever follows has heard of a birth: it is the writer that is missing.
                None if has("unborn") && !has("follower") => groups.unborn += 1,
                None => groups.without_writer += 1,
            }
        }
        groups
    }

    fn add(&mut self, writer: &GroupBody, told: &[(u16, &GroupBody)], commit: Option<u64>) {
        // A writer that began anew since then has other seqs.
        let commit = commit.map_or(writer.commit, |commit| commit.min(writer.commit));
        let (mut copies, mut catches_up) = (0, false);
        for (place, (member, held)) in writer.members.iter().zip(&writer.held).enumerate() {
            let own = told
                .iter()
                .find(|(node, _)| node == member)
                .map(|(_, own)| own.role.as_str());
            let has_copy = matches!(own, Some("writer" | "follower"));
            copies += u32::from(has_copy && *held >= commit);
            catches_up |= has_copy && *held < commit;
            if place > 0 {
                // One that answers and has no copy lacks all of it; of one that is silent the writer knows best.
                let held = if has_copy || own.is_none() { *held } else { 0 };
                let distance = writer.last_seq.saturating_sub(held);
                self.lag = self.lag.max(distance);
                let behind = self.behind.entry(*member).or_default();
                *behind = distance.max(*behind);
            }
        }
        let kind = match copies {
            5.. => &mut self.five,
            4 => &mut self.four,
            3 => &mut self.three,
            _ => &mut self.fewer,
        };
        *kind += 1;
        self.catching_up += u64::from(catches_up);
        self.commits.insert(writer.group, writer.commit);
        self.actors += writer.actors;
        self.entries += writer.last_seq;
    }

    /// What each group has committed, for a later look.
    pub(crate) fn commits(&self) -> BTreeMap<u32, u64> {
        self.commits.clone()
    }

    /// Whether another look can tell more: a member that answers lacks something, or a group is about to begin.
    pub(super) fn may_catch_up(&self) -> bool {
        self.catching_up + self.unborn > 0
    }

    /// The most that a node is behind a writer, in entries; nothing, if no writer that answers counts it among its followers.
    pub(super) fn behind(&self, node: u16) -> Option<u64> {
        self.behind.get(&node).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(group: u32, role: &str, commit: u64, held: &[u64]) -> GroupBody {
        GroupBody {
            group,
            role: role.to_owned(),
            commit,
            last_seq: held.first().copied().unwrap_or(commit),
            actors: 2,
            members: vec![1, 2, 3, 4, 5],
            held: held.to_vec(),
            ..GroupBody::default()
        }
    }

    fn status(node_id: u16, groups: Vec<GroupBody>) -> StatusBody {
        StatusBody {
            node_id,
            groups,
            ..StatusBody::default()
        }
    }

    /// What nodes 2 to 5 say while they follow.
    fn followers(groups: std::ops::Range<u32>) -> Vec<StatusBody> {
        let follow = || {
            groups
                .clone()
                .map(|group_id| group(group_id, "follower", 3, &[]))
                .collect()
        };
        (2..=5).map(|node| status(node, follow())).collect()
    }

    #[test]
    fn each_group_is_counted_once_by_its_writer_or_by_what_is_left_of_it() {
        let writer = status(
            1,
            vec![
                group(0, "writer", 9, &[9, 9, 9, 9, 9]),
                group(1, "writer", 9, &[12, 9, 9, 9, 4]),
                group(2, "writer", 9, &[9, 9, 9, 0, 0]),
                group(3, "writer", 9, &[9, 9, 0, 0, 0]),
                group(4, "unborn", 0, &[]),
                group(5, "lost", 0, &[]),
                group(6, "unborn", 3, &[]),
            ],
        );
        let mut said = followers(0..4);
        said[0]
            .groups
            .extend([group(5, "follower", 3, &[]), group(6, "follower", 0, &[])]);
        said.push(writer);
        let groups = Groups::of(&said.iter().collect::<Vec<_>>(), 8);
        let counts = [
            groups.five,
            groups.four,
            groups.three,
            groups.fewer,
            groups.unborn,
            groups.lost,
        ];
        assert_eq!(counts, [1, 1, 1, 1, 1, 1]);
        assert_eq!(
            groups.without_writer, 2,
            "a group without its writer, and one of which nobody spoke"
        );
        assert_eq!((groups.actors, groups.entries), (8, 39));
        assert_eq!(
            (groups.lag, groups.behind(5), groups.behind(2), groups.behind(1)),
            (9, Some(9), Some(3), None)
        );
        assert!(groups.may_catch_up());
    }

    #[test]
    fn what_a_writer_remembers_of_a_member_that_is_gone_is_no_copy() {
        let writer = status(1, vec![group(0, "writer", 9, &[9; 5])]);
        let mut said = followers(0..1);
        said.push(writer);
        let count = |said: &[StatusBody]| {
            let groups = Groups::of(&said.iter().collect::<Vec<_>>(), 1);
            // Nobody waits for one that is gone.
            assert!(!groups.may_catch_up());
            (groups.five, groups.four, groups.behind(5))
        };
        assert_eq!(count(&said), (1, 0, Some(0)));
        // Started anew: it answers, and holds nothing.
        said[3].groups[0].role = "quarantined".to_owned();
        assert_eq!(count(&said), (0, 1, Some(9)));
        said.remove(3);
        assert_eq!(count(&said), (0, 1, Some(0)));
    }

    #[test]
    fn a_follower_that_has_caught_up_with_the_first_look_is_a_copy() {
        let look = |commits: &BTreeMap<u32, u64>, commit: u64, held: &[u64]| {
            let mut said = followers(0..1);
            said.push(status(1, vec![group(0, "writer", commit, held)]));
            Groups::since(&said.iter().collect::<Vec<_>>(), 1, commits)
        };
        let first = look(&BTreeMap::new(), 9, &[9, 9, 9, 7, 9]);
        assert_eq!((first.four, first.may_catch_up()), (1, true));
        for (held, five) in [(9, 1), (8, 0)] {
            let second = look(&first.commits(), 20, &[20, 20, 20, held, 19]);
            assert_eq!(second.five, five, "{held}");
        }
    }

    #[test]
    fn a_node_is_the_sum_of_its_shards() {
        let shard = |number: u16| StatusBody {
            shard: number,
            shards: 2,
            incarnation: 1_709_210_096_007 << 16 | 0xBEEF,
            driver: "epoll".to_owned(),
            memory_used: 3,
            memory_budget: 10,
            counters: vec![waterpark_wire::body::CounterBody {
                name: "mllp_messages".to_owned(),
                value: 5,
            }],
            groups: vec![group(number.into(), "writer", 4, &[4; 5]), group(7, "follower", 2, &[])],
            ..StatusBody::default()
        };
        let body = NodeBody {
            id: 3,
            name: "TX-A-1".to_owned(),
            host: String::new(),
            native_port: 0,
            shards: 2,
        };
        let node = Node::of(&body, &Ok(vec![shard(0), shard(1)]));
        assert_eq!((node.written, node.followed, node.actors, node.entries), (2, 2, 4, 12));
        assert_eq!((node.memory_used, node.memory_budget, node.mllp.messages), (6, 20, 10));
        assert_eq!(node.since_ms, 1_709_210_096_007);
        assert!(Node::of(&body, &Err(ClientError::Silent)).silence.is_some());
    }
}
