//! `docs/frame_format.md` and the code say the same: offsets, sizes, numbers and flags.

use waterpark_wire::frame::{self, FrameHeader, FrameKind};
use waterpark_wire::handshake::HandshakeRefusal;
use waterpark_wire::handshake::messages::{
    self, Challenge, Hello, MessageKind, Prefix, Proof, Refused, ReleaseNumbers, WelcomeMessage,
};
use waterpark_wire::item::ItemHeader;
use waterpark_wire::link::{
    self, Acked, Adopt, Adopted, Ask, BirthRefused, Commit, Confirm, Confirmed, DOCUMENT_SLOT_TABLE, DOCUMENT_STATUS,
    Document, Echo, Echoed, Exception, Fetch, GroupView, HEARTBEAT_OUT, HEARTBEAT_PRESSURE, Heartbeat, Mark, Nack, Out,
    PART_FIRST, PartHeader, Piece, ReadBack, ReadBackEnd, Refusal, Seal, Sealed, StateHash, StatePart,
};
use waterpark_wire::reply::{self, Outcome, ReplyHeader};
use waterpark_wire::request::{self, Freshness, HistoryRange, Operation, ReadLevel, RequestHeader};
use waterpark_wire::run::{self, EntryHeader, RunHeader};
use waterpark_wire::sweep::{SweepHeader, SweepRule};
use waterpark_wire::{ConnectionRefusal, FrameError, ItemKind};
use zerocopy::FromZeros;

const PAGE: &str = include_str!("../../docs/frame_format.md");
/// The rows of the first table under a heading, cells trimmed, backticks off.
fn table(heading: &str) -> Vec<Vec<String>> {
    let (_, rest) = PAGE
        .split_once(&format!("\n### {heading}\n"))
        .unwrap_or_else(|| panic!("no heading {heading:?}"));
    rest.lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            let cells = line.trim_matches('|').split(" | ");
            cells.map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
        })
        .collect()
}

/// Compares the table of a structure with the compiler's layout. The pattern without `..` holds the list of fields
/// complete.
macro_rules! assert_layout {
    ($type:ident { $($field:ident),+ $(,)? }) => {{
        let $type { $($field: _),+ } = $type::new_zeroed();
        let mut expected = vec![$((core::mem::offset_of!($type, $field), stringify!($field))),+];
        expected.push((size_of::<$type>(), ""));
        let expected: Vec<(usize, usize, &str)> =
            expected.windows(2).map(|pair| (pair[0].0, pair[1].0 - pair[0].0, pair[0].1)).collect();
        let rows = table(&format!("`{}`, {} bytes", stringify!($type), size_of::<$type>()));
        let written: Vec<(usize, usize, &str)> = rows
            .iter()
            .map(|row| (row[0].parse().expect("an offset"), row[1].parse().expect("a size"), row[2].as_str()))
            .collect();
        assert_eq!(written, expected, "the table of {}", stringify!($type));
    }};
}

#[test]
fn offsets_and_sizes_are_those_of_the_page() {
    assert_layout!(FrameHeader {
        magic,
        format,
        kind,
        schema,
        flags,
        length,
        items,
        sender_node,
        receiver_node,
        sender_incarnation,
        receiver_incarnation,
        number,
        epoch,
        raw_length,
        checksum,
    });
    assert_layout!(ItemHeader {
        kind,
        flags,
        count,
        length,
        group,
        aux
    });
    assert_layout!(RunHeader {
        item,
        chain_hash,
        view,
        first_seq,
        base_time_ms,
        prev_hash
    });
    assert_layout!(EntryHeader {
        length,
        actor,
        lane,
        back,
        number,
        message_length,
        time_delta_ms,
        handler,
        flags,
        mark_distance,
        outcome,
    });
    assert_layout!(SweepHeader { upto, kinds, reserved });
    assert_layout!(RequestHeader {
        item,
        session,
        correlation,
        key_hash,
        number,
        mark,
        timeout_ms,
        hops,
        operation,
        level,
        reserved,
    });
    assert_layout!(HistoryRange {
        before_seq,
        entries_max,
        bytes_max
    });
    assert_layout!(Freshness {
        lineage,
        view,
        seq,
        age_ms,
        reserved
    });
    assert_layout!(ReplyHeader {
        item,
        correlation,
        lineage,
        view,
        seq,
        detail,
        number,
        outcome,
        reserved,
    });
    assert_layout!(Acked { item, number, since });
    assert_layout!(Exception {
        group,
        answer,
        reserved,
        view,
        value
    });
    assert_layout!(Adopted { item, view, last_seq });
    assert_layout!(BirthRefused {
        item,
        view,
        incarnation
    });
    assert_layout!(Commit { item, view, commit });
    assert_layout!(Heartbeat { item, wall_ms, sent });
    assert_layout!(PartHeader {
        item,
        total,
        offset,
        stream
    });
    assert_layout!(Out {
        item,
        view,
        incarnation
    });
    assert_layout!(ReadBack {
        item,
        from_seq,
        bytes_max,
        reserved
    });
    assert_layout!(ReadBackEnd { item, next_seq, commit });
    assert_layout!(Ask {
        item,
        correlation,
        reserved
    });
    assert_layout!(Document {
        item,
        correlation,
        reserved
    });
    assert_layout!(Refusal { item, detail, detail2 });
    assert_layout!(Seal { item, view, reserved });
    assert_layout!(Sealed {
        item,
        view,
        log_view,
        last_seq,
        commit,
        last_hash
    });
    assert_layout!(Adopt {
        item,
        view,
        lineage,
        last_seq,
        reserved,
        last_hash
    });
    assert_layout!(Fetch {
        item,
        view,
        log_view,
        applied,
        commit,
        state_hash,
        state_bytes,
        reserved
    });
    assert_layout!(Mark { seq, hash });
    assert_layout!(Piece {
        item,
        view,
        after,
        last_seq,
        offset
    });
    assert_layout!(StatePart { length, seq, hash });
    assert_layout!(Nack { item, view, promised });
    assert_layout!(Confirm { item, round, reserved });
    assert_layout!(GroupView { group, reserved, view });
    assert_layout!(Confirmed { item, round, reserved });
    assert_layout!(Echo { item, view, stamp_ns });
    assert_layout!(Echoed {
        item,
        view,
        stamp_ns,
        commit,
        reserved
    });
    assert_layout!(StateHash {
        item,
        lineage,
        seq,
        hash,
        reserved
    });
    assert_layout!(Prefix {
        magic,
        format,
        kind,
        reserved,
        length
    });
    assert_layout!(ReleaseNumbers { major, minor, patch });
    assert_layout!(Hello {
        prefix,
        purpose,
        flags,
        number,
        cluster,
        nonce,
        topology_digest,
        incarnation,
        epoch,
        node,
        shard,
        shards,
        release,
    });
    assert_layout!(Challenge {
        prefix,
        flags,
        reserved,
        cluster,
        nonce,
        topology_digest,
        incarnation,
        node,
        shard,
        shards,
        release,
        reserved2,
        proof,
    });
    assert_layout!(Proof {
        prefix,
        reserved,
        attached_hash,
        proof
    });
    assert_layout!(WelcomeMessage {
        prefix,
        flags,
        reserved,
        wall_ms,
        epoch,
        message_bytes_max,
        mac,
    });
    assert_layout!(Refused {
        prefix,
        number,
        reserved,
        detail,
        attached_hash,
        mac
    });
}

fn assert_numbers(heading: &str, expected: &[(u64, String)]) {
    let rows = table(heading);
    let written: Vec<(u64, String)> = rows
        .iter()
        .map(|row| (row[0].parse().expect("a number"), row[1].clone()))
        .collect();
    assert_eq!(written, expected, "the table of {heading}");
    assert!(
        rows.iter().all(|row| row.len() == 3 && !row[2].is_empty()),
        "each {heading} has its meaning"
    );
}

#[test]
fn numbers_are_those_of_the_page() {
    let kinds = [FrameKind::Peer, FrameKind::Client, FrameKind::Node];
    assert_numbers("Frame kinds", &kinds.map(|kind| (kind as u64, format!("{kind:?}"))));
    assert_numbers(
        "Item kinds",
        &ItemKind::ALL.map(|kind| (kind as u64, format!("{kind:?}"))),
    );
    assert_numbers(
        "Operations",
        &Operation::ALL.map(|operation| (operation as u64, format!("{operation:?}"))),
    );
    assert_numbers(
        "Read levels",
        &ReadLevel::ALL.map(|level| (level as u64, format!("{level:?}"))),
    );
    assert_numbers(
        "Outcomes",
        &Outcome::ALL.map(|outcome| (outcome as u64, format!("{outcome:?}"))),
    );
    let rules = [SweepRule::Last(1), SweepRule::For(1), SweepRule::None];
    let rules = rules.map(|rule| {
        let shown = format!("{rule:?}");
        let name = shown.split('(').next().unwrap_or_default().to_owned();
        (u64::from(rule.to_parts().0), name)
    });
    assert_numbers("Sweep rules", &rules);
    let errors: Vec<_> = FrameError::ALL
        .iter()
        .map(|&error| (error as u64, format!("{error:?}")))
        .collect();
    assert_numbers("Errors of frames", &errors);
    let name = |refusal: &HandshakeRefusal| {
        let shown = format!("{refusal:?}");
        shown.split_once(' ').map_or(shown.clone(), |(name, _)| name.to_owned())
    };
    let refusals: Vec<_> = HandshakeRefusal::ALL
        .iter()
        .map(|refusal| (u64::from(refusal.number()), name(refusal)))
        .collect();
    assert_numbers("Handshake refusals", &refusals);
    let own = [ConnectionRefusal::Stranger].map(|refusal| (u64::from(refusal.number()), format!("{refusal:?}")));
    assert_numbers("Connection refusals", &own);
    let below = |numbers: &[(u64, String)], end| numbers.iter().all(|(number, _)| *number < end);
    assert!(
        below(&errors, 256) && below(&refusals, 512),
        "one number has one meaning"
    );
}

macro_rules! assert_flags {
    ($heading:literal, $module:ident, [$($flag:ident),+ $(,)?]) => {
        assert_numbers($heading, &[$((u64::from($module::$flag), stringify!($flag).to_owned())),+]);
    };
}

#[test]
fn flags_are_those_of_the_page() {
    assert_flags!("Frame flags", frame, [FLAG_COMPRESSED, FLAG_NUMBERED]);
    assert_flags!(
        "Entry flags",
        run,
        [
            INTRODUCES_ACTOR,
            INTRODUCES_LANE,
            EVENT_IS_MESSAGE,
            HAS_EVENT,
            HAS_REPLY,
            TICK,
            VOID,
            DROPPED,
            SWEEP,
            VIEW_OPEN
        ]
    );
    assert_flags!("Run flags", run, [SWEPT]);
    assert_flags!("Request flags", request, [FORWARDED, SENT_BEFORE, SUSPECT, HERE]);
    assert_flags!("Reply flags", reply, [MAYBE, HAS_TOKEN, ELSEWHERE]);
    assert_flags!("Fetch flags", link, [FETCH_STATE, FETCH_ANEW, FETCH_DONE]);
    assert_flags!("Piece flags", link, [PIECE_LAST, PIECE_STATE]);
    // Numbers that stand in the text of a field.
    assert_eq!(
        (HEARTBEAT_PRESSURE, HEARTBEAT_OUT, PART_FIRST, link::PART_LAST),
        (1, 2, 1, 2)
    );
    assert_eq!((DOCUMENT_SLOT_TABLE, DOCUMENT_STATUS), (1, 2));
    assert!(PAGE.contains(&format!("from 1 to {} of them", link::MARKS_MAX)));
    assert_eq!((messages::FLAG_OUT, messages::FLAG_LZ4), (1, 2));
    assert_eq!((messages::PURPOSE_LINK, messages::PURPOSE_CLIENT), (1, 2));
    let kinds = [
        MessageKind::Hello,
        MessageKind::Challenge,
        MessageKind::Proof,
        MessageKind::Welcome,
        MessageKind::Refused,
    ];
    assert_eq!(kinds.map(|kind| kind as u8), [1, 2, 3, 4, 5]);
}
