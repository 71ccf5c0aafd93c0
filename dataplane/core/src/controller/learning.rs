//! What is decided, from one node to another: entries where somebody still keeps them, else the state that they add up to.
//!
//! Every node tells, for every node knows: whoever was away while all the voters that it knew were replaced learns from any other. Voters ask
//! too, less often, because a configuration may have ended without them. **Invariant:** a node's state is that of a prefix of the log; it only ever
//! goes on.

use super::seat::Seat;
use super::{Controller, Doing, Message, MessageError, Note, StatePart};
use crate::ids::NodeId;
use crate::rules::Rules;
use crate::time::MS;
use crate::topology_log::consensus::{Decided, TAIL_BYTES_MAX, Tail};
use crate::topology_log::{NodeState, TopologyState};

/// A learner asks for what it misses this often, in ms, and so does a voter that knows of no leader.
const ASK_MS: u64 = 100;
/// A voter with a leader asks this often, in ms.
const VOTER_ASK_MS: u64 = 1_000;
/// A voter of whose vote nothing is heard for so long has none, in ms.
const VOTE_SILENT_MS: u64 = 500;
/// Of so many questions one goes to any node, the others to voters.
const ANY_NODE_EVERY: u64 = 4;
/// Bytes of decided entries, or of a state, that one message carries.
const LEARN_BYTES: usize = 256 << 10;
/// Bytes of a state at most: a hundred times those of the largest cluster.
const STATE_BYTES_MAX: u64 = 1 << 30;
/// A state of which nothing comes for so long is asked for anew, in ms.
const FETCH_MS: u64 = 1_000;
/// A state's bytes are kept for whoever is being told them for so long after the last question, in ms.
const SERVED_MS: u64 = 5_000;

/// A state that comes in parts.
#[derive(Debug)]
pub(super) struct Fetch {
    from: NodeId,
    position: u64,
    length: u64,
    bytes: Vec<u8>,
    came_ms: u64,
}

/// The bytes of the state that is being told.
#[derive(Debug)]
pub(super) struct Served {
    position: u64,
    bytes: Vec<u8>,
    asked_ms: u64,
}

impl<R: Rules> Controller<R> {
    /// Asks one node after the other for what comes next.
    pub(super) fn ask(&mut self) {
        let now_ms = self.now_ms;
        self.served.take_if(|served| now_ms >= served.asked_ms + SERVED_MS);
        self.fetch.take_if(|fetch| now_ms >= fetch.came_ms + FETCH_MS);
        if self.now_ms < self.ask_at_ms || self.fetch.is_some() {
            return;
        }
        let is_led = self.seat.as_ref().is_some_and(|seat| seat.leader().is_some());
        self.ask_at_ms = self.now_ms + if is_led { VOTER_ASK_MS } else { ASK_MS };
        let position = self.learner.next();
        let bytes = Message::Ask(position).encode();
        // Two at a time, so that one that is gone costs nothing.
        let questions = if self.seat.is_some() { 1 } else { 2 };
        for _ in 0..questions {
            let to = self.next_asked();
            let bytes = bytes.clone();
            self.doing.extend(to.map(|to| Doing::Send { to, bytes }));
        }
    }

    fn next_asked(&mut self) -> Option<NodeId> {
        self.asked += 1;
        let voters: Vec<NodeId> = self
            .voters
            .iter()
            .copied()
            .filter(|node| *node != self.own.node)
            .collect();
        let all = self.topology.nodes().iter().map(|node| node.id);
        let all: Vec<NodeId> = all.filter(|node| *node != self.own.node).collect();
        let is_any = self.asked.is_multiple_of(ANY_NODE_EVERY) || voters.is_empty();
        let some = if is_any { all } else { voters };
        // Each list is gone round by itself.
        let turn = if is_any {
            self.asked / ANY_NODE_EVERY
        } else {
            self.asked
        };
        let at = usize::try_from(turn).unwrap_or_default().checked_rem(some.len())?;
        Some(some[at])
    }

    /// Decided entries for another node, from a position on.
    pub(super) fn tell(&mut self, to: NodeId, position: u64) {
        if !self.learns_by_voting(to) {
            self.told.insert(to, position);
        }
        let Some(entries) = self.tail.from(position, LEARN_BYTES) else {
            return self.tell_state(to, None);
        };
        let Some(last) = entries.last() else { return };
        if let Some(told) = self.told.get_mut(&to) {
            *told = last.position + 1;
        }
        let bytes = Message::Learn(entries).encode();
        self.doing.push(Doing::Send { to, bytes });
    }

    /// Whether a node is told by consensus. A voter that lost its file is not, until its vote is given anew.
    fn learns_by_voting(&self, node: NodeId) -> bool {
        let is_heard = |seat: &Seat<R>| seat.silent_ns(node, self.eyes.now()) < VOTE_SILENT_MS * MS;
        self.voters.contains(&node) && self.seat.as_ref().is_none_or(is_heard)
    }

    /// The leader tells learners at once; what is lost on the way they ask for.
    pub(super) fn tell_learners(&mut self) {
        if !self.is_leader() {
            return;
        }
        let others: Vec<(NodeId, u64)> = self.told.iter().map(|(node, next)| (*node, *next)).collect();
        for (node, next) in others {
            // One that is behind all that is kept asks, and gets one state at a time.
            if self.tail.from(next, 0).is_some() && !self.learns_by_voting(node) {
                self.tell(node, next);
            } else {
                self.told.remove(&node);
            }
        }
    }

    /// A part of the state: the next one of what it is being told, else the first of what is known now.
    pub(super) fn tell_state(&mut self, to: NodeId, wanted: Option<(u64, u64)>) {
        let now_ms = self.now_ms;
        // One that is told now is not made again for each, as long as there are the entries behind it.
        let tail = &self.tail;
        let goes_on = |served: &Served| tail.from(served.position.saturating_add(1), 0).is_some();
        let is_told =
            |served: &Served| wanted.map_or_else(|| goes_on(served), |(position, _)| position == served.position);
        if !self.served.as_ref().is_some_and(is_told) {
            // Others may be in the midst of an older one: they begin again.
            self.served = Some(Served {
                position: self.state.position(),
                bytes: self.state.encode(),
                asked_ms: now_ms,
            });
        }
        let Some(served) = &mut self.served else { return };
        let offset = wanted.map_or(
            0,
            |(position, offset)| if position == served.position { offset } else { 0 },
        );
        served.asked_ms = now_ms;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(served.bytes.len());
        let end = (from + LEARN_BYTES).min(served.bytes.len());
        let part = StatePart {
            position: served.position,
            length: served.bytes.len() as u64,
            offset: from as u64,
            bytes: &served.bytes[from..end],
        };
        let bytes = Message::State(part).encode();
        self.doing.push(Doing::Send { to, bytes });
    }

    pub(super) fn learn(&mut self, entries: Vec<Decided>) {
        let before = self.learner.next();
        let mut has_gap = false;
        for decided in entries {
            has_gap |= decided.position > self.learner.next();
            // What is too far ahead comes again, and two words for one position are the voters' to find out.
            self.learner.take(decided).ok();
        }
        if has_gap || self.learner.next() > before + 64 {
            self.ask_at_ms = 0;
        }
    }

    /// A part of a state that another node knows.
    pub(super) fn on_state_part(&mut self, from: NodeId, part: &StatePart<'_>) {
        if part.position <= self.state.position() || part.length > STATE_BYTES_MAX {
            return;
        }
        let is_of =
            |fetch: &Fetch| fetch.from == from && fetch.position == part.position && fetch.length == part.length;
        if part.offset == 0
            && self
                .fetch
                .as_ref()
                .is_none_or(|fetch| fetch.from == from && !is_of(fetch))
        {
            self.fetch = Some(Fetch {
                from,
                position: part.position,
                length: part.length,
                bytes: Vec::new(),
                came_ms: self.now_ms,
            });
        }
        let Some(fetch) = self.fetch.as_mut().filter(|fetch| is_of(fetch)) else {
            return;
        };
        if part.offset != fetch.bytes.len() as u64 {
            return;
        }
        fetch.bytes.extend_from_slice(part.bytes);
        fetch.came_ms = self.now_ms;
        let (position, offset) = (fetch.position, fetch.bytes.len() as u64);
        if offset < fetch.length {
            let bytes = Message::AskState { position, offset }.encode();
            return self.doing.push(Doing::Send { to: from, bytes });
        }
        let bytes = self.fetch.take().map(|fetch| fetch.bytes).unwrap_or_default();
        match TopologyState::decode(&bytes) {
            Ok(state) if state.position() == position => {
                self.install(state);
                self.ask_at_ms = 0;
            }
            _ => {
                let error = MessageError::Body;
                self.doing.push(Doing::Note(Note::Refused { from, error }));
            }
        }
    }

    /// The state of a longer prefix: of the file of this node's vote, or as another node knows it.
    pub(super) fn install(&mut self, state: TopologyState) {
        let next = state.position() + 1;
        self.learner.skip_to(next);
        self.tail = Tail::new(next, TAIL_BYTES_MAX);
        let before = core::mem::replace(&mut self.state, state);
        if self.state.placing() != before.placing() {
            self.on_nodes();
        }
        let is_other = |(node, row): &(NodeId, NodeState)| before.node(*node) != *row;
        let others: Vec<NodeId> = self.state.nodes().filter(is_other).map(|(node, _)| node).collect();
        others.into_iter().for_each(|node| self.note_node(node));
        if self.state.electorate() != before.electorate() {
            self.on_voters();
        }
        self.on_presences();
        self.plan_at_ms = 0;
        self.doing.push(Doing::State(Box::new(self.state.clone())));
        self.follow_voters();
    }
}
