//! Orders about the shards of a node on which groups live, and what is told of them.

use waterpark_wire::body::{HappeningBody, NodeStateBody, OrderBody, SEATS_MAX, SeatBody};

use super::{empty_body, word_of};
use crate::behaviour::Behaviour;
use crate::ids::{GroupId, NodeId, ShardId};
use crate::memory::Memory;
use crate::rules::Rules;
use crate::shard::Shard;
use crate::topology_log::{Entry, Happening, Move, Presence, Seat};

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// The entry that moves groups between the shards of a node; none if all are where they shall be.
    pub(super) fn seating(&self, order: &OrderBody) -> Result<Option<Entry>, String> {
        let node = NodeId(order.node);
        let name = match self.topology.node(node) {
            Some(spec) if self.decided.node(node).presence != Presence::Left => &spec.name,
            _ => return Err(format!("there is no node {}", order.node)),
        };
        let shards = self.settings.shards_of(node);
        if order.seats.is_empty() || order.seats.len() > SEATS_MAX {
            return Err(format!(
                "an order moves from 1 to {SEATS_MAX} groups, this one {}",
                order.seats.len()
            ));
        }
        let mut moves = Vec::new();
        for wanted in &order.seats {
            let group = GroupId(wanted.group);
            if self.decided.group(group).is_none() {
                return Err(format!("there is no group {}", wanted.group));
            }
            if wanted.shard >= shards {
                return Err(format!(
                    "node {name} has shards 0 to {}, not {}",
                    shards - 1,
                    wanted.shard
                ));
            }
            let seat = self.decided.seat(node, group);
            let stands = (self.shard_of(node, group).0, seat.is_some_and(|seat| seat.pinned));
            if stands != (wanted.shard, wanted.pinned) {
                moves.push(Move {
                    group,
                    sees: seat.map_or(0, |seat| seat.position),
                    shard: ShardId(wanted.shard),
                    pinned: wanted.pinned,
                });
            }
        }
        let reason = order.reason.clone();
        Ok((!moves.is_empty()).then_some(Entry::Seats { node, moves, reason }))
    }

    /// All seats that entries gave, in order of node and group.
    pub(crate) fn seat_bodies(&self) -> Vec<SeatBody> {
        let nodes = self.topology.nodes().iter().map(|node| node.id);
        let mut nodes: Vec<NodeId> = nodes.collect();
        nodes.sort_unstable();
        let of_node = |node: NodeId| {
            let body = move |(group, seat): (GroupId, Seat)| seat_body(node, group, seat);
            self.decided.seats(node).map(body)
        };
        nodes.into_iter().flat_map(of_node).collect()
    }
}

fn seat_body(node: NodeId, group: GroupId, seat: Seat) -> SeatBody {
    SeatBody {
        node: node.0,
        group: group.0,
        shard: seat.shard.0,
        pinned: seat.pinned,
        position: seat.position,
    }
}

pub(super) fn happening_bodies(
    row: &Happening,
    node: NodeId,
    groups: &[(GroupId, Seat)],
    reason: &str,
) -> Vec<HappeningBody> {
    let body = |(group, seat): &(GroupId, Seat)| HappeningBody {
        what: "seated".to_owned(),
        nodes: vec![NodeStateBody {
            id: node.0,
            incarnation: 0,
            presence: word_of(Presence::Unknown).to_owned(),
        }],
        group: group.0,
        shard: seat.shard.0,
        pinned: seat.pinned,
        why: reason.to_owned(),
        ..empty_body(row)
    };
    groups.iter().map(body).collect()
}
