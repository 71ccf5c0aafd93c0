//! A whole cluster in one thread of a test, with actors of your own.
//!
//! [`check`] makes a cluster for each of some seeds, hands it to a test, and looks at the end whether everything that must hold of any actor
//! does: nothing acked is lost, nothing takes effect twice, all members are in the same state, and every reply and every read is what your
//! [`Behaviour`] makes of the log. Nodes are the real ones, with their consensus, detection and planner; network, clock and disks are simulated.
//! A second of the cluster takes some milliseconds, and a seed gives one run, always the same. A failure names its seed.
//!
//! ```
//! use waterpark_testing::{Setup, check};
//! # mod ballots { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/ballot_box/ballots.rs")); }
//! # use ballots::Ballots;
//!
//! check(1..=3, Setup::nodes(5), || Ballots, |cluster| {
//!     let vote = cluster.send("ballots/spring", "vote ann red");
//!     cluster.advance_ms(500);
//!     assert_eq!(cluster.reply(vote).text(), "1");
//!
//!     // Whoever writes this actor ends. The next vote is taken all the same.
//!     let writer = cluster.writer_of("ballots/spring");
//!     cluster.crash(writer);
//!     let vote = cluster.send("ballots/spring", "vote bob blue");
//!     cluster.calm();
//!     assert_eq!(cluster.reply(vote).text(), "2");
//!     assert_eq!(cluster.read("ballots/spring"), r#"{"blue":1,"red":1}"#);
//! });
//! ```
//!
//! It knows no log, link or view. **Invariant:** a test passes only if its cluster was judged.

mod cluster;
mod setup;

pub use cluster::{Cluster, Reply, Request};
pub use setup::{Manner, SEED, Setup, check};
pub use waterpark_core::behaviour::{Answer, Behaviour, Event, KindId, Retention, Verdict};
pub use waterpark_core::state_bytes::{StateReader, StateWriter};
