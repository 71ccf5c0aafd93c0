//! What the topology log decided, as one shard acts on it: rows of groups, who opens what, and where requests go.
//!
//! A process may learn entries long after they were decided, one after the other; each is acted on as if it were the newest, and what
//! follows supersedes it. **Invariant:** the shard's tables change in one step per entry.

use crate::behaviour::Behaviour;
use crate::config::{Births, Config};
use crate::effects::Effect;
use crate::group::{Group, Progress, Role};
use crate::ids::{GroupId, Member, NodeId, Seq, View};
use crate::memory::Memory;
use crate::rules::{Rule, Rules};
use crate::shard::Shard;
use crate::time::Now;
use crate::topology_log::{Entry, GroupState, Stamp, TopologyState};
use crate::view_change::Branch;

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// The next entry of the topology log.
    ///
    /// # Panics
    /// If an entry is left out: a bug in this process, which hands them on in order.
    pub fn on_decided(&mut self, now: Now, position: u64, stamp: Stamp, entry: &Entry) {
        let seats = self.seats_before(entry);
        let changed = self.decided.apply(position, entry);
        for (id, from) in seats {
            let before = self.decided.group(id).cloned();
            self.on_seat(now, id, from, before);
        }
        if changed.placing {
            self.on_nodes();
        }
        // One shard of a node tells who asks.
        if self.settings.shard.0 == 0 {
            self.history.record(&self.decided, stamp, entry, &changed);
        }
        if let Entry::Activate(views) = entry {
            let is_active = |id| self.decided.group(id).map(|group| group.active.view);
            let again = |(id, view): &&(GroupId, View)| is_active(*id) == Some(*view) && !changed.active.contains(id);
            if views.iter().any(|named| again(&named)) {
                self.counters.branches.took(Branch::ActivateDoubled);
            }
        }
        for group in changed.active {
            self.on_active(now, group);
        }
        for group in changed.pending {
            self.on_pending(now, group);
        }
        for group in changed.learners {
            self.on_learners(now, group);
        }
    }

    /// What all entries up to a position add up to, some of which this process never had. As if what they made of each group had been the one entry
    /// about it: what came between was superseded. What the log's history says begins behind it.
    ///
    /// # Panics
    /// If it is older than what is known: a bug in this process, whose log only goes on.
    pub fn on_state(&mut self, now: Now, state: &TopologyState) {
        assert!(state.position() > self.decided.position());
        let before = std::mem::replace(&mut self.decided, state.clone());
        if before.placing() != state.placing() {
            self.on_nodes();
        }
        self.on_seats(now, &before);
        for (id, _) in state.groups() {
            self.make_up(now, id, before.group(id));
        }
    }

    /// What this shard knows of the topology log.
    #[must_use]
    pub fn decided(&self) -> &TopologyState {
        &self.decided
    }

    pub(crate) fn on_active(&mut self, now: Now, id: GroupId) {
        let group = self.decided.group(id).expect("it has just changed");
        let active = group.active.clone();
        let is_birth = active.view.0 == self.decided.born();
        let own = self.own_member();
        let is_here = self.lives_here(id);
        if is_here && active.members.contains(&own) {
            let index = self.row_of(id).expect("it belongs to this shard");
            self.groups[index].slot = active.members.iter().map(|member| member.node).collect();
            if is_birth && self.groups[index].promised < active.view {
                self.be_born(index, active.members.clone());
            } else {
                self.end_superseded(now, index);
                self.open_view(now, index);
                // R members have promised this view: who has not heard of it yet need not go on in an older one.
                if self.groups[index].promised < active.view {
                    self.promise(now, index, active.view);
                }
                self.reroute_stopped(now, index);
            }
        } else if is_here && let Some(index) = self.group_index(id) {
            self.end_superseded(now, index);
            self.leave(now, index);
            self.reroute_stopped(now, index);
        }
        // Who learns asks the new writer from now on.
        self.on_learners(now, id);
        self.resend_group(now, id);
    }

    /// What a writer that stopped in order had not committed when another view is active is its successor's to answer.
    fn reroute_stopped(&mut self, now: Now, index: usize) {
        if self.groups[index].role != Role::Writer && self.groups[index].opener.is_none() {
            self.reroute(now, index, Seq::ZERO);
        }
    }

    /// An opener of any other view than the one that is active or pending now has nothing left to do.
    fn end_superseded(&mut self, now: Now, index: usize) {
        let id = self.groups[index].id;
        let Some(group) = self.decided.group(id) else { return };
        let stands = |view| group.active.view == view || group.pending.as_ref().is_some_and(|p| p.view == view);
        if self.groups[index]
            .opener
            .as_ref()
            .is_some_and(|opener| !stands(opener.view()))
        {
            self.end_opener(now, index);
        }
    }

    pub(crate) fn on_pending(&mut self, now: Now, id: GroupId) {
        if !self.lives_here(id) {
            return;
        }
        if let Some(index) = self.group_index(id) {
            self.end_superseded(now, index);
            self.leave(now, index);
        }
        let group = self.decided.group(id).expect("it has just changed");
        if let Some(pending) = &group.pending
            && pending.writer() == self.own_member()
        {
            let (active, pending) = (self.to_be_sealed(group), pending.clone());
            self.begin_opening(now, active, pending);
        } else if let Some(index) = self.group_index(id) {
            // It may have heard the end before it knew the node that opens.
            self.follow_to_end(now, index);
        }
    }

    /// Whom the opener of a pending Config has to hear: R members of the active one. Of a lost group that is opened again, every process that
    /// may hold something of it, all of them: nobody knows which of them holds what.
    fn to_be_sealed(&self, group: &GroupState) -> Config {
        let active = group.active.clone();
        let lineage = group.pending.as_ref().map(|pending| pending.lineage);
        if lineage.is_none_or(|lineage| lineage == active.lineage) {
            return active;
        }
        let mut members = self.decided.survivors(active.group);
        if R::breaks(Rule::ReopenIgnoresPendings) {
            members.retain(|member| active.members.contains(member));
        }
        // It may have learned the group's log as no member.
        if !members.contains(&self.own_member()) {
            members.push(self.own_member());
        }
        Config { members, ..active }
    }

    /// The first Config of a group: active at once, with an empty log.
    fn be_born(&mut self, index: usize, members: Vec<Member>) {
        let own = self.own_member();
        let id = self.groups[index].id;
        let config = self.decided.group(id).expect("it was created").active.clone();
        let followers = members[1..]
            .iter()
            .map(|member| Progress::new(self.append_link(member.node, id), true));
        let followers = if members[0] == own {
            followers.collect()
        } else {
            Vec::new()
        };
        let group = &mut self.groups[index];
        group.promised = config.view;
        group.log_view = config.view;
        group.lineage = config.lineage;
        group.source = Some(config.writer());
        group.followers = followers;
        group.config = Some(config);
        group.role = if members[0] == own {
            Role::Writer
        } else {
            Role::Follower
        };
        if members[0] == own {
            self.effects
                .push(Effect::Event(crate::effects::Happened::GroupOpened { group: id }));
        }
    }

    /// This process is no member any more, and no view change will ask it again: what it held is given back. What it promised stays.
    pub(crate) fn leave(&mut self, now: Now, index: usize) {
        let own = self.own_member();
        let id = self.groups[index].id;
        let Some(decided) = self.decided.group(id) else { return };
        let is_member = |config: &Config| config.members.contains(&own);
        // An entry that is learned late says nothing of a view that this process has promised or adopted since.
        let learns = decided.learners.contains(&own);
        let is_older = decided.active.view < self.groups[index].promised && !R::breaks(Rule::LeavesByAnOldEntry);
        if is_member(&decided.active) || decided.pending.as_ref().is_some_and(is_member) || learns {
            return;
        }
        if is_older {
            return self.counters.branches.took(Branch::LearnedLate);
        }
        if self.groups[index].promised > View(0) {
            self.counters.branches.took(Branch::Left);
        }
        let view = self.groups[index].log_view;
        self.groups[index].log.seal(&mut self.memory, view);
        self.reroute(now, index, Seq::ZERO);
        self.drop_intake(index);
        self.snapshots.forget_group(id);
        let group = &mut self.groups[index];
        group.log.release(&mut self.memory);
        let promised = group.promised;
        let slot = std::mem::take(&mut group.slot);
        // They are handed to the writer in time.
        let held = std::mem::take(&mut group.reads.held);
        *group = Group::new(id, slot, Vec::new(), self.settings.limits.state_hash_entries);
        group.reads.held = held;
        group.promised = promised;
        group.role = Role::Sealed;
    }

    /// This shard's row of a group, made if it has none; `None` if the group is another shard's, or births are not the topology log's.
    pub(crate) fn row_of(&mut self, id: GroupId) -> Option<usize> {
        if self.settings.births == Births::Writer {
            return self.group_index(id);
        }
        let is_known = self.group_at.len() > id.0 as usize;
        (is_known && self.lives_here(id)).then(|| self.row_for(id))
    }

    /// The node that writes a group, as far as this shard knows; `None` before the groups are born.
    pub(crate) fn writer_of(&self, id: GroupId) -> Option<NodeId> {
        match self.settings.births {
            Births::Writer => Some(self.placement.members(id).writer()),
            Births::TopologyLog => self.decided.group(id).map(|group| group.active.writer().node),
        }
    }
}
