//! What the kernels say of one peer: its connections closed, and a new one was refused.
//!
//! A killed process is seen in a round trip: its host closes what it had open and refuses what is dialled next. Neither alone says it. A
//! connection closes for many reasons, and one is refused while a process starts, before any was open. A host that is lost as a whole says
//! nothing at all and is left to the detector of silence, which this file does not know.
//!
//! **Invariant:** gone means that every connection to this incarnation is closed and that one dialled no earlier than the last of them
//! closed was refused.

use super::lived::Lived;

/// The connections to one incarnation of a peer, all links and shards together.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sockets {
    open: u32,
    closed: Option<Lived>,
    gone: Option<Lived>,
}

impl Sockets {
    /// A connection opened, or opened again: whatever was concluded is void.
    pub fn opened(&mut self) {
        self.open += 1;
        self.closed = None;
        self.gone = None;
    }

    /// A connection closed. Of one whose opening nobody told it closes nothing: words of links are dropped where a control thread is behind.
    pub fn closed(&mut self, now: Lived) {
        let Some(open) = self.open.checked_sub(1) else { return };
        self.open = open;
        if self.open == 0 {
            self.closed = Some(now);
        }
    }

    /// The peer's host refused a connection that was dialled at `dialled`.
    pub fn refused(&mut self, dialled: Lived, now: Lived) {
        if self.closed.is_some_and(|closed| dialled >= closed) {
            self.gone.get_or_insert(now);
        }
    }

    /// Since when the process is known to be gone.
    #[must_use]
    pub fn gone_since(&self) -> Option<Lived> {
        self.gone
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Random, at_ms};
    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Told {
        Opened,
        Closed,
        /// Refused now, dialled so many ms before.
        Refused(u64),
    }
    use Told::{Closed, Opened, Refused};

    #[test]
    fn the_end_of_a_connection_that_nobody_told_of_says_nothing() {
        assert_eq!(gone_after(&[Closed, Refused(0)]), None);
        assert!(gone_after(&[Closed, Opened, Closed, Refused(0)]).is_some());
    }

    fn gone_after(told: &[Told]) -> Option<Lived> {
        let mut sockets = Sockets::default();
        for (told, ms) in told.iter().zip((100..).step_by(10)) {
            match told {
                Opened => sockets.opened(),
                Closed => sockets.closed(at_ms(ms)),
                Refused(before) => sockets.refused(at_ms(ms - before), at_ms(ms)),
            }
        }
        sockets.gone_since()
    }

    #[test]
    fn a_process_is_gone_only_when_all_closed_and_a_new_connection_was_refused_since() {
        let table: &[(&[Told], Option<u64>)] = &[
            (&[], None),
            (&[Refused(1)], None),
            (&[Refused(1), Opened, Closed], None),
            (&[Opened, Closed], None),
            (&[Opened, Refused(1)], None),
            (&[Opened, Closed, Refused(10)], Some(120)),
            (&[Opened, Closed, Refused(11)], None),
            (&[Opened, Closed, Refused(11), Refused(1)], Some(130)),
            (&[Opened, Opened, Closed, Refused(1)], None),
            (&[Opened, Opened, Closed, Refused(1), Closed, Refused(1)], Some(150)),
            (&[Opened, Closed, Refused(1), Refused(1)], Some(120)),
            (&[Opened, Closed, Refused(1), Opened], None),
            (&[Opened, Closed, Refused(1), Opened, Closed], None),
            (&[Opened, Closed, Refused(1), Opened, Closed, Refused(1)], Some(150)),
        ];
        for (told, gone_ms) in table {
            assert_eq!(gone_after(told), gone_ms.map(at_ms), "{told:?}");
        }
    }

    #[test]
    fn whatever_is_told_gone_needs_a_close_and_a_later_dial() {
        let mut reached = 0;
        for seed in 0..2_000 {
            let mut random = Random::new(seed);
            let (mut told, mut open) = (Vec::new(), 0);
            for _ in 0..random.between(1, 12) {
                told.push(match random.between(0, 2) {
                    0 => Opened,
                    1 if open > 0 => Closed,
                    _ => Refused(random.between(0, 30)),
                });
                open += match told.last() {
                    Some(Opened) => 1,
                    Some(Closed) => -1,
                    _ => 0,
                };
            }
            // By the definition, from the whole story: the last close, if it left none open, and a refusal dialled since.
            let last_turn = told.iter().rposition(|told| !matches!(told, Refused(_)));
            let expected = last_turn
                .filter(|&last| open == 0 && matches!(told[last], Closed))
                .and_then(|last| {
                    (last + 1..told.len()).find(|&i| match told[i] {
                        Refused(before) => 10 * i as u64 >= 10 * last as u64 + before,
                        _ => false,
                    })
                });
            reached += u32::from(expected.is_some());
            assert_eq!(
                gone_after(&told),
                expected.map(|i| at_ms(100 + 10 * i as u64)),
                "{told:?}"
            );
        }
        assert!(reached > 100, "only {reached} of the stories end with a process gone");
    }
}
