//! Streams as senders in the field make them, and what comes out of each, however it is torn.

use proptest::prelude::*;
use waterpark_edge::mllp::{self, Counts, Framer, HEAD_BYTES, Limits, MllpError, Received};

/// What a framer hands on, with its own copy of the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Got {
    Message(Vec<u8>),
    TooLong(Vec<u8>, u64),
    Cut(Vec<u8>, u64),
}

fn got(received: Received<'_>) -> Got {
    match received {
        Received::Message(body) => Got::Message(body.to_vec()),
        Received::TooLong { head, bytes } => Got::TooLong(head.to_vec(), bytes),
        Received::Cut { head, bytes } => Got::Cut(head.to_vec(), bytes),
    }
}

fn message(body: &[u8]) -> Got {
    Got::Message(body.to_vec())
}

/// Feeds pieces, then the end of the stream.
fn feed<'a>(limits: Limits, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Got>, Result<Counts, MllpError>) {
    let mut framer = Framer::new(limits);
    let mut all = Vec::new();
    for piece in pieces {
        let fed = framer.feed(piece, false, |received| all.push(got(received)));
        assert!(framer.waiting() <= limits.message_bytes_max.max(HEAD_BYTES) + 6);
        if let Err(error) = fed {
            return (all, Err(error));
        }
    }
    let finished = framer.finish(|received| all.push(got(received)));
    (all, finished.map(|()| framer.counts()))
}

/// Small limits, so that all of them are met.
const SMALL: Limits = Limits {
    message_bytes_max: 40,
    skipped_bytes_max: 80,
    junk_bytes_max: 16,
};

/// Feeds a stream whole, byte by byte, and cut in two at every place: the same must come out.
fn all_ways(limits: Limits, stream: &[u8]) -> (Vec<Got>, Result<Counts, MllpError>) {
    let whole = feed(limits, [stream]);
    let same = |other: (Vec<Got>, Result<Counts, MllpError>)| {
        assert_eq!(other.0, whole.0, "{}", stream.escape_ascii());
        assert_eq!(other.1, whole.1, "{}", stream.escape_ascii());
    };
    same(feed(limits, stream.chunks(1)));
    for at in 0..=stream.len() {
        let (one, other) = stream.split_at(at);
        same(feed(limits, [one, other]));
    }
    whole
}

#[test]
fn every_dirty_stream_gives_what_it_holds() {
    let long = [&b"\x0BMSH|"[..], &[b'x'; 60], b"\x1C\r\x0Bnext\x1C\r"].concat();
    let table: &[(&[u8], Vec<Got>)] = &[
        (b"", vec![]),
        (b"\x0BMSH|a\x1C\r", vec![message(b"MSH|a")]),
        // Several in one read, with and without line ends between them.
        (b"\x0Ba\x1C\r\x0Bb\x1C\r", vec![message(b"a"), message(b"b")]),
        (b"\x0Ba\x1C\r\r\n\x0Bb\x1C\r\n", vec![message(b"a"), message(b"b")]),
        // Junk before, between, behind.
        (
            b"junk\x0Ba\x1C\rmore\x1C\r\x0Bb\x1C\rjunk",
            vec![message(b"a"), message(b"b")],
        ),
        (b"MSH|lost\r\x0Ba\x1C\r", vec![message(b"a")]),
        (b"\xEF\xBB\xBF\x0Ba\x1C\r", vec![message(b"a")]),
        // Nothing in a frame.
        (b"\x0B\x1C\r", vec![message(b"")]),
        // 1C is body unless CR or the next frame follows.
        (b"\x0Ba\x1Cb\x1C\r", vec![message(b"a\x1Cb")]),
        (b"\x0Ba\x1C\n\x1C\r", vec![message(b"a\x1C\n")]),
        (b"\x0Ba\x1C\x1C\r", vec![message(b"a\x1C")]),
        (
            b"\x0Ba\x1C\x1C\x1C\r\x0Bb\x1C\r",
            vec![message(b"a\x1C\x1C"), message(b"b")],
        ),
        // The 0D behind 1C is missing.
        (b"\x0Ba\x1C\x0Bb\x1C\r", vec![message(b"a"), message(b"b")]),
        (b"\x0Ba\x1C", vec![message(b"a")]),
        // 0B in a body, before anything but HL7.
        (b"\x0Ba\x0Bb\x1C\r", vec![message(b"a\x0Bb")]),
        (b"\x0B\x0Ba\x1C\r", vec![message(b"\x0Ba")]),
        (b"\x0Ba\x0BMSX\x0BM\x1C\r", vec![message(b"a\x0BMSX\x0BM")]),
        (b"\x0Ba\x0B\xEF\xBBx\x1C\r", vec![message(b"a\x0B\xEF\xBBx")]),
        (
            b"\x0Ba\x0BM\x0BMS\x0B\x1C\x1C\r",
            vec![message(b"a\x0BM\x0BMS\x0B\x1C")],
        ),
        // A frame that begins inside another.
        (
            b"\x0Ba\x0BMSH|b\x1C\r",
            vec![Got::Cut(b"a".to_vec(), 1), message(b"MSH|b")],
        ),
        (
            b"\x0Ba\x0B\xEF\xBB\xBFMSH|b\x1C\r\x0Bc\x1C\r",
            vec![Got::Cut(b"a".to_vec(), 1), message(b"\xEF\xBB\xBFMSH|b"), message(b"c")],
        ),
        (
            b"\x0BMSH|a\x0BBHS|b\x1C\r",
            vec![Got::Cut(b"MSH|a".to_vec(), 5), message(b"BHS|b")],
        ),
        (b"\x0B\x0BFHS|\x1C\r", vec![Got::Cut(vec![], 0), message(b"FHS|")]),
        (
            b"\x0Ba\x0BM\x0BMSH|b\x1C\r",
            vec![Got::Cut(b"a\x0BM".to_vec(), 3), message(b"MSH|b")],
        ),
        // The stream ends inside.
        (b"\x0Ba", vec![Got::Cut(b"a".to_vec(), 1)]),
        (b"\x0B", vec![Got::Cut(vec![], 0)]),
        (b"\x0Ba\x0BMS", vec![Got::Cut(b"a\x0BMS".to_vec(), 4)]),
        // Too long, and the next is found.
        (&long, vec![Got::TooLong(long[1..65].to_vec(), 64), message(b"next")]),
        // Bytes of no character set.
        (b"\x0B\xFF\x00\xFE\x1C\r", vec![message(b"\xFF\x00\xFE")]),
    ];
    for (stream, expected) in table {
        let (all, end) = all_ways(SMALL, stream);
        assert_eq!(all, *expected, "{}", stream.escape_ascii());
        assert!(end.is_ok(), "{}", stream.escape_ascii());
    }
}

#[test]
fn the_limits_hold_at_their_edges() {
    let body = |length: usize| [&b"\x0B"[..], &vec![b'x'; length], b"\x1C\r"].concat();
    assert_eq!(all_ways(SMALL, &body(40)).0, [message(&[b'x'; 40])]);
    assert_eq!(all_ways(SMALL, &body(41)).0, [Got::TooLong(vec![b'x'; 41], 41)]);
    assert_eq!(all_ways(SMALL, &body(80)).0, [Got::TooLong(vec![b'x'; 80], 80)]);
    let (all, end) = all_ways(SMALL, &body(81));
    assert_eq!((all, end), (vec![], Err(MllpError::Endless)));

    let junk = |bytes: usize| [&vec![b'j'; bytes][..], b"\r\n\r\n\x0Ba\x1C\r"].concat();
    let (all, end) = all_ways(SMALL, &junk(16));
    assert_eq!((all, end.unwrap().junk_bytes), (vec![message(b"a")], 16));
    assert_eq!(all_ways(SMALL, &junk(17)), (vec![], Err(MllpError::Junk)));
    let (all, end) = all_ways(SMALL, &[junk(16), junk(16)].concat());
    assert_eq!(
        (all.len(), end.unwrap().junk_bytes),
        (2, 32),
        "a frame between them resets the limit"
    );
    assert_eq!(MllpError::ALL, [MllpError::Junk, MllpError::Endless]);
}

#[test]
fn of_a_long_body_only_its_head_is_kept() {
    let limits = Limits {
        message_bytes_max: 100_000,
        skipped_bytes_max: 10_000_000,
        ..Limits::default()
    };
    let mut framer = Framer::new(limits);
    let mut all = Vec::new();
    framer.feed(b"\x0B", false, |_| ()).unwrap();
    for _ in 0..1000 {
        framer
            .feed(&[b'x'; 999], false, |_| panic!("it has not ended"))
            .unwrap();
        assert!(framer.waiting() <= 100_000);
    }
    assert_eq!(framer.waiting(), HEAD_BYTES);
    framer
        .feed(b"\x1C\r", false, |received| all.push(got(received)))
        .unwrap();
    assert_eq!(all, [Got::TooLong(vec![b'x'; HEAD_BYTES], 999_000)]);
}

#[test]
fn everything_is_counted() {
    let stream =
        b"jj\x0Ba\x1C\x0Bb\x1C\r\r\nj\x0Bc\x0BMSH|\x1C\r\x0Bxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\x1C\r\x0Be\x1C";
    let (_, counts) = all_ways(SMALL, stream);
    let expected = Counts {
        messages: 4,
        too_long: 1,
        cut: 1,
        half_ends: 2,
        junk_bytes: 3,
    };
    assert_eq!(counts, Ok(expected));
}

#[test]
fn a_body_whole_in_a_read_is_lent_and_not_copied() {
    let stream = b"\x0Bfirst\x1C\r\x0Bsecond\x1C\r\x0Bthi";
    let mut framer = Framer::new(Limits::default());
    let mut lent = 0;
    let range = stream.as_ptr_range();
    framer
        .feed(stream, false, |received| {
            if let Received::Message(body) = received {
                assert!(range.contains(&body.as_ptr()));
                lent += 1;
            }
        })
        .unwrap();
    assert_eq!((lent, framer.straddled()), (2, 0));
    framer.feed(b"rd\x1C\r", false, |_| lent += 1).unwrap();
    assert_eq!((lent, framer.straddled()), (3, 1));
}

#[test]
fn an_idle_framer_gives_its_buffer_back() {
    let mut framer = Framer::new(Limits::default());
    framer
        .feed(&[&b"\x0B"[..], &[b'x'; 50_000]].concat(), true, |_| ())
        .unwrap();
    framer.rest();
    assert_eq!(framer.waiting(), 50_000, "a body that waits is kept");
    framer.feed(b"\x1C\r", true, |_| ()).unwrap();
    framer.rest();
    framer.rest();
    assert_eq!(framer.waiting(), 0);
    let mut all = Vec::new();
    framer
        .feed(b"\x0Ba\x1C\r", true, |received| all.push(got(received)))
        .unwrap();
    assert_eq!(all, [message(b"a")]);
}

#[test]
fn only_a_body_that_comes_out_the_same_fits_a_frame() {
    for (body, fits) in [
        (&b"MSH|a\r"[..], true),
        (b"", true),
        (b"a\x1Cb", true),
        (b"a\x1C", true),
        (b"a\x0Bb", true),
        (b"a\x0BMS", true),
        (b"a\x1C\rb", false),
        (b"a\x1C\x0Bb", false),
        (b"a\x0BMSH|", false),
        (b"a\x0B\xEF\xBB\xBFFHS|", false),
    ] {
        assert_eq!(mllp::fits(body), fits, "{}", body.escape_ascii());
        let mut stream = Vec::new();
        mllp::write(&mut stream, body);
        mllp::write(&mut stream, b"next");
        let (all, _) = all_ways(Limits::default(), &stream);
        assert_eq!(
            all == [message(body), message(b"next")],
            fits,
            "{}",
            body.escape_ascii()
        );
    }
}

/// Bytes of which most matter to a framer.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\x0B".to_vec()),
        Just(b"\x1C".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"\x1C\r".to_vec()),
        Just(b"\x0BMSH|".to_vec()),
        Just(b"\xEF\xBB\xBF".to_vec()),
        Just(b"MSH".to_vec()),
        Just(b"M".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..30),
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// Places at which a stream is torn, as shares of its length.
fn tears() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(0..1000_usize, 0..12)
}

fn tear<'a>(stream: &'a [u8], tears: &[usize]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = tears.iter().map(|tear| tear * stream.len() / 1000).collect();
    at.extend([0, stream.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_stream_gives_the_same_however_it_is_torn(stream in bytes(), tears in tears()) {
        for limits in [SMALL, Limits::default()] {
            prop_assert_eq!(feed(limits, tear(&stream, &tears)), feed(limits, [&stream[..]]));
        }
    }

    #[test]
    fn what_fits_a_frame_comes_out_as_it_went_in(bodies in proptest::collection::vec(bytes(), 0..8), tears in tears()) {
        let bodies: Vec<Vec<u8>> = bodies.into_iter().filter(|body| mllp::fits(body)).collect();
        let mut stream = Vec::new();
        for body in &bodies {
            mllp::write(&mut stream, body);
        }
        let (all, end) = feed(Limits::default(), tear(&stream, &tears));
        prop_assert_eq!(all, bodies.into_iter().map(Got::Message).collect::<Vec<_>>());
        prop_assert!(end.is_ok());
    }
}
