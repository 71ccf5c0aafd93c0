//! What the matrix shows, named: nodes that are down, cuts between two nodes, and cuts in one direction.
//!
//! Two rows tell a cut from a one-way cut: that of the node which hears nothing, and that of the node which is not heard. Where the second
//! one does not count, because this node does not hear its reporter either, the direction is not known, and the sight says so. For whoever
//! explains, plans or draws; verdicts do not depend on it. It does not know time.
//!
//! **Invariant:** each pair of nodes of which neither is down appears at most once.

use super::finding::Finding;
use super::matrix::Counted;
use super::row::{Row, Seen};
use crate::ids::{Member, NodeId};

/// One thing that is wrong in the cluster, as one node's matrix shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sight {
    /// The rule of [`super::findings`] calls this process down.
    Down {
        /// The process.
        member: Member,
    },
    /// These two do not hear each other, and neither is down.
    PartialCut {
        /// The smaller node first.
        between: (NodeId, NodeId),
    },
    /// What `from` sends does not reach `to`; the other way is well.
    OneWay {
        /// Who is not heard.
        from: NodeId,
        /// Who does not hear.
        to: NodeId,
    },
    /// `by` does not hear `node`. Whether `node` hears `by` is not known here.
    Unheard {
        /// Who is not heard.
        node: NodeId,
        /// Who does not hear.
        by: NodeId,
    },
}

/// Names what the rows show, with the findings that they add up to. Ascending.
#[must_use]
pub fn sights(counted: &Counted<'_>, findings: &[Finding]) -> Vec<Sight> {
    let down = findings
        .iter()
        .filter(|finding| finding.is_down())
        .map(|finding| finding.known.member);
    let mut sights: Vec<_> = down.map(|member| Sight::Down { member }).collect();

    let standing: Vec<_> = findings.iter().filter(|finding| !finding.is_down()).collect();
    for by in standing.iter().map(|finding| finding.known.member) {
        // Both ascend by node, so one walk along both meets every pair: nearly all rows say of all others that they are heard.
        let mut others = standing.iter().map(|finding| finding.known.member).peekable();
        for sighting in counted.row(by.node).map_or(&[][..], Row::sightings) {
            while others.next_if(|other| other.node < sighting.peer.node).is_some() {}
            let Some(about) = others.next_if(|other| other.node == sighting.peer.node) else {
                continue;
            };
            if sighting.of(about.incarnation).is_some_and(|seen| seen != Seen::Up) {
                sights.extend(named(about.node, by.node, hears(counted.row(about.node), by)));
            }
        }
    }
    sights.sort_unstable();
    sights
}

/// Whether a row, if it counts, says that its reporter hears the other.
fn hears(row: Option<&Row>, other: Member) -> Option<bool> {
    row.and_then(|row| row.sees(other)).map(|seen| seen == Seen::Up)
}

/// What it is that `by` does not hear `node`, while `node` hears `by` or not. A cut is named from one of its ends.
fn named(node: NodeId, by: NodeId, hears: Option<bool>) -> Option<Sight> {
    match hears {
        Some(true) => Some(Sight::OneWay { from: node, to: by }),
        Some(false) => (node < by).then_some(Sight::PartialCut { between: (node, by) }),
        None => Some(Sight::Unheard { node, by }),
    }
}
