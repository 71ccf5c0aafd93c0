//! One send in flight: the outgoing bytes, and the list of pieces that the kernel gathers them from.
//!
//! It does not know how pieces are submitted. **Invariant:** from `begin` to `finish` every address in the list stays valid: the copied bytes
//! are owned here, the gathered ones are pinned, and the region they lie in is kept alive by the table.

use std::sync::Arc;

use waterpark_core::memory::{Memory, Outgoing};

use crate::chunk_pool::PoolMemory;
use crate::mapping::Mapping;

/// Pieces that one `sendmsg` takes (`IOV_MAX`); what goes beyond leaves with the next.
const PIECES_MAX: usize = 1024;

/// Flags of every send: no signal when the peer is gone, and the kernel itself goes on after a short send where it can.
pub(crate) const FLAGS: libc::c_int = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;

/// A send, from its first submission to its last completion. Its address is stable, because the kernel reads `header` from it.
pub(crate) struct SendOp {
    outgoing: Outgoing,
    pieces: Vec<libc::iovec>,
    /// The first piece that is not wholly sent.
    first: usize,
    left: usize,
    header: libc::msghdr,
}

impl SendOp {
    fn idle() -> Self {
        let header = libc::msghdr {
            msg_name: std::ptr::null_mut(),
            msg_namelen: 0,
            msg_iov: std::ptr::null_mut(),
            msg_iovlen: 0,
            msg_control: std::ptr::null_mut(),
            msg_controllen: 0,
            msg_flags: 0,
        };
        Self {
            outgoing: Outgoing::default(),
            pieces: Vec::new(),
            first: 0,
            left: 0,
            header,
        }
    }

    fn begin(&mut self, outgoing: Outgoing, memory: &PoolMemory) {
        self.pieces.clear();
        self.outgoing = outgoing;
        let bytes = &self.outgoing.bytes;
        let mut copied = 0;
        for gather in &self.outgoing.gathers {
            let at = gather.at as usize;
            assert!(
                copied <= at && at <= bytes.len(),
                "gathers ascend within the copied bytes"
            );
            add_piece(&mut self.pieces, &bytes[copied..at]);
            let chunk = memory.bytes(gather.chunk);
            add_piece(
                &mut self.pieces,
                &chunk[gather.offset as usize..][..gather.length as usize],
            );
            copied = at;
        }
        add_piece(&mut self.pieces, &bytes[copied..]);
        self.first = 0;
        self.left = self.pieces.iter().map(|piece| piece.iov_len).sum();
    }

    /// Bytes still to be sent.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// Takes `sent` bytes off the front.
    pub(crate) fn advance(&mut self, sent: usize) {
        assert!(sent <= self.left, "the kernel sends no more than it was given");
        self.left -= sent;
        let mut sent = sent;
        while sent > 0 {
            let piece = &mut self.pieces[self.first];
            let taken = sent.min(piece.iov_len);
            piece.iov_base = piece.iov_base.wrapping_byte_add(taken);
            piece.iov_len -= taken;
            sent -= taken;
            self.first += usize::from(piece.iov_len == 0);
        }
    }

    /// The next piece alone, if it is the last: a plain send is cheaper than a message of one piece.
    pub(crate) fn plain(&self) -> Option<(*const u8, usize)> {
        match &self.pieces[self.first..] {
            [only] => Some((only.iov_base.cast_const().cast(), only.iov_len)),
            _ => None,
        }
    }

    /// The next pieces as a message. Valid until the next call of any method that takes `&mut self`.
    pub(crate) fn message(&mut self) -> *const libc::msghdr {
        let pieces = &mut self.pieces[self.first..];
        self.header.msg_iovlen = pieces.len().min(PIECES_MAX) as _;
        self.header.msg_iov = pieces.as_mut_ptr();
        &raw const self.header
    }
}

fn add_piece(pieces: &mut Vec<libc::iovec>, bytes: &[u8]) {
    if !bytes.is_empty() {
        pieces.push(libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        });
    }
}

/// All sends in flight of one driver. Finished ones are used again, so a steady state allocates nothing.
pub(crate) struct SendOps {
    #[expect(
        clippy::vec_box,
        reason = "the kernel holds addresses inside a send while the table grows"
    )]
    ops: Vec<Box<SendOp>>,
    vacant: Vec<u32>,
    /// Every region that sends have gathered from; one per shard at most.
    regions: Vec<Arc<Mapping>>,
}

impl SendOps {
    pub(crate) fn new() -> Self {
        Self {
            ops: Vec::new(),
            vacant: Vec::new(),
            regions: Vec::new(),
        }
    }

    /// Begins a send; `outgoing` is held until [`finish`](Self::finish).
    pub(crate) fn begin(&mut self, outgoing: Outgoing, memory: &PoolMemory) -> u32 {
        if !outgoing.gathers.is_empty() {
            for region in memory.regions() {
                if !self.regions.iter().any(|known| Arc::ptr_eq(known, region)) {
                    self.regions.push(Arc::clone(region));
                }
            }
        }
        let index = self.vacant.pop().unwrap_or_else(|| {
            self.ops.push(Box::new(SendOp::idle()));
            u32::try_from(self.ops.len() - 1).expect("there are fewer sends than connections")
        });
        self.ops[index as usize].begin(outgoing, memory);
        index
    }

    #[inline]
    pub(crate) fn get(&mut self, index: u32) -> &mut SendOp {
        &mut self.ops[index as usize]
    }

    /// Ends a send whose last completion has come, and hands its bytes back.
    pub(crate) fn finish(&mut self, index: u32) -> Outgoing {
        let op = &mut self.ops[index as usize];
        op.pieces.clear();
        op.left = 0;
        self.vacant.push(index);
        std::mem::take(&mut op.outgoing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk_pool::PoolConfig;
    use waterpark_core::memory::Gather;

    #[test]
    fn pieces_interleave_in_order_and_empty_ones_vanish() {
        let mut memory = PoolMemory::new(PoolConfig {
            budget: 1 << 20,
            huge_pages: false,
            keep_free: 0,
        })
        .unwrap();
        let chunk = memory.reserve(4096).unwrap();
        let gather = |at, offset, length| Gather {
            at,
            chunk,
            offset,
            length,
        };
        let gathers = vec![gather(0, 10, 3), gather(4, 0, 5), gather(4, 100, 0), gather(9, 7, 1)];
        let outgoing = Outgoing {
            bytes: b"123456789".to_vec(),
            gathers,
        };
        let total = outgoing.len();
        let mut ops = SendOps::new();
        let index = ops.begin(outgoing, &memory);
        let op = ops.get(index);
        assert_eq!(op.left(), total);
        let lengths: Vec<usize> = op.pieces.iter().map(|piece| piece.iov_len).collect();
        assert_eq!(lengths, [3, 4, 5, 5, 1]);
        assert!(op.plain().is_none());

        op.advance(8);
        assert_eq!((op.first, op.pieces[2].iov_len, op.left()), (2, 4, 10));
        op.advance(9);
        let (_, last) = op.plain().unwrap();
        assert_eq!(last, 1);
        assert_eq!(ops.finish(index).bytes, b"123456789");
        assert_eq!(
            ops.begin(Outgoing::default(), &memory),
            index,
            "a finished send is used again"
        );
    }

    #[test]
    fn a_message_takes_no_more_pieces_than_the_kernel_allows() {
        let mut memory = PoolMemory::new(PoolConfig {
            budget: 1 << 20,
            huge_pages: false,
            keep_free: 0,
        })
        .unwrap();
        let chunk = memory.reserve(4096).unwrap();
        let gathers = (0..1500)
            .map(|at| Gather {
                at,
                chunk,
                offset: 0,
                length: 2,
            })
            .collect();
        let mut ops = SendOps::new();
        let index = ops.begin(
            Outgoing {
                bytes: vec![0; 1500],
                gathers,
            },
            &memory,
        );
        let op = ops.get(index);
        op.message();
        assert_eq!(op.header.msg_iovlen as usize, PIECES_MAX);
        // The first piece is a gather of two bytes, then a byte and two bytes take turns.
        op.advance(2 + 3 * 1000);
        op.message();
        assert_eq!(op.header.msg_iovlen as usize, 3000 - 2001);
    }
}
