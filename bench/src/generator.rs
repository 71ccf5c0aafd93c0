//! Sends messages at planned instants, or keeps a number of them under way, and measures each from its planned instant to its ack.
//!
//! One thread, one core of the client. **Invariant:** response time counts from the instant at which a message was planned, not from the one
//! at which it could be sent; what was planned and could not be sent in time is counted.

use std::time::Duration;

use hdrhistogram::Histogram;
use waterpark_client::polled::Polled;
use waterpark_client::{ClientError, ReadOptions, SendOptions};
use waterpark_wire::reply::Outcome;

use crate::arrivals::Instants;
use crate::ledger::{Fate, Ledger};
use crate::reads::{ReadTally, Reads};
use crate::recorder::{Recorder, histogram};
use crate::share::Share;
use crate::timeline::Timeline;
use crate::workload::{KeyText, Workload};

/// A send that leaves so much later than planned is late.
pub const LATE_NS: u64 = 1_000_000;
/// A sleep may end so much later than it was asked to.
const WAKING_NS: u64 = 200_000;
/// Messages that are made before the sockets are looked after again.
const BURST: u64 = 256;

/// When messages are sent.
#[derive(Clone, Copy, Debug)]
pub enum Schedule<'p> {
    /// At planned instants.
    Open(&'p Instants),
    /// As soon as one of so many under way has ended.
    Closed {
        /// Messages under way.
        in_flight: usize,
    },
}

/// What one stretch of sending gave.
#[derive(Debug)]
pub struct Measured {
    /// Messages that were sent.
    pub sent: u64,
    /// Ended with an ack.
    pub acked: u64,
    /// Refused for good.
    pub refused: u64,
    /// Nothing is known of them.
    pub unknown: u64,
    /// Planned and sent more than 1 ms late, or not at all because too many were under way.
    pub late: u64,
    /// From the planned instant to the ack, in µs.
    pub response_us: Histogram<u64>,
    /// From the send to the ack, in µs.
    pub service_us: Histogram<u64>,
    /// Both in full.
    pub recorder: Recorder,
    /// The first of the two by when it was planned; in a closed loop, by when it was sent.
    pub over_time: Timeline,
    /// From the first planned instant to the last end.
    pub took: Duration,
    /// Reads, none of which is counted above but where it was late.
    pub reads: ReadTally,
    /// Copies that were sent beyond the first.
    pub repeats: u64,
    /// Reasons of refusals, with counts.
    pub reasons: std::collections::BTreeMap<String, u64>,
}

impl Measured {
    /// Nothing yet, of a stretch of so long.
    #[must_use]
    pub fn new(time: Duration) -> Measured {
        Measured {
            sent: 0,
            acked: 0,
            refused: 0,
            unknown: 0,
            late: 0,
            response_us: histogram(),
            service_us: histogram(),
            recorder: Recorder::new(time),
            over_time: Timeline::new(time),
            took: Duration::ZERO,
            reads: ReadTally::new(time),
            repeats: 0,
            reasons: std::collections::BTreeMap::new(),
        }
    }

    /// What another generator saw of the same stretch.
    pub(crate) fn add(&mut self, other: Measured) {
        self.sent += other.sent;
        self.acked += other.acked;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.late += other.late;
        self.repeats += other.repeats;
        self.took = self.took.max(other.took);
        self.recorder.add(&other.recorder);
        self.over_time.append(&other.over_time, Duration::ZERO);
        self.reads.add(other.reads);
        for (reason, count) in other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
    }

    /// Adds up what was recorded.
    pub(crate) fn sum_up(&mut self) {
        (self.response_us, self.service_us) = self.recorder.sums();
        self.reads.sum_up();
    }
}

/// What sends.
pub struct Generator {
    client: Polled,
    workload: Workload,
    /// By its own numbers.
    ledger: Ledger,
    share: Share,
    /// The next message's number among its own.
    next: u64,
    /// When each of its messages was sent, in units of 128 ns since the client began, wrapping after nine minutes.
    sent_at: Vec<u32>,
    timeout_ms: u32,
    /// Of a workload with reads.
    reads: Option<Reads>,
}

/// Units of `sent_at`.
const UNIT_SHIFT: u32 = 7;

impl Generator {
    /// A generator over a client that is connected or about to be.
    #[must_use]
    pub fn new(client: Polled, workload: Workload, timeout_ms: u32) -> Generator {
        Generator {
            client,
            workload,
            ledger: Ledger::default(),
            share: Share::WHOLE,
            next: 0,
            sent_at: Vec::new(),
            timeout_ms,
            reads: None,
        }
    }

    /// Those of its workload's messages that are reads are asked so.
    #[must_use]
    pub fn with_reads(mut self, reads: Reads) -> Generator {
        self.reads = Some(reads);
        self
    }

    /// It sends some of its workload's messages, and others the rest.
    #[must_use]
    pub fn with_share(mut self, share: Share) -> Generator {
        self.share = share;
        self
    }

    /// Goes on with the first of its messages behind all that lie below `serial`, in the same round as all other generators.
    pub fn skip_to(&mut self, serial: u64) {
        self.next = self.next.max(self.share.rounds(serial));
        let numbers = usize::try_from(self.next).expect("serials count messages in memory");
        self.sent_at.resize(numbers, 0);
    }

    /// Nanoseconds of its client's clock.
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.client.now_ns()
    }

    /// Looks after its connections until then, by its client's clock.
    pub fn wait_until(&mut self, until_ns: u64) {
        loop {
            let left_ns = until_ns.saturating_sub(self.client.now_ns());
            if left_ns == 0 {
                break;
            }
            // The last part is too short to be slept through in time.
            let sleep_ns = left_ns.saturating_sub(WAKING_NS).min(10_000_000);
            self.client.turn(Duration::from_nanos(sleep_ns), None);
        }
    }

    /// Turns until the cluster's slot table is learnt.
    ///
    /// # Errors
    /// What the last connection failed with, or `Unreachable`.
    pub fn connect(&mut self, timeout: Duration) -> Result<(), ClientError> {
        let until_ns = self.client.now_ns() + u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        while !self.client.core().is_ready() {
            if self.client.now_ns() >= until_ns {
                return Err(self
                    .client
                    .core()
                    .last_failure()
                    .unwrap_or(ClientError::Unreachable { tried: 1 }));
            }
            self.client.turn(Duration::from_millis(10), None);
        }
        Ok(())
    }

    /// The ledger of everything that was sent, by this generator's own numbers: serials, where it sends all.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// And the ledger alone.
    #[must_use]
    pub fn into_ledger(self) -> Ledger {
        self.ledger
    }

    /// Sends for a time, or until `messages_max` were sent; then waits until everything has ended. `on_turn` is called about once a
    /// turn with the messages sent so far, and ends the sending when it returns `false`.
    pub fn run(
        &mut self,
        schedule: Schedule<'_>,
        time: Duration,
        messages_max: u64,
        on_turn: impl FnMut(&Measured) -> bool,
    ) -> Measured {
        self.run_from(self.client.now_ns(), schedule, time, messages_max, on_turn)
    }

    /// As [`Generator::run`], from an instant of its client's clock on. Where that has passed, what was planned since then goes late.
    pub fn run_from(
        &mut self,
        begun_ns: u64,
        schedule: Schedule<'_>,
        time: Duration,
        messages_max: u64,
        mut on_turn: impl FnMut(&Measured) -> bool,
    ) -> Measured {
        let mut measured = Measured::new(time);
        let first = self.next;
        let end_ns = begun_ns.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        let mut message = Vec::with_capacity(self.workload.message_bytes);
        let mut key = KeyText::default();
        let options = SendOptions {
            timeout_ms: self.timeout_ms,
            ..SendOptions::default()
        };
        let planned = |index: u64| match schedule {
            Schedule::Open(instants) => begun_ns.saturating_add(instants.at(index)),
            Schedule::Closed { .. } => 0,
        };
        // What was planned just before the end is in time for as long as any other.
        let is_over = |now_ns: u64, next: u64| {
            let is_open = matches!(schedule, Schedule::Open(_));
            now_ns >= end_ns && !(is_open && planned(next) < end_ns && now_ns - end_ns <= LATE_NS)
        };
        let mut stopped = false;
        let mut stopped_ns = end_ns;
        let mut last_ns = begun_ns;
        loop {
            let mut now_ns = self.client.now_ns();
            if !stopped && (is_over(now_ns, self.next - first) || !on_turn(&measured)) {
                stopped = true;
                stopped_ns = now_ns.min(end_ns);
            }
            let mut burst = 0;
            while !stopped && burst < BURST && self.next - first < messages_max {
                let index = self.next - first;
                let due = match schedule {
                    Schedule::Open(_) => planned(index) <= now_ns && planned(index) < end_ns,
                    Schedule::Closed { in_flight } => self.client.core().open_requests() < in_flight,
                };
                if !due {
                    break;
                }
                if !self.send(now_ns, &mut message, &mut key, &options) {
                    // As many are under way as the client allows: what is planned meanwhile goes late, and is counted so.
                    break;
                }
                if matches!(schedule, Schedule::Open(_)) {
                    measured.late += u64::from(now_ns - planned(index) > LATE_NS);
                }
                let is_read = self.workload.is_read(self.share.number(self.next - 1));
                *(if is_read {
                    &mut measured.reads.sent
                } else {
                    &mut measured.sent
                }) += 1;
                burst += 1;
                if burst % 32 == 0 {
                    now_ns = self.client.now_ns();
                }
            }
            stopped |= self.next - first >= messages_max;
            let open = self.client.core().open_requests();
            if stopped && open == 0 && !self.client.core().has_completions() {
                break;
            }
            let wait = match schedule {
                _ if stopped => Duration::from_millis(10),
                Schedule::Closed { in_flight } if open < in_flight => Duration::ZERO,
                Schedule::Closed { .. } => Duration::from_millis(10),
                Schedule::Open(_) => {
                    let next_ns = planned(self.next - first).min(end_ns);
                    Duration::from_nanos(next_ns.saturating_sub(self.client.now_ns()))
                }
            };
            self.client.turn(wait, None);
            if self.client.core().has_completions() {
                last_ns = self.client.now_ns();
                self.take(last_ns, begun_ns, first, &planned, schedule, &mut measured);
            }
        }
        if let Schedule::Open(instants) = schedule {
            // What was planned until sending ended and never left.
            let sending = Duration::from_nanos(stopped_ns - begun_ns);
            let planned_all = messages_max.min(instants.count(sending));
            measured.late += planned_all.saturating_sub(measured.sent + measured.reads.sent);
        }
        measured.sum_up();
        measured.took = Duration::from_nanos(last_ns - begun_ns);
        measured
    }

    fn send(&mut self, now_ns: u64, message: &mut Vec<u8>, text: &mut KeyText, options: &SendOptions) -> bool {
        let serial = self.share.number(self.next);
        let actor = self.workload.actor(serial);
        let key = self
            .workload
            .key(actor, text)
            .expect("the workload's keys are well formed");
        let core = self.client.core_mut();
        let prepared = core.prepare(key).expect("the slot table was learnt");
        match &mut self.reads {
            Some(reads) if self.workload.is_read(serial) => {
                let options = ReadOptions {
                    tag: self.next,
                    ..reads.ask(serial, actor, prepared.group.0, options.timeout_ms)
                };
                if core.get(now_ns, prepared, &options).is_err() {
                    reads.take_back(serial);
                    return false;
                }
            }
            _ => {
                self.workload.write(serial, message);
                let options = SendOptions {
                    tag: self.next,
                    ..*options
                };
                if core.send(now_ns, prepared, message, &options).is_err() {
                    return false;
                }
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "wraps; read back as a difference")]
        self.sent_at.push((now_ns >> UNIT_SHIFT) as u32);
        self.next += 1;
        true
    }

    fn take(
        &mut self,
        now_ns: u64,
        begun_ns: u64,
        first: u64,
        planned: &impl Fn(u64) -> u64,
        schedule: Schedule<'_>,
        measured: &mut Measured,
    ) {
        let (ledger, sent_at, reads, workload) = (&mut self.ledger, &self.sent_at, &mut self.reads, &self.workload);
        #[expect(clippy::cast_possible_truncation, reason = "wraps, as it was written")]
        let now_units = (now_ns >> UNIT_SHIFT) as u32;
        let share = self.share;
        let times = |own: u64| {
            let at = usize::try_from(own).expect("serials count messages in memory");
            let service_ns = u64::from(now_units.wrapping_sub(sent_at[at])) << UNIT_SHIFT;
            let response_ns = match schedule {
                Schedule::Open(_) => now_ns.saturating_sub(planned(own - first)),
                Schedule::Closed { .. } => service_ns,
            };
            let since_ns = now_ns.saturating_sub(response_ns).saturating_sub(begun_ns);
            (since_ns, response_ns, service_ns)
        };
        self.client.core_mut().take_completions(|completion| {
            let own = completion.tag;
            let serial = share.number(own);
            if let Some(reads) = reads
                && workload.is_read(serial)
            {
                let tally = &mut measured.reads;
                if completion.result != Ok(Outcome::Done) {
                    reads.failed(serial, tally);
                    *measured
                        .reasons
                        .entry(format!("a read: {}", reason_of(completion.result)))
                        .or_default() += 1;
                } else if reads.answered(workload, serial, completion.body, tally) {
                    let (since_ns, response_ns, service_ns) = times(own);
                    tally.recorder.record(since_ns, response_ns / 1_000, service_ns / 1_000);
                }
                return;
            }
            let fate = match completion.result {
                Ok(Outcome::Done) => Fate::Acked,
                Ok(_)
                | Err(
                    ClientError::Refused { .. }
                    | ClientError::Deadline
                    | ClientError::Unreachable { .. }
                    | ClientError::Closed,
                ) => Fate::Refused,
                Err(_) => Fate::Unknown,
            };
            ledger.note(own, fate);
            measured.repeats += u64::from(completion.attempts.saturating_sub(1));
            match fate {
                Fate::Acked => {
                    measured.acked += 1;
                    if let (Some(reads), Some(token)) = (&mut *reads, completion.token) {
                        reads.acked(workload.actor(serial), token);
                    }
                    let (since_ns, response_ns, service_ns) = times(own);
                    measured
                        .recorder
                        .record(since_ns, response_ns / 1_000, service_ns / 1_000);
                    measured.over_time.acked(since_ns, response_ns / 1_000);
                }
                Fate::Refused | Fate::Unknown | Fate::Open => {
                    measured.refused += u64::from(fate == Fate::Refused);
                    measured.unknown += u64::from(fate == Fate::Unknown);
                    *measured.reasons.entry(reason_of(completion.result)).or_default() += 1;
                }
            }
        });
    }
}

/// The name under which ends that are no acks are counted.
fn reason_of(result: Result<Outcome, ClientError>) -> String {
    match result {
        Ok(outcome) => format!("{outcome:?}"),
        Err(error) => error.to_string(),
    }
}
