//! The configuration of a cluster as values. Knows neither TOML nor where a value came from.
//!
//! **Invariant:** made by this crate's checks alone (`#[non_exhaustive]`), so names and ids are unique, ports do not overlap, groups,
//! classes and members fit each other, and every data centre that is named has a node.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use waterpark_ring::{ClusterId, NodeId, PORT_MAX, SHARDS_MAX};

use crate::mllp::Mllp;
use crate::names::NodeName;
use crate::problem::{Problem, What};
use crate::quantities::{Bytes, Duration};
use crate::source::{Place, quoted};

/// Native clients that a shard takes at most.
pub const CLIENTS_MAX: u32 = 16_384;
/// Requests that wait for their commit in a shard at most, and at least: fewer than a few sessions have under way keep no core busy.
pub const WAITING_MAX: u32 = 32_768;
pub(crate) const WAITING_MIN: u32 = 16;
/// Ports that a node uses from its first.
pub const PORTS_PER_NODE: u16 = 256;

/// One cluster; equal on all its nodes, overrides aside.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterConfig {
    /// Names the cluster; links of another are refused.
    pub id: ClusterId,
    /// The file of the cluster's key, relative to the folder of `cluster.toml`. Absent only if every host is loopback.
    pub key_file: Option<PathBuf>,
    /// Placement groups, a power of two from 64; fixed when the cluster is made.
    pub groups: u32,
    /// Home classes, a power of two that divides the groups; fixed when the cluster is made.
    pub classes: u32,
    /// Members of each group: 1, 3, 4 or 5, never more than nodes.
    pub members: u8,
    /// Facilities bound to a class.
    pub facilities: BTreeMap<String, u32>,
    /// Classes with a home other than that of the rule: class to data centre.
    pub class_homes: BTreeMap<u32, String>,
    /// What each kind keeps; a kind that is not named keeps all.
    pub kinds: BTreeMap<String, History>,
    /// Between nodes.
    pub links: Links,
    /// HL7 from senders.
    pub mllp: Mllp,
    /// For nodes that say nothing of their own.
    pub defaults: Defaults,
    /// The nodes that decide the topology log at first: voter 1, voter 2 and so on, at most seven. None, while the cluster has no such log.
    pub voters: Vec<NodeId>,
    /// When others vote, or the same begin new files.
    pub votes: Votes,
    /// The folder of a node's own files, relative to the folder of `cluster.toml`: `data`, if the file says nothing.
    pub data: PathBuf,
    /// The nodes in the order of the file; at least one.
    pub nodes: Vec<NodeConfig>,
}

/// Links between nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Links {
    /// Round trips between data centres; the bytewise smaller name first.
    pub delay: BTreeMap<(String, String), Duration>,
    /// Of frames.
    pub compression: Compression,
}

/// Who decides the topology log, as time goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Votes {
    /// A voter that was not heard for so long is replaced: 60 s, if the file says nothing.
    pub replace_after: Duration,
    /// A voter's file that has grown by so much is begun anew, with what it adds up to: 8 MiB, if the file says nothing.
    pub trim: Bytes,
}

/// How frames between nodes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// LZ4 per frame.
    Lz4,
}

/// For nodes that say nothing of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Defaults {
    /// One, if the file says nothing.
    pub workers: Workers,
    /// 1 GiB, if the file says nothing.
    pub memory: Bytes,
    /// Native clients that each shard takes, from 1 to [`CLIENTS_MAX`], which it is if the file says nothing.
    pub clients: u32,
    /// Requests that may wait for their commit in each shard, half of them in one group; what comes beyond them is `Busy`. At most
    /// [`WAITING_MAX`], which it is if the file says nothing.
    pub waiting: u32,
}

/// One node; what it does not say itself is taken from the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeConfig {
    /// From 1, never reused; 0 stands for a client.
    pub id: NodeId,
    /// `DC-AZ-N`.
    pub name: NodeName,
    /// Where the other nodes reach it: an IP address or DNS name.
    pub host: String,
    /// The first of its 256 ports.
    pub port: u16,
    /// Shards, from 1 to 64.
    pub shards: u16,
    /// Where its shards run.
    pub workers: Workers,
    /// Memory budget of the whole node.
    pub memory: Bytes,
    /// The cluster was not made with it: it belongs to it once an operator lets it join.
    pub joins: bool,
}

/// Which cores run a node's shards.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Workers {
    /// So many shards, on cores that the process chooses.
    Count(u16),
    /// A shard on each core that the process may use.
    Auto,
    /// A shard on each of these cores: ascending, each once, at least one.
    Cores(Box<[u16]>),
    /// A shard on each core of this NUMA node.
    Numa(u16),
}

/// How much of its history an actor of a kind keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum History {
    /// Every message, whole.
    #[default]
    All,
    /// The last so many messages, at least one.
    Last(u64),
    /// Messages younger than this; more than nothing.
    For(Duration),
    /// The state alone.
    None,
}

/// The ports of one node, from its first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodePorts(u16);

impl NodePorts {
    /// Where peers dial shard `shard`.
    ///
    /// # Panics
    ///
    /// If `shard` is not below 64.
    #[must_use]
    pub fn peer(self, shard: u16) -> u16 {
        assert!(shard < SHARDS_MAX);
        self.0 + shard
    }

    /// Where native clients dial shard `shard`.
    ///
    /// # Panics
    ///
    /// If `shard` is not below 64.
    #[must_use]
    pub fn native(self, shard: u16) -> u16 {
        assert!(shard < SHARDS_MAX);
        self.0 + SHARDS_MAX + shard
    }

    /// MLLP.
    #[must_use]
    pub fn mllp(self) -> u16 {
        self.0 + 128
    }

    /// HTTP: administration, dashboard, metrics, data.
    #[must_use]
    pub fn http(self) -> u16 {
        self.0 + 129
    }
}

impl NodeConfig {
    /// Its ports.
    #[must_use]
    pub fn ports(&self) -> NodePorts {
        // What the checks established; the sums in `NodePorts` rest on it.
        assert!(self.port <= PORT_MAX);
        NodePorts(self.port)
    }
}

impl ClusterConfig {
    /// The node that `--name` picks.
    ///
    /// # Errors
    ///
    /// `WP-1504` with the nearest name; nothing was started, the operator names another.
    pub fn node(&self, name: &str) -> Result<&NodeConfig, Box<Problem>> {
        self.nodes
            .iter()
            .find(|node| node.name.as_str() == name)
            .ok_or_else(|| {
                let names = || self.nodes.iter().map(|node| node.name.as_str());
                let meant = crate::nearest::nearest(name, names()).map(Box::from);
                let what = What::NodeUnknown {
                    found: quoted(name),
                    meant,
                    names: names().map(Box::from).collect(),
                };
                let shown = format!("--name {}", quoted(name)).into();
                Box::new(Problem::new(what, Place::Argument { shown }))
            })
    }

    /// What actors of a kind keep.
    #[must_use]
    pub fn history(&self, kind: &str) -> History {
        self.kinds.get(kind).copied().unwrap_or_default()
    }
}

/// Bytes as small hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that exactly `2 × N` hexadecimal digits name.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

impl Compression {
    pub(crate) const WORDS: &'static [&'static str] = &["none", "lz4"];

    pub(crate) fn from_word(word: &str) -> Option<Compression> {
        match word {
            "none" => Some(Compression::None),
            "lz4" => Some(Compression::Lz4),
            _ => None,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::None => "none",
            Compression::Lz4 => "lz4",
        })
    }
}

impl History {
    /// `all`, `last 100`, `for 30d`, `none`.
    pub(crate) fn from_text(text: &str) -> Result<History, What> {
        let malformed = |time| What::History {
            found: quoted(text),
            time,
        };
        match text.split_once(' ') {
            None if text == "all" => Ok(History::All),
            None if text == "none" => Ok(History::None),
            Some(("last", count)) => match count.parse() {
                Ok(count) if count > 0 => Ok(History::Last(count)),
                _ => Err(malformed(None)),
            },
            Some(("for", time)) => match time.parse::<Duration>() {
                Ok(time) if time.as_us() > 0 => Ok(History::For(time)),
                Ok(_) => Err(malformed(None)),
                Err(error) => Err(malformed(Some(error))),
            },
            _ => Err(malformed(None)),
        }
    }
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            History::All => f.write_str("all"),
            History::Last(count) => write!(f, "last {count}"),
            History::For(time) => write!(f, "for {time}"),
            History::None => f.write_str("none"),
        }
    }
}

impl Workers {
    /// How many shards that makes; `None` if only the host can tell.
    #[must_use]
    pub fn count(&self) -> Option<u16> {
        match self {
            Workers::Count(count) => Some(*count),
            // At most `SHARDS_MAX` were read.
            Workers::Cores(cores) => u16::try_from(cores.len()).ok(),
            Workers::Auto | Workers::Numa(_) => None,
        }
    }

    /// `4`, `auto`, `2-31`, `2,4,6`, `numa:0`. A lone number counts shards, so that the same text means the same in a file and in
    /// a variable; a lone core is written `4-4`.
    pub(crate) fn from_text(text: &str) -> Option<Workers> {
        if text == "auto" {
            return Some(Workers::Auto);
        }
        if let Some(numa) = text.strip_prefix("numa:") {
            return core_number(numa).map(Workers::Numa);
        }
        if let Some(count) = core_number(text) {
            return (1..=SHARDS_MAX).contains(&count).then_some(Workers::Count(count));
        }
        let mut cores = Vec::new();
        for range in text.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (core_number(first)?, core_number(last)?);
            if last < first || usize::from(last - first) + cores.len() >= usize::from(SHARDS_MAX) {
                return None;
            }
            cores.extend(first..=last);
        }
        cores.sort_unstable();
        let distinct = cores.windows(2).all(|pair| pair[0] < pair[1]);
        distinct.then(|| Workers::Cores(cores.into()))
    }
}

/// Digits alone; `parse` would take a sign.
fn core_number(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Workers {
    /// As it is read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Workers::Count(count) => write!(f, "{count}"),
            Workers::Auto => f.write_str("auto"),
            Workers::Numa(numa) => write!(f, "numa:{numa}"),
            Workers::Cores(cores) => {
                for (i, run) in cores.chunk_by(|a, b| a + 1 == *b).enumerate() {
                    let (first, last) = (run[0], run[run.len() - 1]);
                    let comma = if i > 0 { "," } else { "" };
                    if first == last && cores.len() > 1 {
                        write!(f, "{comma}{first}")?;
                    } else {
                        write!(f, "{comma}{first}-{last}")?;
                    }
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_read_and_shown_alike() {
        let table = [
            ("1", Some(1)),
            ("64", Some(64)),
            ("auto", None),
            ("numa:0", None),
            ("2-31", Some(30)),
            ("4-4", Some(1)),
            ("2,4,6", Some(3)),
            ("0-3,8,10-11", Some(7)),
            ("0-63", Some(64)),
        ];
        for (text, count) in table {
            let workers = Workers::from_text(text).unwrap();
            assert_eq!((workers.to_string().as_str(), workers.count()), (text, count));
        }
        assert_eq!(Workers::from_text("3,1,2"), Workers::from_text("1-3"));
    }

    #[test]
    fn other_workers_are_refused() {
        for text in [
            "", "0", "65", "-1", "+1", "all", "numa:", "numa:x", "3-1", "1,1", "1-3,2", "0-64", "1,", "1-", "99999",
            "0-65535",
        ] {
            assert_eq!(Workers::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn histories_are_read_and_shown_alike() {
        for text in ["all", "last 100", "for 30d", "none"] {
            assert_eq!(History::from_text(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "last",
            "last 0",
            "last -1",
            "for 0s",
            "for 30",
            "30d",
            "ALL",
            "all ",
            "none none",
        ] {
            assert!(History::from_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hexadecimal_digits_are_read_whole_or_not_at_all() {
        assert_eq!(from_hex("00ffA1"), Some([0, 255, 161]));
        assert_eq!(hex(&[0, 255, 161]), "00ffa1");
        for text in ["", "00ff", "00ffa1a1", "00ffg1", "+0ff01", "0é0ff"] {
            assert_eq!(from_hex::<3>(text), None, "{text}");
        }
    }
}
