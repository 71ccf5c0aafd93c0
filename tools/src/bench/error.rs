//! Why results of the bench were not kept, read, compared or shown.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::failure::code;

/// Why nothing was done with results. They themselves are as they were: none is ever changed.
#[derive(Debug)]
pub(crate) enum ResultsError {
    /// A file cannot be written. The operator makes room or names another folder.
    Write {
        /// The file, or its folder.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// A file or folder cannot be read. The caller looks at its name.
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// A file that was named is no kept result. The caller names another.
    NotResult {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// The results are of different work. The caller names others.
    NotAlike {
        /// What differs.
        differences: Vec<String>,
    },
    /// There is no such figure in all results. The caller names another.
    NoFigure {
        /// The name.
        found: String,
        /// Those that there are.
        names: Vec<String>,
    },
}

/// Why a file is no kept result.
#[derive(Debug)]
pub(crate) enum Flaw {
    /// A folder without any.
    Empty,
    /// A folder, a socket, a device.
    NoFile,
    /// Longer than any result.
    TooLong {
        /// Bytes that it has.
        bytes: u64,
    },
    /// It cannot be read.
    Read(io::Error),
    /// It is no JSON, from this place on.
    NotJson(serde_json::Error),
    /// JSON of something else, or of another release.
    Schema {
        /// The name that stands in it, if one does.
        found: Option<String>,
    },
    /// It says that it is a result, and lacks this or has something else there.
    Field(&'static str),
}

impl Flaw {
    /// Whether the file was a result once, as far as can be told: what is foreign has nothing to do with us.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Flaw::Read(_) | Flaw::NotJson(_) | Flaw::Field(_) => true,
            Flaw::Empty | Flaw::NoFile | Flaw::TooLong { .. } | Flaw::Schema { .. } => false,
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::Empty => f.write_str("there is none in it"),
            Flaw::NoFile => f.write_str("it is no file"),
            Flaw::TooLong { bytes } => write!(f, "it has {bytes} bytes, more than any result"),
            Flaw::Read(cause) => write!(f, "it cannot be read: {cause}"),
            Flaw::NotJson(cause) => write!(f, "it is no whole JSON: {cause}"),
            Flaw::Schema { found: None } => f.write_str("it has no schema's name: it is something else"),
            Flaw::Schema { found: Some(found) } => {
                let found = crate::show::text_or_escaped(found);
                write!(f, "its schema is {found}: it is something else, or of another release")
            }
            Flaw::Field(name) => write!(f, "`{name}` is missing in it, or is something else"),
        }
    }
}

impl ResultsError {
    pub(super) fn write(path: &Path) -> impl FnOnce(io::Error) -> ResultsError {
        let path = path.to_owned();
        |cause| ResultsError::Write { path, cause }
    }

    pub(super) fn read(path: &Path) -> impl FnOnce(io::Error) -> ResultsError {
        let path = path.to_owned();
        |cause| ResultsError::Read { path, cause }
    }

    /// The exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            ResultsError::Write { .. } => code::FAILED,
            ResultsError::Read { .. }
            | ResultsError::NotResult { .. }
            | ResultsError::NotAlike { .. }
            | ResultsError::NoFigure { .. } => code::USAGE,
        }
    }
}

impl fmt::Display for ResultsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |path: &Path| crate::show::text_or_escaped(&path.to_string_lossy());
        match self {
            ResultsError::Write { path, cause } => write!(f, "{} cannot be written: {cause}", shown(path)),
            ResultsError::Read { path, cause } => write!(f, "{} cannot be read: {cause}", shown(path)),
            ResultsError::NotResult { path, flaw } => write!(f, "{} is no result of a run: {flaw}", shown(path)),
            ResultsError::NotAlike { differences } => write!(
                f,
                "the results are not of the same work:\n  {}\n  --anyway compares them all the same",
                differences.join("\n  ")
            ),
            ResultsError::NoFigure { found, names } => {
                let found = crate::show::text_or_escaped(found);
                write!(
                    f,
                    "there is no figure `{found}` in all of these results\n  there are {}",
                    names.join(", ")
                )
            }
        }
    }
}
