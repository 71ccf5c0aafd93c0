//! Work that is not the same for all groups: some are asked for far more often than others, as facilities are.
//!
//! Which groups those are follows from their numbers alone, in an order of its own: neither what placement makes of numbers nor how a run is
//! seeded has a part in it. **Invariant:** the chance of a group is exactly its share, and that of an actor the one of its group by the actors
//! that this has.

use std::collections::BTreeMap;

use waterpark_ring::{GroupId, Topology};

use crate::workload::{KeyText, Workload, mix};

/// Actors of a skewed workload at most: each has its place in a table.
pub const ACTORS_MAX: u64 = 100_000_000;
/// A larger exponent leaves nothing to any group but the first.
pub const EXPONENT_MAX: f64 = 10.0;

/// How messages are spread over groups.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Skew {
    /// Each actor as often as any other.
    Even,
    /// The group of rank r with a chance proportional to 1 / r to this power (Zipf's law), and its actors evenly.
    Zipf(f64),
}

impl Skew {
    /// As the command line says it; `None` where it means nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Skew> {
        if text == "even" {
            return Some(Skew::Even);
        }
        let exponent = text.strip_prefix("zipf:")?.parse().ok()?;
        (exponent > 0.0 && exponent <= EXPONENT_MAX).then_some(Skew::Zipf(exponent))
    }

    /// As results name it; `None` for an even spread, which results have not always named.
    #[must_use]
    pub fn name(self) -> Option<String> {
        match self {
            Skew::Even => None,
            Skew::Zipf(exponent) => Some(format!("zipf:{exponent}")),
        }
    }
}

/// Groups by rank, each with its actors.
#[derive(Debug, PartialEq, Eq)]
pub struct Ranks {
    /// By rank: the first word that is not its own any more. Words below belong to it or to ranks before.
    ends: Vec<u64>,
    /// By rank: its group.
    groups: Vec<GroupId>,
    /// By rank: where its actors begin, and where the last one's end.
    firsts: Vec<usize>,
    actors: Vec<u32>,
}

impl Ranks {
    /// The groups in which a workload has actors. Those without have no rank, since nobody can be asked there.
    ///
    /// # Panics
    /// If there are no actors, or more than [`ACTORS_MAX`].
    #[must_use]
    pub fn of(workload: &Workload, topology: &Topology, exponent: f64) -> Ranks {
        assert!(
            (1..=ACTORS_MAX).contains(&workload.actors),
            "each actor has a place in a table"
        );
        let mut by_group: BTreeMap<GroupId, Vec<u32>> = BTreeMap::new();
        let mut text = KeyText::default();
        for actor in 0..workload.actors {
            let key = workload.key(actor, &mut text);
            let group = topology.locate(key.expect("the workload's keys are well formed")).group;
            let actor = u32::try_from(actor).expect("no more than there may be");
            by_group.entry(group).or_default().push(actor);
        }
        let mut ranked: Vec<(GroupId, Vec<u32>)> = by_group.into_iter().collect();
        // A bijection of 64 bits: no two groups have the same place.
        ranked.sort_by_key(|(group, _)| mix(mix(u64::from(group.0)) ^ RANKS));
        let mut ranks = Ranks {
            ends: ends(ranked.len(), exponent),
            groups: Vec::with_capacity(ranked.len()),
            firsts: vec![0],
            actors: Vec::new(),
        };
        for (group, actors) in ranked {
            ranks.groups.push(group);
            ranks.actors.extend(actors);
            ranks.firsts.push(ranks.actors.len());
        }
        ranks
    }

    /// The actor of a word, all words being equally likely.
    #[must_use]
    pub fn actor(&self, word: u64) -> u64 {
        // The last word of all belongs to the last rank, whose end cannot be told by a word.
        let rank = self.ends.partition_point(|end| *end <= word).min(self.groups.len() - 1);
        let own = &self.actors[self.firsts[rank]..self.firsts[rank + 1]];
        // The word is bound to its rank by now: a part of it would not reach all actors.
        let place = (u128::from(mix(word ^ WITHIN)) * own.len() as u128) >> 64;
        u64::from(own[usize::try_from(place).expect("below the number of its actors")])
    }

    /// Groups, the most frequent first.
    #[must_use]
    pub fn groups(&self) -> &[GroupId] {
        &self.groups
    }
}

/// Makes the order of ranks another one than any that `mix` gives elsewhere.
const RANKS: u64 = 0x5EED_0F5E_A7ED_0001;
/// And that of the actors within a group.
const WITHIN: u64 = 0xD6E8_FEB8_6659_FD93;

/// Where the words of each of so many ranks end.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "shares from 0 to 1 of all words, to 53 bits"
)]
fn ends(ranks: usize, exponent: f64) -> Vec<u64> {
    let weights: Vec<f64> = (1..=ranks).map(|rank| (rank as f64).powf(-exponent)).collect();
    let all: f64 = weights.iter().sum();
    let mut below = 0.0;
    let end = |weight: &f64| {
        below += weight;
        // Saturates at the last one.
        (below / all * 2_f64.powi(64)) as u64
    };
    weights.iter().map(end).collect()
}

#[cfg(test)]
mod tests {
    use waterpark_ring::{ClusterId, NodeId, NodeSpec, TopologySpec, shard_of};

    use super::*;
    use crate::workload::Kind;

    const WORK: Workload = Workload {
        kind: Kind::W128,
        actors: 20_000,
        message_bytes: 128,
        seed: 7,
        warm: 0,
        prefix: "",
        skew: None,
    };

    fn topology(groups: u32) -> Topology {
        let names = ["FL-A-1", "FL-B-1", "TN-A-1", "TX-A-1", "UT-A-1"];
        let node = |(id, name): (u16, &str)| NodeSpec {
            id: NodeId(id),
            name: name.to_owned(),
            host: "127.0.0.1".to_owned(),
            port: 7_000 + 256 * id,
            shards: 2,
        };
        let nodes = (1..).zip(names).map(node).collect();
        Topology::new(TopologySpec {
            groups,
            ..TopologySpec::new(ClusterId([3; 16]), nodes)
        })
        .unwrap()
    }

    /// The sum of squares by which counts differ from what was expected, and what it exceeds in one case of a hundred thousand at most.
    fn chi_square(counts: &[u64], expected: &[f64]) -> (f64, f64) {
        let of = |(count, expected): (&u64, &f64)| (*count as f64 - expected).powi(2) / expected;
        let free = counts.len() as f64 - 1.0;
        // Wilson and Hilferty: the cube root is about normal, and 4.3 deviations are rare.
        let part = 2.0 / (9.0 * free);
        let bound = free * (1.0 - part + 4.3 * part.sqrt()).powi(3);
        (counts.iter().zip(expected).map(of).sum(), bound)
    }

    #[test]
    fn groups_and_their_actors_are_asked_for_as_often_as_their_shares_say() {
        let topology = topology(64);
        for exponent in [0.5, 1.2, 3.0] {
            let ranks: &Ranks = Box::leak(Box::new(Ranks::of(&WORK, &topology, exponent)));
            let work = Workload {
                skew: Some(ranks),
                ..WORK
            };
            let sent = 400_000;
            let mut by_actor = vec![0; 20_000];
            (0..sent).for_each(|serial| by_actor[usize::try_from(work.actor(serial)).unwrap()] += 1);
            let own = |rank: usize| &ranks.actors[ranks.firsts[rank]..ranks.firsts[rank + 1]];
            let of_group = |rank: usize| own(rank).iter().map(|actor| by_actor[*actor as usize]).sum::<u64>();

            let weight = |rank: usize| (rank as f64 + 1.0).powf(-exponent);
            let all: f64 = (0..64).map(weight).sum();
            let counts: Vec<u64> = (0..64).map(of_group).collect();
            let expected: Vec<f64> = (0..64).map(|rank| sent as f64 * weight(rank) / all).collect();
            // A group of which little is expected says nothing by itself.
            let told = expected.iter().take_while(|expected| **expected >= 10.0).count();
            let (found, bound) = chi_square(&counts[..told], &expected[..told]);
            assert!(found < bound, "{exponent}: {found} {bound}");

            let first: Vec<u64> = own(0).iter().map(|actor| by_actor[*actor as usize]).collect();
            let (found, bound) = chi_square(&first, &vec![counts[0] as f64 / first.len() as f64; first.len()]);
            assert!(found < bound, "{exponent}: {found} {bound}");
        }
    }

    #[test]
    fn every_actor_is_in_the_table_of_its_group_once() {
        let topology = topology(128);
        // Fewer actors than groups: some have none.
        for actors in [1, 50, 20_000] {
            let work = Workload { actors, ..WORK };
            let ranks = Ranks::of(&work, &topology, 1.2);
            let mut text = KeyText::default();
            for (rank, group) in ranks.groups.iter().enumerate() {
                let own = &ranks.actors[ranks.firsts[rank]..ranks.firsts[rank + 1]];
                assert!(!own.is_empty());
                for actor in own {
                    let key = work.key(u64::from(*actor), &mut text).unwrap();
                    assert_eq!(topology.locate(key).group, *group);
                }
            }
            let mut all = ranks.actors.clone();
            all.sort_unstable();
            assert!(all.into_iter().map(u64::from).eq(0..actors));
            for word in [0, 1 << 63, u64::MAX] {
                assert!(ranks.actor(word) < actors);
            }
        }
    }

    #[test]
    fn the_order_of_ranks_is_always_the_same_and_not_that_of_numbers() {
        let ranks = Ranks::of(&WORK, &topology(64), 1.2);
        let first: Vec<u32> = ranks.groups().iter().take(8).map(|group| group.0).collect();
        assert_eq!(first, FIRST);
        let other = Workload { seed: 8, ..WORK };
        assert_eq!(Ranks::of(&other, &topology(64), 1.2), ranks, "whatever the seed");
        let on_first = first.iter().filter(|group| shard_of(GroupId(**group), 2) == 0).count();
        assert!((2..=6).contains(&on_first), "{first:?}");
    }

    /// Those that are asked for most of 64: results would not compare with earlier ones if this changed.
    const FIRST: [u32; 8] = [38, 50, 52, 42, 33, 43, 21, 18];

    #[test]
    fn a_skew_is_what_is_named() {
        let table = [
            ("even", Some(Skew::Even)),
            ("zipf:1.2", Some(Skew::Zipf(1.2))),
            ("zipf:10", Some(Skew::Zipf(10.0))),
            ("zipf:0", None),
            ("zipf:-1", None),
            ("zipf:10.1", None),
            ("zipf:NaN", None),
            ("zipf:inf", None),
            ("zipf:", None),
            ("zipf", None),
            ("zipf=1.2", None),
            ("", None),
        ];
        for (text, skew) in table {
            assert_eq!(Skew::parse(text), skew, "{text}");
        }
        assert_eq!(Skew::Zipf(1.2).name().as_deref(), Some("zipf:1.2"));
        assert_eq!(Skew::Even.name(), None);
    }
}
