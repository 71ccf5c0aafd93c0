//! What must hold in a simulated cluster: at each ack, once faults have stopped, and when all is quiet.
//!
//! It reads members' logs as bytes and believes no counter. **Invariant:** looking changes nothing but the list of violations.

use std::collections::BTreeMap;

use waterpark_core::Shard;
use waterpark_core::config::Births;
use waterpark_core::ids::{GroupId, Member, Seq};
use waterpark_core::rules::Rules;
use waterpark_core::time::MS;
use waterpark_wire::reply::Outcome;
use waterpark_wire::run::{DROPPED, EntryView, VOID};

use super::event::Event;
use super::{Cluster, WALL_MS};
use crate::client::RequestId;
use crate::ledger::{Ledger, Token, Violation};
use crate::retention::{self, Wrong};

/// What asks whether groups serve is sent so far apart.
const APART_MS: u64 = 15;

impl<R: Rules> Cluster<R> {
    /// When an ack arrives, a quorum of its Config holds its entry, or held it to its end; and in two data centres, where they can.
    pub(super) fn check_ack(&mut self, token: Token) {
        if let Some((before, holders)) = self.ledger.lineages.before(token) {
            // It went with its group: it was acked in the lineage before, late as its reply may be.
            let held = |member: &&Member| holders.contains(member) || self.holds(**member, token);
            let count = before.members.iter().filter(held).count();
            if count < before.write_quorum {
                self.ledger.violations.push(Violation::AckedTooEarly(token, count));
            }
            return;
        }
        let members = self.members(token.group);
        // Whoever committed it was of the newest active Config or of an older one, whose log the newer one has.
        let (quorum, holders): (usize, Vec<usize>) = match self.births {
            Births::Writer => {
                let holders = members.iter().copied().filter(|node| self.node_holds(*node, token));
                (members.len() / 2 + 1, holders.collect())
            }
            Births::TopologyLog => {
                let Some(active) = self.newest_active(token.group) else {
                    return self.ledger.violations.push(Violation::AckedTooEarly(token, 0));
                };
                let holders = active.members.iter().filter(|member| self.holds(**member, token));
                let nodes = holders.map(|member| usize::from(member.node.0) - 1).collect();
                (active.write_quorum, nodes)
            }
        };
        if holders.len() < quorum {
            self.ledger
                .violations
                .push(Violation::AckedTooEarly(token, holders.len()));
        }
        // Where a quorum fits into one data centre, as in a cluster of three, it may lie there.
        let fellows = |node: &usize| {
            members
                .iter()
                .filter(|other| self.dc(**other) == self.dc(*node))
                .count()
        };
        let spread = members.iter().map(fellows).max().is_some_and(|most| most < quorum);
        // Members that change at random may be of one data centre.
        if self.births == Births::Writer
            && spread
            && holders.len() >= quorum
            && holders.iter().all(|node| self.dc(*node) == self.dc(holders[0]))
        {
            self.ledger.violations.push(Violation::OneDataCentre(token));
        }
    }

    /// Every group whose Config can still commit serves a new request.
    pub(super) fn check_liveness(&mut self) {
        let mut probes = Vec::new();
        let client = self.add_client((WALL_MS + self.now_ns / MS) / 1_000, false);
        // Of what a test brought nobody else knows what it can be asked for: there the test's own requests must end.
        let keys = if self.kinds.is_brought() {
            Vec::new()
        } else {
            self.keys.clone()
        };
        for (position, key) in (0..).zip(keys) {
            let group = self.topology.locate(key.as_ref()).group;
            if !self.can_serve(group) {
                continue;
            }
            let message = self.message(&key);
            let row = &mut self.clients[client as usize];
            let id = row.open(group, key.clone(), message.clone());
            if let Some(open) = row.open.get_mut(&(group, id.number)) {
                // Apart from each other, as their refusals then are: nodes may keep no more than a few replies for a client.
                open.again_ns = self.now_ns + position * APART_MS * MS;
            }
            self.history.on_ask(id, key, message, self.now_ns);
            probes.push(id);
        }
        self.schedule(self.now_ns, Event::Step { client });
        let until_ns = self.now_ns + 5_000 * MS;
        self.run_until(until_ns);
        for id in probes {
            let Some(open) = self.clients[client as usize].open.get(&(id.group, id.number)) else {
                continue;
            };
            // Where there is too little of something, whoever asks is told so.
            let is_told = self.faults.is_tight() && open.refused.is_some();
            if !is_told {
                self.report.violations.push(Violation::Stuck(id.group));
            }
        }
    }

    /// Whether a request must have ended by now: its group can serve, and nothing is so scarce that whoever asks is told so for ever.
    pub(super) fn must_end(&self, id: RequestId) -> bool {
        !self.faults.is_tight() && self.can_serve(id.group)
    }

    /// Whether a group's Config can still commit.
    fn can_serve(&self, group: GroupId) -> bool {
        if self.births == Births::TopologyLog {
            return true;
        }
        let members = self.members(group);
        let whole = members.iter().filter(|node| self.nodes[**node].restarts == 0).count();
        let serves = self.nodes[members[0]].restarts == 0 && whole > members.len() / 2;
        // Birth needs all members as they were met: a restart may have come first, and then the group is never born.
        serves && (whole == members.len() || self.is_open(members[0], group))
    }

    pub(super) fn is_open(&self, node: usize, group: GroupId) -> bool {
        let bodies = self.nodes[node].shards.iter().flat_map(Shard::group_bodies);
        bodies
            .filter(|body| body.group == group.0)
            .any(|body| body.role == "writer")
    }

    /// What must hold when all is quiet: every acked entry on every member that lived, the same bytes everywhere, each request once.
    pub(super) fn check(&mut self) {
        self.check_joins();
        self.check_contradicted();
        let mut violations = Vec::new();
        for (token, id, outcome) in self.ledger.acked() {
            if self.ledger.lineages.is_gone(token) {
                continue;
            }
            let Some(message) = self.history.message(id) else {
                violations.push(Violation::NeverAsked(id, token.seq));
                continue;
            };
            for node in self.members(token.group) {
                if !self.speaks(node, token.group, token.seq) {
                    continue;
                }
                let other = self.view(node, token).is_some_and(|view| view != token.view);
                if self.births == Births::TopologyLog && other {
                    violations.push(Violation::Changed(token, id));
                    continue;
                }
                match self.entry(node, token) {
                    None if self.births == Births::Writer && self.nodes[self.members(token.group)[0]].restarts > 0 => {}
                    // A member without room is never given it; those that acked it hold it still.
                    None if self.faults.has_little_memory() && self.is_held_by_quorum(token) => {}
                    None => violations.push(Violation::Lost(token, self.name(node).to_owned())),
                    Some(bytes) => {
                        // Whether it may have lost its message is judged with its group.
                        let same = EntryView::new_checked(bytes).is_ok_and(|(entry, _)| {
                            let is_void = entry.header.flags.get() & VOID != 0;
                            // What a handler knows already is an entry without its message.
                            if is_void && self.kinds.is_brought() && outcome == Outcome::Done {
                                return entry.message.is_empty();
                            }
                            if is_void || outcome == Outcome::Voided {
                                return is_void && outcome == Outcome::Voided && entry.message.is_empty();
                            }
                            let is_dropped = entry.header.flags.get() & DROPPED != 0;
                            let length = entry.header.message_length.get() as usize;
                            entry.message == message || is_dropped && length == message.len()
                        });
                        if !same {
                            violations.push(Violation::Changed(token, id));
                        }
                    }
                }
            }
        }
        for group in (0..self.topology.keyspace().groups()).map(GroupId) {
            self.check_group(group, &mut violations);
            self.check_lineage(group, &mut violations);
            self.check_retention(group, &mut violations);
            self.check_states(group, &mut violations);
        }
        self.check_pace();
        self.ledger.violations.append(&mut violations);
    }

    /// Whether a quorum holds an entry, or may have held it before it started anew.
    fn is_held_by_quorum(&self, token: Token) -> bool {
        let members = self.members(token.group);
        let holds = |node: &&usize| self.entry(**node, token).is_some() || self.nodes[**node].restarts > 0;
        members.iter().filter(holds).count() > members.len() / 2
    }

    /// Each member that lived lost what its log says, and nothing else; those that know of the same commit hold the same bytes.
    pub(super) fn check_retention(&self, group: GroupId, violations: &mut Vec<Violation>) {
        let mut by_commit: BTreeMap<u64, usize> = BTreeMap::new();
        let members = self.members(group).into_iter();
        let lived: Vec<usize> = members.filter(|node| self.has_lived(*node, group)).collect();
        let Some(&furthest) = lived.iter().max_by_key(|node| self.commit(**node, group)) else {
            return;
        };
        for node in lived {
            let commit = self.commit(node, group);
            let mut rows: Vec<_> = (1..).map_while(|seq| self.row(node, group, seq)).collect();
            if self.stays_apart(node, group) {
                // What came to it was swept by its giver, by sweeps that did not come any more for want of memory.
                rows.truncate(usize::try_from(commit).expect("a log that was collected above"));
                rows.extend(
                    (commit + 1..=self.commit(furthest, group)).map_while(|seq| self.row(furthest, group, seq)),
                );
            }
            for wrong in retention::check(&rows, commit, |name| self.kinds.rule(name)) {
                // A sweep writes what is left anew: without room for that it waits.
                if matches!(wrong, Wrong::Kept(_)) && self.faults.has_little_memory() {
                    continue;
                }
                violations.push(match wrong {
                    Wrong::Kept(seq) => Violation::NotSwept(group, seq),
                    Wrong::Dropped(seq) => Violation::SweptTooMuch(group, seq),
                });
            }
            let other = *by_commit.entry(commit).or_insert(node);
            for seq in 1..=commit {
                let token = Token { group, view: 1, seq };
                let (one, same) = (self.entry(node, token), self.entry(other, token));
                let is_same = one == same
                    || self.faults.has_little_memory()
                        && one
                            .zip(same)
                            .is_some_and(|(one, same)| retention::same_entry(one, same));
                if !is_same {
                    violations.push(Violation::Diverged(group, seq));
                }
            }
        }
    }

    pub(super) fn row(&self, node: usize, group: GroupId, seq: u64) -> Option<retention::Row<'_>> {
        let shard = self.shard_of(node, group)?;
        let (bytes, time_ms) = shard.entry_and_time(group, Seq(seq))?;
        let (entry, _) = EntryView::new_checked(bytes).ok()?;
        Some((seq, time_ms, entry))
    }

    pub(super) fn commit(&self, node: usize, group: GroupId) -> u64 {
        let mut bodies = self.nodes[node].shards.iter().flat_map(Shard::group_bodies);
        bodies.find(|body| body.group == group.0).map_or(0, |body| body.commit)
    }

    /// No member holds entries of two lineages.
    fn check_lineage(&self, group: GroupId, violations: &mut Vec<Violation>) {
        let members = self.members(group).into_iter();
        for node in members.filter(|node| self.has_lived(*node, group)) {
            let views = (1..=self.commit(node, group)).map_while(|seq| {
                let token = Token { group, view: 0, seq };
                self.view(node, token)
            });
            violations.extend(self.ledger.lineages.judge_log(group, &views.collect::<Vec<_>>()));
        }
    }

    pub(super) fn check_group(&self, group: GroupId, violations: &mut Vec<Violation>) {
        let members = self.members(group);
        let mut sessions: BTreeMap<u32, u32> = BTreeMap::new();
        let mut effects: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        let mut order = Vec::new();
        for seq in 1.. {
            let token = Token { group, view: 1, seq };
            let lived = members.iter().filter(|node| self.speaks(**node, group, seq));
            let mut entries = lived.filter_map(|node| self.entry(*node, token));
            let Some(first) = entries.next() else { break };
            if entries.any(|other| !retention::same_entry(first, other)) {
                violations.push(Violation::Diverged(group, seq));
            }
            let Ok((entry, _)) = EntryView::new_checked(first) else {
                violations.push(Violation::Diverged(group, seq));
                return;
            };
            violations.extend(Ledger::judge_failed(token, &entry));
            let lane = entry.header.lane.get();
            if let Some(session) = entry.session {
                let client = self.clients.iter().position(|client| client.session().0 == *session);
                sessions.insert(lane, u32::try_from(client.unwrap_or(usize::MAX)).unwrap_or(u32::MAX));
            }
            let Some(client) = sessions.get(&lane) else { continue };
            let number = entry.header.number.get();
            let id = RequestId {
                client: *client,
                group,
                number,
            };
            violations.extend(self.ledger.judge_effect(id, seq));
            if let Some(earlier) = effects.insert((*client, number), seq) {
                violations.push(Violation::TookEffectTwice(id, earlier, seq));
            }
            if entry.header.flags.get() & VOID == 0 {
                order.push((seq, id));
            }
        }
        if self.kinds.is_brought() {
            let time_ms = |seq| {
                members
                    .iter()
                    .find_map(|node| self.row(*node, group, seq))
                    .map_or(0, |row| row.1)
            };
            let order: Vec<_> = order.iter().map(|(seq, id)| (*seq, time_ms(*seq), *id)).collect();
            violations.extend(self.history.judge_by(&self.kinds, &order));
        } else {
            violations.extend(self.history.judge(&order));
        }
    }

    /// The entry of a token on a node, as bytes.
    pub(super) fn entry(&self, node: usize, token: Token) -> Option<&[u8]> {
        let shard = self.shard_of(node, token.group)?;
        shard.entry_bytes(token.group, Seq(token.seq))
    }

    /// Whether a node's process has been a member for as long as the group's present members are, and is in service.
    fn has_lived(&self, node: usize, group: GroupId) -> bool {
        match self.births {
            Births::Writer => self.nodes[node].restarts == 0,
            Births::TopologyLog => {
                (self.steward.state.group(group)).is_some_and(|state| state.active.members.contains(&self.member(node)))
                    && !self.nodes[node].down
                    && !self.contradicted.is_out(group, self.member(node))
            }
        }
    }

    /// Whether what a member holds at a seq is its group's: up to its commit that of one that stays apart is.
    fn speaks(&self, node: usize, group: GroupId, seq: u64) -> bool {
        self.has_lived(node, group) && (seq <= self.commit(node, group) || !self.stays_apart(node, group))
    }

    /// Whether a member has not the memory that the log of the active view takes, and so holds none or one of an older view.
    fn stays_apart(&self, node: usize, group: GroupId) -> bool {
        if self.births != Births::TopologyLog || !self.faults.has_little_memory() {
            return false;
        }
        let active = self.steward.state.group(group).map(|group| group.active.view.0);
        let mut bodies = self.nodes[node].shards.iter().flat_map(Shard::group_bodies);
        let view = bodies.find(|body| body.group == group.0).map(|body| body.view);
        view != active
    }

    /// The view in which the entry of a token was logged, as a node holds it.
    fn view(&self, node: usize, token: Token) -> Option<u64> {
        let shard = self.shard_of(node, token.group)?;
        shard.entry_view(token.group, Seq(token.seq)).map(|view| view.0)
    }

    /// The members of a group, as node indices.
    pub(super) fn members(&self, group: GroupId) -> Vec<usize> {
        if self.births == Births::TopologyLog {
            let active = self
                .steward
                .state
                .group(group)
                .map(|group| group.active.members.clone());
            return active
                .unwrap_or_default()
                .iter()
                .map(|member| usize::from(member.node.0) - 1)
                .collect();
        }
        self.topology
            .birth()
            .members(group)
            .nodes()
            .iter()
            .map(|node| usize::from(node.0) - 1)
            .collect()
    }

    pub(super) fn name(&self, node: usize) -> &str {
        let nodes = self.topology.nodes().iter().chain(self.joining.values());
        let mut nodes = nodes.filter(|spec| usize::from(spec.id.0) == node + 1);
        let spec = nodes.next();
        &spec.expect("every node has its specification").name
    }

    pub(super) fn dc(&self, node: usize) -> &str {
        self.name(node).split('-').next().unwrap_or_default()
    }
}
