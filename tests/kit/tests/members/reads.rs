//! Reads at three members: what is asked for them, and when each level is answered.

use waterpark_ring::Key;
use waterpark_wire::ItemKind;
use waterpark_wire::item::Item;
use waterpark_wire::link::confirm;
use waterpark_wire::reply::Outcome;
use waterpark_wire::request::{Freshness, HERE, ReadLevel, RequestHeader};

use crate::three::{Three, is};

/// What nobody knows of its age says.
const NO_AGE: u32 = u32::MAX;

fn key(id: u32) -> Key {
    Key::new("record", &[("id", id.to_string().as_bytes())]).unwrap()
}

fn at(level: ReadLevel) -> RequestHeader {
    RequestHeader {
        level: level as u8,
        ..RequestHeader::default()
    }
}

/// A read that nobody but the member it is sent to answers.
fn here(level: ReadLevel) -> RequestHeader {
    let mut header = at(level);
    header.item.flags = HERE;
    header
}

fn session(seq: u64) -> Option<Freshness> {
    Some(Freshness {
        view: 1.into(),
        seq: seq.into(),
        ..Freshness::default()
    })
}

fn bounded(age_ms: u32) -> Option<Freshness> {
    Some(Freshness {
        age_ms: age_ms.into(),
        ..Freshness::default()
    })
}

/// Members of which one has logged so many messages for key 7, which the others hold and know to be committed.
fn with_entries(entries: u64) -> (Three, Vec<usize>) {
    let mut three = Three::open();
    let (_, members) = three.place(&key(7));
    for _ in 0..entries {
        let id = three.ask(&key(7), b"one");
        three.send(members[0], id);
    }
    three.pass(|_, _, _| ());
    assert_eq!(three.replies.len() as u64, entries);
    three.wait(10);
    three.pass(|_, _, _| ());
    (three, members)
}

/// How many words of a commit pass, until nobody has anything more to say.
fn commits(three: &mut Three) -> usize {
    let mut told = 0;
    three.pass(|_, _, items| told += items.iter().filter(|item| is(item, ItemKind::Commit)).count());
    told
}

#[test]
fn all_reads_of_a_turn_ask_each_follower_once_for_all_their_groups() {
    let mut three = Three::open();
    let writes = |three: &Three, node: usize| {
        let keys = (0..200).map(key);
        keys.filter(|key| three.place(key).1[0] == node).collect::<Vec<_>>()
    };
    let keys = writes(&three, 0);
    let groups: std::collections::BTreeSet<u32> = keys.iter().map(|key| three.place(key).0.0).collect();
    assert!(keys.len() > 20 && groups.len() > 5);
    let reads: Vec<_> = keys
        .iter()
        .map(|key| (key, at(ReadLevel::Linearizable), None))
        .collect();
    three.read(0, &reads);
    assert_eq!(three.answers, [], "nobody has confirmed anything");
    let mut asked = Vec::new();
    three.pass(|_, receiver, items| {
        for item in items.iter().filter(|item| is(item, ItemKind::Confirm)) {
            let item = Item::new_checked(item).unwrap();
            let (round, views) = confirm(&item).unwrap();
            asked.push((receiver, round, views.len()));
        }
    });
    assert_eq!(asked, [(1, 1, groups.len()), (2, 1, groups.len())]);
    assert_eq!(three.answers, vec![(Outcome::Done, 0, 0); keys.len()]);
}

#[test]
fn a_write_asks_for_no_confirmation() {
    let mut three = Three::open();
    let (_, members) = three.place(&key(7));
    let id = three.ask(&key(7), b"one");
    three.send(members[0], id);
    three.pass(|_, _, items| assert!(!items.iter().any(|item| is(item, ItemKind::Confirm))));
}

#[test]
fn a_linearizable_read_waits_for_a_follower_and_asks_again() {
    let (mut three, members) = with_entries(1);
    three.read(members[0], &[(&key(7), at(ReadLevel::Linearizable), None)]);
    let lose = |_: usize, _: usize, items: &mut Vec<Vec<u8>>| items.retain(|item| !is(item, ItemKind::Confirmed));
    three.pass(lose);
    three.wait(100);
    three.pass(lose);
    assert_eq!(three.answers, []);
    three.wait(100);
    three.pass(|_, _, _| ());
    assert_eq!(three.answers, [(Outcome::Done, 1, 0)]);
}

#[test]
fn a_confirmation_of_an_earlier_round_is_none() {
    let (mut three, members) = with_entries(1);
    let read = [(&key(7), at(ReadLevel::Linearizable), None)];
    three.read(members[0], &read);
    let mut earlier = Vec::new();
    three.pass(|_, _, items| earlier.extend(items.iter().find(|item| is(item, ItemKind::Confirmed)).cloned()));
    assert_eq!(three.answers.len(), 1);
    three.read(members[0], &read);
    // Whatever is answered now is what was answered before.
    three.pass(|_, _, items| {
        for item in items.iter_mut().filter(|item| is(item, ItemKind::Confirmed)) {
            item.clone_from(&earlier[0]);
        }
    });
    assert_eq!(
        three.answers.len(),
        1,
        "the second read came after that round had begun"
    );
}

#[test]
fn a_linearizable_read_that_nobody_confirms_is_refused_at_its_deadline() {
    let (mut three, members) = with_entries(1);
    three.read(members[0], &[(&key(7), at(ReadLevel::Linearizable), None)]);
    for _ in 0..10 {
        three.wait(100);
        three.pass(|_, _, items| items.retain(|item| !is(item, ItemKind::Confirm)));
    }
    assert_eq!(three.answers, [(Outcome::NoQuorum, 0, 0)]);
}

#[test]
fn a_linearizable_read_named_to_a_follower_is_sent_to_its_writer() {
    let (mut three, members) = with_entries(1);
    three.read(members[1], &[(&key(7), here(ReadLevel::Linearizable), None)]);
    let writer = u32::try_from(members[0] + 1).unwrap();
    assert_eq!(three.answers, [(Outcome::NotWriter, 0, writer)]);
}

#[test]
fn any_member_answers_from_what_it_has_and_says_that_it_knows_no_age() {
    let (mut three, members) = with_entries(3);
    three.read(members[1], &[(&key(7), at(ReadLevel::Any), None)]);
    assert_eq!(three.answers, [(Outcome::Done, 3, NO_AGE)]);
}

#[test]
fn a_session_read_is_answered_by_a_follower_that_has_its_token() {
    let (mut three, members) = with_entries(3);
    three.read(members[1], &[(&key(7), at(ReadLevel::Session), session(3))]);
    assert_eq!(three.answers, [(Outcome::Done, 3, NO_AGE)], "nobody else is asked");
}

#[test]
fn a_commit_that_nothing_takes_along_is_told_with_the_tick_and_at_once_where_followers_are_read() {
    let (mut three, members) = with_entries(1);
    let send = |three: &mut Three| {
        let id = three.ask(&key(7), b"more");
        three.send(members[0], id);
    };
    send(&mut three);
    assert_eq!(commits(&mut three), 0, "nobody waits for it");
    assert_eq!(three.replies.len(), 2, "but the client, who has its reply");
    // The next run says it, and no other word does.
    send(&mut three);
    assert_eq!(commits(&mut three), 0);
    three.wait(10);
    assert_eq!(commits(&mut three), 2, "one for each follower");
    three.wait(10);
    assert_eq!(commits(&mut three), 0, "it was told");
    three.read(members[1], &[(&key(7), here(ReadLevel::Session), session(3))]);
    assert_eq!(commits(&mut three), 0, "there is nothing to tell");
    send(&mut three);
    assert_eq!(commits(&mut three), 2, "it is read");
    three.read(members[1], &[(&key(7), here(ReadLevel::Session), session(4))]);
    assert_eq!(three.answers, [(Outcome::Done, 3, NO_AGE), (Outcome::Done, 4, NO_AGE)]);
    // Nobody has read for a while.
    three.wait(2_000);
    commits(&mut three);
    send(&mut three);
    assert_eq!(commits(&mut three), 0);
    // A read that is the first asks the writer, who tells it then.
    three.read(members[1], &[(&key(7), here(ReadLevel::Session), session(5))]);
    assert_eq!(three.answers.len(), 2);
    assert_eq!(commits(&mut three), 2);
    assert_eq!(three.answers[2..], [(Outcome::Done, 5, NO_AGE)]);
}

#[test]
fn a_session_read_is_held_until_its_follower_has_what_the_token_names() {
    let (mut three, members) = with_entries(3);
    let id = three.ask(&key(7), b"more");
    three.send(members[0], id);
    three.read(members[1], &[(&key(7), here(ReadLevel::Session), session(4))]);
    assert_eq!(three.answers, []);
    three.pass(|_, _, _| ());
    assert_eq!(three.answers, [(Outcome::Done, 4, NO_AGE)]);
}

#[test]
fn a_session_read_that_its_follower_is_behind_of_goes_to_the_writer() {
    let (mut three, members) = with_entries(3);
    let id = three.ask(&key(7), b"more");
    three.send(members[0], id);
    // This follower hears nothing of it; the other one does.
    let deaf = members[1];
    let lose = |_: usize, receiver: usize, items: &mut Vec<Vec<u8>>| {
        let is_news = |item: &Vec<u8>| is(item, ItemKind::Append) || is(item, ItemKind::Commit);
        items.retain(|item| receiver != deaf || !is_news(item));
    };
    three.pass(lose);
    for header in [at(ReadLevel::Session), here(ReadLevel::Session)] {
        three.read(deaf, &[(&key(7), header, session(4))]);
    }
    three.pass(lose);
    assert_eq!(three.answers, []);
    three.wait(100);
    three.pass(lose);
    let writer = u32::try_from(members[0] + 1).unwrap();
    assert_eq!(
        three.answers,
        [(Outcome::NotWriter, 0, writer), (Outcome::Done, 4, NO_AGE)],
        "who named this member is told who writes, the other is answered from there"
    );
}

#[test]
fn a_bounded_read_asks_the_writer_once_and_then_is_answered_here_until_its_time_is_over() {
    let (mut three, members) = with_entries(3);
    let read = [(&key(7), here(ReadLevel::Bounded), bounded(50))];
    three.read(members[1], &read);
    assert_eq!(three.answers, [], "it does not know how fresh it is");
    let mut kinds = Vec::new();
    three.pass(|_, _, items| kinds.extend(items.iter().map(|item| item[0])));
    let count = |kind: ItemKind| kinds.iter().filter(|other| **other == kind as u8).count();
    assert_eq!((count(ItemKind::Echo), count(ItemKind::Echoed)), (1, 1));
    assert_eq!(three.answers, [(Outcome::Done, 3, 0)]);
    three.wait(40);
    three.read(members[1], &read);
    assert_eq!(three.answers[1..], [(Outcome::Done, 3, 40)]);
    three.wait(20);
    three.pass(|_, _, _| ());
    three.read(members[1], &read);
    assert_eq!(three.answers.len(), 2, "60 ms are more than it may be old");
    three.pass(|_, _, _| ());
    assert_eq!(three.answers[2..], [(Outcome::Done, 3, 0)]);
}

#[test]
fn an_echo_is_answered_once_a_round_is_over_that_began_after_it() {
    let (mut three, members) = with_entries(3);
    three.read(members[1], &[(&key(7), here(ReadLevel::Bounded), bounded(50))]);
    let mut echoed = 0;
    three.pass(|_, _, items| {
        items.retain(|item| !is(item, ItemKind::Confirmed));
        echoed += items.iter().filter(|item| is(item, ItemKind::Echoed)).count();
    });
    assert_eq!(
        (echoed, three.answers.len()),
        (0, 0),
        "nobody has confirmed that its writer is one"
    );
}

#[test]
fn a_read_comes_after_what_was_sent_before_it_in_its_ordered_lane() {
    let mut three = Three::open();
    three.order();
    let (_, members) = three.place(&key(7));
    let ids: Vec<_> = (0..2).map(|_| three.ask(&key(7), b"one")).collect();
    let after = |number: u32, three: &Three| RequestHeader {
        session: three.session(),
        mark: number.into(),
        ..at(ReadLevel::Linearizable)
    };
    let header = after(2, &three);
    three.read(members[0], &[(&key(7), header, None)]);
    three.send(members[0], ids[0]);
    three.pass(|_, _, _| ());
    assert_eq!(three.answers, [], "the second message is under way");
    three.send(members[0], ids[1]);
    three.pass(|_, _, _| ());
    assert_eq!(three.answers, [(Outcome::Done, 2, 0)]);
    let header = after(3, &three);
    three.read(members[0], &[(&key(7), header, None)]);
    three.pass(|_, _, _| ());
    three.wait(200);
    assert_eq!(three.answers[1..], [(Outcome::Gap, 0, 3)]);
}
