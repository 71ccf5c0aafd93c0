//! `waterpark bench ls`: the results that were kept in a folder.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::kept::{Folder, Kept, name_of};
use crate::demo_screen::figures;
use crate::failure::Failure;
use crate::show;

/// Where to look.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The folder that `bench run --save` was given
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// 0: listed, whatever else lies there. 2: the folder cannot be read.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let listed = Folder::read(&arguments.folder).map_err(Failure::Results);
    let shown = listed.and_then(|found| {
        let text = if arguments.json {
            object(&found).to_string()
        } else {
            page(&arguments.folder, &found)
        };
        show::print(&text).and_then(|()| show::flush())
    });
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.end(arguments.json),
    }
}

/// What of a run is in one line: acks a second, the usual and the slow response, CPU of all replicas.
struct Main {
    acked_per_s: Option<f64>,
    p50_us: Option<u64>,
    p99_us: Option<u64>,
    p999_us: Option<u64>,
    cpu_ns: Option<f64>,
}

impl Main {
    fn of(kept: &Kept) -> Main {
        let result = kept.result();
        let us = |name: &str| result["ack_us"][name].as_u64();
        Main {
            acked_per_s: result["acked_per_s"].as_f64().or(result["goodput_per_s"].as_f64()),
            p50_us: us("p50"),
            p99_us: us("p99"),
            p999_us: us("p999"),
            cpu_ns: result["cpu_ns_per_msg"].as_f64(),
        }
    }
}

/// How fast a run was to be, in a word.
pub(super) fn pace(kept: &Kept) -> String {
    let settings = &kept.result()["settings"];
    let number = |name: &str| settings[name].as_f64();
    if let Some(rate) = number("rate_per_s") {
        return format!("{rate:.0}/s");
    }
    if let Some((from, to)) = number("from_per_s").zip(number("to_per_s")) {
        return format!("{from:.0} to {to:.0}/s");
    }
    let several = [
        ("closed_in_flight", "under way"),
        ("connections", "connections"),
        ("keys", "keys"),
    ];
    let named = several
        .iter()
        .find_map(|(name, word)| Some(format!("{:.0} {word}", number(name)?)));
    named.unwrap_or_else(|| "-".to_owned())
}

/// What stands above the cells of a line.
pub(super) const HEADS: [&str; 11] = [
    "when", "workload", "pace", "driver", "verdict", "acked/s", "p50", "p99", "p99.9", "cpu/msg", "file",
];

/// A result in a line.
pub(super) fn cells(kept: &Kept) -> Vec<String> {
    let main = Main::of(kept);
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let us = |us: Option<u64>| or_none(us.map(figures::latency));
    vec![
        show::text_or_escaped(kept.at()),
        show::text_or_escaped(kept.workload()),
        pace(kept),
        show::text_or_escaped(kept.result()["driver"].as_str().unwrap_or("-")),
        show::text_or_escaped(kept.verdict()),
        or_none(main.acked_per_s.map(|rate| format!("{rate:.0}"))),
        us(main.p50_us),
        us(main.p99_us),
        us(main.p999_us),
        or_none(main.cpu_ns.map(|ns| format!("{ns:.0} ns"))),
        kept.name(),
    ]
}

fn page(folder: &Path, found: &Folder) -> String {
    let mut rows = vec![HEADS.map(str::to_owned).to_vec()];
    rows.extend(found.results.iter().map(cells));
    let mut text = if found.results.is_empty() {
        format!(
            "no result was kept in {}",
            show::text_or_escaped(&folder.to_string_lossy())
        )
    } else {
        show::table(&rows)
    };
    for (path, flaw) in &found.others {
        let what = if flaw.is_damage() { "damaged" } else { "no result" };
        text += &format!("\n{what}: {}: {flaw}", name_of(path));
    }
    text
}

fn object(found: &Folder) -> Value {
    let results: Vec<Value> = (found.results.iter())
        .map(|kept| {
            let main = Main::of(kept);
            json!({
                "file": kept.name(), "at": kept.at(), "command": kept.command(), "workload": kept.workload(), "verdict": kept.verdict(),
                "driver": kept.result()["driver"], "settings": kept.result()["settings"], "acked_per_s": main.acked_per_s,
                "p50_us": main.p50_us, "p99_us": main.p99_us, "p999_us": main.p999_us, "cpu_ns_per_msg": main.cpu_ns,
            })
        })
        .collect();
    let named = |wanted: bool| -> Vec<Value> {
        let of_kind = found.others.iter().filter(|(_, flaw)| flaw.is_damage() == wanted);
        of_kind
            .map(|(path, flaw)| json!({ "file": name_of(path), "why": flaw.to_string() }))
            .collect()
    };
    let (damaged, foreign) = (named(true), named(false));
    json!({
        "schema": "waterpark.bench_ls.1", "complete": damaged.is_empty(), "missing": damaged, "foreign": foreign, "results": results,
    })
}

#[cfg(test)]
mod tests {
    use super::super::error::Flaw;
    use super::super::kept::tests::{kept, result};
    use super::*;

    fn found() -> Folder {
        Folder {
            results: vec![
                kept("runs/a.json", &result(1_234.5, 2_000)),
                kept(
                    "runs/b.json",
                    &json!({
                        "workload": "overload", "verdict": "INVALID", "driver": "io_uring", "settings": {}, "figures": [], "goodput_per_s": 77.0,
                    }),
                ),
            ],
            others: vec![
                ("runs/cut.json".into(), Flaw::Field("figures")),
                ("runs/notes".into(), Flaw::NoFile),
            ],
        }
    }

    #[test]
    fn a_line_says_what_a_run_gave_and_what_is_damaged_stands_below() {
        let page = page(Path::new("runs"), &found());
        let lines: Vec<Vec<&str>> = page
            .lines()
            .map(|line| line.split("  ").filter(|cell| !cell.is_empty()).collect())
            .collect();
        assert_eq!(lines.len(), 5, "{page}");
        let words = |line: usize| lines[line].iter().map(|cell| cell.trim()).collect::<Vec<&str>>();
        assert_eq!(
            words(1),
            [
                "2024-02-29T12:34:56.007Z",
                "w128",
                "1000/s",
                "epoll",
                "OK",
                "1234",
                "1.00 ms",
                "2.00 ms",
                "4.00 ms",
                "-",
                "a.json"
            ]
        );
        assert_eq!(
            words(2),
            [
                "2024-02-29T12:34:56.007Z",
                "overload",
                "-",
                "io_uring",
                "INVALID",
                "77",
                "-",
                "-",
                "-",
                "-",
                "b.json"
            ]
        );
        assert!(page.contains("\ndamaged: cut.json: `figures` is missing"), "{page}");
        assert!(page.ends_with("\nno result: notes: it is no file"), "{page}");
    }

    #[test]
    fn the_object_is_incomplete_while_a_result_is_damaged_and_only_then() {
        let mut found = found();
        let all = object(&found);
        assert_eq!(
            (&all["complete"], &all["missing"][0]["file"]),
            (&json!(false), &json!("cut.json"))
        );
        assert_eq!(all["foreign"][0]["file"], "notes");
        assert_eq!(all["results"][0]["p99_us"], 2_000);
        assert_eq!(all["results"][0]["command"], "waterpark bench run --for 1s");
        assert_eq!(all["results"][1]["acked_per_s"], 77.0);
        found.others.retain(|(_, flaw)| !flaw.is_damage());
        assert_eq!(object(&found)["complete"], true);
    }
}
