//! What a connection to a peer says and hears, as calculation: bytes in, bytes out.
//!
//! It knows no socket and no clock. **Invariant:** every message that was appended ends once, or the dialect fails.

use waterpark_bench::ledger::Fate;

use crate::error::PeerError;

/// How a peer acks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acks {
    /// All that was flushed at once, together; the next messages wait for that.
    Together,
    /// Each message for itself.
    Each,
}

/// A message that has ended, by its serial, and how.
pub(crate) type Ended = (u64, Fate);

/// One connection's part of a protocol.
pub(crate) trait Dialect {
    /// How messages end.
    fn acks(&self) -> Acks;

    /// Puts a message for an actor behind what is to be sent.
    fn append(&mut self, serial: u64, actor: u64, message: &[u8], out: &mut Vec<u8>);

    /// Closes what was appended since the last time: it leaves now.
    fn flush(&mut self, out: &mut Vec<u8>);

    /// Takes whole answers off the front of what came, and tells what ended by them; how many bytes that were. What the protocol itself wants
    /// to be answered goes to `out`.
    ///
    /// # Errors
    /// `Answer` for what this dialect does not know.
    fn take(&mut self, came: &[u8], ended: &mut Vec<Ended>, out: &mut Vec<u8>) -> Result<usize, PeerError>;
}
