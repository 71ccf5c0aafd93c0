//! The machine, for one test at a time; and time, which is short.
//!
//! It deliberately does not know what a test does. **Invariant:** while a [`Machine`] lives, no other test of any process on this machine has
//! one.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Processes that this test has stopped.
static PAUSED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// The processes that are stopped now.
pub(super) fn paused() -> MutexGuard<'static, BTreeSet<i32>> {
    // A test that panicked meanwhile leaves the set whole.
    PAUSED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The file whose lock is the right to start processes.
const LOCK: &str = "waterpark-process-tests.lock";

/// The right to start processes and to be measured, until it is dropped.
pub(crate) struct Machine {
    /// Closing it tells the watch that the test ended.
    _watch: Sender<()>,
    /// Last: the lock is given back after the test's own values are gone.
    _lock: File,
}

impl Machine {
    /// Waits for the machine; from then on the test has so long.
    pub(crate) fn take(test: &'static str, limit: Duration) -> Machine {
        let path = std::env::temp_dir().join(LOCK);
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        lock.lock().expect("files of the temporary folder can be locked");
        let (watch, ended) = channel::<()>();
        std::thread::spawn(move || {
            if ended.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                eprintln!("{test} takes longer than {limit:?}: it hangs");
                // Its processes are told to end when this one does; those that were stopped have to go on to hear it.
                for pid in paused().iter().filter_map(|pid| Pid::from_raw(*pid)) {
                    kill_process(pid, Signal::CONT).ok();
                }
                std::process::exit(101);
            }
        });
        Machine {
            _watch: watch,
            _lock: lock,
        }
    }
}

/// Looks again and again until `found` gives something; says `what` was waited for when the time is over.
pub(crate) fn eventually<T>(what: &str, limit: Duration, mut found: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + limit;
    loop {
        if let Some(value) = found() {
            return value;
        }
        assert!(Instant::now() < until, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
