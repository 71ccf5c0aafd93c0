//! Where messages go: the slot table, and keys that were hashed once.
//!
//! The table may come from any node. It is a hint: a wrong one costs a hop or a `NotWriter`, never a message. What cannot change, the
//! cluster and its number of groups, is held against every later table.

use std::collections::BTreeMap;
use std::fmt;

use waterpark_ring::{ClusterId, FACILITY_FIELD, GroupId, KeyRef, Keyspace, shard_of};
use waterpark_wire::FrameError;
use waterpark_wire::body::SlotTableBody;

use crate::error::ClientError;

/// Where a shard listens for clients.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Name or number of the host.
    pub host: String,
    /// The shard's port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl std::str::FromStr for Address {
    type Err = ClientError;

    /// Reads `host:port`; a host in brackets may hold colons.
    fn from_str(text: &str) -> Result<Address, ClientError> {
        let wrong = ClientError::Io(std::io::ErrorKind::InvalidInput);
        let (host, port) = text.rsplit_once(':').ok_or(wrong)?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(wrong);
        }
        Ok(Address {
            host: host.to_owned(),
            port: port.parse().map_err(|_| wrong)?,
        })
    }
}

/// A key whose group was computed: messages to one actor hash it once.
#[derive(Clone, Copy, Debug)]
pub struct Prepared<'a> {
    /// The canonical bytes.
    pub key: KeyRef<'a>,
    /// Keyed by the cluster.
    pub hash: u64,
    /// The key's group, for ever.
    pub group: GroupId,
}

/// What the table says of one node.
#[derive(Clone, Debug)]
pub(crate) struct NodePlace {
    pub(crate) id: u16,
    pub(crate) host: String,
    pub(crate) native_port: u16,
    pub(crate) shards: u16,
}

impl NodePlace {
    pub(crate) fn address(&self, shard: u16) -> Address {
        Address {
            host: self.host.clone(),
            port: self.native_port.saturating_add(shard),
        }
    }
}

/// The learnt table.
#[derive(Debug)]
pub(crate) struct Routing {
    keyspace: Keyspace,
    /// Facilities that are bound to a class, ascending.
    facilities: Vec<(Vec<u8>, u32)>,
    pub(crate) nodes: Vec<NodePlace>,
    /// The writer of each group: its place in `nodes`.
    pub(crate) writers: Vec<u32>,
    /// Groups that do not live on the shard that their number says, by node and group.
    seats: BTreeMap<(u16, u32), u16>,
    pub(crate) message_bytes_max: usize,
}

impl Routing {
    /// Checks a table whole.
    ///
    /// # Errors
    /// `Frame(Body)` if numbers or nodes contradict each other.
    pub(crate) fn new(body: &SlotTableBody) -> Result<Routing, ClientError> {
        let malformed = ClientError::Frame(FrameError::Body);
        let keyspace = Keyspace::new(ClusterId(body.cluster), body.groups, body.classes).map_err(|_| malformed)?;
        let mut facilities: Vec<(Vec<u8>, u32)> = body.facilities.iter().map(|f| (f.name.clone(), f.class)).collect();
        facilities.sort_unstable();
        let place = |node: &waterpark_wire::body::NodeBody| NodePlace {
            id: node.id,
            host: node.host.clone(),
            native_port: node.native_port,
            shards: node.shards,
        };
        let mut nodes: Vec<NodePlace> = body.nodes.iter().map(place).collect();
        nodes.sort_unstable_by_key(|node| node.id);
        let sound = body.slots.len() == body.groups as usize
            && facilities.iter().all(|(_, class)| *class < body.classes)
            && nodes.iter().all(|node| node.shards > 0 && node.id > 0)
            && nodes.windows(2).all(|pair| pair[0].id < pair[1].id);
        if !sound {
            return Err(malformed);
        }
        let writer = |slot: &Vec<u16>| {
            let at = nodes.binary_search_by_key(slot.first()?, |node| node.id).ok()?;
            u32::try_from(at).ok()
        };
        let writers = body.slots.iter().map(writer).collect::<Option<Vec<u32>>>();
        Ok(Routing {
            keyspace,
            facilities,
            writers: writers.ok_or(malformed)?,
            nodes,
            seats: (body.seats.iter())
                .map(|seat| ((seat.node, seat.group), seat.shard))
                .collect(),
            message_bytes_max: body.message_bytes_max as usize,
        })
    }

    /// Whether another table can be of the same cluster.
    pub(crate) fn agrees(&self, other: &Routing) -> bool {
        self.keyspace == other.keyspace
    }

    pub(crate) fn groups(&self) -> u32 {
        self.keyspace.groups()
    }

    /// The shard of a group on a node, by its place in `nodes`.
    pub(crate) fn shard(&self, place: usize, group: u32) -> u16 {
        let node = &self.nodes[place];
        let seat = self.seats.get(&(node.id, group)).copied();
        seat.filter(|shard| *shard < node.shards)
            .unwrap_or_else(|| shard_of(GroupId(group), node.shards))
    }

    /// A node's place in `nodes`.
    pub(crate) fn node(&self, id: u16) -> Option<usize> {
        self.nodes.binary_search_by_key(&id, |node| node.id).ok()
    }

    pub(crate) fn prepare<'a>(&self, key: KeyRef<'a>) -> Prepared<'a> {
        let hash = self.keyspace.hash(key.bytes());
        Prepared {
            key,
            hash,
            group: self.keyspace.group(hash, self.class_of(key)),
        }
    }

    fn class_of(&self, key: KeyRef<'_>) -> Option<u32> {
        if self.facilities.is_empty() {
            return None;
        }
        let facility = key.field(FACILITY_FIELD)?;
        let at = self
            .facilities
            .binary_search_by(|(name, _)| name.as_slice().cmp(facility));
        at.ok().map(|at| self.facilities[at].1)
    }
}
