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

pub mod draw;
pub mod figures;
pub mod keys;
pub mod latency;
pub mod plain;
#[doc(hidden)]
pub mod sample;
pub mod svg;
pub mod terminal;
pub mod theme;
pub mod view;

pub use keys::Key;
pub use latency::{AckLatency, Latencies, Quantiles};
pub use plain::{PlainLines, Summary};
pub use terminal::{Screen, Sight};
pub use theme::Theme;
pub use view::DemoView;
