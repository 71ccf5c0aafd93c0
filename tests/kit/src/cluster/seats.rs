//! Groups that move between the shards of a node, and shards of a node that learn what was decided at instants of their own, as threads do.
//!
//! **Invariant:** each shard of a node learns the same, in the same order.

use waterpark_core::ids::{GroupId, Incarnation, NodeId, ShardId};
use waterpark_core::rules::Rules;
use waterpark_core::time::MS;
use waterpark_core::topology_log::{Entry, Move, Stamp, TopologyState};

use super::Cluster;
use super::controllers::ControlInput;
use super::event::Event;
use crate::reach::Fault;

/// A shard learns later than the others of its node by up to so much.
const LAG_MS: u64 = 4;

/// What the shards of a node learn.
#[derive(Clone, Debug)]
pub(super) enum Lesson {
    /// An entry, with its position.
    Entry(u64, Stamp, Entry),
    /// What all entries up to a position add up to.
    State(Box<TopologyState>),
}

impl<R: Rules> Cluster<R> {
    /// The shards of a node learn something: all at once where no group changes its seat, as it makes no difference then.
    pub(super) fn teach(&mut self, node: usize, lesson: &Lesson) {
        let count = self.nodes[node].shards.len();
        for shard in 0..count {
            if self.faults.seats == 0 || count == 1 {
                self.learn_lesson(node, shard, lesson);
                continue;
            }
            self.nodes[node].unlearned.resize_with(count, Default::default);
            let row = &mut self.nodes[node].unlearned[shard];
            row.push_back(lesson.clone());
            if row.len() > 1 {
                continue;
            }
            let late_ns = match self.seat_rng.below(2) {
                0 => 0,
                _ => self.seat_rng.below(LAG_MS * MS),
            };
            let incarnation = self.nodes[node].incarnation;
            let event = Event::LearnShard {
                node,
                incarnation,
                shard,
            };
            self.schedule(self.now_ns + late_ns, event);
        }
    }

    pub(super) fn on_learn_shard(&mut self, node: usize, incarnation: Incarnation, shard: usize) {
        if self.nodes[node].incarnation != incarnation || self.nodes[node].down {
            return;
        }
        while let Some(lesson) = self.nodes[node]
            .unlearned
            .get_mut(shard)
            .and_then(|row| row.pop_front())
        {
            self.learn_lesson(node, shard, &lesson);
        }
    }

    fn learn_lesson(&mut self, node: usize, shard: usize, lesson: &Lesson) {
        self.turn(node, shard, |shard, now| match lesson {
            Lesson::Entry(position, stamp, entry) => shard.on_decided(now, *position, *stamp, entry),
            Lesson::State(state) => shard.on_state(now, state),
        });
    }

    /// A group shall live on another shard of a node: mostly one that something is asked of.
    pub(super) fn change_seat(&mut self) {
        let node = self.seat_rng.index(self.nodes.len());
        let shards = self.nodes[node].shards.len() as u64;
        if shards < 2 || self.nodes[node].down || self.steward.state.group(GroupId(0)).is_none() {
            return;
        }
        let key = self.seat_rng.index(self.keys.len());
        let group = self.topology.locate(self.keys[key].as_ref()).group;
        let id = NodeId(u16::try_from(node + 1).expect("few"));
        let shard = ShardId(u16::try_from(self.seat_rng.below(shards)).expect("few"));
        let entry = Entry::Seats {
            node: id,
            moves: vec![Move {
                group,
                sees: self.steward.state.seat(id, group).map_or(0, |seat| seat.position),
                shard,
                pinned: self.seat_rng.below(8) == 0,
            }],
            reason: String::new(),
        };
        self.did(Fault::SeatsChanged);
        if self.has_controllers() {
            let by = self.seat_rng.index(self.nodes.len());
            self.tell_controller(by, ControlInput::Propose(Box::new(entry)));
        } else {
            self.decide(entry);
        }
    }
}
