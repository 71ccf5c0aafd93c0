//! Numbers, marks and windows.

use waterpark_client::{ClientError, ClientOptions, SendOptions};
use waterpark_wire::reply::Outcome;

use crate::script::{MESSAGE_BYTES_MAX, Script};

fn options() -> SendOptions {
    SendOptions::default()
}

#[test]
fn numbers_of_a_lane_follow_each_other_and_the_mark_is_the_lowest_open_one() {
    let mut script = Script::ready(ClientOptions::default());
    for _ in 0..4 {
        script.send(3, b"m", &options()).unwrap();
    }
    let first = script.turn();
    let numbers: Vec<_> = first.iter().map(|seen| (seen.number, seen.mark)).collect();
    assert_eq!(numbers, [(1, 1), (2, 1), (3, 1), (4, 1)]);
    script.answer(&first[1], Outcome::Done, 1, b"");
    script.send(3, b"m", &options()).unwrap();
    assert_eq!(script.again().mark, 1, "number 1 is open");
    script.answer(&first[0], Outcome::Done, 2, b"");
    script.send(3, b"m", &options()).unwrap();
    let sixth = script.again();
    assert_eq!((sixth.number, sixth.mark), (6, 3));
}

#[test]
fn each_group_has_its_own_lane_in_one_session() {
    let mut script = Script::ready(ClientOptions::default());
    script.send(3, b"m", &options()).unwrap();
    script.send(8, b"m", &options()).unwrap();
    script.send(3, b"m", &options()).unwrap();
    let mut seen = script.turn();
    seen.sort_by_key(|seen| (seen.group, seen.number));
    let numbers: Vec<_> = seen.iter().map(|seen| (seen.group, seen.number)).collect();
    assert_eq!(numbers, [(3, 1), (3, 2), (8, 1)]);
    assert!(seen.iter().all(|other| other.session == seen[0].session));
}

#[test]
fn ordered_and_unordered_messages_have_sessions_of_their_own() {
    let mut script = Script::ready(ClientOptions::default());
    let (_, unordered) = script.sent(3, &options());
    let (_, ordered) = script.sent(
        3,
        &SendOptions {
            ordered: true,
            ..options()
        },
    );
    assert_ne!(unordered.session, ordered.session);
    assert_eq!((unordered.number, ordered.number), (1, 1));
    assert_eq!((unordered.session[0] & 1, ordered.session[0] & 1), (0, 1));
}

#[test]
fn the_257th_message_waits_for_the_mark_and_never_reuses_a_number() {
    let mut script = Script::ready(ClientOptions::default());
    for tag in 0..300 {
        script.send(5, b"m", &SendOptions { tag, ..options() }).unwrap();
    }
    let first = script.turn();
    assert_eq!(first.len(), 256);
    // Everything but number 1 is answered: the window stands still.
    for (seq, seen) in (1..).zip(&first[1..]) {
        script.answer(seen, Outcome::Done, seq, b"");
    }
    assert!(script.turn().is_empty());
    script.answer(&first[0], Outcome::Done, 999, b"");
    let rest = script.turn();
    let numbers: Vec<_> = rest.iter().map(|seen| (seen.number, seen.mark)).collect();
    let wanted: Vec<_> = (257..=300).map(|number| (number, 257)).collect();
    assert_eq!(numbers, wanted);
    for (seq, seen) in (1000..).zip(&rest) {
        script.answer(seen, Outcome::Done, seq, b"");
    }
    let mut tags: Vec<u64> = script.ends().into_iter().map(|end| end.tag).collect();
    tags.sort_unstable();
    assert_eq!(tags, (0..300).collect::<Vec<_>>(), "each ends once");
}

#[test]
fn where_a_session_is_full_the_next_one_takes_what_comes_and_behind_the_last_messages_wait_in_their_order() {
    let mut script = Script::ready(ClientOptions {
        unordered_sessions_max: 3,
        ..ClientOptions::default()
    });
    for tag in 0..800 {
        script.send(5, b"m", &SendOptions { tag, ..options() }).unwrap();
    }
    let first = script.turn();
    assert_eq!(first.len(), 3 * 256);
    let sessions: Vec<[u8; 16]> = [0, 256, 512].map(|at: usize| first[at].session).into();
    for (at, seen) in first.iter().enumerate() {
        assert_eq!(seen.session, sessions[at / 256]);
        assert_eq!(seen.number as usize, at % 256 + 1);
        assert_eq!(seen.session[0] & 1, 0, "unordered");
    }
    assert!(sessions[0] != sessions[1] && sessions[1] != sessions[2] && sessions[0] != sessions[2]);
    // A message of another group is in the first session, and an ordered one in one of its own.
    let (_, other) = script.sent(6, &options());
    assert_eq!((other.session, other.number), (sessions[0], 1));
    let ordered = SendOptions {
        ordered: true,
        ..options()
    };
    let (_, other) = script.sent(5, &ordered);
    assert!(!sessions.contains(&other.session) && other.number == 1);
    // Whichever session has room takes the one that waits longest.
    script.answer(&first[600], Outcome::Done, 1, b"");
    assert!(script.turn().is_empty(), "its mark stands still");
    script.answer(&first[512], Outcome::Done, 2, b"");
    script.answer(&first[0], Outcome::Done, 3, b"");
    let next = script.turn();
    let taken: Vec<_> = next.iter().map(|seen| (seen.session, seen.number)).collect();
    assert_eq!(taken, [(sessions[2], 257), (sessions[0], 257)]);
    for (seq, seen) in (4..).zip(first.iter().chain(&next)) {
        script.answer(seen, Outcome::Done, seq, b"");
    }
    let rest = script.turn();
    assert_eq!(rest.len(), 30);
    for (seq, seen) in (2_000..).zip(&rest) {
        script.answer(seen, Outcome::Done, seq, b"");
    }
    let mut tags: Vec<u64> = script
        .ends()
        .into_iter()
        .map(|end| end.tag)
        .filter(|tag| *tag > 0)
        .collect();
    tags.sort_unstable();
    assert_eq!(tags, (1..800).collect::<Vec<_>>(), "each ends once");
}

#[test]
fn a_further_session_is_renewed_and_followed_like_the_first() {
    let mut script = Script::ready(ClientOptions {
        unordered_sessions_max: 2,
        ..ClientOptions::default()
    });
    let fill = |script: &mut Script| {
        for tag in 0..300 {
            script.send(5, b"m", &SendOptions { tag, ..options() }).unwrap();
        }
        script.turn()
    };
    let before = fill(&mut script);
    // The group says that the further session has expired: its requests go on in the next one, in their order.
    for seen in &before[256..] {
        script.refuse(seen, Outcome::SessionExpired, 1_000);
    }
    let again = script.turn();
    assert_eq!(again.len(), 44);
    for (at, seen) in again.iter().enumerate() {
        assert_ne!(seen.session, before[256].session);
        assert_eq!((seen.number as usize, seen.session[0] & 1), (at + 1, 0));
    }
    for (seq, seen) in (1..).zip(before[..256].iter().chain(&again)) {
        script.answer(seen, Outcome::Done, seq, b"");
    }
    assert_eq!(script.ends().len(), 300);
    // After 45 minutes both have followers.
    script.pass(46 * 60 * 1_000);
    let later = fill(&mut script);
    assert_eq!(later.len(), 300);
    for old in [&before[0], &again[0]] {
        assert!(later.iter().all(|seen| seen.session != old.session));
    }
    assert_ne!(later[0].session, later[299].session);
}

#[test]
fn a_refused_number_is_given_up_and_its_successor_says_so() {
    let mut script = Script::ready(ClientOptions::default());
    let (_, seen) = script.sent(3, &options());
    script.refuse(&seen, Outcome::BadRequest, 0);
    let wanted = ClientError::Refused {
        outcome: Outcome::BadRequest,
        detail: 0,
    };
    assert_eq!(script.end().result, Err(wanted));
    let (_, next) = script.sent(3, &options());
    assert_eq!((next.number, next.mark), (2, 2));
}

#[test]
fn a_message_above_the_limit_takes_no_number() {
    let mut script = Script::ready(ClientOptions::default());
    let long = vec![1; MESSAGE_BYTES_MAX as usize + 1];
    let wanted = ClientError::Refused {
        outcome: Outcome::TooLarge,
        detail: MESSAGE_BYTES_MAX,
    };
    assert_eq!(script.send(3, &long, &options()), Err(wanted));
    assert_eq!(script.sent(3, &options()).1.number, 1);
}

#[test]
fn one_more_request_than_allowed_is_refused_at_once() {
    let bounds = ClientOptions {
        in_flight_max: 8,
        ..ClientOptions::default()
    };
    let mut script = Script::ready(bounds);
    for _ in 0..8 {
        script.send(3, b"m", &options()).unwrap();
    }
    assert_eq!(script.send(4, b"m", &options()), Err(ClientError::Full));
    let seen = script.turn();
    script.answer(&seen[0], Outcome::Done, 1, b"");
    assert!(script.send(4, b"m", &options()).is_ok());
}

#[test]
fn bytes_of_open_requests_and_of_a_connection_are_bounded() {
    let bounds = ClientOptions {
        open_bytes_max: 10_000,
        ..ClientOptions::default()
    };
    let mut script = Script::ready(bounds);
    assert!(script.send(3, &[0; 9_000], &options()).is_ok());
    assert_eq!(script.send(3, &[0; 1_000], &options()), Err(ClientError::Full));

    let bounds = ClientOptions {
        connection_bytes_max: 10_000,
        ..ClientOptions::default()
    };
    let mut script = Script::ready(bounds);
    // The way to the writer must be up: a connection that is not cannot be behind.
    script.send(3, b"m", &options()).unwrap();
    script.turn();
    script.connect_all();
    assert!(script.send(3, &[0; 9_000], &options()).is_ok());
    assert_eq!(script.send(3, &[0; 1_000], &options()), Err(ClientError::Full));
    script.turn();
    assert!(script.send(3, &[0; 1_000], &options()).is_ok());
}

#[test]
fn all_requests_of_a_turn_share_frames_of_64_kib() {
    let mut script = Script::ready(ClientOptions::default());
    let before = script.frames;
    for index in 0..1_000 {
        script.send(index % 60, &[0; 128], &options()).unwrap();
    }
    assert_eq!(script.turn().len(), 1_000);
    // 1,000 items of 64 + 32 + 128 bytes through the one connection that is up.
    assert_eq!(script.frames - before, 224_000_usize.div_ceil(65_536));
}

#[test]
fn a_message_above_64_kib_travels_in_parts_and_others_go_between() {
    let mut script = Script::ready(ClientOptions::default());
    let long: Vec<u8> = (0..300_000u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
    script.send(3, &long, &options()).unwrap();
    script.send(3, b"short", &options()).unwrap();
    let before = script.frames;
    let seen = script.turn();
    assert_eq!(script.frames - before, 5);
    assert_eq!((seen[0].number, seen[0].message.as_slice()), (2, b"short".as_slice()));
    assert_eq!((seen[1].number, seen[1].message == long), (1, true));
}
