use std::path::Path;

use super::super::kept::Folder;
use super::super::kept::tests::{kept, result, write};
use super::*;

/// The command's options, as they are typed.
fn arguments(a: &Path, b: &Path, options: &[&str]) -> Arguments {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }
    let words = ["compare", a.to_str().unwrap(), b.to_str().unwrap()];
    let line: Line = clap::Parser::try_parse_from(words.iter().chain(options)).unwrap();
    line.arguments
}

/// Two folders of repeats: rates and p99.
fn sides(a: &[(f64, u64)], b: &[(f64, u64)]) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (before, after) = (folder.path().join("before"), folder.path().join("after"));
    for (below, runs) in [(&before, a), (&after, b)] {
        for (rate, p99) in runs {
            write(below, &result(*rate, *p99));
        }
    }
    (folder, before, after)
}

#[test]
fn repeats_are_compared_by_their_medians_and_gates_by_medians_and_intervals() {
    let (_folder, a, b) = sides(
        &[(1_000.0, 100), (1_010.0, 101), (990.0, 99)],
        &[(1_001.0, 120), (1_000.0, 118), (1_002.0, 122)],
    );
    let options = [
        "--fail-on",
        "p99:+5%",
        "--fail-on",
        "acked:-1%",
        "--fail-on",
        "service-p99:+30%",
    ];
    let compared = compare(&arguments(&a, &b, &options)).unwrap();
    let found: Vec<Found> = compared.gates.iter().map(|judged| judged.found).collect();
    assert_eq!(found, [Found::Failed, Found::Passed, Found::Passed]);
    let text = compared.to_text();
    let row = text.lines().find(|line| line.starts_with("response p99 ")).unwrap();
    let cells: Vec<&str> = row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(
        cells,
        ["response p99", "100", "99 to 101", "120", "118 to 122", "+20.0 %", "us"]
    );
    assert!(
        text.contains("\nA: 3 runs: the median, and an interval that holds that of all runs in 75 of 100 cases"),
        "{text}"
    );
    assert!(
        text.contains("\nfailed: response p99 changed by +20.0 %, from 100 to 120 us, by gate p99:+5%\n"),
        "{text}"
    );

    let object = compared.to_json();
    assert_eq!(object["gates"][0]["result"], "failed");
    assert_eq!(object["gates"][0]["single_runs"], false);
    assert_eq!(object["figures"][0]["a"]["runs"], 3);
    assert_eq!(object["figures"][0]["a"]["covers"], 0.75);
    assert_eq!(object["complete"], true);
}

#[test]
fn scatter_that_explains_a_change_fails_no_gate() {
    let (_folder, a, b) = sides(
        &[(1.0, 100), (1.0, 130), (1.0, 99)],
        &[(1.0, 120), (1.0, 118), (1.0, 140)],
    );
    let compared = compare(&arguments(&a, &b, &["--fail-on", "p99:+5%"])).unwrap();
    assert_eq!(compared.gates[0].found, Found::Unclear);
    assert!(
        compared
            .to_text()
            .contains("the intervals overlap, so repeats have to tell")
    );
}

#[test]
fn a_gate_on_single_runs_says_that_it_is_one() {
    let (_folder, a, b) = sides(&[(1_000.0, 100)], &[(1_000.0, 120)]);
    let compared = compare(&arguments(&a, &b, &["--fail-on", "p99:+5%"])).unwrap();
    assert_eq!(compared.gates[0].found, Found::Failed);
    assert!(compared.said_of(&compared.gates[0]).contains("of a single run"));
    let text = compared.to_text();
    assert!(text.contains("  single run  "), "{text}");
    assert!(text.contains("\nB: a single run, "), "{text}");
    let object = compared.to_json();
    assert_eq!(object["gates"][0]["single_runs"], true);
    assert_eq!(object["figures"][0]["a"]["low"], Value::Null);
}

#[test]
fn different_work_is_refused_with_all_that_differs_unless_it_is_asked_for() {
    let (folder, a, _) = sides(&[(1.0, 100)], &[]);
    let mut other = result(1.0, 100);
    other["workload"] = "hot-actor".into();
    other["settings"]["actors"] = 7.into();
    other["settings"]["for_s"] = 2.0.into();
    other["verdict"] = "INVALID".into();
    other["driver"] = "io_uring".into();
    let b = write(&folder.path().join("other"), &other);
    let refused = compare(&arguments(&a, &b, &[])).map(|_| ()).unwrap_err();
    let said = refused.to_string();
    for line in [
        "workload: w128 and hot-actor",
        "driver in use: epoll and io_uring",
        "actors: nothing and 7",
        "for_s: 1.0 and 2.0",
        ": INVALID",
        "--anyway",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert_eq!(refused.exit_code(), code::USAGE);
    let compared = compare(&arguments(&a, &b, &["--anyway"])).unwrap();
    assert!(compared.to_text().contains("\ndiffers: workload: w128 and hot-actor"));
    assert_eq!(compared.to_json()["differences"].as_array().map(Vec::len), Some(5));
}

#[test]
fn a_gate_on_a_figure_that_is_not_in_all_results_names_those_that_are() {
    let (folder, a, _) = sides(&[(1.0, 100)], &[]);
    let mut other = result(1.0, 100);
    other["figures"].as_array_mut().unwrap().truncate(2);
    let b = write(&folder.path().join("other"), &other);
    for figure in ["p98", "bytes on links"] {
        let gate = format!("{figure}:+5%");
        let refused = compare(&arguments(&a, &b, &["--fail-on", &gate]))
            .map(|_| ())
            .unwrap_err();
        let said = refused.to_string();
        assert!(said.contains(&format!("no figure `{figure}`")), "{said}");
        assert!(said.contains("acked, cpu of all replicas, response p50, "), "{said}");
    }
    let compared = compare(&arguments(&a, &b, &[])).unwrap();
    assert!(compared.to_text().contains("\nnot in all results: bytes on links"));
}

#[test]
fn what_else_differs_is_said() {
    let mut early = result(1.0, 100);
    early["seconds"] = 0.4.into();
    let (a, b) = (kept("a.json", &result(1.0, 100)), kept("b.json", &early));
    assert_eq!(notes(&[&a, &b]), ["b.json ended after 0.4 s, before its time was over"]);
    assert!(differences(&[&a, &b]).is_empty());
}

#[test]
fn a_side_is_files_and_folders_each_result_once_and_damage_in_a_folder_is_named() {
    let (_folder, a, b) = sides(&[(1.0, 100), (1.0, 110)], &[(1.0, 100)]);
    let one = Folder::read(&a).unwrap().results[0].path.clone();
    std::fs::write(b.join("cut.json"), "{").unwrap();
    let both = format!("{},{}", a.display(), one.display());
    let compared = compare(&arguments(Path::new(&both), &b, &[])).unwrap();
    assert_eq!((compared.a.results.len(), compared.b.results.len()), (2, 1));
    assert!(compared.to_text().contains("\nleft out: cut.json: "));
    assert_eq!(compared.to_json()["complete"], false);

    let empty = tempfile::tempdir().unwrap();
    for (path, code) in [
        (empty.path().to_owned(), MeasuringCode::NotResult),
        (b.join("cut.json"), MeasuringCode::NotResult),
        (b.join("nowhere.json"), MeasuringCode::NotRead),
    ] {
        let refused = compare(&arguments(&a, &path, &[])).map(|_| ()).unwrap_err();
        assert_eq!(errors::Coded::code(&refused).number, code.entry().number, "{refused}");
    }
    assert!("a,,b".parse::<Paths>().is_err());
}
