//! The five messages of the handshake: fixed little-endian layouts, drawn in `docs/frame_format.md`.
//!
//! Knows what a message may say, not when: order and proofs are for the two machines. **Invariant:** what a `check`
//! lets pass has a value in our own types, so nothing behind it can fail.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{HandshakeRefusal, Party, Purpose, Release};

/// What each message begins with.
pub const MAGIC: [u8; 4] = *b"WPH1";
/// The format that this release speaks.
pub const FORMAT: u8 = 1;

/// The side's process is out for good.
pub const FLAG_OUT: u8 = 1;
/// The side will send and take LZ4 frames; in a Welcome, both will.
pub const FLAG_LZ4: u8 = 2;
/// `Hello::purpose` of a link.
pub const PURPOSE_LINK: u8 = 1;
/// `Hello::purpose` of a client.
pub const PURPOSE_CLIENT: u8 = 2;

/// Which message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MessageKind {
    /// [`Hello`].
    Hello = 1,
    /// [`Challenge`].
    Challenge = 2,
    /// [`Proof`].
    Proof = 3,
    /// [`WelcomeMessage`].
    Welcome = 4,
    /// [`Refused`].
    Refused = 5,
}

impl MessageKind {
    /// Bytes of the message without an attached topology.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            MessageKind::Hello => size_of::<Hello>(),
            MessageKind::Challenge => size_of::<Challenge>(),
            MessageKind::Proof => size_of::<Proof>(),
            MessageKind::Welcome => size_of::<WelcomeMessage>(),
            MessageKind::Refused => size_of::<Refused>(),
        }
    }
}

/// The first bytes of every message.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Prefix {
    /// [`MAGIC`].
    pub magic: [u8; 4],
    /// [`FORMAT`].
    pub format: u8,
    /// A [`MessageKind`].
    pub kind: u8,
    /// Zero.
    pub reserved: U16,
    /// Bytes of the message with this prefix and what is attached.
    pub length: U32,
}

impl Prefix {
    /// The prefix of a message with so many attached bytes.
    ///
    /// # Panics
    /// If `attached` does not fit 32 bits: callers bound it by [`super::TOPOLOGY_BYTES_MAX`].
    #[must_use]
    pub fn new(kind: MessageKind, attached: usize) -> Prefix {
        Prefix {
            magic: MAGIC,
            format: FORMAT,
            kind: kind as u8,
            reserved: U16::ZERO,
            length: U32::new(u32::try_from(kind.bytes() + attached).expect("a topology is bounded far below 4 GiB")),
        }
    }
}

/// A release as it is sent.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ReleaseNumbers {
    /// Major.
    pub major: U16,
    /// Minor.
    pub minor: U16,
    /// Patch.
    pub patch: U16,
}

impl ReleaseNumbers {
    /// This release.
    #[must_use]
    pub fn current() -> ReleaseNumbers {
        ReleaseNumbers {
            major: U16::new(Release::CURRENT.major),
            minor: U16::new(Release::CURRENT.minor),
            patch: U16::new(Release::CURRENT.patch),
        }
    }

    /// The release that they name.
    #[must_use]
    pub fn release(&self) -> Release {
        Release {
            major: self.major.get(),
            minor: self.minor.get(),
            patch: self.patch.get(),
        }
    }
}

/// The dialer's first message.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Hello {
    /// Kind `Hello`.
    pub prefix: Prefix,
    /// `PURPOSE_*`.
    pub purpose: u8,
    /// `FLAG_*`.
    pub flags: u8,
    /// Number of the link, 0 for a client.
    pub number: U16,
    /// The dialer's cluster; zero for a client that takes any.
    pub cluster: [u8; 16],
    /// Random, never used before.
    pub nonce: [u8; 16],
    /// Digest of its topology, zero for a client.
    pub topology_digest: [u8; 16],
    /// Its incarnation, 0 for a client.
    pub incarnation: U64,
    /// The last epoch of this link that it knows.
    pub epoch: U32,
    /// Its node id, 0 for a client.
    pub node: U16,
    /// Its shard.
    pub shard: U16,
    /// Its shards.
    pub shards: U16,
    /// Its release.
    pub release: ReleaseNumbers,
}

impl Hello {
    /// What a dialer says of itself.
    #[must_use]
    pub fn new(party: &Party, purpose: Purpose, nonce: [u8; 16], lz4: bool) -> Hello {
        let (purpose, number) = match purpose {
            Purpose::Link { number } => (PURPOSE_LINK, number),
            Purpose::Client => (PURPOSE_CLIENT, 0),
        };
        Hello {
            prefix: Prefix::new(MessageKind::Hello, 0),
            purpose,
            flags: flags(party.out, lz4),
            number: U16::new(number),
            cluster: party.cluster,
            nonce,
            topology_digest: party.topology_digest,
            incarnation: U64::new(party.incarnation),
            epoch: U32::new(party.epoch),
            node: U16::new(party.node),
            shard: U16::new(party.shard),
            shards: U16::new(party.shards),
            release: ReleaseNumbers::current(),
        }
    }

    /// What it says.
    ///
    /// # Errors
    /// `Malformed` if a link is claimed by nobody, or a client claims to be a node.
    pub(super) fn claim(&self) -> Result<super::Claim, HandshakeRefusal> {
        let (node, incarnation) = (self.node.get(), self.incarnation.get());
        let (shard, shards) = (self.shard.get(), self.shards.get());
        let epoch = self.epoch.get();
        let (purpose, fits) = match self.purpose {
            // The last number of all is left unused, because the new epoch must lie above it.
            PURPOSE_LINK => (
                Purpose::Link {
                    number: self.number.get(),
                },
                is_node(node, incarnation, shard, shards) && epoch != u32::MAX,
            ),
            PURPOSE_CLIENT => (
                Purpose::Client,
                node == 0 && incarnation == 0 && self.number.get() == 0 && self.flags & FLAG_OUT == 0,
            ),
            _ => return Err(HandshakeRefusal::Malformed),
        };
        if !fits || self.flags & !(FLAG_OUT | FLAG_LZ4) != 0 {
            return Err(HandshakeRefusal::Malformed);
        }
        Ok(super::Claim {
            purpose,
            node,
            incarnation,
            shard,
            shards,
            out: self.flags & FLAG_OUT != 0,
            epoch,
            release: self.release.release(),
            lz4: self.flags & FLAG_LZ4 != 0,
        })
    }
}

/// The acceptor's answer to a Hello.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Challenge {
    /// Kind `Challenge`.
    pub prefix: Prefix,
    /// `FLAG_OUT` or nothing.
    pub flags: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// The acceptor's cluster.
    pub cluster: [u8; 16],
    /// Random, never used before.
    pub nonce: [u8; 16],
    /// Digest of its topology.
    pub topology_digest: [u8; 16],
    /// Its incarnation.
    pub incarnation: U64,
    /// Its node id.
    pub node: U16,
    /// Its shard.
    pub shard: U16,
    /// Its shards.
    pub shards: U16,
    /// Its release.
    pub release: ReleaseNumbers,
    /// Zero.
    pub reserved2: [u8; 4],
    /// Keyed BLAKE3 over `waterpark accept`, the Hello, and this message before the proof.
    pub proof: [u8; 32],
}

impl Challenge {
    /// What an acceptor says of itself, without the proof.
    #[must_use]
    pub fn new(party: &Party, nonce: [u8; 16]) -> Challenge {
        Challenge {
            prefix: Prefix::new(MessageKind::Challenge, 0),
            flags: flags(party.out, false),
            reserved: [0; 3],
            cluster: party.cluster,
            nonce,
            topology_digest: party.topology_digest,
            incarnation: U64::new(party.incarnation),
            node: U16::new(party.node),
            shard: U16::new(party.shard),
            shards: U16::new(party.shards),
            release: ReleaseNumbers::current(),
            reserved2: [0; 4],
            proof: [0; 32],
        }
    }

    /// # Errors
    /// `Malformed` if it comes from nobody or has a value where there is none.
    pub(super) fn check(&self) -> Result<(), HandshakeRefusal> {
        let node = is_node(
            self.node.get(),
            self.incarnation.get(),
            self.shard.get(),
            self.shards.get(),
        );
        let plain = self.flags & !FLAG_OUT == 0 && self.reserved == [0; 3] && self.reserved2 == [0; 4];
        (node && plain).then_some(()).ok_or(HandshakeRefusal::Malformed)
    }
}

/// The dialer's answer to a Challenge. Its topology follows if it is for a link and the digests differ.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Proof {
    /// Kind `Proof`.
    pub prefix: Prefix,
    /// Zero.
    pub reserved: U32,
    /// BLAKE3 of what is attached, zero if nothing is.
    pub attached_hash: [u8; 32],
    /// Keyed BLAKE3 over `waterpark dialer`, the Hello, the Challenge, and this message before the proof.
    pub proof: [u8; 32],
}

impl Proof {
    /// The message without the proof.
    #[must_use]
    pub fn new(attached: &[u8]) -> Proof {
        Proof {
            prefix: Prefix::new(MessageKind::Proof, attached.len()),
            reserved: U32::ZERO,
            attached_hash: attached_hash(attached),
            proof: [0; 32],
        }
    }
}

/// The acceptor grants the connection.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct WelcomeMessage {
    /// Kind `Welcome`.
    pub prefix: Prefix,
    /// `FLAG_LZ4` or nothing.
    pub flags: u8,
    /// Zero.
    pub reserved: [u8; 3],
    /// The cluster's wall clock, ms since the epoch.
    pub wall_ms: U64,
    /// The link's new epoch, 0 for a client.
    pub epoch: U32,
    /// The longest message, in bytes.
    pub message_bytes_max: U32,
    /// Keyed BLAKE3 over `waterpark grants`, all messages so far, and this one before the MAC.
    pub mac: [u8; 32],
}

/// One side ends the handshake. The acceptor's topology follows if the topologies differ.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Refused {
    /// Kind `Refused`.
    pub prefix: Prefix,
    /// A [`HandshakeRefusal`]'s number.
    pub number: U16,
    /// Zero.
    pub reserved: U16,
    /// `Topology`: the receiver's digest, then the sender's. `Format`: the sender's format. Else zero.
    pub detail: [u8; 32],
    /// BLAKE3 of what is attached, zero if nothing is.
    pub attached_hash: [u8; 32],
    /// Keyed BLAKE3 over `waterpark refuse`, all messages so far, and this one before the MAC; zero before the receiver
    /// has proven the key.
    pub mac: [u8; 32],
}

impl Refused {
    /// The message without the MAC.
    #[must_use]
    pub fn new(refusal: HandshakeRefusal, attached: &[u8]) -> Refused {
        let mut detail = [0; 32];
        match refusal {
            HandshakeRefusal::Topology { theirs, ours } => {
                detail[..16].copy_from_slice(&theirs);
                detail[16..].copy_from_slice(&ours);
            }
            HandshakeRefusal::Format { .. } => detail[0] = FORMAT,
            _ => {}
        }
        Refused {
            prefix: Prefix::new(MessageKind::Refused, attached.len()),
            number: U16::new(refusal.number()),
            reserved: U16::ZERO,
            detail,
            attached_hash: attached_hash(attached),
            mac: [0; 32],
        }
    }

    /// The refusal as its receiver sees it: `ours` is the receiver's.
    ///
    /// # Errors
    /// `Malformed` if the number or the detail is unknown.
    pub(super) fn refusal(&self) -> Result<HandshakeRefusal, HandshakeRefusal> {
        let (ours, theirs) = self.detail.split_at(16);
        let refusal = match HandshakeRefusal::from_number(self.number.get()).ok_or(HandshakeRefusal::Malformed)? {
            HandshakeRefusal::Topology { .. } => HandshakeRefusal::Topology {
                ours: ours.try_into().expect("half of 32 bytes"),
                theirs: theirs.try_into().expect("half of 32 bytes"),
            },
            HandshakeRefusal::Format { .. } => HandshakeRefusal::Format { theirs: self.detail[0] },
            _ if self.detail != [0; 32] => return Err(HandshakeRefusal::Malformed),
            plain => plain,
        };
        if self.reserved != U16::ZERO {
            return Err(HandshakeRefusal::Malformed);
        }
        Ok(refusal)
    }
}

/// A refusal for a side that has not proven the key, as for one that comes while there are too many handshakes, while
/// the process is stopping, or that takes too long. The caller sends it in the place of what comes next.
///
/// A refusal that a stranger may not be told goes out as `Key`.
#[must_use]
pub fn refuse_stranger(refusal: HandshakeRefusal) -> Vec<u8> {
    let told = if is_for_strangers(refusal) {
        refusal
    } else {
        HandshakeRefusal::Key
    };
    Refused::new(told, &[]).as_bytes().to_vec()
}

/// Whether a side may be told this before it has proven the key, and may believe it without a MAC.
pub(super) fn is_for_strangers(refusal: HandshakeRefusal) -> bool {
    use HandshakeRefusal as R;
    match refusal {
        R::Malformed | R::TooLong | R::Format { .. } | R::Cluster | R::Key => true,
        R::Busy | R::Stopping | R::NotLoopback | R::Purpose | R::Late => true,
        R::Topology { .. } | R::UnknownNode | R::Oneself => false,
        R::WrongDialer | R::WrongLink | R::StaleIncarnation => false,
    }
}

/// What a message says of its attached bytes.
pub(super) fn attached_hash(attached: &[u8]) -> [u8; 32] {
    if attached.is_empty() {
        [0; 32]
    } else {
        *blake3::hash(attached).as_bytes()
    }
}

fn is_node(node: u16, incarnation: u64, shard: u16, shards: u16) -> bool {
    node != 0 && incarnation != 0 && shard < shards
}

fn flags(out: bool, lz4: bool) -> u8 {
    (if out { FLAG_OUT } else { 0 }) | (if lz4 { FLAG_LZ4 } else { 0 })
}

const _: () = assert!(size_of::<Prefix>() == 12);
const _: () = assert!(size_of::<Hello>() == 88);
const _: () = assert!(size_of::<Challenge>() == 120);
const _: () = assert!(size_of::<Proof>() == 80);
const _: () = assert!(size_of::<WelcomeMessage>() == 64);
const _: () = assert!(size_of::<Refused>() == 112);
