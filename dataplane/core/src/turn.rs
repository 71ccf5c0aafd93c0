//! The end of a turn: what arrived in one turn leaves in one turn, one frame per link and client.

use waterpark_wire::FrameKind;
use waterpark_wire::compress::fold;
use waterpark_wire::frame::FrameAddress;

use crate::behaviour::Behaviour;
use crate::effects::{Crossing, Effect};
use crate::group::Role;
use crate::ids::{LinkId, Seq, ShardId};
use crate::link::Record;
use crate::memory::Memory;
use crate::rules::Rules;
use crate::shard::Shard;
use crate::time::Now;
use crate::topology_log::Entry;

/// A frame that is shorter leaves as it is: folding it costs more than it saves, also over a distance.
const FOLD_BYTES_MIN: usize = 512;

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// Seals what was appended, and lets go what can leave.
    #[inline]
    pub fn on_turn_end(&mut self, now: Now) {
        if !self.is_at_rest() {
            self.end_turn(now);
        }
    }

    // Apart, so that a turn with nothing to end costs a few loads.
    #[inline(never)]
    fn end_turn(&mut self, now: Now) {
        self.try_behind(now);
        self.take_own_mail(now);
        self.seal_touched(now);
        // What a commit lets go may be for this very shard.
        while !self.mail[usize::from(self.settings.shard.0)].is_empty() {
            self.take_own_mail(now);
            self.seal_touched(now);
        }
        self.begin_round(now);
        for shard in 0..self.mail.len() {
            if !self.mail[shard].is_empty() {
                self.counters.crossed += 1;
                let items = std::mem::take(&mut self.mail[shard]);
                let shard = ShardId(u16::try_from(shard).expect("shards are counted in 16 bits"));
                self.effects.push(Effect::Deliver {
                    shard,
                    crossing: Crossing::Mail { items },
                });
            }
        }
        self.flush_links(now);
        if !self.activates.is_empty() {
            let views = std::mem::take(&mut self.activates);
            self.effects.push(Effect::Propose(Box::new(Entry::Activate(views))));
        }
        self.forget_told();
        self.flush_clients();
    }

    fn flush_clients(&mut self) {
        if self.listed_clients.is_empty() {
            return;
        }
        let mut listed = std::mem::take(&mut self.listed_clients);
        for client in listed.drain(..) {
            let Some(row) = self.clients.get_mut(&client) else {
                continue;
            };
            row.listed = false;
            if row.outbox.busy || !row.outbox.has_items() {
                continue;
            }
            let sender = (self.settings.node.0, self.settings.incarnation.0);
            let address = FrameAddress {
                kind: FrameKind::Node,
                sender,
                receiver: (0, 0),
                number: 0,
                epoch: 0,
            };
            let outgoing = row.outbox.leave(&address);
            self.effects.push(Effect::SendClient { client, outgoing });
        }
        self.listed_clients = listed;
    }

    /// Whether nothing waits for the end of a turn. Most turns are like that: a send is complete, or time has passed.
    fn is_at_rest(&mut self) -> bool {
        self.behind.is_empty()
            && self.touched.is_empty()
            && self.asking.is_empty()
            && self.untold.is_empty()
            && self.activates.is_empty()
            && self.listed_clients.is_empty()
            && self.mail.iter().all(Vec::is_empty)
            && self.links.are_at_rest()
    }

    /// Ends the runs of this turn, so that they can be sent.
    fn seal_touched(&mut self, now: Now) {
        if self.touched.is_empty() {
            return;
        }
        // The list is put back for its memory: nothing in this loop adds to it.
        let mut touched = std::mem::take(&mut self.touched);
        for index in touched.drain(..) {
            let index = index as usize;
            let group = &mut self.groups[index];
            group.touched = false;
            group.log.seal(&mut self.memory, group.log_view);
            for position in 0..self.groups[index].followers.len() {
                self.queue_follower(index, position);
            }
            self.advance(now, index);
        }
        self.touched = touched;
    }

    /// What this shard's mailroom passed on to this very shard: its own clients' requests that were kept while no one wrote their group, and
    /// the replies to them.
    fn take_own_mail(&mut self, now: Now) {
        let own = usize::from(self.settings.shard.0);
        while !self.mail[own].is_empty() {
            let items = std::mem::take(&mut self.mail[own]);
            self.on_mail(now, &items);
        }
    }

    /// Whatever can leave leaves, link by link in the order of their places.
    fn flush_links(&mut self, now: Now) {
        for local in &self.untold {
            let group = &self.groups[*local as usize];
            if !self.tells && !group.reads.tells_at_once(now) {
                continue;
            }
            let untold = group
                .followers
                .iter()
                .filter(|progress| progress.adopted && progress.told < group.commit);
            for progress in untold {
                self.links.set_mark(progress.link.0 as usize, true);
            }
        }
        let mut from = 0;
        while let Some(index) = self.links.take_marked(from) {
            if !self.untold.is_empty() || !self.links[index].is_at_rest() {
                self.flush_link(now, index);
                // What waits for a send, an ack or room is looked at with every turn.
                let waits = !self.links[index].is_at_rest();
                self.links.set_mark(index, waits);
            }
            from = index + 1;
        }
        self.tells = false;
        debug_assert!({
            let mut unmarked = self
                .links
                .iter()
                .enumerate()
                .filter(|(index, _)| !self.links.is_marked(*index));
            unmarked.all(|(_, link)| link.up.is_none() || link.is_at_rest())
        });
    }

    fn flush_link(&mut self, now: Now, index: usize) {
        let link = &mut self.links[index];
        let Some(up) = link.up else { return };
        link.push_ack();
        if link.outbox.busy {
            return;
        }
        self.push_asks(index);
        let records = self.add_runs(index);
        self.tell_commits(now, index);
        self.add_pieces(now, index, records > 0);
        let link = &mut self.links[index];
        if !link.outbox.has_items() {
            return;
        }
        // What leaves in parts is held by the peer when its last part is, so it counts with that frame.
        let ended = link.outbox.ends_run().then(|| link.long_record.take()).flatten();
        let records = records + u32::from(ended.is_some());
        ended.into_iter().for_each(|record| link.record(record));
        let number = link.number(records, now.monotonic_ns);
        let address = FrameAddress {
            kind: FrameKind::Peer,
            sender: (self.settings.node.0, self.settings.incarnation.0),
            receiver: (link.peer.0, up.incarnation.0),
            number,
            epoch: up.epoch,
        };
        let mut outgoing = link.outbox.leave(&address);
        if up.lz4 && outgoing.bytes.len() >= FOLD_BYTES_MIN && fold(&mut outgoing.bytes, &mut self.folded) {
            self.counters.frames_folded += 1;
        }
        link.left_ns = now.monotonic_ns;
        let link = LinkId(u32::try_from(index).expect("links are counted in 32 bits"));
        self.effects.push(Effect::SendLink { link, outgoing });
    }

    /// Adds runs of the groups that are queued on a link until the frame is long enough; how many records it got.
    fn add_runs(&mut self, index: usize) -> u32 {
        let limits = &self.settings.limits;
        let mut records = 0;
        // A run that leaves in parts keeps its link to itself until its last part has left.
        // One number is kept for that part.
        while self.links[index].unacked() + 1 < limits.link_frames_max
            && !self.links[index].outbox.has_long()
            && self.links[index].outbox.frame_bytes() < limits.link_frame_bytes
        {
            let Some(local) = self.links[index].queue.pop_front() else {
                break;
            };
            let group = &mut self.groups[local as usize];
            let link_id = u32::try_from(index).expect("links are counted in 32 bits");
            let Some(progress) = group.followers.iter_mut().find(|p| p.link.0 == link_id && p.queued) else {
                continue;
            };
            progress.queued = false;
            if progress.sent < group.retained.upto {
                // Its log's base is beyond what this member has: a newer view takes the log over whole.
                group.outrun = group.log_view;
                continue;
            }
            let link = &mut self.links[index];
            let (mut last_seq, mut long_seq) = (Seq::ZERO, None);
            while let Some(run) = group.log.run_at(&self.memory, progress.cursor) {
                let bytes = &self.memory.bytes(run.chunk)[run.offset as usize..(run.offset + run.length) as usize];
                push_run(link, bytes, run.last_seq.0.saturating_sub(group.commit.0));
                progress.cursor = run.next;
                progress.sent = run.last_seq;
                progress.told = group.commit.min(run.last_seq);
                match link.outbox.has_long() {
                    true => long_seq = Some(run.last_seq),
                    false => last_seq = run.last_seq,
                }
                if long_seq.is_some() || link.outbox.frame_bytes() >= limits.link_frame_bytes {
                    break;
                }
            }
            if last_seq != Seq::ZERO {
                link.record(Record {
                    group: local,
                    view: group.log_view,
                    last_seq,
                });
                records += 1;
            }
            link.long_record = long_seq.map(|last_seq| Record {
                group: local,
                view: group.log_view,
                last_seq,
            });
            if progress.sent < group.log.sealed_seq() {
                progress.queued = true;
                link.queue.push_back(local);
            }
        }
        records
    }

    /// Takes groups off the list whose commit every follower was told.
    fn forget_told(&mut self) {
        if self.untold.is_empty() {
            return;
        }
        let groups = &mut self.groups;
        self.untold.retain(|local| {
            let group = &mut groups[*local as usize];
            let commit = group.commit;
            let has_followers = matches!(group.role, Role::Writer | Role::Sealed);
            let mut followers = group.followers.iter();
            group.is_untold = has_followers && followers.any(|progress| progress.adopted && progress.told < commit);
            group.is_untold
        });
    }

    /// A follower learns a commit with the next run. One that no run takes along goes with any frame that leaves while nothing waits on the
    /// link, at the latest with the tick; in a frame of its own at once only where followers are read: a frame costs as much as a message.
    fn tell_commits(&mut self, now: Now, index: usize) {
        let link = &self.links[index];
        let is_quiet = link.unacked() == 0 && link.queue.is_empty();
        if !self.tells && !is_quiet {
            return;
        }
        let is_due = self.tells || link.outbox.has_items();
        for local in &self.untold {
            let group = &mut self.groups[*local as usize];
            if !is_due && !group.reads.tells_at_once(now) {
                continue;
            }
            let (commit, item) = (group.commit, group.commit_item());
            for progress in group
                .followers
                .iter_mut()
                .filter(|progress| progress.link.0 as usize == index)
            {
                if progress.adopted && progress.told < commit && progress.accepted >= commit {
                    progress.told = commit;
                    item.push(self.links[index].outbox.item(), &[]);
                }
            }
        }
    }
}

/// Puts a run into the frame, with the commit as it stands now.
fn push_run(link: &mut crate::link::Link, bytes: &[u8], uncommitted: u64) {
    let uncommitted = u32::try_from(uncommitted).unwrap_or(u32::MAX).to_le_bytes();
    if bytes.len() <= waterpark_wire::link::PART_BYTES {
        let out = link.outbox.item();
        let at = out.len();
        out.extend_from_slice(bytes);
        out[at + 12..at + 16].copy_from_slice(&uncommitted);
    } else {
        let mut whole = bytes.to_vec();
        whole[12..16].copy_from_slice(&uncommitted);
        link.outbox.long_run(&whole);
    }
}
