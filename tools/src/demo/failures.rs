//! What each failure cost patients: for how long one that was hit got no ack although a message of it waited, less what its acks usually take.
//!
//! Pure calculation over instants that others read; it knows no node. A group is hit when it was written where the failure struck. It is
//! back when it is seen to be written elsewhere, or with the first ack of a message that was due after the failure, unless nodes give groups
//! away and ack meanwhile. What was due before a group was back tells what the failure cost its patient. A patient that had nothing to say
//! meanwhile noticed nothing, and so did one whose acks took little more than usual. **Invariant:** a message counts in one failure of its
//! group, and at its whole wait.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// Failures that are remembered; the oldest go first.
const FAILURES_MAX: usize = 64;
/// Whoever waits for less than this beyond what is usual has noticed nothing, in microseconds: links and a busy machine cost as much.
const NOTICED_US: u64 = 50_000;
/// Weight of an ack in what is usual, as a divisor.
const USUAL_WEIGHT: u64 = 4;

/// What is done to whom.
#[derive(Clone, Debug)]
pub(super) struct Blow {
    pub(super) what: String,
    pub(super) at: Instant,
    /// The same since the feed began.
    pub(super) since_begin: Duration,
    /// Groups go one by one, and are acked meanwhile.
    pub(super) is_gradual: bool,
    /// The nodes that it hits.
    pub(super) nodes: BTreeSet<u16>,
    /// The groups that they write.
    pub(super) groups: Vec<u32>,
}

/// One failure.
#[derive(Debug)]
struct Failure {
    blow: Blow,
    /// Each group that was hit, and since when it is back.
    groups: BTreeMap<u32, Option<Instant>>,
    /// By patient, what it waited beyond what is usual, in microseconds.
    waited_us: HashMap<u64, u64>,
    whole_after: Option<Duration>,
}

/// What one failure cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// What was done, and to whom.
    pub(super) what: String,
    /// When, since the feed began.
    pub(super) since_begin: Duration,
    /// When, since then.
    pub(super) ago: Duration,
    /// Groups that were written there.
    pub(super) groups: u64,
    /// Of these, those that have acked a newer message since, or were given away.
    pub(super) groups_back: u64,
    /// Patients of which a message waited.
    pub(super) patients: u64,
    /// What the one in the middle waited beyond what is usual, in microseconds.
    pub(super) median_us: u64,
    /// What the worst did.
    pub(super) worst_us: u64,
    /// How long it took until every group had five copies again.
    pub(super) whole_after: Option<Duration>,
}

/// All failures, and what is usual.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// By patient, in microseconds.
    usual_us: HashMap<u64, u64>,
    /// Over all, for a patient's first message.
    usual_of_all_us: u64,
    failures: Vec<Failure>,
}

impl Failures {
    /// A failure strikes.
    pub(super) fn begin(&mut self, blow: Blow) {
        if self.failures.len() == FAILURES_MAX {
            self.failures.remove(0);
        }
        self.failures.push(Failure {
            groups: blow.groups.iter().map(|group| (*group, None)).collect(),
            blow,
            waited_us: HashMap::new(),
            whole_after: None,
        });
    }

    /// Takes in an ack: when it came, how long it took since its message was due.
    pub(super) fn on_ack(&mut self, now: Instant, response: Duration, patient: u64, group: u32) {
        let took_us = u64::try_from(response.as_micros()).unwrap_or(u64::MAX);
        let due = now.checked_sub(response).unwrap_or(now);
        let usual_us = self.usual_us.get(&patient).copied().unwrap_or(self.usual_of_all_us);
        // The last failure of this group is the one that its messages wait for.
        let hit = self
            .failures
            .iter_mut()
            .rev()
            .find(|failure| failure.groups.contains_key(&group));
        let counts =
            hit.is_some_and(|failure| failure.take(now, due, patient, group, took_us.saturating_sub(usual_us)));
        if !counts {
            let usual = self.usual_us.entry(patient).or_insert(took_us);
            *usual = (*usual * (USUAL_WEIGHT - 1) + took_us) / USUAL_WEIGHT;
            let of_all = &mut self.usual_of_all_us;
            *of_all = if *of_all == 0 {
                took_us
            } else {
                (*of_all * 63 + took_us) / 64
            };
        }
    }

    /// Who writes each group, as a look tells that was begun at this instant.
    pub(super) fn on_writers(&mut self, looked: Instant, writer_of: impl Fn(u32) -> Option<u16>) {
        for failure in self.failures.iter_mut().filter(|failure| looked > failure.blow.at) {
            for (group, back) in &mut failure.groups {
                let is_elsewhere = || writer_of(*group).is_some_and(|writer| !failure.blow.nodes.contains(&writer));
                if back.is_none() && is_elsewhere() {
                    *back = Some(looked);
                }
            }
        }
    }

    /// Every group has five copies, as a look tells that was begun at this instant.
    pub(super) fn on_whole(&mut self, looked: Instant) {
        for failure in &mut self.failures {
            let is_over = !failure.blow.is_gradual || failure.groups.values().all(Option::is_some);
            if failure.whole_after.is_none() && is_over && looked > failure.blow.at {
                failure.whole_after = Some(looked - failure.blow.at);
            }
        }
    }

    /// What each has cost so far, the oldest first.
    pub(super) fn costs(&self, now: Instant) -> Vec<Cost> {
        self.failures.iter().map(|failure| failure.cost(now)).collect()
    }

    /// The same of the last one.
    pub(super) fn last(&self, now: Instant) -> Option<Cost> {
        self.failures.last().map(|failure| failure.cost(now))
    }
}

impl Failure {
    /// Takes in an ack of a group that was hit; whether it tells what the failure cost.
    fn take(&mut self, now: Instant, due: Instant, patient: u64, group: u32, beyond_us: u64) -> bool {
        let back = self.groups.get_mut(&group).expect("the caller has found it there");
        if back.is_some_and(|back| due >= back) {
            return false;
        }
        if back.is_none() && !self.blow.is_gradual && due >= self.blow.at {
            *back = Some(now);
        }
        let waited = self.waited_us.entry(patient).or_default();
        *waited = beyond_us.max(*waited);
        true
    }

    fn cost(&self, now: Instant) -> Cost {
        let noticed = self.waited_us.values().copied().filter(|us| *us >= NOTICED_US);
        let mut waited: Vec<u64> = noticed.collect();
        waited.sort_unstable();
        Cost {
            what: self.blow.what.clone(),
            since_begin: self.blow.since_begin,
            ago: now.saturating_duration_since(self.blow.at),
            groups: self.groups.len() as u64,
            groups_back: self.groups.values().flatten().count() as u64,
            patients: waited.len() as u64,
            median_us: waited.get(waited.len() / 2).copied().unwrap_or(0),
            worst_us: waited.last().copied().unwrap_or(0),
            whole_after: self.whole_after,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// A failure of groups 1 and 2 after a second, in which patient 7 was acked within 20 ms.
    fn struck(is_gradual: bool) -> (Failures, Instant) {
        let begun = Instant::now();
        let mut failures = Failures::default();
        for ms in [200, 400, 600] {
            failures.on_ack(begun + MS(ms), MS(20), 7, 1);
        }
        let at = begun + MS(1_000);
        failures.begin(blow("kill FL-A-1", at, &[1, 2], is_gradual));
        (failures, at)
    }

    /// A blow against node 5.
    fn blow(what: &str, at: Instant, groups: &[u32], is_gradual: bool) -> Blow {
        Blow {
            what: what.to_owned(),
            at,
            since_begin: MS(1_000),
            is_gradual,
            nodes: BTreeSet::from([5]),
            groups: groups.to_vec(),
        }
    }

    #[test]
    fn unavailability_is_the_wait_less_what_is_usual() {
        let (mut failures, at) = struck(false);
        // Due 10 ms before the failure, acked 300 ms after it.
        failures.on_ack(at + MS(300), MS(310), 7, 1);
        let cost = failures.last(at + MS(400)).expect("it was begun");
        assert_eq!((cost.patients, cost.worst_us, cost.median_us), (1, 290_000, 290_000));
        assert_eq!(
            (cost.groups, cost.groups_back),
            (2, 0),
            "an older message may have been acked before"
        );
        assert_eq!((cost.ago, cost.since_begin), (MS(400), MS(1_000)));
    }

    #[test]
    fn a_group_is_back_with_the_first_ack_of_a_message_that_was_due_after_the_failure() {
        let (mut failures, at) = struck(false);
        failures.on_ack(at + MS(500), MS(450), 7, 1);
        // Due while the group was away, acked just behind.
        failures.on_ack(at + MS(510), MS(220), 8, 1);
        // Due after that, so it says nothing of the failure.
        failures.on_ack(at + MS(900), MS(300), 9, 1);
        let cost = failures.last(at + MS(999)).expect("it was begun");
        assert_eq!((cost.patients, cost.groups_back, cost.worst_us), (2, 1, 430_000));
    }

    #[test]
    fn a_group_that_was_not_hit_costs_nothing() {
        let (mut failures, at) = struck(false);
        failures.on_ack(at + MS(800), MS(700), 7, 3);
        assert_eq!(failures.last(at).expect("it was begun").patients, 0);
    }

    #[test]
    fn groups_that_are_given_away_count_until_they_are_written_elsewhere() {
        let (mut failures, at) = struck(true);
        failures.on_ack(at + MS(100), MS(20), 7, 1);
        failures.on_ack(at + MS(700), MS(120), 8, 1);
        failures.on_writers(at + MS(800), |group| Some(if group == 1 { 6 } else { 5 }));
        failures.on_ack(at + MS(950), MS(100), 9, 1);
        let cost = failures.last(at + MS(999)).expect("it was begun");
        assert_eq!((cost.patients, cost.groups_back, cost.worst_us), (1, 1, 100_000));
    }

    #[test]
    fn a_group_that_nobody_writes_to_is_back_once_it_is_seen_elsewhere() {
        let (mut failures, at) = struck(false);
        // Begun before the failure, so it tells what was.
        failures.on_writers(at - MS(10), |_| Some(6));
        failures.on_ack(at + MS(300), MS(310), 7, 2);
        failures.on_writers(at + MS(900), |_| Some(6));
        failures.on_ack(at + MS(5_000), MS(900), 8, 2);
        let cost = failures.last(at + MS(6_000)).expect("it was begun");
        assert_eq!((cost.patients, cost.groups_back, cost.worst_us), (1, 2, 290_000));
    }

    #[test]
    fn who_waits_little_longer_than_usual_has_noticed_nothing() {
        let (mut failures, at) = struck(false);
        failures.on_ack(at + MS(40), MS(69), 7, 1);
        assert_eq!(failures.last(at + MS(50)).expect("it was begun").patients, 0);
    }

    #[test]
    fn only_a_look_after_the_failure_finds_all_copies_back() {
        let (mut failures, at) = struck(false);
        failures.on_whole(at - MS(10));
        assert_eq!(failures.last(at).expect("it was begun").whole_after, None);
        failures.on_whole(at + MS(1_700));
        failures.on_whole(at + MS(2_700));
        assert_eq!(failures.last(at).expect("it was begun").whole_after, Some(MS(1_700)));
    }

    #[test]
    fn the_last_failure_of_a_group_is_the_one_that_its_messages_wait_for() {
        let (mut failures, at) = struck(false);
        failures.begin(blow("kill FL-A-2", at + MS(50), &[2], false));
        failures.on_ack(at + MS(300), MS(290), 7, 1);
        failures.on_ack(at + MS(300), MS(290), 8, 2);
        let patients: Vec<u64> = failures.costs(at).iter().map(|cost| cost.patients).collect();
        assert_eq!(patients, [1, 1]);
    }
}
