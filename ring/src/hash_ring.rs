//! A consistent hash ring: nodes own arcs of a circle, a key belongs to the first point at or above its hash.
//!
//! Two ways to hash. [`HashMode::Xxh3`] is the one that placement uses: keyed, 64 bits, its points a function of the
//! set of nodes alone. [`HashMode::Libring`] reproduces `bitwalker/libring` 1.7.0 point for point, for those who come
//! from it. **Invariant:** adding or removing a node moves no key between two other nodes. Balance is not this file's
//! business: 128 points a node leave some 15 % of it to luck, and placement bounds what luck leaves.

use std::fmt;

use xxhash_rust::xxh3::xxh3_64_with_secret;

use crate::keyspace::Keyspace;
use crate::phash2::{phash2_binary, phash2_point};

/// Points on the circle for each unit of a node's weight.
pub const POINTS_PER_WEIGHT: u32 = 128;
/// The heaviest that a node may be; more would only make the ring slower to build.
pub const WEIGHT_MAX: u32 = 1024;

/// Why a node was not added. The caller's mistake; the ring is as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RingError {
    /// A node of this name is on the ring already.
    Duplicate {
        /// The name.
        name: String,
    },
    /// A weight must lie in 1 to [`WEIGHT_MAX`].
    Weight {
        /// The name of the node.
        name: String,
        /// The weight given.
        weight: u32,
    },
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate { name } => write!(f, "node {name} is on the ring already"),
            Self::Weight { name, weight } => {
                write!(f, "weight {weight} of node {name}: must be from 1 to {WEIGHT_MAX}")
            }
        }
    }
}

impl std::error::Error for RingError {}

/// How keys and nodes become places on the circle.
#[derive(Clone, PartialEq, Eq)]
pub enum HashMode {
    /// xxh3-64 with the secret of a cluster. Where two points collide, the (bytewise) smaller name keeps the place, so
    /// the ring does not depend on the order in which nodes were added.
    Xxh3 {
        /// 192 bytes derived from the cluster id.
        secret: Box<[u8; 192]>,
    },
    /// Erlang's `phash2` over binaries, as libring takes it. Where two points collide, the node added earlier keeps the
    /// place.
    Libring,
}

impl HashMode {
    /// The default mode: keyed by the cluster, so that strangers cannot aim.
    #[must_use]
    pub fn xxh3(keyspace: &Keyspace) -> Self {
        Self::Xxh3 {
            secret: Box::new(*keyspace.secret()),
        }
    }

    /// Where a key falls on the circle.
    #[must_use]
    pub fn position(&self, key: &[u8]) -> u64 {
        match self {
            Self::Xxh3 { secret } => xxh3_64_with_secret(key, &secret[..]),
            Self::Libring => u64::from(phash2_binary(key)),
        }
    }

    /// Where the point number `index` of a node falls, counted from 1.
    fn point(&self, name: &str, index: u32) -> u64 {
        match self {
            Self::Xxh3 { secret } => {
                let bytes: Vec<u8> = [name.as_bytes(), b"\0", &index.to_le_bytes()].concat();
                xxh3_64_with_secret(&bytes, &secret[..])
            }
            Self::Libring => u64::from(phash2_point(name, index)),
        }
    }
}

impl fmt::Debug for HashMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Xxh3 { .. } => "Xxh3",
            Self::Libring => "Libring",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    name: String,
    weight: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Point {
    position: u64,
    /// Index into `HashRing::nodes`.
    node: usize,
}

/// Nodes on a circle.
///
/// ```
/// use waterpark_ring::{HashMode, HashRing};
///
/// let mut ring = HashRing::new(HashMode::Libring);
/// ring.add_nodes(["s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8"])?;
/// assert_eq!(ring.key_to_node("actor-key-1001"), Some("s7"));
/// # Ok::<(), waterpark_ring::RingError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashRing {
    mode: HashMode,
    /// The earlier one wins a colliding point: in the order of adding for libring, ascending by name else.
    nodes: Vec<Node>,
    /// Ascending by position, one point to a place.
    points: Vec<Point>,
}

impl HashRing {
    /// A ring without nodes.
    #[must_use]
    pub fn new(mode: HashMode) -> Self {
        Self {
            mode,
            nodes: Vec::new(),
            points: Vec::new(),
        }
    }

    /// Adds a node that owns a share of keys in proportion to its weight.
    ///
    /// # Errors
    ///
    /// If the name is on the ring already or the weight is out of bounds.
    pub fn add_node(&mut self, name: &str, weight: u32) -> Result<(), RingError> {
        self.insert(name, weight)?;
        self.place_points();
        Ok(())
    }

    /// Adds nodes of weight 1: all of them or, on an error, none.
    ///
    /// # Errors
    ///
    /// As [`add_node`](Self::add_node).
    pub fn add_nodes<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) -> Result<(), RingError> {
        let before = self.nodes.clone();
        for name in names {
            if let Err(error) = self.insert(name, 1) {
                self.nodes = before;
                return Err(error);
            }
        }
        self.place_points();
        Ok(())
    }

    /// Takes a node off the ring; `false` if it was not on it. Points that it had won from others return to them.
    pub fn remove_node(&mut self, name: &str) -> bool {
        let before = self.nodes.len();
        self.nodes.retain(|node| node.name != name);
        if self.nodes.len() == before {
            return false;
        }
        self.place_points();
        true
    }

    /// The node that owns a key; `None` on an empty ring.
    #[must_use]
    pub fn key_to_node(&self, key: impl AsRef<[u8]>) -> Option<&str> {
        self.node_at(self.mode.position(key.as_ref()))
    }

    /// The first `n` distinct nodes from a key's place onward, or all if there are fewer. Wraps at the top of the
    /// circle.
    #[must_use]
    pub fn key_to_nodes(&self, key: impl AsRef<[u8]>, n: usize) -> Vec<&str> {
        self.nodes_from(self.mode.position(key.as_ref())).take(n).collect()
    }

    /// The node that owns a place: with [`phash2`](crate::phash2::phash2) of any term this is libring's answer for it.
    #[must_use]
    pub fn node_at(&self, position: u64) -> Option<&str> {
        let point = self.points.get(self.first_at(position)).or(self.points.first())?;
        Some(&self.nodes[point.node].name)
    }

    /// All nodes in the order in which they are met from a place onward, each once.
    pub fn nodes_from(&self, position: u64) -> impl Iterator<Item = &str> {
        self.ranks_from(position).map(|node| self.nodes[node].name.as_str())
    }

    /// [`nodes_from`](Self::nodes_from) by index into the nodes: their rank among the names, except in libring mode.
    pub(crate) fn ranks_from(&self, position: u64) -> impl Iterator<Item = usize> {
        let (below, above) = self.points.split_at(self.first_at(position));
        let mut met = vec![false; self.nodes.len()];
        above
            .iter()
            .chain(below)
            .map(|point| point.node)
            .filter(move |&node| !std::mem::replace(&mut met[node], true))
            .take(self.nodes.len())
    }

    /// Names of the nodes, ascending.
    #[must_use]
    pub fn nodes(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// Nodes on the ring.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether the ring has no node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn first_at(&self, position: u64) -> usize {
        self.points.partition_point(|point| point.position < position)
    }

    fn insert(&mut self, name: &str, weight: u32) -> Result<(), RingError> {
        if !(1..=WEIGHT_MAX).contains(&weight) {
            return Err(RingError::Weight {
                name: name.to_owned(),
                weight,
            });
        }
        if self.nodes.iter().any(|node| node.name == name) {
            return Err(RingError::Duplicate { name: name.to_owned() });
        }
        let at = match self.mode {
            HashMode::Xxh3 { .. } => self.nodes.partition_point(|node| node.name.as_str() < name),
            HashMode::Libring => self.nodes.len(),
        };
        self.nodes.insert(
            at,
            Node {
                name: name.to_owned(),
                weight,
            },
        );
        Ok(())
    }

    /// Computes all points anew, so that a ring is a function of its nodes and never of its history.
    fn place_points(&mut self) {
        self.points.clear();
        for (node, Node { name, weight }) in self.nodes.iter().enumerate() {
            let points = (1..=POINTS_PER_WEIGHT * weight).map(|index| self.mode.point(name, index));
            self.points.extend(points.map(|position| Point { position, node }));
        }
        self.points.sort_unstable_by_key(|point| (point.position, point.node));
        self.points.dedup_by_key(|point| point.position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::ClusterId;
    use crate::phash2::{Term, phash2};
    use crate::testing::Random;

    const EIGHT: [&str; 8] = ["s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8"];

    fn xxh3() -> HashMode {
        HashMode::xxh3(&Keyspace::new(ClusterId([7; 16]), 64, 4).unwrap())
    }

    fn ring<'a>(mode: HashMode, names: impl IntoIterator<Item = &'a str>) -> HashRing {
        let mut ring = HashRing::new(mode);
        ring.add_nodes(names).unwrap();
        ring
    }

    fn dc(dc: &str) -> HashRing {
        let names: Vec<String> = ["A", "B"]
            .iter()
            .flat_map(|zone| (1..=4).map(move |n| format!("{dc}-{zone}-{n}")))
            .collect();
        ring(HashMode::Libring, names.iter().map(String::as_str))
    }

    #[test]
    fn the_seeds_example_is_s7() {
        assert_eq!(ring(HashMode::Libring, EIGHT).key_to_node("actor-key-1001"), Some("s7"));
    }

    #[test]
    fn a_map_as_key_has_libring_s_owners() {
        let patient = Term::Map(vec![
            (Term::atom("id"), Term::text("1001")),
            (Term::atom("facility"), Term::text("HOSPX")),
        ]);
        let owners =
            ["FL", "TN", "TX", "UT"].map(|name| dc(name).node_at(u64::from(phash2(&patient))).map(str::to_owned));
        assert_eq!(owners.map(Option::unwrap), ["FL-B-1", "TN-A-1", "TX-B-3", "UT-A-1"]);
    }

    #[test]
    fn a_key_belongs_to_the_first_point_at_or_above_it_and_to_the_lowest_beyond_the_last() {
        let ring = ring(HashMode::Libring, EIGHT);
        let first = ring.points[0];
        let last = *ring.points.last().unwrap();
        let name = |point: Point| Some(ring.nodes[point.node].name.as_str());
        assert_eq!(ring.node_at(first.position), name(first));
        assert_eq!(ring.node_at(first.position + 1), name(ring.points[1]));
        assert_eq!(ring.node_at(last.position), name(last));
        assert_eq!(ring.node_at(last.position + 1), name(first));
    }

    #[test]
    fn a_walk_wraps_and_meets_every_node_once() {
        for mode in [HashMode::Libring, xxh3()] {
            let ring = ring(mode, EIGHT);
            for key in 0..2_000_u32 {
                let nodes = ring.key_to_nodes(key.to_le_bytes(), 8);
                assert_eq!(nodes[0], ring.key_to_node(key.to_le_bytes()).unwrap());
                let distinct: std::collections::BTreeSet<&str> = nodes.iter().copied().collect();
                assert_eq!((nodes.len(), distinct.len()), (8, 8));
            }
            assert_eq!(ring.key_to_nodes("k", 3), ring.key_to_nodes("k", 8)[..3]);
            assert_eq!(ring.key_to_nodes("k", 99).len(), 8);
        }
    }

    #[test]
    fn an_empty_ring_owns_nothing() {
        let ring = HashRing::new(HashMode::Libring);
        assert_eq!(ring.key_to_node("k"), None);
        assert!(ring.key_to_nodes("k", 3).is_empty());
        assert!(ring.is_empty());
    }

    #[test]
    fn a_ring_does_not_depend_on_the_order_of_adding() {
        let mut random = Random::new(3);
        let mut names = EIGHT;
        let first = ring(xxh3(), names);
        for _ in 0..20 {
            random.shuffle(&mut names);
            assert_eq!(ring(xxh3(), names), first);
        }
    }

    #[test]
    fn on_a_colliding_point_libring_s_earlier_node_keeps_it() {
        // Found by search: the points of these two names meet at one place.
        let (one, two, place) = colliding_names();
        assert_eq!(ring(HashMode::Libring, [&*one, &*two]).node_at(place), Some(&*one));
        assert_eq!(ring(HashMode::Libring, [&*two, &*one]).node_at(place), Some(&*two));
        let mut ring = ring(HashMode::Libring, [&*one, &*two]);
        assert!(ring.remove_node(&one));
        assert_eq!(
            ring.node_at(place),
            Some(&*two),
            "the point returns to the one that has it still"
        );
    }

    fn colliding_names() -> (String, String, u64) {
        let mut owners = std::collections::HashMap::new();
        for node in 0.. {
            let name = format!("n{node}");
            for index in 1..=POINTS_PER_WEIGHT {
                let place = HashMode::Libring.point(&name, index);
                if let Some(other) = owners.insert(place, name.clone()).filter(|other| *other != name) {
                    return (other, name, place);
                }
            }
        }
        unreachable!("2^32 places are fewer than names")
    }

    #[test]
    fn removing_a_node_moves_exactly_its_own_keys_and_adding_it_moves_them_back() {
        for mode in [HashMode::Libring, xxh3()] {
            let full = ring(mode, EIGHT);
            let mut less = full.clone();
            assert!(less.remove_node("s3"));
            assert!(!less.remove_node("s3"));
            let mut moved = 0;
            for key in 0..100_000_u32 {
                let key = key.to_le_bytes();
                let (before, after) = (full.key_to_node(key).unwrap(), less.key_to_node(key).unwrap());
                assert_eq!(before == "s3", before != after);
                moved += u32::from(before != after);
            }
            assert!((10_000..15_000).contains(&moved), "{moved}");
            less.add_node("s3", 1).unwrap();
            assert_eq!(less.nodes(), full.nodes());
        }
    }

    #[test]
    fn a_node_of_weight_three_owns_three_times_as_much() {
        let mut ring = ring(xxh3(), EIGHT);
        ring.add_node("heavy", 3).unwrap();
        let owned = (0..110_000_u32)
            .filter(|key| ring.key_to_node(key.to_le_bytes()) == Some("heavy"))
            .count();
        assert!((27_000..33_000).contains(&owned), "{owned}");
    }

    #[test]
    fn a_refused_node_leaves_the_ring_as_it_was() {
        let mut ring = ring(xxh3(), EIGHT);
        let before = ring.clone();
        let weight = |weight| RingError::Weight {
            name: "s9".into(),
            weight,
        };
        assert_eq!(ring.add_node("s9", 0), Err(weight(0)));
        assert_eq!(ring.add_node("s9", WEIGHT_MAX + 1), Err(weight(WEIGHT_MAX + 1)));
        assert_eq!(
            ring.add_nodes(["s9", "s1"]),
            Err(RingError::Duplicate { name: "s1".into() })
        );
        assert_eq!(ring, before);
    }
}
