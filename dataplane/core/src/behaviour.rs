//! What actors do: the kinds that a shard can run, as pure functions over a state.
//!
//! The writer executes; every member applies the event that came of it. Followers never execute, so versions of handlers cannot fork a
//! group.

use waterpark_wire::run::REPLY_BYTES_MAX;

/// A kind, dense among those that a node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindId(pub u8);

/// How much of an actor's history is kept. More may stay for a while: history is dropped in sweeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Every message, whole.
    All,
    /// The newest so many messages.
    Last(u32),
    /// Messages younger than so many milliseconds of group time.
    For(u64),
    /// No message: the state alone.
    None,
}

/// What a handler decided on one message. Reused from message to message.
#[derive(Debug, Default)]
pub struct Answer {
    /// Taken, refused or trapped.
    pub verdict: Verdict,
    /// The event that changes the state; absent where nothing changed.
    pub event: Event,
    /// The event's bytes for [`Event::Bytes`].
    pub event_bytes: Vec<u8>,
    /// Bytes for the sender, at most [`REPLY_BYTES_MAX`].
    pub reply: Vec<u8>,
}

/// A handler's verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Taken.
    #[default]
    Done,
    /// Refused: logged without an event.
    Refused,
    /// The handler failed: logged without an event and without a reply, whatever it had written.
    Trapped,
    /// The same message came before and is an entry already. Its number and the reply are logged; message and event are not.
    Known,
}

/// Where the event's bytes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Event {
    /// No event.
    #[default]
    None,
    /// The message is the event.
    Message,
    /// [`Answer::event_bytes`].
    Bytes,
}

impl Answer {
    /// Empties it for the next message.
    pub fn clear(&mut self) {
        self.verdict = Verdict::Done;
        self.event = Event::None;
        self.event_bytes.clear();
        self.reply.clear();
    }

    /// Drops event and reply: the verdict is all that is left.
    pub fn leave_nothing(&mut self) {
        let verdict = self.verdict;
        self.clear();
        self.verdict = verdict;
    }

    /// Sets the reply's bytes.
    ///
    /// # Panics
    /// If they are more than [`REPLY_BYTES_MAX`]: a bug in the handler's host.
    pub fn reply_with(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= REPLY_BYTES_MAX);
        self.reply.clear();
        self.reply.extend_from_slice(bytes);
    }
}

/// The kinds and handlers that run.
pub trait Behaviour {
    /// An actor's state: its projections. Small, because a million of them lie in one table; it goes with its group from core to core.
    type State: Default + core::fmt::Debug + Send + 'static;

    /// The kind with this name, if this node knows it.
    fn kind(&self, name: &[u8]) -> Option<KindId>;

    /// The name of a kind.
    fn name(&self, kind: KindId) -> &[u8];

    /// How much history a kind keeps. A writer asks it; what it then decides is logged, and members follow the log.
    fn retention(&self, kind: KindId) -> Retention;

    /// Decides on a message. Pure: the same arguments give the same answer. `answer` comes empty.
    fn execute(&self, kind: KindId, state: &Self::State, message: &[u8], answer: &mut Answer);

    /// Changes the state by an event that `execute` returned. `seq` and `time_ms` are the entry's.
    fn apply(&self, kind: KindId, state: &mut Self::State, event: &[u8], seq: u64, time_ms: u64);

    /// Bytes that a state has set aside outside of its row. None, unless it says so.
    fn beside_bytes(&self, _state: &Self::State) -> usize {
        0
    }

    /// Writes the state as the kind shows it: UTF-8 JSON.
    fn show(&self, kind: KindId, state: &Self::State, out: &mut Vec<u8>);

    /// Writes the state for another member, which reads it by [`Behaviour::load`]: equal states give equal bytes.
    fn save(&self, kind: KindId, state: &Self::State, out: &mut Vec<u8>);

    /// Reads a state that was saved; `None` if the bytes are none of this kind.
    fn load(&self, kind: KindId, bytes: &[u8]) -> Option<Self::State>;
}
