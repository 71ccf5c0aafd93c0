//! What each refusal leads to.

use waterpark_client::{ClientError, ClientOptions, SendOptions};
use waterpark_wire::reply::{MAYBE, Outcome};
use waterpark_wire::request::Operation;

use crate::script::{Script, Seen, writer};

fn refused(outcome: Outcome, detail: u32) -> ClientError {
    ClientError::Refused { outcome, detail }
}

fn script() -> Script {
    Script::ready(ClientOptions::default())
}

/// The second copy is the first one, but for what each copy writes anew.
fn assert_same(first: &Seen, second: &Seen) {
    assert_eq!((first.session, first.number), (second.session, second.number));
    assert_eq!((&first.key, &first.message), (&second.key, &second.message));
    assert_ne!(first.correlation, second.correlation, "a reply names its copy");
}

#[test]
fn busy_is_sent_again_when_the_node_says_with_the_same_number() {
    let mut script = script();
    let (ticket, first) = script.sent(3, &SendOptions::default());
    script.refuse(&first, Outcome::Busy, 30);
    script.pass(29);
    assert!(script.turn().is_empty());
    script.pass(1);
    let second = script.again();
    assert_same(&first, &second);
    assert!(!second.sent_before, "the refusal was definite: no copy is left");
    script.answer(&second, Outcome::Done, 4, b"body");
    let end = script.end();
    assert_eq!((end.ticket, end.result, end.attempts), (ticket, Ok(Outcome::Done), 2));
    assert_eq!((end.token.unwrap().seq, end.body.as_slice()), (4, b"body".as_slice()));
}

#[test]
fn what_passes_by_itself_is_sent_again_with_the_same_number() {
    for outcome in [Outcome::NoQuorum, Outcome::Stopping, Outcome::Gap, Outcome::NotWriter] {
        let mut script = script();
        let (_, first) = script.sent(3, &SendOptions::default());
        script.refuse(&first, outcome, 4);
        script.pass(10);
        let second = script.again();
        assert_same(&first, &second);
        assert!(!second.sent_before, "{outcome:?}");
    }
}

#[test]
fn after_the_deadline_the_last_definite_refusal_is_the_end() {
    let mut script = script();
    let options = SendOptions {
        timeout_ms: 100,
        ..SendOptions::default()
    };
    let (_, mut seen) = script.sent(3, &options);
    for _ in 0..100 {
        script.refuse(&seen, Outcome::NoQuorum, 0);
        script.pass(6);
        let Some(next) = script.turn().pop() else { continue };
        assert_same(&seen, &next);
        seen = next;
    }
    let end = script.end();
    assert_eq!(end.result, Err(refused(Outcome::NoQuorum, 0)));
    assert!(end.attempts > 2);
}

#[test]
fn a_refusal_that_is_not_definite_makes_every_later_one_doubtful() {
    let mut script = script();
    let options = SendOptions {
        timeout_ms: 100,
        ..SendOptions::default()
    };
    let (_, first) = script.sent(3, &options);
    script.refuse_with(&first, Outcome::NoQuorum, 0, MAYBE);
    script.pass(10);
    let second = script.again();
    assert!(second.sent_before);
    assert_same(&first, &second);
    // A node that does not know of the first copy: its refusal alone would look definite.
    script.refuse_with(&second, Outcome::BadRequest, 0, 0);
    assert_eq!(script.end().result, Err(ClientError::Unknown));
}

#[test]
fn unknown_is_asked_again_with_the_same_number_as_long_as_there_is_time() {
    let mut script = script();
    let (_, first) = script.sent(3, &SendOptions::default());
    script.refuse(&first, Outcome::Unknown, 0);
    script.pass(10);
    let second = script.again();
    assert_same(&first, &second);
    assert!(second.sent_before);
    script.answer(&second, Outcome::Settled, 9, b"");
    assert_eq!(script.end().result, Ok(Outcome::Settled));
}

#[test]
fn old_says_nothing_about_the_effect() {
    let mut script = script();
    let (_, seen) = script.sent(3, &SendOptions::default());
    script.refuse(&seen, Outcome::Old, 0);
    assert_eq!(script.end().result, Err(ClientError::Unknown));
}

#[test]
fn what_stays_wrong_is_refused_at_once() {
    for outcome in [
        Outcome::TooLarge,
        Outcome::BadRequest,
        Outcome::GroupLost,
        Outcome::Full,
    ] {
        let mut script = script();
        let (_, seen) = script.sent(3, &SendOptions::default());
        script.refuse(&seen, outcome, 7);
        assert_eq!(script.end().result, Err(refused(outcome, 7)));
    }
}

#[test]
fn the_answers_of_a_handler_are_answers() {
    let logged = [
        Outcome::Done,
        Outcome::Refused,
        Outcome::Trapped,
        Outcome::Voided,
        Outcome::Settled,
    ];
    for outcome in logged {
        let mut script = script();
        let (_, seen) = script.sent(3, &SendOptions::default());
        script.answer(&seen, outcome, 1, b"");
        assert_eq!(script.end().result, Ok(outcome));
    }
}

#[test]
fn not_writer_sends_to_the_writer_that_it_names() {
    let mut script = script();
    let (_, first) = script.sent(3, &SendOptions::default());
    script.refuse(&first, Outcome::NotWriter, 2);
    script.turn();
    let wanted = script.asked.iter().find(|(_, address)| address.host == "host-2");
    assert_eq!(
        wanted.map(|(_, address)| address.port),
        Some(7064 + 512 + 1),
        "node 2, shard 3 mod 2"
    );
    script.connect_all();
    let (_, next) = script.sent(3, &SendOptions::default());
    assert_ne!(next.peer, first.peer);
}

#[test]
fn a_gap_below_the_mark_is_mended_by_a_newer_mark_at_once() {
    let mut script = script();
    let ordered = SendOptions {
        ordered: true,
        ..SendOptions::default()
    };
    script.send(3, b"a", &ordered).unwrap();
    script.send(3, b"b", &ordered).unwrap();
    let seen = script.turn();
    script.refuse(&seen[0], Outcome::TooLarge, 0);
    script.refuse(&seen[1], Outcome::Gap, 1);
    let again = script.again();
    assert_eq!((again.number, again.mark), (2, 2), "number 1 is given up");
}

#[test]
fn one_attempt_reports_the_first_refusal() {
    let mut script = script();
    let once = SendOptions {
        attempts_max: 1,
        ..SendOptions::default()
    };
    for outcome in [Outcome::Busy, Outcome::NoQuorum, Outcome::SessionExpired, Outcome::Gap] {
        let (_, seen) = script.sent(3, &once);
        script.refuse(&seen, outcome, 5);
        assert_eq!(script.end().result, Err(refused(outcome, 5)));
    }
    let (_, seen) = script.sent(3, &once);
    script.refuse_with(&seen, Outcome::Busy, 5, MAYBE);
    assert_eq!(script.end().result, Err(ClientError::Unknown));
    assert!(script.turn().is_empty());
}

#[test]
fn a_late_reply_to_an_earlier_copy_counts_only_if_it_is_logged() {
    let mut script = script();
    let (_, first) = script.sent(3, &SendOptions::default());
    script.refuse(&first, Outcome::Busy, 1);
    script.pass(1);
    let second = script.again();
    script.refuse(&first, Outcome::BadRequest, 0);
    assert_eq!(script.ends(), [], "the second copy is under way");
    script.answer(&first, Outcome::Done, 3, b"");
    assert_eq!(script.end().result, Ok(Outcome::Done));
    script.answer(&second, Outcome::Done, 3, b"");
    assert_eq!(script.ends(), [], "a ticket ends once");
}

#[test]
fn after_the_deadline_of_a_copy_under_way_nothing_is_known() {
    let mut script = script();
    let options = SendOptions {
        timeout_ms: 50,
        ..SendOptions::default()
    };
    let (_, seen) = script.sent(3, &options);
    assert_eq!(seen.timeout_ms, 50);
    script.pass(49);
    assert_eq!(script.ends(), []);
    script.pass(1);
    assert_eq!(script.end().result, Err(ClientError::Unknown));
    // The number is given up: the next one's mark passes it.
    let (_, next) = script.sent(3, &options);
    assert_eq!((next.number, next.mark), (2, 2));
    script.answer(&seen, Outcome::Done, 1, b"");
    assert_eq!(script.ends(), [], "the ticket has ended");
}

#[test]
fn a_held_number_keeps_the_mark_until_a_void_tells() {
    let mut script = script();
    let options = SendOptions {
        timeout_ms: 50,
        hold_unknown: true,
        tag: 1,
        ..SendOptions::default()
    };
    let (ticket, first) = script.sent(3, &options);
    script.pass(50);
    assert_eq!(script.end().result, Err(ClientError::Unknown));
    let (_, other) = script.sent(3, &SendOptions::default());
    assert_eq!((other.number, other.mark), (2, 1), "number 1 may be asked about");
    script.core.void(script.now_ns, ticket, 1_000, 77).unwrap();
    let void = script.again();
    assert_eq!(
        (void.operation, void.number, void.mark),
        (Operation::Void, first.number, 1)
    );
    assert_eq!((void.session, void.message.len()), (first.session, 0));
    script.answer(&void, Outcome::Voided, 9, b"");
    let end = script.end();
    assert_eq!((end.ticket, end.tag, end.result), (ticket, 77, Ok(Outcome::Voided)));
    assert_eq!(
        script.core.void(script.now_ns, ticket, 1_000, 0),
        Err(ClientError::Gone)
    );
    assert_eq!(script.sent(3, &SendOptions::default()).1.mark, 2);
}

#[test]
fn a_void_that_ends_unknown_is_held_as_before_and_a_release_gives_the_number_up() {
    let mut script = script();
    let options = SendOptions {
        timeout_ms: 50,
        hold_unknown: true,
        ..SendOptions::default()
    };
    let (ticket, _) = script.sent(3, &options);
    script.pass(50);
    assert_eq!(script.end().result, Err(ClientError::Unknown));
    for _ in 0..2 {
        script.core.void(script.now_ns, ticket, 20, 0).unwrap();
        assert_eq!(script.again().operation, Operation::Void);
        script.pass(20);
        assert_eq!(script.end().result, Err(ClientError::Unknown));
    }
    script.core.release(script.now_ns, ticket).unwrap();
    assert_eq!(script.core.release(script.now_ns, ticket), Err(ClientError::Gone));
    let (_, next) = script.sent(3, &SendOptions::default());
    assert_eq!((next.number, next.mark), (2, 2));
    assert_eq!(script.core.open_requests(), 1);
}

#[test]
fn a_void_of_what_was_never_left_open_needs_no_round_trip() {
    let mut script = script();
    let (ticket, seen) = script.sent(3, &SendOptions::default());
    script.refuse(&seen, Outcome::Busy, 500);
    script.core.void(script.now_ns, ticket, 1_000, 0).unwrap();
    assert_eq!(script.end().result, Ok(Outcome::Voided));
    script.pass(600);
    assert!(script.turn().is_empty());
}

#[test]
fn the_end_of_the_client_ends_every_request() {
    let mut script = script();
    let (_, _) = script.sent(3, &SendOptions::default());
    for _ in 0..300 {
        script.send(8, b"m", &SendOptions::default()).unwrap();
    }
    script.turn();
    script.core.close(script.now_ns);
    let ends = script.ends();
    let unknown = ends
        .iter()
        .filter(|end| end.result == Err(ClientError::Unknown))
        .count();
    let closed = ends.iter().filter(|end| end.result == Err(ClientError::Closed)).count();
    // What waited behind the window of 256 numbers was never sent.
    assert_eq!((unknown, closed), (1 + 256, 44));
    assert_eq!(script.core.open_requests(), 0);
    assert_eq!(script.send(3, b"m", &SendOptions::default()), Err(ClientError::Closed));
    assert_eq!(writer(3), (4, 1));
}
