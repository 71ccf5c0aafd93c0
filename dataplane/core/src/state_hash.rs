//! Hashes of states: what tells that a member has made something else of the log that all have.
//!
//! Chain hashes keep logs equal, and say nothing of what was computed from them: a bit of memory that flipped, or a handler that is not pure,
//! would be seen by whoever reads it, if at all. So at every so many entries of a group, and once a minute, each member hashes the actor and the lane that the
//! entry touched, and a few more actors whose numbers follow from the seq alone. Once that entry is committed it tells the others, with a tick,
//! and whoever stands alone against a write quorum of equals takes itself out: its state is wrong, whatever the reason. A few of a million actors
//! at a time: what costs nothing beside the messages finds what is asked for often at once, and the rest in time.
//!
//! **Invariant:** only hashes of one lineage and seq are compared, of entries that are committed here: there all logs are equal, so all states
//! have to be.

use waterpark_wire::checksum;
use waterpark_wire::item::ItemHeader;
use waterpark_wire::link::StateHash;

use crate::behaviour::Behaviour;
use crate::config::{Births, Config};
use crate::effects::{Effect, Happened};
use crate::group::{Group, Role};
use crate::ids::{GroupId, Lineage, Member, NodeId, Seq};
use crate::memory::Memory;
use crate::registry::NO_ACTOR;
use crate::rules::Rules;
use crate::shard::Shard;
use crate::state_bytes::StateWriter;
use crate::time::Now;

/// How states are written for hashing. Whoever changes that, or what any kind saves, raises it: hashes of different forms are not compared, so that
/// releases can serve beside each other.
const FORM: u32 = 1;
/// Actors that are hashed beside the one that the entry touched.
const ACTORS: u64 = 8;
/// And with the first entry of each stretch of group time of so many ms, as a power of two: of a group in which little happens too.
const STRETCH_MS_SHIFT: u32 = 16;
/// Hashes that are kept of each member: one that is behind is compared as well.
const KEPT: usize = 4;

/// A hash, and the entry after which the state was so.
type At = (Seq, u64);

/// What an entry touched after which the state is hashed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Touched {
    pub(crate) seq: Seq,
    /// Or [`NO_ACTOR`].
    pub(crate) actor: u32,
    /// Or `NO_LANE`.
    pub(crate) lane: u32,
}

/// Where a shard writes states down to hash them.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    bytes: Vec<u8>,
    state: Vec<u8>,
}

/// The newest hashes of one group.
#[derive(Debug)]
pub(crate) struct StateHashes {
    /// A power of two: at each multiple of it a state is hashed.
    every: u64,
    /// Its own, the oldest first.
    own: Vec<At>,
    /// The newest of its own that the others were told.
    told: Seq,
    /// What others said, in the order in which it came.
    others: Vec<(NodeId, At)>,
}

impl StateHashes {
    /// None yet, and one for every so many entries.
    ///
    /// # Panics
    /// If that is no power of two.
    pub(crate) fn new(every: u64) -> StateHashes {
        assert!(every.is_power_of_two(), "a mask tells whose turn it is");
        StateHashes {
            every,
            own: Vec::new(),
            told: Seq::ZERO,
            others: Vec::new(),
        }
    }

    /// Whether the state is hashed after this entry, which took group time from one instant to another.
    #[inline]
    pub(crate) fn is_due(&self, seq: Seq, before_ms: u64, after_ms: u64) -> bool {
        seq.0 & (self.every - 1) == 0 || (before_ms ^ after_ms) >> STRETCH_MS_SHIFT != 0
    }

    /// Whether there is one that the others may be told.
    pub(crate) fn has_news(&self, commit: Seq) -> bool {
        self.own.iter().any(|(seq, _)| *seq > self.told && *seq <= commit)
    }

    /// What was computed, or what was heard of others, says nothing any more.
    pub(crate) fn forget(&mut self) {
        *self = StateHashes::new(self.every);
    }

    fn note(&mut self, seq: Seq, hash: u64) {
        // The tail of a log that was dropped had other entries there.
        self.own.retain(|(other, _)| *other < seq);
        if self.own.len() == KEPT {
            self.own.remove(0);
        }
        self.own.push((seq, hash));
    }

    fn hear(&mut self, node: NodeId, said: At) {
        self.others.retain(|(other, at)| *other != node || at.0 != said.0);
        let of_node = self.others.iter().filter(|(other, _)| *other == node).count();
        if of_node == KEPT {
            let oldest = self.others.iter().position(|(other, _)| *other == node);
            self.others.remove(oldest.expect("it has some"));
        }
        self.others.push((node, said));
    }

    /// The next of its own that is committed and was not told.
    fn news(&mut self, commit: Seq) -> Option<At> {
        let mut own = self.own.iter().copied();
        let news = own.find(|(seq, _)| *seq > self.told && *seq <= commit)?;
        self.told = news.0;
        Some(news)
    }

    /// What those said who are no members any more is forgotten.
    fn keep(&mut self, members: &[Member]) {
        let is_member = |node: NodeId| members.iter().any(|member| member.node == node);
        self.others.retain(|(node, _)| is_member(*node));
    }

    /// The entry after which so many of these members agree on another state than its own.
    fn stands_alone(&self, members: &[Member], quorum: usize, commit: Seq) -> Option<Seq> {
        let committed = self.own.iter().filter(|(seq, _)| *seq <= commit);
        let is_member = |node: NodeId| members.iter().any(|member| member.node == node);
        let of_all = |said: &At| {
            let same = self
                .others
                .iter()
                .filter(|(node, other)| other == said && is_member(*node));
            same.count()
        };
        let against = committed.filter(|(seq, hash)| {
            let of_seq = self.others.iter().map(|(_, said)| said).filter(|said| said.0 == *seq);
            of_seq.into_iter().any(|said| said.1 != *hash && of_all(said) >= quorum)
        });
        against.map(|(seq, _)| *seq).next()
    }

    pub(crate) fn kept_bytes(&self) -> u64 {
        crate::account::bytes_of(&self.own) + crate::account::bytes_of(&self.others)
    }
}

/// The low half of a hash of bytes.
fn hash_of(bytes: &[u8]) -> u64 {
    u64::try_from(checksum::state(bytes) & u128::from(u64::MAX)).expect("64 bits")
}

impl<S: Default + core::fmt::Debug> Group<S> {
    /// Hashes the state where it is to be: group time, the actor and the lane that were touched, and some others.
    #[inline]
    pub(crate) fn hash_state<B: Behaviour<State = S>>(
        &mut self,
        behaviour: &B,
        touched: Option<Touched>,
        scratch: &mut Scratch,
    ) {
        if let Some(touched) = touched {
            let hash = self.state_hash(behaviour, touched, scratch);
            self.state_hashes.note(touched.seq, hash);
        }
    }

    #[cold]
    fn state_hash<B: Behaviour<State = S>>(&self, behaviour: &B, touched: Touched, scratch: &mut Scratch) -> u64 {
        let Scratch { bytes, state } = scratch;
        bytes.clear();
        let actors = u64::from(self.registry.len());
        let mut to = StateWriter(bytes);
        to.number(self.time_ms);
        to.number(actors);
        let first = hash_of(&touched.seq.0.to_le_bytes()) % actors.max(1);
        let others = (0..actors.min(ACTORS)).map(|step| (first + step) % actors);
        let others = others.map(|number| u32::try_from(number).expect("below the number of actors"));
        for number in others.chain((touched.actor != NO_ACTOR).then_some(touched.actor)) {
            let (Some(actor), Some(key)) = (self.registry.actor(number), self.registry.key(number)) else {
                continue;
            };
            state.clear();
            behaviour.save(actor.kind, &actor.state, state);
            to.number(number.into());
            to.bytes(key);
            to.number(actor.last_seq.0);
            to.bytes(state);
        }
        if let Some(lane) = self.lanes.lane(touched.lane) {
            lane.save(&mut to);
        }
        hash_of(bytes)
    }
}

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// Tells the other members what states were after entries that are committed by now.
    pub(crate) fn tell_state_hashes(&mut self, now: Now, index: usize) {
        let group = &mut self.groups[index];
        let takes_part = matches!(group.role, Role::Writer | Role::Follower | Role::Sealed);
        if !takes_part || !group.state_hashes.has_news(group.commit) {
            return;
        }
        let (id, lineage, commit, own) = (group.id, group.lineage, group.commit, self.settings.node);
        let Some(members) = self.config_in_force(index).map(|config| config.members.clone()) else {
            return;
        };
        self.groups[index].state_hashes.keep(&members);
        while let Some((seq, hash)) = self.groups[index].state_hashes.news(commit) {
            let said = StateHash {
                item: ItemHeader {
                    group: id.0.into(),
                    aux: FORM.into(),
                    ..ItemHeader::default()
                },
                lineage: lineage.0.into(),
                seq: seq.0.into(),
                hash: hash.into(),
                reserved: 0.into(),
            };
            for member in members.iter().filter(|member| member.node != own) {
                if let Some(bytes) = self.item_to(*member, id) {
                    said.push(bytes, &[]);
                }
            }
        }
        self.compare_states(now, index);
    }

    /// Another member says what its state was after an entry.
    pub(crate) fn on_state_hash(&mut self, now: Now, id: GroupId, from: Member, said: &StateHash) {
        let Some(index) = self.group_index(id) else { return };
        let group = &mut self.groups[index];
        if said.item.aux.get() != FORM || Lineage(said.lineage.get()) != group.lineage {
            return;
        }
        let said = (Seq(said.seq.get()), said.hash.get());
        group.state_hashes.hear(from.node, said);
        self.counters.states_equal += u64::from(group.state_hashes.own.contains(&said));
        self.compare_states(now, index);
    }

    /// The members whose states have to be equal: a follower is told of a newer Config by the topology log alone.
    fn config_in_force(&self, index: usize) -> Option<&Config> {
        let group = &self.groups[index];
        match self.settings.births {
            Births::Writer => group.config.as_ref(),
            Births::TopologyLog => self.decided.group(group.id).map(|state| &state.active),
        }
    }

    /// Takes the group out of service here if a quorum of the others has another state.
    fn compare_states(&mut self, now: Now, index: usize) {
        let group = &self.groups[index];
        let config = self.config_in_force(index);
        let Some(config) = config.filter(|_| group.role != Role::Quarantined) else {
            return;
        };
        let hashes = &group.state_hashes;
        let Some(seq) = hashes.stands_alone(&config.members, config.write_quorum, group.commit) else {
            return;
        };
        self.effects
            .push(Effect::Event(Happened::StateDiffers { group: group.id, seq }));
        // Nobody gets an answer any more that was computed from it.
        self.end_opener(now, index);
        // It stops out of order, whatever it had said of an earlier stop.
        self.groups[index].ends = None;
        let promised = self.groups[index].promised;
        self.step_down(now, index, promised);
        self.quarantine(index);
    }
}
