//! The controller: a node's part in the topology log. It votes or learns, watches the other nodes, judges which are down, and plans where it
//! leads.
//!
//! ```text
//!  links: met, heard, closed, refused ─► Eyes ──► rows to all voters ──► verdicts ─┐
//!  shards: reports of groups ────────────────────► reports to all voters ─► planner ┤ where this node leads
//!  shards and operators: entries ──────────────────────────────────────────────────┴─► consensus ─► decided ─► shards
//! ```
//!
//! One for each node, beside the shards and never on their path: without it every group goes on in its present view. It takes inputs and
//! fills a list of effects; it has no clock, socket or file. What it sends may be lost, doubled or late: everything that it wants is asked
//! for again until the log shows it, and every entry is a compare-and-set. **Invariant:** entries are handed to the shards in order, each
//! once, and a voter's message never leaves before what it stands on is durable.
//!
//! Who votes is said by the log (`votes.rs`); every node, voter or not, tells others what it knows to be decided (`learning.rs`).

mod eyes;
mod learning;
mod message;
mod nodes;
mod report;
mod seat;
#[cfg(test)]
mod tests;
mod votes;
mod wants;

use std::collections::BTreeMap;

use waterpark_ring::{NodeSpec, Placement, Topology};

use self::eyes::Eyes;
use self::learning::{Fetch, Served};
pub use self::message::{Message, MessageError, REPORTS_MAX, StatePart};
use self::report::Reports;
pub use self::report::{GroupReport, Word};
use self::seat::Seat;
use crate::config::Config;
use crate::detection::Row;
use crate::ids::{Incarnation, Member, NodeId};
use crate::rules::Rules;
use crate::time::{MS, Now};
use crate::topology_log::consensus::{self, Birth, Decided, FileError, Learner, TAIL_BYTES_MAX, Tail, VoterId};
use crate::topology_log::{Changed, Entry, EntryError, Limits, Planner, Presence, Stamp, TopologyState, codec};

/// What a controller is told at its start.
#[derive(Clone, Debug)]
pub struct Setup {
    /// This process.
    pub own: Member,
    /// The nodes of the configuration: those that the cluster was made with, and this one.
    pub topology: Topology,
    /// Where the groups should be at their birth.
    pub placement: Placement,
    /// The first voters, in the order of their ids.
    pub voters: Vec<NodeId>,
    /// Links carry something at least this often, in ms.
    pub heartbeat_ms: u64,
    /// Bounds of the planner.
    pub limits: Limits,
    /// Bounds of votes.
    pub votes: VoteLimits,
}

/// When others vote, or the same begin anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoteLimits {
    /// A voter that was not heard for so long is replaced, in ms.
    pub replace_ms: u64,
    /// A voter's file that says so much behind its beginning is begun anew, in bytes.
    pub trim_bytes: usize,
}

impl Default for VoteLimits {
    fn default() -> VoteLimits {
        VoteLimits {
            replace_ms: 60_000,
            trim_bytes: 8 << 20,
        }
    }
}

/// One thing to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doing {
    /// Send to the controller of a node, over whatever link is up. It may get lost.
    Send {
        /// To whom.
        to: NodeId,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Append to the voter's file, and say when it is durable ([`Controller::on_durable`]).
    Write(consensus::Write),
    /// Begin the voter's file anew with these bytes, in the place of the one before if there is one: all of it or nothing, durably. Say when that is done
    /// ([`Controller::on_born`]). What was to be written to the one before matters no more.
    Birth(Vec<u8>),
    /// Hand to every shard of this node: it is what all entries up to its position add up to, some of which this node never had.
    State(Box<TopologyState>),
    /// Hand to every shard of this node.
    Decided {
        /// Where it stands, one more than the last.
        position: u64,
        /// Who proposed it, and when.
        stamp: Stamp,
        /// The entry.
        entry: Box<Entry>,
    },
    /// Something that an operator wants to read.
    Note(Note),
    /// The process has to end.
    End(End),
}

/// Words for the log of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Another voter leads, or none is known.
    Leader(Option<NodeId>),
    /// What was decided of nodes.
    Node {
        /// The process.
        member: Member,
        /// Whether it is there.
        presence: Presence,
    },
    /// Other nodes belong to the cluster now.
    Topology(Box<Topology>),
    /// Others vote now, or the same begin anew.
    Voters {
        /// The number of their configuration.
        configuration: u32,
        /// Their nodes.
        nodes: Vec<NodeId>,
    },
    /// This node votes now, or does no more.
    Votes(bool),
    /// Groups have other active or pending Configs.
    Groups {
        /// Now in force.
        active: usize,
        /// Now being opened.
        pending: usize,
    },
    /// A message was not taken.
    Refused {
        /// From whom.
        from: NodeId,
        /// Why.
        error: MessageError,
    },
}

/// Why a process ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// A newer process of this node's name is there: two of one name, or a start by hand beside the old one.
    Replaced {
        /// The newer one.
        by: Incarnation,
    },
    /// An operator said that this process will never answer again, and groups may go on without what it holds.
    Gone,
    /// The log has this node under another name, address or number of shards than its configuration has.
    Differs {
        /// As the log has it.
        logged: Box<NodeSpec>,
    },
    /// This node has left the cluster for good.
    Left,
    /// A decided entry cannot be read: a newer release wrote it, and this one would go another way than the others.
    Unreadable {
        /// Its position.
        position: u64,
        /// Why.
        error: EntryError,
    },
}

/// A node's part in the topology log.
#[derive(Debug)]
pub struct Controller<R: Rules> {
    own: Member,
    /// The nodes that vote, as far as is known here.
    voters: Vec<NodeId>,
    /// Those that the cluster was made with.
    first_voters: Vec<NodeId>,
    /// The nodes of the configuration, those that joined, and not those that left.
    topology: Topology,
    seat: Option<Seat<R>>,
    /// What is decided, by consensus here or as others tell.
    learner: Learner,
    tail: Tail,
    /// The configuration of this node's voter file, if it has one.
    file: Option<u32>,
    /// A file that is being begun, and the newest configuration for which this process has asked for one.
    birth: Option<(Birth, Vec<u8>)>,
    asked_birth: u32,
    fetch: Option<Fetch>,
    served: Option<Served>,
    votes: VoteLimits,
    /// When others may be asked to vote next.
    votes_at_ms: u64,
    /// Voters that an operator wants to leave, each until then.
    leaving: BTreeMap<NodeId, u64>,
    state: TopologyState,
    eyes: Eyes,
    planner: Planner,
    reports: Reports,
    /// What each shard of this node has said of its groups.
    shards: BTreeMap<u16, Vec<GroupReport>>,
    /// Up to where each learner was told.
    told: BTreeMap<NodeId, u64>,
    /// Members that a group has where there are enough nodes.
    members: usize,
    /// This node shall lose its memberships, or have some again; nothing where the log is to say what it says.
    drains: Option<bool>,
    leader: Option<NodeId>,
    asked: u64,
    now_ms: u64,
    wall_ms: u64,
    ask_at_ms: u64,
    up_at_ms: u64,
    plan_at_ms: u64,
    report_at_ms: u64,
    /// When each verdict may be proposed again.
    verdict_at_ms: BTreeMap<NodeId, u64>,
    /// A report was sent, so that the last word is that there is nothing more to say.
    has_reported: bool,
    /// An entry came that cannot be read.
    has_ended: bool,
    doing: Vec<Doing>,
    /// What a voter wants said; kept for its memory.
    outgoing: Vec<(VoterId, Vec<u8>)>,
}

impl<R: Rules> Controller<R> {
    /// A controller, with the birth and the bytes of its node's voter file, if it has one. The number tells how many bytes of the file are good: it is cut to them
    /// before anything is appended.
    ///
    /// # Errors
    /// When the file is of another cluster or voter, or cannot be believed.
    ///
    /// # Panics
    /// If the setup names nodes that the topology does not have: a bug in this process.
    pub fn new(setup: Setup, now: Now, vote: Option<(&Birth, &[u8])>) -> Result<(Controller<R>, usize), FileError> {
        let Setup {
            own,
            topology,
            placement,
            voters,
            heartbeat_ms,
            limits,
            votes,
        } = setup;
        let eyes = Eyes::new(own, &topology, heartbeat_ms * MS, now.monotonic_ns);
        let mut controller = Controller {
            own,
            eyes,
            members: topology.members(),
            planner: Planner::new(topology.clone(), placement, limits),
            topology,
            first_voters: voters.clone(),
            voters,
            seat: None,
            learner: Learner::new(1),
            tail: Tail::new(1, TAIL_BYTES_MAX),
            file: None,
            birth: None,
            asked_birth: 0,
            fetch: None,
            served: None,
            votes,
            votes_at_ms: 0,
            leaving: BTreeMap::new(),
            state: TopologyState::default(),
            reports: Reports::default(),
            shards: BTreeMap::new(),
            told: BTreeMap::new(),
            drains: None,
            leader: None,
            asked: 0,
            now_ms: now.monotonic_ns / MS,
            wall_ms: now.wall_ms,
            ask_at_ms: 0,
            up_at_ms: 0,
            plan_at_ms: 0,
            report_at_ms: 0,
            verdict_at_ms: BTreeMap::new(),
            has_reported: false,
            has_ended: false,
            doing: Vec::new(),
            outgoing: Vec::new(),
        };
        let good = match vote {
            Some((birth, file)) => controller.sit(birth, file)?,
            None => 0,
        };
        controller.settle();
        Ok((controller, good))
    }

    /// What the log says, as far as it is known here.
    #[must_use]
    pub fn state(&self) -> &TopologyState {
        &self.state
    }

    /// Whether this node votes.
    #[must_use]
    pub fn is_voter(&self) -> bool {
        self.seat.is_some()
    }

    /// The nodes that vote, as far as is known here.
    #[must_use]
    pub fn voters(&self) -> &[NodeId] {
        &self.voters
    }

    /// Whether this node leads the voters, as far as it knows.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.seat.as_ref().is_some_and(Seat::is_leader)
    }

    /// Which node leads the voters, as far as is known here; a learner does not know.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// Whether there is anything to do.
    #[must_use]
    pub fn has_doing(&self) -> bool {
        !self.doing.is_empty()
    }

    /// Moves out what is to be done, in order.
    pub fn take_doing(&mut self, out: &mut Vec<Doing>) {
        out.append(&mut self.doing);
    }

    /// Time has passed. To be called every few milliseconds, and after the frames that came before it.
    pub fn on_tick(&mut self, now: Now) {
        self.turned(now);
        if let Some(seat) = &mut self.seat {
            seat.voter().tick(self.now_ms);
        }
        self.settle();
        self.want_to_be_up();
        self.ask();
        self.send_row();
        self.send_report();
        if self.seat.is_some() {
            let verdicts = self.eyes.judge();
            if self.is_leader() {
                self.propose_verdicts(verdicts);
                self.plan();
                self.plan_votes();
            }
        }
        self.settle();
    }

    /// A link to a process was made.
    pub fn on_met(&mut self, now: Now, peer: Member) {
        self.turned(now);
        let lived = self.eyes.now();
        self.eyes.watch.met(peer, lived);
    }

    /// Frames of these processes came.
    pub fn on_heard(&mut self, now: Now, peers: &[Member]) {
        self.turned(now);
        let lived = self.eyes.now();
        for peer in peers {
            self.eyes.watch.heard(*peer, lived);
        }
    }

    /// A link with a process was lost, of those that [`Controller::on_met`] told of.
    pub fn on_closed(&mut self, now: Now, peer: Member) {
        self.turned(now);
        let lived = self.eyes.now();
        self.eyes.watch.closed(peer, lived);
        if let Some(seat) = &mut self.seat {
            seat.closed(peer.node);
        }
        self.settle();
    }

    /// A node's host refused a connection just now that was dialled after the last link was lost.
    pub fn on_refused(&mut self, now: Now, node: NodeId) {
        self.turned(now);
        let lived = self.eyes.now();
        self.eyes.watch.refused(node, lived, lived);
        // What was lost is lost at once: rows go out with it.
        self.send_row();
    }

    /// Another controller's message came over a link with that process.
    pub fn on_message(&mut self, now: Now, from: Member, bytes: &[u8]) {
        self.turned(now);
        match Message::decode(bytes) {
            Ok(message) => self.on_message_of(from, message),
            Err(error) => self.doing.push(Doing::Note(Note::Refused { from: from.node, error })),
        }
        self.settle();
    }

    /// Every write up to this number is durable.
    ///
    /// # Panics
    /// If that write was never handed out: a bug in this process.
    pub fn on_durable(&mut self, upto: u64) {
        if let Some(seat) = &mut self.seat {
            seat.voter().on_durable(upto);
        }
        self.settle();
    }

    /// A shard of this node wants an entry, or an operator does. It may get lost.
    pub fn propose(&mut self, entry: &Entry) {
        if let Some(entry) = self.placed(entry) {
            self.propose_entry(&entry);
        }
        self.settle();
    }

    /// A shard of this node says all that it has to say of its groups now.
    pub fn on_reports(&mut self, shard: u16, reports: Vec<GroupReport>) {
        let row = self.shards.entry(shard).or_default();
        if *row != reports {
            self.report_at_ms = 0;
            *row = reports;
        }
    }

    /// This node shall lose its memberships, or keep them again and have more. It is asked for until the log says so.
    pub fn drain(&mut self, drains: bool) {
        self.drains = Some(drains);
        self.up_at_ms = 0;
    }

    /// Whether this node was told to drain, writes nothing any more, and is a member of nothing that others could take over.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        let others = self
            .state
            .nodes()
            .filter(|(node, row)| *node != self.own.node && row.presence == Presence::Up);
        let others = others.count();
        let holds = |config: &Config| match config.position(self.own.node) {
            Some(0) => others > 0,
            Some(_) => others >= self.members,
            None => false,
        };
        self.drains == Some(true)
            && (self.state.groups())
                .all(|(_, group)| !holds(&group.active) && !group.pending.as_ref().is_some_and(holds))
    }

    fn turned(&mut self, now: Now) {
        self.now_ms = now.monotonic_ns / MS;
        self.wall_ms = now.wall_ms;
        self.eyes.turned(now.monotonic_ns);
    }

    fn on_message_of(&mut self, from: Member, message: Message<'_>) {
        match message {
            Message::Vote(bytes) => {
                let lived = self.eyes.now();
                if let Some(seat) = &mut self.seat {
                    // What was dropped is counted there.
                    seat.step(self.now_ms, lived, from.node, bytes).ok();
                }
            }
            Message::Row(bytes) => {
                let taken = Row::decode(bytes).is_ok_and(|row| self.eyes.take_row(from, row));
                if taken && self.is_leader() {
                    let verdicts = self.eyes.judge();
                    self.propose_verdicts(verdicts);
                }
            }
            Message::Propose(bytes) => {
                if self.is_leader() {
                    self.propose_bytes(bytes);
                }
            }
            Message::Ask(position) => self.tell(from.node, position),
            Message::Learn(entries) => self.learn(entries),
            Message::Report(reports) => self.reports.take(from, reports, self.eyes.now()),
            Message::State(part) => self.on_state_part(from.node, &part),
            Message::AskState { position, offset } => self.tell_state(from.node, Some((position, offset))),
        }
    }

    fn propose_entry(&mut self, entry: &Entry) {
        let stamp = Stamp {
            by: self.own.node,
            wall_ms: self.wall_ms,
        };
        self.propose_bytes(&codec::encode(stamp, entry));
    }

    /// To consensus where this node votes, else to all who do: the one who leads takes it.
    fn propose_bytes(&mut self, bytes: &[u8]) {
        if let Some(seat) = &mut self.seat
            && !asks_for_votes(bytes)
        {
            // One that is not taken is proposed again by whoever wants it.
            seat.voter().propose(bytes).ok();
        } else if self.is_leader() {
            self.propose_for_votes(bytes);
        } else {
            self.send_voters(&Message::Propose(bytes));
        }
    }

    fn send_voters(&mut self, message: &Message<'_>) {
        let bytes = message.encode();
        for voter in self.voters.iter().filter(|voter| **voter != self.own.node) {
            self.doing.push(Doing::Send {
                to: *voter,
                bytes: bytes.clone(),
            });
        }
    }

    /// After each input: what was decided takes effect, and what may leave leaves.
    fn settle(&mut self) {
        // Asked after each input, and most bring nothing.
        if self.has_news() {
            self.take_news();
        }
        let leader = self.seat.as_ref().and_then(Seat::leader);
        if leader != self.leader {
            self.leader = leader;
            self.doing.push(Doing::Note(Note::Leader(leader)));
        }
    }

    fn take_news(&mut self) {
        while self.has_news() {
            self.take_of_seat();
            let mut decided = Vec::new();
            self.learner.take_ready(&mut decided);
            if decided.is_empty() {
                continue;
            }
            decided.into_iter().for_each(|decided| self.on_decided(decided));
            self.tell_learners();
            self.follow_voters();
        }
    }

    /// Whether there is anything to be taken: a write, a message, a decided entry.
    fn has_news(&self) -> bool {
        self.learner.has_news() || self.seat.as_ref().is_some_and(Seat::has_news)
    }

    /// What this node's voter wants written and said, and what it knows to be decided.
    fn take_of_seat(&mut self) {
        let Some(seat) = &mut self.seat else { return };
        let (mut writes, mut decided) = (Vec::new(), Vec::new());
        let mut outgoing = std::mem::take(&mut self.outgoing);
        seat.voter().take_writes(&mut writes);
        seat.voter().take_outgoing(&mut outgoing);
        seat.voter().take_decided(&mut decided);
        self.doing.extend(writes.into_iter().map(Doing::Write));
        for (to, bytes) in outgoing.drain(..) {
            let Some(to) = seat.node(to) else { continue };
            let bytes = Message::Vote(&bytes).encode();
            self.doing.push(Doing::Send { to, bytes });
        }
        self.outgoing = outgoing;
        for decided in decided {
            // What others have told before is known.
            self.learner.take(decided).ok();
        }
    }

    fn on_decided(&mut self, decided: Decided) {
        // What follows an entry that cannot be read cannot be placed.
        if self.has_ended {
            return;
        }
        self.tail.push(&decided);
        let Decided { position, entry } = decided;
        let (stamp, entry) = match codec::decode(&entry) {
            Ok(decoded) => decoded,
            Err(error) => {
                self.has_ended = true;
                return self.doing.push(Doing::End(End::Unreadable { position, error }));
            }
        };
        let changed = self.state.apply(position, &entry);
        if changed.placing {
            self.on_nodes();
        }
        if changed.voters {
            self.on_voters();
        }
        self.note(&changed);
        if changed.node.is_some() {
            self.on_presences();
        }
        // What changed may want the next step at once.
        self.plan_at_ms = 0;
        let entry = Box::new(entry);
        self.doing.push(Doing::Decided { position, stamp, entry });
    }

    /// The log says another thing of a node, perhaps of this one.
    fn on_presences(&mut self) {
        self.eyes.on_state(&self.state);
        let own = self.state.node(self.own.node);
        let by = own.incarnation;
        if own.presence == Presence::Left {
            self.doing.push(Doing::End(End::Left));
        } else if by > self.own.incarnation {
            self.doing.push(Doing::End(End::Replaced { by }));
        } else if !self.state.may_answer(self.own) {
            self.doing.push(Doing::End(End::Gone));
        }
    }

    fn note(&mut self, changed: &Changed) {
        if let Some(node) = changed.node {
            self.note_node(node);
        }
        let (active, pending) = (changed.active.len(), changed.pending.len());
        if active + pending > 0 {
            self.doing.push(Doing::Note(Note::Groups { active, pending }));
        }
    }

    fn note_node(&mut self, node: NodeId) {
        let row = self.state.node(node);
        let member = Member {
            node,
            incarnation: row.incarnation,
        };
        let presence = row.presence;
        self.doing.push(Doing::Note(Note::Node { member, presence }));
    }
}

/// Whether an entry is about who votes, or who votes may stand in its way: only the leader can say.
fn asks_for_votes(bytes: &[u8]) -> bool {
    let entry = codec::decode(bytes).map(|(_, entry)| entry);
    matches!(entry, Ok(Entry::VotersChanged { .. } | Entry::NodeLeft { .. }))
}
