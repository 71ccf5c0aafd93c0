//! How long acks took: counts by log-spaced buckets, and quantiles.
//!
//! Forty buckets per decade, from 10 us to 10 s: neighbours differ by 6 %, finer than any screen can show. Quantiles are not read off the
//! buckets: they come from the recorded values themselves, as fine as whoever recorded them was. It deliberately does not record: the demo
//! has its own histograms, and hands over what they hold.
//!
//! **Invariant:** the buckets of a [`Latencies`] add up to its count.

use std::sync::LazyLock;

/// Buckets per decade.
pub(crate) const BUCKETS_PER_DECADE: usize = 40;
/// Where the first bucket begins, in microseconds. Anything shorter is counted in it.
pub(crate) const SPECTRUM_FROM_US: f64 = 10.0;
/// Buckets in all: six decades, to 10 s. Anything longer is counted in the last.
pub(crate) const BUCKETS: usize = 6 * BUCKETS_PER_DECADE;

/// Quantiles of some acks, in microseconds; all 0 when there were none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quantiles {
    /// How many acks.
    pub(crate) count: u64,
    /// Half of them took at most this long.
    pub(crate) p50_us: u64,
    /// 99 of 100.
    pub(crate) p99_us: u64,
    /// 999 of 1000.
    pub(crate) p999_us: u64,
    /// All of them.
    pub(crate) max_us: u64,
}

/// How long some acks took.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    quantiles: Quantiles,
    counts: Box<[u64; BUCKETS]>,
}

impl Default for Latencies {
    fn default() -> Latencies {
        Latencies {
            quantiles: Quantiles::default(),
            counts: Box::new([0; BUCKETS]),
        }
    }
}

impl Latencies {
    /// From values in microseconds and how often each was seen, ascending by value, as a histogram tells what it recorded.
    ///
    /// Of values out of order the quantiles are wrong, nothing else.
    #[must_use]
    pub(crate) fn of(recorded: impl Iterator<Item = (u64, u64)> + Clone) -> Latencies {
        let mut latencies = Latencies::default();
        let count = recorded
            .clone()
            .fold(0_u64, |sum, (_, count)| sum.saturating_add(count));
        latencies.quantiles.count = count;
        // The rank of a quantile: how many values are at or below it.
        let rank = |per_mille: u64| {
            u64::try_from((u128::from(count) * u128::from(per_mille)).div_ceil(1_000)).unwrap_or(count)
        };
        let ranks = [rank(500), rank(990), rank(999), count];
        let mut found = [0; 4];
        let mut below: u64 = 0;
        for (us, times) in recorded {
            if times == 0 {
                continue;
            }
            let reached = below.saturating_add(times);
            for (rank, value) in ranks.iter().zip(&mut found) {
                if (below < *rank) && (*rank <= reached) {
                    *value = us;
                }
            }
            below = reached;
            let bucket = &mut latencies.counts[bucket_of(us)];
            *bucket = bucket.saturating_add(times);
        }
        let quantiles = &mut latencies.quantiles;
        [quantiles.p50_us, quantiles.p99_us, quantiles.p999_us, quantiles.max_us] = found;
        latencies
    }

    /// Quantiles.
    #[must_use]
    pub(crate) fn quantiles(&self) -> Quantiles {
        self.quantiles
    }

    /// Acks in each bucket.
    #[must_use]
    pub(crate) fn counts(&self) -> &[u64; BUCKETS] {
        &self.counts
    }

    /// The first and the last bucket with an ack in it; `None` if there was none.
    #[must_use]
    pub(crate) fn extent(&self) -> Option<(usize, usize)> {
        let first = self.counts.iter().position(|count| *count > 0)?;
        let last = self.counts.iter().rposition(|count| *count > 0)?;
        Some((first, last))
    }
}

/// The bucket of a value: the last one that begins at or below it.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a guess, clamped, and corrected below"
)]
pub(crate) fn bucket_of(us: u64) -> usize {
    let decades = (us.max(1) as f64 / SPECTRUM_FROM_US).log10();
    let mut bucket = ((decades * BUCKETS_PER_DECADE as f64).max(0.0) as usize).min(BUCKETS - 1);
    while bucket > 0 && bucket_from_us(bucket) > us {
        bucket -= 1;
    }
    while bucket + 1 < BUCKETS && bucket_from_us(bucket + 1) <= us {
        bucket += 1;
    }
    bucket
}

/// Where a bucket begins, in microseconds, rounded up to a whole one.
///
/// # Panics
///
/// If there is no such bucket.
#[must_use]
pub(crate) fn bucket_from_us(bucket: usize) -> u64 {
    // Asked for with every value that is counted.
    static EDGES: LazyLock<[u64; BUCKETS]> = LazyLock::new(|| std::array::from_fn(edge_us));
    EDGES[bucket]
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between ten and ten million"
)]
fn edge_us(bucket: usize) -> u64 {
    // A thousandth of a microsecond less, so that powers of ten begin their bucket whatever the last digit of `powf` is.
    (SPECTRUM_FROM_US * 10.0_f64.powf(bucket as f64 / BUCKETS_PER_DECADE as f64) - 0.001).ceil() as u64
}

/// Acks of the last seconds, and of the whole run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sides {
    /// Of the last seconds.
    pub(crate) recent: Latencies,
    /// Of the whole run.
    pub(crate) whole: Latencies,
}

/// How long acks took, by where their messages entered.
///
/// A message that enters in another data centre than its writer's pays one more round trip, from entry to writer; together they would be one
/// broad hill that says nothing of either.
#[derive(Clone, Debug, Default)]
pub(crate) struct AckLatency {
    /// How many seconds `recent` covers.
    pub(crate) recent_s: u64,
    /// Messages that entered in the data centre of their group's writer.
    pub(crate) writers_dc: Sides,
    /// All others.
    pub(crate) other_dc: Sides,
    /// Both together. Quantiles cannot be added up, so they are handed over as well.
    pub(crate) all: Sides,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_first_value_and_not_the_next_ones() {
        for bucket in 0..BUCKETS {
            let from = bucket_from_us(bucket);
            assert_eq!(
                bucket_of(from),
                (bucket..BUCKETS)
                    .take_while(|later| bucket_from_us(*later) == from)
                    .last()
                    .unwrap()
            );
        }
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn decades_begin_at_powers_of_ten() {
        for (decade, us) in [10, 100, 1_000, 10_000, 100_000, 1_000_000].into_iter().enumerate() {
            assert_eq!(bucket_from_us(decade * BUCKETS_PER_DECADE), us);
            assert_eq!(bucket_of(us), decade * BUCKETS_PER_DECADE);
        }
    }

    #[test]
    fn quantiles_are_recorded_values() {
        let latencies = Latencies::of((1..=1_000).map(|us| (us, 1)));
        let expected = Quantiles {
            count: 1_000,
            p50_us: 500,
            p99_us: 990,
            p999_us: 999,
            max_us: 1_000,
        };
        assert_eq!(latencies.quantiles(), expected);
    }

    #[test]
    fn one_value_is_every_quantile() {
        let latencies = Latencies::of([(18_000, 7), (99_000, 0)].into_iter());
        let expected = Quantiles {
            count: 7,
            p50_us: 18_000,
            p99_us: 18_000,
            p999_us: 18_000,
            max_us: 18_000,
        };
        assert_eq!(latencies.quantiles(), expected);
        assert_eq!(latencies.extent(), Some((bucket_of(18_000), bucket_of(18_000))));
    }

    #[test]
    fn buckets_add_up_to_the_count() {
        let latencies = Latencies::of(
            (0..70)
                .map(|power| (1_u64 << (power % 40), power))
                .collect::<Vec<_>>()
                .into_iter(),
        );
        assert_eq!(latencies.counts().iter().sum::<u64>(), latencies.quantiles().count);
    }

    #[test]
    fn no_acks_have_no_extent() {
        assert_eq!(Latencies::of(std::iter::empty()).extent(), None);
        assert_eq!(Latencies::of(std::iter::empty()).quantiles(), Quantiles::default());
    }

    #[test]
    fn counts_at_their_largest_do_no_harm() {
        let latencies = Latencies::of([(1, u64::MAX), (2, u64::MAX)].into_iter());
        assert_eq!(latencies.quantiles().count, u64::MAX);
        assert_eq!(latencies.quantiles().p50_us, 1);
    }
}
