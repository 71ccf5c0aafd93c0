//! A trace: when messages arrived somewhere, from a file with an offset in each line.
//!
//! An offset is a whole number of microseconds from the beginning, or one with its unit: `1500`, `1500us`, `1500000ns`, `1ms`, `2s`. Empty lines
//! and those that begin with `#` say nothing. **Invariant:** the offsets of a trace never fall, and there is at least one.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use waterpark_wire::checksum;

use super::LISTED_MAX;

/// Bytes of a line at most: what is longer is no offset.
const LINE_BYTES_MAX: u64 = 1_024;

/// Offsets in ns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    offsets: Arc<[u64]>,
    hash: u64,
}

/// Why a file is no trace. Nothing was sent; whoever named it mends it or names another.
#[derive(Debug)]
pub enum TraceError {
    /// It cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// A line of it is no offset.
    Line {
        /// The file.
        path: PathBuf,
        /// Its number, from 1 on.
        line: u64,
        /// What is wrong with it.
        flaw: LineFlaw,
    },
    /// No line of it is an offset.
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq)]
pub enum LineFlaw {
    /// It is no number with or without a unit.
    NoOffset {
        /// The line, or its beginning.
        found: String,
    },
    /// It lies before the one above.
    Falls {
        /// That one, in ns.
        before_ns: u64,
        /// This one.
        found_ns: u64,
    },
    /// There are more than a plan holds.
    TooMany,
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TraceError::Read { path, cause } => write!(f, "the trace {path:?} cannot be read: {cause}"),
            TraceError::Line { path, line, flaw } => write!(f, "the trace {path:?}, line {line}: {flaw}"),
            TraceError::Empty { path } => write!(f, "the trace {path:?} has no arrival"),
        }
    }
}

impl std::error::Error for TraceError {}

impl fmt::Display for LineFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineFlaw::NoOffset { found } => write!(
                f,
                "{found:?} is no offset: write a whole number of microseconds from the beginning, or one with ns, us, ms or s behind it"
            ),
            LineFlaw::Falls { before_ns, found_ns } => write!(
                f,
                "{found_ns} ns lies before the line above it, {before_ns} ns: sort the lines by time"
            ),
            LineFlaw::TooMany => write!(f, "there are more than {LISTED_MAX} arrivals: cut the trace"),
        }
    }
}

impl Trace {
    /// Reads one.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn read(path: &Path) -> Result<Trace, TraceError> {
        let unreadable = |cause| TraceError::Read {
            path: path.to_owned(),
            cause,
        };
        let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
        let mut offsets: Vec<u64> = Vec::new();
        let mut text = Vec::new();
        for line in 1.. {
            text.clear();
            let mut limited = io::Read::take(&mut file, LINE_BYTES_MAX);
            if limited.read_until(b'\n', &mut text).map_err(unreadable)? == 0 {
                break;
            }
            let wrong = |flaw| TraceError::Line {
                path: path.to_owned(),
                line,
                flaw,
            };
            let trimmed = text.trim_ascii();
            if trimmed.is_empty() || trimmed.starts_with(b"#") {
                continue;
            }
            let at = offset_ns(trimmed).ok_or_else(|| {
                let found = String::from_utf8_lossy(trimmed).chars().take(40).collect();
                wrong(LineFlaw::NoOffset { found })
            })?;
            let before_ns = offsets.last().copied().unwrap_or(0);
            if at < before_ns {
                return Err(wrong(LineFlaw::Falls {
                    before_ns,
                    found_ns: at,
                }));
            }
            if offsets.len() as u64 == LISTED_MAX {
                return Err(wrong(LineFlaw::TooMany));
            }
            offsets.push(at);
        }
        if offsets.is_empty() {
            let path = path.to_owned();
            return Err(TraceError::Empty { path });
        }
        let bytes: Vec<u8> = offsets.iter().flat_map(|at| at.to_le_bytes()).collect();
        Ok(Trace {
            hash: checksum::bytes(&bytes),
            offsets: offsets.into(),
        })
    }

    /// When each message arrived, in ns.
    #[must_use]
    pub fn offsets(&self) -> &[u64] {
        &self.offsets
    }

    /// Tells it from others.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How long it is: until just behind its last arrival.
    #[must_use]
    pub fn length(&self) -> Duration {
        Duration::from_nanos(self.offsets.last().map_or(0, |last| last.saturating_add(1)))
    }

    /// Messages a second on average, at most one for each ns.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "below 2^53 arrivals")]
    pub fn rate(&self) -> f64 {
        self.offsets.len() as f64 / self.length().as_secs_f64().max(1e-9)
    }
}

/// What a line says; `None` if that is no time.
fn offset_ns(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?;
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let times: u64 = match unit.trim_start() {
        "ns" => 1,
        "" | "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<Trace, TraceError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a trace.txt");
        std::fs::write(&path, text).unwrap();
        Trace::read(&path)
    }

    #[test]
    fn a_trace_is_read_with_and_without_units() {
        let trace = read(b"# arrivals\n0\n\n 15 \n20us\r\n20000ns\n1ms\n1 s").unwrap();
        assert_eq!(trace.offsets(), [0, 15_000, 20_000, 20_000, 1_000_000, 1_000_000_000]);
        assert_eq!(trace.length(), Duration::from_nanos(1_000_000_001));
        assert!((trace.rate() - 6.0).abs() < 1e-6, "{}", trace.rate());
        assert_ne!(trace.hash(), read(b"0\n16\n").unwrap().hash());
        assert_eq!(read(b"7").unwrap().offsets(), [7_000]);
    }

    #[test]
    fn what_is_no_trace_is_told_with_its_file_and_line_and_what_to_do() {
        let long = "1".repeat(5_000);
        let table: [(&[u8], &str); 9] = [
            (
                b"0\n5\nsoon\n",
                "line 3: \"soon\" is no offset: write a whole number of microseconds",
            ),
            (b"0\n-5\n", "line 2: \"-5\" is no offset"),
            (b"1.5\n", "line 1: \"1.5\" is no offset"),
            (b"5min\n", "line 1: \"5min\" is no offset"),
            (b"\xff\n", "line 1: "),
            (b"99999999999999999999\n", "is no offset"),
            (b"99999999999999999s\n", "is no offset"),
            (
                b"# head\n20\n1ms\n999\n",
                "line 4: 999000 ns lies before the line above it, 1000000 ns: sort the lines",
            ),
            (long.as_bytes(), "line 1: \"1111"),
        ];
        for (text, said) in table {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("a trace.txt"), "{error}");
            assert!(!error.contains('\n') && error.len() < 400, "{error}");
        }
        for text in [&b""[..], b"\n\n# nothing\n"] {
            assert!(matches!(read(text), Err(TraceError::Empty { .. })));
        }
        let none = Trace::read(Path::new("/nowhere/at/all")).unwrap_err();
        assert!(matches!(none, TraceError::Read { .. }), "{none}");
    }
}
