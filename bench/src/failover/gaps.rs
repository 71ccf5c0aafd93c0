//! From acks and the instants of faults to what each fault cost each key.
//!
//! Unavailability of a key is the longest gap between two of its acks, less its usual ack latency, which is measured just before the fault.
//! Pure calculation; it knows no process. **Invariant:** a key that gets no ack any more is never left out: its gap ends with the window.

use hdrhistogram::Histogram;

use super::load::{End, Lane, Row};

/// Longest gap that a histogram tells, in µs.
const LONGEST_US: u64 = 600_000_000;

/// An acked message of a key, in ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ack {
    sent_ns: u64,
    ended_ns: u64,
}

/// One fault, from the calm before it until everything has its copies again. Nanoseconds since the load's epoch.
#[derive(Clone, Debug)]
pub struct Round {
    /// Names of the nodes that were hit.
    pub victims: Vec<String>,
    /// When the fault was made, in ms since 1970: logs tell time so.
    pub wall_ms: u64,
    /// Since when nothing was done to the cluster.
    pub calm_ns: u64,
    /// When the fault was made.
    pub fault_ns: u64,
    /// When all keys had been acked again for a while.
    pub until_ns: u64,
    /// When what was lost was there again, with all copies.
    pub whole_ns: u64,
    /// By key: whether a victim wrote its group.
    pub touched: Vec<bool>,
}

/// Longest gaps of keys, less usual latency, in µs.
#[derive(Debug)]
pub struct Gaps {
    /// Of the keys that a victim wrote, from the fault until all keys had been acked again for a while.
    pub touched: Histogram<u64>,
    /// Those of them whose client speaks to the writers itself.
    pub direct: Histogram<u64>,
    /// Of the others in the same time.
    pub others: Histogram<u64>,
    /// Of all keys while what was lost came back.
    pub back: Histogram<u64>,
    /// Of all keys in the calm before the fault: what the machine itself costs.
    pub calm: Histogram<u64>,
    /// Of the time from the fault to all copies.
    pub whole: Histogram<u64>,
    /// Keys that got no ack any more before their window ended.
    pub never: u64,
    /// Of the keys that a victim wrote, by round.
    pub by_round: Vec<Histogram<u64>>,
    /// The slowest session reads of the keys that a victim wrote.
    pub reads: SlowestReads,
    /// Those of the other keys.
    pub reads_others: SlowestReads,
    /// Session reads that were not answered.
    pub reads_failed: u64,
}

/// What the slowest session read of each key took, in µs, in two stretches of one length: the slowest of more reads is slower, whatever is done.
#[derive(Debug)]
pub struct SlowestReads {
    /// From the fault on, of those that had begun and not ended then as well.
    pub fault: Histogram<u64>,
    /// In the calm, up to the fault.
    pub calm: Histogram<u64>,
}

impl SlowestReads {
    fn new() -> SlowestReads {
        SlowestReads {
            fault: histogram(),
            calm: histogram(),
        }
    }
}

impl Round {
    /// How long after the fault reads are looked at, and before it: to the end of the window, but no longer than the calm was.
    fn reads_ns(&self) -> u64 {
        (self.until_ns - self.fault_ns).min(self.fault_ns - self.calm_ns)
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, 3).expect("bounds that the library allows")
}

/// Acks by key, in the order in which they came.
pub(super) fn acks(lanes: &[Lane], keys: u64) -> Vec<Vec<Ack>> {
    by_key(lanes.iter().flat_map(|lane| &lane.rows), keys)
}

impl Gaps {
    /// Adds what session reads cost in these rounds.
    pub(super) fn add_reads(&mut self, lanes: &[Lane], keys: u64, rounds: &[Round]) {
        let reads = || lanes.iter().flat_map(|lane| &lane.reads);
        self.reads_failed = reads().filter(|row| row.end != End::Acked).count() as u64;
        let answers = by_key(reads(), keys);
        for round in rounds {
            let (fault_ns, for_ns) = (round.fault_ns, round.reads_ns());
            for (answers, touched) in answers.iter().zip(&round.touched) {
                let of = match touched {
                    true => &mut self.reads,
                    false => &mut self.reads_others,
                };
                let slowest = |is_within: &dyn Fn(&Ack) -> bool| {
                    let within = answers.iter().filter(|ack| is_within(ack));
                    within.map(|ack| ack.ended_ns - ack.sent_ns).max().unwrap_or(0) / 1_000
                };
                let met = |ack: &Ack| ack.ended_ns >= fault_ns && ack.sent_ns < fault_ns + for_ns;
                let before = |ack: &Ack| ack.ended_ns < fault_ns && ack.ended_ns >= fault_ns - for_ns;
                of.fault.saturating_record(slowest(&met));
                of.calm.saturating_record(slowest(&before));
            }
        }
    }
}

/// What was answered of these rows, by key.
fn by_key<'a>(rows: impl Iterator<Item = &'a Row>, keys: u64) -> Vec<Vec<Ack>> {
    let mut acks = vec![Vec::new(); usize::try_from(keys).expect("keys are few")];
    for row in rows.filter(|row| row.end == End::Acked) {
        let key = usize::try_from(row.serial % keys).expect("keys are few");
        acks[key].push(Ack {
            sent_ns: row.sent_ns,
            ended_ns: row.ended_ns,
        });
    }
    acks
}

/// What all rounds cost.
pub(super) fn gaps(acks: &[Vec<Ack>], rounds: &[Round], is_direct: impl Fn(usize) -> bool) -> Gaps {
    let mut gaps = Gaps {
        touched: histogram(),
        direct: histogram(),
        others: histogram(),
        back: histogram(),
        calm: histogram(),
        whole: histogram(),
        never: 0,
        reads: SlowestReads::new(),
        reads_others: SlowestReads::new(),
        reads_failed: 0,
        by_round: Vec::new(),
    };
    for round in rounds {
        let mut of_round = histogram();
        gaps.whole.saturating_record((round.whole_ns - round.fault_ns) / 1_000);
        for (key, (acks, touched)) in acks.iter().zip(&round.touched).enumerate() {
            let usual_ns = usual_ns(acks, round);
            let cost = |from_ns, to_ns| {
                let (gap_ns, open) = longest(acks, from_ns, to_ns);
                (gap_ns.saturating_sub(usual_ns) / 1_000, open)
            };
            let (unavailable_us, open) = cost(round.fault_ns, round.until_ns);
            gaps.never += u64::from(open);
            let of = if *touched { &mut of_round } else { &mut gaps.others };
            of.saturating_record(unavailable_us);
            if *touched && is_direct(key) {
                gaps.direct.saturating_record(unavailable_us);
            }
            // Only gaps that were over by then: the next one is the fault's own.
            let calm = acks.partition_point(|ack| ack.ended_ns < round.fault_ns);
            let (calm_ns, _) = longest(
                &acks[..calm],
                round.calm_ns,
                acks[..calm].last().map_or(0, |ack| ack.ended_ns),
            );
            gaps.calm.saturating_record(calm_ns.saturating_sub(usual_ns) / 1_000);
            gaps.back.saturating_record(cost(round.until_ns, round.whole_ns).0);
        }
        gaps.touched.add(&of_round).expect("histograms of one shape");
        gaps.by_round.push(of_round);
    }
    gaps
}

/// The median of the key's ack latencies in the calm before a fault; nothing is taken off where it had none.
fn usual_ns(acks: &[Ack], round: &Round) -> u64 {
    let begin = acks.partition_point(|ack| ack.ended_ns < round.calm_ns);
    let end = acks.partition_point(|ack| ack.ended_ns < round.fault_ns);
    let mut took: Vec<u64> = acks[begin..end].iter().map(|ack| ack.ended_ns - ack.sent_ns).collect();
    took.sort_unstable();
    took.get(took.len() / 2).copied().unwrap_or(0)
}

/// The longest gap between two acks of which some part lies between two instants, and whether it was still open at the later one and has no
/// end at all.
fn longest(acks: &[Ack], from_ns: u64, to_ns: u64) -> (u64, bool) {
    let mut at = acks.partition_point(|ack| ack.ended_ns <= from_ns);
    let mut before_ns = at.checked_sub(1).map_or(from_ns, |before| acks[before].ended_ns);
    let mut longest_ns = 0;
    while before_ns < to_ns {
        let Some(ack) = acks.get(at) else {
            return (longest_ns.max(to_ns - before_ns), true);
        };
        longest_ns = longest_ns.max(ack.ended_ns - before_ns);
        before_ns = ack.ended_ns;
        at += 1;
    }
    (longest_ns, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Acks that took 10 ms each, at these instants in ms.
    fn at(instants: &[u64]) -> Vec<Ack> {
        let ack = |ms: &u64| Ack {
            sent_ns: (ms - 10) * MS,
            ended_ns: ms * MS,
        };
        instants.iter().map(ack).collect()
    }

    fn round(touched: &[bool]) -> Round {
        Round {
            victims: vec!["FL-A-1".to_owned()],
            wall_ms: 0,
            calm_ns: 0,
            fault_ns: 45 * MS,
            until_ns: 500 * MS,
            whole_ns: 800 * MS,
            touched: touched.to_vec(),
        }
    }

    #[test]
    fn unavailability_is_the_gap_over_the_fault_less_the_usual_latency() {
        let acks = [
            at(&[10, 20, 30, 40, 290, 300, 520, 810]),
            at(&[10, 20, 30, 40, 50, 60, 510, 805]),
        ];
        let gaps = gaps(&acks, &[round(&[true, false])], |key| key == 1);
        let near = |histogram: &Histogram<u64>, ms: u64| histogram.max().abs_diff(ms * 1_000) < ms;
        assert!(near(&gaps.touched, 240), "{}", gaps.touched.max());
        assert!(near(&gaps.others, 440), "{}", gaps.others.max());
        assert_eq!((gaps.touched.len(), gaps.others.len(), gaps.never), (1, 1, 0));
        assert!(gaps.direct.is_empty(), "the key that was hit is sent through mailrooms");
        assert!(gaps.calm.max() < 10_000, "the calm has no gap: {}", gaps.calm.max());
    }

    #[test]
    fn the_slowest_reads_are_those_of_two_stretches_of_one_length() {
        let read = |key, sent_ms: u64, ended_ms: u64, end| Row {
            serial: key,
            sent_ns: sent_ms * MS,
            ended_ns: ended_ms * MS,
            end,
        };
        let lane = Lane {
            reads: vec![
                read(0, 10, 12, End::Acked),
                read(0, 20, 25, End::Acked),
                // Under way when the fault came.
                read(0, 40, 60, End::Acked),
                read(1, 10, 20, End::Acked),
                read(1, 50, 58, End::Acked),
                // Longer after the fault than the calm before it was.
                read(1, 95, 195, End::Acked),
                read(2, 50, 400, End::Acked),
                read(1, 90, 95, End::Failed),
            ],
            ..Lane::default()
        };
        let mut gaps = gaps(&[Vec::new(), Vec::new(), Vec::new()], &[], |_| false);
        gaps.add_reads(&[lane], 3, &[round(&[true, true, false])]);
        let ms = |us: u64| (us + 500) / 1_000;
        let range = |of: &Histogram<u64>| (of.len(), ms(of.min()), ms(of.max()));
        assert_eq!(range(&gaps.reads.fault), (2, 8, 20));
        assert_eq!(range(&gaps.reads.calm), (2, 5, 10));
        assert_eq!(
            range(&gaps.reads_others.fault),
            (1, 350, 350),
            "nobody hit the third key"
        );
        assert_eq!((gaps.reads_others.calm.max(), gaps.reads_failed), (0, 1));
    }

    #[test]
    fn reads_are_looked_at_to_the_end_of_the_window_where_the_calm_was_long_enough() {
        let round = Round {
            until_ns: 60 * MS,
            ..round(&[true])
        };
        assert_eq!(round.reads_ns(), 15 * MS);
    }

    #[test]
    fn a_gap_that_began_in_the_window_counts_to_its_end_beyond_it() {
        assert_eq!(longest(&at(&[10, 400, 900]), 45 * MS, 500 * MS), (500 * MS, false));
    }

    #[test]
    fn a_key_that_is_never_acked_again_is_unavailable_to_the_end_of_the_window() {
        let acks = [at(&[10, 20, 30, 40])];
        let gaps = gaps(&acks, &[round(&[true])], |_| true);
        assert_eq!(gaps.never, 1);
        assert!(gaps.touched.max() >= 449_000, "{}", gaps.touched.max());
    }

    #[test]
    fn a_key_without_any_ack_is_unavailable_for_all_of_the_window() {
        assert_eq!(longest(&[], 45 * MS, 500 * MS), (455 * MS, true));
    }
}
