//! A generator as a process of its own: told by its standard input what to send and when, and answering on its standard output.
//!
//! It ends when its input does, so none outlives whoever started it. **Invariant:** between the order to begin and the answer it does nothing
//! but send and take acks.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use waterpark_client::ClientError;
use waterpark_client::blocking::{Client, ClusterAddresses, ConnectOptions};
use waterpark_control::ClusterConfig;

use super::task::Task;
use super::told::{Answer, Order, PaceTold, read_line, read_listed, write_line, write_measured};
use crate::arrivals::Instants;
use crate::cluster::addresses;
use crate::generator::Schedule;

/// Why a generator process ends without having done everything.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The cluster cannot be reached.
    #[error("the cluster cannot be reached: {0}")]
    Client(#[from] ClientError),
    /// Whoever started it is gone, or told it what it does not understand.
    #[error("whoever started this generator is not understood: {0}")]
    Told(#[from] io::Error),
}

/// An order, with the instants that stood behind it.
type Told = (Order, Option<Instants>);

/// Serves whoever started it until the input ends.
///
/// # Errors
/// [`ServeError`].
pub fn serve(
    config: &ClusterConfig,
    key: [u8; 32],
    input: impl Read + Send + 'static,
    output: &mut impl Write,
) -> Result<(), ServeError> {
    let mut input = BufReader::new(input);
    let Some(task) = read_line::<Task>(&mut input)? else {
        return Ok(());
    };
    let control = Client::connect(ClusterAddresses(addresses(config)), &key, ConnectOptions::default())?;
    let mut generator = task.generator(task.workload(config), &control, (config, key))?;
    drop(control);
    let stop = Arc::new(AtomicBool::new(false));
    let (tell, orders) = mpsc::channel();
    std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            // The end of the orders, and any that is not understood, ends the process with the channel.
            drop(listen(&mut input, &tell, &stop));
            stop.store(true, Ordering::Relaxed);
        }
    });
    write_line(output, &Answer::Ready, &[])?;
    while let Ok((order, instants)) = orders.recv() {
        match order {
            Order::Prepare {
                from,
                time_ns,
                messages_max,
                pace,
            } => {
                generator.skip_to(from);
                let schedule = match (&pace, &instants) {
                    (PaceTold::Closed { in_flight }, _) => Schedule::Closed { in_flight: *in_flight },
                    (_, Some(instants)) => Schedule::Open(instants),
                    (_, None) => return Err(ServeError::Told(io::ErrorKind::InvalidData.into())),
                };
                write_line(output, &Answer::Ready, &[])?;
                let Some(at_ns) = beginning(&orders)? else {
                    return Ok(());
                };
                let now_ns = monotonic_ns();
                let begin_ns = (generator.now_ns() + at_ns).saturating_sub(now_ns);
                generator.wait_until(begin_ns);
                let late_ns = monotonic_ns().saturating_sub(at_ns);
                let time = Duration::from_nanos(time_ns);
                let go_on = |_: &_| !stop.load(Ordering::Relaxed);
                // What was planned since then goes late: that is the generator's own delay.
                let measured = generator.run_from(begin_ns, schedule, time, messages_max, go_on);
                write_measured(output, &measured, time, late_ns)?;
            }
            Order::Ledger => {
                let fates = generator.ledger().bytes();
                let bytes = fates.len() as u64;
                write_line(output, &Answer::Ledger { bytes }, &fates)?;
            }
            // The one was heard by the listener, the other has nothing to begin.
            Order::Stop | Order::Begin { .. } => (),
        }
    }
    Ok(())
}

/// The instant at which it is told to begin; `None` if nobody tells any more.
fn beginning(orders: &Receiver<Told>) -> io::Result<Option<u64>> {
    loop {
        match orders.recv() {
            Ok((Order::Begin { at_ns }, _)) => return Ok(Some(at_ns)),
            Ok((Order::Stop, _)) => (),
            Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
            Err(_) => return Ok(None),
        }
    }
}

/// Hears orders until there are no more.
fn listen(input: &mut impl BufRead, tell: &Sender<Told>, stop: &AtomicBool) -> io::Result<()> {
    while let Some(order) = read_line::<Order>(input)? {
        let instants = match &order {
            Order::Prepare {
                pace: PaceTold::Listed { count },
                ..
            } => Some(read_listed(input, *count)?),
            Order::Prepare {
                pace:
                    PaceTold::Even {
                        rate_bits,
                        at_once,
                        share,
                    },
                ..
            } => Some(Instants::Even {
                rate: f64::from_bits(*rate_bits),
                at_once: *at_once,
                share: *share,
            }),
            Order::Stop => {
                stop.store(true, Ordering::Relaxed);
                None
            }
            Order::Prepare { .. } | Order::Begin { .. } | Order::Ledger => None,
        };
        if tell.send((order, instants)).is_err() {
            break;
        }
    }
    Ok(())
}

/// The machine's monotonic clock, the same for all of its processes.
pub(super) fn monotonic_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let word = |value: i64| u64::try_from(value).unwrap_or(0);
    word(time.tv_sec) * 1_000_000_000 + word(time.tv_nsec)
}
