//! Items of read confirmations, and reads that say how fresh: what is refused of them.
//!
//! Their bytes are `golden.rs`'s. It does not know what a member does with them.

use waterpark_wire::item::ItemHeader;
use waterpark_wire::link::{Confirm, Echo, Echoed, GroupView, confirm, push_confirm};
use waterpark_wire::request::{self, Freshness, Operation, ReadLevel, RequestHeader, RequestView};
use waterpark_wire::{FrameError, Item};

const KEY: &[u8] = b"\x07patient\x01\x02id\x04\x001001";

fn views(count: u32) -> Vec<GroupView> {
    let view = |group: u32| GroupView {
        group: group.into(),
        reserved: 0.into(),
        view: 12.into(),
    };
    (1..=count).map(view).collect()
}

/// A question with so many views, that says so many.
fn confirm_bytes(carried: u32, said: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    if carried == 0 {
        Confirm::default().push(&mut bytes, &[]);
    } else {
        push_confirm(&mut bytes, 5, &views(carried));
    }
    bytes[2..4].copy_from_slice(&said.to_le_bytes());
    bytes
}

fn read(bytes: &[u8]) -> Result<(u64, Vec<GroupView>), FrameError> {
    confirm(&Item::new_checked(bytes)?).map(|(round, views)| (round, views.to_vec()))
}

#[test]
fn a_question_gives_back_the_views_that_it_was_made_with() {
    for count in [1, 2, 300] {
        let bytes = confirm_bytes(count, u16::try_from(count).unwrap());
        assert_eq!(read(&bytes), Ok((5, views(count))));
    }
}

#[test]
fn a_question_about_nothing_or_about_other_views_than_it_says_is_refused() {
    let refused = Err(FrameError::ItemLength);
    assert_eq!(read(&confirm_bytes(0, 0)), refused);
    assert_eq!(read(&confirm_bytes(2, 1)), refused);
    assert_eq!(read(&confirm_bytes(1, 2)), refused);
}

#[test]
fn a_question_with_half_a_view_is_refused() {
    let whole = confirm_bytes(2, 2);
    for cut in 1..16 {
        let mut bytes = whole[..whole.len() - cut].to_vec();
        let length = u32::try_from(bytes.len()).unwrap();
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        let item = Item::new_checked_unpadded(&bytes).expect("its header is whole");
        assert_eq!(
            confirm(&item).map(drop),
            Err(FrameError::ItemLength),
            "{cut} bytes short"
        );
    }
}

#[test]
fn an_echo_shorter_than_its_fixed_part_is_refused() {
    let item = ItemHeader::default();
    let (view, stamp_ns) = (12.into(), 7.into());
    let mut bytes = Vec::new();
    Echo { item, view, stamp_ns }.push(&mut bytes, &[]);
    bytes[4..8].copy_from_slice(&24u32.to_le_bytes());
    let item = Item::new_checked_unpadded(&bytes[..24]).expect("its header is whole");
    assert_eq!(Echo::new_checked(&item).map(drop), Err(FrameError::ItemLength));
    assert_eq!(Echoed::new_checked(&item).map(drop), Err(FrameError::ItemLength));
}

/// A read, or a message, at a level.
fn request(operation: Operation, level: u8, message: &[u8]) -> Result<(Option<Freshness>, Vec<u8>), FrameError> {
    let numbered = u32::from(operation.is_numbered());
    let header = RequestHeader {
        number: numbered.into(),
        mark: numbered.into(),
        operation: operation as u8,
        level,
        ..RequestHeader::default()
    };
    let mut bytes = Vec::new();
    request::push(&mut bytes, &header, KEY, message);
    let item = Item::new_checked(&bytes)?;
    RequestView::new_checked(&item).map(|view| (view.freshness.copied(), view.question().to_vec()))
}

#[test]
fn a_read_that_says_how_fresh_gives_that_back_and_what_it_asks() {
    let freshness = Freshness {
        seq: 40.into(),
        age_ms: 250.into(),
        ..Freshness::default()
    };
    let message = [freshness.bytes(), b"what"].concat();
    for level in ReadLevel::ALL {
        let answer = request(Operation::History, level as u8, &message);
        let expected = if level.has_freshness() {
            (Some(freshness), b"what".to_vec())
        } else {
            (None, message.clone())
        };
        assert_eq!(answer, Ok(expected), "{level:?}");
    }
}

#[test]
fn a_read_that_does_not_say_how_fresh_or_is_none_is_refused() {
    let mut freshness = Freshness::default();
    let refused = Err(FrameError::Request);
    for level in [ReadLevel::Session, ReadLevel::Bounded] {
        let level = level as u8;
        assert_eq!(request(Operation::Get, level, &[]), refused);
        assert_eq!(request(Operation::Get, level, &freshness.bytes()[..31]), refused);
        assert_eq!(request(Operation::Send, level, freshness.bytes()), refused);
        freshness.reserved = 1.into();
        assert_eq!(request(Operation::Get, level, freshness.bytes()), refused);
        freshness.reserved = 0.into();
    }
    assert_eq!(
        request(Operation::Get, 4, freshness.bytes()),
        Err(FrameError::Operation)
    );
}
