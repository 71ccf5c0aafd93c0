//! Puts handshake messages together from pieces of any size. Knows lengths and kinds, not what a message says.
//!
//! **Invariant:** it never takes a byte beyond the message that is being read, and never holds more than that message's
//! bytes that have come.

use zerocopy::FromBytes;

use super::messages::{FORMAT, MAGIC, MessageKind, Prefix};
use super::{HandshakeRefusal, TOPOLOGY_BYTES_MAX};

const PREFIX_BYTES: usize = size_of::<Prefix>();

/// The message that is being read.
#[derive(Debug, Default)]
pub(super) struct Intake {
    bytes: Vec<u8>,
}

/// The fixed part of a message that came whole.
#[derive(Debug)]
pub(super) struct Fixed {
    pub(super) kind: MessageKind,
    pub(super) bytes: Vec<u8>,
    /// How many bytes are attached to it.
    pub(super) attached: usize,
}

impl Intake {
    /// Takes from `input` until the fixed part of a message of one of `kinds` is whole. `with_topology` are the kinds
    /// that may have one attached.
    ///
    /// # Errors
    /// `Malformed`, `Format` or `TooLong`, as soon as the bytes show it.
    pub(super) fn message(
        &mut self,
        input: &mut &[u8],
        kinds: &[MessageKind],
        with_topology: &[MessageKind],
    ) -> Result<Option<Fixed>, HandshakeRefusal> {
        let whole = self.fill(input, PREFIX_BYTES);
        let seen = self.bytes.len().min(MAGIC.len());
        if self.bytes[..seen] != MAGIC[..seen] {
            return Err(HandshakeRefusal::Malformed);
        }
        if !whole {
            return Ok(None);
        }
        let (prefix, _) = Prefix::read_from_prefix(&self.bytes).map_err(|_| HandshakeRefusal::Malformed)?;
        if prefix.format != FORMAT {
            return Err(HandshakeRefusal::Format { theirs: prefix.format });
        }
        let kind = kinds.iter().copied().find(|&kind| kind as u8 == prefix.kind);
        let kind = kind.ok_or(HandshakeRefusal::Malformed)?;
        let length = prefix.length.get() as usize;
        let attached = length.checked_sub(kind.bytes()).ok_or(HandshakeRefusal::Malformed)?;
        let attached_max = if with_topology.contains(&kind) {
            TOPOLOGY_BYTES_MAX
        } else {
            0
        };
        if attached > attached_max {
            return Err(HandshakeRefusal::TooLong);
        }
        if prefix.reserved.get() != 0 {
            return Err(HandshakeRefusal::Malformed);
        }
        if !self.fill(input, kind.bytes()) {
            return Ok(None);
        }
        Ok(Some(Fixed {
            kind,
            bytes: std::mem::take(&mut self.bytes),
            attached,
        }))
    }

    /// Takes from `input` until `wanted` attached bytes are whole.
    pub(super) fn attached(&mut self, input: &mut &[u8], wanted: usize) -> Option<Vec<u8>> {
        self.fill(input, wanted).then(|| std::mem::take(&mut self.bytes))
    }

    fn fill(&mut self, input: &mut &[u8], wanted: usize) -> bool {
        let take = wanted.saturating_sub(self.bytes.len()).min(input.len());
        let (taken, rest) = input.split_at(take);
        // Grows with what comes, never by what a length promises.
        self.bytes.extend_from_slice(taken);
        *input = rest;
        self.bytes.len() >= wanted
    }
}
