//! What the topology log changed, for whoever asks afterwards: which position, when, by whom, and why.
//!
//! Only what took effect is in it; a late or doubled entry is not. It decides nothing, and it is bounded: the oldest is forgotten first.

use std::collections::VecDeque;

use crate::config::Config;
use crate::ids::{GroupId, Member, NodeId, View};
use crate::topology_log::entry::{Entry, Stamp, Why, WhyVoters};
use crate::topology_log::state::{Changed, Presence, Seat, TopologyState};

/// One thing that an entry changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// The entry's position.
    pub position: u64,
    /// Who proposed it, and when.
    pub stamp: Stamp,
    /// What.
    pub what: What,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A node is there, or not.
    Node {
        /// Its process.
        member: Member,
        /// As the log has it now.
        presence: Presence,
    },
    /// All groups were born.
    Created {
        /// How many.
        groups: u32,
    },
    /// Others learn a group's log.
    Learners {
        /// The group.
        group: GroupId,
        /// They.
        members: Vec<Member>,
    },
    /// A Config is to be opened.
    Proposed {
        /// The Config.
        config: Config,
        /// Why.
        why: Why,
        /// The words of whoever opens a lost group again.
        reason: String,
    },
    /// A Config is in force.
    Activated {
        /// The group.
        group: GroupId,
        /// The view.
        view: View,
        /// The members, the writer first.
        members: Vec<Member>,
    },
    /// Others vote, or the same begin new files.
    Voters {
        /// Their configuration.
        configuration: u32,
        /// Their nodes.
        nodes: Vec<NodeId>,
        /// Why.
        why: WhyVoters,
    },
    /// Groups live on other shards of a node.
    Seated {
        /// The node.
        node: NodeId,
        /// They, each with its shard and whether it is held there.
        groups: Vec<(GroupId, Seat)>,
        /// The words of whoever wanted it.
        reason: String,
    },
}

/// The last happenings, in order.
#[derive(Clone, Debug, Default)]
pub struct History {
    rows: VecDeque<Happening>,
}

impl History {
    /// So many are kept.
    pub const MOST: usize = 4_096;

    /// An entry was applied, and changed this.
    pub fn record(&mut self, state: &TopologyState, stamp: Stamp, entry: &Entry, changed: &Changed) {
        let position = state.position();
        let mut push = |what| {
            if self.rows.len() == History::MOST {
                self.rows.pop_front();
            }
            self.rows.push_back(Happening { position, stamp, what });
        };
        if let Some(node) = changed.node {
            let row = state.node(node);
            push(What::Node {
                member: Member {
                    node,
                    incarnation: row.incarnation,
                },
                presence: row.presence,
            });
        }
        if let Entry::VotersChanged {
            configuration,
            voters,
            why,
        } = entry
            && changed.voters
        {
            push(What::Voters {
                configuration: *configuration,
                nodes: voters.iter().map(|voter| voter.node).collect(),
                why: *why,
            });
        }
        if let Entry::Seats { node, reason, .. } = entry
            && !changed.seats.is_empty()
        {
            let seat = |(node, group): &(NodeId, GroupId)| Some((*group, state.seat(*node, *group)?));
            push(What::Seated {
                node: *node,
                groups: changed.seats.iter().filter_map(seat).collect(),
                reason: reason.clone(),
            });
        }
        if let Entry::Create(_) = entry {
            // One line says it of all.
            if let Ok(groups @ 1..) = u32::try_from(changed.active.len()) {
                push(What::Created { groups });
            }
            return;
        }
        let rows = |groups: &[GroupId]| {
            let row = |group: &GroupId| state.group(*group).map(|row| (*group, row.clone()));
            groups.iter().filter_map(row).collect::<Vec<_>>()
        };
        for (group, row) in rows(&changed.learners) {
            push(What::Learners {
                group,
                members: row.learners,
            });
        }
        for (group, row) in rows(&changed.pending) {
            let Some(config) = row.pending else { continue };
            let (why, reason) = reason_of(entry, group);
            push(What::Proposed { config, why, reason });
        }
        for (group, row) in rows(&changed.active) {
            push(What::Activated {
                group,
                view: row.active.view,
                members: row.active.members,
            });
        }
    }

    /// All that is kept, the oldest first.
    pub fn rows(&self) -> impl Iterator<Item = &Happening> {
        self.rows.iter()
    }
}

fn reason_of(entry: &Entry, group: GroupId) -> (Why, String) {
    match entry {
        Entry::Propose(proposals) => {
            // Of two about one group the first took effect.
            let proposal = proposals.iter().find(|proposal| proposal.group == group);
            (proposal.map_or(Why::Unsaid, |proposal| proposal.why), String::new())
        }
        Entry::Reopen { reason, .. } => (Why::Operator, reason.clone()),
        _ => (Why::Unsaid, String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Incarnation;
    use crate::topology_log::entry::{Proposal, Roll};

    fn member(node: u16) -> Member {
        Member {
            node: NodeId(node),
            incarnation: Incarnation(1),
        }
    }

    fn roll(nodes: [u16; 3]) -> Roll {
        Roll {
            members: nodes.map(member).to_vec(),
            write_quorum: 2,
            read_quorum: 2,
        }
    }

    struct Kept {
        state: TopologyState,
        history: History,
    }

    impl Kept {
        fn apply(&mut self, entry: &Entry) {
            let position = self.state.position() + 1;
            let changed = self.state.apply(position, entry);
            let stamp = Stamp {
                by: NodeId(1),
                wall_ms: position * 10,
            };
            self.history.record(&self.state, stamp, entry, &changed);
        }
    }

    #[test]
    fn what_took_effect_is_kept_with_its_position_time_and_reason_and_a_doubled_entry_is_not() {
        let mut kept = Kept {
            state: TopologyState::default(),
            history: History::default(),
        };
        for node in 1..=4 {
            kept.apply(&Entry::NodeUp {
                member: member(node),
                replaces: Incarnation(0),
            });
        }
        kept.apply(&Entry::Create(vec![roll([1, 2, 3])]));
        let propose = Entry::Propose(vec![Proposal {
            group: GroupId(0),
            sees_active: View(5),
            sees_pending: View(0),
            roll: roll([2, 1, 4]),
            why: Why::Drain,
        }]);
        kept.apply(&propose);
        kept.apply(&propose);
        kept.apply(&Entry::Activate(vec![(GroupId(0), View(6))]));
        kept.apply(&Entry::Activate(vec![(GroupId(0), View(6))]));
        let rows: Vec<&Happening> = kept.history.rows().skip(4).collect();
        let positions: Vec<(u64, u64)> = rows.iter().map(|row| (row.position, row.stamp.wall_ms)).collect();
        assert_eq!(positions, [(5, 50), (6, 60), (8, 80)]);
        assert_eq!(rows[0].what, What::Created { groups: 1 });
        assert!(matches!(&rows[1].what, What::Proposed { config, why: Why::Drain, .. } if config.view == View(6)));
        assert!(matches!(&rows[2].what, What::Activated { members, .. } if members[0] == member(2)));
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut kept = Kept {
            state: TopologyState::default(),
            history: History::default(),
        };
        for incarnation in 1..=(History::MOST as u64 + 2) {
            kept.apply(&Entry::NodeUp {
                member: Member {
                    node: NodeId(1),
                    incarnation: Incarnation(incarnation),
                },
                replaces: Incarnation(incarnation - 1),
            });
        }
        assert_eq!(kept.history.rows().count(), History::MOST);
        assert_eq!(kept.history.rows().next().map(|row| row.position), Some(3));
    }
}
