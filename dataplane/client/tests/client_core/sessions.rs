//! Births, renewals and expiry of sessions.

use waterpark_client::{ClientError, ClientOptions, SESSION_RENEWAL_MS, SendOptions};
use waterpark_wire::reply::{MAYBE, Outcome};

use crate::script::{MS, Script, Seen, WALL_MS};

fn birth_s(seen: &Seen) -> u64 {
    u64::from_le_bytes(*seen.session.first_chunk().unwrap()) >> 1
}

fn long() -> SendOptions {
    SendOptions {
        timeout_ms: 3_600_000,
        ..SendOptions::default()
    }
}

/// Bounds under which a node may think for an hour.
fn patient() -> ClientOptions {
    ClientOptions {
        silence_ms: u32::MAX,
        ..ClientOptions::default()
    }
}

#[test]
fn a_session_is_born_in_the_cluster_s_second() {
    let mut script = Script::ready(ClientOptions::default());
    script.now_ns += 7_000 * MS;
    let (_, seen) = script.sent(3, &SendOptions::default());
    assert_eq!(birth_s(&seen), (WALL_MS + script.now_ns / MS) / 1000);
}

#[test]
fn at_45_minutes_a_lane_that_has_run_empty_goes_on_in_a_new_session() {
    let mut script = Script::ready(ClientOptions::default());
    let (_, old) = script.sent(3, &SendOptions::default());
    script.answer(&old, Outcome::Done, 1, b"");
    script.now_ns += (SESSION_RENEWAL_MS - 1) * MS;
    let (_, same) = script.sent(3, &SendOptions::default());
    assert_eq!((same.session, same.number), (old.session, 2));
    script.answer(&same, Outcome::Done, 2, b"");
    script.now_ns += MS;
    let (_, new) = script.sent(3, &SendOptions::default());
    assert_ne!(new.session, old.session);
    assert_eq!((new.number, new.mark), (1, 1));
    assert_eq!(birth_s(&new) - birth_s(&old), SESSION_RENEWAL_MS / 1000);
}

#[test]
fn a_renewal_waits_until_the_old_lane_has_run_empty() {
    let mut script = Script::ready(patient());
    let (_, old) = script.sent(3, &long());
    script.now_ns += SESSION_RENEWAL_MS * MS;
    script.send(3, b"second", &long()).unwrap();
    assert!(script.turn().is_empty(), "a number of the old session is open");
    script.send(4, b"elsewhere", &long()).unwrap();
    let elsewhere = script.again();
    script.answer(&old, Outcome::Done, 1, b"");
    let new = script.again();
    assert_eq!(
        (new.session, new.number),
        (elsewhere.session, 1),
        "one new session for all groups"
    );
    assert_eq!(new.message, b"second");
}

#[test]
fn an_expired_session_is_followed_by_one_of_the_group_s_own_time() {
    let mut script = Script::ready(ClientOptions::default());
    let (ticket, old) = script.sent(3, &SendOptions::default());
    script.refuse(&old, Outcome::SessionExpired, 1_700_009_999);
    let new = script.again();
    assert_ne!(new.session[8..], old.session[8..]);
    assert_eq!((birth_s(&new), new.number, new.mark), (1_700_009_999, 1, 1));
    assert!(!new.sent_before, "no copy is left anywhere");
    // Other groups keep theirs.
    let (_, elsewhere) = script.sent(4, &SendOptions::default());
    assert_eq!(elsewhere.session, old.session);
    script.answer(&new, Outcome::Done, 1, b"");
    let end = script.end();
    assert_eq!((end.ticket, end.result, end.attempts), (ticket, Ok(Outcome::Done), 2));
}

#[test]
fn the_requests_of_an_expired_session_go_on_in_order_once_all_are_answered() {
    let mut script = Script::ready(ClientOptions::default());
    let ordered = SendOptions {
        ordered: true,
        ..SendOptions::default()
    };
    for message in [b"a", b"b", b"c"] {
        script.send(3, message, &ordered).unwrap();
    }
    let old = script.turn();
    script.refuse(&old[2], Outcome::SessionExpired, 1_700_009_999);
    script.send(3, b"d", &ordered).unwrap();
    script.refuse(&old[0], Outcome::SessionExpired, 1_700_009_999);
    assert!(script.turn().is_empty(), "b may yet take effect in the old session");
    script.refuse(&old[1], Outcome::SessionExpired, 1_700_009_999);
    let new = script.turn();
    let seen: Vec<_> = new.iter().map(|seen| (seen.number, seen.message.as_slice())).collect();
    assert_eq!(seen, [(1, b"a".as_slice()), (2, b"b"), (3, b"c"), (4, b"d")]);
    assert!(
        new.iter()
            .all(|seen| seen.session == new[0].session && seen.session != old[0].session)
    );
}

#[test]
fn an_expired_session_says_nothing_about_an_earlier_copy() {
    let mut script = Script::ready(ClientOptions::default());
    let (_, first) = script.sent(3, &SendOptions::default());
    script.disconnect(first.peer);
    script.pass(100);
    script.turn();
    script.connect_all();
    let second = script.again();
    assert_eq!((second.session, second.number), (first.session, first.number));
    assert!(second.sent_before);
    script.refuse(&second, Outcome::SessionExpired, 1_700_009_999);
    assert_eq!(script.end().result, Err(ClientError::Unknown));
    assert!(script.turn().is_empty(), "it is not sent under another number");
}

#[test]
fn a_doubtful_expiry_is_not_sent_under_another_number_either() {
    let mut script = Script::ready(ClientOptions::default());
    let (_, seen) = script.sent(3, &SendOptions::default());
    script.refuse_with(&seen, Outcome::SessionExpired, 1_700_009_999, MAYBE);
    assert_eq!(script.end().result, Err(ClientError::Unknown));
    assert!(script.turn().is_empty());
}

#[test]
fn the_mark_stays_below_what_waits_for_the_next_session() {
    let mut script = Script::ready(ClientOptions::default());
    let ordered = SendOptions {
        ordered: true,
        ..SendOptions::default()
    };
    script.send(3, b"a", &ordered).unwrap();
    script.send(3, b"b", &ordered).unwrap();
    let old = script.turn();
    script.refuse(&old[0], Outcome::SessionExpired, 1_700_009_999);
    script.disconnect(old[1].peer);
    script.pass(100);
    script.turn();
    script.connect_all();
    let again = script.again();
    // A mark of 2 would let b take effect in the old session, before a in the next one.
    assert_eq!((again.session, again.number, again.mark), (old[1].session, 2, 1));
}
