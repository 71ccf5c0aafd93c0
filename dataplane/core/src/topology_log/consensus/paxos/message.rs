//! The library's messages as bytes, field by field: little-endian, each length before what it measures.
//!
//! ```text
//! kind          body
//!  1 ask        ballot                                      a voter that recovers or missed messages asks to be prepared
//!  2 prepare    ballot · decided · accepted ballot · accepted
//!  3 promise    ballot · accepted ballot · decided · accepted · sync or none
//!  4 sync       ballot · session · counter · decided · sync
//!  5 accept     ballot · session · counter · decided · entries
//!  6 accepted   ballot · accepted
//!  7 refused    ballot                                      the sender has promised a higher one
//!  8 decide     ballot · session · counter · decided
//!  9 forward    entries                                     proposals for the leader
//! 10 stop       ballot · session · counter · stop
//! 11 forward    stop
//! 12 beat       round
//! 13 beat back  round · own ballot · leader's ballot · content
//!
//! ballot: number u32 · priority u32 · voter u16       sync: from u64 · entries · stop or none
//! ```
//!
//! What the library panics on is refused here as far as the bytes alone tell: voters that are none (it looks them up in tables without
//! asking), ballots so high that the next one overflows, snapshots and trimming, which have no kind. What takes the log to tell is
//! refused in `fits.rs`.

use omnipaxos::ballot_leader_election::Ballot as LibraryBallot;
use omnipaxos::messages::Message;
use omnipaxos::messages::ballot_leader_election::{BLEMessage, HeartbeatMsg, HeartbeatReply, HeartbeatRequest};
use omnipaxos::messages::sequence_paxos::{
    AcceptDecide, AcceptStopSign, AcceptSync, Accepted, Decide, NotAccepted, PaxosMessage, PaxosMsg, Prepare,
    PrepareReq, Promise,
};
use omnipaxos::storage::StopSign;
use omnipaxos::util::{LogSync, SequenceNumber};

use super::super::Birth;
use super::super::bytes::{Reader, Shared, put_entries, put_index};
use super::super::journal::{put_ballot, put_stop, read_ballot, read_stop};
use super::storage::{Opaque, of_library, stop_of, stop_sign, to_library, voter};

/// No number of a ballot that is believed is higher. Elections once every 20 ms take 16 months to get there.
const BALLOT_MAX: u32 = 1 << 31;

/// Kinds from here on are heartbeats: they are not part of a stream.
pub(super) const FIRST_BEAT: u8 = 12;

const BEAT: u8 = FIRST_BEAT;
const BEAT_BACK: u8 = 13;

/// Appends the body of a message and gives its kind.
pub(super) fn put(out: &mut Vec<u8>, message: &Message<Opaque>) -> u8 {
    match message {
        Message::SequencePaxos(message) => put_paxos(out, &message.msg),
        Message::BLE(message) => put_beat(out, &message.msg),
    }
}

fn put_paxos(out: &mut Vec<u8>, message: &PaxosMsg<Opaque>) -> u8 {
    match message {
        PaxosMsg::PrepareReq(PrepareReq { n }) => {
            put_ballot(out, of_library(*n));
            1
        }
        PaxosMsg::Prepare(prepare) => {
            put_ballot(out, of_library(prepare.n));
            put_index(out, prepare.decided_idx);
            put_ballot(out, of_library(prepare.n_accepted));
            put_index(out, prepare.accepted_idx);
            2
        }
        PaxosMsg::Promise(promise) => {
            put_ballot(out, of_library(promise.n));
            put_ballot(out, of_library(promise.n_accepted));
            put_index(out, promise.decided_idx);
            put_index(out, promise.accepted_idx);
            out.push(u8::from(promise.log_sync.is_some()));
            promise.log_sync.iter().for_each(|sync| put_sync(out, sync));
            3
        }
        PaxosMsg::AcceptSync(accept) => {
            put_head(out, accept.n, accept.seq_num);
            put_index(out, accept.decided_idx);
            put_sync(out, &accept.log_sync);
            4
        }
        PaxosMsg::AcceptDecide(accept) => {
            put_head(out, accept.n, accept.seq_num);
            put_index(out, accept.decided_idx);
            put_entries(out, &shared(&accept.entries));
            5
        }
        PaxosMsg::Accepted(Accepted { n, accepted_idx }) => {
            put_ballot(out, of_library(*n));
            put_index(out, *accepted_idx);
            6
        }
        PaxosMsg::NotAccepted(NotAccepted { n }) => {
            put_ballot(out, of_library(*n));
            7
        }
        PaxosMsg::Decide(decide) => {
            put_head(out, decide.n, decide.seq_num);
            put_index(out, decide.decided_idx);
            8
        }
        PaxosMsg::ProposalForward(entries) => {
            put_entries(out, &shared(entries));
            9
        }
        PaxosMsg::AcceptStopSign(accept) => {
            put_head(out, accept.n, accept.seq_num);
            put_stop(out, Some(&stop_of(accept.ss.clone())));
            10
        }
        PaxosMsg::ForwardStopSign(sign) => {
            put_stop(out, Some(&stop_of(sign.clone())));
            11
        }
        PaxosMsg::Compaction(_) => unreachable!("nothing here is ever trimmed"),
    }
}

fn put_beat(out: &mut Vec<u8>, beat: &HeartbeatMsg) -> u8 {
    match beat {
        HeartbeatMsg::Request(HeartbeatRequest { round }) => {
            out.extend_from_slice(&round.to_le_bytes());
            BEAT
        }
        HeartbeatMsg::Reply(reply) => {
            out.extend_from_slice(&reply.round.to_le_bytes());
            put_ballot(out, of_library(reply.ballot));
            put_ballot(out, of_library(reply.leader));
            out.push(u8::from(reply.happy));
            BEAT_BACK
        }
    }
}

fn put_head(out: &mut Vec<u8>, ballot: LibraryBallot, number: SequenceNumber) {
    put_ballot(out, of_library(ballot));
    out.extend_from_slice(&number.session.to_le_bytes());
    out.extend_from_slice(&number.counter.to_le_bytes());
}

fn put_sync(out: &mut Vec<u8>, sync: &LogSync<Opaque>) {
    assert!(sync.decided_snapshot.is_none(), "nothing here is ever snapshotted");
    put_index(out, sync.sync_idx);
    put_entries(out, &shared(&sync.suffix));
    put_stop(out, sync.stopsign.clone().map(stop_of).as_ref());
}

fn shared(entries: &[Opaque]) -> Vec<Shared> {
    entries.iter().map(|entry| entry.0.clone()).collect()
}

/// Reads the body of a message of this kind that the voter `from` sent to the owner of `birth`.
pub(super) fn read(kind: u8, body: &[u8], from: u16, birth: &Birth) -> Option<Message<Opaque>> {
    let mut reader = Body {
        reader: Reader::new(body),
        from,
        birth,
    };
    let (from, to) = (u64::from(from), u64::from(birth.own().0));
    let message = if kind < FIRST_BEAT {
        Message::SequencePaxos(PaxosMessage {
            from,
            to,
            msg: reader.paxos(kind)?,
        })
    } else {
        Message::BLE(BLEMessage {
            from,
            to,
            msg: reader.beat(kind)?,
        })
    };
    reader.reader.is_empty().then_some(message)
}

/// What is left of a body, and who is who.
struct Body<'a> {
    reader: Reader<'a>,
    from: u16,
    birth: &'a Birth,
}

impl Body<'_> {
    fn paxos(&mut self, kind: u8) -> Option<PaxosMsg<Opaque>> {
        Some(match kind {
            1 => PaxosMsg::PrepareReq(PrepareReq {
                n: self.ballot_or_none()?,
            }),
            2 => PaxosMsg::Prepare(Prepare {
                n: self.ballot_of_sender()?,
                decided_idx: self.index()?,
                n_accepted: self.ballot_or_none()?,
                accepted_idx: self.index()?,
            }),
            3 => PaxosMsg::Promise(Promise {
                n: self.ballot_of_receiver()?,
                n_accepted: self.ballot_or_none()?,
                decided_idx: self.index()?,
                accepted_idx: self.index()?,
                log_sync: if self.flag()? { Some(self.sync()?) } else { None },
            }),
            4 => PaxosMsg::AcceptSync(AcceptSync {
                n: self.ballot_of_sender()?,
                seq_num: self.number()?,
                decided_idx: self.index()?,
                log_sync: self.sync()?,
            }),
            5 => PaxosMsg::AcceptDecide(AcceptDecide {
                n: self.ballot_of_sender()?,
                seq_num: self.number()?,
                decided_idx: self.index()?,
                entries: self.entries()?,
            }),
            6 => PaxosMsg::Accepted(Accepted {
                n: self.ballot_of_receiver()?,
                accepted_idx: self.index()?,
            }),
            7 => PaxosMsg::NotAccepted(NotAccepted { n: self.ballot()? }),
            8 => PaxosMsg::Decide(Decide {
                n: self.ballot_of_sender()?,
                seq_num: self.number()?,
                decided_idx: self.index()?,
            }),
            9 => PaxosMsg::ProposalForward(self.entries()?),
            10 => PaxosMsg::AcceptStopSign(AcceptStopSign {
                n: self.ballot_of_sender()?,
                seq_num: self.number()?,
                ss: self.stop()??,
            }),
            11 => PaxosMsg::ForwardStopSign(self.stop()??),
            _ => return None,
        })
    }

    fn beat(&mut self, kind: u8) -> Option<HeartbeatMsg> {
        Some(match kind {
            BEAT => HeartbeatMsg::Request(HeartbeatRequest {
                round: self.reader.u32()?,
            }),
            BEAT_BACK => HeartbeatMsg::Reply(HeartbeatReply {
                round: self.reader.u32()?,
                ballot: self.ballot_of_sender()?,
                leader: self.ballot()?,
                happy: self.flag()?,
            }),
            _ => return None,
        })
    }

    fn ballot_or_none(&mut self) -> Option<LibraryBallot> {
        let ballot = read_ballot(&mut self.reader)?;
        let is_known = ballot.voter == 0 || self.birth.voters().iter().any(|voter| voter.0 == ballot.voter);
        (is_known && ballot.number < BALLOT_MAX).then(|| to_library(ballot, self.birth.configuration()))
    }

    fn ballot(&mut self) -> Option<LibraryBallot> {
        self.ballot_or_none().filter(|ballot| ballot.pid != 0)
    }

    /// What only a leader says, it says under its own ballot: the library answers to the ballot's voter, not to the sender.
    fn ballot_of_sender(&mut self) -> Option<LibraryBallot> {
        self.ballot().filter(|ballot| voter(ballot.pid).0 == self.from)
    }

    /// What is said to a leader is said under the leader's ballot.
    fn ballot_of_receiver(&mut self) -> Option<LibraryBallot> {
        self.ballot().filter(|ballot| voter(ballot.pid) == self.birth.own())
    }

    fn index(&mut self) -> Option<usize> {
        self.reader.index().and_then(|index| usize::try_from(index).ok())
    }

    fn number(&mut self) -> Option<SequenceNumber> {
        Some(SequenceNumber {
            session: self.reader.index()?,
            counter: self.reader.index()?,
        })
    }

    fn flag(&mut self) -> Option<bool> {
        match self.reader.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn entries(&mut self) -> Option<Vec<Opaque>> {
        Some(self.reader.entries()?.into_iter().map(Opaque).collect())
    }

    /// A stop, or none. Its voters are such as may follow.
    #[expect(
        clippy::option_option,
        reason = "the outer one is bytes that are no stop, the inner one says that there is none"
    )]
    fn stop(&mut self) -> Option<Option<StopSign>> {
        match read_stop(&mut self.reader)? {
            Some(stop) => self
                .birth
                .may_be_followed_by(&stop.next)
                .then(|| Some(stop_sign(&stop))),
            None => Some(None),
        }
    }

    fn sync(&mut self) -> Option<LogSync<Opaque>> {
        Some(LogSync {
            decided_snapshot: None,
            sync_idx: self.index()?,
            suffix: self.entries()?,
            stopsign: self.stop()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use waterpark_ring::ClusterId;

    use super::super::super::journal::{Ballot, Stop};
    use super::super::super::{NextVoters, VoterId};
    use super::*;

    /// Voter 2 of 1, 2 and 5, to whom voter 5 writes.
    fn birth() -> Birth {
        Birth::first(ClusterId([3; 16]), VoterId(2), &[VoterId(1), VoterId(2), VoterId(5)]).unwrap()
    }

    fn ballot(n: u32, pid: u64) -> LibraryBallot {
        LibraryBallot::with(1, n, 4, pid)
    }

    fn entries() -> Vec<Opaque> {
        [&b"a"[..], b"", b"some more"]
            .map(|bytes| Opaque(Shared::from(bytes)))
            .to_vec()
    }

    fn sign() -> StopSign {
        stop_sign(&Stop {
            next: NextVoters {
                configuration: 2,
                voters: vec![VoterId(6), VoterId(7)],
            },
            entry: Shared::from(&b"the last"[..]),
        })
    }

    /// One message of each kind, as voter 5 may send it to voter 2.
    fn samples() -> Vec<Message<Opaque>> {
        let sync = |stopsign| LogSync {
            decided_snapshot: None,
            suffix: entries(),
            sync_idx: 77,
            stopsign,
        };
        let (theirs, ours) = (ballot(9, 5), ballot(8, 2));
        let seq_num = SequenceNumber {
            session: 3,
            counter: 12,
        };
        let none = LibraryBallot::default();
        let promise = |n_accepted, log_sync| Promise {
            n: ours,
            n_accepted,
            decided_idx: 4,
            accepted_idx: 5,
            log_sync,
        };
        let paxos = [
            PaxosMsg::PrepareReq(PrepareReq { n: none }),
            PaxosMsg::PrepareReq(PrepareReq { n: ballot(3, 1) }),
            PaxosMsg::Prepare(Prepare {
                n: theirs,
                decided_idx: 1,
                n_accepted: none,
                accepted_idx: 2,
            }),
            PaxosMsg::Promise(promise(ballot(7, 1), None)),
            PaxosMsg::Promise(promise(none, Some(sync(Some(sign()))))),
            PaxosMsg::AcceptSync(AcceptSync {
                n: theirs,
                seq_num,
                decided_idx: 6,
                log_sync: sync(None),
            }),
            PaxosMsg::AcceptDecide(AcceptDecide {
                n: theirs,
                seq_num,
                decided_idx: 6,
                entries: entries(),
            }),
            PaxosMsg::Accepted(Accepted {
                n: ours,
                accepted_idx: 1 << 40,
            }),
            PaxosMsg::NotAccepted(NotAccepted { n: ballot(30, 1) }),
            PaxosMsg::Decide(Decide {
                n: theirs,
                seq_num,
                decided_idx: 70,
            }),
            PaxosMsg::ProposalForward(entries()),
            PaxosMsg::AcceptStopSign(AcceptStopSign {
                n: theirs,
                seq_num,
                ss: sign(),
            }),
            PaxosMsg::ForwardStopSign(sign()),
        ];
        let beats = [
            HeartbeatMsg::Request(HeartbeatRequest { round: 99 }),
            HeartbeatMsg::Reply(HeartbeatReply {
                round: 99,
                ballot: theirs,
                leader: ballot(8, 1),
                happy: true,
            }),
        ];
        let paxos = paxos.map(|msg| Message::SequencePaxos(PaxosMessage { from: 5, to: 2, msg }));
        let beats = beats.map(|msg| Message::BLE(BLEMessage { from: 5, to: 2, msg }));
        paxos.into_iter().chain(beats).collect()
    }

    #[test]
    fn every_message_is_read_as_it_was_put() {
        let mut kinds = Vec::new();
        for message in samples() {
            let mut body = Vec::new();
            let kind = put(&mut body, &message);
            let read = read(kind, &body, 5, &birth()).unwrap_or_else(|| panic!("{message:?}"));
            // The library compares none of its messages; what it prints has every field.
            assert_eq!(format!("{read:?}"), format!("{message:?}"));
            kinds.push(kind);
        }
        kinds.dedup();
        assert_eq!(kinds, (1..=13).collect::<Vec<_>>());
    }

    #[test]
    fn a_message_that_is_cut_short_or_too_long_is_none() {
        for message in samples() {
            let mut body = Vec::new();
            let kind = put(&mut body, &message);
            for length in 0..body.len() {
                assert!(
                    read(kind, &body[..length], 5, &birth()).is_none(),
                    "{message:?} at {length}"
                );
            }
            body.push(0);
            assert!(
                read(kind, &body, 5, &birth()).is_none(),
                "{message:?} with one byte more"
            );
        }
    }

    #[test]
    fn only_a_leader_speaks_under_its_ballot() {
        let mut body = Vec::new();
        let decide = Decide {
            n: ballot(9, 1),
            seq_num: SequenceNumber::default(),
            decided_idx: 1,
        };
        let kind = put_paxos(&mut body, &PaxosMsg::Decide(decide));
        assert!(read(kind, &body, 5, &birth()).is_none());
        assert!(read(kind, &body, 1, &birth()).is_some());
    }

    #[test]
    fn ballots_of_strangers_and_beyond_the_bound_are_refused() {
        for (wrong, n, voter) in [
            (true, 9, 3),
            (true, BALLOT_MAX, 5),
            (true, 1, 0),
            (false, BALLOT_MAX - 1, 5),
        ] {
            let mut body = Vec::new();
            put_ballot(
                &mut body,
                Ballot {
                    number: n,
                    priority: 0,
                    voter,
                },
            );
            assert_eq!(read(1, &body, 5, &birth()).is_none(), wrong, "{n} of {voter}");
        }
    }

    #[test]
    fn voters_that_cannot_follow_are_refused() {
        let mut body = Vec::new();
        let mut sign = sign();
        sign.next_config.configuration_id = 1;
        let kind = put_paxos(&mut body, &PaxosMsg::ForwardStopSign(sign));
        assert!(read(kind, &body, 5, &birth()).is_none());
    }
}
