//! The load generator, and what it needs: a cluster of its own processes, a workload whose every message can be told from all others, and
//! the read-back that says what became of each.
//!
//! | module | what it is |
//! |---|---|
//! | [`arrivals`] | when messages of an open loop are planned |
//! | [`workload`] | messages as a pure function of their serial number |
//! | [`cluster`] | processes of one local cluster, their CPU time and counters |
//! | [`cuts`] | the ways between those processes, which can lose what is sent on them |
//! | [`failover`] | what failures of nodes cost each key |
//! | [`generators`] | several generator processes with a common start |
//! | [`hl7`] | feeds of HL7 messages, from a seed alone |
//! | [`generator`] | sends at planned instants or in a closed loop, measures, keeps the ledger |
//! | [`ledger`] | what is known of each message, and its check against what members hold |
//! | [`noisy`] | what well-behaved senders notice of one that offers more than a cluster can take |
//! | [`overload`] | many sessions that offer more than a cluster can take |
//! | [`recorder`] | times of messages in full, and the log that is kept of them |
//! | [`report`] | what was measured, with what was to be reached |
//! | [`reads`] | reads beside writes, and whether their answers are fresh |
//! | [`run`] | one measurement from start to verdict |
//! | [`share`] | which of a run's messages are whose |
//! | [`skew`] | groups that are asked for more often than others |
//! | [`sweep`] | one rate after the other, until the cluster does not carry one |
//! | [`timeline`] | latency over time |
//! | [`twelve`] | the twelve figures, by carrying out what stands above |
//!
//! **Invariant:** nothing that a node counts decides on `lost` or `duplicated`: every acked message is looked for in three members.

// `json!` takes a step for each key of a report.
#![recursion_limit = "256"]

pub mod arrivals;
pub mod cluster;
pub mod cuts;
pub mod failover;
pub mod generator;
pub mod generators;
pub mod hl7;
pub mod ledger;
pub mod mllp;
pub mod noisy;
pub mod overload;
pub mod reads;
pub mod recorder;
pub mod report;
pub mod run;
pub mod share;
mod sight;
pub mod skew;
pub mod sweep;
pub mod timeline;
pub mod twelve;
pub mod workload;

pub use report::Report;
pub use run::{Pace, Plan, Target, Verdict, measure};
