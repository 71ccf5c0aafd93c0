//! Holds back what leaves until every write before it is durable (rule 1).
//!
//! It counts writes and knows nothing of what they say. Messages and decisions keep their order.

use std::collections::VecDeque;

use super::{VoterId, Write};

/// Messages that wait for the file at most. A disk that stalls for longer loses those behind them, which the peers notice as a gap.
const HELD_MAX: usize = 4_096;

/// What waits for the file of one voter.
#[derive(Debug)]
pub(super) struct Gate {
    /// Closed by writes. Open in a mutant alone.
    waits: bool,
    written: u64,
    handed_out: u64,
    durable: u64,
    writes: Vec<Write>,
    /// Messages, each with the last write before it.
    held: VecDeque<(u64, VoterId, Vec<u8>)>,
    /// Indexes up to which entries are decided, each with the last write before it.
    decisions: VecDeque<(u64, usize)>,
    decided: usize,
    released: usize,
}

impl Gate {
    /// A gate for a file whose records up to `last` are durable.
    pub(super) fn new(last: u64, waits: bool) -> Gate {
        Gate {
            waits,
            written: last,
            handed_out: last,
            durable: last,
            writes: Vec::new(),
            held: VecDeque::new(),
            decisions: VecDeque::new(),
            decided: 0,
            released: 0,
        }
    }

    /// A write: what comes after it waits for it.
    pub(super) fn write(&mut self, write: Write) {
        assert_eq!(write.number, self.written + 1);
        self.written = write.number;
        self.writes.push(write);
    }

    pub(super) fn take_writes(&mut self, out: &mut Vec<Write>) {
        self.handed_out = self.written;
        out.append(&mut self.writes);
    }

    pub(super) fn on_durable(&mut self, upto: u64) {
        assert!(upto <= self.handed_out, "write {upto} was never handed out");
        self.durable = self.durable.max(upto);
        while let Some((after, upto)) = self.decisions.front().copied()
            && self.passes(after)
        {
            self.released = upto;
            self.decisions.pop_front();
        }
    }

    /// Whether a write or a message is to be taken, or entries that were not among the `given` ones.
    pub(super) fn has_news(&self, given: usize) -> bool {
        let may_leave = self.held.front().is_some_and(|(after, ..)| self.passes(*after));
        !self.writes.is_empty() || may_leave || self.released != given
    }

    /// A message, behind every write so far. False if there are too many, and it is gone.
    pub(super) fn hold(&mut self, to: VoterId, message: Vec<u8>) -> bool {
        let has_room = self.held.len() < HELD_MAX;
        if has_room {
            self.held.push_back((self.written, to, message));
        }
        has_room
    }

    pub(super) fn take_outgoing(&mut self, out: &mut Vec<(VoterId, Vec<u8>)>) {
        let (durable, waits) = (self.durable, self.waits);
        while let Some((_, to, message)) = self.held.pop_front_if(|(after, ..)| *after <= durable || !waits) {
            out.push((to, message));
        }
    }

    /// Entries up to this index are decided, as of every write so far.
    pub(super) fn decide(&mut self, upto: usize) {
        assert!(upto >= self.decided, "what is decided stays decided");
        if upto == self.decided {
            return;
        }
        self.decided = upto;
        if self.passes(self.written) {
            self.released = upto;
        } else {
            self.decisions.push_back((self.written, upto));
        }
    }

    /// The index up to which decided entries may be known outside.
    pub(super) fn released(&self) -> usize {
        self.released
    }

    fn passes(&self, after: u64) -> bool {
        after <= self.durable || !self.waits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(number: u64) -> Write {
        Write { number, bytes: vec![] }
    }

    fn leaving(gate: &mut Gate) -> Vec<u8> {
        let mut out = Vec::new();
        gate.take_outgoing(&mut out);
        out.into_iter().map(|(_, message)| message[0]).collect()
    }

    #[test]
    fn messages_and_decisions_wait_for_the_writes_before_them_and_for_no_others() {
        let mut gate = Gate::new(5, true);
        assert!(gate.hold(VoterId(2), vec![1]));
        gate.write(write(6));
        assert!(gate.hold(VoterId(2), vec![2]));
        gate.decide(1);
        gate.write(write(7));
        assert!(gate.hold(VoterId(2), vec![3]));
        gate.decide(4);
        assert!(gate.has_news(0));
        assert_eq!((leaving(&mut gate), gate.released()), (vec![1], 0));
        assert!(gate.has_news(0), "the writes are to be taken");
        gate.take_writes(&mut Vec::new());
        assert!(!gate.has_news(0), "what is left waits for them");
        gate.on_durable(6);
        assert!(gate.has_news(1) && gate.has_news(0));
        assert_eq!((leaving(&mut gate), gate.released()), (vec![2], 1));
        gate.on_durable(7);
        assert_eq!((leaving(&mut gate), gate.released()), (vec![3], 4));
        assert!(gate.has_news(1) && !gate.has_news(4));
    }

    #[test]
    #[should_panic(expected = "never handed out")]
    fn a_write_that_was_not_handed_out_cannot_be_durable() {
        let mut gate = Gate::new(0, true);
        gate.write(write(1));
        gate.on_durable(1);
    }

    #[test]
    fn messages_behind_a_stalled_disk_are_bounded() {
        let mut gate = Gate::new(0, true);
        gate.write(write(1));
        let held = (0..HELD_MAX + 10).filter(|_| gate.hold(VoterId(2), vec![0])).count();
        assert_eq!(held, HELD_MAX);
    }
}
