//! A lossy cluster with the lanes of real members: connections fall at any moment, mailrooms hold copies back and double them, groups
//! refuse, disagree about the time and forget to answer.
//!
//! One seed gives one run. It knows what took effect, which is what the core's completions are held against.

use std::collections::BTreeMap;

use waterpark_client::{ClientError, ClientOptions, PeerId, SendOptions, Ticket};
use waterpark_core::ids::Seq;
use waterpark_core::lane::{Lanes, Session, Standing};
use waterpark_kit::rng::Rng;
use waterpark_wire::reply::{HAS_TOKEN, MAYBE, Outcome};
use waterpark_wire::request::Operation;

use crate::script::{MS, Script, Seen, WALL_MS, reply_item, table};

/// Messages of one run.
const MESSAGES: usize = 60;
/// Groups that they go to: few, so that lanes are shared.
const GROUPS: [u32; 3] = [3, 8, 14];
/// Hours that a group's clock may be off, in ms.
const SKEWS_MS: [i64; 5] = [0, 0, 0, -7_200_000, 7_200_000];

/// What a faulty cluster leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flaws {
    /// Groups run a number again that they know.
    pub(crate) no_repeat_table: bool,
    /// Refusals say that they are definite whatever was sent before.
    pub(crate) no_maybe: bool,
}

#[derive(Default)]
struct Group {
    lanes: Lanes,
    last_seq: u64,
    skew_ms: i64,
    /// The outcome of each entry.
    outcomes: BTreeMap<u64, Outcome>,
}

/// One message, from its call to its ends.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) group: u32,
    pub(crate) ordered: bool,
    pub(crate) ticket: Ticket,
    pub(crate) held: bool,
    pub(crate) ends: Vec<Result<Outcome, ClientError>>,
    /// Seqs of its entries.
    pub(crate) effects: Vec<u64>,
    pub(crate) token: Option<u64>,
}

enum Event {
    Connect(PeerId),
    Arrive { seen: Seen, epoch: u32 },
    Run { seen: Seen, epoch: u32, maybe: bool },
    Reply { peer: PeerId, epoch: u32, item: Vec<u8> },
}

pub(crate) struct World {
    pub(crate) script: Script,
    pub(crate) messages: Vec<Message>,
    rng: Rng,
    flaws: Flaws,
    events: BTreeMap<(u64, u64), Event>,
    counted: u64,
    epochs: BTreeMap<PeerId, u32>,
    groups: BTreeMap<u32, Group>,
    /// The bytes that a number was first seen with.
    bound: BTreeMap<([u8; 16], u32, u32), Vec<u8>>,
    /// How often connections fall, in tenths of a percent per step.
    cut_permille: u64,
    refuse_percent: u64,
    jump_percent: u64,
    pub(crate) copies: u64,
}

impl World {
    pub(crate) fn new(seed: u64, flaws: Flaws) -> World {
        let mut rng = Rng::new(seed);
        let options = ClientOptions {
            silence_ms: 400,
            direct: rng.below(4) > 0,
            ..ClientOptions::default()
        };
        let groups = GROUPS.map(|group| {
            let skew_ms = SKEWS_MS[rng.index(SKEWS_MS.len())];
            (
                group,
                Group {
                    skew_ms,
                    ..Group::default()
                },
            )
        });
        World {
            script: Script::new(options),
            messages: Vec::new(),
            flaws,
            events: BTreeMap::new(),
            counted: 0,
            epochs: BTreeMap::new(),
            groups: groups.into(),
            bound: BTreeMap::new(),
            cut_permille: rng.below(30),
            refuse_percent: rng.below(50),
            jump_percent: rng.below(3),
            copies: 0,
            rng,
        }
    }

    /// Runs until every message has ended.
    pub(crate) fn run(&mut self) {
        for step in 0.. {
            assert!(step < 20_000, "every request ends");
            self.turn();
            if self.messages.len() < MESSAGES {
                self.open();
            } else if self.script.core.open_requests() == 0 && self.events.is_empty() {
                break;
            }
            let ms = 1 + self.rng.below(12);
            self.script.pass(ms);
            self.turn();
            while let Some(entry) = self.events.first_entry() {
                if entry.key().0 > self.script.now_ns {
                    break;
                }
                let event = entry.remove();
                self.on_event(event);
                self.turn();
            }
            self.fault();
        }
    }

    fn later(&mut self, ms_max: u64, event: Event) {
        let at_ns = self.script.now_ns + self.rng.below(ms_max * MS);
        self.counted += 1;
        self.events.insert((at_ns, self.counted), event);
    }

    fn open(&mut self) {
        if !self.script.core.is_ready() {
            return;
        }
        for _ in 0..self.rng.below(4) {
            let group = GROUPS[self.rng.index(GROUPS.len())];
            let options = SendOptions {
                timeout_ms: u32::try_from(50 + self.rng.below(2_000)).unwrap(),
                attempts_max: if self.rng.below(8) == 0 { 1 } else { u32::MAX },
                ordered: self.rng.below(2) == 0,
                hold_unknown: self.rng.below(3) == 0,
                tag: self.messages.len() as u64,
            };
            let bytes = (self.messages.len() as u64).to_le_bytes();
            let ticket = self.script.send(group, &bytes, &options).unwrap();
            self.messages.push(Message {
                group,
                ordered: options.ordered,
                ticket,
                held: options.hold_unknown,
                ends: Vec::new(),
                effects: Vec::new(),
                token: None,
            });
        }
    }

    /// Takes what the core has sent and ended.
    fn turn(&mut self) {
        for seen in self.script.turn() {
            let epoch = self.epochs.get(&seen.peer).copied().unwrap_or(0);
            self.later(8, Event::Arrive { seen, epoch });
        }
        for (peer, _) in std::mem::take(&mut self.script.asked) {
            self.later(40, Event::Connect(peer));
        }
        for (peer, _) in std::mem::take(&mut self.script.closed) {
            *self.epochs.entry(peer).or_default() += 1;
        }
        for end in self.script.ends() {
            let index = usize::try_from(end.tag).unwrap();
            let message = &mut self.messages[index];
            assert_eq!(message.ticket, end.ticket);
            message.ends.push(end.result);
            if let (Ok(_), Some(token)) = (end.result, end.token) {
                message.token = Some(token.seq);
            }
            if message.held && end.result == Err(ClientError::Unknown) {
                let ticket = message.ticket;
                if self.rng.below(5) == 0 {
                    self.script.core.release(self.script.now_ns, ticket).unwrap();
                } else {
                    self.script.core.void(self.script.now_ns, ticket, 500, end.tag).unwrap();
                }
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Connect(peer) => {
                if self.rng.below(4) == 0 {
                    let cause = ClientError::Io(std::io::ErrorKind::ConnectionRefused);
                    return self.script.core.on_disconnected(self.script.now_ns, peer, cause);
                }
                *self.epochs.entry(peer).or_default() += 1;
                let (node, shard) = self.place(peer);
                self.script.connect(peer, node, shard);
            }
            Event::Arrive { seen, epoch } => self.on_arrive(seen, epoch),
            Event::Run { seen, epoch, maybe } => {
                if let Some(item) = self.execute(&seen, maybe) {
                    self.later(
                        8,
                        Event::Reply {
                            peer: seen.peer,
                            epoch,
                            item,
                        },
                    );
                }
            }
            Event::Reply { peer, epoch, item } => {
                if self.epochs.get(&peer) == Some(&epoch) && self.script.up.contains(&peer) {
                    self.script.say(peer, &item);
                }
            }
        }
    }

    /// Peers behind the entry are the shards of the table, in its order.
    fn place(&self, peer: PeerId) -> (u16, u16) {
        let Some(place) = peer.0.checked_sub(1) else {
            return (1, 0);
        };
        // Node 1's shard 0 is the entry, if that was up when the table was learnt.
        let mut places = (1..=5).flat_map(|node| (0..2).map(move |shard| (node, shard)));
        let offset = usize::from(self.script.core.address_of(1, 0).is_some());
        places.nth(place as usize + offset).unwrap()
    }

    /// A mailroom has a request: it may hold it back, double it, or have lost it with the connection.
    fn on_arrive(&mut self, seen: Seen, epoch: u32) {
        let lost = self.epochs.get(&seen.peer) != Some(&epoch);
        if lost && self.rng.below(2) == 0 {
            return;
        }
        self.copies += 1;
        if seen.document.is_some() {
            let archive = waterpark_wire::body::encode(&table());
            if !lost && self.script.up.contains(&seen.peer) {
                self.script.document(&seen, &archive);
            }
            return;
        }
        if seen.operation == Operation::Send {
            let id = (seen.session, seen.group, seen.number);
            let first = self.bound.entry(id).or_insert_with(|| seen.message.clone());
            assert_eq!(*first, seen.message, "a number is bound to its bytes for ever");
        }
        let delay_ms = if self.rng.below(10) == 0 { 600 } else { 10 };
        let doubled = self.rng.below(12) == 0;
        for _ in 0..=u32::from(doubled) {
            let maybe = doubled;
            let seen = seen.clone();
            self.later(delay_ms, Event::Run { seen, epoch, maybe });
        }
    }

    /// The group's writer has a request; its reply, unless that is lost inside the cluster.
    fn execute(&mut self, seen: &Seen, maybe: bool) -> Option<Vec<u8>> {
        let rolls: [u64; 3] = std::array::from_fn(|_| self.rng.below(100));
        let now_ms = WALL_MS + self.script.now_ns / MS;
        let flaws = self.flaws;
        let group = self.groups.get_mut(&seen.group).unwrap();
        let time_ms = now_ms.checked_add_signed(group.skew_ms).unwrap();
        let maybe = (maybe || seen.sent_before) && !flaws.no_maybe;
        let flags = if maybe { MAYBE } else { 0 };
        let refuse = |outcome, detail| Some(reply_item(seen, outcome, detail, flags, 0, &[]));
        let session = Session(seen.session);
        let row = group.lanes.find(session);
        let mut standing = match row.and_then(|row| group.lanes.lane(row)) {
            Some(lane) => lane.standing(seen.number, seen.mark),
            None => standing_of_new(session, seen.number, seen.mark),
        };
        if flaws.no_repeat_table && matches!(standing, Standing::Known(_)) {
            standing = Standing::New;
        }
        if let Standing::Known(seq) = standing {
            let outcome = group.outcomes[&seq.0];
            return Some(reply_item(seen, outcome, 0, HAS_TOKEN, seq.0, &[]));
        }
        if session.is_expired(time_ms) {
            return refuse(Outcome::SessionExpired, u32::try_from(time_ms / 1000).unwrap());
        }
        if rolls[0] < self.refuse_percent {
            let (outcome, detail) = [
                (Outcome::Busy, 7),
                (Outcome::NoQuorum, 0),
                (Outcome::NotWriter, 2),
                (Outcome::Stopping, 0),
                (Outcome::Full, 0),
                (Outcome::Unknown, 0),
            ][usize::try_from(rolls[1] % 6).unwrap()];
            return refuse(outcome, detail);
        }
        match standing {
            Standing::Old => return refuse(Outcome::Old, 0),
            Standing::Gap { expected } => return refuse(Outcome::Gap, expected),
            Standing::New | Standing::Known(_) => {}
        }
        group.last_seq += 1;
        let seq = group.last_seq;
        group.lanes.expire(time_ms);
        let row = group.lanes.find(session).unwrap_or_else(|| {
            let number = group.lanes.next_number();
            assert!(group.lanes.introduce(number, session));
            number
        });
        group
            .lanes
            .lane_mut(row)
            .unwrap()
            .take(seen.number, seen.mark, Seq(seq));
        let outcome = match seen.operation {
            Operation::Void => Outcome::Voided,
            _ => [Outcome::Done, Outcome::Refused, Outcome::Trapped]
                [usize::from(rolls[1] > 90) + usize::from(rolls[1] > 95)],
        };
        group.outcomes.insert(seq, outcome);
        if seen.operation == Operation::Send {
            let id = u64::from_le_bytes(*seen.message.first_chunk().unwrap());
            self.messages[usize::try_from(id).unwrap()].effects.push(seq);
        }
        if rolls[2] < 10 {
            // It took effect, and its deadline passed before its commit.
            return (rolls[2] < 5).then(|| reply_item(seen, Outcome::Unknown, 0, 0, 0, &[]));
        }
        Some(reply_item(seen, outcome, 0, HAS_TOKEN, seq, &[]))
    }

    fn fault(&mut self) {
        if self.rng.below(1_000) < self.cut_permille && !self.script.up.is_empty() {
            let at = self.rng.index(self.script.up.len());
            let peer = *self.script.up.iter().nth(at).unwrap();
            *self.epochs.entry(peer).or_default() += 1;
            self.script.disconnect(peer);
        }
        if self.rng.below(100) < self.jump_percent {
            // Group time never goes back.
            let group = GROUPS[self.rng.index(GROUPS.len())];
            self.groups.get_mut(&group).unwrap().skew_ms += 4_000_000;
        }
    }
}

/// What a group says of a session that it has no row for.
fn standing_of_new(session: Session, number: u32, mark: u32) -> Standing {
    let mut lanes = Lanes::default();
    assert!(lanes.introduce(0, session));
    lanes.lane(0).unwrap().standing(number, mark)
}
