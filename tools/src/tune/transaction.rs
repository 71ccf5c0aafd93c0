//! Values changed together, and put back together.
//!
//! It knows no setting: a file's value is written, read back and compared. **Invariant:** after an error every value is as it was, or a
//! journal says what it was and the error says which are not.

use std::io;

use super::journal::{Journal, Written};
use super::setting::{Form, value_of};
use super::{Change, TuneError};
use crate::host::Root;

/// The values of a host, to read and to write.
pub(crate) trait Values {
    /// The whole text of a file.
    fn read(&mut self, path: &str) -> io::Result<String>;
    /// Gives a file this text.
    fn write(&mut self, path: &str, form: Form, text: &str) -> io::Result<()>;
}

/// Those below a root.
impl Values for Root {
    fn read(&mut self, path: &str) -> io::Result<String> {
        std::fs::read_to_string(self.path(path))
    }

    fn write(&mut self, path: &str, form: Form, text: &str) -> io::Result<()> {
        let file = self.path(path);
        // A folder that plays a host has no kernel that shows all that could be chosen.
        let shown = match form {
            Form::Choice if !self.is_own() => {
                let before = std::fs::read_to_string(&file)?;
                let chosen = value_of(form, &before);
                let words = before.replace(&format!("[{chosen}]"), &chosen);
                words.replacen(text.trim(), &format!("[{}]", text.trim()), 1)
            }
            _ => text.to_owned(),
        };
        let mut file = std::fs::File::options().write(true).truncate(true).open(file)?;
        io::Write::write_all(&mut file, shown.as_bytes())
    }
}

/// What became of one value of a journal when it was to be put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reverted {
    /// It was.
    PutBack,
    /// It was as before.
    AsBefore,
    /// Its file is gone, and that was accepted.
    Gone,
}

/// Changes all values, or none.
///
/// # Errors
/// The journal is not durable, or a value was refused: then all are as they were, if the error does not name some that are not.
pub(crate) fn apply(values: &mut impl Values, journal: &Journal, changes: &[Change]) -> Result<(), TuneError> {
    journal.begin(changes)?;
    let mut touched = 0;
    let set_all = changes.iter().try_for_each(|change| {
        is_as_planned(values, change)?;
        touched += 1;
        set(values, change)
    });
    let done = set_all.and_then(|()| journal.finish().map_err(|error| error.first_line()));
    done.map_err(|why| roll_back(values, journal, &changes[..touched], why))
}

/// Whether a value is still the one that was planned with.
fn is_as_planned(values: &mut impl Values, change: &Change) -> Result<(), String> {
    let name = &change.name;
    let text = values.read(&change.path).map_err(|error| format!("{name}: {error}"))?;
    if text == change.text {
        Ok(())
    } else {
        Err(format!("{name}: somebody else changed it at the same time"))
    }
}

/// Writes one value and reads it back.
fn set(values: &mut impl Values, change: &Change) -> Result<(), String> {
    let Change { name, form, new, .. } = change;
    let cause = |error: io::Error| format!("{name}: {error}");
    values.write(&change.path, *form, &format!("{new}\n")).map_err(cause)?;
    let found = value_of(*form, &values.read(&change.path).map_err(cause)?);
    if found == *new {
        Ok(())
    } else {
        Err(format!("{name}: the kernel was told `{new}` and keeps `{found}`"))
    }
}

/// Puts back what was written; whatever the kernel made of the last of it.
fn roll_back(values: &mut impl Values, journal: &Journal, written: &[Change], why: String) -> TuneError {
    let mut left = Vec::new();
    for (place, change) in written.iter().enumerate().rev() {
        let is_last = place + 1 == written.len();
        match values.read(&change.path) {
            Ok(text) if text == change.text => {}
            Ok(text) if !is_last && value_of(change.form, &text) != change.new => {
                left.push(format!("{}: somebody else changed it", change.name));
            }
            Ok(_) => left.extend(put_back(values, change).err()),
            Err(error) => left.push(format!("{}: {error}", change.name)),
        }
    }
    if left.is_empty() {
        match journal.remove() {
            Ok(()) => TuneError::RolledBack { why },
            Err(error) => error,
        }
    } else {
        left.insert(0, why);
        TuneError::PutBack { left }
    }
}

fn put_back(values: &mut impl Values, change: &Change) -> Result<(), String> {
    let name = &change.name;
    let text = match change.form {
        Form::Plain => change.text.clone(),
        Form::Choice => format!("{}\n", change.old),
    };
    let cause = |error: io::Error| format!("{name}: {error}");
    values.write(&change.path, change.form, &text).map_err(cause)?;
    let found = values.read(&change.path).map_err(cause)?;
    if found == change.text {
        Ok(())
    } else {
        let (old, found) = (&change.old, value_of(change.form, &found));
        Err(format!("{name}: the kernel was told `{old}` and keeps `{found}`"))
    }
}

/// Puts every value of a journal back, the last first, and takes the journal away. What somebody else has set since is left alone, unless
/// `force` says otherwise.
///
/// # Errors
/// Which values were left alone, or could not be put back; the journal is kept then.
pub(crate) fn revert(
    values: &mut impl Values,
    journal: &Journal,
    written: &Written,
    force: bool,
) -> Result<Vec<Reverted>, TuneError> {
    let (mut left, mut changed) = (Vec::new(), Vec::new());
    let mut done = Vec::new();
    for change in written.changes.iter().rev() {
        let now = match values.read(&change.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && force => {
                done.push(Reverted::Gone);
                continue;
            }
            Err(error) => {
                left.push(format!("{}: {error}", change.name));
                continue;
            }
        };
        let value = value_of(change.form, &now);
        if now == change.text {
            done.push(Reverted::AsBefore);
        } else if value == change.new || force {
            match put_back(values, change) {
                Ok(()) => done.push(Reverted::PutBack),
                Err(why) => left.push(why),
            }
        } else {
            let Change { name, old, new, .. } = change;
            changed.push(format!("{name}: was `{old}`, `{new}` was applied, now it is `{value}`"));
        }
    }
    if !left.is_empty() {
        left.extend(changed);
        Err(TuneError::PutBack { left })
    } else if !changed.is_empty() {
        Err(TuneError::Changed { changed })
    } else {
        journal.remove()?;
        done.reverse();
        Ok(done)
    }
}
