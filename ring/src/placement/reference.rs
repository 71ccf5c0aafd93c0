//! Exact answers for tests, found by another way than the code under test: as flows from slots to nodes.

use super::rule::{Range, Rule};
use super::site::Site;
use super::{Placement, slots};
use crate::topology::Topology;

/// What an arc earns for each unit below its lower bound: more than all copies together cost.
const OWED: i64 = 1 << 32;

/// The least that the fullest node can carry: writers, members.
pub(super) fn best_loads(topology: &Topology) -> (usize, usize) {
    let site = Site::new(topology);
    let mut slots_of_home = vec![0; site.dcs.len()];
    slots(None, topology)
        .iter()
        .for_each(|slot| slots_of_home[slot.home] += 1);
    let slots: usize = slots_of_home.iter().sum();
    let at_home = site
        .dcs
        .iter()
        .zip(&slots_of_home)
        .map(|(dc, slots): (_, &usize)| slots.div_ceil(dc.nodes));
    let writers = if site.homes_bind {
        at_home.max().unwrap()
    } else {
        slots.div_ceil(site.nodes())
    };

    // All slots of a home have one rule, so they can be poured as one: a sum of admissible sets is whatever the summed
    // ranges admit with no node more than once per slot.
    let feasible = |most: usize| {
        let mut network = Network::new(&site, &vec![most; site.nodes()]);
        for (home, &slots) in slots_of_home.iter().enumerate() {
            let rule = Rule::new(&site, home, topology.members());
            network.pour(&site, &rule, slots, |_| 0);
        }
        network.run().is_some()
    };
    let (mut too_few, mut members) = (0, slots);
    while members - too_few > 1 {
        let middle = usize::midpoint(too_few, members);
        if feasible(middle) {
            members = middle;
        } else {
            too_few = middle;
        }
    }
    (writers, members)
}

/// The fewest copies that lead from a placement to any other one that has these loads of members.
pub(super) fn least_copies(before: &Placement, topology: &Topology, loads: &[usize]) -> u64 {
    let site = Site::new(topology);
    let mut network = Network::new(&site, loads);
    for slot in slots(Some(before.table()), topology) {
        let rule = Rule::new(&site, slot.home, topology.members());
        network.pour(&site, &rule, 1, |node| i64::from(!slot.before.contains(node)));
    }
    network
        .run()
        .expect("the loads of a placement can be reached")
        .try_into()
        .unwrap()
}

/// A network of minimal cost with lower bounds. Place 0 is the source, place 1 the sink, then one for each node.
struct Network {
    arcs: Vec<Arc>,
    /// By place: the arcs that leave it.
    leaving: Vec<Vec<usize>>,
    wanted: usize,
    owed: usize,
}

/// An arc; the one back has the same index but for its lowest bit.
struct Arc {
    from: usize,
    to: usize,
    left: usize,
    cost: i64,
}

impl Network {
    fn new(site: &Site<'_>, most_by_node: &[usize]) -> Self {
        let leaving = vec![Vec::new(); 2 + site.nodes()];
        let mut network = Self {
            arcs: Vec::new(),
            leaving,
            wanted: 0,
            owed: 0,
        };
        for (node, &most) in most_by_node.iter().enumerate() {
            network.arc(2 + node, 1, most, 0);
        }
        network
    }

    /// Adds that many slots of one rule, with the cost of each node as a member.
    fn pour(&mut self, site: &Site<'_>, rule: &Rule, slots: usize, cost: impl Fn(u16) -> i64) {
        let home = self.place();
        self.arc(0, home, rule.members * slots, 0);
        self.wanted += rule.members * slots;
        for (dc, &range) in site.dcs.iter().zip(&rule.dcs) {
            let there = self.bounded(home, range, slots);
            for zone in &dc.zones {
                let within = self.bounded(there, rule.zone_range(zone.index), slots);
                zone.nodes
                    .iter()
                    .for_each(|&node| self.arc(within, 2 + usize::from(node), slots, cost(node)));
            }
        }
    }

    fn place(&mut self) -> usize {
        self.leaving.push(Vec::new());
        self.leaving.len() - 1
    }

    /// A new place that takes from another one within a range for each slot.
    fn bounded(&mut self, from: usize, range: Range, slots: usize) -> usize {
        let place = self.place();
        self.arc(from, place, range.least * slots, -OWED);
        self.arc(from, place, (range.most - range.least) * slots, 0);
        self.owed += range.least * slots;
        place
    }

    fn arc(&mut self, from: usize, to: usize, most: usize, cost: i64) {
        self.leaving[from].push(self.arcs.len());
        self.arcs.push(Arc {
            from,
            to,
            left: most,
            cost,
        });
        self.leaving[to].push(self.arcs.len());
        self.arcs.push(Arc {
            from: to,
            to: from,
            left: 0,
            cost: -cost,
        });
    }

    /// The least cost of a flow that satisfies all bounds, by cheapest paths; `None` if there is no such flow.
    fn run(mut self) -> Option<i64> {
        let (mut flow, mut cost) = (0, 0);
        while let Some((by, path_cost)) = self.cheapest_path() {
            let back_from = |to: usize| (to != 0).then(|| by[to]);
            let path: Vec<usize> = std::iter::successors(back_from(1), |&arc| back_from(self.arcs[arc].from)).collect();
            let units = path.iter().map(|&arc| self.arcs[arc].left).min().unwrap();
            for arc in path {
                self.arcs[arc].left -= units;
                self.arcs[arc ^ 1].left += units;
            }
            flow += units;
            cost += path_cost * i64::try_from(units).unwrap();
        }
        let cost = cost + OWED * i64::try_from(self.owed).unwrap();
        (flow == self.wanted && cost < OWED).then_some(cost)
    }

    /// The arc by which the cheapest path reaches each place, and what it costs to reach the sink.
    fn cheapest_path(&self) -> Option<(Vec<usize>, i64)> {
        let mut cost = vec![i64::MAX; self.leaving.len()];
        let mut by = vec![usize::MAX; self.leaving.len()];
        let mut queued = vec![false; self.leaving.len()];
        let mut queue = std::collections::VecDeque::from([0]);
        cost[0] = 0;
        while let Some(place) = queue.pop_front() {
            queued[place] = false;
            for &index in &self.leaving[place] {
                let arc = &self.arcs[index];
                if arc.left > 0 && cost[place] + arc.cost < cost[arc.to] {
                    (cost[arc.to], by[arc.to]) = (cost[place] + arc.cost, index);
                    if !std::mem::replace(&mut queued[arc.to], true) {
                        queue.push_back(arc.to);
                    }
                }
            }
        }
        (cost[1] < i64::MAX).then_some((by, cost[1]))
    }
}
