//! `waterpark bench compare`: what changed between two sides of kept results, and gates.
//!
//! Each side is one run or repeats of it. **Invariant:** figures of different work are never set beside each other unless that is asked for,
//! and then it is said; a figure without repeats says so.

mod gate;
mod spread;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;
use serde_json::{Value, json};
use waterpark::config::MeasuringCode;

use super::error::ResultsError;
use super::figures::{self, Named, is_meant, number};
use super::kept::{Chosen, Kept};
use crate::errors;
use crate::failure::{Failure, code};
use crate::show;
use gate::{Found, Gate};
pub(super) use spread::Spread;

/// What to compare.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Results from before: a file, a folder of repeats, or several of both with commas between
    #[arg(value_name = "A")]
    a: Paths,
    /// Results from after, likewise
    #[arg(value_name = "B")]
    b: Paths,
    /// End with 10 if this figure is worse by more than so much, beyond the intervals: p99.9:+5%, acked:-3%; may be given again
    #[arg(long, value_name = "FIGURE:+N%")]
    fail_on: Vec<Gate>,
    /// Compare although the work differs, or a verdict is not OK
    #[arg(long)]
    anyway: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Files and folders.
#[derive(Clone, Debug)]
struct Paths(Vec<PathBuf>);

/// A name between commas is none.
#[derive(Debug)]
struct NoPath;

impl std::fmt::Display for NoPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("between commas stands the name of a file or folder")
    }
}

impl std::error::Error for NoPath {}

impl FromStr for Paths {
    type Err = NoPath;

    fn from_str(text: &str) -> Result<Paths, NoPath> {
        let paths: Vec<PathBuf> = text.split(',').map(PathBuf::from).collect();
        let all_named = paths.iter().all(|path| !path.as_os_str().is_empty());
        if all_named { Ok(Paths(paths)) } else { Err(NoPath) }
    }
}

/// 0: compared, and no gate failed. 10: a gate failed. 2: results or a figure that cannot be compared, or cannot be read.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let compared = compare(arguments).map_err(Failure::Results);
    let shown = compared.and_then(|compared| {
        let text = if arguments.json {
            compared.to_json().to_string()
        } else {
            compared.to_text()
        };
        show::print(&text).and_then(|()| show::flush()).map(|()| compared)
    });
    match shown {
        Ok(compared) => {
            let failed = compared.gates.iter().filter(|gate| gate.found == Found::Failed);
            let said: Vec<String> = failed.map(|gate| compared.said_of(gate)).collect();
            if said.is_empty() {
                return ExitCode::SUCCESS;
            }
            errors::say(MeasuringCode::GateFailed.entry(), &said.join("; "));
            ExitCode::from(code::REGRESSION)
        }
        Err(failure) => failure.end(arguments.json),
    }
}

/// A figure that every result of both sides has.
struct Row {
    name: String,
    unit: String,
    a: Spread,
    b: Spread,
}

impl Row {
    /// In percent of the first side's median; nothing of nothing is none.
    fn change(&self) -> Option<f64> {
        let change = (self.b.median - self.a.median) / self.a.median.abs() * 100.0;
        change.is_finite().then_some(change)
    }

    /// Whether one run stands on a side.
    fn is_single(&self) -> bool {
        self.a.is_single() || self.b.is_single()
    }
}

struct Judged {
    gate: Gate,
    /// The row that it is about.
    row: usize,
    found: Found,
}

/// What changed.
struct Compared {
    a: Chosen,
    b: Chosen,
    rows: Vec<Row>,
    /// Figures that not all results have.
    left_out: Vec<String>,
    /// What of the work differs; empty unless it was to be compared anyway.
    differences: Vec<String>,
    /// What else differs: what the runs ran on, and runs that ended early.
    notes: Vec<String>,
    gates: Vec<Judged>,
}

fn compare(arguments: &Arguments) -> Result<Compared, ResultsError> {
    let a = Chosen::read(&arguments.a.0)?;
    let b = Chosen::read(&arguments.b.0)?;
    let all: Vec<&Kept> = a.results.iter().chain(&b.results).collect();
    let differences = differences(&all);
    if !differences.is_empty() && !arguments.anyway {
        return Err(ResultsError::NotAlike { differences });
    }
    let (rows, left_out) = rows(&a.results, &b.results);
    let mut gates = Vec::new();
    for gate in &arguments.fail_on {
        let row = rows.iter().position(|row| is_meant(&gate.figure, &row.name));
        let Some(row) = row else {
            let names = rows.into_iter().map(|row| row.name).collect();
            let found = gate.figure.clone();
            return Err(ResultsError::NoFigure { found, names });
        };
        let found = gate.judge(&rows[row].a, &rows[row].b);
        gates.push(Judged {
            gate: gate.clone(),
            row,
            found,
        });
    }
    let notes = notes(&all);
    Ok(Compared {
        a,
        b,
        rows,
        left_out,
        differences,
        notes,
        gates,
    })
}

/// Figures of all results, and the names of those that only some have. In the order of the first.
fn rows(a: &[Kept], b: &[Kept]) -> (Vec<Row>, Vec<String>) {
    let figures = |side: &[Kept]| -> Vec<Vec<Named>> { side.iter().map(figures::of).collect() };
    let (a, b) = (figures(a), figures(b));
    let mut names: Vec<(&str, &str)> = Vec::new();
    for figure in a.iter().chain(&b).flatten() {
        if !names.iter().any(|(name, _)| *name == figure.name) {
            names.push((&figure.name, &figure.unit));
        }
    }
    let (mut rows, mut left_out) = (Vec::new(), Vec::new());
    for (name, unit) in names {
        let values = |side: &[Vec<Named>]| -> Option<Vec<f64>> {
            let of = |run: &Vec<Named>| {
                run.iter()
                    .find(|figure| figure.name == name && figure.unit == unit)
                    .map(|figure| figure.value)
            };
            side.iter().map(of).collect()
        };
        match values(&a).zip(values(&b)) {
            Some((a, b)) => rows.push(Row {
                name: name.to_owned(),
                unit: unit.to_owned(),
                a: Spread::of(&a),
                b: Spread::of(&b),
            }),
            None => left_out.push(show::text_or_escaped(name)),
        }
    }
    (rows, left_out)
}

/// What of the work is not the same in all results, each in a line: then their figures say nothing of one another.
fn differences(all: &[&Kept]) -> Vec<String> {
    let of_all = |of: &dyn Fn(&Kept) -> Value| -> Vec<Value> { all.iter().map(|kept| of(kept)).collect() };
    let mut found = Vec::new();
    let mut differing = |name: &str, values: Vec<Value>| {
        if values.iter().any(|value| *value != values[0]) {
            found.push(format!("{}: {}", show::text_or_escaped(name), distinct(&values)));
        }
    };
    differing("workload", of_all(&|kept| kept.result()["workload"].clone()));
    differing("driver in use", of_all(&|kept| kept.result()["driver"].clone()));
    differing("schema", of_all(&|kept| kept.result()["schema"].clone()));
    let settings = all.iter().filter_map(|kept| kept.result()["settings"].as_object());
    let names: BTreeSet<&String> = settings
        .flat_map(|settings| settings.keys())
        .filter(|name| *name != "workload")
        .collect();
    for name in names {
        differing(name, of_all(&|kept| kept.result()["settings"][name].clone()));
    }
    for kept in all.iter().filter(|kept| kept.verdict() != "OK") {
        found.push(format!(
            "verdict of {}: {}",
            kept.name(),
            show::text_or_escaped(kept.verdict())
        ));
    }
    found
}

/// Values in a line, each once.
fn distinct(values: &[Value]) -> String {
    let mut said: Vec<String> = Vec::new();
    for value in values {
        let text = match value {
            Value::Null => "nothing".to_owned(),
            Value::String(text) => show::text_or_escaped(text),
            other => show::text_or_escaped(&other.to_string()),
        };
        if !said.contains(&text) {
            said.push(text);
        }
    }
    said.join(" and ")
}

/// What a reader should know of results that may be compared.
fn notes(all: &[&Kept]) -> Vec<String> {
    let mut notes = Vec::new();
    let environments = all.iter().filter_map(|kept| kept.environment().as_object());
    let names: BTreeSet<&String> = environments
        .flat_map(|environment| environment.keys())
        .filter(|name| *name != "steal_ms")
        .collect();
    for name in names {
        let values: Vec<Value> = all.iter().map(|kept| kept.environment()[name].clone()).collect();
        if values.iter().any(|value| *value != values[0]) {
            notes.push(format!(
                "they ran on different things: {} is {}",
                show::text_or_escaped(name),
                distinct(&values)
            ));
        }
    }
    for kept in all {
        let result = kept.result();
        if result["complete"] == false {
            notes.push(format!(
                "{} is not complete: not all that was to be done was done",
                kept.name()
            ));
        }
        let (took, planned) = (result["seconds"].as_f64(), result["settings"]["for_s"].as_f64());
        let is_short = took.zip(planned).is_some_and(|(took, planned)| took < planned * 0.95);
        if is_short || result["shortened"] == true {
            let took = took.unwrap_or_default();
            notes.push(format!(
                "{} ended after {took:.1} s, before its time was over",
                kept.name()
            ));
        }
    }
    notes
}

impl Compared {
    /// What a gate found, in a sentence.
    fn said_of(&self, judged: &Judged) -> String {
        let row = &self.rows[judged.row];
        let change = row
            .change()
            .map_or_else(|| "from nothing".to_owned(), |change| format!("by {change:+.1} %"));
        let (from, to) = (number(row.a.median), number(row.b.median));
        let mut text = format!(
            "{} changed {change}, from {from} to {to} {}, by gate {}",
            show::text_or_escaped(&row.name),
            show::text_or_escaped(&row.unit),
            judged.gate
        );
        if judged.found == Found::Unclear {
            text += ": the intervals overlap, so repeats have to tell";
        }
        if row.is_single() {
            text += " (of a single run, which does not say how far runs scatter)";
        }
        text
    }

    fn to_text(&self) -> String {
        let heads = ["", "A", "interval", "B", "interval", "change", "unit"].map(str::to_owned);
        let mut table = vec![heads.to_vec()];
        let interval = |spread: &Spread| {
            if spread.is_single() {
                "single run".to_owned()
            } else {
                format!("{} to {}", number(spread.low), number(spread.high))
            }
        };
        for row in &self.rows {
            let change = row
                .change()
                .map_or_else(|| "-".to_owned(), |change| format!("{change:+.1} %"));
            table.push(vec![
                show::text_or_escaped(&row.name),
                number(row.a.median),
                interval(&row.a),
                number(row.b.median),
                interval(&row.b),
                change,
                show::text_or_escaped(&row.unit),
            ]);
        }
        let mut text = show::table(&table) + "\n";
        for (name, side) in [("A", &self.a), ("B", &self.b)] {
            text += &format!("\n{name}: {}", of_side(side));
        }
        let said = [("differs", &self.differences), ("note", &self.notes)];
        for (what, lines) in said {
            for line in lines {
                text += &format!("\n{what}: {line}");
            }
        }
        if !self.left_out.is_empty() {
            text += &format!("\nnot in all results: {}", self.left_out.join(", "));
        }
        for damaged in self.a.damaged.iter().chain(&self.b.damaged) {
            text += &format!("\nleft out: {damaged}");
        }
        for judged in &self.gates {
            text += &format!("\n{}: {}", judged.found.name(), self.said_of(judged));
        }
        text
    }

    fn to_json(&self) -> Value {
        let spread = |spread: &Spread| {
            let ends = (!spread.is_single()).then_some((spread.low, spread.high));
            json!({
                "runs": spread.runs, "median": spread.median, "low": ends.map(|ends| ends.0), "high": ends.map(|ends| ends.1),
                "covers": ends.map(|_| spread.covers),
            })
        };
        let figures: Vec<Value> = (self.rows.iter())
            .map(|row| {
                json!({ "figure": row.name, "unit": row.unit, "a": spread(&row.a), "b": spread(&row.b), "change_percent": row.change() })
            })
            .collect();
        let gates: Vec<Value> = (self.gates.iter())
            .map(|judged| {
                let row = &self.rows[judged.row];
                json!({
                    "gate": judged.gate.to_string(), "figure": row.name, "result": judged.found.name(), "single_runs": row.is_single(),
                })
            })
            .collect();
        let files = |side: &Chosen| -> Vec<String> { side.results.iter().map(Kept::name).collect() };
        let damaged: Vec<&String> = self.a.damaged.iter().chain(&self.b.damaged).collect();
        json!({
            "schema": "waterpark.bench_compare.1", "complete": damaged.is_empty(), "missing": damaged, "a": files(&self.a),
            "b": files(&self.b), "figures": figures, "not_in_all": self.left_out, "differences": self.differences, "notes": self.notes,
            "gates": gates,
        })
    }
}

/// How many runs a side has, and what its intervals are worth.
fn of_side(side: &Chosen) -> String {
    let runs = side.results.len();
    if runs == 1 {
        return format!(
            "a single run, {}: nothing says how far its figures scatter",
            side.results[0].name()
        );
    }
    let any = Spread::of(&vec![0.0; runs]);
    format!(
        "{runs} runs: the median, and an interval that holds that of all runs in {:.0} of 100 cases",
        any.covers * 100.0
    )
}

#[cfg(test)]
mod tests;
