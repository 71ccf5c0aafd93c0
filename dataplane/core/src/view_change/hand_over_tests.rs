//! Facts about writers that stop in order, and those who follow them, at shards that a test has wired by hand.

use waterpark_wire::ItemKind;
use waterpark_wire::reply::Outcome;

use super::Answer;
use super::testing::{Three, member};
use crate::config::Limits;
use crate::group::Role;
use crate::ids::{GroupId, NodeId, Seq, View};

const GROUP: GroupId = GroupId(7);

/// A writer with two messages, of which its followers know nothing yet, and the view that another one is to open.
fn caught_in_the_midst() -> (Three, View) {
    let mut three = Three::new(&[0, 1, 2], &Limits::default());
    for actor in three.actors_of("note", GROUP, 2) {
        three.send(0, "note", actor, b"under way");
    }
    let view = three.propose(&[GROUP], &[1, 0, 2]);
    (three, view)
}

#[test]
fn a_writer_that_stops_for_another_commits_what_it_logged_and_only_it_is_asked_to_seal() {
    let (mut three, view) = caught_in_the_midst();
    let mut asked = Vec::new();
    three.pass_if(|sent| {
        if sent.has(ItemKind::Seal) {
            asked.push(sent.to);
        }
        true
    });
    assert_eq!(asked, [0], "it may not have learned of the view yet");
    assert_eq!(
        three.outcomes(0),
        [Outcome::Done, Outcome::Done],
        "as if no other view were to come"
    );
    for node in 0..3 {
        assert_eq!(three.group(node, GROUP).promised, view);
    }
    three.settle();
    assert_eq!(three.group(1, GROUP).role, Role::Writer);
}

#[test]
fn a_writer_that_opens_the_next_view_itself_asks_nobody_to_seal_and_commits_what_it_logged() {
    let mut three = Three::new(&[0, 1, 2], &Limits::default());
    let actor = three.actors_of("note", GROUP, 1)[0];
    three.send(0, "note", actor, b"under way");
    let view = three.propose(&[GROUP], &[0, 2, 1]);
    let mut asked = 0;
    three.pass_if(|sent| {
        asked += usize::from(sent.has(ItemKind::Seal));
        true
    });
    assert_eq!(asked, 0);
    assert_eq!(three.outcomes(0), [Outcome::Done]);
    three.settle();
    assert_eq!(
        (three.group(0, GROUP).role, three.holds(0, GROUP).0),
        (Role::Writer, view)
    );
}

#[test]
fn a_member_promises_no_sooner_than_it_holds_all_that_its_writer_logged() {
    let (mut three, view) = caught_in_the_midst();
    // The word comes, the runs do not.
    three.pass_if(|sent| sent.from != 0 || !sent.has(ItemKind::Append));
    assert!(three.group(2, GROUP).promised < view);
    assert_eq!(three.outcomes(0), []);
    // Who has not come to the end in time is asked: what it held was not acked.
    three.wait_and_settle(500);
    assert_eq!(three.group(1, GROUP).role, Role::Writer);
    assert_eq!(three.holds(2, GROUP), three.holds(1, GROUP));
    assert_eq!(three.outcomes(0), [Outcome::Done, Outcome::Done], "by the next writer");
}

#[test]
fn the_word_of_a_process_that_is_not_the_writer_ends_nothing() {
    let mut three = Three::new(&[0, 1, 2], &Limits::default());
    let own = three.group(2, GROUP);
    let (log_view, promised) = (own.log_view, own.promised);
    let answer = Answer {
        log_view,
        last_seq: Seq::ZERO,
        last_hash: own.log.last_hash(),
    };
    for (from, opener) in [(member(1), NodeId(2)), (member(0), NodeId(77))] {
        three.turn(2, |shard, now| {
            shard.on_sealed(now, from, GROUP, (View(99), opener), answer);
        });
        assert_eq!(
            three.group(2, GROUP).promised,
            promised,
            "{from:?} says that {opener:?} opens"
        );
    }
}

#[test]
fn a_writer_whose_log_was_replaced_sends_nothing_of_where_it_stood() {
    let mut three = Three::new(&[0, 1, 2], &Limits::default());
    let actor = three.actors_of("note", GROUP, 1)[0];
    three.send(0, "note", actor, b"acked");
    three.settle();
    three.wait_and_settle(100);
    assert_eq!(three.outcomes(0), [Outcome::Done]);
    three.sent.clear();
    // Behind the first of these both links are busy: the others wait in their queues when it stops.
    for _ in 0..3 {
        three.send(0, "note", actor, &[b'Y'; 100]);
    }
    three.propose(&[GROUP], &[1, 0, 2]);
    let (mut held, rest): (Vec<_>, Vec<_>) = three.sent.drain(..).partition(|sent| sent.from == 0);
    three.sent.extend(rest);
    three.pass();
    three.wait_and_settle(200);
    // What it had sent to the opener is lost, and the other link stays busy: it takes over a log without its last runs.
    let lost = held.iter().position(|sent| sent.to == 1).unwrap();
    three.sent.push_front(held.remove(lost));
    three.next();
    three.wait_and_settle(300);
    assert_eq!(three.group(0, GROUP).role, Role::Follower);
    assert_eq!(three.holds(0, GROUP), three.holds(1, GROUP));
    let other = three.actors_of("note", GROUP, 2)[1];
    three.send(1, "note", other, &[b'Z'; 3_000]);
    three.wait_and_settle(100);
    three.sent.extend(held);
    three.next();
    three.wait_and_settle(100);
    assert!(three.group(0, GROUP).followers.iter().all(|progress| !progress.queued));
    assert_eq!(three.holds(2, GROUP), three.holds(1, GROUP));
}

#[test]
fn a_writer_goes_on_until_it_is_asked() {
    let mut three = Three::new(&[0, 1, 2], &Limits::default());
    let index = three.shards[1].row_of(GROUP).unwrap();
    // Who should open the next view has a log that it cannot trust, and opens nothing.
    three.shards[1].quarantine(index);
    three.turn(1, |_, _| ());
    three.propose(&[GROUP], &[1, 0, 2]);
    three.pass();
    let actor = three.actors_of("note", GROUP, 1)[0];
    three.send(0, "note", actor, b"meanwhile");
    three.settle();
    assert_eq!(three.group(0, GROUP).role, Role::Writer);
    assert_eq!(three.outcomes(0), [Outcome::Done]);
}

#[test]
fn what_a_writer_logged_last_is_committed_before_its_own_next_view_opens() {
    let mut three = Three::new(&[0, 1, 2], &Limits::default());
    for actor in three.actors_of("note", GROUP, 2) {
        three.send(0, "note", actor, b"under way");
    }
    three.propose(&[GROUP], &[0, 2, 1]);
    three.pass();
    assert_eq!(three.group(0, GROUP).role, Role::Sealed);
    assert_eq!(three.outcomes(0), [Outcome::Done, Outcome::Done]);
}
