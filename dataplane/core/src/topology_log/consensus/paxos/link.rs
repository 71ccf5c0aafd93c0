//! What lies between two voters: the header of each message, and what it tells of messages that are missing.
//!
//! The library wants streams: what it sends on one arrives in order and once, or the stream breaks and both ends are told. Without that it is
//! *wrong*, not slow: a copy of an old synchronization cuts off entries that were accepted since. Links between nodes are such streams, but
//! they are made again, over shards, and in simulation they are not streams at all. So each message carries the incarnations of both ends
//! and the number of the last message of its stream, and says how often a message of the opposite one was missed.
//!
//! ```text
//! 0         16        20     22     24            32            40      48      52     53    56
//! +---------+---------+------+------+-------------+-------------+-------+-------+------+-----+---- - -
//! | cluster | config. | from | to   | sender's    | receiver's  | sent  | gaps  | kind | 0   | body
//! |         |         |      |      | incarnation | inc. or 0   |       |       |      |     |
//! +---------+---------+------+------+-------------+-------------+-------+-------+------+-----+---- - -
//! ```
//!
//! A hello (kind 0) tells one's incarnation to whoever does not know it. Heartbeats are no part of the stream: they carry its last number, so
//! that a loss is seen though nothing follows it.
//!
//! **Invariant:** of one stream each message is let through at most once, and none after a later one.

use super::super::bytes::Reader;
use super::super::{Birth, MessageError, VoterId};
use super::message::FIRST_BEAT;
use crate::ids::Incarnation;

/// Bytes before the body.
pub(super) const HEADER_BYTES: usize = 56;

/// The kind of a message without a body: this is who I am.
pub(super) const HELLO: u8 = 0;

/// What stands before the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    from: VoterId,
    sender: u64,
    receiver: u64,
    sent: u64,
    gaps: u32,
    pub(super) kind: u8,
}

/// What a header told, beyond its message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Arrival {
    /// The peer does not know our incarnation, or an older one.
    pub(super) wants_hello: bool,
    /// The peer began a new life.
    pub(super) new_life: bool,
    /// Messages to or from the peer got lost.
    pub(super) lost: bool,
    /// Of these, we missed some.
    pub(super) gap: bool,
}

/// One other voter, as this life of ours knows it.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) voter: VoterId,
    /// Its incarnation, 0 before anything came.
    incarnation: u64,
    sent: u64,
    received: u64,
    /// The last number that its heartbeat before told: what is missing since then is lost, not late.
    told: u64,
    /// How often we missed messages of it.
    gaps: u32,
    /// How often it missed messages of ours, as it said.
    gaps_told: u32,
    /// Its sockets closed, and nothing came since.
    pub(super) is_closed: bool,
}

impl Peer {
    pub(super) fn new(voter: VoterId) -> Peer {
        Peer {
            voter,
            incarnation: 0,
            sent: 0,
            received: 0,
            told: 0,
            gaps: 0,
            gaps_told: 0,
            is_closed: false,
        }
    }

    /// Whether it was heard: before, nothing but a hello can be sent to it.
    pub(super) fn is_known(&self) -> bool {
        self.incarnation != 0
    }

    /// A message to this peer. A hello goes to an unknown one too.
    pub(super) fn message(&mut self, birth: &Birth, own: Incarnation, kind: u8, body: &[u8]) -> Vec<u8> {
        assert!(kind == HELLO || self.is_known());
        if kind != HELLO && kind < FIRST_BEAT {
            self.sent += 1;
        }
        let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
        out.extend_from_slice(&birth.cluster().0);
        out.extend_from_slice(&birth.configuration().to_le_bytes());
        out.extend_from_slice(&birth.own().0.to_le_bytes());
        out.extend_from_slice(&self.voter.0.to_le_bytes());
        out.extend_from_slice(&own.0.to_le_bytes());
        out.extend_from_slice(&self.incarnation.to_le_bytes());
        out.extend_from_slice(&self.sent.to_le_bytes());
        out.extend_from_slice(&self.gaps.to_le_bytes());
        out.extend_from_slice(&[kind, 0, 0, 0]);
        out.extend_from_slice(body);
        out
    }

    /// Takes note of a header of this peer, and says whether its message may go on to the library.
    pub(super) fn arrive(&mut self, header: &Header, own: Incarnation) -> (Arrival, Result<(), MessageError>) {
        let mut arrival = Arrival::default();
        if header.sender < self.incarnation {
            return (arrival, Err(MessageError::OtherLife));
        }
        self.is_closed = false;
        if header.sender > self.incarnation {
            *self = Peer {
                incarnation: header.sender,
                ..Peer::new(self.voter)
            };
            arrival.new_life = true;
        }
        if header.receiver != own.0 {
            arrival.wants_hello = true;
            let verdict = if header.kind == HELLO {
                Ok(())
            } else {
                Err(MessageError::OtherLife)
            };
            return (arrival, verdict);
        }
        if header.gaps > self.gaps_told {
            self.gaps_told = header.gaps;
            arrival.lost = true;
        }
        let verdict = self.count(header, &mut arrival);
        (arrival, verdict)
    }

    fn count(&mut self, header: &Header, arrival: &mut Arrival) -> Result<(), MessageError> {
        let missed = if header.kind == HELLO || header.kind >= FIRST_BEAT {
            // What was sent a heartbeat ago and is not here is lost. What was sent since may still be on its way.
            let missed = self.told > self.received;
            self.received = self.received.max(self.told);
            self.told = self.told.max(header.sent);
            missed
        } else if header.sent <= self.received {
            return Err(MessageError::Repeated);
        } else {
            let missed = header.sent != self.received + 1;
            self.received = header.sent;
            missed
        };
        if missed {
            self.gaps = self.gaps.saturating_add(1);
            arrival.lost = true;
            arrival.gap = true;
        }
        Ok(())
    }
}

/// Reads the header of a message that came from `from`.
pub(super) fn read_header(message: &[u8], from: VoterId, birth: &Birth) -> Result<Header, MessageError> {
    let mut reader = Reader::new(message);
    let cluster: [u8; 16] = reader.array().ok_or(MessageError::NoHeader)?;
    if cluster != birth.cluster().0 {
        return Err(MessageError::OtherCluster);
    }
    if reader.u32().ok_or(MessageError::NoHeader)? != birth.configuration() {
        return Err(MessageError::OtherConfiguration);
    }
    let (header, to) = fields(&mut reader).ok_or(MessageError::NoHeader)?;
    let is_voter = birth.peers().any(|peer| peer == from);
    if !is_voter || header.from != from || to != birth.own() {
        return Err(MessageError::Stranger);
    }
    // No process has incarnation 0, and no stream so many messages.
    if header.sender == 0 || header.sent > 1 << 62 {
        return Err(MessageError::Malformed);
    }
    Ok(header)
}

fn fields(reader: &mut Reader<'_>) -> Option<(Header, VoterId)> {
    let (from, to) = (VoterId(reader.u16()?), VoterId(reader.u16()?));
    let header = Header {
        from,
        sender: reader.u64()?,
        receiver: reader.u64()?,
        sent: reader.u64()?,
        gaps: reader.u32()?,
        kind: reader.u8()?,
    };
    reader.take(3)?;
    Some((header, to))
}

#[cfg(test)]
mod tests {
    use waterpark_ring::ClusterId;

    use super::super::super::{Ended, NextVoters};
    use super::*;

    const KIND: u8 = 5;

    fn birth(own: u16) -> Birth {
        Birth::first(ClusterId([3; 16]), VoterId(own), &[VoterId(1), VoterId(2)]).unwrap()
    }

    /// Voter 1 at `life`, and what it sends to voter 2.
    struct End {
        peer: Peer,
        life: Incarnation,
    }

    impl End {
        fn new(life: u64, peer_life: u64) -> End {
            let peer = Peer {
                incarnation: peer_life,
                ..Peer::new(VoterId(2))
            };
            End {
                peer,
                life: Incarnation(life),
            }
        }

        fn send(&mut self, kind: u8) -> Header {
            let message = self.peer.message(&birth(1), self.life, kind, b"body");
            assert_eq!(&message[HEADER_BYTES..], b"body");
            read_header(&message, VoterId(1), &birth(2)).unwrap()
        }
    }

    fn receiver() -> Peer {
        Peer {
            incarnation: 10,
            ..Peer::new(VoterId(1))
        }
    }

    const OURS: Incarnation = Incarnation(20);

    #[test]
    fn a_stream_lets_each_message_through_once_and_in_order() {
        let (mut end, mut peer) = (End::new(10, 20), receiver());
        let [first, second, third] = [(); 3].map(|()| end.send(KIND));
        assert_eq!(peer.arrive(&first, OURS), (Arrival::default(), Ok(())));
        assert_eq!(peer.arrive(&first, OURS).1, Err(MessageError::Repeated));
        let (arrival, verdict) = peer.arrive(&third, OURS);
        assert!(arrival.lost && arrival.gap && verdict.is_ok());
        assert_eq!(peer.arrive(&second, OURS).1, Err(MessageError::Repeated));
    }

    #[test]
    fn a_lost_last_message_is_seen_by_the_second_heartbeat() {
        let (mut end, mut peer) = (End::new(10, 20), receiver());
        end.send(KIND);
        assert!(!peer.arrive(&end.send(FIRST_BEAT), OURS).0.lost);
        assert!(peer.arrive(&end.send(FIRST_BEAT), OURS).0.gap);
        assert!(!peer.arrive(&end.send(FIRST_BEAT), OURS).0.lost);
    }

    #[test]
    fn whoever_missed_a_message_says_so_in_all_that_follows() {
        let mut peer = receiver();
        peer.gaps = 1;
        let message = peer.message(&birth(2), OURS, FIRST_BEAT, b"");
        let header = read_header(&message, VoterId(2), &birth(1)).unwrap();
        let mut end = End::new(10, 20);
        let (arrival, _) = end.peer.arrive(&header, end.life);
        assert!(arrival.lost && !arrival.gap);
        assert!(!end.peer.arrive(&header, end.life).0.lost);
    }

    #[test]
    fn messages_of_and_to_other_lives_are_dropped() {
        let mut peer = receiver();
        let (arrival, verdict) = peer.arrive(&End::new(10, 19).send(KIND), OURS);
        assert!(arrival.wants_hello);
        assert_eq!(verdict, Err(MessageError::OtherLife));
        // Its next life begins its stream anew.
        let (arrival, verdict) = peer.arrive(&End::new(11, 20).send(KIND), OURS);
        assert!(arrival.new_life && !arrival.lost && verdict.is_ok());
        assert_eq!(
            peer.arrive(&End::new(10, 20).send(KIND), OURS).1,
            Err(MessageError::OtherLife)
        );
    }

    #[test]
    fn strangers_are_told_apart_by_their_cause() {
        let message = End::new(10, 20).peer.message(&birth(1), Incarnation(10), KIND, b"");
        let read = |message: &[u8], from, birth: &Birth| read_header(message, VoterId(from), birth).err();
        assert_eq!(read(&message, 1, &birth(2)), None);
        assert_eq!(
            read(&message[..HEADER_BYTES - 1], 1, &birth(2)),
            Some(MessageError::NoHeader)
        );
        assert_eq!(read(&message, 2, &birth(2)), Some(MessageError::Stranger));
        assert_eq!(read(&message, 1, &birth(1)), Some(MessageError::Stranger));
        let other = Birth::first(ClusterId([4; 16]), VoterId(2), &[VoterId(1), VoterId(2)]).unwrap();
        assert_eq!(read(&message, 1, &other), Some(MessageError::OtherCluster));
        let next = NextVoters {
            configuration: 2,
            voters: vec![VoterId(1), VoterId(2)],
        };
        let ended = Ended { next, base: 5 };
        let after = Birth::after(ClusterId([3; 16]), VoterId(2), &ended).unwrap();
        assert_eq!(read(&message, 1, &after), Some(MessageError::OtherConfiguration));
    }
}
