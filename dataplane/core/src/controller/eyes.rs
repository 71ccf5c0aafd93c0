//! What a node sees of the others, and what it makes of what all of them see: watch, link matrix, verdicts.
//!
//! It owns the clock of lived time and hands out words, not actions. **Invariant:** whatever is said of a node is said of the process that
//! the topology log has.

use std::collections::{BTreeMap, BTreeSet};

use waterpark_ring::Topology;

use crate::detection::{
    Judge, Known, LinkMatrix, Lived, LivedClock, Roster, Row, Seen, Sight, Verdict, Watch, findings, sights,
};
use crate::ids::{Member, NodeId};
use crate::topology_log::planner::site::Site;
use crate::topology_log::{NodeState, Presence, TopologyState};

/// The eyes of one node.
#[derive(Debug)]
pub(super) struct Eyes {
    own: Member,
    clock: LivedClock,
    pub(super) watch: Watch,
    matrix: LinkMatrix,
    judge: Judge,
    /// What the judge said last, which it says until then as long as the matrix is still.
    unrecorded: Vec<Verdict>,
    judged_until: Lived,
    /// Who does not hear whom, while the matrix is still.
    cuts: Option<BTreeSet<(NodeId, NodeId)>>,
    roster: Roster,
    /// Data centres as numbers, by node.
    dcs: BTreeMap<NodeId, u16>,
}

impl Eyes {
    pub(super) fn new(own: Member, topology: &Topology, heartbeat_ns: u64, now_ns: u64) -> Eyes {
        let clock = LivedClock::new(now_ns);
        Eyes {
            dcs: dcs(topology),
            watch: Watch::new(own, heartbeat_ns, clock.now()),
            matrix: LinkMatrix::new(own, heartbeat_ns),
            judge: Judge::new(),
            unrecorded: Vec::new(),
            judged_until: Lived::default(),
            cuts: None,
            roster: Roster::default(),
            clock,
            own,
        }
    }

    /// A turn begins.
    pub(super) fn turned(&mut self, now_ns: u64) -> Lived {
        self.clock.turned(now_ns)
    }

    pub(super) fn now(&self) -> Lived {
        self.clock.now()
    }

    /// Other nodes belong to the cluster.
    pub(super) fn on_topology(&mut self, topology: &Topology) {
        let before = core::mem::replace(&mut self.dcs, dcs(topology));
        let left = before.into_keys().filter(|node| !self.dcs.contains_key(node));
        for node in left {
            self.watch.forget(node);
            self.matrix.forget(node);
        }
    }

    /// The topology log says who is there.
    pub(super) fn on_state(&mut self, state: &TopologyState) {
        let now = self.clock.now();
        // Of one that has just joined there is no process yet, and nobody looks for one that left.
        let is_known = |row: &NodeState| !matches!(row.presence, Presence::Joined | Presence::Left);
        let known = state.nodes().filter(|(_, row)| is_known(row));
        let known = known.map(|(node, row)| Known {
            member: Member {
                node,
                incarnation: row.incarnation,
            },
            dc: self.dcs.get(&node).copied().unwrap_or_default(),
            up: matches!(row.presence, Presence::Up | Presence::Draining),
        });
        let known: Vec<Known> = known.collect();
        for known in known.iter().filter(|known| known.member.node != self.own.node) {
            self.watch.expect(known.member, now);
        }
        self.roster = Roster::new(known);
        self.judged_until = Lived::default();
        self.cuts = None;
    }

    /// A row of another node.
    pub(super) fn take_row(&mut self, from: Member, row: Row) -> bool {
        self.matrix.take(from, row, self.clock.now()).is_ok()
    }

    /// Whether there may be a row to send now.
    pub(super) fn may_have_row(&self) -> bool {
        self.watch.may_have_row(self.clock.now())
    }

    /// The row to send now, if there is one; this node's own matrix has it then.
    pub(super) fn row(&mut self) -> Option<Row> {
        let row = self.watch.row(self.clock.now())?;
        self.matrix.take(self.own, row.clone(), self.clock.now()).ok();
        Some(row)
    }

    /// Judges by what is seen now. What the topology log should say of its nodes and does not.
    pub(super) fn judge(&mut self) -> Vec<Verdict> {
        let now = self.clock.now();
        // Asked every turn, and mostly nothing has changed: then nobody adds up rows to find what was found before.
        if now >= self.judged_until || !self.matrix.is_still(now) {
            let found = findings(&self.matrix.counted(&self.roster, now));
            self.judge.turn(&found, now);
            self.judged_until = self.judge.stands_until(&found);
            self.matrix.look(now);
            self.cuts = None;
            self.unrecorded.clear();
            self.unrecorded.extend(self.judge.unrecorded(self.roster.nodes()));
        }
        self.unrecorded.clone()
    }

    /// The processes that are heard, this one among them.
    pub(super) fn heard(&self) -> BTreeSet<Member> {
        let now = self.clock.now();
        let members = self.roster.nodes().iter().map(|known| known.member);
        members
            .filter(|member| *member == self.own || self.hears(*member, now))
            .collect()
    }

    /// Pairs of which the first does not hear the second.
    pub(super) fn cuts(&mut self) -> BTreeSet<(NodeId, NodeId)> {
        let now = self.clock.now();
        if let Some(cuts) = self.cuts.as_ref().filter(|_| self.matrix.is_still(now)) {
            return cuts.clone();
        }
        let counted = self.matrix.counted(&self.roster, now);
        let pairs = sights(&counted, &findings(&counted))
            .into_iter()
            .flat_map(|sight| match sight {
                Sight::Down { .. } => [None, None],
                Sight::PartialCut { between: (a, b) } => [Some((a, b)), Some((b, a))],
                Sight::OneWay { from, to } => [Some((to, from)), None],
                Sight::Unheard { node, by } => [Some((by, node)), None],
            });
        let cuts: BTreeSet<_> = pairs.flatten().collect();
        self.cuts = Some(cuts.clone());
        cuts
    }

    fn hears(&self, member: Member, now: Lived) -> bool {
        let sighting = self.watch.sees(member.node, now);
        sighting.is_some_and(|sighting| sighting.of(member.incarnation) == Some(Seen::Up))
    }
}

fn dcs(topology: &Topology) -> BTreeMap<NodeId, u16> {
    let site = Site::new(topology);
    let nodes = topology.nodes().iter().map(|node| {
        let place = site.place(node.id).expect("it is a node of this topology");
        let dc = u16::try_from(place.dc).expect("data centres are counted in 16 bits");
        (node.id, dc)
    });
    nodes.collect()
}
