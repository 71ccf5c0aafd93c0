//! Frames and what they carry: no bytes make a reader panic, and every error there is can be reached by bytes.

use std::collections::BTreeSet;

use waterpark_fuzz_tests::cases;
use waterpark_fuzz_tests::mutate::{damage, mend_frame, mend_item, mend_run};
use waterpark_fuzz_tests::reached::Reached;
use waterpark_fuzz_tests::rng::Rng;
use waterpark_fuzz_tests::samples::{self, BYTES_MAX};
use waterpark_wire::body::{
    self, ConfigBody, OrderBody, OrderedBody, SlotTableBody, StatusBody, TopologyBody, WhereBody,
};
use waterpark_wire::framer::Framer;
use waterpark_wire::item::Items;
use waterpark_wire::link::{
    Adopt, Adopted, Ask, Assembly, BirthRefused, Commit, Document, Heartbeat, MARKS_MAX, Nack, Out, PIECE_STATE,
    PartHeader, Piece, ReadBack, ReadBackEnd, Refusal, Seal, Sealed, StatePart, acked, fetch, join_hash, split_hash,
};
use waterpark_wire::reply::ReplyView;
use waterpark_wire::request::{HistoryRange, RequestView};
use waterpark_wire::run::{RunView, VIEW_OPEN};
use waterpark_wire::{FrameError, FrameView, Item, ItemKind};
use zerocopy::IntoBytes;

/// What each test below reaches, exactly.
const FRAMES: &[FrameError] = &[
    FrameError::Magic,
    FrameError::Version,
    FrameError::Kind,
    FrameError::Flags,
    FrameError::TooLong,
    FrameError::Length,
    FrameError::Checksum,
    FrameError::ItemCount,
    FrameError::ItemLength,
    FrameError::ItemKind,
    FrameError::Compressed,
    FrameError::Schema,
];
const ITEMS: &[FrameError] = &[FrameError::ItemLength, FrameError::ItemKind];
const LINK_ITEMS: &[FrameError] = &[
    FrameError::ItemLength,
    FrameError::ItemKind,
    FrameError::Acked,
    FrameError::Part,
    FrameError::TooLong,
];
const REQUESTS: &[FrameError] = &[
    FrameError::ItemLength,
    FrameError::ItemKind,
    FrameError::Request,
    FrameError::Operation,
];
const REPLIES: &[FrameError] = &[FrameError::ItemLength, FrameError::ItemKind, FrameError::Reply];
const RUNS: &[FrameError] = &[
    FrameError::ItemLength,
    FrameError::Run,
    FrameError::Checksum,
    FrameError::Entry,
    FrameError::EntryFlags,
];
const BODIES: &[FrameError] = &[FrameError::Body];

/// Valid bytes of one kind, damaged, or once in a while noise.
fn next(rng: &mut Rng, samples: &[Vec<u8>], bytes: &mut Vec<u8>) {
    bytes.clear();
    if rng.once_in(16) {
        bytes.extend(rng.bytes(256));
        return;
    }
    bytes.extend_from_slice(rng.sample(samples));
    if !rng.once_in(16) {
        let other = rng.sample(samples);
        damage(rng, bytes, other);
    }
}

#[test]
fn every_frame_error_is_reached_by_some_test() {
    let reached: BTreeSet<FrameError> = [FRAMES, ITEMS, LINK_ITEMS, REQUESTS, REPLIES, RUNS, BODIES]
        .concat()
        .into_iter()
        .collect();
    let unreached: Vec<&FrameError> = FrameError::ALL
        .iter()
        .filter(|error| !reached.contains(error))
        .collect();
    assert!(unreached.is_empty(), "{unreached:?}");
}

#[test]
fn a_stream_of_frames_ends_in_a_named_error_or_in_frames_however_it_is_torn() {
    let samples = samples::frames();
    let (cases, mut rng, mut reached) = (cases(1), Rng::new(1), Reached::default());
    let (mut bytes, mut stream) = (Vec::new(), Vec::new());
    for _ in 0..cases {
        stream.clear();
        for _ in 0..=rng.below(2) {
            stream.extend_from_slice(rng.sample(&samples));
        }
        next(&mut rng, &samples, &mut bytes);
        mend_frame(&mut rng, &mut bytes);
        stream.extend_from_slice(&bytes);

        let whole = feed(&stream, |_| usize::MAX);
        let torn = feed(&stream, |left| 1 + rng.below(left.min(200)));
        assert_eq!(whole, torn, "pieces must not change what is read");
        reached.note(whole.1.map_or(Ok(()), Err));
    }
    reached.assert_exactly(FRAMES, cases);
}

/// How many items were read, and what ended the stream.
fn feed(stream: &[u8], mut piece: impl FnMut(usize) -> usize) -> (usize, Option<FrameError>) {
    let (mut framer, mut items, mut rest) = (Framer::new(BYTES_MAX), 0, stream);
    while !rest.is_empty() {
        let (input, tail) = rest.split_at(piece(rest.len()).min(rest.len()));
        rest = tail;
        let fed = framer.feed(input, true, |frame: FrameView<'_>| {
            items += frame
                .items()
                .map(|item| item.bytes.len() + usize::from(item.kind() as u8))
                .sum::<usize>();
            Ok(())
        });
        if let Err(error) = fed {
            return (items, Some(error));
        }
        assert!(framer.waiting() < BYTES_MAX, "no more is kept than a frame may have");
    }
    (items, None)
}

#[test]
fn items_are_walked_to_their_end_or_refused() {
    let samples: Vec<Vec<u8>> = [
        samples::requests(),
        samples::replies(),
        samples::link_items(),
        samples::runs(),
    ]
    .concat();
    let (cases, mut rng, mut reached) = (cases(1), Rng::new(2), Reached::default());
    let mut bytes = Vec::new();
    for _ in 0..cases {
        next(&mut rng, &samples, &mut bytes);
        if let Some(item) = reached.note(Item::new_checked_unpadded(&bytes)) {
            assert_eq!(item.body().len() + 16, bytes.len());
        }
        reached.note(Item::new_checked(&bytes).map(|item| item.kind()));
        let mut walk = Items::new(&bytes);
        let mut walked = 0;
        let end = loop {
            match walk.step() {
                Ok(Some(item)) => walked += item.bytes.len().next_multiple_of(16),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        assert!(walked <= bytes.len() && (end.is_err() || walked == bytes.len()));
        reached.note(end);
    }
    reached.assert_exactly(ITEMS, cases);
}

#[test]
fn link_items_are_read_or_refused() {
    let samples = samples::link_items();
    let (cases, mut rng, mut reached) = (cases(1), Rng::new(3), Reached::default());
    let (mut bytes, mut assembly) = (Vec::new(), Assembly::default());
    for _ in 0..cases {
        next(&mut rng, &samples, &mut bytes);
        if rng.once_in(2) {
            mend_item(&mut bytes);
        }
        let Some(item) = reached.note(Item::new_checked_unpadded(&bytes)) else {
            continue;
        };
        let read = match item.kind() {
            ItemKind::Acked => acked(&item).map(|(since, number, exceptions)| {
                assert!(since < number);
                exceptions.iter().map(|exception| exception.answer() as usize).sum()
            }),
            ItemKind::Adopted => Adopted::new_checked(&item).map(|(_, tail)| tail.len()),
            ItemKind::BirthRefused => BirthRefused::new_checked(&item).map(|(_, tail)| tail.len()),
            ItemKind::Commit => Commit::new_checked(&item).map(|(_, tail)| tail.len()),
            ItemKind::Heartbeat => Heartbeat::new_checked(&item).map(|(_, tail)| tail.len()),
            ItemKind::Part => part(&mut assembly, &item),
            ItemKind::Out => Out::new_checked(&item).map(|(_, tail)| tail.len()),
            ItemKind::ReadBack => ReadBack::new_checked(&item).map(|(_, tail)| tail.len()),
            ItemKind::ReadBackEnd => ReadBackEnd::new_checked(&item).map(|(_, tail)| tail.len()),
            ItemKind::Ask => Ask::new_checked(&item).map(|(_, tail)| tail.len()),
            ItemKind::Document => Document::new_checked(&item).map(|(_, tail)| tail.len()),
            ItemKind::Refusal => Refusal::new_checked(&item).map(|(_, tail)| tail.len()),
            ItemKind::Seal => Seal::new_checked(&item).map(|(_, tail)| tail.len()),
            ItemKind::Sealed => Sealed::new_checked(&item).map(|(sealed, tail)| {
                assert_eq!(split_hash(join_hash(sealed.last_hash)), sealed.last_hash);
                tail.len()
            }),
            ItemKind::Adopt => Adopt::new_checked(&item).map(|(_, tail)| tail.len()),
            ItemKind::Fetch => fetch(&item).map(|(_, marks)| {
                assert!((1..=MARKS_MAX).contains(&marks.len()));
                assert_eq!(marks.len(), usize::from(item.header.count.get()));
                marks.len()
            }),
            ItemKind::Piece => Piece::new_checked(&item).and_then(|(piece, tail)| {
                if item.header.flags & PIECE_STATE == 0 {
                    return Ok(tail.len());
                }
                let (head, part) = StatePart::new_checked(tail, piece.offset.get())?;
                assert!(piece.offset.get() + part.len() as u64 <= head.length.get());
                Ok(part.len())
            }),
            ItemKind::Nack => Nack::new_checked(&item).map(|(_, tail)| tail.len()),
            // Damage has made it an item of another test.
            _ => continue,
        };
        reached.note(read);
    }
    reached.assert_exactly(LINK_ITEMS, cases);
}

fn part(assembly: &mut Assembly, item: &Item<'_>) -> Result<usize, FrameError> {
    let (header, piece) = PartHeader::new_checked(item)?;
    let total = header.total.get() as usize;
    match assembly.take(item, 4096)? {
        Some(whole) => {
            assert_eq!(whole.len(), total);
            Ok(whole.len())
        }
        None => {
            assert!(piece.len() < total && total <= 4096);
            Ok(piece.len())
        }
    }
}

#[test]
fn requests_are_read_or_refused() {
    let samples = samples::requests();
    let (cases, mut rng, mut reached) = (cases(1), Rng::new(4), Reached::default());
    let mut bytes = Vec::new();
    for _ in 0..cases {
        next(&mut rng, &samples, &mut bytes);
        if rng.once_in(2) {
            mend_item(&mut bytes);
        }
        let Some(item) = reached.note(Item::new_checked_unpadded(&bytes)) else {
            continue;
        };
        if let Some(request) = reached.note(RequestView::new_checked(&item)) {
            assert!(!request.key.is_empty() && request.key.len() + request.message.len() < bytes.len());
            let (number, mark) = (request.header.number.get(), request.header.mark.get());
            assert!(!request.operation.is_numbered() || (1..=number).contains(&mark));
            assert!(HistoryRange::read_or_default(request.message).as_bytes().len() == 16);
        }
    }
    reached.assert_exactly(REQUESTS, cases);
}

#[test]
fn replies_are_read_or_refused() {
    let samples = samples::replies();
    let (cases, mut rng, mut reached) = (cases(1), Rng::new(5), Reached::default());
    let mut bytes = Vec::new();
    for _ in 0..cases {
        next(&mut rng, &samples, &mut bytes);
        if rng.once_in(2) {
            mend_item(&mut bytes);
        }
        let Some(item) = reached.note(Item::new_checked_unpadded(&bytes)) else {
            continue;
        };
        if let Some(reply) = reached.note(ReplyView::new_checked(&item)) {
            assert_eq!(reply.body.len() + 64, bytes.len());
            assert_eq!(reply.outcome as u8, reply.header.outcome);
        }
    }
    reached.assert_exactly(REPLIES, cases);
}

#[test]
fn runs_and_their_entries_are_read_or_refused() {
    let samples = samples::runs();
    let (cases, mut rng, mut reached) = (cases(1), Rng::new(6), Reached::default());
    let mut bytes = Vec::new();
    for _ in 0..cases {
        next(&mut rng, &samples, &mut bytes);
        mend_run(&mut rng, &mut bytes);
        let Some(run) = reached.note(RunView::new_checked(&bytes)) else {
            continue;
        };
        let mut last = run.header.first_seq.get() - 1;
        for (seq, entry) in run.entries() {
            assert_eq!(seq, last + 1);
            assert!(entry.mark() <= entry.header.number.get());
            assert!(entry.message.len() + entry.reply.len() < bytes.len());
            let flags = entry.header.flags.get();
            assert!(flags & VIEW_OPEN == 0 || flags == VIEW_OPEN);
            last = seq;
        }
        assert_eq!(last, run.last_seq());
        assert!(run.commit() <= last);
    }
    reached.assert_exactly(RUNS, cases);
}

#[test]
fn archives_are_read_or_refused() {
    let samples = samples::bodies();
    let (cases, mut rng, mut reached) = (cases(1), Rng::new(7), Reached::default());
    let mut bytes = Vec::new();
    for _ in 0..cases {
        next(&mut rng, &samples, &mut bytes);
        reached.note(body::decode::<ConfigBody>(&bytes).map(drop));
        reached.note(body::decode::<SlotTableBody>(&bytes).map(drop));
        reached.note(body::decode::<StatusBody>(&bytes).map(drop));
        reached.note(body::decode::<WhereBody>(&bytes).map(drop));
        reached.note(body::decode::<TopologyBody>(&bytes).map(drop));
        reached.note(body::decode::<OrderBody>(&bytes).map(drop));
        reached.note(body::decode::<OrderedBody>(&bytes).map(drop));
    }
    reached.assert_exactly(BODIES, cases);
}
