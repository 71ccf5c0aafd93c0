//! The follower: holds what its writer logged, answers for it, applies what is committed. And what a process learns of its own name.

use waterpark_wire::FrameError;
use waterpark_wire::item::ItemHeader;
use waterpark_wire::link::{Adopted, Answer, BirthRefused, Exception, Out};
use waterpark_wire::run::{RUN_HEADER, RunView};

use crate::behaviour::Behaviour;
use crate::config::{Births, Config};
use crate::effects::{Crossing, Effect, Happened};
use crate::group::Role;
use crate::ids::{GroupId, Incarnation, LinkId, Member, NodeId, Seq, ShardId, View};
use crate::link::exception;
use crate::log::NotTaken;
use crate::memory::Memory;
use crate::rules::{Rule, Rules};
use crate::shard::Shard;
use crate::time::Now;

/// A follower that has so many committed entries before it applies them at once.
const APPLY_ENTRIES: u64 = 64;

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// A process of a node was met. An older one of the same name is gone for good, and the newer is told where the older stands.
    pub(crate) fn on_met(&mut self, peer: Member, out: bool) {
        let met = &mut self.met[usize::from(peer.node.0)];
        *met = (*met).max(peer.incarnation);
        // Where the topology log says who is a member, an older process is replaced there.
        if self.settings.births == Births::TopologyLog {
            return;
        }
        if out {
            self.on_peer_out(peer.node);
        }
        let stands = |member: &Member| member.node == peer.node && member.incarnation != peer.incarnation;
        let older = self
            .groups
            .iter()
            .filter_map(|group| group.config.as_ref())
            .find_map(|config| {
                let member = config.members.iter().find(|member| stands(member))?;
                Some((config.group, config.view, member.incarnation))
            });
        if let Some((group, view, incarnation)) = older {
            self.say_out(peer.node, group, view, incarnation);
        }
    }

    fn say_out(&mut self, node: NodeId, group: GroupId, view: View, incarnation: Incarnation) {
        let item = ItemHeader {
            group: group.0.into(),
            ..ItemHeader::default()
        };
        let out = Out {
            item,
            view: view.0.into(),
            incarnation: incarnation.0.into(),
        };
        for link in &self.links_to[usize::from(node.0)] {
            let link = &mut self.links[link.0 as usize];
            if link.up.is_some() {
                out.push(link.outbox.item(), &[]);
            }
        }
    }

    /// A peer says that it is out: the groups that it wrote are lost.
    pub(crate) fn on_peer_out(&mut self, node: NodeId) {
        if !std::mem::replace(&mut self.node_out[usize::from(node.0)], true) {
            self.effects.push(Effect::Event(Happened::PeerOut { node }));
        }
    }

    /// A Config names another incarnation of this node: this process is out for good.
    pub(crate) fn on_out(&mut self, group: GroupId, named: Incarnation) {
        if named == self.settings.incarnation || std::mem::replace(&mut self.out, true) {
            return;
        }
        self.effects.push(Effect::Event(Happened::Out { group, named }));
        for shard in (0..self.settings.shards_of(self.settings.node))
            .map(ShardId)
            .filter(|s| *s != self.settings.shard)
        {
            self.effects.push(Effect::Deliver {
                shard,
                crossing: Crossing::Out,
            });
        }
    }

    /// A writer offers a Config at the birth of its group.
    pub(crate) fn on_birth(&mut self, from: Member, config: Config) {
        let Some(index) = self.group_index(config.group) else {
            return;
        };
        let group = &self.groups[index];
        let slot_fits = config
            .members
            .iter()
            .map(|member| member.node)
            .eq(group.slot.iter().copied());
        if !slot_fits || config.writer() != from || self.out {
            return;
        }
        // A log that was contradicted holds nothing that could count: who adopted on top of it would be believed again.
        if group.role == Role::Quarantined {
            return;
        }
        let own = config.position(self.settings.node).expect("the slot holds this node");
        if config.members[own].incarnation != self.settings.incarnation {
            return self.on_out(config.group, config.members[own].incarnation);
        }
        let older = |member: &&Member| member.incarnation < self.met[usize::from(member.node.0)];
        if group.config.is_none()
            && let Some(against) = config.members.iter().find(older)
        {
            let met = self.met[usize::from(against.node.0)];
            return self.refuse_birth(from, &config, against.node, met);
        }
        match &group.config {
            Some(held) if *held != config => {
                let writer = held.writer();
                return self.refuse_birth(from, &config, writer.node, writer.incarnation);
            }
            Some(_) => {}
            None => {
                let group = &mut self.groups[index];
                group.promised = config.view;
                group.log_view = config.view;
                group.role = Role::Follower;
                group.source = Some(from);
                group.config = Some(config.clone());
            }
        }
        let last_seq = self.groups[index].log.sealed_seq();
        let item = ItemHeader {
            group: config.group.0.into(),
            ..ItemHeader::default()
        };
        let adopted = Adopted {
            item,
            view: config.view.0.into(),
            last_seq: last_seq.0.into(),
        };
        if let Some(bytes) = self.item_to(from, config.group) {
            adopted.push(bytes, &[]);
        }
    }

    fn refuse_birth(&mut self, to: Member, config: &Config, against: NodeId, met: Incarnation) {
        let item = ItemHeader {
            group: config.group.0.into(),
            aux: u32::from(against.0).into(),
            ..ItemHeader::default()
        };
        let refused = BirthRefused {
            item,
            view: config.view.0.into(),
            incarnation: met.0.into(),
        };
        if let Some(bytes) = self.item_to(to, config.group) {
            refused.push(bytes, &[]);
        }
    }

    /// The way of what is said about a group to a member's present process, if a link to it is up.
    pub(crate) fn item_to(&mut self, to: Member, group: GroupId) -> Option<&mut Vec<u8>> {
        let link = self.link_to(to, group)?;
        Some(self.links[link.0 as usize].outbox.item())
    }

    /// The link to a member's present process by which its shard that has the group is reached, as Appends are, or else any that is up.
    pub(crate) fn link_to(&self, to: Member, group: GroupId) -> Option<LinkId> {
        let wanted = self.shard_of(to.node, group).0;
        let row = |link: &LinkId| &self.links[link.0 as usize];
        let up = |link: &&LinkId| row(link).up.is_some_and(|up| up.incarnation == to.incarnation);
        let mut links = self.links_to[usize::from(to.node.0)].iter().filter(up);
        let first = links.clone().next();
        links.find(|link| row(link).peer_shard == wanted).or(first).copied()
    }

    /// A run of a group that this shard follows. `Some` says why it was not taken.
    pub(crate) fn on_append(
        &mut self,
        now: Now,
        id: GroupId,
        from: Member,
        bytes: &[u8],
    ) -> Result<Option<Exception>, FrameError> {
        let run = RunView::framed(bytes)?;
        let view = View(run.header.view.get());
        let commit = Seq(run.commit());
        let Some(index) = self.group_index(id) else {
            return Ok(Some(exception(id, Answer::NeedAdopt, view, 0)));
        };
        let group = &mut self.groups[index];
        // What was promised to a newer view is first: a writer of an older one stops at this word, and at no other.
        if view < group.promised && !R::breaks(Rule::NoFence) || group.role == Role::Quarantined {
            return Ok(Some(exception(id, Answer::Nack, view, group.promised.0)));
        }
        let is_writers = group.source == Some(from);
        let is_adopted = is_writers && group.role == Role::Follower && group.log_view == view;
        let is_taken = is_adopted && view <= group.promised
            || R::breaks(Rule::NoFence) && is_writers && group.log_view == view
            || R::breaks(Rule::AppendToUnadoptedLog) && group.role == Role::Sealed && view == group.promised;
        if self.out || !is_taken {
            return Ok(Some(exception(id, Answer::NeedAdopt, view, 0)));
        }
        match group.log.take_run(&mut self.memory, bytes) {
            Ok(taken) => {
                self.counters.runs_taken += 1;
                if let Some((chunk, offset)) = taken.at {
                    let entries_at = offset + u32::try_from(RUN_HEADER).expect("64");
                    group.unapplied.took(chunk, entries_at, &run);
                }
                group.commit = group.commit.max(commit.min(taken.last_seq));
                let may_end = group.ends.is_some_and(|end| end.view > group.promised);
                self.lag(index);
                if may_end {
                    self.follow_to_end(now, index);
                }
                Ok(None)
            }
            Err(NotTaken::Malformed(error)) => Err(error),
            // What has no room is not held: the writer hears how far this member is, and that its memory presses.
            Err(NotTaken::Gap | NotTaken::Full) => Ok(Some(exception(id, Answer::Gap, view, group.log.sealed_seq().0))),
            Err(NotTaken::Contradicts) => {
                let promised = group.promised;
                self.quarantine(index);
                Ok(Some(exception(id, Answer::Nack, view, promised.0)))
            }
        }
    }

    /// The writer says how far a group is committed. That stays true when a newer view was promised meanwhile: logs of one view are prefixes
    /// of each other.
    pub(crate) fn on_commit(&mut self, id: GroupId, from: Member, view: View, commit: Seq) {
        let Some(index) = self.group_index(id) else { return };
        self.learn_commit_of(index, from, view, commit);
        let group = &mut self.groups[index];
        let follows = matches!(group.role, Role::Follower | Role::Sealed) && group.log_view == view;
        if follows && group.source == Some(from) {
            group.commit = group.commit.max(commit.min(group.log.sealed_seq()));
            self.lag(index);
        }
    }

    /// Committed entries take effect on a follower a portion at a time, at the latest with the next tick or before a read here: a longer
    /// stretch of log is read in one stream, and the rows of its actors come together.
    fn lag(&mut self, index: usize) {
        let behind = self.behind(index);
        // Who has much to catch up with does so tick by tick, not with each frame besides.
        let catches_up = self.groups[index].lags && behind > self.settings.limits.apply_entries as u64;
        if behind >= APPLY_ENTRIES && !catches_up {
            self.apply_in_turns(index);
        } else {
            self.list_lagging(index);
        }
    }

    /// Of a log that came whole, which may be long, no more takes effect at once than others can wait for; the rest with the next ticks.
    pub(crate) fn apply_in_turns(&mut self, index: usize) {
        self.apply_some(index, self.settings.limits.apply_entries);
        self.list_lagging(index);
    }

    /// Committed entries that have not taken effect.
    fn behind(&self, index: usize) -> u64 {
        let group = &self.groups[index];
        group.commit.0.saturating_sub(group.applied.0)
    }

    fn list_lagging(&mut self, index: usize) {
        if self.behind(index) > 0 && !std::mem::replace(&mut self.groups[index].lags, true) {
            self.lagging
                .push(u32::try_from(index).expect("groups are counted in 32 bits"));
        }
    }

    /// What is committed takes effect on the groups that lag: of those that lag far behind, as much in all as others can wait for.
    pub(crate) fn catch_up(&mut self) {
        let mut lagging = std::mem::take(&mut self.lagging);
        let mut left = self.settings.limits.apply_entries;
        lagging.retain(|&index| {
            let index = index as usize;
            if self.behind(index) < APPLY_ENTRIES {
                self.apply(index);
                self.groups[index].lags = false;
            } else if left > 0 {
                let applied = self.apply_some(index, left);
                left = left.saturating_sub(applied);
                // Less than there was room for: that was all.
                self.groups[index].lags = left == 0;
            }
            self.groups[index].lags
        });
        self.catches_up = !lagging.is_empty();
        self.lagging = lagging;
    }

    /// What is committed takes effect.
    pub(crate) fn apply(&mut self, index: usize) {
        self.apply_some(index, usize::MAX);
    }

    /// What is committed takes effect, about so many entries. Returns how many did.
    fn apply_some(&mut self, index: usize, most: usize) -> usize {
        let (topology, behaviour) = (&self.topology, &self.behaviour);
        let hash_of = |key: &[u8]| Self::hash_of(topology, behaviour, key);
        let group = &mut self.groups[index];
        let upto = (group.commit, most);
        let applied = group.apply_upto(behaviour, &self.memory, upto, hash_of, &mut self.scratch);
        if applied.is_err() {
            self.quarantine(index);
        }
        applied.unwrap_or(0)
    }

    pub(crate) fn quarantine(&mut self, index: usize) {
        // Nothing that it opens or collects could count.
        self.groups[index].opener = None;
        self.drop_intake(index);
        let group = &mut self.groups[index];
        group.role = Role::Quarantined;
        self.effects
            .push(Effect::Event(Happened::Quarantined { group: group.id }));
    }
}
