//! Messages with an end on record: when each was sent, when it ended and how, and who writes its group. And the reading back of all of them.
//!
//! One thread, which is the test's. **Invariant:** a serial is sent once; serials that were passed over are sent by nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use waterpark_bench::ledger::{Checker, Fate, Findings, Ledger};
use waterpark_bench::workload::{KeyText, Kind, Workload};
use waterpark_client::blocking::{BulkReader, ClusterAddresses, ConnectOptions};
use waterpark_client::polled::Polled;
use waterpark_client::{Address, ClientError, ClientOptions, SendOptions};
use waterpark_ring::{GroupId, NodeId, Topology, shard_of};
use waterpark_wire::reply::Outcome;

use super::{Nodes, eventually};

/// How messages are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    pub(crate) timeout_ms: u32,
    pub(crate) attempts_max: u32,
}

impl Default for How {
    fn default() -> How {
        How {
            timeout_ms: 5_000,
            attempts_max: u32::MAX,
        }
    }
}

/// One message from its call to its end.
#[derive(Clone, Copy, Debug)]
struct Row {
    serial: u64,
    sent_ns: u64,
    end: Option<(u64, Result<Outcome, ClientError>)>,
    /// Its entry's group and seq, if the end names them.
    entry: Option<(u32, u64)>,
}

/// Ends of messages, counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sent: u64,
    pub(crate) acked: u64,
    pub(crate) refused: u64,
    pub(crate) unknown: u64,
    pub(crate) open: u64,
    /// What all that were not acked ended with.
    pub(crate) reasons: BTreeMap<String, u64>,
    /// The slowest end that was no ack, in ms.
    pub(crate) slowest_refusal_ms: u64,
    /// The slowest ack, in ms.
    pub(crate) slowest_ack_ms: u64,
}

/// A client with its messages.
pub(crate) struct Load {
    client: Polled,
    work: Workload,
    rows: Vec<Row>,
    /// The next serial.
    next: u64,
    topology: Topology,
    key: [u8; 32],
}

impl Load {
    /// A client that enters through these nodes. `direct` lets it speak to the writers themselves.
    pub(crate) fn new(nodes: &Nodes, entries: ClusterAddresses, direct: bool, message_bytes: usize) -> Load {
        let options = ConnectOptions {
            client: ClientOptions {
                in_flight_max: 1 << 17,
                open_bytes_max: 1 << 30,
                direct,
                ..ClientOptions::default()
            },
            ..ConnectOptions::default()
        };
        let key = nodes.cluster.key();
        let client = Polled::new(entries, key, &options).unwrap_or_else(|error| panic!("no client: {error}"));
        let work = Workload {
            kind: Kind::W128,
            actors: 10_000,
            message_bytes,
            seed: u64::from(std::process::id()) << 32 | u64::from(rand_word()),
            warm: 0,
            prefix: "",
            skew: None,
        };
        let mut load = Load {
            client,
            work,
            rows: Vec::new(),
            next: 0,
            topology: nodes.topology.clone(),
            key,
        };
        let until = Instant::now() + Duration::from_secs(10);
        while !load.client.core().is_ready() {
            let failure = load.client.core().last_failure();
            assert!(Instant::now() < until, "the cluster is not reached: {failure:?}");
            load.client.turn(Duration::from_millis(10), None);
        }
        load
    }

    /// All messages go to one actor.
    pub(crate) fn with_one_actor(mut self) -> Load {
        self.work.kind = Kind::HotActor;
        self
    }

    fn group(&self, serial: u64) -> GroupId {
        let mut text = KeyText::default();
        let key = self.work.key(self.work.actor(serial), &mut text);
        let key = key.expect("the workload's keys are well formed");
        self.topology.locate(key).group
    }

    /// Who writes the group of a message.
    fn writer(&self, serial: u64) -> NodeId {
        self.topology.birth().writer(self.group(serial))
    }

    /// Who writes the group of the next message.
    pub(crate) fn next_writer(&self) -> NodeId {
        self.writer(self.next)
    }

    /// Sends the next message whose writer is wanted. `false` if the client takes no more now.
    pub(crate) fn send(&mut self, how: How, wanted: impl Fn(NodeId) -> bool) -> bool {
        let mut serial = self.next;
        while !wanted(self.writer(serial)) {
            serial += 1;
            assert!(serial < self.next + 1_000_000, "no actor has a wanted writer");
        }
        let now_ns = self.client.now_ns();
        let (mut message, mut text) = (Vec::new(), KeyText::default());
        self.work.write(serial, &mut message);
        let key = self.work.key(self.work.actor(serial), &mut text);
        let core = self.client.core_mut();
        let prepared = core.prepare(key.expect("the workload's keys are well formed"));
        let options = SendOptions {
            timeout_ms: how.timeout_ms,
            attempts_max: how.attempts_max,
            tag: self.rows.len() as u64,
            ..SendOptions::default()
        };
        let sent = core.send(now_ns, prepared.expect("the slot table was learnt"), &message, &options);
        match sent {
            Ok(_) => (),
            Err(ClientError::Full) => return false,
            Err(error) => panic!("message {serial}: {error}"),
        }
        self.next = serial + 1;
        self.rows.push(Row {
            serial,
            sent_ns: now_ns,
            end: None,
            entry: None,
        });
        true
    }

    /// One turn of the client.
    pub(crate) fn turn(&mut self, wait: Duration) {
        self.client.turn(wait, None);
        let now_ns = self.client.now_ns();
        let rows = &mut self.rows;
        self.client.core_mut().take_completions(|completion| {
            let row = &mut rows[usize::try_from(completion.tag).expect("the place of a row")];
            assert!(row.end.is_none(), "message {} ended twice", row.serial);
            row.end = Some((now_ns, completion.result));
            row.entry = completion.token.map(|token| (token.group, token.seq));
        });
    }

    pub(crate) fn open(&self) -> usize {
        self.client.core().open_requests()
    }

    /// Sends evenly, so many a second, and does not wait for the ends. Returns the number of the first message.
    pub(crate) fn paced(&mut self, rate: u64, time: Duration, how: How, wanted: impl Fn(NodeId) -> bool) -> usize {
        let (first, begun) = (self.mark(), Instant::now());
        let mut sent: u64 = 0;
        while begun.elapsed() < time {
            let due = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX) * rate / 1_000_000;
            while sent < due && self.send(how, &wanted) {
                sent += 1;
            }
            self.turn(Duration::from_millis(1));
        }
        first
    }

    /// Keeps so many under way for a time, and does not wait for the last ends. Returns the number of the first message.
    pub(crate) fn closed(
        &mut self,
        in_flight: usize,
        time: Duration,
        how: How,
        wanted: impl Fn(NodeId) -> bool,
        mut each: impl FnMut(usize),
    ) -> usize {
        let (first, begun) = (self.mark(), Instant::now());
        while begun.elapsed() < time {
            let mut burst = 0;
            while self.open() < in_flight && burst < 256 && self.send(how, &wanted) {
                burst += 1;
            }
            let full = self.open() >= in_flight;
            self.turn(if full { Duration::from_millis(5) } else { Duration::ZERO });
            each(self.rows.len() - first);
        }
        first
    }

    /// Waits until every message has ended.
    pub(crate) fn settle(&mut self, limit: Duration) {
        let until = Instant::now() + limit;
        while self.open() > 0 || self.client.core().has_completions() {
            assert!(Instant::now() < until, "{} messages have no end", self.open());
            self.turn(Duration::from_millis(10));
        }
    }

    /// The number of the next message.
    pub(crate) fn mark(&self) -> usize {
        self.rows.len()
    }

    /// Ends of the messages from one number up to another.
    pub(crate) fn tally(&self, from: usize, to: usize) -> Tally {
        let mut tally = Tally::default();
        for row in &self.rows[from..to] {
            tally.sent += 1;
            let Some((ended_ns, result)) = row.end else {
                tally.open += 1;
                continue;
            };
            let took_ms = ended_ns.saturating_sub(row.sent_ns) / 1_000_000;
            match fate(&result) {
                Fate::Acked => {
                    tally.acked += 1;
                    tally.slowest_ack_ms = tally.slowest_ack_ms.max(took_ms);
                    continue;
                }
                Fate::Refused => tally.refused += 1,
                Fate::Unknown | Fate::Open => tally.unknown += 1,
            }
            tally.slowest_refusal_ms = tally.slowest_refusal_ms.max(took_ms);
            let reason = match result {
                Ok(outcome) | Err(ClientError::Refused { outcome, .. }) => format!("{outcome:?}"),
                Err(error) => format!("{error:?}"),
            };
            *tally.reasons.entry(reason).or_default() += 1;
        }
        tally
    }

    pub(crate) fn tally_since(&self, from: usize) -> Tally {
        self.tally(from, self.rows.len())
    }

    /// Time from send to ack, in µs.
    pub(crate) fn ack_us(&self, from: usize) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds that the library allows");
        for row in &self.rows[from..] {
            if let Some((ended_ns, Ok(Outcome::Done))) = row.end {
                histogram.saturating_record((ended_ns - row.sent_ns) / 1_000);
            }
        }
        histogram
    }

    /// Sends evenly, so many a second, waits for all ends, and gives the time from each message's planned instant to its ack, in µs: a
    /// message that could not leave in time counts from when it should have.
    ///
    /// # Panics
    /// If a message was not acked.
    pub(crate) fn response_us(&mut self, rate: u64, time: Duration) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds that the library allows");
        let begun_ns = self.client.now_ns();
        let first = self.paced(rate, time, How::default(), |_| true);
        self.settle(Duration::from_secs(10));
        for (index, row) in (0_u64..).zip(&self.rows[first..]) {
            let planned_ns = begun_ns + index * 1_000_000_000 / rate;
            match row.end {
                Some((ended_ns, Ok(Outcome::Done))) => {
                    histogram.saturating_record(ended_ns.saturating_sub(planned_ns) / 1_000);
                }
                other => panic!("message {} ended with {other:?}", row.serial),
            }
        }
        histogram
    }

    /// The serials that were acked.
    fn acked(&self) -> impl Iterator<Item = u64> {
        let acked = self.rows.iter().filter(|row| {
            let end = row.end.map(|(_, result)| fate(&result));
            end == Some(Fate::Acked)
        });
        acked.map(|row| row.serial)
    }

    /// Reads everything back from three members of each group.
    pub(crate) fn check(&self) -> Findings {
        let mut ledger = Ledger::default();
        for row in &self.rows {
            ledger.note(row.serial, row.end.map_or(Fate::Open, |(_, result)| fate(&result)));
        }
        let checker = Checker {
            topology: &self.topology,
            members: std::collections::BTreeMap::new(),
            key: self.key,
            workload: self.work,
            ledger: &ledger,
            keeps_all: true,
        };
        checker.check()
    }

    /// Each of these nodes holds, once, every acked message of the groups whose writer is wanted, and all of them in the same order.
    pub(crate) fn assert_held_by(&self, members: &[NodeId], wanted: impl Fn(NodeId) -> bool) {
        let mut acked = BTreeMap::<GroupId, BTreeSet<u64>>::new();
        for serial in self.acked() {
            acked.entry(self.group(serial)).or_default().insert(serial);
        }
        for (group, acked) in acked {
            if !wanted(self.topology.birth().writer(group)) {
                continue;
            }
            let mut logs: Vec<Vec<u64>> = Vec::new();
            for member in members {
                // A follower learns what is committed a moment after the sender does.
                let log = eventually("a member holds what was acked", Duration::from_secs(10), || {
                    let log = self.read(group, *member);
                    let held: BTreeSet<u64> = log.iter().copied().collect();
                    assert_eq!(held.len(), log.len(), "{member:?} holds a message of {group:?} twice");
                    acked.is_subset(&held).then_some(log)
                });
                logs.push(log);
            }
            let shortest = logs.iter().map(Vec::len).min().unwrap_or(0);
            for log in &logs {
                assert_eq!(log[..shortest], logs[0][..shortest], "the order of {group:?} differs");
            }
        }
    }

    /// The last entry that was acked of each group whose writer is wanted.
    pub(crate) fn last_acked(&self, wanted: impl Fn(NodeId) -> bool) -> BTreeMap<u32, u64> {
        let mut last = BTreeMap::new();
        let acked = self
            .rows
            .iter()
            .filter(|row| row.end.is_some_and(|(_, result)| fate(&result) == Fate::Acked));
        for (group, seq) in acked.filter_map(|row| row.entry) {
            if wanted(self.topology.birth().writer(GroupId(group))) {
                let entry = last.entry(group).or_insert(seq);
                *entry = seq.max(*entry);
            }
        }
        last
    }

    /// The serials that a member holds of a group, in its order.
    fn read(&self, group: GroupId, member: NodeId) -> Vec<u64> {
        let node = self.topology.node(member).expect("a node of the cluster");
        let shard = shard_of(group, node.shards);
        let address = Address {
            host: node.host.clone(),
            port: node.port + 64 + shard,
        };
        let (mut serials, mut scratch) = (Vec::new(), Vec::new());
        let reader = BulkReader::connect(&address, &self.key, Duration::from_secs(5));
        let read = reader.and_then(|mut reader| {
            reader.read(group.0, 1, |entry| {
                if entry.is_tick() || entry.is_void() {
                    return;
                }
                match self.work.serial(entry.message, &mut scratch) {
                    Ok(Some(serial)) => serials.push(serial),
                    // Of another load of this test.
                    Ok(None) => (),
                    Err(changed) => panic!("{member:?} holds {changed:?} of {group:?}"),
                }
            })
        });
        read.unwrap_or_else(|error| panic!("{} cannot be read for {group:?}: {error}", node.name));
        serials
    }

    /// Nothing acked is lost, doubled or changed, and nothing refused is held.
    pub(crate) fn assert_clean(&self) {
        let findings = self.check();
        assert!(findings.is_clean(), "{findings:#?}");
        assert_eq!(findings.looked_for, self.acked().count() as u64);
    }
}

/// As the load generator reads an end.
fn fate(result: &Result<Outcome, ClientError>) -> Fate {
    match result {
        Ok(Outcome::Done) => Fate::Acked,
        Ok(_)
        | Err(
            ClientError::Refused { .. } | ClientError::Deadline | ClientError::Unreachable { .. } | ClientError::Closed,
        ) => Fate::Refused,
        Err(_) => Fate::Unknown,
    }
}

/// Tells the loads of one process apart.
fn rand_word() -> u32 {
    let wall = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    u32::try_from(wall.tv_nsec).unwrap_or(0)
}
