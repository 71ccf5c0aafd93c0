//! The actors of one group, by key and by dense number.
//!
//! An idle actor is a row, its key and a place in an index, no object of its own; all three lie in blocks that are set aside as the group
//! grows and never move, so that growing neither copies nor leaves behind what was there. The first block alone begins small and doubles
//! until it is a whole one: a cluster has many groups of few actors. Numbers are given in the order of introduction, so they are the same on
//! every member.
//!
//! With millions of actors each look-up misses the caches. So the index tells rows apart from the hash alone, and rows and keys can be asked
//! for ahead of their use, for all requests of a frame at once: the misses then overlap instead of adding up.

mod index;
mod keys;

use crate::behaviour::KindId;
use crate::ids::Seq;
use crate::memory::Memory;
use index::Index;
use keys::Keys;

/// No actor: a `Void` or a tick.
pub(crate) const NO_ACTOR: u32 = u32::MAX;

/// Rows of one block: few enough that the one that is being filled costs little, so many that the list of blocks stays near.
const BLOCK_ROWS: usize = 1_024;
/// Rows that a group's first block has room for from the beginning.
const FIRST_ROWS: usize = 8;

const _: () = assert!(
    (BLOCK_ROWS / FIRST_ROWS).is_power_of_two(),
    "it doubles to a whole block"
);

/// One actor. Laid out as written, so that its two ends are known: a row may lie across two cache lines.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Actor<S> {
    /// Its last entry.
    pub(crate) last_seq: Seq,
    /// Its projections.
    pub(crate) state: S,
    key_at: u32,
    /// Its kind.
    pub(crate) kind: KindId,
}

/// Where an actor probably lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place(u32);

/// The actors of one group.
#[derive(Debug)]
pub(crate) struct Registry<S> {
    index: Index,
    /// Rows by number; all blocks but the last are full.
    blocks: Vec<Vec<Actor<S>>>,
    keys: Keys,
    count: u32,
}

impl<S> Default for Registry<S> {
    fn default() -> Registry<S> {
        Registry {
            index: Index::default(),
            blocks: Vec::new(),
            keys: Keys::default(),
            count: 0,
        }
    }
}

impl<S: Default> Registry<S> {
    /// How many actors there are; also the next one's number.
    pub(crate) fn len(&self) -> u32 {
        self.count
    }

    /// The number of the actor with this key.
    #[inline]
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        let is_meant = |number| {
            let actor = self.actor(number).expect("the index names actors");
            self.keys.key(actor.key_at) == key
        };
        self.index.find(hash, is_meant)
    }

    /// Asks for the line of the index in which a hash is looked for first.
    #[inline]
    pub(crate) fn ask_index<M: Memory>(&self, hash: u64) {
        self.index.ask::<M>(hash);
    }

    /// Where an actor with this hash probably lies. Reads the index alone.
    #[inline]
    pub(crate) fn glance(&self, hash: u64) -> Option<Place> {
        self.index.find(hash, |_| true).map(Place)
    }

    /// Asks for an actor's row.
    #[inline]
    pub(crate) fn ask<M: Memory>(&self, place: Place) {
        self.ask_row::<M>(place.0);
    }

    /// Asks for an actor's key. Reads its row.
    #[inline]
    pub(crate) fn ask_key<M: Memory>(&self, place: Place) {
        if let Some(actor) = self.actor(place.0) {
            self.keys.ask::<M>(actor.key_at);
        }
    }

    /// Asks for the row of an actor whose number is known.
    #[inline]
    pub(crate) fn ask_row<M: Memory>(&self, number: u32) {
        if let Some(actor) = self.actor(number) {
            M::ask_ahead(actor);
        }
    }

    /// Adds an actor under the next number; `None` if the tables of this group are full.
    pub(crate) fn introduce(&mut self, hash: u64, key: &[u8], kind: KindId) -> Option<u32> {
        let number = self.count;
        if number == NO_ACTOR {
            return None;
        }
        let key_at = self.keys.put(key)?;
        match self.blocks.last_mut() {
            None => self.blocks.push(Vec::with_capacity(FIRST_ROWS)),
            // All of it at once: what is set aside costs memory where it is written, what has outgrown its place costs it at once.
            Some(block) if block.len() == BLOCK_ROWS => self.blocks.push(Vec::with_capacity(BLOCK_ROWS)),
            Some(block) if block.len() == block.capacity() => block.reserve_exact(block.len()),
            Some(_) => (),
        }
        self.blocks.last_mut().expect("pushed above").push(Actor {
            last_seq: Seq::ZERO,
            state: S::default(),
            key_at,
            kind,
        });
        self.index.add(hash, number);
        self.count += 1;
        Some(number)
    }

    /// Bytes set aside for rows, keys and index. What states have beside their rows is not among them.
    pub(crate) fn table_bytes(&self) -> u64 {
        let rows: usize = self.blocks.iter().map(Vec::capacity).sum();
        (rows * size_of::<Actor<S>>() + self.keys.table_bytes() + self.index.table_bytes()) as u64
    }

    /// An actor by number.
    #[inline]
    pub(crate) fn actor(&self, number: u32) -> Option<&Actor<S>> {
        let block = self.blocks.get(number as usize / BLOCK_ROWS)?;
        block.get(number as usize % BLOCK_ROWS)
    }

    /// An actor's key.
    pub(crate) fn key(&self, number: u32) -> Option<&[u8]> {
        self.actor(number).map(|actor| self.keys.key(actor.key_at))
    }

    /// An actor by number, for changing it.
    #[inline]
    pub(crate) fn actor_mut(&mut self, number: u32) -> Option<&mut Actor<S>> {
        let block = self.blocks.get_mut(number as usize / BLOCK_ROWS)?;
        block.get_mut(number as usize % BLOCK_ROWS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: KindId = KindId(3);

    #[test]
    fn an_actor_is_found_by_its_key_and_by_its_number() {
        let mut registry: Registry<u64> = Registry::default();
        let key = |number: u32| format!("key/{number}").into_bytes();
        // Every third hash belongs to three keys: keys decide.
        let hash = |number: u32| u64::from(number / 3).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        for number in 0..1_000 {
            assert_eq!(registry.find(hash(number), &key(number)), None);
            assert_eq!(registry.introduce(hash(number), &key(number), KIND), Some(number));
            registry.actor_mut(number).unwrap().state = u64::from(number) + 7;
        }
        assert_eq!(registry.len(), 1_000);
        for number in 0..1_000 {
            assert_eq!(registry.find(hash(number), &key(number)), Some(number));
            let place = registry.glance(hash(number)).unwrap();
            assert_eq!(place.0 / 3, number / 3, "one of those with this hash");
            let actor = registry.actor(number).unwrap();
            assert_eq!((actor.state, actor.kind), (u64::from(number) + 7, KIND));
        }
        assert_eq!(registry.find(hash(5), b"key/none"), None);
        assert!(registry.actor(1_000).is_none() && registry.actor(NO_ACTOR).is_none());
    }

    #[test]
    fn a_key_that_has_no_room_introduces_nobody() {
        let mut registry: Registry<u64> = Registry::default();
        assert_eq!(registry.introduce(1, &vec![0; 70_000], KIND), None);
        assert_eq!(registry.len(), 0);
        assert_eq!(registry.introduce(1, b"short", KIND), Some(0));
    }

    #[test]
    fn a_group_of_few_actors_sets_aside_little_more_than_they_need() {
        let mut registry: Registry<[u64; 3]> = Registry::default();
        assert_eq!(registry.table_bytes(), 0);
        for number in 0..5_000_u32 {
            let key = format!("patient/{number:08},facility=FL001");
            registry.introduce(
                u64::from(number).wrapping_mul(0xD6E8_FEB8_6659_FD93),
                key.as_bytes(),
                KIND,
            );
            let actors = u64::from(number) + 1;
            // A row of 40 bytes, a key of 31 and its length, twelve bytes of index, each in a table that may be half empty.
            let most = match actors {
                1..=8 => 1_400,
                9..=1_024 => 2 * 90 * actors + 600,
                _ => 90 * actors + 90_000,
            };
            assert!(
                registry.table_bytes() <= most,
                "{} for {actors}",
                registry.table_bytes()
            );
        }
        assert!(registry.blocks.iter().all(|block| block.capacity() == BLOCK_ROWS));
    }

    #[test]
    fn a_row_of_a_small_state_has_no_more_than_16_bytes_beside_it() {
        assert_eq!(size_of::<Actor<[u64; 3]>>(), 24 + 16);
    }
}
