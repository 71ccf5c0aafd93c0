//! What its owner wants of a node that runs: to end, in one of three ways, or to hold nothing for a while.
//!
//! Words that the control thread looks at; nothing is done here. **Invariant:** a wish to end is never taken back, and a harder one prevails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// How a node ends, the gentlest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// It gives its groups to other nodes, where the cluster has a topology log and somebody to take them; then it ends as with
    /// [`Ending::Flush`]. So a process ends at SIGTERM.
    Drain,
    /// It refuses new work, flushes what it owes and ends. The others find out that it is gone: where all nodes end together there is nobody
    /// to drain to.
    Flush,
    /// It ends without a word, as at `kill -9`: its sockets close, nothing is flushed, and what it held in memory is gone.
    Die,
}

/// Nothing was said.
const NOTHING: u8 = 0;
/// It shall have groups again.
const UNDRAIN: u8 = 1;
/// It shall have none.
const DRAIN: u8 = 2;

/// What is wanted, between the owner's threads and the node's.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// 0, or one more than the place of an [`Ending`].
    ending: AtomicU8,
    draining: AtomicU8,
}

impl Wishes {
    /// How it is to end, if it is.
    pub(crate) fn ending(&self) -> Option<Ending> {
        match self.ending.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Ending::Drain),
            2 => Some(Ending::Flush),
            _ => Some(Ending::Die),
        }
    }

    /// Whether it is to drain, or to drain no more; each wish is given out once.
    pub(crate) fn take_draining(&self) -> Option<bool> {
        match self.draining.swap(NOTHING, Ordering::AcqRel) {
            NOTHING => None,
            wish => Some(wish == DRAIN),
        }
    }
}

/// Stops a node from any thread.
#[derive(Clone, Debug)]
pub struct Stopper {
    wishes: Arc<Wishes>,
}

impl Stopper {
    pub(crate) fn new(wishes: Arc<Wishes>) -> Stopper {
        Stopper { wishes }
    }

    /// As [`Stopper::end`] with [`Ending::Drain`].
    pub fn stop(&self) {
        self.end(Ending::Drain);
    }

    /// Asks the node to end. Returns at once; [`Node::wait`](crate::Node::wait) returns when it has ended. A gentler wish after a harder one
    /// changes nothing.
    pub fn end(&self, ending: Ending) {
        let wish = match ending {
            Ending::Drain => 1,
            Ending::Flush => 2,
            Ending::Die => 3,
        };
        self.wishes.ending.fetch_max(wish, Ordering::AcqRel);
    }

    /// Asks the node to give its groups away and to run on, or to have groups again. The topology log says when it does
    /// ([`Node::presences`](crate::Node::presences)); without such a log nothing happens.
    pub fn drain(&self, drains: bool) {
        let wish = if drains { DRAIN } else { UNDRAIN };
        self.wishes.draining.store(wish, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hardest_wish_to_end_prevails() {
        let stopper = Stopper::new(Arc::default());
        assert_eq!(stopper.wishes.ending(), None);
        for (wish, prevails) in [
            (Ending::Flush, Ending::Flush),
            (Ending::Drain, Ending::Flush),
            (Ending::Die, Ending::Die),
            (Ending::Flush, Ending::Die),
        ] {
            stopper.end(wish);
            assert_eq!(stopper.wishes.ending(), Some(prevails), "after {wish:?}");
        }
    }

    #[test]
    fn of_wishes_to_drain_the_last_is_given_out_once() {
        let stopper = Stopper::new(Arc::default());
        assert_eq!(stopper.wishes.take_draining(), None);
        stopper.drain(true);
        stopper.drain(false);
        assert_eq!(stopper.wishes.take_draining(), Some(false));
        assert_eq!(stopper.wishes.take_draining(), None);
        stopper.drain(true);
        assert_eq!(stopper.wishes.take_draining(), Some(true));
    }
}
