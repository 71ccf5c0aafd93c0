//! Why a host was not changed, or not put back.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::failure::code;

/// Why a host was not changed, or not put back; which values are in force is said with each.
#[derive(Debug)]
pub(crate) enum TuneError {
    /// This user may not; nothing was changed. The operator runs it as root.
    Rights {
        /// The first file that may not be written.
        path: PathBuf,
    },
    /// There is a journal of an earlier apply; nothing was changed. The operator reverts that first.
    Stands {
        /// The journal.
        path: PathBuf,
    },
    /// There is no journal; nothing was looked at.
    NoJournal,
    /// The journal cannot be understood; nothing was changed. The operator restores from it by hand.
    JournalDamaged {
        /// The journal.
        path: PathBuf,
    },
    /// The journal cannot be written, read or taken away.
    JournalWrite {
        /// The journal, or its folder.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// `--without` names nothing; nothing was changed. The caller names another.
    UnknownName {
        /// The name.
        found: String,
        /// All there are.
        names: Vec<String>,
    },
    /// Another process holds the lock; nothing was changed.
    Busy {
        /// The lock.
        path: PathBuf,
    },
    /// A value was refused, and all are as they were.
    RolledBack {
        /// Which, and by what.
        why: String,
    },
    /// Values are not as they were, and the journal is kept.
    PutBack {
        /// Which, and why.
        left: Vec<String>,
    },
    /// Values that somebody else set since were left alone, and the journal is kept.
    Changed {
        /// Which, and what they were and are.
        changed: Vec<String>,
    },
}

impl TuneError {
    /// The exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            TuneError::UnknownName { .. } => code::USAGE,
            TuneError::Rights { .. } => code::NOT_PERMITTED,
            TuneError::Stands { .. } | TuneError::Changed { .. } => code::PROTECTED,
            TuneError::NoJournal
            | TuneError::JournalDamaged { .. }
            | TuneError::JournalWrite { .. }
            | TuneError::Busy { .. }
            | TuneError::RolledBack { .. }
            | TuneError::PutBack { .. } => code::FAILED,
        }
    }

    /// What is wrong, without what to do.
    pub(crate) fn first_line(&self) -> String {
        self.to_string().lines().next().unwrap_or_default().to_owned()
    }
}

impl fmt::Display for TuneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TuneError::Rights { path } => write!(f, "this user may not write {}; nothing was changed", path.display()),
            TuneError::Stands { path } => {
                write!(f, "a plan was applied before; its journal is {}", path.display())
            }
            TuneError::NoJournal => f.write_str("no plan was applied on this host"),
            TuneError::JournalDamaged { path } => write!(f, "the journal {} cannot be understood", path.display()),
            TuneError::JournalWrite { path, cause } => write!(f, "the journal at {} fails: {cause}", path.display()),
            TuneError::UnknownName { found, names } => {
                let found = crate::show::text_or_escaped(found);
                write!(
                    f,
                    "there is no setting `{found}` here\n  there are {}",
                    names.join(", ")
                )
            }
            TuneError::Busy { path } => write!(f, "another process holds {}", path.display()),
            TuneError::RolledBack { why } => write!(f, "{why}; every value is as it was"),
            TuneError::PutBack { left } => {
                write!(f, "these are not as they were:\n  {}\n  ", left.join("\n  "))?;
                f.write_str("the journal is kept: look at the causes, then `waterpark tune revert`; --force gives up what is gone")
            }
            TuneError::Changed { changed } => {
                write!(
                    f,
                    "somebody else set these since; they were left alone:\n  {}\n  ",
                    changed.join("\n  ")
                )?;
                f.write_str("the others are as before apply; `waterpark tune revert --force` puts the old values in the place of these too")
            }
        }
    }
}
