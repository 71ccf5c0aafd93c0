//! A Config: who the members of a group are, by incarnation, and how many an ack and a view change need. And the settings of a shard.

use waterpark_wire::body::{ConfigBody, MemberBody};

use crate::ids::{GroupId, Incarnation, Lineage, Member, NodeId, ShardId, View};

/// Members that a group has at most: one writer and four followers.
pub const MEMBERS_MAX: usize = 5;

/// The members of a group in one view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The group.
    pub group: GroupId,
    /// The view that it is the Config of.
    pub view: View,
    /// The lineage.
    pub lineage: Lineage,
    /// The members; `members[0]` is the writer.
    pub members: Vec<Member>,
    /// W: members that hold an entry before it is acked.
    pub write_quorum: usize,
    /// R: members that the opener of a newer view must hear.
    pub read_quorum: usize,
}

impl Config {
    /// The Config with the majority quorums of its size: 3 and 3 for five members.
    ///
    /// # Panics
    /// If there are no members or more than [`MEMBERS_MAX`]: a bug in this process.
    #[must_use]
    pub fn new(group: GroupId, view: View, lineage: Lineage, members: &[Member]) -> Config {
        let n = members.len();
        assert!((1..=MEMBERS_MAX).contains(&n));
        let write_quorum = n / 2 + 1;
        let read_quorum = n + 1 - write_quorum;
        let config = Config {
            group,
            view,
            lineage,
            members: members.to_vec(),
            write_quorum,
            read_quorum,
        };
        assert!(config.quorums_meet());
        config
    }

    /// Whether any read quorum meets any write quorum, and a write quorum is never one copy of several.
    #[must_use]
    pub fn quorums_meet(&self) -> bool {
        let n = self.members.len();
        let meets = self.write_quorum + self.read_quorum > n && self.write_quorum >= self.read_quorum;
        meets && self.write_quorum <= n && (n == 1 || self.write_quorum >= 2)
    }

    /// The writer.
    #[must_use]
    pub fn writer(&self) -> Member {
        self.members[0]
    }

    /// Which member this node is.
    #[must_use]
    pub fn position(&self, node: NodeId) -> Option<usize> {
        self.members.iter().position(|member| member.node == node)
    }

    /// As it travels.
    #[must_use]
    pub fn to_body(&self) -> ConfigBody {
        let quorum = |n: usize| u8::try_from(n).expect("at most five");
        ConfigBody {
            group: self.group.0,
            view: self.view.0,
            lineage: self.lineage.0,
            members: self
                .members
                .iter()
                .map(|m| MemberBody {
                    node: m.node.0,
                    incarnation: m.incarnation.0,
                })
                .collect(),
            write_quorum: quorum(self.write_quorum),
            read_quorum: quorum(self.read_quorum),
        }
    }

    /// From a peer; `None` if it is no Config: too many members, one twice, or quorums that do not meet.
    #[must_use]
    pub fn from_body(body: &ConfigBody) -> Option<Config> {
        let member = |m: &MemberBody| Member {
            node: NodeId(m.node),
            incarnation: Incarnation(m.incarnation),
        };
        let members: Vec<Member> = body.members.iter().map(member).collect();
        let config = Config {
            group: GroupId(body.group),
            view: View(body.view),
            lineage: Lineage(body.lineage),
            members,
            write_quorum: usize::from(body.write_quorum),
            read_quorum: usize::from(body.read_quorum),
        };
        (body.view != 0 && config.is_sound()).then_some(config)
    }

    /// Whether it can be a Config at all: one to five members on nodes of their own, and quorums that meet.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let n = self.members.len();
        let twice = |i: usize| {
            let node = self.members[i].node;
            self.members[..i].iter().any(|other| other.node == node)
        };
        (1..=MEMBERS_MAX).contains(&n) && !(0..n).any(twice) && self.quorums_meet()
    }
}

/// Who says that a group is born, and who its members are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Births {
    /// Its writer by the ring, once it has met all members: the topology never changes.
    Writer,
    /// The topology log.
    TopologyLog,
}

/// What a shard is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who says that a group is born.
    pub births: Births,
    /// This node.
    pub node: NodeId,
    /// This process.
    pub incarnation: Incarnation,
    /// This shard.
    pub shard: ShardId,
    /// The shards of each node, by node id; 0 where there is no such node.
    pub shards: Vec<u16>,
    /// Names of the nodes, by node id.
    pub names: Vec<String>,
    /// The driver's name, for the status document.
    pub driver: String,
    /// Limits and periods.
    pub limits: Limits,
}

impl Settings {
    /// How many shards a node has.
    ///
    /// # Panics
    /// If the node is not in the topology: a bug in this process.
    #[must_use]
    pub fn shards_of(&self, node: NodeId) -> u16 {
        self.shards[usize::from(node.0)]
    }
}

/// Everything is bounded at start.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The longest message, in bytes.
    pub message_bytes_max: usize,
    /// Bytes of a frame on a link at which no more runs are added.
    pub link_frame_bytes: usize,
    /// Bytes that may wait for a link beside runs.
    pub link_backlog_bytes_max: usize,
    /// Numbered frames that may be un-acked on a link.
    pub link_frames_max: usize,
    /// Bytes that may wait for a client that does not read; beyond it is disconnected.
    pub client_backlog_bytes_max: usize,
    /// Requests of one group that may wait for their commit, at most: fewer may in a shard that commits less.
    pub waiting_per_group_max: usize,
    /// Requests of all groups of a shard together that may: what is refused beyond them would only have waited longer.
    pub waiting_per_shard_max: usize,
    /// Requests that a mailroom may have passed on without a reply.
    pub pending_max: usize,
    /// Rows of lanes in a group.
    pub lanes_per_group_max: usize,
    /// Requests of one group that may be held for an earlier number.
    pub held_per_group_max: usize,
    /// A sign of life goes over a link that was idle for this long, in ms.
    pub heartbeat_ms: u64,
    /// T: a member silent for this long is not counted as heard, in ms.
    pub silence_ms: u64,
    /// A link whose peer is silent, or that acks nothing, for this long is cut and dialled again, in ms.
    pub link_dead_ms: u64,
    /// How long a gap in an ordered lane is held, in ms.
    pub gap_hold_ms: u64,
    /// A log that has grown by less is not swept for its growth, in bytes.
    pub sweep_bytes_min: u64,
    /// Messages that became too old, or that nobody wants kept, are swept this often, in ms of group time.
    pub sweep_ms: u64,
    /// How much of one group's log is swept with one tick, in bytes.
    pub sweep_portion_bytes: u64,
    /// The share of the memory budget above which new data is refused, in percent.
    pub full_percent: u64,
    /// Bytes of logs and states for members that lack them, in one frame of a link over which runs are under way.
    pub transfer_frame_bytes: usize,
    /// The shortest portion of a log or state that is given at a time, in bytes.
    pub transfer_portion_bytes: usize,
    /// Bytes of portions that may be under way on one link, at the most.
    pub transfer_window_bytes_max: usize,
    /// Above so many bytes of states that are kept for those who ask for their parts no other one is made.
    pub states_kept_bytes_max: usize,
    /// After each so many entries of a group a part of its state is hashed and compared between its members. A power of two.
    pub state_hash_entries: u64,
    /// About so many entries take effect at once on members that lag far behind: the rest with the next ticks, so that nothing else waits for it.
    pub apply_entries: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message_bytes_max: 1 << 20,
            link_frame_bytes: 128 << 10,
            link_backlog_bytes_max: 512 << 10,
            link_frames_max: 64,
            client_backlog_bytes_max: 4 << 20,
            waiting_per_group_max: 16_384,
            waiting_per_shard_max: 32_768,
            pending_max: 65_536,
            lanes_per_group_max: 4_096,
            held_per_group_max: 1_024,
            heartbeat_ms: 100,
            silence_ms: 500,
            link_dead_ms: 3_000,
            gap_hold_ms: 200,
            sweep_bytes_min: 64 << 10,
            sweep_ms: 60_000,
            sweep_portion_bytes: 1 << 20,
            full_percent: 95,
            transfer_frame_bytes: 16 << 10,
            transfer_portion_bytes: 32 << 10,
            transfer_window_bytes_max: 8 << 20,
            states_kept_bytes_max: 64 << 20,
            state_hash_entries: 1 << 10,
            apply_entries: 4_096,
        }
    }
}
