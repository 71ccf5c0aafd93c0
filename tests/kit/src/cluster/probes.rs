//! Probes: one request for each actor, sent again and again to nodes all over the cluster until it is acked, and how each fared.
//!
//! They judge nothing. **Invariant:** a probe is acked once, and what it was refused with before stays known.

use std::collections::BTreeMap;

use waterpark_core::ids::GroupId;
use waterpark_core::rules::Rules;
use waterpark_core::time::MS;
use waterpark_wire::reply::Outcome;

use super::event::Event;
use super::{Cluster, WALL_MS, checksum};
use crate::client::RequestId;
use crate::ledger::Token;

/// Nodes that one attempt goes to, or a few less.
const NODES_AT_A_TIME: usize = 5;

/// How one request fared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The group that it is of.
    pub group: GroupId,
    /// When it was first sent, virtual ms.
    pub asked_ms: u64,
    /// When it was acked, virtual ms, and with what.
    pub acked: Option<(u64, Token)>,
    /// Each refusal that came, in the order of their first coming.
    pub refused: Vec<Outcome>,
}

impl Probe {
    /// How long it took, in virtual ms; `None` if it was not acked.
    #[must_use]
    pub fn took_ms(&self) -> Option<u64> {
        self.acked.map(|(at, _)| at - self.asked_ms)
    }
}

/// All probes of a run.
#[derive(Debug, Default)]
pub(super) struct Probes {
    all: BTreeMap<RequestId, Probe>,
}

impl Probes {
    pub(super) fn on_ack(&mut self, id: RequestId, token: Token, now_ns: u64) {
        if let Some(probe) = self.all.get_mut(&id) {
            probe.acked.get_or_insert((now_ns / MS, token));
        }
    }

    pub(super) fn on_refusal(&mut self, id: RequestId, outcome: Outcome) {
        if let Some(probe) = self.all.get_mut(&id)
            && !probe.refused.contains(&outcome)
        {
            probe.refused.push(outcome);
        }
    }
}

impl<R: Rules> Cluster<R> {
    /// A client that is new asks each actor for something now, through nodes all over the cluster, until it is answered.
    pub fn probe(&mut self) -> u32 {
        let client = self.add_client((WALL_MS + self.now_ns / MS) / 1_000, false);
        self.clients[client as usize].is_probe = true;
        for key in self.keys.clone() {
            let group = self.topology.locate(key.as_ref()).group;
            let message = self.message(&key);
            let id = self.clients[client as usize].open(group, key.clone(), message.clone());
            self.readers.history.on_open(id, self.now_ns);
            self.history.on_ask(id, key, message, self.now_ns);
            self.report.opened += 1;
            let probe = Probe {
                group,
                asked_ms: self.now_ns / MS,
                acked: None,
                refused: Vec::new(),
            };
            self.probes.all.insert(id, probe);
        }
        self.schedule(self.now_ns, Event::Step { client });
        client
    }

    /// How the probes of a client fared.
    pub fn probes(&self, client: u32) -> impl Iterator<Item = &Probe> {
        let of = move |(id, _): &(&RequestId, &Probe)| id.client == client;
        self.probes.all.iter().filter(of).map(|(_, probe)| probe)
    }

    /// One attempt goes to every so-manieth node, and over some attempts to every node.
    pub(super) fn ask_many(&mut self, id: RequestId, turn: usize, bytes: &[u8]) {
        let nodes = self.topology.nodes().len();
        let apart = nodes.div_ceil(NODES_AT_A_TIME);
        for node in (turn % apart..nodes).step_by(apart) {
            let shard = self.rng.index(self.nodes[node].shards.len().max(1));
            self.trace(&[5, u64::from(id.client), node as u64, checksum(bytes)]);
            let client = id.client;
            self.send(
                |bytes| Event::FromClient {
                    node,
                    shard,
                    client,
                    bytes,
                },
                bytes.to_vec(),
            );
        }
    }
}
