//! Anonymous memory taken from the kernel as one piece, and the few calls that shape it.
//!
//! It does not know what lies in it: chunk pool, receive buffers and the buffer ring each keep their own books. **Invariant:** every
//! byte of a mapping is readable and writable from `reserve` until the last owner drops it, so an address inside it never dangles
//! while the kernel may use it.
#![expect(
    unsafe_code,
    reason = "mmap, madvise and slices over mapped memory have no safe form"
)]

use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// A private, zero-filled piece of address space; pages exist once they are touched.
#[derive(Debug)]
pub(crate) struct Mapping {
    /// What the kernel gave: may begin before `base` where an alignment was asked for.
    whole: NonNull<u8>,
    whole_len: usize,
    base: NonNull<u8>,
    len: usize,
    kept: AtomicBool,
}

// SAFETY: a mapping is plain memory that belongs to the process, not to a thread; access to its bytes is governed by the unsafe
// contracts of `slice` and `slice_mut`.
unsafe impl Send for Mapping {}
// SAFETY: as above; `&Mapping` alone gives no access to the bytes without one of those contracts.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Reserves `len` bytes whose address is a multiple of `align` (a power of two, at least a page).
    ///
    /// Nothing is committed: with `MAP_NORESERVE` a budget of many gigabytes costs page tables only for what is used.
    pub(crate) fn reserve(len: usize, align: usize) -> io::Result<Self> {
        const PAGE: usize = 4096;
        assert!(align.is_power_of_two() && align >= PAGE);
        assert!(len > 0);
        let too_large = || io::Error::from(io::ErrorKind::OutOfMemory);
        let len = len.checked_next_multiple_of(PAGE).ok_or_else(too_large)?;
        let whole_len = len.checked_add(align - PAGE).ok_or_else(too_large)?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: no address is asked for, so no existing mapping can be replaced.
        let whole = unsafe { mmap_anonymous(ptr::null_mut(), whole_len, ProtFlags::READ | ProtFlags::WRITE, flags) }?;
        let whole = NonNull::new(whole.cast::<u8>()).expect("the kernel maps nothing at address zero unasked");
        let skip = whole.align_offset(align);
        assert!(skip + len <= whole_len);
        // SAFETY: `skip` is within the mapping just made, as asserted.
        let base = unsafe { whole.add(skip) };
        Ok(Self {
            whole,
            whole_len,
            base,
            len,
            kept: AtomicBool::new(false),
        })
    }

    /// Length in bytes, a multiple of 4 KiB.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Address of byte `offset`.
    #[inline]
    pub(crate) fn address(&self, offset: usize) -> NonNull<u8> {
        assert!(offset <= self.len);
        // SAFETY: asserted to be inside the mapping or one past its end.
        unsafe { self.base.add(offset) }
    }

    /// The bytes `offset..offset + len`.
    ///
    /// # Safety
    /// Nobody, the kernel included, may write these bytes while the slice lives.
    #[inline]
    pub(crate) unsafe fn slice(&self, offset: usize, len: usize) -> &[u8] {
        assert!(offset <= self.len && len <= self.len - offset);
        let start = self.address(offset).as_ptr();
        // SAFETY: in bounds, mapped, zero-filled by the kernel hence initialised; that nobody writes is the caller's promise.
        unsafe { std::slice::from_raw_parts(start, len) }
    }

    /// The bytes `offset..offset + len`, for writing.
    ///
    /// # Safety
    /// Nobody, the kernel included, may read or write these bytes through another path while the slice lives; a send in flight may
    /// go on reading bytes that are not written.
    #[inline]
    #[expect(
        clippy::mut_from_ref,
        reason = "the exclusive access is the caller's promise, as in UnsafeCell"
    )]
    pub(crate) unsafe fn slice_mut(&self, offset: usize, len: usize) -> &mut [u8] {
        assert!(offset <= self.len && len <= self.len - offset);
        let start = self.address(offset).as_ptr();
        // SAFETY: in bounds, mapped and initialised; exclusiveness is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(start, len) }
    }

    /// Never unmaps this: for when the kernel would not confirm that it has done with it.
    pub(crate) fn keep_forever(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    /// Asks for huge pages where the host allows them; a host that does not is not an error.
    pub(crate) fn advise_huge(&self) -> bool {
        // SAFETY: the advice changes how pages are backed, never their content.
        unsafe { madvise(self.base.as_ptr().cast(), self.len, Advice::LinuxHugepage) }.is_ok()
    }

    /// Gives the pages of a range back to the kernel; they read as zero afterwards.
    ///
    /// # Safety
    /// No slice of the range may live.
    pub(crate) unsafe fn discard(&self, offset: usize, len: usize) -> io::Result<()> {
        assert!(offset <= self.len && len <= self.len - offset);
        let start = self.address(offset).as_ptr();
        // SAFETY: the range lies in this private anonymous mapping, and by the caller's promise nobody looks at it.
        unsafe { madvise(start.cast(), len, Advice::LinuxDontNeed) }?;
        Ok(())
    }

    /// Makes the pages of a range exist, keeping what is in them.
    pub(crate) fn populate(&self, offset: usize, len: usize) -> io::Result<()> {
        assert!(offset <= self.len && len <= self.len - offset);
        loop {
            let start = self.address(offset).as_ptr();
            // SAFETY: populating faults pages in and leaves their content alone.
            match unsafe { madvise(start.cast(), len, Advice::LinuxPopulateWrite) } {
                Ok(()) => return Ok(()),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if *self.kept.get_mut() {
            return;
        }
        // SAFETY: this is the mapping that `reserve` made, whole, and its last owner is gone.
        let unmapped = unsafe { munmap(self.whole.as_ptr().cast(), self.whole_len) };
        debug_assert!(unmapped.is_ok(), "a whole mapping can always be unmapped");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_aligned_zeroed_and_reads_as_zero_after_discard() {
        let mapping = Mapping::reserve(10_000, 2 << 20).unwrap();
        assert_eq!(mapping.len(), 12_288);
        assert_eq!(mapping.address(0).align_offset(2 << 20), 0);
        // SAFETY: the only reference in this test at this time.
        let bytes = unsafe { mapping.slice_mut(0, 12_288) };
        assert!(bytes.iter().all(|byte| *byte == 0));
        bytes.fill(7);
        // SAFETY: `bytes` is not used again.
        unsafe { mapping.discard(4096, 4096) }.unwrap();
        // SAFETY: nobody writes any more.
        let bytes = unsafe { mapping.slice(0, 12_288) };
        assert_eq!((bytes[4095], bytes[4096], bytes[8191], bytes[8192]), (7, 0, 0, 7));
    }

    #[test]
    fn more_than_the_address_space_is_an_error_not_a_panic() {
        assert!(Mapping::reserve(usize::MAX - 4096, 4096).is_err());
        assert!(Mapping::reserve(1 << 60, 4096).is_err());
    }
}
