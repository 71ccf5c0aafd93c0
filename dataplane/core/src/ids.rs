//! Identifiers with types, made from the plain integers of a header at core's edge.

pub use waterpark_ring::{GroupId, NodeId};

macro_rules! numbers {
    ($($(#[doc = $doc:literal])+ $name:ident($inner:ty);)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    )+};
}

numbers! {
    /// Position of an entry in its group's log, from 1.
    Seq(u64);
    /// Position in the topology log of the Propose that made a Config; 0 before birth.
    View(u64);
    /// Position in the topology log of the Reopen that made a Config; 0 at birth.
    Lineage(u64);
    /// One start of one node's process: 48 bits of start time in ms, 16 random. Newer ones are larger.
    Incarnation(u64);
    /// A shard within its node.
    ShardId(u16);
    /// A link within its shard, dense.
    LinkId(u32);
    /// A client's connection within its shard; the world chooses the number and never uses one twice.
    ClientId(u64);
}

impl Seq {
    /// Before the first entry.
    pub const ZERO: Seq = Seq(0);

    /// The seq after this one.
    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0 + 1)
    }
}

impl ClientId {
    /// Whatever else of this process asks this shard: it has no connection and no frames.
    pub const LOCAL: ClientId = ClientId(u64::MAX);
}

/// One process of one node. A process that restarts is a different member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// Its incarnation.
    pub incarnation: Incarnation,
}
