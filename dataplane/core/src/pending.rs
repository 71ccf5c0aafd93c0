//! What a mailroom has passed on: each request is kept until its reply or its deadline, and sent again when a link's epoch ends, or when
//! its group gets another writer.
//!
//! **Invariant:** the rows of a group are chained in the order in which they were kept, each once.

use crate::account::bytes_of;
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

/// No row.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Row {
    generation: u16,
    pending: Option<Pending>,
    /// The rows before and behind it among those of its group.
    before: u32,
    behind: u32,
}

/// The first and last row of a group, in the order in which they were kept.
#[derive(Clone, Copy, Debug)]
struct Chain {
    first: u32,
    last: u32,
}

const EMPTY: Chain = Chain {
    first: NONE,
    last: NONE,
};

/// The requests that one shard's mailroom has passed on.
#[derive(Debug)]
pub(crate) struct Pendings {
    shard: ShardId,
    rows: Vec<Row>,
    free: Vec<u32>,
    /// By group: what waits for one is found without a look at the others.
    chains: Vec<Chain>,
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
            chains: Vec::new(),
            limit,
            first_due_ns: u64::MAX,
        }
    }

    /// The shard that a correlation came from.
    pub(crate) fn shard_of(correlation: u64) -> ShardId {
        ShardId(u16::try_from(correlation >> 48).expect("sixteen bits"))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len() - self.free.len()
    }

    /// Bytes set aside for all rows and what they keep.
    pub(crate) fn kept_bytes(&self) -> u64 {
        let kept = self.rows.iter().filter_map(|row| row.pending.as_ref());
        let items: usize = kept.map(|pending| pending.bytes.capacity()).sum();
        items as u64 + bytes_of(&self.rows) + bytes_of(&self.free) + bytes_of(&self.chains)
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
            self.rows.push(Row {
                generation: 0,
                pending: None,
                before: NONE,
                behind: NONE,
            });
            u32::try_from(self.rows.len() - 1).expect("bounded")
        });
        let at = pending.group.0 as usize;
        if at >= self.chains.len() {
            self.chains.resize(at + 1, EMPTY);
        }
        let last = std::mem::replace(&mut self.chains[at].last, index);
        match self.rows.get_mut(last as usize) {
            Some(last) => last.behind = index,
            None => self.chains[at].first = index,
        }
        let row = &mut self.rows[index as usize];
        row.generation = row.generation.wrapping_add(1);
        row.pending = Some(pending);
        (row.before, row.behind) = (last, NONE);
        self.correlation(index, &self.rows[index as usize])
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
        let (before, behind) = (row.before, row.behind);
        let chain = &mut self.chains[pending.group.0 as usize];
        match self.rows.get_mut(before as usize) {
            Some(before) => before.behind = behind,
            None => chain.first = behind,
        }
        match self.rows.get_mut(behind as usize) {
            Some(behind) => behind.before = before,
            None => chain.last = before,
        }
        self.free.push(index);
        Some(pending)
    }

    /// A kept request.
    pub(crate) fn get(&mut self, correlation: u64) -> Option<&mut Pending> {
        self.row(correlation)?.1.pending.as_mut()
    }

    /// The correlations of all kept requests that fit, in order of row.
    pub(crate) fn select(&self, fits: impl Fn(&Pending) -> bool) -> Vec<u64> {
        let rows = (0u32..).zip(&self.rows);
        let kept = rows.filter(|(_, row)| row.pending.as_ref().is_some_and(&fits));
        kept.map(|(index, row)| self.correlation(index, row)).collect()
    }

    /// The correlations of what is kept for a group, in the order in which it came.
    pub(crate) fn of_group(&self, group: GroupId) -> Vec<u64> {
        let mut at = self.chains.get(group.0 as usize).map_or(NONE, |chain| chain.first);
        let mut found = Vec::new();
        while let Some(row) = self.rows.get(at as usize) {
            found.push(self.correlation(at, row));
            at = row.behind;
        }
        found
    }

    fn correlation(&self, index: u32, row: &Row) -> u64 {
        u64::from(self.shard.0) << 48 | u64::from(row.generation) << 32 | u64::from(index)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(group: u32, number: u32) -> Pending {
        Pending {
            client: ClientId(1),
            correlation: 0,
            to: NodeId(1),
            group: GroupId(group),
            number,
            bytes: Vec::new(),
            arrived_ns: 0,
            deadline_ns: 0,
            again_ns: u64::MAX,
            sent: Sent::Never,
        }
    }

    fn numbers(pendings: &mut Pendings, group: u32) -> Vec<u32> {
        let of_group = pendings.of_group(GroupId(group));
        of_group
            .iter()
            .map(|correlation| pendings.get(*correlation).unwrap().number)
            .collect()
    }

    #[test]
    fn what_is_kept_for_a_group_is_found_in_the_order_in_which_it_came_whichever_goes() {
        let mut pendings = Pendings::new(ShardId(2), 100);
        let kept: Vec<u64> = (0..12)
            .map(|number| pendings.keep(pending(number % 3, number)))
            .collect();
        assert_eq!(numbers(&mut pendings, 1), [1, 4, 7, 10]);
        // One in the middle, the first, and the last; then rows are used again.
        for (gone, left) in [(4, vec![1, 7, 10]), (1, vec![7, 10]), (10, vec![7])] {
            assert_eq!(pendings.take(kept[gone]).unwrap().number as usize, gone);
            assert_eq!(numbers(&mut pendings, 1), left);
        }
        for number in 20..23 {
            pendings.keep(pending(1, number));
        }
        assert_eq!(numbers(&mut pendings, 1), [7, 20, 21, 22]);
        assert_eq!(numbers(&mut pendings, 0), [0, 3, 6, 9]);
        assert_eq!(numbers(&mut pendings, 2), [2, 5, 8, 11]);
        for correlation in pendings.of_group(GroupId(1)) {
            assert!(pendings.take(correlation).is_some());
            assert!(pendings.take(correlation).is_none(), "a row goes once");
        }
        assert!(numbers(&mut pendings, 1).is_empty());
        assert!(
            numbers(&mut pendings, 9).is_empty(),
            "a group that nothing was ever kept for"
        );
    }
}
