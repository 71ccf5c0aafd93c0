//! Many sessions on one thread: what overload is made of. One session alone never has more than its lanes' windows under way; beyond that
//! its own client waits, and no node sees the crowd.
//!
//! It knows nothing of processes, memory or verdicts. **Invariants:** what was planned is offered once, or counted as not offered, and never
//! waits here for longer than [`BEHIND_MAX`]; a refusal counts from the instant at which its message was handed to the client.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use waterpark_client::blocking::ClusterAddresses;
use waterpark_client::polled::Polled;
use waterpark_client::{ClientError, SendOptions};
use waterpark_wire::reply::Outcome;

use crate::arrivals::{count_of, instant_ns};
use crate::ledger::{Fate, Ledger};
use crate::recorder::{Recorder, histogram};
use crate::timeline::Timeline;
use crate::workload::{KeyText, Workload};

/// A message that leaves so much later than planned is late.
const LATE: Duration = Duration::from_millis(1);
/// What was planned longer ago than this and is not offered yet never will be: the crowd keeps no queue of its own.
const BEHIND_MAX: Duration = Duration::from_millis(20);
/// Messages that one session gets before the next one has its turn: enough that its frames are worth their system calls.
const BURST: u64 = 256;
/// Bytes that may wait in a session's client for one connection. What a node does not read in time is not offered, rather than sent late.
const CONNECTION_BYTES_MAX: usize = 128 << 10;

/// What a stretch of sending gave.
#[derive(Debug)]
pub struct Tally {
    /// Messages that were planned until sending ended.
    pub planned: u64,
    /// Messages that a client took.
    pub offered: u64,
    /// Of those, how many left more than 1 ms after their instant.
    pub late: u64,
    /// Planned messages that the generator did not come to in time.
    pub not_reached: u64,
    /// Planned messages that their client had no room for: a node did not read in time what waited for it on the connection.
    pub not_taken: u64,
    /// Acks, those after the end of sending included.
    pub acked: u64,
    /// Acks until sending ended.
    pub acked_in_time: u64,
    /// Messages refused for certain.
    pub refused: u64,
    /// Messages of which nothing is known.
    pub unknown: u64,
    /// How those ended that were not acked.
    pub reasons: BTreeMap<String, u64>,
    /// From the planned instant to the ack, in µs. In a closed loop, from the send.
    pub response_us: Histogram<u64>,
    /// From the send to the ack, in µs.
    pub service_us: Histogram<u64>,
    /// Both in full.
    pub recorder: Recorder,
    /// The first of the two by when it was planned; in a closed loop, by when it was sent.
    pub over_time: Timeline,
    /// From the send to the refusal, in µs.
    pub refusal_us: Histogram<u64>,
    /// How long messages were sent.
    pub sending: Duration,
    /// Acks in each full tenth of a second of sending.
    pub tenths: Vec<u64>,
}

impl Tally {
    pub(crate) fn new(time: Duration) -> Tally {
        Tally {
            planned: 0,
            offered: 0,
            late: 0,
            not_reached: 0,
            not_taken: 0,
            acked: 0,
            acked_in_time: 0,
            refused: 0,
            unknown: 0,
            reasons: BTreeMap::new(),
            response_us: histogram(),
            service_us: histogram(),
            recorder: Recorder::new(time),
            over_time: Timeline::new(time),
            refusal_us: histogram(),
            sending: Duration::ZERO,
            tenths: Vec::new(),
        }
    }

    /// Events per second of sending.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    pub fn per_s(&self, count: u64) -> f64 {
        count as f64 / self.sending.as_secs_f64().max(1e-9)
    }
}

/// When a message was planned and sent, in ns since the crowd began.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    planned_ns: u64,
    sent_ns: u64,
}

struct Session {
    client: Polled,
    /// Its clock began so long after the crowd's.
    offset_ns: u64,
}

impl Session {
    fn crowd_ns(&self, client_ns: u64) -> u64 {
        client_ns + self.offset_ns
    }
}

/// Many sessions, each with connections of its own.
pub struct Crowd {
    sessions: Vec<Session>,
    begun: Instant,
    workload: Workload,
    ledger: Ledger,
    sent: Vec<Sent>,
    timeout_ms: u32,
}

/// What sending is to be.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// So many under way over all sessions. Refusals are sent again.
    Closed {
        /// Messages under way.
        in_flight: usize,
    },
    /// So many a second, each once: a refusal is its end.
    Open {
        /// Messages a second.
        rate: f64,
    },
}

impl Crowd {
    /// Connects so many sessions, and waits until each has learnt the slot table.
    ///
    /// # Errors
    /// What a connection failed with, or `Unreachable`.
    pub fn connect(
        sessions: usize,
        entries: impl Fn() -> ClusterAddresses,
        key: [u8; 32],
        workload: Workload,
        timeout_ms: u32,
    ) -> Result<Crowd, ClientError> {
        let mut options = crate::run::generators_options();
        options.client.connection_bytes_max = CONNECTION_BYTES_MAX;
        let begun = Instant::now();
        let mut connected = Vec::with_capacity(sessions);
        for _ in 0..sessions {
            let mut client = Polled::new(entries(), key, &options)?;
            let until = Instant::now() + crate::run::CONNECT;
            while !client.core().is_ready() {
                if Instant::now() >= until {
                    let failure = client.core().last_failure();
                    return Err(failure.unwrap_or(ClientError::Unreachable { tried: 1 }));
                }
                client.turn(Duration::from_millis(10), None);
            }
            let offset_ns = ns(client.start().saturating_duration_since(begun));
            connected.push(Session { client, offset_ns });
        }
        Ok(Crowd {
            sessions: connected,
            begun,
            workload,
            ledger: Ledger::default(),
            sent: Vec::new(),
            timeout_ms,
        })
    }

    /// Sets memory aside for so many more messages, and touches it: a page that is met for the first time costs as much as five messages.
    pub fn expect(&mut self, messages: u64) {
        let count = self.sent.len();
        let more = usize::try_from(messages).expect("messages are counted in memory");
        self.sent.resize(count + more, Sent::default());
        self.sent.truncate(count);
        if messages > 0 {
            self.ledger.note(count as u64 + messages - 1, Fate::Open);
        }
    }

    /// What is known of every message.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Sends for a time, or until `messages_max` were offered; then waits until everything has ended. `each_turn` is called about once for
    /// every turn of a session, and ends the sending when it returns `false`.
    pub fn run(&mut self, load: Load, time: Duration, messages_max: u64, mut each_turn: impl FnMut() -> bool) -> Tally {
        let mut tally = Tally::new(time);
        let begun_ns = ns(self.begun.elapsed());
        let end_ns = begun_ns.saturating_add(ns(time));
        let mut stretch = Stretch {
            begun_ns,
            end_ns,
            attempts_max: if matches!(load, Load::Open { .. }) { 1 } else { u32::MAX },
            message: Vec::with_capacity(self.workload.message_bytes),
            key: KeyText::default(),
            next: 0,
        };
        let share = |in_flight: usize| in_flight.div_ceil(self.sessions.len());
        let closed = match load {
            Load::Closed { in_flight } => Some(share(in_flight)),
            Load::Open { .. } => None,
        };
        let mut place = 0;
        let mut now_ns = begun_ns;
        while now_ns < end_ns && tally.offered < messages_max && each_turn() {
            match load {
                Load::Closed { .. } => {
                    let room = closed.unwrap_or(0);
                    let open = self.sessions[place].client.core().open_requests();
                    for _ in 0..BURST.min(room.saturating_sub(open) as u64) {
                        if !self.offer(place, now_ns, &mut stretch, &mut tally) {
                            break;
                        }
                    }
                }
                Load::Open { rate } => self.offer_due(place, now_ns, rate, &mut stretch, &mut tally),
            }
            self.turn(place, Duration::ZERO, &stretch, &mut tally);
            place = (place + 1) % self.sessions.len();
            now_ns = ns(self.begun.elapsed());
        }
        tally.sending = Duration::from_nanos(now_ns.min(end_ns) - begun_ns);
        if let Load::Open { rate } = load {
            tally.planned = count_of(tally.sending, rate);
            tally.not_reached += tally.planned.saturating_sub(stretch.next);
        }
        stretch.end_ns = now_ns.min(end_ns);
        while self
            .sessions
            .iter()
            .any(|session| session.client.core().open_requests() > 0)
        {
            for place in 0..self.sessions.len() {
                self.turn(place, Duration::ZERO, &stretch, &mut tally);
            }
        }
        (tally.response_us, tally.service_us) = tally.recorder.sums();
        // The last tenth may not have been a whole one.
        let tenths = usize::try_from(tally.sending.as_millis() / 100).unwrap_or(usize::MAX);
        tally.tenths.truncate(tenths);
        tally
    }

    /// Offers what is due, at most one burst. What is due for too long is passed over.
    fn offer_due(&mut self, place: usize, now_ns: u64, rate: f64, stretch: &mut Stretch, tally: &mut Tally) {
        let due = count_of(Duration::from_nanos(now_ns - stretch.begun_ns), rate);
        let passed = passed_over(due, stretch.next, count_of(BEHIND_MAX, rate).max(BURST));
        tally.not_reached += passed;
        stretch.next += passed;
        for _ in 0..BURST.min(due.saturating_sub(stretch.next)) {
            let planned_ns = stretch.begun_ns + instant_ns(stretch.next, rate);
            stretch.next += 1;
            if !self.offer(place, planned_ns, stretch, tally) {
                tally.not_taken += 1;
            }
        }
    }

    /// Hands the next message to a session's client. `false` if that has no room: then nobody has sent it.
    fn offer(&mut self, place: usize, planned_ns: u64, stretch: &mut Stretch, tally: &mut Tally) -> bool {
        let serial = self.sent.len() as u64;
        let session = &mut self.sessions[place];
        self.workload.write(serial, &mut stretch.message);
        let key = self.workload.key(self.workload.actor(serial), &mut stretch.key);
        let client_ns = session.client.now_ns();
        let core = session.client.core_mut();
        let prepared = core
            .prepare(key.expect("the workload's keys are well formed"))
            .expect("the slot table was learnt");
        let options = SendOptions {
            timeout_ms: self.timeout_ms,
            attempts_max: stretch.attempts_max,
            tag: serial,
            ..SendOptions::default()
        };
        if core.send(client_ns, prepared, &stretch.message, &options).is_err() {
            return false;
        }
        let sent_ns = session.crowd_ns(client_ns);
        tally.late += u64::from(sent_ns.saturating_sub(planned_ns) > ns(LATE));
        tally.offered += 1;
        self.sent.push(Sent { planned_ns, sent_ns });
        true
    }

    /// One turn of a session's sockets, and the ends that it brought.
    fn turn(&mut self, place: usize, wait: Duration, stretch: &Stretch, tally: &mut Tally) {
        let Session { client, offset_ns } = &mut self.sessions[place];
        client.turn(wait, None);
        if !client.core().has_completions() {
            return;
        }
        let now_ns = client.now_ns() + *offset_ns;
        let (ledger, sent) = (&mut self.ledger, &self.sent);
        client.core_mut().take_completions(|completion| {
            let sent = sent[usize::try_from(completion.tag).expect("serials count messages in memory")];
            let service_us = now_ns.saturating_sub(sent.sent_ns) / 1_000;
            let fate = fate_of(&completion.result);
            ledger.note(completion.tag, fate);
            match fate {
                Fate::Acked => {
                    tally.acked += 1;
                    let response_us = now_ns.saturating_sub(sent.planned_ns) / 1_000;
                    let since_ns = sent.planned_ns.saturating_sub(stretch.begun_ns);
                    tally.recorder.record(since_ns, response_us, service_us);
                    tally.over_time.acked(since_ns, response_us);
                    if now_ns < stretch.end_ns {
                        tally.acked_in_time += 1;
                        let tenth = (now_ns - stretch.begun_ns) / 100_000_000;
                        let tenth = usize::try_from(tenth).expect("tenths of a run's seconds");
                        if tally.tenths.len() <= tenth {
                            tally.tenths.resize(tenth + 1, 0);
                        }
                        tally.tenths[tenth] += 1;
                    }
                }
                Fate::Refused | Fate::Unknown | Fate::Open => {
                    if fate == Fate::Refused {
                        tally.refused += 1;
                        tally.refusal_us.saturating_record(service_us);
                    } else {
                        tally.unknown += 1;
                    }
                    *tally.reasons.entry(reason_of(&completion.result)).or_default() += 1;
                }
            }
        });
    }
}

/// Where a stretch of sending stands.
struct Stretch {
    begun_ns: u64,
    end_ns: u64,
    attempts_max: u32,
    message: Vec<u8>,
    key: KeyText,
    /// Of the plan, the next message.
    next: u64,
}

/// What an end says of a message's effect.
pub(crate) fn fate_of(result: &Result<Outcome, ClientError>) -> Fate {
    match result {
        Ok(Outcome::Done) => Fate::Acked,
        Ok(_)
        | Err(
            ClientError::Refused { .. } | ClientError::Deadline | ClientError::Unreachable { .. } | ClientError::Closed,
        ) => Fate::Refused,
        Err(_) => Fate::Unknown,
    }
}

/// The name under which ends that are no acks are counted.
fn reason_of(result: &Result<Outcome, ClientError>) -> String {
    match result {
        Ok(outcome) | Err(ClientError::Refused { outcome, .. }) => format!("{outcome:?}"),
        Err(error) => format!("{error:?}"),
    }
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// How many of the planned messages `next..due` are let go, so that no more than `behind_max` of them wait.
fn passed_over(due: u64, next: u64, behind_max: u64) -> u64 {
    due.saturating_sub(next).saturating_sub(behind_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generator_that_falls_behind_keeps_a_bounded_number_of_messages_waiting() {
        // Due, next, most that may wait: how many are passed over.
        for (due, next, behind_max, passed) in [
            (0, 0, 100, 0),
            (100, 0, 100, 0),
            (101, 0, 100, 1),
            (5_000, 1_000, 100, 3_900),
            (1_000, 1_000, 100, 0),
            (999, 1_000, 100, 0),
        ] {
            assert_eq!(passed_over(due, next, behind_max), passed, "{due} {next}");
        }
    }

    #[test]
    fn only_a_refusal_for_certain_counts_as_refused() {
        let busy = Err(ClientError::Refused {
            outcome: Outcome::Busy,
            detail: 10,
        });
        assert_eq!((fate_of(&busy), reason_of(&busy).as_str()), (Fate::Refused, "Busy"));
        assert_eq!(fate_of(&Ok(Outcome::Done)), Fate::Acked);
        assert_eq!(fate_of(&Err(ClientError::Unknown)), Fate::Unknown);
    }
}
