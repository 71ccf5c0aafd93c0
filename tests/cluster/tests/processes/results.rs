//! Results of the bench as files: kept by runs against a cluster, listed, compared, shown as a page.
//!
//! Only files, stdout, stderr and exit codes are looked at; how fast anything was does not matter.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use serde_json::Value;

use crate::support::{Machine, Nodes, Said, five, type_in};

/// The results in a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = (fs::read_dir(folder).expect("it was made"))
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    files
}

/// The same result with its times so many times as long.
fn slower(file: &Path, times: u64) -> Value {
    let mut object: Value = serde_json::from_slice(&fs::read(file).expect("it is there")).expect("it is JSON");
    for time in object["result"]["ack_us"].as_object_mut().expect("times").values_mut() {
        *time = (time.as_u64().expect("a time") * times + 1).into();
    }
    object
}

#[test]
fn runs_are_kept_listed_compared_and_shown() {
    let _machine = Machine::take("results of the bench", Duration::from_secs(180));
    let nodes = Nodes::start(five());
    let config = nodes.config_path().display().to_string();
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let runs = folder.path().join("runs");
    let name = |path: &Path| path.display().to_string();
    let run = |messages: &str, folder: &Path| -> Said {
        let folder = name(folder);
        let load = [
            "bench",
            "run",
            "--closed=8",
            "--for",
            "300ms",
            "--actors",
            "50",
            "--message-bytes",
            messages,
        ];
        let rest = ["--config", &config, "--json", "--save", &folder];
        type_in(&[&load[..], &rest[..]].concat())
    };
    let said = [run("64", &runs).ends(0), run("64", &runs).ends(0)];
    let kept = files(&runs);
    assert_eq!(kept.len(), 2, "{kept:?}");
    for (said, file) in said.iter().zip(&kept) {
        let object: Value = serde_json::from_slice(&fs::read(file).expect("it is there")).expect("it is JSON");
        assert_eq!(object["result"], said.json(), "what is kept is what was said");
        let command = object["command"].as_str().expect("a command");
        assert!(command.contains("bench run --closed=8 --for 300ms"), "{command}");
        assert!(object["environment"]["kernel"].is_string(), "{object}");
        assert!(
            said.stderr.contains(&format!("kept in {}", name(file))),
            "{}",
            said.all()
        );
    }
    for file in &kept {
        let log = fs::read(file.with_extension("hlog")).expect("it lies beside the result");
        let intervals: Vec<(String, f64)> = IntervalLogIterator::new(&log)
            .filter_map(|entry| match entry.expect("a log that others can read") {
                LogEntry::Interval(interval) => {
                    let tag = interval.tag().map_or("", |tag| tag.as_str());
                    Some((tag.to_owned(), interval.max()))
                }
                _ => None,
            })
            .collect();
        // A third of a second lies within the first stretch.
        let tags: Vec<&str> = intervals.iter().map(|(tag, _)| tag.as_str()).collect();
        assert_eq!(tags, ["response", "service"]);
        let object: Value = serde_json::from_slice(&fs::read(file).expect("it is there")).expect("it is JSON");
        let longest_ms = object["result"]["ack_us"]["max"].as_f64().expect("a time") / 1_000.0;
        assert!(
            (intervals[0].1 - longest_ms).abs() < 0.001,
            "{intervals:?} {longest_ms}"
        );
    }
    // A file is no folder: nothing is sent.
    let said = run("64", &kept[0]).ends(1);
    assert!(
        said.stderr.contains("WP-8021") && !said.stderr.contains("measuring"),
        "{}",
        said.all()
    );

    fs::write(runs.join("cut.json"), "{\"schema\":").expect("the folder is ours");
    let list = type_in(&["bench", "ls", &name(&runs), "--json"]).ends(0).json();
    assert_eq!(
        (&list["complete"], &list["missing"][0]["file"]),
        (&false.into(), &"cut.json".into())
    );
    assert_eq!(list["results"].as_array().map(Vec::len), Some(2), "{list}");
    let said = type_in(&["bench", "ls", &name(&runs)]).ends(0);
    assert!(said.text().contains("\ndamaged: cut.json: "), "{}", said.all());

    // Against itself, against slower ones, against other work.
    let later = folder.path().join("later");
    fs::create_dir(&later).expect("the folder is ours");
    for (place, file) in kept.iter().enumerate() {
        fs::write(later.join(format!("{place}.json")), slower(file, 1_000).to_string()).expect("the folder is ours");
    }
    let gated = |a: &Path, b: &Path, gate: &str| type_in(&["bench", "compare", &name(a), &name(b), "--fail-on", gate]);
    gated(&runs, &runs, "p99.9:+5%").ends(0);
    let said = gated(&runs, &later, "p99.9:+5%").ends(10);
    assert!(
        said.stderr.contains("error[WP-8026]: response p99.9 changed by +"),
        "{}",
        said.all()
    );
    assert!(!said.all().contains("of a single run"), "{}", said.all());
    let said = gated(&kept[0], &later.join("0.json"), "p99.9:+5%").ends(10);
    assert!(said.stderr.contains("of a single run"), "{}", said.all());
    gated(&later, &runs, "p99.9:+5%").ends(0);
    let said = gated(&runs, &later, "p98:+5%").ends(2);
    assert!(
        said.stderr.contains("WP-8025") && said.stderr.contains("response p99.9"),
        "{}",
        said.all()
    );
    let said = gated(&runs, &later, "p98:5%").ends(2);
    assert!(said.stderr.contains("WP-1701"), "{}", said.all());
    let other = folder.path().join("other");
    run("96", &other).ends(0);
    let said = type_in(&["bench", "compare", &name(&runs), &name(&other)]).ends(2);
    assert!(
        said.stderr.contains("WP-8024") && said.stderr.contains("message_bytes: 64 and 96"),
        "{}",
        said.all()
    );
    let said = type_in(&["bench", "compare", &name(&runs), &name(&other), "--anyway", "--json"])
        .ends(0)
        .json();
    assert_eq!(said["differences"][0], "message_bytes: 64 and 96");

    let page = name(&folder.path().join("page.html"));
    let said = type_in(&["bench", "report", &name(&runs), &name(&other), "-o", &page]).ends(0);
    assert!(
        said.text().contains("3 results") && said.text().contains("left out: cut.json"),
        "{}",
        said.all()
    );
    let text = fs::read_to_string(&page).expect("it was written");
    assert_eq!(
        (text.matches("<section").count(), text.matches("<svg").count()),
        (3, 10)
    );
    let said = type_in(&["bench", "report", &name(&runs), "-o", &name(&kept[0])]).ends(1);
    assert!(said.stderr.contains("WP-8021"), "{}", said.all());
    nodes.stop();
}

#[test]
fn a_sweep_has_a_verdict_for_each_rate_and_is_kept_listed_and_drawn() {
    let _machine = Machine::take("bench sweep", Duration::from_secs(180));
    let nodes = Nodes::start(five());
    let config = nodes.config_path().display().to_string();
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let name = |path: &Path| path.display().to_string();
    let sweep = |own: &[&str]| -> Said {
        let load = [
            "bench", "sweep", "--config", &config, "--for", "400ms", "--actors", "50",
        ];
        type_in(&[&load[..], own].concat())
    };
    let range = ["--from", "200", "--to", "800", "--steps", "3", "--refine", "0"];
    let save = ["--p99", "20s", "--json", "--save", &name(folder.path())];
    let said = sweep(&[&range[..], &save].concat());
    // A machine that does other things besides may be late at any rate.
    assert!([0, 11].contains(&said.code), "{}", said.all());
    let report = said.json();
    assert_eq!(
        (&report["schema"], &report["complete"], &report["workload"]),
        (&"waterpark.bench_sweep.1".into(), &true.into(), &"sweep-w128".into())
    );
    let steps = report["steps"].as_array().expect("a list");
    let rates: Vec<Option<f64>> = steps.iter().map(|step| step["rate_per_s"].as_f64()).collect();
    assert!(rates.starts_with(&[Some(200.0), Some(400.0)]), "{rates:?}");
    for (place, step) in steps.iter().enumerate() {
        assert!(step["acked"].as_u64() > Some(0), "{step:#}");
        assert_eq!(
            (&step["lost"], &step["duplicated"], &step["unreadable"]),
            (&0.into(), &0.into(), &0.into())
        );
        // Each of the 50 actors had a message before the first rate.
        let first = if place == 0 && step["attempts"] == 1 { 50 } else { 0 };
        let acked = step["acked"].as_u64().map(|acked| acked + first);
        assert_eq!(step["looked_for"].as_u64(), acked, "{step:#}");
        let verdict = step["verdict"].as_str().expect("a verdict");
        assert!(["OK", "INVALID"].contains(&verdict), "{step:#}");
        assert!(
            verdict == "OK" || (step["carried"] == false && step["attempts"] == 2),
            "{step:#}"
        );
    }
    let kept = files(folder.path());
    assert_eq!(kept.len(), 1, "{kept:?}");
    let log = fs::read_to_string(kept[0].with_extension("hlog")).expect("it lies beside the result");
    for tag in ["Tag=200-response,", "Tag=400-service,"] {
        assert!(log.contains(tag), "{tag}: {log}");
    }
    let listed = type_in(&["bench", "ls", &name(folder.path())]).ends(0);
    assert!(listed.text().contains("200 to 800/s"), "{}", listed.all());
    let page = folder.path().join("page.html");
    type_in(&["bench", "report", &name(&kept[0]), "-o", &name(&page)]).ends(0);
    let page = fs::read_to_string(page).expect("it was written");
    assert!(
        page.contains("<figcaption>Response by throughput</figcaption>"),
        "{page}"
    );

    // Reads beside what is put, at two rates, of which each has both.
    let said = sweep(&[
        "--from",
        "200",
        "--to",
        "400",
        "--steps",
        "2",
        "--workload",
        "kv",
        "--p99",
        "20s",
        "--json",
    ]);
    assert!([0, 11].contains(&said.code), "{}", said.all());
    for step in said.json()["steps"].as_array().expect("a list") {
        let reads = &step["reads"];
        assert!(
            reads["sent"].as_u64() > Some(0) && reads["right"] == reads["sent"],
            "{step:#}"
        );
        assert!(step["acked"].as_u64() > Some(0), "{step:#}");
    }

    // No cluster keeps to a microsecond: two rates, and none is carried.
    let said = sweep(&[&range[..], &["--p99", "1us"]].concat());
    let carried = said.text().lines().filter(|line| line.ends_with("carried"));
    assert_eq!(carried.count(), 0, "{}", said.all());
    assert!(
        said.text().contains("no rate was carried") && !said.stderr.contains("step 3"),
        "{}",
        said.all()
    );

    for (bad, why) in [
        (&["--from", "5", "--to", "5"][..], "a sweep goes up"),
        (&["--from", "fast"][..], "a rate is a number"),
        (&["--steps", "1"][..], "1 is not in 2..=100"),
        (&["--p99", "0ms"][..], "--p99 is more than nothing"),
    ] {
        let said = sweep(bad).ends(2);
        assert!(said.stderr.contains(why), "{}", said.all());
    }
    let said = type_in(&["bench", "sweep", "--for", "1ms"]).ends(2);
    assert!(said.stderr.contains("--for is at least"), "{}", said.all());
    nodes.stop();
}
