//! Whether a message was sent before: by who sent it, under which id, and with which bytes.
//!
//! A control id alone proves nothing, because counters of senders wrap and some send the same for ever. So a message is a repeat only if its
//! bytes are the same too; the same id with other bytes is another message. The hash is xxh3-128: it tells messages of honest senders apart,
//! and does not withstand one who searches for two messages with one hash.

use std::collections::VecDeque;

use waterpark_wire::checksum;

use crate::hl7::Message;

/// What the handler of patients replies to a message that came before.
pub const KNOWN: &[u8] = b"known";
/// What it replies to one whose control id came before with other bytes.
pub const REUSED_ID: &[u8] = b"reused id";

/// How many messages an actor looks back: more than a patient of many years has, in 96 KiB beside the 16 MB that they are.
pub const RECENT: usize = 4096;

/// What a message is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    /// Hash of MSH-4 and MSH-10 as they were sent. Two ids with one hash count as one that was used twice, which loses nothing.
    pub id: u64,
    /// Hash of the original bytes.
    pub bytes: u128,
}

/// What is known of a message that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// No message of that facility had its control id.
    New,
    /// It came before, byte for byte: it is not stored again, and is acknowledged again.
    Same,
    /// Its control id was used before for other bytes: it is stored, and counted as a reused id.
    OtherBytes,
}

impl Fingerprint {
    /// The fingerprint of a message.
    #[must_use]
    pub fn of(message: &Message<'_>) -> Fingerprint {
        let header = message.header();
        let facility = header.sending_facility();
        // Hashed each for itself, so that a facility's end and an id's beginning cannot run into each other.
        let mut both = [0; 32];
        both[..16].copy_from_slice(&xxh3_128(facility).to_le_bytes());
        both[16..].copy_from_slice(&xxh3_128(header.control_id()).to_le_bytes());
        Fingerprint {
            id: checksum::bytes(&both),
            bytes: xxh3_128(message.original()),
        }
    }

    /// What these known messages say of it.
    #[must_use]
    pub fn among(self, known: impl IntoIterator<Item = Fingerprint>) -> Sighting {
        let mut sighting = Sighting::New;
        for known in known {
            if known == self {
                return Sighting::Same;
            }
            if known.id == self.id {
                sighting = Sighting::OtherBytes;
            }
        }
        sighting
    }
}

/// `wire` holds the one call into the library; its chain hash of bytes is their plain xxh3-128.
fn xxh3_128(bytes: &[u8]) -> u128 {
    checksum::chain(bytes)
}

/// The fingerprints of the last [`RECENT`] messages of one actor. In columns: an id that is not there is seen by its own column alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recent {
    ids: VecDeque<u64>,
    bytes: VecDeque<u128>,
}

impl Recent {
    /// What is known of a message.
    #[must_use]
    pub fn sighting(&self, message: Fingerprint) -> Sighting {
        let of_id = |(_, bytes): (&u64, &u128)| Fingerprint {
            id: message.id,
            bytes: *bytes,
        };
        let same_id = self.ids.iter().zip(&self.bytes).filter(|(id, _)| **id == message.id);
        message.among(same_id.map(of_id))
    }

    /// All of them, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = Fingerprint> + '_ {
        let both = self.ids.iter().zip(&self.bytes);
        both.map(|(id, bytes)| Fingerprint { id: *id, bytes: *bytes })
    }

    /// Remembers a message that is no repeat; the oldest is forgotten for it.
    pub fn remember(&mut self, message: Fingerprint) {
        if self.ids.len() == RECENT {
            self.ids.pop_front();
            self.bytes.pop_front();
        }
        self.ids.push_back(message.id);
        self.bytes.push_back(message.bytes);
    }

    /// Both: says what is known of a message, and remembers it unless it is a repeat.
    pub fn note(&mut self, message: Fingerprint) -> Sighting {
        let sighting = self.sighting(message);
        if sighting != Sighting::Same {
            self.remember(message);
        }
        sighting
    }

    /// Bytes set aside for them.
    #[must_use]
    pub fn beside_bytes(&self) -> usize {
        self.ids.capacity() * size_of::<u64>() + self.bytes.capacity() * size_of::<u128>()
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(facility: &str, id: &str, text: &str) -> Fingerprint {
        let bytes = format!("MSH|^~\\&|A|{facility}|B|G|1||ADT^A08|{id}\rPID|||{text}\r");
        Fingerprint::of(&Message::parse(bytes.as_bytes()).unwrap())
    }

    #[test]
    fn a_repeat_has_the_same_facility_id_and_bytes() {
        let first = fingerprint("H", "1", "x");
        for (known, sighting) in [
            (vec![], Sighting::New),
            (vec![first], Sighting::Same),
            (vec![fingerprint("H", "2", "x")], Sighting::New),
            (vec![fingerprint("G", "1", "x")], Sighting::New),
            (vec![fingerprint("H", "1", "y")], Sighting::OtherBytes),
            (vec![fingerprint("H", "1", "y"), first], Sighting::Same),
            (vec![first, fingerprint("H", "1", "y")], Sighting::Same),
        ] {
            assert_eq!(first.among(known.iter().copied()), sighting, "{known:?}");
        }
    }

    #[test]
    fn facility_and_id_do_not_run_into_each_other() {
        assert_ne!(fingerprint("HA", "1", "x").id, fingerprint("H", "A1", "x").id);
        assert_eq!(fingerprint("H", "1", "x").id, fingerprint("H", "1", "y").id);
    }

    #[test]
    fn the_last_4096_are_remembered_and_a_repeat_takes_no_place() {
        let mut recent = Recent::default();
        assert!(recent.is_empty());
        for number in 0..RECENT {
            assert_eq!(recent.note(fingerprint("H", &number.to_string(), "x")), Sighting::New);
        }
        assert_eq!(recent.note(fingerprint("H", "0", "x")), Sighting::Same);
        assert_eq!(recent.note(fingerprint("H", "0", "y")), Sighting::OtherBytes);
        assert_eq!(recent.len(), RECENT);
        assert_eq!(
            recent.note(fingerprint("H", "0", "x")),
            Sighting::OtherBytes,
            "the first is forgotten"
        );
    }

    #[test]
    fn the_hash_of_the_bytes_is_xxh3_128() {
        let bytes = b"MSH|^~\\&|A|H|B|G|1||ADT^A08|1\r";
        let message = Message::parse(bytes).unwrap();
        assert_eq!(Fingerprint::of(&message).bytes, xxhash_rust::xxh3::xxh3_128(bytes));
    }
}
