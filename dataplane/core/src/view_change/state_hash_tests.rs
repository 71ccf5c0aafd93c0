//! Facts about members whose state is not what the others made of the same log, at shards that a test has wired by hand.

use waterpark_wire::item::ItemHeader;
use waterpark_wire::link::StateHash;
use waterpark_wire::reply::Outcome;

use super::testing::{Three, member};
use crate::config::Limits;
use crate::controller::Word;
use crate::effects::Happened;
use crate::group::Role;
use crate::ids::{GroupId, Seq};

const GROUP: GroupId = GroupId(7);
/// Entries from one hash to the next.
const EVERY: u64 = 4;

fn three() -> Three {
    let limits = Limits {
        state_hash_entries: EVERY,
        ..Limits::default()
    };
    Three::new(&[0, 1, 2], &limits)
}

/// So many messages to one actor, and time for everybody to hear of their states.
fn send(three: &mut Three, writer: usize, actor: u32, messages: u64) {
    for _ in 0..messages {
        three.send(writer, "note", actor, b"one more");
        three.settle();
    }
    three.wait_and_settle(200);
}

/// A bit of an actor's state flips in the memory of one node.
fn flip(three: &mut Three, node: usize, actor: u32) {
    let row = three.shards[node].row_of(GROUP).unwrap();
    three.shards[node].groups[row].registry.actor_mut(actor).unwrap().state ^= 1 << 17;
}

/// Nodes that said that their state is another one, with the entry.
fn differing(three: &Three) -> Vec<(usize, Seq)> {
    let of = |(node, happened): &(usize, Happened)| match happened {
        Happened::StateDiffers { group: GROUP, seq } => Some((*node, *seq)),
        _ => None,
    };
    three.happened.iter().filter_map(of).collect()
}

#[test]
fn equal_states_are_compared_and_nobody_is_disturbed() {
    let mut three = three();
    let actors = three.actors_of("note", GROUP, 3);
    for actor in &actors {
        send(&mut three, 0, *actor, 5);
    }
    assert_eq!(differing(&three), []);
    // Two others, after the first entry and after each fourth.
    for shard in &three.shards {
        assert_eq!(shard.counters().states_equal, 8);
    }
    assert_eq!(three.outcomes(0), [Outcome::Done; 15]);
}

#[test]
fn a_follower_with_another_state_takes_itself_out_and_the_others_go_on() {
    let mut three = three();
    let actor = three.actors_of("note", GROUP, 1)[0];
    send(&mut three, 0, actor, EVERY);
    flip(&mut three, 2, 0);
    send(&mut three, 0, actor, EVERY);
    assert_eq!(differing(&three), [(2, Seq(2 * EVERY))]);
    let roles = [0, 1, 2].map(|node| three.group(node, GROUP).role);
    assert_eq!(roles, [Role::Writer, Role::Follower, Role::Quarantined]);
    send(&mut three, 0, actor, EVERY);
    let acked = usize::try_from(3 * EVERY).unwrap();
    assert_eq!(three.outcomes(0), vec![Outcome::Done; acked]);
    assert_eq!(three.holds(1, GROUP), three.holds(0, GROUP));
    assert!(three.holds(2, GROUP).1 < three.holds(0, GROUP).1);
}

#[test]
fn what_nobody_asks_for_is_looked_at_in_time() {
    let mut three = three();
    let actors = three.actors_of("note", GROUP, 60);
    for actor in &actors {
        three.send(0, "note", *actor, b"first");
    }
    three.wait_and_settle(200);
    flip(&mut three, 1, 41);
    let mut sent = 0;
    while differing(&three).is_empty() {
        send(&mut three, 0, actors[0], EVERY);
        sent += EVERY;
        // Eight of sixty with each hash.
        assert!(sent < 60 * EVERY, "an actor is never looked at");
    }
    assert_eq!(differing(&three).len(), 1);
    assert_eq!(three.group(1, GROUP).role, Role::Quarantined);
}

#[test]
fn a_writer_with_another_state_stops_and_another_member_writes() {
    let mut three = three();
    let actor = three.actors_of("note", GROUP, 1)[0];
    send(&mut three, 0, actor, EVERY);
    assert_eq!(three.outcomes(0), [Outcome::Done; 4]);
    flip(&mut three, 0, 0);
    // The others hear of the entry and the writer of their hashes; what it was asked last has not come to them.
    for _ in 0..EVERY {
        three.send(0, "note", actor, b"computed from what is wrong");
    }
    three.pass();
    three.wait_and_settle(100);
    assert_eq!(differing(&three), [(0, Seq(2 * EVERY))]);
    let row = three.shards[0].row_of(GROUP).unwrap();
    let report = three.shards[0].group_report(three.now(), row).unwrap();
    assert_eq!(report.word, Word::OutOfService, "another one shall write");
    three.outcomes(0);
    three.send(0, "note", actor, b"asked for meanwhile");
    three.settle();
    assert_eq!(three.outcomes(0), [], "it waits for the next writer");
    three.propose(&[GROUP], &[1, 2, 0]);
    three.settle();
    three.wait_and_settle(200);
    assert_eq!(three.outcomes(0), [Outcome::Done]);
    let roles = [0, 1, 2].map(|node| three.group(node, GROUP).role);
    assert_eq!(roles, [Role::Quarantined, Role::Writer, Role::Follower]);
    assert_eq!(three.tables(1, GROUP), three.tables(2, GROUP));
    assert_eq!(differing(&three).len(), 1);
}

#[test]
fn who_came_later_is_a_witness_and_is_judged() {
    for flipped in [0, 1, 2] {
        let limits = Limits {
            state_hash_entries: EVERY,
            ..Limits::default()
        };
        let mut three = Three::new(&[0, 1], &limits);
        let actor = three.actors_of("note", GROUP, 1)[0];
        send(&mut three, 0, actor, EVERY);
        three.propose(&[GROUP], &[0, 1, 2]);
        three.settle();
        three.wait_and_settle(200);
        flip(&mut three, flipped, 0);
        send(&mut three, 0, actor, 2 * EVERY);
        let nodes: Vec<usize> = differing(&three).into_iter().map(|(node, _)| node).collect();
        assert_eq!(nodes, [flipped]);
        assert_eq!(three.group(flipped, GROUP).role, Role::Quarantined);
    }
}

#[test]
fn one_member_alone_accuses_nobody_and_neither_does_another_form_or_lineage() {
    let mut three = three();
    let actor = three.actors_of("note", GROUP, 1)[0];
    send(&mut three, 0, actor, EVERY);
    let said = |form: u32, lineage: u64, seq: u64| StateHash {
        item: ItemHeader {
            group: GROUP.0.into(),
            aux: form.into(),
            ..ItemHeader::default()
        },
        lineage: lineage.into(),
        seq: seq.into(),
        hash: 77.into(),
        reserved: 0.into(),
    };
    let lineage = three.group(2, GROUP).lineage.0;
    let own = 1;
    for (said, is_heard) in [
        (said(own + 1, lineage, EVERY), false),
        (said(own, lineage + 1, EVERY), false),
        (said(own, lineage, 2 * EVERY), false),
        (said(own, lineage, EVERY), true),
    ] {
        for from in [0, 1] {
            assert_eq!(three.group(2, GROUP).role, Role::Follower);
            let now = three.now();
            three.turn(2, |shard, _| shard.on_state_hash(now, GROUP, member(from), &said));
        }
        let role = three.group(2, GROUP).role;
        assert_eq!(role == Role::Quarantined, is_heard);
    }
}
