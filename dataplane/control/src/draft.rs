//! What was read of a file, before it is checked: every value that could be read, with its place; nothing else.
//!
//! A draft may lack anything. [`Draft::finish`] turns one without errors into a [`ClusterConfig`].

use std::path::PathBuf;

use waterpark_ring::{ClusterId, NodeId};

use crate::config::{ClusterConfig, Compression, Defaults, History, Links, NodeConfig, Votes, Workers};
use crate::explain::{Explained, Origin};
use crate::fields::Got;
use crate::mllp::DraftMllp;
use crate::names::NodeName;
use crate::quantities::{Bytes, Duration};
use crate::source::Place;

pub(crate) struct Draft {
    pub(crate) file: Place,
    pub(crate) cluster: Place,
    pub(crate) id: Option<Got<ClusterId>>,
    pub(crate) key_file: Option<Got<Box<str>>>,
    /// There is a `key_file`, but it could not be read; that is the problem then, not its absence.
    pub(crate) key_file_unread: bool,
    pub(crate) groups: Option<Got<u64>>,
    pub(crate) classes: Option<Got<u64>>,
    pub(crate) members: Option<Got<u64>>,
    pub(crate) facilities: Vec<(Box<str>, Got<u32>)>,
    pub(crate) homes: Vec<DraftHome>,
    pub(crate) kinds: Vec<(Box<str>, Got<History>)>,
    pub(crate) delays: Vec<DraftDelay>,
    pub(crate) compression: Option<Got<Compression>>,
    pub(crate) mllp: DraftMllp,
    pub(crate) workers: Option<Got<Workers>>,
    pub(crate) memory: Option<Got<Bytes>>,
    pub(crate) clients: Option<Got<u64>>,
    pub(crate) waiting: Option<Got<u64>>,
    /// Names, in the order of the file; none, if it says nothing.
    pub(crate) voters: Option<Got<Vec<Got<Box<str>>>>>,
    pub(crate) data: Option<Got<Box<str>>>,
    pub(crate) replace_after: Option<Got<Duration>>,
    pub(crate) trim: Option<Got<Bytes>>,
    pub(crate) nodes: Vec<DraftNode>,
    /// There is a `node`, but it is no array of tables; that is the problem then, not the absence of nodes.
    pub(crate) nodes_unread: bool,
}

/// A class with a home of its own.
pub(crate) struct DraftHome {
    pub(crate) class: Got<u32>,
    pub(crate) dc: Got<Box<str>>,
}

/// A round trip between two data centres, the bytewise smaller first.
pub(crate) struct DraftDelay {
    pub(crate) pair: Got<(Box<str>, Box<str>)>,
    pub(crate) delay: Got<Duration>,
}

pub(crate) struct DraftNode {
    pub(crate) header: Place,
    pub(crate) id: Option<Got<NodeId>>,
    pub(crate) name: Option<Got<NodeName>>,
    pub(crate) host: Option<Got<Box<str>>>,
    pub(crate) port: Option<Got<u16>>,
    pub(crate) workers: Option<Got<Workers>>,
    pub(crate) memory: Option<Got<Bytes>>,
    pub(crate) shards: Option<Got<u16>>,
    /// It is no node that the cluster was made with; `None` if the file does not say.
    pub(crate) joins: Option<Got<bool>>,
    /// There are `shards` or `workers`, but they could not be read; that is the problem then, not their absence.
    pub(crate) shards_unread: bool,
}

impl DraftNode {
    /// Whether the cluster was not made with it.
    pub(crate) fn is_joining(&self) -> bool {
        self.joins.as_ref().is_some_and(|joins| joins.value)
    }

    /// Where its shards run, and how many there are: what it says itself, else the defaults. A node that says its shards alone takes a
    /// default that is a mere count as replaced. `None` for the count if only the host can tell.
    pub(crate) fn workers_and_shards(&self, default: &Got<Workers>) -> (Got<Workers>, Option<Got<u16>>) {
        let inherited = || Got {
            value: default.value.clone(),
            place: default.place.clone(),
            origin: Origin::Follows {
                key: "defaults.workers",
            },
        };
        let workers = match (&self.workers, &self.shards, &default.value) {
            (Some(own), _, _) => own.clone(),
            (None, Some(shards), Workers::Count(_)) => shards.clone().map(Workers::Count),
            (None, _, _) => inherited(),
        };
        let counted = workers.count().map(|count| Got {
            value: count,
            place: workers.place.clone(),
            origin: Origin::Follows { key: "workers" },
        });
        let shards = self.shards.clone().or(counted);
        (workers, shards)
    }
}

/// Collects what `config explain` shows.
#[derive(Default)]
pub(crate) struct Ledger(Vec<Explained>);

impl Ledger {
    pub(crate) fn note<T>(&mut self, key: impl Into<Box<str>>, got: &Got<T>, shown: impl ToString) {
        self.0.push(Explained {
            key: key.into(),
            value: shown.to_string().into(),
            origin: got.origin.clone(),
        });
    }
}

impl Draft {
    /// The configuration and where each of its values came from; `None` if something is missing, which a check must have named.
    pub(crate) fn finish(self) -> Option<(ClusterConfig, Vec<Explained>)> {
        let mut ledger = Ledger::default();
        let (voters, data) = (self.voters?, self.data?);
        let names: Vec<&str> = voters.value.iter().map(|name| &*name.value).collect();
        ledger.note("voters", &voters, format!("{names:?}"));
        ledger.note("data", &data, &data.value);
        let id = self.id?;
        ledger.note("cluster.id", &id, id.value);
        if let Some(key_file) = &self.key_file {
            ledger.note("cluster.key_file", key_file, &key_file.value);
        }
        let (groups, classes, members) = (self.groups?, self.classes?, self.members?);
        ledger.note("cluster.groups", &groups, groups.value);
        ledger.note("cluster.classes", &classes, classes.value);
        ledger.note("cluster.members", &members, members.value);
        for (name, class) in &self.facilities {
            ledger.note(format!("facilities.{name}"), class, class.value);
        }
        for home in &self.homes {
            ledger.note(format!("classes.{}.dc", home.class.value), &home.dc, &home.dc.value);
        }
        for (kind, history) in &self.kinds {
            ledger.note(format!("kinds.{kind}.history"), history, history.value);
        }
        for DraftDelay { pair, delay } in &self.delays {
            ledger.note(format!("links.delay.{}-{}", pair.0, pair.1), delay, delay.value);
        }
        let compression = self.compression?;
        ledger.note("links.compression", &compression, compression.value);
        let mllp = self.mllp.finish(&mut ledger)?;
        let (workers, memory) = (self.workers?, self.memory?);
        ledger.note("defaults.workers", &workers, &workers.value);
        ledger.note("defaults.memory", &memory, memory.value);
        let clients = self.clients?;
        ledger.note("defaults.clients", &clients, clients.value);
        let waiting = self.waiting?;
        ledger.note("defaults.waiting", &waiting, waiting.value);

        let (replace_after, trim) = (self.replace_after?, self.trim?);
        ledger.note("votes.replace_after", &replace_after, replace_after.value);
        ledger.note("votes.trim", &trim, trim.value);

        let nodes = self
            .nodes
            .into_iter()
            .map(|node| node.finish(&workers, &memory, &mut ledger));
        let nodes = nodes.collect::<Option<Vec<NodeConfig>>>()?;
        let id_of = |name: &str| nodes.iter().find(|node| node.name.as_str() == name).map(|node| node.id);
        let config = ClusterConfig {
            id: id.value,
            voters: names.into_iter().map(id_of).collect::<Option<Vec<NodeId>>>()?,
            votes: Votes {
                replace_after: replace_after.value,
                trim: trim.value,
            },
            data: PathBuf::from(&*data.value),
            nodes,
            key_file: self.key_file.map(|file| PathBuf::from(&*file.value)),
            groups: u32::try_from(groups.value).ok()?,
            classes: u32::try_from(classes.value).ok()?,
            members: u8::try_from(members.value).ok()?,
            facilities: self
                .facilities
                .into_iter()
                .map(|(name, class)| (name.into(), class.value))
                .collect(),
            class_homes: self
                .homes
                .into_iter()
                .map(|home| (home.class.value, home.dc.value.into()))
                .collect(),
            kinds: self
                .kinds
                .into_iter()
                .map(|(kind, history)| (kind.into(), history.value))
                .collect(),
            links: Links {
                delay: self
                    .delays
                    .into_iter()
                    .map(|DraftDelay { pair, delay }| ((pair.value.0.into(), pair.value.1.into()), delay.value))
                    .collect(),
                compression: compression.value,
            },
            mllp,
            defaults: Defaults {
                workers: workers.value,
                memory: memory.value,
                clients: u32::try_from(clients.value).ok()?,
                waiting: u32::try_from(waiting.value).ok()?,
            },
        };
        Some((config, ledger.0))
    }
}

impl DraftNode {
    fn finish(self, workers: &Got<Workers>, memory: &Got<Bytes>, ledger: &mut Ledger) -> Option<NodeConfig> {
        let (workers, shards) = self.workers_and_shards(workers);
        let (id, name, host, port, shards) = (self.id?, self.name?, self.host?, self.port?, shards?);
        let follows = || Got {
            value: memory.value,
            place: memory.place.clone(),
            origin: Origin::Follows { key: "defaults.memory" },
        };
        let memory = self.memory.unwrap_or_else(follows);
        let key = |key: &str| format!("node.{}.{key}", name.value);
        ledger.note(key("id"), &id, id.value);
        ledger.note(key("host"), &host, &host.value);
        ledger.note(key("port"), &port, port.value);
        ledger.note(key("shards"), &shards, shards.value);
        ledger.note(key("workers"), &workers, &workers.value);
        ledger.note(key("memory"), &memory, memory.value);
        if let Some(joins) = &self.joins {
            ledger.note(key("joins"), joins, joins.value);
        }
        Some(NodeConfig {
            joins: self.joins.is_some_and(|joins| joins.value),
            id: id.value,
            name: name.value,
            host: host.value.into(),
            port: port.value,
            shards: shards.value,
            workers: workers.value,
            memory: memory.value,
        })
    }
}
