//! Random and mutated bytes for every format that a peer, a client or an operator can hand in.
//!
//! The tests hold two facts for each format: no bytes make the reader panic, and each refusal that the format knows is
//! reached, so that no check is dead and no mutation stops at the first one. Equal seeds give equal bytes. How many
//! cases each test runs is set by
//! `WATERPARK_FUZZ`; a test that is slow per case takes a stated share of that.
//!
//! Knows the formats' outer shape (where a checksum lies) and nothing of what they mean.

pub mod mutate;
pub mod reached;
pub mod rng;
pub mod samples;

/// Cases of a test that runs a whole share, unless `WATERPARK_FUZZ` says otherwise.
pub const CASES: u64 = 1_000_000;
/// Below this many cases a test asserts that nothing panics, and no longer that everything is reached.
pub const CASES_FOR_COVERAGE: u64 = 20_000;

/// How many cases a test runs that takes one of `share` parts: `WATERPARK_FUZZ` or [`CASES`] of them, at least one.
///
/// # Panics
/// If `WATERPARK_FUZZ` is no number: a run that was meant to be long must not be short without a word.
#[must_use]
pub fn cases(share: u64) -> u64 {
    let cases = std::env::var("WATERPARK_FUZZ").map_or(CASES, |text| text.parse().expect("WATERPARK_FUZZ is a number"));
    (cases / share).max(1)
}
