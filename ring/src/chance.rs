//! How likely it is that nodes lost together stop a group.
//!
//! A group stops when fewer of its members are left than a majority: three of five lost, two of four, two of three.
//! With many groups placed independently nearly every choice of three nodes in the right places stops some group; with
//! few distinct member sets most choices stop none, and those that do stop many (Cidon et al., *Copysets*, 2013). Knows
//! nothing of how likely losses are, nor of repair between them.

use crate::keyspace::NodeId;

/// A chance as a fraction: of all choices of lost nodes, equally likely, those that stop a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chance {
    /// Choices that stop at least one group.
    pub stopping: u64,
    /// All choices.
    pub possible: u64,
}

impl Chance {
    /// The fraction as a number from 0 to 1; 0 where nothing can be chosen.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share of at most 2^52 choices is exact enough to be read"
    )]
    pub fn share(self) -> f64 {
        if self.possible == 0 {
            0.0
        } else {
            self.stopping as f64 / self.possible as f64
        }
    }
}

/// The chance that `losses` of these nodes, chosen at random and lost at once, stop a group. Exact, by going through
/// all choices: for three of 512 nodes there are 22 million.
///
/// # Panics
///
/// If a member set names a node that is not among the nodes.
#[must_use]
pub fn chance_of_stop<S: AsRef<[NodeId]>>(member_sets: &[S], nodes: &[NodeId], losses: usize) -> Chance {
    let places: Vec<(NodeId, usize)> = nodes.iter().copied().zip(0..).collect();
    chance_of_stop_across(member_sets, &places, losses)
}

/// The same where the lost nodes stand in different places, each node being given with its own: with data centres as
/// places, the chance that one node lost in each of `losses` data centres stops a group.
///
/// # Panics
///
/// If a member set names a node that is not among the nodes.
#[must_use]
pub fn chance_of_stop_across<S: AsRef<[NodeId]>>(
    member_sets: &[S],
    nodes: &[(NodeId, usize)],
    losses: usize,
) -> Chance {
    let mut sets_of = vec![Vec::new(); nodes.len()];
    for (set, members) in member_sets.iter().enumerate() {
        for member in members.as_ref() {
            let rank = nodes
                .iter()
                .position(|(node, _)| node == member)
                .expect("members are among the nodes");
            sets_of[rank].push(set);
        }
    }
    let places = nodes.iter().map(|&(_, place)| place).collect();
    let bearable = member_sets
        .iter()
        .map(|members| members.as_ref().len().div_ceil(2).cast_signed() - 1)
        .collect();
    let mut count = Count {
        sets_of,
        places,
        bearable,
        stopped: 0,
        chance: Chance {
            stopping: 0,
            possible: 0,
        },
    };
    count.choose(0, losses, &mut Vec::with_capacity(losses));
    count.chance
}

/// A walk over all choices, which adds and takes back one loss at a time.
struct Count {
    /// By node: the member sets that it is in.
    sets_of: Vec<Vec<usize>>,
    places: Vec<usize>,
    /// By member set: the losses that it can still bear; below zero it has stopped.
    bearable: Vec<isize>,
    stopped: usize,
    chance: Chance,
}

impl Count {
    fn choose(&mut self, first: usize, losses: usize, taken: &mut Vec<usize>) {
        if losses == 0 {
            self.chance.possible += 1;
            self.chance.stopping += u64::from(self.stopped > 0);
            return;
        }
        for node in first..self.sets_of.len() {
            if taken.contains(&self.places[node]) {
                continue;
            }
            taken.push(self.places[node]);
            self.lose(node);
            self.choose(node + 1, losses - 1, taken);
            self.regain(node);
            taken.pop();
        }
    }

    fn lose(&mut self, node: usize) {
        for &set in &self.sets_of[node] {
            self.bearable[set] -= 1;
            self.stopped += usize::from(self.bearable[set] == -1);
        }
    }

    fn regain(&mut self, node: usize) {
        for &set in &self.sets_of[node] {
            self.stopped -= usize::from(self.bearable[set] == -1);
            self.bearable[set] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node_name::NodeName;
    use crate::placement::testing::{FULL, spec};
    use crate::testing::Random;
    use crate::topology::{Topology, TopologySpec};

    /// The chance by definition, over sets of nodes as bits.
    fn by_enumeration(member_sets: &[Vec<NodeId>], nodes: &[(NodeId, usize)], losses: u32) -> Chance {
        let bits = |set: &[NodeId]| set.iter().fold(0_u32, |bits, node| bits | 1 << node.0);
        let apart = |lost: u32| {
            let mut places: Vec<usize> = nodes
                .iter()
                .filter(|(node, _)| lost >> node.0 & 1 == 1)
                .map(|&(_, place)| place)
                .collect();
            places.sort_unstable();
            places.windows(2).all(|pair| pair[0] != pair[1])
        };
        let choices: Vec<u32> = (0..1_u32 << nodes.len())
            .filter(|lost| lost.count_ones() == losses && apart(*lost))
            .collect();
        let stops = |lost: &u32| {
            member_sets.iter().any(|set| {
                let majority = set.len() / 2 + 1;
                set.len() - ((bits(set) & lost).count_ones() as usize) < majority
            })
        };
        let stopping = choices.iter().filter(|lost| stops(lost)).count();
        Chance {
            stopping: stopping.try_into().unwrap(),
            possible: choices.len().try_into().unwrap(),
        }
    }

    #[test]
    fn counting_agrees_with_enumeration() {
        let mut random = Random::new(6);
        for _ in 0..40 {
            let nodes: Vec<(NodeId, usize)> = (0..11).map(|id| (NodeId(id), random.below(4))).collect();
            let member_sets: Vec<Vec<NodeId>> = (0..1 + random.below(6))
                .map(|_| {
                    let mut ids: Vec<NodeId> = nodes.iter().map(|&(node, _)| node).collect();
                    random.shuffle(&mut ids);
                    ids.truncate(1 + random.below(5));
                    ids
                })
                .collect();
            let ids: Vec<NodeId> = nodes.iter().map(|&(node, _)| node).collect();
            let anywhere: Vec<(NodeId, usize)> = ids.iter().copied().zip(0..).collect();
            for losses in 0..5_u8 {
                let wanted = by_enumeration(&member_sets, &anywhere, losses.into());
                assert_eq!(chance_of_stop(&member_sets, &ids, losses.into()), wanted);
                let wanted = by_enumeration(&member_sets, &nodes, losses.into());
                assert_eq!(chance_of_stop_across(&member_sets, &nodes, losses.into()), wanted);
            }
        }
    }

    /// The table of `docs/placement.md`.
    #[test]
    fn the_documented_chances_of_three_losses_hold() {
        let row = |groups, copysets| {
            let topology = Topology::new(TopologySpec {
                groups,
                copysets,
                ..spec(FULL)
            })
            .unwrap();
            let sets: Vec<Vec<NodeId>> = topology.birth().member_sets().into_iter().collect();
            let dc = |name: &str| {
                topology
                    .dcs()
                    .iter()
                    .position(|&dc| dc == NodeName::parse(name).unwrap().dc)
                    .unwrap()
            };
            let nodes: Vec<(NodeId, usize)> = topology.nodes().iter().map(|node| (node.id, dc(&node.name))).collect();
            let ids: Vec<NodeId> = topology.nodes().iter().map(|node| node.id).collect();
            (
                sets.len(),
                chance_of_stop(&sets, &ids, 3).stopping,
                chance_of_stop_across(&sets, &nodes, 3).stopping,
            )
        };
        let share = |stopping: u64, possible: u64| (1000 * stopping + possible / 2) / possible;
        let percent = |tenths: u64| format!("{}.{} %", tenths / 10, tenths % 10);
        let thousands = |n: u64| {
            if n < 1000 {
                n.to_string()
            } else {
                format!("{},{:03}", n / 1000, n % 1000)
            }
        };
        let line = |(groups, copysets): (u32, Option<u32>)| {
            let (sets, anywhere, across) = row(groups, copysets);
            format!(
                "| {} | {} | {} | {} | {} |\n",
                thousands(groups.into()),
                copysets.map_or("none".to_owned(), |copysets| copysets.to_string()),
                thousands(sets.try_into().unwrap()),
                percent(share(anywhere, 4960)),
                percent(share(across, 2048)),
            )
        };
        let table: String = [(16_384, None), (128, None), (16_384, Some(128)), (16_384, Some(32))]
            .map(line)
            .concat();
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/placement.md")).unwrap();
        assert!(page.contains(&table), "docs/placement.md should say\n{table}");
    }
}
