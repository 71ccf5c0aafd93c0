//! What a driver must come back to without being told by the kernel: connections that linger, listeners that wait for descriptors.
//!
//! It does not read the clock; the driver does, and only while something is due. **Invariant:** entries are kept in the order in which they
//! fall due, because each of the two lists has one constant delay.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::connection::ConnectionId;
use crate::driver::Wait;

/// How long a listener rests after the process ran out of descriptors, unless one of ours comes free earlier.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes that a closed connection may still send before it is cut.
pub(crate) const DISCARD_MAX: u32 = 256 << 10;

/// Closed connections that have a little time left to read what they were last sent.
pub(crate) struct Lingering {
    delay: Duration,
    due: VecDeque<(Instant, ConnectionId)>,
}

impl Lingering {
    pub(crate) fn new(delay: Duration) -> Self {
        Self {
            delay,
            due: VecDeque::new(),
        }
    }

    pub(crate) fn add(&mut self, connection: ConnectionId) {
        self.due.push_back((Instant::now() + self.delay, connection));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    pub(crate) fn first(&self) -> Option<Instant> {
        self.due.front().map(|(due, _)| *due)
    }

    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<ConnectionId> {
        let (due, connection) = *self.due.front()?;
        if due > now {
            return None;
        }
        self.due.pop_front();
        Some(connection)
    }
}

/// The shorter of what the caller allows and the time until something falls due.
pub(crate) fn wait_until(wait: Wait, due: Option<Instant>, now: Instant) -> Wait {
    match (wait, due) {
        (Wait::Poll, _) | (_, None) => wait,
        (Wait::Forever, Some(due)) => Wait::Until(due.saturating_duration_since(now)),
        (Wait::Until(allowed), Some(due)) => Wait::Until(allowed.min(due.saturating_duration_since(now))),
    }
}
