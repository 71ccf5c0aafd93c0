//! A node as a party to a handshake, and a judge that grants.

use waterpark_wire::handshake::{Claim, HandshakeRefusal, Offer, Party};

pub(crate) const KEY: [u8; 32] = [7; 32];
pub(crate) const CLUSTER: [u8; 16] = *b"a test's cluster";

/// A node whose topology is the same as every other's here.
pub(crate) fn node(id: u16) -> Party {
    Party {
        cluster: CLUSTER,
        node: id,
        incarnation: u64::from(id) * 100,
        shard: 1,
        shards: 2,
        out: false,
        epoch: 0,
        topology_digest: [6; 16],
        topology: vec![6; 40].into(),
    }
}

pub(crate) fn offer() -> Offer {
    Offer {
        wall_ms: 1_700_000_000_000,
        message_bytes_max: 1 << 20,
        lz4: true,
        epoch: 0,
    }
}

pub(crate) fn granted(_: &Claim) -> Result<Offer, HandshakeRefusal> {
    Ok(offer())
}
