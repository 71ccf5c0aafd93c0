//! Acknowledgements byte for byte, and the one that each dirty input gets.

use proptest::prelude::*;
use waterpark_edge::ack::{self, Answer, Code, Mode, Stamp, Verdict};
use waterpark_edge::hl7::{Contents, Header, Hl7Error, Message, contents};
use waterpark_edge::key::{self, KeyRules};
use waterpark_edge::mllp::{Framer, Limits, Received};
use waterpark_wire::reply::Outcome;

const STAMP: Stamp<'static> = Stamp {
    control_id: b"W1",
    time: b"20240131120000",
};

/// An answer's text without its frame, CR shown as a line end.
fn shown(frame: &[u8]) -> String {
    let body = frame
        .strip_prefix(b"\x0B")
        .and_then(|rest| rest.strip_suffix(b"\x1C\r"));
    let body = body.unwrap_or_else(|| panic!("not one frame: {}", frame.escape_ascii()));
    String::from_utf8_lossy(body).replace('\r', "\n")
}

fn written(text: &[u8], code: Code, answer: &Answer) -> String {
    let mut out = Vec::new();
    ack::write(&mut out, &Header::of_refused(text), code, answer, &STAMP);
    shown(&out)
}

#[test]
fn an_accept_swaps_sender_and_receiver_and_keeps_the_rest() {
    let text =
        b"MSH|^~\\&|APP|HOSPX^1.2^ISO|EHR|DC^3|2024||ADT^A01^ADT_A01|4711|P|2.5.1|||AL|NE||UNICODE UTF-8\rPID|||1";
    assert_eq!(
        written(text, Code::AA, &Answer::accept()),
        "MSH|^~\\&|EHR|DC^3|APP|HOSPX^1.2^ISO|20240131120000||ACK^A01^ACK|W1|P|2.5.1||||||UNICODE UTF-8\nMSA|AA|4711\n"
    );
    assert_eq!(
        written(
            b"MSH|^~\\&|APP|HOSPX|EHR|DC|2024||ADT^A01|4711|T|2.3",
            Code::CA,
            &Answer::accept()
        ),
        "MSH|^~\\&|EHR|DC|APP|HOSPX|20240131120000||ACK^A01|W1|T|2.3\nMSA|CA|4711\n"
    );
    assert_eq!(
        written(b"MSH|^~\\&|||||||ADT|1", Code::AA, &Answer::accept()),
        "MSH|^~\\&|||||20240131120000||ACK|W1||\nMSA|AA|1\n"
    );
}

#[test]
fn a_refusal_says_why_in_msa_3_and_in_err_by_version() {
    let text = |version: &str| format!("MSH|^~\\&|A|F|B|G|2024||ADT^A01|7|P|{version}\r").into_bytes();
    let missing = Answer::of_error(Hl7Error::NoPatient);
    let said = "no key: neither PID-3 nor PV1-19 has an id";
    for (version, err) in [
        ("2.5", format!("ERR||PID^1^3|101^{said}^HL70357|E||||{said}")),
        ("2.8", format!("ERR||PID^1^3|101^{said}^HL70357|E||||{said}")),
        ("2.4", format!("ERR|PID^1^3^101&{said}&HL70357")),
        ("2.1", format!("ERR|PID^1^3^101&{said}&HL70357")),
        ("", format!("ERR|PID^1^3^101&{said}&HL70357")),
    ] {
        let shown = written(&text(version), Code::AR, &missing);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[1..], [&format!("MSA|AR|7|{said}")[..], &err[..]], "{version}");
    }
    let busy = Answer::of_outcome(Outcome::Busy, 250);
    let said = "not stored: busy; send it again in 250 ms";
    for (version, err) in [
        ("2.5.1", format!("ERR|||207^{said}^HL70357|E||||{said}")),
        ("2.3", format!("ERR|^^^207&{said}&HL70357")),
    ] {
        let shown = written(&text(version), Code::AE, &busy);
        assert!(shown.ends_with(&format!("\nMSA|AE|7|{said}\n{err}\n")), "{shown}");
    }
    let whole = written(&text("2.5"), Code::AR, &Answer::of_error(Hl7Error::NotHl7));
    assert!(whole.contains("\nERR||MSH^1|100^"), "{whole}");
    // A commit accept of a message that then failed says nothing of the failure yet.
    let trapped = Answer::of_outcome(Outcome::Trapped, 0);
    assert!(written(&text("2.5"), Code::CA, &trapped).ends_with("\nMSA|CA|7\n"));
}

#[test]
fn an_answer_uses_the_separators_of_its_message() {
    let text = b"MSH#*!/%#A#F#B#G#2024##ADT*A01#7#P#2.3";
    assert_eq!(
        written(text, Code::AR, &Answer::of_error(Hl7Error::NoPatient)),
        "MSH#*!/%#B#G#A#F#20240131120000##ACK*A01#W1#P#2.3\n\
         MSA#AR#7#no key: neither PID-3 nor PV1-19 has an id\n\
         ERR#PID*1*3*101%no key: neither PID-3 nor PV1-19 has an id%HL70357\n"
    );
}

/// What a link answers to a stream, as the crate's parts are put together: framer, contents, key, and "stored" for all that has a key.
fn answers(stream: &[u8], mode: Mode) -> Vec<String> {
    let limits = Limits {
        message_bytes_max: 2000,
        ..Limits::default()
    };
    let mut out = Vec::new();
    let mut reply = |header: &Header<'_>, answer: &Answer| {
        let due = ack::due(mode, header, answer.verdict, answer.is_held);
        for code in [due.accept, due.application].into_iter().flatten() {
            let mut frame = Vec::new();
            ack::write(&mut frame, header, code, answer, &STAMP);
            let text = shown(&frame);
            out.push(text.lines().skip(1).collect::<Vec<_>>().join("/"));
        }
    };
    let keyed = |message: &Message<'_>| match key::key_of(message, &KeyRules::default()) {
        Ok(_) => Answer::of_outcome(Outcome::Done, 0),
        Err(error) => Answer::of_error(error),
    };
    let mut on = |received: Received<'_>| {
        if let Some(answer) = Answer::of_received(&received, limits.message_bytes_max) {
            let (Received::TooLong { head, .. } | Received::Cut { head, .. } | Received::Message(head)) = received;
            reply(&Header::of_head(head), &answer);
            return;
        }
        let Received::Message(body) = received else { return };
        match contents(body) {
            Ok(Contents::Message(message)) => reply(message.header(), &keyed(&message)),
            Ok(Contents::Batch(batch)) => {
                for bytes in batch.messages() {
                    match Message::parse(bytes) {
                        Ok(message) => reply(message.header(), &keyed(&message)),
                        Err(error) => reply(&Header::of_refused(bytes), &Answer::of_error(error)),
                    }
                }
            }
            Err(error) => reply(&Header::of_refused(body), &Answer::of_error(error)),
        }
    };
    let mut framer = Framer::new(limits);
    framer.feed(stream, false, &mut on).expect("within the limits");
    framer.finish(&mut on).expect("within the limits");
    out
}

#[test]
fn each_dirty_input_gets_its_answer() {
    let msh = "MSH|^~\\&|A|F|B|G|1||ADT^A01|7|P|2.3";
    let good = format!("{msh}\rPID|||1\r");
    let frame = |body: &str| format!("\x0B{body}\x1C\r");
    let long = format!("{good}NTE|1||{}", "x".repeat(3000));
    let no_key = "MSA|AR|7|no key: neither PID-3 nor PV1-19 has an id/ERR|PID^1^3^101&no key: neither PID-3 nor PV1-19 has an id&HL70357";
    let not_hl7 =
        "MSA|AR||not HL7 v2: it does not begin with MSH/ERR|MSH^1^^100&not HL7 v2: it does not begin with MSH&HL70357";
    let cut = "MSA|AE|7|not stored: the end of the message is missing; send it again\
               /ERR|^^^100&not stored: the end of the message is missing; send it again&HL70357";
    let too_long = "MSA|AR|7|message too long: the limit is 2000 bytes/ERR|^^^102&message too long: the limit is 2000 bytes&HL70357";
    let batch = format!("BHS|^~\\&|A|F|B|G|1||||55\r{good}BTS|2\r");
    let batch_count = "MSA|AR|55|BTS-1 is not the number of messages in the batch\
                       /ERR|BTS^1^1^102&BTS-1 is not the number of messages in the batch&HL70357";
    let table: Vec<(String, Vec<&str>)> = vec![
        (frame(&good), vec!["MSA|AA|7"]),
        (frame(&good.replace('\r', "\n")), vec!["MSA|AA|7"]),
        (frame(&good.replace('\r', "\r\n")), vec!["MSA|AA|7"]),
        (frame(&format!("\u{FEFF}{good}")), vec!["MSA|AA|7"]),
        (frame(good.trim_end()), vec!["MSA|AA|7"]),
        (frame(&format!("{good}NTE|\x1C|\x0B")), vec!["MSA|AA|7"]),
        (format!("junk{}{}", frame(&good), frame(&good)), vec!["MSA|AA|7"; 2]),
        (format!("\x0B{good}\x1C"), vec!["MSA|AA|7"]),
        (format!("\x0B{good}\x1C{}", frame(&good)), vec!["MSA|AA|7"; 2]),
        (frame(msh), vec![no_key]),
        (
            frame(""),
            vec!["MSA|AR||the message is empty/ERR|MSH^1^^100&the message is empty&HL70357"],
        ),
        (frame("hello"), vec![not_hl7]),
        (frame("GET / HTTP/1.1\r\n\r\n"), vec![not_hl7]),
        (
            frame("MSH|"),
            vec![
                "MSA|AR||MSH-1 and MSH-2 do not name separators/ERR|MSH^1^2^102\
            &MSH-1 and MSH-2 do not name separators&HL70357",
            ],
        ),
        (
            frame("MSH|^~\\&|A|F|B|G|1|||7|P|2.3"),
            vec![
                "MSA|AR|7|MSH-9 is empty: no message type/ERR|MSH^1^9^101\
            &MSH-9 is empty: no message type&HL70357",
            ],
        ),
        (
            frame("MSH|^~\\&|A|F|B|G|1||ADT^A01||P|2.3"),
            vec![
                "MSA|AR||MSH-10 is empty: no control id/ERR|MSH^1^10^101\
            &MSH-10 is empty: no control id&HL70357",
            ],
        ),
        (frame(&long), vec![too_long]),
        (format!("\x0B{good}"), vec![cut]),
        (format!("\x0B{good}{}", frame(&good)), vec![cut, "MSA|AA|7"]),
        (frame(&batch), vec![batch_count]),
        (frame(&batch.replace("BTS|2", "BTS|1")), vec!["MSA|AA|7"]),
        (
            frame(&format!("{good}{good}{msh}\r")),
            vec!["MSA|AA|7", "MSA|AA|7", no_key],
        ),
    ];
    for (stream, expected) in table {
        assert_eq!(
            answers(stream.as_bytes(), Mode::Original),
            expected,
            "{}",
            stream.escape_debug()
        );
    }
}

#[test]
fn enhanced_mode_answers_twice_once_or_not_at_all() {
    for (wishes, expected) in [
        ("AL|AL", vec!["MSA|CA|7", "MSA|AA|7"]),
        ("AL|NE", vec!["MSA|CA|7"]),
        ("NE|NE", vec![]),
        ("|", vec!["MSA|AA|7"]),
    ] {
        let stream = format!("\x0BMSH|^~\\&|A|F|B|G|1||ADT^A01|7|P|2.5|||{wishes}\rPID|||1\x1C\r");
        assert_eq!(answers(stream.as_bytes(), Mode::Enhanced), expected, "{wishes}");
        assert_eq!(answers(stream.as_bytes(), Mode::Original), ["MSA|AA|7"], "{wishes}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever a header holds: the answer is one frame, of two or three segments, and names the control id.
    #[test]
    fn no_header_can_break_its_answer(
        fields in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..12), 0..20),
        code in proptest::sample::select(Code::ALL),
        outcome in proptest::sample::select(&Outcome::ALL[..]),
    ) {
        let text = [&b"MSH|^~\\&|"[..], &fields.join(&b'|')].concat();
        let header = Header::of_refused(&text);
        let answer = Answer::of_outcome(outcome, 1);
        let mut out = Vec::new();
        ack::write(&mut out, &header, code, &answer, &STAMP);
        let mut all = Vec::new();
        let mut framer = Framer::new(Limits::default());
        framer.feed(&out, false, |received| if let Received::Message(body) = received { all.push(body.to_vec()); }).unwrap();
        prop_assert_eq!(all.len(), 1);
        prop_assert_eq!(framer.counts().messages + framer.counts().junk_bytes, 1);
        let message = Message::parse(&all[0]).unwrap();
        prop_assert_eq!(message.header().control_id(), b"W1");
        let names: Vec<&[u8]> = message.segments().map(|segment| segment.name()).collect();
        let is_refused = !code.is_accept() && answer.verdict != Verdict::Accept;
        let expected: &[&[u8]] = if is_refused { &[b"MSH", b"MSA", b"ERR"] } else { &[b"MSH", b"MSA"] };
        prop_assert_eq!(&names[..], expected);
        let id: Vec<u8> = header.control_id().iter().copied().filter(|byte| *byte >= b' ').collect();
        prop_assert_eq!(message.segment("MSA").unwrap().field(2).raw(), &id[..]);
    }
}
