//! Consensus on the topology log: a few voters agree on one order of entries, and everybody else learns it.
//!
//! Entries are bytes without a meaning here. Nothing here has a clock, a file or a socket: time is an argument, and what must be written
//! or sent is handed out. [`Alone`] serves a cluster with one voter, [`Paxos`] all others; both stand behind [`Consensus`].
//!
//! **Invariant:** no message and no decided entry is handed out before every [`Write`] that preceded it is reported durable. An entry that
//! was handed out as decided is at that position for ever, on every voter.
//!
//! **Boundary:** a proposal may get lost (its voter was no leader any more) or be decided twice (it was repeated). Nothing is repeated
//! here: whoever proposes does so again until the entry is seen decided, so every entry is a compare-and-set.
//!
//! A configuration is one set of voters with one file each. A change of voters is the last entry of its configuration: its voters go on
//! answering, the next ones are born at the position behind it ([`Birth::after`]), each with a new file and a new [`VoterId`].

mod alone;
mod birth;
mod bytes;
mod file;
mod gate;
mod journal;
mod learner;
mod paxos;
mod tail;

use core::fmt;

pub use alone::Alone;
pub use birth::{Birth, BirthError, VOTERS_MAX, VoterId};
pub use file::FileError;
pub use learner::{LEARNER_AHEAD_MAX, LearnError, Learner};
pub use paxos::{Paxos, ROUND_MS_MAX, ROUND_MS_MIN};
pub use tail::{TAIL_BYTES_MAX, Tail};

/// Bytes of one entry at most.
pub const ENTRY_BYTES_MAX: usize = 1 << 20;

/// Entries that a leader takes while they wait to be decided. One more is told [`NotTaken::Busy`].
pub const UNDECIDED_MAX: usize = 1_024;

/// An entry that is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Where it stands, from 1, counted over all configurations.
    pub position: u64,
    /// The entry as it was proposed.
    pub entry: Vec<u8>,
}

/// A record that must be appended to the voter's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Its number: one more than the record's before it.
    pub number: u64,
    /// The record as it lies in the file.
    pub bytes: Vec<u8>,
}

/// The voters that a configuration is to be followed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextVoters {
    /// The number of the next configuration: larger than that of the one before.
    pub configuration: u32,
    /// Its voters, ascending: new ids, none of which ever stood for another file.
    pub voters: Vec<VoterId>,
}

/// A configuration has come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Who votes from here on.
    pub next: NextVoters,
    /// The position of the last entry: the base of the next configuration.
    pub base: u64,
}

/// A proposal that was not taken. Nothing happened; whoever proposed asks again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// No leader is known here: an election is under way, or no majority is within reach.
    NoLeader,
    /// As many entries wait to be decided as may: no majority answers, or more comes in than it can write.
    Busy,
    /// The entry is longer than [`ENTRY_BYTES_MAX`]. It will never be taken.
    TooLarge,
    /// The voters change: what comes next is for the voters of the next configuration.
    VotersChange,
    /// The next voters are none, too many, not ascending, or their configuration is no newer one. They will never be taken.
    BadVoters,
}

/// A message that was dropped. Our state is as it was, but for what the header itself told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// Shorter than a header.
    NoHeader,
    /// Of another cluster: somebody's addresses are wrong.
    OtherCluster,
    /// Of another configuration: its sender has not seen the change of voters, or we have not.
    OtherConfiguration,
    /// Its sender is no voter of this configuration, is not who the link says, or it is not for us.
    Stranger,
    /// Sent by an earlier life of its sender, or to one of ours. Common after a restart.
    OtherLife,
    /// A copy of what came before, or overtaken by what was sent after it.
    Repeated,
    /// Its bytes are not those of a message: a fault of its sender, or a newer release.
    Malformed,
    /// It contradicts what is known here, so the library was not asked. Late ones do; one that is not late is a fault of its sender.
    Unfit,
    /// A proposal for the leader, which is not here. It is dropped: whoever made it proposes again.
    NotLeader,
}

/// What was dropped or got lost since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages of other clusters and configurations, and of strangers.
    pub strange: u64,
    /// Messages of or to another life.
    pub other_lives: u64,
    /// Copies, and messages that were overtaken.
    pub repeats: u64,
    /// Messages that are none.
    pub malformed: u64,
    /// Messages that contradict what is known here.
    pub unfit: u64,
    /// Proposals that came to a voter that does not lead.
    pub not_leader: u64,
    /// Times that messages of a peer were missed.
    pub gaps: u64,
    /// Messages that were not sent because the file has not kept up.
    pub not_held: u64,
}

/// Agreement on one order of entries, as one voter of one configuration takes part in it.
///
/// After any call the world appends what [`Consensus::take_writes`] gives, reports it by [`Consensus::on_durable`], and then sends and
/// applies what may leave.
pub trait Consensus {
    /// Time has passed. To be called every few milliseconds.
    fn tick(&mut self, now_ms: u64);

    /// A message of another voter came over a link that proved who it is.
    ///
    /// # Errors
    /// [`MessageError`] when it was dropped.
    fn step(&mut self, now_ms: u64, from: VoterId, message: &[u8]) -> Result<(), MessageError>;

    /// Asks for an entry to be decided. It may get lost, and decided twice if it is repeated.
    ///
    /// # Errors
    /// [`NotTaken`] when nothing was done.
    fn propose(&mut self, entry: &[u8]) -> Result<(), NotTaken>;

    /// Asks for a change of voters, with the entry that tells of it: the last one of this configuration.
    ///
    /// # Errors
    /// [`NotTaken`] when nothing was done.
    fn propose_voters(&mut self, next: &NextVoters, entry: &[u8]) -> Result<(), NotTaken>;

    /// The sockets of a voter closed. If it led, the next one takes over at once.
    fn peer_closed(&mut self, voter: VoterId);

    /// Whether a write, a message or a decided entry is to be taken.
    fn has_news(&self) -> bool;

    /// Moves out what must be appended to the voter's file, in order.
    fn take_writes(&mut self, out: &mut Vec<Write>);

    /// Every write up to this number is durable.
    ///
    /// # Panics
    /// If that write was never handed out: a bug in this process.
    fn on_durable(&mut self, upto: u64);

    /// Moves out the messages that may leave, in order.
    fn take_outgoing(&mut self, out: &mut Vec<(VoterId, Vec<u8>)>);

    /// Moves out what has been decided, in order, each position once in the life of this value. What the file had comes again after a start.
    fn take_decided(&mut self, out: &mut Vec<Decided>);

    /// Who leads, as far as is known here.
    fn leader(&self) -> Option<VoterId>;

    /// Whether this voter leads, as far as it knows: another may by now.
    fn is_leader(&self) -> bool;

    /// The end of this configuration, once it is decided and may be known.
    fn ended(&self) -> Option<Ended>;

    /// How much the voter's file says behind its beginning, in bytes: what a new configuration would be rid of.
    fn record_bytes(&self) -> usize;

    /// What was dropped or got lost.
    fn counters(&self) -> Counters;
}

impl fmt::Display for NotTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NotTaken::NoLeader => "no leader is known: propose again in a moment",
            NotTaken::Busy => "too many entries wait to be decided: propose again in a moment",
            NotTaken::TooLarge => "the entry is too long: it will never be taken",
            NotTaken::VotersChange => "the voters change: propose to the next ones",
            NotTaken::BadVoters => "the next voters are not a configuration that may follow",
        })
    }
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MessageError::NoHeader => "shorter than a header",
            MessageError::OtherCluster => "of another cluster",
            MessageError::OtherConfiguration => "of another configuration",
            MessageError::Stranger => "not between voters of this configuration",
            MessageError::OtherLife => "of or to an earlier life",
            MessageError::Repeated => "a copy, or overtaken",
            MessageError::Malformed => "not a message",
            MessageError::Unfit => "contradicts what is known here",
            MessageError::NotLeader => "a proposal for the leader, which is not here",
        })
    }
}

impl core::error::Error for NotTaken {}
impl core::error::Error for MessageError {}

impl Counters {
    /// Counts a dropped message.
    fn count(&mut self, error: MessageError) {
        *match error {
            MessageError::OtherCluster | MessageError::OtherConfiguration | MessageError::Stranger => &mut self.strange,
            MessageError::OtherLife => &mut self.other_lives,
            MessageError::Repeated => &mut self.repeats,
            MessageError::NoHeader | MessageError::Malformed => &mut self.malformed,
            MessageError::Unfit => &mut self.unfit,
            MessageError::NotLeader => &mut self.not_leader,
        } += 1;
    }
}
