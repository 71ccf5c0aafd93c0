//! The figures of a kept result by name: those that the run itself named, and its times.
//!
//! **Invariant:** a name stands once in a result, so that what is compared under it is the same thing on both sides.

use super::kept::Kept;

/// Times of a result: where they lie in it, and how their figures are called.
const TIMES: [(&str, &str); 2] = [("ack_us", "response"), ("service_us", "service")];
/// Quantiles of a time: where they lie in it, and how they are called.
const QUANTILES: [(&str, &str); 5] = [
    ("p50", "p50"),
    ("p90", "p90"),
    ("p99", "p99"),
    ("p999", "p99.9"),
    ("max", "max"),
];

/// One figure of one run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) unit: String,
    pub(super) value: f64,
}

/// All that have a value, in the order of the run.
pub(super) fn of(kept: &Kept) -> Vec<Named> {
    let result = kept.result();
    let own = result["figures"].as_array().into_iter().flatten().filter_map(|figure| {
        Some(Named {
            name: figure["figure"].as_str()?.to_owned(),
            unit: figure["unit"].as_str()?.to_owned(),
            value: figure["result"].as_f64()?,
        })
    });
    let times = TIMES.into_iter().flat_map(|(field, name)| {
        QUANTILES.into_iter().filter_map(move |(key, quantile)| {
            Some(Named {
                name: format!("{name} {quantile}"),
                unit: "us".to_owned(),
                value: result[field][key].as_f64()?,
            })
        })
    });
    let mut found: Vec<Named> = Vec::new();
    for figure in own.chain(times) {
        if !found.iter().any(|other| other.name == figure.name) {
            found.push(figure);
        }
    }
    found
}

/// Whether a text means a figure: its name, in whatever letters, hyphens for blanks; `p99.9` alone is that of the response.
pub(super) fn is_meant(text: &str, name: &str) -> bool {
    let plain = |text: &str| text.trim().to_ascii_lowercase().replace('-', " ");
    let (text, name) = (plain(text), plain(name));
    text == name || name.strip_prefix("response ") == Some(text.as_str())
}

/// A value in a table: as many digits as tell something.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        _ if value.fract() == 0.0 => format!("{value:.0}"),
        100.0.. => format!("{value:.0}"),
        1.0..100.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::kept::tests::{kept, result};
    use super::*;

    #[test]
    fn figures_are_those_that_the_run_named_and_its_times_each_once() {
        let mut run = result(1_000.0, 2_000);
        let listed = run["figures"].as_array_mut().unwrap();
        listed.push(serde_json::json!({ "figure": "response p50", "result": 7.0, "unit": "us" }));
        listed.push(serde_json::json!({ "figure": "of nothing", "result": null, "unit": "us" }));
        let figures = of(&kept("a", &run));
        let names: Vec<&str> = figures.iter().map(|figure| figure.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "acked",
                "cpu of all replicas",
                "bytes on links",
                "response p50",
                "response p90",
                "response p99",
                "response p99.9",
                "response max",
                "service p50",
                "service p90",
                "service p99",
                "service p99.9",
                "service max"
            ]
        );
        assert_eq!((figures[3].value, figures[6].value), (7.0, 4_000.0));
    }

    #[test]
    fn a_figure_is_meant_by_its_name_and_a_percentile_alone_by_that_of_the_response() {
        let table = [
            ("p99.9", "response p99.9", true),
            ("p99", "response p99.9", false),
            ("p99", "service p99", false),
            ("service-p99", "service p99", true),
            ("CPU of all replicas", "cpu of all replicas", true),
            ("cpu-of-all-replicas", "cpu of all replicas", true),
            ("cpu", "cpu of all replicas", false),
        ];
        for (text, name, meant) in table {
            assert_eq!(is_meant(text, name), meant, "{text} {name}");
        }
    }

    #[test]
    fn a_number_has_as_many_digits_as_tell_something() {
        let table = [
            (0.0, "0"),
            (29.0, "29"),
            (0.000_14, "0.0001"),
            (5.234, "5.23"),
            (-12.5, "-12.50"),
            (1_058_521.4, "1058521"),
        ];
        for (value, shown) in table {
            assert_eq!(number(value), shown);
        }
    }
}
