//! Why a connection in use is ended: what the side that ends it says last, and what the other side reads in it.
//!
//! A refusal is the only item of its frame, so that it is told from all else by the frame's first bytes. When to refuse, and what becomes of
//! the connection, is not known here.
//!
//! **Invariant:** a number has one meaning in every release: below 256 a frame error, below 512 a refusal of the handshake, from 512 on a
//! reason of this file. A number that this release does not know is kept and shown, never guessed.

use core::fmt;

use zerocopy::little_endian::U64;

use crate::error::FrameError;
use crate::frame::{FrameAddress, FrameBuilder, FrameView};
use crate::handshake::HandshakeRefusal;
use crate::item::{Item, ItemHeader, ItemKind};
use crate::link::Refusal;

/// The number of [`ConnectionRefusal::Stranger`].
const STRANGER: u32 = 512;

/// Why a connection in use was refused. It is closed; whoever was refused has to be mended, what was acked on it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnectionRefusal {
    /// Malformed bytes. Nothing of their frame was acted on; their sender has to be mended.
    Frame(FrameError),
    /// What a handshake could have said before, details left out.
    Handshake(HandshakeRefusal),
    /// A frame of a link that another process made, or that was meant for another one. Nothing of it was acted on; its sender has to be
    /// mended.
    Stranger,
    /// A reason of a release that this one does not know. The operator looks it up in that release's pages.
    Unlisted {
        /// Its number.
        number: u32,
    },
}

impl ConnectionRefusal {
    /// Its number, the same in every release.
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            ConnectionRefusal::Frame(error) => error as u32,
            ConnectionRefusal::Handshake(refusal) => refusal.number().into(),
            ConnectionRefusal::Stranger => STRANGER,
            ConnectionRefusal::Unlisted { number } => number,
        }
    }

    /// The refusal with this number, details zeroed.
    #[must_use]
    pub fn from_number(number: u32) -> ConnectionRefusal {
        let frame = u8::try_from(number).ok().and_then(FrameError::from_code);
        let handshake = u16::try_from(number).ok().and_then(HandshakeRefusal::from_number);
        match (frame, handshake) {
            (Some(error), _) => ConnectionRefusal::Frame(error),
            (None, Some(refusal)) => ConnectionRefusal::Handshake(refusal),
            (None, None) if number == STRANGER => ConnectionRefusal::Stranger,
            (None, None) => ConnectionRefusal::Unlisted { number },
        }
    }

    /// The last frame of a connection: this refusal, its text behind it for people.
    #[must_use]
    pub fn frame(self, address: &FrameAddress) -> Vec<u8> {
        let refusal = Refusal {
            item: ItemHeader {
                aux: self.number().into(),
                ..ItemHeader::default()
            },
            detail: U64::ZERO,
            detail2: U64::ZERO,
        };
        let mut bytes = Vec::new();
        let mut frame = FrameBuilder::begin(&mut bytes);
        refusal.push(&mut bytes, self.to_string().as_bytes());
        frame.pushed();
        frame.finish(&mut bytes, address);
        bytes
    }

    /// What an item of kind `Refusal` says.
    ///
    /// # Errors
    /// `ItemLength` if it is shorter than a refusal.
    pub fn from_item(item: &Item<'_>) -> Result<ConnectionRefusal, FrameError> {
        let (refusal, _) = Refusal::new_checked(item)?;
        Ok(ConnectionRefusal::from_number(refusal.item.aux.get()))
    }

    /// The refusal that a frame of a link is; `None` if it is any other frame.
    ///
    /// # Errors
    /// `ItemLength` if the item is shorter than a refusal.
    #[inline]
    pub fn from_frame(frame: &FrameView<'_>) -> Result<Option<ConnectionRefusal>, FrameError> {
        if frame.header.items.get() != 1 {
            return Ok(None);
        }
        let item = frame.items().next().filter(|item| item.kind() == ItemKind::Refusal);
        item.map(|item| ConnectionRefusal::from_item(&item)).transpose()
    }
}

impl fmt::Display for ConnectionRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectionRefusal::Frame(error) => error.fmt(f),
            ConnectionRefusal::Handshake(refusal) => refusal.fmt(f),
            ConnectionRefusal::Stranger => f.write_str("a frame of another process, or for another one"),
            ConnectionRefusal::Unlisted { number } => write!(f, "refused for reason {number} of another release"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{FRAME_BYTES_MAX, FrameKind};
    use crate::link::Heartbeat;

    const ADDRESS: FrameAddress = FrameAddress {
        kind: FrameKind::Peer,
        sender: (4, 400),
        receiver: (9, 900),
        number: 0,
        epoch: 5,
    };

    fn every() -> impl Iterator<Item = ConnectionRefusal> {
        let frames = FrameError::ALL.iter().map(|error| ConnectionRefusal::Frame(*error));
        let handshakes = HandshakeRefusal::ALL.iter();
        frames
            .chain(handshakes.map(|refusal| ConnectionRefusal::Handshake(*refusal)))
            .chain([
                ConnectionRefusal::Stranger,
                ConnectionRefusal::Unlisted { number: 77 },
                ConnectionRefusal::Unlisted { number: u32::MAX },
            ])
    }

    #[test]
    fn every_refusal_comes_back_from_its_frame_with_its_text() {
        let mut numbers = std::collections::BTreeSet::new();
        for refusal in every() {
            assert!(numbers.insert(refusal.number()), "{refusal:?} shares its number");
            let bytes = refusal.frame(&ADDRESS);
            let frame = FrameView::new_checked(&bytes, FRAME_BYTES_MAX).unwrap();
            assert_eq!(ConnectionRefusal::from_frame(&frame), Ok(Some(refusal)));
            let item = frame.items().next().unwrap();
            let (_, text) = Refusal::new_checked(&item).unwrap();
            assert_eq!(text, refusal.to_string().as_bytes());
        }
    }

    #[test]
    fn a_frame_of_other_items_is_no_refusal_and_a_short_refusal_is_malformed() {
        let framed = |items: &[u8], count: u32| {
            let mut bytes = Vec::new();
            let mut builder = FrameBuilder::begin(&mut bytes);
            bytes.extend_from_slice(items);
            (0..count).for_each(|_| builder.pushed());
            builder.finish(&mut bytes, &ADDRESS);
            bytes
        };
        let read = |bytes: &[u8]| {
            let frame = FrameView::new_checked(bytes, FRAME_BYTES_MAX).unwrap();
            ConnectionRefusal::from_frame(&frame)
        };
        let mut beat = Vec::new();
        Heartbeat::default().push(&mut beat, &[]);
        assert_eq!(read(&framed(&beat, 1)), Ok(None));
        let mut refusal = Vec::new();
        Refusal::default().push(&mut refusal, &[]);
        // In company it is an item without a place, which core refuses.
        assert_eq!(read(&framed(&[refusal, beat].concat(), 2)), Ok(None));
        let mut short = Vec::new();
        let header = ItemHeader {
            kind: ItemKind::Refusal as u8,
            length: 16.into(),
            ..ItemHeader::default()
        };
        header.push(&mut short);
        assert_eq!(read(&framed(&short, 1)), Err(FrameError::ItemLength));
    }
}
