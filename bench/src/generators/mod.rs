//! Who sends the messages of a run: a generator in this process, or several in processes of their own that begin at one instant.
//!
//! One generator fills one core. Several deal a run's messages out in turn ([`Share`](crate::share::Share)); what each measured is added up
//! histogram by histogram, and their ledgers are one. **Invariant:** a generator that ends before it has said everything ends the run: a part
//! of a measurement is none.

mod process;
mod task;
mod told;

use std::io::{self, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

pub use self::process::{ServeError, serve};
pub(crate) use self::task::Task;
use self::told::{Answer, Order, PaceTold, read_behind, read_line, read_measured, write_instants, write_line};
use crate::cluster::cpu_ns_of;
use crate::generator::{Generator, Measured, Schedule};
use crate::ledger::Ledger;
use crate::run::IN_FLIGHT;
use crate::share::Share;

/// Generator processes at most.
pub const PROCESSES_MAX: u64 = 64;
/// From the order to begin to the beginning: all have read it by then.
const LEAD: Duration = Duration::from_millis(50);
/// How often it is looked whether the run goes on.
const LOOK: Duration = Duration::from_millis(50);
/// How long a process may take to end when its orders do.
const END_MAX: Duration = Duration::from_secs(5);
/// The first messages of all actors may take so long.
const WARMING: Duration = Duration::from_secs(600);

/// Processes that are to send.
#[derive(Clone, Debug)]
pub struct GeneratorProcesses {
    /// The binary that has `bench generate` as a command.
    pub binary: PathBuf,
    /// How many.
    pub count: u64,
}

/// Why a generator process did not do its part.
#[derive(Debug, thiserror::Error)]
#[error("generator process {which} of {of} {cause}")]
pub struct GeneratorLost {
    /// Which, from 1 on.
    which: u64,
    of: u64,
    cause: LostCause,
}

#[derive(Debug, thiserror::Error)]
enum LostCause {
    #[error("cannot be started: {0}")]
    Start(io::Error),
    #[error("ended before it had done its part ({0}); what it said stands above")]
    Ended(String),
    #[error("is not understood: {0}")]
    Answer(io::Error),
}

impl GeneratorLost {
    /// One that cannot be started, for tables of errors.
    #[doc(hidden)]
    #[must_use]
    pub fn example() -> GeneratorLost {
        GeneratorLost {
            which: 1,
            of: 2,
            cause: LostCause::Start(io::ErrorKind::NotFound.into()),
        }
    }
}

/// What one has said.
enum Said {
    Ready,
    Measured(Box<Measured>, Duration),
    Ledger(Vec<u8>),
    Broken(io::Error),
    Ended,
}

/// One process.
struct Process {
    child: Child,
    /// Taken when it is to end.
    orders: Option<ChildStdin>,
}

/// Generator processes that are connected.
pub(crate) struct Processes {
    all: Vec<Process>,
    /// What each says, with its place.
    said: Receiver<(usize, Said)>,
    /// Messages that each actor gets first, and the round in which the measurement begins, follow from it.
    warm: u64,
    /// How late the last one began.
    began_late: Duration,
}

/// Who sends.
pub(crate) enum Senders {
    Here(Box<Generator>),
    Processes(Processes),
}

impl Senders {
    /// Each actor gets a message.
    pub(crate) fn warm(&mut self, warm: u64, go_on: impl Fn() -> bool) -> Result<(), GeneratorLost> {
        let closed = Schedule::Closed { in_flight: IN_FLIGHT };
        match self {
            Senders::Here(generator) => drop(generator.run(closed, WARMING, warm, |_| go_on())),
            Senders::Processes(all) => {
                let messages = |share: Share| share.below(warm);
                drop(all.run(0, closed, WARMING, messages, go_on)?);
            }
        }
        Ok(())
    }

    /// Sends for a time, and says whether any of them ended before because it had sent its part of `messages_max`.
    pub(crate) fn run(
        &mut self,
        schedule: Schedule<'_>,
        time: Duration,
        messages_max: u64,
        go_on: impl Fn() -> bool,
    ) -> Result<(Measured, bool), GeneratorLost> {
        match self {
            Senders::Here(generator) => {
                let measured = generator.run(schedule, time, messages_max, |_| go_on());
                let is_shortened = measured.sent + measured.reads.sent >= messages_max;
                Ok((measured, is_shortened))
            }
            Senders::Processes(all) => all.run(all.warm, schedule, time, |share| share.below(messages_max), go_on),
        }
    }

    /// CPU time of all who send, with this process's own.
    pub(crate) fn cpu_ns(&self) -> u64 {
        let own = cpu_ns_of(std::process::id());
        match self {
            Senders::Here(_) => own,
            Senders::Processes(all) => own + all.all.iter().map(|one| cpu_ns_of(one.child.id())).sum::<u64>(),
        }
    }

    /// How many send, and how long after the common start the last one began.
    pub(crate) fn started(&self) -> (u64, Duration) {
        match self {
            Senders::Here(_) => (1, Duration::ZERO),
            Senders::Processes(all) => (all.all.len() as u64, all.began_late),
        }
    }

    /// What became of every message. Nothing is sent any more.
    pub(crate) fn into_ledger(self) -> Result<Ledger, GeneratorLost> {
        match self {
            Senders::Here(generator) => Ok(generator.into_ledger()),
            Senders::Processes(mut all) => all.ledger(),
        }
    }
}

impl Processes {
    /// Starts them on a cluster, and waits until all are connected.
    pub(crate) fn start(
        plan: &GeneratorProcesses,
        config: &Path,
        task: &Task,
        go_on: impl Fn() -> bool,
    ) -> Result<Processes, GeneratorLost> {
        let (tell, said) = mpsc::channel();
        let mut processes = Processes {
            all: Vec::new(),
            said,
            warm: task.warm(),
            began_late: Duration::ZERO,
        };
        for which in 0..plan.count {
            let task = task.shared(Share::new(which, plan.count));
            let tell = (processes.all.len(), tell.clone());
            let started = Process::start(&plan.binary, config, &task, tell);
            let failed = |cause| GeneratorLost {
                which: which + 1,
                of: plan.count,
                cause: LostCause::Start(cause),
            };
            processes.all.push(started.map_err(failed)?);
        }
        processes.all_ready(&go_on)?;
        Ok(processes)
    }

    fn share(&self, which: usize) -> Share {
        Share::new(which as u64, self.all.len() as u64)
    }

    fn run(
        &mut self,
        from: u64,
        schedule: Schedule<'_>,
        time: Duration,
        messages_max: impl Fn(Share) -> u64,
        go_on: impl Fn() -> bool,
    ) -> Result<(Measured, bool), GeneratorLost> {
        self.began_late = Duration::ZERO;
        for which in 0..self.all.len() {
            let share = self.share(which);
            let (pace, behind) = match schedule {
                Schedule::Open(instants) => write_instants(&instants.shared(share)),
                Schedule::Closed { in_flight } => {
                    let own = share.below(in_flight as u64);
                    let in_flight = usize::try_from(own).expect("a part of a number of requests");
                    (PaceTold::Closed { in_flight }, Vec::new())
                }
            };
            let order = Order::Prepare {
                from,
                time_ns: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
                messages_max: messages_max(share),
                pace,
            };
            self.tell(which, &order, &behind);
        }
        self.all_ready(&go_on)?;
        let lead_ns = u64::try_from(LEAD.as_nanos()).expect("a part of a second");
        let at_ns = process::monotonic_ns() + lead_ns;
        for which in 0..self.all.len() {
            self.tell(which, &Order::Begin { at_ns }, &[]);
        }
        let (mut sum, mut is_shortened) = (Measured::new(time), false);
        self.each(&go_on, |all, which, said| match said {
            Said::Measured(measured, late) => {
                is_shortened |= measured.sent + measured.reads.sent >= messages_max(all.share(which));
                sum.add(*measured);
                all.began_late = all.began_late.max(late);
                true
            }
            _ => false,
        })?;
        sum.sum_up();
        Ok((sum, is_shortened))
    }

    fn ledger(&mut self) -> Result<Ledger, GeneratorLost> {
        for which in 0..self.all.len() {
            self.tell(which, &Order::Ledger, &[]);
        }
        let mut shares = vec![Vec::new(); self.all.len()];
        self.each(&|| true, |_, which, said| match said {
            Said::Ledger(fates) => {
                shares[which] = fates;
                true
            }
            _ => false,
        })?;
        let bad = || self.lost(0, LostCause::Answer(io::ErrorKind::InvalidData.into()));
        Ledger::of_shares(&shares).ok_or_else(bad)
    }

    /// One that is gone is found out by what it does not say.
    fn tell(&mut self, which: usize, order: &Order, behind: &[u8]) {
        if let Some(orders) = &mut self.all[which].orders {
            drop(write_line(orders, order, behind));
        }
    }

    fn all_ready(&mut self, go_on: &impl Fn() -> bool) -> Result<(), GeneratorLost> {
        self.each(go_on, |_, _, said| matches!(said, Said::Ready))
    }

    /// Waits for what each says next, one thing each. Once the run shall not go on all are told to stop, and say what they have.
    fn each(
        &mut self,
        go_on: &impl Fn() -> bool,
        mut take: impl FnMut(&mut Processes, usize, Said) -> bool,
    ) -> Result<(), GeneratorLost> {
        let (mut stopped, mut left) = (false, self.all.len());
        while left > 0 {
            if !stopped && !go_on() {
                stopped = true;
                for which in 0..self.all.len() {
                    self.tell(which, &Order::Stop, &[]);
                }
            }
            let (which, said) = match self.said.recv_timeout(LOOK) {
                Ok(said) => said,
                Err(RecvTimeoutError::Timeout) => continue,
                // All have said that they ended, and that was heard.
                Err(RecvTimeoutError::Disconnected) => (0, Said::Ended),
            };
            let cause = match said {
                Said::Ended => LostCause::Ended(self.all[which].ending()),
                Said::Broken(cause) => LostCause::Answer(cause),
                said => match take(self, which, said) {
                    true => {
                        left -= 1;
                        continue;
                    }
                    false => LostCause::Answer(io::ErrorKind::InvalidData.into()),
                },
            };
            return Err(self.lost(which, cause));
        }
        Ok(())
    }

    fn lost(&self, which: usize, cause: LostCause) -> GeneratorLost {
        GeneratorLost {
            which: which as u64 + 1,
            of: self.all.len() as u64,
            cause,
        }
    }
}

impl Process {
    fn start(
        binary: &Path,
        config: &Path,
        task: &Task,
        (which, tell): (usize, Sender<(usize, Said)>),
    ) -> io::Result<Process> {
        let mut child = Command::new(binary)
            .args(["bench", "generate", "--config"])
            .arg(config)
            // Ctrl-C is for whoever started them.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take().expect("stdout is a pipe");
        let mut orders = child.stdin.take().expect("stdin is a pipe");
        std::thread::spawn(move || hear(&mut BufReader::new(out), which, &tell));
        // One that has ended already is found out by what it does not say.
        drop(write_line(&mut orders, task, &[]));
        Ok(Process {
            child,
            orders: Some(orders),
        })
    }

    /// How it ended, in words.
    fn ending(&mut self) -> String {
        let until = Instant::now() + END_MAX;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return status.to_string(),
                Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
                Ok(None) => return "it runs, and says nothing more".to_owned(),
                Err(error) => return error.to_string(),
            }
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for process in &mut self.all {
            // The end of its orders is an order.
            process.orders = None;
        }
        let until = Instant::now() + END_MAX;
        for process in &mut self.all {
            while matches!(process.child.try_wait(), Ok(None)) {
                if Instant::now() >= until {
                    // It may have ended since.
                    drop(process.child.kill());
                    drop(process.child.wait());
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// Hears what one process says until it ends, or cannot be understood.
fn hear(out: &mut BufReader<impl io::Read>, which: usize, tell: &Sender<(usize, Said)>) {
    loop {
        let said = read_line::<Answer>(out).and_then(|answer| {
            Ok(match answer {
                None => Said::Ended,
                Some(Answer::Ready) => Said::Ready,
                Some(Answer::Measured(figures)) => {
                    let late = Duration::from_nanos(figures.began_late_ns);
                    Said::Measured(Box::new(read_measured(out, *figures)?), late)
                }
                Some(Answer::Ledger { bytes }) => Said::Ledger(read_behind(out, bytes)?),
            })
        });
        let said = said.unwrap_or_else(Said::Broken);
        let is_last = matches!(said, Said::Ended | Said::Broken(_));
        if tell.send((which, said)).is_err() || is_last {
            return;
        }
    }
}
