//! Nodes that join a simulated cluster while it runs, in the midst of whatever else happens to it.
//!
//! Each starts with a configuration of its own, like a real one, and whoever is asked to lets it in. **Invariant:** nobody is told of such a
//! node but by the topology log.

use waterpark_core::ids::NodeId;
use waterpark_core::rules::Rules;
use waterpark_core::time::MS;
use waterpark_core::topology_log::{Entry, Placing, Presence};
use waterpark_ring::Topology;

use super::controllers::{ControlInput, Desk};
use super::event::Event;
use super::{Cluster, node_spec};
use crate::ledger::Violation;
use crate::reach::Fault;

/// An order is given again after so long, in ms.
const AGAIN_MS: u64 = 300;
/// Nodes join within so long, in ms.
const WITHIN_MS: u64 = 6_000;

/// The second node that joins stands in a data centre of its own.
const ELSEWHERE: &str = "AZ-A-1";

impl<R: Rules> Cluster<R> {
    /// The same cluster, which as many nodes join as its faults say.
    pub(super) fn with_joins(mut self) -> Cluster<R> {
        let joins = usize::try_from(self.faults.joins).expect("few");
        for at in 0..joins {
            let fellow = self.rng.index(self.topology.nodes().len());
            let fellow = &self.topology.nodes()[fellow].name;
            let (place, _) = fellow.rsplit_once('-').expect("a name has three parts");
            let name = if at == 1 {
                ELSEWHERE.to_owned()
            } else {
                format!("{place}-{}", 90 + at)
            };
            self.add_joining(&name);
        }
        self
    }

    fn add_joining(&mut self, name: &str) {
        let node = self.nodes.len();
        let shards = 1 + u16::try_from(self.rng.below(2)).expect("few");
        let id = u16::try_from(node + 1).expect("few");
        for other in 0..node {
            let theirs = self.spec_of(other).shards;
            for number in 0..shards.max(theirs) {
                self.links.add([(other, node, number)]);
            }
        }
        self.joining.insert(node, node_spec(id, name, shards));
        self.silent_until_ns.iter_mut().for_each(|row| row.push(0));
        self.silent_until_ns.push(vec![0; node + 1]);
        self.push_node();
        self.desks.push(Desk::without_file());
        let at_ms = 300 + self.rng.below(WITHIN_MS);
        self.schedule(at_ms * MS, Event::Start { node });
        // The order may come before the node has started, and after.
        let order_ms = at_ms.saturating_sub(200) + self.rng.below(400);
        self.schedule(order_ms * MS, Event::Join { node });
    }

    fn spec_of(&self, node: usize) -> &waterpark_ring::NodeSpec {
        let nodes = self.topology.nodes().iter().chain(self.joining.values());
        let mut nodes = nodes.filter(|spec| usize::from(spec.id.0) == node + 1);
        nodes.next().expect("every node has its specification")
    }

    /// The nodes that the configuration of a node has: one that joins has itself beside those that the cluster was made with.
    pub(super) fn topology_at(&self, node: usize, founding: &Topology) -> Topology {
        match self.joining.get(&node) {
            Some(own) => founding
                .grown(std::slice::from_ref(own), &[])
                .expect("its name makes a topology"),
            None => founding.clone(),
        }
    }

    /// Somebody is told to let a node join, again and again until the log shows it.
    pub(super) fn on_join(&mut self, node: usize) {
        let spec = self.joining[&node].clone();
        if self.steward.state.node(spec.id).presence != Presence::Unknown {
            return self.did(Fault::NodeJoined);
        }
        self.schedule(self.now_ns + AGAIN_MS * MS, Event::Join { node });
        let asked = self.rng.index(self.topology.nodes().len());
        if !self.nodes[asked].down {
            let placing = Placing::default();
            let entry = Entry::NodeJoined { node: spec, placing };
            self.tell_controller(asked, ControlInput::Propose(Box::new(entry)));
        }
    }

    /// Whoever was to join is there in the end, and a member of something wherever there is room for that.
    pub(super) fn check_joins(&mut self) {
        let state = &self.steward.state;
        let is_member = |node: NodeId| {
            let mut groups = state.groups();
            groups.any(|(_, group)| group.active.position(node).is_some())
        };
        let is_idle = |node: NodeId| !self.faults.has_little_memory() && !is_member(node);
        let nodes = self.joining.values().map(|spec| spec.id);
        let strangers = nodes.filter(|node| state.node(*node).presence != Presence::Up || is_idle(*node));
        let strangers: Vec<Violation> = strangers.map(Violation::NeverJoined).collect();
        self.report.violations.extend(strangers);
    }
}
