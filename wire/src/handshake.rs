//! The handshake: two sides prove the cluster key to each other before anything else is read.
//!
//! ```text
//! dialer                                                  acceptor
//!   Hello      nonce, purpose, who it is              ──►
//!              ◄── nonce, who it is, proof of the key       Challenge
//!   Proof      proof of the key [topology]            ──►   the judge is asked, once
//!              ◄── epoch, clock, limits, MAC                Welcome   or
//!              ◄── number, detail, MAC [topology]           Refused
//! ```
//!
//! Pure state machines: bytes in, bytes out. They know no socket, clock, topology or random source; nonces come from
//! the caller, who also bounds how long a handshake may take and how many there may be at once. Frames that follow are
//! not encrypted or signed: the proofs keep strangers and mistaken clusters out, they do not protect a connection
//! against one who can change bytes on its way.
//!
//! **Invariant:** each proof is taken over the role of its maker and every byte said before it, so that none can be
//! played back in another place, in the other direction or on another connection. A side that has not proven the key
//! learns nothing from a refusal but that its bytes, its cluster or its key are wrong.

mod acceptor;
mod dialer;
mod intake;
pub mod messages;
mod refusal;
mod transcript;

use std::fmt;
use std::sync::Arc;

pub use acceptor::Acceptor;
pub use dialer::Dialer;
pub use messages::refuse_stranger;
pub use refusal::HandshakeRefusal;

/// Bytes of the longest handshake message without an attached topology.
pub const HANDSHAKE_BYTES_MAX: usize = size_of::<messages::Challenge>();
/// Bytes of the longest topology that is attached to a message; a longer one is left out.
pub const TOPOLOGY_BYTES_MAX: usize = 1 << 20;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A link between two nodes.
    Link {
        /// Which of the links between them, from 0.
        number: u16,
    },
    /// A native client.
    Client,
}

/// One side, as it says of itself.
#[derive(Clone, Debug)]
pub struct Party {
    /// Its cluster; a client may leave it zero and takes any.
    pub cluster: [u8; 16],
    /// Its node id, from 1; 0 for a client.
    pub node: u16,
    /// Its incarnation; 0 for a client.
    pub incarnation: u64,
    /// Its shard that holds this end of the connection.
    pub shard: u16,
    /// How many shards it has.
    pub shards: u16,
    /// Its process is out for good: it serves as mailroom only.
    pub out: bool,
    /// The last epoch of this link that it knows, 0 for none.
    pub epoch: u32,
    /// Digest of its topology, zero for a client.
    pub topology_digest: [u8; 16],
    /// Its topology in canonical bytes, shown to a peer whose digest differs; empty for a client.
    pub topology: Arc<[u8]>,
}

impl Party {
    /// A client, which says nothing of itself and takes any cluster.
    #[must_use]
    pub fn client() -> Party {
        Party {
            cluster: [0; 16],
            node: 0,
            incarnation: 0,
            shard: 0,
            shards: 0,
            out: false,
            epoch: 0,
            topology_digest: [0; 16],
            topology: Arc::default(),
        }
    }
}

/// What an acceptor's judge grants a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The cluster's wall clock, ms since the epoch.
    pub wall_ms: u64,
    /// The longest message taken on this connection, in bytes.
    pub message_bytes_max: u32,
    /// The acceptor will send and take LZ4 frames.
    pub lz4: bool,
    /// The acceptor's last epoch of the link that is claimed, 0 for none.
    pub epoch: u32,
}

/// What a dialer that has proven the key says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// What the connection is for.
    pub purpose: Purpose,
    /// Its node id, 0 for a client.
    pub node: u16,
    /// Its incarnation, 0 for a client.
    pub incarnation: u64,
    /// Its shard that holds its end. Below `shards` on a link; unchecked for a client.
    pub shard: u16,
    /// How many shards it has.
    pub shards: u16,
    /// Its process is out for good.
    pub out: bool,
    /// The last epoch of this link that it knows.
    pub epoch: u32,
    /// Its release.
    pub release: Release,
    /// It will send and take LZ4 frames.
    pub lz4: bool,
}

/// What the acceptor says of itself and grants, as the dialer has it in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The acceptor's node id.
    pub node: u16,
    /// Its incarnation.
    pub incarnation: u64,
    /// Its cluster.
    pub cluster: [u8; 16],
    /// Its shard that holds its end.
    pub shard: u16,
    /// How many shards it has.
    pub shards: u16,
    /// Its process is out for good.
    pub out: bool,
    /// The link's new epoch, above every one that either side knew; 0 for a client.
    pub epoch: u32,
    /// The cluster's wall clock, ms since the epoch.
    pub wall_ms: u64,
    /// The longest message that the acceptor takes, in bytes.
    pub message_bytes_max: u32,
    /// Both sides send and take LZ4 frames.
    pub lz4: bool,
    /// The acceptor's release.
    pub release: Release,
}

/// What the acceptor has in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Who is at the other end.
    pub claim: Claim,
    /// The link's new epoch, above every one that either side knew; 0 for a client.
    pub epoch: u32,
    /// Both sides send and take LZ4 frames.
    pub lz4: bool,
}

/// What became of some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<T> {
    /// More bytes are needed, or the handshake is over.
    More,
    /// Send this and go on with the bytes that are left.
    Send(Vec<u8>),
    /// Send this, which may be empty; the handshake is done, and bytes that are left belong to the first frame.
    Done {
        /// What to send.
        send: Vec<u8>,
        /// The other side.
        peer: T,
    },
    /// Send this, which may be empty, and close.
    Refused {
        /// What to send.
        send: Vec<u8>,
        /// Why.
        refusal: HandshakeRefusal,
        /// The other side refused us; else we refused it.
        by_peer: bool,
    },
}

/// Who ends a handshake, and why.
enum End {
    ByUs(HandshakeRefusal),
    ByPeer(HandshakeRefusal),
}

impl From<HandshakeRefusal> for End {
    fn from(refusal: HandshakeRefusal) -> End {
        End::ByUs(refusal)
    }
}

/// A release, as its version says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    /// Breaking changes.
    pub major: u16,
    /// Additions; releases whose minor numbers are neighbours can talk.
    pub minor: u16,
    /// Repairs.
    pub patch: u16,
}

impl Release {
    /// This release.
    pub const CURRENT: Release = Release {
        major: number(env!("CARGO_PKG_VERSION_MAJOR")),
        minor: number(env!("CARGO_PKG_VERSION_MINOR")),
        patch: number(env!("CARGO_PKG_VERSION_PATCH")),
    };
}

/// A part of the version, read when this is compiled.
const fn number(text: &str) -> u16 {
    match u16::from_str_radix(text, 10) {
        Ok(number) => number,
        Err(_) => panic!("each part of the version fits 16 bits"),
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}
