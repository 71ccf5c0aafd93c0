//! The receiving side against a mailroom that answers as the test says: order, repeats of requests, batches, bounds.

use waterpark_edge::ack::Mode;
use waterpark_edge::hl7::Message;
use waterpark_edge::inbound::{Inbound, Instant, Options, Output};
use waterpark_edge::mllp::{self, Framer, Limits, MllpError, Received};
use waterpark_edge::resend::{KNOWN, REUSED_ID};
use waterpark_ring::{ClusterId, KeyRef, NodeId, NodeSpec, Topology, TopologySpec};
use waterpark_wire::item::Items;
use waterpark_wire::reply::{self, Outcome, ReplyHeader};
use waterpark_wire::request::RequestView;

fn topology() -> Topology {
    let node = |id: u16, dc: &str| NodeSpec {
        id: NodeId(id),
        name: format!("{dc}-A-1"),
        host: "127.0.0.1".to_owned(),
        port: 7000 + 256 * id,
        shards: 1,
    };
    let nodes = (1..).zip(["FL", "TN", "TX"]).map(|(id, dc)| node(id, dc)).collect();
    Topology::new(TopologySpec::new(ClusterId(*b"a test's cluster"), nodes)).expect("well-formed")
}

/// What was asked for.
#[derive(Clone, Debug)]
struct Ask {
    correlation: u64,
    session: [u8; 16],
    number: u32,
    timeout_ms: u32,
    key: String,
    message: Vec<u8>,
}

struct World {
    inbound: Inbound,
    out: Output,
    now_ms: u64,
    sent: Vec<u8>,
}

impl World {
    fn new(options: Options) -> World {
        let mut inbound = Inbound::new(options, topology(), *b"sixteen byte key");
        inbound.opened(1);
        World {
            inbound,
            out: Output::default(),
            now_ms: 1_000,
            sent: Vec::new(),
        }
    }

    fn now(&self) -> Instant {
        Instant {
            monotonic_ms: self.now_ms,
            wall_ms: 1_706_702_400_000 + self.now_ms,
        }
    }

    fn raw(&mut self, bytes: &[u8]) -> Vec<Ask> {
        self.inbound.received(self.now(), 1, bytes, &mut self.out);
        self.asks()
    }

    fn send(&mut self, message: &str) -> Vec<Ask> {
        let mut framed = Vec::new();
        mllp::write(&mut framed, message.as_bytes());
        self.raw(&framed)
    }

    fn asks(&mut self) -> Vec<Ask> {
        let bytes = std::mem::take(&mut self.out.requests);
        let mut walk = Items::new(&bytes);
        let mut asks = Vec::new();
        while let Some(item) = walk.step().expect("whole items") {
            let view = RequestView::new_checked(&item).expect("a mailroom takes it");
            let key = KeyRef::new_checked(view.key).expect("a key");
            asks.push(Ask {
                correlation: view.header.correlation.get(),
                session: view.header.session,
                number: view.header.number.get(),
                timeout_ms: view.header.timeout_ms.get(),
                key: key.to_key().to_string(),
                message: view.message.to_vec(),
            });
        }
        for (connection, bytes) in self.out.sends.drain(..) {
            assert_eq!(connection, 1);
            self.sent.extend_from_slice(&bytes);
        }
        asks
    }

    fn reply_with(&mut self, ask: &Ask, outcome: Outcome, detail: u32, body: &[u8]) -> Vec<Ask> {
        let header = ReplyHeader {
            correlation: ask.correlation.into(),
            number: ask.number.into(),
            detail: detail.into(),
            outcome: outcome as u8,
            ..ReplyHeader::default()
        };
        let mut items = Vec::new();
        reply::push(&mut items, &header, body);
        self.inbound.replies(self.now(), &items, &mut self.out);
        self.asks()
    }

    fn reply(&mut self, ask: &Ask, outcome: Outcome) -> Vec<Ask> {
        self.reply_with(ask, outcome, 0, b"")
    }

    fn tick(&mut self, ms: u64) -> Vec<Ask> {
        self.now_ms += ms;
        self.inbound.tick(self.now(), &mut self.out);
        self.asks()
    }

    /// Codes and ids of the answers that have left since this was last called: `AA 1`.
    fn answers(&mut self) -> Vec<String> {
        frames(&std::mem::take(&mut self.sent))
            .iter()
            .map(|frame| answer(frame))
            .collect()
    }
}

fn frames(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut framer = Framer::new(Limits::default());
    let on = |received: Received<'_>| match received {
        Received::Message(body) => frames.push(body.to_vec()),
        other => panic!("{other:?}"),
    };
    framer.feed(bytes, true, on).expect("answers are MLLP");
    frames
}

fn answer(frame: &[u8]) -> String {
    let message = Message::of_answer(frame).expect("an answer is HL7");
    let msa = message.segment("MSA").expect("an answer has MSA");
    let text = |number| String::from_utf8_lossy(msa.field(number).raw()).into_owned();
    format!("{} {}", text(1), text(2))
}

fn adt(patient: &str, id: &str) -> String {
    format!("MSH|^~\\&|A|H|B|G|2024||ADT^A08|{id}|P|2.5\rPID|1||{patient}^^^H^MR\r")
}

#[test]
fn a_message_is_accepted_when_its_request_is_done_and_not_before() {
    let mut world = World::new(Options::default());
    let asks = world.send(&adt("7", "1"));
    assert_eq!(asks.len(), 1);
    assert_eq!(asks[0].key, "patient/7,facility=H");
    assert_eq!(asks[0].message, adt("7", "1").into_bytes(), "the bytes as they came");
    assert!(world.answers().is_empty());
    assert!(!world.inbound.is_answered(1));
    world.reply(&asks[0], Outcome::Done);
    assert_eq!(world.answers(), ["AA 1"]);
    assert!(world.inbound.is_answered(1));
    let counts = world.inbound.counts();
    assert_eq!((counts.messages, counts.accepted, counts.errors), (1, 1, 0));
}

#[test]
fn different_patients_are_under_way_together_and_answered_in_the_order_of_their_messages() {
    let mut world = World::new(Options::default());
    let asks: Vec<Ask> = (1..=4)
        .flat_map(|n| world.send(&adt(&n.to_string(), &n.to_string())))
        .collect();
    assert_eq!(asks.len(), 4);
    world.reply(&asks[3], Outcome::Done);
    world.reply(&asks[1], Outcome::Refused);
    assert!(world.answers().is_empty());
    world.reply(&asks[0], Outcome::Done);
    assert_eq!(world.answers(), ["AA 1", "AE 2"]);
    world.reply(&asks[2], Outcome::Unknown);
    assert_eq!(world.answers(), ["AE 3", "AA 4"]);
}

#[test]
fn the_next_message_of_a_patient_waits_for_the_end_of_the_one_before() {
    let mut world = World::new(Options::default());
    let first = world.send(&adt("7", "1"));
    assert!(world.send(&adt("7", "2")).is_empty());
    let other = world.send(&adt("8", "3"));
    assert_eq!(other.len(), 1, "another patient does not wait");
    let second = world.reply(&first[0], Outcome::Done);
    assert_eq!(second.len(), 1);
    assert_eq!(second[0].message, adt("7", "2").into_bytes());
    world.reply(&other[0], Outcome::Done);
    world.reply(&second[0], Outcome::Done);
    assert_eq!(world.answers(), ["AA 1", "AA 2", "AA 3"]);
}

#[test]
fn a_full_queue_is_asked_again_and_a_patients_order_stays() {
    let mut world = World::new(Options::default());
    let first = world.send(&adt("7", "1"));
    assert!(world.send(&adt("7", "2")).is_empty());
    assert!(world.reply_with(&first[0], Outcome::Busy, 20, b"").is_empty());
    assert_eq!(world.inbound.due_ms(), Some(1_020));
    assert!(world.tick(19).is_empty());
    let again = world.tick(1);
    assert_eq!(again.len(), 1);
    assert_eq!(
        (again[0].message.clone(), again[0].timeout_ms),
        (first[0].message.clone(), 9_980)
    );
    assert_ne!(
        (again[0].session, again[0].number),
        (first[0].session, first[0].number),
        "a number is used once"
    );
    let second = world.reply(&again[0], Outcome::Done);
    world.reply(&second[0], Outcome::Done);
    assert_eq!(world.answers(), ["AA 1", "AA 2"]);
    assert_eq!(world.inbound.counts().asked_again, 1);
}

#[test]
fn what_stays_busy_is_answered_as_an_error_before_its_time_is_over() {
    let mut world = World::new(Options {
        timeout_ms: 50,
        ..Options::default()
    });
    let mut asks = world.send(&adt("7", "1"));
    let mut times = 0;
    while let Some(ask) = asks.pop() {
        times += 1;
        assert!(times < 10);
        asks = world.reply_with(&ask, Outcome::Busy, 20, b"");
        if asks.is_empty() {
            asks = world.tick(20);
        }
    }
    assert_eq!(times, 3, "at 0, 20 and 40 ms");
    assert_eq!(world.answers(), ["AE 1"]);
}

#[test]
fn what_is_refused_for_what_it_is_keeps_its_place() {
    let mut world = World::new(Options::default());
    let first = world.send(&adt("7", "1"));
    assert!(
        world
            .send("MSH|^~\\&|A|H|B|G|2024||ADT^A08|2|P|2.5\rPID|1\r")
            .is_empty()
    );
    assert!(world.send("good morning").is_empty());
    assert!(world.answers().is_empty());
    world.reply(&first[0], Outcome::Done);
    assert_eq!(world.answers(), ["AA 1", "AR 2", "AR "]);
    assert_eq!(world.inbound.counts().rejected, 2);
}

#[test]
fn a_batch_is_stored_message_by_message_and_answered_in_one_frame() {
    let mut world = World::new(Options::default());
    let batch = format!(
        "FHS|^~\\&|A|H|B|G|2024||||F1\rBHS|^~\\&|A|H|B|G|2024||||B1\r{}{}{}BTS|3\rFTS|1\r",
        adt("7", "1"),
        "MSH|^~\\&|A|H|B|G|2024||ADT^A08|2|P|2.5\rPID|1\r",
        adt("8", "3")
    );
    let asks = world.send(&batch);
    assert_eq!(
        asks.iter().map(|ask| &*ask.key).collect::<Vec<_>>(),
        ["patient/7,facility=H", "patient/8,facility=H"]
    );
    assert_eq!(asks[0].message, adt("7", "1").into_bytes(), "a message of its own");
    let next = world.send(&adt("9", "4"));
    world.reply(&next[0], Outcome::Done);
    world.reply(&asks[1], Outcome::Done);
    assert!(world.sent.is_empty());
    world.reply(&asks[0], Outcome::Done);
    let frames = frames(&std::mem::take(&mut world.sent));
    assert_eq!(frames.len(), 2);
    let text = String::from_utf8_lossy(&frames[0]).into_owned();
    let segments: Vec<&str> = text.split('\r').collect();
    assert!(
        segments[0].starts_with("BHS|^~\\&|B|G|A|H|20240131120001+0000||||WP"),
        "{text}"
    );
    assert!(segments[0].ends_with("|F1"), "the id of what it answers: {text}");
    let msa: Vec<&&str> = segments.iter().filter(|segment| segment.starts_with("MSA")).collect();
    assert_eq!(msa.len(), 3, "{text}");
    assert!(msa[0].starts_with("MSA|AA|1") && msa[1].starts_with("MSA|AR|2") && msa[2].starts_with("MSA|AA|3"));
    assert_eq!(
        segments.iter().rev().find(|segment| !segment.is_empty()),
        Some(&"BTS|3")
    );
    assert_eq!(answer(&frames[1]), "AA 4");
    assert_eq!(world.inbound.counts().batches, 1);
}

#[test]
fn a_batch_with_a_wrong_count_is_refused_whole() {
    let mut world = World::new(Options::default());
    let asks = world.send(&format!("BHS|^~\\&|A|H|B|G|2024||||B1\r{}BTS|2\r", adt("7", "1")));
    assert!(asks.is_empty());
    assert_eq!(world.answers(), ["AR B1"]);
}

#[test]
fn a_batch_without_messages_is_answered_too() {
    let mut world = World::new(Options::default());
    assert!(
        world
            .send("FHS|^~\\&|A|F|||||||F1\rBHS|^~\\&|A|F|||||||9\rBTS|0\rFTS|1\r")
            .is_empty()
    );
    let frames = frames(&std::mem::take(&mut world.sent));
    assert_eq!(frames.len(), 1);
    let text = String::from_utf8_lossy(&frames[0]).into_owned();
    assert!(
        text.starts_with("BHS|^~\\&|||A|F|") && text.ends_with("\rBTS|0\r"),
        "{text}"
    );
}

#[test]
fn enhanced_mode_answers_what_is_asked_for() {
    let mut world = World::new(Options {
        mode: Mode::Enhanced,
        ..Options::default()
    });
    let wishing =
        |id: &str, wishes: &str| format!("MSH|^~\\&|A|H|B|G|2024||ADT^A08|{id}|P|2.5|||{wishes}\rPID|1||{id}\r");
    for (id, wishes) in [("1", "AL|AL"), ("2", "AL|NE"), ("3", "NE|NE"), ("4", "|")] {
        let asks = world.send(&wishing(id, wishes));
        world.reply(&asks[0], Outcome::Done);
    }
    assert_eq!(world.answers(), ["CA 1", "AA 1", "CA 2", "AA 4"]);
}

#[test]
fn a_session_that_has_ended_is_followed_by_another() {
    let mut world = World::new(Options::default());
    let asks = world.send(&adt("7", "1"));
    let again = world.reply_with(&asks[0], Outcome::SessionExpired, 0, b"");
    assert_ne!(again[0].session, asks[0].session);
    assert_eq!(again[0].number, 1);
    world.reply(&again[0], Outcome::Done);
    assert_eq!(world.answers(), ["AA 1"]);
}

#[test]
fn a_sender_that_has_ended_its_side_is_still_answered() {
    let mut world = World::new(Options::default());
    let mut framed = Vec::new();
    mllp::write(&mut framed, adt("7", "1").as_bytes());
    framed.pop();
    assert!(world.raw(&framed).is_empty(), "its last byte is missing");
    world.inbound.finished(world.now(), 1, &mut world.out);
    let asks = world.asks();
    assert_eq!(asks.len(), 1, "the end of the stream is the end of the frame");
    assert!(!world.inbound.is_answered(1));
    world.reply(&asks[0], Outcome::Done);
    assert_eq!(world.answers(), ["AA 1"]);
    assert!(world.inbound.is_answered(1));
}

#[test]
fn a_reply_to_a_connection_that_is_gone_does_nothing() {
    let mut world = World::new(Options::default());
    let asks = world.send(&adt("7", "1"));
    world.inbound.closed(1);
    world.reply(&asks[0], Outcome::Done);
    world.reply(&asks[0], Outcome::Done);
    assert_eq!(world.inbound.open(), 0);
    assert!(world.answers().is_empty());
    assert!(world.raw(b"\x0Bx\x1C\r").is_empty(), "nor do its bytes");
}

#[test]
fn repeats_and_reused_ids_are_accepted_and_counted() {
    let mut world = World::new(Options::default());
    for (id, body) in [("1", &b""[..]), ("1", KNOWN), ("1", REUSED_ID)] {
        let asks = world.send(&adt("7", id));
        world.reply_with(&asks[0], Outcome::Done, 0, body);
    }
    assert_eq!(world.answers(), ["AA 1", "AA 1", "AA 1"]);
    let counts = world.inbound.counts();
    assert_eq!((counts.accepted, counts.known, counts.reused_ids), (3, 1, 1));
}

#[test]
fn a_connection_on_which_too_much_waits_is_not_read_from_until_half_of_it_is_answered() {
    let mut world = World::new(Options {
        frames_max: 8,
        ..Options::default()
    });
    let mut asks: Vec<Ask> = Vec::new();
    for n in 0..10 {
        asks.extend(world.send(&adt(&n.to_string(), &n.to_string())));
    }
    assert_eq!(world.out.pauses, [(1, true)]);
    assert_eq!(asks.len(), 8, "what came all the same is refused");
    assert_eq!(world.inbound.counts().crowded, 2);
    for ask in asks.iter().rev() {
        world.reply(ask, Outcome::Done);
    }
    let answers = world.answers();
    assert_eq!(answers.len(), 10);
    assert_eq!((&*answers[7], &*answers[8], &*answers[9]), ("AA 7", "AE 8", "AE 9"));
    assert_eq!(world.out.pauses, [(1, true), (1, false)]);
}

#[test]
fn no_more_than_the_window_is_under_way() {
    let mut world = World::new(Options {
        window: 2,
        ..Options::default()
    });
    let mut asks: Vec<Ask> = (0..4)
        .flat_map(|n| world.send(&adt(&n.to_string(), &n.to_string())))
        .collect();
    assert_eq!(asks.len(), 2);
    let third = world.reply(&asks.remove(0), Outcome::Done);
    assert_eq!(third.len(), 1);
}

#[test]
fn whoever_does_not_speak_mllp_is_closed() {
    let mut world = World::new(Options::default());
    world.raw(&vec![b'x'; 70_000]);
    assert!(
        world.raw(&vec![b'x'; 70_000]).is_empty(),
        "nor is it looked at any more"
    );
    assert_eq!(world.out.closes, [(1, MllpError::Junk)]);
    assert_eq!(world.inbound.counts().not_mllp, 1);
}
