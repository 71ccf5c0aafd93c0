//! Sends to each key, one message at a time: the next is due when the one before has ended, and not before its instant. Beside that it reads
//! each key in the same way, at level session with the token of its newest ack, where that is wanted.
//!
//! A thread for each client; a client enters through a node of its own, and every second one learns the writers and speaks to them itself.
//! It deliberately knows of no fault: what a fault cost is read from the rows afterwards. **Invariant:** a client sends the messages to one
//! group in the order of its rows, in one ordered session, each under one number until its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use waterpark_client::blocking::{ClusterAddresses, ConnectOptions};
use waterpark_client::polled::Polled;
use waterpark_client::{ClientError, ClientOptions, ReadOptions, SendOptions, Token};
use waterpark_wire::reply::Outcome;
use waterpark_wire::request::ReadLevel;

use crate::run::{CONNECT, RunError};
use crate::workload::{KeyText, Workload};

/// How long a message is tried, in ms. Long enough that whatever ends without an ack is a failure of the cluster and not of patience.
pub const TIMEOUT_MS: u32 = 10_000;
/// A node that leaves everything unanswered for so long is left for another, in ms: nobody waits for the default of ten seconds who wants to
/// know what a silent node costs.
pub const SILENCE_MS: u32 = 500;
/// A client that has nothing to do looks around so often.
const TURN: Duration = Duration::from_millis(10);

/// How a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It has not.
    Open,
    /// Acked.
    Acked,
    /// Refused for certain.
    Failed,
    /// Nothing is known of it.
    Unknown,
}

/// One message. Instants are nanoseconds since the load's epoch.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its serial: `serial % keys` is its key.
    pub serial: u64,
    /// When it was handed over.
    pub sent_ns: u64,
    /// When it ended.
    pub ended_ns: u64,
    /// How.
    pub end: End,
}

/// The end of a message that was not acked.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its row.
    pub row: Row,
    /// Copies that were sent.
    pub attempts: u32,
    /// The last word on it.
    pub reason: String,
}

/// All that one client sent, in order.
#[derive(Debug, Default)]
pub struct Lane {
    /// The messages.
    pub rows: Vec<Row>,
    /// Ends that were no acks.
    pub failures: Vec<Failure>,
    /// Copies that were sent beyond the first.
    pub repeats: u64,
    /// The session reads, in order; the serial is the key.
    pub reads: Vec<Row>,
}

/// What the load is to be.
#[derive(Clone, Debug)]
pub(super) struct LoadPlan {
    /// Where each client enters first.
    pub(super) entries: Vec<ClusterAddresses>,
    pub(super) cluster_key: [u8; 32],
    /// Messages as a function of their serial; its actors are the keys.
    pub(super) workload: Workload,
    /// A key's messages are due no faster than this.
    pub(super) every: Duration,
    /// Whether keys are read too.
    pub(super) reads: bool,
}

/// A key is read so many times more seldom than it is written: reads are to show what a failure costs them, not to cost writes anything.
const READ_EVERY: u64 = 5;
/// In the tag of a read, beside its place.
const READ: u64 = 1 << 63;

/// What clients say while they run.
#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    /// By key: when its newest acked message was sent.
    acked_sent_ns: Vec<AtomicU64>,
}

/// A load that runs.
#[derive(Debug)]
pub(super) struct Load {
    epoch: Instant,
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Lane>>,
}

impl Load {
    /// Connects all clients, then begins to send.
    ///
    /// # Errors
    /// When one of them finds no cluster.
    pub(super) fn start(plan: &LoadPlan) -> Result<Load, RunError> {
        let epoch = Instant::now();
        let keys = usize::try_from(plan.workload.actors).expect("keys are few");
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            acked_sent_ns: (0..keys).map(|_| AtomicU64::new(0)).collect(),
        });
        let senders: Result<Vec<Sender>, ClientError> = (0..plan.entries.len())
            .map(|index| Sender::connect(plan, index, epoch, Arc::clone(&shared)))
            .collect();
        let clients = senders?.into_iter().map(|sender| std::thread::spawn(|| sender.run()));
        Ok(Load {
            epoch,
            clients: clients.collect(),
            shared,
        })
    }

    /// Nanoseconds since its epoch.
    pub(super) fn now_ns(&self) -> u64 {
        nanos(self.epoch.elapsed())
    }

    /// Keys of which no message that was sent after an instant is acked yet.
    pub(super) fn waiting_since(&self, instant_ns: u64) -> usize {
        let sent = self
            .shared
            .acked_sent_ns
            .iter()
            .map(|sent| sent.load(Ordering::Relaxed));
        sent.filter(|sent_ns| *sent_ns <= instant_ns).count()
    }

    /// Sends no more, and waits until everything has ended; what each client sent.
    pub(super) fn finish(mut self) -> Vec<Lane> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let clients = std::mem::take(&mut self.clients);
        let lanes = clients
            .into_iter()
            .map(|client| client.join().expect("a client does not panic"));
        lanes.collect()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// A key of one client.
#[derive(Debug)]
struct Turn {
    key: u64,
    /// Messages to it so far.
    sent: u64,
    /// When its next message is due; `u64::MAX` while one is under way.
    due_ns: u64,
    /// The same of its next read; `u64::MAX` also before the first ack.
    read_due_ns: u64,
    /// Of its newest ack.
    token: Option<Token>,
}

/// One client.
struct Sender {
    client: Polled,
    /// What its clock is behind the load's.
    behind_ns: u64,
    workload: Workload,
    every_ns: u64,
    reads: bool,
    turns: Vec<Turn>,
    lane: Lane,
    shared: Arc<Shared>,
}

impl Sender {
    fn connect(plan: &LoadPlan, index: usize, epoch: Instant, shared: Arc<Shared>) -> Result<Sender, ClientError> {
        let options = ConnectOptions {
            client: ClientOptions {
                direct: is_direct(index),
                silence_ms: SILENCE_MS,
                ..ClientOptions::default()
            },
            ..ConnectOptions::default()
        };
        let mut client = Polled::new(plan.entries[index].clone(), plan.cluster_key, &options)?;
        let until = Instant::now() + CONNECT;
        while !client.core().is_ready() {
            if Instant::now() >= until {
                let failure = client.core().last_failure();
                return Err(failure.unwrap_or(ClientError::Unreachable { tried: 1 }));
            }
            client.turn(TURN, None);
        }
        let every_ns = nanos(plan.every);
        let begun_ns = nanos(epoch.elapsed());
        let own = (index as u64..plan.workload.actors).step_by(plan.entries.len());
        let turn = |key| Turn {
            key,
            sent: 0,
            // Evenly, so that keys of one group do not stay together.
            due_ns: begun_ns + every_ns * key / plan.workload.actors,
            read_due_ns: u64::MAX,
            token: None,
        };
        Ok(Sender {
            behind_ns: nanos(client.start().saturating_duration_since(epoch)),
            client,
            workload: plan.workload,
            every_ns,
            reads: plan.reads,
            turns: own.map(turn).collect(),
            lane: Lane::default(),
            shared,
        })
    }

    fn now_ns(&self) -> u64 {
        self.client.now_ns() + self.behind_ns
    }

    fn run(mut self) -> Lane {
        let (mut message, mut text) = (Vec::new(), KeyText::default());
        loop {
            let stopping = self.shared.stop.load(Ordering::Relaxed);
            let is_idle = self.client.core().open_requests() == 0 && !self.client.core().has_completions();
            if stopping && is_idle {
                return self.lane;
            }
            let now_ns = self.now_ns();
            let mut next_ns = now_ns + nanos(TURN);
            for at in 0..self.turns.len() {
                if !stopping && self.turns[at].due_ns <= now_ns {
                    self.send(at, now_ns, &mut message, &mut text);
                }
                if !stopping && self.turns[at].read_due_ns <= now_ns {
                    self.read(at, now_ns, &mut text);
                }
                next_ns = next_ns.min(self.turns[at].due_ns).min(self.turns[at].read_due_ns);
            }
            let wait = if stopping {
                TURN
            } else {
                Duration::from_nanos(next_ns.saturating_sub(now_ns))
            };
            self.client.turn(wait, None);
            self.take();
        }
    }

    fn send(&mut self, at: usize, now_ns: u64, message: &mut Vec<u8>, text: &mut KeyText) {
        let turn = &mut self.turns[at];
        let serial = turn.sent * self.workload.actors + turn.key;
        self.workload.write(serial, message);
        let key = self
            .workload
            .key(turn.key, text)
            .expect("the workload's keys are well formed");
        let options = SendOptions {
            timeout_ms: TIMEOUT_MS,
            ordered: true,
            tag: self.lane.rows.len() as u64,
            ..SendOptions::default()
        };
        let client_now_ns = self.client.now_ns();
        let core = self.client.core_mut();
        let prepared = core.prepare(key).expect("the slot table was learnt");
        core.send(client_now_ns, prepared, message, &options)
            .expect("a message for each key is far less than a client may have open");
        turn.sent += 1;
        turn.due_ns = u64::MAX;
        self.lane.rows.push(Row {
            serial,
            sent_ns: now_ns,
            ended_ns: u64::MAX,
            end: End::Open,
        });
    }

    fn read(&mut self, at: usize, now_ns: u64, text: &mut KeyText) {
        let turn = &mut self.turns[at];
        let key = self
            .workload
            .key(turn.key, text)
            .expect("the workload's keys are well formed");
        let options = ReadOptions {
            timeout_ms: TIMEOUT_MS,
            level: ReadLevel::Session,
            token: turn.token,
            tag: READ | self.lane.reads.len() as u64,
            ..ReadOptions::default()
        };
        let client_now_ns = self.client.now_ns();
        let core = self.client.core_mut();
        let prepared = core.prepare(key).expect("the slot table was learnt");
        core.get(client_now_ns, prepared, &options)
            .expect("a read of each key is far less than a client may have open");
        turn.read_due_ns = u64::MAX;
        self.lane.reads.push(Row {
            serial: turn.key,
            sent_ns: now_ns,
            ended_ns: u64::MAX,
            end: End::Open,
        });
    }

    fn take(&mut self) {
        if !self.client.core().has_completions() {
            return;
        }
        let (now_ns, keys) = (self.now_ns(), self.workload.actors);
        let clients = self.turns.get(1).map_or(1, |second| second.key - self.turns[0].key);
        let (lane, turns, shared, every_ns) = (&mut self.lane, &mut self.turns, &self.shared, self.every_ns);
        let (first, reads) = (turns[0].key, self.reads);
        let place = |key: u64| usize::try_from((key - first) / clients).expect("keys are few");
        self.client.core_mut().take_completions(|completion| {
            if completion.tag & READ != 0 {
                let row = usize::try_from(completion.tag ^ READ).expect("the place of a row");
                let row = &mut lane.reads[row];
                (row.ended_ns, row.end) = (now_ns, end_of(completion.result));
                turns[place(row.serial)].read_due_ns = now_ns.max(row.sent_ns + READ_EVERY * every_ns);
                return;
            }
            let row = &mut lane.rows[usize::try_from(completion.tag).expect("the place of a row")];
            let key = row.serial % keys;
            row.ended_ns = now_ns;
            row.end = end_of(completion.result);
            lane.repeats += u64::from(completion.attempts.saturating_sub(1));
            let turn = &mut turns[place(key)];
            if row.end == End::Acked {
                let place = usize::try_from(key).expect("keys are few");
                shared.acked_sent_ns[place].store(row.sent_ns, Ordering::Relaxed);
                if reads && turn.token.is_none() {
                    turn.read_due_ns = now_ns;
                }
                turn.token = completion.token;
            } else {
                let reason = match completion.result {
                    Ok(outcome) => format!("{outcome:?}"),
                    Err(error) => error.to_string(),
                };
                lane.failures.push(Failure {
                    row: *row,
                    attempts: completion.attempts,
                    reason,
                });
            }
            turn.due_ns = now_ns.max(row.sent_ns + every_ns);
        });
    }
}

/// Whether a client learns the writers and speaks to them itself: every second one does.
pub(super) fn is_direct(client: usize) -> bool {
    client.is_multiple_of(2)
}

fn end_of(result: Result<Outcome, ClientError>) -> End {
    match result {
        // A reply whose state is gone is one to a message that took effect.
        Ok(Outcome::Done | Outcome::Settled) => End::Acked,
        Ok(_)
        | Err(
            ClientError::Refused { .. } | ClientError::Deadline | ClientError::Unreachable { .. } | ClientError::Closed,
        ) => End::Failed,
        Err(_) => End::Unknown,
    }
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
