//! The built-in kinds: record, register, pool, patient.
//!
//! Handlers are pure: a message and a state give a verdict, an event and a reply. They know nothing of logs, members or commits.

mod patient;
mod pool;
mod record;
mod register;

use std::collections::BTreeMap;

use waterpark_core::behaviour::{Answer, Behaviour, KindId, Retention, Verdict};
use waterpark_core::state_bytes::{StateReader, StateWriter};

/// What a name of a kind runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handler {
    /// Keeps each message, with how many they are and when the last one came.
    Record,
    /// One value: put, get, compare-and-set.
    Register,
    /// Numbered things that are taken and given back; refuses when empty.
    Pool,
    /// HL7 messages of one patient, each kept once.
    Patient,
}

/// An actor's state: the projection of its kind. Small, because a million of them lie in one table.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing happened yet.
    #[default]
    Blank,
    /// A record's projection.
    Record(record::Record),
    /// A register's value.
    Register(Box<register::Register>),
    /// A pool's things.
    Pool(Box<pool::Pool>),
    /// A patient's projection.
    Patient(Box<patient::Patient>),
}

/// The kinds that a node knows, each with its handler and how much history it keeps.
#[derive(Clone, Debug)]
pub struct Kinds {
    names: BTreeMap<Vec<u8>, KindId>,
    kinds: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    name: Vec<u8>,
    handler: Handler,
    retention: Retention,
}

impl Kinds {
    /// The built-in kinds under their own names, keeping everything.
    #[must_use]
    pub fn built_in() -> Kinds {
        let mut kinds = Kinds {
            names: BTreeMap::new(),
            kinds: Vec::new(),
        };
        kinds.add("record", Handler::Record, Retention::All);
        kinds.add("register", Handler::Register, Retention::All);
        kinds.add("pool", Handler::Pool, Retention::All);
        kinds.add(waterpark_edge::key::KIND, Handler::Patient, Retention::All);
        kinds
    }

    /// Adds a kind, or changes the one with this name. All nodes must add the same kinds in the same order.
    ///
    /// # Panics
    /// If there are more than 256 kinds: the configuration's check refuses that first.
    pub fn add(&mut self, name: &str, handler: Handler, retention: Retention) -> KindId {
        if let Some(kind) = self.names.get(name.as_bytes()) {
            let row = &mut self.kinds[usize::from(kind.0)];
            (row.handler, row.retention) = (handler, retention);
            return *kind;
        }
        let kind = KindId(u8::try_from(self.kinds.len()).expect("at most 256 kinds"));
        let name = name.as_bytes().to_vec();
        self.kinds.push(Row {
            name: name.clone(),
            handler,
            retention,
        });
        self.names.insert(name, kind);
        kind
    }

    /// Says how much history the actors of a kind keep; `false` if there is no kind of this name, and nothing was changed.
    #[must_use]
    pub fn keep(&mut self, name: &str, retention: Retention) -> bool {
        let Some(kind) = self.names.get(name.as_bytes()) else {
            return false;
        };
        self.kinds[usize::from(kind.0)].retention = retention;
        true
    }

    /// The names of all kinds, in order.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.names.keys().map(Vec::as_slice)
    }

    fn handler(&self, kind: KindId) -> Handler {
        self.kinds[usize::from(kind.0)].handler
    }
}

impl Behaviour for Kinds {
    type State = State;

    fn kind(&self, name: &[u8]) -> Option<KindId> {
        self.names.get(name).copied()
    }

    fn name(&self, kind: KindId) -> &[u8] {
        &self.kinds[usize::from(kind.0)].name
    }

    fn retention(&self, kind: KindId) -> Retention {
        self.kinds[usize::from(kind.0)].retention
    }

    fn execute(&self, kind: KindId, state: &State, message: &[u8], answer: &mut Answer) {
        match (self.handler(kind), state) {
            (Handler::Record, _) => record::execute(answer),
            (Handler::Register, State::Register(register)) => register::execute(Some(register), message, answer),
            (Handler::Register, _) => register::execute(None, message, answer),
            (Handler::Pool, State::Pool(pool)) => pool::execute(Some(pool), message, answer),
            (Handler::Pool, _) => pool::execute(None, message, answer),
            (Handler::Patient, State::Patient(patient)) => patient::execute(Some(patient), message, answer),
            (Handler::Patient, _) => patient::execute(None, message, answer),
        }
    }

    fn apply(&self, kind: KindId, state: &mut State, event: &[u8], seq: u64, time_ms: u64) {
        match (self.handler(kind), &mut *state) {
            (Handler::Record, State::Record(record)) => record.apply(time_ms),
            (Handler::Register, State::Register(register)) => register.apply(event, seq),
            (Handler::Pool, State::Pool(pool)) => pool.apply(event),
            (Handler::Patient, State::Patient(patient)) => patient.apply(event, time_ms),
            (handler, _) => {
                *state = match handler {
                    Handler::Record => State::Record(record::Record::default()),
                    Handler::Register => State::Register(Box::default()),
                    Handler::Pool => State::Pool(Box::default()),
                    Handler::Patient => State::Patient(Box::default()),
                };
                self.apply(kind, state, event, seq, time_ms);
            }
        }
    }

    fn show(&self, kind: KindId, state: &State, out: &mut Vec<u8>) {
        let text = match (self.handler(kind), state) {
            (Handler::Record, State::Record(record)) => record.show(),
            (Handler::Record, _) => record::Record::default().show(),
            (Handler::Register, State::Register(register)) => register.show(),
            (Handler::Register, _) => register::Register::default().show(),
            (Handler::Pool, State::Pool(pool)) => pool.show(),
            (Handler::Pool, _) => pool::Pool::default().show(),
            (Handler::Patient, State::Patient(patient)) => patient.show(),
            (Handler::Patient, _) => patient::Patient::default().show(),
        };
        out.extend_from_slice(text.as_bytes());
    }

    fn beside_bytes(&self, state: &State) -> usize {
        match state {
            State::Blank | State::Record(_) => 0,
            State::Register(register) => size_of_val(&**register) + register.beside_bytes(),
            State::Pool(pool) => size_of_val(&**pool) + pool.beside_bytes(),
            State::Patient(patient) => size_of_val(&**patient) + patient.beside_bytes(),
        }
    }

    fn save(&self, _kind: KindId, state: &State, out: &mut Vec<u8>) {
        let mut to = StateWriter(out);
        match state {
            // Nothing at all: every other state has bytes.
            State::Blank => {}
            State::Record(record) => record.save(&mut to),
            State::Register(register) => register.save(&mut to),
            State::Pool(pool) => pool.save(&mut to),
            State::Patient(patient) => patient.save(&mut to),
        }
    }

    fn load(&self, kind: KindId, bytes: &[u8]) -> Option<State> {
        if bytes.is_empty() {
            return Some(State::Blank);
        }
        let mut from = StateReader(bytes);
        let state = match self.handler(kind) {
            Handler::Record => State::Record(record::Record::load(&mut from)?),
            Handler::Register => State::Register(Box::new(register::Register::load(&mut from)?)),
            Handler::Pool => State::Pool(Box::new(pool::Pool::load(&mut from)?)),
            Handler::Patient => State::Patient(Box::new(patient::Patient::load(&mut from)?)),
        };
        from.is_empty().then_some(state)
    }
}

/// Refuses with a reason that the sender can read.
fn refuse(answer: &mut Answer, reason: &str) {
    answer.verdict = Verdict::Refused;
    answer.reply_with(reason.as_bytes());
}
