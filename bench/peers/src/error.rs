//! Why a peer was not measured.

use std::io;
use std::time::Duration;

/// Why there is no measurement of a peer. What had been started of it was ended.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// No folder for its files. The operator makes room or names another one in TMPDIR.
    #[error("no temporary folder: {0}")]
    Folder(io::Error),
    /// No run of free ports is left. The operator ends other clusters.
    #[error("no free ports for five servers")]
    Ports,
    /// It does not run as root, and there is no user that it could run as. The operator makes one.
    #[error("it does not run as root, and there is no user {user}")]
    User {
        /// The user that it would run as.
        user: &'static str,
    },
    /// One of its processes could not be started.
    #[error("{program} cannot be started: {cause}")]
    Spawn {
        /// The program.
        program: String,
        /// What the kernel said.
        cause: io::Error,
    },
    /// One of its servers ended, or did not serve in time.
    #[error("{server} does not serve{}", said.as_ref().map_or(String::new(), |said| format!("; its log ends with:\n{said}")))]
    NotReady {
        /// The server.
        server: String,
        /// The end of its log.
        said: Option<String>,
    },
    /// A connection broke.
    #[error("its connection broke: {0}")]
    Socket(#[from] io::Error),
    /// It answered what this dialect does not know, or refused.
    #[error("it answered {said:?} to {asked}")]
    Answer {
        /// What was asked for.
        asked: &'static str,
        /// The beginning of the answer.
        said: String,
    },
    /// Messages are under way, and nothing comes back.
    #[error("it acked nothing for {0:?}")]
    Silent(Duration),
    /// The command was interrupted.
    #[error("ended before it was measured")]
    Interrupted,
}

impl PeerError {
    /// An answer that is not the one that was asked for.
    pub(crate) fn answer(asked: &'static str, said: &[u8]) -> PeerError {
        let said = &said[..said.len().min(200)];
        PeerError::Answer {
            asked,
            said: String::from_utf8_lossy(said).into_owned(),
        }
    }
}
