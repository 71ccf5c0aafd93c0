//! Reads and documents.

use waterpark_client::{ClientError, ClientOptions, HistoryQuery, PeerId, ReadOptions, Token};
use waterpark_wire::item::ItemHeader;
use waterpark_wire::link::{PART_BYTES, PART_FIRST, PART_LAST, PartHeader};
use waterpark_wire::reply::{HAS_TOKEN, Outcome};
use waterpark_wire::request::{Freshness, HistoryRange, Operation, ReadLevel};

use crate::script::{Script, reply_item};

fn script() -> Script {
    Script::ready(ClientOptions::default())
}

#[test]
fn a_read_takes_no_number_and_brings_its_body() {
    let mut script = script();
    let options = ReadOptions {
        level: ReadLevel::Any,
        tag: 5,
        ..ReadOptions::default()
    };
    script.get(10, &options).unwrap();
    let seen = script.again();
    assert_eq!(
        (seen.operation, seen.number, seen.mark, seen.level),
        (Operation::Get, 0, 0, 1)
    );
    assert!(!seen.here);
    script.answer(&seen, Outcome::Done, 12, b"state");
    let end = script.end();
    assert_eq!(
        (end.tag, end.result, end.body.as_slice()),
        (5, Ok(Outcome::Done), b"state".as_slice())
    );
    assert_eq!(end.token.unwrap().seq, 12);
}

#[test]
fn a_session_read_carries_its_token_and_a_bounded_one_its_bound() {
    let mut script = script();
    script.get(10, &ReadOptions::default()).unwrap();
    let seen = script.again();
    script.answer(&seen, Outcome::Done, 12, b"");
    let token = script.end().token.unwrap();
    let session = ReadOptions {
        level: ReadLevel::Session,
        token: Some(token),
        ..ReadOptions::default()
    };
    script.get(10, &session).unwrap();
    let seen = script.again();
    let freshness = Freshness {
        view: token.view.into(),
        seq: 12.into(),
        ..Freshness::default()
    };
    assert_eq!((seen.level, seen.message.as_slice()), (2, freshness.bytes()));
    script.answer(&seen, Outcome::Done, 12, b"");
    // The token of another group says nothing of this one.
    let other = ReadOptions {
        token: Some(Token {
            group: token.group + 1,
            ..token
        }),
        ..session
    };
    script.get(10, &other).unwrap();
    assert_eq!(script.again().message, Freshness::default().bytes());
    let bounded = ReadOptions {
        level: ReadLevel::Bounded,
        age_ms: 250,
        ..ReadOptions::default()
    };
    script.get(10, &bounded).unwrap();
    let seen = script.again();
    let freshness = Freshness {
        age_ms: 250.into(),
        ..Freshness::default()
    };
    assert_eq!((seen.level, seen.message.as_slice()), (3, freshness.bytes()));
}

#[test]
fn a_history_carries_its_range() {
    let mut script = script();
    let key = script.key(10);
    let key = script.core.prepare(key.as_ref()).unwrap();
    let query = HistoryQuery {
        before_seq: 77,
        entries_max: 3,
        bytes_max: 4_000,
    };
    script
        .core
        .history(script.now_ns, key, query, &ReadOptions::default())
        .unwrap();
    let seen = script.again();
    let range = HistoryRange::read_or_default(&seen.message);
    assert_eq!(seen.operation, Operation::History);
    assert_eq!(
        (range.before_seq.get(), range.entries_max.get(), range.bytes_max.get()),
        (77, 3, 4_000)
    );
}

#[test]
fn a_read_at_a_named_member_goes_to_that_node_alone() {
    let mut script = script();
    let options = ReadOptions {
        at: Some(5),
        ..ReadOptions::default()
    };
    script.get(10, &options).unwrap();
    assert!(script.turn().is_empty(), "nobody else may answer");
    let (peer, address) = script.asked[0].clone();
    assert_eq!(address.to_string(), format!("host-5:{}", 7064 + 256 * 5));
    script.connect_all();
    let seen = script.again();
    assert_eq!((seen.peer, seen.here), (peer, true));
    script.refuse(&seen, Outcome::NotMember, 0);
    let wanted = ClientError::Refused {
        outcome: Outcome::NotMember,
        detail: 0,
    };
    assert_eq!(script.end().result, Err(wanted));
    let nowhere = ReadOptions {
        at: Some(99),
        ..ReadOptions::default()
    };
    assert_eq!(script.get(10, &nowhere), Err(ClientError::NotMember { group: 10 }));
}

#[test]
fn a_read_is_asked_again_and_never_ends_unknown() {
    let mut script = script();
    let options = ReadOptions {
        timeout_ms: 100,
        ..ReadOptions::default()
    };
    script.get(10, &options).unwrap();
    let first = script.again();
    script.disconnect(first.peer);
    script.pass(30);
    script.turn();
    script.connect_all();
    let second = script.again();
    assert!(!second.sent_before, "a read has no effect that could be doubted");
    script.refuse(&second, Outcome::Unknown, 0);
    script.pass(10);
    script.again();
    script.pass(60);
    let wanted = ClientError::Refused {
        outcome: Outcome::Unknown,
        detail: 0,
    };
    assert_eq!(script.end().result, Err(wanted));
    script.get(10, &options).unwrap();
    script.again();
    script.pass(100);
    assert_eq!(script.end().result, Err(ClientError::Deadline));
}

#[test]
fn a_status_comes_from_the_shard_that_is_asked() {
    let mut script = script();
    script
        .core
        .status(script.now_ns, 3, 1, &ReadOptions::default())
        .unwrap();
    script.turn();
    let (peer, address) = script.asked[0].clone();
    assert_eq!(address.to_string(), format!("host-3:{}", 7064 + 256 * 3 + 1));
    script.connect_all();
    let seen = script.turn().remove(0);
    assert_eq!((seen.peer, seen.document), (peer, Some(2)));
    script.document(&seen, b"archive");
    assert_eq!(script.end().body, b"archive");
    let result = script.core.status(script.now_ns, 3, 2, &ReadOptions::default());
    assert_eq!(result, Err(ClientError::NotMember { group: 0 }));
}

#[test]
fn a_long_reply_is_put_together_from_its_parts() {
    let mut script = script();
    script.get(10, &ReadOptions::default()).unwrap();
    let seen = script.again();
    let body: Vec<u8> = (0..200_000u32).map(|at| u8::try_from(at % 249).unwrap()).collect();
    let whole = reply_item(&seen, Outcome::Done, 0, HAS_TOKEN, 6, &body);
    let whole = &whole[..64 + body.len()];
    for (index, piece) in whole.chunks(PART_BYTES).enumerate() {
        let first = if index == 0 { PART_FIRST } else { 0 };
        let last = if (index + 1) * PART_BYTES >= whole.len() {
            PART_LAST
        } else {
            0
        };
        let part = PartHeader {
            item: ItemHeader {
                flags: first | last,
                ..ItemHeader::default()
            },
            total: u32::try_from(whole.len()).unwrap().into(),
            offset: u32::try_from(index * PART_BYTES).unwrap().into(),
            stream: 1.into(),
        };
        let mut item = Vec::new();
        part.push(&mut item, piece);
        assert!(!script.core.has_completions());
        script.say(PeerId(0), &item);
    }
    assert_eq!(script.end().body, body);
}

#[test]
fn nothing_is_routed_before_the_slot_table_is_learnt() {
    let mut script = Script::new(ClientOptions::default());
    let key = waterpark_ring::Key::parse("patient/1").unwrap();
    assert!(matches!(script.core.prepare(key.as_ref()), Err(ClientError::NotReady)));
    let result = script.core.status(script.now_ns, 1, 0, &ReadOptions::default());
    assert_eq!(result, Err(ClientError::NotReady));
    assert!(script.turn().is_empty());
}
