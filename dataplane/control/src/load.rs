//! From a file to a configuration, or to everything that is wrong with it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::check::check;
use crate::config::ClusterConfig;
use crate::error::{ConfigError, in_reading_order};
use crate::explain::Explained;
use crate::key::ClusterKey;
use crate::names::NodeName;
use crate::problem::{Problem, Severity, What};
use crate::read::read;
use crate::source::{Place, Source, quoted};
use crate::voters::voter_file_name;

/// Longest file that is read.
pub const FILE_BYTES_MAX: u64 = 16 << 20;

/// A configuration that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The values.
    pub config: ClusterConfig,
    /// Where each came from, in the order of the file's tables.
    pub explained: Vec<Explained>,
    /// What is probably not meant, in the order of the file.
    pub warnings: Vec<Problem>,
    /// Where nodes keep files of their own: [`ClusterConfig::data`] seen from the folder of the file, or from the process's where the text came
    /// without one.
    pub data_folder: PathBuf,
    /// The cluster key. [`parse`] reads no files and leaves it out.
    pub key: Option<ClusterKey>,
}

impl Loaded {
    /// Where a node's voter file is, if it ever was a voter.
    #[must_use]
    pub fn voter_path(&self, node: &NodeName) -> PathBuf {
        self.data_folder.join(voter_file_name(node))
    }
}

/// Reads and checks a file and the key file that it names.
///
/// `variables` is the environment, of which those that begin with `WATERPARK_` override keys; the caller reads it.
///
/// # Errors
///
/// Every problem of file, variables and key file. Nothing was started; the operator mends them.
pub fn load(path: &Path, variables: impl IntoIterator<Item = (String, String)>) -> Result<Loaded, ConfigError> {
    let name = quoted(&path.to_string_lossy());
    let bytes = read_file(path).map_err(|error| {
        let what = What::FileUnreadable { cause: error.kind() };
        Problem::new(what, Place::File { file: name.clone() })
    })?;
    let mut loaded = parse_bytes(&name, &bytes, variables)?;
    // Paths are relative to the file that names them, so that a node starts from any folder.
    let folder = path.parent().unwrap_or(Path::new(""));
    loaded.data_folder = folder.join(&loaded.config.data);
    if let Some(key_file) = &loaded.config.key_file {
        let key_path = folder.join(key_file);
        match ClusterKey::read(&key_path) {
            Ok(found) => {
                loaded.key = Some(found.key);
                loaded.warnings.extend(found.warning);
            }
            Err(problem) => {
                loaded.warnings.push(*problem);
                return Err(ConfigError::new(loaded.warnings));
            }
        }
    }
    Ok(loaded)
}

/// At most one byte more than allowed: enough to see that there are too many.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Checks the content of a file, whatever it is. `file` is its name in messages.
///
/// # Errors
///
/// Every problem of content and variables.
pub fn parse_bytes(
    file: &str,
    bytes: &[u8],
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, ConfigError> {
    if u64::try_from(bytes.len()).is_ok_and(|len| len > FILE_BYTES_MAX) {
        let what = What::FileTooLarge {
            bytes_max: FILE_BYTES_MAX,
        };
        return Err(Problem::new(what, Place::File { file: file.into() }).into());
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(file, text, variables),
        Err(error) => {
            // The same text with a mark where the byte stands: everything before it is as it was.
            let at = error.valid_up_to();
            let marked = String::from_utf8_lossy(bytes);
            let place = Source::new(file, &marked).place(at..at + char::REPLACEMENT_CHARACTER.len_utf8());
            Err(Problem::new(What::NotUtf8, place).into())
        }
    }
}

/// Checks the text of a file. Reads no other file: a key file that is named need not exist.
///
/// # Errors
///
/// Every problem of text and variables.
///
/// # Panics
///
/// If a text without errors lacks a value: the checks of this crate have a hole.
pub fn parse(
    file: &str,
    text: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, ConfigError> {
    // Editors of another system put a mark before the text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = Source::new(file, text);
    let (draft, mut problems) = read(&source, text, variables);
    problems.extend(draft.as_ref().map(check).unwrap_or_default());
    if problems.iter().any(|problem| problem.severity() == Severity::Error) {
        return Err(ConfigError::new(problems));
    }
    in_reading_order(&mut problems);
    let whole = draft.and_then(crate::draft::Draft::finish);
    let (config, explained) = whole.expect("a draft without errors is whole");
    Ok(Loaded {
        data_folder: config.data.clone(),
        config,
        explained,
        warnings: problems,
        key: None,
    })
}
