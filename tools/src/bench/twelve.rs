//! `waterpark bench figures`: the twelve figures, each with what was to be reached, what was, and whether that is enough.
//!
//! **Invariant:** a figure that was asked for has a line, and is met only where every run of it was one that counts.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use waterpark::config::{Duration, MeasuringCode};
use waterpark_bench::Verdict;
use waterpark_bench::report::Target;
use waterpark_bench::twelve::{self, FIGURES, FiguresPlan, Line};

use super::compare::Spread;
use super::figures::number;
use super::{own_binary, usage};
use crate::errors;
use crate::failure::code;
use crate::node::Driver;
use crate::{show, signals};

/// A shorter stretch says nothing.
const TIME_MIN: Duration = Duration::from_us(200_000);

/// Which figures, and how often.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Numbers of figures; all where nothing is said
    #[arg(long, value_name = "N,N", value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=i64::from(FIGURES)))]
    only: Vec<u8>,
    /// How often each is measured, in turns, as far as 18 minutes allow
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    times: u32,
    /// How long messages are sent for one measurement
    #[arg(long = "for", value_name = "TIME", default_value = "8s")]
    time: Duration,
    /// Kernel interface for sockets
    #[arg(long, value_enum, default_value_t = Driver::Auto)]
    driver: Driver,
    /// Print a JSON list, one object for each part of a figure
    #[arg(long)]
    json: bool,
}

/// 0: all that was asked for is met. 1: something acked is not held, or nothing can be measured. 2: options that mean nothing. 10: something is
/// missed.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let plan = match plan(arguments) {
        Ok(plan) => plan,
        Err(code) => return code,
    };
    let lines = match signals::attended(|say, go_on| twelve::measure(&plan, say, go_on)) {
        Ok(lines) => lines,
        Err(code) => return code,
    };
    if arguments.json {
        println!("{}", lines.iter().map(object).collect::<Value>());
    } else {
        println!("{}", page(&lines));
    }
    end(&lines)
}

fn plan(arguments: &Arguments) -> Result<FiguresPlan, ExitCode> {
    if arguments.time.as_us() < TIME_MIN.as_us() {
        return usage(&format!("--for is at least {TIME_MIN}: less is no measurement"));
    }
    let all: Vec<u8> = (1..=FIGURES).collect();
    let only = if arguments.only.is_empty() {
        all
    } else {
        arguments.only.clone()
    };
    Ok(FiguresPlan {
        binary: own_binary()?,
        driver: arguments.driver.name().to_owned(),
        only,
        times: arguments.times,
        time: std::time::Duration::from_micros(arguments.time.as_us()),
    })
}

fn end(lines: &[Line]) -> ExitCode {
    if lines.iter().any(|line| line.failed) {
        if let Some(code) = errors::of_verdict(Verdict::Fail) {
            errors::say(code, &code.title);
        }
        return ExitCode::FAILURE;
    }
    let missed: Vec<&str> = (lines.iter().filter(|line| !is_met(line)))
        .map(|line| line.part.spec().name)
        .collect();
    if missed.is_empty() {
        return ExitCode::SUCCESS;
    }
    errors::say(MeasuringCode::FigureMissed.entry(), &missed.join("; "));
    ExitCode::from(code::REGRESSION)
}

/// The median of all runs; `None` if there was none.
fn result(line: &Line) -> Option<f64> {
    (!line.values.is_empty()).then(|| Spread::of(&line.values).median)
}

/// Whether the median reaches the target, and nothing speaks against a run.
fn is_met(line: &Line) -> bool {
    line.flaws.is_empty() && result(line).is_some_and(|result| line.part.spec().target.is_met_by(result))
}

fn verdict(line: &Line) -> &'static str {
    if is_met(line) { "met" } else { "missed" }
}

/// The least and the most of all runs.
fn range(line: &Line) -> Option<(f64, f64)> {
    let least = line.values.iter().copied().min_by(f64::total_cmp)?;
    let most = line.values.iter().copied().max_by(f64::total_cmp)?;
    Some((least, most))
}

/// For programs.
fn object(line: &Line) -> Value {
    let spec = line.part.spec();
    let range = range(line);
    json!({
        "schema": "waterpark.bench_figures.1",
        "figure": spec.figure,
        "name": spec.name,
        "target": spec.target.value(),
        "bound": spec.target.bound(),
        "result": result(line),
        "least": range.map(|(least, _)| least),
        "most": range.map(|(_, most)| most),
        "runs": line.values,
        "unit": spec.unit,
        "verdict": verdict(line),
        "why": line.flaws,
    })
}

/// For people.
fn page(lines: &[Line]) -> String {
    let heads = ["#", "figure", "unit", "target", "result", "range", "runs", "verdict"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let mut why = String::new();
    for line in lines {
        let spec = line.part.spec();
        let target = match spec.target {
            Target::AtLeast(target) => format!(">= {}", number(target)),
            Target::AtMost(target) => format!("<= {}", number(target)),
        };
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let range = range(line).map(|(least, most)| format!("{} to {}", number(least), number(most)));
        rows.push(vec![
            spec.figure.to_string(),
            spec.name.to_owned(),
            spec.unit.to_owned(),
            target,
            or_none(result(line).map(number)),
            or_none(range),
            line.values.len().to_string(),
            verdict(line).to_owned(),
        ]);
        for flaw in &line.flaws {
            why += &format!("\n{}, {}: {flaw}", spec.figure, spec.name);
        }
    }
    show::table(&rows) + &why
}

#[cfg(test)]
mod tests {
    use waterpark_bench::twelve::Part;

    use super::*;

    fn line(part: Part, values: &[f64]) -> Line {
        Line {
            part,
            values: values.to_vec(),
            flaws: Vec::new(),
            failed: false,
        }
    }

    #[test]
    fn the_median_is_judged_and_the_range_goes_from_the_least_to_the_most() {
        let table = [
            (Part::Rate, vec![0.9e6, 1.1e6, 1.0e6], 1.0e6, "met"),
            (Part::Rate, vec![0.9e6, 1.1e6, 0.99e6], 0.99e6, "missed"),
            (Part::P99, vec![1_100.0, 9_000.0, 1_200.0], 1_200.0, "met"),
            (Part::P99, vec![1_100.0, 1_400.0], 1_250.0, "missed"),
            (Part::Movement, vec![1.05], 1.05, "met"),
        ];
        for (part, values, median, verdict) in table {
            let object = object(&line(part, &values));
            assert_eq!(object["result"], median, "{object}");
            assert_eq!(object["verdict"], verdict, "{object}");
            let (least, most) = (&object["least"], &object["most"]);
            assert!(
                values
                    .iter()
                    .all(|value| least.as_f64() <= Some(*value) && most.as_f64() >= Some(*value))
            );
            assert!(values.iter().any(|value| least == value) && values.iter().any(|value| most == value));
        }
    }

    #[test]
    fn what_is_invalid_or_was_not_measured_is_missed_and_says_why() {
        let invalid = Line {
            flaws: vec!["INVALID: late".to_owned()],
            ..line(Part::Rate, &[2e6])
        };
        let none = Line {
            flaws: vec!["no measurement: no memory".to_owned()],
            ..line(Part::P50, &[])
        };
        for line in [&invalid, &none] {
            let object = object(line);
            assert_eq!(
                (&object["verdict"], &object["why"][0]),
                (&json!("missed"), &json!(line.flaws[0]))
            );
        }
        assert_eq!(
            (&object(&none)["result"], &object(&none)["least"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(object(&invalid)["result"], 2e6);
        let page = page(&[invalid, none, line(Part::Lookup, &[1.25])]);
        assert!(
            page.contains("\n1, acked, closed loop, generator included: INVALID: late\n"),
            "{page}"
        );
        let last = page.lines().nth(3).unwrap();
        let words: Vec<&str> = last
            .split("  ")
            .map(str::trim)
            .filter(|word| !word.is_empty())
            .collect();
        assert_eq!(
            words,
            [
                "12",
                "lookup of all five members",
                "ns",
                "<= 5",
                "1.25",
                "1.25 to 1.25",
                "1",
                "met"
            ]
        );
    }
}
