//! Members that are contradicted: to one member of a group the hashes of states that all others send look like those of another state, as if
//! its own had turned wrong. It has to take itself out, and somebody else to take its place.
//!
//! What is drawn for it is drawn apart. **Invariant:** a group that loses a member so can bear it, and that copy counts as lost until the
//! member is none.

use std::collections::BTreeMap;
use std::mem::offset_of;

use waterpark_core::ids::{GroupId, Member};
use waterpark_core::rules::Rules;
use waterpark_core::time::MS;
use waterpark_core::topology_log::GroupState;
use waterpark_wire::item::Item;
use waterpark_wire::link::StateHash;
use waterpark_wire::{FrameView, ItemKind};

use super::Cluster;
use crate::garbage;
use crate::ledger::Violation;
use crate::reach::Fault;
use crate::rng::Rng;

/// Somebody else has taken the place of a member that took itself out within so many ms.
const REPLACED_MS: u64 = 10_000;
/// Members that a group has at least: of three none can leave.
const MEMBERS_MIN: usize = 4;

/// What became of a member that is contradicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    /// It does not know.
    In,
    /// It took itself out at this instant, virtual ns.
    Out(u64),
    /// It is no member any more.
    Gone,
}

/// The members that ever were contradicted.
#[derive(Debug)]
pub(super) struct Contradicted {
    members: BTreeMap<(GroupId, Member), Stands>,
    /// When one of a group last took itself out, virtual ns.
    out_ns: BTreeMap<GroupId, u64>,
    rng: Rng,
}

impl Contradicted {
    pub(super) fn new(seed: u64) -> Contradicted {
        Contradicted {
            members: BTreeMap::new(),
            out_ns: BTreeMap::new(),
            rng: Rng::new(seed ^ 0x0C04_78AD),
        }
    }

    /// Whether a copy of a group is as good as lost.
    pub(super) fn has(&self, group: GroupId, member: Member) -> bool {
        let stands = self.members.get(&(group, member));
        stands.is_some_and(|stands| *stands != Stands::Gone)
    }

    /// Whether one has taken itself out since an instant, by what it heard before.
    pub(super) fn was_out_since(&self, group: GroupId, ns: u64) -> bool {
        self.out_ns.get(&group).is_some_and(|out_ns| *out_ns >= ns)
    }

    /// Whether a member has taken itself out and is one still.
    pub(super) fn is_out(&self, group: GroupId, member: Member) -> bool {
        let stands = self.members.get(&(group, member));
        matches!(stands, Some(Stands::Out(_)))
    }
}

impl<R: Rules> Cluster<R> {
    /// Now and then a member of a group that clients ask for is contradicted from now on, if the group can bear it.
    pub(super) fn contradict(&mut self) {
        if self.faults.contradictions == 0 || self.contradicted.rng.below(40) > 0 {
            return;
        }
        let key = self.contradicted.rng.index(self.keys.len());
        let id = self.topology.locate(self.keys[key].as_ref()).group;
        let Some(group) = self.steward.state.group(id) else {
            return;
        };
        let members = &group.active.members;
        let member = members[self.contradicted.rng.index(members.len())];
        let node = usize::from(member.node.0) - 1;
        let is_new = !self.contradicted.members.contains_key(&(id, member));
        if members.len() >= MEMBERS_MIN && is_new && self.is_live(member) && self.can_bear(group, Some(node)) {
            self.faults.contradictions -= 1;
            self.contradicted.members.insert((id, member), Stands::In);
            self.did(Fault::MemberContradicted);
        }
    }

    /// A frame as a member gets it to whom others' states look wrong; `None` if that is as it was sent.
    pub(super) fn contradicting(&self, node: usize, frame: &FrameView<'_>) -> Option<Vec<u8>> {
        if !self.faulty || self.contradicted.members.is_empty() {
            return None;
        }
        let member = self.member(node);
        let is_told = |item: &Item<'_>| {
            let group = GroupId(item.header.group.get());
            let stands = self.contradicted.members.get(&(group, member));
            item.kind() == ItemKind::StateHash && stands == Some(&Stands::In)
        };
        let rewrite = |bytes: &mut [u8]| {
            if Item::new_checked(bytes).is_ok_and(|item| is_told(&item)) {
                bytes[offset_of!(StateHash, hash)] ^= 1;
            }
        };
        let concerns = frame.items().any(|item| is_told(&item));
        concerns.then(|| garbage::with_items(frame, rewrite))
    }

    /// A member took itself out of service: because it was contradicted, or something is wrong.
    pub(super) fn on_out_of_service(&mut self, node: usize, group: GroupId, otherwise: Violation) {
        let (now_ns, member) = (self.now_ns, self.member(node));
        match self.contradicted.members.get_mut(&(group, member)) {
            Some(stands @ Stands::In) => {
                *stands = Stands::Out(now_ns);
                self.contradicted.out_ns.insert(group, now_ns);
            }
            Some(Stands::Out(_) | Stands::Gone) => {}
            None => self.report.violations.push(otherwise),
        }
    }

    /// A group has other members.
    pub(super) fn note_contradicted(&mut self, id: GroupId) {
        let group = self.steward.state.group(id);
        let stays = |group: &GroupState, member: &Member| {
            let coming = group.pending.iter().flat_map(|pending| &pending.members);
            group.active.members.iter().chain(coming).any(|other| other == member)
        };
        for ((_, member), stands) in self.contradicted.members.iter_mut().filter(|((of, _), _)| *of == id) {
            if !group.is_some_and(|group| stays(group, member)) {
                *stands = Stands::Gone;
            }
        }
    }

    /// Nobody is out of service for long, unless others have no room for a view without it.
    pub(super) fn check_contradicted(&mut self) {
        if self.faults.has_little_memory() {
            return;
        }
        for ((group, _), stands) in &self.contradicted.members {
            if matches!(stands, Stands::Out(since_ns) if self.now_ns - since_ns > REPLACED_MS * MS) {
                self.report.violations.push(Violation::NotReplaced(*group));
            }
        }
    }
}
