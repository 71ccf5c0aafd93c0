use clap::Parser;

use super::*;

/// A command line of `latency`.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn line(text: &str) -> Result<Arguments, clap::Error> {
    let words = std::iter::once("latency").chain(text.split_ascii_whitespace());
    Line::try_parse_from(words).map(|line| line.arguments)
}

fn figure(ns: u64) -> Figure {
    let mut figure = Figure::new();
    figure.record(StdDuration::from_nanos(ns));
    figure
}

#[test]
fn every_part_stands_in_the_page_and_in_the_object() {
    let arguments = line("--peer localhost:7 --folder data").unwrap();
    let allowed: Cores = "0-2".parse().unwrap();
    let measured = Measured {
        hiccups: Some((2, figure(15_000))),
        pairs: vec![((0, 1), figure(100)), ((0, 2), figure(200)), ((1, 2), figure(300))],
        network: Some((Some("localhost:7".to_owned()), figure(20_000))),
        disk: Some(Synced {
            figure: figure(1_500_000),
            is_in_memory: true,
        }),
        missing: vec!["it".to_owned()],
    };
    let shown = page(&arguments, Some(3), &measured);
    for words in [
        "gaps of core 2 while it spins",
        "cache line, core 1 to 2 and back",
        "128 bytes over TCP, localhost:7 and back",
        "append of 128 bytes and fdatasync in data",
        "hiccups (10.0 us or longer) of core 2: 1",
        "core 2  200 ns  300 ns  -",
        "data is in memory",
        "gave 3 ms",
        "not measured: it",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let object = object(&arguments, &allowed, Some(3), &measured);
    assert_eq!((&object["complete"], &object["cores"]), (&false.into(), &"0-2".into()));
    assert_eq!(object["hiccups"]["gap_ns"]["count"], 1);
    assert_eq!(object["hiccups"]["from_10us"], 1);
    assert_eq!(object["core_to_core"][2]["cores"], json!([1, 2]));
    assert_eq!(object["network"]["peer"], "localhost:7");
    assert_eq!(object["disk"]["sync_ns"]["count"], 1);
    let nothing = self::object(&arguments, &allowed, None, &Measured::default());
    assert_eq!((&nothing["complete"], &nothing["disk"]), (&true.into(), &Value::Null));
}

#[test]
fn where_time_or_cores_are_short_pairs_are_left_out_and_that_is_said() {
    let allowed = waterpark_reactor::cores::allowed().unwrap();
    let one: Cores = allowed.as_slice().iter().copied().take(1).collect();
    let mut measured = Measured::default();
    pairs(&one, StdDuration::from_millis(1), &mut measured).unwrap();
    assert_eq!(measured.missing, ["core to core: one core alone is allowed"]);
    if allowed.len() < 3 {
        eprintln!("skipped in part: with fewer than three cores there is one pair at most");
        return;
    }
    let mut measured = Measured::default();
    pairs(&allowed, StdDuration::ZERO, &mut measured).unwrap();
    assert_eq!((measured.pairs.len(), measured.missing.len()), (1, 1));
}

#[test]
fn a_part_without_a_sample_is_missing() {
    let mut measured = Measured {
        pairs: vec![((0, 1), Figure::new()), ((0, 2), figure(1))],
        network: Some((None, Figure::new())),
        ..Measured::default()
    };
    measured.say_what_has_no_sample();
    let missing: Vec<&str> = measured
        .missing
        .iter()
        .filter_map(|missing| missing.split(':').next())
        .collect();
    assert_eq!(missing, ["core 0 to 1", "network"]);
}

#[test]
fn only_the_parts_that_are_asked_for_are_measured() {
    let arguments = line("--for 100ms --only network").unwrap();
    let Ok((_, _, measured)) = measure(&arguments) else {
        panic!("loopback is refused")
    };
    assert!(measured.network.is_some() && measured.hiccups.is_none() && measured.disk.is_none());
    assert!(measured.pairs.is_empty());
}

#[test]
fn an_operator_s_mistake_has_its_failure() {
    let failure = |text: &str| match measure(&line(text).unwrap()) {
        Err(failure) => failure.exit_code(),
        Ok(_) => panic!("{text} was measured"),
    };
    assert_eq!(failure("--for 100ms --only hiccups --core 4095"), 2);
    assert_eq!(failure("--for 100ms --only network --peer nonsense"), 2);
    assert_eq!(failure("--for 100ms --only disk --folder nowhere/at/all"), 1);
    assert!(line("--listen 127.0.0.1:0 --json").is_err());
    assert!(line("--for soon").is_err());
    assert!(line("--only everything").is_err());
}
