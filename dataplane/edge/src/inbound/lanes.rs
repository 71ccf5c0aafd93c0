//! Numbers of requests: one session for all connections of a shard, one lane in it for each group.
//!
//! Lanes are unordered: order is kept by asking for a key's next message when the one before has ended. **Invariant:** a number is given out
//! once, and not above 255 beyond the first that is not given back.

use std::collections::{HashMap, VecDeque};

/// Numbers that a lane may have open.
const WINDOW: usize = 256;
/// A session is left this long after its birth, well before the cluster ends it.
const SESSION_S: u64 = 1_800;
/// The order bit of a session is the lowest of its first word, and stands for order where it is set.
const BIRTH_SHIFT: u32 = 1;

/// A number, with what a request says beside it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    group: u32,
    pub(super) session: [u8; 16],
    pub(super) number: u32,
    pub(super) mark: u32,
}

#[derive(Debug)]
pub(super) struct Lanes {
    session: [u8; 16],
    birth_s: u64,
    random: u64,
    lanes: HashMap<u32, Lane>,
}

/// One group's numbers.
#[derive(Debug)]
struct Lane {
    /// The first number that is not given back.
    mark: u32,
    /// Whether each from the mark on was given back.
    open: VecDeque<bool>,
}

impl Lanes {
    pub(super) fn new(random: u64) -> Lanes {
        Lanes {
            session: [0; 16],
            birth_s: 0,
            random,
            lanes: HashMap::new(),
        }
    }

    /// The next number of a group; `None` while too many are open.
    pub(super) fn take(&mut self, group: u32, now_s: u64) -> Option<Ticket> {
        if self.birth_s == 0 || now_s.saturating_sub(self.birth_s) > SESSION_S {
            self.begin_session(now_s);
        }
        let lane = self.lanes.entry(group).or_insert_with(|| Lane {
            mark: 1,
            open: VecDeque::new(),
        });
        if lane.open.len() >= WINDOW {
            return None;
        }
        let offset = u32::try_from(lane.open.len()).expect("a window is small");
        lane.open.push_back(false);
        Some(Ticket {
            group,
            session: self.session,
            number: lane.mark + offset,
            mark: lane.mark,
        })
    }

    /// A number has its reply, or is given up.
    pub(super) fn give_back(&mut self, ticket: &Ticket) {
        if ticket.session != self.session {
            return;
        }
        let Some(lane) = self.lanes.get_mut(&ticket.group) else {
            return;
        };
        let place = ticket.number.checked_sub(lane.mark).map(|place| place as usize);
        if let Some(returned) = place.and_then(|place| lane.open.get_mut(place)) {
            *returned = true;
        }
        while lane.open.front() == Some(&true) {
            lane.open.pop_front();
            lane.mark += 1;
        }
    }

    /// The cluster says that the session is over: the next number begins another.
    pub(super) fn end_session(&mut self) {
        self.birth_s = 0;
    }

    fn begin_session(&mut self, now_s: u64) {
        // A step of an odd constant: another one each time, and none twice.
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.birth_s = now_s;
        self.session[..8].copy_from_slice(&(now_s << BIRTH_SHIFT).to_le_bytes());
        self.session[8..].copy_from_slice(&self.random.to_le_bytes());
        self.lanes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_and_the_mark_follows_what_was_given_back() {
        let mut lanes = Lanes::new(7);
        let first = lanes.take(3, 100).unwrap();
        let second = lanes.take(3, 100).unwrap();
        assert_eq!((first.number, second.number, second.mark), (1, 2, 1));
        assert_eq!(lanes.take(4, 100).unwrap().number, 1, "each group has its own");
        lanes.give_back(&second);
        assert_eq!(lanes.take(3, 100).unwrap().mark, 1);
        lanes.give_back(&first);
        let next = lanes.take(3, 100).unwrap();
        assert_eq!((next.number, next.mark), (4, 3));
    }

    #[test]
    fn no_more_numbers_are_open_than_a_lane_keeps() {
        let mut lanes = Lanes::new(7);
        let tickets: Vec<Ticket> = std::iter::from_fn(|| lanes.take(1, 100)).collect();
        assert_eq!(tickets.len(), WINDOW);
        assert!(tickets.iter().all(|ticket| ticket.number - ticket.mark < 256));
        lanes.give_back(&tickets[1]);
        assert!(lanes.take(1, 100).is_none());
        lanes.give_back(&tickets[0]);
        assert_eq!(lanes.take(1, 100).map(|ticket| ticket.number), Some(257));
    }

    #[test]
    fn a_session_is_left_before_it_ends_and_what_comes_back_late_is_not_mistaken() {
        let mut lanes = Lanes::new(7);
        let old = lanes.take(1, 100).unwrap();
        let new = lanes.take(1, 100 + SESSION_S + 1).unwrap();
        assert_ne!(old.session, new.session);
        assert_eq!(new.number, 1);
        lanes.give_back(&old);
        assert_eq!(lanes.take(1, 2_000).unwrap().mark, 1);
        lanes.end_session();
        assert_ne!(lanes.take(1, 2_000).unwrap().session, new.session);
        assert_eq!(new.session[0] & 1, 0, "unordered");
    }
}
