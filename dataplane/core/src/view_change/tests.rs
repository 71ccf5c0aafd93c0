//! Facts about promises, transfers and openers, each at shards that a test has wired by hand.

use waterpark_wire::ItemKind;
use waterpark_wire::item::Item;
use waterpark_wire::link::{Nack, PIECE_STATE, Piece};
use waterpark_wire::reply::Outcome;
use waterpark_wire::run::SWEEP;

use super::testing::{Sent, Three, WALL_S, member};
use super::{ASK_AGAIN_MS, Answer, Intake};
use crate::config::Limits;
use crate::effects::Happened;
use crate::group::Role;
use crate::ids::{GroupId, Lineage, Seq, View};
use crate::lane::{SESSION_MS, Session};
use crate::log::Log;
use crate::memory::Memory;
use crate::time::MS;
use crate::topology_log::Entry;

const GROUP: GroupId = GroupId(7);
/// A run at its longest, with what goes before it.
const RUN: usize = 34 << 10;

/// Portions of a few runs, sweeps after little.
fn short() -> Limits {
    Limits {
        transfer_frame_bytes: 300,
        transfer_portion_bytes: 300,
        transfer_window_bytes_max: 600,
        sweep_bytes_min: 512,
        sweep_ms: 50,
        ..Limits::default()
    }
}

/// Writes so many messages to actors of a group, each in a run of its own.
fn write(three: &mut Three, group: GroupId, kind: &str, messages: usize, bytes: usize) {
    let actors = three.actors_of(kind, group, 20);
    for message in 0..messages {
        let text = vec![u8::try_from(message % 251).unwrap(); bytes];
        three.send(0, kind, actors[message % actors.len()], &text);
        three.pass();
    }
    let outcomes = three.outcomes(0);
    assert_eq!(outcomes.len(), messages);
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Done));
}

/// Two members of a group whose messages were swept, and a third node that has nothing of it.
fn swept() -> Three {
    swept_under(&short())
}

fn swept_under(limits: &Limits) -> Three {
    let mut three = Three::new(&[0, 1], limits);
    write(&mut three, GROUP, "gauge", 150, 40);
    three.wait_and_settle(400);
    write(&mut three, GROUP, "gauge", 30, 40);
    assert!(three.group(0, GROUP).retained.upto > Seq::ZERO, "a sweep was decided");
    assert!(three.shards[0].counters().swept > 100, "and done");
    three
}

fn is_state(sent: &Sent) -> bool {
    let items = sent.items();
    let mut pieces = items.iter().filter(|(kind, _)| *kind == ItemKind::Piece);
    pieces.any(|(_, bytes)| bytes[1] & PIECE_STATE != 0)
}

/// Groups of pieces and their bytes, in the order in which they left.
fn pieces(sent: &Sent) -> Vec<(GroupId, usize)> {
    let items = sent.items();
    let pieces = items.iter().filter(|(kind, _)| *kind == ItemKind::Piece);
    let group = |bytes: &[u8]| GroupId(Item::new_checked_unpadded(bytes).unwrap().header.group.get());
    pieces
        .map(|(_, bytes)| (group(bytes), bytes.len() - size_of::<Piece>()))
        .collect()
}

#[test]
fn a_seal_is_answered_alike_each_time_and_an_older_one_is_refused() {
    let mut three = Three::new(&[0, 1, 2], &Limits::default());
    write(&mut three, GROUP, "note", 5, 30);
    let before = three.holds(1, GROUP);
    let mut answer = |view: u64| {
        three.turn(1, |shard, now| shard.on_seal(now, member(2), GROUP, View(view), false));
        let sent = three.next().expect("a Seal is answered");
        assert_eq!((sent.from, sent.to, three.sent.len()), (1, 2, 0));
        let held = (
            three.holds(1, GROUP),
            three.group(1, GROUP).role,
            three.group(1, GROUP).promised,
        );
        (sent.items(), held)
    };
    let (first, held) = answer(50);
    assert_eq!(first[0].0, ItemKind::Sealed);
    assert_eq!(held, (before, Role::Sealed, View(50)));
    assert_eq!(answer(50), (first, held), "a repeat changes nothing");
    let (refusal, after) = answer(49);
    let refusal = Item::new_checked_unpadded(&refusal[0].1).unwrap();
    let (nack, _) = Nack::new_checked(&refusal).unwrap();
    assert_eq!((nack.view.get(), nack.promised.get()), (49, 50));
    assert_eq!(after, held);
}

#[test]
fn an_intake_that_loses_a_part_asks_again_and_gets_the_log() {
    let mut three = Three::new(&[0, 1], &short());
    write(&mut three, GROUP, "note", 40, 300);
    let view = three.propose(&[GROUP], &[0, 1, 2]);
    let mut lost = 0;
    three.pass_if(|sent| {
        let is_lost = sent.to == 2 && sent.has(ItemKind::Piece) && lost == 0;
        lost += usize::from(is_lost);
        !is_lost
    });
    assert_eq!(lost, 1);
    assert_ne!(three.holds(2, GROUP).0, view, "it waits for what was lost");
    three.wait(ASK_AGAIN_MS);
    three.settle();
    assert_eq!(three.holds(2, GROUP), three.holds(0, GROUP));
    assert_eq!(three.holds(2, GROUP).0, view);
    assert_eq!(three.group(0, GROUP).role, Role::Writer, "the view is open");
}

#[test]
fn views_that_follow_each_other_cost_no_memory_beyond_their_entries() {
    let mut three = Three::new(&[0, 1, 2], &Limits::default());
    write(&mut three, GROUP, "note", 60, 300);
    let used: Vec<u64> = three.shards.iter().map(|shard| shard.memory().used()).collect();
    let views = 40;
    for view in 0..views {
        three.propose(&[GROUP], &[view % 3, (view + 1) % 3, (view + 2) % 3]);
        three.settle();
    }
    for (node, used) in used.into_iter().enumerate() {
        let more = three.shards[node].memory().used() - used;
        // A run of one entry for each, and a chunk that may have begun.
        assert!(
            more <= views as u64 * 256 + (64 << 10),
            "{more} bytes more at node {node}"
        );
    }
}

#[test]
fn who_collects_a_log_says_with_each_portion_how_far_it_is() {
    let mut three = Three::new(&[0, 1], &short());
    write(&mut three, GROUP, "note", 10, 300);
    let view = three.propose(&[GROUP], &[0, 1, 2]);
    let mut said = Vec::new();
    while let Some(sent) = three.next() {
        three.arrive(&sent);
        let (shard, now) = (&three.shards[2], three.now());
        let report = shard
            .group_index(GROUP)
            .and_then(|index| shard.group_report(now, index));
        said.extend(
            report
                .filter(|report| report.view == view)
                .map(|report| report.progress),
        );
    }
    said.dedup();
    assert!(said.len() >= 8, "ten messages in portions of one: {said:?}");
    assert!(said.is_sorted(), "{said:?}");
    assert!(three.group(2, GROUP).intake.is_none(), "it has all");
}

#[test]
fn what_was_collected_is_not_swapped_in_once_a_newer_view_is_promised() {
    let mut three = Three::new(&[0, 1], &short());
    write(&mut three, GROUP, "note", 10, 300);
    let used = three.shards[2].memory().used();
    three.propose(&[GROUP], &[0, 1, 2]);
    let mut late: Vec<Sent> = Vec::new();
    three.pass_if(|sent| {
        let is_piece = sent.to == 2 && sent.has(ItemKind::Piece);
        if is_piece {
            late.push(sent.clone());
        }
        !is_piece || late.len() == 1
    });
    assert!(late.len() > 1, "the first came, the others are late");
    assert!(three.group(2, GROUP).intake.is_some());
    three.turn(2, |shard, now| shard.on_seal(now, member(1), GROUP, View(99), false));
    late.iter().for_each(|sent| three.arrive(sent));
    assert_eq!(three.holds(2, GROUP), (View(0), Seq::ZERO, 0));
    assert_eq!(three.group(2, GROUP).promised, View(99));
    assert!(three.group(2, GROUP).intake.is_none());
    assert_eq!(three.shards[2].memory().used(), used, "and its memory was given back");
}

#[test]
fn an_answer_to_a_question_of_an_earlier_log_is_not_taken() {
    let mut three = Three::new(&[0, 1], &short());
    write(&mut three, GROUP, "note", 10, 300);
    let view = three.propose(&[GROUP], &[0, 1, 2]);
    let mut first = None;
    three.pass_if(|sent| {
        let is_piece = sent.to == 2 && sent.has(ItemKind::Piece);
        if is_piece && first.is_none() {
            first = Some(sent.clone());
        }
        !is_piece
    });
    // By the time at which it comes the member asks from another point: its own log has gone on since.
    let index = three.shards[2].group_index(GROUP).unwrap();
    let intake = three.shards[2].groups[index].intake.as_mut().unwrap();
    assert_eq!(intake.parts_at, [Seq::ZERO]);
    intake.parts_at = vec![Seq(3)];
    three.arrive(&first.expect("a piece was sent"));
    assert!(three.group(2, GROUP).intake.as_ref().unwrap().beside.is_none());
    three.wait_and_settle(400);
    assert_eq!(three.holds(2, GROUP), three.holds(0, GROUP));
    assert_eq!(three.holds(2, GROUP).0, view);
}

#[test]
fn a_commit_that_is_learnt_while_a_log_is_collected_contradicts_nothing() {
    let mut three = Three::new(&[0, 1], &Limits::default());
    write(&mut three, GROUP, "note", 10, 30);
    let index = three.shards[1].group_index(GROUP).unwrap();
    let answer = Answer {
        log_view: View(98),
        last_seq: Seq(11),
        last_hash: 1,
    };
    three.turn(1, |shard, now| {
        shard.promise(now, index, View(99));
        shard.begin_intake(now, index, (View(99), Lineage(0)), member(0), answer, &[]);
        let group = &mut shard.groups[index];
        let hash = group.log.hash_at(&shard.memory, Seq(5)).expect("each message is a run");
        let mut beside = Log::behind(GROUP, Seq(5), hash);
        let mut at = group.log.find(&shard.memory, Seq(6));
        while let Some(run) = at.and_then(|at| group.log.run_at(&shard.memory, at)) {
            let bytes = &shard.memory.bytes(run.chunk)[run.offset as usize..(run.offset + run.length) as usize];
            let bytes = bytes.to_vec();
            beside.take_any_run(&mut shard.memory, &bytes).expect("it follows");
            at = Some(run.next);
        }
        group.intake.as_mut().expect("begun above").beside = Some((Seq(5), beside));
        group.commit = Seq(7);
    });
    three.sent.clear();
    three.turn(1, |shard, now| shard.finish_intake(now, index));
    assert_eq!(three.group(1, GROUP).role, Role::Sealed, "nobody contradicted it");
    let intake = three.group(1, GROUP).intake.as_ref().expect("it goes on collecting");
    assert!(intake.beside.is_none());
    assert_eq!(intake.parts_at.last(), Some(&Seq(7)), "from what is committed by now");
}

#[test]
fn a_group_that_was_swept_is_handed_over_with_its_state() {
    let mut three = swept();
    let view = three.propose(&[GROUP], &[2, 0, 1]);
    three.settle();
    assert_eq!(three.group(2, GROUP).role, Role::Writer, "the newcomer opened it");
    assert_eq!(three.holds(2, GROUP).0, view);
    three.wait_and_settle(300);
    let tables = three.tables(0, GROUP);
    assert!(three.tables(2, GROUP) == tables && three.tables(1, GROUP) == tables);
    assert_eq!(three.shards[0].counters().states_refused, 0);
    assert_eq!(three.shards[0].snapshots.len(), 0, "who has everything says so");
}

#[test]
fn who_applied_another_log_behind_where_they_part_has_done_none_of_the_sweeps_that_follow() {
    let mut three = swept();
    let index = three.shards[1].row_of(GROUP).unwrap();
    let row = three.group(1, GROUP);
    let is_sweep = |seq: &u64| {
        let (entry, _, _) = row.log.entry(three.shards[1].memory(), Seq(*seq)).unwrap();
        entry.header.flags.get() & SWEEP != 0
    };
    let sweep = (1..=row.log.sealed_seq().0).find(is_sweep).expect("a sweep was logged");
    let open = |after: u64| three.shards[1].open_sweeps(index, Seq(after));
    assert!(!open(sweep).contains(&Seq(sweep)), "it is done there");
    assert!(open(sweep - 1).contains(&Seq(sweep)));
}

/// An actor's number, and what a read of it gives.
type Read = (u32, Vec<(Outcome, Vec<u8>)>);

/// Three members with an acked message for each of two actors. Node 2 answers nothing, so that it is told of a commit by the next run alone,
/// node 1 with the tick.
fn acked() -> (Three, Vec<Read>) {
    let mut three = Three::new(&[0, 1, 2], &Limits::default());
    let mut reads = Vec::new();
    for actor in three.actors_of("note", GROUP, 2) {
        three.send(0, "note", actor, b"acked");
        three.pass_if(|sent| sent.from != 2);
        three.outcomes(0);
        three.read_any(0, "note", actor);
        reads.push((actor, three.replies(0)));
        three.wait(10);
        three.pass_if(|sent| sent.from != 2);
    }
    assert_eq!([1, 2].map(|node| three.group(node, GROUP).commit), [Seq(2), Seq(1)]);
    (three, reads)
}

/// All of them promise a view that nobody opens.
fn seal_all(three: &mut Three) {
    for node in 0..3 {
        three.turn(node, |shard, now| shard.on_seal(now, member(1), GROUP, View(99), false));
    }
    three.pass();
    three.outcomes(0);
    assert_eq!(three.group(0, GROUP).role, Role::Sealed);
}

#[test]
fn a_writer_that_stops_tells_its_followers_how_far_it_committed() {
    let (mut three, reads) = acked();
    seal_all(&mut three);
    for node in 0..3 {
        assert_eq!(three.group(node, GROUP).commit, Seq(2));
        for (actor, acked) in &reads {
            three.read_any(node, "note", *actor);
            assert_eq!(three.replies(node), *acked);
        }
    }
}

#[test]
fn a_writer_that_stopped_shows_what_was_acked_and_asks_others_of_an_actor_whose_last_entry_is_in_doubt() {
    let (mut three, reads) = acked();
    let [(first, of_first), (second, of_second)] = &reads[..] else {
        unreachable!("two actors")
    };
    three.send(0, "note", *second, b"of which nobody knows");
    three.pass_if(|sent| sent.from != 0);
    seal_all(&mut three);
    three.read_any(0, "note", *first);
    assert_eq!(three.replies(0), *of_first);
    three.read_any(0, "note", *second);
    assert_eq!(three.replies(0), [], "it is passed on");
    three.pass();
    assert_eq!(three.replies(0), *of_second);
}

#[test]
fn who_waits_with_a_session_that_is_over_is_not_sent_on_under_another_ones_name() {
    let mut three = Three::new(&[0, 1, 2], &Limits::default());
    let actor = three.actors_of("note", GROUP, 1)[0];
    let session = |birth_s, random: u8| Session::new(birth_s, false, [random; 8]);
    // The hour of the first is over a minute after the beginning, when rows are looked after.
    let (old, new) = (session(WALL_S + 60 - SESSION_MS / 1_000, 1), session(WALL_S, 2));
    three.wait_and_settle(59_900);
    three.send_as(old, 1, 0, "note", actor, b"of the old session");
    three.settle();
    assert_eq!(three.outcomes(0), [Outcome::Done]);
    // Nothing is committed any more: who asks for the reply again waits too.
    three.send_as(session(WALL_S, 3), 1, 0, "note", actor, b"of which nobody knows");
    three.send_as(old, 2, 0, "note", actor, b"of the old session too");
    three.send_as(old, 2, 0, "note", actor, b"of the old session too");
    three.pass_if(|sent| sent.to != 0);
    three.wait(150);
    three.send_as(new, 1, 0, "note", actor, b"of the new session");
    let group = three.group(0, GROUP);
    assert_eq!(
        (group.lanes.find(old), group.lanes.find(new)),
        (None, Some(0)),
        "the row is another one's"
    );
    three.pass_if(|sent| sent.to != 0);
    assert_eq!(three.outcomes(0), []);
    three.turn(0, |shard, now| shard.on_seal(now, member(1), GROUP, View(99), false));
    // The two others are kept for the next writer.
    assert_eq!(three.outcomes(0), [Outcome::Unknown, Outcome::Unknown]);
}

/// One answer may wait for its commit, and one request for an earlier number or a view.
fn narrow() -> Limits {
    Limits {
        waiting_per_group_max: 1,
        held_per_group_max: 1,
        ..Limits::default()
    }
}

#[test]
fn a_repeat_takes_no_more_room_than_there_is_and_what_is_committed_is_told_at_once() {
    let mut three = Three::new(&[0, 1, 2], &narrow());
    let actor = three.actors_of("note", GROUP, 1)[0];
    let session = Session::new(WALL_S, false, [1; 8]);
    three.send_as(session, 1, 0, "note", actor, b"acked");
    three.settle();
    assert_eq!(three.doubts(0), [(Outcome::Done, false)]);
    // Its followers do not hear of the next one, and its client asks for both again and again.
    three.send_as(session, 2, 0, "note", actor, b"under way");
    three.sent.clear();
    for _ in 0..5 {
        three.send_as(session, 2, 0, "note", actor, b"under way");
        assert_eq!(three.doubts(0), [(Outcome::Busy, true)], "it may take effect yet");
        three.send_as(session, 1, 0, "note", actor, b"acked");
        assert_eq!(three.doubts(0), [(Outcome::Done, false)]);
        assert_eq!(three.group(0, GROUP).waiting.len(), 1);
    }
    // Another is refused for certain: nothing of it was logged.
    three.send_as(session, 3, 0, "note", actor, b"too many");
    assert_eq!(three.doubts(0), [(Outcome::Busy, false)]);
    let index = three.shards[0].row_of(GROUP).unwrap();
    three.shards[0].groups[index].followers[0].accepted = Seq(2);
    three.turn(0, |shard, now| shard.advance(now, index));
    assert_eq!(three.doubts(0), [(Outcome::Done, false)], "the first copy of it");
    three.send_as(session, 2, 0, "note", actor, b"under way");
    assert_eq!(three.doubts(0), [(Outcome::Done, false)]);
    assert_eq!(three.group(0, GROUP).log.last_seq(), Seq(2), "each took effect once");
}

#[test]
fn what_waits_for_a_view_is_what_waited_at_its_opener_and_no_more_than_that_may() {
    let limits = narrow();
    let bound = limits.held_per_group_max + 2 * limits.waiting_per_group_max;
    let mut three = Three::new(&[0, 1, 2], &limits);
    let actor = three.actors_of("note", GROUP, 1)[0];
    let session = Session::new(WALL_S, false, [1; 8]);
    // The two others hold the log of a view that does not open; the writer knows nothing of it.
    three.propose(&[GROUP], &[1, 0, 2]);
    for _ in 0..4 {
        three.pass_if(|sent| sent.from != 0 && sent.to != 0);
        three.wait(50);
    }
    three.pass_if(|sent| sent.from != 0 && sent.to != 0);
    three.proposed.clear();
    assert_eq!(three.holds(1, GROUP).0, three.holds(2, GROUP).0);
    assert!(three.holds(1, GROUP).0 > three.holds(0, GROUP).0);
    assert_eq!(three.group(0, GROUP).role, Role::Writer);
    three.read_now(0, "note", actor);
    for _ in 0..4 {
        three.send_as(session, 1, 0, "note", actor, b"under way");
    }
    // It opens the next one itself, from their log: what it logged goes, and who waits for it waits on.
    three.propose(&[GROUP], &[0, 2, 1]);
    let mut most = 0;
    for step in 0..10 {
        three.wait(50);
        if step == 0 {
            three.send_as(session, 2, 0, "note", actor, b"another");
        }
        while let Some(sent) = three.next() {
            three.arrive(&sent);
            most = most.max(three.group(0, GROUP).queued.len());
        }
    }
    assert!(most > 1 && most <= bound, "{most} wait, and {bound} may");
    three.settle();
    assert_eq!(three.group(0, GROUP).role, Role::Writer);
    let told = three.doubts(0);
    let busy = |in_doubt| (Outcome::Busy, in_doubt);
    assert_eq!(told[..3], [busy(true); 3], "repeats of what was logged");
    assert_eq!(
        told[3..5],
        [busy(false); 2],
        "the other message, and the read when its turn came"
    );
    assert_eq!(told[5..], [(Outcome::Done, false)], "by the view that opened");
}

#[test]
fn who_stopped_writing_learns_what_was_committed_and_nothing_of_a_view_that_never_opened() {
    let mut three = Three::new(&[0, 1, 2], &Limits::default());
    let actor = three.actors_of("note", GROUP, 1)[0];
    three.send(0, "note", actor, b"held by all");
    // Followers have it, and their acks are on the way when the writer stops.
    three.pass_if(|sent| sent.to != 0);
    three.sent.clear();
    let index = three.shards[0].row_of(GROUP).unwrap();
    three.turn(0, |shard, now| shard.on_seal(now, member(1), GROUP, View(99), false));
    three.shards[0].groups[index].followers[0].accepted = Seq(1);
    three.turn(0, |shard, now| shard.advance(now, index));
    assert_eq!(three.group(0, GROUP).commit, Seq(1));
    // As an opener holds it that adopted a view, and promised a newer one before it could open.
    three.shards[0].groups[index].view_from = Seq(2);
    three.shards[0].groups[index].commit = Seq::ZERO;
    three.turn(0, |shard, now| shard.advance(now, index));
    assert_eq!(three.group(0, GROUP).commit, Seq::ZERO);
}

#[test]
fn a_member_without_room_or_whose_view_is_over_keeps_no_window_from_other_groups() {
    let mut three = Three::new(&[0, 1], &short());
    write(&mut three, GROUP, "note", 40, 300);
    three.shards[2].memory_mut().fill();
    three.propose(&[GROUP], &[0, 1, 2]);
    three.settle();
    let link = three.link(0, 2);
    let under_way = |three: &Three| three.shards[0].links[link.0 as usize].transfers.under_way();
    assert_eq!(under_way(&three), 0, "who has no room said so");
    let mut three = Three::new(&[0, 1], &short());
    write(&mut three, GROUP, "note", 40, 300);
    three.propose(&[GROUP], &[0, 1, 2]);
    while let Some(sent) = three.next() {
        if sent.to == 2 && sent.has(ItemKind::Piece) {
            let index = three.shards[2].row_of(GROUP).unwrap();
            three.turn(2, |shard, _| shard.drop_intake(index));
        }
        three.arrive(&sent);
    }
    assert_eq!(under_way(&three), 0, "who wants nothing said so");
}

#[test]
fn parts_of_a_state_that_are_lost_doubled_or_out_of_order_do_no_harm() {
    let mut three = swept();
    three.propose(&[GROUP], &[0, 1, 2]);
    let (mut number, mut late) = (0, None);
    for _ in 0..40 {
        while let Some(sent) = three.next() {
            if !is_state(&sent) {
                three.arrive(&sent);
                continue;
            }
            number += 1;
            match number % 4 {
                0 => late = Some(sent),
                1 => {
                    three.arrive(&sent);
                    three.arrive(&sent);
                    late.take().iter().for_each(|late| three.arrive(late));
                }
                2 => {}
                _ => three.arrive(&sent),
            }
        }
        three.wait(50);
    }
    assert!(number > 8, "the state came in {number} frames");
    three.settle();
    three.wait_and_settle(300);
    assert_eq!(three.holds(2, GROUP), three.holds(0, GROUP));
    assert!(three.tables(2, GROUP) == three.tables(0, GROUP));
    assert_eq!(three.shards[2].counters().states_refused, 0);
}

#[test]
fn runs_that_lost_messages_are_not_taken_without_the_state_of_which_a_part_was_lost() {
    // A portion is many frames here: the runs come though the state did not.
    let mut three = swept_under(&Limits {
        transfer_portion_bytes: 64 << 10,
        transfer_window_bytes_max: 64 << 10,
        link_frame_bytes: 600,
        ..short()
    });
    three.propose(&[GROUP], &[0, 1, 2]);
    let mut is_lost = false;
    three.pass_if(|sent| {
        let is_first = is_state(sent) && !is_lost;
        is_lost |= is_first;
        !is_first
    });
    assert!(is_lost);
    assert_eq!(three.holds(2, GROUP).1, Seq::ZERO, "nobody could compute what they did");
    three.wait_and_settle(700);
    assert_eq!(three.holds(2, GROUP), three.holds(0, GROUP));
    assert!(three.tables(2, GROUP) == three.tables(0, GROUP));
}

#[test]
fn who_learns_and_has_computed_more_keeps_it_until_the_state_has_come() {
    let mut three = swept();
    let index = three.shards[1].row_of(GROUP).unwrap();
    let (now, before) = (three.now(), three.tables(1, GROUP));
    let shard = &mut three.shards[1];
    let group = &mut shard.groups[index];
    let last = Answer {
        log_view: group.log_view,
        last_seq: Seq(u64::MAX),
        last_hash: 0,
    };
    // One entry that took effect is not in the log that is learned.
    let after = Seq(group.applied.0 - 1);
    let hash = group.log.hash_at(&shard.memory, after).expect("each message is a run");
    group.intake = Some(Box::new(Intake {
        learns: true,
        beside: Some((after, Log::behind(GROUP, after, hash))),
        ..Intake::new(now, (group.promised, group.lineage), member(0), last)
    }));
    let view = group.promised;
    shard.learn_commit_of(index, member(0), view, after);
    assert!(
        three.group(1, GROUP).applied > after,
        "what was swept cannot be computed anew"
    );
    assert!(three.tables(1, GROUP) == before);
}

#[test]
fn a_state_with_another_hash_is_refused_and_asked_for_anew() {
    let mut three = swept();
    three.propose(&[GROUP], &[0, 1, 2]);
    let mut is_spoiled = false;
    while let Some(sent) = three.next() {
        three.arrive(&sent);
        if is_state(&sent) && !is_spoiled {
            three.shards[0].snapshots.spoil();
            is_spoiled = true;
        }
    }
    assert_eq!(three.shards[2].counters().states_refused, 1);
    assert_eq!(three.holds(2, GROUP).1, Seq::ZERO, "nothing of it is used");
    three.wait_and_settle(700);
    assert_eq!(three.shards[2].counters().states_refused, 1, "the next one is good");
    assert_eq!(three.holds(2, GROUP), three.holds(0, GROUP));
    assert!(three.tables(2, GROUP) == three.tables(0, GROUP));
}

#[test]
fn a_state_is_kept_no_longer_than_the_promise_under_which_it_was_asked_for() {
    let mut three = swept();
    three.propose(&[GROUP], &[0, 1, 2]);
    while let Some(sent) = three.next() {
        if is_state(&sent) {
            break;
        }
        three.arrive(&sent);
    }
    assert_eq!(three.shards[0].snapshots.len(), 1);
    three.turn(0, |shard, now| shard.on_seal(now, member(1), GROUP, View(99), false));
    assert_eq!(three.shards[0].snapshots.len(), 0);
}

#[test]
fn a_run_waits_for_one_frame_at_the_most_and_shares_its_own_with_few_pieces() {
    let limits = Limits::default();
    let mut three = Three::new(&[0, 1], &limits);
    let groups: Vec<GroupId> = (10..16).map(GroupId).collect();
    for group in &groups {
        write(&mut three, *group, "note", 20, 20_000);
    }
    three.propose(&[GROUP], &[0, 1, 2]);
    three.settle();
    assert_eq!(
        three.holds(2, GROUP),
        three.holds(0, GROUP),
        "one group that node 2 follows"
    );
    let actor = three.actors_of("note", GROUP, 1)[0];
    three.propose(&groups, &[0, 1, 2]);
    let (mut shared, mut alone, mut frames, mut most) = (0, 0, 0, 0);
    let mut waits_since = None;
    while let Some(sent) = three.next() {
        if sent.from == 0 && sent.to == 2 {
            frames += 1;
            let bytes = sent.bytes_of(ItemKind::Piece);
            if sent.has(ItemKind::Append) {
                shared += usize::from(bytes > 0);
                assert!(bytes <= limits.transfer_frame_bytes + RUN, "{bytes} bytes beside a run");
                let waited = frames - waits_since.take().expect("a run was asked for");
                assert!(waited <= 2, "a run waited for {waited} frames");
            } else {
                alone += usize::from(bytes > 0);
                assert!(bytes <= limits.link_frame_bytes + RUN, "{bytes} bytes in a frame");
            }
        }
        three.arrive(&sent);
        let under_way = three.shards[0].links.iter().map(|link| link.transfers.under_way());
        most = most.max(under_way.max().unwrap());
        if frames % 3 == 1 && waits_since.is_none() {
            waits_since = Some(frames);
            three.send(0, "note", actor, b"a run of its own");
        }
    }
    three.settle();
    assert!(shared > 3 && alone > 3, "{shared} frames shared, {alone} alone");
    assert!(most >= limits.transfer_portion_bytes && most <= limits.transfer_window_bytes_max);
    for group in &groups {
        assert_eq!(three.holds(2, *group), three.holds(0, *group));
    }
}

#[test]
fn groups_that_recover_together_share_the_link() {
    let mut three = Three::new(&[0, 1], &Limits::default());
    let groups = [GroupId(10), GroupId(11), GroupId(12)];
    for group in groups {
        write(&mut three, group, "note", 40, 20_000);
    }
    three.propose(&groups, &[0, 1, 2]);
    let mut given = [0; 3];
    let mut apart = 0;
    while let Some(sent) = three.next() {
        if sent.to == 2 {
            for (group, bytes) in pieces(&sent) {
                given[group.0 as usize - 10] += bytes;
            }
        }
        // Until the first of them has everything.
        if given.iter().all(|bytes| *bytes < 700_000) {
            apart = apart.max(given.iter().max().unwrap() - given.iter().min().unwrap());
        }
        three.arrive(&sent);
    }
    assert!(given.iter().all(|bytes| *bytes >= 800_000), "{given:?}");
    assert!(
        apart <= (256 << 10) + 2 * RUN,
        "{apart} bytes between the first and the last"
    );
}

#[test]
fn an_opener_without_memory_stands_down_and_another_one_opens() {
    let mut three = Three::new(&[0, 1, 2], &Limits::default());
    three.shards[1].memory_mut().fill();
    three.propose(&[GROUP], &[1, 0, 2]);
    three.settle();
    assert_eq!(
        three
            .happened
            .iter()
            .filter(|told| **told == (1, Happened::NoRoom { group: GROUP }))
            .count(),
        1
    );
    assert!(three.group(1, GROUP).opener.is_none());
    assert_eq!(three.group(1, GROUP).role, Role::Sealed);
    three.wait_and_settle(1_000);
    assert_ne!(
        three.group(0, GROUP).role,
        Role::Writer,
        "nobody writes before another view opens"
    );
    let view = three.propose(&[GROUP], &[2, 0, 1]);
    three.settle();
    assert_eq!(
        (three.group(2, GROUP).role, three.holds(2, GROUP).0),
        (Role::Writer, view)
    );
    assert_eq!(three.holds(0, GROUP).0, view);
    let actor = three.actors_of("note", GROUP, 1)[0];
    three.send(2, "note", actor, b"at the new writer");
    three.settle();
    assert_eq!(three.outcomes(2), [Outcome::Done]);
}

#[test]
fn a_member_without_memory_says_so_once_and_does_not_hold_the_view_up() {
    let mut three = Three::new(&[0, 1], &Limits::default());
    write(&mut three, GROUP, "note", 20, 2_000);
    three.shards[2].memory_mut().fill();
    let view = three.propose(&[GROUP], &[0, 1, 2]);
    three.settle();
    three.wait_and_settle(3_000);
    assert_eq!(three.group(0, GROUP).role, Role::Writer);
    assert_eq!(three.holds(1, GROUP).0, view);
    assert_eq!(three.holds(2, GROUP).0, View(0));
    let told = (2, Happened::NoRoom { group: GROUP });
    assert_eq!(three.happened.iter().filter(|happened| **happened == told).count(), 1);
}

#[test]
fn a_run_in_parts_is_held_when_its_last_part_is() {
    let mut three = Three::new(&[0, 1], &Limits::default());
    let actor = three.actors_of("note", GROUP, 1)[0];
    three.send(0, "note", actor, &[7; 200 << 10]);
    let mut parts = 0;
    while three.holds(1, GROUP).1 == Seq::ZERO {
        let sent = three.next().expect("all parts are sent without an answer to any");
        parts += usize::from(sent.has(ItemKind::Part));
        three.arrive(&sent);
        let is_held = three.holds(1, GROUP).1 > Seq::ZERO;
        assert!(
            is_held || three.group(0, GROUP).commit == Seq::ZERO,
            "committed with {parts} parts"
        );
    }
    assert_eq!(parts, 4);
    three.pass();
    assert_eq!(three.outcomes(0), [Outcome::Done]);
    assert_eq!(three.holds(1, GROUP).1, three.holds(0, GROUP).1);
}

#[test]
fn who_learns_holds_the_log_before_it_is_a_member_and_needs_nothing_more_to_become_one() {
    let mut three = Three::new(&[0, 1], &Limits::default());
    write(&mut three, GROUP, "note", 30, 40);
    let members = vec![member(2)];
    three.decide(&Entry::SetLearners { group: GROUP, members });
    three.settle();
    assert_eq!(three.holds(2, GROUP).1, three.holds(0, GROUP).1);
    assert_eq!(
        three.group(2, GROUP).applied,
        three.group(0, GROUP).commit,
        "what is committed has taken effect"
    );
    write(&mut three, GROUP, "note", 10, 40);
    three.wait_and_settle(200);
    assert_eq!(three.holds(2, GROUP).1, three.holds(0, GROUP).1, "it goes on to ask");
    assert_eq!(three.group(0, GROUP).followers.len(), 1, "and never counts");
    // As a member, and as the one who writes.
    three.propose(&[GROUP], &[2, 0]);
    let mut given = 0;
    while !three.proposed.is_empty() || !three.sent.is_empty() {
        three.pass_if(|sent| {
            given += usize::from(sent.from == 0 && sent.to == 2) * sent.bytes_of(ItemKind::Piece);
            true
        });
        for entry in std::mem::take(&mut three.proposed) {
            three.decide(&entry);
        }
    }
    assert_eq!(three.group(2, GROUP).role, Role::Writer);
    assert_eq!(given, 0, "nothing was left to hand over");
}

#[test]
fn a_long_log_takes_effect_on_a_new_member_tick_by_tick_and_at_once_for_who_reads_there() {
    let limits = Limits {
        apply_entries: 100,
        ..Limits::default()
    };
    let mut three = Three::new(&[0, 1], &limits);
    write(&mut three, GROUP, "note", 1_200, 40);
    three.propose(&[GROUP], &[0, 1, 2]);
    three.settle();
    write(&mut three, GROUP, "note", 5, 40);
    assert_eq!(three.holds(2, GROUP).1, three.holds(0, GROUP).1, "it is a member");
    let behind = |three: &Three| three.group(0, GROUP).commit.0 - three.group(2, GROUP).applied.0;
    let at_first = behind(&three);
    assert!(at_first > 900, "{at_first} entries wait");
    let next_ms = |three: &Three| (three.shards[2].next_tick_ns() - three.now().monotonic_ns) / MS;
    for tick in 1..=4 {
        three.wait(1);
        assert_eq!(behind(&three), at_first - 100 * tick, "about so many with each tick");
        assert_eq!(next_ms(&three), 1, "which come often meanwhile");
    }
    // A read is of all that is committed there.
    let actor = three.actors_of("note", GROUP, 1)[0];
    three.read_any(2, "note", actor);
    assert_eq!(three.outcomes(2), [Outcome::Done]);
    assert_eq!(three.group(2, GROUP).applied, three.group(2, GROUP).commit);
    assert_eq!(three.tables(2, GROUP), three.tables(1, GROUP));
    three.wait(1);
    three.wait(1);
    assert!(next_ms(&three) > 1, "it has caught up");
}

#[test]
fn a_writer_that_is_only_to_learn_stops_and_learns_on_from_what_it_holds() {
    let mut three = Three::new(&[0, 1], &Limits::default());
    write(&mut three, GROUP, "note", 5, 40);
    let members = vec![member(0)];
    three.decide(&Entry::SetLearners { group: GROUP, members });
    three.propose(&[GROUP], &[1, 2]);
    three.settle();
    assert_eq!(three.group(1, GROUP).role, Role::Writer);
    assert_eq!(three.group(0, GROUP).role, Role::Sealed);
    assert_eq!(three.holds(0, GROUP).1, three.holds(1, GROUP).1);
}

#[test]
fn who_holds_all_but_the_first_entry_of_a_view_asks_for_nothing() {
    let mut three = Three::new(&[0, 1, 2], &Limits::default());
    write(&mut three, GROUP, "note", 5, 40);
    let view = three.propose(&[GROUP], &[1, 0, 2]);
    let mut asked = 0;
    while !three.proposed.is_empty() || !three.sent.is_empty() {
        three.pass_if(|sent| {
            asked += usize::from(sent.from != 1 && sent.has(ItemKind::Fetch));
            true
        });
        for entry in std::mem::take(&mut three.proposed) {
            three.decide(&entry);
        }
    }
    assert_eq!(three.group(1, GROUP).role, Role::Writer);
    assert_eq!(asked, 0, "the run came with the Adopt");
    for node in [0, 2] {
        assert_eq!(three.holds(node, GROUP), three.holds(1, GROUP));
        assert_eq!(three.group(node, GROUP).log_view, view);
    }
}
