//! Items of a view change, and the entry that begins a view: what is refused of them.
//!
//! Their bytes are `golden.rs`'s. It does not know what a member does with them.

use waterpark_wire::item::ItemHeader;
use waterpark_wire::link::{
    Adopt, Fetch, MARKS_MAX, Mark, Nack, Piece, Seal, Sealed, fetch, join_hash, mark_bytes, split_hash,
};
use waterpark_wire::run::{
    DROPPED, ENTRY_HEADER, EVENT_IS_MESSAGE, EntryHeader, EntryParts, EntryView, HAS_EVENT, HAS_REPLY,
    INTRODUCES_ACTOR, INTRODUCES_LANE, SWEEP, TICK, VIEW_OPEN, VOID,
};
use waterpark_wire::{FrameError, Item};

/// An item as it is pushed, without the padding that a frame adds.
fn unpadded(push: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    push(&mut bytes);
    let length = u32::from_le_bytes(bytes[4..8].try_into().expect("four bytes"));
    bytes.truncate(length as usize);
    bytes
}

fn marks(count: usize) -> Vec<Mark> {
    let mark = |seq: usize| Mark {
        seq: (seq as u64).into(),
        hash: split_hash(seq as u128),
    };
    (1..=count).map(mark).collect()
}

/// A Fetch with so many marks, that says so many.
fn fetch_bytes(carried: usize, said: u16) -> Vec<u8> {
    let header = Fetch {
        item: ItemHeader {
            count: said.into(),
            ..ItemHeader::default()
        },
        ..Fetch::default()
    };
    unpadded(|bytes| header.push(bytes, mark_bytes(&marks(carried))))
}

fn read(bytes: &[u8]) -> Result<Vec<Mark>, FrameError> {
    fetch(&Item::new_checked_unpadded(bytes)?).map(|(_, marks)| marks.to_vec())
}

#[test]
fn a_fetch_gives_back_the_marks_that_it_was_made_with() {
    for count in [1, 2, MARKS_MAX] {
        let bytes = fetch_bytes(count, u16::try_from(count).unwrap());
        assert_eq!(read(&bytes), Ok(marks(count)));
    }
}

#[test]
fn a_fetch_without_marks_or_with_too_many_or_others_than_it_says_is_refused() {
    let refused = Err(FrameError::ItemLength);
    let over = u16::try_from(MARKS_MAX + 1).unwrap();
    assert_eq!(read(&fetch_bytes(0, 0)), refused);
    assert_eq!(read(&fetch_bytes(MARKS_MAX + 1, over)), refused);
    assert_eq!(read(&fetch_bytes(2, 1)), refused);
    assert_eq!(read(&fetch_bytes(1, 2)), refused);
}

#[test]
fn a_fetch_with_half_a_mark_is_refused() {
    let mut bytes = fetch_bytes(2, 2);
    let whole = bytes.len();
    for cut in 1..size_of::<Mark>() {
        bytes.truncate(whole - cut);
        let length = u32::try_from(bytes.len()).unwrap();
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        assert_eq!(read(&bytes), Err(FrameError::ItemLength), "{cut} bytes short");
    }
}

/// Cuts an item at each length below its fixed part: each is refused for its length.
macro_rules! assert_short_is_refused {
    ($($type:ident),+) => {$(
        let whole = unpadded(|bytes| $type::default().push(bytes, &[]));
        assert_eq!(whole.len(), size_of::<$type>());
        for length in 16..whole.len() {
            let mut bytes = whole[..length].to_vec();
            bytes[4..8].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
            let item = Item::new_checked_unpadded(&bytes).expect("the header is whole");
            let refused = $type::new_checked(&item).map(drop);
            assert_eq!(refused, Err(FrameError::ItemLength), "{} of {length} bytes", stringify!($type));
        }
    )+};
}

#[test]
fn an_item_shorter_than_its_fixed_part_is_refused() {
    assert_short_is_refused!(Seal, Sealed, Adopt, Fetch, Piece, Nack);
}

#[test]
fn a_chain_hash_travels_in_two_halves_and_comes_back_whole() {
    for hash in [0, 1, u128::MAX, 1 << 64, 0x0123_4567_89AB_CDEF_1122_3344_5566_7788] {
        assert_eq!(join_hash(split_hash(hash)), hash);
    }
    assert_eq!(split_hash(1 << 64 | 2).map(|half| half.get()), [2, 1]);
}

/// An entry of 32 bytes with these flags.
fn entry(flags: u16) -> Vec<u8> {
    let parts = EntryParts {
        header: EntryHeader {
            flags: flags.into(),
            ..EntryHeader::default()
        },
        ..EntryParts::default()
    };
    let mut bytes = vec![0; parts.length()];
    parts.write(&mut bytes);
    bytes
}

#[test]
fn the_entry_that_begins_a_view_has_no_section_and_stands_alone() {
    let bytes = entry(VIEW_OPEN);
    assert_eq!(bytes.len(), ENTRY_HEADER);
    let (view, rest) = EntryView::new_checked(&bytes).expect("alone it is good");
    assert!(rest.is_empty() && view.message.is_empty() && view.key.is_none() && view.session.is_none());
    for flag in [EVENT_IS_MESSAGE, TICK, VOID, DROPPED, TICK | VOID] {
        let bytes = entry(VIEW_OPEN | flag);
        let refused = EntryView::new_checked(&bytes).map(drop);
        assert_eq!(refused, Err(FrameError::EntryFlags), "with {flag}");
    }
}

#[test]
fn the_entry_that_begins_a_view_is_refused_with_sections() {
    let event = [1; 3];
    let plain = EntryParts {
        header: EntryHeader {
            flags: VIEW_OPEN.into(),
            ..EntryHeader::default()
        },
        ..EntryParts::default()
    };
    let with = [
        (
            INTRODUCES_ACTOR,
            EntryParts {
                key: Some(b"a key"),
                ..plain
            },
        ),
        (
            INTRODUCES_LANE,
            EntryParts {
                session: Some(&[7; 16]),
                ..plain
            },
        ),
        (
            HAS_EVENT,
            EntryParts {
                event: Some(&event),
                ..plain
            },
        ),
        (
            HAS_REPLY,
            EntryParts {
                reply: b"a reply",
                ..plain
            },
        ),
    ];
    for (flag, parts) in with {
        let mut bytes = vec![0; parts.length()];
        parts.write(&mut bytes);
        let refused = EntryView::new_checked(&bytes).map(drop);
        assert_eq!(refused, Err(FrameError::EntryFlags), "with {flag}");
    }
    // A sweep without a sweep in its message is refused for that.
    assert!(EntryView::new_checked(&entry(VIEW_OPEN | SWEEP | TICK)).is_err());
}
