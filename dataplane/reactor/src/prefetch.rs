//! Asking for cache lines before they are needed.
//!
//! It reads and writes nothing: a line that was asked for comes while other work goes on, and a load or store that finds it on its way
//! waits for the rest of the way alone. Where the processor has no such instruction in the standard library nothing is done.
#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "the instruction takes an address, whatever it points to")
)]

/// Bytes of a cache line.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// Asks for every line that a value lies in.
#[inline]
pub(crate) fn lines_of<T: ?Sized>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let first = std::ptr::from_ref(value).cast::<i8>();
        let bytes = size_of_val(value);
        let line = |offset: usize| {
            // SAFETY: a prefetch of any address is allowed, and changes nothing but what lies in caches; this one lies in the value besides.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(first.wrapping_add(offset)) }
        };
        (0..bytes).step_by(LINE).for_each(line);
        line(bytes.saturating_sub(1));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}
