//! A command that is to end by itself, and what it said.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code, `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

/// Runs a command, whose words on stderr are few.
///
/// # Panics
/// If it runs longer than `limit`; it is ended.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Ended {
    let begun = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let status = loop {
        match child.try_wait().expect("a child of this process") {
            Some(status) => break Some(status),
            None if begun.elapsed() > limit => break None,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let took = begun.elapsed();
    if status.is_none() {
        child.kill().expect("it runs");
        child.wait().expect("a child of this process");
    }
    let mut stderr = String::new();
    let mut pipe = child.stderr.take().expect("stderr is a pipe");
    // Words that are no text are not looked for.
    drop(pipe.read_to_string(&mut stderr));
    match status {
        Some(status) => Ended {
            code: status.code(),
            stderr,
            took,
        },
        None => panic!("{command:?} runs after {limit:?}: {stderr}"),
    }
}
