//! Cuts that stand until they heal: pairs of nodes between which nothing passes, and what a test wants to know of groups and processes then.
//!
//! Both hosts of a cut link live, so nobody is refused: the link is silent, or it closes and cannot be made anew. **Invariant:** nothing
//! passes between two nodes from the cut to the healing, but for what was on its way.

use std::collections::BTreeMap;

use waterpark_core::config::Config;
use waterpark_core::ids::{GroupId, Member};
use waterpark_core::rules::Rules;
use waterpark_core::topology_log::Presence;

use super::Cluster;
use super::links::LinkKey;

/// How a cut shows at both ends of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It closes at once.
    Closed,
    /// Nothing comes any more.
    Silent,
}

impl Manner {
    /// Both.
    pub const ALL: [Manner; 2] = [Manner::Closed, Manner::Silent];
}

/// Pairs of nodes that are cut now, the smaller index first.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    pairs: BTreeMap<(usize, usize), Manner>,
}

impl Cuts {
    pub(super) fn has(&self, a: usize, b: usize) -> bool {
        self.pairs.contains_key(&(a.min(b), a.max(b)))
    }
}

impl<R: Rules> Cluster<R> {
    /// Cuts all links between two nodes until [`Cluster::heal`].
    ///
    /// # Panics
    /// If there is no link between them.
    pub fn cut_between(&mut self, a: usize, b: usize, manner: Manner) {
        let pair = (a.min(b), a.max(b));
        let keys = self.links.keys().filter(|key| (key.0, key.1) == pair);
        let keys: Vec<LinkKey> = keys.collect();
        assert!(!keys.is_empty(), "nodes {a} and {b} have a link");
        self.cuts.pairs.insert(pair, manner);
        if manner == Manner::Closed {
            keys.into_iter().for_each(|key| self.cut(key));
        }
    }

    /// Cuts all links between nodes that are in different parts.
    pub fn split(&mut self, part_of: impl Fn(usize) -> usize, manner: Manner) {
        let nodes = self.topology.nodes().len();
        for a in 0..nodes {
            for b in (a + 1..nodes).filter(|b| part_of(*b) != part_of(a)) {
                self.cut_between(a, b, manner);
            }
        }
    }

    /// All cuts are over: what was silent is heard, what was closed is dialled.
    pub fn heal(&mut self) {
        self.cuts.pairs.clear();
        self.note_stop();
    }

    /// The processes of all nodes that the topology log has up, as it names them.
    #[must_use]
    pub fn processes_up(&self) -> Vec<Member> {
        let up = self
            .steward
            .state
            .nodes()
            .filter(|(_, row)| row.presence == Presence::Up);
        up.map(|(node, row)| Member {
            node,
            incarnation: row.incarnation,
        })
        .collect()
    }

    /// The active Config of a group; `None` before its birth.
    #[must_use]
    pub fn active(&self, group: GroupId) -> Option<&Config> {
        self.steward.state.group(group).map(|group| &group.active)
    }

    /// Whether no group has a view that is still to be opened.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let mut groups = self.steward.state.groups();
        groups.all(|(_, group)| group.pending.is_none())
    }
}
