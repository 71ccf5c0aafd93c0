//! Ballots under faults of the test's own and of the seed's, and ballots that are wrong: each is caught.

#[path = "../examples/ballot_box/ballots.rs"]
mod ballots;

use std::cell::Cell;

use ballots::{Ballots, Votes};
use waterpark_testing::{Answer, Behaviour, KindId, Manner, Retention, Setup, check};

const KEY: &str = "ballots/spring";

#[test]
fn every_vote_counts_once_under_the_faults_of_a_seed() {
    check(
        1..=12,
        Setup::nodes(5).shards(2).faults(),
        || Ballots,
        |cluster| {
            let votes: Vec<_> = (0..20)
                .map(|voter| {
                    cluster.advance_ms(60);
                    cluster.send(KEY, format!("vote voter-{voter} red"))
                })
                .collect();
            cluster.calm();
            assert!(votes.into_iter().all(|vote| cluster.reply(vote).is_done()));
            assert_eq!(cluster.read(KEY), r#"{"red":20}"#);
        },
    );
}

#[test]
fn a_test_does_to_its_cluster_what_it_wants() {
    check(
        1..=4,
        Setup::nodes(5),
        || Ballots,
        |cluster| {
            let first = cluster.send(KEY, "vote ann red");
            assert_eq!(cluster.reply(first).text(), "1");
            assert_eq!(cluster.reply_if_any(first).map(|reply| reply.is_done()), Some(true));

            // The writer ends, and another takes over.
            let writer = cluster.writer_of(KEY);
            cluster.crash(writer);
            assert!(!cluster.is_up(writer));
            let second = cluster.send(KEY, "vote bob blue");
            assert!(cluster.reply(second).is_done());
            assert_ne!(cluster.writer_of(KEY), writer);
            cluster.restart(writer);
            cluster.advance_ms(3_000);
            assert!(cluster.is_up(writer));

            // The next one is cut off; nobody whom it does not hear believes it.
            let writer = cluster.writer_of(KEY);
            cluster.isolate(writer, Manner::Silent);
            let third = cluster.send(KEY, "vote cat red");
            assert!(cluster.reply(third).is_done());
            assert_ne!(cluster.writer_of(KEY), writer);
            cluster.heal();

            // A slow network is slow, and nothing else.
            cluster.delay_us(30_000);
            let before_ms = cluster.now_ms();
            let again = cluster.send(KEY, "vote ann blue");
            let reply = cluster.reply(again);
            assert!(
                reply.is_refused() && reply.at_ms() >= before_ms + 60,
                "{reply:?} at {before_ms}"
            );
            cluster.pause((writer + 1) % 5, 400);
            assert_eq!(cluster.read(KEY), r#"{"blue":1,"red":2}"#);
            assert_eq!(cluster.read("ballots/autumn"), "");
        },
    );
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let times = || {
        let times = Cell::new(Vec::new());
        check(
            [7],
            Setup::nodes(5).faults(),
            || Ballots,
            |cluster| {
                let votes: Vec<_> = (0..8)
                    .map(|voter| cluster.send(KEY, format!("vote {voter} red")))
                    .collect();
                times.set(votes.into_iter().map(|vote| cluster.reply(vote).at_ms()).collect());
            },
        );
        times.take()
    };
    let first: Vec<u64> = times();
    assert_eq!(first.len(), 8);
    assert_eq!(first, times());
}

#[test]
#[should_panic(expected = "a group would lose what it has acked")]
fn a_test_cannot_crash_more_than_a_cluster_bears() {
    check(
        [1],
        Setup::nodes(3),
        || Ballots,
        |cluster| {
            cluster.crash(0);
            cluster.crash(1);
        },
    );
}

/// Ballots with one thing changed.
struct Changed {
    wrong: Wrong,
    calls: Cell<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// A voter who votes again is counted again.
    CountsTwice,
    /// The reply says how often the handler was called, which no other member knows.
    RepliesFromOutside,
    /// The state says how often the handler was called.
    StateFromOutside,
    /// What is shown is not the state alone.
    ShowsFromOutside,
}

impl Changed {
    fn new(wrong: Wrong) -> Changed {
        Changed {
            wrong,
            calls: Cell::new(0),
        }
    }

    fn call(&self) -> u64 {
        self.calls.set(self.calls.get() + 1);
        self.calls.get()
    }
}

impl Behaviour for Changed {
    type State = Votes;

    fn kind(&self, name: &[u8]) -> Option<KindId> {
        Ballots.kind(name)
    }

    fn name(&self, _kind: KindId) -> &[u8] {
        b"ballots"
    }

    fn retention(&self, kind: KindId) -> Retention {
        Ballots.retention(kind)
    }

    fn execute(&self, kind: KindId, votes: &Votes, message: &[u8], answer: &mut Answer) {
        match self.wrong {
            // As if nobody had voted before.
            Wrong::CountsTwice => Ballots.execute(kind, &Votes::default(), message, answer),
            _ => Ballots.execute(kind, votes, message, answer),
        }
        if self.wrong == Wrong::RepliesFromOutside {
            answer.reply_with(self.call().to_string().as_bytes());
        }
    }

    fn apply(&self, kind: KindId, votes: &mut Votes, event: &[u8], seq: u64, time_ms: u64) {
        let calls = self.call();
        let event = match self.wrong {
            Wrong::CountsTwice => format!("vote voter-{calls} red").into_bytes(),
            Wrong::StateFromOutside => [event, calls.to_string().as_bytes()].concat(),
            Wrong::RepliesFromOutside | Wrong::ShowsFromOutside => event.to_vec(),
        };
        Ballots.apply(kind, votes, &event, seq, time_ms);
    }

    fn show(&self, kind: KindId, votes: &Votes, out: &mut Vec<u8>) {
        Ballots.show(kind, votes, out);
        if self.wrong == Wrong::ShowsFromOutside {
            out.extend_from_slice(self.call().to_string().as_bytes());
        }
    }

    fn save(&self, kind: KindId, votes: &Votes, out: &mut Vec<u8>) {
        Ballots.save(kind, votes, out);
    }

    fn load(&self, kind: KindId, bytes: &[u8]) -> Option<Votes> {
        Ballots.load(kind, bytes)
    }
}

/// Two voters, one of whom votes again.
fn elect(wrong: Wrong) {
    check(
        [1],
        Setup::nodes(3),
        || Changed::new(wrong),
        |cluster| {
            for voter in ["ann", "bob"] {
                let vote = cluster.send(KEY, format!("vote {voter} red"));
                assert!(cluster.reply(vote).is_done());
            }
            let again = cluster.send(KEY, "vote ann red");
            let _ended = cluster.reply(again);
            let shown = cluster.read(KEY);
            assert!(
                wrong != Wrong::CountsTwice || shown == r#"{"red":2}"#,
                "two voted, and it is {shown}"
            );
        },
    );
}

#[test]
#[should_panic(expected = "two voted, and it is")]
fn ballots_that_count_a_voter_twice_are_caught_by_the_test() {
    elect(Wrong::CountsTwice);
}

#[test]
#[should_panic(expected = "NotReproduced")]
fn a_reply_that_depends_on_more_than_state_and_message_is_caught() {
    elect(Wrong::RepliesFromOutside);
}

#[test]
#[should_panic(expected = "StatesDiffer")]
fn a_state_that_depends_on_more_than_its_events_is_caught() {
    elect(Wrong::StateFromOutside);
}

#[test]
#[should_panic(expected = "ReadWrong")]
fn a_view_that_depends_on_more_than_its_state_is_caught() {
    elect(Wrong::ShowsFromOutside);
}
