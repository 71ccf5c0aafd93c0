//! Work as a pure function: the serial number of a message gives its actor and its bytes. So nothing about a message needs to be kept to
//! check it later, and a byte that changed on its way is seen.

use std::io::Write;

use serde::{Deserialize, Serialize};
use waterpark_ring::{KeyError, KeyRef};

use crate::skew::Ranks;

/// Which messages are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// 128 bytes to one of a million actors, uniformly where the run has no skew.
    W128,
    /// 128 bytes to one actor.
    HotActor,
    /// 128 bytes, one to each of a million actors.
    ColdActors,
    /// Values that are put under keys, and got: a `register` for each key.
    Kv {
        /// Of a hundred messages so many are no messages, but reads.
        reads: u8,
    },
    /// To some of a thousand actors, uniformly.
    Chosen(Chosen),
}

/// Some of the first thousand actors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen([u64; 16]);

impl Chosen {
    /// Actors that there are to be chosen from.
    pub const ACTORS: u64 = 16 * 64;

    /// Those for which this holds.
    ///
    /// # Panics
    /// If it holds for none.
    #[must_use]
    pub fn of(mut is_chosen: impl FnMut(u64) -> bool) -> Chosen {
        let words = std::array::from_fn(|word| {
            let first = word as u64 * 64;
            (0..64).fold(0, |bits, bit| bits | u64::from(is_chosen(first + bit)) << bit)
        });
        assert!(words.iter().any(|word| *word != 0), "a message goes to an actor");
        Chosen(words)
    }

    fn has(&self, actor: u64) -> bool {
        usize::try_from(actor / 64).is_ok_and(|word| self.0[word] >> (actor % 64) & 1 == 1)
    }

    /// The first of them from an actor on, and from the beginning again after the last.
    fn from(&self, actor: u64) -> u64 {
        let others = (0..Chosen::ACTORS).map(|step| (actor + step) % Chosen::ACTORS);
        others.into_iter().find(|actor| self.has(*actor)).unwrap_or(actor)
    }
}

impl Kind {
    /// As the command line names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::W128 => "w128",
            Kind::HotActor => "hot-actor",
            Kind::ColdActors => "cold-actors",
            Kind::Kv { .. } => "kv",
            Kind::Chosen(_) => "chosen",
        }
    }
}

/// One run's work.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Which.
    pub kind: Kind,
    /// Actors there are.
    pub actors: u64,
    /// Bytes of a message, at least 24.
    pub message_bytes: usize,
    /// Tells runs apart: messages of another run are recognised as such.
    pub seed: u64,
    /// The first serials go to each actor once, in turn, before the measurement.
    pub warm: u64,
    /// What the actors' ids begin with, at most 16 bytes: in a cluster with other actors, what tells these from them.
    pub prefix: &'static str,
    /// Where some groups are asked for more often than others, by W128 and kv: how often.
    pub skew: Option<&'static Ranks>,
}

/// Messages of `kv` have so many bytes: `put `, seed and serial in hexadecimal digits, and what a `register` takes at most.
pub const KV_BYTES: std::ops::RangeInclusive<usize> = 36..=204;
/// Messages are at least so long: seed, serial, check.
pub const MESSAGE_BYTES_MIN: usize = 24;
/// Bytes of the key of a workload's actor.
const KEY_BYTES_MAX: usize = 64;

/// A key that is written anew for each message, without an allocation.
#[derive(Clone, Debug, Default)]
pub struct KeyText {
    bytes: Vec<u8>,
}

impl Workload {
    /// The actor of a message.
    #[must_use]
    #[inline]
    pub fn actor(&self, serial: u64) -> u64 {
        match self.kind {
            Kind::HotActor => 0,
            Kind::ColdActors => serial % self.actors,
            Kind::W128 | Kind::Kv { .. } if serial < self.warm => serial % self.actors,
            Kind::W128 | Kind::Kv { .. } => {
                let word = mix(self.seed ^ mix(serial));
                match &self.skew {
                    None => word % self.actors,
                    Some(ranks) => ranks.actor(word),
                }
            }
            Kind::Chosen(chosen) => chosen.from(mix(self.seed ^ mix(serial)) % Chosen::ACTORS),
        }
    }

    /// Writes the message with this serial.
    #[inline]
    pub fn write(&self, serial: u64, message: &mut Vec<u8>) {
        message.clear();
        if let Kind::Kv { .. } = self.kind {
            // A value is text, so that it is shown as it was put.
            // A buffer takes whatever is written.
            drop(write!(message, "put {:016x}{serial:016x}", self.seed));
            let mut word = mix(self.seed ^ serial);
            while message.len() < self.message_bytes {
                message.push(b'a' + (word % 26) as u8);
                word = word.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23) ^ serial;
            }
            return;
        }
        message.extend_from_slice(&self.seed.to_le_bytes());
        message.extend_from_slice(&serial.to_le_bytes());
        let mut word = mix(self.seed ^ serial);
        while message.len() < self.message_bytes {
            let take = (self.message_bytes - message.len()).min(8);
            message.extend_from_slice(&word.to_le_bytes()[..take]);
            word = word.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23) ^ serial;
        }
    }

    /// The serial of a message of this run; `None` if it is of another run. `Err` if its bytes are not those that were sent.
    ///
    /// # Errors
    /// [`Changed`] with the serial that the message claims.
    pub fn serial(&self, message: &[u8], scratch: &mut Vec<u8>) -> Result<Option<u64>, Changed> {
        let word = |at: usize| {
            let bytes = message.get(at..at + 8)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        let hex = |at: usize| {
            let digits = std::str::from_utf8(message.get(at..at + 16)?).ok()?;
            u64::from_str_radix(digits, 16).ok()
        };
        let claimed = match self.kind {
            Kind::Kv { .. } => hex(4).zip(hex(20)),
            _ => word(0).zip(word(8)),
        };
        let Some((seed, serial)) = claimed else {
            return Ok(None);
        };
        if seed != self.seed {
            return Ok(None);
        }
        self.write(serial, scratch);
        if scratch.as_slice() == message {
            Ok(Some(serial))
        } else {
            Err(Changed(serial))
        }
    }

    /// The kind of all actors.
    #[must_use]
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Kv { .. } => "register",
            _ => "record",
        }
    }

    /// Whether there is no message of this number: a read has it.
    #[must_use]
    #[inline]
    pub fn is_read(&self, serial: u64) -> bool {
        match self.kind {
            // Not the word that chooses its actor, or some actors would only be read.
            Kind::Kv { reads } => serial >= self.warm && mix(mix(serial) ^ !self.seed) % 100 < u64::from(reads),
            _ => false,
        }
    }

    /// Writes the key of an actor.
    ///
    /// # Errors
    /// Never: kept so that the caller need not argue why.
    pub fn key<'a>(&self, actor: u64, text: &'a mut KeyText) -> Result<KeyRef<'a>, KeyError> {
        // Canonical form: kind, number of fields, then name and value with their lengths (`waterpark_ring::key`).
        text.bytes.clear();
        text.bytes.reserve(KEY_BYTES_MAX);
        let mut id = [0u8; 36];
        let mut left = &mut id[..];
        // Twenty digits hold any 64-bit number.
        drop(write!(left, "{}{actor:07}", self.prefix));
        let unused = left.len();
        let id = &id[..36 - unused];
        let kind = self.kind_name().as_bytes();
        text.bytes.push(u8::try_from(kind.len()).unwrap_or(u8::MAX));
        text.bytes.extend_from_slice(kind);
        text.bytes.push(1);
        text.bytes.push(2);
        text.bytes.extend_from_slice(b"id");
        let length = u16::try_from(id.len()).unwrap_or(u16::MAX);
        text.bytes.extend_from_slice(&length.to_le_bytes());
        text.bytes.extend_from_slice(id);
        KeyRef::new_checked(&text.bytes)
    }
}

/// A message whose bytes are not those that were sent under its serial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed(pub u64);

/// Spreads a number over all 64 bits.
#[inline]
pub(crate) fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORK: Workload = Workload {
        kind: Kind::W128,
        actors: 1_000_000,
        message_bytes: 128,
        seed: 7,
        warm: 10,
        prefix: "",
        skew: None,
    };

    #[test]
    fn a_message_names_its_serial_and_a_changed_byte_is_seen() {
        let (mut message, mut scratch) = (Vec::new(), Vec::new());
        for serial in [0, 1, 77, u64::MAX] {
            WORK.write(serial, &mut message);
            assert_eq!(message.len(), 128);
            assert_eq!(WORK.serial(&message, &mut scratch), Ok(Some(serial)));
            for at in 16..128 {
                let mut other = message.clone();
                other[at] ^= 1;
                assert_eq!(WORK.serial(&other, &mut scratch), Err(Changed(serial)));
            }
            message[0] ^= 1;
            assert_eq!(WORK.serial(&message, &mut scratch), Ok(None), "of another run");
        }
    }

    #[test]
    fn a_put_names_its_serial_as_text_and_a_changed_byte_is_seen() {
        let kind = Kind::Kv { reads: 30 };
        for message_bytes in [*KV_BYTES.start(), 100, *KV_BYTES.end()] {
            let work = Workload {
                kind,
                message_bytes,
                ..WORK
            };
            let (mut message, mut scratch) = (Vec::new(), Vec::new());
            for serial in [0, 77, u64::MAX] {
                work.write(serial, &mut message);
                assert_eq!(message.len(), message_bytes);
                assert!(message.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b' '));
                assert_eq!(work.serial(&message, &mut scratch), Ok(Some(serial)));
                for at in 20..message_bytes {
                    let mut other = message.clone();
                    other[at] ^= 1;
                    assert_ne!(work.serial(&other, &mut scratch), Ok(Some(serial)), "{at}");
                }
                message[4] ^= 1;
                assert_eq!(work.serial(&message, &mut scratch), Ok(None), "of another run");
            }
            let reads = (0..100_010).filter(|serial| work.is_read(*serial)).count();
            assert!(reads.abs_diff(30_000) < 1_000, "{reads}");
            assert!((0..10).all(|serial| !work.is_read(serial)), "what comes first is put");
            let mut text = KeyText::default();
            let parsed = waterpark_ring::Key::parse("register/id=0000005").unwrap();
            assert_eq!(work.key(5, &mut text).unwrap().bytes(), parsed.bytes());
        }
    }

    #[test]
    fn keys_are_those_that_text_gives() {
        let mut text = KeyText::default();
        for actor in [0, 5, 999_999, 12_345_678_901] {
            let parsed = waterpark_ring::Key::parse(&format!("record/id={actor:07}")).unwrap();
            assert_eq!(WORK.key(actor, &mut text).unwrap().bytes(), parsed.bytes());
        }
    }

    #[test]
    fn messages_go_to_all_chosen_actors_and_to_no_other() {
        let chosen = Chosen::of(|actor| [3, 64, 700, 1_023].contains(&actor));
        let kind = Kind::Chosen(chosen);
        let work = Workload { kind, ..WORK };
        let actors: std::collections::BTreeSet<u64> = (0..1_000).map(|serial| work.actor(serial)).collect();
        assert_eq!(actors.into_iter().collect::<Vec<_>>(), [3, 64, 700, 1_023]);
    }

    #[test]
    fn warm_messages_reach_every_actor_once() {
        let work = Workload { actors: 10, ..WORK };
        let actors: Vec<u64> = (0..10).map(|serial| work.actor(serial)).collect();
        assert_eq!(actors, (0..10).collect::<Vec<_>>());
    }
}
