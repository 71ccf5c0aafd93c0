//! The planner: which entries to propose, so that every group has its members, its writer and its place.
//!
//! It runs beside the elected leader, and sometimes on two nodes at once. That does no harm, because each Propose is a compare-and-set on
//! what it saw. It has no clock, and of the world it knows what [`Seen`] says; it neither opens views nor reports nodes up or down.
//! **Invariant:** equal states, sights and ages give equal entries; and what it proposes leads to a state about which it has nothing more
//! to say, by at most one view change for each group in two seconds.
//!
//! Birth, then repairs (`repair.rs`), then moves (`moves.rs`). A group with a member that is dead or out of service is repaired at once by its own members, and
//! never waits for a newcomer that has no data yet; the ring's order is restored by moves, which wait for learners.

mod ages;
mod batch;
mod moves;
mod repair;
mod roster;
mod rule;
mod seen;
pub(crate) mod site;
#[cfg(test)]
mod tests;

pub use seen::{GroupSeen, Seen, Trouble};

use waterpark_ring::{NodeSpec, Placement, Topology};

use crate::config::{Config, MEMBERS_MAX};
use crate::ids::{GroupId, Incarnation, Member, NodeId, View};
use crate::topology_log::entry::{Entry, Proposal, Roll, Why};
use crate::topology_log::state::{GroupState, TopologyState};
use ages::{Ages, Asked};
use repair::Repairs;
use roster::Roster;
use site::Site;

/// Bounds and periods of a planner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// W of groups with five members: 3, or 4 to outlive a data centre and one more server.
    pub write_quorum_of_five: u8,
    /// Bytes of proposals in one entry.
    pub entry_bytes_max: usize,
    /// Groups that are repaired by one call: the most urgent need not wait until all are thought of.
    pub repairs_per_plan_max: usize,
    /// Planned moves that a node takes part in at a time: as a newcomer that receives, or as a writer that sends or hands over.
    pub moves_per_node_max: u16,
    /// A view that is younger is left alone by planned moves, and by repairs as long as it serves, in ms.
    pub view_age_min_ms: u64,
    /// A pending view without progress for this long and ten round trips is replaced, in ms.
    pub stuck_ms: u64,
    /// Learners without progress for this long and ten round trips are let go, in ms.
    pub learners_stuck_ms: u64,
    /// How long moves of a group rest whose learners were let go, in ms.
    pub rest_ms: u64,
    /// An entry that was not seen decided is proposed again after this long and four round trips, in ms.
    pub repeat_ms: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            write_quorum_of_five: 3,
            entry_bytes_max: 64 << 10,
            repairs_per_plan_max: 1_024,
            moves_per_node_max: 4,
            view_age_min_ms: 2_000,
            stuck_ms: 1_000,
            learners_stuck_ms: 10_000,
            rest_ms: 60_000,
            repeat_ms: 100,
        }
    }
}

/// Members that a Config keeps where servers are short: two of them still ack, and two still answer for it.
const MEMBERS_MIN: usize = 3;

/// Plans for one cluster. It remembers when it first saw what it sees, and what it asked for; a new one starts with no memory and waits
/// the longer for it.
#[derive(Debug)]
pub struct Planner {
    aim: Aim,
    ages: Vec<Ages>,
    created_ms: Option<u64>,
}

/// What is aimed at.
#[derive(Debug)]
struct Aim {
    topology: Topology,
    placement: Placement,
    site: Site,
    limits: Limits,
}

/// One look at all groups.
struct Pass<'a> {
    aim: &'a Aim,
    ages: &'a mut [Ages],
    roster: Roster<'a>,
    now_ms: u64,
}

impl Planner {
    /// A planner for the groups of a topology. The placement says where they should be.
    ///
    /// # Panics
    /// If the placement is of another cluster, or W of five is neither 3 nor 4: a bug in this process.
    #[must_use]
    pub fn new(topology: Topology, placement: Placement, limits: Limits) -> Planner {
        assert_eq!(placement.cluster(), topology.spec().cluster);
        assert_eq!(placement.table().groups(), topology.keyspace().groups());
        assert!((3..=4).contains(&limits.write_quorum_of_five));
        Planner {
            aim: Aim {
                site: Site::new(&topology),
                topology,
                placement,
                limits,
            },
            ages: Vec::new(),
            created_ms: None,
        }
    }

    /// Another topology is in force. Its placement should follow from the one before, or groups move that need not.
    ///
    /// # Panics
    /// As [`Planner::new`].
    pub fn on_topology(&mut self, topology: Topology, placement: Placement) {
        let ages = core::mem::take(&mut self.ages);
        *self = Planner::new(topology, placement, self.aim.limits.clone());
        self.ages = ages;
    }

    /// The entries to propose now, the most urgent first. `now_ms` is monotonic.
    ///
    /// What was returned is not returned again until the state shows it, or so much time has passed that it must have been lost.
    #[must_use]
    pub fn plan(&mut self, now_ms: u64, state: &TopologyState, seen: &Seen) -> Vec<Entry> {
        if state.group(GroupId(0)).is_none() {
            return self.birth(now_ms, state, seen).into_iter().collect();
        }
        let groups = self.aim.placement.table().groups() as usize;
        self.ages.resize_with(groups, Ages::default);
        for (ages, (id, group)) in self.ages.iter_mut().zip(state.groups()) {
            ages.watch(now_ms, group, seen.progress(id));
        }
        let mut pass = Pass {
            aim: &self.aim,
            ages: &mut self.ages,
            roster: Roster::new(&self.aim.site, state, seen),
            now_ms,
        };
        // While anything is broken, or its repair on its way, nothing is moved.
        match pass.repairs() {
            Repairs::None => pass.moves(),
            Repairs::Asked => Vec::new(),
            Repairs::Due(proposals) => batch::pack(proposals, self.aim.limits.entry_bytes_max),
        }
    }

    /// All groups, where the ring wants them, as soon as every node has reported a process.
    fn birth(&mut self, now_ms: u64, state: &TopologyState, seen: &Seen) -> Option<Entry> {
        let Aim {
            topology,
            placement,
            limits,
            ..
        } = &self.aim;
        let reported = |node: &NodeSpec| state.node(node.id).incarnation != Incarnation(0);
        let asked = self
            .created_ms
            .is_some_and(|asked| now_ms < asked + limits.repeat_after_ms(seen));
        if asked || !topology.nodes().iter().all(reported) {
            return None;
        }
        self.created_ms = Some(now_ms);
        let member = |node: &NodeId| Member {
            node: *node,
            incarnation: state.node(*node).incarnation,
        };
        let slots = placement.table().slots().iter();
        let rolls = slots.map(|slot| limits.roll(slot.nodes().iter().map(member).collect()));
        Some(Entry::Create(rolls.collect()))
    }
}

impl Limits {
    fn write_quorum(&self, members: usize) -> usize {
        match members {
            MEMBERS_MAX => usize::from(self.write_quorum_of_five),
            fewer => fewer / 2 + 1,
        }
    }

    /// Members with the quorums of their number: 3 and 3 of five, 3 and 2 of four, 2 and 2 of three.
    pub(crate) fn roll(&self, members: Vec<Member>) -> Roll {
        let write_quorum = self.write_quorum(members.len());
        let quorum = |count: usize| u8::try_from(count).expect("a group has at most five members");
        Roll {
            write_quorum: quorum(write_quorum),
            read_quorum: quorum(members.len() + 1 - write_quorum),
            members,
        }
    }

    fn repeat_after_ms(&self, seen: &Seen) -> u64 {
        self.repeat_ms + 4 * seen.round_trip_ms
    }
}

impl Aim {
    /// Members that a group should have.
    fn members_wanted(&self) -> usize {
        self.topology.members()
    }

    /// Members below which no group goes on account of servers being short.
    fn members_min(&self) -> usize {
        self.members_wanted().min(MEMBERS_MIN)
    }
}

impl Pass<'_> {
    /// The groups that both the log and the topology have.
    fn groups(&self) -> impl Iterator<Item = (GroupId, &GroupState)> + use<'_> {
        self.roster.state.groups().take(self.ages.len())
    }

    fn ages(&self, group: GroupId) -> &Ages {
        &self.ages[group.0 as usize]
    }

    fn ages_mut(&mut self, group: GroupId) -> &mut Ages {
        &mut self.ages[group.0 as usize]
    }

    /// What was asked for this group so lately that it may still be on its way.
    fn asked(&self, group: GroupId) -> Option<&Asked> {
        let wait_ms = self.aim.limits.repeat_after_ms(self.roster.seen);
        let asked = self.ages(group).asked.as_ref();
        asked.filter(|asked| self.now_ms < asked.at_ms + wait_ms)
    }

    /// How old a view is here that is as old as it has to be where it was opened: its writer may hear of it later than we do.
    fn view_age_min_ms(&self) -> u64 {
        self.aim.limits.view_age_min_ms + 2 * self.roster.seen.round_trip_ms
    }

    /// Whether the active view is old enough for a planned move.
    fn is_grown(&self, group: GroupId) -> bool {
        self.now_ms >= self.ages(group).active_ms + self.view_age_min_ms()
    }

    /// Whether the group has just changed its view. A planner without memory does not know, and repairs.
    fn has_just_changed(&self, group: GroupId) -> bool {
        let changed = self.ages(group).changed_ms;
        changed.is_some_and(|changed| self.now_ms < changed + self.view_age_min_ms())
    }

    /// Whether the pending view, or the learners, have stood still for longer than patience and ten round trips.
    fn stands_still(&self, group: GroupId, patience_ms: u64) -> bool {
        let patience_ms = patience_ms + 10 * self.roster.seen.round_trip_ms;
        self.now_ms >= self.ages(group).still_ms + patience_ms
    }
}

/// A proposal about a group as it stands.
fn proposal(id: GroupId, group: &GroupState, roll: Roll, why: Why) -> Proposal {
    Proposal {
        group: id,
        sees_active: group.active.view,
        sees_pending: group.pending.as_ref().map_or(View::default(), |pending| pending.view),
        roll,
        why,
    }
}

/// Whether two lists name the same processes, in whatever order.
fn same_members(a: &[Member], b: &[Member]) -> bool {
    a.len() == b.len() && a.iter().all(|member| b.contains(member))
}

/// The members of a roll that a Config has not.
fn newcomers<'a>(members: &'a [Member], active: &'a Config) -> impl Iterator<Item = Member> + 'a {
    members
        .iter()
        .copied()
        .filter(|member| !active.members.contains(member))
}
