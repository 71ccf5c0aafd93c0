//! A command that is to end by itself, and what it said.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Pid;

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

/// Processes whose parent is this one.
pub(crate) fn children(parent: Pid) -> Vec<u32> {
    let wanted = parent.as_raw_nonzero().to_string();
    let processes = std::fs::read_dir("/proc").expect("it is there").flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    // Behind the name in parentheses stand the state and the parent.
    let is_child = |id: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        fields.split_ascii_whitespace().nth(1) == Some(wanted.as_str())
    };
    ids.filter(is_child).collect()
}
