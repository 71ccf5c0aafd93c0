//! Who reads in a simulated cluster whose members change: a reader beside each client, that reads at every level, through any node, mostly
//! what was just acked. And what must hold of what it reads.
//!
//! It has a generator of its own, so that reads change nothing that a seed draws for others. **Invariant:** a read is judged once, by the
//! first answer that comes for it.

use std::collections::BTreeMap;

use waterpark_core::Shard;
use waterpark_core::config::Births;
use waterpark_core::ids::Seq;
use waterpark_core::rules::Rules;
use waterpark_core::time::MS;
use waterpark_ring::{GroupId, Key};
use waterpark_wire::frame::{FRAME_BYTES_MAX, FrameAddress, FrameBuilder};
use waterpark_wire::reply::{Outcome, ReplyView};
use waterpark_wire::request::{self, Freshness, HERE, Operation, RequestHeader};
use waterpark_wire::run::EntryView;
use waterpark_wire::{FrameView, ItemKind};

use super::Cluster;
use super::event::Event;
use crate::client::RequestId;
use crate::ledger::{Token, Violation};
use crate::lineages::Point;
use crate::reach::Reached;
use crate::reads::{History, Promise, Read, Replay};
use crate::rng::Rng;

/// Readers are numbered from here on, clients below.
const FIRST: u32 = 1 << 20;
/// There are so many; each has the session of the client with its number, if there is one.
const READERS: u32 = 6;
/// Milliseconds that each read is given.
const TIMEOUT_MS: u32 = 1_000;
/// Reads that one of them may have under way.
const OPEN_MAX: usize = 12;
/// Reads of one run.
const READS_MAX: u32 = 1_500;
/// A read that has to be answered is sent again after this, and for so long.
const PROBE_AGAIN_MS: u64 = 250;
const PROBE_MS: u64 = 4_000;

/// A read under way.
#[derive(Clone, Debug)]
struct Open {
    reader: u32,
    group: GroupId,
    key: Key,
    promise: Promise,
    began_ns: u64,
    /// What a session read goes on from, with the lineage that it was told with.
    from: Option<Known>,
}

/// What a reader knows of a group.
#[derive(Clone, Copy, Debug)]
struct Known {
    token: Token,
    lineage: u64,
    point: Point,
}

/// The readers of one run.
#[derive(Debug)]
pub(super) struct Readers {
    rng: Rng,
    open: BTreeMap<u64, Open>,
    next: u64,
    left: u32,
    /// What each knows of each group: the token of its last read or write there.
    tokens: BTreeMap<(u32, GroupId), Known>,
    /// Reads that were answered since somebody looked.
    answered: Vec<u64>,
    /// What a test reads, by correlation: what it was shown, once that is known.
    pub(super) shown: BTreeMap<u64, Option<Vec<u8>>>,
    pub(super) history: History,
}

impl Readers {
    pub(super) fn new(seed: u64) -> Readers {
        Readers {
            rng: Rng::new(seed ^ 0x0052_4541_4453),
            open: BTreeMap::new(),
            next: 1,
            left: READS_MAX,
            tokens: BTreeMap::new(),
            answered: Vec::new(),
            shown: BTreeMap::new(),
            history: History::default(),
        }
    }

    /// Whether a client is a reader.
    pub(super) fn is_one(client: u32) -> bool {
        client >= FIRST
    }

    fn known(&self, reader: u32, group: GroupId) -> Option<Known> {
        self.tokens.get(&(reader, group)).copied()
    }

    fn learn(&mut self, reader: u32, learned: Known) {
        let known = self.tokens.entry((reader, learned.token.group)).or_insert(learned);
        if learned.point > known.point {
            *known = learned;
        }
    }

    /// What a read promises: each level as often, and for a bounded one from less than a round takes up to what is easy.
    fn promise(&mut self, reader: u32, group: GroupId) -> Promise {
        match self.rng.below(4) {
            0 => Promise::Session(
                self.known(reader, group)
                    .map_or_else(Point::default, |known| known.point),
            ),
            1 => Promise::Bounded(u32::try_from(5 + self.rng.below(400)).expect("small")),
            2 => Promise::Any,
            _ => Promise::Linearizable,
        }
    }
}

impl<R: Rules> Cluster<R> {
    /// The readers begin once there is something to read.
    pub(super) fn begin_reading(&mut self) {
        for reader in FIRST..FIRST + READERS {
            self.schedule(400 * MS, Event::Read { reader });
        }
    }

    /// A reader reads something, at any node.
    pub(super) fn on_read_step(&mut self, reader: u32) {
        let now_ns = self.now_ns;
        let readers = &mut self.readers;
        readers
            .open
            .retain(|_, open| open.began_ns + u64::from(TIMEOUT_MS) * MS > now_ns);
        if readers.left == 0 || !self.faulty {
            return;
        }
        let pause_ms = 10 + readers.rng.below(60);
        if self.keys.is_empty() {
            // Nobody was asked for anything yet.
            return self.schedule(now_ns + pause_ms * MS, Event::Read { reader });
        }
        let key = self.keys[readers.rng.index(self.keys.len())].clone();
        self.schedule(now_ns + pause_ms * MS, Event::Read { reader });
        self.read(reader, key);
    }

    /// What was just acked is read at once, where somebody might not know of it.
    pub(super) fn on_acked_to_reader(&mut self, id: RequestId, token: Token, lineage: u64) {
        let point = self.ledger.lineages.point(token);
        self.readers.history.on_ack(id, token, point, self.now_ns);
        let reader = FIRST + id.client;
        if self.births == Births::Writer || id.client >= READERS {
            return;
        }
        let known = Known { token, lineage, point };
        self.readers.learn(reader, known);
        let open = self.clients[id.client as usize].open.get(&(id.group, id.number));
        let Some(key) = open.map(|open| open.key.clone()) else {
            return;
        };
        if self.faulty && self.readers.rng.below(2) == 0 {
            for _ in 0..2 {
                self.read(reader, key.clone());
            }
        }
    }

    fn read(&mut self, reader: u32, key: Key) {
        let group = self.topology.locate(key.as_ref()).group;
        let under_way = self.readers.open.values().filter(|open| open.reader == reader).count();
        if under_way >= OPEN_MAX || self.readers.left == 0 {
            return;
        }
        self.readers.left -= 1;
        let promise = self.readers.promise(reader, group);
        let is_here = promise != Promise::Linearizable && self.readers.rng.below(3) == 0;
        self.ask(reader, key, promise, is_here);
    }

    /// A test reads an actor, with everything that was acked before: the correlation of its question.
    pub(super) fn ask_for_test(&mut self, key: Key) -> u64 {
        let correlation = self.ask(FIRST + READERS, key, Promise::Linearizable, false);
        self.readers.shown.insert(correlation, None);
        correlation
    }

    /// Sends a read to any shard of any node; its correlation.
    fn ask(&mut self, reader: u32, key: Key, promise: Promise, is_here: bool) -> u64 {
        let group = self.topology.locate(key.as_ref()).group;
        let readers = &mut self.readers;
        let correlation = readers.next;
        readers.next += 1;
        let known = readers.known(reader, group);
        let from = known.filter(|known| promise == Promise::Session(known.point));
        let freshness = match promise {
            Promise::Session(point) => Some(Freshness {
                lineage: from.map_or(point.lineage, |known| known.lineage).into(),
                view: known.map_or(0, |known| known.token.view).into(),
                seq: point.seq.into(),
                ..Freshness::default()
            }),
            Promise::Bounded(age_ms) => Some(Freshness {
                age_ms: age_ms.into(),
                ..Freshness::default()
            }),
            Promise::Any | Promise::Linearizable => None,
        };
        let mut header = RequestHeader {
            correlation: correlation.into(),
            timeout_ms: TIMEOUT_MS.into(),
            operation: Operation::Get as u8,
            level: promise.level() as u8,
            ..RequestHeader::default()
        };
        header.item.flags = if is_here { HERE } else { 0 };
        let mut bytes = Vec::new();
        let mut frame = FrameBuilder::begin(&mut bytes);
        let message = freshness.as_ref().map_or(&[][..], Freshness::bytes);
        request::push(&mut bytes, &header, key.bytes(), message);
        frame.pushed();
        let address = FrameAddress::of_client((0, 0));
        frame.finish(&mut bytes, &address);
        let node = readers.rng.index(self.topology.nodes().len());
        let shard = readers.rng.index(self.nodes[node].shards.len().max(1));
        let open = Open {
            reader,
            group,
            key,
            promise,
            began_ns: self.now_ns,
            from,
        };
        readers.open.insert(correlation, open);
        self.trace(&[6, u64::from(reader), node as u64, correlation]);
        let at_ns = self.now_ns + self.faults.delay_us * 1_000;
        self.schedule(
            at_ns,
            Event::FromClient {
                node,
                shard,
                client: reader,
                bytes,
            },
        );
        correlation
    }

    pub(super) fn on_to_reader(&mut self, reader: u32, bytes: &[u8]) {
        let frame = FrameView::new_checked(bytes, FRAME_BYTES_MAX).expect("shards send whole frames");
        for item in frame.items().filter(|item| item.kind() == ItemKind::Reply) {
            let reply = ReplyView::new_checked(&item).expect("shards send whole replies");
            let Some(open) = self.readers.open.remove(&reply.header.correlation.get()) else {
                continue;
            };
            let from = open.from.map(|from| from.token);
            if reply.outcome == Outcome::LineageLost {
                // Whoever reads hears that what it saw is gone, and goes on without.
                self.reach(Reached::Reply(reply.outcome));
                self.readers.tokens.remove(&(reader, open.group));
                self.readers.history.sessions.extend(from.map(|token| (token, None)));
            }
            if reply.outcome != Outcome::Done {
                continue;
            }
            let token = Token {
                group: open.group,
                view: reply.header.view.get(),
                seq: reply.header.seq.get(),
            };
            let says_age = open.promise != Promise::Linearizable && reply.header.detail.get() != u32::MAX;
            let age_ms = says_age.then_some(reply.header.detail.get());
            let lineage = reply.header.lineage.get();
            let point = self.ledger.lineages.point(token);
            let read = Read {
                token,
                point,
                key: open.key.bytes().to_vec(),
                body: reply.body.to_vec(),
            };
            self.trace(&[7, u64::from(reader), token.view, token.seq]);
            self.report.reads[open.promise.level() as usize] += 1;
            self.readers.answered.push(reply.header.correlation.get());
            if let Some(shown) = self.readers.shown.get_mut(&reply.header.correlation.get()) {
                *shown = Some(reply.body.to_vec());
            }
            let history = &mut self.readers.history;
            history.sessions.extend(from.map(|token| (token, Some(lineage))));
            history.on_read(open.promise, open.began_ns, self.now_ns, age_ms, read);
            if matches!(open.promise, Promise::Linearizable | Promise::Session(_)) {
                self.readers.learn(reader, Known { token, lineage, point });
            }
        }
    }

    /// Every group answers reads of every level once faults have stopped, whoever is asked.
    pub(super) fn check_reads_end(&mut self) {
        // A group that lacks memory may lack a writer.
        if self.births == Births::Writer || self.faults.is_tight() {
            return;
        }
        let mut probes = Vec::new();
        for key in self.keys.clone() {
            for promise in [
                Promise::Linearizable,
                Promise::Session(Point::default()),
                Promise::Bounded(200),
                Promise::Any,
            ] {
                let group = self.topology.locate(key.as_ref()).group;
                // What is acked to anybody is what a session may name at most.
                let promise = match promise {
                    Promise::Session(_) => Promise::Session(self.readers.history.known_at(group, self.now_ns)),
                    other => other,
                };
                probes.push((group, key.clone(), promise, 0));
            }
        }
        self.readers.answered.clear();
        for _ in 0..PROBE_MS / PROBE_AGAIN_MS {
            // One after the other: whoever asks for everything at once is cut off where nodes keep little for clients.
            let until_ns = self.now_ns + PROBE_AGAIN_MS * MS;
            let apart_ns = PROBE_AGAIN_MS * MS / (probes.len() as u64 + 1);
            for (_, key, promise, correlation) in &mut probes {
                self.readers.open.remove(correlation);
                *correlation = self.ask(FIRST + READERS, key.clone(), *promise, false);
                self.run_until(self.now_ns + apart_ns);
            }
            self.run_until(until_ns);
            let answered = std::mem::take(&mut self.readers.answered);
            probes.retain(|(.., correlation)| !answered.contains(correlation));
        }
        for (group, _, promise, _) in probes {
            self.report
                .violations
                .push(Violation::ReadStuck(group, promise.level()));
        }
    }

    /// What was read is what the log makes, and what it was computed up to is in the log.
    pub(super) fn check_reads(&mut self) {
        let mut violations = std::mem::take(&mut self.readers.history.violations);
        let mut ended = std::mem::take(&mut self.readers.history.ended);
        let sessions = std::mem::take(&mut self.readers.history.sessions);
        let sessions = sessions.into_iter();
        violations.extend(sessions.filter_map(|(token, answered)| self.ledger.lineages.judge_session(token, answered)));
        // What is gone nobody can make again.
        ended.retain(|read| !self.ledger.lineages.is_gone(read.token));
        ended.sort_by_key(|read| (read.token.group, read.token.seq));
        // A member without room may never hold what others committed.
        if !self.faults.has_little_memory() {
            for reads in ended.chunk_by(|a, b| a.token.group == b.token.group) {
                self.check_reads_of_group(reads, &mut violations);
            }
        }
        self.report.violations.append(&mut violations);
    }

    fn check_reads_of_group(&self, reads: &[Read], violations: &mut Vec<Violation>) {
        let group = reads[0].token.group;
        let members = self.members(group).into_iter();
        let Some(node) = members.max_by_key(|node| self.commit(*node, group)) else {
            return;
        };
        let shard = self.shard_of(node, group).expect("a member has its shard");
        let commit = self.commit(node, group);
        let mut replay = Replay::new(self.kinds.clone());
        let mut done = 0;
        for read in reads {
            while done < read.token.seq.min(commit) {
                done += 1;
                let entry = shard.entry_and_time(group, Seq(done));
                let Some((bytes, time_ms)) = entry else { return };
                if let Ok((entry, _)) = EntryView::new_checked(bytes) {
                    replay.take(done, time_ms, &entry);
                }
            }
            let is_there = read.token.seq <= commit && is_of_view(shard, read.token);
            if !is_there {
                violations.push(Violation::ReadOfNothing(read.token));
            } else if replay.show(&read.key).is_some_and(|body| body != read.body) {
                violations.push(Violation::ReadWrong(read.token));
            }
        }
    }
}

/// Whether the entry of a token was logged in its view; before the first entry there is none to ask.
fn is_of_view<R: Rules>(shard: &super::SimShard<R>, token: Token) -> bool {
    let view = Shard::entry_view(shard, token.group, Seq(token.seq));
    token.seq == 0 || view.is_some_and(|view| view.0 == token.view)
}
