//! When an election round begins (rule 6), and what the heartbeats of the last one told.
//!
//! A round is as long as four of the largest round trip, so that every answer is in before the library counts them. The trip is that of a
//! heartbeat: from here, through the peer's file, and back. The library knows rounds by number and no time.

use std::collections::VecDeque;

use omnipaxos::ballot_leader_election::Ballot;
use omnipaxos::messages::ballot_leader_election::HeartbeatReply;

use super::super::{Birth, VoterId};

/// A round takes at least so long.
pub const ROUND_MS_MIN: u64 = 20;

/// A round takes at most so long: a peer that stood still for a minute does not stop elections for four.
pub const ROUND_MS_MAX: u64 = 2_000;

const ROUND_TRIPS: u64 = 4;

/// Rounds whose answers are still measured. With the shortest rounds they cover a trip of more than a second.
const ROUNDS_KEPT: usize = 64;

/// Rounds in a row in which a majority follows a lower ballot than this voter promised, before it asks for a higher one.
const STRANDED_ROUNDS: u32 = 6;

#[derive(Clone, Debug)]
struct Trip {
    voter: VoterId,
    /// The newest round that it answered.
    answered: u32,
    ms: u64,
    /// Its answer to the round that runs: the ballot that it follows, and whether it is content with it.
    heard: Option<(Ballot, bool)>,
}

/// The rounds of one voter.
#[derive(Clone, Debug)]
pub(super) struct Rounds {
    next_at_ms: u64,
    /// Rounds that began, each with its time.
    begun: VecDeque<(u32, u64)>,
    trips: Vec<Trip>,
    stranded: u32,
}

impl Rounds {
    pub(super) fn new(birth: &Birth) -> Rounds {
        let trip = |voter| Trip {
            voter,
            answered: 0,
            ms: 0,
            heard: None,
        };
        Rounds {
            next_at_ms: 0,
            begun: VecDeque::with_capacity(ROUNDS_KEPT),
            trips: birth.peers().map(trip).collect(),
            stranded: 0,
        }
    }

    /// Whether a round is over. If so, the next one runs from now.
    pub(super) fn is_due(&mut self, now_ms: u64) -> bool {
        let is_due = now_ms >= self.next_at_ms;
        if is_due {
            self.next_at_ms = now_ms + self.round_ms();
        }
        is_due
    }

    /// How long a round takes now.
    pub(super) fn round_ms(&self) -> u64 {
        let largest = self.trips.iter().map(|trip| trip.ms).max().unwrap_or_default();
        (largest * ROUND_TRIPS).clamp(ROUND_MS_MIN, ROUND_MS_MAX)
    }

    /// The library asked for answers under this number.
    pub(super) fn on_begin(&mut self, round: u32, now_ms: u64) {
        if self.begun.back().is_some_and(|(last, _)| *last == round) {
            return;
        }
        if self.begun.len() == ROUNDS_KEPT {
            self.begun.pop_front();
        }
        self.begun.push_back((round, now_ms));
        self.trips.iter_mut().for_each(|trip| trip.heard = None);
    }

    /// An answer. False for a second one to the same round, which the library would count twice.
    pub(super) fn on_answer(&mut self, from: VoterId, reply: &HeartbeatReply, now_ms: u64) -> bool {
        // Nearly all answer one of the last rounds. They ascend, so that none is there twice.
        let Some((_, begun_at)) = self.begun.iter().rfind(|(round, _)| *round == reply.round) else {
            return false;
        };
        let runs = self.begun.back().is_some_and(|(round, _)| *round == reply.round);
        let Some(trip) = self.trips.iter_mut().find(|trip| trip.voter == from) else {
            return false;
        };
        if reply.round <= trip.answered {
            return false;
        }
        trip.answered = reply.round;
        // Up at once, down by halves: one slow trip lengthens the rounds after it by as much again, and no more.
        let ms = now_ms.saturating_sub(*begun_at);
        trip.ms = ms.max(trip.ms / 2).min(ROUND_MS_MAX);
        if runs {
            trip.heard = Some((reply.leader, reply.happy));
        }
        true
    }

    /// At the end of a round: whether this voter is stranded on a promise that nobody leads under.
    ///
    /// Its promise went to a candidate that died before a majority heard of it. It refuses the leader of the others, and as long as one
    /// of those is content the library never asks for a higher ballot: so it would never learn anything again. A voter that is cut from
    /// the leader alone is not stranded: somebody content tells it of a ballot as high as its promise.
    pub(super) fn is_stranded(&mut self, promise: Ballot, majority: usize) -> bool {
        let heard: Vec<(Ballot, bool)> = self.trips.iter().filter_map(|trip| trip.heard).collect();
        let mut content = heard.iter().filter(|(_, is_content)| *is_content).peekable();
        let somebody_leads = content.peek().is_some();
        if heard.len() + 1 < majority || !somebody_leads || content.any(|(ballot, _)| *ballot >= promise) {
            self.stranded = 0;
            return false;
        }
        self.stranded += 1;
        let is_stranded = self.stranded >= STRANDED_ROUNDS;
        if is_stranded {
            self.stranded = 0;
        }
        is_stranded
    }
}

#[cfg(test)]
mod tests {
    use waterpark_ring::ClusterId;

    use super::*;

    fn rounds() -> Rounds {
        let voters = [VoterId(1), VoterId(2), VoterId(3)];
        Rounds::new(&Birth::first(ClusterId([1; 16]), VoterId(1), &voters).unwrap())
    }

    fn reply(round: u32, n: u32) -> HeartbeatReply {
        let ballot = Ballot::with(1, n, 0, 2);
        HeartbeatReply {
            round,
            ballot,
            leader: ballot,
            happy: true,
        }
    }

    #[test]
    fn a_round_is_four_of_the_largest_trip_between_two_bounds() {
        for (trips_ms, round_ms) in [([0, 0], 20), ([5, 4], 20), ([7, 100], 400), ([3, 90_000], 2_000)] {
            let mut rounds = rounds();
            rounds.on_begin(1, 1_000);
            for (voter, ms) in [2, 3].into_iter().zip(trips_ms) {
                assert!(rounds.on_answer(VoterId(voter), &reply(1, 1), 1_000 + ms));
            }
            assert_eq!(rounds.round_ms(), round_ms);
            assert!(rounds.is_due(100_000));
            assert!(!rounds.is_due(100_000 + round_ms - 1));
            assert!(rounds.is_due(100_000 + round_ms));
        }
    }

    #[test]
    fn a_slow_trip_is_forgotten_by_halves() {
        let mut rounds = rounds();
        for round in 1..=7 {
            rounds.on_begin(round, 0);
            let ms = if round == 1 { 400 } else { 10 };
            rounds.on_answer(VoterId(2), &reply(round, 1), ms);
        }
        assert_eq!(rounds.round_ms(), 40);
    }

    #[test]
    fn a_second_answer_and_one_to_no_round_do_not_count() {
        let mut rounds = rounds();
        rounds.on_begin(4, 0);
        assert!(rounds.on_answer(VoterId(2), &reply(4, 1), 1));
        assert!(!rounds.on_answer(VoterId(2), &reply(4, 1), 1));
        assert!(!rounds.on_answer(VoterId(2), &reply(5, 1), 1));
        assert!(!rounds.on_answer(VoterId(9), &reply(4, 1), 1));
    }

    #[test]
    fn a_voter_whose_promise_nobody_follows_is_stranded_after_six_rounds() {
        let stranded_after = |heard: u32, promised: u32| {
            let mut rounds = rounds();
            (1..=20).find(|round| {
                rounds.on_begin(*round, 0);
                rounds.on_answer(VoterId(2), &reply(*round, heard), 1);
                // Another one in the same trouble is no help.
                let other = HeartbeatReply {
                    happy: false,
                    ..reply(*round, promised)
                };
                rounds.on_answer(VoterId(3), &other, 1);
                rounds.is_stranded(Ballot::with(1, promised, 0, 3), 2)
            })
        };
        assert_eq!(stranded_after(4, 5), Some(6));
        assert_eq!(stranded_after(6, 5), None);
        // Alone, it is nothing that a higher ballot could help.
        assert!((0..20).all(|_| !rounds().is_stranded(Ballot::with(1, 5, 0, 3), 2)));
    }
}
