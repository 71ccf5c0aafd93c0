//! Facts about lost groups that are opened again.

use waterpark_wire::ItemKind;
use waterpark_wire::reply::Outcome;

use super::ASK_AGAIN_MS;
use super::testing::{Three, member, roll};
use crate::config::Limits;
use crate::group::Role;
use crate::ids::{GroupId, Incarnation, Lineage, Member, Seq, View};
use crate::topology_log::{Entry, Proposal, Roll, Why};

/// Nodes 1 and 2 start anew, as the log has it; of three members one is left.
fn lose_two(three: &mut Three) {
    for node in [1, 2] {
        let member = member(node);
        three.decide(&Entry::NodeUp {
            member: Member {
                incarnation: Incarnation(member.incarnation.0 + 1),
                ..member
            },
            replaces: member.incarnation,
        });
    }
}

fn reopen(three: &mut Three, group: GroupId, nodes: &[usize]) -> View {
    reopen_with(three, group, roll(nodes))
}

fn reopen_with(three: &mut Three, group: GroupId, roll: Roll) -> View {
    let state = three.shards[0].decided().group(group).unwrap().clone();
    three.decide(&Entry::Reopen {
        proposal: Proposal {
            group,
            sees_active: state.active.view,
            sees_pending: state.pending.map_or(View(0), |pending| pending.view),
            roll,
            why: Why::Operator,
        },
        reason: "a test".to_owned(),
    })
}

#[test]
fn a_lost_group_refuses_until_it_is_opened_again_from_what_is_left_and_then_goes_on() {
    let mut three = Three::new(&[0, 1, 2], &Limits::default());
    let group = three.group_of("note", 1);
    three.send(0, "note", 1, b"before");
    three.pass();
    assert_eq!(three.outcomes(0), [Outcome::Done]);
    let held = three.group(0, group).log.last_seq();
    lose_two(&mut three);
    // Who writes it cannot ack any more; elsewhere it is known to be lost.
    three.send(1, "note", 1, b"meanwhile");
    three.pass();
    assert_eq!(three.outcomes(1), [Outcome::GroupLost]);
    let view = reopen(&mut three, group, &[0]);
    three.settle();
    let row = three.group(0, group);
    assert_eq!(
        (row.role, row.log_view, row.lineage),
        (Role::Writer, view, Lineage(view.0))
    );
    assert_eq!(
        row.log.last_seq(),
        held.next(),
        "what was left, and the entry that opens the view"
    );
    three.send(0, "note", 1, b"after");
    three.pass();
    assert_eq!(three.outcomes(0), [Outcome::Done]);
}

#[test]
fn a_group_of_which_nothing_is_left_begins_anew() {
    let mut three = Three::new(&[0, 1], &Limits::default());
    let group = three.group_of("note", 1);
    three.send(0, "note", 1, b"before");
    three.pass();
    assert_eq!(three.outcomes(0), [Outcome::Done]);
    for node in [0, 1] {
        three.decide(&Entry::NodeGone(member(node)));
    }
    assert_eq!(three.shards[2].decided().survivors(group), []);
    let view = reopen(&mut three, group, &[2]);
    three.settle();
    let row = three.group(2, group);
    assert_eq!(
        (row.role, row.log_view, row.log.last_seq()),
        (Role::Writer, view, Seq(1))
    );
    three.send(2, "note", 1, b"after");
    three.pass();
    assert_eq!(three.outcomes(2), [Outcome::Done]);
}

/// A group of nodes 0 and 1, which are both said to be gone. Node 2 was to be a member, and may have adopted a view that never opened.
fn lost_with_one_who_may_hold_something() -> (Three, GroupId) {
    let mut three = Three::new(&[0, 1], &Limits::default());
    let group = three.group_of("note", 1);
    three.send(0, "note", 1, b"before");
    three.pass();
    assert_eq!(three.outcomes(0), [Outcome::Done]);
    three.propose(&[group], &[2, 1]);
    for node in [0, 1] {
        three.decide(&Entry::NodeGone(member(node)));
    }
    (three, group)
}

#[test]
fn who_opens_a_lost_group_again_waits_for_everyone_who_may_hold_something_of_it() {
    let (mut three, group) = lost_with_one_who_may_hold_something();
    assert_eq!(three.shards[0].decided().survivors(group), [member(2)]);
    reopen(&mut three, group, &[0]);
    three.pass_if(|sent| !sent.has(ItemKind::Sealed));
    three.wait(10 * ASK_AGAIN_MS);
    assert_eq!(three.group(0, group).role, Role::Sealed, "it has not heard node 2");
    three.wait_and_settle(ASK_AGAIN_MS);
    assert_eq!(three.group(0, group).role, Role::Writer);
}

#[test]
fn who_starts_anew_while_a_lost_group_is_opened_is_not_waited_for() {
    let (mut three, group) = lost_with_one_who_may_hold_something();
    reopen(&mut three, group, &[0]);
    three.pass_if(|sent| !sent.has(ItemKind::Seal));
    assert_eq!(three.group(0, group).role, Role::Sealed, "it has not heard node 2");
    three.decide(&Entry::NodeGone(member(2)));
    three.wait(ASK_AGAIN_MS);
    three.settle();
    assert_eq!(three.group(0, group).role, Role::Writer);
}

#[test]
fn a_token_that_went_with_its_lineage_is_lost_in_every_later_one() {
    let mut three = Three::new(&[0], &Limits::default());
    let group = three.group_of("note", 1);
    three.send(0, "note", 1, b"before");
    three.pass();
    assert_eq!(three.outcomes(0), [Outcome::Done]);
    let born = three.group(0, group).log_view;
    // Nothing is left of it, and it begins anew at two that both have to answer.
    three.decide(&Entry::NodeGone(member(0)));
    let both = Roll {
        read_quorum: 2,
        ..roll(&[1, 2])
    };
    let first = reopen_with(&mut three, group, both);
    three.settle();
    three.send(1, "note", 1, b"after");
    three.pass();
    assert_eq!(three.outcomes(1), [Outcome::Done]);
    // One of them is lost, and the other goes on with what it holds.
    three.decide(&Entry::NodeGone(member(2)));
    let second = reopen(&mut three, group, &[1]);
    three.settle();
    let row = three.group(1, group);
    assert_eq!((row.role, row.lineage), (Role::Writer, Lineage(second.0)));
    // Of the first lineage is what was written before, of the second an entry at the same seq, and of the third none of both.
    for (token, outcome) in [
        ((Lineage(0), born, Seq(1)), Outcome::LineageLost),
        ((Lineage(first.0), first, Seq(1)), Outcome::Done),
        ((Lineage(first.0), first, Seq(2)), Outcome::Done),
        ((Lineage(first.0), first, Seq(4)), Outcome::LineageLost),
        ((Lineage(second.0), second, Seq(3)), Outcome::Done),
    ] {
        three.read_from(1, "note", 1, token);
        three.pass();
        assert_eq!(three.outcomes(1), [outcome], "{token:?}");
    }
}
