//! Where committed entries come from: the members themselves, over a connection of its own to each shard.
//!
//! It judges nothing that it reads. **Invariant:** the process at the other end has proven the cluster's key, and has said which node and
//! which shard it is, before a single entry of it is handed on.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use waterpark_client::blocking::BulkReader;
use waterpark_client::{Address, ClientError};
use waterpark_ring::{GroupId, Topology, shard_of};

/// How long one read from a member may take.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// One committed entry, as far as it is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// Its seq.
    pub seq: u64,
    /// The actor's canonical key; `None` where reading began behind the entry that introduces it.
    pub key: Option<&'a [u8]>,
    /// The message; `None` for an entry without one: a tick or a void.
    pub message: Option<&'a [u8]>,
    /// Its message was dropped by the rule of its kind.
    pub is_dropped: bool,
}

/// What members hold of groups.
pub trait Logs {
    /// The node that answers in the place of a member.
    ///
    /// # Errors
    /// Why nobody does.
    fn who(&mut self, member: u16, group: GroupId) -> Result<u16, ClientError>;

    /// Hands on the committed entries of a group, as one member holds them, in order of seq, from a seq on. Returns the first seq that was
    /// not read, and the member's commit.
    ///
    /// # Errors
    /// Why they cannot be read. Entries that were handed on before stand.
    fn read(
        &mut self,
        member: u16,
        group: GroupId,
        from_seq: u64,
        on_entry: &mut dyn FnMut(&Held<'_>),
    ) -> Result<(u64, u64), ClientError>;

    /// What was learnt from a member is of no more use: a read from it has failed.
    fn forget(&mut self, member: u16);
}

/// The members of a cluster that runs.
#[derive(Debug)]
pub struct Members<'a> {
    topology: &'a Topology,
    key: [u8; 32],
    /// The shard on which a group was last found on a node, where it is not the one that its number says.
    seats: BTreeMap<(u16, GroupId), u16>,
    /// By node and shard.
    readers: BTreeMap<(u16, u16), Open>,
}

#[derive(Debug)]
struct Open {
    reader: BulkReader,
    node: u16,
}

impl<'a> Members<'a> {
    /// The members of the groups of a topology. Nothing is connected before it is asked for.
    #[must_use]
    pub fn new(topology: &'a Topology, key: [u8; 32]) -> Members<'a> {
        Members {
            topology,
            key,
            seats: BTreeMap::new(),
            readers: BTreeMap::new(),
        }
    }

    fn shards(&self, member: u16) -> u16 {
        let node = self.topology.nodes().iter().find(|node| node.id.0 == member);
        node.map_or(0, |node| node.shards)
    }

    fn open(&mut self, member: u16, group: GroupId) -> Result<&mut Open, ClientError> {
        let node = self.topology.nodes().iter().find(|node| node.id.0 == member);
        let node = node.ok_or(ClientError::NotMember { group: group.0 })?;
        let shard = self.seats.get(&(member, group)).copied();
        let shard = shard.unwrap_or_else(|| shard_of(group, node.shards));
        match self.readers.entry((member, shard)) {
            Entry::Occupied(open) => Ok(open.into_mut()),
            Entry::Vacant(place) => {
                let address = Address {
                    host: node.host.clone(),
                    port: node.port + 64 + shard,
                };
                let reader = BulkReader::connect(&address, &self.key, READ_TIMEOUT)?;
                let welcome = reader.welcome();
                if welcome.cluster != self.topology.spec().cluster.0 {
                    return Err(ClientError::OtherCluster);
                }
                if welcome.shard != shard {
                    return Err(ClientError::WrongNode);
                }
                let node = welcome.node;
                Ok(place.insert(Open { reader, node }))
            }
        }
    }
}

impl Logs for Members<'_> {
    fn who(&mut self, member: u16, group: GroupId) -> Result<u16, ClientError> {
        self.open(member, group).map(|open| open.node)
    }

    fn read(
        &mut self,
        member: u16,
        group: GroupId,
        from_seq: u64,
        on_entry: &mut dyn FnMut(&Held<'_>),
    ) -> Result<(u64, u64), ClientError> {
        let mut is_begun = false;
        let mut others = 0..self.shards(member);
        loop {
            let open = self.open(member, group)?;
            let read = open.reader.read(group.0, from_seq, |entry| {
                is_begun = true;
                on_entry(&Held {
                    seq: entry.seq,
                    key: entry.key,
                    message: (!entry.is_tick() && !entry.is_void()).then_some(entry.message),
                    is_dropped: entry.is_dropped(),
                });
            });
            // Groups move between the shards of a node: nobody is asked where, each shard is.
            match (read, others.next()) {
                (Err(ClientError::NotMember { .. }), Some(shard)) if !is_begun => {
                    // A reader that has failed is closed.
                    self.forget(member);
                    self.seats.insert((member, group), shard);
                }
                (read, _) => return read,
            }
        }
    }

    fn forget(&mut self, member: u16) {
        self.readers.retain(|(node, _), _| *node != member);
    }
}
