//! The dialling side: Hello, Challenge, Proof, then Welcome or Refused. Whom it meant to reach is the caller's to
//! compare.
//!
//! **Invariant:** it proves the key only to a side that has proven it first.

use zerocopy::{FromBytes, IntoBytes};

use super::intake::{Fixed, Intake};
use super::messages::{self, Challenge, FLAG_LZ4, FLAG_OUT, Hello, MessageKind, Proof, Refused, WelcomeMessage};
use super::transcript::{Label, Transcript};
use super::{End, HandshakeRefusal, Party, Purpose, Step, TOPOLOGY_BYTES_MAX, Welcome};

/// The dialling side of one handshake.
#[derive(Debug)]
pub struct Dialer {
    party: Party,
    purpose: Purpose,
    lz4: bool,
    hello: Hello,
    transcript: Transcript,
    intake: Intake,
    state: State,
    peer_topology: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Challenge,
    Verdict {
        challenge: Challenge,
    },
    Topology {
        refusal: HandshakeRefusal,
        attached: usize,
        hash: [u8; 32],
    },
    Ended,
}

impl Dialer {
    /// Prepares the Hello. `nonce` is random and never used before; `lz4` says whether this side will send and take LZ4
    /// frames.
    #[must_use]
    pub fn new(party: Party, purpose: Purpose, key: &[u8; 32], nonce: [u8; 16], lz4: bool) -> Dialer {
        let hello = Hello::new(&party, purpose, nonce, lz4);
        let mut transcript = Transcript::new(key);
        transcript.add(hello.as_bytes());
        Dialer {
            party,
            purpose,
            lz4,
            hello,
            transcript,
            intake: Intake::default(),
            state: State::Challenge,
            peer_topology: None,
        }
    }

    /// The first bytes to send.
    #[must_use]
    pub fn hello(&self) -> &[u8] {
        self.hello.as_bytes()
    }

    /// Takes what came, up to the end of one message: returns how many bytes that were and what is to be done. Call it
    /// again while bytes are left and the step is [`Step::Send`]; what is left after [`Step::Done`] belongs to the
    /// first frame.
    ///
    /// After `Done` or `Refused` nothing is taken and the step is `More`.
    pub fn on_bytes(&mut self, input: &[u8]) -> (usize, Step<Welcome>) {
        let mut rest = input;
        let step = match self.state {
            State::Ended => Ok(Step::More),
            State::Challenge => self.on_challenge(&mut rest),
            State::Verdict { challenge } => self.on_verdict(&mut rest, &challenge),
            State::Topology {
                refusal,
                attached,
                hash,
            } => self.on_topology(&mut rest, refusal, attached, hash),
        };
        let step = step.unwrap_or_else(|end| self.end(end));
        (input.len() - rest.len(), step)
    }

    /// The acceptor's topology in canonical bytes, once it has refused us because the digests differ. `None` too if it
    /// was too long to be sent.
    #[must_use]
    pub fn peer_topology(&self) -> Option<&[u8]> {
        self.peer_topology.as_deref()
    }

    fn on_challenge(&mut self, rest: &mut &[u8]) -> Result<Step<Welcome>, End> {
        let kinds = [MessageKind::Challenge, MessageKind::Refused];
        let Some(fixed) = self.intake.message(rest, &kinds, &[])? else {
            return Ok(Step::More);
        };
        if fixed.kind == MessageKind::Refused {
            return self.on_refused(rest, &fixed);
        }
        let challenge = Challenge::read_from_bytes(&fixed.bytes).map_err(|_| HandshakeRefusal::Malformed)?;
        challenge.check()?;
        let any_cluster = self.purpose == Purpose::Client && self.party.cluster == [0; 16];
        if challenge.cluster != self.party.cluster && !any_cluster {
            return Err(HandshakeRefusal::Cluster.into());
        }
        if !self.transcript.open(Label::Acceptor, &fixed.bytes) {
            return Err(HandshakeRefusal::Key.into());
        }
        let attached: &[u8] = if self.differs(&challenge) && self.party.topology.len() <= TOPOLOGY_BYTES_MAX {
            &self.party.topology
        } else {
            &[]
        };
        let mut proof = Proof::new(attached);
        self.transcript.seal(Label::Dialer, proof.as_mut_bytes());
        self.state = State::Verdict { challenge };
        Ok(Step::Send([proof.as_bytes(), attached].concat()))
    }

    fn on_verdict(&mut self, rest: &mut &[u8], challenge: &Challenge) -> Result<Step<Welcome>, End> {
        let kinds = [MessageKind::Welcome, MessageKind::Refused];
        let Some(fixed) = self.intake.message(rest, &kinds, &[MessageKind::Refused])? else {
            return Ok(Step::More);
        };
        if fixed.kind == MessageKind::Refused {
            return self.on_refused(rest, &fixed);
        }
        let granted = WelcomeMessage::ref_from_bytes(&fixed.bytes).map_err(|_| HandshakeRefusal::Malformed)?;
        if !self.transcript.open(Label::Welcome, &fixed.bytes) {
            return Err(HandshakeRefusal::Key.into());
        }
        if self.differs(challenge) {
            return Err(HandshakeRefusal::Topology {
                theirs: challenge.topology_digest,
                ours: self.party.topology_digest,
            }
            .into());
        }
        let lz4 = granted.flags & FLAG_LZ4 != 0;
        let epoch = granted.epoch.get();
        let epoch_fits = match self.purpose {
            Purpose::Client => epoch == 0,
            Purpose::Link { .. } => epoch > self.party.epoch,
        };
        if granted.flags & !FLAG_LZ4 != 0 || granted.reserved != [0; 3] || (lz4 && !self.lz4) || !epoch_fits {
            return Err(HandshakeRefusal::Malformed.into());
        }
        self.state = State::Ended;
        Ok(Step::Done {
            send: Vec::new(),
            peer: Welcome {
                node: challenge.node.get(),
                incarnation: challenge.incarnation.get(),
                cluster: challenge.cluster,
                shard: challenge.shard.get(),
                shards: challenge.shards.get(),
                out: challenge.flags & FLAG_OUT != 0,
                epoch,
                wall_ms: granted.wall_ms.get(),
                message_bytes_max: granted.message_bytes_max.get(),
                lz4,
                release: challenge.release.release(),
            },
        })
    }

    fn on_refused(&mut self, rest: &mut &[u8], fixed: &Fixed) -> Result<Step<Welcome>, End> {
        let refused = Refused::ref_from_bytes(&fixed.bytes).map_err(|_| HandshakeRefusal::Malformed)?;
        let refusal = refused.refusal()?;
        if refused.mac == [0; 32] {
            // Anybody on the way could have said it, so only what a stranger may be told is believed.
            if !messages::is_for_strangers(refusal) || fixed.attached != 0 || refused.attached_hash != [0; 32] {
                return Err(HandshakeRefusal::Malformed.into());
            }
            return Err(End::ByPeer(refusal));
        }
        if !self.transcript.open(Label::Refused, &fixed.bytes) {
            return Err(HandshakeRefusal::Key.into());
        }
        let is_topology = matches!(refusal, HandshakeRefusal::Topology { .. });
        if (fixed.attached == 0) != (refused.attached_hash == [0; 32]) || (fixed.attached != 0 && !is_topology) {
            return Err(HandshakeRefusal::Malformed.into());
        }
        if fixed.attached == 0 {
            return Err(End::ByPeer(refusal));
        }
        self.state = State::Topology {
            refusal,
            attached: fixed.attached,
            hash: refused.attached_hash,
        };
        self.on_topology(rest, refusal, fixed.attached, refused.attached_hash)
    }

    fn on_topology(
        &mut self,
        rest: &mut &[u8],
        refusal: HandshakeRefusal,
        attached: usize,
        hash: [u8; 32],
    ) -> Result<Step<Welcome>, End> {
        let Some(topology) = self.intake.attached(rest, attached) else {
            return Ok(Step::More);
        };
        if messages::attached_hash(&topology) != hash {
            return Err(HandshakeRefusal::Malformed.into());
        }
        self.peer_topology = Some(topology);
        Err(End::ByPeer(refusal))
    }

    fn differs(&self, challenge: &Challenge) -> bool {
        self.purpose != Purpose::Client && challenge.topology_digest != self.party.topology_digest
    }

    fn end(&mut self, end: End) -> Step<Welcome> {
        // Once the proof is sent the acceptor may be reading frames already, so nothing more is said in the language of
        // the handshake.
        let is_heard = matches!(self.state, State::Challenge);
        self.state = State::Ended;
        match end {
            End::ByUs(refusal) => Step::Refused {
                send: if is_heard {
                    messages::refuse_stranger(refusal)
                } else {
                    Vec::new()
                },
                refusal,
                by_peer: false,
            },
            End::ByPeer(refusal) => Step::Refused {
                send: Vec::new(),
                refusal,
                by_peer: true,
            },
        }
    }
}
