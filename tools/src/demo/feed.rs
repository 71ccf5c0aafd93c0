//! The thread that sends, and what it says of itself ten times a second.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use waterpark_bench::mllp::{Flow, Load, Outcomes, Pace, Plan as LoadPlan, Source};

use super::failures::Failures;
use super::stage::Stage;

/// Connections to each node.
const LINES_PER_NODE: usize = 4;
/// An `AA` has to come within this time, or the message is sent again, to another node: a node that stands still keeps nobody waiting for
/// ever. Longer than a writer takes to be replaced, or many would come twice for nothing.
const ACK_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a message is sent at most: as long as a node may be made to stand still.
const ATTEMPTS: u32 = 10_000;
/// How often it says how far it is.
const TOLD_EVERY: Duration = Duration::from_millis(100);
/// Seconds that count as recent.
pub(super) const RECENT_S: usize = 5;

const SEND: u8 = 0;
const HOLD: u8 = 1;
const END: u8 = 2;
const GIVE_UP: u8 = 3;

/// How far it is.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) outcomes: Outcomes,
    /// Acks in each second so far, the one that runs last.
    pub(super) acks_by_second: Vec<u64>,
    /// Times of the last seconds, of messages that entered in their writer's data centre, and of the others.
    pub(super) recent: [Histogram<u64>; 2],
    pub(super) elapsed: Duration,
    /// What it remembers of messages, in bytes.
    pub(super) book_bytes: u64,
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("bounds are in order")
}

/// The feed as it runs.
pub(super) struct Sending {
    told: Arc<Mutex<Told>>,
    flow: Arc<AtomicU8>,
    /// Nodes serve again that did not.
    home: Arc<AtomicBool>,
    failures: Arc<Mutex<Failures>>,
    thread: JoinHandle<io::Result<Load>>,
}

impl Sending {
    /// Begins to send to the nodes of a stage.
    pub(super) fn start(stage: &Stage, source: Source, rate: f64, time: Option<Duration>) -> io::Result<Sending> {
        let plan = LoadPlan {
            nodes: stage.mllp_ports(),
            lines_per_node: LINES_PER_NODE,
            pace: Pace::Open { rate },
            ack_timeout: ACK_TIMEOUT,
            attempts_max: ATTEMPTS,
            goes_on: true,
        };
        let mut load = Load::new(plan, stage.topology().clone(), source)?;
        let told = Arc::new(Mutex::new(Told {
            outcomes: Outcomes::default(),
            acks_by_second: vec![0],
            recent: [histogram(), histogram()],
            elapsed: Duration::ZERO,
            book_bytes: 0,
        }));
        let flow = Arc::new(AtomicU8::new(SEND));
        let home = Arc::new(AtomicBool::new(false));
        let failures: Arc<Mutex<Failures>> = Arc::default();
        let thread = thread::Builder::new().name("feed".to_owned()).spawn({
            let (told, flow) = (Arc::clone(&told), Arc::clone(&flow));
            let (home, failures) = (Arc::clone(&home), Arc::clone(&failures));
            move || {
                let log = std::cell::RefCell::new(Log::new());
                load.run(
                    time.unwrap_or(Duration::MAX),
                    |load| {
                        log.borrow_mut().tell(load, &told);
                        match flow.load(Ordering::Relaxed) {
                            SEND if home.swap(false, Ordering::Relaxed) => Flow::Home,
                            SEND => Flow::Send,
                            HOLD => Flow::Hold,
                            GIVE_UP => Flow::GiveUp,
                            _ => Flow::End,
                        }
                    },
                    |ack| {
                        log.borrow_mut().ack(ack.response, ack.is_home);
                        if let Some(group) = ack.group {
                            lock(&failures).on_ack(Instant::now(), ack.response, ack.patient, group.0);
                        }
                    },
                )?;
                Log::tell_now(&mut log.borrow_mut(), &load, &told);
                Ok(load)
            }
        })?;
        Ok(Sending {
            told,
            flow,
            home,
            failures,
            thread,
        })
    }

    /// How far it is.
    pub(super) fn told(&self) -> Told {
        lock(&self.told).clone()
    }

    /// What failures cost, for whoever makes them and whoever shows them.
    pub(super) fn failures(&self) -> MutexGuard<'_, Failures> {
        lock(&self.failures)
    }

    /// Nodes serve again: senders that had to go elsewhere come back.
    pub(super) fn call_home(&self) {
        self.home.store(true, Ordering::Relaxed);
    }

    /// Whether every message has ended, and no more is sent.
    pub(super) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Sends nothing more; what was sent is waited for.
    pub(super) fn end(&self) {
        self.flow.store(END, Ordering::Relaxed);
    }

    /// Waits no longer for what has not ended.
    pub(super) fn give_up(&self) {
        self.flow.store(GIVE_UP, Ordering::Relaxed);
    }

    /// Sends nothing for now, or goes on.
    pub(super) fn hold(&self, hold: bool) {
        let (from, to) = if hold { (SEND, HOLD) } else { (HOLD, SEND) };
        // An end stays one.
        self.flow
            .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed)
            .ok();
    }

    /// What it has sent, once it is over.
    pub(super) fn finish(self) -> Result<Load, String> {
        match self.thread.join() {
            Ok(Ok(load)) => Ok(load),
            Ok(Err(error)) => Err(format!("the feed failed: {error}")),
            Err(_) => Err("the feed failed".to_owned()),
        }
    }
}

/// What is kept of acks between two words.
struct Log {
    begun: Instant,
    told_at: Instant,
    acks_by_second: Vec<u64>,
    /// By second, a ring of the last ones.
    recent: Vec<(u64, [Histogram<u64>; 2])>,
}

impl Log {
    fn new() -> Log {
        let row = |_| (u64::MAX, [histogram(), histogram()]);
        Log {
            begun: Instant::now(),
            told_at: Instant::now(),
            acks_by_second: vec![0],
            recent: (0..RECENT_S).map(row).collect(),
        }
    }

    fn ack(&mut self, response: Duration, is_home: bool) {
        let second = self.begun.elapsed().as_secs();
        let place = usize::try_from(second).unwrap_or(usize::MAX);
        if self.acks_by_second.len() <= place {
            self.acks_by_second.resize(place + 1, 0);
        }
        self.acks_by_second[place] += 1;
        let (of, histograms) = &mut self.recent[place % RECENT_S];
        if *of != second {
            *of = second;
            histograms.iter_mut().for_each(Histogram::reset);
        }
        let us = u64::try_from(response.as_micros()).unwrap_or(u64::MAX);
        histograms[usize::from(!is_home)].saturating_record(us);
    }

    fn tell(&mut self, load: &Load, told: &Mutex<Told>) {
        if self.told_at.elapsed() >= TOLD_EVERY {
            self.tell_now(load, told);
        }
    }

    fn tell_now(&mut self, load: &Load, told: &Mutex<Told>) {
        self.told_at = Instant::now();
        let elapsed = self.begun.elapsed();
        let since = elapsed.as_secs().saturating_sub(RECENT_S as u64 - 1);
        let mut recent = [histogram(), histogram()];
        for (second, histograms) in &self.recent {
            if (since..u64::MAX).contains(second) {
                for (sum, part) in recent.iter_mut().zip(histograms) {
                    sum.add(part).expect("all have the same bounds");
                }
            }
        }
        let next = Told {
            outcomes: load.outcomes().clone(),
            acks_by_second: self.acks_by_second.clone(),
            recent,
            elapsed,
            book_bytes: load.book_bytes() as u64,
        };
        *lock(told) = next;
    }
}

/// What another thread left in its midst is still the newest that there is.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
