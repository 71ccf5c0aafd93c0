//! Real controllers in the place of the steward: consensus, detection and planner of every node, each beside its shards, with a file that
//! keeps what was written in time.
//!
//! The steward goes on as a witness: what any node learns first is what all must learn. **Invariant:** a position has one entry, whoever
//! learns it, in whichever life.

use waterpark_core::controller::{Controller, Doing, GroupReport, Setup, VoteLimits};
use waterpark_core::ids::{Incarnation, Member, NodeId};
use waterpark_core::rules::Rules;
use waterpark_core::time::MS;
use waterpark_core::topology_log::consensus::{Birth, VoterId};
use waterpark_core::topology_log::{Entry, Limits, Stamp, TopologyState, WhyVoters};

use super::event::{Event, Pace};
use super::links::{Epoch, LinkKey};
use super::seats::Lesson;
use super::{Cluster, node_spec, topology_of};
use crate::ledger::Violation;
use crate::reach::{Fault, Rare, Reached};

/// Voters of a simulated cluster at most.
const VOTERS_MAX: usize = 5;

/// Voters apart. Each stands in a zone of its own, so that no rule of places is about them.
const APART: [&str; VOTERS_MAX] = ["FL-Y-1", "TN-Y-1", "TX-Y-1", "UT-Y-1", "FL-Z-1"];
/// How often controllers hear each other where no link joins their nodes.
const BEAT_MS: u64 = 50;

/// A node's controller, and what its disk holds.
pub(super) struct Desk<R: Rules> {
    controller: Option<Controller<R>>,
    /// The voter's file as it survives a crash; `None` if the node has none.
    file: Option<Vec<u8>>,
    /// What the file says of its voter.
    birth: Option<Birth>,
    /// When the last write is durable, virtual ns.
    written_ns: u64,
    /// Files that were begun: what was to be written to an older one never is.
    begun: u64,
}

impl<R: Rules> Desk<R> {
    /// Of a node that does not vote.
    pub(super) fn without_file() -> Desk<R> {
        Desk {
            controller: None,
            file: None,
            birth: None,
            written_ns: 0,
            begun: 0,
        }
    }
}

/// What a controller is told.
#[derive(Clone, Debug)]
pub(super) enum ControlInput {
    Message(Member, Vec<u8>),
    Report(usize, Vec<Member>, Vec<GroupReport>),
    Propose(Box<Entry>),
    Met(Member),
    Closed(Member),
    Refused(NodeId),
    /// These bytes reached the disk, as the record of this number in the file so many were begun before.
    Durable(Vec<u8>, u64, u64),
    /// A file with these bytes is begun.
    Born(Vec<u8>),
}

impl<R: Rules> Cluster<R> {
    /// The same cluster, its topology log kept by its nodes. The first ones vote: an odd number, as many as there are or five.
    #[must_use]
    pub fn with_controllers(self) -> Cluster<R> {
        let count = self.nodes.len().min(VOTERS_MAX);
        let count = count - usize::from(count.is_multiple_of(2));
        let voters: Vec<usize> = (0..count).collect();
        self.with_voters(&voters).with_joins()
    }

    /// The same, and these nodes vote.
    ///
    /// # Panics
    /// If nobody votes, or a node that there is not.
    #[must_use]
    pub fn with_voters(mut self, voters: &[usize]) -> Cluster<R> {
        assert!(!voters.is_empty() && voters.iter().all(|voter| *voter < self.nodes.len()));
        self.voters = voters.iter().map(|voter| self.member(*voter).node).collect();
        let ids: Vec<VoterId> = (1..=voters.len())
            .map(|id| VoterId(u16::try_from(id).expect("few")))
            .collect();
        let cluster = self.topology.spec().cluster;
        let birth = |node: usize| {
            let at = voters.iter().position(|voter| *voter == node)?;
            Some(Birth::first(cluster, ids[at], &ids).expect("few voters"))
        };
        self.born = ids.iter().copied().zip(voters.iter().copied()).collect();
        let desk = |node: usize| Desk {
            file: birth(node).map(|birth| birth.file()),
            birth: birth(node),
            ..Desk::without_file()
        };
        self.desks = (0..self.nodes.len()).map(desk).collect();
        self
    }

    pub(super) fn has_controllers(&self) -> bool {
        !self.desks.is_empty()
    }

    /// The same cluster, and others keep its topology log: five voters that are no members of anything, over as many data centres as there
    /// may be. Their controllers and those of the nodes reach and hear each other whatever is cut, so the log is within reach of all.
    ///
    /// What nodes hear of each other stays what their links carry, or nobody could tell who reaches whom.
    #[must_use]
    pub fn with_voters_apart(mut self) -> Cluster<R> {
        let first = self.nodes.len();
        let mut specs = self.topology.nodes().to_vec();
        for (at, name) in (first..).zip(APART) {
            self.add_node(at);
            specs.push(node_spec(self.member(at).node.0, name, 1));
        }
        self.governed = topology_of(specs, self.topology.keyspace().groups());
        let voters: Vec<usize> = (first..self.nodes.len()).collect();
        self.with_voters(&voters)
    }

    /// Whether a node is a voter apart: a controller without shards.
    fn is_apart(&self, node: usize) -> bool {
        node >= self.topology.nodes().len() && !self.joining.contains_key(&node)
    }

    /// The processes that a controller hears though no link joins them.
    fn heard_apart(&self, node: usize) -> Vec<Member> {
        let others = (0..self.nodes.len()).filter(|other| *other != node && !self.nodes[*other].down);
        let others = others.filter(|other| self.is_apart(node) || self.is_apart(*other));
        others.map(|other| self.member(other)).collect()
    }

    pub(super) fn start_controller(&mut self, node: usize) {
        if !self.has_controllers() {
            return;
        }
        let own = self.member(node);
        let setup = Setup {
            own,
            topology: self.topology_at(node, &self.governed),
            placement: self.topology.birth().clone(),
            voters: self.voters.clone(),
            heartbeat_ms: self.limits.heartbeat_ms,
            limits: Limits::default(),
            votes: VoteLimits {
                replace_ms: self.faults.vote_ms,
                trim_bytes: usize::try_from(self.faults.trim_bytes).expect("no file is longer"),
            },
        };
        let now = self.now(node);
        let desk = &self.desks[node];
        let opened = Controller::new(setup, now, desk.birth.as_ref().zip(desk.file.as_deref()));
        let (controller, good) = opened.expect("a disk keeps what it was given");
        if let Some(file) = &mut self.desks[node].file {
            file.truncate(good);
        }
        self.desks[node].controller = Some(controller);
        let incarnation = own.incarnation;
        self.schedule(self.now_ns + MS, Event::ControlTick { node, incarnation });
        self.act(node);
        for other in self.heard_apart(node) {
            let other = usize::from(other.node.0) - 1;
            self.tell_met(node, other);
            self.tell_met(other, node);
        }
    }

    pub(super) fn end_controller(&mut self, node: usize) {
        if self.desks.is_empty() {
            return;
        }
        self.desks[node].controller = None;
        self.desks[node].begun += 1;
        if self.wiped < self.faults.wipes && self.may_wipe(node) {
            self.wiped += 1;
            self.desks[node].file = None;
            self.desks[node].birth = None;
            self.did(Fault::VoterWiped);
        }
    }

    /// Whether a node votes, and all others who do are there with their files: so that a majority goes on whatever becomes of one more.
    fn may_wipe(&self, node: usize) -> bool {
        let electorate = self.steward.state.electorate();
        let voters: Vec<(usize, u32)> = if electorate.configuration > 1 {
            let row = |voter: &waterpark_core::topology_log::Voter| (usize::from(voter.node.0) - 1, voter.since);
            electorate.voters.iter().map(row).collect()
        } else {
            self.voters.iter().map(|node| (usize::from(node.0) - 1, 1)).collect()
        };
        let votes = |(other, _): &(usize, u32)| {
            let birth = self.desks[*other].birth.as_ref();
            let is_newest = birth.is_some_and(|birth| birth.configuration() == electorate.configuration);
            *other == node || is_newest && !self.nodes[*other].down
        };
        voters.len() >= 3 && voters.iter().any(|(voter, _)| *voter == node) && voters.iter().all(votes)
    }

    pub(super) fn tell_controller(&mut self, node: usize, input: ControlInput) {
        if self.has_controllers() {
            let incarnation = self.nodes[node].incarnation;
            let event = Event::Control {
                node,
                incarnation,
                input,
            };
            self.schedule_after(Pace::Hop, event);
        }
    }

    pub(super) fn tell_met(&mut self, node: usize, peer: usize) {
        self.tell_controller(node, ControlInput::Met(self.member(peer)));
    }

    /// Both sides of a link hear that it ended.
    pub(super) fn tell_closed(&mut self, link: LinkKey, epoch: Epoch) {
        for (node, peer, side) in [(link.0, link.1, 1), (link.1, link.0, 0)] {
            let member = Member {
                incarnation: epoch.incarnations[side],
                ..self.member(peer)
            };
            self.tell_controller(node, ControlInput::Closed(member));
        }
    }

    /// A node that is down refuses whoever dials it.
    pub(super) fn tell_refused(&mut self, node: usize, peer: usize) {
        if self.nodes[peer].down && !self.nodes[node].down {
            let refused = ControlInput::Refused(self.member(peer).node);
            self.tell_controller(node, refused);
        }
    }

    pub(super) fn on_control(&mut self, node: usize, incarnation: Incarnation, input: ControlInput) {
        if self.nodes[node].incarnation != incarnation || self.nodes[node].down {
            return;
        }
        let now = self.now(node);
        let desk = &mut self.desks[node];
        let Some(controller) = &mut desk.controller else { return };
        match input {
            ControlInput::Message(from, bytes) => controller.on_message(now, from, &bytes),
            ControlInput::Report(shard, heard, groups) => {
                controller.on_heard(now, &heard);
                controller.on_reports(u16::try_from(shard).expect("few"), groups);
            }
            ControlInput::Propose(entry) => controller.propose(&entry),
            ControlInput::Met(peer) => controller.on_met(now, peer),
            ControlInput::Closed(peer) => controller.on_closed(now, peer),
            ControlInput::Refused(peer) => controller.on_refused(now, peer),
            ControlInput::Durable(bytes, upto, begun) if begun == desk.begun => {
                desk.file.get_or_insert_default().extend_from_slice(&bytes);
                controller.on_durable(upto);
            }
            ControlInput::Durable(..) => {}
            ControlInput::Born(bytes) => {
                let birth = Birth::of_file(&bytes).expect("a file begins with its birth");
                if self.born.insert(birth.own(), node).is_some() {
                    self.report.violations.push(Violation::BornTwice(birth.own()));
                }
                desk.file = Some(bytes);
                desk.birth = Some(birth);
                controller.on_born(now, true);
            }
        }
        self.act(node);
    }

    pub(super) fn on_control_tick(&mut self, node: usize, incarnation: Incarnation) {
        if self.nodes[node].incarnation != incarnation || self.nodes[node].down {
            return;
        }
        let now = self.now(node);
        let is_beat = self.now_ns / MS % BEAT_MS < Pace::ControlTick.ns() / MS;
        let heard = if is_beat { self.heard_apart(node) } else { Vec::new() };
        if let Some(controller) = &mut self.desks[node].controller {
            if !heard.is_empty() {
                controller.on_heard(now, &heard);
            }
            controller.on_tick(now);
        }
        self.act(node);
        self.schedule_after(Pace::ControlTick, Event::ControlTick { node, incarnation });
    }

    /// What a controller wants done.
    fn act(&mut self, node: usize) {
        let Some(controller) = self.desks[node]
            .controller
            .as_mut()
            .filter(|controller| controller.has_doing())
        else {
            return;
        };
        // Nothing that is done here comes back to this place at once.
        let mut all = std::mem::take(&mut self.doing);
        controller.take_doing(&mut all);
        let incarnation = self.nodes[node].incarnation;
        for doing in all.drain(..) {
            match doing {
                Doing::Send { to, bytes } => self.send_control(node, to, bytes),
                Doing::Write(write) => {
                    let begun = self.desks[node].begun;
                    self.write(
                        node,
                        incarnation,
                        ControlInput::Durable(write.bytes, write.number, begun),
                    );
                }
                Doing::Birth(file) => {
                    self.desks[node].begun += 1;
                    self.write(node, incarnation, ControlInput::Born(file));
                }
                Doing::State(state) => self.on_state(node, &state),
                Doing::Decided { position, stamp, entry } => self.on_decided(node, position, stamp, &entry),
                Doing::Note(_) => {}
                Doing::End(end) => self.report.violations.push(Violation::Ended(self.member(node), end)),
            }
        }
        self.doing = all;
    }

    fn write(&mut self, node: usize, incarnation: Incarnation, input: ControlInput) {
        let at = self.now_ns + 50_000 + self.rng.below(3 * MS);
        // One file is written in order, however long each write takes.
        let at = at.max(self.desks[node].written_ns + 1);
        self.desks[node].written_ns = at;
        let event = Event::Control {
            node,
            incarnation,
            input,
        };
        self.schedule(at, event);
    }

    fn send_control(&mut self, node: usize, to: NodeId, bytes: Vec<u8>) {
        let peer = usize::from(to.0) - 1;
        if !self.is_apart(node) && !self.is_apart(peer) {
            return self.turn(node, 0, |shard, _| shard.send_control(to, &bytes));
        }
        let message = Event::Control {
            node: peer,
            incarnation: self.nodes[peer].incarnation,
            input: ControlInput::Message(self.member(node), bytes),
        };
        self.schedule(self.now_ns + self.faults.delay_us * 1_000, message);
    }

    fn on_decided(&mut self, node: usize, position: u64, stamp: Stamp, entry: &Entry) {
        let known = self.steward.entries.get(usize::try_from(position).expect("few") - 1);
        match known {
            Some(known) if known != entry => self.report.violations.push(Violation::TwoEntries(position)),
            Some(_) => {}
            None => {
                if let Entry::VotersChanged { why, .. } = entry {
                    let rare = match why {
                        WhyVoters::Trim => Rare::FilesBegun,
                        WhyVoters::Lost | WhyVoters::Leaves | WhyVoters::Spread => Rare::VoteGiven,
                    };
                    self.reach(Reached::Rare(rare));
                }
                self.decide(entry.clone());
            }
        }
        self.teach(node, &Lesson::Entry(position, stamp, entry.clone()));
    }

    /// A node was given the state after entries some of which it never had, by its own file or another node.
    fn on_state(&mut self, node: usize, state: &TopologyState) {
        self.reach(Reached::Rare(Rare::StateLearned));
        let position = state.position();
        let mut folded = TopologyState::default();
        for (position, entry) in (1..=position).zip(&self.steward.entries) {
            folded.apply(position, entry);
        }
        if folded != *state {
            self.report.violations.push(Violation::OtherState(position));
        }
        self.teach(node, &Lesson::State(Box::new(state.clone())));
    }
}
