//! A group's move from one shard of its node to another, while it lives.
//!
//! The topology log says where a group lives on each node. Every shard of a node learns the entries in the same order, so the shard that the group
//! leaves gives it away whole, at the entry's position, and the one that it comes to goes on with it once it has both the group and that position:
//! what was decided before was done there, what is decided later is done here. What is about the group meanwhile waits with the arrival, in its
//! order; what still comes to the old shard follows the group. The log's chunks stay where they lie and change hands by name.
//!
//! Nothing is told to other nodes: they need not know which shard answers. **Invariant:** at each moment one shard of a node has the group, or an
//! arrival of it is under way to exactly one.

use core::any::Any;
use core::fmt;

use waterpark_wire::item::{Item, Items};
use waterpark_wire::link::Exception;

use crate::behaviour::Behaviour;
use crate::effects::{Crossing, Effect, Followed, FrameOrigin};
use crate::group::{Group, Role};
use crate::ids::{GroupId, NodeId, ShardId};
use crate::memory::Memory;
use crate::pending::Sent;
use crate::rules::{Rule, Rules};
use crate::shard::{AWAY, NO_GROUP, Shard};
use crate::time::Now;
use crate::topology_log::{Entry, GroupState, TopologyState};
use crate::view_change::Branch;
use crate::waiting::{Held, Origin};
use crate::writer::held_request;

/// A group on its way between two shards of a node. Whoever carries it cannot look into it.
pub struct Moved(Box<dyn Any + Send>);

impl fmt::Debug for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Moved")
    }
}

/// What one shard hands to another when a group moves.
struct Parcel<S, C> {
    from: ShardId,
    /// The chunks of its log, then those of a log that is collected beside it, each in their order.
    chunks: Vec<C>,
    load: Load<S>,
}

/// What came of a group.
#[derive(Debug)]
struct Load<S> {
    /// What the log said of the group up to where that was done: what was decided since is done where the group stays.
    known: Option<GroupState>,
    /// The group; `None` if there is nothing of it.
    goods: Option<Box<Goods<S>>>,
}

/// A group with what goes with it.
#[derive(Debug)]
struct Goods<S> {
    group: Group<S>,
    /// Something of its log has not taken effect, and is listed.
    has_unapplied: bool,
    /// Requests of other mailrooms whose answers were under way, and are computed anew.
    again: Vec<Held>,
    /// Answers that wait and were not given.
    waiting: usize,
    /// No answer to a round up to this one is to be taken for one to a later round.
    round: u64,
    /// When it left, monotonic ns.
    left_ns: u64,
}

/// A group that this shard is to have.
#[derive(Debug)]
pub(crate) struct Arrival<S> {
    group: GroupId,
    /// Of the entry by which it moves.
    position: u64,
    /// What came of it, once that has.
    came: Option<Load<S>>,
    /// This shard has learned that entry.
    is_learned: bool,
    /// What is about it waits, in its order.
    parked: Vec<Crossing>,
    /// It goes on to another shard by a later entry.
    onward: Option<(ShardId, u64)>,
}

/// Where what is about a group belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// To this shard.
    Here,
    /// To this shard, once the group has come.
    Arriving,
    /// To another one.
    At(ShardId),
}

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// The shard of a group on a node, by a state of the topology log.
    fn seat_in(&self, state: &TopologyState, node: NodeId, group: GroupId) -> ShardId {
        let shards = self.settings.shards_of(node);
        let seat = state.seat(node, group).map(|seat| seat.shard);
        let by_number = || ShardId(waterpark_ring::shard_of(group, shards));
        // An entry may name a shard that the node does not have: it was made for another process of it.
        seat.filter(|shard| shard.0 < shards).unwrap_or_else(by_number)
    }

    /// The shard of a group on a node.
    pub(crate) fn shard_of(&self, node: NodeId, group: GroupId) -> ShardId {
        self.seat_in(&self.decided, node, group)
    }

    /// Whether what is decided about a group is done by this shard, now.
    pub(crate) fn lives_here(&self, group: GroupId) -> bool {
        self.shard_of(self.settings.node, group) == self.settings.shard && !self.awaits(group)
    }

    fn awaits(&self, group: GroupId) -> bool {
        self.arrivals.iter().any(|arrival| arrival.group == group)
    }

    /// Where what came about a group belongs.
    pub(crate) fn whereabouts(&self, group: GroupId) -> Whereabouts {
        if self.group_index(group).is_some() {
            return Whereabouts::Here;
        }
        if self.awaits(group) {
            return Whereabouts::Arriving;
        }
        match self.shard_of(self.settings.node, group) {
            shard if shard == self.settings.shard => Whereabouts::Here,
            shard => Whereabouts::At(shard),
        }
    }

    /// The groups of this node that an entry may move, each with the shard where it lives before.
    pub(crate) fn seats_before(&self, entry: &Entry) -> Vec<(GroupId, ShardId)> {
        let own = self.settings.node;
        match entry {
            Entry::Seats { node, moves, .. } if *node == own => {
                let groups = moves.iter().map(|one| one.group);
                groups.map(|group| (group, self.shard_of(own, group))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// An entry was learned by which a group may live elsewhere.
    pub(crate) fn on_seat(&mut self, now: Now, id: GroupId, from: ShardId, before: Option<GroupState>) {
        let (own, to) = (self.settings.shard, self.shard_of(self.settings.node, id));
        if from == to {
            return;
        }
        let position = self.decided.position();
        if from == own {
            self.send_off(now, id, (to, position), before);
        } else if to == own {
            self.arrival(id, position).is_learned = true;
            self.settle_arrival(now, id, position);
        }
    }

    /// A whole state of the topology log was learned in the place of the one before: as if one entry had brought all groups where they live by it.
    pub(crate) fn on_seats(&mut self, now: Now, before: &TopologyState) {
        let own = self.settings.node;
        let mut groups: Vec<GroupId> = before
            .seats(own)
            .chain(self.decided.seats(own))
            .map(|(id, _)| id)
            .collect();
        groups.sort_unstable();
        groups.dedup();
        for id in groups {
            let from = self.seat_in(before, own, id);
            self.on_seat(now, id, from, before.group(id).cloned());
        }
    }

    fn arrival(&mut self, group: GroupId, position: u64) -> &mut Arrival<B::State> {
        let is_it = |arrival: &Arrival<B::State>| arrival.group == group && arrival.position == position;
        let index = self.arrivals.iter().position(is_it).unwrap_or_else(|| {
            self.arrivals.push(Arrival {
                group,
                position,
                came: None,
                is_learned: false,
                parked: Vec::new(),
                onward: None,
            });
            self.arrivals.len() - 1
        });
        &mut self.arrivals[index]
    }

    /// A group leaves for another shard, as soon as it is here.
    fn send_off(&mut self, now: Now, id: GroupId, to: (ShardId, u64), known: Option<GroupState>) {
        // It may come and go more than once before it comes for the first time.
        let is_due =
            |arrival: &&mut Arrival<B::State>| arrival.group == id && arrival.is_learned && arrival.onward.is_none();
        if let Some(arrival) = self.arrivals.iter_mut().find(is_due) {
            arrival.onward = Some(to);
            return self.counters.branches.took(Branch::MovedOnward);
        }
        let goods = self.group_index(id).map(|index| self.take_out(now, index));
        self.give_away(id, to, Load { known, goods });
        self.pass_on_unsent(now, id);
    }

    fn give_away(&mut self, id: GroupId, (to, position): (ShardId, u64), mut load: Load<B::State>) {
        let memory = &mut self.memory;
        let names = load.goods.iter_mut().flat_map(|goods| goods.group.chunk_names());
        let chunks = names.map(|chunk| memory.give(*chunk)).collect();
        let parcel = Parcel::<B::State, M::Given> {
            from: self.settings.shard,
            chunks,
            load,
        };
        let crossing = Crossing::Seat {
            group: id,
            position,
            moved: Moved(Box::new(parcel)),
        };
        self.effects.push(Effect::Deliver { shard: to, crossing });
    }

    /// What was kept here until the group could take it goes where that is.
    fn pass_on_unsent(&mut self, now: Now, id: GroupId) {
        for correlation in self.pendings.of_group(id) {
            let pending = self.pendings.get(correlation);
            if pending.is_some_and(|pending| pending.sent == Sent::Never) {
                self.pass_on(now, correlation);
            }
        }
    }

    /// Takes a group out with all that goes with it. Its row stays, empty: what was sent for it and is not acked yet names it.
    fn take_out(&mut self, now: Now, index: usize) -> Box<Goods<B::State>> {
        let group = &mut self.groups[index];
        let id = group.id;
        group.log.seal(&mut self.memory, group.log_view);
        self.counters.seats_left += 1;
        if group.changes() {
            self.counters.branches.took(Branch::MovedInViewChange);
        }
        let again = self.take_requests(now, index);
        let waiting = self.take_waiting(now, index);
        self.forget_row(index);
        let fresh = Group::new(id, Vec::new(), Vec::new(), self.settings.limits.state_hash_entries);
        let mut group = std::mem::replace(&mut self.groups[index], fresh);
        self.group_at[id.0 as usize] |= AWAY;
        if R::breaks(Rule::MoveLosesLanes) {
            group.lanes = crate::lane::Lanes::default();
        }
        if R::breaks(Rule::MoveForgetsPromise) {
            group.promised = group.log_view;
        }
        Box::new(Goods {
            has_unapplied: !group.unapplied.is_empty(),
            group,
            again,
            waiting,
            round: self.round,
            left_ns: now.monotonic_ns,
        })
    }

    /// Requests that have not run, and reads whose answers wait for a round. Those of this shard's clients are kept here and passed on like
    /// any other that their mailroom does not answer itself.
    fn take_requests(&mut self, now: Now, index: usize) -> Vec<Held> {
        let mut reads = self.take_confirming(index);
        reads.append(&mut self.groups[index].reads.held);
        let held = std::mem::take(&mut self.groups[index].held);
        let queued = std::mem::take(&mut self.groups[index].queued);
        let rest = |shard: &mut Self, all: Vec<Held>| {
            let (own, others) = all
                .into_iter()
                .partition(|held| matches!(held.origin, Origin::Client(_)));
            let own: Vec<Held> = own;
            let id = shard.groups[index].id;
            own.into_iter().for_each(|held| shard.keep_unsent(now, id, held));
            others
        };
        let reads = rest(self, reads);
        let held = rest(self, held);
        let queued = rest(self, queued);
        self.groups[index].held = held;
        self.groups[index].queued = queued;
        reads
    }

    /// Answers that wait for a commit go with the group. Those for this shard's clients come back to it, under names of its own.
    fn take_waiting(&mut self, now: Now, index: usize) -> usize {
        let mut rows = std::mem::take(&mut self.groups[index].waiting);
        let id = self.groups[index].id;
        for waiting in rows.iter_mut() {
            let Origin::Client(client) = waiting.origin else {
                continue;
            };
            if !self.pendings.has_room() {
                self.answer_in_doubt(index, waiting);
                waiting.origin = Origin::Answered;
                self.waiting -= 1;
                continue;
            }
            // What was read cannot be asked for again, and nobody does: its answer is there and waits.
            let held = Held {
                origin: waiting.origin,
                bytes: self.request_of(now, index, waiting).unwrap_or_default(),
                until_ns: waiting.deadline_ns,
                deadline_ns: waiting.deadline_ns,
            };
            let number = waiting.number;
            let name = self.keep(now, client, id, waiting.correlation, number, held, Sent::Times(1));
            waiting.origin = Origin::Shard(self.settings.shard);
            waiting.correlation = name;
            if let Some(ready) = &mut waiting.ready {
                ready.header.correlation = name.into();
            }
        }
        let count = rows
            .iter_mut()
            .filter(|waiting| waiting.origin != Origin::Answered)
            .count();
        self.waiting -= count;
        self.groups[index].waiting = rows;
        count
    }

    /// Nothing of this shard names a row any more but the records of frames that were sent.
    fn forget_row(&mut self, index: usize) {
        let local = u32::try_from(index).expect("groups are counted in 32 bits");
        let id = self.groups[index].id;
        let lists = [
            &mut self.touched,
            &mut self.untold,
            &mut self.lagging,
            &mut self.asking,
            &mut self.behind,
        ];
        lists.into_iter().for_each(|list| list.retain(|other| *other != local));
        for at in 0..self.links.len() {
            let link = &self.links[at];
            if link.queue.contains(&local) || link.asks.contains(&local) || !link.transfers.is_empty() {
                let link = &mut self.links[at];
                link.queue.retain(|other| *other != local);
                link.asks.retain(|other| *other != local);
                link.transfers.forget(id);
            }
        }
        self.snapshots.forget_group(id);
        let group = &mut self.groups[index];
        group.touched = false;
        group.reads.is_asking = false;
        for progress in &mut group.followers {
            progress.queued = false;
            progress.asks = false;
            progress.confirmed = 0;
        }
    }

    /// Another shard gave a group away, or says that it had nothing of it.
    pub(crate) fn on_moved(&mut self, now: Now, id: GroupId, position: u64, moved: Moved) {
        let load = self.unpack(moved);
        self.arrival(id, position).came = Some(load);
        self.settle_arrival(now, id, position);
    }

    /// A group's chunks have their names here from now on.
    fn unpack(&mut self, moved: Moved) -> Load<B::State> {
        let parcel = moved.0.downcast::<Parcel<B::State, M::Given>>();
        let parcel = *parcel.expect("all shards of a node have one behaviour and one kind of memory");
        let Parcel { from, chunks, mut load } = parcel;
        let names = load.goods.iter_mut().flat_map(|goods| goods.group.chunk_names());
        for (name, given) in names.zip(chunks) {
            *name = self.memory.take(self.settings.shard, from, given);
        }
        load
    }

    /// A group has come once this shard has both itself and the position of the entry by which it did.
    fn settle_arrival(&mut self, now: Now, id: GroupId, position: u64) {
        let is_it = |arrival: &mut Arrival<B::State>| {
            arrival.group == id && arrival.position == position && arrival.came.is_some() && arrival.is_learned
        };
        let Some(arrival) = self.arrivals.extract_if(.., is_it).next() else {
            return;
        };
        let Some(load) = arrival.came else { return };
        if let Some(to) = arrival.onward {
            self.give_away(id, to, load);
            for crossing in arrival.parked {
                self.hand_over(now, to.0, crossing);
            }
            return self.pass_on_unsent(now, id);
        }
        self.take_in(now, id, load.goods);
        if load.known.as_ref() != self.decided.group(id) {
            self.counters.branches.took(Branch::MadeUp);
            self.make_up(now, id, load.known.as_ref());
        }
        for crossing in arrival.parked {
            self.on_deliver(now, crossing);
        }
        self.pass_on_unsent(now, id);
    }

    /// Goes on with a group where another shard of this node has stopped.
    fn take_in(&mut self, now: Now, id: GroupId, goods: Option<Box<Goods<B::State>>>) {
        let Some(goods) = goods else { return };
        let Goods { mut group, again, .. } = *goods;
        if goods.has_unapplied {
            group.list_unapplied();
        }
        let members = group
            .config
            .as_ref()
            .map(|config| config.members.clone())
            .unwrap_or_default();
        for (progress, member) in group.followers.iter_mut().zip(members.iter().skip(1)) {
            progress.link = self.append_link(member.node, id);
        }
        let index = self.row_for(id);
        self.groups[index] = group;
        self.round = self.round.max(goods.round);
        self.waiting += goods.waiting;
        self.counters.seats_taken += 1;
        let took_ns = now.monotonic_ns.saturating_sub(goods.left_ns);
        self.counters.seat_pause_ns += took_ns;
        self.counters.seat_pause_max_ns = self.counters.seat_pause_max_ns.max(took_ns);
        self.list_row(now, index);
        for held in again {
            if let Some(request) = held_request(&held.bytes) {
                self.on_request_until(now, index, &request, &held.arrival());
            }
        }
    }

    /// A group that is here, or has come and is not gone on with yet, for whoever looks from outside.
    pub(crate) fn seen(&self, id: GroupId) -> Option<&Group<B::State>> {
        let here = self.group_index(id).map(|index| &self.groups[index]);
        here.or_else(|| {
            let arriving = self.arrivals.iter().filter(|arrival| arrival.group == id);
            let mut goods = arriving.filter_map(|arrival| arrival.came.as_ref()?.goods.as_ref());
            goods.next().map(|goods| &goods.group)
        })
    }

    /// The rows of groups that are here, by their place: those that have left keep theirs.
    pub(crate) fn rows_here(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.groups.len()).filter(|index| self.group_index(self.groups[*index].id) == Some(*index))
    }

    /// A group's row, as it was when the group was here last, or a new one.
    pub(crate) fn row_for(&mut self, id: GroupId) -> usize {
        let at = &mut self.group_at[id.0 as usize];
        if *at == NO_GROUP {
            *at = u32::try_from(self.groups.len()).expect("groups are counted in 32 bits");
            self.groups.push(Group::new(
                id,
                Vec::new(),
                Vec::new(),
                self.settings.limits.state_hash_entries,
            ));
        }
        *at &= !AWAY;
        *at as usize
    }

    /// What a row is to do next is noted on the lists of this shard.
    fn list_row(&mut self, now: Now, index: usize) {
        let local = u32::try_from(index).expect("groups are counted in 32 bits");
        let group = &self.groups[index];
        if group.lags {
            self.lagging.push(local);
        }
        if group.is_untold {
            self.untold.push(local);
        }
        if matches!(group.role, Role::Opening | Role::Writer | Role::Sealed) {
            for position in 0..self.groups[index].followers.len() {
                self.resume_follower(now, index, position);
            }
        }
        self.opener_link_rose(now, index);
    }

    /// Does what was decided about a group while it was on its way, as if the last of it had been the only entry.
    pub(crate) fn make_up(&mut self, now: Now, id: GroupId, was: Option<&GroupState>) {
        let Some(group) = self.decided.group(id) else { return };
        let active = was.is_none_or(|was| was.active != group.active);
        let pending = was.map_or(group.pending.is_some(), |was| was.pending != group.pending);
        let learners = was.map_or(!group.learners.is_empty(), |was| was.learners != group.learners);
        if active {
            self.on_active(now, id);
        }
        if pending {
            self.on_pending(now, id);
        }
        if learners {
            self.on_learners(now, id);
        }
    }

    /// Items of a peer's frame that another shard's link brought. Those about groups that are not here follow them; the last shard of the way
    /// answers for all.
    pub(crate) fn on_handed(&mut self, now: Now, origin: FrameOrigin, items: &[u8], mut exceptions: Vec<Exception>) {
        let mut malformed = None;
        let mut rest: Vec<u8> = Vec::new();
        let mut next = None;
        let mut walk = Items::new(items);
        while let Ok(Some(item)) = walk.step() {
            let place = self.whereabouts(GroupId(item.header.group.get()));
            if place != Whereabouts::Here {
                next = next.or(Some((place, GroupId(item.header.group.get()))));
                push_whole(&mut rest, &item);
                continue;
            }
            match self.on_own_group_item(now, &origin, &item) {
                Ok(None) => (),
                Ok(Some(exception)) => {
                    self.counters.runs_refused += 1;
                    exceptions.push(exception);
                }
                // It was handed over whole, so the peer sent it so.
                Err(error) => {
                    malformed = Some(error);
                    break;
                }
            }
        }
        let Some((place, group)) = next.filter(|_| malformed.is_none()) else {
            let crossing = Crossing::Answered {
                origin,
                exceptions,
                malformed,
            };
            return self.hand_over(now, origin.shard, crossing);
        };
        let rest = Crossing::Followed(Box::new(Followed {
            origin,
            items: rest,
            exceptions,
        }));
        match place {
            Whereabouts::At(shard) => self.hand_over(now, shard, rest),
            Whereabouts::Here | Whereabouts::Arriving => self.park(group, rest),
        }
    }

    /// Keeps what is about a group until that has come.
    pub(crate) fn park(&mut self, group: GroupId, crossing: Crossing) {
        let arrival = self.arrivals.iter_mut().rfind(|arrival| arrival.group == group);
        arrival.expect("it was found to arrive").parked.push(crossing);
    }

    /// Delivers to a shard of this node, which may be this one.
    pub(crate) fn hand_over(&mut self, now: Now, shard: ShardId, crossing: Crossing) {
        if shard == self.settings.shard {
            return self.on_deliver(now, crossing);
        }
        self.effects.push(Effect::Deliver { shard, crossing });
    }

    /// Chunks of other shards that nothing of this one needs go back to them.
    pub(crate) fn return_chunks(&mut self) {
        let mut returns: Vec<_> = core::iter::from_fn(|| self.memory.next_return()).collect();
        returns.sort_unstable();
        for of_shard in returns.chunk_by(|(one, _), (other, _)| one == other) {
            let chunks = of_shard.iter().map(|(_, chunk)| *chunk).collect();
            self.effects.push(Effect::Deliver {
                shard: of_shard[0].0,
                crossing: Crossing::Chunks { chunks },
            });
        }
    }
}

/// Puts an item behind others, as it came.
pub(crate) fn push_whole(items: &mut Vec<u8>, item: &Item<'_>) {
    items.extend_from_slice(item.bytes);
    items.resize(waterpark_wire::padded(items.len()), 0);
}
