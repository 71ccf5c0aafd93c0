//! What a shard shows to whoever checks it from outside: how far each member of a group is, what it computed, and how much waits where.
//!
//! It is for checkers that compare members, and for nothing on the path of a message. **Invariant:** looking changes nothing.

use crate::behaviour::Behaviour;
use crate::group::Role;
use crate::ids::{GroupId, Seq, View};
use crate::memory::Memory;
use crate::rules::Rules;
use crate::shard::Shard;
use crate::state_bytes::StateWriter;

/// How far one member of a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// It takes requests.
    pub is_writer: bool,
    /// The newest view that it promised.
    pub promised: View,
    /// The view that its log is of.
    pub log_view: View,
    /// What it knows to be committed.
    pub commit: Seq,
    /// The last entry of its log.
    pub last_seq: Seq,
}

/// What waits in one shard, each as the most that one of its kind has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Burden {
    /// Requests that its mailroom passed on.
    pub pending: usize,
    /// Requests of one group that are held for an earlier number.
    pub held: usize,
    /// Requests of one group that wait for a view to open.
    pub queued: usize,
    /// Answers of one group that wait for their commit.
    pub waiting: usize,
    /// Reads of one group that wait for a confirmation.
    pub confirming: usize,
    /// Rows of lanes in one group.
    pub lanes: usize,
    /// Bytes that wait for one client.
    pub client_bytes: usize,
    /// Bytes that wait for one link.
    pub link_bytes: usize,
    /// Un-acked frames of one link.
    pub link_frames: usize,
}

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// How far this shard's member of a group is; `None` if it has none.
    #[must_use]
    pub fn sight(&self, group: GroupId) -> Option<Sight> {
        let group = self.seen(group)?;
        Some(Sight {
            is_writer: group.role == Role::Writer,
            promised: group.promised,
            log_view: group.log_view,
            commit: group.commit,
            last_seq: group.log.last_seq(),
        })
    }

    /// The groups that this shard has a row of.
    pub fn groups(&self) -> impl Iterator<Item = GroupId> + '_ {
        self.groups.iter().map(|group| group.id)
    }

    /// What a group's entries did to its actors and lanes: equal on members at which the same entries took effect. With it the last of
    /// those entries.
    #[must_use]
    pub fn state_bytes(&self, group: GroupId) -> Option<(Seq, Vec<u8>)> {
        let group = self.seen(group)?;
        let mut out = Vec::new();
        let mut to = StateWriter(&mut out);
        to.number(group.time_ms);
        let mut state = Vec::new();
        for number in 0..group.registry.len() {
            let (actor, key) = (group.registry.actor(number)?, group.registry.key(number)?);
            state.clear();
            self.behaviour.save(actor.kind, &actor.state, &mut state);
            to.bytes(key);
            to.number(actor.last_seq.0);
            to.bytes(&state);
        }
        group.lanes.save(&mut to);
        Some((group.last_effect(), out))
    }

    /// What waits.
    #[must_use]
    pub fn burden(&self) -> Burden {
        let mut load = Burden {
            pending: self.pendings.len(),
            ..Burden::default()
        };
        for group in &self.groups {
            load.held = load.held.max(group.held.len());
            load.queued = load.queued.max(group.queued.len());
            load.waiting = load.waiting.max(group.waiting.len());
            load.confirming = load.confirming.max(group.reads.waiting());
            load.lanes = load.lanes.max(group.lanes.len());
        }
        for client in self.clients.values() {
            load.client_bytes = load.client_bytes.max(client.outbox.backlog());
        }
        for link in self.links.iter() {
            load.link_bytes = load.link_bytes.max(link.outbox.backlog());
            load.link_frames = load.link_frames.max(link.unacked());
        }
        load
    }
}
