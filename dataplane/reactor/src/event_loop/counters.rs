//! What the event loop counts, shown in the shard's status document. Plain words, written by one thread.

use std::collections::BTreeMap;

use waterpark_core::effects::Cut;
use waterpark_wire::FrameError;
use waterpark_wire::body::CounterBody;
use waterpark_wire::handshake::HandshakeRefusal;

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
    pub(super) handshakes_late: u64,
    /// Ended by the other side before they were done, without a word.
    pub(super) handshakes_left: u64,
    pub(super) clients_cut: u64,
    pub(super) crossings_held: u64,
    pub(super) reports_dropped: u64,
    pub(super) allocations: u64,
}

impl LoopCounters {
    pub(super) fn turned(&mut self, cost: TurnCost) {
        self.turns += 1;
        self.turns_blocked += u64::from(cost.blocked);
        self.system_calls += u64::from(cost.system_calls);
        self.submitted += u64::from(cost.submitted);
        self.completed += u64::from(cost.completed);
    }

    fn named(&self) -> [(&'static str, u64); 20] {
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
            ("handshakes_late", self.handshakes_late),
            ("handshakes_left", self.handshakes_left),
            ("clients_cut", self.clients_cut),
            ("crossings_held", self.crossings_held),
            ("reports_dropped", self.reports_dropped),
            ("allocations", self.allocations),
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

    pub(super) fn handshake(&mut self, refusal: HandshakeRefusal, by_peer: bool) {
        // The details of a refusal are the peer's; the name alone keeps the list short.
        let debug = format!("{refusal:?}");
        let name = debug.split([' ', '{', '(']).next().unwrap_or("Malformed");
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

/// Writes the counters where the status document reads them; the names are allocated once.
pub(super) fn publish(counters: &LoopCounters, reasons: &Reasons, out: &mut Vec<CounterBody>) {
    let named = counters.named();
    let fixed = named.iter().map(|(name, value)| (*name, *value));
    let all = fixed.chain(reasons.0.iter().map(|(name, value)| (name.as_str(), *value)));
    let mut length = 0;
    for (index, (name, value)) in all.enumerate() {
        match out.get_mut(index) {
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
        length = index + 1;
    }
    out.truncate(length);
}
