//! One connection: what waits to leave, cut into frames, and the reading end.
//!
//! Items are pushed as they arise; one frame holds all of a turn up to its limit. An item above 64 KiB leaves in parts, one per frame, so
//! that others go between. Knows no requests. **Invariant:** bytes behind `closed` belong to the one frame that still grows.

use std::collections::VecDeque;

use waterpark_wire::frame::{FRAME_BYTES_MAX, FRAME_HEADER, FrameAddress, FrameBuilder};
use waterpark_wire::framer::Framer;
use waterpark_wire::item::{ItemHeader, ItemKind};
use waterpark_wire::link::{Assembly, PART_BYTES, PART_FIRST, PART_LAST, PartHeader};
use waterpark_wire::request::{REQUEST_HEADER, RequestHeader};
use waterpark_wire::{checksum, padded};
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, IntoBytes};

use crate::routing::Address;

/// Names a connection of a client, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

/// A send buffer above this is given back once it is empty.
const BUFFER_KEPT: usize = 1 << 20;

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Not connected; not before this instant again.
    Down {
        /// Monotonic ns.
        not_before_ns: u64,
    },
    /// The world was asked to connect.
    Connecting,
    /// It serves.
    Up,
}

#[derive(Debug)]
struct Long {
    bytes: Vec<u8>,
    sent: usize,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: Address,
    pub(crate) standing: Standing,
    /// Node and shard, once known.
    pub(crate) place: Option<(u16, u16)>,
    /// Requests want to go there.
    pub(crate) wanted: bool,
    /// It is on the list of those that may have something to write.
    pub(crate) listed: bool,
    pub(crate) failures: u32,
    /// Requests under way on it.
    pub(crate) flying: u32,
    /// When it was last heard, or began to owe an answer; monotonic ns.
    pub(crate) heard_ns: u64,
    /// When it last said anything, monotonic ns.
    pub(crate) spoke_ns: u64,
    /// Until then others are asked rather than this one, monotonic ns.
    pub(crate) doubted_until_ns: u64,
    /// How often that began without an ack since.
    pub(crate) doubts: u32,
    receiver: (u16, u64),
    /// Taken out while its frames are acted on.
    pub(crate) framer: Option<Framer>,
    pub(crate) assembly: Assembly,
    out: Vec<u8>,
    written: usize,
    closed: usize,
    frame: FrameBuilder,
    long: VecDeque<Long>,
    long_bytes: usize,
    streams: u64,
}

impl Peer {
    pub(crate) fn new(address: Address, place: Option<(u16, u16)>) -> Peer {
        Peer {
            address,
            standing: Standing::Down { not_before_ns: 0 },
            place,
            wanted: false,
            listed: false,
            failures: 0,
            flying: 0,
            heard_ns: 0,
            spoke_ns: 0,
            doubted_until_ns: 0,
            doubts: 0,
            receiver: (0, 0),
            framer: None,
            assembly: Assembly::default(),
            out: Vec::new(),
            written: 0,
            closed: 0,
            frame: FrameBuilder::default(),
            long: VecDeque::new(),
            long_bytes: 0,
            streams: 0,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.standing == Standing::Up
    }

    /// The handshake is done.
    pub(crate) fn rise(&mut self, now_ns: u64, node: u16, incarnation: u64, shard: u16) {
        self.reset();
        self.standing = Standing::Up;
        self.place = Some((node, shard));
        self.receiver = (node, incarnation);
        self.failures = 0;
        self.heard_ns = now_ns;
        self.spoke_ns = now_ns;
        self.framer = Some(Framer::new(FRAME_BYTES_MAX));
    }

    /// The connection is gone, with all that waited for it.
    pub(crate) fn fall(&mut self, not_before_ns: u64) {
        self.reset();
        self.standing = Standing::Down { not_before_ns };
        self.failures = self.failures.saturating_add(1);
    }

    fn reset(&mut self) {
        self.framer = None;
        self.assembly.reset();
        self.out = Vec::new();
        self.written = 0;
        self.closed = 0;
        self.frame = FrameBuilder::default();
        self.long.clear();
        self.long_bytes = 0;
    }

    /// Bytes that wait.
    pub(crate) fn backlog(&self) -> usize {
        self.out.len() - self.written + self.long_bytes
    }

    /// Takes an item, unpadded: its header and what follows.
    #[inline]
    pub(crate) fn push(&mut self, head: &[u8], tail: &[u8], frame_bytes: usize) {
        let length = head.len() + tail.len();
        if length > PART_BYTES {
            self.long_bytes += length;
            let bytes = [head, tail].concat();
            return self.long.push_back(Long { bytes, sent: 0 });
        }
        self.make_room(length, frame_bytes);
        self.item(head, tail);
    }

    /// Closes the frame where an item does not fit it any more.
    #[inline]
    fn make_room(&mut self, length: usize, frame_bytes: usize) {
        if self.frame.items() > 0 && self.out.len() - self.closed + padded(length) > frame_bytes {
            self.close();
        }
    }

    /// Takes a request: `put` writes its header, and its body lies in pieces.
    ///
    /// No byte of it is read that was just written. A load that spans two younger stores waits until these have left for the cache, and with them
    /// all before, also those to a row that is far away; so a header is written in its place, and pieces are not put together before.
    #[inline]
    pub(crate) fn push_request<const N: usize>(
        &mut self,
        put: impl FnOnce(&mut RequestHeader),
        body: [&[u8]; N],
        frame_bytes: usize,
    ) {
        let length = REQUEST_HEADER + body.iter().map(|piece| piece.len()).sum::<usize>();
        if length > PART_BYTES {
            let mut header = RequestHeader::default();
            put(&mut header);
            return self.push(header.as_bytes(), &body.concat(), frame_bytes);
        }
        self.make_room(length, frame_bytes);
        self.begin(length);
        let at = self.out.len();
        self.out.resize(at + REQUEST_HEADER, 0);
        let place = RequestHeader::mut_from_bytes(&mut self.out[at..]).expect("its place has its size");
        put(place);
        for piece in body {
            self.out.extend_from_slice(piece);
        }
        self.pad(length);
    }

    #[inline]
    fn item(&mut self, head: &[u8], tail: &[u8]) {
        let length = head.len() + tail.len();
        self.begin(length);
        self.out.extend_from_slice(head);
        self.out.extend_from_slice(tail);
        self.pad(length);
    }

    /// Begins an item: a frame header where it is the first.
    #[inline]
    fn begin(&mut self, length: usize) {
        if self.frame.items() == 0 {
            self.out.resize(self.closed + FRAME_HEADER, 0);
        }
        self.out.reserve(padded(length));
    }

    /// Ends it.
    #[inline]
    fn pad(&mut self, length: usize) {
        self.out.extend_from_slice(&[0; 16][..padded(length) - length]);
        self.frame.pushed();
    }

    /// The turn is over: the frame is closed unless one is still in flight, which lets it grow. Returns whether there are bytes to write.
    pub(crate) fn turn_ends(&mut self) -> bool {
        if self.written == self.closed {
            self.part();
            if self.frame.items() > 0 {
                self.close();
            }
        }
        self.written < self.closed
    }

    fn part(&mut self) {
        let Some(mut long) = self.long.pop_front() else { return };
        let total = long.bytes.len();
        let (start, end) = (long.sent, (long.sent + PART_BYTES).min(total));
        let (first, last) = (start == 0, end == total);
        if first {
            self.streams += 1;
        }
        let small = |length: usize| {
            u32::try_from(length)
                .expect("messages are bounded far below 4 GiB")
                .into()
        };
        let part = PartHeader {
            item: ItemHeader {
                kind: ItemKind::Part as u8,
                length: small(size_of::<PartHeader>() + end - start),
                flags: if first { PART_FIRST } else { 0 } | if last { PART_LAST } else { 0 },
                ..ItemHeader::default()
            },
            total: small(total),
            offset: small(start),
            stream: self.streams.into(),
        };
        self.item(part.as_bytes(), &long.bytes[start..end]);
        self.close();
        self.long_bytes -= end - start;
        long.sent = end;
        if !last {
            self.long.push_front(long);
        }
    }

    fn close(&mut self) {
        let address = FrameAddress::of_client(self.receiver);
        let frame = std::mem::take(&mut self.frame);
        let (head, items) = self.out[self.closed..].split_at_mut(FRAME_HEADER);
        let mut header = frame.header(&address, items.len());
        header.checksum = U64::new(checksum::frame(&header, items));
        head.copy_from_slice(header.as_bytes());
        self.closed = self.out.len();
    }

    /// Whole frames that wait to be written.
    pub(crate) fn outgoing(&self) -> &[u8] {
        &self.out[self.written..self.closed]
    }

    /// So many of them were written. Returns whether more can be made ready.
    ///
    /// # Panics
    /// If more was written than waited: a bug of the caller.
    pub(crate) fn wrote(&mut self, count: usize) -> bool {
        self.written += count;
        assert!(self.written <= self.closed, "no more is written than was outgoing");
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
            self.closed = 0;
            if self.out.capacity() > BUFFER_KEPT {
                self.out = Vec::new();
            }
        } else if self.written > BUFFER_KEPT {
            self.out.drain(..self.written);
            self.closed -= self.written;
            self.written = 0;
        }
        self.written == self.closed && (self.frame.items() > 0 || !self.long.is_empty())
    }
}
