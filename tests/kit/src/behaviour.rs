//! What simulated actors run: the built-in kinds and one whose handler fails when it is told to, or what a test brings.
//!
//! What is brought is held behind a pointer, so that a cluster is compiled once and not for every test's own type. It knows no logs.
//! **Invariant:** handlers are pure, so that a run can be had again.

use std::any::Any;
use std::fmt;
use std::rc::Rc;

use waterpark_core::behaviour::{Answer, Behaviour, Event, KindId, Retention, Verdict};
use waterpark_handlers::{Handler, Kinds, State};

/// The kind whose handler fails.
pub const FRAGILE: &str = "fragile";
/// A message that its handler fails on.
pub const BREAKS: &[u8] = b"break";

/// The kinds of a simulated cluster.
#[derive(Clone, Debug)]
pub struct SimKinds(Runs);

#[derive(Clone)]
enum Runs {
    Own { kinds: Kinds, fragile: KindId },
    Brought(Rc<dyn Brought>),
}

impl fmt::Debug for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Runs::Own { .. } => "the simulator's own kinds",
            Runs::Brought(_) => "kinds that a test brought",
        })
    }
}

/// The state of a simulated actor.
#[derive(Debug)]
pub enum SimState {
    /// Of one of the simulator's own kinds; of whatever was brought, before its first event.
    Own(State),
    /// Of a kind that was brought.
    Brought(Box<dyn AnyState>),
}

impl Default for SimState {
    fn default() -> SimState {
        SimState::Own(State::default())
    }
}

/// A state of a type that only the one who brought it knows.
pub trait AnyState: Any + fmt::Debug + Send {}

impl<T: Any + fmt::Debug + Send> AnyState for T {}

/// [`Behaviour`] without its type of states.
trait Brought {
    fn kind(&self, name: &[u8]) -> Option<KindId>;
    fn name(&self, kind: KindId) -> &[u8];
    fn retention(&self, kind: KindId) -> Retention;
    fn execute(&self, kind: KindId, state: &SimState, message: &[u8], answer: &mut Answer);
    fn apply(&self, kind: KindId, state: &mut SimState, event: &[u8], seq: u64, time_ms: u64);
    fn show(&self, kind: KindId, state: &SimState, out: &mut Vec<u8>);
    fn beside_bytes(&self, state: &SimState) -> usize;
    fn save(&self, kind: KindId, state: &SimState, out: &mut Vec<u8>);
    fn load(&self, kind: KindId, bytes: &[u8]) -> Option<SimState>;
}

/// Calls with the state behind the pointer, or with a new one where there was no event yet.
fn with<S: Default + 'static, T>(state: &SimState, call: impl FnOnce(&S) -> T) -> T {
    match state {
        SimState::Own(_) => call(&S::default()),
        SimState::Brought(state) => {
            let state: &dyn Any = &**state;
            call(state.downcast_ref().expect("all states are of one type"))
        }
    }
}

/// What a test brought, as it came.
struct Held<B>(B);

impl<B: Behaviour> Brought for Held<B>
where
    B::State: 'static,
{
    fn kind(&self, name: &[u8]) -> Option<KindId> {
        self.0.kind(name)
    }

    fn name(&self, kind: KindId) -> &[u8] {
        self.0.name(kind)
    }

    fn retention(&self, kind: KindId) -> Retention {
        self.0.retention(kind)
    }

    fn execute(&self, kind: KindId, state: &SimState, message: &[u8], answer: &mut Answer) {
        with(state, |state| self.0.execute(kind, state, message, answer));
    }

    fn apply(&self, kind: KindId, state: &mut SimState, event: &[u8], seq: u64, time_ms: u64) {
        if let SimState::Own(_) = state {
            *state = SimState::Brought(Box::new(B::State::default()));
        }
        if let SimState::Brought(state) = state {
            let state: &mut dyn Any = &mut **state;
            let state = state.downcast_mut().expect("all states are of one type");
            self.0.apply(kind, state, event, seq, time_ms);
        }
    }

    fn show(&self, kind: KindId, state: &SimState, out: &mut Vec<u8>) {
        with(state, |state| self.0.show(kind, state, out));
    }

    fn beside_bytes(&self, state: &SimState) -> usize {
        with(state, |state| self.0.beside_bytes(state))
    }

    fn save(&self, kind: KindId, state: &SimState, out: &mut Vec<u8>) {
        with(state, |state| self.0.save(kind, state, out));
    }

    fn load(&self, kind: KindId, bytes: &[u8]) -> Option<SimState> {
        let state = self.0.load(kind, bytes)?;
        Some(SimState::Brought(Box::new(state)))
    }
}

impl SimKinds {
    /// These kinds, and [`FRAGILE`].
    #[must_use]
    pub fn new(mut kinds: Kinds) -> SimKinds {
        let fragile = kinds.add(FRAGILE, Handler::Record, Retention::All);
        SimKinds(Runs::Own { kinds, fragile })
    }

    /// What a test brings.
    #[must_use]
    pub fn brought<B: Behaviour + 'static>(behaviour: B) -> SimKinds
    where
        B::State: 'static,
    {
        SimKinds(Runs::Brought(Rc::new(Held(behaviour))))
    }

    /// Whether a test brought it: then nobody here knows what its actors can be asked for.
    #[must_use]
    pub fn is_brought(&self) -> bool {
        matches!(self.0, Runs::Brought(_))
    }

    /// How much history actors of a kind keep, by its name.
    #[must_use]
    pub fn rule(&self, name: &[u8]) -> Retention {
        self.kind(name).map_or(Retention::All, |kind| self.retention(kind))
    }
}

/// The state of one of the simulator's own kinds.
fn own(state: &SimState) -> &State {
    match state {
        SimState::Own(state) => state,
        SimState::Brought(_) => unreachable!("a cluster has either kind of state"),
    }
}

impl Behaviour for SimKinds {
    type State = SimState;

    fn kind(&self, name: &[u8]) -> Option<KindId> {
        match &self.0 {
            Runs::Own { kinds, .. } => kinds.kind(name),
            Runs::Brought(brought) => brought.kind(name),
        }
    }

    fn name(&self, kind: KindId) -> &[u8] {
        match &self.0 {
            Runs::Own { kinds, .. } => kinds.name(kind),
            Runs::Brought(brought) => brought.name(kind),
        }
    }

    fn retention(&self, kind: KindId) -> Retention {
        match &self.0 {
            Runs::Own { kinds, .. } => kinds.retention(kind),
            Runs::Brought(brought) => brought.retention(kind),
        }
    }

    fn execute(&self, kind: KindId, state: &SimState, message: &[u8], answer: &mut Answer) {
        match &self.0 {
            Runs::Own { fragile, .. } if kind == *fragile && message == BREAKS => {
                // It fails in the midst of its work.
                answer.event = Event::Message;
                answer.reply.extend_from_slice(b"half of it");
                answer.verdict = Verdict::Trapped;
            }
            Runs::Own { kinds, .. } => kinds.execute(kind, own(state), message, answer),
            Runs::Brought(brought) => brought.execute(kind, state, message, answer),
        }
    }

    fn apply(&self, kind: KindId, state: &mut SimState, event: &[u8], seq: u64, time_ms: u64) {
        match (&self.0, state) {
            (Runs::Own { kinds, .. }, SimState::Own(state)) => kinds.apply(kind, state, event, seq, time_ms),
            (Runs::Own { .. }, SimState::Brought(_)) => unreachable!("a cluster has either kind of state"),
            (Runs::Brought(brought), state) => brought.apply(kind, state, event, seq, time_ms),
        }
    }

    fn show(&self, kind: KindId, state: &SimState, out: &mut Vec<u8>) {
        match &self.0 {
            Runs::Own { kinds, .. } => kinds.show(kind, own(state), out),
            Runs::Brought(brought) => brought.show(kind, state, out),
        }
    }

    fn beside_bytes(&self, state: &SimState) -> usize {
        match &self.0 {
            Runs::Own { kinds, .. } => kinds.beside_bytes(own(state)),
            Runs::Brought(brought) => brought.beside_bytes(state),
        }
    }

    fn save(&self, kind: KindId, state: &SimState, out: &mut Vec<u8>) {
        match &self.0 {
            Runs::Own { kinds, .. } => kinds.save(kind, own(state), out),
            Runs::Brought(brought) => brought.save(kind, state, out),
        }
    }

    fn load(&self, kind: KindId, bytes: &[u8]) -> Option<SimState> {
        match &self.0 {
            Runs::Own { kinds, .. } => kinds.load(kind, bytes).map(SimState::Own),
            Runs::Brought(brought) => brought.load(kind, bytes),
        }
    }
}
