//! MLLP and HL7: no bytes make framer, parser, key, batch or answer panic; every refusal is reached; and tearing a stream changes nothing.

use std::collections::BTreeSet;

use waterpark_edge::ack::{self, Answer, Code, Mode, Stamp};
use waterpark_edge::hl7::{Contents, Header, Hl7Error, Message, contents};
use waterpark_edge::key::{self, KeyRules};
use waterpark_edge::mllp::{self, Framer, Limits, MllpError, Received};
use waterpark_edge::resend::Fingerprint;
use waterpark_edge::sender::{Options, Sender};
use waterpark_fuzz_tests::mutate::damage;
use waterpark_fuzz_tests::reached::Reached;
use waterpark_fuzz_tests::rng::Rng;
use waterpark_fuzz_tests::{CASES_FOR_COVERAGE, cases};

/// Messages, batches and files that are good, and some in which one thing is missing.
fn samples() -> Vec<Vec<u8>> {
    let admit = "MSH|^~\\&|ADT|HOSPX^1.2^ISO|EHR|DC|20240131||ADT^A01^ADT_A01|4711|P|2.5.1|||AL|NE||UNICODE UTF-8\r\
                 EVN|A01\rPID|1||1001^5^M11^EPI&1.2&ISO^MR~77^^^SSA||TEST^PATIENT^A\\T\\B\rPV1|1|I|||||||||||||||||V7\r";
    let merge = "MSH#*!/%;#A#F#B#G#1##ADT*A40#7#P#2.3\rPID###1*x!2*y*z*AA%1.9\rMRG#5*a*b*AA#3#4\r";
    let visit = "\u{FEFF}MSH|^~\\&|||||||A|1\r\nPV1|1|I|||||||||||||||||V\\X37\\\r\nNTE|1||line\nline\\.br\\\r\n";
    let ack = "MSH|^~\\&|EHR|DC|ADT|HOSPX|1||ACK^A01^ACK|9|P|2.5.1\rMSA|AA|4711|text\r";
    let long = format!("MSH|^~\\&|A|F|B|G|1||A|1\rPID|||{}\r", "x".repeat(520));
    let batch = format!("FHS|^~\\&|A|F\rBHS|^~\\&|A|F|||||||9\r{admit}{merge}BTS|2\rFTS|1\r");
    let texts = [
        admit,
        merge,
        visit,
        ack,
        &long,
        &batch,
        "",
        "hello",
        "MSH",
        "MSH|^~\\&|A|F|B|G|1|||1\r",
        "MSH|^~\\&|A|F|B|G|1||A||P\r",
        "MSH|^~\\&|A|F|B|G|1||A|1\rEVN|\r",
        "MSH|^~\\&|A|F|B|G|1||ADT^A40|1\rPID|||1\rMRG|\r",
        "BHS|^~\\&\rMSH|^~\\&|\r",
        "FHS|^~\\&\rFTS|x\r",
        "FHS|^~\\&\rBTS|\r",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Does with a body all that a link does, and a little more.
fn take(body: &[u8], rules: &KeyRules, out: &mut Vec<u8>) -> Result<(), Hl7Error> {
    let taken = match contents(body)? {
        Contents::Message(message) => take_message(&message, rules),
        Contents::Batch(batch) => {
            let mut count = 0;
            let mut taken = Ok(());
            for bytes in batch.messages() {
                count += 1;
                taken = taken.and(Message::parse(bytes).and_then(|message| take_message(&message, rules)));
            }
            assert_eq!(count, batch.message_count());
            taken
        }
    };
    let answer = taken.map_or_else(Answer::of_error, |()| Answer::accept());
    out.clear();
    write_answer(&Header::of_refused(body), &answer, out);
    taken
}

fn take_message(message: &Message<'_>, rules: &KeyRules) -> Result<(), Hl7Error> {
    let mut bytes = 0;
    for segment in message.segments() {
        bytes += segment.raw().len();
        for repetition in segment.field(3).repetitions() {
            let value = repetition.component(4).subcomponent(2).value();
            assert!(value.len() <= repetition.raw().len());
        }
    }
    assert!(bytes <= message.original().len());
    let fingerprint = Fingerprint::of(message);
    assert_eq!(fingerprint, Fingerprint::of(message));
    let key = key::key_of(message, rules)?;
    assert_eq!(key.as_ref().kind_str(), key::KIND);
    key::merges(message, rules).try_for_each(|merge| merge.map(drop))
}

/// An answer is one whole frame, whatever it answers.
fn write_answer(header: &Header<'_>, answer: &Answer, out: &mut Vec<u8>) {
    let stamp = Stamp {
        control_id: b"W1",
        time: b"20240131",
    };
    let due = ack::due(Mode::Enhanced, header, answer.verdict, answer.is_held);
    let code = due.accept.or(due.application).unwrap_or(Code::AR);
    ack::write(out, header, code, answer, &stamp);
    let body = &out[1..out.len() - 2];
    assert!(mllp::fits(body) && out.ends_with(b"\x1C\r"));
    let read = Message::parse(body).expect("what we write, we read");
    assert!(read.segment("MSA").is_some());
}

#[test]
fn bodies_are_taken_or_refused_and_answered_in_one_frame() {
    let samples = samples();
    let rules = KeyRules {
        authorities: vec![b"SSA".to_vec(), b"1.9".to_vec()],
    };
    let (cases, mut rng, mut reached) = (cases(2), Rng::new(60), Reached::default());
    let (mut bytes, mut out) = (Vec::new(), Vec::new());
    for case in 0..cases {
        bytes.clear();
        bytes.extend_from_slice(rng.sample(&samples));
        // Each sample comes as it is now and then.
        if case % 16 > 0 {
            let other = rng.sample(&samples);
            damage(&mut rng, &mut bytes, other);
        }
        reached.note(take(&bytes, &rules, &mut out));
        let head = &bytes[..rng.below(bytes.len() + 1)];
        out.clear();
        write_answer(&Header::of_head(head), &Answer::of_error(Hl7Error::Empty), &mut out);
    }
    reached.assert_exactly(Hl7Error::ALL, cases);
}

/// Bytes that matter to a framer.
const PIECES: [&[u8]; 7] = [
    b"\x0B",
    b"\x1C",
    b"\x1C\r",
    b"\r",
    b"\x0BMSH|",
    b"\x0BM",
    b"\xEF\xBB\xBF",
];

/// What came of a stream: which, how many bytes, and their first.
type Got = (u8, u64, Vec<u8>);

fn fed<'a>(limits: Limits, reads: impl Iterator<Item = &'a [u8]>) -> (Vec<Got>, Result<(), MllpError>) {
    let mut framer = Framer::new(limits);
    let mut all = Vec::new();
    let mut on = |received: Received<'_>| {
        all.push(match received {
            Received::Message(body) => (0, body.len() as u64, body.to_vec()),
            Received::TooLong { head, bytes } => (1, bytes, head.to_vec()),
            Received::Cut { head, bytes } => (2, bytes, head.to_vec()),
        });
    };
    let mut end = Ok(());
    for read in reads {
        end = framer.feed(read, false, &mut on);
        if end.is_err() {
            break;
        }
    }
    let end = end.and_then(|()| framer.finish(&mut on));
    (all, end)
}

// Each case goes through two framers and a sender: a quarter of the cases.
#[test]
fn streams_give_the_same_however_they_are_torn() {
    let samples = samples();
    let limits = Limits {
        message_bytes_max: 200,
        skipped_bytes_max: 500,
        junk_bytes_max: 300,
    };
    let (cases, mut rng) = (cases(4), Rng::new(61));
    let (mut errors, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    let mut stream = Vec::new();
    for _ in 0..cases {
        stream.clear();
        for _ in 0..=rng.below(3) {
            mllp::write(&mut stream, rng.sample(&samples));
        }
        for _ in 0..rng.below(4) {
            let piece = *rng.one_of(&PIECES);
            let at = rng.below(stream.len() + 1);
            stream.splice(at..at, piece.iter().copied());
        }
        let other = rng.sample(&samples);
        damage(&mut rng, &mut stream, other);
        let whole = fed(limits, std::iter::once(&stream[..]));
        let size = 1 + rng.below(64);
        assert_eq!(fed(limits, stream.chunks(size)), whole, "in reads of {size}");
        kinds.extend(whole.0.iter().map(|got| got.0));
        errors.extend(whole.1.err());
        // The same bytes as answers: a sender hears them out, and nothing ends that was not sent.
        let mut sender = Sender::new(Options::default());
        sender.submit(7, samples[0].clone()).expect("it is good");
        sender.on_connected();
        sender.poll(0, &mut Vec::new());
        let mut ends = 0;
        let heard = sender.on_received(1, &stream, |_| ends += 1);
        assert!(heard.is_ok() && ends <= 1);
        assert_eq!(ends + sender.waiting(), 1);
    }
    if cases >= CASES_FOR_COVERAGE {
        assert_eq!(errors, MllpError::ALL.iter().copied().collect());
        assert_eq!(kinds, BTreeSet::from([0, 1, 2]));
    }
}
