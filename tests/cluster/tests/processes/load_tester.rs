//! What the load tester says where something is wrong: with the cluster, with the load tester itself, or with what was acked.
//!
//! It runs as its own command against real processes. How fast it is does not matter here.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Forgetful, Machine, Nodes, Running, Said, eventually, five, type_in};

/// Each ends well before.
const LIMIT: Duration = Duration::from_secs(180);
/// Messages a second of the open loops: any machine sends so many.
const RATE: &str = "2000";

/// An open loop against these nodes that has sent for a second.
fn open_loop(nodes: &Nodes, time: &str) -> Running {
    let config = nodes.config_path().display().to_string();
    let load = ["bench", "run", "--rate", RATE, "--for", time, "--actors", "50"];
    let mut running = Running::start(&[&load[..], &["--config", &config, "--json"]].concat());
    running.says("measuring");
    std::thread::sleep(Duration::from_secs(1));
    running
}

/// A time of a report, in µs.
fn us(report: &Value, of: &str, what: &str) -> u64 {
    report[of][what]
        .as_u64()
        .unwrap_or_else(|| panic!("{of}.{what}: {report:#}"))
}

#[test]
fn a_cluster_that_stands_still_for_200_ms_is_seen_in_the_tail() {
    let _machine = Machine::take("a stall seen by the load tester", LIMIT);
    let nodes = Nodes::start(five());
    let running = open_loop(&nodes, "3s");
    (0..nodes.len()).for_each(|place| nodes.pause(place));
    std::thread::sleep(Duration::from_millis(200));
    (0..nodes.len()).for_each(|place| nodes.resume(place));
    let said = running.end();
    // A machine that does other things besides may be late, and says so.
    assert!([0, 11].contains(&said.code), "{}", said.all());
    let report = said.assert_clean();
    assert_eq!(report["acked"], report["sent"], "{}", said.all());
    // 400 of 6,000 messages were planned in those 200 ms. The slowest of a hundred and of a thousand are among the first of them: had the
    // generator waited for the cluster with what it planned, it would have been slow once for each message under way.
    for (quantile, least) in [("max", 195_000), ("p999", 185_000), ("p99", 150_000)] {
        let found = us(&report, "ack_us", quantile);
        assert!(found >= least, "{quantile} {found}: {}", said.all());
    }
    // What was sent went on waiting: that is the cluster's doing, and service tells it too.
    assert!(us(&report, "service_us", "max") >= 150_000, "{}", said.all());
    // And it lies where it was, behind the first second.
    let rows = report["over_time"].as_array().expect("a list");
    let slowest = rows.iter().max_by_key(|row| row["max"].as_u64()).expect("some rows");
    assert!(slowest["max"].as_u64() >= Some(190_000), "{rows:#?}");
    assert!(slowest["at_ms"].as_u64() >= Some(700), "{slowest}");
    nodes.stop();
}

#[test]
fn a_load_tester_that_gets_no_cpu_says_that_its_figures_are_worth_nothing() {
    let _machine = Machine::take("a starved load tester", LIMIT);
    let nodes = Nodes::start(five());
    let running = open_loop(&nodes, "2s");
    running.pause(Duration::from_millis(300));
    let said = running.end().ends(11);
    let report = said.assert_clean();
    assert_eq!(report["verdict"], "INVALID");
    // 600 of 4,000 were planned meanwhile.
    assert!(report["late"].as_u64() >= Some(550), "{}", said.all());
    // What was planned and not sent has waited as well, and only what was sent was served.
    let (response, service) = (us(&report, "ack_us", "p99"), us(&report, "service_us", "p99"));
    assert!(response >= 250_000 && service < response, "{service} {response}");

    // And one that is asked for more than any could send.
    let config = nodes.config_path().display().to_string();
    let load = [
        "bench",
        "run",
        "--rate",
        "1e8",
        "--for",
        "100ms",
        "--actors",
        "50",
        "--message-bytes",
        "24",
    ];
    let said = Running::start(&[&load[..], &["--config", &config, "--json"]].concat())
        .end()
        .ends(11);
    said.assert_clean();
    assert!(said.json()["late"].as_u64() >= Some(9_000_000), "{}", said.all());
    assert!(said.stderr.contains("error[WP-"), "{}", said.all());
    nodes.stop();
}

#[test]
fn messages_arrive_as_they_were_planned_and_results_of_other_arrivals_are_not_compared() {
    let _machine = Machine::take("arrivals", LIMIT);
    let nodes = Nodes::start(five());
    let config = nodes.config_path().display().to_string();
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let name = |what: &str| folder.path().join(what).display().to_string();
    let run = |own: &[&str]| -> Said {
        let load = ["bench", "run", "--actors", "50", "--json", "--config", &config];
        type_in(&[&load[..], own].concat())
    };
    let trace = name("trace");
    // A message each ms, and forty at the end.
    let offsets = (0..400).map(|ms| format!("{}\n", ms * 1_000)).collect::<String>() + &"400ms\n".repeat(40);
    std::fs::write(&trace, format!("# us\n{offsets}")).expect("the folder is ours");
    let runs = [
        ("constant", "constant", 250),
        ("poisson", "poisson", 250),
        ("bursts=50", "bursts=50", 250),
        (&format!("trace={trace}"), "trace of 440 messages, ", 440),
    ];
    for (place, (arrivals, said_so, messages)) in runs.into_iter().enumerate() {
        let rate: &[&str] = if place < 3 {
            &["--rate", "500", "--for", "500ms"]
        } else {
            &[]
        };
        let save = name(&format!("run-{place}"));
        let said = run(&[rate, &["--arrivals", arrivals, "--save", &save]].concat());
        // A machine that does other things besides may be late, and says so.
        assert!([0, 11].contains(&said.code), "{}", said.all());
        let report = said.assert_clean();
        let named = report["settings"]["arrivals"].as_str().expect("they are named");
        assert!(named.starts_with(said_so), "{named}");
        let sent = report["sent"].as_u64().expect("a number");
        let late = report["late"].as_u64().expect("a number");
        if arrivals == "poisson" {
            // 250 give or take 16: six times that is far.
            assert!((sent + late).abs_diff(messages) < 100, "{}", said.all());
        } else {
            assert!(sent <= messages && sent + late >= messages, "{}", said.all());
        }
        if place == 3 {
            let time = report["settings"]["for_s"].as_f64().expect("a time");
            assert!((time - 0.4).abs() < 0.001, "{}", said.all());
            let rows = report["over_time"].as_array().expect("a list");
            let acked: Vec<u64> = rows.iter().filter_map(|row| row["acked"].as_u64()).collect();
            assert!(late > 0 || acked == [100, 100, 100, 100, 40], "{rows:#?}");
        }
    }
    let said = type_in(&["bench", "compare", &name("run-0"), &name("run-1")]).ends(2);
    assert!(said.stderr.contains("arrivals: constant and poisson"), "{}", said.all());

    let (whole, none) = (format!("trace={trace}"), format!("trace={config}"));
    let bad = [
        (&["--arrivals", "poisson", "--closed"][..], "cannot be used with"),
        (&["--arrivals", "often"][..], "arrivals are constant, poisson, bursts"),
        (
            &["--arrivals", "poisson", "--rate", "1e8"][..],
            "1000000000 messages would be planned",
        ),
        (
            &["--arrivals", "poisson", "--workload", "overload"][..],
            "overload has constant arrivals",
        ),
        (&["--arrivals", &whole, "--rate", "5"][..], "a trace has its own rate"),
        (&["--arrivals", &none][..], "error[WP-8031]: the trace "),
    ];
    for (arguments, why) in bad {
        // Those of workloads with nodes of their own name no configuration.
        let run = [&["bench", "run"], arguments].concat();
        let said = type_in(&run).ends(2);
        assert!(said.stderr.contains(why), "{}", said.all());
    }
    let said = type_in(&["bench", "sweep", "--arrivals", &whole]).ends(2);
    assert!(said.stderr.contains("a trace has one rate"), "{}", said.all());
    nodes.stop();
}

#[test]
fn reads_beside_writes_see_what_was_acked_before_at_every_member() {
    let _machine = Machine::take("keys and values", LIMIT);
    let nodes = Nodes::start(five());
    let config = nodes.config_path().display().to_string();
    let load = ["bench", "run", "--workload", "kv", "--closed=64", "--for", "500ms"];
    for (level, reads, actors) in [("session", 50, "1"), ("linearizable", 90, "20")] {
        let (config, percent) = (["--config", &config, "--json"], reads.to_string());
        let own = ["--actors", actors, "--read-level", level, "--reads", &percent];
        let said = type_in(&[&load[..], &config, &own].concat()).ends(0);
        let report = said.assert_clean();
        let count = |name: &str| report["reads"][name].as_u64().expect("a number");
        assert_eq!(
            (count("failed"), count("stale"), count("wrong")),
            (0, 0, 0),
            "{}",
            said.all()
        );
        assert_eq!(count("right"), count("sent"), "{}", said.all());
        let all = count("sent") + report["sent"].as_u64().expect("a number");
        assert!(
            (count("sent") * 100 / all).abs_diff(reads) <= 5 && all > 500,
            "{}",
            said.all()
        );
        assert!(
            us(&report, "read_us", "p50") > 0 && us(&report, "ack_us", "p50") > 0,
            "{}",
            said.all()
        );
        let named = (&report["settings"]["read_level"], &report["settings"]["reads_percent"]);
        assert_eq!(named, (&level.into(), &reads.into()));
        if level == "session" {
            // Of one group: its writer and all of its followers were asked.
            assert!(
                (0..nodes.len()).all(|place| nodes.counter(place, "reads") > 10),
                "{}",
                said.all()
            );
        }
    }
    let said = type_in(&["bench", "run", "--workload", "kv", "--message-bytes", "205"]).ends(2);
    assert!(
        said.stderr.contains("a message of kv has 36 to 204 bytes"),
        "{}",
        said.all()
    );
    nodes.stop();
}

#[test]
fn quiet_senders_are_told_apart_from_a_noisy_one_before_and_beside_it() {
    let _machine = Machine::take("a noisy neighbour", LIMIT);
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let save = folder.path().display().to_string();
    let load = [
        "bench",
        "run",
        "--workload",
        "noisy-neighbour",
        "--for",
        "400ms",
        "--rate",
        "500",
    ];
    let noise = [
        "--waiting",
        "16",
        "--round-trip",
        "20ms",
        "--actors",
        "50",
        "--json",
        "--save",
        &save,
    ];
    let said = type_in(&[&load[..], &noise].concat());
    // A machine that does other things besides may be late, and says so.
    assert!([0, 11].contains(&said.code), "{}", said.all());
    let report = said.assert_clean();
    for none in ["lost", "duplicated", "differing", "foreign", "unreadable"] {
        assert_eq!(report["noise"]["read_back"][none], 0, "{none}: {}", said.all());
    }
    let number = |of: &Value| of.as_u64().unwrap_or_else(|| panic!("{}", said.all()));
    // A thousand first messages, and two hundred in each stretch.
    let (alone, beside) = (number(&report["alone"]["acked"]), number(&report["acked"]));
    assert!(alone <= 200 && beside <= 200, "{}", said.all());
    assert_eq!(number(&report["looked_for"]), 1_000 + alone + beside, "{}", said.all());
    let of_noise = &report["noise"];
    assert!(
        number(&of_noise["refused"]) > 0 && number(&of_noise["acked"]) > 0,
        "{}",
        said.all()
    );
    assert!(
        us(&report, "alone_us", "p50") > 0 && us(&report, "ack_us", "p50") > 0,
        "{}",
        said.all()
    );
    assert_eq!(
        (&report["events"][0]["event"], &report["events"][0]["at_ms"]),
        (&"noise".into(), &400.into())
    );
    let rows = report["over_time"].as_array().expect("a list");
    assert_eq!(
        rows.iter().map(|row| number(&row["acked"])).sum::<u64>(),
        alone + beside,
        "{rows:#?}"
    );
    let page = folder.path().join("page.html");
    type_in(&["bench", "report", &save, "-o", &page.display().to_string()]).ends(0);
    let page = std::fs::read_to_string(page).expect("it was written");
    assert!(
        page.contains("<td>alone</td>") && page.contains("<figcaption>Response over time"),
        "{page}"
    );
    let said = type_in(&["bench", "run", "--workload", "noisy-neighbour", "--arrivals", "poisson"]).ends(2);
    assert!(
        said.stderr.contains("noisy-neighbour has constant arrivals"),
        "{}",
        said.all()
    );
}

#[test]
fn a_feed_over_mllp_keeps_its_plan_or_says_that_it_did_not_and_tells_its_times_over_time() {
    let _machine = Machine::take("planned hl7", LIMIT);
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let save = folder.path().display().to_string();
    let load = ["bench", "run", "--workload", "hl7", "--json", "--rate", "200"];
    let said = type_in(&[&load[..], &["--for", "1s", "--save", &save]].concat());
    // A machine that does other things besides may be late, and says so.
    assert!([0, 11].contains(&said.code), "{}", said.all());
    let report = said.json();
    let number = |name: &str| {
        report[name]
            .as_u64()
            .unwrap_or_else(|| panic!("{name}: {}", said.all()))
    };
    assert_eq!(
        (number("lost"), number("duplicated"), number("unreadable")),
        (0, 0, 0),
        "{}",
        said.all()
    );
    assert!(
        number("sent") <= 200 && number("sent") + number("late") >= 199,
        "{}",
        said.all()
    );
    assert_eq!(
        number("late") * 100 > number("sent") + number("late"),
        said.code == 11,
        "{}",
        said.all()
    );
    let rows = report["over_time"].as_array().expect("a list");
    let acked: u64 = rows.iter().filter_map(|row| row["acked"].as_u64()).sum();
    assert_eq!(acked, number("acked"), "{rows:#?}");
    assert!(number("late") > 0 || rows.len() == 10, "{rows:#?}");
    let page = folder.path().join("page.html");
    type_in(&["bench", "report", &save, "-o", &page.display().to_string()]).ends(0);
    let page = std::fs::read_to_string(page).expect("it was written");
    assert!(!page.contains("holds nothing over time"), "{page}");

    let mut running = Running::start(&[&load[..], &["--for", "2s"]].concat());
    running.says("connections send");
    std::thread::sleep(Duration::from_millis(500));
    running.pause(Duration::from_millis(300));
    let said = running.end().ends(11);
    // Of 400 messages 60 were planned meanwhile.
    assert!(said.json()["late"].as_u64() >= Some(50), "{}", said.all());
    assert!(us(&said.json(), "ack_us", "p99") >= 200_000, "{}", said.all());
}

#[test]
fn one_message_of_a_million_that_is_acked_and_held_by_nobody_is_a_fail_whatever_the_speed() {
    const MESSAGES: u64 = 1_000_000;
    let _machine = Machine::take("a server that forgets", LIMIT);
    let mut plan = five();
    plan.memory = 1 << 30;
    let nodes = Nodes::start(plan);
    let before = Forgetful::before(&nodes, MESSAGES / 2);
    let load = [
        "bench",
        "run",
        "--closed=8192",
        "--cold",
        "--for",
        "150s",
        "--message-bytes",
        "24",
    ];
    let rest = ["--actors", "10000", "--config", &before.config_path(), "--json"];
    let mut running = Running::start(&[&load[..], &rest].concat());
    running.says("measuring");
    eventually("a million messages", LIMIT, || {
        (before.come() >= MESSAGES).then_some(())
    });
    running.signal(Signal::INT);
    let said = running.end().ends(1);
    let report = said.json();
    assert_eq!(
        (&report["verdict"], &report["lost"]),
        (&"FAIL".into(), &1.into()),
        "{}",
        said.all()
    );
    assert_eq!(
        (&report["refused"], &report["unknown"]),
        (&0.into(), &0.into()),
        "{}",
        said.all()
    );
    assert!(report["looked_for"].as_u64() >= Some(MESSAGES), "{}", said.all());
    // A message begins with its run's seed and its number.
    let forgotten = before.forgotten().expect("one was forgotten");
    let number = u64::from_le_bytes(forgotten[8..16].try_into().expect("eight bytes"));
    let named = format!("message {number} is acked and held by no member");
    let findings = report["findings"].as_array().expect("a list");
    assert!(
        findings.len() == 1 && findings[0].as_str().is_some_and(|said| said.contains(&named)),
        "{named}: {}",
        said.all()
    );
    nodes.stop();
}
