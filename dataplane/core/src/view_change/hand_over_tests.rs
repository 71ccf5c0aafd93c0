//! Facts about writers that stop in order, and those who follow them, at shards that a test has wired by hand.

use waterpark_wire::ItemKind;
use waterpark_wire::reply::Outcome;

use super::testing::{Three, member};
use super::{Answer, Phase};
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
fn answers_that_come_before_the_opener_knows_of_its_view_count() {
    let (mut three, view) = caught_in_the_midst();
    three.sent.clear();
    let (from, end) = (member(0), (View(view.0 + 1), NodeId(3)));
    let answer = Answer {
        log_view: three.group(2, GROUP).log_view,
        last_seq: Seq::ZERO,
        last_hash: three.group(2, GROUP).log.last_hash(),
    };
    three.turn(2, |shard, now| shard.on_sealed(now, from, GROUP, end, answer));
    three.turn(2, |shard, now| shard.on_sealed(now, member(1), GROUP, end, answer));
    assert_eq!(three.group(2, GROUP).early.len(), 2);
    assert_eq!(three.propose(&[GROUP], &[2, 0, 1]), end.0);
    let opener = three.group(2, GROUP).opener.as_ref().expect("it opens the view");
    assert_ne!(opener.phase, Phase::Sealing, "R have answered");
    assert!(three.group(2, GROUP).early.is_empty());
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
