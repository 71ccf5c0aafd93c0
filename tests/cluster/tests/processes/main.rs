//! Facts about clusters of real processes: each test starts the real command, does something bad to it, and reads back what became of
//! every message.
//!
//! One test runs at a time on a machine, whoever started it. **Invariant:** a test that hangs ends its process with its name; none waits
//! for ever.

mod begin;
mod commands;
mod demo;
mod end;
mod failover;
mod figures;
mod garbage;
mod generators;
mod joins;
mod limits;
mod links;
mod load_tester;
mod losses;
mod mllp;
mod mllp_configured;
mod peers;
mod placement;
mod poor_hosts;
mod refusals;
mod results;
mod retention;
mod seats;
mod shards;
mod slow;
mod support;
mod topology;
mod votes;
