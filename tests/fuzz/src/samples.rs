//! Valid bytes of every format, to be damaged. Built by the same writers that a node uses.

use waterpark_wire::body::{
    self, ActorBody, ConfigBody, CounterBody, FacilityBody, GroupBody, GroupStateBody, HappeningBody, LinkBody,
    MemberBody, NodeBody, NodeStateBody, OrderBody, OrderedBody, SeatBody, SlotTableBody, StatusBody, TopologyBody,
    WhereBody,
};
use waterpark_wire::frame::{FRAME_HEADER, FrameAddress, FrameBuilder, FrameKind};
use waterpark_wire::item::ItemHeader;
use waterpark_wire::link::{
    Adopt, Adopted, Ask, BirthRefused, Commit, Document, Echo, Echoed, Exception, FETCH_ANEW, FETCH_DONE, FETCH_STATE,
    Fetch, GroupView, Heartbeat, MARKS_MAX, Mark, Nack, Out, PART_FIRST, PART_LAST, PIECE_LAST, PIECE_STATE,
    PartHeader, Piece, ReadBack, ReadBackEnd, Refusal, Seal, Sealed, StateHash, StatePart, mark_bytes, push_acked,
    push_confirm, push_confirmed, split_hash,
};
use waterpark_wire::reply::{self, Outcome, ReplyHeader};
use waterpark_wire::request::{self, Freshness, HistoryRange, Operation, ReadLevel, RequestHeader};
use waterpark_wire::run::{
    DROPPED, EVENT_IS_MESSAGE, EntryHeader, EntryParts, HASHED_FROM, RUN_HEADER, RunHeader, SWEEP, SWEPT, TICK,
    VIEW_OPEN, VOID,
};
use waterpark_wire::sweep::{SweepRule, push_sweep};
use waterpark_wire::{ItemKind, checksum, compress};
use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromZeros, IntoBytes};

/// A key's canonical bytes: kind `patient`, one field `id` of `1001`.
pub const KEY: &[u8] = b"\x07patient\x01\x02id\x04\x001001";
/// The longest frame and item that the tests allow.
pub const BYTES_MAX: usize = 16 << 10;

/// Requests: each operation, with and without a message.
#[must_use]
pub fn requests() -> Vec<Vec<u8>> {
    let range = HistoryRange {
        before_seq: U64::new(90),
        entries_max: U32::new(10),
        bytes_max: U32::new(4096),
    };
    let messages: [&[u8]; 3] = [b"", &[0x5A; 128], range.as_bytes()];
    let mut requests = Vec::new();
    for operation in Operation::ALL {
        for message in messages {
            let numbered = u32::from(operation.is_numbered());
            let header = RequestHeader {
                session: [3; 16],
                correlation: U64::new(11),
                number: U32::new(7 * numbered),
                mark: U32::new(5 * numbered),
                timeout_ms: U32::new(1000),
                operation: operation as u8,
                ..RequestHeader::default()
            };
            let mut bytes = Vec::new();
            request::push(&mut bytes, &header, KEY, message);
            requests.push(bytes);
        }
    }
    let freshness = Freshness {
        seq: U64::new(40),
        age_ms: U32::new(250),
        ..Freshness::default()
    };
    for (level, tail) in [(ReadLevel::Session, range.as_bytes()), (ReadLevel::Bounded, &[])] {
        let header = RequestHeader {
            correlation: U64::new(12),
            operation: Operation::History as u8,
            level: level as u8,
            ..RequestHeader::default()
        };
        let mut bytes = Vec::new();
        request::push(&mut bytes, &header, KEY, &[freshness.bytes(), tail].concat());
        requests.push(bytes);
    }
    requests
}

/// Replies: each outcome.
#[must_use]
pub fn replies() -> Vec<Vec<u8>> {
    let reply = |&outcome: &Outcome| {
        let header = ReplyHeader {
            correlation: U64::new(11),
            view: U64::new(3),
            seq: U64::new(70),
            outcome: outcome as u8,
            ..ReplyHeader::default()
        };
        let mut bytes = Vec::new();
        reply::push(&mut bytes, &header, &[9; 20]);
        bytes
    };
    Outcome::ALL.iter().map(reply).collect()
}

/// One of each small item of links and connections, padded.
#[must_use]
pub fn link_items() -> Vec<Vec<u8>> {
    [plain_items(), view_change_items(), read_items()].concat()
}

/// Those by which a writer knows that it is one, and a follower how fresh it is.
fn read_items() -> Vec<Vec<u8>> {
    let item = ItemHeader {
        group: U32::new(5),
        ..ItemHeader::default()
    };
    let views: Vec<GroupView> = (1..=3)
        .map(|group| GroupView {
            group: U32::new(group),
            reserved: U32::ZERO,
            view: U64::new(9),
        })
        .collect();
    let (view, stamp_ns) = (U64::new(9), U64::new(77));
    let mut items = vec![Vec::new(); 6];
    push_confirm(&mut items[0], 1, &views);
    push_confirm(&mut items[1], 2, &views[..1]);
    push_confirmed(&mut items[2], 2, &views);
    Echo { item, view, stamp_ns }.push(&mut items[3], &[]);
    let echoed = Echoed {
        item,
        view,
        stamp_ns,
        commit: U64::new(40),
        reserved: U64::ZERO,
    };
    echoed.push(&mut items[4], &[]);
    let said = StateHash {
        item,
        lineage: U64::ZERO,
        seq: U64::new(1_024),
        hash: U64::new(77),
        reserved: U64::ZERO,
    };
    said.push(&mut items[5], &[]);
    items
}

/// Those by which a group gets another view: each question and answer, and portions of a log and of a state.
///
/// # Panics
/// Never: the samples are small.
fn view_change_items() -> Vec<Vec<u8>> {
    let item = ItemHeader {
        group: U32::new(5),
        ..ItemHeader::default()
    };
    let (view, reserved) = (U64::new(9), U64::ZERO);
    let last_hash = split_hash(0x0102_0304_0506_0708_090A_0B0C_0D0E_0F10);
    let fetch = |count: usize, flags: u8| {
        let mark = |seq: usize| Mark {
            seq: U64::new(seq as u64),
            hash: last_hash,
        };
        let marks: Vec<Mark> = (1..=count).rev().map(mark).collect();
        let header = Fetch {
            item: ItemHeader {
                flags,
                count: U16::new(u16::try_from(count).expect("few marks")),
                ..item
            },
            view,
            log_view: U64::new(2),
            applied: U64::new(7),
            commit: U64::new(1),
            state_hash: last_hash,
            state_bytes: U64::new(3),
            reserved,
        };
        let mut bytes = Vec::new();
        header.push(&mut bytes, mark_bytes(&marks));
        bytes
    };
    let piece = |flags: u8, tail: &[u8]| {
        let header = Piece {
            item: ItemHeader { flags, ..item },
            view,
            after: U64::new(39),
            last_seq: U64::new(40),
            offset: U64::ZERO,
        };
        let mut bytes = Vec::new();
        header.push(&mut bytes, tail);
        bytes
    };
    let state_part = |length: usize| {
        let head = StatePart {
            length: U64::new(length as u64),
            seq: U64::new(40),
            hash: last_hash,
        };
        let mut bytes = Vec::new();
        head.push(&mut bytes, &vec![7; length]);
        bytes
    };
    let mut items = vec![Vec::new(); 4];
    Seal { item, view, reserved }.push(&mut items[0], &[]);
    let sealed = Sealed {
        item,
        view,
        log_view: U64::new(2),
        last_seq: U64::new(40),
        commit: U64::new(38),
        last_hash,
    };
    sealed.push(&mut items[1], &[]);
    let adopt = Adopt {
        item,
        view,
        lineage: U64::new(1),
        last_seq: U64::new(41),
        reserved,
        last_hash,
    };
    adopt.push(&mut items[2], &[]);
    let nack = Nack {
        item,
        view,
        promised: U64::new(12),
    };
    nack.push(&mut items[3], &[]);
    let run = &runs()[0];
    items.extend([
        fetch(1, 0),
        fetch(3, FETCH_STATE | FETCH_ANEW),
        fetch(1, FETCH_DONE),
        fetch(MARKS_MAX, 0),
    ]);
    items.extend([
        piece(0, run),
        piece(PIECE_LAST, run),
        piece(PIECE_LAST, &[]),
        piece(PIECE_STATE, &state_part(100)),
        piece(PIECE_STATE | PIECE_LAST, &state_part(9)),
    ]);
    items
}

/// The others, in the order of their kinds.
fn plain_items() -> Vec<Vec<u8>> {
    let exception = |answer: u8| Exception {
        group: U32::new(5),
        answer,
        reserved: [0; 3],
        view: U64::new(2),
        value: U64::new(40),
    };
    let item = ItemHeader {
        group: U32::new(5),
        ..ItemHeader::default()
    };
    let part = |flags: u8, offset: u32| PartHeader {
        item: ItemHeader { flags, ..item },
        total: U32::new(64),
        offset: U32::new(offset),
        stream: U64::new(1),
    };
    let write = |push: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        push(&mut bytes);
        bytes
    };
    vec![
        write(&|b| push_acked(b, 3, 9, &[])),
        write(&|b| push_acked(b, 3, 9, &[exception(1), exception(2), exception(3)])),
        write(&|b| {
            Adopted {
                item,
                view: U64::new(2),
                last_seq: U64::new(40),
            }
            .push(b, &[]);
        }),
        write(&|b| {
            BirthRefused {
                item,
                view: U64::new(2),
                incarnation: U64::new(40),
            }
            .push(b, &[]);
        }),
        write(&|b| {
            Commit {
                item,
                view: U64::new(2),
                commit: U64::new(40),
            }
            .push(b, &[]);
        }),
        write(&|b| {
            Heartbeat {
                item,
                wall_ms: U64::new(2),
                sent: U64::new(40),
            }
            .push(b, &[]);
        }),
        write(&|b| part(PART_FIRST, 0).push(b, &[1; 32])),
        write(&|b| part(0, 32).push(b, &[1; 16])),
        write(&|b| part(PART_LAST, 32).push(b, &[1; 32])),
        write(&|b| part(PART_FIRST | PART_LAST, 0).push(b, &[1; 64])),
        write(&|b| {
            Out {
                item,
                view: U64::new(2),
                incarnation: U64::new(40),
            }
            .push(b, &[]);
        }),
        write(&|b| {
            ReadBack {
                item,
                from_seq: U64::new(2),
                ..ReadBack::default()
            }
            .push(b, &[]);
        }),
        write(&|b| {
            ReadBackEnd {
                item,
                next_seq: U64::new(2),
                commit: U64::new(40),
            }
            .push(b, &[]);
        }),
        write(&|b| {
            Ask {
                item,
                correlation: U64::new(2),
                ..Ask::default()
            }
            .push(b, &[]);
        }),
        write(&|b| {
            Document {
                item,
                correlation: U64::new(2),
                ..Document::default()
            }
            .push(b, &bodies()[0]);
        }),
        write(&|b| {
            Refusal {
                item,
                detail: U64::new(2),
                ..Refusal::default()
            }
            .push(b, b"a reason");
        }),
    ]
}

/// Runs: one entry, entries with every section, and the writer's own.
///
/// # Panics
/// Never: the samples are small.
#[must_use]
pub fn runs() -> Vec<Vec<u8>> {
    let header = |flags: u16| EntryHeader {
        actor: U32::new(1),
        number: U32::new(9),
        mark_distance: 4,
        flags: U16::new(flags),
        ..EntryHeader::default()
    };
    let plain = EntryParts {
        header: header(EVENT_IS_MESSAGE),
        message: &[0x5A; 128],
        ..EntryParts::default()
    };
    let introducing = EntryParts {
        key: Some(KEY),
        session: Some(&[3; 16]),
        reply: &[1; 30],
        ..plain
    };
    let with_event = EntryParts {
        header: header(0),
        event: Some(&[2; 50]),
        ..plain
    };
    let tick = EntryParts {
        header: header(TICK),
        ..EntryParts::default()
    };
    let mut message = Vec::new();
    push_sweep(
        &mut message,
        39,
        &[(b"meter", SweepRule::Last(7)), (b"trace", SweepRule::None)],
    );
    let sweep = EntryParts {
        header: header(TICK | SWEEP),
        message: &message,
        ..EntryParts::default()
    };
    let void = EntryParts {
        header: header(VOID),
        ..EntryParts::default()
    };
    let view_open = EntryParts {
        header: header(VIEW_OPEN),
        ..EntryParts::default()
    };
    vec![
        run(&[plain]),
        run(&[introducing, plain, with_event]),
        run(&[tick, void]),
        run(&[sweep]),
        dropped(run(&[plain])),
        run(&[introducing]),
        run(&[view_open]),
    ]
}

/// A sealed run of these entries.
///
/// # Panics
/// If the entries do not fit a run.
#[must_use]
pub fn run(entries: &[EntryParts<'_>]) -> Vec<u8> {
    let mut bytes = vec![0; RUN_HEADER];
    for entry in entries {
        let at = bytes.len();
        bytes.resize(at + entry.length(), 0);
        entry.write(&mut bytes[at..]);
    }
    let mut header = RunHeader::new_zeroed();
    header.item.kind = ItemKind::Append as u8;
    header.item.count = U16::new(u16::try_from(entries.len()).expect("few entries"));
    header.item.length = U32::new(u32::try_from(bytes.len()).expect("a short run"));
    header.item.group = U32::new(5);
    header.view = U64::new(2);
    header.first_seq = U64::new(40);
    header.put(&mut bytes);
    header.chain_hash = U128::new(checksum::chain(&bytes[HASHED_FROM..]));
    header.put(&mut bytes);
    bytes
}

/// The same run of one plain entry, its message dropped by retention: the length stands, the bytes are gone.
fn dropped(mut run: Vec<u8>) -> Vec<u8> {
    let flags = RUN_HEADER + std::mem::offset_of!(EntryHeader, flags);
    run[flags..flags + 2].copy_from_slice(&DROPPED.to_le_bytes());
    run.truncate(RUN_HEADER + size_of::<EntryHeader>());
    run[RUN_HEADER..RUN_HEADER + 4].copy_from_slice(&32u32.to_le_bytes());
    run[1] = SWEPT;
    run[4..8].copy_from_slice(&96u32.to_le_bytes());
    let hash = checksum::chain(&run[HASHED_FROM..]);
    run[16..HASHED_FROM].copy_from_slice(&hash.to_le_bytes());
    run
}

/// One archive of each body, in the order of the crate.
#[must_use]
pub fn bodies() -> Vec<Vec<u8>> {
    let member = |node: u16| MemberBody { node, incarnation: 7 };
    let group = GroupBody {
        group: 5,
        role: "a follower, in more words than fit in line".into(),
        members: vec![1, 2, 3, 4, 5],
        held: vec![9; 5],
        ..GroupBody::default()
    };
    let status = StatusBody {
        node: "FL-A-1".into(),
        driver: "io_uring".into(),
        groups: vec![group.clone(), GroupBody::default()],
        links: vec![LinkBody::default(); 2],
        counters: vec![CounterBody {
            name: "frames that straddled two receives".into(),
            value: 3,
        }],
        actors: vec![ActorBody {
            group: 5,
            key: vec![7; 40],
            ..ActorBody::default()
        }],
        ..StatusBody::default()
    };
    let seat = SeatBody {
        node: 1,
        group: 5,
        shard: 2,
        pinned: true,
        position: 7,
    };
    let table = SlotTableBody {
        cluster: [1; 16],
        groups: 2,
        classes: 1,
        facilities: vec![FacilityBody {
            name: b"HOSPX".to_vec(),
            class: 0,
        }],
        nodes: vec![NodeBody {
            id: 1,
            name: "FL-A-1".into(),
            host: "127.0.0.1".into(),
            native_port: 7064,
            shards: 2,
        }],
        slots: vec![vec![1, 2, 3], vec![3, 1, 2]],
        message_bytes_max: 1 << 20,
        seats: vec![seat],
    };
    let config = ConfigBody {
        group: 5,
        view: 2,
        lineage: 1,
        members: (1..=5).map(member).collect(),
        write_quorum: 3,
        read_quorum: 3,
    };
    let place = WhereBody {
        group,
        node: 1,
        shard: 0,
    };
    let topology = TopologyBody {
        position: 7,
        configuration: 2,
        voters: vec![1, 2, 3],
        nodes: vec![NodeStateBody::default()],
        groups: vec![GroupStateBody {
            active: config.clone(),
            pending: vec![config.clone()],
            learners: vec![member(6)],
            lost: false,
            survivors: vec![member(2)],
        }],
        history: vec![HappeningBody {
            what: "proposed".into(),
            members: vec![1, 2, 3],
            ..HappeningBody::default()
        }],
        seats: vec![seat],
    };
    let order = OrderBody {
        order: 1,
        groups: vec![5],
        reason: "a disk went with its server".into(),
        seats: vec![seat],
        ..OrderBody::default()
    };
    vec![
        body::encode(&config).to_vec(),
        body::encode(&table).to_vec(),
        body::encode(&status).to_vec(),
        body::encode(&place).to_vec(),
        body::encode(&topology).to_vec(),
        body::encode(&order).to_vec(),
        body::encode(&OrderedBody::default()).to_vec(),
    ]
}

/// A frame of these items, folded if asked for and if that makes it shorter.
#[must_use]
pub fn frame(items: &[Vec<u8>], number: u64, is_folded: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut builder = FrameBuilder::begin(&mut bytes);
    for item in items {
        bytes.extend_from_slice(item);
        builder.pushed();
    }
    let address = FrameAddress {
        kind: FrameKind::Peer,
        sender: (1, 100),
        receiver: (2, 200),
        number,
        epoch: 1,
    };
    builder.finish(&mut bytes, &address);
    if is_folded {
        let was_folded = compress::fold(&mut bytes, &mut Vec::new());
        debug_assert!(was_folded || bytes.len() <= FRAME_HEADER + 64);
    }
    bytes
}

/// Frames: small items, runs, requests and replies, empty, and folded.
#[must_use]
pub fn frames() -> Vec<Vec<u8>> {
    vec![
        frame(&[], 0, false),
        frame(&link_items()[..4], 0, false),
        frame(&runs(), 4, false),
        frame(&requests()[..3], 0, false),
        frame(&replies()[..3], 0, false),
        frame(&runs()[..2], 5, true),
        frame(&link_items()[6..9], 0, false),
    ]
}
