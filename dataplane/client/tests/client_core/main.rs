//! The core against scripted nodes: what leaves for what comes back, and how each request ends (`protocol.md` §8).

#![expect(clippy::unwrap_used, reason = "what helpers of tests find wrong fails the test")]

mod allocations;
mod connections;
mod lanes;
mod lossy;
mod random;
mod reads;
mod refusals;
mod script;
mod sessions;
