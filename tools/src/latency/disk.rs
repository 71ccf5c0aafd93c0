//! Small appends that wait for the disk.
//!
//! **Invariant:** the file has no name, so nothing of it is left however the process ends.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use super::LatencyError;
use super::figure::{Bound, Figure};

/// Bytes of an append.
pub(crate) const APPEND: usize = 128;
/// Appends after which it ends: 64 MiB.
const APPENDS_MAX: u64 = (64 << 20) / APPEND as u64;
/// What Linux calls a file system in memory: tmpfs and ramfs.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// What was measured in a folder.
pub(crate) struct Synced {
    pub(crate) figure: Figure,
    /// There is no disk below the folder, so nothing was waited for.
    pub(crate) is_in_memory: bool,
}

/// Appends and waits, again and again.
///
/// # Errors
/// The folder refuses.
pub(crate) fn syncs(folder: &Path, bound: Bound) -> Result<Synced, LatencyError> {
    let measured = tempfile::tempfile_in(folder).and_then(|file| {
        let type_of = rustix::fs::fstatfs(&file)?.f_type;
        let is_in_memory = u64::try_from(type_of).is_ok_and(|found| IN_MEMORY.contains(&found));
        let figure = append(file, bound)?;
        Ok(Synced { figure, is_in_memory })
    });
    measured.map_err(|cause| LatencyError::Folder {
        folder: folder.to_owned(),
        cause,
    })
}

fn append(mut file: File, bound: Bound) -> io::Result<Figure> {
    let mut figure = Figure::new();
    loop {
        let begun = Instant::now();
        if bound.is_reached(begun, &figure) || figure.count() >= APPENDS_MAX {
            return Ok(figure);
        }
        file.write_all(&[0x57; APPEND])?;
        file.sync_data()?;
        figure.record(begun.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn appends_are_counted_and_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let bound = Bound {
            samples_max: 10,
            ..Bound::by_time(Duration::from_secs(60))
        };
        assert_eq!(syncs(folder.path(), bound).unwrap().figure.count(), 10);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let nowhere = syncs(&folder.path().join("nowhere"), bound);
        assert!(matches!(nowhere, Err(LatencyError::Folder { .. })));
    }
}
