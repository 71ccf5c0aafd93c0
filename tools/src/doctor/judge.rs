//! What the facts of a host mean for nodes that run on it.
//!
//! It reads nothing: facts, what became of a ring that was tried, and what a node asks for are arguments. **Invariant:** a fact that was not
//! seen is no defect; a cause is named only where a fact shows it.

mod cores;
mod memory;
mod network;
mod uring;

use waterpark::config::{Code, DefectCode, Severity};

pub(crate) use network::SOCKET_BYTES_MIN;

use super::demand::Demand;
use crate::host::Facts;

/// Something about a host that a node would suffer from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Defect {
    pub(crate) code: DefectCode,
    /// An error keeps a node from running as it is meant to; a warning makes it slower, or may some day.
    pub(crate) severity: Severity,
    /// What shows it: where, and what stands there.
    pub(crate) seen: String,
}

impl Defect {
    fn error(code: DefectCode, seen: String) -> Defect {
        let severity = Severity::Error;
        Defect { code, severity, seen }
    }

    fn warning(code: DefectCode, seen: String) -> Defect {
        let severity = Severity::Warning;
        Defect { code, severity, seen }
    }

    pub(crate) fn entry(&self) -> &'static Code {
        self.code.entry()
    }
}

/// What became of a ring that was tried on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ring {
    /// None was tried.
    Untried,
    /// It opened, with these concessions.
    Opened {
        flags_refused: bool,
        /// The entries that it has, if fewer than were asked for.
        halved_to: Option<u32>,
    },
    /// `EPERM` or the like.
    Forbidden,
    /// `ENOSYS`, or a part is missing.
    Unsupported(&'static str),
    /// No locked memory is left.
    LockedMemory,
    /// Descriptors or memory have run out.
    Resources,
}

/// Everything that is to be found, in the order of the codes.
pub(crate) fn judge(facts: &Facts, ring: Ring, demand: Option<&Demand>) -> Vec<Defect> {
    let shards = demand.map_or_else(
        || facts.cores.as_ref().map_or(1, |cores| cores.len() as u64),
        |demand| demand.shards,
    );
    let mut defects = Vec::new();
    defects.extend(uring::ring(facts, ring));
    defects.extend(uring::locked_memory(facts, ring, shards));
    defects.extend(memory::files(facts, demand, shards));
    defects.extend(memory::pages(facts));
    defects.extend(memory::budget(facts, demand));
    defects.extend(cores::of_node(facts, demand, shards));
    defects.extend(cores::speed(facts));
    defects.extend(cores::interrupts(facts, demand));
    defects.extend(network::ports(facts, demand));
    defects.extend(network::sockets(facts));
    defects.sort_by_key(|defect| defect.code);
    defects
}
