//! Bodies with structure: rkyv archives, validated once. Off the path of a message; what travels per message has a fixed layout.
//!
//! Wire types hold no reference counts, maps, recursion, or `Option` of an enum (open soundness reports against the archive format), and
//! a change of any of them is a new schema number.

use rkyv::rancor::{Error, Strategy};
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize};

use crate::error::FrameError;

/// A Config: who the members of a group are, by incarnation, and how many of them an ack and a view change need.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ConfigBody {
    /// The group.
    pub group: u32,
    /// The view.
    pub view: u64,
    /// The lineage.
    pub lineage: u64,
    /// Members; the first is the writer.
    pub members: Vec<MemberBody>,
    /// Members that hold an entry before it is acked.
    pub write_quorum: u8,
    /// Members that a newer view has to hear.
    pub read_quorum: u8,
}

/// One process of one node.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberBody {
    /// The node.
    pub node: u16,
    /// Its incarnation.
    pub incarnation: u64,
}

/// Everything that a client needs to send to the writer's shard.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SlotTableBody {
    /// The cluster.
    pub cluster: [u8; 16],
    /// Groups.
    pub groups: u32,
    /// Classes.
    pub classes: u32,
    /// Facilities that are bound to a class.
    pub facilities: Vec<FacilityBody>,
    /// The nodes.
    pub nodes: Vec<NodeBody>,
    /// The members of each group by node id, the writer first.
    pub slots: Vec<Vec<u16>>,
    /// The longest message, in bytes.
    pub message_bytes_max: u32,
    /// Groups that do not live on the shard that their number says.
    pub seats: Vec<SeatBody>,
}

/// A facility and its class.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct FacilityBody {
    /// The facility, as it stands in keys.
    pub name: Vec<u8>,
    /// Its class.
    pub class: u32,
}

/// Where a node's shards listen for clients.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct NodeBody {
    /// Its id.
    pub id: u16,
    /// Its name.
    pub name: String,
    /// Its host.
    pub host: String,
    /// The port of its shard 0 for native clients; shard k listens k above it.
    pub native_port: u16,
    /// How many shards it has.
    pub shards: u16,
}

/// One shard's status.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
pub struct StatusBody {
    /// The node's name.
    pub node: String,
    /// Its id.
    pub node_id: u16,
    /// Its incarnation.
    pub incarnation: u64,
    /// Which shard this is, and of how many.
    pub shard: u16,
    /// Shards of the node.
    pub shards: u16,
    /// `io_uring` or `epoll`.
    pub driver: String,
    /// The process is out: it serves as mailroom only.
    pub out: bool,
    /// Bytes of the shard's pool in use.
    pub memory_used: u64,
    /// Bytes of the shard's pool.
    pub memory_budget: u64,
    /// Groups that this shard writes or follows.
    pub groups: Vec<GroupBody>,
    /// The shard's links.
    pub links: Vec<LinkBody>,
    /// Counters by name.
    pub counters: Vec<CounterBody>,
    /// Actors that get most of the messages that this shard writes, in no order.
    pub actors: Vec<ActorBody>,
}

/// What samples of the messages that a shard wrote, since its start, say of one actor. All samples are the counter `sampled`.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
pub struct ActorBody {
    /// Its group.
    pub group: u32,
    /// Its canonical key.
    pub key: Vec<u8>,
    /// How many of the samples were its own, `others` more at the most. It only grows; where it does not, the actor was not counted meanwhile.
    pub samples: u64,
    /// So many of `samples` may be other actors', from before this one was counted.
    pub others: u64,
    /// Bytes of messages in its own samples.
    pub bytes: u64,
}

/// One group on one member.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
pub struct GroupBody {
    /// The group.
    pub group: u32,
    /// `unborn`, `writer`, `follower` or `lost`.
    pub role: String,
    /// Its view, 0 before birth.
    pub view: u64,
    /// The last seq that this member holds.
    pub last_seq: u64,
    /// Its commit.
    pub commit: u64,
    /// Its actors.
    pub actors: u64,
    /// Bytes of its log in memory.
    pub log_bytes: u64,
    /// The members' nodes, the writer first.
    pub members: Vec<u16>,
    /// What each member is known to hold, in the same order; only a writer knows.
    pub held: Vec<u64>,
}

/// One link.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
pub struct LinkBody {
    /// The peer's node id.
    pub peer: u16,
    /// Its incarnation, 0 if it was never met.
    pub incarnation: u64,
    /// Whether the link is up.
    pub up: bool,
    /// Whether the peer says that it is out.
    pub out: bool,
    /// Milliseconds since the peer was last heard.
    pub silent_ms: u64,
    /// Frames sent that are not acked.
    pub unacked: u32,
}

/// A counter.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
pub struct CounterBody {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: u64,
}

/// Where a key lives and how far each member holds its group.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
pub struct WhereBody {
    /// The group as its member sees it.
    pub group: GroupBody,
    /// The node that answers.
    pub node: u16,
    /// Its shard.
    pub shard: u16,
}

/// What the topology log says, and what changed last.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
pub struct TopologyBody {
    /// Position of the last entry; 0 in a cluster without such a log.
    pub position: u64,
    /// The configuration of the voters, from 1.
    pub configuration: u32,
    /// The nodes that vote in it.
    pub voters: Vec<u16>,
    /// The nodes that it knows.
    pub nodes: Vec<NodeStateBody>,
    /// All groups, in order; none before they are born.
    pub groups: Vec<GroupStateBody>,
    /// The last changes, the oldest first.
    pub history: Vec<HappeningBody>,
    /// Groups that were given a shard of a node, in order of node and group.
    pub seats: Vec<SeatBody>,
}

/// On which shard of a node a group lives.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SeatBody {
    /// The node.
    pub node: u16,
    /// The group.
    pub group: u32,
    /// The shard.
    pub shard: u16,
    /// No planner moves it.
    pub pinned: bool,
    /// The position of the entry that said so; 0 where none did.
    pub position: u64,
}

/// A node as the topology log has it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
pub struct NodeStateBody {
    /// Its id.
    pub id: u16,
    /// Its newest process.
    pub incarnation: u64,
    /// `up`, `draining`, `down` or `gone`.
    pub presence: String,
}

/// A group as the topology log has it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct GroupStateBody {
    /// The Config in force.
    pub active: ConfigBody,
    /// The one that is being opened, or none.
    pub pending: Vec<ConfigBody>,
    /// Processes that learn the group's log.
    pub learners: Vec<MemberBody>,
    /// Too few members of the active Config can ever answer.
    pub lost: bool,
    /// The processes that may still hold something of it.
    pub survivors: Vec<MemberBody>,
}

/// One change of the topology log.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
pub struct HappeningBody {
    /// Position of its entry.
    pub position: u64,
    /// When it was proposed, ms since the epoch by its proposer's clock.
    pub wall_ms: u64,
    /// The node that proposed it.
    pub by: u16,
    /// `node`, `created`, `learners`, `proposed`, `activated`, `voters` or `seated`.
    pub what: String,
    /// The node, with its process; of `node` and `seated` alone.
    pub nodes: Vec<NodeStateBody>,
    /// The group; how many of `created`; which configuration of `voters`.
    pub group: u32,
    /// The view, 0 where it has none.
    pub view: u64,
    /// The members' or learners' nodes, the writer first; the nodes that vote, of `voters`.
    pub members: Vec<u16>,
    /// Why, in words.
    pub why: String,
    /// The shard of that node on which the group lives now, of `seated`.
    pub shard: u16,
    /// The group is held there.
    pub pinned: bool,
}

/// An operator's order: one of `ORDER_*`.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
pub struct OrderBody {
    /// Which.
    pub order: u8,
    /// The node that it is about; 0 for none.
    pub node: u16,
    /// The groups that it is about.
    pub groups: Vec<u32>,
    /// For how long, in milliseconds; 0 where no time is meant.
    pub for_ms: u32,
    /// The operator's words.
    pub reason: String,
    /// The topology of a configuration, in canonical bytes; empty where none is meant.
    pub topology: Vec<u8>,
    /// Groups with the shard of the node where they shall live; their node and position say nothing.
    pub seats: Vec<SeatBody>,
}

/// The node shall lose all its memberships.
pub const ORDER_DRAIN: u8 = 1;
/// It shall not.
pub const ORDER_UNDRAIN: u8 = 2;
/// A lost group shall be opened again from what is left of it.
pub const ORDER_RECOVER: u8 = 3;

/// The node's process is down and will never answer again.
pub const ORDER_FORGET: u8 = 4;
/// The node that is given it stands still for a while, as a process that is stopped: a drill.
pub const ORDER_STAND_STILL: u8 = 5;
/// The node joins the cluster: the topology is that of its configuration, the nodes that the cluster was made with and itself.
pub const ORDER_JOIN: u8 = 6;
/// The node, which is down and named by no group, leaves the cluster for good.
pub const ORDER_LEAVE: u8 = 7;
/// Groups shall live on other shards of the node, or be held where they are.
pub const ORDER_SEAT: u8 = 8;
/// Groups that one order seats at most.
pub const SEATS_MAX: usize = 4_096;
/// A node stands still for at most so many milliseconds.
pub const STILL_MS_MAX: u32 = 60_000;

/// What became of an order. One that was taken is proposed to the topology log, and may still get lost there: it is given again until the log
/// shows it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
pub struct OrderedBody {
    /// It was proposed, or is so already.
    pub taken: bool,
    /// Why not.
    pub why: String,
}

/// The archive of a body.
///
/// # Panics
/// If memory runs out: archives are small.
pub fn encode<T>(body: &T) -> AlignedVec
where
    T: for<'a> Serialize<rkyv::api::high::HighSerializer<AlignedVec, rkyv::ser::allocator::ArenaHandle<'a>, Error>>,
{
    rkyv::to_bytes::<Error>(body).expect("small archives fit memory")
}

/// Validates an archive and reads it whole. The bytes may be unaligned: they are copied first.
///
/// # Errors
/// `Body` if it does not validate.
pub fn decode<T>(bytes: &[u8]) -> Result<T, FrameError>
where
    T: Archive,
    T::Archived: for<'a> rkyv::bytecheck::CheckBytes<rkyv::api::high::HighValidator<'a, Error>>
        + Deserialize<T, Strategy<rkyv::de::Pool, Error>>,
{
    let mut aligned = AlignedVec::<16>::with_capacity(bytes.len());
    aligned.extend_from_slice(bytes);
    rkyv::from_bytes::<T, Error>(&aligned).map_err(|_| FrameError::Body)
}
