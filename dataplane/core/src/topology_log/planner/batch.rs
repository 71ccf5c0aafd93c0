//! Proposals packed into as few entries as their bounded size allows, in the order in which they came.

use crate::topology_log::codec::proposal_bytes;
use crate::topology_log::entry::{Entry, Proposal};

pub(super) fn pack(proposals: Vec<Proposal>, bytes_max: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for proposal in proposals {
        let more = proposal_bytes(&proposal);
        if bytes + more > bytes_max && !batch.is_empty() {
            entries.push(Entry::Propose(core::mem::take(&mut batch)));
            bytes = 0;
        }
        bytes += more;
        batch.push(proposal);
    }
    if !batch.is_empty() {
        entries.push(Entry::Propose(batch));
    }
    entries
}
