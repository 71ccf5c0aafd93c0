//! What a host says of itself in files: which file says what, as values.
//!
//! Nothing here judges, nothing here writes. All files are below a root, so that a folder with a few of them is a host. **Invariant:** what
//! cannot be read is absent, never a default: whoever judges says what it did not see.

pub(crate) mod cores;
mod facts;
mod read;
#[cfg(test)]
pub(crate) mod testing;

use std::path::{Path, PathBuf};

pub(crate) use facts::{Clock, Congestion, Facts, Governor, HugePages, Interrupt, Limit, Listening};
pub(crate) use read::chosen;

/// Time of all cores that a hypervisor gave to others since the start of the host that runs us.
pub(crate) fn steal_ms() -> Option<u64> {
    let text = Root::new("/".as_ref()).text("/proc/stat")?;
    let ticks: u64 = text.lines().next()?.split_ascii_whitespace().nth(8)?.parse().ok()?;
    Some(ticks * 1_000 / rustix::param::clock_ticks_per_second().max(1))
}

/// Where the files of a host are: `/`, or a folder that plays one.
#[derive(Clone, Debug)]
pub(crate) struct Root(PathBuf);

impl Root {
    pub(crate) fn new(folder: &Path) -> Root {
        Root(folder.to_owned())
    }

    /// Whether this is the host that runs us.
    pub(crate) fn is_own(&self) -> bool {
        self.0 == Path::new("/")
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }

    /// Where a file of the host is; `path` as the host has it, with or without its first slash.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// A file's text without blanks at its ends; `None` if it is not there, cannot be read, or is no text.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.path(path)).ok()?;
        Some(text.trim().to_owned())
    }

    /// The names in a folder, sorted; none if it cannot be read.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }
}
