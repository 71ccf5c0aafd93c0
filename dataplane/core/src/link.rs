//! One link to a peer's shard: frames out with what they carried, frames in with what was answered.
//!
//! Acks travel per link: `Acked{frame}` stands for everything that the frame and all before it carried, and lists what was refused. A
//! link that is lost forgets both sides; in the next epoch each group goes on from what was accepted (`protocol.md` §3).
//!
//! **Invariant:** a record counts only under the epoch in which its frame was sent.

use std::collections::VecDeque;

use waterpark_wire::link::{Assembly, Exception};

use crate::ids::{GroupId, Incarnation, NodeId, Seq, View};
use crate::outbox::Outbox;
use crate::quickest::Quickest;
use crate::rules::{Rule, Rules};
use crate::view_change::Transfers;

/// Un-acked frames that a link has room for from the beginning: more than are under way at full load, so that nothing grows in the midst
/// of it.
const FRAMES: usize = 64;
/// And what they carried.
const RECORDS: usize = 512;

/// What a numbered frame carried of one group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) group: u32,
    pub(crate) view: View,
    pub(crate) last_seq: Seq,
}

/// A numbered frame that came and is not acked yet.
#[derive(Clone, Copy, Debug, Default)]
struct Arrived {
    came: bool,
    /// Other shards that have not answered their part of it.
    waiting: u16,
}

/// One ack of the peer: exceptions are listed once, so acks are taken in their order.
#[derive(Clone, Debug)]
pub(crate) struct Ack {
    pub(crate) since: u64,
    pub(crate) number: u64,
    pub(crate) exceptions: Vec<Exception>,
}

/// The peer while the link is up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Up {
    pub(crate) incarnation: Incarnation,
    pub(crate) epoch: u32,
    pub(crate) lz4: bool,
}

/// One link.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) peer: NodeId,
    pub(crate) peer_shard: u16,
    pub(crate) up: Option<Up>,
    pub(crate) outbox: Outbox,
    pub(crate) assembly: Assembly,
    /// The peer says that its process is out.
    pub(crate) peer_out: bool,
    /// The peer takes no new data.
    pub(crate) peer_pressure: bool,
    /// When the peer was last heard, monotonic ns.
    pub(crate) heard_ns: u64,
    /// When something last left, monotonic ns.
    pub(crate) left_ns: u64,
    /// Since when the oldest un-acked frame waits, monotonic ns.
    pub(crate) unacked_since_ns: u64,
    /// What a frame with runs took until its ack, when nothing waited.
    pub(crate) way: Quickest,
    /// The frame that is timed, and when it left, monotonic ns.
    timed: Option<(u64, u64)>,
    /// Local groups with runs for this link, each at most once.
    pub(crate) queue: VecDeque<u32>,
    /// What members of the peer asked for of logs and states.
    pub(crate) transfers: Transfers,
    /// Local groups that ask for a round of read confirmations over this link, each at most once.
    pub(crate) asks: Vec<u32>,

    next_number: u64,
    /// The peer's acks were heard without a hole up to this frame.
    acked_to: u64,
    /// Acks that came before the one before them.
    early_acks: Vec<Ack>,
    /// Un-acked frames, ascending by number, with how many records each has.
    frames: VecDeque<(u64, u32)>,
    records: VecDeque<Record>,
    /// The run that leaves in parts.
    pub(crate) long_record: Option<Record>,

    /// All frames up to this are answered.
    answered: u64,
    /// The last number that an ack was sent for.
    acked: u64,
    arrived: VecDeque<Arrived>,
    /// What was not taken, with the number of its frame: listed in the ack that covers the frame, not in an earlier one.
    exceptions: Vec<(u64, Exception)>,
}

impl Link {
    pub(crate) fn new(peer: NodeId, peer_shard: u16) -> Link {
        Link {
            peer,
            peer_shard,
            up: None,
            outbox: Outbox::default(),
            assembly: Assembly::default(),
            peer_out: false,
            peer_pressure: false,
            heard_ns: 0,
            left_ns: 0,
            unacked_since_ns: 0,
            way: Quickest::default(),
            timed: None,
            queue: VecDeque::new(),
            transfers: Transfers::default(),
            asks: Vec::new(),
            next_number: 1,
            acked_to: 0,
            early_acks: Vec::new(),
            frames: VecDeque::with_capacity(FRAMES),
            records: VecDeque::with_capacity(RECORDS),
            long_record: None,
            answered: 0,
            acked: 0,
            arrived: VecDeque::with_capacity(FRAMES),
            exceptions: Vec::new(),
        }
    }

    /// A new epoch begins: nothing of an older one is left.
    pub(crate) fn rise<R: Rules>(&mut self, up: Up, out: bool, now_ns: u64) {
        self.fall::<R>();
        self.up = Some(up);
        self.peer_out = out;
        self.heard_ns = now_ns;
    }

    /// The link is gone: records, unsent frames and exceptions are dropped.
    pub(crate) fn fall<R: Rules>(&mut self) {
        self.up = None;
        self.outbox.reset();
        self.assembly.reset();
        self.peer_pressure = false;
        self.queue.clear();
        self.transfers.reset();
        self.asks.clear();
        self.next_number = 1;
        self.timed = None;
        self.acked_to = 0;
        self.early_acks.clear();
        self.long_record = None;
        if !R::breaks(Rule::RecordsOutliveEpoch) {
            self.frames.clear();
            self.records.clear();
        }
        self.answered = 0;
        self.acked = 0;
        self.arrived.clear();
        self.exceptions.clear();
    }

    /// Bytes set aside for what leaves, what comes in parts and what waits for acks.
    pub(crate) fn kept_bytes(&self) -> u64 {
        let lists = self.frames.capacity() * size_of::<(u64, u32)>()
            + self.records.capacity() * size_of::<Record>()
            + self.arrived.capacity() * size_of::<Arrived>()
            + self.queue.capacity() * size_of::<u32>();
        (self.outbox.kept_bytes() + self.assembly.kept_bytes() + lists) as u64
    }

    pub(crate) fn unacked(&self) -> usize {
        self.frames.len()
    }

    pub(crate) fn sent_number(&self) -> u64 {
        self.next_number - 1
    }

    /// Notes a run that goes into the frame about to leave.
    pub(crate) fn record(&mut self, record: Record) {
        self.records.push_back(record);
    }

    /// The number of the frame about to leave, which carries `records` runs; 0 if it carries none.
    pub(crate) fn number(&mut self, records: u32, now_ns: u64) -> u64 {
        if records == 0 {
            return 0;
        }
        if self.frames.is_empty() {
            self.unacked_since_ns = now_ns;
        }
        let number = self.next_number;
        self.next_number += 1;
        self.timed.get_or_insert((number, now_ns));
        self.frames.push_back((number, records));
        number
    }

    /// An ack came. The next one in order is handed out by [`Link::next_ack`]; one that came before its predecessor waits, at most
    /// as many as frames may be un-acked. One whose predecessor is lost is never taken: the link is cut for its silence.
    pub(crate) fn hear_ack(&mut self, ack: Ack, frames_max: usize) {
        if ack.since >= self.acked_to && self.early_acks.len() < frames_max {
            self.early_acks.push(ack);
        }
    }

    /// The next ack in order: its exceptions, and into `records` those of the frames that it covers, in the order in which they were sent.
    pub(crate) fn next_ack(&mut self, now_ns: u64, records: &mut Vec<Record>) -> Option<Vec<Exception>> {
        let next = self.early_acks.iter().position(|ack| ack.since == self.acked_to)?;
        let ack = self.early_acks.swap_remove(next);
        self.acked_to = ack.number;
        self.early_acks.retain(|ack| ack.since >= self.acked_to);
        let mut count = 0;
        while let Some((_, records)) = self.frames.pop_front_if(|(frame, _)| *frame <= ack.number) {
            count += records as usize;
            self.unacked_since_ns = now_ns;
        }
        if let Some((_, left_ns)) = self.timed.take_if(|(frame, _)| *frame <= ack.number) {
            self.way.heard(now_ns.saturating_sub(left_ns), now_ns);
        }
        records.clear();
        records.extend(self.records.drain(..count));
        Some(ack.exceptions)
    }

    /// A numbered frame came; false if it came before or lies beyond the window.
    pub(crate) fn arrive(&mut self, number: u64, frames_max: usize) -> bool {
        let Some(ahead) = number.checked_sub(self.answered + 1) else {
            return false;
        };
        let Ok(ahead) = usize::try_from(ahead) else {
            return false;
        };
        if ahead >= frames_max {
            return false;
        }
        while self.arrived.len() <= ahead {
            self.arrived.push_back(Arrived::default());
        }
        !std::mem::replace(&mut self.arrived[ahead].came, true)
    }

    /// A part of a frame was handed to another shard.
    pub(crate) fn hand_on(&mut self, number: u64) {
        if let Some(frame) = self.frame_mut(number) {
            frame.waiting += 1;
        }
    }

    /// Another shard answered its part of a frame.
    pub(crate) fn handed_back(&mut self, number: u64) {
        if let Some(frame) = self.frame_mut(number) {
            frame.waiting = frame.waiting.saturating_sub(1);
        }
    }

    fn frame_mut(&mut self, number: u64) -> Option<&mut Arrived> {
        let ahead = number.checked_sub(self.answered + 1)?;
        self.arrived.get_mut(usize::try_from(ahead).ok()?)
    }

    /// A run of a frame was not taken: listed in the ack that covers the frame.
    pub(crate) fn except(&mut self, number: u64, exception: Exception) {
        self.exceptions.push((number, exception));
    }

    /// Pushes the ack that is due, if one is, with the newest answer for each group and view that it lists.
    pub(crate) fn push_ack(&mut self) {
        while self
            .arrived
            .pop_front_if(|frame| frame.came && frame.waiting == 0)
            .is_some()
        {
            self.answered += 1;
        }
        if self.answered == self.acked {
            return;
        }
        let since = std::mem::replace(&mut self.acked, self.answered);
        let mut listed: Vec<Exception> = Vec::new();
        for (_, exception) in self.exceptions.extract_if(.., |(number, _)| *number <= self.answered) {
            let same = |other: &&mut Exception| other.group == exception.group && other.view == exception.view;
            match listed.iter_mut().find(same) {
                Some(older) => *older = exception,
                None => listed.push(exception),
            }
        }
        waterpark_wire::link::push_acked(self.outbox.item(), since, self.acked, &listed);
    }

    /// Whether nothing waits for the end of a turn: no item, no run, no question, no portion, no ack.
    pub(crate) fn is_at_rest(&self) -> bool {
        let is_answered = self
            .arrived
            .front()
            .is_none_or(|frame| !frame.came || frame.waiting > 0);
        !self.outbox.has_items()
            && self.queue.is_empty()
            && self.asks.is_empty()
            && self.transfers.is_empty()
            && is_answered
            && self.answered == self.acked
    }

    /// Whether the peer was heard within `silence_ns`.
    pub(crate) fn is_heard(&self, now_ns: u64, silence_ns: u64) -> bool {
        self.up.is_some() && now_ns.saturating_sub(self.heard_ns) < silence_ns
    }
}

/// The exception for one run that was not taken.
pub(crate) fn exception(group: GroupId, answer: waterpark_wire::link::Answer, view: View, value: u64) -> Exception {
    Exception {
        group: group.0.into(),
        answer: answer as u8,
        reserved: [0; 3],
        view: view.0.into(),
        value: value.into(),
    }
}
