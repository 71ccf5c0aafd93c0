//! Cuts a stream of bytes into frames. A frame that lies whole in the bytes that came is read where it lies; one that straddles two
//! receives is put together in a scratch buffer, and counted.

use zerocopy::FromBytes;

use crate::error::FrameError;
use crate::frame::{FLAG_COMPRESSED, FRAME_HEADER, FrameHeader, FrameView};
use crate::{checksum, compress};

/// The reading end of one connection.
#[derive(Debug)]
pub struct Framer {
    scratch: Vec<u8>,
    unfolded: Vec<u8>,
    frame_bytes_max: usize,
    straddled: u64,
    /// `straddled` when it was last asked to rest.
    rested: u64,
}

/// A scratch buffer above this is given back once its frame was read, so that idle connections stay small.
const SCRATCH_KEPT: usize = 4 << 10;

impl Framer {
    /// A framer that takes frames of at most `frame_bytes_max` bytes.
    #[must_use]
    pub fn new(frame_bytes_max: usize) -> Framer {
        Framer {
            scratch: Vec::new(),
            unfolded: Vec::new(),
            frame_bytes_max,
            straddled: 0,
            rested: 0,
        }
    }

    /// Changes the limit: a connection may say more once its handshake is done.
    pub fn set_frame_bytes_max(&mut self, frame_bytes_max: usize) {
        self.frame_bytes_max = frame_bytes_max;
    }

    /// How many frames straddled two receives.
    #[must_use]
    pub fn straddled(&self) -> u64 {
        self.straddled
    }

    /// Gives the scratch buffers back if no frame straddled since this was last called, and none waits for its rest. For callers that keep
    /// them while a connection is busy and look after idle ones now and then.
    pub fn rest(&mut self) {
        if self.straddled == self.rested && self.scratch.is_empty() {
            self.scratch = Vec::new();
            self.unfolded = Vec::new();
        }
        self.rested = self.straddled;
    }

    /// Bytes that wait for the rest of their frame.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.scratch.len()
    }

    /// Takes what came and hands on each whole frame. `keep_scratch` says that the connection is busy and its buffer worth keeping.
    ///
    /// # Errors
    /// The first malformed frame's error, or what `on_frame` returned. The stream has lost its footing: close the connection.
    pub fn feed(
        &mut self,
        mut input: &[u8],
        keep_scratch: bool,
        mut on_frame: impl FnMut(FrameView<'_>) -> Result<(), FrameError>,
    ) -> Result<(), FrameError> {
        while !self.scratch.is_empty() {
            let wanted = self.wanted()?;
            let take = (wanted - self.scratch.len()).min(input.len());
            // Grows with what comes, not with what is announced: a peer that sends slowly holds little of our memory.
            self.scratch.extend_from_slice(&input[..take]);
            input = &input[take..];
            if self.scratch.len() < FRAME_HEADER || self.scratch.len() < self.wanted()? {
                if input.is_empty() {
                    return Ok(());
                }
                continue;
            }
            self.straddled += 1;
            Self::emit(&self.scratch, &mut self.unfolded, self.frame_bytes_max, &mut on_frame)?;
            self.scratch.clear();
            if !keep_scratch && self.scratch.capacity() > SCRATCH_KEPT {
                self.scratch = Vec::new();
            }
        }
        while let Ok((header, _)) = FrameHeader::ref_from_prefix(input) {
            header.check(self.frame_bytes_max)?;
            let Some((frame, rest)) = input.split_at_checked(header.frame_bytes()) else {
                break;
            };
            Self::emit(frame, &mut self.unfolded, self.frame_bytes_max, &mut on_frame)?;
            input = rest;
        }
        self.scratch.extend_from_slice(input);
        Ok(())
    }

    /// How many bytes the frame in the scratch buffer has, as far as known.
    fn wanted(&self) -> Result<usize, FrameError> {
        match FrameHeader::ref_from_prefix(&self.scratch) {
            Err(_) => Ok(FRAME_HEADER),
            Ok((header, _)) => {
                header.check(self.frame_bytes_max)?;
                Ok(header.frame_bytes())
            }
        }
    }

    fn emit(
        frame: &[u8],
        unfolded: &mut Vec<u8>,
        frame_bytes_max: usize,
        on_frame: &mut impl FnMut(FrameView<'_>) -> Result<(), FrameError>,
    ) -> Result<(), FrameError> {
        let (header, items) = FrameHeader::ref_from_prefix(frame).map_err(|_| FrameError::Length)?;
        if header.flags.get() & FLAG_COMPRESSED == 0 {
            return on_frame(FrameView::new_checked(frame, frame_bytes_max)?);
        }
        let kind = header.check(frame_bytes_max)?;
        if checksum::frame(header, items) != header.checksum.get() {
            return Err(FrameError::Checksum);
        }
        compress::unfold(header, items, unfolded)?;
        on_frame(FrameView::over(header, kind, unfolded)?)
    }
}
