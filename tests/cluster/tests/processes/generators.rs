//! Several generator processes: what they send together is one run, and one that does not do its part is told from a cluster that does not.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Machine, Nodes, Running, Said, children, eventually, five, type_in};

/// Each ends well before.
const LIMIT: Duration = Duration::from_secs(180);

fn load(nodes: &Nodes, own: &[&str]) -> Vec<String> {
    let config = nodes.config_path().display().to_string();
    let all = ["bench", "run", "--actors", "50", "--json", "--config", &config];
    all.iter().chain(own).map(|&word| word.to_owned()).collect()
}

fn run(nodes: &Nodes, own: &[&str]) -> Said {
    let words = load(nodes, own);
    type_in(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// One that sends for a long time, and its generator processes.
fn begun(nodes: &Nodes, count: usize) -> (Running, Vec<Pid>) {
    let words = load(
        nodes,
        &["--rate", "2000", "--for", "30s", "--generators", &count.to_string()],
    );
    let mut running = Running::start(&words.iter().map(String::as_str).collect::<Vec<_>>());
    running.says("measuring");
    let generators = children(running.id());
    assert_eq!(generators.len(), count, "{generators:?}");
    let id = |id: &u32| Pid::from_raw(i32::try_from(*id).expect("a process id")).expect("not 0");
    let generators = generators.iter().map(id).collect();
    std::thread::sleep(Duration::from_millis(700));
    (running, generators)
}

/// None of them is left.
fn are_gone(generators: &[Pid]) {
    for id in generators {
        let gone = || {
            std::fs::metadata(format!("/proc/{}", id.as_raw_nonzero()))
                .is_err()
                .then_some(())
        };
        eventually("a generator ends", Duration::from_secs(10), gone);
    }
}

#[test]
fn several_generators_send_what_one_would() {
    let _machine = Machine::take("several generators", LIMIT);
    let nodes = Nodes::start(five());
    // As many as no three of them share evenly, with actors that are warmed the same way.
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    let trace = folder.path().join("trace").display().to_string();
    std::fs::write(&trace, (0..500).map(|ms| format!("{ms}ms\n")).collect::<String>()).expect("the folder is ours");
    let trace = format!("trace={trace}");
    let runs: [(&[&str], &str, Option<u64>); 4] = [
        (&["--rate", "1000", "--for", "500ms"], "3", Some(500)),
        (&["--arrivals", &trace], "3", Some(500)),
        (
            &[
                "--rate",
                "1000",
                "--for",
                "500ms",
                "--arrivals",
                "poisson",
                "--skew",
                "zipf:1.2",
            ],
            "2",
            None,
        ),
        (&["--closed=7", "--for", "300ms", "--workload", "kv"], "2", None),
    ];
    for (own, count, messages) in runs {
        let said = run(&nodes, &[own, &["--generators", count]].concat());
        // A machine that does other things besides may be late, and says so.
        assert!([0, 11].contains(&said.code), "{}", said.all());
        let report = said.assert_clean();
        assert_eq!(report["generators"].to_string(), count);
        assert_eq!(report["settings"]["generators"].to_string(), count);
        assert_eq!(report["acked"], report["sent"], "{}", said.all());
        let sent = report["sent"].as_u64().expect("a count");
        assert!(messages.is_none_or(|messages| sent == messages), "{}", said.all());
        // Each actor had its first message, and every message was one generator's alone.
        assert_eq!(report["looked_for"].as_u64(), Some(sent + 50), "{}", said.all());
        let rows = report["over_time"].as_array().expect("a list").iter();
        assert_eq!(
            rows.map(|row| row["acked"].as_u64().expect("a count")).sum::<u64>(),
            sent
        );
        if report["workload"] == "kv" {
            let reads = &report["reads"];
            assert!(
                reads["right"].as_u64() > Some(0) && reads["right"] == reads["sent"],
                "{reads}"
            );
        }
    }
    let said = run(&nodes, &["--closed=2", "--generators", "3"]).ends(2);
    assert!(said.stderr.contains("--closed"), "{}", said.all());
    let said = type_in(&["bench", "run", "--workload", "hl7", "--generators", "2"]).ends(2);
    assert!(said.stderr.contains("--generators"), "{}", said.all());
    nodes.stop();
}

#[test]
fn one_generator_that_is_starved_makes_the_run_invalid_and_one_that_dies_ends_it() {
    let _machine = Machine::take("a generator that dies", LIMIT);
    let nodes = Nodes::start(five());

    // An interrupt ends the sending of all; what was sent is read back.
    let (running, generators) = begun(&nodes, 2);
    kill_process(generators[1], Signal::STOP).expect("it runs");
    std::thread::sleep(Duration::from_millis(400));
    kill_process(generators[1], Signal::CONT).expect("it stands still");
    std::thread::sleep(Duration::from_millis(100));
    running.signal(Signal::INT);
    let said = running.end().ends(11);
    let report = said.assert_clean();
    assert_eq!(report["verdict"], "INVALID");
    // Of the 800 that were planned meanwhile half were its own.
    let late = report["late"].as_u64();
    assert!(
        late >= Some(350) && report["sent"].as_u64() < Some(30_000),
        "{}",
        said.all()
    );
    assert!(report["ack_us"]["max"].as_u64() >= Some(390_000), "{}", said.all());
    are_gone(&generators);

    let (running, generators) = begun(&nodes, 3);
    kill_process(generators[2], Signal::KILL).expect("it runs");
    let said = running.end().ends(1);
    assert!(said.stderr.contains("error[WP-8007]"), "{}", said.all());
    assert!(
        said.stdout.is_empty() && said.took < Duration::from_secs(25),
        "{}",
        said.all()
    );
    are_gone(&generators);

    // Generators do not outlive whoever started them.
    let (running, generators) = begun(&nodes, 2);
    running.signal(Signal::KILL);
    are_gone(&generators);
    drop(running);
    nodes.stop();
}
