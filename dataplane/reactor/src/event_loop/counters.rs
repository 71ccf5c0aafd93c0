//! What the event loop counts, shown in the shard's status document. Plain words, written by one thread.

use std::collections::BTreeMap;

use waterpark_core::effects::Cut;
use waterpark_wire::FrameError;
use waterpark_wire::body::CounterBody;
use waterpark_wire::handshake::HandshakeRefusal;
use waterpark_wire::refusal::ConnectionRefusal;

use super::Edge;
use crate::driver::TurnCost;

/// Sums since the thread began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LoopCounters {
    pub(super) turns: u64,
    pub(super) turns_blocked: u64,
    pub(super) system_calls: u64,
    pub(super) submitted: u64,
    pub(super) completed: u64,
    pub(super) links_received_bytes: u64,
    pub(super) links_sent_bytes: u64,
    pub(super) clients_received_bytes: u64,
    pub(super) clients_sent_bytes: u64,
    pub(super) frames_received: u64,
    pub(super) frames_straddled: u64,
    pub(super) accepted: u64,
    pub(super) accepts_refused: u64,
    pub(super) connections: u64,
    pub(super) clients: u64,
    pub(super) handshakes: u64,
    pub(super) handshakes_late: u64,
    /// Ended by the other side before they were done, without a word.
    pub(super) handshakes_left: u64,
    pub(super) clients_cut: u64,
    /// Cut because they did not read their answers.
    pub(super) edges_cut: u64,
    /// Closed at once because they came from another host.
    pub(super) edge_strangers: u64,
    pub(super) edges_received_bytes: u64,
    pub(super) edges_sent_bytes: u64,
    pub(super) crossings_held: u64,
    pub(super) reports_dropped: u64,
    pub(super) allocations: u64,
    /// Bytes of the shard's pool that may be resident.
    pub(super) memory_touched_bytes: u64,
    /// Bytes of receive buffers.
    pub(super) memory_buffers_bytes: u64,
    /// CPU time of the shard's thread, user and system, ns.
    pub(super) cpu_ns: u64,
    /// The core on which the thread was at the last tick.
    pub(super) core: u64,
}

impl LoopCounters {
    pub(super) fn turned(&mut self, cost: TurnCost) {
        self.turns += 1;
        self.turns_blocked += u64::from(cost.blocked);
        self.system_calls += u64::from(cost.system_calls);
        self.submitted += u64::from(cost.submitted);
        self.completed += u64::from(cost.completed);
    }

    fn named(&self) -> [(&'static str, u64); 30] {
        [
            ("turns", self.turns),
            ("turns_blocked", self.turns_blocked),
            ("system_calls", self.system_calls),
            ("submitted", self.submitted),
            ("completed", self.completed),
            ("links_received_bytes", self.links_received_bytes),
            ("links_sent_bytes", self.links_sent_bytes),
            ("clients_received_bytes", self.clients_received_bytes),
            ("clients_sent_bytes", self.clients_sent_bytes),
            ("frames_received", self.frames_received),
            ("frames_straddled", self.frames_straddled),
            ("accepted", self.accepted),
            ("accepts_refused", self.accepts_refused),
            ("connections", self.connections),
            ("clients", self.clients),
            ("handshakes", self.handshakes),
            ("handshakes_late", self.handshakes_late),
            ("handshakes_left", self.handshakes_left),
            ("clients_cut", self.clients_cut),
            ("edges_cut", self.edges_cut),
            ("edge_strangers", self.edge_strangers),
            ("edges_received_bytes", self.edges_received_bytes),
            ("edges_sent_bytes", self.edges_sent_bytes),
            ("crossings_held", self.crossings_held),
            ("reports_dropped", self.reports_dropped),
            ("allocations", self.allocations),
            ("memory_touched_bytes", self.memory_touched_bytes),
            ("memory_buffers_bytes", self.memory_buffers_bytes),
            ("cpu_ns", self.cpu_ns),
            ("core", self.core),
        ]
    }
}

/// Why connections were refused or cut, each with its count. Few names, fixed by the types that they come from.
#[derive(Debug, Default)]
pub(super) struct Reasons(BTreeMap<String, u64>);

impl Reasons {
    pub(super) fn malformed(&mut self, error: FrameError) {
        self.add(format!("malformed_{error:?}"));
    }

    /// The other side of a link has refused what this side sent over it.
    pub(super) fn refused_by_peer(&mut self, refusal: ConnectionRefusal) {
        let name = match refusal {
            ConnectionRefusal::Frame(error) => format!("{error:?}"),
            ConnectionRefusal::Handshake(refusal) => name_of(refusal),
            ConnectionRefusal::Stranger => "Stranger".to_owned(),
            // Which number it was stands in the log: the list of counters is not for peers to lengthen.
            ConnectionRefusal::Unlisted { .. } => "Unlisted".to_owned(),
        };
        self.add(format!("refused_by_peer_{name}"));
    }

    pub(super) fn handshake(&mut self, refusal: HandshakeRefusal, by_peer: bool) {
        let name = name_of(refusal);
        let side = if by_peer {
            "handshake_refused_by_peer"
        } else {
            "handshake_refused"
        };
        self.add(format!("{side}_{name}"));
    }

    pub(super) fn cut(&mut self, cause: Cut) {
        match cause {
            Cut::Malformed(error) => self.malformed(error),
            other => self.add(format!("cut_{other:?}")),
        }
    }

    fn add(&mut self, name: String) {
        *self.0.entry(name).or_default() += 1;
    }
}

/// The details of a refusal are the peer's; the name alone keeps the list short.
fn name_of(refusal: HandshakeRefusal) -> String {
    let debug = format!("{refusal:?}");
    debug.split([' ', '{', '(']).next().unwrap_or("Malformed").to_owned()
}

/// Writes the counters where the status document reads them; the names are allocated once.
pub(super) fn publish(
    counters: &LoopCounters,
    reasons: &Reasons,
    edge: Option<&(dyn Edge + 'static)>,
    out: &mut Vec<CounterBody>,
) {
    let mut length = 0;
    let mut put = |name: &str, value: u64| {
        match out.get_mut(length) {
            Some(row) => {
                if row.name != name {
                    name.clone_into(&mut row.name);
                }
                row.value = value;
            }
            None => out.push(CounterBody {
                name: name.to_owned(),
                value,
            }),
        }
        length += 1;
    };
    counters.named().into_iter().for_each(|(name, value)| put(name, value));
    if let Some(edge) = edge {
        edge.count(&mut |name, value| put(name, value));
    }
    reasons.0.iter().for_each(|(name, value)| put(name, *value));
    out.truncate(length);
}
