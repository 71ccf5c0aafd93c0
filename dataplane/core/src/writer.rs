//! The writer: birth of its groups, execution ahead of commit, and the commit on the third copy.
//!
//! Knows members by their links and incarnations; knows no sockets. **Invariant:** no answer leaves before the commit of everything that
//! it was computed from (`protocol.md` §9, 13), and a request takes effect at most once (14).

use waterpark_wire::item::ItemHeader;
use waterpark_wire::link::{Answer as Taken, Exception};
use waterpark_wire::reply::Outcome;
use waterpark_wire::request::{Operation, RequestView};
use waterpark_wire::run::{EVENT_IS_MESSAGE, EntryHeader, EntryParts, VOID};

use crate::answers::reply_header;
use crate::behaviour::{Behaviour, Event, KindId, Verdict};
use crate::config::{Births, Config};
use crate::effects::{Effect, Happened};
use crate::group::{Group, Role};
use crate::ids::{GroupId, Lineage, LinkId, Member, NodeId, Seq, View};
use crate::lane::{Lane, Session, Standing};
use crate::link::{Ack, Record};
use crate::memory::Memory;
use crate::quorum;
use crate::registry::NO_ACTOR;
use crate::rules::{Rule, Rules};
use crate::shard::Shard;
use crate::time::{MS, Now};
use crate::waiting::{Arrival, Held, Origin, Ready, Waiting};

/// The position of the Create entry of a static topology: every group is born in this view.
const BIRTH_VIEW: View = View(1);
/// The handler version of the built-in kinds.
const HANDLER_VERSION: u16 = 1;
/// When a queue is full, come back after this.
pub(crate) const BUSY_RETRY_MS: u32 = 10;

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// A link to a peer rose: groups that can be born are, and followers go on from what they accepted.
    pub(crate) fn link_rose(&mut self, now: Now, link: LinkId) {
        for index in 0..self.groups.len() {
            let group = &mut self.groups[index];
            let writes = match self.settings.births {
                Births::Writer => group.slot[0] == self.settings.node,
                Births::TopologyLog => group.role == Role::Writer || group.opener.is_some(),
            };
            if !writes || self.out {
                continue;
            }
            match group.role {
                Role::Unborn if self.settings.births == Births::Writer => self.offer_first(now, index),
                Role::Opening | Role::Writer | Role::Sealed => {
                    for position in 0..self.groups[index].followers.len() {
                        if self.groups[index].followers[position].link == link {
                            self.resume_follower(now, index, position);
                        }
                    }
                }
                Role::Unborn | Role::Follower | Role::Quarantined => {}
            }
            self.opener_link_rose(now, index);
        }
    }

    /// Offers a Config made of the members as they were met, once all of them are.
    pub(crate) fn offer_first(&mut self, now: Now, index: usize) {
        let group = &self.groups[index];
        let mut members = vec![self.own_member()];
        for (progress, node) in group.followers.iter().zip(&group.slot[1..]) {
            let Some(up) = self.links[progress.link.0 as usize].up else {
                return;
            };
            members.push(Member {
                node: *node,
                incarnation: up.incarnation,
            });
        }
        let group = &mut self.groups[index];
        let config = Config::new(group.id, BIRTH_VIEW, Lineage(0), &members);
        group.promised = config.view;
        group.log_view = config.view;
        group.config = Some(config);
        group.role = Role::Opening;
        self.offer(now, index);
        self.open_if_adopted(now, index);
    }

    /// Offers the Config again to those that have not said that they hold it.
    pub(crate) fn offer(&mut self, now: Now, index: usize) {
        let group = &mut self.groups[index];
        let Some(config) = &group.config else { return };
        group.offered_ns = now.monotonic_ns;
        let body = waterpark_wire::body::encode(&config.to_body());
        for (progress, member) in group.followers.iter().zip(&config.members[1..]) {
            let link = &mut self.links[progress.link.0 as usize];
            let same = link.up.is_some_and(|up| up.incarnation == member.incarnation);
            if !progress.adopted && same {
                push_body(link.outbox.item(), waterpark_wire::ItemKind::Birth, group.id, &body);
            }
        }
    }

    pub(crate) fn resume_follower(&mut self, now: Now, index: usize, position: usize) {
        let group = &mut self.groups[index];
        let Some(config) = &group.config else { return };
        let progress = &mut group.followers[position];
        let link = &self.links[progress.link.0 as usize];
        if link
            .up
            .is_none_or(|up| up.incarnation != config.members[position + 1].incarnation)
        {
            return;
        }
        if !progress.adopted {
            return self.offer_again(now, index);
        }
        if R::breaks(Rule::CursorFromSent) {
            return self.queue_follower(index, position);
        }
        self.rewind(index, position);
    }

    /// Says again to those that do not hold the Config, or have not adopted the view, what they have to.
    pub(crate) fn offer_again(&mut self, now: Now, index: usize) {
        if R::breaks(Rule::AdoptNotResent) {
            return;
        }
        match self.settings.births {
            Births::Writer => self.offer(now, index),
            Births::TopologyLog => self.offer_view(now, index),
        }
    }

    /// Goes on from what a follower accepted.
    pub(crate) fn rewind(&mut self, index: usize, position: usize) {
        let group = &mut self.groups[index];
        let progress = &mut group.followers[position];
        progress.sent = progress.accepted;
        // What it was told of commits may have been lost with the link.
        progress.told = Seq::ZERO;
        progress.cursor = group
            .log
            .find(&self.memory, progress.accepted.next())
            .unwrap_or_default();
        self.queue_follower(index, position);
        self.list_untold(index);
    }

    /// Notes that followers of a group may have a commit to be told.
    fn list_untold(&mut self, index: usize) {
        if !std::mem::replace(&mut self.groups[index].is_untold, true) {
            self.untold
                .push(u32::try_from(index).expect("groups are counted in 32 bits"));
        }
    }

    /// Lists a follower on its link if there is something to send.
    pub(crate) fn queue_follower(&mut self, index: usize, position: usize) {
        let group = &mut self.groups[index];
        // Cursors are of the log of the view that this process wrote: another log may have taken its place.
        let Some(config) = group.config.as_ref().filter(|config| config.view == group.log_view) else {
            return;
        };
        let progress = &mut group.followers[position];
        let link = &mut self.links[progress.link.0 as usize];
        let same = link
            .up
            .is_some_and(|up| up.incarnation == config.members[position + 1].incarnation);
        // Runs that lost messages are not sent: no member that counts is so far behind.
        let is_sendable = progress.sent >= group.retained.upto;
        if same && is_sendable && progress.adopted && !progress.queued && progress.sent < group.log.sealed_seq() {
            progress.queued = true;
            link.queue
                .push_back(u32::try_from(index).expect("groups are counted in 32 bits"));
        }
    }

    /// A member holds the Config.
    pub(crate) fn on_adopted(&mut self, now: Now, group: GroupId, from: Member, view: View, last_seq: Seq) {
        let Some(index) = self.group_index(group) else { return };
        let group = &self.groups[index];
        let Some(config) = &group.config else { return };
        let position = config.members.iter().skip(1).position(|member| *member == from);
        let writes = group.log_view == view && config.writer() == self.own_member();
        let (Some(position), true) = (position, config.view == view && writes) else {
            return;
        };
        let group = &mut self.groups[index];
        let progress = &mut group.followers[position];
        progress.adopted = true;
        progress.accepted = progress.accepted.max(last_seq.min(group.log.sealed_seq()));
        self.rewind(index, position);
        self.open_if_adopted(now, index);
        self.count_adopted(now, index);
        self.advance(now, index);
    }

    fn open_if_adopted(&mut self, _now: Now, index: usize) {
        let group = &mut self.groups[index];
        let Some(config) = &group.config else { return };
        let adopted = 1 + group.followers.iter().filter(|progress| progress.adopted).count();
        let needed = if R::breaks(Rule::BirthByFirstMet) {
            config.write_quorum
        } else {
            config.members.len()
        };
        if group.role == Role::Opening && adopted >= needed {
            group.role = Role::Writer;
            self.effects
                .push(Effect::Event(Happened::GroupOpened { group: group.id }));
        }
    }

    /// A member refused the Config: it has met another incarnation of one of its members.
    pub(crate) fn on_birth_refused(&mut self, group: GroupId, from: Member, view: View, against: NodeId) {
        let Some(index) = self.group_index(group) else { return };
        let group = &self.groups[index];
        if group.config.as_ref().is_some_and(|config| config.view == view) && group.role == Role::Opening {
            let group = group.id;
            self.effects.push(Effect::Event(Happened::BirthRefused {
                group,
                by: from.node,
                node: against,
            }));
        }
    }

    /// A request for an actor of a group that this shard should write.
    pub(crate) fn on_request(
        &mut self,
        now: Now,
        index: usize,
        request: &RequestView<'_>,
        origin: Origin,
        about: Option<(u64, Option<KindId>)>,
    ) {
        let deadline_ns = now.after_ms(u64::from(request.header.timeout_ms.get()));
        let arrival = Arrival {
            origin,
            deadline_ns,
            about,
        };
        self.on_request_until(now, index, request, &arrival);
    }

    /// The same for a request whose deadline stands: it was held.
    pub(crate) fn on_request_until(&mut self, now: Now, index: usize, request: &RequestView<'_>, arrival: &Arrival) {
        let (origin, deadline_ns) = (arrival.origin, arrival.deadline_ns);
        if self.waits_for_opening(index, request) {
            return self.queue_for_opening(index, request, arrival);
        }
        if !request.operation.is_numbered() {
            return self.on_read(now, index, request, arrival);
        }
        let number = request.header.number.get();
        let mark = request.header.mark.get();
        let session = Session(request.header.session);
        let group = &self.groups[index];
        let lane = group.lanes.find(session);
        let mut standing = match lane.and_then(|lane| group.lanes.lane(lane)) {
            Some(row) => row.standing(number, mark),
            None => Lane::new(session).standing(number, mark),
        };
        if R::breaks(Rule::NoRepeatTable) && matches!(standing, Standing::Known(_) | Standing::Old) {
            standing = Standing::New;
        }
        // The row is looked at first: a number that it knows gets its reply, and is never refused for certain.
        if let Standing::Known(seq) = standing {
            return self.repeat(index, request, origin, deadline_ns, seq);
        }
        if let Some((outcome, detail)) = self.refusal(now, index, request, standing, lane.is_none()) {
            return self.refuse(origin, request, outcome, detail);
        }
        self.groups[index].admits_at = Some(now);
        if let Standing::Gap { expected } = standing {
            let until_ns = now.after_ms(self.settings.limits.gap_hold_ms);
            if self.groups[index].held.len() >= self.settings.limits.held_per_group_max {
                return self.refuse(origin, request, Outcome::Gap, expected);
            }
            self.groups[index].held.push(Held {
                origin,
                bytes: request.bytes.to_vec(),
                until_ns,
                deadline_ns,
            });
            return;
        }
        self.execute(now, index, request, arrival, lane);
        if session.is_ordered() && !self.groups[index].held.is_empty() {
            self.retry_held(now, index, session);
        }
    }

    /// Why a request is not run, if it is not: nothing was logged.
    fn refusal(
        &self,
        now: Now,
        index: usize,
        request: &RequestView<'_>,
        standing: Standing,
        new_lane: bool,
    ) -> Option<(Outcome, u32)> {
        let group = &self.groups[index];
        let limits = &self.settings.limits;
        if self.stopping {
            return Some((Outcome::Stopping, 0));
        }
        if self.out || self.is_lost_here(group) {
            return Some((Outcome::GroupLost, 0));
        }
        if let Some(writer) = self.other_writer(group) {
            return Some((Outcome::NotWriter, u32::from(writer.0)));
        }
        if group.role != Role::Writer {
            return Some((Outcome::NoQuorum, 0));
        }
        let time_ms = group.time_at(now.wall_ms);
        if Session(request.header.session).is_expired(time_ms) {
            return Some((
                Outcome::SessionExpired,
                u32::try_from(time_ms / 1000).unwrap_or(u32::MAX),
            ));
        }
        // What holds for all requests of a group in one turn is found out once.
        let admits = group.admits_at == Some(now);
        if !admits && !self.hears_quorum(now, index) {
            return Some((Outcome::NoQuorum, 0));
        }
        if request.message.len() > limits.message_bytes_max {
            return Some((
                Outcome::TooLarge,
                u32::try_from(limits.message_bytes_max).unwrap_or(u32::MAX),
            ));
        }
        let full_rows = new_lane && group.lanes.len() >= limits.lanes_per_group_max;
        if full_rows || !admits && (self.has_pressure() || self.followers_press(index)) {
            return Some((Outcome::Full, 0));
        }
        if self.is_full(group.waiting.len()) {
            return Some((Outcome::Busy, BUSY_RETRY_MS));
        }
        match standing {
            Standing::Old => Some((Outcome::Old, 0)),
            Standing::New | Standing::Known(_) | Standing::Gap { .. } => None,
        }
    }

    /// Whether nobody will ever answer for a group here, nor elsewhere: its log is contradicted, and no topology log names other members.
    pub(crate) fn is_lost_here(&self, group: &Group<B::State>) -> bool {
        group.role == Role::Quarantined && self.settings.births == Births::Writer
    }

    /// Who is to be asked in the place of this member, if it does not write the group.
    fn other_writer(&self, group: &Group<B::State>) -> Option<NodeId> {
        match self.settings.births {
            Births::Writer => Some(group.slot[0]).filter(|writer| *writer != self.settings.node),
            Births::TopologyLog if group.role == Role::Writer => None,
            Births::TopologyLog => Some(self.writer_of(group.id).unwrap_or(self.settings.node)),
        }
    }

    /// Whether no answer more may wait in a group in which so many do.
    pub(crate) fn is_full(&self, waiting: usize) -> bool {
        waiting >= self.admission.per_group || self.waiting >= self.admission.per_shard
    }

    /// Whether this shard's memory takes no new data.
    pub(crate) fn has_pressure(&self) -> bool {
        let usage = self.memory.usage();
        usage.used.saturating_mul(100) >= usage.budget.saturating_mul(self.settings.limits.full_percent)
    }

    /// Whether so many followers take no new data that a commit could not be reached.
    fn followers_press(&self, index: usize) -> bool {
        let group = &self.groups[index];
        let Some(config) = &group.config else { return false };
        let pressed = |progress: &&crate::group::Progress| self.links[progress.link.0 as usize].peer_pressure;
        config.members.len() - group.followers.iter().filter(pressed).count() < config.write_quorum
    }

    /// Whether enough followers of exactly this Config were heard lately.
    pub(crate) fn hears_quorum(&self, now: Now, index: usize) -> bool {
        let group = &self.groups[index];
        let Some(config) = &group.config else { return false };
        let silence_ns = self.settings.limits.silence_ms * MS;
        let heard = group
            .followers
            .iter()
            .zip(&config.members[1..])
            .filter(|(progress, member)| {
                let link = &self.links[progress.link.0 as usize];
                link.is_heard(now.monotonic_ns, silence_ns)
                    && link.up.is_some_and(|up| up.incarnation == member.incarnation)
            });
        1 + heard.count() >= config.write_quorum
    }

    fn execute(&mut self, now: Now, index: usize, request: &RequestView<'_>, arrival: &Arrival, lane: Option<u32>) {
        let about = match arrival.about {
            Some((hash, kind)) => kind.map(|kind| (hash, kind)),
            None => Self::hash_of(&self.topology, &self.behaviour, request.key),
        };
        let Some((hash, kind)) = about else {
            return self.refuse(arrival.origin, request, Outcome::BadRequest, 0);
        };
        let group = &mut self.groups[index];
        let time_ms = group.time_at(now.wall_ms);
        let void = request.operation == Operation::Void;
        let found = if void {
            None
        } else {
            group.registry.find(hash, request.key)
        };
        self.answer.clear();
        if !void {
            let actor = found.and_then(|number| group.registry.actor(number));
            match actor {
                Some(actor) => self
                    .behaviour
                    .execute(kind, &actor.state, request.message, &mut self.answer),
                None => self
                    .behaviour
                    .execute(kind, &B::State::default(), request.message, &mut self.answer),
            }
        }
        if self.answer.verdict == Verdict::Trapped && !R::breaks(Rule::FailedHandlerLeavesEvent) {
            // Whatever it had written when it failed is not meant.
            self.answer.leave_nothing();
        }
        let seq = group.log.last_seq().next();
        let last = found
            .and_then(|number| group.registry.actor(number))
            .map(|actor| actor.last_seq.0);
        // Such an entry is a number's alone: it is no actor's and has no message.
        let bare = void || self.answer.verdict == Verdict::Known;
        let outcome = match (void, self.answer.verdict) {
            (true, _) => Outcome::Voided,
            (false, Verdict::Done | Verdict::Known) => Outcome::Done,
            (false, Verdict::Refused) => Outcome::Refused,
            (false, Verdict::Trapped) => Outcome::Trapped,
        };
        let event = if bare { Event::None } else { self.answer.event };
        let flags = if bare { VOID } else { 0 } | if event == Event::Message { EVENT_IS_MESSAGE } else { 0 };
        let number = request.header.number.get();
        let header = EntryHeader {
            actor: if bare {
                NO_ACTOR
            } else {
                found.unwrap_or(group.registry.len())
            }
            .into(),
            lane: lane.unwrap_or_else(|| group.lanes.next_number()).into(),
            back: last
                .filter(|_| !bare)
                .map_or(0, |last| u32::try_from(seq.0 - last).unwrap_or(u32::MAX))
                .into(),
            number: number.into(),
            handler: HANDLER_VERSION.into(),
            flags: flags.into(),
            mark_distance: u8::try_from(number - request.header.mark.get()).expect("checked with the request"),
            outcome: outcome as u8,
            ..EntryHeader::default()
        };
        let introduces = !bare && found.is_none();
        let session = lane.is_none().then_some(&request.header.session);
        let parts = EntryParts {
            header,
            message: if bare { &[] } else { request.message },
            key: introduces.then_some(request.key),
            session,
            event: (event == Event::Bytes).then_some(&self.answer.event_bytes),
            reply: &self.answer.reply,
        };
        let Ok(logged) = group.log.append(&mut self.memory, group.log_view, &parts, time_ms) else {
            return self.refuse(arrival.origin, request, Outcome::Full, 0);
        };
        assert_eq!(logged, seq, "an entry takes the next seq");
        let event = match event {
            Event::None => None,
            Event::Message => Some(request.message),
            Event::Bytes => Some(self.answer.event_bytes.as_slice()),
        };
        let introduced = introduces.then_some((request.key, hash, kind));
        let effect = group.take_effect(&self.behaviour, seq, time_ms, &header, introduced, session, event);
        let touched = effect.expect("the writer's own entry fits its own tables");
        group.hash_state(&self.behaviour, touched, &mut self.scratch);
        self.counters.appended += 1;
        if !bare {
            let actor = header.actor.get();
            let (id, view, bytes) = (group.id, group.log_view, request.message.len());
            self.counters.sampled += u64::from(self.hot.wrote(id, view, seq, actor, bytes));
        }
        let ready = (!self.answer.reply.is_empty()).then(|| {
            let header = reply_header(group, group.log_view, seq, outcome, request);
            Box::new(Ready {
                header,
                body: self.answer.reply.clone(),
            })
        });
        let correlation = request.header.correlation.get();
        group.first_deadline_ns = group.first_deadline_ns.min(arrival.deadline_ns);
        let outcome_code = outcome as u8;
        let waiting = Waiting {
            upto: seq,
            origin: arrival.origin,
            correlation,
            deadline_ns: arrival.deadline_ns,
            number,
            outcome: outcome_code,
            ready,
        };
        if !std::mem::replace(&mut group.touched, true) {
            self.touched
                .push(u32::try_from(index).expect("groups are counted in 32 bits"));
        }
        if R::breaks(Rule::ReplyBeforeCommit)
            || (R::breaks(Rule::RefusalFromSpeculativeState) && outcome == Outcome::Refused)
        {
            return self.release(index, waiting);
        }
        self.waiting += 1;
        self.groups[index].waiting.push(waiting);
    }

    fn retry_held(&mut self, now: Now, index: usize, session: Session) {
        // Each request that runs may free the next one: taken out in turn until none can run.
        loop {
            let group = &self.groups[index];
            let can_run = |held: &Held| {
                let Some(request) = held_request(&held.bytes) else {
                    return false;
                };
                if Session(request.header.session) != session {
                    return false;
                }
                if !request.operation.is_numbered() {
                    return self.waits_for_number(index, &request).is_none();
                }
                let lane = group.lanes.find(session).and_then(|lane| group.lanes.lane(lane));
                let (number, mark) = (request.header.number.get(), request.header.mark.get());
                lane.is_some_and(|lane| !matches!(lane.standing(number, mark), Standing::Gap { .. }))
            };
            let Some(next) = group.held.iter().position(can_run) else {
                return;
            };
            let held = self.groups[index].held.remove(next);
            if let Some(request) = held_request(&held.bytes) {
                self.on_request_until(now, index, &request, &held.arrival());
            }
        }
    }

    /// The peer answered frames: what they carried counts, but for what the ack lists.
    pub(crate) fn on_acked(&mut self, now: Now, link: LinkId, ack: Ack) {
        let frames_max = self.settings.limits.link_frames_max;
        let row = &mut self.links[link.0 as usize];
        let Some(up) = row.up else { return };
        let peer = Member {
            node: row.peer,
            incarnation: up.incarnation,
        };
        row.hear_ack(ack, frames_max);
        let mut records = std::mem::take(&mut self.records);
        while let Some(exceptions) = self.links[link.0 as usize].next_ack(now.monotonic_ns, &mut records) {
            for &Record {
                group: index,
                view,
                last_seq,
            } in &records
            {
                let index = index as usize;
                let id = self.groups[index].id.0;
                let listed = |exception: &Exception| exception.group.get() == id && exception.view.get() == view.0;
                if !exceptions.iter().any(listed) {
                    self.count(index, peer, view, last_seq);
                }
                self.advance(now, index);
            }
            for exception in &exceptions {
                self.on_exception(now, peer, exception);
            }
        }
        self.records = records;
    }

    /// A follower accepted everything up to a seq: counted only for exactly this view and incarnation.
    pub(crate) fn count(&mut self, index: usize, peer: Member, view: View, seq: Seq) -> Option<usize> {
        let group = &mut self.groups[index];
        let config = group.config.as_ref()?;
        let position = config.members.iter().skip(1).position(|member| *member == peer)?;
        if config.view != view {
            return None;
        }
        // No follower holds more than the writer sealed: an answer that says so is not counted beyond it.
        let progress = &mut group.followers[position];
        progress.accepted = progress.accepted.max(seq.min(group.log.sealed_seq()));
        Some(position)
    }

    fn on_exception(&mut self, now: Now, peer: Member, exception: &Exception) {
        let Some(index) = self.group_index(GroupId(exception.group.get())) else {
            return;
        };
        let view = View(exception.view.get());
        let held = match exception.answer() {
            Taken::Gap => Seq(exception.value.get()),
            Taken::NeedAdopt | Taken::Nack => Seq::ZERO,
        };
        let Some(position) = self.count(index, peer, view, held) else {
            return;
        };
        if exception.answer() == Taken::Nack {
            self.groups[index].outrun = view;
        }
        if exception.answer() != Taken::Gap {
            self.groups[index].followers[position].adopted = false;
            self.offer_again(now, index);
        }
        self.rewind(index, position);
        self.advance(now, index);
    }

    /// Commits what W members hold, and lets go what waited for it. Who has promised a newer view still learns what was committed in the
    /// one that was open here: its followers held it before they promised, and so did it.
    pub(crate) fn advance(&mut self, _now: Now, index: usize) {
        let group = &mut self.groups[index];
        let Some(config) = &group.config else { return };
        // Something of the view is committed, so it was open.
        let was_writer = group.role == Role::Sealed
            && group.log_view < group.promised
            && config.view == group.log_view
            && (group.view_from <= group.commit || R::breaks(Rule::CommitsUnopenedView))
            && config.writer().node == self.settings.node;
        if group.role != Role::Writer && !was_writer {
            return;
        }
        let mut held = [Seq::ZERO; crate::config::MEMBERS_MAX];
        held[0] = group.log.sealed_seq();
        for (held, progress) in held[1..].iter_mut().zip(&group.followers) {
            *held = progress.accepted;
        }
        let held = &held[..config.members.len()];
        let commit = if R::breaks(Rule::AckAfterTwo) {
            quorum::largest_held_by(held, config, config.write_quorum - 1)
        } else {
            quorum::committed(held, config)
        };
        if commit <= group.commit {
            return;
        }
        group.commit = commit;
        self.on_committed(index);
    }

    /// The commit has moved: followers have it to be told, and what waited for it is let go.
    pub(crate) fn on_committed(&mut self, index: usize) {
        let commit = self.groups[index].commit;
        self.list_untold(index);
        while let Some(waiting) = self.groups[index].waiting.pop(commit) {
            self.waiting -= usize::from(waiting.origin != Origin::Answered);
            self.release(index, waiting);
        }
        if !self.groups[index].reads.confirming.is_empty() {
            self.release_confirmed(index);
        }
    }
}

/// A held request again; it was checked when it came.
pub(crate) fn held_request(bytes: &[u8]) -> Option<RequestView<'_>> {
    RequestView::new_checked(&waterpark_wire::Item::new_checked_unpadded(bytes).ok()?).ok()
}

/// Pushes an item that is an archive behind a bare item header.
pub(crate) fn push_body(bytes: &mut Vec<u8>, kind: waterpark_wire::ItemKind, group: GroupId, body: &[u8]) {
    let length = waterpark_wire::item::ITEM_HEADER + body.len();
    let header = ItemHeader {
        kind: kind as u8,
        length: u32::try_from(length).expect("archives are small").into(),
        group: group.0.into(),
        ..ItemHeader::default()
    };
    header.push(bytes);
    bytes.extend_from_slice(body);
    bytes.resize(waterpark_wire::padded(bytes.len()), 0);
}
