//! `waterpark bench report`: kept results as one page that needs nothing beside itself.
//!
//! No script, no font, no address: the page forbids itself to load anything. Light and dark follow the reader. **Invariant:** whatever stands
//! in a result is text in the page, never a tag of it; what a result does not hold is said to be missing, never left out in silence.

mod plot;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::error::ResultsError;
use super::figures::number;
use super::kept::{Chosen, Kept};
use super::ls;
use crate::demo_screen::figures;
use crate::demo_screen::svg::escaped;
use crate::failure::Failure;
use crate::show;
use plot::{Axis, Line, Mark, nines, svg};

/// What to show.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Results, as files or folders of them
    #[arg(value_name = "RESULT", required = true)]
    results: Vec<PathBuf>,
    /// The page to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// 0: written. 1: the page cannot be written. 2: a result cannot be read.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let written = Chosen::read(&arguments.results)
        .and_then(|chosen| write(&arguments.output, &page(&chosen)).map(|()| chosen))
        .map_err(Failure::Results);
    let shown = written.and_then(|chosen| {
        let results = match chosen.results.len() {
            1 => "one result".to_owned(),
            count => format!("{count} results"),
        };
        let mut text = format!("{}: {results}", arguments.output.display());
        for damaged in &chosen.damaged {
            text += &format!("\nleft out: {damaged}");
        }
        show::print(&text).and_then(|()| show::flush())
    });
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.end(false),
    }
}

/// Writes a page whole or not at all. An older page is replaced; a result never is.
fn write(path: &Path, page: &str) -> Result<(), ResultsError> {
    let refused = |why| {
        let cause = std::io::Error::new(std::io::ErrorKind::AlreadyExists, why);
        Err(ResultsError::write(path)(cause))
    };
    // A page takes the place of what has its name: a device or a pipe would be gone.
    if std::fs::metadata(path).is_ok_and(|known| !known.is_file()) {
        return refused("it is no file");
    }
    if Kept::read(path).is_ok() {
        return refused("it is a result");
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let file = tempfile::Builder::new()
        .prefix(".page-")
        .permissions(PermissionsExt::from_mode(0o666))
        .tempfile_in(folder.unwrap_or(Path::new(".")));
    let file = file.map_err(ResultsError::write(path))?;
    std::fs::write(file.path(), page).map_err(ResultsError::write(path))?;
    let persisted = file.persist(path).map_err(|error| error.error);
    persisted.map(drop).map_err(ResultsError::write(path))
}

const HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
    <meta name=\"color-scheme\" content=\"light dark\"/>\n\
    <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n\
    <title>Waterpark: what the bench measured</title>\n<style>\n";

/// Lines of one plot that have a colour of their own.
const LINES_MAX: usize = 6;

const STYLE: &str = include_str!("style.css");

fn page(chosen: &Chosen) -> String {
    let mut text = [
        HEAD,
        STYLE,
        "</style>\n</head>\n<body>\n<main>\n<h1>What the bench measured</h1>\n",
    ]
    .concat();
    text += &overview(chosen);
    for (number, kept) in (1..).zip(&chosen.results) {
        text += &section(number, kept);
    }
    text + "</main>\n</body>\n</html>\n"
}

/// A line for each result, and what was left out.
fn overview(chosen: &Chosen) -> String {
    let mut text = String::new();
    if chosen.results.len() > 1 {
        // The file stands in the section, where there is room.
        let columns = ls::HEADS.len() - 1;
        let mut rows = vec![cells(ls::HEADS)];
        rows[0].truncate(columns);
        for (number, kept) in (1..).zip(&chosen.results) {
            let mut row: Vec<String> = ls::cells(kept).iter().map(|cell| escaped(cell)).collect();
            row.truncate(columns);
            row[0] = format!("{number} · <a href=\"#run-{number}\">{}</a>", row[0]);
            rows.push(row);
        }
        text += &table("overview", &rows);
        text += &format!("<div class=\"alone\">\n{}</div>\n", over_each_other(&chosen.results));
    }
    for damaged in &chosen.damaged {
        text += &format!("<p class=\"bad\">left out: {}</p>\n", escaped(damaged));
    }
    text
}

/// Responses of the results in one plot, by their numbers: as many as can be told apart, and none beside one whose acks promise something else.
fn over_each_other(results: &[Kept]) -> String {
    let caption = match results.len() {
        ..=LINES_MAX => "Response of each, by its number".to_owned(),
        count => format!("Response of the first {LINES_MAX} of {count}, by their numbers"),
    };
    let promised = |kept: &Kept| kept.result()["durability"].clone();
    if results.iter().any(|kept| promised(kept) != promised(&results[0])) {
        return figure(&caption, &Err("Their acks promise different things: no plot has both."));
    }
    let first = (1..).zip(results.iter().take(LINES_MAX));
    let named =
        first.map(|(number, kept): (u64, &Kept)| (number.to_string(), &kept.result()["spectrum_us"]["response"]));
    let plot = spectra(
        named,
        "Percentile spectra of the results: time by the share of messages that took at most so long",
        "percent of the messages took at most",
    );
    figure(
        &caption,
        &plot.map_err(|_| "None of these results holds a spectrum of its responses."),
    )
}

fn section(number: u64, kept: &Kept) -> String {
    let result = kept.result();
    let class = match kept.verdict() {
        "OK" => "good",
        _ => "bad",
    };
    let mut text = format!(
        "<section id=\"run-{number}\">\n<h2>{number} · {}, {} <span class=\"verdict {class}\">{}</span></h2>\n<p class=\"quiet\">{} · {}</p>\n",
        escaped(kept.workload()),
        escaped(&ls::pace(kept)),
        escaped(kept.verdict()),
        escaped(kept.at()),
        escaped(&kept.name())
    );
    text += &format!("<p>{}</p>\n", escaped(&method(kept)));
    text += "<div class=\"beside\">\n";
    let scenarios = result["scenarios"].as_array().map_or(&[][..], Vec::as_slice);
    // Those of scenarios stand with each of them; here are the ones that say whether all is well.
    let has_target = |figure: &Value| scenarios.is_empty() || figure["target"].is_number();
    text += &block("Figures", &targets(result, has_target));
    text += &block("Times", &times(result));
    text += "</div>\n";
    text += "<div class=\"beside plots\">\n";
    text += &figure("Percentile spectrum", &spectrum(result));
    if result["steps"].is_array() {
        text += &figure("Response by throughput", &by_throughput(result));
    } else if scenarios.is_empty() {
        text += &over_time_of(result, "");
    }
    text += &block("Outcome", &outcome(result));
    for scenario in scenarios {
        text += "</div>\n<div class=\"beside plots\">\n";
        let name = format!(": {}", scenario["scenario"].as_str().unwrap_or("?"));
        text += &over_time_of(scenario, &name);
        text += &figure(&format!("Unavailability{name}"), &unavailability(scenario));
        text += &block(&format!("Figures{name}"), &targets(scenario, |_| true));
    }
    text += "</div>\n";
    if result["steps"].is_array() {
        text += &block("Rates", &steps(result));
    }
    text += "<div class=\"beside\">\n";
    text += &block("Environment", &listed(kept.environment()));
    text += &block("Settings", &listed(&result["settings"]));
    text += "</div>\n";
    text += &format!(
        "<h3>Repeat it</h3>\n<pre><code>{}</code></pre>\n</section>\n",
        escaped(kept.command())
    );
    text
}

/// What depends on time, and what happened meanwhile.
fn over_time_of(part: &Value, name: &str) -> String {
    let mut text = figure(&format!("Response over time{name}"), &over_time(part));
    text += &figure(&format!("Throughput over time{name}"), &throughput(part));
    let events = events(part);
    if !events.is_empty() {
        let mut rows = vec![cells(["seconds", "event", "nodes"])];
        for event in events {
            let class = if event.is_fault { "bad" } else { "good" };
            let what = format!("<span class=\"{class}\">{}</span>", escaped(event.what));
            rows.push(vec![format!("{:.3}", event.at), what, escaped(&event.nodes)]);
        }
        text += &block(
            &format!("Events{name}"),
            &format!("<div class=\"long\">\n{}</div>\n", table("events", &rows)),
        );
    }
    text
}

/// The rates of a sweep whose figures say something of the cluster: how many acks a second there were, and the row.
fn by_throughput(result: &Value) -> Result<String, &'static str> {
    let steps = result["steps"].as_array().into_iter().flatten();
    let valid = steps.filter(|step| step["verdict"] != "INVALID");
    let steps: Vec<(f64, &Value)> = valid
        .filter_map(|step| Some((step["acked_per_s"].as_f64()?, &step["ack_us"])))
        .collect();
    if steps.is_empty() {
        return Err("No rate of this sweep has figures that say something of the cluster.");
    }
    let line = |(key, name): (&str, &'static str)| Line {
        name,
        points: (steps.iter())
            .map(|(acked, us)| us[key].as_f64().filter(|us| *us > 0.0).map(|us| (*acked, us)))
            .collect(),
    };
    let lines = [("p50", "p50"), ("p99", "p99"), ("p999", "p99.9")].map(line);
    let (least, most) = bounds(&lines);
    let knee = result["acked_per_s"].as_f64();
    let name = if result["is_knee"] == true { "knee" } else { "carried" };
    let mark = knee.map(|at| Mark {
        at,
        name,
        is_chief: true,
    });
    let fastest = steps.iter().map(|(acked, _)| *acked).fold(0.0, f64::max);
    Ok(svg(
        "Response times by acks a second, of each rate that was planned",
        &Axis::linear(fastest, "acked a second", plot::count),
        &Axis::log_us(least, most),
        &lines,
        mark.as_slice(),
    ))
}

/// What became of each rate of a sweep.
fn steps(result: &Value) -> String {
    let mut rows = vec![cells(["planned/s", "acked/s", "p50", "p99", "p99.9", "verdict", ""])];
    for step in result["steps"].as_array().into_iter().flatten() {
        let rate = |name: &str| {
            step[name]
                .as_f64()
                .map_or_else(|| "–".to_owned(), |rate| format!("{rate:.0}"))
        };
        let us = |key: &str| {
            step["ack_us"][key]
                .as_u64()
                .map_or_else(|| "–".to_owned(), figures::latency)
        };
        let verdict = escaped(step["verdict"].as_str().unwrap_or("–"));
        let said = match step["why"].as_str() {
            None => "<span class=\"good\">carried</span>".to_owned(),
            Some(why) => format!("<span class=\"bad\">{}</span>", escaped(why)),
        };
        let again = if step["attempts"].as_u64() > Some(1) {
            ", at the second attempt"
        } else {
            ""
        };
        let said = said + again;
        rows.push(vec![
            rate("rate_per_s"),
            rate("acked_per_s"),
            us("p50"),
            us("p99"),
            us("p999"),
            verdict,
            said,
        ]);
    }
    let bound = result["bounded_by"].as_str().unwrap_or("none was carried");
    let text =
        "Each rate counts once. INVALID ones are not drawn: the generator was late. Faster than what is marked: ";
    table("steps", &rows) + &format!("<p class=\"quiet\">{text}{}.</p>\n", escaped(bound))
}

/// Something that was done to the cluster, or that became so.
struct Event<'a> {
    at: f64,
    what: &'a str,
    nodes: String,
    is_fault: bool,
}

impl Event<'_> {
    fn of(event: &Value) -> Option<Event<'_>> {
        let nodes = event["nodes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        Some(Event {
            at: event["at_ms"].as_f64()? / 1_000.0,
            what: event["event"].as_str()?,
            nodes: nodes.collect::<Vec<&str>>().join(" "),
            is_fault: event["fault"] == true,
        })
    }
}

fn events(part: &Value) -> Vec<Event<'_>> {
    let events = part["events"].as_array().into_iter().flatten();
    events.filter_map(Event::of).collect()
}

/// The events as marks on an axis of time.
fn marks<'a>(events: &'a [Event<'_>]) -> Vec<Mark<'a>> {
    let mark = |event: &'a Event<'_>| Mark {
        at: event.at,
        name: event.what,
        is_chief: event.is_fault,
    };
    events.iter().map(mark).collect()
}

/// Durability, clock and method: what every number below is worth.
fn method(kept: &Kept) -> String {
    let result = kept.result();
    let durability = result["durability"].as_str().unwrap_or("not said");
    let clock = kept.environment()["clock_source"].as_str().unwrap_or("not said");
    let settings = &result["settings"];
    let arrivals = settings["arrivals"]
        .as_str()
        .map(|arrivals| format!(" (arrivals: {arrivals})"));
    let is_open =
        settings["rate_per_s"].is_number() || settings["from_per_s"].is_number() || kept.workload() == "overload";
    let pace = if is_open {
        "open loop: every message has its planned instant, and response times count from it"
    } else {
        "closed loop: no arrival is planned, so no delay of one is seen"
    };
    let arrivals = arrivals.unwrap_or_default();
    let driver = result["driver"].as_str().unwrap_or("not said");
    let seconds = result["seconds"].as_f64().unwrap_or_default();
    format!(
        "Durability: {durability}. Clock: the generator's own, monotonic; source {clock}. Method: {pace}{arrivals}. Driver: {driver}. It ran for {seconds:.1} s, \
         and everything acked was read back."
    )
}

fn cells<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// Rows whose cells are escaped already, the first of them heads.
fn table(class: &str, rows: &[Vec<String>]) -> String {
    let mut text = format!("<div class=\"scroll\"><table class=\"{class}\">\n");
    for (place, row) in rows.iter().enumerate() {
        let tag = if place == 0 { "th" } else { "td" };
        text += "<tr>";
        for cell in row {
            text += &format!("<{tag}>{cell}</{tag}>");
        }
        text += "</tr>\n";
    }
    text + "</table></div>\n"
}

/// Those figures of a result, or of a part of it, that are wanted.
fn targets(result: &Value, is_wanted: impl Fn(&Value) -> bool) -> String {
    let mut rows = vec![cells(["figure", "result", "unit", "target", "verdict"])];
    let figures = result["figures"].as_array().into_iter().flatten();
    for figure in figures.filter(|figure| is_wanted(figure)) {
        let text = |name: &str| escaped(figure[name].as_str().unwrap_or_default());
        let value = figure["result"].as_f64().map_or_else(|| "–".to_owned(), number);
        let bound = match figure["bound"].as_str() {
            Some("at_least") => "at least ",
            Some("at_most") => "at most ",
            _ => "",
        };
        let target = figure["target"]
            .as_f64()
            .map_or_else(|| "–".to_owned(), |target| format!("{bound}{target}"));
        let verdict = match figure["verdict"].as_str() {
            Some("met") => "<span class=\"good\">met</span>",
            Some("missed") => "<span class=\"bad\">missed</span>",
            _ => "–",
        };
        rows.push(vec![text("figure"), value, text("unit"), target, verdict.to_owned()]);
    }
    table("figures", &rows)
}

fn times(result: &Value) -> String {
    let mut rows = vec![cells(["", "p50", "p90", "p99", "p99.9", "max"])];
    let named = [
        ("response", "ack_us"),
        ("service", "service_us"),
        ("refusal", "refusal_us"),
        ("alone", "alone_us"),
        ("read", "read_us"),
        ("read service", "read_service_us"),
    ];
    for (name, field) in named {
        let times = &result[field];
        if times.is_object() {
            let us = |key: &str| times[key].as_u64().map_or_else(|| "–".to_owned(), figures::latency);
            rows.push(vec![
                name.to_owned(),
                us("p50"),
                us("p90"),
                us("p99"),
                us("p999"),
                us("max"),
            ]);
        }
    }
    table("times", &rows)
}

/// A part of the page under its name.
fn block(name: &str, inner: &str) -> String {
    format!("<div>\n<h3>{}</h3>\n{inner}</div>\n", escaped(name))
}

/// A plot, or why there is none.
fn figure(caption: &str, plot: &Result<String, &'static str>) -> String {
    let inner = match plot {
        Ok(plot) => plot.clone(),
        Err(why) => format!("<p class=\"quiet\">{}</p>\n", escaped(why)),
    };
    format!(
        "<figure>\n<figcaption>{}</figcaption>\n{inner}</figure>\n",
        escaped(caption)
    )
}

/// The response beside the service and, where there are refusals, theirs.
fn spectrum(result: &Value) -> Result<String, &'static str> {
    spectrum_of(
        result,
        &["response", "service", "refusal", "alone", "read"],
        "Percentile spectrum: time by the share of messages that took at most so long",
        "percent of the messages took at most",
    )
}

/// How long the keys that a fault hit went without an ack.
fn unavailability(scenario: &Value) -> Result<String, &'static str> {
    spectrum_of(
        scenario,
        &["unavailability"],
        "Unavailability: time by the share of keys that had no ack for at most so long",
        "percent of the keys had no ack for at most",
    )
}

fn spectrum_of(result: &Value, names: &[&str], title: &str, label: &'static str) -> Result<String, &'static str> {
    let named = names
        .iter()
        .map(|name| ((*name).to_owned(), &result["spectrum_us"][name]));
    spectra(named, title, label)
}

/// Rows of a spectrum as lines under their names.
fn spectra<'a>(
    named: impl Iterator<Item = (String, &'a Value)>,
    title: &str,
    label: &'static str,
) -> Result<String, &'static str> {
    let of = |(name, rows): (String, &Value)| -> Option<(String, Vec<(f64, f64)>)> {
        let rows = rows.as_array()?;
        let points = rows.iter().filter_map(|row| Some((row[0].as_f64()?, row[1].as_f64()?)));
        let points: Vec<(f64, f64)> = points.filter(|(quantile, _)| (0.0..=1.0).contains(quantile)).collect();
        (points.len() > 1).then_some((name, points))
    };
    let found: Vec<_> = named.filter_map(of).collect();
    let within = found
        .iter()
        .flat_map(|(_, points)| points)
        .filter(|(quantile, _)| *quantile < 1.0);
    let last = within.map(|(quantile, _)| nines(*quantile)).fold(0.0, f64::max);
    // The longest of all lies at infinity: a little beyond the last.
    let across = |quantile: f64| if quantile < 1.0 { nines(quantile) } else { last + 0.25 };
    let all_us = || found.iter().flat_map(|(_, points)| points.iter().map(|(_, us)| *us));
    if found.is_empty() {
        return Err("This result holds no spectrum: nothing was acked, or it is of an older release.");
    }
    let least = all_us().fold(f64::INFINITY, f64::min);
    let axes = (
        Axis::percentiles(last + 0.25, label),
        Axis::log_us(least, all_us().fold(0.0, f64::max)),
    );
    let lines: Vec<Line<'_>> = found
        .iter()
        .map(|(name, points)| Line {
            name,
            points: points
                .iter()
                .map(|(quantile, us)| Some((across(*quantile), *us)))
                .collect(),
        })
        .collect();
    Ok(svg(title, &axes.0, &axes.1, &lines, &[]))
}

/// Rows of time: seconds from the beginning, and the row.
fn rows_of_time(result: &Value) -> Result<Vec<(f64, &Value)>, &'static str> {
    let rows = result["over_time"].as_array().into_iter().flatten();
    let rows: Vec<(f64, &Value)> = rows
        .filter_map(|row| Some((row["at_ms"].as_f64()? / 1_000.0, row)))
        .collect();
    if rows.is_empty() {
        Err("This result holds nothing over time: its workload does not tell it, or nothing was acked.")
    } else {
        Ok(rows)
    }
}

/// The least and the most of all lines.
fn bounds(lines: &[Line<'_>]) -> (f64, f64) {
    let all = || {
        lines
            .iter()
            .flat_map(|line| line.points.iter().flatten().map(|(_, value)| *value))
    };
    (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max))
}

fn over_time(result: &Value) -> Result<String, &'static str> {
    let rows = rows_of_time(result)?;
    let line = |name: &'static str| Line {
        name,
        points: (rows.iter())
            .map(|(at, row)| row[name].as_f64().filter(|us| *us > 0.0).map(|us| (*at, us)))
            .collect(),
    };
    let lines = ["p50", "p99", "max"].map(line);
    let (least, most) = bounds(&lines);
    let last = rows.last().map_or(0.0, |(at, _)| *at);
    Ok(svg(
        "Response times by when their messages were planned",
        &Axis::seconds(last),
        &Axis::log_us(least, most),
        &lines,
        &marks(&events(result)),
    ))
}

fn throughput(result: &Value) -> Result<String, &'static str> {
    let rows = rows_of_time(result)?;
    let interval = rows.get(1).map_or(0.1, |(at, _)| *at - rows[0].0);
    let planned = result["settings"]["for_s"].as_f64();
    let until = planned.or(result["seconds"].as_f64()).unwrap_or(f64::INFINITY);
    let points = rows.iter().map(|(at, row)| {
        // The last interval may be cut off by the end of the plan.
        let left = until - at;
        let length = if left > 0.0 { interval.min(left) } else { interval };
        row["acked"].as_f64().map(|acked| (*at, acked / length.max(0.001)))
    });
    let points: Vec<Option<(f64, f64)>> = points.collect();
    let most = points.iter().flatten().map(|(_, rate)| *rate).fold(0.0, f64::max);
    let last = rows.last().map_or(0.0, |(at, _)| *at);
    let name = "acked a second";
    Ok(svg(
        "Acks a second by when their messages were planned",
        &Axis::seconds(last),
        &Axis::linear(most, "", plot::count),
        &[Line { name, points }],
        &marks(&events(result)),
    ))
}

/// What became of the messages, and what reading back found.
fn outcome(result: &Value) -> String {
    let counts = [
        "sent",
        "acked",
        "refused",
        "unknown",
        "late",
        "repeats",
        "resends",
        "looked_for",
        "lost",
        "duplicated",
        "disordered",
        "refused_but_held",
        "differing",
        "foreign",
        "unreadable",
    ];
    let mut rows = vec![cells(["what", "messages"])];
    for name in counts {
        if let Some(count) = result[name].as_u64() {
            rows.push(vec![escaped(&name.replace('_', " ")), figures::count(count)]);
        }
    }
    let mut text = table("pairs", &rows) + "<div class=\"long\">\n";
    for said in result["findings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        text += &format!("<p class=\"bad\">{}</p>\n", escaped(said));
    }
    text + "</div>\n"
}

/// Fields of an object by name; bytes with their unit.
fn listed(object: &Value) -> String {
    let mut rows = vec![cells(["what", "value"])];
    for (name, value) in object.as_object().into_iter().flatten() {
        let text = match value {
            Value::Null => "–".to_owned(),
            Value::String(text) => text.clone(),
            Value::Number(number) if name.ends_with("_bytes") || name.contains("_bytes_") => {
                number.as_u64().map_or_else(|| number.to_string(), figures::bytes)
            }
            Value::Array(items) => {
                let words = items
                    .iter()
                    .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned));
                words.collect::<Vec<String>>().join(", ")
            }
            other => other.to_string(),
        };
        rows.push(vec![escaped(&name.replace('_', " ")), escaped(&text)]);
    }
    table("pairs", &rows)
}

#[cfg(test)]
mod tests;
