//! The accepting side: Hello, Challenge, Proof, then the judge's word. Who may have which connection is the judge's to
//! know.
//!
//! **Invariant:** the judge is asked at most once, and only about a dialer that has proven the key.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, IntoBytes};

use super::intake::{Fixed, Intake};
use super::messages::{self, Challenge, FLAG_LZ4, Hello, MessageKind, Prefix, Proof, Refused, WelcomeMessage};
use super::transcript::{Label, Transcript};
use super::{Accepted, Claim, End, HandshakeRefusal, Offer, Party, Purpose, Step, TOPOLOGY_BYTES_MAX};

/// The accepting side of one handshake.
#[derive(Debug)]
pub struct Acceptor {
    party: Party,
    nonce: [u8; 16],
    transcript: Transcript,
    intake: Intake,
    state: State,
    proven: bool,
    peer_topology: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Hello,
    Proof {
        claim: Claim,
        digest: [u8; 16],
    },
    Topology {
        digest: [u8; 16],
        attached: usize,
        hash: [u8; 32],
    },
    Ended,
}

impl Acceptor {
    /// Waits for a dialer's Hello. `nonce` is random and never used before.
    #[must_use]
    pub fn new(party: Party, key: &[u8; 32], nonce: [u8; 16]) -> Acceptor {
        Acceptor {
            party,
            nonce,
            transcript: Transcript::new(key),
            intake: Intake::default(),
            state: State::Hello,
            proven: false,
            peer_topology: None,
        }
    }

    /// Takes what came, up to the end of one message: returns how many bytes that were and what is to be done. Call it
    /// again while bytes are left and the step is [`Step::Send`]; what is left after [`Step::Done`] belongs to the
    /// first frame.
    ///
    /// `judge` is asked at most once in the life of a handshake. After `Done` or `Refused` nothing is taken and the
    /// step is `More`.
    pub fn on_bytes(
        &mut self,
        input: &[u8],
        judge: impl FnOnce(&Claim) -> Result<Offer, HandshakeRefusal>,
    ) -> (usize, Step<Accepted>) {
        let mut rest = input;
        let step = match self.state {
            State::Ended => Ok(Step::More),
            State::Hello => self.on_hello(&mut rest),
            State::Proof { claim, digest } => self.on_proof(&mut rest, &claim, digest, judge),
            State::Topology { digest, attached, hash } => self.on_topology(&mut rest, digest, attached, hash),
        };
        let step = step.unwrap_or_else(|end| self.end(end));
        (input.len() - rest.len(), step)
    }

    /// The dialer's topology in canonical bytes, once it was refused because the digests differ. `None` too if it was
    /// too long to be sent.
    #[must_use]
    pub fn peer_topology(&self) -> Option<&[u8]> {
        self.peer_topology.as_deref()
    }

    fn on_hello(&mut self, rest: &mut &[u8]) -> Result<Step<Accepted>, End> {
        let Some(fixed) = self.intake.message(rest, &[MessageKind::Hello], &[])? else {
            return Ok(Step::More);
        };
        let hello = Hello::ref_from_bytes(&fixed.bytes).map_err(|_| HandshakeRefusal::Malformed)?;
        let claim = hello.claim()?;
        let any_cluster = claim.purpose == Purpose::Client && hello.cluster == [0; 16];
        if hello.cluster != self.party.cluster && !any_cluster {
            return Err(HandshakeRefusal::Cluster.into());
        }
        self.transcript.add(&fixed.bytes);
        let mut challenge = Challenge::new(&self.party, self.nonce);
        self.transcript.seal(Label::Acceptor, challenge.as_mut_bytes());
        self.state = State::Proof {
            claim,
            digest: hello.topology_digest,
        };
        Ok(Step::Send(challenge.as_bytes().to_vec()))
    }

    fn on_proof(
        &mut self,
        rest: &mut &[u8],
        claim: &Claim,
        digest: [u8; 16],
        judge: impl FnOnce(&Claim) -> Result<Offer, HandshakeRefusal>,
    ) -> Result<Step<Accepted>, End> {
        let differs = claim.purpose != Purpose::Client && digest != self.party.topology_digest;
        let with_topology: &[MessageKind] = if differs { &[MessageKind::Proof] } else { &[] };
        let kinds = [MessageKind::Proof, MessageKind::Refused];
        let Some(fixed) = self.intake.message(rest, &kinds, with_topology)? else {
            return Ok(Step::More);
        };
        if fixed.kind == MessageKind::Refused {
            return Err(refused_by_stranger(&fixed));
        }
        let proof = Proof::ref_from_bytes(&fixed.bytes).map_err(|_| HandshakeRefusal::Malformed)?;
        // Checked before anything that the message says is believed, and before its topology is read.
        if !self.transcript.open(Label::Dialer, &fixed.bytes) {
            return Err(HandshakeRefusal::Key.into());
        }
        self.proven = true;
        if proof.reserved != U32::ZERO || (fixed.attached == 0) != (proof.attached_hash == [0; 32]) {
            return Err(HandshakeRefusal::Malformed.into());
        }
        if fixed.attached != 0 {
            self.state = State::Topology {
                digest,
                attached: fixed.attached,
                hash: proof.attached_hash,
            };
            return self.on_topology(rest, digest, fixed.attached, proof.attached_hash);
        }
        if differs {
            return Err(self.topology_differs(digest).into());
        }
        if (claim.node, claim.incarnation) == (self.party.node, self.party.incarnation) {
            return Err(HandshakeRefusal::Oneself.into());
        }
        let offer = judge(claim)?;
        self.grant(claim, &offer)
    }

    fn on_topology(
        &mut self,
        rest: &mut &[u8],
        digest: [u8; 16],
        attached: usize,
        hash: [u8; 32],
    ) -> Result<Step<Accepted>, End> {
        let Some(topology) = self.intake.attached(rest, attached) else {
            return Ok(Step::More);
        };
        if messages::attached_hash(&topology) != hash {
            return Err(HandshakeRefusal::Malformed.into());
        }
        self.peer_topology = Some(topology);
        Err(self.topology_differs(digest).into())
    }

    fn topology_differs(&self, theirs: [u8; 16]) -> HandshakeRefusal {
        HandshakeRefusal::Topology {
            theirs,
            ours: self.party.topology_digest,
        }
    }

    fn grant(&mut self, claim: &Claim, offer: &Offer) -> Result<Step<Accepted>, End> {
        let epoch = match claim.purpose {
            Purpose::Client => 0,
            // Above what either side knows, so that no frame of an earlier connection can pass for one of this.
            Purpose::Link { .. } => claim
                .epoch
                .max(offer.epoch)
                .max(self.party.epoch)
                .checked_add(1)
                .ok_or(HandshakeRefusal::Malformed)?,
        };
        let lz4 = claim.lz4 && offer.lz4;
        let mut welcome = WelcomeMessage {
            prefix: Prefix::new(MessageKind::Welcome, 0),
            flags: if lz4 { FLAG_LZ4 } else { 0 },
            reserved: [0; 3],
            wall_ms: U64::new(offer.wall_ms),
            epoch: U32::new(epoch),
            message_bytes_max: U32::new(offer.message_bytes_max),
            mac: [0; 32],
        };
        self.transcript.seal(Label::Welcome, welcome.as_mut_bytes());
        self.state = State::Ended;
        Ok(Step::Done {
            send: welcome.as_bytes().to_vec(),
            peer: Accepted {
                claim: *claim,
                epoch,
                lz4,
            },
        })
    }

    fn end(&mut self, end: End) -> Step<Accepted> {
        self.state = State::Ended;
        let (refusal, by_peer) = match end {
            End::ByUs(refusal) => (refusal, false),
            End::ByPeer(refusal) => (refusal, true),
        };
        let send = match () {
            // An answer to a refusal would find nobody.
            () if by_peer => Vec::new(),
            () if self.proven => self.refused(refusal),
            () => messages::refuse_stranger(refusal),
        };
        Step::Refused { send, refusal, by_peer }
    }

    fn refused(&mut self, refusal: HandshakeRefusal) -> Vec<u8> {
        let attached: &[u8] = match refusal {
            HandshakeRefusal::Topology { .. } if self.party.topology.len() <= TOPOLOGY_BYTES_MAX => {
                &self.party.topology
            }
            _ => &[],
        };
        let mut refused = Refused::new(refusal, attached);
        self.transcript.seal(Label::Refused, refused.as_mut_bytes());
        [refused.as_bytes(), attached].concat()
    }
}

/// A dialer refuses before it has proven the key: what it says is believed only as far as it may be said by anybody.
fn refused_by_stranger(fixed: &Fixed) -> End {
    let refusal = Refused::ref_from_bytes(&fixed.bytes)
        .map_err(|_| HandshakeRefusal::Malformed)
        .and_then(|refused| Ok((refused.refusal()?, refused)));
    match refusal {
        Err(ours) => End::ByUs(ours),
        Ok((theirs, refused))
            if messages::is_for_strangers(theirs) && refused.mac == [0; 32] && refused.attached_hash == [0; 32] =>
        {
            End::ByPeer(theirs)
        }
        Ok(_) => End::ByUs(HandshakeRefusal::Malformed),
    }
}
