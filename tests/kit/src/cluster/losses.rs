//! Groups that are lost on purpose, the operator who opens them again, and what is then noted of their logs.
//!
//! More members of one group end at once than it can bear; their nodes come back empty. What an operator would do by
//! `waterpark cluster recover --accept-loss` the steward does after a while. **Invariant:** no other group loses more than it can bear.

use std::collections::BTreeSet;

use waterpark_core::config::Config;
use waterpark_core::ids::{GroupId, Member, Seq, View};
use waterpark_core::rules::Rules;
use waterpark_core::time::MS;
use waterpark_core::topology_log::{Changed, Entry, GroupState, TopologyState};

use super::steward::{proposal, roll};
use super::{Cluster, SimShard};
use crate::client::RequestId;
use crate::ledger::{Token, Violation};
use crate::lineages::Entries;
use crate::reach::{Fault, Rare, Reached};

/// While there are faults an operator looks at lost groups once in so many turns of the steward.
const OPERATOR_TURNS: u64 = 12;
/// A Reopen of which nobody has come further for so long is tried anew.
const PENDING_MS: u64 = 1_500;

/// Which groups were lost.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Groups of which more has ended than they can bear, and that stand in no newer Config yet.
    bereft: BTreeSet<GroupId>,
    /// Groups that the topology log ever said to be lost.
    pub(super) ever: BTreeSet<GroupId>,
}

impl<R: Rules> Cluster<R> {
    /// Whether a group may lose more than it can bear, because it has already.
    pub(super) fn is_bereft(&self, group: GroupId) -> bool {
        self.losses.bereft.contains(&group)
    }

    /// Of one group that clients ask for so many members end at once that the rest are fewer than R.
    pub(super) fn lose_group(&mut self) {
        let keys = self.keys.iter();
        let asked: BTreeSet<GroupId> = keys.map(|key| self.topology.locate(key.as_ref()).group).collect();
        let state = &self.steward.state;
        let whole = asked.into_iter().filter(|group| !self.is_bereft(*group));
        let mut whole: Vec<&GroupState> = whole.filter_map(|group| state.group(group)).collect();
        // A view that is being opened leaves logs behind that no active Config names.
        if whole.iter().any(|group| group.pending.is_some()) && self.rng.below(3) > 0 {
            whole.retain(|group| group.pending.is_some());
        }
        if whole.is_empty() {
            return;
        }
        let at = self.rng.index(whole.len());
        let active = whole[at].active.clone();
        let mut live = active.members;
        live.retain(|member| self.is_live(*member));
        for at in (1..live.len()).rev() {
            let other = self.rng.index(at + 1);
            live.swap(at, other);
        }
        // Mostly one is left, or more: where nobody is, there is little to get wrong.
        let least = (live.len() + 1).saturating_sub(active.read_quorum);
        let most = if self.rng.below(4) == 0 {
            live.len()
        } else {
            live.len().saturating_sub(1)
        };
        let count = least + self.rng.index(most.saturating_sub(least) + 1);
        self.did(Fault::GroupLost);
        for member in live.into_iter().take(count) {
            self.end_for_a_while(usize::from(member.node.0) - 1);
        }
        let groups = self.steward.state.groups();
        let bereft: Vec<GroupId> = groups
            .filter(|(_, group)| !self.can_bear(group, None))
            .map(|(id, _)| id)
            .collect();
        self.losses.bereft.extend(bereft);
    }

    /// What the operator proposes: lost groups are opened again, mostly by who may hold something of them, as the command has it.
    pub(super) fn reopenings(&mut self) -> Vec<Entry> {
        if self.losses.ever.is_empty() {
            return Vec::new();
        }
        let mut lost = self.groups();
        lost.retain(|(id, _)| self.steward.state.is_lost(*id));
        let mut entries = Vec::new();
        for (id, group) in lost {
            let reopens = group
                .pending
                .as_ref()
                .filter(|pending| pending.lineage != group.active.lineage);
            let changed_ns = self.steward.changed_ns[id.0 as usize];
            let is_due = reopens.is_none_or(|pending| {
                !self.is_live(pending.writer()) || self.now_ns.saturating_sub(changed_ns) >= PENDING_MS * MS
            });
            if !is_due || self.faulty && self.rng.below(OPERATOR_TURNS) > 0 {
                continue;
            }
            let mut members = self.live();
            if members.len() < 3 {
                continue;
            }
            let survivors = self.steward.state.survivors(id);
            if !self.faulty || self.rng.below(4) > 0 {
                members.sort_by_key(|member| !survivors.contains(member));
            } else {
                let first = self.rng.index(members.len());
                members.rotate_left(first);
            }
            members.sort_by_key(|member| self.steward.without_room.contains(&(id, *member)));
            self.steward.without_room.remove(&(id, members[0]));
            members.truncate(5);
            entries.push(Entry::Reopen {
                proposal: proposal(id, &group, roll(members)),
                reason: "lost on purpose".to_owned(),
            });
        }
        entries
    }

    /// What an entry says of groups that are lost, with the state before it.
    pub(super) fn note_losses(&mut self, before: &TopologyState, changed: &Changed) {
        let Changed {
            active, pending, node, ..
        } = changed;
        // Newer processes are known only after a loss has begun.
        if node.is_some() || !self.losses.bereft.is_empty() {
            let lost = self.steward.state.groups().map(|(id, _)| id);
            let lost: Vec<GroupId> = lost.filter(|id| self.steward.state.is_lost(*id)).collect();
            self.losses.ever.extend(lost);
        }
        for id in pending {
            let group = self.steward.state.group(*id);
            let lineage = group.and_then(|group| Some(group.pending.as_ref()?.lineage != group.active.lineage));
            if lineage == Some(true) {
                self.note_asked(*id);
            }
        }
        for id in active {
            let now = self
                .steward
                .state
                .group(*id)
                .expect("it has just changed")
                .active
                .clone();
            match before.group(*id) {
                Some(before) if before.active.lineage != now.lineage => self.note_reopened(before, &now),
                _ => self.ledger.lineages.on_other_view(*id),
            }
        }
        for id in active.iter().chain(pending) {
            let group = self.steward.state.group(*id);
            if group.is_some_and(|group| self.can_bear(group, None)) {
                self.losses.bereft.remove(id);
            }
        }
    }

    /// What those hold who have to be heard before a lost group opens again. A log that was only learned is of no view, and need not be the best.
    fn note_asked(&mut self, id: GroupId) {
        for member in self.steward.state.survivors(id) {
            let node = usize::from(member.node.0) - 1;
            let shard = self.shard_of(node, id).filter(|_| self.is_live(member));
            let held = shard.filter(|shard| shard.sight(id).is_some_and(|sight| sight.log_view > View(0)));
            if let Some(held) = held.map(|shard| entries(shard, id)) {
                self.ledger.lineages.on_ask(id, member, held);
            }
        }
    }

    /// A lost group is in force again: what its opener holds of the time before is what it has.
    fn note_reopened(&mut self, before: &GroupState, now: &Config) {
        let (id, lineage) = (now.group, now.lineage.0);
        self.reach(Reached::Rare(Rare::Reopened));
        if !self.is_bereft(id) {
            self.report.violations.push(Violation::NeverLost(id));
        }
        let was_gone: BTreeSet<Token> = self.gone(id).map(|(token, _)| token).collect();
        let held = self.shards_of(now.writer(), id).map(|shard| entries(shard, id));
        let held = held.max_by_key(BTreeSet::len).unwrap_or_default();
        let older = held.into_iter().take_while(|(_, view)| *view < lineage);
        let kept: Vec<u64> = older.map(|(_, view)| view).collect();
        let live: BTreeSet<Member> = self.live().into_iter().collect();
        let lives = |member| live.contains(&member);
        (self.ledger.lineages).on_reopened(id, lineage, kept, before.active.clone(), lives);
        let gone: Vec<_> = self.gone(id).filter(|(token, _)| !was_gone.contains(token)).collect();
        for (token, request) in gone {
            self.note_gone(token);
            if self.ledger.token_of(request) == Some(token) {
                self.history.forget(request);
            }
        }
    }

    /// An acked entry is in no log any more.
    pub(super) fn note_gone(&mut self, token: Token) {
        self.reach(Reached::Rare(Rare::AckedLost));
        let wrong = self.ledger.lineages.judge(token);
        self.report.violations.extend(wrong);
    }

    fn gone(&self, group: GroupId) -> impl Iterator<Item = (Token, RequestId)> + '_ {
        let acked = self.ledger.tokens_of(group);
        acked.filter(|(token, _)| self.ledger.lineages.is_gone(*token))
    }
}

/// The entries that a member holds of a group.
pub(super) fn entries<R: Rules>(shard: &SimShard<R>, group: GroupId) -> Entries {
    let views = (1..).map_while(|seq| Some((seq, shard.entry_view(group, Seq(seq))?.0)));
    views.collect()
}
