//! Links that are made to take time, as if their data centres were apart: what is sent on them lies in a line until it is due.
//!
//! A line is what the network is otherwise: the shard has sent what lies in it. **Invariant:** bytes leave a line in the order in which they
//! came into it, and none is left out; a frame that is said to be lost comes a round trip later, as TCP would bring it.

use std::collections::VecDeque;

use waterpark_core::behaviour::Behaviour;
use waterpark_core::ids::LinkId;
use waterpark_core::memory::{Memory, Outgoing};
use waterpark_core::time::Now;

use super::connection::{Role, plain};
use super::{EventLoop, unpin};
use crate::ConnectionId;
use crate::chunk_pool::PoolMemory;
use crate::driver::Driver;

/// Bytes of a line that leave in one send.
const SEND_BYTES_MAX: usize = 1 << 20;

/// How long a link takes in one direction, beside what the host itself takes. Nothing, unless somebody says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// From one end to the other.
    pub one_way_ns: u64,
    /// At most so much more, at random.
    pub jitter_ns: u64,
    /// Of a million frames so many take a round trip more.
    pub loss_per_million: u32,
    /// Nothing passes: what was sent waits, as it would at its sender's TCP, and nothing is dialled. Who dials may be the other end, so a link is
    /// cut at both of its ends.
    pub is_cut: bool,
}

impl Way {
    /// Whether frames leave at once.
    #[must_use]
    pub fn is_direct(self) -> bool {
        self == Way::default()
    }
}

/// What was sent on a link and is not due yet.
#[derive(Debug, Default)]
pub(super) struct Line {
    pub(super) way: Way,
    frames: VecDeque<(u64, Vec<u8>)>,
    /// When the last one is due; the next is not due before.
    last_ns: u64,
    /// The send that is in flight came out of the line.
    sending: bool,
}

impl Line {
    pub(super) fn new(way: Way) -> Line {
        Line { way, ..Line::default() }
    }

    /// Whether the next frame has to take its place in the line.
    pub(super) fn is_used(&self) -> bool {
        !self.way.is_direct() || !self.frames.is_empty() || self.sending
    }

    /// The link's connection is another one, or none: what was under way is lost with it.
    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.sending = false;
    }

    /// Whether the send that has ended came out of the line.
    pub(super) fn has_sent(&mut self) -> bool {
        std::mem::take(&mut self.sending)
    }

    fn push(&mut self, now: Now, random: u64, bytes: Vec<u8>) -> u64 {
        let Way {
            one_way_ns,
            jitter_ns,
            loss_per_million,
            is_cut: _,
        } = self.way;
        // Two independent parts of one random word.
        let jitter_ns = (u128::from(jitter_ns) * u128::from(random & 0xFFFF_FFFF)) >> 32;
        let is_lost = (random >> 32) * 1_000_000 < u64::from(loss_per_million) << 32;
        let again_ns = if is_lost { 2 * one_way_ns } else { 0 };
        let due_ns = now
            .monotonic_ns
            .saturating_add(one_way_ns + again_ns)
            .saturating_add(u64::try_from(jitter_ns).unwrap_or(u64::MAX));
        self.last_ns = due_ns.max(if self.frames.is_empty() { 0 } else { self.last_ns });
        self.frames.push_back((self.last_ns, bytes));
        self.last_ns
    }

    /// What is due, joined, at most [`SEND_BYTES_MAX`] but at least one frame.
    fn take(&mut self, now: Now) -> Option<Vec<u8>> {
        if self.way.is_cut {
            return None;
        }
        let (_, mut bytes) = self.frames.pop_front_if(|(due_ns, _)| *due_ns <= now.monotonic_ns)?;
        while let Some((_, next)) = self
            .frames
            .pop_front_if(|(due_ns, next)| *due_ns <= now.monotonic_ns && bytes.len() + next.len() <= SEND_BYTES_MAX)
        {
            bytes.extend_from_slice(&next);
        }
        Some(bytes)
    }

    fn due_ns(&self) -> u64 {
        let first = self.frames.front().filter(|_| !self.way.is_cut);
        first.map_or(u64::MAX, |(due_ns, _)| *due_ns)
    }
}

/// One piece of memory with all that would be sent, in its order.
fn flat(outgoing: &Outgoing, memory: &PoolMemory) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(outgoing.len());
    let mut at = 0;
    for gather in &outgoing.gathers {
        let until = gather.at as usize;
        bytes.extend_from_slice(&outgoing.bytes[at..until]);
        let from = gather.offset as usize;
        bytes.extend_from_slice(&memory.bytes(gather.chunk)[from..from + gather.length as usize]);
        at = until;
    }
    bytes.extend_from_slice(&outgoing.bytes[at..]);
    bytes
}

impl<B: Behaviour> EventLoop<B> {
    /// Sends on a link: into its line where that is used, else at once.
    pub(super) fn send_link(&mut self, now: Now, link: LinkId, outgoing: Outgoing) {
        let row = &mut self.links[link.0 as usize];
        let id = row.connection;
        if !row.line.is_used() || id.is_none() {
            return self.send(id, outgoing);
        }
        let bytes = flat(&outgoing, self.shard.memory());
        unpin(self.shard.memory_mut(), &outgoing);
        let mut random = [0; 8];
        self.entropy.take(&mut random);
        let due_ns = row.line.push(now, u64::from_le_bytes(random), bytes);
        self.lines_at_ns = self.lines_at_ns.min(due_ns);
        self.shard.on_link_sent(link, outgoing);
    }

    /// Lets go what is due on all links; when the next is, monotonic ns.
    pub(super) fn let_go(&mut self, now: Now) -> u64 {
        let mut next_ns = u64::MAX;
        for index in 0..self.links.len() {
            next_ns = next_ns.min(self.let_go_on(now, index));
        }
        next_ns
    }

    /// The same on one link. While a send is in flight its end is waited for.
    fn let_go_on(&mut self, now: Now, index: usize) -> u64 {
        let row = &mut self.links[index];
        let usable = |id: &ConnectionId| {
            let connection = self.table.get_mut(*id);
            connection.is_some_and(|connection| !connection.sending && matches!(connection.role, Role::Link(_)))
        };
        let Some(id) = row.connection.filter(usable) else {
            return u64::MAX;
        };
        let Some(bytes) = row.line.take(now) else {
            return row.line.due_ns();
        };
        row.line.sending = self.driver.send(id, plain(bytes), self.shard.memory()).is_ok();
        if let Some(connection) = self.table.get_mut(id) {
            connection.sending = row.line.sending;
        }
        // Where it was refused the connection is closing, and takes the line with it.
        u64::MAX
    }

    /// A send out of a line has ended: the next may follow.
    pub(super) fn line_sent(&mut self, now: Now, link: LinkId) {
        let due_ns = self.let_go_on(now, link.0 as usize);
        self.lines_at_ns = self.lines_at_ns.min(due_ns);
    }

    /// From now on all links to a node take this way. What is under way already keeps its time, or leaves at once where that has passed
    /// behind a cut.
    pub(super) fn set_way(&mut self, peer: waterpark_core::ids::NodeId, way: Way) {
        for row in self.links.iter_mut().filter(|row| row.info.peer == peer) {
            row.line.way = way;
        }
        // Lines and dials have other dates now, and both look for their next themselves.
        self.lines_at_ns = 0;
        self.timers_at_ns = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now {
            monotonic_ns: ms * 1_000_000,
            wall_ms: 0,
        }
    }

    #[test]
    fn frames_leave_when_they_are_due_in_their_order() {
        let mut line = Line::new(Way {
            one_way_ns: 9_000_000,
            jitter_ns: 4_000_000,
            ..Way::default()
        });
        assert_eq!(line.push(at(0), 0xFFFF_FFFF, vec![1]), 12_999_999);
        assert_eq!(
            line.push(at(1), 0, vec![2]),
            12_999_999,
            "not before the one in front of it"
        );
        assert_eq!(line.push(at(10), 0, vec![3]), 19_000_000);
        assert_eq!(line.take(at(12)), None);
        assert_eq!(line.take(at(13)), Some(vec![1, 2]));
        assert_eq!(line.due_ns(), 19_000_000);
        assert_eq!(line.take(at(19)), Some(vec![3]));
        assert_eq!(line.take(at(99)), None);
    }

    #[test]
    fn a_lost_frame_comes_a_round_trip_later_and_holds_up_those_behind_it() {
        let mut line = Line::new(Way {
            one_way_ns: 10_000_000,
            loss_per_million: 500_000,
            ..Way::default()
        });
        assert_eq!(line.push(at(0), 0x7FFF_FFFF << 32, vec![1]), 30_000_000);
        assert_eq!(line.push(at(1), 0x8000_0001 << 32, vec![2]), 30_000_000);
        assert_eq!(line.take(at(30)), Some(vec![1, 2]));
    }

    #[test]
    fn nothing_passes_a_cut_and_all_of_it_in_order_once_it_is_healed() {
        let way = Way {
            one_way_ns: 10_000_000,
            ..Way::default()
        };
        let mut line = Line::new(Way { is_cut: true, ..way });
        line.push(at(0), 0, vec![1]);
        line.push(at(50), 0, vec![2]);
        assert_eq!((line.take(at(999)), line.due_ns()), (None, u64::MAX));
        assert!(line.is_used(), "the next frame waits behind them");
        line.way = way;
        assert_eq!(line.due_ns(), 10_000_000);
        line.push(at(995), 0, vec![3]);
        assert_eq!(line.take(at(999)), Some(vec![1, 2]));
        assert_eq!(line.take(at(1_005)), Some(vec![3]));
    }

    #[test]
    fn a_line_is_used_until_it_has_run_empty() {
        let mut line = Line::new(Way {
            one_way_ns: 1_000_000,
            ..Way::default()
        });
        assert!(line.is_used());
        line.push(at(0), 0, vec![1]);
        line.way = Way::default();
        assert!(line.is_used());
        line.take(at(1));
        assert!(!line.is_used());
    }
}
