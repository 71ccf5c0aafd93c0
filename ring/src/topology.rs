//! The topology: which nodes there are, where they stand, and how keys fall into groups. A value, replaced whole.
//!
//! Every node and client holds the same one and derives the same answers from it, so a look-up costs no message. What
//! it deliberately does not know: which nodes are up, and where groups have moved since they were born; the topology
//! log records that. **Invariant:** two topologies are equal exactly when their canonical bytes are, and those do not
//! depend on the order in which nodes or bindings were given.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use crate::facilities::Facilities;
use crate::hash_ring::{HashMode, HashRing};
use crate::key::KeyRef;
use crate::keyspace::{CLASSES_DEFAULT, ClusterId, GroupId, Keyspace, NodeId};
use crate::node_name::{self, NodeName};
use crate::placement::Placement;
use crate::topology_bytes;
use crate::topology_error::{TopologyBytesError, TopologyError};

/// Members that a group has at most: one writer and four followers.
pub const MEMBERS_MAX: usize = 5;
/// Nodes that a topology has at most.
pub const NODES_MAX: usize = 512;
/// Shards that a node has at most: its ports lie in strides of 64 for each protocol.
pub const SHARDS_MAX: u16 = 64;
/// The highest first port: the ports of a node lie within 256 of it.
pub const PORT_MAX: u16 = u16::MAX - 255;
/// Bytes that a host's name has at most (RFC 1035 §2.3.4).
pub const HOST_BYTES_MAX: usize = 253;
/// Facilities that can be bound to classes at most.
pub const FACILITIES_MAX: usize = 65_535;
/// The field of a key that names its facility.
pub const FACILITY_FIELD: &str = "facility";

/// One node as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSpec {
    /// Written by `init`, never used again for another node.
    pub id: NodeId,
    /// `DC-AZ-N`, for example `FL-A-1`.
    pub name: String,
    /// Name or address under which the others reach it.
    pub host: String,
    /// The first of its ports.
    pub port: u16,
    /// Shards, each a pinned thread, from 1 to [`SHARDS_MAX`].
    pub shards: u16,
}

impl NodeSpec {
    /// Whether it can be a node, whatever others there are.
    ///
    /// # Errors
    ///
    /// The first rule that it breaks.
    pub fn check(&self) -> Result<(), TopologyError> {
        let name = &self.name;
        if NodeName::parse(name).is_none() {
            return Err(TopologyError::NodeName {
                name: name.clone(),
                suggestion: node_name::suggest(name),
            });
        }
        let blank = |c: char| c.is_whitespace() || c.is_control();
        if self.host.is_empty() || self.host.len() > HOST_BYTES_MAX || self.host.contains(blank) {
            return Err(TopologyError::Host { name: name.clone() });
        }
        if self.port > PORT_MAX {
            return Err(TopologyError::Port {
                name: name.clone(),
                port: self.port,
            });
        }
        if !(1..=SHARDS_MAX).contains(&self.shards) {
            return Err(TopologyError::Shards {
                name: name.clone(),
                shards: self.shards,
            });
        }
        Ok(())
    }
}

/// What a topology is made of, in any order and not yet checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopologySpec {
    /// The cluster's random name; it keys all hashes.
    pub cluster: ClusterId,
    /// Placement groups, fixed when the cluster is made.
    pub groups: u32,
    /// Home classes, fixed when the cluster is made.
    pub classes: u32,
    /// Members of a group where there are nodes enough, from 1 to [`MEMBERS_MAX`].
    pub members: u8,
    /// Distinct member sets that groups may share: a power of two from the number of classes to that of groups; `None`
    /// for no limit.
    pub copysets: Option<u32>,
    /// The nodes.
    pub nodes: Vec<NodeSpec>,
    /// Class of each facility that is bound to one.
    pub facilities: BTreeMap<String, u32>,
    /// Home data centre of each class that has another than `dcs[class mod dcs]`.
    pub homes: BTreeMap<u32, String>,
    /// Nodes that decide the topology log at first, in their order; none where the topology is static. No placement depends on them: they are
    /// here so that nodes that disagree on them refuse each other.
    pub voters: Vec<NodeId>,
}

impl TopologySpec {
    /// A cluster of these nodes with everything else by default: five members, four classes, and groups for the shards
    /// that there are.
    #[must_use]
    pub fn new(cluster: ClusterId, nodes: Vec<NodeSpec>) -> Self {
        let shards = nodes.iter().map(|node| u32::from(node.shards)).sum();
        Self {
            cluster,
            groups: Keyspace::groups_for(shards),
            classes: CLASSES_DEFAULT,
            members: 5,
            copysets: None,
            nodes,
            facilities: BTreeMap::new(),
            homes: BTreeMap::new(),
            voters: Vec::new(),
        }
    }
}

/// Where a key belongs: the same on every node, client and command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Located {
    /// The key's hash, keyed by the cluster.
    pub hash: u64,
    /// The key's group, for ever.
    pub group: GroupId,
}

/// A data centre as placement sees it.
#[derive(Debug, Clone)]
pub(crate) struct DataCentre {
    pub(crate) name: String,
    /// All its nodes.
    pub(crate) ring: HashRing,
    /// Its zones, ascending by name.
    pub(crate) zones: Vec<Zone>,
}

/// An availability zone as placement sees it.
#[derive(Debug, Clone)]
pub(crate) struct Zone {
    pub(crate) ring: HashRing,
    /// Its nodes as indices into the topology's, ascending.
    pub(crate) nodes: Vec<usize>,
}

/// The nodes of a cluster and the rule by which keys find them.
#[derive(Debug, Clone)]
pub struct Topology {
    spec: TopologySpec,
    keyspace: Keyspace,
    facilities: Facilities,
    dcs: Vec<DataCentre>,
    /// Index of each class's home in `dcs`.
    homes: Vec<usize>,
    canonical: Vec<u8>,
    /// Computed at the first question for it: placing takes milliseconds, and most topologies are asked for less.
    birth: OnceLock<Placement>,
    /// The topology that the cluster was made with, where nodes have joined or left since.
    founding: Option<Arc<Topology>>,
}

impl Topology {
    /// Checks a specification and builds its rings.
    ///
    /// # Errors
    ///
    /// The first rule that the specification breaks.
    pub fn new(mut spec: TopologySpec) -> Result<Self, TopologyError> {
        let keyspace = Keyspace::new(spec.cluster, spec.groups, spec.classes)?;
        check_sizes(&spec)?;
        check_nodes(&spec.nodes)?;
        check_facilities(&spec)?;
        check_voters(&spec)?;
        spec.nodes.sort_by(|a, b| a.name.cmp(&b.name));

        let dcs = data_centres(&spec.nodes, &keyspace);
        let homes = homes(&spec, &dcs)?;
        // A home that says what holds anyway is not kept, so that one meaning has one form.
        spec.homes
            .retain(|&class, dc| dcs[index(class) % dcs.len()].name != *dc);
        let canonical = topology_bytes::write(&spec);
        let facilities = Facilities::new(&spec.facilities, &keyspace);
        Ok(Self {
            spec,
            keyspace,
            facilities,
            dcs,
            homes,
            canonical,
            birth: OnceLock::new(),
            founding: None,
        })
    }

    /// The same cluster after these nodes joined it and those left. A node that is there already is as it joins.
    ///
    /// Classes keep their homes for as long as these have a node: a new data centre is nobody's home before somebody says so.
    ///
    /// # Errors
    ///
    /// The first rule that the nodes break.
    pub fn grown(&self, joined: &[NodeSpec], left: &[NodeId]) -> Result<Self, TopologyError> {
        let mut spec = self.spec.clone();
        spec.nodes.retain(|node| joined.iter().all(|new| new.id != node.id));
        spec.nodes.extend_from_slice(joined);
        spec.nodes.retain(|node| !left.contains(&node.id));
        // Who votes by now the topology log says.
        spec.voters.retain(|voter| !left.contains(voter));
        let founding = self.founding.clone().unwrap_or_else(|| Arc::new(self.clone()));
        let has_node = |dc: &str| {
            let mut names = spec.nodes.iter().filter_map(|node| NodeName::parse(&node.name));
            names.any(|name| name.dc == dc)
        };
        let homes = (0..spec.classes).map(|class| (class, founding.home_of(class).to_owned()));
        spec.homes = homes.filter(|(_, dc)| has_node(dc)).collect();
        let mut grown = Self::new(spec)?;
        grown.founding = Some(founding);
        Ok(grown)
    }

    /// The topology that the cluster was made with: what all its nodes have in their configurations, whoever joined or left since.
    #[must_use]
    pub fn founding(&self) -> &Self {
        self.founding.as_deref().unwrap_or(self)
    }

    /// Reads a topology that a peer sent as [`canonical`](Self::canonical) bytes.
    ///
    /// # Errors
    ///
    /// Where the bytes are not of the form, or what they say is not a topology.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, TopologyBytesError> {
        let topology = Self::new(topology_bytes::read(bytes)?).map_err(TopologyBytesError::Topology)?;
        if topology.canonical == bytes {
            Ok(topology)
        } else {
            Err(TopologyBytesError::NotCanonical)
        }
    }

    /// Names of the data centres, ascending.
    #[must_use]
    pub fn dcs(&self) -> Vec<&str> {
        self.dcs.iter().map(|dc| dc.name.as_str()).collect()
    }

    /// The ring of all nodes of a data centre.
    #[must_use]
    pub fn dc_hash_ring(&self, dc: &str) -> Option<&HashRing> {
        self.dcs
            .iter()
            .find(|candidate| candidate.name == dc)
            .map(|dc| &dc.ring)
    }

    /// All rings by data centre.
    #[must_use]
    pub fn current(&self) -> BTreeMap<&str, &HashRing> {
        self.dcs.iter().map(|dc| (dc.name.as_str(), &dc.ring)).collect()
    }

    /// Name of the node that writes a key, as the groups are placed at birth. Where groups have moved since, ask the
    /// placement in force.
    #[must_use]
    pub fn actor_server(&self, key: KeyRef<'_>) -> &str {
        let writer = self.birth().writer(self.locate(key).group);
        &self.node(writer).expect("a placement names nodes of its topology").name
    }

    /// The placement that groups of this topology are born with.
    #[must_use]
    pub fn birth(&self) -> &Placement {
        self.birth.get_or_init(|| Placement::born(self))
    }

    /// Hash and group of a key: the one function that clients, command line and nodes share.
    #[inline]
    #[must_use]
    pub fn locate(&self, key: KeyRef<'_>) -> Located {
        let hash = self.keyspace.hash(key.bytes());
        Located {
            hash,
            group: self.keyspace.group(hash, self.class_of(key)),
        }
    }

    /// The class that a key's facility is bound to, if it has a facility and that is bound.
    #[inline]
    #[must_use]
    pub fn class_of(&self, key: KeyRef<'_>) -> Option<u32> {
        if self.facilities.is_empty() {
            return None;
        }
        self.facilities.class_of(key.field(FACILITY_FIELD)?, &self.keyspace)
    }

    /// The lowest class whose home is this data centre: what a facility is bound to that shall live there.
    #[must_use]
    pub fn class_with_home(&self, dc: &str) -> Option<u32> {
        (0..self.spec.classes).find(|&class| self.home_of(class) == dc)
    }

    /// The home data centre of a class.
    ///
    /// # Panics
    ///
    /// If there is no such class.
    #[must_use]
    pub fn home_of(&self, class: u32) -> &str {
        &self.dcs[self.homes[index(class)]].name
    }

    /// The node with this id.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&NodeSpec> {
        self.spec.nodes.iter().find(|node| node.id == id)
    }

    /// The node with this name.
    #[must_use]
    pub fn node_by_name(&self, name: &str) -> Option<&NodeSpec> {
        let found = self
            .spec
            .nodes
            .binary_search_by(|node| node.name.as_str().cmp(name))
            .ok()?;
        Some(&self.spec.nodes[found])
    }

    /// All nodes, ascending by name.
    #[must_use]
    pub fn nodes(&self) -> &[NodeSpec] {
        &self.spec.nodes
    }

    /// What this topology is made of: nodes ascending by name, homes only where they differ from the default.
    #[must_use]
    pub fn spec(&self) -> &TopologySpec {
        &self.spec
    }

    /// How keys fall into groups.
    #[must_use]
    pub fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    /// Members of each group: as many as configured, or as many as there are nodes.
    #[must_use]
    pub fn members(&self) -> usize {
        usize::from(self.spec.members).min(self.spec.nodes.len())
    }

    /// The bytes that say all of it, equal on every node; below 4 KiB for 32 nodes. `docs/placement.md` draws them.
    #[must_use]
    pub fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// xxh3-128 over the canonical bytes, little-endian: equal topologies have equal digests.
    #[must_use]
    pub fn digest(&self) -> [u8; 16] {
        xxhash_rust::xxh3::xxh3_128(&self.canonical).to_le_bytes()
    }

    /// Path of the first setting in which two topologies differ, for example `node.FL-A-1.port`; `None` if they are
    /// equal. A node that only one of them has is named by itself: `node.FL-A-1`.
    #[must_use]
    pub fn first_difference(&self, other: &Self) -> Option<String> {
        let (ours, theirs) = (&self.spec, &other.spec);
        let cluster = [
            ("cluster.id", ours.cluster != theirs.cluster),
            ("cluster.groups", ours.groups != theirs.groups),
            ("cluster.classes", ours.classes != theirs.classes),
            ("cluster.members", ours.members != theirs.members),
            ("cluster.copysets", ours.copysets != theirs.copysets),
            ("voters", ours.voters != theirs.voters),
        ];
        let cluster = cluster
            .iter()
            .find(|(_, differs)| *differs)
            .map(|(path, _)| (*path).to_owned());
        let facility =
            || first_differing_key(&ours.facilities, &theirs.facilities).map(|name| format!("facilities.{name}"));
        let home = || first_differing_key(&ours.homes, &theirs.homes).map(|class| format!("classes.{class}.dc"));
        cluster
            .or_else(facility)
            .or_else(home)
            .or_else(|| first_differing_node(&ours.nodes, &theirs.nodes))
    }

    pub(crate) fn data_centres(&self) -> &[DataCentre] {
        &self.dcs
    }

    /// Index of the home of each class among the data centres.
    pub(crate) fn homes(&self) -> &[usize] {
        &self.homes
    }
}

impl PartialEq for Topology {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

impl Eq for Topology {}

fn check_sizes(spec: &TopologySpec) -> Result<(), TopologyError> {
    let TopologySpec {
        groups,
        classes,
        members,
        ..
    } = *spec;
    if !(1..=MEMBERS_MAX).contains(&usize::from(members)) {
        return Err(TopologyError::Members { members });
    }
    match spec.copysets {
        Some(copysets) if !copysets.is_power_of_two() || !(classes..=groups).contains(&copysets) => {
            Err(TopologyError::Copysets {
                copysets,
                classes,
                groups,
            })
        }
        _ => Ok(()),
    }
}

fn check_nodes(nodes: &[NodeSpec]) -> Result<(), TopologyError> {
    if nodes.is_empty() {
        return Err(TopologyError::NoNodes);
    }
    if nodes.len() > NODES_MAX {
        return Err(TopologyError::TooManyNodes { nodes: nodes.len() });
    }
    let mut names = BTreeSet::new();
    let mut ids = BTreeMap::new();
    for node in nodes {
        node.check()?;
        let name = &node.name;
        if !names.insert(name) {
            return Err(TopologyError::RepeatedName { name: name.clone() });
        }
        if let Some(other) = ids.insert(node.id, name) {
            return Err(TopologyError::RepeatedId {
                id: node.id,
                name: other.clone(),
                other: name.clone(),
            });
        }
    }
    Ok(())
}

fn check_voters(spec: &TopologySpec) -> Result<(), TopologyError> {
    for (at, voter) in spec.voters.iter().enumerate() {
        if spec.nodes.iter().all(|node| node.id != *voter) || spec.voters[..at].contains(voter) {
            return Err(TopologyError::Voter { id: *voter });
        }
    }
    Ok(())
}

fn check_facilities(spec: &TopologySpec) -> Result<(), TopologyError> {
    let facilities = spec.facilities.len();
    if facilities > FACILITIES_MAX {
        return Err(TopologyError::TooManyFacilities { facilities });
    }
    for (facility, &class) in &spec.facilities {
        if !(1..=255).contains(&facility.len()) {
            return Err(TopologyError::Facility {
                facility: facility.clone(),
            });
        }
        if class >= spec.classes {
            return Err(TopologyError::FacilityClass {
                facility: facility.clone(),
                class,
                classes: spec.classes,
            });
        }
    }
    Ok(())
}

/// Data centres and zones of nodes that are sorted by name, hence by data centre and zone.
fn data_centres(nodes: &[NodeSpec], keyspace: &Keyspace) -> Vec<DataCentre> {
    let mut places: BTreeMap<&str, BTreeMap<&str, Vec<usize>>> = BTreeMap::new();
    for (node, spec) in nodes.iter().enumerate() {
        let name = NodeName::parse(&spec.name).expect("names were checked");
        places
            .entry(name.dc)
            .or_default()
            .entry(name.zone)
            .or_default()
            .push(node);
    }
    let ring = |members: &mut dyn Iterator<Item = usize>| {
        let mut ring = HashRing::new(HashMode::xxh3(keyspace));
        ring.add_nodes(members.map(|node| nodes[node].name.as_str()))
            .expect("names are distinct");
        ring
    };
    let data_centre = |(name, zones): (&str, BTreeMap<&str, Vec<usize>>)| DataCentre {
        name: name.to_owned(),
        ring: ring(&mut zones.values().flatten().copied()),
        zones: zones
            .into_values()
            .map(|nodes| Zone {
                ring: ring(&mut nodes.iter().copied()),
                nodes,
            })
            .collect(),
    };
    places.into_iter().map(data_centre).collect()
}

/// Index of each class's home: `dcs[class mod dcs]` unless another one is given.
fn homes(spec: &TopologySpec, dcs: &[DataCentre]) -> Result<Vec<usize>, TopologyError> {
    let mut homes: Vec<usize> = (0..index(spec.classes)).map(|class| class % dcs.len()).collect();
    for (&class, dc) in &spec.homes {
        let home = homes.get_mut(index(class)).ok_or(TopologyError::HomeClass {
            class,
            classes: spec.classes,
        })?;
        *home = dcs
            .iter()
            .position(|candidate| candidate.name == *dc)
            .ok_or_else(|| TopologyError::HomeDc {
                class,
                dc: dc.clone(),
                dcs: dcs.iter().map(|dc| dc.name.clone()).collect(),
            })?;
    }
    Ok(homes)
}

/// A group, class or count as an index; all are bounded far below what 32 bits hold.
#[inline]
pub(crate) fn index(number: u32) -> usize {
    usize::try_from(number).expect("Linux has at least 32 bits")
}

fn first_differing_key<K: Ord + Clone, V: PartialEq>(ours: &BTreeMap<K, V>, theirs: &BTreeMap<K, V>) -> Option<K> {
    let keys: BTreeSet<&K> = ours.keys().chain(theirs.keys()).collect();
    keys.into_iter().find(|key| ours.get(key) != theirs.get(key)).cloned()
}

fn first_differing_node(ours: &[NodeSpec], theirs: &[NodeSpec]) -> Option<String> {
    let by_name = |nodes: &[NodeSpec]| -> BTreeMap<String, NodeSpec> {
        nodes.iter().map(|node| (node.name.clone(), node.clone())).collect()
    };
    let (ours, theirs) = (by_name(ours), by_name(theirs));
    let name = first_differing_key(&ours, &theirs)?;
    let field = match (ours.get(&name), theirs.get(&name)) {
        (Some(ours), Some(theirs)) if ours.id != theirs.id => ".id",
        (Some(ours), Some(theirs)) if ours.host != theirs.host => ".host",
        (Some(ours), Some(theirs)) if ours.port != theirs.port => ".port",
        (Some(_), Some(_)) => ".shards",
        _ => "",
    };
    Some(format!("node.{name}{field}"))
}
