//! Names of connections, and the table that resolves them.
//!
//! The table does not know sockets: each driver puts its own state in. **Invariant:** a name resolves to the connection it was made for
//! or to nothing; a slot that is used again has another generation.

/// A connection of one driver. Stale names are harmless: whatever is asked of them is ignored or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    slot: u32,
    generation: u32,
}

impl ConnectionId {
    /// A small dense number, fit to index a table beside the driver's; used again after [`Closed`](crate::Event::Closed).
    /// `u32::MAX` for a connect that failed before it had a slot: only what was accepted or has connected is sure to have one.
    #[must_use]
    pub fn slot(self) -> u32 {
        self.slot
    }

    /// Both parts in one word, for where a name travels as a plain integer.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.slot)
    }

    /// The name that [`to_bits`](Self::to_bits) was taken from. Any other word gives a name that is stale.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "the two halves of the word")]
        Self {
            slot: bits as u32,
            generation: (bits >> 32) as u32,
        }
    }
}

struct Slot<C> {
    generation: u32,
    connection: Option<C>,
}

/// Connections by name; at most `limit` at a time.
pub(crate) struct Connections<C> {
    slots: Vec<Slot<C>>,
    vacant: Vec<u32>,
    limit: u32,
}

impl<C> Connections<C> {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            slots: Vec::new(),
            vacant: Vec::new(),
            limit,
        }
    }

    /// Adds a connection, or hands it back when the table is full.
    pub(crate) fn insert(&mut self, connection: C) -> Result<ConnectionId, C> {
        if let Some(slot) = self.vacant.pop() {
            let place = &mut self.slots[slot as usize];
            assert!(place.connection.is_none());
            place.connection = Some(connection);
            return Ok(ConnectionId {
                slot,
                generation: place.generation,
            });
        }
        let slot = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        if slot >= self.limit {
            return Err(connection);
        }
        // Generations begin at 1, so that the all-zero word is never a live name.
        self.slots.push(Slot {
            generation: 1,
            connection: Some(connection),
        });
        Ok(ConnectionId { slot, generation: 1 })
    }

    /// A name that was never a connection's and never will be: for a connect that failed before there was a slot.
    pub(crate) fn nameless(serial: u32) -> ConnectionId {
        ConnectionId {
            slot: u32::MAX,
            generation: serial,
        }
    }

    #[inline]
    pub(crate) fn get(&self, id: ConnectionId) -> Option<&C> {
        let slot = self.slots.get(id.slot as usize)?;
        if slot.generation == id.generation {
            slot.connection.as_ref()
        } else {
            None
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut C> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        if slot.generation == id.generation {
            slot.connection.as_mut()
        } else {
            None
        }
    }

    /// The connection in a slot that cannot have been left: an operation in flight keeps it.
    #[inline]
    pub(crate) fn in_slot(&mut self, slot: u32) -> (ConnectionId, &mut C) {
        let place = &mut self.slots[slot as usize];
        let id = ConnectionId {
            slot,
            generation: place.generation,
        };
        (
            id,
            place
                .connection
                .as_mut()
                .expect("an operation in flight keeps its connection's slot"),
        )
    }

    /// Takes a connection out; its name is stale from now on.
    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<C> {
        let slot = self
            .slots
            .get_mut(id.slot as usize)
            .filter(|slot| slot.generation == id.generation)?;
        let connection = slot.connection.take()?;
        // After 2^32 uses of one slot a name could return; at a thousand connections a second in one slot that is seven weeks of it alone.
        slot.generation = slot.generation.checked_add(1).unwrap_or(1);
        self.vacant.push(id.slot);
        Some(connection)
    }

    /// Connections in the table.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.vacant.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_name_resolves_to_nothing_when_its_slot_is_used_again() {
        let mut table = Connections::new(2);
        let first = table.insert("a").unwrap();
        assert_eq!(table.remove(first), Some("a"));
        let second = table.insert("b").unwrap();
        assert_eq!(first.slot(), second.slot());
        assert_eq!((table.get(first), table.get(second)), (None, Some(&"b")));
        assert_eq!(table.remove(first), None);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_full_table_hands_the_connection_back() {
        let mut table = Connections::new(1);
        let id = table.insert(1).unwrap();
        assert_eq!(table.insert(2), Err(2));
        table.remove(id);
        assert!(table.insert(3).is_ok());
    }

    #[test]
    fn names_survive_as_words_and_foreign_words_are_stale() {
        let mut table = Connections::new(4);
        let id = table.insert(()).unwrap();
        assert_eq!(ConnectionId::from_bits(id.to_bits()), id);
        for word in [0, 1, u64::MAX, id.to_bits() + 1, id.to_bits() + (1 << 32)] {
            assert_eq!(table.get(ConnectionId::from_bits(word)), None);
        }
    }
}
