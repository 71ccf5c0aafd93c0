//! Frames that no node sends: one way to spoil a good frame for each thing that can be wrong with bytes.
//!
//! It knows nothing of what receives them. **Invariant:** what is spoiled is refused whole or in its last item, so that nothing which it
//! says could be believed: a peer that lies in good form is outside the fault model.

use waterpark_wire::frame::{CHECKSUM_AT, FLAG_COMPRESSED, FRAME_HEADER, FrameAddress, FrameBuilder};
use waterpark_wire::item::ItemHeader;
use waterpark_wire::link::{Heartbeat, PartHeader};
use waterpark_wire::reply::{self, ReplyHeader};
use waterpark_wire::request::{self, RequestHeader};
use waterpark_wire::run::{HASHED_FROM, RUN_HEADER, RunHeader};
use waterpark_wire::{FrameError, FrameView, ItemKind, checksum};

/// An item kind, an operation and an outcome that no release has.
const UNKNOWN: u8 = 200;
/// Where an entry's flags lie in it.
const ENTRY_FLAGS_AT: usize = 28;

/// The frame with something wrong in it, for which a reader will name `error`; `None` if this frame cannot be spoiled so.
#[must_use]
pub fn spoil(frame: &FrameView<'_>, error: FrameError) -> Option<Vec<u8>> {
    let whole = || again(frame, address(frame), |_, _| ());
    let patched = |at: usize, byte: u8| {
        let mut bytes = whole();
        bytes[at] = byte;
        Some(bytes)
    };
    // Where the fields of a header lie.
    match error {
        FrameError::Magic => patched(0, b'X'),
        FrameError::Version => patched(4, UNKNOWN),
        FrameError::Kind => patched(5, UNKNOWN),
        FrameError::Schema => patched(6, UNKNOWN),
        FrameError::Flags => patched(11, UNKNOWN),
        FrameError::Length => patched(12, 7),
        FrameError::TooLong => patched(15, UNKNOWN),
        FrameError::Checksum => patched(CHECKSUM_AT, whole()[CHECKSUM_AT] ^ 1),
        FrameError::ItemCount => Some(again(frame, address(frame), |builder, _| builder.pushed())),
        FrameError::Compressed => Some(folded(frame, whole())),
        FrameError::ItemLength => with_item(frame, &bare(ItemKind::Request as u8)),
        FrameError::ItemKind => with_item(frame, &bare(UNKNOWN)),
        FrameError::Request => with_item(frame, &asked(0, 2)),
        FrameError::Operation => with_item(frame, &asked(UNKNOWN, 1)),
        FrameError::Reply => {
            let mut item = Vec::new();
            let header = ReplyHeader {
                outcome: UNKNOWN,
                ..ReplyHeader::default()
            };
            reply::push(&mut item, &header, &[]);
            with_item(frame, &item)
        }
        FrameError::Acked => {
            let mut item = Vec::new();
            // A sign of life under the name of an ack, with exceptions that are not there.
            Heartbeat::default().push(&mut item, &[]);
            (item[0], item[2]) = (ItemKind::Acked as u8, 3);
            with_item(frame, &item)
        }
        FrameError::Body => {
            let mut item = bare(ItemKind::Birth as u8);
            item.resize(48, 0xEE);
            item[4] = 48;
            with_item(frame, &item)
        }
        FrameError::Part => {
            let mut item = Vec::new();
            PartHeader::default().push(&mut item, &[]);
            with_item(frame, &item)
        }
        FrameError::Run => {
            let mut item = bare(ItemKind::Append as u8);
            item.resize(RUN_HEADER, 0);
            item[4] = u8::try_from(RUN_HEADER).expect("64");
            with_item(frame, &item)
        }
        FrameError::Entry => with_entry(frame, |entry| entry[0] = 8),
        FrameError::EntryFlags => with_entry(frame, |entry| entry[ENTRY_FLAGS_AT + 1] = UNKNOWN),
    }
}

/// The frame under the name of a process that its link was not made with.
#[must_use]
pub fn under_another_name(frame: &FrameView<'_>) -> Vec<u8> {
    let mut address = address(frame);
    address.sender.1 ^= 1;
    again(frame, address, |_, _| ())
}

fn address(frame: &FrameView<'_>) -> FrameAddress {
    let header = frame.header;
    FrameAddress {
        kind: frame.kind,
        sender: (header.sender_node.get(), header.sender_incarnation.get()),
        receiver: (header.receiver_node.get(), header.receiver_incarnation.get()),
        number: header.number.get(),
        epoch: header.epoch.get(),
    }
}

/// The same items under an address, with what `add` puts behind them.
fn again(frame: &FrameView<'_>, address: FrameAddress, add: impl FnOnce(&mut FrameBuilder, &mut Vec<u8>)) -> Vec<u8> {
    rewritten(frame, address, |_| (), add)
}

/// The frame with each of its items as `rewrite` leaves it, which keeps its length.
pub(crate) fn with_items(frame: &FrameView<'_>, rewrite: impl FnMut(&mut [u8])) -> Vec<u8> {
    rewritten(frame, address(frame), rewrite, |_, _| ())
}

fn rewritten(
    frame: &FrameView<'_>,
    address: FrameAddress,
    mut rewrite: impl FnMut(&mut [u8]),
    add: impl FnOnce(&mut FrameBuilder, &mut Vec<u8>),
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut builder = FrameBuilder::begin(&mut bytes);
    for item in frame.items() {
        let mut item = item.bytes.to_vec();
        rewrite(&mut item);
        builder.push(&mut bytes, &item, &[]);
    }
    add(&mut builder, &mut bytes);
    builder.finish(&mut bytes, &address);
    bytes
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the arms of `spoil` read alike, and some frames cannot be spoiled"
)]
fn with_item(frame: &FrameView<'_>, item: &[u8]) -> Option<Vec<u8>> {
    Some(again(frame, address(frame), |builder, bytes| {
        builder.push(bytes, item, &[]);
    }))
}

/// The frame with its last run's first entry changed, and the run's hash made to fit.
fn with_entry(frame: &FrameView<'_>, change: impl FnOnce(&mut [u8])) -> Option<Vec<u8>> {
    let last = frame.items().filter(|item| item.kind() == ItemKind::Append).last()?;
    let mut run = last.bytes.to_vec();
    change(&mut run[RUN_HEADER..]);
    let mut header = RunHeader::read(&run);
    header.chain_hash = checksum::chain(&run[HASHED_FROM..]).into();
    header.put(&mut run);
    let mut bytes = Vec::new();
    let mut builder = FrameBuilder::begin(&mut bytes);
    for item in frame.items() {
        let is_last = std::ptr::eq(item.bytes, last.bytes);
        builder.push(&mut bytes, if is_last { &run } else { item.bytes }, &[]);
    }
    builder.finish(&mut bytes, &address(frame));
    Some(bytes)
}

/// The frame said to be folded, which it is not.
fn folded(frame: &FrameView<'_>, mut bytes: Vec<u8>) -> Vec<u8> {
    let mut header = *FrameView::new_checked(&bytes, usize::MAX).map_or(frame.header, |same| same.header);
    header.flags = (header.flags.get() | FLAG_COMPRESSED).into();
    header.checksum = 0.into();
    let sum = checksum::frame(&header, &bytes[FRAME_HEADER..]);
    bytes[8..12].copy_from_slice(&header.flags.get().to_le_bytes());
    bytes[CHECKSUM_AT..FRAME_HEADER].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn bare(kind: u8) -> Vec<u8> {
    let header = ItemHeader {
        kind,
        length: 16.into(),
        ..ItemHeader::default()
    };
    let mut bytes = Vec::new();
    header.push(&mut bytes);
    bytes
}

/// A request whose mark lies above its number where `mark` is more than 1.
fn asked(operation: u8, mark: u32) -> Vec<u8> {
    let header = RequestHeader {
        operation,
        number: 1.into(),
        mark: mark.into(),
        ..RequestHeader::default()
    };
    let mut bytes = Vec::new();
    request::push(&mut bytes, &header, b"key", b"");
    bytes
}
