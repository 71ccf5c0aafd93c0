//! `--fail-on p99.9:+5%`: how much worse a figure may become.
//!
//! The sign says which way is worse. **Invariant:** a gate fails by two facts together, never by one: the medians differ by more than it
//! allows, and the intervals of both sides lie apart, so that the repeats' own scatter does not explain it.

use std::fmt;
use std::str::FromStr;

use super::spread::Spread;

/// One gate.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Gate {
    /// The figure, as it was typed.
    pub(super) figure: String,
    /// Whether more of it is worse.
    more_is_worse: bool,
    /// By how much of the first side's median.
    percent: f64,
}

/// What a gate found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Not more than it allows.
    Passed,
    /// More than it allows by the medians, but the intervals overlap: passed, for want of repeats that tell.
    Unclear,
    /// More than it allows, beyond the intervals.
    Failed,
}

impl Found {
    pub(super) fn name(self) -> &'static str {
        match self {
            Found::Passed => "passed",
            Found::Unclear => "unclear",
            Found::Failed => "failed",
        }
    }
}

impl Gate {
    /// Looks at both sides.
    pub(super) fn judge(&self, a: &Spread, b: &Spread) -> Found {
        let allowed = a.median.abs() * self.percent / 100.0;
        let (beyond, apart) = if self.more_is_worse {
            (b.median - a.median > allowed, b.low > a.high)
        } else {
            (a.median - b.median > allowed, b.high < a.low)
        };
        match (beyond, apart) {
            (false, _) => Found::Passed,
            (true, false) => Found::Unclear,
            (true, true) => Found::Failed,
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.more_is_worse { '+' } else { '-' };
        write!(
            f,
            "{}:{sign}{}%",
            crate::show::text_or_escaped(&self.figure),
            self.percent
        )
    }
}

/// Why a text is no gate.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoGate;

impl fmt::Display for NoGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a gate is FIGURE:+N% where more is worse, or FIGURE:-N% where less is, for example p99.9:+5% or acked:-3%",
        )
    }
}

impl std::error::Error for NoGate {}

impl FromStr for Gate {
    type Err = NoGate;

    fn from_str(text: &str) -> Result<Gate, NoGate> {
        let (figure, limit) = text.rsplit_once(':').ok_or(NoGate)?;
        let more_is_worse = limit.starts_with('+');
        let digits = limit.strip_prefix(['+', '-']).and_then(|rest| rest.strip_suffix('%'));
        // `inf`, `nan`, `1e9` and a second sign are numbers to the parser.
        let digits = digits.filter(|digits| digits.chars().all(|c| c.is_ascii_digit() || c == '.'));
        let percent = digits.and_then(|digits| digits.parse().ok()).ok_or(NoGate)?;
        if figure.trim().is_empty() {
            return Err(NoGate);
        }
        Ok(Gate {
            figure: figure.to_owned(),
            more_is_worse,
            percent,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(gate: &str, a: &[f64], b: &[f64]) -> Found {
        gate.parse::<Gate>().unwrap().judge(&Spread::of(a), &Spread::of(b))
    }

    #[test]
    fn a_gate_is_a_figure_a_direction_and_a_share() {
        let gate: Gate = "p99.9:+5%".parse().unwrap();
        assert_eq!(
            (gate.figure.as_str(), gate.more_is_worse, gate.percent),
            ("p99.9", true, 5.0)
        );
        assert_eq!(
            "bytes on links:-0.5%".parse::<Gate>().unwrap().to_string(),
            "bytes on links:-0.5%"
        );
        for text in [
            "",
            "p99",
            "p99:5%",
            "p99:+5",
            "p99:+%",
            ":+5%",
            "p99:+-5%",
            "p99:+inf%",
            "p99:+nan%",
            "p99:+1e3%",
            "p99:+5 %",
        ] {
            assert_eq!(text.parse::<Gate>(), Err(NoGate), "{text}");
        }
    }

    #[test]
    fn a_gate_fails_by_the_medians_and_the_intervals_together() {
        let before = [100.0, 101.0, 99.0];
        // Worse by 10 %, and every run is worse than every run before.
        assert_eq!(found("x:+5%", &before, &[110.0, 112.0, 108.0]), Found::Failed);
        // Worse by 10 % by the medians, but one run was as quick as before.
        assert_eq!(found("x:+5%", &before, &[110.0, 112.0, 100.5]), Found::Unclear);
        // Surely worse, and by less than is allowed.
        assert_eq!(found("x:+5%", &before, &[103.0, 104.0, 103.5]), Found::Passed);
        // Better by far.
        assert_eq!(found("x:+5%", &before, &[50.0, 51.0, 52.0]), Found::Passed);
    }

    #[test]
    fn where_less_is_worse_the_gate_looks_the_other_way() {
        let before = [100.0, 101.0, 99.0];
        assert_eq!(found("acked:-5%", &before, &[90.0, 91.0, 89.0]), Found::Failed);
        assert_eq!(found("acked:-5%", &before, &[90.0, 91.0, 99.5]), Found::Unclear);
        assert_eq!(found("acked:-5%", &before, &[200.0, 201.0, 199.0]), Found::Passed);
        assert_eq!(found("acked:-0%", &before, &[98.0, 98.5, 97.0]), Found::Failed);
    }

    #[test]
    fn single_runs_and_nothing_are_compared_as_they_stand() {
        assert_eq!(
            found("x:+5%", &[100.0], &[105.0]),
            Found::Passed,
            "as much as is allowed"
        );
        assert_eq!(found("x:+5%", &[100.0], &[105.1]), Found::Failed);
        assert_eq!(found("allocations:+5%", &[0.0], &[0.0]), Found::Passed);
        assert_eq!(
            found("allocations:+5%", &[0.0], &[0.1]),
            Found::Failed,
            "of nothing any share is nothing"
        );
        assert_eq!(found("x:+5%", &[-100.0], &[-90.0]), Found::Failed);
    }
}
