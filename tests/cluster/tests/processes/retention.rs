//! What kinds keep: the same messages to clusters that differ in `history` alone, what can be read back of them, and what that costs in memory.
//!
//! Dropping is a decision of the log, taken when a group has grown: so other messages come after those that are looked at, as many as it takes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use waterpark_client::blocking::Client;
use waterpark_client::{HistoryQuery, ReadOptions, SendOptions, history_entries};
use waterpark_ring::{GroupId, Key, KeyRef, NodeId};
use waterpark_wire::body::GroupBody;
use waterpark_wire::request::ReadLevel;
use waterpark_wire::run::DROPPED;

use crate::support::{Machine, Nodes, eventually, five, noise};

const SECOND: Duration = Duration::from_secs(1);
/// Groups that are looked at: few, so that each soon grows by as much as a sweep waits for.
const GROUPS: u32 = 4;
/// Actors that are looked at, as many of each group.
const ACTORS: u64 = 48;
/// Messages to each of them. A log of all has several chunks of the largest size then. With fewer its last chunk, which stays whatever is
/// dropped, and the one where its kept messages go are most of it, and how much is given back depends on where a sweep was decided.
const EACH: u64 = 112;
/// Bytes of a message.
const BYTES: usize = 2_048;
/// Messages to each group behind those: a log is swept again when it has grown by a quarter.
const BEHIND: u64 = 384;
const _: () = assert!(4 * BEHIND * GROUPS as u64 > ACTORS * EACH);
/// What `last N` keeps.
const LAST: u64 = 5;
/// What `for T` keeps, in seconds.
const FOR_S: u64 = 3;

/// How long members may take until they hold what was sent: a busy machine is no fault.
const HELD_MAX: Duration = Duration::from_secs(60);

/// How much history a cluster's records keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    All,
    Last,
    For,
    None,
}

impl Rule {
    /// As `cluster.toml` says it.
    fn history(self) -> String {
        match self {
            Rule::All => "all".to_owned(),
            Rule::Last => format!("last {LAST}"),
            Rule::For => format!("for {FOR_S}s"),
            Rule::None => "none".to_owned(),
        }
    }

    /// The messages of each actor that are left once its group was swept, and the last of them has become too old for `for T`.
    fn left(self) -> Vec<u64> {
        match self {
            Rule::All => (0..EACH).collect(),
            Rule::Last => (EACH - LAST..EACH).collect(),
            Rule::For | Rule::None => Vec::new(),
        }
    }
}

/// Bytes of one cluster, over all its nodes.
#[derive(Clone, Copy, Debug)]
struct Bytes {
    /// In the logs of all groups, by the nodes' own report.
    logs: u64,
    /// Of the memory budgets, likewise.
    used: u64,
    /// Resident, as the kernel counts.
    resident: u64,
}

/// A cluster and the actors of it that get messages.
struct Watched {
    nodes: Nodes,
    client: Client,
    /// Those that are looked at.
    keys: Vec<Key>,
    /// One of each of their groups that gets messages behind theirs.
    behind: Vec<Key>,
}

/// No two alike, and none that could be made from another.
fn message(actor: u64, number: u64) -> Vec<u8> {
    let mut message = noise(1 + actor * EACH + number, BYTES);
    message[..8].copy_from_slice(&number.to_le_bytes());
    message
}

fn number_of(actor: u64, found: &[u8]) -> u64 {
    let head = found.first_chunk().expect("a message begins with its number");
    let number = u64::from_le_bytes(*head);
    assert!(
        found == message(actor, number),
        "actor {actor}: message {number} changed"
    );
    number
}

/// Sends in order, and demands an ack of each.
fn send(client: &Client, messages: &[(KeyRef<'_>, Vec<u8>)]) {
    let options = SendOptions {
        ordered: true,
        ..SendOptions::default()
    };
    let sent = messages.iter().map(|(key, message)| (*key, message.as_slice()));
    for answer in client.send_many(sent, &options) {
        answer.expect("a healthy cluster takes it");
    }
}

/// So many keys of the groups that are looked at, as many of each.
fn keys_named(nodes: &Nodes, name: &str, wanted: usize) -> Vec<Key> {
    let mut of_group = BTreeMap::<GroupId, usize>::new();
    let mut keys = Vec::new();
    for at in 0.. {
        let key = Key::parse(&format!("record/id={name}{at}")).expect("a key");
        let group = nodes.topology.locate(key.as_ref()).group;
        let taken = of_group.entry(group).or_default();
        if group.0 < GROUPS && *taken < wanted / GROUPS as usize {
            *taken += 1;
            keys.push(key);
        }
        if keys.len() == wanted {
            break;
        }
    }
    keys
}

/// What a member holds of one actor.
#[derive(Debug, Default)]
struct Held {
    /// Its messages that can be read, in the order of the log.
    left: Vec<u64>,
    /// Group times of those that are gone, in ms.
    gone_ms: Vec<u64>,
}

impl Watched {
    fn start(rule: Rule) -> Watched {
        let nodes = Nodes::start_edited(five(), |text| {
            format!("{text}\n[kinds.record]\nhistory = \"{}\"\n", rule.history())
        });
        Watched {
            client: nodes.client(0),
            keys: keys_named(&nodes, "kept", usize::try_from(ACTORS).expect("few")),
            behind: keys_named(&nodes, "behind", GROUPS as usize),
            nodes,
        }
    }

    fn key(&self, actor: u64) -> KeyRef<'_> {
        self.keys[usize::try_from(actor).expect("few")].as_ref()
    }

    /// The messages that are looked at, one to each actor before the next to any.
    fn send_load(&self) {
        let rounds = (0..EACH).flat_map(|number| (0..ACTORS).map(move |actor| (actor, number)));
        let messages = rounds.map(|(actor, number)| (self.key(actor), message(actor, number)));
        send(&self.client, &messages.collect::<Vec<_>>());
    }

    /// Messages of the same kind to another actor of each of the groups.
    fn send_behind(&self) {
        let pairs = (0..BEHIND).flat_map(|number| self.behind.iter().map(move |key| (key.as_ref(), number)));
        let messages = pairs.map(|(key, number)| (key, noise(number + 7, BYTES)));
        send(&self.client, &messages.collect::<Vec<_>>());
    }

    /// Waits until all members hold all that was sent, and the writers know. A sweep goes no further than that, and the next one comes with
    /// growth alone: so whatever is sent from then on brings one that reaches everything before it, however far behind a member was.
    fn wait_until_held(&self) {
        eventually("all members hold all that was sent", HELD_MAX, || {
            let statuses: Vec<_> = (0..self.nodes.len())
                .flat_map(|place| self.nodes.status(place))
                .collect();
            let groups = statuses.iter().flat_map(|status| &status.groups);
            let written = groups.filter(|group| group.role == "writer" && group.group < GROUPS);
            let is_held = |group: &&GroupBody| {
                group.commit == group.last_seq && group.held.iter().all(|held| *held == group.commit)
            };
            (written.filter(is_held).count() == GROUPS as usize).then_some(())
        });
    }

    /// The writer of a group and its followers.
    fn members(&self, group: GroupId) -> Vec<NodeId> {
        self.nodes.topology.birth().members(group).nodes().to_vec()
    }

    /// Everything that a member holds of the actors of one group, read as one stream.
    fn read_back(&self, member: NodeId, group: GroupId) -> BTreeMap<u64, Held> {
        let actors: BTreeMap<&[u8], u64> = self.keys.iter().map(Key::bytes).zip(0..).collect();
        let mut held = BTreeMap::<u64, Held>::new();
        let read = self.client.read_back(member.0, group.0, 1, |entry| {
            let Some(actor) = entry.key.and_then(|key| actors.get(key)) else {
                return;
            };
            let row = held.entry(*actor).or_default();
            if entry.is_dropped() {
                assert!(entry.message.is_empty(), "what is gone has no bytes");
                row.gone_ms.push(entry.time_ms);
            } else {
                row.left.push(number_of(*actor, entry.message));
            }
        });
        read.unwrap_or_else(|error| panic!("{member:?} cannot be read for {group:?}: {error}"));
        held
    }

    /// All members of each group hold these messages of each actor and no others, in this order, and of the others an entry without them.
    fn assert_left(&self, left: &[u64]) {
        let mut seen = 0;
        for group in (0..GROUPS).map(GroupId) {
            for member in self.members(group) {
                // A member drops once it has applied the decision, a portion with each tick.
                let held = eventually("a member keeps what its rule says", 5 * SECOND, || {
                    let held = self.read_back(member, group);
                    held.values().all(|held| held.left == left).then_some(held)
                });
                let whole = |held: &Held| (held.gone_ms.len() + held.left.len()) as u64 == EACH;
                assert!(held.values().all(whole), "{member:?}, {group:?}: {held:?}");
                seen += held.len();
            }
        }
        assert_eq!(seen as u64, 5 * ACTORS, "every actor, in five members");
    }

    /// Until `for T` is over nothing is dropped, though sweeps were decided meanwhile.
    fn assert_none_gone_too_early(&self) {
        for group in (0..GROUPS).map(GroupId) {
            for member in self.members(group) {
                let held = self.read_back(member, group);
                // After the reading: whatever is gone was older by then.
                let wall = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
                let now_ms = wall.tv_sec.unsigned_abs() * 1_000 + wall.tv_nsec.unsigned_abs() / 1_000_000;
                let gone = held.values().flat_map(|held| &held.gone_ms);
                let ages = gone.map(|at| now_ms.saturating_sub(*at));
                let young: Vec<u64> = ages.filter(|age| *age < FOR_S * 1_000).collect();
                assert!(young.is_empty(), "{member:?} dropped messages of {young:?} ms");
            }
        }
    }

    /// The messages of an actor that its history at one member still has, oldest first.
    fn history(&self, actor: u64, member: NodeId) -> Vec<u64> {
        let options = ReadOptions {
            at: Some(member.0),
            level: ReadLevel::Any,
            ..ReadOptions::default()
        };
        let answer = self.client.history(self.key(actor), HistoryQuery::default(), &options);
        let answer = answer.expect("a healthy cluster answers");
        let entries = history_entries(&answer.body).map(|entry| entry.expect("well formed").entry);
        let left = entries.filter(|entry| entry.header.flags.get() & DROPPED == 0);
        let mut numbers: Vec<u64> = left.map(|entry| number_of(actor, entry.message)).collect();
        numbers.reverse();
        numbers
    }

    /// What the nodes hold.
    fn bytes(&self) -> Bytes {
        let places = 0..self.nodes.len();
        let statuses: Vec<_> = places.flat_map(|place| self.nodes.status(place)).collect();
        let groups = statuses.iter().flat_map(|status| &status.groups);
        let members = self.nodes.cluster.members().iter();
        Bytes {
            logs: groups.map(|group| group.log_bytes).sum(),
            used: statuses.iter().map(|status| status.memory_used).sum(),
            resident: members.map(|member| member.resident_bytes()).sum(),
        }
    }

    /// The state counts every message that ever came, whatever is left of them.
    fn assert_state(&self, actor: u64) {
        let state = self.client.get(self.key(actor), &ReadOptions::default());
        let state = String::from_utf8(state.expect("a healthy cluster answers").body).expect("JSON");
        assert!(state.contains(&format!("\"messages\":{EACH},")), "{state}");
    }
}

/// One cluster from its start to its end.
fn measured(rule: Rule) -> Bytes {
    let begun = Instant::now();
    let watched = Watched::start(rule);
    watched.send_load();
    let sent = Instant::now();
    if rule == Rule::For {
        watched.assert_none_gone_too_early();
        let old = sent + Duration::from_secs(FOR_S) + SECOND / 2;
        std::thread::sleep(old.saturating_duration_since(Instant::now()));
    }
    watched.wait_until_held();
    watched.send_behind();
    let left = rule.left();
    watched.assert_left(&left);
    for actor in (0..ACTORS).step_by(6) {
        for member in watched.members(watched.nodes.topology.locate(watched.key(actor)).group) {
            let history = watched.history(actor, member);
            assert_eq!(history, left, "{rule:?}, actor {actor} at {member:?}");
        }
        watched.assert_state(actor);
    }
    let bytes = watched.bytes();
    let places = 0..watched.nodes.len();
    let swept: u64 = places.map(|place| watched.nodes.counter(place, "swept")).sum();
    assert_eq!(swept > 0, rule != Rule::All, "{rule:?}: {swept} messages were dropped");
    drop(watched.client);
    watched.nodes.stop();
    println!("{}: {bytes:?}, {swept} dropped, {:?}", rule.history(), begun.elapsed());
    bytes
}

#[test]
fn a_kind_keeps_what_its_history_says_on_all_members_and_the_rest_gives_its_memory_back() {
    let _machine = Machine::take("retention", 90 * SECOND);
    let [all, last, young, none] = [Rule::All, Rule::Last, Rule::For, Rule::None].map(measured);

    let five_copies = 5 * (ACTORS * EACH + u64::from(GROUPS) * BEHIND) * BYTES as u64;
    assert!(all.logs >= five_copies, "all of it is held: {all:?}, {five_copies}");
    for less in [last, young, none] {
        let most = all.logs / 3 * 2;
        assert!(less.logs < most && less.used < most, "{less:?} of {all:?}");
    }
    // It is held in memory and nowhere else. How much more a process has depends on what its buffers saw.
    for each in [all, last, young, none] {
        assert!(each.resident > each.used, "{each:?}");
    }
}
