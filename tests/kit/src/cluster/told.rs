//! A cluster that a test drives: its own kinds, requests that it tells clients to send, faults when it says so, and what came back.
//!
//! It judges nothing; what must hold of any kind is checked at the end like that of the simulator's own. **Invariant:** whatever a test does
//! stays within the fault model, or it is refused.

use waterpark_core::behaviour::Behaviour;
use waterpark_core::config::Births;
use waterpark_core::rules::Rules;
use waterpark_core::time::MS;
use waterpark_ring::{GroupId, Key};
use waterpark_wire::reply::Outcome;

use super::event::Event;
use super::{Cluster, Size, WALL_MS};
use crate::behaviour::SimKinds;
use crate::client::RequestId;
use crate::faults::Faults;
use crate::reach::Fault;

/// Groups of such a cluster: some actors share one and some do not.
const GROUPS: u32 = 16;
/// A read that was not answered is asked again after this, in ms.
const READ_AGAIN_MS: u64 = 250;

/// A cluster to be driven.
#[derive(Clone, Debug)]
pub struct Told {
    /// The seed of all that is drawn.
    pub seed: u64,
    /// Its nodes, as `DC-AZ-N`.
    pub names: Vec<String>,
    /// Shards of each node.
    pub shards: u16,
    /// What happens to it on its own.
    pub faults: Faults,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// How it ended.
    pub outcome: Outcome,
    /// The reply's bytes; none where it was refused before it ran.
    pub reply: Vec<u8>,
    /// When, in virtual ms; 0 where it was refused before it ran.
    pub at_ms: u64,
}

impl<R: Rules> Cluster<R> {
    /// A cluster of whole nodes whose actors are of the kinds that a test brings.
    ///
    /// # Panics
    /// If the names make no topology.
    #[must_use]
    pub fn told<B: Behaviour + 'static>(told: &Told, behaviour: B) -> Cluster<R>
    where
        B::State: 'static,
    {
        let names: Vec<&str> = told.names.iter().map(String::as_str).collect();
        let size = Size {
            groups: GROUPS,
            actors: 0,
            clients: Some(0),
        };
        let shards = vec![told.shards; names.len()];
        let faults = told.faults.clone();
        let mut cluster = Cluster::sized(told.seed, Births::TopologyLog, size, &names, &shards, faults, 0);
        cluster.kinds = SimKinds::brought(behaviour);
        cluster.with_controllers()
    }

    /// How many nodes it has.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.topology.nodes().len()
    }

    /// The virtual time, in ms since its beginning.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ns / MS
    }

    /// One client more, which asks for what it is told to.
    pub fn add_told(&mut self) -> u32 {
        let client = self.add_client((WALL_MS + self.now_ns / MS) / 1_000, false);
        self.clients[client as usize].is_told = true;
        self.schedule(self.now_ns, Event::Step { client });
        client
    }

    /// A client asks an actor for something, now and again until it is answered.
    pub fn ask_for(&mut self, client: u32, key: &Key, message: &[u8]) -> RequestId {
        let group = self.topology.locate(key.as_ref()).group;
        if !self.keys.contains(key) {
            self.keys.push(key.clone());
        }
        let id = self.clients[client as usize].open(group, key.clone(), message.to_vec());
        self.report.opened += 1;
        self.readers.history.on_open(id, self.now_ns);
        self.history.on_ask(id, key.clone(), message.to_vec(), self.now_ns);
        self.attempt(id);
        id
    }

    /// What became of a request; `None` while it is under way.
    #[must_use]
    pub fn answered(&self, id: RequestId) -> Option<Answered> {
        if let Some((at_ns, outcome, reply)) = self.history.answered(id) {
            let reply = reply.to_vec();
            let at_ms = at_ns / MS;
            return Some(Answered { outcome, reply, at_ms });
        }
        let outcome = self.ledger.refused(id)?;
        Some(Answered {
            outcome,
            reply: Vec::new(),
            at_ms: 0,
        })
    }

    /// How many requests that were told are under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.clients.iter().map(|client| client.open.len()).sum()
    }

    /// Reads an actor with everything that was acked before, as its kind shows it: empty if nothing was ever asked of it. `None` if no answer
    /// came within so many virtual ms.
    pub fn show(&mut self, key: &Key, within_ms: u64) -> Option<Vec<u8>> {
        let until_ns = self.now_ns + within_ms * MS;
        let mut asked = Vec::new();
        while self.now_ns < until_ns {
            asked.push(self.ask_for_test(key.clone()));
            let again_ns = self.now_ns + READ_AGAIN_MS * MS;
            while self.now_ns < again_ns.min(until_ns) {
                self.run_until(self.now_ns + MS);
                let shown = asked.iter().find_map(|asked| self.readers.shown[asked].clone());
                if shown.is_some() {
                    return shown;
                }
            }
        }
        None
    }

    /// The group that an actor is of, and the node that writes it now; `None` before its birth.
    #[must_use]
    pub fn writer_of(&self, key: &Key) -> Option<(GroupId, usize)> {
        let group = self.topology.locate(key.as_ref()).group;
        let writer = self.active(group)?.writer();
        Some((group, usize::from(writer.node.0) - 1))
    }

    /// Whether a node's process is there.
    #[must_use]
    pub fn is_up(&self, node: usize) -> bool {
        !self.nodes[node].down
    }

    /// Whether every group keeps what it has acked if a node ends now.
    #[must_use]
    pub fn can_lose(&self, node: usize) -> bool {
        self.nodes[node].down || self.may_lose(node)
    }

    /// A node ends with all that it held, and stays away. False, and nothing was done, if a group would lose what it has acked.
    pub fn end(&mut self, node: usize) -> bool {
        if !self.can_lose(node) {
            return false;
        }
        if !self.nodes[node].down {
            self.end_node(node);
        }
        self.away.insert(node);
        true
    }

    /// A node that was ended starts anew, with nothing but its voter's file.
    pub fn start(&mut self, node: usize) {
        if self.away.remove(&node) && self.nodes[node].down {
            self.on_start(node);
        }
    }

    /// A node stands still for so long.
    pub fn pause(&mut self, node: usize, ms: u64) {
        self.stand_still(node, ms * MS);
        self.did(Fault::NodePaused);
    }

    /// What is sent from now on takes so long to its receiver.
    pub fn delay(&mut self, us: u64) {
        self.faults.delay_us = us;
    }

    /// Nothing is cut any more.
    pub fn join(&mut self) {
        self.cuts = super::splits::Cuts::default();
    }

    /// No more faults from now on: nothing is cut, nobody stands still, and whoever had ended starts.
    pub fn calm(&mut self) {
        self.faulty = false;
        self.join();
        self.note_stop();
        for node in 0..self.node_count() {
            self.wake(node);
            self.start(node);
        }
    }
}
