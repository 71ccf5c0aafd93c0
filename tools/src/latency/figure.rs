//! Durations, counted and told by percentiles. Nothing here knows what took so long.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::demo_screen::figures;

/// Longest duration that is told apart from longer ones.
const MOST: u64 = 60_000_000_000;

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) until: Instant,
    pub(crate) samples_max: u64,
}

impl Bound {
    pub(crate) fn by_time(time: Duration) -> Bound {
        Bound {
            until: Instant::now() + time,
            samples_max: u64::MAX,
        }
    }

    pub(crate) fn is_reached(&self, now: Instant, figure: &Figure) -> bool {
        now >= self.until || figure.count() >= self.samples_max
    }
}

/// Durations in ns, three digits of each, every one counted.
#[derive(Clone, Debug)]
pub(crate) struct Figure(Histogram<u64>);

impl Figure {
    pub(crate) fn new() -> Figure {
        Figure(Histogram::new_with_bounds(1, MOST, 3).expect("the bounds are in order and three digits fit"))
    }

    pub(crate) fn record(&mut self, took: Duration) {
        self.0
            .saturating_record(u64::try_from(took.as_nanos()).unwrap_or(MOST).max(1));
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// How many took at least so long.
    pub(crate) fn at_least(&self, least: Duration) -> u64 {
        let least = u64::try_from(least.as_nanos()).unwrap_or(MOST).clamp(1, MOST);
        self.0.count_between(least, self.0.high())
    }

    /// Without a sample there are no percentiles.
    pub(crate) fn to_json(&self) -> Value {
        if self.count() == 0 {
            return json!({ "count": 0, "p50": null, "p99": null, "p999": null, "max": null });
        }
        json!({
            "count": self.count(), "p50": self.quantile(0.5), "p99": self.quantile(0.99),
            "p999": self.quantile(0.999), "max": self.0.max(),
        })
    }

    /// `p50`, `p99`, `p99.9` and the longest, for a row of a table.
    pub(crate) fn cells(&self) -> [String; 4] {
        let all = [
            self.quantile(0.5),
            self.quantile(0.99),
            self.quantile(0.999),
            self.0.max(),
        ];
        all.map(|ns| if self.count() == 0 { "-".to_owned() } else { shown(ns) })
    }

    pub(crate) fn median_shown(&self) -> String {
        let [median, ..] = self.cells();
        median
    }

    fn quantile(&self, quantile: f64) -> u64 {
        self.0.value_at_quantile(quantile)
    }

    /// How many took up to so many ns and longer than the row before, by powers of two, without rows of none at either end.
    pub(crate) fn histogram(&self) -> Vec<(u64, u64)> {
        let mut rows = Vec::new();
        let mut from = 1;
        while from <= self.0.max() && self.count() > 0 {
            let to = from * 2;
            rows.push((to - 1, self.0.count_between(from, to - 1)));
            from = to;
        }
        let first = rows.iter().position(|row| row.1 > 0).unwrap_or(rows.len());
        rows.split_off(first)
    }
}

/// A duration in ns with its unit: `85 ns`, `12.3 us`, `1.25 ms`.
pub(crate) fn shown(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..99_950 => format!("{}.{} us", (ns + 50) / 1_000, (ns + 50) % 1_000 / 100),
        _ => figures::latency(ns.saturating_add(500) / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(all: impl IntoIterator<Item = u64>) -> Figure {
        let mut figure = Figure::new();
        all.into_iter().for_each(|ns| figure.record(Duration::from_nanos(ns)));
        figure
    }

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let told = figure(1..=1_000).to_json();
        assert_eq!(
            told,
            json!({ "count": 1_000, "p50": 500, "p99": 990, "p999": 999, "max": 1_000 })
        );
        assert_eq!(figure([]).to_json()["max"], Value::Null, "nothing is no figure");
        assert_eq!(figure([]).cells(), ["-"; 4]);
        assert_eq!(
            figure([u64::MAX]).count(),
            1,
            "what is too long is counted all the same"
        );
    }

    #[test]
    fn rows_of_a_histogram_hold_every_duration_once() {
        let figure = figure([3, 4, 5, 7, 8, 100]);
        let rows = figure.histogram();
        assert_eq!(rows, [(3, 1), (7, 3), (15, 1), (31, 0), (63, 0), (127, 1)]);
        assert_eq!(figure.at_least(Duration::from_nanos(8)), 2);
        assert!(Figure::new().histogram().is_empty());
    }

    #[test]
    fn durations_are_shown_with_three_digits_and_their_unit() {
        let table = [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.0 us"),
            (12_345, "12.3 us"),
            (99_949, "99.9 us"),
            (99_950, "100 us"),
            (1_250_000, "1.25 ms"),
            (u64::MAX, "18446744073 s"),
        ];
        for (ns, text) in table {
            assert_eq!(shown(ns), text);
        }
    }
}
