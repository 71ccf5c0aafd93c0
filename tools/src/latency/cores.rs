//! What a core loses to others, and how long two cores take to hand a cache line to and fro.
//!
//! **Invariant:** a thread that measures is pinned, or there is no figure.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use crossbeam_utils::CachePadded;
use waterpark_reactor::cores::{Cores, PinError, pin};

use super::figure::{Bound, Figure};

/// The line says that its other side is gone.
const END: u64 = u64::MAX;
/// How often is polled between two looks at the clock.
const POLLS: u32 = 1_024;

/// Spins on a core and counts how long each turn took: the kernel, an interrupt or a hypervisor that takes the core away is a gap.
///
/// # Errors
/// The core is not allowed.
pub(crate) fn hiccups(core: u32, allowed: &Cores, bound: Bound) -> Result<Figure, PinError> {
    on(|| {
        pin(core, allowed)?;
        let mut figure = Figure::new();
        let mut last = Instant::now();
        while !bound.is_reached(last, &figure) {
            let now = Instant::now();
            figure.record(now - last);
            last = now;
        }
        Ok(figure)
    })
}

/// Round trips of a cache line between two pinned threads.
///
/// # Errors
/// One of the cores is not allowed.
pub(crate) fn round_trips(cores: (u32, u32), allowed: &Cores, bound: Bound) -> Result<Figure, PinError> {
    let line = CachePadded::new(AtomicU64::new(0));
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            let pinned = pin(cores.1, allowed);
            if pinned.is_ok() {
                send_back(&line);
            }
            line.store(END, Ordering::Release);
            pinned
        });
        let asked = scope.spawn(|| {
            let figure = pin(cores.0, allowed).map(|()| ask(&line, bound));
            line.store(END, Ordering::Release);
            figure
        });
        let (asked, other) = (joined(asked.join()), joined(other.join()));
        other.and(asked)
    })
}

/// Odd numbers go, the even ones above them come back.
fn ask(line: &AtomicU64, bound: Bound) -> Figure {
    let mut figure = Figure::new();
    let mut number = 1;
    let mut warm = false;
    loop {
        let begun = Instant::now();
        if bound.is_reached(begun, &figure) {
            return figure;
        }
        if warm {
            line.store(number, Ordering::Release);
        } else if line
            .compare_exchange(0, number, Ordering::AcqRel, Ordering::Acquire)
            .is_err()
        {
            // The other side could not be pinned, and its word stays.
            return figure;
        }
        let mut polls = 0;
        loop {
            match line.load(Ordering::Acquire) {
                END => return figure,
                found if found == number + 1 => break,
                _ => spin_loop(),
            }
            polls += 1;
            if polls % POLLS == 0 && Instant::now() >= bound.until {
                return figure;
            }
        }
        // The first one waited for the other thread to start.
        if std::mem::replace(&mut warm, true) {
            figure.record(begun.elapsed());
        }
        number += 2;
    }
}

fn send_back(line: &AtomicU64) {
    loop {
        match line.load(Ordering::Acquire) {
            END => return,
            // Whoever asked may have ended in the meantime: its word stays.
            odd if odd % 2 == 1 => {
                if line
                    .compare_exchange(odd, odd + 1, Ordering::AcqRel, Ordering::Acquire)
                    .is_err()
                {
                    return;
                }
            }
            _ => spin_loop(),
        }
    }
}

/// Runs on a thread of its own, so that the caller's affinity stays.
fn on<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| joined(scope.spawn(work).join()))
}

fn joined<T>(result: thread::Result<T>) -> T {
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn few() -> Bound {
        Bound {
            samples_max: 100,
            ..Bound::by_time(Duration::from_secs(60))
        }
    }

    #[test]
    fn every_turn_of_a_spinning_core_is_counted() {
        let allowed = waterpark_reactor::cores::allowed().unwrap();
        let core = allowed.as_slice()[0];
        assert_eq!(hiccups(core, &allowed, few()).unwrap().count(), 100);
    }

    #[test]
    fn a_cache_line_goes_to_and_fro_between_two_threads() {
        let allowed = waterpark_reactor::cores::allowed().unwrap();
        let cores = allowed.as_slice();
        // On one core the scheduler moves it: slow, and the same count.
        let pair = (cores[0], *cores.last().unwrap());
        assert_eq!(round_trips(pair, &allowed, few()).unwrap().count(), 100);
    }

    #[test]
    fn a_core_that_is_not_allowed_is_refused_on_either_side() {
        let allowed = waterpark_reactor::cores::allowed().unwrap();
        let (here, nowhere) = (allowed.as_slice()[0], 4_095);
        assert!(hiccups(nowhere, &allowed, few()).is_err());
        // Nobody waits for a side that is not there.
        let hour = Bound::by_time(Duration::from_secs(3_600));
        for pair in [(here, nowhere), (nowhere, here)] {
            assert!(round_trips(pair, &allowed, hour).is_err(), "{pair:?}");
        }
    }
}
