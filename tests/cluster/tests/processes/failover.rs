//! The command that measures what failures cost: here only that it kills, reads back and says what it found.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Machine, binary};

/// Everything has an end well before: the start, one fault, the copies, and reading back.
const LIMIT: Duration = Duration::from_secs(240);
/// A killed writer may cost this on a machine that does other things besides; what it should cost, the bench says.
const UNAVAILABLE_MAX_MS: f64 = 15_000.0;

#[test]
fn after_a_writer_was_killed_everything_acked_is_held_once_and_every_key_is_acked_again() {
    let _machine = Machine::take("bench failover", LIMIT);
    let output = Command::new(binary())
        .args(["bench", "failover", "--scenario", "kill", "--times", "1"])
        .args(["--keys", "64", "--every", "50ms", "--json"])
        .stdin(Stdio::null())
        .output()
        .expect("the command can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(output.status.code(), Some(0), "{report:#}\n{said}");
    assert_eq!(report["schema"], "waterpark.failover.1");
    let kill = &report["scenarios"][0];
    assert_eq!(
        (&kill["scenario"], &kill["times"]),
        (&"kill".into(), &1.into()),
        "{kill:#}"
    );
    for none in [
        "lost",
        "duplicated",
        "disordered",
        "refused_but_held",
        "differing",
        "failed",
        "never_again",
    ] {
        assert_eq!(kill[none], 0, "{none}: {kill:#}");
    }
    assert_eq!(kill["looked_for"], kill["acked"], "{kill:#}");
    let hit = &kill["unavailability_ms"];
    assert!(
        hit["count"].as_u64() > Some(0),
        "the victim wrote some of the keys: {kill:#}"
    );
    assert!(hit["max"].as_f64() < Some(UNAVAILABLE_MAX_MS), "{kill:#}");
}
