//! Levels a load over the nodes by exchanges along cheapest paths, until none makes it more even.
//!
//! An exchange moves one unit from a node to another within one slot. Where no single exchange helps, a path of them
//! does: a full node gives to one that can give on. The sets that the rule admits are those of a matroid, and for sums
//! of such sets the absence of an improving path means that the load is as even as any choice could make it, the
//! largest and all others (Frank and Murota, *Decreasing minimization on M-convex sets*). Costs make the path one that
//! copies the least data.

use super::draft::{Draft, Load, cost};
use super::rule::Members;
use super::site::{Node, rank};

/// Exchanges kept per pair of nodes and sweep: more are found again in the next sweep.
const PER_PAIR: usize = 512;

/// An exchange within a slot, in the order of preference: the cheapest, and among equals one that nothing prefers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Exchange {
    cost: i32,
    scatter: u64,
    slot: usize,
}

/// Makes a load as even as the rule allows: first by all that costs no copy, then by what does.
pub(super) fn level(draft: &mut Draft<'_>, load: Load) {
    for cost_below in [cost::COPIED, i32::MAX] {
        while !is_even(draft.loads(load)) && Sweep::new(draft, load, cost_below).improve(draft) {}
    }
}

/// Takes back copies that levelling made in passing: exchanges around a cycle change no load, and one of negative cost
/// leaves more of before where it was (Klein, 1967).
pub(super) fn save_copies(draft: &mut Draft<'_>) {
    while Sweep::new(draft, Load::Members, i32::MAX).cancel_cycles(draft) {}
}

fn is_even(loads: &[u32]) -> bool {
    let (least, most) = (loads.iter().min(), loads.iter().max());
    most.zip(least).is_none_or(|(most, least)| most - least <= 1)
}

/// The exchanges that were possible when it began, by pair of nodes. Those that have become impossible are dropped when
/// their turn comes; those that have become possible are the next sweep's.
struct Sweep {
    load: Load,
    nodes: usize,
    /// By `from * nodes + to`, the best one last.
    exchanges: Vec<Vec<Exchange>>,
}

impl Sweep {
    fn new(draft: &Draft<'_>, load: Load, cost_below: i32) -> Self {
        let nodes = draft.site.nodes();
        let mut exchanges: Vec<Vec<Exchange>> = vec![Vec::new(); nodes * nodes];
        for slot in 0..draft.slots.len() {
            // Which of two equal exchanges is taken must not follow the numbering of slots, or neighbours would end up
            // alike.
            let position = draft.slots[slot].position;
            draft.exchanges(load, slot, |from, to, cost| {
                if cost >= cost_below {
                    return;
                }
                let pair = &mut exchanges[usize::from(from) * nodes + usize::from(to)];
                let scatter = position.rotate_left(u32::from(from ^ to));
                pair.push(Exchange { cost, scatter, slot });
                if pair.len() == 2 * PER_PAIR {
                    pair.select_nth_unstable(PER_PAIR);
                    pair.truncate(PER_PAIR);
                }
            });
        }
        for pair in &mut exchanges {
            pair.sort_unstable_by(|a, b| b.cmp(a));
        }
        Self { load, nodes, exchanges }
    }

    /// Takes improving paths, from the fullest node first, until there is none left; whether there was any.
    fn improve(&mut self, draft: &mut Draft<'_>) -> bool {
        let mut improved = false;
        let mut stuck = vec![false; self.nodes];
        loop {
            let loads = draft.loads(self.load);
            let Some(from) = (0..self.nodes)
                .filter(|&node| !stuck[node])
                .max_by_key(|&node| loads[node])
            else {
                return improved;
            };
            match self.cheapest_path(loads, from) {
                Some(path) => improved |= self.take(draft, &path),
                None => stuck[from] = true,
            }
        }
    }

    /// The cheapest path from a node to any that carries at least two less, as the nodes that it passes.
    fn cheapest_path(&self, loads: &[u32], from: usize) -> Option<Vec<usize>> {
        let mut cost = vec![i32::MAX; self.nodes];
        let mut before = vec![from; self.nodes];
        let mut done = vec![false; self.nodes];
        cost[from] = 0;
        loop {
            let open = (0..self.nodes).filter(|&node| !done[node] && cost[node] < i32::MAX);
            // Among equally cheap ends the emptiest: nodes are visited in that order.
            let node = open.min_by_key(|&node| (cost[node], loads[node], node))?;
            if loads[node] + 2 <= loads[from] {
                let mut path = vec![node];
                while path[path.len() - 1] != from {
                    path.push(before[path[path.len() - 1]]);
                }
                path.reverse();
                return Some(path);
            }
            done[node] = true;
            for next in 0..self.nodes {
                let Some(exchange) = self.exchanges[node * self.nodes + next].last() else {
                    continue;
                };
                // What a step would earn does not count, so that no path gains by going in circles; `save_copies` earns
                // it.
                let through = cost[node] + exchange.cost.max(0);
                if through < cost[next] {
                    (cost[next], before[next]) = (through, node);
                }
            }
        }
    }

    /// Takes cycles of negative cost until there is none left; whether there was any.
    fn cancel_cycles(&mut self, draft: &mut Draft<'_>) -> bool {
        let mut cancelled = false;
        while let Some(cycle) = self.negative_cycle() {
            cancelled |= self.take(draft, &cycle);
        }
        cancelled
    }

    /// A cycle of exchanges that costs less than nothing, as the nodes that it passes with the first one again at its
    /// end (Bellman and Ford, from all nodes at once).
    fn negative_cycle(&self) -> Option<Vec<usize>> {
        let mut cost = vec![0; self.nodes];
        let mut before = vec![0; self.nodes];
        let mut changed = None;
        for _ in 0..self.nodes {
            changed = None;
            for (pair, exchange) in self
                .exchanges
                .iter()
                .enumerate()
                .filter_map(|(pair, all)| Some((pair, all.last()?)))
            {
                let (node, next) = (pair / self.nodes, pair % self.nodes);
                if cost[node] + exchange.cost < cost[next] {
                    (cost[next], before[next]) = (cost[node] + exchange.cost, node);
                    changed = Some(next);
                }
            }
            changed?;
        }
        // A change in the last round hangs on a cycle: as many steps back as there are nodes lead into it.
        let on_cycle = (0..self.nodes).fold(changed?, |node, _| before[node]);
        let mut cycle = vec![on_cycle];
        while cycle.len() == 1 || cycle[cycle.len() - 1] != on_cycle {
            cycle.push(before[cycle[cycle.len() - 1]]);
        }
        cycle.reverse();
        Some(cycle)
    }

    /// Makes the exchanges of a path, the last one first; all of them or, if one has become impossible, none.
    fn take(&mut self, draft: &mut Draft<'_>, path: &[usize]) -> bool {
        let mut made: Vec<(usize, Members)> = Vec::with_capacity(path.len());
        for step in path.windows(2).rev() {
            match self.take_step(draft, rank(step[0]), rank(step[1])) {
                Some(undo) => made.push(undo),
                None => {
                    made.into_iter()
                        .rev()
                        .for_each(|(slot, members)| draft.restore(slot, members));
                    return false;
                }
            }
        }
        true
    }

    /// Makes the best exchange between two nodes that is still possible, unless it costs more than the path was planned
    /// with; the slot and its members before.
    fn take_step(&mut self, draft: &mut Draft<'_>, from: Node, to: Node) -> Option<(usize, Members)> {
        let pair = &mut self.exchanges[usize::from(from) * self.nodes + usize::from(to)];
        let planned = pair.last()?.cost;
        while let Some(Exchange { slot, .. }) = pair.pop_if(|exchange| exchange.cost == planned) {
            let members = draft.slots[slot].members;
            if draft.exchange(self.load, slot, from, to) {
                return Some((slot, members));
            }
        }
        None
    }
}
