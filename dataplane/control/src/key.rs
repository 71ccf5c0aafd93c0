//! The cluster key: 32 secret bytes that all nodes share, in a file of 64 hexadecimal digits.
//!
//! **Invariant:** no message, debug output or error shows a digit of it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::config::{from_hex, hex};
use crate::problem::{KeyFault, Problem, What};
use crate::source::{Place, quoted};

/// The cluster key.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterKey([u8; ClusterKey::BYTES]);

/// A key as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// The key.
    pub key: ClusterKey,
    /// `WP-1503`, if others than the file's owner may read or change it.
    pub warning: Option<Problem>,
}

impl ClusterKey {
    /// Its length.
    pub const BYTES: usize = 32;

    /// Longest file that is read: the digits, and room for line ends.
    const FILE_BYTES_MAX: u64 = 128;

    /// The key that these bytes are.
    ///
    /// # Panics
    ///
    /// If all bytes are zero: the source of random bytes that made them is broken.
    #[must_use]
    pub fn from_bytes(bytes: [u8; ClusterKey::BYTES]) -> ClusterKey {
        assert!(bytes.iter().any(|byte| *byte != 0));
        ClusterKey(bytes)
    }

    /// Its bytes, for the keyed hash of the handshake and nothing else.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; ClusterKey::BYTES] {
        &self.0
    }

    /// The content of its file.
    pub(crate) fn file_text(&self) -> String {
        format!("{}\n", hex(&self.0))
    }

    /// Reads a key file.
    ///
    /// # Errors
    ///
    /// `WP-1501` if the file cannot be read, `WP-1502` if it is no key; the operator copies it from another node. Nothing was started.
    pub fn read(path: &Path) -> Result<KeyFile, Box<Problem>> {
        let problem = |what| {
            Problem::new(
                what,
                Place::File {
                    file: quoted(&path.to_string_lossy()),
                },
            )
        };
        let unreadable = |error: io::Error| Box::new(problem(What::KeyUnreadable { cause: error.kind() }));

        let file = File::open(path).map_err(unreadable)?;
        // The mode of the file that is read, not of one that may take its name a moment later.
        let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
        let mut content = Vec::new();
        file.take(Self::FILE_BYTES_MAX)
            .read_to_end(&mut content)
            .map_err(unreadable)?;
        let key = from_digits(content.trim_ascii()).map_err(|fault| problem(What::KeyMalformed { fault }))?;

        let exposed = mode & 0o077 != 0;
        Ok(KeyFile {
            key,
            warning: exposed.then(|| problem(What::KeyExposed { mode })),
        })
    }
}

fn from_digits(digits: &[u8]) -> Result<ClusterKey, KeyFault> {
    if digits.len() != 2 * ClusterKey::BYTES {
        return Err(KeyFault::Length { chars: digits.len() });
    }
    if let Some(at) = digits.iter().position(|digit| !digit.is_ascii_hexdigit()) {
        return Err(KeyFault::Digit { position: at + 1 });
    }
    let bytes: Option<[u8; ClusterKey::BYTES]> = std::str::from_utf8(digits).ok().and_then(from_hex);
    let bytes = bytes.filter(|bytes| bytes.iter().any(|byte| *byte != 0));
    bytes.map(ClusterKey).ok_or(KeyFault::Zero)
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn read(content: &[u8], mode: u32) -> Result<KeyFile, Box<Problem>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cluster.key");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        ClusterKey::read(&path)
    }

    #[test]
    fn a_key_is_read_with_or_without_line_ends() {
        let digits = "0f".repeat(32);
        for content in [
            digits.clone(),
            format!("{digits}\n"),
            format!("  {digits}\r\n\r\n"),
            digits.to_uppercase(),
        ] {
            let found = read(content.as_bytes(), 0o600).unwrap();
            assert_eq!((found.key.as_bytes(), found.warning), (&[0x0f; 32], None));
        }
    }

    #[test]
    fn a_key_that_others_may_use_is_read_with_a_warning() {
        let digits = "0f".repeat(32);
        for mode in [0o640, 0o604, 0o620, 0o666] {
            let warning = read(digits.as_bytes(), mode).unwrap().warning.unwrap();
            assert_eq!(warning.what, What::KeyExposed { mode });
            assert_eq!(
                warning.what.to_string(),
                format!("others than its owner may use the cluster key (mode {mode:04o})")
            );
        }
        assert_eq!(read(digits.as_bytes(), 0o400).unwrap().warning, None);
    }

    #[test]
    fn a_malformed_key_is_refused_without_showing_a_digit() {
        let table = [
            (
                String::new(),
                "the cluster key is 64 hexadecimal digits, the file has 0 characters",
            ),
            (
                "ab".repeat(31),
                "the cluster key is 64 hexadecimal digits, the file has 62 characters",
            ),
            (
                "ab".repeat(1_000),
                "the cluster key is 64 hexadecimal digits, the file has 128 characters",
            ),
            (
                format!("{}xy", "ab".repeat(31)),
                "the cluster key is 64 hexadecimal digits, character 63 is none",
            ),
            ("00".repeat(32), "the cluster key is zero"),
        ];
        for (content, said) in table {
            let problem = read(content.as_bytes(), 0o600).unwrap_err();
            assert_eq!(problem.what.to_string(), said);
            assert!(!problem.to_string().contains("abab"));
        }
        assert!(read(&[0xff; 64], 0o600).is_err());
    }

    #[test]
    fn a_key_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = ClusterKey::read(&folder.path().join("cluster.key")).unwrap_err();
        assert_eq!(
            missing.what,
            What::KeyUnreadable {
                cause: io::ErrorKind::NotFound
            }
        );
        let no_file = ClusterKey::read(folder.path()).unwrap_err();
        assert_eq!(
            no_file.what,
            What::KeyUnreadable {
                cause: io::ErrorKind::IsADirectory
            }
        );
    }

    #[test]
    fn debug_output_keeps_the_secret() {
        assert_eq!(format!("{:?}", ClusterKey::from_bytes([7; 32])), "ClusterKey(secret)");
    }
}
