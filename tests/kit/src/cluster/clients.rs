//! The clients' side of a simulated cluster: what they ask, how their frames reach a shard, and what they make of replies.
//!
//! It knows no member's state. **Invariant:** a reply is noted in the ledger before its request is forgotten.

use waterpark_core::config::Births;
use waterpark_core::ids::ClientId;
use waterpark_core::rules::Rules;
use waterpark_core::time::MS;
use waterpark_ring::Key;
use waterpark_wire::frame::{FRAME_BYTES_MAX, FrameAddress, FrameBuilder};
use waterpark_wire::reply::{MAYBE, Outcome, ReplyView};
use waterpark_wire::{FrameError, FrameView, ItemKind};

use super::event::Event;
use super::readers::Readers;
use super::{AGAIN_MS, Cluster, ENDS_MS, MESSAGE_BYTES_MAX, checksum};
use crate::behaviour::BREAKS;
use crate::client::{ATTEMPTS_MAX, FIRST, RequestId, SimClient, of_correlation};
use crate::garbage;
use crate::ledger::{Token, Violation};
use crate::reach::{Fault, Reached};

/// A kind that nobody runs.
const NOBODY: &str = "nobody";

impl<R: Rules> Cluster<R> {
    /// A client sends again what is due, and opens something new.
    pub(super) fn on_step(&mut self, client: u32) {
        let pause_ms = 1 + self.rng.below(20);
        self.schedule(self.now_ns + pause_ms * MS, Event::Step { client });
        let index = client as usize;
        let row = &self.clients[index];
        let opens = !row.is_retired && !row.is_probe && !row.is_told;
        if self.left > 0 && self.clients[index].open.len() < 24 && opens {
            self.left -= 1;
            self.open(client);
        }
        if self.faulty && self.rng.ppm(self.faults.gone_ppm) {
            self.did(Fault::ClientGone);
            let node = self.rng.index(self.nodes.len());
            for shard in 0..self.nodes[node].shards.len() {
                self.hang_up(client, node, shard);
            }
        }
        let now_ns = self.now_ns;
        let due: Vec<_> = self.clients[index]
            .open
            .iter()
            .filter(|(_, open)| open.again_ns <= now_ns)
            .map(|(at, _)| *at)
            .collect();
        for (group, number) in due {
            self.attempt(RequestId { client, group, number });
        }
    }

    /// A client opens something new: mostly what it may, now and then what nobody should.
    fn open(&mut self, client: u32) {
        let mut key = self.keys[self.rng.index(self.keys.len())].clone();
        let mut message = self.message(&key);
        let mut is_spoiled = false;
        if self.rng.ppm(self.faults.odd_ppm) {
            match self.rng.below(3) {
                0 => {
                    self.did(Fault::MessageTooLong);
                    message.resize(MESSAGE_BYTES_MAX + 1 + self.rng.index(512), b'z');
                }
                1 => {
                    self.did(Fault::KeyMalformed);
                    is_spoiled = true;
                }
                _ => {
                    self.did(Fault::KindUnknown);
                    let id = self.rng.below(20).to_string();
                    key = Key::new(NOBODY, &[("id", id.as_bytes())]).expect("a valid key");
                }
            }
        }
        if message == BREAKS {
            self.did(Fault::HandlerFailed);
        }
        let group = self.topology.locate(key.as_ref()).group;
        let row = &mut self.clients[client as usize];
        let id = row.open(group, key.clone(), message.clone());
        if let Some(open) = row.open.get_mut(&(group, id.number)) {
            open.is_spoiled = is_spoiled;
        }
        self.report.opened += 1;
        self.readers.history.on_open(id, self.now_ns);
        self.history.on_ask(id, key, message, self.now_ns);
    }

    pub(super) fn message(&mut self, key: &Key) -> Vec<u8> {
        let number = self.rng.below(40);
        let text = match (key.as_ref().kind(), self.rng.below(3)) {
            (b"register", 0) => "get".to_owned(),
            (b"register", 1) => format!("cas {number} v{number}"),
            (b"register", _) => format!("put v{number}"),
            (b"pool", 0) => format!("give {number}"),
            (b"pool", _) => "take".to_owned(),
            (b"fragile", 0) => return BREAKS.to_vec(),
            (b"record", _) => "x".repeat(self.rng.index(300) + 1),
            _ => "y".repeat(self.rng.index(2_000) + 1),
        };
        text.into_bytes()
    }

    pub(super) fn attempt(&mut self, id: RequestId) {
        let index = id.client as usize;
        let (is_probe, is_told) = (self.clients[index].is_probe, self.clients[index].is_told);
        let Some(open) = self.clients[index].open.get_mut(&(id.group, id.number)) else {
            return;
        };
        // Once faults have stopped, nobody gives up before the time in which everything must end.
        let may_give_up = self.faulty && !is_told || self.now_ns >= self.watch.stopped_ns.saturating_add(ENDS_MS * MS);
        if open.attempts >= ATTEMPTS_MAX && may_give_up && !is_probe {
            // Given up for good: the mark passes it, and what became of it stays unknown.
            let refused = open.refused;
            self.clients[index].open.remove(&(id.group, id.number));
            self.did(Fault::RequestGivenUp);
            if !self.faulty && self.must_end(id) {
                self.report.violations.push(Violation::NeverEnded(id, refused));
            }
            return;
        }
        open.again_ns = self.now_ns + AGAIN_MS * MS;
        // Whoever has asked in vain a few times may want no more than to know.
        let may_want = open.attempts >= 2 && !open.is_void && self.faulty && self.rng.ppm(self.faults.odd_ppm);
        // A void under such a key is refused like the message, for ever.
        let has_key = !open.is_spoiled && open.key.as_ref().kind() != NOBODY.as_bytes();
        let wants_to_know = may_want && has_key;
        open.is_void |= wants_to_know;
        let is_astray = self.faulty && self.rng.ppm(self.faults.odd_ppm);
        let is_late = self.faulty && self.rng.ppm(self.faults.late_ppm);
        open.is_doubled |= is_late || is_probe;
        let turn = open.attempts as usize;
        for (fault, is_done) in [
            (Fault::NumberVoided, wants_to_know),
            (Fault::RequestAstray, is_astray),
            (Fault::RequestLate, is_late),
        ] {
            if is_done {
                self.did(fault);
            }
        }
        let mut bytes = Vec::new();
        let mut frame = FrameBuilder::begin(&mut bytes);
        if !self.clients[index].item(id, is_astray, &mut bytes) {
            return;
        }
        frame.pushed();
        let address = FrameAddress::of_client((0, 0));
        frame.finish(&mut bytes, &address);
        if is_probe {
            return self.ask_many(id, turn, &bytes);
        }
        let node = self.rng.index(self.topology.nodes().len());
        let shards = self.nodes[node].shards.len().max(1);
        let shard = self.rng.index(shards);
        self.trace(&[5, u64::from(id.client), node as u64, checksum(&bytes)]);
        self.send(
            |bytes| Event::FromClient {
                node,
                shard,
                client: id.client,
                bytes,
            },
            bytes.clone(),
        );
        if is_late {
            let at = self.now_ns + self.rng.below(3_000) * MS;
            self.schedule(
                at,
                Event::FromClient {
                    node,
                    shard,
                    client: id.client,
                    bytes,
                },
            );
        }
    }

    pub(super) fn on_from_client(&mut self, node: usize, shard: usize, client: u32, bytes: &[u8]) {
        let frame = FrameView::new_checked(bytes, FRAME_BYTES_MAX).expect("clients send whole frames");
        // Few frames come from clients: more of them are spoiled than of those of links.
        if self.faulty && self.rng.ppm(self.faults.garbage_ppm * 4) {
            let error = FrameError::ALL[self.rng.index(FrameError::ALL.len())];
            if let Some(bytes) = garbage::spoil(&frame, error) {
                self.did(Fault::ClientGarbage);
                match FrameView::new_checked(&bytes, FRAME_BYTES_MAX) {
                    Ok(frame) => self.on_good_frame(node, shard, client, &frame),
                    Err(error) => {
                        self.reach(Reached::Bytes(error));
                        self.hang_up(client, node, shard);
                    }
                }
                return;
            }
        }
        self.on_good_frame(node, shard, client, &frame);
    }

    fn on_good_frame(&mut self, node: usize, shard: usize, client: u32, frame: &FrameView<'_>) {
        let id = self.connection(client, node, shard);
        self.turn(node, shard, |shard, now| {
            shard.ensure_client(id);
            shard.on_client_frame(now, id, frame);
        });
    }

    /// The present connection of a client to a shard.
    pub(super) fn connection(&self, client: u32, node: usize, shard: usize) -> ClientId {
        let ended = self.connections.get(&(client, node, shard)).copied().unwrap_or(0);
        ClientId(u64::from(ended) << 32 | u64::from(client))
    }

    /// A connection of a client has ended; what it does next goes over another.
    pub(super) fn next_connection(&mut self, client: u32, node: usize, shard: usize) {
        *self.connections.entry((client, node, shard)).or_default() += 1;
    }

    /// A connection of a client ends by its own side, or by bytes that are no frame.
    fn hang_up(&mut self, client: u32, node: usize, shard: usize) {
        let id = self.connection(client, node, shard);
        self.next_connection(client, node, shard);
        self.turn(node, shard, |shard, _| shard.on_client_down(id));
    }

    pub(super) fn on_to_client(&mut self, client: u32, bytes: &[u8]) {
        if Readers::is_one(client) {
            return self.on_to_reader(client, bytes);
        }
        let frame = FrameView::new_checked(bytes, FRAME_BYTES_MAX).expect("shards send whole frames");
        for item in frame.items().filter(|item| item.kind() == ItemKind::Reply) {
            let reply = ReplyView::new_checked(&item).expect("shards send whole replies");
            let (id, copy) = of_correlation(client, reply.header.correlation.get());
            self.reach(Reached::Reply(reply.outcome));
            if !reply.outcome.is_logged() {
                self.on_refusal(id, copy, &reply);
                continue;
            }
            let token = Token {
                group: id.group,
                view: reply.header.view.get(),
                seq: reply.header.seq.get(),
            };
            self.check_ack(token);
            self.ledger.on_ack(id, token, reply.outcome, reply.body);
            self.on_acked_to_reader(id, token, reply.header.lineage.get());
            if self.ledger.lineages.is_gone(token) {
                self.note_gone(token);
            } else {
                self.history.on_answer(id, self.now_ns, reply.outcome, reply.body);
            }
            self.probes.on_ack(id, token, self.now_ns);
            self.clients[client as usize].open.remove(&(id.group, id.number));
        }
    }

    /// A copy of a request was refused, or nobody knows. Most are sent again.
    fn on_refusal(&mut self, id: RequestId, copy: u32, reply: &ReplyView<'_>) {
        let outcome = reply.outcome;
        let is_definite = reply.header.item.flags & MAYBE == 0;
        if is_definite && copy > FIRST {
            self.ledger.on_definite_refusal_of_a_copy(id, outcome);
        }
        if outcome == Outcome::GroupLost && self.births == Births::TopologyLog && !self.losses.ever.contains(&id.group)
        {
            self.report.violations.push(Violation::NeverLost(id.group));
        }
        let is_expired = outcome == Outcome::SessionExpired;
        if is_expired {
            self.succeed(id.client, reply.header.detail.get().into());
        }
        self.probes.on_refusal(id, outcome);
        let row = &mut self.clients[id.client as usize];
        let is_patient = row.is_probe || row.is_told;
        let Some(open) = row.open.get_mut(&(id.group, id.number)) else {
            return;
        };
        open.refused = Some(outcome);
        // No copy of such a request can run, unless one asks for its number alone.
        let is_hopeless = matches!(outcome, Outcome::BadRequest | Outcome::TooLarge) && !open.is_void;
        let promises = !matches!(outcome, Outcome::Old | Outcome::Unknown);
        // Who repeats frames of clients makes copies that say nothing of each other: a stream never does.
        let is_only = open.attempts == 1 && !open.is_doubled && self.faults.repeat_ppm == 0;
        let is_certain = is_hopeless || is_definite && promises && is_only;
        let gives_up = is_certain && self.faulty && !is_patient && self.rng.below(2) == 0;
        let ends = is_hopeless || is_expired || gives_up;
        if ends {
            row.open.remove(&(id.group, id.number));
            if is_certain {
                self.ledger.on_refused(id, outcome);
            }
        }
    }

    /// A client whose session is over goes on under a new one, born at the cluster's time: a client of its own, as far as numbers go.
    fn succeed(&mut self, client: u32, birth_s: u64) {
        if std::mem::replace(&mut self.clients[client as usize].is_retired, true) {
            return;
        }
        let ordered = self.clients[client as usize].is_ordered();
        let successor = self.add_client(birth_s, ordered);
        self.schedule(self.now_ns, Event::Step { client: successor });
    }

    /// One client more.
    pub(super) fn add_client(&mut self, birth_s: u64, ordered: bool) -> u32 {
        let number = u32::try_from(self.clients.len()).expect("few");
        let client = SimClient::new(number, birth_s, ordered, &mut self.rng);
        self.clients.push(client);
        number
    }
}

/// Whose connection it is.
pub(super) fn client_of(connection: ClientId) -> u32 {
    u32::try_from(connection.0 & u64::from(u32::MAX)).expect("32 bits")
}
