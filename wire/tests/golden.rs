//! `docs/frame_format.md` and the code say the same: the bytes of one example of each format. Its tables are for
//! `layout.rs`.
//!
//! A difference here means that two releases could not talk. Change the page only together with a format or schema
//! number, or before the format was ever released.

use std::fmt::Write as _;

use waterpark_wire::frame::{self, FrameAddress, FrameBuilder, FrameKind};
use waterpark_wire::handshake::messages::{
    self, Challenge, Hello, MessageKind, Prefix, Proof, Refused, ReleaseNumbers, WelcomeMessage,
};
use waterpark_wire::handshake::{Acceptor, Dialer, HandshakeRefusal, Purpose, Release, Step};
use waterpark_wire::item::ItemHeader;
use waterpark_wire::link::{
    self, Adopt, Adopted, Ask, BirthRefused, Commit, DOCUMENT_SLOT_TABLE, Document, Echo, Echoed, Exception, Fetch,
    GroupView, HEARTBEAT_OUT, Heartbeat, Mark, Nack, Out, PART_FIRST, PIECE_LAST, PIECE_STATE, PartHeader, Piece,
    ReadBack, ReadBackEnd, Refusal, Seal, Sealed, StateHash, StatePart, push_acked,
};
use waterpark_wire::reply::{self, Outcome, ReplyHeader};
use waterpark_wire::request::{self, Freshness, HistoryRange, Operation, ReadLevel, RequestHeader, RequestView};
use waterpark_wire::run::{self, EntryHeader, EntryParts, HASHED_FROM, RUN_HEADER, RunHeader, RunView};
use waterpark_wire::sweep::{SweepRule, SweepView, push_sweep};
use waterpark_wire::{ConnectionRefusal, FrameError, FrameView, Item, ItemKind, checksum};
use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

mod support;

const PAGE: &str = include_str!("../../docs/frame_format.md");
const KEY: &[u8] = b"\x07patient\x01\x02id\x04\x001001";

/// The bytes of the example of this name, offsets left out.
fn example(name: &str) -> Vec<u8> {
    let (_, rest) = PAGE
        .split_once(&format!("\n```hex {name}\n"))
        .unwrap_or_else(|| panic!("no example {name:?}"));
    let (block, _) = rest.split_once("```").expect("the block ends");
    let digits = block.lines().flat_map(|line| line.split_whitespace().skip(1));
    digits
        .map(|byte| u8::from_str_radix(byte, 16).unwrap_or_else(|_| panic!("{byte:?} in {name:?} is no byte")))
        .collect()
}

fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (row, line) in bytes.chunks(16).enumerate() {
        write!(text, "{:04x} ", row * 16).expect("text grows");
        for byte in line {
            write!(text, " {byte:02x}").expect("text grows");
        }
        text.push('\n');
    }
    text
}

#[track_caller]
fn assert_example(name: &str, bytes: &[u8]) {
    assert!(
        example(name) == bytes,
        "the example of the page differs from what the code writes:\n```hex {name}\n{}```",
        shown(bytes)
    );
}

#[test]
fn a_frame_has_the_bytes_of_the_page() {
    let mut items = Vec::new();
    heartbeat().push(&mut items, &[]);
    let mut bytes = Vec::new();
    let mut builder = FrameBuilder::begin(&mut bytes);
    builder.push(&mut bytes, &items, &[]);
    let address = FrameAddress {
        kind: FrameKind::Peer,
        sender: (4, 0x0102_0304_0506_0708),
        receiver: (9, 0x1112_1314_1516_1718),
        number: 0,
        epoch: 5,
    };
    builder.finish(&mut bytes, &address);
    assert_example("frame", &bytes);
    let page = example("frame");
    let frame = FrameView::new_checked(&page, frame::FRAME_BYTES_MAX).expect("the page's frame is good");
    assert_eq!(frame.items().count(), 1);
}

#[test]
fn items_of_read_confirmations_have_the_bytes_of_the_page() {
    let view = |group: u32, view: u64| GroupView {
        group: U32::new(group),
        reserved: U32::ZERO,
        view: U64::new(view),
    };
    let views = [view(7, 12), view(9, 3)];
    let item = ItemHeader {
        group: U32::new(7),
        ..ItemHeader::default()
    };
    let (view, stamp_ns) = (U64::new(12), U64::new(1_000_000_007));
    let echoed = Echoed {
        item,
        view,
        stamp_ns,
        commit: U64::new(40),
        reserved: U64::ZERO,
    };
    let mut examples = ["confirm", "confirmed", "echo", "echoed"].map(|name| (name, Vec::new()));
    link::push_confirm(&mut examples[0].1, 5, &views);
    link::push_confirmed(&mut examples[1].1, 5, &views[..1]);
    Echo { item, view, stamp_ns }.push(&mut examples[2].1, &[]);
    echoed.push(&mut examples[3].1, &[]);
    for (name, bytes) in &examples {
        assert_example(name, bytes);
    }
    for (name, views) in [("confirm", &views[..]), ("confirmed", &views[..1])] {
        let page = example(name);
        let item = Item::new_checked(&page).expect("the page's item is good");
        assert_eq!(link::confirm(&item), Ok((5, views)));
    }
}

#[test]
fn a_hash_of_a_state_has_the_bytes_of_the_page() {
    let item = ItemHeader {
        group: U32::new(7),
        aux: U32::new(1),
        ..ItemHeader::default()
    };
    let said = StateHash {
        item,
        lineage: U64::new(2),
        seq: U64::new(1_024),
        hash: U64::new(0x0102_0304_0506_0708),
        reserved: U64::ZERO,
    };
    let mut bytes = Vec::new();
    said.push(&mut bytes, &[]);
    assert_example("state_hash", &bytes);
}

#[test]
fn a_session_read_has_the_bytes_of_the_page() {
    let header = RequestHeader {
        item: ItemHeader {
            group: U32::new(7),
            ..ItemHeader::default()
        },
        correlation: U64::new(11),
        timeout_ms: U32::new(5000),
        operation: Operation::History as u8,
        level: ReadLevel::Session as u8,
        ..RequestHeader::default()
    };
    let freshness = Freshness {
        lineage: U64::new(1),
        view: U64::new(3),
        seq: U64::new(40),
        ..Freshness::default()
    };
    let range = HistoryRange {
        before_seq: U64::new(90),
        entries_max: U32::new(10),
        bytes_max: U32::new(4096),
    };
    let mut bytes = Vec::new();
    request::push(
        &mut bytes,
        &header,
        KEY,
        &[freshness.bytes(), range.as_bytes()].concat(),
    );
    assert_example("read", &bytes);
    let page = example("read");
    let item = Item::new_checked(&page).expect("the page's item is good");
    let read = RequestView::new_checked(&item).expect("and so is the request");
    assert_eq!((read.level, read.freshness), (ReadLevel::Session, Some(&freshness)));
    assert_eq!(read.question(), range.as_bytes());
}

fn heartbeat() -> Heartbeat {
    Heartbeat {
        item: ItemHeader {
            flags: HEARTBEAT_OUT,
            ..ItemHeader::default()
        },
        wall_ms: U64::new(1_700_000_000_000),
        sent: U64::new(41),
    }
}

#[test]
fn the_last_frame_of_a_link_has_the_bytes_of_the_page() {
    let address = FrameAddress {
        kind: FrameKind::Peer,
        sender: (4, 0x0102_0304_0506_0708),
        receiver: (9, 0x1112_1314_1516_1718),
        number: 0,
        epoch: 5,
    };
    assert_example("last-words", &ConnectionRefusal::Stranger.frame(&address));
    let page = example("last-words");
    let frame = FrameView::new_checked(&page, frame::FRAME_BYTES_MAX).expect("the page's frame is good");
    let refusal = ConnectionRefusal::from_frame(&frame);
    assert_eq!(refusal, Ok(Some(ConnectionRefusal::Stranger)));
}

#[test]
fn a_sweep_has_the_bytes_of_the_page() {
    let rules: [(&[u8], SweepRule); 2] = [(b"meter", SweepRule::Last(7)), (b"trace", SweepRule::None)];
    let mut bytes = Vec::new();
    push_sweep(&mut bytes, 40, &rules);
    assert_example("sweep", &bytes);
    let page = example("sweep");
    let sweep = SweepView::new_checked(&page).expect("the page's sweep is good");
    assert_eq!(sweep.upto, 40);
    assert!(sweep.rules().eq(rules));
}

#[test]
fn a_run_has_the_bytes_of_the_page() {
    let entry = EntryParts {
        header: EntryHeader {
            actor: U32::new(2),
            lane: U32::new(3),
            number: U32::new(9),
            time_delta_ms: U16::new(4),
            handler: U16::new(1),
            flags: U16::new(run::EVENT_IS_MESSAGE),
            mark_distance: 6,
            ..EntryHeader::default()
        },
        message: b"twenty bytes of text",
        key: Some(KEY),
        session: Some(b"a session's name"),
        event: None,
        reply: b"reply",
    };
    let mut bytes = vec![0; RUN_HEADER + entry.length()];
    entry.write(&mut bytes[RUN_HEADER..]);
    let mut header = RunHeader::new_zeroed();
    header.item = ItemHeader {
        kind: ItemKind::Append as u8,
        flags: 0,
        count: U16::new(1),
        length: U32::new(u32::try_from(bytes.len()).expect("a short run")),
        group: U32::new(7),
        aux: U32::new(1),
    };
    header.view = U64::new(3);
    header.first_seq = U64::new(40);
    header.base_time_ms = U64::new(1_700_000_000_000);
    header.prev_hash = U64::new(0x0102_0304_0506_0708);
    header.put(&mut bytes);
    header.chain_hash = U128::new(checksum::chain(&bytes[HASHED_FROM..]));
    header.put(&mut bytes);
    assert_example("run", &bytes);
    let page = example("run");
    let run = RunView::new_checked(&page).expect("the page's run is good");
    assert_eq!((run.last_seq(), run.commit()), (40, 39));
    let (_, entry) = run.entries().next().expect("one entry");
    assert_eq!(
        (entry.key, entry.event, entry.mark()),
        (Some(KEY), Some(&b"twenty bytes of text"[..]), 3)
    );
}

/// The run that begins view 12 of the group of the page's run, behind it.
fn view_open() -> Vec<u8> {
    let before = example("run");
    let before = RunHeader::read(&before);
    let entry = EntryParts {
        header: EntryHeader {
            actor: U32::MAX_VALUE,
            lane: U32::MAX_VALUE,
            flags: U16::new(run::VIEW_OPEN),
            ..EntryHeader::default()
        },
        ..EntryParts::default()
    };
    let mut bytes = vec![0; RUN_HEADER + entry.length()];
    entry.write(&mut bytes[RUN_HEADER..]);
    let mut header = RunHeader::new_zeroed();
    header.item = ItemHeader {
        kind: ItemKind::Append as u8,
        count: U16::new(1),
        length: U32::new(u32::try_from(bytes.len()).expect("a short run")),
        group: U32::new(7),
        ..ItemHeader::default()
    };
    header.view = U64::new(12);
    header.first_seq = U64::new(41);
    header.base_time_ms = U64::new(1_700_000_000_010);
    header.prev_hash = link::split_hash(before.chain_hash.get())[0];
    header.put(&mut bytes);
    header.chain_hash = U128::new(checksum::chain(&bytes[HASHED_FROM..]));
    header.put(&mut bytes);
    bytes
}

#[test]
fn the_run_that_begins_a_view_has_the_bytes_of_the_page() {
    assert_example("view-open", &view_open());
    let page = example("view-open");
    let run = RunView::new_checked(&page).expect("the page's run is good");
    let (seq, entry) = run.entries().next().expect("one entry");
    assert_eq!((seq, entry.header.flags.get()), (41, run::VIEW_OPEN));
    assert!(entry.message.is_empty() && entry.event.is_none() && entry.reply.is_empty());
}

#[test]
fn items_of_a_view_change_have_the_bytes_of_the_page() {
    let (run, view_open) = (example("run"), example("view-open"));
    let hash_of = |run: &[u8]| link::split_hash(RunHeader::read(run).chain_hash.get());
    let item = ItemHeader {
        group: U32::new(7),
        ..ItemHeader::default()
    };
    let (view, reserved) = (U64::new(12), U64::ZERO);
    let mut examples: [(&str, Vec<u8>); 7] =
        ["seal", "sealed", "adopt", "fetch", "piece", "nack", "state-part"].map(|n| (n, Vec::new()));
    Seal { item, view, reserved }.push(&mut examples[0].1, &[]);
    let sealed = Sealed {
        item,
        view,
        log_view: U64::new(3),
        last_seq: U64::new(40),
        commit: U64::new(39),
        last_hash: hash_of(&run),
    };
    sealed.push(&mut examples[1].1, &[]);
    let adopt = Adopt {
        item,
        view,
        lineage: U64::new(1),
        last_seq: U64::new(41),
        reserved,
        last_hash: hash_of(&view_open),
    };
    adopt.push(&mut examples[2].1, &[]);
    let marks = [
        Mark {
            seq: U64::new(40),
            hash: hash_of(&run),
        },
        Mark {
            seq: U64::new(38),
            hash: link::split_hash(0x1112_1314_1516_1718_0102_0304_0506_0708),
        },
    ];
    let fetch = Fetch {
        item: ItemHeader {
            count: U16::new(2),
            ..item
        },
        view,
        log_view: view,
        applied: U64::new(37),
        commit: U64::new(38),
        state_hash: [U64::ZERO; 2],
        state_bytes: U64::ZERO,
        reserved,
    };
    fetch.push(&mut examples[3].1, link::mark_bytes(&marks));
    let piece = Piece {
        item: ItemHeader {
            flags: PIECE_LAST,
            ..item
        },
        view,
        after: U64::new(40),
        last_seq: U64::new(41),
        offset: U64::ZERO,
    };
    piece.push(&mut examples[4].1, &view_open);
    let nack = Nack {
        item,
        view,
        promised: U64::new(15),
    };
    nack.push(&mut examples[5].1, &[]);
    let state: Vec<u8> = (0..32).collect();
    let head = StatePart {
        length: U64::new(32),
        seq: U64::new(40),
        hash: link::split_hash(checksum::state(&state)),
    };
    let mut part = Vec::new();
    head.push(&mut part, &state[24..]);
    let piece = Piece {
        item: ItemHeader {
            flags: PIECE_STATE | PIECE_LAST,
            ..item
        },
        offset: U64::new(24),
        ..piece
    };
    piece.push(&mut examples[6].1, &part);
    for (name, bytes) in &examples {
        assert_example(name, bytes);
    }
    let page = example("fetch");
    let item = Item::new_checked_unpadded(&page[..128]).expect("the page's item is good");
    let (_, read) = link::fetch(&item).expect("and so are its marks");
    assert_eq!(read, marks);
    let page = example("piece");
    let item = Item::new_checked(&page).expect("the page's item is good");
    let (_, run) = Piece::new_checked(&item).expect("it is a piece");
    assert_eq!(run, view_open);
    let page = example("state-part");
    let item = Item::new_checked_unpadded(&page[..88]).expect("the page's item is good");
    let (piece, tail) = Piece::new_checked(&item).expect("it is a piece");
    let (head, part) = StatePart::new_checked(tail, piece.offset.get()).expect("of a state");
    assert_eq!((head.seq.get(), part), (40, &state[24..]));
}

#[test]
fn a_request_and_its_reply_have_the_bytes_of_the_page() {
    let group = ItemHeader {
        group: U32::new(7),
        ..ItemHeader::default()
    };
    let request = RequestHeader {
        item: ItemHeader {
            flags: request::SENT_BEFORE,
            ..group
        },
        session: *b"a session's name",
        correlation: U64::new(11),
        number: U32::new(9),
        mark: U32::new(3),
        timeout_ms: U32::new(5000),
        operation: Operation::Send as u8,
        ..RequestHeader::default()
    };
    let mut bytes = Vec::new();
    request::push(&mut bytes, &request, KEY, b"admitted");
    assert_example("request", &bytes);

    let reply = ReplyHeader {
        item: ItemHeader {
            flags: reply::HAS_TOKEN,
            ..group
        },
        correlation: U64::new(11),
        lineage: U64::new(1),
        view: U64::new(3),
        seq: U64::new(40),
        number: U32::new(9),
        outcome: Outcome::Done as u8,
        ..ReplyHeader::default()
    };
    let mut bytes = Vec::new();
    reply::push(&mut bytes, &reply, &[]);
    assert_example("reply", &bytes);
}

#[test]
fn items_of_links_have_the_bytes_of_the_page() {
    let item = ItemHeader {
        group: U32::new(7),
        ..ItemHeader::default()
    };
    let aux = |aux: u32| ItemHeader {
        aux: U32::new(aux),
        ..ItemHeader::default()
    };
    let gap = Exception {
        group: U32::new(7),
        answer: 1,
        reserved: [0; 3],
        view: U64::new(3),
        value: U64::new(38),
    };
    let (view, incarnation) = (U64::new(3), U64::new(0x0102_0304_0506_0708));
    let write = |push: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        push(&mut bytes);
        bytes
    };
    let refused = ItemHeader {
        aux: U32::new(9),
        ..item
    };
    let part = PartHeader {
        item: ItemHeader {
            flags: PART_FIRST,
            ..ItemHeader::default()
        },
        total: U32::new(70_000),
        offset: U32::ZERO,
        stream: U64::new(2),
    };
    let read_back = ReadBack {
        item,
        from_seq: U64::new(38),
        bytes_max: U32::new(65_536),
        reserved: U32::ZERO,
    };
    let (correlation, reserved) = (U64::new(12), U64::ZERO);
    let table = aux(DOCUMENT_SLOT_TABLE);
    let refusal = Refusal {
        item: aux(FrameError::Checksum as u32),
        detail: U64::ZERO,
        detail2: U64::ZERO,
    };
    let examples: [(&str, Vec<u8>); 12] = [
        ("acked", write(&|b| push_acked(b, 40, 41, &[gap]))),
        (
            "adopted",
            write(&|b| {
                Adopted {
                    item,
                    view,
                    last_seq: U64::new(40),
                }
                .push(b, &[]);
            }),
        ),
        (
            "birth-refused",
            write(&|b| {
                BirthRefused {
                    item: refused,
                    view,
                    incarnation,
                }
                .push(b, &[]);
            }),
        ),
        (
            "commit",
            write(&|b| {
                Commit {
                    item,
                    view,
                    commit: U64::new(39),
                }
                .push(b, &[]);
            }),
        ),
        ("heartbeat", write(&|b| heartbeat().push(b, &[]))),
        ("part", write(&|b| part.push(b, b"a piece"))),
        (
            "out",
            write(&|b| {
                Out {
                    item,
                    view,
                    incarnation,
                }
                .push(b, &[]);
            }),
        ),
        ("read-back", write(&|b| read_back.push(b, &[]))),
        (
            "read-back-end",
            write(&|b| {
                ReadBackEnd {
                    item,
                    next_seq: U64::new(41),
                    commit: U64::new(40),
                }
                .push(b, &[]);
            }),
        ),
        (
            "ask",
            write(&|b| {
                Ask {
                    item: table,
                    correlation,
                    reserved,
                }
                .push(b, &[]);
            }),
        ),
        (
            "document",
            write(&|b| {
                Document {
                    item: table,
                    correlation,
                    reserved,
                }
                .push(b, b"an archive");
            }),
        ),
        ("refusal", write(&|b| refusal.push(b, b"checksum wrong"))),
    ];
    for (name, bytes) in &examples {
        assert_example(name, bytes);
        let page = example(name);
        Item::new_checked(&page).expect("the page's item is good");
    }
}

/// The proof that ends a message, as the page says it is made.
fn prove(label: &[u8; 16], before: &[&[u8]], message: &mut [u8]) {
    let (said, proof) = message.split_at_mut(message.len() - 32);
    let input = [&[&label[..]], before, &[&*said]].concat().concat();
    proof.copy_from_slice(blake3::keyed_hash(&support::KEY, &input).as_bytes());
}

/// The page's examples are of release 1.2.3, so that they outlive this one.
fn release() -> ReleaseNumbers {
    ReleaseNumbers {
        major: U16::new(1),
        minor: U16::new(2),
        patch: U16::new(3),
    }
}

#[test]
fn handshake_messages_have_the_bytes_of_the_page() {
    let (dialer, acceptor) = (support::node(4), support::node(9));
    let link = Purpose::Link { number: 3 };
    let mut hello = Hello::new(&dialer, link, *b"a dialer's nonce", true);
    hello.release = release();
    assert_example("hello", hello.as_bytes());
    let hello = hello.as_bytes();

    let mut challenge = Challenge::new(&acceptor, *b"acceptor's nonce");
    challenge.release = release();
    prove(b"waterpark accept", &[hello], challenge.as_mut_bytes());
    assert_example("challenge", challenge.as_bytes());
    let challenge = challenge.as_bytes();

    let mut proof = Proof::new(&[]);
    prove(b"waterpark dialer", &[hello, challenge], proof.as_mut_bytes());
    assert_example("proof", proof.as_bytes());
    let proof = proof.as_bytes();

    let mut welcome = WelcomeMessage {
        prefix: Prefix::new(MessageKind::Welcome, 0),
        flags: messages::FLAG_LZ4,
        reserved: [0; 3],
        wall_ms: U64::new(1_700_000_000_000),
        epoch: U32::new(1),
        message_bytes_max: U32::new(1 << 20),
        mac: [0; 32],
    };
    prove(b"waterpark grants", &[hello, challenge, proof], welcome.as_mut_bytes());
    assert_example("welcome", welcome.as_bytes());

    let mut refused = Refused::new(HandshakeRefusal::UnknownNode, &[]);
    prove(b"waterpark refuse", &[hello, challenge, proof], refused.as_mut_bytes());
    assert_example("refused", refused.as_bytes());
}

/// What the examples were made with is what the machines do: they take the page's bytes, and write the same but for the
/// release.
#[test]
fn the_machines_speak_the_language_of_the_page() {
    let (dialer, acceptor) = (support::node(4), support::node(9));
    let own = Dialer::new(
        dialer,
        Purpose::Link { number: 3 },
        &support::KEY,
        *b"a dialer's nonce",
        true,
    );
    let hello = example("hello");
    let release_at = core::mem::offset_of!(Hello, release);
    assert_eq!(own.hello()[..release_at], hello[..release_at]);

    let machine = || Acceptor::new(acceptor.clone(), &support::KEY, *b"acceptor's nonce");
    for (is_granted, label) in [(true, b"waterpark grants"), (false, b"waterpark refuse")] {
        let mut machine = machine();
        let (_, Step::Send(challenge)) = machine.on_bytes(&hello, support::granted) else {
            panic!("the page's Hello is not taken");
        };
        let page = Challenge::read_from_bytes(&example("challenge")).expect("the page's Challenge is whole");
        let mut own = page;
        own.release = ReleaseNumbers::current();
        prove(b"waterpark accept", &[&hello], own.as_mut_bytes());
        assert_eq!(challenge, own.as_bytes());

        let mut proof = Proof::read_from_bytes(&example("proof")).expect("the page's Proof is whole");
        prove(b"waterpark dialer", &[&hello, &challenge], proof.as_mut_bytes());
        let (_, step) = machine.on_bytes(proof.as_bytes(), |claim| {
            assert_eq!(
                claim.release,
                Release {
                    major: 1,
                    minor: 2,
                    patch: 3
                }
            );
            if is_granted {
                Ok(support::offer())
            } else {
                Err(HandshakeRefusal::UnknownNode)
            }
        });
        let (Step::Done { send, .. } | Step::Refused { send, .. }) = step else {
            panic!("the page's Proof is not taken");
        };
        let mut expected = example(if is_granted { "welcome" } else { "refused" });
        prove(label, &[&hello, &challenge, proof.as_bytes()], &mut expected);
        assert_eq!(send, expected);
    }
}
