//! What a caller may choose. Everything is bounded by a number that stands here.

use waterpark_wire::request::{Freshness, HistoryRange, ReadLevel};

use crate::completion::Token;

/// Bounds and habits of a client.
#[derive(Clone, Copy, Debug)]
pub struct ClientOptions {
    /// Requests open at once; one more is refused with `Full`. At most [`ClientOptions::IN_FLIGHT_LIMIT`].
    pub in_flight_max: u32,
    /// Bytes of all open requests together.
    pub open_bytes_max: usize,
    /// Bytes that may wait to leave on one connection.
    pub connection_bytes_max: usize,
    /// A frame leaves once it is this long, in bytes; below that, at the end of the turn.
    pub frame_bytes: usize,
    /// The longest reply that is put together from parts, in bytes.
    pub reply_bytes_max: usize,
    /// A connection that leaves requests unanswered for so long is closed, in milliseconds. A request that is left unanswered for so long, though
    /// others are answered, goes to another node as well.
    pub silence_ms: u32,
    /// Sessions for unordered messages to one group, at most, at least one. A session has 256 messages under way in a group: over a way of 60 ms that is
    /// 4,000 a second. With more of them, another one is begun where all before are full. A group knows 4,096 sessions of all clients.
    pub unordered_sessions_max: u16,
    /// Connects to the writers' shards. Without it, everything goes through the entry nodes, which pass it on.
    pub direct: bool,
}

impl ClientOptions {
    /// The most requests that a client can have open: a correlation names them in 24 bits.
    pub const IN_FLIGHT_LIMIT: u32 = 1 << 24;
}

impl Default for ClientOptions {
    fn default() -> ClientOptions {
        ClientOptions {
            in_flight_max: 65_536,
            open_bytes_max: 256 << 20,
            connection_bytes_max: 8 << 20,
            frame_bytes: 64 << 10,
            reply_bytes_max: 64 << 20,
            silence_ms: 10_000,
            unordered_sessions_max: 1,
            direct: true,
        }
    }
}

/// How one message is sent.
#[derive(Clone, Copy, Debug)]
pub struct SendOptions {
    /// The whole call ends after so many milliseconds.
    pub timeout_ms: u32,
    /// Copies that are sent at most; 1 reports the first refusal at once.
    pub attempts_max: u32,
    /// In the ordered session: messages to one group take effect in the order of their calls.
    pub ordered: bool,
    /// If nothing is known of its effect at the end, its number is kept for [`crate::ClientCore::void`] until that or
    /// [`crate::ClientCore::release`] is called. Held numbers count as open, in the lane and against `in_flight_max`.
    pub hold_unknown: bool,
    /// Given back in the completion.
    pub tag: u64,
}

impl Default for SendOptions {
    fn default() -> SendOptions {
        SendOptions {
            timeout_ms: 10_000,
            attempts_max: u32::MAX,
            ordered: false,
            hold_unknown: false,
            tag: 0,
        }
    }
}

/// How one question is asked.
#[derive(Clone, Copy, Debug)]
pub struct ReadOptions {
    /// The whole call ends after so many milliseconds.
    pub timeout_ms: u32,
    /// How fresh.
    pub level: ReadLevel,
    /// At level session: the token of the caller's last write or read in the group. One of another group says nothing.
    pub token: Option<Token>,
    /// At level bounded: what was acked so many milliseconds ago is in the answer.
    pub age_ms: u32,
    /// The member, by node id, that shall answer itself or refuse, whoever the writer is. At level linearizable only the writer answers.
    pub at: Option<u16>,
    /// Given back in the completion.
    pub tag: u64,
}

impl Default for ReadOptions {
    fn default() -> ReadOptions {
        ReadOptions {
            timeout_ms: 10_000,
            level: ReadLevel::Linearizable,
            token: None,
            age_ms: 0,
            at: None,
            tag: 0,
        }
    }
}

impl ReadOptions {
    /// What the message of a read in a group begins with.
    pub(crate) fn freshness(&self, group: u32) -> Option<Freshness> {
        let token = self.token.filter(|token| token.group == group).unwrap_or_default();
        match self.level {
            ReadLevel::Linearizable | ReadLevel::Any => None,
            ReadLevel::Session => Some(Freshness {
                lineage: token.lineage.into(),
                view: token.view.into(),
                seq: token.seq.into(),
                ..Freshness::default()
            }),
            ReadLevel::Bounded => Some(Freshness {
                age_ms: self.age_ms.into(),
                ..Freshness::default()
            }),
        }
    }
}

/// Which entries of an actor are asked for, newest first.
#[derive(Clone, Copy, Debug)]
pub struct HistoryQuery {
    /// Only entries below this seq.
    pub before_seq: u64,
    /// At most so many entries.
    pub entries_max: u32,
    /// At most so many bytes of entries, at least one entry.
    pub bytes_max: u32,
}

impl Default for HistoryQuery {
    fn default() -> HistoryQuery {
        HistoryQuery {
            before_seq: u64::MAX,
            entries_max: u32::MAX,
            bytes_max: u32::MAX,
        }
    }
}

impl HistoryQuery {
    pub(crate) fn range(self) -> HistoryRange {
        HistoryRange {
            before_seq: self.before_seq.into(),
            entries_max: self.entries_max.into(),
            bytes_max: self.bytes_max.into(),
        }
    }
}
