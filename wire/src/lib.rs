//! BYTES: what travels and what lies in a log. Frames, items, runs and entries, bodies, checksums.
//!
//! Every format has one file with a checked view: a malformed input is a named [`FrameError`], never a panic. This crate knows neither
//! sockets nor topology; identifiers are plain integers here and get their types in core.

pub mod body;
pub mod checksum;
pub mod compress;
pub mod error;
pub mod frame;
pub mod framer;
pub mod handshake;
pub mod item;
pub mod link;
pub mod refusal;
pub mod reply;
pub mod request;
pub mod run;
pub mod sweep;

pub use error::FrameError;
pub use frame::{FrameBuilder, FrameHeader, FrameKind, FrameView};
pub use item::{Item, ItemHeader, ItemKind};
pub use refusal::ConnectionRefusal;

/// Items, entries and sections begin at multiples of this.
pub const ALIGN: usize = 16;

/// `length` rounded up to [`ALIGN`].
#[must_use]
pub const fn padded(length: usize) -> usize {
    (length + ALIGN - 1) & !(ALIGN - 1)
}
