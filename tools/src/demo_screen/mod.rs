//! What `waterpark demo` shows: a live screen, or one plain line per second where there is no terminal.
//!
//! It is given plain data ([`DemoView`]) and deliberately knows no node, socket, group or clock of the cluster: whoever runs the demo fills
//! the data, asks for [`Key`]s and does what they mean. **Invariant:** whatever the data and however small the terminal, drawing never
//! fails, and nothing is told by colour alone.
//!
//! ```text
//! DemoView ─┬─ draw ── Buffer ─┬─ terminal (Screen, at most ten pictures a second)
//!           │                  └─ svg (the picture in docs)
//!           └─ plain ── lines (no terminal), the summary at the end
//! keys: an event of the keyboard ── Key ── whoever runs the demo
//! ```

pub(crate) mod draw;
pub(crate) mod figures;
pub(crate) mod keys;
pub(crate) mod latency;
pub(crate) mod plain;
#[cfg(test)]
pub(crate) mod sample;
pub(crate) mod svg;
pub(crate) mod terminal;
pub(crate) mod theme;
pub(crate) mod view;

pub(crate) use keys::Key;
pub(crate) use latency::{AckLatency, Latencies, Quantiles};
pub(crate) use plain::{MemoryParts, PlainLines, Summary};
pub(crate) use terminal::{Screen, Sight};
pub(crate) use view::DemoView;
