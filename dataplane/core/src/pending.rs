//! What a mailroom has passed on: each request is kept until its reply or its deadline, and sent again when a link's epoch ends.

use crate::ids::{ClientId, GroupId, NodeId, ShardId};

/// Where a kept request has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Nowhere yet: no link to the writer is up.
    Never,
    /// To the writer's node or shard, so many times.
    Times(u32),
}

/// A request that was passed on.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) client: ClientId,
    /// The client's own correlation.
    pub(crate) correlation: u64,
    pub(crate) to: NodeId,
    pub(crate) group: GroupId,
    pub(crate) number: u32,
    /// The whole item, for sending it again.
    pub(crate) bytes: Vec<u8>,
    /// Monotonic ns.
    pub(crate) arrived_ns: u64,
    /// Monotonic ns.
    pub(crate) deadline_ns: u64,
    /// It is sent again then, whatever becomes of the topology; monotonic ns.
    pub(crate) again_ns: u64,
    pub(crate) sent: Sent,
}

#[derive(Debug, Default)]
struct Row {
    generation: u16,
    pending: Option<Pending>,
}

/// The requests that one shard's mailroom has passed on.
#[derive(Debug)]
pub(crate) struct Pendings {
    shard: ShardId,
    rows: Vec<Row>,
    free: Vec<u32>,
    limit: usize,
    /// No row has an earlier deadline, monotonic ns.
    pub(crate) first_due_ns: u64,
}

impl Pendings {
    pub(crate) fn new(shard: ShardId, limit: usize) -> Pendings {
        Pendings {
            shard,
            rows: Vec::new(),
            free: Vec::new(),
            limit,
            first_due_ns: u64::MAX,
        }
    }

    /// The shard that a correlation came from.
    pub(crate) fn shard_of(correlation: u64) -> ShardId {
        ShardId(u16::try_from(correlation >> 48).expect("sixteen bits"))
    }

    /// Whether nothing is kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.len() == self.free.len()
    }

    /// Whether one more fits.
    pub(crate) fn has_room(&self) -> bool {
        self.rows.len() - self.free.len() < self.limit
    }

    /// Keeps a request; the correlation under which its reply will come.
    pub(crate) fn keep(&mut self, pending: Pending) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.rows.push(Row::default());
            u32::try_from(self.rows.len() - 1).expect("bounded")
        });
        let row = &mut self.rows[index as usize];
        row.generation = row.generation.wrapping_add(1);
        row.pending = Some(pending);
        u64::from(self.shard.0) << 48 | u64::from(row.generation) << 32 | u64::from(index)
    }

    fn row(&mut self, correlation: u64) -> Option<(u32, &mut Row)> {
        let index = u32::try_from(correlation & u64::from(u32::MAX)).ok()?;
        let generation = u16::try_from(correlation >> 32 & 0xFFFF).ok()?;
        let row = self.rows.get_mut(index as usize)?;
        (row.generation == generation).then_some((index, row))
    }

    /// Takes a request out: its reply came. `None` if it is gone.
    pub(crate) fn take(&mut self, correlation: u64) -> Option<Pending> {
        let (index, row) = self.row(correlation)?;
        let pending = row.pending.take()?;
        self.free.push(index);
        Some(pending)
    }

    /// A kept request.
    pub(crate) fn get(&mut self, correlation: u64) -> Option<&mut Pending> {
        self.row(correlation)?.1.pending.as_mut()
    }

    /// The correlations of all kept requests that fit, in order of row.
    pub(crate) fn select(&self, fits: impl Fn(&Pending) -> bool) -> Vec<u64> {
        let shard = u64::from(self.shard.0) << 48;
        let rows = (0u64..).zip(&self.rows);
        let kept = rows.filter(|(_, row)| row.pending.as_ref().is_some_and(&fits));
        kept.map(|(index, row)| shard | u64::from(row.generation) << 32 | index)
            .collect()
    }

    /// The earliest instant at which a row has to be looked at.
    pub(crate) fn earliest(&self, due: impl Fn(&Pending) -> u64) -> u64 {
        self.rows
            .iter()
            .filter_map(|row| row.pending.as_ref())
            .map(due)
            .min()
            .unwrap_or(u64::MAX)
    }
}
