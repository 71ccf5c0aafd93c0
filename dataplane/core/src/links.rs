//! The links of a shard, and which of them the end of a turn has to look at: a turn is about one link or two, and there is one for every
//! other node.
//!
//! It does not know what waits on a link. **Invariant:** whoever may have changed a link has marked it, because there is no other way to it.

use std::ops::{Deref, Index, IndexMut};

use crate::link::Link;

/// All links, each by its place, marked by every access that may change it.
#[derive(Debug, Default)]
pub(crate) struct Links {
    rows: Vec<Link>,
    /// One bit for each.
    marked: Vec<u64>,
}

impl Links {
    pub(crate) fn push(&mut self, link: Link) {
        self.rows.push(link);
        self.marked.resize(self.rows.len().div_ceil(64), 0);
    }

    /// The first marked link from a place on; it is not marked any more.
    pub(crate) fn take_marked(&mut self, from: usize) -> Option<usize> {
        let mut word = from / 64;
        let mut bits = *self.marked.get(word)? & (u64::MAX << (from % 64));
        while bits == 0 {
            word += 1;
            bits = *self.marked.get(word)?;
        }
        let bit = bits.trailing_zeros() as usize;
        self.marked[word] &= !(1 << bit);
        Some(word * 64 + bit)
    }

    /// A link is as it was, or what waits on it has still to wait.
    pub(crate) fn set_mark(&mut self, index: usize, is_marked: bool) {
        let bit = 1 << (index % 64);
        match is_marked {
            true => self.marked[index / 64] |= bit,
            false => self.marked[index / 64] &= !bit,
        }
    }

    pub(crate) fn is_marked(&self, index: usize) -> bool {
        self.marked[index / 64] & 1 << (index % 64) != 0
    }

    /// Whether nothing waits on any link. Marks of those on which nothing does are taken.
    pub(crate) fn are_at_rest(&mut self) -> bool {
        let mut from = 0;
        while let Some(index) = self.take_marked(from) {
            if !self.rows[index].is_at_rest() {
                self.set_mark(index, true);
                return false;
            }
            from = index + 1;
        }
        true
    }

    /// Bytes of the table itself.
    pub(crate) fn table_bytes(&self) -> u64 {
        (self.rows.capacity() * size_of::<Link>() + self.marked.capacity() * size_of::<u64>()) as u64
    }
}

impl Deref for Links {
    type Target = [Link];

    fn deref(&self) -> &[Link] {
        &self.rows
    }
}

impl Index<usize> for Links {
    type Output = Link;

    fn index(&self, index: usize) -> &Link {
        &self.rows[index]
    }
}

impl IndexMut<usize> for Links {
    fn index_mut(&mut self, index: usize) -> &mut Link {
        self.set_mark(index, true);
        &mut self.rows[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::NodeId;

    fn marked(links: &mut Links) -> Vec<usize> {
        let mut found = Vec::new();
        while let Some(index) = links.take_marked(found.last().map_or(0, |last| last + 1)) {
            found.push(index);
        }
        found
    }

    #[test]
    fn a_link_that_may_have_changed_is_marked_once_and_in_the_order_of_places() {
        let mut links = Links::default();
        (0..130).for_each(|_| links.push(Link::new(NodeId(2), 0)));
        assert_eq!(marked(&mut links), []);
        for index in [129, 0, 64, 63, 64] {
            links[index].heard_ns = 5;
        }
        assert_eq!(links[5].heard_ns, 0, "looking marks nothing");
        assert_eq!(marked(&mut links), [0, 63, 64, 129]);
        assert_eq!(marked(&mut links), []);
        links.set_mark(7, true);
        links.set_mark(8, true);
        links.set_mark(7, false);
        assert!(links.is_marked(8) && !links.is_marked(7));
        assert_eq!(marked(&mut links), [8]);
    }
}
