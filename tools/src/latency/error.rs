//! Why the host was not measured.

use std::fmt;
use std::io;
use std::path::PathBuf;

use waterpark_reactor::cores::PinError;

use crate::failure::code;

/// Why the host was not measured. Nothing is left behind.
#[derive(Debug)]
pub(crate) enum LatencyError {
    /// An address cannot be listened on. The operator names another.
    Listen {
        /// The address.
        address: String,
        /// What the kernel said.
        cause: io::Error,
    },
    /// Nobody is there. The operator starts the other side.
    Peer {
        /// The address.
        address: String,
        /// What the kernel said.
        cause: io::Error,
    },
    /// Somebody else is there. The operator looks at the address.
    NotPeer {
        /// The address.
        address: String,
        /// What came instead.
        cause: io::Error,
    },
    /// The folder takes no file. The operator names another.
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// The core is not allowed. The caller names another.
    Core(PinError),
    /// The kernel does not tell which cores are allowed. The operator allows `sched_getaffinity`.
    CoresUnknown(io::Error),
}

impl LatencyError {
    /// The exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            LatencyError::Core(_) => code::USAGE,
            LatencyError::Peer { .. } | LatencyError::NotPeer { .. } => code::CANNOT_REACH,
            LatencyError::Listen { .. } | LatencyError::Folder { .. } | LatencyError::CoresUnknown(_) => code::FAILED,
        }
    }
}

impl fmt::Display for LatencyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LatencyError::Listen { address, cause } => write!(f, "{address} cannot be listened on: {cause}"),
            LatencyError::Peer { address, cause } => write!(f, "{address} cannot be reached: {cause}"),
            LatencyError::NotPeer { address, cause } => {
                write!(
                    f,
                    "what answers at {address} does not send back what it is sent: {cause}"
                )
            }
            LatencyError::Folder { folder, cause } => {
                write!(f, "no file can be written in {}: {cause}", folder.display())
            }
            LatencyError::Core(error) => error.fmt(f),
            LatencyError::CoresUnknown(cause) => write!(f, "the kernel does not tell the allowed cores: {cause}"),
        }
    }
}
