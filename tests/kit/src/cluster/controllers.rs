//! Real controllers in the place of the steward: consensus, detection and planner of every node, each beside its shards, with a file that
//! keeps what was written in time.
//!
//! The steward goes on as a witness: what any node learns first is what all must learn. **Invariant:** a position has one entry, whoever
//! learns it, in whichever life.

use waterpark_core::controller::{Controller, Doing, GroupReport, Setup};
use waterpark_core::ids::{Incarnation, Member, NodeId};
use waterpark_core::rules::Rules;
use waterpark_core::time::MS;
use waterpark_core::topology_log::consensus::{Birth, VoterId};
use waterpark_core::topology_log::{Entry, Limits, Stamp};

use super::event::Event;
use super::{Cluster, Epoch, LinkKey};
use crate::ledger::Violation;

/// From a shard to the controller of its node, and back.
const HOP_NS: u64 = 200_000;
/// How often a controller looks at the clock.
const TICK_MS: u64 = 5;
/// Voters of a simulated cluster at most.
const VOTERS_MAX: usize = 5;

/// A node's controller, and what its disk holds.
pub(super) struct Desk<R: Rules> {
    controller: Option<Controller<R>>,
    /// The voter's file as it survives a crash; `None` if the node has none.
    file: Option<Vec<u8>>,
    /// What the file says of its voter.
    birth: Option<Birth>,
    /// When the last write is durable, virtual ns.
    written_ns: u64,
}

/// What a controller is told.
#[derive(Clone, Debug)]
pub(super) enum ControlInput {
    Message(Member, Vec<u8>),
    Report(usize, Vec<Member>, Vec<GroupReport>),
    Propose(Entry),
    Met(Member),
    Closed(Member),
    Refused(NodeId),
    /// These bytes reached the disk, as the record of this number.
    Durable(Vec<u8>, u64),
}

impl<R: Rules> Cluster<R> {
    /// The same cluster, its topology log kept by its nodes.
    #[must_use]
    pub fn with_controllers(mut self) -> Cluster<R> {
        let voters = self.voters();
        let ids: Vec<VoterId> = (1..=voters.len())
            .map(|id| VoterId(u16::try_from(id).expect("few")))
            .collect();
        let cluster = self.topology.spec().cluster;
        let birth = |node: usize| Some(Birth::first(cluster, *ids.get(node)?, &ids).expect("few voters"));
        let desk = |node: usize| Desk {
            controller: None,
            file: birth(node).map(|birth| birth.file()),
            birth: birth(node),
            written_ns: 0,
        };
        self.desks = (0..self.nodes.len()).map(desk).collect();
        self
    }

    pub(super) fn has_controllers(&self) -> bool {
        !self.desks.is_empty()
    }

    /// The first nodes vote: an odd number, as many as there are or five.
    fn voters(&self) -> Vec<NodeId> {
        let count = self.nodes.len().min(VOTERS_MAX);
        let count = count - usize::from(count.is_multiple_of(2));
        (1..=count).map(|id| NodeId(u16::try_from(id).expect("few"))).collect()
    }

    pub(super) fn start_controller(&mut self, node: usize) {
        if !self.has_controllers() {
            return;
        }
        let own = self.member(node);
        let setup = Setup {
            own,
            topology: self.topology.clone(),
            placement: self.topology.birth().clone(),
            voters: self.voters(),
            heartbeat_ms: self.limits.heartbeat_ms,
            limits: Limits::default(),
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
    }

    pub(super) fn end_controller(&mut self, node: usize) {
        if let Some(desk) = self.desks.get_mut(node) {
            desk.controller = None;
        }
    }

    pub(super) fn tell_controller(&mut self, node: usize, input: ControlInput) {
        if self.has_controllers() {
            let incarnation = self.nodes[node].incarnation;
            let event = Event::Control {
                node,
                incarnation,
                input,
            };
            self.schedule(self.now_ns + HOP_NS, event);
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
            ControlInput::Durable(bytes, upto) => {
                desk.file.get_or_insert_default().extend_from_slice(&bytes);
                controller.on_durable(upto);
            }
        }
        self.act(node);
    }

    pub(super) fn on_control_tick(&mut self, node: usize, incarnation: Incarnation) {
        if self.nodes[node].incarnation != incarnation || self.nodes[node].down {
            return;
        }
        let now = self.now(node);
        if let Some(controller) = &mut self.desks[node].controller {
            controller.on_tick(now);
        }
        self.act(node);
        self.schedule(self.now_ns + TICK_MS * MS, Event::ControlTick { node, incarnation });
    }

    /// What a controller wants done.
    fn act(&mut self, node: usize) {
        let mut doing = Vec::new();
        if let Some(controller) = &mut self.desks[node].controller {
            controller.take_doing(&mut doing);
        }
        let incarnation = self.nodes[node].incarnation;
        for doing in doing {
            match doing {
                Doing::Send { to, bytes } => self.turn(node, 0, |shard, _| shard.send_control(to, &bytes)),
                Doing::Write(write) => {
                    let at = self.now_ns + 50_000 + self.rng.below(3 * MS);
                    // One file is written in order, however long each write takes.
                    let at = at.max(self.desks[node].written_ns + 1);
                    self.desks[node].written_ns = at;
                    let input = ControlInput::Durable(write.bytes, write.number);
                    self.schedule(
                        at,
                        Event::Control {
                            node,
                            incarnation,
                            input,
                        },
                    );
                }
                Doing::Decided { position, stamp, entry } => self.on_decided(node, position, stamp, &entry),
                Doing::Note(_) => {}
                Doing::End(end) => self.report.violations.push(Violation::Ended(self.member(node), end)),
            }
        }
    }

    fn on_decided(&mut self, node: usize, position: u64, stamp: Stamp, entry: &Entry) {
        let known = self.steward.entries.get(usize::try_from(position).expect("few") - 1);
        match known {
            Some(known) if known != entry => self.report.violations.push(Violation::TwoEntries(position)),
            Some(_) => {}
            None => self.decide(entry.clone()),
        }
        for shard in 0..self.nodes[node].shards.len() {
            self.turn(node, shard, |shard, now| shard.on_decided(now, position, stamp, entry));
        }
    }
}
