//! Which actors get most of the messages that a shard writes, from one of 32 of them.
//!
//! A row for each of the most frequent actors, no more than [`ROWS`]: who has none takes the place of the one with the fewest samples, and goes on
//! from its count (Space-Saving; Metwally, Agrawal, El Abbadi 2005). So a count is at most as much too high as what it went on from, and an
//! actor that gets more than one of `ROWS` of all messages has a row. **Invariant:** counts only grow while a row stays its actor's, so two looks
//! give exact differences.
//!
//! Which messages are samples is told from their seqs, by a hash: no pattern of senders falls in step with it, and it costs one multiplication.

use waterpark_wire::body::ActorBody;

use crate::behaviour::Behaviour;
use crate::group::Role;
use crate::ids::{GroupId, Seq, View};
use crate::memory::Memory;
use crate::rules::Rules;
use crate::shard::Shard;

/// Actors that are counted at once.
const ROWS: usize = 32;
/// One message of two to the power of this is a sample.
const SAMPLED_BITS: u32 = 5;

/// One actor in one view: a log that another one took the place of may have given its number to another actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Who {
    group: GroupId,
    view: View,
    actor: u32,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    who: Who,
    samples: u64,
    /// How many of them may be others'.
    others: u64,
    bytes: u64,
}

/// The most frequent actors of a shard.
#[derive(Debug, Default)]
pub(crate) struct Hot {
    rows: Vec<Row>,
}

impl Hot {
    /// A message of so many bytes was written as the entry `seq`. Returns whether it is a sample.
    #[inline]
    pub(crate) fn wrote(&mut self, group: GroupId, view: View, seq: Seq, actor: u32, bytes: usize) -> bool {
        let mixed = (seq.0 ^ u64::from(group.0) << 40).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let is_sample = mixed >> (64 - SAMPLED_BITS) == 0;
        if is_sample {
            self.sample(Who { group, view, actor }, bytes as u64);
        }
        is_sample
    }

    fn sample(&mut self, who: Who, bytes: u64) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.who == who) {
            row.samples += 1;
            row.bytes += bytes;
            return;
        }
        let fresh = |others| Row {
            who,
            samples: others + 1,
            others,
            bytes,
        };
        if self.rows.len() < ROWS {
            return self.rows.push(fresh(0));
        }
        let fewest = self
            .rows
            .iter_mut()
            .min_by_key(|row| row.samples)
            .expect("there are rows");
        *fewest = fresh(fewest.samples);
    }
}

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// The actors that get most of what this shard writes now.
    pub(crate) fn actor_bodies(&self) -> impl Iterator<Item = ActorBody> + '_ {
        self.hot.rows.iter().filter_map(|row| {
            let group = &self.groups[self.group_index(row.who.group)?];
            if group.role != Role::Writer || group.log_view != row.who.view {
                return None;
            }
            Some(ActorBody {
                group: row.who.group.0,
                key: group.registry.key(row.who.actor)?.to_vec(),
                samples: row.samples,
                others: row.others,
                bytes: row.bytes,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(actor: u32) -> Who {
        Who {
            group: GroupId(7),
            view: View(1),
            actor,
        }
    }

    #[test]
    fn about_one_message_of_32_is_a_sample_whatever_the_pattern() {
        for stride in [1, 2, 32, 64] {
            let mut hot = Hot::default();
            let seqs = (0..64_000).map(|number| Seq(1 + number * stride));
            let samples = seqs.filter(|seq| hot.wrote(GroupId(3), View(1), *seq, 5, 100)).count() as u64;
            assert!((1_800..=2_200).contains(&samples), "{samples} at stride {stride}");
            assert_eq!((hot.rows[0].samples, hot.rows[0].bytes), (samples, 100 * samples));
        }
    }

    #[test]
    fn an_actor_that_gets_a_tenth_among_thousands_has_its_row_and_its_count() {
        let mut hot = Hot::default();
        for round in 0..10_000_u32 {
            hot.sample(who(1_000_000), 10);
            for cold in 0..9 {
                hot.sample(who(round * 9 + cold), 10);
            }
        }
        assert_eq!(hot.rows.len(), ROWS);
        let row = hot.rows.iter().find(|row| row.who == who(1_000_000)).unwrap();
        assert!(row.samples >= 10_000 && row.samples - row.others <= 10_000, "{row:?}");
        let before = row.samples;
        (0..77).for_each(|_| hot.sample(who(1_000_000), 10));
        let row = hot.rows.iter().find(|row| row.who == who(1_000_000)).unwrap();
        assert_eq!(row.samples - before, 77, "what came between two looks is exact");
    }

    #[test]
    fn a_number_in_another_view_is_another_actor() {
        let mut hot = Hot::default();
        hot.sample(who(1), 10);
        hot.sample(
            Who {
                view: View(2),
                ..who(1)
            },
            10,
        );
        assert_eq!(hot.rows.len(), 2);
    }
}
