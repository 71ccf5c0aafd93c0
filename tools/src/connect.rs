//! From the command line to a cluster: where to enter, with which key, and what the cluster says of itself.
//!
//! It deliberately does not know what is asked then. **Invariant:** names, groups and places come from the slot table that the cluster
//! itself gave, so that an answer through `--config` and one through `--at` are the same answer.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Instant;

use clap::Args;
use waterpark::config::{self, ClusterKey, Duration, Loaded, NodeConfig};
use waterpark_client::blocking::{Client, ClusterAddresses, ConnectOptions};
use waterpark_client::{Address, ClientError, ReadOptions};
use waterpark_ring::{ClusterId, FACILITY_FIELD, Key, KeyRef, Keyspace, NodeName};
use waterpark_wire::body::{NodeBody, SlotTableBody};

use crate::failure::Failure;

/// The file that is read when the command line names none.
const CONFIG_DEFAULT: &str = "cluster.toml";
/// Connecting is given up after so many milliseconds, even if the whole call may take longer.
const CONNECT_MS_MAX: u32 = 5_000;
/// How long an entry has before the next one is tried beside it.
const HEAD_START: std::time::Duration = std::time::Duration::from_millis(100);
/// How long a client may take to notice that its time is over.
const GRACE: std::time::Duration = std::time::Duration::from_millis(500);

/// Which cluster, and how long to wait for it.
#[derive(Args)]
pub(crate) struct Reach {
    /// The cluster's configuration; without this and --at, cluster.toml in the current folder
    #[arg(long, value_name = "FILE", conflicts_with = "at")]
    config: Option<PathBuf>,
    /// Enter through one node instead: its port for clients is its first port + 64
    #[arg(long, value_name = "HOST:PORT")]
    at: Option<String>,
    /// The cluster's key, with --at; a cluster without one is on loopback alone
    #[arg(long, value_name = "FILE", requires = "at")]
    key_file: Option<PathBuf>,
    /// How long the whole call may take
    #[arg(long, value_name = "TIME", default_value = "10s")]
    timeout: Duration,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// What is known of a cluster before it is reached.
struct Entries {
    addresses: ClusterAddresses,
    key: [u8; 32],
}

impl Reach {
    /// The time for one call, in ms, at least one.
    pub(crate) fn timeout_ms(&self) -> u32 {
        let ms = u32::try_from(self.timeout.as_us() / 1_000).unwrap_or(u32::MAX);
        ms.max(1)
    }

    /// Connects, and learns the slot table.
    ///
    /// # Errors
    /// What is wrong with the command line, the configuration or the key file; or why no node let us in.
    pub(crate) fn connect(&self) -> Result<Cluster, Failure> {
        self.entries()?.enter(self.timeout_ms())
    }

    fn entries(&self) -> Result<Entries, Failure> {
        if let Some(at) = &self.at {
            let entries =
                ClusterAddresses::try_from(at.as_str()).map_err(|_| Failure::Address { found: at.clone() })?;
            let key = match &self.key_file {
                None => [0; 32],
                Some(path) => {
                    let found = ClusterKey::read(path).map_err(Failure::KeyFile)?;
                    if let Some(warning) = found.warning {
                        eprintln!("{warning}");
                    }
                    *found.key.as_bytes()
                }
            };
            return Ok(Entries {
                addresses: entries,
                key,
            });
        }
        let path = match &self.config {
            Some(path) => path.as_path(),
            None if Path::new(CONFIG_DEFAULT).exists() => Path::new(CONFIG_DEFAULT),
            None => return Err(Failure::NoConfig),
        };
        Ok(Entries::of(&load(path)?, |_| true))
    }
}

impl Entries {
    /// Through these nodes of a configuration.
    fn of(loaded: &Loaded, wanted: impl Fn(&NodeConfig) -> bool) -> Entries {
        let nodes = loaded.config.nodes.iter().filter(|node| wanted(node));
        Entries {
            addresses: ClusterAddresses(nodes.map(address).collect()),
            key: key(loaded),
        }
    }

    fn enter(self, timeout_ms: u32) -> Result<Cluster, Failure> {
        let Entries { addresses, key } = self;
        let shown: Vec<String> = addresses.0.iter().map(Address::to_string).collect();
        let failed = |error| Failure::Connect {
            entries: shown.join(", "),
            error,
        };
        let client = enter(addresses.0, key, timeout_ms.min(CONNECT_MS_MAX)).map_err(&failed)?;
        let read = ReadOptions {
            timeout_ms,
            ..ReadOptions::default()
        };
        let table = client.slot_table(&read).map_err(&failed)?;
        Ok(Cluster { client, key, table })
    }
}

/// Reads a configuration, and tells what is probably not meant by it.
///
/// # Errors
/// `Config` with everything that is wrong.
pub(crate) fn load(path: &Path) -> Result<Loaded, Failure> {
    let loaded = config::load(path, environment()).map_err(|error| Failure::Config(Box::new(error)))?;
    for warning in &loaded.warnings {
        eprintln!("{warning}");
    }
    Ok(loaded)
}

/// The key of a cluster; zeros where it has none.
pub(crate) fn key(loaded: &Loaded) -> [u8; 32] {
    loaded.key.as_ref().map_or([0; 32], |key| *key.as_bytes())
}

/// Where clients enter a node.
pub(crate) fn address(node: &NodeConfig) -> Address {
    Address {
        host: node.host.clone(),
        port: node.ports().native(0),
    }
}

/// Connects through these nodes of a configuration alone.
///
/// # Errors
/// As [`Reach::connect`].
pub(crate) fn through(
    loaded: &Loaded,
    wanted: impl Fn(&NodeConfig) -> bool,
    timeout_ms: u32,
) -> Result<Cluster, Failure> {
    Entries::of(loaded, wanted).enter(timeout_ms)
}

/// Connects through the first entry that lets us in. Each has a head start over the next and goes on beside it, so that neither one that is
/// silent nor one that is gone keeps us waiting, and a cluster that is well is entered through one node alone.
fn enter(entries: Vec<Address>, key: [u8; 32], timeout_ms: u32) -> Result<Client, ClientError> {
    let until = Instant::now() + std::time::Duration::from_millis(timeout_ms.into());
    let (sender, ends) = mpsc::channel();
    let mut entries = entries.into_iter().peekable();
    let (mut under_way, mut tried) = (0, 0);
    let mut told = None;
    while entries.peek().is_some() || under_way > 0 {
        if let Some(entry) = entries.next() {
            let (sender, left) = (sender.clone(), until.saturating_duration_since(Instant::now()));
            under_way += 1;
            std::thread::spawn(move || {
                let options = ConnectOptions {
                    connect_timeout_ms: u32::try_from(left.as_millis()).unwrap_or(u32::MAX),
                    ..ConnectOptions::default()
                };
                // Nobody waits any more once another entry let us in.
                drop(sender.send(Client::connect(entry, &key, options)));
            });
        }
        let left = until.saturating_duration_since(Instant::now());
        let wait = if entries.peek().is_some() {
            left.min(HEAD_START)
        } else {
            left + GRACE
        };
        match ends.recv_timeout(wait) {
            Ok(Ok(client)) => return Ok(client),
            Ok(Err(error)) => {
                under_way -= 1;
                match error {
                    ClientError::Unreachable { tried: more } => tried += more,
                    // A node that says why it lets nobody in says more than one that says nothing.
                    error => told = told.or(Some(error)),
                }
            }
            Err(_) if entries.peek().is_some() => (),
            Err(_) => break,
        }
    }
    Err(told.unwrap_or(ClientError::Unreachable { tried }))
}

/// The environment, of which a part that is not UTF-8 ends no process: it is shown to the checks with a mark in its place.
fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value)))
}

/// A cluster that let us in.
pub(crate) struct Cluster {
    /// The connection.
    pub(crate) client: Client,
    /// The cluster's key, for further connections.
    pub(crate) key: [u8; 32],
    table: SlotTableBody,
}

impl Cluster {
    /// The group of a key and the ids of its members, the writer first.
    ///
    /// # Errors
    /// `Table` if what the cluster said of its groups contradicts itself.
    pub(crate) fn group(&self, key: KeyRef<'_>) -> Result<(u32, &[u16]), Failure> {
        group_of(&self.table, key).ok_or(Failure::Table)
    }

    /// All nodes, in the order of the slot table.
    pub(crate) fn nodes(&self) -> &[NodeBody] {
        &self.table.nodes
    }

    /// How many groups there are.
    pub(crate) fn groups(&self) -> u32 {
        self.table.groups
    }

    /// The node with this id.
    pub(crate) fn node(&self, id: u16) -> Option<&NodeBody> {
        self.table.nodes.iter().find(|node| node.id == id)
    }

    /// A node's name, or what stands for one that the cluster does not name.
    pub(crate) fn name(&self, id: u16) -> String {
        self.node(id)
            .map_or_else(|| format!("node {id}"), |node| node.name.clone())
    }

    /// The node that the operator named.
    ///
    /// # Errors
    /// `UnknownNode` with the nearest name.
    pub(crate) fn node_named(&self, name: &str) -> Result<u16, Failure> {
        self.nodes_named("node", name, str::to_owned).map(|nodes| nodes[0])
    }

    /// The nodes that the operator named by something that is said of them, like their zone; at least one.
    ///
    /// # Errors
    /// `UnknownNode` with the nearest name, where none of them is called so.
    pub(crate) fn nodes_named(
        &self,
        what: &'static str,
        name: &str,
        of: impl Fn(&str) -> String,
    ) -> Result<Vec<u16>, Failure> {
        let named = self.table.nodes.iter().filter(|node| of(&node.name) == name);
        let ids: Vec<u16> = named.map(|node| node.id).collect();
        if !ids.is_empty() {
            return Ok(ids);
        }
        let mut names: Vec<String> = self.table.nodes.iter().map(|node| of(&node.name)).collect();
        names.dedup();
        Err(Failure::UnknownNode {
            what,
            meant: nearest(name, &names).map(str::to_owned),
            found: name.to_owned(),
            names,
        })
    }

    /// The member of a group that the operator named.
    ///
    /// # Errors
    /// `UnknownNode` with the nearest name; `NotMember` with those that are members.
    pub(crate) fn member(&self, name: &str, key: KeyRef<'_>) -> Result<u16, Failure> {
        let node = self.node_named(name)?;
        let (group, members) = self.group(key)?;
        if members.contains(&node) {
            return Ok(node);
        }
        Err(Failure::NotMember {
            node: name.to_owned(),
            group,
            members: members.iter().map(|id| self.name(*id)).collect(),
        })
    }
}

/// Data centre and zone of a node, as its name says them.
pub(crate) fn place(node: &str) -> (&str, &str) {
    NodeName::parse(node).map_or(("?", "?"), |name| (name.dc, name.zone))
}

/// Reads a key from the command line.
///
/// # Errors
/// `Key`, with the text and where it breaks.
pub(crate) fn parse_key(text: &str) -> Result<Key, Failure> {
    Key::parse(text).map_err(|error| Failure::Key {
        text: text.to_owned(),
        error,
    })
}

fn group_of<'a>(table: &'a SlotTableBody, key: KeyRef<'_>) -> Option<(u32, &'a [u16])> {
    let keyspace = Keyspace::new(ClusterId(table.cluster), table.groups, table.classes).ok()?;
    let facility = key.field(FACILITY_FIELD);
    let bound = table
        .facilities
        .iter()
        .find(|bound| Some(bound.name.as_slice()) == facility && bound.class < table.classes);
    let group = keyspace
        .group(keyspace.hash(key.bytes()), bound.map(|bound| bound.class))
        .0;
    let members = table.slots.get(usize::try_from(group).ok()?)?;
    Some((group, members))
}

/// The name that was probably meant: at most a third of the letters differ, at least one may. Upper and lower case are one.
fn nearest<'a>(found: &str, names: &'a [String]) -> Option<&'a str> {
    let limit = (found.chars().count() / 3).max(1);
    let distances = names.iter().map(|name| (distance(found, name), name.as_str()));
    let near = distances.filter(|(distance, _)| *distance <= limit);
    near.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// Letters to insert, drop or replace, with one row of the table at a time.
fn distance(found: &str, name: &str) -> usize {
    let name: Vec<char> = name.chars().map(|c| c.to_ascii_uppercase()).collect();
    let mut row: Vec<usize> = (0..=name.len()).collect();
    for (i, letter) in found.chars().map(|c| c.to_ascii_uppercase()).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in name.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use waterpark_ring::{NodeId, NodeSpec, Topology, TopologySpec};
    use waterpark_wire::body::FacilityBody;

    #[test]
    fn a_mistyped_node_is_known_by_its_nearest_name_and_a_stranger_is_not() {
        let names: Vec<String> = ["FL-A-1", "FL-B-1", "TN-A-1", "TX-A-1", "UT-A-1"]
            .map(str::to_owned)
            .into();
        let table = [
            ("fl-b-1", Some("FL-B-1")),
            ("FLB-1", Some("FL-B-1")),
            ("TX-A-11", Some("TX-A-1")),
            ("UT_A_1", Some("UT-A-1")),
            ("", None),
            ("CA-C-7", None),
            ("the writer", None),
        ];
        for (found, meant) in table {
            assert_eq!(nearest(found, &names), meant, "{found}");
        }
    }

    #[test]
    fn an_entry_that_says_nothing_keeps_nobody_waiting_longer_than_was_asked_for() {
        // It takes connections, as the kernel does for a process that is stopped, and never answers.
        let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let gone = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = |listener: &std::net::TcpListener| Address {
            host: "127.0.0.1".to_owned(),
            port: listener.local_addr().unwrap().port(),
        };
        let entries = vec![address(&silent), address(&gone)];
        drop(gone);
        let begun = Instant::now();
        let refused = enter(entries, [0; 32], 400).unwrap_err();
        let took = begun.elapsed();
        assert!(
            matches!(refused, ClientError::Unreachable { tried } if tried > 0),
            "{refused}"
        );
        assert!((390..3_000).contains(&took.as_millis()), "{took:?}");
    }

    #[test]
    fn the_group_of_a_key_is_the_one_that_the_nodes_compute() {
        let node = |(id, name): (u16, &str)| NodeSpec {
            id: NodeId(id),
            name: name.to_owned(),
            host: "127.0.0.1".to_owned(),
            port: 7_000 + 256 * id,
            shards: 1,
        };
        let names = ["FL-A-1", "FL-B-1", "TN-A-1", "TX-A-1", "UT-A-1"];
        let mut spec = TopologySpec::new(ClusterId([9; 16]), (1..).zip(names).map(node).collect());
        spec.facilities.insert("HOSPX".to_owned(), 3);
        let topology = Topology::new(spec).unwrap();
        let spec = topology.spec();
        let slot = |group| {
            let members = topology.birth().members(waterpark_ring::GroupId(group));
            members.nodes().iter().map(|node| node.0).collect()
        };
        let table = SlotTableBody {
            cluster: spec.cluster.0,
            groups: spec.groups,
            classes: spec.classes,
            facilities: vec![FacilityBody {
                name: b"HOSPX".to_vec(),
                class: 3,
            }],
            nodes: Vec::new(),
            slots: (0..spec.groups).map(slot).collect(),
            message_bytes_max: 1 << 20,
            seats: Vec::new(),
        };
        for id in 0..1_000 {
            for facility in ["HOSPX", "OTHER"] {
                let key = Key::parse(&format!("patient/{id},facility={facility}")).unwrap();
                let (group, members) = group_of(&table, key.as_ref()).unwrap();
                let located = topology.locate(key.as_ref()).group;
                assert_eq!(group, located.0);
                assert_eq!(members[0], topology.birth().writer(located).0);
            }
        }
    }

    #[test]
    fn a_table_that_contradicts_itself_names_no_group() {
        let key = Key::parse("record/1").unwrap();
        let table = SlotTableBody {
            cluster: [1; 16],
            groups: 64,
            classes: 4,
            facilities: Vec::new(),
            nodes: Vec::new(),
            slots: Vec::new(),
            message_bytes_max: 0,
            seats: Vec::new(),
        };
        assert_eq!(group_of(&table, key.as_ref()), None, "fewer slots than groups");
        let table = SlotTableBody { groups: 63, ..table };
        assert_eq!(group_of(&table, key.as_ref()), None, "no power of two");
    }
}
