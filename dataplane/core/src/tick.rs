//! What time brings: signs of life, deadlines, gaps that were held long enough, links that went silent, rows that have expired, history
//! that is dropped.

use waterpark_wire::item::ItemHeader;
use waterpark_wire::link::{HEARTBEAT_OUT, HEARTBEAT_PRESSURE, Heartbeat};
use waterpark_wire::reply::{Outcome, ReplyHeader};
use waterpark_wire::run::{EntryHeader, EntryParts, TICK};

use crate::behaviour::Behaviour;
use crate::effects::Cut;
use crate::group::{Group, Role};
use crate::ids::LinkId;
use crate::lane::{NO_LANE, Session, Standing};
use crate::memory::Memory;
use crate::registry::NO_ACTOR;
use crate::rules::Rules;
use crate::shard::Shard;
use crate::time::{MS, Now};
use crate::waiting::{Held, Origin};
use crate::writer::held_request;

/// A Config that was not answered is offered again after this.
const OFFER_AGAIN_MS: u64 = 500;
/// How often a shard with work under way looks at its deadlines.
const TICK_BUSY_MS: u64 = 10;
/// And one that has more to catch up with than it does at once.
const TICK_CATCHING_UP_MS: u64 = 1;
/// Links give back the room that nothing took since the last time.
const REST_MS: u64 = 1_000;
/// An idle writer looks for expired rows this often.
const EXPIRE_MS: u64 = 60_000;

/// Whether time brings nothing to a group that is not looked for in another place, but for what is done once a minute.
fn is_quiet<S>(group: &Group<S>, now: Now) -> bool {
    let is_whole = match group.role {
        Role::Unborn => return false,
        Role::Opening | Role::Writer => group.followers.iter().all(|progress| progress.adopted),
        _ => true,
    };
    is_whole
        && now.monotonic_ns < group.first_deadline_ns
        && group.held.is_empty()
        && group.queued.is_empty()
        && group.reads.confirming.is_empty()
        && group.opener.is_none()
        && group.intake.is_none()
        && group.retained.is_everything()
        && !group.state_hashes.has_news(group.commit)
}

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// The next instant at which [`Shard::on_tick`] has something to do, monotonic ns. The world may call earlier or later.
    #[must_use]
    pub fn next_tick_ns(&self) -> u64 {
        let waits = self.pendings.first_due_ns != u64::MAX
            || !self.lagging.is_empty()
            || !self.untold.is_empty()
            || self.links.iter().any(|link| !link.transfers.is_empty())
            || self.groups.iter().any(|group| {
                let reads = &group.reads;
                let reads = !reads.confirming.is_empty() || !reads.held.is_empty();
                !group.waiting.is_empty() || !group.held.is_empty() || reads || group.can_sweep() || group.changes()
            });
        let period_ms = if self.catches_up {
            TICK_CATCHING_UP_MS
        } else if waits {
            TICK_BUSY_MS
        } else {
            self.settings.limits.heartbeat_ms.max(1)
        };
        self.ticked_ns.saturating_add(period_ms * MS)
    }

    /// Time has passed.
    pub fn on_tick(&mut self, now: Now) {
        let before_ns = std::mem::replace(&mut self.ticked_ns, now.monotonic_ns);
        self.tells = !self.untold.is_empty();
        self.catch_up();
        self.expire_pendings(now);
        self.tick_links(now, before_ns);
        self.snapshots.expire(now);
        if self.admission.is_due(now.monotonic_ns) {
            let ways = self.links.iter().filter(|link| link.up.is_some());
            let way_ns = ways.filter_map(|link| link.way.took_ns()).max().unwrap_or(0);
            let limits = &self.settings.limits;
            self.admission
                .on_tick(now.monotonic_ns, self.counters.acked, way_ns, limits);
        }
        let minute = now.monotonic_ns / (EXPIRE_MS * MS) != before_ns / (EXPIRE_MS * MS);
        for index in 0..self.groups.len() {
            // Of thousands of groups few have anything to do with each tick.
            if !minute && is_quiet(&self.groups[index], now) {
                continue;
            }
            self.tell_state_hashes(now, index);
            self.expire_waiting(now, index);
            self.expire_held(now, index);
            self.expire_queued(now, index);
            self.tick_confirming(now, index);
            self.tick_opener(now, index);
            self.tick_intake(now, index);
            let group = &self.groups[index];
            let offered_ms = now.monotonic_ns.saturating_sub(group.offered_ns) / MS;
            let lacks =
                matches!(group.role, Role::Opening | Role::Writer) && group.followers.iter().any(|p| !p.adopted);
            // Where there is nobody to be met no link rises either.
            if group.role == Role::Unborn
                && group.followers.is_empty()
                && group.slot.first() == Some(&self.settings.node)
            {
                self.offer_first(now, index);
                continue;
            }
            if lacks && offered_ms >= OFFER_AGAIN_MS && !self.out {
                self.offer_again(now, index);
            }
            if minute {
                self.log_tick(now, index);
            }
            self.decide_sweep(now, index);
        }
        self.sweep_groups();
        self.return_chunks();
        self.report(now, before_ns);
    }

    /// A link at rest carries a sign of life; one that is silent, or acks nothing, is cut. Each gives back what it has no need of.
    fn tick_links(&mut self, now: Now, before_ns: u64) {
        let rests = now.monotonic_ns / (REST_MS * MS) != before_ns / (REST_MS * MS);
        let limits = &self.settings.limits;
        let (dead_ns, heartbeat_ns) = (limits.link_dead_ms * MS, limits.heartbeat_ms * MS);
        let flags = if self.has_pressure() { HEARTBEAT_PRESSURE } else { 0 } | if self.out { HEARTBEAT_OUT } else { 0 };
        for index in 0..self.links.len() {
            if rests {
                self.links[index].outbox.rest();
            }
            let link = &self.links[index];
            if link.up.is_none() {
                continue;
            }
            let unheard = now.monotonic_ns.saturating_sub(link.heard_ns) >= dead_ns;
            let unacked = link.unacked() > 0 && now.monotonic_ns.saturating_sub(link.unacked_since_ns) >= dead_ns;
            if unheard || unacked {
                self.cut_link(
                    LinkId(u32::try_from(index).expect("links are counted in 32 bits")),
                    Cut::Silent,
                );
                continue;
            }
            if now.monotonic_ns.saturating_sub(link.left_ns) >= heartbeat_ns {
                let item = ItemHeader {
                    flags,
                    ..ItemHeader::default()
                };
                let beat = Heartbeat {
                    item,
                    wall_ms: now.wall_ms.into(),
                    sent: link.sent_number().into(),
                };
                let link = &mut self.links[index];
                beat.push(link.outbox.item(), &[]);
                // Not again before it has left.
                link.left_ns = now.monotonic_ns;
            }
        }
    }

    /// Requests that were logged and have not committed by their deadline: they may still.
    fn expire_waiting(&mut self, now: Now, index: usize) {
        let group = &mut self.groups[index];
        if now.monotonic_ns < group.first_deadline_ns {
            return;
        }
        let mut late = Vec::new();
        let mut first_deadline_ns = u64::MAX;
        for waiting in group
            .waiting
            .iter_mut()
            .filter(|waiting| waiting.origin != Origin::Answered)
        {
            if waiting.deadline_ns > now.monotonic_ns {
                first_deadline_ns = first_deadline_ns.min(waiting.deadline_ns);
                continue;
            }
            let origin = std::mem::replace(&mut waiting.origin, Origin::Answered);
            late.push((origin, waiting.correlation, waiting.number));
        }
        group.first_deadline_ns = first_deadline_ns;
        let id = group.id;
        // A group that never commits again must not keep the shard's other groups from taking anything.
        self.waiting -= late.len();
        for (origin, correlation, number) in late {
            self.counters.unknown += 1;
            let header = ReplyHeader {
                item: ItemHeader {
                    group: id.0.into(),
                    ..ItemHeader::default()
                },
                correlation: correlation.into(),
                number: number.into(),
                outcome: Outcome::Unknown as u8,
                ..ReplyHeader::default()
            };
            self.send_reply(origin, &header, &[]);
        }
    }

    /// A gap is held for a while; then what lies behind it is told which number is expected.
    fn expire_held(&mut self, now: Now, index: usize) {
        while let Some(at) = self.groups[index]
            .held
            .iter()
            .position(|held| held.until_ns <= now.monotonic_ns)
        {
            let held = self.groups[index].held.remove(at);
            let Some(request) = held_request(&held.bytes) else {
                continue;
            };
            if !request.operation.is_numbered() {
                match self.waits_for_number(index, &request) {
                    Some(expected) => self.refuse(held.origin, &request, Outcome::Gap, expected),
                    None => self.on_request_until(now, index, &request, &held.arrival()),
                }
                continue;
            }
            let session = Session(request.header.session);
            let group = &self.groups[index];
            let (number, mark) = (request.header.number.get(), request.header.mark.get());
            let lane = group.lanes.find(session).and_then(|lane| group.lanes.lane(lane));
            let fresh = crate::lane::Lane::new(session);
            match lane.unwrap_or(&fresh).standing(number, mark) {
                Standing::Gap { expected } => self.refuse(held.origin, &request, Outcome::Gap, expected),
                _ => self.on_request_until(now, index, &request, &held.arrival()),
            }
        }
    }

    /// Requests that wait for their group to open, and whose time is over: they never ran.
    fn expire_queued(&mut self, now: Now, index: usize) {
        if self.groups[index].queued.is_empty() {
            return;
        }
        let is_late = |held: &mut Held| held.deadline_ns <= now.monotonic_ns;
        let late: Vec<Held> = self.groups[index].queued.extract_if(.., is_late).collect();
        for held in late {
            if let Some(request) = held_request(&held.bytes) {
                self.refuse(held.origin, &request, Outcome::NoQuorum, 0);
            }
        }
    }

    /// An idle writer with rows to drop appends a tick: rows go by the time of an entry alone.
    fn log_tick(&mut self, now: Now, index: usize) {
        if !self.is_open(index) || !self.hears_quorum(now, index) {
            return;
        }
        let group = &mut self.groups[index];
        let time_ms = group.time_at(now.wall_ms);
        if !group.lanes.has_expired(time_ms) {
            return;
        }
        let header = EntryHeader {
            actor: NO_ACTOR.into(),
            lane: NO_LANE.into(),
            flags: TICK.into(),
            ..Default::default()
        };
        let parts = EntryParts {
            header,
            ..EntryParts::default()
        };
        if let Ok(seq) = group.log.append(&mut self.memory, group.log_view, &parts, time_ms) {
            let effect = group.take_effect(&self.behaviour, seq, time_ms, &header, None, None, None);
            let touched = effect.expect("a tick touches no table by number");
            group.hash_state(&self.behaviour, touched, &mut self.scratch);
            if !std::mem::replace(&mut group.touched, true) {
                self.touched
                    .push(u32::try_from(index).expect("groups are counted in 32 bits"));
            }
        }
    }
}
