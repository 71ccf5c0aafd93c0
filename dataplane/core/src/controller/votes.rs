//! Who votes, as the controller has it: a node takes its seat, loses it, begins the file of the next one; and a leader finds others to vote.
//!
//! **Invariant:** for one voter's id at most one file is ever begun ([`TopologyState::birthright`]), and once it is begun this process votes with no
//! other. **Invariant:** of the next voters a majority votes already: so they can decide whatever becomes of those that begin.

use std::collections::BTreeSet;

use super::seat::Seat;
use super::{Controller, Doing, Note, codec};
use crate::ids::{Member, NodeId};
use crate::rules::{Rule, Rules};
use crate::time::{MS, Now};
use crate::topology_log::consensus::{Birth, Ended, FileError, NextVoters, VoterId};
use crate::topology_log::planner::site::Site;
use crate::topology_log::{Entry, Presence, Stamp, TopologyState, Voter, WhyVoters};

/// How often the leader looks at the voters, in ms.
const VOTES_MS: u64 = 200;
/// For so long a voter is wanted to leave after an operator asked for it, in ms.
const LEAVING_MS: u64 = 10_000;
/// A file so many times as long as it should be is begun anew whatever is under way.
const OVERDUE: usize = 4;
/// Voters below which nobody leaves without another in its place.
const VOTERS_MIN: usize = 3;

impl<R: Rules> Controller<R> {
    /// Takes the seat of this node's voter file. Returns how many bytes of it are good.
    ///
    /// # Errors
    /// When the file is not of this cluster and voter, or says nothing that can be believed.
    pub(super) fn sit(&mut self, birth: &Birth, file: &[u8]) -> Result<usize, FileError> {
        let unreadable = FileError::Unreadable { number: 1 };
        match Birth::state_of(file)? {
            Some((position, bytes)) => {
                let state = TopologyState::decode(bytes).map_err(|_| unreadable)?;
                let is_of_birth = state.electorate().configuration == birth.configuration();
                if state.position() != position || !is_of_birth {
                    return Err(unreadable);
                }
                self.install(state);
            }
            // What stood before its first entry is nowhere then.
            None if birth.base() > 0 => return Err(unreadable),
            None => {}
        }
        self.file = Some(birth.configuration());
        self.take_seat(birth, file)
    }

    fn take_seat(&mut self, birth: &Birth, file: &[u8]) -> Result<usize, FileError> {
        let voters: Vec<(VoterId, NodeId)> = self.rows().iter().map(|voter| (voter.id, voter.node)).collect();
        let own = (self.own.node, self.own.incarnation);
        let (seat, good) = Seat::take(own, birth, file, &voters, self.eyes.now())?;
        self.seat = Some(seat);
        Ok(good)
    }

    /// The voters of the newest configuration that is known here.
    fn rows(&self) -> Vec<Voter> {
        let electorate = self.state.electorate();
        if electorate.configuration > 1 {
            return electorate.voters.clone();
        }
        let first = |(id, node): (u16, &NodeId)| Voter {
            id: VoterId(id),
            node: *node,
            since: 1,
            incarnation: crate::ids::Incarnation::default(),
        };
        (1..).zip(&self.first_voters).map(first).collect()
    }

    /// The log names others.
    pub(super) fn on_voters(&mut self) {
        self.voters = self.rows().iter().map(|voter| voter.node).collect();
        let voters = &self.voters;
        self.told.retain(|node, _| !voters.contains(node));
        self.doing.push(Doing::Note(Note::Voters {
            configuration: self.state.electorate().configuration,
            nodes: self.voters.clone(),
        }));
    }

    /// Leaves the seat of a configuration that is over, and takes that of the next one if this process may.
    pub(super) fn follow_voters(&mut self) {
        let configuration = self.state.electorate().configuration;
        if self.seat.take_if(|seat| seat.configuration() < configuration).is_some()
            && !self.voters.contains(&self.own.node)
        {
            self.doing.push(Doing::Note(Note::Votes(false)));
        }
        // One file after the other, and for one configuration once in the life of a process.
        if self.seat.is_some() || self.birth.is_some() || self.asked_birth >= configuration || self.has_ended {
            return;
        }
        let Some(own) = self.birthright() else { return };
        let electorate = self.state.electorate();
        let next = NextVoters {
            configuration,
            voters: electorate.voters.iter().map(|voter| voter.id).collect(),
        };
        let ended = Ended {
            next,
            base: electorate.base,
        };
        let birth = Birth::after(self.topology.spec().cluster, own, &ended).expect("the log names voters that can be");
        let file = birth.file_from(self.state.position(), &self.state.encode());
        self.asked_birth = configuration;
        self.birth = Some((birth, file.clone()));
        self.doing.push(Doing::Birth(file));
    }

    fn birthright(&self) -> Option<VoterId> {
        if R::breaks(Rule::WipedVoterIsBornAgain) {
            let voters = &self.state.electorate().voters;
            let own = voters.iter().find(|voter| voter.node == self.own.node);
            let is_new = self.file != Some(self.state.electorate().configuration);
            return own.filter(|_| is_new).map(|voter| voter.id);
        }
        self.state.birthright(self.own, self.file)
    }

    /// The file of [`Doing::Birth`] is durable, or could not be made: then this process does not vote in that configuration.
    pub fn on_born(&mut self, now: Now, is_durable: bool) {
        self.turned(now);
        if let Some((birth, file)) = self.birth.take().filter(|_| is_durable) {
            self.file = Some(birth.configuration());
            if birth.configuration() == self.state.electorate().configuration {
                self.take_seat(&birth, &file).expect("the file has just been made");
                self.doing.push(Doing::Note(Note::Votes(true)));
            }
        }
        // The log may have gone on.
        self.follow_voters();
        self.settle();
    }

    /// An entry that only a leader can judge: a voter leaves when another has its vote, and who votes is said by nobody else.
    pub(super) fn propose_for_votes(&mut self, bytes: &[u8]) {
        if let Ok((_, Entry::NodeLeft { node, .. })) = codec::decode(bytes) {
            if self.voters.contains(&node) {
                self.leaving.insert(node, self.now_ms + LEAVING_MS);
                self.votes_at_ms = 0;
            } else if let Some(seat) = &mut self.seat {
                seat.voter().propose(bytes).ok();
            }
        }
    }

    /// The leader sees to it that those vote who can.
    pub(super) fn plan_votes(&mut self) {
        if self.now_ms < self.votes_at_ms {
            return;
        }
        self.votes_at_ms = self.now_ms + VOTES_MS;
        let now_ms = self.now_ms;
        self.leaving.retain(|_, until_ms| *until_ms > now_ms);
        let configuration = self.state.electorate().configuration;
        let Some(seat) = self
            .seat
            .as_ref()
            .filter(|seat| seat.configuration() == configuration && !seat.has_ended())
        else {
            return;
        };
        let record_bytes = seat.record_bytes();
        let Some((rows, why)) = self.next_voters(seat) else {
            return;
        };
        // What is being opened stands on who decides now.
        let is_overdue = why == WhyVoters::Trim && record_bytes >= self.votes.trim_bytes.saturating_mul(OVERDUE);
        if !is_overdue && self.state.groups().any(|(_, group)| group.pending.is_some()) {
            return;
        }
        let Some(voters) = self.numbered(rows, configuration + 1) else {
            return;
        };
        let next = NextVoters {
            configuration: configuration + 1,
            voters: voters.iter().map(|voter| voter.id).collect(),
        };
        let entry = Entry::VotersChanged {
            configuration: configuration + 1,
            voters,
            why,
        };
        let stamp = Stamp {
            by: self.own.node,
            wall_ms: self.wall_ms,
        };
        self.votes_at_ms = self.now_ms + self.again_ms();
        if let Some(seat) = &mut self.seat {
            // If it is not taken it is planned again.
            seat.propose_voters(&next, &codec::encode(stamp, &entry)).ok();
        }
    }

    /// The next voters under ids of their own; `None` if there are no more ids.
    fn numbered(&self, rows: Vec<Voter>, configuration: u32) -> Option<Vec<Voter>> {
        let last = self.rows().last().map_or(0, |voter| voter.id.0);
        let number = |(at, voter): (u16, Voter)| {
            let is_new = voter.since == configuration;
            Some(Voter {
                id: VoterId(last.checked_add(at)?),
                incarnation: if is_new {
                    self.state.node(voter.node).incarnation
                } else {
                    voter.incarnation
                },
                ..voter
            })
        };
        (1..).zip(rows).map(number).collect()
    }

    /// Who should vote next, and why, where those that vote are not they.
    fn next_voters(&self, seat: &Seat<R>) -> Option<(Vec<Voter>, WhyVoters)> {
        let now = self.eyes.now();
        let replace_ns = self.votes.replace_ms.saturating_mul(MS);
        let rows = self.rows();
        let is_gone = |node| matches!(self.state.node(node).presence, Presence::Gone | Presence::Left);
        let leaves = |node| self.leaving.contains_key(&node) || is_gone(node);
        // Whoever leads does not vote itself out: another does, once it leads.
        let is_heard = |node| !leaves(node) && seat.silent_ns(node, now) < replace_ns;
        let is_kept = |voter: &&Voter| voter.node == self.own.node || is_heard(voter.node);
        let kept: Vec<Voter> = rows.iter().filter(is_kept).copied().collect();
        let wanted = self.first_voters.len().max(1);
        let choice = Choice {
            site: Site::new(&self.topology),
            first: &self.first_voters,
            lost: rows
                .iter()
                .filter(|voter| !kept.contains(voter))
                .map(|voter| voter.node)
                .collect(),
        };
        if kept.len() < rows.len() || rows.len() < wanted {
            let why = match rows.iter().find(|voter| self.leaving.contains_key(&voter.node)) {
                Some(_) => WhyVoters::Leaves,
                None if kept.len() < rows.len() => WhyVoters::Lost,
                None => WhyVoters::Spread,
            };
            let mut next: Vec<NodeId> = kept.iter().map(|voter| voter.node).collect();
            let mut candidates = self.candidates(&next, leaves);
            // So few that they are outvoted by those that vote already.
            while next.len() < wanted.min(2 * kept.len() - 1)
                && let Some(best) = choice.best(&next, &candidates)
            {
                candidates.remove(&best);
                next.push(best);
            }
            let has_new = next.len() > kept.len();
            // Those that nobody stands in for keep their vote, unless they are to leave.
            let held = rows
                .iter()
                .filter(|voter| !next.contains(&voter.node) && !leaves(voter.node));
            let held: Vec<Voter> = held.take(wanted.saturating_sub(next.len())).copied().collect();
            let count = next.len() + held.len();
            let is_enough = count >= VOTERS_MIN.min(wanted) && kept.len() > count / 2;
            if is_enough && (has_new || count < rows.len()) {
                let configuration = seat.configuration() + 1;
                let new = next.iter().filter(|node| kept.iter().all(|voter| voter.node != **node));
                let new = new.map(|node| given(*node, configuration));
                return Some((kept.iter().copied().chain(held).chain(new).collect(), why));
            }
        } else if seat.age_ns(now) >= replace_ns
            && let Some(next) = self.spread(&choice, &rows, seat.configuration() + 1)
        {
            return Some((next, WhyVoters::Spread));
        }
        (seat.record_bytes() >= self.votes.trim_bytes).then_some((rows, WhyVoters::Trim))
    }

    /// Nodes that could vote and do not: there, heard, and not about to leave.
    fn candidates(&self, voting: &[NodeId], leaves: impl Fn(NodeId) -> bool) -> BTreeSet<NodeId> {
        let heard = self.eyes.heard();
        let can = |(node, row): &(NodeId, crate::topology_log::NodeState)| {
            let member = Member {
                node: *node,
                incarnation: row.incarnation,
            };
            let is_there = row.presence == Presence::Up && heard.contains(&member);
            is_there && !voting.contains(node) && !leaves(*node) && self.topology.node(*node).is_some()
        };
        self.state.nodes().filter(can).map(|(node, _)| node).collect()
    }

    /// One vote moved, where the voters stand closer together than those that the cluster was made with.
    fn spread(&self, choice: &Choice<'_>, rows: &[Voter], configuration: u32) -> Option<Vec<Voter>> {
        let nodes: Vec<NodeId> = rows.iter().map(|voter| voter.node).collect();
        let now = choice.crowding(&nodes).0;
        if now <= choice.crowding(&self.first_voters).0 || rows.len() < VOTERS_MIN {
            return None;
        }
        let candidates = self.candidates(&nodes, |node| self.leaving.contains_key(&node));
        let moved = |from: &NodeId| {
            let rest: Vec<NodeId> = nodes.iter().copied().filter(|node| node != from).collect();
            let to = choice.best(&rest, &candidates)?;
            Some((choice.crowding(&[&rest[..], &[to]].concat()).0, *from, to))
        };
        // The leader keeps its own.
        let movable = nodes.iter().filter(|node| **node != self.own.node);
        let (after, from, to) = movable.filter_map(moved).min()?;
        let stay = rows.iter().copied().filter(|voter| voter.node != from);
        (after < now).then(|| stay.chain([given(to, configuration)]).collect())
    }
}

/// A vote that is given to a node anew. Its id and process are said last.
fn given(node: NodeId, configuration: u32) -> Voter {
    Voter {
        id: VoterId(0),
        node,
        since: configuration,
        incarnation: crate::ids::Incarnation::default(),
    }
}

/// Which of those that could vote should.
struct Choice<'a> {
    site: Site,
    first: &'a [NodeId],
    /// Voters that do not vote any more.
    lost: Vec<NodeId>,
}

impl Choice<'_> {
    /// How close together nodes stand: the less the better, data centres before zones.
    fn crowding(&self, nodes: &[NodeId]) -> (usize, usize) {
        let places = || nodes.iter().filter_map(|node| self.site.place(*node));
        let pairs = |same: &dyn Fn(
            crate::topology_log::planner::site::Place,
            crate::topology_log::planner::site::Place,
        ) -> bool| {
            places()
                .map(|place| places().filter(|other| same(place, *other)).count())
                .sum()
        };
        (pairs(&|a, b| a.dc == b.dc), pairs(&|a, b| a.zone == b.zone))
    }

    /// The one that leaves the others the least close together; then one that did not fail just now, and one that the cluster was made with.
    fn best(&self, voting: &[NodeId], candidates: &BTreeSet<NodeId>) -> Option<NodeId> {
        let rank = |node: &NodeId| {
            let with = [voting, &[*node]].concat();
            (
                self.crowding(&with),
                self.lost.contains(node),
                !self.first.contains(node),
            )
        };
        candidates.iter().copied().min_by_key(rank)
    }
}
