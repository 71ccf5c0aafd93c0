//! Messages as they come: separators, line ends, fields, batches, and every way to be refused.

use std::collections::BTreeSet;

use proptest::prelude::*;
use waterpark_edge::hl7::{Contents, Hl7Error, Message, Version, contents};
use waterpark_edge::key::{self, KeyRules};

const MSH: &str = "MSH|^~\\&|APP|HOSPX^1.2.3^ISO|EHR|DC|20240131||ADT^A01^ADT_A01|4711|P|2.5.1|||AL|NE||UNICODE UTF-8";

fn names(text: &[u8]) -> Vec<String> {
    let message = Message::parse(text).expect("the table's messages are good");
    message
        .segments()
        .map(|segment| String::from_utf8_lossy(segment.name()).into_owned())
        .collect()
}

#[test]
fn the_header_is_read_field_by_field() {
    let text = format!("{MSH}\rPID|||1\r");
    let message = Message::parse(text.as_bytes()).unwrap();
    let header = message.header();
    assert_eq!(header.sending_facility(), b"HOSPX^1.2.3^ISO");
    assert_eq!(&*header.facility().value(), b"HOSPX");
    let kind = header.message_type();
    assert_eq!(
        (kind.code, kind.trigger, kind.structure),
        (&b"ADT"[..], &b"A01"[..], &b"ADT_A01"[..])
    );
    assert_eq!(header.control_id(), b"4711");
    assert_eq!(header.processing_id(), b"P");
    assert_eq!(
        (header.version_id(), header.version()),
        (&b"2.5.1"[..], Version::new(2, 5))
    );
    assert_eq!(
        (header.accept_condition(), header.application_condition()),
        (&b"AL"[..], &b"NE"[..])
    );
    assert_eq!(header.character_set(), b"UNICODE UTF-8");
    assert_eq!(
        (header.raw(1), header.raw(2), header.raw(3)),
        (&b"|"[..], &b"^~\\&"[..], &b"APP"[..])
    );
    assert_eq!(header.raw(99), b"");
    // The same by the general way.
    let msh = message.segment("MSH").unwrap();
    for number in 1..=18 {
        assert_eq!(msh.field(number).raw(), header.raw(number), "MSH-{number}");
    }
}

#[test]
fn segments_are_found_whichever_line_ends_the_sender_uses() {
    for end in ["\r", "\n", "\r\n", "\r\r", "\n\n", "\r\n\r\n"] {
        for last in ["", end] {
            for mark in ["", "\u{FEFF}", "\r\n", " \u{FEFF}\n"] {
                let text = format!("{mark}{MSH}{end}EVN|A01{end}PID|||1{end}ZZ1{end}PV1||I{last}");
                assert_eq!(
                    names(text.as_bytes()),
                    ["MSH", "EVN", "PID", "ZZ1", "PV1"],
                    "{end:?} {last:?} {mark:?}"
                );
                let message = Message::parse(text.as_bytes()).unwrap();
                assert_eq!(message.original(), text.as_bytes());
                assert_eq!(message.segment("PV1").unwrap().field(2).raw(), b"I");
                assert_eq!(message.segment("PID").unwrap().raw(), b"PID|||1");
            }
        }
    }
}

#[test]
fn text_with_line_ends_of_its_own_stays_in_its_field() {
    let text = format!("{MSH}\rOBX|1|TX|||first\nsecond line\r\nPI\nPIDX|no\npid|no|segment\rPID|||1\rNTE|1||x\n");
    let message = Message::parse(text.as_bytes()).unwrap();
    assert_eq!(names(text.as_bytes()), ["MSH", "OBX", "PID", "NTE"]);
    let obx = message.segment("OBX").unwrap();
    assert_eq!(obx.field(5).raw(), b"first\nsecond line\r\nPI\nPIDX");
    assert_eq!(message.segment("NTE").unwrap().field(3).raw(), b"x");
}

#[test]
fn lines_that_are_no_segments_disturb_nobody() {
    let text = format!("{MSH}\rhello\rPID|||1\r");
    assert_eq!(names(text.as_bytes()), ["MSH", "hel", "PID"]);
    assert_eq!(names(b"MSH|^~\\&|||||||A|1"), ["MSH"]);
    assert_eq!(names(b"MSH|^~\\&|||||||A|1\rX"), ["MSH", "X"]);
}

#[test]
fn a_message_is_read_with_the_separators_that_it_names() {
    let message = Message::parse(b"MSH#*!/%#A#H*1.2#B#G#1##ADT*A01#7#P#2.3\rPID###1*x!2*y*z*AA%1.9*MR\r").unwrap();
    assert_eq!(message.header().message_type().trigger, b"A01");
    let pid = message.segment("PID").unwrap();
    let second = pid.field(3).repetitions().nth(1).unwrap();
    assert_eq!(&*second.component(4).subcomponent(2).value(), b"1.9");
    assert_eq!(pid.field(0).raw(), b"PID");
    assert_eq!(pid.field(99).raw(), b"");
}

#[test]
fn bytes_of_no_character_set_are_kept() {
    let text = [MSH.as_bytes(), b"\rPID|||\xFF\xFE\x00|\x80^\xC3("].concat();
    let message = Message::parse(&text).unwrap();
    let pid = message.segment("PID").unwrap();
    assert_eq!(pid.field(3).raw(), b"\xFF\xFE\x00");
    assert_eq!(&*pid.field(4).component(2).value(), b"\xC3(");
    assert_eq!(
        key::key_of(&message, &KeyRules::default())
            .unwrap()
            .as_ref()
            .field("id"),
        Some(&b"\xFF\xFE\x00"[..])
    );
}

/// What a frame holds: the messages' control ids, and how many batches.
fn held(text: &str) -> Result<(Vec<String>, u64), Hl7Error> {
    let id = |bytes: &[u8]| {
        let message = Message::parse(bytes).expect("the table's messages are good");
        String::from_utf8_lossy(message.header().control_id()).into_owned()
    };
    Ok(match contents(text.as_bytes())? {
        Contents::Message(message) => (vec![id(message.original())], 0),
        Contents::Batch(batch) => {
            let ids: Vec<String> = batch.messages().map(id).collect();
            assert_eq!(batch.message_count(), ids.len() as u64);
            (ids, batch.batch_count())
        }
    })
}

#[test]
fn batches_are_taken_with_right_counts_and_refused_with_wrong_ones() {
    let one = "MSH|^~\\&|A|F|B|G|1||ADT^A01|1\rPID|||1\r";
    let two = "MSH#*!/%#A#F#B#G#1##ADT*A01#2\rPID###2\rNTE##1#BTSX\r";
    let (fhs, bhs) = ("FHS|^~\\&|A|F|B|G\r", "BHS|^~\\&|A|F|B|G\r");
    let good = |ids: &[&str], batches| Ok((ids.iter().map(|id| (*id).to_owned()).collect(), batches));
    for (text, expected) in [
        (one.to_owned(), good(&["1"], 0)),
        (format!("{bhs}{one}{two}BTS|2\r"), good(&["1", "2"], 1)),
        (
            format!("\u{FEFF}{fhs}{bhs}{one}BTS|1\r{bhs}{two}BTS|1|ok\rFTS|2\r"),
            good(&["1", "2"], 2),
        ),
        (format!("{fhs}{bhs}{one}BTS\rFTS"), good(&["1"], 1)),
        (format!("{fhs}{bhs}{one}BTS| \rFTS|\n"), good(&["1"], 1)),
        (format!("{fhs}{one}{two}FTS|1"), good(&["1", "2"], 1)),
        (format!("{bhs}BTS|0\r"), good(&[], 1)),
        (format!("{fhs}FTS|0\r"), good(&[], 0)),
        // Headers may be missing.
        (format!("{one}{two}"), good(&["1", "2"], 1)),
        (format!("{one}BTS|1"), good(&["1"], 1)),
        (format!("{one}{bhs}{two}BTS|1"), good(&["1", "2"], 2)),
        (format!("{bhs}{one}BTS|2\r"), Err(Hl7Error::BatchCount)),
        (format!("{bhs}{one}{two}BTS|1\r"), Err(Hl7Error::BatchCount)),
        (format!("{one}BTS|2"), Err(Hl7Error::BatchCount)),
        (format!("{bhs}{one}BTS|one\r"), Err(Hl7Error::BatchNumber)),
        (format!("{bhs}{one}BTS|-1\r"), Err(Hl7Error::BatchNumber)),
        (
            format!("{bhs}{one}BTS|99999999999999999999\r"),
            Err(Hl7Error::BatchNumber),
        ),
        (format!("{bhs}{one}"), Err(Hl7Error::BatchOpen)),
        (format!("{bhs}{one}{bhs}{two}BTS|1\r"), Err(Hl7Error::BatchOpen)),
        (format!("{fhs}{bhs}{one}FTS|1\r"), Err(Hl7Error::BatchOpen)),
        (format!("{fhs}{bhs}{one}BTS|1\r"), Err(Hl7Error::FileOpen)),
        (format!("{fhs}{bhs}{one}BTS|1\rFTS|2\r"), Err(Hl7Error::FileCount)),
        (format!("{fhs}{bhs}{one}BTS|1\rFTS|x\r"), Err(Hl7Error::FileNumber)),
        (format!("{fhs}{bhs}{one}BTS|1\rFTS|1\r{two}"), Err(Hl7Error::BatchOrder)),
        (format!("{one}{fhs}FTS|1"), Err(Hl7Error::BatchOrder)),
        (format!("{fhs}BTS|0\rFTS|1"), Err(Hl7Error::BatchOrder)),
        (format!("{fhs}{fhs}FTS|1"), Err(Hl7Error::BatchOrder)),
    ] {
        assert_eq!(held(&text), expected, "{}", text.escape_debug());
        // Line ends of other kinds change nothing.
        assert_eq!(held(&text.replace('\r', "\r\n")), expected);
        assert_eq!(held(&text.replace('\r', "\n")), expected);
    }
}

#[test]
fn the_bytes_of_a_batch_are_split_without_loss() {
    let text = b"BHS|^~\\&|A|F\r\nMSH|^~\\&|A|F|B|G|1||A|1\r\nPID|||\xFF\r\nMSH|^~\\&|A|F|B|G|1||A|2\r\nBTS|2\r\n";
    let Contents::Batch(batch) = contents(text).unwrap() else {
        panic!("a batch");
    };
    let messages: Vec<&[u8]> = batch.messages().collect();
    assert_eq!(messages[0], b"MSH|^~\\&|A|F|B|G|1||A|1\r\nPID|||\xFF\r\n");
    assert_eq!(messages[1], b"MSH|^~\\&|A|F|B|G|1||A|2\r\n");
    assert_eq!(batch.original(), text);
    assert_eq!(batch.header().sending_facility(), b"F");
}

/// How far a frame's bytes come: to a message with a key, its merges, or the first refusal.
fn refusal(text: &[u8]) -> Option<Hl7Error> {
    let rules = KeyRules::default();
    let check = || -> Result<(), Hl7Error> {
        if let Contents::Message(message) = contents(text)? {
            key::key_of(&message, &rules)?;
            key::merges(&message, &rules).try_for_each(|merge| merge.map(drop))?;
        }
        Ok(())
    };
    check().err()
}

#[test]
fn every_error_is_reached_and_says_where() {
    let long = format!("{MSH}\rPID|||{}", "x".repeat(600));
    let merge = "MSH|^~\\&|A|F|B|G|1||ADT^A40|1\rPID|||1\rMRG|";
    let table: &[(&[u8], Hl7Error, &str, u8)] = &[
        (b"", Hl7Error::Empty, "MSH", 0),
        (b" \r\n\xEF\xBB\xBF\r", Hl7Error::Empty, "MSH", 0),
        (b"hello", Hl7Error::NotHl7, "MSH", 0),
        (b"MS", Hl7Error::NotHl7, "MSH", 0),
        (b"<xml/>", Hl7Error::NotHl7, "MSH", 0),
        (b"PID|||1", Hl7Error::NotHl7, "MSH", 0),
        (b"msh|^~\\&|", Hl7Error::NotHl7, "MSH", 0),
        (b"\x06", Hl7Error::NotHl7, "MSH", 0),
        (b"MSH", Hl7Error::Delimiters, "MSH", 2),
        (b"MSH||", Hl7Error::Delimiters, "MSH", 2),
        (b"MSH|^^~\\|", Hl7Error::Delimiters, "MSH", 2),
        (b"MSHA^~\\&A", Hl7Error::Delimiters, "MSH", 2),
        (b"MSH|^~\\&", Hl7Error::MessageType, "MSH", 9),
        (b"MSH|^~\\&|A|F|B|G|1||^A01|1", Hl7Error::MessageType, "MSH", 9),
        (b"MSH|^~\\&|A|F|B|G|1||ADT^A01|", Hl7Error::ControlId, "MSH", 10),
        (b"MSH|^~\\&|A|F|B|G|1||ADT^A01|\"\"|P", Hl7Error::ControlId, "MSH", 10),
        (b"MSH|^~\\&|A|F|B|G|1||ADT^A01|1\rPID|1", Hl7Error::NoPatient, "PID", 3),
        (long.as_bytes(), Hl7Error::KeyTooLong, "PID", 3),
        (merge.as_bytes(), Hl7Error::MergedId, "MRG", 1),
        (b"BHS|^~\\&\rMSH|^~\\&|", Hl7Error::BatchOpen, "BTS", 0),
        (b"FHS|^~\\&", Hl7Error::FileOpen, "FTS", 0),
        (b"FHS|^~\\&\rBTS|", Hl7Error::BatchOrder, "BHS", 0),
        (b"BHS|^~\\&\rBTS|x", Hl7Error::BatchNumber, "BTS", 1),
        (b"BHS|^~\\&\rBTS|1", Hl7Error::BatchCount, "BTS", 1),
        (b"FHS|^~\\&\rFTS|x", Hl7Error::FileNumber, "FTS", 1),
        (b"FHS|^~\\&\rFTS|1", Hl7Error::FileCount, "FTS", 1),
    ];
    let mut reached = BTreeSet::new();
    for (text, error, segment, field) in table {
        assert_eq!(refusal(text), Some(*error), "{}", text.escape_ascii());
        assert_eq!((error.segment(), error.field()), (*segment, *field));
        reached.insert(*error);
    }
    let all: BTreeSet<Hl7Error> = Hl7Error::ALL.iter().copied().collect();
    assert_eq!(reached, all);
}

/// Text of which most matters to the parser.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"MSH|^~\\&|A|F|B|G|1||ADT^A40|1|P|2.5\r".to_vec()),
        Just(b"MSH".to_vec()),
        Just(b"PID|||1^^^A~2\r".to_vec()),
        Just(b"PV1".to_vec()),
        Just(b"\rMRG|".to_vec()),
        Just(b"BHS|^~\\&\r".to_vec()),
        Just(b"\rBTS|1\r".to_vec()),
        Just(b"FHS|^~\\&\r".to_vec()),
        Just(b"\rFTS|1\r".to_vec()),
        Just(b"\xEF\xBB\xBF".to_vec()),
        "[|^~&\\\\\r\n A-Z0-9]{0,12}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_read_or_refused_and_no_byte_is_lost(text in text()) {
        refusal(&text);
        if let Ok(message) = Message::parse(&text) {
            let segments: usize = message.segments().map(|segment| segment.raw().len()).sum();
            let kept: Vec<u8> = message.segments().flat_map(|segment| segment.raw().to_vec()).collect();
            prop_assert!(segments <= text.len());
            // What is in no segment is a line end, a blank or a byte order mark.
            let without = |bytes: &[u8]| -> Vec<u8> {
                bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace() && !b"\xEF\xBB\xBF".contains(byte)).collect()
            };
            prop_assert_eq!(without(&kept), without(&text));
            for segment in message.segments() {
                for number in 0..40 {
                    for repetition in segment.field(number).repetitions() {
                        prop_assert!(repetition.component(1).value().len() <= text.len());
                    }
                }
            }
        }
        if let Ok(Contents::Batch(batch)) = contents(&text) {
            prop_assert_eq!(batch.messages().count() as u64, batch.message_count());
            prop_assert!(batch.messages().all(|bytes| bytes.starts_with(b"MSH")));
        }
    }
}
