//! On which shard of a node a group lives, and which shards a link joins.
//!
//! Both follow from numbers that never change, so every node and every client computes the same. Groups of one class share a home, and so do
//! the writers of a data centre: a group's number modulo shards would put them all on the same few shards of each node. So numbers are strewn by the
//! golden ratio (Knuth, The Art of Computer Programming, volume 3, 6.4): whatever regular part of the groups a node writes, they lie about evenly.

use crate::keyspace::GroupId;

/// 2³² divided by the golden ratio.
const GOLDEN: u32 = 0x9e37_79b9;

/// The shard of a group on a node of so many, from 0; 0 for a node without any.
#[inline]
#[must_use]
pub fn shard_of(group: GroupId, shards: u16) -> u16 {
    let part = u64::from(group.0.wrapping_mul(GOLDEN));
    u16::try_from((part * u64::from(shards)) >> 32).unwrap_or(u16::MAX)
}

/// The shard at which a link ends on a node with `own` shards, of the links to one with `theirs`: there are as many as the larger of both, from 0.
///
/// Where one number divides the other, a link ends at both shards of each group that it carries.
#[inline]
#[must_use]
pub fn end_of_link(link: u16, own: u16, theirs: u16) -> u16 {
    let links = u32::from(own.max(theirs)).max(1);
    u16::try_from(u32::from(link) * u32::from(own) / links).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::{ClusterId, NodeId};
    use crate::topology::{NodeSpec, Topology, TopologySpec};

    fn topology(zones: &[&str], each: u16, shards: u16) -> Topology {
        let names = zones
            .iter()
            .flat_map(|zone| (1..=each).map(move |node| format!("{zone}-{node}")));
        let node = |(id, name): (u16, String)| NodeSpec {
            id: NodeId(id),
            name,
            host: "127.0.0.1".to_owned(),
            port: 7_000 + 256 * id,
            shards,
        };
        let nodes = (1..).zip(names).map(node).collect();
        Topology::new(TopologySpec::new(ClusterId([3; 16]), nodes)).unwrap()
    }

    /// The busiest shard of any node by the mean of its node: of the groups that it writes, and of all that it holds.
    fn busiest(topology: &Topology, shards: u16) -> (f64, f64) {
        let nodes = topology.nodes().len();
        let (mut written, mut held) = (
            vec![vec![0.0; usize::from(shards)]; nodes],
            vec![vec![0.0; usize::from(shards)]; nodes],
        );
        for group in (0..topology.keyspace().groups()).map(GroupId) {
            let shard = usize::from(shard_of(group, shards));
            for (place, node) in topology.birth().members(group).nodes().iter().enumerate() {
                let node = usize::from(node.0) - 1;
                held[node][shard] += 1.0;
                written[node][shard] += f64::from(u8::from(place == 0));
            }
        }
        let worst = |all: &[Vec<f64>]| {
            let by_mean =
                |row: &Vec<f64>| row.iter().copied().fold(0.0, f64::max) * f64::from(shards) / row.iter().sum::<f64>();
            all.iter().map(by_mean).fold(0.0, f64::max)
        };
        (worst(&written), worst(&held))
    }

    #[test]
    fn no_shard_of_a_node_writes_much_more_than_another() {
        let five = ["FL-A", "FL-B", "TN-A", "TX-A", "UT-A"];
        let eight = ["FL-A", "FL-B", "TN-A", "TN-B", "TX-A", "TX-B", "UT-A", "UT-B"];
        let table: [(&[&str], u16, u16, f64, f64); 6] = [
            (&five, 1, 2, 1.1, 1.05),
            (&eight, 1, 2, 1.15, 1.05),
            (&eight, 1, 4, 1.15, 1.1),
            (&eight, 4, 8, 1.45, 1.2),
            (&eight, 4, 48, 1.5, 1.3),
            (&eight, 4, 64, 1.5, 1.3),
        ];
        for (zones, each, shards, written_max, held_max) in table {
            let (written, held) = busiest(&topology(zones, each, shards), shards);
            let label = format!(
                "{} zones of {each} nodes with {shards} shards: {written:.2}, {held:.2}",
                zones.len()
            );
            assert!(written <= written_max && held <= held_max, "{label}");
        }
    }

    #[test]
    fn a_link_ends_at_the_shards_of_its_groups_on_both_nodes() {
        for (own, theirs) in [(1, 1), (2, 2), (7, 7), (1, 5), (6, 3), (4, 64), (64, 64)] {
            for group in (0..4_096).map(GroupId) {
                let ends = (shard_of(group, own), shard_of(group, theirs));
                let joins = |link: &u16| (end_of_link(*link, own, theirs), end_of_link(*link, theirs, own)) == ends;
                assert!(
                    (0..own.max(theirs)).any(|link| joins(&link)),
                    "{own} and {theirs}: {group:?}"
                );
            }
        }
        // Where they do not divide each other, every shard has links all the same.
        for (own, theirs) in [(2, 3), (5, 7), (48, 64)] {
            let mut ends: Vec<u16> = (0..own.max(theirs))
                .map(|link| end_of_link(link, own, theirs))
                .collect();
            ends.dedup();
            assert!(ends.into_iter().eq(0..own), "{own} and {theirs}");
        }
    }

    #[test]
    fn shards_are_those_that_there_are() {
        for shards in [1, 2, 3, 64, u16::MAX] {
            assert!((0..10_000).all(|group| shard_of(GroupId(group), shards) < shards));
        }
        assert_eq!((shard_of(GroupId(5), 0), end_of_link(0, 0, 0)), (0, 0));
    }
}
