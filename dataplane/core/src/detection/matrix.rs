//! The link matrix: the newest row of every node, when it came, and which of them count.
//!
//! A row counts while its reporter is heard. What a node said before it fell silent is no word about now, and in a split it would be the
//! word of the other side. It deliberately does not know what rows that count add up to.
//!
//! **Invariant:** of each node the newest row is held, by incarnation and version; a late or doubled one changes nothing, not even the time
//! at which the node was heard. Before `still_until` the same rows count, and say what they said when that was worked out.

use std::collections::BTreeMap;

use super::detector::SILENCE_MAX;
use super::lived::Lived;
use super::roster::{Known, Roster};
use super::row::{Row, Seen};
use crate::ids::{Member, NodeId};

/// Heartbeats for which a row counts at most. By then its reporter is suspected, unless it hears frames and gets no row through.
pub const ROW_LIFE: u64 = SILENCE_MAX;

/// The rows that one node holds, its own among them.
#[derive(Clone, Debug)]
pub struct LinkMatrix {
    own: Member,
    life_ns: u64,
    rows: BTreeMap<NodeId, (Row, Lived)>,
    still_until: Lived,
}

/// Why a row was not taken. What is held stays as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowRefused {
    /// It came from another process than the one that it says it is of: the sender has to be mended.
    NotTheSenders {
        /// Whose row it says to be.
        reporter: Member,
    },
    /// A newer row of this node is held: nobody's fault.
    Older {
        /// The version that is held.
        held: u64,
    },
}

impl core::fmt::Display for RowRefused {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotTheSenders { reporter } => write!(
                f,
                "row of the link matrix of node {} came from another process",
                reporter.node.0
            ),
            Self::Older { held } => write!(f, "row of the link matrix is older than version {held}"),
        }
    }
}

impl core::error::Error for RowRefused {}

impl LinkMatrix {
    /// An empty matrix, held by `own`.
    #[must_use]
    pub fn new(own: Member, heartbeat_ns: u64) -> Self {
        Self {
            own,
            life_ns: heartbeat_ns * ROW_LIFE,
            rows: BTreeMap::new(),
            still_until: Lived::default(),
        }
    }

    /// A row came over a link with the process `from`, or is this node's own.
    ///
    /// # Errors
    /// [`RowRefused`] if it is another's, or not newer than the one that is held.
    pub fn take(&mut self, from: Member, row: Row, now: Lived) -> Result<(), RowRefused> {
        let reporter = row.reporter();
        if reporter != from {
            return Err(RowRefused::NotTheSenders { reporter });
        }
        if let Some((held, came)) = self.rows.get_mut(&from.node) {
            if (held.reporter().incarnation, held.version()) >= (from.incarnation, row.version()) {
                return Err(RowRefused::Older { held: held.version() });
            }
            // Most rows say again what the one before them said.
            let says_the_same = held.reporter() == from && held.sightings() == row.sightings();
            if !says_the_same || now.ns_since(*came) >= self.life_ns {
                self.still_until = Lived::default();
            }
            (*held, *came) = (row, now);
            return Ok(());
        }
        self.still_until = Lived::default();
        self.rows.insert(from.node, (row, now));
        Ok(())
    }

    /// The topology no longer has this node.
    pub fn forget(&mut self, node: NodeId) {
        self.still_until = Lived::default();
        self.rows.remove(&node);
    }

    /// Whether the rows that count now are those, and say what those said, that counted when [`Self::look`] was last called. Another roster
    /// is another matter.
    #[must_use]
    pub fn is_still(&self, now: Lived) -> bool {
        now < self.still_until
    }

    /// From now on [`Self::is_still`] speaks of what counts now.
    pub fn look(&mut self, now: Lived) {
        let ends = self.rows.values().map(|(_, came)| came.after_ns(self.life_ns));
        self.still_until = ends.filter(|end| *end > now).min().unwrap_or(Lived::MAX);
    }

    /// The rows that count now: of a process in the roster, not too old, and of one that this node itself sees up.
    #[must_use]
    pub fn counted<'a>(&'a self, roster: &'a Roster, now: Lived) -> Counted<'a> {
        let young = |member: Member| {
            let (row, came) = self.rows.get(&member.node)?;
            (row.reporter() == member && now.ns_since(*came) < self.life_ns).then_some(row)
        };
        let own = young(self.own);
        let heard = |member: Member| own.is_some_and(|own| own.sees(member) == Some(Seen::Up));
        let counts = |known: &Known| young(known.member).filter(|_| known.member == self.own || heard(known.member));
        Counted {
            roster,
            rows: roster.nodes().iter().map(counts).collect(),
        }
    }
}

/// The rows that count at one instant, in the order of the roster.
#[derive(Clone, Debug)]
pub struct Counted<'a> {
    roster: &'a Roster,
    rows: Vec<Option<&'a Row>>,
}

impl<'a> Counted<'a> {
    /// Each node of the roster with its row, if that counts.
    pub fn rows(&self) -> impl Iterator<Item = (&'a Known, Option<&'a Row>)> {
        self.roster.nodes().iter().zip(self.rows.iter().copied())
    }

    /// The roster that the rows were counted against.
    #[must_use]
    pub fn roster(&self) -> &'a Roster {
        self.roster
    }

    /// The row of a node, if it counts.
    #[must_use]
    pub fn row(&self, node: NodeId) -> Option<&'a Row> {
        self.roster.place(node).and_then(|place| self.rows[place])
    }
}
