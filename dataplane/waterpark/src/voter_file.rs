//! The file of a node's vote, on the disk: opened once, locked, and only ever appended to. A node that is given another vote begins a new file,
//! which takes the name of the one before when it is whole.
//!
//! It does not know what the records say: consensus reads and makes them, and says how much of what was found is good. All of it is blocking:
//! it runs on the control thread, never on a shard's.
//!
//! **Invariant:** what [`VoterFile::append`] reported stays. After the first error nothing is appended any more and the caller ends the process:
//! a page that the kernel could not write counts as clean afterwards, so a second attempt would be told of success. **Invariant:** one process
//! has the file. A second one that answered with the same vote could promise the opposite.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use waterpark_control::HostCode;
use waterpark_core::topology_log::consensus::{Birth, FileError, VoterId, Write};
use waterpark_ring::ClusterId;

/// The configuration of a cluster's first voters, whose ids are their places in `cluster.toml`.
const FIRST_CONFIGURATION: u32 = 1;
/// How long a file that is locked is waited for.
const LOCK_MAX: Duration = Duration::from_millis(500);
/// Between two tries.
const LOCK_AGAIN: Duration = Duration::from_millis(10);

/// The file of a vote, open for appending. Its lock goes when it is dropped, or with its process.
#[derive(Debug)]
pub struct VoterFile {
    path: PathBuf,
    file: File,
    birth: Birth,
    /// Bytes that are durable or on their way: where the next record goes.
    length: u64,
    /// The last record that was appended by this process.
    last: Option<u64>,
    failed: bool,
}

/// Why a node has no vote although it has a voter file. At the start it does not start; later its process ends.
#[derive(Debug, thiserror::Error)]
pub enum VoterFileError {
    /// The file cannot be opened, locked or read.
    #[error(
        "the voter file {} cannot be read: {cause}\n  \
         give this user the right to read and write it; if the disk has lost it, move it away: the node then learns and does not vote",
        path.display()
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// Another process has it: the node was started twice, or its former process still ends.
    #[error(
        "the voter file {} is in use by another process: two would vote for one node\n  \
         look for the process that has it (`fuser -v {}`), and end it or leave it",
        path.display(), path.display()
    )]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It is of another cluster: copied, or left over.
    #[error(
        "the voter file {} is of cluster {found}, this is cluster {wanted}\n  \
         move the file away, or start the node with the cluster.toml of its cluster",
        path.display()
    )]
    OtherCluster {
        /// The file.
        path: PathBuf,
        /// Its cluster.
        found: ClusterId,
        /// The cluster of `cluster.toml`.
        wanted: ClusterId,
    },
    /// It is of another voter, or `cluster.toml` names other first voters than those with which the cluster began.
    #[error(
        "the voter file {} is of {found} among {among}; by cluster.toml this node is {}\n  \
         restore `voters` as the cluster was made with, in its order, and leave each file with the node that it is named for",
        path.display(), wanted.map_or("no first voter".to_owned(), |wanted| wanted.to_string())
    )]
    OtherVoter {
        /// The file.
        path: PathBuf,
        /// Whose vote it is.
        found: VoterId,
        /// How many voters its configuration has.
        among: usize,
        /// Whose it should be.
        wanted: Option<VoterId>,
    },
    /// A record in its midst does not add up. What stood there may have been promised, so nobody votes with this file again.
    #[error(
        "the voter file {} is damaged at byte {offset}: what stood there may have been promised\n  \
         look at the disk; move the file away and the node starts, learns, and does not vote. Never put a copy in its place",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the record begins.
        offset: usize,
    },
    /// A record adds up and says what this release does not know.
    #[error(
        "record {number} of the voter file {} says what this release cannot read\n  \
         run the release that wrote it, or a newer one",
        path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// How many records come before it.
        number: u64,
    },
    /// What had to be durable is not.
    #[error(
        "the voter file {} cannot be written: {cause}\n  \
         the process ends, for it can promise nothing any more; make room on the disk or mend it, and start the node again",
        path.display()
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
}

impl VoterFile {
    /// Opens the file of a node, if it has one, and with it the voter that it is of.
    ///
    /// `first` is the birth that `cluster.toml` gives the node, if it is a first voter. `voter` opens the voter from the bytes that were found,
    /// and says how many of them are good; the file is cut to those. `None` if there is no file, or one without a whole first record: then the node
    /// was never a voter, or has lost what it promised; either way it learns.
    ///
    /// # Errors
    /// [`VoterFileError`]; the file is as it was. With [`VoterFileError::Write`] the end of a record that a crash had cut short may be gone.
    pub fn open<V>(
        path: &Path,
        cluster: ClusterId,
        first: Option<&Birth>,
        voter: impl FnOnce(&Birth, &[u8]) -> Result<(V, usize), FileError>,
    ) -> Result<Option<(VoterFile, V)>, VoterFileError> {
        let Some(mut file) = open_alone(path)? else {
            return Ok(None);
        };
        let mut found = Vec::new();
        file.read_to_end(&mut found).map_err(cannot_read(path))?;
        let opened = own_birth(&found, cluster, first).and_then(|birth| {
            let (voter, good) = voter(&birth, &found)?;
            Ok((birth, voter, good))
        });
        let (birth, voter, good) = match opened {
            Ok(opened) => opened,
            Err(FileError::Absent) => {
                tracing::warn!(path = %path.display(), "the voter file has no whole record: this node learns and does not vote");
                return Ok(None);
            }
            Err(error) => return Err(refused(path, cluster, first, &found, error)),
        };
        assert!(good <= found.len(), "no more is good than was found");
        let mut file = VoterFile {
            path: path.to_owned(),
            file,
            birth,
            length: good as u64,
            last: None,
            failed: false,
        };
        if good < found.len() {
            tracing::warn!(path = %path.display(), good, found = found.len(), "a last write of the voter file was cut short: it is taken off");
            file.cut().map_err(|cause| file.fail(cause))?;
        }
        Ok(Some((file, voter)))
    }

    /// Begins a file with these bytes. It takes the name of the one that is there, if one is: whoever looks finds the one or the other, whole.
    ///
    /// # Errors
    /// [`VoterFileError::Write`]: what was there is as it was, or the new file has its name and may lose it with the power.
    ///
    /// # Panics
    /// If the bytes do not begin with a birth: a bug in this process.
    pub fn begin(path: &Path, bytes: &[u8]) -> Result<VoterFile, VoterFileError> {
        let birth = Birth::of_file(bytes).expect("a voter's file begins with its birth");
        let failed = |cause| VoterFileError::Write {
            path: path.to_owned(),
            cause,
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(failed)?;
        let new = path.with_extension("voter.new");
        // One that a crash left behind is nobody's.
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&new).map_err(failed)?;
        // Locked before it has the name: nobody can find it and take it for its own.
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|cause| failed(cause.into()))?;
        file.write_all_at(bytes, 0).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        std::fs::rename(&new, path).map_err(failed)?;
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(failed)?;
        Ok(VoterFile {
            path: path.to_owned(),
            file,
            birth,
            length: bytes.len() as u64,
            last: None,
            failed: false,
        })
    }

    /// What the file says of its voter.
    #[must_use]
    pub fn birth(&self) -> &Birth {
        &self.birth
    }

    /// Appends records and makes them durable. Returns the number of the last, up to which all are durable now; `None` of none, and the disk is not
    /// troubled.
    ///
    /// # Errors
    /// [`VoterFileError::Write`]: the caller ends the process, before anything that followed from these records leaves it.
    ///
    /// # Panics
    /// If it failed before, or the records do not follow the last one: bugs in this process.
    pub fn append(&mut self, writes: &[Write]) -> Result<Option<u64>, VoterFileError> {
        assert!(!self.failed, "nothing follows a write that failed");
        let Some(newest) = writes.last() else {
            return Ok(None);
        };
        for write in writes {
            assert!(self.last.is_none_or(|last| write.number == last + 1));
            self.last = Some(write.number);
        }
        self.append_durably(writes).map_err(|cause| self.fail(cause))?;
        Ok(Some(newest.number))
    }

    fn append_durably(&mut self, writes: &[Write]) -> io::Result<()> {
        for write in writes {
            self.file.write_all_at(&write.bytes, self.length)?;
            self.length += write.bytes.len() as u64;
        }
        // Of the file's own data the length alone is needed, and with it fdatasync comes back when that is durable too.
        self.file.sync_data()
    }

    /// Cuts off what lies behind the good bytes, durably: the next record must not be followed by the rest of another.
    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.length)?;
        self.file.sync_all()
    }

    fn fail(&mut self, cause: io::Error) -> VoterFileError {
        self.failed = true;
        VoterFileError::Write {
            path: self.path.clone(),
            cause,
        }
    }
}

/// Opens a file that may be absent, for this process alone.
fn open_alone(path: &Path) -> Result<Option<File>, VoterFileError> {
    let until = Instant::now() + LOCK_MAX;
    loop {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(cannot_read(path)(cause)),
        };
        let data = file.metadata().map_err(cannot_read(path))?;
        if !data.is_file() {
            // A pipe or device may never come to an end.
            let cause = io::Error::new(io::ErrorKind::InvalidInput, "it is no ordinary file");
            return Err(cannot_read(path)(cause));
        }
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // Whoever had it may have begun another in its place.
            Ok(()) if std::fs::metadata(path).is_ok_and(|now| now.ino() == data.ino() && now.dev() == data.dev()) => {
                return Ok(Some(file));
            }
            // A process that has just ended, or a child between its birth and its program, lets go in a moment.
            Ok(()) | Err(Errno::WOULDBLOCK) if Instant::now() < until => std::thread::sleep(LOCK_AGAIN),
            Ok(()) | Err(Errno::WOULDBLOCK) => return Err(VoterFileError::InUse { path: path.to_owned() }),
            Err(cause) => return Err(cannot_read(path)(cause.into())),
        }
    }
}

/// The birth in a file, if it is this node's: nothing is made of what another cluster or voter wrote.
fn own_birth(found: &[u8], cluster: ClusterId, first: Option<&Birth>) -> Result<Birth, FileError> {
    let birth = Birth::of_file(found)?;
    if birth.cluster() != cluster {
        let found = birth.cluster();
        return Err(FileError::OtherCluster { found });
    }
    // Later ids are given by the log, which knows whose they are.
    if birth.configuration() == FIRST_CONFIGURATION && first != Some(&birth) {
        return Err(FileError::OtherVoter);
    }
    Ok(birth)
}

fn cannot_read(path: &Path) -> impl FnOnce(io::Error) -> VoterFileError {
    let path = path.to_owned();
    |cause| VoterFileError::Read { path, cause }
}

/// What an operator has to know of a file that cannot be believed.
fn refused(path: &Path, wanted: ClusterId, first: Option<&Birth>, found: &[u8], error: FileError) -> VoterFileError {
    let path = path.to_owned();
    match error {
        FileError::OtherCluster { found } => VoterFileError::OtherCluster { path, found, wanted },
        FileError::Maybe { offset } => VoterFileError::Damaged { path, offset },
        FileError::Unreadable { number } => VoterFileError::Unreadable { path, number },
        FileError::OtherVoter => {
            let birth = Birth::of_file(found).expect("a file of another voter has a birth");
            VoterFileError::OtherVoter {
                path,
                found: birth.own(),
                among: birth.voters().len(),
                wanted: first.map(Birth::own),
            }
        }
        FileError::Absent => unreachable!("a node without a file learns"),
    }
}

impl VoterFileError {
    /// Exit code of a command that ends with this: configuration, or failed.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            VoterFileError::OtherCluster { .. } | VoterFileError::OtherVoter { .. } => 3,
            _ => 1,
        }
    }

    /// Its code.
    #[must_use]
    pub fn code(&self) -> HostCode {
        match self {
            VoterFileError::Read { .. } => HostCode::VoterFileRead,
            VoterFileError::InUse { .. } => HostCode::VoterFileInUse,
            VoterFileError::OtherCluster { .. } => HostCode::VoterFileOtherCluster,
            VoterFileError::OtherVoter { .. } => HostCode::VoterFileOtherVoter,
            VoterFileError::Damaged { .. } => HostCode::VoterFileDamaged,
            VoterFileError::Unreadable { .. } => HostCode::VoterFileUnreadable,
            VoterFileError::Write { .. } => HostCode::VoterFileWrite,
        }
    }
}

#[cfg(test)]
mod tests;
