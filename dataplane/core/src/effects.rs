//! What a shard wants done. The world does it and decides nothing.

use crate::controller::GroupReport;
use crate::ids::{ClientId, GroupId, Incarnation, LinkId, Member, NodeId, Seq, ShardId};
use crate::memory::{ChunkId, Outgoing};
use crate::seats::Moved;

/// One thing to do, in order.
#[derive(Debug)]
pub enum Effect {
    /// Send on a link; at most one is in flight per link until `on_link_sent`.
    SendLink {
        /// The link.
        link: LinkId,
        /// What goes out.
        outgoing: Outgoing,
    },
    /// Send to a client; at most one is in flight until `on_client_sent`.
    SendClient {
        /// The client.
        client: ClientId,
        /// What goes out.
        outgoing: Outgoing,
    },
    /// Cut a link; it is dialled again.
    CutLink {
        /// The link.
        link: LinkId,
        /// Why.
        cause: Cut,
    },
    /// Disconnect a client.
    CutClient {
        /// The client.
        client: ClientId,
        /// Why.
        cause: Cut,
    },
    /// Deliver to another shard of this node.
    Deliver {
        /// The shard.
        shard: ShardId,
        /// What.
        crossing: Crossing,
    },
    /// Something an operator wants to read.
    Event(Happened),
    /// A peer's controller says something to this node's.
    Control {
        /// The process whose controller it is.
        from: Member,
        /// What it says.
        message: Vec<u8>,
    },
    /// What this node's controller is told of peers and groups, each tick.
    Report {
        /// Processes of which frames came since the last report.
        heard: Vec<Member>,
        /// All groups that there is something to say about now.
        groups: Vec<GroupReport>,
    },
    /// An operator wants this process to stand still, as one that is stopped: a drill.
    StandStill {
        /// For so many milliseconds.
        ms: u32,
    },
    /// Propose an entry to the topology log. It may get lost: what is wanted is proposed again until it is seen decided.
    Propose(Box<crate::topology_log::Entry>),
}

/// Why a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cut {
    /// The peer sent what is no frame or has no place.
    Malformed(waterpark_wire::FrameError),
    /// Nothing was heard, or nothing acked, for too long.
    Silent,
    /// It does not read what it is sent.
    Backlog,
    /// A frame of another process or epoch.
    Stranger,
}

/// What one shard hands to another of its node.
#[derive(Debug)]
pub enum Crossing {
    /// Items of one frame of a peer that belong to the receiving shard's groups.
    FromPeer {
        /// Whose frame it was.
        origin: FrameOrigin,
        /// Items, one behind the other.
        items: Vec<u8>,
    },
    /// The same of items that have followed their groups from shard to shard.
    Followed(Box<Followed>),
    /// The receiving shard's link may ack: all items of a frame that were handed on are answered.
    Answered {
        /// Whose frame it was.
        origin: FrameOrigin,
        /// What was not taken.
        exceptions: Vec<waterpark_wire::link::Exception>,
        /// An item was malformed in itself: the link is to be cut, and nothing of the frame acked.
        malformed: Option<waterpark_wire::FrameError>,
    },
    /// Requests of this node's clients for the receiving shard's groups, or replies to it.
    Mail {
        /// Items, one behind the other.
        items: Vec<u8>,
    },
    /// A group lives on the receiving shard from a position of the topology log on.
    Seat {
        /// The group.
        group: GroupId,
        /// The position of the entry that says so.
        position: u64,
        /// The group, as far as there is anything of it.
        moved: Moved,
    },
    /// Chunks that the receiving shard gave away and nobody needs any more, by their names there.
    Chunks {
        /// They.
        chunks: Vec<ChunkId>,
    },
    /// This process is out.
    Out,
}

/// What is left of a frame whose other items were dealt with on other shards.
#[derive(Debug)]
pub struct Followed {
    /// Whose frame it was.
    pub origin: FrameOrigin,
    /// Items, one behind the other.
    pub items: Vec<u8>,
    /// What those shards did not take.
    pub exceptions: Vec<waterpark_wire::link::Exception>,
}

/// A frame of a peer, as the shard whose link it came over knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameOrigin {
    /// The peer.
    pub node: NodeId,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The shard that has the link.
    pub shard: ShardId,
    /// The link.
    pub link: LinkId,
    /// The link's epoch.
    pub epoch: u32,
    /// The frame's number, 0 if it is not acked.
    pub number: u64,
}

/// Events for the log of the process: few, never per message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// A group opened: this node writes it.
    GroupOpened {
        /// The group.
        group: GroupId,
    },
    /// This process is out for good: a Config names another incarnation of its name.
    Out {
        /// The group of the Config.
        group: GroupId,
        /// The incarnation that it names.
        named: Incarnation,
    },
    /// A peer is out: the groups that it wrote are lost.
    PeerOut {
        /// The peer.
        node: NodeId,
    },
    /// A member refused a Config; the group cannot be born in this life of its writer.
    BirthRefused {
        /// The group.
        group: GroupId,
        /// Who refused.
        by: NodeId,
        /// The node whose incarnation stands against it.
        node: NodeId,
    },
    /// A member has no memory for the log of a view that it is to hold, or to open: then another one has to open it.
    NoRoom {
        /// The group.
        group: GroupId,
    },
    /// After an entry a quorum of the other members had another state than this one, which takes itself out.
    StateDiffers {
        /// The group.
        group: GroupId,
        /// The entry.
        seq: Seq,
    },
    /// A run contradicts the log of its group, or its state is not that of the others: the member took no more of it.
    Quarantined {
        /// The group.
        group: GroupId,
    },
}
