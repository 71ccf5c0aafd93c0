//! What waits to leave on one connection: a frame that grows while the one before it is in flight.
//!
//! Items are pushed as they arise; at the end of the turn, if nothing is in flight, the frame leaves. No timer holds it back. An item that
//! is longer than 64 KiB waits beside it and leaves in parts, one per frame, so that others go between.

use std::collections::VecDeque;

use waterpark_wire::frame::{FrameAddress, FrameBuilder};
use waterpark_wire::item::ItemHeader;
use waterpark_wire::link::{PART_BYTES, PART_FIRST, PART_LAST, PartHeader};

use crate::memory::Outgoing;

/// A buffer of this size is kept however little leaves.
const REST_BYTES: usize = 2 << 10;

/// A whole item that leaves in parts.
#[derive(Debug)]
struct Long {
    bytes: Vec<u8>,
    sent: usize,
    stream: u64,
    /// Runs may overtake it.
    yields: bool,
    /// It is a run, which counts with the frame that carries its last part.
    is_run: bool,
}

/// One connection's way out.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    bytes: Vec<u8>,
    frame: Option<FrameBuilder>,
    long: VecDeque<Long>,
    long_bytes: usize,
    streams: u64,
    spare: Vec<u8>,
    /// The longest frame that left since the last rest.
    longest: usize,
    /// A send is in flight.
    pub(crate) busy: bool,
}

impl Outbox {
    /// The buffer for exactly one more item, which the caller pushes whole and padded.
    pub(crate) fn item(&mut self) -> &mut Vec<u8> {
        if self.frame.is_none() {
            self.frame = Some(FrameBuilder::begin(&mut self.bytes));
        }
        self.frame.as_mut().expect("begun above").pushed();
        &mut self.bytes
    }

    /// Takes a whole item, header first, unpadded; in parts if it is long.
    pub(crate) fn whole(&mut self, item: &[u8]) {
        if item.len() <= PART_BYTES {
            let bytes = self.item();
            bytes.extend_from_slice(item);
            bytes.resize(waterpark_wire::padded(bytes.len()), 0);
        } else {
            self.push_long(item, false, false);
        }
    }

    /// Takes a run that is too long for one item.
    pub(crate) fn long_run(&mut self, run: &[u8]) {
        self.push_long(run, false, true);
    }

    /// Whether the frame that would leave now carries the last part of a run.
    pub(crate) fn ends_run(&self) -> bool {
        let ends = |long: &Long| long.is_run && long.bytes.len() - long.sent <= PART_BYTES;
        self.long.front().is_some_and(ends)
    }

    /// The same for an item of so many bytes that runs may overtake. It is written where it leaves from, unless it is long.
    pub(crate) fn beside(&mut self, length: usize, write: impl FnOnce(&mut Vec<u8>)) {
        if length <= PART_BYTES {
            let bytes = self.item();
            write(bytes);
            bytes.resize(waterpark_wire::padded(bytes.len()), 0);
        } else {
            let mut item = Vec::with_capacity(length);
            write(&mut item);
            self.push_long(&item, true, false);
        }
    }

    /// Takes an item that must not overtake the long ones before it.
    pub(crate) fn after_long(&mut self, item: &[u8]) {
        if self.long.is_empty() {
            self.whole(item);
        } else {
            self.push_long(item, false, false);
        }
    }

    fn push_long(&mut self, item: &[u8], yields: bool, is_run: bool) {
        self.streams += 1;
        self.long_bytes += item.len();
        self.long.push_back(Long {
            bytes: item.to_vec(),
            sent: 0,
            stream: self.streams,
            yields,
            is_run,
        });
    }

    /// Bytes that wait.
    pub(crate) fn backlog(&self) -> usize {
        self.bytes.len() + self.long_bytes
    }

    /// Bytes of the frame that grows.
    pub(crate) fn frame_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether a frame would leave.
    pub(crate) fn has_items(&self) -> bool {
        self.frame.is_some() || !self.long.is_empty()
    }

    /// Whether long items wait that runs must not overtake.
    pub(crate) fn has_long(&self) -> bool {
        self.long.iter().any(|long| !long.yields)
    }

    /// Whether any long item waits.
    pub(crate) fn has_any_long(&self) -> bool {
        !self.long.is_empty()
    }

    /// Closes the frame, with the next part of the first long item in it, and hands it out; the next one begins.
    pub(crate) fn leave(&mut self, address: &FrameAddress) -> Outgoing {
        self.part();
        let frame = self.frame.take().expect("a frame leaves only if it has items");
        let mut bytes = std::mem::replace(&mut self.bytes, std::mem::take(&mut self.spare));
        frame.finish(&mut bytes, address);
        self.longest = self.longest.max(bytes.len());
        self.busy = true;
        Outgoing {
            bytes,
            gathers: Vec::new(),
        }
    }

    /// Takes the buffer of a finished send back.
    pub(crate) fn sent(&mut self, outgoing: Outgoing) {
        self.busy = false;
        let mut bytes = outgoing.bytes;
        bytes.clear();
        if bytes.capacity() > self.spare.capacity() {
            self.spare = bytes;
        }
    }

    /// Gives back what frames of late had no need of: one long item would leave every link with room for it for good. For callers that call it
    /// now and then.
    pub(crate) fn rest(&mut self) {
        let wanted = std::mem::take(&mut self.longest).max(REST_BYTES);
        for buffer in [&mut self.bytes, &mut self.spare] {
            // Twice as much is what growing by doubling leaves.
            if buffer.is_empty() && buffer.capacity() > 2 * wanted {
                *buffer = Vec::new();
            }
        }
    }

    /// Bytes set aside for what leaves.
    pub(crate) fn kept_bytes(&self) -> usize {
        let long: usize = self.long.iter().map(|long| long.bytes.capacity()).sum();
        self.bytes.capacity() + self.spare.capacity() + long
    }

    /// Forgets everything: the connection is gone.
    pub(crate) fn reset(&mut self) {
        self.bytes.clear();
        self.frame = None;
        self.long.clear();
        self.long_bytes = 0;
        self.busy = false;
    }

    fn part(&mut self) {
        let Some(mut long) = self.long.pop_front() else { return };
        let total = long.bytes.len();
        let end = (long.sent + PART_BYTES).min(total);
        let (first, last) = (long.sent == 0, end == total);
        let flags = if first { PART_FIRST } else { 0 } | if last { PART_LAST } else { 0 };
        let small = |length: usize| u32::try_from(length).expect("items are bounded far below 4 GiB").into();
        let item = ItemHeader {
            flags,
            ..ItemHeader::default()
        };
        let part = PartHeader {
            item,
            total: small(total),
            offset: small(long.sent),
            stream: long.stream.into(),
        };
        part.push(self.item(), &long.bytes[long.sent..end]);
        self.long_bytes -= end - long.sent;
        long.sent = end;
        if !last {
            self.long.push_front(long);
        }
    }
}

#[cfg(test)]
mod tests {
    use waterpark_wire::frame::FrameKind;

    use super::*;

    const ADDRESS: FrameAddress = FrameAddress {
        kind: FrameKind::Peer,
        sender: (1, 1),
        receiver: (2, 2),
        number: 0,
        epoch: 1,
    };

    /// An item of so many bytes leaves whole.
    fn pass(outbox: &mut Outbox, bytes: usize) {
        outbox.whole(&vec![0; bytes]);
        while outbox.has_items() {
            let outgoing = outbox.leave(&ADDRESS);
            outbox.sent(outgoing);
        }
    }

    #[test]
    fn room_for_a_long_item_is_given_back_once_only_short_ones_leave() {
        let mut outbox = Outbox::default();
        pass(&mut outbox, 300_000);
        assert!(outbox.kept_bytes() > PART_BYTES);
        outbox.rest();
        assert!(outbox.kept_bytes() > PART_BYTES, "it was needed since the last rest");
        for _ in 0..3 {
            pass(&mut outbox, 500);
            outbox.rest();
        }
        assert!(outbox.kept_bytes() <= 2 * 2 * REST_BYTES, "{}", outbox.kept_bytes());
    }

    #[test]
    fn what_leaves_all_the_time_keeps_its_room_and_what_waits_is_not_touched() {
        let mut outbox = Outbox::default();
        // Two buffers, in turns.
        (0..2).for_each(|_| pass(&mut outbox, 40_000));
        let kept = outbox.kept_bytes();
        for _ in 0..10 {
            pass(&mut outbox, 40_000);
            outbox.rest();
        }
        assert_eq!(outbox.kept_bytes(), kept);
        outbox.rest();
        outbox.whole(&[5; 48]);
        outbox.rest();
        outbox.rest();
        assert!(outbox.leave(&ADDRESS).bytes.ends_with(&[5; 48]));
    }
}
