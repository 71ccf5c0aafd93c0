//! The queue's events: what is on its way in a simulated cluster, and when it arrives.
//!
//! **Invariant:** events come out by their virtual instant, and those of one instant in the order in which they were scheduled.

use waterpark_core::effects::Crossing;
use waterpark_core::ids::{ClientId, Incarnation, LinkId};
use waterpark_core::memory::Outgoing;
use waterpark_core::topology_log::Entry;

use super::LinkKey;
use super::controllers::ControlInput;

pub(super) enum Event {
    Frame {
        node: usize,
        link: LinkKey,
        bytes: Vec<u8>,
    },
    LinkSent {
        node: usize,
        incarnation: Incarnation,
        shard: usize,
        link: LinkId,
        epoch: u32,
        outgoing: Outgoing,
    },
    FromClient {
        node: usize,
        shard: usize,
        client: u32,
        bytes: Vec<u8>,
    },
    ToClient {
        client: u32,
        bytes: Vec<u8>,
    },
    ClientSent {
        node: usize,
        incarnation: Incarnation,
        shard: usize,
        client: ClientId,
        outgoing: Outgoing,
    },
    Deliver {
        node: usize,
        incarnation: Incarnation,
        shard: usize,
        crossing: Crossing,
    },
    Tick {
        node: usize,
        incarnation: Incarnation,
        shard: usize,
    },
    Down {
        node: usize,
        link: LinkKey,
        epoch: u32,
    },
    Dial {
        link: LinkKey,
    },
    Start {
        node: usize,
    },
    Join {
        node: usize,
    },
    Step {
        client: u32,
    },
    Read {
        reader: u32,
    },
    Learn {
        node: usize,
        incarnation: Incarnation,
        upto: usize,
    },
    Proposed {
        entry: Entry,
    },
    Plan,
    Control {
        node: usize,
        incarnation: Incarnation,
        input: ControlInput,
    },
    ControlTick {
        node: usize,
        incarnation: Incarnation,
    },
    Fault,
}

/// The instant in virtual ns, the number, and what happens.
pub(super) struct Scheduled(pub(super) u64, pub(super) u64, pub(super) Event);

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.0, other.1).cmp(&(self.0, self.1))
    }
}
