//! Where messages come from: a feed that goes on for ever, or the files of a folder, each once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use waterpark_edge::hl7::{Contents, contents};

use crate::hl7::Feed;

/// Messages, one after the other.
#[derive(Debug)]
pub enum Source {
    /// From a seed, without end.
    Feed(Box<Feed>),
    /// In order, each once.
    Messages(std::vec::IntoIter<Vec<u8>>),
}

/// Why a folder gives no messages. Nothing was sent; whoever named it names another.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be listed.
    #[error("the folder {} cannot be read: {cause}", folder.display())]
    Folder {
        /// As it was named.
        folder: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// One of its files cannot be read.
    #[error("the file {} cannot be read: {cause}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// No file in it begins as HL7.
    #[error("the folder {} has no file with an HL7 message (one that begins with MSH, FHS or BHS)", folder.display())]
    Empty {
        /// As it was named.
        folder: PathBuf,
    },
}

impl Source {
    /// The messages of all files of a folder, in the order of their names; batches are taken apart, what is no HL7 is left out.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn folder(folder: &Path) -> Result<Source, FolderError> {
        let unreadable = |cause| FolderError::Folder {
            folder: folder.to_owned(),
            cause,
        };
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.is_file() {
                files.push(path);
            }
        }
        files.sort();
        let mut messages = Vec::new();
        for file in files {
            let bytes = fs::read(&file).map_err(|cause| FolderError::File { file, cause })?;
            match contents(&bytes) {
                Ok(Contents::Message(message)) => messages.push(message.original().to_vec()),
                Ok(Contents::Batch(batch)) => messages.extend(batch.messages().map(<[u8]>::to_vec)),
                Err(_) => (),
            }
        }
        if messages.is_empty() {
            return Err(FolderError::Empty {
                folder: folder.to_owned(),
            });
        }
        Ok(Source::Messages(messages.into_iter()))
    }

    /// Writes the next message in the place of what stands in `message`; `false` if there is none.
    pub(super) fn next(&mut self, message: &mut Vec<u8>) -> bool {
        match self {
            Source::Feed(feed) => {
                feed.next(message);
                true
            }
            Source::Messages(messages) => match messages.next() {
                Some(next) => {
                    *message = next;
                    true
                }
                None => false,
            },
        }
    }
}
