//! A node that cannot start says what is wrong, where, and what to do, with the exit code that scripts look at.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::{Ended, Machine, binary, run};

const SECOND: Duration = Duration::from_secs(1);

/// A cluster's files in a folder, made by the command itself.
fn init(folder: &Path, base_port: u16) {
    let mut command = Command::new(binary());
    command
        .args(["init", "--folder"])
        .arg(folder)
        .args(["--base-port", &base_port.to_string()]);
    let ended = run(&mut command, 5 * SECOND);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

fn node(config: &Path, name: &str) -> Ended {
    let mut command = Command::new(binary());
    command.args(["node", "--name", name, "--config"]).arg(config);
    let ended = run(&mut command, 8 * SECOND);
    println!("exit {:?} after {:?}: {}", ended.code, ended.took, ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    ended
}

/// The exit code, and every one of these words.
fn assert_ended(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "`{word}` in: {}", ended.stderr);
    }
}

#[test]
fn a_node_that_cannot_start_says_what_where_and_what_to_do() {
    let _machine = Machine::take("wrong flags", 60 * SECOND);
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    init(folder.path(), 9_000);
    let config = folder.path().join("cluster.toml");
    let key = folder.path().join("cluster.key");

    // A port that somebody else has; the second of the ports that the node wants.
    let other = TcpListener::bind(("127.0.0.1", 9_064)).expect("a port that nobody has");
    let ended = node(&config, "FL-A-1");
    assert_ended(&ended, 1, &["9064", "in use", "FL-A-1", "clients", "cluster.toml"]);
    drop(other);

    // A name that the file does not have, with the one that was meant.
    let ended = node(&config, "FL-A-2");
    assert_ended(&ended, 3, &["WP-1504", "FL-A-2", "FL-A-1"]);

    // No such file; a file that is no text; a key that is wrong, with its line.
    let missing = folder.path().join("missing.toml");
    assert_ended(&node(&missing, "FL-A-1"), 3, &["missing.toml", "WP-"]);
    let text = std::fs::read_to_string(&config).expect("init wrote it");
    std::fs::write(&config, [0xFF, 0xFE, 0x00]).expect("a folder of ours");
    assert_ended(&node(&config, "FL-A-1"), 3, &["cluster.toml:1:1", "UTF-8"]);
    std::fs::write(&config, text.replace("workers = 1", "wrokers = 1")).expect("a folder of ours");
    assert_ended(&node(&config, "FL-A-1"), 3, &["cluster.toml:", "wrokers", "workers"]);
    std::fs::write(&config, &text).expect("a folder of ours");

    // No key file, and one that is no key.
    let digits = std::fs::read_to_string(&key).expect("init wrote it");
    std::fs::remove_file(&key).expect("a folder of ours");
    assert_ended(&node(&config, "FL-A-1"), 3, &["WP-1501", "cluster.key"]);
    std::fs::write(&key, "not a key").expect("a folder of ours");
    let ended = node(&config, "FL-A-1");
    assert_ended(&ended, 3, &["WP-1502", "cluster.key"]);
    std::fs::write(&key, &digits[..60]).expect("a folder of ours");
    let ended = node(&config, "FL-A-1");
    assert_ended(&ended, 3, &["WP-1502"]);
    assert!(
        !ended.stderr.contains(&digits[..8]),
        "no digit of a key is shown: {}",
        ended.stderr
    );
    std::fs::write(&key, &digits).expect("a folder of ours");

    // A host that is none of this machine's addresses, and one that has no address.
    let host = |host: &str| text.replace(r#"host = "127.0.0.1""#, &format!("host = \"{host}\""));
    std::fs::write(&config, host("192.0.2.1")).expect("a folder of ours");
    assert_ended(&node(&config, "FL-A-1"), 1, &["192.0.2.1", "FL-A-1", "host"]);

    // A flag that is none.
    let ended = run(Command::new(binary()).args(["node", "--nmae", "FL-A-1"]), 5 * SECOND);
    assert_ended(&ended, 2, &["--nmae", "--name"]);
}
