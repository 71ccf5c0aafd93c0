//! The actors of one group, by key and by dense number.
//!
//! Rows lie in one table, keys in one buffer: an idle actor is a row, an index entry and its key, no object of its own. Numbers are given in
//! the order of introduction, so they are the same on every member.
//!
//! With millions of actors each look-up misses the caches. So the index tells row and key apart from the hash alone, and both can be asked
//! for ahead of their use, for all requests of a frame at once: the misses then overlap instead of adding up.

use hashbrown::HashTable;

use crate::behaviour::KindId;
use crate::ids::Seq;

/// No actor: a `Void` or a tick.
pub(crate) const NO_ACTOR: u32 = u32::MAX;

/// One actor. Laid out as written, so that its two ends are known: a row may lie across two cache lines.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Actor<S> {
    /// Its last entry.
    pub(crate) last_seq: Seq,
    /// Its projections.
    pub(crate) state: S,
    /// Its kind.
    pub(crate) kind: KindId,
}

/// Where an actor lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    hash: u64,
    number: u32,
    key_at: u32,
}

/// The actors of one group.
#[derive(Debug)]
pub(crate) struct Registry<S> {
    index: HashTable<Place>,
    actors: Vec<Actor<S>>,
    /// Each key with its length in two bytes before it.
    keys: Vec<u8>,
}

impl<S> Default for Registry<S> {
    fn default() -> Registry<S> {
        Registry {
            index: HashTable::new(),
            actors: Vec::new(),
            keys: Vec::new(),
        }
    }
}

impl<S: Default> Registry<S> {
    /// How many actors there are; also the next one's number.
    ///
    /// # Panics
    /// Never below 2^32 − 1 actors in one group, which [`Registry::introduce`] refuses.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.actors.len()).expect("bounded by introduce")
    }

    /// The number of the actor with this key.
    #[inline]
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        let same = |place: &Place| place.hash == hash && self.key_at(place.key_at) == key;
        self.index.find(hash, same).map(|place| place.number)
    }

    /// Where an actor with this hash probably lies. Reads the index alone.
    #[inline]
    pub(crate) fn glance(&self, hash: u64) -> Option<Place> {
        self.index.find(hash, |place| place.hash == hash).copied()
    }

    /// Reads the first bytes of an actor's row and key, so that they are near when they are used.
    #[inline]
    pub(crate) fn touch(&self, place: Place) -> u64 {
        // Most keys are shorter than half a line: with both ends all of them is near.
        let near = |at: usize| u64::from(self.keys.get(at).copied().unwrap_or(0));
        let at = place.key_at as usize;
        self.touch_row(place.number) ^ near(at) ^ near(at + 31)
    }

    /// The same for the row of a number alone.
    #[inline]
    pub(crate) fn touch_row(&self, number: u32) -> u64 {
        let row = self.actors.get(number as usize);
        row.map_or(0, |actor| actor.last_seq.0 ^ u64::from(actor.kind.0))
    }

    /// Adds an actor under the next number; `None` if the tables of this group are full.
    pub(crate) fn introduce(&mut self, hash: u64, key: &[u8], kind: KindId) -> Option<u32> {
        let number = u32::try_from(self.actors.len())
            .ok()
            .filter(|number| *number != NO_ACTOR)?;
        let key_at = u32::try_from(self.keys.len()).ok()?;
        let length = u16::try_from(key.len()).ok()?;
        self.keys.extend_from_slice(&length.to_le_bytes());
        self.keys.extend_from_slice(key);
        self.actors.push(Actor {
            last_seq: Seq::ZERO,
            state: S::default(),
            kind,
        });
        let place = Place { hash, number, key_at };
        self.index.insert_unique(hash, place, |other| other.hash);
        Some(number)
    }

    /// An actor by number.
    pub(crate) fn actor(&self, number: u32) -> Option<&Actor<S>> {
        self.actors.get(number as usize)
    }

    /// An actor by number, for changing it.
    pub(crate) fn actor_mut(&mut self, number: u32) -> Option<&mut Actor<S>> {
        self.actors.get_mut(number as usize)
    }

    fn key_at(&self, at: u32) -> &[u8] {
        let (length, rest) = self.keys[at as usize..]
            .split_first_chunk::<2>()
            .expect("written with its length");
        &rest[..usize::from(u16::from_le_bytes(*length))]
    }
}
