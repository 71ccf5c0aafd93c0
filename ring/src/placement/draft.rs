//! A placement in the making: the members of each slot, the loads of each node, and the single changes that keep the
//! rule.
//!
//! A slot stands for one group, or with copysets for all groups that share a member set. Knows how to change a slot and
//! what a change costs; which changes are worth making is decided in `seat.rs` and `level.rs`. **Invariant:** between
//! any two changes every slot's members can be completed by the rule, and the loads are sums over the slots.

use super::rule::{Members, Rule};
use super::site::{Node, Site};

/// What a node carries, counted in slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Load {
    /// Slots that it writes.
    Writers,
    /// Slots that it is a member of, as writer or as follower.
    Members,
}

pub(super) struct Slot {
    /// Where it stands on every ring.
    pub(super) position: u64,
    /// Home data centre of its class.
    pub(super) home: usize,
    /// Whose turn it is, counted over the slots of a class: zones and data centres are taken in rotation by it. It is
    /// made of bits of the keys' hash, so it shares out exactly what a further hash would share out with luck.
    pub(super) turn: usize,
    /// Members before, without those that are gone. Empty at birth.
    pub(super) before: Members,
    /// The writer before, if there was one and it is not gone.
    pub(super) writer_before: Option<Node>,
    /// Members now; the first is the writer as soon as the slot is seated.
    pub(super) members: Members,
    pub(super) seated: bool,
}

/// What changes cost: one copy of data weighs more than any number of other changes on one path.
pub(super) mod cost {
    /// A change that touches nothing of before.
    pub(in crate::placement) const REVISED: i32 = 1;
    /// A writer leaves its home, where homes are a preference.
    pub(in crate::placement) const AWAY_FROM_HOME: i32 = 2;
    /// A writer of before is one no longer; it earns as much to become one again.
    pub(in crate::placement) const HANDED_OVER: i32 = 8;
    /// A node that was no member before becomes one, and data is copied to it; leaving again earns as much.
    pub(in crate::placement) const COPIED: i32 = 1 << 16;
}

pub(super) struct Draft<'a> {
    pub(super) site: Site<'a>,
    /// By home data centre.
    pub(super) rules: Vec<Rule>,
    pub(super) slots: Vec<Slot>,
    writer_loads: Vec<u32>,
    member_loads: Vec<u32>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(site: Site<'a>, members: usize, slots: Vec<Slot>) -> Self {
        let rules = (0..site.dcs.len())
            .map(|home| Rule::new(&site, home, members))
            .collect();
        let loads = vec![0; site.nodes()];
        let mut draft = Self {
            site,
            rules,
            slots,
            writer_loads: loads.clone(),
            member_loads: loads,
        };
        draft.keep_what_was();
        draft
    }

    /// Takes over the members of before as far as the rule lets them stay. Admissible sets are a matroid's, so taking
    /// one after the other keeps as many as can be kept, in whatever order.
    fn keep_what_was(&mut self) {
        for at in 0..self.slots.len() {
            let before = self.slots[at].before;
            for &node in before.as_slice() {
                if self.may_join(at, node) {
                    self.join(at, node);
                }
            }
        }
    }

    pub(super) fn loads(&self, load: Load) -> &[u32] {
        match load {
            Load::Writers => &self.writer_loads,
            Load::Members => &self.member_loads,
        }
    }

    pub(super) fn load(&self, load: Load, node: Node) -> u32 {
        self.loads(load)[usize::from(node)]
    }

    pub(super) fn rule(&self, slot: usize) -> &Rule {
        &self.rules[self.slots[slot].home]
    }

    pub(super) fn is_member(&self, slot: usize, node: Node) -> bool {
        self.slots[slot].members.contains(node)
    }

    /// The members but the writer; all of them as long as there is none.
    fn followers(&self, slot: usize) -> &[Node] {
        let Slot { members, seated, .. } = &self.slots[slot];
        &members.as_slice()[usize::from(*seated)..]
    }

    /// Whether a node, once a member, may write the slot.
    pub(super) fn may_write(&self, slot: usize, node: Node) -> bool {
        !self.site.homes_bind || self.site.dc(node) == self.slots[slot].home
    }

    /// Whether a node that is no member may become one without anyone leaving.
    pub(super) fn may_join(&self, slot: usize, node: Node) -> bool {
        let (rule, members) = (self.rule(slot), &self.slots[slot].members);
        members.len() < rule.members && rule.extendable(&self.site, &members.with(node))
    }

    pub(super) fn join(&mut self, slot: usize, node: Node) {
        self.slots[slot].members.push(node);
        self.member_loads[usize::from(node)] += 1;
    }

    /// Makes a member the writer of a slot that has none.
    pub(super) fn seat(&mut self, slot: usize, writer: Node) {
        assert!(!self.slots[slot].seated);
        self.slots[slot].members.make_writer(writer);
        self.slots[slot].seated = true;
        self.writer_loads[usize::from(writer)] += 1;
    }

    /// Makes a node a member, at the expense of another one if it must be, and then the writer; `false` if no member
    /// can make room.
    pub(super) fn join_and_seat(&mut self, slot: usize, node: Node) -> bool {
        assert!(!self.slots[slot].seated);
        let mut members = self.slots[slot].members;
        if !members.contains(node) {
            if self.may_join(slot, node) {
                members.push(node);
            } else if let Some(leaving) = self.leaving_for(slot, node) {
                members.replace(leaving, node);
            } else {
                return false;
            }
        }
        self.set_members(slot, members);
        self.seat(slot, node);
        true
    }

    /// The member that makes room for a node: one that was none before, else the one that carries most.
    fn leaving_for(&self, slot: usize, node: Node) -> Option<Node> {
        let Slot { members, before, .. } = &self.slots[slot];
        let makes_room = |&member: &Node| {
            let rest = members.without(member).with(node);
            self.rule(slot).extendable(&self.site, &rest)
        };
        let candidates = members.as_slice().iter().copied().filter(makes_room);
        candidates.max_by_key(|&member| (!before.contains(member), self.load(Load::Members, member), member))
    }

    fn set_members(&mut self, slot: usize, members: Members) {
        for &node in self.slots[slot].members.as_slice() {
            self.member_loads[usize::from(node)] -= 1;
        }
        for &node in members.as_slice() {
            self.member_loads[usize::from(node)] += 1;
        }
        self.slots[slot].members = members;
    }

    /// Moves one unit of load from a node to another within a slot; `false`, with nothing changed, if the rule forbids
    /// it.
    pub(super) fn exchange(&mut self, load: Load, slot: usize, from: Node, to: Node) -> bool {
        match load {
            Load::Writers => self.hand_over(slot, from, to),
            Load::Members => self.replace_follower(slot, from, to),
        }
    }

    fn hand_over(&mut self, slot: usize, from: Node, to: Node) -> bool {
        if self.slots[slot].members.writer() != from || !self.may_write(slot, to) {
            return false;
        }
        self.unseat(slot);
        let handed = self.join_and_seat(slot, to);
        if !handed {
            self.seat(slot, from);
        }
        handed
    }

    fn unseat(&mut self, slot: usize) {
        assert!(self.slots[slot].seated);
        self.writer_loads[usize::from(self.slots[slot].members.writer())] -= 1;
        self.slots[slot].seated = false;
    }

    fn replace_follower(&mut self, slot: usize, from: Node, to: Node) -> bool {
        let mut members = self.slots[slot].members;
        if !self.followers(slot).contains(&from)
            || members.contains(to)
            || !self.rule(slot).may_replace(&self.site, &members, from, to)
        {
            return false;
        }
        members.replace(from, to);
        self.set_members(slot, members);
        true
    }

    /// Puts a slot back into an earlier state.
    pub(super) fn restore(&mut self, slot: usize, members: Members) {
        let seated = self.slots[slot].seated;
        if seated {
            self.unseat(slot);
        }
        self.set_members(slot, members);
        if seated {
            self.seat(slot, members.writer());
        }
    }

    /// Calls `found(from, to, cost)` for each exchange that the rule allows in a slot.
    pub(super) fn exchanges(&self, load: Load, slot: usize, mut found: impl FnMut(Node, Node, i32)) {
        let members = &self.slots[slot].members;
        match load {
            Load::Writers => {
                let writer = members.writer();
                let heirs = |dc| self.site.nodes_of(dc).filter(|&node| node != writer);
                if self.site.homes_bind {
                    heirs(self.slots[slot].home).for_each(|to| found(writer, to, self.cost_of_writer(slot, to)));
                } else {
                    (0..self.site.dcs.len())
                        .flat_map(heirs)
                        .for_each(|to| found(writer, to, self.cost_of_writer(slot, to)));
                }
            }
            Load::Members => {
                let rule = self.rule(slot);
                for &from in self.followers(slot) {
                    for dc in 0..self.site.dcs.len() {
                        // Where the rule fixes the numbers of both, no member moves between two data centres.
                        let fixed = |dc: usize| rule.dcs[dc].least == rule.dcs[dc].most;
                        if dc != self.site.dc(from) && (fixed(dc) || fixed(self.site.dc(from))) {
                            continue;
                        }
                        for to in self.site.nodes_of(dc) {
                            if !members.contains(to) && rule.may_replace(&self.site, members, from, to) {
                                found(from, to, self.cost_of_follower(slot, from, to));
                            }
                        }
                    }
                }
            }
        }
    }

    fn cost_of_writer(&self, slot: usize, to: Node) -> i32 {
        let Slot {
            members,
            writer_before,
            home,
            ..
        } = &self.slots[slot];
        let was_writer = |node: Node| i32::from(*writer_before == Some(node));
        let away = |node: Node| i32::from(self.site.dc(node) != *home);
        let from = members.writer();
        let displaces = !members.contains(to) && !self.may_join(slot, to);
        cost::REVISED
            + cost::HANDED_OVER * (was_writer(from) - was_writer(to))
            + cost::AWAY_FROM_HOME * (away(to) - away(from))
            + cost::COPIED * i32::from(displaces)
    }

    fn cost_of_follower(&self, slot: usize, from: Node, to: Node) -> i32 {
        let Slot {
            before, writer_before, ..
        } = &self.slots[slot];
        let was_writer = |node: Node| i32::from(*writer_before == Some(node));
        let was_member = |node: Node| i32::from(before.contains(node));
        cost::REVISED
            + cost::HANDED_OVER * (was_writer(from) - was_writer(to))
            + cost::COPIED * (was_member(from) - was_member(to))
    }
}
