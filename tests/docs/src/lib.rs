//! Reads the repository as text: its documents, its sources, and the marks in them that tests hold against each other.
//!
//! It deliberately does not know what any document says: each test names the promise that it checks. **Invariant:** what cannot be
//! read fails the test that asked for it; nothing is skipped in silence.

pub mod page;
pub mod source;

use std::fs;
use std::path::{Path, PathBuf};

/// The top folder of the repository.
///
/// # Panics
/// If this crate does not lie two folders below it.
#[must_use]
pub fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("this crate lies two folders below the top")
}

/// A file of the repository, named from its top folder.
///
/// # Panics
/// If there is no such file, or it is no UTF-8.
#[must_use]
pub fn read(path: &str) -> String {
    match fs::read_to_string(root().join(path)) {
        Ok(text) => text,
        Err(error) => panic!("{path}: {error}"),
    }
}

/// Whether the repository has this file or folder.
#[must_use]
pub fn exists(path: &str) -> bool {
    root().join(path).exists()
}

/// All files with this extension, from the top folder on, sorted. Hidden folders and build folders are no part of the repository.
///
/// # Panics
/// If a folder cannot be read.
#[must_use]
pub fn files(extension: &str) -> Vec<String> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let path = entry.expect("a folder that can be opened can be listed").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && !name.starts_with('.') && !name.starts_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let path = path.strip_prefix(&root).expect("found below the top");
                found.push(path.to_str().expect("names are UTF-8").to_owned());
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no .{extension} files below {}", root.display());
    found
}
