//! The journal: what was there before the first value is changed, on disk.
//!
//! One JSON object a line: a head with the number of changes, the changes, and an end mark once all of them were read back. It comes into
//! being whole, by a rename. **Invariant:** while a value may differ from what it was, a journal that says what it was is durable.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::setting::Form;
use super::{Change, TuneError};
use crate::host::Root;

const SCHEMA: &str = "waterpark.tune_journal.1";
const FOLDER: &str = "/var/lib/waterpark";

/// The journal of a host, under this process's lock.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    boot: String,
    _lock: File,
}

/// What a journal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) changes: Vec<Change>,
    /// Whether apply came to its end.
    pub(crate) is_finished: bool,
    /// Whether the host has been restarted since: then its kernel has forgotten what was applied, and interrupts may have other numbers.
    pub(crate) is_forgotten: bool,
}

/// Where the journal of a host is.
pub(crate) fn path(root: &Root) -> PathBuf {
    root.path(FOLDER).join("tune.journal")
}

/// What the journal of a host says; `None` if there is none.
///
/// # Errors
/// It cannot be read, or not be understood.
pub(crate) fn read(root: &Root) -> Result<Option<Written>, TuneError> {
    let path = path(root);
    let damaged = || TuneError::JournalDamaged { path: path.clone() };
    match fs::read(&path) {
        Ok(bytes) => {
            let text = String::from_utf8(bytes).map_err(|_| damaged())?;
            parse(&text, &boot(root)).map(Some).ok_or_else(damaged)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(failed(&path, cause)),
    }
}

/// Names the life of the host's kernel.
fn boot(root: &Root) -> String {
    root.text("/proc/sys/kernel/random/boot_id").unwrap_or_default()
}

fn failed(path: &Path, cause: io::Error) -> TuneError {
    match cause.kind() {
        io::ErrorKind::PermissionDenied => TuneError::Rights { path: path.to_owned() },
        _ => TuneError::JournalWrite {
            path: path.to_owned(),
            cause,
        },
    }
}

impl Journal {
    /// Takes the lock of a host's journal; the folder is made if it is not there.
    ///
    /// # Errors
    /// This user may not, or another process has it.
    pub(crate) fn lock(root: &Root) -> Result<Journal, TuneError> {
        let path = path(root);
        let folder = root.path(FOLDER);
        fs::create_dir_all(&folder).map_err(|cause| failed(&folder, cause))?;
        let lock = folder.join("tune.lock");
        let file = File::options().create(true).truncate(false).write(true).open(&lock);
        let file = file.map_err(|cause| failed(&lock, cause))?;
        match file.try_lock() {
            Ok(()) => Ok(Journal {
                path,
                boot: boot(root),
                _lock: file,
            }),
            Err(TryLockError::WouldBlock) => Err(TuneError::Busy { path: lock }),
            Err(TryLockError::Error(cause)) => Err(failed(&lock, cause)),
        }
    }

    /// Makes the old and new values durable, in the place of a journal that is forgotten.
    ///
    /// # Errors
    /// The disk refuses; no journal is there then.
    pub(crate) fn begin(&self, changes: &[Change]) -> Result<(), TuneError> {
        let mut text = json!({ "schema": SCHEMA, "boot": self.boot, "changes": changes.len() }).to_string() + "\n";
        for change in changes {
            text += &(to_json(change).to_string() + "\n");
        }
        let fresh = self.path.with_extension("new");
        let write = || {
            let mut file = File::create(&fresh)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, &self.path)?;
            self.sync_folder()
        };
        write().map_err(|cause| failed(&self.path, cause))
    }

    /// Says that all values were read back.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn finish(&self) -> Result<(), TuneError> {
        let append = || {
            let mut file = File::options().append(true).open(&self.path)?;
            file.write_all(format!("{}\n", end_mark()).as_bytes())?;
            file.sync_all()
        };
        append().map_err(|cause| failed(&self.path, cause))
    }

    /// Takes the journal away, once every value is as it was.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn remove(&self) -> Result<(), TuneError> {
        let remove = || fs::remove_file(&self.path).and_then(|()| self.sync_folder());
        remove().map_err(|cause| failed(&self.path, cause))
    }

    fn sync_folder(&self) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        File::open(folder)?.sync_all()
    }
}

fn end_mark() -> Value {
    json!({ "applied": true })
}

fn to_json(change: &Change) -> Value {
    json!({
        "name": change.name, "path": change.path, "form": form_name(change.form), "text": change.text,
        "old": change.old, "new": change.new,
    })
}

fn form_name(form: Form) -> &'static str {
    match form {
        Form::Plain => "plain",
        Form::Choice => "choice",
    }
}

fn parse(text: &str, boot: &str) -> Option<Written> {
    let mut lines = text.lines();
    let head: Value = serde_json::from_str(lines.next()?).ok()?;
    if head["schema"] != SCHEMA {
        return None;
    }
    let count = usize::try_from(head["changes"].as_u64()?).ok()?;
    let change = |line: &str| {
        let row: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| Some(row[name].as_str()?.to_owned());
        Some(Change {
            name: text("name")?,
            path: text("path")?,
            form: [Form::Plain, Form::Choice]
                .into_iter()
                .find(|form| row["form"] == form_name(*form))?,
            text: text("text")?,
            old: text("old")?,
            new: text("new")?,
        })
    };
    // The end mark is appended later, and may be torn.
    let changes: Vec<Change> = lines.by_ref().take(count).map_while(change).collect();
    let is_finished = lines
        .next()
        .is_some_and(|line| serde_json::from_str::<Value>(line).is_ok_and(|mark| mark == end_mark()));
    (changes.len() == count).then_some(Written {
        changes,
        is_finished,
        is_forgotten: head["boot"] != boot,
    })
}
