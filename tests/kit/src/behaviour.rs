//! What simulated actors run: the built-in kinds, and one whose handler fails when it is told to.
//!
//! It knows no logs. **Invariant:** handlers are pure, so that a run can be had again.

use waterpark_core::behaviour::{Answer, Behaviour, Event, KindId, Retention, Verdict};
use waterpark_handlers::{Handler, Kinds, State};

/// The kind whose handler fails.
pub const FRAGILE: &str = "fragile";
/// A message that its handler fails on.
pub const BREAKS: &[u8] = b"break";

/// The kinds of a simulated cluster.
#[derive(Clone, Debug)]
pub struct SimKinds {
    kinds: Kinds,
    fragile: KindId,
}

impl SimKinds {
    /// These kinds, and [`FRAGILE`].
    #[must_use]
    pub fn new(mut kinds: Kinds) -> SimKinds {
        let fragile = kinds.add(FRAGILE, Handler::Record, Retention::All);
        SimKinds { kinds, fragile }
    }
}

impl Behaviour for SimKinds {
    type State = State;

    fn kind(&self, name: &[u8]) -> Option<KindId> {
        self.kinds.kind(name)
    }

    fn name(&self, kind: KindId) -> &[u8] {
        self.kinds.name(kind)
    }

    fn retention(&self, kind: KindId) -> Retention {
        self.kinds.retention(kind)
    }

    fn execute(&self, kind: KindId, state: &State, message: &[u8], answer: &mut Answer) {
        if kind == self.fragile && message == BREAKS {
            // It fails in the midst of its work.
            answer.event = Event::Message;
            answer.reply.extend_from_slice(b"half of it");
            answer.verdict = Verdict::Trapped;
            return;
        }
        self.kinds.execute(kind, state, message, answer);
    }

    fn apply(&self, kind: KindId, state: &mut State, event: &[u8], seq: u64, time_ms: u64) {
        self.kinds.apply(kind, state, event, seq, time_ms);
    }

    fn show(&self, kind: KindId, state: &State, out: &mut Vec<u8>) {
        self.kinds.show(kind, state, out);
    }

    fn beside_bytes(&self, state: &State) -> usize {
        self.kinds.beside_bytes(state)
    }

    fn save(&self, kind: KindId, state: &State, out: &mut Vec<u8>) {
        self.kinds.save(kind, state, out);
    }

    fn load(&self, kind: KindId, bytes: &[u8]) -> Option<State> {
        self.kinds.load(kind, bytes)
    }
}
