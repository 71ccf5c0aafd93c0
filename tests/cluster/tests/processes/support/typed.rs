//! A command as a person types it, and everything that it says.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::binary;

/// How a command ended, and all it said.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Said {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("what is for people is UTF-8")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.all()))
    }

    pub(crate) fn all(&self) -> String {
        format!(
            "exit {}\n{}\n{}",
            self.code,
            String::from_utf8_lossy(&self.stdout),
            self.stderr
        )
    }

    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Said {
        assert_eq!(self.code, code, "{}", self.all());
        self
    }

    /// The report of a run by which nothing that was acked is wrong.
    #[track_caller]
    pub(crate) fn assert_clean(&self) -> Value {
        let report = self.json();
        for none in [
            "lost",
            "duplicated",
            "differing",
            "foreign",
            "unreadable",
            "refused_but_held",
        ] {
            assert_eq!(report[none], 0, "{none}: {}", self.all());
        }
        report
    }
}

/// Types a command, with these bytes on its stdin.
pub(crate) fn type_with(arguments: &[&str], stdin: &[u8]) -> Said {
    let begun = Instant::now();
    let mut child = Command::new(binary())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command can be started");
    let mut input = child.stdin.take().expect("it was asked for");
    // A command that reads no input closes it.
    drop(input.write_all(stdin));
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    Said {
        code: output.status.code().expect("no signal ended it"),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        took: begun.elapsed(),
    }
}

pub(crate) fn type_in(arguments: &[&str]) -> Said {
    type_with(arguments, b"")
}
