//! The actors of one group, by key and by dense number.
//!
//! Rows lie in one table, keys in one buffer: an idle actor is a row, an index word and its key, no object of its own. Numbers are given in
//! the order of introduction, so they are the same on every member.

use hashbrown::HashTable;

use crate::behaviour::KindId;
use crate::ids::Seq;

/// No actor: a `Void` or a tick.
pub(crate) const NO_ACTOR: u32 = u32::MAX;

/// One actor.
#[derive(Debug)]
pub(crate) struct Actor<S> {
    hash: u64,
    /// Its last entry.
    pub(crate) last_seq: Seq,
    key_at: u32,
    /// Its kind.
    pub(crate) kind: KindId,
    /// Its projections.
    pub(crate) state: S,
}

/// The actors of one group.
#[derive(Debug)]
pub(crate) struct Registry<S> {
    index: HashTable<u32>,
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
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        let same = |number: &u32| {
            let actor = &self.actors[*number as usize];
            actor.hash == hash && self.key_at(actor.key_at) == key
        };
        self.index.find(hash, same).copied()
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
            hash,
            last_seq: Seq::ZERO,
            key_at,
            kind,
            state: S::default(),
        });
        let actors = &self.actors;
        self.index
            .insert_unique(hash, number, |other| actors[*other as usize].hash);
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
