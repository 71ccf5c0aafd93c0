//! The opener of a view: seals, takes the best log, gives it to the new members, and opens.
//!
//! It acts on the state of the topology log alone, never on what became of one copy of an entry. A superseded opener is harmless: it can
//! never activate, and what its log accepted stays.

use waterpark_wire::item::ItemHeader;
use waterpark_wire::link::{self, Adopt, SEAL_FIRST, Seal};
use waterpark_wire::reply::Outcome;
use waterpark_wire::request::{HERE, RequestView};
use waterpark_wire::run::{EntryHeader, EntryParts, VIEW_OPEN};

use super::{ASK_AGAIN_MS, Answer, BEST_SILENT_MS, Branch, Opener, Phase};
use crate::behaviour::Behaviour;
use crate::config::Config;
use crate::effects::{Effect, Happened};
use crate::group::{Progress, Role};
use crate::ids::{GroupId, Member, NodeId, Seq, View};
use crate::lane::NO_LANE;
use crate::memory::Memory;
use crate::registry::NO_ACTOR;
use crate::rules::{Rule, Rules};
use crate::shard::Shard;
use crate::time::{MS, Now};
use crate::waiting::{Arrival, Held};
use crate::writer::BUSY_RETRY_MS;

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    pub(crate) fn own_member(&self) -> Member {
        Member {
            node: self.settings.node,
            incarnation: self.settings.incarnation,
        }
    }

    /// The topology log wants this process to open a view.
    pub(crate) fn begin_opening(&mut self, now: Now, active: Config, pending: Config) {
        let Some(index) = self.row_of(pending.group) else {
            return;
        };
        let view = pending.view;
        if view < self.groups[index].promised || self.groups[index].role == Role::Quarantined {
            return;
        }
        let active = if R::breaks(Rule::RecoverFromNewRing) {
            pending.clone()
        } else {
            active
        };
        if !active.members.contains(&self.own_member()) {
            self.counters.branches.took(Branch::OpenerFromOutside);
        }
        if self.groups[index].role == Role::Writer {
            self.counters.branches.took(Branch::OpenerStayed);
        }
        let writes = self.writes(index, &active) && active.lineage == pending.lineage;
        let opener = Opener {
            answers: vec![None; active.members.len()],
            in_order: writes || self.stops_in_order(now, &active, &pending),
            active,
            pending,
            phase: Phase::Sealing,
            asked_ns: now.monotonic_ns,
        };
        let (in_order, writer) = (opener.in_order, opener.active.writer());
        self.groups[index].opener = Some(Box::new(opener));
        if writes {
            self.stop_in_order(now, index, view, self.own_member());
        }
        // A writer that the active Config does not name writes in vain: what it holds must not grow while another log is taken over.
        if self.groups[index].role == Role::Writer {
            self.promise(now, index, view);
        }
        match in_order {
            true if writes => self.seal_own(now, index),
            true => self.ask_seal(index, writer, view, SEAL_FIRST),
            false => self.ask_seals(now, index),
        }
        self.choose(now, index);
    }

    /// A member's own promise comes with its own answer; who is none promises when it installs a log.
    pub(super) fn seal_own(&mut self, now: Now, index: usize) {
        let own = self.own_member();
        let Some(opener) = &self.groups[index].opener else {
            return;
        };
        let view = opener.view();
        let at = opener.active.members.iter().position(|member| *member == own);
        let Some(at) = at.filter(|at| opener.answers[*at].is_none()) else {
            return;
        };
        let answer = self.seal(now, index, view);
        if let Some(opener) = &mut self.groups[index].opener {
            opener.answers[at] = answer;
        }
    }

    /// The opener's role ends: another view was proposed or opened. Its log stays.
    pub(crate) fn end_opener(&mut self, now: Now, index: usize) {
        let group = &mut self.groups[index];
        let Some(opener) = group.opener.take() else { return };
        self.counters.branches.took(match opener.phase {
            Phase::Sealing => Branch::SupersededSealing,
            Phase::Fetching => Branch::SupersededFetching,
            Phase::Adopting => Branch::SupersededAdopting,
            Phase::Activating => Branch::SupersededActivating,
        });
        if R::breaks(Rule::OpenerDiscardsLog) && group.log_view == opener.view() {
            group.log_view = View(0);
        }
        if group.role != Role::Quarantined {
            group.role = Role::Sealed;
        }
        let fetched = group.intake.take_if(|intake| intake.log_view < intake.view);
        self.release_intake(fetched);
        self.reroute(now, index, Seq::ZERO);
    }

    /// There is no memory for what this member has to hold. An opener stands down, so that another one is asked; a member of the view
    /// tries again, seldom, for as long as the others go on without it.
    pub(crate) fn lacks_room(&mut self, now: Now, index: usize) {
        let group = &mut self.groups[index];
        let was_told = group
            .intake
            .as_mut()
            .is_some_and(|intake| std::mem::replace(&mut intake.is_full, true));
        if !was_told {
            self.effects.push(Effect::Event(Happened::NoRoom { group: group.id }));
        }
        self.end_opener(now, index);
    }

    /// What an opener waits for is asked for again; who gives nothing is not waited for.
    pub(crate) fn tick_opener(&mut self, now: Now, index: usize) {
        let group = &mut self.groups[index];
        let Some(opener) = &mut group.opener else { return };
        let silent_ns = now.monotonic_ns.saturating_sub(opener.asked_ns);
        if opener.phase == Phase::Fetching {
            let heard_ns = group.intake.as_ref().map_or(0, |intake| intake.heard_ns);
            if now.monotonic_ns.saturating_sub(heard_ns) >= BEST_SILENT_MS * MS {
                self.drop_best(now, index);
                if R::breaks(Rule::SecondBestOfSameR) {
                    self.choose_among_rest(now, index);
                }
                return;
            }
        }
        if silent_ns < ASK_AGAIN_MS * MS {
            return;
        }
        match opener.phase {
            Phase::Sealing => {
                self.ask_seals(now, index);
                self.choose(now, index);
            }
            Phase::Fetching => {}
            Phase::Adopting => {
                opener.asked_ns = now.monotonic_ns;
                self.offer_view(now, index);
            }
            Phase::Activating => {
                opener.asked_ns = now.monotonic_ns;
                let view = opener.view();
                let id = group.id;
                self.activates.push((id, view));
                self.offer_view(now, index);
            }
        }
    }

    fn ask_seals(&mut self, now: Now, index: usize) {
        self.seal_own(now, index);
        let group = &mut self.groups[index];
        let Some(opener) = &mut group.opener else { return };
        if std::mem::take(&mut opener.in_order) {
            self.counters.branches.took(Branch::EndUnheard);
        }
        opener.asked_ns = now.monotonic_ns;
        let view = opener.view();
        let unanswered = opener.active.members.iter().zip(&opener.answers);
        let unanswered: Vec<Member> = unanswered.filter(|(_, a)| a.is_none()).map(|(m, _)| *m).collect();
        for member in unanswered {
            self.ask_seal(index, member, view, 0);
        }
    }

    fn ask_seal(&mut self, index: usize, member: Member, view: View, flags: u8) {
        let id = self.groups[index].id;
        let seal = Seal {
            item: ItemHeader {
                flags,
                group: id.0.into(),
                ..ItemHeader::default()
            },
            view: view.0.into(),
            reserved: 0.into(),
        };
        if member.node != self.settings.node
            && let Some(bytes) = self.item_to(member, id)
        {
            seal.push(bytes, &[]);
        }
    }

    /// A member answered the Seal.
    pub(crate) fn on_sealed(
        &mut self,
        now: Now,
        from: Member,
        group: GroupId,
        (view, opener): (View, NodeId),
        answer: Answer,
    ) {
        let Some(index) = self.group_index(group) else { return };
        self.hear_end(now, index, from, opener, view, answer);
        self.count_sealed(now, index, from, answer);
        let Some(opener) = &mut self.groups[index].opener else {
            return;
        };
        let is_awaited = opener.in_order && opener.active.writer() == from && opener.view() == view;
        if is_awaited && answer.log_view != opener.active.view {
            // It is not where it would have to be to stop in order: nobody hears an end from it.
            self.ask_seals(now, index);
        }
        let Some(opener) = &mut self.groups[index].opener else {
            return;
        };
        let at = opener.active.members.iter().position(|member| *member == from);
        if let (Some(at), true) = (at, opener.view() == view && opener.phase == Phase::Sealing) {
            opener.answers[at] = Some(answer);
            self.choose(now, index);
        }
    }

    /// Once R have answered: the best of them, by view and length of its log.
    pub(super) fn choose(&mut self, now: Now, index: usize) {
        let own = self.own_member();
        let group = &mut self.groups[index];
        let Some(opener) = &mut group.opener else { return };
        let answered = opener.answers.iter().flatten().count();
        let needed = match opener.active.read_quorum {
            _ if R::breaks(Rule::RecoverFromOne) => 1,
            quorum if R::breaks(Rule::RecoverFromTwo) => quorum - 1,
            quorum => quorum,
        };
        if opener.phase != Phase::Sealing {
            return;
        }
        // Of a lost group everyone is heard who may answer; who started anew meanwhile, or was declared gone, never will.
        let is_waited_for =
            |(member, answer): (&Member, &Option<Answer>)| answer.is_none() && self.decided.may_answer(*member);
        let waits = match opener.pending.lineage == opener.active.lineage {
            true => answered < needed,
            false if R::breaks(Rule::ReopenAsksOne) => answered == 0,
            false => opener.active.members.iter().zip(&opener.answers).any(is_waited_for),
        };
        if waits {
            return;
        }
        let named = opener.active.members.iter().zip(&opener.answers);
        let named = named.filter_map(|(member, answer)| Some((*member, (*answer)?)));
        // Of equals its own, which need not be fetched.
        let best = named.max_by_key(|(member, answer)| {
            let log_view = if R::breaks(Rule::LongestLogWins) {
                View(0)
            } else {
                answer.log_view
            };
            (log_view, answer.last_seq, *member == own)
        });
        let Some((best, answer)) = best else { return };
        opener.phase = Phase::Fetching;
        let view = opener.view();
        if answer.log_view > opener.active.view {
            self.counters.branches.took(Branch::BestOfUnopened);
        }
        if best != own {
            self.counters.branches.took(Branch::BestElsewhere);
        }
        if group.log_view == answer.log_view && group.log.sealed_seq() == answer.last_seq {
            return self.install(now, index);
        }
        let lineage = opener.pending.lineage;
        self.begin_intake(now, index, (view, lineage), best, answer, &[]);
    }

    /// Who has the best log gives nothing of it: its answer counts no more, and never does the second best of the same R.
    pub(crate) fn drop_best(&mut self, now: Now, index: usize) {
        let group = &mut self.groups[index];
        let Some(opener) = &mut group.opener else { return };
        let dropped = group.intake.take();
        let from = dropped.as_ref().map(|intake| intake.from);
        self.counters.branches.took(Branch::BestDropped);
        for (member, answer) in opener.active.members.iter().zip(&mut opener.answers) {
            if Some(*member) == from {
                *answer = None;
            }
        }
        opener.phase = Phase::Sealing;
        self.release_intake(dropped);
        self.ask_seals(now, index);
    }

    /// As if who was dropped had answered that it holds nothing.
    fn choose_among_rest(&mut self, now: Now, index: usize) {
        let Some(opener) = &mut self.groups[index].opener else {
            return;
        };
        let nothing = Answer {
            log_view: View(0),
            last_seq: Seq::ZERO,
            last_hash: 0,
        };
        opener
            .answers
            .iter_mut()
            .for_each(|answer| _ = answer.get_or_insert(nothing));
        self.choose(now, index);
    }

    /// The best log is here: it becomes the new view's.
    pub(crate) fn install(&mut self, now: Now, index: usize) {
        let Some(opener) = &self.groups[index].opener else {
            return;
        };
        let view = opener.view();
        if self.groups[index].promised > view {
            return self.end_opener(now, index);
        }
        self.promise(now, index, view);
        let last = self.groups[index].log.sealed_seq();
        if !self.run_upto(index, last) {
            return;
        }
        let own_link = |shard: &Self, member: &Member, group: GroupId| shard.append_link(member.node, group);
        let opener = self.groups[index].opener.as_ref().expect("seen above");
        let pending = opener.pending.clone();
        let id = self.groups[index].id;
        let links: Vec<_> = pending.members[1..]
            .iter()
            .map(|member| own_link(self, member, id))
            .collect();
        let group = &mut self.groups[index];
        let time_ms = group.time_at(now.wall_ms);
        let header = EntryHeader {
            actor: NO_ACTOR.into(),
            lane: NO_LANE.into(),
            flags: VIEW_OPEN.into(),
            ..EntryHeader::default()
        };
        let parts = EntryParts {
            header,
            ..EntryParts::default()
        };
        let Ok(seq) = group.log.append(&mut self.memory, view, &parts, time_ms) else {
            // Nothing was installed.
            return self.lacks_room(now, index);
        };
        let effect = group.take_effect(&self.behaviour, seq, time_ms, &header, None, None, None);
        let touched = effect.expect("the first entry of a view touches no table");
        group.hash_state(&self.behaviour, touched, &mut self.scratch);
        group.log.seal(&mut self.memory, view);
        if R::breaks(Rule::OpenCommitsWholeLog) {
            group.commit = seq;
        }
        if R::breaks(Rule::RepeatTableLostInViewChange) {
            group.lanes = crate::lane::Lanes::default();
        }
        group.applied = seq;
        group.log_view = view;
        group.enter_lineage(pending.lineage);
        group.view_from = seq;
        group.source = Some(pending.members[0]);
        group.role = Role::Sealed;
        group.followers = links.into_iter().map(|link| Progress::new(link, false)).collect();
        group.config = Some(pending);
        let opener = group.opener.as_mut().expect("seen above");
        opener.phase = Phase::Adopting;
        self.offer_view(now, index);
        self.count_adopted(now, index);
    }

    /// Says to each member that has not adopted the view what it has to hold.
    pub(crate) fn offer_view(&mut self, now: Now, index: usize) {
        let group = &mut self.groups[index];
        let Some(config) = group.config.clone() else { return };
        group.offered_ns = now.monotonic_ns;
        let adopt = Adopt {
            item: ItemHeader {
                group: group.id.0.into(),
                ..ItemHeader::default()
            },
            view: config.view.0.into(),
            lineage: config.lineage.0.into(),
            last_seq: group.log.sealed_seq().0.into(),
            reserved: 0.into(),
            last_hash: link::split_hash(group.log.last_hash()),
        };
        let (adopt_group, view, last_seq) = (group.id, config.view, group.log.sealed_seq());
        let lacking: Vec<Member> = (group.followers.iter().zip(&config.members[1..]))
            .filter(|(progress, _)| !progress.adopted)
            .map(|(_, member)| *member)
            .collect();
        if lacking.is_empty() {
            return;
        }
        // The entry that opens the view stands in a run of its own, and is all that most members lack.
        let opens = (last_seq == group.view_from).then(|| group.log.find(&self.memory, last_seq));
        let run = opens.flatten().and_then(|at| group.log.run_at(&self.memory, at));
        let run = run.map_or_else(Vec::new, |run| {
            self.memory.bytes(run.chunk)[run.offset as usize..(run.offset + run.length) as usize].to_vec()
        });
        for member in lacking {
            if let Some(bytes) = self.item_to(member, adopt_group) {
                adopt.push(bytes, &run);
                if R::breaks(Rule::AckedIsAdopted) {
                    self.on_adopted(now, adopt_group, member, view, last_seq);
                }
            }
        }
    }

    /// W members hold the log of the view: the topology log is told.
    pub(crate) fn count_adopted(&mut self, now: Now, index: usize) {
        let group = &mut self.groups[index];
        let Some(opener) = &mut group.opener else { return };
        let adopted = group.followers.iter().filter(|progress| progress.adopted).count();
        let own = usize::from(group.promised == opener.view());
        if opener.phase == Phase::Adopting && own + adopted >= opener.pending.write_quorum {
            opener.phase = Phase::Activating;
            let view = opener.view();
            self.activates.push((group.id, view));
            if R::breaks(Rule::OpenWithoutActivate) {
                self.open_view(now, index);
            }
        }
    }

    /// The topology log has activated the view: everything up to its first entry is committed.
    pub(crate) fn open_view(&mut self, now: Now, index: usize) {
        let group = &mut self.groups[index];
        let Some(opener) = group.opener.take_if(|opener| opener.phase == Phase::Activating) else {
            return;
        };
        assert_eq!(group.promised, opener.view(), "an opener that promised more has ended");
        group.role = Role::Writer;
        assert!(group.commit <= group.log.sealed_seq(), "a commit never goes back");
        group.commit = group.log.sealed_seq();
        group.admits_at = None;
        let id = group.id;
        self.effects.push(Effect::Event(Happened::GroupOpened { group: id }));
        self.on_committed(index);
        if R::breaks(Rule::AppendToUnadoptedLog) {
            let group = &mut self.groups[index];
            let from = group.log.sealed_seq();
            let cursor = group.log.find(&self.memory, from.next()).unwrap_or_default();
            for progress in group.followers.iter_mut().filter(|progress| !progress.adopted) {
                (progress.adopted, progress.sent, progress.cursor) = (true, from, cursor);
            }
        }
        for position in 0..self.groups[index].followers.len() {
            let progress = &self.groups[index].followers[position];
            if progress.adopted && progress.accepted > Seq::ZERO {
                self.rewind(index, position);
            }
        }
        self.offer_view(now, index);
        self.run_queued(now, index);
    }

    /// Requests that waited for the view to open run, in the order in which they came.
    fn run_queued(&mut self, now: Now, index: usize) {
        let queued = std::mem::take(&mut self.groups[index].queued);
        if !queued.is_empty() {
            self.counters.branches.took(Branch::QueuedRan);
        }
        for held in queued {
            if let Some(request) = crate::writer::held_request(&held.bytes) {
                self.on_request_until(now, index, &request, &held.arrival());
            }
        }
    }

    /// Whether a request has to wait for the view that this member opens.
    pub(crate) fn waits_for_opening(&self, index: usize, request: &RequestView<'_>) -> bool {
        let group = &self.groups[index];
        group.opener.is_some() && group.role != Role::Writer && !request.has(HERE)
    }

    /// Keeps a request, unexecuted, until the view is open.
    pub(crate) fn queue_for_opening(&mut self, index: usize, request: &RequestView<'_>, arrival: &Arrival) {
        if self.groups[index].queued.len() >= self.settings.limits.held_per_group_max {
            return self.refuse(arrival.origin, request, Outcome::Busy, BUSY_RETRY_MS);
        }
        self.groups[index].queued.push(Held {
            origin: arrival.origin,
            bytes: request.bytes.to_vec(),
            until_ns: arrival.deadline_ns,
            deadline_ns: arrival.deadline_ns,
        });
    }

    /// A link rose while a view is opened here: its member is asked at once.
    pub(crate) fn opener_link_rose(&mut self, now: Now, index: usize) {
        let Some(opener) = &self.groups[index].opener else {
            return;
        };
        match opener.phase {
            Phase::Sealing if opener.in_order => {}
            Phase::Sealing => self.ask_seals(now, index),
            Phase::Adopting | Phase::Activating => self.offer_view(now, index),
            Phase::Fetching => {}
        }
    }

    /// Everything up to a seq takes effect; false if the log contradicts itself.
    pub(crate) fn run_upto(&mut self, index: usize, upto: Seq) -> bool {
        let (topology, behaviour) = (&self.topology, &self.behaviour);
        let hash_of = |key: &[u8]| Self::hash_of(topology, behaviour, key);
        let result =
            self.groups[index].apply_upto(behaviour, &self.memory, (upto, usize::MAX), hash_of, &mut self.scratch);
        if result.is_err() {
            self.quarantine(index);
        }
        result.is_ok()
    }
}
