//! What is seen of a simulated cluster while it runs: who opens views, what members promise, how much waits, and what an ended process
//! held to its end.
//!
//! It reads shards and draws nothing, so that a run is the same whether it is watched or not. **Invariant:** an acked entry is on W members
//! of the newest Config that anybody knows to be active, counted at the ack, and with each writer that opens later.

use std::collections::BTreeMap;

use waterpark_core::config::{Births, Config};
use waterpark_core::ids::{GroupId, Incarnation, Member, NodeId, Seq, View};
use waterpark_core::rules::Rules;
use waterpark_core::time::MS;
use waterpark_core::{Shard, Sight};
use waterpark_ring::shard_of;

use super::{Cluster, SimShard};
use crate::ledger::{Token, Violation};
use crate::members;
use crate::reach::{Counter, Rare, Reached};
use crate::views::{Opening, Views};

/// How often it looks, in virtual ms.
const LOOK_MS: u64 = 50;

/// What was seen so far.
pub(super) struct Watch<R: Rules> {
    views: Views,
    /// The shards of processes that have ended, as they were then.
    ended: BTreeMap<Member, Vec<SimShard<R>>>,
    /// The last look at each member, by node and group, and of which process.
    seen: Vec<Vec<Option<(Incarnation, Sight)>>>,
    look_ns: u64,
    /// When faults stopped, virtual ns.
    pub(super) stopped_ns: u64,
    /// The last position of the topology log then.
    stopped_at: View,
}

impl<R: Rules> Default for Watch<R> {
    fn default() -> Watch<R> {
        Watch {
            views: Views::default(),
            ended: BTreeMap::new(),
            seen: Vec::new(),
            look_ns: 0,
            stopped_ns: u64::MAX,
            stopped_at: View(0),
        }
    }
}

impl<R: Rules> Cluster<R> {
    /// Faults stop now.
    pub(super) fn note_stop(&mut self) {
        self.watch.stopped_ns = self.now_ns;
        self.watch.stopped_at = View(self.steward.entries.len() as u64);
    }

    /// A process ends: what it held is kept for judging acks.
    pub(super) fn bury(&mut self, node: usize) {
        let shards = std::mem::take(&mut self.nodes[node].shards);
        if !shards.is_empty() {
            self.watch.ended.entry(self.member(node)).or_default().extend(shards);
        }
    }

    /// What members show from one look to the next.
    #[inline]
    pub(super) fn look(&mut self) {
        if self.now_ns >= self.watch.look_ns {
            self.look_at_all();
        }
    }

    fn look_at_all(&mut self) {
        self.watch.look_ns = self.now_ns + LOOK_MS * MS;
        let mut wrong = Vec::new();
        self.watch.seen.resize_with(self.nodes.len(), Vec::new);
        for (row, seen) in self.nodes.iter().zip(&mut self.watch.seen) {
            seen.resize(self.topology.keyspace().groups() as usize, None);
            for shard in &row.shards {
                let usage = waterpark_core::memory::Memory::usage(shard.memory());
                wrong.extend(members::judge_burden(&shard.burden(), usage, &self.limits));
                for group in shard.groups() {
                    let Some(sight) = shard.sight(group) else { continue };
                    let seen = seen[group.0 as usize].replace((row.incarnation, sight));
                    let before = seen.filter(|(incarnation, _)| *incarnation == row.incarnation);
                    wrong.extend(members::judge_step(
                        group,
                        before.as_ref().map(|(_, sight)| sight),
                        &sight,
                    ));
                }
            }
        }
        // One is enough, and a thousand looks would each find it again.
        if self.report.violations.is_empty() {
            self.report.violations.extend(wrong.into_iter().next());
        }
    }

    /// A member opens a view.
    pub(super) fn on_group_opened(&mut self, node: usize, group: GroupId) {
        let by = self.member(node);
        let shard = self.shard_of(node, group);
        let Some(sight) = shard.and_then(|shard| shard.sight(group)) else {
            return;
        };
        let decided = shard.and_then(|shard| shard.decided().group(group));
        let members = match self.births {
            Births::Writer => self.members(group).into_iter().map(|node| self.member(node)).collect(),
            Births::TopologyLog => {
                let active = decided.map(|group| group.active.clone());
                if active.as_ref().is_none_or(|active| active.view != sight.log_view) {
                    self.report
                        .violations
                        .push(Violation::OpenedUndecided(group, sight.log_view.0));
                }
                active.map_or_else(Vec::new, |active| active.members)
            }
        };
        let before = self.watch.views.last(group).map(|before| before.members.clone());
        let few = before.is_some_and(|before| {
            let alive = before.iter().filter(|member| self.is_live(**member)).count();
            before.len() == 5 && alive == 3
        });
        if few {
            self.reach(Reached::Rare(Rare::ThreeSurvivors));
        }
        let opening = Opening {
            view: sight.log_view,
            by,
            members,
            at_ns: self.now_ns,
        };
        let wrong = self.watch.views.on_open(group, opening);
        self.report.violations.extend(wrong);
        // Invariant 6, at the moment in which it counts. Who learns late that its view is active may open it when a newer one has acked
        // already: it lacks what was logged there, and can commit nothing.
        let is_older = |token: &Token| token.view <= sight.log_view.0;
        let acked = self.ledger.tokens_of(group).map(|(token, _)| token).filter(is_older);
        let acked: Vec<Token> = acked.filter(|token| !self.ledger.lineages.is_gone(*token)).collect();
        for token in acked {
            if token.seq > sight.last_seq.0 || !self.holds(by, token) {
                let name = self.name(node).to_owned();
                self.report.violations.push(Violation::Lost(token, name));
            }
        }
    }

    /// Views that followed each other too fast, once faults had stopped.
    pub(super) fn check_pace(&mut self) {
        let stopped_ns = self.watch.stopped_ns;
        // A fault's last effect.
        let is_late = |group| self.contradicted.was_out_since(group, stopped_ns);
        let restless: Vec<Violation> = self
            .watch
            .views
            .restless(stopped_ns, self.watch.stopped_at)
            .filter(|found| !matches!(found, Violation::Restless(group, _) if is_late(*group)))
            .collect();
        self.report.violations.extend(restless);
    }

    /// Members at which the same entries took effect are in the same state.
    pub(super) fn check_states(&self, group: GroupId, violations: &mut Vec<Violation>) {
        let members = self.members(group);
        let shards: Vec<_> = members.iter().filter_map(|node| self.shard_of(*node, group)).collect();
        let sights = || shards.iter().filter_map(|shard| shard.sight(group));
        let view = sights()
            .filter(|sight| sight.is_writer)
            .map(|sight| sight.log_view)
            .max();
        // A process that opened a view in vain holds an entry that nobody else has.
        let follows = |shard: &&&SimShard<R>| shard.sight(group).map(|sight| sight.log_view) == view;
        let states = shards
            .iter()
            .filter(follows)
            .filter_map(|shard| shard.state_bytes(group));
        let states: Vec<_> = states.collect();
        violations.extend(members::judge_states(group, &states));
    }

    /// The newest Config of a group that anybody knows to be active, processes that have ended included.
    pub(super) fn newest_active(&self, group: GroupId) -> Option<Config> {
        let live = self.nodes.iter().map(|node| &node.shards);
        let known = live.chain(self.watch.ended.values()).flatten();
        let active = known.filter_map(|shard| shard.decided().group(group).map(|group| &group.active));
        active.max_by_key(|active| active.view).cloned()
    }

    /// Whether a process holds an acked entry, or held it to its end.
    pub(super) fn holds(&self, member: Member, token: Token) -> bool {
        self.shards_of(member, token.group).any(|shard| holds(shard, token))
    }

    /// The shards that have or had a group in a process, as they are or were at its end.
    pub(super) fn shards_of(&self, member: Member, group: GroupId) -> impl Iterator<Item = &SimShard<R>> {
        let node = usize::from(member.node.0) - 1;
        let live = self.nodes[node].shards.iter();
        let live = live.filter(move |_| self.nodes[node].incarnation == member.incarnation);
        let ended = self.watch.ended.get(&member).into_iter().flatten();
        live.chain(ended).filter(move |shard| shard.sight(group).is_some())
    }

    /// Whether any process of a node holds an acked entry, or held it to its end.
    pub(super) fn node_holds(&self, node: usize, token: Token) -> bool {
        let id = NodeId(u16::try_from(node + 1).expect("few"));
        let ended = self.watch.ended.iter().filter(|(member, _)| member.node == id);
        let ended = ended.flat_map(|(_, shards)| shards);
        self.nodes[node]
            .shards
            .iter()
            .chain(ended)
            .any(|shard| holds(shard, token))
    }

    pub(super) fn shard_of(&self, node: usize, group: GroupId) -> Option<&SimShard<R>> {
        let shards = &self.nodes[node].shards;
        // Where none has it, the one that would.
        let by_number = || shards.get(usize::from(shard_of(group, u16::try_from(shards.len()).expect("few"))));
        shards
            .iter()
            .find(|shard| shard.sight(group).is_some())
            .or_else(by_number)
    }

    /// Sums what shards counted, those of processes that have ended included.
    pub(super) fn count_shards(&mut self) {
        let live = self.nodes.iter().map(|node| &node.shards);
        let counted = live.chain(self.watch.ended.values()).flatten().map(Shard::counters);
        for counters in counted.collect::<Vec<_>>() {
            let plain = Counter::ALL.map(|counter| (Reached::Counter(counter), counter.of(&counters)));
            let branches = waterpark_core::Branch::ALL.iter();
            let branches = branches.map(|branch| (Reached::Branch(*branch), counters.branches.of(*branch)));
            for (reached, times) in plain.into_iter().chain(branches).filter(|(_, times)| *times > 0) {
                *self.report.reached.entry(reached).or_default() += times;
            }
        }
    }
}

fn holds<R: Rules>(shard: &SimShard<R>, token: Token) -> bool {
    let view = shard.entry_view(token.group, Seq(token.seq));
    view.is_some_and(|view| view.0 == token.view)
}
