//! Who votes, as the topology log says, and which process may begin a voter's file.
//!
//! **Invariant:** for one id at most one file is ever begun, whatever was lost: by the process that was given the vote, once in its life; or by
//! whoever has the file of the configuration before, or of an earlier one since the node was given its vote, in whose place the new one goes.

use super::TopologyState;
use crate::ids::{Member, NodeId};
use crate::topology_log::consensus::VoterId;
use crate::topology_log::entry::Voter;

/// The voters of the newest configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Electorate {
    /// Its number, from 1.
    pub configuration: u32,
    /// The position of the entry that named them: theirs are the positions behind it.
    pub base: u64,
    /// They, ascending by id. None in the first configuration: those the cluster was made with.
    pub voters: Vec<Voter>,
}

impl Default for Electorate {
    fn default() -> Electorate {
        Electorate {
            configuration: 1,
            base: 0,
            voters: Vec::new(),
        }
    }
}

impl Electorate {
    /// Whether the log gave a node a vote that it still has.
    #[must_use]
    pub fn has(&self, node: NodeId) -> bool {
        self.voters.iter().any(|voter| voter.node == node)
    }

    /// Others vote, if theirs is the next configuration.
    pub(super) fn follow(&mut self, position: u64, configuration: u32, voters: &[Voter]) -> bool {
        let is_next = self.configuration.checked_add(1) == Some(configuration);
        if is_next {
            *self = Electorate {
                configuration,
                base: position,
                voters: voters.to_vec(),
            };
        }
        is_next
    }
}

impl TopologyState {
    /// Who votes, as far as the log says.
    #[must_use]
    pub fn electorate(&self) -> &Electorate {
        &self.electorate
    }

    /// The id under which a process may begin its file in the newest configuration, once in its life; `None` if it may not. `file` is the
    /// configuration of the voter file that its node has.
    #[must_use]
    pub fn birthright(&self, own: Member, file: Option<u32>) -> Option<VoterId> {
        let Electorate {
            configuration, voters, ..
        } = &self.electorate;
        let voter = voters.iter().find(|voter| voter.node == own.node)?;
        // Whoever has the older file never had the newer one: files are only ever replaced by newer ones.
        let follows = file.is_some_and(|file| (voter.since..*configuration).contains(&file));
        let is_given = voter.since == *configuration && voter.incarnation == own.incarnation;
        (self.may_answer(own) && (follows || is_given)).then_some(voter.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Incarnation;
    use crate::topology_log::entry::{Entry, WhyVoters};
    use crate::topology_log::state::Changed;
    use crate::topology_log::state::tests::member;

    fn voter(id: u16, node: u16, since: u32, incarnation: u64) -> Voter {
        Voter {
            id: VoterId(id),
            node: NodeId(node),
            since,
            incarnation: Incarnation(incarnation),
        }
    }

    fn changed(configuration: u32, voters: &[Voter]) -> Entry {
        Entry::VotersChanged {
            configuration,
            voters: voters.to_vec(),
            why: WhyVoters::Lost,
        }
    }

    /// Node 4 was given the vote of node 3 in configuration 2.
    fn replaced() -> TopologyState {
        let mut state = TopologyState::default();
        let next = [voter(4, 1, 1, 0), voter(5, 2, 1, 0), voter(6, 4, 2, 7)];
        assert!(state.apply(1, &changed(2, &next)).voters);
        state
    }

    #[test]
    fn voters_follow_each_other_one_configuration_at_a_time() {
        let mut state = replaced();
        for late in [1, 2, 4] {
            let position = state.position() + 1;
            assert_eq!(
                state.apply(position, &changed(late, &[voter(9, 1, 1, 0)])),
                Changed::default()
            );
        }
        assert_eq!((state.electorate().configuration, state.electorate().base), (2, 1));
        assert!(state.electorate().has(NodeId(4)) && !state.electorate().has(NodeId(3)));
    }

    #[test]
    fn whoever_has_the_file_before_goes_on_and_whoever_lost_it_does_not() {
        let state = replaced();
        assert_eq!(state.birthright(member(1, 9), Some(1)), Some(VoterId(4)));
        assert_eq!(state.birthright(member(1, 9), None), None, "it was wiped");
        assert_eq!(state.birthright(member(1, 9), Some(2)), None, "it votes already");
        assert_eq!(state.birthright(member(3, 1), Some(1)), None, "it was replaced");
    }

    #[test]
    fn a_vote_that_is_given_is_the_process_s_alone() {
        let mut state = replaced();
        assert_eq!(state.birthright(member(4, 7), None), Some(VoterId(6)));
        assert_eq!(state.birthright(member(4, 8), None), None, "another process");
        assert_eq!(
            state.birthright(member(4, 8), Some(1)),
            None,
            "a file from before it was given"
        );
        let next = [voter(7, 1, 1, 0), voter(8, 4, 2, 7)];
        state.apply(2, &changed(3, &next));
        assert_eq!(state.birthright(member(4, 8), Some(2)), Some(VoterId(8)));
        assert_eq!(state.birthright(member(4, 7), None), None, "it lost the file of 2");
        assert_eq!(
            state.birthright(member(1, 1), Some(1)),
            Some(VoterId(7)),
            "it missed a configuration"
        );
        let up = Entry::NodeUp {
            member: member(4, 9),
            replaces: crate::ids::Incarnation(0),
        };
        state.apply(3, &up);
        assert_eq!(
            state.birthright(member(4, 8), Some(2)),
            None,
            "a newer process is there"
        );
    }
}
