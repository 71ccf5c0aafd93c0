//! A command that is watched, and disturbed, while it runs.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Said;
use super::binary;

/// A command that runs. Whoever drops it ends it.
pub(crate) struct Running {
    child: Option<Child>,
    lines: Lines<BufReader<ChildStderr>>,
    stderr: String,
    begun: Instant,
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Running {
        let mut child = Command::new(binary())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command can be started");
        let lines = BufReader::new(child.stderr.take().expect("it was asked for")).lines();
        Running {
            child: Some(child),
            lines,
            stderr: String::new(),
            begun: Instant::now(),
        }
    }

    /// Waits until it says a line on stderr that ends so.
    ///
    /// # Panics
    /// If it closes stderr before.
    pub(crate) fn says(&mut self, end: &str) {
        for line in self.lines.by_ref().map_while(Result::ok) {
            self.stderr += &line;
            self.stderr.push('\n');
            if line.ends_with(end) {
                return;
            }
        }
        panic!("it never says {end}: {}", self.stderr);
    }

    pub(crate) fn id(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("it runs"))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).expect("it is a child of this process");
    }

    /// Stops it without its doing, for so long.
    pub(crate) fn pause(&self, time: Duration) {
        self.signal(Signal::STOP);
        std::thread::sleep(time);
        self.signal(Signal::CONT);
    }

    /// Waits for its end; all that it said.
    pub(crate) fn end(mut self) -> Said {
        let child = self.child.take().expect("it is ended once");
        let lines = &mut self.lines;
        // A pipe that is full would keep it from its end.
        let (output, rest) = std::thread::scope(|scope| {
            let rest = scope.spawn(|| lines.map_while(Result::ok).map(|line| line + "\n").collect::<String>());
            let output = child.wait_with_output().expect("it ends");
            (output, rest.join().expect("it only reads"))
        });
        Said {
            code: output.status.code().expect("no signal ended it"),
            stdout: output.stdout,
            stderr: std::mem::take(&mut self.stderr) + &rest,
            took: self.begun.elapsed(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Its nodes end with it.
            drop(child.kill());
            drop(child.wait());
        }
    }
}
