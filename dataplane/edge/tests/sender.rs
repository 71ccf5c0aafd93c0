//! The sender against scripted receivers: what leaves when, and how each message ends.

use proptest::prelude::*;
use waterpark_edge::ack::Code;
use waterpark_edge::hl7::{Hl7Error, Message};
use waterpark_edge::mllp::{self, Framer, Limits, Received};
use waterpark_edge::sender::{Counts, End, Fate, Options, Sender, SubmitError};

const OPTIONS: Options = Options {
    pipeline_max: 1,
    waiting_max: 8,
    ack_timeout_ms: 1000,
    attempts_max: 3,
    back_off_ms: 100,
    back_off_max_ms: 300,
    ack_bytes_max: 1000,
};

fn letter(id: &str) -> Vec<u8> {
    format!("MSH|^~\\&|A|F|B|G|1||ADT^A01|{id}\rPID|||1\r").into_bytes()
}

fn ack(code: &str, id: &str) -> Vec<u8> {
    let mut out = Vec::new();
    mllp::write(
        &mut out,
        format!("MSH|^~\\&|B|G|A|F|1||ACK|9\rMSA|{code}|{id}|why\r").as_bytes(),
    );
    out
}

/// A sender with what it did, so that a test reads as a script.
struct Script {
    sender: Sender,
    ends: Vec<End>,
}

impl Script {
    fn new(options: Options, ids: &[&str]) -> Script {
        let mut script = Script {
            sender: Sender::new(options),
            ends: Vec::new(),
        };
        for (tag, id) in (0..).zip(ids) {
            script
                .sender
                .submit(tag, letter(id))
                .expect("the script's messages are good");
        }
        script.sender.on_connected();
        script
    }

    /// The control ids that leave now.
    fn sent(&mut self, now_ms: u64) -> Vec<String> {
        let mut out = Vec::new();
        self.sender.poll(now_ms, &mut out);
        ids(&out)
    }

    fn answer(&mut self, now_ms: u64, code: &str, id: &str) {
        let ends = &mut self.ends;
        self.sender
            .on_received(now_ms, &ack(code, id), |end| ends.push(end))
            .expect("the script speaks MLLP");
    }

    fn tick(&mut self, now_ms: u64) -> bool {
        let ends = &mut self.ends;
        self.sender.on_tick(now_ms, |end| ends.push(end))
    }

    fn fates(&self) -> Vec<(u64, Fate)> {
        self.ends.iter().map(|end| (end.tag, end.fate.clone())).collect()
    }
}

fn ids(stream: &[u8]) -> Vec<String> {
    let mut ids = Vec::new();
    let on = |received: Received<'_>| {
        let Received::Message(body) = received else {
            panic!("whole frames leave");
        };
        let message = Message::parse(body).expect("what was sent can be read");
        ids.push(String::from_utf8(message.header().control_id().to_vec()).expect("ids are ASCII"));
    };
    Framer::new(Limits::default())
        .feed(stream, false, on)
        .expect("what was sent is MLLP");
    ids
}

#[test]
fn one_message_is_outstanding_and_the_next_follows_its_ack() {
    let mut script = Script::new(OPTIONS, &["1", "2"]);
    assert_eq!(script.sent(0), ["1"]);
    assert_eq!(script.sent(1), [""; 0]);
    script.answer(5, "AA", "1");
    assert_eq!(script.sent(5), ["2"]);
    script.answer(9, "CA", "2");
    assert_eq!(
        script.fates(),
        [(0, Fate::Accepted(Code::AA)), (1, Fate::Accepted(Code::CA))]
    );
    assert_eq!(
        (script.ends[0].attempts, script.ends[0].took_ms, script.ends[1].took_ms),
        (1, 5, 4)
    );
    assert_eq!(script.ends[0].message, letter("1"));
    assert_eq!(script.sender.waiting(), 0);
    assert_eq!(script.sender.next_ms(9), None);
}

#[test]
fn an_answer_to_something_else_ends_nothing() {
    let mut script = Script::new(OPTIONS, &["1"]);
    script.sent(0);
    script.answer(1, "AA", "2");
    script.answer(1, "AA", "");
    let ends = &mut script.ends;
    let junk = b"\x0Bhello\x1C\r\x0BMSH|^~\\&|\rMSA|ZZ|1\x1C\r\x0BMSH|^~\\&|\r\x1C\r";
    script.sender.on_received(1, junk, |end| ends.push(end)).unwrap();
    assert!(script.ends.is_empty());
    assert_eq!(script.sender.in_flight(), 1);
    let counts = script.sender.counts();
    assert_eq!((counts.strays, counts.unreadable), (2, 3));
    script.answer(2, "AA", "1");
    script.answer(3, "AA", "1");
    assert_eq!(script.fates(), [(0, Fate::Accepted(Code::AA))]);
    assert_eq!(script.sender.counts().strays, 3);
}

#[test]
fn an_answer_may_come_torn() {
    let mut script = Script::new(OPTIONS, &["1"]);
    script.sent(0);
    for byte in ack("AA", "1").chunks(1) {
        assert!(script.ends.is_empty());
        let ends = &mut script.ends;
        script.sender.on_received(1, byte, |end| ends.push(end)).unwrap();
    }
    assert_eq!(script.ends.len(), 1);
}

#[test]
fn a_rejection_ends_at_once_with_the_receivers_text() {
    for code in ["AR", "CR"] {
        let mut script = Script::new(OPTIONS, &["1", "2"]);
        script.sent(0);
        script.answer(1, code, "1");
        let expected = Fate::Refused(Code::parse(code.as_bytes()).unwrap(), b"why".to_vec());
        assert_eq!(script.fates(), [(0, expected)]);
        assert_eq!(script.sent(1), ["2"], "the next is not held up");
    }
}

#[test]
fn a_rejection_without_an_id_means_the_only_message_in_flight() {
    let mut script = Script::new(OPTIONS, &["1"]);
    script.sent(0);
    script.answer(1, "AR", "");
    assert_eq!(script.ends.len(), 1);
    let mut script = Script::new(
        Options {
            pipeline_max: 2,
            ..OPTIONS
        },
        &["1", "2"],
    );
    script.sent(0);
    script.answer(1, "AR", "");
    assert!(script.ends.is_empty(), "of two, nobody knows which");
}

#[test]
fn an_error_is_repeated_with_doubling_pauses_and_blocks_what_is_newer() {
    let mut script = Script::new(OPTIONS, &["1", "2"]);
    assert_eq!(script.sent(0), ["1"]);
    script.answer(10, "AE", "1");
    assert_eq!(script.sent(109), [""; 0]);
    assert_eq!(script.sender.next_ms(10), Some(110));
    assert_eq!(script.sent(110), ["1"], "not the newer one");
    script.answer(120, "CE", "1");
    assert_eq!(script.sent(319), [""; 0]);
    assert_eq!(script.sent(320), ["1"]);
    script.answer(330, "AE", "1");
    assert_eq!(script.fates(), [(0, Fate::Refused(Code::AE, b"why".to_vec()))]);
    assert_eq!((script.ends[0].attempts, script.ends[0].took_ms), (3, 330));
    assert_eq!(script.sent(330), ["2"]);
    assert_eq!(script.sender.counts().repeats, 2);
}

#[test]
fn a_late_answer_ends_the_connection_and_the_message_goes_again_after_a_pause() {
    let mut script = Script::new(OPTIONS, &["1"]);
    script.sent(0);
    assert_eq!(script.sender.next_ms(0), Some(1000));
    assert!(!script.tick(999));
    assert!(script.tick(1000));
    assert!(!script.sender.wants_connection(1099));
    assert!(script.sender.wants_connection(1100));
    script.sender.on_connected();
    assert_eq!(script.sent(1100), ["1"]);
    assert!(script.tick(2100));
    assert!(!script.sender.wants_connection(2299));
    script.sender.on_connected();
    assert_eq!(script.sent(2300), ["1"]);
    assert!(script.ends.is_empty());
    assert!(script.tick(3300));
    assert_eq!(script.fates(), [(0, Fate::Unanswered)]);
    assert_eq!((script.ends[0].attempts, script.ends[0].took_ms), (3, 3300));
    let expected = Counts {
        sent: 3,
        repeats: 2,
        strays: 0,
        unreadable: 0,
        timeouts: 3,
    };
    assert_eq!(script.sender.counts(), expected);
}

#[test]
fn pauses_between_dials_double_to_their_limit_and_any_answer_resets_them() {
    let mut script = Script::new(OPTIONS, &["1", "2"]);
    let mut now = 0;
    for pause in [100, 200, 300, 300] {
        script.sender.on_disconnected(now, |_| panic!("nothing was sent"));
        assert!(!script.sender.wants_connection(now + pause - 1));
        assert!(script.sender.wants_connection(now + pause), "{pause}");
        now += pause;
    }
    script.sender.on_connected();
    script.sent(now);
    script.answer(now, "AA", "1");
    script.sender.on_disconnected(now, |_| panic!("nothing is in flight"));
    assert!(script.sender.wants_connection(now + 100));
}

#[test]
fn what_was_in_flight_on_a_broken_connection_goes_again_in_order() {
    let mut script = Script::new(
        Options {
            pipeline_max: 3,
            ..OPTIONS
        },
        &["1", "2", "3", "4"],
    );
    assert_eq!(script.sent(0), ["1", "2", "3"]);
    script.answer(1, "AA", "2");
    assert_eq!(script.sent(1), ["4"]);
    let ends = &mut script.ends;
    script.sender.on_disconnected(2, |end| ends.push(end));
    assert_eq!(script.sender.in_flight(), 0);
    script.sender.on_connected();
    assert_eq!(script.sent(102), ["1", "3", "4"]);
    for id in ["4", "1", "3"] {
        script.answer(103, "AA", id);
    }
    assert_eq!(script.ends.iter().map(|end| end.tag).collect::<Vec<_>>(), [1, 3, 0, 2]);
}

#[test]
fn two_messages_with_one_id_are_never_in_flight_together() {
    let mut script = Script::new(
        Options {
            pipeline_max: 3,
            ..OPTIONS
        },
        &["1", "1", "2"],
    );
    assert_eq!(script.sent(0), ["1"], "the third waits too: the order is kept");
    script.answer(1, "AA", "1");
    assert_eq!(script.sent(1), ["1", "2"]);
}

#[test]
fn what_cannot_be_sent_is_refused_with_its_reason() {
    let mut sender = Sender::new(Options {
        waiting_max: 1,
        ..OPTIONS
    });
    assert_eq!(
        sender.submit(0, b"hello".to_vec()),
        Err(SubmitError::Hl7(Hl7Error::NotHl7))
    );
    let torn = [letter("1"), b"NTE|\x1C\r".to_vec()].concat();
    assert_eq!(sender.submit(0, torn), Err(SubmitError::Unframeable));
    assert_eq!(sender.submit(0, letter("1")), Ok(()));
    assert_eq!(sender.submit(1, letter("2")), Err(SubmitError::Full));
    assert_eq!(sender.waiting(), 1);
    let mut out = Vec::new();
    sender.poll(0, &mut out);
    assert!(out.is_empty(), "nothing leaves without a connection");
}

/// What a random receiver does with one message, or with the connection.
#[derive(Clone, Copy, Debug)]
enum Act {
    Accept,
    Error,
    Reject,
    Silence,
    Break,
    Wait(u64),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Whatever a receiver does, every message ends exactly once, is sent at most as often as allowed, and what is in flight stays bounded.
    #[test]
    fn every_message_ends_once(
        acts in proptest::collection::vec(
            prop_oneof![
                Just(Act::Accept), Just(Act::Error), Just(Act::Reject), Just(Act::Silence), Just(Act::Break),
                (0..2000_u64).prop_map(Act::Wait),
            ],
            0..60,
        ),
        pipeline_max in 1..4_usize,
    ) {
        let options = Options { pipeline_max, ..OPTIONS };
        let names: Vec<String> = (0..8).map(|id| format!("id{id}")).collect();
        let mut script = Script::new(options, &names.iter().map(String::as_str).collect::<Vec<_>>());
        let (mut now, mut open) = (0, Vec::<String>::new());
        let quiet = std::iter::repeat_n(Act::Wait(400), 200);
        for act in acts.into_iter().chain(quiet) {
            if script.sender.wants_connection(now) {
                script.sender.on_connected();
                open.clear();
            }
            open.extend(script.sent(now));
            prop_assert!(script.sender.in_flight() <= pipeline_max);
            match act {
                Act::Accept | Act::Error | Act::Reject | Act::Silence => if let Some(id) = open.pop() {
                    let code = match act { Act::Accept => "AA", Act::Error => "AE", Act::Reject => "AR", _ => continue };
                    script.answer(now, code, &id);
                },
                Act::Break => {
                    let ends = &mut script.ends;
                    script.sender.on_disconnected(now, |end| ends.push(end));
                    open.clear();
                }
                Act::Wait(pause) => now += pause,
            }
            if script.tick(now) {
                open.clear();
            }
        }
        prop_assert_eq!(script.sender.waiting(), 0);
        let mut tags: Vec<u64> = script.ends.iter().map(|end| end.tag).collect();
        tags.sort_unstable();
        prop_assert_eq!(tags, (0..8).collect::<Vec<u64>>());
        prop_assert!(script.ends.iter().all(|end| (1..=3).contains(&end.attempts)));
    }
}
