//! How many requests may wait for their commit: as many as a shard commits in the time that one may wait.
//!
//! A request that is refused at once can be sent elsewhere, or later; one that stands at the end of a queue that the shard cannot work off is
//! late in any case, and everybody behind it. So what may wait is the rate of the last second, times twice the longest way to a peer and
//! what a queue may add to that (Little 1961; BBR bounds what is under way on a path alike, Cardwell et al. 2016). A rate that the bound
//! itself holds down lets the bound grow, since it allows for more than a way takes.
//!
//! It knows no request and no link. **Invariant:** the bound is at most what the limits say, and at least [`BURST`] where they allow that
//! much: what a shard did before says nothing about what comes at once.

use crate::config::Limits;
use crate::time::MS;

/// Requests that may wait however little was committed lately: sixteen lanes' windows.
const BURST: usize = 4_096;
/// A request may wait so long in queues, beside what its ways take, in ns.
const QUEUE_NS: u64 = 20 * MS;
/// A rate is that of such a stretch at least, in ns.
const STRETCH_NS: u64 = 100 * MS;
/// And it counts for so many stretches.
const STRETCHES: usize = 10;

/// The bound of one shard.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Requests that may wait for their commit in the shard, and in one of its groups: one group alone leaves room for the others.
    pub(crate) per_shard: usize,
    pub(crate) per_group: usize,
    /// Answers that had been given when the stretch began, and when that was, monotonic ns.
    answered: u64,
    since_ns: u64,
    /// Answers per second of the last stretches, the oldest of which is the next to go.
    rates: [u64; STRETCHES],
    next: usize,
}

impl Admission {
    pub(crate) fn new(limits: &Limits) -> Admission {
        Admission {
            per_shard: limits.waiting_per_shard_max.min(BURST),
            per_group: limits.waiting_per_group_max.min(BURST / 2),
            answered: 0,
            since_ns: 0,
            rates: [0; STRETCHES],
            next: 0,
        }
    }

    /// Whether a stretch is over: until then time brings nothing.
    pub(crate) fn is_due(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.since_ns) >= STRETCH_NS
    }

    /// Time has passed: so many answers were given since the start of the process, and the longest way to a peer and back takes `way_ns`.
    pub(crate) fn on_tick(&mut self, now_ns: u64, answered: u64, way_ns: u64, limits: &Limits) {
        if !self.is_due(now_ns) {
            return;
        }
        let took_ns = now_ns.saturating_sub(self.since_ns);
        let per_s = |count: u64| u64::try_from(u128::from(count) * 1_000 * u128::from(MS) / u128::from(took_ns));
        self.rates[self.next] = per_s(answered - self.answered).unwrap_or(u64::MAX);
        self.next = (self.next + 1) % STRETCHES;
        (self.answered, self.since_ns) = (answered, now_ns);
        let rate = self.rates.iter().copied().max().unwrap_or(0);
        let may_wait_ms = (way_ns.saturating_mul(2) + QUEUE_NS) / MS;
        let bound = usize::try_from(rate.saturating_mul(may_wait_ms) / 1_000).unwrap_or(usize::MAX);
        let bound = bound.max(BURST);
        self.per_shard = limits.waiting_per_shard_max.min(bound);
        self.per_group = limits.waiting_per_group_max.min(bound / 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shard that answers so many a second, for a while; what may wait in it then.
    fn after(admission: &mut Admission, from_ms: u64, for_ms: u64, per_s: u64, way_ms: u64) -> usize {
        let before = admission.answered;
        for ms in (10..=for_ms).step_by(10) {
            let answered = before + per_s * ms / 1_000;
            admission.on_tick((from_ms + ms) * MS, answered, way_ms * MS, &Limits::default());
        }
        admission.per_shard
    }

    #[test]
    fn what_may_wait_follows_what_is_committed_and_how_far_peers_are() {
        for (per_s, way_ms, bound) in [
            (0, 40, BURST),
            (50_000, 0, BURST),
            (300_000, 0, 6_000),
            (300_000, 10, 12_000),
            (100_000, 40, 10_000),
            (300_000, 80, 32_768),
            (u64::MAX / 10_000, 10_000, 32_768),
        ] {
            let mut admission = Admission::new(&Limits::default());
            assert_eq!(
                after(&mut admission, 0, 500, per_s, way_ms),
                bound,
                "{per_s}/s over {way_ms} ms"
            );
            assert_eq!(admission.per_group, bound / 2);
        }
    }

    #[test]
    fn a_rate_counts_for_a_second() {
        let mut admission = Admission::new(&Limits::default());
        assert_eq!(after(&mut admission, 0, 500, 500_000, 0), 10_000);
        assert_eq!(after(&mut admission, 500, 900, 0, 0), 10_000);
        assert_eq!(after(&mut admission, 1_400, 200, 0, 0), BURST);
    }

    #[test]
    fn a_bound_that_holds_the_rate_down_grows_until_it_does_not() {
        let (way_ms, capacity) = (100, 250_000);
        let mut admission = Admission::new(&Limits::default());
        let mut bounds = vec![admission.per_shard];
        for stretch in 0..10 {
            let by_bound = admission.per_shard as u64 * 1_000 / way_ms;
            bounds.push(after(
                &mut admission,
                stretch * 100,
                100,
                by_bound.min(capacity),
                way_ms,
            ));
        }
        assert!(bounds.is_sorted());
        assert!(bounds[4] as u64 * 1_000 / way_ms > capacity, "{bounds:?}");
    }

    #[test]
    fn what_the_limits_say_is_never_exceeded() {
        let limits = Limits {
            waiting_per_shard_max: 100,
            waiting_per_group_max: 50,
            ..Limits::default()
        };
        let mut admission = Admission::new(&limits);
        assert_eq!((admission.per_shard, admission.per_group), (100, 50));
        admission.on_tick(1_000 * MS, 1_000_000, 100 * MS, &limits);
        assert_eq!((admission.per_shard, admission.per_group), (100, 50));
    }
}
