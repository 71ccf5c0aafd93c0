//! What a prefix of the topology log says. A pure fold: it knows no time, no peer and no member's log.

mod bytes;
mod nodes;
mod seats;
mod voters;

use std::collections::BTreeMap;

pub use seats::Seat;
pub use voters::Electorate;

use waterpark_ring::{NodeSpec, Slot};

use crate::config::Config;
use crate::ids::{GroupId, Incarnation, Lineage, Member, NodeId, View};
use crate::topology_log::entry::{Entry, Proposal, Roll};

/// Whether a node is there, as the log says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// It never was.
    #[default]
    Unknown,
    /// It is.
    Up,
    /// It is there and shall lose its memberships.
    Draining,
    /// It is not heard.
    Down,
    /// It will never be heard again, an operator said.
    Gone,
    /// It belongs to the cluster since this was made, and no process of it was ever there.
    Joined,
    /// It belongs to the cluster no more, for good.
    Left,
}

/// What the log says of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeState {
    /// Its newest process; 0 if there was none.
    pub incarnation: Incarnation,
    /// Whether it is there.
    pub presence: Presence,
}

/// What the log says of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupState {
    /// The Config in force.
    pub active: Config,
    /// The one that is being opened.
    pub pending: Option<Config>,
    /// Members that receive and never count.
    pub learners: Vec<Member>,
    /// The processes that were to be members by what was proposed since the active Config: each may have a log of a view that never opened.
    pub since: Vec<Member>,
}

/// What an entry changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// GroupState whose active Config is another now.
    pub active: Vec<GroupId>,
    /// GroupState whose pending Config is another now, or gone.
    pub pending: Vec<GroupId>,
    /// Groups that other processes learn now.
    pub learners: Vec<GroupId>,
    /// A node whose row is another now.
    pub node: Option<NodeId>,
    /// Other nodes belong to the cluster now, and groups should be elsewhere.
    pub placing: bool,
    /// Others vote now.
    pub voters: bool,
    /// Groups that have another seat on a node now, or the same one for another reason.
    pub seats: Vec<(NodeId, GroupId)>,
}

/// The state after a prefix of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopologyState {
    position: u64,
    /// The position of the Create; 0 before it.
    born: u64,
    electorate: Electorate,
    nodes: Vec<NodeState>,
    groups: Vec<GroupState>,
    /// Where each group should be; none before the Create.
    slots: Vec<Slot>,
    /// The position of the entry that last changed that; 0 where only the Create did.
    placing: u64,
    /// Nodes that joined, those among them that left too.
    joined: Vec<NodeSpec>,
    /// Groups that an entry gave a shard of a node; all others live where their number says.
    seats: BTreeMap<(NodeId, GroupId), Seat>,
}

impl TopologyState {
    /// The position of the last entry.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The position at which the groups were born, and so the view of their first Configs; 0 before it.
    #[must_use]
    pub fn born(&self) -> u64 {
        self.born
    }

    /// What the log says of a node.
    #[must_use]
    pub fn node(&self, node: NodeId) -> NodeState {
        self.nodes.get(usize::from(node.0)).copied().unwrap_or_default()
    }

    /// The nodes that the log knows, in order of id.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, NodeState)> + '_ {
        let known = (0..).map(NodeId).zip(&self.nodes);
        known
            .filter(|(_, node)| node.presence != Presence::Unknown)
            .map(|(id, node)| (id, *node))
    }

    /// What the log says of a group; `None` before the Create.
    #[must_use]
    pub fn group(&self, group: GroupId) -> Option<&GroupState> {
        self.groups.get(group.0 as usize)
    }

    /// All groups, in order of id; none before the Create.
    pub fn groups(&self) -> impl Iterator<Item = (GroupId, &GroupState)> + '_ {
        (0..).map(GroupId).zip(&self.groups)
    }

    /// Whether a process may still answer for itself: no newer one of its node is known.
    #[must_use]
    pub fn may_answer(&self, member: Member) -> bool {
        let node = self.node(member.node);
        let is_gone = match node.presence {
            Presence::Gone => node.incarnation == member.incarnation,
            Presence::Left => true,
            _ => false,
        };
        node.incarnation <= member.incarnation && !is_gone
    }

    /// The processes that may still hold something of a group: those of its active Config and of each that was proposed since, as far as they
    /// may answer.
    #[must_use]
    pub fn survivors(&self, group: GroupId) -> Vec<Member> {
        let Some(group) = self.group(group) else {
            return Vec::new();
        };
        let mut survivors = Vec::new();
        for member in group.active.members.iter().chain(&group.since) {
            if self.may_answer(*member) && !survivors.contains(member) {
                survivors.push(*member);
            }
        }
        survivors
    }

    /// Whether fewer than R processes of a group's active Config can ever answer.
    #[must_use]
    pub fn is_lost(&self, group: GroupId) -> bool {
        self.group(group).is_some_and(|group| {
            let active = &group.active;
            let able = active.members.iter().filter(|member| self.may_answer(**member));
            able.count() < active.read_quorum
        })
    }

    /// The next entry. Whatever does not fit the state changes nothing: it was proposed about an older one.
    ///
    /// # Panics
    /// If `position` is not the next one: a bug in this process, which hands entries on in order.
    pub fn apply(&mut self, position: u64, entry: &Entry) -> Changed {
        assert_eq!(position, self.position + 1, "entries come in order, each once");
        self.position = position;
        let mut changed = Changed::default();
        match entry {
            Entry::NodeUp { member, replaces } => {
                let node = self.node_mut(member.node);
                // A late copy must not end a draining: that has an entry of its own.
                let again = node.incarnation == member.incarnation && node.presence == Presence::Down;
                let newer = node.incarnation == *replaces && member.incarnation > *replaces;
                let has_left = node.presence == Presence::Left;
                if (again || newer) && !has_left {
                    *node = NodeState {
                        incarnation: member.incarnation,
                        presence: Presence::Up,
                    };
                    changed.node = Some(member.node);
                }
            }
            Entry::NodeDown(member) => {
                let node = self.node_mut(member.node);
                let is_there = matches!(node.presence, Presence::Up | Presence::Draining);
                if node.incarnation == member.incarnation && is_there {
                    node.presence = Presence::Down;
                    changed.node = Some(member.node);
                }
            }
            Entry::NodeGone(member) => {
                let node = self.node_mut(member.node);
                let is_over = matches!(node.presence, Presence::Gone | Presence::Left);
                if node.incarnation == member.incarnation && !is_over {
                    node.presence = Presence::Gone;
                    changed.node = Some(member.node);
                }
            }
            Entry::NodeDraining(id) => {
                let node = self.node_mut(*id);
                if node.presence == Presence::Up {
                    node.presence = Presence::Draining;
                    changed.node = Some(*id);
                }
            }
            Entry::NodeUndraining(id) => {
                let node = self.node_mut(*id);
                if node.presence == Presence::Draining {
                    node.presence = Presence::Up;
                    changed.node = Some(*id);
                }
            }
            Entry::Create(rolls) => self.create(rolls, &mut changed),
            Entry::SetLearners { group, members } => {
                if let Some(row) = self.groups.get_mut(group.0 as usize) {
                    row.learners.clone_from(members);
                    changed.learners.push(*group);
                }
            }
            Entry::Propose(proposals) => {
                for proposal in proposals {
                    let lineage = self.group(proposal.group).map(|group| group.active.lineage);
                    self.propose(proposal, lineage.unwrap_or_default(), &mut changed);
                }
            }
            Entry::Activate(views) => views
                .iter()
                .for_each(|(group, view)| self.activate(*group, *view, &mut changed)),
            Entry::Reopen { proposal, .. } => {
                if self.is_lost(proposal.group) {
                    self.propose(proposal, Lineage(position), &mut changed);
                }
            }
            Entry::NodeJoined { node, placing } => self.join(node, placing, &mut changed),
            Entry::NodeLeft { node, placing } => self.leave(*node, placing, &mut changed),
            Entry::VotersChanged {
                configuration, voters, ..
            } => changed.voters = self.electorate.follow(position, *configuration, voters),
            Entry::Seats { node, moves, .. } => {
                moves.iter().for_each(|one| self.seat_group(*node, one, &mut changed));
            }
        }
        changed
    }

    fn node_mut(&mut self, node: NodeId) -> &mut NodeState {
        let index = usize::from(node.0);
        if self.nodes.len() <= index {
            self.nodes.resize(index + 1, NodeState::default());
        }
        &mut self.nodes[index]
    }

    fn create(&mut self, rolls: &[Roll], changed: &mut Changed) {
        let view = View(self.position);
        let configs = (0..)
            .map(GroupId)
            .zip(rolls)
            .map(|(group, roll)| config_of(group, view, Lineage(0), roll));
        // All of them or none: whoever made it has a bug, and nobody is harmed by it.
        let Some(configs) = configs
            .collect::<Option<Vec<Config>>>()
            .filter(|_| self.groups.is_empty())
        else {
            return;
        };
        self.born = self.position;
        changed.active.extend(configs.iter().map(|config| config.group));
        let slot = |config: &Config| {
            let nodes: Vec<NodeId> = config.members.iter().map(|member| member.node).collect();
            Slot::new(&nodes).expect("the members of a Config stand on nodes of their own")
        };
        self.slots = configs.iter().map(slot).collect();
        let born = |active| GroupState {
            active,
            pending: None,
            learners: Vec::new(),
            since: Vec::new(),
        };
        self.groups = configs.into_iter().map(born).collect();
    }

    fn propose(&mut self, proposal: &Proposal, lineage: Lineage, changed: &mut Changed) {
        let view = View(self.position);
        let Some(group) = self.groups.get_mut(proposal.group.0 as usize) else {
            return;
        };
        let pending = group.pending.as_ref().map_or(View::default(), |pending| pending.view);
        if group.active.view != proposal.sees_active || pending != proposal.sees_pending {
            return;
        }
        // It was proposed before a node left that it names.
        let left = |member: &Member| has_left(&self.nodes, member.node);
        if proposal.roll.members.iter().any(left) {
            return;
        }
        if let Some(config) = config_of(proposal.group, view, lineage, &proposal.roll) {
            let new = config.members.iter().filter(|member| !group.since.contains(member));
            let new: Vec<Member> = new.copied().collect();
            group.since.extend(new);
            group.pending = Some(config);
            changed.pending.push(proposal.group);
        }
    }

    fn activate(&mut self, id: GroupId, view: View, changed: &mut Changed) {
        let Some(group) = self.groups.get_mut(id.0 as usize) else {
            return;
        };
        // One that is active already was activated by an earlier copy of this entry.
        if let Some(pending) = group.pending.take_if(|pending| pending.view == view) {
            group.active = pending;
            group.since.clear();
            changed.active.push(id);
        }
    }
}

fn has_left(nodes: &[NodeState], node: NodeId) -> bool {
    let row = nodes.get(usize::from(node.0));
    row.is_some_and(|row| row.presence == Presence::Left)
}

fn config_of(group: GroupId, view: View, lineage: Lineage, roll: &Roll) -> Option<Config> {
    let config = Config {
        group,
        view,
        lineage,
        members: roll.members.clone(),
        write_quorum: usize::from(roll.write_quorum),
        read_quorum: usize::from(roll.read_quorum),
    };
    config.is_sound().then_some(config)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology_log::entry::Why;

    pub(super) fn member(node: u16, incarnation: u64) -> Member {
        Member {
            node: NodeId(node),
            incarnation: Incarnation(incarnation),
        }
    }

    fn roll(nodes: &[u16]) -> Roll {
        Roll {
            members: nodes.iter().map(|node| member(*node, 1)).collect(),
            write_quorum: 3,
            read_quorum: 3,
        }
    }

    fn proposal(active: u64, pending: u64, nodes: &[u16]) -> Proposal {
        Proposal {
            group: GroupId(0),
            sees_active: View(active),
            sees_pending: View(pending),
            roll: roll(nodes),
            why: Why::default(),
        }
    }

    fn born() -> TopologyState {
        let mut state = TopologyState::default();
        for node in 1..=6 {
            let up = Entry::NodeUp {
                member: member(node, 1),
                replaces: Incarnation(0),
            };
            state.apply(u64::from(node), &up);
        }
        state.apply(7, &Entry::Create(vec![roll(&[1, 2, 3, 4, 5])]));
        state
    }

    #[test]
    fn of_two_proposals_about_one_state_the_first_wins() {
        let mut state = born();
        state.apply(8, &Entry::Propose(vec![proposal(7, 0, &[2, 3, 4, 5, 6])]));
        let changed = state.apply(9, &Entry::Propose(vec![proposal(7, 0, &[3, 2, 4, 5, 6])]));
        assert_eq!(changed, Changed::default());
        let changed = state.apply(10, &Entry::Propose(vec![proposal(7, 8, &[3, 2, 4, 5, 6])]));
        assert_eq!(changed.pending, [GroupId(0)]);
        let group = state.group(GroupId(0)).unwrap();
        assert_eq!(
            (group.active.view, group.pending.as_ref().unwrap().view),
            (View(7), View(10))
        );
    }

    #[test]
    fn a_view_is_activated_once_and_only_while_it_is_pending() {
        let mut state = born();
        state.apply(8, &Entry::Propose(vec![proposal(7, 0, &[2, 3, 4, 5, 6])]));
        state.apply(9, &Entry::Propose(vec![proposal(7, 8, &[3, 2, 4, 5, 6])]));
        assert_eq!(
            state.apply(10, &Entry::Activate(vec![(GroupId(0), View(8))])),
            Changed::default()
        );
        assert_eq!(
            state.apply(11, &Entry::Activate(vec![(GroupId(0), View(9))])).active,
            [GroupId(0)]
        );
        assert_eq!(
            state.apply(12, &Entry::Activate(vec![(GroupId(0), View(9))])),
            Changed::default()
        );
        assert_eq!(state.group(GroupId(0)).unwrap().active.writer(), member(3, 1));
    }

    #[test]
    fn a_node_is_replaced_only_by_who_knows_whom() {
        let mut state = born();
        let up = |incarnation, replaces| Entry::NodeUp {
            member: member(1, incarnation),
            replaces: Incarnation(replaces),
        };
        assert_eq!(state.apply(8, &up(3, 2)).node, None);
        assert_eq!(state.apply(9, &up(2, 1)).node, Some(NodeId(1)));
        assert_eq!(
            state.apply(10, &Entry::NodeDown(member(1, 1))).node,
            None,
            "its older process is no news"
        );
        assert_eq!(state.apply(11, &Entry::NodeDown(member(1, 2))).node, Some(NodeId(1)));
        assert_eq!(
            state.apply(12, &up(2, 1)).node,
            Some(NodeId(1)),
            "the same process is heard again"
        );
        assert_eq!(state.node(NodeId(1)).presence, Presence::Up);
    }

    fn replaced(state: &mut TopologyState, position: u64, node: u16) {
        let up = Entry::NodeUp {
            member: member(node, 2),
            replaces: Incarnation(1),
        };
        state.apply(position, &up);
    }

    #[test]
    fn who_was_proposed_since_may_hold_something_until_a_view_is_in_force() {
        let mut state = born();
        assert_eq!(state.survivors(GroupId(0)).len(), 5);
        state.apply(8, &Entry::Propose(vec![proposal(7, 0, &[2, 3, 4, 5, 6])]));
        state.apply(9, &Entry::Propose(vec![proposal(7, 8, &[3, 2, 4, 5, 1])]));
        assert_eq!(state.survivors(GroupId(0)).len(), 6, "node 6 was to be a member");
        replaced(&mut state, 10, 6);
        replaced(&mut state, 11, 1);
        assert_eq!(state.survivors(GroupId(0)), [2, 3, 4, 5].map(|node| member(node, 1)));
        state.apply(12, &Entry::Activate(vec![(GroupId(0), View(9))]));
        assert_eq!(state.group(GroupId(0)).unwrap().since, []);
    }

    #[test]
    fn only_a_lost_group_is_opened_again_and_in_a_lineage_of_its_own() {
        let mut state = born();
        let reopen = |sees_pending| Entry::Reopen {
            proposal: proposal(7, sees_pending, &[4, 5, 6]),
            reason: "three disks".to_owned(),
        };
        assert_eq!(state.apply(8, &reopen(0)), Changed::default(), "it is not lost");
        for (position, node) in (9..).zip(1..=3) {
            replaced(&mut state, position, node);
        }
        assert_eq!(state.apply(12, &reopen(0)).pending, [GroupId(0)]);
        assert_eq!(
            state.group(GroupId(0)).unwrap().pending.as_ref().unwrap().lineage,
            Lineage(12)
        );
        state.apply(13, &Entry::Activate(vec![(GroupId(0), View(12))]));
        let active = &state.group(GroupId(0)).unwrap().active;
        assert_eq!((active.lineage, state.is_lost(GroupId(0))), (Lineage(12), false));
    }

    #[test]
    fn a_process_that_is_gone_for_good_never_answers_and_its_node_comes_back_with_another() {
        let mut state = born();
        for (position, node) in (8..).zip(1..=3) {
            state.apply(position, &Entry::NodeGone(member(node, 1)));
        }
        assert!(state.is_lost(GroupId(0)));
        assert_eq!(state.survivors(GroupId(0)), [4, 5].map(|node| member(node, 1)));
        let again = Entry::NodeUp {
            member: member(1, 1),
            replaces: Incarnation(1),
        };
        assert_eq!(state.apply(11, &again).node, None);
        replaced(&mut state, 12, 1);
        assert_eq!(state.node(NodeId(1)).presence, Presence::Up);
    }

    #[test]
    fn a_group_is_lost_when_too_few_of_its_processes_can_ever_answer() {
        let mut state = born();
        for (position, node) in (8..).zip(1..=2) {
            let up = Entry::NodeUp {
                member: member(node, 2),
                replaces: Incarnation(1),
            };
            state.apply(position, &up);
            assert!(!state.is_lost(GroupId(0)));
        }
        state.apply(10, &Entry::NodeDown(member(3, 1)));
        assert!(!state.is_lost(GroupId(0)), "it may come back");
        let up = Entry::NodeUp {
            member: member(3, 2),
            replaces: Incarnation(1),
        };
        state.apply(11, &up);
        assert!(state.is_lost(GroupId(0)));
    }
}
