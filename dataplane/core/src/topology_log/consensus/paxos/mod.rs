//! Consensus of two voters and more, on a library that implements Omni-Paxos: it decides, this module keeps the rules around it.
//!
//! | rule | kept by |
//! |---|---|
//! | nothing leaves before the writes that preceded it | `gate.rs`: after each input the library's messages and decisions are taken out and queued behind its writes |
//! | small dense ids | [`VoterId`]; incarnations stand in headers alone |
//! | other configurations and clusters are dropped; streams are streams | `link.rs` |
//! | position = base + index | `journal.rs` |
//! | round = max(20 ms, 4 trips); the next voter takes over at once | `rounds.rs`, [`Consensus::peer_closed`] |
//! | proposals may get lost and doubled | nothing is buffered or repeated here: a proposal is appended, forwarded once, or refused |
//! | no message makes the library panic | `message.rs` by its bytes, `fits.rs` by the log |
//! | storage errors end the process elsewhere | `storage.rs` never fails |
//!
//! The library is ticked once a round, and asked for nothing but what it does on its own, with two exceptions: a voter asks to lead when it is
//! the next one after a leader whose sockets closed, and when it is stranded (`rounds.rs`).
//!
//! **Invariant:** the same inputs give the same outputs, byte for byte. The library has no clock, no random number and no table with an order of
//! its own; nor has this.

mod fits;
mod link;
mod message;
mod rounds;
mod storage;

use std::cell::{Ref, RefCell};
use std::marker::PhantomData;
use std::rc::Rc;

use omnipaxos::messages::Message;
use omnipaxos::messages::ballot_leader_election::HeartbeatMsg;
use omnipaxos::messages::sequence_paxos::PaxosMsg;
use omnipaxos::{ClusterConfig, OmniPaxos, ProposeErr, ServerConfig};

pub use self::rounds::{ROUND_MS_MAX, ROUND_MS_MIN};

use self::link::{Arrival, HEADER_BYTES, HELLO, Header, Peer};
use self::rounds::Rounds;
use self::storage::{Opaque, SharedJournal, voter};
use super::bytes::Shared;
use super::gate::Gate;
use super::journal::{Journal, Stop};
use super::{
    Birth, Consensus, Counters, Decided, ENTRY_BYTES_MAX, Ended, FileError, MessageError, NextVoters, NotTaken,
    UNDECIDED_MAX, VoterId, Write,
};
use crate::ids::Incarnation;
use crate::rules::{Rule, Rules};

/// Rounds after which the library repeats what was not answered. More than one trip, or it would answer its own echoes.
const RESEND_ROUNDS: u64 = 2;

/// Messages for which the library reserves memory at once.
const OUTGOING: usize = 64;

/// Room that is kept for the body of the next message.
const BODY_BYTES: usize = 4 << 10;

/// One voter of several.
pub struct Paxos<R: Rules> {
    library: OmniPaxos<Opaque, SharedJournal>,
    journal: Rc<RefCell<Journal>>,
    birth: Birth,
    own: Incarnation,
    peers: Vec<Peer>,
    gate: Gate,
    rounds: Rounds,
    counters: Counters,
    /// Decided entries that were handed out.
    given: usize,
    now_ms: u64,
    outgoing: Vec<Message<Opaque>>,
    /// The body of a message; kept for its memory.
    body: Vec<u8>,
    rules: PhantomData<R>,
}

impl<R: Rules> Paxos<R> {
    /// Opens a voter by its file, for this life of its process. The number tells how many bytes of the file are good: it is cut to them
    /// before anything is appended.
    ///
    /// Each life has a larger incarnation than the one before: the other voters drop what an older one sent.
    ///
    /// # Errors
    /// [`FileError`] when the file cannot be believed, or belongs to another. The process is no voter then; it may learn.
    ///
    /// # Panics
    /// If the birth has one voter alone ([`Alone`](super::Alone) is for that), or the incarnation is 0: a bug in this process.
    pub fn open(birth: &Birth, own: Incarnation, file: &[u8]) -> Result<(Paxos<R>, usize), FileError> {
        assert!(own.0 != 0);
        let (journal, good) = match Journal::open(birth, file) {
            Err(FileError::Absent) if R::breaks(Rule::WipedVoterVotes) => (Journal::new(birth.clone()), 0),
            opened => opened?,
        };
        let last = journal.last_record();
        let journal = Rc::new(RefCell::new(journal));
        let mut paxos = Paxos {
            library: library(birth, SharedJournal(Rc::clone(&journal))),
            journal,
            own,
            peers: birth.peers().map(Peer::new).collect(),
            gate: Gate::new(last, !R::breaks(Rule::TopologyLeaderDecidesBeforeFsync)),
            rounds: Rounds::new(birth),
            birth: birth.clone(),
            counters: Counters::default(),
            given: 0,
            now_ms: 0,
            outgoing: Vec::new(),
            body: Vec::new(),
            rules: PhantomData,
        };
        paxos.settle();
        Ok((paxos, good))
    }

    /// How long an election round takes now, in ms.
    #[must_use]
    pub fn round_ms(&self) -> u64 {
        self.rounds.round_ms()
    }

    fn journal(&self) -> Ref<'_, Journal> {
        self.journal.borrow()
    }

    fn leads(&self) -> bool {
        self.leader() == Some(self.birth.own())
    }

    /// Lets through what a header told, before its message.
    fn on_arrival(&mut self, from: VoterId, arrival: Arrival) {
        self.counters.gaps += u64::from(arrival.gap);
        if arrival.wants_hello {
            self.send_hello(from);
        }
        if arrival.new_life || arrival.lost {
            // What was missed is asked for again: the library's answer to a stream that broke.
            self.library.reconnected(u64::from(from.0));
        }
    }

    fn on_message(&mut self, header: &Header, from: VoterId, body: &[u8]) -> Result<(), MessageError> {
        if header.kind == HELLO {
            return if body.is_empty() {
                Ok(())
            } else {
                Err(MessageError::Malformed)
            };
        }
        let message = message::read(header.kind, body, from.0, &self.birth);
        let mut message = message.ok_or(MessageError::Malformed)?;
        fits::check(&mut message, &self.journal(), self.leads())?;
        self.may_enter(from, &message)?;
        self.library.handle_incoming(message);
        Ok(())
    }

    fn may_enter(&mut self, from: VoterId, message: &Message<Opaque>) -> Result<(), MessageError> {
        match message {
            Message::BLE(message) => match &message.msg {
                HeartbeatMsg::Request(_) => Ok(()),
                HeartbeatMsg::Reply(reply) => {
                    let counts = self.rounds.on_answer(from, reply, self.now_ms);
                    if counts { Ok(()) } else { Err(MessageError::Repeated) }
                }
            },
            Message::SequencePaxos(message) => match &message.msg {
                // Passed on once, to a leader that takes it now. Two voters that each take the other for it would pass it for ever.
                PaxosMsg::ProposalForward(_) | PaxosMsg::ForwardStopSign(_) => {
                    let takes = self.leads() && self.may_take(&[]).is_ok();
                    if takes { Ok(()) } else { Err(MessageError::NotLeader) }
                }
                // Its leader has no promise of it though it follows: a synchronization from before it asked anew made it believe that all is
                // well. The library would leave such a prepare unanswered, for ever.
                PaxosMsg::Prepare(prepare)
                    if prepare.n == self.library.get_promise() && self.leader() == Some(from) =>
                {
                    self.library.reconnected(u64::from(from.0));
                    Ok(())
                }
                _ => Ok(()),
            },
        }
    }

    /// Whether a proposal may go to the library now.
    fn may_take(&self, entry: &[u8]) -> Result<(), NotTaken> {
        if entry.len() > ENTRY_BYTES_MAX {
            return Err(NotTaken::TooLarge);
        }
        let journal = self.journal();
        if journal.stop.is_some() {
            return Err(NotTaken::VotersChange);
        }
        // Without a leader in office the library would buffer without bound.
        if self.leader().is_none() {
            return Err(NotTaken::NoLeader);
        }
        if journal.len() - journal.decided >= UNDECIDED_MAX {
            return Err(NotTaken::Busy);
        }
        Ok(())
    }

    /// After each input: its changes become one write, and what the library wants said or has decided stands behind that write.
    fn settle(&mut self) {
        let write = self.journal.borrow_mut().seal();
        if let Some(write) = write {
            self.gate.write(write);
        }
        let mut outgoing = std::mem::take(&mut self.outgoing);
        self.library.take_outgoing_messages(&mut outgoing);
        for mut message in outgoing.drain(..) {
            put_right(&mut message, self.journal().len());
            if let Message::BLE(beat) = &message
                && let HeartbeatMsg::Request(request) = &beat.msg
            {
                self.rounds.on_begin(request.round, self.now_ms);
            }
            self.send(&message);
        }
        self.outgoing = outgoing;
        let decided = self.journal().decided;
        self.gate.decide(decided);
    }

    fn send(&mut self, message: &Message<Opaque>) {
        let to = voter(message.get_receiver());
        let Some(peer) = self.peers.iter_mut().find(|peer| peer.voter == to && peer.is_known()) else {
            // Not heard yet: it is told who we are once a round, and the library repeats itself.
            return;
        };
        let mut body = std::mem::take(&mut self.body);
        let kind = message::put(&mut body, message);
        let bytes = peer.message(&self.birth, self.own, kind, &body);
        // Nearly all are heartbeats: room for a long log is not kept.
        if body.capacity() <= BODY_BYTES {
            body.clear();
            self.body = body;
        }
        self.hold(to, bytes);
    }

    fn send_hello(&mut self, to: VoterId) {
        let hello = self.peers.iter_mut().find(|peer| peer.voter == to);
        let hello = hello.map(|peer| peer.message(&self.birth, self.own, HELLO, &[]));
        hello.into_iter().for_each(|bytes| self.hold(to, bytes));
    }

    fn hold(&mut self, to: VoterId, bytes: Vec<u8>) {
        let is_held = self.gate.hold(to, bytes);
        self.counters.not_held += u64::from(!is_held);
    }

    /// Whether this voter is the next one behind a leader whose sockets closed, with a majority within reach.
    fn is_next_leader(&self) -> bool {
        let is_open = |voter: &VoterId| self.peers.iter().all(|peer| peer.voter != *voter || !peer.is_closed);
        let voters = self.birth.voters();
        let promised = self.journal().promise.voter;
        let Some(at) = voters.iter().position(|voter| voter.0 == promised) else {
            return false;
        };
        let mut behind = voters[at..]
            .iter()
            .chain(&voters[..at])
            .skip_while(|voter| !is_open(voter));
        let has_majority = voters.iter().filter(|voter| is_open(voter)).count() >= self.birth.majority();
        !is_open(&voters[at]) && has_majority && behind.next() == Some(&self.birth.own())
    }
}

/// The library for one voter, over its journal.
fn library(birth: &Birth, journal: SharedJournal) -> OmniPaxos<Opaque, SharedJournal> {
    let pid = |voter: VoterId| u64::from(voter.0);
    let cluster = ClusterConfig {
        configuration_id: birth.configuration(),
        nodes: birth.voters().iter().copied().map(pid).collect(),
        flexible_quorum: None,
    };
    let server = ServerConfig {
        pid: pid(birth.own()),
        election_tick_timeout: 1,
        resend_message_tick_timeout: RESEND_ROUNDS,
        buffer_size: OUTGOING,
        // Nothing waits in the library: what comes in leaves in the same turn.
        batch_size: 1,
        flush_batch_tick_timeout: u64::MAX,
        leader_priority: 0,
    };
    let library = cluster.build_for_server(server, journal);
    library.unwrap_or_else(|error| panic!("a birth of two voters and more is a configuration: {error}"))
}

/// What a voter says of its log is never more than there is: the library counts the end of a configuration twice when it synchronizes a voter
/// that knows it already.
fn put_right(message: &mut Message<Opaque>, length: usize) {
    let Message::SequencePaxos(message) = message else {
        return;
    };
    let accepted = match &mut message.msg {
        PaxosMsg::Prepare(prepare) => &mut prepare.accepted_idx,
        PaxosMsg::Promise(promise) => &mut promise.accepted_idx,
        PaxosMsg::Accepted(accepted) => &mut accepted.accepted_idx,
        _ => return,
    };
    *accepted = length.min(*accepted);
}

fn not_taken(error: ProposeErr<Opaque>) -> NotTaken {
    match error {
        ProposeErr::PendingReconfigEntry(_) | ProposeErr::PendingReconfigConfig(..) => NotTaken::VotersChange,
        // The library leads no configuration of one voter.
        ProposeErr::ConfigError(..) => NotTaken::BadVoters,
    }
}

impl<R: Rules> Consensus for Paxos<R> {
    fn tick(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        if !self.rounds.is_due(self.now_ms) {
            return;
        }
        let unknown: Vec<VoterId> = self
            .peers
            .iter()
            .filter(|peer| !peer.is_known())
            .map(|peer| peer.voter)
            .collect();
        unknown.iter().for_each(|voter| self.send_hello(*voter));
        // A round that cannot be answered is none.
        if self.birth.voters().len() - unknown.len() < self.birth.majority() {
            return;
        }
        let is_stranded = self
            .rounds
            .is_stranded(self.library.get_promise(), self.birth.majority());
        self.library.tick();
        if is_stranded && !self.leads() {
            self.library.try_become_leader();
        }
        self.settle();
    }

    fn step(&mut self, now_ms: u64, from: VoterId, message: &[u8]) -> Result<(), MessageError> {
        self.now_ms = self.now_ms.max(now_ms);
        let result = link::read_header(message, from, &self.birth).and_then(|header| {
            let peer = self.peers.iter_mut().find(|peer| peer.voter == from);
            let (arrival, verdict) = peer.ok_or(MessageError::Stranger)?.arrive(&header, self.own);
            self.on_arrival(from, arrival);
            verdict.and_then(|()| self.on_message(&header, from, &message[HEADER_BYTES..]))
        });
        self.settle();
        result.inspect_err(|error| self.counters.count(*error))
    }

    fn propose(&mut self, entry: &[u8]) -> Result<(), NotTaken> {
        self.may_take(entry)?;
        let taken = self.library.append(Opaque(Shared::from(entry)));
        self.settle();
        taken.map_err(not_taken)
    }

    fn propose_voters(&mut self, next: &NextVoters, entry: &[u8]) -> Result<(), NotTaken> {
        self.may_take(entry)?;
        if !self.birth.may_be_followed_by(next) {
            return Err(NotTaken::BadVoters);
        }
        let stop = Stop {
            next: next.clone(),
            entry: Shared::from(entry),
        };
        let sign = storage::stop_sign(&stop);
        let taken = self.library.reconfigure(sign.next_config, sign.metadata);
        self.settle();
        taken.map_err(not_taken)
    }

    fn peer_closed(&mut self, voter: VoterId) {
        self.peers
            .iter_mut()
            .filter(|peer| peer.voter == voter)
            .for_each(|peer| peer.is_closed = true);
        if self.is_next_leader() {
            self.library.try_become_leader();
            self.settle();
        }
    }

    fn has_news(&self) -> bool {
        self.gate.has_news(self.given)
    }

    fn take_writes(&mut self, out: &mut Vec<Write>) {
        self.gate.take_writes(out);
    }

    fn on_durable(&mut self, upto: u64) {
        self.gate.on_durable(upto);
    }

    fn take_outgoing(&mut self, out: &mut Vec<(VoterId, Vec<u8>)>) {
        self.gate.take_outgoing(out);
    }

    fn take_decided(&mut self, out: &mut Vec<Decided>) {
        let upto = self.gate.released();
        out.extend(self.journal().decided(self.given, upto));
        self.given = upto;
    }

    fn leader(&self) -> Option<VoterId> {
        let (pid, is_in_office) = self.library.get_current_leader()?;
        is_in_office.then(|| voter(pid))
    }

    fn is_leader(&self) -> bool {
        self.leads()
    }

    fn ended(&self) -> Option<Ended> {
        self.journal().ended(self.gate.released())
    }

    fn record_bytes(&self) -> usize {
        self.journal().record_bytes()
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}
