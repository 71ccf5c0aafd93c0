//! The client of the native protocol, in three layers.
//!
//! [`ClientCore`] decides: which shard a key's message goes to, which number it has in its lane, what a refusal means, when a request is
//! sent again and when it is over. It has no clock, thread, socket or randomness; all of them are arguments. [`blocking::Client`] drives it
//! with one thread and `poll`; with the feature `tokio`, `asynchronous::Client` drives it with one task. [`ReadBack`] reads a member's
//! committed entries, on a connection of its own.
//!
//! **Invariant:** a number of a lane is bound to its bytes for ever and never used again, and every ticket ends exactly once.

#[cfg(feature = "tokio")]
pub mod asynchronous;
pub mod blocking;
mod client_core;
mod completion;
mod desk;
mod error;
mod history;
mod lane;
mod options;
mod peer;
mod peers;
pub mod polled;
mod read_back;
mod replies;
mod requests;
mod routing;
mod sending;
mod session;
mod tick;
mod void;

pub use client_core::{ClientCore, Effect};
pub use completion::{Completion, Ticket, Token};
pub use error::ClientError;
pub use history::{HistoryEntry, history_entries};
pub use options::{ClientOptions, HistoryQuery, ReadOptions, SendOptions};
pub use peer::PeerId;
pub use read_back::{Progress, ReadBack, ReadEntry};
pub use routing::{Address, Prepared};
pub use session::SESSION_RENEWAL_MS;
