//! The mailroom: any node takes any message. It knows the topology and passes a request to the shard that writes its group, here, on a
//! sibling or on another node, unopened, and keeps what it passed on until the reply or the deadline.
//!
//! Knows nothing of logs and quorums. **Invariant:** every request of a client is answered once: by its writer, by a refusal, or by
//! `Unknown` at its deadline.

use waterpark_wire::item::{Item, ItemHeader, ItemKind, Items};
use waterpark_wire::reply::{self, ELSEWHERE, MAYBE, Outcome, ReplyHeader, ReplyView};
use waterpark_wire::request::{self, FORWARDED, HERE, Operation, ReadLevel, RequestHeader, RequestView, SENT_BEFORE};
use waterpark_wire::{FrameError, FrameKind, FrameView};

use crate::behaviour::{Behaviour, KindId};
use crate::config::Births;
use crate::effects::{Crossing, Cut, Effect};
use crate::group::Role;
use crate::ids::{ClientId, GroupId, LinkId, NodeId, ShardId};
use crate::memory::Memory;
use crate::pending::{Pending, Pendings, Sent};
use crate::registry::Place;
use crate::rules::Rules;
use crate::seats::{Whereabouts, push_whole};
use crate::shard::Shard;
use crate::time::{MS, Now};
use crate::waiting::Origin;
use crate::writer::{BUSY_RETRY_MS, held_request};

/// Hops between nodes after which a request is not passed on any more.
const HOPS_MAX: u8 = 3;
/// A request that came to a member that does not write its group is sent again after this, unless the topology log says something first.
const NOT_WRITER_AGAIN_MS: u64 = 20;

/// Of a longer entry only the beginning is asked for ahead: the rest comes as a stream.
const WARM_BYTES_MAX: u32 = 1 << 10;

/// Requests that are looked at together: what they touch fits the first cache beside everything else.
const PORTION: usize = 32;

/// What a request is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aim {
    pub(crate) group: GroupId,
    pub(crate) hash: u64,
    /// `None` if its kind is not known here.
    pub(crate) kind: Option<KindId>,
    place: Option<Place>,
}

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// A frame came from a client.
    pub fn on_client_frame(&mut self, now: Now, client: ClientId, frame: &FrameView<'_>) {
        if !self.clients.contains_key(&client) {
            return;
        }
        let mut result = if frame.kind == FrameKind::Client {
            Ok(())
        } else {
            Err(FrameError::Kind)
        };
        let mut aims = std::mem::take(&mut self.aims);
        let mut items = frame.items();
        // Made once for all of them: one that is made in parts and copied whole waits for every store before it, also for those to far logs.
        let origin = Origin::Client(client);
        // What a client that was cut has sent besides is not run.
        while result.is_ok() && self.clients.contains_key(&client) {
            let portion = items.clone().take(PORTION);
            self.aim(portion.clone(), &mut aims);
            if aims.is_empty() {
                break;
            }
            for (item, aim) in portion.zip(&aims) {
                result = result.and_then(|()| self.on_client_item(now, client, &origin, &item, aim.as_ref()));
                items.next();
            }
        }
        self.aims = aims;
        if let Err(error) = result {
            self.cut_client(client, Cut::Malformed(error));
        }
    }

    /// Finds out what each request is about, and asks for its actor's memory before the first of them runs.
    fn aim<'f>(&mut self, items: impl Iterator<Item = Item<'f>> + Clone, aims: &mut Vec<Option<Aim>>) {
        let aim = |item: Item<'_>| {
            let request = RequestView::new_checked(&item)
                .ok()
                .filter(|_| item.kind() == ItemKind::Request)?;
            self.aim_of(request.key)
        };
        aims.clear();
        aims.extend(items.clone().map(aim));
        // One step for all of them, then the next: what a step reads is far, was asked for by the one before, and says what the next one asks for.
        let registry = |aim: &Aim| Some(&self.groups[self.group_index(aim.group)?].registry);
        for aim in aims.iter().flatten() {
            if let Some(registry) = registry(aim) {
                registry.ask_index::<M>(aim.hash);
            }
        }
        for (item, aim) in items.zip(aims.iter()) {
            let index = aim.as_ref().and_then(|aim| self.group_index(aim.group));
            if let Some(group) = index.map(|index| &mut self.groups[index])
                && group.role == Role::Writer
            {
                // An entry is a little shorter than its request.
                let bytes = u32::try_from(item.bytes.len()).unwrap_or(u32::MAX).min(WARM_BYTES_MAX);
                group.log.warm(&self.memory, bytes);
            }
        }
        let registry = |aim: &Aim| Some(&self.groups[self.group_index(aim.group)?].registry);
        for aim in aims.iter_mut().flatten() {
            if let Some(registry) = registry(aim) {
                aim.place = registry.glance(aim.hash);
                aim.place.into_iter().for_each(|place| registry.ask::<M>(place));
            }
        }
        for aim in aims.iter().flatten() {
            if let Some((place, registry)) = aim.place.zip(registry(aim)) {
                registry.ask_key::<M>(place);
            }
        }
    }

    /// What a request with this key is about; `None` if the key is malformed.
    pub(crate) fn aim_of(&self, key: &[u8]) -> Option<Aim> {
        let key = waterpark_ring::KeyRef::new_checked(key).ok()?;
        let located = self.topology.locate(key);
        Some(Aim {
            group: located.group,
            hash: located.hash,
            kind: self.behaviour.kind(key.kind()),
            place: None,
        })
    }

    /// Lists a client that was given something to read; one that lets too much pile up is cut.
    pub(crate) fn list_or_cut(&mut self, client: ClientId) {
        let backlog = self.clients.get(&client).map_or(0, |row| row.outbox.backlog());
        if backlog > self.settings.limits.client_backlog_bytes_max {
            return self.cut_client(client, Cut::Backlog);
        }
        self.list_client(client);
    }

    pub(crate) fn cut_client(&mut self, client: ClientId, cause: Cut) {
        if self.clients.remove(&client).is_some() {
            self.effects.push(Effect::CutClient { client, cause });
        }
    }

    fn on_client_item(
        &mut self,
        now: Now,
        client: ClientId,
        origin: &Origin,
        item: &Item<'_>,
        aim: Option<&Aim>,
    ) -> Result<(), FrameError> {
        match item.kind() {
            ItemKind::Request => {
                let request = RequestView::new_checked(item)?;
                if item.header.flags & FORWARDED != 0 {
                    return Err(FrameError::Request);
                }
                self.counters.requests += 1;
                self.on_client_request(now, client, origin, &request, aim);
                Ok(())
            }
            ItemKind::Part => {
                let whole_max = self.settings.limits.message_bytes_max + (4 << 10);
                let Some(row) = self.clients.get_mut(&client) else {
                    return Ok(());
                };
                let Some(bytes) = row.assembly.take(item, whole_max)? else {
                    return Ok(());
                };
                let item = Item::new_checked_unpadded(&bytes)?;
                if item.kind() != ItemKind::Request {
                    return Err(FrameError::Part);
                }
                let request = RequestView::new_checked(&item)?;
                let aim = self.aim_of(request.key);
                self.on_client_item(now, client, origin, &item, aim.as_ref())
            }
            ItemKind::ReadBack => self.on_read_back(client, item),
            ItemKind::Ask => self.on_ask(now, client, item),
            _ => Err(FrameError::ItemKind),
        }
    }

    pub(crate) fn on_client_request(
        &mut self,
        now: Now,
        client: ClientId,
        origin: &Origin,
        request: &RequestView<'_>,
        aim: Option<&Aim>,
    ) {
        let origin = *origin;
        let Some(aim) = aim else {
            return self.refuse(origin, request, Outcome::BadRequest, 0);
        };
        if request.message.len() > self.settings.limits.message_bytes_max {
            let limit = u32::try_from(self.settings.limits.message_bytes_max).unwrap_or(u32::MAX);
            return self.refuse(origin, request, Outcome::TooLarge, limit);
        }
        let group = aim.group;
        // What any member may answer is answered here, if this node is one.
        let may_stay = !request.operation.is_numbered() && request.level != ReadLevel::Linearizable;
        let holds = (may_stay || request.has(HERE)) && self.holds(group);
        let here = request.has(HERE) || holds;
        let other = (!here && is_anyones(request))
            .then(|| self.reader_of(now, group))
            .flatten();
        // Before the groups are born a request waits here.
        let to = other.or_else(|| self.writer_of(group)).filter(|_| !here);
        let to = to.unwrap_or(self.settings.node);
        if here && !holds {
            return self.refuse(origin, request, Outcome::NotMember, 0);
        }
        let shard = self.shard_of(to, group);
        if to == self.settings.node
            && shard == self.settings.shard
            && let Some(index) = self.group_index(group)
            && (here || !self.keeps_for_next(index))
        {
            return self.on_request(now, index, request, origin, Some((aim.hash, aim.kind)));
        }
        if self.stopping {
            return self.refuse(origin, request, Outcome::Stopping, 0);
        }
        if self.is_lost(group, to) {
            return self.refuse(origin, request, Outcome::GroupLost, 0);
        }
        if !self.pendings.has_room() || request.header.hops >= HOPS_MAX {
            return self.refuse(origin, request, Outcome::Busy, BUSY_RETRY_MS);
        }
        let pending = Pending {
            client,
            correlation: request.header.correlation.get(),
            to,
            group,
            number: request.header.number.get(),
            bytes: request.bytes.to_vec(),
            arrived_ns: now.monotonic_ns,
            deadline_ns: now.after_ms(u64::from(request.header.timeout_ms.get())),
            again_ns: u64::MAX,
            sent: Sent::Never,
        };
        let correlation = self.pendings.keep(pending);
        self.note_due(correlation);
        self.counters.forwarded += u64::from(to != self.settings.node);
        self.pass_on(now, correlation);
    }

    /// Whether this node is a member of a group.
    pub(crate) fn holds(&self, group: GroupId) -> bool {
        match self.settings.births {
            Births::Writer => self.placement.members(group).nodes().contains(&self.settings.node),
            Births::TopologyLog => {
                (self.decided.group(group)).is_some_and(|group| group.active.members.contains(&self.own_member()))
            }
        }
    }

    /// Who answers what any member may while another view is pending and nothing is heard of the writer. Else the writer does, who knows most,
    /// also when it has stopped in order.
    fn reader_of(&self, now: Now, group: GroupId) -> Option<NodeId> {
        let decided = self.decided.group(group)?;
        let is_left = decided.pending.is_some() && !self.hears(now, decided.active.writer(), group);
        is_left.then(|| self.other_member(now, group)).flatten()
    }

    /// A member beside this one and the writer that was heard lately, in this data centre if there is any.
    pub(crate) fn other_member(&self, now: Now, group: GroupId) -> Option<NodeId> {
        let silence_ns = self.settings.limits.silence_ms * MS;
        let is_heard = |node: &NodeId| {
            let mut links = self.links_to[usize::from(node.0)].iter();
            links.any(|link| self.links[link.0 as usize].is_heard(now.monotonic_ns, silence_ns))
        };
        let followers = &self.decided.group(group)?.active.members[1..];
        let nodes = followers.iter().map(|member| member.node);
        let mut heard = nodes.filter(|node| *node != self.settings.node).filter(is_heard);
        let first = heard.next()?;
        let mut all = core::iter::once(first).chain(heard);
        let near = all.find(|node| self.shares_data_centre(*node));
        Some(near.unwrap_or(first))
    }

    /// Whether a client's request waits for the topology log: this member should write its group, and does not, nor will it soon.
    fn keeps_for_next(&self, index: usize) -> bool {
        let group = &self.groups[index];
        self.settings.births == Births::TopologyLog && group.role != Role::Writer && group.opener.is_none()
    }

    /// Whether the group's writer is known to have started anew.
    fn is_lost(&self, group: GroupId, writer: NodeId) -> bool {
        if self.settings.births == Births::TopologyLog {
            return self.decided.is_lost(group);
        }
        if writer == self.settings.node {
            return self.out;
        }
        let named = self
            .group_index(group)
            .and_then(|index| self.groups[index].config.as_ref());
        self.node_out[usize::from(writer.0)]
            || named.is_some_and(|config| config.writer().incarnation < self.met[usize::from(writer.0)])
    }

    /// When a kept request has to be looked at: at its deadline, or once it may no longer wait for a link.
    pub(crate) fn note_due(&mut self, correlation: u64) {
        let hold_ns = self.hold_ns();
        let due = self
            .pendings
            .get(correlation)
            .map_or(u64::MAX, |pending| due(pending, hold_ns));
        self.pendings.first_due_ns = self.pendings.first_due_ns.min(due);
    }

    /// How long a request may wait for a way to its writer. Where another may come to write its group it waits longer.
    fn hold_ns(&self) -> u64 {
        let periods = match self.settings.births {
            Births::Writer => 1,
            Births::TopologyLog => 2,
        };
        self.settings.limits.silence_ms * MS * periods
    }

    /// Sends a kept request toward its writer's shard, if there is a way.
    pub(crate) fn pass_on(&mut self, now: Now, correlation: u64) {
        let Some(pending) = self.pendings.get(correlation) else {
            return;
        };
        let (to, group) = (pending.to, pending.group);
        let shard = self.shard_of(to, group);
        let link = if to == self.settings.node {
            None
        } else {
            self.request_link(now, to, shard)
        };
        let waits = to == self.settings.node && shard == self.settings.shard;
        let waits = waits && self.group_index(group).is_none_or(|index| self.keeps_for_next(index));
        if to != self.settings.node && link.is_none() || waits {
            return;
        }
        let Some(pending) = self.pendings.get(correlation) else {
            return;
        };
        let times = match pending.sent {
            Sent::Never => 0,
            Sent::Times(times) => times,
        };
        pending.sent = Sent::Times(times + 1);
        let Some(view) = held_request(&pending.bytes) else {
            return;
        };
        let mut flags = view.header.item.flags | FORWARDED;
        flags |= if times > 0 { SENT_BEFORE } else { 0 };
        let remaining = u32::try_from(now.ms_until(pending.deadline_ns)).unwrap_or(u32::MAX);
        let header = RequestHeader {
            item: ItemHeader {
                flags,
                group: group.0.into(),
                ..view.header.item
            },
            correlation: correlation.into(),
            timeout_ms: remaining.into(),
            hops: view.header.hops + u8::from(to != self.settings.node),
            ..*view.header
        };
        match link {
            None => request::push(&mut self.mail[usize::from(shard.0)], &header, view.key, view.message),
            Some(link) => {
                let outbox = &mut self.links[link.0 as usize].outbox;
                if pending.bytes.len() > waterpark_wire::link::PART_BYTES {
                    let mut whole = Vec::with_capacity(pending.bytes.len() + 16);
                    request::push(&mut whole, &header, view.key, view.message);
                    outbox.whole(&whole[..pending.bytes.len()]);
                } else {
                    request::push(outbox.item(), &header, view.key, view.message);
                }
            }
        }
    }

    /// A link to a node whose peer was heard lately and has room, best one that ends at the wanted shard.
    fn request_link(&self, now: Now, to: NodeId, shard: ShardId) -> Option<LinkId> {
        let limits = &self.settings.limits;
        let good = |link: &&LinkId| {
            let link = &self.links[link.0 as usize];
            link.is_heard(now.monotonic_ns, limits.silence_ms * MS)
                && link.outbox.backlog() < limits.link_backlog_bytes_max
        };
        let links = &self.links_to[usize::from(to.0)];
        let direct = |link: &&LinkId| self.links[link.0 as usize].peer_shard == shard.0;
        links
            .iter()
            .filter(good)
            .find(direct)
            .or_else(|| links.iter().find(good))
            .copied()
    }

    /// A new link to a node: what was passed on to it is sent again, same number.
    pub(crate) fn resend_pendings(&mut self, now: Now, to: NodeId) {
        for correlation in self.pendings.select(|pending| pending.to == to) {
            self.counters.resent += 1;
            self.pass_on(now, correlation);
        }
    }

    /// The topology log says that another process writes a group, or that one writes it again.
    pub(crate) fn resend_group(&mut self, now: Now, group: GroupId) {
        let Some(to) = self.writer_of(group) else { return };
        for correlation in self.pendings.of_group(group) {
            if let Some(pending) = self.pendings.get(correlation) {
                pending.to = to;
                pending.again_ns = u64::MAX;
            }
            self.counters.resent += 1;
            self.pass_on(now, correlation);
        }
    }

    /// A request of another mailroom, for a group of this shard.
    pub(crate) fn on_forwarded(&mut self, now: Now, group: GroupId, request: &RequestView<'_>, origin: Origin) {
        match self.group_index(group) {
            Some(index) => self.on_request(now, index, request, origin, None),
            // Whoever passed it on has not learnt yet who writes the group, or has lost it since: that is for the topology log to say.
            None if self.settings.births == Births::TopologyLog && !request.has(HERE) => {
                let writer = self.writer_of(group).map_or(0, |writer| writer.0);
                self.refuse(origin, request, Outcome::NotWriter, u32::from(writer));
            }
            None => self.refuse(origin, request, Outcome::NotMember, 0),
        }
    }

    /// Items of a sibling shard: its clients' requests, or replies to what this one passed on.
    pub(crate) fn on_mail(&mut self, now: Now, items: &[u8]) {
        let mut walk = Items::new(items);
        while let Ok(Some(item)) = walk.step() {
            match item.kind() {
                ItemKind::Request => {
                    let Ok(request) = RequestView::new_checked(&item) else {
                        continue;
                    };
                    let from = Pendings::shard_of(request.header.correlation.get());
                    let group = GroupId(item.header.group.get());
                    match self.whereabouts(group) {
                        Whereabouts::Here => self.on_forwarded(now, group, &request, Origin::Shard(from)),
                        Whereabouts::At(shard) => push_whole(&mut self.mail[usize::from(shard.0)], &item),
                        Whereabouts::Arriving => {
                            let mut items = Vec::new();
                            push_whole(&mut items, &item);
                            self.park(group, Crossing::Mail { items });
                        }
                    }
                }
                _ => drop(self.on_reply_item(now, &item)),
            }
        }
    }

    /// A reply to a request that this node passed on: to the shard that keeps it, or to its client.
    pub(crate) fn on_reply_item(&mut self, now: Now, item: &Item<'_>) -> Result<(), FrameError> {
        let view = ReplyView::new_checked(item)?;
        let correlation = view.header.correlation.get();
        let shard = Pendings::shard_of(correlation);
        if shard != self.settings.shard {
            let mail = self.mail.get_mut(usize::from(shard.0)).ok_or(FrameError::Reply)?;
            reply::push(mail, view.header, view.body);
            return Ok(());
        }
        // Whoever was asked does not write the group: the topology log says soon who does.
        if view.outcome == Outcome::NotWriter && self.turns_to_writer(now, correlation) {
            return Ok(());
        }
        let Some(pending) = self.pendings.take(correlation) else {
            return Ok(());
        };
        let mut header = ReplyHeader {
            correlation: pending.correlation.into(),
            ..*view.header
        };
        if !view.outcome.is_logged() && pending.sent != Sent::Times(1) {
            header.item.flags |= MAYBE;
        }
        let seat = self.shard_of(self.settings.node, pending.group);
        if pending.to == self.settings.node && seat != self.settings.shard {
            header.item.flags |= ELSEWHERE;
        }
        self.send_reply(Origin::Client(pending.client), &header, view.body);
        Ok(())
    }

    /// A kept request that another shard or node could not answer goes to the writer; true if it does.
    fn turns_to_writer(&mut self, now: Now, correlation: u64) -> bool {
        let births = self.settings.births;
        let Some(pending) = self.pendings.get(correlation) else {
            return false;
        };
        let (group, asked) = (pending.group, pending.to);
        let is_for_asked =
            held_request(&pending.bytes).is_none_or(|request| request.has(HERE) && !request.operation.is_numbered());
        // A writer that has stopped and cannot tell knows no more than its followers. One of them is asked once: all may be in doubt.
        let is_first = pending.sent == Sent::Times(1);
        let is_anyones = is_first && held_request(&pending.bytes).is_some_and(|request| is_anyones(&request));
        let writer = self.writer_of(group);
        let other = (is_anyones && writer == Some(asked))
            .then(|| self.other_member(now, group))
            .flatten();
        let next = other.or(writer).filter(|next| *next != asked && !is_for_asked);
        let Some(pending) = self.pendings.get(correlation) else {
            return false;
        };
        if let Some(next) = next {
            pending.to = next;
            self.pass_on(now, correlation);
            return true;
        }
        if births == Births::Writer || is_for_asked {
            return false;
        }
        pending.again_ns = now.after_ms(NOT_WRITER_AGAIN_MS);
        self.note_due(correlation);
        true
    }

    /// Requests whose time is over: `NoQuorum` for what never left, `Unknown` for what did.
    pub(crate) fn expire_pendings(&mut self, now: Now) {
        if now.monotonic_ns < self.pendings.first_due_ns {
            return;
        }
        let hold_ns = self.hold_ns();
        let again = |pending: &Pending| pending.again_ns <= now.monotonic_ns && pending.deadline_ns > now.monotonic_ns;
        for correlation in self.pendings.select(again) {
            if let Some(pending) = self.pendings.get(correlation) {
                pending.again_ns = u64::MAX;
            }
            self.pass_on(now, correlation);
        }
        for correlation in self
            .pendings
            .select(|pending| due(pending, hold_ns) <= now.monotonic_ns)
        {
            let Some(pending) = self.pendings.take(correlation) else {
                continue;
            };
            let outcome = if pending.sent == Sent::Never {
                Outcome::NoQuorum
            } else {
                Outcome::Unknown
            };
            // That this copy never left says nothing of one that its sender sent another way.
            let in_doubt = held_request(&pending.bytes).is_none_or(|request| request.has(SENT_BEFORE));
            let header = ReplyHeader {
                item: ItemHeader {
                    flags: if in_doubt { MAYBE } else { 0 },
                    group: pending.group.0.into(),
                    ..ItemHeader::default()
                },
                correlation: pending.correlation.into(),
                number: pending.number.into(),
                outcome: outcome as u8,
                ..ReplyHeader::default()
            };
            self.counters.unknown += u64::from(outcome == Outcome::Unknown);
            self.send_reply(Origin::Client(pending.client), &header, &[]);
        }
        self.pendings.first_due_ns = self.pendings.earliest(|pending| due(pending, hold_ns));
    }

    /// A reply leaves toward whoever asked.
    pub(crate) fn send_reply(&mut self, origin: Origin, header: &ReplyHeader, body: &[u8]) {
        match origin {
            Origin::Client(ClientId::LOCAL) => reply::push(&mut self.local, header, body),
            Origin::Client(client) => {
                let Some(row) = self.clients.get_mut(&client) else {
                    return;
                };
                push_reply(&mut row.outbox, header, body);
                self.list_or_cut(client);
            }
            Origin::Peer { node, incarnation } => {
                // The link may have fallen since: the mailroom there sends the request again and gets its repeat's reply.
                let same = |link: &&LinkId| {
                    self.links[link.0 as usize]
                        .up
                        .is_some_and(|up| up.incarnation == incarnation)
                };
                let Some(link) = self.links_to[usize::from(node.0)].iter().find(same) else {
                    return;
                };
                push_reply(&mut self.links[link.0 as usize].outbox, header, body);
            }
            Origin::Shard(shard) => reply::push(&mut self.mail[usize::from(shard.0)], header, body),
            Origin::Answered => {}
        }
    }

    /// Whether this shard writes a group and is open for it.
    pub(crate) fn is_open(&self, index: usize) -> bool {
        self.groups[index].role == Role::Writer && !self.out
    }
}

/// Whether a read may be answered by any member that has what its token names. A bounded one needs the writer in any case.
pub(crate) fn is_anyones(request: &RequestView<'_>) -> bool {
    let level = matches!(request.level, ReadLevel::Session | ReadLevel::Any);
    level && !request.operation.is_numbered() && request.operation != Operation::Where && !request.has(HERE)
}

fn due(pending: &Pending, hold_ns: u64) -> u64 {
    let due_ns = match pending.sent {
        Sent::Never => pending.deadline_ns.min(pending.arrived_ns.saturating_add(hold_ns)),
        Sent::Times(_) => pending.deadline_ns,
    };
    due_ns.min(pending.again_ns)
}

fn push_reply(outbox: &mut crate::outbox::Outbox, header: &ReplyHeader, body: &[u8]) {
    if reply::REPLY_HEADER + body.len() > waterpark_wire::link::PART_BYTES {
        let mut whole = Vec::with_capacity(body.len() + 80);
        reply::push(&mut whole, header, body);
        outbox.whole(&whole[..reply::REPLY_HEADER + body.len()]);
    } else {
        reply::push(outbox.item(), header, body);
    }
}
