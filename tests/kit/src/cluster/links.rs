//! The links of a simulated cluster, each with its epoch while it is up.
//!
//! It knows no frame. **Invariant:** links come in the order of their keys, however they were added.

use waterpark_core::ids::Incarnation;

/// One epoch of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch {
    pub(super) number: u32,
    pub(super) incarnations: [Incarnation; 2],
}

/// A link between two nodes, the smaller index first, and its number.
pub(super) type LinkKey = (usize, usize, u16);

/// All of them, found by position: every frame asks for its link, and a tree would be searched for each.
#[derive(Debug, Default)]
pub(super) struct Links {
    rows: Vec<(LinkKey, Option<Epoch>)>,
    /// Where the links of two nodes begin among the rows.
    first: Vec<usize>,
    nodes: usize,
}

impl Links {
    /// Links that are down.
    pub(super) fn add(&mut self, keys: impl IntoIterator<Item = LinkKey>) {
        self.rows.extend(keys.into_iter().map(|key| (key, None)));
        self.rows.sort_by_key(|(key, _)| *key);
        self.nodes = self.rows.iter().map(|((_, b, _), _)| b + 1).max().unwrap_or(0);
        self.first = vec![0; self.nodes * self.nodes];
        for (at, ((a, b, number), _)) in self.rows.iter().enumerate() {
            if *number == 0 {
                self.first[a * self.nodes + b] = at;
            }
        }
    }

    /// All of them, ascending.
    pub(super) fn keys(&self) -> impl Iterator<Item = LinkKey> {
        self.rows.iter().map(|(key, _)| *key)
    }

    /// The present epoch of a link; `None` if it is down.
    pub(super) fn epoch(&self, key: LinkKey) -> Option<Epoch> {
        self.rows[self.place(key)].1
    }

    /// A link rises, or falls.
    pub(super) fn set(&mut self, key: LinkKey, epoch: Option<Epoch>) -> Option<Epoch> {
        let place = self.place(key);
        std::mem::replace(&mut self.rows[place].1, epoch)
    }

    fn place(&self, key: LinkKey) -> usize {
        let place = self.first[key.0 * self.nodes + key.1] + usize::from(key.2);
        assert_eq!(self.rows[place].0, key, "a link that there is");
        place
    }
}
