//! The load generator as a library, and the benches.
