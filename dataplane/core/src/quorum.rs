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

/// The newest round of read confirmations that enough followers have confirmed: n − R of them, so that with the writer fewer than R are
/// left that could have promised a newer view. A writer without followers needs none.
///
/// `rounds[i]` is the newest round that `config.members[i + 1]` confirmed under exactly this view, 0 if it confirmed none.
///
/// # Panics
/// If `rounds` and the followers of `config` differ in number: a bug in this process.
#[must_use]
pub(crate) fn confirmed(rounds: &[u64], config: &Config) -> u64 {
    assert_eq!(rounds.len() + 1, config.members.len());
    let needed = config.members.len() - config.read_quorum;
    if needed == 0 {
        return u64::MAX;
    }
    let mut sorted = [0; MEMBERS_MAX];
    sorted[..rounds.len()].copy_from_slice(rounds);
    let sorted = &mut sorted[..rounds.len()];
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    sorted[needed - 1]
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

    #[test]
    fn a_round_is_confirmed_by_n_minus_r_followers() {
        let table: &[(&[u64], u64)] = &[
            (&[], u64::MAX),
            (&[7], 7),
            (&[0, 7], 7),
            (&[0, 7, 0], 0),
            (&[6, 7, 0], 6),
            (&[9, 0, 0, 0], 0),
            (&[9, 8, 0, 0], 8),
            (&[3, 8, 9, 5], 8),
        ];
        for (rounds, newest) in table {
            let members = u16::try_from(rounds.len() + 1).unwrap();
            assert_eq!(confirmed(rounds, &config(members)), *newest, "{rounds:?}");
        }
    }

    #[test]
    fn no_read_quorum_fits_beside_the_members_that_confirmed() {
        for members in 1..=MEMBERS_MAX {
            let config = config(u16::try_from(members).unwrap());
            let confirming = members - config.read_quorum;
            assert!(members - 1 - confirming < config.read_quorum, "{members} members");
        }
    }
}
