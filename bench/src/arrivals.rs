//! When messages of an open loop arrive: instants that are planned before the first one is sent.
//!
//! What becomes of a message changes nothing of it: that is what makes a loop open. No clock here. **Invariant:** instants never fall, and the
//! same arrivals, rate and seed give the same ones.

mod trace;

use std::time::Duration;

pub use self::trace::{LineFlaw, Trace, TraceError};
use crate::share::Share;
use crate::workload::mix;

/// Messages of one burst where nothing else is said.
pub const BURST: u64 = 100;
/// Instants that are kept one by one at most, 8 bytes each.
pub const LISTED_MAX: u64 = 50_000_000;

/// How arrivals lie in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// Evenly.
    Constant,
    /// As if nobody knew of another: the time between two is exponentially distributed.
    Poisson,
    /// So many at one instant, and these instants evenly.
    Bursts(u64),
    /// When a trace says.
    Trace(Trace),
}

/// The instants of one run, in ns from its beginning.
#[derive(Clone, Debug, PartialEq)]
pub enum Instants {
    /// So many messages at each instant, and these evenly.
    Even {
        /// Messages a second.
        rate: f64,
        /// Messages of an instant.
        at_once: u64,
        /// Which of them.
        share: Share,
    },
    /// One after the other.
    Listed(Vec<u64>),
}

impl Arrivals {
    /// The instants of a run of so long. A trace has its own rate.
    #[must_use]
    pub fn plan(&self, rate: f64, time: Duration, seed: u64) -> Instants {
        match self {
            Arrivals::Constant => Instants::constant(rate),
            Arrivals::Bursts(at_once) => Instants::Even {
                rate,
                at_once: *at_once,
                share: Share::WHOLE,
            },
            Arrivals::Poisson => Instants::Listed(poisson(rate, time, seed)),
            Arrivals::Trace(trace) => Instants::Listed(trace.offsets().to_vec()),
        }
    }

    /// As results name them: equal names are equal arrivals, but for the seed.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Arrivals::Constant => "constant".to_owned(),
            Arrivals::Poisson => "poisson".to_owned(),
            Arrivals::Bursts(at_once) => format!("bursts={at_once}"),
            Arrivals::Trace(trace) => format!("trace of {} messages, {:016x}", trace.offsets().len(), trace.hash()),
        }
    }
}

impl Instants {
    /// One message at each instant, so many a second.
    #[must_use]
    pub const fn constant(rate: f64) -> Instants {
        Instants::Even {
            rate,
            at_once: 1,
            share: Share::WHOLE,
        }
    }

    /// When a message is planned; `u64::MAX` for one that is not.
    #[must_use]
    #[inline]
    pub fn at(&self, index: u64) -> u64 {
        match self {
            Instants::Even {
                rate,
                at_once: 1,
                share,
            } => instant_ns(share.number(index), *rate),
            Instants::Even { rate, at_once, share } => {
                let number = share.number(index);
                instant_ns(number - number % at_once, *rate)
            }
            Instants::Listed(listed) => {
                let at = usize::try_from(index).ok().and_then(|index| listed.get(index));
                at.copied().unwrap_or(u64::MAX)
            }
        }
    }

    /// Those of one generator's share.
    ///
    /// # Panics
    /// If these are a share already.
    #[must_use]
    pub fn shared(&self, share: Share) -> Instants {
        match self {
            Instants::Even { share: all, .. } if *all != Share::WHOLE => panic!("a share is not dealt out again"),
            Instants::Even { rate, at_once, .. } => Instants::Even {
                rate: *rate,
                at_once: *at_once,
                share,
            },
            Instants::Listed(listed) => {
                let count = share.below(listed.len() as u64);
                Instants::Listed((0..count).map(|own| self.at(share.number(own))).collect())
            }
        }
    }

    /// How many messages are planned within a time.
    #[must_use]
    pub fn count(&self, time: Duration) -> u64 {
        match self {
            Instants::Even { rate, at_once, share } => {
                let mut count = count_of(time, *rate);
                if *at_once > 1 {
                    count = count / at_once * at_once;
                    // Where the last burst is cut off, it was begun.
                    while Duration::from_nanos(instant_ns(count, *rate)) < time {
                        count += at_once;
                    }
                }
                share.below(count)
            }
            Instants::Listed(listed) => {
                let count = listed.partition_point(|at| Duration::from_nanos(*at) < time);
                count as u64
            }
        }
    }
}

/// Instants of a Poisson process, those that lie within a time.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "below 2^53 nanoseconds, and 53 bits of a word"
)]
fn poisson(rate: f64, time: Duration, seed: u64) -> Vec<u64> {
    let end_ns = time.as_secs_f64() * 1e9;
    let mean_ns = 1e9 / rate;
    let mut listed = Vec::new();
    let mut at_ns = 0.0;
    for index in 0_u64.. {
        // Above 0 and at most 1: its logarithm is a number.
        let part = ((mix(seed ^ mix(index)) >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
        at_ns -= part.ln() * mean_ns;
        if at_ns >= end_ns {
            break;
        }
        listed.push(at_ns as u64);
    }
    listed
}

/// When message `index` is planned, ns after the first.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "below 2^53 messages and nanoseconds"
)]
pub(crate) fn instant_ns(index: u64, rate: f64) -> u64 {
    (index as f64 * 1e9 / rate) as u64
}

/// Messages that are planned within a time.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "below 2^53 messages"
)]
pub(crate) fn count_of(time: Duration, rate: f64) -> u64 {
    (time.as_secs_f64() * rate) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Messages in each so many ns.
    fn counts(instants: &Instants, every_ns: u64, time: Duration) -> Vec<u64> {
        let windows = u64::try_from(time.as_nanos()).unwrap() / every_ns;
        let mut counts = vec![0; usize::try_from(windows).unwrap()];
        for index in 0..instants.count(time) {
            counts[usize::try_from(instants.at(index) / every_ns).unwrap()] += 1;
        }
        counts
    }

    /// Mean and variance.
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    fn moments(counts: &[u64]) -> (f64, f64) {
        let count = counts.len() as f64;
        let mean = counts.iter().sum::<u64>() as f64 / count;
        let square = |value: &u64| (*value as f64 - mean).powi(2);
        (mean, counts.iter().map(square).sum::<f64>() / count)
    }

    #[test]
    fn poisson_arrivals_have_their_rate_and_vary_as_much_as_they_are() {
        for seed in 0..5 {
            let instants = Arrivals::Poisson.plan(50_000.0, 4 * SECOND, seed);
            // In each ms 50 on average, and a variance of 50.
            let (mean, variance) = moments(&counts(&instants, 1_000_000, 4 * SECOND));
            assert!((mean - 50.0).abs() < 0.5, "{seed}: {mean}");
            assert!((variance / 50.0 - 1.0).abs() < 0.1, "{seed}: {variance}");
            let gaps: Vec<u64> = (1..instants.count(4 * SECOND))
                .map(|index| instants.at(index) - instants.at(index - 1))
                .collect();
            let (mean, variance) = moments(&gaps);
            assert!((mean / 20_000.0 - 1.0).abs() < 0.02, "{seed}: {mean}");
            assert!((variance.sqrt() / mean - 1.0).abs() < 0.03, "{seed}: {variance}");
        }
    }

    #[test]
    fn constant_arrivals_do_not_vary() {
        let instants = Arrivals::Constant.plan(50_000.0, SECOND, 1);
        assert_eq!(moments(&counts(&instants, 1_000_000, SECOND)), (50.0, 0.0));
        assert_eq!(
            (instants.at(0), instants.at(1), instants.at(50_000)),
            (0, 20_000, 1_000_000_000)
        );
    }

    #[test]
    fn bursts_come_at_once_and_have_their_rate_on_average() {
        let instants = Arrivals::Bursts(100).plan(5_000.0, SECOND, 1);
        let counts = counts(&instants, 10_000_000, SECOND);
        assert_eq!(counts.iter().filter(|count| **count == 100).count(), 50, "{counts:?}");
        assert_eq!(counts.iter().sum::<u64>(), 5_000);
        let ends = [0, 99, 100, 199, 200].map(|index| instants.at(index));
        assert_eq!(ends, [0, 0, 20_000_000, 20_000_000, 40_000_000]);
        // Whatever a burst's size, the last that was begun is whole.
        for (time_ms, at_once, count) in [
            (1_000, 1, 5_000),
            (10, 100, 100),
            (20, 100, 100),
            (21, 100, 200),
            (1_000, 3_000, 6_000),
        ] {
            let instants = Arrivals::Bursts(at_once).plan(5_000.0, SECOND, 1);
            assert_eq!(
                instants.count(Duration::from_millis(time_ms)),
                count,
                "{time_ms} {at_once}"
            );
        }
    }

    #[test]
    fn a_plan_follows_from_its_seed_and_never_falls() {
        let plan = |seed| Arrivals::Poisson.plan(10_000.0, SECOND, seed);
        assert_eq!(plan(3), plan(3));
        assert_ne!(plan(3), plan(4));
        let Instants::Listed(listed) = plan(3) else {
            panic!("they are listed")
        };
        assert!(listed.is_sorted() && listed.iter().all(|at| *at < 1_000_000_000));
        assert_eq!(plan(3).at(listed.len() as u64), u64::MAX);
    }

    #[test]
    fn names_tell_arrivals_apart() {
        let names = [Arrivals::Constant, Arrivals::Poisson, Arrivals::Bursts(7)].map(|arrivals| arrivals.name());
        assert_eq!(names, ["constant", "poisson", "bursts=7"]);
    }
}
