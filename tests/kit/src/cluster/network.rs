//! The network of a simulated cluster: frames as bytes, links one epoch after another, and what happens to both on their way.
//!
//! It does not know what a frame says. **Invariant:** a frame reaches the process that it was sent to, whole, or nobody.

use waterpark_core::PeerUp;
use waterpark_core::Shard;
use waterpark_core::ids::LinkId;
use waterpark_core::memory::{Memory, Outgoing};
use waterpark_core::rules::Rules;
use waterpark_core::time::MS;
use waterpark_ring::end_of_link;
use waterpark_wire::frame::FRAME_BYTES_MAX;
use waterpark_wire::framer::Framer;
use waterpark_wire::{FrameError, FrameView, ItemKind, link};

use super::event::Event;
use super::links::{Epoch, LinkKey};
use super::{Cluster, Node, REDIAL_MS};
use crate::garbage;
use crate::reach::{Fault, Reached};

impl<R: Rules> Cluster<R> {
    pub(super) fn bytes_of(&self, node: usize, shard: usize, outgoing: &Outgoing) -> Vec<u8> {
        let memory = self.nodes[node].shards[shard].memory();
        let mut bytes = Vec::with_capacity(outgoing.len());
        let mut from = 0;
        for gather in &outgoing.gathers {
            bytes.extend_from_slice(&outgoing.bytes[from..gather.at as usize]);
            let (start, length) = (gather.offset as usize, gather.length as usize);
            bytes.extend_from_slice(&memory.bytes(gather.chunk)[start..start + length]);
            from = gather.at as usize;
        }
        bytes.extend_from_slice(&outgoing.bytes[from..]);
        bytes
    }

    /// Bytes on their way, with what the network does to them.
    pub(super) fn send(&mut self, event: impl Fn(Vec<u8>) -> Event, mut bytes: Vec<u8>) {
        let delay_ns = self.faults.delay_us * 1_000;
        let copies = if !self.faulty {
            1
        } else if self.rng.ppm(self.faults.loss_ppm) {
            self.did(Fault::FrameLost);
            0
        } else if self.rng.ppm(self.faults.repeat_ppm) {
            self.did(Fault::FrameRepeated);
            2
        } else {
            1
        };
        for left in (0..copies).rev() {
            let mut at = self.now_ns + delay_ns + self.rng.below(20_000);
            if self.faulty && self.rng.ppm(self.faults.spike_ppm) {
                self.did(Fault::FrameDelayed);
                at += self.rng.below(self.faults.spike_ms * MS);
            }
            let copy = if left > 0 {
                bytes.clone()
            } else {
                std::mem::take(&mut bytes)
            };
            self.schedule(at, event(copy));
        }
    }

    pub(super) fn link_id(&self, node: usize, link: LinkKey) -> Option<(usize, LinkId)> {
        let peer = if link.0 == node { link.1 } else { link.0 };
        let id = self.member(peer).node;
        let settings = self.nodes[node].shards.first()?.settings();
        let theirs = *settings.shards.get(usize::from(id.0))?;
        let shard = usize::from(end_of_link(link.2, settings.shards_of(settings.node), theirs));
        let infos = self.nodes[node].shards.get(shard)?.links();
        let info = infos.iter().find(|info| info.peer == id && info.number == link.2)?;
        Some((shard, info.link))
    }

    pub(super) fn epoch_of(&self, node: usize, shard: usize, link: LinkId) -> Option<u32> {
        let info = self.nodes[node].shards.get(shard)?.links().get(link.0 as usize)?;
        let peer = usize::from(info.peer.0) - 1;
        self.links
            .epoch((node.min(peer), node.max(peer), info.number))
            .map(|epoch| epoch.number)
    }

    pub(super) fn on_frame(&mut self, node: usize, link: LinkKey, bytes: &[u8]) {
        let mut framer = Framer::new(FRAME_BYTES_MAX);
        let whole = framer.feed(bytes, false, |frame| {
            self.on_whole_frame(node, link, &frame);
            Ok(())
        });
        whole.expect("shards send whole frames");
    }

    pub(super) fn on_whole_frame(&mut self, node: usize, link: LinkKey, frame: &FrameView<'_>) {
        let Some((shard, id)) = self.link_id(node, link) else {
            return;
        };
        // A connection carries one process to one process: what was sent to another ended with it.
        let header = frame.header;
        if header.receiver_incarnation.get() != self.nodes[node].incarnation.0 {
            return;
        }
        let peer = if link.0 == node { link.1 } else { link.0 };
        if header.sender_incarnation.get() != self.nodes[peer].incarnation.0 {
            self.did(Fault::FrameOfTheDead);
            return;
        }
        if self.faulty && self.rng.ppm(self.faults.garbage_ppm) {
            return self.on_spoiled_frame(node, link, frame);
        }
        self.count_answers(frame);
        if let Some(bytes) = self.contradicting(node, frame) {
            let other = FrameView::new_checked(&bytes, FRAME_BYTES_MAX).expect("as whole as it was");
            return self.turn(node, shard, |shard, now| shard.on_link_frame(now, id, &other));
        }
        self.turn(node, shard, |shard, now| shard.on_link_frame(now, id, frame));
    }

    /// Why members did not take runs, as their acks list it.
    fn count_answers(&mut self, frame: &FrameView<'_>) {
        for item in frame.items().filter(|item| item.kind() == ItemKind::Acked) {
            let (_, _, exceptions) = link::acked(&item).expect("shards send whole acks");
            for exception in exceptions {
                self.reach(Reached::Answer(exception.answer()));
            }
        }
    }

    /// Something is wrong with a frame of a link: it is refused before it comes to the shard, or by the shard.
    fn on_spoiled_frame(&mut self, node: usize, link: LinkKey, frame: &FrameView<'_>) {
        let Some((shard, id)) = self.link_id(node, link) else {
            return;
        };
        let errors = FrameError::ALL.len();
        let bytes = match self.rng.index(errors + 8).checked_sub(errors) {
            // Entries more often than others, because few frames carry runs.
            Some(0..=2) => garbage::spoil(frame, FrameError::Entry),
            Some(3..=5) => garbage::spoil(frame, FrameError::EntryFlags),
            Some(_) => Some(garbage::under_another_name(frame)),
            None => garbage::spoil(frame, FrameError::ALL[self.rng.index(errors)]),
        };
        let Some(bytes) = bytes else {
            // What cannot be spoiled so arrives as it was.
            self.count_answers(frame);
            return self.turn(node, shard, |shard, now| shard.on_link_frame(now, id, frame));
        };
        match FrameView::new_checked(&bytes, FRAME_BYTES_MAX) {
            Ok(spoiled) => {
                let is_strange = spoiled.header.sender_incarnation.get() != frame.header.sender_incarnation.get();
                self.did(if is_strange {
                    Fault::FrameOfAnother
                } else {
                    Fault::LinkGarbage
                });
                self.turn(node, shard, |shard, now| shard.on_link_frame(now, id, &spoiled));
            }
            Err(error) => {
                self.did(Fault::LinkGarbage);
                self.reach(Reached::Bytes(error));
                self.cut(link);
            }
        }
    }

    /// Whether a node does not hear another now, though nothing was cut.
    pub(super) fn is_silent(&self, from: usize, to: usize) -> bool {
        self.cuts.has(from, to) || self.faulty && self.silent_until_ns[from][to] > self.now_ns
    }

    pub(super) fn cut(&mut self, link: LinkKey) {
        let Some(epoch) = self.links.set(link, None) else {
            return;
        };
        self.did(Fault::LinkCut);
        self.tell_closed(link, epoch);
        let delay_ns = self.faults.delay_us * 1_000;
        for node in [link.0, link.1] {
            self.schedule(
                self.now_ns + delay_ns,
                Event::Down {
                    node,
                    link,
                    epoch: epoch.number,
                },
            );
        }
        self.schedule(self.now_ns + delay_ns + REDIAL_MS * MS, Event::Dial { link });
    }

    pub(super) fn on_down(&mut self, node: usize, link: LinkKey, epoch: u32) {
        let newer = self.links.epoch(link).is_some_and(|current| current.number > epoch);
        if let (Some((shard, id)), false) = (self.link_id(node, link), newer) {
            self.turn(node, shard, |shard, _| shard.on_link_down(id));
        }
    }

    pub(super) fn on_dial(&mut self, link: LinkKey) {
        let (a, b) = (link.0, link.1);
        let now_ns = self.now_ns;
        let can = |node: &Node<R>| !node.down && node.paused_until_ns <= now_ns;
        if self.links.epoch(link).is_some() {
            return;
        }
        let is_silent = self.is_silent(a, b) || self.is_silent(b, a);
        // A side that does not know the other as a node of its cluster takes no link with it, and says so.
        let is_strange = can(&self.nodes[a])
            && can(&self.nodes[b])
            && (self.link_id(a, link).is_none() || self.link_id(b, link).is_none());
        if is_strange {
            return self.schedule(now_ns + REDIAL_MS * MS, Event::Dial { link });
        }
        if is_silent || !can(&self.nodes[a]) || !can(&self.nodes[b]) {
            if !is_silent {
                self.tell_refused(a, b);
                self.tell_refused(b, a);
            }
            self.schedule(now_ns + REDIAL_MS * MS, Event::Dial { link });
            return;
        }
        self.epochs += 1;
        let incarnations = [self.nodes[a].incarnation, self.nodes[b].incarnation];
        self.links.set(
            link,
            Some(Epoch {
                number: self.epochs,
                incarnations,
            }),
        );
        let epoch = self.epochs;
        self.trace(&[3, a as u64, b as u64, u64::from(epoch)]);
        self.tell_met(a, b);
        self.tell_met(b, a);
        for (node, peer) in [(a, 1), (b, 0)] {
            let out = self.nodes[if node == a { b } else { a }]
                .shards
                .iter()
                .any(Shard::is_out);
            if let Some((shard, id)) = self.link_id(node, link) {
                let up = PeerUp {
                    incarnation: incarnations[peer],
                    epoch,
                    out,
                    // Half of the links, so that each seed has both.
                    lz4: (a + b) % 2 == 1,
                };
                self.turn(node, shard, |shard, now| shard.on_link_up(now, id, up));
            }
        }
    }
}
