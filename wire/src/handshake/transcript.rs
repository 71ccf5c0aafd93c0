//! The transcript of a handshake and the proofs over it. Knows bytes and the key, not what the bytes say.
//!
//! **Invariant:** a proof is over a label of 16 bytes and all messages so far. Messages have fixed lengths and the
//! label names who proves what, so two different situations never give the same input.

use std::fmt;

/// Bytes of a proof or MAC at the end of a message.
pub(super) const PROOF_BYTES: usize = 32;

/// Who proves what.
#[derive(Clone, Copy, Debug)]
pub(super) enum Label {
    /// The acceptor, that it has the key.
    Acceptor,
    /// The dialer, that it has the key.
    Dialer,
    /// The acceptor, that it grants the connection.
    Welcome,
    /// The acceptor, that it refuses the connection.
    Refused,
}

impl Label {
    fn bytes(self) -> &'static [u8; 16] {
        match self {
            Label::Acceptor => b"waterpark accept",
            Label::Dialer => b"waterpark dialer",
            Label::Welcome => b"waterpark grants",
            Label::Refused => b"waterpark refuse",
        }
    }
}

/// Everything said so far, and the key to prove it with.
pub(super) struct Transcript {
    key: [u8; 32],
    bytes: Vec<u8>,
}

impl Transcript {
    pub(super) fn new(key: &[u8; 32]) -> Transcript {
        Transcript {
            key: *key,
            bytes: Vec::with_capacity(super::HANDSHAKE_BYTES_MAX * 3),
        }
    }

    /// Adds a message that carries no proof.
    pub(super) fn add(&mut self, message: &[u8]) {
        self.bytes.extend_from_slice(message);
    }

    /// Fills in the proof at the end of our own message and adds it.
    pub(super) fn seal(&mut self, label: Label, message: &mut [u8]) {
        let (said, proof) = halves_mut(message);
        proof.copy_from_slice(self.proof(label, said).as_bytes());
        self.add(message);
    }

    /// Whether the proof at the end of the other side's message is right; the message is added if it is.
    pub(super) fn open(&mut self, label: Label, message: &[u8]) -> bool {
        let (said, proof) = message.split_at(message.len() - PROOF_BYTES);
        // Hashes compare in constant time, so a wrong proof says nothing about the right one.
        let right = blake3::Hash::from_slice(proof).is_ok_and(|proof| proof == self.proof(label, said));
        if right {
            self.add(message);
        }
        right
    }

    fn proof(&self, label: Label, said: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(label.bytes());
        hasher.update(&self.bytes);
        hasher.update(said);
        hasher.finalize()
    }
}

fn halves_mut(message: &mut [u8]) -> (&[u8], &mut [u8]) {
    let said = message.len() - PROOF_BYTES;
    let (said, proof) = message.split_at_mut(said);
    (said, proof)
}

impl fmt::Debug for Transcript {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transcript")
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}
