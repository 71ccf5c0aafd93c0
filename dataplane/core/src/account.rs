//! What a shard keeps in memory beside its logs, by what it is for.
//!
//! Nothing is counted while messages pass: sizes are summed when somebody asks. Tables say at once how much is set aside for them; what
//! actors and lanes have beside their rows takes a walk over them, and each question walks a portion further ([`Census`]), so that its cost
//! does not grow with the actors. What an allocator adds to each piece, and pages that were set aside and never written, are not known here.
//!
//! **Invariant:** each byte is counted under one name, so names can be added up.

use crate::behaviour::Behaviour;
use crate::group::Group;
use crate::memory::Memory;
use crate::rules::Rules;
use crate::shard::Shard;

/// Rows of actors and lanes that one question looks at, about: a group's lanes are looked at together.
const ROWS: usize = 4_096;

/// Bytes that a shard keeps beside its logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Tables of actors: their rows, keys and index.
    pub actors: u64,
    /// What actors' states have beside their rows, as of the last walk.
    pub states: u64,
    /// Rows of lanes; the seqs that they keep as of the last walk.
    pub lanes: u64,
    /// What each group has whatever it holds, and what waits in it: books of its log, lists of a follower and of a writer.
    pub groups: u64,
    /// What leaves and comes in parts on links, and what was sent on them and is not acked.
    pub links: u64,
    /// The same of clients, with requests that were passed on and wait for their replies.
    pub clients: u64,
}

impl Account {
    /// Each part with its name in the status document.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 6] {
        [
            ("memory_actors_bytes", self.actors),
            ("memory_states_bytes", self.states),
            ("memory_lanes_bytes", self.lanes),
            ("memory_groups_bytes", self.groups),
            ("memory_links_bytes", self.links),
            ("memory_clients_bytes", self.clients),
        ]
    }
}

/// What rows of one group have elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Beside {
    states: u64,
    lanes: u64,
}

/// The walk over all rows, a portion at a time, group by group.
#[derive(Debug, Default)]
pub(crate) struct Census {
    /// What was found, by group; of one that was never walked to its end, nothing.
    known: Vec<Beside>,
    /// Where it goes on.
    group: usize,
    actor: u32,
    /// What was found in that group so far.
    counted: Beside,
}

impl Census {
    /// Walks about so many rows further, at most once around.
    fn walk<B: Behaviour>(&mut self, groups: &[Group<B::State>], behaviour: &B, rows: usize) {
        self.known.resize(groups.len(), Beside::default());
        let (mut left, mut begun) = (rows, 0);
        while left > 0 && begun <= groups.len() {
            let Some(group) = groups.get(self.group) else {
                self.begin(0);
                if groups.is_empty() {
                    return;
                }
                continue;
            };
            begun += usize::from(self.actor == 0);
            while left > 0
                && let Some(actor) = group.registry.actor(self.actor)
            {
                self.counted.states += behaviour.beside_bytes(&actor.state) as u64;
                self.actor += 1;
                left -= 1;
            }
            // Numbers are dense. A group that forgot its state meanwhile has fewer.
            if self.actor >= group.registry.len() {
                self.counted.lanes = group.lanes.beside_bytes();
                left = left.saturating_sub(group.lanes.len());
                self.known[self.group] = self.counted;
                self.begin(self.group + 1);
            }
        }
    }

    fn begin(&mut self, group: usize) {
        (self.group, self.actor, self.counted) = (group, 0, Beside::default());
    }
}

impl<R: Rules, M: Memory, B: Behaviour> Shard<R, M, B> {
    /// Looks at some more rows: the next account knows of them.
    pub(crate) fn take_census(&mut self) {
        self.census.walk(&self.groups, &self.behaviour, ROWS);
    }

    /// Adds up what tables say of themselves, and what the walk has found so far.
    #[must_use]
    pub fn account(&self) -> Account {
        let mut account = Account::default();
        for beside in &self.census.known {
            account.states += beside.states;
            account.lanes += beside.lanes;
        }
        for group in &self.groups {
            account.actors += group.registry.table_bytes();
            account.lanes += group.lanes.table_bytes();
            account.groups += group.kept_bytes();
        }
        account.groups += bytes_of(&self.groups);
        account.links = self.links.iter().map(crate::link::Link::kept_bytes).sum::<u64>() + self.links.table_bytes();
        let clients = self.clients.values().map(crate::shard::Client::kept_bytes).sum::<u64>();
        let rows = self.clients.allocation_size() as u64;
        account.clients = clients + rows + self.pendings.kept_bytes();
        account
    }
}

/// Bytes set aside for a list's own rows.
pub(crate) fn bytes_of<T>(rows: &Vec<T>) -> u64 {
    (rows.capacity() * size_of::<T>()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behaviour::{Answer, KindId, Retention};
    use crate::ids::{GroupId, Seq};
    use crate::lane::Session;

    /// States are texts.
    struct Texts;

    impl Behaviour for Texts {
        type State = Vec<u8>;

        fn kind(&self, _name: &[u8]) -> Option<KindId> {
            Some(KindId(0))
        }

        fn name(&self, _kind: KindId) -> &[u8] {
            b"text"
        }

        fn retention(&self, _kind: KindId) -> Retention {
            Retention::All
        }

        fn execute(&self, _kind: KindId, _state: &Vec<u8>, _message: &[u8], _answer: &mut Answer) {}

        fn apply(&self, _kind: KindId, state: &mut Vec<u8>, event: &[u8], _seq: u64, _time_ms: u64) {
            state.reserve_exact(event.len());
            state.extend_from_slice(event);
        }

        fn beside_bytes(&self, state: &Vec<u8>) -> usize {
            state.capacity()
        }

        fn show(&self, _kind: KindId, state: &Vec<u8>, out: &mut Vec<u8>) {
            out.extend_from_slice(state);
        }

        fn save(&self, _kind: KindId, state: &Vec<u8>, out: &mut Vec<u8>) {
            out.extend_from_slice(state);
        }

        fn load(&self, _kind: KindId, bytes: &[u8]) -> Option<Vec<u8>> {
            Some(bytes.to_vec())
        }
    }

    /// A group with so many actors, each with a text of so many bytes, and so many lanes that took a number.
    fn group(id: u32, actors: u64, bytes: usize, lanes: u8) -> Group<Vec<u8>> {
        let mut group: Group<Vec<u8>> = Group::new(GroupId(id), Vec::new(), Vec::new(), 1_024);
        for number in 0..actors {
            let hash = number.wrapping_mul(0xD6E8_FEB8_6659_FD93);
            let at = group
                .registry
                .introduce(hash, &number.to_le_bytes(), KindId(0))
                .unwrap();
            let state = &mut group.registry.actor_mut(at).unwrap().state;
            Texts.apply(KindId(0), state, &vec![7; bytes], 1, 0);
        }
        for number in 0..lanes {
            let at = group.lanes.next_number();
            assert!(group.lanes.introduce(at, Session::new(1, false, [number; 8])));
            group.lanes.lane_mut(at).unwrap().take(1, 1, Seq(1));
        }
        group
    }

    fn known(census: &Census) -> (u64, u64) {
        let sum = |of: fn(&Beside) -> u64| census.known.iter().map(of).sum();
        (sum(|beside| beside.states), sum(|beside| beside.lanes))
    }

    #[test]
    fn a_walk_in_portions_finds_what_one_over_everything_finds() {
        let groups = [
            group(0, 0, 0, 0),
            group(1, 10, 100, 3),
            group(2, 3_000, 8, 0),
            group(3, 0, 0, 2),
            group(4, 1, 5_000, 0),
        ];
        // A lane keeps eight seqs from its first number on.
        let all = (10 * 100 + 3_000 * 8 + 5_000, 5 * 64);
        let mut whole = Census::default();
        whole.walk(&groups, &Texts, 100_000);
        assert_eq!(known(&whole), all);
        for rows in [1, 7, 1_000, 3_016] {
            let mut census = Census::default();
            // A group whose last row ends a portion is done with the next.
            let portions = 3_016_usize.div_ceil(rows) + 2 * groups.len();
            (0..portions).for_each(|_| census.walk(&groups, &Texts, rows));
            assert_eq!(known(&census), all, "{rows} at a time");
            // It begins anew, and finds the same.
            (0..portions).for_each(|_| census.walk(&groups, &Texts, rows));
            assert_eq!(known(&census), all, "{rows} at a time, again");
        }
    }

    #[test]
    fn a_walk_follows_groups_that_grow_lose_their_actors_or_go() {
        let mut groups = vec![group(0, 100, 10, 0), group(1, 5, 10, 0)];
        let mut census = Census::default();
        census.walk(&groups, &Texts, 60);
        assert_eq!(known(&census), (0, 0), "no group was walked to its end");
        groups[0].forget_state();
        census.walk(&groups, &Texts, 60);
        census.walk(&groups, &Texts, 60);
        assert_eq!(known(&census), (50, 0));
        groups.truncate(1);
        census.walk(&groups, &Texts, 60);
        assert_eq!(known(&census), (0, 0));
        census.walk(&[], &Texts, 60);
        assert_eq!(known(&census), (0, 0));
    }
}
