//! Makes a new cluster: its `cluster.toml`, its `cluster.key` and a file for each of its first voters, in a folder that has none of them.
//!
//! Random bytes are an argument. What is planned is checked by the same reader that will read it later, before a file is written.
//!
//! **Invariant:** no file that exists is changed. A cluster's id and key cannot be made again, nor what a voter has promised. The configuration
//! is written last and everything is durable before anybody is told, so whoever reads of a key or a voter finds its file.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::codes::CodeId;
use crate::config::ClusterConfig;
use crate::error::ConfigError;
use crate::key::ClusterKey;
use crate::load::parse;
use crate::names::NodeName;
use crate::problem::Problem;
use crate::quantities::Bytes;
use crate::template::{self, Values};
use crate::voters::{first_voters, voter_file_name};
use waterpark_ring::{ClusterId, Keyspace, NODES_MAX, NodeId};

/// Random bytes that a new cluster needs: 16 for its id, 32 for its key.
pub const ENTROPY_BYTES: usize = 16 + ClusterKey::BYTES;

/// Name of the configuration in its folder.
pub(crate) const CONFIG_FILE: &str = "cluster.toml";
/// Name of the key in its folder.
pub(crate) const KEY_FILE: &str = "cluster.key";

/// What a new cluster shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitOptions {
    /// Where its files go; made if it does not exist.
    pub folder: PathBuf,
    /// Its nodes.
    pub nodes: Nodes,
    /// Host of all nodes. For several machines the operator writes the others' hosts into the file.
    pub host: String,
    /// First port of the first node; each next node is 256 above.
    pub base_port: u16,
    /// Placement groups; by default 32 per shard of these nodes, see [`Keyspace::groups_for`].
    pub groups: Option<u32>,
    /// Home classes.
    pub classes: u32,
    /// Shards per node.
    pub workers: u16,
    /// Memory budget per node.
    pub memory: Bytes,
    /// Whether to make a key; without one only loopback is accepted.
    pub with_key: bool,
    /// Whether to name first voters and to write their files. Without, the topology of the file stays what it is.
    pub with_voters: bool,
}

/// The nodes of a new cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nodes {
    /// These.
    Named(Vec<String>),
    /// Equal data centres: `FL-A-1` … for each data centre, zone from `A`, and number from 1.
    Grid {
        /// Data centres.
        dcs: Vec<String>,
        /// Zones in each, at most 26.
        zones: u16,
        /// Nodes in each zone.
        per_zone: u16,
    },
}

impl Default for InitOptions {
    /// Five nodes in four data centres on loopback, with a key and without voters, into the folder of the process.
    fn default() -> InitOptions {
        let names = ["FL-A-1", "FL-B-1", "TN-A-1", "TX-A-1", "UT-A-1"];
        InitOptions {
            folder: PathBuf::from("."),
            nodes: Nodes::Named(names.map(str::to_owned).to_vec()),
            host: "127.0.0.1".to_owned(),
            base_port: 7_000,
            groups: None,
            classes: 4,
            workers: 1,
            memory: Bytes::new(1 << 30),
            with_key: true,
            with_voters: false,
        }
    }
}

/// The files of a new cluster, not yet written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    folder: PathBuf,
    config_text: String,
    key: Option<ClusterKey>,
    config: ClusterConfig,
    warnings: Vec<Problem>,
}

/// The files of a new cluster, written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The configuration.
    pub config_path: PathBuf,
    /// The key, readable by its owner alone.
    pub key_path: Option<PathBuf>,
    /// The file of each first voter, in the order of [`ClusterConfig::voters`], readable by its owner alone. Each belongs on the machine of its
    /// node and nowhere else.
    pub voter_paths: Vec<PathBuf>,
    /// What the configuration says.
    pub config: ClusterConfig,
    /// What is probably not meant: ports that may be taken, a single copy.
    pub warnings: Vec<Problem>,
}

/// Why no cluster was made. No file that existed was changed, and none remains that was new.
#[derive(Debug)]
pub enum InitError {
    /// A file is there already; it was left as it is. The operator chooses another folder.
    WouldOverwrite {
        /// The file.
        path: PathBuf,
    },
    /// The folder or a file could not be written. The operator mends the folder's rights or the disk.
    CannotWrite {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The options make no configuration that could be read. The operator mends them.
    BadOptions {
        /// What is wrong, in the file as it would have been.
        cause: ConfigError,
    },
    /// More nodes than a cluster has, or more zones than letters. The operator asks for fewer.
    TooManyNodes {
        /// Nodes asked for.
        nodes: u64,
        /// Zones asked for in each data centre, one if nodes were named.
        zones: u16,
    },
}

/// Plans and writes a new cluster.
///
/// # Errors
///
/// As [`plan`] and [`Plan::write`].
///
/// # Panics
///
/// As [`plan`].
pub fn init(options: &InitOptions, entropy: &[u8; ENTROPY_BYTES]) -> Result<Written, InitError> {
    plan(options, entropy)?.write()
}

/// What [`init`] would write.
///
/// # Errors
///
/// [`InitError::BadOptions`] or [`InitError::TooManyNodes`].
///
/// # Panics
///
/// If the random bytes for the key are all zero.
pub fn plan(options: &InitOptions, entropy: &[u8; ENTROPY_BYTES]) -> Result<Plan, InitError> {
    let names = options.nodes.names()?;
    let (id, key) = entropy.split_first_chunk::<16>().expect("16 of 48 bytes");
    let key: [u8; ClusterKey::BYTES] = key.try_into().expect("the other 32 of 48 bytes");
    // At most 512 nodes were named.
    let shards = u32::try_from(names.len())
        .unwrap_or(u32::MAX)
        .saturating_mul(u32::from(options.workers));
    let voters = if options.with_voters {
        voters(&names)
    } else {
        Vec::new()
    };
    let config_text = template::render(&Values {
        id: ClusterId(*id),
        key_file: options.with_key.then_some(KEY_FILE),
        groups: options.groups.unwrap_or_else(|| Keyspace::groups_for(shards)),
        classes: options.classes,
        workers: options.workers,
        memory: options.memory,
        names: &names,
        voters: &voters,
        host: &options.host,
        base_port: options.base_port,
    });
    let parsed = parse(CONFIG_FILE, &config_text, []).map_err(|cause| InitError::BadOptions { cause })?;
    let key = options.with_key.then(|| ClusterKey::from_bytes(key));
    Ok(Plan {
        folder: options.folder.clone(),
        config_text,
        key,
        config: parsed.config,
        warnings: parsed.warnings,
    })
}

/// The names of the first voters. None of names that are none, or not distinct: the reader refuses those, and says why.
fn voters(names: &[String]) -> Vec<&str> {
    let parsed: Result<Vec<NodeName>, _> = names.iter().map(|name| name.parse()).collect();
    let distinct: BTreeSet<&String> = names.iter().collect();
    match parsed {
        Ok(nodes) if distinct.len() == names.len() => {
            first_voters(&nodes).into_iter().map(|at| names[at].as_str()).collect()
        }
        _ => Vec::new(),
    }
}

impl Nodes {
    fn names(&self) -> Result<Vec<String>, InitError> {
        // Before anything is made: a slip of a digit must not fill the memory.
        let (nodes, zones_of_each) = match self {
            Nodes::Named(names) => (names.len() as u64, 1),
            Nodes::Grid { dcs, zones, per_zone } => {
                let per_dc = u64::from(*zones) * u64::from(*per_zone);
                ((dcs.len() as u64).saturating_mul(per_dc), *zones)
            }
        };
        if nodes > NODES_MAX as u64 || zones_of_each > 26 {
            return Err(InitError::TooManyNodes {
                nodes,
                zones: zones_of_each,
            });
        }
        Ok(match self {
            Nodes::Named(names) => names.clone(),
            Nodes::Grid { dcs, zones, per_zone } => {
                let letters = || ('A'..='Z').take(usize::from(*zones));
                let zones = dcs
                    .iter()
                    .flat_map(|dc| letters().map(move |zone| format!("{dc}-{zone}")));
                zones
                    .flat_map(|zone| (1..=*per_zone).map(move |n| format!("{zone}-{n}")))
                    .collect()
            }
        })
    }
}

impl Plan {
    /// The text of `cluster.toml`.
    #[must_use]
    pub fn config_text(&self) -> &str {
        &self.config_text
    }

    /// What the text says.
    #[must_use]
    pub fn config(&self) -> &ClusterConfig {
        &self.config
    }

    /// What is probably not meant.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Writes the files, to the disk: the configuration last, so that none ever names a key or a voter that is not there.
    ///
    /// # Errors
    ///
    /// [`InitError::WouldOverwrite`] if one of the files exists, even if this cluster has no key, or if any of its nodes has a voter file already;
    /// [`InitError::CannotWrite`]. Files that were written are removed again.
    pub fn write(self) -> Result<Written, InitError> {
        let (config_path, key_path) = (self.folder.join(CONFIG_FILE), self.folder.join(KEY_FILE));
        let data = self.folder.join(&self.config.data);
        let voters = self.voter_files(&data);
        let nodes_with_files = self.config.nodes.iter().filter(|_| !voters.is_empty());
        let voter_paths = nodes_with_files.map(|node| data.join(voter_file_name(&node.name)));
        for path in [config_path.clone(), key_path.clone()].into_iter().chain(voter_paths) {
            // A link that leads nowhere is there too.
            if path.symlink_metadata().is_ok() {
                return Err(InitError::WouldOverwrite { path });
            }
        }
        fs::create_dir_all(&self.folder).map_err(cannot_write(&self.folder))?;
        let mut undo = Undo::default();
        if !voters.is_empty() {
            undo.make_folder(&data)?;
        }
        if let Some(key) = &self.key {
            undo.write_new(&key_path, key.file_text().as_bytes(), 0o600)?;
        }
        for (path, content) in &voters {
            undo.write_new(path, content, 0o600)?;
        }
        if !voters.is_empty() {
            sync_folder(&data)?;
            // A configuration that survives a loss of power must not name voters whose folder did not.
            sync_folder(&self.folder)?;
        }
        undo.write_new(&config_path, self.config_text.as_bytes(), 0o644)?;
        sync_folder(&self.folder)?;
        undo.keep();
        Ok(Written {
            config_path,
            key_path: self.key.map(|_| key_path),
            voter_paths: voters.into_iter().map(|(path, _)| path).collect(),
            config: self.config,
            warnings: self.warnings,
        })
    }

    /// The file of each first voter: where it goes, and what stands in it.
    fn voter_files(&self, data: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let node_of = |id: &NodeId| self.config.nodes.iter().find(|node| node.id == *id);
        let nodes = self.config.voters.iter().filter_map(node_of);
        nodes
            .filter_map(|node| {
                Some((
                    data.join(voter_file_name(&node.name)),
                    self.config.first_birth(node.id)?.file(),
                ))
            })
            .collect()
    }
}

/// What was made so far. Dropped before [`Undo::keep`], it takes all of it away again, the last first.
#[derive(Default)]
struct Undo {
    folder: Option<PathBuf>,
    files: Vec<PathBuf>,
}

impl Undo {
    /// Makes a folder that its owner alone may enter, if it is not there.
    fn make_folder(&mut self, path: &Path) -> Result<(), InitError> {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => self.folder = Some(path.to_owned()),
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
            Err(cause) => return Err(cannot_write(path)(cause)),
        }
        Ok(())
    }

    /// Writes a file that must not exist, to the disk.
    fn write_new(&mut self, path: &Path, content: &[u8], mode: u32) -> Result<(), InitError> {
        // `create_new` decides; the look before was for the better order of messages. Between the two another process may have come.
        let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
        let mut file = opened.map_err(|cause| {
            if cause.kind() == io::ErrorKind::AlreadyExists {
                InitError::WouldOverwrite { path: path.to_owned() }
            } else {
                cannot_write(path)(cause)
            }
        })?;
        self.files.push(path.to_owned());
        let written = file.write_all(content).and_then(|()| file.sync_all());
        written.map_err(cannot_write(path))
    }

    /// Nothing is taken away any more.
    fn keep(mut self) {
        self.folder = None;
        self.files.clear();
    }
}

impl Drop for Undo {
    /// If even that fails, the error that led here is the one to report.
    fn drop(&mut self) {
        for path in self.files.iter().rev() {
            drop(fs::remove_file(path));
        }
        if let Some(folder) = &self.folder {
            drop(fs::remove_dir(folder));
        }
    }
}

/// Makes the names in a folder durable: without, a file that was synced can be gone after a loss of power.
fn sync_folder(path: &Path) -> Result<(), InitError> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(cannot_write(path))
}

fn cannot_write(path: &Path) -> impl FnOnce(io::Error) -> InitError {
    let path = path.to_owned();
    |cause| InitError::CannotWrite { path, cause }
}

impl InitError {
    /// Its code.
    #[must_use]
    pub fn code(&self) -> CodeId {
        match self {
            InitError::WouldOverwrite { .. } => CodeId::WouldOverwrite,
            InitError::CannotWrite { .. } => CodeId::CannotWrite,
            InitError::BadOptions { .. } => CodeId::BadOptions,
            InitError::TooManyNodes { .. } => CodeId::TooManyNodes,
        }
    }

    /// What is wrong with the options; empty if something else is.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        match self {
            InitError::BadOptions { cause } => cause.problems(),
            _ => &[],
        }
    }
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: ", self.code())?;
        match self {
            InitError::WouldOverwrite { path } => write!(f, "{} exists and was left as it is", path.display())?,
            InitError::CannotWrite { path, cause } => write!(f, "{} cannot be written: {cause}", path.display())?,
            InitError::BadOptions { cause } => write!(f, "the options do not make a cluster\n\n{cause}\n")?,
            InitError::TooManyNodes { nodes, zones } => {
                write!(f, "{nodes} nodes with {zones} zones in a data centre are too many")?;
            }
        }
        write!(
            f,
            "\n   = help: {}",
            self.code()
                .entry()
                .remedy
                .trim_start_matches("Operator: ")
                .trim_end_matches('.')
        )
    }
}

impl std::error::Error for InitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            InitError::CannotWrite { cause, .. } => Some(cause),
            InitError::BadOptions { cause } => Some(cause),
            InitError::WouldOverwrite { .. } | InitError::TooManyNodes { .. } => None,
        }
    }
}
