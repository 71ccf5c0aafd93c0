//! What one member answers to another, where no seed can bring it about: a writer that contradicts itself, and runs of an older view.
//! And what a mailroom answers for a request that never left it.

#![expect(clippy::unwrap_used, reason = "what helpers of tests find wrong fails the test")]

mod reads;
mod three;

use three::{Three, is};
use waterpark_core::config::Births;
use waterpark_core::effects::Happened;
use waterpark_ring::Key;
use waterpark_wire::item::Item;
use waterpark_wire::link::{Answer, acked};
use waterpark_wire::reply::{HAS_TOKEN, MAYBE, Outcome};
use waterpark_wire::run::RunHeader;
use waterpark_wire::{ItemKind, link};

fn key() -> Key {
    Key::new("record", &[("id", b"7")]).unwrap()
}

/// The exceptions that an item lists, each with its value.
fn exceptions(item: &[u8]) -> Vec<(Answer, u64)> {
    if !is(item, ItemKind::Acked) {
        return Vec::new();
    }
    let item = Item::new_checked(item).unwrap();
    let (_, _, listed) = acked(&item).unwrap();
    let pair = |exception: &link::Exception| (exception.answer(), exception.value.get());
    listed.iter().map(pair).collect()
}

/// Changes the header of the first run that goes to a member, and tells what that member answered.
fn answers(three: &mut Three, to: usize, change: impl Fn(&mut RunHeader)) -> Vec<(Answer, u64)> {
    let mut answered = Vec::new();
    let mut changed = false;
    three.pass(|sender, receiver, items| {
        for item in items {
            if receiver == to && is(item, ItemKind::Append) && !std::mem::replace(&mut changed, true) {
                let mut header = RunHeader::read(item);
                change(&mut header);
                header.put(item);
            }
            if sender == to {
                answered.extend(exceptions(item));
            }
        }
    });
    answered
}

#[test]
fn a_run_of_a_view_older_than_the_promised_one_is_answered_nack() {
    let mut three = Three::open();
    let (_, members) = three.place(&key());
    let id = three.ask(&key(), b"one");
    three.send(members[0], id);
    let answered = answers(&mut three, members[1], |run| run.view = 0.into());
    assert_eq!(answered, [(Answer::Nack, 1)], "with the view that it promised");
    assert_eq!(three.replies, [(Outcome::Done, HAS_TOKEN)], "the other two hold it");
}

#[test]
fn a_run_of_a_view_newer_than_the_promised_one_is_answered_need_adopt() {
    let mut three = Three::open();
    let (_, members) = three.place(&key());
    let id = three.ask(&key(), b"one");
    three.send(members[0], id);
    let answered = answers(&mut three, members[1], |run| run.view = 2.into());
    assert_eq!(answered, [(Answer::NeedAdopt, 0)]);
}

#[test]
fn a_member_whose_log_was_contradicted_is_silent_to_its_config_and_takes_nothing_more() {
    let mut three = Three::open();
    let (group, members) = three.place(&key());
    let id = three.ask(&key(), b"one");
    three.send(members[0], id);
    let answered = answers(&mut three, members[1], |run| run.prev_hash = 7.into());
    assert_eq!(answered, [(Answer::Nack, 1)]);
    assert!(three.happened.contains(&(members[1], Happened::Quarantined { group })));
    // The Config is offered again, twice; and more is logged meanwhile.
    let (mut births, mut adopted, mut runs) = (0, 0, 0);
    for step in 0..10 {
        // In steps: a member that is silent for half a second is not heard any more.
        three.wait(100);
        if step % 5 == 4 {
            let id = three.ask(&key(), b"more");
            three.send(members[0], id);
        }
        three.pass(|sender, receiver, items| {
            for item in items {
                let is_birth = is(item, ItemKind::Birth) && receiver == members[1];
                births += u32::from(is_birth && group.0.to_le_bytes() == item[8..12]);
                adopted += u32::from(sender == members[1] && is(item, ItemKind::Adopted));
                runs += u32::from(receiver == members[1] && is(item, ItemKind::Append));
            }
        });
    }
    assert!(births >= 2, "{births} offers");
    assert_eq!((adopted, runs), (0, 0));
    assert_eq!(three.replies, [(Outcome::Done, HAS_TOKEN); 3], "the other two go on");
    let quarantined = |(_, happened): &&(usize, Happened)| matches!(happened, Happened::Quarantined { .. });
    assert_eq!(three.happened.iter().filter(quarantined).count(), 1, "it says so once");
}

#[test]
fn what_never_left_its_mailroom_is_refused_in_doubt_if_its_client_sent_another_copy() {
    let mut three = Three::new();
    let (_, members) = three.place(&key());
    let first = three.ask(&key(), b"one");
    three.send(members[1], first);
    three.wait(500);
    assert_eq!(
        three.replies,
        [(Outcome::NoQuorum, 0)],
        "no other copy was sent by anybody"
    );
    three.send(members[2], first);
    three.wait(500);
    assert_eq!(three.replies[1..], [(Outcome::NoQuorum, MAYBE)]);
}

#[test]
fn a_request_passed_on_to_a_node_that_holds_nothing_of_its_group_is_answered_not_writer() {
    // A node that has just started, in whose place the topology log has named another by now, which its neighbour has not learnt.
    let mut three = Three::born([Births::TopologyLog, Births::Writer, Births::Writer]);
    let keys = (0..64u8).map(|id| Key::new("record", &[("id", &[id])]).unwrap());
    let key = keys.into_iter().find(|key| three.place(key).1[0] == 0).unwrap();
    three.meet(0, 1);
    three.meet(1, 0);
    let id = three.ask(&key, b"one");
    three.send(1, id);
    three.pass(|_, _, items| items.retain(|item| !is(item, ItemKind::Birth)));
    assert_eq!(three.replies, [(Outcome::NotWriter, 0)], "its mailroom asks again");
}
