//! What the nodes say of themselves: who writes what, and whether everything has its copies.
//!
//! It chooses victims and says when a cluster is whole; it decides nothing about what was lost. **Invariant:** a copy counts only where its
//! member answers and says itself that it has one.

use std::collections::BTreeMap;

use waterpark_client::ReadOptions;
use waterpark_client::blocking::Client;
use waterpark_wire::body::StatusBody;

/// How long one node may take to answer, in ms.
const ANSWER_MS: u32 = 1_000;

/// One group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupSight {
    /// The node that writes it, the one with the newest view where two say so.
    pub(crate) writer: Option<u16>,
    /// The nodes of its members, the writer first.
    pub(crate) members: Vec<u16>,
    /// How far the writer has committed.
    pub(crate) commit: u64,
    /// Members that hold what an earlier look saw committed, and say so.
    pub(crate) copies: usize,
    view: u64,
}

/// All groups at one look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sight {
    /// By group.
    pub(crate) groups: Vec<GroupSight>,
    /// Nodes that answered, and the bytes of pools that they have in use.
    pub(crate) answered: usize,
    pub(crate) memory_used: u64,
}

impl Sight {
    /// Asks these nodes. One that does not answer is not there.
    pub(crate) fn look(client: &Client, nodes: &[u16], groups: u32, before: &Sight) -> Sight {
        let options = ReadOptions {
            timeout_ms: ANSWER_MS,
            ..ReadOptions::default()
        };
        let told: Vec<StatusBody> = nodes
            .iter()
            .filter_map(|node| client.status(*node, 0, &options).ok())
            .collect();
        Sight::of(&told, groups, before)
    }

    fn of(told: &[StatusBody], groups: u32, before: &Sight) -> Sight {
        let mut sight = Sight {
            groups: vec![GroupSight::default(); groups as usize],
            answered: told.len(),
            memory_used: told.iter().map(|status| status.memory_used).sum(),
        };
        let mut holders: BTreeMap<u32, Vec<u16>> = BTreeMap::new();
        for status in told {
            for group in &status.groups {
                if matches!(group.role.as_str(), "writer" | "follower") {
                    holders.entry(group.group).or_default().push(status.node_id);
                }
                let Some(seen) = sight.groups.get_mut(group.group as usize) else {
                    continue;
                };
                if group.role == "writer" && (seen.writer.is_none() || seen.view < group.view) {
                    *seen = GroupSight {
                        writer: Some(status.node_id),
                        members: group.members.clone(),
                        commit: group.commit,
                        copies: 0,
                        view: group.view,
                    };
                    let earlier = before.groups.get(group.group as usize);
                    let wanted = earlier.map_or(group.commit, |earlier| earlier.commit.min(group.commit));
                    let up_to_date = group
                        .members
                        .iter()
                        .zip(&group.held)
                        .filter(|(_, held)| **held >= wanted);
                    seen.copies = up_to_date.count();
                }
            }
        }
        for (group, seen) in (0..groups).zip(&mut sight.groups) {
            let holders = holders.get(&group).map_or(&[][..], Vec::as_slice);
            let there = seen.members.iter().filter(|member| holders.contains(member)).count();
            seen.copies = seen.copies.min(there);
        }
        sight
    }

    /// Groups with fewer copies than this, or without a writer.
    pub(crate) fn short_of(&self, copies: usize) -> usize {
        let short = |group: &&GroupSight| group.writer.is_none() || group.copies < copies;
        self.groups.iter().filter(short).count()
    }

    /// By group, its members, the writer first; groups without a writer are not there.
    pub(crate) fn members(&self) -> BTreeMap<u32, Vec<u16>> {
        let written = (0..).zip(&self.groups).filter(|(_, group)| group.writer.is_some());
        written.map(|(id, group)| (id, group.members.clone())).collect()
    }

    /// How many groups a node writes.
    pub(crate) fn written_by(&self, node: u16) -> usize {
        self.groups.iter().filter(|group| group.writer == Some(node)).count()
    }
}

#[cfg(test)]
mod tests {
    use waterpark_wire::body::GroupBody;

    use super::*;

    fn status(node_id: u16, role: &str, view: u64, held: &[u64]) -> StatusBody {
        StatusBody {
            node_id,
            groups: vec![GroupBody {
                group: 0,
                role: role.to_owned(),
                view,
                commit: 10,
                members: vec![1, 2, 3],
                held: held.to_vec(),
                ..GroupBody::default()
            }],
            ..StatusBody::default()
        }
    }

    #[test]
    fn of_two_writers_the_newer_view_counts() {
        let told = [
            status(1, "writer", 4, &[10, 10, 10]),
            status(2, "writer", 5, &[10, 0, 10]),
        ];
        let sight = Sight::of(&told, 1, &Sight::default());
        assert_eq!((sight.groups[0].writer, sight.written_by(2)), (Some(2), 1));
    }

    #[test]
    fn a_copy_counts_where_the_writer_knows_of_it_and_its_member_answers() {
        let writer = status(1, "writer", 4, &[12, 10, 9]);
        let followers = [status(2, "follower", 4, &[]), status(3, "follower", 4, &[])];
        let silent = Sight::of(&[writer.clone(), followers[0].clone()], 1, &Sight::default());
        assert_eq!(silent.groups[0].copies, 2);
        let [second, third] = followers;
        let behind = Sight::of(&[writer, second, third], 1, &Sight::default());
        assert_eq!(
            (behind.groups[0].copies, behind.short_of(3), behind.short_of(2)),
            (2, 1, 0)
        );
    }
}
