//! Bounded walks over the rings: every slot gets a writer, then the followers that it lacks.
//!
//! A walk starts at the slot's place on a zone's ring and takes the first node that carries less than its share
//! (Mirrokni, Thorup and Zadimoghaddam, *Consistent hashing with bounded loads*). The shares of writers are exact, so
//! at birth nothing is left to level; those of followers are upper bounds, and `level.rs` takes out what remains.

use super::draft::{Draft, Load, Slot};
use super::site::Node;

/// How many slots each node of a pool may write: all of them the floor, a few one more.
struct Quota {
    floor: u32,
    /// Nodes that may still take one above the floor.
    extra: u32,
}

impl Quota {
    fn new(slots: usize, loads: impl ExactSizeIterator<Item = u32>) -> Self {
        let nodes = loads.len();
        let floor = count(slots / nodes);
        let above = count(loads.filter(|&load| load > floor).count());
        Self {
            floor,
            extra: count(slots % nodes).saturating_sub(above),
        }
    }

    fn admits(&self, load: u32) -> bool {
        load < self.floor || (load == self.floor && self.extra > 0)
    }

    fn take(&mut self, load: u32) {
        if load >= self.floor {
            self.extra = self.extra.saturating_sub(1);
        }
    }
}

/// The quotas of all nodes: one pool per data centre where homes bind, else one for all.
struct Quotas {
    pools: Vec<Quota>,
}

impl Quotas {
    fn new(draft: &Draft<'_>) -> Self {
        let quota = |slots: usize, nodes: Vec<Node>| {
            Quota::new(slots, nodes.into_iter().map(|node| draft.load(Load::Writers, node)))
        };
        let site = &draft.site;
        let nodes_of = |dc: usize| site.nodes_of(dc).collect::<Vec<Node>>();
        let pools = if site.homes_bind {
            let slots_of = |home: usize| draft.slots.iter().filter(|slot| slot.home == home).count();
            (0..site.dcs.len())
                .map(|dc| quota(slots_of(dc), nodes_of(dc)))
                .collect()
        } else {
            vec![quota(
                draft.slots.len(),
                (0..site.dcs.len()).flat_map(nodes_of).collect(),
            )]
        };
        Self { pools }
    }

    fn pool(&self, draft: &Draft<'_>, node: Node) -> usize {
        if draft.site.homes_bind {
            draft.site.dc(node)
        } else {
            self.pools.len() - 1
        }
    }

    fn admits(&self, draft: &Draft<'_>, node: Node) -> bool {
        self.pools[self.pool(draft, node)].admits(draft.load(Load::Writers, node))
    }

    fn take(&mut self, draft: &Draft<'_>, node: Node) {
        let pool = self.pool(draft, node);
        self.pools[pool].take(draft.load(Load::Writers, node));
    }
}

/// Gives every slot a writer: the one of before where it still may write, else one by the rings. All homes are served
/// before anyone goes abroad.
pub(super) fn seat_writers(draft: &mut Draft<'_>) {
    for slot in 0..draft.slots.len() {
        let still_may = |&node: &Node| draft.is_member(slot, node) && draft.may_write(slot, node);
        if let Some(writer) = draft.slots[slot].writer_before.filter(still_may) {
            draft.seat(slot, writer);
        }
    }
    let mut quotas = Quotas::new(draft);
    for find in [at_home, anywhere] {
        for slot in 0..draft.slots.len() {
            if draft.slots[slot].seated {
                continue;
            }
            if let Some(writer) = find(draft, &quotas, slot) {
                quotas.take(draft, writer);
                assert!(
                    draft.join_and_seat(slot, writer),
                    "a writer was found because it can join"
                );
            }
        }
    }
    for slot in 0..draft.slots.len() {
        if !draft.slots[slot].seated {
            seat_beyond_quota(draft, slot);
        }
    }
}

/// A writer at home: a member that has the data, else a node that takes a free place. At birth nobody has anything, and
/// it is the ring's choice.
fn at_home(draft: &Draft<'_>, quotas: &Quotas, slot: usize) -> Option<Node> {
    let home = draft.slots[slot].home;
    present_member(draft, quotas, slot, |node| draft.site.dc(node) == home)
        .or_else(|| new_member_in(draft, quotas, slot, home))
}

/// A writer anywhere, where homes are a preference; again a member before a node that would have to be given the data.
fn anywhere(draft: &Draft<'_>, quotas: &Quotas, slot: usize) -> Option<Node> {
    let dcs = draft.site.dcs.len();
    let abroad = || (1..dcs).map(|step| (draft.slots[slot].home + draft.slots[slot].turn + step) % dcs);
    present_member(draft, quotas, slot, |_| true)
        .or_else(|| abroad().find_map(|dc| new_member_in(draft, quotas, slot, dc)))
}

fn new_member_in(draft: &Draft<'_>, quotas: &Quotas, slot: usize, dc: usize) -> Option<Node> {
    let fits = |&node: &Node| {
        !draft.is_member(slot, node)
            && draft.may_write(slot, node)
            && quotas.admits(draft, node)
            && draft.may_join(slot, node)
    };
    walk(draft, slot, dc).find(fits)
}

fn present_member(draft: &Draft<'_>, quotas: &Quotas, slot: usize, wanted: impl Fn(Node) -> bool) -> Option<Node> {
    let fits = |&node: &Node| wanted(node) && draft.may_write(slot, node) && quotas.admits(draft, node);
    draft.slots[slot].members.as_slice().iter().copied().find(fits)
}

/// The last resort of a slot whose candidates are all full: levelling will hand it on. Better too much work for a node
/// that has the data or takes a free place than a member that leaves for it.
fn seat_beyond_quota(draft: &mut Draft<'_>, slot: usize) {
    let mut nodes: Vec<Node> = (0..draft.site.dcs.len()).flat_map(|dc| walk(draft, slot, dc)).collect();
    nodes.retain(|&node| draft.may_write(slot, node));
    nodes.sort_by_key(|&node| {
        let displaces = !draft.is_member(slot, node) && !draft.may_join(slot, node);
        (displaces, draft.load(Load::Writers, node))
    });
    let seated = nodes.into_iter().any(|node| draft.join_and_seat(slot, node));
    assert!(seated, "the rule gives every home at least one member");
}

/// Gives every slot the followers that it lacks.
pub(super) fn fill_up(draft: &mut Draft<'_>) {
    let shares = shares(draft);
    for slot in 0..draft.slots.len() {
        while draft.slots[slot].members.len() < draft.rule(slot).members {
            let follower = below_share(draft, &shares, slot).unwrap_or_else(|| least_loaded(draft, slot));
            draft.join(slot, follower);
        }
    }
}

/// The next follower by the rings, if one of those that the rule admits carries less than its share.
fn below_share(draft: &Draft<'_>, shares: &[u32], slot: usize) -> Option<Node> {
    let dcs = draft.site.dcs.len();
    let start = draft.slots[slot].home + draft.slots[slot].turn;
    (0..dcs).map(|step| (start + step) % dcs).find_map(|dc| {
        let fits = |&node: &Node| {
            draft.load(Load::Members, node) < shares[dc] && !draft.is_member(slot, node) && draft.may_join(slot, node)
        };
        walk(draft, slot, dc).find(fits)
    })
}

fn least_loaded(draft: &Draft<'_>, slot: usize) -> Node {
    let nodes = (0..draft.site.dcs.len()).flat_map(|dc| walk(draft, slot, dc));
    let fits = |&node: &Node| !draft.is_member(slot, node) && draft.may_join(slot, node);
    let least = nodes.filter(fits).min_by_key(|&node| draft.load(Load::Members, node));
    least.expect("a slot that lacks members can be completed")
}

/// Members that a node of each data centre carries if what the rule prescribes is shared evenly. Where it leaves a
/// choice between data centres, no node need carry more than the mean of all.
fn shares(draft: &Draft<'_>) -> Vec<u32> {
    let mut slots_of_home = vec![0; draft.site.dcs.len()];
    draft.slots.iter().for_each(|slot| slots_of_home[slot.home] += 1);
    let wanted: usize = draft
        .rules
        .iter()
        .zip(&slots_of_home)
        .map(|(rule, slots)| rule.members * slots)
        .sum();
    let mean = wanted.div_ceil(draft.site.nodes());
    let share = |dc: usize| {
        let ranges = || draft.rules.iter().map(|rule| rule.dcs[dc]).zip(&slots_of_home);
        let prescribed: usize = ranges().map(|(range, slots)| range.least * slots).sum();
        let chosen = ranges().any(|(range, &slots)| slots > 0 && range.least < range.most);
        let even = prescribed.div_ceil(draft.site.dcs[dc].nodes);
        count(if chosen { even.max(mean) } else { even })
    };
    (0..draft.site.dcs.len()).map(share).collect()
}

/// The nodes of a data centre as a slot meets them: zone after zone from the one whose turn it is, each by its ring.
fn walk<'d>(draft: &'d Draft<'_>, slot: usize, dc: usize) -> impl Iterator<Item = Node> + use<'d> {
    let zones = &draft.site.dcs[dc].zones;
    let Slot {
        position, home, turn, ..
    } = draft.slots[slot];
    // Another bit of the turn for each data centre, so that a slot's zones do not go in step.
    let distance = (dc + draft.site.dcs.len() - home) % draft.site.dcs.len();
    let turn = turn >> (distance % 8);
    (0..zones.len()).flat_map(move |step| zones[(turn + step) % zones.len()].walk(position))
}

fn count(number: usize) -> u32 {
    u32::try_from(number).expect("slots are at most GROUPS_MAX")
}
