//! The client's own thread: it takes the calls that came, turns the core with its sockets, and hands over what has ended.
//!
//! It decides nothing. **Invariant:** a call that was handed over gets its end before the thread is gone.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

use super::elapsed_ns;
use crate::desk::{Call, Desk, Sink, refuse_closed};
use crate::error::ClientError;
use crate::polled::Polled;

#[derive(Default)]
struct Queue {
    calls: Vec<(Call, Sink)>,
    closed: bool,
}

struct Shared {
    queue: Mutex<Queue>,
    waker: OwnedFd,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A panic of another caller leaves the queue whole: it is only ever pushed to or taken from.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // The counter is full or the thread is gone: awake, or past waking.
        rustix::io::write(&self.waker, &1u64.to_ne_bytes()).ok();
    }

    /// The thread is awake. Before the queue is looked at, or a call that comes in between would not wake it.
    fn awake(&self) {
        let mut count = [0; 8];
        rustix::io::read(&self.waker, &mut count).ok();
    }
}

/// The way to the thread, which ends with it.
pub(super) struct Handle {
    shared: Arc<Shared>,
    start: Instant,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    pub(super) fn start(polled: Polled) -> Result<Handle, ClientError> {
        let waker = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC);
        let waker = waker.map_err(|error| ClientError::Io(std::io::Error::from(error).kind()))?;
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            waker,
        });
        let start = polled.start();
        let driver = Driver {
            shared: Arc::clone(&shared),
            polled,
            desk: Desk::default(),
        };
        let thread = std::thread::Builder::new().name("waterpark-client".to_owned());
        let thread = thread
            .spawn(move || driver.run())
            .map_err(|error| ClientError::Io(error.kind()))?;
        Ok(Handle {
            shared,
            start,
            thread: Some(thread),
        })
    }

    pub(super) fn now_ns(&self) -> u64 {
        elapsed_ns(self.start)
    }

    pub(super) fn call(&self, call: Call, sink: Sink) {
        let mut queue = self.shared.queue();
        if queue.closed {
            drop(queue);
            return refuse_closed(sink);
        }
        queue.calls.push((call, sink));
        // The thread takes all there are: only the first one has to wake it.
        if queue.calls.len() == 1 {
            drop(queue);
            self.shared.wake();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.wake();
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed; there is nobody here to tell.
            drop(thread.join());
        }
    }
}

struct Driver {
    shared: Arc<Shared>,
    polled: Polled,
    desk: Desk,
}

impl Driver {
    fn run(mut self) {
        loop {
            self.shared.awake();
            let (calls, closed) = {
                let mut queue = self.shared.queue();
                (std::mem::take(&mut queue.calls), queue.closed)
            };
            let now_ns = self.polled.now_ns();
            let core = self.polled.core_mut();
            for (call, sink) in calls {
                self.desk.call(core, now_ns, call, sink);
            }
            if closed {
                return self.desk.close(core, now_ns);
            }
            self.desk.settle(core, now_ns);
            let wait = Duration::from_nanos(self.desk.next_due_ns().saturating_sub(now_ns));
            self.polled.turn(wait, Some(self.shared.waker.as_fd()));
            let now_ns = self.polled.now_ns();
            self.desk.settle(self.polled.core_mut(), now_ns);
        }
    }
}

impl Drop for Driver {
    /// A thread that ends by a panic leaves nobody waiting: its calls' sinks are dropped, and later ones are refused.
    fn drop(&mut self) {
        let calls = {
            let mut queue = self.shared.queue();
            queue.closed = true;
            std::mem::take(&mut queue.calls)
        };
        for (_, sink) in calls {
            refuse_closed(sink);
        }
    }
}
