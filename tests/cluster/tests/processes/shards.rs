//! Shards of one process: messages that cross between them, and the cores that they run on.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use waterpark_bench::cluster::ClusterPlan;

use crate::support::{How, Load, Machine, Nodes, binary, five, run};

const SECOND: Duration = Duration::from_secs(1);
const TASKSET: &str = "/usr/bin/taskset";

/// The configuration with these workers, one text per node in the order of the file; as TOML writes them.
fn with_workers(text: &str, workers: &[&str]) -> String {
    let mut tables = text.split("[[node]]\n");
    let mut edited = tables.next().unwrap_or_default().to_owned();
    for (table, workers) in tables.zip(workers) {
        edited.push_str(&format!("[[node]]\nworkers = {workers}\n{table}"));
    }
    edited
}

#[test]
fn a_cluster_of_nodes_with_one_two_and_three_shards_acks_through_every_entry_on_both_drivers() {
    let _machine = Machine::take("shards", 90 * SECOND);
    for driver in ["io-uring", "epoll"] {
        let mut plan = five();
        plan.driver = driver.to_owned();
        // So many ports are looked for.
        plan.workers = 3;
        let mut nodes = Nodes::start_edited(plan, |text| with_workers(text, &["1", "2", "3", "2", "1"]));
        let shards: Vec<u16> = nodes.config.nodes.iter().map(|node| node.shards).collect();
        assert_eq!(shards, [1, 2, 3, 2, 1]);
        for place in 0..nodes.len() {
            let statuses = nodes.status(place);
            let name = driver.replace('-', "_");
            assert!(statuses.iter().all(|status| status.driver == name), "{statuses:?}");
            // Whoever enters here speaks to this node alone, which passes everything on.
            let mut load = Load::new(&nodes, nodes.addresses(&[place]), false, 128);
            let first = load.paced(1_000, SECOND / 2, How::default(), |_| true);
            load.settle(6 * SECOND);
            let tally = load.tally_since(first);
            assert!(
                tally.sent > 100 && tally.acked == tally.sent,
                "through {}: {tally:?}",
                nodes.name(place)
            );
            load.assert_clean();
        }
        // Clients that know every shard.
        let mut load = Load::new(&nodes, nodes.addresses(&[0]), true, 128);
        let first = load.paced(1_000, SECOND / 2, How::default(), |_| true);
        load.settle(6 * SECOND);
        let tally = load.tally_since(first);
        assert_eq!(tally.acked, tally.sent, "{tally:?}");
        load.assert_clean();
        let crossed: Vec<u64> = (0..nodes.len()).map(|place| nodes.counter(place, "crossed")).collect();
        println!("{driver}: messages that crossed shards, by node: {crossed:?}");
        for (crossed, shards) in crossed.iter().zip(&shards) {
            assert_eq!(*crossed > 0, *shards > 1, "{crossed} crossed on a node of {shards}");
        }
        nodes.assert_all_live();
        nodes.stop();
    }
}

/// The command, run where only these cores are allowed.
fn confined(folder: &Path, cores: &str) -> PathBuf {
    let path = folder.join("confined");
    let script = format!("#!/bin/sh\nexec {TASKSET} -c {cores} {} \"$@\"\n", binary().display());
    std::fs::write(&path, script).expect("a folder of ours");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a file of ours");
    path
}

/// The cores that each shard's thread of a process may use, by shard, as the kernel says.
fn masks(pid: u32) -> Vec<String> {
    let mut found = Vec::new();
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives");
    for thread in threads.flatten() {
        let read = |name: &str| std::fs::read_to_string(thread.path().join(name)).unwrap_or_default();
        let name = read("comm").trim().to_owned();
        let status = read("status");
        let mask = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        if name.starts_with("shard-") {
            found.push((name, mask.unwrap_or("?").trim().to_owned()));
        }
    }
    found.sort();
    found.into_iter().map(|(_, mask)| mask).collect()
}

/// One node alone.
fn one(binary: PathBuf, workers: u16) -> ClusterPlan {
    let mut plan = five();
    plan.nodes.truncate(1);
    plan.binary = binary;
    plan.workers = workers;
    plan
}

#[test]
fn shards_run_on_the_cores_that_they_were_given_and_on_no_other() {
    let _machine = Machine::take("pinning", 60 * SECOND);
    let cores = rustix::thread::sched_getaffinity(None).expect("this process has a mask");
    if !(cores.is_set(0) && cores.is_set(1)) {
        println!("skipped: cores 0 and 1 are not both allowed here");
        return;
    }
    let folder = tempfile::TempDir::new().expect("a temporary folder");

    // Named cores, one for all five nodes.
    let nodes = Nodes::start_edited(five(), |text| with_workers(text, &[r#""1-1""#; 5]));
    for place in 0..nodes.len() {
        assert_eq!(masks(nodes.pid(place)), ["1"], "{}", nodes.name(place));
    }
    let mut load = Load::new(&nodes, nodes.addresses(&[0]), true, 128);
    let first = load.paced(500, SECOND / 2, How::default(), |_| true);
    load.settle(6 * SECOND);
    let tally = load.tally_since(first);
    assert_eq!(tally.acked, tally.sent, "{tally:?}");
    nodes.stop();

    // A list, and a count that the process spreads.
    let nodes = Nodes::start_edited(one(binary(), 2), |text| with_workers(text, &[r#""0-1""#]));
    assert_eq!(masks(nodes.pid(0)), ["0", "1"]);
    nodes.stop();
    let nodes = Nodes::start(one(binary(), 2));
    let count = masks(nodes.pid(0));
    assert_eq!(count.len(), 2);
    if cores.count() == 2 {
        assert_eq!(count, ["0", "1"], "as many shards as cores: each has its own");
    }
    nodes.stop();

    if !Path::new(TASKSET).exists() {
        println!("the rest is skipped: there is no {TASKSET}");
        return;
    }
    // One core of the host: a count of one is that core, more shards than cores are left to the kernel, which keeps to the mask.
    let nodes = Nodes::start(one(confined(folder.path(), "1"), 1));
    assert_eq!(masks(nodes.pid(0)), ["1"]);
    nodes.stop();
    let nodes = Nodes::start(one(confined(folder.path(), "1"), 2));
    assert_eq!(masks(nodes.pid(0)), ["1", "1"]);
    nodes.stop();
    let nodes = Nodes::start_edited(one(confined(folder.path(), "1"), 1), |text| {
        with_workers(text, &["\"auto\"\nshards = 1"])
    });
    assert_eq!(masks(nodes.pid(0)), ["1"]);

    // A core that is not in the mask is refused, with the words that help.
    let path = nodes.config_path();
    let text = std::fs::read_to_string(&path).expect("it was written");
    let refused = folder.path().join("refused.toml");
    std::fs::write(&refused, text.replace(r#"workers = "auto""#, r#"workers = "0-0""#)).expect("a folder of ours");
    std::fs::copy(
        nodes.cluster.folder().join("cluster.key"),
        folder.path().join("cluster.key"),
    )
    .expect("it was written");
    let name = nodes.name(0).to_owned();
    nodes.stop();
    let mut command = Command::new(confined(folder.path(), "1"));
    command.args(["node", "--name", &name, "--config"]).arg(&refused);
    let ended = run(&mut command, 5 * SECOND);
    println!("{}", ended.stderr);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    for wanted in [name.as_str(), "core 0", "allowed are 1", "cluster.toml"] {
        assert!(ended.stderr.contains(wanted), "`{wanted}` in: {}", ended.stderr);
    }
}
