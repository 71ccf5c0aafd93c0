//! Finds how far a group's log is committed: the seq that W of its members hold.
//!
//! Counters, not votes per entry: the cost of a commit is per batch, never per message. Nothing here knows of frames, sockets or time.

use crate::config::{Config, MEMBERS_MAX};
use crate::ids::Seq;

/// The largest seq that at least `config.write_quorum` members hold.
///
/// `held[i]` is the last seq that `config.members[i]` accepted under exactly this view, `Seq::ZERO` if it accepted none; the writer's own
/// is `held[0]`. The result never exceeds the writer's own last seq as long as no follower holds more than the writer.
///
/// # Panics
/// If `held` and `config.members` differ in length: a bug in this process, not a fault of a peer.
#[must_use]
pub fn committed(held: &[Seq], config: &Config) -> Seq {
    largest_held_by(held, config, config.write_quorum)
}

/// The largest seq that at least `copies` members hold.
pub(crate) fn largest_held_by(held: &[Seq], config: &Config, copies: usize) -> Seq {
    assert_eq!(held.len(), config.members.len());
    // Any read quorum meets any write quorum, or a view change could miss a committed entry (Flexible Paxos).
    assert!(config.write_quorum + config.read_quorum > held.len());

    let mut sorted = [Seq::ZERO; MEMBERS_MAX];
    sorted[..held.len()].copy_from_slice(held);
    let sorted = &mut sorted[..held.len()];
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    sorted[copies - 1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{GroupId, Incarnation, Lineage, Member, NodeId, View};

    fn config(members: u16) -> Config {
        let members: Vec<_> = (1..=members)
            .map(|n| Member {
                node: NodeId(n),
                incarnation: Incarnation(7),
            })
            .collect();
        Config::new(GroupId(0), View(1), Lineage(0), &members)
    }

    #[test]
    fn commit_is_the_wth_largest() {
        let table: &[(&[u64], u64)] = &[
            (&[9, 0, 0, 0, 0], 0),
            (&[9, 4, 0, 0, 0], 0),
            (&[9, 4, 7, 0, 0], 4),
            (&[9, 4, 7, 9, 9], 9),
            (&[9, 9, 9, 0, 0], 9),
            (&[3, 3, 2], 3),
            (&[3, 2, 1], 2),
            (&[5, 4], 4),
            (&[5], 5),
        ];
        for (held, commit) in table {
            let held: Vec<_> = held.iter().copied().map(Seq).collect();
            let members = u16::try_from(held.len()).unwrap();
            assert_eq!(committed(&held, &config(members)), Seq(*commit), "{held:?}");
        }
    }
}
