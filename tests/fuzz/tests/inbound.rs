//! The receiving side of MLLP as a whole, under damaged streams in any pieces and replies in any order: nothing panics, and whatever came whole
//! is answered once.

use waterpark_edge::ack::Mode;
use waterpark_edge::hl7::Message;
use waterpark_edge::inbound::{Inbound, Instant, Options, Output};
use waterpark_edge::mllp::{self, Framer, Limits, Received};
use waterpark_fuzz_tests::cases;
use waterpark_fuzz_tests::mutate::damage;
use waterpark_fuzz_tests::rng::Rng;
use waterpark_ring::{ClusterId, NodeId, NodeSpec, Topology, TopologySpec};
use waterpark_wire::item::Items;
use waterpark_wire::reply::{self, Outcome, ReplyHeader};
use waterpark_wire::request::RequestView;

/// Bytes of a case, on average: what is said of a long run is reckoned from the bytes themselves.
const MEBIBYTE: u64 = 1 << 20;

fn topology() -> Topology {
    let node = NodeSpec {
        id: NodeId(1),
        name: "FL-A-1".to_owned(),
        host: "127.0.0.1".to_owned(),
        port: 7000,
        shards: 1,
    };
    Topology::new(TopologySpec {
        members: 1,
        ..TopologySpec::new(ClusterId(*b"a test's cluster"), vec![node])
    })
    .expect("well-formed")
}

fn samples() -> Vec<Vec<u8>> {
    let admit = "MSH|^~\\&|ADT|HOSPX^1.2^ISO|EHR|DC|2024||ADT^A01^ADT_A01|4711|P|2.5.1|||AL|NE||UNICODE UTF-8\r\
                 EVN|A01\rPID|1||1001^5^M11^EPI&1.2&ISO^MR~77^^^SSA||TEST^PATIENT^A\\T\\B\rPV1|1|I|W^1\r";
    let other = "MSH#*!/%;#A#F#B#G#1##ADT*A40#7#P#2.3\rPID###1*x!2*y*z*AA%1.9\rMRG#5*a*b*AA#3#4\r";
    let visit = "\u{FEFF}MSH|^~\\&|||||||A|1\r\nPV1|1|I|||||||||||||||||V\\X37\\\r\n";
    let batch = format!("FHS|^~\\&|A|F\rBHS|^~\\&|A|F|||||||9\r{admit}{other}BTS|2\rFTS|1\r");
    [
        admit,
        other,
        visit,
        &batch,
        "",
        "hello",
        "MSH|^~\\&|A|F|B|G|1||A|1\rEVN|\r",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect()
}

/// What a framer of its own sees in a stream: whole bodies, others, and whether it is given up.
fn frames(limits: Limits, stream: &[u8]) -> (u64, bool) {
    let mut framer = Framer::new(limits);
    let mut count = 0;
    let fed = framer.feed(stream, false, |_| count += 1);
    if fed.is_ok() {
        framer.finish(|_| count += 1).ok();
    }
    (count, fed.is_err())
}

/// Answers to requests, in any order, some of them to be asked again.
fn answer(rng: &mut Rng, requests: &mut Vec<u8>, open: &mut Vec<(u64, u32)>, replies: &mut Vec<u8>) {
    let mut walk = Items::new(requests);
    while let Some(item) = walk.step().expect("whole items") {
        let view = RequestView::new_checked(&item).expect("a mailroom takes it");
        open.push((view.header.correlation.get(), view.header.number.get()));
    }
    requests.clear();
    replies.clear();
    for _ in 0..rng.below(open.len() + 1) {
        let (correlation, number) = open.swap_remove(rng.below(open.len()));
        let header = ReplyHeader {
            correlation: correlation.into(),
            number: number.into(),
            outcome: *rng.one_of(&Outcome::ALL) as u8,
            ..ReplyHeader::default()
        };
        let body = [&b""[..], b"known", b"reused id"][rng.below(3)];
        reply::push(replies, &header, body);
    }
}

// Each case goes through two framers, parser, keys, requests, replies and answers: a quarter of the cases.
#[test]
fn whatever_came_whole_is_answered_once() {
    let samples = samples();
    let (cases, mut rng) = (cases(4), Rng::new(83));
    let topology = topology();
    let (mut fed, mut answered, mut again) = (0, 0, 0);
    let (mut requests, mut replies, mut open) = (Vec::new(), Vec::new(), Vec::new());
    let mut now_ms = 0;
    for case in 0..cases {
        let limits = Limits {
            message_bytes_max: 400,
            skipped_bytes_max: 2_000,
            junk_bytes_max: 500,
        };
        let options = Options {
            limits,
            mode: Mode::Original,
            timeout_ms: 200,
            window: 1 + rng.below(8),
            frames_max: 2 + rng.below(16),
            ..Options::default()
        };
        let mut inbound = Inbound::new(options, topology.clone(), *b"sixteen byte key");
        let mut stream = Vec::new();
        for _ in 0..=rng.below(5) {
            mllp::write(&mut stream, rng.sample(&samples));
        }
        if !rng.once_in(4) {
            let other = rng.sample(&samples);
            damage(&mut rng, &mut stream, other);
        }
        let (frames, given_up) = frames(limits, &stream);
        fed += stream.len() as u64;
        inbound.opened(case);
        let mut out = Output::default();
        let mut sent = Vec::new();
        let mut at = |ms: u64| {
            now_ms += ms;
            Instant {
                monotonic_ms: now_ms,
                wall_ms: 1_700_000_000_000 + now_ms,
            }
        };
        let size = 1 + rng.below(200);
        for piece in stream.chunks(size) {
            inbound.received(at(0), case, piece, &mut out);
            if rng.once_in(2) {
                requests.append(&mut out.requests);
                answer(&mut rng, &mut requests, &mut open, &mut replies);
                inbound.replies(at(1), &replies, &mut out);
            }
        }
        if !given_up {
            inbound.finished(at(0), case, &mut out);
        }
        for _ in 0..1_000 {
            requests.append(&mut out.requests);
            answer(&mut rng, &mut requests, &mut open, &mut replies);
            inbound.replies(at(0), &replies, &mut out);
            inbound.tick(at(5), &mut out);
            if inbound.open() == 0 && out.requests.is_empty() {
                break;
            }
        }
        assert_eq!(inbound.open(), 0, "case {case}: something is asked for for ever");
        assert!(open.is_empty());
        out.sends
            .drain(..)
            .for_each(|(_, bytes)| sent.extend_from_slice(&bytes));
        let mut answers = 0;
        let mut reader = Framer::new(Limits::default());
        let read = reader.feed(&sent, false, |received| match received {
            Received::Message(body) => {
                answers += 1;
                let is_batch = body.starts_with(b"BHS");
                assert!(is_batch || Message::of_answer(body).is_ok(), "{}", body.escape_ascii());
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(read, Ok(()), "answers are MLLP");
        assert_eq!(answers, frames, "case {case}: {}", stream.escape_ascii());
        answered += answers;
        again += inbound.counts().asked_again;
        inbound.closed(case);
    }
    println!(
        "{} MiB in {cases} cases, {answered} answers, {again} asked again",
        fed / MEBIBYTE
    );
    assert!(answered > cases / 2 && again > cases / 100, "the cases say something");
}
