//! Detection: which nodes are up, as far as their neighbours can tell (`protocol.md` §2).
//!
//! ```text
//!  frames, closed and refused connections        rows of the others
//!                  │                                    │
//!  LivedClock ─► Watch ── Row ──► all voters ──► LinkMatrix ── Counted ──► findings ──► Judge ──► NodeDown
//!                  └ Detector, Sockets: one per peer                └────► sights
//! ```
//!
//! A [`Watch`] is one node's eyes: a phi-accrual [`Detector`] on the frames that flow anyway, and the [`Sockets`] by which a killed process
//! is seen in a round trip. What it sees is a [`Row`]. Rows of all nodes form the [`LinkMatrix`]; those that count add up to [`findings`],
//! and a [`Judge`] makes verdicts of them that do not flap. Everything is a value and a function: time is [`Lived`], an argument, and no
//! order is random, so a cluster of these runs in a simulator as it runs on servers.
//!
//! It deliberately does not know what follows: a verdict is a report about now, and what is moved because of it is the planner's.
//!
//! **Invariant:** nothing here is needed for safety. A wrong verdict costs a view change, never an acked message.
//!
//! | what is seen | how soon, at a heartbeat of 100 ms |
//! |---|---|
//! | a killed process: connections closed, a new one refused | a round trip |
//! | a silent loss: stopped, cut, its host gone | 0.6 to 0.7 s, up to 1.2 s after long pauses or on a link that loses much |
//! | a node that is heard again | 0.3 s of steady frames, 2.4 s where it came and went |

mod detector;
mod finding;
mod gaps;
mod judge;
mod lived;
mod matrix;
mod roster;
mod row;
mod sight;
mod sockets;
mod tail;
mod watch;

#[cfg(test)]
mod cluster_tests;
#[cfg(test)]
mod rule_tests;
#[cfg(test)]
mod split_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod trace_tests;

pub use detector::{Detector, HEARTBEAT_NS_MAX, HEARTBEAT_NS_MIN, PHI_SUSPECTED, SILENCE_MAX, STEADY};
pub use finding::{DCS_TO_SAY, Finding, NODES_TO_SAY, Needed, Ruling, Voices, findings};
pub use judge::{Judge, STANDS_NS, Verdict};
pub use lived::{LIVED_PER_TURN_NS_MAX, Lived, LivedClock};
pub use matrix::{Counted, LinkMatrix, ROW_LIFE, RowRefused};
pub use roster::{Known, Roster};
pub use row::{ROW_BYTES_MAX, Row, RowError, Seen, Sighting};
pub use sight::{Sight, sights};
pub use sockets::Sockets;
pub use tail::PHI_MAX;
pub use watch::{GONE_FOR, ROW_EVERY, Watch};
