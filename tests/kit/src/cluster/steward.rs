//! The topology log of a simulated cluster, kept by one that nobody can stop: what is decided reaches every node in order, late, and what
//! nodes propose may get lost or come twice. And who proposes: one that repairs what was lost, and one that changes members at random.
//!
//! What it decides is never safer than what a log by consensus decides. **Invariant:** every node learns the same entries in the same order.

use std::collections::{BTreeMap, BTreeSet};

use waterpark_core::config::{Births, Config};
use waterpark_core::controller::GroupReport;
use waterpark_core::ids::{GroupId, Incarnation, Member, NodeId, View};
use waterpark_core::rules::Rules;
use waterpark_core::time::MS;
use waterpark_core::topology_log::{Entry, GroupState, Proposal, Roll, Stamp, TopologyState, Why};

use super::Cluster;
use super::event::Event;
use super::seats::Lesson;
use crate::reach::Fault;

/// How often it looks at what is to be repaired.
const PLAN_MS: u64 = 50;
/// A pending view of which nobody has come further for so long is replaced.
const PENDING_MS: u64 = 1_500;

/// The log and what it says.
#[derive(Debug, Default)]
pub(super) struct Steward {
    pub(super) entries: Vec<Entry>,
    pub(super) state: TopologyState,
    /// When each entry was decided, virtual ns.
    decided_ns: Vec<u64>,
    /// When each group last got another active or pending Config, or somebody came further with the pending one, virtual ns.
    pub(super) changed_ns: Vec<u64>,
    /// How far each has come with a view.
    progress: BTreeMap<(GroupId, usize), (View, u64)>,
    /// Pending views that came to be active.
    pub(super) opened: u64,
    /// Groups whose pending view was replaced.
    pub(super) replaced: u64,
    /// Who had no memory for the log of a group: the last to be asked to open it.
    pub(super) without_room: BTreeSet<(GroupId, Member)>,
}

impl<R: Rules> Cluster<R> {
    /// The process of a node that runs now.
    pub(super) fn member(&self, node: usize) -> Member {
        Member {
            node: NodeId(u16::try_from(node + 1).expect("few")),
            incarnation: self.nodes[node].incarnation,
        }
    }

    /// Whether a process runs.
    pub(super) fn is_live(&self, member: Member) -> bool {
        let node = &self.nodes[usize::from(member.node.0) - 1];
        !node.down && node.incarnation == member.incarnation
    }

    /// An entry is decided: for the first time, as far as anybody can see.
    pub(super) fn decide(&mut self, entry: Entry) {
        let position = self.steward.entries.len() as u64 + 1;
        let before = self.steward.state.clone();
        let changed = self.steward.state.apply(position, &entry);
        self.trace(&[5, position, changed.active.len() as u64, changed.pending.len() as u64]);
        self.steward.opened += changed.active.len() as u64;
        let groups = self.topology.keyspace().groups() as usize;
        self.steward.changed_ns.resize(groups, 0);
        for group in changed.active.iter().chain(&changed.pending) {
            self.steward.changed_ns[group.0 as usize] = self.now_ns;
            let was_pending = before.group(*group).is_some_and(|group| group.pending.is_some());
            self.steward.replaced += u64::from(was_pending && changed.pending.contains(group));
        }
        self.steward.entries.push(entry);
        self.steward.decided_ns.push(self.now_ns);
        self.note_losses(&before, &changed);
        for group in changed.active.iter().chain(&changed.pending) {
            self.note_contradicted(*group);
        }
        for node in 0..self.nodes.len() {
            self.tell(node);
        }
    }

    /// A node is told what was decided, after a while.
    pub(super) fn tell(&mut self, node: usize) {
        if self.births == Births::Writer || self.nodes[node].down || self.has_controllers() {
            return;
        }
        let spread_ms = if self.faulty { 1 + self.faults.learn_ms } else { 5 };
        let at = self.now_ns + self.faults.delay_us * 1_000 + self.rng.below(spread_ms * MS);
        let upto = self.steward.entries.len();
        let incarnation = self.nodes[node].incarnation;
        self.schedule(
            at,
            Event::Learn {
                node,
                incarnation,
                upto,
            },
        );
    }

    pub(super) fn on_learn(&mut self, node: usize, incarnation: Incarnation, upto: usize) {
        if self.nodes[node].incarnation != incarnation || self.nodes[node].down {
            return;
        }
        while self.nodes[node].learned < upto {
            let at = self.nodes[node].learned;
            self.nodes[node].learned += 1;
            let entry = self.steward.entries[at].clone();
            self.teach(node, &Lesson::Entry(at as u64 + 1, Stamp::NONE, entry));
        }
    }

    /// A shard proposes.
    pub(super) fn on_propose(&mut self, entry: Entry) {
        let copies = if !self.faulty {
            1
        } else if self.rng.ppm(self.faults.loss_ppm) {
            0
        } else {
            1 + u64::from(self.rng.ppm(self.faults.repeat_ppm))
        };
        for _ in 0..copies {
            let spread_ms = if self.faulty { 1 + self.faults.learn_ms } else { 5 };
            let at = self.now_ns + self.faults.delay_us * 1_000 + self.rng.below(spread_ms * MS);
            self.schedule(
                at,
                Event::Proposed {
                    entry: Box::new(entry.clone()),
                },
            );
        }
    }

    pub(super) fn on_proposed(&mut self, entry: Entry) {
        self.decide(entry);
    }

    /// Whether the cluster stays within its fault model if a node loses its memory now.
    pub(super) fn may_lose(&self, node: usize) -> bool {
        // Groups may be born any moment, with the processes that were there a while ago: of those one may be gone.
        if self.has_controllers() && self.steward.state.group(GroupId(0)).is_none() {
            return self.nodes.iter().all(|node| node.restarts == 0);
        }
        let mut groups = self.steward.state.groups();
        groups.all(|(id, group)| self.is_bereft(id) || self.can_bear(group, Some(node)))
    }

    /// Whether a group has R processes of its active and of its pending Config, without those of a node.
    pub(super) fn can_bear(&self, group: &GroupState, without: Option<usize>) -> bool {
        let is_gone = |member: &Member| !self.is_live(*member) || Some(usize::from(member.node.0) - 1) == without;
        let within = |config: &Config| {
            let lost = |member: &&Member| is_gone(member) || self.contradicted.has(config.group, **member);
            let spare = config.members.len() - config.read_quorum;
            config.members.iter().filter(lost).count() <= spare
        };
        within(&group.active) && group.pending.as_ref().is_none_or(within)
    }

    pub(super) fn on_plan(&mut self) {
        if self.has_controllers() {
            return;
        }
        self.schedule(self.now_ns + PLAN_MS * MS, Event::Plan);
        self.note_nodes();
        if self.steward.state.group(GroupId(0)).is_none() {
            return self.create();
        }
        for reopening in self.reopenings() {
            self.decide(reopening);
        }
        let mut proposals = self.repairs();
        if self.faulty {
            proposals.append(&mut self.whims());
        }
        if !proposals.is_empty() {
            self.decide(Entry::Propose(proposals));
        }
        if self.faulty && self.rng.ppm(self.faults.moves_ppm * 4) {
            self.let_learn();
        }
        for node in 0..self.nodes.len() {
            if self.nodes[node].learned < self.steward.entries.len() {
                self.tell(node);
            }
        }
    }

    /// How far a node has come with the views that are pending. While there are faults it is too impatient to listen: views that are replaced
    /// half-way are what is looked for.
    pub(super) fn hear_progress(&mut self, node: usize, reports: &[GroupReport]) {
        if self.faulty {
            return;
        }
        for report in reports {
            let pending = self
                .steward
                .state
                .group(report.group)
                .and_then(|group| group.pending.as_ref());
            if pending.is_none_or(|pending| pending.view != report.view) {
                continue;
            }
            let came = (report.view, report.progress);
            if self.steward.progress.insert((report.group, node), came) != Some(came) {
                self.steward.changed_ns[report.group.0 as usize] = self.now_ns;
            }
        }
    }

    /// Who is there, and who is not, as it is noticed after a while.
    fn note_nodes(&mut self) {
        for node in 0..self.nodes.len() {
            let member = self.member(node);
            let known = self.steward.state.node(member.node);
            if self.nodes[node].down {
                continue;
            }
            if known.incarnation != member.incarnation && (!self.faulty || self.rng.below(4) == 0) {
                self.decide(Entry::NodeUp {
                    member,
                    replaces: known.incarnation,
                });
            }
        }
    }

    fn create(&mut self) {
        let nodes: Vec<Member> = (0..self.nodes.len()).map(|node| self.member(node)).collect();
        let known = |member: &Member| self.steward.state.node(member.node).incarnation == member.incarnation;
        if !nodes.iter().all(|member| known(member) && self.is_live(*member)) {
            return;
        }
        let groups = self.topology.keyspace().groups();
        let rolls = (0..groups).map(|group| {
            let slot = self.topology.birth().members(GroupId(group));
            let members: Vec<Member> = slot.nodes().iter().map(|node| nodes[usize::from(node.0) - 1]).collect();
            roll(members)
        });
        let rolls = rolls.collect();
        self.decide(Entry::Create(rolls));
    }

    /// The processes that run.
    pub(super) fn live(&self) -> Vec<Member> {
        let members = (0..self.nodes.len()).map(|node| self.member(node));
        members.filter(|member| self.is_live(*member)).collect()
    }

    /// What is decided of each group, as it is now.
    pub(super) fn groups(&self) -> Vec<(GroupId, GroupState)> {
        let groups = self.steward.state.groups();
        groups.map(|(id, group)| (id, group.clone())).collect()
    }

    /// New Configs for groups that have lost members, or whose pending view does not come.
    fn repairs(&mut self) -> Vec<Proposal> {
        let mut proposals = Vec::new();
        for (id, group) in self.groups() {
            // No view of its lineage could open.
            if self.steward.state.is_lost(id) {
                continue;
            }
            let changed_ns = self.steward.changed_ns[id.0 as usize];
            let is_whole = group.active.members.iter().all(|member| self.is_live(*member));
            let is_due = match &group.pending {
                None => !is_whole,
                Some(pending) => {
                    !self.is_live(pending.writer()) || self.now_ns.saturating_sub(changed_ns) >= PENDING_MS * MS
                }
            };
            if !is_due || self.faulty && self.rng.below(3) > 0 {
                continue;
            }
            let mut members: Vec<Member> = group
                .active
                .members
                .iter()
                .copied()
                .filter(|member| self.is_live(*member))
                .collect();
            for node in 0..self.nodes.len() {
                let member = self.member(node);
                let is_new = members.iter().all(|other| other.node != member.node);
                if members.len() < 5 && is_new && self.is_live(member) {
                    members.push(member);
                }
            }
            members.sort_by_key(|member| self.steward.without_room.contains(&(id, *member)));
            if let Some(writer) = members.first() {
                // It is asked; whether it has room by now it says itself.
                self.steward.without_room.remove(&(id, *writer));
            }
            proposals.push(proposal(id, &group, roll(members)));
        }
        proposals
    }

    /// Some nodes learn a group for no reason, or none does any more.
    fn let_learn(&mut self) {
        let key = self.rng.index(self.keys.len());
        let group = self.topology.locate(self.keys[key].as_ref()).group;
        let members: Vec<Member> = self
            .live()
            .into_iter()
            .filter(|_| self.rng.below(3) == 0)
            .take(5)
            .collect();
        self.did(Fault::LearnersChanged);
        self.decide(Entry::SetLearners { group, members });
    }

    /// New Configs for no reason: any live members in any order, also where one is pending already.
    fn whims(&mut self) -> Vec<Proposal> {
        let mut proposals = Vec::new();
        let live = self.live();
        if live.len() < 3 {
            return proposals;
        }
        let busy: BTreeSet<GroupId> = self
            .keys
            .iter()
            .map(|key| self.topology.locate(key.as_ref()).group)
            .collect();
        let mut groups = self.groups();
        groups.retain(|(id, _)| busy.contains(id) && !self.steward.state.is_lost(*id));
        for (id, group) in groups {
            // A view that is being opened is superseded more often than others: that is where it hurts.
            let often = if group.pending.is_some() { 8 } else { 1 };
            if !self.rng.ppm(self.faults.moves_ppm * often) {
                continue;
            }
            self.did(Fault::MembersChanged);
            let mut members = live.clone();
            for at in (1..members.len()).rev() {
                let other = self.rng.index(at + 1);
                members.swap(at, other);
            }
            let most = 3 + self.rng.index(3);
            members.truncate(most.max(if self.rng.below(3) > 0 { 5 } else { 3 }));
            // Now and then the writer stays and its followers change.
            let writer = group.active.writer();
            if self.rng.below(3) == 0
                && let Some(at) = members.iter().position(|member| *member == writer)
            {
                members.swap(0, at);
            }
            proposals.push(proposal(id, &group, roll(members)));
        }
        proposals
    }
}

pub(super) fn proposal(group: GroupId, state: &GroupState, roll: Roll) -> Proposal {
    Proposal {
        group,
        sees_active: state.active.view,
        sees_pending: state.pending.as_ref().map_or(View(0), |pending| pending.view),
        roll,
        why: Why::default(),
    }
}

/// Majorities, as few as they may be.
pub(super) fn roll(members: Vec<Member>) -> Roll {
    let write = members.len() / 2 + 1;
    Roll {
        write_quorum: u8::try_from(write).expect("few"),
        read_quorum: u8::try_from(members.len() + 1 - write).expect("few"),
        members,
    }
}
